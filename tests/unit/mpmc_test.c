// SPDX-License-Identifier: BSD-2-Clause
// One thread at a ring: layout, sizes, refusals, leases, and every operation against a model that
// is too simple to be wrong. What happens between several processes is in mpmc_peer_test.c.
#include <fcntl.h>

#include <tandem.h>

#include "../support/block.h"
#include "../support/pattern.h"
#include "../support/tap.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

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

TDM_MPMC_DEFINE(sevens, struct seven);
TDM_MPMC_DEFINE(jobs, struct job);
TDM_MPMC_DEFINE(lines, struct line);
TDM_MPMC_DEFINE(sheets, struct sheet);

#define ATTACH(role, handle, span, elem_size, self)                                                \
	tdm_mpmc_##role##_attach(handle, span, elem_size, self)
#define BARE(h) (h)
#define ELEM void
#define FORM(op) tdm_mpmc_##op
#define NAMED(x) x##_untyped
#include "mpmc_forms.h"

#define TYPED_ATTACH_(ring, role, handle, span, self) ring##_##role##_attach(handle, span, self)

#define ATTACH(role, handle, span, elem_size, self) TYPED_ATTACH_(sevens, role, handle, span, self)
#define BARE(h) (h).ring
#define ELEM struct seven
#define FORM(op) sevens_##op
#define NAMED(x) x##_sevens
#include "mpmc_forms.h"

#define ATTACH(role, handle, span, elem_size, self) TYPED_ATTACH_(jobs, role, handle, span, self)
#define BARE(h) (h).ring
#define ELEM struct job
#define FORM(op) jobs_##op
#define NAMED(x) x##_jobs
#include "mpmc_forms.h"

#define ATTACH(role, handle, span, elem_size, self) TYPED_ATTACH_(lines, role, handle, span, self)
#define BARE(h) (h).ring
#define ELEM struct line
#define FORM(op) lines_##op
#define NAMED(x) x##_lines
#include "mpmc_forms.h"

#define ATTACH(role, handle, span, elem_size, self) TYPED_ATTACH_(sheets, role, handle, span, self)
#define BARE(h) (h).ring
#define ELEM struct sheet
#define FORM(op) sheets_##op
#define NAMED(x) x##_sheets
#include "mpmc_forms.h"

static struct tdm_mpmc_shm *shm_of(struct tdm_span span)
{
	return TDM_CAST(struct tdm_mpmc_shm *, span.base);
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
	CHECK_EQ_U64(sizeof(struct tdm_mpmc_shm), 768);
	CHECK_EQ_U64(TDM_ALIGNOF(struct tdm_mpmc_shm), 128);
	CHECK_EQ_U64(offsetof(struct tdm_slots_shm, plain), 40);
	CHECK_EQ_U64(offsetof(struct tdm_slots_shm, seats), 48);
	CHECK_EQ_U64(offsetof(struct tdm_mpmc_shm, tail), 128);
	CHECK_EQ_U64(offsetof(struct tdm_mpmc_shm, head), 256);
	CHECK_EQ_U64(offsetof(struct tdm_mpmc_shm, recovering), 384);
	CHECK_EQ_U64(offsetof(struct tdm_mpmc_shm, parts), 392);
	CHECK_EQ_U64(offsetof(struct tdm_mpmc_shm, ever), 396);
	CHECK_EQ_U64(offsetof(struct tdm_mpmc_shm, not_empty), 512);
	CHECK_EQ_U64(offsetof(struct tdm_mpmc_shm, not_full), 640);
	CHECK_EQ_U64(sizeof(struct tdm_mpmc_part), 128);
	CHECK_EQ_U64(offsetof(struct tdm_mpmc_part, roles), 8);
	CHECK_EQ_U64(offsetof(struct tdm_mpmc_part, intents), 16);
	CHECK_EQ_U64(TDM_MPMC_WORDS_, 11);
	CHECK_EQ_U64(TDM_MPMC_TAG_, UINT64_C(0x6d706d6300000001));

	tap_case("the bytes of a plain ring are these, from C and from C++");
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
	CHECK_EQ_U64(u64_at(span, 0), TDM_MPMC_TAG_);
	CHECK_EQ_U64(u64_at(span, 8), 24);  // element size
	CHECK_EQ_U64(u64_at(span, 16), 8);  // alignment
	CHECK_EQ_U64(u64_at(span, 24), 2);  // capacity
	CHECK_EQ_U64(u64_at(span, 40), 1);  // plain
	CHECK_EQ_U64(u64_at(span, 48), 0);  // seats
	CHECK_EQ_U64(u64_at(span, 128), 3); // pushed
	CHECK_EQ_U64(u64_at(span, 256), 2); // popped
	CHECK_EQ_U64(u64_at(span, 768), 3); // slot 0 holds position 2
	CHECK_EQ_U64(u64_at(span, 800), 3); // slot 1 is free for position 3
	CHECK_EQ_U64(u64_at(span, 776), job.id);
	CHECK(block_end(&block));

