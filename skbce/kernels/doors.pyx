"""The doors between Python and the kernels: arrays in, arrays and numbers out, everything checked above.

A door turns arrays into pointers, lets the GIL go and makes one call for a whole run of work.
"""

from cython cimport floating
from cython.parallel cimport parallel
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t

from skbce.kernels cimport steps
from skbce.kernels.activations cimport (
    Activation, activate, activate_backward, activate_storing, add_rows, derivative_in_place, fill_rows, needs_Z,
    unit_backward,
)
from skbce.kernels.dropout cimport drop
from skbce.kernels.elementary cimport (
    exponential, float32_of, float64_of, log1p_exp_minus, log1p_unit, sigmoid, tanh_,
)
from skbce.kernels.encode cimport encode_entries, encode_rows, running_sums
from skbce.kernels.loss cimport loss_backward, loss_forward
from skbce.kernels.network cimport fill_input_gradients, fill_logits, workspace_size
from skbce.kernels.parallel cimport (
    MAX_SHARDS, has_openmp, max_threads, seconds_now, shard_count, thread_count, thread_number,
)
from skbce.kernels.products cimport add_product, product_backward, weights_gradient
from skbce.kernels.steps cimport (
    Run, all_chunks, chunk_count, shard_gradients, squares_of_chunks, sum_of, sum_shards, total_weight,
)
from skbce.kernels.table cimport gather_rows
from skbce.kernels.updates cimport Step, UpdateRule, sum_of_squares, update
from skbce.kernels.views cimport DropoutView, EncodingView, NetworkView, SampleView, TableView, WorkspaceView


HAS_OPENMP = bool(has_openmp)


