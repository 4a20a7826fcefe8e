// SPDX-License-Identifier: BSD-2-Clause
// Barriers: so many parties wait for each other, phase after phase.
//
// Choose one for work in steps that all must have finished before anybody begins the next. To wait
// for one condition, sync/event.h; to count, sync/semaphore.h.
//
// struct tdm_barrier         Plain, 16 bytes: for threads, or processes that are never killed. Any
//                            `parties` callers make a phase.
// struct tdm_barrier_party   Robust: a handle to an object in a segment. A party has the seat of
//                            its participant, from attach to detach. A phase is over when everybody
//                            attached has arrived, and those are `parties` at least. Who died after
//                            arriving counts; who dies before, or has died in an earlier phase,
//                            breaks the barrier. Who is stopped is alive, and waited for.
//
// A broken barrier answers TDM_BROKEN to all who wait and to all who come, until it is reset. A
// time-out breaks it, and so does abort: what the others wait for would never come. All who arrived
// in a phase agree on whether it was completed.
//
// Progress   Blocking: spins briefly, yields, then sleeps. Arriving is lock-free (plain: at most
//            2^16 rounds; robust: and a look at each seat's word). The death of a party is noticed
//            within 100 ms of sleeping.
// Callers    Plain: everything from any thread of any process that maps it for writing. Robust: a
//            handle belongs to its participant's thread. Not from signal handlers.
//
// Edges
//   E1  Plain: arriving (RMW, release) with the last one's RMW (acquire), which the release
//       sequence leads to: what each did before it arrived. Robust: a word's store (release), also
//       detach's, with the load (acquire) of who completes the phase.
//   E2  The RMW that completes a phase (release) with the load (acquire) of those who wait: so what
//       each did before it arrived is visible to each after the phase.
//   E3  Plain: arriving (RMW, release) with reset's load (acquire): what those did before who were
//       inside when it broke.
//   E4  Robust: each who arrives, or detaches, changes nothing in the state, but by an RMW
//       (release) after its word's store; then it loads the state (acquire), and looks at the
//       others' words. Of two such RMWs the later one reads what the earlier one wrote: so who
//       comes last sees that all have arrived.
//   E5  Robust: attach's RMW (release) after its word's store with the loads (acquire) of the
//       state: who completes a phase either counts the new party, or its CAS fails because the
//       state has changed since.
//   E6  Robust: a word's store (release) with the load (acquire) of who asks whether its party is
//       dead: the seat's own generation is seen, or the living would look dead.
//
// Crashes (robust; a plain barrier that a party died in has to be made anew)
//   C1  Death before the word says "arrived": whoever sleeps asks, sees, and breaks the barrier.
//       The word is looked at again once its party is known to be dead.
//   C2  Death after that: it counts. Whoever sleeps looks at all words, and completes the phase if
//       the dead could not; if nobody sleeps yet, who comes next does.
//   C3  Death after the state changed: the phase is over, or broken, for everybody. The sleepers
//       find out at the end of their slice, 100 ms.
//   C4  Death in attach: its word is there, then it has died before arriving (C1); or is not, then
//       nothing happened. The next holder of its seat breaks the barrier for it, or takes over its
//       arrival. In detach: likewise, or it has left.
//   C5  Death in reset: words of the dead that are cleared stay so; the next one goes on.
//
// Source     Hensgen, Finkel and Manber, "Two algorithms for barrier synchronization",
//            International Journal of Parallel Programming 17(1), 1988. Mellor-Crummey and Scott,
//            "Algorithms for Scalable Synchronization on Shared-Memory Multiprocessors", ACM TOCS
//            9(1), 1991: the sense-reversing central barrier, whose sense is a number here.
//
// Example    Complete in tests/examples/matrix.c
//	for (int step = 0; step < steps; step++) {
//		compute(mine, step);
//		if (tdm_barrier_wait(&barrier, NULL) != TDM_OK)
//			return;
//	}
#ifndef TDM_SYNC_BARRIER_H
#define TDM_SYNC_BARRIER_H

#include <string.h>

#include "../base/atomic.h"
#include "../base/backoff.h"
#include "../base/clock.h"
#include "../base/config.h"
#include "../base/object.h"
#include "../base/status.h"
#include "../shm/participant.h"
#include "event.h"

