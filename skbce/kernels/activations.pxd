"""Activations f and their derivatives f', over whole blocks; the choice of f stands before the loops."""

from cython cimport floating
from libc.stdint cimport uint32_t, uint64_t

from skbce.kernels.elementary cimport (
    bits32_of, bits64_of, expm1_not_positive, float32_of, float64_of, sigmoid, tanh_,
)
from skbce.kernels.functions cimport (
    LEAKY_SLOPE, SELU_SCALE, SELU_SCALE_ALPHA, elu, gelu, leaky_relu, mish, selu, silu, softplus,
)

cdef extern from "tiles.h":
    const bint HAS_TILES "SKBCE_HAS_TILES"
    const Py_ssize_t VECTOR_BYTES "SKBCE_VECTOR_BYTES"
    void unit_backward_float "skbce_unit_backward_float" (
        int f, Py_ssize_t rows, Py_ssize_t n, float* A, const float* dz, const float* w, float* dw, float* db,
    ) noexcept nogil
    void unit_backward_double "skbce_unit_backward_double" (
        int f, Py_ssize_t rows, Py_ssize_t n, double* A, const double* dz, const double* w, double* dw, double* db,
    ) noexcept nogil

# The order of skbce._parameters.ACTIVATIONS.
cdef enum Activation:
    IDENTITY = 0
    LOGISTIC = 1
    TANH = 2
    RELU = 3
    LEAKY_RELU = 4
    ELU = 5
    SELU = 6
    SOFTPLUS = 7
    # f' does not follow from A = f(Z): two z may have the same a.
    GELU = 8
    SILU = 9
    MISH = 10
    # In the backward pass: what stands in place of A is D = f'(Z).
    STORED = 11


cdef inline void activate(Activation f, Py_ssize_t size, floating* Z) noexcept nogil:
    """A = f(Z), in place"""
    cdef Py_ssize_t i
    cdef floating unused
    if f == RELU:
        for i in range(size):
            Z[i] = 0 if Z[i] < 0 else Z[i]  # in this order NaN stays NaN
    elif f == TANH:
        for i in range(size):
            Z[i] = tanh_(Z[i])
    elif f == LOGISTIC:
        for i in range(size):
            Z[i] = sigmoid(Z[i])
    elif f == LEAKY_RELU:
        for i in range(size):
            Z[i] = leaky_relu(Z[i])
    elif f == ELU:
        for i in range(size):
            Z[i] = elu(Z[i])
    elif f == SELU:
        for i in range(size):
            Z[i] = selu(Z[i])
    elif f == SOFTPLUS:
        for i in range(size):
            Z[i] = softplus(Z[i])
    elif f == GELU:
        for i in range(size):
            Z[i] = gelu(Z[i], &unused)
    elif f == SILU:
        for i in range(size):
            Z[i] = silu(Z[i], &unused)
    elif f == MISH:
        for i in range(size):
            Z[i] = mish(Z[i], &unused)


cdef inline bint needs_Z(Activation f) noexcept nogil:
    """whether f'(Z) does not follow from A = f(Z)"""
    return f == GELU or f == SILU or f == MISH


cdef inline bint has_own_backward(Activation f) noexcept nogil:
    """whether the backward pass has loops for f itself; else `derivative_in_place`, and those for STORED"""
    return f == IDENTITY or f == LOGISTIC or f == TANH or f == RELU or f == STORED


cdef inline void activate_storing(Activation f, Py_ssize_t size, floating* Z, floating* D) noexcept nogil:
    """A = f(Z), in place, and D = f'(Z), for an f whose derivative does not follow from A"""
    cdef Py_ssize_t i
    cdef floating derivative
    if f == GELU:
        for i in range(size):
            Z[i] = gelu(Z[i], &derivative)
            D[i] = derivative
    elif f == SILU:
        for i in range(size):
            Z[i] = silu(Z[i], &derivative)
            D[i] = derivative
    elif f == MISH:
        for i in range(size):
            Z[i] = mish(Z[i], &derivative)
            D[i] = derivative


