// SPDX-License-Identifier: BSD-2-Clause
// The world in which the victims of spsc_crash.c and spsc_pairs.c die: a segment with one ring, and
// books in memory that outlives everybody. Here is what victims do; spsc_audit.h says what must
// hold afterwards.
//
// A plan says everything about one run: who does what, on what ring, and in what state that is
// found. Each kill begins in the same world, made anew by world_setup().
#ifndef TDM_TESTS_CRASH_SPSC_WORLD_H
#define TDM_TESTS_CRASH_SPSC_WORLD_H

#include <tandem/base/atomic.h>
#include <tandem/base/status.h>

// Waits are short and always take the same way, so that they can be stepped.
static bool world_fenced; // the next ring's events are FENCED
static uint64_t world_now_ns(void);
static enum tdm_status world_futex_wait(tdm_atomic_u32 *word, uint32_t expected,
					uint64_t deadline_ns);
#define TDM_SEAM_FENCED world_fenced
#define TDM_SEAM_SPINS 0U
#define TDM_SEAM_YIELDS 1U
#define TDM_SEAM_NOW_NS() world_now_ns()
#define TDM_SEAM_FUTEX_WAIT(word, expected, deadline_ns)                                           \
	world_futex_wait(word, expected, deadline_ns)

#include <tandem/ring/spsc.h>
#include <tandem/shm/segment.h>

#include <sys/socket.h>

#include "../support/child.h"
#include "crash.h"

// ---------------------------------------------------------------------------------------------
// Elements: three words that belong together

struct item {
	uint64_t position;
	uint64_t writer;
	uint64_t sum;
};

TDM_SPSC_DEFINE(items, struct item);

enum writer { PRIMED = 1, FIRST = 2, SECOND = 3, PEER = 4, SURVIVOR = 5 };

static uint64_t item_sum(uint64_t position, uint64_t writer)
{
	uint64_t mixed = (position + UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xbf58476d1ce4e5b9);
	return mixed ^ (mixed >> 29) ^ (writer * UINT64_C(0x94d049bb133111eb));
}

static struct item item_make(uint64_t position, enum writer writer)
{
	struct item item = {position, writer, item_sum(position, writer)};
	return item;
}

static bool item_is(const struct item *item, uint64_t position)
{
	return item->position == position && item->writer >= PRIMED && item->writer <= SURVIVOR &&
	       item->sum == item_sum(position, item->writer);
}

// ---------------------------------------------------------------------------------------------
// Plans

enum role { NEITHER = 0, PRODUCER = 1, CONSUMER = 2 };

enum phase {
	WORKS,    // attached before the window
	ATTACHES, // within it
	DETACHES, // attached before it, detached within it
	RECOVERS, // joined only
};

struct crew;

struct action {
	const char *name;
	enum role role;
	enum phase phase;
	void (*run)(struct crew *crew);
};

enum peer {
	ALONE,
	PARKED, // another process holds the other role and sleeps in it
	SERVES, // it holds the other role and acts when the victim is about to sleep
};

struct plan {
	const struct action *first;
	const struct action *second; // NULL: one victim
	uint64_t capacity;
	uint64_t fill;  // elements in the ring when the window opens
	uint64_t start; // position of the ring's first element
	uint64_t lead;  // elements that went through before
	bool typed;
	bool stale;    // the victim's handle last looked at the other side long ago
	bool armed;    // somebody had announced a sleep
	bool fenced;   // the events use read-modify-writes
	bool recovers; // survivors reap and recover before they attach
	bool early;    // the survivor had joined before the victim died
	bool follow;   // waiting goes on when the other side is gone
	bool parks_twice;
	unsigned debris; // roles whose holder had died before
	enum peer peer;
	enum tdm_status (*consumer_attach)(struct tdm_spsc_consumer *, struct tdm_span, uint64_t,
					   struct tdm_participant *); // the survivor's
};
static struct plan plan;

// ---------------------------------------------------------------------------------------------
// Books

#define HAND 16U

// What somebody has popped: items[i] is position `first` + i.
struct hand {
	tdm_atomic_u64 first;
	struct item items[HAND];
};

