// SPDX-License-Identifier: BSD-2-Clause
// The powers of a matrix, by several threads: each multiplies its rows, and a barrier keeps anybody
// from the next step before all rows of this one are there.
//
//	cc -Iinclude -pthread tests/examples/matrix.c && ./a.out
//
// It exits with 1 if the result differs from what one thread alone computes.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <tandem/sync/barrier.h>

#define SIZE 48
#define WORKERS 3
#define STEPS 6 // squarings: the matrix to the 64th

typedef uint32_t matrix[SIZE][SIZE]; // modulo 2^32

static matrix powers[2]; // one is read while the other is written, in turns
static struct tdm_barrier all_rows;
static int last[WORKERS]; // how often a worker came last

static void multiply_row(matrix to, matrix from, int row)
{
	for (int column = 0; column < SIZE; column++) {
		uint32_t sum = 0;
		for (int i = 0; i < SIZE; i++)
			sum += from[row][i] * from[i][column];
		to[row][column] = sum;
	}
}

static void *work(void *number)
{
	int mine = *(int *)number;
	for (int step = 0; step < STEPS; step++) {
		bool serial;
		for (int row = mine; row < SIZE; row += WORKERS)
			multiply_row(powers[(step + 1) % 2], powers[step % 2], row);
		if (tdm_barrier_wait(&all_rows, &serial) != TDM_OK)
			return NULL;
		last[mine] += serial;
	}
	return number;
}

static void fill(matrix m)
{
	for (int row = 0; row < SIZE; row++)
		for (int column = 0; column < SIZE; column++)
			m[row][column] = (uint32_t)(row * 7 + column * 3 + 1);
}

int main(void)
{
	pthread_t threads[WORKERS];
	int numbers[WORKERS], completed = 0, steps = 0;
	fill(powers[0]);
	if (tdm_barrier_init(&all_rows, WORKERS) != TDM_OK)
		return 1;
	for (int i = 0; i < WORKERS; i++) {
		numbers[i] = i;
		if (pthread_create(&threads[i], NULL, work, &numbers[i]) != 0)
			return 1;
	}
	for (int i = 0; i < WORKERS; i++) {
		void *end = NULL;
		pthread_join(threads[i], &end);
		completed += end != NULL;
		steps += last[i];
	}

	static matrix alone[2];
	fill(alone[0]);
	for (int step = 0; step < STEPS; step++)
		for (int row = 0; row < SIZE; row++)
			multiply_row(alone[(step + 1) % 2], alone[step % 2], row);
	int same = memcmp(alone[STEPS % 2], powers[STEPS % 2], sizeof(matrix)) == 0;
	printf("%d workers, %d steps, the result is %s\n", completed, steps,
	       same ? "right" : "wrong");
	return completed == WORKERS && steps == STEPS && same ? 0 : 1;
}
