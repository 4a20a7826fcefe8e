// SPDX-License-Identifier: BSD-2-Clause
// A program of somebody who shares data under tandem's readers-writer locks, a plain one and a
// robust one in a segment, and runs it under ThreadSanitizer. As it is, there is nothing to report;
// with one of these mistakes, that one:
//
//	readers MISTAKE KIND
//
//	writes_outside    the data are written after the lock was given up
//	writes_reading    they are written under the lock for reading, by two
//	writes_downgraded they are written by one that has become a reader
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tandem.h>

#define TURNS 100

static const char *mistake = "";
static bool robust;
static struct tdm_segment segment;
static struct tdm_rw plain; // zero-filled, and so it is unlocked
static struct tdm_robust_rw *shared;
static long prices[2];
static tdm_atomic_u32 written;       // writers that are done; orders nothing
static pthread_barrier_t begin, end; // joining goes through a mutex, so all do it before

static bool makes(const char *which)
{
	return strcmp(mistake, which) == 0;
}

static void must(bool held)
{
	if (!held)
		exit(2);
}

static void read_lock(struct tdm_participant *self)
{
	must((robust ? tdm_robust_rw_read_lock(shared, self) : tdm_rw_read_lock(&plain)) == TDM_OK);
}

static void read_unlock(struct tdm_participant *self)
{
	must((robust ? tdm_robust_rw_read_unlock(shared, self) : tdm_rw_read_unlock(&plain)) ==
	     TDM_OK);
}

static void write_lock(struct tdm_participant *self)
{
	must((robust ? tdm_robust_rw_write_lock(shared, self) : tdm_rw_write_lock(&plain)) ==
	     TDM_OK);
}

static void write_unlock(struct tdm_participant *self)
{
	must((robust ? tdm_robust_rw_write_unlock(shared, self) : tdm_rw_write_unlock(&plain)) ==
	     TDM_OK);
}

static void change(void)
{
	prices[0]++;
	prices[1]++;
}

static void look(struct tdm_participant *self)
{
	read_lock(self);
	must(prices[0] == prices[1] || *mistake != '\0');
	if (makes("writes_reading"))
		change();
	read_unlock(self);
}

static void raise_prices(struct tdm_participant *self)
{
	write_lock(self);
	change();
	must((robust ? tdm_robust_rw_downgrade(shared, self) : tdm_rw_downgrade(&plain)) == TDM_OK);
	must(prices[0] == prices[1] || *mistake != '\0');
	if (makes("writes_downgraded"))
		change();
	read_unlock(self);
	if (makes("writes_outside"))
		change();
	if (*mistake != '\0')
		return;
	read_lock(self);
	if ((robust ? tdm_robust_rw_try_upgrade(shared, self) : tdm_rw_try_upgrade(&plain)) ==
	    TDM_OK) {
		change();
		write_unlock(self);
	} else {
		read_unlock(self);
	}
}

static void *run(void *writes)
{
	struct tdm_participant self;
	must(tdm_segment_join(&segment, &self, "thread") == TDM_OK);
	pthread_barrier_wait(&begin);
	for (int i = 0; i < TURNS && writes != NULL; i++)
		raise_prices(&self);
	tdm_fetch_add_relaxed_u32(&written, writes != NULL);
	for (int i = 0; i < TURNS && writes == NULL; i++)
		look(&self);
	while (tdm_load_relaxed_u32(&written) != 2) // ThreadSanitizer's memory is short
		sched_yield();
	look(&self);
	pthread_barrier_wait(&end);
	must(tdm_participant_leave(&self) == TDM_OK);
	return NULL;
}

static void work(void)
{
	tdm_store_relaxed_u32(&written, 0);
	pthread_t threads[4];
	for (size_t i = 0; i < 4; i++)
		must(pthread_create(&threads[i], NULL, run, i < 2 ? &plain : NULL) == 0);
	pthread_barrier_wait(&begin);
	pthread_barrier_wait(&end);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
	struct tdm_object object = tdm_robust_rw_object("lock", TDM_RW_FAIR);
	must(pthread_barrier_init(&begin, NULL, 5) == 0);
	must(pthread_barrier_init(&end, NULL, 5) == 0);
	mistake = argc > 1 ? argv[1] : "";
	must(tdm_segment_create(&segment, &object, 1, NULL) == TDM_OK);
	must(tdm_robust_rw_open(tdm_segment_find(&segment, "lock"), &shared) == TDM_OK);
	if (argc < 3 || strcmp(argv[2], "robust") != 0)
		work();
	robust = true;
	if (argc < 3 || strcmp(argv[2], "plain") != 0)
		work();
	must(tdm_rw_destroy(&plain) == TDM_OK);
	must(tdm_segment_close(&segment) == TDM_OK);
	printf("readers: plain and robust\n");
	return 0;
}
