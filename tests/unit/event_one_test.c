// SPDX-License-Identifier: BSD-2-Clause
// Waking one of several, one behaviour at a time. Compiled as C and as C++.
#include <stdint.h>

#include <tandem/base/atomic.h>
#include <tandem/base/status.h>

static enum tdm_status seam_wait(tdm_atomic_u32 *word, uint32_t expected, uint64_t deadline_ns);
static void seam_wake(tdm_atomic_u32 *word, uint32_t count);

#define TDM_SEAM_FUTEX_WAIT(word, expected, deadline_ns) seam_wait(word, expected, deadline_ns)
#define TDM_SEAM_FUTEX_WAKE(word, count) seam_wake(word, count)

#include <tandem/sync/event.h>

#include <pthread.h>

#include "../support/child.h"
#include "../support/tap.h"

static struct scene {
	struct tdm_event event;
	tdm_atomic_u32 taken, asleep, through;
	tdm_atomic_u32 wakes, woken; // calls, and how many they asked for at most
} * scene;

static bool refuse_waits;

static enum tdm_status seam_wait(tdm_atomic_u32 *word, uint32_t expected, uint64_t deadline_ns)
{
	if (refuse_waits) {
		errno = EPERM;
		return TDM_SYSTEM;
	}
	tdm_fetch_add_relaxed_u32(&scene->asleep, 1);
	enum tdm_status status = tdm_futex_wait_kernel_(word, expected, deadline_ns);
	tdm_fetch_sub_relaxed_u32(&scene->asleep, 1);
	return status;
}

static void seam_wake(tdm_atomic_u32 *word, uint32_t count)
{
	tdm_fetch_add_relaxed_u32(&scene->wakes, 1);
	tdm_store_relaxed_u32(&scene->woken, count);
	tdm_futex_wake_kernel_(word, count);
}

static void begin(const char *sentence)
{
	tap_case(sentence);
	memset(TDM_CAST(void *, scene), 0, sizeof(*scene));
	tdm_event_init(&scene->event);
}

static bool is_armed(void)
{
	return (tdm_load_relaxed_u32(&scene->event.word) & TDM_EVENT_ARMED_) != 0;
}

static enum tdm_status answer; // of the next attempts, where it is not TDM_EMPTY

static enum tdm_status take(void *unused)
{
	(void)unused;
	if (answer != TDM_EMPTY)
		return answer;
	uint32_t none = 0;
	return tdm_cas_strong_acquire_relaxed_u32(&scene->taken, &none, 1) ? TDM_OK : TDM_EMPTY;
}

static enum tdm_status get(uint64_t deadline_ns, enum tdm_status (*idle)(void *))
{
	struct tdm_patience patience = {0};
	return tdm_event_await_one(&scene->event, &patience, deadline_ns, TDM_EMPTY, take, idle,
				   TDM_NULL);
}

static void give_back(void)
{
	tdm_store_release_u32(&scene->taken, 0);
	tdm_event_notify_one(&scene->event);
}

static void *get_and_keep(void *unused)
{
	(void)unused;
	CHECK_STATUS(get(TDM_FOREVER, TDM_NULL), TDM_OK);
	tdm_fetch_add_relaxed_u32(&scene->through, 1);
	return TDM_NULL;
}

#define SLEEPERS 4U
static pthread_t sleepers[SLEEPERS];

static void start_sleepers(void)
{
	tdm_store_relaxed_u32(&scene->taken, 1);
	for (unsigned i = 0; i < SLEEPERS; i++)
		if (pthread_create(&sleepers[i], TDM_NULL, get_and_keep, TDM_NULL) != 0)
			abort();
	while (tdm_load_relaxed_u32(&scene->asleep) < SLEEPERS)
		child_sleep_ms(1);
	child_sleep_ms(5);
}

