// SPDX-License-Identifier: BSD-2-Clause
// sync/barrier.h: nobody is let through before all have arrived, nobody sleeps through the end of a
// phase, all who arrived agree on how it ended, and what each did before is seen by each after;
// with time-outs, aborts, resets, and for the robust one with a death at any access.
#include "explore.h"

#include <string.h>

#include <tandem/sync/barrier.h>

#include "../support/broken/barrier.h"

#define SEATS 4U
#define HELPER 3U // the participant who acts in finish
#define PHASES 4U

static struct tdm_barrier *plain;
static struct segment {
	struct tdm_seats_shm head;
	struct tdm_seat_shm seats[SEATS];
	unsigned char barrier[sizeof(struct tdm_barrier_shm) + 8 * SEATS];
} * segment;
static struct tdm_span span;
static struct tdm_participant participants[SEATS];
static struct tdm_seat_lock_ lock; // they say that they joined through it
static tdm_atomic_u32 unforked;
static struct tdm_barrier_party parties[SEATS];

static unsigned wanted;                      // parties
static int written[PHASES][EXPLORE_THREADS]; // before the thread arrived for the how manieth time
static enum tdm_status ends[EXPLORE_THREADS][PHASES]; // how that ended
static unsigned rounds[EXPLORE_THREADS];              // that have ended
static unsigned serials[EXPLORE_THREADS];

static bool ok(enum tdm_status status)
{
	return status == TDM_OK;
}

// ---------------------------------------------------------------------------------------------
// Setups

static void begin(unsigned count)
{
	(void)tdm_backoff_alone_(); // asks the kernel, once
	explore_ignore(&tdm_backoff_cpus_, sizeof(tdm_backoff_cpus_));
	tdm_store_relaxed_u32(&tdm_fence_state_, TDM_FENCE_UNKNOWN_); // init registers
	explore_ignore(&tdm_fence_state_, sizeof(tdm_fence_state_));
	wanted = count;
	plain = explore_memory(sizeof(*plain));
	explore_name(plain, sizeof(*plain), "barrier");
	EXPLORE_CHECK(ok(tdm_barrier_init(plain, count)), "a barrier is made");
}

static void one(void)
{
	begin(1);
}

static void two(void)
{
	begin(2);
}

static void three(void)
{
	begin(3);
}

static void about_to_wrap(void)
{
	begin(2);
	tdm_store_relaxed_u64(&plain->state, UINT64_C(0xffffffff) << 32);
}

static void sit(unsigned seat, uint64_t generation)
{
	struct tdm_participant *participant = &participants[seat];
	participant->unforked = &unforked;
	participant->table.base = (unsigned char *)segment;
	participant->table.bytes = sizeof(*segment);
	participant->table.head = &segment->head;
	participant->table.seats = segment->seats;
	participant->table.seat_count = SEATS;
	participant->table.probe_fd = 99;
	participant->generation = generation;
	participant->index = seat;
	participant->lock = &lock;
	tdm_store_relaxed_u64(&segment->seats[seat].generation, generation);
	tdm_store_relaxed_u32(&segment->seats[seat].dirty, 1);
}

static void attach(unsigned seat)
{
	EXPLORE_CHECK(ok(tdm_barrier_party_attach(&parties[seat], span, &participants[seat])),
		      "a party attaches");
}

static void robust(unsigned count, unsigned attached)
{
	begin(count);
	tdm_store_relaxed_u32(&unforked, 1);
	explore_ignore(&unforked, sizeof(unforked));
	segment = explore_memory(sizeof(*segment));
	explore_name(segment->seats, sizeof(segment->seats), "seats");
	explore_name(segment->barrier, sizeof(segment->barrier), "barrier");
	span = tdm_memory(segment->barrier, sizeof(segment->barrier));
	struct tdm_object object = tdm_barrier_object("", count);
	object.seats = SEATS;
	EXPLORE_CHECK(ok(tdm_barrier_object_init_(span, &object)), "a barrier is made");
	for (unsigned seat = 0; seat < SEATS; seat++) {
		sit(seat, 1);
		if (seat != HELPER)
			explore_seat_holder(seat, 100 + (int)seat, seat);
	}
	for (unsigned seat = 0; seat < attached; seat++)
		attach(seat);
}

static void robust_two(void)
{
	robust(2, 2);
}

static void robust_three(void)
{
	robust(3, 3);
}

static void robust_two_of_three(void)
{
	robust(2, 3);
}

