// SPDX-License-Identifier: BSD-2-Clause
// lock/spin.h: one at a time, and each sees what those before it did.
#include "explore.h"

#include <tandem/base/syscall.h>
#define tdm_thread_id_() (explore_thread() + 1)

#include <tandem/lock/spin.h>

#include "../support/broken/lock_test_then_set.h"

#define FORM(op) tdm_spin_##op
#define LOCK tdm_spin
#define broken_lock broken_spin_lock
#include "lock_explore.h"

static const struct explore_case cases[] = {LOCK_CASES};

LOCK_MAIN(cases)
