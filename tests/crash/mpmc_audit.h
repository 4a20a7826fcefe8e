// SPDX-License-Identifier: BSD-2-Clause
// What must hold after a death in the world of mpmc_world.h.
#ifndef TDM_TESTS_CRASH_MPMC_AUDIT_H
#define TDM_TESTS_CRASH_MPMC_AUDIT_H

#include "mpmc_world.h"

// How often audits met what. A suite that never meets one side of a doubt proves nothing about it.
struct tally {
	uint64_t deaths;             // audited; a pair counts once
	uint64_t pushed, not_pushed; // elements in doubt
	uint64_t popped, not_popped;
	uint64_t skipped;   // positions of the dead
	uint64_t again;     // elements that were delivered again
	uint64_t delivered; // elements whose push had returned
	uint64_t peers;     // sleepers that got what they waited for
};
static struct tally tally;

static bool world_stopped; // the victim is stopped or at its end, and so alive

static void tally_note(const char *what)
{
	tap_note("%" PRIu64 " %s; %" PRIu64 " elements delivered, %" PRIu64
		 " of them again, %" PRIu64 " positions skipped; in doubt: pushes %" PRIu64
		 " there, %" PRIu64 " not; pops %" PRIu64 " done, %" PRIu64 " not",
		 tally.deaths, what, tally.delivered, tally.again, tally.skipped, tally.pushed,
		 tally.not_pushed, tally.popped, tally.not_popped);
}

#define EXPECT(cond, ...)                                                                          \
	do {                                                                                       \
		if (!(cond))                                                                       \
			return complain(__VA_ARGS__);                                              \
	} while (0)

__attribute__((format(printf, 1, 2))) static const char *complain(const char *format, ...)
{
	static char text[400];
	va_list arguments;
	va_start(arguments, format);
	int used = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	snprintf(text + used, sizeof(text) - (size_t)used,
		 " [capacity %u fill %u start %" PRIu64 " lead %u%s%s%s%s%s%s debris %d seat %d "
		 "drain %u]",
		 (unsigned)plan.capacity, (unsigned)plan.fill, plan.start, (unsigned)plan.lead,
		 plan.typed ? " typed" : "", plan.armed ? " armed" : "",
		 plan.fenced ? " fenced" : "", plan.recovers ? " recovers" : "",
		 plan.early ? " early" : "", plan.follow ? " follows" : "", (int)plan.debris,
		 (int)plan.seat, plan.drain);
	return text;
}

// --- the elements ---

// Was it in the hand of somebody whose call never returned?
static bool in_doubt(uint64_t id)
{
	for (unsigned who = DEBRIS; who < SURVIVOR; who++) {
		const struct hand *hand = &world->hands[who];
		for (unsigned i = 0; i < HAND && !tdm_load_acquire_u32(&hand->returned); i++)
			if (hand->items[i].id == id && item_is_whole(&hand->items[i]))
				return true;
		for (unsigned i = 0; i < LEASES; i++) {
			const struct lease_entry *lease = &world->leases[who][i];
			if (tdm_load_relaxed_u64(&lease->id) == id &&
			    tdm_load_acquire_u32(&lease->stage) == ACKING)
				return true;
		}
	}
	return false;
}

// With everything drained: each element once.
static const char *audit_books(void)
{
	uint32_t ids = tdm_load_relaxed_u32(&world->next_id);
	for (uint32_t id = 0; id < ids; id++) {
		struct entry *entry = entry_of(id);
		uint32_t pushing = tdm_load_acquire_u32(&entry->push);
		uint32_t popped = tdm_load_acquire_u32(&entry->popped);
		bool doubt = in_doubt(id);
		EXPECT(popped <= 1, "element %u was delivered %u times", id, popped);
		EXPECT(pushing != NOT_PUSHED || popped == 0, "element %u comes from nowhere", id);
		EXPECT(pushing != PUSHED || popped == 1 || doubt, "element %u is lost", id);
		tally.delivered += pushing == PUSHED && popped == 1;
		if (pushing == TRIED) {
			tally.pushed += popped == 1 || doubt;
			tally.not_pushed += popped == 0 && !doubt;
		}
		tally.popped += doubt && popped == 0;
		tally.not_popped += doubt && popped == 1;
	}
	return NULL;
}

