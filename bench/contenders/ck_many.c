// SPDX-License-Identifier: BSD-2-Clause
#include "ck_many.h"

#include <ck_ring.h>
#include <string.h>

CK_RING_PROTOTYPE(item8, item8)
CK_RING_PROTOTYPE(item64, item64)

struct state {
	ck_ring_t ring;
	void *slots;
};

void *ck_many_make(void)
{
	const size_t bytes = BENCH_CAPACITY * sizeof(struct item64);
	struct state *state = aligned_alloc(128, (sizeof(*state) + 127) / 128 * 128);
	if (state == NULL)
		bench_give_up("ck_ring", "no memory");
	ck_ring_init(&state->ring, BENCH_CAPACITY);
	state->slots = aligned_alloc(128, bytes);
	if (state->slots == NULL)
		bench_give_up("ck_ring", "no memory");
	memset(state->slots, 0, bytes);
	return state;
}

void ck_many_unmake(void *ring)
{
	free(((struct state *)ring)->slots);
	free(ring);
}

#define FORMS(ITEM)                                                                                \
	bool ck_many_push_##ITEM(void *ring, const void *item)                                     \
	{                                                                                          \
		struct state *state = ring;                                                        \
		struct ITEM copy;                                                                  \
		memcpy(&copy, item, sizeof(copy));                                                 \
		return CK_RING_ENQUEUE_MPMC(ITEM, &state->ring, state->slots, &copy);              \
	}                                                                                          \
	bool ck_many_pop_##ITEM(void *ring, void *item)                                            \
	{                                                                                          \
		struct state *state = ring;                                                        \
		return CK_RING_DEQUEUE_MPMC(ITEM, &state->ring, state->slots, item);               \
	}
FORMS(item8)
FORMS(item64)
