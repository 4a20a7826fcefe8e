// SPDX-License-Identifier: BSD-2-Clause
// A pop that looks only at the first position of what a dead one had claimed.
#ifndef TDM_TESTS_SUPPORT_BROKEN_MPMC_FIRST_OF_BATCH_H
#define TDM_TESTS_SUPPORT_BROKEN_MPMC_FIRST_OF_BATCH_H

#include <tandem/ring/mpmc.h>

tdm_function enum tdm_status broken_mpmc_pop_first_of_batch(struct tdm_mpmc_consumer *consumer,
							    void *elem)
{
	const struct tdm_mpmc_view_ *view = &consumer->view;
	consumer->doubts = 0;
	enum tdm_status status = tdm_mpmc_try_pop(consumer, elem);
	for (uint32_t k = 0; k < view->self->table.seat_count && status == TDM_EMPTY; k++) {
		uint64_t intent = tdm_load_acquire_u64(&view->parts[k].intents[TDM_MPMC_POP_]);
		uint64_t position = intent & TDM_MPMC_POSITION_;
		uint32_t attempt;
		if ((intent & TDM_MPMC_SET_) == 0 || !tdm_mpmc_unreleased_(view, position) ||
		    !tdm_mpmc_adopt_(view, position, &consumer->part->intents[TDM_MPMC_AGAIN_],
				     &attempt))
			continue;
		tdm_atomic_u64 *slot = tdm_mpmc_sequence_(view, position);
		memcpy(elem, TDM_AT_(unsigned char, slot, consumer->offset),
		       TDM_CAST(size_t, consumer->elem_size));
		tdm_store_release_u64(slot, (position + view->mask + 1) & TDM_MPMC_POSITION_);
		status = TDM_OK;
	}
	return status;
}

#endif
