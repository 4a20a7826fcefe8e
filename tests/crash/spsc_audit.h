// SPDX-License-Identifier: BSD-2-Clause
// What must hold after a death in the world of spsc_world.h.
#ifndef TDM_TESTS_CRASH_SPSC_AUDIT_H
#define TDM_TESTS_CRASH_SPSC_AUDIT_H

#include "spsc_world.h"

// How often audits met what. A suite that never meets one side of a doubt proves nothing about it.
struct tally {
	uint64_t deaths;             // audited; a pair counts once
	uint64_t pushed, not_pushed; // elements in doubt
	uint64_t popped, not_popped;
	uint64_t held, not_held; // roles in doubt
	uint64_t took_over;
	uint64_t acknowledged; // elements, found or known to be popped
	uint64_t peer_woken, peer_told;
	uint64_t won, lost, at_work; // attaching beside somebody who is stopped
};
static struct tally tally;

static void tally_note(const char *what)
{
	tap_note("%" PRIu64 " %s; in doubt: pushes %" PRIu64 " there, %" PRIu64
		 " not; pops %" PRIu64 " done, %" PRIu64 " not; roles %" PRIu64 " held, %" PRIu64
		 " not; %" PRIu64 " roles taken over",
		 tally.deaths, what, tally.pushed, tally.not_pushed, tally.popped, tally.not_popped,
		 tally.held, tally.not_held, tally.took_over);
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
		 " [capacity %u fill %u start %" PRIu64 " lead %u%s%s%s%s%s%s%s debris %u]",
		 (unsigned)plan.capacity, (unsigned)plan.fill, plan.start, (unsigned)plan.lead,
		 plan.typed ? " typed" : "", plan.stale ? " stale" : "", plan.armed ? " armed" : "",
		 plan.fenced ? " fenced" : "", plan.recovers ? " recovers" : "",
		 plan.early ? " early" : "", plan.follow ? " follows" : "", plan.debris);
	return text;
}

// --- the roles ---

enum holding { FREE, HELD, EITHER };

static enum holding after_action(enum holding before, const struct action *action, enum role role,
				 bool completed)
{
	if (action == NULL || action->role != role || action->phase == RECOVERS)
		return before;
	switch (action->phase) {
	case WORKS:
		return HELD;
	case DETACHES:
		return completed ? FREE : EITHER;
	default:
		return completed || before == HELD ? HELD : EITHER;
	}
}

// Must the dead hold the role now? With two victims the first never completed.
static enum holding holding_of(enum role role, bool completed)
{
	enum holding holding = (plan.debris & role) != 0 ? HELD : FREE;
	holding = after_action(holding, plan.first, role, completed && plan.second == NULL);
	return after_action(holding, plan.second, role, completed);
}

static const char *audit_role(enum role role, const struct tdm_role_info *info, bool completed)
{
	const char *name = role == PRODUCER ? "producer" : "consumer";
	bool dead = info->held || info->died;
	enum holding holding = holding_of(role, completed);
	EXPECT(info->ever, "nobody ever was the %s", name);
	EXPECT(holding != HELD || dead, "nobody is the %s, though it died as one", name);
	EXPECT(holding != FREE || !dead, "somebody is the %s, though nobody should be", name);
	tally.held += holding == EITHER && dead;
	tally.not_held += holding == EITHER && !dead;
	return NULL;
}

// --- the elements ---

// Whoever popped a position has it, whole.
static bool in_a_hand(uint64_t position)
{
	for (unsigned who = FIRST; who <= SURVIVOR; who++) {
		const struct hand *hand = &world->hands[who];
		uint64_t at = position - tdm_load_acquire_u64(&hand->first);
		if (at < HAND && item_is(&hand->items[at], position))
			return true;
	}
	return false;
}

static const char *audit_popped(uint64_t from, uint64_t to)
{
	for (uint64_t position = from; position != to; position++)
		EXPECT(in_a_hand(position), "element %" PRIu64 " was popped and did not arrive",
		       position);
	return NULL;
}

