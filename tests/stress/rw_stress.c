// SPDX-License-Identifier: BSD-2-Clause
// Both readers-writer locks, in threads and in processes, with as many parties as CPUs, twice and
// four times as many: no reader sees half a write, and every write counts.
#include <tandem.h>

#include "../support/child.h"

#define ROUNDS 3000U
#define PARTIES_MAX 32U

// What the parties share.
struct shared {
	TDM_ALIGNAS(TDM_CACHE_LINE) struct tdm_rw rw;
	TDM_ALIGNAS(TDM_CACHE_LINE) uint64_t words[16]; // all equal
};

static struct tdm_segment segment;
static struct shared *shared;
static struct tdm_robust_rw *robust; // NULL: the plain one is used

static void read_words(struct tdm_participant *self)
{
	CHECK_STATUS(robust ? tdm_robust_rw_read_lock(robust, self) : tdm_rw_read_lock(&shared->rw),
		     TDM_OK);
	uint64_t first = shared->words[0];
	for (int i = 1; i < 16; i++)
		CHECK_EQ_U64(shared->words[i], first);
	CHECK_STATUS(robust ? tdm_robust_rw_read_unlock(robust, self)
			    : tdm_rw_read_unlock(&shared->rw),
		     TDM_OK);
}

static void write_words(struct tdm_participant *self, bool yields)
{
	CHECK_STATUS(robust ? tdm_robust_rw_write_lock(robust, self)
			    : tdm_rw_write_lock(&shared->rw),
		     TDM_OK);
	for (int i = 0; i < 16; i++) {
		shared->words[i]++;
		if (yields && i == 7)
			sched_yield();
	}
	CHECK_STATUS(robust ? tdm_robust_rw_write_unlock(robust, self)
			    : tdm_rw_write_unlock(&shared->rw),
		     TDM_OK);
}

static void take_part(void *unused)
{
	struct tdm_participant self;
	(void)unused;
	CHECK_STATUS(tdm_segment_join(&segment, &self, "party"), TDM_OK);
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (i % 8 == 0)
			write_words(&self, i % 64 == 0);
		else
			read_words(&self);
	}
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
}

static void *take_part_in_thread(void *unused)
{
	take_part(unused);
	return NULL;
}

static void run(unsigned parties, bool processes)
{
	pthread_t threads[PARTIES_MAX];
	pid_t children[PARTIES_MAX];
	memset(shared->words, 0, sizeof(shared->words));
	for (unsigned i = 0; i < parties; i++) {
		if (processes)
			children[i] = child_start(take_part, NULL);
		else if (pthread_create(&threads[i], NULL, take_part_in_thread, NULL) != 0)
			abort();
	}
	for (unsigned i = 0; i < parties; i++) {
		if (processes)
			child_end(children[i]);
		else
			CHECK(pthread_join(threads[i], NULL) == 0);
	}
	CHECK_EQ_U64(shared->words[0], (uint64_t)parties * ROUNDS / 8);
}

int main(void)
{
	static const char *const names[] = {"plain", "fair", "readers first", "writers first"};
	static const char *const locks[] = {"", "1", "2", "3"};
	struct tdm_object objects[4];
	unsigned cpus = tdm_backoff_cpu_count_();
	objects[0] = tdm_bytes_object("shared", sizeof(struct shared), TDM_CACHE_LINE, NULL);
	for (uint32_t i = TDM_RW_FAIR; i <= TDM_RW_WRITERS; i++)
		objects[i] = tdm_robust_rw_object(locks[i], i);
	if (tdm_segment_create(&segment, objects, 4, NULL) != TDM_OK)
		abort();
	shared = tdm_segment_find(&segment, "shared").base;
	for (unsigned lock = 0; lock < 4; lock++) {
		robust = NULL;
		if (lock > 0)
			CHECK_STATUS(
			    tdm_robust_rw_open(tdm_segment_find(&segment, locks[lock]), &robust),
			    TDM_OK);
		for (unsigned times = 1; times <= 4; times *= 2) {
			unsigned parties = cpus * times < PARTIES_MAX ? cpus * times : PARTIES_MAX;
			for (int processes = 0; processes < 2; processes++) {
				char text[100];
				snprintf(text, sizeof(text), "%s: %u %s", names[lock], parties,
					 processes ? "processes" : "threads");
				tap_case(text);
				run(parties, processes != 0);
			}
		}
	}
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	return tap_done();
}
