// SPDX-License-Identifier: BSD-2-Clause
// One thread at a ring: layout, sizes, refusals, and every operation against a model that is too
// simple to be wrong. What happens between several processes is in spsc_peer_test.c.
#include <fcntl.h>
#include <sys/mman.h>

#include <tandem.h>

#include "../support/block.h"
#include "../support/tap.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define PAGE 4096U

// --- the kinds of ring ---

struct job {
	uint64_t id;
	uint32_t kind;
	char text[12];
};
struct seven {
	unsigned char bytes[7];
};
struct line { // 128 bytes long
	TDM_ALIGNAS(64) unsigned char bytes[100];
};
struct sheet {
	TDM_ALIGNAS(4096) unsigned char bytes[4096];
};

TDM_SPSC_DEFINE(bytes, uint8_t);
TDM_SPSC_DEFINE(sevens, struct seven);
TDM_SPSC_DEFINE(jobs, struct job);
TDM_SPSC_DEFINE(lines, struct line);
TDM_SPSC_DEFINE(sheets, struct sheet);

#define ATTACH(role, handle, span, elem_size, self)                                                \
	tdm_spsc_##role##_attach(handle, span, elem_size, self)
#define BARE(h) (h)
#define ELEM void
#define FORM(op) tdm_spsc_##op
#define NAMED(x) x##_untyped
#include "spsc_forms.h"

#define TYPED_ATTACH_(ring, role, handle, span, self) ring##_##role##_attach(handle, span, self)

#define ATTACH(role, handle, span, elem_size, self) TYPED_ATTACH_(bytes, role, handle, span, self)
#define BARE(h) (h).ring
#define ELEM uint8_t
#define FORM(op) bytes_##op
#define NAMED(x) x##_bytes
#include "spsc_forms.h"

#define ATTACH(role, handle, span, elem_size, self) TYPED_ATTACH_(sevens, role, handle, span, self)
#define BARE(h) (h).ring
#define ELEM struct seven
#define FORM(op) sevens_##op
#define NAMED(x) x##_sevens
#include "spsc_forms.h"

#define ATTACH(role, handle, span, elem_size, self) TYPED_ATTACH_(jobs, role, handle, span, self)
#define BARE(h) (h).ring
#define ELEM struct job
#define FORM(op) jobs_##op
#define NAMED(x) x##_jobs
#include "spsc_forms.h"

#define ATTACH(role, handle, span, elem_size, self) TYPED_ATTACH_(lines, role, handle, span, self)
#define BARE(h) (h).ring
#define ELEM struct line
#define FORM(op) lines_##op
#define NAMED(x) x##_lines
#include "spsc_forms.h"

#define ATTACH(role, handle, span, elem_size, self) TYPED_ATTACH_(sheets, role, handle, span, self)
#define BARE(h) (h).ring
#define ELEM struct sheet
#define FORM(op) sheets_##op
#define NAMED(x) x##_sheets
#include "spsc_forms.h"

static struct tdm_object plain_object(uint64_t elem_size, uint64_t elem_align, uint64_t capacity)
{
	struct tdm_object object = tdm_spsc_object("ring", elem_size, capacity);
	object.elem_align = elem_align;
	object.plain = true;
	return object;
}

static struct tdm_spsc_shm *shm_of(struct tdm_span span)
{
	return TDM_CAST(struct tdm_spsc_shm *, span.base);
}

static uint64_t u64_at(struct tdm_span span, uint64_t offset)
{
	uint64_t value;
	memcpy(&value, TDM_AT_(unsigned char, span.base, offset), sizeof(value));
	return value;
}

// --- layout and sizes ---

static void test_layout(void)
{
	tap_case("the layout is the documented one");
	CHECK_EQ_U64(sizeof(struct tdm_spsc_shm), 768);
	CHECK_EQ_U64(TDM_ALIGNOF(struct tdm_spsc_shm), 128);
	CHECK_EQ_U64(offsetof(struct tdm_slots_shm, tag), 0);
	CHECK_EQ_U64(offsetof(struct tdm_slots_shm, elem_size), 8);
	CHECK_EQ_U64(offsetof(struct tdm_slots_shm, elem_align), 16);
	CHECK_EQ_U64(offsetof(struct tdm_slots_shm, capacity), 24);
	CHECK_EQ_U64(offsetof(struct tdm_slots_shm, type_tag), 32);
	CHECK_EQ_U64(offsetof(struct tdm_slots_shm, plain), 40);
	CHECK_EQ_U64(offsetof(struct tdm_spsc_shm, producer), 128);
	CHECK_EQ_U64(offsetof(struct tdm_spsc_shm, consumer), 136);
	CHECK_EQ_U64(offsetof(struct tdm_spsc_shm, head), 256);
	CHECK_EQ_U64(offsetof(struct tdm_spsc_shm, released), 384);
	CHECK_EQ_U64(offsetof(struct tdm_spsc_shm, not_empty), 512);
	CHECK_EQ_U64(offsetof(struct tdm_spsc_shm, not_full), 640);
	CHECK_EQ_U64(sizeof(struct tdm_event), 4);
	CHECK_EQ_U64(offsetof(struct tdm_event, word), 0);
	CHECK_EQ_U64(TDM_SPSC_TAG_, UINT64_C(0x7370736300000001));

	tap_case("the bytes of a ring are these, from C and from C++");
	struct block block = block_make(jobs_size(2), 8);
	struct tdm_span span = block_span(&block);
	struct jobs_producer out;
	struct jobs_consumer in;
	struct job job;
	memset(&job, 0, sizeof(job));
	job.id = UINT64_C(0x1122334455667788);
	CHECK_EQ_U64(sizeof(struct job), 24);
	CHECK_STATUS(jobs_init(span.base, span.bytes, 2), TDM_OK);
	CHECK_STATUS(jobs_producer_attach(&out, span, TDM_NULL), TDM_OK);
	CHECK_STATUS(jobs_consumer_attach(&in, span, TDM_NULL), TDM_OK);
	for (int i = 0; i < 3; i++) {
		CHECK_STATUS(jobs_try_push(&out, &job), TDM_OK);
		if (i < 2)
			CHECK_STATUS(jobs_try_pop(&in, &job), TDM_OK);
	}
	CHECK_EQ_U64(u64_at(span, 0), TDM_SPSC_TAG_);
	CHECK_EQ_U64(u64_at(span, 8), 24);  // element size
	CHECK_EQ_U64(u64_at(span, 16), 8);  // alignment
	CHECK_EQ_U64(u64_at(span, 24), 2);  // capacity
	CHECK_EQ_U64(u64_at(span, 40), 1);  // plain
	CHECK_EQ_U64(u64_at(span, 256), 2); // popped
	CHECK_EQ_U64(u64_at(span, 384), 2); // popped, in batches of 1
	CHECK_EQ_U64(u64_at(span, 768), 3); // slot 0 holds position 2
	CHECK_EQ_U64(u64_at(span, 800), 2); // slot 1 held position 1
	CHECK_EQ_U64(u64_at(span, 776), job.id);
	CHECK(block_end(&block));
}

