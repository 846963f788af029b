/* The passes forward and back through one unit, for SKBCE_REAL; tiles.h includes this once for float and once for double. */

/* sums[i] = the products A[i, k] w[k] for `rows` rows of n >= SKBCE_LANES numbers, in lanes; `ends` has the bits of those
lanes of a row's last vector that no vector before it has. Inlined with constant rows, whose sums do not wait for each
other. */
SKBCE_ALWAYS_INLINE void SKBCE_OF_REAL(skbce_unit_lanes)(
    const int rows, ptrdiff_t n, const SKBCE_REAL *A, ptrdiff_t A_row, const SKBCE_REAL *w, SKBCE_BITS ends,
    SKBCE_VECTOR *sums)
{
    SKBCE_VECTOR row_sums[SKBCE_UNIT_ROWS];
    const SKBCE_VECTOR w_end = (SKBCE_VECTOR)((SKBCE_BITS)*(const SKBCE_VECTOR *)(w + n - SKBCE_LANES) & ends);
    for (int i = 0; i < rows; i++)
        row_sums[i] = w_end * (SKBCE_VECTOR)((SKBCE_BITS)*(const SKBCE_VECTOR *)(A + i * A_row + n - SKBCE_LANES) & ends);
    for (ptrdiff_t k = 0; k + SKBCE_LANES < n; k += SKBCE_LANES)
        for (int i = 0; i < rows; i++)
            row_sums[i] += *(const SKBCE_VECTOR *)(A + i * A_row + k) * *(const SKBCE_VECTOR *)(w + k);
    for (int i = 0; i < rows; i++)
        sums[i] = row_sums[i];
}

/* z[i] = b + sum_k A[i, k] w[k]. The lanes of a block of rows are summed in a loop of their own: beside the products,
gcc 12 takes each lane out of its register by itself. */
static void SKBCE_OF_REAL(skbce_unit_forward)(
    ptrdiff_t rows, ptrdiff_t n, const SKBCE_REAL *A, ptrdiff_t A_row, const SKBCE_REAL *w, SKBCE_REAL b, SKBCE_REAL *z)
{
    const ptrdiff_t first_new = SKBCE_LANES - 1 - (n - 1) % SKBCE_LANES;
    SKBCE_BITS ends;
    for (ptrdiff_t lane = 0; lane < SKBCE_LANES; lane++)
        ends[lane] = lane < first_new ? 0 : -1;
    for (ptrdiff_t start = 0; start < rows; start += SKBCE_UNIT_BLOCK) {
        SKBCE_VECTOR sums[SKBCE_UNIT_BLOCK];
        const ptrdiff_t stop = rows - start < SKBCE_UNIT_BLOCK ? rows - start : SKBCE_UNIT_BLOCK;
        const SKBCE_REAL *A_block = A + start * A_row, *lanes = (const SKBCE_REAL *)sums;
        ptrdiff_t i = 0;
        for (; i + SKBCE_UNIT_ROWS <= stop; i += SKBCE_UNIT_ROWS)
            SKBCE_OF_REAL(skbce_unit_lanes)(SKBCE_UNIT_ROWS, n, A_block + i * A_row, A_row, w, ends, sums + i);
        for (; i < stop; i++)
            SKBCE_OF_REAL(skbce_unit_lanes)(1, n, A_block + i * A_row, A_row, w, ends, sums + i);
        for (i = 0; i < stop; i++) {
            SKBCE_REAL sum = b;
            for (ptrdiff_t lane = 0; lane < SKBCE_LANES; lane++)
                sum += lanes[i * SKBCE_LANES + lane];
            z[start + i] = sum;
        }
    }
}

/* dz_k = da_k f'(z_k), differentiates a = f(z); f' is written in a itself. */
SKBCE_ALWAYS_INLINE SKBCE_VECTOR SKBCE_OF_REAL(skbce_times_derivative)(
    const int f, SKBCE_VECTOR a, SKBCE_VECTOR da)
{
    switch (f) {
    case SKBCE_RELU: return (SKBCE_VECTOR)((SKBCE_BITS)da & (SKBCE_BITS)(a > 0));
    case SKBCE_TANH: return da * (1 - a * a);
    case SKBCE_LOGISTIC: return da * (a * (1 - a));
    default: return da;
    }
}

