// SPDX-License-Identifier: BSD-2-Clause
#include "../support/count_rests.h"

#include <tandem/lock/spin.h>

#define FORM(op) tdm_spin_##op
#define LOCK tdm_spin
#define LOCK_TEXT "spin lock"
#define FOREIGN TDM_OK

// What a user without checks leaves in the word.
static void tdm_spin_lock_unchecked(struct tdm_spin *spin)
{
	uint32_t seen = 0;
	tdm_tsan_locking_(spin, 0);
	if (!tdm_cas_strong_acquire_relaxed_u32(&spin->word, &seen, TDM_SPIN_HELD_))
		__builtin_abort();
	tdm_tsan_locked_(spin, 0);
}

static void tdm_spin_unlock_unchecked(struct tdm_spin *spin)
{
	tdm_tsan_unlocking_(spin, 0);
	tdm_store_release_u32(&spin->word, 0);
	tdm_tsan_unlocked_(spin, 0);
}

#include "lock_forms.h"

static uint32_t word(void)
{
	return tdm_load_relaxed_u32(&scene->lock.word);
}

static void test_word(void)
{
	begin("the word names the holder in checking builds only");
	uint32_t held = TDM_CHECKED ? tdm_thread_id_() << 1 | 1 : 1;
	CHECK_STATUS(tdm_spin_lock(&scene->lock), TDM_OK);
	CHECK_EQ_U64(word(), held);
	CHECK_STATUS(tdm_spin_unlock(&scene->lock), TDM_OK);
	CHECK_EQ_U64(word(), 0);
	CHECK(tdm_spin_try_lock(&scene->lock));
	CHECK_EQ_U64(word(), held);
	CHECK_STATUS(tdm_spin_unlock(&scene->lock), TDM_OK);
	CHECK_STATUS(tdm_spin_lock_until(&scene->lock, 0), TDM_OK);
	CHECK_EQ_U64(word(), held);
	CHECK_STATUS(tdm_spin_unlock(&scene->lock), TDM_OK);
	CHECK_EQ_U64(word(), 0);
}

static unsigned pauses_at_yield;

static void note_pauses(void)
{
	if (calls.yields == 1)
		pauses_at_yield = calls.pauses;
	tdm_store_release_u32(&scene->lock.word, 0);
}

static void test_backoff(void)
{
	begin("the distances between two looks double up to 16 pauses");
	tdm_store_relaxed_u32(&scene->lock.word, TDM_SPIN_HELD_);
	tdm_store_relaxed_u32(&tdm_backoff_cpus_, 2);
	at_yield = note_pauses;
	CHECK_STATUS(tdm_spin_lock(&scene->lock), TDM_OK);
	CHECK_EQ_U64(calls.yields, 1);
	CHECK_EQ_U64(pauses_at_yield, 1 + 2 + 4 + 8 + 12 * 16);
	CHECK_STATUS(tdm_spin_unlock(&scene->lock), TDM_OK);
	at_yield = TDM_NULL;
	tdm_store_relaxed_u32(&tdm_backoff_cpus_, 0);
}

int main(void)
{
	test_all_forms();
	test_word();
	test_backoff();
	return tap_done();
}
