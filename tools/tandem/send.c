// SPDX-License-Identifier: BSD-2-Clause
// tandem send: standard input into a ring.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "endpoint.h"
#include "record.h"
#include "stop.h"

const char send_help[] =
    "Waits while the ring is full, without using the processor, also while the\n"
    "consumer has left or died: another one may come, and nothing is lost. A line\n"
    "may hold any bytes, and a last line without a newline arrives without one.\n"
    "A line longer than --elem-size of 'tandem create' is an error: what came before\n"
    "it is sent, it and what follows are not. One producer at a time.\n\n"
    "Example: journalctl -f | tandem send log\n\n"
    "  --framed        records instead of lines: 4 bytes of length, little-endian,\n"
    "                  then that many bytes\n";

#define BLOCK ((size_t)64 * 1024)
#define COUNT_LIMIT ((uint64_t)16 * 1024 * 1024) // a longer line is only said to be longer

struct input {
	bool framed;
	bool ended;
	unsigned char *bytes;
	size_t size;
	size_t start;    // of what is not sent yet
	size_t searched; // no newline between start and here
	size_t end;
	uint64_t number; // of the record at start, from 1
};

enum next { NEXT_RECORD, NEXT_NEEDS_MORE, NEXT_NONE, NEXT_WRONG };

// How long the line at start really is, without keeping it.
static void line_too_long(struct input *input, uint64_t room)
{
	uint64_t length = input->end - input->start;
	const unsigned char *newline = NULL;
	ssize_t got = 1;
	while (newline == NULL && got > 0 && length < COUNT_LIMIT) {
		got = stop_read(STDIN_FILENO, input->bytes, input->size);
		if (got <= 0)
			break;
		newline = memchr(input->bytes, '\n', (size_t)got);
		length += newline != NULL ? (size_t)(newline - input->bytes) : (size_t)got;
	}
	failed("line %" PRIu64 " has %s%" PRIu64 " bytes, but an element holds %" PRIu64
	       ": it and what follows it were not sent",
	       input->number, newline == NULL && got != 0 ? "at least " : "", length, room);
}

static enum next next_line(struct input *input, uint64_t room, struct record *record)
{
	unsigned char *start = input->bytes + input->start;
	size_t have = input->end - input->start;
	const unsigned char *newline =
	    memchr(input->bytes + input->searched, '\n', input->end - input->searched);
	size_t length = newline != NULL ? (size_t)(newline - start) : have;
	input->searched = input->end;
	if (newline == NULL && have == 0)
		return input->ended ? NEXT_NONE : NEXT_NEEDS_MORE;
	if (newline == NULL && length <= room && !input->ended)
		return NEXT_NEEDS_MORE;
	if (length > room) {
		if (newline == NULL && !input->ended)
			line_too_long(input, room);
		else
			failed("line %" PRIu64 " has %zu bytes, but an element holds %" PRIu64
			       ": it and what follows it were not sent",
			       input->number, length, room);
		return NEXT_WRONG;
	}
	record->bytes = start;
	record->length = (uint32_t)length;
	record->newline = newline != NULL;
	input->start += length + (newline != NULL);
	input->searched = input->start;
	return NEXT_RECORD;
}

static enum next next_frame(struct input *input, uint64_t room, struct record *record)
{
	const unsigned char *start = input->bytes + input->start;
	size_t have = input->end - input->start;
	uint32_t length = 0;
	if (have >= 4) {
		length = (uint32_t)start[0] | (uint32_t)start[1] << 8 | (uint32_t)start[2] << 16 |
			 (uint32_t)start[3] << 24;
		if (length > room) {
			failed("record %" PRIu64 " has %" PRIu32
			       " bytes, but an element holds %" PRIu64
			       ": it and what follows it were not sent",
			       input->number, length, room);
			return NEXT_WRONG;
		}
	}
	if (have < 4 || have - 4 < length) {
		if (!input->ended)
			return NEXT_NEEDS_MORE;
		if (have == 0)
			return NEXT_NONE;
		if (have < 4)
			failed("record %" PRIu64 " is cut off: the input ends after %zu of the 4 "
			       "bytes of its length",
			       input->number, have);
		else
			failed("record %" PRIu64 " is cut off: the input ends after %zu of its "
			       "%" PRIu32 " bytes",
			       input->number, have - 4, length);
		return NEXT_WRONG;
	}
	record->bytes = start + 4;
	record->length = length;
	record->newline = true;
	input->start += 4 + (size_t)length;
	return NEXT_RECORD;
}

// Reads a block. False: it could not, and says why unless it was asked to stop.
static bool read_more(struct input *input)
{
	if (input->start > 0) {
		memmove(input->bytes, input->bytes + input->start, input->end - input->start);
		input->end -= input->start;
		input->searched = input->end;
		input->start = 0;
	}
	if (input->size - input->end < BLOCK / 2) {
		size_t size = input->size * 2;
		unsigned char *bytes = realloc(input->bytes, size);
		if (bytes == NULL) {
			failed("no memory for a record of more than %zu bytes: end other programs",
			       input->end);
			return false;
		}
		input->bytes = bytes;
		input->size = size;
	}
	ssize_t got = stop_read(STDIN_FILENO, input->bytes + input->end, input->size - input->end);
	if (got < 0) {
		if (stop_signal == 0)
			failed("cannot read standard input: %s", strerror(errno));
		return false;
	}
	input->ended = got == 0;
	input->end += (size_t)got;
	return true;
}

