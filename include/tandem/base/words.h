// SPDX-License-Identifier: BSD-2-Clause
// A value of any size as words: copied into shared memory and out of it 8 bytes at a time, each by
// one atomic access, so that to copy it beside somebody who overwrites it is no data race. What
// comes out may be a mixture of two values; lock/seq.h and lock/snapshot.h find out. Not API.
//
// Edges
//   E1  A word's store (release) with its load (acquire): who reads a word sees all that its writer
//       did before it wrote that word.
#ifndef TDM_BASE_WORDS_H
#define TDM_BASE_WORDS_H

#include <string.h>

#include "atomic.h"
#include "config.h"

TDM_BEGIN_DECLS

// How many words hold `size` bytes.
#define TDM_WORDS_(size) (((size) + 7) / 8)

tdm_inline void tdm_words_store_(tdm_atomic_u64 *words, const void *value, size_t size)
{
	const unsigned char *bytes = TDM_CAST(const unsigned char *, value);
	size_t whole = size / 8, rest = size % 8;
	uint64_t word;
	for (size_t i = 0; i < whole; i++) {
		memcpy(&word, bytes + 8 * i, 8);
		tdm_store_release_u64(&words[i], word); // E1, pairs with load
	}
	if (rest != 0) {
		word = 0;
		memcpy(&word, bytes + 8 * whole, rest);
		tdm_store_release_u64(&words[whole], word); // E1, pairs with load
	}
}

tdm_inline void tdm_words_load_(const tdm_atomic_u64 *words, void *value, size_t size)
{
	unsigned char *bytes = TDM_CAST(unsigned char *, value);
	size_t whole = size / 8, rest = size % 8;
	uint64_t word;
	for (size_t i = 0; i < whole; i++) {
		word = tdm_load_acquire_u64(&words[i]); // E1, pairs with store
		memcpy(bytes + 8 * i, &word, 8);
	}
	if (rest != 0) {
		word = tdm_load_acquire_u64(&words[whole]); // E1, pairs with store
		memcpy(bytes + 8 * whole, &word, rest);
	}
}

tdm_function void tdm_words_clear_(tdm_atomic_u64 *words, size_t size)
{
	for (size_t i = 0; i < TDM_WORDS_(size); i++)
		tdm_store_relaxed_u64(&words[i], 0);
}

TDM_END_DECLS

#endif
