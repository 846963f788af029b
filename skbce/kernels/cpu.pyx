"""What this processor can run; compiled for the lowest instruction set of all."""

cdef extern from *:
    """
    #if defined(__x86_64__) && defined(__GNUC__)
    static int skbce_x86_64_version(void) {
        __builtin_cpu_init();
        if (!(__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt"))) return 1;
        if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi")
              && __builtin_cpu_supports("bmi2"))) return 2;
        if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
              && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
              && __builtin_cpu_supports("avx512vl"))) return 3;
        return 4;
    }
    #else
    static int skbce_x86_64_version(void) { return 0; }
    #endif
    """
    int x86_64_version "skbce_x86_64_version" () noexcept nogil


def levels():
    """Names of the instruction sets that this processor runs, the best first."""
    cdef int version = x86_64_version()
    return [f"x86_64_v{v}" for v in range(version, 1, -1)] + ["baseline"]
