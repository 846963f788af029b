/* When products of matrices are computed from tiles (tile_product.h), and how large these are; with the same vectors, the
passes through one unit (unit_pass.h) and the products of sparse rows (sparse_rows.h).

A tile of C stays in vector registers over a sum of SKBCE_DEPTH terms. Matrices are read where they lie, unless packing
them, as BLAS always does, costs less than it gains for those of a layer and a batch: transposed ones, and with AVX2
those that many rows are multiplied with.

SKBCE_HAS_TILES is 0 where the compiler has no vector types, and for instruction sets without fused multiply-add, where
BLAS picks a better one than this build's. */

#if defined(__GNUC__) && defined(__AVX512F__)
#define SKBCE_HAS_TILES 1
#define SKBCE_VECTOR_BYTES 64
/* 24 sums, 4 vectors of B and one element of A in 32 registers. */
#define SKBCE_TILE_ROWS 6
#define SKBCE_TILE_VECTORS 4
/* Terms of a sum that a panel of B has rows for: 32 kB. Of 64 to 384, this and 192 were soonest for layers of 64 to 4096
units, on a first-level cache of 48 kB. */
#define SKBCE_DEPTH 128
/* Never: a panel's four vectors beside each other came at 160 of 166 GFLOP/s from where they lie. */
#define SKBCE_PACKING_ROWS PTRDIFF_MAX
/* What is packed of a transposed A at a time, and its terms. */
#define SKBCE_PACKED_BYTES 24576
#define SKBCE_PACKED_DEPTH 128
#elif defined(__GNUC__) && defined(__AVX2__) && defined(__FMA__)
#define SKBCE_HAS_TILES 1
#define SKBCE_VECTOR_BYTES 32
/* 12 sums, 2 vectors of B and one element of A in 16 registers. */
#define SKBCE_TILE_ROWS 6
#define SKBCE_TILE_VECTORS 2
/* 16 kB. In place of 128, layers of 512 and 1024 units take 8 and 20 % less, on a first-level cache of 32 kB. */
#define SKBCE_DEPTH 256
/* Rows of A from which on panels of B are packed: with 32 of them it costs as much as it gains, with 64 it gains 10 %,
with 256 a third where a row of B is 2 kB, for whose lines such a cache has 16 places. */
#define SKBCE_PACKING_ROWS 48
/* 72 columns, for which panels of B are packed: with 48 dW takes 5 to 10 % longer from 256 units on; twice as many would
gain 2 % in float32 and 5 % in float64, but stacks have their limits, 128 kB with musl. */
#define SKBCE_PACKED_BYTES 73728
#define SKBCE_PACKED_DEPTH ((ptrdiff_t)(1024 / sizeof(SKBCE_REAL)))
#else
#define SKBCE_HAS_TILES 0
#define SKBCE_VECTOR_BYTES 0
#define skbce_product_float(...) ((void)0)
#define skbce_product_double(...) ((void)0)
#define skbce_unit_forward_float(...) ((void)0)
#define skbce_unit_forward_double(...) ((void)0)
#define skbce_unit_backward_float(...) ((void)0)
#define skbce_unit_backward_double(...) ((void)0)
#endif

#include <stddef.h>
#include <stdint.h>

#if SKBCE_HAS_TILES
/* Terms of a sum where A is transposed and not packed. With AVX2 and 256 of them, dW takes a fifth longer. */
#define SKBCE_TRANSPOSED_DEPTH 128
/* Twice a first-level cache: what is smaller gains nothing from being packed. */
#define SKBCE_CACHE_BYTES 65536

/* Rows that go forward through one unit together, and those whose lanes wait to be summed, in 4 kB. */
#define SKBCE_UNIT_ROWS 4
#define SKBCE_UNIT_BLOCK 64

/* Sums of a row that entries are added to, beside a vector of W and one of x in 16 registers. */
#define SKBCE_ENTRY_VECTORS 8

#define SKBCE_ALWAYS_INLINE static inline __attribute__((always_inline))

/* The vectors of a panel as a constant, for PANEL(vectors). */
#if SKBCE_TILE_VECTORS == 4
#define SKBCE_FOR_PANEL(vectors) \
    switch (vectors) { \
    case 4: PANEL(4); break; \
    case 3: PANEL(3); break; \
    case 2: PANEL(2); break; \
    default: PANEL(1); \
    }
#else
#define SKBCE_FOR_PANEL(vectors) \
    if (vectors == 2) { \
        PANEL(2); \
    } else { \
        PANEL(1); \
    }
#endif

/* Whether a panel may end with half a vector: processors that take two cycles for a whole one of 512 bits do that in one. */
#define SKBCE_HAS_HALVES (SKBCE_TILE_VECTORS == 4)

/* The order of skbce._parameters.ACTIVATIONS. */
enum { SKBCE_IDENTITY, SKBCE_LOGISTIC, SKBCE_TANH, SKBCE_RELU };

/* Of elements that lie anywhere. */
#define SKBCE_VECTOR SKBCE_OF_REAL(skbce_vector)
typedef float skbce_vector_float __attribute__((vector_size(SKBCE_VECTOR_BYTES), aligned(4), may_alias));
typedef double skbce_vector_double __attribute__((vector_size(SKBCE_VECTOR_BYTES), aligned(8), may_alias));
/* Of their bits, as comparisons give them. */
#define SKBCE_BITS SKBCE_OF_REAL(skbce_bits)
typedef int32_t skbce_bits_float __attribute__((vector_size(SKBCE_VECTOR_BYTES)));
typedef int64_t skbce_bits_double __attribute__((vector_size(SKBCE_VECTOR_BYTES)));
#define SKBCE_LANES ((ptrdiff_t)(SKBCE_VECTOR_BYTES / sizeof(SKBCE_REAL)))
/* And of half as many. */
#define SKBCE_HALF SKBCE_OF_REAL(skbce_half)
typedef float skbce_half_float __attribute__((vector_size(SKBCE_VECTOR_BYTES / 2), aligned(4), may_alias));
typedef double skbce_half_double __attribute__((vector_size(SKBCE_VECTOR_BYTES / 2), aligned(8), may_alias));
#define SKBCE_HALF_BITS SKBCE_OF_REAL(skbce_half_bits)
typedef int32_t skbce_half_bits_float __attribute__((vector_size(SKBCE_VECTOR_BYTES / 2)));
typedef int64_t skbce_half_bits_double __attribute__((vector_size(SKBCE_VECTOR_BYTES / 2)));
#endif

#define SKBCE_REAL float
#define SKBCE_OF_REAL(name) name##_float
#if SKBCE_HAS_TILES
#include "tile_product.h"
#include "unit_pass.h"
#endif
#include "sparse_rows.h"
#undef SKBCE_REAL
#undef SKBCE_OF_REAL

#define SKBCE_REAL double
#define SKBCE_OF_REAL(name) name##_double
#if SKBCE_HAS_TILES
#include "tile_product.h"
#include "unit_pass.h"
#endif
#include "sparse_rows.h"
#undef SKBCE_REAL
#undef SKBCE_OF_REAL
