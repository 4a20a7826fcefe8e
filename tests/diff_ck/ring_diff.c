// SPDX-License-Identifier: BSD-2-Clause
// Rings against Concurrency Kit's: each answer, each element and each size, step by step; then
// several threads at one ring, and what came out. kit.h says where the two differ.
#include <pthread.h>
#include <sched.h>

#include <tandem/ring/mpmc.h>
#include <tandem/ring/spsc.h>

#include "../support/block.h"
#include "../support/broken/one_thread.h"
#include "../support/broken/spsc_off_by_one.h"
#include "../support/pattern.h"
#include "../support/tap.h"
#include "kit.h"

#define ELEM_MAX 24U
#define STEPS 1000000U // of all rings of one kind and element
#define MOOD 512U      // steps that favour one side

// --- tandem's ---

struct ring {
	struct block block;
	struct tdm_spsc_producer spsc_out;
	struct tdm_spsc_consumer spsc_in;
	struct tdm_mpmc_producer mpmc_out;
	struct tdm_mpmc_consumer mpmc_in;
	struct ring *views; // of other threads
};

static struct ring *ring_alloc(void)
{
	struct ring *ring = calloc(1, sizeof(*ring));
	if (ring == NULL)
		abort();
	return ring;
}

// Whether it was done; anything but `refusal` instead is wrong.
static bool is_ok(enum tdm_status status, enum tdm_status refusal)
{
	return status == TDM_OK || !CHECK_STATUS(status, refusal);
}

static void *spsc_make(uint64_t elem_size, uint64_t capacity, uint64_t start, bool shared)
{
	(void)shared;
	struct ring *ring = ring_alloc();
	struct tdm_object object = tdm_spsc_object("", elem_size, capacity);
	object.elem_align = elem_size % 8 == 0 ? 8 : 1;
	object.plain = true;
	ring->block = block_make(tdm_spsc_size(elem_size, object.elem_align, capacity), 8);
	struct tdm_span span = block_span(&ring->block);
	CHECK_STATUS(tdm_spsc_init_at_(span, &object, start), TDM_OK);
	CHECK_STATUS(tdm_spsc_producer_attach(&ring->spsc_out, span, elem_size, NULL), TDM_OK);
	CHECK_STATUS(tdm_spsc_consumer_attach(&ring->spsc_in, span, elem_size, NULL), TDM_OK);
	return ring;
}

static void mpmc_attach(struct ring *ring, struct tdm_span span)
{
	CHECK_STATUS(tdm_mpmc_producer_attach(&ring->mpmc_out, span, 0, NULL), TDM_OK);
	CHECK_STATUS(tdm_mpmc_consumer_attach(&ring->mpmc_in, span, 0, NULL), TDM_OK);
}

static void *mpmc_make(uint64_t elem_size, uint64_t capacity, uint64_t start, bool shared)
{
	(void)shared;
	struct ring *ring = ring_alloc();
	struct tdm_object object = tdm_mpmc_object("", elem_size, capacity);
	object.elem_align = elem_size % 8 == 0 ? 8 : 1;
	object.plain = true;
	ring->block = block_make(tdm_mpmc_size(elem_size, object.elem_align, capacity), 8);
	struct tdm_span span = block_span(&ring->block);
	CHECK_STATUS(tdm_mpmc_init_at_(span, &object, start), TDM_OK);
	mpmc_attach(ring, span);
	return ring;
}

static void *mpmc_view(void *ring)
{
	struct ring *it = ring, *view = ring_alloc();
	mpmc_attach(view, block_span(&it->block));
	view->views = it->views;
	it->views = view;
	return view;
}

// One handle for the producer, one for the consumer: that is all there are.
static void *spsc_view(void *ring)
{
	return ring;
}

static void ring_unmake(void *ring)
{
	struct ring *it = ring, *next;
	CHECK(block_end(&it->block));
	for (; it != NULL; it = next) {
		next = it->views;
		free(it);
	}
}

static uint64_t spsc_size(void *ring)
{
	const struct ring *it = ring;
	return tdm_spsc_producer_position(&it->spsc_out) - tdm_spsc_consumer_position(&it->spsc_in);
}

