// SPDX-License-Identifier: BSD-2-Clause
// A pop that stores head before it has copied the element out: who dies in between takes it along.
#ifndef TDM_TESTS_SUPPORT_BROKEN_SPSC_POP_HEAD_FIRST_H
#define TDM_TESTS_SUPPORT_BROKEN_SPSC_POP_HEAD_FIRST_H

#include <tandem/ring/spsc.h>

static enum tdm_status broken_pop_head_first(struct tdm_spsc_consumer *consumer, void *elem)
{
	const struct tdm_slots *geometry = &consumer->geometry;
	uint64_t head = consumer->head;
	enum tdm_status status;
	unsigned char *from =
	    tdm_spsc_ready_(consumer, head, geometry->offset, geometry->stride, &status);
	if (from == TDM_NULL)
		return status;
	tdm_spsc_popped_(consumer, head + 1);
	TDM_SEAM_COPY(elem, from, TDM_CAST(size_t, geometry->elem_size));
	return TDM_OK;
}

#endif
