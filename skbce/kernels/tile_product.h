/* The product of two matrices from tiles, for SKBCE_REAL; tiles.h includes this once for float and once for double. */

/* 0 where z is negative, as activations.pxd has it: NaN stays NaN. */
SKBCE_ALWAYS_INLINE SKBCE_VECTOR SKBCE_OF_REAL(skbce_relu)(SKBCE_VECTOR z)
{
    return (SKBCE_VECTOR)((SKBCE_BITS)z & ~(SKBCE_BITS)(z < 0));
}

SKBCE_ALWAYS_INLINE SKBCE_HALF SKBCE_OF_REAL(skbce_half_relu)(SKBCE_HALF z)
{
    return (SKBCE_HALF)((SKBCE_HALF_BITS)z & ~(SKBCE_HALF_BITS)(z < 0));
}

/* C[i, j] = start[i, j] + sum_k A[i, k] B[k, j], for `rows` x `width` elements; with relu, 0 where that is negative.

`vectors` of them cover a row, the last one of half as many elements if asked for; that one ends where the row does, and
computes again what the one before it has already, to the same bits. start may be C, or NULL for 0. Inlined with constant
rows and vectors, so that the compiler keeps the sums in registers. */
SKBCE_ALWAYS_INLINE void SKBCE_OF_REAL(skbce_tile)(
    const int rows, const int vectors, const int half, ptrdiff_t width, ptrdiff_t k_stop,
    const SKBCE_REAL *A, ptrdiff_t A_row, ptrdiff_t A_column, const SKBCE_REAL *B, ptrdiff_t B_row,
    const SKBCE_REAL *start, ptrdiff_t start_row, int relu, SKBCE_REAL *C, ptrdiff_t C_row)
{
    const int whole = vectors - half;
    const ptrdiff_t last = width - (half ? SKBCE_LANES / 2 : SKBCE_LANES);
    SKBCE_VECTOR sums[SKBCE_TILE_ROWS][SKBCE_TILE_VECTORS];
    SKBCE_HALF half_sums[SKBCE_TILE_ROWS];
#define AT(v) ((v) < vectors - 1 ? (v) * SKBCE_LANES : last)
    for (int i = 0; i < rows; i++) {
        for (int v = 0; v < whole; v++)
            sums[i][v] = start ? *(const SKBCE_VECTOR *)(start + i * start_row + AT(v)) : (SKBCE_VECTOR){0};
        if (half)
            half_sums[i] = start ? *(const SKBCE_HALF *)(start + i * start_row + last) : (SKBCE_HALF){0};
    }
    for (ptrdiff_t k = 0; k < k_stop; k++) {
        SKBCE_VECTOR B_k[SKBCE_TILE_VECTORS];
        SKBCE_HALF B_half;
        for (int v = 0; v < whole; v++)
            B_k[v] = *(const SKBCE_VECTOR *)(B + k * B_row + AT(v));
        if (half)
            B_half = *(const SKBCE_HALF *)(B + k * B_row + last);
        for (int i = 0; i < rows; i++) {
            const SKBCE_REAL a = A[i * A_row + k * A_column];
            for (int v = 0; v < whole; v++)
                sums[i][v] += a * B_k[v];
            if (half)
                half_sums[i] += a * B_half;
        }
    }
    for (int i = 0; i < rows; i++) {
        for (int v = 0; v < whole; v++)
            *(SKBCE_VECTOR *)(C + i * C_row + AT(v)) = relu ? SKBCE_OF_REAL(skbce_relu)(sums[i][v]) : sums[i][v];
        if (half)
            *(SKBCE_HALF *)(C + i * C_row + last) = relu ? SKBCE_OF_REAL(skbce_half_relu)(half_sums[i]) : half_sums[i];
    }
#undef AT
}

/* The same for m rows, tile under tile; A_tile elements of A lie between the beginnings of one and the next. */
SKBCE_ALWAYS_INLINE void SKBCE_OF_REAL(skbce_panel)(
    const int vectors, const int half, ptrdiff_t width, ptrdiff_t m, ptrdiff_t k_stop,
    const SKBCE_REAL *A, ptrdiff_t A_tile, ptrdiff_t A_row, ptrdiff_t A_column, const SKBCE_REAL *B, ptrdiff_t B_row,
    const SKBCE_REAL *start, ptrdiff_t start_row, int relu, SKBCE_REAL *C, ptrdiff_t C_row)
{
    ptrdiff_t i = 0;
#define TILES(rows) \
    for (; i + rows <= m; i += rows) \
        SKBCE_OF_REAL(skbce_tile)(rows, vectors, half, width, k_stop, \
                                  A + i / SKBCE_TILE_ROWS * A_tile + i % SKBCE_TILE_ROWS * A_row, A_row, A_column, \
                                  B, B_row, \
                                  start ? start + i * start_row : NULL, start_row, relu, C + i * C_row, C_row)
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
    for (; j + SKBCE_LANES <= width; j += SKBCE_LANES)
        for (ptrdiff_t k = 0; k < k_stop; k++)
            for (ptrdiff_t lane = 0; lane < SKBCE_LANES; lane++)
                packed[k * width + j + lane] = B[(j + lane) * B_row + k];
    for (; j < width; j++)
        for (ptrdiff_t k = 0; k < k_stop; k++)
            packed[k * width + j] = B[j * B_row + k];
}

