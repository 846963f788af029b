"""The doors between Python and the kernels: arrays in, arrays and numbers out, everything checked above.

A door turns arrays into pointers, lets the GIL go and makes one call for a whole run of work.
"""

from cython cimport floating
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t

from skbce.kernels.activations cimport Activation, activate, add_rows, fill_rows, multiply_derivative
from skbce.kernels.elementary cimport (
    exponential, float32_of, float64_of, log1p_exp_minus, log1p_unit, sigmoid, tanh_,
)
from skbce.kernels.loss cimport loss_backward, loss_forward
from skbce.kernels.network cimport (
    NetworkView, SampleView, forward, summed_gradient, workspace_size,
)
from skbce.kernels.products cimport add_product, product_backward, weights_gradient
from skbce.kernels.table cimport TableView, row_number
from skbce.kernels.updates cimport UpdateRule, sum_of_squares, update


cdef class Table:
    """X as the kernels read it: a 2-D NumPy array of any strides, or a CSR matrix with int32 columns."""

    cdef TableView view
    cdef tuple _owners
    cdef readonly str dtype
    cdef readonly tuple shape

    def __init__(self, X):
        self.dtype = X.dtype.name
        self.shape = X.shape
        self.view.n_rows, self.view.n_columns = X.shape
        self.view.sparse = not hasattr(X, "strides")
        if self.view.sparse:
            self._owners = (X.data, X.indices.astype("int32", copy=False), X.indptr.astype("int64", copy=False))
            self.view.values = address(self._owners[0])
            self.view.indices = <const int32_t*>address(self._owners[1])
            self.view.indptr = <const int64_t*>address(self._owners[2])
        else:
            self._owners = (X,)
            self.view.values = address(X)
            self.view.row_stride, self.view.column_stride = (stride // X.itemsize for stride in X.strides)


cdef const void* address(array) except? NULL:
    """where an array's first element lies"""
    return <const void*><uintptr_t>array.__array_interface__["data"][0]


cdef class Network:
    """The shape of a network: its units a layer, and where each W[l], b[l] lies in the flat vector."""

    cdef NetworkView view
    cdef readonly object layout

    def __init__(self, layout, int activation):
        # Rows of layout: units, W_start, b_start, A_start (skbce._parameters.Layout).
        cdef const int64_t[:, ::1] rows = layout
        self.layout = layout
        self.view.n_layers = rows.shape[1] - 2
        self.view.f = <Activation>activation
        self.view.units = &rows[0, 0]
        self.view.W_start = &rows[1, 0]
        self.view.b_start = &rows[2, 0]
        self.view.A_start = &rows[3, 0]
        self.view.widest = max(layout[0, 1:-1])
        self.view.n_parameters = rows[2, self.view.n_layers]

    def workspace_size(self, Py_ssize_t block_rows):
        """Elements of the workspace that one block of rows needs."""
        return workspace_size(&self.view, block_rows)


cdef SampleView sample_view(Table X, const uint8_t[:, ::1] Y, const int64_t[::1] row_ids) noexcept:
    cdef SampleView sample
    sample.X = X.view
    sample.Y = &Y[0, 0]
    sample.weight = NULL
    sample.row_ids = NULL if row_ids is None else &row_ids[0]
    return sample


cdef double total_weight(
    const SampleView* sample, const floating* like, Py_ssize_t start, Py_ssize_t stop
) noexcept nogil:
    """the rows start .. stop counted, or their weights summed; `like` only tells the dtype"""
    cdef double total = 0
    cdef Py_ssize_t i
    if sample.weight == NULL:
        return stop - start
    for i in range(start, stop):
        total += (<const floating*>sample.weight)[row_number(sample.row_ids, i, 0)]
    return total


def run_steps(
    Network network, UpdateRule rule, int64_t t, floating[::1] theta, floating[::1] moment1, floating[::1] moment2,
    Table X, const uint8_t[:, ::1] Y, const floating[::1] weight, const int64_t[::1] row_ids,
    Py_ssize_t start, Py_ssize_t stop, Py_ssize_t batch_size,
    Py_ssize_t block_rows, floating[::1] workspace, floating[::1] gradient,
):
    """Train on rows start .. stop of the order, a step a batch; theta and the moments change in place.

    Returns (sum over batches of cost x rows, rows counted, steps taken). A batch whose weights are all
    zero says nothing of the model: it is passed over.
    """
    cdef SampleView sample = sample_view(X, Y, row_ids)
    if weight is not None:
        sample.weight = &weight[0]
    cdef const NetworkView* net = &network.view
    cdef Py_ssize_t n = net.n_parameters, n_W = net.b_start[0]
    cdef Py_ssize_t at = start, end, counted = 0, steps = 0
    cdef double loss, total, cost_sum = 0, squares = 0
    cdef floating* moment2_at = NULL if moment2 is None else &moment2[0]
    with nogil:
        if rule.alpha > 0:
            squares = sum_of_squares(n_W, &theta[0])
        while at < stop:
            end = min(at + batch_size, stop)
            total = total_weight(&sample, &theta[0], at, end)
            if total > 0:
                loss = summed_gradient(net, &theta[0], &sample, at, end, block_rows, &workspace[0], &gradient[0])
                cost_sum += (loss + 0.5 * rule.alpha * squares) / total * (end - at)
                counted += end - at
                steps += 1
                update(
                    &rule, rule.alpha, total, t + steps,
                    n_W, &gradient[0], &theta[0], &moment1[0], moment2_at,
                )
                update(
                    &rule, 0, total, t + steps, n - n_W, &gradient[n_W], &theta[n_W], &moment1[n_W],
                    NULL if moment2_at == NULL else moment2_at + n_W,
                )
                if rule.alpha > 0:
                    squares = sum_of_squares(n_W, &theta[0])
            at = end
    return cost_sum, counted, steps


def cost_and_gradient(
    Network network, double alpha, const floating[::1] theta, floating[::1] gradient,
    Table X, const uint8_t[:, ::1] Y, const floating[::1] weight, Py_ssize_t block_rows, floating[::1] workspace,
):
    """The cost over all rows, with its L2 term, and its gradient in place."""
    cdef SampleView sample = sample_view(X, Y, None)
    if weight is not None:
        sample.weight = &weight[0]
    cdef const NetworkView* net = &network.view
    cdef Py_ssize_t i, n = net.n_parameters, n_W = net.b_start[0]
    cdef double loss, total
    cdef floating decay = alpha, scale
    with nogil:
        total = total_weight(&sample, &theta[0], 0, sample.X.n_rows)
        loss = summed_gradient(
            net, &theta[0], &sample, 0, sample.X.n_rows, block_rows, &workspace[0], &gradient[0]
        )
        if alpha > 0:
            loss += 0.5 * alpha * sum_of_squares(n_W, &theta[0])
        scale = 1 / total
        for i in range(n_W):
            gradient[i] = (gradient[i] + decay * theta[i]) * scale
        for i in range(n_W, n):
            gradient[i] *= scale
    return loss / total


def logits(
    Network network, const floating[::1] theta, Table X, const int64_t[::1] row_ids,
    Py_ssize_t block_rows, floating[::1] workspace, floating[:, ::1] Z,
):
    """Z[L] of every row, or of the rows named, block after block."""
    cdef const NetworkView* net = &network.view
    cdef const int64_t* ids = NULL if row_ids is None else &row_ids[0]
    cdef Py_ssize_t n_rows = Z.shape[0], n_outputs = Z.shape[1], at = 0, rows, i, lda_0
    cdef const floating* A_0
    cdef floating* block
    with nogil:
        while at < n_rows:
            rows = min(block_rows, n_rows - at)
            block = forward(
                net, &theta[0], &X.view, ids, at, rows, block_rows, &workspace[0], &A_0, &lda_0
            )
            for i in range(rows * n_outputs):
                (&Z[at, 0])[i] = block[i]
            at += rows


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


def output_loss(
    const floating[:, ::1] Z, const floating[:, ::1] Y, const floating[::1] weight, floating[:, ::1] losses
):
    """The summed loss, each term in `losses`."""
    cdef const floating* weight_at = NULL if weight is None else &weight[0]
    with nogil:
        loss = loss_forward(Z.shape[0], Z.shape[1], &Z[0, 0], &Y[0, 0], weight_at, &losses[0, 0])
    return loss


def output_backward(
    const floating[:, ::1] Z, const floating[:, ::1] Y, const floating[::1] weight, floating[:, ::1] dZ
):
    """dZ[L] = weight (sigmoid(Z[L]) - Y)"""
    cdef const floating* weight_at = NULL if weight is None else &weight[0]
    with nogil:
        loss_backward(Z.shape[0], Z.shape[1], &Z[0, 0], &Y[0, 0], weight_at, &dZ[0, 0])


def layer_backward(
    int activation, const floating[:, ::1] dZ, const floating[:, ::1] W, const floating[:, ::1] A,
    floating[:, ::1] dZ_before,
):
    """dZ_before = (dZ W^T) * f'(Z_before), f' from A = f(Z_before)"""
    with nogil:
        product_backward(dZ.shape[0], W.shape[0], W.shape[1], &dZ[0, 0], &W[0, 0], &dZ_before[0, 0])
        multiply_derivative(<Activation>activation, A.shape[0] * A.shape[1], &A[0, 0], &dZ_before[0, 0])


def layer_gradient(
    const floating[:, ::1] A, const floating[:, ::1] dZ, floating[:, ::1] dW, floating[::1] db
):
    """dW = A^T dZ; db += sum of dZ's rows"""
    with nogil:
        weights_gradient(A.shape[0], A.shape[1], dZ.shape[1], &A[0, 0], A.shape[1], &dZ[0, 0], <floating>0, &dW[0, 0])
        add_rows(dZ.shape[0], dZ.shape[1], &dZ[0, 0], &db[0])


def descend(UpdateRule rule, const floating[::1] gradient, floating[::1] theta, floating[::1] velocity):
    """One plain step on a flat vector, the gradient being the mean's: theta -= learning_rate gradient."""
    with nogil:
        update(&rule, rule.alpha, 1, 1, theta.shape[0], &gradient[0], &theta[0], &velocity[0], <floating*>NULL)