// Positions: what is known to be done, and up to where it may have been done. Only who works in a
// role writes them.
struct world {
	tdm_atomic_u64 push_acked, push_tried;
	tdm_atomic_u64 pop_acked, pop_tried;
	tdm_atomic_u64 pushed_before, popped_before; // when the window opened
	tdm_atomic_u32 problem;                      // a victim saw what must not be
	tdm_atomic_u32 attached;                     // 1 + the status of the window's attach
	tdm_atomic_u32 recovered;
	tdm_atomic_u32 peer; // 1 + the status of what the peer did
	tdm_atomic_u32 peer_ready;
	struct hand hands[SURVIVOR + 1]; // by writer
};
static struct world *world;

static struct tdm_object ring_object;
static struct tdm_segment segment;
static struct tdm_span ring;

#define SEATS 4U

// A participant at work.
struct crew {
	enum writer who;
	struct tdm_participant self;
	struct items_producer out;
	struct items_consumer in;
};
static struct crew survivor;
static pid_t peer_pid;
static int peer_socket[2] = {-1, -1}; // [0] the victims', [1] the peer's

// For what is not under test: it works, or nothing that follows means anything.
#define MUST(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			tap_note("%s:%d: %s", __FILE__, __LINE__, #cond);                          \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static void crew_join(struct crew *crew, enum writer who, const char *name)
{
	memset(crew, 0, sizeof(*crew));
	crew->who = who;
	MUST(tdm_segment_join(&segment, &crew->self, name) == TDM_OK);
}

static void crew_attach(struct crew *crew, unsigned roles)
{
	if (roles & PRODUCER)
		MUST(items_producer_attach(&crew->out, ring, &crew->self) == TDM_OK);
	if (roles & CONSUMER)
		MUST(items_consumer_attach(&crew->in, ring, &crew->self) == TDM_OK);
}

static void crew_leave(struct crew *crew)
{
	if (crew->out.ring.shm != NULL)
		MUST(items_producer_detach(&crew->out) == TDM_OK);
	if (crew->in.ring.shm != NULL)
		MUST(items_consumer_detach(&crew->in) == TDM_OK);
	MUST(tdm_participant_leave(&crew->self) == TDM_OK);
}

static uint64_t crew_tail(const struct crew *crew)
{
	return tdm_spsc_producer_position(&crew->out.ring);
}

static uint64_t crew_head(const struct crew *crew)
{
	return tdm_spsc_consumer_position(&crew->in.ring);
}

static void crew_push(struct crew *crew)
{
	struct item item = item_make(crew_tail(crew), crew->who);
	MUST(items_try_push(&crew->out, &item) == TDM_OK);
}

static void crew_pop(struct crew *crew)
{
	struct item item;
	uint64_t position = crew_head(crew);
	MUST(items_try_pop(&crew->in, &item) == TDM_OK && item_is(&item, position));
}

static void books_open(uint64_t pushed, uint64_t popped)
{
	tdm_store_release_u64(&world->push_acked, pushed);
	tdm_store_release_u64(&world->push_tried, pushed);
	tdm_store_release_u64(&world->pop_acked, popped);
	tdm_store_release_u64(&world->pop_tried, popped);
	tdm_store_release_u64(&world->pushed_before, pushed);
	tdm_store_release_u64(&world->popped_before, popped);
}

// ---------------------------------------------------------------------------------------------
// What victims do within the window: each writes down what it is going to do, and what was
// acknowledged.

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

// About to push `count`, of which as many can be pushed as there is room for.
static void will_push(const struct crew *crew, uint64_t count)
{
	uint64_t tail = crew_tail(crew);
	uint64_t end = tdm_load_relaxed_u64(&world->pop_tried) + plan.capacity;
	if (plan.peer == SERVES || end - tail > count)
		end = tail + count;
	tdm_store_release_u64(&world->push_tried, end);
}

static void have_pushed(const struct crew *crew)
{
	tdm_store_release_u64(&world->push_acked, crew_tail(crew));
}