static bool spsc_push(void *ring, const void *elem)
{
	struct ring *it = ring;
	return is_ok(tdm_spsc_try_push(&it->spsc_out, elem), TDM_FULL);
}

// Only at the second attempt: the first reservation is given back.
static bool spsc_push_in_place(void *ring, const void *elem)
{
	struct ring *it = ring;
	void *slot;
	if (!is_ok(tdm_spsc_try_reserve(&it->spsc_out, &slot), TDM_FULL))
		return false;
	memset(slot, 0xee, (size_t)it->spsc_out.geometry.elem_size);
	CHECK_STATUS(tdm_spsc_abort(&it->spsc_out), TDM_OK);
	CHECK_STATUS(tdm_spsc_try_reserve(&it->spsc_out, &slot), TDM_OK);
	memcpy(slot, elem, (size_t)it->spsc_out.geometry.elem_size);
	CHECK_STATUS(tdm_spsc_commit(&it->spsc_out), TDM_OK);
	return true;
}

static size_t spsc_push_n(void *ring, const void *elems, size_t count)
{
	struct ring *it = ring;
	size_t done;
	bool any = is_ok(tdm_spsc_try_push_n(&it->spsc_out, elems, count, &done), TDM_FULL);
	CHECK(any == (done > 0 || count == 0));
	return done;
}

static bool spsc_pop(void *ring, void *elem)
{
	struct ring *it = ring;
	return is_ok(tdm_spsc_try_pop(&it->spsc_in, elem), TDM_EMPTY);
}

static bool spsc_peek_and_release(void *ring, void *elem)
{
	struct ring *it = ring;
	const void *slot;
	if (!is_ok(tdm_spsc_try_peek(&it->spsc_in, &slot), TDM_EMPTY))
		return false;
	memcpy(elem, slot, (size_t)it->spsc_in.geometry.elem_size);
	CHECK_STATUS(tdm_spsc_release(&it->spsc_in), TDM_OK);
	return true;
}

static size_t spsc_pop_n(void *ring, void *elems, size_t count)
{
	struct ring *it = ring;
	size_t done;
	bool any = is_ok(tdm_spsc_try_pop_n(&it->spsc_in, elems, count, &done), TDM_EMPTY);
	CHECK(any == (done > 0 || count == 0));
	return done;
}

static uint64_t mpmc_size(void *ring)
{
	struct ring *it = ring;
	struct tdm_mpmc_shm *shm = it->mpmc_out.view.shm;
	return tdm_load_relaxed_u64(&shm->tail) - tdm_load_relaxed_u64(&shm->head);
}

static bool mpmc_push(void *ring, const void *elem)
{
	struct ring *it = ring;
	return is_ok(tdm_mpmc_try_push(&it->mpmc_out, elem), TDM_FULL);
}

static bool mpmc_push_one(void *ring, const void *elem)
{
	struct ring *it = ring;
	return is_ok(tdm_mpmc_push_until(&it->mpmc_out, elem, 0), TDM_TIMED_OUT);
}

static size_t mpmc_push_n(void *ring, const void *elems, size_t count)
{
	struct ring *it = ring;
	size_t done;
	bool any = is_ok(tdm_mpmc_try_push_n(&it->mpmc_out, elems, count, &done), TDM_FULL);
	CHECK(any == (done > 0 || count == 0));
	return done;
}

static bool mpmc_pop(void *ring, void *elem)
{
	struct ring *it = ring;
	return is_ok(tdm_mpmc_try_pop(&it->mpmc_in, elem), TDM_EMPTY);
}

static bool mpmc_pop_one(void *ring, void *elem)
{
	struct ring *it = ring;
	return is_ok(tdm_mpmc_pop_until(&it->mpmc_in, elem, 0), TDM_TIMED_OUT);
}

static size_t mpmc_pop_n(void *ring, void *elems, size_t count)
{
	struct ring *it = ring;
	size_t done;
	bool any = is_ok(tdm_mpmc_try_pop_n(&it->mpmc_in, elems, count, &done), TDM_EMPTY);
	CHECK(any == (done > 0 || count == 0));
	return done;
}

