// SPDX-License-Identifier: BSD-2-Clause
// Atomic operations against Concurrency Kit's: each answer and all bytes around the cell, step by
// step; then several threads on one cell, and the sums. kit.h says where the two differ.
#include <pthread.h>

#include <tandem/atomic.h>

#include "../support/broken/one_thread.h"
#include "../support/pattern.h"
#include "../support/tap.h"
#include "kit.h"

#define STEPS 1000000U
#define CELLS 4U
#define THREADS 4U
#define ROUNDS 20000U

// One order of read-modify-writes, with the orders of what cannot have it.
#define TANDEM_ATOMIC(N, T, order, read, write, tested)                                            \
	static uint64_t tandem_##N##_##order(enum atomic_op op, void *cell, uint64_t value,        \
					     uint64_t *expected)                                   \
	{                                                                                          \
		tdm_atomic_##N *a = cell;                                                          \
		T v = (T)value, found = (T)*expected;                                              \
		unsigned bit = (unsigned)value;                                                    \
		bool done;                                                                         \
		switch (op) {                                                                      \
		case OP_LOAD:                                                                      \
			return tdm_load_##read##_##N(a);                                           \
		case OP_STORE:                                                                     \
			tdm_store_##write##_##N(a, v);                                             \
			return 0;                                                                  \
		case OP_EXCHANGE:                                                                  \
			return tdm_exchange_##order##_##N(a, v);                                   \
		case OP_FETCH_ADD:                                                                 \
			return tdm_fetch_add_##order##_##N(a, v);                                  \
		case OP_FETCH_SUB:                                                                 \
			return tdm_fetch_sub_##order##_##N(a, v);                                  \
		case OP_FETCH_AND:                                                                 \
			return tdm_fetch_and_##order##_##N(a, v);                                  \
		case OP_FETCH_OR:                                                                  \
			return tdm_fetch_or_##order##_##N(a, v);                                   \
		case OP_FETCH_XOR:                                                                 \
			return tdm_fetch_xor_##order##_##N(a, v);                                  \
		case OP_FETCH_MIN:                                                                 \
			return tdm_fetch_min_##order##_##N(a, v);                                  \
		case OP_FETCH_MAX:                                                                 \
			return tdm_fetch_max_##order##_##N(a, v);                                  \
		case OP_ADD_UNLESS:                                                                \
			return tdm_add_unless_##order##_##N(a, v, found);                          \
		case OP_CAS:                                                                       \
			done = tdm_cas_strong_##order##_##read##_##N(a, &found, v);                \
			*expected = found;                                                         \
			return done;                                                               \
		case OP_BIT_SET:                                                                   \
			return tdm_bit_set_##order##_##N(a, bit);                                  \
		case OP_BIT_CLEAR:                                                                 \
			return tdm_bit_clear_##order##_##N(a, bit);                                \
		case OP_BIT_TEST:                                                                  \
			return tdm_bit_test_##read##_##N(a, bit);                                  \
		case OP_TEST_AND_SET:                                                              \
			return tdm_test_and_set_##tested##_##N(a);                                 \
		case OP_CLEAR:                                                                     \
			tdm_clear_##write##_##N(a);                                                \
			return 0;                                                                  \
		case OPS:                                                                          \
			break;                                                                     \
		}                                                                                  \
		abort();                                                                           \
	}

#define TANDEM_ATOMICS(N, T)                                                                       \
	TANDEM_ATOMIC(N, T, relaxed, relaxed, relaxed, relaxed)                                    \
	TANDEM_ATOMIC(N, T, acquire, acquire, relaxed, acquire)                                    \
	TANDEM_ATOMIC(N, T, release, relaxed, release, acq_rel)                                    \
	TANDEM_ATOMIC(N, T, acq_rel, acquire, release, acq_rel)                                    \
	TANDEM_ATOMIC(N, T, seq_cst, seq_cst, seq_cst, seq_cst)
TANDEM_ATOMICS(u8, uint8_t)
TANDEM_ATOMICS(u16, uint16_t)
TANDEM_ATOMICS(u32, uint32_t)
TANDEM_ATOMICS(u64, uint64_t)

#define ORDERS 5
#define TANDEM_ORDERS(N)                                                                           \
	{                                                                                          \
		tandem_##N##_relaxed, tandem_##N##_acquire, tandem_##N##_release,                  \
		    tandem_##N##_acq_rel, tandem_##N##_seq_cst                                     \
	}
static atomic_side *const tandem_atomics[WIDTHS][ORDERS] = {TANDEM_ORDERS(u8), TANDEM_ORDERS(u16),
							    TANDEM_ORDERS(u32), TANDEM_ORDERS(u64)};

