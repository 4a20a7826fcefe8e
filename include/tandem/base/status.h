// SPDX-License-Identifier: BSD-2-Clause
// What a call can answer. One enum for the whole library, so that a status can be passed on.
#ifndef TDM_BASE_STATUS_H
#define TDM_BASE_STATUS_H

#include "config.h"

TDM_BEGIN_DECLS

// X(name, value, text). Values are part of the API: append, never renumber.
#define TDM_STATUS_LIST_(X)                                                                        \
	X(TDM_OK, 0, "done")                                                                       \
	X(TDM_EMPTY, 1, "nothing to take")                                                         \
	X(TDM_FULL, 2, "no room")                                                                  \
	X(TDM_BUSY, 3, "held by a live participant, or in use")                                    \
	X(TDM_TIMED_OUT, 4, "the deadline passed")                                                 \
	X(TDM_OWNER_DIED, 5, "held now, but its last owner died inside: repair the data")          \
	X(TDM_NOT_RECOVERABLE, 6, "an owner gave it up unrepaired")                                \
	X(TDM_PEER_LEFT, 7, "the other side has left")                                             \
	X(TDM_PEER_DIED, 8, "the other side has died")                                             \
	X(TDM_INVALID, 9, "an argument is out of range")                                           \
	X(TDM_NOT_INITIALIZED, 10, "zero-filled memory where an initialized object is needed")     \
	X(TDM_NEEDS_PARTICIPANT, 11, "robust object: pass a participant")                          \
	X(TDM_FORKED, 12, "made before fork: open and join again in the child")                    \
	X(TDM_CORRUPT, 13, "shared memory holds impossible values")                                \
	X(TDM_SYSTEM, 14, "a system call failed, errno says why")                                  \
	X(TDM_UNSUPPORTED, 15, "not available here")                                               \
	X(TDM_EXISTS, 16, "the name is taken")                                                     \
	X(TDM_NOT_FOUND, 17, "no such name")                                                       \
	X(TDM_DENIED, 18, "no permission")                                                         \
	X(TDM_NO_SPACE, 19, "not enough room in the shared memory file system")                    \
	X(TDM_NO_SEATS, 20, "every participant seat is taken")                                     \
	X(TDM_READ_ONLY, 21, "the segment is mapped read-only")                                    \
	X(TDM_BAD_NAME, 22, "the name is empty, too long, or has a slash or a control character")  \
	X(TDM_NOT_TANDEM, 23, "not a tandem segment")                                              \
	X(TDM_TRUNCATED, 24, "the file is shorter than its header says")                           \
	X(TDM_OLDER_LAYOUT, 25, "made by an older layout version")                                 \
	X(TDM_NEWER_LAYOUT, 26, "made by a newer layout version")                                  \
	X(TDM_OTHER_ENDIAN, 27, "made on a machine of the other byte order")                       \
	X(TDM_BAD_GEOMETRY, 28, "sizes or offsets that do not fit the file")                       \
	X(TDM_BAD_DIRECTORY, 29, "the directory does not match its hash")                          \
	X(TDM_WRONG_KIND, 30, "an object of another kind")                                         \
	X(TDM_WRONG_TYPE, 31, "elements of another type, size or alignment")                       \
	X(TDM_NOT_OWNER, 32, "not held by the caller")                                             \
	X(TDM_DEADLOCK, 33, "the caller holds it already")                                         \
	X(TDM_BROKEN, 34, "a party gave up or died: reset it")

#define TDM_STATUS_ENUM_(name, value, text) name = value,
enum tdm_status { TDM_STATUS_LIST_(TDM_STATUS_ENUM_) TDM_STATUS_COUNT_ = 35 };
#undef TDM_STATUS_ENUM_

// The status's own name, "TDM_OK"; "TDM_?" for a number that is none.
tdm_function const char *tdm_status_name(enum tdm_status status)
{
	switch (status) {
#define TDM_STATUS_NAME_(name, value, text)                                                        \
case name:                                                                                         \
	return #name;
		TDM_STATUS_LIST_(TDM_STATUS_NAME_)
#undef TDM_STATUS_NAME_
	case TDM_STATUS_COUNT_:
		break;
	}
	return "TDM_?";
}

// What it means, as half a sentence.
tdm_function const char *tdm_status_text(enum tdm_status status)
{
	switch (status) {
#define TDM_STATUS_TEXT_(name, value, text)                                                        \
case name:                                                                                         \
	return text;
		TDM_STATUS_LIST_(TDM_STATUS_TEXT_)
#undef TDM_STATUS_TEXT_
	case TDM_STATUS_COUNT_:
		break;
	}
	return "no such status";
}

TDM_END_DECLS

#endif
