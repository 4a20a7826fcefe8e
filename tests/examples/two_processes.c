// SPDX-License-Identifier: BSD-2-Clause
// One process sends numbers to another through a ring in shared memory.
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <tandem.h>

TDM_SPSC_DEFINE(numbers, int); // a ring of int: struct numbers_producer, numbers_push, ...
#define must(call) ((call) == TDM_OK ? (void)0 : (puts("failed: " #call), exit(1)))

int main(void)
{
	struct tdm_object ring = numbers_object("numbers", 1024);
	struct tdm_segment segment;
	struct tdm_participant self;
	int status;
	char name[32];
	snprintf(name, sizeof(name), "two-processes-%d", (int)getpid());
	must(tdm_segment_create(&segment, &ring, 1, NULL));
	must(tdm_segment_publish(&segment, name)); // from here on it is in /dev/shm

	if (fork() == 0) { // could be any other program
		struct numbers_consumer in;
		must(tdm_segment_open(&segment, name, TDM_READ_WRITE));
		must(tdm_segment_join(&segment, &self, "consumer"));
		must(numbers_consumer_attach(&in, tdm_segment_find(&segment, "numbers"), &self));
		for (int number; numbers_pop(&in, &number) == TDM_OK;) // sleeps while it is empty
			printf("the child got %d\n", number);
		return 0; // the producer has left, and there is nothing left in the ring
	}
	struct numbers_producer out;
	must(tdm_segment_join(&segment, &self, "producer"));
	must(numbers_producer_attach(&out, tdm_segment_find(&segment, "numbers"), &self));
	for (int number = 1; number <= 3; number++)
		must(numbers_push(&out, &number));
	must(numbers_producer_detach(&out));
	wait(&status);
	must(tdm_segment_remove(&segment));
	return status != 0;
}
