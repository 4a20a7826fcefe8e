// SPDX-License-Identifier: BSD-2-Clause
// A program of somebody who shares data under tandem's mutexes, plain ones and robust ones in a
// segment, and runs it under ThreadSanitizer. As it is, there is nothing to report; with one of
// these mistakes, that one:
//
//	mutexes MISTAKE
//
//	reads_outside     the data are read after the mutex was given up
//	writes_after_try  they are written although try_lock did not answer TDM_OK
//	locks_backwards   two mutexes are taken in two orders
//	unlocks_twice     what is not locked is unlocked
//	unlocks_foreign   what another thread holds is unlocked
//	ends_inside       a thread ends and has it locked; the next one is told, and repairs
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tandem.h>

#define TURNS 2000

struct account {
	struct tdm_mutex mutex;
	long balance;
};

struct bank {
	struct account from, to;
};

static const char *mistake = "";
static struct bank plain; // zero-filled, and so it is unlocked
static struct tdm_segment segment;

// A thread: what it does, where, and as whom.
struct clerk {
	void (*body)(struct bank *bank, struct tdm_participant *self);
	struct bank *bank;
};

static bool makes(const char *which)
{
	return strcmp(mistake, which) == 0;
}

static void must(bool held)
{
	if (!held)
		exit(2);
}

static bool is_robust(const struct bank *bank)
{
	return bank != &plain;
}

static void *run(void *argument)
{
	const struct clerk *clerk = argument;
	struct tdm_participant self;
	if (is_robust(clerk->bank))
		must(tdm_segment_join(&segment, &self, "clerk") == TDM_OK);
	clerk->body(clerk->bank, is_robust(clerk->bank) ? &self : NULL);
	if (is_robust(clerk->bank))
		must(tdm_participant_leave(&self) == TDM_OK);
	return NULL;
}

static void run_two(struct clerk *first, struct clerk *second)
{
	pthread_t threads[2];
	must(pthread_create(&threads[0], NULL, run, first) == 0);
	must(pthread_create(&threads[1], NULL, run, second) == 0);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
}

static void run_one(struct clerk *clerk)
{
	pthread_t thread;
	must(pthread_create(&thread, NULL, run, clerk) == 0);
	pthread_join(thread, NULL);
}

static void transfer(struct account *first, struct account *second, struct tdm_participant *self)
{
	must(tdm_mutex_lock(&first->mutex, self) == TDM_OK);
	must(tdm_mutex_lock(&second->mutex, self) == TDM_OK);
	first->balance--;
	second->balance++;
	must(tdm_mutex_unlock(&second->mutex, self) == TDM_OK);
	must(tdm_mutex_unlock(&first->mutex, self) == TDM_OK);
}

static void forwards(struct bank *bank, struct tdm_participant *self)
{
	transfer(&bank->from, &bank->to, self);
}

static void backwards(struct bank *bank, struct tdm_participant *self)
{
	transfer(&bank->to, &bank->from, self);
}

static void try_it(struct bank *bank, struct tdm_participant *self)
{
	if (tdm_mutex_try_lock(&bank->to.mutex, self) == TDM_OK) {
		bank->to.balance++;
		must(tdm_mutex_unlock(&bank->to.mutex, self) == TDM_OK);
	} else if (makes("writes_after_try")) {
		bank->to.balance++;
	}
}

static void keep_books(struct bank *bank, struct tdm_participant *self)
{
	for (int i = 0; i < TURNS; i++) {
		forwards(bank, self);
		try_it(bank, self);
		enum tdm_status status =
		    tdm_mutex_lock_until(&bank->to.mutex, self, tdm_deadline_after_ns(100000));
		if (status == TDM_OK) {
			bank->to.balance--;
			must(tdm_mutex_unlock(&bank->to.mutex, self) == TDM_OK);
		}
	}
}

static void unlock(struct bank *bank, struct tdm_participant *self)
{
	(void)tdm_mutex_unlock(&bank->to.mutex, self);
}

static void end_inside(struct bank *bank, struct tdm_participant *self)
{
	must(tdm_mutex_lock(&bank->to.mutex, self) == TDM_OK);
	bank->to.balance = -1;
}

static void repair(struct bank *bank, struct tdm_participant *self)
{
	must(tdm_mutex_lock(&bank->to.mutex, self) == TDM_OWNER_DIED);
	bank->to.balance = 0;
	must(tdm_mutex_make_consistent(&bank->to.mutex, self) == TDM_OK);
	must(tdm_mutex_unlock(&bank->to.mutex, self) == TDM_OK);
}

static void work(struct bank *bank, struct tdm_participant *self)
{
	struct clerk books = {keep_books, bank}, trier = {try_it, bank};
	run_two(&books, &books);
	if (makes("locks_backwards")) {
		// One after the other: nobody is ever stuck, and it is a mistake nevertheless.
		struct clerk back = {backwards, bank};
		run_one(&back);
	}
	must(tdm_mutex_lock(&bank->to.mutex, self) == TDM_OK);
	bank->to.balance++;
	pthread_t thread;
	must(pthread_create(&thread, NULL, run, &trier) == 0);
	bank->to.balance++;
	pthread_join(thread, NULL);
	if (makes("unlocks_foreign")) {
		struct clerk thief = {unlock, bank};
		run_one(&thief);
	}
	unlock(bank, self);
	must(pthread_create(&thread, NULL, run, &trier) == 0);
	if (makes("reads_outside") && bank->to.balance == 1234567)
		exit(2);
	pthread_join(thread, NULL);
	if (makes("unlocks_twice"))
		unlock(bank, self);
	if (makes("ends_inside") && is_robust(bank)) {
		struct clerk ends = {end_inside, bank}, next = {repair, bank};
		run_one(&ends);
		run_one(&next);
	}
	must(tdm_mutex_destroy(&bank->from.mutex) == TDM_OK);
}

int main(int argc, char **argv)
{
	struct tdm_object object = tdm_bytes_object("bank", sizeof(struct bank), 64, NULL);
	struct tdm_segment_options options = {.sealed = true};
	struct tdm_participant self;
	mistake = argc > 1 ? argv[1] : "";
	must(tdm_segment_create(&segment, &object, 1, &options) == TDM_OK);
	must(tdm_segment_join(&segment, &self, "main") == TDM_OK);
	struct bank *robust = tdm_segment_find(&segment, "bank").base;
	must(tdm_mutex_init(&robust->from.mutex, TDM_MUTEX_ROBUST) == TDM_OK);
	must(tdm_mutex_init(&robust->to.mutex, TDM_MUTEX_ROBUST | TDM_MUTEX_RECURSIVE) == TDM_OK);
	if (argc < 3 || strcmp(argv[2], "robust") != 0)
		work(&plain, NULL);
	if (argc < 3 || strcmp(argv[2], "plain") != 0)
		work(robust, &self);
	must(tdm_participant_leave(&self) == TDM_OK);
	must(tdm_segment_close(&segment) == TDM_OK);
	printf("mutexes: plain and robust\n");
	return 0;
}
