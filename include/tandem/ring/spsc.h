// SPDX-License-Identifier: BSD-2-Clause
// A ring for one producer and one consumer with elements of one size.
//
// Choose it whenever there is exactly one of each: nothing here is faster. Robust, with
// participants, in a segment: either side may die at any instruction; what was pushed stays, what
// was popped is gone, and whoever attaches next goes on from there. Plain, without participants,
// in any memory both sides share.
//
// Progress   try_ operations are wait-free. `_until` and the bare forms spin, yield, then park; a
//            stopped peer makes them wait. Neither side can block the other's try_ operations.
//            A parked producer is woken when 32 slots are free (a quarter of a small ring), or the
//            ring is empty, and looks by itself every 100 ms.
// Callers    Each role belongs to one handle and one thread. A live holder keeps others out
//            (TDM_BUSY); a plain ring cannot tell, and leaves that to the caller. tdm_spsc_check
//            from anywhere, also on a read-only mapping.
// Handles    A handle is a value: it may be copied and the copy used in its stead. A hot loop that
//            works on a local copy and puts it back afterwards keeps it in registers, and the typed
//            try_push, try_pop, push and pop then run at twice the rate.
// Order      First in, first out. A full or empty answer is exact.
// Positions  Element k since init has position k, for both sides, whoever holds the roles:
//            tdm_spsc_producer_position says how many have ever been pushed, so a restarted
//            producer knows what of its own arrived; the consumer's says how many were popped.
//
// Edges
//   E1  A slot's sequence: the producer's store (release) with the consumer's load (acquire): the
//       payload is seen whole.
//   E2  head and released: the consumer's stores (release) with the producer's loads (acquire): the
//       slot was read before it is written again.
//   E3  A role's owner word: detach's CAS (release) and the dead owner's end
//       (shm/participant.h) with the next claim's CAS (acquire): the successor sees all that
//       its predecessor wrote. Recover's CAS (release) passes that on. Also with the peer's load
//       (acquire) in its last look before TDM_PEER_LEFT: every element pushed before the producer
//       left is seen. And claim's CAS (release) with every load (acquire) that asks whether the
//       owner is dead: with an owner's name its seat's generation is seen, or the living would
//       look dead.
//
// Crashes
//   C1  A producer dies before a slot's sequence is stored: the element was never pushed, and its
//       slot is written again. After: it is pushed, although nobody was told. A batch may have
//       been pushed up to any element.
//   C2  A consumer dies before head is stored: the element is still there for the next consumer.
//       After: it is popped. Between try_peek and release it is always still there.
//   C3  A consumer dies before `released` is stored: the producer looks at head before it says
//       full, and the next consumer stores it.
//   C4  Death in attach: the role belongs to the dead, and the next one takes it over. Nothing else
//       was changed.
//   In doubt is only the dying side's own operation, and the successor can tell by the position.
//
// Source     Lamport, "Specifying Concurrent Program Modules", TOPLAS 5(2), 1983, for the ring;
//            Giacomoni, Moseley and Vachharajani, "FastForward for Efficient Pipeline Parallelism",
//            PPoPP 2008, for readiness in the slot instead of a shared index.
//
// Example    tests/examples/two_processes.c; typed:
//	TDM_SPSC_DEFINE(jobs, struct job);
//	struct tdm_object object = jobs_object("jobs", 1024);
//	jobs_producer_attach(&out, tdm_segment_find(&segment, "jobs"), &self);
//	jobs_push(&out, &job);
#ifndef TDM_RING_SPSC_H
#define TDM_RING_SPSC_H

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

#define TDM_SPSC_VERSION 1U
#define TDM_SPSC_TAG_ (UINT64_C(0x7370736300000000) | TDM_SPSC_VERSION)
#define TDM_SPSC_CAPACITY_MAX TDM_SLOTS_CAPACITY_MAX_
#define TDM_SPSC_ELEM_SIZE_MAX TDM_SLOTS_ELEM_SIZE_MAX_

// The producer looks at `released`, which moves in batches; `head` is exact, and only the
// consumer touches its line as long as the ring is not full.
struct tdm_spsc_shm {
	struct tdm_slots_shm constant;
	// Who holds the roles.
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 producer;
	tdm_atomic_u64 consumer;
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 head;     // elements popped
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 released; // elements popped, batched: <= head
	TDM_ALIGNAS(TDM_CACHE_LINE) struct tdm_event not_empty;
	TDM_ALIGNAS(TDM_CACHE_LINE) struct tdm_event not_full;
};
TDM_STATIC_ASSERT(sizeof(struct tdm_spsc_shm) == 6 * TDM_CACHE_LINE, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_spsc_shm, producer) == 1 * TDM_CACHE_LINE, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_spsc_shm, head) == 2 * TDM_CACHE_LINE, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_spsc_shm, released) == 3 * TDM_CACHE_LINE, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_spsc_shm, not_empty) == 4 * TDM_CACHE_LINE, "layout");

// Then the slots. A slot is its sequence, an u64, and the element at the next aligned offset.
//
//   sequence == p + 1       the element at position p is here
//   sequence == p + 1 - N   (or 0, in the first lap) position p is not pushed yet
//
// It is written by the producer only. In [head, head + N) the pushed positions come first, so
// that the tail is found by bisection and need not be stored.

// An owner word (shm/participant.h) also takes these:
#define TDM_ROLE_NONE_ UINT64_C(0)         // nobody ever
#define TDM_ROLE_LEFT_ (UINT64_C(1) << 16) // detached
#define TDM_ROLE_DIED_ (UINT64_C(2) << 16) // died, and recover noted it
#define TDM_ROLE_PLAIN_ UINT64_C(0xffff)   // held, in a plain ring
#define TDM_ROLE_OWNER_(word) ((word)&UINT64_C(0xffff))

// ---------------------------------------------------------------------------------------------
// Handles, in the process

struct tdm_spsc_producer {
	struct tdm_spsc_shm *shm; // NULL: not attached
	unsigned char *slots;
	uint64_t tail;
	uint64_t limit; // no need to look at the consumer before this position
	const tdm_atomic_u32 *unforked;
	struct tdm_slots geometry;
	uint64_t kept_limit; // while reserved: limit, which then is tail
	uint64_t owner;
	struct tdm_participant *self;
	struct tdm_patience patience;
	bool reserved;
	bool took_over; // attach found that the last producer had died
	bool follow;    // yours to set: keep waiting when the consumer has left or died
};

struct tdm_spsc_consumer {
	struct tdm_spsc_shm *shm; // NULL: not attached
	unsigned char *slots;
	uint64_t head;
	uint64_t released; // as last stored
	const tdm_atomic_u32 *unforked;
	struct tdm_slots geometry;
	uint64_t batch;  // release that many at once
	uint64_t ahead;  // fetch the slot that far ahead
	uint64_t peeked; // position + 1 of the furthest element peeked at
	uint64_t owner;
	struct tdm_participant *self;
	struct tdm_patience patience;
	bool took_over; // attach found that the last consumer had died
	bool follow;    // yours to set: keep waiting when the producer has left or died
};

#define TDM_SPSC_BATCH_ 32U

// ---------------------------------------------------------------------------------------------
// Size and init

static const struct tdm_slots_layout_ tdm_spsc_layout_
    __attribute__((unused)) = {TDM_SPSC_TAG_, TDM_KIND_SPSC, 1, sizeof(struct tdm_spsc_shm), 0};

// Bytes of memory for a ring of `capacity` elements (a power of two up to 2^31) of `elem_size`
// bytes (below 2^31), aligned to `elem_align` (a power of two up to 4096). 0: impossible. The
// memory itself must be aligned to 128, or to elem_align if that is more.
tdm_function uint64_t tdm_spsc_size(uint64_t elem_size, uint64_t elem_align, uint64_t capacity)
{
	struct tdm_slots geometry;
	return tdm_slots_geometry_(&tdm_spsc_layout_, elem_size, elem_align, capacity, 0, &geometry)
		   ? geometry.bytes
		   : 0;
}

