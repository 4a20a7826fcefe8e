// SPDX-License-Identifier: BSD-2-Clause
// A ring for many producers and many consumers with elements of one size.
//
// Choose it when elements may come from, or go to, more than one thread; with one of each,
// ring/spsc.h is several times faster. Robust, with participants, in a segment: anybody may die at
// any instruction; a push that returned is delivered to exactly one pop that returns, and nobody
// else is stuck. With take and ack it is a work queue: the element stays the ring's until it is
// acknowledged, and goes to somebody else if its taker dies. Plain, without participants, in any
// memory they share.
//
// Progress   try_ operations are lock-free as long as nobody is stopped between claiming a position
//            and finishing it (a few instructions; for take, until ack): then whoever comes to
//            that position says TDM_EMPTY or TDM_FULL, until it continues or dies. What a dead
//            consumer held keeps its place until another consumer has it. `_until` and the bare
//            forms spin, yield, then park.
// Callers    Any number of handles; a handle belongs to one thread, and a participant has one for
//            each role at most. tdm_mpmc_check from anywhere, also on a read-only mapping.
// Order      First in, first out, by position. An element that is delivered again (its taker died,
//            or gave it back) comes at any time. TDM_EMPTY and TDM_FULL are exact, unless another
//            operation is under way or its caller has died in it.
// Handles    A handle is a value: it may be copied and the copy used in its stead. A hot loop that
//            works on a local copy and puts it back afterwards keeps it in registers.
//
// Edges
//   E1  A slot's sequence: push's store (release) with pop's load (acquire): the element is seen
//       whole.
//   E2  A slot's sequence: the store of pop, ack or skip (release) with push's load (acquire): the
//       element was read before it is written over.
//   E3  tail: push's claim (release RMW) with the load (acquire) of who looks for dead producers:
//       who sees the position claimed also sees the claimer's intent, or a later one.
//   E4  head: pop's claim (release RMW), likewise for consumers.
//   E5  An intent: its store (release) with a scan's load (acquire): who sees a later intent also
//       sees what was published before it, and so cannot take that for abandoned.
//   E6  recovering: unlock's store (release) with lock's CAS (acquire): who redelivers sees the
//       intents of all who did before.
//   E7  A part's roles: detach's store, or that of the seat's next holder (release), with the load
//       (acquire) of who asks whether anybody is left: every element pushed before is seen.
//   E8  A part's generation: the store (release) of the seat's next holder with the load (acquire)
//       of who asks whether that one is dead: the seat's own generation is seen, or the living
//       would look dead. Likewise recovering: lock's CAS (release) with the next one's load.
//
// Crashes
//   C1  A producer dies before it claims a position: nothing was pushed. Between claim and
//       publication: the element is lost, which nobody was told was pushed; its position is
//       skipped by the consumer that comes to it. After: it is pushed.
//   C2  A consumer dies before it claims a position: nothing was popped. Between claim and release
//       (for a take: and ack): the element is delivered again, to whoever finds the ring empty, or
//       waits, or calls recover. After: it is popped.
//   C3  Death inside recovery: the next one does it again.
//   C4  Death in attach: the seat's next holder does it again.
//   In doubt is only the dying side's own operation: an element that was pushed but nobody was
//   told, or popped but not used. For the latter there are take and ack.
//
// Source     Vyukov, "Bounded MPMC queue", 1024cores.net, 2010, for sequences in the slots. Intents
//            and their recovery: CONTRIBUTING.md.
//
// Example    tests/examples/work_queue.c; typed:
//	TDM_MPMC_DEFINE(jobs, struct job);
//	struct tdm_object object = jobs_object("jobs", 1024);
//	jobs_consumer_attach(&in, tdm_segment_find(&segment, "jobs"), &self);
//	while (jobs_take(&in, &lease) == TDM_OK) {
//		work_on(lease.elem);
//		jobs_ack(&in, &lease);
//	}
#ifndef TDM_RING_MPMC_H
#define TDM_RING_MPMC_H

#include <string.h>

#include "../base/atomic.h"
#include "../base/backoff.h"
#include "../base/clock.h"
#include "../base/config.h"
#include "../base/object.h"
#include "../base/slots.h"
#include "../base/status.h"
#include "../shm/participant.h"
#include "../sync/event.h"

TDM_BEGIN_DECLS

// ---------------------------------------------------------------------------------------------
// In shared memory

#define TDM_MPMC_VERSION 1U
#define TDM_MPMC_TAG_ (UINT64_C(0x6d706d6300000000) | TDM_MPMC_VERSION)
#define TDM_MPMC_CAPACITY_MIN 2U
#define TDM_MPMC_CAPACITY_MAX TDM_SLOTS_CAPACITY_MAX_
#define TDM_MPMC_ELEM_SIZE_MAX TDM_SLOTS_ELEM_SIZE_MAX_
#define TDM_MPMC_TAKES 8U // that a consumer may hold at once

#define TDM_MPMC_PRODUCES_ 1U
#define TDM_MPMC_CONSUMES_ 2U

struct tdm_mpmc_shm {
	struct tdm_slots_shm constant;
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 tail;       // positions claimed by producers
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 head;       // positions claimed by consumers
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 recovering; // who redelivers just now, or 0
	tdm_atomic_u32 parts; // of the seats below that somebody has used
	tdm_atomic_u32 ever;  // roles that somebody has had
	TDM_ALIGNAS(TDM_CACHE_LINE) struct tdm_event not_empty;
	TDM_ALIGNAS(TDM_CACHE_LINE) struct tdm_event not_full;
};
TDM_STATIC_ASSERT(sizeof(struct tdm_mpmc_shm) == 6 * TDM_CACHE_LINE, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_mpmc_shm, tail) == 1 * TDM_CACHE_LINE, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_mpmc_shm, head) == 2 * TDM_CACHE_LINE, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_mpmc_shm, recovering) == 3 * TDM_CACHE_LINE, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_mpmc_shm, not_empty) == 4 * TDM_CACHE_LINE, "layout");

// Then a part for each seat of the segment: what its holder is about to do, or has under way. Only
// the holder writes it.
#define TDM_MPMC_PUSH_ 0U  // one or a batch
#define TDM_MPMC_POP_ 1U   // one or a batch
#define TDM_MPMC_AGAIN_ 2U // one that is delivered again
#define TDM_MPMC_TAKE_ 3U  // and the ones that follow: one each
#define TDM_MPMC_WORDS_ (TDM_MPMC_TAKE_ + TDM_MPMC_TAKES)

struct tdm_mpmc_part {
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 generation; // of the participant; 0: nobody ever
	tdm_atomic_u64 roles;
	tdm_atomic_u64 intents[TDM_MPMC_WORDS_];
	unsigned char pad_[TDM_CACHE_LINE - 8 * (2 + TDM_MPMC_WORDS_)];
};
TDM_STATIC_ASSERT(sizeof(struct tdm_mpmc_part) == TDM_CACHE_LINE, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_mpmc_part, intents) == 16, "layout");

// An intent: SET | WON | ORPHAN | count - 1 | position. It is stored before its position is claimed
// and stays until the next one, unless the claim failed.
//
//   WON     the claim has succeeded
//   ORPHAN  the holder gives it up: anybody may have it delivered again
//
// Positions count from init on, and 56 bits of them are kept: enough for 20 years at a hundred
// million a second.
#define TDM_MPMC_POSITION_ ((UINT64_C(1) << 56) - 1)
#define TDM_MPMC_COUNT_SHIFT_ 56
#define TDM_MPMC_BATCH_ 32U
#define TDM_MPMC_ORPHAN_ (UINT64_C(1) << 61)
#define TDM_MPMC_WON_ (UINT64_C(1) << 62)
#define TDM_MPMC_SET_ (UINT64_C(1) << 63)

// Then the slots. A slot is its sequence, an u64, and the element at the next aligned offset. The
// sequence's upper byte counts deliveries that failed; the rest, with N slots:
//
//   p        free for position p
//   p + 1    the element at position p is here; or claimed by a consumer, if head > p
//   p + N    popped, or skipped
#define TDM_MPMC_ATTEMPTS_SHIFT_ 56
#define TDM_MPMC_ATTEMPTS_MAX_ 255U

// ---------------------------------------------------------------------------------------------
// Handles, in the process

// What the rare paths need of a handle.
struct tdm_mpmc_view_ {
	struct tdm_mpmc_shm *shm; // NULL: not attached
	unsigned char *slots;
	const tdm_atomic_u32 *unforked;
	struct tdm_mpmc_part *parts; // NULL: plain
	struct tdm_participant *self;
	uint64_t mask;
	uint64_t stride;
};

struct tdm_mpmc_producer {
	struct tdm_mpmc_view_ view;
	tdm_atomic_u64 *intent; // NULL: plain
	uint64_t doubts;        // polls in a row that failed
	uint64_t offset;        // of the element in its slot
	uint64_t elem_size;
	struct tdm_patience patience;
	bool follow; // yours to set: keep waiting when all consumers have left or died
};

struct tdm_mpmc_consumer {
	struct tdm_mpmc_view_ view;
	struct tdm_mpmc_part *part; // NULL: plain
	uint64_t doubts;            // polls in a row that failed
	uint64_t offset;            // of the element in its slot
	uint64_t elem_size;
	uint64_t ahead; // fetch the slot that far ahead
	struct tdm_patience patience;
	bool follow; // yours to set: keep waiting when all producers have left or died
};

// An element that was taken and not yet acknowledged.
struct tdm_mpmc_lease {
	void *elem; // where it lies in the ring; yours to read and to write until ack or nack
	uint64_t position; // counts all elements since init
	uint32_t attempt;  // 1: nobody had it before. Stays at 256
	uint32_t word;
};

// Failing polls in a row before the others' intents are looked at, which costs a system call.
#define TDM_MPMC_PATIENCE_ 32U

// ---------------------------------------------------------------------------------------------
// Size and init

static const struct tdm_slots_layout_ tdm_mpmc_layout_
    __attribute__((unused)) = {TDM_MPMC_TAG_, TDM_KIND_MPMC, TDM_MPMC_CAPACITY_MIN,
			       sizeof(struct tdm_mpmc_shm), sizeof(struct tdm_mpmc_part)};

