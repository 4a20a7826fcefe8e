// SPDX-License-Identifier: BSD-2-Clause
// tandem create, recover and rm.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cli.h"
#include "endpoint.h"
#include "record.h"

// ---------------------------------------------------------------------------------------------

const char create_help[] =
    "The memory is reserved at once; a record takes --elem-size bytes and 12 to 19\n"
    "more, however long it is.\n\n"
    "Example: tandem create jobs --capacity 4096 --elem-size 200\n\n"
    "  --kind KIND     spsc: one producer and one consumer, the default and the fastest;\n"
    "                  mpmc: many of each;\n"
    "                  work: mpmc whose records 'tandem recv' takes one at a time\n"
    "  --capacity N    how many records fit, a power of two; default 1024\n"
    "  --elem-size B   the longest record, in bytes; default 1024\n"
    "  --seats N       how many may take part at once, up to 1024; default 64\n"
    "  --mode M        the file's permissions in octal; default 0600\n";

#define ELEM_SIZE_MAX (TDM_SPSC_ELEM_SIZE_MAX - RECORD_HEADER)

static uint64_t capacity_argument(const char *text)
{
	uint64_t value = number_argument("--capacity", text, 1, TDM_SPSC_CAPACITY_MAX);
	uint64_t above = 1;
	while (above < value)
		above *= 2;
	if (above != value)
		usage("--capacity %" PRIu64 " is not a power of two: give %" PRIu64 " or %" PRIu64,
		      value, above / 2, above);
	return value;
}

static uint32_t mode_argument(const char *text)
{
	size_t digits = strspn(text, "01234567");
	unsigned long value = digits > 0 && digits < 8 ? strtoul(text, NULL, 8) : 0;
	if (text[digits] != '\0' || (value & 0600) != 0600 || value > 0666 || (value & 0111) != 0)
		usage("--mode '%s' is no usable mode: give 0600, or 0660 for a group, or 0666",
		      text);
	return (uint32_t)value;
}

static int no_space(const char *directory, const char *name, const struct tdm_object *object)
{
	char needed[32];
	char there[32] = "less";
	struct statvfs info;
	size_text(object->size(object), needed, sizeof(needed));
	if (statvfs(directory, &info) == 0)
		size_text((uint64_t)info.f_bavail * info.f_frsize, there, sizeof(there));
	return failed("no room for '%s' in %s, it needs %s and %s are free: "
		      "give less --capacity or --elem-size",
		      name, directory, needed, there);
}

static int create_failed(const char *directory, const char *name, const struct tdm_object *object,
			 enum tdm_status status)
{
	int error = errno;
	switch (status) {
	case TDM_EXISTS:
		return failed("'%s' exists already in %s: remove it with 'tandem rm %s', or give "
			      "another name",
			      name, directory, name);
	case TDM_NO_SPACE:
		return no_space(directory, name, object);
	case TDM_NOT_FOUND:
		return failed("no directory '%s': name another one with --dir", directory);
	case TDM_DENIED:
		return failed("no permission to create files in '%s': name another directory "
			      "with --dir",
			      directory);
	case TDM_SYSTEM:
		return failed("cannot create '%s' in '%s': %s", name, directory, strerror(error));
	default: // all else was checked
		return failed("cannot create '%s' with %" PRIu64 " records of %" PRIu64
			      " bytes: this does not fit an address space, give less",
			      name, object->capacity, object->elem_size - RECORD_HEADER);
	}
}

enum ring_kind { RING_SPSC, RING_MPMC, RING_WORK };

static enum ring_kind kind_argument(const char *text)
{
	static const char *const names[] = {"spsc", "mpmc", "work"};
	for (enum ring_kind kind = RING_SPSC; kind <= RING_WORK; kind++)
		if (strcmp(text, names[kind]) == 0)
			return kind;
	usage("--kind '%s' is not known: give spsc, mpmc or work", text);
}

static struct tdm_object ring_object(enum ring_kind kind, uint64_t elem_size, uint64_t capacity)
{
	uint64_t bytes = RECORD_HEADER + elem_size;
	struct tdm_object object = kind == RING_SPSC
				       ? tdm_spsc_object(RECORD_OBJECT, bytes, capacity)
				       : tdm_mpmc_object(RECORD_OBJECT, bytes, capacity);
	object.type_tag = tdm_type_tag(kind == RING_WORK ? WORK_TYPE : RECORD_TYPE);
	return object;
}

