// SPDX-License-Identifier: BSD-2-Clause
// The world in which the victims of mpmc_crash.c and mpmc_pairs.c die: a segment with one ring, and
// books in memory that outlives everybody. Here is what victims do; mpmc_audit.h says what must
// hold afterwards.
//
// A plan says everything about one run: who does what, on what ring, and in what state that is
// found. Each kill begins in the same world, made anew by world_setup().
#ifndef TDM_TESTS_CRASH_MPMC_WORLD_H
#define TDM_TESTS_CRASH_MPMC_WORLD_H

#include <signal.h>
#include <string.h>

#include <tandem/base/atomic.h>
#include <tandem/base/status.h>

// Waits are short and always take the same way, so that they can be stepped; and somebody can die
// in the middle of a batch.
static bool world_fenced;      // the next ring's events are FENCED
static uint32_t world_copying; // not 0: dies at that copy
static uint64_t world_now_ns(void);
static enum tdm_status world_futex_wait(tdm_atomic_u32 *word, uint32_t expected,
					uint64_t deadline_ns);
static inline void world_copy(void *to, const void *from, size_t size)
{
	if (world_copying != 0 && --world_copying == 0)
		raise(SIGKILL);
	memcpy(to, from, size);
}
#define TDM_SEAM_FENCED world_fenced
#define TDM_SEAM_SPINS 0U
#define TDM_SEAM_YIELDS 1U
#define TDM_SEAM_COPY(to, from, size) world_copy(to, from, size)
#define TDM_SEAM_NOW_NS() world_now_ns()
#define TDM_SEAM_FUTEX_WAIT(word, expected, deadline_ns)                                           \
	world_futex_wait(word, expected, deadline_ns)

#include <tandem/ring/mpmc.h>
#include <tandem/shm/segment.h>

#include "../support/child.h"
#include "crash.h"

// ---------------------------------------------------------------------------------------------
// Elements: three words that belong together

struct item {
	uint64_t id;
	uint64_t writer;
	uint64_t sum;
};

TDM_MPMC_DEFINE(items, struct item);

enum writer { PRIMED = 1, DEBRIS = 2, FIRST = 3, SECOND = 4, HELPER = 5, PEER = 6, SURVIVOR = 7 };

static uint64_t item_sum(uint64_t id, uint64_t writer)
{
	uint64_t mixed = (id + UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xbf58476d1ce4e5b9);
	return mixed ^ (mixed >> 29) ^ (writer * UINT64_C(0x94d049bb133111eb));
}

#define IDS 160U
#define BATCH 3U
#define LEASES 3U

static bool item_is_whole(const struct item *item)
{
	return item->id < IDS && item->writer >= PRIMED && item->writer <= SURVIVOR &&
	       item->sum == item_sum(item->id, item->writer);
}

// ---------------------------------------------------------------------------------------------
// Plans

enum role { NEITHER = 0, PRODUCER = 1, CONSUMER = 2 };

enum phase {
	WORKS,    // attached before the window
	ATTACHES, // within it
	DETACHES, // attached before it, and holds leases; detached within it
	RECOVERS, // joined only
};

struct crew;

struct action {
	const char *name;
	enum role role;
	enum phase phase;
	void (*run)(struct crew *crew);
};

// What a participant that had died before left behind.
enum debris {
	NOTHING,
	LOST_PUSH, // claimed positions, published none
	HALF_PUSH, // claimed positions, published the first
	HELD_POP,  // claimed elements, released none
	HALF_POP,  // claimed elements, released the first
	TAKEN,     // leases
	DEBRIS_KINDS,
};

// What became of that one's seat.
enum seat {
	UNTOUCHED, // nobody has it
	SQUATTED,  // somebody else's, who does not know the ring
	REUSED,    // the next one's who joins
	SEAT_KINDS,
};

enum peer {
	ALONE,
	PARKED, // another process holds the other role and sleeps in it
	SERVES, // the victim has both roles, and acts in the other one when it is about to sleep
};

