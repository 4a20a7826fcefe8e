// SPDX-License-Identifier: BSD-2-Clause
#include "ck_ring.h"

#include <ck_pr.h>
#include <ck_ring.h>

CK_RING_PROTOTYPE(item8, item8)
CK_RING_PROTOTYPE(item64, item64)

// Each ring keeps its two indices on lines of their own, but not its constants.
struct state {
	ck_ring_t there;
	char pad_[128];
	ck_ring_t back;
	void *there_slots;
	void *back_slots;
};

static void *make(void)
{
	const size_t bytes = BENCH_CAPACITY * sizeof(struct item64);
	struct state *state = aligned_alloc(128, (sizeof(*state) + 127) / 128 * 128);
	if (state == NULL)
		bench_give_up("ck_ring", "no memory");
	ck_ring_init(&state->there, BENCH_CAPACITY);
	ck_ring_init(&state->back, BENCH_CAPACITY);
	state->there_slots = aligned_alloc(128, bytes);
	state->back_slots = aligned_alloc(128, bytes);
	if (state->there_slots == NULL || state->back_slots == NULL)
		bench_give_up("ck_ring", "no memory");
	memset(state->there_slots, 0, bytes);
	memset(state->back_slots, 0, bytes);
	return state;
}

static void unmake(void *context)
{
	struct state *state = context;
	free(state->there_slots);
	free(state->back_slots);
	free(state);
}

#define STREAM(ITEM)                                                                               \
	static uint64_t produce_##ITEM(void *context, uint64_t first, uint64_t count)              \
	{                                                                                          \
		struct state *state = context;                                                     \
		struct ITEM *slots = state->there_slots;                                           \
		for (uint64_t number = first; number < first + count; number++) {                  \
			struct ITEM item;                                                          \
			bench_fill(item.word, BENCH_WORDS(&item), number);                         \
			while (!CK_RING_ENQUEUE_SPSC(ITEM, &state->there, slots, &item))           \
				ck_pr_stall();                                                     \
		}                                                                                  \
		return 0;                                                                          \
	}                                                                                          \
	static uint64_t consume_##ITEM(void *context, uint64_t first, uint64_t count)              \
	{                                                                                          \
		struct state *state = context;                                                     \
		struct ITEM *slots = state->there_slots;                                           \
		uint64_t wrong = 0;                                                                \
		for (uint64_t number = first; number < first + count; number++) {                  \
			struct ITEM item;                                                          \
			while (!CK_RING_DEQUEUE_SPSC(ITEM, &state->there, slots, &item))           \
				ck_pr_stall();                                                     \
			wrong += bench_wrong(item.word, BENCH_WORDS(&item), number);               \
		}                                                                                  \
		return wrong;                                                                      \
	}                                                                                          \
	const struct contender ck_ring_##ITEM = {                                                  \
	    .name = "Concurrency Kit",                                                             \
	    .peer = "ck",                                                                          \
	    .make = make,                                                                          \
	    .unmake = unmake,                                                                      \
	    .left = {.run = produce_##ITEM},                                                       \
	    .right = {.run = consume_##ITEM},                                                      \
	}

STREAM(item8);
STREAM(item64);

static void tell(ck_ring_t *ring, void *slots, uint64_t number)
{
	struct item8 item = {{number}};
	while (!CK_RING_ENQUEUE_SPSC(item8, ring, slots, &item))
		continue;
}

static uint64_t hear(ck_ring_t *ring, void *slots, uint64_t number)
{
	struct item8 item;
	while (!CK_RING_DEQUEUE_SPSC(item8, ring, slots, &item))
		ck_pr_stall();
	return item.word[0] != number;
}

static uint64_t ask(void *context, uint64_t first, uint64_t count)
{
	struct state *state = context;
	uint64_t wrong = 0;
	for (uint64_t number = first; number < first + count; number++) {
		tell(&state->there, state->there_slots, number);
		wrong += hear(&state->back, state->back_slots, number);
	}
	return wrong;
}

static uint64_t answer(void *context, uint64_t first, uint64_t count)
{
	struct state *state = context;
	uint64_t wrong = 0;
	for (uint64_t number = first; number < first + count; number++) {
		wrong += hear(&state->there, state->there_slots, number);
		tell(&state->back, state->back_slots, number);
	}
	return wrong;
}

const struct contender ck_ring_trip = {
    .name = "Concurrency Kit",
    .peer = "ck",
    .make = make,
    .unmake = unmake,
    .left = {.run = ask},
    .right = {.run = answer},
};
