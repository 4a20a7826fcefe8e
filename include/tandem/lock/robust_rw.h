// SPDX-License-Identifier: BSD-2-Clause
// A readers-writer lock that survives the death of readers and of writers.
//
// Choose it for data in a segment that many participants read and few write. A reader writes to a
// line of its own and only reads the lock's, so readers do not slow each other down, however many
// they are and however short their sections; a writer looks at every seat of the segment. Where
// nobody is killed and writing is about as frequent as reading, lock/rw.h, or lock/mutex.h. For one
// value that many read, lock/snapshot.h.
//
// Who goes first is chosen when it is made:
//   TDM_RW_FAIR     Phases of reading and writing take turns: a writer that waits keeps later
//                   readers out, and the readers that waited for a writer come before the next one.
//   TDM_RW_READERS  Readers wait only while one writes. Writers may starve.
//   TDM_RW_WRITERS  Readers wait for a writer that waits, and have no claim against the next one.
//                   Readers may starve.
// Among writers there is no order.
//
// Progress   Blocking. Reading costs one exchange on a line of the reader's own to lock and one
//            store to unlock, no system call. Who waits spins briefly, yields, then sleeps. A death
//            is noticed by whoever waits for the dead, before it goes to sleep and every 100 ms; a
//            stopped holder holds. The try_ forms and unlocking never wait.
// Callers    Every participant of the segment, not from signal handlers. Who locks unlocks. A
//            reader may lock again for reading, up to 32767 times, whoever waits.
//
// Edges
//   E1  The end of writing (store of `gate`, release) with the look at the gate (acquire) that lets
//       a reader in: all that was done under the lock is visible to the reader.
//   E2  A reader's leaving (store of its flag, release) with the writer's look at the flag
//       (acquire): the writer overwrites nothing that is still being read.
//   E3  A reader raises its flag (RMW) and then looks at the gate; a writer closes the gate (store)
//       and then looks at the flags. All four are seq_cst: one of the two sees the other.
//   E4  A waiting reader's phase (store, release) with the writer's look at it (acquire), after the
//       look at the flag, which may be older: what the reader read before it came to wait is over.
//   E5  The creator's store of the tag (release) with open's load (acquire): it is complete.
//   Between writers: lock/owner.h E1, E2. Wake-ups: sync/event.h.
//
// Crashes
//   C1  Death of a reader, anywhere: its flag names it. A writer that waits for it asks, and clears
//       exactly that flag. Nothing is in doubt. With TDM_RW_WRITERS, one that died waiting leaves
//       a flag that keeps nobody out, for whoever has its seat next.
//   C2  Death of a writer inside: exactly one of the others gets the lock *for writing* with
//       TDM_OWNER_DIED, also if it asked to read: readers alone must not wait for ever for a writer
//       that may never come. It repairs, calls tdm_robust_rw_make_consistent, and unlocks for
//       writing, or downgrades. Who unlocks without that gives it up for ever
//       (TDM_NOT_RECOVERABLE).
//   C3  Death of a writer that was not inside yet, or had ended writing: whoever waits for it takes
//       its place and undoes it. There is nothing to repair, and nobody is told.
//   C4  Death between a change and its wake-up: a sleeper finds out after 100 ms.
//   Leaving the segment with it locked is a death.
//
// Source     A flag for each reader: Hsieh and Weihl, "Scalable Reader-Writer Locks for Parallel
//            Systems", IPPS 1992, and the Linux kernel's brlock. Phases: Brandenburg and Anderson,
//            as in lock/rw.h. The flag and gate are Dekker's algorithm.
//
// Example    tests/examples/readers_cache.c
//	struct tdm_object objects[] = {tdm_robust_rw_object("lock", TDM_RW_FAIR), ...};
//	...
//	struct tdm_robust_rw *rw;
//	status = tdm_robust_rw_open(tdm_segment_find(&segment, "lock"), &rw);
//	...
//	status = tdm_robust_rw_read_lock(rw, &self);
//	if (status == TDM_OWNER_DIED) { // held for writing
//		repair(table);
//		status = tdm_robust_rw_make_consistent(rw, &self);
//		if (status == TDM_OK)
//			status = tdm_robust_rw_downgrade(rw, &self);
//	}
//	if (status != TDM_OK)
//		return status;
//	value = table->value;
//	return tdm_robust_rw_read_unlock(rw, &self);
#ifndef TDM_LOCK_ROBUST_RW_H
#define TDM_LOCK_ROBUST_RW_H

#include "../base/atomic.h"
#include "../base/backoff.h"
#include "../base/clock.h"
#include "../base/config.h"
#include "../base/object.h"
#include "../base/sanitizer.h"
#include "../base/status.h"
#include "../shm/participant.h"
#include "../sync/event.h"
#include "owner.h"

TDM_BEGIN_DECLS

#define TDM_RW_FAIR 1U
#define TDM_RW_READERS 2U
#define TDM_RW_WRITERS 3U

