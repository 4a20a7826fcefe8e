// SPDX-License-Identifier: BSD-2-Clause
// What segments promise: whole or not there, a status of its own for each way to be wrong, nothing
// left behind. Compiled as C and as C++ (segment_test_cxx.cc).
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>

static bool tmpfile_refused; // as by a file system without unnamed files
#define TDM_SEAM_OPEN_UNNAMED(directory)                                                           \
	(tmpfile_refused ? (errno = EOPNOTSUPP, -1)                                                \
			 : open(directory, TDM_O_TMPFILE_ | O_RDWR | O_CLOEXEC, 0600))

// What shall happen just before the next unlink, the next flock.
#include <sys/file.h>
#include <unistd.h>
static void (*before_unlink)(void);
static void (*before_flock)(void);
static int unlink_late(const char *path)
{
	void (*happens)(void) = before_unlink;
	before_unlink = 0;
	if (happens)
		happens();
	return unlink(path);
}
static int flock_late(int fd, int how)
{
	void (*happens)(void) = before_flock;
	before_flock = 0;
	if (happens)
		happens();
	return flock(fd, how);
}

// A timer that ticks faster than a kernel reserves many pages: it starts over for ever.
static bool timer_ticks;
static unsigned interruptions;
static int interrupted_fallocate(int fd, off_t at, off_t bytes)
{
	if (timer_ticks && (++interruptions % 3 == 0 || bytes > 4 << 20))
		return interruptions > 1000 ? EIO : EINTR;
	return posix_fallocate(fd, at, bytes);
}
#define unlink unlink_late
#define flock(fd, how) flock_late(fd, how)
#define posix_fallocate(fd, at, bytes) interrupted_fallocate(fd, at, bytes)
#include <tandem/shm/segment.h>
#undef unlink
#undef flock
#undef posix_fallocate

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../support/process.h"
#include "../support/tap.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * KIB)

static char scratch[64];       // a directory on /dev/shm that only this test uses
static char scratch_file[160]; // a path in it

static const char *in_scratch(const char *name)
{
	snprintf(scratch_file, sizeof(scratch_file), "%s/%s", scratch, name);
	return scratch_file;
}

static struct tdm_segment_options options_in_scratch(void)
{
	struct tdm_segment_options options;
	memset(&options, 0, sizeof(options));
	options.directory = scratch;
	return options;
}

static struct tdm_segment_options sealed_options(void)
{
	struct tdm_segment_options options;
	memset(&options, 0, sizeof(options));
	options.sealed = true;
	return options;
}

// A segment with one object "cell" of 8 bytes, not published.
static enum tdm_status create_small(struct tdm_segment *segment,
				    const struct tdm_segment_options *options)
{
	struct tdm_object object = tdm_bytes_object("cell", 8, 8, "uint64_t");
	return tdm_segment_create(segment, &object, 1, options);
}

static enum tdm_status create_and_publish(struct tdm_segment *segment, const char *name)
{
	struct tdm_segment_options options = options_in_scratch();
	enum tdm_status status = create_small(segment, &options);
	return status == TDM_OK ? tdm_segment_publish(segment, name) : status;
}

static void remove_and_close(struct tdm_segment *segment)
{
	CHECK_STATUS(tdm_segment_remove(segment), TDM_OK);
	CHECK_STATUS(tdm_segment_close(segment), TDM_OK);
}

static enum tdm_status open_scratch(struct tdm_segment *segment, const char *name,
				    enum tdm_segment_mode mode)
{
	return tdm_segment_open_in(segment, scratch, name, mode);
}

static uint64_t *cell_of(const struct tdm_segment *segment)
{
	void *object = TDM_NULL;
	CHECK_STATUS(tdm_segment_bytes(segment, "cell", 8, "uint64_t", &object), TDM_OK);
	return TDM_CAST(uint64_t *, object);
}

// --- the way things should go ---

static void life_of_a_segment(void)
{
	struct tdm_segment maker, user;
	struct tdm_object objects[3] = {
	    tdm_bytes_object("first", 1, 1, TDM_NULL),
	    tdm_bytes_object("second", 100, 4096, "struct second"),
	    tdm_bytes_object("third", 3 * 4096, 64, TDM_NULL),
	};
	char name[TDM_NAME_SIZE];
	snprintf(name, sizeof(name), "tandem-test-%d", TDM_CAST(int, getpid()));
	CHECK_STATUS(tdm_segment_open(&user, name, TDM_READ_WRITE), TDM_NOT_FOUND);
	CHECK_STATUS(tdm_segment_create(&maker, objects, 3, TDM_NULL), TDM_OK);
	CHECK(!tdm_segment_named(&maker));
	CHECK_STATUS(tdm_segment_open(&user, name, TDM_READ_WRITE), TDM_NOT_FOUND);
	CHECK_STATUS(tdm_segment_publish(&maker, name), TDM_OK);
	CHECK(tdm_segment_named(&maker));
	CHECK_STATUS(tdm_segment_open(&user, name, TDM_READ_WRITE), TDM_OK);
	CHECK(tdm_segment_named(&user));
	CHECK(user.base != maker.base);
	CHECK_EQ_U64(user.bytes % 4096, 0);
	CHECK_EQ_U64(user.table.seat_count, TDM_SEATS_DEFAULT);
	CHECK(memcmp(user.header.identity, maker.header.identity, 16) == 0);
	CHECK(user.header.created_ns != 0);

	uintptr_t end = 0;
	for (unsigned i = 0; i < 3; i++) {
		struct tdm_span made = tdm_segment_find(&maker, objects[i].name);
		struct tdm_span used = tdm_segment_find(&user, objects[i].name);
		CHECK_STATUS(made.status, TDM_OK);
		CHECK_STATUS(used.status, TDM_OK);
		CHECK_EQ_U64(used.bytes, objects[i].elem_size);
		CHECK_EQ_U64(used.kind, TDM_KIND_BYTES);
		CHECK(!used.read_only);
		uintptr_t begin = TDM_RETYPE(uintptr_t, used.base);
		CHECK(begin % 128 == 0 && begin % objects[i].elem_align == 0 && begin >= end);
		end = begin + TDM_CAST(size_t, used.bytes);
		unsigned char *there = TDM_CAST(unsigned char *, made.base);
		const unsigned char *here = TDM_CAST(unsigned char *, used.base);
		CHECK(here[0] == 0 && here[used.bytes - 1] == 0);
		there[used.bytes - 1] = 7;
		CHECK(here[used.bytes - 1] == 7);
	}
	CHECK(end <= TDM_RETYPE(uintptr_t, user.base) + user.bytes);
	CHECK_STATUS(tdm_segment_find(&user, "fourth").status, TDM_NOT_FOUND);

	CHECK_STATUS(tdm_segment_remove(&maker), TDM_OK);
	CHECK(!tdm_segment_named(&maker) && !tdm_segment_named(&user));
	CHECK_STATUS(tdm_segment_remove(&maker), TDM_NOT_FOUND);
	CHECK_STATUS(tdm_segment_remove(&user), TDM_NOT_FOUND);
	CHECK_STATUS(tdm_segment_close(&maker), TDM_OK);
	CHECK(TDM_CAST(unsigned char *, tdm_segment_find(&user, "second").base)[99] == 7);
	CHECK_STATUS(tdm_segment_close(&user), TDM_OK);
}

static void no_objects_at_all(void)
{
	struct tdm_segment maker, user;
	struct tdm_segment_options options = options_in_scratch();
	options.seats = 1;
	CHECK_STATUS(tdm_segment_create(&maker, TDM_NULL, 0, &options), TDM_OK);
	CHECK_STATUS(tdm_segment_publish(&maker, "empty"), TDM_OK);
	CHECK_STATUS(open_scratch(&user, "empty", TDM_READ_WRITE), TDM_OK);
	CHECK_EQ_U64(user.table.seat_count, 1);
	CHECK_STATUS(tdm_segment_find(&user, "cell").status, TDM_NOT_FOUND);
	remove_and_close(&user);
	CHECK_STATUS(tdm_segment_close(&maker), TDM_OK);
}

static void a_full_directory(void)
{
	static struct tdm_object objects[TDM_OBJECTS_MAX + 1];
	static char names[TDM_OBJECTS_MAX + 1][TDM_NAME_SIZE];
	for (unsigned i = 0; i <= TDM_OBJECTS_MAX; i++) {
		snprintf(names[i], TDM_NAME_SIZE, "%031u", i); // 31 bytes, the longest
		objects[i] = tdm_bytes_object(names[i], 8, 8, TDM_NULL);
	}
	struct tdm_segment maker, user;
	struct tdm_segment_options options = options_in_scratch();
	options.seats = TDM_SEATS_MAX;
	CHECK_STATUS(tdm_segment_create(&maker, objects, TDM_OBJECTS_MAX + 1, &options),
		     TDM_INVALID);
	if (!CHECK_STATUS(tdm_segment_create(&maker, objects, TDM_OBJECTS_MAX, &options), TDM_OK))
		return;
	CHECK_STATUS(tdm_segment_publish(&maker, names[0]), TDM_OK);
	CHECK_STATUS(open_scratch(&user, names[0], TDM_READ_WRITE), TDM_OK);
	CHECK_EQ_U64(user.table.seat_count, TDM_SEATS_MAX);
	for (unsigned i = 0; i < TDM_OBJECTS_MAX; i++) {
		struct tdm_span span = tdm_segment_find(&maker, names[i]);
		*TDM_CAST(uint64_t *, span.base) = i + 1;
	}
	for (unsigned i = 0; i < TDM_OBJECTS_MAX; i++) {
		struct tdm_span span = tdm_segment_find(&user, names[i]);
		if (!CHECK_EQ_U64(*TDM_CAST(uint64_t *, span.base), i + 1))
			break;
	}
	remove_and_close(&user);
	CHECK_STATUS(tdm_segment_close(&maker), TDM_OK);
}

static void bytes_are_typed(void)
{
	struct tdm_segment segment;
	void *object = TDM_NULL;
	struct tdm_object objects[3] = {
	    tdm_bytes_object("tagged", 24, 8, "struct job"),
	    tdm_bytes_object("plain", 24, 8, TDM_NULL),
	    tdm_bytes_object("other", 24, 8, TDM_NULL),
	};
	objects[2].kind = 77; // not bytes
	struct tdm_segment_options options = options_in_scratch();
	CHECK_STATUS(tdm_segment_create(&segment, objects, 3, &options), TDM_OK);
	CHECK_STATUS(tdm_segment_bytes(&segment, "tagged", 24, "struct job", &object), TDM_OK);
	CHECK(object == tdm_segment_find(&segment, "tagged").base);
	CHECK_STATUS(tdm_segment_bytes(&segment, "tagged", 24, "job", &object), TDM_OK);
	CHECK_STATUS(tdm_segment_bytes(&segment, "tagged", 24, TDM_NULL, &object), TDM_OK);
	CHECK_STATUS(tdm_segment_bytes(&segment, "tagged", 25, "job", &object), TDM_WRONG_TYPE);
	CHECK(object == TDM_NULL);
	CHECK_STATUS(tdm_segment_bytes(&segment, "tagged", 24, "struct jobs", &object),
		     TDM_WRONG_TYPE);
	CHECK_STATUS(tdm_segment_bytes(&segment, "plain", 24, TDM_NULL, &object), TDM_OK);
	CHECK_STATUS(tdm_segment_bytes(&segment, "plain", 24, "struct job", &object),
		     TDM_WRONG_TYPE);
	CHECK_STATUS(tdm_segment_bytes(&segment, "other", 24, TDM_NULL, &object), TDM_WRONG_KIND);
	CHECK_STATUS(tdm_segment_bytes(&segment, "none", 24, TDM_NULL, &object), TDM_NOT_FOUND);
	CHECK(object == TDM_NULL);
	CHECK_EQ_U64(tdm_segment_find(&segment, "other").kind, 77);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	CHECK_STATUS(tdm_segment_bytes(&segment, "plain", 24, TDM_NULL, &object), TDM_NOT_FOUND);
	CHECK_STATUS(tdm_segment_find(&segment, "plain").status, TDM_NOT_FOUND);
}

