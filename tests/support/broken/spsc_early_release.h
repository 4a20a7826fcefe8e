// SPDX-License-Identifier: BSD-2-Clause
// A consumer that gives a slot back and then reads it.
#ifndef TDM_TESTS_SUPPORT_BROKEN_SPSC_EARLY_RELEASE_H
#define TDM_TESTS_SUPPORT_BROKEN_SPSC_EARLY_RELEASE_H

#include <sched.h>

#include <tandem/ring/spsc.h>

tdm_function enum tdm_status broken_spsc_early_release(struct tdm_spsc_consumer *consumer,
						       void *elem)
{
	enum tdm_status status;
	uint64_t head = consumer->head;
	const unsigned char *from = tdm_spsc_ready_(consumer, head, consumer->geometry.offset,
						    consumer->geometry.stride, &status);
	if (from == TDM_NULL)
		return status;
	tdm_spsc_popped_(consumer, head + 1);
	consumer->released = tdm_spsc_tell_(consumer->shm, consumer->head);
	if (head % 64 == 0)
		sched_yield();
	memcpy(elem, from, TDM_CAST(size_t, consumer->geometry.elem_size));
	return TDM_OK;
}

#endif
