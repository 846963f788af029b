/* Rows that are given by their entries, times a matrix of n columns, for SKBCE_REAL; tiles.h includes this once for float
and once for double. An entry is a number x and its column j. */

#define SKBCE_ENTRY(at) (is_double ? (SKBCE_REAL)((const double *)values)[at] : (SKBCE_REAL)((const float *)values)[at])

#if SKBCE_HAS_TILES
/* `skbce_add_row` for `vectors` vectors of y. Inlined with a constant number of them, so that the sums stay in registers
from one entry to the next. */
SKBCE_ALWAYS_INLINE void SKBCE_OF_REAL(skbce_add_row_panel)(
    const int vectors, ptrdiff_t first, ptrdiff_t last, const int32_t *indices, const void *values, int is_double,
    ptrdiff_t n, const SKBCE_REAL *W, SKBCE_REAL *y)
{
    SKBCE_VECTOR sums[SKBCE_ENTRY_VECTORS];
    for (int v = 0; v < vectors; v++)
        sums[v] = *(const SKBCE_VECTOR *)(y + v * SKBCE_LANES);
    for (ptrdiff_t at = first; at < last; at++) {
        const SKBCE_REAL x = SKBCE_ENTRY(at);
        const SKBCE_REAL *W_row = W + indices[at] * n;
        for (int v = 0; v < vectors; v++)
            sums[v] += x * *(const SKBCE_VECTOR *)(W_row + v * SKBCE_LANES);
    }
    for (int v = 0; v < vectors; v++)
        *(SKBCE_VECTOR *)(y + v * SKBCE_LANES) = sums[v];
}

/* `skbce_add_row_gradient` for `vectors` vectors of dy. */
SKBCE_ALWAYS_INLINE void SKBCE_OF_REAL(skbce_add_row_gradient_panel)(
    const int vectors, ptrdiff_t first, ptrdiff_t last, const int32_t *indices, const void *values, int is_double,
    ptrdiff_t n, const SKBCE_REAL *dy, SKBCE_REAL *dW)
{
    SKBCE_VECTOR dy_[SKBCE_ENTRY_VECTORS];
    for (int v = 0; v < vectors; v++)
        dy_[v] = *(const SKBCE_VECTOR *)(dy + v * SKBCE_LANES);
    for (ptrdiff_t at = first; at < last; at++) {
        const SKBCE_REAL x = SKBCE_ENTRY(at);
        SKBCE_REAL *dW_row = dW + indices[at] * n;
        for (int v = 0; v < vectors; v++)
            *(SKBCE_VECTOR *)(dW_row + v * SKBCE_LANES) += x * dy_[v];
    }
}

/* The columns that fill vectors, panel beside panel. */
#define SKBCE_ALL_PANELS \
    PANELS(SKBCE_ENTRY_VECTORS) \
    PANELS(4) \
    PANELS(2) \
    PANELS(1)
#else
#define SKBCE_ALL_PANELS
#endif

/* y += x W[j] for the entries (x, j) number first .. last. */
static void SKBCE_OF_REAL(skbce_add_row)(
    ptrdiff_t first, ptrdiff_t last, const int32_t *indices, const void *values, int is_double,
    ptrdiff_t n, const SKBCE_REAL *W, SKBCE_REAL *y)
{
    ptrdiff_t k = 0;
#define PANELS(vectors) \
    for (; k + vectors * SKBCE_LANES <= n; k += vectors * SKBCE_LANES) \
        SKBCE_OF_REAL(skbce_add_row_panel)(vectors, first, last, indices, values, is_double, n, W + k, y + k);
    SKBCE_ALL_PANELS
#undef PANELS
    for (ptrdiff_t at = first; k < n && at < last; at++) {
        const SKBCE_REAL x = SKBCE_ENTRY(at);
        const SKBCE_REAL *W_row = W + indices[at] * n;
        for (ptrdiff_t i = k; i < n; i++)
            y[i] += x * W_row[i];
    }
}

/* dW[j] += x dy for the entries (x, j) number first .. last: differentiates `skbce_add_row`. */
static void SKBCE_OF_REAL(skbce_add_row_gradient)(
    ptrdiff_t first, ptrdiff_t last, const int32_t *indices, const void *values, int is_double,
    ptrdiff_t n, const SKBCE_REAL *dy, SKBCE_REAL *dW)
{
    ptrdiff_t k = 0;
#define PANELS(vectors) \
    for (; k + vectors * SKBCE_LANES <= n; k += vectors * SKBCE_LANES) \
        SKBCE_OF_REAL(skbce_add_row_gradient_panel)(vectors, first, last, indices, values, is_double, n, dy + k, dW + k);
    SKBCE_ALL_PANELS
#undef PANELS
    for (ptrdiff_t at = first; k < n && at < last; at++) {
        const SKBCE_REAL x = SKBCE_ENTRY(at);
        SKBCE_REAL *dW_row = dW + indices[at] * n;
        for (ptrdiff_t i = k; i < n; i++)
            dW_row[i] += x * dy[i];
    }
}
#undef SKBCE_ALL_PANELS
#undef SKBCE_ENTRY
