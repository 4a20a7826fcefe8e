// SPDX-License-Identifier: BSD-2-Clause
// What two sides of a comparison run, for C and C++. A contender's whole loops are its own, in one
// file with it, so that nobody pays a call for each element that another does not pay.
#ifndef TDM_BENCH_SUPPORT_CONTENDER_H
#define TDM_BENCH_SUPPORT_CONTENDER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

struct contender_side {
	// In the thread that then runs; NULL where there is nothing to do.
	void (*enter)(void *state);
	void (*leave)(void *state);
	// Handles the elements or trips numbered first to first + count - 1, and answers how many
	// values were not what they had to be. `first` is never 0.
	uint64_t (*run)(void *state, uint64_t first, uint64_t count);
};

struct contender {
	const char *name;
	const char *peer; // whose it is: the ratios' columns look for it
	int batch;        // many elements a call: compared with the peer's batches, if it has any
	void *(*make)(void);
	void (*unmake)(void *state);
	struct contender_side left;  // produces, or sends first
	struct contender_side right; // consumes, or answers
};

// Equal for all contenders.
#define BENCH_CAPACITY 1024
#define BENCH_BATCH 32

struct item8 {
	uint64_t word[1];
};

struct item64 {
	uint64_t word[8];
};

#define BENCH_WORDS(item) (sizeof((item)->word) / sizeof((item)->word[0]))

// No word of an element is 0.
static inline void bench_fill(uint64_t *word, size_t words, uint64_t number)
{
	for (size_t i = 0; i < words; i++)
		word[i] = number + i;
}

static inline uint64_t bench_wrong(const uint64_t *word, size_t words, uint64_t number)
{
	uint64_t differ = 0;
	for (size_t i = 0; i < words; i++)
		differ |= word[i] ^ (number + i);
	return differ != 0;
}

// A contender that cannot go on ends the process; the other side's ends with it.
static inline void bench_give_up(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	_exit(1);
}

#ifdef __cplusplus
}
#endif

#endif
