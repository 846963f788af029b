"""The three matrix products of a layer, on BLAS; row-major operands go to it swapped (C^T = B^T A^T).

A product with one column is a matrix-vector product, for which BLAS has another routine.
"""

from cython cimport floating
from scipy.linalg.cython_blas cimport dgemm, dgemv, sgemm, sgemv


cdef inline void gemm(
    bint A_transposed, bint B_transposed, int m, int n, int k,
    const floating* A, int lda, const floating* B, int ldb, floating beta, floating* C,
) noexcept nogil:
    """C = op(A) op(B) + beta C, row-major; op(A) is m x k, op(B) k x n, C m x n without gaps"""
    cdef char op_A = b"T" if A_transposed else b"N"
    cdef char op_B = b"T" if B_transposed else b"N"
    cdef floating one = 1
    cdef int ldc = n
    if floating is float:
        sgemm(&op_B, &op_A, &n, &m, &k, &one, <float*>B, &ldb, <float*>A, &lda, &beta, C, &ldc)
    else:
        dgemm(&op_B, &op_A, &n, &m, &k, &one, <double*>B, &ldb, <double*>A, &lda, &beta, C, &ldc)


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


cdef inline void add_product(
    Py_ssize_t rows, Py_ssize_t n_in, Py_ssize_t n_out,
    const floating* A, Py_ssize_t lda, const floating* W, floating* Z,
) noexcept nogil:
    """Z += A W"""
    if n_out == 1:
        gemv(False, <int>rows, <int>n_in, A, <int>lda, W, <floating>1, Z)
    else:
        gemm(False, False, <int>rows, <int>n_out, <int>n_in, A, <int>lda, W, <int>n_out, <floating>1, Z)


cdef inline void product_backward(
    Py_ssize_t rows, Py_ssize_t n_in, Py_ssize_t n_out,
    const floating* dZ, const floating* W, floating* dA,
) noexcept nogil:
    """dA = dZ W^T, differentiates `add_product`: Z = A W with respect to A"""
    cdef Py_ssize_t i, j
    if n_out == 1:
        for i in range(rows):
            for j in range(n_in):
                dA[i * n_in + j] = dZ[i] * W[j]
    else:
        gemm(False, True, <int>rows, <int>n_in, <int>n_out, dZ, <int>n_out, W, <int>n_out, <floating>0, dA)


cdef inline void weights_gradient(
    Py_ssize_t rows, Py_ssize_t n_in, Py_ssize_t n_out,
    const floating* A, Py_ssize_t lda, const floating* dZ, floating beta, floating* dW,
) noexcept nogil:
    """dW = A^T dZ + beta dW, differentiates `add_product`: Z = A W with respect to W"""
    if n_out == 1:
        gemv(True, <int>rows, <int>n_in, A, <int>lda, dZ, beta, dW)
    else:
        gemm(True, False, <int>n_in, <int>n_out, <int>rows, A, <int>lda, dZ, <int>n_out, beta, dW)
