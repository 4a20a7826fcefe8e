// SPDX-License-Identifier: BSD-2-Clause
// Barriers under load, plain and robust, between threads and between processes, at one, two and
// four times as many as two CPUs run at once: nobody passes too early, and no wake-up is lost.
#include "../support/endless.h"

#include <tandem/shm/segment.h>
#include <tandem/sync/barrier.h>

#define ROUNDS 3000U

static struct area {
	TDM_ALIGNAS(TDM_CACHE_LINE) struct tdm_barrier barrier;
	tdm_atomic_u32 serials;
	struct {
		TDM_ALIGNAS(TDM_CACHE_LINE) uint64_t rounds; // in turns with the barrier
	} parties[PARTIES_MAX];
} * area;

static struct tdm_segment segment;
static bool robust;
static uint32_t count;

static void meet(struct tdm_barrier_party *party, bool *serial)
{
	CHECK_STATUS(robust ? tdm_barrier_party_wait(party, serial)
			    : tdm_barrier_wait(&area->barrier, serial),
		     TDM_OK);
}

static void work(uint32_t number)
{
	struct tdm_participant self;
	struct tdm_barrier_party party;
	uint32_t serials = 0;
	if (robust) {
		CHECK_STATUS(tdm_segment_join(&segment, &self, "party"), TDM_OK);
		CHECK_STATUS(
		    tdm_barrier_party_attach(&party, tdm_segment_find(&segment, "barrier"), &self),
		    TDM_OK);
	}
	for (uint64_t round = 1; round <= ROUNDS; round++) {
		bool first, second;
		area->parties[number].rounds = round;
		meet(&party, &first);
		for (uint32_t i = 0; i < count; i++)
			CHECK_EQ_U64(area->parties[i].rounds, round);
		meet(&party, &second);
		serials += first + second;
	}
	tdm_fetch_add_relaxed_u32(&area->serials, serials);
	if (robust) {
		CHECK_STATUS(tdm_barrier_party_detach(&party), TDM_OK);
		CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	}
}

int main(void)
{
	area = child_shared(sizeof(*area));
	for (int i = 0; i < 4; i++) {
		bool processes = i % 2 == 1;
		robust = i / 2 == 1;
		for (count = 2; count <= PARTIES_MAX; count *= 2) {
			char text[200];
			struct tdm_object object = tdm_barrier_object("barrier", count);
			snprintf(text, sizeof(text), "%s: %u %s meet again and again",
				 robust ? "robust" : "plain", count,
				 processes ? "processes" : "threads");
			tap_case(text);
			memset((void *)area, 0, sizeof(*area));
			CHECK_STATUS(tdm_barrier_init(&area->barrier, count), TDM_OK);
			CHECK_STATUS(tdm_segment_create(&segment, &object, 1, NULL), TDM_OK);
			run_parties(work, count, processes);
			CHECK_EQ_U64(tdm_load_relaxed_u32(&area->serials), 2 * ROUNDS);
			CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
		}
	}
	return tap_done();
}
