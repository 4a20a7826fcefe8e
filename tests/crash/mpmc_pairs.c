// SPDX-License-Identifier: BSD-2-Clause
// Two deaths: a second victim is killed at its instructions on what each death of a first one left
// behind. It has the dead one's seat or another, works in the same role or in the other one, or
// recovers.
//
// Each pair is two processes and an audit. The first dies at every 11th or 37th instruction, the
// second at every 25th, which begin elsewhere for each of the first's, and before and after
// each system call. TANDEM_SOAK=1: two and a half times as many pairs.
#include "mpmc_audit.h"

#include "../support/broken/mpmc_first_of_batch.h"

#define STRIDE 11U
#define LONG_STRIDE 37U
#define SECOND_STRIDE 25U
#define SECOND_STRIDE_SOAK 9U

static bool soak;

// What consumers may claim is little, so that the second soon comes to what was left behind.
static uint64_t fill_of(const struct action *first, unsigned kind, unsigned number)
{
	if (kind == 2)
		return number % 2 != 0 ? 4 : 1;
	if (first->role == PRODUCER)
		return kind == 0 ? 0 : 4 + number % 3;
	return kind == 0 ? 1 + number % 2 : 2 + number % 2;
}

// Three rings: the smallest, one in the middle of a lap, one that the first finds full or empty.
static void kill_pairs(const struct action *first, const struct action *second, enum debris debris)
{
	static unsigned number;
	char name[128];
	uint64_t before = tally.deaths;
	snprintf(name, sizeof(name), "%s; %s", first->name, second->name);
	for (unsigned kind = 0; kind < 3; kind++, number++) {
		if (second == &reap && kind != 1)
			continue; // it is long
		memset(&plan, 0, sizeof(plan));
		plan.first = first;
		plan.second = second;
		plan.debris = debris;
		plan.seat = number % SEAT_KINDS;
		plan.capacity = kind == 0 ? 2 : kind == 1 ? 8 : 4;
		plan.fill = fill_of(first, kind, number);
		plan.lead = kind == 1 ? 9 : 0;
		plan.start = kind == 2    ? (UINT64_C(1) << 32) - 2
			     : number % 2 ? (UINT64_C(1) << 56) - 2 - plan.lead
					  : kind;
		plan.typed = number % 2 == 0;
		plan.armed = number % 4 == 1;
		plan.recovers = number % 5 < 2;
		plan.early = number % 7 < 3;
		plan.drain = number % DRAINS;
		world_open();
		const struct crash_case test = {name,       world_setup, run_first,
						run_second, world_audit, world_teardown};
		bool shorter = first == &push || first == &pop || first == &take_ack;
		crash_must_hold(&test, shorter ? STRIDE : LONG_STRIDE,
				soak ? SECOND_STRIDE_SOAK : SECOND_STRIDE);
		world_close();
	}
	tap_note("%s: %" PRIu64 " pairs", name, tally.deaths - before);
}

int main(void)
{
	if (!crash_available())
		tap_skip_all("no single-stepping here");
	crash_notes = false;
	soak = getenv("TANDEM_SOAK") != NULL;
	uint64_t began_ns = tdm_clock_now_();
	tap_note("every %u or %u instructions of the first, every %u of the second%s", STRIDE,
		 LONG_STRIDE, soak ? SECOND_STRIDE_SOAK : SECOND_STRIDE,
		 soak ? "" : "; TANDEM_SOAK=1 for more");

	tap_case("who pushes after a dead producer may die at it, too");
	kill_pairs(&push, &attach_push, NOTHING);
	kill_pairs(&push_n, &attach_push, NOTHING);
	kill_pairs(&attach_push, &attach_push, LOST_PUSH);

	tap_case("who gets again what a dead consumer had may die at it, too");
	kill_pairs(&pop, &attach_pop, NOTHING);
	kill_pairs(&pop, &attach_take_one, NOTHING);
	kill_pairs(&pop_n, &attach_pop, NOTHING);
	kill_pairs(&pop_n, &attach_take_one, NOTHING);
	kill_pairs(&take_ack, &attach_pop, NOTHING);
	kill_pairs(&take_ack, &attach_take_one, NOTHING);
	kill_pairs(&take_both, &attach_pop, NOTHING);
	kill_pairs(&attach_pop, &attach_take_one, HALF_POP);
	kill_pairs(&attach_take_one, &attach_pop, TAKEN);
	kill_pairs(&consumer_detach, &attach_take_one, NOTHING);

	tap_case("a consumer may die on what a dead producer left, and the other way round");
	kill_pairs(&push_n, &attach_pop, NOTHING);
	kill_pairs(&attach_push, &attach_take_one, HALF_PUSH);
	kill_pairs(&pop_n, &attach_push, NOTHING);
	kill_pairs(&take_ack, &attach_push, NOTHING);

	tap_case("who recovers after a death may die at it, too");
	kill_pairs(&push_n, &recover, NOTHING);
	kill_pairs(&pop_n, &recover, NOTHING);
	kill_pairs(&recover, &attach_take_one, HELD_POP);
	kill_pairs(&recover, &recover, LOST_PUSH);
	kill_pairs(&take_ack, &reap, NOTHING);

	tap_case("there were eighty thousand pairs");
	tally_note("pairs of kill points");
	tap_note("%.0f s", (double)(tdm_clock_now_() - began_ns) / 1e9);
	CHECK(tally.deaths >= (soak ? 200000 : 80000));
	CHECK(tally.pushed > 100 && tally.not_pushed > 100);
	CHECK(tally.popped > 100 && tally.not_popped > 100);
	CHECK(tally.again > 1000);

	tap_case("a recovery of the first of a batch only does not survive two deaths");
	memset(&plan, 0, sizeof(plan));
	plan.first = &pop_n;
	plan.second = &attach_pop;
	plan.capacity = 8;
	plan.fill = 6;
	plan.early = true;
	plan.pop = broken_mpmc_pop_first_of_batch;
	world_open();
	const struct crash_case test = {"first of a batch", world_setup, run_first,
					run_second,         world_audit, world_teardown};
	struct crash_outcome outcome = crash_run(&test, 23, 67);
	tap_note("caught %" PRIu64 " times, first: %s", outcome.failures, outcome.first);
	CHECK(outcome.failures != 0 && strstr(outcome.first, "are still there") != NULL);
	world_close();
	return tap_done();
}