static void robust_third_comes(void)
{
	robust(2, 2);
}

static void robust_one_of_two(void)
{
	robust(1, 2);
}

static void robust_second_comes(void)
{
	robust(1, 1);
}

static void fence(void)
{
	struct tdm_barrier_shm *shm = (struct tdm_barrier_shm *)(void *)segment->barrier;
	tdm_store_relaxed_u32(&shm->changed.word, TDM_EVENT_FENCED_);
}

static void robust_two_fenced(void)
{
	robust(2, 2);
	fence();
}

static void robust_one_of_two_fenced(void)
{
	robust(1, 2);
	fence();
}

// Thread 1 has not joined yet, although it has the seat's lock byte.
static void robust_one_joined(void)
{
	robust(2, 1);
}

static void robust_broken_one_joined(void)
{
	robust(1, 1);
	EXPLORE_CHECK(ok(tdm_barrier_party_abort(&parties[0])), "it is broken");
}

// Numbers wrap around.
static void robust_wraps(void)
{
	robust(2, 0);
	struct tdm_barrier_shm *shm = (struct tdm_barrier_shm *)(void *)segment->barrier;
	tdm_store_relaxed_u64(&shm->state, TDM_BARRIER_NUMBER_ << TDM_BARRIER_NUMBER_SHIFT_ |
					       TDM_BARRIER_NUMBER_ << TDM_BARRIER_COMPLETED_SHIFT_ |
					       TDM_BARRIER_JOINS_);
	attach(0);
	attach(1);
}

// ---------------------------------------------------------------------------------------------
// Operations, with accounts

static void ended(enum tdm_status status, bool serial, bool all)
{
	unsigned self = explore_thread();
	unsigned round = rounds[self];
	EXPLORE_CHECK(ok(status) || !serial, "who completes a phase is told so");
	ends[self][round] = status;
	serials[self] += serial;
	rounds[self]++;
	for (unsigned i = 0; ok(status) && all && i < wanted; i++)
		EXPLORE_CHECK(written[round][i] == 1,
			      "all have arrived, and what they did is seen");
}

static enum tdm_status wait_until(uint64_t deadline_ns)
{
	bool serial = false;
	written[rounds[explore_thread()]][explore_thread()] = 1;
	enum tdm_status status = tdm_barrier_wait_until(plain, deadline_ns, &serial);
	ended(status, serial, true);
	return status;
}

static enum tdm_status party_wait_until(uint64_t deadline_ns, bool all)
{
	bool serial = false;
	written[rounds[explore_thread()]][explore_thread()] = 1;
	enum tdm_status status =
	    tdm_barrier_party_wait_until(&parties[explore_thread()], deadline_ns, &serial);
	ended(status, serial, all);
	return status;
}

static bool is_end(enum tdm_status status)
{
	return ok(status) || status == TDM_BROKEN || status == TDM_TIMED_OUT;
}

static uint64_t soon(void)
{
	return tdm_deadline_after_ns(TDM_EVENT_SLICE_NS_ / 2);
}

// ---------------------------------------------------------------------------------------------
// Threads

static void wait(void)
{
	EXPLORE_CHECK(ok(wait_until(TDM_FOREVER)), "all arrive");
}

static void wait_twice(void)
{
	wait();
	wait();
}

static void wait_thrice(void)
{
	wait_twice();
	wait();
}

static void wait_soon(void)
{
	EXPLORE_CHECK(is_end(wait_until(soon())), "it ends");
}

static void wait_if_whole(void)
{
	EXPLORE_CHECK(is_end(wait_until(TDM_FOREVER)), "it ends");
}

static void abort_it(void)
{
	EXPLORE_CHECK(ok(tdm_barrier_abort(plain)), "anybody can break it");
}

// Whoever finds it broken resets it.
static void wait_soon_and_reset(void)
{
	if (!ok(wait_until(soon())))
		EXPLORE_CHECK(ok(tdm_barrier_reset(plain)), "it is reset");
}

// Breaks a phase that thread 0 is inside of, resets it, and takes over what that one did before.
static void abort_reset_and_see(void)
{
	explore_await_begin();
	while ((tdm_load_relaxed_u64(&plain->state) & TDM_BARRIER_INSIDE_) == 0)
		explore_await_change();
	abort_it();
	EXPLORE_CHECK(ok(tdm_barrier_reset(plain)), "it is reset");
	EXPLORE_CHECK(written[0][0] == 1, "what was done before is seen");
}