#define TDM_ROBUST_RW_VERSION 1U
#define TDM_ROBUST_RW_TAG_ ((UINT64_C(0x52570000) << 32) | TDM_ROBUST_RW_VERSION)

// The flag:  generation << 16 | WAITS << 15 | depth
//
//   depth 0, or another generation   not here
//   depth                            reads, so often; or is about to look at the gate
//   WAITS | 1                        found the gate closed in `phase`. As long as that is the
//                                    gate's number, it waits; after that it reads. With
//                                    TDM_RW_WRITERS it waits until it says otherwise.
#define TDM_ROBUST_RW_DEPTH_ UINT64_C(0x7fff)
#define TDM_ROBUST_RW_WAITS_ UINT64_C(0x8000)

struct tdm_robust_rw_seat {
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 flag;
	tdm_atomic_u64 phase;
	unsigned char pad_[TDM_CACHE_LINE - 16];
};
TDM_STATIC_ASSERT(sizeof(struct tdm_robust_rw_seat) == TDM_CACHE_LINE, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_robust_rw_seat, phase) == 8, "layout");

// Its seats follow it. `gate` is odd while it is closed, and one more at each change; only the
// owner changes it, and `inside`.
struct TDM_CAPABILITY_("mutex") tdm_robust_rw {
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 tag;
	tdm_atomic_u64 owner; // of writing or of waiting to: lock/owner.h
	tdm_atomic_u64 gate;
	tdm_atomic_u32 preference; // constant
	tdm_atomic_u32 inside;     // 1: the owner writes, or has died writing
	struct tdm_event freed;    // the owner has gone: writers sleep here
	struct tdm_event opened;   // the gate was: readers
	struct tdm_event left;     // a reader has: the owner
	unsigned char pad_[TDM_CACHE_LINE - 44];
};
TDM_STATIC_ASSERT(sizeof(struct tdm_robust_rw) == TDM_CACHE_LINE, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_robust_rw, owner) == 8, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_robust_rw, gate) == 16, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_robust_rw, preference) == 24, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_robust_rw, inside) == 28, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_robust_rw, freed) == 32, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_robust_rw, opened) == 36, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_robust_rw, left) == 40, "layout");

// ---------------------------------------------------------------------------------------------
// Making one

tdm_function uint64_t tdm_robust_rw_bytes_(uint32_t seats)
{
	return sizeof(struct tdm_robust_rw) + seats * UINT64_C(128);
}

tdm_inline struct tdm_robust_rw_seat *tdm_robust_rw_seat_(struct tdm_robust_rw *rw, uint32_t index)
{
	return TDM_AT_(struct tdm_robust_rw_seat, rw,
		       sizeof(*rw) + TDM_CAST(size_t, index) * sizeof(struct tdm_robust_rw_seat));
}

tdm_function uint64_t tdm_robust_rw_object_size_(const struct tdm_object *object)
{
	bool possible = !object->plain && object->capacity >= TDM_RW_FAIR &&
			object->capacity <= TDM_RW_WRITERS && object->seats <= TDM_SEATS_MAX;
	return possible ? tdm_robust_rw_bytes_(object->seats) : 0;
}

tdm_function enum tdm_status tdm_robust_rw_object_init_(struct tdm_span span,
							const struct tdm_object *object)
{
	if (span.status != TDM_OK)
		return span.status;
	uint64_t bytes = tdm_robust_rw_object_size_(object);
	if (bytes == 0 || span.bytes < bytes ||
	    TDM_RETYPE(uintptr_t, span.base) % TDM_CACHE_LINE != 0)
		return TDM_INVALID;
	struct tdm_robust_rw *rw = TDM_AT_(struct tdm_robust_rw, span.base, 0);
	for (uint32_t i = 0; i < object->seats; i++) {
		tdm_store_relaxed_u64(&tdm_robust_rw_seat_(rw, i)->flag, 0);
		tdm_store_relaxed_u64(&tdm_robust_rw_seat_(rw, i)->phase, 0);
	}
	tdm_event_init(&rw->freed);
	tdm_event_init(&rw->opened);
	tdm_event_init(&rw->left);
	tdm_store_relaxed_u32(&rw->preference, TDM_CAST(uint32_t, object->capacity));
	tdm_store_relaxed_u32(&rw->inside, 0);
	tdm_store_relaxed_u64(&rw->gate, 0);
	tdm_store_relaxed_u64(&rw->owner, TDM_OWNER_FREE_);
	tdm_store_release_u64(&rw->tag, TDM_ROBUST_RW_TAG_); // E5, pairs with open
	return TDM_OK;
}

