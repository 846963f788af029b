"""The piecewise-linear encoding of a table's columns: tile after tile of rows, column after column in a tile.

A value lies in one bin: its components are 1 below that bin and 0 above it, so there is one quotient a value and not
one a component. And its product with W needs no more than two rows of W and of its running sums:

    sum_j a_j W[j] = S[t-1] + a_t W[t],    S[t] = W[0] + ... + W[t],    for the bin t of the value.

So there are two encodings: the components themselves, and for products (kernels/lookup.pxd) entries, where a column has
many bins: numbers and the row of a matrix that each is to be multiplied by, W[j] being row 2j of it, and the sum up to
W[j] row 2j + 1.
"""

from cython cimport floating
from libc.float cimport DBL_MAX
from libc.math cimport sqrt
from libc.stdint cimport int32_t, int64_t

from skbce.kernels.parallel cimport cut
from skbce.kernels.pauses cimport Pause, breaks_off
from skbce.kernels.table cimport stored
from skbce.kernels.views cimport EncodingView, TableView

cdef enum:
    # Rows that go through a column together: loops over them vectorise, and their numbers fit the first-level cache.
    TILE = 64
    # Bins of a column up to which a product goes over its components; in those of more it is looked up. 72 columns and
    # two networks of 128 units: of 1 bin 1.7 ms multiplied, of 16 bins 5.4 ms multiplied and 3.5 ms looked up.
    FEW_BINS = 8


cdef inline bint is_within(const EncodingView* plan, Py_ssize_t n_columns, Py_ssize_t n_edges) noexcept nogil:
    """whether each column of the plan is one of the table's, and its edges and its places in the output exist"""
    cdef Py_ssize_t k, n
    for k in range(plan.n_columns):
        n = plan.n_bins[k]
        if not (0 <= plan.column[k] < n_columns and 0 <= n < n_edges + 1):
            return False
        if n > 0 and not (0 <= plan.edges_start[k] < n_edges - n and 0 <= plan.bins_at[k] <= plan.width - n):
            return False
        if not (-1 <= plan.value_at[k] < plan.width and -1 <= plan.missing_at[k] < plan.width):
            return False
    return True


cdef inline void read_stored(
    const stored* values, Py_ssize_t stride, Py_ssize_t rows, double center, double* x, float* missing
) noexcept nogil:
    """x[i] = values[i], or center where that is NaN; missing[i] = whether it is"""
    cdef Py_ssize_t i
    cdef double value
    for i in range(rows):
        value = values[i * stride]
        missing[i] = 1 if value != value else 0
        x[i] = center if value != value else value


cdef inline void read_column(
    const TableView* X, const EncodingView* plan, Py_ssize_t k, Py_ssize_t start, Py_ssize_t rows,
    double* x, float* missing,
) noexcept nogil:
    """the plan's column k of a tile"""
    cdef Py_ssize_t at = start * X.row_stride + plan.column[k] * X.column_stride
    if X.is_double:
        read_stored(<const double*>X.values + at, X.row_stride, rows, plan.center[k], x, missing)
    else:
        read_stored(<const float*>X.values + at, X.row_stride, rows, plan.center[k], x, missing)


cdef inline void find_bins(
    Py_ssize_t rows, const double* x, Py_ssize_t n_bins, const double* edges, int64_t* bin
) noexcept nogil:
    """bin[i] = how many of the inner edges are at or below x[i]"""
    cdef Py_ssize_t i, j
    for i in range(rows):
        bin[i] = 0
    for j in range(1, n_bins):
        for i in range(rows):
            bin[i] += 1 if edges[j] <= x[i] else 0


cdef inline double share_below(double x, double left, double right) noexcept nogil:
    """(x - left) / (right - left); beyond the ends it may be infinite"""
    # The ends of a bin can be further apart than the largest number.
    cdef double scale = 0.5 if right - left > DBL_MAX else 1
    return (scale * x - scale * left) / (scale * right - scale * left)


cdef inline void find_shares(
    Py_ssize_t rows, const double* x, Py_ssize_t n_bins, const double* edges, int64_t* bin, float* share
) noexcept nogil:
    """the bins of a tile's values, and which share of them lies below each"""
    cdef Py_ssize_t i
    find_bins(rows, x, n_bins, edges, bin)
    for i in range(rows):
        share[i] = <float>share_below(x[i], edges[bin[i]], edges[bin[i] + 1])


cdef inline double tamed(double x, double center, double scale) noexcept nogil:
    """z / sqrt(1 + (z/3)^2) with z = (x - center) / scale: near 0 it is z, far away 3 or -3"""
    cdef double z = (x - center) / scale
    # From here on it is 3 to the last digit, and z^2 stays finite.
    z = 1e9 if z > 1e9 else z
    z = -1e9 if z < -1e9 else z
    return z / sqrt(1 + (z / 3) * (z / 3))


cdef inline float component(float share, int32_t bin, int32_t j) noexcept nogil:
    """component j of a value in a bin, of which `share` lies below it: 1 for j < bin, share for j = bin, else 0"""
    # A sum to clip where j could be compared with bin: at such a comparison compilers cut a loop over j in two.
    cdef float x = share + <float>(bin - j)
    x = 0 if x < 0 else x
    return 1 if x > 1 else x


cdef inline void write_components(
    Py_ssize_t rows, Py_ssize_t n_bins, const int64_t* bin, const float* share, Py_ssize_t width, float* out
) noexcept nogil:
    """out[i, j] = 1 for j < bin[i], clip(share[i], 0, 1) for j = bin[i], 0 for j > bin[i]"""
    cdef Py_ssize_t i
    cdef int32_t j, own, n = <int32_t>n_bins
    cdef float own_share
    cdef float* row
    for i in range(rows):
        row = out + i * width
        own = <int32_t>bin[i]
        own_share = share[i]
        for j in range(n):
            row[j] = component(own_share, own, j)


