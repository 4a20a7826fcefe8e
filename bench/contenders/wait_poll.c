// SPDX-License-Identifier: BSD-2-Clause
// The ring with the look at the event left out of push and pop: nobody who sleeps would be woken.
#include <tandem/shm/segment.h>
#include <tandem/sync/event.h>

static inline void notify_nobody(struct tdm_event *event)
{
	(void)event;
}
#define tdm_event_notify notify_nobody

#define WAIT_CONTENDER wait_poll
#define WAIT_NAME "tandem without events"
#define WAIT_PEER "poll"
#include "wait_notify.c"
