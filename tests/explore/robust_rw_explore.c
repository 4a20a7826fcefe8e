// SPDX-License-Identifier: BSD-2-Clause
// lock/robust_rw.h under every schedule and every value that its loads may return, with a death at
// any access. A writer adds one to both numbers of a pair, plainly; a reader finds them equal, and
// whoever is told of a death makes them so. What the lock neither orders nor keeps apart is a data
// race; whoever is not woken is a deadlock, as slices end only where somebody has died.
#include "explore.h"

// Set by a setup: 0, and who waits parks at once; or they never park, which leaves room for more.
static uint32_t spins_before_parking;
#undef TDM_SEAM_SPINS
#define TDM_SEAM_SPINS spins_before_parking

#include <tandem/lock/robust_rw.h>

#include "../support/broken/robust_rw.h"

#define SEATS 4U
#define HELPER 3U // the participant who acts in finish

static struct segment {
	struct tdm_seats_shm head;
	struct tdm_seat_shm seats[SEATS];
	struct tdm_robust_rw rw;
	struct tdm_robust_rw_seat readers[SEATS];
} * segment;
static struct tdm_robust_rw *rw;
static struct tdm_participant participants[SEATS];
static uint32_t seat_count;        // as the threads are: the helper has a seat that nobody looks at
static struct tdm_seat_lock_ lock; // they say that they joined through it
static tdm_atomic_u32 unforked;

static uint32_t left, right; // what the lock protects
static unsigned told;        // how often somebody heard of a death
static unsigned dead_before; // writers who died inside before the threads begin
static bool upgraded[SEATS];

// ---------------------------------------------------------------------------------------------
// Setups

static void sit(unsigned seat)
{
	struct tdm_participant *participant = &participants[seat];
	participant->unforked = &unforked;
	participant->table.base = (unsigned char *)segment;
	participant->table.bytes = sizeof(*segment);
	participant->table.head = &segment->head;
	participant->table.seats = segment->seats;
	participant->table.seat_count = seat_count;
	participant->table.probe_fd = 99;
	participant->generation = 1;
	participant->index = seat;
	participant->lock = &lock;
	tdm_store_relaxed_u64(&segment->seats[seat].generation, 1);
	tdm_store_relaxed_u32(&segment->seats[seat].dirty, 1);
	if (seat != HELPER)
		explore_seat_holder(seat, 100 + (int)seat, seat);
}

static void make(uint32_t preference, bool spins, uint32_t threads)
{
	seat_count = threads;
	spins_before_parking = spins ? 1U << 30 : 0;
	explore_ignore(&spins_before_parking, sizeof(spins_before_parking));
	tdm_store_relaxed_u32(&tdm_backoff_cpus_, 2);
	explore_ignore(&tdm_backoff_cpus_, sizeof(tdm_backoff_cpus_));
	tdm_store_relaxed_u32(&tdm_fence_state_, TDM_FENCE_UNKNOWN_);
	(void)tdm_fence_register_();
	explore_ignore(&tdm_fence_state_, sizeof(tdm_fence_state_));
	tdm_store_relaxed_u32(&unforked, 1);
	explore_ignore(&unforked, sizeof(unforked));
	segment = explore_memory(sizeof(*segment));
	rw = &segment->rw;
	explore_name(segment->seats, sizeof(segment->seats), "seats");
	explore_name(&rw->owner, sizeof(rw->owner), "owner");
	explore_name(&rw->gate, sizeof(rw->gate), "gate");
	explore_name(&rw->inside, sizeof(rw->inside), "inside");
	explore_name(&rw->freed, sizeof(rw->freed), "freed");
	explore_name(&rw->opened, sizeof(rw->opened), "opened");
	explore_name(&rw->left, sizeof(rw->left), "left");
	explore_name(segment->readers, sizeof(segment->readers), "readers");
	struct tdm_object object = tdm_robust_rw_object("rw", preference);
	object.seats = SEATS;
	struct tdm_span span = tdm_memory(rw, sizeof(*rw) + sizeof(segment->readers));
	EXPLORE_CHECK(tdm_robust_rw_object_init_(span, &object) == TDM_OK, "a lock is made");
	for (unsigned seat = 0; seat < SEATS; seat++)
		sit(seat);
}

