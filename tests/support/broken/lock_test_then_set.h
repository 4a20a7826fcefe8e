// SPDX-License-Identifier: BSD-2-Clause
// Locks that two can hold, because each looks first and takes then. False: not free until the
// deadline, maybe for ever, for such a lock also breaks. The yield stands for an interruption
// between the two, which otherwise comes once in many thousand times.
#ifndef TDM_TESTS_SUPPORT_BROKEN_LOCK_TEST_THEN_SET_H
#define TDM_TESTS_SUPPORT_BROKEN_LOCK_TEST_THEN_SET_H

#include <sched.h>

#include <tandem/lock/spin.h>
#include <tandem/lock/ticket.h>

tdm_function bool broken_spin_lock(struct tdm_spin *spin, uint64_t deadline_ns)
{
	while (tdm_load_acquire_u32(&spin->word) != 0) {
		if (tdm_now_ns() >= deadline_ns)
			return false;
		TDM_SEAM_YIELD();
	}
	(void)sched_yield();
	tdm_tsan_locking_(spin, TDM_TSAN_TRY_);
	tdm_store_relaxed_u32(&spin->word, tdm_spin_mine_());
	tdm_tsan_locked_(spin, TDM_TSAN_TRY_);
	return true;
}

tdm_function bool broken_ticket_lock(struct tdm_ticket *ticket, uint64_t deadline_ns)
{
	while (tdm_load_acquire_u32(&ticket->serving) != tdm_load_relaxed_u32(&ticket->next)) {
		if (tdm_now_ns() >= deadline_ns)
			return false;
		TDM_SEAM_YIELD();
	}
	(void)sched_yield();
	tdm_tsan_locking_(ticket, TDM_TSAN_TRY_);
	tdm_fetch_add_relaxed_u32(&ticket->next, 1);
	tdm_ticket_own_(ticket);
	tdm_tsan_locked_(ticket, TDM_TSAN_TRY_);
	return true;
}

#endif
