// SPDX-License-Identifier: BSD-2-Clause
// A mutex for threads and processes that survives the death of its holder.
//
// Choose it whenever a lock is needed and nothing below says otherwise: for a few instructions
// between threads that are never killed, lock/spin.h is smaller; where order matters more than
// speed, lock/ticket.h; for one value that many read, lock/seq.h or lock/snapshot.h.
//
// Plain    Zero-filled memory, or no flags. `self` is NULL. A holder that dies leaves it locked.
// Robust   TDM_MUTEX_ROBUST. It lies in a segment, and every caller passes the participant that
//          its thread joined with. When a holder has died, exactly one of the others gets it with
//          TDM_OWNER_DIED: it repairs what the mutex protects, calls tdm_mutex_make_consistent and
//          unlocks as usual. Who unlocks without that gives it up for ever (TDM_NOT_RECOVERABLE),
//          because nobody could know what the data mean.
//
// Progress   Blocking. An unlocked one costs one CAS to lock and one store to unlock, no system
//            call. Who finds it locked spins briefly, yields, then sleeps; whoever unlocks wakes
//            one sleeper. A newcomer may overtake sleepers: throughput over order. The death of a
//            holder is noticed within 100 ms of sleeping; a stopped holder holds.
// Callers    Everything from any thread of any process that maps it for writing; not from signal
//            handlers. Who locks unlocks.
//
// Edges
//   The owner's (lock/owner.h): all that was done under the lock, before it was given up or its
//   holder died, is visible to the next. Wake-ups: sync/event.h.
//
// Crashes
//   C1  Death of a holder: as above. The one who was granted the lock and died before it could do
//       anything cannot be told from one who has changed something.
//   C2  Death of a waiter: nothing remains, but for one wake-up that may be lost: 100 ms.
//   C3  Death between unlocking and waking: a sleeper finds out at the end of its slice, 100 ms.
//
// Checks     With TDM_CHECKED, plain ones note who holds them, as in lock/spin.h. ThreadSanitizer
//            reports misuse as it does of a pthread_mutex_t, a thread among it that ends with it
//            locked.
//
// Source     The states of a robust mutex are POSIX's (pthread_mutexattr_setrobust). Drepper,
//            "Futexes Are Tricky", 2011. One waker, who passes the wake-up on: as nsync does.
//
// Example
//	enum tdm_status status = tdm_mutex_lock(&account->mutex, self);
//	if (status == TDM_OWNER_DIED) {
//		repair(account);
//		status = tdm_mutex_make_consistent(&account->mutex, self);
//	}
//	if (status != TDM_OK)
//		return status;
//	account->balance += amount;
//	return tdm_mutex_unlock(&account->mutex, self);
#ifndef TDM_LOCK_MUTEX_H
#define TDM_LOCK_MUTEX_H

#include "../base/atomic.h"
#include "../base/backoff.h"
#include "../base/clock.h"
#include "../base/config.h"
#include "../base/sanitizer.h"
#include "../base/status.h"
#include "../shm/participant.h"
#include "../sync/event.h"
#include "owner.h"

TDM_BEGIN_DECLS

#define TDM_MUTEX_ROBUST 1U
#define TDM_MUTEX_RECURSIVE 2U // its holder may lock it again; robust only
#define TDM_MUTEX_SPIN 4U      // waiters never sleep, and unlocking never makes a system call

struct TDM_CAPABILITY_("mutex") tdm_mutex {
	tdm_atomic_u64 owner;   // lock/owner.h
	struct tdm_event freed; // where waiters sleep
	tdm_atomic_u32 flags;   // constant
	tdm_atomic_u32 depth;   // how often the holder has locked it again
	tdm_atomic_u32 pad_[3];
};
TDM_STATIC_ASSERT(sizeof(struct tdm_mutex) == 32, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_mutex, freed) == 8, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_mutex, flags) == 12, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_mutex, depth) == 16, "layout");