// Makes the first element's position `start`: for tests of what happens around 2^32 and 2^63.
tdm_function enum tdm_status tdm_spsc_init_at_(struct tdm_span span,
					       const struct tdm_object *object, uint64_t start)
{
	struct tdm_slots geometry;
	struct tdm_object ring = *object;
	ring.seats = 0; // it needs no line for each
	enum tdm_status status = tdm_slots_init_(&tdm_spsc_layout_, span, &ring, &geometry);
	if (status != TDM_OK)
		return status;
	struct tdm_spsc_shm *shm = TDM_AT_(struct tdm_spsc_shm, span.base, 0);
	tdm_store_relaxed_u64(&shm->producer, TDM_ROLE_NONE_);
	tdm_store_relaxed_u64(&shm->consumer, TDM_ROLE_NONE_);
	tdm_store_relaxed_u64(&shm->head, start);
	tdm_store_relaxed_u64(&shm->released, start);
	tdm_event_init(&shm->not_empty);
	tdm_event_init(&shm->not_full);
	for (uint64_t i = 0; i < geometry.capacity; i++)
		tdm_store_relaxed_u64(
		    TDM_AT_(tdm_atomic_u64, span.base, geometry.first + i * geometry.stride), 0);
	tdm_slots_ready_(&tdm_spsc_layout_, span);
	return TDM_OK;
}

tdm_function enum tdm_status tdm_spsc_object_init_(struct tdm_span span,
						   const struct tdm_object *object)
{
	return tdm_spsc_init_at_(span, object, 0);
}

tdm_function uint64_t tdm_spsc_object_size_(const struct tdm_object *object)
{
	return tdm_spsc_size(object->elem_size, object->elem_align, object->capacity);
}

// Describes a robust ring for tdm_segment_create; set .plain for a plain one. Elements are aligned
// to 8 bytes, unless .elem_align is changed.
tdm_function struct tdm_object tdm_spsc_object(const char *name, uint64_t elem_size,
					       uint64_t capacity)
{
	struct tdm_object object;
	object.name = name;
	object.kind = TDM_KIND_SPSC;
	object.version = TDM_SPSC_VERSION;
	object.elem_size = elem_size;
	object.elem_align = 8;
	object.capacity = capacity;
	object.type_tag = 0;
	object.plain = false;
	object.seats = 0;
	object.size = tdm_spsc_object_size_;
	object.init = tdm_spsc_object_init_;
	return object;
}

// Makes a plain ring in the user's own memory: tdm_spsc_size bytes at least. Whatever was there is
// overwritten; both sides attach afterwards.
tdm_nodiscard tdm_function enum tdm_status tdm_spsc_init(void *memory, uint64_t bytes,
							 uint64_t elem_size, uint64_t elem_align,
							 uint64_t capacity)
{
	struct tdm_object object = tdm_spsc_object("", elem_size, capacity);
	object.elem_align = elem_align;
	object.plain = true;
	return tdm_spsc_init_at_(tdm_memory(memory, bytes), &object, 0);
}

// ---------------------------------------------------------------------------------------------
// Attaching

// base/slots.h checks what the memory says.
tdm_function enum tdm_status tdm_spsc_open_(struct tdm_span span, uint64_t elem_size,
					    uint64_t elem_align, uint64_t type_tag,
					    struct tdm_slots *geometry)
{
	return tdm_slots_open_(&tdm_spsc_layout_, span, elem_size, elem_align, type_tag, geometry);
}

// Claims a role. *took_over: from somebody who died.
tdm_function enum tdm_status tdm_spsc_claim_(struct tdm_spsc_shm *shm, tdm_atomic_u64 *role,
					     struct tdm_span span, struct tdm_participant *self,
					     uint64_t *owner, bool *took_over)
{
	*took_over = false;
	if (tdm_load_relaxed_u64(&shm->constant.plain) != 0) {
		if (self != TDM_NULL)
			return TDM_INVALID; // it would not be robust: say so instead of pretending
		*owner = TDM_ROLE_PLAIN_;
		(void)tdm_exchange_acquire_u64(role, TDM_ROLE_PLAIN_); // E3, pairs with detach
		return TDM_OK;
	}
	enum tdm_status status = tdm_participant_serves_(span, self);
	if (status != TDM_OK)
		return status;
	*owner = tdm_owner_pack_(self->index, self->generation);
	uint64_t word = tdm_load_acquire_u64(role); // E3, pairs with detach
	for (uint32_t i = 0; i < TDM_RETRIES_; i++) {
		bool died = word == TDM_ROLE_DIED_;
		if (TDM_ROLE_OWNER_(word) != 0) {
			status = tdm_owner_dead_(&self->table, word);
			if (status != TDM_OK)
				return status;
			died = true;
		}
		if (tdm_cas_weak_acq_rel_acquire_u64(role, &word, *owner)) { // E3
			*took_over = died;
			self->attached++;
			return TDM_OK;
		}
	}
	return TDM_CORRUPT; // only a peer that breaks the rules changes it that often
}

// Gives a role back.
tdm_function enum tdm_status tdm_spsc_drop_(tdm_atomic_u64 *role, uint64_t owner,
					    struct tdm_participant *self)
{
	uint64_t word = owner;
	bool ours = tdm_cas_strong_release_relaxed_u64(role, &word, TDM_ROLE_LEFT_); // E3
	if (self != TDM_NULL)
		self->attached--;
	return ours ? TDM_OK : TDM_CORRUPT;
}

// The first position from `head` on that is not pushed. It reads no payload, so that it needs no
// order: whoever holds the producer's role has the newest sequences through E3.
tdm_function uint64_t tdm_spsc_find_tail_(unsigned char *slots, const struct tdm_slots *geometry,
					  uint64_t head)
{
	uint64_t pushed = 0;                   // head + pushed is not known to be there
	uint64_t missing = geometry->capacity; // head + missing is known not to be
	while (pushed < missing) {
		uint64_t middle = pushed + (missing - pushed) / 2;
		uint64_t position = head + middle;
		tdm_atomic_u64 *sequence =
		    tdm_slots_sequence_(slots, position, geometry->mask, geometry->stride);
		if (tdm_load_relaxed_u64(sequence) == position + 1)
			pushed = middle + 1;
		else
			missing = middle;
	}
	return head + pushed;
}

tdm_function enum tdm_status tdm_spsc_producer_attach_(struct tdm_spsc_producer *producer,
						       struct tdm_span span, uint64_t elem_size,
						       uint64_t elem_align, uint64_t type_tag,
						       struct tdm_participant *self)
{
	memset(producer, 0, sizeof(*producer));
	producer->unforked = &tdm_slots_no_;
	enum tdm_status status =
	    tdm_spsc_open_(span, elem_size, elem_align, type_tag, &producer->geometry);
	if (status != TDM_OK)
		return status;
	if (span.read_only)
		return TDM_READ_ONLY;
	struct tdm_spsc_shm *shm = TDM_AT_(struct tdm_spsc_shm, span.base, 0);
	status = tdm_spsc_claim_(shm, &shm->producer, span, self, &producer->owner,
				 &producer->took_over);
	if (status != TDM_OK)
		return status;
	(void)tdm_fence_register_();
	producer->shm = shm;
	producer->self = self;
	producer->unforked = self != TDM_NULL ? self->unforked : &tdm_slots_yes_;
	producer->slots = TDM_AT_(unsigned char, span.base, producer->geometry.first);
	uint64_t head = tdm_load_acquire_u64(&shm->head); // E2, pairs with pop
	producer->tail = tdm_spsc_find_tail_(producer->slots, &producer->geometry, head);
	producer->limit = head + producer->geometry.capacity;
	return TDM_OK;
}

