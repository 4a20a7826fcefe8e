// SPDX-License-Identifier: BSD-2-Clause
// Death at every instruction of what is done with a segment: creating, publishing, opening,
// removing, closing, sending, receiving. Afterwards a name leads to a whole segment or to nothing,
// nothing else lies about, and whoever tries again succeeds.
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>

static bool tmpfile_refused; // as by a file system without unnamed files
#define TDM_SEAM_OPEN_UNNAMED(directory)                                                           \
	(tmpfile_refused ? (errno = EOPNOTSUPP, -1)                                                \
			 : open(directory, TDM_O_TMPFILE_ | O_RDWR | O_CLOEXEC, 0600))

#include <tandem/shm/segment.h>

#include <sys/socket.h>

#include "../support/broken/segment_publish.h"
#include "../support/process.h"
#include "crash.h"

#define NAME "name"
#define WORDS 32U
#define SEATS 2U

static char scratch[64];
static struct tdm_segment segment; // the parent's, where a case needs one
static int ends[2];                // of a socket pair, likewise
static int descriptors;
static bool *removed; // by the first victim, to the end

// Words that count, so that a half-made object shows.
static enum tdm_status words_init(struct tdm_span span, const struct tdm_object *object)
{
	uint64_t *words = span.base;
	(void)object;
	for (uint64_t i = 0; i < WORDS; i++)
		words[i] = 1000 + i;
	return TDM_OK;
}

static enum tdm_status create(struct tdm_segment *made, bool sealed)
{
	struct tdm_segment_options options = {
	    .sealed = sealed, .directory = scratch, .seats = SEATS};
	struct tdm_object object = tdm_bytes_object("words", WORDS * 8, 8, "words");
	object.init = words_init;
	return tdm_segment_create(made, &object, 1, &options);
}

static const char *whole(const struct tdm_segment *opened)
{
	void *object = NULL;
	if (tdm_segment_bytes(opened, "words", WORDS * 8, "words", &object) != TDM_OK)
		return "a segment lacks its object";
	const uint64_t *words = object;
	for (uint64_t i = 0; i < WORDS; i++)
		if (words[i] != 1000 + i)
			return "an object is half-made";
	return NULL;
}

// Every seat can be had, and given back.
static const char *seats_work(struct tdm_segment *opened)
{
	struct tdm_participant members[SEATS];
	for (uint32_t i = 0; i < SEATS; i++)
		if (tdm_segment_join(opened, &members[i], "survivor") != TDM_OK)
			return "a seat is lost";
	for (uint32_t i = 0; i < SEATS; i++)
		if (tdm_participant_leave(&members[i]) != TDM_OK)
			return "a survivor cannot leave";
	return NULL;
}

static const char *close_again(struct tdm_segment *opened, const char *complaint)
{
	enum tdm_status status = tdm_segment_close(opened);
	return complaint != NULL ? complaint : status != TDM_OK ? "closing is refused" : NULL;
}

// What lies at the name: *there says whether, and then it is whole.
static const char *look_up(bool *there)
{
	struct tdm_segment opened;
	enum tdm_status status = tdm_segment_open_in(&opened, scratch, NAME, TDM_READ_WRITE);
	*there = status == TDM_OK;
	if (status == TDM_NOT_FOUND)
		return NULL;
	if (status != TDM_OK)
		return "the name leads to half a segment";
	const char *complaint = whole(&opened);
	if (complaint == NULL)
		complaint = seats_work(&opened);
	return close_again(&opened, complaint);
}

// --- before and after ---

static void *nothing_there(void)
{
	descriptors = count_descriptors();
	*removed = false;
	return &segment;
}

static void *created(void)
{
	(void)nothing_there();
	if (create(&segment, false) != TDM_OK)
		abort();
	return &segment;
}

static void *published(void)
{
	(void)created();
	if (tdm_segment_publish(&segment, NAME) != TDM_OK)
		abort();
	return &segment;
}