static void test_sizes(void)
{
	static const struct {
		uint64_t size, align, capacity, bytes;
	} possible[] = {
	    {1, 1, 1, 768 + 16},
	    {1, 1, 2, 768 + 32},
	    {8, 8, 1024, 768 + 1024 * 16},
	    {7, 4, 4, 768 + 4 * 16},
	    {9, 8, 4, 768 + 4 * 24},
	    {16, 16, 8, 768 + 8 * 32},
	    {1, 128, 2, 768 + 2 * 256},
	    {1, 256, 2, 768 + 2 * 512},
	    {1, 512, 1, 1024 + 1024},
	    {4096, 4096, 2, 4096 + 2 * 8192},
	    {1, 8, UINT64_C(1) << 31, 768 + (UINT64_C(16) << 31)},
	    {(UINT64_C(1) << 31) - 1, 4096, UINT64_C(1) << 31,
	     4096 + (((UINT64_C(1) << 31) + 4096) << 31)},
	};
	static const struct {
		uint64_t size, align, capacity;
	} impossible[] = {
	    {8, 8, 0},
	    {8, 8, 3},
	    {8, 8, 1000},
	    {8, 8, UINT64_C(1) << 32},
	    {8, 8, UINT64_C(1) << 63},
	    {8, 8, (UINT64_C(1) << 31) + 1},
	    {8, 8, UINT64_MAX},
	    {0, 8, 8},
	    {UINT64_C(1) << 31, 8, 1},
	    {UINT64_MAX, 8, 1},
	    {8, 0, 8},
	    {8, 3, 8},
	    {8, 8192, 8},
	    {8, UINT64_C(1) << 63, 8},
	};
	tap_case("the size of a ring is exact");
	for (size_t i = 0; i < COUNT(possible); i++)
		CHECK_EQ_U64(
		    tdm_spsc_size(possible[i].size, possible[i].align, possible[i].capacity),
		    possible[i].bytes);
	CHECK_EQ_U64(sheets_size(2), 4096 + 2 * 8192);

	tap_case("an impossible ring has size 0 and cannot be made");
	struct block block = block_make(PAGE, 8);
	for (size_t i = 0; i < COUNT(impossible); i++) {
		CHECK_EQ_U64(
		    tdm_spsc_size(impossible[i].size, impossible[i].align, impossible[i].capacity),
		    0);
		CHECK_STATUS(tdm_spsc_init(block.base, block.bytes, impossible[i].size,
					   impossible[i].align, impossible[i].capacity),
			     TDM_INVALID);
	}
	CHECK_EQ_U64(jobs_size(3), 0);
	CHECK_STATUS(jobs_init(block.base, block.bytes, 3), TDM_INVALID);
	for (uint64_t i = 0; i < block.bytes / 8; i++)
		if (!CHECK_EQ_U64(u64_at(block_span(&block), i * 8), UINT64_C(0xa5a5a5a5a5a5a5a5)))
			break;

	tap_case("memory that is too short, misaligned or absent is refused");
	for (size_t i = 0; i < 10; i++) {
		uint64_t bytes = possible[i].bytes;
		uint64_t align = possible[i].align;
		struct block tight = block_make(bytes, align);
		CHECK_STATUS(tdm_spsc_init(tight.base, bytes - 1, possible[i].size, align,
					   possible[i].capacity),
			     TDM_INVALID);
		CHECK_STATUS(
		    tdm_spsc_init(tight.base, bytes, possible[i].size, align, possible[i].capacity),
		    TDM_OK);
		CHECK(block_end(&tight));
	}
	CHECK_STATUS(tdm_spsc_init(block.base, 0, 8, 8, 8), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_init(TDM_NULL, PAGE, 8, 8, 8), TDM_INVALID);
	for (size_t shift = 1; shift < 128; shift *= 2)
		CHECK_STATUS(tdm_spsc_init(block.base + shift, PAGE - shift, 8, 8, 8), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_init(block.base + 128, PAGE - 128, 8, 256, 1), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_init(block.base + 128, PAGE - 128, 8, 128, 1), TDM_OK);
	CHECK(block_end(&block));

	tap_case("a ring that no segment can hold is refused");
	struct tdm_segment segment;
	struct tdm_object object = tdm_spsc_object("ring", (UINT64_C(1) << 31) - 1, 1U << 31);
	CHECK_STATUS(tdm_segment_create(&segment, &object, 1, TDM_NULL),
		     sizeof(size_t) == 4 ? TDM_INVALID : TDM_NO_SPACE);
	for (size_t i = 0; i < COUNT(impossible); i++) {
		object = tdm_spsc_object("ring", impossible[i].size, impossible[i].capacity);
		object.elem_align = impossible[i].align;
		CHECK_STATUS(tdm_segment_create(&segment, &object, 1, TDM_NULL), TDM_INVALID);
	}
}

// --- attaching ---

static void expect_attach(struct tdm_span span, uint64_t elem_size, enum tdm_status expected)
{
	struct tdm_spsc_producer out;
	struct tdm_spsc_consumer in;
	CHECK_STATUS(tdm_spsc_producer_attach(&out, span, elem_size, TDM_NULL), expected);
	CHECK_STATUS(tdm_spsc_consumer_attach(&in, span, elem_size, TDM_NULL), expected);
	if (expected == TDM_OK) {
		CHECK_STATUS(tdm_spsc_producer_detach(&out), TDM_OK);
		CHECK_STATUS(tdm_spsc_consumer_detach(&in), TDM_OK);
	}
}

