// SPDX-License-Identifier: BSD-2-Clause
// A readers-writer lock: many may read at once, or one may write. Neither side starves the other.
//
// Choose it for data that are read far more often than written, in sections long enough to be worth
// two read-modify-writes of one line that all readers share (some hundred instructions), between
// threads that are never killed. Where a holder may be killed, or readers are many and their
// sections short, lock/robust_rw.h: its readers touch no line that another reader writes. For one
// value that many read, lock/seq.h or lock/snapshot.h. For sections of a few instructions,
// lock/spin.h is as fast, and simpler.
//
// Progress   Phase-fair. Read phases and write phases take turns as long as both sides have
//            waiters: a writer whose turn it is waits for the readers inside and for none that
//            comes later; a reader waits for one writer at most, however many queue. Writers come
//            in the order in which they asked, but for those with a deadline: until it passes,
//            these try to find no other writer; writers who queue go first, and may keep them out
//            for ever, readers cannot. TDM_FOREVER queues. Who waits spins briefly, yields, then
//            sleeps; unlocking makes a system call only where somebody sleeps. The try_ forms and
//            unlocking never wait; read_lock is wait-free while no writer is there.
//            The queue of writers is handed on in order, also to who is asleep.
// Callers    Everything from any thread of any process that maps it for writing; not from signal
//            handlers. Who locks unlocks. A reader that locks again for reading may wait for a
//            writer that waits for it: for ever.
// Limits     2^32 - 1 readers and 2^32 - 1 writers at once, more than Linux has threads. A reader
//            notices the end of a write phase unless, while it does not run, 2^31 writers give up
//            at their deadlines in turn.
//
// Edges
//   E1  The end of a write phase (RMW of `in`, release) with the look at `in` (acquire) that lets a
//       reader in: all that was done in it is visible to the reader.
//   E2  A reader's leaving (RMW of `out`, release) with the writer's look at `out` (acquire): the
//       writer overwrites nothing that is still being read.
//   E3  The end of a write phase (store of `serving`, release) with the next writer's look at it
//       (acquire): it sees what was written, and that the gate is open.
//   Wake-ups: sync/event.h.
//
// Crashes
//   C1  Death of a holder, or of a waiter other than one in the try_ forms: the lock stays locked
//       for ever, for the other side at least. lock/robust_rw.h survives.
//   C2  Death of one that has unlocked: nothing remains, but a wake-up may be lost: 100 ms.
//
// Checks     With TDM_CHECKED defined as 1 before the first include, misuse is a status: a writer
//            that locks again, either way (TDM_DEADLOCK), and unlocking for writing what another or
//            nobody holds so, or for reading what nobody reads (TDM_NOT_OWNER). Readers are counted
//            and not named: that a reader unlocks for another goes unnoticed. A checked writer
//            names its thread in `owner`, an unchecked one leaves it alone; both can share a lock
//            if who locks with checks unlocks with them. Unchecked, none of this is told, nor does
//            the optimizer leave anything of it, and unlocking what is not held breaks the lock.
//
// Source     PF-T: Brandenburg and Anderson, "Spin-Based Reader-Writer Synchronization for
//            Multiprocessor Real-Time Systems", Real-Time Systems 46(1), 2010. There, a phase is
//            one bit; here it has a number, because writers may give up, and a reader that missed
//            two of them in a row would mistake the third for the first and wait for it for ever.
//
// Example
//	tdm_rw_read_lock(&table->lock);
//	bool found = look_up(table, key, &value);
//	tdm_rw_read_unlock(&table->lock);
#ifndef TDM_LOCK_RW_H
#define TDM_LOCK_RW_H

#include "../base/atomic.h"
#include "../base/backoff.h"
#include "../base/clock.h"
#include "../base/config.h"
#include "../base/sanitizer.h"
#include "../base/status.h"
#include "../base/syscall.h"
#include "../sync/event.h"

TDM_BEGIN_DECLS