struct plan {
	const struct action *first;
	const struct action *second; // NULL: one victim
	uint64_t capacity;
	uint64_t fill;  // elements in the ring when the window opens
	uint64_t start; // position of the ring's first element
	uint64_t lead;  // elements that went through before
	enum debris debris;
	enum seat seat;
	enum peer peer;
	bool typed;
	bool armed;    // somebody had announced a sleep
	bool fenced;   // the events use read-modify-writes
	bool recovers; // survivors reap and recover before they attach
	bool early;    // the survivor had joined before the victim died
	bool follow;   // waiting goes on when the other side is gone
	bool parks_twice;
	unsigned drain; // how the survivor consumes
	enum tdm_status (*push)(struct tdm_mpmc_producer *,
				const void *); // not NULL: the survivor's
	enum tdm_status (*pop)(struct tdm_mpmc_consumer *, void *);
};
static struct plan plan;

// ---------------------------------------------------------------------------------------------
// Books

enum pushing { NOT_PUSHED = 0, TRIED = 1, PUSHED = 2 };

// What is known of one element. Only who works on it writes.
struct entry {
	tdm_atomic_u32 push;   // enum pushing
	tdm_atomic_u32 popped; // pops and acks of it that returned
	tdm_atomic_u32 failed; // takes of it that returned, and were not acknowledged
};

#define HAND 16U

// What somebody is popping: where it is copied to, and whether the call has returned.
struct hand {
	tdm_atomic_u32 returned;
	struct item items[HAND];
};

enum stage { NOT_TAKEN = 0, HELD, ACKING, ACKED, NACKING, NACKED };

struct lease_entry {
	tdm_atomic_u32 stage;
	tdm_atomic_u64 id;
};

struct world {
	tdm_atomic_u32 next_id;
	tdm_atomic_u32 problem; // the line in which a victim saw what must not be
	tdm_atomic_u32 peer;    // 1 + the status of what the peer did
	tdm_atomic_u32 peer_ready;
	tdm_atomic_u32 recovered;
	struct entry entries[IDS];
	struct hand hands[SURVIVOR + 1]; // by writer
	struct lease_entry leases[SURVIVOR + 1][LEASES];
};
static struct world *world;

static struct tdm_object ring_object;
static struct tdm_segment segment;
static struct tdm_span ring;

#define SEATS 6U

// A participant at work.
struct crew {
	enum writer who;
	struct tdm_participant self;
	struct items_producer out;
	struct items_consumer in;
	struct items_lease leases[LEASES];
};
static struct crew survivor;
static struct crew squatter;
static struct crew *server; // acts when the victim is about to sleep
static pid_t peer_pid;

// For what is not under test: it works, or nothing that follows means anything.
#define MUST(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			tap_note("%s:%d: %s", __FILE__, __LINE__, #cond);                          \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#define SAW_A_PROBLEM_IF(cond)                                                                     \
	do {                                                                                       \
		if (cond)                                                                          \
			tdm_store_release_u32(&world->problem, __LINE__);                          \
	} while (0)

static void crew_join(struct crew *crew, enum writer who, const char *name)
{
	memset(crew, 0, sizeof(*crew));
	crew->who = who;
	MUST(tdm_segment_join(&segment, &crew->self, name) == TDM_OK);
}

static void crew_attach(struct crew *crew, unsigned roles)
{
	if (roles & PRODUCER) {
		MUST(items_producer_attach(&crew->out, ring, &crew->self) == TDM_OK);
		crew->out.ring.doubts = TDM_MPMC_PATIENCE_ - 1; // the first refusal looks around
	}
	if (roles & CONSUMER)
		MUST(items_consumer_attach(&crew->in, ring, &crew->self) == TDM_OK);
}

static void crew_leave(struct crew *crew)
{
	if (crew->out.ring.view.shm != NULL)
		MUST(items_producer_detach(&crew->out) == TDM_OK);
	if (crew->in.ring.view.shm != NULL)
		MUST(items_consumer_detach(&crew->in) == TDM_OK);
	MUST(tdm_participant_leave(&crew->self) == TDM_OK);
}

