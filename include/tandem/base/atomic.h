// SPDX-License-Identifier: BSD-2-Clause
// Atomic integers of 8, 16, 32 and 64 bits that are the same bytes for C and for C++. Not API:
// users include <tandem/atomic.h>.
//
//	tdm_load_acquire_u64(&a)                    tdm_store_release_u64(&a, v)
//	tdm_exchange_acq_rel_u32(&a, v)             tdm_fetch_add_relaxed_u32(&a, v)
//	tdm_cas_weak_acquire_relaxed_u8(&a, &expected, desired)
//
// The order is in the name and never an argument, so that a reader sees it, a missing one does not
// compile, and a script can weaken one to see which test notices. A CAS names two: the order of a
// success, then that of a failure.
//
// Each type is a struct of one member. A plain read or write of a shared location does not compile
// in C; in C++ it takes typing the private member's name.
//
// In C the member is _Atomic, as <stdatomic.h> wants it. In C++ it is a plain integer, used only
// through the compiler's __atomic operations: a std::atomic begins to live when its constructor
// runs, so none can be found in a page that another process filled, and its layout is the
// library's business. The static asserts below hold the two to one layout; on i386 the forced
// alignment is what keeps 64 bits inside one cache line.
//
// There is no double-width CAS: compilers turn it into a library call whose lock table belongs to
// one process. Nor is there a fence: ThreadSanitizer does not model fences; use a read-modify-write
// on the location itself.
#ifndef TDM_BASE_ATOMIC_H
#define TDM_BASE_ATOMIC_H

#include "config.h"
#include "sanitizer.h"

#ifndef __cplusplus
#	include <stdatomic.h>
#endif

TDM_BEGIN_DECLS

// clang on i386 calls 64 bits not lock-free, because a bare uint64_t need not be aligned there;
// ours always is, and then it issues the instruction.
#if !(__GCC_ATOMIC_INT_LOCK_FREE == 2 &&                                                           \
      (__GCC_ATOMIC_LLONG_LOCK_FREE == 2 || defined(__GCC_HAVE_SYNC_COMPARE_AND_SWAP_8)))
#	error "tandem needs lock-free 32 and 64 bit atomics (on i386: -march=i586 or newer)"
#endif

// Some targets (riscv64 before gcc 14) have no read-modify-write below 32 bits, and a library call
// instead. There the 8 and 16 bit operations work on the aligned word around the value. Loads and
// stores too: ThreadSanitizer keeps one history per address, so a mix of widths would hide edges.
#ifndef TDM_SUBWORD_BY_CAS
#	if __GCC_ATOMIC_CHAR_LOCK_FREE == 2 && __GCC_ATOMIC_SHORT_LOCK_FREE == 2
#		define TDM_SUBWORD_BY_CAS 0
#	else
#		define TDM_SUBWORD_BY_CAS 1
#	endif
#endif

// A weak CAS may fail for no reason. x86 never does, so a checker does it here.
#ifndef TDM_SEAM_CAS_WEAK_FAILS
#	define TDM_SEAM_CAS_WEAK_FAILS() 0
#endif

// --- the types ---

#ifdef __cplusplus
#	define TDM_ATOMIC(T) T
#else
#	define TDM_ATOMIC(T) _Atomic(T)
#endif

