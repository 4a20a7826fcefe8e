// SPDX-License-Identifier: BSD-2-Clause
// refused: touching what a spin lock guards without the lock
// only clang: -Wthread-safety
// expect: requires holding mutex
#include <tandem/lock/spin.h>

static struct tdm_spin lock;
static int guarded __attribute__((guarded_by(lock)));

void add(void);
void add(void)
{
#ifndef WRONG
	tdm_spin_lock(&lock);
#endif
	guarded++;
#ifndef WRONG
	tdm_spin_unlock(&lock);
#endif
}

void add_if_free(void);
void add_if_free(void)
{
	if (!tdm_spin_try_lock(&lock))
		return;
	guarded++;
	tdm_spin_unlock(&lock);
}

void add_in_time(uint64_t deadline_ns);
void add_in_time(uint64_t deadline_ns)
{
	if (!tdm_spin_lock_until(&lock, deadline_ns)) {
		guarded++;
		tdm_spin_unlock(&lock);
	}
}