static void broken_waits(void)
{
	written[0][explore_thread()] = 1;
	ended(broken_barrier_wait(plain), false, true);
}

static void broken_waits_soon(void)
{
	if (!ok(broken_barrier_wait_until(plain, soon())))
		ended(TDM_TIMED_OUT, false, false);
}

static void abort_and_reset_brokenly(void)
{
	EXPLORE_CHECK(ok(tdm_barrier_abort(plain)), "anybody can break it");
	broken_barrier_reset(plain);
}

// --- robust ---

static void party_wait(void)
{
	EXPLORE_CHECK(ok(party_wait_until(TDM_FOREVER, true)), "all arrive");
}

static void party_wait_twice(void)
{
	party_wait();
	party_wait();
}

// Where somebody may be dead, gone, or give up.
static void party_wait_if_whole(void)
{
	EXPLORE_CHECK(is_end(party_wait_until(TDM_FOREVER, true)), "it ends");
}

static void party_wait_any(void)
{
	EXPLORE_CHECK(is_end(party_wait_until(soon(), false)), "it ends");
}

static void party_wait_soon(void)
{
	EXPLORE_CHECK(is_end(party_wait_until(soon(), true)), "it ends");
}

// Whoever is left goes on after a death.
static void party_goes_on(void)
{
	while (!ok(party_wait_until(TDM_FOREVER, false)))
		EXPLORE_CHECK(ok(tdm_barrier_party_reset(&parties[explore_thread()])),
			      "it is reset");
}

static void party_detaches(void)
{
	serials[explore_thread()]++; // it may complete a phase, and is not told
	EXPLORE_CHECK(ok(tdm_barrier_party_detach(&parties[explore_thread()])), "a party goes");
}

static void party_writes_and_detaches(void)
{
	written[0][explore_thread()] = 1;
	party_detaches();
}

// Nobody else arrives: one has to go.
static void party_wait_for_going(void)
{
	EXPLORE_CHECK(ok(party_wait_until(TDM_FOREVER, true)), "who goes is not waited for");
	EXPLORE_CHECK(written[0][1] == 1, "what was done before going is seen");
}

// As joining does it: the seat moves on, and only then its holder is seen.
static void join_and_attach(void)
{
	struct tdm_participant *self = &participants[explore_thread()];
	self->generation =
	    tdm_fetch_add_release_u64(&segment->seats[self->index].generation, 1) + 1;
	attach(explore_thread());
}

static void party_joins_and_waits(void)
{
	join_and_attach();
	party_wait();
}

static void party_resets(void)
{
	EXPLORE_CHECK(ok(tdm_barrier_party_reset(&parties[explore_thread()])), "it is reset");
}

static void party_aborts(void)
{
	EXPLORE_CHECK(ok(tdm_barrier_party_abort(&parties[explore_thread()])), "it is broken");
}

static void party_aborts_and_resets(void)
{
	party_aborts();
	EXPLORE_CHECK(ok(tdm_barrier_party_reset(&parties[explore_thread()])), "it is reset");
}

// Who comes while a phase is under way holds it up: it arrives in that one.
static void party_comes(void)
{
	struct tdm_barrier_party *party = &parties[explore_thread()];
	attach(explore_thread());
	bool first = tdm_barrier_number_(tdm_load_relaxed_u64(&party->shm->state)) == 0;
	EXPLORE_CHECK(is_end(tdm_barrier_party_wait_until(party, soon(), NULL)), "it ends");
	uint64_t word = tdm_load_relaxed_u64(&party->words[explore_thread()]);
	EXPLORE_CHECK(!first || tdm_barrier_arrived_(word, 0),
		      "nobody passes who was not waited for");
}

static void broken_party_waits(void)
{
	written[0][explore_thread()] = 1;
	ended(broken_barrier_party_wait(&parties[explore_thread()]), false, true);
}

static void party_asks_brokenly(void)
{
	enum tdm_status status = broken_barrier_party_ask(&parties[explore_thread()]);
	struct tdm_barrier_shm *shm = parties[explore_thread()].shm;
	uint64_t word = tdm_load_acquire_u64(&parties[explore_thread()].words[0]);
	EXPLORE_CHECK(
	    status != TDM_BUSY ||
		!tdm_barrier_arrived_(word, tdm_barrier_number_(tdm_load_relaxed_u64(&shm->state))),
	    "who has arrived counts");
}

