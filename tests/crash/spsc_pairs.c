// SPDX-License-Identifier: BSD-2-Clause
// Two deaths: a second victim is killed at its instructions on what each death of a first one left
// behind. It takes over the dead one's role, works in the other role, or recovers.
#include "spsc_audit.h"

#include "../support/broken/spsc_recover_forgets.h"

// The first dies at each of these, the second at each of those: long ways are not new everywhere.
#define STRIDE 4U
#define LONG_STRIDE 11U
#define SECOND_STRIDE 47U

// Three rings: the smallest, one in the middle of a lap, one that the first finds full or empty.
static void kill_pairs(const struct action *first, const struct action *second, unsigned debris)
{
	static unsigned number;
	char name[128];
	uint64_t before = tally.deaths;
	snprintf(name, sizeof(name), "%s; %s", first->name, second->name);
	for (unsigned kind = 0; kind < 3; kind++, number++) {
		if (second == &reap && kind != 1)
			continue; // it does not look at the ring, and is long
		memset(&plan, 0, sizeof(plan));
		plan.first = first;
		plan.second = second;
		plan.debris = debris;
		plan.capacity = kind == 0 ? 1 : kind == 1 ? 8 : 2;
		plan.fill = kind == 0    ? first->role == CONSUMER
			    : kind == 1  ? 4 + number % 3
			    : number % 2 ? 2
					 : 1;
		plan.lead = kind == 1 ? 9 : 0;
		plan.start = kind == 2 ? (UINT64_C(1) << 32) - 2 : kind;
		plan.typed = number % 2 == 0;
		plan.stale = number % 3 == 0;
		plan.armed = number % 4 == 1;
		plan.recovers = number % 5 < 2;
		plan.early = number % 7 < 3;
		world_open();
		const struct crash_case test = {name,       world_setup, run_first,
						run_second, world_audit, world_teardown};
		crash_must_hold(&test, first->phase == WORKS ? STRIDE : LONG_STRIDE, SECOND_STRIDE);
		world_close();
	}
	tap_note("%s: %" PRIu64 " pairs", name, tally.deaths - before);
}

static void act_broken_recover(struct crew *crew)
{
	if (broken_recover_forgets(ring, &crew->self) != TDM_OK)
		saw_a_problem();
}

static const struct action broken_recover = {"recover that forgets", NEITHER, RECOVERS,
					     act_broken_recover};

int main(void)
{
	if (!crash_available())
		tap_skip_all("no single-stepping here");
	crash_notes = false;
	uint64_t began_ns = tdm_clock_now_();

	tap_case("who takes over a dead producer's role may die at it, too");
	kill_pairs(&push_n, &take_over_push, 0);
	kill_pairs(&commit, &take_over_push, 0);
	kill_pairs(&producer_attach, &take_over_push, PRODUCER);
	kill_pairs(&producer_detach, &take_over_push, 0);

	tap_case("who takes over a dead consumer's role may die at it, too");
	kill_pairs(&pop_n, &take_over_pop, 0);
	kill_pairs(&release_n, &take_over_pop, 0);
	kill_pairs(&consumer_attach, &take_over_pop, CONSUMER);
	kill_pairs(&consumer_detach, &take_over_pop, 0);

	tap_case("a consumer may die on what a dead producer left, and the other way round");
	kill_pairs(&push_n, &take_over_pop, 0);
	kill_pairs(&commit, &take_over_pop, CONSUMER);
	kill_pairs(&pop_n, &take_over_push, 0);
	kill_pairs(&release, &take_over_push, PRODUCER);

	tap_case("who recovers after a death may die at it, too");
	kill_pairs(&push, &recover, 0);
	kill_pairs(&pop, &recover, PRODUCER);
	kill_pairs(&producer_attach, &reap, CONSUMER);
	kill_pairs(&recover, &reap, PRODUCER + CONSUMER);

	tap_case("there were ten thousand pairs");
	tally_note("pairs of kill points");
	tap_note("%.0f s", (double)(tdm_clock_now_() - began_ns) / 1e9);
	CHECK(tally.deaths >= 10000);
	CHECK(tally.pushed > 100 && tally.not_pushed > 100);
	CHECK(tally.popped > 100 && tally.not_popped > 100);
	CHECK(tally.held > 100 && tally.not_held > 100);

	tap_case("a recovery that only a second death shows to be broken is caught");
	memset(&plan, 0, sizeof(plan));
	plan.first = &push;
	plan.second = &broken_recover;
	plan.capacity = 2;
	world_open();
	const struct crash_case test = {
	    "recover that forgets", world_setup, run_first, run_second, world_audit,
	    world_teardown};
	struct crash_outcome outcome = crash_run(&test, 40, 1);
	tap_note("caught %" PRIu64 " times, first: %s", outcome.failures, outcome.first);
	CHECK(outcome.failures != 0 && strstr(outcome.first, "though it died as one") != NULL);
	world_close();
	return tap_done();
}
