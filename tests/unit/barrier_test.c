// SPDX-License-Identifier: BSD-2-Clause
// The barriers, one behaviour at a time. Compiled as C and as C++.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include <tandem/base/atomic.h>
#include <tandem/base/status.h>

static __thread bool refuse_to_wait;
static enum tdm_status may_wait(tdm_atomic_u32 *word, uint32_t expected, uint64_t deadline_ns);
#define TDM_SEAM_FUTEX_WAIT(word, expected, deadline_ns) may_wait(word, expected, deadline_ns)

#include <tandem/shm/segment.h>
#include <tandem/sync/barrier.h>

#include "../support/child.h"

static enum tdm_status may_wait(tdm_atomic_u32 *word, uint32_t expected, uint64_t deadline_ns)
{
	if (!refuse_to_wait)
		return tdm_futex_wait_kernel_(word, expected, deadline_ns);
	errno = EPERM;
	return TDM_SYSTEM;
}

#define PARTIES 4U
#define ROUNDS 200U

static uint64_t soon(void)
{
	return tdm_deadline_after_ns(20000000);
}

static uint64_t late(void)
{
	return tdm_deadline_after_ns(CHILD_PATIENCE_NS);
}

// ---------------------------------------------------------------------------------------------
// Plain

static struct tdm_barrier *barrier; // shared with children
static tdm_atomic_u32 serials;
static uint32_t done[PARTIES]; // rounds, in turns with the barrier
static enum tdm_status ends[PARTIES];

static uint32_t inside(void)
{
	return TDM_CAST(uint32_t, tdm_load_relaxed_u64(&barrier->state) & TDM_BARRIER_INSIDE_);
}

static void await_inside(uint32_t count)
{
	while (inside() != count)
		child_sleep_ms(1);
}

static void test_init(void)
{
	bool serial = true;
	tap_case("a zero-filled barrier is not initialized");
	memset(TDM_CAST(void *, barrier), 0, sizeof(*barrier));
	CHECK_STATUS(tdm_barrier_wait(barrier, &serial), TDM_NOT_INITIALIZED);
	CHECK(!serial);
	CHECK_STATUS(tdm_barrier_wait_until(barrier, 0, TDM_NULL), TDM_NOT_INITIALIZED);
	CHECK_STATUS(tdm_barrier_abort(barrier), TDM_NOT_INITIALIZED);
	CHECK_STATUS(tdm_barrier_reset(barrier), TDM_NOT_INITIALIZED);
	CHECK_STATUS(tdm_barrier_reset_until(barrier, 0), TDM_NOT_INITIALIZED);

	tap_case("a barrier is for 1 to 2^31 - 1 parties");
	CHECK_STATUS(tdm_barrier_init(barrier, 0), TDM_INVALID);
	CHECK_STATUS(tdm_barrier_init(barrier, TDM_BARRIER_PARTIES_MAX + 1), TDM_INVALID);
	CHECK_STATUS(tdm_barrier_init(barrier, TDM_BARRIER_PARTIES_MAX), TDM_OK);

	tap_case("one party waits for nobody, and is the last each time");
	CHECK_STATUS(tdm_barrier_init(barrier, 1), TDM_OK);
	for (int i = 0; i < 3; i++) {
		serial = false;
		CHECK_STATUS(tdm_barrier_wait_until(barrier, 0, &serial), TDM_OK);
		CHECK(serial);
		CHECK_STATUS(tdm_barrier_wait(barrier, TDM_NULL), TDM_OK);
	}
}

// All have done as much as this one: none is a round behind, or more than one ahead.
static void *rounds(void *number)
{
	uint32_t mine = *TDM_CAST(uint32_t *, number);
	for (uint32_t round = 1; round <= ROUNDS; round++) {
		bool serial;
		done[mine] = round;
		CHECK_STATUS(tdm_barrier_wait(barrier, &serial), TDM_OK);
		for (uint32_t i = 0; i < PARTIES; i++)
			CHECK_EQ_U64(done[i], round);
		if (serial)
			tdm_fetch_add_relaxed_u32(&serials, 1);
		CHECK_STATUS(tdm_barrier_wait_until(barrier, late(), TDM_NULL), TDM_OK);
	}
	return TDM_NULL;
}