// Bytes of memory for a plain ring of `capacity` elements (a power of two from 2 to 2^31) of
// `elem_size` bytes (below 2^31), aligned to `elem_align` (a power of two up to 4096). 0:
// impossible. The memory itself must be aligned to 128, or to elem_align if that is more.
tdm_function uint64_t tdm_mpmc_size(uint64_t elem_size, uint64_t elem_align, uint64_t capacity)
{
	struct tdm_slots slots;
	return tdm_slots_geometry_(&tdm_mpmc_layout_, elem_size, elem_align, capacity, 0, &slots)
		   ? slots.bytes
		   : 0;
}

tdm_function uint64_t tdm_mpmc_object_size_(const struct tdm_object *object)
{
	struct tdm_slots slots;
	return tdm_slots_geometry_(&tdm_mpmc_layout_, object->elem_size, object->elem_align,
				   object->capacity, object->plain ? 0 : object->seats, &slots)
		   ? slots.bytes
		   : 0;
}

// Makes the first element's position `start`: for tests of what happens around 2^32 and 2^56.
tdm_function enum tdm_status tdm_mpmc_init_at_(struct tdm_span span,
					       const struct tdm_object *object, uint64_t start)
{
	struct tdm_slots slots;
	enum tdm_status status = tdm_slots_init_(&tdm_mpmc_layout_, span, object, &slots);
	if (status != TDM_OK)
		return status;
	struct tdm_mpmc_shm *shm = TDM_AT_(struct tdm_mpmc_shm, span.base, 0);
	tdm_store_relaxed_u64(&shm->tail, start);
	tdm_store_relaxed_u64(&shm->head, start);
	tdm_store_relaxed_u64(&shm->recovering, 0);
	tdm_store_relaxed_u32(&shm->parts, 0);
	tdm_store_relaxed_u32(&shm->ever, 0);
	tdm_event_init(&shm->not_empty);
	tdm_event_init(&shm->not_full);
	struct tdm_mpmc_part *parts = TDM_AT_(struct tdm_mpmc_part, span.base, sizeof(*shm));
	for (uint32_t k = 0; k < slots.seats; k++) {
		tdm_store_relaxed_u64(&parts[k].generation, 0);
		tdm_store_relaxed_u64(&parts[k].roles, 0);
		for (uint32_t i = 0; i < TDM_MPMC_WORDS_; i++)
			tdm_store_relaxed_u64(&parts[k].intents[i], 0);
	}
	unsigned char *first = TDM_AT_(unsigned char, span.base, slots.first);
	for (uint64_t i = 0; i < slots.capacity; i++)
		tdm_store_relaxed_u64(
		    tdm_slots_sequence_(first, start + i, slots.mask, slots.stride),
		    (start + i) & TDM_MPMC_POSITION_);
	tdm_slots_ready_(&tdm_mpmc_layout_, span);
	return TDM_OK;
}

tdm_function enum tdm_status tdm_mpmc_object_init_(struct tdm_span span,
						   const struct tdm_object *object)
{
	return tdm_mpmc_init_at_(span, object, 0);
}

// Describes a robust ring for tdm_segment_create; set .plain for a plain one. Elements are aligned
// to 8 bytes, unless .elem_align is changed. A robust ring has a line of 128 bytes for each seat.
tdm_function struct tdm_object tdm_mpmc_object(const char *name, uint64_t elem_size,
					       uint64_t capacity)
{
	struct tdm_object object;
	object.name = name;
	object.kind = TDM_KIND_MPMC;
	object.version = TDM_MPMC_VERSION;
	object.elem_size = elem_size;
	object.elem_align = 8;
	object.capacity = capacity;
	object.type_tag = 0;
	object.plain = false;
	object.seats = 0;
	object.size = tdm_mpmc_object_size_;
	object.init = tdm_mpmc_object_init_;
	return object;
}

// Makes a plain ring in the user's own memory: tdm_mpmc_size bytes at least. Whatever was there is
// overwritten; everybody attaches afterwards.
tdm_nodiscard tdm_function enum tdm_status tdm_mpmc_init(void *memory, uint64_t bytes,
							 uint64_t elem_size, uint64_t elem_align,
							 uint64_t capacity)
{
	struct tdm_object object = tdm_mpmc_object("", elem_size, capacity);
	object.elem_align = elem_align;
	object.plain = true;
	return tdm_mpmc_init_at_(tdm_memory(memory, bytes), &object, 0);
}

// ---------------------------------------------------------------------------------------------
// Positions and intents

tdm_inline uint64_t tdm_mpmc_intent_(uint64_t position, uint64_t count)
{
	return TDM_MPMC_SET_ | (count - 1) << TDM_MPMC_COUNT_SHIFT_ |
	       (position & TDM_MPMC_POSITION_);
}

tdm_inline uint64_t tdm_mpmc_intent_count_(uint64_t intent)
{
	return (intent >> TDM_MPMC_COUNT_SHIFT_ & (TDM_MPMC_BATCH_ - 1)) + 1;
}

tdm_inline bool tdm_mpmc_covers_(uint64_t intent, uint64_t position)
{
	return (intent & TDM_MPMC_SET_) != 0 &&
	       ((position - intent) & TDM_MPMC_POSITION_) < tdm_mpmc_intent_count_(intent);
}

// How far `a` is ahead of `b`, of which 56 bits count.
tdm_inline int64_t tdm_mpmc_distance_(uint64_t a, uint64_t b)
{
	return TDM_CAST(int64_t, (a - b) << 8) / 256;
}

tdm_inline tdm_atomic_u64 *tdm_mpmc_sequence_(const struct tdm_mpmc_view_ *view, uint64_t position)
{
	return tdm_slots_sequence_(view->slots, position, view->mask, view->stride);
}

// ---------------------------------------------------------------------------------------------
// Looking after the dead

enum tdm_mpmc_claim_ {
	TDM_MPMC_HELD_,      // a live participant has it
	TDM_MPMC_UNCLEAR_,   // a live participant may have it
	TDM_MPMC_ABANDONED_, // who claimed it is dead, or has given it up
};

// Who has claimed `position`, which is known to be claimed? In the intents from `first` to `last`.
tdm_function enum tdm_mpmc_claim_ tdm_mpmc_scan_(const struct tdm_mpmc_view_ *view, uint32_t first,
						 uint32_t last, uint64_t position)
{
	bool lost = false;     // by somebody who had it for certain
	bool possible = false; // somebody live was at least about to claim it
	uint32_t parts = tdm_load_relaxed_u32(&view->shm->parts);
	if (parts > view->self->table.seat_count)
		parts = view->self->table.seat_count;
	for (uint32_t k = 0; k < parts; k++) {
		struct tdm_mpmc_part *part = &view->parts[k];
		for (uint32_t i = first; i <= last; i++) {
			uint64_t intent =
			    tdm_load_acquire_u64(&part->intents[i]); // E5, pairs with claim
			if (!tdm_mpmc_covers_(intent, position))
				continue;
			bool won = (intent & TDM_MPMC_WON_) != 0;
			// After the intent: a seat's next holder stores its generation first.
			uint64_t generation =
			    tdm_load_acquire_u64(&part->generation); // E8, pairs with settle
			if ((intent & TDM_MPMC_ORPHAN_) != 0 ||
			    tdm_table_dead_(&view->self->table, k, generation) == TDM_OK)
				lost = lost || won;
			else if (won)
				return TDM_MPMC_HELD_;
			else
				possible = true;
		}
	}
	return possible && !lost ? TDM_MPMC_UNCLEAR_ : TDM_MPMC_ABANDONED_;
}

// Skips `position` if the producer that claimed it has died without publishing it.
tdm_function bool tdm_mpmc_skip_(const struct tdm_mpmc_view_ *view, uint64_t position)
{
	tdm_atomic_u64 *sequence = tdm_mpmc_sequence_(view, position);
	uint64_t free = position & TDM_MPMC_POSITION_;
	if (tdm_load_relaxed_u64(sequence) != free)
		return false;
	uint64_t tail = tdm_load_acquire_u64(&view->shm->tail); // E3, pairs with push
	if (tdm_mpmc_distance_(tail, position) <= 0)
		return false;
	if (tdm_mpmc_scan_(view, TDM_MPMC_PUSH_, TDM_MPMC_PUSH_, position) != TDM_MPMC_ABANDONED_)
		return false;
	uint64_t skipped = (position + view->mask + 1) & TDM_MPMC_POSITION_;
	return tdm_cas_strong_release_relaxed_u64(sequence, &free, skipped); // E2, pairs with push
}

// Is the element at `position` claimed by a consumer that has not released it? The element itself
// is seen with the intent of who had claimed it.
tdm_function bool tdm_mpmc_unreleased_(const struct tdm_mpmc_view_ *view, uint64_t position)
{
	uint64_t head = tdm_load_acquire_u64(&view->shm->head); // E4, pairs with pop
	uint64_t sequence = tdm_load_relaxed_u64(tdm_mpmc_sequence_(view, position));
	return tdm_mpmc_distance_(head, position) > 0 &&
	       (sequence & TDM_MPMC_POSITION_) == ((position + 1) & TDM_MPMC_POSITION_);
}

// The oldest position that a consumer who is dead, or gave it up, has left behind, and that nobody
// has taken over since: that one must not stand before the younger ones until it is released.
tdm_function bool tdm_mpmc_find_orphan_(const struct tdm_mpmc_view_ *view, uint64_t *oldest)
{
	bool found = false;
	uint32_t parts = tdm_load_relaxed_u32(&view->shm->parts);
	if (parts > view->self->table.seat_count)
		parts = view->self->table.seat_count;
	for (uint32_t k = 0; k < parts; k++) {
		struct tdm_mpmc_part *part = &view->parts[k];
		for (uint32_t i = TDM_MPMC_POP_; i < TDM_MPMC_WORDS_; i++) {
			// Only where to look: scan decides.
			uint64_t intent = tdm_load_relaxed_u64(&part->intents[i]);
			if ((intent & TDM_MPMC_SET_) == 0)
				continue;
			uint64_t generation = tdm_load_relaxed_u64(&part->generation);
			bool asked = (intent & TDM_MPMC_ORPHAN_) != 0; // whether it is given up
			for (uint64_t n = 0; n < tdm_mpmc_intent_count_(intent); n++) {
				uint64_t position = (intent + n) & TDM_MPMC_POSITION_;
				if ((found && tdm_mpmc_distance_(position, *oldest) >= 0) ||
				    !tdm_mpmc_unreleased_(view, position))
					continue;
				if (!asked &&
				    tdm_table_dead_(&view->self->table, k, generation) != TDM_OK)
					break;
				asked = true;
				if (tdm_mpmc_scan_(view, TDM_MPMC_POP_, TDM_MPMC_WORDS_ - 1,
						   position) != TDM_MPMC_ABANDONED_)
					continue;
				*oldest = position;
				found = true;
			}
		}
	}
	return found;
}

