// SPDX-License-Identifier: BSD-2-Clause
// One death at every instruction of every operation of the robust readers-writer lock, for each
// preference, and on what an earlier death left behind. Afterwards a survivor that wants to read,
// or one that wants to write, gets it; is told of the death exactly if the dead one may have been
// inside; and leaves nothing behind. And one stop at every instruction: who is stopped is alive.
#include <tandem/lock/robust_rw.h>
#include <tandem/shm/segment.h>

#include <inttypes.h>

#include "../support/broken/robust_rw.h"
#include "crash.h"

#define SEATS 4U
#define DEAD_SEAT 3U // nobody ever sits there; who did is dead

struct world {
	struct tdm_robust_rw *rw;
	tdm_atomic_u32 done;   // the victim's operation has returned
	tdm_atomic_u32 status; // with this
	uint64_t left, right;  // what the lock protects
};

static struct tdm_segment segment;
static struct world *world;
static struct tdm_participant survivor, holder;

// One operation, and what may be found after a death in it.
struct action {
	const char *name;
	void (*before)(struct tdm_participant *self); // by the victim, at full speed
	enum tdm_status (*act)(struct tdm_participant *self);
	enum tdm_status expected; // of the operation, unless a death is told
	unsigned debris;
	bool inside_before, inside_after; // does a death there leave something to repair?
	bool lost_after;                  // given up for ever
	char holds;                       // another one 'r'eads or 'w'rites meanwhile
	unsigned stride;
};

static struct {
	const struct action *action;
	uint32_t preference;
	bool reads; // the first survivor
} plan;

// --- the victim's operations ---

static void nothing(struct tdm_participant *self)
{
	(void)self;
}

static void reading(struct tdm_participant *self)
{
	if (tdm_robust_rw_read_lock(world->rw, self) != TDM_OK)
		_exit(3);
}

static void reading_twice(struct tdm_participant *self)
{
	reading(self);
	reading(self);
}

static void writing(struct tdm_participant *self)
{
	if (tdm_robust_rw_write_lock(world->rw, self) != TDM_OK)
		_exit(3);
	world->left++; // and not yet the other
}

static void written(struct tdm_participant *self)
{
	writing(self);
	world->right = world->left;
}

static void told(struct tdm_participant *self)
{
	if (tdm_robust_rw_write_lock(world->rw, self) != TDM_OWNER_DIED)
		_exit(3);
}

static enum tdm_status read_lock(struct tdm_participant *self)
{
	return tdm_robust_rw_read_lock(world->rw, self);
}

static enum tdm_status read_try_lock(struct tdm_participant *self)
{
	return tdm_robust_rw_read_try_lock(world->rw, self);
}

static enum tdm_status read_in_time(struct tdm_participant *self)
{
	return tdm_robust_rw_read_lock_until(world->rw, self, tdm_deadline_after_ns(1));
}

static enum tdm_status read_unlock(struct tdm_participant *self)
{
	return tdm_robust_rw_read_unlock(world->rw, self);
}

static enum tdm_status write_lock(struct tdm_participant *self)
{
	return tdm_robust_rw_write_lock(world->rw, self);
}

static enum tdm_status write_try_lock(struct tdm_participant *self)
{
	return tdm_robust_rw_write_try_lock(world->rw, self);
}

static enum tdm_status write_in_time(struct tdm_participant *self)
{
	return tdm_robust_rw_write_lock_until(world->rw, self, tdm_deadline_after_ns(1));
}

// Long enough to park.
static enum tdm_status read_parking(struct tdm_participant *self)
{
	return tdm_robust_rw_read_lock_until(world->rw, self, tdm_deadline_after_ns(3000000));
}

static enum tdm_status write_parking(struct tdm_participant *self)
{
	return tdm_robust_rw_write_lock_until(world->rw, self, tdm_deadline_after_ns(3000000));
}

static enum tdm_status write_unlock(struct tdm_participant *self)
{
	return tdm_robust_rw_write_unlock(world->rw, self);
}

static enum tdm_status try_upgrade(struct tdm_participant *self)
{
	return tdm_robust_rw_try_upgrade(world->rw, self);
}

static enum tdm_status upgrade_in_time(struct tdm_participant *self)
{
	return tdm_robust_rw_upgrade_until(world->rw, self, tdm_deadline_after_ns(1));
}

static enum tdm_status downgrade(struct tdm_participant *self)
{
	return tdm_robust_rw_downgrade(world->rw, self);
}