static struct entry *entry_of(uint64_t id)
{
	MUST(id < IDS);
	return &world->entries[id];
}

// A new element, about to be pushed.
static struct item item_new(const struct crew *crew)
{
	uint32_t id = tdm_fetch_add_relaxed_u32(&world->next_id, 1);
	struct item item = {id, crew->who, item_sum(id, crew->who)};
	tdm_store_release_u32(&entry_of(id)->push, TRIED);
	return item;
}

// The first `pushed` of the batch were, the others were refused.
static void settle_push(const struct item *items, size_t count, size_t pushed)
{
	for (size_t i = 0; i < count; i++)
		tdm_store_release_u32(&entry_of(items[i].id)->push,
				      i < pushed ? PUSHED : NOT_PUSHED);
}

static struct item *hand_open(const struct crew *crew)
{
	struct hand *hand = &world->hands[crew->who];
	tdm_store_release_u32(&hand->returned, 0);
	memset(hand->items, 0, sizeof(hand->items));
	return hand->items;
}

static void hand_close(const struct crew *crew, size_t popped)
{
	struct hand *hand = &world->hands[crew->who];
	for (size_t i = 0; i < popped; i++) {
		SAW_A_PROBLEM_IF(!item_is_whole(&hand->items[i]));
		if (item_is_whole(&hand->items[i]))
			tdm_fetch_add_relaxed_u32(&entry_of(hand->items[i].id)->popped, 1);
	}
	tdm_store_release_u32(&hand->returned, 1);
}

// ---------------------------------------------------------------------------------------------
// What victims do within the window

static void act_push(struct crew *crew)
{
	struct item item = item_new(crew);
	enum tdm_status status = plan.typed ? items_try_push(&crew->out, &item)
					    : tdm_mpmc_try_push(&crew->out.ring, &item);
	settle_push(&item, 1, status == TDM_OK);
	SAW_A_PROBLEM_IF(status != TDM_OK && status != TDM_FULL);
}

static void act_push_n(struct crew *crew)
{
	struct item batch[BATCH];
	size_t pushed = 0;
	for (size_t i = 0; i < BATCH; i++)
		batch[i] = item_new(crew);
	enum tdm_status status = plan.typed
				     ? items_try_push_n(&crew->out, batch, BATCH, &pushed)
				     : tdm_mpmc_try_push_n(&crew->out.ring, batch, BATCH, &pushed);
	settle_push(batch, BATCH, pushed);
	SAW_A_PROBLEM_IF(status != (pushed > 0 ? TDM_OK : TDM_FULL));
}

static void act_pop(struct crew *crew)
{
	struct item *to = hand_open(crew);
	enum tdm_status status =
	    plan.typed ? items_try_pop(&crew->in, to) : tdm_mpmc_try_pop(&crew->in.ring, to);
	hand_close(crew, status == TDM_OK);
	SAW_A_PROBLEM_IF(status != TDM_OK && status != TDM_EMPTY);
}

static void act_pop_n(struct crew *crew)
{
	size_t popped = 0;
	struct item *to = hand_open(crew);
	enum tdm_status status = plan.typed
				     ? items_try_pop_n(&crew->in, to, BATCH, &popped)
				     : tdm_mpmc_try_pop_n(&crew->in.ring, to, BATCH, &popped);
	hand_close(crew, popped);
	SAW_A_PROBLEM_IF(status != (popped > 0 ? TDM_OK : TDM_EMPTY));
}