static const char *const op_names[OPS] = {
    "load",     "store",     "exchange",  "fetch_add",    "fetch_sub",  "fetch_and",
    "fetch_or", "fetch_xor", "fetch_min", "fetch_max",    "add_unless", "cas",
    "bit_set",  "bit_clear", "bit_test",  "test_and_set", "clear",
};

// --- step by step ---

static uint64_t low(uint64_t value, unsigned width)
{
	return width == 3 ? value : value & ((UINT64_C(1) << (8U << width)) - 1);
}

// Often one at an edge, or one that is there already.
static uint64_t some_value(uint64_t *random, unsigned width, uint64_t there)
{
	static const uint64_t edges[] = {0,          1,
					 2,          0x7f,
					 0x80,       0xff,
					 0x8000,     UINT32_MAX,
					 INT64_MAX,  (uint64_t)INT64_MAX + 1,
					 UINT64_MAX, UINT64_MAX - 1};
	switch (random_below(random, 4)) {
	case 0:
		return low(edges[random_below(random, COUNT(edges))], width);
	case 1:
		return there;
	default:
		return low(mix(random_below(random, UINT64_MAX)), width);
	}
}

// How many steps were equal.
static uint64_t compare(atomic_side *const *sides, unsigned count, atomic_side *kit, unsigned width)
{
	TDM_ALIGNAS(8) unsigned char ours[CELLS * 8] = {0}, theirs[CELLS * 8] = {0};
	size_t bytes = (size_t)1 << width;
	uint64_t random = width;
	for (uint64_t step = 0; step < STEPS; step++) {
		enum atomic_op op = (enum atomic_op)random_below(&random, OPS);
		atomic_side *side = sides[random_below(&random, count)];
		size_t at = random_below(&random, CELLS) * bytes;
		uint64_t there = kit(OP_LOAD, theirs + at, 0, &(uint64_t){0});
		uint64_t value = some_value(&random, width, there);
		uint64_t expected = some_value(&random, width, there), other = expected;
		uint64_t one = side(op, ours + at, value, &expected);
		uint64_t two = kit(op, theirs + at, value, &other);
		if (one == two && expected == other && memcmp(ours, theirs, sizeof(ours)) == 0)
			continue;
		tap_note("step %" PRIu64 ": %s of %#" PRIx64 " on %#" PRIx64 " answers %#" PRIx64
			 " and %#" PRIx64 ", found %#" PRIx64 " and %#" PRIx64,
			 step, op_names[op], value, there, one, two, expected, other);
		return step;
	}
	return STEPS;
}

static void test_steps(void)
{
	for (unsigned width = 0; width < WIDTHS; width++) {
		char sentence[100];
		snprintf(sentence, sizeof(sentence),
			 "a million operations on %u bits, of all orders, are ck_pr's",
			 8U << width);
		tap_case(sentence);
		CHECK_EQ_U64(compare(tandem_atomics[width], ORDERS, kit_atomics[width], width),
			     STEPS);
	}
}

static uint64_t forgetful_cas(enum atomic_op op, void *cell, uint64_t value, uint64_t *expected)
{
	return op == OP_CAS ? broken_cas_forgets(cell, expected, value)
			    : tandem_u64_seq_cst(op, cell, value, expected);
}

static uint64_t short_bit(enum atomic_op op, void *cell, uint64_t value, uint64_t *expected)
{
	return op == OP_BIT_SET ? broken_bit_set_short(cell, (unsigned)value)
				: tandem_u64_seq_cst(op, cell, value, expected);
}

static void test_broken(void)
{
	atomic_side *const forgets = forgetful_cas, *const is_short = short_bit;
	tap_case("a CAS that does not tell what it found is noticed");
	CHECK(compare(&forgets, 1, kit_atomics[3], 3) < STEPS);
	tap_case("a mask of 32 bits for a word of 64 is noticed");
	CHECK(compare(&is_short, 1, kit_atomics[3], 3) < STEPS);
}

// --- at once ---

// Everybody works on these. Each thread's random operations are the same on either side, and all
// that is accounted for does not depend on who came first.
struct field {
	TDM_ALIGNAS(64) uint64_t sum;
	TDM_ALIGNAS(64) uint64_t lowest;
	TDM_ALIGNAS(64) uint64_t highest;
	TDM_ALIGNAS(64) uint64_t toggled;
	TDM_ALIGNAS(64) uint64_t mailbox; // what is put in comes out once
	TDM_ALIGNAS(64) uint64_t counted; // by CAS
	TDM_ALIGNAS(64) uint64_t limited; // not beyond ROUNDS
	TDM_ALIGNAS(64) uint64_t bits;
};