// ---------------------------------------------------------------------------------------------
// Afterwards

// In each phase, all who came to its end were told the same; and one of them that it was the one
// to complete it, unless that one died.
static void all_agree(void)
{
	unsigned completed = 0, serial = 0, dead = 0, gone = 0;
	for (unsigned round = 0; round < PHASES; round++) {
		unsigned good = 0, bad = 0;
		for (unsigned i = 0; i < EXPLORE_THREADS; i++) {
			if (rounds[i] <= round)
				continue;
			good += ok(ends[i][round]);
			bad += !ok(ends[i][round]);
		}
		EXPLORE_CHECK(good == 0 || bad == 0, "all agree on how a phase ended");
		completed += good > 0;
	}
	for (unsigned i = 0; i < EXPLORE_THREADS; i++) {
		serial += serials[i];
		dead += explore_died(i);
		gone += rounds[i] == 0 && serials[i] != 0;
	}
	EXPLORE_CHECK(serial <= completed + gone && serial + dead >= completed,
		      "one completes each phase");
}

static void usable_again(void)
{
	all_agree();
	EXPLORE_CHECK(ok(tdm_barrier_reset_until(plain, 0)), "nobody is inside any more");
	EXPLORE_CHECK((tdm_load_relaxed_u64(&plain->state) & UINT32_MAX) == 0, "it is whole");
}

// The helper, for whom nobody waits, clears away the dead, and the living find a whole barrier.
static void robust_again(void)
{
	all_agree();
	attach(HELPER);
	(void)tdm_barrier_party_abort(&parties[HELPER]);
	EXPLORE_CHECK(ok(tdm_barrier_party_reset(&parties[HELPER])), "it is reset");
	for (unsigned i = 0; i < HELPER; i++) {
		uint64_t word = tdm_load_relaxed_u64(&parties[HELPER].words[i]);
		EXPLORE_CHECK(!explore_died(i) || word == 0, "the dead are no parties");
		EXPLORE_CHECK(explore_died(i) || parties[i].shm == NULL || word != 0,
			      "the living still are");
	}
	EXPLORE_CHECK(ok(tdm_barrier_party_detach(&parties[HELPER])) &&
			  participants[HELPER].attached == 0,
		      "the helper goes");
}

// Thread 0 may have died: it is its word that counts.
static void arrived_counts(void)
{
	bool arrived = tdm_barrier_arrived_(tdm_load_relaxed_u64(&parties[1].words[0]), 0);
	for (unsigned i = 1; i < wanted; i++)
		EXPLORE_CHECK(ok(ends[i][0]) == arrived, "who has arrived counts, and nobody else");
	robust_again();
}

// ---------------------------------------------------------------------------------------------