// Writes down that number `i` is held, of a take that returned `status`.
static void hold(struct crew *crew, unsigned i, enum tdm_status status)
{
	SAW_A_PROBLEM_IF(status != TDM_OK && status != TDM_EMPTY);
	if (status != TDM_OK)
		return;
	const struct item *item = crew->leases[i].elem;
	SAW_A_PROBLEM_IF(!item_is_whole(item));
	if (!item_is_whole(item))
		return;
	struct entry *entry = entry_of(item->id);
	// Each take that returned before has failed; others may have without returning.
	SAW_A_PROBLEM_IF(crew->leases[i].ring.attempt < 1 + tdm_load_relaxed_u32(&entry->failed) ||
			 crew->leases[i].ring.attempt > 4);
	tdm_fetch_add_relaxed_u32(&entry->failed, 1);
	tdm_store_relaxed_u64(&world->leases[crew->who][i].id, item->id);
	tdm_store_release_u32(&world->leases[crew->who][i].stage, HELD);
}

static void take(struct crew *crew, unsigned i)
{
	struct items_lease *lease = &crew->leases[i];
	enum tdm_status status = plan.typed ? items_try_take(&crew->in, lease)
					    : tdm_mpmc_try_take(&crew->in.ring, &lease->ring);
	lease->elem = lease->ring.elem;
	hold(crew, i, status);
}

static bool holds(const struct crew *crew, unsigned i)
{
	return tdm_load_relaxed_u32(&world->leases[crew->who][i].stage) == HELD;
}

static void ack(struct crew *crew, unsigned i)
{
	struct lease_entry *lease = &world->leases[crew->who][i];
	if (!holds(crew, i))
		return;
	struct entry *entry = entry_of(tdm_load_relaxed_u64(&lease->id));
	tdm_store_release_u32(&lease->stage, ACKING);
	SAW_A_PROBLEM_IF(items_ack(&crew->in, &crew->leases[i]) != TDM_OK);
	tdm_fetch_add_relaxed_u32(&entry->popped, 1);
	tdm_store_release_u32(&lease->stage, ACKED);
}

static void nack(struct crew *crew, unsigned i)
{
	struct lease_entry *lease = &world->leases[crew->who][i];
	if (!holds(crew, i))
		return;
	tdm_store_release_u32(&lease->stage, NACKING);
	SAW_A_PROBLEM_IF(items_nack(&crew->in, &crew->leases[i]) != TDM_OK);
	tdm_store_release_u32(&lease->stage, NACKED);
}

static void act_take_ack(struct crew *crew)
{
	take(crew, 0);
	ack(crew, 0);
}

static void act_take_nack(struct crew *crew)
{
	take(crew, 0);
	nack(crew, 0);
}

// Two at once, the first given back, and the other way round.
static void act_take_both(struct crew *crew)
{
	take(crew, 0);
	take(crew, 1);
	nack(crew, 0);
	ack(crew, 1);
}

// Takes again what it has given back.
static void act_take_again(struct crew *crew)
{
	take(crew, 0);
	nack(crew, 0);
	crew->in.ring.doubts = TDM_MPMC_PATIENCE_ - 1;
	take(crew, 1);
	ack(crew, 1);
}

// One park up to the deadline, or one slice and the rest, or as long as it needs.
#define PATIENCE_NS                                                                                \
	(plan.peer == SERVES ? CHILD_PATIENCE_NS                                                   \
			     : UINT64_C(1000000) * (plan.parks_twice ? 150 : 50))

static void check_wait(const struct crew *crew, enum tdm_status status)
{
	bool follows = crew->out.ring.follow || crew->in.ring.follow;
	SAW_A_PROBLEM_IF(status == TDM_TIMED_OUT && (plan.peer == SERVES || !follows));
	SAW_A_PROBLEM_IF((status == TDM_PEER_DIED || status == TDM_PEER_LEFT) &&
			 (plan.peer == SERVES || follows));
	SAW_A_PROBLEM_IF(status != TDM_OK && status != TDM_TIMED_OUT && status != TDM_PEER_DIED &&
			 status != TDM_PEER_LEFT);
}

