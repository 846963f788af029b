"""What the doors hand to the kernels: pointers and sizes, nothing that is Python's."""

from libc.stdint cimport int32_t, int64_t, uint64_t, uint8_t


# Where rows of X come from: a dense array of any strides, or CSR.
cdef struct TableView:
    Py_ssize_t n_rows
    Py_ssize_t n_columns
    bint sparse
    bint is_double            # stored in float64, else in float32
    const void* values        # dense: X[0, 0]; CSR: the stored values
    Py_ssize_t row_stride     # dense only, in elements; may be negative or 0
    Py_ssize_t column_stride
    const int32_t* indices    # CSR only
    const int64_t* indptr


# The shape of a network and where its parameters lie.
cdef struct NetworkView:
    Py_ssize_t n_layers        # L
    const int64_t* units       # n_0 .. n_L
    const int64_t* f           # an Activation for each hidden layer, l = 1 .. L-1
    const int64_t* W_start     # where W[l] and b[l] begin in theta, l = 0 .. L-1
    const int64_t* b_start
    const int64_t* A_start     # n_0 + .. + n_{l-1}: where A[l] begins in a block's workspace, times its rows
    const int64_t* D_start     # the same for D[l] = f'(Z[l]), behind all A; -1 where it follows from A[l]
    Py_ssize_t row_elements    # of all A and D, a row
    Py_ssize_t widest          # max(n_1 .. n_L)
    Py_ssize_t n_parameters


# The rows of a data set that train together, and their targets.
cdef struct SampleView:
    TableView X
    const uint8_t* Y           # n_rows x n_L, 0 or 1
    const void* weight         # n_rows, in the network's precision, or NULL
    const int64_t* row_ids     # the order in which rows are taken, or NULL for the table's own
    double smoothing           # targets are smoothing / 2 and 1 - smoothing / 2


# Which hidden units are dropped.
cdef struct DropoutView:
    const double* p            # the probability in each hidden layer, l = 1 .. L-1 at l - 1; NULL where there is none
    uint64_t seed
    int64_t step
    Py_ssize_t batch_start     # where the batch begins in the order


# Memory that the threads of a region work in, sized by skbce._parameters.Workspace.
cdef struct WorkspaceView:
    Py_ssize_t block_rows
    Py_ssize_t block_size      # elements from one thread's block to the next one's
    Py_ssize_t gradient_size   # elements from one shard's gradient to the next one's
    void* blocks
    void* gradients
    double* losses             # one a shard
    double* squares            # one a chunk of W
    double* gradient_squares   # one a chunk of theta


# How the columns of a table are encoded, and where the result lies in a row of the output: an entry a column that has
# any, -1 where it has none of a kind.
cdef struct EncodingView:
    Py_ssize_t n_columns
    Py_ssize_t width           # of a row of the output
    const int64_t* column      # of the table
    const int64_t* n_bins
    const int64_t* edges_start  # where its n_bins + 1 edges begin
    const int64_t* value_at
    const int64_t* bins_at
    const int64_t* missing_at
    const double* center
    const double* scale
    const double* edges
