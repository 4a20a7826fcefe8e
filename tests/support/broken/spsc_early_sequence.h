// SPDX-License-Identifier: BSD-2-Clause
// A producer that says an element is there and then puts it there.
#ifndef TDM_TESTS_SUPPORT_BROKEN_SPSC_EARLY_SEQUENCE_H
#define TDM_TESTS_SUPPORT_BROKEN_SPSC_EARLY_SEQUENCE_H

#include <sched.h>

#include <tandem/ring/spsc.h>

tdm_function enum tdm_status broken_spsc_early_sequence(struct tdm_spsc_producer *producer,
							const void *elem)
{
	enum tdm_status status = tdm_spsc_room_(producer);
	if (status != TDM_OK)
		return status;
	uint64_t tail = producer->tail;
	tdm_atomic_u64 *sequence = tdm_slots_sequence_(
	    producer->slots, tail, producer->geometry.mask, producer->geometry.stride);
	tdm_store_release_u64(sequence, tail + 1);
	tdm_event_notify(&producer->shm->not_empty);
	if (tail % 64 == 0)
		sched_yield();
	memcpy(TDM_AT_(unsigned char, sequence, producer->geometry.offset), elem,
	       TDM_CAST(size_t, producer->geometry.elem_size));
	producer->tail = tail + 1;
	return TDM_OK;
}

#endif