// For tdm_segment_create. preference: TDM_RW_FAIR, TDM_RW_READERS or TDM_RW_WRITERS.
tdm_function struct tdm_object tdm_robust_rw_object(const char *name, uint32_t preference)
{
	struct tdm_object object;
	object.name = name;
	object.kind = TDM_KIND_RW;
	object.version = TDM_ROBUST_RW_VERSION;
	object.elem_size = 0;
	object.elem_align = TDM_CACHE_LINE;
	object.capacity = preference;
	object.type_tag = 0;
	object.plain = false;
	object.seats = 0;
	object.size = tdm_robust_rw_object_size_;
	object.init = tdm_robust_rw_object_init_;
	return object;
}

// Finds the lock in what tdm_segment_find answered. TDM_WRONG_KIND, TDM_READ_ONLY, TDM_INVALID: too
// small. TDM_NOT_INITIALIZED, TDM_OLDER_LAYOUT, TDM_NEWER_LAYOUT. And what the span says.
tdm_nodiscard tdm_function enum tdm_status tdm_robust_rw_open(struct tdm_span span,
							      struct tdm_robust_rw **rw)
{
	*rw = TDM_NULL;
	if (span.status != TDM_OK)
		return span.status;
	if (span.kind != TDM_KIND_NONE && span.kind != TDM_KIND_RW)
		return TDM_WRONG_KIND;
	if (span.read_only)
		return TDM_READ_ONLY;
	if (span.bytes < sizeof(struct tdm_robust_rw) ||
	    TDM_RETYPE(uintptr_t, span.base) % TDM_CACHE_LINE != 0)
		return TDM_INVALID;
	struct tdm_robust_rw *found = TDM_AT_(struct tdm_robust_rw, span.base, 0);
	uint64_t tag = tdm_load_acquire_u64(&found->tag); // E5, pairs with init
	if (tag == 0)
		return TDM_NOT_INITIALIZED;
	if ((tag ^ TDM_ROBUST_RW_TAG_) >> 32 != 0)
		return TDM_WRONG_KIND;
	if (tag != TDM_ROBUST_RW_TAG_)
		return tag < TDM_ROBUST_RW_TAG_ ? TDM_OLDER_LAYOUT : TDM_NEWER_LAYOUT;
	*rw = found;
	return TDM_OK;
}

// ---------------------------------------------------------------------------------------------
// What everybody does

// May the caller use it? The seats that belong to it are as many as the caller's segment has.
tdm_inline enum tdm_status tdm_robust_rw_usable_(struct tdm_robust_rw *rw,
						 const struct tdm_participant *self)
{
	uint64_t bytes = tdm_robust_rw_bytes_(self != TDM_NULL ? self->table.seat_count : 0);
	enum tdm_status status = tdm_participant_serves_(tdm_memory(rw, bytes), self);
	if (tdm_likely(status == TDM_OK) &&
	    tdm_unlikely(tdm_load_relaxed_u64(&rw->tag) != TDM_ROBUST_RW_TAG_))
		return TDM_NOT_INITIALIZED;
	return status;
}

tdm_inline uint64_t tdm_robust_rw_name_(const struct tdm_participant *self)
{
	return self->generation << 16;
}

// How often the caller has locked it for reading.
tdm_inline uint64_t tdm_robust_rw_depth_(struct tdm_robust_rw *rw,
					 const struct tdm_participant *self)
{
	uint64_t flag = tdm_load_relaxed_u64(&tdm_robust_rw_seat_(rw, self->index)->flag);
	bool mine = (flag ^ tdm_robust_rw_name_(self)) >> 16 == 0;
	return mine ? flag & TDM_ROBUST_RW_DEPTH_ : 0;
}

// The caller no longer reads.
tdm_inline void tdm_robust_rw_lower_(struct tdm_robust_rw *rw, const struct tdm_participant *self)
{
	tdm_store_release_u64(&tdm_robust_rw_seat_(rw, self->index)->flag, 0); // E2, with look
	tdm_event_notify(&rw->left);
}

tdm_inline void tdm_robust_rw_open_gate_(struct tdm_robust_rw *rw)
{
	uint64_t gate = tdm_load_relaxed_u64(&rw->gate);
	if ((gate & 1) != 0)
		tdm_store_release_u64(&rw->gate, gate + 1); // E1, pairs with enter and pass
	tdm_event_notify(&rw->opened);
}

// The owner, who is not inside, goes.
tdm_inline void tdm_robust_rw_go_(struct tdm_robust_rw *rw)
{
	tdm_robust_rw_open_gate_(rw);
	tdm_store_release_u64(&rw->owner, TDM_OWNER_FREE_); // lock/owner.h E1
	tdm_event_notify_one(&rw->freed);
}

struct tdm_robust_rw_wait_ {
	struct tdm_robust_rw *rw;
	const struct tdm_participant *self;
	uint64_t mine; // as an owner
	uint64_t gate; // as it was found closed, or as the caller closed it
	uint32_t preference;
	uint32_t seat; // up to this one nobody reads
	bool reads;    // the caller itself, while it waits to write
	bool ask;      // about the life of whom it waits for, once
};

