// SPDX-License-Identifier: BSD-2-Clause
// An event (eventcount): turns any non-blocking operation into a blocking one.
//
// Choose it when you have a condition in shared memory that one side makes true with a store and
// another wants to sleep for. It costs the waking side one load and one predictable branch while
// nobody sleeps: no fence, no read-modify-write, no system call. The rings and locks of this
// library wait through it, and through nothing else.
//
// Progress   tdm_event_notify is wait-free while nobody is parked; otherwise lock-free (at most
//            2^16 retries, then it wakes all the same) and one system call. Waiting blocks, 100 ms
//            at most a time; the caller checks its condition again after each.
// Callers    Everything from any thread of any process that maps the event for writing.
//            tdm_event_notify also from a signal handler.
// Memory     Zero-filled memory is a valid event. Wake-ups coalesce, and none is lost.
//
// Edges
//   E1  The waker's RMW of the event word (release), after its publishing store, with the waiter's
//       arming RMW (acquire), before its last look. Of two RMWs of one word the later one reads
//       what the earlier one wrote: either the waiter sees what was published, or the waker sees
//       the event armed. The CAS that disarms is in the release sequence of the same waker's RMW
//       and needs no order of its own. Without FENCED a registered waker only looks, and the
//       waiter's membarrier stands for its RMW (base/fence.h).
//
// Crashes
//   C1  A waker dies between its publishing store and the wake-up: a sleeper finds out at the end
//       of its slice, 100 ms later at most.
//   C2  A waiter dies while the event is armed: the next notify makes one system call for nobody
//       and clears the bit. There is no counter of waiters that could stay wrong.
//   C3  The one whom notify_one woke dies before it passes that on: as C1.
//
// Source     Eventcounts: Reed and Kanodia, "Synchronization with Eventcounts and Sequencers",
//            CACM 22(2), 1979. The asymmetric fence: Dice, Huang and Yang, "Asymmetric Dekker
//            Synchronization", 2001; Linux membarrier(2).
//
// Example
//	// waker
//	tdm_store_release_u32(&flag, 1);
//	tdm_event_notify(&event);
//
//	// waiter
//	while (!tdm_load_acquire_u32(&flag)) {
//		uint32_t key = tdm_event_prepare(&event);
//		if (tdm_load_acquire_u32(&flag))
//			break;
//		if (tdm_event_wait_until(&event, key, deadline_ns) != TDM_OK)
//			break; // the deadline passed
//	}
// tdm_event_await runs that loop with spinning before it; tests/examples/event.c is complete.
#ifndef TDM_SYNC_EVENT_H
#define TDM_SYNC_EVENT_H

#include "../base/atomic.h"
#include "../base/backoff.h"
#include "../base/clock.h"
#include "../base/config.h"
#include "../base/fence.h"
#include "../base/futex.h"
#include "../base/status.h"

TDM_BEGIN_DECLS

// The word:  epoch << 2 | FENCED << 1 | ARMED
//
//   ARMED   somebody sleeps or is about to. Set by waiters, cleared by the waker *before* it wakes:
//           clearing it afterwards would leave a waiter that came in between asleep and unarmed.
//   FENCED  fixed when the event is made: both sides use read-modify-writes.
//   epoch   one more for each wake-up, so that a sleeper-to-be whose key is old does not sleep.
#define TDM_EVENT_ARMED_ 1U
#define TDM_EVENT_FENCED_ 2U
#define TDM_EVENT_EPOCH_ 4U

#define TDM_EVENT_SLICE_NS_ UINT64_C(100000000)
#define TDM_EVENT_POLL_NS_ UINT64_C(1000000)
#define TDM_RETRIES_ 65536U

// Four bytes. They belong on a line of their own, or beside what the waker writes anyway.
struct tdm_event {
	tdm_atomic_u32 word;
};
TDM_STATIC_ASSERT(sizeof(struct tdm_event) == 4, "layout");