// One at a time may take over from the dead, or two might take the same. TDM_BUSY: another does.
tdm_function enum tdm_status tdm_mpmc_lock_(const struct tdm_mpmc_view_ *view)
{
	uint64_t owner = tdm_owner_pack_(view->self->index, view->self->generation);
	uint64_t word = tdm_load_acquire_u64(&view->shm->recovering); // E8, pairs with lock
	if (word != 0 && tdm_owner_dead_(&view->self->table, word) != TDM_OK)
		return TDM_BUSY;
	return tdm_cas_strong_acq_rel_relaxed_u64(&view->shm->recovering, &word,
						  owner) // E6, E8, pairs with unlock and lock
		   ? TDM_OK
		   : TDM_BUSY;
}

tdm_function void tdm_mpmc_unlock_(const struct tdm_mpmc_view_ *view)
{
	tdm_store_release_u64(&view->shm->recovering, 0); // E6, pairs with lock
}

// Takes over the element at `position`, which `intent` says from then on. *attempt: which one it
// is now.
tdm_function bool tdm_mpmc_adopt_(const struct tdm_mpmc_view_ *view, uint64_t position,
				  tdm_atomic_u64 *intent, uint32_t *attempt)
{
	bool adopted = false;
	if (tdm_mpmc_lock_(view) != TDM_OK)
		return false;
	// First who has it and then whether it is still there: whoever had it and released it in
	// between would otherwise have it delivered twice.
	if (tdm_mpmc_scan_(view, TDM_MPMC_POP_, TDM_MPMC_WORDS_ - 1, position) ==
		TDM_MPMC_ABANDONED_ &&
	    tdm_mpmc_unreleased_(view, position)) {
		tdm_atomic_u64 *sequence = tdm_mpmc_sequence_(view, position);
		uint64_t failed = tdm_load_relaxed_u64(sequence) >> TDM_MPMC_ATTEMPTS_SHIFT_;
		if (failed < TDM_MPMC_ATTEMPTS_MAX_)
			failed++;
		// Unlocking releases it, and nobody decides anything by it without the lock.
		tdm_store_relaxed_u64(intent, tdm_mpmc_intent_(position, 1) | TDM_MPMC_WON_);
		tdm_store_relaxed_u64(sequence, failed << TDM_MPMC_ATTEMPTS_SHIFT_ |
						    ((position + 1) & TDM_MPMC_POSITION_));
		*attempt = TDM_CAST(uint32_t, failed) + 1;
		adopted = true;
	}
	tdm_mpmc_unlock_(view);
	return adopted;
}

// May this word of one's own be written over? Not while it is all that says who has an element.
tdm_function bool tdm_mpmc_reusable_(const struct tdm_mpmc_view_ *view, tdm_atomic_u64 *word)
{
	uint64_t intent = tdm_load_relaxed_u64(word);
	if ((intent & TDM_MPMC_SET_) == 0)
		return true;
	for (uint64_t n = 0; n < tdm_mpmc_intent_count_(intent); n++) {
		if (!tdm_mpmc_unreleased_(view, intent + n))
			continue;
		if ((intent & TDM_MPMC_ORPHAN_) == 0 ||
		    tdm_mpmc_scan_(view, TDM_MPMC_POP_, TDM_MPMC_WORDS_ - 1, intent + n) !=
			TDM_MPMC_HELD_)
			return false;
	}
	return true;
}

// ---------------------------------------------------------------------------------------------
// Attaching

// Takes over the part of the seat's last holder, who is dead or has left: what it had claimed and
// not finished must not be forgotten.
tdm_function void tdm_mpmc_settle_(const struct tdm_mpmc_view_ *view, struct tdm_mpmc_part *part)
{
	uint64_t intent = tdm_load_relaxed_u64(&part->intents[TDM_MPMC_PUSH_]);
	if ((intent & TDM_MPMC_SET_) != 0)
		for (uint64_t n = 0; n < tdm_mpmc_intent_count_(intent); n++)
			(void)tdm_mpmc_skip_(view, intent + n);
	tdm_store_release_u64(&part->intents[TDM_MPMC_PUSH_], 0); // E5, pairs with scan
	for (uint32_t i = TDM_MPMC_POP_; i < TDM_MPMC_WORDS_; i++) {
		intent = tdm_load_relaxed_u64(&part->intents[i]);
		if ((intent & TDM_MPMC_SET_) != 0)
			tdm_store_release_u64(&part->intents[i], intent | TDM_MPMC_ORPHAN_); // E5
	}
	tdm_store_release_u64(&part->roles, 0); // E7, pairs with role
	tdm_store_release_u64(&part->generation,
			      view->self->generation); // E8, pairs with scan
}

tdm_function enum tdm_status tdm_mpmc_attach_(struct tdm_mpmc_view_ *view, struct tdm_span span,
					      uint64_t elem_size, uint64_t elem_align,
					      uint64_t type_tag, struct tdm_participant *self,
					      uint32_t role, struct tdm_slots *slots)
{
	memset(view, 0, sizeof(*view));
	view->unforked = &tdm_slots_no_;
	enum tdm_status status =
	    tdm_slots_open_(&tdm_mpmc_layout_, span, elem_size, elem_align, type_tag, slots);
	if (status != TDM_OK)
		return status;
	if (span.read_only)
		return TDM_READ_ONLY;
	struct tdm_mpmc_shm *shm = TDM_AT_(struct tdm_mpmc_shm, span.base, 0);
	struct tdm_mpmc_view_ found = *view;
	found.slots = TDM_AT_(unsigned char, span.base, slots->first);
	found.mask = slots->mask;
	found.stride = slots->stride;
	found.shm = shm;
	if (tdm_load_relaxed_u64(&shm->constant.plain) != 0) {
		if (self != TDM_NULL)
			return TDM_INVALID; // it would not be robust: say so instead of pretending
		found.unforked = &tdm_slots_yes_;
	} else {
		status = tdm_participant_serves_(span, self);
		if (status != TDM_OK)
			return status;
		if (self->index >= slots->seats)
			return TDM_BAD_GEOMETRY;
		found.unforked = self->unforked;
		found.self = self;
		found.parts = TDM_AT_(struct tdm_mpmc_part, span.base, sizeof(*shm));
		uint32_t parts = tdm_load_relaxed_u32(&shm->parts);
		while (parts < self->index + 1 &&
		       !tdm_cas_weak_relaxed_relaxed_u32(&shm->parts, &parts, self->index + 1))
			continue;
		struct tdm_mpmc_part *part = &found.parts[self->index];
		if (tdm_load_relaxed_u64(&part->generation) != self->generation)
			tdm_mpmc_settle_(&found, part);
		uint64_t roles = tdm_load_relaxed_u64(&part->roles);
		if ((roles & role) != 0)
			return TDM_BUSY;
		tdm_store_release_u64(&part->roles, roles | role); // E7, pairs with role
		self->attached++;
	}
	tdm_fetch_or_relaxed_u32(&shm->ever, role);
	(void)tdm_fence_register_();
	*view = found;
	return TDM_OK;
}

tdm_function enum tdm_status tdm_mpmc_producer_attach_(struct tdm_mpmc_producer *producer,
						       struct tdm_span span, uint64_t elem_size,
						       uint64_t elem_align, uint64_t type_tag,
						       struct tdm_participant *self)
{
	struct tdm_slots slots;
	memset(producer, 0, sizeof(*producer));
	enum tdm_status status = tdm_mpmc_attach_(&producer->view, span, elem_size, elem_align,
						  type_tag, self, TDM_MPMC_PRODUCES_, &slots);
	if (status != TDM_OK)
		return status;
	if (self != TDM_NULL)
		producer->intent = &producer->view.parts[self->index].intents[TDM_MPMC_PUSH_];
	producer->offset = slots.offset;
	producer->elem_size = slots.elem_size;
	return TDM_OK;
}

// Becomes one of the producers. `elem_size` must be the ring's, or 0 for whatever that is; `self`
// is NULL for a plain ring. Until then a zero-filled handle answers TDM_INVALID to everything.
// TDM_BUSY: the participant has another producer's handle here. TDM_NEEDS_PARTICIPANT, TDM_INVALID:
// robust without a participant, plain with one, or one of another segment. TDM_WRONG_KIND,
// TDM_WRONG_TYPE, TDM_NOT_INITIALIZED, TDM_OLDER_LAYOUT, TDM_NEWER_LAYOUT, TDM_BAD_GEOMETRY,
// TDM_READ_ONLY: as they say. After a failure nothing is attached.
tdm_nodiscard tdm_function enum tdm_status
tdm_mpmc_producer_attach(struct tdm_mpmc_producer *producer, struct tdm_span span,
			 uint64_t elem_size, struct tdm_participant *self)
{
	return tdm_mpmc_producer_attach_(producer, span, elem_size, 0, 0, self);
}

tdm_function enum tdm_status tdm_mpmc_consumer_attach_(struct tdm_mpmc_consumer *consumer,
						       struct tdm_span span, uint64_t elem_size,
						       uint64_t elem_align, uint64_t type_tag,
						       struct tdm_participant *self)
{
	struct tdm_slots slots;
	memset(consumer, 0, sizeof(*consumer));
	enum tdm_status status = tdm_mpmc_attach_(&consumer->view, span, elem_size, elem_align,
						  type_tag, self, TDM_MPMC_CONSUMES_, &slots);
	if (status != TDM_OK)
		return status;
	if (self != TDM_NULL)
		consumer->part = &consumer->view.parts[self->index];
	consumer->offset = slots.offset;
	consumer->elem_size = slots.elem_size;
	consumer->ahead = TDM_SLOTS_AHEAD_ / slots.stride + 1;
	consumer->doubts = TDM_MPMC_PATIENCE_ - 1; // what was left behind is looked for at once
	return TDM_OK;
}

