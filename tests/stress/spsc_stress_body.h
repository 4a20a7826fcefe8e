// SPDX-License-Identifier: BSD-2-Clause
// The producer and the consumer of a lane, for one kind of ring. No include guard: spsc_stress.c
// includes it once for each kind, after
//
//	FORM(op)     the ring's function of that name, and struct FORM(producer), FORM(consumer)
//	ELEM         its element, void for untyped rings
//	BARE(h)      the untyped handle in handle h
//	ATTACH(role, handle, span, elem_size, self)
//	NAMED(x)     a name for what is defined here

// Leaves the ring and comes back, as another process might.
static bool NAMED(producer_returns)(struct FORM(producer) * out, struct lane *lane,
				    struct tdm_participant *self)
{
	uint64_t position = tdm_spsc_producer_position(&BARE(*out));
	return fine(lane, FORM(producer_detach)(out)) &&
	       fine(lane, ATTACH(producer, out, lane->span, lane->elem_size, self)) &&
	       tdm_spsc_producer_position(&BARE(*out)) == position && !BARE(*out).took_over;
}

static bool NAMED(consumer_returns)(struct FORM(consumer) * in, struct lane *lane,
				    struct tdm_participant *self)
{
	uint64_t position = tdm_spsc_consumer_position(&BARE(*in));
	return fine(lane, FORM(consumer_detach)(in)) &&
	       fine(lane, ATTACH(consumer, in, lane->span, lane->elem_size, self)) &&
	       tdm_spsc_consumer_position(&BARE(*in)) == position && !BARE(*in).took_over;
}

static void NAMED(produce)(struct lane *lane, struct tdm_participant *self)
{
	struct FORM(producer) out;
	uint64_t random = lane->seed;
	unsigned char *scratch = lane->scratch[0];
	if (!fine(lane, ATTACH(producer, &out, lane->span, lane->elem_size, self)))
		return;
	for (uint64_t turn = 0; !given_up(lane); turn++) {
		uint64_t position = tdm_spsc_producer_position(&BARE(out));
		if (position >= lane->least && turn % 16 == 0 && tdm_now_ns() > lane->until_ns)
			break;
		size_t count = 1 + (size_t)random_below(&random, lane->batch);
		uint64_t soon_ns =
		    random_below(&random, 2) == 0 ? TDM_FOREVER : tdm_deadline_after_ns(SOON_NS);
		size_t done = 0;
		ELEM *slot = NULL;
		enum tdm_status status = TDM_OK;
		switch (way_of(lane->producing, &random)) {
		case TRY:
			element_put(scratch, lane, position);
			status = FORM(try_push)(&out, (const ELEM *)(const void *)scratch);
			break;
		case WAIT:
			element_put(scratch, lane, position);
			status = soon_ns == TDM_FOREVER
				     ? FORM(push)(&out, (const ELEM *)(const void *)scratch)
				     : FORM(push_until)(&out, (const ELEM *)(const void *)scratch,
							soon_ns);
			break;
		case BATCH:
			for (uint64_t i = 0; i < count; i++)
				element_put(scratch + i * lane->elem_size, lane, position + i);
			status = turn % 2 == 0
				     ? FORM(try_push_n)(&out, (const ELEM *)(const void *)scratch,
							count, &done)
				     : FORM(push_n_until)(&out, (const ELEM *)(const void *)scratch,
							  count, &done, soon_ns);
			if (position + done != tdm_spsc_producer_position(&BARE(out)))
				complain(&lane->verdict->miscounted);
			break;
		case PLACE:
			status = turn % 2 == 0 ? FORM(try_reserve)(&out, &slot)
					       : FORM(reserve_until)(&out, &slot, soon_ns);
			if (status != TDM_OK)
				break;
			if (turn % 8 < 2) { // what is aborted is never seen
				memset(slot, 0xee, (size_t)lane->elem_size);
				status = FORM(abort)(&out);
				break;
			}
			element_put((unsigned char *)slot, lane, position);
			status = FORM(commit)(&out);
			break;
		case BROKEN:
			element_put(scratch, lane, position);
			status = lane->broken_push(&BARE(out), scratch);
			break;
		case MIXED:
			break;
		}
		if (status == TDM_FULL)
			sched_yield();
		else if (status != TDM_TIMED_OUT && status != TDM_PEER_LEFT && !fine(lane, status))
			break;
		if (lane->comes_and_goes && random_below(&random, 256) == 0 &&
		    !NAMED(producer_returns)(&out, lane, self)) {
			complain(&lane->verdict->miscounted);
			break;
		}
	}
	lane->verdict->total = tdm_spsc_producer_position(&BARE(out));
	tdm_store_release_u32(&lane->verdict->finished, 1);
	(void)fine(lane, FORM(producer_detach)(&out));
}

