// SPDX-License-Identifier: BSD-2-Clause
// Atomic operations on 8, 16, 32 and 64 bits: what every lock and queue is made of.
//
// An atomic operation happens at one instant: no other thread or process sees half of it, and no
// update is lost. Pick the weakest that does the job:
//
//	load, store     one side writes, others look: a flag, a published index.
//	test-and-set    "was I first?" Sets the value and says whether it already was set. Enough
//	                for a lock; it cannot count and cannot say who was first.
//	fetch-add       everybody gets a different number, until it wraps around: tickets, slots,
//	                statistics. Never fails, but cannot refuse ("only if there is room").
//	exchange        put mine in, take what was there: hand a mailbox over.
//	CAS             compare and swap: "if it still is what I saw, make it this." Any update
//	                that can be computed can be made atomic with a CAS in a loop. A failed one
//	                writes what it found into *expected, ready for the next attempt.
//
// They differ in strength, not only in taste: test-and-set, exchange and fetch-add let two
// threads agree on something without waiting for each other, but not three; CAS lets any number
// (Herlihy 1991, the consensus hierarchy). That is why queues are built on CAS.
//
// What a CAS cannot see is that a value went away and came back (ABA). Put a counter beside the
// value in one word, as pool/stack.h does.
//
// Types tdm_atomic_u8, _u16, _u32, _u64; below, N is u8, u16, u32 or u64 and T the integer. Zero
// bytes are a valid zero. Arithmetic wraps around. Every name ends in its memory order:
//
//	T    tdm_load_{relaxed,acquire,seq_cst}_N(const tdm_atomic_N *a)
//	void tdm_store_{relaxed,release,seq_cst}_N(tdm_atomic_N *a, T v)
//	     and in each of the five orders {relaxed,acquire,release,acq_rel,seq_cst}:
//	T    tdm_exchange_{order}_N(a, v)                  the old value, as all of fetch_*
//	T    tdm_fetch_{add,sub,and,or,xor}_{order}_N(a, v)
//	T    tdm_fetch_{min,max}_{order}_N(a, v)
//	bool tdm_add_unless_{order}_N(a, v, unless)        false: it was `unless`, nothing changed
//	bool tdm_bit_{set,clear}_{order}_N(a, bit)         whether the bit was set before
//	     with the orders named:
//	bool tdm_bit_test_{relaxed,acquire,seq_cst}_N(const tdm_atomic_N *a, bit)
//	bool tdm_test_and_set_{relaxed,acquire,acq_rel,seq_cst}_N(a)    whether it was set before
//	void tdm_clear_{relaxed,release,seq_cst}_N(a)
//	bool tdm_cas_{weak,strong}_{success}_{failure}_N(a, T *expected, T desired)
//	     relaxed_relaxed, acquire_relaxed, acquire_acquire, release_relaxed, release_acquire,
//	     acq_rel_relaxed, acq_rel_acquire, seq_cst_relaxed, seq_cst_acquire, seq_cst_seq_cst
//
// A weak CAS may fail although the value was the expected one: use it inside a loop. A strong one
// fails only for a reason: use it for a single attempt.
//
// Orders. Relaxed promises the operation itself and nothing about its neighbours: right for
// counters that are read after a join. A release publishes everything its thread did before; an
// acquire that reads the released value, or one that read-modify-writes have made of it, sees all
// of that. acq_rel is both. seq_cst adds one order of all seq_cst operations that every thread
// agrees on: needed when each side stores its own location and then looks at the other's.
//
// Progress: load, store, exchange, test-and-set, clear, fetch_add, fetch_sub, bits, the single CAS
// and the reference count's get and put are wait-free where the machine has the instruction (x86,
// arm64 with LSE, riscv) and lock-free where it retries (LL/SC; 64 bits on i386). fetch_and,
// fetch_or and fetch_xor likewise, but x86 retries. fetch_min, fetch_max, add_unless and
// get_unless_zero are lock-free: a retry means that somebody else's update succeeded. There is no
// bound on retries; against a hostile peer bound a CAS loop yourself.
//
// Nothing here waits, calls the kernel, or needs more than the word, so all of it works from a
// signal handler and in shared memory. 8 and 16 bits on a machine that lacks them (riscv64 before
// gcc 14) go through a CAS on the aligned 32-bit word around them: lock-free, stores included, and
// a plain variable in that word then shares its races.
//
// Callers: any operation beside any other, on one location always in one width.
//
// Edges:
//	E1  store_release, or any read-modify-write with release in its order
//	    -> load_acquire, or any read-modify-write with acquire in its order, that reads it.
//	    An operation that ends up changing nothing (a failed CAS, fetch_min, fetch_max and
//	    add_unless with nothing to do) keeps its acquire half and releases nothing.
//	E2  clear_release -> test_and_set_acquire that answers false: the two ends of a lock.
//	E3  tdm_refcount_put -> the tdm_refcount_put that answers true: every holder's last use
//	    comes before the destruction.
//	E4  tdm_refcount_init -> tdm_refcount_get_unless_zero that answers true: who finds the
//	    object sees it built.
//
// Crashes: C1 a participant that dies leaves the value before or after its operation, never
// between. C2 the references that a dead holder had are never put: the object leaks, nobody uses
// freed memory. For references that must come back use pool/pool.h.
//
// Example, tests/examples/atomic.c:
//
//	tdm_atomic_u32 lock = {0};                          // test-and-set: a lock
//	while (tdm_test_and_set_acquire_u32(&lock))
//		;                                           // lock/spin.h waits better than this
//	...
//	tdm_clear_release_u32(&lock);
//
//	uint64_t mine = tdm_fetch_add_relaxed_u64(&next, 1); // fetch-add: a number of my own
//
//	uint32_t seen = tdm_load_relaxed_u32(&balance);      // CAS: withdraw, but never below zero
//	do {
//		if (seen < amount)
//			return false;
//	} while (!tdm_cas_weak_acq_rel_relaxed_u32(&balance, &seen, seen - amount));
//
// Sources: Herlihy, "Wait-free synchronization", TOPLAS 13(1), 1991 (what each can do). Gottlieb,
// Lubachevsky, Rudolph, "Basic techniques for the efficient coordination of very large numbers of
// cooperating sequential processors", TOPLAS 5(2), 1983 (fetch-and-add). Herlihy and Shavit, "The
// Art of Multiprocessor Programming", chapters 5 and 7. Silberschatz, Galvin, Gagne, "Operating
// System Concepts", "Hardware support for synchronization" (test-and-set and CAS in a textbook).
// ISO C11 7.17 (orders). The saturating count follows Linux's refcount_t.
#ifndef TDM_ATOMIC_H
#define TDM_ATOMIC_H