	tap_case("the bytes of a robust ring are these");
	struct tdm_segment segment;
	struct tdm_participant self;
	struct jobs_lease lease;
	struct tdm_object object = jobs_object("jobs", 2);
	struct tdm_segment_options options;
	memset(&options, 0, sizeof(options));
	options.seats = 3;
	CHECK_STATUS(tdm_segment_create(&segment, &object, 1, &options), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&segment, &self, "test"), TDM_OK);
	span = tdm_segment_find(&segment, "jobs");
	CHECK_EQ_U64(span.bytes, 768 + 3 * 128 + 2 * 32);
	CHECK_STATUS(jobs_producer_attach(&out, span, &self), TDM_OK);
	CHECK_STATUS(jobs_consumer_attach(&in, span, &self), TDM_OK);
	for (int i = 0; i < 2; i++)
		CHECK_STATUS(jobs_try_push(&out, &job), TDM_OK);
	CHECK_STATUS(jobs_try_pop(&in, &job), TDM_OK);
	CHECK_STATUS(jobs_try_take(&in, &lease), TDM_OK);
	uint64_t part = 768 + 128 * TDM_CAST(uint64_t, self.index);
	uint64_t won = UINT64_C(3) << 62;
	CHECK_EQ_U64(u64_at(span, 48), 3);
	CHECK_EQ_U64(u64_at(span, part), self.generation);
	CHECK_EQ_U64(u64_at(span, part + 8), 3);                 // both roles
	CHECK_EQ_U64(u64_at(span, part + 16), won | 1);          // pushed position 1
	CHECK_EQ_U64(u64_at(span, part + 24), won | 0);          // popped position 0
	CHECK_EQ_U64(u64_at(span, part + 32), 0);                // nothing again
	CHECK_EQ_U64(u64_at(span, part + 16 + 8 * 10), won | 1); // took position 1
	CHECK_EQ_U64(u64_at(span, 768 + 3 * 128), 2);            // slot 0 is free for 2
	CHECK_EQ_U64(u64_at(span, 768 + 3 * 128 + 32), 2);       // slot 1 holds 1
	CHECK_STATUS(jobs_nack(&in, &lease), TDM_OK);
	CHECK_EQ_U64(u64_at(span, part + 96), won | UINT64_C(1) << 61 | 1); // given up
	CHECK_STATUS(jobs_producer_detach(&out), TDM_OK);
	CHECK_STATUS(jobs_consumer_detach(&in), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

static void test_sizes(void)
{
	static const struct {
		uint64_t size, align, capacity, bytes;
	} possible[] = {
	    {1, 1, 2, 768 + 32},
	    {8, 8, 1024, 768 + 1024 * 16},
	    {7, 4, 4, 768 + 4 * 16},
	    {9, 8, 4, 768 + 4 * 24},
	    {16, 16, 8, 768 + 8 * 32},
	    {1, 128, 2, 768 + 2 * 256},
	    {1, 256, 2, 768 + 2 * 512},
	    {1, 512, 2, 1024 + 2 * 1024},
	    {4096, 4096, 2, 4096 + 2 * 8192},
	    {1, 8, UINT64_C(1) << 31, 768 + (UINT64_C(16) << 31)},
	    {(UINT64_C(1) << 31) - 1, 4096, UINT64_C(1) << 31,
	     4096 + (((UINT64_C(1) << 31) + 4096) << 31)},
	};
	static const struct {
		uint64_t size, align, capacity;
	} impossible[] = {
	    {8, 8, 0},
	    {8, 8, 1},
	    {8, 8, 3},
	    {8, 8, 1000},
	    {8, 8, UINT64_C(1) << 32},
	    {8, 8, UINT64_C(1) << 63},
	    {8, 8, (UINT64_C(1) << 31) + 1},
	    {8, 8, UINT64_MAX},
	    {0, 8, 8},
	    {UINT64_C(1) << 31, 8, 2},
	    {UINT64_MAX, 8, 2},
	    {8, 0, 8},
	    {8, 3, 8},
	    {8, 8192, 8},
	    {8, UINT64_C(1) << 63, 8},
	};
	tap_case("the size of a ring is exact");
	for (size_t i = 0; i < COUNT(possible); i++)
		CHECK_EQ_U64(
		    tdm_mpmc_size(possible[i].size, possible[i].align, possible[i].capacity),
		    possible[i].bytes);
	CHECK_EQ_U64(sheets_size(2), 4096 + 2 * 8192);

	tap_case("an impossible ring has size 0 and cannot be made");
	struct block block = block_make(BLOCK_PAGE, 8);
	for (size_t i = 0; i < COUNT(impossible); i++) {
		CHECK_EQ_U64(
		    tdm_mpmc_size(impossible[i].size, impossible[i].align, impossible[i].capacity),
		    0);
		CHECK_STATUS(tdm_mpmc_init(block.base, block.bytes, impossible[i].size,
					   impossible[i].align, impossible[i].capacity),
			     TDM_INVALID);
	}
	CHECK_EQ_U64(jobs_size(3), 0);
	CHECK_STATUS(jobs_init(block.base, block.bytes, 3), TDM_INVALID);
	for (uint64_t i = 0; i < block.bytes / 8; i++)
		if (!CHECK_EQ_U64(u64_at(block_span(&block), i * 8), UINT64_C(0xa5a5a5a5a5a5a5a5)))
			break;

	tap_case("memory that is too short, misaligned or absent is refused");
	for (size_t i = 0; i < 9; i++) {
		uint64_t bytes = possible[i].bytes;
		uint64_t align = possible[i].align;
		struct block tight = block_make(bytes, align);
		CHECK_STATUS(tdm_mpmc_init(tight.base, bytes - 1, possible[i].size, align,
					   possible[i].capacity),
			     TDM_INVALID);
		CHECK_STATUS(
		    tdm_mpmc_init(tight.base, bytes, possible[i].size, align, possible[i].capacity),
		    TDM_OK);
		CHECK(block_end(&tight));
	}
	CHECK_STATUS(tdm_mpmc_init(block.base, 0, 8, 8, 8), TDM_INVALID);
	CHECK_STATUS(tdm_mpmc_init(TDM_NULL, BLOCK_PAGE, 8, 8, 8), TDM_INVALID);
	for (size_t shift = 1; shift < 128; shift *= 2)
		CHECK_STATUS(tdm_mpmc_init(block.base + shift, BLOCK_PAGE - shift, 8, 8, 8),
			     TDM_INVALID);
	CHECK_STATUS(tdm_mpmc_init(block.base + 128, BLOCK_PAGE - 128, 8, 256, 2), TDM_INVALID);
	CHECK_STATUS(tdm_mpmc_init(block.base + 128, BLOCK_PAGE - 128, 8, 128, 2), TDM_OK);
	CHECK(block_end(&block));

	tap_case("a ring that no segment can hold is refused");
	struct tdm_segment segment;
	struct tdm_object object = tdm_mpmc_object("ring", (UINT64_C(1) << 31) - 1, 1U << 31);
	CHECK_STATUS(tdm_segment_create(&segment, &object, 1, TDM_NULL),
		     sizeof(size_t) == 4 ? TDM_INVALID : TDM_NO_SPACE);
	for (size_t i = 0; i < COUNT(impossible); i++) {
		object = tdm_mpmc_object("ring", impossible[i].size, impossible[i].capacity);
		object.elem_align = impossible[i].align;
		CHECK_STATUS(tdm_segment_create(&segment, &object, 1, TDM_NULL), TDM_INVALID);
	}
}

// --- attaching ---

static void expect_attach(struct tdm_span span, uint64_t elem_size, enum tdm_status expected)
{
	struct tdm_mpmc_producer out;
	struct tdm_mpmc_consumer in;
	CHECK_STATUS(tdm_mpmc_producer_attach(&out, span, elem_size, TDM_NULL), expected);
	CHECK_STATUS(tdm_mpmc_consumer_attach(&in, span, elem_size, TDM_NULL), expected);
	if (expected == TDM_OK) {
		CHECK_STATUS(tdm_mpmc_producer_detach(&out), TDM_OK);
		CHECK_STATUS(tdm_mpmc_consumer_detach(&in), TDM_OK);
	}
}

static void test_attach(void)
{
	struct tdm_mpmc_info info;
	struct block block = block_make(tdm_mpmc_size(8, 8, 4), 8);
	struct tdm_span span = block_span(&block);
	memset(block.base, 0, TDM_CAST(size_t, block.bytes));

	tap_case("a zero page is not a ring yet");
	expect_attach(span, 8, TDM_NOT_INITIALIZED);
	CHECK_STATUS(tdm_mpmc_check(span, &info), TDM_NOT_INITIALIZED);

	tap_case("what is not a ring, or one of another version, is told apart");
	struct tdm_mpmc_shm *shm = shm_of(span);
	CHECK_STATUS(tdm_mpmc_init(span.base, span.bytes, 8, 8, 4), TDM_OK);
	static const struct {
		uint64_t tag;
		enum tdm_status status;
	} tags[] = {
	    {1, TDM_WRONG_KIND},
	    {UINT64_C(0x7370736300000001), TDM_WRONG_KIND}, // spsc
	    {UINT64_MAX, TDM_WRONG_KIND},
	    {TDM_MPMC_TAG_ - 1, TDM_OLDER_LAYOUT},
	    {TDM_MPMC_TAG_ + 1, TDM_NEWER_LAYOUT},
	    {0, TDM_NOT_INITIALIZED},
	    {TDM_MPMC_TAG_, TDM_OK},
	};
	uint32_t recovered = 1;
	for (size_t i = 0; i < COUNT(tags); i++) {
		tdm_store_relaxed_u64(&shm->constant.tag, tags[i].tag);
		expect_attach(span, 8, tags[i].status);
		CHECK_STATUS(tdm_mpmc_check(span, &info), tags[i].status);
		CHECK_STATUS(tdm_mpmc_recover(span, TDM_NULL, &recovered), tags[i].status);
		CHECK_EQ_U64(recovered, 0);
	}

	tap_case("numbers that do not fit the memory are refused");
	tdm_atomic_u64 *const fields[] = {&shm->constant.elem_size, &shm->constant.elem_align,
					  &shm->constant.capacity, &shm->constant.seats};
	static const uint64_t bad[4][8] = {
	    {0, 9, 16, UINT64_C(1) << 31, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX,
	     UINT64_MAX - 15},
	    {0, 3, 16, 4096, 8192, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX},
	    {0, 1, 8, UINT64_C(1) << 31, UINT64_C(1) << 32, UINT64_C(1) << 60, UINT64_C(1) << 63,
	     UINT64_MAX},
	    {1, 2, 1024, 1025, UINT64_C(1) << 25, UINT64_C(1) << 32, UINT64_C(1) << 57, UINT64_MAX},
	};
	for (size_t field = 0; field < COUNT(fields); field++) {
		uint64_t good = tdm_load_relaxed_u64(fields[field]);
		for (size_t i = 0; i < COUNT(bad[field]); i++) {
			tdm_store_relaxed_u64(fields[field], bad[field][i]);
			expect_attach(span, bad[field][i] != 0 && field == 0 ? bad[field][i] : 8,
				      TDM_BAD_GEOMETRY);
			CHECK_STATUS(tdm_mpmc_check(span, &info), TDM_BAD_GEOMETRY);
		}
		tdm_store_relaxed_u64(fields[field], good);
	}
	struct tdm_span shorter = span;
	shorter.bytes--;
	expect_attach(shorter, 8, TDM_BAD_GEOMETRY);
	shorter.bytes = sizeof(struct tdm_mpmc_shm) - 1;
	expect_attach(shorter, 8, TDM_INVALID);
	CHECK_STATUS(tdm_mpmc_check(shorter, &info), TDM_INVALID);

	tap_case("misaligned or absent memory is refused");
	struct tdm_span shifted = tdm_memory(block.base + 64, block.bytes - 64);
	expect_attach(shifted, 8, TDM_INVALID);
	expect_attach(tdm_memory(TDM_NULL, 4096), 8, TDM_INVALID);
	shifted.status = TDM_NOT_FOUND;
	expect_attach(shifted, 8, TDM_NOT_FOUND);
	CHECK_STATUS(tdm_mpmc_check(shifted, &info), TDM_NOT_FOUND);

	tap_case("a ring that was moved to where its elements are misaligned is refused");
	struct block wide = block_make(tdm_mpmc_size(8, 256, 2) + 128, 256);
	CHECK_STATUS(tdm_mpmc_init(wide.base, wide.bytes - 128, 8, 256, 2), TDM_OK);
	expect_attach(tdm_memory(wide.base, wide.bytes - 128), 8, TDM_OK);
	memmove(wide.base + 128, wide.base, TDM_CAST(size_t, wide.bytes - 128));
	expect_attach(tdm_memory(wide.base + 128, wide.bytes - 128), 8, TDM_BAD_GEOMETRY);
	CHECK(block_end(&wide));

	tap_case("another element size is refused, and 0 stands for any");
	for (uint64_t size = 0; size <= 17; size++)
		expect_attach(span, size, size == 8 || size == 0 ? TDM_OK : TDM_WRONG_TYPE);
	expect_attach(span, UINT64_MAX, TDM_WRONG_TYPE);
	CHECK(block_end(&block));
}

static void test_participants(void)
{
	struct tdm_mpmc_info info;
	struct tdm_segment segment;
	struct tdm_participant self;
	struct tdm_mpmc_producer out;
	struct tdm_mpmc_consumer in;
	struct tdm_object objects[4];
	objects[0] = tdm_mpmc_object("robust", 8, 4);
	objects[1] = tdm_mpmc_object("plain", 8, 4);
	objects[1].plain = true;
	objects[2] = tdm_bytes_object("bytes", 4096, 8, TDM_NULL);
	objects[3] = tdm_spsc_object("spsc", 8, 4);
	CHECK_STATUS(tdm_segment_create(&segment, objects, 4, TDM_NULL), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&segment, &self, "test"), TDM_OK);
	struct tdm_span plain = tdm_segment_find(&segment, "plain");
	struct tdm_span robust = tdm_segment_find(&segment, "robust");

	tap_case("a plain ring refuses a participant");
	CHECK_STATUS(tdm_mpmc_producer_attach(&out, plain, 8, &self), TDM_INVALID);
	CHECK_STATUS(tdm_mpmc_consumer_attach(&in, plain, 8, &self), TDM_INVALID);
	expect_attach(plain, 8, TDM_OK);

	tap_case("a robust ring needs a participant");
	uint32_t recovered = 1;
	expect_attach(robust, 8, TDM_NEEDS_PARTICIPANT);
	CHECK_STATUS(tdm_mpmc_recover(robust, TDM_NULL, &recovered), TDM_NEEDS_PARTICIPANT);
	CHECK_EQ_U64(recovered, 0);

	tap_case("a participant that has left is none");
	struct tdm_participant gone;
	CHECK_STATUS(tdm_segment_join(&segment, &gone, "gone"), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&gone), TDM_OK);
	CHECK_STATUS(tdm_mpmc_producer_attach(&out, robust, 8, &gone), TDM_NEEDS_PARTICIPANT);
	CHECK_STATUS(tdm_mpmc_consumer_attach(&in, robust, 8, &gone), TDM_NEEDS_PARTICIPANT);
	CHECK_STATUS(tdm_mpmc_recover(robust, &gone, &recovered), TDM_NEEDS_PARTICIPANT);

	tap_case("a participant of another segment is refused");
	struct tdm_segment other;
	struct tdm_participant stranger;
	CHECK_STATUS(tdm_segment_create(&other, objects, 4, TDM_NULL), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&other, &stranger, "stranger"), TDM_OK);
	CHECK_STATUS(tdm_mpmc_producer_attach(&out, robust, 8, &stranger), TDM_INVALID);
	CHECK_STATUS(tdm_mpmc_consumer_attach(&in, robust, 8, &stranger), TDM_INVALID);
	CHECK_STATUS(tdm_mpmc_recover(robust, &stranger, &recovered), TDM_INVALID);

	tap_case("an object of another kind is refused");
	expect_attach(tdm_segment_find(&segment, "bytes"), 8, TDM_WRONG_KIND);
	expect_attach(tdm_segment_find(&segment, "spsc"), 8, TDM_WRONG_KIND);
	expect_attach(tdm_segment_find(&segment, "nothing"), 8, TDM_NOT_FOUND);
	CHECK_STATUS(tdm_mpmc_check(tdm_segment_find(&segment, "bytes"), &info), TDM_WRONG_KIND);

	tap_case("nobody who was refused counts as a producer or a consumer");
	CHECK_STATUS(tdm_mpmc_check(robust, &info), TDM_OK);
	CHECK_EQ_U64(info.producers, 0);
	CHECK_EQ_U64(info.consumers, 0);

	tap_case("a participant has one handle of each role, and others have their own");
	struct tdm_participant second;
	struct tdm_mpmc_producer more_out;
	struct tdm_mpmc_consumer more_in;
	CHECK_STATUS(tdm_segment_join(&segment, &second, "second"), TDM_OK);
	CHECK_STATUS(tdm_mpmc_producer_attach(&out, robust, 8, &self), TDM_OK);
	CHECK_STATUS(tdm_mpmc_producer_attach(&more_out, robust, 8, &self), TDM_BUSY);
	all_of_producer_untyped(&more_out, TDM_INVALID);
	CHECK_STATUS(tdm_mpmc_consumer_attach(&in, robust, 8, &self), TDM_OK);
	CHECK_STATUS(tdm_mpmc_consumer_attach(&more_in, robust, 8, &self), TDM_BUSY);
	all_of_consumer_untyped(&more_in, TDM_INVALID);
	CHECK_STATUS(tdm_mpmc_producer_attach(&more_out, robust, 8, &second), TDM_OK);
	CHECK_STATUS(tdm_mpmc_consumer_attach(&more_in, robust, 8, &second), TDM_OK);
	CHECK_STATUS(tdm_mpmc_check(robust, &info), TDM_OK);
	CHECK_EQ_U64(info.producers, 2);
	CHECK_EQ_U64(info.consumers, 2);
	for (uint64_t i = 0; i < 4; i++)
		CHECK_STATUS(tdm_mpmc_try_push(i % 2 == 0 ? &out : &more_out, &i), TDM_OK);
	for (uint64_t i = 0; i < 4; i++) {
		uint64_t value = 99;
		CHECK_STATUS(tdm_mpmc_try_pop(i < 2 ? &more_in : &in, &value), TDM_OK);
		CHECK_EQ_U64(value, i);
	}

	tap_case("one who is attached cannot leave");
	CHECK_STATUS(tdm_participant_leave(&second), TDM_BUSY);
	CHECK_STATUS(tdm_mpmc_consumer_detach(&more_in), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&second), TDM_BUSY);
	CHECK_STATUS(tdm_mpmc_producer_detach(&more_out), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&second), TDM_OK);

	tap_case("a role that was given back can be had again");
	CHECK_STATUS(tdm_mpmc_producer_detach(&out), TDM_OK);
	CHECK_STATUS(tdm_mpmc_producer_attach(&out, robust, 8, &self), TDM_OK);
	CHECK_STATUS(tdm_mpmc_producer_detach(&out), TDM_OK);
	CHECK_STATUS(tdm_mpmc_consumer_detach(&in), TDM_OK);

	tap_case("a seat for which the ring has no line is refused");
	uint64_t seats = tdm_load_relaxed_u64(&shm_of(robust)->constant.seats);
	CHECK_STATUS(tdm_segment_join(&segment, &second, "second"), TDM_OK);
	CHECK_EQ_U64(second.index, 1);
	tdm_store_relaxed_u64(&shm_of(robust)->constant.seats, 1);
	CHECK_STATUS(tdm_mpmc_producer_attach(&out, robust, 8, &second), TDM_BAD_GEOMETRY);
	tdm_store_relaxed_u64(&shm_of(robust)->constant.seats, seats);
	CHECK_STATUS(tdm_participant_leave(&second), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&stranger), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&other), TDM_OK);
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
TDM_MPMC_DEFINE(other_jobs, struct other_job);
TDM_MPMC_DEFINE(longer_jobs, struct longer_job);
TDM_MPMC_DEFINE(wider_jobs, struct wider_job);