static void calls_out_of_order(void)
{
	struct tdm_segment segment, other;
	struct tdm_participant self;
	struct tdm_seat_info info;
	uint32_t reaped = 9;
	struct tdm_segment_options options = options_in_scratch();
	CHECK_STATUS(create_small(&segment, &options), TDM_OK);
	CHECK_STATUS(tdm_segment_remove(&segment), TDM_NOT_FOUND);
	CHECK_STATUS(tdm_segment_publish(&segment, "once"), TDM_OK);
	CHECK_STATUS(tdm_segment_publish(&segment, "twice"), TDM_INVALID);
	CHECK_STATUS(open_scratch(&other, "once", TDM_READ_WRITE), TDM_OK);
	CHECK_STATUS(tdm_segment_publish(&other, "again"), TDM_INVALID);
	CHECK_STATUS(tdm_segment_seat(&other, TDM_SEATS_DEFAULT, &info), TDM_INVALID);
	CHECK_STATUS(tdm_segment_seat(&other, UINT32_MAX, &info), TDM_INVALID);
	CHECK_STATUS(tdm_segment_join(&other, &self, TDM_NULL), TDM_INVALID);
	remove_and_close(&other);
	CHECK_STATUS(tdm_segment_publish(&segment, "again"), TDM_INVALID);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_INVALID);
	CHECK_STATUS(tdm_segment_publish(&segment, "late"), TDM_INVALID);
	CHECK_STATUS(tdm_segment_remove(&segment), TDM_NOT_FOUND);
	CHECK_STATUS(tdm_segment_join(&segment, &self, "late"), TDM_INVALID);
	CHECK_STATUS(tdm_segment_reap(&segment, &reaped), TDM_INVALID);
	CHECK_EQ_U64(reaped, 0);
	CHECK_STATUS(tdm_segment_seat(&segment, 0, &info), TDM_INVALID);
	CHECK_STATUS(tdm_segment_send(&segment, 0), TDM_INVALID);
	CHECK(!tdm_segment_named(&segment));
}

// --- names, sizes, counts ---

static void names(void)
{
	static const char *const bad[] = {"",
					  ".",
					  "..",
					  ".hidden",
					  "a/b",
					  "/abs",
					  "tab\there",
					  "line\n",
					  "del\x7f",
					  "\x01",
					  "abcdefghijklmnopqrstuvwxyz012345",
					  "abcdefghijklmnopqrstuvwxyz0123456789"};
	struct tdm_segment segment, user;
	struct tdm_segment_options options = options_in_scratch();
	CHECK_STATUS(create_small(&segment, &options), TDM_OK);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct tdm_object object = tdm_bytes_object(bad[i], 8, 8, TDM_NULL);
		CHECK_STATUS(tdm_segment_publish(&segment, bad[i]), TDM_BAD_NAME);
		CHECK_STATUS(open_scratch(&user, bad[i], TDM_READ_WRITE), TDM_BAD_NAME);
		CHECK_STATUS(tdm_segment_create(&user, &object, 1, &options), TDM_BAD_NAME);
	}
	CHECK_STATUS(tdm_segment_publish(&segment, TDM_NULL), TDM_BAD_NAME);
	CHECK_STATUS(open_scratch(&user, TDM_NULL, TDM_READ_WRITE), TDM_BAD_NAME);
	static const char longest[] = "abcdefghijklmnopqrstuvwxyz01234";
	CHECK_EQ_U64(strlen(longest), 31);
	CHECK_STATUS(tdm_segment_publish(&segment, longest), TDM_OK);
	CHECK_STATUS(open_scratch(&user, longest, TDM_READ_WRITE), TDM_OK);
	remove_and_close(&user);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	static const char *const fine[] = {"x", "with space", "\xc3\xa9t\xc3\xa9", "a.b-c_d", "-"};
	for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++)
		if (CHECK_STATUS(create_and_publish(&segment, fine[i]), TDM_OK))
			remove_and_close(&segment);
}

static uint64_t no_size(const struct tdm_object *object)
{
	(void)object;
	return 0;
}

static enum tdm_status refuse_to_init(struct tdm_span span, const struct tdm_object *object)
{
	(void)span;
	(void)object;
	return TDM_UNSUPPORTED;
}

static void impossible_descriptions(void)
{
	static const uint64_t sizes[] = {0, UINT64_C(1) << 63, UINT64_MAX - 4096, UINT64_MAX};
	static const uint64_t aligns[] = {0, 3, 24, 8192, UINT64_C(1) << 32, UINT64_MAX};
	struct tdm_segment segment;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct tdm_object object = tdm_bytes_object("x", sizes[i], 8, TDM_NULL);
		CHECK_STATUS(tdm_segment_create(&segment, &object, 1, TDM_NULL), TDM_INVALID);
	}
	for (size_t i = 0; i < sizeof(aligns) / sizeof(aligns[0]); i++) {
		struct tdm_object object = tdm_bytes_object("x", 8, aligns[i], TDM_NULL);
		CHECK_STATUS(tdm_segment_create(&segment, &object, 1, TDM_NULL), TDM_INVALID);
	}
	struct tdm_object object = tdm_bytes_object("x", 8, 8, TDM_NULL);
	object.size = no_size;
	CHECK_STATUS(tdm_segment_create(&segment, &object, 1, TDM_NULL), TDM_INVALID);
	object.size = TDM_NULL;
	CHECK_STATUS(tdm_segment_create(&segment, &object, 1, TDM_NULL), TDM_INVALID);
	object = tdm_bytes_object("x", 8, 8, TDM_NULL);
	object.init = TDM_NULL;
	CHECK_STATUS(tdm_segment_create(&segment, &object, 1, TDM_NULL), TDM_INVALID);
	object.init = refuse_to_init;
	CHECK_STATUS(tdm_segment_create(&segment, &object, 1, TDM_NULL), TDM_UNSUPPORTED);

	struct tdm_object halves[2] = {tdm_bytes_object("a", UINT64_C(1) << 62, 8, TDM_NULL),
				       tdm_bytes_object("b", UINT64_C(1) << 62, 8, TDM_NULL)};
	CHECK_STATUS(tdm_segment_create(&segment, halves, 2, TDM_NULL), TDM_INVALID);
	struct tdm_object same[2] = {tdm_bytes_object("a", 8, 8, TDM_NULL),
				     tdm_bytes_object("a", 16, 8, TDM_NULL)};
	CHECK_STATUS(tdm_segment_create(&segment, same, 2, TDM_NULL), TDM_EXISTS);
	CHECK_STATUS(tdm_segment_create(&segment, TDM_NULL, 1, TDM_NULL), TDM_INVALID);
}

static void more_than_the_machine_has(void)
{
	struct tdm_segment segment;
	struct tdm_segment_options options = sealed_options();
	for (unsigned bits = 45; bits < 63; bits += 4) {
		struct tdm_object object = tdm_bytes_object("x", UINT64_C(1) << bits, 8, TDM_NULL);
		enum tdm_status expected = sizeof(size_t) == 4 ? TDM_INVALID : TDM_NO_SPACE;
		CHECK_STATUS(tdm_segment_create(&segment, &object, 1, TDM_NULL), expected);
		CHECK_STATUS(tdm_segment_create(&segment, &object, 1, &options), expected);
	}
}

static void impossible_options(void)
{
	static char long_path[400];
	memset(long_path, 'd', sizeof(long_path) - 1);
	struct tdm_segment segment;
	struct tdm_segment_options options = options_in_scratch();
	options.seats = TDM_SEATS_MAX + 1;
	CHECK_STATUS(create_small(&segment, &options), TDM_INVALID);
	options = options_in_scratch();
	options.permissions = 0700;
	CHECK_STATUS(create_small(&segment, &options), TDM_INVALID);
	options.permissions = 04600;
	CHECK_STATUS(create_small(&segment, &options), TDM_INVALID);
	options = options_in_scratch();
	options.peers_only_read = true;
	CHECK_STATUS(create_small(&segment, &options), TDM_INVALID);
	options = options_in_scratch();
	options.directory = long_path;
	CHECK_STATUS(create_small(&segment, &options), TDM_INVALID);
	CHECK_STATUS(tdm_segment_open_in(&segment, long_path, "x", TDM_READ_WRITE), TDM_INVALID);
	options.directory = in_scratch("missing");
	CHECK_STATUS(create_small(&segment, &options), TDM_NOT_FOUND);
	CHECK_STATUS(tdm_segment_open_in(&segment, scratch_file, "x", TDM_READ_WRITE),
		     TDM_NOT_FOUND);
}

// --- permissions and modes ---

static void permissions_are_as_asked(void)
{
	static const unsigned wanted[] = {0, 0600, 0640, 0666, 0444};
	mode_t before = umask(077);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		struct tdm_segment segment;
		struct stat info;
		struct tdm_segment_options options = options_in_scratch();
		options.permissions = wanted[i];
		CHECK_STATUS(create_small(&segment, &options), TDM_OK);
		CHECK_STATUS(tdm_segment_publish(&segment, "modes"), TDM_OK);
		CHECK(lstat(in_scratch("modes"), &info) == 0);
		CHECK_EQ_U64(info.st_mode & 07777, wanted[i] != 0 ? wanted[i] : 0600);
		remove_and_close(&segment);
		options.sealed = true;
		CHECK_STATUS(create_small(&segment, &options), TDM_OK);
		CHECK(fstat(segment.fd, &info) == 0);
		CHECK_EQ_U64(info.st_mode & 07777, wanted[i] != 0 ? wanted[i] : 0600);
		CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	}
	umask(before);
}

static void descriptors_do_not_survive_exec(void)
{
	struct tdm_segment segment;
	struct tdm_segment_options options = options_in_scratch();
	for (int round = 0; round < 3; round++) {
		options.sealed = round == 1;
		tmpfile_refused = round == 2;
		if (CHECK_STATUS(create_small(&segment, &options), TDM_OK)) {
			CHECK((fcntl(segment.fd, F_GETFD) & FD_CLOEXEC) != 0);
			CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
		}
	}
	tmpfile_refused = false;
	CHECK_STATUS(create_and_publish(&segment, "x"), TDM_OK);
	struct tdm_segment user;
	CHECK_STATUS(open_scratch(&user, "x", TDM_MAP_READ_ONLY), TDM_OK);
	CHECK((fcntl(user.fd, F_GETFD) & FD_CLOEXEC) != 0);
	CHECK_STATUS(tdm_segment_close(&user), TDM_OK);
	remove_and_close(&segment);
}

