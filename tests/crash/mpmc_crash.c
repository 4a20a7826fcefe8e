// SPDX-License-Identifier: BSD-2-Clause
// One death at every instruction of every operation of the mpmc ring, on every kind of ring. And
// one stop at every instruction: who is stopped is alive. TANDEM_SOAK=1: on every ring, where
// otherwise on many of them some instructions are left out.
#include "mpmc_audit.h"

#include "../support/broken/mpmc_any_generation.h"
#include "../support/broken/mpmc_first_of_batch.h"
#include "../support/broken/mpmc_never_looks.h"
#include "../support/broken/mpmc_push_intents.h"
#include "../support/broken/mpmc_state_first.h"

static uint64_t all_stops;
static bool soak;

// --- every ring ---

// Where the ring's first element is, so that the window's element is at an edge of the positions.
static uint64_t start_at(unsigned kind, uint64_t before)
{
	switch (kind % 5) {
	case 0:
		return 0;
	case 1:
		return 3;
	case 2:
		return (UINT64_C(1) << 32) - 1 - before;
	case 3:
		return (UINT64_C(1) << 56) - 1 - before;
	default:
		return (UINT64_C(1) << 63) - 1 - before;
	}
}

// Everything that is not the capacity or the fill: another mixture for each number.
static void vary(unsigned number)
{
	static unsigned runs;
	uint64_t bits = (number + 1 + (uint64_t)runs++) * UINT64_C(0x9e3779b97f4a7c15) >> 20;
	plan.armed = (bits & 1) != 0;
	plan.fenced = (bits >> 2 & 3) == 0;
	plan.recovers = (bits >> 4 & 1) != 0;
	plan.early = (bits >> 5 & 1) != 0;
	plan.lead = (bits >> 6 & 1) != 0 ? plan.capacity + 1 : 0;
	plan.drain = (unsigned)(bits >> 7) % DRAINS;
	plan.start = start_at(number, plan.lead + (plan.first->role == PRODUCER ? plan.fill : 0));
}

static uint64_t kill_first(const char *name, unsigned stride)
{
	world_open();
	const struct crash_case test = {name, world_setup, run_first,
					NULL, world_audit, world_teardown};
	uint64_t kills = crash_must_hold(&test, stride, 1);
	world_close();
	return kills;
}

// Every instruction of every sixth ring is a kill point, of the others every 37th.
static unsigned stride_of(unsigned number)
{
	return soak || number % 6 == 5 ? 1 : 37;
}

// The capacities 2, 4 and 8, empty, half full, with one place left, and full.
static void on_every_ring(const struct action *action)
{
	static unsigned number;
	unsigned rings = 0;
	uint64_t kills = 0;
	for (uint64_t capacity = 2; capacity <= 8; capacity *= 2) {
		const uint64_t fills[] = {0, capacity / 2, capacity - 1, capacity};
		for (unsigned i = 0; i < 4; i++) {
			if (i > 0 && fills[i] == fills[i - 1])
				continue;
			memset(&plan, 0, sizeof(plan));
			plan.first = action;
			plan.capacity = capacity;
			plan.fill = fills[i];
			plan.typed = number % 2 == 0;
			vary(number);
			kills += kill_first(action->name, stride_of(number++));
			rings++;
		}
	}
	tap_note("%s: %u rings, %" PRIu64 " kill points", action->name, rings, kills);
}

// What each kind of dead participant left behind, in a seat of each kind.
static void on_debris(const struct action *action, enum debris from, enum debris to)
{
	static unsigned number;
	uint64_t kills = 0;
	for (enum debris debris = from; debris <= to; debris++) {
		for (enum seat seat = 0; seat < SEAT_KINDS; seat++) {
			memset(&plan, 0, sizeof(plan));
			plan.first = action;
			plan.capacity = number % 2 == 0 ? 4 : 8;
			plan.fill = debris < HELD_POP ? number % 3 : plan.capacity - number % 3;
			plan.typed = number % 2 == 0;
			plan.debris = debris;
			plan.seat = seat;
			vary(number);
			kills += kill_first(action->name, stride_of(number++));
		}
	}
	tap_note("%s on debris: %" PRIu64 " kill points", action->name, kills);
}