static void test_attach(void)
{
	struct tdm_spsc_info info;
	struct block block = block_make(tdm_spsc_size(8, 8, 4), 8);
	struct tdm_span span = block_span(&block);
	memset(block.base, 0, TDM_CAST(size_t, block.bytes));

	tap_case("a zero page is not a ring yet");
	expect_attach(span, 8, TDM_NOT_INITIALIZED);
	CHECK_STATUS(tdm_spsc_check(span, &info), TDM_NOT_INITIALIZED);

	tap_case("what is not a ring, or one of another version, is told apart");
	struct tdm_spsc_shm *shm = shm_of(span);
	CHECK_STATUS(tdm_spsc_init(span.base, span.bytes, 8, 8, 4), TDM_OK);
	static const struct {
		uint64_t tag;
		enum tdm_status status;
	} tags[] = {
	    {1, TDM_WRONG_KIND},
	    {UINT64_C(0x6d706d6300000001), TDM_WRONG_KIND},
	    {UINT64_MAX, TDM_WRONG_KIND},
	    {TDM_SPSC_TAG_ - 1, TDM_OLDER_LAYOUT},
	    {TDM_SPSC_TAG_ + 1, TDM_NEWER_LAYOUT},
	    {0, TDM_NOT_INITIALIZED},
	    {TDM_SPSC_TAG_, TDM_OK},
	};
	for (size_t i = 0; i < COUNT(tags); i++) {
		tdm_store_relaxed_u64(&shm->constant.tag, tags[i].tag);
		expect_attach(span, 8, tags[i].status);
		CHECK_STATUS(tdm_spsc_check(span, &info), tags[i].status);
	}

	tap_case("numbers that do not fit the memory are refused");
	tdm_atomic_u64 *const fields[] = {&shm->constant.elem_size, &shm->constant.elem_align,
					  &shm->constant.capacity};
	static const uint64_t bad[3][8] = {
	    {0, 9, 16, UINT64_C(1) << 31, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX,
	     UINT64_MAX - 15},
	    {0, 3, 16, 4096, 8192, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX},
	    {0, 3, 8, UINT64_C(1) << 31, UINT64_C(1) << 32, UINT64_C(1) << 60, UINT64_C(1) << 63,
	     UINT64_MAX},
	};
	for (size_t field = 0; field < COUNT(fields); field++) {
		uint64_t good = tdm_load_relaxed_u64(fields[field]);
		for (size_t i = 0; i < COUNT(bad[field]); i++) {
			tdm_store_relaxed_u64(fields[field], bad[field][i]);
			expect_attach(span, bad[field][i] != 0 && field == 0 ? bad[field][i] : 8,
				      TDM_BAD_GEOMETRY);
			CHECK_STATUS(tdm_spsc_check(span, &info), TDM_BAD_GEOMETRY);
		}
		tdm_store_relaxed_u64(fields[field], good);
	}
	struct tdm_span shorter = span;
	shorter.bytes--;
	expect_attach(shorter, 8, TDM_BAD_GEOMETRY);
	shorter.bytes = sizeof(struct tdm_spsc_shm) - 1;
	expect_attach(shorter, 8, TDM_INVALID);
	CHECK_STATUS(tdm_spsc_check(shorter, &info), TDM_INVALID);

	tap_case("misaligned or absent memory is refused");
	struct tdm_span shifted = tdm_memory(block.base + 64, block.bytes - 64);
	expect_attach(shifted, 8, TDM_INVALID);
	expect_attach(tdm_memory(TDM_NULL, 4096), 8, TDM_INVALID);
	shifted.status = TDM_NOT_FOUND;
	expect_attach(shifted, 8, TDM_NOT_FOUND);
	CHECK_STATUS(tdm_spsc_check(shifted, &info), TDM_NOT_FOUND);

	tap_case("a ring that was moved to where its elements are misaligned is refused");
	struct block wide = block_make(tdm_spsc_size(8, 256, 2) + 128, 256);
	CHECK_STATUS(tdm_spsc_init(wide.base, wide.bytes - 128, 8, 256, 2), TDM_OK);
	expect_attach(tdm_memory(wide.base, wide.bytes - 128), 8, TDM_OK);
	memmove(wide.base + 128, wide.base, TDM_CAST(size_t, wide.bytes - 128));
	expect_attach(tdm_memory(wide.base + 128, wide.bytes - 128), 8, TDM_BAD_GEOMETRY);
	CHECK(block_end(&wide));

	tap_case("another element size is refused");
	for (uint64_t size = 1; size <= 17; size++)
		expect_attach(span, size, size == 8 ? TDM_OK : TDM_WRONG_TYPE);
	expect_attach(span, UINT64_MAX, TDM_WRONG_TYPE);

	tap_case("a plain ring refuses a participant");
	struct tdm_segment segment;
	struct tdm_participant self;
	struct tdm_spsc_producer out;
	struct tdm_spsc_consumer in;
	struct tdm_object objects[3];
	objects[0] = tdm_spsc_object("robust", 8, 4);
	objects[1] = tdm_spsc_object("plain", 8, 4);
	objects[1].plain = true;
	objects[2] = tdm_bytes_object("bytes", 4096, 8, TDM_NULL);
	CHECK_STATUS(tdm_segment_create(&segment, objects, 3, TDM_NULL), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&segment, &self, "test"), TDM_OK);
	struct tdm_span plain = tdm_segment_find(&segment, "plain");
	struct tdm_span robust = tdm_segment_find(&segment, "robust");
	CHECK_STATUS(tdm_spsc_producer_attach(&out, plain, 8, &self), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_consumer_attach(&in, plain, 8, &self), TDM_INVALID);
	expect_attach(plain, 8, TDM_OK);

	tap_case("a robust ring needs a participant");
	expect_attach(robust, 8, TDM_NEEDS_PARTICIPANT);

	tap_case("a participant that has left is none");
	struct tdm_participant gone;
	uint32_t recovered = 1;
	CHECK_STATUS(tdm_segment_join(&segment, &gone, "gone"), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&gone), TDM_OK);
	CHECK_STATUS(tdm_spsc_producer_attach(&out, robust, 8, &gone), TDM_NEEDS_PARTICIPANT);
	CHECK_STATUS(tdm_spsc_recover(robust, &gone, &recovered), TDM_NEEDS_PARTICIPANT);
	CHECK_EQ_U64(recovered, 0);

	tap_case("a participant of another segment is refused");
	struct tdm_segment other;
	struct tdm_participant stranger;
	CHECK_STATUS(tdm_segment_create(&other, objects, 3, TDM_NULL), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&other, &stranger, "stranger"), TDM_OK);
	CHECK_STATUS(tdm_spsc_producer_attach(&out, robust, 8, &stranger), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_consumer_attach(&in, robust, 8, &stranger), TDM_INVALID);

	tap_case("a participant of another segment cannot pronounce anybody dead");
	struct tdm_participant second;
	CHECK_STATUS(tdm_segment_join(&segment, &second, "second"), TDM_OK);
	CHECK_STATUS(tdm_spsc_producer_attach(&out, robust, 8, &second), TDM_OK);
	recovered = 1;
	CHECK_STATUS(tdm_spsc_recover(robust, &stranger, &recovered), TDM_INVALID);
	CHECK_EQ_U64(recovered, 0);
	CHECK_STATUS(tdm_spsc_check(robust, &info), TDM_OK);
	CHECK(info.producer.held && !info.producer.died);
	CHECK_STATUS(tdm_spsc_producer_detach(&out), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&second), TDM_OK);

	tap_case("an object of another kind is refused");
	expect_attach(tdm_segment_find(&segment, "bytes"), 8, TDM_WRONG_KIND);
	expect_attach(tdm_segment_find(&segment, "nothing"), 8, TDM_NOT_FOUND);
	CHECK_STATUS(tdm_spsc_check(tdm_segment_find(&segment, "bytes"), &info), TDM_WRONG_KIND);

	tap_case("one who is attached cannot leave");
	CHECK_STATUS(tdm_spsc_producer_attach(&out, robust, 8, &self), TDM_OK);
	CHECK_STATUS(tdm_spsc_consumer_attach(&in, robust, 8, &self), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_BUSY);
	CHECK_STATUS(tdm_spsc_consumer_detach(&in), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_BUSY);
	CHECK_STATUS(tdm_spsc_producer_detach(&out), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&stranger), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&other), TDM_OK);
	CHECK(block_end(&block));
}

