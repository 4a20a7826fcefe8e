// SPDX-License-Identifier: BSD-2-Clause
// A mutex that is had in the order of asking, and survives the death of its holder and of those who
// wait.
//
// Choose it where a waiter must not be overtaken: every hand-over to a sleeper costs a switch, so
// that lock/mutex.h, where newcomers overtake, does several times more under contention. For
// threads of one process that are not killed, lock/ticket.h is one word.
//
// It is an object of a segment (tdm_robust_ticket_object), and everybody passes the participant
// that its thread joined with. Each seat of the segment has a ticket here, so that it is known of
// each waiter whether it lives. TDM_OWNER_DIED, make_consistent and TDM_NOT_RECOVERABLE mean what
// they mean for a mutex.
//
// Progress   Blocking. Free and not queued for, it costs one CAS to lock and one to unlock. Who
//            finds it held draws a ticket, spins briefly, yields, then sleeps on a word of its own;
//            whoever unlocks wakes the one with the lowest ticket, and nobody else can have it. A
//            stopped waiter stops those behind it; a dead one is passed over within 100 ms of
//            sleeping.
// Callers    Everything from any thread of any process that maps it for writing; not from signal
//            handlers. Who locks unlocks.
// Order      First come, first served: who queues already when another one asks is served before
//            it. Queueing is a few steps without waiting, and two who are at it at once come in
//            either order. A waiter that gave up or died is passed over.
//
// Edges
//   E1  Giving up (RMW, release) with the claim of the next (CAS, acquire). Between the dead and
//       who takes over stands the look at the dead (shm/participant.h E1 to E3): all that they did
//       is visible, and the CAS needs no order.
//   E2  A waiter's RMW that says QUEUED (release), after its ticket, with the RMW of who takes
//       QUEUED away, or unlocks, or gives up (acquire), before it looks for tickets. Of two RMWs of
//       one word the later one reads what the earlier one wrote: either the ticket is seen, or its
//       owner sees the word as it is afterwards. Likewise a waiter that gives up: its ticket is
//       gone before its RMW (release), and either who unlocks (acquire) passes it over, or it sees
//       the lock free and wakes the next. Who looks whether it is the first has loaded the word
//       (acquire): what RMWs before its own one said, it sees, and so passes nobody over, nor
//       waits for one who is gone.
//   E3  A ticket (release), after the generation of whose it is, with a look at it (acquire).
//       Wake-ups: sync/event.h.
//
// Crashes
//   C1  Death of a holder: taken over by the first in the queue, with TDM_OWNER_DIED. It may have
//       died after it took QUEUED away and before it looked again, so who takes over says QUEUED.
//   C2  Death with a ticket drawn, before or after it is noted: a number is missing, or a ticket of
//       the dead is taken away by who waits behind it.
//   C3  Death between unlocking and waking, or of the one who was woken: the next one finds out at
//       the end of its slice, 100 ms.
//
// Source     Tickets: Reed and Kanodia, CACM 22(2), 1979. Noting one's number where others see it:
//            Lamport, "A New Solution of Dijkstra's Concurrent Programming Problem", CACM 17(8),
//            1974.
//
// Example
//	struct tdm_object object = tdm_robust_ticket_object("door"); // for tdm_segment_create
//	...
//	struct tdm_robust_ticket *door;
//	status = tdm_robust_ticket_attach(&door, tdm_segment_find(&segment, "door"), self);
//	...
//	status = tdm_robust_ticket_lock(door, self);
#ifndef TDM_LOCK_ROBUST_TICKET_H
#define TDM_LOCK_ROBUST_TICKET_H

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

#define TDM_ROBUST_TICKET_VERSION 1U
#define TDM_ROBUST_TICKET_TAG_ (UINT64_C(0x7274696300000000) | TDM_ROBUST_TICKET_VERSION)

// The owner word (lock/owner.h) also takes this: tickets are to be looked for before it is free.
#define TDM_ROBUST_TICKET_QUEUED_ UINT64_C(0x4000)

