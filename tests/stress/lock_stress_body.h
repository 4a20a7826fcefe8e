// SPDX-License-Identifier: BSD-2-Clause
// Exclusion under load: threads and processes, as many as there are CPUs, twice and four times as
// many, in every way to lock. What they do under the lock is plain, so that two inside at once lose
// counts. The program describes its lock by a struct lock_kind and calls lock_stress.
#ifndef TDM_TESTS_STRESS_LOCK_STRESS_BODY_H
#define TDM_TESTS_STRESS_LOCK_STRESS_BODY_H

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <tandem/base/atomic.h>
#include <tandem/base/backoff.h>
#include <tandem/base/clock.h>
#include <tandem/base/sanitizer.h>
#include <tandem/base/status.h>

#include "../support/child.h"
#include "../support/pattern.h"
#include "../support/tap.h"

#define LOCK_BYTES 256U
#define PARTIES_MAX 32U
#define SOON_NS UINT64_C(20000)

// A lock in LOCK_BYTES of zero-filled memory that all parties share.
struct lock_kind {
	const char *name;
	void (*make)(void *lock); // NULL: zero-filled memory is one
	enum tdm_status (*lock)(void *lock);
	enum tdm_status (*lock_until)(void *lock, uint64_t deadline_ns);
	bool (*try_lock)(void *lock);
	enum tdm_status (*unlock)(void *lock);
	enum tdm_status (*destroy)(void *lock);
	// One that lets in two; it must be caught. False: not before the deadline.
	bool (*broken_lock)(void *lock, uint64_t deadline_ns);
};

enum lock_way { LOCK, TRY, UNTIL, ANY_WAY, BROKEN };
static const char *const way_names[] = {"lock", "try", "wait for a while", "lock in any way"};

// Shared memory.
struct lock_area {
	TDM_ALIGNAS(TDM_CACHE_LINE) unsigned char lock[LOCK_BYTES];
	TDM_ALIGNAS(TDM_CACHE_LINE) uint64_t first; // both count those who were inside
	uint64_t inside;                            // who is, from 1 on
	TDM_ALIGNAS(TDM_CACHE_LINE) uint64_t second;
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u32 ready;
	tdm_atomic_u32 met;     // somebody inside
	tdm_atomic_u32 stuck;   // had not got in by the end
	tdm_atomic_u32 refused; // unexpected statuses
	struct {
		TDM_ALIGNAS(TDM_CACHE_LINE) uint64_t rounds, longest_ns;
	} party[PARTIES_MAX];
};

struct lock_plan {
	const struct lock_kind *kind;
	struct lock_area *area;
	enum lock_way way;
	unsigned parties;
	uint64_t span_ns;
};

struct lock_party {
	const struct lock_plan *plan;
	unsigned me;
};

static uint64_t lock_milliseconds = TDM_UNDER_TSAN ? 60 : 100; // for each case

static bool lock_enter(const struct lock_plan *plan, enum lock_way way, uint64_t end_ns)
{
	void *lock = plan->area->lock;
	enum tdm_status status = TDM_OK;
	switch (way) {
	case TRY:
		return plan->kind->try_lock(lock);
	case BROKEN:
		if (plan->kind->broken_lock(lock, end_ns))
			return true;
		tdm_fetch_add_relaxed_u32(&plan->area->stuck, 1);
		return false;
	case UNTIL:
		status = plan->kind->lock_until(lock, tdm_deadline_after_ns(SOON_NS));
		if (status == TDM_TIMED_OUT)
			return false;
		break;
	case LOCK:
	case ANY_WAY:
		status = plan->kind->lock(lock);
		break;
	}
	if (status != TDM_OK)
		tdm_fetch_add_relaxed_u32(&plan->area->refused, 1);
	return status == TDM_OK;
}

static void lock_inside(const struct lock_plan *plan, unsigned me, uint64_t *random)
{
	struct lock_area *area = plan->area;
	bool alone = area->inside == 0;
	area->inside = me + 1;
	area->first++;
	uint64_t chance = random_below(random, 1024);
	if (chance < (plan->way == BROKEN ? 64 : 4)) // the holder loses its CPU
		(void)sched_yield();
	for (uint64_t i = chance % 32; i > 0; i--)
		TDM_SEAM_PAUSE();
	area->second++;
	alone = alone && area->inside == me + 1;
	area->inside = 0;
	if (!alone)
		tdm_fetch_add_relaxed_u32(&area->met, 1);
	if (plan->kind->unlock(area->lock) != TDM_OK)
		tdm_fetch_add_relaxed_u32(&area->refused, 1);
}

static void lock_contend(void *argument)
{
	const struct lock_party *party = argument;
	const struct lock_plan *plan = party->plan;
	struct lock_area *area = plan->area;
	uint64_t random = party->me + 1, rounds = 0, longest_ns = 0;
	tdm_fetch_add_relaxed_u32(&area->ready, 1);
	while (tdm_load_relaxed_u32(&area->ready) < plan->parties)
		sched_yield();
	uint64_t now_ns = tdm_now_ns(), end_ns = now_ns + plan->span_ns;
	while (now_ns < end_ns) {
		enum lock_way way = plan->way == ANY_WAY
					? (enum lock_way)random_below(&random, ANY_WAY)
					: plan->way;
		bool held = lock_enter(plan, way, end_ns);
		uint64_t then_ns = tdm_now_ns();
		longest_ns = then_ns - now_ns > longest_ns ? then_ns - now_ns : longest_ns;
		if (held) {
			lock_inside(plan, party->me, &random);
			rounds++;
		} else if (way == TRY) {
			(void)sched_yield();
		}
		for (uint64_t i = random_below(&random, 32); i > 0; i--)
			TDM_SEAM_PAUSE();
		now_ns = tdm_now_ns();
	}
	area->party[party->me].rounds = rounds;
	area->party[party->me].longest_ns = longest_ns;
}

