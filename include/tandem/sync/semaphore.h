// SPDX-License-Identifier: BSD-2-Clause
// Semaphores: permits that some post and others wait for.
//
// Choose one to count what there is (free slots, jobs, tokens) where whoever posts need not be the
// one who waited; post also works in signal handlers. With a maximum of 1 it is binary. To protect
// data take lock/mutex.h, which knows its owner; to wait for any other condition, sync/event.h.
//
// struct tdm_semaphore       12 bytes. A newcomer may overtake sleepers: throughput over order.
// struct tdm_semaphore_fair  First come, first served. A waiter without a deadline takes a ticket,
//                            and permits go to tickets in order. One with a deadline does not
//                            queue: it gets a permit only when nobody queues, and so a time-out
//                            leaves no gap and moves nobody.
//
// Both are plain: a permit has no owner, and one that was taken by a process that died since is
// gone.
//
// Progress   post and try_wait are lock-free, at most 2^16 rounds: each one more means that
//            somebody else was served meanwhile. Nobody sleeping, neither makes a system call.
//            wait spins briefly, yields, then sleeps. A post wakes as many sleepers as it has
//            permits, and who was woken wakes the next if there are more.
// Callers    Everything from any thread of any process that maps it for writing; post, post_n,
//            try_wait and value also from signal handlers: they leave errno alone.
//
// Edges
//   E1  value, fair: granted: post's RMW (release) with the RMW or load (acquire) of the one who
//       takes the permit: what was done before the post, and before all earlier ones that the RMWs
//       in between pass on, is visible.
//   Wake-ups: sync/event.h. Who has slept and got a permit arms the event again as a sleeper does,
//   and only then looks for more: a post that came in between is either seen, or sees it armed.
//
// Crashes
//   C1  Death after taking a permit: it is gone. Death in post before its RMW: nothing was posted;
//       after it, before the wake-up: a sleeper finds out at the end of its slice, 100 ms.
//   C2  Death of a sleeper: one wake-up may be lost: 100 ms. Fair: of one that queues: the permit
//       that its ticket is due is gone, too.
//
// Source     Dijkstra, "Cooperating sequential processes" (EWD 123), 1965. Tickets: Reed and
//            Kanodia, "Synchronization with Eventcounts and Sequencers", CACM 22(2), 1979.
//
// Example    Complete in tests/examples/bounded_buffer_semaphores.c
//	tdm_semaphore_wait(&buffer->free);
//	put(buffer, item);
//	if (tdm_semaphore_post(&buffer->filled) != TDM_OK)
//		return; // more than the maximum
#ifndef TDM_SYNC_SEMAPHORE_H
#define TDM_SYNC_SEMAPHORE_H

#include "../base/atomic.h"
#include "../base/backoff.h"
#include "../base/clock.h"
#include "../base/config.h"
#include "../base/status.h"
#include "event.h"

TDM_BEGIN_DECLS

#define TDM_SEMAPHORE_MAX UINT32_C(0x7fffffff)

// Zero-filled memory is one without permits, and with the greatest maximum.
struct tdm_semaphore {
	tdm_atomic_u32 value;    // permits
	struct tdm_event posted; // where waiters sleep
	tdm_atomic_u32 max;      // constant; 0: TDM_SEMAPHORE_MAX
};
TDM_STATIC_ASSERT(sizeof(struct tdm_semaphore) == 12, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_semaphore, posted) == 4, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_semaphore, max) == 8, "layout");

// Makes one with `value` permits, and no more than `max` at any time; 0 stands for the greatest
// maximum. TDM_INVALID: value > max, or max > TDM_SEMAPHORE_MAX.
tdm_nodiscard tdm_function enum tdm_status tdm_semaphore_init(struct tdm_semaphore *semaphore,
							      uint32_t value, uint32_t max)
{
	if (max > TDM_SEMAPHORE_MAX || value > (max != 0 ? max : TDM_SEMAPHORE_MAX))
		return TDM_INVALID;
	tdm_event_init(&semaphore->posted);
	tdm_store_relaxed_u32(&semaphore->max, max);
	tdm_store_relaxed_u32(&semaphore->value, value);
	return TDM_OK;
}