tdm_function struct tdm_robust_rw_wait_ tdm_robust_rw_wait_for_(struct tdm_robust_rw *rw,
								const struct tdm_participant *self)
{
	struct tdm_robust_rw_wait_ wait;
	wait.rw = rw;
	wait.self = self;
	wait.mine = tdm_owner_of_(self);
	wait.gate = 0;
	wait.preference = tdm_load_relaxed_u32(&rw->preference);
	wait.seat = 0;
	wait.reads = false;
	wait.ask = false;
	return wait;
}

tdm_function enum tdm_status tdm_robust_rw_idle_(void *context)
{
	TDM_CAST(struct tdm_robust_rw_wait_ *, context)->ask = true;
	return TDM_OK;
}

// One attempt that asks.
tdm_function enum tdm_status tdm_robust_rw_once_(struct tdm_robust_rw_wait_ *wait,
						 enum tdm_status (*attempt)(void *context))
{
	wait->ask = true;
	return attempt(wait);
}

// Waits for an attempt that is not TDM_BUSY. The last one asks: who always comes with a short
// deadline must hear of a death, too.
tdm_function enum tdm_status tdm_robust_rw_await_(struct tdm_event *event, uint64_t deadline_ns,
						  enum tdm_status (*attempt)(void *context),
						  struct tdm_robust_rw_wait_ *wait)
{
	struct tdm_patience patience = {0};
	enum tdm_status status = event == &wait->rw->freed
				     ? tdm_event_await_one(event, &patience, deadline_ns, TDM_BUSY,
							   attempt, tdm_robust_rw_idle_, wait)
				     : tdm_event_await(event, &patience, deadline_ns, TDM_BUSY,
						       attempt, tdm_robust_rw_idle_, wait);
	if (status != TDM_TIMED_OUT)
		return status;
	status = tdm_robust_rw_once_(wait, attempt);
	return status == TDM_BUSY ? TDM_TIMED_OUT : status;
}

// Tells ThreadSanitizer how it ended, as lock/mutex.h does. TDM_OWNER_DIED is held for writing.
tdm_inline enum tdm_status tdm_robust_rw_ended_(struct tdm_robust_rw *rw, unsigned tsan,
						enum tdm_status status)
{
	bool held = status == TDM_OK;
	if (status == TDM_OWNER_DIED)
		tdm_tsan_forget_(rw);
	tdm_tsan_locked_(rw,
			 held ? tsan : (tsan & TDM_TSAN_READ_) | TDM_TSAN_TRY_ | TDM_TSAN_FAILED_);
	if (status == TDM_OWNER_DIED) {
		tdm_tsan_locking_(rw, TDM_TSAN_TRY_);
		tdm_tsan_locked_(rw, TDM_TSAN_TRY_);
		tdm_tsan_saw_death_();
	}
	return status;
}

// ---------------------------------------------------------------------------------------------
// Reading

// Raises the caller's flag. Even: it is in. Odd: the gate is closed.
tdm_inline uint64_t tdm_robust_rw_enter_(struct tdm_robust_rw *rw,
					 const struct tdm_participant *self)
{
	struct tdm_robust_rw_seat *seat = tdm_robust_rw_seat_(rw, self->index);
	tdm_exchange_seq_cst_u64(&seat->flag, tdm_robust_rw_name_(self) | 1); // E3, with look
	return tdm_load_seq_cst_u64(&rw->gate);                               // E1, E3
}

// The gate was found closed: says so to whoever counts the caller among the readers.
tdm_function void tdm_robust_rw_say_waits_(struct tdm_robust_rw_wait_ *wait, uint64_t gate)
{
	struct tdm_robust_rw_seat *seat = tdm_robust_rw_seat_(wait->rw, wait->self->index);
	uint64_t flag = tdm_robust_rw_name_(wait->self) | TDM_ROBUST_RW_WAITS_ | 1;
	wait->gate = gate;
	tdm_store_release_u64(&seat->phase, gate); // E4, pairs with reads
	tdm_store_release_u64(&seat->flag, flag);  // E2, pairs with look
	tdm_event_notify(&wait->rw->left);
}

// A reader waits for the owner. If that one is dead, the reader takes its place: to be told so, or
// to undo what was only begun.
tdm_function enum tdm_status tdm_robust_rw_succeed_(struct tdm_robust_rw_wait_ *wait)
{
	struct tdm_robust_rw *rw = wait->rw;
	if (tdm_load_relaxed_u64(&rw->owner) == TDM_OWNER_FREE_)
		return TDM_BUSY;
	enum tdm_status status = tdm_owner_contend_(&rw->owner, wait->mine, wait->self, wait->ask);
	bool owns = status == TDM_OK || status == TDM_OWNER_DIED;
	if (!owns || (status == TDM_OWNER_DIED && tdm_load_relaxed_u32(&rw->inside) != 0))
		return status;
	tdm_robust_rw_go_(rw);
	return TDM_BUSY;
}