// Makes an unlocked mutex; also of one that was given up unrepaired, while nobody else uses it.
// TDM_INVALID: an unknown flag, or RECURSIVE without ROBUST.
tdm_nodiscard tdm_function enum tdm_status tdm_mutex_init(struct tdm_mutex *mutex, uint32_t flags)
{
	const uint32_t known = TDM_MUTEX_ROBUST | TDM_MUTEX_RECURSIVE | TDM_MUTEX_SPIN;
	if ((flags & ~known) != 0 ||
	    (flags & (TDM_MUTEX_ROBUST | TDM_MUTEX_RECURSIVE)) == TDM_MUTEX_RECURSIVE)
		return TDM_INVALID;
	tdm_event_init(&mutex->freed);
	tdm_store_relaxed_u32(&mutex->flags, flags);
	tdm_store_relaxed_u32(&mutex->depth, 0);
	tdm_store_relaxed_u64(&mutex->owner, TDM_OWNER_FREE_);
	return TDM_OK;
}

// Turns it into zero-filled memory, a plain unlocked mutex. TDM_BUSY: somebody holds it, dead or
// alive. Orders nothing. Every other call on it has returned: unlocking looks for sleepers after it
// has unlocked.
tdm_function enum tdm_status tdm_mutex_destroy(struct tdm_mutex *mutex)
{
	uint64_t owner = tdm_load_relaxed_u64(&mutex->owner);
	if (owner != TDM_OWNER_FREE_ && owner != TDM_OWNER_LOST_)
		return TDM_BUSY;
	tdm_tsan_forget_(mutex);
	tdm_store_relaxed_u32(&mutex->flags, 0);
	tdm_store_relaxed_u32(&mutex->depth, 0);
	tdm_store_relaxed_u32(&mutex->freed.word, 0);
	tdm_store_relaxed_u64(&mutex->owner, TDM_OWNER_FREE_);
	return TDM_OK;
}

// Who the caller is to this mutex, and whether it may be used at all.
tdm_inline enum tdm_status tdm_mutex_claimant_(struct tdm_mutex *mutex,
					       const struct tdm_participant *self, uint64_t *mine)
{
	if ((tdm_load_relaxed_u32(&mutex->flags) & TDM_MUTEX_ROBUST) == 0) {
		*mine = tdm_owner_plain_();
		return TDM_OK;
	}
	if (tdm_likely(tdm_participant_reaches_(mutex, sizeof(*mutex), self))) {
		*mine = tdm_owner_of_(self);
		return TDM_OK;
	}
	*mine = 0;
	return tdm_participant_serves_(tdm_memory(mutex, sizeof(*mutex)), self);
}

struct tdm_mutex_wait_ {
	struct tdm_mutex *mutex;
	const struct tdm_participant *self; // NULL: plain
	uint64_t mine;
	bool ask; // about the holder's life, once
};

tdm_function struct tdm_mutex_wait_
tdm_mutex_wait_for_(struct tdm_mutex *mutex, const struct tdm_participant *self, uint64_t mine)
{
	struct tdm_mutex_wait_ wait;
	wait.mutex = mutex;
	wait.self = (mine & TDM_OWNER_PLAIN_) == 0 ? self : TDM_NULL;
	wait.mine = mine;
	wait.ask = false;
	return wait;
}

tdm_function enum tdm_status tdm_mutex_attempt_(void *context)
{
	struct tdm_mutex_wait_ *wait = TDM_CAST(struct tdm_mutex_wait_ *, context);
	struct tdm_mutex *mutex = wait->mutex;
	bool ask = wait->ask;
	wait->ask = false;
	enum tdm_status status = tdm_owner_contend_(&mutex->owner, wait->mine, wait->self, ask);
	if (status == TDM_OWNER_DIED)
		tdm_store_relaxed_u32(&mutex->depth, 0);
	if (status != TDM_DEADLOCK ||
	    (tdm_load_relaxed_u32(&mutex->flags) & TDM_MUTEX_RECURSIVE) == 0)
		return status;
	uint32_t depth = tdm_load_relaxed_u32(&mutex->depth);
	if (depth == UINT32_MAX)
		return TDM_FULL;
	tdm_store_relaxed_u32(&mutex->depth, depth + 1);
	return TDM_OK;
}

tdm_function enum tdm_status tdm_mutex_idle_(void *context)
{
	TDM_CAST(struct tdm_mutex_wait_ *, context)->ask = true;
	return TDM_OK;
}

