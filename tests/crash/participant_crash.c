// SPDX-License-Identifier: BSD-2-Clause
// Death at every instruction of joining, leaving and reaping, and a second one on what the first
// left behind. Survivors must find every seat usable, every dead one dead, and every death noticed.
#include <tandem/shm/segment.h>

#include "../support/broken/participant_join.h"
#include "../support/broken/participant_reap.h"
#include "../support/process.h"
#include "crash.h"

#define SEATS 3U

// In the segment: what victims tell.
struct told {
	uint64_t generation; // of who has joined, 0: nobody has
	uint32_t index;
};

struct world {
	struct tdm_segment segment;
	struct told *told;
	uint32_t debris; // participants that died joined before the victim came
	uint32_t index[SEATS];
	uint64_t generation[SEATS];
	uint64_t seen[SEATS]; // generations of all seats before the victim came
	int descriptors;
};

static struct world world;

static void make_world(void)
{
	struct tdm_segment_options options = {.sealed = true, .seats = SEATS};
	struct tdm_object object = tdm_bytes_object("told", sizeof(struct told), 8, NULL);
	memset(&world, 0, sizeof(world));
	world.descriptors = count_descriptors();
	if (tdm_segment_create(&world.segment, &object, 1, &options) != TDM_OK)
		abort();
	world.told = tdm_segment_find(&world.segment, "told").base;
}

static void look_at_seats(void)
{
	for (uint32_t i = 0; i < SEATS; i++)
		world.seen[i] = tdm_load_acquire_u64(&world.segment.table.seats[i].generation);
}

static void *fresh(void)
{
	make_world();
	look_at_seats();
	return &world;
}

static void join_twice_and_die(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	for (uint32_t i = 0; i < 2; i++)
		if (tdm_segment_join(&world.segment, &self, "debris") != TDM_OK || self.index != i)
			_exit(1);
	kill(getpid(), SIGKILL);
}

// The first two of the three seats belong to the dead.
static void *two_dead(void)
{
	make_world();
	if (process_status(process_start(join_twice_and_die, NULL)) != 128 + SIGKILL)
		abort();
	look_at_seats();
	world.debris = 2;
	for (uint32_t i = 0; i < 2; i++) {
		world.index[i] = i;
		world.generation[i] = world.seen[i];
	}
	return &world;
}

static void drop_world(void *unused)
{
	(void)unused;
	if (tdm_segment_close(&world.segment) != TDM_OK)
		abort();
}

// --- victims ---

static void tell(const struct tdm_participant *self)
{
	world.told->index = self->index;
	world.told->generation = self->generation;
}

static void joins(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	crash_begin();
	if (tdm_segment_join(&world.segment, &self, "victim") == TDM_OK)
		tell(&self);
	crash_end();
}

static void leaves(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	if (tdm_segment_join(&world.segment, &self, "victim") != TDM_OK)
		_exit(1);
	crash_begin();
	if (tdm_participant_leave(&self) != TDM_OK)
		_exit(1);
	crash_end();
}

static void reaps(void *unused)
{
	uint32_t reaped;
	(void)unused;
	crash_begin();
	if (tdm_segment_reap(&world.segment, &reaped) != TDM_OK)
		_exit(1);
	crash_end();
}

static void reaps_brokenly(void *unused)
{
	uint32_t reaped;
	(void)unused;
	crash_begin();
	if (broken_reap(&world.segment, &reaped) != TDM_OK)
		_exit(1);
	crash_end();
}

static void joins_brokenly(void *unused)
{
	uint32_t index;
	(void)unused;
	crash_begin();
	if (broken_join(&world.segment, &index) != TDM_OK)
		_exit(1);
	crash_end();
}

// --- what survivors find ---

static uint64_t generation_of(uint32_t index)
{
	return tdm_load_acquire_u64(&world.segment.table.seats[index].generation);
}

static bool is_dirty(uint32_t index)
{
	return tdm_load_acquire_u32(&world.segment.table.seats[index].dirty) != 0;
}

static const char *all_seats_work(void)
{
	const struct tdm_table *table = &world.segment.table;
	struct tdm_participant members[SEATS], extra;
	bool taken[SEATS] = {false};
	for (uint32_t i = 0; i < SEATS; i++) {
		if (tdm_segment_join(&world.segment, &members[i], "survivor") != TDM_OK)
			return "a seat is lost";
		if (taken[members[i].index])
			return "two sit on one seat";
		taken[members[i].index] = true;
		if (members[i].generation <= world.seen[members[i].index])
			return "a generation came again";
		if (tdm_table_dead_(table, members[i].index, members[i].generation) != TDM_BUSY)
			return "a survivor is called dead";
	}
	if (tdm_segment_join(&world.segment, &extra, "extra") != TDM_NO_SEATS)
		return "there are more seats than seats";
	for (uint32_t i = 0; i < SEATS; i++)
		if (tdm_participant_leave(&members[i]) != TDM_OK)
			return "a survivor cannot leave";
	for (uint32_t i = 0; i < SEATS; i++)
		if (is_dirty(i) || tdm_table_dead_(table, i, members[i].generation) != TDM_OK)
			return "a seat is not free after leaving";
	return NULL;
}