// Becomes one of the consumers; as tdm_mpmc_producer_attach.
tdm_nodiscard tdm_function enum tdm_status
tdm_mpmc_consumer_attach(struct tdm_mpmc_consumer *consumer, struct tdm_span span,
			 uint64_t elem_size, struct tdm_participant *self)
{
	return tdm_mpmc_consumer_attach_(consumer, span, elem_size, 0, 0, self);
}

tdm_inline enum tdm_status tdm_mpmc_usable_(const struct tdm_mpmc_view_ *view)
{
	if (view->shm == TDM_NULL)
		return TDM_INVALID;
	return tdm_load_relaxed_u32(view->unforked) != 0 ? TDM_OK : TDM_FORKED;
}

tdm_function void tdm_mpmc_drop_(struct tdm_mpmc_view_ *view, uint32_t role)
{
	if (view->parts != TDM_NULL) {
		struct tdm_mpmc_part *part = &view->parts[view->self->index];
		uint64_t roles = tdm_load_relaxed_u64(&part->roles);
		tdm_store_release_u64(&part->roles, roles & ~TDM_CAST(uint64_t, role)); // E7
		view->self->attached--;
	}
	memset(view, 0, sizeof(*view));
	view->unforked = &tdm_slots_no_;
}

// Gives the role back. Waiting consumers learn of it.
tdm_function enum tdm_status tdm_mpmc_producer_detach(struct tdm_mpmc_producer *producer)
{
	enum tdm_status status = tdm_mpmc_usable_(&producer->view);
	if (status != TDM_OK)
		return status;
	struct tdm_mpmc_shm *shm = producer->view.shm;
	tdm_mpmc_drop_(&producer->view, TDM_MPMC_PRODUCES_);
	tdm_event_notify(&shm->not_empty);
	return TDM_OK;
}

// Gives the role back, and what was taken and not acknowledged to the others. Waiting producers
// learn of it.
tdm_function enum tdm_status tdm_mpmc_consumer_detach(struct tdm_mpmc_consumer *consumer)
{
	enum tdm_status status = tdm_mpmc_usable_(&consumer->view);
	if (status != TDM_OK)
		return status;
	struct tdm_mpmc_shm *shm = consumer->view.shm;
	if (consumer->part != TDM_NULL)
		for (uint32_t i = TDM_MPMC_TAKE_; i < TDM_MPMC_WORDS_; i++) {
			tdm_atomic_u64 *word = &consumer->part->intents[i];
			uint64_t intent = tdm_load_relaxed_u64(word);
			if ((intent & TDM_MPMC_SET_) != 0)
				tdm_store_release_u64(word, intent | TDM_MPMC_ORPHAN_); // E5
		}
	tdm_mpmc_drop_(&consumer->view, TDM_MPMC_CONSUMES_);
	tdm_event_notify(&shm->not_full);
	tdm_event_notify(&shm->not_empty);
	return TDM_OK;
}

// Who has a role? TDM_OK: somebody live (a plain ring: cannot tell). TDM_NOT_FOUND: nobody yet.
// TDM_PEER_LEFT: nobody any more. TDM_PEER_DIED: likewise, and one of them at least has died.
tdm_function enum tdm_status tdm_mpmc_role_(const struct tdm_mpmc_view_ *view, uint32_t role)
{
	if (view->parts == TDM_NULL)
		return TDM_OK;
	if ((tdm_load_relaxed_u32(&view->shm->ever) & role) == 0)
		return TDM_NOT_FOUND;
	bool died = false;
	uint32_t parts = tdm_load_relaxed_u32(&view->shm->parts);
	if (parts > view->self->table.seat_count)
		parts = view->self->table.seat_count;
	for (uint32_t k = 0; k < parts; k++) {
		struct tdm_mpmc_part *part = &view->parts[k];
		if ((tdm_load_acquire_u64(&part->roles) & role) == 0) // E7, pairs with drop
			continue;
		uint64_t generation =
		    tdm_load_acquire_u64(&part->generation); // E8, pairs with settle
		enum tdm_status status = tdm_table_dead_(&view->self->table, k, generation);
		if (status != TDM_OK)
			return status == TDM_BUSY ? TDM_OK : status;
		// It may have detached and left between the two looks; it has gone, so all of it
		// is seen.
		if ((tdm_load_relaxed_u64(&part->roles) & role) != 0 &&
		    tdm_load_relaxed_u64(&part->generation) == generation)
			died = true;
	}
	return died ? TDM_PEER_DIED : TDM_PEER_LEFT;
}

// How are the consumers?
tdm_nodiscard tdm_function enum tdm_status
tdm_mpmc_producer_peers(const struct tdm_mpmc_producer *producer)
{
	enum tdm_status status = tdm_mpmc_usable_(&producer->view);
	return status == TDM_OK ? tdm_mpmc_role_(&producer->view, TDM_MPMC_CONSUMES_) : status;
}

// How are the producers?
tdm_nodiscard tdm_function enum tdm_status
tdm_mpmc_consumer_peers(const struct tdm_mpmc_consumer *consumer)
{
	enum tdm_status status = tdm_mpmc_usable_(&consumer->view);
	return status == TDM_OK ? tdm_mpmc_role_(&consumer->view, TDM_MPMC_PRODUCES_) : status;
}

// ---------------------------------------------------------------------------------------------
// Pushing. `size`, `offset` and `stride` are constants in the typed forms.

// What a cold path answers to a hot one, which keeps its handle in registers.
struct tdm_mpmc_answer_ {
	enum tdm_status status; // TDM_OK: try again
	uint64_t doubts;
};

// The slot at `position` is not free for it: its sequence is `sequence`.
tdm_cold struct tdm_mpmc_answer_ tdm_mpmc_full_(struct tdm_mpmc_view_ view, uint64_t position,
						uint64_t sequence, uint64_t doubts)
{
	struct tdm_mpmc_answer_ answer = {tdm_mpmc_usable_(&view), doubts};
	if (answer.status != TDM_OK || tdm_mpmc_distance_(sequence, position) > 0 ||
	    tdm_load_relaxed_u64(&view.shm->tail) != position)
		return answer; // somebody was faster
	answer.status = TDM_FULL;
	if (view.parts == TDM_NULL || ++answer.doubts % TDM_MPMC_PATIENCE_ != 0)
		return answer; // and the consumers keep the line of head
	if (tdm_mpmc_skip_(&view, tdm_load_relaxed_u64(&view.shm->head))) {
		tdm_event_notify(&view.shm->not_empty);
		answer.status = TDM_OK;
		answer.doubts--; // there may be more of a batch: the next refusal looks at once
	}
	return answer;
}

// The handle cannot be used; or only a peer that breaks the rules can have got in its way so often.
tdm_cold enum tdm_status tdm_mpmc_given_up_(const struct tdm_mpmc_view_ *view)
{
	enum tdm_status status = tdm_mpmc_usable_(view);
	return status == TDM_OK ? TDM_CORRUPT : status;
}

// Somebody else claimed the position first.
tdm_inline void tdm_mpmc_lose_(uint32_t *losses)
{
	for (uint32_t i = 0; i < *losses; i++)
		TDM_SEAM_PAUSE();
	*losses = *losses < 64 ? 2 * *losses + 1 : 64;
}

tdm_inline enum tdm_status tdm_mpmc_try_push_(struct tdm_mpmc_producer *producer, const void *elem,
					      size_t size, uint64_t offset, uint64_t stride)
{
	struct tdm_mpmc_shm *shm = producer->view.shm;
	tdm_atomic_u64 *intent = producer->intent;
	uint32_t losses = 0;
	for (uint32_t i = 0; i < TDM_RETRIES_ && tdm_slots_unforked_(producer->view.unforked);
	     i++) {
		uint64_t position = tdm_load_relaxed_u64(&shm->tail);
		tdm_atomic_u64 *slot = tdm_slots_sequence_(producer->view.slots, position,
							   producer->view.mask, stride);
		uint64_t sequence = tdm_load_acquire_u64(slot); // E2, pairs with pop
		if (tdm_likely(sequence == (position & TDM_MPMC_POSITION_))) {
			uint64_t claim = tdm_mpmc_intent_(position, 1);
			if (intent != TDM_NULL)
				tdm_store_release_u64(intent, claim); // E5, pairs with scan
			if (tdm_likely(tdm_cas_weak_release_relaxed_u64(
				&shm->tail, &position, position + 1))) { // E3, pairs with skip
				if (intent != TDM_NULL)
					tdm_store_release_u64(intent, claim | TDM_MPMC_WON_); // E5
				TDM_SEAM_COPY(TDM_AT_(unsigned char, slot, offset), elem, size);
				tdm_store_release_u64(slot,
						      (position + 1) & TDM_MPMC_POSITION_); // E1
				tdm_event_notify(&shm->not_empty);
				return TDM_OK;
			}
			if (intent != TDM_NULL)
				tdm_store_release_u64(intent, 0); // E5
			tdm_mpmc_lose_(&losses);
			continue;
		}
		struct tdm_mpmc_answer_ answer =
		    tdm_mpmc_full_(producer->view, position, sequence, producer->doubts);
		producer->doubts = answer.doubts;
		if (answer.status != TDM_OK)
			return answer.status;
	}
	struct tdm_mpmc_view_ view = producer->view;
	return tdm_mpmc_given_up_(&view);
}

// Claims a run of free positions, `count` at most. 0: none, and *status says why unless another
// attempt is due.
tdm_inline uint64_t tdm_mpmc_claim_free_(struct tdm_mpmc_producer *producer, uint64_t count,
					 uint64_t stride, uint64_t *first, enum tdm_status *status)
{
	struct tdm_mpmc_shm *shm = producer->view.shm;
	uint64_t position = tdm_load_relaxed_u64(&shm->tail);
	uint64_t sequence = 0;
	uint64_t run = 0;
	while (run < count) {
		sequence = tdm_load_acquire_u64(
		    tdm_slots_sequence_(producer->view.slots, position + run, producer->view.mask,
					stride)); // E2, pairs with pop
		if (sequence != ((position + run) & TDM_MPMC_POSITION_))
			break;
		run++;
	}
	*status = TDM_OK;
	if (run == 0) {
		struct tdm_mpmc_answer_ answer =
		    tdm_mpmc_full_(producer->view, position, sequence, producer->doubts);
		producer->doubts = answer.doubts;
		*status = answer.status;
		return 0;
	}
	*first = position;
	uint64_t claim = tdm_mpmc_intent_(position, run);
	if (producer->intent != TDM_NULL)
		tdm_store_release_u64(producer->intent, claim); // E5, pairs with scan
	if (tdm_cas_weak_release_relaxed_u64(&shm->tail, &position,
					     position + run)) { // E3, pairs with skip
		if (producer->intent != TDM_NULL)
			tdm_store_release_u64(producer->intent, claim | TDM_MPMC_WON_); // E5
		return run;
	}
	if (producer->intent != TDM_NULL)
		tdm_store_release_u64(producer->intent, 0); // E5
	return 0;
}

