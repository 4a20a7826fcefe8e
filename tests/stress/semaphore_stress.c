// SPDX-License-Identifier: BSD-2-Clause
// Semaphores under load, between threads and between processes, at one, two and four times as many
// as two CPUs run at once: no permit is lost or made, and no wake-up is lost.
#include "../support/endless.h"

#include <tandem/sync/semaphore.h>

#define ROUNDS 20000U

static struct area {
	TDM_ALIGNAS(TDM_CACHE_LINE) struct tdm_semaphore plain;
	TDM_ALIGNAS(TDM_CACHE_LINE) struct tdm_semaphore_fair fair;
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u32 inside; // holders of a permit
	tdm_atomic_u32 refused;                            // waits that timed out
	uint64_t counted;                                  // what a single permit protects
} * area;

static bool fair;        // which of the two
static uint32_t permits; // of the pool
static uint32_t count;   // parties

static void take(void)
{
	CHECK_STATUS(fair ? tdm_semaphore_fair_wait(&area->fair) : tdm_semaphore_wait(&area->plain),
		     TDM_OK);
}

static bool take_soon(void)
{
	uint64_t deadline_ns = tdm_deadline_after_ns(20000);
	timed = true;
	enum tdm_status status = fair ? tdm_semaphore_fair_wait_until(&area->fair, deadline_ns)
				      : tdm_semaphore_wait_until(&area->plain, deadline_ns);
	timed = false;
	CHECK(status == TDM_OK || status == TDM_TIMED_OUT);
	if (status != TDM_OK)
		tdm_fetch_add_relaxed_u32(&area->refused, 1);
	return status == TDM_OK;
}

static void give(uint32_t amount)
{
	CHECK_STATUS(fair ? tdm_semaphore_fair_post_n(&area->fair, amount)
			  : tdm_semaphore_post_n(&area->plain, amount),
		     TDM_OK);
}

static uint32_t left(void)
{
	return fair ? tdm_semaphore_fair_value(&area->fair) : tdm_semaphore_value(&area->plain);
}

// Everybody takes a permit and gives it back, some with a deadline.
static void use_pool(uint32_t number)
{
	for (uint32_t round = 0; round < ROUNDS; round++) {
		if ((round + number) % 4 != 0)
			take();
		else if (!take_soon())
			continue;
		CHECK(tdm_fetch_add_relaxed_u32(&area->inside, 1) < permits);
		if (permits == 1)
			area->counted++;
		if (round % 64 == number)
			sched_yield();
		tdm_fetch_sub_relaxed_u32(&area->inside, 1);
		give(1);
	}
}

// Half of them post, now one and now three at once; the other half take as many.
static void hand_over(uint32_t number)
{
	for (uint32_t round = 0; round < ROUNDS; round++) {
		if (number % 2 != 0)
			take();
		else if (round % 4 == 0)
			give(1);
		else if (round % 4 == 3)
			give(3);
	}
}

static void prepare(uint32_t value)
{
	memset((void *)area, 0, sizeof(*area));
	CHECK_STATUS(tdm_semaphore_init(&area->plain, value, 0), TDM_OK);
	CHECK_STATUS(tdm_semaphore_fair_init(&area->fair, value, 0), TDM_OK);
}

static void test(bool processes)
{
	char text[200];
	const char *who = processes ? "processes" : "threads";
	for (count = 2; count <= PARTIES_MAX; count *= 2) {
		for (permits = 1; permits <= 2; permits++) {
			snprintf(text, sizeof(text), "%s: %u %s share %u permits",
				 fair ? "fair" : "plain", count, who, permits);
			tap_case(text);
			prepare(permits);
			run_parties(use_pool, count, processes);
			uint32_t refused = tdm_load_relaxed_u32(&area->refused);
			CHECK_EQ_U64(left(), permits);
			CHECK(permits != 1 || area->counted == (uint64_t)count * ROUNDS - refused);
			tap_note("%u time-outs", refused);
		}
		snprintf(text, sizeof(text), "%s: %u %s post as much as %u take",
			 fair ? "fair" : "plain", count / 2, who, count / 2);
		tap_case(text);
		prepare(0);
		run_parties(hand_over, count, processes);
		CHECK_EQ_U64(left(), 0);
	}
}

int main(void)
{
	area = child_shared(sizeof(*area));
	for (int i = 0; i < 4; i++) {
		fair = i / 2 == 1;
		test(i % 2 == 1);
	}
	return tap_done();
}
