"""Forward and backward through all layers for one block of rows: the document's equations in its order.

    forward   Z_l = b_l + A_{l-1} W_l,  A_l = f(Z_l),  Y_hat = sigmoid(Z_L)
    backward  dZ_L = Y_hat - Y,  dW_l = A_{l-1}^T dZ_l,  db_l = sum dZ_l,
              dZ_{l-1} = (dZ_l W_l^T) * f'(Z_{l-1})

f'(Z) is taken from A, or from D, where the forward pass stored it because it does not follow from A.
dW and db are sums here; 1/m enters in the update, once for all blocks of a batch.
"""

from cython cimport floating
from libc.limits cimport INT_MAX
from libc.math cimport NAN
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from skbce.kernels.activations cimport (
    RELU, STORED, Activation, activate, activate_backward, activate_storing, add_rows, derivative_in_place, fill_rows,
    has_own_backward, needs_Z, unit_backward,
)
from skbce.kernels.dropout cimport drop
from skbce.kernels.elementary cimport are_finite
from skbce.kernels.loss cimport loss_and_derivative
from skbce.kernels.parallel cimport next_task, thread_number
from skbce.kernels.pauses cimport Pause, breaks_off, breaks_off_after, is_over
from skbce.kernels.products cimport product_backward, product_forward, weights_gradient
from skbce.kernels.table cimport csr_add_gradient, csr_add_product, gather_rows, row_number
from skbce.kernels.views cimport DropoutView, NetworkView, SampleView, TableView


cdef inline bint is_apart(const NetworkView* net) noexcept nogil:
    """whether W, then b, lie one behind the other in theta, and all A, then all D, in a block's workspace"""
    cdef Py_ssize_t l, W_at = 0, b_at, A_at = net.A_start[1], D_at
    if net.A_start[0] != 0 or (A_at != 0 and A_at != net.units[0]):
        return False
    for l in range(net.n_layers + 1):
        if not 1 <= net.units[l] <= INT_MAX:
            return False
    for l in range(net.n_layers):
        if net.W_start[l] != W_at or net.A_start[l + 1] != A_at:
            return False
        # So far that nothing below can overflow; each product is below 2^62.
        if W_at > <Py_ssize_t>1 << 60 or net.units[l] * net.units[l + 1] > <Py_ssize_t>1 << 60:
            return False
        W_at += net.units[l] * net.units[l + 1]
        A_at += net.units[l + 1]
    b_at = W_at
    D_at = A_at
    for l in range(net.n_layers):
        if net.b_start[l] != b_at:
            return False
        b_at += net.units[l + 1]
        if l > 0 and net.D_start[l] >= 0:
            if net.D_start[l] != D_at:
                return False
            D_at += net.units[l]
        if l > 0 and (not 0 <= net.f[l] < STORED or (needs_Z(<Activation>net.f[l]) and net.D_start[l] < 0)):
            return False
    return net.n_parameters == b_at and net.row_elements == D_at


cdef inline Py_ssize_t workspace_size(const NetworkView* net, Py_ssize_t block_rows) noexcept nogil:
    """elements that a block needs: A[0] .. A[L], D, two dZ, Y, losses, weight"""
    cdef Py_ssize_t n_outputs = net.units[net.n_layers]
    return block_rows * (net.row_elements + 2 * net.widest + 2 * n_outputs + 1)


cdef inline const floating* input_rows(
    const TableView* X, const int64_t* row_ids, Py_ssize_t start, Py_ssize_t rows,
    floating* buffer, Py_ssize_t* lda,
) noexcept nogil:
    """A[0] for a dense table: the table itself where BLAS can read it there, else gathered into `buffer`"""
    if (
        row_ids == NULL
        and X.is_double == (sizeof(floating) == sizeof(double))
        and X.column_stride == 1
        and X.n_columns <= X.row_stride <= INT_MAX
    ):
        lda[0] = X.row_stride
        return <const floating*>X.values + start * X.row_stride
    gather_rows(X, row_ids, start, rows, buffer)
    lda[0] = X.n_columns
    return buffer


cdef inline void activate_for_backward(
    const NetworkView* net, const DropoutView* dropout, Py_ssize_t l, Py_ssize_t start, Py_ssize_t rows,
    floating* A, floating* D,
) noexcept nogil:
    """A[l] = f(Z[l]), in place, and D[l] = f'(Z[l]); both times the mask where the layer drops units"""
    cdef Activation f = <Activation>net.f[l]
    cdef Py_ssize_t n = net.units[l]
    cdef double p = 0
    if dropout != NULL and dropout.p != NULL:
        p = dropout.p[l - 1]
    if needs_Z(f):
        activate_storing(f, rows * n, A, D)
    else:
        activate(f, rows * n, A)
        memcpy(D, A, rows * n * sizeof(floating))
        derivative_in_place(f, rows * n, D)
    if p > 0:
        drop(p, dropout, l, start, rows, n, A, D)