// The word `in`:  readers that came << 32 | gate,  and the gate:  ticket << 1 | CLOSED
//
//   gate 0        open: readers pass
//   ticket        closed by the writer with this ticket, who is inside or waits for the readers
//                 that came before to leave. A reader that finds it closed is let in by any change
//                 of the gate: whoever closes it next has found that reader counted, and waits.
#define TDM_RW_READER_ (UINT64_C(1) << 32)
#define TDM_RW_CLOSED_ 1U
#define TDM_RW_TURNS_ 4U

struct TDM_CAPABILITY_("mutex") tdm_rw {
	tdm_atomic_u64 in;
	tdm_atomic_u32 out;      // readers that left
	tdm_atomic_u32 next;     // the ticket of the next writer who asks
	tdm_atomic_u32 serving;  // which writer's turn it is; written by that writer
	tdm_atomic_u32 owner;    // the thread that writes, 0: nobody, or one without checks
	struct tdm_event opened; // the gate was: readers sleep here
	struct tdm_event left;   // a reader has: the writer whose turn it is
	struct tdm_event turn[TDM_RW_TURNS_]; // the others, by ticket
};
TDM_STATIC_ASSERT(sizeof(struct tdm_rw) == 48, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_rw, out) == 8, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_rw, next) == 12, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_rw, serving) == 16, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_rw, owner) == 20, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_rw, opened) == 24, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_rw, left) == 28, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_rw, turn) == 32, "layout");

// ---------------------------------------------------------------------------------------------
// Waiting

struct tdm_rw_wait_ {
	struct tdm_rw *rw;
	uint32_t gate;    // a reader's: that it found closed
	uint32_t readers; // a writer's: of whom all must have left
	uint32_t ticket;  // a writer's: whose turn it waits for
};

// Waits until attempt(wait) is no longer TDM_BUSY. Where the kernel refuses to wait, it yields.
tdm_function enum tdm_status tdm_rw_await_(struct tdm_event *event, uint64_t deadline_ns,
					   enum tdm_status (*attempt)(void *context),
					   struct tdm_rw_wait_ *wait)
{
	struct tdm_patience patience = {0};
	for (;;) {
		enum tdm_status status = tdm_event_await(event, &patience, deadline_ns, TDM_BUSY,
							 attempt, TDM_NULL, wait);
		if (tdm_likely(status != TDM_SYSTEM))
			return status;
		TDM_SEAM_YIELD();
	}
}

tdm_inline uint32_t tdm_rw_gate_of_(uint64_t in)
{
	return TDM_CAST(uint32_t, in);
}

tdm_inline uint32_t tdm_rw_readers_of_(uint64_t in)
{
	return TDM_CAST(uint32_t, in >> 32);
}

tdm_function enum tdm_status tdm_rw_pass_(void *context)
{
	const struct tdm_rw_wait_ *wait = TDM_CAST(const struct tdm_rw_wait_ *, context);
	uint64_t in = tdm_load_acquire_u64(&wait->rw->in); // E1, pairs with open
	return tdm_rw_gate_of_(in) != wait->gate ? TDM_OK : TDM_BUSY;
}

// The caller has been counted, and found the gate closed. Who gives up goes as if it had never
// come: that is possible as long as the same writer is there, for it has not counted the caller.
tdm_cold enum tdm_status tdm_rw_read_wait_(struct tdm_rw *rw, uint32_t gate, uint64_t deadline_ns)
{
	struct tdm_rw_wait_ wait = {rw, gate, 0, 0};
	enum tdm_status status = tdm_rw_await_(&rw->opened, deadline_ns, tdm_rw_pass_, &wait);
	if (status == TDM_OK)
		return TDM_OK;
	uint64_t in;
	do {
		in = tdm_load_acquire_u64(&rw->in); // E1, pairs with open
		if (tdm_rw_gate_of_(in) != gate)
			return TDM_OK;
	} while (!tdm_cas_weak_relaxed_relaxed_u64(&rw->in, &in, in - TDM_RW_READER_));
	return status;
}

tdm_function enum tdm_status tdm_rw_take_turn_(void *context)
{
	const struct tdm_rw_wait_ *wait = TDM_CAST(const struct tdm_rw_wait_ *, context);
	uint32_t serving = tdm_load_acquire_u32(&wait->rw->serving); // E3, pairs with open
	return serving == wait->ticket ? TDM_OK : TDM_BUSY;
}

