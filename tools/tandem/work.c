// SPDX-License-Identifier: BSD-2-Clause
// Receiving as one of many: records are taken, and acknowledged when they have been written or
// their command has succeeded. What was taken and not acknowledged is delivered again.
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "receive.h"
#include "stop.h"

// ---------------------------------------------------------------------------------------------
// Taking

// All that will ever come was acknowledged. Otherwise others have some of it in their hands.
static bool all_done(const struct receiver *receiver)
{
	struct tdm_mpmc_info info;
	return tdm_mpmc_check(receiver->endpoint.ring, &info) != TDM_OK ||
	       (info.held == 0 && info.pushed == info.popped);
}

static enum tdm_status take_slice(struct receiver *receiver, struct tdm_mpmc_lease *lease)
{
	const uint64_t deadline_ns = tdm_deadline_after_ns(STOP_SLICE_NS);
	return receiver->attempts > 0 ? tdm_work_take_until(&receiver->limited, lease, deadline_ns)
				      : tdm_mpmc_take_until(&receiver->many, lease, deadline_ns);
}

static enum tdm_status try_take(struct receiver *receiver, struct tdm_mpmc_lease *lease)
{
	return receiver->attempts > 0 ? tdm_work_try_take(&receiver->limited, lease)
				      : tdm_mpmc_try_take(&receiver->many, lease);
}

// Waits for a record, a slice at most. TDM_PEER_LEFT, TDM_PEER_DIED: no more will come.
static enum tdm_status take(struct receiver *receiver, struct tdm_mpmc_lease *lease)
{
	enum tdm_status status = take_slice(receiver, lease);
	if ((status != TDM_PEER_LEFT && status != TDM_PEER_DIED) || all_done(receiver))
		return status;
	receiver->many.follow = true;
	status = take_slice(receiver, lease);
	receiver->many.follow = receiver->follow;
	return status;
}

static enum tdm_status acknowledge(struct receiver *receiver, const struct tdm_mpmc_lease *lease)
{
	enum tdm_status status = tdm_mpmc_ack(&receiver->many, lease);
	if (status != TDM_OK)
		receive_failed(receiver, status);
	return status;
}

// ---------------------------------------------------------------------------------------------
// Writing

// Takes what is ready besides the first, and copies all of it.
static bool gather(struct receiver *receiver)
{
	struct output *output = &receiver->output;
	const uint32_t limit = receiver->work ? 1 : TDM_MPMC_TAKES;
	output->used = 0;
	output->count = 0;
	receiver->acknowledged = 0;
	do {
		const struct tdm_mpmc_lease *lease = &receiver->leases[output->count];
		struct record record;
		if (!receive_record(receiver, lease->elem, lease->position, &record) ||
		    !output_add(output, &record))
			return false;
	} while (output->count < limit &&
		 try_take(receiver, &receiver->leases[output->count]) == TDM_OK);
	return true;
}

static bool release(void *context, uint32_t count)
{
	struct receiver *receiver = context;
	for (; count > 0; count--)
		if (acknowledge(receiver, &receiver->leases[receiver->acknowledged++]) != TDM_OK)
			return false;
	return true;
}

// False ends it, with *result.
static bool write_out(struct receiver *receiver, int *result)
{
	if (!gather(receiver))
		return false;
	enum flushed flushed =
	    output_flush(&receiver->output, receiver->endpoint.name, release, receiver);
	if (flushed == FLUSH_CLOSED)
		*result = EXIT_DONE;
	return flushed == FLUSHED;
}

// ---------------------------------------------------------------------------------------------
// Running a command

