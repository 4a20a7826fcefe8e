// SPDX-License-Identifier: BSD-2-Clause
// A producer and a consumer that claim a position with a plain store after a look at it: two who
// come at the same time both get it.
#ifndef TDM_TESTS_SUPPORT_BROKEN_MPMC_CLAIM_STORE_H
#define TDM_TESTS_SUPPORT_BROKEN_MPMC_CLAIM_STORE_H

#include <sched.h>

#include <tandem/ring/mpmc.h>

tdm_function enum tdm_status broken_mpmc_push_store(struct tdm_mpmc_producer *producer,
						    const void *elem)
{
	struct tdm_mpmc_shm *shm = producer->view.shm;
	uint64_t position = tdm_load_relaxed_u64(&shm->tail);
	tdm_atomic_u64 *slot = tdm_mpmc_sequence_(&producer->view, position);
	if (tdm_load_acquire_u64(slot) != position)
		return TDM_FULL;
	if (position % 64 == 0)
		sched_yield();
	tdm_store_release_u64(&shm->tail, position + 1);
	memcpy(TDM_AT_(unsigned char, slot, producer->offset), elem,
	       TDM_CAST(size_t, producer->elem_size));
	tdm_store_release_u64(slot, position + 1);
	tdm_event_notify(&shm->not_empty);
	return TDM_OK;
}

tdm_function enum tdm_status broken_mpmc_pop_store(struct tdm_mpmc_consumer *consumer, void *elem)
{
	struct tdm_mpmc_shm *shm = consumer->view.shm;
	uint64_t position = tdm_load_relaxed_u64(&shm->head);
	tdm_atomic_u64 *slot = tdm_mpmc_sequence_(&consumer->view, position);
	if (tdm_load_acquire_u64(slot) != position + 1)
		return TDM_EMPTY;
	if (position % 64 == 0)
		sched_yield();
	tdm_store_release_u64(&shm->head, position + 1);
	memcpy(elem, TDM_AT_(unsigned char, slot, consumer->offset),
	       TDM_CAST(size_t, consumer->elem_size));
	tdm_store_release_u64(slot, position + consumer->view.mask + 1);
	tdm_event_notify(&shm->not_full);
	return TDM_OK;
}

#endif
