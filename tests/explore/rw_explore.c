// SPDX-License-Identifier: BSD-2-Clause
// lock/rw.h under every schedule and every value that its loads may return: no reader sees half of
// what a writer writes, nobody sleeps through their turn, and who gives up leaves nothing behind.
//
// A writer adds one to both numbers of a pair, plainly; a reader finds them equal. What is neither
// ordered by the lock nor kept apart by it is a data race, and whoever is not woken is a deadlock.
#include "explore.h"

// Set by a setup: 0, and who waits parks at once; or they never park, which leaves room for more.
static uint32_t spins_before_parking;
#undef TDM_SEAM_SPINS
#define TDM_SEAM_SPINS spins_before_parking

#include <tandem/lock/rw.h>

#include "../support/broken/rw_phases.h"

static struct tdm_rw *rw;

// rw_checked.c
extern struct tdm_rw *checked_rw;
struct tdm_rw *checked_rw;
void checked_read_once(void);

static uint32_t left, right; // the pair
static uint32_t writes;      // that happened, counted under the lock
static uint32_t expected[EXPLORE_THREADS];
static bool upgraded[EXPLORE_THREADS];

static void setup_at(uint32_t ticket)
{
	(void)tdm_backoff_alone_(); // asks the kernel, once
	tdm_store_relaxed_u32(&tdm_backoff_cpus_, 2);
	spins_before_parking = 0;
	explore_ignore(&tdm_backoff_cpus_, sizeof(tdm_backoff_cpus_));
	tdm_store_relaxed_u32(&tdm_fence_state_, TDM_FENCE_UNKNOWN_);
	(void)tdm_fence_register_();
	explore_ignore(&tdm_fence_state_, sizeof(tdm_fence_state_));
	rw = explore_memory(sizeof(*rw));
	checked_rw = rw;
	explore_name(&rw->in, sizeof(rw->in), "in");
	explore_name(&rw->out, sizeof(rw->out), "out");
	explore_name(&rw->next, sizeof(rw->next), "next");
	explore_name(&rw->serving, sizeof(rw->serving), "serving");
	explore_name(&rw->opened, sizeof(rw->opened), "opened");
	explore_name(&rw->left, sizeof(rw->left), "left");
	explore_name(&rw->turn, sizeof(rw->turn), "turn");
	tdm_store_relaxed_u32(&rw->next, ticket);
	tdm_store_relaxed_u32(&rw->serving, ticket);
}

static void setup(void)
{
	setup_at(0);
}

static void setup_spinning(void)
{
	setup();
	spins_before_parking = 1U << 30;
	explore_ignore(&spins_before_parking, sizeof(spins_before_parking));
}

// Readers and tickets wrap around.
static void setup_at_the_end(void)
{
	setup_at(UINT32_MAX);
	tdm_store_relaxed_u64(&rw->in, UINT64_MAX << 32);
	tdm_store_relaxed_u32(&rw->out, UINT32_MAX);
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
	left++;
	writes++;
	right++;
	expected[explore_thread()]++;
}

static void read_once(void)
{
	EXPLORE_CHECK(ok(tdm_rw_read_lock(rw)), "a reader comes in");
	look();
	EXPLORE_CHECK(ok(tdm_rw_read_unlock(rw)), "a reader leaves");
}

static void read_twice(void)
{
	read_once();
	read_once();
}

static void read_if_open(void)
{
	if (!tdm_rw_read_try_lock(rw))
		return;
	look();
	(void)tdm_rw_read_unlock(rw);
}

static void read_in_time(void)
{
	enum tdm_status status = tdm_rw_read_lock_until(rw, tdm_deadline_after_ns(1000));
	EXPLORE_CHECK(ok(status) || status == TDM_TIMED_OUT, "it reads or gives up");
	if (!ok(status))
		return;
	look();
	(void)tdm_rw_read_unlock(rw);
}

static void read_at_once(void)
{
	if (!ok(tdm_rw_read_lock_until(rw, 0)))
		return;
	look();
	(void)tdm_rw_read_unlock(rw);
}

static void write_once(void)
{
	EXPLORE_CHECK(ok(tdm_rw_write_lock(rw)), "a writer comes in");
	add();
	EXPLORE_CHECK(ok(tdm_rw_write_unlock(rw)), "a writer leaves");
}

static void write_twice(void)
{
	write_once();
	write_once();
}

static void write_if_free(void)
{
	if (!tdm_rw_write_try_lock(rw))
		return;
	add();
	(void)tdm_rw_write_unlock(rw);
}

