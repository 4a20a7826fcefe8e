// SPDX-License-Identifier: BSD-2-Clause
// Death at every instruction of locking, unlocking and repairing a robust mutex, alone, beside the
// living and after the dead, and a second death on what the first left. Whoever comes next gets
// the mutex at once; it is told of a death inside, and of no other.
#include <tandem/lock/mutex.h>
#include <tandem/shm/segment.h>

#include "../support/broken/owner_late.h"
#include "../support/process.h"
#include "crash.h"

#define SEATS 8U
#define PATIENCE_NS UINT64_C(20000000000)

// In the segment: the mutex, and what victims and waiters tell.
struct scene {
	TDM_ALIGNAS(TDM_CACHE_LINE) struct tdm_mutex mutex;
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u32 held; // it says that it holds it
	tdm_atomic_u32 unlocked;                         // and here, that it does no more
	tdm_atomic_u32 repaired;
	tdm_atomic_u32 waits;  // the waiter may begin
	tdm_atomic_u32 answer; // what it was told, + 1
};

static struct tdm_segment segment;
static struct tdm_participant keeper; // this process's
static struct scene *scene;
static pid_t waiter;

// --- setups ---

static void *make(uint32_t flags)
{
	struct tdm_segment_options options = {.sealed = true, .seats = SEATS};
	struct tdm_object object =
	    tdm_bytes_object("scene", sizeof(struct scene), TDM_CACHE_LINE, NULL);
	waiter = 0;
	if (tdm_segment_create(&segment, &object, 1, &options) != TDM_OK ||
	    tdm_segment_join(&segment, &keeper, "keeper") != TDM_OK)
		abort();
	scene = tdm_segment_find(&segment, "scene").base;
	if (tdm_mutex_init(&scene->mutex, flags | TDM_MUTEX_ROBUST) != TDM_OK)
		abort();
	return scene;
}

static void *make_free(void)
{
	return make(0);
}

static void *make_recursive(void)
{
	return make(TDM_MUTEX_RECURSIVE);
}

static void *make_spinning(void)
{
	return make(TDM_MUTEX_SPIN);
}

// Held by one who has died.
static void *make_left(void)
{
	void *made = make(0);
	tdm_store_relaxed_u64(&scene->mutex.owner, tdm_owner_pack_(SEATS - 1, 0));
	tdm_store_relaxed_u32(&scene->mutex.depth, 3);
	return made;
}

// Held by one who lives.
static void *make_held(void)
{
	void *made = make(0);
	if (tdm_mutex_lock(&scene->mutex, &keeper) != TDM_OK)
		abort();
	return made;
}

static void *make_held_spinning(void)
{
	void *made = make(TDM_MUTEX_SPIN);
	if (tdm_mutex_lock(&scene->mutex, &keeper) != TDM_OK)
		abort();
	return made;
}

static void wait_for_it(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	if (tdm_segment_join(&segment, &self, "waiter") != TDM_OK)
		abort();
	while (tdm_load_acquire_u32(&scene->waits) == 0)
		pause_ms(1);
	enum tdm_status status =
	    tdm_mutex_lock_until(&scene->mutex, &self, tdm_deadline_after_ns(PATIENCE_NS));
	tdm_store_release_u32(&scene->answer, (uint32_t)status + 1);
	if (status == TDM_OWNER_DIED)
		status = tdm_mutex_make_consistent(&scene->mutex, &self);
	if (status == TDM_OK)
		status = tdm_mutex_unlock(&scene->mutex, &self);
	CHECK(status == TDM_OK || status == TDM_NOT_RECOVERABLE);
}

// Somebody sleeps on it by the time that the victim's last moment comes.
static void *make_awaited(void)
{
	void *made = make(0);
	waiter = process_start(wait_for_it, NULL);
	return made;
}

static void *make_left_awaited(void)
{
	void *made = make_left();
	waiter = process_start(wait_for_it, NULL);
	return made;
}