// A file with the record in it, for the command's standard input; -1 and errno: there is none.
static int record_file(const struct receiver *receiver, const struct record *record)
{
	int fd = memfd_create("record", MFD_CLOEXEC);
	if (fd < 0)
		return -1;
	const unsigned char *bytes = record->bytes;
	size_t left = record->length;
	bool newline = record->newline && !receiver->output.framed;
	while (left > 0 || newline) {
		ssize_t put = left > 0 ? write(fd, bytes, left) : write(fd, "\n", 1);
		if (put < 0) {
			int error = errno;
			close(fd);
			errno = error;
			return -1;
		}
		if (left == 0)
			newline = false;
		else
			left -= (size_t)put;
		bytes += put;
	}
	if (lseek(fd, 0, SEEK_SET) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

__attribute__((noreturn)) static void become(const char *command, int input, uint32_t attempt,
					     pid_t parent)
{
	char text[16];
	prctl(PR_SET_PDEATHSIG, SIGKILL); // its record is another's when we are dead
	if (getppid() != parent)
		_exit(1);
	snprintf(text, sizeof(text), "%" PRIu32, attempt);
	if (setenv("TANDEM_ATTEMPT", text, 1) == 0 && dup2(input, STDIN_FILENO) >= 0) {
		(void)signal(SIGPIPE, SIG_DFL);
		(void)signal(SIGXFSZ, SIG_DFL);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	}
	failed("cannot run sh: %s", strerror(errno));
	_exit(127);
}

// Waits for the command. When we are asked to stop it is, too, and later forced to.
static int command_status(pid_t pid)
{
	int status = 0;
	bool asked = false;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
		if (stop_signal == 0)
			continue;
		kill(pid, asked ? SIGKILL : SIGTERM);
		asked = true;
	}
	return status;
}

// What fails again and again is tried less and less often.
static void pause_after(uint32_t attempt)
{
	struct timespec pause = {0, (attempt < 100 ? (long)attempt : 99) * 10000000};
	nanosleep(&pause, NULL);
}

static bool give_back(struct receiver *receiver, const struct tdm_mpmc_lease *lease, int status)
{
	const char *name = receiver->endpoint.name;
	if (stop_signal == 0) {
		if (WIFSIGNALED(status))
			failed("'%s' was ended by signal %d on element %" PRIu64 " of '%s', "
			       "attempt %" PRIu32 ": it is given back",
			       receiver->command, WTERMSIG(status), lease->position, name,
			       lease->attempt);
		else
			failed("'%s' ended with status %d on element %" PRIu64 " of '%s', "
			       "attempt %" PRIu32 ": it is given back",
			       receiver->command, WEXITSTATUS(status), lease->position, name,
			       lease->attempt);
	}
	enum tdm_status given = tdm_mpmc_nack(&receiver->many, lease);
	if (given != TDM_OK) {
		receive_failed(receiver, given);
		return false;
	}
	if (stop_signal == 0)
		pause_after(lease->attempt);
	return true;
}

static bool execute(struct receiver *receiver)
{
	const struct tdm_mpmc_lease *lease = &receiver->leases[0];
	struct record record;
	if (!receive_record(receiver, lease->elem, lease->position, &record))
		return false;
	int input = record_file(receiver, &record);
	if (input < 0) {
		failed("cannot make a file for a record of %" PRIu32 " bytes: %s", record.length,
		       strerror(errno));
		return false;
	}
	pid_t parent = getpid();
	pid_t pid = fork();
	if (pid == 0)
		become(receiver->command, input, lease->attempt, parent);
	int error = errno;
	close(input);
	if (pid < 0) {
		failed("cannot start '%s': %s", receiver->command, strerror(error));
		return false;
	}
	int status = command_status(pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return acknowledge(receiver, lease) == TDM_OK;
	return give_back(receiver, lease, status);
}

// ---------------------------------------------------------------------------------------------

static int receive_all(struct receiver *receiver)
{
	int result = EXIT_FAILED;
	while (stop_signal == 0) {
		enum tdm_status status = take(receiver, &receiver->leases[0]);
		switch (status) {
		case TDM_OK:
			if (!(receiver->command != NULL ? execute(receiver)
							: write_out(receiver, &result)))
				return result;
			break;
		case TDM_TIMED_OUT: {
			if (receiver->command == NULL && output_closed())
				return EXIT_DONE;
			enum tdm_status peers = tdm_mpmc_consumer_peers(&receiver->many);
			if (peers == TDM_OK) // whoever died before has a successor
				memset(&receiver->endpoint.producer, 0,
				       sizeof(receiver->endpoint.producer));
			if (endpoint_abandoned(&receiver->endpoint, peers) && all_done(receiver))
				return receive_removed(receiver);
			break;
		}
		case TDM_PEER_LEFT:
			return receiver->endpoint.producer.state == ROLE_DEAD
				   ? producer_died(receiver)
				   : EXIT_DONE;
		case TDM_PEER_DIED:
			return producer_died(receiver);
		case TDM_FULL:
			return failed("a record of '%s' has used up its attempts (%" PRIu32
				      "), and '%s' is full: receive from that first",
				      receiver->endpoint.name, receiver->attempts,
				      receiver->dead_name);
		default:
			return receive_failed(receiver, status);
		}
	}
	return EXIT_FAILED;
}

static int receive_as_consumer(struct receiver *receiver)
{
	struct endpoint *endpoint = &receiver->endpoint;
	enum tdm_status status = tdm_mpmc_consumer_attach(&receiver->many, endpoint->ring,
							  endpoint->elem_size, &endpoint->self);
	if (status != TDM_OK)
		return attach_failed(endpoint, "consumer", status);
	receiver->many.follow = receiver->follow;
	int result = EXIT_FAILED;
	if (receiver->attempts > 0)
		status = tdm_work_init(&receiver->limited, &receiver->many, &receiver->dead,
				       receiver->attempts);
	if (status == TDM_OK)
		result = receive_all(receiver);
	else // all else was checked
		failed("records of '%s' have up to %" PRIu64
		       " bytes and those of '%s' up to %" PRIu64 ": create one like the other",
		       endpoint->name, endpoint->room, receiver->dead_name,
		       receiver->dead_end.room);
	(void)tdm_mpmc_consumer_detach(&receiver->many); // gives back what is still taken
	return result;
}

static int receive_with_limit(struct receiver *receiver, const char *directory)
{
	struct endpoint *end = &receiver->dead_end;
	if (!endpoint_open(end, directory, receiver->dead_name, "tandem recv"))
		return EXIT_FAILED;
	int result = EXIT_FAILED;
	enum tdm_status status = TDM_WRONG_KIND;
	if (end->many)
		status = tdm_mpmc_producer_attach(&receiver->dead, end->ring, end->elem_size,
						  &end->self);
	if (status == TDM_OK) {
		result = receive_as_consumer(receiver);
		(void)tdm_mpmc_producer_detach(&receiver->dead);
	} else if (!end->many) {
		failed("'%s' is of kind spsc, and has one producer: make it with --kind mpmc",
		       receiver->dead_name);
	} else {
		attach_failed(end, "producer", status);
	}
	endpoint_close(end);
	return result;
}

int receive_as_one_of_many(struct receiver *receiver, const char *directory)
{
	receiver->work = receiver->work || receiver->endpoint.work;
	return receiver->attempts > 0 ? receive_with_limit(receiver, directory)
				      : receive_as_consumer(receiver);
}
