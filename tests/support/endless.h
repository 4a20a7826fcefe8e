// SPDX-License-Identifier: BSD-2-Clause
// Sleeps that only a wake-up ends: slices are left out, so that a lost wake-up is no delay but a
// hang, which the alarm ends. Include it before any header of tandem, and run as many parties as
// you like in threads or in processes.
#ifndef TDM_TESTS_SUPPORT_ENDLESS_H
#define TDM_TESTS_SUPPORT_ENDLESS_H

#include <pthread.h>

#include <tandem/base/atomic.h>
#include <tandem/base/status.h>

static enum tdm_status sleep_endlessly(tdm_atomic_u32 *word, uint32_t expected,
				       uint64_t deadline_ns);
#define TDM_SEAM_FUTEX_WAIT(word, expected, deadline_ns)                                           \
	sleep_endlessly(word, expected, deadline_ns)

#include <tandem/base/futex.h>

#include "child.h"

#define PARTIES_MAX 8U

static __thread bool timed; // its deadlines are meant

static enum tdm_status sleep_endlessly(tdm_atomic_u32 *word, uint32_t expected,
				       uint64_t deadline_ns)
{
	return tdm_futex_wait_kernel_(word, expected, timed ? deadline_ns : TDM_FOREVER);
}

struct endless_party {
	void (*body)(uint32_t number);
	uint32_t number;
	uint32_t count;
	tdm_atomic_u32 *ready; // parties: all begin together
};

tdm_function void endless_child(void *party)
{
	struct endless_party *it = TDM_CAST(struct endless_party *, party);
	tdm_fetch_add_relaxed_u32(it->ready, 1);
	while (tdm_load_relaxed_u32(it->ready) < it->count)
		sched_yield();
	it->body(it->number);
}

tdm_function void *endless_thread(void *party)
{
	endless_child(party);
	return TDM_NULL;
}

// body(0) to body(count - 1), all at once, each in a thread or a process of its own.
tdm_function void run_parties(void (*body)(uint32_t number), uint32_t count, bool processes)
{
	struct endless_party parties[PARTIES_MAX];
	pthread_t threads[PARTIES_MAX];
	pid_t children[PARTIES_MAX];
	tdm_atomic_u32 *ready = TDM_CAST(tdm_atomic_u32 *, child_shared(sizeof(*ready)));
	alarm(120);
	for (uint32_t i = 0; i < count; i++) {
		parties[i].body = body;
		parties[i].number = i;
		parties[i].count = count;
		parties[i].ready = ready;
		if (processes)
			children[i] = child_start(endless_child, &parties[i]);
		else
			CHECK(pthread_create(&threads[i], TDM_NULL, endless_thread, &parties[i]) ==
			      0);
	}
	for (uint32_t i = 0; i < count; i++) {
		if (processes)
			child_end(children[i]);
		else
			CHECK(pthread_join(threads[i], TDM_NULL) == 0);
	}
	alarm(0);
	munmap(ready, sizeof(*ready));
}

#endif