TDM_BEGIN_DECLS

// ---------------------------------------------------------------------------------------------
// Plain

// The state:  phase << 32 | BROKEN | inside
//
//   inside   those who have arrived in this phase. Once it is broken: those of them who have not
//            noticed yet; it stays broken until nobody is left.
#define TDM_BARRIER_BROKEN_ (UINT64_C(1) << 31)
#define TDM_BARRIER_INSIDE_ (TDM_BARRIER_BROKEN_ - 1)
#define TDM_BARRIER_PARTIES_MAX UINT32_C(0x7fffffff)

struct tdm_barrier {
	tdm_atomic_u64 state;
	tdm_atomic_u32 parties;   // constant; 0: not initialized
	struct tdm_event changed; // where parties sleep
};
TDM_STATIC_ASSERT(sizeof(struct tdm_barrier) == 16, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_barrier, parties) == 8, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_barrier, changed) == 12, "layout");

// Makes a barrier for `parties`. TDM_INVALID: 0, or 2^31 and more.
tdm_nodiscard tdm_function enum tdm_status tdm_barrier_init(struct tdm_barrier *barrier,
							    uint32_t parties)
{
	if (parties == 0 || parties > TDM_BARRIER_PARTIES_MAX)
		return TDM_INVALID;
	tdm_event_init(&barrier->changed);
	tdm_store_relaxed_u64(&barrier->state, 0);
	tdm_store_relaxed_u32(&barrier->parties, parties);
	return TDM_OK;
}

struct tdm_barrier_wait_ {
	struct tdm_barrier *barrier;
	uint32_t phase;
};

tdm_inline uint32_t tdm_barrier_phase_(uint64_t state)
{
	return TDM_CAST(uint32_t, state >> 32);
}

tdm_function enum tdm_status tdm_barrier_attempt_(void *context)
{
	const struct tdm_barrier_wait_ *wait = TDM_CAST(const struct tdm_barrier_wait_ *, context);
	uint64_t state = tdm_load_acquire_u64(&wait->barrier->state); // E2, pairs with wait_until
	if (tdm_barrier_phase_(state) != wait->phase)
		return TDM_OK;
	return (state & TDM_BARRIER_BROKEN_) != 0 ? TDM_BROKEN : TDM_BUSY;
}

// Who has arrived goes before the phase is over, and so breaks it; unless it is over by now, or
// broken already.
tdm_cold enum tdm_status tdm_barrier_give_up_(struct tdm_barrier *barrier, uint32_t phase,
					      enum tdm_status why)
{
	for (uint32_t i = 0; i < TDM_RETRIES_; i++) {
		uint64_t state = tdm_load_acquire_u64(&barrier->state); // E2, pairs with wait_until
		if (tdm_barrier_phase_(state) != phase)
			return TDM_OK;
		if ((state & TDM_BARRIER_INSIDE_) == 0)
			return TDM_CORRUPT;
		uint64_t next = (state | TDM_BARRIER_BROKEN_) - 1;
		if (tdm_cas_strong_relaxed_relaxed_u64(&barrier->state, &state, next)) {
			bool broken = (state & TDM_BARRIER_BROKEN_) != 0;
			if (!broken || (next & TDM_BARRIER_INSIDE_) == 0)
				tdm_event_notify(&barrier->changed);
			return broken ? TDM_BROKEN : why;
		}
	}
	return TDM_CORRUPT;
}