// The head; then what each seat has.
struct TDM_CAPABILITY_("mutex") tdm_robust_ticket {
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 owner;
	tdm_atomic_u64 drawn; // tickets: 1 to drawn
	tdm_atomic_u64 tag;   // constant
	tdm_atomic_u32 seats; // constant; for display
	tdm_atomic_u32 used;  // seats that somebody has waited in, from 0 on
	unsigned char pad_[TDM_CACHE_LINE - 32];
};
TDM_STATIC_ASSERT(sizeof(struct tdm_robust_ticket) == TDM_CACHE_LINE, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_robust_ticket, used) == 28, "layout");

struct tdm_robust_ticket_seat {
	tdm_atomic_u64 ticket;     // 0: does not wait
	tdm_atomic_u64 generation; // of the participant whose ticket it is
	struct tdm_event turn;
	tdm_atomic_u32 pad_[3];
};
TDM_STATIC_ASSERT(sizeof(struct tdm_robust_ticket_seat) == 32, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_robust_ticket_seat, turn) == 16, "layout");

tdm_function uint64_t tdm_robust_ticket_bytes_(uint32_t seats)
{
	return sizeof(struct tdm_robust_ticket) +
	       TDM_CAST(uint64_t, seats) * sizeof(struct tdm_robust_ticket_seat);
}

tdm_inline struct tdm_robust_ticket_seat *tdm_robust_ticket_seat_(struct tdm_robust_ticket *lock,
								  uint32_t index)
{
	return TDM_AT_(struct tdm_robust_ticket_seat, lock,
		       sizeof(*lock) + index * sizeof(struct tdm_robust_ticket_seat));
}

tdm_function uint64_t tdm_robust_ticket_object_size_(const struct tdm_object *object)
{
	return tdm_robust_ticket_bytes_(object->seats);
}

tdm_function enum tdm_status tdm_robust_ticket_object_init_(struct tdm_span span,
							    const struct tdm_object *object)
{
	if (span.bytes < tdm_robust_ticket_bytes_(object->seats))
		return TDM_INVALID;
	struct tdm_robust_ticket *lock = TDM_AT_(struct tdm_robust_ticket, span.base, 0);
	for (uint32_t k = 0; k < object->seats; k++) {
		struct tdm_robust_ticket_seat *seat = tdm_robust_ticket_seat_(lock, k);
		tdm_store_relaxed_u64(&seat->ticket, 0);
		tdm_store_relaxed_u64(&seat->generation, 0);
		tdm_event_init(&seat->turn);
	}
	tdm_store_relaxed_u64(&lock->drawn, 0);
	tdm_store_relaxed_u32(&lock->seats, object->seats);
	tdm_store_relaxed_u32(&lock->used, 0);
	tdm_store_relaxed_u64(&lock->owner, TDM_OWNER_FREE_);
	tdm_store_relaxed_u64(&lock->tag, TDM_ROBUST_TICKET_TAG_);
	return TDM_OK;
}

// Describes one for tdm_segment_create: 128 bytes, and 32 for each seat.
tdm_function struct tdm_object tdm_robust_ticket_object(const char *name)
{
	struct tdm_object object;
	object.name = name;
	object.kind = TDM_KIND_TICKET;
	object.version = TDM_ROBUST_TICKET_VERSION;
	object.elem_size = 0;
	object.elem_align = TDM_CACHE_LINE;
	object.capacity = 1;
	object.type_tag = 0;
	object.plain = false;
	object.seats = 0;
	object.size = tdm_robust_ticket_object_size_;
	object.init = tdm_robust_ticket_object_init_;
	return object;
}

// May `self` use it? The number of seats is the participant's own copy, checked at attach, and
// never read here.
tdm_inline enum tdm_status tdm_robust_ticket_usable_(struct tdm_robust_ticket *lock,
						     const struct tdm_participant *self)
{
	if (tdm_unlikely(self == TDM_NULL))
		return TDM_NEEDS_PARTICIPANT;
	uint64_t bytes = tdm_robust_ticket_bytes_(self->table.seat_count);
	if (tdm_likely(tdm_participant_reaches_(lock, bytes, self)))
		return TDM_OK;
	return tdm_participant_serves_(tdm_memory(lock, bytes), self);
}