cdef class Table:
    """X as the kernels read it: a 2-D NumPy array of any strides, or a CSR matrix; float32 or float64."""

    cdef TableView view
    cdef tuple _owners
    cdef readonly Py_ssize_t n_stored  # numbers that a product goes through

    def __init__(self, X):
        self.view.n_rows, self.view.n_columns = X.shape
        self.view.sparse = not hasattr(X, "strides")
        self.view.is_double = X.dtype == "float64"
        if self.view.sparse:
            self._owners = (X.data, X.indices.astype("int32", copy=False), X.indptr.astype("int64", copy=False))
            self.view.values = address(self._owners[0])
            self.view.indices = <const int32_t*>address(self._owners[1])
            self.view.indptr = <const int64_t*>address(self._owners[2])
            self.n_stored = self.view.indptr[self.view.n_rows]
        else:
            self._owners = (X,)
            self.n_stored = self.view.n_rows * self.view.n_columns
            self.view.values = address(X)
            self.view.row_stride, self.view.column_stride = (stride // X.itemsize for stride in X.strides)


cdef const void* address(array) except? NULL:
    """where an array's first element lies"""
    return <const void*><uintptr_t>array.__array_interface__["data"][0]


cdef class Network:
    """The shape of a network: units and activation of each layer, and where W[l], b[l] lie in the flat vector."""

    cdef NetworkView view
    cdef readonly object layout

    def __init__(self, layout):
        # Rows of layout: units, W_start, b_start, A_start, f, D_start (skbce._parameters.Layout).
        cdef const int64_t[:, ::1] rows = layout
        self.layout = layout
        self.view.n_layers = rows.shape[1] - 2
        self.view.units = &rows[0, 0]
        self.view.W_start = &rows[1, 0]
        self.view.b_start = &rows[2, 0]
        self.view.A_start = &rows[3, 0]
        self.view.f = &rows[4, 0]
        self.view.D_start = &rows[5, 0]
        self.view.row_elements = rows[5, self.view.n_layers + 1]
        self.view.widest = max(layout[0, 1:-1])
        self.view.n_parameters = rows[2, self.view.n_layers]

    def workspace_size(self, Py_ssize_t block_rows):
        """Elements of the workspace that one block of rows needs."""
        return workspace_size(&self.view, block_rows)

    def shards(self, Py_ssize_t rows):
        """How many shards a batch of so many rows is cut into: more threads than that have nothing to do."""
        return shard_count(&self.view, rows)

    def partials_size(self):
        """How many partial sums the threads leave for each other: losses of shards, squares of chunks."""
        return MAX_SHARDS + chunk_count(self.view.b_start[0]) + all_chunks(&self.view)


cdef SampleView sample_view(
    Table X, const uint8_t[:, ::1] Y, const int64_t[::1] row_ids, double smoothing
) noexcept:
    cdef SampleView sample
    sample.X = X.view
    sample.Y = &Y[0, 0]
    sample.weight = NULL
    sample.row_ids = NULL
    sample.smoothing = smoothing
    if row_ids is not None:
        sample.row_ids = &row_ids[0]
    return sample


cdef DropoutView dropout_view(const double[::1] p, uint64_t seed, int64_t step) noexcept:
    cdef DropoutView dropout
    dropout.p = NULL
    if p is not None:
        dropout.p = &p[0]
    dropout.seed = seed
    dropout.step = step
    dropout.batch_start = 0
    return dropout


cdef WorkspaceView workspace_view(
    const NetworkView* net, Py_ssize_t block_rows, floating[:, ::1] blocks, floating[:, ::1] gradients,
    double[::1] partials,
) noexcept:
    cdef WorkspaceView work
    work.block_rows = block_rows
    work.block_size = blocks.shape[1]
    work.gradient_size = gradients.shape[1]
    work.blocks = &blocks[0, 0]
    work.gradients = &gradients[0, 0]
    work.losses = &partials[0]
    work.squares = &partials[MAX_SHARDS]
    work.gradient_squares = work.squares + chunk_count(net.b_start[0])
    return work


def thread_limit():
    """How many threads OpenMP would use by itself; 1 in a build without it."""
    return max_threads()


def run_steps(
    Network network, UpdateRule rule, int64_t t, floating[::1] theta, floating[::1] moment1, floating[::1] moment2,
    Table X, const uint8_t[:, ::1] Y, const floating[::1] weight, const int64_t[::1] row_ids,
    double smoothing, const double[::1] rates,
    Py_ssize_t start, Py_ssize_t stop, Py_ssize_t batch_size, double seconds, double cost_sum,
    Py_ssize_t block_rows, floating[:, ::1] blocks, floating[:, ::1] gradients, double[::1] partials, int n_threads,
    const double[::1] dropout=None, uint64_t dropout_seed=0,
):
    """Train on rows start .. stop of the order, a step a batch; theta and the moments change in place.

    Returns (where it ended, sum over batches of cost x rows, rows counted, steps taken). It ends before stop when
    so many seconds are over; `cost_sum` is that sum so far, so that it rounds alike however an epoch is cut into runs.
    A batch whose weights are all zero says nothing of the model: it is passed over. `rates` has the learning rate of
    each batch of the epoch, or is None where the rule has one for all. `dropout` has a probability for each hidden
    layer; it must be the layout's.
    """
    cdef SampleView sample = sample_view(X, Y, row_ids, smoothing)
    cdef Run run
    cdef floating* moment2_at = NULL
    if weight is not None:
        sample.weight = &weight[0]
    if moment2 is not None:
        moment2_at = &moment2[0]
    run.net = &network.view
    run.sample = &sample
    run.rule = &rule
    run.rates = NULL
    if rates is not None:
        run.rates = &rates[0]
    run.dropout = dropout_view(dropout, dropout_seed, t)
    run.work = workspace_view(run.net, block_rows, blocks, gradients, partials)
    run.t = t
    run.start, run.stop, run.batch_size = start, stop, batch_size
    run.deadline = seconds_now() + seconds
    run.cost_sum = cost_sum
    run.rows_counted = run.n_steps = 0
    n_threads = min(n_threads, blocks.shape[0], shard_count(run.net, batch_size))
    with nogil:
        squares_of_chunks(run.net, &run.work, &theta[0])
        if n_threads == 1:
            steps.run_steps(&run, &theta[0], &moment1[0], moment2_at)
        else:
            with parallel(num_threads=n_threads):
                steps.run_steps(&run, &theta[0], &moment1[0], moment2_at)
    return run.stop, run.cost_sum, run.rows_counted, run.n_steps


def cost_and_gradient(
    Network network, double alpha, const floating[::1] theta, floating[::1] gradient,
    Table X, const uint8_t[:, ::1] Y, const floating[::1] weight, double smoothing,
    Py_ssize_t block_rows, floating[:, ::1] blocks, floating[:, ::1] gradients, double[::1] partials, int n_threads,
    const double[::1] dropout=None, uint64_t dropout_seed=0, int64_t dropout_step=0,
):
    """The cost over all rows, with its L2 term, and its gradient in place; under the dropout of one step, if any."""
    cdef SampleView sample = sample_view(X, Y, None, smoothing)
    if weight is not None:
        sample.weight = &weight[0]
    cdef DropoutView masks = dropout_view(dropout, dropout_seed, dropout_step)
    cdef const NetworkView* net = &network.view
    cdef WorkspaceView work = workspace_view(net, block_rows, blocks, gradients, partials)
    cdef Py_ssize_t i, n = net.n_parameters, n_W = net.b_start[0], n_rows = sample.X.n_rows
    cdef Py_ssize_t n_shards = shard_count(net, n_rows)
    cdef double loss, total
    cdef floating decay = alpha, scale
    n_threads = min(n_threads, blocks.shape[0], n_shards)
    with nogil:
        with parallel(num_threads=n_threads):
            shard_gradients(net, &sample, &masks, &work, &theta[0], 0, n_rows, n_shards)
        total = total_weight(&sample, &theta[0], 0, n_rows)
        loss = sum_of(n_shards, work.losses)
        if alpha > 0:
            loss += 0.5 * alpha * sum_of_squares(n_W, &theta[0])
        sum_shards(&work, &theta[0], n_shards, 0, n)
        scale = 1 / total
        for i in range(n_W):
            gradient[i] = ((<floating*>work.gradients)[i] + decay * theta[i]) * scale
        for i in range(n_W, n):
            gradient[i] = (<floating*>work.gradients)[i] * scale
    return loss / total


def logits(
    Network network, const floating[::1] theta, Table X, const int64_t[::1] row_ids,
    Py_ssize_t block_rows, floating[:, ::1] blocks, floating[:, ::1] Z, int n_threads,
):
    """Z[L] of every row, or of the rows named, block after block."""
    cdef const int64_t* ids = NULL
    if row_ids is not None:
        ids = &row_ids[0]
    cdef Py_ssize_t block_size = blocks.shape[1], n_rows = Z.shape[0]
    cdef floating* block = &blocks[0, 0]
    n_threads = min(n_threads, blocks.shape[0])
    with nogil:
        if n_threads == 1:
            fill_logits(&network.view, &theta[0], &X.view, ids, block_rows, block_size, block, n_rows, &Z[0, 0])
        else:
            with parallel(num_threads=n_threads):
                fill_logits(&network.view, &theta[0], &X.view, ids, block_rows, block_size, block, n_rows, &Z[0, 0])


def input_gradients(
    Network network, const floating[::1] theta, Table X, Py_ssize_t output,
    Py_ssize_t block_rows, floating[:, ::1] blocks, floating[:, ::1] dX, int n_threads,
):
    """dX[i, j] = d Z[L][i, output] / d X[i, j] for every row of a dense X, block after block."""
    cdef Py_ssize_t block_size = blocks.shape[1], n_rows = dX.shape[0]
    cdef floating* block = &blocks[0, 0]
    n_threads = min(n_threads, blocks.shape[0])
    with nogil:
        with parallel(num_threads=n_threads):
            fill_input_gradients(
                &network.view, &theta[0], &X.view, output, block_rows, block_size, block, n_rows, &dX[0, 0]
            )


cdef EncodingView encoding_view(
    const int64_t[:, ::1] places, const double[:, ::1] robust, const double[::1] edges, Py_ssize_t width
) noexcept:
    # Rows of places and robust: as in PiecewiseLinearEncoder._plan.
    cdef EncodingView plan
    plan.n_columns = places.shape[1]
    plan.width = width
    plan.column = &places[0, 0]
    plan.n_bins = &places[1, 0]
    plan.edges_start = &places[2, 0]
    plan.value_at = &places[3, 0]
    plan.bins_at = &places[4, 0]
    plan.missing_at = &places[5, 0]
    plan.center = &robust[0, 0]
    plan.scale = &robust[1, 0]
    plan.edges = NULL
    if edges.shape[0] > 0:
        plan.edges = &edges[0]
    return plan


def encode_columns(
    Table X, const int64_t[:, ::1] places, const double[:, ::1] robust, const double[::1] edges, float[:, ::1] out,
    int n_threads,
):
    """The piecewise-linear encoding of a dense table's columns, each row by itself."""
    cdef EncodingView plan = encoding_view(places, robust, edges, out.shape[1])
    with nogil:
        if n_threads == 1:
            encode_rows(&X.view, &plan, 0, 1, &out[0, 0])
        else:
            with parallel(num_threads=n_threads):
                encode_rows(&X.view, &plan, thread_number(), thread_count(), &out[0, 0])


def encode_columns_for_products(
    Table X, const int64_t[:, ::1] places, const double[:, ::1] robust, const double[::1] edges,
    Py_ssize_t stride, int32_t[::1] indices, float[::1] values, int64_t[::1] indptr,
):
    """The encoding of a dense table's columns as CSR rows to multiply with `weights_and_sums`."""
    cdef EncodingView plan = encoding_view(places, robust, edges, 0)
    with nogil:
        encode_entries(&X.view, &plan, stride, &indices[0], &values[0], &indptr[0])


def weights_and_sums(
    const uint8_t[::1] goes_on, const floating[::1] theta, Py_ssize_t n_out, floating[::1] out
):
    """theta with its first W as kernels/encode.pxd multiplies it: twice the rows; the rest behind it as it is."""
    cdef Py_ssize_t i, n_in = goes_on.shape[0], n_W = n_in * n_out
    with nogil:
        running_sums(n_in, n_out, &goes_on[0], &theta[0], &out[0])
        for i in range(n_W, theta.shape[0]):
            out[n_W + i] = theta[i]


cdef floating probability(floating z) noexcept nogil:
    """sigmoid(z), kept strictly between 0 and 1, which it is for every finite logit, by less than one ulp"""
    cdef floating above_0, below_1
    if floating is float:
        above_0 = float32_of(1)
        below_1 = float32_of(<uint32_t>0x3F7FFFFF)
    else:
        above_0 = float64_of(1)
        below_1 = float64_of(<uint64_t>0x3FEFFFFFFFFFFFFF)
    cdef floating p = sigmoid(z)
    p = above_0 if p < above_0 else p
    return below_1 if p > below_1 else p


def probabilities(floating[:, ::1] Z):
    """sigmoid(Z), in place."""
    cdef Py_ssize_t i
    with nogil:
        for i in range(Z.shape[0] * Z.shape[1]):
            (&Z[0, 0])[i] = probability((&Z[0, 0])[i])


def class_probabilities(const floating[:, ::1] Z, floating[:, ::1] out):
    """out[:, 0] = sigmoid(-Z), out[:, 1] = sigmoid(Z): neither is rounded from the other."""
    cdef Py_ssize_t i
    with nogil:
        for i in range(Z.shape[0]):
            out[i, 0] = probability(-Z[i, 0])
            out[i, 1] = probability(Z[i, 0])


def elementwise(str name, floating[::1] x):
    """One of the elementary functions over an array, in place."""
    cdef Py_ssize_t i
    if name == "exp":
        for i in range(x.shape[0]):
            x[i] = exponential(x[i])
    elif name == "log1p":
        for i in range(x.shape[0]):
            x[i] = log1p_unit(x[i])
    elif name == "log_sigmoid":
        for i in range(x.shape[0]):
            x[i] = (x[i] if x[i] < 0 else 0) - log1p_exp_minus(-x[i] if x[i] < 0 else x[i])
    elif name == "sigmoid":
        for i in range(x.shape[0]):
            x[i] = sigmoid(x[i])
    elif name == "tanh":
        for i in range(x.shape[0]):
            x[i] = tanh_(x[i])
    else:
        raise ValueError(f"no elementary function is called {name!r}")


def layer_forward(
    const floating[:, ::1] A, const floating[:, ::1] W, const floating[::1] b, floating[:, ::1] Z
):
    """Z = b + A W"""
    with nogil:
        fill_rows(Z.shape[0], Z.shape[1], &b[0], &Z[0, 0])
        add_product(Z.shape[0], W.shape[0], W.shape[1], &A[0, 0], A.shape[1], &W[0, 0], &Z[0, 0])


def apply_activation(int activation, floating[:, ::1] Z):
    """A = f(Z), in place"""
    with nogil:
        activate(<Activation>activation, Z.shape[0] * Z.shape[1], &Z[0, 0])


def store_derivative(int activation, floating[:, ::1] Z, floating[:, ::1] D):
    """A = f(Z), in place, and D = f'(Z)"""
    cdef Activation f = <Activation>activation
    with nogil:
        if needs_Z(f):
            activate_storing(f, Z.shape[0] * Z.shape[1], &Z[0, 0], &D[0, 0])
        else:
            activate(f, Z.shape[0] * Z.shape[1], &Z[0, 0])
            D[...] = Z
            derivative_in_place(f, Z.shape[0] * Z.shape[1], &D[0, 0])


def apply_dropout(
    double p, uint64_t seed, int64_t step, int layer, Py_ssize_t first_row, floating[:, ::1] A, floating[:, ::1] D
):
    """A *= mask and D *= mask of rows first_row, .. of a batch: 0 with probability p, else 1 / (1 - p)"""
    cdef DropoutView dropout = dropout_view(None, seed, step)
    with nogil:
        drop(p, &dropout, layer, first_row, A.shape[0], A.shape[1], &A[0, 0], &D[0, 0])


def output_loss(
    const floating[:, ::1] Z, const floating[:, ::1] Y, const floating[::1] weight, floating[:, ::1] losses
):
    """The summed loss, each term in `losses`."""
    cdef const floating* weight_at = NULL
    if weight is not None:
        weight_at = &weight[0]
    with nogil:
        loss = loss_forward(Z.shape[0], Z.shape[1], &Z[0, 0], &Y[0, 0], weight_at, &losses[0, 0])
    return loss


def output_backward(
    const floating[:, ::1] Z, const floating[:, ::1] Y, const floating[::1] weight, floating[:, ::1] dZ,
    floating[::1] db,
):
    """dZ[L] = weight (sigmoid(Z[L]) - Y); db[L] += sum of its rows"""
    cdef const floating* weight_at = NULL
    if weight is not None:
        weight_at = &weight[0]
    with nogil:
        loss_backward(Z.shape[0], Z.shape[1], &Z[0, 0], &Y[0, 0], weight_at, &dZ[0, 0])
        add_rows(Z.shape[0], Z.shape[1], &dZ[0, 0], &db[0])


def layer_backward(
    int activation, const floating[:, ::1] A, const floating[:, ::1] dZ, const floating[:, ::1] W,
    floating[:, ::1] dZ_before, floating[::1] db_before,
):
    """dZ_before = (dZ W^T) * f'(Z_before); db_before += sum of its rows.

    f' is taken from A for an activation that `has_own_backward`; for STORED, A is f' itself.
    """
    with nogil:
        product_backward(dZ.shape[0], W.shape[0], W.shape[1], &dZ[0, 0], &W[0, 0], &dZ_before[0, 0])
        activate_backward(
            <Activation>activation, A.shape[0], A.shape[1], &A[0, 0], &dZ_before[0, 0], &db_before[0]
        )


def layer_gradient(const floating[:, ::1] A, const floating[:, ::1] dZ, floating[:, ::1] dW):
    """dW = A^T dZ"""
    with nogil:
        weights_gradient(A.shape[0], A.shape[1], dZ.shape[1], &A[0, 0], A.shape[1], &dZ[0, 0], <floating>0, &dW[0, 0])


def unit_layer_backward(
    int activation, const floating[::1] dz, const floating[::1] w, const floating[:, ::1] A,
    floating[::1] dw, floating[:, ::1] dZ_before, floating[::1] db_before,
):
    """Below one unit: what layer_backward does, and dw += A^T dz, in one pass over A."""
    with nogil:
        unit_backward(
            <Activation>activation, A.shape[0], A.shape[1], &A[0, 0], &dz[0], &w[0], &dw[0], &dZ_before[0, 0],
            &db_before[0],
        )


def gather(Table X, const int64_t[::1] row_ids, floating[:, ::1] out):
    """out[i] = X[row_ids[i]] of a dense table, in out's precision."""
    with nogil:
        gather_rows(&X.view, &row_ids[0], 0, out.shape[0], &out[0, 0])


def descend(
    UpdateRule rule, int64_t t, const floating[::1] gradient, floating[::1] theta, floating[::1] moment1,
    floating[::1] moment2,
):
    """Step t of the rule on a flat vector, the gradient being the mean's; moment2 is Adam's, else None."""
    cdef Step step = Step(t=t, learning_rate=rule.learning_rate, scale=1, alpha=rule.alpha, shrink=0)
    cdef floating* moment2_at = NULL
    if moment2 is not None:
        moment2_at = &moment2[0]
    with nogil:
        update(&rule, &step, theta.shape[0], &gradient[0], &theta[0], &moment1[0], moment2_at)