static void fair(void)
{
	make(TDM_RW_FAIR, false, 2);
}

static void fair_spinning(void)
{
	make(TDM_RW_FAIR, true, 3);
}

static void fair_three(void)
{
	make(TDM_RW_FAIR, false, 3);
}

static void readers_first(void)
{
	make(TDM_RW_READERS, false, 2);
}

static void readers_first_spinning(void)
{
	make(TDM_RW_READERS, true, 3);
}

static void writers_first(void)
{
	make(TDM_RW_WRITERS, false, 2);
}

static void writers_first_spinning(void)
{
	make(TDM_RW_WRITERS, true, 3);
}

static void not_ready(void)
{
	fair();
	tdm_store_relaxed_u64(&rw->tag, 0);
}

// Somebody in the second thread's seat, before it.
static uint64_t the_dead(void)
{
	return tdm_owner_pack_(1, 0);
}

static void after_a_dead_writer(void)
{
	fair();
	tdm_store_relaxed_u64(&rw->owner, the_dead());
	tdm_store_relaxed_u64(&rw->gate, 1);
	tdm_store_relaxed_u32(&rw->inside, 1);
	left = 1;
	dead_before = 1;
}

static void after_one_who_died_waiting(void)
{
	fair();
	tdm_store_relaxed_u64(&rw->owner, the_dead());
	tdm_store_relaxed_u64(&rw->gate, 1);
}

// In the first thread's seat, and that one reads, too.
static void after_a_dead_reader(void)
{
	fair();
	tdm_store_relaxed_u64(&segment->readers[0].flag, 1); // its generation was 0
}

static void after_a_dead_reader_spinning(void)
{
	fair_spinning();
	tdm_store_relaxed_u64(&segment->readers[0].flag, 1);
}

// ---------------------------------------------------------------------------------------------
// Threads

static struct tdm_participant *self(void)
{
	return &participants[explore_thread()];
}

static bool ok(enum tdm_status status)
{
	return status == TDM_OK;
}

static void look(void)
{
	EXPLORE_CHECK(left == right, "the pair is whole");
}

static void add(void)
{
	look();
	left++;
	right++;
}

static void end_writing(void)
{
	EXPLORE_CHECK(ok(tdm_robust_rw_write_unlock(rw, self())), "the writer leaves");
}

// Held for writing, from the dead.
static void repair(void)
{
	told++;
	right = left;
	EXPLORE_CHECK(ok(tdm_robust_rw_make_consistent(rw, self())), "it is repaired");
	end_writing();
}

static bool expected(enum tdm_status status)
{
	return ok(status) || status == TDM_OWNER_DIED || status == TDM_BUSY ||
	       status == TDM_TIMED_OUT;
}

static void read_if(enum tdm_status status)
{
	EXPLORE_CHECK(expected(status), "it reads, or is told why not");
	if (ok(status)) {
		look();
		EXPLORE_CHECK(ok(tdm_robust_rw_read_unlock(rw, self())), "the reader leaves");
	} else if (status == TDM_OWNER_DIED) {
		repair();
	}
}

static void write_if(enum tdm_status status)
{
	EXPLORE_CHECK(expected(status), "it writes, or is told why not");
	if (ok(status)) {
		add();
		end_writing();
	} else if (status == TDM_OWNER_DIED) {
		repair();
	}
}

static void read_once(void)
{
	enum tdm_status status = tdm_robust_rw_read_lock(rw, self());
	EXPLORE_CHECK(ok(status) || status == TDM_OWNER_DIED, "it waits for ever");
	read_if(status);
}

static void read_twice(void)
{
	read_once();
	read_once();
}

static void read_within_reading(void)
{
	enum tdm_status status = tdm_robust_rw_read_lock(rw, self());
	EXPLORE_CHECK(ok(status), "it reads");
	read_once();
	look();
	EXPLORE_CHECK(ok(tdm_robust_rw_read_unlock(rw, self())), "the reader leaves");
}

static void read_at_once(void)
{
	read_if(tdm_robust_rw_read_try_lock(rw, self()));
}

static void read_in_time(void)
{
	read_if(tdm_robust_rw_read_lock_until(rw, self(), tdm_deadline_after_ns(1000)));
}