// Arrives, and waits for the others until the deadline. TDM_OK: all have arrived; *serial (may be
// NULL) tells one of them, the last, from the others. TDM_TIMED_OUT: the deadline has passed, and
// the barrier is broken. TDM_BROKEN: it is, by another. TDM_NOT_INITIALIZED. TDM_SYSTEM: the kernel
// refuses to wait; it is broken, too. TDM_BUSY: 2^16 others came first, one after the other.
// TDM_CORRUPT.
tdm_nodiscard tdm_function enum tdm_status
tdm_barrier_wait_until(struct tdm_barrier *barrier, uint64_t deadline_ns, bool *serial)
{
	uint32_t parties = tdm_load_relaxed_u32(&barrier->parties);
	uint64_t state = tdm_load_relaxed_u64(&barrier->state);
	if (serial != TDM_NULL)
		*serial = false;
	if (parties == 0)
		return TDM_NOT_INITIALIZED;
	for (uint32_t i = 0; i < TDM_RETRIES_; i++) {
		if ((state & TDM_BARRIER_BROKEN_) != 0)
			return TDM_BROKEN;
		if ((state & TDM_BARRIER_INSIDE_) >= parties)
			return TDM_CORRUPT;
		struct tdm_barrier_wait_ wait = {barrier, tdm_barrier_phase_(state)};
		bool last = (state & TDM_BARRIER_INSIDE_) + 1 == parties;
		uint64_t next = last ? TDM_CAST(uint64_t, wait.phase + 1U) << 32 : state + 1;
		if (!tdm_cas_weak_acq_rel_relaxed_u64(&barrier->state, &state, next)) // E1, E2, E3
			continue;
		if (last) {
			tdm_event_notify(&barrier->changed);
			if (serial != TDM_NULL)
				*serial = true;
			return TDM_OK;
		}
		struct tdm_patience patience = {0};
		enum tdm_status status =
		    tdm_event_await(&barrier->changed, &patience, deadline_ns, TDM_BUSY,
				    tdm_barrier_attempt_, TDM_NULL, &wait);
		return status == TDM_OK ? TDM_OK
					: tdm_barrier_give_up_(barrier, wait.phase, status);
	}
	return TDM_BUSY;
}

// The same; waits for ever.
tdm_nodiscard tdm_function enum tdm_status tdm_barrier_wait(struct tdm_barrier *barrier,
							    bool *serial)
{
	return tdm_barrier_wait_until(barrier, TDM_FOREVER, serial);
}

// Breaks it: for all who wait, and all who come before it is reset. TDM_NOT_INITIALIZED. TDM_BUSY:
// 2^16 others came first.
tdm_function enum tdm_status tdm_barrier_abort(struct tdm_barrier *barrier)
{
	uint64_t state = tdm_load_relaxed_u64(&barrier->state);
	if (tdm_load_relaxed_u32(&barrier->parties) == 0)
		return TDM_NOT_INITIALIZED;
	for (uint32_t i = 0; i < TDM_RETRIES_; i++) {
		if ((state & TDM_BARRIER_BROKEN_) != 0)
			return TDM_OK;
		if (tdm_cas_weak_relaxed_relaxed_u64(&barrier->state, &state,
						     state | TDM_BARRIER_BROKEN_)) {
			tdm_event_notify(&barrier->changed);
			return TDM_OK;
		}
	}
	return TDM_BUSY;
}

tdm_function enum tdm_status tdm_barrier_reset_attempt_(void *context)
{
	struct tdm_barrier *barrier = TDM_CAST(struct tdm_barrier *, context);
	uint64_t state = tdm_load_acquire_u64(&barrier->state); // E3, pairs with wait_until
	if ((state & TDM_BARRIER_BROKEN_) == 0)
		return TDM_OK;
	return (state & TDM_BARRIER_INSIDE_) == 0 &&
		       tdm_cas_strong_relaxed_relaxed_u64(&barrier->state, &state,
							  state & ~TDM_BARRIER_BROKEN_)
		   ? TDM_OK
		   : TDM_BUSY;
}

// Makes a broken one usable again, as soon as all who waited have noticed that it was broken; where
// it is not broken, there is nothing to do. So each of those who were told TDM_BROKEN may call this
// and go on. TDM_TIMED_OUT: somebody has not noticed by the deadline. TDM_NOT_INITIALIZED.
// TDM_SYSTEM: the kernel refuses to wait.
tdm_nodiscard tdm_function enum tdm_status tdm_barrier_reset_until(struct tdm_barrier *barrier,
								   uint64_t deadline_ns)
{
	struct tdm_patience patience = {0};
	if (tdm_load_relaxed_u32(&barrier->parties) == 0)
		return TDM_NOT_INITIALIZED;
	return tdm_event_await(&barrier->changed, &patience, deadline_ns, TDM_BUSY,
			       tdm_barrier_reset_attempt_, TDM_NULL, barrier);
}

