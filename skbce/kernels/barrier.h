/* Where the threads of a parallel region wait for each other.

OpenMP's own barrier looks up for milliseconds before it sleeps. Where other programs want the cores too, the thread that
is waited for may be waiting for the very core that the other one looks up on; so here it is offered after some 50 us.
docs/speed.md has what that is worth. */

#ifndef SKBCE_BARRIER_H
#define SKBCE_BARRIER_H

/* Each number in a cache line of its own: the threads that wait read `round` all the time. */
typedef struct {
    int waiting[16];
    int round[16];
} skbce_barrier_t;

static inline void skbce_open(skbce_barrier_t *barrier)
{
    barrier->waiting[0] = barrier->round[0] = 0;
}

#if !defined(_OPENMP)
static inline void skbce_wait_for_all(skbce_barrier_t *barrier) { (void)barrier; }
#elif defined(_WIN32) || !defined(__GNUC__)
/* An orphaned barrier binds to the parallel region that its caller runs in. */
#ifdef _MSC_VER
#define SKBCE_OMP_BARRIER __pragma(omp barrier)
#else
#define SKBCE_OMP_BARRIER _Pragma("omp barrier")
#endif
static inline void skbce_wait_for_all(skbce_barrier_t *barrier) { (void)barrier; SKBCE_OMP_BARRIER }
#else
#include <omp.h>
#include <sched.h>

#define SKBCE_LOOKS 1000

static inline void skbce_rest(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* The last thread to come begins the next round, which is 0 and 1 in turn: none can be two rounds behind. */
static inline void skbce_wait_for_all(skbce_barrier_t *barrier)
{
    const int n = omp_get_num_threads(), round = __atomic_load_n(barrier->round, __ATOMIC_RELAXED);
    if (n == 1)
        return;
    if (__atomic_add_fetch(barrier->waiting, 1, __ATOMIC_ACQ_REL) == n) {
        __atomic_store_n(barrier->waiting, 0, __ATOMIC_RELAXED);
        __atomic_store_n(barrier->round, 1 - round, __ATOMIC_RELEASE);
        return;
    }
    for (int looks = 1; __atomic_load_n(barrier->round, __ATOMIC_ACQUIRE) == round; looks++) {
        skbce_rest();
        if (looks == SKBCE_LOOKS) {
            sched_yield();
            looks = 0;
        }
    }
}
#endif

#endif
