// SPDX-License-Identifier: BSD-2-Clause
// A pop that takes whoever sits in a seat for the one who stored the intent there.
#ifndef TDM_TESTS_SUPPORT_BROKEN_MPMC_ANY_GENERATION_H
#define TDM_TESTS_SUPPORT_BROKEN_MPMC_ANY_GENERATION_H

#include <tandem/ring/mpmc.h>

tdm_function bool broken_mpmc_skip_any_generation(const struct tdm_mpmc_view_ *view,
						  uint64_t position)
{
	uint64_t free = position & TDM_MPMC_POSITION_;
	tdm_atomic_u64 *sequence = tdm_mpmc_sequence_(view, position);
	uint64_t tail = tdm_load_acquire_u64(&view->shm->tail);
	if (tdm_load_relaxed_u64(sequence) != free || tdm_mpmc_distance_(tail, position) <= 0)
		return false;
	for (uint32_t k = 0; k < view->self->table.seat_count; k++) {
		const struct tdm_table *table = &view->self->table;
		uint64_t intent = tdm_load_acquire_u64(&view->parts[k].intents[TDM_MPMC_PUSH_]);
		uint64_t generation = tdm_load_relaxed_u64(&table->seats[k].generation);
		if (tdm_mpmc_covers_(intent, position) &&
		    tdm_table_dead_(table, k, generation) != TDM_OK)
			return false;
	}
	return tdm_cas_strong_release_relaxed_u64(sequence, &free,
						  (position + view->mask + 1) & TDM_MPMC_POSITION_);
}

tdm_function enum tdm_status broken_mpmc_pop_any_generation(struct tdm_mpmc_consumer *consumer,
							    void *elem)
{
	consumer->doubts = 0;
	enum tdm_status status = tdm_mpmc_try_pop(consumer, elem);
	while (status == TDM_EMPTY &&
	       broken_mpmc_skip_any_generation(&consumer->view,
					       tdm_load_relaxed_u64(&consumer->view.shm->head)))
		status = tdm_mpmc_try_pop(consumer, elem);
	return status;
}

#endif