// Waits without ever sleeping.
tdm_function enum tdm_status tdm_mutex_spin_(struct tdm_mutex_wait_ *wait, uint64_t deadline_ns)
{
	const struct tdm_patience patience = {0};
	struct tdm_backoff backoff = {0};
	for (;;) {
		enum tdm_status status = tdm_mutex_attempt_(wait);
		if (status != TDM_BUSY)
			return status;
		if (backoff.step == 0 && deadline_ns != TDM_FOREVER && tdm_now_ns() >= deadline_ns)
			return TDM_TIMED_OUT;
		if (!tdm_backoff_once(&backoff, &patience))
			wait->ask = true;
	}
}

tdm_cold enum tdm_status tdm_mutex_lock_slow_(struct tdm_mutex *mutex,
					      const struct tdm_participant *self, uint64_t mine,
					      uint64_t deadline_ns)
{
	struct tdm_mutex_wait_ wait = tdm_mutex_wait_for_(mutex, self, mine);
	struct tdm_patience patience = {0};
	enum tdm_status status =
	    (tdm_load_relaxed_u32(&mutex->flags) & TDM_MUTEX_SPIN) != 0
		? tdm_mutex_spin_(&wait, deadline_ns)
		: tdm_event_await_one(&mutex->freed, &patience, deadline_ns, TDM_BUSY,
				      tdm_mutex_attempt_, tdm_mutex_idle_, &wait);
	if (status != TDM_TIMED_OUT)
		return status;
	wait.ask = true; // or who always comes with a short deadline would never hear of a death
	status = tdm_mutex_attempt_(&wait);
	return status == TDM_BUSY ? TDM_TIMED_OUT : status;
}

tdm_cold enum tdm_status tdm_mutex_try_lock_slow_(struct tdm_mutex *mutex,
						  const struct tdm_participant *self, uint64_t mine)
{
	struct tdm_mutex_wait_ wait = tdm_mutex_wait_for_(mutex, self, mine);
	wait.ask = true;
	return tdm_mutex_attempt_(&wait);
}

// One of several locks by the holder is undone. False: it was the only one, or is not the caller's.
tdm_cold bool tdm_mutex_was_again_(struct tdm_mutex *mutex, uint64_t mine)
{
	uint32_t depth = tdm_load_relaxed_u32(&mutex->depth);
	if (!tdm_owner_is_(tdm_load_relaxed_u64(&mutex->owner), mine) || depth == 0)
		return false;
	tdm_store_relaxed_u32(&mutex->depth, depth - 1);
	return true;
}

tdm_inline void tdm_mutex_wake_(struct tdm_mutex *mutex)
{
	if (tdm_likely((tdm_load_relaxed_u32(&mutex->flags) & TDM_MUTEX_SPIN) == 0))
		tdm_event_notify_one(&mutex->freed);
}

// Tells ThreadSanitizer how it ended.
tdm_inline enum tdm_status tdm_mutex_ended_(struct tdm_mutex *mutex, unsigned tsan,
					    enum tdm_status status)
{
	if (status == TDM_OWNER_DIED)
		tdm_tsan_forget_(mutex);
	bool held = status == TDM_OK || status == TDM_OWNER_DIED;
	tdm_tsan_locked_(mutex, held ? tsan : TDM_TSAN_TRY_ | TDM_TSAN_FAILED_);
	if (status == TDM_OWNER_DIED)
		tdm_tsan_saw_death_();
	return status;
}

tdm_inline unsigned tdm_mutex_tsan_(struct tdm_mutex *mutex)
{
	return (tdm_load_relaxed_u32(&mutex->flags) & TDM_MUTEX_RECURSIVE) != 0
		   ? TDM_TSAN_REENTRANT_
		   : 0;
}

// Locks it, if it is free or its holder has died. TDM_OK and TDM_OWNER_DIED: held. TDM_BUSY:
// another holds it, alive. TDM_DEADLOCK: the caller holds it already (plain: told in checking
// builds only). TDM_NOT_RECOVERABLE: given up unrepaired, see init. TDM_NEEDS_PARTICIPANT,
// TDM_FORKED, TDM_INVALID: it is robust, and self is no participant of its segment. TDM_FULL:
// locked again 2^32 times. TDM_CORRUPT. TDM_SYSTEM: the kernel would not say whether the holder
// lives. Under -Wthread-safety write if (!tdm_mutex_try_lock(...)), which clang understands.
tdm_nodiscard tdm_inline enum tdm_status tdm_mutex_try_lock(struct tdm_mutex *mutex,
							    struct tdm_participant *self)
    TDM_TRIES_(0, mutex) TDM_UNANALYZED_
{
	uint64_t mine;
	enum tdm_status status = tdm_mutex_claimant_(mutex, self, &mine);
	if (tdm_unlikely(status != TDM_OK))
		return status;
	unsigned tsan = TDM_TSAN_TRY_ | tdm_mutex_tsan_(mutex);
	tdm_tsan_locking_(mutex, tsan);
	if (tdm_unlikely(!tdm_owner_claim_(&mutex->owner, mine)))
		status = tdm_mutex_try_lock_slow_(mutex, self, mine);
	return tdm_mutex_ended_(mutex, tsan, status);
}

