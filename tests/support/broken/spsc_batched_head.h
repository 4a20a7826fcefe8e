// SPDX-License-Identifier: BSD-2-Clause
// A consumer whose position is only stored in batches, as if `released` were all there is: one that
// comes back pops again what it has popped since.
#ifndef TDM_TESTS_SUPPORT_BROKEN_SPSC_BATCHED_HEAD_H
#define TDM_TESTS_SUPPORT_BROKEN_SPSC_BATCHED_HEAD_H

#include <tandem/ring/spsc.h>

tdm_function enum tdm_status broken_spsc_batched_head(struct tdm_spsc_consumer *consumer,
						      void *elem)
{
	if (consumer->head % 64 == 0)
		consumer->head = tdm_load_relaxed_u64(&consumer->shm->released);
	return tdm_spsc_try_pop(consumer, elem);
}

#endif