// About to pop `count`; the answer is where to.
static struct item *will_pop(const struct crew *crew, uint64_t count)
{
	uint64_t head = crew_head(crew);
	uint64_t end = tdm_load_relaxed_u64(&world->push_tried);
	if (plan.peer == SERVES || end - head > count)
		end = head + count;
	tdm_store_release_u64(&world->hands[crew->who].first, head);
	tdm_store_release_u64(&world->pop_tried, end);
	return world->hands[crew->who].items;
}

static void have_popped(const struct crew *crew)
{
	tdm_store_release_u64(&world->pop_acked, crew_head(crew));
}

static void saw_a_problem(void)
{
	tdm_store_release_u32(&world->problem, 1);
}

static void act_push(struct crew *crew)
{
	struct item item = item_make(crew_tail(crew), crew->who);
	will_push(crew, 1);
	enum tdm_status status = plan.typed ? items_try_push(&crew->out, &item)
					    : tdm_spsc_try_push(&crew->out.ring, &item);
	have_pushed(crew);
	if (status != TDM_OK && status != TDM_FULL)
		saw_a_problem();
}

static void act_push_n(struct crew *crew)
{
	struct item batch[3];
	size_t pushed = 0;
	for (uint64_t i = 0; i < 3; i++)
		batch[i] = item_make(crew_tail(crew) + i, crew->who);
	will_push(crew, 3);
	enum tdm_status status = plan.typed
				     ? items_try_push_n(&crew->out, batch, 3, &pushed)
				     : tdm_spsc_try_push_n(&crew->out.ring, batch, 3, &pushed);
	have_pushed(crew);
	if (status != TDM_OK && status != TDM_FULL)
		saw_a_problem();
}

// Reserves and fills a slot.
static enum tdm_status reserve(struct crew *crew)
{
	struct item *slot = NULL;
	void *untyped = NULL;
	enum tdm_status status = plan.typed ? items_try_reserve(&crew->out, &slot)
					    : tdm_spsc_try_reserve(&crew->out.ring, &untyped);
	if (!plan.typed)
		slot = untyped;
	if (status == TDM_OK)
		*slot = item_make(crew_tail(crew), crew->who);
	return status;
}

static void act_commit(struct crew *crew)
{
	will_push(crew, 1);
	enum tdm_status status = reserve(crew);
	if (status == TDM_OK)
		status = plan.typed ? items_commit(&crew->out) : tdm_spsc_commit(&crew->out.ring);
	have_pushed(crew);
	if (status != TDM_OK && status != TDM_FULL)
		saw_a_problem();
}

static void act_abort(struct crew *crew)
{
	enum tdm_status status = reserve(crew);
	if (status == TDM_OK)
		status = plan.typed ? items_abort(&crew->out) : tdm_spsc_abort(&crew->out.ring);
	if (status != TDM_OK && status != TDM_FULL)
		saw_a_problem();
}

static void act_pop(struct crew *crew)
{
	struct item *to = will_pop(crew, 1);
	enum tdm_status status =
	    plan.typed ? items_try_pop(&crew->in, to) : tdm_spsc_try_pop(&crew->in.ring, to);
	have_popped(crew);
	if (status != TDM_OK && status != TDM_EMPTY)
		saw_a_problem();
}

static void act_pop_n(struct crew *crew)
{
	size_t popped = 0;
	struct item *to = will_pop(crew, 3);
	enum tdm_status status = plan.typed ? items_try_pop_n(&crew->in, to, 3, &popped)
					    : tdm_spsc_try_pop_n(&crew->in.ring, to, 3, &popped);
	have_popped(crew);
	if (status != TDM_OK && status != TDM_EMPTY)
		saw_a_problem();
}

static void act_release(struct crew *crew)
{
	struct item *to = will_pop(crew, 1);
	const struct item *from = NULL;
	const void *untyped = NULL;
	enum tdm_status status = plan.typed ? items_try_peek(&crew->in, &from)
					    : tdm_spsc_try_peek(&crew->in.ring, &untyped);
	if (!plan.typed)
		from = untyped;
	if (status == TDM_OK) {
		*to = *from;
		status = plan.typed ? items_release(&crew->in) : tdm_spsc_release(&crew->in.ring);
	}
	have_popped(crew);
	if (status != TDM_OK && status != TDM_EMPTY)
		saw_a_problem();
}