cdef enum:
    # Columns that a pass over rows takes at a time, with their sums in an array of its own: the compiler sees that
    # nothing else points there, and vectorises.
    STRIP = 256


cdef inline floating where_positive(floating a, floating x) noexcept nogil:
    """x where a > 0, else 0: by x's bits, for a branch on random signs is mispredicted half of the time"""
    if floating is float:
        return float32_of(bits32_of(x) & -<uint32_t>(a > 0))
    else:
        return float64_of(bits64_of(x) & -<uint64_t>(a > 0))


cdef inline floating times_derivative(Activation f, floating a, floating da) noexcept nogil:
    """dz = da f'(z), differentiates `activate`: a = f(z). f' is written in a itself; STORED: a is f'(z)"""
    if f == RELU:
        return where_positive(a, da)
    if f == TANH:
        return da * (<floating>1 - a * a)
    if f == LOGISTIC:
        return da * (a * (<floating>1 - a))
    if f == LEAKY_RELU:
        return da * (<floating>1 if a > 0 else <floating>LEAKY_SLOPE)
    if f == ELU:
        return da * (<floating>1 + (a if a < 0 else <floating>0))
    if f == SELU:
        return da * (<floating>SELU_SCALE if a > 0 else a + <floating>SELU_SCALE_ALPHA)
    if f == SOFTPLUS:
        return da * -expm1_not_positive(-a)
    if f == STORED:
        return da * a
    return da


cdef inline void derivative_in_place(Activation f, Py_ssize_t size, floating* A) noexcept nogil:
    """D = f'(Z) in place of A = f(Z), for an f whose derivative follows from A"""
    cdef Py_ssize_t i
    if f == RELU:
        for i in range(size):
            A[i] = times_derivative(RELU, A[i], 1)
    elif f == TANH:
        for i in range(size):
            A[i] = times_derivative(TANH, A[i], 1)
    elif f == LOGISTIC:
        for i in range(size):
            A[i] = times_derivative(LOGISTIC, A[i], 1)
    elif f == LEAKY_RELU:
        for i in range(size):
            A[i] = times_derivative(LEAKY_RELU, A[i], 1)
    elif f == ELU:
        for i in range(size):
            A[i] = times_derivative(ELU, A[i], 1)
    elif f == SELU:
        for i in range(size):
            A[i] = times_derivative(SELU, A[i], 1)
    elif f == SOFTPLUS:
        for i in range(size):
            A[i] = times_derivative(SOFTPLUS, A[i], 1)
    else:
        for i in range(size):
            A[i] = 1


cdef inline void backward_strip(
    Activation f, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t width, const floating* A, floating* dA, floating* db
) noexcept nogil:
    """`activate_backward` for the first `width` <= STRIP of n columns"""
    cdef floating sums[STRIP]
    cdef Py_ssize_t i, k
    cdef floating d, d_next
    cdef const floating* a
    cdef floating* da
    for k in range(width):
        sums[k] = 0 if db == NULL else db[k]
    # Two rows at a time halve the loads and stores of sums.
    for i in range(0, rows - 1, 2):
        a = A + i * n
        da = dA + i * n
        for k in range(width):
            d = times_derivative(f, a[k], da[k])
            d_next = times_derivative(f, a[n + k], da[n + k])
            da[k] = d
            da[n + k] = d_next
            sums[k] += d + d_next
    if rows % 2:
        a = A + (rows - 1) * n
        da = dA + (rows - 1) * n
        for k in range(width):
            da[k] = times_derivative(f, a[k], da[k])
            sums[k] += da[k]
    if db != NULL:
        for k in range(width):
            db[k] = sums[k]


cdef inline void backward_strips(
    Activation f, Py_ssize_t rows, Py_ssize_t n, const floating* A, floating* dA, floating* db
) noexcept nogil:
    """`activate_backward` for an f that the compiler knows"""
    cdef Py_ssize_t j = 0
    while j < n:
        backward_strip(f, rows, n, min(<Py_ssize_t>STRIP, n - j), A + j, dA + j, NULL if db == NULL else db + j)
        j += STRIP


