// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "output.h"
#include "stop.h"

static size_t most(const struct record *record)
{
	return (size_t)record->length + 4; // with a frame's length, or a newline
}

bool output_has_room(const struct output *output, const struct record *record)
{
	return output->size - output->used >= most(record);
}

static bool make_room(struct output *output, const struct record *record)
{
	size_t size = output->used + most(record);
	if (size < OUTPUT_BLOCK)
		size = OUTPUT_BLOCK;
	unsigned char *bytes = realloc(output->bytes, size);
	if (bytes == NULL) {
		failed("no memory for a record of %" PRIu32 " bytes: end other programs",
		       record->length);
		return false;
	}
	output->bytes = bytes;
	output->size = size;
	return true;
}

bool output_add(struct output *output, const struct record *record)
{
	if (!output_has_room(output, record) && !make_room(output, record))
		return false;
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
	return true;
}

enum flushed output_flush(const struct output *output, const char *name,
			  bool (*release)(void *context, uint32_t count), void *context)
{
	size_t written = 0;
	uint32_t released = 0;
	for (;;) {
		uint32_t whole = released;
		while (whole < output->count && output->ends[whole] <= written)
			whole++;
		if (!release(context, whole - released))
			return FLUSH_FAILED;
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
		       strerror(errno), name);
		return FLUSH_FAILED;
	}
}

bool output_closed(void)
{
	struct pollfd output = {STDOUT_FILENO, 0, 0};
	return poll(&output, 1, 0) > 0 && (output.revents & (POLLERR | POLLHUP)) != 0;
}