// Takes the ticket whose turn it is, if nobody has it.
tdm_inline bool tdm_rw_claim_(struct tdm_rw *rw, uint32_t *ticket)
{
	*ticket = tdm_load_acquire_u32(&rw->serving); // E3, pairs with open
	uint32_t next = *ticket;
	return tdm_cas_strong_relaxed_relaxed_u32(&rw->next, &next, next + 1);
}

// The same, as long as the ticket that comes next is the one it waits for. TDM_EMPTY: it no longer
// is.
tdm_function enum tdm_status tdm_rw_claim_next_(void *context)
{
	struct tdm_rw_wait_ *wait = TDM_CAST(struct tdm_rw_wait_ *, context);
	uint32_t ticket;
	if (tdm_load_relaxed_u32(&wait->rw->next) != wait->ticket)
		return TDM_EMPTY;
	bool claimed = tdm_rw_claim_(wait->rw, &ticket);
	if (!claimed)
		return ticket == wait->ticket ? TDM_EMPTY : TDM_BUSY;
	wait->ticket = ticket;
	return TDM_OK;
}

// Waits for its turn, in the queue if for ever.
tdm_cold enum tdm_status tdm_rw_queue_(struct tdm_rw *rw, uint32_t *ticket, uint64_t deadline_ns)
{
	struct tdm_rw_wait_ wait = {rw, 0, 0, 0};
	enum tdm_status status;
	if (deadline_ns == TDM_FOREVER) {
		wait.ticket = *ticket = tdm_fetch_add_relaxed_u32(&rw->next, 1);
		return tdm_rw_await_(&rw->turn[wait.ticket % TDM_RW_TURNS_], TDM_FOREVER,
				     tdm_rw_take_turn_, &wait);
	}
	do {
		wait.ticket = tdm_load_relaxed_u32(&rw->next);
		status = tdm_rw_await_(&rw->turn[wait.ticket % TDM_RW_TURNS_], deadline_ns,
				       tdm_rw_claim_next_, &wait);
	} while (status == TDM_EMPTY && tdm_now_ns() < deadline_ns);
	*ticket = wait.ticket;
	return status == TDM_EMPTY ? TDM_TIMED_OUT : status;
}

tdm_function enum tdm_status tdm_rw_drain_(void *context)
{
	const struct tdm_rw_wait_ *wait = TDM_CAST(const struct tdm_rw_wait_ *, context);
	uint32_t out = tdm_load_acquire_u32(&wait->rw->out); // E2, pairs with read_unlock
	return out == wait->readers ? TDM_OK : TDM_BUSY;
}

// Ends the write phase of the one whose turn it is; `readers`: TDM_RW_READER_ if it stays to read.
tdm_inline void tdm_rw_open_(struct tdm_rw *rw, uint64_t readers)
{
	uint32_t ticket = tdm_load_relaxed_u32(&rw->serving);
	uint64_t gate = TDM_CAST(uint32_t, ticket << 1 | TDM_RW_CLOSED_);
	tdm_fetch_add_release_u64(&rw->in, readers - gate); // E1, pairs with pass and read_lock
	tdm_event_notify(&rw->opened);
	tdm_store_release_u32(&rw->serving, ticket + 1); // E3, pairs with take_turn and claim
	tdm_event_notify(&rw->turn[(ticket + 1) % TDM_RW_TURNS_]);
}

// Closes the gate and waits until all readers have left, but for so many who are the caller itself.
tdm_inline enum tdm_status tdm_rw_close_(struct tdm_rw *rw, uint32_t ticket, uint32_t own,
					 uint64_t deadline_ns)
{
	uint64_t gate = TDM_CAST(uint32_t, ticket << 1 | TDM_RW_CLOSED_);
	uint64_t in = tdm_fetch_add_relaxed_u64(&rw->in, gate);
	struct tdm_rw_wait_ wait = {rw, 0, tdm_rw_readers_of_(in) - own, 0};
	if (tdm_likely(tdm_rw_drain_(&wait) == TDM_OK))
		return TDM_OK;
	enum tdm_status status = tdm_rw_await_(&rw->left, deadline_ns, tdm_rw_drain_, &wait);
	if (status != TDM_OK)
		tdm_rw_open_(rw, 0);
	return status;
}