#include "base/atomic.h"
#include "base/config.h"

TDM_BEGIN_DECLS

// --- test-and-set, clear ---

#define TDM_DEFINE_TEST_AND_SET_(N, T, order)                                                      \
	tdm_nodiscard tdm_inline bool tdm_test_and_set_##order##_##N(tdm_atomic_##N *a)            \
	{                                                                                          \
		return tdm_exchange_##order##_##N(a, 1) != 0; /* E2, pairs with clear */           \
	}

#define TDM_DEFINE_CLEAR_(N, T, order)                                                             \
	tdm_inline void tdm_clear_##order##_##N(tdm_atomic_##N *a)                                 \
	{                                                                                          \
		tdm_store_##order##_##N(a, 0); /* E2, pairs with test_and_set */                   \
	}

// --- bits ---
// Bit 0 is the lowest. An index past the width is taken modulo the width, never undefined.

#define TDM_BIT_MASK_(T, bit) TDM_CAST(T, TDM_CAST(T, 1) << ((bit) & (8 * sizeof(T) - 1)))

#define TDM_DEFINE_BIT_(N, T, order)                                                               \
	tdm_inline bool tdm_bit_set_##order##_##N(tdm_atomic_##N *a, unsigned bit)                 \
	{                                                                                          \
		return tdm_set_bits_##order##_##N##_(a, TDM_BIT_MASK_(T, bit)); /* E1 */           \
	}                                                                                          \
	tdm_inline bool tdm_bit_clear_##order##_##N(tdm_atomic_##N *a, unsigned bit)               \
	{                                                                                          \
		return tdm_clear_bits_##order##_##N##_(a, TDM_BIT_MASK_(T, bit)); /* E1 */         \
	}

