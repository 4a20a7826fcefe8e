// SPDX-License-Identifier: BSD-2-Clause
// Operations that say too soon that there is nothing: one that lost the race for its position to
// somebody else, and one that counts with a head from before it looked at the tail. Nothing is
// ever lost, torn or out of order; only the answers are wrong.
#ifndef TDM_TESTS_SUPPORT_BROKEN_MPMC_HASTY_H
#define TDM_TESTS_SUPPORT_BROKEN_MPMC_HASTY_H

#include <sched.h>

#include <tandem/ring/mpmc.h>

tdm_function enum tdm_status broken_mpmc_hasty_pop(struct tdm_mpmc_consumer *consumer, void *elem)
{
	struct tdm_mpmc_shm *shm = consumer->view.shm;
	uint64_t position = tdm_load_relaxed_u64(&shm->head);
	tdm_atomic_u64 *slot = tdm_mpmc_sequence_(&consumer->view, position);
	if (tdm_load_acquire_u64(slot) != position + 1)
		return tdm_mpmc_try_pop(consumer, elem);
	sched_yield();
	if (!tdm_cas_strong_release_relaxed_u64(&shm->head, &position, position + 1))
		return TDM_EMPTY;
	memcpy(elem, TDM_AT_(unsigned char, slot, consumer->offset),
	       TDM_CAST(size_t, consumer->elem_size));
	tdm_store_release_u64(slot, position + consumer->view.mask + 1);
	return TDM_OK;
}

tdm_function enum tdm_status broken_mpmc_hasty_push(struct tdm_mpmc_producer *producer,
						    const void *elem)
{
	struct tdm_mpmc_shm *shm = producer->view.shm;
	uint64_t head = tdm_load_acquire_u64(&shm->head);
	for (unsigned i = 0; i < 4; i++)
		sched_yield();
	uint64_t tail = tdm_load_acquire_u64(&shm->tail);
	return tail - head > producer->view.mask ? TDM_FULL : tdm_mpmc_try_push(producer, elem);
}

#endif