static const struct ring_side tandem_spsc = {.name = "spsc",
					     .make = spsc_make,
					     .view = spsc_view,
					     .unmake = ring_unmake,
					     .size = spsc_size,
					     .push = spsc_push,
					     .push_in_place = spsc_push_in_place,
					     .push_n = spsc_push_n,
					     .pop = spsc_pop,
					     .pop_otherwise = spsc_peek_and_release,
					     .pop_n = spsc_pop_n};

static const struct ring_side tandem_mpmc = {.name = "mpmc",
					     .make = mpmc_make,
					     .view = mpmc_view,
					     .unmake = ring_unmake,
					     .size = mpmc_size,
					     .push = mpmc_push,
					     .push_in_place = mpmc_push_one,
					     .push_n = mpmc_push_n,
					     .pop = mpmc_pop,
					     .pop_otherwise = mpmc_pop_one,
					     .pop_n = mpmc_pop_n};

// --- step by step ---

enum ring_op { PUSH, PUSH_IN_PLACE, PUSH_N, POP, POP_OTHERWISE, POP_N };
static const char *const op_names[] = {"push", "push in place", "push n",
				       "pop",  "pop otherwise", "pop n"};

struct seen {
	uint64_t full, empty;
};

static size_t push_by(const struct ring_side *side, void *ring, enum ring_op op, const void *elems,
		      size_t count)
{
	return op == PUSH            ? side->push(ring, elems)
	       : op == PUSH_IN_PLACE ? side->push_in_place(ring, elems)
				     : side->push_n(ring, elems, count);
}

static size_t pop_by(const struct ring_side *side, void *ring, enum ring_op op, void *elems,
		     size_t count)
{
	return op == POP             ? side->pop(ring, elems)
	       : op == POP_OTHERWISE ? side->pop_otherwise(ring, elems)
				     : side->pop_n(ring, elems, count);
}

// How many steps were equal.
static uint64_t compare(const struct ring_side *side, const struct ring_side *kit,
			uint64_t elem_size, uint64_t capacity, uint64_t start, uint64_t steps,
			struct seen *seen)
{
	unsigned char elems[BATCH_MAX * ELEM_MAX], ours[sizeof(elems)], theirs[sizeof(elems)];
	void *one = side->make(elem_size, capacity, start, false);
	void *two = kit->make(elem_size, capacity, start, false);
	uint64_t random = capacity, number = 0, step, mood = 0;
	for (step = 0; step < steps; step++) {
		if (step % MOOD == 0)
			mood = 1 + random_below(&random, 3); // of 4 operations are pushes
		bool pushes = random_below(&random, 4) < mood;
		enum ring_op op = (enum ring_op)((pushes ? PUSH : POP) + random_below(&random, 3));
		size_t count = (size_t)random_below(&random, BATCH_MAX + 1);
		size_t wanted = op == PUSH_N || op == POP_N ? count : 1;
		size_t done, other;
		bool same = true;
		if (pushes) {
			for (size_t at = 0; at < count * elem_size || at < elem_size; at += 8) {
				uint64_t word = mix(number++);
				memcpy(elems + at, &word, 8);
			}
			done = push_by(side, one, op, elems, count);
			other = push_by(kit, two, op, elems, count);
			seen->full += other < wanted;
		} else {
			memset(ours, 0, sizeof(ours));
			memset(theirs, 0, sizeof(theirs));
			done = pop_by(side, one, op, ours, count);
			other = pop_by(kit, two, op, theirs, count);
			same = memcmp(ours, theirs, sizeof(ours)) == 0;
			seen->empty += other < wanted;
		}
		uint64_t size = side->size(one), kit_size = kit->size(two);
		if (same && done == other && size == kit_size)
			continue;
		tap_note("capacity %" PRIu64 ", step %" PRIu64 ": %s of %zu answers %zu and %zu%s, "
			 "then there are %" PRIu64 " and %" PRIu64,
			 capacity, step, op_names[op], count, done, other,
			 same ? "" : ", other elements", size, kit_size);
		break;
	}
	side->unmake(one);
	kit->unmake(two);
	return step;
}

