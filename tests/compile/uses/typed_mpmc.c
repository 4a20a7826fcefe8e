// SPDX-License-Identifier: BSD-2-Clause
// Typed rings of every sort of type, in C and in C++, under all warnings.
#include <tandem/ring/mpmc.h>

struct pair {
	uint32_t a, b;
};
union word {
	uint32_t number;
	unsigned char bytes[4];
};
enum colour { RED, GREEN };
typedef struct pair twin;
struct wide {
	TDM_ALIGNAS(64) unsigned char bytes[65];
};

TDM_MPMC_DEFINE(chars, char);
TDM_MPMC_DEFINE(bools, bool);
TDM_MPMC_DEFINE(numbers, uint64_t);
TDM_MPMC_DEFINE(reals, long double);
TDM_MPMC_DEFINE(texts, const char *);
TDM_MPMC_DEFINE(pairs, struct pair);
TDM_MPMC_DEFINE(words, union word);
TDM_MPMC_DEFINE(colours, enum colour);
TDM_MPMC_DEFINE(twins, twin);
TDM_MPMC_DEFINE(wides, struct wide);

// One after the other, with constants, so that the optimizer sees through them.
#define USE(ring, T)                                                                               \
	enum tdm_status use_##ring(void *memory, uint64_t bytes, T *elem);                         \
	enum tdm_status use_##ring(void *memory, uint64_t bytes, T *elem)                          \
	{                                                                                          \
		struct ring##_producer out;                                                        \
		struct ring##_consumer in;                                                         \
		struct tdm_object object = ring##_object("ring", 8);                               \
		if (ring##_size(8) > bytes || object.type_tag == 0 ||                              \
		    ring##_init(memory, bytes, 8) != TDM_OK ||                                     \
		    ring##_producer_attach(&out, tdm_memory(memory, bytes), TDM_NULL) != TDM_OK || \
		    ring##_consumer_attach(&in, tdm_memory(memory, bytes), TDM_NULL) != TDM_OK)    \
			return TDM_INVALID;                                                        \
		enum tdm_status status = ring##_try_push(&out, elem);                              \
		return status == TDM_OK ? ring##_try_pop(&in, elem) : status;                      \
	}

USE(chars, char)
USE(bools, bool)
USE(numbers, uint64_t)
USE(reals, long double)
USE(texts, const char *)
USE(pairs, struct pair)
USE(words, union word)
USE(colours, enum colour)
USE(twins, twin)
USE(wides, struct wide)
