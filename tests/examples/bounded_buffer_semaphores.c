// SPDX-License-Identifier: BSD-2-Clause
// The bounded buffer of the textbooks: two processes fill it, two empty it, and three semaphores
// keep them from each other's way. (For real work take ring/mpmc.h, which needs none of this and
// survives the death of anybody.)
//
//	cc -Iinclude tests/examples/bounded_buffer_semaphores.c && ./a.out
//
// It exits with 1 if a number is lost or comes twice.
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tandem/sync/semaphore.h>

#define SLOTS 4
#define FILLERS 2
#define EMPTIERS 2
#define EACH 5000 // numbers that each filler puts in

struct buffer {
	struct tdm_semaphore free;   // slots
	struct tdm_semaphore filled; // slots
	struct tdm_semaphore alone;  // binary: who has it may touch what follows
	unsigned in, out;
	uint32_t slots[SLOTS];
	uint64_t sum;
	unsigned taken;
};

static int put(struct buffer *buffer, uint32_t number)
{
	if (tdm_semaphore_wait(&buffer->free) != TDM_OK ||
	    tdm_semaphore_wait(&buffer->alone) != TDM_OK)
		return 1;
	buffer->slots[buffer->in++ % SLOTS] = number;
	return tdm_semaphore_post(&buffer->alone) != TDM_OK ||
	       tdm_semaphore_post(&buffer->filled) != TDM_OK;
}

static int take(struct buffer *buffer)
{
	if (tdm_semaphore_wait(&buffer->filled) != TDM_OK ||
	    tdm_semaphore_wait(&buffer->alone) != TDM_OK)
		return 1;
	buffer->sum += buffer->slots[buffer->out++ % SLOTS];
	buffer->taken++;
	return tdm_semaphore_post(&buffer->alone) != TDM_OK ||
	       tdm_semaphore_post(&buffer->free) != TDM_OK;
}

static int work(struct buffer *buffer, int fills)
{
	int wrong = 0;
	for (uint32_t i = 1; i <= FILLERS * EACH / (fills ? FILLERS : EMPTIERS); i++)
		wrong |= fills ? put(buffer, i) : take(buffer);
	return wrong;
}

int main(void)
{
	struct buffer *buffer =
	    mmap(NULL, sizeof(*buffer), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (buffer == MAP_FAILED || tdm_semaphore_init(&buffer->free, SLOTS, SLOTS) != TDM_OK ||
	    tdm_semaphore_init(&buffer->filled, 0, SLOTS) != TDM_OK ||
	    tdm_semaphore_init(&buffer->alone, 1, 1) != TDM_OK)
		return 1;
	for (int i = 0; i < FILLERS + EMPTIERS; i++) {
		pid_t child = fork();
		if (child < 0)
			return 1;
		if (child == 0)
			_exit(work(buffer, i < FILLERS));
	}
	int wrong = 0;
	for (int i = 0; i < FILLERS + EMPTIERS; i++) {
		int status = 1;
		wrong |= wait(&status) < 0 || status != 0;
	}
	uint64_t right = (uint64_t)FILLERS * EACH * (EACH + 1) / 2;
	printf("%u numbers, sum %llu, %u slots free\n", buffer->taken,
	       (unsigned long long)buffer->sum, tdm_semaphore_value(&buffer->free));
	wrong |= buffer->sum != right || buffer->taken != FILLERS * EACH ||
		 tdm_semaphore_value(&buffer->free) != SLOTS;

	// Nobody fills any more: the deadline ends the wait.
	wrong |= tdm_semaphore_wait_until(&buffer->filled, tdm_deadline_after_ns(10000000)) !=
		 TDM_TIMED_OUT;
	return wrong;
}
