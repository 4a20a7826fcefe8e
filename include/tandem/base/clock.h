// SPDX-License-Identifier: BSD-2-Clause
// Monotonic nanoseconds and deadlines. A deadline is an absolute time on CLOCK_MONOTONIC, so that
// a wait that is interrupted and taken up again needs no arithmetic and cannot drift.
#ifndef TDM_BASE_CLOCK_H
#define TDM_BASE_CLOCK_H

#include <time.h>

#include "config.h"

TDM_BEGIN_DECLS

#ifndef CLOCK_MONOTONIC // a strict -std=c11 hides it
// glibc, where time_t was made wider, and musl, likewise. Where it always was 64 bits wide there is
// one function only, although glibc 2.40 and newer define __USE_TIME_BITS64 there, too.
#	if (defined(__USE_TIME_BITS64) && __TIMESIZE == 32) || defined(_REDIR_TIME64)
extern int clock_gettime(int clock, struct timespec *now) __asm__("__clock_gettime64");
#	else
extern int clock_gettime(int clock, struct timespec *now);
#	endif
#	define TDM_CLOCK_MONOTONIC_ 1
#else
#	define TDM_CLOCK_MONOTONIC_ CLOCK_MONOTONIC
#endif

#define TDM_FOREVER UINT64_MAX

#define TDM_NS_PER_MS_ UINT64_C(1000000)
#define TDM_NS_PER_S_ UINT64_C(1000000000)

tdm_function uint64_t tdm_clock_now_(void)
{
	struct timespec now;
	if (clock_gettime(TDM_CLOCK_MONOTONIC_, &now) != 0)
		return 0;
	return TDM_CAST(uint64_t, now.tv_sec) * TDM_NS_PER_S_ + TDM_CAST(uint64_t, now.tv_nsec);
}

#ifndef TDM_SEAM_NOW_NS
#	define TDM_SEAM_NOW_NS() tdm_clock_now_()
#endif

// Nanoseconds on CLOCK_MONOTONIC.
tdm_function uint64_t tdm_now_ns(void)
{
	return TDM_SEAM_NOW_NS();
}

// The deadline `ns` nanoseconds from now; TDM_FOREVER where that would overflow.
tdm_function uint64_t tdm_deadline_after_ns(uint64_t ns)
{
	uint64_t now = tdm_now_ns();
	return ns > TDM_FOREVER - now ? TDM_FOREVER : now + ns;
}

TDM_END_DECLS

#endif