// Becomes the producer. `elem_size` must be the ring's, or 0 for whatever that is; `self` is NULL
// for a plain ring. Until then a zero-filled handle answers TDM_INVALID to everything.
// TDM_BUSY: a live participant is. TDM_NEEDS_PARTICIPANT, TDM_INVALID: robust without a
// participant, plain with one, or one of another segment. TDM_WRONG_KIND, TDM_WRONG_TYPE,
// TDM_NOT_INITIALIZED, TDM_OLDER_LAYOUT, TDM_NEWER_LAYOUT, TDM_BAD_GEOMETRY, TDM_READ_ONLY: as
// they say. After a failure nothing is attached.
tdm_nodiscard tdm_function enum tdm_status
tdm_spsc_producer_attach(struct tdm_spsc_producer *producer, struct tdm_span span,
			 uint64_t elem_size, struct tdm_participant *self)
{
	return tdm_spsc_producer_attach_(producer, span, elem_size, 0, 0, self);
}

// The consumer tells how far it is, and answers that.
tdm_function uint64_t tdm_spsc_tell_(struct tdm_spsc_shm *shm, uint64_t head)
{
	tdm_store_release_u64(&shm->released, head); // E2, pairs with refill
	tdm_event_notify(&shm->not_full);
	return head;
}

tdm_function enum tdm_status tdm_spsc_consumer_attach_(struct tdm_spsc_consumer *consumer,
						       struct tdm_span span, uint64_t elem_size,
						       uint64_t elem_align, uint64_t type_tag,
						       struct tdm_participant *self)
{
	memset(consumer, 0, sizeof(*consumer));
	consumer->unforked = &tdm_slots_no_;
	enum tdm_status status =
	    tdm_spsc_open_(span, elem_size, elem_align, type_tag, &consumer->geometry);
	if (status != TDM_OK)
		return status;
	if (span.read_only)
		return TDM_READ_ONLY;
	struct tdm_spsc_shm *shm = TDM_AT_(struct tdm_spsc_shm, span.base, 0);
	status = tdm_spsc_claim_(shm, &shm->consumer, span, self, &consumer->owner,
				 &consumer->took_over);
	if (status != TDM_OK)
		return status;
	(void)tdm_fence_register_();
	consumer->shm = shm;
	consumer->self = self;
	consumer->unforked = self != TDM_NULL ? self->unforked : &tdm_slots_yes_;
	consumer->slots = TDM_AT_(unsigned char, span.base, consumer->geometry.first);
	uint64_t quarter = consumer->geometry.capacity / 4;
	consumer->batch = quarter > TDM_SPSC_BATCH_ ? TDM_SPSC_BATCH_ : quarter > 1 ? quarter : 1;
	consumer->ahead = TDM_SLOTS_AHEAD_ / consumer->geometry.stride + 1;
	consumer->head = tdm_load_relaxed_u64(&shm->head); // the last consumer's, through E3
	consumer->peeked = consumer->head;
	consumer->released = tdm_spsc_tell_(shm, consumer->head);
	return TDM_OK;
}

// Becomes the consumer; as tdm_spsc_producer_attach.
tdm_nodiscard tdm_function enum tdm_status
tdm_spsc_consumer_attach(struct tdm_spsc_consumer *consumer, struct tdm_span span,
			 uint64_t elem_size, struct tdm_participant *self)
{
	return tdm_spsc_consumer_attach_(consumer, span, elem_size, 0, 0, self);
}

tdm_inline enum tdm_status tdm_spsc_handle_usable_(const struct tdm_spsc_shm *shm,
						   const tdm_atomic_u32 *unforked)
{
	if (shm == TDM_NULL)
		return TDM_INVALID;
	return tdm_load_relaxed_u32(unforked) != 0 ? TDM_OK : TDM_FORKED;
}

// Gives the producer's role back; a reservation is aborted. A waiting consumer learns of it.
// TDM_CORRUPT: somebody else had written over the role. In both cases nothing is attached any more.
tdm_function enum tdm_status tdm_spsc_producer_detach(struct tdm_spsc_producer *producer)
{
	struct tdm_spsc_shm *shm = producer->shm;
	enum tdm_status status = tdm_spsc_handle_usable_(shm, producer->unforked);
	if (status != TDM_OK)
		return status;
	status = tdm_spsc_drop_(&shm->producer, producer->owner, producer->self);
	tdm_event_notify(&shm->not_empty);
	memset(producer, 0, sizeof(*producer));
	producer->unforked = &tdm_slots_no_;
	return status;
}

// Gives the consumer's role back. A waiting producer learns of it.
tdm_function enum tdm_status tdm_spsc_consumer_detach(struct tdm_spsc_consumer *consumer)
{
	struct tdm_spsc_shm *shm = consumer->shm;
	enum tdm_status status = tdm_spsc_handle_usable_(shm, consumer->unforked);
	if (status != TDM_OK)
		return status;
	(void)tdm_spsc_tell_(shm, consumer->head);
	status = tdm_spsc_drop_(&shm->consumer, consumer->owner, consumer->self);
	tdm_event_notify(&shm->not_full);
	memset(consumer, 0, sizeof(*consumer));
	consumer->unforked = &tdm_slots_no_;
	return status;
}

// The state of a role: TDM_OK held by the living, TDM_NOT_FOUND by nobody yet, TDM_PEER_LEFT,
// TDM_PEER_DIED, or TDM_SYSTEM.
tdm_function enum tdm_status tdm_spsc_role_(const tdm_atomic_u64 *role,
					    const struct tdm_participant *self)
{
	for (uint32_t i = 0; i < TDM_RETRIES_; i++) {
		uint64_t word = tdm_load_acquire_u64(role); // E3, pairs with detach
		if (word == TDM_ROLE_NONE_)
			return TDM_NOT_FOUND;
		if (word == TDM_ROLE_LEFT_)
			return TDM_PEER_LEFT;
		if (TDM_ROLE_OWNER_(word) == 0)
			return TDM_PEER_DIED;
		if (self == TDM_NULL)
			return TDM_OK; // a plain ring cannot tell
		enum tdm_status status = tdm_owner_dead_(&self->table, word);
		if (status != TDM_OK)
			return status == TDM_BUSY ? TDM_OK : status;
		// It may have detached and left between the two looks: that is visible by now.
		if (tdm_load_relaxed_u64(role) == word)
			return TDM_PEER_DIED;
	}
	return TDM_CORRUPT;
}

// How is the consumer? TDM_OK: there and alive (a plain ring: there). TDM_NOT_FOUND: nobody yet.
// TDM_PEER_LEFT, TDM_PEER_DIED.
tdm_nodiscard tdm_function enum tdm_status
tdm_spsc_producer_peer(const struct tdm_spsc_producer *producer)
{
	enum tdm_status status = tdm_spsc_handle_usable_(producer->shm, producer->unforked);
	return status == TDM_OK ? tdm_spsc_role_(&producer->shm->consumer, producer->self) : status;
}

// How is the producer? As tdm_spsc_producer_peer.
tdm_nodiscard tdm_function enum tdm_status
tdm_spsc_consumer_peer(const struct tdm_spsc_consumer *consumer)
{
	enum tdm_status status = tdm_spsc_handle_usable_(consumer->shm, consumer->unforked);
	return status == TDM_OK ? tdm_spsc_role_(&consumer->shm->producer, consumer->self) : status;
}

// Elements pushed since init, by whatever producers.
tdm_function uint64_t tdm_spsc_producer_position(const struct tdm_spsc_producer *producer)
{
	return producer->tail;
}