static enum tdm_status make_consistent(struct tdm_participant *self)
{
	return tdm_robust_rw_make_consistent(world->rw, self);
}

// --- debris of one who died before ---

enum debris { NONE, READER, WAITER, WRITER, LEAVER };

static void leave_debris(enum debris debris)
{
	struct tdm_robust_rw *rw = world->rw;
	if (debris == NONE)
		return;
	if (debris == READER) {
		tdm_store_relaxed_u64(&tdm_robust_rw_seat_(rw, DEAD_SEAT)->flag, 1);
		return;
	}
	tdm_store_relaxed_u64(&rw->owner, tdm_owner_pack_(DEAD_SEAT, 0));
	tdm_store_relaxed_u64(&rw->gate, debris == LEAVER ? 2 : 1);
	tdm_store_relaxed_u32(&rw->inside, debris == WRITER);
	world->left = debris == WRITER;
}

// --- before, during, after ---

static void *setup(void)
{
	struct tdm_span span = tdm_segment_find(&segment, "lock");
	struct tdm_object object = tdm_robust_rw_object("lock", plan.preference);
	object.seats = SEATS;
	memset(world, 0, sizeof(*world));
	if (tdm_robust_rw_object_init_(span, &object) != TDM_OK ||
	    tdm_robust_rw_open(span, &world->rw) != TDM_OK)
		abort();
	if (plan.action->holds == 'r' && tdm_robust_rw_read_lock(world->rw, &holder) != TDM_OK)
		abort();
	if (plan.action->holds == 'w' && tdm_robust_rw_write_lock(world->rw, &holder) != TDM_OK)
		abort();
	leave_debris((enum debris)plan.action->debris);
	return world;
}

static void victim(void *state)
{
	struct tdm_participant self;
	(void)state;
	if (tdm_segment_join(&segment, &self, "victim") != TDM_OK)
		_exit(3);
	plan.action->before(&self);
	crash_begin();
	enum tdm_status status = plan.action->act(&self);
	tdm_store_relaxed_u32(&world->status, status);
	tdm_store_release_u32(&world->done, 1);
	crash_end();
	for (;;)
		pause();
}

static enum tdm_status ask(bool reads, struct tdm_participant *self)
{
	uint64_t deadline_ns = tdm_deadline_after_ns(10000000000);
	return reads ? tdm_robust_rw_read_lock_until(world->rw, self, deadline_ns)
		     : tdm_robust_rw_write_lock_until(world->rw, self, deadline_ns);
}

// A survivor gets it, as a reader or as a writer, and gives it back.
static const char *works(bool reads)
{
	struct tdm_robust_rw *rw = world->rw;
	if (ask(reads, &survivor) != TDM_OK)
		return "a survivor does not get it";
	if (world->left != world->right)
		return "a survivor was not told";
	if ((reads ? tdm_robust_rw_read_unlock(rw, &survivor)
		   : tdm_robust_rw_write_unlock(rw, &survivor)) != TDM_OK)
		return "a survivor cannot give it back";
	return NULL;
}

static const char *nothing_remains(void)
{
	struct tdm_robust_rw *rw = world->rw;
	for (uint32_t i = 0; i < SEATS; i++) {
		uint64_t flag = tdm_load_relaxed_u64(&tdm_robust_rw_seat_(rw, i)->flag);
		bool counts =
		    plan.preference != TDM_RW_WRITERS || (flag & TDM_ROBUST_RW_WAITS_) == 0;
		if (counts && (flag & TDM_ROBUST_RW_DEPTH_) != 0)
			return "a flag remains";
	}
	if (tdm_load_relaxed_u64(&rw->owner) != 0 || tdm_load_relaxed_u32(&rw->inside) != 0 ||
	    (tdm_load_relaxed_u64(&rw->gate) & 1) != 0)
		return "an owner remains";
	return NULL;
}

static void let_go(void)
{
	if (plan.action->holds == 'r')
		(void)tdm_robust_rw_read_unlock(world->rw, &holder);
	if (plan.action->holds == 'w')
		(void)tdm_robust_rw_write_unlock(world->rw, &holder);
}