static const char *audit(void *unused, bool completed)
{
	const struct tdm_table *table = &world.segment.table;
	const struct told *told = world.told;
	uint32_t reaped = 0, dirty = 0;
	(void)unused;
	(void)completed;
	for (uint32_t i = 0; i < SEATS; i++) {
		if (generation_of(i) < world.seen[i])
			return "a generation went back";
		if (tdm_table_dead_(table, i, generation_of(i)) != TDM_OK)
			return "somebody lives who is dead";
		dirty += is_dirty(i);
	}
	if (told->generation != 0 && !is_dirty(told->index) &&
	    generation_of(told->index) == told->generation)
		return "who had joined left no trace";
	uint64_t epoch = tdm_table_epoch_(table);
	if (tdm_segment_reap(&world.segment, &reaped) != TDM_OK || reaped != dirty)
		return "reaping miscounts";
	if (tdm_table_epoch_(table) != epoch + dirty)
		return "reaping does not move the epoch";
	// Who died while joined has been noticed by now, at least once.
	uint64_t deaths = world.debris + (told->generation != 0);
	if (tdm_table_epoch_(table) < deaths)
		return "a death was never noticed";
	for (uint32_t i = 0; i < world.debris; i++)
		if (tdm_table_dead_(table, world.index[i], world.generation[i]) != TDM_OK ||
		    generation_of(world.index[i]) == world.generation[i])
			return "a dead one's seat has not moved on";
	if (told->generation != 0 && generation_of(told->index) == told->generation)
		return "the victim's seat has not moved on";
	for (uint32_t i = 0; i < SEATS; i++)
		if (is_dirty(i))
			return "a seat is dirty after reaping";
	const char *complaint = all_seats_work();
	if (complaint == NULL && count_descriptors() != world.descriptors + 1)
		complaint = "a descriptor is left open";
	return complaint;
}

// The same in a child, so that this process goes on as one in which nobody has ever joined.
static const char *audit_in_child(void *state, bool completed)
{
	const char **complaint = shared_memory(sizeof(*complaint));
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		*complaint = audit(state, completed);
		_exit(0);
	}
	const char *answer = process_ended_well(child) ? *complaint : "the audit crashed";
	munmap(complaint, sizeof(*complaint));
	return answer;
}

// Before its first instruction leaving has not begun, and once it is through nobody has died.
static const char *audit_leaving(void *state, bool completed)
{
	bool not_begun = crash_now_[0] == 0;
	if (completed && is_dirty(0))
		return "a clean leave looks like a death";
	if (!completed && not_begun && !is_dirty(0))
		return "a death looks like a clean leave";
	const char *complaint = audit(state, completed);
	if (complaint == NULL && completed && tdm_table_epoch_(&world.segment.table) != 0)
		complaint = "a clean leave was noticed as a death";
	return complaint;
}

// What survivors find who go by the flags, too.
static const char *audit_flags(void *unused, bool completed)
{
	uint32_t index;
	(void)unused;
	for (uint32_t i = completed; i < SEATS; i++)
		if (broken_join(&world.segment, &index) != TDM_OK)
			return "a seat is lost";
	return NULL;
}

// --- beside somebody who is stopped, and alive ---

// All seats but the stopped one's work, and what is dead stays dead.
static const char *others_work(uint32_t others)
{
	const struct tdm_table *table = &world.segment.table;
	struct tdm_participant members[SEATS];
	for (uint32_t i = 0; i < others; i++) {
		if (tdm_segment_join(&world.segment, &members[i], "other") != TDM_OK)
			return "others cannot join";
		for (uint32_t j = 0; j < i; j++)
			if (members[j].index == members[i].index)
				return "two sit on one seat";
		if (world.told->generation != 0 && members[i].index == world.told->index)
			return "somebody sits on the victim's seat";
	}
	for (uint32_t i = 0; i < world.debris; i++)
		if (tdm_table_dead_(table, world.index[i], world.generation[i]) != TDM_OK)
			return "a dead one looks alive";
	for (uint32_t i = 0; i < others; i++)
		if (tdm_table_dead_(table, members[i].index, members[i].generation) != TDM_BUSY)
			return "another one is called dead";
	for (uint32_t i = 0; i < others; i++)
		if (tdm_participant_leave(&members[i]) != TDM_OK)
			return "another one cannot leave";
	return NULL;
}

