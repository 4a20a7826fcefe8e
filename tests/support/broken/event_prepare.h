// SPDX-License-Identifier: BSD-2-Clause
// Waiters that sleep through a wake-up, each by one mistake.
#ifndef TDM_TESTS_SUPPORT_BROKEN_EVENT_PREPARE_H
#define TDM_TESTS_SUPPORT_BROKEN_EVENT_PREPARE_H

#include <tandem/sync/event.h>

// Arms the event and leaves out the heavy half of the fence.
tdm_function uint32_t broken_prepare_without_fence(struct tdm_event *event)
{
	return tdm_fetch_or_seq_cst_u32(&event->word, TDM_EVENT_ARMED_) | TDM_EVENT_ARMED_;
}

// Takes a refused membarrier for one that was done, and so sleeps for ordinary slices.
tdm_function uint32_t broken_prepare_unrefused(struct tdm_event *event)
{
	uint32_t key = tdm_fetch_or_seq_cst_u32(&event->word, TDM_EVENT_ARMED_);
	(void)tdm_fence_heavy_();
	return key | TDM_EVENT_ARMED_;
}

#endif
