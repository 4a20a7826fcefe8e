// SPDX-License-Identifier: BSD-2-Clause
// Death at every instruction of queueing for a robust ticket lock, locking, unlocking and repairing
// it: alone, beside the living, with a queue behind, after the dead, and a second death on what the
// first left. Whoever comes next gets the lock in its turn; it is told of a death inside, and of no
// other.
#include <stdint.h>

#include <tandem/base/atomic.h>
#include <tandem/base/status.h>

// Not 0: the victim's own clock, which moves when it sleeps and so does not depend on how fast it
// is stepped.
static uint64_t victims_ns;
static enum tdm_status seam_wait(tdm_atomic_u32 *word, uint32_t expected, uint64_t deadline_ns);
#define TDM_SEAM_NOW_NS() (victims_ns != 0 ? victims_ns : tdm_clock_now_())
#define TDM_SEAM_FUTEX_WAIT(word, expected, deadline_ns) seam_wait(word, expected, deadline_ns)

#include <tandem/lock/robust_ticket.h>
#include <tandem/shm/segment.h>

#include "../support/broken/owner_late.h"
#include "../support/process.h"
#include "crash.h"

#define SEATS 8U
#define WAITERS 2U
#define PATIENCE_NS UINT64_C(20000000000)

// In the segment: what victims and waiters tell.
struct scene {
	tdm_atomic_u32 held;     // the victim says that it holds it
	tdm_atomic_u32 unlocked; // and here, that it does no more
	tdm_atomic_u32 asked;    // so many waiters may queue
	tdm_atomic_u32 served;   // so many were
	tdm_atomic_u32 deaths;   // so often they were told of one
	tdm_atomic_u32 lost;     // so many were told that it is lost
	tdm_atomic_u32 order[WAITERS];
};

static struct tdm_segment segment;
static struct tdm_participant keeper; // this process's
static struct tdm_robust_ticket *lock;
static struct scene *scene;
static pid_t waiters[WAITERS];
static const uint64_t queued = TDM_ROBUST_TICKET_QUEUED_;

static enum tdm_status seam_wait(tdm_atomic_u32 *word, uint32_t expected, uint64_t deadline_ns)
{
	if (victims_ns == 0)
		return tdm_futex_wait_kernel_(word, expected, deadline_ns);
	victims_ns = deadline_ns;
	return tdm_futex_wait_kernel_(word, expected, 1); // which has passed
}

static bool told(const tdm_atomic_u32 *what)
{
	return tdm_load_acquire_u32(what) != 0;
}

static bool is_held(enum tdm_status status)
{
	return status == TDM_OK || status == TDM_OWNER_DIED;
}

static struct tdm_robust_ticket_seat *place(uint32_t seat)
{
	return tdm_robust_ticket_seat_(lock, seat);
}

// --- setups ---

static void *make_free(void)
{
	struct tdm_segment_options options = {.sealed = true, .seats = SEATS};
	struct tdm_object objects[] = {
	    tdm_bytes_object("scene", sizeof(struct scene), TDM_CACHE_LINE, NULL),
	    tdm_robust_ticket_object("lock"),
	};
	memset(waiters, 0, sizeof(waiters));
	if (tdm_segment_create(&segment, objects, 2, &options) != TDM_OK ||
	    tdm_segment_join(&segment, &keeper, "keeper") != TDM_OK ||
	    tdm_robust_ticket_attach(&lock, tdm_segment_find(&segment, "lock"), &keeper) != TDM_OK)
		abort();
	scene = tdm_segment_find(&segment, "scene").base;
	return scene;
}

// Free, but somebody has queued who is gone.
static void *make_queued_for(void)
{
	void *made = make_free();
	tdm_store_relaxed_u64(&lock->owner, queued);
	return made;
}

// Held by one who has died, as has the one who queued for it.
static void *make_left(void)
{
	void *made = make_free();
	tdm_store_relaxed_u64(&lock->owner, tdm_owner_pack_(SEATS - 1, 0) | queued);
	tdm_store_relaxed_u64(&lock->drawn, 1);
	tdm_store_relaxed_u32(&lock->used, SEATS - 1);
	tdm_store_relaxed_u64(&place(SEATS - 2)->ticket, 1);
	return made;
}