/* `skbce_unit_backward` for `vectors` of each row's n numbers, which cover `width`; the last one ends there, and what it
has in common with the one before it comes out the same. Inlined with constant f and vectors, so that the sums stay in
registers from row to row. */
SKBCE_ALWAYS_INLINE void SKBCE_OF_REAL(skbce_unit_panel)(
    const int f, const int vectors, ptrdiff_t width, ptrdiff_t rows, ptrdiff_t n, SKBCE_REAL *A, const SKBCE_REAL *dz,
    const SKBCE_REAL *w, SKBCE_REAL *dw, SKBCE_REAL *db)
{
#define AT(v) ((v) < vectors - 1 ? (v) * SKBCE_LANES : width - SKBCE_LANES)
    SKBCE_VECTOR w_[SKBCE_TILE_VECTORS], dw_[SKBCE_TILE_VECTORS], db_[SKBCE_TILE_VECTORS];
    for (int v = 0; v < vectors; v++) {
        w_[v] = *(const SKBCE_VECTOR *)(w + AT(v));
        dw_[v] = *(const SKBCE_VECTOR *)(dw + AT(v));
        db_[v] = *(const SKBCE_VECTOR *)(db + AT(v));
    }
    for (ptrdiff_t i = 0; i < rows; i++) {
        SKBCE_VECTOR a[SKBCE_TILE_VECTORS];
        for (int v = 0; v < vectors; v++)
            a[v] = *(const SKBCE_VECTOR *)(A + i * n + AT(v));
        for (int v = 0; v < vectors; v++) {
            const SKBCE_VECTOR dZ = SKBCE_OF_REAL(skbce_times_derivative)(f, a[v], dz[i] * w_[v]);
            dw_[v] += dz[i] * a[v];
            db_[v] += dZ;
            *(SKBCE_VECTOR *)(A + i * n + AT(v)) = dZ;
        }
    }
    for (int v = 0; v < vectors; v++) {
        *(SKBCE_VECTOR *)(dw + AT(v)) = dw_[v];
        *(SKBCE_VECTOR *)(db + AT(v)) = db_[v];
    }
#undef AT
}

/* The same for all n >= SKBCE_LANES columns, panel beside panel. */
SKBCE_ALWAYS_INLINE void SKBCE_OF_REAL(skbce_unit_panels)(
    const int f, ptrdiff_t rows, ptrdiff_t n, SKBCE_REAL *A, const SKBCE_REAL *dz, const SKBCE_REAL *w,
    SKBCE_REAL *dw, SKBCE_REAL *db)
{
    for (ptrdiff_t j = 0; j < n;) {
        const int vectors = SKBCE_OF_REAL(skbce_panel_vectors)(n - j);
        const ptrdiff_t width = n - j < vectors * SKBCE_LANES ? n - j : vectors * SKBCE_LANES;
#define PANEL(vectors) SKBCE_OF_REAL(skbce_unit_panel)(f, vectors, width, rows, n, A + j, dz, w + j, dw + j, db + j)
        SKBCE_FOR_PANEL(vectors)
#undef PANEL
        j += width;
    }
}

/* Below one unit, z = A w + b, in one pass over A: dw += A^T dz, dZ = (dz w^T) * f'(Z) in place of A,
db += sum_i dZ[i]. */
static void SKBCE_OF_REAL(skbce_unit_backward)(
    int f, ptrdiff_t rows, ptrdiff_t n, SKBCE_REAL *A, const SKBCE_REAL *dz, const SKBCE_REAL *w,
    SKBCE_REAL *dw, SKBCE_REAL *db)
{
    switch (f) {
    case SKBCE_RELU: SKBCE_OF_REAL(skbce_unit_panels)(SKBCE_RELU, rows, n, A, dz, w, dw, db); break;
    case SKBCE_TANH: SKBCE_OF_REAL(skbce_unit_panels)(SKBCE_TANH, rows, n, A, dz, w, dw, db); break;
    case SKBCE_LOGISTIC: SKBCE_OF_REAL(skbce_unit_panels)(SKBCE_LOGISTIC, rows, n, A, dz, w, dw, db); break;
    default: SKBCE_OF_REAL(skbce_unit_panels)(SKBCE_IDENTITY, rows, n, A, dz, w, dw, db);
    }
}
