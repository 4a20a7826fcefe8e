// SPDX-License-Identifier: BSD-2-Clause
// Semaphores that lose permits or wake-ups, each by one mistake.
#ifndef TDM_TESTS_SUPPORT_BROKEN_SEMAPHORE_H
#define TDM_TESTS_SUPPORT_BROKEN_SEMAPHORE_H

#include <tandem/sync/semaphore.h>

// Woken for one permit, it does not look for another one that came before it was ready to be woken
// again.
tdm_function enum tdm_status broken_semaphore_wait(struct tdm_semaphore *semaphore)
{
	struct tdm_semaphore_wait_ wait = {semaphore, false};
	struct tdm_patience patience = {0};
	return tdm_event_await_one(&semaphore->posted, &patience, TDM_FOREVER, TDM_EMPTY,
				   tdm_semaphore_attempt_, tdm_semaphore_idle_, &wait);
}

// Two may take one permit.
tdm_function bool broken_semaphore_try_wait(struct tdm_semaphore *semaphore)
{
	uint32_t value = tdm_load_acquire_u32(&semaphore->value);
	if (value == 0)
		return false;
	tdm_store_relaxed_u32(&semaphore->value, value - 1);
	return true;
}

// Publishes nothing of what was done before.
tdm_function void broken_semaphore_post(struct tdm_semaphore *semaphore)
{
	tdm_fetch_add_relaxed_u32(&semaphore->value, 1);
	tdm_event_notify_one(&semaphore->posted);
}

// Always wakes the first turn, whoever's it is.
tdm_function void broken_semaphore_fair_post(struct tdm_semaphore_fair *semaphore)
{
	tdm_fetch_add_release_u32(&semaphore->granted, 1);
	tdm_event_notify(&semaphore->turns[0]);
}

// Queues with a deadline, and leaves its ticket behind.
tdm_function enum tdm_status broken_semaphore_fair_wait_until(struct tdm_semaphore_fair *semaphore,
							      uint64_t deadline_ns)
{
	struct tdm_semaphore_turn_ turn = {semaphore,
					   tdm_fetch_add_relaxed_u32(&semaphore->asked, 1)};
	struct tdm_patience patience = {0};
	return tdm_event_await(&semaphore->turns[turn.ticket % TDM_SEMAPHORE_TURNS_], &patience,
			       deadline_ns, TDM_EMPTY, tdm_semaphore_turn_attempt_, TDM_NULL,
			       &turn);
}

#endif