// Elements popped since init, by whatever consumers.
tdm_function uint64_t tdm_spsc_consumer_position(const struct tdm_spsc_consumer *consumer)
{
	return consumer->head;
}

// ---------------------------------------------------------------------------------------------
// Pushing. `size`, `offset` and `stride` are constants in the typed forms.

// What a cold path answers to a hot one. Neither takes the handle's address, so that a handle that
// is a local variable can live in registers: a store to any line between two slots halves the rate.
struct tdm_spsc_answer_ {
	enum tdm_status status;
	uint64_t position;
};

// The known room is used up: look again. The position is the new limit: tail, unless TDM_OK.
tdm_cold struct tdm_spsc_answer_ tdm_spsc_refill_(struct tdm_spsc_shm *shm,
						  const tdm_atomic_u32 *unforked, uint64_t tail,
						  uint64_t capacity, bool reserved)
{
	struct tdm_spsc_answer_ answer = {tdm_spsc_handle_usable_(shm, unforked), tail};
	if (answer.status == TDM_OK && reserved)
		answer.status = TDM_BUSY;
	if (answer.status != TDM_OK)
		return answer;
	uint64_t head = tdm_load_acquire_u64(&shm->released); // E2, pairs with tell
	if (tail - head >= capacity)                     // more, if the last limit came from head
		head = tdm_load_acquire_u64(&shm->head); // E2, pairs with pop
	if (tail - head >= capacity) {
		answer.status = tail - head == capacity ? TDM_FULL : TDM_CORRUPT;
		return answer;
	}
	answer.position = head + capacity;
	return answer;
}

tdm_inline enum tdm_status tdm_spsc_room_(struct tdm_spsc_producer *producer)
{
	if (tdm_unlikely(producer->tail == producer->limit)) {
		struct tdm_spsc_answer_ answer =
		    tdm_spsc_refill_(producer->shm, producer->unforked, producer->tail,
				     producer->geometry.capacity, producer->reserved);
		if (answer.status != TDM_OK)
			return answer.status;
		producer->limit = answer.position;
	}
	return tdm_slots_unforked_(producer->unforked) ? TDM_OK : TDM_FORKED;
}

tdm_inline void tdm_spsc_put_(tdm_atomic_u64 *sequence, uint64_t tail, const void *elem,
			      size_t size, uint64_t offset)
{
	TDM_SEAM_COPY(TDM_AT_(unsigned char, sequence, offset), elem, size);
	tdm_store_release_u64(sequence, tail + 1); // E1, pairs with pop
}

tdm_inline enum tdm_status tdm_spsc_try_push_(struct tdm_spsc_producer *producer, const void *elem,
					      size_t size, uint64_t offset, uint64_t stride)
{
	enum tdm_status status = tdm_spsc_room_(producer);
	if (tdm_unlikely(status != TDM_OK))
		return status;
	uint64_t tail = producer->tail;
	tdm_spsc_put_(tdm_slots_sequence_(producer->slots, tail, producer->geometry.mask, stride),
		      tail, elem, size, offset);
	producer->tail = tail + 1;
	tdm_event_notify(&producer->shm->not_empty);
	return TDM_OK;
}

tdm_inline enum tdm_status tdm_spsc_try_push_n_(struct tdm_spsc_producer *producer,
						const void *elems, size_t count, size_t *pushed,
						size_t size, uint64_t offset, uint64_t stride)
{
	const unsigned char *from = TDM_CAST(const unsigned char *, elems);
	unsigned char *slots = producer->slots;
	uint64_t mask = producer->geometry.mask;
	size_t done = 0;
	enum tdm_status status = TDM_OK;
	while (done < count) {
		status = tdm_spsc_room_(producer);
		if (status != TDM_OK)
			break;
		uint64_t tail = producer->tail;
		uint64_t room = producer->limit - tail;
		uint64_t end = tail + (count - done > room ? room : count - done);
		done += TDM_CAST(size_t, end - tail);
		for (; tail != end; tail++, from += size)
			tdm_spsc_put_(tdm_slots_sequence_(slots, tail, mask, stride), tail, from,
				      size, offset);
		producer->tail = tail;
	}
	*pushed = done;
	if (done > 0) {
		tdm_event_notify(&producer->shm->not_empty);
		if (status == TDM_FULL)
			status = TDM_OK;
	}
	return status;
}

// Pushes a copy of `elem`. TDM_FULL: no room. TDM_BUSY: a reservation is open. TDM_FORKED.
// TDM_CORRUPT: the consumer's index is impossible.
tdm_nodiscard tdm_function enum tdm_status tdm_spsc_try_push(struct tdm_spsc_producer *producer,
							     const void *elem)
{
	return tdm_spsc_try_push_(producer, elem, TDM_CAST(size_t, producer->geometry.elem_size),
				  producer->geometry.offset, producer->geometry.stride);
}

// Pushes as many of the `count` elements at `elems` as there is room for, from the first on; each
// becomes visible by itself. *pushed says how many. TDM_FULL: none.
tdm_nodiscard tdm_function enum tdm_status tdm_spsc_try_push_n(struct tdm_spsc_producer *producer,
							       const void *elems, size_t count,
							       size_t *pushed)
{
	return tdm_spsc_try_push_n_(producer, elems, count, pushed,
				    TDM_CAST(size_t, producer->geometry.elem_size),
				    producer->geometry.offset, producer->geometry.stride);
}

// Hands out the slot of the next element, to be filled in place; nobody sees it before commit.
// TDM_FULL; TDM_BUSY: one is out already.
tdm_nodiscard tdm_inline enum tdm_status tdm_spsc_try_reserve(struct tdm_spsc_producer *producer,
							      void **elem)
{
	*elem = TDM_NULL;
	enum tdm_status status = tdm_spsc_room_(producer);
	if (status != TDM_OK)
		return status;
	tdm_atomic_u64 *sequence = tdm_slots_sequence_(
	    producer->slots, producer->tail, producer->geometry.mask, producer->geometry.stride);
	*elem = TDM_AT_(void, sequence, producer->geometry.offset);
	producer->kept_limit = producer->limit;
	producer->limit = producer->tail; // a push in between goes to refill, which says TDM_BUSY
	producer->reserved = true;
	return TDM_OK;
}

// Ends a reservation without pushing. TDM_INVALID: there is none.
tdm_nodiscard tdm_inline enum tdm_status tdm_spsc_abort(struct tdm_spsc_producer *producer)
{
	enum tdm_status status = tdm_spsc_handle_usable_(producer->shm, producer->unforked);
	if (status != TDM_OK)
		return status;
	if (!producer->reserved)
		return TDM_INVALID;
	producer->reserved = false;
	producer->limit = producer->kept_limit;
	return TDM_OK;
}

// Pushes what was reserved. TDM_INVALID: nothing was.
tdm_nodiscard tdm_inline enum tdm_status tdm_spsc_commit(struct tdm_spsc_producer *producer)
{
	enum tdm_status status = tdm_spsc_abort(producer);
	if (status != TDM_OK)
		return status;
	uint64_t tail = producer->tail;
	tdm_atomic_u64 *sequence = tdm_slots_sequence_(
	    producer->slots, tail, producer->geometry.mask, producer->geometry.stride);
	tdm_store_release_u64(sequence, tail + 1); // E1, pairs with pop
	producer->tail = tail + 1;
	tdm_event_notify(&producer->shm->not_empty);
	return TDM_OK;
}

// ---------------------------------------------------------------------------------------------
// Popping

