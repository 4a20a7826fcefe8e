// SPDX-License-Identifier: BSD-2-Clause
// Roles that go from thread to thread, for ThreadSanitizer above all: what a predecessor did with a
// slot must come before what its successor does, and nothing but the ring's own edges may say so.
// Hence the threads tell each other only by relaxed stores how far they are, and the event is the
// plain one, whose wake-ups order nothing.
#define TDM_SEAM_FENCED 0

#include <pthread.h>
#include <sched.h>

#include <tandem.h>

#include "../support/tap.h"

#define THREADS 3

struct text {
	char bytes[48];
};
TDM_SPSC_DEFINE(texts, struct text);

static struct tdm_segment segment;
static tdm_atomic_u32 stage;  // how far the threads are
static tdm_atomic_u32 joined; // who has joined: joining goes through a mutex, so all do it before

static void reach(uint32_t wanted)
{
	tdm_store_relaxed_u32(&stage, wanted);
}

static void await(const tdm_atomic_u32 *counter, uint32_t wanted)
{
	while (tdm_load_relaxed_u32(counter) < wanted)
		sched_yield();
}

static struct tdm_span ring(void)
{
	return tdm_segment_find(&segment, "texts");
}

// Joins, and waits until everybody has.
static void join(struct tdm_participant *self)
{
	CHECK_STATUS(tdm_segment_join(&segment, self, "thread"), TDM_OK);
	tdm_fetch_add_relaxed_u32(&joined, 1);
	await(&joined, THREADS);
}

static void produce(struct texts_producer *out, struct tdm_participant *self)
{
	enum tdm_status status = TDM_BUSY;
	while (status == TDM_BUSY)
		status = texts_producer_attach(out, ring(), self);
	CHECK_STATUS(status, TDM_OK);
}

static void consume(struct texts_consumer *in, struct tdm_participant *self)
{
	enum tdm_status status = TDM_BUSY;
	while (status == TDM_BUSY)
		status = texts_consumer_attach(in, ring(), self);
	CHECK_STATUS(status, TDM_OK);
}

static void run(void *(*first)(void *), void *(*second)(void *), void *(*third)(void *),
		bool pushed)
{
	void *(*const bodies[THREADS])(void *) = {first, second, third};
	pthread_t threads[THREADS];
	struct tdm_object object = texts_object("texts", 1);
	struct tdm_participant self;
	struct texts_producer out;
	struct text text;
	tdm_store_relaxed_u32(&stage, 0);
	tdm_store_relaxed_u32(&joined, 0);
	CHECK_STATUS(tdm_segment_create(&segment, &object, 1, TDM_NULL), TDM_OK);
	if (pushed) {
		memset(&text, 1, sizeof(text));
		CHECK_STATUS(tdm_segment_join(&segment, &self, "main"), TDM_OK);
		CHECK_STATUS(texts_producer_attach(&out, ring(), &self), TDM_OK);
		CHECK_STATUS(texts_try_push(&out, &text), TDM_OK);
		CHECK_STATUS(texts_producer_detach(&out), TDM_OK);
		CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	}
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], TDM_NULL, bodies[i], TDM_NULL) != 0)
			abort();
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(threads[i], TDM_NULL) == 0);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

static void *looks_on(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	join(&self);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	return TDM_NULL;
}

// --- producers ---