// The same; waits for ever.
tdm_nodiscard tdm_function enum tdm_status tdm_barrier_reset(struct tdm_barrier *barrier)
{
	return tdm_barrier_reset_until(barrier, TDM_FOREVER);
}

// ---------------------------------------------------------------------------------------------
// Robust

#define TDM_BARRIER_VERSION 1U
#define TDM_BARRIER_TAG_ (UINT64_C(0x6261727200000000) | TDM_BARRIER_VERSION)

// The state:  phase << 40 | completed << 16 | BROKEN | joins
//
//   completed   the number after that of the last phase that was completed. As long as one of its
//               parties has not noticed, no other phase can be: so it tells that one.
//   joins       moves with each attach, so that a phase is not completed behind a new party's back
//
// A phase that was broken gets the next number when the barrier is reset. Numbers have 24 bits.
#define TDM_BARRIER_NUMBER_ UINT64_C(0xffffff)
#define TDM_BARRIER_COMPLETED_SHIFT_ 16
#define TDM_BARRIER_NUMBER_SHIFT_ 40
#define TDM_BARRIER_STOPPED_ UINT64_C(0x8000) // BROKEN
#define TDM_BARRIER_JOINS_ UINT64_C(0x7fff)

// The head; then a word for each seat of the segment.
struct tdm_barrier_shm {
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 tag; // what it is << 32 | its layout's version
	tdm_atomic_u64 parties;                         // constant
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 state;
	struct tdm_event changed; // where parties sleep
};
TDM_STATIC_ASSERT(sizeof(struct tdm_barrier_shm) == 2 * TDM_CACHE_LINE, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_barrier_shm, parties) == 8, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_barrier_shm, state) == TDM_CACHE_LINE, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_barrier_shm, changed) == TDM_CACHE_LINE + 8, "layout");

// A seat's word:  generation << 16 | PARTY | stage, or 0 for no party. Its stage is the low bits of
// the number after that of the phase in which it arrived last. Only the seat's holder writes it,
// but for who resets, and clears those of the dead.
#define TDM_BARRIER_PARTY_ UINT64_C(0x8000)
#define TDM_BARRIER_STAGE_ UINT64_C(0x7fff)

// In the process. Until attached, a zero-filled one answers TDM_INVALID to everything.
struct tdm_barrier_party {
	struct tdm_barrier_shm *shm; // NULL: not attached
	tdm_atomic_u64 *words;
	struct tdm_participant *self;
	uint64_t parties;
	struct tdm_patience patience;
	bool inherited; // the seat's last holder had arrived in `phase`, and died
	uint64_t phase;
};

tdm_inline uint64_t tdm_barrier_number_(uint64_t state)
{
	return state >> TDM_BARRIER_NUMBER_SHIFT_;
}

tdm_inline uint64_t tdm_barrier_word_(const struct tdm_barrier_party *party, uint64_t stage)
{
	return party->self->generation << 16 | TDM_BARRIER_PARTY_ | (stage & TDM_BARRIER_STAGE_);
}

tdm_inline bool tdm_barrier_arrived_(uint64_t word, uint64_t phase)
{
	return ((word ^ (phase + 1)) & TDM_BARRIER_STAGE_) == 0;
}

tdm_function uint64_t tdm_barrier_size_(const struct tdm_object *object)
{
	return object->capacity == 0 || object->capacity > object->seats ||
		       object->seats > TDM_SEATS_MAX
		   ? 0
		   : sizeof(struct tdm_barrier_shm) + 8 * UINT64_C(1) * object->seats;
}

tdm_function enum tdm_status tdm_barrier_object_init_(struct tdm_span span,
						      const struct tdm_object *object)
{
	uint64_t bytes = tdm_barrier_size_(object);
	if (span.status != TDM_OK)
		return span.status;
	if (bytes == 0 || span.bytes < bytes ||
	    TDM_RETYPE(uintptr_t, span.base) % TDM_CACHE_LINE != 0)
		return TDM_INVALID;
	struct tdm_barrier_shm *shm = TDM_AT_(struct tdm_barrier_shm, span.base, 0);
	tdm_atomic_u64 *words = TDM_AT_(tdm_atomic_u64, span.base, sizeof(*shm));
	tdm_store_relaxed_u64(&shm->parties, object->capacity);
	tdm_store_relaxed_u64(&shm->state, 0);
	tdm_event_init(&shm->changed);
	for (uint32_t k = 0; k < object->seats; k++)
		tdm_store_relaxed_u64(&words[k], 0);
	tdm_store_relaxed_u64(&shm->tag, TDM_BARRIER_TAG_);
	return TDM_OK;
}