static void act_push_until(struct crew *crew)
{
	struct item item = item_new(crew);
	uint64_t deadline_ns = tdm_deadline_after_ns(PATIENCE_NS);
	enum tdm_status status = plan.typed
				     ? items_push_until(&crew->out, &item, deadline_ns)
				     : tdm_mpmc_push_until(&crew->out.ring, &item, deadline_ns);
	settle_push(&item, 1, status == TDM_OK);
	check_wait(crew, status);
}

static void act_push_n_until(struct crew *crew)
{
	struct item batch[BATCH];
	size_t pushed = 0;
	for (size_t i = 0; i < BATCH; i++)
		batch[i] = item_new(crew);
	uint64_t deadline_ns = tdm_deadline_after_ns(PATIENCE_NS);
	enum tdm_status status = items_push_n_until(&crew->out, batch, BATCH, &pushed, deadline_ns);
	settle_push(batch, BATCH, pushed);
	check_wait(crew, status);
}

static void act_pop_until(struct crew *crew)
{
	struct item *to = hand_open(crew);
	uint64_t deadline_ns = tdm_deadline_after_ns(PATIENCE_NS);
	enum tdm_status status = plan.typed ? items_pop_until(&crew->in, to, deadline_ns)
					    : tdm_mpmc_pop_until(&crew->in.ring, to, deadline_ns);
	hand_close(crew, status == TDM_OK);
	check_wait(crew, status);
}

static void act_pop_n_until(struct crew *crew)
{
	size_t popped = 0;
	struct item *to = hand_open(crew);
	uint64_t deadline_ns = tdm_deadline_after_ns(PATIENCE_NS);
	enum tdm_status status = items_pop_n_until(&crew->in, to, BATCH, &popped, deadline_ns);
	hand_close(crew, popped);
	check_wait(crew, status);
}

static void act_take_until(struct crew *crew)
{
	uint64_t deadline_ns = tdm_deadline_after_ns(PATIENCE_NS);
	enum tdm_status status = items_take_until(&crew->in, &crew->leases[0], deadline_ns);
	check_wait(crew, status);
	hold(crew, 0, status == TDM_OK ? TDM_OK : TDM_EMPTY);
	ack(crew, 0);
}

static void act_producer_attach(struct crew *crew)
{
	SAW_A_PROBLEM_IF((plan.typed
			      ? items_producer_attach(&crew->out, ring, &crew->self)
			      : tdm_mpmc_producer_attach(&crew->out.ring, ring, sizeof(struct item),
							 &crew->self)) != TDM_OK);
}

static void act_consumer_attach(struct crew *crew)
{
	SAW_A_PROBLEM_IF((plan.typed
			      ? items_consumer_attach(&crew->in, ring, &crew->self)
			      : tdm_mpmc_consumer_attach(&crew->in.ring, ring, sizeof(struct item),
							 &crew->self)) != TDM_OK);
}

static void act_producer_detach(struct crew *crew)
{
	SAW_A_PROBLEM_IF(items_producer_detach(&crew->out) != TDM_OK);
}

static void act_consumer_detach(struct crew *crew)
{
	SAW_A_PROBLEM_IF(items_consumer_detach(&crew->in) != TDM_OK);
}

static void act_recover(struct crew *crew)
{
	uint32_t recovered = 0;
	SAW_A_PROBLEM_IF(tdm_mpmc_recover(ring, &crew->self, &recovered) != TDM_OK);
	tdm_store_release_u32(&world->recovered, recovered);
}

static void act_reap(struct crew *crew)
{
	uint32_t reaped = 0;
	SAW_A_PROBLEM_IF(tdm_segment_reap(&segment, &reaped) != TDM_OK);
	act_recover(crew);
}

static void act_attach_push(struct crew *crew)
{
	act_producer_attach(crew);
	crew->out.ring.doubts = TDM_MPMC_PATIENCE_ - 1;
	act_push_n(crew);
}

static void act_attach_pop(struct crew *crew)
{
	act_consumer_attach(crew);
	act_pop_n(crew);
}

