// SPDX-License-Identifier: BSD-2-Clause
// A table of prices that four processes read all the time and one changes now and then. The writer
// is killed in the middle of a change; whoever comes next finds that out, repairs the table, and
// the next writer goes on.
//
//	cc -D_GNU_SOURCE -Iinclude -pthread tests/examples/readers_cache.c && ./a.out
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <tandem.h>

#define PRICES 64
#define READERS 4
#define CHANGES 2000

// All prices are equal: every change changes all of them.
struct table {
	uint32_t before; // what a change began with: enough to undo it
	uint32_t prices[PRICES];
	tdm_atomic_u32 half; // somebody shall be killed now
};

static void must(enum tdm_status status)
{
	if (status != TDM_OK)
		exit(fprintf(stderr, "readers_cache: %s\n", tdm_status_text(status)));
}

static struct table *table;
static struct tdm_robust_rw *rw;

// Whoever is told TDM_OWNER_DIED holds the lock for writing, also if it wanted to read.
static void repair(struct tdm_participant *self)
{
	for (int i = 0; i < PRICES; i++)
		table->prices[i] = table->before;
	must(tdm_robust_rw_make_consistent(rw, self));
	printf("a change was undone\n");
	fflush(stdout);
}

static int read_all(struct tdm_segment *segment)
{
	struct tdm_participant self;
	uint32_t price = 0;
	must(tdm_segment_join(segment, &self, "reader"));
	while (price < CHANGES) {
		enum tdm_status status = tdm_robust_rw_read_lock(rw, &self);
		if (status == TDM_OWNER_DIED) {
			repair(&self);
			status = tdm_robust_rw_downgrade(rw, &self); // now it reads
		}
		must(status);
		price = table->prices[0];
		for (int i = 0; i < PRICES; i++)
			if (table->prices[i] != price)
				return fprintf(stderr, "half a change was read\n");
		must(tdm_robust_rw_read_unlock(rw, &self));
	}
	must(tdm_participant_leave(&self));
	return 0;
}

static int change(struct tdm_segment *segment, uint32_t last, bool stops)
{
	struct tdm_participant self;
	must(tdm_segment_join(segment, &self, "writer"));
	for (uint32_t price = 0; price < last;) {
		enum tdm_status status = tdm_robust_rw_write_lock(rw, &self);
		if (status == TDM_OWNER_DIED) {
			repair(&self);
			status = TDM_OK;
		}
		must(status);
		price = table->before = table->prices[0];
		for (int i = 0; i < PRICES && price < last; i++) {
			table->prices[i] = price + 1;
			if (stops && price + 1 == last && i == PRICES / 2) {
				tdm_store_release_u32(&table->half, 1);
				pause(); // until it is killed
			}
		}
		must(tdm_robust_rw_write_unlock(rw, &self));
	}
	must(tdm_participant_leave(&self));
	return 0;
}

int main(void)
{
	struct tdm_object objects[] = {
	    tdm_robust_rw_object("lock", TDM_RW_FAIR),
	    tdm_bytes_object("table", sizeof(struct table), 64, "struct table"),
	};
	struct tdm_segment segment; // not published: the children inherit it
	must(tdm_segment_create(&segment, objects, 2, NULL));
	must(tdm_robust_rw_open(tdm_segment_find(&segment, "lock"), &rw));
	table = tdm_segment_find(&segment, "table").base;

	pid_t readers[READERS], writer;
	for (int i = 0; i < READERS; i++)
		if ((readers[i] = fork()) == 0)
			exit(read_all(&segment));
	if ((writer = fork()) == 0)
		exit(change(&segment, CHANGES / 2, true));
	while (tdm_load_acquire_u32(&table->half) == 0)
		sched_yield();
	kill(writer, SIGKILL);
	waitpid(writer, NULL, 0);
	printf("the writer was killed in the middle of a change\n");
	fflush(stdout);

	int failed = change(&segment, CHANGES, false);
	for (int i = 0; i < READERS; i++) {
		int status = 1;
		waitpid(readers[i], &status, 0);
		failed += status != 0;
	}
	uint32_t last = table->prices[0];
	printf("%d readers saw the prices rise to %u\n", READERS - failed, last);
	must(tdm_segment_close(&segment));
	return failed != 0 || last != CHANGES;
}