// Held by one who lives.
static void *make_held(void)
{
	void *made = make_free();
	if (tdm_robust_ticket_lock(lock, &keeper) != TDM_OK)
		abort();
	return made;
}

// The same, and somebody died in the queue on the seat that the victim gets.
static void *make_held_behind_the_dead(void)
{
	void *made = make_held();
	tdm_store_relaxed_u64(&lock->owner, tdm_owner_of_(&keeper) | queued);
	tdm_store_relaxed_u64(&lock->drawn, 1);
	tdm_store_relaxed_u32(&lock->used, 2);
	tdm_store_relaxed_u64(&place(1)->ticket, 1);
	return made;
}

static void wait_for_it(void *number)
{
	struct tdm_participant self;
	uint32_t me = *(const uint32_t *)number;
	if (tdm_segment_join(&segment, &self, "waiter") != TDM_OK)
		abort();
	while (tdm_load_acquire_u32(&scene->asked) <= me)
		pause_ms(1);
	enum tdm_status status =
	    tdm_robust_ticket_lock_until(lock, &self, tdm_deadline_after_ns(PATIENCE_NS));
	if (status == TDM_NOT_RECOVERABLE) {
		tdm_fetch_add_relaxed_u32(&scene->lost, 1);
		return;
	}
	if (status == TDM_OWNER_DIED) {
		tdm_fetch_add_relaxed_u32(&scene->deaths, 1);
		status = tdm_robust_ticket_make_consistent(lock, &self);
	}
	tdm_store_relaxed_u32(&scene->order[tdm_fetch_add_relaxed_u32(&scene->served, 1)], me);
	CHECK_STATUS(status, TDM_OK);
	CHECK_STATUS(tdm_robust_ticket_unlock(lock, &self), TDM_OK);
}

static void start_waiters(void)
{
	static uint32_t numbers[WAITERS];
	for (uint32_t i = 0; i < WAITERS; i++) {
		numbers[i] = i;
		waiters[i] = process_start(wait_for_it, &numbers[i]);
	}
}

// Some queue behind the victim by the time that its last moment comes.
static void *make_awaited(void)
{
	void *made = make_free();
	start_waiters();
	return made;
}

static void *make_left_awaited(void)
{
	void *made = make_left();
	start_waiters();
	return made;
}

static void drop(void *unused)
{
	(void)unused;
	for (uint32_t i = 0; i < WAITERS; i++)
		process_kill(waiters[i]);
	if (tdm_participant_leave(&keeper) != TDM_OK || tdm_segment_close(&segment) != TDM_OK)
		abort();
}

// --- victims ---

static void join(struct tdm_participant *self)
{
	if (tdm_segment_join(&segment, self, "victim") != TDM_OK)
		_exit(1);
}

static void says(enum tdm_status status)
{
	if (is_held(status))
		tdm_store_release_u32(&scene->held, 1);
}

static void locks(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	join(&self);
	crash_begin();
	says(tdm_robust_ticket_lock(lock, &self));
	crash_end();
}

static void tries(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	join(&self);
	crash_begin();
	says(tdm_robust_ticket_try_lock(lock, &self));
	crash_end();
}

static void waits(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	join(&self);
	victims_ns = 1;
	uint64_t deadline_ns = tdm_deadline_after_ns(TDM_EVENT_SLICE_NS_ + 1); // it sleeps twice
	crash_begin();
	says(tdm_robust_ticket_lock_until(lock, &self, deadline_ns));
	crash_end();
}

static void locks_brokenly(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	join(&self);
	crash_begin();
	says(broken_claim(&lock->owner, tdm_owner_of_(&self)) ? TDM_OK : TDM_BUSY);
	crash_end();
}

