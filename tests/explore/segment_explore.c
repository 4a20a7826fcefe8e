// SPDX-License-Identifier: BSD-2-Clause
// shm/segment.h and the objects in it in their first moments: whoever opens a segment finds it
// whole, under every schedule and every value that its loads may return. The real create, publish
// and open run; what they ask of the kernel is answered here: there is one file, in memory, and
// its name, whose giving and finding the kernel orders.
#include "explore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <tandem/base/atomic.h>

#define FILE_BYTES 4096U
#define FILE_FD 100

static unsigned char *file;
static tdm_atomic_u32 named;

static int open_file(void)
{
	if (tdm_load_acquire_u32(&named) != 0)
		return FILE_FD;
	errno = ENOENT;
	return -1;
}

static int name_file(void)
{
	if (tdm_exchange_acq_rel_u32(&named, 1) == 0)
		return 0;
	errno = EEXIST;
	return -1;
}

static int stat_file(struct stat *info)
{
	memset(info, 0, sizeof(*info));
	info->st_mode = S_IFREG;
	info->st_size = FILE_BYTES;
	return 0;
}

static ssize_t read_file(void *to, size_t bytes, off_t at)
{
	memcpy(to, file + at, bytes);
	return (ssize_t)bytes;
}

static int done(int answer, ...)
{
	return answer;
}

static void *map_file(int protection)
{
	return protection != 0 ? file : NULL;
}

#define TDM_SEAM_OPEN_UNNAMED(directory) FILE_FD
#define open(...) open_file()
#define linkat(from_fd, from, to_fd, to, flags) name_file()
#define close(fd) done(0, fd)
#define access(path, mode) done(0, mode)
#define fchmod(fd, mode) done(0, mode)
#define fstat(fd, info) stat_file(info)
#define fstatfs(fd, info) done(-1, info)
#define mmap(at, bytes, protection, flags, fd, offset) map_file(protection)
#define munmap(at, bytes) done(0, at)
#define posix_fallocate(fd, at, bytes) done(0, at)
#define pread(fd, to, bytes, at) read_file(to, bytes, at)
#include <tandem/shm/segment.h>
#undef open
#undef linkat
#undef close
#undef access
#undef fchmod
#undef fstat
#undef fstatfs
#undef mmap
#undef munmap
#undef posix_fallocate
#undef pread

#include <tandem/ring/mpmc.h>
#include <tandem/ring/spsc.h>

TDM_MPMC_DEFINE(many, uint64_t);
TDM_SPSC_DEFINE(one, uint64_t);

static struct tdm_segment segments[EXPLORE_THREADS];
static bool opened[EXPLORE_THREADS], created[EXPLORE_THREADS];

static bool ok(enum tdm_status status)
{
	return status == TDM_OK;
}

static void setup(void)
{
	(void)tdm_backoff_alone_(); // asks the kernel, once
	explore_ignore(&tdm_backoff_cpus_, sizeof(tdm_backoff_cpus_));
	explore_ignore(&tdm_slots_yes_, sizeof(tdm_slots_yes_));
	tdm_store_relaxed_u32(&tdm_fence_state_, TDM_FENCE_REGISTERED_);
	explore_ignore(&tdm_fence_state_, sizeof(tdm_fence_state_));
	file = explore_memory(FILE_BYTES);
	explore_name(file, FILE_BYTES, "file");
	explore_name(&named, sizeof(named), "name");
}

static struct tdm_segment *segment(void)
{
	return &segments[explore_thread()];
}

// ---------------------------------------------------------------------------------------------
// A segment

static uint64_t user_size(const struct tdm_object *object)
{
	return object->elem_size;
}

static enum tdm_status user_init(struct tdm_span span, const struct tdm_object *object)
{
	memset(span.base, 7, object->elem_size);
	return TDM_OK;
}

// Gives the file its name while it is still being made.
static enum tdm_status early_init(struct tdm_span span, const struct tdm_object *object)
{
	return name_file() == 0 ? user_init(span, object) : TDM_EXISTS;
}

static void create_with(enum tdm_status (*init)(struct tdm_span, const struct tdm_object *))
{
	struct tdm_object objects[2] = {many_object("ring", 2), tdm_bytes_object("user", 8, 8, 0)};
	objects[0].plain = true;
	objects[1].size = user_size;
	objects[1].init = init;
	struct tdm_segment_options options = {.seats = 1};
	EXPLORE_CHECK(ok(tdm_segment_create(segment(), objects, 2, &options)),
		      "a segment is created");
}

static void create(void)
{
	create_with(user_init);
	EXPLORE_CHECK(ok(tdm_segment_publish(segment(), "name")), "a name is free");
	created[explore_thread()] = true;
	struct many_producer producer;
	EXPLORE_CHECK(
	    ok(many_producer_attach(&producer, tdm_segment_find(segment(), "ring"), NULL)),
	    "a producer attaches");
	uint64_t value = 5;
	EXPLORE_CHECK(ok(many_try_push(&producer, &value)), "there is room");
}

static void create_early(void)
{
	create_with(early_init);
}

