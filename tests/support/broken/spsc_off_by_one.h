// SPDX-License-Identifier: BSD-2-Clause
// A producer that believes in one slot more than there is, and so writes over the oldest element.
#ifndef TDM_TESTS_SUPPORT_BROKEN_SPSC_OFF_BY_ONE_H
#define TDM_TESTS_SUPPORT_BROKEN_SPSC_OFF_BY_ONE_H

#include <tandem/ring/spsc.h>

tdm_function enum tdm_status broken_spsc_off_by_one(struct tdm_spsc_producer *producer,
						    const void *elem)
{
	producer->geometry.capacity = producer->geometry.mask + 2;
	return tdm_spsc_try_push(producer, elem);
}

#endif