#define TDM_DEFINE_BIT_TEST_(N, T, order)                                                          \
	tdm_inline bool tdm_bit_test_##order##_##N(const tdm_atomic_##N *a, unsigned bit)          \
	{                                                                                          \
		return (tdm_load_##order##_##N(a) & TDM_BIT_MASK_(T, bit)) != 0; /* E1 */          \
	}

// --- fetch-min, fetch-max, add-unless: a CAS loop that stops when there is nothing to do ---
// `read` is the acquire half of `order`, for an operation that changes nothing.

#define TDM_DEFINE_LOOPS_(N, T, order, read)                                                       \
	tdm_inline T tdm_fetch_min_##order##_##N(tdm_atomic_##N *a, T v)                           \
	{                                                                                          \
		T old = tdm_load_##read##_##N(a);                                   /* E1 */       \
		while (v < old && !tdm_cas_weak_##order##_##read##_##N(a, &old, v)) /* E1 */       \
			continue;                                                                  \
		return old;                                                                        \
	}                                                                                          \
	tdm_inline T tdm_fetch_max_##order##_##N(tdm_atomic_##N *a, T v)                           \
	{                                                                                          \
		T old = tdm_load_##read##_##N(a);                                   /* E1 */       \
		while (v > old && !tdm_cas_weak_##order##_##read##_##N(a, &old, v)) /* E1 */       \
			continue;                                                                  \
		return old;                                                                        \
	}                                                                                          \
	tdm_inline bool tdm_add_unless_##order##_##N(tdm_atomic_##N *a, T v, T unless)             \
	{                                                                                          \
		T old = tdm_load_##read##_##N(a); /* E1 */                                         \
		do {                                                                               \
			if (old == unless)                                                         \
				return false;                                                      \
		} while (                                                                          \
		    !tdm_cas_weak_##order##_##read##_##N(a, &old, TDM_CAST(T, old + v))); /* E1 */ \
		return true;                                                                       \
	}

// --- the table ---

#define TDM_DEFINE_ATOMIC_MORE_(N, T)                                                              \
	TDM_DEFINE_TEST_AND_SET_(N, T, relaxed)                                                    \
	TDM_DEFINE_TEST_AND_SET_(N, T, acquire)                                                    \
	TDM_DEFINE_TEST_AND_SET_(N, T, acq_rel)                                                    \
	TDM_DEFINE_TEST_AND_SET_(N, T, seq_cst)                                                    \
	TDM_DEFINE_CLEAR_(N, T, relaxed)                                                           \
	TDM_DEFINE_CLEAR_(N, T, release)                                                           \
	TDM_DEFINE_CLEAR_(N, T, seq_cst)                                                           \
	TDM_DEFINE_BIT_TEST_(N, T, relaxed)                                                        \
	TDM_DEFINE_BIT_TEST_(N, T, acquire)                                                        \
	TDM_DEFINE_BIT_TEST_(N, T, seq_cst)                                                        \
	TDM_DEFINE_BIT_(N, T, relaxed)                                                             \
	TDM_DEFINE_BIT_(N, T, acquire)                                                             \
	TDM_DEFINE_BIT_(N, T, release)                                                             \
	TDM_DEFINE_BIT_(N, T, acq_rel)                                                             \
	TDM_DEFINE_BIT_(N, T, seq_cst)                                                             \
	TDM_DEFINE_LOOPS_(N, T, relaxed, relaxed)                                                  \
	TDM_DEFINE_LOOPS_(N, T, acquire, acquire)                                                  \
	TDM_DEFINE_LOOPS_(N, T, release, relaxed)                                                  \
	TDM_DEFINE_LOOPS_(N, T, acq_rel, acquire)                                                  \
	TDM_DEFINE_LOOPS_(N, T, seq_cst, seq_cst)

TDM_DEFINE_ATOMIC_MORE_(u8, uint8_t)
TDM_DEFINE_ATOMIC_MORE_(u16, uint16_t)
TDM_DEFINE_ATOMIC_MORE_(u32, uint32_t)
TDM_DEFINE_ATOMIC_MORE_(u64, uint64_t)

// --- reference count ---
//
//	count                     meaning
//	0                         no holder: a zero page, or the last reference was put
//	1 .. TDM_REFCOUNT_MAX     that many references
//	above                     saturated: for good, and never destroyed
//
// A count that would overflow, a get or put without a reference: each saturates the count instead
// of wrapping it. The object leaks, which is a bug; nobody uses freed memory, which is worse. An
// operation that finds the count in the upper half puts it back in the middle of that half, so it
// would take 2^30 callers inside one operation at once to leave it again.

#define TDM_REFCOUNT_MAX UINT32_C(0x7fffffff)
#define TDM_REFCOUNT_SATURATED_ UINT32_C(0xc0000000)

struct tdm_refcount {
	tdm_atomic_u32 count;
};
TDM_STATIC_ASSERT(sizeof(struct tdm_refcount) == 4, "a reference count is one word");

// The creator holds `references` of them, 1 as a rule. Build the object first.
tdm_inline void tdm_refcount_init(struct tdm_refcount *refcount, uint32_t references)
{
	if (references > TDM_REFCOUNT_MAX)
		references = TDM_REFCOUNT_SATURATED_;
	tdm_store_release_u32(&refcount->count, references); // E4, pairs with get_unless_zero
}

// One more reference, by somebody who has one and so needs no order.
tdm_inline void tdm_refcount_get(struct tdm_refcount *refcount)
{
	uint32_t old = tdm_fetch_add_relaxed_u32(&refcount->count, 1);
	if (tdm_unlikely(old - 1 >= TDM_REFCOUNT_MAX - 1)) // 0, the last count, or saturated
		tdm_store_relaxed_u32(&refcount->count, TDM_REFCOUNT_SATURATED_);
}

// A reference for somebody who has none but knows where the count is. False: too late, it is gone.
// The memory of the count itself must stay (a pool, an array), and if objects are recycled there,
// look again whether it is the one you meant.
tdm_nodiscard tdm_inline bool tdm_refcount_get_unless_zero(struct tdm_refcount *refcount)
{
	uint32_t old = tdm_load_relaxed_u32(&refcount->count);
	uint32_t next;
	do {
		if (old == 0)
			return false;
		next = old < TDM_REFCOUNT_MAX ? old + 1 : TDM_REFCOUNT_SATURATED_;
	} while (!tdm_cas_weak_acquire_relaxed_u32(&refcount->count, &old, next)); // E4, with init
	return true;
}

// One reference less. True: it was the last, destroy the object now.
tdm_nodiscard tdm_inline bool tdm_refcount_put(struct tdm_refcount *refcount)
{
	uint32_t old = tdm_fetch_sub_acq_rel_u32(&refcount->count, 1); // E3, both ends
	if (tdm_unlikely(old - 1 >= TDM_REFCOUNT_MAX))                 // 0 or saturated
		tdm_store_relaxed_u32(&refcount->count, TDM_REFCOUNT_SATURATED_);
	return old == 1;
}

// For display and tests: it may have changed by the time the caller looks at it.
tdm_inline uint32_t tdm_refcount_read(const struct tdm_refcount *refcount)
{
	return tdm_load_relaxed_u32(&refcount->count);
}

TDM_END_DECLS

#endif