static void run(void *(*body)(void *))
{
	pthread_t threads[PARTIES];
	uint32_t numbers[PARTIES];
	for (uint32_t i = 0; i < PARTIES; i++) {
		numbers[i] = i;
		CHECK(pthread_create(&threads[i], TDM_NULL, body, &numbers[i]) == 0);
	}
	for (uint32_t i = 0; i < PARTIES; i++)
		CHECK(pthread_join(threads[i], TDM_NULL) == 0);
}

static void test_phases(void)
{
	tap_case(
	    "nobody passes before all have come, each time, and one of them is told it was last");
	CHECK_STATUS(tdm_barrier_init(barrier, PARTIES), TDM_OK);
	tdm_store_relaxed_u32(&serials, 0);
	run(rounds);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&serials), ROUNDS);
	CHECK_EQ_U64(tdm_load_relaxed_u64(&barrier->state), UINT64_C(2) * ROUNDS << 32);

	tap_case("phases wrap around");
	CHECK_STATUS(tdm_barrier_init(barrier, PARTIES), TDM_OK);
	tdm_store_relaxed_u64(&barrier->state, UINT64_C(0xffffff80) << 32);
	run(rounds);
	CHECK_EQ_U64(tdm_load_relaxed_u64(&barrier->state) >> 32, 2 * ROUNDS - 128);
}

static void *wait_for_ever(void *number)
{
	ends[*TDM_CAST(uint32_t *, number)] = tdm_barrier_wait(barrier, TDM_NULL);
	return TDM_NULL;
}

static void test_breaking(void)
{
	pthread_t threads[2];
	uint32_t numbers[2] = {0, 1};
	for (int how = 0; how < 3; how++) {
		tap_case(how == 0   ? "a time-out breaks it, for those who wait, too"
			 : how == 1 ? "abort breaks it, for those who wait and those who come"
				    : "a kernel that refuses to wait breaks it");
		CHECK_STATUS(tdm_barrier_init(barrier, 4), TDM_OK);
		for (int i = 0; i < 2; i++)
			CHECK(pthread_create(&threads[i], TDM_NULL, wait_for_ever, &numbers[i]) ==
			      0);
		await_inside(2);
		uint64_t deadline_ns = soon();
		if (how == 0) {
			CHECK_STATUS(tdm_barrier_wait_until(barrier, deadline_ns, TDM_NULL),
				     TDM_TIMED_OUT);
			CHECK(tdm_now_ns() >= deadline_ns);
		} else if (how == 1) {
			CHECK_STATUS(tdm_barrier_abort(barrier), TDM_OK);
			CHECK_STATUS(tdm_barrier_abort(barrier), TDM_OK);
		} else {
			refuse_to_wait = true;
			CHECK_STATUS(tdm_barrier_wait(barrier, TDM_NULL), TDM_SYSTEM);
			refuse_to_wait = false;
		}
		for (int i = 0; i < 2; i++) {
			CHECK(pthread_join(threads[i], TDM_NULL) == 0);
			CHECK_STATUS(ends[i], TDM_BROKEN);
		}
		CHECK_STATUS(tdm_barrier_wait(barrier, TDM_NULL), TDM_BROKEN);
		CHECK_STATUS(tdm_barrier_wait_until(barrier, 0, TDM_NULL), TDM_BROKEN);

		tap_case("once all have noticed, reset makes it usable again");
		CHECK_STATUS(tdm_barrier_reset(barrier), TDM_OK);
		CHECK_STATUS(tdm_barrier_reset_until(barrier, 0), TDM_OK);
		tdm_store_relaxed_u32(&serials, 0);
		run(rounds);
	}

	tap_case("reset waits for those who have not noticed, until its deadline");
	CHECK_STATUS(tdm_barrier_init(barrier, 2), TDM_OK);
	tdm_store_relaxed_u64(&barrier->state, TDM_BARRIER_BROKEN_ | 1);
	CHECK_STATUS(tdm_barrier_reset_until(barrier, soon()), TDM_TIMED_OUT);
	CHECK_STATUS(tdm_barrier_give_up_(barrier, 0, TDM_TIMED_OUT), TDM_BROKEN);
	CHECK_STATUS(tdm_barrier_reset_until(barrier, 0), TDM_OK);

	tap_case("one that is not broken is not changed by reset");
	tdm_store_relaxed_u64(&barrier->state, 1);
	CHECK_STATUS(tdm_barrier_reset(barrier), TDM_OK);
	CHECK_EQ_U64(inside(), 1);

	tap_case("more inside than there are parties is corrupt");
	tdm_store_relaxed_u64(&barrier->state, 2);
	CHECK_STATUS(tdm_barrier_wait(barrier, TDM_NULL), TDM_CORRUPT);
	tdm_store_relaxed_u64(&barrier->state, 0);
	CHECK_STATUS(tdm_barrier_give_up_(barrier, 0, TDM_TIMED_OUT), TDM_CORRUPT);

	tap_case("a deadline that has passed is no reason not to come last");
	CHECK_STATUS(tdm_barrier_init(barrier, 2), TDM_OK);
	CHECK(pthread_create(&threads[0], TDM_NULL, wait_for_ever, &numbers[0]) == 0);
	await_inside(1);
	CHECK_STATUS(tdm_barrier_wait_until(barrier, 0, TDM_NULL), TDM_OK);
	CHECK(pthread_join(threads[0], TDM_NULL) == 0);
	CHECK_STATUS(ends[0], TDM_OK);
}

