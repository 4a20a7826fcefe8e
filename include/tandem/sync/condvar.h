// SPDX-License-Identifier: BSD-2-Clause
// A condition variable for lock/mutex.h: sleeps until somebody who changed something says so.
//
// Choose it for a condition over data that a mutex protects. For one that is a single word and
// needs no mutex, sync/event.h.
//
// Plain and robust are as the mutex is. With a robust one, waiting can answer TDM_OWNER_DIED: the
// mutex is held again, but somebody died inside meanwhile.
//
// Progress   Signalling is wait-free: one load while nobody waits, else one read-modify-write and
//            one system call; broadcast is lock-free there (at most 2^16 retries, then it wakes
//            all the same). Waiting blocks, and parks at once.
// Callers    Everything from any thread of any process that maps it for writing. Who changes the
//            condition holds the mutex for that; it may signal then or after unlocking. All who
//            wait at one time use one mutex.
// Memory     Zero-filled memory is valid.
//
// A wait may end for no reason (Mesa semantics): check the condition again. So a signal wakes one,
// and now and then more: every 64th wakes all, which is how signalling becomes free again once
// nobody waits, without a count that the dead could leave wrong. With a robust mutex each wait ends
// after 100 ms. Where waiters of higher real-time priority come later, a wake-up meant for an
// earlier one may reach it 100 ms late.
//
// Edges      None of its own: who changes the condition has locked the mutex after the waiter had
//            unlocked it, and so sees that somebody waits, or before the waiter looked.
//
// Crashes
//   C1  Death between changing the condition and signalling: robust waiters find out by
//       themselves, 100 ms later at most.
//   C2  Death of a waiter: it may have taken one wake-up with it: as C1. Nothing else remains.
//
// Source     Hoare, "Monitors: An Operating System Structuring Concept", CACM 17(10), 1974; Lampson
//            and Redell, "Experience with Processes and Monitors in Mesa", CACM 23(2), 1980;
//            Birrell, "An Introduction to Programming with Threads", 1989. A sequence that the
//            futex compares: Drepper, "Futexes Are Tricky", 2011; POSIX would want two groups of
//            waiters instead, so that no later one takes a wake-up, which nobody can use who has to
//            check the condition anyway.
//
// Example
//	tdm_mutex_lock(&queue->mutex, NULL);
//	while (queue->count == 0)
//		tdm_condvar_wait(&queue->not_empty, &queue->mutex, NULL);
//	item = queue->items[--queue->count];
//	tdm_mutex_unlock(&queue->mutex, NULL);
// tests/examples/bounded_buffer.c is complete.
#ifndef TDM_SYNC_CONDVAR_H
#define TDM_SYNC_CONDVAR_H

#include <errno.h>

#include "../base/atomic.h"
#include "../base/clock.h"
#include "../base/config.h"
#include "../base/futex.h"
#include "../base/status.h"
#include "../lock/mutex.h"
#include "../shm/participant.h"
#include "event.h"

TDM_BEGIN_DECLS

// The word:  epoch << 1 | WAITED
//
//   WAITED  somebody waits, or did since the last time that all were woken
//   epoch   one more for each signal: who announced itself before does not sleep on
#define TDM_CONDVAR_WAITED_ 1U
#define TDM_CONDVAR_EPOCH_ 2U
#define TDM_CONDVAR_ALL_ (64U * TDM_CONDVAR_EPOCH_) // each such epoch wakes all

struct tdm_condvar {
	tdm_atomic_u32 word;
};
TDM_STATIC_ASSERT(sizeof(struct tdm_condvar) == 4, "layout");

tdm_function void tdm_condvar_init(struct tdm_condvar *condvar)
{
	tdm_store_relaxed_u32(&condvar->word, 0);
}

// Turns it into zero-filled memory. Nobody waits on it, and every other call has returned.
tdm_function enum tdm_status tdm_condvar_destroy(struct tdm_condvar *condvar)
{
	tdm_store_relaxed_u32(&condvar->word, 0);
	return TDM_OK;
}

tdm_cold void tdm_condvar_broadcast_slow_(struct tdm_condvar *condvar)
{
	uint32_t word = tdm_load_relaxed_u32(&condvar->word);
	for (uint32_t i = 0; i < TDM_RETRIES_; i++) {
		uint32_t next = (word + TDM_CONDVAR_EPOCH_) & ~TDM_CONDVAR_WAITED_;
		if (tdm_cas_weak_relaxed_relaxed_u32(&condvar->word, &word, next))
			break;
	}
	tdm_futex_wake_(&condvar->word, UINT32_MAX);
}

