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

// Word i of a value, `size` bytes of it: 8, or what is left at its end.
tdm_inline void tdm_word_store_(tdm_atomic_u64 *words, const unsigned char *bytes, size_t i,
				size_t size)
{
	uint64_t word = 0;
	memcpy(&word, bytes + 8 * i, size);
	tdm_store_release_u64(&words[i], word); // E1, pairs with load
}

tdm_inline void tdm_word_load_(const tdm_atomic_u64 *words, unsigned char *bytes, size_t i,
			       size_t size)
{
	uint64_t word = tdm_load_acquire_u64(&words[i]); // E1, pairs with store
	memcpy(bytes + 8 * i, &word, size);
}

// Four at a time: compilers do not unroll loops of atomics, and one word an iteration takes twice
// as long.
#define TDM_WORDS_EACH_(move, words, bytes, size)                                                  \
	do {                                                                                       \
		size_t i_ = 0;                                                                     \
		for (size_t left_ = (size) / 32; left_ > 0; left_--, i_ += 4) {                    \
			move(words, bytes, i_, 8);                                                 \
			move(words, bytes, i_ + 1, 8);                                             \
			move(words, bytes, i_ + 2, 8);                                             \
			move(words, bytes, i_ + 3, 8);                                             \
		}                                                                                  \
		for (size_t left_ = (size) / 8 % 4; left_ > 0; left_--, i_++)                      \
			move(words, bytes, i_, 8);                                                 \
		if ((size) % 8 != 0)                                                               \
			move(words, bytes, i_, (size) % 8);                                        \
	} while (false)

tdm_inline void tdm_words_store_(tdm_atomic_u64 *words, const void *value, size_t size)
{
	TDM_WORDS_EACH_(tdm_word_store_, words, TDM_CAST(const unsigned char *, value), size);
}

tdm_inline void tdm_words_load_(const tdm_atomic_u64 *words, void *value, size_t size)
{
	TDM_WORDS_EACH_(tdm_word_load_, words, TDM_CAST(unsigned char *, value), size);
}

tdm_function void tdm_words_clear_(tdm_atomic_u64 *words, size_t size)
{
	for (size_t i = 0; i < TDM_WORDS_(size); i++)
		tdm_store_relaxed_u64(&words[i], 0);
}

TDM_END_DECLS

#endif
