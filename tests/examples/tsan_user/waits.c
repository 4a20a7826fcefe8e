// SPDX-License-Identifier: BSD-2-Clause
// A program of somebody whose threads wait for each other with tandem's semaphores and barriers,
// and who runs it under ThreadSanitizer. As it is, there is nothing to report; with one of these
// mistakes, that one:
//
//	waits MISTAKE KIND
//
//	writes_after_post    (semaphore, fair) the giver goes on writing what it has given
//	reads_before_wait    (semaphore, fair) the taker does not wait for it
//	writes_after_phase   (barrier, robust) a party writes what others still read
//	reads_before_phase   (barrier, robust) a party reads what others have not finished
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tandem.h>

#define ROUNDS 200

static const char *mistake = "", *kind = "";
static struct tdm_segment segment;
static struct tdm_semaphore filled, emptied;
static struct tdm_semaphore_fair fair_filled, fair_emptied;
static struct tdm_barrier barrier;
// Apart: the checker remembers few accesses for each 8 bytes.
static struct {
	_Alignas(64) int value;
} parcels[1], shares[2];
static _Alignas(64) tdm_atomic_u32 step; // orders nothing for the checker

static bool makes(const char *which)
{
	return strcmp(mistake, which) == 0;
}

static bool is(const char *which)
{
	return strcmp(kind, which) == 0;
}

static void must(bool held)
{
	if (!held)
		exit(2);
}

// Out of line, so that what it looks at is always read.
static __attribute__((noinline)) void expect(int found, int wanted)
{
	if (found != wanted && mistake[0] == 0)
		exit(3);
}

static void await(uint32_t wanted)
{
	while (tdm_load_relaxed_u32(&step) < wanted)
		sched_yield();
}

// --- semaphores ---

static void give(bool there)
{
	must((is("fair") ? tdm_semaphore_fair_post(there ? &fair_filled : &fair_emptied)
			 : tdm_semaphore_post(there ? &filled : &emptied)) == TDM_OK);
}

static void take(bool there)
{
	must((is("fair") ? tdm_semaphore_fair_wait(there ? &fair_filled : &fair_emptied)
			 : tdm_semaphore_wait(there ? &filled : &emptied)) == TDM_OK);
}

static void *gives(void *unused)
{
	for (int round = 1; round <= ROUNDS; round++) {
		parcels[0].value = round;
		give(true);
		if (makes("writes_after_post"))
			parcels[0].value = -round;
		take(false);
	}
	return unused;
}

static void *takes(void *unused)
{
	for (int round = 1; round <= ROUNDS; round++) {
		if (makes("reads_before_wait") && parcels[0].value == -1)
			exit(3);
		take(true);
		expect(parcels[0].value, round);
		give(false);
	}
	return unused;
}

// --- barriers ---
// The threads tell each other by relaxed stores when it is time for a mistake: the second has left
// the last phase, then the first has done its part, and then the second makes the mistake.

#define READY 2U // both are there

static __attribute__((noinline)) void reads_early(void)
{
	if (shares[0].value == -1)
		exit(3);
}

static __attribute__((noinline)) void writes_late(void)
{
	shares[1].value = -1;
}

static void pass_turn(int mine, uint32_t moment)
{
	if (mine == 0)
		await(moment);
	else
		tdm_store_relaxed_u32(&step, moment);
}

static void take_turn(int mine, uint32_t moment, void (*mistaken)(void))
{
	if (mine == 0) {
		tdm_store_relaxed_u32(&step, moment + 1);
	} else {
		await(moment + 1);
		mistaken();
	}
}

static void meet(struct tdm_barrier_party *party)
{
	must((is("robust") ? tdm_barrier_party_wait(party, NULL)
			   : tdm_barrier_wait(&barrier, NULL)) == TDM_OK);
}

static void *meets(void *number)
{
	int mine = *(int *)number;
	struct tdm_participant self;
	struct tdm_barrier_party party;
	if (is("robust")) {
		must(tdm_segment_join(&segment, &self, "party") == TDM_OK);
		must(tdm_barrier_party_attach(&party, tdm_segment_find(&segment, "barrier"),
					      &self) == TDM_OK);
		tdm_fetch_add_relaxed_u32(&step, 1);
		await(READY);
	}
	for (int round = 1; round <= ROUNDS; round++) {
		uint32_t moment = 2 * (uint32_t)round + READY;
		if (makes("reads_before_phase"))
			pass_turn(mine, moment);
		shares[mine].value = round;
		if (makes("reads_before_phase"))
			take_turn(mine, moment, reads_early);
		meet(&party);
		if (makes("writes_after_phase"))
			pass_turn(mine, moment);
		expect(shares[!mine].value, round);
		if (makes("writes_after_phase"))
			take_turn(mine, moment, writes_late);
		meet(&party);
	}
	if (is("robust")) {
		must(tdm_barrier_party_detach(&party) == TDM_OK);
		must(tdm_participant_leave(&self) == TDM_OK);
	}
	return NULL;
}

static void run_two(void *(*first)(void *), void *(*second)(void *))
{
	pthread_t threads[2];
	int numbers[2] = {0, 1};
	must(pthread_create(&threads[0], NULL, first, &numbers[0]) == 0);
	must(pthread_create(&threads[1], NULL, second, &numbers[1]) == 0);
	for (int i = 0; i < 2; i++)
		must(pthread_join(threads[i], NULL) == 0);
}

static void go(const char *which)
{
	kind = which;
	tdm_store_relaxed_u32(&step, 0);
	if (is("semaphore") || is("fair")) {
		must(tdm_semaphore_init(&filled, 0, 1) == TDM_OK);
		must(tdm_semaphore_init(&emptied, 0, 1) == TDM_OK);
		must(tdm_semaphore_fair_init(&fair_filled, 0, 1) == TDM_OK);
		must(tdm_semaphore_fair_init(&fair_emptied, 0, 1) == TDM_OK);
		run_two(gives, takes);
	} else {
		struct tdm_object object = tdm_barrier_object("barrier", 2);
		must(tdm_barrier_init(&barrier, 2) == TDM_OK);
		must(tdm_segment_create(&segment, &object, 1, NULL) == TDM_OK);
		run_two(meets, meets);
		must(tdm_segment_close(&segment) == TDM_OK);
	}
	printf("%s\n", which);
}

int main(int argc, char **argv)
{
	static const char *const kinds[] = {"semaphore", "fair", "barrier", "robust"};
	if (argc == 3) {
		mistake = argv[1];
		go(argv[2]);
		return 0;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		go(kinds[i]);
	return 0;
}
