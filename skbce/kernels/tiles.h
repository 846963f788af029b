/* When products of matrices are computed from tiles (tile_product.h), and how large these are.

A tile of C stays in vector registers over the whole sum. Matrices are read where they lie: to pack them, as BLAS does,
costs more than it gains for those of a layer and a batch. Only a transposed one is packed.

SKBCE_HAS_TILES is 0 where the compiler has no vector types, and for instruction sets without fused multiply-add, where
BLAS picks a better one than this build's. */

#if defined(__GNUC__) && defined(__AVX512F__)
#define SKBCE_HAS_TILES 1
#define SKBCE_VECTOR_BYTES 64
/* 24 sums, 4 vectors of B and one element of A in 32 registers. */
#define SKBCE_TILE_ROWS 6
#define SKBCE_TILE_VECTORS 4
#elif defined(__GNUC__) && defined(__AVX2__) && defined(__FMA__)
#define SKBCE_HAS_TILES 1
#define SKBCE_VECTOR_BYTES 32
/* 12 sums, 2 vectors of B and one element of A in 16 registers. */
#define SKBCE_TILE_ROWS 6
#define SKBCE_TILE_VECTORS 2
#else
#define SKBCE_HAS_TILES 0
#define SKBCE_VECTOR_BYTES 0
#define skbce_product_float(...) ((void)0)
#define skbce_product_double(...) ((void)0)
#define skbce_add_entries_float(...) 0
#define skbce_add_entries_double(...) 0
#endif

#if SKBCE_HAS_TILES
#include <stddef.h>
#include <stdint.h>

/* Of a transposed matrix: with four vectors beside each other, 64 kB of the stack. */
#define SKBCE_PACKED_ROWS 256

/* Sums of a row that entries are added to, beside a vector of W and one of x in 16 registers. */
#define SKBCE_ENTRY_VECTORS 8

#define SKBCE_ALWAYS_INLINE static inline __attribute__((always_inline))

#define SKBCE_REAL float
#define SKBCE_OF_REAL(name) name##_float
#include "tile_product.h"
#undef SKBCE_REAL
#undef SKBCE_OF_REAL

#define SKBCE_REAL double
#define SKBCE_OF_REAL(name) name##_double
#include "tile_product.h"
#undef SKBCE_REAL
#undef SKBCE_OF_REAL
#endif
