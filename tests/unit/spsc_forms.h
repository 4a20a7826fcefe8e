// SPDX-License-Identifier: BSD-2-Clause
// What every kind of ring must do, typed or not. No include guard: spsc_test.c and
// spsc_peer_test.c include it once for each kind, after
//
//	FORM(op)     the ring's function of that name, and struct FORM(producer), FORM(consumer)
//	ELEM         its element, void for untyped rings
//	BARE(h)      the untyped handle in handle h
//	ATTACH(role, handle, span, elem_size, self)
//	NAMED(x)     a name for what is defined here
#ifndef TDM_TESTS_UNIT_SPSC_FORMS_H
#	define TDM_TESTS_UNIT_SPSC_FORMS_H

#	define CALL_LIMIT_NS UINT64_C(10000000000) // for calls that should not wait at all

tdm_function uint64_t mix(uint64_t value) // splitmix64's finalizer
{
	value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
	return value ^ (value >> 31);
}

tdm_function uint64_t random_below(uint64_t *state, uint64_t limit)
{
	*state += UINT64_C(0x9e3779b97f4a7c15);
	return mix(*state) % limit;
}

// The bytes of the element at `position`.
tdm_function unsigned char pattern_byte(uint64_t position, uint64_t i)
{
	return TDM_CAST(unsigned char, mix(position * 512 + i / 8) >> (i % 8 * 8));
}

tdm_function void pattern_put(void *elem, uint64_t size, uint64_t position)
{
	unsigned char *bytes = TDM_CAST(unsigned char *, elem);
	for (uint64_t i = 0; i < size; i++)
		bytes[i] = pattern_byte(position, i);
}

tdm_function bool pattern_is(const void *elem, uint64_t size, uint64_t position)
{
	const unsigned char *bytes = TDM_CAST(const unsigned char *, elem);
	for (uint64_t i = 0; i < size; i++)
		if (bytes[i] != pattern_byte(position, i))
			return false;
	return true;
}

#endif

// A ring, its handles and its model: two numbers.
struct NAMED(ring) {
	struct tdm_span span;
	struct tdm_participant *self; // NULL: plain
	uint64_t elem_size;
	uint64_t capacity;
	struct FORM(producer) out;
	struct FORM(consumer) in;
	uint64_t pushed;
	uint64_t popped;
	uint64_t peeked; // elements from the next one on that were peeked at
	uint64_t random;
	unsigned char *scratch; // capacity + 3 elements
};

// The elements at the positions from `position` on are in memory at `elems`.
tdm_function bool NAMED(came)(const struct NAMED(ring) * ring, const void *elems, uint64_t position,
			      uint64_t count)
{
	const unsigned char *bytes = TDM_CAST(const unsigned char *, elems);
	for (uint64_t i = 0; i < count; i++)
		if (!CHECK(pattern_is(bytes + i * ring->elem_size, ring->elem_size, position + i)))
			return false;
	return true;
}

tdm_function ELEM *NAMED(fill)(const struct NAMED(ring) * ring, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		pattern_put(ring->scratch + i * ring->elem_size, ring->elem_size, ring->pushed + i);
	return TDM_CAST(ELEM *, TDM_CAST(void *, ring->scratch));
}

