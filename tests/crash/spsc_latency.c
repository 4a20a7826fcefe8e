// SPDX-License-Identifier: BSD-2-Clause
// How long from the kill -9 of a producer or a consumer until its successor has the role: most of
// it is the kernel taking the process down, then one look at one lock byte. The look grows with the
// participants that hold bytes of the same file. The goal is 5 ms with up to 64 of them.
#include <tandem/ring/spsc.h>
#include <tandem/shm/segment.h>

#include "../support/child.h"

TDM_SPSC_DEFINE(numbers, uint64_t);

#define TRIALS 100U
#define PER_PROCESS 200U // descriptors have a limit
#define CAPACITY 64U

static struct tdm_segment segment;
static struct tdm_span ring;
static tdm_atomic_u32 *ready;

static void sit(void *argument)
{
	static struct tdm_participant selves[PER_PROCESS];
	uint32_t count = *(const uint32_t *)argument;
	for (uint32_t i = 0; i < count; i++)
		if (!CHECK_STATUS(tdm_segment_join(&segment, &selves[i], "sitter"), TDM_OK))
			return;
	tdm_fetch_add_acq_rel_u32(ready, count);
	for (;;)
		pause();
}

struct victim {
	bool produces;
	bool idle; // asleep, or at work when the kill comes
};

static void hold_role(void *argument)
{
	const struct victim *victim = argument;
	struct tdm_participant self;
	struct numbers_producer out;
	struct numbers_consumer in;
	uint64_t number = 0;
	CHECK_STATUS(tdm_segment_join(&segment, &self, "victim"), TDM_OK);
	if (!CHECK_STATUS(victim->produces ? numbers_producer_attach(&out, ring, &self)
					   : numbers_consumer_attach(&in, ring, &self),
			  TDM_OK))
		return;
	tdm_fetch_add_acq_rel_u32(ready, 1);
	for (;;) {
		enum tdm_status status = victim->produces ? numbers_try_push(&out, &number)
							  : numbers_try_pop(&in, &number);
		if (victim->idle)
			pause();
		else if (status != TDM_OK)
			sched_yield();
	}
}

// Nanoseconds from the kill to the role, 0 after a failure.
static uint64_t replace(struct tdm_participant *self, struct victim *victim)
{
	tdm_store_release_u32(ready, 0);
	pid_t pid = child_start(hold_role, victim);
	if (!CHECK(child_await_u32(ready, 1))) {
		child_kill(pid);
		return 0;
	}
	struct numbers_producer out;
	struct numbers_consumer in;
	enum tdm_status status = TDM_BUSY;
	int end = 0;
	uint64_t began_ns = tdm_now_ns();
	uint64_t deadline_ns = began_ns + CHILD_PATIENCE_NS;
	CHECK(kill(pid, SIGKILL) == 0);
	while (status == TDM_BUSY && tdm_now_ns() < deadline_ns) {
		status = victim->produces ? numbers_producer_attach(&out, ring, self)
					  : numbers_consumer_attach(&in, ring, self);
		if (status == TDM_BUSY)
			sched_yield();
	}
	uint64_t took_ns = tdm_now_ns() - began_ns;
	CHECK(waitpid(pid, &end, 0) == pid);
	if (!CHECK_STATUS(status, TDM_OK))
		return 0;
	CHECK(victim->produces ? out.ring.took_over : in.ring.took_over);
	CHECK_STATUS(victim->produces ? numbers_producer_detach(&out)
				      : numbers_consumer_detach(&in),
		     TDM_OK);
	return took_ns;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static uint64_t replace_often(struct tdm_participant *self, uint32_t participants, bool produces)
{
	static uint64_t took_ns[TRIALS];
	for (unsigned i = 0; i < TRIALS; i++) {
		struct victim victim = {produces, i % 2 == 0};
		took_ns[i] = replace(self, &victim);
		if (took_ns[i] == 0)
			return UINT64_MAX;
	}
	qsort(took_ns, TRIALS, sizeof(took_ns[0]), by_size);
	tap_note("%u participants, %s: p50 %.0f us, p90 %.0f us, max %.0f us", participants,
		 produces ? "producer" : "consumer", (double)took_ns[TRIALS / 2] / 1e3,
		 (double)took_ns[TRIALS * 9 / 10] / 1e3, (double)took_ns[TRIALS - 1] / 1e3);
	return took_ns[TRIALS / 2];
}

static void measure(uint32_t participants)
{
	struct tdm_segment_options options;
	memset(&options, 0, sizeof(options));
	options.sealed = true;
	options.seats = participants;
	struct tdm_object object = numbers_object("ring", CAPACITY);
	struct tdm_participant self;
	CHECK_STATUS(tdm_segment_create(&segment, &object, 1, &options), TDM_OK);
	ring = tdm_segment_find(&segment, "ring");
	CHECK_STATUS(tdm_segment_join(&segment, &self, "successor"), TDM_OK);

	// All seats but the victim's are taken.
	pid_t sitters[TDM_SEATS_MAX / PER_PROCESS + 1];
	uint32_t processes = 0, sitting = 0;
	tdm_store_release_u32(ready, 0);
	while (sitting < participants - 2) {
		uint32_t rest = participants - 2 - sitting;
		uint32_t count = rest < PER_PROCESS ? rest : PER_PROCESS;
		sitters[processes++] = child_start(sit, &count);
		sitting += count;
		if (!CHECK(child_await_u32(ready, sitting)))
			break;
	}
	uint64_t producer_ns = replace_often(&self, participants, true);
	uint64_t consumer_ns = replace_often(&self, participants, false);
	CHECK(producer_ns < TDM_EVENT_SLICE_NS_ && consumer_ns < TDM_EVENT_SLICE_NS_);
	tap_note("%u participants: the goal of 5 ms is %s by the median", participants,
		 producer_ns < 5000000 && consumer_ns < 5000000 ? "met" : "missed");
	for (uint32_t i = 0; i < processes; i++)
		child_kill(sitters[i]);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

int main(void)
{
	ready = child_shared(sizeof(*ready));
	static const uint32_t sizes[] = {2, 64, 1024};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char sentence[128];
		snprintf(sentence, sizeof(sentence),
			 "a killed role has a successor at once, among %u participants", sizes[i]);
		tap_case(sentence);
		measure(sizes[i]);
	}
	return tap_done();
}
