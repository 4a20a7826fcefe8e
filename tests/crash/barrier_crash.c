// SPDX-License-Identifier: BSD-2-Clause
// Death at every instruction of what a party of a robust barrier does. The survivors agree on how
// the phase ended: as the dead one's word says, whatever it was about to do; and after a reset the
// barrier is as good as new for them, and for the next one in the dead one's seat.
#include <tandem/shm/segment.h>
#include <tandem/sync/barrier.h>

#include "../support/process.h"
#include "crash.h"

#define SEATS 4U
#define SURVIVORS 2U // in the first seats, in this process

struct world {
	struct tdm_segment segment;
	struct tdm_span span;
	struct tdm_participant selves[SURVIVORS];
	struct tdm_barrier_party parties[SURVIVORS];
	tdm_atomic_u64 *work; // in the segment: what the victim does before it arrives
	bool arrived;         // the survivors, before the victim comes
};
static struct world world;

static void must(enum tdm_status status)
{
	if (status != TDM_OK) {
		printf("Bail out! %s\n", tdm_status_text(status));
		exit(1);
	}
}

static uint64_t state_of(void)
{
	return tdm_load_acquire_u64(&world.parties[0].shm->state);
}

static uint64_t word_of(uint32_t seat)
{
	return tdm_load_acquire_u64(&world.parties[0].words[seat]);
}

// Arrives without waiting.
static void arrive(struct tdm_barrier_party *party, uint64_t phase)
{
	tdm_store_release_u64(&party->words[party->self->index],
			      tdm_barrier_word_(party, phase + 1));
	(void)tdm_fetch_or_release_u64(&party->shm->state, 0);
}

static void *fresh(void)
{
	struct tdm_segment_options options = {.sealed = true, .seats = SEATS};
	struct tdm_object objects[] = {tdm_barrier_object("barrier", SURVIVORS),
				       tdm_bytes_object("work", 8, 8, NULL)};
	memset(&world, 0, sizeof(world));
	must(tdm_segment_create(&world.segment, objects, 2, &options));
	world.work = tdm_segment_find(&world.segment, "work").base;
	world.span = tdm_segment_find(&world.segment, "barrier");
	for (uint32_t i = 0; i < SURVIVORS; i++) {
		must(tdm_segment_join(&world.segment, &world.selves[i], "survivor"));
		must(tdm_barrier_party_attach(&world.parties[i], world.span, &world.selves[i]));
	}
	return &world;
}

static void become(struct tdm_participant *self, struct tdm_barrier_party *party)
{
	if (tdm_segment_join(&world.segment, self, "victim") != TDM_OK ||
	    tdm_barrier_party_attach(party, world.span, self) != TDM_OK)
		_exit(1);
}

// The same, and leaves a dead one's seat alone.
static void become_beside_the_dead(struct tdm_participant *self, struct tdm_barrier_party *party)
{
	struct tdm_participant sitting;
	if (tdm_segment_join(&world.segment, &sitting, "in the dead one's seat") != TDM_OK)
		_exit(1);
	become(self, party);
}

// --- debris ---

static void dies_before_arriving(void *unused)
{
	struct tdm_participant self;
	struct tdm_barrier_party party;
	(void)unused;
	become(&self, &party);
	kill(getpid(), SIGKILL);
}

static void dies_after_arriving(void *unused)
{
	struct tdm_participant self;
	struct tdm_barrier_party party;
	(void)unused;
	become(&self, &party);
	arrive(&party, tdm_barrier_number_(tdm_load_relaxed_u64(&party.shm->state)));
	kill(getpid(), SIGKILL);
}

static void leave_debris(void (*body)(void *))
{
	if (process_status(process_start(body, NULL)) != 128 + SIGKILL)
		abort();
}

static void *after_one_that_had_not_arrived(void)
{
	(void)fresh();
	leave_debris(dies_before_arriving);
	return &world;
}

static void *after_one_that_had_arrived(void)
{
	(void)fresh();
	leave_debris(dies_after_arriving);
	return &world;
}

static void *broken_by_a_death(void)
{
	(void)after_one_that_had_not_arrived();
	must(tdm_barrier_party_abort(&world.parties[0]));
	return &world;
}

// The victim will be the last.
static void *all_others_arrived(void)
{
	(void)fresh();
	world.arrived = true;
	return &world;
}

static void drop_world(void *unused)
{
	(void)unused;
	for (uint32_t i = 0; i < SURVIVORS; i++) {
		must(tdm_barrier_party_detach(&world.parties[i]));
		must(tdm_participant_leave(&world.selves[i]));
	}
	must(tdm_segment_close(&world.segment));
}

// --- victims ---

