// SPDX-License-Identifier: BSD-2-Clause
// A ticket lock: a spin lock that is taken in the order in which it was asked for.
//
// Choose it for short sections where nobody may be passed over, between threads that run at once.
// Where order does not matter, lock/spin.h: it is one word, and never hands over to somebody who
// is not running, which is what a fair lock costs where threads are more than CPUs. Wherever a
// holder or a waiter may be killed or may sleep, lock/mutex.h.
//
// Progress   Locking takes a place in the queue wait-free, then blocks until those before it are
//            done: first come, first served. Unlocking and tdm_ticket_try_lock are wait-free.
//            A waiter pauses in proportion to how many go before it, and yields its CPU where these
//            and itself are more than the process has CPUs, and after 200 pauses in which nobody
//            was done: otherwise each hand-over to somebody preempted would last a time slice.
//            tdm_ticket_lock_until does not queue, for a ticket cannot be given back: until its
//            deadline it tries to find the lock free, with nobody waiting. Those who queue go
//            first, and may keep it out for ever. TDM_FOREVER queues.
// Callers    Everything from any thread of any process that maps it for writing. From a signal
//            handler, if the section and the wait for it never run on a thread with that signal let
//            through (lock/sigmask.h). Who locks unlocks.
// Limits     2^32 - 1 holders and waiters at once, more than Linux has threads. Tickets wrap around
//            after 2^32, which is harmless but for a try_lock that is interrupted for exactly so
//            many between its two steps.
//
// Edges
//   E1  Unlocking (store, release) with the look at serving (acquire) that shows the next one, who
//       locks or tries to, its turn: all that was done under the lock is visible to the next.
//       Taking a ticket orders nothing.
//
// Crashes
//   C1  Death of a holder, or of a waiter, whose turn then never ends: the lock stays locked, for
//       ever. lock/mutex.h survives.
//   C2  Death of one that has unlocked, or in try_lock or lock_until without having got it: nothing
//       remains.
//
// Checks     With TDM_CHECKED defined as 1 before the first include, misuse is a status: unlocking
//            what another or nobody holds (TDM_NOT_OWNER), locking what one holds (TDM_DEADLOCK). A
//            checked caller names its thread in `owner`, an unchecked one leaves it alone; both can
//            share a lock, if who locks with checks unlocks with them, and who locks without
//            unlocks without. An unchecked caller never learns of misuse, nor does the optimizer
//            leave anything of the checks; unlocking what nobody holds then breaks the lock.
//            Threads are named as the caller's PID namespace has them: checked users of one lock
//            belong to one namespace.
//
// Source     Reed and Kanodia, "Synchronization with Eventcounts and Sequencers", CACM 22(2), 1979.
//            Proportional backoff: Mellor-Crummey and Scott, "Algorithms for Scalable
//            Synchronization on Shared-Memory Multiprocessors", ACM TOCS 9(1), 1991.
//
// Example
//	struct journal {             // in shared memory, zero-filled
//		struct tdm_ticket lock;
//		uint32_t used;
//		unsigned char bytes[4096];
//	};
//
//	tdm_ticket_lock(&journal->lock);
//	append(journal, line);
//	tdm_ticket_unlock(&journal->lock);
#ifndef TDM_LOCK_TICKET_H
#define TDM_LOCK_TICKET_H

#include "../base/atomic.h"
#include "../base/backoff.h"
#include "../base/clock.h"
#include "../base/config.h"
#include "../base/sanitizer.h"
#include "../base/status.h"
#include "../base/syscall.h"

TDM_BEGIN_DECLS

#define TDM_TICKET_PAUSES_ 4U // for each who goes before

//   next == serving    unlocked: so is zero-filled memory
//   otherwise          locked by who has the ticket `serving`; next - serving - 1 wait
struct TDM_CAPABILITY_("mutex") tdm_ticket {
	tdm_atomic_u32 next;    // the ticket of the next who asks
	tdm_atomic_u32 serving; // whose turn it is; written by the holder
	tdm_atomic_u32 owner;   // the holder's thread, 0: nobody, or one without checks
};
TDM_STATIC_ASSERT(sizeof(struct tdm_ticket) == 12, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_ticket, next) == 0, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_ticket, serving) == 4, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_ticket, owner) == 8, "layout");

tdm_inline bool tdm_ticket_is_mine_(const struct tdm_ticket *ticket)
{
	return TDM_CHECKED && tdm_load_relaxed_u32(&ticket->owner) == tdm_thread_id_();
}

tdm_inline void tdm_ticket_own_(struct tdm_ticket *ticket)
{
	if (TDM_CHECKED)
		tdm_store_relaxed_u32(&ticket->owner, tdm_thread_id_());
}

tdm_cold void tdm_ticket_wait_(struct tdm_ticket *ticket, uint32_t mine)
{
	uint32_t paused = 0, before = 0;
	for (;;) {
		uint32_t serving = tdm_load_acquire_u32(&ticket->serving); // E1, pairs with unlock
		if (serving == mine)
			return;
		if (before != mine - serving) { // somebody was done: they run
			before = mine - serving;
			paused = 0;
		}
		tdm_backoff_rest_(&paused, before * TDM_TICKET_PAUSES_, before);
	}
}

