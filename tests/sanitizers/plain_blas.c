/* The four BLAS routines that the kernels call, as loops: a sanitizer sees their reads and writes, and not BLAS's own.
   Matrices are stored by columns: element i, j of A is A[i + j * lda]. Every argument of a call is read from where the
   caller says, and an output with a factor of 0 is not read. */

#include <stddef.h>

#define AT(X, ld, transposed, i, j) ((transposed) ? (X)[(j) + (ptrdiff_t)(i) * (ld)] : (X)[(i) + (ptrdiff_t)(j) * (ld)])

#define DEFINE(real, gemm, gemv)                                                                                       \
    void gemm(const char *op_A, const char *op_B, const int *m, const int *n, const int *k, const real *alpha,         \
              const real *A, const int *lda, const real *B, const int *ldb, const real *beta, real *C,                 \
              const int *ldc) {                                                                                        \
        for (int j = 0; j < *n; j++)                                                                                   \
            for (int i = 0; i < *m; i++) {                                                                             \
                real sum = 0, *c = &C[i + (ptrdiff_t)j * *ldc];                                                        \
                for (int p = 0; p < *k; p++)                                                                           \
                    sum += AT(A, *lda, *op_A == 'T', i, p) * AT(B, *ldb, *op_B == 'T', p, j);                          \
                *c = *alpha * sum + (*beta == 0 ? 0 : *beta * *c);                                                     \
            }                                                                                                          \
    }                                                                                                                  \
    void gemv(const char *op, const int *m, const int *n, const real *alpha, const real *A, const int *lda,            \
              const real *x, const int *x_step, const real *beta, real *y, const int *y_step) {                        \
        const int rows = *op == 'T' ? *n : *m, columns = *op == 'T' ? *m : *n;                                         \
        for (int i = 0; i < rows; i++) {                                                                               \
            real sum = 0, *out = &y[(ptrdiff_t)i * *y_step];                                                           \
            for (int j = 0; j < columns; j++)                                                                          \
                sum += AT(A, *lda, *op == 'T', i, j) * x[(ptrdiff_t)j * *x_step];                                      \
            *out = *alpha * sum + (*beta == 0 ? 0 : *beta * *out);                                                     \
        }                                                                                                              \
    }

DEFINE(float, sgemm, sgemv)
DEFINE(double, dgemm, dgemv)