static void act_release_n(struct crew *crew)
{
	struct item *to = will_pop(crew, 3);
	enum tdm_status status = TDM_OK;
	uint64_t seen = 0;
	for (; seen < least(3, plan.capacity); seen++) {
		const void *from = NULL;
		status = tdm_spsc_try_peek_at(&crew->in.ring, seen, &from);
		if (status != TDM_OK)
			break;
		to[seen] = *(const struct item *)from;
	}
	if (status != TDM_OK && status != TDM_EMPTY)
		saw_a_problem();
	if (tdm_spsc_release_n(&crew->in.ring, seen) != TDM_OK)
		saw_a_problem();
	have_popped(crew);
}

// One park up to the deadline, or one slice and the rest, or as long as the peer needs.
#define PATIENCE_NS                                                                                \
	(plan.peer == SERVES ? CHILD_PATIENCE_NS                                                   \
			     : UINT64_C(1000000) * (plan.parks_twice ? 150 : 50))

static void check_wait(const struct crew *crew, enum tdm_status status)
{
	bool follows = crew->out.ring.follow || crew->in.ring.follow;
	enum tdm_status gone = plan.debris != 0 ? TDM_PEER_DIED : TDM_PEER_LEFT;
	enum tdm_status given_up = follows || plan.peer != ALONE ? TDM_TIMED_OUT : gone;
	if (status != TDM_OK && (plan.peer == SERVES || status != given_up))
		saw_a_problem();
}

static void act_push_until(struct crew *crew)
{
	struct item item = item_make(crew_tail(crew), crew->who);
	will_push(crew, 1);
	uint64_t deadline_ns = tdm_deadline_after_ns(PATIENCE_NS);
	enum tdm_status status = plan.typed
				     ? items_push_until(&crew->out, &item, deadline_ns)
				     : tdm_spsc_push_until(&crew->out.ring, &item, deadline_ns);
	have_pushed(crew);
	check_wait(crew, status);
}

static void act_reserve_until(struct crew *crew)
{
	struct item *slot = NULL;
	will_push(crew, 1);
	uint64_t deadline_ns = tdm_deadline_after_ns(PATIENCE_NS);
	enum tdm_status status = items_reserve_until(&crew->out, &slot, deadline_ns);
	if (status == TDM_OK) {
		*slot = item_make(crew_tail(crew), crew->who);
		status = items_commit(&crew->out);
	}
	have_pushed(crew);
	check_wait(crew, status);
}

static void act_pop_until(struct crew *crew)
{
	struct item *to = will_pop(crew, 1);
	uint64_t deadline_ns = tdm_deadline_after_ns(PATIENCE_NS);
	enum tdm_status status = plan.typed ? items_pop_until(&crew->in, to, deadline_ns)
					    : tdm_spsc_pop_until(&crew->in.ring, to, deadline_ns);
	have_popped(crew);
	check_wait(crew, status);
}

static void act_peek_until(struct crew *crew)
{
	const struct item *from = NULL;
	struct item *to = will_pop(crew, 1);
	uint64_t deadline_ns = tdm_deadline_after_ns(PATIENCE_NS);
	enum tdm_status status = items_peek_until(&crew->in, &from, deadline_ns);
	if (status == TDM_OK) {
		*to = *from;
		status = items_release(&crew->in);
	}
	have_popped(crew);
	check_wait(crew, status);
}

// The new holder's position settles what was in doubt.
static void act_producer_attach(struct crew *crew)
{
	enum tdm_status status =
	    plan.typed
		? items_producer_attach(&crew->out, ring, &crew->self)
		: tdm_spsc_producer_attach(&crew->out.ring, ring, sizeof(struct item), &crew->self);
	tdm_store_release_u32(&world->attached, 1 + (uint32_t)status);
	if (status != TDM_OK)
		return;
	uint64_t tail = crew_tail(crew);
	if (tail < tdm_load_relaxed_u64(&world->push_acked) ||
	    tail > tdm_load_relaxed_u64(&world->push_tried))
		saw_a_problem();
	tdm_store_release_u64(&world->push_acked, tail);
	tdm_store_release_u64(&world->push_tried, tail);
}