cdef inline Activation derivative_at(
    const NetworkView* net, Py_ssize_t l, Py_ssize_t rows, Py_ssize_t block_rows, floating* workspace,
    const floating** source,
) noexcept nogil:
    """what `activate_backward` takes f'(Z[l]) from, and as which f; A[l] may be overwritten by it"""
    cdef Activation f = <Activation>net.f[l]
    cdef floating* A = workspace + block_rows * net.A_start[l]
    source[0] = A
    if net.D_start[l] >= 0:
        source[0] = workspace + block_rows * net.D_start[l]
        return STORED
    if has_own_backward(f):
        return f
    derivative_in_place(f, rows * net.units[l], A)
    return STORED


cdef inline floating* forward(
    const NetworkView* net, const floating* theta,
    const TableView* X, const int64_t* row_ids, Py_ssize_t start, Py_ssize_t rows,
    Py_ssize_t block_rows, floating* workspace, bint keeps_D, const DropoutView* dropout, Pause* pause,
    const floating** A_0, Py_ssize_t* lda_0,
) noexcept nogil:
    """A[1] .. A[L-1] and Z[L], the logits, which it returns; A_0 and lda_0 tell where the input lies.

    With keeps_D also D, for `backward`, in layers that store it, and their dropout. Broken off, it leaves what it has.
    """
    cdef Py_ssize_t l, n_in, n_out, lda
    cdef const floating* A = workspace
    cdef floating* Z
    cdef bint is_hidden, stores, relu
    lda_0[0] = net.units[0]
    if not X.sparse:
        A = input_rows(X, row_ids, start, rows, workspace, lda_0)
    A_0[0] = A
    lda = lda_0[0]
    for l in range(net.n_layers):
        n_in = net.units[l]
        n_out = net.units[l + 1]
        Z = workspace + block_rows * net.A_start[l + 1]
        is_hidden = l < net.n_layers - 1
        stores = is_hidden and keeps_D and net.D_start[l + 1] >= 0
        relu = is_hidden and net.f[l + 1] == RELU and not stores and not (l == 0 and X.sparse)
        if l == 0 and X.sparse:
            fill_rows(rows, n_out, theta + net.b_start[l], Z)
            csr_add_product(X, row_ids, start, rows, n_out, theta + net.W_start[l], Z)
        else:
            product_forward(rows, n_in, n_out, A, lda, theta + net.W_start[l], theta + net.b_start[l], relu, Z)
        if stores:
            activate_for_backward(net, dropout, l + 1, start, rows, Z, workspace + block_rows * net.D_start[l + 1])
        elif is_hidden and not relu:
            activate(<Activation>net.f[l + 1], rows * n_out, Z)
        if breaks_off_after(rows, n_in, n_out, pause):
            break
        A = Z
        lda = n_out
    return Z


cdef inline floating* forward_above(
    const NetworkView* net, const floating* theta, Py_ssize_t rows, Py_ssize_t block_rows, floating* workspace
) noexcept nogil:
    """Z[L] from Z[1], which lies in its place in the workspace"""
    cdef Py_ssize_t l, n = net.units[1]
    cdef floating* Z = workspace + block_rows * net.A_start[1]
    cdef floating* A
    cdef bint relu = False
    for l in range(1, net.n_layers):
        if not relu:
            activate(<Activation>net.f[l], rows * n, Z)
        A = Z
        Z = workspace + block_rows * net.A_start[l + 1]
        relu = l < net.n_layers - 1 and net.f[l + 1] == RELU
        product_forward(
            rows, n, net.units[l + 1], A, n, theta + net.W_start[l], theta + net.b_start[l], relu, Z
        )
        n = net.units[l + 1]
    return Z