static void drop(void *unused)
{
	(void)unused;
	if (waiter != 0)
		process_kill(waiter);
	if (tdm_participant_leave(&keeper) != TDM_OK || tdm_segment_close(&segment) != TDM_OK)
		abort();
}

// --- victims ---

static void join(struct tdm_participant *self)
{
	if (tdm_segment_join(&segment, self, "victim") != TDM_OK)
		_exit(1);
}

static bool is_held(enum tdm_status status)
{
	return status == TDM_OK || status == TDM_OWNER_DIED;
}

static void locks(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	join(&self);
	crash_begin();
	if (is_held(tdm_mutex_lock(&scene->mutex, &self)))
		tdm_store_release_u32(&scene->held, 1);
	crash_end();
}

static void tries(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	join(&self);
	crash_begin();
	if (is_held(tdm_mutex_try_lock(&scene->mutex, &self)))
		tdm_store_release_u32(&scene->held, 1);
	crash_end();
}

static void waits(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	join(&self);
	uint64_t deadline_ns = tdm_deadline_after_ns(2000000);
	crash_begin();
	if (is_held(tdm_mutex_lock_until(&scene->mutex, &self, deadline_ns)))
		tdm_store_release_u32(&scene->held, 1);
	crash_end();
}

static void locks_brokenly(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	join(&self);
	crash_begin();
	if (broken_claim(&scene->mutex.owner, tdm_owner_of_(&self)))
		tdm_store_release_u32(&scene->held, 1);
	crash_end();
}

// Locks at full speed, in whatever state it is, and lets the waiter fall asleep.
static void come_in(struct tdm_participant *self, bool repair)
{
	join(self);
	enum tdm_status status = tdm_mutex_lock(&scene->mutex, self);
	if (status == TDM_OWNER_DIED && repair)
		status = tdm_mutex_make_consistent(&scene->mutex, self);
	if (status != (repair ? TDM_OK : TDM_OWNER_DIED))
		_exit(1);
	tdm_store_release_u32(&scene->held, 1);
	if (waiter == 0)
		return;
	tdm_store_release_u32(&scene->waits, 1);
	while ((tdm_load_acquire_u32(&scene->mutex.freed.word) & TDM_EVENT_ARMED_) == 0)
		pause_ms(1);
	pause_ms(1);
}

static void unlocks(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	come_in(&self, true);
	crash_begin();
	if (tdm_mutex_unlock(&scene->mutex, &self) == TDM_OK)
		tdm_store_release_u32(&scene->unlocked, 1);
	crash_end();
}

static void gives_up(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	come_in(&self, false);
	crash_begin();
	if (tdm_mutex_unlock(&scene->mutex, &self) == TDM_NOT_RECOVERABLE)
		tdm_store_release_u32(&scene->unlocked, 1);
	crash_end();
}

static void repairs(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	come_in(&self, false);
	crash_begin();
	if (tdm_mutex_make_consistent(&scene->mutex, &self) == TDM_OK)
		tdm_store_release_u32(&scene->repaired, 1);
	crash_end();
}

static void locks_again(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	come_in(&self, true);
	crash_begin();
	if (tdm_mutex_lock(&scene->mutex, &self) != TDM_OK ||
	    tdm_mutex_unlock(&scene->mutex, &self) != TDM_OK)
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
	enum tdm_status status = tdm_mutex_lock(&scene->mutex, &self);
	if (status == TDM_OWNER_DIED)
		status = tdm_mutex_make_consistent(&scene->mutex, &self);
	if (status != TDM_OK || tdm_mutex_unlock(&scene->mutex, &self) != TDM_OK)
		_exit(1);
	tdm_store_release_u32(&scene->unlocked, 1);
	crash_end();
}

// --- what survivors find ---

static bool told(const tdm_atomic_u32 *what)
{
	return tdm_load_acquire_u32(what) != 0;
}