// --- the survivor ---

// So many refusals in a row, and everything that is left behind has been found.
#define REFUSALS (2 * TDM_MPMC_PATIENCE_)

static enum tdm_status survivor_push(struct crew *crew, const struct item *item)
{
	return plan.push != NULL ? plan.push(&crew->out.ring, item)
				 : items_try_push(&crew->out, item);
}

static enum tdm_status survivor_pop(struct crew *crew, struct item *item)
{
	return plan.pop != NULL ? plan.pop(&crew->in.ring, item) : items_try_pop(&crew->in, item);
}

// The survivor has got an element for good. Those that nobody had before come in order.
static const char *receive(const struct item *item, uint64_t *last, bool counts)
{
	EXPECT(item_is_whole(item), "an element is torn: {%" PRIu64 ", %" PRIu64 ", %#" PRIx64 "}",
	       item->id, item->writer, item->sum);
	struct entry *entry = entry_of(item->id);
	tdm_fetch_add_relaxed_u32(&entry->popped, 1);
	bool again = tdm_load_relaxed_u32(&entry->failed) != 0 || in_doubt(item->id);
	tally.again += again && counts;
	if (again || plan.first->role != PRODUCER || plan.second != NULL ||
	    plan.debris >= HELD_POP || plan.peer == SERVES || world_stopped)
		return NULL;
	EXPECT(item->id + 1 > *last, "element %" PRIu64 " comes after %" PRIu64, item->id,
	       *last - 1);
	*last = item->id + 1;
	return NULL;
}

static const char *receive_lease(struct crew *crew, struct items_lease *lease, uint64_t *last)
{
	const struct item item = *lease->elem;
	EXPECT(item_is_whole(&item), "a taken element is torn");
	uint32_t failed = tdm_load_relaxed_u32(&entry_of(item.id)->failed);
	uint32_t others = plan.debris >= HELD_POP;
	others += plan.first->role == CONSUMER || plan.peer == SERVES;
	others += plan.second != NULL && plan.second->role == CONSUMER;
	EXPECT(lease->ring.attempt > failed && lease->ring.attempt <= 1 + failed + others,
	       "attempt %u at element %" PRIu64 ", which failed %u times", lease->ring.attempt,
	       item.id, failed);
	if (plan.drain % 2 == 1 && lease->ring.attempt == 1) {
		EXPECT(items_nack(&crew->in, lease) == TDM_OK, "nack");
		tdm_fetch_add_relaxed_u32(&entry_of(item.id)->failed, 1);
		return NULL;
	}
	EXPECT(items_ack(&crew->in, lease) == TDM_OK, "ack");
	return receive(&item, last, true);
}

// Elements that are in the ring, whoever has claimed them.
static uint64_t elements_in(const struct tdm_mpmc_info *info)
{
	struct tdm_slots slots;
	uint64_t elements = 0;
	MUST(tdm_slots_open_(&tdm_mpmc_layout_, ring, 0, 0, 0, &slots) == TDM_OK);
	unsigned char *first = TDM_AT_(unsigned char, ring.base, slots.first);
	for (uint64_t p = info->pushed - plan.capacity; p != info->pushed; p++)
		elements += ((tdm_load_acquire_u64(
				  tdm_slots_sequence_(first, p, slots.mask, slots.stride)) ^
			      (p + 1)) &
			     TDM_MPMC_POSITION_) == 0;
	return elements;
}

// Takes as many as there are at once, and acknowledges them, or gives each back once.
static const char *drain_by_leases(struct crew *crew)
{
	struct items_lease leases[TDM_MPMC_TAKES];
	struct tdm_mpmc_info info;
	uint64_t last = 0;
	for (;;) {
		unsigned held = 0;
		for (unsigned refused = 0; held < TDM_MPMC_TAKES && refused < REFUSALS;) {
			enum tdm_status status = items_try_take(&crew->in, &leases[held]);
			EXPECT(status == TDM_OK || status == TDM_EMPTY, "try_take: %s",
			       tdm_status_name(status));
			held += status == TDM_OK;
			refused = status == TDM_OK ? 0 : refused + 1;
		}
		EXPECT(tdm_mpmc_check(ring, &info) == TDM_OK, "check refuses the ring");
		EXPECT(held == TDM_MPMC_TAKES || held == elements_in(&info),
		       "%u of %" PRIu64 " elements could be taken", held, elements_in(&info));
		for (unsigned i = 0; i < held; i++) {
			const char *complaint = receive_lease(crew, &leases[i], &last);
			if (complaint != NULL)
				return complaint;
		}
		if (held == 0)
			return NULL;
	}
}

