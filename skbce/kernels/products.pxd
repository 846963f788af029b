"""The three matrix products of a layer: from tiles in registers, or on BLAS where matrices are too narrow.

Row-major operands go to BLAS swapped (C^T = B^T A^T). A product with one column is a matrix-vector product, for which
BLAS has another routine.
"""

from cython cimport floating
from scipy.linalg.cython_blas cimport dgemm, dgemv, sgemm, sgemv

from skbce.kernels.activations cimport RELU, VECTOR_BYTES, activate, fill_a_vector, fill_rows

cdef extern from "tiles.h":
    void product_float "skbce_product_float" (
        bint B_transposed, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
        const float* A, Py_ssize_t A_row, Py_ssize_t A_column, const float* B, Py_ssize_t B_row,
        const float* start, Py_ssize_t start_row, bint relu, float* C, Py_ssize_t C_row,
    ) noexcept nogil
    void product_double "skbce_product_double" (
        bint B_transposed, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
        const double* A, Py_ssize_t A_row, Py_ssize_t A_column, const double* B, Py_ssize_t B_row,
        const double* start, Py_ssize_t start_row, bint relu, double* C, Py_ssize_t C_row,
    ) noexcept nogil
    void unit_forward_float "skbce_unit_forward_float" (
        Py_ssize_t rows, Py_ssize_t n, const float* A, Py_ssize_t A_row, const float* w, float b, float* z,
    ) noexcept nogil
    void unit_forward_double "skbce_unit_forward_double" (
        Py_ssize_t rows, Py_ssize_t n, const double* A, Py_ssize_t A_row, const double* w, double b, double* z,
    ) noexcept nogil

cdef enum:
    AVX512_BYTES = 64


cdef inline bint tiles_pay(Py_ssize_t n, Py_ssize_t size) noexcept nogil:
    """whether a product of n columns of `size` bytes each is sooner there from tiles than from BLAS"""
    cdef Py_ssize_t row = n * size, padded = (row + VECTOR_BYTES - 1) // max(VECTOR_BYTES, 1) * VECTOR_BYTES
    if not fill_a_vector(n, size):
        return False
    # With AVX-512, BLAS masks the end of a row, and is sooner where tiles leave over an eighth of the lanes idle.
    return VECTOR_BYTES != AVX512_BYTES or 7 * padded <= 8 * row


cdef inline bint forward_calls_blas(Py_ssize_t n_in, Py_ssize_t n_out, Py_ssize_t size) noexcept nogil:
    """whether `product_forward` goes to BLAS, for numbers of `size` bytes"""
    return not (fill_a_vector(n_in, size) if n_out == 1 else tiles_pay(n_out, size))


cdef inline void gemm(
    bint A_transposed, bint B_transposed, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
    const floating* A, Py_ssize_t lda, const floating* B, Py_ssize_t ldb,
    const floating* start, Py_ssize_t start_row, bint relu, floating* C,
) noexcept nogil:
    """C = start + op(A) op(B), relu of it if asked for, row-major: op(A) is m x k, op(B) k x n, C m x n without gaps

    start is C, or a row (start_row = 0) for each of C's, or NULL for 0.
    """
    cdef char op_A = b"T" if A_transposed else b"N"
    cdef char op_B = b"T" if B_transposed else b"N"
    cdef int m_ = <int>m, n_ = <int>n, k_ = <int>k, lda_ = <int>lda, ldb_ = <int>ldb
    cdef Py_ssize_t A_row = 1 if A_transposed else lda, A_column = lda if A_transposed else 1
    cdef floating one = 1, beta = 0 if start == NULL else 1
    if tiles_pay(n, sizeof(floating)):
        if floating is float:
            product_float(B_transposed, m, n, k, A, A_row, A_column, B, ldb, start, start_row, relu, C, n)
        else:
            product_double(B_transposed, m, n, k, A, A_row, A_column, B, ldb, start, start_row, relu, C, n)
        return
    if start != NULL and start != C:
        fill_rows(m, n, start, C)
    if floating is float:
        sgemm(&op_B, &op_A, &n_, &m_, &k_, &one, <float*>B, &ldb_, <float*>A, &lda_, &beta, C, &n_)
    else:
        dgemm(&op_B, &op_A, &n_, &m_, &k_, &one, <double*>B, &ldb_, <double*>A, &lda_, &beta, C, &n_)
    if relu:
        activate(RELU, m * n, C)


cdef inline void gemv(
    bint A_transposed, int m, int n, const floating* A, int lda, const floating* x, floating beta, floating* y,
) noexcept nogil:
    """y = op(A) x + beta y for a row-major A of m x n"""
    cdef char op = b"N" if A_transposed else b"T"
    cdef floating one = 1
    cdef int unit = 1
    if floating is float:
        sgemv(&op, &n, &m, &one, <float*>A, &lda, <float*>x, &unit, &beta, y, &unit)
    else:
        dgemv(&op, &n, &m, &one, <double*>A, &lda, <double*>x, &unit, &beta, y, &unit)


cdef inline void unit_forward(
    Py_ssize_t rows, Py_ssize_t n, const floating* A, Py_ssize_t lda, const floating* w, const floating* b, floating* z,
) noexcept nogil:
    """z = b + A w, for one unit"""
    if fill_a_vector(n, sizeof(floating)):
        if floating is float:
            unit_forward_float(rows, n, A, lda, w, b[0], z)
        else:
            unit_forward_double(rows, n, A, lda, w, b[0], z)
    else:
        fill_rows(rows, 1, b, z)
        gemv(False, <int>rows, <int>n, A, <int>lda, w, <floating>1, z)


cdef inline void product_forward(
    Py_ssize_t rows, Py_ssize_t n_in, Py_ssize_t n_out,
    const floating* A, Py_ssize_t lda, const floating* W, const floating* b, bint relu, floating* Z,
) noexcept nogil:
    """Z = b + A W, or A of the next layer, relu(Z): from the registers that have Z, it costs next to nothing"""
    if n_out == 1:
        unit_forward(rows, n_in, A, lda, W, b, Z)
        if relu:
            activate(RELU, rows, Z)
    else:
        gemm(False, False, rows, n_out, n_in, A, lda, W, n_out, b, 0, relu, Z)


cdef inline void product_backward(
    Py_ssize_t rows, Py_ssize_t n_in, Py_ssize_t n_out,
    const floating* dZ, const floating* W, floating* dA,
) noexcept nogil:
    """dA = dZ W^T, differentiates `product_forward`: Z = b + A W with respect to A"""
    cdef Py_ssize_t i, j
    if n_out == 1:
        for i in range(rows):
            for j in range(n_in):
                dA[i * n_in + j] = dZ[i] * W[j]
    else:
        gemm(False, True, rows, n_in, n_out, dZ, n_out, W, n_out, <const floating*>NULL, 0, False, dA)


cdef inline void weights_gradient(
    Py_ssize_t rows, Py_ssize_t n_in, Py_ssize_t n_out,
    const floating* A, Py_ssize_t lda, const floating* dZ, floating beta, floating* dW,
) noexcept nogil:
    """dW = A^T dZ + beta dW, differentiates `product_forward`: Z = b + A W with respect to W"""
    if n_out == 1:
        gemv(True, <int>rows, <int>n_in, A, <int>lda, dZ, beta, dW)
    else:
        gemm(True, False, n_in, n_out, rows, A, lda, dZ, n_out, dW if beta else <const floating*>NULL, n_out, False, dW)
