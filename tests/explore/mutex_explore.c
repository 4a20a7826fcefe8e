// SPDX-License-Identifier: BSD-2-Clause
// lock/mutex.h and lock/owner.h under every schedule and every value that their loads may return,
// with a death at any access. Whoever holds the mutex writes plainly what only holders may touch,
// so that two at once, or one who does not see what the last one did, are data races. Unless a case
// says EXPLORE_TIME_PASSES, slices never end: a lost wake-up is a deadlock and not a delay.
#include "explore.h"

// Waiters who do not sleep rest once in each round. Of robust ones a round is not like the one
// before: these try again at once, and for all of them the clock goes on by itself.
static uint32_t rests;
static uint64_t spinning_ns(void);
#undef TDM_SEAM_SPINS
#define TDM_SEAM_SPINS rests
static void rest(void);
#undef TDM_SEAM_PAUSE
#define TDM_SEAM_PAUSE() rest()
#undef TDM_SEAM_NOW_NS
#define TDM_SEAM_NOW_NS() spinning_ns()

#include <tandem/lock/mutex.h>

#include "../support/broken/owner_take_over.h"

#define SEATS 4U
#define HELPER 3U // the participant who acts in finish

static struct segment {
	struct tdm_seats_shm head;
	struct tdm_seat_shm seats[SEATS];
	struct tdm_mutex mutex;
} * segment;
static struct tdm_mutex *mutex;
static struct tdm_participant participants[SEATS];
static struct tdm_seat_lock_ lock; // they say that they joined through it
static tdm_atomic_u32 unforked;

// What the mutex protects.
static unsigned data;   // sections that were gone through
static unsigned holder; // who is inside, + 1
static unsigned told;   // how often somebody heard of a death

static bool slices_end;         // although nobody died
static unsigned dead_before_us; // that hold it when the threads begin

// The accounts, by thread.
static unsigned begun[SEATS], done[SEATS];
static bool inside[SEATS];

// ---------------------------------------------------------------------------------------------
// Setups

static void sit(unsigned seat)
{
	struct tdm_participant *participant = &participants[seat];
	participant->unforked = &unforked;
	participant->table.base = (unsigned char *)segment;
	participant->table.bytes = sizeof(*segment);
	participant->table.head = &segment->head;
	participant->table.seats = segment->seats;
	participant->table.seat_count = SEATS;
	participant->table.probe_fd = 99;
	participant->generation = 1;
	participant->index = seat;
	participant->lock = &lock;
	tdm_store_relaxed_u64(&segment->seats[seat].generation, 1);
	tdm_store_relaxed_u32(&segment->seats[seat].dirty, 1);
	if (seat != HELPER)
		explore_seat_holder(seat, 100 + (int)seat, seat);
}

static void make(uint32_t flags)
{
	tdm_store_relaxed_u32(&tdm_backoff_cpus_, 2);
	tdm_store_relaxed_u32(&tdm_fence_state_, TDM_FENCE_UNKNOWN_);
	tdm_store_relaxed_u32(&unforked, 1);
	segment = explore_memory(sizeof(*segment));
	mutex = &segment->mutex;
	explore_name(segment->seats, sizeof(segment->seats), "seats");
	explore_name(mutex, sizeof(*mutex), "mutex");
	rests = (flags & TDM_MUTEX_SPIN) != 0;
	EXPLORE_CHECK(tdm_mutex_init(mutex, flags) == TDM_OK, "a mutex is made");
	for (unsigned seat = 0; (flags & TDM_MUTEX_ROBUST) != 0 && seat < SEATS; seat++)
		sit(seat);
}

static void plain(void)
{
	make(0);
}

static void plain_timed(void)
{
	make(0);
	slices_end = true;
}

static void robust_timed(void)
{
	make(TDM_MUTEX_ROBUST);
	slices_end = true;
}

