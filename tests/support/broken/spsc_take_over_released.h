// SPDX-License-Identifier: BSD-2-Clause
// A take-over that begins where the last consumer had released to, instead of at head: what was
// popped since is delivered twice.
#ifndef TDM_TESTS_SUPPORT_BROKEN_SPSC_TAKE_OVER_RELEASED_H
#define TDM_TESTS_SUPPORT_BROKEN_SPSC_TAKE_OVER_RELEASED_H

#include <tandem/ring/spsc.h>

static enum tdm_status broken_take_over_released(struct tdm_spsc_consumer *consumer,
						 struct tdm_span span, uint64_t elem_size,
						 struct tdm_participant *self)
{
	struct tdm_spsc_shm *shm = TDM_AT_(struct tdm_spsc_shm, span.base, 0);
	uint64_t released = tdm_load_acquire_u64(&shm->released);
	enum tdm_status status = tdm_spsc_consumer_attach(consumer, span, elem_size, self);
	if (status == TDM_OK)
		consumer->head = consumer->peeked = released;
	return status;
}

#endif
