// SPDX-License-Identifier: BSD-2-Clause
// Condition variables that lose wake-ups, each by one mistake.
#ifndef TDM_TESTS_SUPPORT_BROKEN_CONDVAR_H
#define TDM_TESTS_SUPPORT_BROKEN_CONDVAR_H

#include <tandem/sync/condvar.h>

// Says that it waits when it has unlocked: a signal in between finds nobody.
tdm_function enum tdm_status broken_condvar_announces_late(struct tdm_condvar *condvar,
							   struct tdm_mutex *mutex)
{
	enum tdm_status status = tdm_mutex_unlock(mutex, TDM_NULL);
	if (status != TDM_OK)
		return status;
	uint32_t key =
	    tdm_fetch_or_relaxed_u32(&condvar->word, TDM_CONDVAR_WAITED_) | TDM_CONDVAR_WAITED_;
	(void)tdm_condvar_sleep_(condvar, key, TDM_FOREVER, false);
	return tdm_mutex_lock(mutex, TDM_NULL);
}

// Wakes and counts then: who falls asleep in between sleeps on.
tdm_function void broken_condvar_wakes_first(struct tdm_condvar *condvar)
{
	tdm_futex_wake_(&condvar->word, 1);
	tdm_fetch_add_relaxed_u32(&condvar->word, TDM_CONDVAR_EPOCH_);
}

#endif
