// SPDX-License-Identifier: BSD-2-Clause
// lock/robust_ticket.h under every schedule and every value that its loads may return, with a death
// at any access. Whoever holds the lock writes plainly what only holders may touch, so that two at
// once, or one who does not see what the last one did, are data races. Unless a case says
// EXPLORE_TIME_PASSES, slices never end: a lost wake-up is a deadlock and not a delay.
#include "explore.h"

// Who goes to sleep queues already: those who ask then must not come before it.
#undef TDM_SEAM_FUTEX_WAIT
#define TDM_SEAM_FUTEX_WAIT(word, expected, deadline_ns) fall_asleep(word, expected, deadline_ns)
#include <tandem/base/atomic.h>
#include <tandem/base/status.h>
static enum tdm_status fall_asleep(tdm_atomic_u32 *word, uint32_t expected, uint64_t deadline_ns);

#include <tandem/lock/robust_ticket.h>

#include "../support/broken/robust_ticket.h"

#define SEATS 4U
#define HELPER 3U // the participant who acts in finish

static struct segment {
	struct tdm_seats_shm head;
	struct tdm_seat_shm seats[SEATS];
	struct tdm_robust_ticket lock;
	struct tdm_robust_ticket_seat places[SEATS];
} * segment;
static struct tdm_robust_ticket *lock;
static struct tdm_participant participants[SEATS];
static struct tdm_seat_lock_ joined; // they say that they joined through it
static TDM_ALIGNAS(8) tdm_atomic_u32 unforked[2];

// What the lock protects.
static unsigned data;   // sections that were gone through
static unsigned holder; // who is inside, + 1
static unsigned told;   // how often somebody heard of a death

// The accounts, by thread.
static unsigned begun[SEATS], done[SEATS];
static bool inside[SEATS];

static bool watched;                 // is the order looked at?
static tdm_atomic_u64 asleep[SEATS]; // by thread: the ticket that it sleeps with

// ---------------------------------------------------------------------------------------------
// Setups

static void sit(unsigned seat)
{
	struct tdm_participant *participant = &participants[seat];
	participant->unforked = unforked;
	participant->table.base = (unsigned char *)segment;
	participant->table.bytes = sizeof(*segment);
	participant->table.head = &segment->head;
	participant->table.seats = segment->seats;
	participant->table.seat_count = SEATS;
	participant->table.probe_fd = 99;
	participant->generation = 2;
	participant->index = seat;
	participant->lock = &joined;
	tdm_store_relaxed_u64(&segment->seats[seat].generation, 2);
	tdm_store_relaxed_u32(&segment->seats[seat].dirty, 1);
	if (seat != HELPER)
		explore_seat_holder(seat, 100 + (int)seat, seat);
}

static void fresh(void)
{
	tdm_store_relaxed_u32(&tdm_backoff_cpus_, 2);
	explore_ignore(&tdm_backoff_cpus_, sizeof(tdm_backoff_cpus_));
	tdm_store_relaxed_u32(&tdm_fence_state_, TDM_FENCE_UNKNOWN_); // init registers
	explore_ignore(&tdm_fence_state_, sizeof(tdm_fence_state_));
	tdm_store_relaxed_u32(unforked, 1);
	explore_ignore(unforked, sizeof(unforked));
	segment = explore_memory(sizeof(*segment));
	lock = &segment->lock;
	explore_name(segment->seats, sizeof(segment->seats), "seats");
	explore_name(lock, sizeof(*lock), "lock");
	explore_name(segment->places, sizeof(segment->places), "places");
	explore_name(asleep, sizeof(asleep), "asleep");
	watched = false;
	data = holder = told = 0;
	for (unsigned i = 0; i < SEATS; i++) {
		begun[i] = done[i] = 0;
		inside[i] = false;
	}
	struct tdm_object object = tdm_robust_ticket_object("lock");
	object.seats = SEATS;
	EXPLORE_CHECK(object.init(tdm_memory(lock, object.size(&object)), &object) == TDM_OK,
		      "a lock is made");
	for (unsigned seat = 0; seat < SEATS; seat++)
		sit(seat);
}

static void fence_all(void)
{
	for (unsigned seat = 0; seat < SEATS; seat++)
		tdm_store_relaxed_u32(&segment->places[seat].turn.word, TDM_EVENT_FENCED_);
}

static void fenced(void)
{
	fresh();
	fence_all();
}

static void in_order(void)
{
	fresh();
	watched = true;
}

static void enter(enum tdm_status status, unsigned me);

// The first thread holds it already.
static void held(void)
{
	fresh();
	enter(tdm_robust_ticket_try_lock(lock, &participants[0]), 0);
}

static void held_fenced(void)
{
	held();
	fence_all();
}

static void held_in_order(void)
{
	held();
	watched = true;
}