static void write_once(void)
{
	enum tdm_status status = tdm_robust_rw_write_lock(rw, self());
	EXPLORE_CHECK(ok(status) || status == TDM_OWNER_DIED, "it waits for ever");
	write_if(status);
}

static void write_twice(void)
{
	write_once();
	write_once();
}

static void write_at_once(void)
{
	write_if(tdm_robust_rw_write_try_lock(rw, self()));
}

static void write_in_time(void)
{
	write_if(tdm_robust_rw_write_lock_until(rw, self(), tdm_deadline_after_ns(1000)));
}

static void give_up_and_come_back(void)
{
	write_at_once();
	write_once();
}

static void upgrade(void)
{
	enum tdm_status status = tdm_robust_rw_read_lock(rw, self());
	EXPLORE_CHECK(ok(status), "it reads");
	look();
	uint32_t before = left;
	status = tdm_robust_rw_upgrade_until(rw, self(), TDM_FOREVER);
	EXPLORE_CHECK(ok(status) || status == TDM_BUSY, "one is first");
	EXPLORE_CHECK(left == before, "nobody wrote between");
	upgraded[explore_thread()] = ok(status);
	if (ok(status)) {
		add();
		end_writing();
	} else {
		EXPLORE_CHECK(ok(tdm_robust_rw_read_unlock(rw, self())), "the reader leaves");
	}
}

static void downgrade(void)
{
	enum tdm_status status = tdm_robust_rw_write_lock(rw, self());
	EXPLORE_CHECK(ok(status), "it writes");
	add();
	uint32_t written = left;
	EXPLORE_CHECK(ok(tdm_robust_rw_downgrade(rw, self())), "the writer becomes a reader");
	EXPLORE_CHECK(left == written && right == written, "nobody wrote between");
	EXPLORE_CHECK(ok(tdm_robust_rw_read_unlock(rw, self())), "the reader leaves");
}

// The helper finds out who is dead; nobody else is there.
static void unlocked_by_now(void)
{
	struct tdm_participant *helper = &participants[HELPER];
	unsigned deaths = dead_before;
	for (unsigned i = 0; i < HELPER; i++)
		deaths += explore_died(i);
	enum tdm_status status = tdm_robust_rw_write_try_lock(rw, helper);
	EXPLORE_CHECK(ok(status) || status == TDM_OWNER_DIED, "nobody living holds it");
	if (status == TDM_OWNER_DIED) {
		told++;
		right = left;
		EXPLORE_CHECK(ok(tdm_robust_rw_make_consistent(rw, helper)), "it is repaired");
	}
	look();
	EXPLORE_CHECK(told <= deaths, "each death is told once");
	EXPLORE_CHECK(ok(tdm_robust_rw_write_unlock(rw, helper)), "it can be unlocked");
	EXPLORE_CHECK(ok(tdm_robust_rw_write_try_lock(rw, helper)), "it can be locked");
	EXPLORE_CHECK(ok(tdm_robust_rw_write_unlock(rw, helper)), "it can be unlocked");
	for (unsigned i = 0; i < seat_count; i++)
		EXPLORE_CHECK(tdm_load_relaxed_u64(&segment->readers[i].flag) == 0,
			      "nobody's flag remains");
}

static void one_upgraded(void)
{
	EXPLORE_CHECK(upgraded[0] || upgraded[1], "one of the two was first");
	unlocked_by_now();
}

static void told_by_now(void)
{
	unlocked_by_now();
	EXPLORE_CHECK(told == 1, "one was told");
}

static void not_told(void)
{
	unlocked_by_now();
	EXPLORE_CHECK(told == 0, "there was nothing to repair");
}

// As a creator makes it, while somebody finds the memory.
static void initialize(void)
{
	struct tdm_object object = tdm_robust_rw_object("rw", TDM_RW_WRITERS);
	object.seats = seat_count;
	struct tdm_span span = tdm_memory(rw, tdm_robust_rw_bytes_(seat_count));
	EXPLORE_CHECK(ok(tdm_robust_rw_object_init_(span, &object)), "it is made");
}

