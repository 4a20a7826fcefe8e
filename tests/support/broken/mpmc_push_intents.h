// SPDX-License-Identifier: BSD-2-Clause
// Pushes that are careless with their intents. One leaves it there after somebody else has claimed
// the position: if that one dies, the position seems to be a living one's. The other never says
// that it has won: if it dies, a stopped one that was about to claim the same position stands in
// the way of everybody.
#ifndef TDM_TESTS_SUPPORT_BROKEN_MPMC_PUSH_INTENTS_H
#define TDM_TESTS_SUPPORT_BROKEN_MPMC_PUSH_INTENTS_H

#include <tandem/ring/mpmc.h>

tdm_function enum tdm_status broken_mpmc_push_intents(struct tdm_mpmc_producer *producer,
						      const void *elem, bool clears, bool says)
{
	struct tdm_mpmc_shm *shm = producer->view.shm;
	for (;;) {
		uint64_t position = tdm_load_relaxed_u64(&shm->tail);
		tdm_atomic_u64 *slot = tdm_mpmc_sequence_(&producer->view, position);
		if (tdm_load_acquire_u64(slot) != (position & TDM_MPMC_POSITION_))
			return TDM_FULL;
		uint64_t claim = tdm_mpmc_intent_(position, 1);
		tdm_store_release_u64(producer->intent, claim);
		if (tdm_cas_strong_release_relaxed_u64(&shm->tail, &position, position + 1)) {
			if (says)
				tdm_store_release_u64(producer->intent, claim | TDM_MPMC_WON_);
			TDM_SEAM_COPY(TDM_AT_(unsigned char, slot, producer->offset), elem,
				      TDM_CAST(size_t, producer->elem_size));
			tdm_store_release_u64(slot, (position + 1) & TDM_MPMC_POSITION_);
			tdm_event_notify(&shm->not_empty);
			return TDM_OK;
		}
		if (clears)
			tdm_store_release_u64(producer->intent, 0);
	}
}

tdm_function enum tdm_status broken_mpmc_push_keeps_intent(struct tdm_mpmc_producer *producer,
							   const void *elem)
{
	return broken_mpmc_push_intents(producer, elem, false, true);
}

tdm_function enum tdm_status broken_mpmc_push_never_won(struct tdm_mpmc_producer *producer,
							const void *elem)
{
	return broken_mpmc_push_intents(producer, elem, true, false);
}

#endif