// How many queue with a ticket newer than `since`, and where it is asked for, are about to sleep.
static uint32_t queue_length(uint64_t since, bool sleeping)
{
	uint32_t length = 0;
	for (uint32_t seat = 0; seat < SEATS; seat++)
		length += tdm_load_acquire_u64(&place(seat)->ticket) > since &&
			  (!sleeping ||
			   (tdm_load_relaxed_u32(&place(seat)->turn.word) & TDM_EVENT_ARMED_) != 0);
	return length;
}

// Locks at full speed, in whatever state it is, and lets the waiters queue one after the other.
static void come_in(struct tdm_participant *self, bool repair)
{
	join(self);
	enum tdm_status status = tdm_robust_ticket_lock(lock, self);
	if (status == TDM_OWNER_DIED && repair)
		status = tdm_robust_ticket_make_consistent(lock, self);
	if (status != (repair ? TDM_OK : TDM_OWNER_DIED))
		_exit(1);
	tdm_store_release_u32(&scene->held, 1);
	for (uint32_t i = 0; i < WAITERS && waiters[i] != 0; i++) {
		tdm_store_release_u32(&scene->asked, i + 1);
		while (queue_length(0, true) <= i)
			pause_ms(1);
	}
	if (waiters[0] != 0)
		pause_ms(2);
}

static void unlocks(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	come_in(&self, true);
	crash_begin();
	if (tdm_robust_ticket_unlock(lock, &self) == TDM_OK)
		tdm_store_release_u32(&scene->unlocked, 1);
	crash_end();
}

static void gives_up(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	come_in(&self, false);
	crash_begin();
	if (tdm_robust_ticket_unlock(lock, &self) == TDM_NOT_RECOVERABLE)
		tdm_store_release_u32(&scene->unlocked, 1);
	crash_end();
}

static void repairs(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	come_in(&self, false);
	crash_begin();
	if (tdm_robust_ticket_make_consistent(lock, &self) != TDM_OK)
		_exit(1);
	crash_end();
}

// The whole of it: locks, repairs where needed, unlocks.
static void goes_through(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	join(&self);
	tdm_store_release_u32(&scene->unlocked, 0);
	crash_begin();
	enum tdm_status status = tdm_robust_ticket_lock(lock, &self);
	if (status == TDM_OWNER_DIED)
		status = tdm_robust_ticket_make_consistent(lock, &self);
	if (status != TDM_OK || tdm_robust_ticket_unlock(lock, &self) != TDM_OK)
		_exit(1);
	tdm_store_release_u32(&scene->unlocked, 1);
	crash_end();
}

// --- what survivors find ---

// With the lock held and as it should be: it works as a new one does.
static const char *works_on(void)
{
	struct tdm_participant other;
	if (tdm_robust_ticket_unlock(lock, &keeper) != TDM_OK)
		return "it cannot be unlocked";
	if (tdm_robust_ticket_lock(lock, &keeper) != TDM_OK)
		return "it cannot be locked again, or a death is told twice";
	if (tdm_segment_join(&segment, &other, "other") != TDM_OK)
		return "nobody can join";
	if (tdm_robust_ticket_try_lock(lock, &other) != TDM_BUSY)
		return "it has two holders";
	if (tdm_robust_ticket_unlock(lock, &keeper) != TDM_OK ||
	    tdm_robust_ticket_try_lock(lock, &other) != TDM_OK ||
	    tdm_robust_ticket_unlock(lock, &other) != TDM_OK)
		return "it does not go from one to the next";
	if (tdm_load_relaxed_u64(&lock->owner) != TDM_OWNER_FREE_)
		return "it does not forget that somebody queued";
	if (tdm_participant_leave(&other) != TDM_OK)
		return "nobody can leave";
	return NULL;
}

// The next one gets it at once, and is told of a death or not.
static const char *next_is_told(bool may_be_free, bool may_have_died)
{
	enum tdm_status status = tdm_robust_ticket_try_lock(lock, &keeper);
	if (!is_held(status))
		return "it cannot be locked";
	if (status == TDM_OK && !may_be_free)
		return "a death inside is not told";
	if (status == TDM_OWNER_DIED && !may_have_died)
		return "a death is told that was none";
	if (status == TDM_OWNER_DIED && tdm_robust_ticket_make_consistent(lock, &keeper) != TDM_OK)
		return "it cannot be repaired";
	return works_on();
}