static const struct explore_case cases[] = {
    {.name = "one party needs nobody", .setup = one, .threads = {wait_twice}, .finish = all_agree},
    {.name = "two parties, one phase",
     .setup = two,
     .threads = {wait, wait},
     .finish = usable_again,
     .spurious = 1},
    {.name = "two parties, two phases",
     .setup = two,
     .threads = {wait_twice, wait_twice},
     .finish = usable_again},
    {.name = "two parties, three phases",
     .setup = about_to_wrap,
     .threads = {wait_thrice, wait_thrice},
     .finish = usable_again,
     .random = 50000},
    {.name = "three parties, one phase",
     .setup = three,
     .threads = {wait, wait, wait},
     .finish = usable_again,
     .random = 50000},
    {.name = "three parties, two phases",
     .setup = three,
     .threads = {wait_twice, wait_twice, wait_twice},
     .finish = usable_again,
     .random = 30000},
    {.name = "one of two parties has a deadline",
     .setup = two,
     .threads = {wait_soon, wait_if_whole},
     .finish = usable_again,
     .timeouts = 1},
    {.name = "both parties have a deadline",
     .setup = two,
     .threads = {wait_soon, wait_soon},
     .finish = usable_again,
     .timeouts = 1},
    {.name = "one of three parties has a deadline",
     .setup = three,
     .threads = {wait_soon, wait_if_whole, wait_if_whole},
     .finish = usable_again,
     .timeouts = 1,
     .random = 50000},
    {.name = "somebody breaks it",
     .setup = two,
     .threads = {wait_if_whole, wait_if_whole, abort_it},
     .finish = usable_again},
    {.name = "somebody breaks it, and resets it",
     .setup = two,
     .threads = {wait_if_whole, abort_reset_and_see},
     .finish = usable_again},
    {.name = "whoever finds it broken resets it",
     .setup = two,
     .threads = {wait_soon_and_reset, wait_soon_and_reset},
     .finish = usable_again,
     .timeouts = 1,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "broken: reset while somebody has not noticed",
     .setup = two,
     .threads = {wait_if_whole, abort_and_reset_brokenly},
     .expect = "deadlock: thread"},
    {.name = "broken: two arrive as one",
     .setup = two,
     .threads = {broken_waits, broken_waits},
     .expect = "deadlock: thread"},
    {.name = "broken: who goes at the deadline stays counted",
     .setup = two,
     .threads = {broken_waits_soon, wait},
     .timeouts = 1,
     .expect = "all have arrived, and what they did is seen"},

    {.name = "robust: two parties, one phase",
     .setup = robust_two,
     .threads = {party_wait, party_wait},
     .finish = robust_again},
    {.name = "robust: two parties, two phases",
     .setup = robust_wraps,
     .threads = {party_wait_twice, party_wait_twice},
     .finish = robust_again,
     .random = 50000},
    {.name = "robust: three parties, one phase",
     .setup = robust_three,
     .threads = {party_wait, party_wait, party_wait},
     .finish = robust_again,
     .random = 50000},
    {.name = "robust: one of two parties has a deadline",
     .setup = robust_two,
     .threads = {party_wait_soon, party_wait_if_whole},
     .finish = robust_again,
     .timeouts = 1},
    {.name = "robust: one of two parties dies",
     .setup = robust_two,
     .threads = {party_wait_if_whole, party_wait_if_whole},
     .finish = arrived_counts,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "robust: one of three parties dies",
     .setup = robust_three,
     .threads = {party_wait_if_whole, party_wait_if_whole, party_wait_if_whole},
     .finish = arrived_counts,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES,
     .random = 50000},
    {.name = "robust: one dies, and the other two go on",
     .setup = robust_two_of_three,
     .threads = {party_wait_if_whole, party_goes_on, party_goes_on},
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES,
     .random = 50000},
    {.name = "robust: one of three goes away",
     .setup = robust_two_of_three,
     .threads = {party_wait, party_wait, party_detaches},
     .finish = robust_again,
     .random = 50000},
    {.name = "robust: one of three goes away, and may die",
     .setup = robust_two_of_three,
     .threads = {party_wait_if_whole, party_wait_if_whole, party_detaches},
     .finish = robust_again,
     .can_die = 4,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES,
     .random = 50000},
    {.name = "robust: somebody breaks it, and resets it",
     .setup = robust_two_of_three,
     .threads = {party_wait_any, party_aborts_and_resets},
     .finish = all_agree,
     .can_die = 2,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "robust: a third one comes",
     .setup = robust_third_comes,
     .threads = {party_wait_if_whole, party_wait_if_whole, party_comes},
     .flags = EXPLORE_TIME_PASSES,
     .random = 100000},
    {.name = "robust: a second one comes",
     .setup = robust_second_comes,
     .threads = {party_wait_if_whole, party_comes},
     .flags = EXPLORE_TIME_PASSES},
    {.name = "robust: who has just joined is alive",
     .setup = robust_one_joined,
     .threads = {party_wait, party_joins_and_waits}},
    {.name = "robust: who has just joined is alive for who resets",
     .setup = robust_broken_one_joined,
     .threads = {party_resets, join_and_attach},
     .finish = robust_again},
    {.name = "robust: fenced: two parties, one phase",
     .setup = robust_two_fenced,
     .threads = {party_wait, party_wait},
     .finish = robust_again},
    {.name = "robust: one goes away",
     .setup = robust_one_of_two,
     .threads = {party_wait_for_going, party_writes_and_detaches},
     .finish = robust_again},
    {.name = "robust: fenced: one goes away",
     .setup = robust_one_of_two_fenced,
     .threads = {party_wait_for_going, party_writes_and_detaches},
     .finish = robust_again},
    {.name = "broken: robust: no read-modify-write before the look",
     .setup = robust_two,
     .threads = {broken_party_waits, broken_party_waits},
     .expect = "deadlock: thread"},
    {.name = "broken: robust: a death by a word that was read before",
     .setup = robust_two,
     .threads = {party_wait_any, party_asks_brokenly},
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES,
     .expect = "who has arrived counts"},
};

int main(int argc, char **argv)
{
	return explore_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