static void write_and_die(void *arg)
{
	signal(SIGSEGV, SIG_DFL); // checkers have a handler of their own
	*TDM_CAST(volatile uint64_t *, arg) = 1;
}

static void read_only_mappings(void)
{
	struct tdm_segment maker, user;
	struct tdm_participant self;
	uint32_t reaped = 9;
	CHECK_STATUS(create_and_publish(&maker, "ro"), TDM_OK);
	*cell_of(&maker) = 5;
	if (!CHECK_STATUS(open_scratch(&user, "ro", TDM_MAP_READ_ONLY), TDM_OK))
		return;
	CHECK(tdm_segment_find(&user, "cell").read_only);
	uint64_t *cell = cell_of(&user);
	CHECK_EQ_U64(*cell, 5);
	CHECK(mprotect(user.base, 4096, PROT_READ | PROT_WRITE) != 0 && errno == EACCES);
	CHECK_EQ_U64(TDM_CAST(uint64_t, process_status(process_start(write_and_die, cell))),
		     128 + SIGSEGV);
	CHECK_STATUS(tdm_segment_join(&user, &self, "reader"), TDM_READ_ONLY);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_NEEDS_PARTICIPANT);
	CHECK_STATUS(tdm_segment_reap(&user, &reaped), TDM_READ_ONLY);
	CHECK_EQ_U64(reaped, 0);

	struct tdm_seat_info info;
	CHECK_STATUS(tdm_segment_join(&maker, &self, "writer"), TDM_OK);
	CHECK_STATUS(tdm_segment_seat(&user, self.index, &info), TDM_OK);
	CHECK(info.liveness == TDM_SEAT_LIVE);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	CHECK_STATUS(tdm_segment_seat(&user, self.index, &info), TDM_OK);
	CHECK(info.liveness == TDM_SEAT_FREE);
	CHECK_STATUS(tdm_segment_close(&user), TDM_OK);
	remove_and_close(&maker);
}

static void as_nobody(void *unused)
{
	(void)unused;
	struct tdm_segment segment;
	struct tdm_segment_options options = options_in_scratch();
	if (!CHECK(become_nobody()))
		return;
	CHECK_STATUS(open_scratch(&segment, "mine", TDM_READ_WRITE), TDM_DENIED);
	char text[128];
	tdm_segment_explain(&segment, text, sizeof(text));
	CHECK_EQ_STR(text, "no permission");
	CHECK_STATUS(open_scratch(&segment, "mine", TDM_MAP_READ_ONLY), TDM_DENIED);
	CHECK_STATUS(open_scratch(&segment, "ours", TDM_READ_WRITE), TDM_DENIED);
	CHECK_STATUS(open_scratch(&segment, "none", TDM_READ_WRITE), TDM_NOT_FOUND);
	CHECK_STATUS(create_small(&segment, &options), TDM_DENIED);
	tmpfile_refused = true;
	CHECK_STATUS(create_small(&segment, &options), TDM_DENIED);
	tmpfile_refused = false;
	if (CHECK_STATUS(open_scratch(&segment, "ours", TDM_MAP_READ_ONLY), TDM_OK)) {
		CHECK_STATUS(tdm_segment_remove(&segment), TDM_DENIED);
		CHECK(tdm_segment_named(&segment));
		CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	}
}

static void other_users(void)
{
	struct tdm_segment mine, ours;
	if (geteuid() != 0) {
		tap_skip("needs root to become somebody else");
		return;
	}
	struct tdm_segment_options options = options_in_scratch();
	CHECK_STATUS(create_and_publish(&mine, "mine"), TDM_OK);
	options.permissions = 0644;
	CHECK_STATUS(create_small(&ours, &options), TDM_OK);
	CHECK_STATUS(tdm_segment_publish(&ours, "ours"), TDM_OK);
	CHECK(chmod(scratch, 0755) == 0);
	CHECK(process_ended_well(process_start(as_nobody, TDM_NULL)));
	remove_and_close(&mine);
	remove_and_close(&ours);
}

// --- races ---

// An object of 64 KiB in which each word tells its place, so that a torn one shows.
#define PATTERN_WORDS 8192U

static enum tdm_status pattern_init(struct tdm_span span, const struct tdm_object *object)
{
	uint64_t *words = TDM_CAST(uint64_t *, span.base);
	for (unsigned i = 0; i < PATTERN_WORDS; i++)
		words[i] = object->type_tag + i;
	return TDM_OK;
}

static struct tdm_object pattern_object(uint64_t base)
{
	struct tdm_object object = tdm_bytes_object("pattern", PATTERN_WORDS * 8, 8, TDM_NULL);
	object.init = pattern_init;
	object.type_tag = base;
	return object;
}

static bool pattern_whole(const struct tdm_segment *segment)
{
	struct tdm_span span = tdm_segment_find(segment, "pattern");
	const uint64_t *words = TDM_CAST(const uint64_t *, span.base);
	if (span.status != TDM_OK || span.bytes != PATTERN_WORDS * 8)
		return false;
	for (unsigned i = 0; i < PATTERN_WORDS; i++)
		if (words[i] != words[0] + i)
			return false;
	return words[0] != 0;
}

// Two creators and one opener; all that they tell each other.
struct race {
	uint32_t rounds;
	uint32_t line[2];   // creators that have come to the start of a round
	uint32_t published; // in this round
	uint32_t lost;
	uint32_t bad;    // anything that must not be
	uint32_t opened; // by the opener
	uint32_t over;
};

static uint32_t read_u32(const uint32_t *value)
{
	return __atomic_load_n(value, __ATOMIC_SEQ_CST);
}

static void count_up(uint32_t *value)
{
	__atomic_fetch_add(value, 1, __ATOMIC_SEQ_CST);
}

// Waits until both sides have come `times` often.
static void line_up(struct race *race, unsigned side, uint32_t times)
{
	count_up(&race->line[side]);
	for (unsigned spins = 0; read_u32(&race->line[1 - side]) < times; spins++)
		if (spins % 4096 == 4095) // before that, so that both go on at one instant
			sched_yield();
}

static void race_to_publish(struct race *race, unsigned side)
{
	for (uint32_t round = 0; round < race->rounds; round++) {
		struct tdm_segment segment;
		struct tdm_object object = pattern_object(1 + side * UINT64_C(1000000));
		struct tdm_segment_options options = options_in_scratch();
		if (tdm_segment_create(&segment, &object, 1, &options) != TDM_OK) {
			count_up(&race->bad);
			return;
		}
		line_up(race, side, 3 * round + 1);
		enum tdm_status status = tdm_segment_publish(&segment, "race");
		count_up(status == TDM_OK       ? &race->published
			 : status == TDM_EXISTS ? &race->lost
						: &race->bad);
		line_up(race, side, 3 * round + 2);
		if (read_u32(&race->published) != round + 1 || read_u32(&race->lost) != round + 1)
			count_up(&race->bad);
		if (tdm_segment_named(&segment) != (status == TDM_OK))
			count_up(&race->bad);
		if (tdm_segment_remove(&segment) != (status == TDM_OK ? TDM_OK : TDM_NOT_FOUND))
			count_up(&race->bad);
		if (tdm_segment_close(&segment) != TDM_OK)
			count_up(&race->bad);
		line_up(race, side, 3 * round + 3);
	}
}

static void keep_opening(struct race *race)
{
	while (read_u32(&race->over) == 0) {
		struct tdm_segment segment;
		enum tdm_status status = open_scratch(&segment, "race", TDM_READ_WRITE);
		if (status == TDM_OK) {
			count_up(pattern_whole(&segment) ? &race->opened : &race->bad);
			if (tdm_segment_close(&segment) != TDM_OK)
				count_up(&race->bad);
		} else if (status != TDM_NOT_FOUND) {
			count_up(&race->bad);
		}
		sched_yield();
	}
}

static void race_as_first(void *race)
{
	race_to_publish(TDM_CAST(struct race *, race), 0);
}

static void race_as_second(void *race)
{
	race_to_publish(TDM_CAST(struct race *, race), 1);
}

static void open_in_a_loop(void *race)
{
	keep_opening(TDM_CAST(struct race *, race));
}

static void *race_as_thread(void *race)
{
	race_to_publish(TDM_CAST(struct race *, race), 1);
	return TDM_NULL;
}

static void *open_as_thread(void *race)
{
	keep_opening(TDM_CAST(struct race *, race));
	return TDM_NULL;
}

static void check_race(const struct race *race)
{
	CHECK_EQ_U64(race->published, race->rounds);
	CHECK_EQ_U64(race->lost, race->rounds);
	CHECK_EQ_U64(race->bad, 0);
	CHECK(race->opened > 0);
	CHECK(access(in_scratch("race"), F_OK) != 0);
	tap_note("%u rounds, opened %u times", race->rounds, race->opened);
}

static void two_creating_processes(void)
{
	for (int i = 0; i < 2; i++) {
		tmpfile_refused = i == 1;
		struct race *race = TDM_CAST(struct race *, shared_memory(sizeof(*race)));
		race->rounds = 300;
		pid_t opener = process_start(open_in_a_loop, race);
		pid_t second = process_start(race_as_second, race);
		race_as_first(race);
		CHECK(process_ended_well(second));
		count_up(&race->over);
		CHECK(process_ended_well(opener));
		check_race(race);
		munmap(race, sizeof(*race));
	}
	tmpfile_refused = false;
}

static void two_creating_threads(void)
{
	struct race race;
	memset(&race, 0, sizeof(race));
	race.rounds = 300;
	pthread_t second, opener;
	CHECK(pthread_create(&opener, TDM_NULL, open_as_thread, &race) == 0);
	CHECK(pthread_create(&second, TDM_NULL, race_as_thread, &race) == 0);
	race_to_publish(&race, 0);
	pthread_join(second, TDM_NULL);
	count_up(&race.over);
	pthread_join(opener, TDM_NULL);
	check_race(&race);
}

// A second remover comes between the first one's look at the name and its unlink: were it let in,
// it would remove, publish anew, and lose that to the first.
struct second_remover {
	struct gate comes, has_been;
};
static struct second_remover *second_remover;

static void let_the_second_in(void)
{
	gate_open(&second_remover->comes);
	gate_pass(&second_remover->has_been);
}

static void remove_and_publish_anew(void *unused)
{
	(void)unused;
	struct tdm_segment old, young;
	gate_pass(&second_remover->comes);
	if (!CHECK_STATUS(open_scratch(&old, "name", TDM_READ_WRITE), TDM_OK))
		return;
	CHECK_STATUS(tdm_segment_remove(&old), TDM_BUSY);
	CHECK_STATUS(create_and_publish(&young, "name"), TDM_EXISTS);
	gate_open(&second_remover->has_been);
	gate_pass(&second_remover->comes); // the first one is done
	CHECK_STATUS(tdm_segment_remove(&old), TDM_NOT_FOUND);
	CHECK_STATUS(tdm_segment_publish(&young, "name"), TDM_OK);
	gate_open(&second_remover->has_been);
	gate_pass(&second_remover->comes);
	CHECK(tdm_segment_named(&young));
	remove_and_close(&young);
	CHECK_STATUS(tdm_segment_close(&old), TDM_OK);
}