static void attaches(void *unused)
{
	struct tdm_participant self;
	struct tdm_barrier_party party;
	(void)unused;
	if (tdm_segment_join(&world.segment, &self, "victim") != TDM_OK)
		_exit(1);
	crash_begin();
	if (tdm_barrier_party_attach(&party, world.span, &self) != TDM_OK)
		_exit(1);
	crash_end();
}

static void detaches(void *unused)
{
	struct tdm_participant self;
	struct tdm_barrier_party party;
	(void)unused;
	become(&self, &party);
	crash_begin();
	if (tdm_barrier_party_detach(&party) != TDM_OK)
		_exit(1);
	crash_end();
}

// Detaches where all others have arrived, and so completes the phase.
static void detaches_last(void *unused)
{
	struct tdm_participant self;
	struct tdm_barrier_party party;
	(void)unused;
	become(&self, &party);
	for (uint32_t i = 0; i < SURVIVORS; i++)
		arrive(&world.parties[i], 0);
	crash_begin();
	if (tdm_barrier_party_detach(&party) != TDM_OK)
		_exit(1);
	crash_end();
}

static void comes_last(void *unused)
{
	struct tdm_participant self;
	struct tdm_barrier_party party;
	bool serial;
	(void)unused;
	become(&self, &party);
	for (uint32_t i = 0; i < SURVIVORS; i++)
		arrive(&world.parties[i], 0);
	crash_begin();
	tdm_store_relaxed_u64(world.work, 1);
	if (tdm_barrier_party_wait(&party, &serial) != TDM_OK || !serial)
		_exit(1);
	crash_end();
}

// Comes first, and gives up: before it sleeps, or after.
static void comes_first(void *unused)
{
	struct tdm_participant self;
	struct tdm_barrier_party party;
	(void)unused;
	become(&self, &party);
	crash_begin();
	if (tdm_barrier_party_wait_until(&party, 0, NULL) != TDM_TIMED_OUT)
		_exit(1);
	crash_end();
}

// Comes after one that has died, sleeps, and finds out.
static void asks(void *unused)
{
	struct tdm_participant self;
	struct tdm_barrier_party party;
	(void)unused;
	become_beside_the_dead(&self, &party);
	party.patience.shift = TDM_PATIENCE_MAX_; // no spinning
	crash_begin();
	if (tdm_barrier_party_wait(&party, NULL) != TDM_BROKEN)
		_exit(1);
	crash_end();
}

static void aborts(void *unused)
{
	struct tdm_participant self;
	struct tdm_barrier_party party;
	(void)unused;
	become(&self, &party);
	crash_begin();
	if (tdm_barrier_party_abort(&party) != TDM_OK)
		_exit(1);
	crash_end();
}

static void resets(void *unused)
{
	struct tdm_participant self;
	struct tdm_barrier_party party;
	(void)unused;
	become_beside_the_dead(&self, &party);
	if (tdm_barrier_party_abort(&party) != TDM_OK)
		_exit(1);
	crash_begin();
	if (tdm_barrier_party_reset(&party) != TDM_OK)
		_exit(1);
	crash_end();
}

// Says that it has arrived while it still does what comes before.
static void comes_last_brokenly(void *state)
{
	struct tdm_participant self;
	struct tdm_barrier_party party;
	struct world *it = state;
	become(&self, &party);
	crash_begin();
	arrive(&party, 0);
	tdm_store_relaxed_u64(it->work, 1);
	crash_end();
}

// --- what survivors find ---

static enum tdm_status expected(uint64_t phase)
{
	uint64_t state = state_of();
	enum tdm_status ended = tdm_barrier_ended_(state, phase);
	if (ended != TDM_BUSY)
		return ended;
	for (uint32_t seat = SURVIVORS; seat < SEATS; seat++) {
		uint64_t word = word_of(seat);
		if (word != 0 && !tdm_barrier_arrived_(word, phase))
			return TDM_BROKEN;
	}
	return TDM_OK;
}

// One phase of the survivors. TDM_CORRUPT: they disagree.
static enum tdm_status phase_of_survivors(bool arrived, uint64_t phase)
{
	enum tdm_status ends[SURVIVORS];
	bool serial;
	for (uint32_t i = 0; i < SURVIVORS && !arrived; i++)
		arrive(&world.parties[i], phase);
	for (uint32_t i = 0; i < SURVIVORS; i++) {
		world.parties[i].patience.shift = TDM_PATIENCE_MAX_;
		ends[i] = tdm_barrier_stay_until_(
		    &world.parties[i], phase, tdm_deadline_after_ns(20 * TDM_NS_PER_S_), &serial);
	}
	return ends[0] == ends[1] ? ends[0] : TDM_CORRUPT;
}