// Describes a robust barrier for tdm_segment_create, for as many parties as the segment has seats
// at most.
tdm_function struct tdm_object tdm_barrier_object(const char *name, uint32_t parties)
{
	struct tdm_object object;
	object.name = name;
	object.kind = TDM_KIND_BARRIER;
	object.version = TDM_BARRIER_VERSION;
	object.elem_size = 8;
	object.elem_align = 8;
	object.capacity = parties;
	object.type_tag = 0;
	object.plain = false;
	object.seats = 0;
	object.size = tdm_barrier_size_;
	object.init = tdm_barrier_object_init_;
	return object;
}

enum tdm_barrier_view_ {
	TDM_BARRIER_WAITS_,  // for somebody alive, or to come
	TDM_BARRIER_OVER_,   // all have arrived
	TDM_BARRIER_BREAKS_, // somebody has died before
};

// What the words say of `phase`. Whether those who have not arrived live is asked if `ask`.
tdm_function enum tdm_barrier_view_ tdm_barrier_scan_(const struct tdm_barrier_party *party,
						      uint64_t phase, bool ask)
{
	uint64_t arrived = 0;
	bool waits = false;
	for (uint32_t k = 0; k < party->self->table.seat_count; k++) {
		uint64_t word = tdm_load_acquire_u64(&party->words[k]); // E1, E6, pair with wait
		if (word == 0)
			continue;
		if (tdm_barrier_arrived_(word, phase)) {
			arrived++;
			continue;
		}
		waits = true;
		if (ask && tdm_table_dead_(&party->self->table, k, word >> 16) == TDM_OK &&
		    tdm_load_relaxed_u64(&party->words[k]) == word)
			return TDM_BARRIER_BREAKS_;
	}
	return !waits && arrived >= party->parties ? TDM_BARRIER_OVER_ : TDM_BARRIER_WAITS_;
}

// How `phase` ended. TDM_BUSY: it has not. TDM_OK: completed. TDM_BROKEN.
tdm_function enum tdm_status tdm_barrier_ended_(uint64_t state, uint64_t phase)
{
	if (tdm_barrier_number_(state) == phase)
		return (state & TDM_BARRIER_STOPPED_) != 0 ? TDM_BROKEN : TDM_BUSY;
	uint64_t completed = state >> TDM_BARRIER_COMPLETED_SHIFT_;
	return ((completed ^ (phase + 1)) & TDM_BARRIER_NUMBER_) == 0 ? TDM_OK : TDM_BROKEN;
}

// Ends `phase` if the words say so.
tdm_function enum tdm_status tdm_barrier_decide_(const struct tdm_barrier_party *party,
						 uint64_t phase, bool ask, bool *serial)
{
	struct tdm_barrier_shm *shm = party->shm;
	for (uint32_t i = 0; i < TDM_RETRIES_; i++) {
		uint64_t state = tdm_load_acquire_u64(&shm->state); // E2, E4, E5
		enum tdm_status ended = tdm_barrier_ended_(state, phase);
		if (ended != TDM_BUSY)
			return ended;
		enum tdm_barrier_view_ view = tdm_barrier_scan_(party, phase, ask);
		if (view == TDM_BARRIER_WAITS_)
			return TDM_BUSY;
		uint64_t number = (phase + 1) & TDM_BARRIER_NUMBER_;
		uint64_t next = view == TDM_BARRIER_OVER_
				    ? number << TDM_BARRIER_NUMBER_SHIFT_ |
					  number << TDM_BARRIER_COMPLETED_SHIFT_ |
					  (state & TDM_BARRIER_JOINS_)
				    : state | TDM_BARRIER_STOPPED_;
		if (!tdm_cas_strong_release_relaxed_u64(&shm->state, &state, next)) // E2
			continue;
		tdm_event_notify(&shm->changed);
		*serial = view == TDM_BARRIER_OVER_;
		return *serial ? TDM_OK : TDM_BROKEN;
	}
	return TDM_CORRUPT;
}

