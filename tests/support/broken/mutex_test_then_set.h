// SPDX-License-Identifier: BSD-2-Clause
// A mutex that two can hold, because each looks first and takes then; see lock_test_then_set.h.
#ifndef TDM_TESTS_SUPPORT_BROKEN_MUTEX_TEST_THEN_SET_H
#define TDM_TESTS_SUPPORT_BROKEN_MUTEX_TEST_THEN_SET_H

#include <sched.h>

#include <tandem/lock/mutex.h>

tdm_function bool broken_mutex_lock(struct tdm_mutex *mutex, uint64_t deadline_ns)
{
	while (tdm_load_acquire_u64(&mutex->owner) != TDM_OWNER_FREE_) {
		if (tdm_now_ns() >= deadline_ns)
			return false;
		TDM_SEAM_YIELD();
	}
	(void)sched_yield();
	tdm_tsan_locking_(mutex, TDM_TSAN_TRY_);
	tdm_store_relaxed_u64(&mutex->owner, tdm_owner_plain_());
	tdm_tsan_locked_(mutex, TDM_TSAN_TRY_);
	return true;
}

#endif