cdef inline void activate_backward(
    Activation f, Py_ssize_t rows, Py_ssize_t n, const floating* A, floating* dA, floating* db
) noexcept nogil:
    """dZ = dA * f'(Z) in place, and db[j] += sum_i dZ[i, j]; differentiates `activate` and `fill_rows` in one pass.

    For an f that `has_own_backward`. db may be NULL: then nothing is summed.
    """
    if f == RELU:
        backward_strips(RELU, rows, n, A, dA, db)
    elif f == TANH:
        backward_strips(TANH, rows, n, A, dA, db)
    elif f == LOGISTIC:
        backward_strips(LOGISTIC, rows, n, A, dA, db)
    elif f == STORED:
        backward_strips(STORED, rows, n, A, dA, db)
    else:
        backward_strips(IDENTITY, rows, n, A, dA, db)


cdef inline void unit_rows(
    Activation f, Py_ssize_t rows, Py_ssize_t n, floating* A, const floating* dz,
    const floating* w, floating* dw, floating* db,
) noexcept nogil:
    """`unit_backward` for an f that the compiler knows"""
    cdef Py_ssize_t i, k
    cdef floating d
    cdef floating* a
    for i in range(rows):
        a = A + i * n
        for k in range(n):
            d = times_derivative(f, a[k], dz[i] * w[k])
            dw[k] += dz[i] * a[k]
            db[k] += d
            a[k] = d


cdef inline bint fill_a_vector(Py_ssize_t n, Py_ssize_t size) noexcept nogil:
    """whether there are tiles, and n numbers of `size` bytes each are one of their vectors at least"""
    return HAS_TILES and n * size >= VECTOR_BYTES


cdef inline void unit_backward(
    Activation f, Py_ssize_t rows, Py_ssize_t n, floating* A, const floating* dz,
    const floating* w, floating* dw, floating* db,
) noexcept nogil:
    """below one unit, z = A w + b: dw += A^T dz, dZ = (dz w^T) * f'(Z) in place of A, db += sum_i dZ[i], in one pass"""
    if fill_a_vector(n, sizeof(floating)):
        if floating is float:
            unit_backward_float(f, rows, n, A, dz, w, dw, db)
        else:
            unit_backward_double(f, rows, n, A, dz, w, dw, db)
    elif f == RELU:
        unit_rows(RELU, rows, n, A, dz, w, dw, db)
    elif f == TANH:
        unit_rows(TANH, rows, n, A, dz, w, dw, db)
    elif f == LOGISTIC:
        unit_rows(LOGISTIC, rows, n, A, dz, w, dw, db)
    else:
        unit_rows(IDENTITY, rows, n, A, dz, w, dw, db)


cdef inline void add_rows(
    Py_ssize_t rows, Py_ssize_t n, const floating* dZ, floating* db
) noexcept nogil:
    """db[j] += sum_i dZ[i, j], differentiates `fill_rows`: Z = 1 b"""
    cdef Py_ssize_t i, j
    if n == 1:
        db[0] += sum_in_lanes(rows, dZ)
        return
    for i in range(rows):
        for j in range(n):
            db[j] += dZ[i * n + j]


cdef inline floating sum_in_lanes(Py_ssize_t n, const floating* x) noexcept nogil:
    """sum x_i in eight lanes, which do not wait for each other; their order is fixed"""
    cdef floating lanes[8]
    cdef floating total = 0
    cdef Py_ssize_t i, k
    for k in range(8):
        lanes[k] = 0
    for i in range(0, n - 7, 8):
        for k in range(8):
            lanes[k] += x[i + k]
    for i in range(n - n % 8, n):
        total += x[i]
    for k in range(8):
        total += lanes[k]
    return total


cdef inline void fill_rows(
    Py_ssize_t rows, Py_ssize_t n, const floating* b, floating* Z
) noexcept nogil:
    """Z[i, j] = b[j]: the products are then added to it, which spares BLAS from clearing Z"""
    cdef Py_ssize_t i, j
    for i in range(rows):
        for j in range(n):
            Z[i * n + j] = b[j]