// The first thread took it over and has not repaired.
static void held_unrepaired(void)
{
	fresh();
	tdm_store_relaxed_u64(&lock->owner,
			      tdm_owner_of_(&participants[0]) | TDM_OWNER_INCONSISTENT_);
}

// The seat of the second thread was that of another one, who died in the queue.
static void held_behind_the_dead(void)
{
	held();
	tdm_store_relaxed_u32(&lock->used, 2);
	tdm_store_relaxed_u64(&lock->drawn, 1);
	tdm_store_relaxed_u64(&segment->places[1].generation, 1);
	tdm_store_relaxed_u64(&segment->places[1].ticket, 1);
}

// ---------------------------------------------------------------------------------------------
// Sections

static struct tdm_participant *self(void)
{
	return &participants[explore_thread()];
}

static enum tdm_status fall_asleep(tdm_atomic_u32 *word, uint32_t expected, uint64_t deadline_ns)
{
	unsigned me = explore_thread();
	if (watched)
		tdm_store_release_u64(&asleep[me],
				      tdm_load_relaxed_u64(&segment->places[me].ticket));
	return (enum tdm_status)explore_futex_wait(word, expected, deadline_ns);
}

static unsigned deaths(void)
{
	unsigned dead = 0;
	for (unsigned i = 0; i < HELPER; i++)
		dead += explore_died(i);
	return dead;
}

// With the lock held: nobody else has it, and what all others did is seen.
static void enter(enum tdm_status status, unsigned me)
{
	if (status == TDM_OWNER_DIED) {
		EXPLORE_CHECK(holder == 0 || explore_died(holder - 1), "only the dead lose it");
		told++;
	} else {
		EXPLORE_CHECK(status == TDM_OK, "it can be locked");
		EXPLORE_CHECK(holder == 0, "the next is told of a holder that died");
	}
	inside[me] = true;
	holder = me + 1;
	begun[me]++;
	data++;
}

static void leave_by(enum tdm_status (*unlock)(struct tdm_robust_ticket *,
					       struct tdm_participant *))
{
	holder = 0;
	inside[explore_thread()] = false;
	EXPLORE_CHECK(unlock(lock, self()) == TDM_OK, "its holder unlocks it");
	done[explore_thread()]++;
}

static void leave(void)
{
	leave_by(tdm_robust_ticket_unlock);
}

static void section(enum tdm_status status)
{
	enter(status, explore_thread());
	if (status == TDM_OWNER_DIED)
		EXPLORE_CHECK(tdm_robust_ticket_make_consistent(lock, self()) == TDM_OK,
			      "it can be repaired");
	leave();
}

// Asks for it, and comes after those who slept in the queue before.
static void once(void)
{
	uint64_t before[SEATS] = {0};
	uint64_t begun_ns = tdm_now_ns();
	for (unsigned i = 0; watched && i < HELPER; i++)
		before[i] = i != explore_thread() ? tdm_load_acquire_u64(&asleep[i]) : 0;
	enum tdm_status status = tdm_robust_ticket_lock(lock, self());
	EXPLORE_CHECK(deaths() != 0 || tdm_now_ns() == begun_ns, "the living keep nobody waiting");
	for (unsigned i = 0; i < HELPER; i++)
		EXPLORE_CHECK(before[i] == 0 ||
				  tdm_load_relaxed_u64(&segment->places[i].ticket) != before[i],
			      "who slept before is served before");
	section(status);
}

// The same where slices may end.
static void in_time(void)
{
	section(tdm_robust_ticket_lock(lock, self()));
}

static void twice(void)
{
	once();
	once();
}

static void timed(void)
{
	uint64_t deadline_ns = tdm_deadline_after_ns(TDM_EVENT_SLICE_NS_ / 2);
	enum tdm_status status = tdm_robust_ticket_lock_until(lock, self(), deadline_ns);
	if (status != TDM_TIMED_OUT)
		section(status);
	else
		EXPLORE_CHECK(tdm_now_ns() >= deadline_ns, "a time-out comes at the deadline");
}

static void late(void)
{
	enum tdm_status status = tdm_robust_ticket_lock_until(lock, self(), 0);
	if (status != TDM_TIMED_OUT)
		section(status);
}

static void late_then_once(void)
{
	late();
	once();
}

static void try_it(void)
{
	enum tdm_status status = tdm_robust_ticket_try_lock(lock, self());
	if (status != TDM_BUSY)
		section(status);
}

// The first thread holds it from the beginning; who sees that the second one queues comes after it.
static bool sees_second(void)
{
	return (tdm_load_relaxed_u64(&lock->owner) & TDM_ROBUST_TICKET_QUEUED_) != 0;
}

