// SPDX-License-Identifier: BSD-2-Clause
// A sequence lock: one value of any size that many read and few write, and that readers copy out
// without writing anything anywhere.
//
// Choose it for a value that is read far more often than it is written. Readers cost each other and
// the writer nothing, and may map the memory read-only. But they wait while somebody writes; and
// a writer that dies in the middle takes the value with it, old and new. lock/snapshot.h has
// neither, for the memory of several copies.
//
// Plain    Zero-filled memory, holding zeros, or no flags. `self` is NULL. A writer that dies keeps
//          others from writing, and in the middle from reading.
// Robust   TDM_SEQ_ROBUST. It lies in a segment, and every writer passes the participant that its
//          thread joined with; readers need none. When a writer has died in the middle, the next
//          one gets TDM_OWNER_DIED, and what it writes is the value again.
//
// Writing  name_write takes the writer's role, stores, and gives it back: for several writers.
//          Where there is one, it takes the role once (tdm_seq_lock), and each name_store is plain
//          stores, no read-modify-write. To change a part: lock, try_read, store, unlock.
//
// Progress   A try_read is wait-free. name_read repeats it until it falls between two writes:
//            beside a writer that never pauses that may take for ever. It pauses, yields, and then
//            sleeps for as long as it has waited, 100 ms at most: readers announce themselves to
//            nobody, so nobody wakes them. Writers wait for each other as in lock/mutex.h.
// Callers    Reading: any thread of any process that maps it, also from a signal handler
//            (try_read). Writing: as lock/mutex.h.
//
// Edges
//   E1  The sequence: write_end's store (release) with read_begin's load (acquire): the words of
//       that write, or of a later one, are read, no earlier ones.
//   A word (base/words.h E1): who reads one of a later write sees the odd sequence that was stored
//   before it. So read_retry, whose load and whose partner's store need no order, does not find the
//   sequence of read_begin again: sequences only grow.
//   One writer to the next: as lock/mutex.h. So all stores to the words, and to the
//   sequence, are in one order, that of the writers.
//   For users of the value, E1 is the edge: what its writer did before is visible to its readers.
//
// Crashes
//   C1  Death before the sequence turns odd, or after it turned even: the value is the old or the
//       new one, and the next writer gets TDM_OK.
//   C2  Death in between: the value is lost. The sequence stays odd, readers get TDM_BUSY (at their
//       deadline), until the next writer, who gets TDM_OWNER_DIED, has stored all of a value. If
//       that one dies, too, or unlocks without, the same goes for the one after it.
//   C3  Death of a reader: nothing remains.
//
// Source     Lameter, "Effective Synchronization on Linux/NUMA Systems", 2005; Boehm, "Can seqlocks
//            get along with programming language memory models?", MSPC 2012; Lamport, "Concurrent
//            Reading and Writing", CACM 20(11), 1977.
//
// Example    tests/examples/config_snapshot.c, with a snapshot;
//	struct position { double x, y, z; };
//	TDM_SEQ_DEFINE(track, struct position);
//
//	struct track *track = ...;                       // zero-filled shared memory
//	(void)track_write(track, NULL, &position);       // any thread
//	enum tdm_status status = track_read(track, &position); // any other
#ifndef TDM_LOCK_SEQ_H
#define TDM_LOCK_SEQ_H

#include "../base/atomic.h"
#include "../base/backoff.h"
#include "../base/clock.h"
#include "../base/config.h"
#include "../base/futex.h"
#include "../base/sanitizer.h"
#include "../base/slots.h"
#include "../base/status.h"
#include "../base/words.h"
#include "../shm/participant.h"
#include "mutex.h"
#include "writer.h"

TDM_BEGIN_DECLS

#define TDM_SEQ_ROBUST TDM_MUTEX_ROBUST

// The sequence: even, and 2 more for each write; odd while one is under way, or if it died.
struct TDM_CAPABILITY_("mutex") tdm_seq {
	tdm_atomic_u64 sequence;
	struct tdm_mutex writer;
};
TDM_STATIC_ASSERT(sizeof(struct tdm_seq) == 40, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_seq, writer) == 8, "layout");