// --- waiting ---

// The victim waits in vain, or until it acts itself in the other role when it is about to sleep.
// Every instruction of number `stepped` is a kill point, of the others every 29th.
static void waiting(const struct action *action, unsigned stepped)
{
	uint64_t kills = 0;
	for (unsigned number = 0; number < 6; number++) {
		memset(&plan, 0, sizeof(plan));
		plan.first = action;
		plan.capacity = number % 2 != 0 ? 4 : 2;
		plan.fill = action->role == PRODUCER ? plan.capacity : 0;
		plan.typed = number % 2 == 0;
		vary(number);
		plan.armed = false;
		if (number < 2)
			plan.peer = SERVES;
		else if (number < 4)
			plan.follow = true; // until the deadline
		else if (number == 5)
			plan.debris = action->role == PRODUCER ? HELD_POP : LOST_PUSH;
		plan.parks_twice = number == 2;
		kills += kill_first(action->name, soak || number == stepped ? 1 : 29);
	}
	tap_note("%s: %" PRIu64 " kill points", action->name, kills);
}

// The victim wakes a peer that sleeps, or should have.
static void waking(const struct action *action)
{
	uint64_t kills = 0;
	for (unsigned number = 0; number < 3; number++) {
		memset(&plan, 0, sizeof(plan));
		plan.first = action;
		plan.capacity = number % 2 != 0 ? 4 : 2;
		plan.fill = action->role == PRODUCER ? 0 : plan.capacity;
		plan.typed = number % 2 == 0;
		vary(number);
		plan.armed = false;
		plan.peer = PARKED;
		plan.recovers = number == 0; // otherwise the peer finds out by itself, in 100 ms
		kills += kill_first(action->name, number == 0 ? 1 : 23);
	}
	tap_note("%s: %" PRIu64 " kill points", action->name, kills);
}

// --- stopped ---

static void stop_all(const struct action *action, enum debris debris)
{
	uint64_t stops = 0;
	for (unsigned number = 0; number < 4; number++) {
		memset(&plan, 0, sizeof(plan));
		plan.first = action;
		plan.capacity = number % 2 != 0 ? 8 : 2;
		plan.fill = number % 2 != 0 ? 4 : number / 2;
		plan.debris = debris;
		plan.seat = number % SEAT_KINDS;
		plan.typed = number % 2 == 0;
		vary(number);
		plan.recovers = false;
		world_open();
		const struct crash_case test = {action->name, world_setup,    run_first,
						NULL,         beside_stopped, world_teardown};
		stops += crash_must_hold_stopped(&test, after_stopped, soak ? 1 : 5);
		world_close();
	}
	tap_note("%s: stopped at %" PRIu64 " points", action->name, stops);
	all_stops += stops;
}

// --- a batch that was lost ---

static void push_behind_debris(void *unused)
{
	struct crew crew;
	(void)unused;
	crew_join(&crew, PEER, "behind");
	crew_attach(&crew, PRODUCER);
	act_push(&crew);
	crew_leave(&crew);
}

// All that is there is behind positions that a dead one has claimed. Without spinning, each
// round of waiting looks around once.
static void find_behind_a_lost_batch(void)
{
	memset(&plan, 0, sizeof(plan));
	plan.first = &pop_until;
	plan.capacity = 8;
	plan.debris = LOST_PUSH;
	world_open();
	void *state = world_setup();
	child_end(child_start(push_behind_debris, NULL));
	crew_join(&survivor, SURVIVOR, "survivor");
	crew_attach(&survivor, CONSUMER);
	struct item item = {0, 0, 0};
	world_clock_ns = 1;
	CHECK_STATUS(items_pop_until(&survivor.in, &item, tdm_deadline_after_ns(50000000)), TDM_OK);
	world_clock_ns = 0;
	CHECK(item_is_whole(&item) && item.writer == PEER);
	world_teardown(state);
	world_close();
}