int create_command(int argc, char **argv)
{
	static const struct option options[] = {
	    {"kind", required_argument, NULL, 'k'},      {"capacity", required_argument, NULL, 'c'},
	    {"elem-size", required_argument, NULL, 'e'}, {"seats", required_argument, NULL, 's'},
	    {"mode", required_argument, NULL, 'm'},      COMMON_OPTIONS};
	const char *directory = TDM_DIRECTORY;
	uint64_t capacity = 1024;
	uint64_t elem_size = 1024;
	enum ring_kind kind = RING_SPSC;
	struct tdm_segment_options how = {0, 0, false, false, NULL};
	for (int option; (option = next_option(argc, argv, options)) != -1;) {
		switch (option) {
		case 'k':
			kind = kind_argument(optarg);
			break;
		case 'c':
			capacity = capacity_argument(optarg);
			break;
		case 'e':
			elem_size = number_argument("--elem-size", optarg, 1, ELEM_SIZE_MAX);
			break;
		case 's':
			how.seats = (uint32_t)number_argument("--seats", optarg, 1, TDM_SEATS_MAX);
			break;
		case 'm':
			how.permissions = mode_argument(optarg);
			break;
		default:
			directory = optarg;
			break;
		}
	}
	const char *name = name_argument(argc, argv);

	if (kind != RING_SPSC && capacity < TDM_MPMC_CAPACITY_MIN)
		usage("--capacity %" PRIu64 " is too small for many: give 2 or more", capacity);
	struct tdm_object object = ring_object(kind, elem_size, capacity);
	how.directory = directory;
	char path[512];
	struct stat info;
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	if (lstat(path, &info) == 0) // before all the memory is reserved for nothing
		return create_failed(directory, name, &object, TDM_EXISTS);
	struct tdm_segment segment;
	enum tdm_status status = tdm_segment_create(&segment, &object, 1, &how);
	if (status != TDM_OK)
		return create_failed(directory, name, &object, status);
	status = tdm_segment_publish(&segment, name);
	int result = status == TDM_OK ? EXIT_DONE : create_failed(directory, name, &object, status);
	(void)!tdm_segment_close(&segment);
	return result;
}

// ---------------------------------------------------------------------------------------------

const char recover_help[] =
    "Frees the seats of dead participants and marks the ends of rings that they\n"
    "held, so that those who wait for them learn of it now. Never needed for\n"
    "progress: whoever comes next does the same. Elements stay. In a ring for many\n"
    "it counts the places that the dead left unfinished.\n\n"
    "Example: tandem recover jobs\n\n";

static void print_count(uint32_t count, const char *what, const char *done)
{
	printf("%" PRIu32 " %s%s %s", count, what, count == 1 ? "" : "s", done);
}

struct recovered {
	uint32_t seats;
	uint32_t roles;
	bool many; // there is a ring for many
	uint32_t places;
};

static int recover_objects(const struct tdm_segment *segment, struct tdm_participant *self,
			   const char *name, struct recovered *done)
{
	int result = EXIT_DONE;
	for (uint32_t i = 0; i < segment->header.object_count; i++) {
		const struct tdm_directory_entry *entry = &segment->directory[i];
		uint32_t recovered = 0;
		bool many = entry->kind == TDM_KIND_MPMC;
		if (!many && entry->kind != TDM_KIND_SPSC)
			continue;
		struct tdm_span ring = tdm_segment_find(segment, entry->name);
		enum tdm_status status = many ? tdm_mpmc_recover(ring, self, &recovered)
					      : tdm_spsc_recover(ring, self, &recovered);
		if (status != TDM_OK)
			result = failed("cannot recover '%s' in '%s': %s; 'tandem rm %s' removes "
					"the segment",
					entry->name, name, tdm_status_text(status), name);
		*(many ? &done->places : &done->roles) += recovered;
		done->many = done->many || many;
	}
	return result;
}