static void test_types(void)
{
	struct block block = block_make(jobs_size(4), 8);
	struct tdm_span span = block_span(&block);
	struct jobs_producer out;

	tap_case("a typed ring refuses elements of another type, also of the same size");
	struct other_jobs_producer other_out;
	struct other_jobs_consumer other_in;
	struct longer_jobs_producer longer_out;
	struct longer_jobs_consumer longer_in;
	CHECK_EQ_U64(sizeof(struct job), sizeof(struct other_job));
	CHECK_STATUS(jobs_init(span.base, span.bytes, 4), TDM_OK);
	CHECK_STATUS(other_jobs_producer_attach(&other_out, span, TDM_NULL), TDM_WRONG_TYPE);
	CHECK_STATUS(other_jobs_consumer_attach(&other_in, span, TDM_NULL), TDM_WRONG_TYPE);
	CHECK_STATUS(longer_jobs_producer_attach(&longer_out, span, TDM_NULL), TDM_WRONG_TYPE);
	CHECK_STATUS(longer_jobs_consumer_attach(&longer_in, span, TDM_NULL), TDM_WRONG_TYPE);

	tap_case("a typed ring takes the untyped handles of those who know the size");
	expect_attach(span, sizeof(struct job), TDM_OK);
	expect_attach(span, sizeof(struct job) + 1, TDM_WRONG_TYPE);

	tap_case("an untyped ring takes any type of its size and alignment");
	CHECK_STATUS(tdm_mpmc_init(span.base, span.bytes, sizeof(struct job), 8, 4), TDM_OK);
	CHECK_STATUS(jobs_producer_attach(&out, span, TDM_NULL), TDM_OK);
	CHECK_STATUS(other_jobs_consumer_attach(&other_in, span, TDM_NULL), TDM_OK);
	CHECK_STATUS(longer_jobs_consumer_attach(&longer_in, span, TDM_NULL), TDM_WRONG_TYPE);
	struct job pushed;
	struct other_job popped;
	memset(&pushed, 7, sizeof(pushed));
	memset(&popped, 0, sizeof(popped));
	CHECK_STATUS(jobs_try_push(&out, &pushed), TDM_OK);
	CHECK_STATUS(other_jobs_try_pop(&other_in, &popped), TDM_OK);
	CHECK(memcmp(&pushed, &popped, sizeof(pushed)) == 0);
	CHECK(block_end(&block));

	tap_case("an untyped ring refuses a type of another alignment");
	struct wider_jobs_producer wider_out;
	struct lines_producer lines_out;
	CHECK_EQ_U64(sizeof(struct line), sizeof(struct wider_job));
	block = block_make(tdm_mpmc_size(128, 32, 4), 64);
	span = block_span(&block);
	CHECK_STATUS(tdm_mpmc_init(span.base, span.bytes, 128, 32, 4), TDM_OK);
	CHECK_STATUS(lines_producer_attach(&lines_out, span, TDM_NULL), TDM_WRONG_TYPE);
	CHECK_STATUS(wider_jobs_producer_attach(&wider_out, span, TDM_NULL), TDM_OK);
	CHECK(block_end(&block));

	tap_case("a typed ring's description says what it holds");
	struct tdm_object object = lines_object("lines", 16);
	CHECK_EQ_STR(object.name, "lines");
	CHECK_EQ_U64(object.kind, TDM_KIND_MPMC);
	CHECK_EQ_U64(object.version, TDM_MPMC_VERSION);
	CHECK_EQ_U64(object.elem_size, 128);
	CHECK_EQ_U64(object.elem_align, 64);
	CHECK_EQ_U64(object.capacity, 16);
	CHECK_EQ_U64(object.type_tag, tdm_type_tag("line"));
	CHECK(!object.plain);
	CHECK_EQ_U64(sevens_object("sevens", 2).elem_align, 8);
	CHECK_EQ_STR(tdm_kind_name(object.kind), "mpmc");
}