// --- what is broken on purpose ---

static void must_be_caught(const char *name, const char *expected)
{
	world_open();
	const struct crash_case test = {name, world_setup, run_first,
					NULL, world_audit, world_teardown};
	crash_must_fail(&test, 7, expected);
	world_close();
}

static void plan_for_broken(const struct action *action, uint64_t capacity, uint64_t fill)
{
	memset(&plan, 0, sizeof(plan));
	plan.first = action;
	plan.capacity = capacity;
	plan.fill = fill;
	plan.early = true;
}

// The survivor has taken over what the debris had taken. The victim has seen it before that, and
// comes late; meanwhile the survivor is done with it.

static bool (*late_adopt)(const struct tdm_mpmc_view_ *view, uint64_t position,
			  tdm_atomic_u64 *intent, uint32_t *attempt);

static void act_adopt_late(struct crew *crew)
{
	const struct tdm_mpmc_view_ *view = &crew->in.ring.view;
	tdm_atomic_u64 *word = &crew->in.ring.part->intents[TDM_MPMC_AGAIN_];
	struct item *to = hand_open(crew);
	uint32_t attempt = 0;
	bool adopted = late_adopt(view, plan.start, word, &attempt);
	if (adopted) {
		tdm_atomic_u64 *slot = tdm_mpmc_sequence_(view, plan.start);
		memcpy(to, TDM_AT_(struct item, slot, crew->in.ring.offset), sizeof(*to));
		tdm_store_release_u64(slot, (plan.start + plan.capacity) & TDM_MPMC_POSITION_);
	}
	hand_close(crew, adopted);
}

static const struct action adopt_late = {"adopt late", CONSUMER, WORKS, act_adopt_late};

static void *setup_taken_over(void)
{
	void *state = world_setup();
	crew_attach(&survivor, CONSUMER);
	take(&survivor, 0);
	MUST(holds(&survivor, 0) && survivor.leases[0].ring.position == plan.start);
	return state;
}

static const char *ack_beside_stopped(void *state, bool completed)
{
	(void)state, (void)completed;
	ack(&survivor, 0);
	return NULL;
}

// Somebody claims the same position as the stopped one, and dies.

static enum tdm_status (*stopped_push)(struct tdm_mpmc_producer *, const void *);
static enum tdm_status (*winner_push)(struct tdm_mpmc_producer *, const void *);

static void act_push_by(struct crew *crew)
{
	struct item item = item_new(crew);
	enum tdm_status status = stopped_push(&crew->out.ring, &item);
	settle_push(&item, 1, status == TDM_OK);
	SAW_A_PROBLEM_IF(status != TDM_OK && status != TDM_FULL);
}

static const struct action push_by = {"push against the dead", PRODUCER, WORKS, act_push_by};

// Between the claim and the word that it was won, if it pushes by no function.
static void run_winner(void *unused)
{
	struct crew crew;
	(void)unused;
	crew_join(&crew, PEER, "winner");
	crew_attach(&crew, PRODUCER);
	world_copying = 1;
	struct item item = item_new(&crew);
	if (winner_push != NULL) {
		if (winner_push(&crew.out.ring, &item) == TDM_FULL)
			settle_push(&item, 1, 0);
	} else {
		uint64_t tail = tdm_load_relaxed_u64(&ring_shm()->tail);
		tdm_atomic_u64 *slot = tdm_mpmc_sequence_(&crew.out.ring.view, tail);
		tdm_store_release_u64(crew.out.ring.intent, tdm_mpmc_intent_(tail, 1));
		if (tdm_load_acquire_u64(slot) == tail)
			(void)tdm_cas_strong_release_relaxed_u64(&ring_shm()->tail, &tail,
								 tail + 1);
	}
	raise(SIGKILL);
}