// Breaks `phase` if it is still under way. Answers how it ended; TDM_BUSY: it is the caller who
// broke it.
tdm_function enum tdm_status tdm_barrier_break_(struct tdm_barrier_shm *shm, uint64_t phase)
{
	for (uint32_t i = 0; i < TDM_RETRIES_; i++) {
		uint64_t state = tdm_load_acquire_u64(&shm->state); // E2, pairs with decide
		enum tdm_status ended = tdm_barrier_ended_(state, phase);
		if (ended != TDM_BUSY)
			return ended;
		if (tdm_cas_strong_relaxed_relaxed_u64(&shm->state, &state,
						       state | TDM_BARRIER_STOPPED_)) {
			tdm_event_notify(&shm->changed);
			return TDM_BUSY;
		}
	}
	return TDM_CORRUPT;
}

// Becomes a party, in the phase that is under way. TDM_BUSY: the participant is one already.
// TDM_NEEDS_PARTICIPANT, TDM_FORKED, TDM_INVALID: self is no participant of the segment.
// TDM_WRONG_KIND, TDM_NOT_INITIALIZED, TDM_OLDER_LAYOUT, TDM_NEWER_LAYOUT, TDM_BAD_GEOMETRY,
// TDM_READ_ONLY: as they say. Where the seat's last holder was a party and has died, the new one
// takes over its arrival, if it had arrived; if not, the barrier is broken. After a failure
// nothing is attached.
tdm_nodiscard tdm_function enum tdm_status tdm_barrier_party_attach(struct tdm_barrier_party *party,
								    struct tdm_span span,
								    struct tdm_participant *self)
{
	memset(party, 0, sizeof(*party));
	if (span.status != TDM_OK)
		return span.status;
	if (span.kind != TDM_KIND_NONE && span.kind != TDM_KIND_BARRIER)
		return TDM_WRONG_KIND;
	if (span.bytes < sizeof(struct tdm_barrier_shm) ||
	    TDM_RETYPE(uintptr_t, span.base) % TDM_CACHE_LINE != 0)
		return TDM_INVALID;
	struct tdm_barrier_shm *shm = TDM_AT_(struct tdm_barrier_shm, span.base, 0);
	uint64_t tag = tdm_load_relaxed_u64(&shm->tag);
	if (tag == 0)
		return TDM_NOT_INITIALIZED;
	if ((tag ^ TDM_BARRIER_TAG_) >> 32 != 0)
		return TDM_WRONG_KIND;
	if (tag != TDM_BARRIER_TAG_)
		return tag < TDM_BARRIER_TAG_ ? TDM_OLDER_LAYOUT : TDM_NEWER_LAYOUT;
	if (span.read_only)
		return TDM_READ_ONLY;
	enum tdm_status status = tdm_participant_serves_(span, self);
	if (status != TDM_OK)
		return status;
	struct tdm_barrier_party found;
	memset(&found, 0, sizeof(found));
	found.parties = tdm_load_relaxed_u64(&shm->parties);
	if ((span.bytes - sizeof(*shm)) / 8 < self->table.seat_count || found.parties == 0)
		return TDM_BAD_GEOMETRY;
	found.shm = shm;
	found.words = TDM_AT_(tdm_atomic_u64, span.base, sizeof(*shm));
	found.self = self;
	tdm_atomic_u64 *mine = &found.words[self->index];
	uint64_t word = tdm_load_relaxed_u64(mine);
	uint64_t state = tdm_load_relaxed_u64(&shm->state);
	if (word != 0 && ((word >> 16) ^ self->generation) == 0)
		return TDM_BUSY;
	for (uint32_t i = 0; i < TDM_RETRIES_; i++) { // until it is the number of a phase under way
		found.phase = tdm_barrier_number_(state);
		if (word == 0 || tdm_barrier_arrived_(word, found.phase) ||
		    tdm_barrier_break_(shm, found.phase) != TDM_OK)
			break;
		state = tdm_load_relaxed_u64(&shm->state);
	}
	found.inherited = word != 0 && tdm_barrier_arrived_(word, found.phase);
	(void)tdm_fence_register_();
	// E6, pairs with scan
	tdm_store_release_u64(mine, tdm_barrier_word_(&found, found.phase + found.inherited));
	state = tdm_load_relaxed_u64(&shm->state);
	for (uint32_t i = 0; i < TDM_RETRIES_; i++) {
		uint64_t next = (state & ~TDM_BARRIER_JOINS_) | ((state + 1) & TDM_BARRIER_JOINS_);
		if (tdm_cas_weak_release_relaxed_u64(&shm->state, &state, next)) { // E5
			self->attached++;
			*party = found;
			return TDM_OK;
		}
	}
	tdm_store_relaxed_u64(mine, 0);
	return TDM_CORRUPT;
}

