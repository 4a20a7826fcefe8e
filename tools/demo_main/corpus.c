// SPDX-License-Identifier: BSD-2-Clause
// Real text: files that every Debian has.
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "demo.h"

#define MB UINT64_C(1000000)

// All of the first two; of the others as much as it takes.
static const char *const roots[] = {"/usr/include", "/usr/share/doc", "/usr/share", "/usr/lib",
				    "/usr"};
#define ROOTS (sizeof(roots) / sizeof(roots[0]))
#define WHOLE_ROOTS 2U

static const uint64_t enough = 50 * MB;
static const uint64_t limit = 512 * MB;
static const uint64_t quick_limit = 10 * MB;
static const uint64_t large = 16 * MB; // no text is; not taken from the other directories

struct found {
	uint64_t *sizes;
	uint64_t *offsets; // in `paths`
	char *paths;
	size_t count, room, used, paths_room;
};

static void *grow(void *memory, size_t count, size_t size)
{
	void *more = reallocarray(memory, count, size);
	if (more == NULL)
		fail("no memory for the list of files");
	return more;
}

static void found_add(struct found *found, const char *path, size_t length, uint64_t size)
{
	if (found->count == found->room) {
		found->room = found->room * 2 + 1024;
		found->sizes = grow(found->sizes, found->room, sizeof(*found->sizes));
		found->offsets = grow(found->offsets, found->room, sizeof(*found->offsets));
	}
	if (found->used + length + 1 > found->paths_room) {
		found->paths_room = found->paths_room * 2 + length + 65536;
		found->paths = grow(found->paths, found->paths_room, 1);
	}
	found->sizes[found->count] = size;
	found->offsets[found->count++] = found->used;
	memcpy(found->paths + found->used, path, length + 1);
	found->used += length + 1;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static bool taken_before(const char *path, size_t root)
{
	for (size_t i = 0; i < root; i++)
		if (strcmp(path, roots[i]) == 0)
			return true;
	return false;
}

// Adds what is below a root, in the order of names. False: that is enough.
static bool search(struct corpus *corpus, struct found *found, size_t root, uint64_t most)
{
	char path[32];
	char *const paths[] = {path, NULL};
	snprintf(path, sizeof(path), "%s", roots[root]);
	FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	if (walk == NULL)
		fail("cannot list %s: %s", path, strerror(errno));
	bool more = true;
	for (FTSENT *entry; more && (entry = fts_read(walk)) != NULL;) {
		if (entry->fts_info == FTS_D && taken_before(entry->fts_path, root))
			fts_set(walk, entry, FTS_SKIP);
		if (entry->fts_info != FTS_F || entry->fts_statp->st_size == 0 ||
		    access(entry->fts_path, R_OK) != 0)
			continue;
		uint64_t size = (uint64_t)entry->fts_statp->st_size;
		if (root >= WHOLE_ROOTS && size > large)
			continue;
		if (corpus->bytes + size > most && corpus->bytes > 0) {
			corpus->cut = true;
			more = false;
			continue;
		}
		found_add(found, entry->fts_path, entry->fts_pathlen, size);
		corpus->bytes += size;
		if (found->count % 1000 == 0) {
			check_stop();
			progress("looking for text", corpus->bytes, 0);
		}
		if (root >= WHOLE_ROOTS && corpus->bytes >= enough)
			more = false;
	}
	fts_close(walk);
	return more;
}

void corpus_find(struct corpus *corpus, bool quick)
{
	struct found found = {0};
	memset(corpus, 0, sizeof(*corpus));
	for (size_t root = 0; root < ROOTS; root++) {
		size_t before = found.count;
		if (root >= WHOLE_ROOTS && (corpus->bytes >= enough || corpus->cut))
			break;
		bool more = search(corpus, &found, root, quick ? quick_limit : limit);
		if (found.count > before) {
			size_t length = strlen(corpus->where);
			snprintf(corpus->where + length, sizeof(corpus->where) - length, "%s%s",
				 length > 0 ? ", " : "", roots[root]);
		}
		if (!more)
			break;
	}
	if (found.count == 0)
		fail("no readable file below /usr");

	size_t head = sizeof(*corpus->list) + found.count * sizeof(corpus->list->file[0]);
	corpus->list_bytes = head + found.used;
	corpus->list = grow(NULL, corpus->list_bytes, 1);
	corpus->list->count = found.count;
	for (size_t i = 0; i < found.count; i++) {
		corpus->list->file[i].size = found.sizes[i];
		corpus->list->file[i].path = head + found.offsets[i];
	}
	memcpy((char *)corpus->list + head, found.paths, found.used);
	free(found.sizes);
	free(found.offsets);
	free(found.paths);
}

// ---------------------------------------------------------------------------------------------

static void changed(const struct file_list *list, uint64_t file)
{
	fail("%s changed while the demonstration ran: try again", file_path(list, file));
}

static void count(struct tally *tally, struct tally *first, uint32_t header,
		  const unsigned char *bytes)
{
	tally_add(tally, header, bytes);
	if (tally->records <= JOBS_MAX)
		*first = *tally;
}

// Shares no code with the cutter, whose work it checks.
void corpus_count(const struct corpus *corpus, struct tally *tally, struct tally *first)
{
	const struct file_list *list = corpus->list;
	static unsigned char chunk[65536];
	unsigned char bytes[ROOM];
	uint64_t read_bytes = 0;
	memset(tally, 0, sizeof(*tally));
	memset(first, 0, sizeof(*first));
	for (uint64_t file = 0; file < list->count; file++) {
		FILE *stream = fopen(file_path(list, file), "re");
		if (stream == NULL)
			fail("cannot open %s: %s", file_path(list, file), strerror(errno));
		(void)setvbuf(stream, NULL, _IONBF, 0);
		uint32_t length = 0;
		uint64_t left = list->file[file].size;
		while (left > 0) {
			const size_t most = left < sizeof(chunk) ? (size_t)left : sizeof(chunk);
			const size_t got = fread(chunk, 1, most, stream);
			if (got == 0)
				changed(list, file);
			left -= got;
			for (size_t i = 0; i < got; i++) {
				if (length == ROOM) {
					count(tally, first, length | RECORD_MORE, bytes);
					length = 0;
				}
				bytes[length++] = chunk[i];
				if (chunk[i] == '\n') {
					count(tally, first, length, bytes);
					length = 0;
				}
			}
		}
		if (length > 0)
			count(tally, first, length, bytes);
		(void)fclose(stream);
		read_bytes += list->file[file].size;
		if (file % 100 == 0) {
			check_stop();
			progress("counting lines", read_bytes, corpus->bytes);
		}
	}
}

// ---------------------------------------------------------------------------------------------

void cutter_start(struct cutter *cutter, const struct file_list *list, uint64_t file,
		  uint64_t offset)
{
	cutter->list = list;
	cutter->file = file;
	cutter->offset = offset;
	cutter->fd = -1;
	cutter->begin = 0;
	cutter->end = 0;
}

// Brings at least `wanted` bytes of the file into the buffer.
static void cutter_fill(struct cutter *cutter, size_t wanted)
{
	const struct file_list *list = cutter->list;
	if (cutter->fd < 0)
		cutter->fd = open(file_path(list, cutter->file), O_RDONLY | O_CLOEXEC);
	if (cutter->fd < 0)
		fail("cannot open %s: %s", file_path(list, cutter->file), strerror(errno));
	memmove(cutter->buffer, cutter->buffer + cutter->begin, cutter->end - cutter->begin);
	cutter->end -= cutter->begin;
	cutter->begin = 0;
	while (cutter->end < wanted) {
		ssize_t got = pread(cutter->fd, cutter->buffer + cutter->end,
				    sizeof(cutter->buffer) - cutter->end,
				    (off_t)(cutter->offset + cutter->end));
		if (got <= 0)
			changed(list, cutter->file);
		cutter->end += (size_t)got;
	}
}

uint32_t cutter_next(struct cutter *cutter, const unsigned char **bytes)
{
	const struct file_list *list = cutter->list;
	while (cutter->file < list->count && cutter->offset == list->file[cutter->file].size) {
		if (cutter->fd >= 0)
			close(cutter->fd);
		cutter_start(cutter, list, cutter->file + 1, 0);
	}
	*bytes = cutter->buffer;
	if (cutter->file == list->count)
		return RECORD_END;
	uint64_t left = list->file[cutter->file].size - cutter->offset;
	uint32_t most = left < ROOM ? (uint32_t)left : ROOM;
	if (cutter->end - cutter->begin < most)
		cutter_fill(cutter, most);
	*bytes = cutter->buffer + cutter->begin;
	const unsigned char *newline = memchr(*bytes, '\n', most);
	uint32_t length = newline != NULL ? (uint32_t)(newline - *bytes) + 1 : most;
	cutter->begin += length;
	cutter->offset += length;
	return newline == NULL && length < left ? length | RECORD_MORE : length;
}
