// SPDX-License-Identifier: BSD-2-Clause
#include <tandem/lock/spin.h>

#include "../support/broken/lock_test_then_set.h"
#include "lock_stress_body.h"

static enum tdm_status lock(void *memory)
{
	return tdm_spin_lock(memory);
}

static enum tdm_status lock_until(void *memory, uint64_t deadline_ns)
{
	return tdm_spin_lock_until(memory, deadline_ns);
}

static bool try_lock(void *memory)
{
	return tdm_spin_try_lock(memory);
}

static enum tdm_status unlock(void *memory)
{
	return tdm_spin_unlock(memory);
}

static enum tdm_status destroy(void *memory)
{
	return tdm_spin_destroy(memory);
}

static bool broken_lock(void *memory, uint64_t deadline_ns)
{
	return broken_spin_lock(memory, deadline_ns);
}

static const struct lock_kind kind = {
    .name = "spin lock",
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