tdm_function enum tdm_status tdm_robust_rw_pass_(void *context)
{
	struct tdm_robust_rw_wait_ *wait = TDM_CAST(struct tdm_robust_rw_wait_ *, context);
	struct tdm_robust_rw *rw = wait->rw;
	uint64_t gate = tdm_load_acquire_u64(&rw->gate); // E1, pairs with open_gate
	if (gate == wait->gate) {
		enum tdm_status status = tdm_robust_rw_succeed_(wait);
		wait->ask = false;
		return status;
	}
	if (wait->preference != TDM_RW_WRITERS)
		return TDM_OK;
	gate = tdm_robust_rw_enter_(rw, wait->self);
	if ((gate & 1) == 0)
		return TDM_OK;
	tdm_robust_rw_say_waits_(wait, gate);
	return TDM_BUSY;
}

tdm_cold enum tdm_status tdm_robust_rw_read_slow_(struct tdm_robust_rw *rw,
						  const struct tdm_participant *self, uint64_t gate,
						  bool waits, uint64_t deadline_ns)
{
	struct tdm_robust_rw_wait_ wait = tdm_robust_rw_wait_for_(rw, self);
	tdm_robust_rw_say_waits_(&wait, gate);
	enum tdm_status status =
	    waits ? tdm_robust_rw_await_(&rw->opened, deadline_ns, tdm_robust_rw_pass_, &wait)
		  : tdm_robust_rw_once_(&wait, tdm_robust_rw_pass_);
	if (status == TDM_OK) {
		struct tdm_robust_rw_seat *seat = tdm_robust_rw_seat_(rw, self->index);
		tdm_store_relaxed_u64(&seat->flag, tdm_robust_rw_name_(self) | 1);
	} else {
		int saved = errno;
		tdm_robust_rw_lower_(rw, self);
		errno = saved;
	}
	return status;
}

tdm_inline enum tdm_status tdm_robust_rw_read_(struct tdm_robust_rw *rw,
					       const struct tdm_participant *self, bool waits,
					       uint64_t deadline_ns)
{
	enum tdm_status status = tdm_robust_rw_usable_(rw, self);
	if (tdm_unlikely(status != TDM_OK))
		return status;
	unsigned tsan = TDM_TSAN_READ_ | (deadline_ns == TDM_FOREVER ? 0 : TDM_TSAN_TRY_);
	uint64_t depth = tdm_robust_rw_depth_(rw, self);
	tdm_tsan_locking_(rw, tsan);
	if (tdm_unlikely(depth != 0)) {
		struct tdm_robust_rw_seat *seat = tdm_robust_rw_seat_(rw, self->index);
		if (depth == TDM_ROBUST_RW_DEPTH_)
			status = TDM_FULL;
		else
			tdm_store_relaxed_u64(&seat->flag, tdm_robust_rw_name_(self) | (depth + 1));
	} else {
		uint64_t gate = tdm_robust_rw_enter_(rw, self);
		if (tdm_unlikely((gate & 1) != 0))
			status = tdm_robust_rw_read_slow_(rw, self, gate, waits, deadline_ns);
	}
	return tdm_robust_rw_ended_(rw, tsan, status);
}

// Locks it for reading, if no writer keeps readers out. TDM_OK: reading. TDM_OWNER_DIED: the caller
// holds it for *writing*, see C2. TDM_BUSY: a writer, alive. TDM_DEADLOCK: the caller writes.
// TDM_NOT_RECOVERABLE: given up unrepaired. TDM_NEEDS_PARTICIPANT, TDM_FORKED, TDM_INVALID: self is
// no participant of its segment. TDM_FULL: locked again 32767 times. TDM_NOT_INITIALIZED.
// TDM_CORRUPT. TDM_SYSTEM: the kernel would not say whether the writer lives. Under
// -Wthread-safety write if (!tdm_robust_rw_read_try_lock(...)), which clang understands.
tdm_nodiscard tdm_inline enum tdm_status
tdm_robust_rw_read_try_lock(struct tdm_robust_rw *rw, const struct tdm_participant *self)
    TDM_TRIES_SHARED_(0, rw) TDM_UNANALYZED_
{
	return tdm_robust_rw_read_(rw, self, false, 0);
}

// Locks it for reading; waits until the deadline. As try_lock, but TDM_TIMED_OUT instead of
// TDM_BUSY, and TDM_SYSTEM also where the kernel refuses to wait.
tdm_nodiscard tdm_inline enum tdm_status
tdm_robust_rw_read_lock_until(struct tdm_robust_rw *rw, const struct tdm_participant *self,
			      uint64_t deadline_ns) TDM_TRIES_SHARED_(0, rw) TDM_UNANALYZED_
{
	return tdm_robust_rw_read_(rw, self, true, deadline_ns);
}