static void waits_in_child(void *unused)
{
	(void)unused;
	for (uint32_t round = 0; round < ROUNDS; round++)
		CHECK_STATUS(tdm_barrier_wait_until(barrier, late(), TDM_NULL), TDM_OK);
}

static void test_processes(void)
{
	tap_case("processes wait for each other");
	CHECK_STATUS(tdm_barrier_init(barrier, 3), TDM_OK);
	pid_t children[2];
	for (int i = 0; i < 2; i++)
		children[i] = child_start(waits_in_child, TDM_NULL);
	waits_in_child(TDM_NULL);
	for (int i = 0; i < 2; i++)
		child_end(children[i]);
}

// ---------------------------------------------------------------------------------------------
// Robust

static struct tdm_segment segment;

static void make(uint32_t parties, uint32_t seats)
{
	struct tdm_segment_options options;
	memset(TDM_CAST(void *, &options), 0, sizeof(options));
	options.sealed = true;
	options.seats = seats;
	struct tdm_object objects[2];
	objects[0] = tdm_barrier_object("barrier", parties);
	objects[1] = tdm_bytes_object("page", 64, 8, TDM_NULL);
	CHECK_STATUS(tdm_segment_create(&segment, objects, 2, &options), TDM_OK);
}

static struct tdm_span span(void)
{
	return tdm_segment_find(&segment, "barrier");
}

static tdm_atomic_u32 *page(void)
{
	return TDM_CAST(tdm_atomic_u32 *, tdm_segment_find(&segment, "page").base);
}

static void become(struct tdm_participant *self, struct tdm_barrier_party *party)
{
	CHECK_STATUS(tdm_segment_join(&segment, self, "party"), TDM_OK);
	CHECK_STATUS(tdm_barrier_party_attach(party, span(), self), TDM_OK);
}

static void be_no_more(struct tdm_participant *self, struct tdm_barrier_party *party)
{
	CHECK_STATUS(tdm_barrier_party_detach(party), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(self), TDM_OK);
}

