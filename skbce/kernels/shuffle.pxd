"""An epoch's order of rows: what NumPy's RandomState.shuffle makes of it, from the same draws.

NumPy draws until a number fits, exchanges, and draws for the next row; whether a draw fits is a coin toss, which the
processor often guesses wrong. Here a run of numbers is drawn and sorted out without branches, and then the rows change
places, each asked for as it is drawn: training has filled the caches with other things.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t

from skbce.kernels.table cimport prefetch


cdef struct BitGenerator:
    # bitgen_t of NumPy's C API, numpy/random/bitgen.h.
    void* state
    uint64_t (*next_uint64)(void* state) noexcept nogil
    uint32_t (*next_uint32)(void* state) noexcept nogil
    double (*next_double)(void* state) noexcept nogil
    uint64_t (*next_raw)(void* state) noexcept nogil


cdef enum:
    _RUN = 256  # draws: their partners stay in the first-level cache


cdef inline uint32_t mask_of(uint32_t n) noexcept nogil:
    """2^k - 1, the least that is no less than n"""
    n |= n >> 1
    n |= n >> 2
    n |= n >> 4
    n |= n >> 8
    return n | n >> 16


cdef inline Py_ssize_t draw_partners(
    BitGenerator* generator, const int64_t* order, uint32_t last, uint32_t mask, Py_ssize_t n_draws, uint32_t* partners
) noexcept nogil:
    """partners[k] uniform in 0 .. last - k, for as many of the draws as fit; returns how many

    No more are drawn than partners are wanted, so the generator ends where NumPy leaves it.
    """
    cdef Py_ssize_t _k, n_drawn = 0
    for _k in range(n_draws):
        partners[n_drawn] = generator.next_uint32(generator.state) & mask
        # Of a draw that does not fit, the address may lie beyond the order, and asking for it does nothing.
        prefetch(<const void*>(<uintptr_t>order + <uintptr_t>sizeof(int64_t) * partners[n_drawn]))
        n_drawn += partners[n_drawn] <= last - <uint32_t>n_drawn
    return n_drawn


cdef inline void shuffle_rows(BitGenerator* generator, int64_t* order, uint32_t n_rows) noexcept nogil:
    """for i = n_rows - 1 .. 1: order[i] <-> order[a number drawn from 0 .. i]"""
    cdef uint32_t[_RUN] partners
    cdef uint32_t mask, n_draws, last = n_rows - 1
    cdef int64_t row
    cdef Py_ssize_t k
    while last > 0:
        mask = mask_of(last)
        # Rows that share a mask.
        while last > mask >> 1:
            n_draws = min(<uint32_t>_RUN, last - (mask >> 1))
            for k in range(draw_partners(generator, order, last, mask, n_draws, partners)):
                row = order[last]
                order[last] = order[partners[k]]
                order[partners[k]] = row
                last -= 1