// Locks it for reading; waits for ever.
tdm_nodiscard tdm_inline enum tdm_status tdm_robust_rw_read_lock(struct tdm_robust_rw *rw,
								 const struct tdm_participant *self)
    TDM_TRIES_SHARED_(0, rw) TDM_UNANALYZED_
{
	return tdm_robust_rw_read_(rw, self, true, TDM_FOREVER);
}

// Ends reading, or one of several times that the caller has locked it. TDM_NOT_OWNER: it does not
// read.
tdm_inline enum tdm_status tdm_robust_rw_read_unlock(struct tdm_robust_rw *rw,
						     const struct tdm_participant *self)
    TDM_RELEASES_SHARED_(rw) TDM_UNANALYZED_
{
	enum tdm_status status = tdm_robust_rw_usable_(rw, self);
	if (tdm_unlikely(status != TDM_OK))
		return status;
	uint64_t depth = tdm_robust_rw_depth_(rw, self);
	if (tdm_unlikely(depth == 0))
		return TDM_NOT_OWNER;
	tdm_tsan_unlocking_(rw, TDM_TSAN_READ_);
	if (tdm_likely(depth == 1))
		tdm_robust_rw_lower_(rw, self);
	else
		tdm_store_relaxed_u64(&tdm_robust_rw_seat_(rw, self->index)->flag,
				      tdm_robust_rw_name_(self) | (depth - 1));
	tdm_tsan_unlocked_(rw, TDM_TSAN_READ_);
	return TDM_OK;
}

// ---------------------------------------------------------------------------------------------
// Writing

tdm_function enum tdm_status tdm_robust_rw_own_(void *context)
{
	struct tdm_robust_rw_wait_ *wait = TDM_CAST(struct tdm_robust_rw_wait_ *, context);
	bool ask = wait->ask;
	wait->ask = false;
	return tdm_owner_contend_(&wait->rw->owner, wait->mine, wait->self, ask);
}

// Does the one with this flag keep the caller from writing?
tdm_inline bool tdm_robust_rw_reads_(const struct tdm_robust_rw_wait_ *wait,
				     const struct tdm_robust_rw_seat *seat, uint64_t flag)
{
	if ((flag & TDM_ROBUST_RW_DEPTH_) == 0)
		return false;
	if ((flag & TDM_ROBUST_RW_WAITS_) == 0)
		return true;
	return wait->preference != TDM_RW_WRITERS &&
	       tdm_load_acquire_u64(&seat->phase) != wait->gate; // E4, pairs with say_waits
}

// Looks at the seats from the one where somebody read last time: behind a closed gate, none becomes
// a reader's again.
tdm_function enum tdm_status tdm_robust_rw_look_(struct tdm_robust_rw_wait_ *wait)
{
	const struct tdm_table *table = &wait->self->table;
	for (; wait->seat < table->seat_count; wait->seat++) {
		struct tdm_robust_rw_seat *seat = tdm_robust_rw_seat_(wait->rw, wait->seat);
		if (wait->reads && wait->seat == wait->self->index)
			continue;
		uint64_t flag = tdm_load_seq_cst_u64(&seat->flag); // E2, E3
		if (!tdm_robust_rw_reads_(wait, seat, flag))
			continue;
		if (!wait->ask)
			return TDM_BUSY;
		enum tdm_status status = tdm_table_dead_(table, wait->seat, flag >> 16);
		if (status != TDM_OK)
			return status;
		// Whoever sits there now has raised a flag of its own: look again.
		if (!tdm_cas_strong_relaxed_relaxed_u64(&seat->flag, &flag, 0))
			return TDM_BUSY;
	}
	return TDM_OK;
}

tdm_inline void tdm_robust_rw_close_gate_(struct tdm_robust_rw_wait_ *wait)
{
	wait->gate = tdm_load_relaxed_u64(&wait->rw->gate) | 1;
	wait->seat = 0;
	tdm_store_seq_cst_u64(&wait->rw->gate, wait->gate); // E3, pairs with enter
}

tdm_function enum tdm_status tdm_robust_rw_drain_(void *context)
{
	struct tdm_robust_rw_wait_ *wait = TDM_CAST(struct tdm_robust_rw_wait_ *, context);
	enum tdm_status status;
	if (wait->preference != TDM_RW_READERS) {
		status = tdm_robust_rw_look_(wait);
		wait->ask = false;
		return status;
	}
	wait->gate = 0; // open, and whoever waited reads
	wait->seat = 0;
	status = tdm_robust_rw_look_(wait);
	wait->ask = false;
	if (status != TDM_OK)
		return status;
	tdm_robust_rw_close_gate_(wait);
	status = tdm_robust_rw_look_(wait);
	if (status != TDM_OK)
		tdm_robust_rw_open_gate_(wait->rw);
	return status;
}

