// SPDX-License-Identifier: BSD-2-Clause
// How long from the kill -9 of a participant until another one has passed what it held: a position
// that a producer had claimed, or an element that a consumer had taken. Most of it is the kernel
// taking the process down; then come up to 32 refusals, and a look at each seat that was ever used.
// The goal is 5 ms with up to 64 participants.
//
// Somebody who sleeps is not woken by a death: it looks once a slice (100 ms), or when recover is
// called.
#include <stddef.h>

static void latency_copy(void *to, const void *from, size_t size);
#define TDM_SEAM_COPY(to, from, size) latency_copy(to, from, size)

#include <tandem/ring/mpmc.h>
#include <tandem/shm/segment.h>

#include "../support/child.h"

TDM_MPMC_DEFINE(numbers, uint64_t);

#define TRIALS 60U
#define SLEEPS 5U
#define PER_PROCESS 200U // descriptors have a limit
#define CAPACITY 64U

static struct tdm_segment segment;
static struct tdm_span ring;

static struct shared {
	tdm_atomic_u32 ready;
	tdm_atomic_u64 woken_ns;
} * shared;

static bool copies_slowly; // for ever

static void latency_copy(void *to, const void *from, size_t size)
{
	while (copies_slowly) {
		tdm_store_release_u32(&shared->ready, 1);
		pause();
	}
	memcpy(to, from, size);
}

// Takes seats, and attaches to them all.
static void sit(void *argument)
{
	static struct tdm_participant selves[PER_PROCESS];
	static struct numbers_consumer ins[PER_PROCESS];
	uint32_t count = *(const uint32_t *)argument;
	for (uint32_t i = 0; i < count; i++)
		if (!CHECK_STATUS(tdm_segment_join(&segment, &selves[i], "sitter"), TDM_OK) ||
		    !CHECK_STATUS(numbers_consumer_attach(&ins[i], ring, &selves[i]), TDM_OK))
			return;
	tdm_fetch_add_acq_rel_u32(&shared->ready, count);
	for (;;)
		pause();
}

static void claim_and_wait(void *unused)
{
	struct tdm_participant self;
	struct numbers_producer out;
	uint64_t number = 0;
	(void)unused;
	CHECK_STATUS(tdm_segment_join(&segment, &self, "victim"), TDM_OK);
	CHECK_STATUS(numbers_producer_attach(&out, ring, &self), TDM_OK);
	copies_slowly = true;
	(void)!numbers_try_push(&out, &number);
}

static void take_and_wait(void *unused)
{
	struct tdm_participant self;
	struct numbers_consumer in;
	struct numbers_lease lease;
	(void)unused;
	CHECK_STATUS(tdm_segment_join(&segment, &self, "victim"), TDM_OK);
	CHECK_STATUS(numbers_consumer_attach(&in, ring, &self), TDM_OK);
	CHECK_STATUS(numbers_try_take(&in, &lease), TDM_OK);
	tdm_store_release_u32(&shared->ready, 1);
	for (;;)
		pause();
}

// The survivor.
struct crew {
	struct tdm_participant self;
	struct numbers_producer out;
	struct numbers_consumer in;
};