// What is delivered again comes when there is nothing else.
static void act_attach_pop_all(struct crew *crew)
{
	act_consumer_attach(crew);
	for (unsigned i = 0; i < 2; i++) {
		crew->in.ring.doubts = TDM_MPMC_PATIENCE_ - 1;
		act_pop_n(crew);
	}
}

static void act_attach_take(struct crew *crew)
{
	act_consumer_attach(crew);
	for (unsigned i = 0; i < 2; i++) {
		crew->in.ring.doubts = TDM_MPMC_PATIENCE_ - 1;
		take(crew, i);
	}
	ack(crew, 0);
}

static void act_attach_take_one(struct crew *crew)
{
	act_consumer_attach(crew);
	act_take_ack(crew);
}

static const struct action push = {"try_push", PRODUCER, WORKS, act_push};
static const struct action push_n = {"try_push_n", PRODUCER, WORKS, act_push_n};
static const struct action pop = {"try_pop", CONSUMER, WORKS, act_pop};
static const struct action pop_n = {"try_pop_n", CONSUMER, WORKS, act_pop_n};
static const struct action take_ack = {"take, ack", CONSUMER, WORKS, act_take_ack};
static const struct action take_nack = {"take, nack", CONSUMER, WORKS, act_take_nack};
static const struct action take_both = {"take, take, nack, ack", CONSUMER, WORKS, act_take_both};
static const struct action take_again = {"take, nack, take, ack", CONSUMER, WORKS, act_take_again};
static const struct action push_until = {"push_until", PRODUCER, WORKS, act_push_until};
static const struct action push_n_until = {"push_n_until", PRODUCER, WORKS, act_push_n_until};
static const struct action pop_until = {"pop_until", CONSUMER, WORKS, act_pop_until};
static const struct action pop_n_until = {"pop_n_until", CONSUMER, WORKS, act_pop_n_until};
static const struct action take_until = {"take_until, ack", CONSUMER, WORKS, act_take_until};
static const struct action producer_attach = {"producer_attach", PRODUCER, ATTACHES,
					      act_producer_attach};
static const struct action consumer_attach = {"consumer_attach", CONSUMER, ATTACHES,
					      act_consumer_attach};
static const struct action producer_detach = {"producer_detach", PRODUCER, DETACHES,
					      act_producer_detach};
static const struct action consumer_detach = {"consumer_detach", CONSUMER, DETACHES,
					      act_consumer_detach};
static const struct action recover = {"recover", NEITHER, RECOVERS, act_recover};
static const struct action reap = {"reap, recover", NEITHER, RECOVERS, act_reap};
static const struct action attach_push = {"attach, try_push_n", PRODUCER, ATTACHES,
					  act_attach_push};
static const struct action attach_pop = {"attach, try_pop_n", CONSUMER, ATTACHES, act_attach_pop};
static const struct action attach_pop_all = {"attach, try_pop_n twice", CONSUMER, ATTACHES,
					     act_attach_pop_all};
static const struct action attach_take_one = {"attach, take, ack", CONSUMER, ATTACHES,
					      act_attach_take_one};
static const struct action attach_take = {"attach, take twice, ack", CONSUMER, ATTACHES,
					  act_attach_take};

// ---------------------------------------------------------------------------------------------
// Victims, peers, debris

#define OVERSLEPT_NS UINT64_C(20000000000)

static uint64_t world_clock_ns; // not 0: it ticks with every look, and runs while we sleep

static uint64_t world_now_ns(void)
{
	if (world_clock_ns == 0)
		return tdm_clock_now_();
	world_clock_ns += 1000;
	return world_clock_ns;
}

