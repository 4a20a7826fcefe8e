// SPDX-License-Identifier: BSD-2-Clause
// The sequence lock of the textbooks, without the fences that make it one: on a weakly ordered
// machine a reader may accept a torn value.
#ifndef TDM_TESTS_BROKEN_SEQ_RELAXED_H
#define TDM_TESTS_BROKEN_SEQ_RELAXED_H

#include <tandem/lock/seq.h>

// Reads the words without order: the sequence may be looked at again before they are read.
tdm_function enum tdm_status broken_seq_read(const struct tdm_seq *seq, const tdm_atomic_u64 *words,
					     uint64_t *left, uint64_t *right)
{
	uint64_t begun = tdm_load_acquire_u64(&seq->sequence);
	*left = tdm_load_relaxed_u64(&words[0]);
	*right = tdm_load_relaxed_u64(&words[1]);
	if ((begun & 1) != 0 || tdm_load_acquire_u64(&seq->sequence) != begun)
		return TDM_BUSY;
	return TDM_OK;
}

// Writes them without order: they may be seen before the sequence turns odd.
tdm_function void broken_seq_write(struct tdm_seq *seq, tdm_atomic_u64 *words, uint64_t number)
{
	uint64_t sequence = tdm_load_relaxed_u64(&seq->sequence);
	tdm_store_release_u64(&seq->sequence, sequence + 1);
	tdm_store_relaxed_u64(&words[0], number);
	tdm_store_relaxed_u64(&words[1], number);
	tdm_store_release_u64(&seq->sequence, sequence + 2);
}

// Never odd: who dies among the words leaves a torn value that looks whole.
tdm_function void broken_seq_write_late(struct tdm_seq *seq, tdm_atomic_u64 *words,
					const void *value, size_t size)
{
	uint64_t sequence = tdm_load_relaxed_u64(&seq->sequence);
	tdm_words_store_(words, value, size);
	tdm_store_release_u64(&seq->sequence, sequence + 2);
}

#endif