static void plain_fenced(void)
{
	make(0);
	tdm_store_relaxed_u32(&mutex->freed.word, TDM_EVENT_FENCED_);
}

static void plain_spinning(void)
{
	make(TDM_MUTEX_SPIN);
}

static void robust(void)
{
	make(TDM_MUTEX_ROBUST);
}

static void robust_spinning(void)
{
	make(TDM_MUTEX_ROBUST | TDM_MUTEX_SPIN);
}

// Held by one who sat in a seat before.
static void left_by_the_dead(void)
{
	make(TDM_MUTEX_ROBUST);
	tdm_store_relaxed_u64(&mutex->owner, tdm_owner_pack_(HELPER, 0));
	dead_before_us = 1;
}

static void recursive(void)
{
	make(TDM_MUTEX_ROBUST | TDM_MUTEX_RECURSIVE);
}

// ---------------------------------------------------------------------------------------------
// Sections

static uint64_t clocks[EXPLORE_THREADS];

static uint64_t spinning_ns(void)
{
	return explore_now_ns() + (rests != 0 ? ++clocks[explore_thread()] : 0);
}

static struct tdm_participant *self(void)
{
	return participants[explore_thread()].lock != NULL ? &participants[explore_thread()] : NULL;
}

static void rest(void)
{
	if (self() == NULL)
		explore_await_change();
}

static unsigned deaths(void)
{
	unsigned dead = dead_before_us;
	for (unsigned i = 0; i < HELPER; i++)
		dead += explore_died(i);
	return dead;
}