static void after_second(void)
{
	bool queued = sees_second();
	enum tdm_status status = tdm_robust_ticket_lock(lock, self());
	EXPLORE_CHECK(!queued || begun[1] == 1, "who queues already is served before");
	section(status);
}

static void try_after_second(void)
{
	bool queued = sees_second();
	enum tdm_status status = tdm_robust_ticket_try_lock(lock, self());
	EXPLORE_CHECK(!queued || status == TDM_BUSY || begun[1] == 1,
		      "who only tries passes nobody over");
	if (status != TDM_BUSY)
		section(status);
}

// Takes QUEUED away as unlocking does, and then finds that somebody queues.
static void leave_in_steps(void)
{
	(void)tdm_fetch_and_acquire_u64(&lock->owner, ~TDM_ROBUST_TICKET_QUEUED_);
	tdm_fetch_or_release_u64(&lock->owner, TDM_ROBUST_TICKET_QUEUED_);
	leave();
}

// Unlocks without repairing.
static void give_up(void)
{
	enum tdm_status status = tdm_robust_ticket_lock(lock, self());
	if (status == TDM_NOT_RECOVERABLE)
		return;
	enter(status, explore_thread());
	holder = 0;
	inside[explore_thread()] = false;
	EXPLORE_CHECK(tdm_robust_ticket_unlock(lock, self()) ==
			  (status == TDM_OK ? TDM_OK : TDM_NOT_RECOVERABLE),
		      "unrepaired it is lost");
	done[explore_thread()]++;
}

static void lose(void)
{
	EXPLORE_CHECK(tdm_robust_ticket_unlock(lock, self()) == TDM_NOT_RECOVERABLE,
		      "unrepaired it is lost");
}

static void hear_of_loss(void)
{
	EXPLORE_CHECK(tdm_robust_ticket_lock(lock, self()) == TDM_NOT_RECOVERABLE,
		      "who queues hears that it is lost");
}

static enum tdm_status unlock_brokenly(struct tdm_robust_ticket *broken, struct tdm_participant *me)
{
	broken_robust_ticket_unlock(broken, me);
	return TDM_OK;
}

static void leave_brokenly(void)
{
	leave_by(unlock_brokenly);
}

static void timed_brokenly(void)
{
	uint64_t deadline_ns = tdm_deadline_after_ns(TDM_EVENT_SLICE_NS_ / 2);
	enum tdm_status status = broken_robust_ticket_lock_until(lock, self(), deadline_ns);
	if (status != TDM_TIMED_OUT)
		section(status);
}

// ---------------------------------------------------------------------------------------------
// Afterwards

static void count(void)
{
	unsigned least = 0, most = 0;
	for (unsigned i = 0; i < SEATS; i++) {
		least += done[i];
		most += begun[i];
	}
	EXPLORE_CHECK(least <= data && data <= most, "no section is lost");
	EXPLORE_CHECK(told <= deaths(), "a death is told once");
}

// Nobody holds it any more, and each death inside was told to one.
static void settled(void)
{
	count();
	unsigned within = 0;
	for (unsigned i = 0; i < HELPER; i++)
		within += explore_died(i) && inside[i];
	enum tdm_status status = tdm_robust_ticket_try_lock(lock, &participants[HELPER]);
	told += status == TDM_OWNER_DIED;
	EXPLORE_CHECK(status == TDM_OK || status == TDM_OWNER_DIED, "it is free at last");
	EXPLORE_CHECK(told >= within, "a death inside is told");
	EXPLORE_CHECK(told <= deaths(), "a death is told once");
}

// The same where it may have been lost: then nobody was told after that.
static void settled_or_lost(void)
{
	count();
	enum tdm_status status = tdm_robust_ticket_try_lock(lock, &participants[HELPER]);
	EXPLORE_CHECK(status != TDM_NOT_RECOVERABLE || told == 1, "what is lost stays lost");
}

// ---------------------------------------------------------------------------------------------

