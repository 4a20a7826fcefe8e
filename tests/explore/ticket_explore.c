// SPDX-License-Identifier: BSD-2-Clause
// lock/ticket.h: one at a time, each sees what those before it did, and first come, first served.
#include "explore.h"

#include <tandem/base/syscall.h>
#define tdm_thread_id_() (explore_thread() + 1)

#include <tandem/lock/ticket.h>

#include "../support/broken/lock_test_then_set.h"

#define FORM(op) tdm_ticket_##op
#define LOCK tdm_ticket
#define broken_lock broken_ticket_lock
#include "lock_explore.h"

// The tickets that come next are the last ones before they wrap around.
static void setup_wrap(void)
{
	setup();
	tdm_store_relaxed_u32(&lock->next, UINT32_MAX);
	tdm_store_relaxed_u32(&lock->serving, UINT32_MAX);
}

// Thread t asks when t others have.
static void lock_in_turn(void)
{
	explore_await_begin();
	while (tdm_load_relaxed_u32(&lock->next) != explore_thread())
		explore_await_change();
	EXPLORE_CHECK(tdm_ticket_lock(lock) == TDM_OK, "it is locked in the end");
	EXPLORE_CHECK(data == explore_thread(), "who asks first is first");
	work();
}

static const struct explore_case cases[] = {
    LOCK_CASES{.name = MODE "three in turn",
	       .setup = setup,
	       .threads = {lock_in_turn, lock_in_turn, lock_in_turn},
	       .finish = finish},
    {.name = MODE "three lock while tickets wrap around",
     .setup = setup_wrap,
     .threads = {lock_once, lock_once, try_once},
     .finish = finish},
};

LOCK_MAIN(cases)
