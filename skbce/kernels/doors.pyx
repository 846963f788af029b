"""The doors between Python and the kernels: arrays in, arrays and numbers out.

A door turns arrays into pointers, lets the GIL go and makes one call for a whole run of work. What is wrong with values
is found above; but whatever Python hands over, no door lets a kernel read or write outside an array.

Work over many rows pauses for signals (kernels/pauses.pxd); what a handler raises ends it, and the door raises it. What
was to be written is then undefined, but theta and moments are those of the last whole step.
"""

from contextvars import ContextVar
from os import environ

import numpy as np
from numpy.random import MT19937

from cython cimport floating
from cpython.buffer cimport PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_GetPointer
from cython.parallel cimport parallel
from libc.limits cimport INT_MAX
from libc.math cimport HUGE_VAL, isfinite
from libc.stdint cimport UINT32_MAX, int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy

from skbce.kernels cimport steps
from skbce.kernels.activations cimport (
    STORED, Activation, activate, activate_backward, activate_storing, add_rows, derivative_in_place, needs_Z,
    unit_backward,
)
from skbce.kernels.dropout cimport drop
from skbce.kernels.elementary cimport (
    are_finite, exponential, float32_of, float64_of, log1p_exp_minus, log1p_unit, sigmoid, tanh_,
)
from skbce.kernels.encode cimport FEW_BINS as MOST_FEW_BINS, encode_rows, is_within
from skbce.kernels.lookup cimport (
    MOST_NETWORKS, MOST_ROWS, NUMBERS, LookupView, is_in_order, look_up, widest_group,
)
from skbce.kernels.loss cimport loss_backward, loss_forward
from skbce.kernels.network cimport fill_input_gradients, fill_logits, is_apart, workspace_size
from skbce.kernels.parallel cimport (
    MAX_SHARDS, Region, enter, has_openmp, leave, max_threads, open_barrier, seconds_now, shard_count, this_place,
    thread_count, thread_number, wait_for_all,
)
from skbce.kernels.pauses cimport Pause, is_over, next_pause
from skbce.kernels.products cimport forward_calls_blas, product_backward, product_forward, weights_gradient
from skbce.kernels.shuffle cimport TWISTER_WORDS, BitGenerator, Twister, shuffle_rows
from skbce.kernels.steps cimport (
    Run, all_chunks, are_within, chunk_count, shard_gradients, squares_of_chunks, sum_shards, total_weight,
)
from skbce.kernels.sums cimport sum_of, sum_of_squares
from skbce.kernels.table cimport are_columns, are_rows, do_not_fall, gather_rows
from skbce.kernels.updates cimport ADAM, SGD, Step, UpdateRule, adam_rate, update
from skbce.kernels.views cimport DropoutView, EncodingView, NetworkView, SampleView, TableView, WorkspaceView


HAS_OPENMP = bool(has_openmp)
NETWORKS_AT_ONCE = MOST_NETWORKS  # of a lookup
FEW_BINS = MOST_FEW_BINS  # of a column that is multiplied, not looked up

# systemd's filters can end a process that asks to be moved (kernels/places.h).
MOVES_THREADS = environ.get("SKBCE_MOVE_THREADS", "1") != "0"

# Whether the one who waits for this thread has given up: a function, or None. Work then ends at its next pause.
GIVEN_UP = ContextVar("GIVEN_UP", default=None)


cdef bint ends(void* raised) noexcept with gil:
    """Of a Pause: run the handlers of signals that came, and keep what they raise in a list."""
    try:
        PyErr_CheckSignals()
        given_up = GIVEN_UP.get()
        if given_up is not None and given_up():
            raise KeyboardInterrupt
    except BaseException as error:
        (<list>raised).append(error)
        return True
    return False


cdef Pause pauses(list raised) noexcept:
    cdef Pause pause
    pause.ends = ends
    pause.asked = <void*>raised
    pause.next = next_pause()
    pause.over = 0
    return pause


cdef int raise_from(list raised) except -1:
    """what broke the work off, if it was"""
    if raised:
        raise raised[0]
    return 0


cdef int require(bint holds, str what) except -1:
    """an error that says what must hold"""
    if not holds:
        raise ValueError(f"The kernels were handed memory that does not fit: {what}.")
    return 0


cdef int require_ids(const int64_t[::1] row_ids, Py_ssize_t n_ids, Py_ssize_t n_rows) except -1:
    """row_ids are n_ids at least, and the first n_ids are rows"""
    require(row_ids.shape[0] >= n_ids, "row_ids is too short")
    require(are_rows(&row_ids[0], 0, n_ids, n_rows), "row_ids names rows that X does not have")
    return 0