static const struct explore_case cases[] = {
    {.name = "one unlocks what another one queues for",
     .setup = held,
     .threads = {leave, once},
     .finish = settled},
    {.name = "one unlocks what two queue for",
     .setup = held,
     .threads = {leave, once, once},
     .finish = settled,
     .flags = EXPLORE_PARTIAL},
    {.name = "fenced: one unlocks what another one queues for",
     .setup = held_fenced,
     .threads = {leave, once},
     .finish = settled},
    {.name = "fenced: one unlocks what two queue for",
     .setup = held_fenced,
     .threads = {leave, once, once},
     .finish = settled,
     .random = 30000},
    {.name = "two threads", .setup = fresh, .threads = {once, once}, .finish = settled},
    {.name = "two threads, twice each",
     .setup = fresh,
     .threads = {twice, twice},
     .finish = settled,
     .random = 50000},
    {.name = "three threads, twice each",
     .setup = in_order,
     .threads = {twice, twice, twice},
     .finish = settled,
     .spurious = 1,
     .random = 30000},
    {.name = "fenced: two threads, twice each",
     .setup = fenced,
     .threads = {twice, twice},
     .finish = settled,
     .random = 30000},

    {.name = "who sees somebody queue comes after it",
     .setup = held,
     .threads = {leave, once, after_second},
     .finish = settled,
     .random = 50000},
    {.name = "who sees somebody queue and tries passes nobody over",
     .setup = held,
     .threads = {leave, once, try_after_second},
     .finish = settled,
     .flags = EXPLORE_PARTIAL},
    {.name = "who unlocks and asks again comes after those who sleep",
     .setup = held_in_order,
     .threads = {leave, once, twice},
     .finish = settled,
     .random = 30000},

    {.name = "one gives up while it is unlocked",
     .setup = held,
     .threads = {leave, timed},
     .finish = settled,
     .timeouts = 1},
    {.name = "the first of two in the queue gives up while it is unlocked",
     .setup = held,
     .threads = {leave, timed, in_time},
     .finish = settled,
     .timeouts = 1,
     .random = 50000},
    {.name = "fenced: the first of two in the queue gives up while it is unlocked",
     .setup = held_fenced,
     .threads = {leave, timed, in_time},
     .finish = settled,
     .timeouts = 1,
     .random = 50000},
    {.name = "one comes late and then in time",
     .setup = held,
     .threads = {leave, late_then_once},
     .finish = settled},
    {.name = "one comes late, another one queues",
     .setup = held_fenced,
     .threads = {leave, late, once},
     .finish = settled,
     .random = 50000},
    {.name = "one only tries", .setup = fresh, .threads = {once, try_it}, .finish = settled},

    {.name = "either of two dies",
     .setup = fresh,
     .threads = {once, once},
     .finish = settled,
     .can_die = 3,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES | EXPLORE_PARTIAL},
    {.name = "the holder dies, another one tries",
     .setup = held,
     .threads = {leave, try_it},
     .finish = settled,
     .can_die = 1,
     .deaths = 1},
    {.name = "the holder dies, another one comes late",
     .setup = held,
     .threads = {leave, late},
     .finish = settled,
     .can_die = 1,
     .deaths = 1},
    {.name = "the holder dies, another one waits until a deadline",
     .setup = held,
     .threads = {leave, timed},
     .finish = settled,
     .can_die = 1,
     .deaths = 1,
     .timeouts = 1,
     .flags = EXPLORE_TIME_PASSES | EXPLORE_PARTIAL},
    {.name = "the holder dies, two find out",
     .setup = held,
     .threads = {leave, try_it, try_it},
     .finish = settled,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_PARTIAL},
    {.name = "two queue, and any of three dies",
     .setup = held,
     .threads = {leave, once, once},
     .finish = settled,
     .can_die = 7,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES,
     .random = 50000},
    {.name = "two of three die",
     .setup = fresh,
     .threads = {once, once, twice},
     .finish = settled,
     .can_die = 3,
     .deaths = 2,
     .flags = EXPLORE_TIME_PASSES,
     .random = 50000},
    {.name = "one in the queue dies, and those behind it come in order",
     .setup = held_in_order,
     .threads = {leave, once, twice},
     .finish = settled,
     .can_die = 2,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES,
     .random = 50000},
    {.name = "the holder dies after it took QUEUED away, and the queue keeps its order",
     .setup = held_in_order,
     .threads = {leave_in_steps, twice, once},
     .finish = settled,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES,
     .random = 50000},
    {.name = "one queues in the seat of another one, who died in the queue",
     .setup = held_behind_the_dead,
     .threads = {leave, in_time, in_time},
     .finish = settled,
     .flags = EXPLORE_TIME_PASSES,
     .random = 30000},
    {.name = "the holder dies, and who comes next gives it up",
     .setup = held,
     .threads = {leave, give_up},
     .finish = settled_or_lost,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES | EXPLORE_PARTIAL},
    {.name = "the holder dies, and either of two gives it up",
     .setup = held,
     .threads = {leave, give_up, give_up},
     .finish = settled_or_lost,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES,
     .random = 50000},
    {.name = "it is lost while another one queues",
     .setup = held_unrepaired,
     .threads = {lose, hear_of_loss}},

    {.name = "broken: QUEUED taken away without looking again",
     .setup = held,
     .threads = {leave_brokenly, once},
     .expect = "deadlock"},
    {.name = "broken: who gives up wakes nobody",
     .setup = held,
     .threads = {leave, timed_brokenly, in_time},
     .timeouts = 1,
     .random = 50000,
     .expect = "deadlock"},
};

int main(int argc, char **argv)
{
	return explore_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
