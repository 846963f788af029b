/* The pass back through one unit, for SKBCE_REAL; tiles.h includes this once for float and once for double. */

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
