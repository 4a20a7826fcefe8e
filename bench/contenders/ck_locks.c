// SPDX-License-Identifier: BSD-2-Clause
#include <ck_spinlock.h>

#include "lock_loops.h"

LOCK_CONTENDER(ck_fas, "Concurrency Kit fas", "ck_fas", ck_spinlock_fas_t, ck_spinlock_fas_init,
	       ck_spinlock_fas_lock, ck_spinlock_fas_unlock);
LOCK_CONTENDER(ck_ticket, "Concurrency Kit ticket", "ck_ticket", ck_spinlock_ticket_t,
	       ck_spinlock_ticket_init, ck_spinlock_ticket_lock, ck_spinlock_ticket_unlock);
