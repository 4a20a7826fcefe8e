// SPDX-License-Identifier: BSD-2-Clause
// Every way to use the ring of ITEM. Included once for each ITEM.
#include "tandem_pair.h"

static uint64_t N(produce_waiting)(void *context, uint64_t first, uint64_t count)
{
	struct N(pair) *pair = context;
	struct R(producer) out = pair->left.out;
	for (uint64_t number = first; number < first + count; number++) {
		struct ITEM item;
		bench_fill(item.word, BENCH_WORDS(&item), number);
		must(R(push)(&out, &item));
	}
	pair->left.out = out;
	return 0;
}

static uint64_t N(consume_waiting)(void *context, uint64_t first, uint64_t count)
{
	struct N(pair) *pair = context;
	struct R(consumer) in = pair->right.in;
	uint64_t wrong = 0;
	for (uint64_t number = first; number < first + count; number++) {
		struct ITEM item;
		must(R(pop)(&in, &item));
		wrong += bench_wrong(item.word, BENCH_WORDS(&item), number);
	}
	pair->right.in = in;
	return wrong;
}

static uint64_t N(produce_in_memory)(void *context, uint64_t first, uint64_t count)
{
	struct N(pair) *pair = context;
	struct R(producer) *out = &pair->left.out;
	for (uint64_t number = first; number < first + count; number++) {
		struct ITEM item;
		bench_fill(item.word, BENCH_WORDS(&item), number);
		enum tdm_status status;
		while ((status = R(try_push)(out, &item)) != TDM_OK)
			pause_if(status, TDM_FULL);
	}
	return 0;
}

static uint64_t N(consume_in_memory)(void *context, uint64_t first, uint64_t count)
{
	struct N(pair) *pair = context;
	struct R(consumer) *in = &pair->right.in;
	uint64_t wrong = 0;
	struct ITEM item = {{0}};
	for (uint64_t number = first; number < first + count; number++) {
		enum tdm_status status;
		while ((status = R(try_pop)(in, &item)) != TDM_OK)
			pause_if(status, TDM_EMPTY);
		wrong += bench_wrong(item.word, BENCH_WORDS(&item), number);
	}
	return wrong;
}

static uint64_t N(produce_untyped)(void *context, uint64_t first, uint64_t count)
{
	struct N(pair) *pair = context;
	struct tdm_spsc_producer *out = &pair->left.out.ring;
	for (uint64_t number = first; number < first + count; number++) {
		struct ITEM item;
		bench_fill(item.word, BENCH_WORDS(&item), number);
		enum tdm_status status;
		while ((status = tdm_spsc_try_push(out, &item)) != TDM_OK)
			pause_if(status, TDM_FULL);
	}
	return 0;
}

static uint64_t N(consume_untyped)(void *context, uint64_t first, uint64_t count)
{
	struct N(pair) *pair = context;
	struct tdm_spsc_consumer *in = &pair->right.in.ring;
	uint64_t wrong = 0;
	for (uint64_t number = first; number < first + count; number++) {
		struct ITEM item;
		enum tdm_status status;
		while ((status = tdm_spsc_try_pop(in, &item)) != TDM_OK)
			pause_if(status, TDM_EMPTY);
		wrong += bench_wrong(item.word, BENCH_WORDS(&item), number);
	}
	return wrong;
}

static uint64_t N(produce_batch)(void *context, uint64_t first, uint64_t count)
{
	struct N(pair) *pair = context;
	struct R(producer) *out = &pair->left.out;
	struct ITEM items[BENCH_BATCH];
	for (uint64_t number = first, end = first + count; number < end;) {
		const size_t size = end - number < BENCH_BATCH ? end - number : BENCH_BATCH;
		for (size_t i = 0; i < size; i++)
			bench_fill(items[i].word, BENCH_WORDS(items), number + i);
		for (size_t done = 0, pushed; done < size; done += pushed) {
			enum tdm_status status =
			    R(try_push_n)(out, items + done, size - done, &pushed);
			if (status != TDM_OK)
				pause_if(status, TDM_FULL);
		}
		number += size;
	}
	return 0;
}

static uint64_t N(consume_batch)(void *context, uint64_t first, uint64_t count)
{
	struct N(pair) *pair = context;
	struct R(consumer) *in = &pair->right.in;
	struct ITEM items[BENCH_BATCH];
	uint64_t wrong = 0;
	for (uint64_t number = first, end = first + count; number < end;) {
		const size_t size = end - number < BENCH_BATCH ? end - number : BENCH_BATCH;
		size_t popped;
		enum tdm_status status = R(try_pop_n)(in, items, size, &popped);
		if (status != TDM_OK)
			pause_if(status, TDM_EMPTY);
		for (size_t i = 0; i < popped; i++)
			wrong += bench_wrong(items[i].word, BENCH_WORDS(items), number + i);
		number += popped;
	}
	return wrong;
}

static uint64_t N(produce_in_place)(void *context, uint64_t first, uint64_t count)
{
	struct N(pair) *pair = context;
	struct R(producer) out = pair->left.out;
	for (uint64_t number = first; number < first + count; number++) {
		struct ITEM *item;
		enum tdm_status status;
		while ((status = R(try_reserve)(&out, &item)) != TDM_OK)
			pause_if(status, TDM_FULL);
		bench_fill(item->word, BENCH_WORDS(item), number);
		must(R(commit)(&out));
	}
	pair->left.out = out;
	return 0;
}

static uint64_t N(consume_in_place)(void *context, uint64_t first, uint64_t count)
{
	struct N(pair) *pair = context;
	struct R(consumer) in = pair->right.in;
	uint64_t wrong = 0;
	for (uint64_t number = first; number < first + count; number++) {
		const struct ITEM *item;
		enum tdm_status status;
		while ((status = R(try_peek)(&in, &item)) != TDM_OK)
			pause_if(status, TDM_EMPTY);
		wrong += bench_wrong(item->word, BENCH_WORDS(item), number);
		must(R(release)(&in));
	}
	pair->right.in = in;
	return wrong;
}

#define WAY(symbol, text, many, maker, left_run, right_run)                                        \
	static const struct contender N(symbol) = {                                                \
	    .name = (text),                                                                        \
	    .peer = "tandem",                                                                      \
	    .batch = (many),                                                                       \
	    .make = N(maker),                                                                      \
	    .unmake = N(unmake),                                                                   \
	    .left = {.enter = N(enter_left), .leave = N(leave_left), .run = N(left_run)},          \
	    .right = {.enter = N(enter_right), .leave = N(leave_right), .run = N(right_run)},      \
	}
WAY(robust, "tandem", 0, make_robust, produce, consume);
WAY(waiting, "tandem, push and pop that wait", 0, make_robust, produce_waiting, consume_waiting);
WAY(in_memory, "tandem, handle in memory", 0, make_robust, produce_in_memory, consume_in_memory);
WAY(plain, "tandem plain", 0, make_plain, produce, consume);
WAY(untyped, "tandem untyped", 0, make_robust, produce_untyped, consume_untyped);
WAY(in_place, "tandem in place", 0, make_robust, produce_in_place, consume_in_place);
WAY(batch, "tandem by 32", 1, make_robust, produce_batch, consume_batch);
#undef WAY

const struct contender *const N(tandem_spsc)[] = {
    &N(robust), &N(waiting), &N(in_memory), &N(plain), &N(untyped), &N(in_place), &N(batch), NULL,
};
