// SPDX-License-Identifier: BSD-2-Clause
// A producer and a consumer of a lane, for one kind of ring. No include guard: mpmc_stress.c
// includes it once for each kind, after
//
//	FORM(op)     the ring's function of that name, struct FORM(producer), (consumer), (lease)
//	ELEM         its element, void for untyped rings
//	BARE(h)      the untyped handle or lease in h
//	ATTACH(role, handle, span, elem_size, self)
//	NAMED(x)     a name for what is defined here

static void NAMED(produce)(struct worker *worker, struct tdm_participant *self)
{
	struct FORM(producer) out;
	struct lane *lane = worker->lane;
	uint64_t random = worker->seed;
	unsigned char *scratch = worker->scratch;
	const ELEM *from = (const ELEM *)(const void *)scratch;
	uint64_t sequence = 0;
	if (!fine(lane, ATTACH(producer, &out, lane->span, lane->elem_size, self)))
		return;
	for (uint64_t turn = 0; !given_up(lane); turn++) {
		if (sequence + lane->batch > SEQUENCES ||
		    (sequence >= lane->least && turn % 16 == 0 && tdm_now_ns() > lane->until_ns))
			break;
		size_t count = 1 + (size_t)random_below(&random, lane->batch);
		// A plain ring cannot tell that nobody is there any more.
		uint64_t soon_ns = self != NULL && random_below(&random, 2) == 0
				       ? TDM_FOREVER
				       : tdm_deadline_after_ns(SOON_NS);
		size_t done = 1;
		enum tdm_status status = TDM_OK;
		switch (way_of(lane->producing, &random)) {
		case TRY:
		case TAKE:
			element_put(scratch, lane, worker->number, sequence);
			status = FORM(try_push)(&out, from);
			break;
		case WAIT:
			element_put(scratch, lane, worker->number, sequence);
			status = soon_ns == TDM_FOREVER ? FORM(push)(&out, from)
							: FORM(push_until)(&out, from, soon_ns);
			break;
		case BATCH:
			for (uint64_t i = 0; i < count; i++)
				element_put(scratch + i * lane->elem_size, lane, worker->number,
					    sequence + i);
			status = turn % 2 == 0
				     ? FORM(try_push_n)(&out, from, count, &done)
				     : FORM(push_n_until)(&out, from, count, &done, soon_ns);
			sequence += done;
			done = 0;
			break;
		case BROKEN:
			element_put(scratch, lane, worker->number, sequence);
			status = lane->broken_push(&BARE(out), scratch);
			break;
		case MIXED:
			break;
		}
		if (status == TDM_OK)
			sequence += done;
		else if (status == TDM_FULL)
			sched_yield();
		else if (status != TDM_TIMED_OUT && status != TDM_PEER_LEFT && !fine(lane, status))
			break;
		if (lane->comes_and_goes && random_below(&random, 256) == 0 &&
		    (!fine(lane, FORM(producer_detach)(&out)) ||
		     !fine(lane, ATTACH(producer, &out, lane->span, lane->elem_size, self))))
			break;
	}
	tdm_store_relaxed_u64(&worker->count, sequence);
	tdm_fetch_add_release_u32(&lane->verdict->finished, 1);
	(void)fine(lane, FORM(producer_detach)(&out));
}

// Acknowledges what it holds, or, where that is allowed, gives some of it back.
static void NAMED(settle)(struct FORM(consumer) * in, struct worker *worker,
			  struct FORM(lease) * leases, unsigned *held, uint64_t *random)
{
	while (*held > 0) {
		struct FORM(lease) *lease = &leases[--*held];
		if (worker->lane->gives_back && random_below(random, 8) == 0 &&
		    BARE(*lease).attempt < 5) {
			(void)fine(worker->lane, FORM(nack)(in, lease));
			continue;
		}
		if (worker->lane->gives_back)
			element_came(lease->elem, worker);
		else // it came when it was taken, and nobody has touched it since
			(void)element_whole(lease->elem, worker->lane);
		(void)fine(worker->lane, FORM(ack)(in, lease));
	}
}

static void NAMED(consume)(struct worker *worker, struct tdm_participant *self)
{
	struct FORM(consumer) in;
	struct FORM(lease) leases[TDM_MPMC_TAKES];
	struct lane *lane = worker->lane;
	uint64_t random = worker->seed;
	unsigned char *scratch = worker->scratch;
	ELEM *to = (ELEM *)(void *)scratch;
	unsigned held = 0;
	if (!fine(lane, ATTACH(consumer, &in, lane->span, lane->elem_size, self)))
		return;
	for (uint64_t turn = 0; !given_up(lane); turn++) {
		size_t count = 1 + (size_t)random_below(&random, lane->batch);
		uint64_t soon_ns = self != NULL && held == 0 && random_below(&random, 2) == 0
				       ? TDM_FOREVER
				       : tdm_deadline_after_ns(SOON_NS);
		size_t done = 1;
		enum tdm_status status = TDM_OK;
		enum way way = way_of(lane->consuming, &random);
		switch (way == TAKE && self == NULL ? TRY : way) {
		case TRY:
			status = FORM(try_pop)(&in, to);
			break;
		case WAIT:
			status = soon_ns == TDM_FOREVER ? FORM(pop)(&in, to)
							: FORM(pop_until)(&in, to, soon_ns);
			break;
		case BATCH:
			status = turn % 2 == 0 ? FORM(try_pop_n)(&in, to, count, &done)
					       : FORM(pop_n_until)(&in, to, count, &done, soon_ns);
			if ((status == TDM_OK) != (done > 0) || done > count)
				complain(&lane->verdict->miscounted);
			break;
		case TAKE:
			done = 0;
			status = turn % 2 == 0 ? FORM(try_take)(&in, &leases[held])
					       : FORM(take_until)(&in, &leases[held], soon_ns);
			if (status == TDM_OK && !lane->gives_back)
				element_came(leases[held].elem, worker);
			held += status == TDM_OK;
			if (held == lane->holds)
				NAMED(settle)(&in, worker, leases, &held, &random);
			break;
		case BROKEN:
			status = lane->broken_pop(&BARE(in), scratch);
			break;
		case MIXED:
			break;
		}
		if (status == TDM_OK) {
			for (size_t i = 0; i < done; i++)
				element_came(scratch + i * lane->elem_size, worker);
		} else if (status == TDM_EMPTY || status == TDM_TIMED_OUT ||
			   status == TDM_PEER_LEFT) {
			NAMED(settle)(&in, worker, leases, &held, &random);
			if (all_came(lane))
				break;
			sched_yield();
		} else if (!fine(lane, status)) {
			break;
		}
		if (!lane->comes_and_goes || random_below(&random, 256) != 0)
			continue;
		if (!lane->gives_back)
			NAMED(settle)(&in, worker, leases, &held, &random);
		held = 0; // the rest is given back
		if (!fine(lane, FORM(consumer_detach)(&in)) ||
		    !fine(lane, ATTACH(consumer, &in, lane->span, lane->elem_size, self)))
			break;
	}
	(void)fine(lane, FORM(consumer_detach)(&in));
}

#undef FORM
#undef ELEM
#undef BARE
#undef ATTACH
#undef NAMED
