// SPDX-License-Identifier: BSD-2-Clause
// tandem recv: a ring to standard output.
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "endpoint.h"
#include "record.h"
#include "stop.h"

const char recv_help[] =
    "Waits for the ring's first producer, and while the ring is empty, without using\n"
    "the processor. Ends when the producer has left and the ring is empty, at once\n"
    "when that is so already; with status 1 when the producer has died instead, after\n"
    "what it sent was received. One consumer at a time.\n\n"
    "A record leaves the ring once standard output has taken it: when the reader\n"
    "goes away ('| head') recv ends quietly with status 0, and the rest stays in the\n"
    "ring. Killed between the two, or stopped in the middle of a record, it leaves\n"
    "in the ring what the next recv then writes again: nothing is lost.\n\n"
    "Example: tandem recv log | grep -i error\n\n"
    "  --framed        records instead of lines: 4 bytes of length, little-endian,\n"
    "                  then that many bytes\n"
    "  --follow        wait for the next producer when one has left or died\n";

#define BLOCK ((size_t)64 * 1024)
#define BATCH 4096U

// Records that are on their way: copied from the ring, and still in it.
struct output {
	bool framed;
	unsigned char *bytes;
	size_t size;
	size_t used;
	uint32_t count;
	size_t ends[BATCH]; // of each record in `bytes`
};

struct receiver {
	struct endpoint endpoint;
	struct tdm_spsc_consumer consumer;
	struct output output;
};

static int receive_failed(const struct receiver *receiver, enum tdm_status status)
{
	return failed("cannot receive from '%s': %s", receiver->endpoint.name,
		      status == TDM_SYSTEM ? strerror(errno) : tdm_status_text(status));
}

static void append(struct output *output, const struct record *record)
{
	unsigned char *to = output->bytes + output->used;
	if (output->framed) {
		for (unsigned i = 0; i < 4; i++)
			*to++ = (unsigned char)(record->length >> (8 * i));
	}
	memcpy(to, record->bytes, record->length);
	to += record->length;
	if (!output->framed && record->newline)
		*to++ = '\n';
	output->used = (size_t)(to - output->bytes);
	output->ends[output->count++] = output->used;
}

// Copies what is ready, a block at most, or one record that is larger. False after an error.
static bool gather(struct receiver *receiver)
{
	struct output *output = &receiver->output;
	output->used = 0;
	output->count = 0;
	while (output->count < BATCH && output->count < receiver->endpoint.capacity) {
		const void *elem = NULL;
		struct record record;
		enum tdm_status status =
		    tdm_spsc_try_peek_at(&receiver->consumer, output->count, &elem);
		if (status == TDM_EMPTY)
			break;
		if (status != TDM_OK) {
			receive_failed(receiver, status);
			return false;
		}
		bool whole = record_read(elem, receiver->endpoint.room, &record);
		if (output->count > 0 &&
		    (!whole || output->size - output->used < (size_t)record.length + 4))
			break; // first write what is here
		if (!whole) {
			failed("element %" PRIu64 " of '%s' says %" PRIu32
			       " bytes, but has %" PRIu64
			       ": it was not written by 'tandem send'; 'tandem rm %s' removes it",
			       tdm_spsc_consumer_position(&receiver->consumer),
			       receiver->endpoint.name, record.length, receiver->endpoint.room,
			       receiver->endpoint.name);
			return false;
		}
		if (output->size < (size_t)record.length + 4) {
			free(output->bytes);
			output->size = record.length < BLOCK ? BLOCK : (size_t)record.length + 4;
			output->bytes = malloc(output->size);
			if (output->bytes == NULL) {
				output->size = 0;
				failed("no memory for a record of %" PRIu32
				       " bytes: end other programs",
				       record.length);
				return false;
			}
		}
		append(output, &record);
	}
	return true;
}

enum flushed { FLUSHED, FLUSH_STOPPED, FLUSH_CLOSED, FLUSH_FAILED };