static const char *winner_beside_stopped(void *state, bool completed)
{
	(void)state, (void)completed;
	int status = 0;
	pid_t pid = child_start(run_winner, NULL);
	EXPECT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "the winner lives");
	return NULL;
}

// What the dead one won is in nobody's way, while the other is stopped.
static const char *pass_beside_stopped(void *state, bool completed)
{
	struct tdm_mpmc_info info;
	bool claimed = tdm_load_relaxed_u64(&ring_shm()->tail) != plan.fill;
	const char *complaint = winner_beside_stopped(state, completed);
	if (complaint != NULL || claimed)
		return complaint;
	crew_attach(&survivor, CONSUMER);
	for (unsigned i = 0; i < REFUSALS; i++) {
		struct item *to = hand_open(&survivor);
		enum tdm_status status = items_try_pop(&survivor.in, to);
		hand_close(&survivor, status == TDM_OK);
	}
	EXPECT(tdm_mpmc_check(ring, &info) == TDM_OK && info.popped == info.pushed,
	       "a dead winner's position cannot be passed");
	return NULL;
}

// The ring is full of what a dead producer has claimed: who pushes must look at that, too.
static void never_looking_push(void)
{
	plan_for_broken(&push, 2, 0);
	plan.debris = LOST_PUSH;
	world_open();
	void *state = world_setup();
	crew_attach(&survivor, PRODUCER);
	struct item item = item_new(&survivor);
	for (unsigned i = 0; i < REFUSALS; i++)
		CHECK_STATUS(broken_mpmc_push_never_looks(&survivor.out.ring, &item), TDM_FULL);
	unsigned refused = 0;
	while (items_try_push(&survivor.out, &item) == TDM_FULL && refused < REFUSALS)
		refused++;
	CHECK(refused < REFUSALS);
	world_teardown(state);
	world_close();
}

static void the_broken_are_caught(void)
{
	struct crash_case test = {"", world_setup, run_first, NULL, NULL, world_teardown};

	tap_case("a pop that never looks for what the dead have left is caught");
	plan_for_broken(&take_nack, 4, 2);
	plan.pop = broken_mpmc_pop_never_looks;
	must_be_caught("never looks", "are still there");

	tap_case("a push that never looks for what the dead have left is caught");
	never_looking_push();

	tap_case("a recovery that looks only at the first position of a batch is caught");
	plan_for_broken(&pop_n, 8, 6);
	plan.pop = broken_mpmc_pop_first_of_batch;
	must_be_caught("first of a batch", "are still there");

	tap_case("a scan that takes a seat's next holder for the dead one is caught");
	plan_for_broken(&pop, 4, 0);
	plan.debris = LOST_PUSH;
	plan.seat = SQUATTED;
	plan.pop = broken_mpmc_pop_any_generation;
	must_be_caught("any generation", "positions claimed");

	tap_case("a takeover that looks at the state before it scans is caught, and ours is not");
	plan_for_broken(&adopt_late, 4, 2);
	plan.debris = TAKEN;
	test.name = "takeover";
	test.setup = setup_taken_over;
	test.audit = ack_beside_stopped;
	world_open();
	late_adopt = tdm_mpmc_adopt_;
	crash_must_hold_stopped(&test, after_stopped, 1);
	late_adopt = broken_mpmc_adopt_state_first;
	crash_must_fail_stopped(&test, after_stopped, 1, "was delivered 2 times");
	world_close();
	test.setup = world_setup;

	tap_case("an intent that stays after a lost claim is caught, and ours does not");
	plan_for_broken(&push_by, 2, 1);
	test.name = "lost claim";
	test.audit = winner_beside_stopped;
	world_open();
	winner_push = NULL;
	stopped_push = tdm_mpmc_try_push;
	crash_must_hold_stopped(&test, after_stopped, 1);
	stopped_push = broken_mpmc_push_keeps_intent;
	crash_must_fail_stopped(&test, after_stopped, 1, "positions claimed");
	world_close();

	tap_case("a dead winner that never said so is caught, and ours has");
	plan_for_broken(&push_by, 4, 1);
	test.name = "dead winner";
	test.audit = pass_beside_stopped;
	world_open();
	stopped_push = tdm_mpmc_try_push;
	winner_push = tdm_mpmc_try_push;
	crash_must_hold_stopped(&test, after_stopped, 1);
	winner_push = broken_mpmc_push_never_won;
	crash_must_fail_stopped(&test, after_stopped, 1, "cannot be passed");
	world_close();
}