static void two_removers(void)
{
	struct second_remover gates;
	struct tdm_segment segment, also;
	gates.comes = gate_make();
	gates.has_been = gate_make();
	second_remover = &gates;
	CHECK_STATUS(create_and_publish(&segment, "name"), TDM_OK);
	CHECK_STATUS(open_scratch(&also, "name", TDM_READ_WRITE), TDM_OK);
	pid_t second = process_start(remove_and_publish_anew, TDM_NULL);
	before_unlink = let_the_second_in;
	CHECK_STATUS(tdm_segment_remove(&segment), TDM_OK);
	let_the_second_in();
	CHECK_STATUS(tdm_segment_remove(&also), TDM_NOT_FOUND);
	gate_open(&gates.comes);
	CHECK(process_ended_well(second));
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&also), TDM_OK);
	gate_drop(&gates.comes);
	gate_drop(&gates.has_been);
}

// The second one comes before the first one's lock, and is let in; what it publishes stays.
static void remove_first(void *unused)
{
	(void)unused;
	struct tdm_segment old, young;
	gate_pass(&second_remover->comes);
	if (!CHECK_STATUS(open_scratch(&old, "name", TDM_READ_WRITE), TDM_OK))
		return;
	CHECK_STATUS(tdm_segment_remove(&old), TDM_OK);
	CHECK_STATUS(create_and_publish(&young, "name"), TDM_OK);
	gate_open(&second_remover->has_been);
	gate_pass(&second_remover->comes);
	CHECK(tdm_segment_named(&young));
	remove_and_close(&young);
	CHECK_STATUS(tdm_segment_close(&old), TDM_OK);
}

static void a_remover_that_is_late(void)
{
	struct second_remover gates;
	struct tdm_segment segment;
	gates.comes = gate_make();
	gates.has_been = gate_make();
	second_remover = &gates;
	CHECK_STATUS(create_and_publish(&segment, "name"), TDM_OK);
	pid_t second = process_start(remove_first, TDM_NULL);
	before_flock = let_the_second_in;
	CHECK_STATUS(tdm_segment_remove(&segment), TDM_NOT_FOUND);
	gate_open(&gates.comes);
	CHECK(process_ended_well(second));
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	gate_drop(&gates.comes);
	gate_drop(&gates.has_been);
}

static void anothers_name(void)
{
	struct tdm_segment old, young;
	CHECK_STATUS(create_and_publish(&old, "name"), TDM_OK);
	CHECK(unlink(in_scratch("name")) == 0);
	CHECK(!tdm_segment_named(&old));
	CHECK_STATUS(create_and_publish(&young, "name"), TDM_OK);
	CHECK(tdm_segment_named(&young) && !tdm_segment_named(&old));
	CHECK_STATUS(tdm_segment_remove(&old), TDM_NOT_FOUND);
	CHECK(tdm_segment_named(&young));
	CHECK(symlink("name", in_scratch("alias")) == 0);
	CHECK(rename(in_scratch("alias"), "/dev/null/x") != 0);
	CHECK(unlink(in_scratch("alias")) == 0);
	CHECK_STATUS(tdm_segment_close(&old), TDM_OK);
	remove_and_close(&young);
}

static void a_taken_name(void)
{
	struct tdm_segment first, second;
	for (int i = 0; i < 2; i++) {
		tmpfile_refused = i == 1;
		CHECK_STATUS(create_and_publish(&first, "taken"), TDM_OK);
		*cell_of(&first) = 1;
		CHECK_STATUS(create_and_publish(&second, "taken"), TDM_EXISTS);
		*cell_of(&second) = 2;
		CHECK_EQ_U64(*cell_of(&first), 1);
		CHECK_STATUS(tdm_segment_publish(&second, "free"), TDM_OK);
		remove_and_close(&first);
		remove_and_close(&second);
	}
	tmpfile_refused = false;
	FILE *file = fopen(in_scratch("file"), "w");
	CHECK(file != TDM_NULL && fclose(file) == 0);
	CHECK_STATUS(create_and_publish(&first, "file"), TDM_EXISTS);
	CHECK(unlink(in_scratch("file")) == 0);
	CHECK_STATUS(tdm_segment_close(&first), TDM_OK);
}

// --- file systems ---

static void without_unnamed_files(void)
{
	struct tdm_segment segment, user;
	struct tdm_segment_options options = options_in_scratch();
	tmpfile_refused = true;
	CHECK_STATUS(create_small(&segment, &options), TDM_OK);
	CHECK_EQ_U64(TDM_CAST(uint64_t, count_entries(scratch)), 1);
	CHECK(strncmp(segment.temporary, ".tandem.", 8) == 0);
	CHECK(access(in_scratch(segment.temporary), F_OK) == 0);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	CHECK_EQ_U64(TDM_CAST(uint64_t, count_entries(scratch)), 0);

	CHECK_STATUS(create_small(&segment, &options), TDM_OK);
	CHECK_STATUS(tdm_segment_publish(&segment, "named"), TDM_OK);
	CHECK_EQ_U64(TDM_CAST(uint64_t, count_entries(scratch)), 1);
	*cell_of(&segment) = 3;
	CHECK_STATUS(open_scratch(&user, "named", TDM_READ_WRITE), TDM_OK);
	CHECK_EQ_U64(*cell_of(&user), 3);
	CHECK_STATUS(tdm_segment_close(&user), TDM_OK);
	remove_and_close(&segment);

	struct tdm_object object = tdm_bytes_object("x", 8, 8, TDM_NULL);
	object.init = refuse_to_init;
	CHECK_STATUS(tdm_segment_create(&segment, &object, 1, &options), TDM_UNSUPPORTED);
	CHECK_EQ_U64(TDM_CAST(uint64_t, count_entries(scratch)), 0);
	tmpfile_refused = false;
}

// In a child: answers by its exit status whether the file system could be mounted.
#define REFUSED 77

