// SPDX-License-Identifier: BSD-2-Clause
// lock/seq.h: torn reads are impossible, whoever writes, and wherever a writer dies.
#include "explore.h"

#include <string.h>

#include <tandem/lock/seq.h>

#include "../support/broken/seq_relaxed.h"

struct pair {
	uint64_t left, right;
};
TDM_SEQ_DEFINE(value, struct pair);

#define FORM(op) tdm_seq_##op
#define LOCK_OF(value) (&(value)->seq)
#define KEEPS false
#include "value_explore.h"

// --- a user's own words ---

static void write_words(void)
{
	for (uint64_t number = 1; number <= 2; number++) {
		notes[number] = number;
		EXPLORE_CHECK(ok(tdm_seq_try_lock(&it->seq, self())), "nobody else writes");
		tdm_seq_write_begin(&it->seq);
		tdm_store_release_u64(&it->words[0], number);
		tdm_store_release_u64(&it->words[1], number);
		tdm_seq_write_end(&it->seq);
		EXPLORE_CHECK(ok(tdm_seq_unlock(&it->seq, self())), "the role is given back");
	}
}

static void read_words(void)
{
	struct pair value = {0, 0};
	uint64_t begun = tdm_seq_read_begin(&it->seq);
	value.left = tdm_load_acquire_u64(&it->words[0]);
	value.right = tdm_load_acquire_u64(&it->words[1]);
	if (!tdm_seq_read_retry(&it->seq, begun))
		check_whole(&value);
}

// --- a value that does not fill its last word ---

struct part {
	uint32_t left[2], right;
};
TDM_SEQ_DEFINE(parts, struct part);
static struct parts *part;

static void part_value(void)
{
	plain_value();
	part = explore_memory(sizeof(*part));
	explore_name(part, sizeof(*part), "part");
}

static void write_parts(void)
{
	EXPLORE_CHECK(ok(tdm_seq_try_lock(&part->seq, self())), "nobody else writes");
	for (uint32_t number = 1; number <= 2; number++) {
		struct part value = {{number, number}, number};
		EXPLORE_CHECK(ok(parts_store(part, self(), &value)), "who has the role stores");
	}
}

static void read_part(void)
{
	struct part value = {{0, 0}, 0};
	if (ok(parts_try_read(part, &value)))
		EXPLORE_CHECK(value.left[1] == value.right, "a value is not torn");
}

// --- who dies, and the next one unlocks without having written ---

static void unlock_unwritten(void)
{
	enum tdm_status status = tdm_seq_try_lock(&it->seq, self());
	if (status == TDM_BUSY)
		return;
	EXPLORE_CHECK(ok(status) || status == TDM_OWNER_DIED, "a writer gets the role");
	EXPLORE_CHECK(ok(tdm_seq_unlock(&it->seq, self())), "the role is given back");
}

// --- broken variants ---

static void read_brokenly(void)
{
	struct pair value = {0, 0};
	if (ok(broken_seq_read(&it->seq, it->words, &value.left, &value.right)))
		check_halves(&value);
}

static void write_brokenly(void)
{
	broken_seq_write(&it->seq, it->words, 1);
	broken_seq_write(&it->seq, it->words, 2);
}

static void write_late(void)
{
	struct pair value = {1, 1};
	broken_seq_write_late(&it->seq, it->words, &value, sizeof(value));
}

static const struct explore_case cases[] = {
    VALUE_CASES,
    {.name = "a user's own words",
     .setup = plain_value,
     .threads = {write_words, read_words},
     .finish = next_one_writes},
    {.name = "a value that does not fill its last word",
     .setup = part_value,
     .threads = {write_parts, read_part}},
    {.name = "a writer that dies anywhere, and one that unlocks without having written",
     .setup = robust_value,
     .threads = {write_one, unlock_unwritten, read_any},
     .finish = next_one_writes,
     .can_die = 1,
     .deaths = 1},
    {.name = "a reader that reads words without order is caught",
     .setup = plain_value,
     .threads = {store_two, read_brokenly},
     .expect = "a value is not torn"},
    {.name = "a writer that writes words without order is caught",
     .setup = plain_value,
     .threads = {write_brokenly, read_halves},
     .expect = "a value is not torn"},
    {.name = "a writer whose sequence is never odd is caught",
     .setup = plain_value,
     .threads = {write_late, read_halves},
     .can_die = 1,
     .deaths = 1,
     .expect = "a value is not torn"},
};

int main(int argc, char **argv)
{
	return explore_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
