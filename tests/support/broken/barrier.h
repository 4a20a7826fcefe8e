// SPDX-License-Identifier: BSD-2-Clause
// Barriers that let parties through too early, or never, each by one mistake.
#ifndef TDM_TESTS_SUPPORT_BROKEN_BARRIER_H
#define TDM_TESTS_SUPPORT_BROKEN_BARRIER_H

#include <tandem/sync/barrier.h>

// Counts by a load and a store: two arrivals can be one.
tdm_function enum tdm_status broken_barrier_wait(struct tdm_barrier *barrier)
{
	struct tdm_patience patience = {0};
	uint64_t state = tdm_load_acquire_u64(&barrier->state);
	struct tdm_barrier_wait_ wait = {barrier, tdm_barrier_phase_(state)};
	if ((state & TDM_BARRIER_INSIDE_) + 1 == tdm_load_relaxed_u32(&barrier->parties)) {
		tdm_store_release_u64(&barrier->state, TDM_CAST(uint64_t, wait.phase + 1U) << 32);
		tdm_event_notify(&barrier->changed);
		return TDM_OK;
	}
	tdm_store_release_u64(&barrier->state, state + 1);
	return tdm_event_await(&barrier->changed, &patience, TDM_FOREVER, TDM_BUSY,
			       tdm_barrier_attempt_, TDM_NULL, &wait);
}

// Goes at its deadline without a word: the others wait for the next phase with one too few.
tdm_function enum tdm_status broken_barrier_wait_until(struct tdm_barrier *barrier,
						       uint64_t deadline_ns)
{
	struct tdm_patience patience = {0};
	uint64_t state = tdm_fetch_add_acq_rel_u64(&barrier->state, 1);
	struct tdm_barrier_wait_ wait = {barrier, tdm_barrier_phase_(state)};
	return tdm_event_await(&barrier->changed, &patience, deadline_ns, TDM_BUSY,
			       tdm_barrier_attempt_, TDM_NULL, &wait);
}

// Resets without waiting for those who have not noticed.
tdm_function void broken_barrier_reset(struct tdm_barrier *barrier)
{
	tdm_fetch_and_release_u64(&barrier->state, ~UINT64_C(0) << 32);
}

// Robust: looks at the others' words without the read-modify-write before it.
tdm_function enum tdm_status broken_barrier_party_wait(struct tdm_barrier_party *party)
{
	bool serial;
	uint64_t phase = tdm_barrier_number_(tdm_load_acquire_u64(&party->shm->state));
	tdm_store_release_u64(&party->words[party->self->index],
			      tdm_barrier_word_(party, phase + 1));
	struct tdm_barrier_stay_ stay = {party, phase, false, false};
	enum tdm_status status = tdm_barrier_decide_(party, phase, false, &serial);
	if (status != TDM_BUSY)
		return status;
	return tdm_event_await(&party->shm->changed, &party->patience, TDM_FOREVER, TDM_BUSY,
			       tdm_barrier_stay_attempt_, TDM_NULL, &stay);
}

// Robust: takes a party that is dead for one that had not arrived, by a word that it has read
// before it asked.
tdm_function enum tdm_status broken_barrier_party_ask(struct tdm_barrier_party *party)
{
	uint64_t phase = tdm_barrier_number_(tdm_load_acquire_u64(&party->shm->state));
	for (uint32_t k = 0; k < party->self->table.seat_count; k++) {
		uint64_t word = tdm_load_acquire_u64(&party->words[k]);
		if (word != 0 && k != party->self->index && !tdm_barrier_arrived_(word, phase) &&
		    tdm_table_dead_(&party->self->table, k, word >> 16) == TDM_OK)
			return tdm_barrier_break_(party->shm, phase);
	}
	return TDM_OK;
}

#endif