// Set once this process was refused the waiter's membarrier: from then on it sleeps in short
// slices. For ever, because a thread may be on its way to sleep without one.
TDM_PROCESS_WIDE tdm_atomic_u32 tdm_event_poll_;

// Makes an event. Only needed where membarrier may be missing or a checker looks on; zero-filled
// memory is an event, too.
tdm_function void tdm_event_init(struct tdm_event *event)
{
	bool fenced = TDM_SEAM_FENCED || tdm_fence_register_() != TDM_FENCE_REGISTERED_;
	tdm_store_relaxed_u32(&event->word, fenced ? TDM_EVENT_FENCED_ : 0);
}

tdm_cold void tdm_event_notify_slow_(struct tdm_event *event, uint32_t sleepers)
{
	(void)tdm_fence_register_();
	uint32_t word = tdm_fetch_or_release_u32(&event->word, 0); // E1, pairs with prepare
	for (uint32_t i = 0; i < TDM_RETRIES_; i++) {
		if ((word & TDM_EVENT_ARMED_) == 0)
			return;
		uint32_t next = (word + TDM_EVENT_EPOCH_) & ~TDM_EVENT_ARMED_;
		if (tdm_cas_weak_relaxed_relaxed_u32(&event->word, &word, next))
			break;
	}
	tdm_futex_wake_(&event->word, sleepers);
}

tdm_inline void tdm_event_notify_(struct tdm_event *event, uint32_t sleepers)
{
	uint32_t rmw = tdm_fence_light_();
	uint32_t word = tdm_load_relaxed_u32(&event->word);
	if (tdm_unlikely(((word & (TDM_EVENT_ARMED_ | TDM_EVENT_FENCED_)) | rmw) != 0))
		tdm_event_notify_slow_(event, sleepers);
}

// Wakes everybody who is parked. Call it after the store that makes their condition true. The
// first call in a process may make one system call more, to register for membarrier.
tdm_inline void tdm_event_notify(struct tdm_event *event)
{
	tdm_event_notify_(event, UINT32_MAX);
}

// The same, but wakes one, and nobody else until that one has parked again or got what it wanted.
// For waiters in tdm_event_await_one.
tdm_inline void tdm_event_notify_one(struct tdm_event *event)
{
	tdm_event_notify_(event, 1);
}

// Announces that the caller is about to sleep. It must check its condition once more after this,
// and only then may it wait with the key returned. Needs no undoing.
tdm_function uint32_t tdm_event_prepare(struct tdm_event *event)
{
	// E1, pairs with notify
	uint32_t key = tdm_fetch_or_acquire_u32(&event->word, TDM_EVENT_ARMED_);
	if ((key & TDM_EVENT_FENCED_) == 0 && !tdm_fence_heavy_())
		tdm_store_relaxed_u32(&tdm_event_poll_, 1);
	return key | TDM_EVENT_ARMED_;
}

// Sleeps until a notify that came after the key was made, a slice at most. TDM_OK: check the
// condition again. TDM_TIMED_OUT: the deadline has passed. TDM_SYSTEM: the kernel refused to wait.
tdm_nodiscard tdm_function enum tdm_status tdm_event_wait_until(struct tdm_event *event,
								uint32_t key, uint64_t deadline_ns)
{
	uint64_t now = tdm_now_ns();
	if (now >= deadline_ns)
		return TDM_TIMED_OUT;
	bool polls = tdm_load_relaxed_u32(&tdm_event_poll_) != 0 && (key & TDM_EVENT_FENCED_) == 0;
	uint64_t slice = polls ? TDM_EVENT_POLL_NS_ : TDM_EVENT_SLICE_NS_;
	bool last = deadline_ns - now <= slice;
	enum tdm_status status =
	    tdm_futex_wait_(&event->word, key, last ? deadline_ns : now + slice);
	return status == TDM_TIMED_OUT && !last ? TDM_OK : status;
}

