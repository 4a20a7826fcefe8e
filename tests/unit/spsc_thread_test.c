// SPDX-License-Identifier: BSD-2-Clause
// Roles that go from thread to thread, for ThreadSanitizer above all: what a predecessor did with a
// slot must come before what its successor does, and nothing but the ring's own edges may say so.
#include "../support/threads.h"

// One word, because gcc writes larger things in ways that ThreadSanitizer does not see.
TDM_SPSC_DEFINE(words, uint64_t);

static struct tdm_span ring(void)
{
	return tdm_segment_find(&segment, "words");
}

static void produce(struct words_producer *out, struct tdm_participant *self)
{
	enum tdm_status status = TDM_BUSY;
	while (status == TDM_BUSY)
		status = words_producer_attach(out, ring(), self);
	CHECK_STATUS(status, TDM_OK);
}

static void consume(struct words_consumer *in, struct tdm_participant *self)
{
	enum tdm_status status = TDM_BUSY;
	while (status == TDM_BUSY)
		status = words_consumer_attach(in, ring(), self);
	CHECK_STATUS(status, TDM_OK);
}

static void run(void *(*first)(void *), void *(*second)(void *), void *(*third)(void *),
		bool pushed)
{
	struct tdm_object objects[2];
	struct tdm_participant self;
	struct words_producer out;
	uint64_t word = 1;
	objects[0] = words_object("words", 1);
	objects[1] = words_object("plain", 1);
	objects[1].plain = true;
	CHECK_STATUS(tdm_segment_create(&segment, objects, 2, TDM_NULL), TDM_OK);
	if (pushed) {
		CHECK_STATUS(tdm_segment_join(&segment, &self, "main"), TDM_OK);
		CHECK_STATUS(words_producer_attach(&out, ring(), &self), TDM_OK);
		CHECK_STATUS(words_try_push(&out, &word), TDM_OK);
		CHECK_STATUS(words_producer_detach(&out), TDM_OK);
		CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	}
	run_bodies(first, second, third);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

// --- producers ---

static void *reserves_and_leaves(void *unused)
{
	struct tdm_participant self;
	struct words_producer out;
	uint64_t *slot = TDM_NULL;
	(void)unused;
	join(&self);
	produce(&out, &self);
	CHECK_STATUS(words_try_reserve(&out, &slot), TDM_OK);
	*slot = 2;
	reach(1);
	CHECK_STATUS(words_producer_detach(&out), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	return TDM_NULL;
}

static void *reserves_and_dies(void *unused)
{
	struct tdm_participant self;
	struct words_producer out;
	uint64_t *slot = TDM_NULL;
	(void)unused;
	join(&self);
	produce(&out, &self);
	CHECK_STATUS(words_try_reserve(&out, &slot), TDM_OK);
	*slot = 2;
	reach(1);
	return TDM_NULL;
}

static void pushes_next(uint32_t turn, bool after_death)
{
	struct tdm_participant self;
	struct words_producer out;
	uint64_t *slot = TDM_NULL;
	join(&self);
	await(&stage, turn);
	produce(&out, &self);
	CHECK(out.ring.took_over == after_death);
	CHECK_EQ_U64(tdm_spsc_producer_position(&out.ring), 0);
	CHECK_STATUS(words_try_reserve(&out, &slot), TDM_OK);
	*slot = 3; // where the predecessor wrote
	CHECK_STATUS(words_commit(&out), TDM_OK);
	CHECK_STATUS(words_producer_detach(&out), TDM_OK);
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
	struct words_consumer in;
	const uint64_t *seen = TDM_NULL;
	(void)unused;
	join(&self);
	consume(&in, &self);
	CHECK_STATUS(words_try_peek(&in, &seen), TDM_OK);
	CHECK_EQ_U64(*seen, 1);
	reach(1);
	CHECK_STATUS(words_consumer_detach(&in), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	return TDM_NULL;
}

static void *peeks_and_dies(void *unused)
{
	struct tdm_participant self;
	struct words_consumer in;
	const uint64_t *seen = TDM_NULL;
	(void)unused;
	join(&self);
	consume(&in, &self);
	CHECK_STATUS(words_try_peek(&in, &seen), TDM_OK);
	CHECK_EQ_U64(*seen, 1);
	reach(1);
	return TDM_NULL;
}

static void *releases_unread(void *unused)
{
	struct tdm_participant self;
	struct words_consumer in;
	const uint64_t *seen = TDM_NULL;
	(void)unused;
	join(&self);
	await(&stage, 1);
	consume(&in, &self);
	CHECK_STATUS(words_try_peek(&in, &seen), TDM_OK);
	CHECK_STATUS(words_release(&in), TDM_OK);
	reach(2);
	CHECK_STATUS(words_consumer_detach(&in), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	return TDM_NULL;
}

static void *overwrites(void *unused)
{
	struct tdm_participant self;
	struct words_producer out;
	uint64_t word = 4;
	(void)unused;
	join(&self);
	produce(&out, &self);
	await(&stage, 2);
	CHECK_STATUS(words_try_push(&out, &word), TDM_OK); // where the first consumer read
	CHECK_STATUS(words_producer_detach(&out), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	return TDM_NULL;
}

// --- a plain ring, and what a user hands over by leaving ---

static struct tdm_spsc_shm *plain(void)
{
	return TDM_CAST(struct tdm_spsc_shm *, tdm_segment_find(&segment, "plain").base);
}

static void *leaves_plain(void *unused)
{
	struct words_producer out;
	uint64_t *slot = TDM_NULL;
	(void)unused;
	CHECK_STATUS(words_producer_attach(&out, tdm_segment_find(&segment, "plain"), TDM_NULL),
		     TDM_OK);
	CHECK_STATUS(words_try_reserve(&out, &slot), TDM_OK);
	*slot = 2;
	CHECK_STATUS(words_producer_detach(&out), TDM_OK);
	return TDM_NULL;
}

static void *follows_plain(void *unused)
{
	struct words_producer out;
	uint64_t *slot = TDM_NULL;
	(void)unused;
	// A user would have to know otherwise.
	while (tdm_load_relaxed_u64(&plain()->producer) != TDM_ROLE_LEFT_)
		sched_yield();
	CHECK_STATUS(words_producer_attach(&out, tdm_segment_find(&segment, "plain"), TDM_NULL),
		     TDM_OK);
	CHECK_STATUS(words_try_reserve(&out, &slot), TDM_OK);
	*slot = 3;
	CHECK_STATUS(words_commit(&out), TDM_OK);
	return TDM_NULL;
}

static uint64_t farewell; // written by the producer before it leaves

static void *says_farewell(void *unused)
{
	struct tdm_participant self;
	struct words_producer out;
	(void)unused;
	join(&self);
	produce(&out, &self);
	farewell = 7;
	CHECK_STATUS(words_producer_detach(&out), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	return TDM_NULL;
}

static void *hears_farewell(void *unused)
{
	struct tdm_participant self;
	struct words_consumer in;
	(void)unused;
	join(&self);
	consume(&in, &self);
	while (tdm_spsc_consumer_peer(&in.ring) != TDM_PEER_LEFT)
		sched_yield();
	CHECK_EQ_U64(farewell, 7);
	CHECK_STATUS(words_consumer_detach(&in), TDM_OK);
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
	*TDM_AT_(uint64_t, memory, sizeof(struct tdm_spsc_shm) + 8) = 5;
	CHECK_STATUS(words_init(memory, RING_BYTES, 4), TDM_OK);
	return TDM_NULL;
}

static void *finds(void *unused)
{
	struct words_producer out;
	uint64_t word = 6;
	enum tdm_status status = TDM_NOT_INITIALIZED;
	(void)unused;
	while (status == TDM_NOT_INITIALIZED)
		status = words_producer_attach(&out, tdm_memory(memory, RING_BYTES), TDM_NULL);
	CHECK_STATUS(status, TDM_OK);
	CHECK_STATUS(words_try_push(&out, &word), TDM_OK);
	return TDM_NULL;
}

int main(void)
{
	alarm(120);
	tap_case("a producer writes where one that left had written");
	run(reserves_and_leaves, pushes_after_leaving, TDM_NULL, false);
	tap_case("a producer writes where one that died had written");
	run(reserves_and_dies, pushes_after_death, TDM_NULL, false);
	tap_case("a producer writes where one that was recovered had written");
	run(reserves_and_dies, recovers, pushes_after_recovery, false);
	tap_case("what a consumer that left had read is overwritten after its successor's release");
	run(peeks_and_leaves, releases_unread, overwrites, true);
	tap_case("what a consumer that died had read is overwritten after its successor's release");
	run(peeks_and_dies, releases_unread, overwrites, true);
	tap_case("a producer of a plain ring writes where one that left had written");
	run(leaves_plain, follows_plain, TDM_NULL, false);
	tap_case("who is told that the other side has left sees what it did before");
	run(says_farewell, hears_farewell, TDM_NULL, false);
	tap_case("who attaches finds a ring as its maker left it");
	run_bodies(finds, makes, TDM_NULL);
	return tap_done();
}