// --- operations ---

// A ring of numbers with a producer and two consumers; plain, or robust with a participant for each
// consumer.
struct numbers {
	struct tdm_segment segment; // robust
	struct tdm_participant self;
	struct tdm_participant peer;
	struct block block; // plain
	bool robust;
	struct tdm_span span;
	struct tdm_mpmc_producer out;
	struct tdm_mpmc_consumer in;
	struct tdm_mpmc_consumer other;
	uint64_t pushed;
};

static uint64_t robust_start; // for the rings made in segments

static enum tdm_status init_started(struct tdm_span span, const struct tdm_object *object)
{
	return tdm_mpmc_init_at_(span, object, robust_start);
}

static void numbers_start_at(struct numbers *ring, bool robust, uint64_t capacity, uint64_t start)
{
	struct tdm_object object = tdm_mpmc_object("ring", 8, capacity);
	memset(ring, 0, sizeof(*ring));
	ring->robust = robust;
	if (robust) {
		robust_start = start;
		object.init = init_started;
		if (!CHECK_STATUS(tdm_segment_create(&ring->segment, &object, 1, TDM_NULL), TDM_OK))
			abort();
		ring->span = tdm_segment_find(&ring->segment, "ring");
		CHECK_STATUS(tdm_segment_join(&ring->segment, &ring->self, "self"), TDM_OK);
		CHECK_STATUS(tdm_segment_join(&ring->segment, &ring->peer, "peer"), TDM_OK);
	} else {
		object.plain = true;
		ring->block = block_make(tdm_mpmc_size(8, 8, capacity), 8);
		ring->span = block_span(&ring->block);
		CHECK_STATUS(tdm_mpmc_init_at_(ring->span, &object, start), TDM_OK);
	}
	struct tdm_participant *self = robust ? &ring->self : TDM_NULL;
	CHECK_STATUS(tdm_mpmc_producer_attach(&ring->out, ring->span, 8, self), TDM_OK);
	CHECK_STATUS(tdm_mpmc_consumer_attach(&ring->in, ring->span, 8, self), TDM_OK);
	CHECK_STATUS(
	    tdm_mpmc_consumer_attach(&ring->other, ring->span, 8, robust ? &ring->peer : TDM_NULL),
	    TDM_OK);
	// So that what is to be delivered again is not looked for at once.
	ring->in.doubts = ring->other.doubts = 0;
}

static void numbers_start(struct numbers *ring, bool robust, uint64_t capacity)
{
	numbers_start_at(ring, robust, capacity, 0);
}

static void numbers_end(struct numbers *ring)
{
	if (ring->out.view.shm != TDM_NULL)
		CHECK_STATUS(tdm_mpmc_producer_detach(&ring->out), TDM_OK);
	if (ring->in.view.shm != TDM_NULL)
		CHECK_STATUS(tdm_mpmc_consumer_detach(&ring->in), TDM_OK);
	if (ring->other.view.shm != TDM_NULL)
		CHECK_STATUS(tdm_mpmc_consumer_detach(&ring->other), TDM_OK);
	if (!ring->robust) {
		CHECK(block_end(&ring->block));
		return;
	}
	CHECK_STATUS(tdm_participant_leave(&ring->self), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&ring->peer), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&ring->segment), TDM_OK);
}

// Pushes numbers that count from 0.
static void numbers_push(struct numbers *ring, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++, ring->pushed++)
		CHECK_STATUS(tdm_mpmc_try_push(&ring->out, &ring->pushed), TDM_OK);
}

// The consumer pops this one, within 32 polls.
static void expect_pop(struct tdm_mpmc_consumer *in, uint64_t expected)
{
	uint64_t value = ~expected;
	enum tdm_status status = TDM_EMPTY;
	for (unsigned i = 0; i < TDM_MPMC_PATIENCE_ && status == TDM_EMPTY; i++)
		status = tdm_mpmc_try_pop(in, &value);
	CHECK_STATUS(status, TDM_OK);
	CHECK_EQ_U64(value, expected);
}

// It takes this one, within 32 polls.
static struct tdm_mpmc_lease expect_take(struct tdm_mpmc_consumer *in, uint64_t expected,
					 uint32_t attempt)
{
	struct tdm_mpmc_lease lease;
	enum tdm_status status = TDM_EMPTY;
	for (unsigned i = 0; i < TDM_MPMC_PATIENCE_ && status == TDM_EMPTY; i++)
		status = tdm_mpmc_try_take(in, &lease);
	CHECK_STATUS(status, TDM_OK);
	if (CHECK(lease.elem != TDM_NULL))
		CHECK_EQ_U64(*TDM_CAST(const uint64_t *, lease.elem), expected);
	CHECK_EQ_U64(lease.attempt, attempt);
	return lease;
}

static uint64_t held(const struct numbers *ring)
{
	struct tdm_mpmc_info info;
	CHECK_STATUS(tdm_mpmc_check(ring->span, &info), TDM_OK);
	return info.held;
}

static const uint64_t starts[] = {
    0,
    (UINT64_C(1) << 32) - 5,
    (UINT64_C(1) << 56) - 5,
    (UINT64_C(1) << 63) - 5,
    UINT64_C(12345678901),
};

static void test_full_and_empty(void)
{
	for (unsigned robust = 0; robust < 2; robust++) {
		tap_case(robust ? "full and empty are exact in a robust ring"
				: "full and empty are exact in a plain ring");
		for (uint64_t capacity = 2; capacity <= 256; capacity *= 2)
			for (size_t start = 0; start < COUNT(starts); start++) {
				struct numbers ring;
				uint64_t value = 0;
				uint64_t next = 0;
				bool good = true;
				numbers_start_at(&ring, robust != 0, capacity, starts[start]);
				for (uint64_t lap = 0; lap < 3 && good; lap++) {
					good = CHECK_STATUS(tdm_mpmc_try_pop(&ring.in, &value),
							    TDM_EMPTY);
					numbers_push(&ring, capacity);
					for (uint64_t i = 0; i < 2 * capacity + 1 && good; i++) {
						good = CHECK_STATUS(
							   tdm_mpmc_try_push(&ring.out, &value),
							   TDM_FULL) &&
						       CHECK_STATUS(
							   tdm_mpmc_try_pop(i % 3 == 0 ? &ring.other
										       : &ring.in,
									    &value),
							   TDM_OK) &&
						       CHECK_EQ_U64(value, next++);
						numbers_push(&ring, 1);
					}
					for (uint64_t i = 0; i < capacity; i++)
						expect_pop(&ring.in, next++);
				}
				numbers_end(&ring);
			}
	}
}

static void test_batches(void)
{
	struct numbers ring;
	uint64_t many[100];
	uint64_t out[100];
	size_t done = 1;
	for (uint64_t i = 0; i < COUNT(many); i++)
		many[i] = i;

	tap_case("a batch of none is done at once");
	numbers_start(&ring, true, 4);
	CHECK_STATUS(tdm_mpmc_try_push_n(&ring.out, many, 0, &done), TDM_OK);
	CHECK_EQ_U64(done, 0);
	done = 1;
	CHECK_STATUS(tdm_mpmc_try_pop_n(&ring.in, out, 0, &done), TDM_OK);
	CHECK_EQ_U64(done, 0);
	done = 1;
	CHECK_STATUS(tdm_mpmc_push_n_until(&ring.out, many, 0, &done, 0), TDM_OK);
	CHECK_EQ_U64(done, 0);
	done = 1;
	CHECK_STATUS(tdm_mpmc_pop_n_until(&ring.in, out, 0, &done, 0), TDM_OK);
	CHECK_EQ_U64(done, 0);

	tap_case("a batch is what fits, and what is there");
	CHECK_STATUS(tdm_mpmc_try_push_n(&ring.out, many, 3, &done), TDM_OK);
	CHECK_EQ_U64(done, 3);
	CHECK_STATUS(tdm_mpmc_try_push_n(&ring.out, many + 3, SIZE_MAX / 8, &done), TDM_OK);
	CHECK_EQ_U64(done, 1);
	CHECK_STATUS(tdm_mpmc_try_push_n(&ring.out, many, 1, &done), TDM_FULL);
	CHECK_EQ_U64(done, 0);
	CHECK_STATUS(tdm_mpmc_try_pop_n(&ring.in, out, 3, &done), TDM_OK);
	CHECK_EQ_U64(done, 3);
	CHECK_STATUS(tdm_mpmc_try_pop_n(&ring.in, out + 3, SIZE_MAX / 8, &done), TDM_OK);
	CHECK_EQ_U64(done, 1);
	CHECK(memcmp(many, out, 4 * sizeof(out[0])) == 0);
	CHECK_STATUS(tdm_mpmc_try_pop_n(&ring.in, out, 1, &done), TDM_EMPTY);
	CHECK_EQ_U64(done, 0);
	numbers_end(&ring);

	tap_case("a push of many goes in runs of 32, a pop brings 32 at most");
	numbers_start(&ring, true, 128);
	CHECK_STATUS(tdm_mpmc_try_push_n(&ring.out, many, 100, &done), TDM_OK);
	CHECK_EQ_U64(done, 100);
	for (size_t popped = 0; popped < 100; popped += done) {
		CHECK_STATUS(tdm_mpmc_try_pop_n(&ring.in, out + popped, 100 - popped, &done),
			     TDM_OK);
		if (!CHECK_EQ_U64(done, popped < 96 ? 32 : 4))
			break;
	}
	CHECK(memcmp(many, out, sizeof(out)) == 0);

	tap_case("a batch ends before what somebody has taken");
	numbers_end(&ring);
	numbers_start(&ring, true, 8);
	numbers_push(&ring, 8);
	expect_pop(&ring.in, 0);
	expect_pop(&ring.in, 1);
	struct tdm_mpmc_lease lease = expect_take(&ring.other, 2, 1);
	CHECK_STATUS(tdm_mpmc_try_pop_n(&ring.in, out, 8, &done), TDM_OK);
	CHECK_EQ_U64(done, 5);
	CHECK_EQ_U64(out[0], 3);
	CHECK_STATUS(tdm_mpmc_try_push_n(&ring.out, many, 8, &done), TDM_OK);
	CHECK_EQ_U64(done, 2);
	CHECK_STATUS(tdm_mpmc_try_push(&ring.out, many), TDM_FULL);
	CHECK_STATUS(tdm_mpmc_ack(&ring.other, &lease), TDM_OK);
	CHECK_STATUS(tdm_mpmc_try_push_n(&ring.out, many, 8, &done), TDM_OK);
	CHECK_EQ_U64(done, 6);
	numbers_end(&ring);
}