static const char *drain_by_pops(struct crew *crew)
{
	uint64_t last = 0;
	for (unsigned refused = 0; refused < REFUSALS;) {
		struct item batch[BATCH];
		size_t popped = 0;
		enum tdm_status status;
		if (plan.drain == 0) {
			status = survivor_pop(crew, batch);
			popped = status == TDM_OK;
		} else {
			status = items_try_pop_n(&crew->in, batch, BATCH, &popped);
		}
		EXPECT(status == (popped > 0 ? TDM_OK : TDM_EMPTY), "pop: %s",
		       tdm_status_name(status));
		refused = popped > 0 ? 0 : refused + 1;
		for (size_t i = 0; i < popped; i++) {
			const char *complaint = receive(&batch[i], &last, true);
			if (complaint != NULL)
				return complaint;
		}
	}
	return NULL;
}

// Waits until it is told that nobody is left: then there must be nothing left, either.
static const char *drain_by_waits(struct crew *crew)
{
	uint64_t last = 0;
	world_clock_ns = 1;
	for (;;) {
		struct item item;
		enum tdm_status status =
		    items_pop_until(&crew->in, &item, tdm_deadline_after_ns(50000000));
		if (status != TDM_OK) {
			world_clock_ns = 0;
			EXPECT(status == TDM_PEER_DIED || status == TDM_PEER_LEFT ||
				   (status == TDM_TIMED_OUT && world_stopped),
			       "pop_until: %s", tdm_status_name(status));
			return NULL;
		}
		const char *complaint = receive(&item, &last, true);
		if (complaint != NULL)
			return complaint;
	}
}

#define DRAINS 5U

static const char *audit_drain(struct crew *crew)
{
	switch (plan.drain) {
	case 0:
	case 1:
		return drain_by_pops(crew);
	case 2:
	case 3:
		return drain_by_leases(crew);
	default:
		return drain_by_waits(crew);
	}
}

// Full laps in each way of pushing and popping. The ring is empty before and after.
static const char *audit_laps(struct crew *crew)
{
	struct item batch[HAND], out[HAND];
	struct items_lease lease;
	uint64_t last = 0;
	size_t done = 0;
	uint64_t capacity = plan.capacity;
	for (unsigned lap = 0; lap < 3; lap++) {
		for (uint64_t i = 0; i <= capacity; i++)
			batch[i] = item_new(crew);
		if (lap == 0) {
			(void)!items_try_push_n(&crew->out, batch, capacity + 1, &done);
			EXPECT(done == capacity, "an empty ring takes %zu elements", done);
		}
		for (uint64_t i = 0; lap != 0 && i < capacity; i++)
			EXPECT(survivor_push(crew, &batch[i]) == TDM_OK, "push %u of an empty ring",
			       (unsigned)i);
		EXPECT(survivor_push(crew, &batch[capacity]) == TDM_FULL,
		       "a full ring takes another");
		settle_push(batch, capacity + 1, capacity);

		if (lap == 1) {
			EXPECT(items_try_pop_n(&crew->in, out, HAND, &done) == TDM_OK &&
				   done == capacity,
			       "a full ring gives %zu elements", done);
		}
		for (uint64_t i = 0; lap != 1 && i < capacity; i++) {
			if (lap == 0) {
				EXPECT(survivor_pop(crew, &out[i]) == TDM_OK, "pop");
				continue;
			}
			EXPECT(items_try_take(&crew->in, &lease) == TDM_OK, "take");
			out[i] = *lease.elem;
			EXPECT(lease.ring.attempt == 1, "attempt %u at first", lease.ring.attempt);
			EXPECT(items_ack(&crew->in, &lease) == TDM_OK, "ack");
		}
		for (uint64_t i = 0; i < capacity; i++) {
			EXPECT(out[i].id == batch[i].id, "element %" PRIu64 " instead of %" PRIu64,
			       out[i].id, batch[i].id);
			const char *complaint = receive(&out[i], &last, false);
			if (complaint != NULL)
				return complaint;
		}
	}
	EXPECT(survivor_pop(crew, out) == TDM_EMPTY, "an empty ring gives another");
	EXPECT(!armed(&ring_shm()->not_empty) && !armed(&ring_shm()->not_full),
	       "an event stays armed for nobody");
	return NULL;
}

