// SPDX-License-Identifier: BSD-2-Clause
// A snapshot: one value of any size that readers copy out whole, whatever becomes of its writers.
//
// Choose it for a value that must be there at any time: a configuration, the last good state. A
// reader never waits for a writer, be it slow, stopped or dead in the middle, and a value that was
// written stays. It costs the memory of 4 copies; where readers may wait, lock/seq.h takes one.
//
// Plain    Zero-filled memory, holding zeros, or no flags. `self` is NULL. A writer that dies keeps
//          others from writing, nobody from reading.
// Robust   TDM_SNAPSHOT_ROBUST. It lies in a segment, and every writer passes the participant that
//          its thread joined with; readers need none. When a writer has died, the next one simply
//          goes on: there is nothing to repair, so nobody is told.
//
// Writing  name_write takes the writer's role, stores, and gives it back: for several writers.
//          Where there is one, it takes the role once (tdm_snapshot_lock), and each name_store is
//          plain stores, no read-modify-write. To change a part: lock, try_read, store, unlock.
//
// Progress   try_read is wait-free: 64 attempts. An attempt fails only if 3 writes have ended since
//            it began; and then the next begins with the newest value. TDM_BUSY, after all of them,
//            takes writers that copy three times as fast as the reader, 64 times in a row.
//            name_read goes on until it has one. Writers wait for each other as in lock/mutex.h.
// Copies     Beside a writer that never pauses, up to 0.3 % of the attempts failed with 2 copies,
//            97 of them in a row; with 4 only those that were preempted, never two in a row; 8
//            changed nothing.
// Callers    Reading: any thread of any process that maps it, read-only is enough, also from a
//            signal handler. Writing: as lock/mutex.h.
//
// Edges
//   E1  The version: store (release) with a reader's load (acquire): the words of that write, or of
//       a later one in the same copy, are read, no earlier ones.
//   A word (base/words.h E1): write number v fills copy v % 4. Who reads a word of write v + 4 sees
//   the version v + 3 that was stored before it, and so the reader's second look at the version,
//   which needs no order, finds that at least. It takes the value if it finds less.
//   One writer to the next: as lock/mutex.h. So all stores are in one order.
//   For users of the value, E1 is the edge: what its writer did before is visible to its readers.
//
// Crashes
//   C1  Death before the version is stored: the value is the old one. Nobody has looked at the copy
//       that is half written, but readers who find themselves late; the next writer fills the same.
//   C2  Death afterwards: the value is the new one, although nobody was told.
//   C3  Death of a reader: nothing remains.
//
// Source     Ramalhete and Correia, "Left-Right: A Concurrency Control Technique with Wait-Free
//            Population Oblivious Reads", 2013, whose readers announce themselves and whose writer
//            waits for them: here neither does. Lamport, "Concurrent Reading and Writing", CACM
//            20(11), 1977. Copies by number: Peterson, "Concurrent Reading While Writing", TOPLAS
//            5(1), 1983.
//
// Example    tests/examples/config_snapshot.c;
//	TDM_SNAPSHOT_DEFINE(config, struct settings);
//
//	struct config *config = ...;                  // in a segment, or zero-filled shared memory
//	(void)config_write(config, self, &settings);  // any participant
//	enum tdm_status status = config_read(config, &settings); // anybody who maps it
#ifndef TDM_LOCK_SNAPSHOT_H
#define TDM_LOCK_SNAPSHOT_H

#include "../base/atomic.h"
#include "../base/clock.h"
#include "../base/config.h"
#include "../base/sanitizer.h"
#include "../base/slots.h"
#include "../base/status.h"
#include "../base/words.h"
#include "../shm/participant.h"
#include "mutex.h"
#include "writer.h"

TDM_BEGIN_DECLS

#define TDM_SNAPSHOT_ROBUST TDM_MUTEX_ROBUST
#define TDM_SNAPSHOT_COPIES_ 4U
#define TDM_SNAPSHOT_TRIES_ 64U

// The version: how many writes there have been. The newest is in copy version % copies.
struct TDM_CAPABILITY_("mutex") tdm_snapshot {
	tdm_atomic_u64 version;
	struct tdm_mutex writer;
};
TDM_STATIC_ASSERT(sizeof(struct tdm_snapshot) == 40, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_snapshot, writer) == 8, "layout");

// Ends its use; what remains is plain, and its value what it was. TDM_BUSY: somebody writes.
tdm_function enum tdm_status tdm_snapshot_destroy(struct tdm_snapshot *snapshot)
{
	return tdm_mutex_destroy(&snapshot->writer);
}