static void test_refusals(void)
{
	struct numbers ring;
	struct tdm_mpmc_lease lease;
	uint64_t value = 7;

	tap_case("nothing can be taken from a plain ring, acknowledged or given back");
	numbers_start(&ring, false, 4);
	numbers_push(&ring, 1);
	memset(&lease, 0x5a, sizeof(lease));
	CHECK_STATUS(tdm_mpmc_try_take(&ring.in, &lease), TDM_INVALID);
	CHECK(lease.elem == TDM_NULL);
	CHECK_STATUS(tdm_mpmc_take(&ring.in, &lease), TDM_INVALID);
	CHECK_STATUS(tdm_mpmc_take_until(&ring.in, &lease, 0), TDM_INVALID);
	CHECK_STATUS(tdm_mpmc_ack(&ring.in, &lease), TDM_INVALID);
	CHECK_STATUS(tdm_mpmc_nack(&ring.in, &lease), TDM_INVALID);
	expect_pop(&ring.in, 0);

	tap_case("how the others are cannot be told in a plain ring");
	CHECK_STATUS(tdm_mpmc_producer_peers(&ring.out), TDM_OK);
	CHECK_STATUS(tdm_mpmc_consumer_peers(&ring.in), TDM_OK);
	numbers_end(&ring);

	tap_case("a handle answers TDM_INVALID after it was detached");
	for (unsigned robust = 0; robust < 2; robust++) {
		numbers_start(&ring, robust != 0, 4);
		numbers_end(&ring);
		all_of_producer_untyped(&ring.out, TDM_INVALID);
		all_of_consumer_untyped(&ring.in, TDM_INVALID);
	}

	tap_case("a handle answers TDM_INVALID after it failed to attach");
	TDM_ALIGNAS(128) static unsigned char zero[1024];
	struct tdm_span span = tdm_memory(zero, sizeof(zero));
	CHECK_STATUS(tdm_mpmc_producer_attach(&ring.out, span, 8, TDM_NULL), TDM_NOT_INITIALIZED);
	CHECK_STATUS(tdm_mpmc_consumer_attach(&ring.in, span, 8, TDM_NULL), TDM_NOT_INITIALIZED);
	all_of_producer_untyped(&ring.out, TDM_INVALID);
	all_of_consumer_untyped(&ring.in, TDM_INVALID);
	struct jobs_producer jobs_out;
	struct jobs_consumer jobs_in;
	CHECK_STATUS(tdm_mpmc_init(zero, sizeof(zero), 8, 8, 4), TDM_OK);
	CHECK_STATUS(jobs_producer_attach(&jobs_out, span, TDM_NULL), TDM_WRONG_TYPE);
	CHECK_STATUS(jobs_consumer_attach(&jobs_in, span, TDM_NULL), TDM_WRONG_TYPE);
	all_of_producer_jobs(&jobs_out, TDM_INVALID);
	all_of_consumer_jobs(&jobs_in, TDM_INVALID);

	tap_case("a copy of a handle does what the handle does");
	numbers_start(&ring, true, 4);
	struct tdm_mpmc_producer out = ring.out;
	struct tdm_mpmc_consumer in = ring.in;
	CHECK_STATUS(tdm_mpmc_try_push(&out, &value), TDM_OK);
	CHECK_STATUS(tdm_mpmc_try_push(&ring.out, &value), TDM_OK);
	CHECK_STATUS(tdm_mpmc_try_take(&in, &lease), TDM_OK);
	CHECK_STATUS(tdm_mpmc_ack(&ring.in, &lease), TDM_OK);
	expect_pop(&in, 7);
	numbers_end(&ring);
}

// --- taking ---

static void test_leases(void)
{
	struct numbers ring;
	struct tdm_mpmc_lease leases[TDM_MPMC_TAKES + 1];
	struct tdm_mpmc_lease lease;
	uint64_t value = 0;

	tap_case("what is taken stays in the ring, where it lies, until it is acknowledged");
	numbers_start(&ring, true, 2);
	numbers_push(&ring, 2);
	lease = expect_take(&ring.in, 0, 1);
	CHECK_EQ_U64(lease.position, 0);
	CHECK_EQ_U64(held(&ring), 1);
	expect_pop(&ring.other, 1);
	CHECK_STATUS(tdm_mpmc_try_push(&ring.out, &value), TDM_FULL);
	CHECK_STATUS(tdm_mpmc_try_pop(&ring.other, &value), TDM_EMPTY);
	CHECK_STATUS(tdm_mpmc_ack(&ring.in, &lease), TDM_OK);
	CHECK_EQ_U64(held(&ring), 0);
	numbers_push(&ring, 2);
	expect_pop(&ring.other, 2);
	expect_pop(&ring.in, 3);
	numbers_end(&ring);

	tap_case("eight can be taken at once, and a ninth when one of them was acknowledged");
	numbers_start(&ring, true, 16);
	numbers_push(&ring, 16);
	for (uint32_t i = 0; i < TDM_MPMC_TAKES; i++)
		leases[i] = expect_take(&ring.in, i, 1);
	for (unsigned i = 0; i < 2 * TDM_MPMC_PATIENCE_; i++)
		CHECK_STATUS(tdm_mpmc_try_take(&ring.in, &lease), TDM_BUSY);
	CHECK(lease.elem == TDM_NULL);
	CHECK_STATUS(tdm_mpmc_take(&ring.in, &lease), TDM_BUSY);
	CHECK_EQ_U64(held(&ring), 8);
	CHECK_STATUS(tdm_mpmc_ack(&ring.in, &leases[5]), TDM_OK);
	leases[5] = expect_take(&ring.in, 8, 1);
	CHECK_STATUS(tdm_mpmc_try_take(&ring.in, &lease), TDM_BUSY);

	tap_case("the other consumer may take as many, and popping goes on");
	leases[8] = expect_take(&ring.other, 9, 1);
	expect_pop(&ring.in, 10);
	CHECK_STATUS(tdm_mpmc_ack(&ring.other, &leases[8]), TDM_OK);

	tap_case("leases may be acknowledged in any order");
	static const uint32_t order[] = {3, 7, 0, 5, 1, 6, 2, 4};
	for (size_t i = 0; i < COUNT(order); i++) {
		CHECK_STATUS(tdm_mpmc_ack(&ring.in, &leases[order[i]]), TDM_OK);
		CHECK_EQ_U64(held(&ring), 7 - i);
	}

	tap_case("a second acknowledgement is refused, and so is giving back afterwards");
	for (size_t i = 0; i < COUNT(order); i++) {
		CHECK_STATUS(tdm_mpmc_ack(&ring.in, &leases[i]), TDM_INVALID);
		CHECK_STATUS(tdm_mpmc_nack(&ring.in, &leases[i]), TDM_INVALID);
	}
	numbers_end(&ring);

	tap_case("what was given back can neither be acknowledged nor given back again");
	numbers_start(&ring, true, 4);
	numbers_push(&ring, 1);
	lease = expect_take(&ring.in, 0, 1);
	CHECK_STATUS(tdm_mpmc_nack(&ring.in, &lease), TDM_OK);
	CHECK_STATUS(tdm_mpmc_ack(&ring.in, &lease), TDM_INVALID);
	CHECK_STATUS(tdm_mpmc_nack(&ring.in, &lease), TDM_INVALID);
	CHECK_EQ_U64(held(&ring), 1);

	tap_case("nor by its first taker when somebody else has it");
	leases[0] = expect_take(&ring.other, 0, 2);
	CHECK_STATUS(tdm_mpmc_ack(&ring.in, &lease), TDM_INVALID);
	CHECK_STATUS(tdm_mpmc_nack(&ring.in, &lease), TDM_INVALID);
	CHECK_STATUS(tdm_mpmc_ack(&ring.other, &leases[0]), TDM_OK);
	CHECK_EQ_U64(held(&ring), 0);

	tap_case("a lease of somebody else, of a later lap, or of nobody is refused");
	numbers_push(&ring, 4);
	lease = expect_take(&ring.in, 1, 1);
	leases[0] = expect_take(&ring.other, 2, 1);
	CHECK_STATUS(tdm_mpmc_ack(&ring.in, &leases[0]), TDM_INVALID);
	CHECK_STATUS(tdm_mpmc_nack(&ring.other, &lease), TDM_INVALID);
	struct tdm_mpmc_lease forged = lease;
	forged.position += 4;
	CHECK_STATUS(tdm_mpmc_ack(&ring.in, &forged), TDM_INVALID);
	static const uint32_t words[] = {0, 1, 2, 3, 11, 12, 1000, UINT32_MAX};
	for (size_t i = 0; i < COUNT(words); i++) {
		forged = lease;
		forged.word = words[i];
		CHECK_STATUS(tdm_mpmc_ack(&ring.in, &forged), TDM_INVALID);
		CHECK_STATUS(tdm_mpmc_nack(&ring.in, &forged), TDM_INVALID);
	}
	memset(&forged, 0, sizeof(forged));
	CHECK_STATUS(tdm_mpmc_ack(&ring.in, &forged), TDM_INVALID);
	CHECK_EQ_U64(held(&ring), 2);
	CHECK_STATUS(tdm_mpmc_ack(&ring.in, &lease), TDM_OK);
	CHECK_STATUS(tdm_mpmc_ack(&ring.other, &leases[0]), TDM_OK);
	numbers_end(&ring);
}

