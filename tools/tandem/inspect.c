// SPDX-License-Identifier: BSD-2-Clause
// tandem inspect: what is in a segment. Maps it read-only, and so cannot disturb it.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "endpoint.h"
#include "json.h"
#include "record.h"

const char inspect_help[] =
    "Shows the header, the participants, and each object; of a ring how much was\n"
    "pushed and popped since it was made, how full it is, and who holds its ends:\n"
    "'live', 'dead', 'left', or 'nobody' yet; of a ring for many also how many records\n"
    "are held, which is taken and not acknowledged, and at which attempt the one is\n"
    "that was taken most often. Reads only, so that it may be used at any time;\n"
    "figures of a ring at work are a moment's view.\n\n"
    "Example: tandem inspect jobs --json | jq '.objects[0].ring.fill'\n\n"
    "  --json          one object; counts are whole numbers up to 2^64 - 1, identity\n"
    "                  and type_tag are hexadecimal strings, times are UTC, and what\n"
    "                  does not apply is null; seats are those that were ever taken\n";

// An object's ring, when it is one.
struct ring_view {
	enum tdm_status status; // TDM_OK: the rest is valid
	uint64_t capacity;
	uint64_t pushed;
	uint64_t popped;
	// kind spsc
	struct tdm_spsc_info one;
	struct role_view producer;
	struct role_view consumer;
	// kind mpmc
	struct tdm_span span;
	struct tdm_mpmc_info many;
};

static bool is_ring(const struct tdm_directory_entry *entry)
{
	return entry->kind == TDM_KIND_SPSC || entry->kind == TDM_KIND_MPMC;
}

static void view_ring(const struct tdm_segment *segment, const struct tdm_directory_entry *entry,
		      struct ring_view *view)
{
	view->span = tdm_segment_find(segment, entry->name);
	if (entry->kind == TDM_KIND_MPMC) {
		view->status = tdm_mpmc_check(view->span, &view->many);
		view->capacity = view->many.capacity;
		view->pushed = view->many.pushed;
		view->popped = view->many.popped;
		return;
	}
	view->status = tdm_spsc_check(view->span, &view->one);
	if (view->status != TDM_OK)
		return;
	view->capacity = view->one.capacity;
	view->pushed = view->one.pushed;
	view->popped = view->one.popped;
	view_role(segment, &view->one.producer, &view->producer);
	view_role(segment, &view->one.consumer, &view->consumer);
}

static bool is_work(const struct tdm_directory_entry *entry)
{
	return entry->kind == TDM_KIND_MPMC && entry->type_tag == tdm_type_tag(WORK_TYPE);
}

static bool holds_records(const struct tdm_directory_entry *entry)
{
	return is_ring(entry) && entry->elem_size > RECORD_HEADER &&
	       (entry->type_tag == tdm_type_tag(RECORD_TYPE) || is_work(entry));
}

