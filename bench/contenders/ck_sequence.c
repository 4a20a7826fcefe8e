// SPDX-License-Identifier: BSD-2-Clause
#include "ck_sequence.h"

#include <ck_sequence.h>
#include <stddef.h>
#include <string.h>

_Static_assert(sizeof(struct ck_sequence) == sizeof(unsigned int), "ck_value begins with one");

#define LOOPS(SIZE)                                                                                \
	uint64_t ck_read_##SIZE(struct ck_value *value, uint64_t n)                                \
	{                                                                                          \
		struct ck_sequence *lock = (struct ck_sequence *)(void *)value;                    \
		uint64_t copy[SIZE / 8], sum = 0;                                                  \
		while (n-- > 0) {                                                                  \
			unsigned int version;                                                      \
			do {                                                                       \
				version = ck_sequence_read_begin(lock);                            \
				memcpy(copy, value->words, SIZE);                                  \
			} while (ck_sequence_read_retry(lock, version));                           \
			__asm__ __volatile__("" : : "r"(copy) : "memory");                         \
			sum += copy[0];                                                            \
		}                                                                                  \
		return sum;                                                                        \
	}                                                                                          \
	uint64_t ck_write_##SIZE(struct ck_value *value, uint64_t n)                               \
	{                                                                                          \
		struct ck_sequence *lock = (struct ck_sequence *)(void *)value;                    \
		uint64_t copy[SIZE / 8] = {0};                                                     \
		while (n-- > 0) {                                                                  \
			copy[0] = n;                                                               \
			__asm__ __volatile__("" : : "r"(copy) : "memory");                         \
			ck_sequence_write_begin(lock);                                             \
			memcpy(value->words, copy, SIZE);                                          \
			ck_sequence_write_end(lock);                                               \
		}                                                                                  \
		return n;                                                                          \
	}

LOOPS(64)
LOOPS(512)
