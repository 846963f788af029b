/* What one thread writes for the others to read, past the caches.

The others have these cache lines from the step before. A plain store waits until they have given its line up, and in a
run of stores to other lines too, one waits for the other; those that go past the caches do not. docs/speed.md has what
that is worth. Threads that have published something wait for each other before they read. */

#ifndef SKBCE_PUBLISH_H
#define SKBCE_PUBLISH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) || defined(_M_X64)
#include <emmintrin.h>
#define SKBCE_PUBLISHES 1

#define SKBCE_LINE_BYTES 64

/* to[i] = from[i]: whole lines past the caches, what is left before and behind them as usual. */
static inline void skbce_publish(char *to, const char *from, ptrdiff_t n)
{
    ptrdiff_t i = (ptrdiff_t)(-(uintptr_t)to % SKBCE_LINE_BYTES);
    if (i > n)
        i = n;
    memcpy(to, from, i);
    for (; i + SKBCE_LINE_BYTES <= n; i += SKBCE_LINE_BYTES)
        for (int part = 0; part < SKBCE_LINE_BYTES; part += 16)
            _mm_stream_si128((__m128i *)(to + i + part), _mm_loadu_si128((const __m128i *)(from + i + part)));
    memcpy(to + i, from + i, n - i);
}

/* What was published is there before anything that is stored from now on. */
static inline void skbce_end_publishing(void)
{
    _mm_sfence();
}
#else
#define SKBCE_PUBLISHES 0
static inline void skbce_publish(char *to, const char *from, ptrdiff_t n) { memcpy(to, from, n); }
static inline void skbce_end_publishing(void) {}
#endif

#endif