// Elements as another program may have defined them.
struct other_job {
	uint64_t id;
	uint32_t kind;
	char text[12];
};
struct longer_job {
	uint64_t id;
	uint64_t kind;
	char text[16];
};
struct wider_job { // the size of a line, another alignment
	TDM_ALIGNAS(32) unsigned char bytes[128];
};
TDM_SPSC_DEFINE(other_jobs, struct other_job);
TDM_SPSC_DEFINE(longer_jobs, struct longer_job);
TDM_SPSC_DEFINE(wider_jobs, struct wider_job);

static void test_types(void)
{
	struct block block = block_make(jobs_size(4), 8);
	struct tdm_span span = block_span(&block);
	struct jobs_producer out;
	struct jobs_consumer in;

	tap_case("a typed ring refuses elements of another type of the same size");
	struct other_jobs_producer other_out;
	struct other_jobs_consumer other_in;
	CHECK_EQ_U64(sizeof(struct job), sizeof(struct other_job));
	CHECK_STATUS(jobs_init(span.base, span.bytes, 4), TDM_OK);
	CHECK_STATUS(other_jobs_producer_attach(&other_out, span, TDM_NULL), TDM_WRONG_TYPE);
	CHECK_STATUS(other_jobs_consumer_attach(&other_in, span, TDM_NULL), TDM_WRONG_TYPE);

	tap_case("a typed ring refuses elements of another size");
	struct longer_jobs_producer longer_out;
	struct longer_jobs_consumer longer_in;
	CHECK_STATUS(longer_jobs_producer_attach(&longer_out, span, TDM_NULL), TDM_WRONG_TYPE);
	CHECK_STATUS(longer_jobs_consumer_attach(&longer_in, span, TDM_NULL), TDM_WRONG_TYPE);

	tap_case("a typed ring takes the untyped handles of those who know the size");
	expect_attach(span, sizeof(struct job), TDM_OK);
	expect_attach(span, sizeof(struct job) + 1, TDM_WRONG_TYPE);

	tap_case("an untyped ring takes any type of its size and alignment");
	CHECK_STATUS(tdm_spsc_init(span.base, span.bytes, sizeof(struct job), 8, 4), TDM_OK);
	CHECK_STATUS(jobs_producer_attach(&out, span, TDM_NULL), TDM_OK);
	CHECK_STATUS(other_jobs_consumer_attach(&other_in, span, TDM_NULL), TDM_OK);
	CHECK_STATUS(longer_jobs_consumer_attach(&longer_in, span, TDM_NULL), TDM_WRONG_TYPE);
	CHECK_STATUS(jobs_consumer_attach(&in, span, TDM_NULL), TDM_OK);
	struct job pushed;
	struct job popped;
	memset(&pushed, 7, sizeof(pushed));
	memset(&popped, 0, sizeof(popped));
	CHECK_STATUS(jobs_try_push(&out, &pushed), TDM_OK);
	CHECK_STATUS(jobs_try_pop(&in, &popped), TDM_OK);
	CHECK(memcmp(&pushed, &popped, sizeof(pushed)) == 0);
	CHECK(block_end(&block));

	tap_case("an untyped ring refuses a type of another alignment");
	struct wider_jobs_producer wider_out;
	struct lines_producer lines_out;
	CHECK_EQ_U64(sizeof(struct line), sizeof(struct wider_job));
	block = block_make(tdm_spsc_size(128, 32, 4), 64);
	span = block_span(&block);
	CHECK_STATUS(tdm_spsc_init(span.base, span.bytes, 128, 32, 4), TDM_OK);
	CHECK_STATUS(lines_producer_attach(&lines_out, span, TDM_NULL), TDM_WRONG_TYPE);
	CHECK_STATUS(wider_jobs_producer_attach(&wider_out, span, TDM_NULL), TDM_OK);
	CHECK(block_end(&block));

	tap_case("struct job in C and job in C++ are one type, and other names others");
	CHECK_EQ_U64(tdm_type_tag("struct job"), tdm_type_tag("job"));
	CHECK_EQ_U64(tdm_type_tag("union job"), tdm_type_tag("job"));
	CHECK_EQ_U64(jobs_object("jobs", 4).type_tag, tdm_type_tag("job"));
	CHECK(tdm_type_tag("struct job") != tdm_type_tag("struct jobs"));
	CHECK(tdm_type_tag("structjob") != tdm_type_tag("job"));
	CHECK(tdm_type_tag("uint32_t") != tdm_type_tag("int32_t"));

	tap_case("a typed ring's description says what it holds");
	struct tdm_object object = lines_object("lines", 16);
	CHECK_EQ_STR(object.name, "lines");
	CHECK_EQ_U64(object.kind, TDM_KIND_SPSC);
	CHECK_EQ_U64(object.elem_size, 128);
	CHECK_EQ_U64(object.elem_align, 64);
	CHECK_EQ_U64(object.capacity, 16);
	CHECK(!object.plain);
	CHECK_EQ_U64(bytes_object("bytes", 1).elem_align, 8);
	CHECK_EQ_STR(tdm_kind_name(object.kind), "spsc");
}

// --- operations ---

// A plain ring of numbers with both handles.
struct numbers {
	struct block block;
	struct tdm_span span;
	struct tdm_spsc_producer out;
	struct tdm_spsc_consumer in;
};

static void numbers_start(struct numbers *ring, uint64_t capacity)
{
	memset(ring, 0, sizeof(*ring));
	ring->block = block_make(tdm_spsc_size(8, 8, capacity), 8);
	ring->span = block_span(&ring->block);
	CHECK_STATUS(tdm_spsc_init(ring->span.base, ring->span.bytes, 8, 8, capacity), TDM_OK);
	CHECK_STATUS(tdm_spsc_producer_attach(&ring->out, ring->span, 8, TDM_NULL), TDM_OK);
	CHECK_STATUS(tdm_spsc_consumer_attach(&ring->in, ring->span, 8, TDM_NULL), TDM_OK);
}

static void numbers_end(struct numbers *ring)
{
	CHECK_STATUS(tdm_spsc_producer_detach(&ring->out), TDM_OK);
	CHECK_STATUS(tdm_spsc_consumer_detach(&ring->in), TDM_OK);
	CHECK(block_end(&ring->block));
}