// ---------------------------------------------------------------------------------------------
// For a user's own words: tdm_atomic_u64 (or narrower) next to the lock, stored by release, loaded
// by acquire. The typed value below is made of these.
//
//	do {                                             tdm_seq_lock(&p->seq, self);
//		begun = tdm_seq_read_begin(&p->seq);     tdm_seq_write_begin(&p->seq);
//		x = tdm_load_acquire_u64(&p->x);         tdm_store_release_u64(&p->x, x);
//		y = tdm_load_acquire_u64(&p->y);         tdm_store_release_u64(&p->y, y);
//	} while (tdm_seq_read_retry(&p->seq, begun));    tdm_seq_write_end(&p->seq);
//	                                                 tdm_seq_unlock(&p->seq, self);

// Makes one that nobody writes; the words are the caller's. While nobody else uses it. TDM_INVALID:
// an unknown flag.
tdm_nodiscard tdm_function enum tdm_status tdm_seq_init(struct tdm_seq *seq, uint32_t flags)
{
	tdm_store_relaxed_u64(&seq->sequence, 0);
	return tdm_writer_init_(&seq->writer, flags);
}

// Ends its use; what remains is plain, and its words are what they were. TDM_BUSY: somebody writes.
tdm_function enum tdm_status tdm_seq_destroy(struct tdm_seq *seq)
{
	enum tdm_status status = tdm_mutex_destroy(&seq->writer);
	if (status == TDM_OK)
		tdm_store_relaxed_u64(&seq->sequence, 0);
	return status;
}

// Begins to read; the answer is for read_retry.
tdm_inline uint64_t tdm_seq_read_begin(const struct tdm_seq *seq)
{
	return tdm_load_acquire_u64(&seq->sequence); // E1, pairs with write_end
}

// May the words that were read since be of more than one write? Then forget them.
tdm_inline bool tdm_seq_read_retry(const struct tdm_seq *seq, uint64_t begun)
{
	return (begun & 1) != 0 || tdm_load_relaxed_u64(&seq->sequence) != begun;
}

// Where the sequence is odd, what is there is of nobody's making.
tdm_inline enum tdm_status tdm_seq_locked_(const struct tdm_seq *seq, enum tdm_status status)
{
	if (tdm_likely(status == TDM_OK) &&
	    tdm_unlikely((tdm_load_relaxed_u64(&seq->sequence) & 1) != 0))
		return TDM_OWNER_DIED;
	return status;
}

// Takes the writer's role, if it is free or its holder has died. TDM_OK: held. TDM_OWNER_DIED:
// held, and a writer died in the middle: store all of a value. TDM_BUSY: another holds it, alive.
// TDM_DEADLOCK: the caller holds it (plain: told in checking builds only). TDM_NEEDS_PARTICIPANT,
// TDM_FORKED, TDM_INVALID: it is robust, and self is no participant of its segment. TDM_CORRUPT.
// TDM_SYSTEM: the kernel would not say whether the holder lives.
tdm_nodiscard tdm_inline enum tdm_status tdm_seq_try_lock(struct tdm_seq *seq,
							  struct tdm_participant *self)
    TDM_TRIES_(0, seq) TDM_UNANALYZED_
{
	return tdm_seq_locked_(seq, tdm_writer_try_lock_(&seq->writer, self));
}

// The same; waits until the deadline, and then answers TDM_TIMED_OUT instead of TDM_BUSY.
tdm_nodiscard tdm_inline enum tdm_status
tdm_seq_lock_until(struct tdm_seq *seq, struct tdm_participant *self, uint64_t deadline_ns)
    TDM_TRIES_(0, seq) TDM_UNANALYZED_
{
	return tdm_seq_locked_(seq, tdm_writer_lock_until_(&seq->writer, self, deadline_ns));
}

// The same; waits for ever.
tdm_inline enum tdm_status tdm_seq_lock(struct tdm_seq *seq, struct tdm_participant *self)
    TDM_ACQUIRES_(seq) TDM_UNANALYZED_
{
	return tdm_seq_lock_until(seq, self, TDM_FOREVER);
}