tdm_inline enum tdm_status tdm_mpmc_try_push_n_(struct tdm_mpmc_producer *producer,
						const void *elems, size_t count, size_t *pushed,
						size_t size, uint64_t offset, uint64_t stride)
{
	const unsigned char *from = TDM_CAST(const unsigned char *, elems);
	enum tdm_status status = tdm_mpmc_usable_(&producer->view);
	uint32_t losses = 0;
	size_t done = 0;
	for (uint32_t i = 0; done < count && status == TDM_OK; i++) {
		uint64_t position = 0;
		uint64_t run = tdm_mpmc_claim_free_(
		    producer, count - done < TDM_MPMC_BATCH_ ? count - done : TDM_MPMC_BATCH_,
		    stride, &position, &status);
		if (run == 0) {
			if (status == TDM_OK)
				tdm_mpmc_lose_(&losses);
			if (status == TDM_OK && i >= TDM_RETRIES_)
				status = TDM_CORRUPT;
			continue;
		}
		done += TDM_CAST(size_t, run);
		i = 0;
		for (uint64_t end = position + run; position != end; position++, from += size) {
			tdm_atomic_u64 *slot = tdm_slots_sequence_(producer->view.slots, position,
								   producer->view.mask, stride);
			TDM_SEAM_COPY(TDM_AT_(unsigned char, slot, offset), from, size);
			tdm_store_release_u64(slot,
					      (position + 1) & TDM_MPMC_POSITION_); // E1
		}
	}
	*pushed = done;
	if (done > 0) {
		tdm_event_notify(&producer->view.shm->not_empty);
		if (status == TDM_FULL)
			status = TDM_OK;
	}
	return status;
}

// Pushes a copy of `elem`. TDM_FULL: no room. TDM_FORKED. TDM_CORRUPT: a peer breaks the rules.
tdm_nodiscard tdm_function enum tdm_status tdm_mpmc_try_push(struct tdm_mpmc_producer *producer,
							     const void *elem)
{
	return tdm_mpmc_try_push_(producer, elem, TDM_CAST(size_t, producer->elem_size),
				  producer->offset, producer->view.stride);
}

// Pushes as many of the `count` elements at `elems` as there is room for, from the first on; each
// becomes visible by itself, 32 at most together, and others' may come in between those. *pushed
// says how many. TDM_FULL: none.
tdm_nodiscard tdm_function enum tdm_status tdm_mpmc_try_push_n(struct tdm_mpmc_producer *producer,
							       const void *elems, size_t count,
							       size_t *pushed)
{
	return tdm_mpmc_try_push_n_(producer, elems, count, pushed,
				    TDM_CAST(size_t, producer->elem_size), producer->offset,
				    producer->view.stride);
}

// ---------------------------------------------------------------------------------------------
// Popping

// There is no element at `position`: its slot's sequence is `sequence`. TDM_NOT_FOUND: none, and
// what the dead have left behind is due to be looked for.
tdm_cold struct tdm_mpmc_answer_ tdm_mpmc_empty_(struct tdm_mpmc_view_ view, uint64_t position,
						 uint64_t sequence, uint64_t doubts)
{
	struct tdm_mpmc_answer_ answer = {tdm_mpmc_usable_(&view), doubts};
	if (answer.status != TDM_OK || tdm_load_relaxed_u64(&view.shm->head) != position)
		return answer;                                // somebody was faster
	if (tdm_mpmc_distance_(sequence, position + 1) > 0) { // skipped
		(void)tdm_cas_strong_relaxed_relaxed_u64(&view.shm->head, &position, position + 1);
		return answer;
	}
	answer.status = TDM_EMPTY;
	if (view.parts == TDM_NULL || ++answer.doubts % TDM_MPMC_PATIENCE_ != 0)
		return answer;
	if (tdm_mpmc_skip_(&view, position)) {
		tdm_event_notify(&view.shm->not_full);
		answer.status = TDM_OK;
		answer.doubts--; // there may be more of a batch: the next refusal looks at once
	} else {
		answer.status = TDM_NOT_FOUND;
	}
	return answer;
}

// Claims a run of ready positions, `count` at most. 0: none, and *status says why unless another
// attempt is due.
tdm_inline uint64_t tdm_mpmc_claim_ready_(struct tdm_mpmc_consumer *consumer,
					  tdm_atomic_u64 *intent, uint64_t count, uint64_t stride,
					  uint64_t *first, enum tdm_status *status)
{
	struct tdm_mpmc_shm *shm = consumer->view.shm;
	uint64_t position = tdm_load_relaxed_u64(&shm->head);
	uint64_t sequence = 0;
	uint64_t run = 0;
	while (run < count) {
		sequence = tdm_load_acquire_u64(
		    tdm_slots_sequence_(consumer->view.slots, position + run, consumer->view.mask,
					stride)); // E1, pairs with push
		if (sequence != ((position + run + 1) & TDM_MPMC_POSITION_))
			break;
		run++;
	}
	*status = TDM_OK;
	if (tdm_unlikely(run == 0)) {
		struct tdm_mpmc_answer_ answer =
		    tdm_mpmc_empty_(consumer->view, position, sequence, consumer->doubts);
		consumer->doubts = answer.doubts;
		*status = answer.status;
		return 0;
	}
	*first = position;
	uint64_t claim = tdm_mpmc_intent_(position, run);
	if (intent != TDM_NULL)
		tdm_store_release_u64(intent, claim); // E5, pairs with scan
	if (tdm_likely(tdm_cas_weak_release_relaxed_u64(&shm->head, &position,
							position + run))) { // E4, pairs with find
		if (intent != TDM_NULL)
			tdm_store_release_u64(intent, claim | TDM_MPMC_WON_); // E5
		return run;
	}
	if (intent != TDM_NULL)
		tdm_store_release_u64(intent, 0); // E5
	return 0;
}

// Adopts the oldest element that was left behind, if there is one.
tdm_function bool tdm_mpmc_adopt_oldest_(const struct tdm_mpmc_view_ *view, tdm_atomic_u64 *intent,
					 uint64_t *position, uint32_t *attempt)
{
	return tdm_mpmc_find_orphan_(view, position) &&
	       tdm_mpmc_adopt_(view, *position, intent, attempt);
}

// Pops something that is delivered again: what AGAIN says was left behind, if so, else the oldest.
tdm_cold enum tdm_status tdm_mpmc_pop_again_(struct tdm_mpmc_view_ view, uint64_t offset,
					     uint64_t elem_size, void *elem)
{
	tdm_atomic_u64 *words = view.parts[view.self->index].intents;
	tdm_atomic_u64 *word = &words[TDM_MPMC_AGAIN_];
	uint64_t position = 0;
	uint32_t attempt = 0;
	bool adopted;
	if (tdm_mpmc_reusable_(&view, word)) {
		adopted = tdm_mpmc_adopt_oldest_(&view, word, &position, &attempt);
	} else {
		position = tdm_load_relaxed_u64(word) & TDM_MPMC_POSITION_;
		adopted = tdm_mpmc_adopt_(&view, position, word, &attempt);
	}
	if (!adopted)
		return TDM_EMPTY;
	tdm_atomic_u64 *slot = tdm_mpmc_sequence_(&view, position);
	TDM_SEAM_COPY(elem, TDM_AT_(unsigned char, slot, offset), TDM_CAST(size_t, elem_size));
	tdm_store_release_u64(slot, (position + view.mask + 1) & TDM_MPMC_POSITION_); // E2
	tdm_event_notify(&view.shm->not_full);
	return TDM_OK;
}

// The word for popping says what the seat's last holder left behind. It itself, if that is settled,
// or another one, for one element only; NULL: all say such things.
tdm_cold tdm_atomic_u64 *tdm_mpmc_other_word_(struct tdm_mpmc_view_ view, tdm_atomic_u64 *word)
{
	if (tdm_mpmc_reusable_(&view, word))
		return word;
	tdm_atomic_u64 *words = view.parts[view.self->index].intents;
	for (uint32_t i = TDM_MPMC_TAKE_; i < TDM_MPMC_WORDS_; i++)
		if (tdm_mpmc_reusable_(&view, &words[i]))
			return &words[i];
	return TDM_NULL;
}

tdm_inline enum tdm_status tdm_mpmc_try_pop_n_(struct tdm_mpmc_consumer *consumer, void *elems,
					       size_t count, size_t *popped, size_t size,
					       uint64_t offset, uint64_t stride)
{
	tdm_atomic_u64 *intent =
	    consumer->part != TDM_NULL ? &consumer->part->intents[TDM_MPMC_POP_] : TDM_NULL;
	uint32_t losses = 0;
	enum tdm_status status = TDM_OK;
	*popped = 0;
	if (count == 0)
		return tdm_mpmc_usable_(&consumer->view);
	for (uint32_t i = 0; i < TDM_RETRIES_; i++) {
		if (tdm_unlikely(!tdm_slots_unforked_(consumer->view.unforked)))
			break;
		if (tdm_unlikely(intent != TDM_NULL &&
				 (tdm_load_relaxed_u64(intent) & TDM_MPMC_ORPHAN_) != 0)) {
			tdm_atomic_u64 *other = tdm_mpmc_other_word_(consumer->view, intent);
			if (other == TDM_NULL) {
				status = TDM_NOT_FOUND;
				break;
			}
			if (other != intent)
				count = 1;
			intent = other;
		}
		uint64_t position = 0;
		uint64_t run = tdm_mpmc_claim_ready_(
		    consumer, intent, count < TDM_MPMC_BATCH_ ? count : TDM_MPMC_BATCH_, stride,
		    &position, &status);
		if (tdm_likely(run != 0)) {
			unsigned char *to = TDM_CAST(unsigned char *, elems);
			*popped = TDM_CAST(size_t, run);
			for (uint64_t end = position + run; position != end;
			     position++, to += size) {
				tdm_atomic_u64 *slot = tdm_slots_sequence_(
				    consumer->view.slots, position, consumer->view.mask, stride);
				__builtin_prefetch(tdm_slots_sequence_(
				    consumer->view.slots, position + consumer->ahead,
				    consumer->view.mask, stride));
				TDM_SEAM_COPY(to, TDM_AT_(unsigned char, slot, offset), size);
				tdm_store_release_u64(slot, (position + consumer->view.mask + 1) &
								TDM_MPMC_POSITION_); // E2
			}
			tdm_event_notify(&consumer->view.shm->not_full);
			return TDM_OK;
		}
		if (status == TDM_NOT_FOUND)
			break;
		if (status != TDM_OK)
			return status;
		tdm_mpmc_lose_(&losses);
	}
	struct tdm_mpmc_view_ view = consumer->view;
	if (status != TDM_NOT_FOUND)
		return tdm_mpmc_given_up_(&view);
	status = tdm_mpmc_pop_again_(view, offset, size, elems);
	*popped = status == TDM_OK ? 1 : 0;
	return status;
}