// With the mutex held and as it should be: it works as a new one does, also in depth.
static const char *works_on(void)
{
	struct tdm_mutex *mutex = &scene->mutex;
	bool recursive = (tdm_load_relaxed_u32(&mutex->flags) & TDM_MUTEX_RECURSIVE) != 0;
	struct tdm_participant other;
	if (tdm_mutex_unlock(mutex, &keeper) != TDM_OK)
		return "it cannot be unlocked";
	if (tdm_mutex_lock(mutex, &keeper) != TDM_OK)
		return "it cannot be locked again, or a death is told twice";
	if (recursive && (tdm_mutex_lock(mutex, &keeper) != TDM_OK ||
			  tdm_mutex_unlock(mutex, &keeper) != TDM_OK))
		return "it cannot be locked in depth";
	if (tdm_segment_join(&segment, &other, "other") != TDM_OK)
		return "nobody can join";
	if (tdm_mutex_try_lock(mutex, &other) != TDM_BUSY)
		return "it has two holders";
	if (tdm_mutex_unlock(mutex, &keeper) != TDM_OK ||
	    tdm_mutex_try_lock(mutex, &other) != TDM_OK ||
	    tdm_mutex_unlock(mutex, &other) != TDM_OK)
		return "it does not go from one to the next";
	if (tdm_participant_leave(&other) != TDM_OK)
		return "nobody can leave";
	return NULL;
}

// The next one gets it at once, and is told of a death or not.
static const char *next_is_told(bool may_be_free, bool may_have_died)
{
	enum tdm_status status = tdm_mutex_try_lock(&scene->mutex, &keeper);
	if (!is_held(status))
		return "it cannot be locked";
	if (status == TDM_OK && !may_be_free)
		return "a death inside is not told";
	if (status == TDM_OWNER_DIED && !may_have_died)
		return "a death is told that was none";
	if (status == TDM_OWNER_DIED && tdm_mutex_make_consistent(&scene->mutex, &keeper) != TDM_OK)
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

// Whoever wants what the keeper holds leaves nothing.
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
	enum tdm_status status = tdm_mutex_try_lock(&scene->mutex, &keeper);
	if (status == TDM_OWNER_DIED && !told(&scene->unlocked))
		return tdm_mutex_make_consistent(&scene->mutex, &keeper) == TDM_OK
			   ? works_on()
			   : "it cannot be repaired";
	if (status != TDM_NOT_RECOVERABLE)
		return "what is lost can be locked";
	if (tdm_mutex_init(&scene->mutex, TDM_MUTEX_ROBUST) != TDM_OK)
		return "it cannot be made again";
	return next_is_told(true, false);
}

static const char *audit_depth(void *unused, bool completed)
{
	(void)unused;
	(void)completed;
	return next_is_told(false, true);
}

// Who slept gets it, too, and is told what the next one would have been.
static const char *waiter_is_told(void)
{
	if (!process_ended_well(waiter))
		return "the waiter came to no good end";
	waiter = 0;
	return NULL;
}

static const char *audit_waking(void *unused, bool completed)
{
	(void)unused;
	(void)completed;
	const char *complaint = waiter_is_told();
	if (complaint != NULL)
		return complaint;
	enum tdm_status answer = (enum tdm_status)(tdm_load_acquire_u32(&scene->answer) - 1);
	if (!is_held(answer))
		return "who slept does not get it";
	if (answer == TDM_OWNER_DIED && told(&scene->unlocked))
		return "a death is told that was none";
	return next_is_told(true, false);
}

static const char *audit_waking_all(void *unused, bool completed)
{
	(void)unused;
	(void)completed;
	const char *complaint = waiter_is_told();
	if (complaint != NULL)
		return complaint;
	enum tdm_status answer = (enum tdm_status)(tdm_load_acquire_u32(&scene->answer) - 1);
	if (answer == TDM_OWNER_DIED && !told(&scene->unlocked))
		return next_is_told(true, false);
	return answer == TDM_NOT_RECOVERABLE ? audit_giving_up(NULL, false)
					     : "who slept is not told that it is lost";
}