static void test_full_and_empty(void)
{
	tap_case("full and empty are exact at every capacity and fill");
	for (uint64_t capacity = 1; capacity <= 256; capacity *= 2) {
		struct numbers ring;
		uint64_t value = 0;
		uint64_t next = 0;
		bool held = true;
		numbers_start(&ring, capacity);
		for (uint64_t lap = 0; lap < 4 && held; lap++) {
			held = CHECK_STATUS(tdm_spsc_try_pop(&ring.in, &value), TDM_EMPTY);
			for (uint64_t i = 0; i < capacity; i++) {
				value = lap * 1000 + i;
				held = CHECK_STATUS(tdm_spsc_try_push(&ring.out, &value), TDM_OK) &&
				       held;
			}
			// A pop is seen by the very next push, also where the consumer publishes
			// its index in batches.
			for (uint64_t i = 0; i < 2 * capacity + 1 && held; i++) {
				held =
				    CHECK_STATUS(tdm_spsc_try_push(&ring.out, &value), TDM_FULL) &&
				    CHECK_STATUS(tdm_spsc_try_pop(&ring.in, &next), TDM_OK) &&
				    CHECK_STATUS(tdm_spsc_try_push(&ring.out, &value), TDM_OK);
			}
			for (uint64_t i = 0; i < capacity; i++)
				held =
				    CHECK_STATUS(tdm_spsc_try_pop(&ring.in, &next), TDM_OK) && held;
		}
		numbers_end(&ring);
	}
}

static void test_refusals(void)
{
	struct numbers ring;
	uint64_t value = 7;
	size_t done = 1;
	void *slot = &value;
	const void *seen = &value;
	numbers_start(&ring, 4);

	tap_case("a batch of none is done at once");
	CHECK_STATUS(tdm_spsc_try_push_n(&ring.out, &value, 0, &done), TDM_OK);
	CHECK_EQ_U64(done, 0);
	done = 1;
	CHECK_STATUS(tdm_spsc_try_pop_n(&ring.in, &value, 0, &done), TDM_OK);
	CHECK_EQ_U64(done, 0);
	done = 1;
	CHECK_STATUS(tdm_spsc_push_n_until(&ring.out, &value, 0, &done, 0), TDM_OK);
	CHECK_EQ_U64(done, 0);
	done = 1;
	CHECK_STATUS(tdm_spsc_pop_n_until(&ring.in, &value, 0, &done, 0), TDM_OK);
	CHECK_EQ_U64(done, 0);

	tap_case("commit and abort need a reservation, release needs a peek");
	CHECK_STATUS(tdm_spsc_commit(&ring.out), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_abort(&ring.out), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_release(&ring.in), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_try_push(&ring.out, &value), TDM_OK);
	CHECK_STATUS(tdm_spsc_release(&ring.in), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_try_peek(&ring.in, &seen), TDM_OK);
	CHECK_STATUS(tdm_spsc_release_n(&ring.in, 2), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_release(&ring.in), TDM_OK);
	CHECK_STATUS(tdm_spsc_release(&ring.in), TDM_INVALID);
	CHECK_EQ_U64(tdm_spsc_consumer_position(&ring.in), 1);

	tap_case("while a slot is reserved, everything but commit and abort is refused");
	CHECK_STATUS(tdm_spsc_try_reserve(&ring.out, &slot), TDM_OK);
	CHECK(slot != TDM_NULL);
	CHECK_STATUS(tdm_spsc_try_push(&ring.out, &value), TDM_BUSY);
	CHECK_STATUS(tdm_spsc_push(&ring.out, &value), TDM_BUSY);
	CHECK_STATUS(tdm_spsc_push_until(&ring.out, &value, 0), TDM_BUSY);
	CHECK_STATUS(tdm_spsc_try_push_n(&ring.out, &value, 1, &done), TDM_BUSY);
	CHECK_STATUS(tdm_spsc_push_n_until(&ring.out, &value, 1, &done, 0), TDM_BUSY);
	CHECK_STATUS(tdm_spsc_try_reserve(&ring.out, &slot), TDM_BUSY);
	CHECK_STATUS(tdm_spsc_reserve_until(&ring.out, &slot, 0), TDM_BUSY);
	CHECK_EQ_U64(tdm_spsc_producer_position(&ring.out), 1);
	CHECK_STATUS(tdm_spsc_try_pop(&ring.in, &value), TDM_EMPTY);
	CHECK_STATUS(tdm_spsc_abort(&ring.out), TDM_OK);
	CHECK_STATUS(tdm_spsc_commit(&ring.out), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_try_pop(&ring.in, &value), TDM_EMPTY);

	tap_case("an element that was peeked at may also be popped");
	for (uint64_t i = 0; i < 4; i++)
		CHECK_STATUS(tdm_spsc_try_push(&ring.out, &i), TDM_OK);
	CHECK_STATUS(tdm_spsc_try_peek_at(&ring.in, 2, &seen), TDM_OK);
	CHECK_EQ_U64(*TDM_CAST(const uint64_t *, seen), 2);
	CHECK_STATUS(tdm_spsc_try_pop(&ring.in, &value), TDM_OK);
	CHECK_EQ_U64(value, 0);
	CHECK_STATUS(tdm_spsc_release_n(&ring.in, 3), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_release_n(&ring.in, 2), TDM_OK);
	CHECK_STATUS(tdm_spsc_try_pop(&ring.in, &value), TDM_OK);
	CHECK_EQ_U64(value, 3);
	CHECK_STATUS(tdm_spsc_try_peek_at(&ring.in, 4, &seen), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_try_peek_at(&ring.in, UINT64_MAX, &seen), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_try_peek_at(&ring.in, 3, &seen), TDM_EMPTY);
	numbers_end(&ring);

	tap_case("a handle answers TDM_INVALID after it was detached");
	numbers_start(&ring, 4);
	numbers_end(&ring);
	all_of_producer_untyped(&ring.out, TDM_INVALID);
	all_of_consumer_untyped(&ring.in, TDM_INVALID);
	CHECK_EQ_U64(tdm_spsc_producer_position(&ring.out), 0);
	CHECK_EQ_U64(tdm_spsc_consumer_position(&ring.in), 0);

	tap_case("a handle answers TDM_INVALID after it failed to attach");
	TDM_ALIGNAS(128) static unsigned char zero[1024];
	struct tdm_span span = tdm_memory(zero, sizeof(zero));
	CHECK_STATUS(tdm_spsc_producer_attach(&ring.out, span, 8, TDM_NULL), TDM_NOT_INITIALIZED);
	CHECK_STATUS(tdm_spsc_consumer_attach(&ring.in, span, 8, TDM_NULL), TDM_NOT_INITIALIZED);
	all_of_producer_untyped(&ring.out, TDM_INVALID);
	all_of_consumer_untyped(&ring.in, TDM_INVALID);
	struct jobs_producer jobs_out;
	struct jobs_consumer jobs_in;
	CHECK_STATUS(tdm_spsc_init(zero, sizeof(zero), 8, 8, 4), TDM_OK);
	CHECK_STATUS(jobs_producer_attach(&jobs_out, span, TDM_NULL), TDM_WRONG_TYPE);
	CHECK_STATUS(jobs_consumer_attach(&jobs_in, span, TDM_NULL), TDM_WRONG_TYPE);
	all_of_producer_jobs(&jobs_out, TDM_INVALID);
	all_of_consumer_jobs(&jobs_in, TDM_INVALID);
}

// Is the event armed? A notify since clears it.
static bool armed(const struct tdm_event *event)
{
	return (tdm_load_relaxed_u32(&event->word) & TDM_EVENT_ARMED_) != 0;
}