tdm_inline enum tdm_status tdm_rw_write_(struct tdm_rw *rw, uint64_t deadline_ns)
{
	uint32_t ticket;
	enum tdm_status status = TDM_OK;
	if (tdm_unlikely(!tdm_rw_claim_(rw, &ticket)))
		status = tdm_rw_queue_(rw, &ticket, deadline_ns);
	if (tdm_likely(status == TDM_OK))
		status = tdm_rw_close_(rw, ticket, 0, deadline_ns);
	return status;
}

// ---------------------------------------------------------------------------------------------
// Checks

tdm_inline bool tdm_rw_is_mine_(const struct tdm_rw *rw)
{
	return TDM_CHECKED && tdm_load_relaxed_u32(&rw->owner) == tdm_thread_id_();
}

tdm_inline void tdm_rw_own_(struct tdm_rw *rw)
{
	if (TDM_CHECKED)
		tdm_store_relaxed_u32(&rw->owner, tdm_thread_id_());
}

// In checking builds: does the caller not hold it for writing? If it does, it is named no more.
tdm_inline bool tdm_rw_disown_(struct tdm_rw *rw)
{
	if (!TDM_CHECKED)
		return true;
	bool named = tdm_load_relaxed_u32(&rw->owner) != 0;
	if (named ? !tdm_rw_is_mine_(rw)
		  : tdm_load_relaxed_u32(&rw->next) == tdm_load_relaxed_u32(&rw->serving))
		return false;
	tdm_store_relaxed_u32(&rw->owner, 0);
	return true;
}

// In checking builds: does somebody read? The acquire is for the second look not to be older than
// the first, or one who has left would be counted against one who has come.
tdm_inline bool tdm_rw_is_read_(const struct tdm_rw *rw)
{
	if (!TDM_CHECKED)
		return true;
	uint32_t out = tdm_load_acquire_u32(&rw->out); // E2, pairs with read_unlock
	return tdm_rw_readers_of_(tdm_load_relaxed_u64(&rw->in)) != out;
}

// ---------------------------------------------------------------------------------------------
// Reading

// Locks it for reading, if no writer is inside or waits for its turn. False: one was.
tdm_nodiscard tdm_inline bool tdm_rw_read_try_lock(struct tdm_rw *rw)
    TDM_TRIES_SHARED_(true, rw) TDM_UNANALYZED_
{
	const unsigned tsan = TDM_TSAN_READ_ | TDM_TSAN_TRY_;
	tdm_tsan_locking_(rw, tsan);
	uint64_t in = tdm_load_relaxed_u64(&rw->in);
	bool held = false;
	while (!held && tdm_rw_gate_of_(in) == 0)
		held = tdm_cas_weak_acquire_relaxed_u64(&rw->in, &in, in + TDM_RW_READER_); // E1
	tdm_tsan_locked_(rw, held ? tsan : tsan | TDM_TSAN_FAILED_);
	return held;
}

// Locks it for reading; waits until the deadline for a writer who is inside or whose turn it is.
// TDM_TIMED_OUT: the deadline has passed. TDM_DEADLOCK, in checking builds: the caller writes.
// Under -Wthread-safety write if (!tdm_rw_read_lock_until(...)), which clang understands.
tdm_nodiscard tdm_inline enum tdm_status tdm_rw_read_lock_until(struct tdm_rw *rw,
								uint64_t deadline_ns)
    TDM_TRIES_SHARED_(0, rw) TDM_UNANALYZED_
{
	if (tdm_unlikely(tdm_rw_is_mine_(rw)))
		return TDM_DEADLOCK;
	enum tdm_status status = TDM_OK;
	unsigned tsan = TDM_TSAN_READ_ | (deadline_ns == TDM_FOREVER ? 0 : TDM_TSAN_TRY_);
	tdm_tsan_locking_(rw, tsan);
	uint64_t in = tdm_fetch_add_acquire_u64(&rw->in, TDM_RW_READER_); // E1, pairs with open
	if (tdm_unlikely(tdm_rw_gate_of_(in) != 0))
		status = tdm_rw_read_wait_(rw, tdm_rw_gate_of_(in), deadline_ns);
	tdm_tsan_locked_(rw, status == TDM_OK ? tsan : tsan | TDM_TSAN_FAILED_);
	return status;
}

