// SPDX-License-Identifier: BSD-2-Clause
// A bounded buffer between processes, with a mutex and two condition variables: producers wait for
// room, consumers for something to consume. It lies in a segment and survives kill -9 of any of
// them: one producer is killed in the middle, and a new one goes on where it was.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tandem.h>

#define SLOTS 8U
#define ITEMS 20000U

struct buffer {
	struct tdm_mutex mutex;
	struct tdm_condvar not_empty, not_full;
	uint64_t put, taken; // so many so far; put - taken are in there
	uint64_t item[SLOTS];
	uint64_t sum; // of what was taken
};

static struct tdm_segment segment;
static struct buffer *buffer;

static void must(enum tdm_status status, const char *what)
{
	if (status == TDM_OK)
		return;
	fprintf(stderr, "%s: %s\n", what, tdm_status_text(status));
	exit(1);
}

// After this the buffer is as it should be. An item counts once `put` says so, and what a producer
// has not counted the next one writes again: there is nothing to undo.
static void repaired(enum tdm_status status, struct tdm_participant *self)
{
	if (status == TDM_OWNER_DIED)
		status = tdm_mutex_make_consistent(&buffer->mutex, self);
	must(status, "mutex");
}

static void produce(void)
{
	struct tdm_participant self;
	must(tdm_segment_join(&segment, &self, "producer"), "join");
	for (bool done = false; !done;) {
		repaired(tdm_mutex_lock(&buffer->mutex, &self), &self);
		while (buffer->put - buffer->taken == SLOTS)
			repaired(tdm_condvar_wait(&buffer->not_full, &buffer->mutex, &self), &self);
		done = buffer->put == ITEMS;
		if (!done) {
			buffer->item[buffer->put % SLOTS] = buffer->put + 1;
			buffer->put++;
		}
		must(tdm_mutex_unlock(&buffer->mutex, &self), "unlock");
		tdm_condvar_signal(&buffer->not_empty);
	}
	must(tdm_participant_leave(&self), "leave");
}

static void consume(void)
{
	struct tdm_participant self;
	must(tdm_segment_join(&segment, &self, "consumer"), "join");
	for (uint64_t taken = 0; taken < ITEMS; taken++) {
		repaired(tdm_mutex_lock(&buffer->mutex, &self), &self);
		while (buffer->put == buffer->taken)
			repaired(tdm_condvar_wait(&buffer->not_empty, &buffer->mutex, &self),
				 &self);
		buffer->sum += buffer->item[buffer->taken % SLOTS];
		buffer->taken++;
		must(tdm_mutex_unlock(&buffer->mutex, &self), "unlock");
		tdm_condvar_signal(&buffer->not_full);
	}
	must(tdm_participant_leave(&self), "leave");
}

static pid_t start(void (*body)(void))
{
	pid_t pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(1);
	}
	if (pid == 0) {
		body();
		_exit(0);
	}
	return pid;
}

static bool ended_well(pid_t pid)
{
	int status = 0;
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(void)
{
	struct tdm_segment_options options = {.sealed = true};
	struct tdm_object object = tdm_bytes_object("buffer", sizeof(struct buffer), 64, NULL);
	must(tdm_segment_create(&segment, &object, 1, &options), "create");
	buffer = tdm_segment_find(&segment, "buffer").base;
	must(tdm_mutex_init(&buffer->mutex, TDM_MUTEX_ROBUST), "mutex"); // zeros are a condvar

	pid_t consumer = start(consume), producer = start(produce);
	usleep(3000);
	kill(producer, SIGKILL);
	waitpid(producer, NULL, 0);
	producer = start(produce);
	if (!ended_well(producer) || !ended_well(consumer))
		return 1;
	printf("%u items, their sum is %llu\n", ITEMS, (unsigned long long)buffer->sum);
	if (buffer->sum != (uint64_t)ITEMS * (ITEMS + 1) / 2)
		return 1;
	must(tdm_segment_close(&segment), "close");
	return 0;
}
