// SPDX-License-Identifier: BSD-2-Clause
// Robust readers-writer locks, each with one mistake.
#ifndef TDM_TESTS_SUPPORT_BROKEN_ROBUST_RW_H
#define TDM_TESTS_SUPPORT_BROKEN_ROBUST_RW_H

#include <tandem/lock/robust_rw.h>

// Raises the flag by a store that need not be seen before the gate is looked at.
static inline uint64_t broken_robust_rw_enter(struct tdm_robust_rw *rw,
					      const struct tdm_participant *self)
{
	struct tdm_robust_rw_seat *seat = tdm_robust_rw_seat_(rw, self->index);
	tdm_store_release_u64(&seat->flag, tdm_robust_rw_name_(self) | 1);
	return tdm_load_seq_cst_u64(&rw->gate);
}

// Ends writing before it says that there is nothing to repair any more.
static inline void broken_robust_rw_late_outside(struct tdm_robust_rw *rw)
{
	tdm_robust_rw_open_gate_(rw);
	tdm_store_release_u64(&rw->owner, TDM_OWNER_FREE_);
	tdm_event_notify_one(&rw->freed);
	tdm_store_relaxed_u32(&rw->inside, 0);
}

// Says that it is inside before the readers have left.
static inline void broken_robust_rw_early_inside(struct tdm_robust_rw *rw,
						 const struct tdm_participant *self)
{
	struct tdm_robust_rw_wait_ wait = tdm_robust_rw_wait_for_(rw, self);
	if (!tdm_owner_claim_(&rw->owner, wait.mine))
		return;
	tdm_store_relaxed_u32(&rw->inside, 1);
	if (tdm_robust_rw_come_in_(&wait, true, TDM_FOREVER) == TDM_OK)
		(void)tdm_robust_rw_write_unlock(rw, self);
}

// Clears whatever flag is there, once the one that it saw is a dead one's.
static inline enum tdm_status
broken_robust_rw_clear(struct tdm_robust_rw *rw, const struct tdm_participant *self, uint32_t index)
{
	struct tdm_robust_rw_seat *seat = tdm_robust_rw_seat_(rw, index);
	uint64_t flag = tdm_load_seq_cst_u64(&seat->flag);
	if (flag == 0 || tdm_table_dead_(&self->table, index, flag >> 16) != TDM_OK)
		return TDM_BUSY;
	tdm_store_relaxed_u64(&seat->flag, 0);
	return TDM_OK;
}

#endif
