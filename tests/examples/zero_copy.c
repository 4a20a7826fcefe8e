// SPDX-License-Identifier: BSD-2-Clause
// Large elements are made and read where they lie in the ring: nothing is copied. The ring is a
// plain one in a mapping of our own, without a segment and without participants, for two sides that
// trust each other to stay alive.
//
//	cc -D_GNU_SOURCE -Iinclude -pthread tests/examples/zero_copy.c && ./a.out
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <tandem.h>

#define WIDTH 640
#define HEIGHT 480
#define FRAMES 100

struct frame {
	int number;
	unsigned char pixels[HEIGHT][WIDTH];
};
TDM_SPSC_DEFINE(frames, struct frame);

static void must(enum tdm_status status)
{
	if (status != TDM_OK)
		exit(fprintf(stderr, "zero_copy: %s\n", tdm_status_text(status)));
}

static void record(struct tdm_span memory)
{
	struct frames_producer out;
	must(frames_producer_attach(&out, memory, NULL));
	for (int number = 0; number < FRAMES; number++) {
		struct frame *frame;
		must(frames_reserve_until(&out, &frame, TDM_FOREVER)); // nobody else sees it yet
		frame->number = number;
		memset(frame->pixels, number, sizeof(frame->pixels));
		if (number % 10 == 9)
			must(frames_abort(&out)); // spoiled: nobody ever sees it
		else
			must(frames_commit(&out));
	}
	must(frames_producer_detach(&out));
}

int main(void)
{
	size_t bytes = (size_t)frames_size(4);
	void *mapping =
	    mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (mapping == MAP_FAILED)
		return 1;
	must(frames_init(mapping, bytes, 4));

	struct frames_consumer in;
	must(frames_consumer_attach(&in, tdm_memory(mapping, bytes), NULL));
	if (fork() == 0) {
		record(tdm_memory(mapping, bytes));
		return 0;
	}
	const struct frame *frame;
	int seen = 0;
	int status = 0;
	while (frames_peek_until(&in, &frame, TDM_FOREVER) == TDM_OK) {
		for (int y = 0; y < HEIGHT; y++)
			for (int x = 0; x < WIDTH; x++)
				if (frame->pixels[y][x] != frame->number)
					return fprintf(stderr, "frame %d is torn\n", frame->number);
		seen++;
		must(frames_release(&in)); // its slot may be used again from here on
	}
	wait(&status);
	printf("%d frames of %d bytes seen where they were made, %d spoiled ones not\n", seen,
	       (int)sizeof(*frame), FRAMES - seen);
	return status != 0 || seen != 90;
}