// Permits there are just now.
tdm_function uint32_t tdm_semaphore_value(const struct tdm_semaphore *semaphore)
{
	return tdm_load_relaxed_u32(&semaphore->value);
}

// Takes a permit. False: there is none.
tdm_nodiscard tdm_inline bool tdm_semaphore_try_wait(struct tdm_semaphore *semaphore)
{
	uint32_t value = tdm_load_relaxed_u32(&semaphore->value);
	for (uint32_t i = 0; i < TDM_RETRIES_ && value != 0; i++)
		if (tdm_cas_weak_acquire_relaxed_u32(&semaphore->value, &value, value - 1)) // E1
			return true;
	return false;
}

// What can be waited for: a kind of semaphore.
struct tdm_semaphore_wait_ {
	void *semaphore;
	bool parked; // or was about to
};

tdm_function enum tdm_status tdm_semaphore_idle_(void *context)
{
	TDM_CAST(struct tdm_semaphore_wait_ *, context)->parked = true;
	return TDM_OK;
}

tdm_function enum tdm_status tdm_semaphore_attempt_(void *context)
{
	struct tdm_semaphore_wait_ *wait = TDM_CAST(struct tdm_semaphore_wait_ *, context);
	return tdm_semaphore_try_wait(TDM_CAST(struct tdm_semaphore *, wait->semaphore))
		   ? TDM_OK
		   : TDM_EMPTY;
}

tdm_cold enum tdm_status tdm_semaphore_wait_slow_(struct tdm_semaphore *semaphore,
						  uint64_t deadline_ns)
{
	struct tdm_semaphore_wait_ wait = {semaphore, false};
	struct tdm_patience patience = {0};
	enum tdm_status status =
	    tdm_event_await_one(&semaphore->posted, &patience, deadline_ns, TDM_EMPTY,
				tdm_semaphore_attempt_, tdm_semaphore_idle_, &wait);
	if (wait.parked && status == TDM_OK) {
		(void)tdm_event_prepare(&semaphore->posted);
		if (tdm_semaphore_value(semaphore) != 0)
			tdm_event_notify_one(&semaphore->posted);
	}
	return status;
}

// Takes a permit; waits until the deadline. TDM_TIMED_OUT: it passed; there was a look at least,
// however late. TDM_SYSTEM: the kernel refuses to wait.
tdm_nodiscard tdm_inline enum tdm_status tdm_semaphore_wait_until(struct tdm_semaphore *semaphore,
								  uint64_t deadline_ns)
{
	if (tdm_likely(tdm_semaphore_try_wait(semaphore)))
		return TDM_OK;
	return tdm_semaphore_wait_slow_(semaphore, deadline_ns);
}

// Takes a permit; waits for ever. TDM_OK, or TDM_SYSTEM.
tdm_inline enum tdm_status tdm_semaphore_wait(struct tdm_semaphore *semaphore)
{
	return tdm_semaphore_wait_until(semaphore, TDM_FOREVER);
}

// Adds `count` permits, all or none. TDM_FULL: that would be more than the maximum. TDM_CORRUPT:
// there are more already. TDM_BUSY: 2^16 others came first, one after the other.
tdm_nodiscard tdm_function enum tdm_status tdm_semaphore_post_n(struct tdm_semaphore *semaphore,
								uint32_t count)
{
	uint32_t max = tdm_load_relaxed_u32(&semaphore->max);
	uint32_t value = tdm_load_relaxed_u32(&semaphore->value);
	if (max == 0)
		max = TDM_SEMAPHORE_MAX;
	for (uint32_t i = 0; i < TDM_RETRIES_; i++) {
		if (value > max)
			return TDM_CORRUPT;
		if (count > max - value)
			return TDM_FULL;
		if (tdm_cas_weak_release_relaxed_u32(&semaphore->value, &value,
						     value + count)) { // E1
			tdm_event_notify_(&semaphore->posted, count);
			return TDM_OK;
		}
	}
	return TDM_BUSY;
}

// Adds a permit; as tdm_semaphore_post_n.
tdm_nodiscard tdm_inline enum tdm_status tdm_semaphore_post(struct tdm_semaphore *semaphore)
{
	return tdm_semaphore_post_n(semaphore, 1);
}

