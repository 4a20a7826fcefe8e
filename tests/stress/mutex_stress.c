// SPDX-License-Identifier: BSD-2-Clause
// The plain mutex, whose waiters sleep or (MUTEX_FLAGS) spin. Robust ones: crash/lock_storm.c.
#include <tandem/lock/mutex.h>

#include "../support/broken/mutex_test_then_set.h"
#include "lock_stress_body.h"

#ifndef MUTEX_FLAGS
#	define MUTEX_FLAGS 0
#endif

static void make(void *memory)
{
	if (tdm_mutex_init(memory, MUTEX_FLAGS) != TDM_OK)
		abort();
}

static enum tdm_status lock(void *memory)
{
	return tdm_mutex_lock(memory, NULL);
}

static enum tdm_status lock_until(void *memory, uint64_t deadline_ns)
{
	return tdm_mutex_lock_until(memory, NULL, deadline_ns);
}

static bool try_lock(void *memory)
{
	return tdm_mutex_try_lock(memory, NULL) == TDM_OK;
}

static enum tdm_status unlock(void *memory)
{
	return tdm_mutex_unlock(memory, NULL);
}

static enum tdm_status destroy(void *memory)
{
	return tdm_mutex_destroy(memory);
}

static bool broken_lock(void *memory, uint64_t deadline_ns)
{
	return broken_mutex_lock(memory, deadline_ns);
}

static const struct lock_kind kind = {
    .name = "mutex",
    .make = make,
    .lock = lock,
    .lock_until = lock_until,
    .try_lock = try_lock,
    .unlock = unlock,
    .destroy = destroy,
    .broken_lock = broken_lock,
};

int main(void)
{
	return lock_stress(&kind);
}
