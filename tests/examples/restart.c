// SPDX-License-Identifier: BSD-2-Clause
// A producer is killed in the middle of its work and started again. The next one asks the ring how
// far its predecessor came, and goes on from there: the consumer misses nothing and gets nothing
// twice.
//
//	cc -D_GNU_SOURCE -Iinclude -pthread tests/examples/restart.c && ./a.out
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <tandem.h>

#define LAST 100000

TDM_SPSC_DEFINE(numbers, int);

static void must(enum tdm_status status)
{
	if (status != TDM_OK)
		exit(fprintf(stderr, "restart: %s\n", tdm_status_text(status)));
}

// Pushes the numbers up to LAST, from wherever the last producer was stopped.
static void produce(struct tdm_segment *segment)
{
	struct tdm_participant self;
	struct numbers_producer out;
	must(tdm_segment_join(segment, &self, "producer"));
	must(numbers_producer_attach(&out, tdm_segment_find(segment, "numbers"), &self));
	int number = (int)tdm_spsc_producer_position(&out.ring); // as many have ever been pushed
	printf("%s at %d\n", out.ring.took_over ? "took over from the dead" : "started", number);
	fflush(stdout);
	while (number++ < LAST)
		must(numbers_push(&out, &number));
	must(numbers_producer_detach(&out));
}

static pid_t start(struct tdm_segment *segment)
{
	pid_t child = fork();
	if (child < 0)
		exit(1);
	if (child == 0) {
		produce(segment);
		exit(0);
	}
	return child;
}

int main(void)
{
	struct tdm_object ring = numbers_object("numbers", 256);
	struct tdm_segment segment; // not published: the children inherit it
	struct tdm_participant self;
	struct numbers_consumer in;
	must(tdm_segment_create(&segment, &ring, 1, NULL));
	must(tdm_segment_join(&segment, &self, "consumer"));
	must(numbers_consumer_attach(&in, tdm_segment_find(&segment, "numbers"), &self));
	in.ring.follow = true; // keep waiting when the producer dies

	int status = 0;
	pid_t child = start(&segment);
	for (int expected = 1; expected <= LAST; expected++) {
		int number;
		must(numbers_pop(&in, &number));
		if (number != expected)
			return fprintf(stderr, "got %d instead of %d\n", number, expected);
		if (number % 30000 == 0) {
			kill(child, SIGKILL);
			waitpid(child, &status, 0);
			printf("killed it after %d\n", number);
			fflush(stdout);
			child = start(&segment);
		}
	}
	waitpid(child, &status, 0);
	printf("got every number from 1 to %d once\n", LAST);
	must(numbers_consumer_detach(&in));
	must(tdm_participant_leave(&self));
	must(tdm_segment_close(&segment));
	return status != 0;
}