// Takes the writer's role, if it is free or its holder has died. TDM_OK: held. TDM_BUSY: another
// holds it, alive. TDM_DEADLOCK: the caller holds it (plain: told in checking builds only).
// TDM_NEEDS_PARTICIPANT, TDM_FORKED, TDM_INVALID: it is robust, and self is no participant of its
// segment. TDM_CORRUPT. TDM_SYSTEM: the kernel would not say whether the holder lives.
tdm_nodiscard tdm_inline enum tdm_status tdm_snapshot_try_lock(struct tdm_snapshot *snapshot,
							       struct tdm_participant *self)
    TDM_TRIES_(0, snapshot) TDM_UNANALYZED_
{
	return tdm_writer_try_lock_(&snapshot->writer, self);
}

// The same; waits until the deadline, and then answers TDM_TIMED_OUT instead of TDM_BUSY.
tdm_nodiscard tdm_inline enum tdm_status tdm_snapshot_lock_until(struct tdm_snapshot *snapshot,
								 struct tdm_participant *self,
								 uint64_t deadline_ns)
    TDM_TRIES_(0, snapshot) TDM_UNANALYZED_
{
	return tdm_writer_lock_until_(&snapshot->writer, self, deadline_ns);
}

// The same; waits for ever.
tdm_inline enum tdm_status tdm_snapshot_lock(struct tdm_snapshot *snapshot,
					     struct tdm_participant *self)
    TDM_ACQUIRES_(snapshot) TDM_UNANALYZED_
{
	return tdm_snapshot_lock_until(snapshot, self, TDM_FOREVER);
}

// Gives the role back. TDM_NOT_OWNER: the caller does not hold it (plain: told where nobody does,
// and in checking builds).
tdm_inline enum tdm_status tdm_snapshot_unlock(struct tdm_snapshot *snapshot,
					       struct tdm_participant *self)
    TDM_RELEASES_(snapshot) TDM_UNANALYZED_
{
	return tdm_mutex_unlock(&snapshot->writer, self);
}

// ---------------------------------------------------------------------------------------------
// A value of `size` bytes in `copies` copies, a power of two, of TDM_WORDS_(size) words each.

tdm_function enum tdm_status tdm_snapshot_init_(struct tdm_snapshot *snapshot,
						tdm_atomic_u64 *words, size_t copies,
						const void *value, size_t size, uint32_t flags)
{
	for (size_t copy = 0; copy < copies; copy++)
		tdm_words_clear_(words + copy * TDM_WORDS_(size), size);
	if (value != TDM_NULL)
		tdm_words_store_(words, value, size);
	tdm_store_relaxed_u64(&snapshot->version, 0);
	return tdm_writer_init_(&snapshot->writer, flags);
}

tdm_inline bool tdm_snapshot_read_once_(const struct tdm_snapshot *snapshot,
					const tdm_atomic_u64 *words, size_t copies, void *value,
					size_t size)
{
	uint64_t begun = tdm_load_acquire_u64(&snapshot->version); // E1, pairs with put
	size_t copy = TDM_CAST(size_t, begun & (copies - 1));
	tdm_words_load_(words + copy * TDM_WORDS_(size), value, size);
	return tdm_load_relaxed_u64(&snapshot->version) - begun < copies - 1;
}

tdm_cold enum tdm_status tdm_snapshot_try_read_slow_(const struct tdm_snapshot *snapshot,
						     const tdm_atomic_u64 *words, size_t copies,
						     void *value, size_t size)
{
	for (uint32_t i = 1; i < TDM_SNAPSHOT_TRIES_; i++)
		if (tdm_snapshot_read_once_(snapshot, words, copies, value, size))
			return TDM_OK;
	return TDM_BUSY;
}

tdm_inline enum tdm_status tdm_snapshot_try_read_(const struct tdm_snapshot *snapshot,
						  const tdm_atomic_u64 *words, size_t copies,
						  void *value, size_t size)
{
	return tdm_likely(tdm_snapshot_read_once_(snapshot, words, copies, value, size))
		   ? TDM_OK
		   : tdm_snapshot_try_read_slow_(snapshot, words, copies, value, size);
}

tdm_inline enum tdm_status tdm_snapshot_read_until_(const struct tdm_snapshot *snapshot,
						    const tdm_atomic_u64 *words, size_t copies,
						    void *value, size_t size, uint64_t deadline_ns)
{
	for (;;) {
		enum tdm_status status =
		    tdm_snapshot_try_read_(snapshot, words, copies, value, size);
		if (tdm_likely(status == TDM_OK) || tdm_now_ns() >= deadline_ns)
			return status;
	}
}

tdm_inline void tdm_snapshot_put_(struct tdm_snapshot *snapshot, tdm_atomic_u64 *words,
				  size_t copies, const void *value, size_t size)
{
	uint64_t version = tdm_load_relaxed_u64(&snapshot->version) + 1;
	size_t copy = TDM_CAST(size_t, version & (copies - 1));
	tdm_words_store_(words + copy * TDM_WORDS_(size), value, size);
	tdm_store_release_u64(&snapshot->version, version); // E1, pairs with read_once
}

