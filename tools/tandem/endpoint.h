// SPDX-License-Identifier: BSD-2-Clause
// A joined end of a ring of records, and who is at the ends of one.
#ifndef TANDEM_ENDPOINT_H
#define TANDEM_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include <tandem/ring/mpmc.h>
#include <tandem/ring/spsc.h>
#include <tandem/shm/segment.h>

enum role_state { ROLE_NOBODY, ROLE_LEFT, ROLE_DEAD, ROLE_LIVE, ROLE_UNKNOWN };

// Who holds a role. `seat` is the holder's as long as nobody has taken that seat since; otherwise
// `named` is false. ROLE_UNKNOWN: a plain ring cannot tell.
struct role_view {
	enum role_state state;
	bool named;
	struct tdm_seat_info seat;
};

const char *role_state_name(enum role_state state);
void view_role(const struct tdm_segment *segment, const struct tdm_role_info *role,
	       struct role_view *view);
// A seat's holder, in a ring for many. False: it has no such role.
bool view_seat(const struct tdm_segment *segment, struct tdm_span ring, uint32_t index,
	       bool produces, struct role_view *view);
// "pid 123, tandem send", or "unknown"
void holder_text(const struct role_view *view, char *text, size_t size);

struct endpoint {
	const char *name;
	struct tdm_segment segment;
	struct tdm_participant self;
	struct tdm_span ring;
	bool many; // for many producers and consumers
	bool work; // whoever made it wants its records taken one at a time
	uint64_t elem_size;
	uint64_t room;     // bytes that a record may have
	uint64_t capacity; // records
	struct role_view
	    producer; // as last seen when it still had its seat; of many, one that died
};

// Opens the segment, finds the ring and joins; what goes wrong is printed, and then nothing needs
// closing. `who` is shown to others.
bool endpoint_open(struct endpoint *endpoint, const char *directory, const char *name,
		   const char *who);
// Leaves and closes; the ring's handle must be detached.
void endpoint_close(struct endpoint *endpoint);
// Prints why a role could not be taken. `role` is "producer" or "consumer".
int attach_failed(const struct endpoint *endpoint, const char *role, enum tdm_status status);
// Nobody will ever come: the name is gone, and the other side, which answers `peer`, is not there.
bool endpoint_abandoned(const struct endpoint *endpoint, enum tdm_status peer);
// Looks who the producer is, for the time when its seat is another's.
void remember_producer(struct endpoint *endpoint);

#endif