static void write_in_time(void)
{
	enum tdm_status status = tdm_rw_write_lock_until(rw, tdm_deadline_after_ns(1000));
	EXPLORE_CHECK(ok(status) || status == TDM_TIMED_OUT, "it writes or gives up");
	if (!ok(status))
		return;
	add();
	(void)tdm_rw_write_unlock(rw);
}

static void give_up_and_come_back(void)
{
	write_if_free();
	write_if_free();
	write_once();
}

static void upgrade(void)
{
	(void)tdm_rw_read_lock(rw);
	look();
	enum tdm_status status = tdm_rw_upgrade_until(rw, TDM_FOREVER);
	EXPLORE_CHECK(ok(status) || status == TDM_BUSY, "one is first");
	if (!ok(status)) {
		look();
		(void)tdm_rw_read_unlock(rw);
		return;
	}
	upgraded[explore_thread()] = true;
	add();
	(void)tdm_rw_write_unlock(rw);
}

static void upgrade_if_alone(void)
{
	(void)tdm_rw_read_lock(rw);
	uint32_t before = left;
	enum tdm_status status = tdm_rw_try_upgrade(rw);
	EXPLORE_CHECK(ok(status) || status == TDM_BUSY, "it is alone or not");
	EXPLORE_CHECK(left == before, "nobody wrote between");
	if (ok(status)) {
		add();
		(void)tdm_rw_write_unlock(rw);
	} else {
		(void)tdm_rw_read_unlock(rw);
	}
}

static void downgrade(void)
{
	(void)tdm_rw_write_lock(rw);
	add();
	uint32_t written = left;
	EXPLORE_CHECK(ok(tdm_rw_downgrade(rw)), "the writer becomes a reader");
	EXPLORE_CHECK(left == written && right == written, "nobody wrote between");
	(void)tdm_rw_read_unlock(rw);
}

static void unlocked_by_now(void)
{
	uint32_t all = 0;
	for (unsigned i = 0; i < EXPLORE_THREADS; i++)
		all += expected[i];
	EXPLORE_CHECK(left == all && right == all && writes == all, "each write counts once");
	EXPLORE_CHECK(ok(tdm_rw_destroy(rw)), "nobody holds it");
}

static void one_upgraded(void)
{
	EXPLORE_CHECK(upgraded[0] || upgraded[1], "one of the two was first");
	unlocked_by_now();
}

// ---------------------------------------------------------------------------------------------
// Broken variants

static void give_up_in_two_phases(void)
{
	for (int i = 0; i < 2; i++)
		if (ok(broken_rw_two_phases_lock(rw, 0)))
			broken_rw_two_phases_open(rw);
	if (ok(broken_rw_two_phases_lock(rw, TDM_FOREVER)))
		broken_rw_two_phases_open(rw);
}

static void read_looking_first(void)
{
	broken_rw_look_first_read_lock(rw);
	look();
	(void)tdm_rw_read_unlock(rw);
}

static void read_within_reading(enum tdm_status (*lock_until)(struct tdm_rw *, uint64_t))
{
	(void)tdm_rw_read_lock(rw);
	enum tdm_status status = lock_until(rw, 0);
	look();
	if (ok(status))
		(void)tdm_rw_read_unlock(rw);
	(void)tdm_rw_read_unlock(rw);
}

static enum tdm_status read_lock_until(struct tdm_rw *lock, uint64_t deadline_ns)
{
	return tdm_rw_read_lock_until(lock, deadline_ns);
}

static void read_giving_up(void)
{
	read_within_reading(read_lock_until);
}

static void read_leaving(void)
{
	read_within_reading(broken_rw_leaving_read_lock);
}

static void read_and_leave_silently(void)
{
	(void)tdm_rw_read_lock(rw);
	look();
	broken_rw_silent_read_unlock(rw);
}

// ---------------------------------------------------------------------------------------------

