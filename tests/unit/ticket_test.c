// SPDX-License-Identifier: BSD-2-Clause
#include "../support/count_rests.h"

#include <tandem/lock/ticket.h>

#define FORM(op) tdm_ticket_##op
#define LOCK tdm_ticket
#define LOCK_TEXT "ticket lock"
#define FOREIGN TDM_NOT_OWNER

// What a user without checks leaves in the words.
static void tdm_ticket_lock_unchecked(struct tdm_ticket *ticket)
{
	tdm_tsan_locking_(ticket, 0);
	uint32_t mine = tdm_fetch_add_relaxed_u32(&ticket->next, 1);
	if (tdm_load_acquire_u32(&ticket->serving) != mine)
		__builtin_abort();
	tdm_tsan_locked_(ticket, 0);
}

static void tdm_ticket_unlock_unchecked(struct tdm_ticket *ticket)
{
	tdm_tsan_unlocking_(ticket, 0);
	tdm_store_release_u32(&ticket->serving, tdm_load_relaxed_u32(&ticket->serving) + 1);
	tdm_tsan_unlocked_(ticket, 0);
}

#include "lock_forms.h"

static void set_tickets(uint32_t ticket)
{
	tdm_store_relaxed_u32(&scene->lock.next, ticket);
	tdm_store_relaxed_u32(&scene->lock.serving, ticket);
}

static uint32_t serving(void)
{
	return tdm_load_relaxed_u32(&scene->lock.serving);
}

static void test_words(void)
{
	begin("the owner is named in checking builds only");
	for (int i = 0; i < 3; i++) {
		CHECK(i == 0   ? tdm_ticket_try_lock(&scene->lock)
		      : i == 1 ? tdm_ticket_lock(&scene->lock) == TDM_OK
			       : tdm_ticket_lock_until(&scene->lock, 0) == TDM_OK);
		CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->lock.owner),
			     TDM_CHECKED ? tdm_thread_id_() : 0);
		CHECK_STATUS(tdm_ticket_unlock(&scene->lock), TDM_OK);
		CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->lock.owner), 0);
	}
	CHECK_EQ_U64(serving(), 3);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->lock.next), 3);
}

static void test_wrap(void)
{
	begin("tickets wrap around");
	set_tickets(UINT32_MAX - 1);
	for (unsigned i = 0; i < 4; i++) {
		CHECK_STATUS(i % 2 == 0 ? tdm_ticket_lock(&scene->lock)
					: tdm_ticket_lock_until(&scene->lock, 0),
			     TDM_OK);
		CHECK(!tdm_ticket_try_lock(&scene->lock));
		CHECK_STATUS(tdm_ticket_destroy(&scene->lock), TDM_BUSY);
		CHECK_STATUS(tdm_ticket_unlock(&scene->lock), TDM_OK);
		CHECK(tdm_ticket_try_lock(&scene->lock));
		CHECK_STATUS(tdm_ticket_unlock(&scene->lock), TDM_OK);
	}
	CHECK_EQ_U64(serving(), 6);
	pthread_t threads[PARTIES];
	set_tickets(UINT32_MAX - PARTIES * ROUNDS / 2);
	for (unsigned i = 0; i < PARTIES; i++)
		CHECK(pthread_create(&threads[i], TDM_NULL, count_up_in_thread, TDM_NULL) == 0);
	for (unsigned i = 0; i < PARTIES; i++)
		CHECK(pthread_join(threads[i], TDM_NULL) == 0);
	CHECK_EQ_U64(scene->data, PARTIES * ROUNDS);
}

// --- order ---

#define QUEUE 8U

static uint32_t came_in[QUEUE]; // by arrival: the how manieth got it

static void *queue_up(void *place)
{
	bool for_ever = (TDM_CAST(uint32_t *, place) - came_in) % 2 != 0;
	CHECK_STATUS(for_ever ? tdm_ticket_lock_until(&scene->lock, TDM_FOREVER)
			      : tdm_ticket_lock(&scene->lock),
		     TDM_OK);
	*TDM_CAST(uint32_t *, place) = TDM_CAST(uint32_t, scene->data++);
	CHECK_STATUS(tdm_ticket_unlock(&scene->lock), TDM_OK);
	return TDM_NULL;
}

static void test_order(void)
{
	pthread_t threads[QUEUE];
	begin("who asks first is first, and a timed waiter only comes when nobody queues");
	CHECK_STATUS(tdm_ticket_lock(&scene->lock), TDM_OK);
	for (uint32_t i = 0; i < QUEUE; i++) {
		CHECK(pthread_create(&threads[i], TDM_NULL, queue_up, &came_in[i]) == 0);
		CHECK(child_await_u32(&scene->lock.next, i + 2));
		CHECK(!tdm_ticket_try_lock(&scene->lock));
		CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->lock.next), i + 2);
	}
	CHECK_STATUS(tdm_ticket_unlock(&scene->lock), TDM_OK);
	CHECK_STATUS(tdm_ticket_lock_until(&scene->lock, tdm_deadline_after_ns(60000000000)),
		     TDM_OK);
	CHECK_EQ_U64(scene->data, QUEUE);
	CHECK_STATUS(tdm_ticket_unlock(&scene->lock), TDM_OK);
	for (uint32_t i = 0; i < QUEUE; i++) {
		CHECK(pthread_join(threads[i], TDM_NULL) == 0);
		CHECK_EQ_U64(came_in[i], i);
	}
}

// --- rests ---

static unsigned pauses_at_yield[3];

// Each yield of the waiter is one hand-over before it.
static void serve_next(void)
{
	if (calls.yields <= 3)
		pauses_at_yield[calls.yields - 1] = calls.pauses;
	tdm_store_release_u32(&scene->lock.serving, serving() + 1);
}

static void test_backoff(void)
{
	begin("waiters pause 4 times for each before them, and begin anew when one was done");
	tdm_store_relaxed_u32(&scene->lock.next, 3);
	tdm_store_relaxed_u32(&tdm_backoff_cpus_, 8);
	at_yield = serve_next;
	CHECK_STATUS(tdm_ticket_lock(&scene->lock), TDM_OK);
	CHECK_EQ_U64(calls.yields, 3);
	CHECK_EQ_U64(pauses_at_yield[0], 17 * 12);
	CHECK_EQ_U64(pauses_at_yield[1], 17 * 12 + 25 * 8);
	CHECK_EQ_U64(pauses_at_yield[2], 17 * 12 + 25 * 8 + 50 * 4);
	CHECK_STATUS(tdm_ticket_unlock(&scene->lock), TDM_OK);

	begin("who cannot be running beside those before it yields at once");
	tdm_store_relaxed_u32(&scene->lock.next, 3);
	tdm_store_relaxed_u32(&tdm_backoff_cpus_, 2);
	at_yield = serve_next;
	CHECK_STATUS(tdm_ticket_lock(&scene->lock), TDM_OK);
	CHECK_EQ_U64(calls.yields, 3);
	CHECK_EQ_U64(pauses_at_yield[0], 0);
	CHECK_EQ_U64(pauses_at_yield[1], 0);
	CHECK_EQ_U64(pauses_at_yield[2], 50 * 4);
	CHECK_STATUS(tdm_ticket_unlock(&scene->lock), TDM_OK);
	tdm_store_relaxed_u32(&tdm_backoff_cpus_, 0);
	at_yield = TDM_NULL;
}

int main(void)
{
	test_all_forms();
	test_words();
	test_wrap();
	test_order();
	test_backoff();
	return tap_done();
}
