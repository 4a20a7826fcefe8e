// SPDX-License-Identifier: BSD-2-Clause
// What every value that is read without a lock must do (lock/seq.h, lock/snapshot.h). Include it
// after count_rests.h, the header, and
//
//	FORM(op)         the header's untyped function of that name
//	LOCK_OF(value)   what that takes
//	DEFINE(name, T)  its generator
//	VALUE_TEXT       what it is called in sentences
//	KEEPS            whether a value outlasts a death in the middle
#ifndef TDM_TESTS_UNIT_VALUE_FORMS_H
#define TDM_TESTS_UNIT_VALUE_FORMS_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <tandem/shm/segment.h>

#include "../support/block.h"
#include "../support/child.h"
#include "../support/pattern.h"
#include "../support/tap.h"

#define WORDS 6U

struct wide {
	uint64_t words[WORDS];
};
struct three {
	char bytes[3];
};
struct eleven {
	char bytes[11];
};
DEFINE(wide_value, struct wide);
DEFINE(byte_value, unsigned char);
DEFINE(three_value, struct three);
DEFINE(eleven_value, struct eleven);
DEFINE(number_value, uint64_t);

// What processes share.
struct scene {
	struct wide_value value;
	tdm_atomic_u32 stage;
};
static struct scene *scene;
static struct wide_value *it;

static void begin(const char *sentence)
{
	char text[200];
	snprintf(text, sizeof(text), VALUE_TEXT "%s: %s", TDM_CHECKED ? ", checked" : "", sentence);
	tap_case(text);
	memset(TDM_CAST(void *, scene), 0, sizeof(*scene));
	memset(&calls, 0, sizeof(calls));
	at_yield = TDM_NULL;
	it = &scene->value;
}

static struct wide filled(uint64_t number)
{
	struct wide value;
	for (unsigned i = 0; i < WORDS; i++)
		value.words[i] = number;
	return value;
}

// Whoever gives back what it does not hold is told so; ThreadSanitizer would tell, too.
static void check_unlock_refused(struct tdm_participant *self)
{
	if (!TDM_UNDER_TSAN)
		CHECK_STATUS(FORM(unlock)(LOCK_OF(it), self), TDM_NOT_OWNER);
}

static bool is(const struct wide *value, uint64_t number)
{
	for (unsigned i = 0; i < WORDS; i++)
		if (value->words[i] != number)
			return false;
	return true;
}

static void check_reads(uint64_t number)
{
	struct wide value = filled(~number);
	CHECK_STATUS(wide_value_try_read(it, &value), TDM_OK);
	CHECK(is(&value, number));
	value = filled(~number);
	CHECK_STATUS(wide_value_read_until(it, &value, 0), TDM_OK);
	CHECK(is(&value, number));
	value = filled(~number);
	CHECK_STATUS(wide_value_read(it, &value), TDM_OK);
	CHECK(is(&value, number));
}

static void test_zero(void)
{
	begin("zero-filled memory holds zeros, and can be written");
	struct wide value = filled(1);
	check_reads(0);
	CHECK_STATUS(wide_value_try_write(it, TDM_NULL, &value), TDM_OK);
	check_reads(1);
	value = filled(2);
	CHECK_STATUS(wide_value_write_until(it, TDM_NULL, &value, 0), TDM_OK);
	check_reads(2);
	value = filled(3);
	CHECK_STATUS(wide_value_write(it, TDM_NULL, &value), TDM_OK);
	check_reads(3);
	CHECK_EQ_U64(calls.pauses + calls.yields, 0);
}

