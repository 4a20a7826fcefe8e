// SPDX-License-Identifier: BSD-2-Clause
#include "../support/count_rests.h"

#include <tandem/lock/seq.h>

#define FORM(op) tdm_seq_##op
#define LOCK_OF(value) (&(value)->seq)
#define DEFINE(name, T) TDM_SEQ_DEFINE(name, T)
#define VALUE_TEXT "sequence lock"
#define KEEPS false
#include "value_forms.h"

static void half_write(struct wide_value *value)
{
	tdm_seq_write_begin(&value->seq);
	tdm_store_release_u64(&value->words[0], 77);
}

static uint64_t sequence(void)
{
	return tdm_load_relaxed_u64(&it->seq.sequence);
}

static void test_sequence(void)
{
	struct wide value = filled(1);
	begin("the sequence grows by 2 for each write, and is odd in between");
	for (uint64_t i = 0; i < 3; i++) {
		CHECK_EQ_U64(sequence(), 2 * i);
		CHECK_STATUS(wide_value_write(it, TDM_NULL, &value), TDM_OK);
	}
	CHECK_STATUS(tdm_seq_lock(&it->seq, TDM_NULL), TDM_OK);
	CHECK_EQ_U64(sequence(), 6);
	tdm_seq_write_begin(&it->seq);
	CHECK_EQ_U64(sequence(), 7);
	CHECK_STATUS(wide_value_try_read(it, &value), TDM_BUSY);
	tdm_seq_write_end(&it->seq);
	CHECK_EQ_U64(sequence(), 8);
	CHECK_STATUS(tdm_seq_unlock(&it->seq, TDM_NULL), TDM_OK);

	begin("sequences go on around 2^32 and 2^63");
	static const uint64_t starts[] = {UINT64_C(0xfffffffe), UINT64_C(0x7ffffffffffffffe)};
	for (unsigned i = 0; i < 2; i++) {
		tdm_store_relaxed_u64(&it->seq.sequence, starts[i]);
		for (uint64_t number = 0; number < 4; number++) {
			value = filled(number);
			CHECK_STATUS(wide_value_write(it, TDM_NULL, &value), TDM_OK);
			check_reads(number);
			CHECK_EQ_U64(sequence(), starts[i] + 2 * number + 2);
		}
	}
}

static void test_own_words(void)
{
	struct tdm_seq *seq = &it->seq;
	begin("who reads a user's own words tries again where somebody writes, or has written");
	uint64_t begun = tdm_seq_read_begin(seq);
	CHECK(!tdm_seq_read_retry(seq, begun));
	CHECK_STATUS(tdm_seq_try_lock(seq, TDM_NULL), TDM_OK);
	CHECK(!tdm_seq_read_retry(seq, begun));
	tdm_seq_write_begin(seq);
	CHECK(tdm_seq_read_retry(seq, begun));
	uint64_t amid = tdm_seq_read_begin(seq);
	CHECK(tdm_seq_read_retry(seq, amid));
	tdm_seq_write_end(seq);
	CHECK(tdm_seq_read_retry(seq, begun));
	CHECK(tdm_seq_read_retry(seq, amid));
	CHECK(!tdm_seq_read_retry(seq, tdm_seq_read_begin(seq)));
	CHECK_STATUS(tdm_seq_unlock(seq, TDM_NULL), TDM_OK);
}

// --- readers wait ---

static void end_write(void)
{
	if (calls.yields == 3)
		tdm_seq_write_end(&it->seq);
}

static void *end_write_later(void *unused)
{
	(void)unused;
	child_sleep_ms(20);
	tdm_seq_write_end(&it->seq);
	return TDM_NULL;
}

static void test_waiting_reader(void)
{
	struct wide value;
	begin("a reader waits for who writes: it pauses, then yields");
	tdm_store_relaxed_u32(&tdm_backoff_cpus_, 2);
	tdm_seq_write_begin(&it->seq);
	at_yield = end_write;
	CHECK_STATUS(wide_value_read(it, &value), TDM_OK);
	CHECK_EQ_U64(calls.pauses, TDM_SEAM_SPINS);
	CHECK_EQ_U64(calls.yields, 3);

	begin("then it sleeps, without pauses in between, and wakes by itself");
	pthread_t thread;
	tdm_seq_write_begin(&it->seq);
	CHECK(pthread_create(&thread, TDM_NULL, end_write_later, TDM_NULL) == 0);
	CHECK_STATUS(wide_value_read(it, &value), TDM_OK);
	CHECK(calls.pauses <= TDM_SEAM_SPINS && calls.yields <= TDM_SEAM_YIELDS);
	CHECK(pthread_join(thread, TDM_NULL) == 0);
	tdm_store_relaxed_u32(&tdm_backoff_cpus_, 0);

	begin("until its deadline, and not less");
	tdm_seq_write_begin(&it->seq);
	CHECK_STATUS(wide_value_read_until(it, &value, 0), TDM_BUSY);
	for (uint64_t ns = 1000; ns <= 10000000; ns *= 10) {
		uint64_t deadline_ns = tdm_deadline_after_ns(ns);
		CHECK_STATUS(wide_value_read_until(it, &value, deadline_ns), TDM_BUSY);
		CHECK(tdm_now_ns() >= deadline_ns);
	}
	tdm_seq_write_end(&it->seq);
	CHECK_STATUS(wide_value_read_until(it, &value, 0), TDM_OK);
}

int main(void)
{
	test_all_forms();
	test_sequence();
	test_own_words();
	test_waiting_reader();
	return tap_done();
}