int main(void)
{
	if (!crash_available())
		tap_skip_all("no single-stepping here");
	crash_notes = false;
	soak = getenv("TANDEM_SOAK") != NULL;
	uint64_t began_ns = tdm_clock_now_();

	static const struct action *const works[] = {
	    &push, &push_n, &pop, &pop_n, &take_ack, &take_nack, &take_both, &take_again};
	for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++) {
		char sentence[128];
		snprintf(sentence, sizeof(sentence), "%s may end at any instruction",
			 works[i]->name);
		tap_case(sentence);
		on_every_ring(works[i]);
	}

	tap_case("attaching may end at any instruction, also to a seat that a dead one had");
	on_every_ring(&producer_attach);
	on_every_ring(&consumer_attach);
	on_debris(&producer_attach, LOST_PUSH, TAKEN);
	on_debris(&consumer_attach, LOST_PUSH, TAKEN);

	tap_case("detaching may end at any instruction, also with leases");
	on_every_ring(&producer_detach);
	on_every_ring(&consumer_detach);

	tap_case("skipping what a dead producer has claimed may end at any instruction");
	on_debris(&push_n, LOST_PUSH, HALF_PUSH);
	on_debris(&attach_pop, LOST_PUSH, HALF_PUSH);
	on_debris(&take_ack, LOST_PUSH, HALF_PUSH);

	tap_case("delivering again may end at any instruction");
	on_debris(&attach_pop_all, HELD_POP, TAKEN);
	on_debris(&attach_take, HELD_POP, TAKEN);

	tap_case("recovering may end at any instruction");
	on_debris(&recover, LOST_PUSH, TAKEN);
	on_debris(&reap, HALF_POP, HALF_POP);

	tap_case("waiting may end at any instruction");
	waiting(&push_until, 4);
	waiting(&push_n_until, 1);
	waiting(&pop_until, 5);
	waiting(&pop_n_until, 3);
	waiting(&take_until, 0);

	tap_case("a sleeping peer learns of an element or of room, whenever the death comes");
	waking(&push);
	waking(&push_n);
	waking(&pop);
	waking(&take_ack);
	CHECK(tally.peers > 100);

	tap_case("a batch that a dead producer lost hides nothing from who waits");
	find_behind_a_lost_batch();

	tap_case("who is stopped at any instruction keeps what it has, and loses nothing");
	for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++)
		stop_all(works[i], NOTHING);
	stop_all(&attach_pop, HALF_PUSH);
	stop_all(&attach_push, LOST_PUSH);
	stop_all(&attach_pop_all, HALF_POP);
	stop_all(&attach_pop_all, TAKEN);
	stop_all(&recover, HALF_PUSH);
	stop_all(&recover, TAKEN);

	tap_case("there were fifteen thousand kill points");
	tally_note("kill points");
	tap_note("%" PRIu64 " points of stopping, %.0f s", all_stops,
		 (double)(tdm_clock_now_() - began_ns) / 1e9);
	CHECK(tally.deaths >= 15000);
	CHECK(tally.pushed > 1000 && tally.not_pushed > 1000);
	CHECK(tally.popped > 1000 && tally.not_popped > 100);
	CHECK(tally.again > 1000 && tally.skipped > 100);

	the_broken_are_caught();
	return tap_done();
}
