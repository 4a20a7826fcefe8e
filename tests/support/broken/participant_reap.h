// SPDX-License-Identifier: BSD-2-Clause
// Broken on purpose: who reaps calls the seat clean first and moves it on afterwards. A death in
// between loses the news of the first one. What must be caught: deaths that nobody ever notices.
#ifndef TDM_TESTS_BROKEN_PARTICIPANT_REAP_H
#define TDM_TESTS_BROKEN_PARTICIPANT_REAP_H

#include <tandem/shm/segment.h>

static enum tdm_status broken_reap(struct tdm_segment *segment, uint32_t *reaped)
{
	const struct tdm_table *table = &segment->table;
	int fd = tdm_table_reopen_(table);
	*reaped = 0;
	if (fd < 0)
		return TDM_SYSTEM;
	for (uint32_t index = 0; index < table->seat_count; index++) {
		struct tdm_seat_shm *seat = &table->seats[index];
		if (tdm_load_relaxed_u32(&seat->dirty) == 0 ||
		    tdm_seat_take_kernel_(fd, index) != TDM_OK)
			continue;
		tdm_store_release_u32(&seat->dirty, 0);
		(void)tdm_fetch_add_release_u64(&seat->generation, 1);
		(void)tdm_fetch_add_acq_rel_u64(&table->head->epoch, 1);
		tdm_seat_drop_kernel_(fd, index);
		++*reaped;
	}
	close(fd);
	return TDM_OK;
}

#endif
