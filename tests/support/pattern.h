// SPDX-License-Identifier: BSD-2-Clause
// Random numbers that are the same in each run, and elements whose bytes say where they belong.
#ifndef TDM_TESTS_SUPPORT_PATTERN_H
#define TDM_TESTS_SUPPORT_PATTERN_H

#include <tandem/base/config.h>

tdm_function uint64_t mix(uint64_t value) // splitmix64's finalizer
{
	value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
	return value ^ (value >> 31);
}

tdm_function uint64_t random_below(uint64_t *state, uint64_t limit)
{
	*state += UINT64_C(0x9e3779b97f4a7c15);
	return mix(*state) % limit;
}

// The bytes of the element at `position`.
tdm_function unsigned char pattern_byte(uint64_t position, uint64_t i)
{
	return TDM_CAST(unsigned char, mix(position * 512 + i / 8) >> (i % 8 * 8));
}

tdm_function void pattern_put(void *elem, uint64_t size, uint64_t position)
{
	unsigned char *bytes = TDM_CAST(unsigned char *, elem);
	for (uint64_t i = 0; i < size; i++)
		bytes[i] = pattern_byte(position, i);
}

tdm_function bool pattern_is(const void *elem, uint64_t size, uint64_t position)
{
	const unsigned char *bytes = TDM_CAST(const unsigned char *, elem);
	for (uint64_t i = 0; i < size; i++)
		if (bytes[i] != pattern_byte(position, i))
			return false;
	return true;
}

#endif
