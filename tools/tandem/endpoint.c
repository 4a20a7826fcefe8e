// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "endpoint.h"
#include "record.h"

const char *role_state_name(enum role_state state)
{
	static const char *const names[] = {"nobody", "left", "dead", "live", "unknown"};
	return names[state];
}

void view_role(const struct tdm_segment *segment, const struct tdm_role_info *role,
	       struct role_view *view)
{
	memset(view, 0, sizeof(*view));
	if (!role->held) {
		view->state = !role->ever ? ROLE_NOBODY : role->died ? ROLE_DEAD : ROLE_LEFT;
		return;
	}
	if (role->generation == 0) {
		view->state = ROLE_UNKNOWN;
		return;
	}
	// A role's generation has 48 bits.
	view->named = tdm_segment_seat(segment, role->seat, &view->seat) == TDM_OK &&
		      ((view->seat.generation ^ role->generation) << 16) == 0;
	view->state = view->named && view->seat.liveness == TDM_SEAT_LIVE ? ROLE_LIVE : ROLE_DEAD;
}

void holder_text(const struct role_view *view, char *text, size_t size)
{
	if (view->named)
		snprintf(text, size, "pid %" PRIu32 ", %s", view->seat.pid, view->seat.name);
	else
		snprintf(text, size, "unknown");
}

bool view_seat(const struct tdm_segment *segment, struct tdm_span ring, uint32_t index,
	       bool produces, struct role_view *view)
{
	struct tdm_mpmc_seat_info part;
	memset(view, 0, sizeof(*view));
	if (tdm_mpmc_seat(ring, index, &part) != TDM_OK ||
	    !(produces ? part.produces : part.consumes))
		return false;
	view->named = tdm_segment_seat(segment, index, &view->seat) == TDM_OK &&
		      view->seat.generation == part.generation;
	view->state = view->named && view->seat.liveness == TDM_SEAT_LIVE ? ROLE_LIVE : ROLE_DEAD;
	return true;
}

static void remember_dead_producer(struct endpoint *endpoint)
{
	struct role_view now;
	for (uint32_t i = 0; i < endpoint->segment.header.seat_count; i++)
		if (view_seat(&endpoint->segment, endpoint->ring, i, true, &now) &&
		    now.state == ROLE_DEAD && (now.named || !endpoint->producer.named))
			endpoint->producer = now;
}

void remember_producer(struct endpoint *endpoint)
{
	struct tdm_spsc_info info;
	struct role_view now;
	if (endpoint->many) {
		remember_dead_producer(endpoint);
		return;
	}
	if (tdm_spsc_check(endpoint->ring, &info) != TDM_OK)
		return;
	view_role(&endpoint->segment, &info.producer, &now);
	if (now.named)
		endpoint->producer = now;
	else if (info.producer.held && endpoint->producer.named &&
		 ((endpoint->producer.seat.generation ^ info.producer.generation) << 16) != 0)
		endpoint->producer.named = false; // another one, whom we never saw
}

// What both kinds of rings say of themselves.
struct ring_facts {
	uint64_t elem_size;
	uint64_t capacity;
	uint64_t type_tag;
	bool plain;
};

static enum tdm_status check_ring(struct tdm_span ring, struct ring_facts *facts)
{
	if (ring.kind == TDM_KIND_MPMC) {
		struct tdm_mpmc_info info;
		enum tdm_status status = tdm_mpmc_check(ring, &info);
		*facts =
		    (struct ring_facts){info.elem_size, info.capacity, info.type_tag, info.plain};
		return status;
	}
	struct tdm_spsc_info info;
	enum tdm_status status = tdm_spsc_check(ring, &info);
	*facts = (struct ring_facts){info.elem_size, info.capacity, info.type_tag, info.plain};
	return status;
}

static bool find_ring(struct endpoint *endpoint)
{
	const char *name = endpoint->name;
	struct ring_facts facts;
	endpoint->ring = tdm_segment_find(&endpoint->segment, RECORD_OBJECT);
	enum tdm_status status = check_ring(endpoint->ring, &facts);
	if (status == TDM_NOT_FOUND || status == TDM_WRONG_KIND) {
		failed("'%s' has no ring for records: name a segment that 'tandem create' made",
		       name);
		return false;
	}
	if (status != TDM_OK) {
		failed("the ring in '%s' is damaged: %s; 'tandem rm %s' removes it", name,
		       tdm_status_text(status), name);
		return false;
	}
	endpoint->many = endpoint->ring.kind == TDM_KIND_MPMC;
	endpoint->work = endpoint->many && facts.type_tag == tdm_type_tag(WORK_TYPE);
	if ((facts.type_tag != tdm_type_tag(RECORD_TYPE) && !endpoint->work) ||
	    facts.elem_size <= RECORD_HEADER || facts.plain) {
		failed("the ring in '%s' has elements of another type (%" PRIu64
		       " bytes, tag %#" PRIx64 "): name a segment that 'tandem create' made",
		       name, facts.elem_size, facts.type_tag);
		return false;
	}
	endpoint->elem_size = facts.elem_size;
	endpoint->room = facts.elem_size - RECORD_HEADER;
	endpoint->capacity = facts.capacity;
	return true;
}

bool endpoint_open(struct endpoint *endpoint, const char *directory, const char *name,
		   const char *who)
{
	memset(endpoint, 0, sizeof(*endpoint));
	endpoint->name = name;
	if (!open_segment(&endpoint->segment, directory, name, TDM_READ_WRITE))
		return false;
	if (find_ring(endpoint)) {
		// Before joining, which may take the seat of a dead producer.
		remember_producer(endpoint);
		enum tdm_status status = tdm_segment_join(&endpoint->segment, &endpoint->self, who);
		if (status == TDM_OK)
			return true;
		if (status == TDM_NO_SEATS)
			failed("all %" PRIu32 " seats of '%s' are taken: end a participant "
			       "('tandem inspect %s' shows them), or create it with more --seats",
			       endpoint->segment.table.seat_count, name, name);
		else
			failed("cannot join '%s': %s", name,
			       status == TDM_SYSTEM ? strerror(errno) : tdm_status_text(status));
	}
	(void)!tdm_segment_close(&endpoint->segment);
	return false;
}

void endpoint_close(struct endpoint *endpoint)
{
	// Neither fails: the handle is detached, and this thread joined only here.
	(void)!tdm_participant_leave(&endpoint->self);
	(void)!tdm_segment_close(&endpoint->segment);
}

int attach_failed(const struct endpoint *endpoint, const char *role, enum tdm_status status)
{
	struct tdm_spsc_info info;
	struct role_view view;
	char holder[64];
	if (endpoint->many || status != TDM_BUSY || tdm_spsc_check(endpoint->ring, &info) != TDM_OK)
		return failed("cannot become the %s of '%s': %s", role, endpoint->name,
			      status == TDM_SYSTEM ? strerror(errno) : tdm_status_text(status));
	view_role(&endpoint->segment, role[0] == 'p' ? &info.producer : &info.consumer, &view);
	holder_text(&view, holder, sizeof(holder));
	return failed("'%s' has a %s already (%s): wait until it leaves, or end it", endpoint->name,
		      role, holder);
}

bool endpoint_abandoned(const struct endpoint *endpoint, enum tdm_status peer)
{
	return peer != TDM_OK && !tdm_segment_named(&endpoint->segment);
}