// Everything that can end a wait wakes who is parked at once, and not at the end of its slice.
static void test_notifies(void)
{
	struct numbers ring;
	uint64_t values[64] = {0};
	size_t done = 0;
	void *slot = TDM_NULL;
	const void *seen = TDM_NULL;
	numbers_start(&ring, 64); // whose consumer gives back 16 at once
	struct tdm_event *not_empty = &shm_of(ring.span)->not_empty;
	struct tdm_event *not_full = &shm_of(ring.span)->not_full;

	tap_case("each way to push wakes a waiting consumer");
	(void)tdm_event_prepare(not_empty);
	CHECK_STATUS(tdm_spsc_try_push(&ring.out, values), TDM_OK);
	CHECK(!armed(not_empty));
	(void)tdm_event_prepare(not_empty);
	CHECK_STATUS(tdm_spsc_push(&ring.out, values), TDM_OK);
	CHECK(!armed(not_empty));
	(void)tdm_event_prepare(not_empty);
	CHECK_STATUS(tdm_spsc_try_push_n(&ring.out, values, 5, &done), TDM_OK);
	CHECK(!armed(not_empty));
	(void)tdm_event_prepare(not_empty);
	CHECK_STATUS(tdm_spsc_push_n_until(&ring.out, values, 5, &done, 0), TDM_OK);
	CHECK(!armed(not_empty));
	(void)tdm_event_prepare(not_empty);
	CHECK_STATUS(tdm_spsc_try_reserve(&ring.out, &slot), TDM_OK);
	CHECK(armed(not_empty));
	CHECK_STATUS(tdm_spsc_commit(&ring.out), TDM_OK);
	CHECK(!armed(not_empty));
	(void)tdm_event_prepare(not_empty);
	CHECK_STATUS(tdm_spsc_try_push_n(&ring.out, values, 64, &done), TDM_OK); // some fit
	CHECK_EQ_U64(done, 64 - 13);
	CHECK(!armed(not_empty));

	tap_case("each way to pop wakes a waiting producer when a batch is given back");
	for (unsigned way = 0; way < 4; way++) {
		(void)tdm_event_prepare(not_full);
		switch (way) {
		case 0:
			for (unsigned i = 0; i < 16; i++)
				CHECK_STATUS(tdm_spsc_try_pop(&ring.in, values), TDM_OK);
			break;
		case 1:
			CHECK_STATUS(tdm_spsc_try_pop_n(&ring.in, values, 16, &done), TDM_OK);
			break;
		case 2:
			for (unsigned i = 0; i < 16; i++) {
				CHECK_STATUS(tdm_spsc_try_peek(&ring.in, &seen), TDM_OK);
				CHECK_STATUS(tdm_spsc_release(&ring.in), TDM_OK);
			}
			break;
		default:
			CHECK_STATUS(tdm_spsc_try_peek_at(&ring.in, 15, &seen), TDM_OK);
			CHECK_STATUS(tdm_spsc_release_n(&ring.in, 16), TDM_OK);
			break;
		}
		CHECK(!armed(not_full));
	}

	tap_case("a consumer that finds nothing gives back what it has popped and wakes");
	for (unsigned way = 0; way < 3; way++) {
		CHECK_STATUS(tdm_spsc_try_push_n(&ring.out, values, 3, &done), TDM_OK);
		CHECK_STATUS(tdm_spsc_try_pop_n(&ring.in, values, 3, &done), TDM_OK);
		(void)tdm_event_prepare(not_full);
		CHECK_STATUS(way == 0   ? tdm_spsc_try_pop(&ring.in, values)
			     : way == 1 ? tdm_spsc_try_peek(&ring.in, &seen)
					: tdm_spsc_try_peek_at(&ring.in, 5, &seen),
			     TDM_EMPTY);
		CHECK(!armed(not_full));
		CHECK_EQ_U64(tdm_load_relaxed_u64(&shm_of(ring.span)->released),
			     tdm_load_relaxed_u64(&shm_of(ring.span)->head));
	}

	tap_case("who detaches wakes the other side, and a consumer gives everything back");
	CHECK_STATUS(tdm_spsc_try_push_n(&ring.out, values, 3, &done), TDM_OK);
	CHECK_STATUS(tdm_spsc_try_pop_n(&ring.in, values, 3, &done), TDM_OK);
	(void)tdm_event_prepare(not_full);
	CHECK_STATUS(tdm_spsc_consumer_detach(&ring.in), TDM_OK);
	CHECK(!armed(not_full));
	CHECK_EQ_U64(tdm_load_relaxed_u64(&shm_of(ring.span)->released),
		     tdm_load_relaxed_u64(&shm_of(ring.span)->head));
	(void)tdm_event_prepare(not_full);
	CHECK_STATUS(tdm_spsc_consumer_attach(&ring.in, ring.span, 8, TDM_NULL), TDM_OK);
	CHECK(!armed(not_full));
	(void)tdm_event_prepare(not_empty);
	CHECK_STATUS(tdm_spsc_producer_detach(&ring.out), TDM_OK);
	CHECK(!armed(not_empty));
	CHECK_STATUS(tdm_spsc_producer_attach(&ring.out, ring.span, 8, TDM_NULL), TDM_OK);
	numbers_end(&ring);
}

