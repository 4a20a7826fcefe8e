// SPDX-License-Identifier: BSD-2-Clause
// A spin lock: one word, one read-modify-write to lock and one store to unlock.
//
// Choose it for sections of a few instructions between threads that run at once, where nobody
// minds who goes first. Where order matters, lock/ticket.h. Wherever a holder may be killed, may
// sleep, or runs at another real-time priority than a waiter, lock/mutex.h: this lock neither
// parks nor knows who is dead.
//
// Progress   tdm_spin_try_lock and tdm_spin_unlock are wait-free. Locking blocks, and promises no
//            order: a waiter may be passed over for long, above all by one that locks again as
//            soon as it has unlocked. It looks until it sees the lock free, at distances that
//            double up to 16 pauses, and yields its CPU once it has paused 200 times (at once where
//            the process has one CPU), so that a holder that was preempted gets a CPU.
// Callers    Everything from any thread of any process that maps it for writing. From a signal
//            handler, if the section never runs on a thread with that signal let through: a handler
//            that interrupts the holder would wait for ever (lock/sigmask.h). Who locks unlocks.
//
// Edges
//   E1  Unlocking (store, release) with the exchange or CAS of the next that locks (acquire): all
//       that was done under the lock is visible to the next.
//
// Crashes
//   C1  Death of a holder: the lock stays locked, for ever. lock/mutex.h is the one that survives.
//   C2  Death of a waiter, or of one that has unlocked: nothing remains.
//
// Checks     With TDM_CHECKED defined as 1 before the first include, misuse is a status: unlocking
//            what another or nobody holds (TDM_NOT_OWNER), locking what one holds (TDM_DEADLOCK). A
//            checked caller names its thread in the word, an unchecked one does not, and takes a
//            holder's name away when it finds the lock held; both can share a lock. A checked
//            caller does not learn of misuse of a lock whose holder has no name; an unchecked one
//            never learns of any, nor does the optimizer leave anything of the checks. Threads are
//            named as the caller's PID namespace has them: checked users of one lock belong to one
//            namespace.
//
// Source     Test-and-test-and-set: Rudolph and Segall, "Dynamic decentralized cache schemes for
//            MIMD parallel processors", ISCA 1984. Exponential backoff: Anderson, "The performance
//            of spin lock alternatives for shared-memory multiprocessors", IEEE TPDS 1(1), 1990.
//
// Example
//	struct counters {            // in shared memory, zero-filled
//		struct tdm_spin lock;
//		uint64_t hits, misses;
//	};
//
//	tdm_spin_lock(&counters->lock);
//	counters->hits++;
//	tdm_spin_unlock(&counters->lock);
#ifndef TDM_LOCK_SPIN_H
#define TDM_LOCK_SPIN_H

#include "../base/atomic.h"
#include "../base/backoff.h"
#include "../base/clock.h"
#include "../base/config.h"
#include "../base/sanitizer.h"
#include "../base/status.h"
#include "../base/syscall.h"

TDM_BEGIN_DECLS

// The word:  thread << 1 | HELD
//
//   0                     unlocked: so is zero-filled memory
//   HELD                  locked, by nobody knows whom
//   thread << 1 | HELD    locked by this thread; Linux numbers threads up to 2^22
#define TDM_SPIN_HELD_ 1U
#define TDM_SPIN_PAUSES_ 16U

struct TDM_CAPABILITY_("mutex") tdm_spin {
	tdm_atomic_u32 word;
};
TDM_STATIC_ASSERT(sizeof(struct tdm_spin) == 4, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_spin, word) == 0, "layout");

// What the caller writes into the word.
tdm_inline uint32_t tdm_spin_mine_(void)
{
	return TDM_CHECKED ? tdm_thread_id_() << 1 | TDM_SPIN_HELD_ : TDM_SPIN_HELD_;
}

tdm_inline bool tdm_spin_is_mine_(const struct tdm_spin *spin, uint32_t mine)
{
	return TDM_CHECKED && tdm_load_relaxed_u32(&spin->word) == mine;
}

tdm_inline bool tdm_spin_claim_(struct tdm_spin *spin, uint32_t mine)
{
	uint32_t seen = 0;
	if (!TDM_CHECKED)
		return tdm_exchange_acquire_u32(&spin->word, mine) == 0; // E1, pairs with unlock
	// Leaves the holder's name alone.
	return tdm_cas_strong_acquire_relaxed_u32(&spin->word, &seen, mine); // E1, with unlock
}