// Nothing is ready at head, whose slot says `sequence`. The position is the new `released`.
tdm_cold struct tdm_spsc_answer_ tdm_spsc_idle_(struct tdm_spsc_shm *shm,
						const tdm_atomic_u32 *unforked, uint64_t head,
						uint64_t released, uint64_t capacity,
						uint64_t sequence)
{
	struct tdm_spsc_answer_ answer = {tdm_spsc_handle_usable_(shm, unforked), released};
	if (answer.status != TDM_OK)
		return answer;
	if (released != head)
		answer.position = tdm_spsc_tell_(shm, head);
	answer.status = sequence == 0 || sequence == head + 1 - capacity ? TDM_EMPTY : TDM_CORRUPT;
	return answer;
}

// The slot at `head`, which is consumer->head, or NULL with the reason in *status.
tdm_inline unsigned char *tdm_spsc_ready_(struct tdm_spsc_consumer *consumer, uint64_t head,
					  uint64_t offset, uint64_t stride, enum tdm_status *status)
{
	uint64_t sequence = 0;
	if (tdm_slots_unforked_(consumer->unforked)) {
		tdm_atomic_u64 *slot =
		    tdm_slots_sequence_(consumer->slots, head, consumer->geometry.mask, stride);
		sequence = tdm_load_acquire_u64(slot); // E1, pairs with push
		if (tdm_likely(sequence == head + 1)) {
			__builtin_prefetch(tdm_slots_sequence_(consumer->slots,
							       head + consumer->ahead,
							       consumer->geometry.mask, stride));
			*status = TDM_OK;
			return TDM_AT_(unsigned char, slot, offset);
		}
	}
	struct tdm_spsc_answer_ answer =
	    tdm_spsc_idle_(consumer->shm, consumer->unforked, head, consumer->released,
			   consumer->geometry.capacity, sequence);
	consumer->released = answer.position;
	*status = answer.status;
	if (*status == TDM_OK)
		__builtin_unreachable(); // lets gcc see that TDM_OK has filled the caller's element
	return TDM_NULL;
}

tdm_inline void tdm_spsc_popped_(struct tdm_spsc_consumer *consumer, uint64_t head)
{
	consumer->head = head;
	tdm_store_release_u64(&consumer->shm->head, head); // E2, pairs with refill
	if (tdm_unlikely(head - consumer->released >= consumer->batch))
		consumer->released = tdm_spsc_tell_(consumer->shm, head);
}

tdm_inline enum tdm_status tdm_spsc_try_pop_(struct tdm_spsc_consumer *consumer, void *elem,
					     size_t size, uint64_t offset, uint64_t stride)
{
	uint64_t head = consumer->head;
	enum tdm_status status;
	unsigned char *from = tdm_spsc_ready_(consumer, head, offset, stride, &status);
	if (tdm_unlikely(from == TDM_NULL))
		return status;
	TDM_SEAM_COPY(elem, from, size);
	tdm_spsc_popped_(consumer, head + 1);
	return TDM_OK;
}

tdm_inline enum tdm_status tdm_spsc_try_pop_n_(struct tdm_spsc_consumer *consumer, void *elems,
					       size_t count, size_t *popped, size_t size,
					       uint64_t offset, uint64_t stride)
{
	unsigned char *to = TDM_CAST(unsigned char *, elems);
	*popped = 0;
	if (count == 0)
		return TDM_OK;
	uint64_t head = consumer->head;
	enum tdm_status status;
	unsigned char *from = tdm_spsc_ready_(consumer, head, offset, stride, &status);
	if (from == TDM_NULL)
		return status;
	unsigned char *slots = consumer->slots;
	uint64_t mask = consumer->geometry.mask;
	uint64_t ahead = consumer->ahead;
	size_t done = 0;
	for (;;) {
		TDM_SEAM_COPY(to, from, size);
		to += size;
		head++;
		if (++done == count)
			break;
		tdm_atomic_u64 *slot = tdm_slots_sequence_(slots, head, mask, stride);
		if (tdm_load_acquire_u64(slot) != head + 1) // E1, pairs with push
			break;
		__builtin_prefetch(tdm_slots_sequence_(slots, head + ahead, mask, stride));
		from = TDM_AT_(unsigned char, slot, offset);
	}
	*popped = done;
	tdm_spsc_popped_(consumer, head);
	return TDM_OK;
}

// Pops into `elem`. TDM_EMPTY: nothing there. TDM_FORKED. TDM_CORRUPT: the slot's sequence is
// impossible.
tdm_nodiscard tdm_function enum tdm_status tdm_spsc_try_pop(struct tdm_spsc_consumer *consumer,
							    void *elem)
{
	return tdm_spsc_try_pop_(consumer, elem, TDM_CAST(size_t, consumer->geometry.elem_size),
				 consumer->geometry.offset, consumer->geometry.stride);
}

// Pops up to `count` elements, at once: a consumer that dies inside has popped all or none.
// *popped says how many. TDM_EMPTY: none.
tdm_nodiscard tdm_function enum tdm_status
tdm_spsc_try_pop_n(struct tdm_spsc_consumer *consumer, void *elems, size_t count, size_t *popped)
{
	return tdm_spsc_try_pop_n_(consumer, elems, count, popped,
				   TDM_CAST(size_t, consumer->geometry.elem_size),
				   consumer->geometry.offset, consumer->geometry.stride);
}

// How many elements from head on were peeked at.
tdm_function uint64_t tdm_spsc_peeked_(const struct tdm_spsc_consumer *consumer)
{
	uint64_t ahead = consumer->peeked - consumer->head;
	return ahead <= consumer->geometry.capacity ? ahead : 0; // more: behind head
}

// Shows the element `ahead` places behind the next one, where it lies; it stays in the ring until
// it is released (or popped). A peer that breaks the rules may change it meanwhile. TDM_EMPTY: not
// there yet. TDM_INVALID: `ahead` is not below the capacity.
tdm_nodiscard tdm_inline enum tdm_status tdm_spsc_try_peek_at(struct tdm_spsc_consumer *consumer,
							      uint64_t ahead, const void **elem)
{
	*elem = TDM_NULL;
	uint64_t head = consumer->head;
	const struct tdm_slots *geometry = &consumer->geometry;
	enum tdm_status status = TDM_OK;
	if (ahead == 0) {
		*elem =
		    tdm_spsc_ready_(consumer, head, geometry->offset, geometry->stride, &status);
	} else {
		status = tdm_spsc_handle_usable_(consumer->shm, consumer->unforked);
		if (status != TDM_OK)
			return status;
		if (ahead >= geometry->capacity)
			return TDM_INVALID;
		tdm_atomic_u64 *slot = tdm_slots_sequence_(consumer->slots, head + ahead,
							   geometry->mask, geometry->stride);
		if (tdm_load_acquire_u64(slot) == head + ahead + 1) // E1, pairs with push
			*elem = TDM_AT_(void, slot, geometry->offset);
		else
			status = TDM_EMPTY;
		if (status != TDM_OK && consumer->released != head)
			consumer->released = tdm_spsc_tell_(consumer->shm, head);
	}
	if (*elem != TDM_NULL && tdm_spsc_peeked_(consumer) < ahead + 1)
		consumer->peeked = head + ahead + 1;
	return status;
}

// Shows the next element; as tdm_spsc_try_peek_at.
tdm_nodiscard tdm_inline enum tdm_status tdm_spsc_try_peek(struct tdm_spsc_consumer *consumer,
							   const void **elem)
{
	return tdm_spsc_try_peek_at(consumer, 0, elem);
}

// Pops the next `count` elements, all of which were peeked at, at once. TDM_INVALID: some were not.
tdm_nodiscard tdm_inline enum tdm_status tdm_spsc_release_n(struct tdm_spsc_consumer *consumer,
							    uint64_t count)
{
	enum tdm_status status = tdm_spsc_handle_usable_(consumer->shm, consumer->unforked);
	if (status != TDM_OK)
		return status;
	if (count == 0)
		return TDM_OK;
	if (count > tdm_spsc_peeked_(consumer))
		return TDM_INVALID;
	tdm_spsc_popped_(consumer, consumer->head + count);
	return TDM_OK;
}

