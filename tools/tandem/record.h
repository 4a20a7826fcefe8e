// SPDX-License-Identifier: BSD-2-Clause
// What `tandem send` puts into a ring and `tandem recv` takes out.
//
// An element is a header of 4 bytes in the machine's byte order, then the record's bytes, of which
// only the used ones are written:
//
//   bits 0..30   how many bytes
//   bit 31       the record came from a last line that had no newline
#ifndef TANDEM_RECORD_H
#define TANDEM_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define RECORD_OBJECT "ring" // its name in the segment
#define RECORD_TYPE "tandem.record"
#define WORK_TYPE "tandem.work" // the same, in a ring that was made with --kind work
#define RECORD_HEADER 4U
#define RECORD_NO_NEWLINE UINT32_C(0x80000000)

struct record {
	const unsigned char *bytes;
	uint32_t length;
	bool newline; // it ends with one where records are lines
};

static inline void record_write(void *elem, const struct record *record)
{
	uint32_t header = record->length | (record->newline ? 0 : RECORD_NO_NEWLINE);
	memcpy(elem, &header, sizeof(header));
	memcpy((unsigned char *)elem + RECORD_HEADER, record->bytes, record->length);
}

// The record in an element that has room for `room` bytes. The header is read once, because a peer
// that breaks the rules may change it meanwhile. False: it names more bytes than there is room for.
static inline bool record_read(const void *elem, uint64_t room, struct record *record)
{
	uint32_t header = *(const volatile uint32_t *)elem;
	record->bytes = (const unsigned char *)elem + RECORD_HEADER;
	record->length = header & ~RECORD_NO_NEWLINE;
	record->newline = (header & RECORD_NO_NEWLINE) == 0;
	return record->length <= room;
}

#endif