cdef inline void encode_tile(
    const TableView* X, const EncodingView* plan, Py_ssize_t start, Py_ssize_t rows, float* out
) noexcept nogil:
    """`encode_rows` for so many rows as fit a tile"""
    cdef double[TILE] x
    cdef float[TILE] missing
    cdef float[TILE] share
    cdef int64_t[TILE] bin
    cdef Py_ssize_t i, k, width = plan.width
    for k in range(plan.n_columns):
        read_column(X, plan, k, start, rows, x, missing)
        if plan.value_at[k] >= 0:
            for i in range(rows):
                out[i * width + plan.value_at[k]] = <float>tamed(x[i], plan.center[k], plan.scale[k])
        if plan.n_bins[k] > 0:
            find_shares(rows, x, plan.n_bins[k], plan.edges + plan.edges_start[k], bin, share)
            write_components(rows, plan.n_bins[k], bin, share, width, out + plan.bins_at[k])
        if plan.missing_at[k] >= 0:
            for i in range(rows):
                out[i * width + plan.missing_at[k]] = missing[i]


cdef inline void encode_rows(
    const TableView* X, const EncodingView* plan, Py_ssize_t part, Py_ssize_t n_parts, Pause* pause, float* out
) noexcept nogil:
    """out[i] = the encodings of X[i], column after column, for one part of the rows"""
    cdef Py_ssize_t start = cut(X.n_rows, n_parts, part)
    cdef Py_ssize_t stop = cut(X.n_rows, n_parts, part + 1)
    while start < stop and not breaks_off(pause):
        encode_tile(X, plan, start, min(<Py_ssize_t>TILE, stop - start), out + start * plan.width)
        start += TILE


cdef inline bint is_looked_up(const EncodingView* plan, Py_ssize_t k) noexcept nogil:
    """whether column k has entries for its components and its indicator; else both are numbers, as its value is"""
    return plan.n_bins[k] > FEW_BINS


cdef inline Py_ssize_t encode_tile_numbers(
    const TableView* X, const EncodingView* plan, Py_ssize_t start, Py_ssize_t rows, floating* out
) noexcept nogil:
    """how many numbers a row has, and number c of a tile's row i at out[c * TILE + i]: columns' values, and components
    and indicators where they are not looked up
    """
    cdef double[TILE] x
    cdef float[TILE] missing
    cdef float[TILE] share
    cdef int64_t[TILE] bin
    cdef floating* at = out
    cdef Py_ssize_t i, j, k
    for k in range(plan.n_columns):
        if plan.value_at[k] < 0 and is_looked_up(plan, k):
            continue
        read_column(X, plan, k, start, rows, x, missing)
        if plan.value_at[k] >= 0:
            for i in range(rows):
                at[i] = <float>tamed(x[i], plan.center[k], plan.scale[k])
            at += TILE
        if is_looked_up(plan, k):
            continue
        if plan.n_bins[k] > 0:
            find_shares(rows, x, plan.n_bins[k], plan.edges + plan.edges_start[k], bin, share)
        for j in range(plan.n_bins[k]):
            for i in range(rows):
                at[i] = component(share[i], <int32_t>bin[i], <int32_t>j)
            at += TILE
        if plan.missing_at[k] >= 0:
            for i in range(rows):
                at[i] = missing[i]
            at += TILE
    return (at - out) // TILE


cdef inline void add_bin_entries(
    Py_ssize_t rows, Py_ssize_t stride, const int64_t* bin, const float* share, Py_ssize_t bins_at,
    int32_t* indices, float* values, int64_t* count
) noexcept nogil:
    """of `write_components`: an entry for the run of components that are 1, and one for that between 0 and 1"""
    cdef Py_ssize_t i, at
    cdef int64_t ones
    for i in range(rows):
        # Written in any case, and counted if there is one: bins are not to be foreseen, so a branch would cost more.
        ones = bin[i] + (1 if share[i] >= 1 else 0)
        at = i * stride + count[i]
        indices[at] = <int32_t>(2 * (bins_at + ones) - 1)
        values[at] = 1
        at += 1 if ones > 0 else 0
        indices[at] = <int32_t>(2 * (bins_at + bin[i]))
        values[at] = share[i]
        at += 1 if 0 < share[i] < 1 else 0
        count[i] = at - i * stride


cdef inline void encode_tile_entries(
    const TableView* X, const EncodingView* plan, Py_ssize_t start, Py_ssize_t rows, Py_ssize_t first,
    Py_ssize_t stride, int32_t* indices, float* values, int64_t* count
) noexcept nogil:
    """the entries of a tile's rows, row i's from i * stride on, which is more than a row can have, and their count

    Those of the columns that are looked up; component j's are at 2 (j - first).
    """
    cdef double[TILE] x
    cdef float[TILE] missing
    cdef float[TILE] share
    cdef int64_t[TILE] bin
    cdef Py_ssize_t i, k, at
    for i in range(rows):
        count[i] = 0
    for k in range(plan.n_columns):
        if not is_looked_up(plan, k):
            continue
        read_column(X, plan, k, start, rows, x, missing)
        find_shares(rows, x, plan.n_bins[k], plan.edges + plan.edges_start[k], bin, share)
        add_bin_entries(rows, stride, bin, share, plan.bins_at[k] - first, indices, values, count)
        if plan.missing_at[k] >= 0:
            for i in range(rows):
                at = i * stride + count[i]
                indices[at] = <int32_t>(2 * (plan.missing_at[k] - first))
                values[at] = 1
                count[i] += 1 if missing[i] > 0 else 0