// With the lock held: nobody else has it, and what all others did is seen.
static void enter(enum tdm_status status)
{
	unsigned me = explore_thread();
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

static void leave(void)
{
	holder = 0;
	inside[explore_thread()] = false;
}

static void section(enum tdm_status status)
{
	enter(status);
	if (status == TDM_OWNER_DIED)
		EXPLORE_CHECK(tdm_mutex_make_consistent(mutex, self()) == TDM_OK,
			      "it can be repaired");
	leave();
	EXPLORE_CHECK(tdm_mutex_unlock(mutex, self()) == TDM_OK, "its holder unlocks it");
	done[explore_thread()]++;
}

static void once(void)
{
	uint64_t begun_ns = explore_now_ns();
	enum tdm_status status = tdm_mutex_lock(mutex, self());
	EXPLORE_CHECK(deaths() != dead_before_us || slices_end || explore_now_ns() == begun_ns,
		      "the living keep nobody waiting");
	section(status);
}

static void twice(void)
{
	once();
	once();
}

static void timed(void)
{
	uint64_t deadline_ns = tdm_deadline_after_ns(TDM_EVENT_SLICE_NS_ / 2);
	enum tdm_status status = tdm_mutex_lock_until(mutex, self(), deadline_ns);
	if (status != TDM_TIMED_OUT)
		section(status);
	else
		EXPLORE_CHECK(tdm_now_ns() >= deadline_ns, "a time-out comes at the deadline");
}

static void try_it(void)
{
	enum tdm_status status = tdm_mutex_try_lock(mutex, self());
	if (status != TDM_BUSY)
		section(status);
}

// For who spins: two rounds.
static void soon(void)
{
	uint64_t deadline_ns = tdm_now_ns() + 2;
	enum tdm_status status = tdm_mutex_lock_until(mutex, self(), deadline_ns);
	if (status != TDM_TIMED_OUT)
		section(status);
	else
		EXPLORE_CHECK(tdm_now_ns() >= deadline_ns, "a time-out comes at the deadline");
}

static void late(void)
{
	bool dead = tdm_table_dead_(&self()->table, 0, 1) == TDM_OK;
	enum tdm_status status = tdm_mutex_lock_until(mutex, self(), 0);
	if (status != TDM_TIMED_OUT)
		section(status);
	else
		EXPLORE_CHECK(!dead, "the dead are no reason to time out");
}

// Locks it once more inside, and unlocks it as often.
static void again(void)
{
	enum tdm_status status = tdm_mutex_lock(mutex, self());
	enter(status);
	EXPLORE_CHECK(tdm_mutex_lock(mutex, self()) == TDM_OK, "its holder locks it again");
	EXPLORE_CHECK(tdm_load_relaxed_u32(&mutex->depth) == 1, "the dead's depth is forgotten");
	data++, begun[explore_thread()]++;
	EXPLORE_CHECK(tdm_mutex_unlock(mutex, self()) == TDM_OK, "it is unlocked as often");
	done[explore_thread()]++;
	if (status == TDM_OWNER_DIED)
		EXPLORE_CHECK(tdm_mutex_make_consistent(mutex, self()) == TDM_OK,
			      "it can be repaired");
	leave();
	EXPLORE_CHECK(tdm_mutex_unlock(mutex, self()) == TDM_OK, "its holder unlocks it");
	done[explore_thread()]++;
}

// Unlocks without repairing.
static void give_up(void)
{
	enum tdm_status status = tdm_mutex_lock(mutex, self());
	if (status == TDM_NOT_RECOVERABLE)
		return;
	enter(status);
	leave();
	EXPLORE_CHECK(tdm_mutex_unlock(mutex, self()) ==
			  (status == TDM_OK ? TDM_OK : TDM_NOT_RECOVERABLE),
		      "unrepaired it is lost");
	done[explore_thread()]++;
}

static void take_over_brokenly(void)
{
	enum tdm_status status = broken_take_over(&mutex->owner, tdm_owner_of_(self()), self());
	if (status != TDM_BUSY)
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
}

// Nobody holds it any more, and each death inside was told to one.
static void settled(void)
{
	count();
	unsigned within = 0;
	for (unsigned i = 0; i < HELPER; i++)
		within += explore_died(i) && inside[i];
	struct tdm_participant *helper =
	    participants[HELPER].lock != NULL ? &participants[HELPER] : NULL;
	enum tdm_status status = tdm_mutex_try_lock(mutex, helper);
	told += status == TDM_OWNER_DIED;
	EXPLORE_CHECK(status == TDM_OK || status == TDM_OWNER_DIED, "it is free at last");
	EXPLORE_CHECK(told >= within, "a death inside is told");
	EXPLORE_CHECK(told <= deaths(), "a death is told once");
}

// The same where it may have been lost: then nobody was told after that.
static void settled_or_lost(void)
{
	count();
	enum tdm_status status = tdm_mutex_try_lock(mutex, &participants[HELPER]);
	EXPLORE_CHECK(status != TDM_NOT_RECOVERABLE || told == 1, "what is lost stays lost");
	EXPLORE_CHECK(told <= deaths(), "a death is told once");
}

// ---------------------------------------------------------------------------------------------

static const struct explore_case cases[] = {
    {.name = "two threads, one of them twice",
     .setup = plain,
     .threads = {twice, once},
     .finish = settled},
    {.name = "two threads, twice each",
     .setup = plain,
     .threads = {twice, twice},
     .finish = settled,
     .random = 30000},
    {.name = "three threads",
     .setup = plain,
     .threads = {once, once, once},
     .finish = settled,
     .random = 30000},
    {.name = "three threads, one of them twice",
     .setup = plain,
     .threads = {twice, once, once},
     .finish = settled,
     .spurious = 1,
     .random = 30000},
    {.name = "three threads, twice each",
     .setup = plain,
     .threads = {twice, twice, twice},
     .finish = settled,
     .random = 30000},
    {.name = "fenced: two threads, one of them twice",
     .setup = plain_fenced,
     .threads = {twice, once},
     .finish = settled},
    {.name = "fenced: three threads",
     .setup = plain_fenced,
     .threads = {once, once, once},
     .finish = settled,
     .random = 30000},
    {.name = "one waits until a deadline",
     .setup = plain_timed,
     .threads = {twice, timed},
     .finish = settled,
     .timeouts = 1,
     .random = 30000},
    {.name = "one of three waits until a deadline",
     .setup = plain_timed,
     .threads = {twice, timed, once},
     .finish = settled,
     .timeouts = 1,
     .random = 30000},
    {.name = "one only tries",
     .setup = plain,
     .threads = {once, try_it, once},
     .finish = settled,
     .random = 30000},
    {.name = "two that spin",
     .setup = plain_spinning,
     .threads = {twice, twice},
     .finish = settled},
    {.name = "three that spin",
     .setup = plain_spinning,
     .threads = {once, once, once},
     .finish = settled},

    {.name = "robust: two threads", .setup = robust, .threads = {once, once}, .finish = settled},
    {.name = "robust: three threads",
     .setup = robust,
     .threads = {once, once, once},
     .finish = settled,
     .random = 30000},
    {.name = "one of two dies",
     .setup = robust,
     .threads = {once, once},
     .finish = settled,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "one of two dies, another waits until a deadline",
     .setup = robust_timed,
     .threads = {once, timed},
     .finish = settled,
     .can_die = 1,
     .deaths = 1,
     .timeouts = 1,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "one of two dies, the other one's deadline has passed",
     .setup = robust,
     .threads = {once, late},
     .finish = settled,
     .can_die = 1,
     .deaths = 1},
    {.name = "one of two dies, the other one only tries",
     .setup = robust,
     .threads = {once, try_it},
     .finish = settled,
     .can_die = 1,
     .deaths = 1},
    {.name = "two find one dead",
     .setup = robust,
     .threads = {once, try_it, try_it},
     .finish = settled,
     .can_die = 1,
     .deaths = 1,
     .random = 30000},
    {.name = "two wait for one that dies",
     .setup = robust,
     .threads = {once, once, once},
     .finish = settled,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES,
     .random = 50000},
    {.name = "any of three dies",
     .setup = robust,
     .threads = {twice, once, once},
     .finish = settled,
     .can_die = 7,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES,
     .random = 50000},
    {.name = "two of three die",
     .setup = robust,
     .threads = {once, once, twice},
     .finish = settled,
     .can_die = 3,
     .deaths = 2,
     .flags = EXPLORE_TIME_PASSES,
     .random = 50000},
    {.name = "one of two that spin dies",
     .setup = robust_spinning,
     .threads = {soon, soon},
     .finish = settled,
     .can_die = 1,
     .deaths = 1,
     .random = 30000},
    {.name = "two of three that spin die",
     .setup = robust_spinning,
     .threads = {soon, soon, soon},
     .finish = settled,
     .can_die = 3,
     .deaths = 2,
     .random = 30000},
    {.name = "locked again, and one dies",
     .setup = recursive,
     .threads = {again, again},
     .finish = settled,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "one dies, and who comes next gives it up",
     .setup = robust,
     .threads = {once, give_up},
     .finish = settled_or_lost,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "one dies, and either of two gives it up",
     .setup = robust,
     .threads = {once, give_up, give_up},
     .finish = settled_or_lost,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES,
     .random = 50000},
    {.name = "three come after a death",
     .setup = left_by_the_dead,
     .threads = {once, once, once},
     .finish = settled,
     .random = 30000},
    {.name = "three come after a death, and the first of them gives it up",
     .setup = left_by_the_dead,
     .threads = {give_up, give_up, give_up},
     .finish = settled_or_lost,
     .random = 30000},
    {.name = "two come after a death, and the first of them gives it up",
     .setup = left_by_the_dead,
     .threads = {give_up, give_up},
     .finish = settled_or_lost},

    {.name = "broken: taken over from the dead with a store",
     .setup = robust,
     .threads = {once, take_over_brokenly, take_over_brokenly},
     .can_die = 1,
     .deaths = 1,
     .expect = "data race on"},
};

int main(int argc, char **argv)
{
	return explore_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