static void *lock_contend_in_thread(void *party)
{
	lock_contend(party);
	return NULL;
}

static void lock_run(const struct lock_plan *plan, bool processes)
{
	struct lock_party parties[PARTIES_MAX];
	pthread_t threads[PARTIES_MAX];
	pid_t children[PARTIES_MAX];
	memset((void *)plan->area, 0, sizeof(*plan->area));
	if (plan->kind->make != NULL)
		plan->kind->make(plan->area->lock);
	for (unsigned i = 0; i < plan->parties; i++) {
		parties[i].plan = plan;
		parties[i].me = i;
		if (processes)
			children[i] = child_start(lock_contend, &parties[i]);
		else if (pthread_create(&threads[i], NULL, lock_contend_in_thread, &parties[i]))
			abort();
	}
	for (unsigned i = 0; i < plan->parties; i++) {
		if (processes)
			child_end(children[i]);
		else
			CHECK(pthread_join(threads[i], NULL) == 0);
	}
}

static uint64_t lock_rounds(const struct lock_plan *plan)
{
	uint64_t sum = 0, fewest = UINT64_MAX, most = 0, longest_ns = 0;
	for (unsigned i = 0; i < plan->parties; i++) {
		uint64_t rounds = plan->area->party[i].rounds;
		uint64_t waited_ns = plan->area->party[i].longest_ns;
		sum += rounds;
		fewest = rounds < fewest ? rounds : fewest;
		most = rounds > most ? rounds : most;
		longest_ns = waited_ns > longest_ns ? waited_ns : longest_ns;
	}
	tap_note("%" PRIu64 " rounds, by one %" PRIu64 " to %" PRIu64
		 " (%.2f), longest wait %" PRIu64 " us",
		 sum, fewest, most, most == 0 ? 0 : (double)fewest / (double)most,
		 longest_ns / 1000);
	return sum;
}

static void lock_test_exclusion(struct lock_plan *plan)
{
	for (unsigned crowd = 1; crowd <= 4; crowd *= 2)
		for (unsigned how = 0; how < 2 * (ANY_WAY + 1); how++) {
			char sentence[160];
			bool processes = how % 2 != 0;
			plan->way = (enum lock_way)(how / 2);
			plan->parties = crowd * tdm_backoff_cpu_count_();
			plan->parties = plan->parties > PARTIES_MAX ? PARTIES_MAX : plan->parties;
			snprintf(sentence, sizeof(sentence), "%s: %u %s that %s take turns",
				 plan->kind->name, plan->parties,
				 processes ? "processes" : "threads", way_names[plan->way]);
			tap_case(sentence);
			lock_run(plan, processes);
			uint64_t rounds = lock_rounds(plan);
			CHECK(rounds > 0);
			CHECK_EQ_U64(plan->area->first, rounds);
			CHECK_EQ_U64(plan->area->second, rounds);
			CHECK_EQ_U64(tdm_load_relaxed_u32(&plan->area->met), 0);
			CHECK_EQ_U64(tdm_load_relaxed_u32(&plan->area->refused), 0);
			CHECK_STATUS(plan->kind->destroy(plan->area->lock), TDM_OK);
		}
}

// Between processes only: a race checker would rightly complain about threads that do this.
static void lock_test_broken(struct lock_plan *plan)
{
	uint64_t caught = 0;
	char sentence[160];
	snprintf(sentence, sizeof(sentence), "%s: one that lets in two is caught",
		 plan->kind->name);
	tap_case(sentence);
	plan->way = BROKEN;
	plan->parties = 4;
	for (unsigned round = 0; round < 100 && caught == 0; round++) {
		lock_run(plan, true);
		uint64_t rounds = lock_rounds(plan);
		uint64_t lost = rounds - (plan->area->first < rounds ? plan->area->first : rounds);
		caught = tdm_load_relaxed_u32(&plan->area->met) + lost;
		tap_note("%" PRIu32 " met, %" PRIu64 " counts lost, %" PRIu32 " stuck",
			 tdm_load_relaxed_u32(&plan->area->met), lost,
			 tdm_load_relaxed_u32(&plan->area->stuck));
	}
	CHECK(caught > 0);
}

// What main() does.
static int lock_stress(const struct lock_kind *kind)
{
	bool soak = getenv("TANDEM_SOAK") != NULL;
	struct lock_plan plan;
	if (soak)
		lock_milliseconds *= 50;
	alarm(soak ? 3600 : 300);
	plan.kind = kind;
	plan.area = child_shared(sizeof(*plan.area));
	plan.span_ns = lock_milliseconds * TDM_NS_PER_MS_;
	lock_test_exclusion(&plan);
	lock_test_broken(&plan);
	munmap(plan.area, sizeof(*plan.area));
	return tap_done();
}

#endif