tdm_inline enum tdm_status tdm_mpmc_try_pop_(struct tdm_mpmc_consumer *consumer, void *elem,
					     size_t size, uint64_t offset, uint64_t stride)
{
	size_t popped;
	return tdm_mpmc_try_pop_n_(consumer, elem, 1, &popped, size, offset, stride);
}

// Pops into `elem`. TDM_EMPTY: nothing there. TDM_FORKED. TDM_CORRUPT: a peer breaks the rules.
tdm_nodiscard tdm_function enum tdm_status tdm_mpmc_try_pop(struct tdm_mpmc_consumer *consumer,
							    void *elem)
{
	return tdm_mpmc_try_pop_(consumer, elem, TDM_CAST(size_t, consumer->elem_size),
				 consumer->offset, consumer->view.stride);
}

// Pops up to `count` elements that follow each other, 32 at most. *popped says how many.
// TDM_EMPTY: none. What a consumer that dies inside has not yet given back to the producers is
// delivered again.
tdm_nodiscard tdm_function enum tdm_status
tdm_mpmc_try_pop_n(struct tdm_mpmc_consumer *consumer, void *elems, size_t count, size_t *popped)
{
	return tdm_mpmc_try_pop_n_(consumer, elems, count, popped,
				   TDM_CAST(size_t, consumer->elem_size), consumer->offset,
				   consumer->view.stride);
}

// ---------------------------------------------------------------------------------------------
// Taking: popping in two halves

// Takes the next element, which stays in the ring, and this consumer's, until it is acknowledged;
// it is delivered again if the consumer dies or detaches before. TDM_EMPTY: nothing there.
// TDM_BUSY: 8 are taken and not acknowledged, or fewer as long as what the seat's last holder left
// behind is not settled. TDM_INVALID: in a plain ring.
tdm_nodiscard tdm_function enum tdm_status tdm_mpmc_try_take(struct tdm_mpmc_consumer *consumer,
							     struct tdm_mpmc_lease *lease)
{
	const struct tdm_mpmc_view_ *view = &consumer->view;
	memset(lease, 0, sizeof(*lease));
	enum tdm_status status = tdm_mpmc_usable_(view);
	if (status != TDM_OK)
		return status;
	if (consumer->part == TDM_NULL)
		return TDM_INVALID;
	tdm_atomic_u64 *words = consumer->part->intents;
	uint32_t word = TDM_MPMC_WORDS_;   // that is free
	uint32_t behind = TDM_MPMC_WORDS_; // that says what was left behind
	for (uint32_t i = TDM_MPMC_TAKE_; i < TDM_MPMC_WORDS_; i++) {
		if (tdm_mpmc_reusable_(view, &words[i]))
			word = i;
		else if ((tdm_load_relaxed_u64(&words[i]) & TDM_MPMC_ORPHAN_) != 0)
			behind = i;
	}
	uint64_t position = 0;
	uint32_t attempt = 1;
	bool taken = false;
	if (word == TDM_MPMC_WORDS_) { // only what was left behind can be had
		if (behind == TDM_MPMC_WORDS_)
			return TDM_BUSY;
		word = behind;
		position = tdm_load_relaxed_u64(&words[word]) & TDM_MPMC_POSITION_;
		taken = tdm_mpmc_adopt_(view, position, &words[word], &attempt);
		status = taken ? TDM_OK : TDM_EMPTY;
	}
	uint32_t losses = 0;
	for (uint32_t i = 0; !taken && status == TDM_OK; i++) {
		taken = tdm_mpmc_claim_ready_(consumer, &words[word], 1, view->stride, &position,
					      &status) != 0;
		if (status == TDM_NOT_FOUND) {
			taken = tdm_mpmc_adopt_oldest_(view, &words[word], &position, &attempt);
			status = taken ? TDM_OK : TDM_EMPTY;
		} else if (!taken && status == TDM_OK) {
			tdm_mpmc_lose_(&losses);
			if (i >= TDM_RETRIES_)
				status = TDM_CORRUPT;
		}
	}
	if (!taken)
		return status;
	lease->elem = TDM_AT_(void, tdm_mpmc_sequence_(view, position), consumer->offset);
	lease->position = position;
	lease->attempt = attempt;
	lease->word = word;
	return TDM_OK;
}

// The word that says so, or NULL: this consumer has not taken it, or not any more.
tdm_function tdm_atomic_u64 *tdm_mpmc_taken_(const struct tdm_mpmc_consumer *consumer,
					     const struct tdm_mpmc_lease *lease)
{
	if (consumer->part == TDM_NULL || lease->word < TDM_MPMC_TAKE_ ||
	    lease->word >= TDM_MPMC_WORDS_)
		return TDM_NULL;
	tdm_atomic_u64 *word = &consumer->part->intents[lease->word];
	return tdm_load_relaxed_u64(word) == (tdm_mpmc_intent_(lease->position, 1) | TDM_MPMC_WON_)
		   ? word
		   : TDM_NULL;
}

// The element is done with: its place is the producers' again. TDM_INVALID: it is not taken, or
// was acknowledged or given back before.
tdm_nodiscard tdm_function enum tdm_status tdm_mpmc_ack(struct tdm_mpmc_consumer *consumer,
							const struct tdm_mpmc_lease *lease)
{
	const struct tdm_mpmc_view_ *view = &consumer->view;
	enum tdm_status status = tdm_mpmc_usable_(view);
	if (status != TDM_OK)
		return status;
	tdm_atomic_u64 *word = tdm_mpmc_taken_(consumer, lease);
	if (word == TDM_NULL)
		return TDM_INVALID;
	tdm_store_release_u64(tdm_mpmc_sequence_(view, lease->position),
			      (lease->position + view->mask + 1) & TDM_MPMC_POSITION_); // E2
	tdm_store_release_u64(word, 0);                                                 // E5
	tdm_event_notify(&view->shm->not_full);
	return TDM_OK;
}

// Gives the element back, to be delivered again, to whomever. As tdm_mpmc_ack.
tdm_nodiscard tdm_function enum tdm_status tdm_mpmc_nack(struct tdm_mpmc_consumer *consumer,
							 const struct tdm_mpmc_lease *lease)
{
	enum tdm_status status = tdm_mpmc_usable_(&consumer->view);
	if (status != TDM_OK)
		return status;
	tdm_atomic_u64 *word = tdm_mpmc_taken_(consumer, lease);
	if (word == TDM_NULL)
		return TDM_INVALID;
	tdm_store_release_u64(word, tdm_load_relaxed_u64(word) | TDM_MPMC_ORPHAN_); // E5
	tdm_event_notify(&consumer->view.shm->not_empty);
	return TDM_OK;
}

// ---------------------------------------------------------------------------------------------
// Waiting. Every form also answers TDM_TIMED_OUT (deadline), and, unless .follow is set,
// TDM_PEER_LEFT or TDM_PEER_DIED when nobody of the other side is there any more: a consumer is not
// told that another consumer still holds an element, which would be delivered again if that one
// died. Who was never there yet is waited for.

struct tdm_mpmc_wait_ {
	struct tdm_mpmc_producer *producer;
	struct tdm_mpmc_consumer *consumer;
	const void *from;
	void *to;
	struct tdm_mpmc_lease *lease;
	size_t count;
	size_t done;
};

tdm_function enum tdm_status tdm_mpmc_gone_(enum tdm_status peers, bool follow)
{
	return !follow && (peers == TDM_PEER_LEFT || peers == TDM_PEER_DIED) ? peers : TDM_OK;
}

// Before each park: the attempt that follows looks after the dead.
tdm_function enum tdm_status tdm_mpmc_producer_idle_(void *context)
{
	struct tdm_mpmc_producer *producer = TDM_CAST(struct tdm_mpmc_wait_ *, context)->producer;
	producer->doubts = TDM_MPMC_PATIENCE_ - 1;
	return tdm_mpmc_gone_(tdm_mpmc_producer_peers(producer), producer->follow);
}

tdm_function enum tdm_status tdm_mpmc_consumer_idle_(void *context)
{
	struct tdm_mpmc_consumer *consumer = TDM_CAST(struct tdm_mpmc_wait_ *, context)->consumer;
	consumer->doubts = TDM_MPMC_PATIENCE_ - 1;
	return tdm_mpmc_gone_(tdm_mpmc_consumer_peers(consumer), consumer->follow);
}

tdm_function enum tdm_status tdm_mpmc_attempt_push_(void *context)
{
	struct tdm_mpmc_wait_ *wait = TDM_CAST(struct tdm_mpmc_wait_ *, context);
	const unsigned char *from = TDM_CAST(const unsigned char *, wait->from);
	size_t pushed = 0;
	enum tdm_status status =
	    tdm_mpmc_try_push_n(wait->producer, from + wait->done * wait->producer->elem_size,
				wait->count - wait->done, &pushed);
	wait->done += pushed;
	return status == TDM_OK && wait->done < wait->count ? TDM_FULL : status;
}

tdm_function enum tdm_status tdm_mpmc_attempt_pop_(void *context)
{
	struct tdm_mpmc_wait_ *wait = TDM_CAST(struct tdm_mpmc_wait_ *, context);
	return tdm_mpmc_try_pop_n(wait->consumer, wait->to, wait->count, &wait->done);
}