static void act_consumer_attach(struct crew *crew)
{
	enum tdm_status status =
	    plan.typed
		? items_consumer_attach(&crew->in, ring, &crew->self)
		: tdm_spsc_consumer_attach(&crew->in.ring, ring, sizeof(struct item), &crew->self);
	tdm_store_release_u32(&world->attached, 1 + (uint32_t)status);
	if (status != TDM_OK)
		return;
	uint64_t head = crew_head(crew);
	if (head < tdm_load_relaxed_u64(&world->pop_acked) ||
	    head > tdm_load_relaxed_u64(&world->pop_tried))
		saw_a_problem();
	tdm_store_release_u64(&world->pop_acked, head);
	tdm_store_release_u64(&world->pop_tried, head);
}

static void act_producer_detach(struct crew *crew)
{
	if (items_producer_detach(&crew->out) != TDM_OK)
		saw_a_problem();
}

static void act_consumer_detach(struct crew *crew)
{
	if (items_consumer_detach(&crew->in) != TDM_OK)
		saw_a_problem();
}

static void act_recover(struct crew *crew)
{
	uint32_t recovered = 0;
	if (tdm_spsc_recover(ring, &crew->self, &recovered) != TDM_OK)
		saw_a_problem();
	tdm_store_release_u32(&world->recovered, recovered);
}

static void act_reap(struct crew *crew)
{
	uint32_t reaped = 0;
	if (tdm_segment_reap(&segment, &reaped) != TDM_OK)
		saw_a_problem();
	act_recover(crew);
}

static void act_take_over_push(struct crew *crew)
{
	act_producer_attach(crew);
	act_push_n(crew);
}

static void act_take_over_pop(struct crew *crew)
{
	act_consumer_attach(crew);
	act_release_n(crew);
}

static const struct action push = {"try_push", PRODUCER, WORKS, act_push};
static const struct action push_n = {"try_push_n", PRODUCER, WORKS, act_push_n};
static const struct action commit = {"reserve, commit", PRODUCER, WORKS, act_commit};
static const struct action abort_ = {"reserve, abort", PRODUCER, WORKS, act_abort};
static const struct action pop = {"try_pop", CONSUMER, WORKS, act_pop};
static const struct action pop_n = {"try_pop_n", CONSUMER, WORKS, act_pop_n};
static const struct action release = {"peek, release", CONSUMER, WORKS, act_release};
static const struct action release_n = {"peek_at, release_n", CONSUMER, WORKS, act_release_n};
static const struct action push_until = {"push_until", PRODUCER, WORKS, act_push_until};
static const struct action reserve_until = {"reserve_until", PRODUCER, WORKS, act_reserve_until};
static const struct action pop_until = {"pop_until", CONSUMER, WORKS, act_pop_until};
static const struct action peek_until = {"peek_until", CONSUMER, WORKS, act_peek_until};
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
static const struct action take_over_push = {"producer_attach, try_push_n", PRODUCER, ATTACHES,
					     act_take_over_push};
static const struct action take_over_pop = {"consumer_attach, release_n", CONSUMER, ATTACHES,
					    act_take_over_pop};

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

// The kernel's clock is far ahead of the victim's own, so that its sleeps return at once. A serving
// peer acts first. A parked peer that is going to be woken by recover sleeps long, and says so when
// nobody wakes it.
static enum tdm_status world_futex_wait(tdm_atomic_u32 *word, uint32_t expected,
					uint64_t deadline_ns)
{
	char byte = 's';
	if (world_clock_ns == 0 && plan.peer == PARKED && plan.recovers) {
		enum tdm_status status =
		    tdm_futex_wait_kernel_(word, expected, tdm_deadline_after_ns(OVERSLEPT_NS));
		if (status == TDM_TIMED_OUT)
			saw_a_problem();
		return status;
	}
	if (world_clock_ns != 0 && plan.peer == SERVES) {
		if (write(peer_socket[0], &byte, 1) != 1 || read(peer_socket[0], &byte, 1) != 1)
			saw_a_problem();
	} else if (world_clock_ns != 0) {
		world_clock_ns = deadline_ns;
	}
	return tdm_futex_wait_kernel_(word, expected, deadline_ns);
}