cdef inline void backward(
    const NetworkView* net, const floating* theta,
    const TableView* X, const int64_t* row_ids, Py_ssize_t start, Py_ssize_t rows,
    Py_ssize_t block_rows, floating* workspace, const floating* A_0, Py_ssize_t lda_0,
    const floating* dZ_L, bint accumulate, Pause* pause, floating* gradient,
) noexcept nogil:
    """sums over the block's rows of dW[l] and db[l], differentiates `forward`; added to `gradient` or written to it"""
    cdef Py_ssize_t l = net.n_layers, n_in, n_out
    cdef Activation f
    cdef const floating* A
    cdef const floating* dZ = dZ_L
    cdef floating* spare = workspace + block_rows * net.row_elements
    cdef floating* dA
    cdef floating* dW
    cdef floating* db
    if not accumulate:
        memset(gradient + net.b_start[0], 0, (net.n_parameters - net.b_start[0]) * sizeof(floating))
    add_rows(rows, net.units[l], dZ, gradient + net.b_start[l - 1])
    while l > 1:
        l -= 1
        n_in = net.units[l]
        n_out = net.units[l + 1]
        f = <Activation>net.f[l]
        A = workspace + block_rows * net.A_start[l]
        dW = gradient + net.W_start[l]
        db = gradient + net.b_start[l - 1]
        dA = spare + (l % 2) * block_rows * net.widest
        if n_out == 1 and net.D_start[l] < 0 and has_own_backward(f):
            if not accumulate:
                memset(dW, 0, n_in * sizeof(floating))
            dA = workspace + block_rows * net.A_start[l]
            unit_backward(f, rows, n_in, dA, dZ, theta + net.W_start[l], dW, db)
        else:
            weights_gradient(rows, n_in, n_out, A, n_in, dZ, <floating>accumulate, dW)
            product_backward(rows, n_in, n_out, dZ, theta + net.W_start[l], dA)
            f = derivative_at(net, l, rows, block_rows, workspace, &A)
            activate_backward(f, rows, n_in, A, dA, db)
        if breaks_off_after(rows, n_in, n_out, pause):
            return
        dZ = dA
    n_in = net.units[0]
    n_out = net.units[1]
    if X.sparse:
        if not accumulate:
            memset(gradient, 0, n_in * n_out * sizeof(floating))
        csr_add_gradient(X, row_ids, start, rows, n_out, dZ, gradient)
    else:
        weights_gradient(rows, n_in, n_out, A_0, lda_0, dZ, <floating>accumulate, gradient)


cdef inline void gather_targets(
    const SampleView* sample, Py_ssize_t n_outputs, Py_ssize_t start, Py_ssize_t rows,
    floating* Y, floating* weight,
) noexcept nogil:
    """Y = smoothing / 2 + (1 - smoothing) y, and weight, of a block's rows"""
    cdef Py_ssize_t i, k
    cdef floating low = 0.5 * sample.smoothing, span = 1 - sample.smoothing
    # Most targets are one a row, for which the loop over one output takes a twentieth of a step of 20-16-1.
    if n_outputs == 1:
        for i in range(rows):
            Y[i] = low + span * sample.Y[row_number(sample.row_ids, start, i)]
    else:
        for i in range(rows):
            for k in range(n_outputs):
                Y[i * n_outputs + k] = low + span * sample.Y[row_number(sample.row_ids, start, i) * n_outputs + k]
    if sample.weight != NULL:
        for i in range(rows):
            weight[i] = (<const floating*>sample.weight)[row_number(sample.row_ids, start, i)]


cdef inline double block_gradient(
    const NetworkView* net, const floating* theta, const SampleView* sample, const DropoutView* dropout,
    Py_ssize_t start, Py_ssize_t rows, Py_ssize_t block_rows, floating* workspace,
    bint accumulate, Pause* pause, floating* gradient,
) noexcept nogil:
    """the summed loss of rows start .. start + rows, and its gradient"""
    cdef Py_ssize_t n_outputs = net.units[net.n_layers], lda_0
    cdef floating* Y = workspace + block_rows * (net.row_elements + 2 * net.widest)
    cdef floating* losses = Y + block_rows * n_outputs
    cdef floating* weight = losses + block_rows * n_outputs
    cdef const floating* A_0
    cdef floating* Z
    cdef double loss
    gather_targets(sample, n_outputs, start, rows, Y, weight)
    if sample.weight == NULL:
        weight = NULL
    Z = forward(
        net, theta, &sample.X, sample.row_ids, start, rows, block_rows, workspace, True, dropout, pause, &A_0, &lda_0
    )
    if is_over(pause):
        return 0
    loss = loss_and_derivative(rows, n_outputs, Y, weight, losses, Z)
    backward(
        net, theta, &sample.X, sample.row_ids, start, rows, block_rows, workspace, A_0, lda_0,
        Z, accumulate, pause, gradient,
    )
    return loss