tdm_function bool NAMED(step_producer)(struct NAMED(ring) * ring)
{
	uint64_t room = ring->capacity - (ring->pushed - ring->popped);
	uint64_t wanted = random_below(&ring->random, ring->capacity + 4);
	uint64_t fits = wanted < room ? wanted : room;
	enum tdm_status full = room > 0 ? TDM_OK : TDM_FULL;
	enum tdm_status late = room > 0 ? TDM_OK : TDM_TIMED_OUT;
	uint64_t deadline_ns = random_below(&ring->random, 2) == 0 ? 0 : tdm_now_ns();
	size_t count = TDM_CAST(size_t, wanted);
	size_t done = 12345;
	ELEM *slot = TDM_CAST(ELEM *, TDM_CAST(void *, ring->scratch));
	bool held = true;
	switch (random_below(&ring->random, 11)) {
	case 0:
	case 1:
	case 2:
		held = CHECK_STATUS(FORM(try_push)(&ring->out, NAMED(fill)(ring, 1)), full);
		ring->pushed += full == TDM_OK;
		break;
	case 3:
		held = CHECK_STATUS(
		    FORM(try_push_n)(&ring->out, NAMED(fill)(ring, wanted), count, &done),
		    wanted > 0 ? full : TDM_OK);
		held = CHECK_EQ_U64(done, fits) && held;
		ring->pushed += fits;
		break;
	case 4:
		held = CHECK_STATUS(FORM(push_until)(&ring->out, NAMED(fill)(ring, 1), deadline_ns),
				    late);
		ring->pushed += full == TDM_OK;
		break;
	case 5:
		held = CHECK_STATUS(FORM(push_n_until)(&ring->out, NAMED(fill)(ring, wanted), count,
						       &done, deadline_ns),
				    wanted > room ? TDM_TIMED_OUT : TDM_OK);
		held = CHECK_EQ_U64(done, fits) && held;
		ring->pushed += fits;
		break;
	case 6:
		if (room == 0)
			break;
		held = CHECK_STATUS(FORM(push)(&ring->out, NAMED(fill)(ring, 1)), TDM_OK);
		ring->pushed++;
		break;
	case 7: // reserve, be refused everything else, commit
	case 8:
		held = CHECK_STATUS(wanted % 2 == 0
					? FORM(try_reserve)(&ring->out, &slot)
					: FORM(reserve_until)(&ring->out, &slot, deadline_ns),
				    wanted % 2 == 0 ? full : late);
		if (room == 0) {
			held = CHECK(slot == TDM_NULL) && held;
			held = CHECK_STATUS(FORM(commit)(&ring->out), TDM_INVALID) && held;
			break;
		}
		pattern_put(slot, ring->elem_size, ring->pushed);
		if (wanted % 3 == 0) {
			ELEM *second = slot;
			held =
			    CHECK_STATUS(FORM(try_reserve)(&ring->out, &second), TDM_BUSY) &&
			    CHECK(second == TDM_NULL) &&
			    CHECK_STATUS(FORM(try_push)(&ring->out, NAMED(fill)(ring, 1)),
					 TDM_BUSY) &&
			    CHECK_STATUS(FORM(push)(&ring->out, NAMED(fill)(ring, 1)), TDM_BUSY) &&
			    CHECK_STATUS(
				FORM(try_push_n)(&ring->out, NAMED(fill)(ring, 1), 1, &done),
				TDM_BUSY) &&
			    CHECK_EQ_U64(done, 0) && held;
		}
		held = CHECK_STATUS(FORM(commit)(&ring->out), TDM_OK) && held;
		ring->pushed++;
		break;
	case 9: // reserve and abort: nobody ever sees it
		held = CHECK_STATUS(FORM(try_reserve)(&ring->out, &slot), full);
		if (room > 0)
			memset(TDM_CAST(void *, slot), 0xee, TDM_CAST(size_t, ring->elem_size));
		held = CHECK_STATUS(FORM(abort)(&ring->out), room > 0 ? TDM_OK : TDM_INVALID) &&
		       CHECK_STATUS(FORM(abort)(&ring->out), TDM_INVALID) && held;
		break;
	default: // leave, with a reservation open or not, and come back
		if (wanted % 4 != 0)
			break;
		if (wanted % 8 == 0)
			(void)!CHECK_STATUS(FORM(try_reserve)(&ring->out, &slot), full);
		held = CHECK_STATUS(FORM(producer_detach)(&ring->out), TDM_OK) &&
		       CHECK_STATUS(
			   ATTACH(producer, &ring->out, ring->span, ring->elem_size, ring->self),
			   TDM_OK);
		held = CHECK(!BARE(ring->out).took_over) && held;
		break;
	}
	return CHECK_EQ_U64(tdm_spsc_producer_position(&BARE(ring->out)), ring->pushed) && held;
}

