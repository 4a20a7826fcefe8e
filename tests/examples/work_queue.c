// SPDX-License-Identifier: BSD-2-Clause
// Jobs for several workers, of which one is killed in the middle of a job. A worker takes a job,
// sends its result and only then acknowledges: what the dead one had taken goes to another.
//
//	cc -D_GNU_SOURCE -Iinclude -pthread tests/examples/work_queue.c && ./a.out
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <tandem.h>

#define JOBS 1000
#define WORKERS 3

struct result {
	int job;
	int square;
};
TDM_MPMC_DEFINE(jobs, int);
TDM_MPMC_DEFINE(results, struct result);

static void must(enum tdm_status status)
{
	if (status != TDM_OK)
		exit(fprintf(stderr, "work_queue: %s\n", tdm_status_text(status)));
}

static void work(struct tdm_segment *segment)
{
	struct tdm_participant self;
	struct jobs_consumer in;
	struct jobs_lease lease;
	struct results_producer out;
	must(tdm_segment_join(segment, &self, "worker"));
	must(jobs_consumer_attach(&in, tdm_segment_find(segment, "jobs"), &self));
	must(results_producer_attach(&out, tdm_segment_find(segment, "results"), &self));
	enum tdm_status status;
	while ((status = jobs_take(&in, &lease)) == TDM_OK) {
		struct result result = {*lease.elem, *lease.elem * *lease.elem};
		if (result.job == 500 && lease.ring.attempt == 1)
			raise(SIGKILL);
		if (lease.ring.attempt > 1)
			printf("job %d, attempt %d\n", result.job, (int)lease.ring.attempt);
		must(results_push(&out, &result));
		must(jobs_ack(&in, &lease));
	}
	exit(status == TDM_PEER_LEFT ? 0 : 1); // nobody brings jobs any more
}

int main(void)
{
	struct tdm_object objects[] = {jobs_object("jobs", 64), results_object("results", 64)};
	struct tdm_segment segment; // not published: the children inherit it
	struct tdm_participant self;
	struct jobs_producer out;
	struct results_consumer in;
	must(tdm_segment_create(&segment, objects, 2, NULL));
	must(tdm_segment_join(&segment, &self, "boss"));
	must(jobs_producer_attach(&out, tdm_segment_find(&segment, "jobs"), &self));
	must(results_consumer_attach(&in, tdm_segment_find(&segment, "results"), &self));
	in.ring.follow = true; // a worker may have died before the others are there
	for (int i = 0; i < WORKERS; i++) {
		pid_t child = fork();
		if (child < 0)
			return 1;
		if (child == 0)
			work(&segment);
	}

	// At least once: whoever dies between its result and the acknowledgement has sent one that
	// comes again.
	static bool done[JOBS + 1];
	int next = 1;
	for (int count = 0; count < JOBS;) {
		struct result result;
		while (next <= JOBS && jobs_try_push(&out, &next) == TDM_OK)
			next++;
		must(results_pop(&in, &result));
		if (result.square != result.job * result.job)
			return fprintf(stderr, "job %d came out wrong\n", result.job);
		count += !done[result.job];
		done[result.job] = true;
	}
	must(jobs_producer_detach(&out)); // now the workers end

	int killed = 0;
	int failed = 0;
	for (int status; wait(&status) > 0;) {
		killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
		failed += WIFEXITED(status) && WEXITSTATUS(status) != 0;
	}
	printf("%d jobs done, %d worker killed\n", JOBS, killed);
	must(results_consumer_detach(&in));
	must(tdm_participant_leave(&self));
	must(tdm_segment_close(&segment));
	return killed != 1 || failed != 0;
}
