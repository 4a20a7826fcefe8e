// SPDX-License-Identifier: BSD-2-Clause
// Broken on purpose: a seat is taken by a flag in shared memory and not by a lock of the kernel's.
// What must be caught: seats that are lost when their holder dies.
#ifndef TDM_TESTS_BROKEN_PARTICIPANT_JOIN_H
#define TDM_TESTS_BROKEN_PARTICIPANT_JOIN_H

#include <tandem/shm/segment.h>

// Sits down where nobody has; answers the seat.
static enum tdm_status broken_join(struct tdm_segment *segment, uint32_t *index)
{
	const struct tdm_table *table = &segment->table;
	for (*index = 0; *index < table->seat_count; ++*index) {
		uint32_t free = 0;
		if (tdm_cas_strong_acq_rel_relaxed_u32(&table->seats[*index].dirty, &free, 1))
			return TDM_OK;
	}
	return TDM_NO_SEATS;
}

#endif
