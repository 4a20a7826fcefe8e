// SPDX-License-Identifier: BSD-2-Clause
// Two ways to accept a copy that is being overwritten.
#ifndef TDM_TESTS_BROKEN_SNAPSHOT_LATE_H
#define TDM_TESTS_BROKEN_SNAPSHOT_LATE_H

#include <tandem/lock/snapshot.h>

// Counts to the write that has overwritten the copy, not to the one that may be at it.
tdm_function bool broken_snapshot_read(const struct tdm_snapshot *snapshot,
				       const tdm_atomic_u64 *words, size_t copies, void *value,
				       size_t size)
{
	uint64_t begun = tdm_load_acquire_u64(&snapshot->version);
	size_t copy = (size_t)(begun & (copies - 1));
	tdm_words_load_(words + copy * TDM_WORDS_(size), value, size);
	return tdm_load_relaxed_u64(&snapshot->version) - begun < copies;
}

// Tells of the copy before it is filled.
tdm_function void broken_snapshot_put(struct tdm_snapshot *snapshot, tdm_atomic_u64 *words,
				      size_t copies, const void *value, size_t size)
{
	uint64_t version = tdm_load_relaxed_u64(&snapshot->version) + 1;
	size_t copy = (size_t)(version & (copies - 1));
	tdm_store_release_u64(&snapshot->version, version);
	tdm_words_store_(words + copy * TDM_WORDS_(size), value, size);
}

#endif