tdm_function enum tdm_status tdm_mpmc_attempt_take_(void *context)
{
	struct tdm_mpmc_wait_ *wait = TDM_CAST(struct tdm_mpmc_wait_ *, context);
	return tdm_mpmc_try_take(wait->consumer, wait->lease);
}

tdm_cold enum tdm_status tdm_mpmc_await_elem_(struct tdm_mpmc_wait_ *wait, uint64_t deadline_ns,
					      enum tdm_status (*attempt)(void *))
{
	return tdm_event_await(&wait->consumer->view.shm->not_empty, &wait->consumer->patience,
			       deadline_ns, TDM_EMPTY, attempt, tdm_mpmc_consumer_idle_, wait);
}

// Pushes all `count` elements, waiting for room as needed. *pushed says how many were, also when
// the status is not TDM_OK.
tdm_nodiscard tdm_function enum tdm_status tdm_mpmc_push_n_until(struct tdm_mpmc_producer *producer,
								 const void *elems, size_t count,
								 size_t *pushed,
								 uint64_t deadline_ns)
{
	struct tdm_mpmc_wait_ wait = {producer, TDM_NULL, elems, TDM_NULL, TDM_NULL, count, 0};
	enum tdm_status status = tdm_mpmc_attempt_push_(&wait);
	if (status == TDM_FULL)
		status = tdm_event_await(&producer->view.shm->not_full, &producer->patience,
					 deadline_ns, TDM_FULL, tdm_mpmc_attempt_push_,
					 tdm_mpmc_producer_idle_, &wait);
	*pushed = wait.done;
	return status;
}

tdm_nodiscard tdm_function enum tdm_status
tdm_mpmc_push_until(struct tdm_mpmc_producer *producer, const void *elem, uint64_t deadline_ns)
{
	size_t pushed;
	return tdm_mpmc_push_n_until(producer, elem, 1, &pushed, deadline_ns);
}

tdm_nodiscard tdm_function enum tdm_status tdm_mpmc_push(struct tdm_mpmc_producer *producer,
							 const void *elem)
{
	return tdm_mpmc_push_until(producer, elem, TDM_FOREVER);
}

// Waits for one element at least, and pops up to `count`.
tdm_nodiscard tdm_function enum tdm_status tdm_mpmc_pop_n_until(struct tdm_mpmc_consumer *consumer,
								void *elems, size_t count,
								size_t *popped,
								uint64_t deadline_ns)
{
	struct tdm_mpmc_wait_ wait = {TDM_NULL, consumer, TDM_NULL, elems, TDM_NULL, count, 0};
	enum tdm_status status = tdm_mpmc_attempt_pop_(&wait);
	if (status == TDM_EMPTY)
		status = tdm_mpmc_await_elem_(&wait, deadline_ns, tdm_mpmc_attempt_pop_);
	*popped = wait.done;
	return status;
}

tdm_nodiscard tdm_function enum tdm_status tdm_mpmc_pop_until(struct tdm_mpmc_consumer *consumer,
							      void *elem, uint64_t deadline_ns)
{
	size_t popped;
	return tdm_mpmc_pop_n_until(consumer, elem, 1, &popped, deadline_ns);
}

tdm_nodiscard tdm_function enum tdm_status tdm_mpmc_pop(struct tdm_mpmc_consumer *consumer,
							void *elem)
{
	return tdm_mpmc_pop_until(consumer, elem, TDM_FOREVER);
}

tdm_nodiscard tdm_function enum tdm_status tdm_mpmc_take_until(struct tdm_mpmc_consumer *consumer,
							       struct tdm_mpmc_lease *lease,
							       uint64_t deadline_ns)
{
	struct tdm_mpmc_wait_ wait = {TDM_NULL, consumer, TDM_NULL, TDM_NULL, lease, 0, 0};
	enum tdm_status status = tdm_mpmc_attempt_take_(&wait);
	if (status == TDM_EMPTY)
		status = tdm_mpmc_await_elem_(&wait, deadline_ns, tdm_mpmc_attempt_take_);
	return status;
}

tdm_nodiscard tdm_function enum tdm_status tdm_mpmc_take(struct tdm_mpmc_consumer *consumer,
							 struct tdm_mpmc_lease *lease)
{
	return tdm_mpmc_take_until(consumer, lease, TDM_FOREVER);
}

// The cold part of the typed forms, which are inlined into hot loops: what waits gets a copy, so
// that the handle's address is not taken there.
tdm_inline enum tdm_status tdm_mpmc_push_later_(struct tdm_mpmc_producer *producer,
						const void *elem, uint64_t deadline_ns)
{
	struct tdm_mpmc_producer waits = *producer;
	enum tdm_status status = tdm_mpmc_push_until(&waits, elem, deadline_ns);
	*producer = waits;
	return status;
}

tdm_inline enum tdm_status tdm_mpmc_pop_later_(struct tdm_mpmc_consumer *consumer, void *elem,
					       uint64_t deadline_ns)
{
	struct tdm_mpmc_consumer waits = *consumer;
	enum tdm_status status = tdm_mpmc_pop_until(&waits, elem, deadline_ns);
	*consumer = waits;
	return status;
}

// ---------------------------------------------------------------------------------------------
// Looking and recovering

struct tdm_mpmc_info {
	uint64_t elem_size;
	uint64_t capacity;
	uint64_t type_tag;
	bool plain;
	uint64_t pushed;  // positions claimed by producers since init, finished or not
	uint64_t popped;  // positions claimed by consumers
	uint64_t held;    // of these, elements that are not released: taken, or under way
	uint32_t attempt; // the highest that a held element is at; 0: none is held
	uint32_t producers;
	uint32_t consumers; // handles in seats, dead or alive
};

// Reads only. Exact when nobody is at work, a moment's view otherwise.
tdm_nodiscard tdm_function enum tdm_status tdm_mpmc_check(struct tdm_span span,
							  struct tdm_mpmc_info *info)
{
	struct tdm_slots slots;
	memset(info, 0, sizeof(*info));
	enum tdm_status status = tdm_slots_open_(&tdm_mpmc_layout_, span, 0, 0, 0, &slots);
	if (status != TDM_OK)
		return status;
	struct tdm_mpmc_shm *shm = TDM_AT_(struct tdm_mpmc_shm, span.base, 0);
	info->elem_size = slots.elem_size;
	info->capacity = slots.capacity;
	info->type_tag = tdm_load_relaxed_u64(&shm->constant.type_tag);
	info->plain = tdm_load_relaxed_u64(&shm->constant.plain) != 0;
	info->popped = tdm_load_relaxed_u64(&shm->head);
	info->pushed = tdm_load_relaxed_u64(&shm->tail);
	struct tdm_mpmc_part *parts = TDM_AT_(struct tdm_mpmc_part, span.base, sizeof(*shm));
	unsigned char *first = TDM_AT_(unsigned char, span.base, slots.first);
	for (uint32_t k = 0; k < slots.seats; k++) {
		uint64_t roles = tdm_load_relaxed_u64(&parts[k].roles);
		info->producers += (roles & TDM_MPMC_PRODUCES_) != 0 ? 1U : 0U;
		info->consumers += (roles & TDM_MPMC_CONSUMES_) != 0 ? 1U : 0U;
	}
	if (info->pushed < info->popped)
		info->pushed = info->popped; // the two were read in the other order
	uint64_t oldest = info->pushed > slots.capacity ? info->pushed - slots.capacity : 0;
	for (uint64_t p = oldest; p < info->popped; p++) {
		uint64_t sequence =
		    tdm_load_relaxed_u64(tdm_slots_sequence_(first, p, slots.mask, slots.stride));
		if ((sequence & TDM_MPMC_POSITION_) != ((p + 1) & TDM_MPMC_POSITION_))
			continue;
		uint32_t attempt = TDM_CAST(uint32_t, sequence >> TDM_MPMC_ATTEMPTS_SHIFT_) + 1;
		if (attempt > info->attempt)
			info->attempt = attempt;
		info->held++;
	}
	return TDM_OK;
}

// Who takes part from a seat of the segment.
struct tdm_mpmc_seat_info {
	uint64_t generation; // of the participant; 0: nobody ever
	bool produces;
	bool consumes;
};

// Reads only. TDM_NOT_FOUND: no such seat, as always in a plain ring.
tdm_nodiscard tdm_function enum tdm_status tdm_mpmc_seat(struct tdm_span span, uint32_t index,
							 struct tdm_mpmc_seat_info *info)
{
	struct tdm_slots slots;
	memset(info, 0, sizeof(*info));
	enum tdm_status status = tdm_slots_open_(&tdm_mpmc_layout_, span, 0, 0, 0, &slots);
	if (status != TDM_OK)
		return status;
	if (index >= slots.seats)
		return TDM_NOT_FOUND;
	struct tdm_mpmc_part *part =
	    &TDM_AT_(struct tdm_mpmc_part, span.base, sizeof(struct tdm_mpmc_shm))[index];
	info->generation = tdm_load_relaxed_u64(&part->generation);
	uint64_t roles = tdm_load_relaxed_u64(&part->roles);
	info->produces = (roles & TDM_MPMC_PRODUCES_) != 0;
	info->consumes = (roles & TDM_MPMC_CONSUMES_) != 0;
	return TDM_OK;
}