// Finds it in a segment's memory: *lock may then be used with any participant of that segment.
// TDM_WRONG_KIND, TDM_NOT_INITIALIZED, TDM_READ_ONLY, TDM_NEEDS_PARTICIPANT, TDM_FORKED,
// TDM_INVALID: as they say.
tdm_nodiscard tdm_function enum tdm_status
tdm_robust_ticket_attach(struct tdm_robust_ticket **lock, struct tdm_span span,
			 const struct tdm_participant *self)
{
	*lock = TDM_NULL;
	if (span.status != TDM_OK)
		return span.status;
	if (span.kind != TDM_KIND_NONE && span.kind != TDM_KIND_TICKET)
		return TDM_WRONG_KIND;
	if (span.read_only)
		return TDM_READ_ONLY;
	struct tdm_robust_ticket *found = TDM_AT_(struct tdm_robust_ticket, span.base, 0);
	enum tdm_status status = tdm_robust_ticket_usable_(found, self);
	if (status != TDM_OK)
		return status;
	if (span.bytes < tdm_robust_ticket_bytes_(self->table.seat_count))
		return TDM_BAD_GEOMETRY;
	if (tdm_load_relaxed_u64(&found->tag) != TDM_ROBUST_TICKET_TAG_)
		return TDM_NOT_INITIALIZED;
	*lock = found;
	return TDM_OK;
}

// ---------------------------------------------------------------------------------------------
// The queue

// A waiter in the queue. ticket 0: nobody.
struct tdm_robust_ticket_place_ {
	uint64_t ticket;
	uint32_t index;
};

// The lowest ticket below `limit`.
tdm_function struct tdm_robust_ticket_place_
tdm_robust_ticket_lowest_(struct tdm_robust_ticket *lock, const struct tdm_participant *self,
			  uint64_t limit)
{
	struct tdm_robust_ticket_place_ lowest = {0, 0};
	uint32_t used = tdm_load_relaxed_u32(&lock->used);
	if (used > self->table.seat_count)
		used = self->table.seat_count;
	for (uint32_t k = 0; k < used; k++) {
		uint64_t ticket = tdm_load_acquire_u64(
		    &tdm_robust_ticket_seat_(lock, k)->ticket); // E3, pairs with queue
		if (ticket != 0 && ticket < limit) {
			limit = ticket;
			lowest.ticket = ticket;
			lowest.index = k;
		}
	}
	return lowest;
}

// The same, among the living: tickets of the dead are taken away. TDM_SYSTEM: the kernel would not
// say.
tdm_cold enum tdm_status tdm_robust_ticket_lowest_live_(struct tdm_robust_ticket *lock,
							const struct tdm_participant *self,
							uint64_t limit,
							struct tdm_robust_ticket_place_ *lowest)
{
	for (uint32_t i = 0; i <= self->table.seat_count; i++) {
		*lowest = tdm_robust_ticket_lowest_(lock, self, limit);
		if (lowest->ticket == 0)
			return TDM_OK;
		struct tdm_robust_ticket_seat *seat = tdm_robust_ticket_seat_(lock, lowest->index);
		enum tdm_status dead = tdm_table_dead_(&self->table, lowest->index,
						       tdm_load_relaxed_u64(&seat->generation));
		if (dead != TDM_OK)
			return dead == TDM_BUSY ? TDM_OK : dead;
		uint64_t ticket = lowest->ticket;
		(void)tdm_cas_strong_relaxed_relaxed_u64(&seat->ticket, &ticket, 0);
	}
	return TDM_OK; // they die faster than they are passed over: let the caller try again
}

// Wakes the first in the queue. False: there is none.
tdm_function bool tdm_robust_ticket_wake_(struct tdm_robust_ticket *lock,
					  const struct tdm_participant *self)
{
	struct tdm_robust_ticket_place_ lowest = tdm_robust_ticket_lowest_(lock, self, UINT64_MAX);
	if (lowest.ticket != 0)
		tdm_event_notify(&tdm_robust_ticket_seat_(lock, lowest.index)->turn);
	return lowest.ticket != 0;
}

struct tdm_robust_ticket_wait_ {
	struct tdm_robust_ticket *lock;
	const struct tdm_participant *self;
	uint64_t mine;
	uint64_t ticket; // UINT64_MAX: has none, and does not wait
	bool ask;        // about lives, once
};