static void test_attaching(void)
{
	struct tdm_participant self, other, stranger;
	struct tdm_barrier_party party, again;
	struct tdm_segment elsewhere;
	tap_case("robust: what is not attached answers TDM_INVALID");
	memset(TDM_CAST(void *, &party), 0, sizeof(party));
	CHECK_STATUS(tdm_barrier_party_wait(&party, TDM_NULL), TDM_INVALID);
	CHECK_STATUS(tdm_barrier_party_detach(&party), TDM_INVALID);
	CHECK_STATUS(tdm_barrier_party_abort(&party), TDM_INVALID);
	CHECK_STATUS(tdm_barrier_party_reset(&party), TDM_INVALID);

	tap_case("robust: a party is a participant of the segment, once");
	make(1, 4);
	CHECK_STATUS(tdm_barrier_party_attach(&party, span(), TDM_NULL), TDM_NEEDS_PARTICIPANT);
	struct tdm_object page_only = tdm_bytes_object("page", 64, 8, TDM_NULL);
	CHECK_STATUS(tdm_segment_create(&elsewhere, &page_only, 1, TDM_NULL), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&elsewhere, &stranger, "stranger"), TDM_OK);
	CHECK_STATUS(tdm_barrier_party_attach(&party, span(), &stranger), TDM_INVALID);
	CHECK_STATUS(tdm_participant_leave(&stranger), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&elsewhere), TDM_OK);
	become(&self, &party);
	CHECK_STATUS(tdm_barrier_party_attach(&again, span(), &self), TDM_BUSY);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_BUSY);
	bool serial = false;
	CHECK_STATUS(tdm_barrier_party_wait(&party, &serial), TDM_OK);
	CHECK(serial);
	be_no_more(&self, &party);
	CHECK_STATUS(tdm_barrier_party_wait(&party, TDM_NULL), TDM_INVALID);

	tap_case("robust: what is no barrier is refused");
	CHECK_STATUS(tdm_segment_join(&segment, &other, "party"), TDM_OK);
	struct tdm_span it = span();
	struct tdm_barrier_shm *shm = TDM_AT_(struct tdm_barrier_shm, it.base, 0);
	CHECK_STATUS(tdm_barrier_party_attach(&party, tdm_segment_find(&segment, "page"), &other),
		     TDM_WRONG_KIND);
	CHECK_STATUS(tdm_barrier_party_attach(&party, tdm_segment_find(&segment, "none"), &other),
		     TDM_NOT_FOUND);
	it.read_only = true;
	CHECK_STATUS(tdm_barrier_party_attach(&party, it, &other), TDM_READ_ONLY);
	it = span();
	it.bytes = sizeof(*shm) - 1;
	CHECK_STATUS(tdm_barrier_party_attach(&party, it, &other), TDM_INVALID);
	it.bytes = sizeof(*shm) + 31;
	CHECK_STATUS(tdm_barrier_party_attach(&party, it, &other), TDM_BAD_GEOMETRY);
	static const struct {
		uint64_t tag;
		enum tdm_status status;
	} tags[] = {{0, TDM_NOT_INITIALIZED},
		    {1, TDM_WRONG_KIND},
		    {TDM_BARRIER_TAG_ - 1, TDM_OLDER_LAYOUT},
		    {TDM_BARRIER_TAG_ + 1, TDM_NEWER_LAYOUT}};
	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
		tdm_store_relaxed_u64(&shm->tag, tags[i].tag);
		CHECK_STATUS(tdm_barrier_party_attach(&party, span(), &other), tags[i].status);
	}
	tdm_store_relaxed_u64(&shm->tag, TDM_BARRIER_TAG_);
	tdm_store_relaxed_u64(&shm->parties, 0);
	CHECK_STATUS(tdm_barrier_party_attach(&party, span(), &other), TDM_BAD_GEOMETRY);
	CHECK_STATUS(tdm_participant_leave(&other), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);

	tap_case("robust: there are no more parties than seats, and one at least");
	for (uint32_t parties = 0; parties <= 5; parties += 5) {
		struct tdm_segment_options options;
		memset(TDM_CAST(void *, &options), 0, sizeof(options));
		options.seats = 4;
		struct tdm_object object = tdm_barrier_object("barrier", parties);
		CHECK_STATUS(tdm_segment_create(&segment, &object, 1, &options), TDM_INVALID);
	}
}

static void *robust_rounds(void *number)
{
	uint32_t mine = *TDM_CAST(uint32_t *, number);
	struct tdm_participant self;
	struct tdm_barrier_party party;
	become(&self, &party);
	for (uint32_t round = 1; round <= ROUNDS; round++) {
		bool serial;
		done[mine] = round;
		CHECK_STATUS(tdm_barrier_party_wait(&party, &serial), TDM_OK);
		for (uint32_t i = 0; i < PARTIES; i++)
			CHECK_EQ_U64(done[i], round);
		if (serial)
			tdm_fetch_add_relaxed_u32(&serials, 1);
		CHECK_STATUS(tdm_barrier_party_wait_until(&party, late(), TDM_NULL), TDM_OK);
	}
	be_no_more(&self, &party);
	return TDM_NULL;
}