// A wait ends with `end`, unless the condition has come true meanwhile. Keeps errno for TDM_SYSTEM.
tdm_cold enum tdm_status tdm_event_last_attempt_(enum tdm_status end, enum tdm_status again,
						 enum tdm_status (*attempt)(void *context),
						 void *context)
{
	int saved = errno;
	enum tdm_status status = attempt(context);
	if (status != again)
		return status;
	errno = saved;
	return end;
}

// Waits until attempt(context) answers something else than `again`, and returns that. Spins,
// yields, then parks. Before each park, idle(context) may end the wait with a status of its own
// (the other side has died): the attempt is then made once more and goes first. `idle` may be
// NULL. TDM_TIMED_OUT: the deadline passed; the attempt was made at least once, also after it.
tdm_nodiscard tdm_function enum tdm_status
tdm_event_await(struct tdm_event *event, struct tdm_patience *patience, uint64_t deadline_ns,
		enum tdm_status again, enum tdm_status (*attempt)(void *context),
		enum tdm_status (*idle)(void *context), void *context)
{
	for (;;) {
		struct tdm_backoff backoff = {0};
		enum tdm_status status;
		do {
			status = attempt(context);
			if (status != again)
				return status;
			if (backoff.step == 0 && deadline_ns != TDM_FOREVER &&
			    tdm_now_ns() >= deadline_ns)
				return tdm_event_last_attempt_(TDM_TIMED_OUT, again, attempt,
							       context);
		} while (tdm_backoff_once(&backoff, patience));

		uint64_t parked_at = tdm_now_ns();
		uint32_t key = tdm_event_prepare(event);
		enum tdm_status end = idle != TDM_NULL ? idle(context) : TDM_OK;
		status = attempt(context);
		if (status != again)
			return status;
		if (end == TDM_OK)
			end = tdm_event_wait_until(event, key, deadline_ns);
		if (end != TDM_OK)
			return tdm_event_last_attempt_(end, again, attempt, context);
		tdm_patience_learn_(patience, tdm_now_ns() - parked_at);
	}
}

struct tdm_event_one_ {
	enum tdm_status (*attempt)(void *context);
	enum tdm_status (*idle)(void *context);
	void *context;
	bool parked; // or was about to
};

tdm_function enum tdm_status tdm_event_one_attempt_(void *context)
{
	const struct tdm_event_one_ *one = TDM_CAST(const struct tdm_event_one_ *, context);
	return one->attempt(one->context);
}

tdm_function enum tdm_status tdm_event_one_idle_(void *context)
{
	struct tdm_event_one_ *one = TDM_CAST(struct tdm_event_one_ *, context);
	one->parked = true;
	return one->idle != TDM_NULL ? one->idle(one->context) : TDM_OK;
}

// As tdm_event_await, for a condition that a waiter takes away when it finds it true, as a lock is
// taken, so that tdm_event_notify_one is enough. TDM_OK and TDM_OWNER_DIED from `attempt` mean that
// it did. Others may sleep on unarmed behind one who was woken: that one arms the event again once
// it has taken the condition, for only whoever has taken it can make it true again; if it gives
// up, it wakes the next. Where others may make it true meanwhile (a semaphore), the caller looks at
// it once more after a success and notifies.
tdm_nodiscard tdm_function enum tdm_status
tdm_event_await_one(struct tdm_event *event, struct tdm_patience *patience, uint64_t deadline_ns,
		    enum tdm_status again, enum tdm_status (*attempt)(void *context),
		    enum tdm_status (*idle)(void *context), void *context)
{
	struct tdm_event_one_ one = {attempt, idle, context, false};
	enum tdm_status status = tdm_event_await(event, patience, deadline_ns, again,
						 tdm_event_one_attempt_, tdm_event_one_idle_, &one);
	if (one.parked && (status == TDM_OK || status == TDM_OWNER_DIED)) {
		tdm_fetch_or_relaxed_u32(&event->word, TDM_EVENT_ARMED_);
	} else if (one.parked) {
		int saved = errno;
		tdm_futex_wake_(&event->word, 1);
		errno = saved;
	}
	return status;
}

TDM_END_DECLS

#endif
