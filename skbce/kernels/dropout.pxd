"""Dropout (Srivastava et al. 2014): which units of which rows are kept, by a hash of counters.

Whether a unit is kept follows from the seed, the step, the layer, the row's place in the batch and the unit alone; so
neither threads nor shards nor blocks change a mask, and nothing has to be kept from forward to backward but D.
"""

from cython cimport floating
from libc.stdint cimport uint32_t, uint64_t

from skbce.kernels.views cimport DropoutView


cdef inline uint64_t mixed(uint64_t x) noexcept nogil:
    """a one-to-one map that changes half of the bits for any change of x: SplitMix64's (Steele, Lea, Flood 2014)"""
    x = (x ^ (x >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * <uint64_t>0x94D049BB133111EB
    return x ^ (x >> 31)


cdef inline uint64_t row_key(const DropoutView* dropout, Py_ssize_t l, Py_ssize_t row) noexcept nogil:
    """64 bits for a row of the batch in layer l, at this seed and step"""
    # SplitMix64's increment, 2^64 over the golden ratio: successive numbers come to lie far apart.
    cdef uint64_t apart = 0x9E3779B97F4A7C15
    cdef uint64_t key = mixed(dropout.seed + apart * <uint64_t>dropout.step)
    key = mixed(key + apart * <uint64_t>l)
    return mixed(key + apart * <uint64_t>row)


cdef inline uint32_t unit_bits(uint32_t low, uint32_t high, uint32_t unit) noexcept nogil:
    """32 bits for a unit, by MurmurHash3's last steps (Appleby 2011), and half of the row's key before each of two"""
    cdef uint32_t x = low + unit * <uint32_t>0x9E3779B9
    x = (x ^ (x >> 16)) * <uint32_t>0x85EBCA6B
    x += high
    x = (x ^ (x >> 13)) * <uint32_t>0xC2B2AE35
    return x ^ (x >> 16)


cdef inline void drop(
    double p, const DropoutView* dropout, Py_ssize_t l, Py_ssize_t start, Py_ssize_t rows, Py_ssize_t n,
    floating* A, floating* D,
) noexcept nogil:
    """A = A M and D = D M in one pass, for D = f'(Z); M is 0 with probability p, else 1 / (1 - p)"""
    cdef uint32_t threshold = <uint32_t>min(p * 4294967296.0, 4294967295.0)  # a unit's bits lie below with p
    cdef floating scale = 1 / (1 - p), m
    cdef uint64_t key
    cdef uint32_t low, high
    cdef Py_ssize_t i, j
    for i in range(rows):
        key = row_key(dropout, l, start + i - dropout.batch_start)
        low, high = <uint32_t>key, <uint32_t>(key >> 32)
        for j in range(n):
            m = scale if unit_bits(low, high, <uint32_t>j) >= threshold else 0
            A[j] *= m
            D[j] *= m
        A += n
        D += n