tdm_function bool NAMED(step_consumer)(struct NAMED(ring) * ring)
{
	uint64_t used = ring->pushed - ring->popped;
	uint64_t wanted = random_below(&ring->random, ring->capacity + 4);
	uint64_t there = wanted < used ? wanted : used;
	enum tdm_status empty = used > 0 ? TDM_OK : TDM_EMPTY;
	enum tdm_status late = used > 0 ? TDM_OK : TDM_TIMED_OUT;
	uint64_t deadline_ns = random_below(&ring->random, 2) == 0 ? 0 : tdm_now_ns();
	size_t count = TDM_CAST(size_t, wanted);
	size_t done = 12345;
	uint64_t popped = 0;
	ELEM *to = TDM_CAST(ELEM *, TDM_CAST(void *, ring->scratch));
	const ELEM *seen = to;
	bool held = true;
	memset(ring->scratch, 0x5a, TDM_CAST(size_t, (wanted + 1) * ring->elem_size));
	switch (random_below(&ring->random, 11)) {
	case 0:
	case 1:
	case 2:
		held = CHECK_STATUS(FORM(try_pop)(&ring->in, to), empty);
		popped = used > 0;
		held = NAMED(came)(ring, ring->scratch, ring->popped, popped) && held;
		break;
	case 3:
		held = CHECK_STATUS(FORM(try_pop_n)(&ring->in, to, count, &done),
				    wanted > 0 ? empty : TDM_OK);
		held = CHECK_EQ_U64(done, there) && held;
		popped = there;
		held = NAMED(came)(ring, ring->scratch, ring->popped, popped) && held;
		break;
	case 4:
		held = CHECK_STATUS(FORM(pop_until)(&ring->in, to, deadline_ns), late);
		popped = used > 0;
		held = NAMED(came)(ring, ring->scratch, ring->popped, popped) && held;
		break;
	case 5:
		held = CHECK_STATUS(FORM(pop_n_until)(&ring->in, to, count, &done, deadline_ns),
				    wanted > 0 ? late : TDM_OK);
		held = CHECK_EQ_U64(done, there) && held;
		popped = there;
		held = NAMED(came)(ring, ring->scratch, ring->popped, popped) && held;
		break;
	case 6:
		if (used == 0)
			break;
		held = CHECK_STATUS(FORM(pop)(&ring->in, to), TDM_OK);
		popped = 1;
		held = NAMED(came)(ring, ring->scratch, ring->popped, popped) && held;
		break;
	case 7: // peek, and release or not
		held =
		    CHECK_STATUS(wanted % 2 == 0 ? FORM(try_peek)(&ring->in, &seen)
						 : FORM(peek_until)(&ring->in, &seen, deadline_ns),
				 wanted % 2 == 0 ? empty : late);
		if (used == 0) {
			held = CHECK(seen == TDM_NULL) && held;
			break;
		}
		held = NAMED(came)(ring, seen, ring->popped, 1) && held;
		if (ring->peeked == 0)
			ring->peeked = 1;
		if (wanted % 3 == 0)
			break;
		held = CHECK_STATUS(FORM(release)(&ring->in), TDM_OK) && held;
		popped = 1;
		break;
	case 8: { // peek further ahead
		const void *ahead = ring;
		held = CHECK_STATUS(tdm_spsc_try_peek_at(&BARE(ring->in), wanted, &ahead),
				    wanted >= ring->capacity && wanted > 0 ? TDM_INVALID
				    : wanted < used                        ? TDM_OK
									   : TDM_EMPTY);
		if (wanted >= used) {
			held = CHECK(ahead == TDM_NULL) && held;
			break;
		}
		held = NAMED(came)(ring, ahead, ring->popped + wanted, 1) && held;
		if (ring->peeked < wanted + 1)
			ring->peeked = wanted + 1;
		break;
	}
	case 9: // release what was peeked at, and not more
		held = CHECK_STATUS(tdm_spsc_release_n(&BARE(ring->in), wanted),
				    wanted <= ring->peeked ? TDM_OK : TDM_INVALID);
		if (wanted <= ring->peeked)
			popped = wanted;
		break;
	default:
		if (wanted % 4 != 0)
			break;
		held = CHECK_STATUS(FORM(consumer_detach)(&ring->in), TDM_OK) &&
		       CHECK_STATUS(
			   ATTACH(consumer, &ring->in, ring->span, ring->elem_size, ring->self),
			   TDM_OK);
		held = CHECK(!BARE(ring->in).took_over) && held;
		ring->peeked = 0;
		break;
	}
	ring->popped += popped;
	ring->peeked -= popped < ring->peeked ? popped : ring->peeked;
	return CHECK_EQ_U64(tdm_spsc_consumer_position(&BARE(ring->in)), ring->popped) && held;
}

