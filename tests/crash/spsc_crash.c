// SPDX-License-Identifier: BSD-2-Clause
// One death at every instruction of every operation of the spsc ring, on every kind of ring. And
// one stop at every instruction: who is stopped is alive.
#include "spsc_audit.h"

#include "../support/broken/spsc_claim_store.h"
#include "../support/broken/spsc_pop_head_first.h"
#include "../support/broken/spsc_push_sequence_first.h"
#include "../support/broken/spsc_recover_store.h"
#include "../support/broken/spsc_take_over_released.h"

static uint64_t all_stops;

// --- every ring ---

// Where the ring's first element is, so that the window's element is at an edge of the positions.
static uint64_t start_at(unsigned kind, uint64_t before)
{
	switch (kind % 4) {
	case 0:
		return 0;
	case 1:
		return 3;
	case 2:
		return (UINT64_C(1) << 32) - 1 - before;
	default:
		return (UINT64_C(1) << 63) - 1 - before;
	}
}

// Everything that is not the capacity or the fill: another mixture for each number.
static void vary(unsigned number)
{
	static unsigned runs;
	uint64_t bits = (number + 1 + (uint64_t)runs++) * UINT64_C(0x9e3779b97f4a7c15) >> 20;
	plan.stale = (bits & 1) != 0;
	plan.armed = (bits >> 1 & 1) != 0;
	plan.fenced = (bits >> 2 & 3) == 0;
	plan.recovers = (bits >> 4 & 1) != 0;
	plan.early = (bits >> 5 & 1) != 0;
	plan.lead = (bits >> 6 & 1) != 0 ? plan.capacity + 1 : 0;
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

// The capacities 1, 2, 4 and 8, empty, half full, with one place left, and full; `both`: each
// typed and untyped, otherwise in turns.
static void on_every_ring(const struct action *action, unsigned debris, bool both)
{
	static unsigned number;
	unsigned rings = 0;
	uint64_t kills = 0;
	for (uint64_t capacity = 1; capacity <= 8; capacity *= 2) {
		const uint64_t fills[] = {0, capacity / 2, capacity - 1, capacity};
		for (unsigned i = 0; i < 4; i++) {
			bool repeated = i > 0 && fills[i] == fills[i - 1];
			for (unsigned form = 0; form < (both ? 2 : 1) && !repeated; form++) {
				memset(&plan, 0, sizeof(plan));
				plan.first = action;
				plan.capacity = capacity;
				plan.fill = fills[i];
				plan.debris = debris;
				plan.typed = both ? form == 0 : number % 2 == 0;
				vary(number++);
				kills += kill_first(action->name, 1);
				rings++;
			}
		}
	}
	tap_note("%s: %u rings, %" PRIu64 " kill points", action->name, rings, kills);
}

// --- waiting ---

// The victim waits in vain, or until a peer acts when it is about to sleep. Every instruction of
// number `stepped` is a kill point, of the others every eleventh.
static void waiting(const struct action *action, unsigned stepped)
{
	uint64_t kills = 0;
	for (unsigned number = 0; number < 6; number++) {
		memset(&plan, 0, sizeof(plan));
		plan.first = action;
		plan.capacity = number % 2 != 0 ? 4 : 1;
		plan.fill = action->role == PRODUCER ? plan.capacity : 0;
		plan.typed = number % 2 == 0;
		vary(number);
		plan.stale = false;
		plan.armed = false;
		if (number < 2)
			plan.peer = SERVES;
		else if (number < 4)
			plan.follow = true; // until the deadline
		else if (number == 5)
			plan.debris = PRODUCER + CONSUMER - action->role;
		plan.parks_twice = number == 2;
		kills += kill_first(action->name, number == stepped ? 1 : 11);
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
		plan.capacity = number % 2 != 0 ? 2 : 1;
		plan.fill = action->role == PRODUCER ? 0 : plan.capacity;
		plan.typed = number % 2 == 0;
		vary(number);
		plan.stale = false;
		plan.armed = false;
		plan.peer = PARKED;
		plan.recovers = number == 0; // otherwise the peer finds out by itself, in 100 ms
		plan.follow = number == 1;
		kills += kill_first(action->name, number == 0 ? 1 : 9);
	}
	tap_note("%s: %" PRIu64 " kill points", action->name, kills);
}

// --- stopped ---

static const char *beside(bool completed)
{
	(void)completed;
	struct tdm_spsc_info info;
	struct crew *crew = &survivor;
	uint32_t count = 0;
	if (!plan.early)
		crew_join(crew, SURVIVOR, "survivor");
	EXPECT(tdm_spsc_check(ring, &info) == TDM_OK, "check refuses the ring");
	EXPECT(tdm_spsc_recover(ring, &crew->self, &count) == TDM_OK && count == 0,
	       "a stopped holder was recovered");
	EXPECT(tdm_segment_reap(&segment, &count) == TDM_OK && count == 0,
	       "a stopped participant was reaped");
	enum tdm_status producer = items_producer_attach(&crew->out, ring, &crew->self);
	enum tdm_status consumer = items_consumer_attach(&crew->in, ring, &crew->self);
	EXPECT(producer == (plan.first->role == PRODUCER ? TDM_BUSY : TDM_OK),
	       "producer_attach beside the stopped: %s", tdm_status_name(producer));
	EXPECT(consumer == (plan.first->role == CONSUMER ? TDM_BUSY : TDM_OK),
	       "consumer_attach beside the stopped: %s", tdm_status_name(consumer));
	if (consumer == TDM_OK)
		return audit_drain(crew, info.pushed);
	while (info.pushed - info.popped < plan.capacity) {
		struct item item = item_make(crew_tail(crew), SURVIVOR);
		EXPECT(items_try_push(&crew->out, &item) == TDM_OK,
		       "no push beside the stopped consumer");
		info.pushed++;
	}
	struct item item = item_make(crew_tail(crew), SURVIVOR);
	EXPECT(items_try_push(&crew->out, &item) == TDM_FULL, "a full ring takes another");
	return NULL;
}

static const char *beside_stopped(void *state, bool completed)
{
	(void)state;
	return beside(completed);
}

// The victim has gone on to its end.
static const char *after_stopped(void *state)
{
	(void)state;
	struct tdm_spsc_info info;
	struct crew *crew = &survivor;
	EXPECT(tdm_load_acquire_u32(&world->problem) == 0, "the victim saw what must not be");
	EXPECT(tdm_spsc_check(ring, &info) == TDM_OK, "check refuses the ring");
	uint64_t pushed = tdm_load_acquire_u64(&world->push_acked);
	uint64_t popped = tdm_load_acquire_u64(&world->pop_acked);
	if (plan.first->role == PRODUCER) {
		EXPECT(info.pushed == pushed, "pushed %" PRIu64 ", acknowledged %" PRIu64,
		       info.pushed, pushed);
		return audit_drain(crew, pushed);
	}
	EXPECT(info.popped == popped, "popped %" PRIu64 ", acknowledged %" PRIu64, info.popped,
	       popped);
	return audit_popped(tdm_load_acquire_u64(&world->popped_before), popped);
}

// Another one attaches while the victim is stopped in its own attach.
static const char *beside_attaching(void *state, bool completed)
{
	(void)state, (void)completed;
	struct tdm_spsc_info info;
	struct crew *crew = &survivor;
	if (!plan.early)
		crew_join(crew, SURVIVOR, "survivor");
	EXPECT(tdm_spsc_check(ring, &info) == TDM_OK, "check refuses the ring");
	enum tdm_status status = plan.first->role == PRODUCER
				     ? items_producer_attach(&crew->out, ring, &crew->self)
				     : items_consumer_attach(&crew->in, ring, &crew->self);
	EXPECT(status == TDM_OK || status == TDM_BUSY, "attach beside the stopped: %s",
	       tdm_status_name(status));
	if (status == TDM_BUSY)
		return NULL;
	const struct tdm_role_info *before =
	    plan.first->role == PRODUCER ? &info.producer : &info.consumer;
	EXPECT(before->held == (plan.debris != 0), "the stopped one's role was taken");
	if (!plan.follow)
		return NULL;
	// Works a little, and is gone again before the victim goes on.
	if (plan.first->role == PRODUCER) {
		crew_push(crew);
		books_open(crew_tail(crew), info.popped);
		EXPECT(items_producer_detach(&crew->out) == TDM_OK, "detach beside the stopped");
	} else {
		crew_pop(crew);
		books_open(info.pushed, crew_head(crew));
		EXPECT(items_consumer_detach(&crew->in) == TDM_OK, "detach beside the stopped");
	}
	return NULL;
}

static const char *after_attaching(void *state)
{
	(void)state;
	struct crew *crew = &survivor;
	EXPECT(tdm_load_acquire_u32(&world->problem) == 0, "the victim begins at another position");
	bool here = crew->out.ring.shm != NULL || crew->in.ring.shm != NULL;
	bool there = tdm_load_acquire_u32(&world->attached) == 1 + TDM_OK;
	EXPECT(here || there, "nobody got the role");
	EXPECT(!here || !there, "two got the role");
	tally.won += there;
	tally.lost += here;
	if (!here)
		return NULL;
	EXPECT(tdm_load_acquire_u32(&world->attached) == 1 + TDM_BUSY, "the other one is not busy");
	if (plan.first->role == PRODUCER)
		EXPECT(items_producer_detach(&crew->out) == TDM_OK, "the role was overwritten");
	else
		EXPECT(items_consumer_detach(&crew->in) == TDM_OK, "the role was overwritten");
	return NULL;
}

// Both roles are taken over while somebody else is stopped in recovering them.
static const char *beside_recovering(void *state, bool completed)
{
	(void)state, (void)completed;
	struct crew *crew = &survivor;
	if (!plan.early)
		crew_join(crew, SURVIVOR, "survivor");
	EXPECT(items_producer_attach(&crew->out, ring, &crew->self) == TDM_OK &&
		   items_consumer_attach(&crew->in, ring, &crew->self) == TDM_OK,
	       "attach beside a recovery");
	EXPECT(crew->out.ring.took_over && crew->in.ring.took_over, "took over from the dead");
	return NULL;
}

static const char *after_recovering(void *state)
{
	(void)state;
	struct crew *crew = &survivor;
	EXPECT(tdm_load_acquire_u32(&world->problem) == 0, "recover failed");
	EXPECT(tdm_load_acquire_u32(&world->recovered) <= 2, "recovered more than there were");
	const char *complaint = audit_drain(crew, crew_tail(crew));
	if (complaint == NULL)
		complaint = audit_laps(crew);
	if (complaint != NULL)
		return complaint;
	EXPECT(items_producer_detach(&crew->out) == TDM_OK &&
		   items_consumer_detach(&crew->in) == TDM_OK,
	       "recover took a role from the living");
	return NULL;
}

static void stop_all(const struct action *action, const char *(*during)(void *, bool),
		     const char *(*after)(void *), unsigned debris)
{
	uint64_t stops = 0;
	for (unsigned number = 0; number < 4; number++) {
		memset(&plan, 0, sizeof(plan));
		plan.first = action;
		plan.capacity = number % 2 != 0 ? 8 : 2;
		plan.fill = number % 2 != 0 ? 4 : 1;
		plan.debris = number / 2 != 0 ? debris : 0;
		if (action->phase == RECOVERS)
			plan.debris = debris;
		plan.typed = number % 2 == 0;
		vary(number);
		plan.recovers = false;
		plan.follow = action->phase == ATTACHES && number % 2 != 0;
		world_open();
		const struct crash_case test = {action->name, world_setup, run_first,
						NULL,         during,      world_teardown};
		stops += crash_must_hold_stopped(&test, after, 1);
		world_close();
	}
	tap_note("%s: stopped at %" PRIu64 " points", action->name, stops);
	all_stops += stops;
}

// --- what is broken on purpose ---

static void act_broken_pop(struct crew *crew)
{
	struct item *to = will_pop(crew, 1);
	if (broken_pop_head_first(&crew->in.ring, to) != TDM_OK)
		saw_a_problem();
	have_popped(crew);
}

static void act_broken_push(struct crew *crew)
{
	struct item item = item_make(crew_tail(crew), crew->who);
	will_push(crew, 1);
	if (broken_push_sequence_first(&crew->out.ring, &item) != TDM_OK)
		saw_a_problem();
	have_pushed(crew);
}

static void act_broken_claim(struct crew *crew)
{
	enum tdm_status status =
	    broken_claim_store(&crew->out.ring, ring, sizeof(struct item), &crew->self);
	tdm_store_release_u32(&world->attached, 1 + (uint32_t)status);
}

static void act_broken_recover(struct crew *crew)
{
	if (broken_recover_store(ring, &crew->self) != TDM_OK)
		saw_a_problem();
}

static const struct action broken_pop = {"head before the copy", CONSUMER, WORKS, act_broken_pop};
static const struct action broken_push = {"sequence before the copy", PRODUCER, WORKS,
					  act_broken_push};
static const struct action broken_claim = {"claim by a store", PRODUCER, ATTACHES,
					   act_broken_claim};
static const struct action broken_recover = {"recover by a store", NEITHER, RECOVERS,
					     act_broken_recover};

static void plan_for_broken(const struct action *action)
{
	memset(&plan, 0, sizeof(plan));
	plan.first = action;
	plan.capacity = 8;
	plan.fill = 4;
	plan.lead = 9;
	plan.stale = true;
	plan.early = true;
	world_open();
}

static void must_be_caught(const struct action *action, const char *expected)
{
	const struct crash_case test = {action->name, world_setup, run_first,
					NULL,         world_audit, world_teardown};
	crash_must_fail(&test, 1, expected);
	world_close();
}

static void the_broken_are_caught(void)
{
	tap_case("a pop that stores head before the copy is caught");
	plan_for_broken(&broken_pop);
	must_be_caught(&broken_pop, "was popped and did not arrive");

	tap_case("a push that stores the sequence before the copy is caught");
	plan_for_broken(&broken_push);
	must_be_caught(&broken_push, "is torn or another");

	tap_case("a take-over that begins at released instead of head is caught");
	plan_for_broken(&pop);
	plan.consumer_attach = broken_take_over_released;
	must_be_caught(&pop, "the consumer begins at");

	tap_case("a role that is claimed by a store is caught");
	plan_for_broken(&broken_claim);
	const struct crash_case claim = {"claim by a store", world_setup,   run_first, NULL,
					 beside_attaching,   world_teardown};
	crash_must_fail_stopped(&claim, after_attaching, 1, "two got the role");
	world_close();

	tap_case("a recovery by a store is caught");
	plan_for_broken(&broken_recover);
	plan.debris = PRODUCER + CONSUMER;
	const struct crash_case recovery = {"recover by a store", world_setup,   run_first, NULL,
					    beside_recovering,    world_teardown};
	crash_must_fail_stopped(&recovery, after_recovering, 1, "took a role from the living");
	world_close();
}

int main(void)
{
	if (!crash_available())
		tap_skip_all("no single-stepping here");
	crash_notes = false;
	uint64_t began_ns = tdm_clock_now_();

	static const struct action *const works[] = {&push, &push_n, &commit,  &abort_,
						     &pop,  &pop_n,  &release, &release_n};
	for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++) {
		char sentence[128];
		snprintf(sentence, sizeof(sentence), "%s may end at any instruction",
			 works[i]->name);
		tap_case(sentence);
		on_every_ring(works[i], 0, true);
	}
	CHECK(tally.pushed > 1000 && tally.not_pushed > 1000);
	CHECK(tally.popped > 1000 && tally.not_popped > 1000);

	tap_case("attaching to a role that was left may end at any instruction");
	on_every_ring(&producer_attach, 0, false);
	on_every_ring(&consumer_attach, 0, false);
	CHECK(tally.held > 1000 && tally.not_held > 1000);

	tap_case("taking a role over from the dead may end at any instruction");
	on_every_ring(&producer_attach, PRODUCER, false);
	on_every_ring(&consumer_attach, PRODUCER + CONSUMER, false);

	tap_case("detaching may end at any instruction");
	on_every_ring(&producer_detach, 0, false);
	on_every_ring(&consumer_detach, 0, false);

	tap_case("recovering may end at any instruction");
	on_every_ring(&recover, PRODUCER + CONSUMER, false);
	memset(&plan, 0, sizeof(plan));
	plan.first = &reap;
	plan.capacity = 4;
	plan.fill = 2;
	for (plan.debris = 0; plan.debris <= PRODUCER + CONSUMER; plan.debris++)
		kill_first(reap.name, 1);

	tap_case("waiting may end at any instruction");
	waiting(&push_until, 0);
	waiting(&reserve_until, 3);
	waiting(&pop_until, 1);
	waiting(&peek_until, 5);

	tap_case("a sleeping peer learns of an element or of the death, whenever that comes");
	waking(&push);
	waking(&commit);
	waking(&producer_detach);
	waking(&pop);
	waking(&release);
	waking(&consumer_detach);
	CHECK(tally.peer_woken > 100 && tally.peer_told > 100);
	tap_note("%" PRIu64 " sleepers got an element, %" PRIu64 " were told of the end",
		 tally.peer_woken, tally.peer_told);

	tap_case("who is stopped at any instruction keeps the role and is in nobody's way");
	for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++)
		stop_all(works[i], beside_stopped, after_stopped, 0);

	tap_case("of two who attach at once one gets the role, whatever the interleaving");
	stop_all(&producer_attach, beside_attaching, after_attaching, PRODUCER);
	stop_all(&consumer_attach, beside_attaching, after_attaching, CONSUMER);
	CHECK(tally.won > 100 && tally.lost > 100);
	tap_note("%" PRIu64 " times the stopped one got it, %" PRIu64 " times the other", tally.won,
		 tally.lost);

	tap_case("recovery never takes a role from who took it over meanwhile");
	stop_all(&recover, beside_recovering, after_recovering, PRODUCER + CONSUMER);

	tap_case("there were ten thousand kill points");
	tally_note("kill points");
	tap_note("%" PRIu64 " points of stopping, %.0f s", all_stops,
		 (double)(tdm_clock_now_() - began_ns) / 1e9);
	CHECK(tally.deaths >= 10000);

	the_broken_are_caught();
	return tap_done();
}