// The caller is the owner; it goes again, unless it comes inside.
tdm_function enum tdm_status tdm_robust_rw_come_in_(struct tdm_robust_rw_wait_ *wait, bool waits,
						    uint64_t deadline_ns)
{
	struct tdm_robust_rw *rw = wait->rw;
	if (wait->preference != TDM_RW_READERS)
		tdm_robust_rw_close_gate_(wait);
	enum tdm_status status =
	    waits ? tdm_robust_rw_await_(&rw->left, deadline_ns, tdm_robust_rw_drain_, wait)
		  : tdm_robust_rw_once_(wait, tdm_robust_rw_drain_);
	if (status == TDM_OK) {
		tdm_store_relaxed_u32(&rw->inside, 1);
	} else {
		int saved = errno;
		tdm_robust_rw_go_(rw);
		errno = saved;
	}
	return status;
}

// Taken over from one who had not been inside: as if it had been free.
tdm_function enum tdm_status tdm_robust_rw_owned_(struct tdm_robust_rw_wait_ *wait,
						  enum tdm_status status)
{
	if (status != TDM_OWNER_DIED || tdm_load_relaxed_u32(&wait->rw->inside) != 0)
		return status;
	tdm_store_relaxed_u64(&wait->rw->owner, wait->mine);
	return TDM_OK;
}

tdm_function enum tdm_status tdm_robust_rw_write_(struct tdm_robust_rw *rw,
						  const struct tdm_participant *self, bool waits,
						  uint64_t deadline_ns)
{
	enum tdm_status status = tdm_robust_rw_usable_(rw, self);
	if (tdm_unlikely(status != TDM_OK))
		return status;
	if (tdm_robust_rw_depth_(rw, self) != 0)
		return TDM_DEADLOCK;
	unsigned tsan = deadline_ns == TDM_FOREVER ? 0 : TDM_TSAN_TRY_;
	tdm_tsan_locking_(rw, tsan);
	struct tdm_robust_rw_wait_ wait = tdm_robust_rw_wait_for_(rw, self);
	if (!tdm_owner_claim_(&rw->owner, wait.mine)) {
		status =
		    waits ? tdm_robust_rw_await_(&rw->freed, deadline_ns, tdm_robust_rw_own_, &wait)
			  : tdm_robust_rw_once_(&wait, tdm_robust_rw_own_);
		status = tdm_robust_rw_owned_(&wait, status);
	}
	if (status == TDM_OK)
		status = tdm_robust_rw_come_in_(&wait, waits, deadline_ns);
	return tdm_robust_rw_ended_(rw, tsan, status);
}

// Locks it for writing, if nobody reads or writes, or only the dead. Statuses as read_try_lock.
// TDM_DEADLOCK also: the caller reads.
tdm_nodiscard tdm_function enum tdm_status
tdm_robust_rw_write_try_lock(struct tdm_robust_rw *rw, const struct tdm_participant *self)
    TDM_TRIES_(0, rw) TDM_UNANALYZED_
{
	return tdm_robust_rw_write_(rw, self, false, 0);
}

// Locks it for writing; waits until the deadline. Statuses as read_lock_until.
tdm_nodiscard tdm_function enum tdm_status
tdm_robust_rw_write_lock_until(struct tdm_robust_rw *rw, const struct tdm_participant *self,
			       uint64_t deadline_ns) TDM_TRIES_(0, rw) TDM_UNANALYZED_
{
	return tdm_robust_rw_write_(rw, self, true, deadline_ns);
}

// Locks it for writing; waits for ever.
tdm_nodiscard tdm_function enum tdm_status
tdm_robust_rw_write_lock(struct tdm_robust_rw *rw, const struct tdm_participant *self)
    TDM_TRIES_(0, rw) TDM_UNANALYZED_
{
	return tdm_robust_rw_write_(rw, self, true, TDM_FOREVER);
}

// Ends writing. TDM_NOT_OWNER: the caller does not write. TDM_NOT_RECOVERABLE: it was taken over
// from the dead and not made consistent; nobody can lock it any more.
tdm_function enum tdm_status tdm_robust_rw_write_unlock(struct tdm_robust_rw *rw,
							const struct tdm_participant *self)
    TDM_RELEASES_(rw) TDM_UNANALYZED_
{
	enum tdm_status status = tdm_robust_rw_usable_(rw, self);
	if (tdm_unlikely(status != TDM_OK))
		return status;
	uint64_t mine = tdm_owner_of_(self);
	uint64_t owner = tdm_load_relaxed_u64(&rw->owner);
	if (!tdm_owner_is_(owner, mine))
		return TDM_NOT_OWNER;
	tdm_tsan_unlocking_(rw, 0);
	if (tdm_likely(owner == mine)) {
		tdm_store_relaxed_u32(&rw->inside, 0);
		tdm_robust_rw_go_(rw);
	} else {
		status = tdm_owner_give_up_(&rw->owner, mine); // the gate stays closed
		tdm_event_notify(&rw->opened);
		tdm_event_notify(&rw->freed);
	}
	tdm_tsan_unlocked_(rw, 0);
	return status;
}