// ---------------------------------------------------------------------------------------------
// First come, first served

#define TDM_SEMAPHORE_TURNS_ 8U

// Ticket t has its permit when granted > t, as far as 32 bits that wrap around can tell:
//
//   granted - asked > 0   so many permits are there, and nobody queues
//   otherwise             asked - granted wait in line
//
// Zero-filled memory is one without permits, and with the greatest maximum.
struct tdm_semaphore_fair {
	tdm_atomic_u32 granted;                       // permits since it was made
	tdm_atomic_u32 asked;                         // tickets
	tdm_atomic_u32 max;                           // constant; 0: TDM_SEMAPHORE_MAX
	struct tdm_event spare;                       // where those sleep who do not queue
	struct tdm_event turns[TDM_SEMAPHORE_TURNS_]; // where ticket t does: t % 8
};
TDM_STATIC_ASSERT(sizeof(struct tdm_semaphore_fair) == 48, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_semaphore_fair, asked) == 4, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_semaphore_fair, max) == 8, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_semaphore_fair, spare) == 12, "layout");
TDM_STATIC_ASSERT(offsetof(struct tdm_semaphore_fair, turns) == 16, "layout");

// As tdm_semaphore_init.
tdm_nodiscard tdm_function enum tdm_status
tdm_semaphore_fair_init(struct tdm_semaphore_fair *semaphore, uint32_t value, uint32_t max)
{
	if (max > TDM_SEMAPHORE_MAX || value > (max != 0 ? max : TDM_SEMAPHORE_MAX))
		return TDM_INVALID;
	tdm_event_init(&semaphore->spare);
	for (uint32_t i = 0; i < TDM_SEMAPHORE_TURNS_; i++)
		tdm_event_init(&semaphore->turns[i]);
	tdm_store_relaxed_u32(&semaphore->max, max);
	tdm_store_relaxed_u32(&semaphore->asked, 0);
	tdm_store_relaxed_u32(&semaphore->granted, value);
	return TDM_OK;
}

tdm_inline int32_t tdm_semaphore_fair_balance_(uint32_t granted, uint32_t asked)
{
	return TDM_CAST(int32_t, granted - asked);
}

// Permits there are just now, when nobody queues.
tdm_function uint32_t tdm_semaphore_fair_value(const struct tdm_semaphore_fair *semaphore)
{
	int32_t balance = tdm_semaphore_fair_balance_(tdm_load_relaxed_u32(&semaphore->granted),
						      tdm_load_relaxed_u32(&semaphore->asked));
	return balance > 0 ? TDM_CAST(uint32_t, balance) : 0;
}

// Takes a permit. False: there is none, or others wait for it.
tdm_nodiscard tdm_inline bool tdm_semaphore_fair_try_wait(struct tdm_semaphore_fair *semaphore)
{
	uint32_t asked = tdm_load_relaxed_u32(&semaphore->asked);
	for (uint32_t i = 0; i < TDM_RETRIES_; i++) {
		uint32_t granted = tdm_load_acquire_u32(&semaphore->granted); // E1, pairs with post
		if (tdm_semaphore_fair_balance_(granted, asked) <= 0)
			return false;
		if (tdm_cas_weak_relaxed_relaxed_u32(&semaphore->asked, &asked, asked + 1))
			return true;
	}
	return false;
}

tdm_function enum tdm_status tdm_semaphore_fair_attempt_(void *context)
{
	struct tdm_semaphore_wait_ *wait = TDM_CAST(struct tdm_semaphore_wait_ *, context);
	return tdm_semaphore_fair_try_wait(TDM_CAST(struct tdm_semaphore_fair *, wait->semaphore))
		   ? TDM_OK
		   : TDM_EMPTY;
}

tdm_cold enum tdm_status tdm_semaphore_fair_poll_(struct tdm_semaphore_fair *semaphore,
						  uint64_t deadline_ns)
{
	struct tdm_semaphore_wait_ wait = {semaphore, false};
	struct tdm_patience patience = {0};
	enum tdm_status status =
	    tdm_event_await_one(&semaphore->spare, &patience, deadline_ns, TDM_EMPTY,
				tdm_semaphore_fair_attempt_, tdm_semaphore_idle_, &wait);
	if (wait.parked && status == TDM_OK) {
		(void)tdm_event_prepare(&semaphore->spare);
		if (tdm_semaphore_fair_value(semaphore) != 0)
			tdm_event_notify_one(&semaphore->spare);
	}
	return status;
}

