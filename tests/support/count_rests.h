// SPDX-License-Identifier: BSD-2-Clause
// Counts how often this process pauses and yields. Include it before any header of tandem.
#ifndef TDM_TESTS_SUPPORT_COUNT_RESTS_H
#define TDM_TESTS_SUPPORT_COUNT_RESTS_H

#include <sched.h>

static void count_pause(void);
static void count_yield(void);

#define TDM_SEAM_PAUSE() count_pause()
#define TDM_SEAM_YIELD() count_yield()

static __thread struct {
	unsigned pauses, yields;
} calls;

// What the calling thread does instead of yielding.
static __thread void (*at_yield)(void);

static void count_pause(void)
{
	calls.pauses++;
}

static void count_yield(void)
{
	calls.yields++;
	if (at_yield)
		at_yield();
	else
		(void)sched_yield();
}

#endif
