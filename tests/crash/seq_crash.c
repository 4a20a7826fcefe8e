// SPDX-License-Identifier: BSD-2-Clause
#include "value_seams.h"

#include <tandem/lock/seq.h>

#include "../support/broken/seq_relaxed.h"

struct item {
	uint64_t words[ITEM_WORDS];
};
TDM_SEQ_DEFINE(value, struct item);

#define FORM(op) tdm_seq_##op
#define LOCK_OF(value) (&(value)->seq)
#define KEEPS false
#include "value_crash.h"

static void half_write(struct value *value)
{
	tdm_seq_write_begin(&value->seq);
	tdm_store_relaxed_u64(&value->words[0], TORN);
}

static void writes_late(void *unused)
{
	struct item item = make(FIRST);
	(void)unused;
	world.told->begun |= 1U << FIRST;
	crash_begin();
	broken_seq_write_late(&world.value->seq, world.value->words, &item, sizeof(item));
	crash_end();
}

int main(void)
{
	run_all();
	tap_case("a writer whose sequence is never odd is caught");
	world.took_over = world.halfway = false;
	static const struct crash_case late = {"broken write", set_up, writes_late,
					       NULL,           audit,  tear_down};
	crash_must_fail(&late, 1, "a value is torn");
	world_close();
	return tap_done();
}