/* packed = B, for the columns of a whole panel: together they lie in places of the cache of their own. */
SKBCE_ALWAYS_INLINE void SKBCE_OF_REAL(skbce_pack_rows)(
    ptrdiff_t k_stop, const SKBCE_REAL *B, ptrdiff_t B_row, SKBCE_REAL *packed)
{
    for (ptrdiff_t k = 0; k < k_stop; k++)
        for (int v = 0; v < SKBCE_TILE_VECTORS; v++)
            *(SKBCE_VECTOR *)(packed + (k * SKBCE_TILE_VECTORS + v) * SKBCE_LANES) =
                *(const SKBCE_VECTOR *)(B + k * B_row + v * SKBCE_LANES);
}

/* packed[i / T, k, i % T] = A[i, k] for a transposed A and tiles of T rows: what a tile reads lies together. */
SKBCE_ALWAYS_INLINE void SKBCE_OF_REAL(skbce_pack_tiles)(
    ptrdiff_t rows, ptrdiff_t k_stop, const SKBCE_REAL *A, ptrdiff_t A_column, SKBCE_REAL *packed)
{
    ptrdiff_t i = 0;
    for (; i + SKBCE_TILE_ROWS <= rows; i += SKBCE_TILE_ROWS)
        for (ptrdiff_t k = 0; k < k_stop; k++)
            for (ptrdiff_t r = 0; r < SKBCE_TILE_ROWS; r++)
                packed[i * k_stop + k * SKBCE_TILE_ROWS + r] = A[i + r + k * A_column];
    for (ptrdiff_t k = 0; k < k_stop; k++)
        for (ptrdiff_t r = 0; i + r < rows; r++)
            packed[i * k_stop + k * SKBCE_TILE_ROWS + r] = A[i + r + k * A_column];
}

/* The vectors of a panel where n columns are left. Few are halved, so that no panel is much narrower than the others. */
SKBCE_ALWAYS_INLINE int SKBCE_OF_REAL(skbce_panel_vectors)(ptrdiff_t n)
{
    const ptrdiff_t left = (n + SKBCE_LANES - 1) / SKBCE_LANES, most = SKBCE_TILE_VECTORS;
    return (int)(left <= most ? left : left < 2 * most ? left / 2 : most);
}

/* C = start + A op(B), relu of it if asked for, for m x n elements, n >= SKBCE_LANES and at most SKBCE_DEPTH terms: panel
beside panel. */
static void SKBCE_OF_REAL(skbce_panels)(
    int B_transposed, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k_stop,
    const SKBCE_REAL *A, ptrdiff_t A_tile, ptrdiff_t A_row, ptrdiff_t A_column, const SKBCE_REAL *B, ptrdiff_t B_row,
    const SKBCE_REAL *start, ptrdiff_t start_row, int relu, SKBCE_REAL *C, ptrdiff_t C_row)
{
    SKBCE_REAL packed[SKBCE_DEPTH * SKBCE_TILE_VECTORS * SKBCE_LANES] __attribute__((aligned(64)));
    for (ptrdiff_t j = 0; j < n;) {
        const int vectors = SKBCE_OF_REAL(skbce_panel_vectors)(n - j);
        const ptrdiff_t width = n - j < vectors * SKBCE_LANES ? n - j : vectors * SKBCE_LANES;
        const SKBCE_REAL *panel = B + j;
        ptrdiff_t panel_row = B_row;
        if (B_transposed) {
            SKBCE_OF_REAL(skbce_pack)(width, k_stop, B + j * B_row, B_row, packed);
            panel = packed;
            panel_row = width;
        } else if (m >= SKBCE_PACKING_ROWS && width == SKBCE_TILE_VECTORS * SKBCE_LANES && width < n) {
            SKBCE_OF_REAL(skbce_pack_rows)(k_stop, panel, B_row, packed);
            panel = packed;
            panel_row = width;
        }
#define PANEL_OF(vectors, half) \
    SKBCE_OF_REAL(skbce_panel)(vectors, half, width, m, k_stop, A, A_tile, A_row, A_column, panel, panel_row, \
                               start ? start + j : NULL, start_row, relu, C + j, C_row)
        if (SKBCE_HAS_HALVES && vectors > 1 && width <= vectors * SKBCE_LANES - SKBCE_LANES / 2) {
#define PANEL(vectors) PANEL_OF(vectors, 1)
            SKBCE_FOR_PANEL(vectors)
#undef PANEL
        } else {
#define PANEL(vectors) PANEL_OF(vectors, 0)
            SKBCE_FOR_PANEL(vectors)
#undef PANEL
        }
#undef PANEL_OF
        j += width;
    }
}