// Writes what was gathered, and takes out of the ring what was written as a whole.
static enum flushed flush(struct receiver *receiver)
{
	const struct output *output = &receiver->output;
	size_t written = 0;
	uint32_t released = 0;
	for (;;) {
		uint32_t whole = released;
		while (whole < output->count && output->ends[whole] <= written)
			whole++;
		enum tdm_status status = tdm_spsc_release_n(&receiver->consumer, whole - released);
		if (status != TDM_OK) {
			receive_failed(receiver, status);
			return FLUSH_FAILED;
		}
		released = whole;
		if (released == output->count)
			return FLUSHED;
		if (stop_signal != 0)
			return FLUSH_STOPPED;
		ssize_t put =
		    stop_write(STDOUT_FILENO, output->bytes + written, output->used - written);
		if (put >= 0) {
			written += (size_t)put;
			continue;
		}
		if (errno == EINTR)
			return FLUSH_STOPPED;
		if (errno == EPIPE)
			return FLUSH_CLOSED;
		failed("cannot write to standard output: %s; what was not written is still in '%s'",
		       strerror(errno), receiver->endpoint.name);
		return FLUSH_FAILED;
	}
}

// Has whoever reads our standard output gone away?
static bool output_closed(void)
{
	struct pollfd output = {STDOUT_FILENO, 0, 0};
	return poll(&output, 1, 0) > 0 && (output.revents & (POLLERR | POLLHUP)) != 0;
}

static int producer_died(struct receiver *receiver)
{
	char who[64];
	remember_producer(&receiver->endpoint);
	holder_text(&receiver->endpoint.producer, who, sizeof(who));
	return failed("the producer of '%s' (%s) died: all it had sent was received; start it "
		      "again, or receive with --follow to wait for it",
		      receiver->endpoint.name, who);
}

static int receive_all(struct receiver *receiver)
{
	while (stop_signal == 0) {
		if (!gather(receiver))
			return EXIT_FAILED;
		if (receiver->output.count > 0) {
			enum flushed flushed = flush(receiver);
			if (flushed == FLUSH_CLOSED)
				return EXIT_DONE;
			if (flushed == FLUSH_FAILED)
				return EXIT_FAILED;
			continue;
		}
		const void *elem = NULL;
		enum tdm_status status = tdm_spsc_peek_until(&receiver->consumer, &elem,
							     tdm_deadline_after_ns(STOP_SLICE_NS));
		switch (status) {
		case TDM_OK:
			break;
		case TDM_TIMED_OUT:
			if (output_closed())
				return EXIT_DONE;
			remember_producer(&receiver->endpoint);
			if (endpoint_abandoned(&receiver->endpoint,
					       tdm_spsc_consumer_peer(&receiver->consumer)))
				return failed("'%s' was removed: create it and receive again",
					      receiver->endpoint.name);
			break;
		case TDM_PEER_LEFT:
			return EXIT_DONE;
		case TDM_PEER_DIED:
			return producer_died(receiver);
		default:
			return receive_failed(receiver, status);
		}
	}
	return EXIT_FAILED;
}

static int receive_as_consumer(struct receiver *receiver, bool follow)
{
	struct endpoint *endpoint = &receiver->endpoint;
	enum tdm_status status = tdm_spsc_consumer_attach(&receiver->consumer, endpoint->ring,
							  endpoint->elem_size, &endpoint->self);
	if (status != TDM_OK)
		return attach_failed(endpoint, "consumer", status);
	receiver->consumer.follow = follow;
	int result = receive_all(receiver);
	(void)tdm_spsc_consumer_detach(&receiver->consumer);
	return result;
}

int recv_command(int argc, char **argv)
{
	static const struct option options[] = {
	    {"framed", no_argument, NULL, 'f'}, {"follow", no_argument, NULL, 'F'}, COMMON_OPTIONS};
	static struct receiver receiver;
	const char *directory = TDM_DIRECTORY;
	bool follow = false;
	for (int option; (option = next_option(argc, argv, options)) != -1;) {
		if (option == 'f')
			receiver.output.framed = true;
		else if (option == 'F')
			follow = true;
		else
			directory = optarg;
	}
	const char *name = name_argument(argc, argv);

	signal(SIGPIPE, SIG_IGN);
	stop_catch();
	int result = EXIT_FAILED;
	if (endpoint_open(&receiver.endpoint, directory, name, "tandem recv")) {
		result = receive_as_consumer(&receiver, follow);
		endpoint_close(&receiver.endpoint);
	}
	free(receiver.output.bytes);
	if (stop_signal != 0)
		stop_end();
	return result;
}