// Pops the element that was peeked at. TDM_INVALID: none was.
tdm_nodiscard tdm_inline enum tdm_status tdm_spsc_release(struct tdm_spsc_consumer *consumer)
{
	return tdm_spsc_release_n(consumer, 1);
}

// ---------------------------------------------------------------------------------------------
// Waiting. Every form also answers TDM_TIMED_OUT (deadline), and, unless .follow is set,
// TDM_PEER_LEFT or TDM_PEER_DIED when the other side has gone and only it could end the wait. A
// side that was never there yet is waited for.

struct tdm_spsc_wait_ {
	struct tdm_spsc_producer *producer;
	struct tdm_spsc_consumer *consumer;
	const void *from;
	void *to;
	const void *seen;
	size_t count;
	size_t done;
};

tdm_function enum tdm_status tdm_spsc_gone_(enum tdm_status peer, bool follow)
{
	return !follow && (peer == TDM_PEER_LEFT || peer == TDM_PEER_DIED) ? peer : TDM_OK;
}

tdm_function enum tdm_status tdm_spsc_producer_idle_(void *context)
{
	struct tdm_spsc_producer *producer = TDM_CAST(struct tdm_spsc_wait_ *, context)->producer;
	return tdm_spsc_gone_(tdm_spsc_producer_peer(producer), producer->follow);
}

tdm_function enum tdm_status tdm_spsc_consumer_idle_(void *context)
{
	struct tdm_spsc_consumer *consumer = TDM_CAST(struct tdm_spsc_wait_ *, context)->consumer;
	return tdm_spsc_gone_(tdm_spsc_consumer_peer(consumer), consumer->follow);
}

tdm_function enum tdm_status tdm_spsc_attempt_push_(void *context)
{
	struct tdm_spsc_wait_ *wait = TDM_CAST(struct tdm_spsc_wait_ *, context);
	const unsigned char *from = TDM_CAST(const unsigned char *, wait->from);
	size_t pushed = 0;
	enum tdm_status status = tdm_spsc_try_push_n(
	    wait->producer, from + wait->done * wait->producer->geometry.elem_size,
	    wait->count - wait->done, &pushed);
	wait->done += pushed;
	return status == TDM_OK && wait->done < wait->count ? TDM_FULL : status;
}

tdm_function enum tdm_status tdm_spsc_attempt_reserve_(void *context)
{
	struct tdm_spsc_wait_ *wait = TDM_CAST(struct tdm_spsc_wait_ *, context);
	return tdm_spsc_try_reserve(wait->producer, &wait->to);
}

tdm_function enum tdm_status tdm_spsc_attempt_pop_(void *context)
{
	struct tdm_spsc_wait_ *wait = TDM_CAST(struct tdm_spsc_wait_ *, context);
	return tdm_spsc_try_pop_n(wait->consumer, wait->to, wait->count, &wait->done);
}

tdm_function enum tdm_status tdm_spsc_attempt_peek_(void *context)
{
	struct tdm_spsc_wait_ *wait = TDM_CAST(struct tdm_spsc_wait_ *, context);
	return tdm_spsc_try_peek(wait->consumer, &wait->seen);
}

tdm_cold enum tdm_status tdm_spsc_await_room_(struct tdm_spsc_wait_ *wait, uint64_t deadline_ns,
					      enum tdm_status (*attempt)(void *))
{
	return tdm_event_await(&wait->producer->shm->not_full, &wait->producer->patience,
			       deadline_ns, TDM_FULL, attempt, tdm_spsc_producer_idle_, wait);
}

tdm_cold enum tdm_status tdm_spsc_await_elem_(struct tdm_spsc_wait_ *wait, uint64_t deadline_ns,
					      enum tdm_status (*attempt)(void *))
{
	return tdm_event_await(&wait->consumer->shm->not_empty, &wait->consumer->patience,
			       deadline_ns, TDM_EMPTY, attempt, tdm_spsc_consumer_idle_, wait);
}

// Pushes all `count` elements, waiting for room as needed. *pushed says how many were, also when
// the status is not TDM_OK.
tdm_nodiscard tdm_function enum tdm_status tdm_spsc_push_n_until(struct tdm_spsc_producer *producer,
								 const void *elems, size_t count,
								 size_t *pushed,
								 uint64_t deadline_ns)
{
	struct tdm_spsc_wait_ wait = {producer, TDM_NULL, elems, TDM_NULL, TDM_NULL, count, 0};
	enum tdm_status status = tdm_spsc_attempt_push_(&wait);
	if (status == TDM_FULL)
		status = tdm_spsc_await_room_(&wait, deadline_ns, tdm_spsc_attempt_push_);
	*pushed = wait.done;
	return status;
}

tdm_nodiscard tdm_function enum tdm_status
tdm_spsc_push_until(struct tdm_spsc_producer *producer, const void *elem, uint64_t deadline_ns)
{
	enum tdm_status status = tdm_spsc_try_push(producer, elem);
	size_t pushed;
	return status == TDM_FULL ? tdm_spsc_push_n_until(producer, elem, 1, &pushed, deadline_ns)
				  : status;
}

tdm_nodiscard tdm_function enum tdm_status tdm_spsc_push(struct tdm_spsc_producer *producer,
							 const void *elem)
{
	return tdm_spsc_push_until(producer, elem, TDM_FOREVER);
}

tdm_nodiscard tdm_function enum tdm_status
tdm_spsc_reserve_until(struct tdm_spsc_producer *producer, void **elem, uint64_t deadline_ns)
{
	enum tdm_status status = tdm_spsc_try_reserve(producer, elem);
	if (status != TDM_FULL)
		return status;
	struct tdm_spsc_wait_ wait = {producer, TDM_NULL, TDM_NULL, TDM_NULL, TDM_NULL, 0, 0};
	status = tdm_spsc_await_room_(&wait, deadline_ns, tdm_spsc_attempt_reserve_);
	*elem = wait.to;
	return status;
}

// Waits for one element at least, and pops up to `count`.
tdm_nodiscard tdm_function enum tdm_status tdm_spsc_pop_n_until(struct tdm_spsc_consumer *consumer,
								void *elems, size_t count,
								size_t *popped,
								uint64_t deadline_ns)
{
	struct tdm_spsc_wait_ wait = {TDM_NULL, consumer, TDM_NULL, elems, TDM_NULL, count, 0};
	enum tdm_status status = tdm_spsc_attempt_pop_(&wait);
	if (status == TDM_EMPTY)
		status = tdm_spsc_await_elem_(&wait, deadline_ns, tdm_spsc_attempt_pop_);
	*popped = wait.done;
	return status;
}

tdm_nodiscard tdm_function enum tdm_status tdm_spsc_pop_until(struct tdm_spsc_consumer *consumer,
							      void *elem, uint64_t deadline_ns)
{
	enum tdm_status status = tdm_spsc_try_pop(consumer, elem);
	size_t popped;
	return status == TDM_EMPTY ? tdm_spsc_pop_n_until(consumer, elem, 1, &popped, deadline_ns)
				   : status;
}

tdm_nodiscard tdm_function enum tdm_status tdm_spsc_pop(struct tdm_spsc_consumer *consumer,
							void *elem)
{
	return tdm_spsc_pop_until(consumer, elem, TDM_FOREVER);
}