// The kernel's clock is far ahead of the victim's own, so that its sleeps return at once. Who
// serves acts first. A parked peer that is going to be woken by recover sleeps long, and says so
// when nobody wakes it.
static enum tdm_status world_futex_wait(tdm_atomic_u32 *word, uint32_t expected,
					uint64_t deadline_ns)
{
	if (world_clock_ns == 0 && plan.peer == PARKED && plan.recovers) {
		enum tdm_status status =
		    tdm_futex_wait_kernel_(word, expected, tdm_deadline_after_ns(OVERSLEPT_NS));
		SAW_A_PROBLEM_IF(status == TDM_TIMED_OUT);
		return status;
	}
	if (server != NULL && server->in.ring.view.shm != NULL)
		act_pop(server);
	else if (server != NULL)
		act_push(server);
	else if (world_clock_ns != 0)
		world_clock_ns = deadline_ns;
	return tdm_futex_wait_kernel_(word, expected, deadline_ns);
}

static void run_debris(void *unused)
{
	struct crew crew;
	(void)unused;
	crew_join(&crew, DEBRIS, "debris");
	bool pushes = plan.debris == LOST_PUSH || plan.debris == HALF_PUSH;
	crew_attach(&crew, pushes ? PRODUCER : CONSUMER);
	world_copying = plan.debris == LOST_PUSH || plan.debris == HELD_POP ? 1 : 2;
	switch (plan.debris) {
	case LOST_PUSH:
	case HALF_PUSH:
		act_push_n(&crew);
		break;
	case HELD_POP:
	case HALF_POP:
		act_pop_n(&crew);
		break;
	default:
		for (unsigned i = 0; i < 2; i++)
			take(&crew, i);
	}
	raise(SIGKILL);
}

// Sleeps in the other role until it gets or gives an element.
static void run_parked(void *unused)
{
	struct crew crew;
	(void)unused;
	crew_join(&crew, PEER, "parked");
	uint64_t deadline_ns = tdm_deadline_after_ns(CHILD_PATIENCE_NS);
	enum tdm_status status = TDM_OK;
	if (plan.first->role == PRODUCER) {
		crew_attach(&crew, CONSUMER);
		crew.in.ring.follow = true;
		tdm_store_release_u32(&world->peer_ready, 1);
		struct item *to = hand_open(&crew);
		status = items_pop_until(&crew.in, to, deadline_ns);
		hand_close(&crew, status == TDM_OK);
	} else {
		crew_attach(&crew, PRODUCER);
		crew.out.ring.follow = true;
		struct item item = item_new(&crew);
		tdm_store_release_u32(&world->peer_ready, 1);
		status = items_push_until(&crew.out, &item, deadline_ns);
		settle_push(&item, 1, status == TDM_OK);
	}
	tdm_store_release_u32(&world->peer, 1 + (uint32_t)status);
	crew_leave(&crew);
}

static bool asleep(pid_t pid)
{
	char path[64], text[512];
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	if (fd >= 0)
		close(fd);
	if (got <= 0)
		return false;
	text[got] = '\0';
	const char *state = strrchr(text, ')'); // behind the program's name
	return state != NULL && state[1] == ' ' && state[2] == 'S';
}

static struct tdm_mpmc_shm *ring_shm(void)
{
	return TDM_AT_(struct tdm_mpmc_shm, ring.base, 0);
}

static bool armed(const struct tdm_event *event)
{
	return (tdm_load_relaxed_u32(&event->word) & TDM_EVENT_ARMED_) != 0;
}

// Until it sleeps: a peer that is woken without need goes to sleep again.
static void await_sleeper(void)
{
	while (
	    !((armed(&ring_shm()->not_empty) || armed(&ring_shm()->not_full)) && asleep(peer_pid)))
		sched_yield();
}

static void run_first(void *state)
{
	struct crew crew, serving;
	(void)state;
	enum role role = plan.first->role;
	crew_join(&crew, FIRST, "first");
	if (plan.first->phase == WORKS || plan.first->phase == DETACHES)
		crew_attach(&crew, role);
	if (plan.first->phase == DETACHES && role == CONSUMER)
		for (unsigned i = 0; i < 2; i++)
			take(&crew, i);
	if (plan.peer == SERVES) {
		crew_join(&serving, HELPER, "serving");
		crew_attach(&serving, PRODUCER + CONSUMER - role);
		server = &serving;
	}
	if (plan.peer == PARKED)
		await_sleeper();
	crew.out.ring.follow = plan.follow;
	crew.in.ring.follow = plan.follow;
	world_clock_ns = 1;
	crash_begin();
	plan.first->run(&crew);
	crash_end();
}

