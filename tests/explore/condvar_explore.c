// SPDX-License-Identifier: BSD-2-Clause
// sync/condvar.h under every schedule: nobody sleeps through a signal, whoever dies. Slices do not
// end unless a case says EXPLORE_TIME_PASSES, so that a lost wake-up is a deadlock.
#include "explore.h"

#include <tandem/sync/condvar.h>

#include "../support/broken/condvar.h"

#define SEATS 4U
#define HELPER 3U

static struct segment {
	struct tdm_seats_shm head;
	struct tdm_seat_shm seats[SEATS];
	struct tdm_mutex mutex;
	struct tdm_condvar not_empty, not_full;
} * segment;
static struct tdm_participant participants[SEATS];
static struct tdm_seat_lock_ lock;
static tdm_atomic_u32 unforked;

static unsigned count; // elements in a buffer of one; under the mutex
static bool closed;

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
	explore_name(&segment->mutex, sizeof(segment->mutex), "mutex");
	explore_name(&segment->not_empty, sizeof(segment->not_empty), "not_empty");
	explore_name(&segment->not_full, sizeof(segment->not_full), "not_full");
	EXPLORE_CHECK(tdm_mutex_init(&segment->mutex, flags) == TDM_OK, "a mutex is made");
	tdm_condvar_init(&segment->not_empty);
	tdm_condvar_init(&segment->not_full);
	for (unsigned seat = 0; (flags & TDM_MUTEX_ROBUST) != 0 && seat < SEATS; seat++)
		sit(seat);
}

static void plain(void)
{
	make(0);
}

// The next signal but one is one that wakes all.
static void plain_near_all(void)
{
	make(0);
	tdm_store_relaxed_u32(&segment->not_empty.word, TDM_CONDVAR_ALL_ - TDM_CONDVAR_EPOCH_);
}

static void robust(void)
{
	make(TDM_MUTEX_ROBUST);
}

// ---------------------------------------------------------------------------------------------
// Threads

static struct tdm_participant *self(void)
{
	return participants[explore_thread()].lock != NULL ? &participants[explore_thread()] : NULL;
}

static void repaired(enum tdm_status status)
{
	if (status == TDM_OWNER_DIED)
		status = tdm_mutex_make_consistent(&segment->mutex, self());
	EXPLORE_CHECK(status == TDM_OK, "the mutex is held");
}

static void enter(void)
{
	repaired(tdm_mutex_lock(&segment->mutex, self()));
}

static void leave(void)
{
	EXPLORE_CHECK(tdm_mutex_unlock(&segment->mutex, self()) == TDM_OK, "it is unlocked");
}

static void await(struct tdm_condvar *condvar)
{
	repaired(tdm_condvar_wait(condvar, &segment->mutex, self()));
}

static void put(void)
{
	enter();
	while (count == 1)
		await(&segment->not_full);
	count++;
	tdm_condvar_signal(&segment->not_empty);
	leave();
}

// Signals when it has unlocked.
static void put_then_signal(void)
{
	enter();
	while (count == 1)
		await(&segment->not_full);
	count++;
	leave();
	tdm_condvar_signal(&segment->not_empty);
}

static void put_twice(void)
{
	put();
	put_then_signal();
}

static void get(void)
{
	enter();
	while (count == 0)
		await(&segment->not_empty);
	count--;
	tdm_condvar_signal(&segment->not_full);
	leave();
}

static void get_twice(void)
{
	get();
	get();
}

// Only takes part in it, and is not missed.
static void get_in_time(void)
{
	uint64_t deadline_ns = tdm_deadline_after_ns(TDM_EVENT_SLICE_NS_ / 2);
	enum tdm_status status = TDM_OK;
	enter();
	while (count == 0 && status == TDM_OK)
		status = tdm_condvar_wait_until(&segment->not_empty, &segment->mutex, self(),
						deadline_ns);
	EXPLORE_CHECK(status == TDM_OK || status == TDM_TIMED_OUT, "it is woken or in time");
	EXPLORE_CHECK(status == TDM_OK || tdm_now_ns() >= deadline_ns,
		      "a time-out comes at the deadline");
	if (count != 0) {
		count--;
		tdm_condvar_signal(&segment->not_full);
	}
	leave();
}