static void test_init(void)
{
	struct wide value = filled(7);
	begin("init overwrites whatever was there, and takes a first value or none");
	memset(TDM_CAST(void *, it), 0xa5, sizeof(*it));
	CHECK_STATUS(wide_value_init(it, &value, 0), TDM_OK);
	check_reads(7);
	CHECK_STATUS(wide_value_write(it, TDM_NULL, &value), TDM_OK);
	memset(TDM_CAST(void *, it), 0xa5, sizeof(*it));
	CHECK_STATUS(wide_value_init(it, TDM_NULL, 0), TDM_OK);
	check_reads(0);
	CHECK_STATUS(wide_value_write(it, TDM_NULL, &value), TDM_OK);
	check_reads(7);

	begin("no flag but ROBUST is known");
	for (unsigned bit = 1; bit < 32; bit++)
		CHECK_STATUS(wide_value_init(it, TDM_NULL, 1U << bit), TDM_INVALID);
	CHECK_STATUS(wide_value_init(it, TDM_NULL, TDM_MUTEX_ROBUST), TDM_OK);
	check_reads(0);
	CHECK_STATUS(wide_value_write(it, TDM_NULL, &value), TDM_NEEDS_PARTICIPANT);
	CHECK_STATUS(wide_value_try_write(it, TDM_NULL, &value), TDM_NEEDS_PARTICIPANT);
	CHECK_STATUS(wide_value_store(it, TDM_NULL, &value), TDM_NEEDS_PARTICIPANT);
	CHECK_STATUS(FORM(unlock)(LOCK_OF(it), TDM_NULL), TDM_NEEDS_PARTICIPANT);
	check_reads(0);
}

