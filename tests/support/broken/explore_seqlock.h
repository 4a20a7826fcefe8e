// SPDX-License-Identifier: BSD-2-Clause
// A seqlock whose reader reads the count again without ordering that behind the words: on a weakly
// ordered machine it may accept a torn value. The explorer's report about it is checked.
#ifndef TDM_TESTS_BROKEN_EXPLORE_SEQLOCK_H
#define TDM_TESTS_BROKEN_EXPLORE_SEQLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct seqlock {
	uint32_t count, left, right;
};

static __attribute__((noinline)) void seqlock_write(struct seqlock *lock, uint32_t value)
{
	uint32_t count = __atomic_load_n(&lock->count, __ATOMIC_RELAXED);
	__atomic_store_n(&lock->count, count + 1, __ATOMIC_RELAXED);
	__atomic_store_n(&lock->left, value, __ATOMIC_RELEASE);
	__atomic_store_n(&lock->right, value, __ATOMIC_RELEASE);
	__atomic_store_n(&lock->count, count + 2, __ATOMIC_RELEASE);
}

static __attribute__((noinline)) bool seqlock_read(struct seqlock *lock, uint32_t *left,
						   uint32_t *right)
{
	uint32_t count = __atomic_load_n(&lock->count, __ATOMIC_ACQUIRE);
	*left = __atomic_load_n(&lock->left, __ATOMIC_RELAXED); // should be acquire
	*right = __atomic_load_n(&lock->right, __ATOMIC_RELAXED);
	return count % 2 == 0 && __atomic_load_n(&lock->count, __ATOMIC_RELAXED) == count;
}

#endif
