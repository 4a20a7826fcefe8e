// SPDX-License-Identifier: BSD-2-Clause
#include "value_seams.h"

#include <tandem/lock/snapshot.h>

#include "../support/broken/snapshot_late.h"

struct item {
	uint64_t words[ITEM_WORDS];
};
TDM_SNAPSHOT_DEFINE(value, struct item);

#define FORM(op) tdm_snapshot_##op
#define LOCK_OF(value) (&(value)->snapshot)
#define KEEPS true
#include "value_crash.h"

// The next copy, all but its last word.
static void half_write(struct value *value)
{
	uint64_t next = tdm_load_relaxed_u64(&value->snapshot.version) + 1;
	size_t copy = (size_t)(next % TDM_SNAPSHOT_COPIES_);
	for (unsigned i = 0; i + 1 < ITEM_WORDS; i++)
		tdm_store_relaxed_u64(&value->words[copy * ITEM_WORDS + i], TORN);
}

static void writes_early(void *unused)
{
	struct item item = make(FIRST);
	(void)unused;
	crash_begin();
	world.told->begun |= 1U << FIRST;
	broken_snapshot_put(&world.value->snapshot, world.value->words, TDM_SNAPSHOT_COPIES_, &item,
			    sizeof(item));
	crash_end();
}

int main(void)
{
	run_all();
	tap_case("a writer that tells of a copy before it fills it is caught");
	world.took_over = world.halfway = false;
	static const struct crash_case early = {"broken write", set_up, writes_early,
						NULL,           audit,  tear_down};
	crash_must_fail(&early, 1, "nobody wrote that value");
	world_close();
	return tap_done();
}