// Nanoseconds from the kill to the element, 0 after a failure.
static uint64_t survive(struct crew *crew, bool producer)
{
	uint64_t number = 1;
	tdm_store_release_u32(&shared->ready, 0);
	if (!producer)
		CHECK_STATUS(numbers_try_push(&crew->out, &number), TDM_OK);
	pid_t pid = child_start(producer ? claim_and_wait : take_and_wait, NULL);
	if (!CHECK(child_await_u32(&shared->ready, 1))) {
		child_kill(pid);
		return 0;
	}
	if (producer)
		CHECK_STATUS(numbers_try_push(&crew->out, &number), TDM_OK);
	int end = 0;
	enum tdm_status status = TDM_EMPTY;
	for (unsigned i = 0; i < 2 * TDM_MPMC_PATIENCE_; i++) // it is alive
		CHECK_STATUS(numbers_try_pop(&crew->in, &number), TDM_EMPTY);
	uint64_t began_ns = tdm_now_ns();
	uint64_t deadline_ns = began_ns + CHILD_PATIENCE_NS;
	CHECK(kill(pid, SIGKILL) == 0);
	while (status == TDM_EMPTY && tdm_now_ns() < deadline_ns) {
		status = numbers_try_pop(&crew->in, &number);
		if (status == TDM_EMPTY)
			sched_yield();
	}
	uint64_t took_ns = tdm_now_ns() - began_ns;
	CHECK(waitpid(pid, &end, 0) == pid);
	return CHECK_STATUS(status, TDM_OK) && CHECK(number == 1) ? took_ns : 0;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static uint64_t survive_often(struct crew *crew, uint32_t participants, bool producer)
{
	static uint64_t took_ns[TRIALS];
	for (unsigned i = 0; i < TRIALS; i++) {
		took_ns[i] = survive(crew, producer);
		if (took_ns[i] == 0)
			return UINT64_MAX;
	}
	qsort(took_ns, TRIALS, sizeof(took_ns[0]), by_size);
	tap_note("%u participants, %s: p50 %.0f us, p90 %.0f us, max %.0f us", participants,
		 producer ? "a producer's position" : "a taken element",
		 (double)took_ns[TRIALS / 2] / 1e3, (double)took_ns[TRIALS * 9 / 10] / 1e3,
		 (double)took_ns[TRIALS - 1] / 1e3);
	return took_ns[TRIALS / 2];
}

static void sleep_for_it(void *unused)
{
	struct tdm_participant self;
	struct numbers_consumer in;
	uint64_t number = 0;
	(void)unused;
	CHECK_STATUS(tdm_segment_join(&segment, &self, "sleeper"), TDM_OK);
	CHECK_STATUS(numbers_consumer_attach(&in, ring, &self), TDM_OK);
	in.ring.follow = true;
	tdm_store_release_u32(&shared->ready, 2);
	CHECK_STATUS(numbers_pop_until(&in, &number, tdm_deadline_after_ns(CHILD_PATIENCE_NS)),
		     TDM_OK);
	tdm_store_release_u64(&shared->woken_ns, tdm_now_ns());
	CHECK_STATUS(numbers_consumer_detach(&in), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
}

// From the kill until somebody who sleeps has the element.
static void wake_often(struct crew *crew, bool recovers)
{
	uint64_t took_ns[SLEEPS];
	for (unsigned i = 0; i < SLEEPS; i++) {
		uint64_t number = 1;
		uint32_t recovered = 0;
		tdm_store_release_u32(&shared->ready, 0);
		CHECK_STATUS(numbers_try_push(&crew->out, &number), TDM_OK);
		pid_t victim = child_start(take_and_wait, NULL);
		CHECK(child_await_u32(&shared->ready, 1));
		pid_t sleeper = child_start(sleep_for_it, NULL);
		CHECK(child_await_u32(&shared->ready, 2));
		child_sleep_ms(20 + 17 * (long)i);
		uint64_t began_ns = tdm_now_ns();
		child_kill(victim);
		if (recovers)
			CHECK_STATUS(tdm_mpmc_recover(ring, &crew->self, &recovered), TDM_OK);
		child_end(sleeper);
		took_ns[i] = tdm_load_acquire_u64(&shared->woken_ns) - began_ns;
		CHECK(took_ns[i] < CHILD_PATIENCE_NS / 2);
	}
	qsort(took_ns, SLEEPS, sizeof(took_ns[0]), by_size);
	tap_note("asleep, %s: p50 %.1f ms, max %.1f ms",
		 recovers ? "woken by recover" : "finds out by itself",
		 (double)took_ns[SLEEPS / 2] / 1e6, (double)took_ns[SLEEPS - 1] / 1e6);
}

static void measure(uint32_t participants)
{
	struct tdm_segment_options options;
	memset(&options, 0, sizeof(options));
	options.sealed = true;
	options.seats = participants;
	struct tdm_object object = numbers_object("ring", CAPACITY);
	struct crew crew;
	CHECK_STATUS(tdm_segment_create(&segment, &object, 1, &options), TDM_OK);
	ring = tdm_segment_find(&segment, "ring");
	CHECK_STATUS(tdm_segment_join(&segment, &crew.self, "survivor"), TDM_OK);
	CHECK_STATUS(numbers_producer_attach(&crew.out, ring, &crew.self), TDM_OK);
	CHECK_STATUS(numbers_consumer_attach(&crew.in, ring, &crew.self), TDM_OK);

	// All seats but the victim's are taken; with enough of them, one is left for a sleeper.
	pid_t sitters[TDM_SEATS_MAX / PER_PROCESS + 1];
	uint32_t processes = 0, sitting = 0, rest = participants > 2 ? participants - 3 : 0;
	tdm_store_release_u32(&shared->ready, 0);
	while (sitting < rest) {
		uint32_t count = rest - sitting < PER_PROCESS ? rest - sitting : PER_PROCESS;
		sitters[processes++] = child_start(sit, &count);
		sitting += count;
		if (!CHECK(child_await_u32(&shared->ready, sitting)))
			break;
	}
	uint64_t producer_ns = survive_often(&crew, participants, true);
	uint64_t consumer_ns = survive_often(&crew, participants, false);
	CHECK(producer_ns < TDM_EVENT_SLICE_NS_ && consumer_ns < TDM_EVENT_SLICE_NS_);
	tap_note("%u participants: the goal of 5 ms is %s by the median", participants,
		 producer_ns < 5000000 && consumer_ns < 5000000 ? "met" : "missed");
	if (participants > 2) {
		wake_often(&crew, true);
		wake_often(&crew, false);
	}
	for (uint32_t i = 0; i < processes; i++)
		child_kill(sitters[i]);
	CHECK_STATUS(numbers_producer_detach(&crew.out), TDM_OK);
	CHECK_STATUS(numbers_consumer_detach(&crew.in), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&crew.self), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

int main(void)
{
	shared = child_shared(sizeof(*shared));
	static const uint32_t sizes[] = {2, 64, 1024};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char sentence[128];
		snprintf(sentence, sizeof(sentence),
			 "what the dead held is passed at once, among %u participants", sizes[i]);
		tap_case(sentence);
		measure(sizes[i]);
	}
	return tap_done();
}