// Pops what is there, which must be everything from head to tail in order, and nothing else.
static const char *audit_drain(struct crew *crew, uint64_t tail)
{
	struct item item;
	while (crew_head(crew) != tail) {
		uint64_t position = crew_head(crew);
		enum tdm_status status = items_try_pop(&crew->in, &item);
		EXPECT(status == TDM_OK, "element %" PRIu64 " is lost: %s", position,
		       tdm_status_name(status));
		EXPECT(item_is(&item, position),
		       "element %" PRIu64 " is torn or another: {%" PRIu64 ", %" PRIu64
		       ", %#" PRIx64 "}",
		       position, item.position, item.writer, item.sum);
	}
	enum tdm_status status = items_try_pop(&crew->in, &item);
	EXPECT(status == TDM_EMPTY, "after the last element: %s", tdm_status_name(status));
	return NULL;
}

// Full laps in each way of pushing and popping. The ring is empty before and after.
static const char *audit_laps(struct crew *crew)
{
	struct item batch[HAND];
	size_t done = 0;
	for (unsigned lap = 0; lap < 3; lap++) {
		uint64_t tail = crew_tail(crew);
		for (uint64_t i = 0; i <= plan.capacity; i++)
			batch[i] = item_make(tail + i, SURVIVOR);
		if (lap == 0) {
			(void)!items_try_push_n(&crew->out, batch, plan.capacity + 1, &done);
			EXPECT(done == plan.capacity, "an empty ring takes %zu elements", done);
		}
		for (uint64_t i = 0; lap == 1 && i < plan.capacity; i++)
			EXPECT(items_try_push(&crew->out, &batch[i]) == TDM_OK,
			       "push %u of an empty ring", (unsigned)i);
		for (uint64_t i = 0; lap == 2 && i < plan.capacity; i++) {
			struct item *slot = NULL;
			EXPECT(items_try_reserve(&crew->out, &slot) == TDM_OK, "reserve");
			*slot = batch[i];
			EXPECT(items_commit(&crew->out) == TDM_OK, "commit");
		}
		EXPECT(items_try_push(&crew->out, &batch[plan.capacity]) == TDM_FULL,
		       "a full ring takes another");

		uint64_t head = crew_head(crew);
		memset(batch, 0, sizeof(batch));
		if (lap == 1) {
			EXPECT(items_try_pop_n(&crew->in, batch, HAND, &done) == TDM_OK &&
				   done == plan.capacity,
			       "a full ring gives %zu elements", done);
			for (uint64_t i = 0; i < done; i++)
				EXPECT(item_is(&batch[i], head + i), "a batch is wrong");
		}
		for (uint64_t i = 0; lap == 2 && i < plan.capacity; i++) {
			const struct item *next = NULL;
			EXPECT(items_try_peek(&crew->in, &next) == TDM_OK, "peek");
			EXPECT(item_is(next, head + i), "peek shows another element");
			EXPECT(items_release(&crew->in) == TDM_OK, "release");
		}
		const char *complaint = audit_drain(crew, crew_tail(crew));
		if (complaint != NULL)
			return complaint;
	}
	EXPECT(!armed(&ring_shm()->not_empty) && !armed(&ring_shm()->not_full),
	       "an event stays armed for nobody");
	return NULL;
}

// --- the seats ---

static uint32_t dead_seats(void)
{
	uint32_t dead = 0;
	struct tdm_seat_info info;
	for (uint32_t i = 0; i < SEATS; i++)
		dead += tdm_segment_seat(&segment, i, &info) == TDM_OK &&
			info.liveness == TDM_SEAT_DEAD;
	return dead;
}

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

