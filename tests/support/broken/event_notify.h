// SPDX-License-Identifier: BSD-2-Clause
// Events that lose wake-ups, each by one mistake.
#ifndef TDM_TESTS_SUPPORT_BROKEN_EVENT_NOTIFY_H
#define TDM_TESTS_SUPPORT_BROKEN_EVENT_NOTIFY_H

#include <tandem/sync/event.h>

// Takes as long as a membarrier and orders nothing. (To leave the membarrier out would leave out
// its time as well, in which a store buffer drains by itself.)
tdm_function void broken_membarrier(void)
{
	uint64_t end = tdm_now_ns() + 1000;
	while (tdm_now_ns() < end)
		continue;
}

// Looks for sleepers first and publishes then: what a compiler may make of it without a fence. The
// yield stands for an interruption between the two.
tdm_inline void broken_look_then_publish(struct tdm_event *event, tdm_atomic_u32 *a, uint32_t v)
{
	uint32_t rmw = tdm_fence_light_();
	uint32_t word = tdm_load_relaxed_u32(&event->word);
	if (v % 16 == 0)
		(void)sched_yield();
	tdm_store_release_u32(a, v);
	if (((word & (TDM_EVENT_ARMED_ | TDM_EVENT_FENCED_)) | rmw) != 0)
		tdm_event_notify_slow_(event, UINT32_MAX);
}

// Only ever looks, although the event is fenced or this process is not registered.
tdm_inline void broken_notify_by_load(struct tdm_event *event)
{
	tdm_compiler_fence();
	if ((tdm_load_relaxed_u32(&event->word) & TDM_EVENT_ARMED_) != 0)
		tdm_event_notify_slow_(event, UINT32_MAX);
}

// Wakes, then disarms. Who comes between the two sleeps on an event that is not armed. The yield
// is such an interruption, which otherwise comes once in many thousand times.
tdm_function void broken_notify_disarm_last(struct tdm_event *event)
{
	uint32_t word = tdm_fetch_or_seq_cst_u32(&event->word, 0);
	if ((word & TDM_EVENT_ARMED_) == 0)
		return;
	tdm_futex_wake_(&event->word, UINT32_MAX);
	if (word / TDM_EVENT_EPOCH_ % 16 == 0)
		(void)sched_yield();
	while (!tdm_cas_weak_acq_rel_acquire_u32(&event->word, &word,
						 (word + TDM_EVENT_EPOCH_) & ~TDM_EVENT_ARMED_))
		continue;
}

// Disarms and, once in 64 times, forgets to wake.
tdm_function void broken_notify_forget(struct tdm_event *event)
{
	uint32_t word = tdm_fetch_or_seq_cst_u32(&event->word, 0);
	do {
		if ((word & TDM_EVENT_ARMED_) == 0)
			return;
	} while (!tdm_cas_weak_acq_rel_acquire_u32(&event->word, &word,
						   (word + TDM_EVENT_EPOCH_) & ~TDM_EVENT_ARMED_));
	if (word / TDM_EVENT_EPOCH_ % 64 != 63)
		tdm_futex_wake_(&event->word, UINT32_MAX);
}

#endif