static void on_a_full_file_system(void *unused)
{
	(void)unused;
	struct tdm_segment segment;
	struct tdm_segment_options options = options_in_scratch();
	if (!private_namespaces(false) || mount("none", scratch, "tmpfs", 0, "size=1m") != 0)
		_exit(REFUSED);
	for (int i = 0; i < 2; i++) {
		tmpfile_refused = i == 1;
		for (uint64_t bytes = MIB - 16 * KIB; bytes <= 4 * MIB; bytes += 4 * KIB) {
			struct tdm_object object = tdm_bytes_object("x", bytes, 8, TDM_NULL);
			enum tdm_status status = tdm_segment_create(&segment, &object, 1, &options);
			if (status == TDM_OK) {
				memset(tdm_segment_find(&segment, "x").base, 1,
				       TDM_CAST(size_t, bytes));
				CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
				CHECK(bytes < MIB);
			} else {
				CHECK_STATUS(status, TDM_NO_SPACE);
			}
			CHECK_EQ_U64(TDM_CAST(uint64_t, count_entries(scratch)), 0);
		}
	}
	tmpfile_refused = false;
	// Space that goes between the look and the reservation: others take it piece by piece.
	struct tdm_segment filler[64];
	unsigned fillers = 0;
	struct tdm_object object = tdm_bytes_object("x", 40 * KIB, 8, TDM_NULL);
	while (fillers < 64 && tdm_segment_create(&filler[fillers], &object, 1, &options) == TDM_OK)
		fillers++;
	CHECK(fillers > 10 && fillers < 64);
	for (unsigned i = 0; i < fillers; i++) {
		memset(tdm_segment_find(&filler[i], "x").base, 2, 40 * KIB);
		CHECK_STATUS(tdm_segment_close(&filler[i]), TDM_OK);
	}
	CHECK_STATUS(tdm_segment_create(&segment, &object, 1, &options), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

static void a_full_file_system(void)
{
	int status = process_status(process_start(on_a_full_file_system, TDM_NULL));
	if (status == REFUSED)
		tap_skip("no mount namespace of our own here");
	else
		CHECK_EQ_U64(TDM_CAST(uint64_t, status), 0);
}

static void where_proc_is_missing(void *unused)
{
	(void)unused;
	struct tdm_segment segment, user;
	struct tdm_participant self;
	if (!private_namespaces(false) || mount("none", "/proc", "tmpfs", 0, TDM_NULL) != 0)
		_exit(REFUSED);
	CHECK_STATUS(create_and_publish(&segment, "noproc"), TDM_OK);
	CHECK_EQ_U64(TDM_CAST(uint64_t, count_entries(scratch)), 1);
	CHECK_STATUS(open_scratch(&user, "noproc", TDM_READ_WRITE), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&user, &self, "me"), TDM_SYSTEM);
	CHECK(errno == ENOENT);
	CHECK_STATUS(tdm_segment_close(&user), TDM_OK);
	remove_and_close(&segment);
}

static void no_proc(void)
{
	int status = process_status(process_start(where_proc_is_missing, TDM_NULL));
	if (status == REFUSED)
		tap_skip("no mount namespace of our own here");
	else
		CHECK_EQ_U64(TDM_CAST(uint64_t, status), 0);
}

static void on_huge_pages(void *unused)
{
	(void)unused;
	struct tdm_segment segment, user;
	struct tdm_participant self;
	struct tdm_segment_options options = options_in_scratch();
	if (!private_namespaces(false) ||
	    mount("none", scratch, "hugetlbfs", 0, "pagesize=2M") != 0 ||
	    create_small(&segment, &options) != TDM_OK)
		_exit(REFUSED);
	CHECK_EQ_U64(segment.bytes, 2 * MIB);
	CHECK_STATUS(tdm_segment_publish(&segment, "huge"), TDM_OK);
	CHECK_STATUS(open_scratch(&user, "huge", TDM_READ_WRITE), TDM_OK);
	*cell_of(&segment) = 3;
	CHECK_EQ_U64(*cell_of(&user), 3);
	CHECK_STATUS(tdm_segment_join(&user, &self, "me"), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	unsigned char *base = user.base;
	CHECK_STATUS(tdm_segment_close(&user), TDM_OK);
	CHECK(msync(base, 4096, MS_ASYNC) != 0 && errno == ENOMEM); // no longer mapped
	remove_and_close(&segment);
}

static void huge_pages(void)
{
	int status = process_status(process_start(on_huge_pages, TDM_NULL));
	if (status == REFUSED)
		tap_skip("no free huge pages here");
	else
		CHECK_EQ_U64(TDM_CAST(uint64_t, status), 0);
}

static void under_a_timer(void)
{
	struct tdm_segment segment;
	struct tdm_segment_options options = options_in_scratch();
	struct tdm_object object = tdm_bytes_object("x", 32 * MIB, 8, TDM_NULL);
	timer_ticks = true;
	interruptions = 0;
	enum tdm_status status = tdm_segment_create(&segment, &object, 1, &options);
	timer_ticks = false;
	if (status == TDM_NO_SPACE) {
		tap_skip("less than 32 MiB of shared memory here");
	} else if (CHECK_STATUS(status, TDM_OK)) {
		struct stat info;
		CHECK(fstat(segment.fd, &info) == 0);
		CHECK_EQ_U64(TDM_CAST(uint64_t, info.st_size), segment.bytes);
		CHECK(TDM_CAST(uint64_t, info.st_blocks) * 512 >= segment.bytes); // all of it
		CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	}
}

// --- files that are no segments, or no good ones ---

// The bytes of a good segment and a file to write variants of them to.
struct image {
	unsigned char *bytes;
	uint64_t size;
	int fd;
	struct tdm_segment_header header;
	struct tdm_directory_entry entries[2];
};

#define IMAGE "image"

static struct image image_make(void)
{
	struct image image;
	struct tdm_segment segment;
	struct tdm_object objects[2] = {tdm_bytes_object("cell", 8, 8, "uint64_t"),
					tdm_bytes_object("rest", 300, 64, TDM_NULL)};
	struct tdm_segment_options options = options_in_scratch();
	options.seats = 2;
	if (tdm_segment_create(&segment, objects, 2, &options) != TDM_OK)
		abort();
	image.size = segment.bytes;
	image.bytes = TDM_CAST(unsigned char *, malloc(TDM_CAST(size_t, image.size)));
	memcpy(image.bytes, segment.base, TDM_CAST(size_t, image.size));
	image.header = segment.header;
	memcpy(image.entries, segment.directory, sizeof(image.entries));
	image.fd = open(in_scratch(IMAGE), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	return image;
}

// Writes the good bytes with this header and these entries, `length` bytes of them.
static void image_write(const struct image *image, const struct tdm_segment_header *header,
			const struct tdm_directory_entry *entries, uint64_t length)
{
	memcpy(image->bytes, header, sizeof(*header));
	memcpy(image->bytes + sizeof(*header), entries, 2 * sizeof(*entries));
	if (ftruncate(image->fd, 0) != 0 ||
	    pwrite(image->fd, image->bytes, TDM_CAST(size_t, length), 0) !=
		TDM_CAST(ssize_t, length))
		abort();
}

static void image_drop(struct image *image)
{
	free(image->bytes);
	close(image->fd);
	CHECK(unlink(in_scratch(IMAGE)) == 0);
}

// Opens the image and, when that works, uses everything it offers. Whatever its bytes say.
static enum tdm_status image_open(void)
{
	struct tdm_segment segment;
	struct tdm_participant self;
	uint32_t reaped = 0;
	char text[200];
	enum tdm_status status = open_scratch(&segment, IMAGE, TDM_READ_WRITE);
	tdm_segment_explain(&segment, text, sizeof(text));
	CHECK(strlen(text) > 0 && strlen(text) < sizeof(text) - 1);
	if (status != TDM_OK) {
		CHECK(segment.base == TDM_NULL && segment.fd == -1);
		CHECK_STATUS(segment.problem, status);
		return status;
	}
	for (uint32_t i = 0; i < segment.header.object_count; i++) {
		struct tdm_span span = tdm_segment_find(&segment, segment.directory[i].name);
		CHECK_STATUS(span.status, TDM_OK);
		unsigned char *bytes = TDM_CAST(unsigned char *, span.base);
		CHECK(bytes >= segment.base &&
		      span.bytes <= segment.bytes - TDM_CAST(uint64_t, bytes - segment.base));
		bytes[0] = bytes[span.bytes - 1] = 1;
	}
	enum tdm_status joined = tdm_segment_join(&segment, &self, "me");
	CHECK(joined == TDM_OK || joined == TDM_NO_SEATS);
	CHECK_STATUS(tdm_segment_reap(&segment, &reaped), TDM_OK);
	if (joined == TDM_OK)
		CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	return status;
}

static void truncated_at_every_length(void)
{
	struct image image = image_make();
	for (uint64_t length = 0; length < image.size; length++) {
		image_write(&image, &image.header, image.entries, length);
		if (!CHECK_STATUS(image_open(), TDM_TRUNCATED)) {
			tap_note("at length %u", TDM_CAST(unsigned, length));
			break;
		}
	}
	image_write(&image, &image.header, image.entries, image.size);
	CHECK_STATUS(image_open(), TDM_OK);
	image_drop(&image);
}

static const uint64_t boundaries[] = {0,
				      1,
				      UINT64_C(1) << 31,
				      UINT32_MAX,
				      UINT64_C(1) << 63,
				      UINT64_MAX,
				      127,
				      128,
				      4096,
				      UINT64_C(1) << 32,
				      (UINT64_C(1) << 63) - 1,
				      UINT64_MAX - 127};
#define BOUNDARIES (sizeof(boundaries) / sizeof(boundaries[0]))

#define FIELD(type, field)                                                                         \
	{                                                                                          \
		offsetof(struct type, field), sizeof(TDM_CAST(struct type *, TDM_NULL)->field)     \
	}

struct field {
	size_t offset, size;
};

static void set_field(void *object, struct field field, uint64_t value)
{
	unsigned char *bytes = TDM_CAST(unsigned char *, object) + field.offset;
	uint32_t half = TDM_CAST(uint32_t, value);
	if (field.size == 4)
		memcpy(bytes, &half, 4);
	else
		memcpy(bytes, &value, 8);
}

// What the header's field `which` of this table, set to `value`, must be answered with.
static const struct field header_fields[] = {
    FIELD(tdm_segment_header, magic),            // 0
    FIELD(tdm_segment_header, layout_version),   // 1
    FIELD(tdm_segment_header, byte_order),       // 2
    FIELD(tdm_segment_header, bytes),            // 3
    FIELD(tdm_segment_header, directory_hash),   // 4
    FIELD(tdm_segment_header, object_count),     // 5
    FIELD(tdm_segment_header, seat_count),       // 6
    FIELD(tdm_segment_header, directory_offset), // 7
    FIELD(tdm_segment_header, seats_offset),     // 8
    FIELD(tdm_segment_header, created_ns),       // 9
    FIELD(tdm_segment_header, reserved_[0]),     // 10
};

static enum tdm_status header_verdict(size_t which, uint64_t value, uint64_t size)
{
	const uint32_t half = TDM_CAST(uint32_t, value);
	switch (which) {
	case 0:
		return value == 0 ? TDM_NOT_INITIALIZED : TDM_NOT_TANDEM;
	case 1:
		return half == TDM_LAYOUT_VERSION ? TDM_OK
		       : half == 0                ? TDM_OLDER_LAYOUT
						  : TDM_NEWER_LAYOUT;
	case 2:
		return TDM_OTHER_ENDIAN;
	case 3:
		return value == size ? TDM_OK : value > size ? TDM_TRUNCATED : TDM_BAD_GEOMETRY;
	case 4:
		return TDM_BAD_DIRECTORY;
	case 6:
		return half == 1 ? TDM_OK : TDM_BAD_GEOMETRY; // one seat fits where two did
	case 7:
		return value == sizeof(struct tdm_segment_header) ? TDM_OK : TDM_BAD_GEOMETRY;
	case 9:
	case 10:
		return TDM_OK;
	default:
		return TDM_BAD_GEOMETRY;
	}
}

static void header_fields_at_their_limits(void)
{
	struct image image = image_make();
	for (size_t which = 0; which < sizeof(header_fields) / sizeof(header_fields[0]); which++) {
		for (size_t i = 0; i < BOUNDARIES; i++) {
			struct tdm_segment_header header = image.header;
			set_field(&header, header_fields[which], boundaries[i]);
			image_write(&image, &header, image.entries, image.size);
			if (!CHECK_STATUS(image_open(),
					  header_verdict(which, boundaries[i], image.size)))
				tap_note("field %u, value %#llx", TDM_CAST(unsigned, which),
					 TDM_CAST(unsigned long long, boundaries[i]));
		}
	}
	image_drop(&image);
}

static const struct field entry_fields[] = {
    FIELD(tdm_directory_entry, offset),     // 0
    FIELD(tdm_directory_entry, bytes),      // 1
    FIELD(tdm_directory_entry, elem_align), // 2
    FIELD(tdm_directory_entry, kind),       // 3
    FIELD(tdm_directory_entry, version),    FIELD(tdm_directory_entry, elem_size),
    FIELD(tdm_directory_entry, capacity),   FIELD(tdm_directory_entry, type_tag),
    FIELD(tdm_directory_entry, plain),
};

static enum tdm_status entry_verdict(size_t which, uint64_t value, const struct image *image,
				     size_t entry)
{
	const uint64_t room = image->size - image->entries[entry].offset;
	switch (which) {
	case 0:
		return TDM_BAD_GEOMETRY; // none of the values is behind the seats
	case 1:
		return value != 0 && value <= room ? TDM_OK : TDM_BAD_GEOMETRY;
	case 2:
		return value != 0 && (value & (value - 1)) == 0 && value <= 4096 &&
			       image->entries[entry].offset % value == 0
			   ? TDM_OK
			   : TDM_BAD_GEOMETRY;
	default:
		return TDM_OK;
	}
}

static void directory_fields_at_their_limits(void)
{
	struct image image = image_make();
	for (size_t which = 0; which < sizeof(entry_fields) / sizeof(entry_fields[0]); which++) {
		for (size_t i = 0; i < 2 * BOUNDARIES; i++) {
			size_t entry = i % 2;
			uint64_t value = boundaries[i / 2];
			struct tdm_segment_header header = image.header;
			struct tdm_directory_entry entries[2];
			memcpy(entries, image.entries, sizeof(entries));
			set_field(&entries[entry], entry_fields[which], value);
			// Without a new hash nothing else is even looked at.
			bool same = memcmp(entries, image.entries, sizeof(entries)) == 0;
			image_write(&image, &header, entries, image.size);
			CHECK_STATUS(image_open(), same ? TDM_OK : TDM_BAD_DIRECTORY);
			header.directory_hash = tdm_directory_hash_(entries, 2);
			image_write(&image, &header, entries, image.size);
			if (!CHECK_STATUS(image_open(), entry_verdict(which, value, &image, entry)))
				tap_note("field %u, value %#llx", TDM_CAST(unsigned, which),
					 TDM_CAST(unsigned long long, value));
		}
	}
	image_drop(&image);
}

static void misplaced_objects(void)
{
	struct image image = image_make();
	struct tdm_segment_header header = image.header;
	struct tdm_directory_entry entries[2];
	// Aligned to a cache line, but not to what its own entry says.
	memcpy(entries, image.entries, sizeof(entries));
	entries[1].elem_align = 4096;
	CHECK(entries[1].offset % 4096 != 0);
	header.directory_hash = tdm_directory_hash_(entries, 2);
	image_write(&image, &header, entries, image.size);
	CHECK_STATUS(image_open(), TDM_BAD_GEOMETRY);
	// In the seats; half a line off; one byte too long; up to the last byte.
	static const uint64_t places[][2] = {{640, 8}, {3904, 8}, {3968, 129}, {3968, 128}};
	static const enum tdm_status verdicts[] = {TDM_BAD_GEOMETRY, TDM_BAD_GEOMETRY,
						   TDM_BAD_GEOMETRY, TDM_OK};
	for (size_t i = 0; i < 4; i++) {
		memcpy(entries, image.entries, sizeof(entries));
		entries[0].offset = places[i][0];
		entries[0].bytes = places[i][1];
		header.directory_hash = tdm_directory_hash_(entries, 2);
		image_write(&image, &header, entries, image.size);
		CHECK_STATUS(image_open(), verdicts[i]);
	}
	image_drop(&image);
}

// Counts that fit each other and the file, and are too many, or have no room.
static void impossible_counts(void)
{
	struct image image = image_make();
	struct tdm_segment_header header = image.header;
	header.object_count = 0;
	header.seats_offset = sizeof(header);
	header.seat_count = TDM_SEATS_MAX; // the table would end behind the file
	header.directory_hash = tdm_directory_hash_(image.entries, 0);
	image_write(&image, &header, image.entries, image.size);
	CHECK_STATUS(image_open(), TDM_BAD_GEOMETRY);
	header.seat_count = 30; // it ends with the file
	image_write(&image, &header, image.entries, image.size);
	CHECK_STATUS(image_open(), TDM_OK);
	header.seat_count = 31;
	image_write(&image, &header, image.entries, image.size);
	CHECK_STATUS(image_open(), TDM_BAD_GEOMETRY);

	static struct tdm_directory_entry many[TDM_OBJECTS_MAX + 1];
	header = image.header;
	for (uint32_t count = TDM_OBJECTS_MAX; count <= TDM_OBJECTS_MAX + 1; count++) {
		header.object_count = count;
		header.seats_offset = sizeof(header) + count * sizeof(many[0]);
		header.bytes = 64 * 4096;
		for (uint32_t i = 0; i < count; i++) {
			many[i] = image.entries[0];
			many[i].offset = header.bytes - 128;
		}
		header.directory_hash = tdm_directory_hash_(many, count);
		CHECK(ftruncate(image.fd, TDM_CAST(off_t, header.bytes)) == 0);
		CHECK(pwrite(image.fd, &header, sizeof(header), 0) == sizeof(header));
		CHECK(pwrite(image.fd, many, sizeof(many), sizeof(header)) == sizeof(many));
		CHECK_STATUS(image_open(), count == TDM_OBJECTS_MAX ? TDM_OK : TDM_BAD_GEOMETRY);
	}
	image_drop(&image);
}

// A sparse file of 3 GiB: too much for the address space of some.
static void a_file_of_many_bytes(void)
{
	struct image image = image_make();
	struct tdm_segment_header header = image.header;
	header.bytes = UINT64_C(3) << 30;
	image_write(&image, &header, image.entries, image.size);
	if (sizeof(off_t) == 4)
		tap_skip("no such file can be made with 32-bit offsets");
	else if (CHECK(ftruncate(image.fd, TDM_CAST(off_t, header.bytes)) == 0))
		CHECK_STATUS(image_open(), sizeof(size_t) == 4 ? TDM_BAD_GEOMETRY : TDM_OK);
	image_drop(&image);
}

static void bad_names_in_the_directory(void)
{
	static const char bad[][TDM_NAME_SIZE] = {"", ".x", "a/b", "a\nb", "\x7f"};
	struct image image = image_make();
	struct tdm_segment_header header = image.header;
	struct tdm_directory_entry entries[2];
	memcpy(entries, image.entries, sizeof(entries));
	for (size_t i = 0; i < 6; i++) {
		if (i < 5)
			memcpy(entries[1].name, bad[i], TDM_NAME_SIZE);
		else
			memset(entries[1].name, 'x', TDM_NAME_SIZE); // never ends
		header.directory_hash = tdm_directory_hash_(entries, 2);
		image_write(&image, &header, entries, image.size);
		CHECK_STATUS(image_open(), TDM_BAD_DIRECTORY);
	}
	image_drop(&image);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void random_damage(void)
{
	struct image image = image_make();
	uint64_t random = UINT64_C(0x9e3779b97f4a7c15);
	unsigned opened = 0;
	for (unsigned round = 0; round < 20000; round++) {
		struct tdm_segment_header header = image.header;
		struct tdm_directory_entry entries[2];
		memcpy(entries, image.entries, sizeof(entries));
		for (uint64_t hits = next_random(&random) % 4 + 1; hits > 0; hits--) {
			uint64_t where = next_random(&random) % (3 * 128);
			unsigned char *byte =
			    where < 128 ? TDM_RETYPE(unsigned char *, &header) + where
					: TDM_RETYPE(unsigned char *, entries) + where - 128;
			*byte = TDM_CAST(unsigned char, *byte ^ (1U << next_random(&random) % 8));
		}
		if (next_random(&random) % 2 == 0)
			header.directory_hash = tdm_directory_hash_(entries, 2);
		image_write(&image, &header, entries, image.size);
		enum tdm_status status = image_open();
		CHECK(status == TDM_OK ||
		      (status >= TDM_NOT_TANDEM && status <= TDM_BAD_DIRECTORY));
		opened += status == TDM_OK;
	}
	tap_note("%u of 20000 damaged segments were harmless", opened);
	image_drop(&image);
}

static void foreign_bytes(void)
{
	struct image image = image_make();
	struct tdm_segment_header header;
	struct tdm_directory_entry entries[2];
	uint64_t random = 42;
	for (unsigned round = 0; round < 200; round++) {
		for (size_t i = 0; i < sizeof(header) / 8; i++) {
			uint64_t word = next_random(&random);
			memcpy(TDM_RETYPE(unsigned char *, &header) + 8 * i, &word, 8);
		}
		memset(entries, TDM_CAST(int, round), sizeof(entries));
		image_write(&image, &header, entries, image.size);
		CHECK_STATUS(image_open(), TDM_NOT_TANDEM);
	}
	memset(&header, 0, sizeof(header));
	memset(entries, 0, sizeof(entries));
	image_write(&image, &header, entries, image.size);
	CHECK_STATUS(image_open(), TDM_NOT_INITIALIZED);
	image_write(&image, &header, entries, 8);
	CHECK_STATUS(image_open(), TDM_NOT_INITIALIZED);
	CHECK(ftruncate(image.fd, 1 << 30) == 0); // and a large one with nothing in it
	CHECK_STATUS(image_open(), TDM_NOT_INITIALIZED);
	image_drop(&image);
}

static void other_byte_order(void)
{
	struct image image = image_make();
	struct tdm_segment_header header = image.header;
	header.magic = __builtin_bswap64(header.magic);
	header.layout_version = __builtin_bswap32(header.layout_version);
	header.byte_order = __builtin_bswap32(header.byte_order);
	header.bytes = __builtin_bswap64(header.bytes);
	image_write(&image, &header, image.entries, image.size);
	CHECK_STATUS(image_open(), TDM_OTHER_ENDIAN);
	header = image.header;
	header.byte_order = __builtin_bswap32(header.byte_order);
	image_write(&image, &header, image.entries, image.size);
	CHECK_STATUS(image_open(), TDM_OTHER_ENDIAN);
	image_drop(&image);
}

static const char *explain_image(void)
{
	static char text[200];
	struct tdm_segment segment;
	if (open_scratch(&segment, IMAGE, TDM_READ_WRITE) == TDM_OK)
		(void)!tdm_segment_close(&segment);
	tdm_segment_explain(&segment, text, sizeof(text));
	return text;
}

static void explanations(void)
{
	struct image image = image_make();
	struct tdm_segment_header header = image.header;
	header.layout_version = 7;
	image_write(&image, &header, image.entries, image.size);
	CHECK_EQ_STR(explain_image(), "made by a newer layout version (found 7, expected 1)");
	header.layout_version = 0;
	image_write(&image, &header, image.entries, image.size);
	CHECK_EQ_STR(explain_image(), "made by an older layout version (found 0, expected 1)");
	header = image.header;
	image_write(&image, &header, image.entries, 1000);
	CHECK_EQ_STR(explain_image(),
		     "the file is shorter than its header says (found 1000, expected 4096)");
	header.seat_count = 5000;
	image_write(&image, &header, image.entries, image.size);
	CHECK_EQ_STR(explain_image(),
		     "sizes or offsets that do not fit the file (found 5000, expected 1024)");
	header = image.header;
	header.magic = 0x1234;
	image_write(&image, &header, image.entries, image.size);
	CHECK_EQ_STR(explain_image(),
		     "not a tandem segment (found 0x1234, expected 0x4d45444e41543a89)");
	header = image.header;
	header.directory_hash = 0xabc;
	image_write(&image, &header, image.entries, image.size);
	CHECK(strstr(explain_image(), "expected 0xabc)") != TDM_NULL);
	struct tdm_segment segment;
	char small[10];
	CHECK_STATUS(open_scratch(&segment, IMAGE, TDM_READ_WRITE), TDM_BAD_DIRECTORY);
	tdm_segment_explain(&segment, small, sizeof(small));
	CHECK_EQ_STR(small, "the direc");
	CHECK_STATUS(open_scratch(&segment, "absent", TDM_READ_WRITE), TDM_NOT_FOUND);
	tdm_segment_explain(&segment, small, sizeof(small));
	CHECK_EQ_STR(small, "no such n");
	image_drop(&image);
}

static void names_that_are_no_files(void)
{
	struct tdm_segment segment, real;
	CHECK_STATUS(create_and_publish(&real, "real"), TDM_OK);
	CHECK(mkdir(in_scratch("directory"), 0700) == 0);
	CHECK(mkfifo(in_scratch("fifo"), 0600) == 0);
	CHECK(symlink("real", in_scratch("link")) == 0);
	CHECK(symlink("nowhere", in_scratch("dangling")) == 0);
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un address;
	memset(&address, 0, sizeof(address));
	address.sun_family = AF_UNIX;
	snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", in_scratch("socket"));
	CHECK(bind(listener, TDM_RETYPE(struct sockaddr *, &address), sizeof(address)) == 0);
	static const char *const things[] = {"directory", "fifo", "link", "dangling", "socket"};
	for (size_t i = 0; i < 5; i++) {
		CHECK_STATUS(open_scratch(&segment, things[i], TDM_READ_WRITE), TDM_NOT_TANDEM);
		CHECK_STATUS(open_scratch(&segment, things[i], TDM_MAP_READ_ONLY), TDM_NOT_TANDEM);
	}
	CHECK_STATUS(tdm_segment_open_in(&segment, "/dev", "null", TDM_READ_WRITE), TDM_NOT_TANDEM);
	CHECK_STATUS(tdm_segment_open_in(&segment, "/dev", "zero", TDM_MAP_READ_ONLY),
		     TDM_NOT_TANDEM);
	CHECK_STATUS(create_and_publish(&segment, "directory"), TDM_EXISTS);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	close(listener);
	CHECK(rmdir(in_scratch("directory")) == 0);
	for (size_t i = 1; i < 5; i++)
		CHECK(unlink(in_scratch(things[i])) == 0);
	remove_and_close(&real);
}

// --- sealed segments, and handing them over ---

static void seals(void)
{
	struct tdm_segment segment;
	struct tdm_segment_options options = sealed_options();
	CHECK_STATUS(create_small(&segment, &options), TDM_OK);
	CHECK(ftruncate(segment.fd, 0) != 0 && errno == EPERM);
	CHECK(ftruncate(segment.fd, 1 << 20) != 0 && errno == EPERM);
	CHECK(fcntl(segment.fd, TDM_F_ADD_SEALS_, TDM_F_SEAL_FUTURE_WRITE_) != 0 && errno == EPERM);
	void *map = mmap(TDM_NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, segment.fd, 0);
	CHECK(map != MAP_FAILED && munmap(map, 4096) == 0);
	CHECK_STATUS(tdm_segment_publish(&segment, "sealed"), TDM_INVALID);
	CHECK_STATUS(tdm_segment_remove(&segment), TDM_NOT_FOUND);
	CHECK(!tdm_segment_named(&segment));
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

static int socket_pair(int type, int ends[2])
{
	return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends);
}

static void peers_that_only_read(void)
{
	struct tdm_segment maker, user;
	struct tdm_segment_options options = sealed_options();
	int ends[2];
	options.peers_only_read = true;
	enum tdm_status status = create_small(&maker, &options);
	if (status == TDM_UNSUPPORTED) {
		tap_skip("no F_SEAL_FUTURE_WRITE here");
		return;
	}
	if (!CHECK_STATUS(status, TDM_OK))
		return;
	*cell_of(&maker) = 8;
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", maker.fd);
	int again = open(path, O_RDWR | O_CLOEXEC);
	CHECK(again >= 0);
	int tries[2] = {maker.fd, again};
	for (int i = 0; i < 2; i++) {
		CHECK(mmap(TDM_NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, tries[i], 0) ==
		      MAP_FAILED);
		CHECK(errno == EPERM);
		CHECK(pwrite(tries[i], "x", 1, 0) != 1 && errno == EPERM);
	}
	close(again);
	CHECK(socket_pair(SOCK_STREAM, ends) == 0);
	CHECK_STATUS(tdm_segment_send(&maker, ends[0]), TDM_OK);
	CHECK_STATUS(tdm_segment_receive(&user, ends[1], TDM_READ_WRITE), TDM_DENIED);
	CHECK_STATUS(tdm_segment_send(&maker, ends[0]), TDM_OK);
	if (CHECK_STATUS(tdm_segment_receive(&user, ends[1], TDM_MAP_READ_ONLY), TDM_OK)) {
		CHECK_EQ_U64(*cell_of(&user), 8);
		*cell_of(&maker) = 9;
		CHECK_EQ_U64(*cell_of(&user), 9);
		CHECK(mprotect(user.base, 4096, PROT_READ | PROT_WRITE) != 0);
		CHECK_STATUS(tdm_segment_close(&user), TDM_OK);
	}
	close(ends[0]);
	close(ends[1]);
	CHECK_STATUS(tdm_segment_close(&maker), TDM_OK);
}

static void receive_and_join(void *arg)
{
	struct tdm_segment segment;
	struct tdm_participant first, second;
	int socket = *TDM_CAST(int *, arg);
	if (!CHECK_STATUS(tdm_segment_receive(&segment, socket, TDM_READ_WRITE), TDM_OK))
		return;
	CHECK((fcntl(segment.fd, F_GETFD) & FD_CLOEXEC) != 0);
	CHECK((fcntl(segment.spare->fd, F_GETFD) & FD_CLOEXEC) != 0);
	int spare = segment.spare->fd;
	CHECK_STATUS(tdm_segment_join(&segment, &first, "received"), TDM_OK);
	CHECK(segment.spare == TDM_NULL && first.lock->fd == spare);
	CHECK_STATUS(tdm_segment_join(&segment, &second, "opened"), TDM_OK);
	CHECK(second.index != first.index);
	*cell_of(&segment) = first.index;
	CHECK_STATUS(tdm_table_dead_(&segment.table, first.index, first.generation), TDM_BUSY);
	CHECK(write(socket, "j", 1) == 1);
	char byte;
	CHECK(read(socket, &byte, 1) == 1);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_BUSY);
	CHECK_STATUS(tdm_participant_leave(&first), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&second), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

static void handing_over(void)
{
	static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
	for (int i = 0; i < 6; i++) {
		struct tdm_segment segment;
		struct tdm_segment_options options =
		    i < 3 ? sealed_options() : options_in_scratch();
		struct tdm_seat_info info;
		int ends[2];
		CHECK(socket_pair(types[i % 3], ends) == 0);
		CHECK_STATUS(create_small(&segment, &options), TDM_OK);
		pid_t peer = process_start(receive_and_join, &ends[1]);
		CHECK_STATUS(tdm_segment_send(&segment, ends[0]), TDM_OK);
		char byte;
		CHECK(read(ends[0], &byte, 1) == 1);
		uint32_t seat = TDM_CAST(uint32_t, *cell_of(&segment));
		CHECK_STATUS(tdm_segment_seat(&segment, seat, &info), TDM_OK);
		CHECK(info.liveness == TDM_SEAT_LIVE);
		CHECK_EQ_STR(info.name, "received");
		CHECK_EQ_U64(info.pid, TDM_CAST(uint64_t, peer));
		CHECK(write(ends[0], "q", 1) == 1);
		CHECK(process_ended_well(peer));
		close(ends[0]);
		close(ends[1]);
		CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	}
}

static void receive_as_nobody(void *arg)
{
	struct tdm_segment segment;
	struct tdm_participant first, second;
	uint32_t reaped = 0;
	if (!CHECK(become_nobody()) ||
	    !CHECK_STATUS(tdm_segment_receive(&segment, *TDM_CAST(int *, arg), TDM_READ_WRITE),
			  TDM_OK))
		return;
	// The descriptor that came along is good for one seat, and no further one can be opened.
	CHECK_STATUS(tdm_segment_join(&segment, &first, "nobody"), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&segment, &second, "too many"), TDM_DENIED);
	CHECK_STATUS(tdm_segment_reap(&segment, &reaped), TDM_DENIED);
	CHECK_STATUS(tdm_participant_leave(&first), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

static void handing_over_to_another_user(void)
{
	struct tdm_segment segment;
	struct tdm_segment_options options = sealed_options();
	int ends[2];
	if (geteuid() != 0) {
		tap_skip("needs root to become somebody else");
		return;
	}
	CHECK(socket_pair(SOCK_STREAM, ends) == 0);
	CHECK_STATUS(create_small(&segment, &options), TDM_OK);
	pid_t peer = process_start(receive_as_nobody, &ends[1]);
	CHECK_STATUS(tdm_segment_send(&segment, ends[0]), TDM_OK);
	CHECK(process_ended_well(peer));
	close(ends[0]);
	close(ends[1]);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

static void a_received_seat_that_stays_free(void)
{
	struct tdm_segment maker, user;
	struct tdm_segment_options options = sealed_options();
	struct tdm_participant self, other;
	int ends[2];
	options.seats = 1;
	CHECK(socket_pair(SOCK_STREAM, ends) == 0);
	CHECK_STATUS(create_small(&maker, &options), TDM_OK);
	CHECK_STATUS(tdm_segment_send(&maker, ends[0]), TDM_OK);
	CHECK_STATUS(tdm_segment_receive(&user, ends[1], TDM_READ_WRITE), TDM_OK);
	// The descriptor is kept when there is no seat, for another try.
	CHECK_STATUS(tdm_segment_join(&maker, &other, "other"), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&user, &self, "self"), TDM_NO_SEATS);
	CHECK(user.spare != TDM_NULL);
	CHECK_STATUS(tdm_participant_leave(&other), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&user, &self, "self"), TDM_OK);
	CHECK(user.spare == TDM_NULL);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	// And closed with the segment when nobody joins.
	CHECK_STATUS(tdm_segment_close(&user), TDM_OK);
	CHECK_STATUS(tdm_segment_send(&maker, ends[0]), TDM_OK);
	CHECK_STATUS(tdm_segment_receive(&user, ends[1], TDM_READ_WRITE), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&user), TDM_OK);
	close(ends[0]);
	close(ends[1]);
	CHECK_STATUS(tdm_segment_close(&maker), TDM_OK);
}

struct received {
	struct tdm_segment *maker, *user;
	int socket;
};

static void *receive_in_thread(void *arg)
{
	struct received *received = TDM_CAST(struct received *, arg);
	struct tdm_participant self;
	CHECK_STATUS(tdm_segment_join(received->maker, &self, "receiver"), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	CHECK_STATUS(tdm_segment_receive(received->user, received->socket, TDM_READ_WRITE), TDM_OK);
	return TDM_NULL;
}

static void a_received_seat_outlives_its_receiver(void)
{
	struct tdm_segment maker, user;
	struct tdm_segment_options options = sealed_options();
	struct tdm_participant self;
	struct received received;
	pthread_t thread;
	int ends[2];
	CHECK(socket_pair(SOCK_STREAM, ends) == 0);
	CHECK_STATUS(create_small(&maker, &options), TDM_OK);
	CHECK_STATUS(tdm_segment_send(&maker, ends[0]), TDM_OK);
	received.maker = &maker;
	received.user = &user;
	received.socket = ends[1];
	CHECK(pthread_create(&thread, TDM_NULL, receive_in_thread, &received) == 0);
	pthread_join(thread, TDM_NULL);
	struct tdm_seat_lock_ *spare = user.spare;
	CHECK_STATUS(tdm_segment_join(&user, &self, "self"), TDM_OK);
	CHECK(spare != TDM_NULL && self.lock == spare);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	close(ends[0]);
	close(ends[1]);
	CHECK_STATUS(tdm_segment_close(&user), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&maker), TDM_OK);
}

// Sends `count` descriptors with `bytes` bytes.
static void send_odd_message(int socket, const char *bytes, size_t size, const int *fds,
			     size_t count)
{
	TDM_ALIGNAS(8) char control[CMSG_SPACE(8 * sizeof(int))];
	struct iovec vector;
	struct msghdr message;
	memset(control, 0, sizeof(control));
	memset(&message, 0, sizeof(message));
	char copy[16];
	memcpy(copy, bytes, size);
	vector.iov_base = copy;
	vector.iov_len = size;
	message.msg_iov = &vector;
	message.msg_iovlen = 1;
	if (count > 0) {
		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		struct cmsghdr *head = CMSG_FIRSTHDR(&message);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(head), fds, count * sizeof(int));
	}
	CHECK(sendmsg(socket, &message, 0) == TDM_CAST(ssize_t, size));
}

static void messages_that_are_no_segments(void)
{
	struct tdm_segment segment, maker, other;
	struct tdm_segment_options options = sealed_options();
	CHECK_STATUS(create_small(&maker, &options), TDM_OK);
	CHECK_STATUS(create_small(&other, &options), TDM_OK);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int same[2] = {maker.fd, maker.fd};
	int mixed[2] = {maker.fd, other.fd};
	int nulls[2] = {null, null};
	struct {
		const char *bytes;
		size_t size;
		const int *fds;
		size_t count;
		enum tdm_status verdict;
	} messages[] = {
	    {"t", 1, same, 0, TDM_CORRUPT},     {"t", 1, same, 1, TDM_CORRUPT},
	    {"x", 1, same, 2, TDM_CORRUPT},     {"t", 1, mixed, 2, TDM_CORRUPT},
	    {"t", 1, nulls, 2, TDM_NOT_TANDEM}, {"", 0, same, 2, TDM_CORRUPT},
	    {"", 0, same, 1, TDM_CORRUPT},
	};
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		int ends[2];
		CHECK(socket_pair(SOCK_SEQPACKET, ends) == 0);
		int before = count_descriptors();
		send_odd_message(ends[0], messages[i].bytes, messages[i].size, messages[i].fds,
				 messages[i].count);
		if (!CHECK_STATUS(tdm_segment_receive(&segment, ends[1], TDM_READ_WRITE),
				  messages[i].verdict))
			tap_note("message %u", TDM_CAST(unsigned, i));
		CHECK_EQ_U64(TDM_CAST(uint64_t, count_descriptors()), TDM_CAST(uint64_t, before));
		close(ends[0]);
		CHECK_STATUS(tdm_segment_receive(&segment, ends[1], TDM_READ_WRITE), TDM_PEER_LEFT);
		CHECK_STATUS(tdm_segment_close(&segment), TDM_INVALID);
		close(ends[1]);
	}
	int ends[2];
	CHECK(socket_pair(SOCK_STREAM | SOCK_NONBLOCK, ends) == 0);
	CHECK_STATUS(tdm_segment_receive(&segment, ends[1], TDM_READ_WRITE), TDM_SYSTEM);
	CHECK(errno == EAGAIN);
	close(ends[1]);
	CHECK_STATUS(tdm_segment_send(&maker, ends[0]), TDM_SYSTEM);
	CHECK(errno == EPIPE);
	close(ends[0]);
	CHECK_STATUS(tdm_segment_receive(&segment, -1, TDM_READ_WRITE), TDM_SYSTEM);
	CHECK_STATUS(tdm_segment_send(&maker, -1), TDM_SYSTEM);
	close(null);
	CHECK_STATUS(tdm_segment_close(&maker), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&other), TDM_OK);
}

