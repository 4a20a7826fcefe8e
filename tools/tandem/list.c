// SPDX-License-Identifier: BSD-2-Clause
// tandem ls: which segments there are.
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "json.h"

const char ls_help[] =
    "Shows name, size, how many objects, how many participants are alive and dead,\n"
    "the object's kind where there is one, and when it was created. Other files are passed over, "
    "and so are segments that\n"
    "you may not read.\n\n"
    "Example: tandem ls --json | jq -r '.[] | select(.dead > 0) | .name'\n\n"
    "  --json          an array of objects with the keys name, path, bytes, objects,\n"
    "                  live, dead, kind, created, problem; kind is null where there\n"
    "                  are several; problem is null unless the segment is damaged, and\n"
    "                  then all the others but name and path are\n";

struct row {
	char name[TDM_NAME_SIZE];
	const char *problem; // NULL: none
	uint64_t bytes;
	uint32_t objects;
	const char *kind; // of the only object; NULL: there are several
	struct seat_counts seats;
	uint64_t created_ns;
};

static int may_be_segment(const struct dirent *entry)
{
	return (entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN) &&
	       entry->d_name[0] != '.' && strlen(entry->d_name) < TDM_NAME_SIZE;
}

// False: not a segment, or not one that we may read.
static bool read_row(const char *directory, const char *name, struct row *row)
{
	struct tdm_segment segment;
	memset(row, 0, sizeof(*row));
	snprintf(row->name, sizeof(row->name), "%s", name);
	enum tdm_status status = tdm_segment_open_in(&segment, directory, name, TDM_MAP_READ_ONLY);
	if (status != TDM_OK) {
		row->problem = tdm_status_text(status);
		return is_damaged_segment(&segment, status);
	}
	row->bytes = segment.bytes;
	row->objects = segment.header.object_count;
	if (row->objects == 1)
		row->kind = tdm_kind_name(segment.directory[0].kind);
	row->seats = count_seats(&segment);
	row->created_ns = segment.header.created_ns;
	(void)!tdm_segment_close(&segment);
	return true;
}

static void print_text(struct row *rows, size_t count)
{
	int width = 4;
	for (size_t i = 0; i < count; i++) {
		clean_text(rows[i].name);
		if ((int)strlen(rows[i].name) > width)
			width = (int)strlen(rows[i].name);
	}
	if (count > 0)
		printf("%-*s  %10s  %7s  %4s  %4s  %-5s  %s\n", width, "NAME", "SIZE", "OBJECTS",
		       "LIVE", "DEAD", "KIND", "CREATED");
	for (size_t i = 0; i < count; i++) {
		const struct row *row = &rows[i];
		char size[32];
		char created[32];
		if (row->problem != NULL) {
			printf("%-*s  damaged: %s\n", width, row->name, row->problem);
			continue;
		}
		size_text(row->bytes, size, sizeof(size));
		local_time_text(row->created_ns, created, sizeof(created));
		printf("%-*s  %10s  %7" PRIu32 "  %4" PRIu32 "  %4" PRIu32 "  %-5s  %s\n", width,
		       row->name, size, row->objects, row->seats.live, row->seats.dead,
		       row->kind != NULL ? row->kind : "-", created);
	}
}

static void print_json(const char *directory, const struct row *rows, size_t count)
{
	struct json_object *array = json_object_new_array();
	for (size_t i = 0; i < count; i++) {
		const struct row *row = &rows[i];
		bool fine = row->problem == NULL;
		struct json_object *object = json_object_new_object();
		json_add_text(object, "name", row->name);
		json_add_path(object, "path", directory, row->name);
		json_add_number_if(object, "bytes", fine, row->bytes);
		json_add_number_if(object, "objects", fine, row->objects);
		json_add_number_if(object, "live", fine, row->seats.live);
		json_add_number_if(object, "dead", fine, row->seats.dead);
		json_add_text(object, "kind", row->kind);
		json_add_time(object, "created", row->created_ns);
		json_add_text(object, "problem", row->problem);
		json_object_array_add(array, object);
	}
	json_print(array);
}

int ls_command(int argc, char **argv)
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
	no_argument_left(argc, argv);

	struct dirent **entries;
	int found = scandir(directory, &entries, may_be_segment, alphasort);
	if (found < 0)
		return failed("cannot read the directory '%s': %s", directory, strerror(errno));
	struct row *rows = calloc((size_t)found + 1, sizeof(*rows));
	if (rows == NULL)
		return failed("no memory for a list of %d files: end other programs", found);
	size_t count = 0;
	for (int i = 0; i < found; i++) {
		count += read_row(directory, entries[i]->d_name, &rows[count]);
		free(entries[i]);
	}
	free(entries);
	if (json)
		print_json(directory, rows, count);
	else
		print_text(rows, count);
	free(rows);
	return finish_output();
}
