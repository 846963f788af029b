"""An epoch's order of rows: what NumPy's RandomState.shuffle makes of it, from the same draws.

NumPy draws until a number fits, exchanges, and draws for the next row; a draw is a call, and whether it fits is a coin
toss, which the processor often guesses wrong. Here the Mersenne twister's own state is advanced, a run of numbers is
made at once and sorted out without branches, and then the rows change places, each asked for as it is drawn: training
has filled the caches with other things.

The twister: Matsumoto and Nishimura (1998), ACM Transactions on Modeling and Computer Simulation 8,
https://doi.org/10.1145/272991.272995.
"""

from libc.stdint cimport int64_t, uint32_t, uintptr_t

from skbce.kernels.table cimport prefetch


cdef enum:
    TWISTER_WORDS = 624  # of its state: n of the paper
    _MIDDLE = 397  # its m
    _RUN = 256  # draws: their partners stay in the first-level cache


cdef struct BitGenerator:
    # How bitgen_t of NumPy's C API begins, numpy/random/bitgen.h; functions that draw follow.
    void* state


cdef struct Twister:
    # What the state of NumPy's MT19937 points to: words, and how many of them have been drawn.
    uint32_t[TWISTER_WORDS] words
    uint32_t n_drawn


cdef inline uint32_t twisted(uint32_t upper, uint32_t lower, uint32_t middle) noexcept nogil:
    """middle ^ (upper's first bit and lower's others) A"""
    cdef uint32_t joined = (upper & 0x80000000u) | (lower & 0x7fffffffu)
    return middle ^ (joined >> 1) ^ ((0u - (lower & 1u)) & 0x9908b0dfu)


cdef inline void twist(uint32_t* words) noexcept nogil:
    """words[k] = words[k + m] ^ (words[k]'s first bit and words[k + 1]'s others) A, all indices modulo n"""
    cdef Py_ssize_t k
    for k in range(TWISTER_WORDS - _MIDDLE):
        words[k] = twisted(words[k], words[k + 1], words[k + _MIDDLE])
    for k in range(TWISTER_WORDS - _MIDDLE, TWISTER_WORDS - 1):
        words[k] = twisted(words[k], words[k + 1], words[k + _MIDDLE - TWISTER_WORDS])
    words[TWISTER_WORDS - 1] = twisted(words[TWISTER_WORDS - 1], words[0], words[_MIDDLE - 1])


cdef inline uint32_t tempered(uint32_t word) noexcept nogil:
    """The paper's T: what is drawn of a word"""
    word ^= word >> 11
    word ^= (word << 7) & 0x9d2c5680u
    word ^= (word << 15) & 0xefc60000u
    return word ^ (word >> 18)


cdef inline uint32_t mask_of(uint32_t n) noexcept nogil:
    """2^k - 1, the least that is no less than n"""
    n |= n >> 1
    n |= n >> 2
    n |= n >> 4
    n |= n >> 8
    return n | n >> 16


cdef inline Py_ssize_t draw(Twister* twister, uint32_t mask, Py_ssize_t n_draws, uint32_t* draws) noexcept nogil:
    """The next draws & mask, as many as wanted or as the state has left; returns how many"""
    cdef Py_ssize_t k
    cdef const uint32_t* words
    if twister.n_drawn >= TWISTER_WORDS:
        twist(twister.words)
        twister.n_drawn = 0
    n_draws = min(n_draws, TWISTER_WORDS - <Py_ssize_t>twister.n_drawn)
    words = twister.words + twister.n_drawn
    for k in range(n_draws):
        draws[k] = tempered(words[k]) & mask
    twister.n_drawn += <uint32_t>n_draws
    return n_draws


cdef inline Py_ssize_t draw_partners(
    Twister* twister, const int64_t* order, uint32_t last, uint32_t mask, Py_ssize_t n_wanted, uint32_t* partners
) noexcept nogil:
    """partners[k] uniform in 0 .. last - k, for as many of the draws as fit; returns how many

    No more are drawn than partners are wanted, so the generator ends where NumPy leaves it.
    """
    cdef uint32_t[_RUN] draws
    cdef Py_ssize_t k, n_partners = 0
    for k in range(draw(twister, mask, n_wanted, draws)):
        partners[n_partners] = draws[k]
        # Of a draw that does not fit, the address may lie beyond the order, and asking for it does nothing.
        prefetch(<const void*>(<uintptr_t>order + <uintptr_t>sizeof(int64_t) * draws[k]))
        n_partners += draws[k] <= last - <uint32_t>n_partners
    return n_partners


cdef inline void shuffle_rows(Twister* twister, int64_t* order, uint32_t n_rows) noexcept nogil:
    """for i = n_rows - 1 .. 1: order[i] <-> order[a number drawn from 0 .. i]"""
    cdef uint32_t[_RUN] partners
    cdef uint32_t mask, n_wanted, last = n_rows - 1
    cdef int64_t row
    cdef Py_ssize_t k
    while last > 0:
        mask = mask_of(last)
        # Rows that share a mask.
        while last > mask >> 1:
            n_wanted = min(<uint32_t>_RUN, last - (mask >> 1))
            for k in range(draw_partners(twister, order, last, mask, n_wanted, partners)):
                row = order[last]
                order[last] = order[partners[k]]
                order[partners[k]] = row
                last -= 1
