// SPDX-License-Identifier: BSD-2-Clause
// A bounded buffer under load, in threads and processes, as many as there are CPUs and four times
// as many: nothing is lost or comes twice, and nobody sleeps through a signal.
#include <pthread.h>
#include <sched.h>

#include <tandem/sync/condvar.h>

#include "../support/child.h"
#include "../support/pattern.h"
#include "../support/tap.h"

#define SLOTS 4U
#define PARTIES_MAX 32U
#define LOST_NS UINT64_C(10000000000) // who waits longer than that was forgotten

typedef enum tdm_status wait_function(struct tdm_condvar *condvar, struct tdm_mutex *mutex);

struct buffer {
	TDM_ALIGNAS(TDM_CACHE_LINE) struct tdm_mutex mutex;
	TDM_ALIGNAS(TDM_CACHE_LINE) struct tdm_condvar not_empty, not_full;
	TDM_ALIGNAS(TDM_CACHE_LINE) uint64_t put, taken; // under the mutex, as what follows
	uint64_t item[SLOTS];
	uint64_t put_sum, taken_sum;
	tdm_atomic_u32 lost;
};

struct plan {
	struct buffer *buffer;
	wait_function *wait;
	uint64_t items; // in all
	bool broadcasts;
};

struct party {
	const struct plan *plan;
	bool puts;
	uint64_t random;
};

static enum tdm_status wait_well(struct tdm_condvar *condvar, struct tdm_mutex *mutex)
{
	return tdm_condvar_wait_until(condvar, mutex, NULL, tdm_deadline_after_ns(LOST_NS));
}

// Unlocks, and says then that it waits. The yield stands for an interruption between the two.
static enum tdm_status wait_brokenly(struct tdm_condvar *condvar, struct tdm_mutex *mutex)
{
	(void)tdm_mutex_unlock(mutex, NULL);
	(void)sched_yield();
	uint32_t key =
	    tdm_fetch_or_relaxed_u32(&condvar->word, TDM_CONDVAR_WAITED_) | TDM_CONDVAR_WAITED_;
	enum tdm_status status =
	    tdm_condvar_sleep_(condvar, key, tdm_deadline_after_ns(LOST_NS / 100), false);
	(void)tdm_mutex_lock(mutex, NULL);
	return status;
}

static void tell(const struct plan *plan, struct tdm_condvar *condvar)
{
	if (plan->broadcasts)
		tdm_condvar_broadcast(condvar);
	else
		tdm_condvar_signal(condvar);
}

// One step with the mutex held. False: all is done.
static bool step(const struct plan *plan, bool puts)
{
	struct buffer *buffer = plan->buffer;
	uint64_t *mine = puts ? &buffer->put : &buffer->taken;
	struct tdm_condvar *condvar = puts ? &buffer->not_full : &buffer->not_empty;
	while (*mine < plan->items && buffer->put - buffer->taken == (puts ? SLOTS : 0))
		if (plan->wait(condvar, &buffer->mutex) == TDM_TIMED_OUT)
			tdm_fetch_add_relaxed_u32(&buffer->lost, 1);
	if (*mine == plan->items)
		return false;
	uint64_t *item = &buffer->item[*mine % SLOTS];
	if (puts) {
		*item = mix(*mine);
		buffer->put_sum += *item;
	} else {
		buffer->taken_sum += *item;
		*item = 0;
	}
	++*mine;
	return true;
}

static void take_part(void *argument)
{
	struct party *party = argument;
	const struct plan *plan = party->plan;
	struct buffer *buffer = plan->buffer;
	for (bool more = true; more;) {
		CHECK_STATUS(tdm_mutex_lock(&buffer->mutex, NULL), TDM_OK);
		more = step(plan, party->puts);
		bool inside = random_below(&party->random, 2) == 0;
		if (more && inside)
			tell(plan, party->puts ? &buffer->not_empty : &buffer->not_full);
		if (!more) // the others of one's kind are through, too
			tdm_condvar_broadcast(party->puts ? &buffer->not_full : &buffer->not_empty);
		CHECK_STATUS(tdm_mutex_unlock(&buffer->mutex, NULL), TDM_OK);
		if (more && !inside)
			tell(plan, party->puts ? &buffer->not_empty : &buffer->not_full);
		if (random_below(&party->random, 64) == 0)
			(void)sched_yield();
	}
}

static void *take_part_in_thread(void *party)
{
	take_part(party);
	return NULL;
}

static void run(const struct plan *plan, unsigned parties, bool processes)
{
	struct party party[PARTIES_MAX];
	pthread_t threads[PARTIES_MAX];
	pid_t children[PARTIES_MAX];
	memset((void *)plan->buffer, 0, sizeof(*plan->buffer));
	for (unsigned i = 0; i < parties; i++) {
		party[i].plan = plan;
		party[i].puts = i % 2 == 0;
		party[i].random = i + 1;
		if (processes)
			children[i] = child_start(take_part, &party[i]);
		else if (pthread_create(&threads[i], NULL, take_part_in_thread, &party[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < parties; i++) {
		if (processes)
			child_end(children[i]);
		else
			CHECK(pthread_join(threads[i], NULL) == 0);
	}
}

int main(void)
{
	struct plan plan;
	plan.buffer = child_shared(sizeof(*plan.buffer));
	plan.wait = wait_well;
	alarm(getenv("TANDEM_SOAK") != NULL ? 3600 : 280);
	plan.items = getenv("TANDEM_SOAK") != NULL ? 5000000 : TDM_UNDER_TSAN ? 20000 : 100000;
	for (unsigned how = 0; how < 8; how++) {
		char sentence[160];
		bool processes = how % 2 != 0;
		unsigned parties = (how / 4 == 0 ? 1 : 4) * tdm_backoff_cpu_count_();
		parties = parties < 2 ? 2 : parties > PARTIES_MAX ? PARTIES_MAX : parties;
		plan.broadcasts = how / 2 % 2 != 0;
		snprintf(sentence, sizeof(sentence), "%u %s hand on everything once, by %s",
			 parties, processes ? "processes" : "threads",
			 plan.broadcasts ? "broadcasts" : "signals");
		tap_case(sentence);
		uint64_t began_ns = tdm_now_ns();
		run(&plan, parties, processes);
		tap_note("%.0f ns for each",
			 (double)(tdm_now_ns() - began_ns) / (double)plan.items);
		CHECK_EQ_U64(plan.buffer->put, plan.items);
		CHECK_EQ_U64(plan.buffer->taken, plan.items);
		CHECK_EQ_U64(plan.buffer->taken_sum, plan.buffer->put_sum);
		CHECK_EQ_U64(tdm_load_relaxed_u32(&plan.buffer->lost), 0);
	}

	tap_case("waiters that unlock before they say that they wait are caught");
	plan.wait = wait_brokenly;
	plan.broadcasts = false;
	plan.items = 200;
	uint32_t lost = 0;
	for (unsigned round = 0; round < 50 && lost == 0; round++) {
		run(&plan, 4, true);
		lost = tdm_load_relaxed_u32(&plan.buffer->lost);
	}
	CHECK(lost > 0);
	tap_note("%" PRIu32 " lost", lost);
	return tap_done();
}