struct tdm_semaphore_turn_ {
	const struct tdm_semaphore_fair *semaphore;
	uint32_t ticket;
};

tdm_function enum tdm_status tdm_semaphore_turn_attempt_(void *context)
{
	const struct tdm_semaphore_turn_ *turn =
	    TDM_CAST(const struct tdm_semaphore_turn_ *, context);
	uint32_t granted = tdm_load_acquire_u32(&turn->semaphore->granted); // E1, pairs with post
	return tdm_semaphore_fair_balance_(granted, turn->ticket) > 0 ? TDM_OK : TDM_EMPTY;
}

// Takes a permit when it is the caller's turn; waits for ever. TDM_OK. TDM_SYSTEM: the kernel
// refuses to wait, and the permit that the caller had asked for is gone.
tdm_inline enum tdm_status tdm_semaphore_fair_wait(struct tdm_semaphore_fair *semaphore)
{
	struct tdm_semaphore_turn_ turn = {semaphore, 0};
	turn.ticket = tdm_fetch_add_relaxed_u32(&semaphore->asked, 1);
	if (tdm_likely(tdm_semaphore_turn_attempt_(&turn) == TDM_OK))
		return TDM_OK;
	struct tdm_patience patience = {0};
	return tdm_event_await(&semaphore->turns[turn.ticket % TDM_SEMAPHORE_TURNS_], &patience,
			       TDM_FOREVER, TDM_EMPTY, tdm_semaphore_turn_attempt_, TDM_NULL,
			       &turn);
}

// Takes a permit if one can be had without queueing, until the deadline. TDM_TIMED_OUT: it passed;
// there was a look at least, however late. TDM_FOREVER: as tdm_semaphore_fair_wait.
tdm_nodiscard tdm_inline enum tdm_status
tdm_semaphore_fair_wait_until(struct tdm_semaphore_fair *semaphore, uint64_t deadline_ns)
{
	if (deadline_ns == TDM_FOREVER)
		return tdm_semaphore_fair_wait(semaphore);
	if (tdm_likely(tdm_semaphore_fair_try_wait(semaphore)))
		return TDM_OK;
	return tdm_semaphore_fair_poll_(semaphore, deadline_ns);
}

// Adds `count` permits, all or none, and gives them to those who queue. TDM_FULL, TDM_BUSY: as
// tdm_semaphore_post_n.
tdm_nodiscard tdm_function enum tdm_status
tdm_semaphore_fair_post_n(struct tdm_semaphore_fair *semaphore, uint32_t count)
{
	uint32_t max = tdm_load_relaxed_u32(&semaphore->max);
	uint32_t granted = tdm_load_relaxed_u32(&semaphore->granted);
	if (max == 0)
		max = TDM_SEMAPHORE_MAX;
	for (uint32_t i = 0; i < TDM_RETRIES_; i++) {
		int64_t balance =
		    tdm_semaphore_fair_balance_(granted, tdm_load_relaxed_u32(&semaphore->asked));
		if (balance > TDM_CAST(int64_t, max) - count)
			return TDM_FULL;
		if (!tdm_cas_weak_release_relaxed_u32(&semaphore->granted, &granted,
						      granted + count)) // E1
			continue;
		for (uint32_t k = 0; k < count && k < TDM_SEMAPHORE_TURNS_; k++)
			tdm_event_notify(&semaphore->turns[(granted + k) % TDM_SEMAPHORE_TURNS_]);
		tdm_event_notify_(&semaphore->spare, count);
		return TDM_OK;
	}
	return TDM_BUSY;
}

// Adds a permit; as tdm_semaphore_fair_post_n.
tdm_nodiscard tdm_inline enum tdm_status
tdm_semaphore_fair_post(struct tdm_semaphore_fair *semaphore)
{
	return tdm_semaphore_fair_post_n(semaphore, 1);
}

TDM_END_DECLS

#endif