// --- the seats ---

static const char *audit_seats(void)
{
	struct tdm_participant all[SEATS + 1];
	for (uint32_t i = 0; i < SEATS; i++) {
		enum tdm_status status = tdm_segment_join(&segment, &all[i], "all");
		EXPECT(status == TDM_OK, "seat %u is lost: %s", i, tdm_status_name(status));
	}
	EXPECT(tdm_segment_join(&segment, &all[SEATS], "more") == TDM_NO_SEATS,
	       "there is a seat too many");
	for (uint32_t i = 0; i < SEATS; i++)
		EXPECT(tdm_participant_leave(&all[i]) == TDM_OK, "a seat cannot be left");
	return NULL;
}

// --- peers ---

// The parked peer must learn of an element that is there, or of room; otherwise somebody gives it
// one, or takes all out.
static const char *audit_peer(void)
{
	struct tdm_mpmc_info info;
	struct crew helper;
	uint32_t recovered = 0;
	bool consumes = plan.first->role == PRODUCER;
	EXPECT(tdm_mpmc_check(ring, &info) == TDM_OK, "check refuses the ring");
	uint64_t elements = elements_in(&info);
	bool done = tdm_load_acquire_u32(&world->peer) != 0 ||
		    (consumes ? elements != 0 : elements != plan.capacity);
	if (plan.recovers || !done) {
		crew_join(&helper, HELPER, "helper");
		EXPECT(tdm_mpmc_recover(ring, &helper.self, &recovered) == TDM_OK, "recover");
		if (!done) {
			crew_attach(&helper, PRODUCER + CONSUMER);
			if (consumes)
				act_push(&helper);
			// What the dead one had is at the producer's next place, and comes last.
			for (uint64_t i = 0; i < plan.capacity && !consumes; i++) {
				helper.in.ring.doubts = TDM_MPMC_PATIENCE_ - 1;
				act_pop(&helper);
			}
		}
		crew_leave(&helper);
	}
	int end = 0;
	waitpid(peer_pid, &end, 0);
	peer_pid = 0;
	EXPECT(end == 0, "the peer failed");
	EXPECT(tdm_load_acquire_u32(&world->peer) == 1 + TDM_OK, "the parked peer got nothing: %s",
	       tdm_status_name((enum tdm_status)(tdm_load_acquire_u32(&world->peer) - 1)));
	tally.peers++;
	return NULL;
}

// --- all of it ---

