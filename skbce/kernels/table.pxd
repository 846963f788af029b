"""How a block of rows of X is read: gathered from a dense array, or multiplied as it lies in CSR."""

from cython cimport floating
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from skbce.kernels.views cimport TableView

cdef extern from *:
    """
    #if defined(__GNUC__)
    #define SKBCE_PREFETCH(address) __builtin_prefetch(address)
    #else
    #define SKBCE_PREFETCH(address) ((void)(address))
    #endif

    #include <stddef.h>
    #include <string.h>
    /* Pieces of a size that the compiler knows; the last one ends where the row does, and overlaps the one before it. A
    call of memcpy takes as long as copying 100 bytes. */
    #define SKBCE_COPY_BY(piece) \
        do { \
            for (ptrdiff_t at = 0; at + piece < n; at += piece) memcpy(to + at, from + at, piece); \
            memcpy(to + n - piece, from + n - piece, piece); \
        } while (0)
    static inline void skbce_copy_row(char *to, const char *from, ptrdiff_t n)
    {
        if (n > 1024) memcpy(to, from, n);
        else if (n >= 64) SKBCE_COPY_BY(64);
        else if (n >= 16) SKBCE_COPY_BY(16);
        else if (n >= 4) SKBCE_COPY_BY(4);
    }
    """
    void copy_row "skbce_copy_row" (char* to, const char* source, Py_ssize_t n) noexcept nogil
    void prefetch "SKBCE_PREFETCH" (const void* address) noexcept nogil

cdef extern from "tiles.h":
    void add_row_float "skbce_add_row_float" (
        Py_ssize_t first, Py_ssize_t last, const int32_t* indices, const void* values, bint is_double,
        Py_ssize_t n, const float* W, float* y,
    ) noexcept nogil
    void add_row_double "skbce_add_row_double" (
        Py_ssize_t first, Py_ssize_t last, const int32_t* indices, const void* values, bint is_double,
        Py_ssize_t n, const double* W, double* y,
    ) noexcept nogil
    void add_row_gradient_float "skbce_add_row_gradient_float" (
        Py_ssize_t first, Py_ssize_t last, const int32_t* indices, const void* values, bint is_double,
        Py_ssize_t n, const float* dy, float* dW,
    ) noexcept nogil
    void add_row_gradient_double "skbce_add_row_gradient_double" (
        Py_ssize_t first, Py_ssize_t last, const int32_t* indices, const void* values, bint is_double,
        Py_ssize_t n, const double* dy, double* dW,
    ) noexcept nogil

cdef enum:
    CACHE_LINE = 64        # bytes
    # Shuffled rows lie anywhere, and waiting for one takes as long as copying several: so many rows ahead are asked
    # for, and of each its first lines; where a row is longer, the processor sees by itself how it goes on.
    ROWS_AHEAD = 16
    LINES_AHEAD = 8

# The precision that X is stored in, beside `floating`, the network's.
ctypedef fused stored:
    float
    double

cdef inline Py_ssize_t row_number(const int64_t* row_ids, Py_ssize_t start, Py_ssize_t i) noexcept nogil:
    """the row of the table that is row i of a block: row_ids[start + i], or start + i where there are none"""
    return start + i if row_ids == NULL else <Py_ssize_t>row_ids[start + i]


cdef inline bint are_rows(const int64_t* row_ids, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t n_rows) noexcept nogil:
    """whether 0 <= row_ids[i] < n_rows for all i in start .. stop: as unsigned numbers, the negative ones are large"""
    cdef bint stray = False
    cdef Py_ssize_t i
    for i in range(start, stop):
        stray |= <uint64_t>row_ids[i] >= <uint64_t>n_rows
    return not stray


cdef inline bint are_columns(
    const int32_t* indices, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t n_columns
) noexcept nogil:
    """whether 0 <= indices[i] < n_columns for all i in start .. stop"""
    cdef bint stray = False
    cdef uint32_t end = <uint32_t>min(n_columns, <Py_ssize_t>1 << 31)
    cdef Py_ssize_t i
    for i in range(start, stop):
        stray |= <uint32_t>indices[i] >= end
    return not stray


