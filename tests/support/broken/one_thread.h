// SPDX-License-Identifier: BSD-2-Clause
// Operations that are wrong already when one thread uses them: who compares each answer with
// another library's must notice.
#ifndef TDM_TESTS_SUPPORT_BROKEN_ONE_THREAD_H
#define TDM_TESTS_SUPPORT_BROKEN_ONE_THREAD_H

#include <tandem/atomic.h>
#include <tandem/lock/rw.h>
#include <tandem/lock/seq.h>
#include <tandem/lock/ticket.h>
#include <tandem/ring/mpmc.h>

// Does not tell what it found.
tdm_function bool broken_cas_forgets(void *cell, uint64_t *expected, uint64_t desired)
{
	uint64_t found = *expected;
	return tdm_cas_strong_seq_cst_seq_cst_u64(TDM_CAST(tdm_atomic_u64 *, cell), &found,
						  desired);
}

// Makes the mask in 32 bits, whatever the word has.
tdm_function bool broken_bit_set_short(void *cell, unsigned bit)
{
	uint32_t mask = UINT32_C(1) << (bit & 31);
	return (tdm_fetch_or_seq_cst_u64(TDM_CAST(tdm_atomic_u64 *, cell), mask) & mask) != 0;
}

// Keeps the last slot free, as rings do whose indices cannot tell full from empty.
tdm_function enum tdm_status broken_mpmc_push_one_less(struct tdm_mpmc_producer *producer,
						       const void *elem)
{
	const struct tdm_mpmc_view_ *view = &producer->view;
	uint64_t there =
	    tdm_load_relaxed_u64(&view->shm->tail) - tdm_load_relaxed_u64(&view->shm->head);
	return there >= view->mask ? TDM_FULL : tdm_mpmc_try_push(producer, elem);
}

// Looks at the wrong end of what it has popped.
tdm_function enum tdm_status broken_mpmc_pop_n_turned(struct tdm_mpmc_consumer *consumer,
						      void *elems, size_t count, size_t *popped)
{
	unsigned char *bytes = TDM_CAST(unsigned char *, elems);
	size_t size = TDM_CAST(size_t, consumer->elem_size);
	enum tdm_status status = tdm_mpmc_try_pop_n(consumer, elems, count, popped);
	for (size_t i = 0; i < *popped / 2 * size; i++) {
		unsigned char *other = bytes + (*popped - 1 - i / size) * size + i % size;
		unsigned char byte = bytes[i];
		bytes[i] = *other;
		*other = byte;
	}
	return status;
}

// Takes a ticket to see whether it is its turn, and leaves it behind if not.
tdm_function bool broken_ticket_try_lock_stays(struct tdm_ticket *ticket)
{
	uint32_t mine = tdm_fetch_add_relaxed_u32(&ticket->next, 1);
	return tdm_load_acquire_u32(&ticket->serving) == mine;
}

// Does not look whether somebody reads.
tdm_function bool broken_rw_write_try_lock_barges(struct tdm_rw *rw)
{
	uint32_t ticket;
	if (!tdm_rw_claim_(rw, &ticket))
		return false;
	uint64_t gate = TDM_CAST(uint32_t, ticket << 1 | TDM_RW_CLOSED_);
	tdm_fetch_add_relaxed_u64(&rw->in, gate);
	return true;
}

// Believes who began while somebody wrote.
tdm_function bool broken_seq_read_retry_odd(const struct tdm_seq *seq, uint64_t begun)
{
	return tdm_load_relaxed_u64(&seq->sequence) != begun;
}

#endif