static const char *audit_pair(void *unused, bool completed)
{
	(void)unused;
	bool unlocked = completed && told(&scene->unlocked);
	return next_is_told(true, !unlocked);
}

int main(void)
{
	static const struct crash_case singles[] = {
	    {"lock", make_free, locks, NULL, audit_locking, drop},
	    {"try_lock", make_free, tries, NULL, audit_locking, drop},
	    {"lock_until", make_free, waits, NULL, audit_locking, drop},
	    {"lock, spinning", make_spinning, locks, NULL, audit_locking, drop},
	    {"unlock", make_free, unlocks, NULL, audit_unlocking, drop},
	    {"unlock, spinning", make_spinning, unlocks, NULL, audit_unlocking, drop},
	    {"try_lock beside a holder", make_held, tries, NULL, audit_waiting, drop},
	    {"try_lock after the dead", make_left, tries, NULL, audit_taking_over, drop},
	    {"make_consistent", make_left, repairs, NULL, audit_taking_over, drop},
	    {"unlock, repaired", make_left, unlocks, NULL, audit_unlocking, drop},
	    {"unlock, not repaired", make_left, gives_up, NULL, audit_giving_up, drop},
	    {"lock and unlock in depth", make_recursive, locks_again, NULL, audit_depth, drop},
	    {"lock, repair, unlock", make_left, goes_through, NULL, audit_pair, drop},
	};
	// Hundreds of pauses, and for those who sleep a tenth of a second for each death.
	static const struct crash_case longer[] = {
	    {"lock after the dead", make_left, locks, NULL, audit_taking_over, drop},
	    {"lock beside a holder", make_held, waits, NULL, audit_waiting, drop},
	    {"lock beside a holder, spinning", make_held_spinning, waits, NULL, audit_waiting,
	     drop},
	};
	static const struct crash_case awaited[] = {
	    {"unlock and wake", make_awaited, unlocks, NULL, audit_waking, drop},
	    {"give up and wake all", make_left_awaited, gives_up, NULL, audit_waking_all, drop},
	};
	static const struct crash_case pairs[] = {
	    {"whole, whole", make_free, goes_through, goes_through, audit_pair, drop},
	    {"whole, whole, after the dead", make_left, goes_through, goes_through, audit_pair,
	     drop},
	};
	if (!crash_available())
		tap_skip_all("no single-stepping here");
	tdm_store_relaxed_u32(&tdm_backoff_cpus_, 1); // all yield at once
	uint64_t kills = 0;
	tap_case("whoever comes after a death at any instruction gets the mutex, and is told");
	for (size_t i = 0; i < sizeof(singles) / sizeof(singles[0]); i++)
		kills += crash_must_hold(&singles[i], 1, 1);
	tap_case("so it does after the death of one who waits");
	for (size_t i = 0; i < sizeof(longer) / sizeof(longer[0]); i++)
		kills += crash_must_hold(&longer[i], 1, 1);
	tap_case("and whoever sleeps meanwhile");
	for (size_t i = 0; i < sizeof(awaited) / sizeof(awaited[0]); i++)
		kills += crash_must_hold(&awaited[i], 1, 1);
	tap_case("a second death on what the first one left makes no difference");
	bool soak = getenv("TANDEM_SOAK") != NULL;
	kills += crash_must_hold(&pairs[0], soak ? 1 : 5, soak ? 1 : 9);
	kills += crash_must_hold(&pairs[1], soak ? 3 : 23, soak ? 3 : 29);
	tap_note("%" PRIu64 " kills", kills);

	tap_case("a lock that is claimed first, and says later whose it is, is caught");
	static const struct crash_case late = {"broken lock", make_free,     locks_brokenly,
					       NULL,          audit_locking, drop};
	crash_must_fail(&late, 1, "it cannot be locked");
	return tap_done();
}