// Gives the role back. TDM_NOT_OWNER: the caller does not hold it (plain: told where nobody does,
// and in checking builds).
tdm_inline enum tdm_status tdm_seq_unlock(struct tdm_seq *seq, struct tdm_participant *self)
    TDM_RELEASES_(seq) TDM_UNANALYZED_
{
	return tdm_mutex_unlock(&seq->writer, self);
}

// The caller, who holds the role, begins to store words; readers get nothing until write_end.
tdm_inline void tdm_seq_write_begin(struct tdm_seq *seq)
{
	uint64_t odd = tdm_load_relaxed_u64(&seq->sequence) | 1;
	tdm_store_relaxed_u64(&seq->sequence, odd);
}

// All words are stored.
tdm_inline void tdm_seq_write_end(struct tdm_seq *seq)
{
	uint64_t odd = tdm_load_relaxed_u64(&seq->sequence) | 1;
	tdm_store_release_u64(&seq->sequence, odd + 1); // E1, pairs with read_begin
}

// ---------------------------------------------------------------------------------------------
// A value of `size` bytes in TDM_WORDS_(size) words, which typed values keep behind the lock.

tdm_function enum tdm_status tdm_seq_init_(struct tdm_seq *seq, tdm_atomic_u64 *words,
					   const void *value, size_t size, uint32_t flags)
{
	if (value != TDM_NULL)
		tdm_words_store_(words, value, size);
	else
		tdm_words_clear_(words, size);
	return tdm_seq_init(seq, flags);
}

tdm_inline enum tdm_status tdm_seq_try_read_(const struct tdm_seq *seq, const tdm_atomic_u64 *words,
					     void *value, size_t size)
{
	uint64_t begun = tdm_seq_read_begin(seq);
	if (tdm_unlikely((begun & 1) != 0))
		return TDM_BUSY;
	tdm_words_load_(words, value, size);
	return tdm_unlikely(tdm_seq_read_retry(seq, begun)) ? TDM_BUSY : TDM_OK;
}

#define TDM_SEQ_NAP_NS_ UINT64_C(100000000)

tdm_cold enum tdm_status tdm_seq_read_slow_(const struct tdm_seq *seq, const tdm_atomic_u64 *words,
					    void *value, size_t size, uint64_t deadline_ns)
{
	struct tdm_patience patience = {0};
	struct tdm_backoff backoff = {0};
	uint64_t began_ns = tdm_now_ns(), now_ns = began_ns;
	for (;;) {
		enum tdm_status status = tdm_seq_try_read_(seq, words, value, size);
		if (status != TDM_BUSY || now_ns >= deadline_ns)
			return status;
		if (tdm_backoff_once(&backoff, &patience))
			continue;
		tdm_atomic_u32 nobody = {0};
		uint64_t waited_ns = tdm_now_ns() - began_ns;
		uint64_t nap_ns = waited_ns < TDM_SEQ_NAP_NS_ ? waited_ns : TDM_SEQ_NAP_NS_;
		uint64_t until_ns = tdm_deadline_after_ns(nap_ns);
		status =
		    tdm_futex_wait_(&nobody, 0, until_ns < deadline_ns ? until_ns : deadline_ns);
		if (status == TDM_SYSTEM)
			return status;
		patience.shift = TDM_PATIENCE_MAX_;
		now_ns = tdm_now_ns();
	}
}

tdm_inline enum tdm_status tdm_seq_read_until_(const struct tdm_seq *seq,
					       const tdm_atomic_u64 *words, void *value,
					       size_t size, uint64_t deadline_ns)
{
	enum tdm_status status = tdm_seq_try_read_(seq, words, value, size);
	return tdm_likely(status == TDM_OK)
		   ? TDM_OK
		   : tdm_seq_read_slow_(seq, words, value, size, deadline_ns);
}

tdm_inline void tdm_seq_put_(struct tdm_seq *seq, tdm_atomic_u64 *words, const void *value,
			     size_t size)
{
	tdm_seq_write_begin(seq);
	tdm_words_store_(words, value, size);
	tdm_seq_write_end(seq);
}

tdm_inline enum tdm_status tdm_seq_store_(struct tdm_seq *seq, tdm_atomic_u64 *words,
					  const struct tdm_participant *self, const void *value,
					  size_t size)
{
	enum tdm_status status = tdm_writer_check_(&seq->writer, self);
	if (tdm_likely(status == TDM_OK))
		tdm_seq_put_(seq, words, value, size);
	return status;
}