static void identity_text(const struct tdm_segment *segment, char text[33])
{
	for (size_t i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", segment->header.identity[i]);
}

static bool ever_taken(const struct tdm_segment *segment, uint32_t index,
		       struct tdm_seat_info *seat)
{
	return tdm_segment_seat(segment, index, seat) == TDM_OK &&
	       (seat->generation != 0 || seat->liveness != TDM_SEAT_FREE);
}

// ---------------------------------------------------------------------------------------------
// As text

static void print_role(const char *label, const struct role_view *role)
{
	char who[64];
	printf("  %-10s%s", label, role_state_name(role->state));
	if (role->state == ROLE_LIVE || role->state == ROLE_DEAD) {
		holder_text(role, who, sizeof(who));
		clean_text(who);
		printf(" (%s)", who);
	}
	putchar('\n');
}

// Those of many, one line each.
static void print_roles(const struct tdm_segment *segment, struct tdm_span ring, bool produce)
{
	const char *label = produce ? "producer" : "consumer";
	struct role_view role;
	bool any = false;
	for (uint32_t i = 0; i < segment->header.seat_count; i++)
		if (view_seat(segment, ring, i, produce, &role)) {
			print_role(label, &role);
			any = true;
		}
	if (!any)
		printf("  %-10s%s\n", label, role_state_name(ROLE_NOBODY));
}

static void print_object(const struct tdm_segment *segment, const struct tdm_directory_entry *entry)
{
	char name[TDM_NAME_SIZE];
	char size[32];
	memcpy(name, entry->name, sizeof(name));
	clean_text(name);
	size_text(entry->bytes, size, sizeof(size));
	printf("\n%s\n  kind      %s, %s, version %" PRIu32 "\n", name, tdm_kind_name(entry->kind),
	       entry->plain != 0 ? "plain" : "robust", entry->version);
	printf("  memory    %s at offset %" PRIu64 "\n", size, entry->offset);
	if (entry->kind == TDM_KIND_BYTES)
		return;
	if (holds_records(entry))
		printf("  capacity  %" PRIu64 " records of up to %" PRIu64 " bytes%s\n",
		       entry->capacity, entry->elem_size - RECORD_HEADER,
		       is_work(entry) ? ", for work" : "");
	else
		printf("  capacity  %" PRIu64 " elements of %" PRIu64 " bytes, type tag %#" PRIx64
		       "\n",
		       entry->capacity, entry->elem_size, entry->type_tag);
	if (!is_ring(entry))
		return;
	struct ring_view view;
	view_ring(segment, entry, &view);
	if (view.status != TDM_OK) {
		printf("  damaged   %s\n", tdm_status_text(view.status));
		return;
	}
	uint64_t fill = view.pushed - view.popped;
	printf("  pushed    %" PRIu64 "\n  popped    %" PRIu64 "\n", view.pushed, view.popped);
	printf("  fill      %" PRIu64 " of %" PRIu64 " (%.0f %%)\n", fill, view.capacity,
	       100.0 * (double)fill / (double)view.capacity);
	if (entry->kind == TDM_KIND_SPSC) {
		print_role("producer", &view.producer);
		print_role("consumer", &view.consumer);
		return;
	}
	printf("  held      %" PRIu64, view.many.held);
	if (view.many.held > 0)
		printf(", at attempt %" PRIu32 "%s", view.many.attempt,
		       view.many.held > 1 ? " or less" : "");
	putchar('\n');
	if (view.many.plain)
		return;
	print_roles(segment, view.span, true);
	print_roles(segment, view.span, false);
}

static void print_text(const struct tdm_segment *segment, const char *directory, const char *name)
{
	char identity[33];
	char size[32];
	char when[32];
	struct seat_counts counts = count_seats(segment);
	identity_text(segment, identity);
	size_text(segment->bytes, size, sizeof(size));
	local_time_text(segment->header.created_ns, when, sizeof(when));
	printf("path      %s/%s\nsize      %s\ncreated   %s\nidentity  %s\n"
	       "layout    version %" PRIu32 "\n"
	       "seats     %" PRIu32 ": %" PRIu32 " live, %" PRIu32 " dead\n",
	       directory, name, size, when, identity, segment->header.layout_version,
	       segment->header.seat_count, counts.live, counts.dead);
	if (counts.live + counts.dead > 0)
		printf("\nSEAT  STATE  GENERATION         PID  JOINED               NAME\n");
	for (uint32_t i = 0; i < segment->header.seat_count; i++) {
		struct tdm_seat_info seat;
		if (!ever_taken(segment, i, &seat) || seat.liveness == TDM_SEAT_FREE)
			continue;
		local_time_text(realtime_of(seat.joined_ns), when, sizeof(when));
		clean_text(seat.name);
		printf("%4" PRIu32 "  %-5s  %10" PRIu64 "  %10" PRIu32 "  %-19s  %s\n", i,
		       liveness_name(seat.liveness), seat.generation, seat.pid, when, seat.name);
	}
	for (uint32_t i = 0; i < segment->header.object_count; i++)
		print_object(segment, &segment->directory[i]);
}

// ---------------------------------------------------------------------------------------------
// As JSON

static void add_role(struct json_object *ring, const char *key, const struct tdm_role_info *role,
		     const struct role_view *view)
{
	struct json_object *object = json_object_new_object();
	bool held = role->held && role->generation != 0;
	json_add_text(object, "state", role_state_name(view->state));
	json_add_number_if(object, "seat", held, role->seat);
	json_add_number_if(object, "generation", held, role->generation);
	json_add_number_if(object, "pid", view->named, view->seat.pid);
	json_add_text(object, "name", view->named ? view->seat.name : NULL);
	json_object_object_add(ring, key, object);
}

// Those of many.
static struct json_object *roles_json(const struct tdm_segment *segment, struct tdm_span ring,
				      bool produce)
{
	struct json_object *array = json_object_new_array();
	for (uint32_t i = 0; i < segment->header.seat_count; i++) {
		struct role_view role;
		if (!view_seat(segment, ring, i, produce, &role))
			continue;
		struct json_object *object = json_object_new_object();
		json_add_text(object, "state", role_state_name(role.state));
		json_add_number(object, "seat", i);
		json_add_number_if(object, "generation", role.named, role.seat.generation);
		json_add_number_if(object, "pid", role.named, role.seat.pid);
		json_add_text(object, "name", role.named ? role.seat.name : NULL);
		json_object_array_add(array, object);
	}
	return array;
}

static struct json_object *ring_json(const struct tdm_segment *segment,
				     const struct ring_view *view, bool many)
{
	struct json_object *ring = json_object_new_object();
	json_add_number(ring, "pushed", view->pushed);
	json_add_number(ring, "popped", view->popped);
	json_add_number(ring, "fill", view->pushed - view->popped);
	if (many) {
		json_object_object_add(ring, "producer", NULL);
		json_object_object_add(ring, "consumer", NULL);
	} else {
		add_role(ring, "producer", &view->one.producer, &view->producer);
		add_role(ring, "consumer", &view->one.consumer, &view->consumer);
	}
	json_add_number_if(ring, "held", many, view->many.held);
	json_add_number_if(ring, "attempt", many && view->many.held > 0, view->many.attempt);
	json_object_object_add(ring, "producers",
			       many ? roles_json(segment, view->span, true) : NULL);
	json_object_object_add(ring, "consumers",
			       many ? roles_json(segment, view->span, false) : NULL);
	return ring;
}

static struct json_object *object_json(const struct tdm_segment *segment,
				       const struct tdm_directory_entry *entry)
{
	struct json_object *object = json_object_new_object();
	char tag[32];
	bool records = holds_records(entry);
	snprintf(tag, sizeof(tag), "%#018" PRIx64, entry->type_tag);
	json_add_text(object, "name", entry->name);
	json_add_text(object, "kind", tdm_kind_name(entry->kind));
	json_add_number(object, "version", entry->version);
	json_object_object_add(object, "robust", json_object_new_boolean(entry->plain == 0));
	json_add_number(object, "offset", entry->offset);
	json_add_number(object, "bytes", entry->bytes);
	json_add_number(object, "capacity", entry->capacity);
	json_add_number(object, "elem_size", entry->elem_size);
	json_add_number(object, "elem_align", entry->elem_align);
	json_add_text(object, "type_tag", entry->type_tag != 0 ? tag : NULL);
	json_add_number_if(object, "record_size", records, entry->elem_size - RECORD_HEADER);
	json_object_object_add(object, "work", json_object_new_boolean(is_work(entry)));
	struct ring_view view = {.status = TDM_OK};
	if (is_ring(entry))
		view_ring(segment, entry, &view);
	bool ring = is_ring(entry) && view.status == TDM_OK;
	json_add_text(object, "problem",
		      view.status != TDM_OK ? tdm_status_text(view.status) : NULL);
	json_object_object_add(
	    object, "ring", ring ? ring_json(segment, &view, entry->kind == TDM_KIND_MPMC) : NULL);
	return object;
}

static struct json_object *seats_json(const struct tdm_segment *segment)
{
	struct json_object *seats = json_object_new_array();
	for (uint32_t i = 0; i < segment->header.seat_count; i++) {
		struct tdm_seat_info seat;
		if (!ever_taken(segment, i, &seat))
			continue;
		struct json_object *object = json_object_new_object();
		json_add_number(object, "index", i);
		json_add_text(object, "state", liveness_name(seat.liveness));
		json_add_number(object, "generation", seat.generation);
		json_add_number(object, "pid", seat.pid);
		json_add_text(object, "name", seat.name);
		json_add_time(object, "joined", realtime_of(seat.joined_ns));
		json_object_array_add(seats, object);
	}
	return seats;
}

static void print_json(const struct tdm_segment *segment, const char *directory, const char *name)
{
	struct json_object *root = json_object_new_object();
	struct seat_counts counts = count_seats(segment);
	char identity[33];
	identity_text(segment, identity);
	json_add_text(root, "name", name);
	json_add_path(root, "path", directory, name);
	json_add_number(root, "bytes", segment->bytes);
	json_add_time(root, "created", segment->header.created_ns);
	json_add_text(root, "identity", identity);
	json_add_number(root, "layout_version", segment->header.layout_version);
	json_add_number(root, "seat_count", segment->header.seat_count);
	json_add_number(root, "live", counts.live);
	json_add_number(root, "dead", counts.dead);
	json_object_object_add(root, "seats", seats_json(segment));
	struct json_object *objects = json_object_new_array();
	for (uint32_t i = 0; i < segment->header.object_count; i++)
		json_object_array_add(objects, object_json(segment, &segment->directory[i]));
	json_object_object_add(root, "objects", objects);
	json_print(root);
}

int inspect_command(int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'}, COMMON_OPTIONS};
	const char *directory = TDM_DIRECTORY;
	bool json = false;
	for (int option; (option = next_option(argc, argv, options)) != -1;) {
		if (option == 'j')
			json = true;
		else
			directory = optarg;
	}
	const char *name = name_argument(argc, argv);

	struct tdm_segment segment;
	if (!open_segment(&segment, directory, name, TDM_MAP_READ_ONLY))
		return EXIT_FAILED;
	if (json)
		print_json(&segment, directory, name);
	else
		print_text(&segment, directory, name);
	(void)!tdm_segment_close(&segment);
	return finish_output();
}