cdef inline bint do_not_fall(const int64_t* x, Py_ssize_t n) noexcept nogil:
    """whether x_0 <= x_1 <= .. <= x_{n-1}"""
    cdef bint falls = False
    cdef Py_ssize_t i
    for i in range(n - 1):
        falls |= x[i + 1] < x[i]
    return not falls


cdef inline void prefetch_row(const stored* row, Py_ssize_t n) noexcept nogil:
    """ask for the first cache lines of a row of n numbers"""
    cdef Py_ssize_t line
    for line in range(min((n * <Py_ssize_t>sizeof(stored) + CACHE_LINE - 1) // CACHE_LINE, <Py_ssize_t>LINES_AHEAD)):
        prefetch(<const char*>row + line * CACHE_LINE)


cdef inline void gather_from(
    const stored* values, const TableView* X, const int64_t* row_ids, Py_ssize_t start, Py_ssize_t rows, floating* out
) noexcept nogil:
    """`gather_rows` for the dtype that X is stored in"""
    cdef Py_ssize_t i, j
    cdef Py_ssize_t n = X.n_columns, across = X.column_stride
    cdef const stored* row
    if across == 1:
        for i in range(min(<Py_ssize_t>ROWS_AHEAD, rows)):
            prefetch_row(values + row_number(row_ids, start, i) * X.row_stride, n)
        for i in range(rows):
            if i + ROWS_AHEAD < rows:
                prefetch_row(values + row_number(row_ids, start, i + ROWS_AHEAD) * X.row_stride, n)
            row = values + row_number(row_ids, start, i) * X.row_stride
            if sizeof(stored) == sizeof(floating):
                copy_row(<char*>(out + i * n), <const char*>row, n * <Py_ssize_t>sizeof(floating))
            else:
                for j in range(n):
                    out[i * n + j] = <floating>row[j]
    else:
        # Column by column: in Fortran order a column is what the caches hold.
        for j in range(n):
            for i in range(rows):
                out[i * n + j] = <floating>values[row_number(row_ids, start, i) * X.row_stride + j * across]


cdef inline void gather_rows(
    const TableView* X, const int64_t* row_ids, Py_ssize_t start, Py_ssize_t rows, floating* out
) noexcept nogil:
    """out[i, j] = X[row_number(i), j], out dense and in the network's precision"""
    if X.is_double:
        gather_from(<const double*>X.values, X, row_ids, start, rows, out)
    else:
        gather_from(<const float*>X.values, X, row_ids, start, rows, out)


cdef inline void add_row(
    Py_ssize_t first, Py_ssize_t last, const int32_t* indices, const void* values, bint is_double,
    Py_ssize_t n, const floating* W, floating* y,
) noexcept nogil:
    """y += x W[j] for the entries (x, j) number first .. last; W has n columns"""
    if floating is float:
        add_row_float(first, last, indices, values, is_double, n, W, y)
    else:
        add_row_double(first, last, indices, values, is_double, n, W, y)


cdef inline void csr_add_product(
    const TableView* X, const int64_t* row_ids, Py_ssize_t start, Py_ssize_t rows,
    Py_ssize_t n, const floating* W, floating* Z,
) noexcept nogil:
    """Z += X W for CSR rows: Z[i] += x W[j] for each stored x at column j"""
    cdef Py_ssize_t i, r
    for i in range(rows):
        r = row_number(row_ids, start, i)
        add_row(X.indptr[r], X.indptr[r + 1], X.indices, X.values, X.is_double, n, W, Z + i * n)


cdef inline void csr_add_gradient(
    const TableView* X, const int64_t* row_ids, Py_ssize_t start, Py_ssize_t rows,
    Py_ssize_t n, const floating* dZ, floating* dW,
) noexcept nogil:
    """dW += X^T dZ for CSR rows, differentiates `csr_add_product`: dW[j] += x dZ[i]"""
    cdef Py_ssize_t i, r
    for i in range(rows):
        r = row_number(row_ids, start, i)
        if floating is float:
            add_row_gradient_float(
                X.indptr[r], X.indptr[r + 1], X.indices, X.values, X.is_double, n, dZ + i * n, dW
            )
        else:
            add_row_gradient_double(
                X.indptr[r], X.indptr[r + 1], X.indices, X.values, X.is_double, n, dZ + i * n, dW
            )