// Takes the ticket whose turn it is, if nobody has it.
tdm_inline bool tdm_ticket_claim_(struct tdm_ticket *ticket)
{
	uint32_t serving = tdm_load_acquire_u32(&ticket->serving); // E1, pairs with unlock
	uint32_t next = serving;
	return tdm_cas_strong_relaxed_relaxed_u32(&ticket->next, &next, serving + 1);
}

tdm_cold enum tdm_status tdm_ticket_poll_(struct tdm_ticket *ticket, uint64_t deadline_ns)
{
	uint32_t paused = 0;
	for (;;) {
		uint32_t before =
		    tdm_load_relaxed_u32(&ticket->next) - tdm_load_relaxed_u32(&ticket->serving);
		if (before == 0 && tdm_ticket_claim_(ticket))
			return TDM_OK;
		if (tdm_now_ns() >= deadline_ns)
			return TDM_TIMED_OUT;
		tdm_backoff_rest_(&paused, (before + 1) * TDM_TICKET_PAUSES_, before);
	}
}

// Locks it, if it is free. False: somebody held it.
tdm_nodiscard tdm_inline bool tdm_ticket_try_lock(struct tdm_ticket *ticket)
    TDM_TRIES_(true, ticket) TDM_UNANALYZED_
{
	tdm_tsan_locking_(ticket, TDM_TSAN_TRY_);
	bool held = tdm_ticket_claim_(ticket);
	if (held)
		tdm_ticket_own_(ticket);
	tdm_tsan_locked_(ticket, held ? TDM_TSAN_TRY_ : TDM_TSAN_TRY_ | TDM_TSAN_FAILED_);
	return held;
}

// Locks it; waits for ever, for those who asked before. TDM_OK, apart from misuse, which only
// checking builds tell: TDM_DEADLOCK, the caller holds it.
tdm_inline enum tdm_status tdm_ticket_lock(struct tdm_ticket *ticket)
    TDM_ACQUIRES_(ticket) TDM_UNANALYZED_
{
	if (tdm_unlikely(tdm_ticket_is_mine_(ticket)))
		return TDM_DEADLOCK;
	tdm_tsan_locking_(ticket, 0);
	uint32_t mine = tdm_fetch_add_relaxed_u32(&ticket->next, 1);
	if (tdm_unlikely(tdm_load_acquire_u32(&ticket->serving) != mine)) // E1, pairs with unlock
		tdm_ticket_wait_(ticket, mine);
	tdm_ticket_own_(ticket);
	tdm_tsan_locked_(ticket, 0);
	return TDM_OK;
}

// Locks it if it can be had without queueing, until the deadline; tries once however late it is.
// TDM_TIMED_OUT: the deadline has passed. TDM_FOREVER and TDM_DEADLOCK as tdm_ticket_lock.
// Under -Wthread-safety write if (!tdm_ticket_lock_until(...)), which clang understands.
tdm_nodiscard tdm_inline enum tdm_status tdm_ticket_lock_until(struct tdm_ticket *ticket,
							       uint64_t deadline_ns)
    TDM_TRIES_(0, ticket) TDM_UNANALYZED_
{
	if (deadline_ns == TDM_FOREVER)
		return tdm_ticket_lock(ticket);
	if (tdm_unlikely(tdm_ticket_is_mine_(ticket)))
		return TDM_DEADLOCK;
	enum tdm_status status = TDM_OK;
	tdm_tsan_locking_(ticket, TDM_TSAN_TRY_);
	if (tdm_unlikely(!tdm_ticket_claim_(ticket)))
		status = tdm_ticket_poll_(ticket, deadline_ns);
	if (status == TDM_OK)
		tdm_ticket_own_(ticket);
	tdm_tsan_locked_(ticket,
			 status == TDM_OK ? TDM_TSAN_TRY_ : TDM_TSAN_TRY_ | TDM_TSAN_FAILED_);
	return status;
}

// Unlocks it, and so lets the next one in. TDM_NOT_OWNER, in checking builds: the caller does not
// hold it; nothing is done.
tdm_inline enum tdm_status tdm_ticket_unlock(struct tdm_ticket *ticket)
    TDM_RELEASES_(ticket) TDM_UNANALYZED_
{
	uint32_t serving = tdm_load_relaxed_u32(&ticket->serving);
	if (TDM_CHECKED) {
		if (!tdm_ticket_is_mine_(ticket))
			return TDM_NOT_OWNER;
		tdm_store_relaxed_u32(&ticket->owner, 0);
	}
	tdm_tsan_unlocking_(ticket, 0);
	tdm_store_release_u32(&ticket->serving, serving + 1); // E1, pairs with wait
	tdm_tsan_unlocked_(ticket, 0);
	return TDM_OK;
}

// Ends its use and leaves zero-filled memory, an unlocked lock; orders nothing. TDM_BUSY: somebody
// holds it. That nobody is about to lock it is the caller's business, as for any memory that goes.
tdm_inline enum tdm_status tdm_ticket_destroy(struct tdm_ticket *ticket)
{
	if (tdm_load_relaxed_u32(&ticket->next) != tdm_load_relaxed_u32(&ticket->serving))
		return TDM_BUSY;
	tdm_tsan_forget_(ticket);
	tdm_store_relaxed_u32(&ticket->next, 0);
	tdm_store_relaxed_u32(&ticket->serving, 0);
	tdm_store_relaxed_u32(&ticket->owner, 0);
	return TDM_OK;
}

TDM_END_DECLS

#endif