static void *reserves_and_leaves(void *unused)
{
	struct tdm_participant self;
	struct texts_producer out;
	struct text *slot = TDM_NULL;
	(void)unused;
	join(&self);
	produce(&out, &self);
	CHECK_STATUS(texts_try_reserve(&out, &slot), TDM_OK);
	memset(slot, 2, sizeof(*slot));
	reach(1);
	CHECK_STATUS(texts_producer_detach(&out), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	return TDM_NULL;
}

static void *reserves_and_dies(void *unused)
{
	struct tdm_participant self;
	struct texts_producer out;
	struct text *slot = TDM_NULL;
	(void)unused;
	join(&self);
	produce(&out, &self);
	CHECK_STATUS(texts_try_reserve(&out, &slot), TDM_OK);
	memset(slot, 2, sizeof(*slot));
	reach(1);
	return TDM_NULL;
}

static void pushes_next(uint32_t turn, bool after_death)
{
	struct tdm_participant self;
	struct texts_producer out;
	struct text *slot = TDM_NULL;
	join(&self);
	await(&stage, turn);
	produce(&out, &self);
	CHECK(out.ring.took_over == after_death);
	CHECK_EQ_U64(tdm_spsc_producer_position(&out.ring), 0);
	CHECK_STATUS(texts_try_reserve(&out, &slot), TDM_OK);
	memset(slot, 3, sizeof(*slot)); // where the predecessor wrote
	CHECK_STATUS(texts_commit(&out), TDM_OK);
	CHECK_STATUS(texts_producer_detach(&out), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
}

static void *pushes_after_leaving(void *unused)
{
	(void)unused;
	pushes_next(1, false);
	return TDM_NULL;
}

static void *pushes_after_death(void *unused)
{
	(void)unused;
	pushes_next(1, true);
	return TDM_NULL;
}

static void *pushes_after_recovery(void *unused)
{
	(void)unused;
	pushes_next(2, true);
	return TDM_NULL;
}

static void *recovers(void *unused)
{
	struct tdm_participant self;
	uint32_t recovered = 0;
	(void)unused;
	join(&self);
	await(&stage, 1);
	while (recovered == 0)
		if (!CHECK_STATUS(tdm_spsc_recover(ring(), &self, &recovered), TDM_OK))
			break;
	reach(2);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	return TDM_NULL;
}

// --- consumers ---

static void *peeks_and_leaves(void *unused)
{
	struct tdm_participant self;
	struct texts_consumer in;
	const struct text *seen = TDM_NULL;
	(void)unused;
	join(&self);
	consume(&in, &self);
	CHECK_STATUS(texts_try_peek(&in, &seen), TDM_OK);
	CHECK_EQ_U64(TDM_CAST(uint64_t, seen->bytes[0]), 1);
	reach(1);
	CHECK_STATUS(texts_consumer_detach(&in), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	return TDM_NULL;
}

static void *peeks_and_dies(void *unused)
{
	struct tdm_participant self;
	struct texts_consumer in;
	const struct text *seen = TDM_NULL;
	(void)unused;
	join(&self);
	consume(&in, &self);
	CHECK_STATUS(texts_try_peek(&in, &seen), TDM_OK);
	CHECK_EQ_U64(TDM_CAST(uint64_t, seen->bytes[0]), 1);
	reach(1);
	return TDM_NULL;
}

static void *releases_unread(void *unused)
{
	struct tdm_participant self;
	struct texts_consumer in;
	const struct text *seen = TDM_NULL;
	(void)unused;
	join(&self);
	await(&stage, 1);
	consume(&in, &self);
	CHECK_STATUS(texts_try_peek(&in, &seen), TDM_OK);
	CHECK_STATUS(texts_release(&in), TDM_OK);
	reach(2);
	CHECK_STATUS(texts_consumer_detach(&in), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	return TDM_NULL;
}

static void *overwrites(void *unused)
{
	struct tdm_participant self;
	struct texts_producer out;
	struct text text;
	(void)unused;
	memset(&text, 4, sizeof(text));
	join(&self);
	produce(&out, &self);
	await(&stage, 2);
	CHECK_STATUS(texts_try_push(&out, &text), TDM_OK); // where the first consumer read
	CHECK_STATUS(texts_producer_detach(&out), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	return TDM_NULL;
}

// --- who makes a ring and who finds it ---

#define RING_BYTES 4096

TDM_ALIGNAS(128) static unsigned char memory[RING_BYTES];

static void *makes(void *unused)
{
	(void)unused;
	// The maker's own writes to what will be elements. The rest was zero all the time.
	memset(memory + sizeof(struct tdm_spsc_shm) + 8, 5, sizeof(struct text));
	CHECK_STATUS(texts_init(memory, RING_BYTES, 4), TDM_OK);
	return TDM_NULL;
}

static void *finds(void *unused)
{
	struct texts_producer out;
	struct text text;
	enum tdm_status status = TDM_NOT_INITIALIZED;
	(void)unused;
	memset(&text, 6, sizeof(text));
	while (status == TDM_NOT_INITIALIZED)
		status = texts_producer_attach(&out, tdm_memory(memory, RING_BYTES), TDM_NULL);
	CHECK_STATUS(status, TDM_OK);
	CHECK_STATUS(texts_try_push(&out, &text), TDM_OK);
	return TDM_NULL;
}

static void test_init(void)
{
	pthread_t threads[2];
	tap_case("who attaches finds a ring as its maker left it");
	if (pthread_create(&threads[0], TDM_NULL, finds, TDM_NULL) != 0 ||
	    pthread_create(&threads[1], TDM_NULL, makes, TDM_NULL) != 0)
		abort();
	CHECK(pthread_join(threads[0], TDM_NULL) == 0);
	CHECK(pthread_join(threads[1], TDM_NULL) == 0);
}

int main(void)
{
	alarm(120);
	tap_case("a producer writes where one that left had written");
	run(reserves_and_leaves, pushes_after_leaving, looks_on, false);
	tap_case("a producer writes where one that died had written");
	run(reserves_and_dies, pushes_after_death, looks_on, false);
	tap_case("a producer writes where one that was recovered had written");
	run(reserves_and_dies, recovers, pushes_after_recovery, false);
	tap_case("what a consumer that left had read is overwritten after its successor's release");
	run(peeks_and_leaves, releases_unread, overwrites, true);
	tap_case("what a consumer that died had read is overwritten after its successor's release");
	run(peeks_and_dies, releases_unread, overwrites, true);
	test_init();
	return tap_done();
}
