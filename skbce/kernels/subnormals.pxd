"""Numbers below the normal ones, 1e-38 in float32 and 2e-308 in float64, taken as 0 while steps are trained.

A unit that no row switches on has only its L2 term for a gradient, and so have the weights of a column of zeros: they
and their moments shrink until they are subnormal, within 2000 steps of Adam in float32, and each operation on one of
those takes an x86 some hundred cycles. Where the compiler knows no such switch, nothing is done: ARM's processors
need none. The switch is the calling thread's own, and is put back; at a pause too, while handlers of signals run.
"""

cdef extern from *:
    """
    #if defined(__SSE2__) || defined(_M_X64)
    #include <xmmintrin.h>
    /* Of the control register: results that are subnormal become 0, and operands that are count as 0. */
    #define SKBCE_FLUSH_RESULTS 0x8000u
    #define SKBCE_FLUSH_OPERANDS 0x0040u
    static inline unsigned int skbce_flush_subnormals(void) {
        const unsigned int before = _mm_getcsr();
        _mm_setcsr(before | SKBCE_FLUSH_RESULTS | SKBCE_FLUSH_OPERANDS);
        return before;
    }
    static inline unsigned int skbce_stop_flushing(void) {
        const unsigned int before = _mm_getcsr();
        _mm_setcsr(before & ~(SKBCE_FLUSH_RESULTS | SKBCE_FLUSH_OPERANDS));
        return before;
    }
    static inline void skbce_keep_subnormals(unsigned int before) { _mm_setcsr(before); }
    #else
    static inline unsigned int skbce_stop_flushing(void) { return 0; }
    static inline unsigned int skbce_flush_subnormals(void) { return 0; }
    static inline void skbce_keep_subnormals(unsigned int before) { (void)before; }
    #endif
    """
    unsigned int flush_subnormals "skbce_flush_subnormals" () noexcept nogil
    unsigned int stop_flushing "skbce_stop_flushing" () noexcept nogil
    void keep_subnormals "skbce_keep_subnormals" (unsigned int before) noexcept nogil
