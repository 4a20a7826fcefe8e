// SPDX-License-Identifier: BSD-2-Clause
// A lock that is taken over from the dead with a store: two may find the same one dead.
#ifndef TDM_TESTS_SUPPORT_BROKEN_OWNER_TAKE_OVER_H
#define TDM_TESTS_SUPPORT_BROKEN_OWNER_TAKE_OVER_H

#include <tandem/lock/owner.h>

tdm_function enum tdm_status broken_take_over(tdm_atomic_u64 *word, uint64_t mine,
					      const struct tdm_participant *self)
{
	uint64_t seen = tdm_load_relaxed_u64(word);
	if (seen == TDM_OWNER_FREE_)
		return tdm_owner_claim_(word, mine) ? TDM_OK : TDM_BUSY;
	if (tdm_owner_dead_(&self->table, seen & ~TDM_OWNER_STATE_MASK_) != TDM_OK)
		return TDM_BUSY;
	tdm_store_relaxed_u64(word, mine | TDM_OWNER_INCONSISTENT_);
	return TDM_OWNER_DIED;
}

#endif
