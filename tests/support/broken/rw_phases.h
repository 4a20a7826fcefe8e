// SPDX-License-Identifier: BSD-2-Clause
// Readers-writer locks that forget why a phase is more than one bit, why a reader counts itself
// before it looks, and why who gives up may not leave as readers do.
#ifndef TDM_TESTS_SUPPORT_BROKEN_RW_PHASES_H
#define TDM_TESTS_SUPPORT_BROKEN_RW_PHASES_H

#include <tandem/lock/rw.h>

// As in the paper, where no writer ever gives up: phases are told apart by one bit.
static inline uint64_t broken_rw_gate(uint32_t ticket)
{
	return (ticket & 1) << 1 | TDM_RW_CLOSED_;
}

static inline void broken_rw_two_phases_open(struct tdm_rw *rw)
{
	uint32_t ticket = tdm_load_relaxed_u32(&rw->serving);
	tdm_fetch_sub_release_u64(&rw->in, broken_rw_gate(ticket));
	tdm_event_notify(&rw->opened);
	tdm_store_release_u32(&rw->serving, ticket + 1);
	tdm_event_notify(&rw->turn[(ticket + 1) % TDM_RW_TURNS_]);
}

// Not for two writers at once: it takes the ticket that comes next without waiting.
static inline enum tdm_status broken_rw_two_phases_lock(struct tdm_rw *rw, uint64_t deadline_ns)
{
	uint32_t ticket;
	if (!tdm_rw_claim_(rw, &ticket))
		return TDM_BUSY;
	uint64_t in = tdm_fetch_add_relaxed_u64(&rw->in, broken_rw_gate(ticket));
	struct tdm_rw_wait_ wait = {rw, 0, tdm_rw_readers_of_(in), 0};
	enum tdm_status status = tdm_rw_await_(&rw->left, deadline_ns, tdm_rw_drain_, &wait);
	if (status != TDM_OK)
		broken_rw_two_phases_open(rw);
	return status;
}

// Looks at the gate, then counts itself.
static inline void broken_rw_look_first_read_lock(struct tdm_rw *rw)
{
	uint64_t in = tdm_load_acquire_u64(&rw->in);
	if (tdm_rw_gate_of_(in) != 0) {
		tdm_fetch_add_acquire_u64(&rw->in, TDM_RW_READER_);
		(void)tdm_rw_read_wait_(rw, tdm_rw_gate_of_(in), TDM_FOREVER);
		return;
	}
	tdm_fetch_add_acquire_u64(&rw->in, TDM_RW_READER_);
}

// Gives up by leaving as if it had read.
static inline enum tdm_status broken_rw_leaving_read_lock(struct tdm_rw *rw, uint64_t deadline_ns)
{
	uint64_t in = tdm_fetch_add_acquire_u64(&rw->in, TDM_RW_READER_);
	struct tdm_rw_wait_ wait = {rw, tdm_rw_gate_of_(in), 0, 0};
	if (tdm_rw_gate_of_(in) == 0)
		return TDM_OK;
	enum tdm_status status = tdm_rw_await_(&rw->opened, deadline_ns, tdm_rw_pass_, &wait);
	if (status != TDM_OK) {
		tdm_fetch_add_release_u32(&rw->out, 1);
		tdm_event_notify(&rw->left);
	}
	return status;
}

// Wakes nobody.
static inline void broken_rw_silent_read_unlock(struct tdm_rw *rw)
{
	tdm_fetch_add_release_u32(&rw->out, 1);
}

#endif