// Locks it for reading; waits for ever. TDM_OK, apart from misuse, which only checking builds tell.
tdm_inline enum tdm_status tdm_rw_read_lock(struct tdm_rw *rw)
    TDM_ACQUIRES_SHARED_(rw) TDM_UNANALYZED_
{
	return tdm_rw_read_lock_until(rw, TDM_FOREVER);
}

// Ends reading. TDM_NOT_OWNER, in checking builds: nobody reads; nothing is done.
tdm_inline enum tdm_status tdm_rw_read_unlock(struct tdm_rw *rw)
    TDM_RELEASES_SHARED_(rw) TDM_UNANALYZED_
{
	if (tdm_unlikely(!tdm_rw_is_read_(rw)))
		return TDM_NOT_OWNER;
	tdm_tsan_unlocking_(rw, TDM_TSAN_READ_);
	tdm_fetch_add_release_u32(&rw->out, 1); // E2, pairs with drain
	tdm_event_notify(&rw->left);
	tdm_tsan_unlocked_(rw, TDM_TSAN_READ_);
	return TDM_OK;
}

// ---------------------------------------------------------------------------------------------
// Writing

// Locks it for writing, if nobody reads or writes. False: somebody did. Readers that come while it
// looks for others wait those few instructions.
tdm_nodiscard tdm_inline bool tdm_rw_write_try_lock(struct tdm_rw *rw)
    TDM_TRIES_(true, rw) TDM_UNANALYZED_
{
	uint32_t ticket;
	tdm_tsan_locking_(rw, TDM_TSAN_TRY_);
	bool held = tdm_rw_claim_(rw, &ticket) && tdm_rw_close_(rw, ticket, 0, 0) == TDM_OK;
	if (held)
		tdm_rw_own_(rw);
	tdm_tsan_locked_(rw, held ? TDM_TSAN_TRY_ : TDM_TSAN_TRY_ | TDM_TSAN_FAILED_);
	return held;
}

// Locks it for writing; waits until the deadline, and tries once however late it is. It joins the
// queue of writers only if the deadline is TDM_FOREVER. TDM_TIMED_OUT: the deadline has passed.
// TDM_DEADLOCK, in checking builds: the caller writes.
// Under -Wthread-safety write if (!tdm_rw_write_lock_until(...)), which clang understands.
tdm_nodiscard tdm_inline enum tdm_status tdm_rw_write_lock_until(struct tdm_rw *rw,
								 uint64_t deadline_ns)
    TDM_TRIES_(0, rw) TDM_UNANALYZED_
{
	if (tdm_unlikely(tdm_rw_is_mine_(rw)))
		return TDM_DEADLOCK;
	unsigned tsan = deadline_ns == TDM_FOREVER ? 0 : TDM_TSAN_TRY_;
	tdm_tsan_locking_(rw, tsan);
	enum tdm_status status = tdm_rw_write_(rw, deadline_ns);
	if (status == TDM_OK)
		tdm_rw_own_(rw);
	tdm_tsan_locked_(rw, status == TDM_OK ? tsan : tsan | TDM_TSAN_FAILED_);
	return status;
}

// Locks it for writing; waits for ever. TDM_OK, apart from misuse, which only checking builds tell.
tdm_inline enum tdm_status tdm_rw_write_lock(struct tdm_rw *rw) TDM_ACQUIRES_(rw) TDM_UNANALYZED_
{
	return tdm_rw_write_lock_until(rw, TDM_FOREVER);
}

// Ends writing. TDM_NOT_OWNER, in checking builds: the caller does not write; nothing is done.
tdm_inline enum tdm_status tdm_rw_write_unlock(struct tdm_rw *rw) TDM_RELEASES_(rw) TDM_UNANALYZED_
{
	if (tdm_unlikely(!tdm_rw_disown_(rw)))
		return TDM_NOT_OWNER;
	tdm_tsan_unlocking_(rw, 0);
	tdm_rw_open_(rw, 0);
	tdm_tsan_unlocked_(rw, 0);
	return TDM_OK;
}

