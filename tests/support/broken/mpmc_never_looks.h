// SPDX-License-Identifier: BSD-2-Clause
// Operations that never look for what the dead have left behind: it stays there for ever.
#ifndef TDM_TESTS_SUPPORT_BROKEN_MPMC_NEVER_LOOKS_H
#define TDM_TESTS_SUPPORT_BROKEN_MPMC_NEVER_LOOKS_H

#include <tandem/ring/mpmc.h>

tdm_function enum tdm_status broken_mpmc_push_never_looks(struct tdm_mpmc_producer *producer,
							  const void *elem)
{
	producer->doubts = 0;
	return tdm_mpmc_try_push(producer, elem);
}

tdm_function enum tdm_status broken_mpmc_pop_never_looks(struct tdm_mpmc_consumer *consumer,
							 void *elem)
{
	consumer->doubts = 0;
	return tdm_mpmc_try_pop(consumer, elem);
}

#endif
