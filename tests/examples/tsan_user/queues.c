// SPDX-License-Identifier: BSD-2-Clause
// A program of somebody whose threads queue for data in a segment, under tandem's robust ticket
// locks, and who runs it under ThreadSanitizer. As it is, there is nothing to report; with one of
// these mistakes, that one:
//
//	queues MISTAKE
//
//	reads_outside     the data are read after the lock was given up
//	writes_after_try  they are written although try_lock did not answer TDM_OK
//	locks_backwards   two locks are taken in two orders
//	unlocks_twice     what is not locked is unlocked
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tandem.h>

#define TURNS 1000

static const char *mistake = "";
static struct tdm_segment segment;
static struct tdm_robust_ticket *first, *second;
static long *served; // under the first

static bool makes(const char *which)
{
	return strcmp(mistake, which) == 0;
}

static void must(bool held)
{
	if (!held)
		exit(2);
}

static void take(struct tdm_robust_ticket *lock, struct tdm_participant *self)
{
	must(tdm_robust_ticket_lock(lock, self) == TDM_OK);
}

static void give(struct tdm_robust_ticket *lock, struct tdm_participant *self)
{
	must(tdm_robust_ticket_unlock(lock, self) == TDM_OK);
}

static void queue(struct tdm_participant *self)
{
	for (int i = 0; i < TURNS; i++) {
		take(first, self);
		take(second, self);
		++*served;
		give(second, self);
		give(first, self);
		if (tdm_robust_ticket_lock_until(first, self, tdm_deadline_after_ns(50000)) !=
		    TDM_OK)
			continue;
		++*served;
		give(first, self);
	}
}

static void try_it(struct tdm_participant *self)
{
	bool held = tdm_robust_ticket_try_lock(first, self) == TDM_OK;
	if (held || makes("writes_after_try"))
		++*served;
	if (held)
		give(first, self);
}

static void backwards(struct tdm_participant *self)
{
	take(second, self);
	take(first, self);
	give(first, self);
	give(second, self);
}

// A thread's body, as a participant.
struct body {
	void (*act)(struct tdm_participant *self);
};

static void *run(void *body)
{
	struct tdm_participant self;
	must(tdm_segment_join(&segment, &self, "one") == TDM_OK);
	((const struct body *)body)->act(&self);
	must(tdm_participant_leave(&self) == TDM_OK);
	return NULL;
}

static pthread_t start(struct body *body)
{
	pthread_t thread;
	must(pthread_create(&thread, NULL, run, body) == 0);
	return thread;
}

int main(int argc, char **argv)
{
	struct tdm_object objects[] = {
	    tdm_robust_ticket_object("first"),
	    tdm_robust_ticket_object("second"),
	    tdm_bytes_object("served", sizeof(long), 64, NULL),
	};
	struct tdm_segment_options options = {.sealed = true};
	struct tdm_participant self;
	struct body queues = {queue}, tries = {try_it}, goes_back = {backwards};
	mistake = argc > 1 ? argv[1] : "";
	must(tdm_segment_create(&segment, objects, 3, &options) == TDM_OK);
	must(tdm_segment_join(&segment, &self, "main") == TDM_OK);
	struct tdm_span at = tdm_segment_find(&segment, "first");
	must(tdm_robust_ticket_attach(&first, at, &self) == TDM_OK);
	at = tdm_segment_find(&segment, "second");
	must(tdm_robust_ticket_attach(&second, at, &self) == TDM_OK);
	served = tdm_segment_find(&segment, "served").base;

	pthread_t threads[] = {start(&queues), start(&queues), start(&queues)};
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	if (makes("locks_backwards")) // nobody is ever stuck, and it is a mistake nevertheless
		pthread_join(start(&goes_back), NULL);
	take(first, &self);
	pthread_t trier = start(&tries);
	++*served;
	pthread_join(trier, NULL);
	give(first, &self);
	trier = start(&tries);
	if (makes("reads_outside") && *served == 0)
		exit(2);
	pthread_join(trier, NULL);
	if (makes("unlocks_twice"))
		(void)tdm_robust_ticket_unlock(first, &self);
	must(*served > 3 * TURNS && tdm_robust_ticket_try_lock(first, &self) == TDM_OK);
	give(first, &self);
	must(tdm_participant_leave(&self) == TDM_OK);
	must(tdm_segment_close(&segment) == TDM_OK);
	printf("queues: robust\n");
	return 0;
}