static void test_corrupt(void)
{
	struct numbers ring;
	uint64_t value = 0;
	numbers_start(&ring, 4);
	struct tdm_spsc_shm *shm = shm_of(ring.span);

	tap_case("an impossible index of the consumer is reported, and nothing is pushed");
	static const uint64_t heads[] = {UINT64_MAX, 5, 1000, UINT64_C(1) << 63};
	for (uint64_t i = 0; i < 4; i++)
		CHECK_STATUS(tdm_spsc_try_push(&ring.out, &i), TDM_OK);
	for (size_t i = 0; i < COUNT(heads); i++) {
		tdm_store_relaxed_u64(&shm->head, heads[i]);
		tdm_store_relaxed_u64(&shm->released, heads[i]);
		CHECK_STATUS(tdm_spsc_try_push(&ring.out, &value), TDM_CORRUPT);
		CHECK_STATUS(tdm_spsc_push(&ring.out, &value), TDM_CORRUPT);
	}
	tdm_store_relaxed_u64(&shm->head, 0);
	tdm_store_relaxed_u64(&shm->released, 0);
	CHECK_STATUS(tdm_spsc_try_push(&ring.out, &value), TDM_FULL);

	tap_case("an impossible sequence is reported, and nothing is popped");
	tdm_atomic_u64 *sequence = TDM_AT_(tdm_atomic_u64, ring.span.base, 768);
	static const uint64_t sequences[] = {2, 5, UINT64_MAX, UINT64_C(1) << 63};
	for (size_t i = 0; i < COUNT(sequences); i++) {
		tdm_store_relaxed_u64(sequence, sequences[i]);
		CHECK_STATUS(tdm_spsc_try_pop(&ring.in, &value), TDM_CORRUPT);
		CHECK_STATUS(tdm_spsc_pop(&ring.in, &value), TDM_CORRUPT);
	}
	tdm_store_relaxed_u64(sequence, 1);
	CHECK_STATUS(tdm_spsc_try_pop(&ring.in, &value), TDM_OK);
	CHECK_EQ_U64(value, 0);

	tap_case("a role that somebody wrote over is reported, and the handle is detached");
	tdm_store_relaxed_u64(&shm->producer, 0);
	tdm_store_relaxed_u64(&shm->consumer, 0);
	CHECK_STATUS(tdm_spsc_producer_detach(&ring.out), TDM_CORRUPT);
	CHECK_STATUS(tdm_spsc_consumer_detach(&ring.in), TDM_CORRUPT);
	CHECK_STATUS(tdm_spsc_try_push(&ring.out, &value), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_try_pop(&ring.in, &value), TDM_INVALID);
	CHECK(block_end(&ring.block));

	tap_case("with any index and any sequences in memory, everything comes back");
	uint64_t random = 1;
	for (unsigned round = 0; round < 4000; round++) {
		static const uint64_t edges[] = {0, 1, 3, 4, 5, UINT64_MAX, UINT64_MAX - 3};
		numbers_start(&ring, 4);
		shm = shm_of(ring.span);
		tdm_atomic_u64 *words[6] = {&shm->head, &shm->released};
		for (uint64_t i = 0; i < 4; i++)
			words[2 + i] = TDM_AT_(tdm_atomic_u64, ring.span.base, 768 + 16 * i);
		for (size_t i = 0; i < COUNT(words); i++)
			tdm_store_relaxed_u64(words[i], edges[random_below(&random, COUNT(edges))]);
		CHECK_STATUS(tdm_spsc_producer_detach(&ring.out), TDM_OK);
		CHECK_STATUS(tdm_spsc_consumer_detach(&ring.in), TDM_OK);
		CHECK_STATUS(tdm_spsc_consumer_attach(&ring.in, ring.span, 8, TDM_NULL), TDM_OK);
		CHECK_STATUS(tdm_spsc_producer_attach(&ring.out, ring.span, 8, TDM_NULL), TDM_OK);
		uint64_t many[9] = {0};
		size_t done = 100;
		struct tdm_spsc_info info;
		(void)!tdm_spsc_try_push_n(&ring.out, many, COUNT(many), &done);
		CHECK(done <= 4);
		(void)!tdm_spsc_try_pop_n(&ring.in, many, COUNT(many), &done);
		CHECK(done <= 8);
		CHECK_STATUS(tdm_spsc_check(ring.span, &info), TDM_OK);
		CHECK(info.pushed - info.popped <= 4);
		if (!CHECK(block_end(&ring.block)))
			break;
	}
}

// --- everything against the model ---

static unsigned char *scratch; // for the elements of one batch
#define SCRATCH_BYTES (UINT64_C(1) << 21)

static const uint64_t starts[] = {
    0,
    (UINT64_C(1) << 32) - 5,
    (UINT64_C(1) << 63) - 5,
    UINT64_C(12345678901),
};
#define STARTS 5

// Where the walk numbered `n` begins; the last start is two laps before the end of all numbers, so
// that a sequence of 0, which an unused slot has too, never stands in the first lap.
static uint64_t start_of(uint64_t n, uint64_t capacity)
{
	return n % STARTS < COUNT(starts) ? starts[n % STARTS] : UINT64_C(0) - 2 * capacity - 5;
}

// The ring is made with `object` and walked by `walk`.
static bool walk_plain(struct tdm_object object, uint64_t start, uint64_t seed,
		       bool (*walk)(struct tdm_span span, struct tdm_participant *self,
				    uint64_t elem_size, uint64_t capacity, uint64_t start,
				    uint64_t seed, unsigned char *scratch))
{
	object.plain = true;
	struct block block = block_make(tdm_spsc_object_size_(&object), object.elem_align);
	struct tdm_span span = block_span(&block);
	bool held = CHECK_STATUS(tdm_spsc_init_at_(span, &object, start), TDM_OK) &&
		    walk(span, TDM_NULL, object.elem_size, object.capacity, start, seed, scratch);
	return CHECK(block_end(&block)) && held;
}

static void test_model(void)
{
	static const uint64_t sizes[] = {1, 2, 4, 7, 8, 16, 24, 64, 100, 4096};
	static const uint64_t aligns[] = {1, 8, 16, 64, 128, 256, 4096};
	static const uint64_t capacities[] = {1, 2, 4, 8, 16, 128};
	uint64_t seed = 1;
	scratch = TDM_CAST(unsigned char *, aligned_alloc(4096, SCRATCH_BYTES));
	if (scratch == TDM_NULL)
		abort();

	tap_case("an untyped ring does what the model does, for all sizes and wraparounds");
	for (size_t size = 0; size < COUNT(sizes); size++)
		for (size_t align = 0; align < COUNT(aligns); align++)
			for (size_t capacity = 0; capacity < COUNT(capacities); capacity++) {
				if ((capacities[capacity] + 4) * sizes[size] > SCRATCH_BYTES / 8)
					continue;
				seed++;
				if (!walk_plain(plain_object(sizes[size], aligns[align],
							     capacities[capacity]),
						start_of(seed, capacities[capacity]), seed,
						walk_untyped))
					return;
			}
	for (uint64_t n = 0; n < STARTS; n++)
		walk_plain(plain_object(8, 8, 4096), start_of(n, 4096), n, walk_untyped);

	tap_case("typed rings do what the model does");
	for (size_t capacity = 0; capacity < COUNT(capacities); capacity++)
		for (uint64_t n = 0; n < STARTS; n++) {
			uint64_t elems = capacities[capacity];
			uint64_t start = start_of(n, elems);
			if (!walk_plain(bytes_object("", elems), start, ++seed, walk_bytes) ||
			    !walk_plain(sevens_object("", elems), start, ++seed, walk_sevens) ||
			    !walk_plain(jobs_object("", elems), start, ++seed, walk_jobs) ||
			    !walk_plain(lines_object("", elems), start, ++seed, walk_lines) ||
			    !walk_plain(sheets_object("", elems), start, ++seed, walk_sheets))
				return;
		}

	tap_case("robust rings do what the model does");
	for (size_t capacity = 0; capacity < COUNT(capacities); capacity++) {
		uint64_t elems = capacities[capacity];
		struct tdm_segment segment;
		struct tdm_participant self;
		struct tdm_object objects[4];
		objects[0] = tdm_spsc_object("untyped", 24, elems);
		objects[1] = jobs_object("jobs", elems);
		objects[2] = lines_object("lines", elems);
		objects[3] = sheets_object("sheets", elems);
		if (!CHECK_STATUS(tdm_segment_create(&segment, objects, 4, TDM_NULL), TDM_OK) ||
		    !CHECK_STATUS(tdm_segment_join(&segment, &self, "walker"), TDM_OK))
			return;
		walk_untyped(tdm_segment_find(&segment, "untyped"), &self, 24, elems, 0, ++seed,
			     scratch);
		walk_jobs(tdm_segment_find(&segment, "jobs"), &self, 24, elems, 0, ++seed, scratch);
		walk_lines(tdm_segment_find(&segment, "lines"), &self, 128, elems, 0, ++seed,
			   scratch);
		walk_sheets(tdm_segment_find(&segment, "sheets"), &self, 4096, elems, 0, ++seed,
			    scratch);
		CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
		CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	}
	free(scratch);
}