static const char *audit_locking(void *unused, bool completed)
{
	(void)unused;
	bool held = told(&scene->held);
	if (completed && !held)
		return "a free one was not locked";
	return next_is_told(!held, completed || crash_now_[0] != 0);
}

static const char *audit_taking_over(void *unused, bool completed)
{
	(void)unused;
	if (completed && !told(&scene->held))
		return "it was not taken over";
	return next_is_told(false, true);
}

static const char *audit_unlocking(void *unused, bool completed)
{
	(void)unused;
	(void)completed;
	bool unlocked = told(&scene->unlocked);
	return next_is_told(unlocked || crash_now_[0] != 0, !unlocked);
}

// Whoever queues for what the keeper holds leaves nothing that stops anybody.
static const char *audit_waiting(void *unused, bool completed)
{
	(void)unused;
	(void)completed;
	return told(&scene->held) ? "it has two holders" : works_on();
}

static const char *audit_giving_up(void *unused, bool completed)
{
	(void)unused;
	(void)completed;
	enum tdm_status status = tdm_robust_ticket_try_lock(lock, &keeper);
	if (status == TDM_OWNER_DIED && !told(&scene->unlocked))
		return tdm_robust_ticket_make_consistent(lock, &keeper) == TDM_OK
			   ? works_on()
			   : "it cannot be repaired";
	return status == TDM_NOT_RECOVERABLE ? NULL : "what is lost can be locked";
}

static const char *waiters_are_done(void)
{
	const char *complaint = NULL;
	for (uint32_t i = 0; i < WAITERS; i++) {
		if (!process_ended_well(waiters[i]))
			complaint = "a waiter came to no good end";
		waiters[i] = 0;
	}
	return complaint;
}

// All who queued are served in their order, and one is told of the death, if it was inside.
static const char *audit_queue(void *unused, bool completed)
{
	static uint32_t unlocked_at; // the first point at which no death was told
	(void)unused;
	const char *complaint = waiters_are_done();
	if (complaint != NULL)
		return complaint;
	uint32_t deaths = tdm_load_relaxed_u32(&scene->deaths);
	if (tdm_load_relaxed_u32(&scene->served) != WAITERS)
		return "not all were served";
	for (uint32_t i = 0; i < WAITERS; i++)
		if (tdm_load_relaxed_u32(&scene->order[i]) != i)
			return "they were not served in their order";
	if (deaths > 1)
		return "a death is told twice";
	if (deaths == 1 && (completed || told(&scene->unlocked)))
		return "a death is told that was none";
	if (completed || crash_now_[0] == 0)
		unlocked_at = UINT32_MAX;
	else if (deaths == 0 && unlocked_at == UINT32_MAX)
		unlocked_at = crash_now_[0];
	if (deaths == 1 && crash_now_[0] >= unlocked_at)
		return "a death is told at a point after one where it is not";
	if (deaths == 0 && !completed && crash_now_[0] == 0)
		return "a death inside is not told";
	return next_is_told(true, false);
}

static const char *audit_queue_of_the_lost(void *unused, bool completed)
{
	(void)unused;
	const char *complaint = waiters_are_done();
	if (complaint != NULL)
		return complaint;
	uint32_t deaths = tdm_load_relaxed_u32(&scene->deaths);
	uint32_t lost = tdm_load_relaxed_u32(&scene->lost);
	if (lost == WAITERS && deaths == 0)
		return audit_giving_up(NULL, completed);
	if (lost == 0 && deaths == 1 && !completed && !told(&scene->unlocked))
		return next_is_told(true, false);
	return "who queues is not told that it is lost";
}

static const char *audit_pair(void *unused, bool completed)
{
	(void)unused;
	bool unlocked = completed && told(&scene->unlocked);
	return next_is_told(true, !unlocked);
}