// Skips what dead producers have claimed and not published, and wakes the consumers if an element
// is to be delivered again. Never needed for progress: who waits looks by itself, and so does
// every 32nd poll in a row that fails. *recovered counts the positions that it skipped, and one
// more if anything is to be delivered again.
tdm_nodiscard tdm_function enum tdm_status
tdm_mpmc_recover(struct tdm_span span, struct tdm_participant *self, uint32_t *recovered)
{
	struct tdm_slots slots;
	*recovered = 0;
	enum tdm_status status = tdm_slots_open_(&tdm_mpmc_layout_, span, 0, 0, 0, &slots);
	if (status != TDM_OK)
		return status;
	if (span.read_only)
		return TDM_READ_ONLY;
	struct tdm_mpmc_shm *shm = TDM_AT_(struct tdm_mpmc_shm, span.base, 0);
	if (tdm_load_relaxed_u64(&shm->constant.plain) != 0)
		return TDM_OK;
	status = tdm_participant_serves_(span, self);
	if (status != TDM_OK)
		return status;
	struct tdm_mpmc_view_ view = {shm,
				      TDM_AT_(unsigned char, span.base, slots.first),
				      self->unforked,
				      TDM_AT_(struct tdm_mpmc_part, span.base, sizeof(*shm)),
				      self,
				      slots.mask,
				      slots.stride};
	for (uint32_t k = 0; k < slots.seats; k++) {
		uint64_t intent = tdm_load_relaxed_u64(&view.parts[k].intents[TDM_MPMC_PUSH_]);
		if ((intent & TDM_MPMC_SET_) == 0)
			continue;
		for (uint64_t n = 0; n < tdm_mpmc_intent_count_(intent); n++)
			if (tdm_mpmc_skip_(&view, intent + n))
				++*recovered;
	}
	uint64_t position = 0;
	if (tdm_mpmc_find_orphan_(&view, &position))
		++*recovered;
	// Whoever died may also have died between disarming an event and waking.
	struct tdm_event *events[] = {&shm->not_empty, &shm->not_full};
	for (size_t i = 0; i < 2; i++) {
		tdm_event_notify(events[i]);
		tdm_futex_wake_(&events[i]->word, UINT32_MAX);
	}
	return TDM_OK;
}

TDM_END_DECLS

// ---------------------------------------------------------------------------------------------
// Typed rings. TDM_MPMC_DEFINE(jobs, struct job); makes struct jobs_producer, jobs_consumer and
// jobs_lease, which no other ring's functions take, and:
//
//   jobs_object(name, capacity)        jobs_size(capacity)     jobs_init(memory, bytes, capacity)
//   jobs_producer_attach(&p, span, self)   jobs_producer_detach(&p)   and for the consumer
//   jobs_try_push(&p, &job)   jobs_push_until(&p, &job, deadline_ns)   jobs_push(&p, &job)
//   jobs_try_push_n(&p, jobs, n, &done)    jobs_push_n_until(&p, jobs, n, &done, deadline_ns)
//   jobs_try_pop, jobs_pop_until, jobs_pop, jobs_try_pop_n, jobs_pop_n_until
//   jobs_try_take(&c, &lease)   jobs_take_until(&c, &lease, deadline_ns)   jobs_take(&c, &lease)
//   jobs_ack(&c, &lease)   jobs_nack(&c, &lease)
//
// with the meanings above; lease.elem is a T *. Everything else works on &p.ring and &lease.ring.
// T is any type that may be copied as bytes.

#define TDM_MPMC_DEFINE(NAME, T)                                                                   \
	TDM_COPYABLE_(T);                                                                          \
	struct NAME##_producer {                                                                   \
		struct tdm_mpmc_producer ring;                                                     \
	};                                                                                         \
	struct NAME##_consumer {                                                                   \
		struct tdm_mpmc_consumer ring;                                                     \
	};                                                                                         \
	struct NAME##_lease {                                                                      \
		T *elem;                                                                           \
		struct tdm_mpmc_lease ring;                                                        \
	};                                                                                         \
	tdm_function struct tdm_object NAME##_object(const char *name, uint64_t capacity)          \
	{                                                                                          \
		struct tdm_object object = tdm_mpmc_object(name, sizeof(T), capacity);             \
		object.elem_align = TDM_SLOTS_OFFSET_(T);                                          \
		object.type_tag = tdm_type_tag(#T);                                                \
		return object;                                                                     \
	}                                                                                          \
	tdm_function uint64_t NAME##_size(uint64_t capacity)                                       \
	{                                                                                          \
		return tdm_mpmc_size(sizeof(T), TDM_SLOTS_OFFSET_(T), capacity);                   \
	}                                                                                          \
	tdm_nodiscard tdm_function enum tdm_status NAME##_init(void *memory, uint64_t bytes,       \
							       uint64_t capacity)                  \
	{                                                                                          \
		struct tdm_object object = NAME##_object("", capacity);                            \
		object.plain = true;                                                               \
		return tdm_mpmc_init_at_(tdm_memory(memory, bytes), &object, 0);                   \
	}                                                                                          \
	tdm_nodiscard tdm_function enum tdm_status NAME##_producer_attach(                         \
	    struct NAME##_producer *producer, struct tdm_span span, struct tdm_participant *self)  \
	{                                                                                          \
		return tdm_mpmc_producer_attach_(&producer->ring, span, sizeof(T),                 \
						 TDM_SLOTS_OFFSET_(T), tdm_type_tag(#T), self);    \
	}                                                                                          \
	tdm_nodiscard tdm_function enum tdm_status NAME##_consumer_attach(                         \
	    struct NAME##_consumer *consumer, struct tdm_span span, struct tdm_participant *self)  \
	{                                                                                          \
		return tdm_mpmc_consumer_attach_(&consumer->ring, span, sizeof(T),                 \
						 TDM_SLOTS_OFFSET_(T), tdm_type_tag(#T), self);    \
	}                                                                                          \
	tdm_function enum tdm_status NAME##_producer_detach(struct NAME##_producer *producer)      \
	{                                                                                          \
		return tdm_mpmc_producer_detach(&producer->ring);                                  \
	}                                                                                          \
	tdm_function enum tdm_status NAME##_consumer_detach(struct NAME##_consumer *consumer)      \
	{                                                                                          \
		return tdm_mpmc_consumer_detach(&consumer->ring);                                  \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_try_push(struct NAME##_producer *producer, \
								 T const *elem)                    \
	{                                                                                          \
		return tdm_mpmc_try_push_(&producer->ring, elem, sizeof(T), TDM_SLOTS_OFFSET_(T),  \
					  TDM_SLOTS_STRIDE_(T));                                   \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_push_until(                                \
	    struct NAME##_producer *producer, T const *elem, uint64_t deadline_ns)                 \
	{                                                                                          \
		enum tdm_status status = NAME##_try_push(producer, elem);                          \
		return tdm_likely(status != TDM_FULL)                                              \
			   ? status                                                                \
			   : tdm_mpmc_push_later_(&producer->ring, elem, deadline_ns);             \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_push(struct NAME##_producer *producer,     \
							     T const *elem)                        \
	{                                                                                          \
		return NAME##_push_until(producer, elem, TDM_FOREVER);                             \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_try_push_n(                                \
	    struct NAME##_producer *producer, T const *elems, size_t count, size_t *pushed)        \
	{                                                                                          \
		return tdm_mpmc_try_push_n_(&producer->ring, elems, count, pushed, sizeof(T),      \
					    TDM_SLOTS_OFFSET_(T), TDM_SLOTS_STRIDE_(T));           \
	}                                                                                          \
	tdm_nodiscard tdm_function enum tdm_status NAME##_push_n_until(                            \
	    struct NAME##_producer *producer, T const *elems, size_t count, size_t *pushed,        \
	    uint64_t deadline_ns)                                                                  \
	{                                                                                          \
		return tdm_mpmc_push_n_until(&producer->ring, elems, count, pushed, deadline_ns);  \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_try_pop(struct NAME##_consumer *consumer,  \
								T *elem)                           \
	{                                                                                          \
		return tdm_mpmc_try_pop_(&consumer->ring, elem, sizeof(T), TDM_SLOTS_OFFSET_(T),   \
					 TDM_SLOTS_STRIDE_(T));                                    \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_pop_until(                                 \
	    struct NAME##_consumer *consumer, T *elem, uint64_t deadline_ns)                       \
	{                                                                                          \
		enum tdm_status status = NAME##_try_pop(consumer, elem);                           \
		return tdm_likely(status != TDM_EMPTY)                                             \
			   ? status                                                                \
			   : tdm_mpmc_pop_later_(&consumer->ring, elem, deadline_ns);              \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_pop(struct NAME##_consumer *consumer,      \
							    T *elem)                               \
	{                                                                                          \
		return NAME##_pop_until(consumer, elem, TDM_FOREVER);                              \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_try_pop_n(                                 \
	    struct NAME##_consumer *consumer, T *elems, size_t count, size_t *popped)              \
	{                                                                                          \
		return tdm_mpmc_try_pop_n_(&consumer->ring, elems, count, popped, sizeof(T),       \
					   TDM_SLOTS_OFFSET_(T), TDM_SLOTS_STRIDE_(T));            \
	}                                                                                          \
	tdm_nodiscard tdm_function enum tdm_status NAME##_pop_n_until(                             \
	    struct NAME##_consumer *consumer, T *elems, size_t count, size_t *popped,              \
	    uint64_t deadline_ns)                                                                  \
	{                                                                                          \
		return tdm_mpmc_pop_n_until(&consumer->ring, elems, count, popped, deadline_ns);   \
	}                                                                                          \
	tdm_nodiscard tdm_function enum tdm_status NAME##_take_until(                              \
	    struct NAME##_consumer *consumer, struct NAME##_lease *lease, uint64_t deadline_ns)    \
	{                                                                                          \
		enum tdm_status status =                                                           \
		    tdm_mpmc_take_until(&consumer->ring, &lease->ring, deadline_ns);               \
		lease->elem = TDM_CAST(T *, lease->ring.elem);                                     \
		return status;                                                                     \
	}                                                                                          \
	tdm_nodiscard tdm_function enum tdm_status NAME##_take(struct NAME##_consumer *consumer,   \
							       struct NAME##_lease *lease)         \
	{                                                                                          \
		return NAME##_take_until(consumer, lease, TDM_FOREVER);                            \
	}                                                                                          \
	tdm_nodiscard tdm_function enum tdm_status NAME##_try_take(                                \
	    struct NAME##_consumer *consumer, struct NAME##_lease *lease)                          \
	{                                                                                          \
		enum tdm_status status = tdm_mpmc_try_take(&consumer->ring, &lease->ring);         \
		lease->elem = TDM_CAST(T *, lease->ring.elem);                                     \
		return status;                                                                     \
	}                                                                                          \
	tdm_nodiscard tdm_function enum tdm_status NAME##_ack(struct NAME##_consumer *consumer,    \
							      const struct NAME##_lease *lease)    \
	{                                                                                          \
		return tdm_mpmc_ack(&consumer->ring, &lease->ring);                                \
	}                                                                                          \
	tdm_nodiscard tdm_function enum tdm_status NAME##_nack(struct NAME##_consumer *consumer,   \
							       const struct NAME##_lease *lease)   \
	{                                                                                          \
		return tdm_mpmc_nack(&consumer->ring, &lease->ring);                               \
	}                                                                                          \
	struct NAME##_producer

#endif
