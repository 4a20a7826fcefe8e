// SPDX-License-Identifier: BSD-2-Clause
// A role that is claimed with a plain store after a look at it: two who come at the same time both
// get it.
#ifndef TDM_TESTS_SUPPORT_BROKEN_SPSC_CLAIM_STORE_H
#define TDM_TESTS_SUPPORT_BROKEN_SPSC_CLAIM_STORE_H

#include <tandem/ring/spsc.h>

static enum tdm_status broken_claim_store(struct tdm_spsc_producer *producer, struct tdm_span span,
					  uint64_t elem_size, struct tdm_participant *self)
{
	struct tdm_spsc_shm *shm = TDM_AT_(struct tdm_spsc_shm, span.base, 0);
	uint64_t word = tdm_load_acquire_u64(&shm->producer);
	if (TDM_ROLE_OWNER_(word) != 0 && tdm_owner_dead_(&self->table, word) != TDM_OK)
		return TDM_BUSY;
	tdm_store_release_u64(&shm->producer, TDM_ROLE_LEFT_);
	return tdm_spsc_producer_attach(producer, span, elem_size, self);
}

#endif