// Beside one who is stopped on its way into the queue, on the seat of another one who died there:
// the dead one's ticket is not the stopped one's.
static const char *audit_beside(void *unused, bool completed)
{
	(void)unused;
	(void)completed;
	if (tdm_robust_ticket_unlock(lock, &keeper) != TDM_OK)
		return "it cannot be unlocked";
	bool queues = queue_length(1, false) != 0;
	enum tdm_status status = tdm_robust_ticket_try_lock(lock, &keeper);
	if (status != TDM_OK && !(queues && status == TDM_BUSY))
		return "who does not queue holds up others";
	if (status == TDM_OK && tdm_robust_ticket_unlock(lock, &keeper) != TDM_OK)
		return "it cannot be unlocked again";
	return NULL;
}

static const char *audit_resumed(void *unused)
{
	(void)unused;
	return NULL;
}

int main(void)
{
	static const struct crash_case singles[] = {
	    {"lock", make_free, locks, NULL, audit_locking, drop},
	    {"try_lock", make_free, tries, NULL, audit_locking, drop},
	    {"lock what was queued for", make_queued_for, locks, NULL, audit_locking, drop},
	    {"try_lock what was queued for", make_queued_for, tries, NULL, audit_locking, drop},
	    {"unlock", make_free, unlocks, NULL, audit_unlocking, drop},
	    {"unlock what was queued for", make_queued_for, unlocks, NULL, audit_unlocking, drop},
	    {"try_lock beside a holder", make_held, tries, NULL, audit_waiting, drop},
	    {"lock beside a holder", make_held, waits, NULL, audit_waiting, drop},
	    {"try_lock after the dead", make_left, tries, NULL, audit_taking_over, drop},
	    {"lock after the dead", make_left, locks, NULL, audit_taking_over, drop},
	    {"make_consistent", make_left, repairs, NULL, audit_taking_over, drop},
	    {"unlock, repaired", make_left, unlocks, NULL, audit_unlocking, drop},
	    {"unlock, not repaired", make_left, gives_up, NULL, audit_giving_up, drop},
	};
	// For those who sleep a tenth of a second for each death.
	static const struct crash_case awaited[] = {
	    {"unlock for a queue", make_awaited, unlocks, NULL, audit_queue, drop},
	    {"give up before a queue", make_left_awaited, gives_up, NULL, audit_queue_of_the_lost,
	     drop},
	};
	static const struct crash_case pairs[] = {
	    {"whole, whole", make_free, goes_through, goes_through, audit_pair, drop},
	    {"whole, whole, after the dead", make_left, goes_through, goes_through, audit_pair,
	     drop},
	};
	if (!crash_available())
		tap_skip_all("no single-stepping here");
	tdm_store_relaxed_u32(&tdm_backoff_cpus_, 1); // all yield at once
	bool soak = getenv("TANDEM_SOAK") != NULL;
	uint64_t kills = 0;
	tap_case("whoever comes after a death at any instruction gets the lock, and is told");
	for (size_t i = 0; i < sizeof(singles) / sizeof(singles[0]); i++)
		kills += crash_must_hold(&singles[i], 1, 1);
	tap_case("those who queue meanwhile are served in their order");
	for (size_t i = 0; i < sizeof(awaited) / sizeof(awaited[0]); i++)
		kills += crash_must_hold(&awaited[i], 1, 1);
	tap_case("a second death on what the first one left makes no difference");
	kills += crash_must_hold(&pairs[0], soak ? 1 : 5, soak ? 1 : 9);
	kills += crash_must_hold(&pairs[1], soak ? 3 : 29, soak ? 3 : 31);
	tap_note("%" PRIu64 " kills", kills);

	tap_case("who is stopped on the seat of one who died in the queue does not bring it back");
	static const struct crash_case beside = {
	    "stop: lock", make_held_behind_the_dead, waits, NULL, audit_beside, drop};
	(void)crash_must_hold_stopped(&beside, audit_resumed, 1);

	tap_case("a lock that is claimed first, and says later whose it is, is caught");
	static const struct crash_case late = {"broken lock", make_free,     locks_brokenly,
					       NULL,          audit_locking, drop};
	crash_must_fail(&late, 1, "it cannot be locked");
	return tap_done();
}
