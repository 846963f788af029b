"""Activations f and their derivatives f', over whole blocks; the choice of f stands before the loops."""

from cython cimport floating

from skbce.kernels.elementary cimport sigmoid, tanh_

# The order of skbce._parameters.ACTIVATIONS.
cdef enum Activation:
    IDENTITY = 0
    LOGISTIC = 1
    TANH = 2
    RELU = 3


cdef inline void activate(Activation f, Py_ssize_t size, floating* Z) noexcept nogil:
    """A = f(Z), in place"""
    cdef Py_ssize_t i
    if f == RELU:
        for i in range(size):
            Z[i] = 0 if Z[i] < 0 else Z[i]  # in this order NaN stays NaN
    elif f == TANH:
        for i in range(size):
            Z[i] = tanh_(Z[i])
    elif f == LOGISTIC:
        for i in range(size):
            Z[i] = sigmoid(Z[i])


cdef inline void multiply_derivative(
    Activation f, Py_ssize_t size, const floating* A, floating* dA
) noexcept nogil:
    """dZ = dA * f'(Z), in place, differentiates `activate`: A = f(Z). f' is written in A itself."""
    cdef Py_ssize_t i
    if f == RELU:
        for i in range(size):
            dA[i] = dA[i] if A[i] > 0 else 0
    elif f == TANH:
        for i in range(size):
            dA[i] = dA[i] * (1 - A[i] * A[i])
    elif f == LOGISTIC:
        for i in range(size):
            dA[i] = dA[i] * (A[i] * (1 - A[i]))


cdef inline void add_rows(
    Py_ssize_t rows, Py_ssize_t n, const floating* dZ, floating* db
) noexcept nogil:
    """db[j] += sum_i dZ[i, j], differentiates `fill_rows`: Z = 1 b"""
    cdef Py_ssize_t i, j
    for i in range(rows):
        for j in range(n):
            db[j] += dZ[i * n + j]


cdef inline void fill_rows(
    Py_ssize_t rows, Py_ssize_t n, const floating* b, floating* Z
) noexcept nogil:
    """Z[i, j] = b[j]: the products are then added to it, which spares BLAS from clearing Z"""
    cdef Py_ssize_t i, j
    for i in range(rows):
        for j in range(n):
            Z[i * n + j] = b[j]
