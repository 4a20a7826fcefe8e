// SPDX-License-Identifier: BSD-2-Clause
// A recovery that notes a death with a plain store after a look at the role: who took over in
// between loses it.
#ifndef TDM_TESTS_SUPPORT_BROKEN_SPSC_RECOVER_STORE_H
#define TDM_TESTS_SUPPORT_BROKEN_SPSC_RECOVER_STORE_H

#include <tandem/ring/spsc.h>

static enum tdm_status broken_recover_store(struct tdm_span span,
					    const struct tdm_participant *self)
{
	struct tdm_spsc_shm *shm = TDM_AT_(struct tdm_spsc_shm, span.base, 0);
	uint64_t word = tdm_load_acquire_u64(&shm->producer);
	if (TDM_ROLE_OWNER_(word) != 0 && tdm_owner_dead_(&self->table, word) == TDM_OK)
		tdm_store_release_u64(&shm->producer, TDM_ROLE_DIED_);
	return TDM_OK;
}

#endif
