/* The product of two matrices from tiles, for SKBCE_REAL; tiles.h includes this once for float and once for double. */

#define VECTOR SKBCE_OF_REAL(skbce_vector)
#define LANES ((ptrdiff_t)(SKBCE_VECTOR_BYTES / sizeof(SKBCE_REAL)))

/* Of elements that lie anywhere. */
typedef SKBCE_REAL VECTOR __attribute__((vector_size(SKBCE_VECTOR_BYTES), aligned(sizeof(SKBCE_REAL)), may_alias));

/* C[i, j] = start[i, j] + sum_k A[i, k] B[k, j], for `rows` x `width` elements.

`vectors` of them cover a row; the last one ends where the row does, and computes again what the one before it has
already, to the same bits. start may be C, or NULL for 0. Inlined with constant rows and vectors, so that the compiler
keeps the sums in registers. */
SKBCE_ALWAYS_INLINE void SKBCE_OF_REAL(skbce_tile)(
    const int rows, const int vectors, ptrdiff_t width, ptrdiff_t k_stop,
    const SKBCE_REAL *A, ptrdiff_t A_row, ptrdiff_t A_column, const SKBCE_REAL *B, ptrdiff_t B_row,
    const SKBCE_REAL *start, ptrdiff_t start_row, SKBCE_REAL *C, ptrdiff_t C_row)
{
    const ptrdiff_t last = width - LANES;
    VECTOR sums[SKBCE_TILE_ROWS][SKBCE_TILE_VECTORS];
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++) {
            const ptrdiff_t j = v < vectors - 1 ? v * LANES : last;
            sums[i][v] = start ? *(const VECTOR *)(start + i * start_row + j) : (VECTOR){0};
        }
    for (ptrdiff_t k = 0; k < k_stop; k++) {
        VECTOR B_k[SKBCE_TILE_VECTORS];
        for (int v = 0; v < vectors; v++)
            B_k[v] = *(const VECTOR *)(B + k * B_row + (v < vectors - 1 ? v * LANES : last));
        for (int i = 0; i < rows; i++) {
            const SKBCE_REAL a = A[i * A_row + k * A_column];
            for (int v = 0; v < vectors; v++)
                sums[i][v] += a * B_k[v];
        }
    }
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++)
            *(VECTOR *)(C + i * C_row + (v < vectors - 1 ? v * LANES : last)) = sums[i][v];
}

/* The same for m rows, tile under tile. */
SKBCE_ALWAYS_INLINE void SKBCE_OF_REAL(skbce_panel)(
    const int vectors, ptrdiff_t width, ptrdiff_t m, ptrdiff_t k_stop,
    const SKBCE_REAL *A, ptrdiff_t A_row, ptrdiff_t A_column, const SKBCE_REAL *B, ptrdiff_t B_row,
    const SKBCE_REAL *start, ptrdiff_t start_row, SKBCE_REAL *C, ptrdiff_t C_row)
{
    ptrdiff_t i = 0;
#define TILES(rows) \
    for (; i + rows <= m; i += rows) \
        SKBCE_OF_REAL(skbce_tile)(rows, vectors, width, k_stop, A + i * A_row, A_row, A_column, B, B_row, \
                                  start ? start + i * start_row : NULL, start_row, C + i * C_row, C_row)
    TILES(SKBCE_TILE_ROWS);
    TILES(4);
    TILES(2);
    TILES(1);
#undef TILES
}

/* packed[k, j] = B[j, k]: a panel of B^T, from `width` rows of B. A vector of packed numbers after the other, for these
lie together, while the rows they come from do not. */
SKBCE_ALWAYS_INLINE void SKBCE_OF_REAL(skbce_pack)(
    ptrdiff_t width, ptrdiff_t k_stop, const SKBCE_REAL *B, ptrdiff_t B_row, SKBCE_REAL *packed)
{
    ptrdiff_t j = 0;
    for (; j + LANES <= width; j += LANES)
        for (ptrdiff_t k = 0; k < k_stop; k++)
            for (ptrdiff_t lane = 0; lane < LANES; lane++)
                packed[k * width + j + lane] = B[(j + lane) * B_row + k];
    for (; j < width; j++)
        for (ptrdiff_t k = 0; k < k_stop; k++)
            packed[k * width + j] = B[j * B_row + k];
}