// May the handle be used?
tdm_function enum tdm_status tdm_barrier_party_usable_(const struct tdm_barrier_party *party)
{
	return party->shm == TDM_NULL ? TDM_INVALID : tdm_participant_usable_(party->self);
}

// Is a party no more; whoever waited for it waits no longer. TDM_INVALID: not attached. TDM_FORKED.
tdm_nodiscard tdm_function enum tdm_status tdm_barrier_party_detach(struct tdm_barrier_party *party)
{
	enum tdm_status status = tdm_barrier_party_usable_(party);
	if (status != TDM_OK)
		return status;
	bool serial;
	tdm_store_release_u64(&party->words[party->self->index], 0);      // E1, pairs with scan
	uint64_t state = tdm_fetch_or_release_u64(&party->shm->state, 0); // E4
	(void)tdm_barrier_decide_(party, tdm_barrier_number_(state), false, &serial);
	party->self->attached--;
	party->shm = TDM_NULL;
	return TDM_OK;
}

struct tdm_barrier_stay_ {
	const struct tdm_barrier_party *party;
	uint64_t phase;
	bool ask;    // about the lives of the others, once
	bool serial; // it is this party that completed the phase
};

tdm_function enum tdm_status tdm_barrier_stay_attempt_(void *context)
{
	struct tdm_barrier_stay_ *stay = TDM_CAST(struct tdm_barrier_stay_ *, context);
	bool ask = stay->ask;
	stay->ask = false;
	if (ask)
		return tdm_barrier_decide_(stay->party, stay->phase, true, &stay->serial);
	// E2, pairs with decide
	return tdm_barrier_ended_(tdm_load_acquire_u64(&stay->party->shm->state), stay->phase);
}

tdm_function enum tdm_status tdm_barrier_stay_idle_(void *context)
{
	TDM_CAST(struct tdm_barrier_stay_ *, context)->ask = true;
	return TDM_OK;
}

// Waits for the end of a phase in which its word says that it has arrived.
tdm_function enum tdm_status tdm_barrier_stay_until_(struct tdm_barrier_party *party,
						     uint64_t phase, uint64_t deadline_ns,
						     bool *serial)
{
	struct tdm_barrier_stay_ stay = {party, phase, false, false};
	enum tdm_status status = tdm_barrier_decide_(party, phase, false, &stay.serial);
	if (status == TDM_BUSY)
		status =
		    tdm_event_await(&party->shm->changed, &party->patience, deadline_ns, TDM_BUSY,
				    tdm_barrier_stay_attempt_, tdm_barrier_stay_idle_, &stay);
	*serial = stay.serial;
	if (status != TDM_TIMED_OUT && status != TDM_SYSTEM)
		return status;
	enum tdm_status ended = tdm_barrier_break_(party->shm, phase);
	return ended == TDM_BUSY ? status : ended;
}