// The victim's handle gets to know the other side's position of long ago: the limit of a producer
// is then used up, and a consumer has popped what it has not released.
static void grow_stale(struct crew *crew, enum role role)
{
	struct crew other;
	crew_join(&other, PRIMED, "other");
	crew_attach(&other, PRODUCER + CONSUMER - role);
	struct crew *producer = role == PRODUCER ? crew : &other;
	struct crew *consumer = role == CONSUMER ? crew : &other;
	while (crew_tail(producer) - crew_head(consumer) < plan.capacity)
		crew_push(producer);
	while (crew_tail(producer) - crew_head(consumer) > plan.fill)
		crew_pop(consumer);
	if (role == CONSUMER && crew->in.ring.batch > 1) {
		while (crew->in.ring.released == crew_head(consumer)) {
			if (plan.fill == 0)
				crew_push(producer);
			crew_pop(consumer);
			if (plan.fill != 0)
				crew_push(producer);
		}
	}
	books_open(crew_tail(producer), crew_head(consumer));
	crew_leave(&other);
}

static void run_debris(void *unused)
{
	struct crew crew;
	(void)unused;
	crew_join(&crew, PRIMED, "debris");
	crew_attach(&crew, plan.debris);
	raise(SIGKILL);
}

// Sleeps in the other role until it gets or gives an element, or knows that it never will.
static void run_parked(void *unused)
{
	struct crew crew;
	(void)unused;
	crew_join(&crew, PEER, "parked");
	uint64_t deadline_ns = tdm_deadline_after_ns(CHILD_PATIENCE_NS);
	enum tdm_status status = TDM_OK;
	if (plan.first->role == PRODUCER) {
		crew_attach(&crew, CONSUMER);
		crew.in.ring.follow = plan.follow;
		tdm_store_release_u32(&world->peer_ready, 1);
		struct item *to = will_pop(&crew, 1);
		tdm_store_release_u64(&world->pop_tried, crew_head(&crew) + 1);
		status = items_pop_until(&crew.in, to, deadline_ns);
		have_popped(&crew);
		tdm_store_release_u64(&world->pop_tried, crew_head(&crew));
	} else {
		crew_attach(&crew, PRODUCER);
		crew.out.ring.follow = plan.follow;
		tdm_store_release_u32(&world->peer_ready, 1);
		struct item item = item_make(crew_tail(&crew), PEER);
		tdm_store_release_u64(&world->push_tried, crew_tail(&crew) + 1);
		status = items_push_until(&crew.out, &item, deadline_ns);
		have_pushed(&crew);
		tdm_store_release_u64(&world->push_tried, crew_tail(&crew));
	}
	tdm_store_release_u32(&world->peer, 1 + (uint32_t)status);
	crew_leave(&crew);
}

// Acts once when asked, then waits for the end of the conversation.
static void run_serving(void *unused)
{
	struct crew crew;
	(void)unused;
	close(peer_socket[0]);
	enum role role = PRODUCER + CONSUMER - plan.first->role;
	crew_join(&crew, PEER, "serving");
	crew_attach(&crew, role);
	tdm_store_release_u32(&world->peer_ready, 1);
	char byte = 0;
	while (read(peer_socket[1], &byte, 1) == 1) {
		if (role == PRODUCER) {
			crew_push(&crew);
			tdm_store_release_u64(&world->push_acked, crew_tail(&crew));
			tdm_store_release_u64(&world->push_tried, crew_tail(&crew));
		} else {
			struct item *to = world->hands[PEER].items;
			tdm_store_release_u64(&world->hands[PEER].first, crew_head(&crew));
			MUST(items_try_pop(&crew.in, to) == TDM_OK);
			tdm_store_release_u64(&world->pop_acked, crew_head(&crew));
			tdm_store_release_u64(&world->pop_tried, crew_head(&crew));
		}
		if (send(peer_socket[1], &byte, 1, MSG_NOSIGNAL) != 1)
			break; // it died before it could hear of it
	}
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

static const struct tdm_spsc_shm *ring_shm(void)
{
	return TDM_CONST_AT_(struct tdm_spsc_shm, ring.base, 0);
}

static bool armed(const struct tdm_event *event)
{
	return (tdm_load_relaxed_u32(&event->word) & TDM_EVENT_ARMED_) != 0;
}

// Until it sleeps: a peer that is woken without need goes to sleep again.
static void await_sleeper(void)
{
	const struct tdm_event *event =
	    plan.first->role == PRODUCER ? &ring_shm()->not_empty : &ring_shm()->not_full;
	while (!(armed(event) && asleep(peer_pid)))
		sched_yield();
}

static void start_peer(void)
{
	// A peer waits for a side that was never there, and not for one that has left.
	struct tdm_spsc_shm *shm = TDM_AT_(struct tdm_spsc_shm, ring.base, 0);
	tdm_store_relaxed_u64(plan.first->role == PRODUCER ? &shm->producer : &shm->consumer,
			      TDM_ROLE_NONE_);
	if (plan.peer == SERVES)
		MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, peer_socket) == 0);
	peer_pid = child_start(plan.peer == SERVES ? run_serving : run_parked, NULL);
	while (tdm_load_acquire_u32(&world->peer_ready) == 0)
		sched_yield();
	if (plan.peer == SERVES)
		close(peer_socket[1]);
}