/* C = start + A op(B), for m x n elements and n >= LANES, panel beside panel. A row of the result depends on no other.

op(B) is B, read where it lies, or B^T, whose panels are packed, so many rows at a time. */
static void SKBCE_OF_REAL(skbce_product)(
    int B_transposed, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k_stop,
    const SKBCE_REAL *A, ptrdiff_t A_row, ptrdiff_t A_column, const SKBCE_REAL *B, ptrdiff_t B_row,
    const SKBCE_REAL *start, ptrdiff_t start_row, SKBCE_REAL *C, ptrdiff_t C_row)
{
    SKBCE_REAL packed[SKBCE_PACKED_ROWS * SKBCE_TILE_VECTORS * SKBCE_VECTOR_BYTES / sizeof(SKBCE_REAL)];
    const ptrdiff_t k_most = B_transposed ? SKBCE_PACKED_ROWS : k_stop;
    for (ptrdiff_t j = 0; j < n;) {
        const ptrdiff_t left = (n - j + LANES - 1) / LANES;
        /* Few left are halved, so that no panel is much narrower than the others; the last has a vector's width. */
        const ptrdiff_t most = SKBCE_TILE_VECTORS;
        const ptrdiff_t vectors = left <= most ? left : left < 2 * most ? left / 2 : most;
        const ptrdiff_t width = n - j < vectors * LANES ? n - j : vectors * LANES;
        const SKBCE_REAL *from = start ? start + j : NULL;
        ptrdiff_t from_row = start_row;
        for (ptrdiff_t k = 0; k < k_stop; k += k_most) {
            const ptrdiff_t depth = k_stop - k < k_most ? k_stop - k : k_most;
            const SKBCE_REAL *panel = B + j;
            ptrdiff_t panel_row = B_row;
            if (B_transposed) {
                SKBCE_OF_REAL(skbce_pack)(width, depth, B + j * B_row + k, B_row, packed);
                panel = packed;
                panel_row = width;
            }
#define PANEL(vectors) \
    SKBCE_OF_REAL(skbce_panel)(vectors, width, m, depth, A + k * A_column, A_row, A_column, panel, panel_row, \
                               from, from_row, C + j, C_row)
            switch (vectors) {
#if SKBCE_TILE_VECTORS == 4
            case 4: PANEL(4); break;
            case 3: PANEL(3); break;
#endif
            case 2: PANEL(2); break;
            default: PANEL(1);
            }
#undef PANEL
            from = C + j;
            from_row = C_row;
        }
        j += width;
    }
}

/* Z[i] += x W[j], on `vectors` vectors of each row, for each entry (x, j) of row i: count[i] of them, from i * stride on.
Inlined with a constant number of vectors, so that the sums stay in registers from one entry to the next. */
SKBCE_ALWAYS_INLINE void SKBCE_OF_REAL(skbce_entries_panel)(
    const int vectors, ptrdiff_t m, ptrdiff_t stride, const int32_t *indices, const float *values,
    const int64_t *count, ptrdiff_t n, const SKBCE_REAL *W, SKBCE_REAL *Z)
{
    for (ptrdiff_t i = 0; i < m; i++) {
        VECTOR sums[SKBCE_ENTRY_VECTORS];
        for (int v = 0; v < vectors; v++)
            sums[v] = *(const VECTOR *)(Z + i * n + v * LANES);
        for (ptrdiff_t at = i * stride; at < i * stride + count[i]; at++) {
            const SKBCE_REAL x = values[at];
            const SKBCE_REAL *W_row = W + indices[at] * n;
            for (int v = 0; v < vectors; v++)
                sums[v] += x * *(const VECTOR *)(W_row + v * LANES);
        }
        for (int v = 0; v < vectors; v++)
            *(VECTOR *)(Z + i * n + v * LANES) = sums[v];
    }
}

/* The same for m rows of n columns, as far as these fill vectors; how many columns that is. */
static ptrdiff_t SKBCE_OF_REAL(skbce_add_entries)(
    ptrdiff_t m, ptrdiff_t stride, const int32_t *indices, const float *values, const int64_t *count, ptrdiff_t n,
    const SKBCE_REAL *W, SKBCE_REAL *Z)
{
    ptrdiff_t j = 0;
#define PANELS(vectors) \
    for (; j + vectors * LANES <= n; j += vectors * LANES) \
        SKBCE_OF_REAL(skbce_entries_panel)(vectors, m, stride, indices, values, count, n, W + j, Z + j)
    PANELS(SKBCE_ENTRY_VECTORS);
    PANELS(4);
    PANELS(1);
#undef PANELS
    return j;
}

#undef VECTOR
#undef LANES