cdef class Table:
    """X as the kernels read it: a 2-D NumPy array of any strides, or a CSR matrix; float32 or float64.

    Raises
    ------
    ValueError
        For arrays of another kind, and for indices that point outside of X.
    """

    cdef TableView view
    cdef tuple _owners
    cdef readonly Py_ssize_t n_stored  # numbers that a product goes through

    @property
    def n_rows(self):
        return self.view.n_rows

    def __cinit__(self, X):
        cdef Py_ssize_t itemsize, row_step, column_step
        require(len(X.shape) == 2, "X has two dimensions")
        self.view.n_rows, self.view.n_columns = X.shape
        self.view.sparse = not hasattr(X, "strides")
        values = X.data if self.view.sparse else X
        require(isinstance(values, np.ndarray), "X is no array")
        # Each prediction comes by: comparing dtypes takes longer than looking at their letters.
        dtype = values.dtype
        require(dtype.char in "fd" and dtype.isnative and values.flags.aligned, "X holds no floats, native and aligned")
        itemsize = dtype.itemsize
        self.view.is_double = itemsize == 8
        if self.view.sparse:
            self.take_csr(np.ascontiguousarray(values), np.asarray(X.indices), np.asarray(X.indptr))
            self.n_stored = self.view.indptr[self.view.n_rows]
        else:
            self._owners = (X,)
            self.n_stored = self.view.n_rows * self.view.n_columns
            self.view.values = first_element(X)
            row_step, column_step = X.strides
            self.view.row_stride, self.view.column_stride = row_step // itemsize, column_step // itemsize
            require(
                self.view.row_stride * itemsize == row_step and self.view.column_stride * itemsize == column_step,
                "X has strides of broken elements",
            )

    cdef int take_csr(self, data, indices, indptr) except -1:
        """the arrays of CSR, after a look that they stay within X"""
        cdef const int32_t[::1] columns
        cdef const int64_t[::1] starts
        require(data.ndim == indices.ndim == indptr.ndim == 1, "CSR's arrays have one dimension")
        require(indices.dtype.kind == "i" and indptr.dtype.kind == "i", "CSR's indices and indptr are integers")
        require(indptr.shape[0] == self.view.n_rows + 1, "CSR's indptr has an entry a row, and one more")
        if indices.itemsize > 4 and indices.size:
            require(0 <= indices.min() and indices.max() <= INT_MAX, "CSR's indices lie within X")
        indices = np.ascontiguousarray(indices, np.int32)
        indptr = np.ascontiguousarray(indptr, np.int64)
        columns, starts = indices, indptr
        require(starts[0] >= 0 and do_not_fall(&starts[0], self.view.n_rows + 1), "CSR's indptr does not fall")
        require(
            starts[self.view.n_rows] <= min(columns.shape[0], data.shape[0]),
            "CSR's indptr ends within the other arrays",
        )
        if starts[self.view.n_rows] > 0:
            require(
                are_columns(&columns[0], starts[0], starts[self.view.n_rows], self.view.n_columns),
                "CSR's indices lie within X",
            )
        self._owners = (data, indices, indptr)
        self.view.values = first_element(data)
        self.view.indices = <const int32_t*>first_element(indices)
        self.view.indptr = <const int64_t*>first_element(indptr)
        return 0


cdef const void* first_element(array) except? NULL:
    """where an array's first element lies; its `__array_interface__` tells too, and takes eight times as long"""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_STRIDED_RO)
    cdef const void* at = view.buf
    PyBuffer_Release(&view)
    return at


def address(array not None):
    """Where an array's first element lies."""
    return <uintptr_t>first_element(array)


cdef class Network:
    """The shape of a network: units and activation of each layer, and where W[l], b[l] lie in the flat vector.

    Raises
    ------
    ValueError
        For a layout whose parts overlap, and for more units in a layer than BLAS counts.
    """

    cdef NetworkView view
    cdef object _layout

    def __cinit__(self, layout):
        # Rows of layout: units, W_start, b_start, A_start, f, D_start (skbce._parameters.Layout).
        layout = np.array(layout, np.int64, order="C")
        require(layout.ndim == 2 and layout.shape[0] == 6 and layout.shape[1] >= 3, "a layout is 6 x (layers + 2)")
        cdef const int64_t[:, ::1] rows = layout
        self._layout = layout
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
        require(is_apart(&self.view), "a layout has its parts one behind the other, and no more than memory could hold")

    def workspace_size(self, Py_ssize_t block_rows):
        """Elements of the workspace that one block of rows needs."""
        return workspace_size(&self.view, block_rows)

    def forward_calls_blas(self, Py_ssize_t itemsize):
        """Whether the forward pass has a product, of numbers of so many bytes, that goes to BLAS."""
        cdef Py_ssize_t l
        for l in range(self.view.n_layers):
            if forward_calls_blas(self.view.units[l], self.view.units[l + 1], itemsize):
                return True
        return False

    def shards(self, Py_ssize_t rows):
        """How many shards a batch of so many rows is cut into: more threads than that have nothing to do."""
        return shard_count(&self.view, rows)

    def partials_size(self):
        """How many partial sums the threads leave for each other: losses of shards, squares of chunks."""
        return partials_size(&self.view)


cdef Py_ssize_t partials_size(const NetworkView* net) noexcept:
    """losses, squares and gradient_squares of a WorkspaceView"""
    return MAX_SHARDS + chunk_count(net.b_start[0]) + all_chunks(net)