static const char *audit_beside(void *unused, bool completed)
{
	uint32_t reaped = 0;
	(void)unused;
	(void)completed;
	for (uint32_t i = 0; i < world.debris; i++)
		if (tdm_table_dead_(&world.segment.table, world.index[i], world.generation[i]) !=
		    TDM_OK)
			return "a dead one looks alive";
	const char *complaint = others_work(SEATS - 1);
	if (complaint == NULL && tdm_segment_reap(&world.segment, &reaped) != TDM_OK)
		complaint = "others cannot reap";
	return complaint;
}

static const char *has_joined(void *unused)
{
	const struct told *told = world.told;
	struct tdm_participant extra;
	(void)unused;
	if (told->generation == 0)
		return "there was a seat, and it was not found";
	if (tdm_table_dead_(&world.segment.table, told->index, told->generation) != TDM_BUSY)
		return "who has joined is called dead";
	const char *complaint = others_work(SEATS - 1);
	if (complaint == NULL && world.debris == 0) {
		struct tdm_participant members[SEATS - 1];
		for (uint32_t i = 0; i < SEATS - 1; i++)
			if (tdm_segment_join(&world.segment, &members[i], "full") != TDM_OK)
				return "others cannot join";
		if (tdm_segment_join(&world.segment, &extra, "extra") != TDM_NO_SEATS)
			return "there are more seats than seats";
		for (uint32_t i = 0; i < SEATS - 1; i++)
			if (tdm_participant_leave(&members[i]) != TDM_OK)
				return "another one cannot leave";
	}
	return complaint;
}

static const char *all_is_free(void *unused)
{
	(void)unused;
	return others_work(SEATS);
}

int main(void)
{
	static const struct crash_case singles[] = {
	    {"first join", fresh, joins, NULL, audit_in_child, drop_world},
	    {"first reap", fresh, reaps, NULL, audit_in_child, drop_world},
	    {"join", fresh, joins, NULL, audit, drop_world},
	    {"join beside the dead", two_dead, joins, NULL, audit, drop_world},
	    {"leave", fresh, leaves, NULL, audit_leaving, drop_world},
	    {"reap", two_dead, reaps, NULL, audit, drop_world},
	};
	static const struct crash_case pairs[] = {
	    {"join, join", fresh, joins, joins, audit, drop_world},
	    {"join, reap", fresh, joins, reaps, audit, drop_world},
	    {"leave, join", fresh, leaves, joins, audit, drop_world},
	    {"leave, reap", fresh, leaves, reaps, audit, drop_world},
	    {"reap, join", two_dead, reaps, joins, audit, drop_world},
	    {"reap, reap", two_dead, reaps, reaps, audit, drop_world},
	};
	if (!crash_available())
		tap_skip_all("no single-stepping here");
	uint64_t kills = 0;
	tap_case("a death at any instruction of joining, leaving or reaping costs nobody a seat");
	for (size_t i = 0; i < sizeof(singles) / sizeof(singles[0]); i++) {
		if (i == 2) { // from here on every child finds what a first join sets up
			(void)fresh();
			CHECK(all_seats_work() == NULL);
			drop_world(NULL);
		}
		kills += crash_must_hold(&singles[i], 1, 1);
	}
	tap_case("neither does a second death on what the first one left");
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		kills += crash_must_hold(&pairs[i], 17, 19);
	tap_note("%" PRIu64 " kills", kills);

	tap_case("who is stopped inside holds up nobody, and brings nobody back to life");
	static const struct crash_case stops[] = {
	    {"stop: join", fresh, joins, NULL, audit_beside, drop_world},
	    {"stop: join beside the dead", two_dead, joins, NULL, audit_beside, drop_world},
	    {"stop: leave", fresh, leaves, NULL, audit_beside, drop_world},
	    {"stop: reap", two_dead, reaps, NULL, audit_beside, drop_world},
	};
	(void)crash_must_hold_stopped(&stops[0], has_joined, 1);
	(void)crash_must_hold_stopped(&stops[1], has_joined, 1);
	(void)crash_must_hold_stopped(&stops[2], all_is_free, 1);
	(void)crash_must_hold_stopped(&stops[3], all_is_free, 1);

	tap_case("a reaper that calls a seat clean too early is caught");
	static const struct crash_case early = {"broken reap", two_dead, reaps_brokenly,
						NULL,          audit,    drop_world};
	crash_must_fail(&early, 1, "a death was never noticed");
	tap_case("a seat taken by a flag is caught");
	static const struct crash_case flag = {"broken join", fresh,       joins_brokenly,
					       NULL,          audit_flags, drop_world};
	crash_must_fail(&flag, 1, "a seat is lost");
	return tap_done();
}
