/* Where the threads of a parallel region run.

Linux may wake a thread on the processor of the one that wakes it, though another one is idle; on machines of two
processors it often does. The two then take turns of milliseconds on it, also where OpenMP lets a thread look up for the
other one at the region's end. docs/speed.md has what that costs. */

#ifndef SKBCE_PLACES_H
#define SKBCE_PLACES_H

#if defined(__linux__) && defined(_OPENMP)
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sched.h>
#include <string.h>

/* The processor that this thread runs on. */
static inline int skbce_place(void) { return sched_getcpu(); }

/* Leave a processor for another one, where n_threads may have one each; the thread may then use all that it might. */
static inline void skbce_leave(int place, int n_threads)
{
    cpu_set_t mine, others, any;
    if (place < 0 || place >= CPU_SETSIZE || sched_getcpu() != place || sched_getaffinity(0, sizeof mine, &mine) ||
        CPU_COUNT(&mine) < (n_threads > 2 ? n_threads : 2))
        return;
    others = mine;
    CPU_CLR(place, &others);
    if (sched_setaffinity(0, sizeof others, &others))
        return;
    /* Of any, Linux takes what the cpuset has, also when that grows; a thread that had less gets that again. */
    memset(&any, 0xff, sizeof any);
    if (sched_setaffinity(0, sizeof any, &any) || sched_getaffinity(0, sizeof any, &any) || !CPU_EQUAL(&any, &mine))
        sched_setaffinity(0, sizeof mine, &mine);
}
#else
static inline int skbce_place(void) { return -1; }
static inline void skbce_leave(int place, int n_threads) { (void)place; (void)n_threads; }
#endif

#endif