static void test_again(void)
{
	struct numbers ring;
	struct tdm_mpmc_lease leases[TDM_MPMC_TAKES];
	struct tdm_mpmc_lease lease;
	struct tdm_mpmc_info info;
	uint64_t value = 0;
	size_t done = 0;

	tap_case("what was given back comes again when there is nothing else, within 32 polls");
	for (unsigned way = 0; way < 4; way++) {
		numbers_start(&ring, true, 4);
		numbers_push(&ring, 2);
		lease = expect_take(&ring.in, 0, 1);
		CHECK_STATUS(tdm_mpmc_nack(&ring.in, &lease), TDM_OK);
		expect_pop(&ring.in, 1);
		switch (way) {
		case 0:
			expect_pop(&ring.other, 0);
			break;
		case 1:
			expect_pop(&ring.in, 0);
			break;
		case 2:
			lease = expect_take(&ring.other, 0, 2);
			CHECK_EQ_U64(lease.position, 0);
			CHECK_STATUS(tdm_mpmc_ack(&ring.other, &lease), TDM_OK);
			break;
		default:
			CHECK_STATUS(
			    tdm_mpmc_pop_n_until(&ring.other, &value, 1, &done, 0) == TDM_OK
				? TDM_OK
				: tdm_mpmc_pop_n_until(&ring.other, &value, 1, &done, TDM_FOREVER),
			    TDM_OK);
			CHECK_EQ_U64(value, 0);
			break;
		}
		CHECK_EQ_U64(held(&ring), 0);
		for (unsigned i = 0; i < 2 * TDM_MPMC_PATIENCE_; i++) {
			CHECK_STATUS(tdm_mpmc_try_pop(&ring.in, &value), TDM_EMPTY);
			CHECK_STATUS(tdm_mpmc_try_take(&ring.other, &lease), TDM_EMPTY);
		}
		numbers_end(&ring);
	}

	tap_case("the oldest comes first, for both ways");
	numbers_start(&ring, true, 8);
	numbers_push(&ring, 8);
	for (uint32_t i = 0; i < 8; i++)
		leases[i] = expect_take(i % 2 == 0 ? &ring.in : &ring.other, i, 1);
	static const uint32_t order[] = {6, 3, 0, 5, 1, 7, 2, 4};
	for (size_t i = 0; i < COUNT(order); i++)
		CHECK_STATUS(
		    tdm_mpmc_nack(order[i] % 2 == 0 ? &ring.in : &ring.other, &leases[order[i]]),
		    TDM_OK);
	CHECK_EQ_U64(held(&ring), 8);
	for (uint32_t i = 0; i < 8; i++)
		if (i % 3 == 0) {
			expect_pop(&ring.in, i);
		} else {
			lease = expect_take(&ring.other, i, 2);
			CHECK_STATUS(tdm_mpmc_ack(&ring.other, &lease), TDM_OK);
		}
	numbers_end(&ring);

	tap_case("what a taker wrote into the element is there the next time");
	numbers_start(&ring, true, 2);
	numbers_push(&ring, 1);
	lease = expect_take(&ring.in, 0, 1);
	*TDM_CAST(uint64_t *, lease.elem) = 42;
	CHECK_STATUS(tdm_mpmc_nack(&ring.in, &lease), TDM_OK);
	lease = expect_take(&ring.other, 42, 2);
	*TDM_CAST(uint64_t *, lease.elem) = 43;
	CHECK_STATUS(tdm_mpmc_nack(&ring.other, &lease), TDM_OK);
	expect_pop(&ring.in, 43);
	numbers_end(&ring);

	tap_case("attempts are counted up to 256, and start again with the next element");
	numbers_start(&ring, true, 2);
	for (unsigned round = 0; round < 2; round++) {
		numbers_push(&ring, 1);
		for (uint32_t attempt = 1; attempt <= 300; attempt++) {
			struct tdm_mpmc_consumer *in = attempt % 3 == 0 ? &ring.other : &ring.in;
			lease = expect_take(in, round, attempt < 256 ? attempt : 256);
			if (!CHECK_STATUS(attempt < 300 ? tdm_mpmc_nack(in, &lease)
							: tdm_mpmc_ack(in, &lease),
					  TDM_OK))
				break;
		}
	}
	numbers_push(&ring, 2);
	lease = expect_take(&ring.in, 2, 1);
	CHECK_STATUS(tdm_mpmc_ack(&ring.in, &lease), TDM_OK);
	numbers_end(&ring);

	tap_case("what has been delivered again and again is not in the way of the next lap");
	for (size_t start = 0; start < COUNT(starts); start++) {
		numbers_start_at(&ring, true, 2, starts[start]);
		for (uint64_t i = 0; i < 12; i++) {
			numbers_push(&ring, 1);
			lease = expect_take(&ring.in, i, 1);
			CHECK_EQ_U64(lease.position, starts[start] + i);
			CHECK_STATUS(tdm_mpmc_nack(&ring.in, &lease), TDM_OK);
			lease = expect_take(&ring.other, i, 2);
			CHECK_EQ_U64((lease.position ^ (starts[start] + i)) & TDM_MPMC_POSITION_,
				     0);
			CHECK_STATUS(tdm_mpmc_nack(&ring.other, &lease), TDM_OK);
			if (i % 2 == 0)
				expect_pop(&ring.in, i);
			else
				CHECK_STATUS(
				    tdm_mpmc_ack(&ring.in,
						 (lease = expect_take(&ring.in, i, 3), &lease)),
				    TDM_OK);
		}
		CHECK_STATUS(tdm_mpmc_check(ring.span, &info), TDM_OK);
		CHECK_EQ_U64(info.held, 0);
		CHECK_EQ_U64(info.pushed - starts[start], 12);
		numbers_end(&ring);
	}

	tap_case("who gave eight back that somebody else has now can still take the next");
	numbers_start(&ring, true, 16);
	numbers_push(&ring, 8);
	for (uint32_t i = 0; i < 8; i++)
		leases[i] = expect_take(&ring.in, i, 1);
	for (uint32_t i = 0; i < 8; i++)
		CHECK_STATUS(tdm_mpmc_nack(&ring.in, &leases[i]), TDM_OK);
	for (uint32_t i = 0; i < 8; i++)
		leases[i] = expect_take(&ring.other, i, 2);
	numbers_push(&ring, 1);
	lease = expect_take(&ring.in, 8, 1);
	CHECK_STATUS(tdm_mpmc_ack(&ring.in, &lease), TDM_OK);

	tap_case("and what that one gives back then is delivered all the same");
	for (uint32_t i = 0; i < 8; i++)
		CHECK_STATUS(tdm_mpmc_nack(&ring.other, &leases[i]), TDM_OK);
	for (uint32_t i = 0; i < 8; i++) {
		lease = expect_take(&ring.in, i, 3);
		CHECK_STATUS(tdm_mpmc_ack(&ring.in, &lease), TDM_OK);
	}
	CHECK_EQ_U64(held(&ring), 0);
	numbers_end(&ring);

	tap_case("who detaches gives back what was taken, to the others and to itself");
	for (unsigned to_itself = 0; to_itself < 2; to_itself++) {
		numbers_start(&ring, true, 8);
		numbers_push(&ring, 8);
		for (uint32_t i = 0; i < 8; i++)
			leases[i] = expect_take(&ring.in, i, 1);
		CHECK_STATUS(tdm_mpmc_ack(&ring.in, &leases[2]), TDM_OK);
		CHECK_STATUS(tdm_mpmc_consumer_detach(&ring.in), TDM_OK);
		CHECK_STATUS(tdm_mpmc_ack(&ring.in, &leases[0]), TDM_INVALID);
		CHECK_EQ_U64(held(&ring), 7);
		struct tdm_mpmc_consumer *in = &ring.other;
		if (to_itself) {
			CHECK_STATUS(tdm_mpmc_consumer_attach(&ring.in, ring.span, 8, &ring.self),
				     TDM_OK);
			CHECK_STATUS(tdm_mpmc_ack(&ring.in, &leases[0]), TDM_INVALID);
			CHECK_STATUS(tdm_mpmc_nack(&ring.in, &leases[0]), TDM_INVALID);
			in = &ring.in;
		}
		uint64_t seen = 0;
		for (uint32_t i = 0; i < 7; i++) {
			enum tdm_status status = TDM_EMPTY;
			for (unsigned k = 0; k < TDM_MPMC_PATIENCE_ && status != TDM_OK; k++)
				status = tdm_mpmc_try_take(in, &lease);
			if (!CHECK_STATUS(status, TDM_OK))
				break;
			seen |= UINT64_C(1) << *TDM_CAST(const uint64_t *, lease.elem);
			CHECK_EQ_U64(lease.attempt, 2);
			CHECK_STATUS(tdm_mpmc_ack(in, &lease), TDM_OK);
		}
		CHECK_EQ_U64(seen, 0xfb);
		CHECK_EQ_U64(held(&ring), 0);
		numbers_end(&ring);
	}
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
	struct tdm_mpmc_lease lease;
	uint64_t values[64] = {0};
	size_t done = 0;
	numbers_start(&ring, true, 64);
	struct tdm_event *not_empty = &shm_of(ring.span)->not_empty;
	struct tdm_event *not_full = &shm_of(ring.span)->not_full;

	tap_case("each way to push wakes a waiting consumer");
	for (unsigned way = 0; way < 5; way++) {
		(void)tdm_event_prepare(not_empty);
		switch (way) {
		case 0:
			CHECK_STATUS(tdm_mpmc_try_push(&ring.out, values), TDM_OK);
			break;
		case 1:
			CHECK_STATUS(tdm_mpmc_push(&ring.out, values), TDM_OK);
			break;
		case 2:
			CHECK_STATUS(tdm_mpmc_push_until(&ring.out, values, 0), TDM_OK);
			break;
		case 3:
			CHECK_STATUS(tdm_mpmc_try_push_n(&ring.out, values, 5, &done), TDM_OK);
			break;
		default:
			CHECK_STATUS(tdm_mpmc_push_n_until(&ring.out, values, 64, &done, 0),
				     TDM_TIMED_OUT);
			CHECK_EQ_U64(done, 56);
			break;
		}
		CHECK(!armed(not_empty));
	}

	tap_case("each way to pop wakes a waiting producer");
	for (unsigned way = 0; way < 6; way++) {
		(void)tdm_event_prepare(not_full);
		switch (way) {
		case 0:
			CHECK_STATUS(tdm_mpmc_try_pop(&ring.in, values), TDM_OK);
			break;
		case 1:
			CHECK_STATUS(tdm_mpmc_pop(&ring.in, values), TDM_OK);
			break;
		case 2:
			CHECK_STATUS(tdm_mpmc_pop_until(&ring.in, values, 0), TDM_OK);
			break;
		case 3:
			CHECK_STATUS(tdm_mpmc_try_pop_n(&ring.in, values, 5, &done), TDM_OK);
			break;
		case 4:
			CHECK_STATUS(tdm_mpmc_pop_n_until(&ring.in, values, 5, &done, 0), TDM_OK);
			break;
		default:
			CHECK_STATUS(tdm_mpmc_try_take(&ring.in, &lease), TDM_OK);
			CHECK(armed(not_full)); // there is no room yet
			CHECK_STATUS(tdm_mpmc_ack(&ring.in, &lease), TDM_OK);
			break;
		}
		CHECK(!armed(not_full));
	}

	tap_case("what is given back wakes a waiting consumer");
	CHECK_STATUS(tdm_mpmc_try_take(&ring.in, &lease), TDM_OK);
	(void)tdm_event_prepare(not_empty);
	CHECK_STATUS(tdm_mpmc_nack(&ring.in, &lease), TDM_OK);
	CHECK(!armed(not_empty));

	tap_case("what is popped again wakes a waiting producer");
	while (tdm_mpmc_try_pop_n(&ring.in, values, 64, &done) == TDM_OK)
		continue;
	(void)tdm_event_prepare(not_full);
	expect_pop(&ring.in, 0);
	CHECK_EQ_U64(held(&ring), 0);
	CHECK(!armed(not_full));

	tap_case("who detaches wakes the other side, and other consumers, too");
	(void)tdm_event_prepare(not_full);
	(void)tdm_event_prepare(not_empty);
	CHECK_STATUS(tdm_mpmc_consumer_detach(&ring.in), TDM_OK);
	CHECK(!armed(not_full));
	CHECK(!armed(not_empty));
	(void)tdm_event_prepare(not_empty);
	CHECK_STATUS(tdm_mpmc_producer_detach(&ring.out), TDM_OK);
	CHECK(!armed(not_empty));

	tap_case("recover wakes both sides");
	uint32_t recovered = 1;
	(void)tdm_event_prepare(not_full);
	(void)tdm_event_prepare(not_empty);
	CHECK_STATUS(tdm_mpmc_recover(ring.span, &ring.self, &recovered), TDM_OK);
	CHECK_EQ_U64(recovered, 0);
	CHECK(!armed(not_full));
	CHECK(!armed(not_empty));
	numbers_end(&ring);
}