static void test_steps(const struct ring_side *side, const struct ring_side *kit, bool of_one)
{
	static const uint64_t sizes[] = {1, 8, 24};
	static const uint64_t capacities[] = {1, 2, 4, 32, 256};
	// One at which 32 bits wrap around soon, and for mpmc also the 56 it keeps.
	static const uint64_t starts[] = {0, UINT32_MAX - 1000, (UINT64_C(1) << 56) - 1000};
	const size_t first = of_one ? 0 : 1;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		char sentence[100];
		uint64_t steps = STEPS / (COUNT(capacities) - first) / COUNT(starts) + 1;
		uint64_t equal = 0, asked = 0;
		snprintf(sentence, sizeof(sentence),
			 "a million operations on %s with elements of %" PRIu64 " bytes are %s's",
			 side->name, sizes[i], kit->name);
		tap_case(sentence);
		for (size_t j = first; j < COUNT(capacities); j++) {
			struct seen seen = {0, 0};
			for (size_t k = 0; k < COUNT(starts); k++) {
				asked += steps;
				equal += compare(side, kit, sizes[i], capacities[j], starts[k],
						 steps, &seen);
			}
			CHECK(seen.full > 1000 && seen.empty > 1000);
		}
		CHECK_EQ_U64(equal, asked);
	}
}

static bool push_off_by_one(void *ring, const void *elem)
{
	return broken_spsc_off_by_one(&((struct ring *)ring)->spsc_out, elem) == TDM_OK;
}

static bool push_one_less(void *ring, const void *elem)
{
	return broken_mpmc_push_one_less(&((struct ring *)ring)->mpmc_out, elem) == TDM_OK;
}

static size_t pop_n_turned(void *ring, void *elems, size_t count)
{
	size_t done;
	(void)broken_mpmc_pop_n_turned(&((struct ring *)ring)->mpmc_in, elems, count, &done);
	return done;
}

static void test_broken(void)
{
	struct ring_side off_by_one = tandem_spsc, one_less = tandem_mpmc, turned = tandem_mpmc;
	struct seen seen = {0, 0};
	off_by_one.push = push_off_by_one;
	one_less.push = push_one_less;
	turned.pop_n = pop_n_turned;
	tap_case("a producer that believes in one slot more is noticed");
	CHECK(compare(&off_by_one, &kit_spsc, 8, 32, 0, STEPS, &seen) < STEPS);
	tap_case("a ring that keeps a slot free is noticed");
	CHECK(compare(&one_less, &kit_mpmc, 8, 32, 0, STEPS, &seen) < STEPS);
	tap_case("a batch in the wrong order is noticed");
	CHECK(compare(&turned, &kit_mpmc, 8, 32, 0, STEPS, &seen) < STEPS);
}

// --- at once ---

#define SIDE_MAX 2U
#define ELEMS 5000U // of each producer

struct worker {
	const struct ring_side *side;
	void *ring;
	uint64_t elem_size, number, producers;
	tdm_atomic_u64 *popped; // by all
	uint64_t count, sum, mixed, disordered, torn;
};

static void *produce(void *argument)
{
	const struct worker *worker = argument;
	unsigned char elems[BATCH_MAX * ELEM_MAX];
	uint64_t random = worker->number, size = worker->elem_size;
	for (uint64_t next = 0; next < ELEMS;) {
		enum ring_op op = (enum ring_op)(PUSH + random_below(&random, 3));
		size_t count = 1 + (size_t)random_below(&random, BATCH_MAX);
		if (count > ELEMS - next)
			count = (size_t)(ELEMS - next);
		for (size_t i = 0; i < count; i++)
			for (size_t at = 0; at < size; at += 8) {
				uint64_t word = (worker->number << 32 | (next + i)) + (at << 40);
				memcpy(elems + i * size + at, &word, 8);
			}
		size_t done = push_by(worker->side, worker->ring, op, elems, count);
		if (done == 0)
			sched_yield();
		next += done;
	}
	return NULL;
}

