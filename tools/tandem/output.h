// SPDX-License-Identifier: BSD-2-Clause
// Records on their way to standard output: copied from the ring, and still in it.
#ifndef TANDEM_OUTPUT_H
#define TANDEM_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record.h"

#define OUTPUT_BLOCK ((size_t)64 * 1024)
#define OUTPUT_BATCH 4096U

struct output {
	bool framed;
	unsigned char *bytes;
	size_t size;
	size_t used;
	uint32_t count;
	size_t ends[OUTPUT_BATCH]; // of each record in `bytes`
};

enum flushed { FLUSHED, FLUSH_STOPPED, FLUSH_CLOSED, FLUSH_FAILED };

// Is there room for it in the block that is being filled?
bool output_has_room(const struct output *output, const struct record *record);
// Adds it; OUTPUT_BATCH at most. False: no memory, which is said.
bool output_add(struct output *output, const struct record *record);
// Writes what was added, and calls release(context, n) for each n records more that were written as
// a whole; false from that ends it. What goes wrong with standard output is said: `name` is the
// ring's.
enum flushed output_flush(const struct output *output, const char *name,
			  bool (*release)(void *context, uint32_t count), void *context);
// Has whoever reads our standard output gone away?
bool output_closed(void);

#endif
