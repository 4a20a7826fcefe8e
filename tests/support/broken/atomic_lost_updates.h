// SPDX-License-Identifier: BSD-2-Clause
// fetch-add as a load and a store: what the first lesson of every textbook warns of. An update that
// comes in between is lost. The yield makes room for one even on a single CPU.
#ifndef TDM_TESTS_SUPPORT_BROKEN_ATOMIC_LOST_UPDATES_H
#define TDM_TESTS_SUPPORT_BROKEN_ATOMIC_LOST_UPDATES_H

#include <sched.h>

#include <tandem/atomic.h>

tdm_inline uint64_t broken_fetch_add_u64(tdm_atomic_u64 *a, uint64_t v)
{
	uint64_t old = tdm_load_relaxed_u64(a);
	if (old % 64 == 0)
		sched_yield();
	tdm_store_relaxed_u64(a, old + v);
	return old;
}

#endif