tdm_nodiscard tdm_function enum tdm_status
tdm_spsc_peek_until(struct tdm_spsc_consumer *consumer, const void **elem, uint64_t deadline_ns)
{
	enum tdm_status status = tdm_spsc_try_peek(consumer, elem);
	if (status != TDM_EMPTY)
		return status;
	struct tdm_spsc_wait_ wait = {TDM_NULL, consumer, TDM_NULL, TDM_NULL, TDM_NULL, 0, 0};
	status = tdm_spsc_await_elem_(&wait, deadline_ns, tdm_spsc_attempt_peek_);
	*elem = wait.seen;
	return status;
}

// The cold part of the typed forms, which are inlined into hot loops: what waits gets copies, so
// that neither the handle nor a small element to push has its address taken there. An element is
// popped straight into its place: it has to be there before it is gone from the ring.
#define TDM_SPSC_SMALL_ 64U

tdm_inline enum tdm_status tdm_spsc_push_later_(struct tdm_spsc_producer *producer,
						const void *elem, size_t size, uint64_t deadline_ns)
{
	struct tdm_spsc_producer waits = *producer;
	unsigned char small[TDM_SPSC_SMALL_];
	if (size <= TDM_SPSC_SMALL_)
		elem = memcpy(small, elem, size);
	enum tdm_status status = tdm_spsc_push_until(&waits, elem, deadline_ns);
	*producer = waits;
	return status;
}

tdm_inline enum tdm_status tdm_spsc_pop_later_(struct tdm_spsc_consumer *consumer, void *elem,
					       uint64_t deadline_ns)
{
	struct tdm_spsc_consumer waits = *consumer;
	enum tdm_status status = tdm_spsc_pop_until(&waits, elem, deadline_ns);
	*consumer = waits;
	return status;
}

// ---------------------------------------------------------------------------------------------
// Looking and recovering

// A role as an inspector sees it.
struct tdm_role_info {
	bool ever; // somebody has held it
	bool held; // by the participant below, dead or alive, or in a plain ring
	bool died; // recover found its holder dead, and nobody has taken it since
	uint32_t seat;
	uint64_t generation; // 0 in a plain ring
};

struct tdm_spsc_info {
	uint64_t elem_size;
	uint64_t capacity;
	uint64_t type_tag;
	bool plain;
	uint64_t pushed; // since init
	uint64_t popped; // since init; both move while we look
	struct tdm_role_info producer;
	struct tdm_role_info consumer;
};

tdm_function void tdm_role_info_(uint64_t word, struct tdm_role_info *info)
{
	bool participant = TDM_ROLE_OWNER_(word) != 0 && word != TDM_ROLE_PLAIN_;
	info->ever = word != TDM_ROLE_NONE_;
	info->held = TDM_ROLE_OWNER_(word) != 0;
	info->died = word == TDM_ROLE_DIED_;
	info->seat = participant ? TDM_CAST(uint32_t, TDM_ROLE_OWNER_(word)) - 1 : 0;
	info->generation = participant ? word >> 16 : 0;
}

// Reads only. Exact when nobody is at work, a moment's view otherwise.
tdm_nodiscard tdm_function enum tdm_status tdm_spsc_check(struct tdm_span span,
							  struct tdm_spsc_info *info)
{
	struct tdm_slots geometry;
	memset(info, 0, sizeof(*info));
	enum tdm_status status = tdm_spsc_open_(span, 0, 0, 0, &geometry);
	if (status != TDM_OK)
		return status;
	struct tdm_spsc_shm *shm = TDM_AT_(struct tdm_spsc_shm, span.base, 0);
	info->elem_size = geometry.elem_size;
	info->capacity = geometry.capacity;
	info->type_tag = tdm_load_relaxed_u64(&shm->constant.type_tag);
	info->plain = tdm_load_relaxed_u64(&shm->constant.plain) != 0;
	info->popped = tdm_load_relaxed_u64(&shm->head);
	info->pushed = tdm_spsc_find_tail_(TDM_AT_(unsigned char, span.base, geometry.first),
					   &geometry, info->popped);
	tdm_role_info_(tdm_load_relaxed_u64(&shm->producer), &info->producer);
	tdm_role_info_(tdm_load_relaxed_u64(&shm->consumer), &info->consumer);
	return TDM_OK;
}

// Notes a dead holder's death, and wakes who sleeps beside a role that nobody holds any more: it
// learns of that now and not at the end of its slice. Never needed for progress: attach takes over
// from the dead by itself. *recovered counts roles.
tdm_nodiscard tdm_function enum tdm_status
tdm_spsc_recover(struct tdm_span span, const struct tdm_participant *self, uint32_t *recovered)
{
	struct tdm_slots geometry;
	*recovered = 0;
	enum tdm_status status = tdm_spsc_open_(span, 0, 0, 0, &geometry);
	if (status != TDM_OK)
		return status;
	if (span.read_only)
		return TDM_READ_ONLY;
	struct tdm_spsc_shm *shm = TDM_AT_(struct tdm_spsc_shm, span.base, 0);
	if (tdm_load_relaxed_u64(&shm->constant.plain) != 0)
		return TDM_OK;
	status = tdm_participant_serves_(span, self);
	if (status != TDM_OK)
		return status;
	tdm_atomic_u64 *roles[] = {&shm->producer, &shm->consumer};
	struct tdm_event *events[] = {&shm->not_empty, &shm->not_full};
	for (size_t i = 0; i < 2; i++) {
		uint64_t word = tdm_load_acquire_u64(roles[i]); // E3, pairs with detach
		if (word == TDM_ROLE_NONE_)
			continue;
		if (TDM_ROLE_OWNER_(word) != 0) {
			if (tdm_owner_dead_(&self->table, word) != TDM_OK ||
			    !tdm_cas_strong_release_relaxed_u64(roles[i], &word,
								TDM_ROLE_DIED_)) // E3
				continue;
			++*recovered;
		}
		// Whoever had the role may have died between disarming the event and waking.
		tdm_event_notify(events[i]);
		tdm_futex_wake_(&events[i]->word, UINT32_MAX);
	}
	return TDM_OK;
}

TDM_END_DECLS

// ---------------------------------------------------------------------------------------------
// Typed rings. TDM_SPSC_DEFINE(jobs, struct job); makes struct jobs_producer and jobs_consumer,
// which no other ring's functions take, and:
//
//   jobs_object(name, capacity)        jobs_size(capacity)     jobs_init(memory, bytes, capacity)
//   jobs_producer_attach(&p, span, self)   jobs_producer_detach(&p)   and for the consumer
//   jobs_try_push(&p, &job)   jobs_push_until(&p, &job, deadline_ns)   jobs_push(&p, &job)
//   jobs_try_push_n(&p, jobs, n, &done)    jobs_push_n_until(&p, jobs, n, &done, deadline_ns)
//   jobs_try_reserve(&p, &slot)   jobs_reserve_until(&p, &slot, deadline_ns)
//   jobs_commit(&p)   jobs_abort(&p)
//   jobs_try_pop, jobs_pop_until, jobs_pop, jobs_try_pop_n, jobs_pop_n_until
//   jobs_try_peek(&c, &slot)   jobs_peek_until(&c, &slot, deadline_ns)   jobs_release(&c)
//
// with the meanings above. Everything else works on &p.ring. T is any type that may be copied as
// bytes.

