// SPDX-License-Identifier: BSD-2-Clause
// Robust ticket locks that lose somebody in the queue: one forgets that somebody queues without
// looking again, one gives up its place without waking who comes after it. And one that two can
// hold, because it looks first and takes then; false: not free until the deadline.
#ifndef TDM_TESTS_SUPPORT_BROKEN_ROBUST_TICKET_H
#define TDM_TESTS_SUPPORT_BROKEN_ROBUST_TICKET_H

#include <sched.h>

#include <tandem/lock/robust_ticket.h>

tdm_function void broken_robust_ticket_unlock(struct tdm_robust_ticket *lock,
					      struct tdm_participant *self)
{
	uint64_t mine = tdm_owner_of_(self);
	if (tdm_robust_ticket_lowest_(lock, self, UINT64_MAX).ticket == 0) {
		(void)tdm_fetch_and_acquire_u64(&lock->owner, ~TDM_ROBUST_TICKET_QUEUED_);
		if (tdm_cas_strong_release_relaxed_u64(&lock->owner, &mine, TDM_OWNER_FREE_))
			return;
	}
	(void)tdm_exchange_acq_rel_u64(&lock->owner, TDM_ROBUST_TICKET_QUEUED_);
	(void)tdm_robust_ticket_wake_(lock, self);
}

tdm_function enum tdm_status broken_robust_ticket_lock_until(struct tdm_robust_ticket *lock,
							     struct tdm_participant *self,
							     uint64_t deadline_ns)
{
	struct tdm_robust_ticket_seat *seat = tdm_robust_ticket_seat_(lock, self->index);
	struct tdm_robust_ticket_wait_ wait = {lock, self, tdm_owner_of_(self), 0, false};
	struct tdm_patience patience = {0};
	tdm_store_relaxed_u32(&lock->used, self->table.seat_count);
	tdm_store_relaxed_u64(&seat->generation, self->generation);
	wait.ticket = tdm_fetch_add_relaxed_u64(&lock->drawn, 1) + 1;
	tdm_store_release_u64(&seat->ticket, wait.ticket);
	tdm_fetch_or_release_u64(&lock->owner, TDM_ROBUST_TICKET_QUEUED_);
	enum tdm_status status =
	    tdm_event_await(&seat->turn, &patience, deadline_ns, TDM_BUSY,
			    tdm_robust_ticket_attempt_, tdm_robust_ticket_idle_, &wait);
	tdm_store_relaxed_u64(&seat->ticket, 0);
	return status;
}

tdm_function bool broken_robust_ticket_lock(struct tdm_robust_ticket *lock,
					    const struct tdm_participant *self,
					    uint64_t deadline_ns)
{
	while (tdm_load_acquire_u64(&lock->owner) != TDM_OWNER_FREE_) {
		if (tdm_now_ns() >= deadline_ns)
			return false;
		TDM_SEAM_YIELD();
	}
	(void)sched_yield();
	tdm_tsan_locking_(lock, TDM_TSAN_TRY_);
	tdm_store_relaxed_u64(&lock->owner, tdm_owner_of_(self));
	tdm_tsan_locked_(lock, TDM_TSAN_TRY_);
	return true;
}

#endif