int recover_command(int argc, char **argv)
{
	static const struct option options[] = {COMMON_OPTIONS};
	const char *directory = TDM_DIRECTORY;
	while (next_option(argc, argv, options) != -1)
		directory = optarg;
	const char *name = name_argument(argc, argv);

	struct tdm_segment segment;
	if (!open_segment(&segment, directory, name, TDM_READ_WRITE))
		return EXIT_FAILED;
	struct recovered done = {0, 0, false, 0};
	int result = EXIT_FAILED;
	struct tdm_participant self;
	// Before joining, which would take one of the seats and so hide it from the count.
	enum tdm_status status = tdm_segment_reap(&segment, &done.seats);
	if (status == TDM_OK)
		status = tdm_segment_join(&segment, &self, "tandem recover");
	if (status == TDM_OK) {
		result = recover_objects(&segment, &self, name, &done);
		(void)!tdm_participant_leave(&self);
		print_count(done.seats, "seat", "reaped, ");
		print_count(done.roles, "role", done.many ? "recovered, " : "recovered\n");
		if (done.many)
			print_count(done.places, "place", "left by the dead\n");
	} else if (status == TDM_NO_SEATS) {
		failed("all %" PRIu32 " seats of '%s' are taken by the living: end one of them",
		       segment.header.seat_count, name);
	} else {
		failed("cannot recover '%s': %s", name,
		       status == TDM_SYSTEM ? strerror(errno) : tdm_status_text(status));
	}
	(void)!tdm_segment_close(&segment);
	return result == EXIT_DONE ? finish_output() : result;
}

// ---------------------------------------------------------------------------------------------

const char rm_help[] =
    "Refuses while somebody takes part in it. Who has it open keeps it, without a\n"
    "name, until they close it. Files that are no segments are never removed.\n\n"
    "Example: tandem rm jobs\n\n"
    "  --force         also while it is in use, and when it is damaged\n";

// "pid 123 (tandem send), pid 124 (tandem recv) and 3 more"
static void living_text(const struct tdm_segment *segment, uint32_t live, char *text, size_t size)
{
	struct tdm_seat_info seat;
	uint32_t shown = 0;
	size_t used = 0;
	text[0] = '\0';
	for (uint32_t i = 0; tdm_segment_seat(segment, i, &seat) == TDM_OK && shown < 4; i++) {
		if (seat.liveness != TDM_SEAT_LIVE)
			continue;
		used += (size_t)snprintf(text + used, size - used, "%spid %" PRIu32 " (%s)",
					 shown > 0 ? ", " : "", seat.pid, seat.name);
		shown++;
	}
	if (shown < live)
		snprintf(text + used, size - used, " and %" PRIu32 " more", live - shown);
}

int rm_command(int argc, char **argv)
{
	static const struct option options[] = {{"force", no_argument, NULL, 'f'}, COMMON_OPTIONS};
	const char *directory = TDM_DIRECTORY;
	bool force = false;
	for (int option; (option = next_option(argc, argv, options)) != -1;) {
		if (option == 'f')
			force = true;
		else
			directory = optarg;
	}
	const char *name = name_argument(argc, argv);

	struct tdm_segment segment;
	enum tdm_status status = tdm_segment_open_in(&segment, directory, name, TDM_MAP_READ_ONLY);
	if (status != TDM_OK && force && is_damaged_segment(&segment, status)) {
		char path[512];
		snprintf(path, sizeof(path), "%s/%s", directory, name);
		if (unlink(path) != 0)
			return failed("cannot remove '%s': %s", path, strerror(errno));
		return EXIT_DONE;
	}
	if (status != TDM_OK)
		return open_failed(&segment, directory, name, status);
	uint32_t live = count_seats(&segment).live;
	int result = EXIT_DONE;
	if (live > 0 && !force) {
		char who[4 * 64];
		living_text(&segment, live, who, sizeof(who));
		result =
		    failed("'%s' is in use by %s: end them, or remove it with --force", name, who);
	} else {
		status = tdm_segment_remove(&segment);
		// Not found, busy: somebody else was faster, or is just now.
		if (status != TDM_OK && status != TDM_NOT_FOUND && status != TDM_BUSY)
			result = failed("cannot remove '%s/%s': %s", directory, name,
					status == TDM_SYSTEM ? strerror(errno)
							     : tdm_status_text(status));
	}
	(void)!tdm_segment_close(&segment);
	return result;
}