// The survivor comes, takes what is there, and goes.
static const char *audit_survivor(void)
{
	struct tdm_mpmc_info info;
	struct crew *crew = &survivor;
	uint32_t count = 0;
	EXPECT(tdm_mpmc_check(ring, &info) == TDM_OK, "check refuses the ring");
	EXPECT(info.capacity == plan.capacity && info.elem_size == sizeof(struct item),
	       "check says otherwise");
	uint64_t elements = elements_in(&info);
	if (plan.recovers) {
		EXPECT(tdm_segment_reap(&segment, &count) == TDM_OK, "reap");
		EXPECT(tdm_segment_reap(&segment, &count) == TDM_OK && count == 0,
		       "%u seats died twice", count);
	}
	if (crew->self.lock == NULL)
		crew_join(crew, SURVIVOR, "survivor");
	if (plan.recovers) {
		uint32_t again = 0;
		EXPECT(tdm_mpmc_recover(ring, &crew->self, &count) == TDM_OK, "recover");
		EXPECT(tdm_mpmc_recover(ring, &crew->self, &again) == TDM_OK && again <= 1,
		       "%u positions were skipped twice", again);
		tally.skipped += count - again;
	}
	enum tdm_status status = TDM_OK;
	if (crew->in.ring.view.shm == NULL)
		status = items_consumer_attach(&crew->in, ring, &crew->self);
	EXPECT(status == TDM_OK, "consumer_attach: %s", tdm_status_name(status));
	const char *complaint = audit_drain(crew);
	if (complaint != NULL)
		return complaint;
	EXPECT(tdm_mpmc_check(ring, &info) == TDM_OK, "check refuses the ring");
	EXPECT(info.held == 0 && elements_in(&info) == 0,
	       "of %" PRIu64 " elements %" PRIu64 " are still there", elements, info.held);
	EXPECT(info.pushed == info.popped, "%" PRIu64 " positions claimed, %" PRIu64 " passed",
	       info.pushed, info.popped);
	if (crew->out.ring.view.shm == NULL)
		status = items_producer_attach(&crew->out, ring, &crew->self);
	EXPECT(status == TDM_OK, "producer_attach: %s", tdm_status_name(status));
	EXPECT(tdm_mpmc_producer_peers(&crew->out.ring) == TDM_OK &&
		   tdm_mpmc_consumer_peers(&crew->in.ring) == TDM_OK,
	       "the survivor does not see itself");
	complaint = audit_laps(crew);
	if (complaint == NULL)
		complaint = audit_books();
	if (complaint != NULL)
		return complaint;
	EXPECT(items_producer_detach(&crew->out) == TDM_OK, "producer_detach");
	EXPECT(items_consumer_detach(&crew->in) == TDM_OK, "consumer_detach");
	EXPECT(tdm_participant_leave(&crew->self) == TDM_OK, "the survivor cannot leave");
	EXPECT(tdm_mpmc_check(ring, &info) == TDM_OK && info.pushed == info.popped &&
		   info.held == 0,
	       "check does not agree");
	return NULL;
}

static const char *world_audit(void *state, bool completed)
{
	(void)state;
	tally.deaths += !completed;
	uint32_t problem = tdm_load_acquire_u32(&world->problem);
	EXPECT(problem == 0, "the victim saw what must not be, in line %u", problem);
	const char *complaint = plan.peer == PARKED ? audit_peer() : NULL;
	if (complaint == NULL)
		complaint = audit_survivor();
	problem = tdm_load_acquire_u32(&world->problem);
	EXPECT(complaint != NULL || problem == 0, "somebody saw what must not be, in line %u",
	       problem);
	if (complaint != NULL)
		return complaint;
	crew_go(&squatter);
	memset(&squatter, 0, sizeof(squatter));
	return tally.deaths % 8 == 0 ? audit_seats() : NULL; // which takes its time
}

// Beside a victim that is stopped: works a little, and gets in nobody's way.
tdm_function const char *beside_stopped(void *state, bool completed)
{
	(void)state, (void)completed;
	struct crew *crew = &survivor;
	uint32_t count = 0;
	if (crew->self.lock == NULL)
		crew_join(crew, SURVIVOR, "survivor");
	EXPECT(tdm_segment_reap(&segment, &count) == TDM_OK &&
		   count <= (plan.debris != NOTHING && plan.seat == UNTOUCHED),
	       "a stopped participant was reaped");
	EXPECT(tdm_mpmc_recover(ring, &crew->self, &count) == TDM_OK, "recover");
	uint32_t given_back = 0;
	for (unsigned i = 0; i < LEASES; i++)
		given_back += tdm_load_acquire_u32(&world->leases[FIRST][i].stage) >= NACKING;
	EXPECT(plan.debris != NOTHING || count <= given_back, "of a stopped one %u were recovered",
	       count);
	crew_attach(crew, PRODUCER + CONSUMER);
	act_pop_n(crew);
	act_push_n(crew);
	take(crew, 0);
	crew->in.ring.doubts = TDM_MPMC_PATIENCE_ - 1;
	act_pop(crew);
	crew->out.ring.doubts = TDM_MPMC_PATIENCE_ - 1;
	act_push(crew);
	return NULL;
}

// It has gone on to its end: nothing is in doubt.
tdm_function const char *after_stopped(void *state)
{
	(void)state;
	ack(&survivor, 0);
	world_stopped = true;
	const char *complaint = audit_survivor();
	world_stopped = false;
	uint32_t problem = tdm_load_acquire_u32(&world->problem);
	EXPECT(complaint != NULL || problem == 0, "somebody saw what must not be, in line %u",
	       problem);
	return complaint;
}

#endif