struct hand {
	struct field *field;
	atomic_side *side;
	unsigned width, number;
	uint64_t taken_out;    // of the mailbox, summed
	uint64_t added;        // to `limited`
	uint64_t set, cleared; // that were not so before
};

static void *work(void *argument)
{
	struct hand *hand = argument;
	struct field *field = hand->field;
	atomic_side *side = hand->side;
	uint64_t random = hand->number, expected = 0;
	for (uint64_t round = 0; round < ROUNDS; round++) {
		uint64_t value = low(mix(random_below(&random, UINT64_MAX)), hand->width);
		side(OP_FETCH_ADD, &field->sum, value, &expected);
		side(OP_FETCH_SUB, &field->sum, value >> 1, &expected);
		side(OP_FETCH_MIN, &field->lowest, value, &expected);
		side(OP_FETCH_MAX, &field->highest, value, &expected);
		side(OP_FETCH_XOR, &field->toggled, value, &expected);
		hand->taken_out += side(OP_EXCHANGE, &field->mailbox, value, &expected);
		expected = side(OP_LOAD, &field->counted, 0, &expected);
		while (side(OP_CAS, &field->counted, low(expected + 3, hand->width), &expected) ==
		       0)
			continue;
		expected = low(ROUNDS, hand->width);
		hand->added += side(OP_ADD_UNLESS, &field->limited, 1, &expected);
		if (round % 3 == 0)
			hand->cleared += side(OP_BIT_CLEAR, &field->bits, value, &expected);
		else
			hand->set += side(OP_BIT_SET, &field->bits, value, &expected) == 0;
	}
	return NULL;
}

struct account {
	uint64_t sum, lowest, highest, toggled, mailbox, counted, limited, added, bits;
};

static struct account work_together(atomic_side *side, unsigned width)
{
	static struct field field;
	struct hand hands[THREADS];
	pthread_t threads[THREADS];
	memset(&field, 0, sizeof(field));
	field.lowest = UINT64_MAX;
	memset(hands, 0, sizeof(hands));
	for (unsigned i = 0; i < THREADS; i++) {
		hands[i].field = &field;
		hands[i].side = side;
		hands[i].width = width;
		hands[i].number = i;
		if (pthread_create(&threads[i], NULL, work, &hands[i]) != 0)
			abort();
	}
	struct account account = {0};
	uint64_t set = 0, cleared = 0, none = 0;
	for (unsigned i = 0; i < THREADS; i++) {
		CHECK(pthread_join(threads[i], NULL) == 0);
		account.mailbox += hands[i].taken_out;
		account.added += hands[i].added;
		set += hands[i].set;
		cleared += hands[i].cleared;
	}
	account.sum = side(OP_LOAD, &field.sum, 0, &none);
	account.lowest = side(OP_LOAD, &field.lowest, 0, &none);
	account.highest = side(OP_LOAD, &field.highest, 0, &none);
	account.toggled = side(OP_LOAD, &field.toggled, 0, &none);
	account.mailbox += side(OP_LOAD, &field.mailbox, 0, &none);
	account.counted = side(OP_LOAD, &field.counted, 0, &none);
	account.limited = side(OP_LOAD, &field.limited, 0, &none);
	// Who came last at a bit decides, but each that was set was cleared, or is set.
	uint64_t left = side(OP_LOAD, &field.bits, 0, &none);
	account.bits = set - cleared - (uint64_t)__builtin_popcountll(left);
	return account;
}

static void test_together(void)
{
	for (unsigned width = 0; width < WIDTHS; width++) {
		char sentence[100];
		snprintf(sentence, sizeof(sentence),
			 "four threads on words of %u bits lose as little as with ck_pr",
			 8U << width);
		tap_case(sentence);
		struct account ours = work_together(tandem_atomics[width][0], width);
		struct account theirs = work_together(kit_atomics[width], width);
		CHECK_EQ_U64(ours.sum, theirs.sum);
		CHECK_EQ_U64(ours.lowest, theirs.lowest);
		CHECK_EQ_U64(ours.highest, theirs.highest);
		CHECK_EQ_U64(ours.toggled, theirs.toggled);
		CHECK_EQ_U64(ours.mailbox, theirs.mailbox);
		CHECK_EQ_U64(ours.counted, theirs.counted);
		CHECK_EQ_U64(ours.limited, theirs.limited);
		CHECK_EQ_U64(ours.added, theirs.added);
		CHECK_EQ_U64(ours.bits, 0);
		CHECK_EQ_U64(theirs.bits, 0);
		CHECK_EQ_U64(ours.counted, low(UINT64_C(3) * THREADS * ROUNDS, width));
	}
}

int main(void)
{
	test_steps();
	test_broken();
	test_together();
	return tap_done();
}