tdm_inline enum tdm_status tdm_snapshot_store_(struct tdm_snapshot *snapshot, tdm_atomic_u64 *words,
					       size_t copies, const struct tdm_participant *self,
					       const void *value, size_t size)
{
	enum tdm_status status = tdm_writer_check_(&snapshot->writer, self);
	if (tdm_likely(status == TDM_OK))
		tdm_snapshot_put_(snapshot, words, copies, value, size);
	return status;
}

// The role has been asked for, and `status` was the answer.
tdm_inline enum tdm_status tdm_snapshot_write_(struct tdm_snapshot *snapshot, tdm_atomic_u64 *words,
					       size_t copies, struct tdm_participant *self,
					       enum tdm_status status, const void *value,
					       size_t size) TDM_UNANALYZED_
{
	if (tdm_unlikely(status != TDM_OK))
		return status;
	tdm_snapshot_put_(snapshot, words, copies, value, size);
	(void)tdm_snapshot_unlock(snapshot, self);
	return TDM_OK;
}

TDM_END_DECLS

// ---------------------------------------------------------------------------------------------
// Typed snapshots. TDM_SNAPSHOT_DEFINE(config, struct settings); makes struct config, and:
//
//   config_init(&c, &value, flags)   while nobody else uses it; a value of NULL stands for zeros.
//                                    TDM_INVALID: an unknown flag
//   config_try_read(&c, &value)   TDM_OK: read, whole. TDM_BUSY: see Progress; the value may be
//                                 anything
//   config_read_until(&c, &value, deadline_ns)   TDM_BUSY: and the deadline has passed
//   config_read(&c, &value)
//   config_try_write(&c, self, &value)   config_write_until(&c, self, &value, deadline_ns)
//   config_write(&c, self, &value)       as tdm_snapshot_try_lock and so on. TDM_OK: written
//   config_store(&c, self, &value)   for whoever holds tdm_snapshot_lock(&c.snapshot, self).
//                                    TDM_NOT_OWNER
//
// T is any type that may be copied as bytes.

#define TDM_SNAPSHOT_DEFINE(NAME, T) TDM_SNAPSHOT_DEFINE_(NAME, T, TDM_SNAPSHOT_COPIES_)

#define TDM_SNAPSHOT_DEFINE_(NAME, T, COPIES)                                                      \
	TDM_COPYABLE_(T);                                                                          \
	TDM_STATIC_ASSERT((COPIES) > 1 && ((COPIES) & ((COPIES)-1)) == 0, "a power of two");       \
	struct NAME {                                                                              \
		struct tdm_snapshot snapshot;                                                      \
		tdm_atomic_u64 words[(COPIES)*TDM_WORDS_(sizeof(T))];                              \
	};                                                                                         \
	tdm_nodiscard tdm_function enum tdm_status NAME##_init(struct NAME *it_, T const *value,   \
							       uint32_t flags)                     \
	{                                                                                          \
		return tdm_snapshot_init_(&it_->snapshot, it_->words, COPIES, value, sizeof(T),    \
					  flags);                                                  \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_try_read(const struct NAME *it_, T *value) \
	{                                                                                          \
		return tdm_snapshot_try_read_(&it_->snapshot, it_->words, COPIES, value,           \
					      sizeof(T));                                          \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_read_until(const struct NAME *it_,         \
								   T *value, uint64_t deadline_ns) \
	{                                                                                          \
		return tdm_snapshot_read_until_(&it_->snapshot, it_->words, COPIES, value,         \
						sizeof(T), deadline_ns);                           \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_read(const struct NAME *it_, T *value)     \
	{                                                                                          \
		return NAME##_read_until(it_, value, TDM_FOREVER);                                 \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_store(                                     \
	    struct NAME *it_, const struct tdm_participant *self, T const *value)                  \
	{                                                                                          \
		return tdm_snapshot_store_(&it_->snapshot, it_->words, COPIES, self, value,        \
					   sizeof(T));                                             \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_try_write(                                 \
	    struct NAME *it_, struct tdm_participant *self, T const *value) TDM_UNANALYZED_        \
	{                                                                                          \
		return tdm_snapshot_write_(&it_->snapshot, it_->words, COPIES, self,               \
					   tdm_snapshot_try_lock(&it_->snapshot, self), value,     \
					   sizeof(T));                                             \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_write_until(                               \
	    struct NAME *it_, struct tdm_participant *self, T const *value, uint64_t deadline_ns)  \
	    TDM_UNANALYZED_                                                                        \
	{                                                                                          \
		return tdm_snapshot_write_(                                                        \
		    &it_->snapshot, it_->words, COPIES, self,                                      \
		    tdm_snapshot_lock_until(&it_->snapshot, self, deadline_ns), value, sizeof(T)); \
	}                                                                                          \
	tdm_inline enum tdm_status NAME##_write(struct NAME *it_, struct tdm_participant *self,    \
						T const *value)                                    \
	{                                                                                          \
		return NAME##_write_until(it_, self, value, TDM_FOREVER);                          \
	}                                                                                          \
	struct NAME

#endif
