// SPDX-License-Identifier: BSD-2-Clause
// A death at every instruction of writing a value that is read without a lock (lock/seq.h,
// lock/snapshot.h): alone, taking over from the dead, and on what another death left. Include it
// after value_seams.h, the header, and
//
//	struct value        the typed value of a struct item
//	FORM(op)            the header's untyped function of that name
//	LOCK_OF(value)      what that takes
//	half_write(value)   what who died in the middle has left
//	KEEPS               whether a value outlasts that
#ifndef TDM_TESTS_CRASH_VALUE_CRASH_H
#define TDM_TESTS_CRASH_VALUE_CRASH_H

#include <tandem/shm/segment.h>

#include "../support/process.h"
#include "crash.h"

static void half_write(struct value *value);

enum number { OLD = 1, TORN = 2, FIRST = 3, SECOND = 4, SURVIVOR = 5, LAST = 6 };

static struct {
	struct tdm_segment segment;
	struct value *value;
	uint64_t dead;  // an owner who is
	bool took_over; // the window begins with a dead writer
	bool halfway;   // who died in the middle
	// What victims tell: numbers of values whose write was begun, and acknowledged.
	struct told {
		uint32_t begun, acknowledged;
	} * told;
} world;

static struct item make(uint64_t number)
{
	struct item item;
	for (unsigned i = 0; i < ITEM_WORDS; i++)
		item.words[i] = number;
	return item;
}

static bool is_whole(const struct item *item)
{
	for (unsigned i = 1; i < ITEM_WORDS; i++)
		if (item->words[i] != item->words[0])
			return false;
	return true;
}

static void join_and_tell(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	if (tdm_segment_join(&world.segment, &self, "dead") != TDM_OK)
		abort();
	world.told->begun = self.index;
	world.told->acknowledged = (uint32_t)self.generation;
}

static void world_open(void)
{
	struct tdm_object object =
	    tdm_bytes_object("value", sizeof(struct value), TDM_CACHE_LINE, "value");
	world.told = shared_memory(sizeof(*world.told));
	if (tdm_segment_create(&world.segment, &object, 1, NULL) != TDM_OK)
		abort();
	world.value = TDM_AT_(struct value, tdm_segment_find(&world.segment, "value").base, 0);
	CHECK(process_ended_well(process_start(join_and_tell, NULL)));
	world.dead = tdm_owner_pack_(world.told->begun, world.told->acknowledged);
}

static void world_close(void)
{
	CHECK_STATUS(tdm_segment_close(&world.segment), TDM_OK);
	munmap(world.told, sizeof(*world.told));
}

static void *set_up(void)
{
	struct item item = make(OLD);
	memset(world.told, 0, sizeof(*world.told));
	if (value_init(world.value, &item, TDM_MUTEX_ROBUST) != TDM_OK)
		abort();
	if (world.took_over)
		tdm_store_relaxed_u64(&LOCK_OF(world.value)->writer.owner, world.dead);
	if (world.halfway)
		half_write(world.value);
	return &world;
}

static void tear_down(void *unused)
{
	(void)unused;
}

// ---------------------------------------------------------------------------------------------
// Victims

static void join(struct tdm_participant *self)
{
	if (tdm_segment_join(&world.segment, self, "victim") != TDM_OK)
		_exit(1);
}

static bool held(enum tdm_status status)
{
	return status == TDM_OK || status == TDM_OWNER_DIED;
}

static void write_item(uint64_t number, bool tries)
{
	struct tdm_participant self;
	struct item item = make(number);
	join(&self);
	crash_begin();
	world.told->begun |= 1U << number;
	enum tdm_status status = tries ? value_try_write(world.value, &self, &item)
				       : value_write(world.value, &self, &item);
	if (!held(status))
		_exit(1);
	world.told->acknowledged |= 1U << number;
	crash_end();
}

static void writes(void *unused)
{
	(void)unused;
	write_item(FIRST, false);
}

static void tries_to_write(void *unused)
{
	(void)unused;
	write_item(FIRST, true);
}

static void writes_second(void *unused)
{
	(void)unused;
	write_item(SECOND, false);
}

// Holds the role before the window and after it.
static void stores(void *unused)
{
	struct tdm_participant self;
	struct item item = make(FIRST);
	(void)unused;
	join(&self);
	if (!held(FORM(lock)(LOCK_OF(world.value), &self)))
		_exit(1);
	crash_begin();
	world.told->begun |= 1U << FIRST;
	if (value_store(world.value, &self, &item) != TDM_OK)
		_exit(1);
	world.told->acknowledged |= 1U << FIRST;
	crash_end();
}

static void locks_and_unlocks(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	join(&self);
	crash_begin();
	if (!held(FORM(lock)(LOCK_OF(world.value), &self)) ||
	    FORM(unlock)(LOCK_OF(world.value), &self) != TDM_OK)
		_exit(1);
	crash_end();
}

// ---------------------------------------------------------------------------------------------
// What survivors find

