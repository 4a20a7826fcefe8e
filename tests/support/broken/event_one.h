// SPDX-License-Identifier: BSD-2-Clause
// Waiters of tdm_event_notify_one that leave others asleep, each by one mistake.
#ifndef TDM_TESTS_SUPPORT_BROKEN_EVENT_ONE_H
#define TDM_TESTS_SUPPORT_BROKEN_EVENT_ONE_H

#include <tandem/sync/event.h>

// Who was woken takes what it wanted, and does not arm the event again for those behind it.
tdm_function enum tdm_status broken_await_one_unarmed(struct tdm_event *event,
						      struct tdm_patience *patience,
						      uint64_t deadline_ns, enum tdm_status again,
						      enum tdm_status (*attempt)(void *context),
						      enum tdm_status (*idle)(void *context),
						      void *context)
{
	struct tdm_event_one_ one = {attempt, idle, context, false};
	enum tdm_status status = tdm_event_await(event, patience, deadline_ns, again,
						 tdm_event_one_attempt_, tdm_event_one_idle_, &one);
	if (one.parked && status != TDM_OK)
		tdm_futex_wake_(&event->word, 1);
	return status;
}

// Who was woken and gives up keeps that to itself.
tdm_function enum tdm_status broken_await_one_selfish(struct tdm_event *event,
						      struct tdm_patience *patience,
						      uint64_t deadline_ns, enum tdm_status again,
						      enum tdm_status (*attempt)(void *context),
						      enum tdm_status (*idle)(void *context),
						      void *context)
{
	struct tdm_event_one_ one = {attempt, idle, context, false};
	enum tdm_status status = tdm_event_await(event, patience, deadline_ns, again,
						 tdm_event_one_attempt_, tdm_event_one_idle_, &one);
	if (one.parked && status == TDM_OK)
		tdm_fetch_or_relaxed_u32(&event->word, TDM_EVENT_ARMED_);
	return status;
}

#endif