static void NAMED(consume)(struct lane *lane, struct tdm_participant *self)
{
	struct FORM(consumer) in;
	uint64_t random = ~lane->seed;
	unsigned char *scratch = lane->scratch[1];
	if (!fine(lane, ATTACH(consumer, &in, lane->span, lane->elem_size, self)))
		return;
	for (uint64_t turn = 0; !given_up(lane); turn++) {
		// Before the attempt: nothing is pushed after it, so that empty then means empty.
		bool finished = tdm_load_acquire_u32(&lane->verdict->finished) != 0;
		uint64_t position = tdm_spsc_consumer_position(&BARE(in));
		size_t count = 1 + (size_t)random_below(&random, lane->batch);
		uint64_t soon_ns =
		    random_below(&random, 2) == 0 ? TDM_FOREVER : tdm_deadline_after_ns(SOON_NS);
		size_t done = 0;
		const ELEM *seen = NULL;
		const void *ahead = NULL;
		enum tdm_status status = TDM_OK;
		switch (way_of(lane->consuming, &random)) {
		case TRY:
			status = FORM(try_pop)(&in, (ELEM *)(void *)scratch);
			if (status == TDM_OK)
				element_came(scratch, lane, position);
			break;
		case WAIT:
			status = soon_ns == TDM_FOREVER
				     ? FORM(pop)(&in, (ELEM *)(void *)scratch)
				     : FORM(pop_until)(&in, (ELEM *)(void *)scratch, soon_ns);
			if (status == TDM_OK)
				element_came(scratch, lane, position);
			break;
		case BATCH:
			status = turn % 2 == 0
				     ? FORM(try_pop_n)(&in, (ELEM *)(void *)scratch, count, &done)
				     : FORM(pop_n_until)(&in, (ELEM *)(void *)scratch, count, &done,
							 soon_ns);
			for (uint64_t i = 0; i < done; i++)
				element_came(scratch + i * lane->elem_size, lane, position + i);
			if (position + done != tdm_spsc_consumer_position(&BARE(in)))
				complain(&lane->verdict->miscounted);
			break;
		case PLACE: // as many as are there, up to `count`, where they lie
			status = turn % 2 == 0 ? FORM(try_peek)(&in, &seen)
					       : FORM(peek_until)(&in, &seen, soon_ns);
			if (status != TDM_OK)
				break;
			element_came((const unsigned char *)seen, lane, position);
			for (done = 1; done < count; done++) {
				if (tdm_spsc_try_peek_at(&BARE(in), done, &ahead) != TDM_OK)
					break;
				element_came(ahead, lane, position + done);
			}
			status = done > 1 || turn % 4 < 2 ? tdm_spsc_release_n(&BARE(in), done)
							  : FORM(release)(&in);
			break;
		case BROKEN:
			status = lane->broken_pop(&BARE(in), scratch);
			if (status == TDM_OK)
				element_came(scratch, lane, position);
			break;
		case MIXED:
			break;
		}
		if (status == TDM_EMPTY || status == TDM_TIMED_OUT || status == TDM_PEER_LEFT) {
			if (finished)
				break;
			sched_yield();
		} else if (!fine(lane, status)) {
			break;
		}
		if (lane->comes_and_goes && random_below(&random, 256) == 0 &&
		    !NAMED(consumer_returns)(&in, lane, self)) {
			complain(&lane->verdict->miscounted);
			break;
		}
	}
	if (tdm_spsc_consumer_position(&BARE(in)) != lane->verdict->total)
		complain(&lane->verdict->miscounted);
	(void)fine(lane, FORM(consumer_detach)(&in));
}

#undef FORM
#undef ELEM
#undef BARE
#undef ATTACH
#undef NAMED
