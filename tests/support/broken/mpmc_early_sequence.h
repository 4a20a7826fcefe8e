// SPDX-License-Identifier: BSD-2-Clause
// A producer that says an element is there and then puts it there.
#ifndef TDM_TESTS_SUPPORT_BROKEN_MPMC_EARLY_SEQUENCE_H
#define TDM_TESTS_SUPPORT_BROKEN_MPMC_EARLY_SEQUENCE_H

#include <sched.h>

#include <tandem/ring/mpmc.h>

tdm_function enum tdm_status broken_mpmc_early_sequence(struct tdm_mpmc_producer *producer,
							const void *elem)
{
	struct tdm_mpmc_shm *shm = producer->view.shm;
	uint64_t position = tdm_load_relaxed_u64(&shm->tail);
	tdm_atomic_u64 *slot = tdm_mpmc_sequence_(&producer->view, position);
	if (tdm_load_acquire_u64(slot) != position ||
	    !tdm_cas_strong_release_relaxed_u64(&shm->tail, &position, position + 1))
		return TDM_FULL;
	tdm_store_release_u64(slot, position + 1);
	tdm_event_notify(&shm->not_empty);
	if (position % 64 == 0)
		sched_yield();
	memcpy(TDM_AT_(unsigned char, slot, producer->offset), elem,
	       TDM_CAST(size_t, producer->elem_size));
	return TDM_OK;
}

#endif
