// SPDX-License-Identifier: BSD-2-Clause
// lock/snapshot.h: torn reads are impossible, whoever writes, and there is always a value, wherever
// writers die. With 2 copies, where the next write but one overwrites what a reader is at; and with
// the 4 that are shipped.
#include "explore.h"

#include <string.h>

#include <tandem/lock/snapshot.h>

#include "../support/broken/snapshot_late.h"

struct pair {
	uint64_t left, right;
};
TDM_SNAPSHOT_DEFINE_(value, struct pair, 2U);
TDM_SNAPSHOT_DEFINE(four, struct pair);

#define FORM(op) tdm_snapshot_##op
#define LOCK_OF(value) (&(value)->snapshot)
#define KEEPS true
#include "value_explore.h"

// --- as it is shipped ---

static struct four *four;

static void four_copies(void)
{
	plain_value();
	four = explore_memory(sizeof(*four));
	explore_name(four, sizeof(*four), "four");
}

// Each copy is filled twice.
static void write_eight(void)
{
	EXPLORE_CHECK(ok(tdm_snapshot_try_lock(&four->snapshot, self())), "nobody else writes");
	for (uint64_t number = 1; number <= 8; number++) {
		struct pair value = make(number);
		EXPLORE_CHECK(ok(four_store(four, self(), &value)), "who has the role stores");
	}
	EXPLORE_CHECK(ok(tdm_snapshot_unlock(&four->snapshot, self())), "the role is given back");
}

// One attempt, so that what makes it fail is seen.
static void read_once_of_four(void)
{
	struct pair value = {0, 0};
	uint64_t before = tdm_load_relaxed_u64(&four->snapshot.version);
	bool read = tdm_snapshot_read_once_(&four->snapshot, four->words, TDM_SNAPSHOT_COPIES_,
					    &value, sizeof(value));
	uint64_t after = tdm_load_relaxed_u64(&four->snapshot.version);
	if (read) {
		check_whole(&value);
		EXPLORE_CHECK(value.left >= before && value.left <= after, "it is of its time");
	} else {
		EXPLORE_CHECK(after - before >= 3, "an attempt fails only where 3 writes ended");
	}
}

// --- a reader never waits ---

// Beside one write an attempt always succeeds, also where its writer is dead.
static void read_at_once(void)
{
	struct pair value = {0, 0};
	uint64_t begun = tdm_load_relaxed_u64(&four->snapshot.version);
	EXPLORE_CHECK(tdm_snapshot_read_once_(&four->snapshot, four->words, TDM_SNAPSHOT_COPIES_,
					      &value, sizeof(value)),
		      "there is a value at once");
	check_whole(&value);
	EXPLORE_CHECK(value.left >= begun, "no value comes back");
}

static void write_four(void)
{
	struct pair value = make(1);
	EXPLORE_CHECK(ok(four_try_write(four, TDM_NULL, &value)), "it is written");
}

// --- broken variants ---

static void read_late(void)
{
	struct pair value = {0, 0};
	if (broken_snapshot_read(&it->snapshot, it->words, 2, &value, sizeof(value)))
		check_halves(&value);
}

static void write_early(void)
{
	struct pair value = {1, 1};
	broken_snapshot_put(&it->snapshot, it->words, 2, &value, sizeof(value));
}

static const struct explore_case cases[] = {
    VALUE_CASES,
    {.name = "four copies, each filled twice, and a reader",
     .setup = four_copies,
     .threads = {write_eight, read_once_of_four}},
    {.name = "four copies, a writer that dies anywhere, and two readers",
     .setup = four_copies,
     .threads = {write_four, read_at_once, read_at_once},
     .can_die = 1,
     .deaths = 1},
    {.name = "a reader that looks one write too far is caught",
     .setup = plain_value,
     .threads = {store_three, read_late},
     .expect = "a value is not torn"},
    {.name = "a writer that tells of a copy before it fills it is caught",
     .setup = plain_value,
     .threads = {write_early, read_halves},
     .expect = "a value is not torn"},
};

int main(int argc, char **argv)
{
	return explore_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