static void open_when_ready(void)
{
	struct tdm_robust_rw *found;
	struct tdm_span span = tdm_memory(rw, tdm_robust_rw_bytes_(seat_count));
	enum tdm_status status = tdm_robust_rw_open(span, &found);
	EXPLORE_CHECK(ok(status) || status == TDM_NOT_INITIALIZED, "it is there or not");
	EXPLORE_CHECK(!ok(status) || tdm_load_relaxed_u32(&found->preference) == TDM_RW_WRITERS,
		      "it is complete");
}

// ---------------------------------------------------------------------------------------------
// Broken variants

static void read_unseen(void)
{
	if ((broken_robust_rw_enter(rw, self()) & 1) != 0) {
		tdm_robust_rw_lower_(rw, self());
		return;
	}
	look();
	(void)tdm_robust_rw_read_unlock(rw, self());
}

static void write_and_be_outside_late(void)
{
	if (!ok(tdm_robust_rw_write_lock(rw, self())))
		return;
	add();
	broken_robust_rw_late_outside(rw);
}

static void be_inside_early(void)
{
	broken_robust_rw_early_inside(rw, self());
}

static void clear_and_write(void)
{
	(void)broken_robust_rw_clear(rw, self(), 0);
	write_once();
}

// ---------------------------------------------------------------------------------------------