static void opened_by_descriptor(void)
{
	struct tdm_segment maker, user;
	struct tdm_segment_options options = sealed_options();
	CHECK_STATUS(create_small(&maker, &options), TDM_OK);
	CHECK_STATUS(
	    tdm_segment_open_fd(&user, fcntl(maker.fd, F_DUPFD_CLOEXEC, 3), TDM_READ_WRITE),
	    TDM_OK);
	*cell_of(&maker) = 4;
	CHECK_EQ_U64(*cell_of(&user), 4);
	CHECK_STATUS(tdm_segment_publish(&user, "x"), TDM_INVALID);
	CHECK_STATUS(tdm_segment_remove(&user), TDM_NOT_FOUND);
	CHECK_STATUS(tdm_segment_close(&user), TDM_OK);
	CHECK_STATUS(tdm_segment_open_fd(&user, -1, TDM_READ_WRITE), TDM_SYSTEM);
	CHECK_STATUS(tdm_segment_open_fd(&user, open("/dev/null", O_RDWR), TDM_READ_WRITE),
		     TDM_NOT_TANDEM);
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", maker.fd);
	CHECK_STATUS(tdm_segment_open_fd(&user, open(path, O_RDONLY | O_CLOEXEC), TDM_READ_WRITE),
		     TDM_DENIED);
	CHECK_STATUS(tdm_segment_close(&maker), TDM_OK);
}