tdm_function void run_second(void *state)
{
	struct crew crew;
	(void)state;
	crew_join(&crew, SECOND, "second");
	world_clock_ns = 1;
	crash_begin();
	plan.second->run(&crew);
	crash_end();
}

// ---------------------------------------------------------------------------------------------
// Making the world

static enum tdm_status init_at_start(struct tdm_span span, const struct tdm_object *object)
{
	return tdm_mpmc_init_at_(span, object, plan.start);
}

static void world_open(void)
{
	struct tdm_segment_options options;
	memset(&options, 0, sizeof(options));
	options.sealed = true; // without a name nothing can be left behind
	options.seats = SEATS;
	ring_object = items_object("ring", plan.capacity);
	ring_object.seats = SEATS; // as the segment says it when it makes the first one
	ring_object.init = init_at_start;
	MUST(tdm_segment_create(&segment, &ring_object, 1, &options) == TDM_OK);
	ring = tdm_segment_find(&segment, "ring");
	if (world == NULL)
		world = crash_shared(sizeof(*world));
	(void)tdm_backoff_alone_(); // asked once here, and not by each victim
}

static void world_close(void)
{
	MUST(tdm_segment_close(&segment) == TDM_OK);
}

// Somebody dies, and somebody may sit down in the seat.
static void world_litter(void)
{
	struct crew before;
	crew_join(&before, PRIMED, "before"); // so that the debris' seat is not the first free one
	pid_t pid = child_start(run_debris, NULL);
	int status = 0;
	MUST(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	if (plan.seat == SQUATTED)
		crew_join(&squatter, PRIMED, "squatter");
	if (plan.seat == REUSED)
		squatter = before; // who keeps the first free one until the end
	else
		crew_leave(&before);
}

static void *world_setup(void)
{
	memset((void *)world, 0, sizeof(*world));
	memset(&survivor, 0, sizeof(survivor));
	memset(&squatter, 0, sizeof(squatter));
	world_fenced = plan.fenced;
	MUST(ring_object.init(ring, &ring_object) == TDM_OK);
	if (plan.early)
		crew_join(&survivor, SURVIVOR, "survivor");
	struct crew prime;
	crew_join(&prime, PRIMED, "prime");
	crew_attach(&prime, PRODUCER + CONSUMER);
	for (uint64_t i = 0; i < plan.lead; i++) {
		act_push(&prime);
		act_pop(&prime);
	}
	for (uint64_t i = 0; i < plan.fill; i++)
		act_push(&prime);
	crew_leave(&prime);
	MUST(tdm_load_relaxed_u32(&world->problem) == 0);
	if (plan.debris != NOTHING)
		world_litter();
	if (plan.armed) {
		(void)tdm_event_prepare(&ring_shm()->not_empty);
		(void)tdm_event_prepare(&ring_shm()->not_full);
	}
	if (plan.peer == PARKED) {
		peer_pid = child_start(run_parked, NULL);
		while (tdm_load_acquire_u32(&world->peer_ready) == 0)
			sched_yield();
	}
	return world;
}

static void crew_go(struct crew *crew)
{
	if (crew->out.ring.view.shm != NULL)
		(void)!items_producer_detach(&crew->out);
	if (crew->in.ring.view.shm != NULL)
		(void)!items_consumer_detach(&crew->in);
	if (crew->self.lock != NULL)
		(void)!tdm_participant_leave(&crew->self);
}

static void world_teardown(void *state)
{
	(void)state;
	if (peer_pid > 0) {
		int status = 0;
		kill(peer_pid, SIGKILL);
		waitpid(peer_pid, &status, 0);
	}
	peer_pid = 0;
	crew_go(&squatter);
	crew_go(&survivor); // it is still here if its audit complained
}

#endif