// One end of either kind of ring.
struct sender {
	struct endpoint endpoint;
	struct tdm_spsc_producer one;
	struct tdm_mpmc_producer many;
	void *elem; // of a ring for many: it is made here
};

static enum tdm_status try_send(struct sender *sender, const struct record *record,
				uint64_t deadline_ns)
{
	if (sender->endpoint.many) {
		record_write(sender->elem, record);
		return tdm_mpmc_push_until(&sender->many, sender->elem, deadline_ns);
	}
	void *elem = NULL;
	enum tdm_status status = tdm_spsc_try_reserve(&sender->one, &elem);
	if (status == TDM_FULL)
		status = tdm_spsc_reserve_until(&sender->one, &elem, deadline_ns);
	if (status != TDM_OK)
		return status;
	record_write(elem, record);
	return tdm_spsc_commit(&sender->one);
}

// Waits for room and pushes. False: it could not, and says why unless it was asked to stop.
static bool push(struct sender *sender, const struct record *record)
{
	const struct endpoint *endpoint = &sender->endpoint;
	enum tdm_status status;
	do {
		status = try_send(sender, record, tdm_deadline_after_ns(STOP_SLICE_NS));
		if (status != TDM_TIMED_OUT)
			break;
		enum tdm_status peer = endpoint->many ? tdm_mpmc_producer_peers(&sender->many)
						      : tdm_spsc_producer_peer(&sender->one);
		if (endpoint_abandoned(endpoint, peer)) {
			failed("'%s' was removed while it was full: create it and send again",
			       endpoint->name);
			return false;
		}
	} while (stop_signal == 0);
	if (status != TDM_OK && stop_signal == 0)
		failed("cannot send into '%s': %s", endpoint->name,
		       status == TDM_SYSTEM ? strerror(errno) : tdm_status_text(status));
	return status == TDM_OK;
}

static int send_all(struct sender *sender, struct input *input)
{
	const uint64_t room = sender->endpoint.room;
	for (;;) {
		struct record record;
		enum next next = input->framed ? next_frame(input, room, &record)
					       : next_line(input, room, &record);
		if (next == NEXT_NONE)
			return EXIT_DONE;
		if (next == NEXT_WRONG)
			return EXIT_FAILED;
		bool fine = next == NEXT_RECORD ? push(sender, &record) : read_more(input);
		if (!fine) {
			if (stop_signal != 0 && (next == NEXT_RECORD || input->end > input->start))
				failed("stopped: %s %" PRIu64
				       " and what follows it were read, but not sent",
				       input->framed ? "record" : "line", input->number);
			return EXIT_FAILED;
		}
		input->number += next == NEXT_RECORD;
	}
}

static int send_as_only(struct sender *sender, struct input *input)
{
	struct endpoint *endpoint = &sender->endpoint;
	enum tdm_status status = tdm_spsc_producer_attach(&sender->one, endpoint->ring,
							  endpoint->elem_size, &endpoint->self);
	if (status != TDM_OK)
		return attach_failed(endpoint, "producer", status);
	sender->one.follow = true;
	int result = send_all(sender, input);
	(void)tdm_spsc_producer_detach(&sender->one);
	return result;
}

static int send_as_one_of_many(struct sender *sender, struct input *input)
{
	struct endpoint *endpoint = &sender->endpoint;
	sender->elem = calloc(1, endpoint->elem_size);
	if (sender->elem == NULL)
		return failed("no memory for an element of %" PRIu64 " bytes: end other programs",
			      endpoint->elem_size);
	enum tdm_status status = tdm_mpmc_producer_attach(&sender->many, endpoint->ring,
							  endpoint->elem_size, &endpoint->self);
	int result = EXIT_FAILED;
	if (status == TDM_OK) {
		sender->many.follow = true;
		result = send_all(sender, input);
		(void)tdm_mpmc_producer_detach(&sender->many);
	} else {
		attach_failed(endpoint, "producer", status);
	}
	free(sender->elem);
	return result;
}

int send_command(int argc, char **argv)
{
	static const struct option options[] = {{"framed", no_argument, NULL, 'f'}, COMMON_OPTIONS};
	const char *directory = TDM_DIRECTORY;
	struct input input = {.number = 1, .size = BLOCK};
	for (int option; (option = next_option(argc, argv, options)) != -1;) {
		if (option == 'f')
			input.framed = true;
		else
			directory = optarg;
	}
	const char *name = name_argument(argc, argv);

	input.bytes = malloc(input.size);
	if (input.bytes == NULL)
		return failed("no memory for %zu bytes: end other programs", input.size);

	static struct sender sender;
	int result = EXIT_FAILED;
	stop_catch();
	if (endpoint_open(&sender.endpoint, directory, name, "tandem send")) {
		result = sender.endpoint.many ? send_as_one_of_many(&sender, &input)
					      : send_as_only(&sender, &input);
		endpoint_close(&sender.endpoint);
	}
	free(input.bytes);
	if (stop_signal != 0)
		stop_end();
	return result;
}
