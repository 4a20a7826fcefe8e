// SPDX-License-Identifier: BSD-2-Clause
// A consumer that gives a slot back and then reads it.
#ifndef TDM_TESTS_SUPPORT_BROKEN_MPMC_EARLY_RELEASE_H
#define TDM_TESTS_SUPPORT_BROKEN_MPMC_EARLY_RELEASE_H

#include <sched.h>

#include <tandem/ring/mpmc.h>

tdm_function enum tdm_status broken_mpmc_early_release(struct tdm_mpmc_consumer *consumer,
						       void *elem)
{
	struct tdm_mpmc_shm *shm = consumer->view.shm;
	uint64_t position = tdm_load_relaxed_u64(&shm->head);
	tdm_atomic_u64 *slot = tdm_mpmc_sequence_(&consumer->view, position);
	if (tdm_load_acquire_u64(slot) != position + 1 ||
	    !tdm_cas_strong_release_relaxed_u64(&shm->head, &position, position + 1))
		return TDM_EMPTY;
	tdm_store_release_u64(slot, position + consumer->view.mask + 1);
	tdm_event_notify(&shm->not_full);
	if (position % 64 == 0)
		sched_yield();
	memcpy(elem, TDM_AT_(unsigned char, slot, consumer->offset),
	       TDM_CAST(size_t, consumer->elem_size));
	return TDM_OK;
}

#endif