// --- fork between receiving and joining ---

struct forked_receiver {
	struct tdm_segment *segment;
	struct gate joined, seen;
	uint32_t *seats; // that parent and child got
};

static void join_as_child(void *arg)
{
	struct forked_receiver *shared = TDM_CAST(struct forked_receiver *, arg);
	struct tdm_participant self;
	gate_pass(&shared->joined); // the parent has a seat
	if (CHECK_STATUS(tdm_segment_join(shared->segment, &self, "child"), TDM_OK))
		shared->seats[1] = self.index + 1;
	gate_open(&shared->seen);
	gate_pass(&shared->joined);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
}

static void a_fork_before_the_received_seat_is_taken(void)
{
	struct tdm_segment maker, user;
	struct tdm_segment_options options = sealed_options();
	struct tdm_participant self;
	struct forked_receiver shared;
	int ends[2];
	CHECK(socket_pair(SOCK_STREAM, ends) == 0);
	CHECK_STATUS(create_small(&maker, &options), TDM_OK);
	CHECK_STATUS(tdm_segment_send(&maker, ends[0]), TDM_OK);
	CHECK_STATUS(tdm_segment_receive(&user, ends[1], TDM_READ_WRITE), TDM_OK);
	shared.segment = &user;
	shared.joined = gate_make();
	shared.seen = gate_make();
	shared.seats = TDM_CAST(uint32_t *, shared_memory(8));
	pid_t child = process_start(join_as_child, &shared);
	CHECK_STATUS(tdm_segment_join(&user, &self, "parent"), TDM_OK);
	shared.seats[0] = self.index + 1;
	gate_open(&shared.joined);
	gate_pass(&shared.seen);
	CHECK(shared.seats[0] != shared.seats[1] && shared.seats[1] != 0);
	// The child holds no copy of the parent's lock.
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	struct tdm_seat_info info;
	CHECK_STATUS(tdm_segment_seat(&maker, self.index, &info), TDM_OK);
	CHECK(info.liveness == TDM_SEAT_FREE);
	gate_open(&shared.joined);
	CHECK(process_ended_well(child));
	gate_drop(&shared.joined);
	gate_drop(&shared.seen);
	munmap(shared.seats, 8);
	close(ends[0]);
	close(ends[1]);
	CHECK_STATUS(tdm_segment_close(&user), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&maker), TDM_OK);
}

