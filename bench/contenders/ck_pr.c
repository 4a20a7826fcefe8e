// SPDX-License-Identifier: BSD-2-Clause
#include "ck_pr.h"

#include <ck_pr.h>

uint64_t ck_loop_load(uint64_t *cell, uint64_t n)
{
	uint64_t sum = 0;
	while (n-- > 0) {
		sum += ck_pr_load_64(cell);
		ck_pr_fence_acquire();
	}
	return sum;
}

uint64_t ck_loop_store(uint64_t *cell, uint64_t n)
{
	while (n-- > 0) {
		ck_pr_fence_release();
		ck_pr_store_64(cell, n);
	}
	return 0;
}

uint64_t ck_loop_exchange(uint64_t *cell, uint64_t n)
{
	uint64_t sum = 0;
	while (n-- > 0)
		sum += ck_pr_fas_64(cell, n);
	return sum;
}

uint64_t ck_loop_fetch_add(uint64_t *cell, uint64_t n)
{
	uint64_t sum = 0;
	while (n-- > 0)
		sum += ck_pr_faa_64(cell, 1);
	return sum;
}

uint64_t ck_loop_cas(uint64_t *cell, uint64_t n)
{
	uint64_t sum = 0;
	while (n-- > 0) {
		uint64_t seen = ck_pr_load_64(cell);
		while (!ck_pr_cas_64_value(cell, seen, seen + 1, &seen))
			continue;
		sum += seen;
	}
	return sum;
}

// As ck_spinlock_fas does, but without waiting.
uint64_t ck_loop_test_and_set(uint64_t *cell, uint64_t n)
{
	uint64_t taken = 0;
	while (n-- > 0) {
		if (ck_pr_fas_64(cell, 1) != 0)
			continue;
		ck_pr_fence_lock();
		taken++;
		ck_pr_fence_unlock();
		ck_pr_store_64(cell, 0);
	}
	return taken;
}

// Concurrency Kit has no such operation: what its user writes instead.
uint64_t ck_loop_add_unless(uint64_t *cell, uint64_t n)
{
	uint64_t added = 0;
	while (n-- > 0) {
		uint64_t seen = ck_pr_load_64(cell);
		while (seen != UINT64_MAX && !ck_pr_cas_64_value(cell, seen, seen + 1, &seen))
			continue;
		added += seen != UINT64_MAX;
	}
	return added;
}

uint64_t ck_loop_bit_set(uint64_t *cell, uint64_t n)
{
	uint64_t was = 0;
	while (n-- > 0)
		was += ck_pr_bts_64(cell, (unsigned)n % 64);
	return was;
}