tdm_cold enum tdm_status tdm_spin_wait_(struct tdm_spin *spin, uint32_t mine, uint64_t deadline_ns)
{
	uint32_t paused = 0, pauses = 1;
	for (;;) {
		if (tdm_load_relaxed_u32(&spin->word) == 0 && tdm_spin_claim_(spin, mine))
			return TDM_OK;
		if (deadline_ns != TDM_FOREVER && tdm_now_ns() >= deadline_ns)
			return TDM_TIMED_OUT;
		tdm_backoff_rest_(&paused, pauses, 1);
		if (pauses < TDM_SPIN_PAUSES_)
			pauses *= 2;
	}
}

// Locks it, if it is free. False: somebody holds it.
tdm_nodiscard tdm_inline bool tdm_spin_try_lock(struct tdm_spin *spin)
    TDM_TRIES_(true, spin) TDM_UNANALYZED_
{
	tdm_tsan_locking_(spin, TDM_TSAN_TRY_);
	bool held = tdm_spin_claim_(spin, tdm_spin_mine_());
	tdm_tsan_locked_(spin, held ? TDM_TSAN_TRY_ : TDM_TSAN_TRY_ | TDM_TSAN_FAILED_);
	return held;
}

// Locks it; waits until the deadline, and tries once however late it is. TDM_TIMED_OUT: the
// deadline has passed, and another held it. TDM_DEADLOCK, in checking builds: the caller holds it.
// Under -Wthread-safety write if (!tdm_spin_lock_until(...)), which clang understands.
tdm_nodiscard tdm_inline enum tdm_status tdm_spin_lock_until(struct tdm_spin *spin,
							     uint64_t deadline_ns)
    TDM_TRIES_(0, spin) TDM_UNANALYZED_
{
	uint32_t mine = tdm_spin_mine_();
	enum tdm_status status = TDM_OK;
	if (tdm_unlikely(tdm_spin_is_mine_(spin, mine)))
		return TDM_DEADLOCK;
	unsigned tsan = deadline_ns == TDM_FOREVER ? 0 : TDM_TSAN_TRY_;
	tdm_tsan_locking_(spin, tsan);
	if (tdm_unlikely(!tdm_spin_claim_(spin, mine)))
		status = tdm_spin_wait_(spin, mine, deadline_ns);
	tdm_tsan_locked_(spin, status == TDM_OK ? tsan : tsan | TDM_TSAN_FAILED_);
	return status;
}

// Locks it; waits for ever. TDM_OK, apart from misuse, which only checking builds tell.
tdm_inline enum tdm_status tdm_spin_lock(struct tdm_spin *spin) TDM_ACQUIRES_(spin) TDM_UNANALYZED_
{
	return tdm_spin_lock_until(spin, TDM_FOREVER);
}

// Unlocks it. TDM_NOT_OWNER, in checking builds: the caller does not hold it; nothing is done.
tdm_inline enum tdm_status tdm_spin_unlock(struct tdm_spin *spin)
    TDM_RELEASES_(spin) TDM_UNANALYZED_
{
	if (TDM_CHECKED) { // look once: the name may be taken away meanwhile
		uint32_t word = tdm_load_relaxed_u32(&spin->word);
		if (word != TDM_SPIN_HELD_ && word != tdm_spin_mine_())
			return TDM_NOT_OWNER;
	}
	tdm_tsan_unlocking_(spin, 0);
	tdm_store_release_u32(&spin->word, 0); // E1, pairs with claim
	tdm_tsan_unlocked_(spin, 0);
	return TDM_OK;
}

// Ends its use and leaves zero-filled memory, an unlocked lock; orders nothing. TDM_BUSY: somebody
// holds it. That nobody is about to lock it is the caller's business, as for any memory that goes.
tdm_inline enum tdm_status tdm_spin_destroy(struct tdm_spin *spin)
{
	if (tdm_load_relaxed_u32(&spin->word) != 0)
		return TDM_BUSY;
	tdm_tsan_forget_(spin);
	return TDM_OK;
}

TDM_END_DECLS

#endif
