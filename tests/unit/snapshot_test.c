// SPDX-License-Identifier: BSD-2-Clause
#include "../support/count_rests.h"

#include <tandem/lock/snapshot.h>

#define FORM(op) tdm_snapshot_##op
#define LOCK_OF(value) (&(value)->snapshot)
#define DEFINE(name, T) TDM_SNAPSHOT_DEFINE(name, T)
#define VALUE_TEXT "snapshot"
#define KEEPS true
#include "value_forms.h"

static uint64_t version(void)
{
	return tdm_load_relaxed_u64(&it->snapshot.version);
}

// The next copy, all but its last word.
static void half_write(struct wide_value *value)
{
	uint64_t next = tdm_load_relaxed_u64(&value->snapshot.version) + 1;
	for (unsigned i = 0; i + 1 < WORDS; i++)
		tdm_store_release_u64(&value->words[next % TDM_SNAPSHOT_COPIES_ * WORDS + i], 77);
}

static void test_copies(void)
{
	struct wide value;
	begin("a write leaves the three before it where they are");
	for (uint64_t number = 1; number < 20; number++) {
		value = filled(number);
		CHECK_STATUS(wide_value_write(it, TDM_NULL, &value), TDM_OK);
		CHECK_EQ_U64(version(), number);
		for (uint64_t k = 0; k < 4 && k < number; k++)
			for (unsigned i = 0; i < WORDS; i++)
				CHECK_EQ_U64(
				    tdm_load_relaxed_u64(&it->words[(number - k) % 4 * WORDS + i]),
				    number - k);
	}

	begin("versions go on around 2^32 and 2^64");
	static const uint64_t starts[] = {UINT64_C(0xfffffffd), UINT64_MAX - 3};
	for (unsigned i = 0; i < 2; i++) {
		tdm_store_relaxed_u64(&it->snapshot.version, starts[i]);
		for (uint64_t number = 0; number < 9; number++) {
			value = filled(number);
			CHECK_STATUS(wide_value_write(it, TDM_NULL, &value), TDM_OK);
			check_reads(number);
			CHECK_EQ_U64(version(), starts[i] + number + 1);
		}
	}
}

static void test_any_version(void)
{
	struct block block = block_make(sizeof(struct wide_value), 8);
	struct wide_value *object = TDM_AT_(struct wide_value, block.base, 0);
	uint64_t random = 1;
	struct wide value = filled(1);
	begin("whatever the version is, nothing outside the object is read or written");
	CHECK_STATUS(wide_value_init(object, &value, 0), TDM_OK);
	for (int i = 0; i < 1000; i++) {
		random += UINT64_C(0x9e3779b97f4a7c15);
		tdm_store_relaxed_u64(&object->snapshot.version, mix(random));
		CHECK_STATUS(wide_value_write(object, TDM_NULL, &value), TDM_OK);
		CHECK_STATUS(wide_value_read(object, &value), TDM_OK);
	}
	CHECK(block_end(&block));
}

// --- a writer that never pauses ---

static void *write_until_told(void *unused)
{
	(void)unused;
	CHECK_STATUS(tdm_snapshot_lock(&it->snapshot, TDM_NULL), TDM_OK);
	for (uint64_t number = 1; tdm_load_relaxed_u32(&scene->stage) == 0; number++) {
		struct wide value = filled(number);
		CHECK_STATUS(wide_value_store(it, TDM_NULL, &value), TDM_OK);
	}
	CHECK_STATUS(tdm_snapshot_unlock(&it->snapshot, TDM_NULL), TDM_OK);
	return TDM_NULL;
}

static void test_busy_writer(void)
{
	pthread_t thread;
	struct wide value;
	uint64_t last = 0, refused = 0;
	begin("a reader beside a writer that never pauses reads on");
	CHECK(pthread_create(&thread, TDM_NULL, write_until_told, TDM_NULL) == 0);
	for (int i = 0; i < 100000; i++) {
		if (wide_value_try_read(it, &value) != TDM_OK) {
			refused++;
			continue;
		}
		if (!CHECK(is(&value, value.words[0])) || !CHECK(value.words[0] >= last))
			break;
		last = value.words[0];
	}
	tdm_store_relaxed_u32(&scene->stage, 1);
	CHECK(pthread_join(thread, TDM_NULL) == 0);
	tap_note("%" PRIu64 " of 100000 reads were refused", refused);
	CHECK(refused < 100);
}

// What a peer that breaks the rules can do: the version never stands still.
static void *count_without_end(void *unused)
{
	(void)unused;
	while (tdm_load_relaxed_u32(&scene->stage) == 0)
		tdm_fetch_add_release_u64(&it->snapshot.version, UINT64_C(1) << 62);
	return TDM_NULL;
}

static void test_restless_version(void)
{
	pthread_t thread;
	struct wide value;
	begin("a version that never stands still costs a read its attempts, or its deadline");
	CHECK(pthread_create(&thread, TDM_NULL, count_without_end, TDM_NULL) == 0);
	for (int i = 0; i < 1000; i++) {
		enum tdm_status status = wide_value_try_read(it, &value);
		CHECK(status == TDM_OK || status == TDM_BUSY);
		status = wide_value_read_until(it, &value, tdm_deadline_after_ns(1000));
		CHECK(status == TDM_OK || status == TDM_BUSY);
	}
	tdm_store_relaxed_u32(&scene->stage, 1);
	CHECK(pthread_join(thread, TDM_NULL) == 0);
}

int main(void)
{
	test_all_forms();
	test_copies();
	test_any_version();
	test_busy_writer();
	test_restless_version();
	return tap_done();
}