// Locks it; waits until the deadline. As try_lock, but TDM_TIMED_OUT instead of TDM_BUSY, and
// TDM_SYSTEM also where the kernel refuses to wait.
tdm_nodiscard tdm_inline enum tdm_status
tdm_mutex_lock_until(struct tdm_mutex *mutex, struct tdm_participant *self, uint64_t deadline_ns)
    TDM_TRIES_(0, mutex) TDM_UNANALYZED_
{
	uint64_t mine;
	enum tdm_status status = tdm_mutex_claimant_(mutex, self, &mine);
	if (tdm_unlikely(status != TDM_OK))
		return status;
	unsigned tsan = (deadline_ns == TDM_FOREVER ? 0 : TDM_TSAN_TRY_) | tdm_mutex_tsan_(mutex);
	tdm_tsan_locking_(mutex, tsan);
	if (tdm_unlikely(!tdm_owner_claim_(&mutex->owner, mine)))
		status = tdm_mutex_lock_slow_(mutex, self, mine, deadline_ns);
	return tdm_mutex_ended_(mutex, tsan, status);
}

// Locks it; waits for ever. A plain one always answers TDM_OK, apart from misuse.
tdm_inline enum tdm_status tdm_mutex_lock(struct tdm_mutex *mutex, struct tdm_participant *self)
    TDM_ACQUIRES_(mutex) TDM_UNANALYZED_
{
	return tdm_mutex_lock_until(mutex, self, TDM_FOREVER);
}

// Unlocks it. TDM_NOT_OWNER: the caller does not hold it (plain: told of an unlocked one, and in
// checking builds). TDM_NOT_RECOVERABLE: it was taken over from the dead and not made consistent;
// nobody can lock it any more.
tdm_inline enum tdm_status tdm_mutex_unlock(struct tdm_mutex *mutex, struct tdm_participant *self)
    TDM_RELEASES_(mutex) TDM_UNANALYZED_
{
	uint64_t mine;
	enum tdm_status status = tdm_mutex_claimant_(mutex, self, &mine);
	if (tdm_unlikely(status != TDM_OK))
		return status;
	tdm_tsan_unlocking_(mutex, 0);
	if (tdm_unlikely((tdm_load_relaxed_u32(&mutex->flags) & TDM_MUTEX_RECURSIVE) != 0) &&
	    tdm_mutex_was_again_(mutex, mine)) {
		tdm_tsan_unlocked_(mutex, 0);
		return TDM_OK;
	}
	status = (mine & TDM_OWNER_PLAIN_) != 0 ? tdm_owner_give_up_plain_(&mutex->owner, mine)
						: tdm_owner_give_up_(&mutex->owner, mine);
	if (tdm_likely(status == TDM_OK))
		tdm_mutex_wake_(mutex);
	else if (status == TDM_NOT_RECOVERABLE)
		tdm_event_notify(&mutex->freed);
	tdm_tsan_unlocked_(mutex, 0);
	return status;
}

// The caller, who got it with TDM_OWNER_DIED, has repaired what it protects. TDM_INVALID: there
// was nothing to repair. TDM_NOT_OWNER, and as try_lock.
tdm_nodiscard tdm_function enum tdm_status
tdm_mutex_make_consistent(struct tdm_mutex *mutex, const struct tdm_participant *self)
{
	uint64_t mine;
	enum tdm_status status = tdm_mutex_claimant_(mutex, self, &mine);
	return status == TDM_OK ? tdm_owner_make_consistent_(&mutex->owner, mine) : status;
}

TDM_END_DECLS

#endif
