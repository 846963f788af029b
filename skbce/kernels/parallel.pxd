"""OpenMP, or one thread where the compiler has none; and how a batch is cut into shards.

The shards of a batch follow from its rows and the network, never from the number of threads: each leaves its gradient
in a buffer of its own, and these are summed in the shards' order. So any number of threads gives the same bits.
"""

from skbce.kernels.views cimport NetworkView

cdef extern from "barrier.h":
    ctypedef struct Barrier "skbce_barrier_t":
        pass
    void open_barrier "skbce_open" (Barrier* barrier) noexcept nogil
    void wait_for_all "skbce_wait_for_all" (Barrier* barrier) noexcept nogil

cdef extern from "places.h":
    int this_place "skbce_place" () noexcept nogil
    void leave "skbce_leave" (int place, int n_threads) noexcept nogil

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define SKBCE_HAS_OPENMP 1
    static inline int skbce_thread_number(void) { return omp_get_thread_num(); }
    static inline int skbce_thread_count(void) { return omp_get_num_threads(); }
    static inline int skbce_max_threads(void) { return omp_get_max_threads(); }
    #else
    #define SKBCE_HAS_OPENMP 0
    static inline int skbce_thread_number(void) { return 0; }
    static inline int skbce_thread_count(void) { return 1; }
    static inline int skbce_max_threads(void) { return 1; }
    #endif

    /* Which of some tasks comes next, for threads that take them as they come. */
    #ifdef _MSC_VER
    #include <intrin.h>
    static inline int skbce_next_task(int* next) { return (int)_InterlockedExchangeAdd((volatile long*)next, 1); }
    #else
    static inline int skbce_next_task(int* next) { return __atomic_fetch_add(next, 1, __ATOMIC_RELAXED); }
    #endif

    /* Cheap rather than fine: it is read every step, and a few milliseconds do not matter. */
    #if defined(_WIN32)
    #include <windows.h>
    static inline double skbce_seconds(void) { return GetTickCount64() * 1e-3; }
    #else
    #include <time.h>
    #ifdef CLOCK_MONOTONIC_COARSE
    #define SKBCE_CLOCK CLOCK_MONOTONIC_COARSE
    #else
    #define SKBCE_CLOCK CLOCK_MONOTONIC
    #endif
    static inline double skbce_seconds(void) {
        struct timespec now;
        clock_gettime(SKBCE_CLOCK, &now);
        return now.tv_sec + now.tv_nsec * 1e-9;
    }
    #endif
    """
    bint has_openmp "SKBCE_HAS_OPENMP"
    int thread_number "skbce_thread_number" () noexcept nogil
    int thread_count "skbce_thread_count" () noexcept nogil
    int max_threads "skbce_max_threads" () noexcept nogil
    int next_task "skbce_next_task" (int* next) noexcept nogil
    double seconds_now "skbce_seconds" () noexcept nogil


# What the threads of a parallel region have in common.
cdef struct Region:
    Barrier barrier
    int place                  # the processor of the first one, which the others leave; -1 where they stay


cdef inline void enter(const Region* region) noexcept nogil:
    """each thread but the first leaves the first one's processor"""
    if thread_number() > 0:
        leave(region.place, thread_count())


cdef enum:
    MAX_SHARDS = 8
    # A shard costs one more gradient to write and to sum; with this many rows that is a few per cent of its products.
    MIN_SHARD_ROWS = 96
    # Rows x parameters below which handing work to a further thread costs more than it saves.
    MIN_SHARD_WORK = 60000
    # The first two of dense rows begin with fewer: with 64 rows in two shards one thread takes 4 to 9 % longer, and two
    # take a quarter to two fifths less. CSR's products are few beside the gradient.
    MIN_ROWS_OF_TWO = 48
    MIN_WORK_OF_TWO = 80000
    # Neighbouring parameters that are summed over shards and updated together: they stay in the first-level cache.
    CHUNK = 256


cdef inline Py_ssize_t shard_count(const NetworkView* net, Py_ssize_t rows) noexcept nogil:
    """how many shards a batch is cut into: a power of two, so that two, four or eight threads share them evenly"""
    cdef bint is_dense = net.A_start[1] > 0
    cdef Py_ssize_t n = 1
    if is_dense and rows >= MIN_ROWS_OF_TWO and rows * net.n_parameters >= MIN_WORK_OF_TWO:
        n = 2
    while (
        2 * n <= MAX_SHARDS
        and rows >= 2 * n * MIN_SHARD_ROWS
        and rows * net.n_parameters >= 2 * n * MIN_SHARD_WORK
    ):
        n *= 2
    return n


cdef inline Py_ssize_t cut(Py_ssize_t size, Py_ssize_t n_parts, Py_ssize_t part) noexcept nogil:
    """where part `part` of `size` things cut into `n_parts` begins"""
    return size * part // n_parts