// Arrives, and waits for all other parties until the deadline. TDM_OK: all have arrived; *serial
// (may be NULL) is true for one of them at most: for none if somebody else completed the phase, by
// detaching, or one that died just then.
// TDM_TIMED_OUT: the deadline has passed, and the barrier is broken. TDM_BROKEN: it is, because
// another one died before it arrived, gave up, or aborted. TDM_INVALID: not attached. TDM_FORKED.
// TDM_SYSTEM: the kernel refuses to wait; the barrier is broken, too. TDM_CORRUPT.
tdm_nodiscard tdm_function enum tdm_status
tdm_barrier_party_wait_until(struct tdm_barrier_party *party, uint64_t deadline_ns, bool *serial)
{
	bool completed = false;
	if (serial == TDM_NULL)
		serial = &completed;
	*serial = false;
	enum tdm_status status = tdm_barrier_party_usable_(party);
	if (status != TDM_OK)
		return status;
	struct tdm_barrier_shm *shm = party->shm;
	if (party->inherited) {
		status = tdm_barrier_stay_until_(party, party->phase, deadline_ns, serial);
		*serial = false;
		party->inherited = false;
		if (status != TDM_OK)
			return status;
	}
	uint64_t state = tdm_load_relaxed_u64(&shm->state);
	uint64_t phase = tdm_barrier_number_(state);
	if ((state & TDM_BARRIER_STOPPED_) != 0)
		return TDM_BROKEN;
	// E1, pairs with scan
	tdm_store_release_u64(&party->words[party->self->index],
			      tdm_barrier_word_(party, phase + 1));
	(void)tdm_fetch_or_release_u64(&shm->state, 0); // E4
	return tdm_barrier_stay_until_(party, phase, deadline_ns, serial);
}

// The same; waits for ever.
tdm_nodiscard tdm_function enum tdm_status tdm_barrier_party_wait(struct tdm_barrier_party *party,
								  bool *serial)
{
	return tdm_barrier_party_wait_until(party, TDM_FOREVER, serial);
}

// Breaks it: for all who wait, and all who come before it is reset. TDM_INVALID: not attached.
// TDM_FORKED.
tdm_function enum tdm_status tdm_barrier_party_abort(struct tdm_barrier_party *party)
{
	enum tdm_status status = tdm_barrier_party_usable_(party);
	if (status != TDM_OK)
		return status;
	for (uint32_t i = 0; i < TDM_RETRIES_; i++) {
		uint64_t phase = tdm_barrier_number_(tdm_load_relaxed_u64(&party->shm->state));
		status = tdm_barrier_break_(party->shm, phase);
		if (status != TDM_OK)
			return status == TDM_CORRUPT ? TDM_CORRUPT : TDM_OK;
	}
	return TDM_CORRUPT;
}

// Makes a broken one usable again, for the parties that live: the dead are none any more. Where it
// is not broken, there is nothing to do. TDM_INVALID: not attached. TDM_FORKED. TDM_SYSTEM: the
// kernel would not say who lives; nothing is reset.
tdm_nodiscard tdm_function enum tdm_status tdm_barrier_party_reset(struct tdm_barrier_party *party)
{
	enum tdm_status status = tdm_barrier_party_usable_(party);
	if (status != TDM_OK)
		return status;
	struct tdm_barrier_shm *shm = party->shm;
	uint64_t state = tdm_load_relaxed_u64(&shm->state);
	if ((state & TDM_BARRIER_STOPPED_) == 0)
		return TDM_OK;
	for (uint32_t k = 0; k < party->self->table.seat_count; k++) {
		uint64_t word = tdm_load_acquire_u64(&party->words[k]); // E6, pairs with attach
		if (word == 0)
			continue;
		enum tdm_status dead = tdm_table_dead_(&party->self->table, k, word >> 16);
		if (dead == TDM_OK)
			(void)tdm_cas_strong_relaxed_relaxed_u64(&party->words[k], &word, 0);
		else if (dead != TDM_BUSY)
			return dead;
	}
	const uint64_t phase = tdm_barrier_number_(state);
	for (uint32_t i = 0; i < TDM_RETRIES_; i++) {
		uint64_t number = (phase + 1) & TDM_BARRIER_NUMBER_;
		uint64_t next = number << TDM_BARRIER_NUMBER_SHIFT_ |
				(state & TDM_BARRIER_NUMBER_ << TDM_BARRIER_COMPLETED_SHIFT_) |
				(state & TDM_BARRIER_JOINS_);
		if (tdm_barrier_number_(state) != phase || // another one was faster
		    tdm_cas_weak_relaxed_relaxed_u64(&shm->state, &state, next))
			return TDM_OK;
	}
	return TDM_CORRUPT;
}

TDM_END_DECLS

#endif