#define TDM_SPSC_DEFINE(NAME, T)                                                                   \
	TDM_COPYABLE_(T);                                                                          \
	struct NAME##_producer {                                                                   \
		struct tdm_spsc_producer ring;                                                     \
	};                                                                                         \
	struct NAME##_consumer {                                                                   \
		struct tdm_spsc_consumer ring;                                                     \
	};                                                                                         \
	tdm_function struct tdm_object NAME##_object(const char *name, uint64_t capacity)          \
	{                                                                                          \
		struct tdm_object object = tdm_spsc_object(name, sizeof(T), capacity);             \
		object.elem_align = TDM_SLOTS_OFFSET_(T);                                          \
		object.type_tag = tdm_type_tag(#T);                                                \
		return object;                                                                     \
	}                                                                                          \
	tdm_function uint64_t NAME##_size(uint64_t capacity)                                       \
	{                                                                                          \
		return tdm_spsc_size(sizeof(T), TDM_SLOTS_OFFSET_(T), capacity);                   \
	}                                                                                          \
	tdm_nodiscard tdm_function enum tdm_status NAME##_init(void *memory, uint64_t bytes,       \
							       uint64_t capacity)                  \
	{                                                                                          \
		struct tdm_object object = NAME##_object("", capacity);                            \
		object.plain = true;                                                               \
		return tdm_spsc_init_at_(tdm_memory(memory, bytes), &object, 0);                   \
	}                                                                                          \
	tdm_nodiscard tdm_function enum tdm_status NAME##_producer_attach(                         \
	    struct NAME##_producer *producer, struct tdm_span span, struct tdm_participant *self)  \
	{                                                                                          \
		return tdm_spsc_producer_attach_(&producer->ring, span, sizeof(T),                 \
						 TDM_SLOTS_OFFSET_(T), tdm_type_tag(#T), self);    \
	}                                                                                          \
	tdm_nodiscard tdm_function enum tdm_status NAME##_consumer_attach(                         \
	    struct NAME##_consumer *consumer, struct tdm_span span, struct tdm_participant *self)  \
	{                                                                                          \
		return tdm_spsc_consumer_attach_(&consumer->ring, span, sizeof(T),                 \
						 TDM_SLOTS_OFFSET_(T), tdm_type_tag(#T), self);    \
	}                                                                                          \
	tdm_function enum tdm_status NAME##_producer_detach(struct NAME##_producer *producer)      \
	{                                                                                          \
		return tdm_spsc_producer_detach(&producer->ring);                                  \
	}                                                                                          \
	tdm_function enum tdm_status NAME##_consumer_detach(struct NAME##_consumer *consumer)      \
	{                                                                                          \
		return tdm_spsc_consumer_detach(&consumer->ring);                                  \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_try_push(struct NAME##_producer *producer, \
								 T const *elem)                    \
	{                                                                                          \
		return tdm_spsc_try_push_(&producer->ring, elem, sizeof(T), TDM_SLOTS_OFFSET_(T),  \
					  TDM_SLOTS_STRIDE_(T));                                   \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_push_until(                                \
	    struct NAME##_producer *producer, T const *elem, uint64_t deadline_ns)                 \
	{                                                                                          \
		enum tdm_status status = NAME##_try_push(producer, elem);                          \
		return tdm_likely(status != TDM_FULL)                                              \
			   ? status                                                                \
			   : tdm_spsc_push_later_(&producer->ring, elem, sizeof(T), deadline_ns);  \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_push(struct NAME##_producer *producer,     \
							     T const *elem)                        \
	{                                                                                          \
		return NAME##_push_until(producer, elem, TDM_FOREVER);                             \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_try_push_n(                                \
	    struct NAME##_producer *producer, T const *elems, size_t count, size_t *pushed)        \
	{                                                                                          \
		return tdm_spsc_try_push_n_(&producer->ring, elems, count, pushed, sizeof(T),      \
					    TDM_SLOTS_OFFSET_(T), TDM_SLOTS_STRIDE_(T));           \
	}                                                                                          \
	tdm_nodiscard tdm_function enum tdm_status NAME##_push_n_until(                            \
	    struct NAME##_producer *producer, T const *elems, size_t count, size_t *pushed,        \
	    uint64_t deadline_ns)                                                                  \
	{                                                                                          \
		return tdm_spsc_push_n_until(&producer->ring, elems, count, pushed, deadline_ns);  \
	}                                                                                          \
	tdm_nodiscard tdm_function enum tdm_status NAME##_reserve_until(                           \
	    struct NAME##_producer *producer, T **elem, uint64_t deadline_ns)                      \
	{                                                                                          \
		void *slot = TDM_NULL;                                                             \
		enum tdm_status status =                                                           \
		    tdm_spsc_reserve_until(&producer->ring, &slot, deadline_ns);                   \
		*elem = TDM_CAST(T *, slot);                                                       \
		return status;                                                                     \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_try_reserve(                               \
	    struct NAME##_producer *producer, T **elem)                                            \
	{                                                                                          \
		void *slot = TDM_NULL;                                                             \
		enum tdm_status status = tdm_spsc_try_reserve(&producer->ring, &slot);             \
		*elem = TDM_CAST(T *, slot);                                                       \
		return status;                                                                     \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_commit(struct NAME##_producer *producer)   \
	{                                                                                          \
		return tdm_spsc_commit(&producer->ring);                                           \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_abort(struct NAME##_producer *producer)    \
	{                                                                                          \
		return tdm_spsc_abort(&producer->ring);                                            \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_try_pop(struct NAME##_consumer *consumer,  \
								T *elem)                           \
	{                                                                                          \
		return tdm_spsc_try_pop_(&consumer->ring, elem, sizeof(T), TDM_SLOTS_OFFSET_(T),   \
					 TDM_SLOTS_STRIDE_(T));                                    \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_pop_until(                                 \
	    struct NAME##_consumer *consumer, T *elem, uint64_t deadline_ns)                       \
	{                                                                                          \
		enum tdm_status status = NAME##_try_pop(consumer, elem);                           \
		return tdm_likely(status != TDM_EMPTY)                                             \
			   ? status                                                                \
			   : tdm_spsc_pop_later_(&consumer->ring, elem, deadline_ns);              \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_pop(struct NAME##_consumer *consumer,      \
							    T *elem)                               \
	{                                                                                          \
		return NAME##_pop_until(consumer, elem, TDM_FOREVER);                              \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_try_pop_n(                                 \
	    struct NAME##_consumer *consumer, T *elems, size_t count, size_t *popped)              \
	{                                                                                          \
		return tdm_spsc_try_pop_n_(&consumer->ring, elems, count, popped, sizeof(T),       \
					   TDM_SLOTS_OFFSET_(T), TDM_SLOTS_STRIDE_(T));            \
	}                                                                                          \
	tdm_nodiscard tdm_function enum tdm_status NAME##_pop_n_until(                             \
	    struct NAME##_consumer *consumer, T *elems, size_t count, size_t *popped,              \
	    uint64_t deadline_ns)                                                                  \
	{                                                                                          \
		return tdm_spsc_pop_n_until(&consumer->ring, elems, count, popped, deadline_ns);   \
	}                                                                                          \
	tdm_nodiscard tdm_function enum tdm_status NAME##_peek_until(                              \
	    struct NAME##_consumer *consumer, T const **elem, uint64_t deadline_ns)                \
	{                                                                                          \
		const void *slot = TDM_NULL;                                                       \
		enum tdm_status status = tdm_spsc_peek_until(&consumer->ring, &slot, deadline_ns); \
		*elem = TDM_CAST(T const *, slot);                                                 \
		return status;                                                                     \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_try_peek(struct NAME##_consumer *consumer, \
								 T const **elem)                   \
	{                                                                                          \
		const void *slot = TDM_NULL;                                                       \
		enum tdm_status status = tdm_spsc_try_peek(&consumer->ring, &slot);                \
		*elem = TDM_CAST(T const *, slot);                                                 \
		return status;                                                                     \
	}                                                                                          \
	tdm_nodiscard tdm_inline enum tdm_status NAME##_release(struct NAME##_consumer *consumer)  \
	{                                                                                          \
		return tdm_spsc_release(&consumer->ring);                                          \
	}                                                                                          \
	struct NAME##_producer

#endif
