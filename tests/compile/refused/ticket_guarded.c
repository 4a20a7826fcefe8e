// SPDX-License-Identifier: BSD-2-Clause
// refused: touching what a ticket lock guards without the lock
// only clang: -Wthread-safety
// expect: requires holding mutex
#include <tandem/lock/ticket.h>

static struct tdm_ticket lock;
static int guarded __attribute__((guarded_by(lock)));

void add(void);
void add(void)
{
#ifndef WRONG
	tdm_ticket_lock(&lock);
#endif
	guarded++;
#ifndef WRONG
	tdm_ticket_unlock(&lock);
#endif
}

void add_if_free(void);
void add_if_free(void)
{
	if (!tdm_ticket_try_lock(&lock))
		return;
	guarded++;
	tdm_ticket_unlock(&lock);
}

void add_in_time(uint64_t deadline_ns);
void add_in_time(uint64_t deadline_ns)
{
	if (!tdm_ticket_lock_until(&lock, deadline_ns)) {
		guarded++;
		tdm_ticket_unlock(&lock);
	}
}