static void *consume(void *argument)
{
	struct worker *worker = argument;
	unsigned char elems[BATCH_MAX * ELEM_MAX];
	uint64_t random = worker->number, size = worker->elem_size, next[SIDE_MAX] = {0};
	while (tdm_load_relaxed_u64(worker->popped) < ELEMS * worker->producers) {
		enum ring_op op = (enum ring_op)(POP + random_below(&random, 3));
		size_t count = 1 + (size_t)random_below(&random, BATCH_MAX);
		size_t done = pop_by(worker->side, worker->ring, op, elems, count);
		if (done == 0)
			sched_yield();
		for (size_t i = 0; i < done; i++) {
			uint64_t first, word;
			memcpy(&first, elems + i * size, 8);
			for (size_t at = 8; at < size; at += 8) {
				memcpy(&word, elems + i * size + at, 8);
				worker->torn += word != first + (at << 40);
			}
			uint64_t producer = first >> 32, sequence = first & UINT32_MAX;
			if (producer >= worker->producers) {
				worker->torn++;
				continue;
			}
			worker->disordered += sequence < next[producer];
			next[producer] = sequence + 1;
			worker->sum += sequence;
			worker->mixed += mix(first);
			worker->count++;
		}
		tdm_fetch_add_relaxed_u64(worker->popped, done);
	}
	return NULL;
}

// What all consumers together had.
static struct worker pass_through(const struct ring_side *side, uint64_t elem_size,
				  uint64_t capacity, unsigned count)
{
	struct worker workers[2 * SIDE_MAX], all;
	pthread_t threads[2 * SIDE_MAX];
	tdm_atomic_u64 popped = {0};
	void *ring = side->make(elem_size, capacity, 0, true);
	memset(&all, 0, sizeof(all));
	memset(workers, 0, sizeof(workers));
	for (unsigned i = 0; i < 2 * count; i++) {
		struct worker *worker = &workers[i];
		worker->side = side;
		worker->ring = side->view(ring);
		worker->elem_size = elem_size;
		worker->number = i % count;
		worker->producers = count;
		worker->popped = &popped;
	}
	for (unsigned i = 0; i < 2 * count; i++)
		if (pthread_create(&threads[i], NULL, i < count ? produce : consume, &workers[i]) !=
		    0)
			abort();
	for (unsigned i = 0; i < 2 * count; i++) {
		CHECK(pthread_join(threads[i], NULL) == 0);
		all.count += workers[i].count;
		all.sum += workers[i].sum;
		all.mixed += workers[i].mixed;
		all.disordered += workers[i].disordered;
		all.torn += workers[i].torn;
	}
	side->unmake(ring);
	return all;
}

static void test_together(const struct ring_side *side, const struct ring_side *kit, unsigned count)
{
	static const uint64_t capacities[] = {2, 64, 1024};
	for (uint64_t elem_size = 8; elem_size <= 24; elem_size += 16) {
		char sentence[100];
		snprintf(sentence, sizeof(sentence),
			 "%s passes %" PRIu64 " bytes from %u to %u threads as %s does", side->name,
			 elem_size, count, count, kit->name);
		tap_case(sentence);
		for (size_t i = 0; i < COUNT(capacities); i++) {
			struct worker ours = pass_through(side, elem_size, capacities[i], count);
			struct worker theirs = pass_through(kit, elem_size, capacities[i], count);
			CHECK_EQ_U64(ours.count, theirs.count);
			CHECK_EQ_U64(ours.sum, theirs.sum);
			CHECK_EQ_U64(ours.mixed, theirs.mixed);
			CHECK_EQ_U64(ours.disordered, 0);
			CHECK_EQ_U64(theirs.disordered, 0);
			CHECK_EQ_U64(ours.torn, 0);
			CHECK_EQ_U64(theirs.torn, 0);
		}
	}
}

int main(void)
{
	test_steps(&tandem_spsc, &kit_spsc, true);
	test_steps(&tandem_mpmc, &kit_mpmc, false);
	test_broken();
	test_together(&tandem_spsc, &kit_spsc, 1);
	test_together(&tandem_mpmc, &kit_mpmc, 2);
	return tap_done();
}
