// SPDX-License-Identifier: BSD-2-Clause
// A recovery that gives the dead one's role back before it notes the death: who dies in between
// leaves a role that looks as if its holder had left. Only a second death shows it.
#ifndef TDM_TESTS_SUPPORT_BROKEN_SPSC_RECOVER_FORGETS_H
#define TDM_TESTS_SUPPORT_BROKEN_SPSC_RECOVER_FORGETS_H

#include <tandem/ring/spsc.h>

static enum tdm_status broken_recover_forgets(struct tdm_span span,
					      const struct tdm_participant *self)
{
	struct tdm_spsc_shm *shm = TDM_AT_(struct tdm_spsc_shm, span.base, 0);
	uint64_t word = tdm_load_acquire_u64(&shm->producer);
	if (TDM_ROLE_OWNER_(word) == 0 || tdm_owner_dead_(&self->table, word) != TDM_OK)
		return TDM_OK;
	if (!tdm_cas_strong_acq_rel_relaxed_u64(&shm->producer, &word, TDM_ROLE_LEFT_))
		return TDM_OK;
	word = TDM_ROLE_LEFT_;
	(void)tdm_cas_strong_acq_rel_relaxed_u64(&shm->producer, &word, TDM_ROLE_DIED_);
	return TDM_OK;
}

#endif