// One attempt of a waiter, or of one who only tries.
tdm_function enum tdm_status tdm_robust_ticket_attempt_(void *context)
{
	struct tdm_robust_ticket_wait_ *wait = TDM_CAST(struct tdm_robust_ticket_wait_ *, context);
	const struct tdm_participant *self = wait->self;
	const uint64_t queued = TDM_ROBUST_TICKET_QUEUED_;
	bool ask = wait->ask;
	wait->ask = false;
	uint64_t word = tdm_load_acquire_u64(&wait->lock->owner); // E2, pairs with queue
	uint64_t state = word & ~queued;
	uint64_t holder = state & ~TDM_OWNER_INCONSISTENT_;
	if (state == TDM_OWNER_LOST_)
		return TDM_NOT_RECOVERABLE;
	if (state != TDM_OWNER_FREE_) {
		uint64_t index = holder & TDM_OWNER_INDEX_MASK_;
		if ((holder & TDM_OWNER_STATE_MASK_) != 0 || index == 0 ||
		    index > self->table.seat_count)
			return TDM_CORRUPT;
		if (holder == wait->mine)
			return TDM_DEADLOCK;
		if (!ask)
			return TDM_BUSY;
	}
	struct tdm_robust_ticket_place_ before;
	if (ask) {
		enum tdm_status status =
		    tdm_robust_ticket_lowest_live_(wait->lock, self, wait->ticket, &before);
		if (status != TDM_OK)
			return status;
	} else {
		before = tdm_robust_ticket_lowest_(wait->lock, self, wait->ticket);
	}
	if (before.ticket != 0)
		return TDM_BUSY;
	if (state == TDM_OWNER_FREE_)
		return tdm_cas_strong_acquire_relaxed_u64(&wait->lock->owner, &word,
							  wait->mine | (word & queued))
			   ? TDM_OK // E1, pairs with unlock
			   : TDM_BUSY;
	enum tdm_status dead = tdm_owner_dead_(&self->table, holder);
	if (dead != TDM_OK)
		return dead;
	// Said first, so that the CAS does not fail because somebody else says it.
	tdm_fetch_or_relaxed_u64(&wait->lock->owner, queued);
	word = state | queued;
	return tdm_cas_strong_relaxed_relaxed_u64(&wait->lock->owner, &word,
						  wait->mine | TDM_OWNER_INCONSISTENT_ | queued)
		   ? TDM_OWNER_DIED
		   : TDM_BUSY;
}

tdm_function enum tdm_status tdm_robust_ticket_idle_(void *context)
{
	TDM_CAST(struct tdm_robust_ticket_wait_ *, context)->ask = true;
	return TDM_OK;
}

tdm_cold enum tdm_status tdm_robust_ticket_queue_(struct tdm_robust_ticket *lock,
						  const struct tdm_participant *self, uint64_t mine,
						  uint64_t deadline_ns)
{
	struct tdm_robust_ticket_wait_ wait = {lock, self, mine, UINT64_MAX, false};
	struct tdm_robust_ticket_seat *seat = tdm_robust_ticket_seat_(lock, self->index);
	uint64_t holder = tdm_load_relaxed_u64(&lock->owner) & ~TDM_ROBUST_TICKET_QUEUED_;
	if (tdm_owner_is_(holder, mine))
		return TDM_DEADLOCK;
	uint32_t used = tdm_load_relaxed_u32(&lock->used);
	for (uint32_t i = 0; i < TDM_RETRIES_ && used <= self->index; i++)
		if (tdm_cas_weak_relaxed_relaxed_u32(&lock->used, &used, self->index + 1))
			break;
	tdm_store_relaxed_u64(&seat->ticket, 0); // of one who died in this seat: it stays dead
	tdm_store_relaxed_u64(&seat->generation, self->generation);
	wait.ticket = tdm_fetch_add_relaxed_u64(&lock->drawn, 1) + 1;
	tdm_store_release_u64(&seat->ticket, wait.ticket);                 // E3
	tdm_fetch_or_release_u64(&lock->owner, TDM_ROBUST_TICKET_QUEUED_); // E2
	struct tdm_patience patience = {0};
	enum tdm_status status =
	    tdm_event_await(&seat->turn, &patience, deadline_ns, TDM_BUSY,
			    tdm_robust_ticket_attempt_, tdm_robust_ticket_idle_, &wait);
	if (status == TDM_TIMED_OUT) { // or who always comes late would never hear of a death
		wait.ask = true;
		status = tdm_robust_ticket_attempt_(&wait);
		status = status == TDM_BUSY ? TDM_TIMED_OUT : status;
	}
	tdm_store_relaxed_u64(&seat->ticket, 0);
	if (status != TDM_OK && status != TDM_OWNER_DIED) {
		int saved = errno;
		uint64_t word = tdm_fetch_or_acq_rel_u64(&lock->owner, 0); // E2
		if ((word & ~TDM_ROBUST_TICKET_QUEUED_) == TDM_OWNER_FREE_)
			tdm_robust_ticket_wake_(lock, self);
		errno = saved;
	}
	return status;
}

