// SPDX-License-Identifier: BSD-2-Clause
// What every kind of ring must do, typed or not. No include guard: mpmc_test.c and mpmc_peer_test.c
// include it once for each kind, after
//
//	FORM(op)     the ring's function of that name, struct FORM(producer), (consumer), (lease)
//	ELEM         its element, void for untyped rings
//	BARE(h)      the untyped handle or lease in h
//	ATTACH(role, handle, span, elem_size, self)
//	NAMED(x)     a name for what is defined here
#ifndef TDM_TESTS_UNIT_MPMC_FORMS_H
#	define TDM_TESTS_UNIT_MPMC_FORMS_H

#	define CALL_LIMIT_NS UINT64_C(10000000000) // for calls that should not wait at all
#	define OWED_MAX 4096U

// An element that a consumer has claimed and that is not released yet.
struct owed {
	uint64_t position;
	uint32_t attempt;
	bool taken; // false: it was given back, and is to be delivered again
};

#endif

// A ring, its handles and its model: two numbers, and what is owed.
struct NAMED(ring) {
	struct tdm_span span;
	struct tdm_participant *self; // NULL: plain
	uint64_t elem_size;
	uint64_t capacity;
	struct FORM(producer) out;
	struct FORM(consumer) in;
	uint64_t start;
	uint64_t pushed;
	uint64_t popped;
	struct owed owed[OWED_MAX]; // oldest first
	struct FORM(lease) leases[OWED_MAX];
	uint32_t owing;
	uint32_t taken;   // of these
	uint32_t patient; // attempts in a row that found nothing while something was owed
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

// Positions from `pushed` on whose slots are free.
tdm_function uint64_t NAMED(room)(const struct NAMED(ring) * ring)
{
	uint64_t room = ring->capacity - (ring->pushed - ring->popped);
	for (uint32_t i = 0; i < ring->owing; i++)
		if (ring->owed[i].position + ring->capacity - ring->pushed < room)
			room = ring->owed[i].position + ring->capacity - ring->pushed;
	return room;
}

tdm_function void NAMED(settled)(struct NAMED(ring) * ring, uint32_t which)
{
	ring->owing--;
	for (uint32_t i = which; i < ring->owing; i++) {
		ring->owed[i] = ring->owed[i + 1];
		ring->leases[i] = ring->leases[i + 1];
	}
}

// The oldest that is to be delivered again, or `owing`.
tdm_function uint32_t NAMED(oldest)(const struct NAMED(ring) * ring)
{
	uint32_t i = 0;
	while (i < ring->owing && ring->owed[i].taken)
		i++;
	return i;
}

tdm_function bool NAMED(step_producer)(struct NAMED(ring) * ring)
{
	uint64_t room = NAMED(room)(ring);
	uint64_t wanted = random_below(&ring->random, ring->capacity + 4);
	uint64_t fits = wanted < room ? wanted : room;
	enum tdm_status full = room > 0 ? TDM_OK : TDM_FULL;
	enum tdm_status late = room > 0 ? TDM_OK : TDM_TIMED_OUT;
	uint64_t deadline_ns = random_below(&ring->random, 2) == 0 ? 0 : tdm_now_ns();
	size_t count = TDM_CAST(size_t, wanted);
	size_t done = 12345;
	bool held = true;
	switch (random_below(&ring->random, 8)) {
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
	default: // leave and come back
		if (wanted % 4 != 0)
			break;
		held = CHECK_STATUS(FORM(producer_detach)(&ring->out), TDM_OK) &&
		       CHECK_STATUS(
			   ATTACH(producer, &ring->out, ring->span, ring->elem_size, ring->self),
			   TDM_OK);
		break;
	}
	return held;
}

// `popped` elements came to the scratch, or none with `status`.
tdm_function bool NAMED(step_popped)(struct NAMED(ring) * ring, enum tdm_status status,
				     enum tdm_status none, uint64_t wanted, uint64_t popped)
{
	uint64_t used = ring->pushed - ring->popped;
	uint64_t there = wanted < used ? wanted : used;
	uint32_t oldest = NAMED(oldest)(ring);
	if (there > TDM_MPMC_BATCH_)
		there = TDM_MPMC_BATCH_;
	if (used > 0) {
		bool held = CHECK_STATUS(status, TDM_OK) && CHECK_EQ_U64(popped, there) &&
			    NAMED(came)(ring, ring->scratch, ring->popped, there);
		ring->popped += there;
		return held;
	}
	if (status != TDM_OK || oldest == ring->owing) {
		ring->patient = oldest < ring->owing ? ring->patient + 1 : 0;
		return CHECK_STATUS(status, none) && CHECK_EQ_U64(popped, 0) &&
		       CHECK(ring->patient < TDM_MPMC_PATIENCE_);
	}
	ring->patient = 0;
	bool held = CHECK_EQ_U64(popped, 1) &&
		    NAMED(came)(ring, ring->scratch, ring->owed[oldest].position, 1);
	NAMED(settled)(ring, oldest);
	return held;
}

tdm_function bool NAMED(step_taken)(struct NAMED(ring) * ring, enum tdm_status status,
				    enum tdm_status none, const struct FORM(lease) * lease)
{
	uint32_t oldest = NAMED(oldest)(ring);
	uint32_t which = ring->owing;
	if (ring->self == TDM_NULL)
		return CHECK_STATUS(status, TDM_INVALID) && CHECK(lease->elem == TDM_NULL);
	if (ring->taken == TDM_MPMC_TAKES)
		return CHECK_STATUS(status, TDM_BUSY) && CHECK(lease->elem == TDM_NULL);
	if (status != TDM_OK) {
		ring->patient = oldest < ring->owing ? ring->patient + 1 : 0;
		return CHECK(ring->pushed == ring->popped) && CHECK_STATUS(status, none) &&
		       CHECK(lease->elem == TDM_NULL) && CHECK(ring->patient < TDM_MPMC_PATIENCE_);
	}
	for (uint32_t i = 0; i < ring->owing; i++)
		if (((ring->owed[i].position ^ BARE(*lease).position) & TDM_MPMC_POSITION_) == 0)
			which = i;
	ring->taken++;
	if (which < ring->owing) { // again
		ring->patient = 0;
		ring->leases[which] = *lease;
		bool held = CHECK(!ring->owed[which].taken) &&
			    CHECK_EQ_U64(BARE(*lease).attempt, ring->owed[which].attempt + 1U) &&
			    NAMED(came)(ring, lease->elem, ring->owed[which].position, 1);
		ring->owed[which].taken = true;
		ring->owed[which].attempt = BARE(*lease).attempt;
		return held;
	}
	ring->owed[ring->owing].position = ring->popped;
	ring->owed[ring->owing].attempt = 1;
	ring->owed[ring->owing].taken = true;
	ring->leases[ring->owing++] = *lease;
	return CHECK(ring->popped < ring->pushed) &&
	       CHECK_EQ_U64(BARE(*lease).position, ring->popped) &&
	       CHECK_EQ_U64(BARE(*lease).attempt, 1) &&
	       NAMED(came)(ring, lease->elem, ring->popped++, 1);
}

// Acknowledges one, or gives one back, and then neither is possible a second time.
tdm_function bool NAMED(step_settle)(struct NAMED(ring) * ring, bool back)
{
	uint32_t which = TDM_CAST(uint32_t, random_below(&ring->random, ring->owing + 1U));
	while (which < ring->owing && !ring->owed[which].taken)
		which++;
	if (which >= ring->owing)
		return true;
	struct FORM(lease) lease = ring->leases[which];
	bool held =
	    CHECK_STATUS(back ? FORM(nack)(&ring->in, &lease) : FORM(ack)(&ring->in, &lease),
			 TDM_OK) &&
	    CHECK_STATUS(FORM(ack)(&ring->in, &lease), TDM_INVALID) &&
	    CHECK_STATUS(FORM(nack)(&ring->in, &lease), TDM_INVALID);
	ring->taken--;
	ring->owed[which].taken = false;
	if (!back)
		NAMED(settled)(ring, which);
	return held;
}

tdm_function bool NAMED(step_consumer)(struct NAMED(ring) * ring)
{
	uint64_t wanted = random_below(&ring->random, ring->capacity + 4);
	uint64_t deadline_ns = random_below(&ring->random, 2) == 0 ? 0 : tdm_now_ns();
	size_t count = TDM_CAST(size_t, wanted);
	size_t done = 12345;
	enum tdm_status status;
	struct FORM(lease) lease;
	ELEM *to = TDM_CAST(ELEM *, TDM_CAST(void *, ring->scratch));
	memset(ring->scratch, 0x5a, TDM_CAST(size_t, (wanted + 1) * ring->elem_size));
	switch (random_below(&ring->random, 12)) {
	case 0:
	case 1:
		status = FORM(try_pop)(&ring->in, to);
		return NAMED(step_popped)(ring, status, TDM_EMPTY, 1, status == TDM_OK ? 1 : 0);
	case 2:
		status = FORM(try_pop_n)(&ring->in, to, count, &done);
		if (wanted == 0)
			return CHECK_STATUS(status, TDM_OK) && CHECK_EQ_U64(done, 0);
		return NAMED(step_popped)(ring, status, TDM_EMPTY, wanted, done);
	case 3:
		status = FORM(pop_until)(&ring->in, to, deadline_ns);
		return NAMED(step_popped)(ring, status, TDM_TIMED_OUT, 1, status == TDM_OK ? 1 : 0);
	case 4:
		status = FORM(pop_n_until)(&ring->in, to, count, &done, deadline_ns);
		if (wanted == 0)
			return CHECK_STATUS(status, TDM_OK) && CHECK_EQ_U64(done, 0);
		return NAMED(step_popped)(ring, status, TDM_TIMED_OUT, wanted, done);
	case 5:
		if (ring->pushed == ring->popped)
			return true;
		return NAMED(step_popped)(ring, FORM(pop)(&ring->in, to), TDM_OK, 1, 1);
	case 6:
		status = FORM(try_take)(&ring->in, &lease);
		return NAMED(step_taken)(ring, status, TDM_EMPTY, &lease);
	case 7:
		status = FORM(take_until)(&ring->in, &lease, deadline_ns);
		return NAMED(step_taken)(ring, status, TDM_TIMED_OUT, &lease);
	case 8:
		if (ring->pushed == ring->popped)
			return true;
		status = FORM(take)(&ring->in, &lease);
		return NAMED(step_taken)(ring, status, TDM_OK, &lease);
	case 9:
		return NAMED(step_settle)(ring, false);
	case 10:
		return NAMED(step_settle)(ring, wanted % 2 == 0);
	default: // leave, which gives back what was taken, and come back
		if (wanted % 4 != 0)
			return true;
		for (uint32_t i = 0; i < ring->owing; i++)
			ring->owed[i].taken = false;
		ring->taken = 0;
		ring->patient = 0;
		return CHECK_STATUS(FORM(consumer_detach)(&ring->in), TDM_OK) &&
		       CHECK_STATUS(
			   ATTACH(consumer, &ring->in, ring->span, ring->elem_size, ring->self),
			   TDM_OK);
	}
}

// A random walk over all operations, compared with the model at each step, until the ring has gone
// round five times. False: a check failed.
tdm_function bool NAMED(walk)(struct tdm_span span, struct tdm_participant *self,
			      uint64_t elem_size, uint64_t capacity, uint64_t start, uint64_t seed,
			      unsigned char *scratch)
{
	static struct NAMED(ring) ring;
	struct tdm_mpmc_info info;
	memset(&ring, 0, sizeof(ring));
	ring.span = span;
	ring.self = self;
	ring.elem_size = elem_size;
	ring.capacity = capacity;
	ring.start = ring.pushed = ring.popped = start;
	ring.random = seed;
	ring.scratch = scratch;
	if (!CHECK_STATUS(ATTACH(producer, &ring.out, span, elem_size, self), TDM_OK) ||
	    !CHECK_STATUS(ATTACH(consumer, &ring.in, span, elem_size, self), TDM_OK))
		return false;
	bool held = true;
	uint64_t steps = 0;
	while (held && (steps < 800 || ring.pushed - start < 5 * capacity + 10)) {
		// Streaks of one side, so that the ring is full or empty now and then.
		bool produce = random_below(&ring.random, 8) >= (steps / 64 % 2 == 0 ? 3U : 5U);
		held = produce ? NAMED(step_producer)(&ring) : NAMED(step_consumer)(&ring);
		if (++steps % 16 == 0)
			held = held && CHECK_STATUS(tdm_mpmc_check(span, &info), TDM_OK) &&
			       CHECK_EQ_U64(info.pushed, ring.pushed) &&
			       CHECK_EQ_U64(info.popped, ring.popped) &&
			       CHECK_EQ_U64(info.held, ring.owing);
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
	TDM_ALIGNAS(4096) static unsigned char space[4096];
	ELEM *elem = TDM_CAST(ELEM *, TDM_CAST(void *, space));
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
	CHECK_STATUS(tdm_mpmc_producer_peers(&BARE(*out)), expected);
	CHECK_STATUS(FORM(producer_detach)(out), expected);
}

// Every operation of a consumer answers `expected`.
tdm_function void NAMED(all_of_consumer)(struct FORM(consumer) * in, enum tdm_status expected)
{
	TDM_ALIGNAS(4096) static unsigned char space[4096];
	ELEM *elem = TDM_CAST(ELEM *, TDM_CAST(void *, space));
	struct FORM(lease) lease;
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
	memset(&lease, 0x5a, sizeof(lease));
	CHECK_STATUS(FORM(try_take)(in, &lease), expected);
	CHECK(lease.elem == TDM_NULL);
	memset(&lease, 0x5a, sizeof(lease));
	CHECK_STATUS(FORM(take_until)(in, &lease, deadline_ns), expected);
	CHECK(lease.elem == TDM_NULL);
	memset(&lease, 0x5a, sizeof(lease));
	CHECK_STATUS(FORM(take)(in, &lease), expected);
	CHECK(lease.elem == TDM_NULL);
	CHECK_STATUS(FORM(ack)(in, &lease), expected);
	CHECK_STATUS(FORM(nack)(in, &lease), expected);
	CHECK_STATUS(tdm_mpmc_consumer_peers(&BARE(*in)), expected);
	CHECK_STATUS(FORM(consumer_detach)(in), expected);
}

#undef FORM
#undef ELEM
#undef BARE
#undef ATTACH
#undef NAMED