static void test_one(void)
{
	begin("each notify_one lets one of the sleepers through, and all of them in the end");
	start_sleepers();
	for (uint32_t i = 1; i <= SLEEPERS; i++) {
		give_back();
		CHECK(child_await_u32(&scene->through, i));
		child_sleep_ms(5);
		CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->through), i);
		CHECK(is_armed()); // for those behind, or for nobody: then once for nothing
	}
	for (unsigned i = 0; i < SLEEPERS; i++)
		CHECK(pthread_join(sleepers[i], TDM_NULL) == 0);

	begin("the sleepers it does not wake need no second call while one is on its way");
	start_sleepers();
	uint32_t wakes = tdm_load_relaxed_u32(&scene->wakes);
	tdm_event_notify_one(&scene->event);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->wakes), wakes + 1);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->woken), 1);
	for (uint32_t i = 1; i <= SLEEPERS; i++) {
		give_back();
		CHECK(child_await_u32(&scene->through, i));
	}
	for (unsigned i = 0; i < SLEEPERS; i++)
		CHECK(pthread_join(sleepers[i], TDM_NULL) == 0);
}

static enum tdm_status leave_it_free(void *unused)
{
	(void)unused;
	tdm_store_relaxed_u32(&scene->taken, 0);
	return TDM_OK;
}

static enum tdm_status end_with_peer_died(void *unused)
{
	(void)unused;
	return TDM_PEER_DIED;
}

static enum tdm_status answer_lost(void *unused)
{
	(void)unused;
	answer = TDM_NOT_RECOVERABLE;
	return TDM_OK;
}

static enum tdm_status answer_died(void *unused)
{
	(void)unused;
	answer = TDM_OWNER_DIED;
	return TDM_OK;
}

static void test_ends(void)
{
	begin("who takes it before it sleeps leaves the event as it was");
	uint32_t word = tdm_load_relaxed_u32(&scene->event.word);
	CHECK_STATUS(get(0, TDM_NULL), TDM_OK);
	CHECK_STATUS(get(0, TDM_NULL), TDM_TIMED_OUT);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->event.word), word);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->wakes), 0);

	begin("who takes it when it was about to sleep leaves the event armed");
	tdm_store_relaxed_u32(&scene->taken, 1);
	CHECK_STATUS(get(TDM_FOREVER, leave_it_free), TDM_OK);
	CHECK(is_armed());
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->wakes), 0);
	begin("so does who takes it over from the dead");
	tdm_store_relaxed_u32(&scene->taken, 1);
	CHECK_STATUS(get(TDM_FOREVER, answer_died), TDM_OWNER_DIED);
	answer = TDM_EMPTY;
	CHECK(is_armed());
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->wakes), 0);

	begin("who gives up, of whatever cause, wakes the next, and keeps errno");
	tdm_store_relaxed_u32(&scene->taken, 1);
	CHECK_STATUS(get(tdm_deadline_after_ns(1000000), TDM_NULL), TDM_TIMED_OUT);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->wakes), 1);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->woken), 1);
	CHECK_STATUS(get(TDM_FOREVER, end_with_peer_died), TDM_PEER_DIED);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->wakes), 2);
	CHECK_STATUS(get(TDM_FOREVER, answer_lost), TDM_NOT_RECOVERABLE);
	answer = TDM_EMPTY;
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->wakes), 3);
	refuse_waits = true;
	CHECK_STATUS(get(TDM_FOREVER, TDM_NULL), TDM_SYSTEM);
	CHECK_EQ_U64(TDM_CAST(uint64_t, errno), EPERM);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->wakes), 4);
	refuse_waits = false;
}

static void test_counts(void)
{
	begin("notify_one asks the kernel for one, and notify for all");
	(void)tdm_event_prepare(&scene->event);
	tdm_event_notify_one(&scene->event);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->woken), 1);
	CHECK(!is_armed());
	tdm_event_notify_one(&scene->event);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->wakes), 1);
	(void)tdm_event_prepare(&scene->event);
	tdm_event_notify(&scene->event);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->woken), UINT32_MAX);
}

int main(void)
{
	answer = TDM_EMPTY;
	scene = TDM_CAST(struct scene *, child_shared(sizeof(*scene)));
	test_counts();
	test_ends();
	test_one();
	return tap_done();
}
