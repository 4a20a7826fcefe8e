// SPDX-License-Identifier: BSD-2-Clause
// The robust ticket lock, among the living: every thread joins when it first asks, and dies with
// its thread. Deaths while it is held or queued for: crash/robust_ticket_crash.c.
#include <tandem/lock/robust_ticket.h>
#include <tandem/shm/segment.h>

#include "../support/broken/robust_ticket.h"
#include "lock_stress_body.h"

static struct tdm_segment segment; // of the run
static struct tdm_participant keeper;
static struct tdm_robust_ticket *queue;
static __thread struct tdm_participant own;

static struct tdm_participant *self(void)
{
	if (own.lock == NULL && tdm_segment_join(&segment, &own, "party") != TDM_OK)
		abort();
	return &own;
}

// It lies in a segment, and not in the memory that all kinds are given.
static void make(void *memory)
{
	struct tdm_segment_options options = {.sealed = true, .seats = PARTIES_MAX + 1};
	struct tdm_object object = tdm_robust_ticket_object("queue");
	(void)memory;
	if (keeper.lock != NULL &&
	    (tdm_participant_leave(&keeper) != TDM_OK || tdm_segment_close(&segment) != TDM_OK))
		abort();
	if (tdm_segment_create(&segment, &object, 1, &options) != TDM_OK ||
	    tdm_segment_join(&segment, &keeper, "keeper") != TDM_OK ||
	    tdm_robust_ticket_attach(&queue, tdm_segment_find(&segment, "queue"), &keeper) !=
		TDM_OK)
		abort();
}

static enum tdm_status lock(void *memory)
{
	(void)memory;
	return tdm_robust_ticket_lock(queue, self());
}

static enum tdm_status lock_until(void *memory, uint64_t deadline_ns)
{
	(void)memory;
	return tdm_robust_ticket_lock_until(queue, self(), deadline_ns);
}

static bool try_lock(void *memory)
{
	(void)memory;
	enum tdm_status status = tdm_robust_ticket_try_lock(queue, self());
	CHECK(status == TDM_OK || status == TDM_BUSY);
	return status == TDM_OK;
}

static enum tdm_status unlock(void *memory)
{
	(void)memory;
	return tdm_robust_ticket_unlock(queue, self());
}

// It is free, and nobody queues.
static enum tdm_status destroy(void *memory)
{
	(void)memory;
	enum tdm_status status = tdm_robust_ticket_try_lock(queue, &keeper);
	return status == TDM_OK ? tdm_robust_ticket_unlock(queue, &keeper) : status;
}

static bool broken_lock(void *memory, uint64_t deadline_ns)
{
	(void)memory;
	return broken_robust_ticket_lock(queue, self(), deadline_ns);
}

static const struct lock_kind kind = {
    .name = "robust ticket lock",
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