static const struct explore_case cases[] = {
    {.name = "a reader and a writer",
     .setup = setup,
     .threads = {read_once, write_once},
     .finish = unlocked_by_now,
     .spurious = 1},
    {.name = "two readers and a writer",
     .setup = setup,
     .threads = {read_once, read_once, write_once},
     .finish = unlocked_by_now},
    {.name = "two readers and a writer that do not park",
     .setup = setup_spinning,
     .threads = {read_once, read_once, write_once},
     .finish = unlocked_by_now},
    {.name = "two reads and two writes that do not park",
     .setup = setup_spinning,
     .threads = {read_twice, write_twice},
     .finish = unlocked_by_now},
    {.name = "a reader and two writers",
     .setup = setup_spinning,
     .threads = {read_once, write_once, write_once},
     .finish = unlocked_by_now},
    {.name = "a reader and two writers, parking",
     .setup = setup,
     .threads = {read_once, write_once, write_once},
     .finish = unlocked_by_now,
     .random = 20000},
    {.name = "two readers and a writer, each twice",
     .setup = setup_spinning,
     .threads = {read_twice, read_twice, write_twice},
     .finish = unlocked_by_now},
    {.name = "a reader and two writers, each twice",
     .setup = setup_spinning,
     .threads = {read_twice, write_twice, write_twice},
     .finish = unlocked_by_now},
    {.name = "two writers",
     .setup = setup,
     .threads = {write_once, write_once},
     .finish = unlocked_by_now,
     .spurious = 1},
    {.name = "two reads and two writes",
     .setup = setup,
     .threads = {read_twice, write_twice},
     .finish = unlocked_by_now},
    {.name = "two reads and two writes, where counters wrap around",
     .setup = setup_at_the_end,
     .threads = {read_twice, write_twice},
     .finish = unlocked_by_now},
    {.name = "a reader and a writer that do not wait",
     .setup = setup,
     .threads = {read_if_open, write_if_free},
     .finish = unlocked_by_now,
     .spurious = 1},
    {.name = "a reader and a writer, and both that do not wait",
     .setup = setup,
     .threads = {read_if_open, write_if_free, write_once},
     .finish = unlocked_by_now},
    {.name = "a reader gives up",
     .setup = setup,
     .threads = {read_in_time, write_once},
     .finish = unlocked_by_now,
     .spurious = 1,
     .timeouts = 1},
    {.name = "a reader gives up beside another",
     .setup = setup_spinning,
     .threads = {read_at_once, read_once, write_once},
     .finish = unlocked_by_now},
    {.name = "a reader gives up while it reads",
     .setup = setup,
     .threads = {read_giving_up, write_twice},
     .finish = unlocked_by_now},
    {.name = "a writer gives up",
     .setup = setup,
     .threads = {read_once, write_in_time},
     .finish = unlocked_by_now,
     .timeouts = 1},
    {.name = "a writer gives up beside another",
     .setup = setup,
     .threads = {write_in_time, write_once},
     .finish = unlocked_by_now,
     .timeouts = 1},
    {.name = "a writer gives up beside a reader and another",
     .setup = setup_spinning,
     .threads = {read_once, write_if_free, write_once},
     .finish = unlocked_by_now},
    {.name = "two writers with deadlines",
     .setup = setup,
     .threads = {write_in_time, write_in_time},
     .finish = unlocked_by_now,
     .timeouts = 1},
    {.name = "a writer gives up twice and comes back, beside readers that miss it all",
     .setup = setup_spinning,
     .threads = {read_once, read_once, give_up_and_come_back},
     .finish = unlocked_by_now},
    {.name = "two readers that upgrade",
     .setup = setup,
     .threads = {upgrade, upgrade},
     .finish = one_upgraded},
    {.name = "a reader that upgrades, and a writer",
     .setup = setup,
     .threads = {upgrade, write_once},
     .finish = unlocked_by_now},
    {.name = "a reader that upgrades, and a reader",
     .setup = setup,
     .threads = {upgrade, read_once},
     .finish = unlocked_by_now},
    {.name = "two readers that upgrade without waiting",
     .setup = setup,
     .threads = {upgrade_if_alone, upgrade_if_alone},
     .finish = unlocked_by_now},
    {.name = "a writer that becomes a reader, and a writer",
     .setup = setup,
     .threads = {downgrade, write_once},
     .finish = unlocked_by_now},
    {.name = "a writer that becomes a reader, and a reader",
     .setup = setup,
     .threads = {downgrade, read_once},
     .finish = unlocked_by_now},
    {.name = "two readers of a checking build",
     .setup = setup,
     .threads = {checked_read_once, checked_read_once},
     .finish = unlocked_by_now},

    {.name = "broken: phases of one bit, where writers give up",
     .setup = setup,
     .threads = {read_once, read_once, give_up_in_two_phases},
     .expect = "deadlock"},
    {.name = "broken: a reader that looks, then counts itself",
     .setup = setup,
     .threads = {read_looking_first, write_once},
     .expect = "data race"},
    {.name = "broken: a reader that gives up as if it had read",
     .setup = setup,
     .threads = {read_leaving, write_once},
     .expect = "deadlock"},
    {.name = "broken: a reader that leaves and wakes nobody",
     .setup = setup,
     .threads = {read_and_leave_silently, write_once},
     .expect = "deadlock"},
};

int main(int argc, char **argv)
{
	return explore_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