static void use_segment(void)
{
	struct tdm_segment *mine = segment();
	opened[explore_thread()] = true;
	void *user;
	EXPLORE_CHECK(ok(tdm_segment_bytes(mine, "user", 8, NULL, &user)), "an object is there");
	unsigned char sevens[8];
	memset(sevens, 7, sizeof(sevens));
	EXPLORE_CHECK(memcmp(user, sevens, sizeof(sevens)) == 0, "an object is whole");
	struct many_consumer consumer;
	EXPLORE_CHECK(ok(many_consumer_attach(&consumer, tdm_segment_find(mine, "ring"), NULL)),
		      "a ring is there, and whole");
	uint64_t value = 0;
	explore_await_begin();
	enum tdm_status status;
	while ((status = many_try_pop(&consumer, &value)) == TDM_EMPTY)
		explore_await_change();
	EXPLORE_CHECK(ok(status) && value == 5, "what was pushed is popped");
}

static void open_and_use(void)
{
	enum tdm_status status;
	explore_await_begin();
	while ((status = tdm_segment_open(segment(), "name", TDM_READ_WRITE)) == TDM_NOT_FOUND)
		explore_await_change();
	EXPLORE_CHECK(ok(status), "a segment is there as a whole or not yet");
	use_segment();
}

static void open_if_there(void)
{
	enum tdm_status status = tdm_segment_open(segment(), "name", TDM_READ_WRITE);
	EXPLORE_CHECK(ok(status) || status == TDM_NOT_FOUND,
		      "a segment is there as a whole or not yet");
	opened[explore_thread()] = ok(status);
	void *user;
	if (ok(status))
		EXPLORE_CHECK(ok(tdm_segment_bytes(segment(), "user", 8, NULL, &user)),
			      "an object is there");
}

static void only_what_was_created(void)
{
	EXPLORE_CHECK(created[0] || explore_died(0) || !opened[1],
		      "nothing is opened that was not published");
}

// ---------------------------------------------------------------------------------------------
// Objects in the user's own memory

static void init_many(void)
{
	EXPLORE_CHECK(ok(many_init(file, FILE_BYTES, 2)), "a ring is made");
}

static void init_one(void)
{
	EXPLORE_CHECK(ok(one_init(file, FILE_BYTES, 2)), "a ring is made");
}

static void push_many(void)
{
	struct many_producer producer;
	struct tdm_span span = tdm_memory(file, FILE_BYTES);
	enum tdm_status status;
	explore_await_begin();
	while ((status = many_producer_attach(&producer, span, NULL)) == TDM_NOT_INITIALIZED)
		explore_await_change();
	EXPLORE_CHECK(ok(status), "a ring is there as a whole or not yet");
	uint64_t value = 1 + explore_thread();
	EXPLORE_CHECK(ok(many_try_push(&producer, &value)), "there is room");
}

static void pop_many(void)
{
	struct many_consumer consumer;
	struct tdm_span span = tdm_memory(file, FILE_BYTES);
	struct tdm_mpmc_info info;
	enum tdm_status status = many_consumer_attach(&consumer, span, NULL);
	EXPLORE_CHECK(ok(status) || status == TDM_NOT_INITIALIZED,
		      "a ring is there as a whole or not yet");
	if (!ok(status))
		return;
	EXPLORE_CHECK(ok(tdm_mpmc_check(span, &info)) && info.capacity == 2 && info.plain &&
			  info.elem_size == sizeof(uint64_t) && info.popped == 0,
		      "its geometry is seen");
	uint64_t value = 0;
	status = many_try_pop(&consumer, &value);
	EXPLORE_CHECK(status == TDM_EMPTY || (ok(status) && value == 2), "elements are whole");
}

static void push_one(void)
{
	struct one_producer producer;
	struct tdm_span span = tdm_memory(file, FILE_BYTES);
	enum tdm_status status;
	explore_await_begin();
	while ((status = one_producer_attach(&producer, span, NULL)) == TDM_NOT_INITIALIZED)
		explore_await_change();
	EXPLORE_CHECK(ok(status), "a ring is there as a whole or not yet");
	uint64_t value = 2;
	EXPLORE_CHECK(ok(one_try_push(&producer, &value)), "there is room");
}

static void pop_one(void)
{
	struct one_consumer consumer;
	struct tdm_span span = tdm_memory(file, FILE_BYTES);
	enum tdm_status status = one_consumer_attach(&consumer, span, NULL);
	EXPLORE_CHECK(ok(status) || status == TDM_NOT_INITIALIZED,
		      "a ring is there as a whole or not yet");
	if (!ok(status))
		return;
	uint64_t value = 0;
	status = one_try_pop(&consumer, &value);
	EXPLORE_CHECK(status == TDM_EMPTY || (ok(status) && value == 2), "elements are whole");
}

// ---------------------------------------------------------------------------------------------

static const struct explore_case cases[] = {
    {.name = "who opens a segment finds it whole",
     .setup = setup,
     .threads = {create, open_and_use},
     .finish = only_what_was_created},
    {.name = "two open a segment, or find none",
     .setup = setup,
     .threads = {create, open_if_there, open_if_there},
     .finish = only_what_was_created},
    {.name = "a creator dies",
     .setup = setup,
     .threads = {create, open_if_there},
     .finish = only_what_was_created,
     .can_die = 1,
     .deaths = 1},
    {.name = "a ring for many in the user's memory",
     .setup = setup,
     .threads = {init_many, push_many, pop_many}},
    {.name = "a ring for two in the user's memory",
     .setup = setup,
     .threads = {init_one, push_one, pop_one}},
    {.name = "broken: a segment has its name before it is whole",
     .setup = setup,
     .threads = {create_early, open_if_there},
     .expect = "data race on file"},
};

int main(int argc, char **argv)
{
	return explore_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