static void close_it(void)
{
	enter();
	closed = true;
	leave();
	tdm_condvar_broadcast(&segment->not_empty);
}

static void signal_once(void)
{
	enter();
	closed = true;
	tdm_condvar_signal(&segment->not_empty);
	leave();
}

static void wait_until_closed(void)
{
	enter();
	while (!closed)
		await(&segment->not_empty);
	leave();
}

// The first thread may die before anybody hears of what it has changed.
static void wait_for_the_dead(void)
{
	enter();
	while (!closed && !explore_died(0))
		await(&segment->not_empty);
	leave();
}

static void pass_on(void)
{
	wait_until_closed();
	tdm_condvar_signal(&segment->not_empty);
}

static void unlock_then_announce(void)
{
	enter();
	while (!closed)
		repaired(broken_condvar_announces_late(&segment->not_empty, &segment->mutex));
	leave();
}

static void signal_first(void)
{
	enter();
	closed = true;
	broken_condvar_wakes_first(&segment->not_empty);
	leave();
}

// ---------------------------------------------------------------------------------------------

static const struct explore_case cases[] = {
    {.name = "one waits, another signals",
     .setup = plain,
     .threads = {wait_until_closed, signal_once}},
    {.name = "one waits, another signals, and wakes for no reason",
     .setup = plain,
     .threads = {wait_until_closed, signal_once},
     .spurious = 1,
     .random = 30000},
    {.name = "one waits, another broadcasts",
     .setup = plain,
     .threads = {wait_until_closed, close_it}},
    {.name = "two wait, another broadcasts",
     .setup = plain,
     .threads = {wait_until_closed, wait_until_closed, close_it},
     .random = 30000},
    {.name = "two wait, one is signalled and signals the other",
     .setup = plain,
     .threads = {pass_on, pass_on, signal_once},
     .random = 30000},
    {.name = "the same about where all are woken",
     .setup = plain_near_all,
     .threads = {pass_on, pass_on, signal_once},
     .random = 30000},
    {.name = "a buffer of one", .setup = plain, .threads = {put_twice, get_twice}, .random = 30000},
    {.name = "a buffer of one, two put, and two get",
     .setup = plain,
     .threads = {put, put_then_signal, get, get},
     .random = 50000},
    {.name = "a buffer of one, one puts twice, and two get",
     .setup = plain_near_all,
     .threads = {put_twice, get, get},
     .random = 50000},
    {.name = "one of two who get has a deadline",
     .setup = plain,
     .threads = {put_twice, get, get_in_time},
     .timeouts = 1,
     .random = 50000},
    {.name = "robust: a buffer of one",
     .setup = robust,
     .threads = {put_then_signal, get},
     .random = 30000},
    {.name = "who closes dies",
     .setup = robust,
     .threads = {close_it, wait_until_closed, signal_once},
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES,
     .random = 50000},
    {.name = "who closes dies, and nobody else does it",
     .setup = robust,
     .threads = {close_it, wait_for_the_dead},
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES,
     .random = 50000},
    {.name = "one of two who wait dies",
     .setup = robust,
     .threads = {wait_until_closed, wait_until_closed, signal_once},
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES,
     .random = 50000},

    {.name = "broken: unlocks, then says that it waits",
     .setup = plain,
     .threads = {unlock_then_announce, signal_once},
     .expect = "deadlock"},
    {.name = "broken: wakes, then moves the epoch on",
     .setup = plain,
     .threads = {wait_until_closed, signal_first},
     .expect = "deadlock"},
};

int main(int argc, char **argv)
{
	return explore_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
