"""Pauses in long work, to ask whether it is to end: for Ctrl-C, or because the one who waits for it has given up.

Work is broken off between blocks of rows, and between layers where these take long; what is half done is thrown away.
Only the thread that came through the door asks, for Python's handlers run in no other; the other threads of its region
hear of it.
"""

from skbce.kernels.parallel cimport seconds_now, thread_number
from skbce.kernels.subnormals cimport keep_subnormals, stop_flushing

cdef extern from *:
    """
    /* Told to the other threads; what they see of it late costs them a block. */
    #ifdef _MSC_VER
    static inline int skbce_told(const int* flag) { return *(const volatile int*)flag; }
    static inline void skbce_tell(int* flag) { *(volatile int*)flag = 1; }
    #else
    static inline int skbce_told(const int* flag) { return __atomic_load_n(flag, __ATOMIC_RELAXED); }
    static inline void skbce_tell(int* flag) { __atomic_store_n(flag, 1, __ATOMIC_RELAXED); }
    #endif
    """
    bint told "skbce_told" (const int* flag) noexcept nogil
    void tell "skbce_tell" (int* flag) noexcept nogil
    bint unlikely(bint condition) noexcept nogil  # so that what follows lies out of the way of small steps

cdef enum:
    # Multiply-adds of a layer after which the clock is read: some 10 us, beside which that is nothing.
    WORTH_A_LOOK = 1 << 20
    MILLISECONDS_BETWEEN = 50


# Of one call of a door; threads of its region share it.
cdef struct Pause:
    bint (*ends)(void* asked) noexcept nogil   # asks Python
    void* asked
    double next                # the first thread's own: when it asks again
    int over                   # whether work ends; only `tell` and `told` touch it


cdef inline double next_pause() noexcept nogil:
    return seconds_now() + 1e-3 * MILLISECONDS_BETWEEN


cdef inline bint is_over(const Pause* pause) noexcept nogil:
    """whether the work was broken off, as far as this thread has heard"""
    return unlikely(told(&pause.over))


cdef inline bint breaks_off(Pause* pause) noexcept nogil:
    """whether the work is to end here; every thread of a region calls it between blocks"""
    cdef unsigned int floating_point
    if thread_number() == 0 and unlikely(seconds_now() >= pause.next) and not told(&pause.over):
        floating_point = stop_flushing()
        if pause.ends(pause.asked):
            tell(&pause.over)
        keep_subnormals(floating_point)
        pause.next = next_pause()
    return told(&pause.over)


cdef inline bint breaks_off_after(Py_ssize_t rows, Py_ssize_t n_in, Py_ssize_t n_out, Pause* pause) noexcept nogil:
    """`breaks_off` between layers, after a product of this shape"""
    return unlikely(<double>rows * n_in * n_out >= WORTH_A_LOOK) and breaks_off(pause)
