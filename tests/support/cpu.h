// SPDX-License-Identifier: BSD-2-Clause
// CPU time, and what merely sleeping costs here: a virtual machine charges 50 us and more for one
// sleep, so that a waiter is compared with somebody who sleeps as often.
#ifndef TDM_TESTS_SUPPORT_CPU_H
#define TDM_TESTS_SUPPORT_CPU_H

#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include <tandem/base/config.h>
#include <tandem/base/sanitizer.h>

// Of the calling thread.
tdm_function uint64_t cpu_ns(void)
{
	struct rusage usage;
	if (getrusage(RUSAGE_THREAD, &usage) != 0)
		abort();
	return (TDM_CAST(uint64_t, usage.ru_utime.tv_sec) +
		TDM_CAST(uint64_t, usage.ru_stime.tv_sec)) *
		   UINT64_C(1000000000) +
	       (TDM_CAST(uint64_t, usage.ru_utime.tv_usec) +
		TDM_CAST(uint64_t, usage.ru_stime.tv_usec)) *
		   UINT64_C(1000);
}

// Sleeps for two seconds in twenty pieces. Answers what that used.
tdm_function uint64_t cpu_of_sleeping_ns(void)
{
	uint64_t before = cpu_ns();
	for (int i = 0; i < 20; i++) {
		struct timespec time;
		time.tv_sec = 0;
		time.tv_nsec = 100000000;
		nanosleep(&time, TDM_NULL);
	}
	return cpu_ns() - before;
}

// What a wait of two seconds used is a thousandth, or no more than three times the bare sleeps.
tdm_function bool cpu_is_little(uint64_t used_ns, uint64_t sleeping_ns)
{
	uint64_t instrumented = TDM_UNDER_TSAN ? 10 : 1;
	return used_ns < instrumented * 2000000 || used_ns < instrumented * 3 * sleeping_ns;
}

#endif