#define TDM_ATOMIC_TYPE_(N, T)                                                                     \
	typedef struct tdm_atomic_##N {                                                            \
		TDM_ATOMIC(T) v_ __attribute__((aligned(sizeof(T))));                              \
	} tdm_atomic_##N;                                                                          \
	TDM_STATIC_ASSERT(sizeof(tdm_atomic_##N) == sizeof(T), "an atomic is its integer");        \
	TDM_STATIC_ASSERT(TDM_ALIGNOF(tdm_atomic_##N) == sizeof(T), "an atomic is aligned")

TDM_ATOMIC_TYPE_(u8, uint8_t);
TDM_ATOMIC_TYPE_(u16, uint16_t);
TDM_ATOMIC_TYPE_(u32, uint32_t);
TDM_ATOMIC_TYPE_(u64, uint64_t);

// --- what the two languages call the same thing ---

#define TDM_ORDER_relaxed_ __ATOMIC_RELAXED
#define TDM_ORDER_acquire_ __ATOMIC_ACQUIRE
#define TDM_ORDER_release_ __ATOMIC_RELEASE
#define TDM_ORDER_acq_rel_ __ATOMIC_ACQ_REL
#define TDM_ORDER_seq_cst_ __ATOMIC_SEQ_CST

#ifdef __cplusplus
#	define TDM_NATIVE_LOAD_(p, order) __atomic_load_n(p, order)
#	define TDM_NATIVE_STORE_(p, v, order) __atomic_store_n(p, v, order)
#	define TDM_NATIVE_exchange_(p, v, order) __atomic_exchange_n(p, v, order)
#	define TDM_NATIVE_fetch_add_(p, v, order) __atomic_fetch_add(p, v, order)
#	define TDM_NATIVE_fetch_sub_(p, v, order) __atomic_fetch_sub(p, v, order)
#	define TDM_NATIVE_fetch_and_(p, v, order) __atomic_fetch_and(p, v, order)
#	define TDM_NATIVE_fetch_or_(p, v, order) __atomic_fetch_or(p, v, order)
#	define TDM_NATIVE_fetch_xor_(p, v, order) __atomic_fetch_xor(p, v, order)
#	define TDM_NATIVE_CAS_weak_(p, e, d, s, f) __atomic_compare_exchange_n(p, e, d, true, s, f)
#	define TDM_NATIVE_CAS_strong_(p, e, d, s, f)                                              \
		__atomic_compare_exchange_n(p, e, d, false, s, f)
#else
#	define TDM_NATIVE_LOAD_(p, order) atomic_load_explicit(p, order)
#	define TDM_NATIVE_STORE_(p, v, order) atomic_store_explicit(p, v, order)
#	define TDM_NATIVE_exchange_(p, v, order) atomic_exchange_explicit(p, v, order)
#	define TDM_NATIVE_fetch_add_(p, v, order) atomic_fetch_add_explicit(p, v, order)
#	define TDM_NATIVE_fetch_sub_(p, v, order) atomic_fetch_sub_explicit(p, v, order)
#	define TDM_NATIVE_fetch_and_(p, v, order) atomic_fetch_and_explicit(p, v, order)
#	define TDM_NATIVE_fetch_or_(p, v, order) atomic_fetch_or_explicit(p, v, order)
#	define TDM_NATIVE_fetch_xor_(p, v, order) atomic_fetch_xor_explicit(p, v, order)
#	define TDM_NATIVE_CAS_weak_(p, e, d, s, f)                                                \
		atomic_compare_exchange_weak_explicit(p, e, d, s, f)
#	define TDM_NATIVE_CAS_strong_(p, e, d, s, f)                                              \
		atomic_compare_exchange_strong_explicit(p, e, d, s, f)
#endif

// --- direct: the target has the operation in this width ---

#define TDM_DIRECT_LOAD_(N, T, order)                                                              \
	tdm_inline T tdm_load_##order##_##N(const tdm_atomic_##N *a)                               \
	{                                                                                          \
		return TDM_NATIVE_LOAD_(&a->v_, TDM_ORDER_##order##_);                             \
	}

#define TDM_DIRECT_STORE_(N, T, order)                                                             \
	tdm_inline void tdm_store_##order##_##N(tdm_atomic_##N *a, T v)                            \
	{                                                                                          \
		TDM_NATIVE_STORE_(&a->v_, v, TDM_ORDER_##order##_);                                \
	}

// gcc (seen in 12.2, on x86) miscompiles `v = fetch_xor(a, v)` wherever it has to write a CAS loop
// for the operation: result and operand share a register, and the loop fills in the result before
// it uses the operand. So such a loop is written here, unless the operand is a constant or the
// machine has the instruction. "Has" is said only of machines where that is known, and under
// ThreadSanitizer, where each operation is a call.
#if defined(__clang__) || TDM_UNDER_TSAN || defined(__aarch64__) || defined(__arm__) ||            \
    defined(__riscv)
#	define TDM_HAS_ARITHMETIC_(T) true
#	define TDM_HAS_LOGIC_(T) true
#elif defined(__x86_64__)
#	define TDM_HAS_ARITHMETIC_(T) true
#	define TDM_HAS_LOGIC_(T) false
#elif defined(__i386__)
#	define TDM_HAS_ARITHMETIC_(T) (sizeof(T) <= 4)
#	define TDM_HAS_LOGIC_(T) false
#else
#	define TDM_HAS_ARITHMETIC_(T) false
#	define TDM_HAS_LOGIC_(T) false
#endif
#define TDM_HAS_exchange_ TDM_HAS_ARITHMETIC_
#define TDM_HAS_fetch_add_ TDM_HAS_ARITHMETIC_
#define TDM_HAS_fetch_sub_ TDM_HAS_ARITHMETIC_
#define TDM_HAS_fetch_and_ TDM_HAS_LOGIC_
#define TDM_HAS_fetch_or_ TDM_HAS_LOGIC_
#define TDM_HAS_fetch_xor_ TDM_HAS_LOGIC_

// `result` is computed from `old` and `v`.
#define TDM_DIRECT_RMW_(N, T, op, result, order)                                                   \
	tdm_inline T tdm_##op##_##order##_##N(tdm_atomic_##N *a, T v)                              \
	{                                                                                          \
		if (TDM_HAS_##op##_(T) || __builtin_constant_p(v))                                 \
			return TDM_NATIVE_##op##_(&a->v_, v, TDM_ORDER_##order##_);                \
		T old = TDM_NATIVE_LOAD_(&a->v_, __ATOMIC_RELAXED);                                \
		while (!TDM_NATIVE_CAS_weak_(&a->v_, &old, TDM_CAST(T, result),                    \
					     TDM_ORDER_##order##_, __ATOMIC_RELAXED))              \
			continue;                                                                  \
		return old;                                                                        \
	}

// Whether any bit of the mask was set before. The answer is no copy of the old value, so the case
// above cannot arise, and x86 needs no loop for a single bit.
#define TDM_DIRECT_BITS_(N, T, order)                                                              \
	tdm_inline bool tdm_set_bits_##order##_##N##_(tdm_atomic_##N *a, T mask)                   \
	{                                                                                          \
		return (TDM_NATIVE_fetch_or_(&a->v_, mask, TDM_ORDER_##order##_) & mask) != 0;     \
	}                                                                                          \
	tdm_inline bool tdm_clear_bits_##order##_##N##_(tdm_atomic_##N *a, T mask)                 \
	{                                                                                          \
		return (TDM_NATIVE_fetch_and_(&a->v_, TDM_CAST(T, ~mask), TDM_ORDER_##order##_) &  \
			mask) != 0;                                                                \
	}

#define TDM_DIRECT_CAS_(N, T, strength, success, failure)                                          \
	tdm_inline bool tdm_cas_##strength##_##success##_##failure##_##N(tdm_atomic_##N *a,        \
									 T *expected, T desired)   \
	{                                                                                          \
		if (TDM_CAS_##strength##_FAILS_()) {                                               \
			*expected = tdm_load_##failure##_##N(a);                                   \
			return false;                                                              \
		}                                                                                  \
		return TDM_NATIVE_CAS_##strength##_(                                               \
		    &a->v_, expected, desired, TDM_ORDER_##success##_, TDM_ORDER_##failure##_);    \
	}

#define TDM_CAS_weak_FAILS_() TDM_SEAM_CAS_WEAK_FAILS()
#define TDM_CAS_strong_FAILS_() 0

// --- by word: a 32-bit CAS that leaves the neighbours as they are ---
// Lock-free, stores included: a loop goes round again only when somebody changed the word.

#define TDM_BY_WORD_LOAD_(N, T, order)                                                             \
	tdm_inline T tdm_load_##order##_##N(const tdm_atomic_##N *a)                               \
	{                                                                                          \
		return TDM_CAST(T, tdm_word_load_##order##_(tdm_word_of_(a)) >>                    \
				       tdm_word_shift_(a, sizeof(T)));                             \
	}

#define TDM_BY_WORD_STORE_(N, T, order)                                                            \
	tdm_inline void tdm_store_##order##_##N(tdm_atomic_##N *a, T v)                            \
	{                                                                                          \
		(void)tdm_exchange_##order##_##N(a, v);                                            \
	}

#define TDM_BY_WORD_RMW_(N, T, op, result, order)                                                  \
	tdm_inline T tdm_##op##_##order##_##N(tdm_atomic_##N *a, T v)                              \
	{                                                                                          \
		tdm_word_ *word = tdm_word_of_(a);                                                 \
		const unsigned shift = tdm_word_shift_(a, sizeof(T));                              \
		const uint32_t others = ~(TDM_CAST(uint32_t, TDM_CAST(T, -1)) << shift);           \
		uint32_t seen = tdm_word_load_relaxed_(word), next;                                \
		T old;                                                                             \
		do {                                                                               \
			old = TDM_CAST(T, seen >> shift);                                          \
			next = TDM_CAST(uint32_t, TDM_CAST(T, result)) << shift;                   \
		} while (!tdm_word_cas_##order##_relaxed_(word, &seen, (seen & others) | next));   \
		return old;                                                                        \
	}

#define TDM_BY_WORD_BITS_(N, T, order)                                                             \
	tdm_inline bool tdm_set_bits_##order##_##N##_(tdm_atomic_##N *a, T mask)                   \
	{                                                                                          \
		return (tdm_fetch_or_##order##_##N(a, mask) & mask) != 0;                          \
	}                                                                                          \
	tdm_inline bool tdm_clear_bits_##order##_##N##_(tdm_atomic_##N *a, T mask)                 \
	{                                                                                          \
		return (tdm_fetch_and_##order##_##N(a, TDM_CAST(T, ~mask)) & mask) != 0;           \
	}

#define TDM_BY_WORD_CAS_(N, T, strength, success, failure)                                         \
	tdm_inline bool tdm_cas_##strength##_##success##_##failure##_##N(tdm_atomic_##N *a,        \
									 T *expected, T desired)   \
	{                                                                                          \
		tdm_word_ *word = tdm_word_of_(a);                                                 \
		const unsigned shift = tdm_word_shift_(a, sizeof(T));                              \
		const uint32_t others = ~(TDM_CAST(uint32_t, TDM_CAST(T, -1)) << shift);           \
		const uint32_t next = TDM_CAST(uint32_t, desired) << shift;                        \
		const bool fails = TDM_CAS_##strength##_FAILS_();                                  \
		uint32_t seen = tdm_word_load_##failure##_(word);                                  \
		for (;;) {                                                                         \
			T now = TDM_CAST(T, seen >> shift);                                        \
			if (fails || now != *expected) {                                           \
				*expected = now;                                                   \
				return false;                                                      \
			}                                                                          \
			if (tdm_word_cas_##success##_##failure##_(word, &seen,                     \
								  (seen & others) | next))         \
				return true;                                                       \
		}                                                                                  \
	}

// --- the table: every operation, in every order that means something ---
// clang-format off

// X(N, T, op, result, order)
#define TDM_RMW_ORDERS_(X, N, T, op, result)                                                       \
	X(N, T, op, result, relaxed)                                                               \
	X(N, T, op, result, acquire)                                                               \
	X(N, T, op, result, release)                                                               \
	X(N, T, op, result, acq_rel)                                                               \
	X(N, T, op, result, seq_cst)

// X(..., success, failure)
#define TDM_CAS_ORDERS_(X, ...)                                                                    \
	X(__VA_ARGS__, relaxed, relaxed)                                                           \
	X(__VA_ARGS__, acquire, relaxed)                                                           \
	X(__VA_ARGS__, acquire, acquire)                                                           \
	X(__VA_ARGS__, release, relaxed)                                                           \
	X(__VA_ARGS__, release, acquire)                                                           \
	X(__VA_ARGS__, acq_rel, relaxed)                                                           \
	X(__VA_ARGS__, acq_rel, acquire)                                                           \
	X(__VA_ARGS__, seq_cst, relaxed)                                                           \
	X(__VA_ARGS__, seq_cst, acquire)                                                           \
	X(__VA_ARGS__, seq_cst, seq_cst)

#define TDM_DEFINE_ATOMIC_(HOW, N, T)                                                              \
	HOW##_LOAD_(N, T, relaxed)                                                                 \
	HOW##_LOAD_(N, T, acquire)                                                                 \
	HOW##_LOAD_(N, T, seq_cst)                                                                 \
	TDM_RMW_ORDERS_(HOW##_RMW_, N, T, exchange, v)                                             \
	TDM_RMW_ORDERS_(HOW##_RMW_, N, T, fetch_add, old + v)                                      \
	TDM_RMW_ORDERS_(HOW##_RMW_, N, T, fetch_sub, old - v)                                      \
	TDM_RMW_ORDERS_(HOW##_RMW_, N, T, fetch_and, old & v)                                      \
	TDM_RMW_ORDERS_(HOW##_RMW_, N, T, fetch_or, old | v)                                       \
	TDM_RMW_ORDERS_(HOW##_RMW_, N, T, fetch_xor, old ^ v)                                      \
	HOW##_BITS_(N, T, relaxed)                                                                 \
	HOW##_BITS_(N, T, acquire)                                                                 \
	HOW##_BITS_(N, T, release)                                                                 \
	HOW##_BITS_(N, T, acq_rel)                                                                 \
	HOW##_BITS_(N, T, seq_cst)                                                                 \
	HOW##_STORE_(N, T, relaxed)                                                                \
	HOW##_STORE_(N, T, release)                                                                \
	HOW##_STORE_(N, T, seq_cst)                                                                \
	TDM_CAS_ORDERS_(HOW##_CAS_, N, T, weak)                                                    \
	TDM_CAS_ORDERS_(HOW##_CAS_, N, T, strong)

// clang-format on

TDM_DEFINE_ATOMIC_(TDM_DIRECT, u32, uint32_t)
TDM_DEFINE_ATOMIC_(TDM_DIRECT, u64, uint64_t)

#if !TDM_SUBWORD_BY_CAS
TDM_DEFINE_ATOMIC_(TDM_DIRECT, u8, uint8_t)
TDM_DEFINE_ATOMIC_(TDM_DIRECT, u16, uint16_t)
#else

typedef uint32_t __attribute__((__may_alias__)) tdm_word_;

tdm_inline tdm_word_ *tdm_word_of_(const void *a)
{
	return TDM_RETYPE(tdm_word_ *, TDM_RETYPE(uintptr_t, a) & ~TDM_CAST(uintptr_t, 3));
}

// How far up in its word the value at `a` sits.
tdm_inline unsigned tdm_word_shift_(const void *a, size_t size)
{
	size_t byte = TDM_RETYPE(uintptr_t, a) & 3;
#	if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	byte = 4 - size - byte;
#	else
	(void)size;
#	endif
	return TDM_CAST(unsigned, 8 * byte);
}

// Out of line and hidden from AddressSanitizer: the word may reach past the end of an object. No
// const: gcc would ask for neighbours that somebody has initialized.
#	define TDM_WORD_FUNCTION_ tdm_function __attribute__((noinline, no_sanitize_address))

#	define TDM_WORD_LOAD_(order)                                                              \
		TDM_WORD_FUNCTION_ uint32_t tdm_word_load_##order##_(tdm_word_ *word)              \
		{                                                                                  \
			return __atomic_load_n(word, TDM_ORDER_##order##_);                        \
		}

#	define TDM_WORD_CAS_(W, success, failure)                                                 \
		TDM_WORD_FUNCTION_ bool tdm_word_cas_##success##_##failure##_(                     \
		    W *word, uint32_t *seen, uint32_t next)                                        \
		{                                                                                  \
			W now = *seen;                                                             \
			bool done = __atomic_compare_exchange_n(word, &now, next, true,            \
								TDM_ORDER_##success##_,            \
								TDM_ORDER_##failure##_);           \
			*seen = now;                                                               \
			return done;                                                               \
		}

TDM_WORD_LOAD_(relaxed)
TDM_WORD_LOAD_(acquire)
TDM_WORD_LOAD_(seq_cst)
TDM_CAS_ORDERS_(TDM_WORD_CAS_, tdm_word_)

TDM_DEFINE_ATOMIC_(TDM_BY_WORD, u8, uint8_t)
TDM_DEFINE_ATOMIC_(TDM_BY_WORD, u16, uint16_t)

#endif

TDM_END_DECLS

#endif