static const char *survivors_write(bool lost)
{
	struct tdm_participant self;
	struct item item = make(SURVIVOR);
	if (tdm_segment_join(&world.segment, &self, "survivor") != TDM_OK)
		return "a survivor cannot join";
	enum tdm_status status = value_write(world.value, &self, &item);
	if (status != (lost ? TDM_OWNER_DIED : TDM_OK))
		return lost ? "a survivor is not told that a value is lost"
			    : "a survivor cannot write";
	if (value_try_read(world.value, &item) != TDM_OK || !is_whole(&item) ||
	    item.words[0] != SURVIVOR)
		return "what a survivor wrote is not there";
	item = make(LAST);
	if (value_try_write(world.value, &self, &item) != TDM_OK ||
	    value_try_read(world.value, &item) != TDM_OK || item.words[0] != LAST)
		return "a survivor cannot write again";
	return tdm_participant_leave(&self) == TDM_OK ? NULL : "a survivor cannot leave";
}

static const char *audit(void *unused, bool completed)
{
	struct item item = make(0);
	uint32_t begun = world.told->begun, acknowledged = world.told->acknowledged;
	(void)unused;
	(void)completed;
	enum tdm_status status = value_try_read(world.value, &item);
	bool lost = status == TDM_BUSY;
	if (lost && KEEPS)
		return "there is no value";
	// Whoever wrote to the end since has made it whole.
	if (lost && !world.halfway && begun == acknowledged)
		return "a value is lost although nobody died in the middle";
	if (!lost && status != TDM_OK)
		return "a value cannot be read";
	if (!lost) {
		uint64_t number = item.words[0];
		if (!is_whole(&item))
			return "a value is torn";
		if (number != OLD && (number > SECOND || (begun >> number & 1) == 0))
			return "nobody wrote that value";
		// The second one begins when the first is dead.
		if ((acknowledged >> SECOND & 1) != 0 && number != SECOND)
			return "an acknowledged value is not there";
		if ((acknowledged >> FIRST & 1) != 0 && number != FIRST && number != SECOND)
			return "an acknowledged value is not there";
	}
	return survivors_write(lost);
}

// --- beside a writer that is stopped, and alive ---

static const char *audit_beside(void *unused, bool completed)
{
	struct item item = make(0);
	(void)unused;
	(void)completed;
	enum tdm_status status = value_try_read(world.value, &item);
	if (status != TDM_OK && (KEEPS || status != TDM_BUSY))
		return "there is no value";
	return status != TDM_OK || is_whole(&item) ? NULL : "a value is torn";
}

static const char *has_written(void *unused)
{
	struct item item = make(0);
	(void)unused;
	return value_try_read(world.value, &item) == TDM_OK && is_whole(&item) &&
		       item.words[0] == FIRST
		   ? NULL
		   : "what was written is not there";
}

// ---------------------------------------------------------------------------------------------

static uint64_t kills;

static void die_everywhere(const char *name, bool took_over, bool halfway)
{
	static char names[5][64];
	const struct crash_case cases[] = {
	    {names[0], set_up, writes, NULL, audit, tear_down},
	    {names[1], set_up, tries_to_write, NULL, audit, tear_down},
	    {names[2], set_up, stores, NULL, audit, tear_down},
	    {names[3], set_up, locks_and_unlocks, NULL, audit, tear_down},
	};
	static const char *const verbs[] = {"write", "try to write", "store", "lock and unlock"};
	world.took_over = took_over;
	world.halfway = halfway;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(names[i], sizeof(names[i]), "%s%s", verbs[i], name);
		kills += crash_must_hold(&cases[i], 1, 1);
	}
}

static void die_in_pairs(unsigned stride, unsigned second_stride)
{
	static const struct crash_case pair = {"write, then write", set_up, writes,
					       writes_second,       audit,  tear_down};
	world.took_over = world.halfway = false;
	kills += crash_must_hold(&pair, stride, second_stride);
}

static void run_all(void)
{
	if (!crash_available())
		tap_skip_all("no single-stepping here");
	world_open();
	tap_case("a death at any instruction of writing costs nobody more than the header says");
	die_everywhere("", false, false);
	tap_case("neither does one while taking over from a writer who died between two writes");
	die_everywhere(", after a death", true, false);
	tap_case("neither does one while taking over from a writer who died in the middle");
	die_everywhere(", after a death halfway", true, true);
	tap_case("neither does a second death on what the first one left");
	die_in_pairs(1, getenv("TANDEM_SOAK") != NULL ? 1 : 5);
	tap_note("%" PRIu64 " kills", kills);

	tap_case(
	    KEEPS ? "beside a writer that is stopped anywhere there is a value"
		  : "beside a writer that is stopped anywhere a value is whole, or there is none");
	static const struct crash_case stop = {"stop: write", set_up,       writes,
					       NULL,          audit_beside, tear_down};
	world.took_over = world.halfway = false;
	(void)crash_must_hold_stopped(&stop, has_written, 1);
}

#endif