/* C = start + A B for a transposed A that no cache holds: its columns are A_column apart. A block of them, and of
SKBCE_PACKED_DEPTH terms, is packed for all panels. By itself, for the block lies on the stack. */
__attribute__((noinline)) static void SKBCE_OF_REAL(skbce_packed_product)(
    ptrdiff_t m, ptrdiff_t n, ptrdiff_t k_stop, const SKBCE_REAL *A, ptrdiff_t A_column,
    const SKBCE_REAL *B, ptrdiff_t B_row, const SKBCE_REAL *start, ptrdiff_t start_row, SKBCE_REAL *C, ptrdiff_t C_row)
{
    SKBCE_REAL packed[SKBCE_PACKED_BYTES / sizeof(SKBCE_REAL)] __attribute__((aligned(64)));
    for (ptrdiff_t k = 0; k < k_stop; k += SKBCE_PACKED_DEPTH) {
        const ptrdiff_t depth = k_stop - k < SKBCE_PACKED_DEPTH ? k_stop - k : SKBCE_PACKED_DEPTH;
        const ptrdiff_t tile = SKBCE_TILE_ROWS * depth;
        const ptrdiff_t most_rows = (ptrdiff_t)(sizeof packed / sizeof *packed) / tile * SKBCE_TILE_ROWS;
        const SKBCE_REAL *from = k ? C : start;
        const ptrdiff_t from_row = k ? C_row : start_row;
        for (ptrdiff_t i = 0; i < m; i += most_rows) {
            const ptrdiff_t rows = m - i < most_rows ? m - i : most_rows;
            SKBCE_OF_REAL(skbce_pack_tiles)(rows, depth, A + i + k * A_column, A_column, packed);
            SKBCE_OF_REAL(skbce_panels)(0, rows, n, depth, packed, tile, 1, SKBCE_TILE_ROWS, B + k * B_row, B_row,
                                        from ? from + i * from_row : NULL, from_row, 0, C + i * C_row, C_row);
        }
    }
}

/* C = start + A op(B), relu of it if asked for, for m x n elements and n >= SKBCE_LANES. A row of the result depends on no
other.

SKBCE_DEPTH terms at a time, so that a panel of B stays in the first-level cache from tile to tile; the sums go on from
C, which changes no bit. Where A is a transposed matrix, A_row being 1, a tile reads a line of A in each term: so it is
SKBCE_TRANSPOSED_DEPTH terms, and a large one is packed. */
static void SKBCE_OF_REAL(skbce_product)(
    int B_transposed, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k_stop,
    const SKBCE_REAL *A, ptrdiff_t A_row, ptrdiff_t A_column, const SKBCE_REAL *B, ptrdiff_t B_row,
    const SKBCE_REAL *start, ptrdiff_t start_row, int relu, SKBCE_REAL *C, ptrdiff_t C_row)
{
    const ptrdiff_t A_bytes = k_stop * A_column * (ptrdiff_t)sizeof(SKBCE_REAL);
    const ptrdiff_t most_terms = A_row == 1 ? SKBCE_TRANSPOSED_DEPTH : SKBCE_DEPTH;
    if (A_row == 1 && !B_transposed && !relu && n > SKBCE_TILE_VECTORS * SKBCE_LANES && A_bytes > SKBCE_CACHE_BYTES) {
        SKBCE_OF_REAL(skbce_packed_product)(m, n, k_stop, A, A_column, B, B_row, start, start_row, C, C_row);
        return;
    }
    for (ptrdiff_t k = 0; k < k_stop; k += most_terms) {
        const ptrdiff_t depth = k_stop - k < most_terms ? k_stop - k : most_terms;
        SKBCE_OF_REAL(skbce_panels)(B_transposed, m, n, depth,
                                    A + k * A_column, SKBCE_TILE_ROWS * A_row, A_row, A_column,
                                    B_transposed ? B + k : B + k * B_row, B_row,
                                    k ? C : start, k ? C_row : start_row, relu && k + depth == k_stop, C, C_row);
    }
}