static uint64_t number(void)
{
	return tdm_barrier_number_(state_of());
}

static const char *audit(void *unused, bool completed)
{
	struct tdm_participant self;
	struct tdm_barrier_party heir;
	bool serial;
	(void)unused;
	(void)completed;
	uint64_t phase = world.arrived ? 0 : number();
	enum tdm_status wanted = expected(phase);
	enum tdm_status ended = phase_of_survivors(world.arrived, phase);
	if (ended == TDM_CORRUPT)
		return "the survivors disagree";
	if (ended != wanted)
		return wanted == TDM_OK ? "who had arrived does not count"
					: "who had not arrived counts";
	// Whoever is dead is one still, until a reset.
	if (ended == TDM_OK)
		ended = phase_of_survivors(false, number());
	for (uint32_t i = 0; i < SURVIVORS; i++)
		if (tdm_barrier_party_reset(&world.parties[i]) != TDM_OK)
			return "a survivor cannot reset it";
	for (uint32_t seat = SURVIVORS; seat < SEATS; seat++)
		if (word_of(seat) != 0)
			return "a dead one is a party after a reset";
	for (int i = 0; i < 2; i++)
		if (phase_of_survivors(false, number()) != TDM_OK)
			return "it is not usable after a reset";
	if (tdm_segment_join(&world.segment, &self, "heir") != TDM_OK ||
	    tdm_barrier_party_attach(&heir, world.span, &self) != TDM_OK)
		return "nobody can come after the dead";
	phase = number();
	for (uint32_t i = 0; i < SURVIVORS; i++)
		arrive(&world.parties[i], phase);
	if (tdm_barrier_party_wait_until(&heir, tdm_deadline_after_ns(20 * TDM_NS_PER_S_),
					 &serial) != TDM_OK ||
	    !serial || phase_of_survivors(true, phase) != TDM_OK)
		return "who comes after the dead is not one of them";
	if (tdm_barrier_party_detach(&heir) != TDM_OK || tdm_participant_leave(&self) != TDM_OK)
		return "who came after the dead cannot go";
	return NULL;
}

// What is done before arriving is done when the phase is over.
static const char *audit_work(void *state, bool completed)
{
	const struct world *it = state;
	bool counts = expected(0) == TDM_OK;
	bool done = tdm_load_relaxed_u64(it->work) != 0;
	const char *complaint = audit(state, completed);
	if (complaint == NULL && counts && !done)
		complaint = "who has arrived had not done its work";
	return complaint;
}

int main(void)
{
	static const struct crash_case cases[] = {
	    {"attach", fresh, attaches, NULL, audit, drop_world},
	    {"attach after one that had arrived", after_one_that_had_arrived, attaches, NULL, audit,
	     drop_world},
	    {"attach after one that had not", after_one_that_had_not_arrived, attaches, NULL, audit,
	     drop_world},
	    {"detach", fresh, detaches, NULL, audit, drop_world},
	    {"detach last", all_others_arrived, detaches_last, NULL, audit, drop_world},
	    {"come last", all_others_arrived, comes_last, NULL, audit_work, drop_world},
	    {"come first, and give up", fresh, comes_first, NULL, audit, drop_world},
	    {"find a dead one", after_one_that_had_not_arrived, asks, NULL, audit, drop_world},
	    {"abort", fresh, aborts, NULL, audit, drop_world},
	    {"reset", broken_by_a_death, resets, NULL, audit, drop_world},
	};
	static const struct crash_case pairs[] = {
	    {"attach, attach", fresh, attaches, attaches, audit, drop_world},
	    {"come first, reset", fresh, comes_first, resets, audit, drop_world},
	    {"find a dead one, reset", after_one_that_had_not_arrived, asks, resets, audit,
	     drop_world},
	    {"reset, reset", broken_by_a_death, resets, resets, audit, drop_world},
	};
	static const struct crash_case broken = {
	    "arrive, then work", fresh, comes_last_brokenly, NULL, audit_work, drop_world};
	if (!crash_available())
		tap_skip_all("no single-stepping here");
	uint64_t kills = 0;
	tap_case(
	    "whoever dies at any instruction, the survivors agree, and a reset makes it as new");
	(void)fresh(); // what joining sets up once is there from here on
	drop_world(NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		kills += crash_must_hold(&cases[i], 1, 1);
	tap_case("so they do after a second death on what the first one left");
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		kills += crash_must_hold(&pairs[i], 23, 29);
	tap_note("%" PRIu64 " kills", kills);
	tap_case("a party that arrives before its work is done is caught");
	crash_must_fail(&broken, 1, "who has arrived had not done its work");
	return tap_done();
}