// Many writes of one size, each seen at once, and nothing written beside the object.
#define CHECK_SIZE(NAME, T)                                                                        \
	do {                                                                                       \
		struct block block = block_make(sizeof(struct NAME), 8);                           \
		struct NAME *object = TDM_AT_(struct NAME, block.base, 0);                         \
		CHECK_STATUS(NAME##_init(object, TDM_NULL, 0), TDM_OK);                            \
		for (uint64_t i = 0; i < 20; i++) {                                                \
			struct {                                                                   \
				T value;                                                           \
				unsigned char after[8];                                            \
			} from, to;                                                                \
			memset(&to, 0x5a, sizeof(to));                                             \
			pattern_put(&from.value, sizeof(T), i);                                    \
			CHECK_STATUS(NAME##_write(object, TDM_NULL, &from.value), TDM_OK);         \
			CHECK_STATUS(NAME##_read(object, &to.value), TDM_OK);                      \
			CHECK(pattern_is(&to.value, sizeof(T), i));                                \
			for (unsigned k = 0; k < 8; k++)                                           \
				CHECK_EQ_U64(to.after[k], 0x5a);                                   \
		}                                                                                  \
		CHECK(block_end(&block));                                                          \
	} while (0)

static void test_sizes(void)
{
	begin("values of any size come out as they went in, and nothing beside them");
	CHECK_SIZE(byte_value, unsigned char);
	CHECK_SIZE(three_value, struct three);
	CHECK_SIZE(number_value, uint64_t);
	CHECK_SIZE(eleven_value, struct eleven);
	CHECK_SIZE(wide_value, struct wide);
}

static void test_role(void)
{
	struct wide value = filled(1);
	begin("who holds the role stores, reads and changes; others are told TDM_BUSY");
	CHECK_STATUS(wide_value_store(it, TDM_NULL, &value), TDM_NOT_OWNER);
	check_unlock_refused(TDM_NULL);
	check_reads(0);
	for (int i = 0; i < 3; i++) {
		CHECK_STATUS(i == 0   ? FORM(try_lock)(LOCK_OF(it), TDM_NULL)
			     : i == 1 ? FORM(lock_until)(LOCK_OF(it), TDM_NULL, 0)
				      : FORM(lock)(LOCK_OF(it), TDM_NULL),
			     TDM_OK);
		for (uint64_t number = 0; number < 9; number++) {
			value = filled(number);
			CHECK_STATUS(wide_value_store(it, TDM_NULL, &value), TDM_OK);
			check_reads(number);
		}
		value = filled(99);
		if (!TDM_CHECKED) {
			CHECK_STATUS(FORM(try_lock)(LOCK_OF(it), TDM_NULL), TDM_BUSY);
			CHECK_STATUS(wide_value_try_write(it, TDM_NULL, &value), TDM_BUSY);
			CHECK_STATUS(wide_value_write_until(it, TDM_NULL, &value, 0),
				     TDM_TIMED_OUT);
		} else {
			CHECK_STATUS(FORM(try_lock)(LOCK_OF(it), TDM_NULL), TDM_DEADLOCK);
			CHECK_STATUS(wide_value_write(it, TDM_NULL, &value), TDM_DEADLOCK);
		}
		CHECK_STATUS(FORM(destroy)(LOCK_OF(it)), TDM_BUSY);
		check_reads(8);
		CHECK_STATUS(FORM(unlock)(LOCK_OF(it), TDM_NULL), TDM_OK);
	}
	CHECK_STATUS(wide_value_store(it, TDM_NULL, &value), TDM_NOT_OWNER);

	begin("destroying it leaves the value, of a plain one");
	value = filled(5);
	CHECK_STATUS(wide_value_init(it, &value, TDM_MUTEX_ROBUST), TDM_OK);
	CHECK_STATUS(FORM(destroy)(LOCK_OF(it)), TDM_OK);
	check_reads(5);
	value = filled(6);
	CHECK_STATUS(wide_value_write(it, TDM_NULL, &value), TDM_OK);
	check_reads(6);
}

// --- other threads ---

static void *write_in_thread(void *unused)
{
	struct wide value = filled(4);
	(void)unused;
	CHECK_STATUS(wide_value_write(it, TDM_NULL, &value), TDM_OK);
	return TDM_NULL;
}

static void *misuse_in_thread(void *unused)
{
	struct wide value = filled(4);
	(void)unused;
	CHECK_STATUS(wide_value_store(it, TDM_NULL, &value), TDM_NOT_OWNER);
	check_unlock_refused(TDM_NULL);
	return TDM_NULL;
}

static void test_waiting_writer(void)
{
	pthread_t thread;
	begin("a writer waits until the role is free, asleep");
	CHECK_STATUS(FORM(lock)(LOCK_OF(it), TDM_NULL), TDM_OK);
	CHECK(pthread_create(&thread, TDM_NULL, write_in_thread, TDM_NULL) == 0);
	while ((tdm_load_relaxed_u32(&LOCK_OF(it)->writer.freed.word) & TDM_EVENT_ARMED_) == 0)
		sched_yield();
	check_reads(0);
	CHECK_STATUS(FORM(unlock)(LOCK_OF(it), TDM_NULL), TDM_OK);
	CHECK(pthread_join(thread, TDM_NULL) == 0);
	check_reads(4);

	if (!TDM_CHECKED)
		return;
	begin("whoever stores or unlocks what another thread holds is told TDM_NOT_OWNER");
	CHECK_STATUS(FORM(lock)(LOCK_OF(it), TDM_NULL), TDM_OK);
	CHECK(pthread_create(&thread, TDM_NULL, misuse_in_thread, TDM_NULL) == 0);
	CHECK(pthread_join(thread, TDM_NULL) == 0);
	check_reads(0);
	CHECK_STATUS(FORM(unlock)(LOCK_OF(it), TDM_NULL), TDM_OK);
}

#define ROUNDS 3000U

static uint64_t notes[ROUNDS + 1]; // plain: by the writer of a number, for its readers

static void *write_many(void *unused)
{
	(void)unused;
	while (tdm_load_relaxed_u32(&scene->stage) == 0) // the reader is there
		sched_yield();
	for (uint64_t number = 1; number <= ROUNDS; number++) {
		struct wide value = filled(number);
		notes[number] = number;
		CHECK_STATUS(wide_value_write(it, TDM_NULL, &value), TDM_OK);
	}
	tdm_store_relaxed_u32(&scene->stage, 2);
	return TDM_NULL;
}

static void test_reader_beside_writer(void)
{
	pthread_t thread;
	struct wide value;
	uint64_t last = 0;
	memset(notes, 0, sizeof(notes));
	begin("a reader reads each value whole, none after a later one, and sees what came before");
	CHECK(pthread_create(&thread, TDM_NULL, write_many, TDM_NULL) == 0);
	tdm_store_relaxed_u32(&scene->stage, 1);
	while (tdm_load_relaxed_u32(&scene->stage) != 2) {
		CHECK_STATUS(wide_value_read(it, &value), TDM_OK);
		if (!CHECK(is(&value, value.words[0])) || !CHECK(value.words[0] >= last))
			break;
		last = value.words[0];
		CHECK_EQ_U64(notes[last], last);
	}
	CHECK(pthread_join(thread, TDM_NULL) == 0);
	check_reads(ROUNDS);
}

// --- a read-only mapping, and a segment ---

static struct tdm_object value_object(const char *name)
{
	return tdm_bytes_object(name, sizeof(struct wide_value), TDM_CACHE_LINE, "wide_value");
}

static struct wide_value *value_in(const struct tdm_segment *segment)
{
	struct tdm_span span = tdm_segment_find(segment, "value");
	CHECK_STATUS(span.status, TDM_OK);
	return TDM_AT_(struct wide_value, span.base, 0);
}

static void make_segment(struct tdm_segment *segment)
{
	struct tdm_object object = value_object("value");
	CHECK_STATUS(tdm_segment_create(segment, &object, 1, TDM_NULL), TDM_OK);
}

static void test_read_only(void)
{
	struct tdm_segment segment, reader;
	begin("a segment that is mapped read-only is enough to read, also beside a writer");
	make_segment(&segment);
	it = value_in(&segment);
	CHECK_STATUS(tdm_segment_open_fd(&reader, dup(segment.fd), TDM_MAP_READ_ONLY), TDM_OK);
	const struct wide_value *seen = value_in(&reader);
	CHECK(seen != it);
	for (uint64_t number = 1; number < 10; number++) {
		struct wide value = filled(number);
		CHECK_STATUS(wide_value_write(it, TDM_NULL, &value), TDM_OK);
		value = filled(0);
		CHECK_STATUS(wide_value_read(seen, &value), TDM_OK);
		CHECK(is(&value, number));
	}
	CHECK_STATUS(tdm_segment_close(&reader), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

// --- deaths ---

// What a writer that dies does in the segment it inherited; the parent kills it then.
struct victim {
	struct tdm_segment *segment;
	bool halfway; // it dies in the middle of a write, else before it
};

static void half_write(struct wide_value *value); // by the including test: to the middle

static void die_writing(void *argument)
{
	const struct victim *victim = TDM_CAST(const struct victim *, argument);
	struct tdm_segment own;
	struct tdm_participant self;
	struct wide value = filled(2);
	CHECK_STATUS(tdm_segment_open_fd(&own, dup(victim->segment->fd), TDM_READ_WRITE), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&own, &self, "victim"), TDM_OK);
	struct wide_value *there = value_in(&own);
	CHECK_STATUS(FORM(lock)(LOCK_OF(there), &self), TDM_OK);
	CHECK_STATUS(wide_value_store(there, &self, &value), TDM_OK);
	if (victim->halfway)
		half_write(there);
	tdm_store_release_u32(&scene->stage, 1);
	for (;;)
		pause();
}

static void test_death(bool halfway, bool unwritten)
{
	struct tdm_segment segment;
	struct tdm_participant self;
	struct wide value = filled(1);
	begin(!halfway    ? "a writer that dies between two writes leaves its value"
	      : unwritten ? "a role that is given back unwritten is given on with TDM_OWNER_DIED"
			  : "a writer that dies in the middle leaves its role to the next");
	make_segment(&segment);
	it = value_in(&segment);
	CHECK_STATUS(wide_value_init(it, &value, TDM_MUTEX_ROBUST), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&segment, &self, "survivor"), TDM_OK);
	struct victim victim = {&segment, halfway};
	pid_t child = child_start(die_writing, &victim);
	CHECK(child_await_u32(&scene->stage, 1));
	CHECK_STATUS(wide_value_try_write(it, &self, &value), TDM_BUSY);
	CHECK_STATUS(wide_value_write_until(it, &self, &value, tdm_deadline_after_ns(1000000)),
		     TDM_TIMED_OUT);
	CHECK_STATUS(wide_value_store(it, &self, &value), TDM_NOT_OWNER);
	check_unlock_refused(&self);
	child_kill(child);
	bool lost = halfway && !KEEPS;
	if (lost) {
		CHECK_STATUS(wide_value_try_read(it, &value), TDM_BUSY);
		uint64_t deadline_ns = tdm_deadline_after_ns(3000000);
		CHECK_STATUS(wide_value_read_until(it, &value, deadline_ns), TDM_BUSY);
		CHECK(tdm_now_ns() >= deadline_ns);
	} else {
		check_reads(2);
	}
	if (unwritten) {
		CHECK_STATUS(FORM(lock)(LOCK_OF(it), &self), lost ? TDM_OWNER_DIED : TDM_OK);
		CHECK_STATUS(FORM(unlock)(LOCK_OF(it), &self), TDM_OK);
		if (lost)
			CHECK_STATUS(wide_value_try_read(it, &value), TDM_BUSY);
	}
	value = filled(3);
	CHECK_STATUS(wide_value_write(it, &self, &value), lost ? TDM_OWNER_DIED : TDM_OK);
	check_reads(3);
	value = filled(4);
	CHECK_STATUS(wide_value_write(it, &self, &value), TDM_OK);
	check_reads(4);
	CHECK_STATUS(FORM(lock)(LOCK_OF(it), &self), TDM_OK);
	CHECK_STATUS(wide_value_write(it, &self, &value), TDM_DEADLOCK);
	CHECK_STATUS(FORM(unlock)(LOCK_OF(it), &self), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

static void test_strangers(void)
{
	struct tdm_segment segment;
	struct tdm_participant self;
	struct wide value = filled(1);
	begin("a robust one outside the participant's segment is TDM_INVALID");
	make_segment(&segment);
	CHECK_STATUS(tdm_segment_join(&segment, &self, "stranger"), TDM_OK);
	CHECK_STATUS(wide_value_init(it, TDM_NULL, TDM_MUTEX_ROBUST), TDM_OK);
	CHECK_STATUS(wide_value_write(it, &self, &value), TDM_INVALID);
	CHECK_STATUS(wide_value_store(it, &self, &value), TDM_INVALID);
	check_reads(0);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

// --- what nobody can have written ---

static void test_owner_words(void)
{
	static const uint64_t words[] = {TDM_OWNER_LOST_, 1, UINT64_MAX, 0x7ff, 0x4000, 0x12340000};
	struct wide value = filled(1);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		begin("an owner that cannot be is TDM_CORRUPT at once, and can be read beside");
		tdm_store_relaxed_u64(&LOCK_OF(it)->writer.owner, words[i]);
		CHECK_STATUS(wide_value_try_write(it, TDM_NULL, &value), TDM_CORRUPT);
		CHECK_STATUS(wide_value_write(it, TDM_NULL, &value), TDM_CORRUPT);
		CHECK_STATUS(FORM(lock)(LOCK_OF(it), TDM_NULL), TDM_CORRUPT);
		if ((words[i] & TDM_OWNER_PLAIN_) == 0)
			CHECK_STATUS(wide_value_store(it, TDM_NULL, &value), TDM_NOT_OWNER);
		check_reads(0);
	}
}

static volatile sig_atomic_t read_in_handler;

static void read_on_signal(int signal_number)
{
	struct wide value;
	(void)signal_number;
	read_in_handler = wide_value_try_read(it, &value) == TDM_OK && is(&value, 3);
}

static void test_handler(void)
{
	struct wide value = filled(3);
	begin("a signal handler reads, also beside the role of the thread it interrupts");
	signal(SIGUSR1, read_on_signal);
	CHECK_STATUS(FORM(lock)(LOCK_OF(it), TDM_NULL), TDM_OK);
	CHECK_STATUS(wide_value_store(it, TDM_NULL, &value), TDM_OK);
	raise(SIGUSR1);
	CHECK(read_in_handler);
	CHECK_STATUS(FORM(unlock)(LOCK_OF(it), TDM_NULL), TDM_OK);
	signal(SIGUSR1, SIG_DFL);
}

static void test_all_forms(void)
{
	scene = TDM_CAST(struct scene *, child_shared(sizeof(*scene)));
	test_zero();
	test_init();
	test_sizes();
	test_role();
	test_waiting_writer();
	test_reader_beside_writer();
	test_read_only();
	test_death(false, false);
	test_death(true, false);
	test_death(true, true);
	test_strangers();
	test_owner_words();
	test_handler();
}

#endif
