// SPDX-License-Identifier: BSD-2-Clause
// Two rings of ITEM, `there` and `back`, robust ones in a segment or plain ones in memory, and the
// loop over single elements. Included once for each ITEM, after tandem_pair_names.h.
DEFINE_RING(N(ring), struct ITEM);

// What one side holds.
struct N(end) {
	_Alignas(TDM_CACHE_LINE) struct tdm_participant self;
	struct R(producer) out;
	struct R(consumer) in;
};

struct N(pair) {
	struct N(end) left;
	struct N(end) right;
	_Alignas(TDM_CACHE_LINE) struct tdm_segment segment;
	void *memory[2]; // a plain pair's
	bool plain;
};

static struct N(pair) * N(make_pair)(bool plain)
{
	struct N(pair) *pair = bench_memory(sizeof(*pair));
	pair->plain = plain;
	if (plain) {
		const uint64_t bytes = R(size)(BENCH_CAPACITY);
		for (int i = 0; i < 2; i++) {
			pair->memory[i] = bench_memory((size_t)bytes);
			must(R(init)(pair->memory[i], bytes, BENCH_CAPACITY));
		}
	} else {
		const struct tdm_segment_options options = {.sealed = true};
		struct tdm_object objects[] = {R(object)("there", BENCH_CAPACITY),
					       R(object)("back", BENCH_CAPACITY)};
		must(tdm_segment_create(&pair->segment, objects, 2, &options));
	}
	return pair;
}

static void *N(make_robust)(void)
{
	return N(make_pair)(false);
}

static inline void *N(make_plain)(void)
{
	return N(make_pair)(true);
}

static void N(unmake)(void *context)
{
	struct N(pair) *pair = context;
	if (!pair->plain)
		must(tdm_segment_close(&pair->segment));
	free(pair->memory[0]);
	free(pair->memory[1]);
	free(pair);
}

static void N(enter)(struct N(pair) * pair, struct N(end) * end, const char *out, const char *in)
{
	if (pair->plain) {
		const uint64_t bytes = R(size)(BENCH_CAPACITY);
		const int there = end == &pair->right;
		must(R(producer_attach)(&end->out, tdm_memory(pair->memory[there], bytes), NULL));
		must(R(consumer_attach)(&end->in, tdm_memory(pair->memory[!there], bytes), NULL));
		return;
	}
	must(tdm_segment_join(&pair->segment, &end->self, out));
	must(R(producer_attach)(&end->out, tdm_segment_find(&pair->segment, out), &end->self));
	must(R(consumer_attach)(&end->in, tdm_segment_find(&pair->segment, in), &end->self));
}

static void N(leave)(struct N(pair) * pair, struct N(end) * end)
{
	must(R(producer_detach)(&end->out));
	must(R(consumer_detach)(&end->in));
	if (!pair->plain)
		must(tdm_participant_leave(&end->self));
}

static void N(enter_left)(void *context)
{
	struct N(pair) *pair = context;
	N(enter)(pair, &pair->left, "there", "back");
}

static void N(enter_right)(void *context)
{
	struct N(pair) *pair = context;
	N(enter)(pair, &pair->right, "back", "there");
}

static void N(leave_left)(void *context)
{
	struct N(pair) *pair = context;
	N(leave)(pair, &pair->left);
}

static void N(leave_right)(void *context)
{
	struct N(pair) *pair = context;
	N(leave)(pair, &pair->right);
}

static uint64_t N(produce)(void *context, uint64_t first, uint64_t count)
{
	struct N(pair) *pair = context;
	struct R(producer) out = pair->left.out; // a local one: it can stay in registers
	for (uint64_t number = first; number < first + count; number++) {
		struct ITEM item;
		bench_fill(item.word, BENCH_WORDS(&item), number);
		enum tdm_status status;
		while ((status = R(try_push)(&out, &item)) != TDM_OK)
			pause_if(status, TDM_FULL);
	}
	pair->left.out = out;
	return 0;
}

static uint64_t N(consume)(void *context, uint64_t first, uint64_t count)
{
	struct N(pair) *pair = context;
	struct R(consumer) in = pair->right.in;
	uint64_t wrong = 0;
	struct ITEM item = {{0}}; // out here: gcc does not see that OK means filled
	for (uint64_t number = first; number < first + count; number++) {
		enum tdm_status status;
		while ((status = R(try_pop)(&in, &item)) != TDM_OK)
			pause_if(status, TDM_EMPTY);
		wrong += bench_wrong(item.word, BENCH_WORDS(&item), number);
	}
	pair->right.in = in;
	return wrong;
}