static const char *audit(void *state, bool completed)
{
	const struct action *action = plan.action;
	bool done = tdm_load_acquire_u32(&world->done) != 0;
	enum tdm_status answer = (enum tdm_status)tdm_load_relaxed_u32(&world->status);
	(void)state;
	if (done && answer != action->expected)
		return tdm_status_name(answer);
	let_go();
	enum tdm_status status = ask(plan.reads, &survivor);
	if (status == TDM_NOT_RECOVERABLE)
		return action->lost_after ? NULL : "it is lost";
	bool died = status == TDM_OWNER_DIED;
	if (status != TDM_OK && !died)
		return tdm_status_name(status);
	if (died && !action->inside_before && !action->inside_after && action->debris != WRITER)
		return "somebody is told of a death that left nothing to repair";
	if (completed && died != action->inside_after)
		return died ? "the dead one was outside" : "the dead one was inside";
	if (!died && world->left != world->right)
		return "the survivor was not told";
	if (died) {
		world->right = world->left;
		if (tdm_robust_rw_make_consistent(world->rw, &survivor) != TDM_OK)
			return "it cannot be repaired";
	}
	if ((died || !plan.reads ? tdm_robust_rw_write_unlock(world->rw, &survivor)
				 : tdm_robust_rw_read_unlock(world->rw, &survivor)) != TDM_OK)
		return "a survivor cannot give it back";
	const char *complaint = works(true);
	if (complaint == NULL)
		complaint = works(false);
	return complaint != NULL ? complaint : nothing_remains();
}

static void teardown(void *state)
{
	(void)state;
}

// --- stopped ---

// Whatever the victim holds, it keeps; and whatever it does not, others get.
static const char *beside(void *state, bool completed)
{
	(void)state, (void)completed;
	enum tdm_status reads = tdm_robust_rw_read_try_lock(world->rw, &survivor);
	if (reads == TDM_OK)
		(void)tdm_robust_rw_read_unlock(world->rw, &survivor);
	else if (reads != TDM_BUSY)
		return tdm_status_name(reads);
	enum tdm_status writes = tdm_robust_rw_write_try_lock(world->rw, &survivor);
	if (writes == TDM_OK)
		(void)tdm_robust_rw_write_unlock(world->rw, &survivor);
	else if (writes != TDM_BUSY)
		return tdm_status_name(writes);
	return writes == TDM_OK && reads != TDM_OK ? "it may be written but not read" : NULL;
}

static const char *resumed(void *state)
{
	(void)state;
	enum tdm_status answer = (enum tdm_status)tdm_load_relaxed_u32(&world->status);
	return answer == plan.action->expected || answer == TDM_BUSY ? NULL
								     : tdm_status_name(answer);
}

// --- all of them ---

static const struct action actions[] = {
    {.name = "read_lock", .before = nothing, .act = read_lock},
    {.name = "read_try_lock", .before = nothing, .act = read_try_lock},
    {.name = "read_lock again", .before = reading, .act = read_lock},
    {.name = "read_unlock", .before = reading, .act = read_unlock},
    {.name = "read_unlock once", .before = reading_twice, .act = read_unlock},
    {.name = "write_lock", .before = nothing, .act = write_lock, .inside_after = true},
    {.name = "write_try_lock", .before = nothing, .act = write_try_lock, .inside_after = true},
    {.name = "write_unlock", .before = written, .act = write_unlock, .inside_before = true},
    {.name = "try_upgrade", .before = reading, .act = try_upgrade, .inside_after = true},
    {.name = "downgrade", .before = written, .act = downgrade, .inside_before = true},
    {.name = "read_try_lock beside a writer",
     .before = nothing,
     .act = read_try_lock,
     .expected = TDM_BUSY,
     .holds = 'w'},
    {.name = "write_try_lock beside a reader",
     .before = nothing,
     .act = write_try_lock,
     .expected = TDM_BUSY,
     .holds = 'r'},
    {.name = "try_upgrade beside a reader",
     .before = reading,
     .act = try_upgrade,
     .expected = TDM_BUSY,
     .holds = 'r'},
    {.name = "read_lock_until beside a writer",
     .before = nothing,
     .act = read_in_time,
     .expected = TDM_TIMED_OUT,
     .holds = 'w'},
    {.name = "write_lock_until beside a reader",
     .before = nothing,
     .act = write_in_time,
     .expected = TDM_TIMED_OUT,
     .holds = 'r'},
    {.name = "write_lock_until beside a writer",
     .before = nothing,
     .act = write_in_time,
     .expected = TDM_TIMED_OUT,
     .holds = 'w'},
    {.name = "upgrade_until beside a reader",
     .before = reading,
     .act = upgrade_in_time,
     .expected = TDM_TIMED_OUT,
     .holds = 'r'},
    {.name = "read_lock after a dead waiting writer",
     .before = nothing,
     .act = read_try_lock,
     .expected = TDM_BUSY,
     .debris = WAITER},
    {.name = "write_lock after a dead reader",
     .before = nothing,
     .act = write_try_lock,
     .debris = READER,
     .inside_after = true},
    {.name = "write_lock after a dead waiting writer",
     .before = nothing,
     .act = write_try_lock,
     .debris = WAITER,
     .inside_after = true},
    {.name = "write_lock after one who died unlocking",
     .before = nothing,
     .act = write_try_lock,
     .debris = LEAVER,
     .inside_after = true},
    {.name = "read_try_lock after a dead writer",
     .before = nothing,
     .act = read_try_lock,
     .expected = TDM_OWNER_DIED,
     .debris = WRITER,
     .inside_after = true},
    {.name = "write_try_lock after a dead writer",
     .before = nothing,
     .act = write_try_lock,
     .expected = TDM_OWNER_DIED,
     .debris = WRITER,
     .inside_after = true},
    {.name = "make_consistent",
     .before = told,
     .act = make_consistent,
     .debris = WRITER,
     .inside_after = true},
    {.name = "write_unlock without repairing",
     .before = told,
     .act = write_unlock,
     .expected = TDM_NOT_RECOVERABLE,
     .debris = WRITER,
     .inside_after = true,
     .lost_after = true},
    {.name = "read_lock_until that parks",
     .before = nothing,
     .act = read_parking,
     .expected = TDM_TIMED_OUT,
     .holds = 'w',
     .stride = 97},
    {.name = "write_lock_until that parks",
     .before = nothing,
     .act = write_parking,
     .expected = TDM_TIMED_OUT,
     .holds = 'r',
     .stride = 97},
};