// Lets the peer come to its end. A parked one must learn what happened: of an element that is
// published, of the death, or of an element that the successor pushes.
static const char *audit_peer(const struct tdm_spsc_info *before)
{
	if (plan.peer == SERVES) {
		close(peer_socket[0]);
		peer_socket[0] = -1;
	}
	bool done = plan.first->role == PRODUCER
			? before->pushed > tdm_load_acquire_u64(&world->pushed_before)
			: before->popped > tdm_load_acquire_u64(&world->popped_before);
	bool helps = plan.peer == PARKED && plan.follow && !done;
	if (plan.peer == PARKED && (plan.recovers || helps)) {
		struct crew helper;
		uint32_t recovered = 0;
		crew_join(&helper, SURVIVOR, "helper");
		enum tdm_status status = tdm_spsc_recover(ring, &helper.self, &recovered);
		if (helps) {
			crew_attach(&helper, plan.first->role);
			if (plan.first->role == PRODUCER)
				act_push(&helper);
			else
				act_pop(&helper);
			done = true;
		}
		crew_leave(&helper);
		EXPECT(status == TDM_OK, "recover: %s", tdm_status_name(status));
	}
	int end = 0;
	waitpid(peer_pid, &end, 0);
	peer_pid = 0;
	EXPECT(end == 0, "the peer failed");
	if (plan.peer == SERVES)
		return NULL;
	enum tdm_status status = (enum tdm_status)(tdm_load_acquire_u32(&world->peer) - 1);
	EXPECT(status == TDM_OK || !done, "the parked peer missed an element: %s",
	       tdm_status_name(status));
	EXPECT(status == TDM_PEER_DIED || status == TDM_PEER_LEFT || done,
	       "the parked peer missed a death: %s", tdm_status_name(status));
	tally.peer_woken += done;
	tally.peer_told += !done;
	return NULL;
}

// --- all of it ---