tdm_cold void tdm_condvar_signal_slow_(struct tdm_condvar *condvar)
{
	uint32_t word = tdm_fetch_add_relaxed_u32(&condvar->word, TDM_CONDVAR_EPOCH_);
	if ((word & (TDM_CONDVAR_ALL_ - TDM_CONDVAR_EPOCH_)) != 0)
		tdm_futex_wake_(&condvar->word, 1);
	else
		tdm_condvar_broadcast_slow_(condvar);
}

// Wakes one of those who wait, at least, if anybody does.
tdm_inline void tdm_condvar_signal(struct tdm_condvar *condvar)
{
	if (tdm_unlikely((tdm_load_relaxed_u32(&condvar->word) & TDM_CONDVAR_WAITED_) != 0))
		tdm_condvar_signal_slow_(condvar);
}

// Wakes all who wait.
tdm_inline void tdm_condvar_broadcast(struct tdm_condvar *condvar)
{
	if (tdm_unlikely((tdm_load_relaxed_u32(&condvar->word) & TDM_CONDVAR_WAITED_) != 0))
		tdm_condvar_broadcast_slow_(condvar);
}

// May the caller, who should hold it, give the mutex up for a wait?
tdm_function enum tdm_status tdm_condvar_may_wait_(struct tdm_mutex *mutex,
						   const struct tdm_participant *self, bool *robust)
{
	uint64_t mine;
	enum tdm_status status = tdm_mutex_claimant_(mutex, self, &mine);
	*robust = (mine & TDM_OWNER_PLAIN_) == 0;
	if (status != TDM_OK || !*robust)
		return status; // unlocking a plain one tells
	uint64_t seen = tdm_load_relaxed_u64(&mutex->owner);
	if (!tdm_owner_is_(seen, mine))
		return TDM_NOT_OWNER;
	return seen == mine && tdm_load_relaxed_u32(&mutex->depth) == 0 ? TDM_OK : TDM_INVALID;
}

// Sleeps until a signal that came after the key was made.
tdm_function enum tdm_status tdm_condvar_sleep_(struct tdm_condvar *condvar, uint32_t key,
						uint64_t deadline_ns, bool robust)
{
	for (;;) {
		uint64_t now = tdm_now_ns();
		if (now >= deadline_ns)
			return TDM_TIMED_OUT;
		bool last = deadline_ns - now <= TDM_EVENT_SLICE_NS_;
		uint64_t until = last ? deadline_ns : now + TDM_EVENT_SLICE_NS_;
		enum tdm_status status = tdm_futex_wait_(&condvar->word, key, until);
		// Also where the time was up: nobody else may have been woken.
		if (tdm_load_relaxed_u32(&condvar->word) != key)
			return TDM_OK;
		if (status == TDM_SYSTEM || (status == TDM_TIMED_OUT && last))
			return status;
		if (status == TDM_TIMED_OUT && robust)
			return TDM_OK; // C1
	}
}

// Unlocks the mutex, sleeps, and locks it again, all as one step for whoever signals. The caller
// holds it, once. TDM_OK: signalled, or for no reason; check the condition. TDM_TIMED_OUT: the
// deadline passed. TDM_OWNER_DIED: as from tdm_mutex_lock. TDM_SYSTEM: the kernel refused to wait.
// In all these the mutex is held again. It still is, and nothing was done, after TDM_INVALID: it is
// locked more than once, or was not made consistent. TDM_NOT_OWNER, TDM_NEEDS_PARTICIPANT,
// TDM_FORKED, and TDM_INVALID of another's participant: the caller does not hold it. Whatever else
// tdm_mutex_lock answers: it is not held any more.
tdm_nodiscard tdm_function enum tdm_status
tdm_condvar_wait_until(struct tdm_condvar *condvar, struct tdm_mutex *mutex,
		       struct tdm_participant *self, uint64_t deadline_ns) TDM_UNANALYZED_
{
	bool robust;
	enum tdm_status status = tdm_condvar_may_wait_(mutex, self, &robust);
	if (status != TDM_OK)
		return status;
	uint32_t key =
	    tdm_fetch_or_relaxed_u32(&condvar->word, TDM_CONDVAR_WAITED_) | TDM_CONDVAR_WAITED_;
	status = tdm_mutex_unlock(mutex, self);
	if (status != TDM_OK)
		return status;
	enum tdm_status end = tdm_condvar_sleep_(condvar, key, deadline_ns, robust);
	int saved = errno;
	status = tdm_mutex_lock(mutex, self);
	if (status == TDM_OK)
		errno = saved;
	return status == TDM_OK ? end : status;
}

// The same, for ever.
tdm_function enum tdm_status tdm_condvar_wait(struct tdm_condvar *condvar, struct tdm_mutex *mutex,
					      struct tdm_participant *self) TDM_UNANALYZED_
{
	return tdm_condvar_wait_until(condvar, mutex, self, TDM_FOREVER);
}

TDM_END_DECLS

#endif