static void *connected(void)
{
	(void)nothing_there();
	if (create(&segment, true) != TDM_OK ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
		abort();
	return &segment;
}

static void *sent(void)
{
	(void)connected();
	if (tdm_segment_send(&segment, ends[0]) != TDM_OK)
		abort();
	return &segment;
}

// Empties the directory and closes what setup opened.
static void drop(void *unused)
{
	(void)unused;
	if (segment.base != NULL && tdm_segment_close(&segment) != TDM_OK)
		abort();
	if (ends[0] > 0) {
		close(ends[0]);
		close(ends[1]);
		ends[0] = 0;
	}
	DIR *directory = opendir(scratch);
	for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			unlinkat(dirfd(directory), entry->d_name, 0);
	closedir(directory);
}

// --- victims ---

static void creates_and_publishes(void *unused)
{
	struct tdm_segment made;
	(void)unused;
	crash_begin();
	if (create(&made, false) != TDM_OK || tdm_segment_publish(&made, NAME) != TDM_OK)
		_exit(1);
	crash_end();
}

// The second one may find the name taken by the first.
static void creates_and_tries_to_publish(void *unused)
{
	struct tdm_segment made;
	(void)unused;
	crash_begin();
	if (create(&made, false) != TDM_OK)
		_exit(1);
	enum tdm_status status = tdm_segment_publish(&made, NAME);
	if (status != TDM_OK && status != TDM_EXISTS)
		_exit(1);
	crash_end();
}

static void publishes(void *unused)
{
	(void)unused;
	crash_begin();
	if (tdm_segment_publish(&segment, NAME) != TDM_OK)
		_exit(1);
	crash_end();
}

static void publishes_brokenly(void *unused)
{
	char path[sizeof(scratch) + sizeof(NAME)];
	snprintf(path, sizeof(path), "%s/" NAME, scratch);
	(void)unused;
	crash_begin();
	if (broken_publish(&segment, path) != TDM_OK)
		_exit(1);
	crash_end();
}

static void publishes_in_vain(void *unused)
{
	struct tdm_segment made;
	(void)unused;
	if (create(&made, false) != TDM_OK)
		_exit(1);
	crash_begin();
	if (tdm_segment_publish(&made, NAME) != TDM_EXISTS)
		_exit(1);
	crash_end();
}

static void creates_sealed(void *unused)
{
	struct tdm_segment made;
	(void)unused;
	crash_begin();
	if (create(&made, true) != TDM_OK)
		_exit(1);
	crash_end();
}

static void opens(void *unused)
{
	struct tdm_segment opened;
	(void)unused;
	crash_begin();
	if (tdm_segment_open_in(&opened, scratch, NAME, TDM_READ_WRITE) != TDM_OK)
		_exit(1);
	crash_end();
}

static void opens_and_closes(void *unused)
{
	struct tdm_segment opened;
	(void)unused;
	if (tdm_segment_open_in(&opened, scratch, NAME, TDM_READ_WRITE) != TDM_OK)
		_exit(1);
	crash_begin();
	if (tdm_segment_close(&opened) != TDM_OK)
		_exit(1);
	crash_end();
}

static void removes(void *unused)
{
	(void)unused;
	crash_begin();
	enum tdm_status status = tdm_segment_remove(&segment);
	if (status != TDM_OK && status != TDM_NOT_FOUND)
		_exit(1);
	*removed = true;
	crash_end();
}

static void sends(void *unused)
{
	(void)unused;
	crash_begin();
	if (tdm_segment_send(&segment, ends[0]) != TDM_OK)
		_exit(1);
	crash_end();
}

static void receives_and_joins(void *unused)
{
	struct tdm_segment opened;
	struct tdm_participant self;
	(void)unused;
	crash_begin();
	if (tdm_segment_receive(&opened, ends[1], TDM_READ_WRITE) != TDM_OK ||
	    tdm_segment_join(&opened, &self, "victim") != TDM_OK)
		_exit(1);
	crash_end();
}

// --- what survivors find ---

static const char *nothing_open(const char *complaint)
{
	if (complaint == NULL && count_descriptors() != descriptors)
		complaint = "a descriptor is left open";
	return complaint;
}

// The name is there or not, and the next one can have it.
static const char *audit_publishing(void *unused, bool completed)
{
	struct tdm_segment next;
	bool there = false;
	(void)unused;
	const char *complaint = look_up(&there);
	if (complaint != NULL)
		return complaint;
	if (completed && !there)
		return "what was published is not there";
	if (segment.base != NULL && tdm_segment_close(&segment) != TDM_OK)
		return "closing is refused";
	// Only where files must have names may one of the creator's be left, one for each death.
	int litter = count_entries(scratch) - there;
	if (litter > (tmpfile_refused && !completed ? 2 : 0))
		return "a file is left behind";
	if (create(&next, false) != TDM_OK)
		return "the next one cannot create";
	enum tdm_status status = tdm_segment_publish(&next, NAME);
	if (status != (there ? TDM_EXISTS : TDM_OK))
		return "the next one cannot publish as it should";
	if (status == TDM_OK && tdm_segment_remove(&next) != TDM_OK)
		return "the next one cannot remove";
	if (tdm_segment_close(&next) != TDM_OK)
		return "the next one cannot close";
	if (count_entries(scratch) != litter + there)
		return "a file has come or gone";
	return nothing_open(NULL);
}

// One segment under the name, which nothing that the victim did may touch.
static const char *audit_standing(void *unused, bool completed)
{
	bool there = false;
	(void)unused;
	(void)completed;
	const char *complaint = look_up(&there);
	if (complaint == NULL && (!there || !tdm_segment_named(&segment)))
		complaint = "the name is gone";
	if (complaint == NULL && count_entries(scratch) != 1)
		complaint = "a file is left behind";
	if (complaint == NULL)
		complaint = whole(&segment);
	return complaint;
}

static const char *audit_removing(void *unused, bool completed)
{
	bool there = false;
	(void)unused;
	const char *complaint = look_up(&there);
	if (complaint != NULL)
		return complaint;
	if (there && (completed || *removed))
		return "what was removed is there";
	if (tdm_segment_remove(&segment) != (there ? TDM_OK : TDM_NOT_FOUND))
		return "the next one cannot remove";
	if (count_entries(scratch) != 0)
		return "a file is left behind";
	complaint = whole(&segment); // the memory stays
	return close_again(&segment, complaint);
}

// Nobody is joined any more; what is in the socket is a whole segment or nothing.
static const char *audit_socket(void *unused, bool completed)
{
	struct tdm_segment opened;
	(void)unused;
	(void)completed;
	const char *complaint = seats_work(&segment);
	if (complaint != NULL)
		return complaint;
	enum tdm_status status = tdm_segment_receive(&opened, ends[1], TDM_READ_WRITE);
	if (status == TDM_OK) {
		complaint = whole(&opened);
		if (complaint == NULL)
			complaint = seats_work(&opened);
		complaint = close_again(&opened, complaint);
	} else if (status != TDM_SYSTEM || errno != EAGAIN) {
		complaint = "half a segment came";
	}
	return complaint;
}

static const char *audit_sending(void *state, bool completed)
{
	struct tdm_segment opened;
	if (completed) {
		if (tdm_segment_receive(&opened, ends[1], TDM_READ_WRITE) != TDM_OK)
			return "what was sent did not come";
		const char *complaint = close_again(&opened, whole(&opened));
		if (complaint != NULL)
			return complaint;
	}
	if (tdm_segment_send(&segment, ends[0]) != TDM_OK)
		return "the next one cannot send";
	return audit_socket(state, completed);
}

static const char *audit_nothing(void *unused, bool completed)
{
	(void)unused;
	(void)completed;
	return nothing_open(count_entries(scratch) != 0 ? "a file is left behind" : NULL);
}

int main(void)
{
	static const struct crash_case singles[] = {
	    {"create, publish", nothing_there, creates_and_publishes, NULL, audit_publishing, drop},
	    {"publish", created, publishes, NULL, audit_publishing, drop},
	    {"publish in vain", published, publishes_in_vain, NULL, audit_standing, drop},
	    {"create sealed", nothing_there, creates_sealed, NULL, audit_nothing, drop},
	    {"open", published, opens, NULL, audit_standing, drop},
	    {"close", published, opens_and_closes, NULL, audit_standing, drop},
	    {"remove", published, removes, NULL, audit_removing, drop},
	    {"send", connected, sends, NULL, audit_sending, drop},
	    {"receive, join", sent, receives_and_joins, NULL, audit_socket, drop},
	};
	static const struct crash_case named[] = {
	    {"create, publish, with a temporary name", nothing_there, creates_and_publishes, NULL,
	     audit_publishing, drop},
	    {"publish from a temporary name", created, publishes, NULL, audit_publishing, drop},
	};
	static const struct crash_case pairs[] = {
	    {"publish, publish", nothing_there, creates_and_publishes, creates_and_tries_to_publish,
	     audit_publishing, drop},
	    {"remove, remove", published, removes, removes, audit_removing, drop},
	    {"remove, publish", published, removes, creates_and_tries_to_publish, audit_publishing,
	     drop},
	};
	if (!crash_available())
		tap_skip_all("no single-stepping here");
	removed = crash_shared(sizeof(*removed));
	snprintf(scratch, sizeof(scratch), "/dev/shm/tandem-test-%d.d", (int)getpid());
	if (mkdir(scratch, 0700) != 0)
		tap_skip_all("no /dev/shm here");
	// What the first of everything sets up in a process is not what is looked at.
	(void)published();
	CHECK(seats_work(&segment) == NULL);
	drop(NULL);

	uint64_t kills = 0;
	tap_case("a death at any instruction leaves a whole segment or none");
	for (size_t i = 0; i < sizeof(singles) / sizeof(singles[0]); i++)
		kills += crash_must_hold(&singles[i], 1, 1);
	tap_case("where files must have names, one of the creator's may stay, and no other");
	tmpfile_refused = true;
	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++)
		kills += crash_must_hold(&named[i], 5, 1);
	tmpfile_refused = false;
	tap_case("neither does a second death on what the first one left");
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		kills += crash_must_hold(&pairs[i], 251, 257);
	tap_note("%" PRIu64 " kills", kills);

	tap_case("a segment that is filled under its name is caught");
	static const struct crash_case broken = {
	    "broken publish", created, publishes_brokenly, NULL, audit_publishing, drop};
	crash_must_fail(&broken, 1, "the name leads to half a segment");
	tap_case("nothing is left behind");
	CHECK(rmdir(scratch) == 0);
	return tap_done();
}
