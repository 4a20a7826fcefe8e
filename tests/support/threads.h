// SPDX-License-Identifier: BSD-2-Clause
// Threads, for ThreadSanitizer above all, that nothing orders but what they test: they tell each
// other only by relaxed stores how far they are, and events are the plain ones, whose wake-ups
// order nothing. Include this before any header of tandem.
#ifndef TDM_TESTS_SUPPORT_THREADS_H
#define TDM_TESTS_SUPPORT_THREADS_H

#define TDM_SEAM_FENCED 0

#include <pthread.h>
#include <sched.h>

#include <tandem.h>

#include "tap.h"

#define THREADS_MAX 8U

static struct tdm_segment segment;
static tdm_atomic_u32 stage;   // how far the threads are
static tdm_atomic_u32 joined;  // who has joined: joining goes through a mutex, so all do it before
static tdm_atomic_u32 parties; // that join

tdm_function void reach(uint32_t wanted)
{
	tdm_store_relaxed_u32(&stage, wanted);
}

tdm_function void await(const tdm_atomic_u32 *counter, uint32_t wanted)
{
	while (tdm_load_relaxed_u32(counter) < wanted)
		sched_yield();
}

// Joins, and waits until everybody has.
tdm_function void join(struct tdm_participant *self)
{
	CHECK_STATUS(tdm_segment_join(&segment, self, "thread"), TDM_OK);
	tdm_fetch_add_relaxed_u32(&joined, 1);
	await(&joined, tdm_load_relaxed_u32(&parties));
}

// One thread for each body, with its argument (or none has one), until the last one has ended.
tdm_function void run_threads(void *(*const *bodies)(void *), void *const *arguments,
			      uint32_t count)
{
	pthread_t threads[THREADS_MAX];
	tdm_store_relaxed_u32(&stage, 0);
	tdm_store_relaxed_u32(&joined, 0);
	tdm_store_relaxed_u32(&parties, count);
	for (uint32_t i = 0; i < count; i++)
		if (pthread_create(&threads[i], TDM_NULL, bodies[i],
				   arguments == TDM_NULL ? TDM_NULL : arguments[i]) != 0)
			abort();
	for (uint32_t i = 0; i < count; i++)
		CHECK(pthread_join(threads[i], TDM_NULL) == 0);
}

// The same for a few that need no argument. `third` may be NULL.
tdm_function void run_bodies(void *(*first)(void *), void *(*second)(void *),
			     void *(*third)(void *))
{
	void *(*const bodies[])(void *) = {first, second, third};
	run_threads(bodies, TDM_NULL, third == TDM_NULL ? 2 : 3);
}

#endif