tdm_cold enum tdm_status tdm_robust_ticket_try_slow_(struct tdm_robust_ticket *lock,
						     const struct tdm_participant *self,
						     uint64_t mine)
{
	struct tdm_robust_ticket_wait_ wait = {lock, self, mine, UINT64_MAX, true};
	return tdm_robust_ticket_attempt_(&wait);
}

// Somebody queues, or the caller is not the holder, or has not repaired.
tdm_cold enum tdm_status tdm_robust_ticket_unlock_slow_(struct tdm_robust_ticket *lock,
							const struct tdm_participant *self,
							uint64_t mine)
{
	const uint64_t queued = TDM_ROBUST_TICKET_QUEUED_;
	uint64_t word = tdm_load_relaxed_u64(&lock->owner);
	if ((word & ~queued) == (mine | TDM_OWNER_INCONSISTENT_)) {
		tdm_store_relaxed_u64(&lock->owner, TDM_OWNER_LOST_);
		for (uint32_t k = 0; k < self->table.seat_count; k++)
			tdm_event_notify(&tdm_robust_ticket_seat_(lock, k)->turn);
		return TDM_NOT_RECOVERABLE;
	}
	if ((word & ~queued) != mine)
		return TDM_NOT_OWNER;
	// Does anybody queue still? Asked while the lock is held, so that nobody overtakes them.
	if (tdm_robust_ticket_lowest_(lock, self, UINT64_MAX).ticket == 0) {
		(void)tdm_fetch_and_acquire_u64(&lock->owner, ~queued); // E2, pairs with queue
		word = mine;
		if (tdm_robust_ticket_lowest_(lock, self, UINT64_MAX).ticket == 0 &&
		    tdm_cas_strong_release_relaxed_u64(&lock->owner, &word, TDM_OWNER_FREE_))
			return TDM_OK; // E1, pairs with lock
	}
	(void)tdm_exchange_acq_rel_u64(&lock->owner, queued); // E1, E2
	(void)tdm_robust_ticket_wake_(lock, self);
	return TDM_OK;
}

// ---------------------------------------------------------------------------------------------
// Locking

// Tells ThreadSanitizer how it ended.
tdm_inline enum tdm_status tdm_robust_ticket_ended_(struct tdm_robust_ticket *lock, unsigned tsan,
						    enum tdm_status status)
{
	if (status == TDM_OWNER_DIED)
		tdm_tsan_forget_(lock);
	bool held = status == TDM_OK || status == TDM_OWNER_DIED;
	tdm_tsan_locked_(lock, held ? tsan : TDM_TSAN_TRY_ | TDM_TSAN_FAILED_);
	if (status == TDM_OWNER_DIED)
		tdm_tsan_saw_death_();
	return status;
}

// Locks it, if nobody holds it or queues for it, or those who do are dead. TDM_OK and
// TDM_OWNER_DIED: held. TDM_BUSY: another holds it, or is before the caller. TDM_DEADLOCK: the
// caller holds it already. TDM_NOT_RECOVERABLE: given up unrepaired. TDM_NEEDS_PARTICIPANT,
// TDM_FORKED, TDM_INVALID: self is no participant of its segment. TDM_CORRUPT. TDM_SYSTEM: the
// kernel would not say who lives.
tdm_nodiscard tdm_inline enum tdm_status tdm_robust_ticket_try_lock(struct tdm_robust_ticket *lock,
								    struct tdm_participant *self)
    TDM_TRIES_(0, lock) TDM_UNANALYZED_
{
	enum tdm_status status = tdm_robust_ticket_usable_(lock, self);
	if (tdm_unlikely(status != TDM_OK))
		return status;
	tdm_tsan_locking_(lock, TDM_TSAN_TRY_);
	uint64_t mine = tdm_owner_of_(self);
	if (tdm_unlikely(!tdm_owner_claim_(&lock->owner, mine))) // E1, pairs with unlock
		status = tdm_robust_ticket_try_slow_(lock, self, mine);
	return tdm_robust_ticket_ended_(lock, TDM_TSAN_TRY_, status);
}