cdef int require_blocks(
    const NetworkView* net, Py_ssize_t n_theta, const TableView* X, Py_ssize_t block_rows, Py_ssize_t n_blocks,
    Py_ssize_t block_size, int n_threads,
) except -1:
    """theta, table and workspace are the network's"""
    require(n_theta == net.n_parameters, "theta has the network's parameters")
    require(X.n_columns == net.units[0], "X has the network's columns")
    require(X.sparse or net.A_start[1] == net.units[0], "the layout has room for a dense X")
    require(1 <= block_rows <= INT_MAX, "block_rows is positive, and BLAS counts as far")
    # By division: the product of both may be more than 64 bits hold.
    require(block_rows <= block_size // workspace_size(net, 1), "a block holds its rows")
    require(n_blocks >= 1 and n_threads >= 1, "there is a thread, and a block for it")
    return 0


cdef int require_training(
    const NetworkView* net, const TableView* X, const uint8_t[:, ::1] Y, Py_ssize_t n_weights, Py_ssize_t n_gradients,
    Py_ssize_t gradient_size, Py_ssize_t n_partials, const double[::1] dropout, Py_ssize_t rows,
) except -1:
    """targets, weights, gradients and partial sums are those of the table, the network, and a batch of so many rows"""
    require(Y.shape[0] == X.n_rows and Y.shape[1] == net.units[net.n_layers], "Y has X's rows, the network's outputs")
    require(n_weights == X.n_rows, "weight has X's rows")
    require(n_gradients >= shard_count(net, rows), "there is a gradient for each shard")
    require(gradient_size >= net.n_parameters, "a gradient holds the network's parameters")
    require(n_partials >= partials_size(net), "partials has the network's size")
    require(dropout is None or dropout.shape[0] == net.n_layers - 1, "dropout has an entry a hidden layer")
    return 0


cdef int require_rule(const UpdateRule* rule, Py_ssize_t n, Py_ssize_t n_moment1, Py_ssize_t n_moment2) except -1:
    """the solver is known, and its moments are of n parameters; -1 stands for no second moment"""
    require(rule.solver == SGD or rule.solver == ADAM, "the solver is sgd or adam")
    require(n_moment1 == n and (n_moment2 == n or (n_moment2 == -1 and rule.solver == SGD)), "moments are as theta")
    return 0


cdef int require_product(Py_ssize_t m, Py_ssize_t k, Py_ssize_t n) except -1:
    """BLAS counts as far as each of a product's dimensions"""
    require(max(m, k, n) <= INT_MAX, "BLAS counts to 2^31 - 1, and an array has more rows or columns")
    return 0


cdef SampleView sample_view(
    Table X, const uint8_t[:, ::1] Y, const floating[::1] weight, double smoothing
) noexcept:
    """of all rows as they lie"""
    cdef SampleView sample
    sample.X = X.view
    sample.Y = &Y[0, 0]
    sample.weight = NULL
    sample.row_ids = NULL
    sample.smoothing = smoothing
    if weight is not None:
        sample.weight = &weight[0]
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


cdef Twister* twister_of(bit_generator) except NULL:
    """The state that an MT19937 of NumPy's draws from"""
    require(type(bit_generator) is MT19937, "bit_generator is an MT19937 of NumPy's")
    return <Twister*>(<BitGenerator*>PyCapsule_GetPointer(bit_generator.capsule, "BitGenerator")).state


def twister_state(bit_generator):
    """A copy of an MT19937's words and of how many of them have been drawn: uint32 (625,).

    NumPy takes any number for the latter; beyond the words, all of them have been.

    Raises
    ------
    ValueError
        For another bit generator.
    """
    cdef Twister* twister = twister_of(bit_generator)
    cdef uint32_t[::1] state = np.empty(TWISTER_WORDS + 1, np.uint32)
    with bit_generator.lock:
        memcpy(&state[0], twister, sizeof(Twister))
    state[TWISTER_WORDS] = min(state[TWISTER_WORDS], <uint32_t>TWISTER_WORDS)
    return np.asarray(state)


def set_twister_state(bit_generator, const uint32_t[::1] state not None):
    """Make an MT19937's state what twister_state gave.

    Raises
    ------
    ValueError
        For another bit generator, and for what is no state.
    """
    cdef Twister* twister = twister_of(bit_generator)
    require(
        state.shape[0] == TWISTER_WORDS + 1 and state[TWISTER_WORDS] <= TWISTER_WORDS, "state is of twister_state"
    )
    with bit_generator.lock:
        memcpy(twister, &state[0], sizeof(Twister))


def leave_processor(int number, int n_threads):
    """Move this thread off a processor, as one of a region's n_threads; it may use all that it might."""
    with nogil:
        leave(number, n_threads)


def shuffle(bit_generator, int64_t[::1] order not None, int64_t[:, ::1] orders=None):
    """Shuffle order in place as RandomState(bit_generator).shuffle does; the generator ends where that leaves it.

    With orders, once for each of its rows, which are what order is each time.

    Raises
    ------
    ValueError
        For more rows than draws of 32 bits tell apart, and for what is no MT19937 of NumPy's.
    """
    cdef Twister* twister = twister_of(bit_generator)
    cdef uint32_t n_rows
    cdef Py_ssize_t k
    require(order.shape[0] <= <int64_t>UINT32_MAX, "order has no more rows than 32 bits count")
    require(orders is None or orders.shape[1] == order.shape[0], "orders has order's rows as columns")
    n_rows = <uint32_t>order.shape[0]
    if not n_rows:
        return
    with bit_generator.lock, nogil:
        if orders is None:
            shuffle_rows(twister, &order[0], n_rows)
        else:
            for k in range(orders.shape[0]):
                shuffle_rows(twister, &order[0], n_rows)
                memcpy(&orders[k, 0], &order[0], n_rows * sizeof(int64_t))


cdef Region new_region() except *:
    """of this thread, and those that it works with"""
    cdef Region region
    open_barrier(&region.barrier)
    region.place = this_place() if MOVES_THREADS else -1
    return region


cdef Run run_of(
    const NetworkView* net, const SampleView* sample, const UpdateRule* rule, int64_t t, Py_ssize_t batch_size,
    Pause* pause,
) noexcept:
    """over all rows of the order, for ever; without workspace, dropout, and a barrier that is open"""
    cdef Run run
    run.net, run.sample, run.rule, run.rates = net, sample, rule, NULL
    run.t, run.batch_size, run.pause = t, batch_size, pause
    run.start = run.stop = 0
    run.deadline = HUGE_VAL
    run.cost_sum = run.rows_counted = run.n_steps = 0
    run.strays = False
    return run


cdef inline void go_through(
    Run* run, int n_threads, floating* theta, floating* moment1, floating* moment2
) noexcept nogil:
    """all steps of a run, on so many threads"""
    if n_threads == 1:
        steps.run_steps(run, theta, moment1, moment2)
    else:
        with parallel(num_threads=n_threads):
            enter(&run.region)
            steps.run_steps(run, theta, moment1, moment2)


def run_steps(
    Network network not None, UpdateRule rule, int64_t t, floating[::1] theta not None,
    floating[::1] moment1 not None, floating[::1] moment2,
    Table X not None, const uint8_t[:, ::1] Y not None, const floating[::1] weight, const int64_t[::1] row_ids,
    double smoothing, const double[::1] rates,
    Py_ssize_t start, Py_ssize_t stop, Py_ssize_t batch_size, double seconds, double cost_sum,
    Py_ssize_t block_rows, floating[:, ::1] blocks not None, floating[:, ::1] gradients not None,
    double[::1] partials not None, int n_threads,
    const double[::1] dropout=None, uint64_t dropout_seed=0,
):
    """Train on rows start .. stop of the order, a step a batch; theta and the moments change in place.

    Returns (where it ended, sum over batches of cost x rows, rows counted, steps taken). It ends before stop when
    so many seconds are over; `cost_sum` is that sum so far, so that it rounds alike however an epoch is cut into runs.
    A batch whose weights are all zero says nothing of the model: it is passed over. `rates` has the learning rate of
    each batch of the epoch, or is None where the rule has one for all. `dropout` has a probability for each hidden
    layer; it must be the layout's.
    """
    cdef const NetworkView* net = &network.view
    cdef Py_ssize_t n_rows = X.view.n_rows if row_ids is None else row_ids.shape[0]
    require_blocks(net, theta.shape[0], &X.view, block_rows, blocks.shape[0], blocks.shape[1], n_threads)
    require_training(
        net, &X.view, Y, X.view.n_rows if weight is None else weight.shape[0], gradients.shape[0], gradients.shape[1],
        partials.shape[0], dropout, batch_size,
    )
    require_rule(&rule, theta.shape[0], moment1.shape[0], -1 if moment2 is None else moment2.shape[0])
    require(0 <= start <= stop <= n_rows and batch_size >= 1, "start .. stop are rows, and a batch has one")
    require(rates is None or rates.shape[0] * batch_size >= stop, "rates has an entry a batch")
    cdef SampleView sample = sample_view(X, Y, weight, smoothing)
    cdef floating* moment2_at = NULL
    if row_ids is not None:
        sample.row_ids = &row_ids[0]
    if moment2 is not None:
        moment2_at = &moment2[0]
    cdef list raised = []
    cdef Pause pause = pauses(raised)
    cdef Run run = run_of(net, &sample, &rule, t, batch_size, &pause)
    if rates is not None:
        run.rates = &rates[0]
    run.dropout = dropout_view(dropout, dropout_seed, t)
    run.work = workspace_view(net, block_rows, blocks, gradients, partials)
    run.start, run.stop, run.cost_sum = start, stop, cost_sum
    run.deadline = seconds_now() + seconds
    run.region = new_region()
    n_threads = min(n_threads, blocks.shape[0], shard_count(run.net, batch_size))
    with nogil:
        squares_of_chunks(run.net, &run.work, &theta[0])
        go_through(&run, n_threads, &theta[0], &moment1[0], moment2_at)
    raise_from(raised)
    require(not run.strays, "row_ids names rows that X does not have")
    return run.stop, run.cost_sum, run.rows_counted, run.n_steps


def run_epochs(
    Network network not None, UpdateRule rule, int64_t t, floating[::1] theta not None,
    floating[::1] moment1 not None, floating[::1] moment2,
    Table X not None, const uint8_t[:, ::1] Y not None, const floating[::1] weight, const int64_t[:, ::1] orders,
    double smoothing, Py_ssize_t batch_size, double seconds,
    Py_ssize_t block_rows, floating[:, ::1] blocks not None, floating[:, ::1] gradients not None,
    double[::1] partials not None, int n_threads,
    double bound, floating[::1] kept not None, double[::1] costs not None, int64_t[::1] done not None,
    const double[::1] dropout=None, uint64_t dropout_seed=0,
):
    """Train for costs.size epochs as run_steps does for one, the rows in the order of each row of orders.

    It ends before them when so many seconds are over, and after an epoch whose cost is not finite or that leaves a
    parameter beyond bound. costs[k] is the mean cost of epoch k; kept is theta after the last epoch but one; done
    counts [epochs, their steps, epochs but such a last one], also where a signal's handler raises within the next one.
    """
    cdef const NetworkView* net = &network.view
    cdef Py_ssize_t n_rows = X.view.n_rows if orders is None else orders.shape[1], k
    cdef double deadline = seconds_now() + seconds
    require_blocks(net, theta.shape[0], &X.view, block_rows, blocks.shape[0], blocks.shape[1], n_threads)
    require_training(
        net, &X.view, Y, X.view.n_rows if weight is None else weight.shape[0], gradients.shape[0], gradients.shape[1],
        partials.shape[0], dropout, batch_size,
    )
    require_rule(&rule, theta.shape[0], moment1.shape[0], -1 if moment2 is None else moment2.shape[0])
    require(orders is None or orders.shape[0] >= costs.shape[0], "orders has a row an epoch")
    require(n_rows >= 1 and batch_size >= 1, "an epoch and a batch have a row")
    require(kept.shape[0] == theta.shape[0] and done.shape[0] == 3, "kept is as theta, and done has three entries")
    cdef SampleView sample = sample_view(X, Y, weight, smoothing)
    cdef floating* moment2_at = NULL
    if moment2 is not None:
        moment2_at = &moment2[0]
    cdef list raised = []
    cdef Pause pause = pauses(raised)
    cdef Run run = run_of(net, &sample, &rule, t, batch_size, &pause)
    run.dropout = dropout_view(dropout, dropout_seed, t)
    run.work = workspace_view(net, block_rows, blocks, gradients, partials)
    done[0] = done[1] = done[2] = 0
    run.region = new_region()
    n_threads = min(n_threads, blocks.shape[0], shard_count(net, batch_size))
    with nogil:
        squares_of_chunks(net, &run.work, &theta[0])
        for k in range(costs.shape[0]):
            if k > 0:
                memcpy(&kept[0], &theta[0], theta.shape[0] * sizeof(floating))
            if orders is not None:
                sample.row_ids = &orders[k, 0]
            run.stop, run.cost_sum, run.rows_counted = n_rows, 0, 0
            open_barrier(&run.region.barrier)
            go_through(&run, n_threads, &theta[0], &moment1[0], moment2_at)
            if is_over(&pause) or run.strays:
                break
            run.t += run.n_steps
            costs[k] = run.cost_sum / run.rows_counted if run.rows_counted else 0
            done[0], done[1] = k + 1, run.t - t
            if not (isfinite(costs[k]) and are_within(bound, theta.shape[0], &theta[0])):
                break
            done[2] = k + 1
            if seconds_now() > deadline:
                break
    raise_from(raised)
    require(not run.strays, "orders names rows that X does not have")


def cost_and_gradient(
    Network network not None, double alpha, const floating[::1] theta not None, floating[::1] gradient not None,
    Table X not None, const uint8_t[:, ::1] Y not None, const floating[::1] weight, double smoothing,
    Py_ssize_t block_rows, floating[:, ::1] blocks not None, floating[:, ::1] gradients not None,
    double[::1] partials not None, int n_threads,
    const double[::1] dropout=None, uint64_t dropout_seed=0, int64_t dropout_step=0,
):
    """The cost over all rows, with its L2 term, and its gradient in place; under the dropout of one step, if any."""
    require_blocks(&network.view, theta.shape[0], &X.view, block_rows, blocks.shape[0], blocks.shape[1], n_threads)
    require_training(
        &network.view, &X.view, Y, X.view.n_rows if weight is None else weight.shape[0], gradients.shape[0],
        gradients.shape[1], partials.shape[0], dropout, X.view.n_rows,
    )
    require(gradient.shape[0] == theta.shape[0], "gradient is as theta")
    cdef SampleView sample = sample_view(X, Y, weight, smoothing)
    cdef DropoutView masks = dropout_view(dropout, dropout_seed, dropout_step)
    cdef const NetworkView* net = &network.view
    cdef WorkspaceView work = workspace_view(net, block_rows, blocks, gradients, partials)
    cdef Py_ssize_t i, n = net.n_parameters, n_W = net.b_start[0], n_rows = sample.X.n_rows
    cdef Py_ssize_t n_shards = shard_count(net, n_rows)
    cdef double loss, total
    cdef floating decay = alpha, scale
    cdef list raised = []
    cdef Pause pause = pauses(raised)
    cdef Region region = new_region()
    n_threads = min(n_threads, blocks.shape[0], n_shards)
    with nogil:
        with parallel(num_threads=n_threads):
            enter(&region)
            shard_gradients(net, &sample, &masks, &work, &theta[0], 0, n_rows, n_shards, &pause)
            wait_for_all(&region.barrier)
    raise_from(raised)
    with nogil:
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
    Network network not None, const floating[::1] theta not None, Table X not None, const int64_t[::1] row_ids,
    Py_ssize_t block_rows, floating[:, ::1] blocks not None, floating[:, ::1] Z not None, int n_threads,
):
    """Z[L] of every row, or of the rows named, block after block; returns whether theta is finite, and whether Z is.

    It is NaN for a row of a dense X that holds NaN or infinity, also where an activation would hide it.
    """
    require_blocks(&network.view, theta.shape[0], &X.view, block_rows, blocks.shape[0], blocks.shape[1], n_threads)
    require(Z.shape[0] // block_rows < INT_MAX - n_threads, "blocks are counted in 31 bits")
    require(Z.shape[1] == network.view.units[network.view.n_layers], "Z has the network's outputs")
    require(row_ids is not None or Z.shape[0] <= X.view.n_rows, "Z has no more rows than X")
    if row_ids is not None:
        require_ids(row_ids, Z.shape[0], X.view.n_rows)
    cdef const int64_t* ids = NULL
    if row_ids is not None:
        ids = &row_ids[0]
    cdef Py_ssize_t block_size = blocks.shape[1], n_rows = Z.shape[0]
    cdef floating* block = &blocks[0, 0]
    cdef bint theta_is_finite, Z_is_finite
    cdef int next_block = 0
    cdef list raised = []
    cdef Pause pause = pauses(raised)
    cdef Region region = new_region()
    n_threads = min(n_threads, blocks.shape[0])
    with nogil:
        theta_is_finite = are_finite(theta.shape[0], &theta[0])
        if n_threads == 1:
            fill_logits(
                &network.view, &theta[0], &X.view, ids, block_rows, block_size, block, n_rows, &next_block,
                &pause, &Z[0, 0],
            )
        else:
            with parallel(num_threads=n_threads):
                enter(&region)
                fill_logits(
                    &network.view, &theta[0], &X.view, ids, block_rows, block_size, block, n_rows, &next_block,
                    &pause, &Z[0, 0],
                )
                wait_for_all(&region.barrier)
        Z_is_finite = not is_over(&pause) and are_finite(n_rows * Z.shape[1], &Z[0, 0])
    raise_from(raised)
    return theta_is_finite, Z_is_finite


def input_gradients(
    Network network not None, const floating[::1] theta not None, Table X not None, Py_ssize_t output,
    Py_ssize_t block_rows, floating[:, ::1] blocks not None, floating[:, ::1] dX not None, int n_threads,
):
    """dX[i, j] = d Z[L][i, output] / d X[i, j] for every row of a dense X, block after block."""
    require_blocks(&network.view, theta.shape[0], &X.view, block_rows, blocks.shape[0], blocks.shape[1], n_threads)
    require(dX.shape[0] // block_rows < INT_MAX - n_threads, "blocks are counted in 31 bits")
    require(not X.view.sparse, "X is dense")
    require(dX.shape[0] <= X.view.n_rows and dX.shape[1] == X.view.n_columns, "dX is as X")
    require(0 <= output < network.view.units[network.view.n_layers], "output is one of the network's")
    cdef Py_ssize_t block_size = blocks.shape[1], n_rows = dX.shape[0]
    cdef floating* block = &blocks[0, 0]
    cdef int next_block = 0
    cdef list raised = []
    cdef Pause pause = pauses(raised)
    cdef Region region = new_region()
    n_threads = min(n_threads, blocks.shape[0])
    with nogil:
        with parallel(num_threads=n_threads):
            enter(&region)
            fill_input_gradients(
                &network.view, &theta[0], &X.view, output, block_rows, block_size, block, n_rows, &next_block,
                &pause, &dX[0, 0],
            )
            wait_for_all(&region.barrier)
    raise_from(raised)


cdef EncodingView encoding_view(
    Table X, const int64_t[:, ::1] places, const double[:, ::1] robust, const double[::1] edges, Py_ssize_t width
) except *:
    """the plan of an encoding, after a look that it stays within X, the edges and a row of the output"""
    require(not X.view.sparse, "X is dense")
    require(places.shape[0] == 6 and robust.shape[0] == 2, "a plan has 6 rows and 2")
    require(robust.shape[1] == places.shape[1], "a plan has an entry a column")
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
    require(is_within(&plan, X.view.n_columns, edges.shape[0]), "a plan stays within X, the edges and the output")
    return plan


def encode_columns(
    Table X not None, const int64_t[:, ::1] places not None, const double[:, ::1] robust not None,
    const double[::1] edges not None, float[:, ::1] out not None, int n_threads,
):
    """The piecewise-linear encoding of a dense table's columns, each row by itself."""
    cdef EncodingView plan = encoding_view(X, places, robust, edges, out.shape[1])
    require(n_threads >= 1, "there is a thread")
    require(out.shape[0] == X.view.n_rows, "the output has X's rows")
    cdef list raised = []
    cdef Pause pause = pauses(raised)
    cdef Region region = new_region()
    with nogil:
        if n_threads == 1:
            encode_rows(&X.view, &plan, 0, 1, &pause, &out[0, 0])
        else:
            with parallel(num_threads=n_threads):
                enter(&region)
                encode_rows(&X.view, &plan, thread_number(), thread_count(), &pause, &out[0, 0])
                wait_for_all(&region.barrier)
    raise_from(raised)


cdef int take_networks(LookupView* lookup, tuple networks, tuple thetas, floating like) except -1:
    """the networks and their parameters, after a look that they are of one output, over the plan's encoding"""
    cdef const floating[::1] theta
    cdef const NetworkView* net
    cdef Py_ssize_t m
    for m in range(lookup.n_networks):
        net = &(<Network?>networks[m]).view
        theta = thetas[m]
        require(theta.shape[0] == net.n_parameters, "theta has the network's parameters")
        require(
            net.units[0] == lookup.plan.width and net.units[net.n_layers] == 1,
            "networks have the encoding, one output",
        )
        lookup.net[m], lookup.theta[m] = net, &theta[0]
        lookup.sums_size = max(lookup.sums_size, max(2 * widest_group(&lookup.plan), NUMBERS) * net.units[1])
        lookup.workspace_size = max(lookup.workspace_size, workspace_size(net, lookup.block_rows))
    return 0


cdef class Lookup:
    """A few networks of one output and one dtype over an encoding of a dense table, their layouts being for CSR.

    Raises
    ------
    ValueError
        Where networks, plan and table do not fit.
    """

    cdef LookupView view
    cdef Table _X
    cdef tuple _owners
    cdef readonly object logits  # takes them: a row for each network
    cdef readonly Py_ssize_t n_elements  # of the memory for a thread, in its dtype

    def __cinit__(
        self, tuple networks not None, tuple thetas not None, Table X not None, places, robust, edges,
        Py_ssize_t width, Py_ssize_t block_rows,
    ):
        cdef const int64_t[:, ::1] places_view = places
        cdef const double[:, ::1] robust_view = robust
        cdef const double[::1] edges_view = edges
        require(places is not None and robust is not None and edges is not None, "a plan has places, robust and edges")
        self.view.plan = encoding_view(X, places_view, robust_view, edges_view, width)
        require(is_in_order(&self.view.plan), "a plan has its columns in order")
        require(X.view.n_rows > 0, "X has rows")
        require(1 <= len(networks) == len(thetas) <= MOST_NETWORKS, "there are a few networks, and a theta for each")
        require(1 <= block_rows <= MOST_ROWS, "block_rows is positive, and a block of a table")
        self._X, self._owners = X, (networks, thetas, places, robust, edges)
        self.view.n_networks, self.view.block_rows = len(networks), block_rows
        self.view.sums_size = self.view.workspace_size = 0
        self.view.is_double = getattr(thetas[0], "dtype", None) == np.float64
        self.logits = np.empty((len(networks), X.view.n_rows), np.float64 if self.view.is_double else np.float32)
        self.view.Z = <void*>first_element(self.logits)
        if self.view.is_double:
            take_networks[double](&self.view, networks, thetas, 0)
        else:
            take_networks[float](&self.view, networks, thetas, 0)
        self.n_elements = self.view.n_networks * (self.view.sums_size + self.view.workspace_size)

    cdef list finite_ones(self):
        """for each network whether theta and logits are"""
        cdef Py_ssize_t m, n = self._X.view.n_rows
        cdef list found = []
        for m in range(self.view.n_networks):
            if self.view.is_double:
                found.append(bool(self.view.is_finite[m] and are_finite(n, <double*>self.view.Z + m * n)))
            else:
                found.append(bool(self.view.is_finite[m] and are_finite(n, <float*>self.view.Z + m * n)))
        return found


def looked_up_logits(tuple lookups not None, double[:, ::1] memory not None, int n_threads):
    """Z[L] of a table's encodings by the networks of some lookups, into their `logits`; a block of rows is a task.

    Returns for each lookup, and each of its networks, whether theta and Z are finite.
    """
    require(len(lookups) >= 1 and n_threads >= 1 and memory.shape[0] >= 1, "there are lookups, a thread, and memory")
    cdef Lookup lookup, first = <Lookup?>lookups[0]
    # Pointers to their views.
    cdef uintptr_t[::1] views = np.empty(len(lookups), np.uintp)
    cdef Py_ssize_t k, n_lookups = len(lookups)
    cdef Py_ssize_t n_blocks = (first._X.view.n_rows + first.view.block_rows - 1) // first.view.block_rows
    for k in range(n_lookups):
        lookup = <Lookup?>lookups[k]
        require(lookup._X is first._X and lookup.view.block_rows == first.view.block_rows, "lookups have a table")
        require(
            memory.shape[1] * (1 if lookup.view.is_double else 2) >= lookup.n_elements, "memory holds a block"
        )
        views[k] = <uintptr_t>&lookup.view
    require(n_lookups * n_blocks <= INT_MAX - n_threads, "tasks are counted in 31 bits")
    cdef int task = 0
    cdef list raised = []
    cdef Pause pause = pauses(raised)
    cdef Region region = new_region()
    n_threads = min(n_threads, memory.shape[0])
    with nogil:
        if n_threads == 1:
            look_up(
                <LookupView**>&views[0], n_lookups, &first._X.view, n_blocks, memory.shape[1], &memory[0, 0], &task,
                &pause,
            )
        else:
            with parallel(num_threads=n_threads):
                enter(&region)
                look_up(
                    <LookupView**>&views[0], n_lookups, &first._X.view, n_blocks, memory.shape[1], &memory[0, 0],
                    &task, &pause,
                )
                wait_for_all(&region.barrier)
    raise_from(raised)
    return [(<Lookup>one).finite_ones() for one in lookups]


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


def probabilities(floating[:, ::1] Z not None):
    """sigmoid(Z), in place."""
    cdef Py_ssize_t i
    with nogil:
        for i in range(Z.shape[0] * Z.shape[1]):
            (&Z[0, 0])[i] = probability((&Z[0, 0])[i])


def class_probabilities(const floating[:, ::1] Z not None, floating[:, ::1] out not None):
    """out[:, 0] = sigmoid(-Z), out[:, 1] = sigmoid(Z): neither is rounded from the other."""
    cdef Py_ssize_t i
    require(Z.shape[1] >= 1 and out.shape[0] == Z.shape[0] and out.shape[1] == 2, "the output has a row a logit, of 2")
    with nogil:
        for i in range(Z.shape[0]):
            out[i, 0] = probability(-Z[i, 0])
            out[i, 1] = probability(Z[i, 0])


def elementwise(str name, floating[::1] x not None):
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
    const floating[:, ::1] A not None, const floating[:, ::1] W not None, const floating[::1] b not None,
    bint relu, floating[:, ::1] Z not None,
):
    """Z = b + A W, or relu(Z)"""
    require(A.shape[0] == Z.shape[0] and A.shape[1] == W.shape[0], "A has Z's rows, and W's rows as columns")
    require(W.shape[1] == b.shape[0] == Z.shape[1], "b and Z have W's columns")
    require_product(A.shape[0], W.shape[0], W.shape[1])
    with nogil:
        product_forward(Z.shape[0], W.shape[0], W.shape[1], &A[0, 0], A.shape[1], &W[0, 0], &b[0], relu, &Z[0, 0])


def apply_activation(int activation, floating[:, ::1] Z not None):
    """A = f(Z), in place"""
    require(0 <= activation < STORED, "the activation is known")
    with nogil:
        activate(<Activation>activation, Z.shape[0] * Z.shape[1], &Z[0, 0])


def store_derivative(int activation, floating[:, ::1] Z not None, floating[:, ::1] D not None):
    """A = f(Z), in place, and D = f'(Z)"""
    require(0 <= activation < STORED, "the activation is known")
    require(D.shape[0] == Z.shape[0] and D.shape[1] == Z.shape[1], "D is as Z")
    cdef Activation f = <Activation>activation
    with nogil:
        if needs_Z(f):
            activate_storing(f, Z.shape[0] * Z.shape[1], &Z[0, 0], &D[0, 0])
        else:
            activate(f, Z.shape[0] * Z.shape[1], &Z[0, 0])
            D[...] = Z
            derivative_in_place(f, Z.shape[0] * Z.shape[1], &D[0, 0])


def apply_dropout(
    double p, uint64_t seed, int64_t step, int layer, Py_ssize_t first_row, floating[:, ::1] A not None,
    floating[:, ::1] D not None,
):
    """A *= mask and D *= mask of rows first_row, .. of a batch: 0 with probability p, else 1 / (1 - p)"""
    require(D.shape[0] == A.shape[0] and D.shape[1] == A.shape[1], "D is as A")
    cdef DropoutView dropout = dropout_view(None, seed, step)
    with nogil:
        drop(p, &dropout, layer, first_row, A.shape[0], A.shape[1], &A[0, 0], &D[0, 0])


def output_loss(
    const floating[:, ::1] Z not None, const floating[:, ::1] Y not None, const floating[::1] weight,
    floating[:, ::1] losses not None,
):
    """The summed loss, each term in `losses`."""
    require(Y.shape[0] == losses.shape[0] == Z.shape[0], "Y and losses have Z's rows")
    require(Y.shape[1] == losses.shape[1] == Z.shape[1], "Y and losses have Z's columns")
    require(weight is None or weight.shape[0] == Z.shape[0], "weight has Z's rows")
    cdef const floating* weight_at = NULL
    if weight is not None:
        weight_at = &weight[0]
    with nogil:
        loss = loss_forward(Z.shape[0], Z.shape[1], &Z[0, 0], &Y[0, 0], weight_at, &losses[0, 0])
    return loss


def output_backward(
    const floating[:, ::1] Z not None, const floating[:, ::1] Y not None, const floating[::1] weight,
    floating[:, ::1] dZ not None, floating[::1] db not None,
):
    """dZ[L] = weight (sigmoid(Z[L]) - Y); db[L] += sum of its rows"""
    require(Y.shape[0] == dZ.shape[0] == Z.shape[0], "Y and dZ have Z's rows")
    require(Y.shape[1] == dZ.shape[1] == db.shape[0] == Z.shape[1], "Y, dZ and db have Z's columns")
    require(weight is None or weight.shape[0] == Z.shape[0], "weight has Z's rows")
    cdef const floating* weight_at = NULL
    if weight is not None:
        weight_at = &weight[0]
    with nogil:
        loss_backward(Z.shape[0], Z.shape[1], &Z[0, 0], &Y[0, 0], weight_at, &dZ[0, 0])
        add_rows(Z.shape[0], Z.shape[1], &dZ[0, 0], &db[0])


def layer_backward(
    int activation, const floating[:, ::1] A not None, const floating[:, ::1] dZ not None,
    const floating[:, ::1] W not None, floating[:, ::1] dZ_before not None, floating[::1] db_before not None,
):
    """dZ_before = (dZ W^T) * f'(Z_before); db_before += sum of its rows.

    f' is taken from A for an activation that `has_own_backward`; for STORED, A is f' itself.
    """
    require(A.shape[0] == dZ.shape[0] == dZ_before.shape[0], "A, dZ and dZ_before have as many rows")
    require(dZ.shape[1] == W.shape[1], "dZ has W's columns")
    require(A.shape[1] == W.shape[0] == dZ_before.shape[1], "A and dZ_before have W's rows as columns")
    require(db_before.shape[0] == W.shape[0], "db_before has W's rows")
    require_product(A.shape[0], W.shape[0], W.shape[1])
    with nogil:
        product_backward(dZ.shape[0], W.shape[0], W.shape[1], &dZ[0, 0], &W[0, 0], &dZ_before[0, 0])
        activate_backward(
            <Activation>activation, A.shape[0], A.shape[1], &A[0, 0], &dZ_before[0, 0], &db_before[0]
        )


def layer_gradient(
    const floating[:, ::1] A not None, const floating[:, ::1] dZ not None, floating[:, ::1] dW not None
):
    """dW = A^T dZ"""
    require(A.shape[0] == dZ.shape[0] and A.shape[1] == dW.shape[0] and dZ.shape[1] == dW.shape[1], "dW = A^T dZ")
    require_product(A.shape[0], A.shape[1], dZ.shape[1])
    with nogil:
        weights_gradient(A.shape[0], A.shape[1], dZ.shape[1], &A[0, 0], A.shape[1], &dZ[0, 0], <floating>0, &dW[0, 0])


def unit_layer_backward(
    int activation, const floating[::1] dz not None, const floating[::1] w not None, floating[:, ::1] A not None,
    floating[::1] dw not None, floating[::1] db_before not None,
):
    """Below one unit: what layer_backward does, dZ_before in place of A, and dw += A^T dz, in one pass over A."""
    require(A.shape[0] == dz.shape[0], "dz has A's rows")
    require(A.shape[1] == w.shape[0] == dw.shape[0] == db_before.shape[0], "w, dw and db_before have A's columns")
    with nogil:
        unit_backward(
            <Activation>activation, A.shape[0], A.shape[1], &A[0, 0], &dz[0], &w[0], &dw[0], &db_before[0]
        )


def gather(Table X not None, const int64_t[::1] row_ids not None, floating[:, ::1] out not None):
    """out[i] = X[row_ids[i]] of a dense table, in out's precision."""
    require(not X.view.sparse and out.shape[1] == X.view.n_columns, "X is dense, and the output has its columns")
    require_ids(row_ids, out.shape[0], X.view.n_rows)
    with nogil:
        gather_rows(&X.view, &row_ids[0], 0, out.shape[0], &out[0, 0])


def descend(
    UpdateRule rule, int64_t t, const floating[::1] gradient not None, floating[::1] theta not None,
    floating[::1] moment1 not None, floating[::1] moment2,
):
    """Step t of the rule on a flat vector, the gradient being the mean's; moment2 is Adam's, else None."""
    require(gradient.shape[0] == theta.shape[0], "gradient is as theta")
    require_rule(&rule, theta.shape[0], moment1.shape[0], -1 if moment2 is None else moment2.shape[0])
    cdef Step step = Step(t=t, learning_rate=rule.learning_rate, scale=1, alpha=rule.alpha, shrink=0)
    step.adam_rate = adam_rate(&rule, &step)
    cdef floating* moment2_at = NULL
    if moment2 is not None:
        moment2_at = &moment2[0]
    with nogil:
        update(&rule, &step, theta.shape[0], &gradient[0], &theta[0], &moment1[0], moment2_at)