// Children that are forked while another thread sends must not keep what was sent.
#define FORKS 200

struct forker {
	struct gate born; // by each child, when its fork is over
	int end[2];       // a child lives until this pipe is closed
	pid_t children[FORKS];
	uint32_t over;
};

static void *fork_many(void *arg)
{
	struct forker *forker = TDM_CAST(struct forker *, arg);
	for (int i = 0; i < FORKS; i++) {
		forker->children[i] = fork();
		if (forker->children[i] == 0) {
			char byte;
			close(forker->end[1]);
			gate_open(&forker->born);
			_exit(read(forker->end[0], &byte, 1) != 0);
		}
	}
	count_up(&forker->over);
	return TDM_NULL;
}

static void forks_while_sending(void)
{
	struct tdm_segment maker;
	struct tdm_segment_options options = sealed_options();
	struct forker forker;
	pthread_t thread;
	unsigned rounds = 0;
	int ends[2];
	forker.born = gate_make();
	forker.over = 0;
	CHECK(pipe2(forker.end, O_CLOEXEC) == 0);
	CHECK(socket_pair(SOCK_STREAM, ends) == 0);
	CHECK_STATUS(create_small(&maker, &options), TDM_OK);
	CHECK(pthread_create(&thread, TDM_NULL, fork_many, &forker) == 0);
	while (read_u32(&forker.over) == 0) {
		struct tdm_segment user;
		struct tdm_participant self;
		if (!CHECK_STATUS(tdm_segment_send(&maker, ends[0]), TDM_OK) ||
		    !CHECK_STATUS(tdm_segment_receive(&user, ends[1], TDM_READ_WRITE), TDM_OK) ||
		    !CHECK_STATUS(tdm_segment_join(&user, &self, "self"), TDM_OK))
			break;
		CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
		CHECK_STATUS(tdm_segment_close(&user), TDM_OK);
		rounds++;
	}
	pthread_join(thread, TDM_NULL);
	for (int i = 0; i < FORKS; i++)
		gate_pass(&forker.born);
	// Nobody is joined, all children live: a copy in one of them would hold a byte.
	for (uint32_t seat = 0; seat < TDM_SEATS_DEFAULT; seat++) {
		struct tdm_seat_info info;
		CHECK_STATUS(tdm_segment_seat(&maker, seat, &info), TDM_OK);
		CHECK(info.liveness == TDM_SEAT_FREE);
	}
	tap_note("%u joined beside %u forks", rounds, FORKS);
	close(forker.end[0]);
	close(forker.end[1]);
	for (int i = 0; i < FORKS; i++)
		CHECK(process_ended_well(forker.children[i]));
	gate_drop(&forker.born);
	close(ends[0]);
	close(ends[1]);
	CHECK_STATUS(tdm_segment_close(&maker), TDM_OK);
}

int main(void)
{
	static const struct {
		const char *sentence;
		void (*body)(void);
	} cases[] = {
	    {"a segment is created, published, opened, removed, closed", life_of_a_segment},
	    {"a segment may have no objects and one seat", no_objects_at_all},
	    {"a directory holds 1024 objects with names of 31 bytes and no more", a_full_directory},
	    {"the user's own structs are checked by size, type and kind", bytes_are_typed},
	    {"calls in a wrong state are refused", calls_out_of_order},
	    {"bad names are refused everywhere, odd ones work", names},
	    {"impossible descriptions are refused", impossible_descriptions},
	    {"sizes beyond the machine are refused before anything is used up",
	     more_than_the_machine_has},
	    {"impossible options are refused", impossible_options},
	    {"permissions are 0600 or as asked, whatever the umask", permissions_are_as_asked},
	    {"no descriptor survives an exec", descriptors_do_not_survive_exec},
	    {"a read-only mapping cannot be written, joined or made writable", read_only_mappings},
	    {"another user is refused what the permissions do not give", other_users},
	    {"of two processes that publish one name one wins, and no opener sees half a segment",
	     two_creating_processes},
	    {"the same with two threads", two_creating_threads},
	    {"of two that remove one segment one does, and never the next one under its name",
	     two_removers},
	    {"a remover that is late removes nothing", a_remover_that_is_late},
	    {"a name that leads elsewhere is not removed", anothers_name},
	    {"a taken name is refused, and another one may be tried", a_taken_name},
	    {"where there are no unnamed files a temporary one is used and removed",
	     without_unnamed_files},
	    {"a full file system is a status at creation, and never a signal", a_full_file_system},
	    {"without /proc a segment works, and joining says that it cannot", no_proc},
	    {"a segment on huge pages is rounded up to them and unmapped", huge_pages},
	    {"a large segment is created under a timer that interrupts", under_a_timer},
	    {"a file cut at any length is truncated, and nothing worse", truncated_at_every_length},
	    {"each header field at its limits has its status", header_fields_at_their_limits},
	    {"each directory field at its limits has its status, hash recomputed or not",
	     directory_fields_at_their_limits},
	    {"objects outside their place are refused", misplaced_objects},
	    {"more objects or seats than there may be are refused", impossible_counts},
	    {"a file larger than the address space is refused", a_file_of_many_bytes},
	    {"bad names in a directory are refused", bad_names_in_the_directory},
	    {"random damage is refused or harmless", random_damage},
	    {"foreign bytes and zeros are told apart", foreign_bytes},
	    {"the other byte order is recognized", other_byte_order},
	    {"an explanation has what was found and what was expected", explanations},
	    {"directories, pipes, links, sockets and devices are no segments",
	     names_that_are_no_files},
	    {"a sealed segment keeps its size and its seals", seals},
	    {"peers that only read cannot get a writable mapping", peers_that_only_read},
	    {"a segment goes over a socket, and its receiver joins", handing_over},
	    {"a receiver without rights to the file has the one seat it was given",
	     handing_over_to_another_user},
	    {"a received seat waits for a free one, or is closed with the segment",
	     a_received_seat_that_stays_free},
	    {"a received seat outlives the thread that received it",
	     a_received_seat_outlives_its_receiver},
	    {"messages that are no segments are refused and leave no descriptor",
	     messages_that_are_no_segments},
	    {"a segment is opened by descriptor", opened_by_descriptor},
	    {"a fork after receiving shares no lock", a_fork_before_the_received_seat_is_taken},
	    {"a fork while sending and receiving keeps no lock", forks_while_sending},
	};
	snprintf(scratch, sizeof(scratch), "/dev/shm/tandem-test-%d.d", TDM_CAST(int, getpid()));
	if (mkdir(scratch, 0700) != 0)
		tap_skip_all("no /dev/shm here");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tap_case(cases[i].sentence);
		int before = count_descriptors();
		cases[i].body();
		CHECK_EQ_U64(TDM_CAST(uint64_t, count_descriptors()), TDM_CAST(uint64_t, before));
		CHECK_EQ_U64(TDM_CAST(uint64_t, count_entries(scratch)), 0);
	}
	tap_case("nothing is left behind");
	CHECK(rmdir(scratch) == 0);
	return tap_done();
}
