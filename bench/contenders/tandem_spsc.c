// SPDX-License-Identifier: BSD-2-Clause
#include "tandem_spsc.h"

#include "tandem_pair_names.h"

#define ITEM item64
#include "tandem_spsc_ways.h"
#undef ITEM
#define ITEM item8
#include "tandem_spsc_ways.h"

static void tell(struct R(producer) * out, uint64_t number)
{
	const struct item8 item = {{number}};
	enum tdm_status status;
	while ((status = R(try_push)(out, &item)) != TDM_OK)
		pause_if(status, TDM_FULL);
}

static uint64_t hear(struct R(consumer) * in, uint64_t number)
{
	struct item8 item;
	enum tdm_status status;
	while ((status = R(try_pop)(in, &item)) != TDM_OK)
		pause_if(status, TDM_EMPTY);
	return item.word[0] != number;
}

static uint64_t ask(void *context, uint64_t first, uint64_t count)
{
	struct N(pair) *pair = context;
	struct N(end) end = pair->left;
	uint64_t wrong = 0;
	for (uint64_t number = first; number < first + count; number++) {
		tell(&end.out, number);
		wrong += hear(&end.in, number);
	}
	pair->left = end;
	return wrong;
}

static uint64_t answer(void *context, uint64_t first, uint64_t count)
{
	struct N(pair) *pair = context;
	struct N(end) end = pair->right;
	uint64_t wrong = 0;
	for (uint64_t number = first; number < first + count; number++) {
		wrong += hear(&end.in, number);
		tell(&end.out, number);
	}
	pair->right = end;
	return wrong;
}

static uint64_t ask_waiting(void *context, uint64_t first, uint64_t count)
{
	struct N(pair) *pair = context;
	struct N(end) end = pair->left;
	uint64_t wrong = 0;
	for (uint64_t number = first; number < first + count; number++) {
		struct item8 item = {{number}};
		must(R(push)(&end.out, &item));
		must(R(pop)(&end.in, &item));
		wrong += item.word[0] != number;
	}
	pair->left = end;
	return wrong;
}

static uint64_t answer_waiting(void *context, uint64_t first, uint64_t count)
{
	struct N(pair) *pair = context;
	struct N(end) end = pair->right;
	uint64_t wrong = 0;
	for (uint64_t number = first; number < first + count; number++) {
		struct item8 item;
		must(R(pop)(&end.in, &item));
		wrong += item.word[0] != number;
		item.word[0] = number;
		must(R(push)(&end.out, &item));
	}
	pair->right = end;
	return wrong;
}

#define TRIP(symbol, text, maker, left_run, right_run)                                             \
	static const struct contender symbol = {                                                   \
	    .name = (text),                                                                        \
	    .peer = "tandem",                                                                      \
	    .make = N(maker),                                                                      \
	    .unmake = N(unmake),                                                                   \
	    .left = {.enter = N(enter_left), .leave = N(leave_left), .run = (left_run)},           \
	    .right = {.enter = N(enter_right), .leave = N(leave_right), .run = (right_run)},       \
	}
TRIP(trip_robust, "tandem", make_robust, ask, answer);
TRIP(trip_plain, "tandem plain", make_plain, ask, answer);
TRIP(trip_waiting, "tandem, push and pop that wait", make_robust, ask_waiting, answer_waiting);

const struct contender *const tandem_spsc_trip[] = {&trip_robust, &trip_plain, &trip_waiting, NULL};
