// SPDX-License-Identifier: BSD-2-Clause
// The semaphores, one behaviour at a time. Compiled as C and as C++.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>

#include <tandem/base/atomic.h>
#include <tandem/base/status.h>

static __thread struct {
	unsigned waits, wakes;
} calls;
static __thread bool refuse_to_wait;

static enum tdm_status count_wait(tdm_atomic_u32 *word, uint32_t expected, uint64_t deadline_ns);
static void count_wake(tdm_atomic_u32 *word, uint32_t count);

#define TDM_SEAM_FUTEX_WAIT(word, expected, deadline_ns) count_wait(word, expected, deadline_ns)
#define TDM_SEAM_FUTEX_WAKE(word, count) count_wake(word, count)

#include <tandem/sync/semaphore.h>

#include "../support/child.h"

static __thread uint32_t woken; // at most, by the last wake-up

static enum tdm_status count_wait(tdm_atomic_u32 *word, uint32_t expected, uint64_t deadline_ns)
{
	calls.waits++;
	if (!refuse_to_wait)
		return tdm_futex_wait_kernel_(word, expected, deadline_ns);
	errno = EPERM;
	return TDM_SYSTEM;
}

static void count_wake(tdm_atomic_u32 *word, uint32_t count)
{
	calls.wakes++;
	woken = count;
	tdm_futex_wake_kernel_(word, count);
}

#define SLEEPERS 6U

#define FORM(op) tdm_semaphore_##op
#define SEMAPHORE tdm_semaphore
#define TEXT "semaphore"
#define NAME(x) plain_##x
#include "semaphore_forms.h"

#define FORM(op) tdm_semaphore_fair_##op
#define SEMAPHORE tdm_semaphore_fair
#define TEXT "fair semaphore"
#define NAME(x) fair_##x
#include "semaphore_forms.h"

static void test_plain(void)
{
	plain_begin("more permits than there may be are corrupt");
	CHECK_STATUS(tdm_semaphore_init(plain_it, 0, 2), TDM_OK);
	tdm_store_relaxed_u32(&plain_it->value, 3);
	CHECK_STATUS(tdm_semaphore_post(plain_it), TDM_CORRUPT);
	CHECK_EQ_U64(tdm_semaphore_value(plain_it), 3);

	plain_begin("as many sleepers are woken as permits are posted");
	for (uint32_t count = 1; count < 4; count++) {
		(void)tdm_event_prepare(&plain_it->posted);
		calls.wakes = 0;
		CHECK_STATUS(tdm_semaphore_post_n(plain_it, count), TDM_OK);
		CHECK_EQ_U64(calls.wakes, 1);
		CHECK_EQ_U64(woken, count);
	}

	plain_begin("where the kernel refuses to wait, the answer is TDM_SYSTEM");
	refuse_to_wait = true;
	errno = 0;
	CHECK_STATUS(tdm_semaphore_wait(plain_it), TDM_SYSTEM);
	CHECK(errno == EPERM);
	CHECK_STATUS(tdm_semaphore_fair_wait(fair_it), TDM_SYSTEM);
	refuse_to_wait = false;
}

static void set_tickets(uint32_t ticket)
{
	tdm_store_relaxed_u32(&fair_it->granted, ticket);
	tdm_store_relaxed_u32(&fair_it->asked, ticket);
}

#define QUEUE 20U // more than there are turns

static tdm_atomic_u32 served;
static uint32_t came[QUEUE]; // by arrival: the how manieth was served

static void *queue_up(void *place)
{
	CHECK_STATUS(tdm_semaphore_fair_wait(fair_it), TDM_OK);
	*TDM_CAST(uint32_t *, place) = tdm_fetch_add_relaxed_u32(&served, 1);
	return TDM_NULL;
}

static void queue(uint32_t first_ticket, bool at_once)
{
	pthread_t threads[QUEUE];
	set_tickets(first_ticket);
	tdm_store_relaxed_u32(&served, 0);
	for (uint32_t i = 0; i < QUEUE; i++) {
		CHECK(pthread_create(&threads[i], TDM_NULL, queue_up, &came[i]) == 0);
		while (tdm_load_relaxed_u32(&fair_it->asked) != first_ticket + i + 1)
			sched_yield();
		CHECK(!tdm_semaphore_fair_try_wait(fair_it));
	}
	CHECK_STATUS(tdm_semaphore_fair_wait_until(fair_it, 0), TDM_TIMED_OUT);
	CHECK_STATUS(tdm_semaphore_fair_wait_until(fair_it, tdm_deadline_after_ns(1000000)),
		     TDM_TIMED_OUT);
	for (uint32_t i = 0; i < QUEUE && !at_once; i++) {
		CHECK_STATUS(tdm_semaphore_fair_post(fair_it), TDM_OK);
		CHECK(child_await_u32(&served, i + 1));
	}
	if (at_once)
		CHECK_STATUS(tdm_semaphore_fair_post_n(fair_it, QUEUE), TDM_OK);
	for (uint32_t i = 0; i < QUEUE; i++) {
		CHECK(pthread_join(threads[i], TDM_NULL) == 0);
		CHECK(at_once || came[i] == i);
	}
	CHECK_EQ_U64(tdm_semaphore_fair_value(fair_it), 0);
}

static void test_fair(void)
{
	fair_begin("who asks first is first, and who has a deadline does not queue");
	queue(0, false);
	fair_begin("tickets wrap around");
	queue(UINT32_MAX - QUEUE / 2, false);
	queue(UINT32_MAX - QUEUE / 2, true);
	set_tickets(UINT32_MAX);
	CHECK_STATUS(tdm_semaphore_fair_post_n(fair_it, 2), TDM_OK);
	CHECK_EQ_U64(tdm_semaphore_fair_value(fair_it), 2);
	CHECK(tdm_semaphore_fair_try_wait(fair_it));
	CHECK_STATUS(tdm_semaphore_fair_wait(fair_it), TDM_OK);
	CHECK(!tdm_semaphore_fair_try_wait(fair_it));

	fair_begin("who queues counts against no maximum");
	set_tickets(0);
	CHECK_STATUS(tdm_semaphore_fair_init(fair_it, 0, 1), TDM_OK);
	tdm_store_relaxed_u32(&fair_it->asked, 2);
	CHECK_STATUS(tdm_semaphore_fair_post_n(fair_it, 4), TDM_FULL);
	CHECK_STATUS(tdm_semaphore_fair_post_n(fair_it, 3), TDM_OK);
	CHECK_EQ_U64(tdm_semaphore_fair_value(fair_it), 1);
	CHECK_STATUS(tdm_semaphore_fair_post(fair_it), TDM_FULL);

	fair_begin("a permit wakes whose turn it is, and nobody else");
	for (uint32_t ticket = 0; ticket < TDM_SEMAPHORE_TURNS_; ticket++) {
		for (uint32_t i = 0; i < TDM_SEMAPHORE_TURNS_; i++)
			(void)tdm_event_prepare(&fair_it->turns[i]);
		set_tickets(ticket);
		calls.wakes = 0;
		CHECK_STATUS(tdm_semaphore_fair_post(fair_it), TDM_OK);
		CHECK_EQ_U64(calls.wakes, 1);
		for (uint32_t i = 0; i < TDM_SEMAPHORE_TURNS_; i++)
			CHECK(((tdm_load_relaxed_u32(&fair_it->turns[i].word) & TDM_EVENT_ARMED_) ==
			       0) == (i == ticket));
	}
}

int main(void)
{
	plain_test_all_forms();
	fair_test_all_forms();
	test_plain();
	test_fair();
	return tap_done();
}