static const char *audit_death(bool completed)
{
	const char *complaint = NULL;
	struct tdm_spsc_info info;
	EXPECT(tdm_load_acquire_u32(&world->problem) == 0, "the victim saw what must not be");
	EXPECT(tdm_spsc_check(ring, &info) == TDM_OK, "check refuses the ring");
	if (plan.peer != ALONE) {
		complaint = audit_peer(&info);
		if (complaint != NULL)
			return complaint;
		EXPECT(tdm_spsc_check(ring, &info) == TDM_OK, "check refuses the ring");
	}
	if (plan.peer != PARKED) // a helper may have had the role since
		complaint = audit_role(PRODUCER, &info.producer, completed);
	if (plan.peer != PARKED && complaint == NULL)
		complaint = audit_role(CONSUMER, &info.consumer, completed);
	if (complaint != NULL)
		return complaint;

	// What was acknowledged and what was in doubt.
	uint64_t push_acked = tdm_load_acquire_u64(&world->push_acked);
	uint64_t push_tried = tdm_load_acquire_u64(&world->push_tried);
	uint64_t pop_acked = tdm_load_acquire_u64(&world->pop_acked);
	uint64_t pop_tried = tdm_load_acquire_u64(&world->pop_tried);
	enum role last = plan.second != NULL ? plan.second->role : plan.first->role;
	uint64_t room = least(push_tried, info.popped + plan.capacity);
	EXPECT(push_acked <= push_tried && pop_acked <= pop_tried, "more was done than tried");
	EXPECT(!completed || last != PRODUCER || push_acked == room,
	       "there was room, but %" PRIu64 " is not %" PRIu64, push_acked, room);
	EXPECT(!completed || last != CONSUMER || pop_acked == least(pop_tried, info.pushed),
	       "there were elements, but %" PRIu64 " is not %" PRIu64, pop_acked,
	       least(pop_tried, info.pushed));
	EXPECT(info.pushed >= push_acked, "an acknowledged push is lost: %" PRIu64 " of %" PRIu64,
	       info.pushed, push_acked);
	EXPECT(info.pushed <= push_tried, "a push from nowhere: %" PRIu64 " of %" PRIu64,
	       info.pushed, push_tried);
	EXPECT(info.popped >= pop_acked, "an acknowledged pop is undone: %" PRIu64 " of %" PRIu64,
	       info.popped, pop_acked);
	EXPECT(info.popped == pop_acked || info.popped == least(pop_tried, info.pushed),
	       "half a batch was popped: %" PRIu64 " of %" PRIu64 " to %" PRIu64, info.popped,
	       pop_acked, pop_tried);
	tally.pushed += info.pushed - push_acked;
	tally.not_pushed += push_tried - info.pushed;
	tally.popped += info.popped - pop_acked;
	tally.not_popped += pop_tried - info.popped;
	complaint = audit_popped(tdm_load_acquire_u64(&world->popped_before), info.popped);
	if (complaint != NULL)
		return complaint;

	// The survivor takes over.
	uint32_t count = 0;
	uint32_t dead = dead_seats();
	bool took_over[2] = {info.producer.held || info.producer.died,
			     info.consumer.held || info.consumer.died};
	bool joined = plan.early;
	EXPECT(dead >= 1 || plan.peer == PARKED, "the dead does not look dead");
	if (plan.recovers) {
		EXPECT(tdm_segment_reap(&segment, &count) == TDM_OK && count == dead,
		       "%u of %u dead seats were reaped", count, dead);
		if (!joined)
			crew_join(&survivor, SURVIVOR, "survivor");
		joined = true;
		uint32_t roles = (uint32_t)info.producer.held + (uint32_t)info.consumer.held;
		EXPECT(tdm_spsc_recover(ring, &survivor.self, &count) == TDM_OK && count == roles,
		       "%u of %u dead roles were recovered", count, roles);
		EXPECT(tdm_spsc_recover(ring, &survivor.self, &count) == TDM_OK && count == 0,
		       "%u roles died twice", count);
	}
	if (!joined)
		crew_join(&survivor, SURVIVOR, "survivor");
	struct crew *crew = &survivor;
	enum tdm_status status = items_producer_attach(&crew->out, ring, &crew->self);
	EXPECT(status == TDM_OK, "producer_attach: %s", tdm_status_name(status));
	status = plan.consumer_attach != NULL
		     ? plan.consumer_attach(&crew->in.ring, ring, sizeof(struct item), &crew->self)
		     : items_consumer_attach(&crew->in, ring, &crew->self);
	EXPECT(status == TDM_OK, "consumer_attach: %s", tdm_status_name(status));
	EXPECT(crew->out.ring.took_over == took_over[0], "the producer takes over: %d, should: %d",
	       crew->out.ring.took_over, took_over[0]);
	EXPECT(crew->in.ring.took_over == took_over[1], "the consumer takes over: %d, should: %d",
	       crew->in.ring.took_over, took_over[1]);
	tally.took_over += (uint64_t)took_over[0] + (uint64_t)took_over[1];
	EXPECT(crew_tail(crew) == info.pushed, "the producer begins at %" PRIu64 " of %" PRIu64,
	       crew_tail(crew), info.pushed);
	EXPECT(crew_head(crew) == info.popped, "the consumer begins at %" PRIu64 " of %" PRIu64,
	       crew_head(crew), info.popped);
	EXPECT(tdm_spsc_producer_peer(&crew->out.ring) == TDM_OK &&
		   tdm_spsc_consumer_peer(&crew->in.ring) == TDM_OK,
	       "the survivors do not see each other");
	tally.acknowledged += push_acked - plan.start;

	// Everything is there, and the ring works on.
	complaint = audit_drain(crew, info.pushed);
	if (complaint == NULL)
		complaint = audit_laps(crew);
	if (complaint != NULL)
		return complaint;

	// The books balance.
	uint64_t end = info.pushed + 3 * plan.capacity;
	EXPECT(crew_tail(crew) == end && crew_head(crew) == end, "the positions do not balance");
	EXPECT(items_producer_detach(&crew->out) == TDM_OK, "the producer's role was overwritten");
	EXPECT(items_consumer_detach(&crew->in) == TDM_OK, "the consumer's role was overwritten");
	EXPECT(tdm_participant_leave(&crew->self) == TDM_OK, "the survivor cannot leave");
	EXPECT(tdm_spsc_check(ring, &info) == TDM_OK && info.pushed == end && info.popped == end &&
		   info.capacity == plan.capacity && info.elem_size == sizeof(struct item),
	       "check does not agree: pushed %" PRIu64 ", popped %" PRIu64 ", should %" PRIu64,
	       info.pushed, info.popped, end);
	EXPECT(!info.producer.held && !info.producer.died && !info.consumer.held &&
		   !info.consumer.died,
	       "a role is still held");
	EXPECT(tdm_segment_reap(&segment, &count) == TDM_OK && dead_seats() == 0,
	       "a seat stays dead");
	return audit_seats();
}

static const char *world_audit(void *state, bool completed)
{
	(void)state;
	tally.deaths += !completed;
	return audit_death(completed);
}

#endif