// ---------------------------------------------------------------------------------------------
// From one to the other. clang's analysis has no words for an upgrade that may fail: a function
// that upgrades is beyond -Wthread-safety.

// A reader becomes the writer, with nobody between; waits until the deadline for the other readers
// to leave. Of two that try at once one gets TDM_BUSY, as does who finds a writer inside or
// waiting: these wait for its reading to end, so it must unlock and lock for writing.
// TDM_TIMED_OUT. Anything but TDM_OK: it goes on reading.
tdm_nodiscard tdm_inline enum tdm_status tdm_rw_upgrade_until(struct tdm_rw *rw,
							      uint64_t deadline_ns)
{
	uint32_t ticket;
	if (tdm_unlikely(!tdm_rw_is_read_(rw)))
		return TDM_NOT_OWNER;
	if (!tdm_rw_claim_(rw, &ticket))
		return TDM_BUSY;
	enum tdm_status status = tdm_rw_close_(rw, ticket, 1, deadline_ns);
	if (status != TDM_OK)
		return status;
	tdm_fetch_add_relaxed_u32(&rw->out, 1);
	tdm_rw_own_(rw);
	tdm_tsan_unlocking_(rw, TDM_TSAN_READ_);
	tdm_tsan_unlocked_(rw, TDM_TSAN_READ_);
	tdm_tsan_locking_(rw, TDM_TSAN_TRY_);
	tdm_tsan_locked_(rw, TDM_TSAN_TRY_);
	return TDM_OK;
}

// The same without waiting: TDM_BUSY also while others read.
tdm_nodiscard tdm_inline enum tdm_status tdm_rw_try_upgrade(struct tdm_rw *rw)
{
	enum tdm_status status = tdm_rw_upgrade_until(rw, 0);
	return status == TDM_TIMED_OUT ? TDM_BUSY : status;
}

// The writer becomes a reader, with no other writer between. TDM_NOT_OWNER, in checking builds: the
// caller does not write; nothing is done.
tdm_inline enum tdm_status tdm_rw_downgrade(struct tdm_rw *rw) TDM_RELEASES_(rw)
    TDM_ACQUIRES_SHARED_(rw) TDM_UNANALYZED_
{
	if (tdm_unlikely(!tdm_rw_disown_(rw)))
		return TDM_NOT_OWNER;
	tdm_tsan_unlocking_(rw, 0);
	tdm_rw_open_(rw, TDM_RW_READER_);
	tdm_tsan_unlocked_(rw, 0);
	tdm_tsan_locking_(rw, TDM_TSAN_READ_ | TDM_TSAN_TRY_);
	tdm_tsan_locked_(rw, TDM_TSAN_READ_ | TDM_TSAN_TRY_);
	return TDM_OK;
}

// Ends its use and leaves zero-filled memory, an unlocked lock; orders nothing. TDM_BUSY: somebody
// holds it. Every other call on it has returned: unlocking looks for sleepers after unlocking.
tdm_inline enum tdm_status tdm_rw_destroy(struct tdm_rw *rw)
{
	uint64_t in = tdm_load_relaxed_u64(&rw->in);
	if (tdm_load_relaxed_u32(&rw->next) != tdm_load_relaxed_u32(&rw->serving) ||
	    tdm_rw_readers_of_(in) != tdm_load_relaxed_u32(&rw->out))
		return TDM_BUSY;
	tdm_tsan_forget_(rw);
	tdm_store_relaxed_u64(&rw->in, 0);
	tdm_store_relaxed_u32(&rw->out, 0);
	tdm_store_relaxed_u32(&rw->next, 0);
	tdm_store_relaxed_u32(&rw->serving, 0);
	tdm_store_relaxed_u32(&rw->owner, 0);
	tdm_store_relaxed_u32(&rw->opened.word, 0);
	tdm_store_relaxed_u32(&rw->left.word, 0);
	for (uint32_t i = 0; i < TDM_RW_TURNS_; i++)
		tdm_store_relaxed_u32(&rw->turn[i].word, 0);
	return TDM_OK;
}

TDM_END_DECLS

#endif