// Locks it; waits for its turn until the deadline. As try_lock, but TDM_TIMED_OUT instead of
// TDM_BUSY, and TDM_SYSTEM also where the kernel refuses to wait.
tdm_nodiscard tdm_inline enum tdm_status
tdm_robust_ticket_lock_until(struct tdm_robust_ticket *lock, struct tdm_participant *self,
			     uint64_t deadline_ns) TDM_TRIES_(0, lock) TDM_UNANALYZED_
{
	enum tdm_status status = tdm_robust_ticket_usable_(lock, self);
	if (tdm_unlikely(status != TDM_OK))
		return status;
	unsigned tsan = deadline_ns == TDM_FOREVER ? 0 : TDM_TSAN_TRY_;
	tdm_tsan_locking_(lock, tsan);
	uint64_t mine = tdm_owner_of_(self);
	if (tdm_unlikely(!tdm_owner_claim_(&lock->owner, mine))) // E1, pairs with unlock
		status = tdm_robust_ticket_queue_(lock, self, mine, deadline_ns);
	return tdm_robust_ticket_ended_(lock, tsan, status);
}

// Locks it; waits for its turn for ever.
tdm_nodiscard tdm_inline enum tdm_status tdm_robust_ticket_lock(struct tdm_robust_ticket *lock,
								struct tdm_participant *self)
    TDM_TRIES_(0, lock) TDM_UNANALYZED_
{
	return tdm_robust_ticket_lock_until(lock, self, TDM_FOREVER);
}

// Unlocks it, and the first in the queue has it. TDM_NOT_OWNER: the caller does not hold it.
// TDM_NOT_RECOVERABLE: it was taken over from the dead and not made consistent; nobody can lock it
// any more.
tdm_inline enum tdm_status tdm_robust_ticket_unlock(struct tdm_robust_ticket *lock,
						    struct tdm_participant *self)
    TDM_RELEASES_(lock) TDM_UNANALYZED_
{
	enum tdm_status status = tdm_robust_ticket_usable_(lock, self);
	if (tdm_unlikely(status != TDM_OK))
		return status;
	tdm_tsan_unlocking_(lock, 0);
	uint64_t mine = tdm_owner_of_(self);
	uint64_t word = mine;
	if (tdm_unlikely(!tdm_cas_strong_release_relaxed_u64(&lock->owner, &word,
							     TDM_OWNER_FREE_))) // E1
		status = tdm_robust_ticket_unlock_slow_(lock, self, mine);
	tdm_tsan_unlocked_(lock, 0);
	return status;
}

// The caller, who got it with TDM_OWNER_DIED, has repaired what it protects. TDM_INVALID: there
// was nothing to repair. TDM_NOT_OWNER, and as try_lock.
tdm_nodiscard tdm_function enum tdm_status
tdm_robust_ticket_make_consistent(struct tdm_robust_ticket *lock,
				  const struct tdm_participant *self)
{
	enum tdm_status status = tdm_robust_ticket_usable_(lock, self);
	if (status != TDM_OK)
		return status;
	uint64_t mine = tdm_owner_of_(self);
	uint64_t word = tdm_load_relaxed_u64(&lock->owner) & ~TDM_ROBUST_TICKET_QUEUED_;
	if (word != (mine | TDM_OWNER_INCONSISTENT_))
		return word == mine ? TDM_INVALID : TDM_NOT_OWNER;
	tdm_fetch_and_relaxed_u64(&lock->owner, ~TDM_OWNER_INCONSISTENT_);
	return TDM_OK;
}

TDM_END_DECLS

#endif
