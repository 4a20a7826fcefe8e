// SPDX-License-Identifier: BSD-2-Clause
// Broken on purpose: who sits down takes the seat's byte first and moves its generation on
// afterwards. What must be caught: the dead one who sat there looks alive again.
#ifndef TDM_TESTS_BROKEN_PARTICIPANT_SEAT_FIRST_H
#define TDM_TESTS_BROKEN_PARTICIPANT_SEAT_FIRST_H

#include <tandem/shm/participant.h>

static enum tdm_status broken_seat_first(const struct tdm_table *table, int fd, uint32_t index,
					 uint64_t *generation)
{
	enum tdm_status status = tdm_seat_open_(fd, index);
	if (status != TDM_OK)
		return status;
	status = TDM_SEAM_SEAT_TAKE(fd, index);
	if (status == TDM_OK)
		*generation = tdm_seat_take_over_(table, index, true);
	TDM_SEAM_SEAT_DROP(fd, TDM_SEAT_DOOR_(index));
	return status;
}

#endif