// The role has been asked for, and `status` was the answer.
tdm_inline enum tdm_status tdm_seq_write_(struct tdm_seq *seq, tdm_atomic_u64 *words,
					  struct tdm_participant *self, enum tdm_status status,
					  const void *value, size_t size) TDM_UNANALYZED_
{
	if (tdm_unlikely(status != TDM_OK && status != TDM_OWNER_DIED))
		return status;
	tdm_seq_put_(seq, words, value, size);
	(void)tdm_seq_unlock(seq, self);
	return status;
}

TDM_END_DECLS

// ---------------------------------------------------------------------------------------------
// Typed values. TDM_SEQ_DEFINE(track, struct position); makes struct track, and:
//
//   track_init(&t, &value, flags)   as tdm_seq_init; a value of NULL stands for zeros
//   track_try_read(&t, &value)   TDM_OK: read, whole. TDM_BUSY: somebody writes, or has written
//                                meanwhile; the value may be anything
//   track_read_until(&t, &value, deadline_ns)   waits; TDM_BUSY: the deadline has passed
//   track_read(&t, &value)                      TDM_SYSTEM: the kernel would not let it sleep
//   track_try_write(&t, self, &value)   track_write_until(&t, self, &value, deadline_ns)
//   track_write(&t, self, &value)       as tdm_seq_try_lock and so on. TDM_OK: written.
//                                       TDM_OWNER_DIED: written; the value before was lost
//   track_store(&t, self, &value)   for whoever holds tdm_seq_lock(&t.seq, self). TDM_NOT_OWNER
//
// T is any type that may be copied as bytes.

#define TDM_SEQ_DEFINE(NAME, T)                                                                    \
	TDM_COPYABLE_(T);                                                                          \
	struct NAME {                                                                              \
		struct tdm_seq seq;                                                                \
		tdm_atomic_u64 words[TDM_WORDS_(sizeof(T))];                                       \
	};                                                                                         \
	tdm_nodiscard tdm_function enum tdm_status NAME##_init(struct NAME *it_, T const *value,   \
							       uint32_t flags)                     \
	{                                                                                          \
		return tdm_seq_init_(&it_->seq, it_->words, value, sizeof(T), flags);              \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_try_read(const struct NAME *it_, T *value) \
	{                                                                                          \
		return tdm_seq_try_read_(&it_->seq, it_->words, value, sizeof(T));                 \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_read_until(const struct NAME *it_,         \
								   T *value, uint64_t deadline_ns) \
	{                                                                                          \
		return tdm_seq_read_until_(&it_->seq, it_->words, value, sizeof(T), deadline_ns);  \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_read(const struct NAME *it_, T *value)     \
	{                                                                                          \
		return NAME##_read_until(it_, value, TDM_FOREVER);                                 \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_store(                                     \
	    struct NAME *it_, const struct tdm_participant *self, T const *value)                  \
	{                                                                                          \
		return tdm_seq_store_(&it_->seq, it_->words, self, value, sizeof(T));              \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_try_write(                                 \
	    struct NAME *it_, struct tdm_participant *self, T const *value) TDM_UNANALYZED_        \
	{                                                                                          \
		return tdm_seq_write_(&it_->seq, it_->words, self,                                 \
				      tdm_seq_try_lock(&it_->seq, self), value, sizeof(T));        \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_write_until(                               \
	    struct NAME *it_, struct tdm_participant *self, T const *value, uint64_t deadline_ns)  \
	    TDM_UNANALYZED_                                                                        \
	{                                                                                          \
		return tdm_seq_write_(&it_->seq, it_->words, self,                                 \
				      tdm_seq_lock_until(&it_->seq, self, deadline_ns), value,     \
				      sizeof(T));                                                  \
	}                                                                                          \
	tdm_inline enum tdm_status NAME##_write(struct NAME *it_, struct tdm_participant *self,    \
						T const *value)                                    \
	{                                                                                          \
		return NAME##_write_until(it_, self, value, TDM_FOREVER);                          \
	}                                                                                          \
	struct NAME

#endif