// The caller, who got it with TDM_OWNER_DIED, has repaired what it protects. TDM_INVALID: there was
// nothing to repair. TDM_NOT_OWNER, and as read_try_lock.
tdm_nodiscard tdm_function enum tdm_status
tdm_robust_rw_make_consistent(struct tdm_robust_rw *rw, const struct tdm_participant *self)
{
	enum tdm_status status = tdm_robust_rw_usable_(rw, self);
	return status == TDM_OK ? tdm_owner_make_consistent_(&rw->owner, tdm_owner_of_(self))
				: status;
}

// ---------------------------------------------------------------------------------------------
// From one to the other. clang's analysis has no words for an upgrade that may fail: a function
// that upgrades is beyond -Wthread-safety.

tdm_function enum tdm_status tdm_robust_rw_upgrade_(struct tdm_robust_rw *rw,
						    const struct tdm_participant *self, bool waits,
						    uint64_t deadline_ns)
{
	enum tdm_status status = tdm_robust_rw_usable_(rw, self);
	if (status != TDM_OK)
		return status;
	uint64_t depth = tdm_robust_rw_depth_(rw, self);
	if (depth != 1)
		return depth == 0 ? TDM_NOT_OWNER : TDM_INVALID;
	struct tdm_robust_rw_wait_ wait = tdm_robust_rw_wait_for_(rw, self);
	wait.reads = true;
	status = tdm_robust_rw_owned_(&wait, tdm_robust_rw_once_(&wait, tdm_robust_rw_own_));
	wait.ask = false;
	if (status == TDM_OK)
		status = tdm_robust_rw_come_in_(&wait, waits, deadline_ns);
	if (status != TDM_OK && status != TDM_OWNER_DIED)
		return status;
	tdm_store_relaxed_u64(&tdm_robust_rw_seat_(rw, self->index)->flag, 0);
	tdm_tsan_unlocking_(rw, TDM_TSAN_READ_);
	tdm_tsan_unlocked_(rw, TDM_TSAN_READ_);
	tdm_tsan_locking_(rw, TDM_TSAN_TRY_);
	return tdm_robust_rw_ended_(rw, TDM_TSAN_TRY_, status);
}

// A reader becomes the writer, with nobody between, if nobody else reads. TDM_BUSY: others read, or
// a writer waits, or another one upgrades. TDM_NOT_OWNER: the caller does not read. TDM_INVALID: it
// has locked it more than once. And as read_try_lock. Anything but TDM_OK and TDM_OWNER_DIED: it
// goes on reading.
tdm_nodiscard tdm_function enum tdm_status
tdm_robust_rw_try_upgrade(struct tdm_robust_rw *rw, const struct tdm_participant *self)
{
	return tdm_robust_rw_upgrade_(rw, self, false, 0);
}

// The same, but waits until the deadline for others who read; TDM_TIMED_OUT. Still TDM_BUSY at once
// where a writer waits or another one upgrades: these wait for the caller, who must stop reading.
tdm_nodiscard tdm_function enum tdm_status
tdm_robust_rw_upgrade_until(struct tdm_robust_rw *rw, const struct tdm_participant *self,
			    uint64_t deadline_ns)
{
	return tdm_robust_rw_upgrade_(rw, self, true, deadline_ns);
}

// The writer becomes a reader, with no other writer between. TDM_NOT_OWNER: it does not write.
// TDM_INVALID: what it took over from the dead is not made consistent.
tdm_function enum tdm_status tdm_robust_rw_downgrade(struct tdm_robust_rw *rw,
						     const struct tdm_participant *self)
    TDM_RELEASES_(rw) TDM_ACQUIRES_SHARED_(rw) TDM_UNANALYZED_
{
	enum tdm_status status = tdm_robust_rw_usable_(rw, self);
	if (status != TDM_OK)
		return status;
	uint64_t owner = tdm_load_relaxed_u64(&rw->owner);
	if (!tdm_owner_is_(owner, tdm_owner_of_(self)))
		return TDM_NOT_OWNER;
	if (owner != tdm_owner_of_(self))
		return TDM_INVALID;
	tdm_tsan_unlocking_(rw, 0);
	tdm_store_relaxed_u64(&tdm_robust_rw_seat_(rw, self->index)->flag,
			      tdm_robust_rw_name_(self) | 1);
	tdm_store_relaxed_u32(&rw->inside, 0);
	tdm_robust_rw_go_(rw);
	tdm_tsan_unlocked_(rw, 0);
	tdm_tsan_locking_(rw, TDM_TSAN_READ_ | TDM_TSAN_TRY_);
	tdm_tsan_locked_(rw, TDM_TSAN_READ_ | TDM_TSAN_TRY_);
	return TDM_OK;
}

TDM_END_DECLS

#endif
