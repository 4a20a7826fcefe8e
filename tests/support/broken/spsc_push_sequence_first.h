// SPDX-License-Identifier: BSD-2-Clause
// A push that stores the slot's sequence before the payload: who dies in between leaves a torn
// element behind.
#ifndef TDM_TESTS_SUPPORT_BROKEN_SPSC_PUSH_SEQUENCE_FIRST_H
#define TDM_TESTS_SUPPORT_BROKEN_SPSC_PUSH_SEQUENCE_FIRST_H

#include <tandem/ring/spsc.h>

static enum tdm_status broken_push_sequence_first(struct tdm_spsc_producer *producer,
						  const void *elem)
{
	const struct tdm_slots *geometry = &producer->geometry;
	uint64_t tail = producer->tail;
	enum tdm_status status = tdm_spsc_room_(producer);
	if (status != TDM_OK)
		return status;
	tdm_atomic_u64 *sequence =
	    tdm_slots_sequence_(producer->slots, tail, geometry->mask, geometry->stride);
	tdm_store_release_u64(sequence, tail + 1);
	TDM_SEAM_COPY(TDM_AT_(unsigned char, sequence, geometry->offset), elem,
		      TDM_CAST(size_t, geometry->elem_size));
	producer->tail = tail + 1;
	tdm_event_notify(&producer->shm->not_empty);
	return TDM_OK;
}

#endif
