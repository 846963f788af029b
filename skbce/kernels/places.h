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

/* The processor that this thread runs on. */
static inline int skbce_place(void) { return sched_getcpu(); }

/* Leave a processor for another one that the thread may use, if there is one; the thread may then use all again. */
static inline void skbce_leave(int place)
{
    cpu_set_t all, others;
    if (place < 0 || place >= CPU_SETSIZE || sched_getcpu() != place || sched_getaffinity(0, sizeof all, &all))
        return;
    others = all;
    CPU_CLR(place, &others);
    if (CPU_COUNT(&others) && !sched_setaffinity(0, sizeof others, &others))
        sched_setaffinity(0, sizeof all, &all);
}
#else
static inline int skbce_place(void) { return -1; }
static inline void skbce_leave(int place) { (void)place; }
#endif

#endif