// --- looking ---

static void test_check(void)
{
	struct tdm_segment segment;
	struct tdm_participant self;
	struct tdm_spsc_info info;
	struct jobs_producer out;
	struct jobs_consumer in;
	struct job job;
	memset(&job, 0, sizeof(job));
	struct tdm_object object = jobs_object("jobs", 8);
	CHECK_STATUS(tdm_segment_create(&segment, &object, 1, TDM_NULL), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&segment, &self, "test"), TDM_OK);
	struct tdm_span span = tdm_segment_find(&segment, "jobs");

	tap_case("check says what a ring is, how full it is, and who holds the roles");
	CHECK_STATUS(tdm_spsc_check(span, &info), TDM_OK);
	CHECK_EQ_U64(info.elem_size, 24);
	CHECK_EQ_U64(info.capacity, 8);
	CHECK_EQ_U64(info.type_tag, tdm_type_tag("struct job"));
	CHECK(!info.plain);
	CHECK_EQ_U64(info.pushed, 0);
	CHECK_EQ_U64(info.popped, 0);
	CHECK(!info.producer.ever && !info.producer.held && !info.producer.died);
	CHECK(!info.consumer.ever && !info.consumer.held && !info.consumer.died);
	CHECK_STATUS(jobs_producer_attach(&out, span, &self), TDM_OK);
	CHECK(!out.ring.took_over);
	CHECK_STATUS(jobs_consumer_attach(&in, span, &self), TDM_OK);
	CHECK(!in.ring.took_over);
	for (unsigned i = 0; i < 11; i++) {
		CHECK_STATUS(jobs_try_push(&out, &job), TDM_OK);
		if (i < 7)
			CHECK_STATUS(jobs_try_pop(&in, &job), TDM_OK);
	}
	CHECK_STATUS(tdm_spsc_check(span, &info), TDM_OK);
	CHECK_EQ_U64(info.pushed, 11);
	CHECK_EQ_U64(info.popped, 7);
	CHECK(info.producer.ever && info.producer.held && !info.producer.died);
	CHECK_EQ_U64(info.producer.seat, self.index);
	CHECK_EQ_U64(info.producer.generation, self.generation);
	CHECK(info.consumer.ever && info.consumer.held && !info.consumer.died);
	CHECK_EQ_U64(info.consumer.seat, self.index);
	CHECK_STATUS(tdm_spsc_producer_peer(&out.ring), TDM_OK);
	CHECK_STATUS(tdm_spsc_consumer_peer(&in.ring), TDM_OK);
	CHECK_STATUS(jobs_producer_detach(&out), TDM_OK);
	CHECK_STATUS(tdm_spsc_consumer_peer(&in.ring), TDM_PEER_LEFT);
	CHECK_STATUS(tdm_spsc_check(span, &info), TDM_OK);
	CHECK(info.producer.ever && !info.producer.held && !info.producer.died);
	CHECK_EQ_U64(info.pushed, 11);

	tap_case("recover finds nothing to do where nobody has died");
	uint32_t recovered = 1;
	CHECK_STATUS(tdm_spsc_recover(span, &self, &recovered), TDM_OK);
	CHECK_EQ_U64(recovered, 0);
	CHECK_STATUS(tdm_spsc_recover(span, TDM_NULL, &recovered), TDM_NEEDS_PARTICIPANT);

	tap_case("a read-only mapping can be checked, and nothing else");
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", segment.fd);
	struct tdm_segment reader;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	if (CHECK_STATUS(tdm_segment_open_fd(&reader, fd, TDM_MAP_READ_ONLY), TDM_OK)) {
		struct tdm_span read_only = tdm_segment_find(&reader, "jobs");
		struct tdm_spsc_producer bare_out;
		struct jobs_producer no_out;
		struct jobs_consumer no_in;
		CHECK_STATUS(tdm_spsc_check(read_only, &info), TDM_OK);
		CHECK_EQ_U64(info.pushed, 11);
		CHECK_EQ_U64(info.popped, 7);
		CHECK_EQ_U64(info.capacity, 8);
		CHECK(info.consumer.held);
		CHECK_STATUS(jobs_producer_attach(&no_out, read_only, &self), TDM_READ_ONLY);
		CHECK_STATUS(jobs_consumer_attach(&no_in, read_only, &self), TDM_READ_ONLY);
		CHECK_STATUS(tdm_spsc_producer_attach(&bare_out, read_only, 24, TDM_NULL),
			     TDM_READ_ONLY);
		CHECK_STATUS(tdm_spsc_recover(read_only, &self, &recovered), TDM_READ_ONLY);
		CHECK_STATUS(tdm_segment_close(&reader), TDM_OK);
	}
	CHECK_STATUS(jobs_consumer_detach(&in), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);

	tap_case("check tells a plain ring by its flag");
	struct numbers ring;
	numbers_start(&ring, 2);
	CHECK_STATUS(tdm_spsc_check(ring.span, &info), TDM_OK);
	CHECK(info.plain && info.producer.held && info.consumer.held);
	CHECK_EQ_U64(info.producer.generation, 0);
	CHECK_EQ_U64(info.type_tag, 0);
	CHECK_STATUS(tdm_spsc_recover(ring.span, TDM_NULL, &recovered), TDM_OK);
	CHECK_EQ_U64(recovered, 0);
	numbers_end(&ring);
}

static void test_never_attached(void)
{
	struct tdm_spsc_producer out;
	struct tdm_spsc_consumer in;
	uint64_t value = 0;
	size_t done = 1;
	void *slot = TDM_NULL;
	const void *seen = TDM_NULL;
	tap_case("a zero-filled handle that was never attached is refused");
	memset(&out, 0, sizeof(out));
	memset(&in, 0, sizeof(in));
	CHECK_STATUS(tdm_spsc_try_push(&out, &value), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_push(&out, &value), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_try_push_n(&out, &value, 1, &done), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_try_reserve(&out, &slot), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_commit(&out), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_producer_detach(&out), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_try_pop(&in, &value), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_pop(&in, &value), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_try_pop_n(&in, &value, 1, &done), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_try_peek(&in, &seen), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_release(&in), TDM_INVALID);
	CHECK_STATUS(tdm_spsc_consumer_detach(&in), TDM_INVALID);
}

int main(void)
{
	alarm(120);
	test_never_attached();
	test_layout();
	test_sizes();
	test_attach();
	test_types();
	test_full_and_empty();
	test_refusals();
	test_notifies();
	test_corrupt();
	test_model();
	test_check();
	return tap_done();
}