static uint64_t run(const struct action *action, bool reads)
{
	plan.action = action;
	plan.reads = reads;
	const struct crash_case test = {action->name, setup, victim, NULL, audit, teardown};
	return crash_must_hold(&test, action->stride != 0 ? action->stride : 1, 1);
}

static uint64_t run_stopped(const struct action *action)
{
	plan.action = action;
	const struct crash_case test = {action->name, setup, victim, NULL, beside, teardown};
	return crash_must_hold_stopped(&test, resumed, 1);
}

// --- a lock that breaks the promise ---

static enum tdm_status late_outside(struct tdm_participant *self)
{
	(void)self;
	broken_robust_rw_late_outside(world->rw);
	return TDM_OK;
}

static const struct action broken = {
    .name = "broken: outside too late", .before = written, .act = late_outside};

int main(void)
{
	static const char *const names[] = {"", "fair", "readers first", "writers first"};
	struct tdm_object object = tdm_robust_rw_object("lock", TDM_RW_FAIR);
	struct tdm_segment_options options = {.seats = SEATS};
	uint64_t all = 0;
	if (!crash_available())
		tap_skip_all("no single-stepping here");
	world = (struct world *)crash_shared(sizeof(*world));
	if (tdm_segment_create(&segment, &object, 1, &options) != TDM_OK ||
	    tdm_segment_join(&segment, &survivor, "survivor") != TDM_OK ||
	    tdm_segment_join(&segment, &holder, "holder") != TDM_OK)
		abort();
	crash_notes = false;
	for (plan.preference = TDM_RW_FAIR; plan.preference <= TDM_RW_WRITERS; plan.preference++) {
		for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
			char text[200];
			snprintf(text, sizeof(text), "%s: a death in %s", names[plan.preference],
				 actions[i].name);
			tap_case(text);
			bool reads = (i + plan.preference) % 2 == 0;
			uint64_t kills = run(&actions[i], reads);
			if (plan.preference == TDM_RW_FAIR)
				kills += run(&actions[i], !reads);
			tap_note("%" PRIu64 " kill points", kills);
			all += kills;
		}
	}
	plan.preference = TDM_RW_FAIR;
	for (size_t i = 0; i < 10; i++) {
		char text[200];
		snprintf(text, sizeof(text), "a stop in %s is no death", actions[i].name);
		tap_case(text);
		tap_note("%" PRIu64 " stops", run_stopped(&actions[i]));
	}
	tap_case("a lock that is outside too late is caught");
	plan.action = &broken;
	plan.reads = false;
	const struct crash_case test = {broken.name, setup, victim, NULL, audit, teardown};
	crash_must_fail(&test, 1, "told of a death that left nothing");
	tap_note("%" PRIu64 " kill points in all", all);
	return tap_done();
}