static const struct explore_case cases[] = {
    {.name = "fair: a reader and a writer",
     .setup = fair,
     .threads = {read_once, write_once},
     .finish = not_told},
    {.name = "fair: two readers and a writer",
     .setup = fair_spinning,
     .threads = {read_once, read_once, write_once},
     .finish = not_told},
    {.name = "fair: a reader and two writers",
     .setup = fair_spinning,
     .threads = {read_once, write_once, write_once},
     .finish = not_told},
    {.name = "fair: two writers",
     .setup = fair,
     .threads = {write_once, write_once},
     .finish = not_told},
    {.name = "fair: two reads and two writes",
     .setup = fair_spinning,
     .threads = {read_twice, write_twice},
     .finish = not_told},
    {.name = "readers first: a reader and a writer",
     .setup = readers_first,
     .threads = {read_once, write_once},
     .finish = not_told},
    {.name = "readers first: two readers and a writer",
     .setup = readers_first_spinning,
     .threads = {read_once, read_once, write_once},
     .finish = not_told},
    {.name = "readers first: two reads and two writes",
     .setup = readers_first_spinning,
     .threads = {read_twice, write_twice},
     .finish = not_told},
    {.name = "writers first: a reader and a writer",
     .setup = writers_first,
     .threads = {read_once, write_once},
     .finish = not_told},
    {.name = "writers first: two readers and a writer",
     .setup = writers_first_spinning,
     .threads = {read_once, read_once, write_once},
     .finish = not_told},
    {.name = "writers first: a reader and two writers",
     .setup = writers_first_spinning,
     .threads = {read_once, write_once, write_once},
     .finish = not_told},
    {.name = "writers first: two reads and two writes",
     .setup = writers_first_spinning,
     .threads = {read_twice, write_twice},
     .finish = not_told},
    {.name = "two readers and a writer, parking",
     .setup = fair_three,
     .threads = {read_once, read_once, write_once},
     .finish = not_told,
     .random = 20000},
    {.name = "a reader and two writers, parking",
     .setup = fair_three,
     .threads = {read_once, write_once, write_once},
     .finish = not_told,
     .random = 20000},
    {.name = "a reader locks again",
     .setup = fair,
     .threads = {read_within_reading, write_once},
     .finish = not_told},
    {.name = "a reader does not wait",
     .setup = fair_spinning,
     .threads = {read_at_once, read_once, write_once},
     .finish = not_told},
    {.name = "a reader gives up",
     .setup = fair,
     .threads = {read_in_time, write_once},
     .finish = not_told,
     .timeouts = 1},
    {.name = "a writer gives up",
     .setup = fair,
     .threads = {read_once, write_in_time},
     .finish = not_told,
     .timeouts = 1},
    {.name = "a writer gives up beside another",
     .setup = fair,
     .threads = {write_in_time, write_once},
     .finish = not_told,
     .timeouts = 1},
    {.name = "a writer gives up and comes back",
     .setup = fair_spinning,
     .threads = {read_once, give_up_and_come_back},
     .finish = not_told},
    {.name = "two readers that upgrade",
     .setup = fair_spinning,
     .threads = {upgrade, upgrade},
     .finish = one_upgraded},
    {.name = "a reader that upgrades, and a reader",
     .setup = fair,
     .threads = {upgrade, read_once},
     .finish = not_told},
    {.name = "a reader that upgrades, and a writer",
     .setup = fair,
     .threads = {upgrade, write_once},
     .finish = not_told},
    {.name = "a writer that becomes a reader, and a reader",
     .setup = fair_spinning,
     .threads = {downgrade, read_once},
     .finish = not_told},
    {.name = "a writer that becomes a reader, and a writer",
     .setup = fair,
     .threads = {downgrade, write_once},
     .finish = not_told},

    {.name = "a reader dies",
     .setup = fair,
     .threads = {read_once, write_once},
     .finish = not_told,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "a writer dies, and a reader waits",
     .setup = fair,
     .threads = {write_once, read_once},
     .finish = unlocked_by_now,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "a writer dies, and a writer waits",
     .setup = fair,
     .threads = {write_once, write_once},
     .finish = unlocked_by_now,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "readers first: a reader dies",
     .setup = readers_first,
     .threads = {read_once, write_once},
     .finish = not_told,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "readers first: a writer dies",
     .setup = readers_first,
     .threads = {write_once, read_once},
     .finish = unlocked_by_now,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES | EXPLORE_PARTIAL},
    {.name = "writers first: a writer dies",
     .setup = writers_first,
     .threads = {write_once, read_once},
     .finish = unlocked_by_now,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "a writer dies, and two do not wait",
     .setup = fair_three,
     .threads = {write_once, read_at_once, write_at_once},
     .finish = unlocked_by_now,
     .can_die = 1,
     .deaths = 1,
     .random = 50000},
    {.name = "a writer dies, and two wait",
     .setup = fair_three,
     .threads = {write_once, read_once, write_once},
     .finish = unlocked_by_now,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES,
     .random = 20000},
    {.name = "one who upgrades dies",
     .setup = fair,
     .threads = {upgrade, write_at_once},
     .finish = unlocked_by_now,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "one who downgrades dies",
     .setup = fair,
     .threads = {downgrade, write_at_once},
     .finish = unlocked_by_now,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "two find a writer that died",
     .setup = after_a_dead_writer,
     .threads = {read_at_once, write_at_once},
     .finish = told_by_now},
    {.name = "the one that is told dies, too",
     .setup = after_a_dead_writer,
     .threads = {read_at_once, write_at_once},
     .finish = unlocked_by_now,
     .can_die = 1,
     .deaths = 1},
    {.name = "two find a writer that died waiting",
     .setup = after_one_who_died_waiting,
     .threads = {read_once, write_at_once},
     .finish = not_told,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "two readers find a writer that died waiting, and one dies",
     .setup = after_one_who_died_waiting,
     .threads = {read_at_once, read_at_once},
     .finish = not_told,
     .can_die = 1,
     .deaths = 1},
    {.name = "a reader sits where one has died",
     .setup = after_a_dead_reader,
     .threads = {read_once, write_once},
     .finish = not_told},
    {.name = "one is found while it is made",
     .setup = not_ready,
     .threads = {initialize, open_when_ready}},

    {.name = "broken: a flag that need not be seen in time",
     .setup = fair_spinning,
     .threads = {read_unseen, write_once},
     .expect = "data race"},
    {.name = "broken: a writer that is outside too late",
     .setup = fair,
     .threads = {write_and_be_outside_late, write_once},
     .finish = unlocked_by_now,
     .can_die = 2,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES,
     .expect = "check failed"},
    {.name = "broken: a writer that is inside too early",
     .setup = fair,
     .threads = {be_inside_early, read_once},
     .finish = not_told,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES,
     .expect = "check failed"},
    {.name = "broken: a flag that is cleared whosever it is",
     .setup = after_a_dead_reader_spinning,
     .threads = {read_once, clear_and_write},
     .expect = "the reader leaves"},
};

int main(int argc, char **argv)
{
	return explore_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