// A random walk over all operations, compared with the model at each step, until the ring has gone
// round five times. False: a check failed.
tdm_function bool NAMED(walk)(struct tdm_span span, struct tdm_participant *self,
			      uint64_t elem_size, uint64_t capacity, uint64_t start, uint64_t seed,
			      unsigned char *scratch)
{
	struct NAMED(ring) ring;
	struct tdm_spsc_info info;
	memset(&ring, 0, sizeof(ring));
	ring.span = span;
	ring.self = self;
	ring.elem_size = elem_size;
	ring.capacity = capacity;
	ring.pushed = ring.popped = start;
	ring.random = seed;
	ring.scratch = scratch;
	if (!CHECK_STATUS(ATTACH(producer, &ring.out, span, elem_size, self), TDM_OK) ||
	    !CHECK_STATUS(ATTACH(consumer, &ring.in, span, elem_size, self), TDM_OK))
		return false;
	bool held = true;
	uint64_t steps = 0;
	while (held && (steps < 600 || ring.pushed - start < 5 * capacity + 10)) {
		// Streaks of one side, so that the ring is full or empty now and then.
		bool produce = random_below(&ring.random, 8) >= (steps / 64 % 2 == 0 ? 3U : 5U);
		held = produce ? NAMED(step_producer)(&ring) : NAMED(step_consumer)(&ring);
		if (++steps % 16 == 0)
			held = held && CHECK_STATUS(tdm_spsc_check(span, &info), TDM_OK) &&
			       CHECK_EQ_U64(info.pushed, ring.pushed) &&
			       CHECK_EQ_U64(info.popped, ring.popped);
	}
	held = CHECK_STATUS(FORM(producer_detach)(&ring.out), TDM_OK) && held;
	held = CHECK_STATUS(FORM(consumer_detach)(&ring.in), TDM_OK) && held;
	if (!held)
		tap_note("element size %" PRIu64 ", capacity %" PRIu64 ", start %#" PRIx64
			 ", seed %" PRIu64 ", step %" PRIu64,
			 elem_size, capacity, start, seed, steps);
	return held;
}

// Every operation of a producer answers `expected`.
tdm_function void NAMED(all_of_producer)(struct FORM(producer) * out, enum tdm_status expected)
{
	TDM_ALIGNAS(4096) static unsigned char room[4096];
	ELEM *elem = TDM_CAST(ELEM *, TDM_CAST(void *, room));
	ELEM *slot = elem;
	size_t done = 1;
	uint64_t deadline_ns = tdm_deadline_after_ns(CALL_LIMIT_NS);
	CHECK_STATUS(FORM(try_push)(out, elem), expected);
	CHECK_STATUS(FORM(push_until)(out, elem, deadline_ns), expected);
	CHECK_STATUS(FORM(push)(out, elem), expected);
	CHECK_STATUS(FORM(try_push_n)(out, elem, 1, &done), expected);
	CHECK_EQ_U64(done, 0);
	done = 1;
	CHECK_STATUS(FORM(push_n_until)(out, elem, 1, &done, deadline_ns), expected);
	CHECK_EQ_U64(done, 0);
	CHECK_STATUS(FORM(try_reserve)(out, &slot), expected);
	CHECK(slot == TDM_NULL);
	slot = elem;
	CHECK_STATUS(FORM(reserve_until)(out, &slot, deadline_ns), expected);
	CHECK(slot == TDM_NULL);
	CHECK_STATUS(FORM(commit)(out), expected);
	CHECK_STATUS(FORM(abort)(out), expected);
	CHECK_STATUS(tdm_spsc_producer_peer(&BARE(*out)), expected);
	CHECK_STATUS(FORM(producer_detach)(out), expected);
}

// Every operation of a consumer answers `expected`.
tdm_function void NAMED(all_of_consumer)(struct FORM(consumer) * in, enum tdm_status expected)
{
	TDM_ALIGNAS(4096) static unsigned char room[4096];
	ELEM *elem = TDM_CAST(ELEM *, TDM_CAST(void *, room));
	const ELEM *slot = elem;
	const void *ahead = elem;
	size_t done = 1;
	uint64_t deadline_ns = tdm_deadline_after_ns(CALL_LIMIT_NS);
	CHECK_STATUS(FORM(try_pop)(in, elem), expected);
	CHECK_STATUS(FORM(pop_until)(in, elem, deadline_ns), expected);
	CHECK_STATUS(FORM(pop)(in, elem), expected);
	CHECK_STATUS(FORM(try_pop_n)(in, elem, 1, &done), expected);
	CHECK_EQ_U64(done, 0);
	done = 1;
	CHECK_STATUS(FORM(pop_n_until)(in, elem, 1, &done, deadline_ns), expected);
	CHECK_EQ_U64(done, 0);
	CHECK_STATUS(FORM(try_peek)(in, &slot), expected);
	CHECK(slot == TDM_NULL);
	slot = elem;
	CHECK_STATUS(FORM(peek_until)(in, &slot, deadline_ns), expected);
	CHECK(slot == TDM_NULL);
	CHECK_STATUS(tdm_spsc_try_peek_at(&BARE(*in), 1, &ahead), expected);
	CHECK(ahead == TDM_NULL);
	CHECK_STATUS(FORM(release)(in), expected);
	CHECK_STATUS(tdm_spsc_release_n(&BARE(*in), 0), expected);
	CHECK_STATUS(tdm_spsc_consumer_peer(&BARE(*in)), expected);
	CHECK_STATUS(FORM(consumer_detach)(in), expected);
}

#undef FORM
#undef ELEM
#undef BARE
#undef ATTACH
#undef NAMED