// --- memory that somebody has written over ---

static void test_corrupt(void)
{
	struct numbers ring;
	uint64_t value = 0;

	tap_case("impossible sequences are reported, and nothing is pushed or popped");
	for (unsigned robust = 0; robust < 2; robust++) {
		numbers_start(&ring, robust != 0, 2);
		uint64_t first =
		    robust ? 768 + 128 * tdm_load_relaxed_u64(&shm_of(ring.span)->constant.seats)
			   : 768;
		tdm_atomic_u64 *sequence = TDM_AT_(tdm_atomic_u64, ring.span.base, first);
		tdm_store_relaxed_u64(sequence, UINT64_C(1) << 40);
		CHECK_STATUS(tdm_mpmc_try_push(&ring.out, &value), TDM_CORRUPT);
		CHECK_STATUS(tdm_mpmc_push(&ring.out, &value), TDM_CORRUPT);
		size_t done = 1;
		CHECK_STATUS(tdm_mpmc_try_push_n(&ring.out, &value, 1, &done), TDM_CORRUPT);
		CHECK_EQ_U64(done, 0);
		tdm_store_relaxed_u64(&shm_of(ring.span)->tail, 4);
		tdm_atomic_u64 *second = TDM_AT_(tdm_atomic_u64, ring.span.base, first + 16);
		tdm_store_relaxed_u64(second, UINT64_C(1) << 40);
		CHECK_STATUS(tdm_mpmc_try_pop(&ring.in, &value), TDM_CORRUPT);
		done = 1;
		CHECK_STATUS(tdm_mpmc_try_pop_n(&ring.in, &value, 1, &done), TDM_CORRUPT);
		CHECK_EQ_U64(done, 0);
		numbers_end(&ring);
	}

	tap_case("with any words in memory, everything comes back");
	uint64_t random = 1;
	for (unsigned round = 0; round < 40; round++) {
		static const uint64_t edges[] = {0,
						 1,
						 3,
						 4,
						 5,
						 UINT64_MAX,
						 UINT64_MAX - 3,
						 UINT64_C(1) << 56,
						 UINT64_C(1) << 63,
						 UINT64_C(7) << 61,
						 UINT64_C(31) << 56 | UINT64_C(7) << 61};
		numbers_start(&ring, round % 4 == 0, 4);
		uint64_t first = ring.robust ? 768 + 128 * 64 : 768;
		tdm_atomic_u64 *words[6 + 2 * (2 + TDM_MPMC_WORDS_)];
		size_t count = 0;
		words[count++] = &shm_of(ring.span)->head;
		words[count++] = &shm_of(ring.span)->tail;
		for (uint64_t i = 0; i < 4; i++)
			words[count++] = TDM_AT_(tdm_atomic_u64, ring.span.base, first + 16 * i);
		for (uint64_t i = 0; ring.robust && i < 2 * (2 + TDM_MPMC_WORDS_); i++)
			words[count++] =
			    TDM_AT_(tdm_atomic_u64, ring.span.base, 768 + i % 2 * 128 + i / 2 * 8);
		for (size_t i = 0; i < count; i++)
			if (random_below(&random, 3) == 0)
				tdm_store_relaxed_u64(words[i],
						      edges[random_below(&random, COUNT(edges))]);
		uint64_t many[9] = {0};
		size_t done = 100;
		struct tdm_mpmc_lease lease;
		struct tdm_mpmc_info info;
		uint32_t recovered;
		enum tdm_status status = tdm_mpmc_try_push_n(&ring.out, many, COUNT(many), &done);
		CHECK(done <= COUNT(many));
		// Once is enough of the 65536 attempts before somebody says TDM_CORRUPT.
		for (unsigned i = 0; i < TDM_MPMC_PATIENCE_ && status != TDM_CORRUPT; i++) {
			status = tdm_mpmc_try_pop_n(&ring.in, many, COUNT(many), &done);
			CHECK(done <= COUNT(many));
			if (tdm_mpmc_try_take(&ring.other, &lease) == TDM_OK) {
				CHECK(lease.word >= TDM_MPMC_TAKE_ && lease.word < TDM_MPMC_WORDS_);
				if (i % 2 == 0)
					(void)!tdm_mpmc_ack(&ring.other, &lease);
				else
					(void)!tdm_mpmc_nack(&ring.other, &lease);
			}
		}
		if (status != TDM_CORRUPT) {
			(void)!tdm_mpmc_pop_until(&ring.in, many, 0);
			(void)!tdm_mpmc_push_until(&ring.out, many, 0);
			(void)!tdm_mpmc_take_until(&ring.in, &lease, 0);
		}
		CHECK_STATUS(
		    tdm_mpmc_recover(ring.span, ring.robust ? &ring.self : TDM_NULL, &recovered),
		    TDM_OK);
		CHECK_STATUS(tdm_mpmc_check(ring.span, &info), TDM_OK);
		numbers_end(&ring);
	}
}