static void test_robust_phases(void)
{
	tap_case("robust: nobody passes before all have come, each time, and one is told so");
	make(PARTIES, PARTIES + 1);
	tdm_store_relaxed_u32(&serials, 0);
	run(robust_rounds);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&serials), ROUNDS);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);

	tap_case("robust: numbers of phases and of parties that came wrap around");
	make(PARTIES, PARTIES);
	struct tdm_barrier_shm *shm = TDM_AT_(struct tdm_barrier_shm, span().base, 0);
	tdm_store_relaxed_u64(&shm->state, (TDM_BARRIER_NUMBER_ - 3) << TDM_BARRIER_NUMBER_SHIFT_ |
					       TDM_BARRIER_JOINS_);
	run(robust_rounds);
	CHECK_EQ_U64(tdm_load_relaxed_u64(&shm->state) & TDM_BARRIER_STOPPED_, 0);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

// --- a child that is a party, and what it does ---

#define STAGE (&page()[0])

static void comes(void *unused)
{
	struct tdm_participant self;
	struct tdm_barrier_party party;
	(void)unused;
	become(&self, &party);
	tdm_store_release_u32(STAGE, 1);
	child_sleep_ms(60000);
}

static void comes_and_waits(void *unused)
{
	struct tdm_participant self;
	struct tdm_barrier_party party;
	(void)unused;
	become(&self, &party);
	tdm_store_release_u32(STAGE, 1);
	if (tdm_barrier_party_wait(&party, TDM_NULL) == TDM_OK)
		tdm_fetch_add_release_u32(STAGE, 1);
	child_sleep_ms(60000);
}

static pid_t child_at(void (*body)(void *), uint32_t stage)
{
	tdm_store_relaxed_u32(STAGE, 0);
	pid_t child = child_start(body, TDM_NULL);
	CHECK(child_await_u32(STAGE, stage));
	return child;
}

static bool has_arrived(const struct tdm_barrier_party *party, uint32_t seat)
{
	uint64_t word = tdm_load_acquire_u64(&party->words[seat]);
	return word != 0 &&
	       tdm_barrier_arrived_(word,
				    tdm_barrier_number_(tdm_load_relaxed_u64(&party->shm->state)));
}