static void run_first(void *state)
{
	struct crew crew;
	(void)state;
	enum role role = plan.first->role;
	crew_join(&crew, FIRST, "first");
	if (plan.first->phase == WORKS || plan.first->phase == DETACHES) {
		crew_attach(&crew, role);
		if (plan.stale && plan.debris == 0)
			grow_stale(&crew, role);
	}
	if (plan.peer == PARKED)
		await_sleeper();
	if (plan.follow) {
		crew.out.ring.follow = true;
		crew.in.ring.follow = true;
	}
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
	return tdm_spsc_init_at_(span, object, plan.start);
}

static void world_open(void)
{
	struct tdm_segment_options options;
	memset(&options, 0, sizeof(options));
	options.sealed = true; // without a name nothing can be left behind
	options.seats = SEATS;
	ring_object = items_object("ring", plan.capacity);
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

static void *world_setup(void)
{
	memset((void *)world, 0, sizeof(*world));
	world_fenced = plan.fenced;
	MUST(ring_object.init(ring, &ring_object) == TDM_OK);
	if (plan.early)
		crew_join(&survivor, SURVIVOR, "survivor");
	struct crew prime;
	crew_join(&prime, PRIMED, "prime");
	crew_attach(&prime, PRODUCER + CONSUMER);
	for (uint64_t i = 0; i < plan.lead; i++) {
		crew_push(&prime);
		crew_pop(&prime);
	}
	for (uint64_t i = 0; i < plan.fill; i++)
		crew_push(&prime);
	books_open(crew_tail(&prime), crew_head(&prime));
	crew_leave(&prime);
	if (plan.debris != 0) {
		pid_t pid = child_start(run_debris, NULL);
		int status = 0;
		MUST(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	}
	if (plan.armed) {
		struct tdm_spsc_shm *shm = TDM_AT_(struct tdm_spsc_shm, ring.base, 0);
		(void)tdm_event_prepare(&shm->not_empty);
		(void)tdm_event_prepare(&shm->not_full);
	}
	if (plan.peer != ALONE)
		start_peer();
	return world;
}

static void world_teardown(void *state)
{
	(void)state;
	if (plan.peer == SERVES && peer_socket[0] >= 0)
		close(peer_socket[0]);
	peer_socket[0] = -1;
	if (plan.peer != ALONE && peer_pid > 0) {
		int status = 0;
		kill(peer_pid, SIGKILL);
		waitpid(peer_pid, &status, 0);
	}
	peer_pid = 0;
	// Only a survivor whose audit complained is still here.
	if (survivor.out.ring.shm != NULL)
		(void)!items_producer_detach(&survivor.out);
	if (survivor.in.ring.shm != NULL)
		(void)!items_consumer_detach(&survivor.in);
	if (survivor.self.lock != NULL)
		(void)!tdm_participant_leave(&survivor.self);
}

#endif