// --- everything against the model ---

static unsigned char *scratch; // for the elements of one batch
#define SCRATCH_BYTES (UINT64_C(1) << 21)

typedef bool walker(struct tdm_span span, struct tdm_participant *self, uint64_t elem_size,
		    uint64_t capacity, uint64_t start, uint64_t seed, unsigned char *scratch);

// The ring is made with `object` and walked by `walk`.
static bool walk_plain(struct tdm_object object, uint64_t start, uint64_t seed, walker *walk)
{
	object.plain = true;
	struct block block = block_make(tdm_mpmc_object_size_(&object), object.elem_align);
	struct tdm_span span = block_span(&block);
	bool good = CHECK_STATUS(tdm_mpmc_init_at_(span, &object, start), TDM_OK) &&
		    walk(span, TDM_NULL, object.elem_size, object.capacity, start, seed, scratch);
	return CHECK(block_end(&block)) && good;
}

static bool walk_robust(struct tdm_object object, uint64_t start, uint64_t seed, walker *walk)
{
	struct tdm_segment segment;
	struct tdm_participant self;
	robust_start = start;
	object.init = init_started;
	object.name = "ring";
	if (!CHECK_STATUS(tdm_segment_create(&segment, &object, 1, TDM_NULL), TDM_OK) ||
	    !CHECK_STATUS(tdm_segment_join(&segment, &self, "walker"), TDM_OK))
		return false;
	bool good = walk(tdm_segment_find(&segment, "ring"), &self, object.elem_size,
			 object.capacity, start, seed, scratch);
	return CHECK_STATUS(tdm_participant_leave(&self), TDM_OK) &&
	       CHECK_STATUS(tdm_segment_close(&segment), TDM_OK) && good;
}

static void test_model(void)
{
	static const uint64_t sizes[] = {1, 7, 8, 24, 100, 4096};
	static const uint64_t aligns[] = {1, 8, 64, 128, 4096};
	static const uint64_t capacities[] = {2, 4, 8, 64, 256};
	uint64_t seed = 1;
	scratch = TDM_CAST(unsigned char *, aligned_alloc(4096, SCRATCH_BYTES));
	if (scratch == TDM_NULL)
		abort();
	for (unsigned robust = 0; robust < 2; robust++) {
		bool (*const made)(struct tdm_object object, uint64_t start, uint64_t seed,
				   walker * walk) = robust ? walk_robust : walk_plain;
		tap_case(robust ? "an untyped robust ring does what the model does, for all sizes"
				: "an untyped plain ring does what the model does, for all sizes");
		for (size_t size = 0; size < COUNT(sizes); size++)
			for (size_t align = 0; align < COUNT(aligns); align++)
				for (size_t capacity = 0; capacity < COUNT(capacities);
				     capacity++) {
					if ((capacities[capacity] + 4) * sizes[size] >
					    SCRATCH_BYTES / 8)
						continue;
					struct tdm_object object = tdm_mpmc_object(
					    "ring", sizes[size], capacities[capacity]);
					object.elem_align = aligns[align];
					seed++;
					if (!made(object, starts[seed % COUNT(starts)], seed,
						  walk_untyped))
						return;
				}

		tap_case(robust ? "typed robust rings do what the model does"
				: "typed plain rings do what the model does");
		for (size_t capacity = 0; capacity < COUNT(capacities); capacity++)
			for (size_t n = 0; n < COUNT(starts); n++) {
				uint64_t elems = capacities[capacity];
				uint64_t start = starts[n];
				if (!made(sevens_object("", elems), start, ++seed, walk_sevens) ||
				    !made(jobs_object("", elems), start, ++seed, walk_jobs) ||
				    !made(lines_object("", elems), start, ++seed, walk_lines) ||
				    !made(sheets_object("", elems), start, ++seed, walk_sheets))
					return;
			}
	}
	free(scratch);
}

// --- looking ---

static void test_check(void)
{
	struct tdm_segment segment;
	struct tdm_participant self;
	struct tdm_mpmc_info info;
	struct jobs_producer out;
	struct jobs_consumer in;
	struct jobs_lease lease;
	struct job job;
	memset(&job, 0, sizeof(job));
	struct tdm_object object = jobs_object("jobs", 8);
	CHECK_STATUS(tdm_segment_create(&segment, &object, 1, TDM_NULL), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&segment, &self, "test"), TDM_OK);
	struct tdm_span span = tdm_segment_find(&segment, "jobs");

	tap_case("check says what a ring is, how full it is, and how many hold the roles");
	CHECK_STATUS(tdm_mpmc_check(span, &info), TDM_OK);
	CHECK_EQ_U64(info.elem_size, 24);
	CHECK_EQ_U64(info.capacity, 8);
	CHECK_EQ_U64(info.type_tag, tdm_type_tag("struct job"));
	CHECK(!info.plain);
	CHECK_EQ_U64(info.pushed, 0);
	CHECK_EQ_U64(info.popped, 0);
	CHECK_EQ_U64(info.held, 0);
	CHECK_EQ_U64(info.producers, 0);
	CHECK_EQ_U64(info.consumers, 0);
	CHECK_STATUS(jobs_producer_attach(&out, span, &self), TDM_OK);
	CHECK_STATUS(tdm_mpmc_producer_peers(&out.ring), TDM_NOT_FOUND);
	CHECK_STATUS(jobs_consumer_attach(&in, span, &self), TDM_OK);
	CHECK_STATUS(tdm_mpmc_producer_peers(&out.ring), TDM_OK);
	for (unsigned i = 0; i < 11; i++) {
		CHECK_STATUS(jobs_try_push(&out, &job), TDM_OK);
		if (i < 7)
			CHECK_STATUS(jobs_try_pop(&in, &job), TDM_OK);
	}
	CHECK_STATUS(jobs_try_take(&in, &lease), TDM_OK);
	CHECK_STATUS(tdm_mpmc_check(span, &info), TDM_OK);
	CHECK_EQ_U64(info.pushed, 11);
	CHECK_EQ_U64(info.popped, 8);
	CHECK_EQ_U64(info.held, 1);
	CHECK_EQ_U64(info.producers, 1);
	CHECK_EQ_U64(info.consumers, 1);
	CHECK_STATUS(tdm_mpmc_consumer_peers(&in.ring), TDM_OK);
	CHECK_STATUS(jobs_producer_detach(&out), TDM_OK);
	CHECK_STATUS(tdm_mpmc_consumer_peers(&in.ring), TDM_PEER_LEFT);
	CHECK_STATUS(tdm_mpmc_check(span, &info), TDM_OK);
	CHECK_EQ_U64(info.producers, 0);
	CHECK_EQ_U64(info.pushed, 11);

	tap_case("recover finds nothing to do where nobody has died, and one that was given back");
	uint32_t recovered = 1;
	CHECK_STATUS(tdm_mpmc_recover(span, &self, &recovered), TDM_OK);
	CHECK_EQ_U64(recovered, 0);
	CHECK_STATUS(jobs_nack(&in, &lease), TDM_OK);
	CHECK_STATUS(tdm_mpmc_recover(span, &self, &recovered), TDM_OK);
	CHECK_EQ_U64(recovered, 1);

	tap_case("a read-only mapping can be checked, and nothing else");
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", segment.fd);
	struct tdm_segment reader;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	if (CHECK_STATUS(tdm_segment_open_fd(&reader, fd, TDM_MAP_READ_ONLY), TDM_OK)) {
		struct tdm_span read_only = tdm_segment_find(&reader, "jobs");
		struct tdm_mpmc_producer bare_out;
		struct jobs_producer no_out;
		struct jobs_consumer no_in;
		CHECK_STATUS(tdm_mpmc_check(read_only, &info), TDM_OK);
		CHECK_EQ_U64(info.pushed, 11);
		CHECK_EQ_U64(info.popped, 8);
		CHECK_EQ_U64(info.held, 1);
		CHECK_EQ_U64(info.capacity, 8);
		CHECK_EQ_U64(info.consumers, 1);
		CHECK_STATUS(jobs_producer_attach(&no_out, read_only, &self), TDM_READ_ONLY);
		CHECK_STATUS(jobs_consumer_attach(&no_in, read_only, &self), TDM_READ_ONLY);
		CHECK_STATUS(tdm_mpmc_producer_attach(&bare_out, read_only, 24, TDM_NULL),
			     TDM_READ_ONLY);
		CHECK_STATUS(tdm_mpmc_recover(read_only, &self, &recovered), TDM_READ_ONLY);
		CHECK_EQ_U64(recovered, 0);
		CHECK_STATUS(tdm_segment_close(&reader), TDM_OK);
	}
	CHECK_STATUS(jobs_consumer_detach(&in), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);

	tap_case("check and recover tell a plain ring by its flag");
	struct numbers ring;
	numbers_start(&ring, false, 2);
	CHECK_STATUS(tdm_mpmc_check(ring.span, &info), TDM_OK);
	CHECK(info.plain);
	CHECK_EQ_U64(info.type_tag, 0);
	CHECK_EQ_U64(info.producers, 0);
	CHECK_STATUS(tdm_mpmc_recover(ring.span, TDM_NULL, &recovered), TDM_OK);
	CHECK_EQ_U64(recovered, 0);
	numbers_end(&ring);
}

int main(void)
{
	alarm(120);
	test_layout();
	test_sizes();
	test_attach();
	test_participants();
	test_types();
	test_full_and_empty();
	test_batches();
	test_refusals();
	test_leases();
	test_again();
	test_notifies();
	test_corrupt();
	test_model();
	test_check();
	return tap_done();
}