static void test_deaths(void)
{
	struct tdm_participant self, next;
	struct tdm_barrier_party party, heir;
	bool serial;
	tap_case("robust: who is stopped is waited for");
	make(2, 3);
	become(&self, &party);
	pid_t child = child_at(comes, 1);
	CHECK(kill(child, SIGSTOP) == 0);
	CHECK_STATUS(
	    tdm_barrier_party_wait_until(&party, tdm_deadline_after_ns(300000000), TDM_NULL),
	    TDM_TIMED_OUT);
	CHECK_STATUS(tdm_barrier_party_reset(&party), TDM_OK);

	tap_case("robust: who dies before arriving breaks it, for good until it is reset");
	child_kill(child);
	CHECK_STATUS(tdm_barrier_party_wait(&party, &serial), TDM_BROKEN);
	CHECK(!serial);
	CHECK_STATUS(tdm_barrier_party_wait_until(&party, 0, TDM_NULL), TDM_BROKEN);
	CHECK_STATUS(tdm_barrier_party_reset(&party), TDM_OK);
	CHECK_STATUS(tdm_barrier_party_reset(&party), TDM_OK);
	CHECK_STATUS(tdm_barrier_party_wait_until(&party, soon(), TDM_NULL), TDM_TIMED_OUT);
	CHECK_STATUS(tdm_barrier_party_reset(&party), TDM_OK);

	tap_case("robust: who dies after arriving counts, and breaks the next phase");
	child = child_at(comes_and_waits, 1);
	while (!has_arrived(&party, 1))
		child_sleep_ms(1);
	child_kill(child);
	CHECK_STATUS(tdm_barrier_party_wait(&party, &serial), TDM_OK);
	CHECK(serial);
	CHECK_STATUS(tdm_barrier_party_wait(&party, TDM_NULL), TDM_BROKEN);
	CHECK_STATUS(tdm_barrier_party_reset(&party), TDM_OK);

	tap_case("robust: whose seat another one takes breaks it if it had not arrived");
	child = child_at(comes, 1);
	child_kill(child);
	CHECK_STATUS(tdm_segment_join(&segment, &next, "heir"), TDM_OK);
	CHECK_EQ_U64(next.index, 1);
	CHECK_STATUS(tdm_barrier_party_attach(&heir, span(), &next), TDM_OK);
	CHECK_STATUS(tdm_barrier_party_wait(&heir, TDM_NULL), TDM_BROKEN);
	CHECK_STATUS(tdm_barrier_party_wait(&party, TDM_NULL), TDM_BROKEN);
	CHECK_STATUS(tdm_barrier_party_reset(&heir), TDM_OK);
	be_no_more(&next, &heir);

	tap_case(
	    "robust: if it had, the other one takes over its arrival, and is in the next phase");
	child = child_at(comes_and_waits, 1);
	while (!has_arrived(&party, 1))
		child_sleep_ms(1);
	child_kill(child);
	CHECK_STATUS(tdm_segment_join(&segment, &next, "heir"), TDM_OK);
	CHECK_EQ_U64(next.index, 1);
	CHECK_STATUS(tdm_barrier_party_attach(&heir, span(), &next), TDM_OK);
	CHECK(has_arrived(&party, 1));
	CHECK_STATUS(tdm_barrier_party_wait(&party, &serial), TDM_OK);
	CHECK(serial);
	CHECK(!has_arrived(&party, 1));
	CHECK_STATUS(tdm_barrier_party_wait_until(&heir, soon(), TDM_NULL), TDM_TIMED_OUT);
	be_no_more(&next, &heir);

	tap_case("robust: abort breaks it, and a party that goes is waited for no longer");
	CHECK_STATUS(tdm_barrier_party_reset(&party), TDM_OK);
	CHECK_STATUS(tdm_barrier_party_abort(&party), TDM_OK);
	CHECK_STATUS(tdm_barrier_party_abort(&party), TDM_OK);
	CHECK_STATUS(tdm_barrier_party_wait(&party, TDM_NULL), TDM_BROKEN);
	CHECK_STATUS(tdm_barrier_party_reset(&party), TDM_OK);
	pid_t children[2];
	for (uint32_t i = 0; i < 2; i++) {
		children[i] = child_at(comes_and_waits, 1);
		while (!has_arrived(&party, i + 1))
			child_sleep_ms(1);
	}
	child_sleep_ms(20);
	CHECK_EQ_U64(tdm_load_relaxed_u32(STAGE), 1);
	be_no_more(&self, &party);
	CHECK(child_await_u32(STAGE, 3));
	for (uint32_t i = 0; i < 2; i++)
		child_kill(children[i]);

	tap_case("robust: with fewer parties than are needed a phase is not over");
	become(&self, &party);
	CHECK_STATUS(tdm_barrier_party_wait_until(&party, late(), TDM_NULL), TDM_BROKEN);
	CHECK_STATUS(tdm_barrier_party_reset(&party), TDM_OK);
	CHECK_STATUS(tdm_barrier_party_wait_until(&party, soon(), TDM_NULL), TDM_TIMED_OUT);
	be_no_more(&self, &party);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

static void uses_after_fork(void *party)
{
	struct tdm_barrier_party *inherited = TDM_CAST(struct tdm_barrier_party *, party);
	CHECK_STATUS(tdm_barrier_party_wait(inherited, TDM_NULL), TDM_FORKED);
	CHECK_STATUS(tdm_barrier_party_reset(inherited), TDM_FORKED);
	CHECK_STATUS(tdm_barrier_party_abort(inherited), TDM_FORKED);
	CHECK_STATUS(tdm_barrier_party_detach(inherited), TDM_FORKED);
}

static void test_fork(void)
{
	struct tdm_participant self;
	struct tdm_barrier_party party;
	tap_case("robust: a forked child is no party");
	make(1, 2);
	become(&self, &party);
	child_end(child_start(uses_after_fork, &party));
	CHECK_STATUS(tdm_barrier_party_wait(&party, TDM_NULL), TDM_OK);
	be_no_more(&self, &party);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

int main(void)
{
	barrier = TDM_CAST(struct tdm_barrier *, child_shared(sizeof(*barrier)));
	test_init();
	test_phases();
	test_breaking();
	test_processes();
	test_attaching();
	test_robust_phases();
	test_deaths();
	test_fork();
	return tap_done();
}