cdef inline double summed_gradient(
    const NetworkView* net, const floating* theta, const SampleView* sample, const DropoutView* dropout,
    Py_ssize_t start, Py_ssize_t stop, Py_ssize_t block_rows, floating* workspace, Pause* pause, floating* gradient,
) noexcept nogil:
    """the summed loss of rows start .. stop, and its gradient, block after block"""
    cdef Py_ssize_t at = start
    cdef double loss = 0
    while at < stop and not (at > start and breaks_off(pause)):
        loss += block_gradient(
            net, theta, sample, dropout, at, min(block_rows, stop - at), block_rows, workspace, at > start, pause,
            gradient,
        )
        at += block_rows
    return loss


cdef inline void mark_rows_not_finite(
    Py_ssize_t rows, Py_ssize_t n, const floating* A, Py_ssize_t lda, Py_ssize_t n_outputs, floating* Z,
) noexcept nogil:
    """Z[i] = NaN where A[i] holds NaN or infinity, which an activation may hide: relu(-inf) = 0"""
    cdef Py_ssize_t i, k
    if lda == n and are_finite(rows * n, A):
        return
    for i in range(rows):
        if not are_finite(n, A + i * lda):
            for k in range(n_outputs):
                Z[i * n_outputs + k] = <floating>NAN


cdef inline void fill_logits(
    const NetworkView* net, const floating* theta, const TableView* X, const int64_t* row_ids,
    Py_ssize_t block_rows, Py_ssize_t block_size, floating* blocks, Py_ssize_t n_rows, int* next_block, Pause* pause,
    floating* Z,
) noexcept nogil:
    """Z[L] of n_rows rows, NaN for a dense one that is not finite; threads take blocks as they come"""
    cdef Py_ssize_t block = next_task(next_block), at, rows, n_outputs = net.units[net.n_layers], lda_0
    cdef floating* workspace = blocks + thread_number() * block_size
    cdef const floating* A_0
    cdef floating* Z_block
    while block * block_rows < n_rows:
        at = block * block_rows
        rows = min(block_rows, n_rows - at)
        Z_block = forward(net, theta, X, row_ids, at, rows, block_rows, workspace, False, NULL, pause, &A_0, &lda_0)
        if breaks_off(pause):
            return
        if not X.sparse:
            mark_rows_not_finite(rows, net.units[0], A_0, lda_0, n_outputs, Z_block)
        memcpy(Z + at * n_outputs, Z_block, rows * n_outputs * sizeof(floating))
        block = next_task(next_block)


cdef inline void input_backward(
    const NetworkView* net, const floating* theta, Py_ssize_t rows, Py_ssize_t block_rows, floating* workspace,
    const floating* dZ_L, floating* dX,
) noexcept nogil:
    """dX = dZ_1 W_1^T, as `backward` gets dZ_1, without dW and db"""
    cdef Py_ssize_t l = net.n_layers, n
    cdef Activation f
    cdef const floating* source
    cdef const floating* dZ = dZ_L
    cdef floating* dA
    while l > 1:
        l -= 1
        n = net.units[l]
        dA = workspace + block_rows * (net.row_elements + (l % 2) * net.widest)
        product_backward(rows, n, net.units[l + 1], dZ, theta + net.W_start[l], dA)
        f = derivative_at(net, l, rows, block_rows, workspace, &source)
        activate_backward(f, rows, n, source, dA, <floating*>NULL)
        dZ = dA
    product_backward(rows, net.units[0], net.units[1], dZ, theta, dX)


cdef inline void fill_input_gradients(
    const NetworkView* net, const floating* theta, const TableView* X, Py_ssize_t output,
    Py_ssize_t block_rows, Py_ssize_t block_size, floating* blocks, Py_ssize_t n_rows, int* next_block, Pause* pause,
    floating* dX,
) noexcept nogil:
    """dX[i, j] = d Z[L][i, output] / d X[i, j], for n_rows rows; threads take blocks as in `fill_logits`"""
    cdef Py_ssize_t block = next_task(next_block), at, rows, i, n_outputs = net.units[net.n_layers], lda_0
    cdef floating* workspace = blocks + thread_number() * block_size
    cdef const floating* A_0
    cdef floating* dZ
    while block * block_rows < n_rows:
        at = block * block_rows
        rows = min(block_rows, n_rows - at)
        # The logits' place takes their derivatives in themselves.
        dZ = forward(net, theta, X, NULL, at, rows, block_rows, workspace, True, NULL, pause, &A_0, &lda_0)
        if breaks_off(pause):
            return
        memset(dZ, 0, rows * n_outputs * sizeof(floating))
        for i in range(rows):
            dZ[i * n_outputs + output] = 1
        input_backward(net, theta, rows, block_rows, workspace, dZ, dX + at * net.units[0])
        block = next_task(next_block)
