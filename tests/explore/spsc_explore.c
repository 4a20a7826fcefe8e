// SPDX-License-Identifier: BSD-2-Clause
// ring/spsc.h under every schedule and every value that its loads may return. The element at
// position p is always p + 1, so that one that is lost, torn, early or there twice shows as a wrong
// value, and an edge that is missing as a data race on its payload. More elements go through a ring
// than it has slots: what is wrong about using a slot again shows only then.
#include "explore.h"

#include <string.h>

#include <tandem/ring/spsc.h>

#include "../support/broken/spsc_claim_store.h"
#include "../support/broken/spsc_early_release.h"
#include "../support/broken/spsc_early_sequence.h"
#include "../support/broken/spsc_off_by_one.h"
#include "../support/broken/spsc_recover_store.h"
#include "../support/broken/spsc_take_over_released.h"

TDM_SPSC_DEFINE(numbers, uint64_t);

#define SEATS 4U
#define HELPER 3U // the participant who acts in setup and finish

// What lies in the segment; the ring begins on a line of its own.
static struct segment {
	struct tdm_seats_shm head;
	struct tdm_seat_shm seats[SEATS];
	unsigned char ring[1024];
} * segment;
static struct tdm_spsc_shm *shm;
static struct tdm_span span;
static struct tdm_participant participants[SEATS];
static struct tdm_seat_lock_ lock; // they say that they joined through it

static struct numbers_producer producers[SEATS];
static struct numbers_consumer consumers[SEATS];
static bool robust;
static uint64_t total; // elements that are to go through

// What each thread has done, for the accounts.
static uint64_t popped[SEATS];
static unsigned busy_with; // the holder of the role that it is about, + 1
static uint64_t left_at;   // the position at which a side detached

static bool ok(enum tdm_status status)
{
	return status == TDM_OK;
}

static struct tdm_participant *participant_of(unsigned thread)
{
	return robust ? &participants[thread] : TDM_NULL;
}

// ---------------------------------------------------------------------------------------------
// Before the threads

static void sit(unsigned seat)
{
	struct tdm_participant *participant = &participants[seat];
	participant->unforked = &tdm_slots_yes_;
	participant->table.base = (unsigned char *)segment;
	participant->table.bytes = sizeof(*segment);
	participant->table.head = &segment->head;
	participant->table.seats = segment->seats;
	participant->table.seat_count = SEATS;
	participant->table.probe_fd = 99;
	participant->generation = 1;
	participant->index = seat;
	participant->lock = &lock;
	tdm_store_relaxed_u64(&segment->seats[seat].generation, 1);
	tdm_store_relaxed_u32(&segment->seats[seat].dirty, 1);
	explore_seat_holder(seat, 100 + (int)seat, seat);
}

static void make_segment(void)
{
	(void)tdm_backoff_alone_(); // asks the kernel, once
	explore_ignore(&tdm_backoff_cpus_, sizeof(tdm_backoff_cpus_));
	explore_ignore(&tdm_slots_yes_, sizeof(tdm_slots_yes_));
	segment = explore_memory(sizeof(*segment));
	explore_name(segment->seats, sizeof(segment->seats), "seats");
	explore_name(segment->ring, sizeof(segment->ring), "ring");
	shm = (struct tdm_spsc_shm *)(void *)segment->ring;
	span = tdm_memory(segment->ring, sizeof(segment->ring));
}

static struct tdm_object object_of(uint64_t capacity)
{
	struct tdm_object object = numbers_object("", capacity);
	object.plain = !robust;
	return object;
}

static void make_ring(bool with_participants, uint64_t capacity, uint64_t elements)
{
	make_segment();
	robust = with_participants;
	total = elements;
	struct tdm_object object = object_of(capacity);
	EXPLORE_CHECK(ok(tdm_spsc_init_at_(span, &object, 0)), "a ring is made");
	for (unsigned seat = 0; robust && seat < SEATS; seat++)
		sit(seat);
}

static void attach_producer(unsigned thread)
{
	EXPLORE_CHECK(ok(numbers_producer_attach(&producers[thread], span, participant_of(thread))),
		      "a producer attaches");
}

static void attach_consumer(unsigned thread)
{
	EXPLORE_CHECK(ok(numbers_consumer_attach(&consumers[thread], span, participant_of(thread))),
		      "a consumer attaches");
}

// Thread 0 pushes, thread 1 pops.
static void make_pair(bool with_participants, uint64_t capacity, uint64_t elements)
{
	make_ring(with_participants, capacity, elements);
	attach_producer(0);
	attach_consumer(1);
}

static void plain_of_1(void)
{
	make_pair(false, 1, 3);
}

static void plain_of_1_for_1(void)
{
	make_pair(false, 1, 1);
}

static void plain_of_1_for_2(void)
{
	make_pair(false, 1, 2);
}

static void plain_of_2_for_2(void)
{
	make_pair(false, 2, 2);
}

static void plain_of_2(void)
{
	make_pair(false, 2, 4);
}

static void plain_of_4(void)
{
	make_pair(false, 4, 6);
}

static void robust_of_1(void)
{
	make_pair(true, 1, 3);
}

static void robust_of_1_for_1(void)
{
	make_pair(true, 1, 1);
}

static void robust_of_2(void)
{
	make_pair(true, 2, 3);
}

static void fence(void)
{
	tdm_store_relaxed_u32(&shm->not_empty.word, TDM_EVENT_FENCED_);
	tdm_store_relaxed_u32(&shm->not_full.word, TDM_EVENT_FENCED_);
}

static void fenced_of_1_for_2(void)
{
	plain_of_1_for_2();
	fence();
}

static void fenced_of_2(void)
{
	plain_of_2();
	fence();
}

static void fenced_of_2_for_2(void)
{
	plain_of_2_for_2();
	fence();
}

static void fill(void)
{
	struct tdm_spsc_producer *producer = &producers[0].ring;
	while (producer->tail < producer->geometry.capacity) {
		uint64_t value = producer->tail + 1;
		EXPLORE_CHECK(ok(tdm_spsc_try_push(producer, &value)), "there is room");
	}
}

static void plain_full(void)
{
	plain_of_1_for_2();
	fill();
}

static void robust_full(void)
{
	make_pair(true, 1, 2);
	fill();
}

// From 8 slots on the consumer does not tell of each that it has popped, but of every second.
static void plain_full_of_8(void)
{
	make_pair(false, 8, 10);
	fill();
}

static void robust_full_of_8(void)
{
	make_pair(true, 8, 9);
	fill();
}

// ---------------------------------------------------------------------------------------------
// After the threads: whoever comes next finds everything in order.

static uint64_t popped_by_all(void)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < SEATS; i++)
		sum += popped[i];
	return sum;
}

static uint64_t deaths(void)
{
	uint64_t dead = 0;
	for (unsigned i = 0; i < HELPER; i++)
		dead += explore_died(i);
	return dead;
}

// Who is alive and still holds the role that setup gave them goes.
static void all_leave(void)
{
	for (unsigned i = 0; i < HELPER; i++) {
		struct tdm_spsc_producer *producer = &producers[i].ring;
		struct tdm_spsc_consumer *consumer = &consumers[i].ring;
		if (explore_died(i))
			continue;
		if (producer->shm != TDM_NULL &&
		    tdm_load_relaxed_u64(&shm->producer) == producer->owner)
			(void)tdm_spsc_producer_detach(producer);
		if (consumer->shm != TDM_NULL &&
		    tdm_load_relaxed_u64(&shm->consumer) == consumer->owner)
			(void)tdm_spsc_consumer_detach(consumer);
	}
}

// The dead may have popped one more than they came to count.
static void settle(void)
{
	all_leave();
	struct tdm_spsc_info info;
	EXPLORE_CHECK(ok(tdm_spsc_check(span, &info)), "the ring can be looked at");
	attach_producer(HELPER);
	attach_consumer(HELPER);
	struct tdm_spsc_producer *producer = &producers[HELPER].ring;
	struct tdm_spsc_consumer *consumer = &consumers[HELPER].ring;
	EXPLORE_CHECK(info.pushed == producer->tail && info.popped == consumer->head,
		      "check is exact when nobody is at work");
	EXPLORE_CHECK(consumer->head - popped_by_all() <= deaths(), "each is popped once");
	EXPLORE_CHECK(producer->tail <= total, "each is pushed once");
	while (consumer->head < total) {
		uint64_t value = producer->tail + 1;
		if (producer->tail < total && ok(tdm_spsc_try_push(producer, &value)))
			continue;
		uint64_t expected = consumer->head + 1;
		EXPLORE_CHECK(ok(tdm_spsc_try_pop(consumer, &value)) && value == expected,
			      "what was pushed is still there, in order");
	}
	EXPLORE_CHECK(producer->tail == total, "nothing is there that nobody pushed");
}

// ---------------------------------------------------------------------------------------------
// Threads that push and pop

static void check_value(uint64_t value, uint64_t position)
{
	EXPLORE_CHECK(value == position + 1, "elements come out in order, each once and whole");
	popped[explore_thread()]++;
}

static void push_until_position(struct numbers_producer *producer, uint64_t end)
{
	while (producer->ring.tail < end) {
		uint64_t value = producer->ring.tail + 1;
		enum tdm_status status = numbers_try_push(producer, &value);
		if (status == TDM_FULL)
			explore_await_change();
		else
			EXPLORE_CHECK(ok(status), "there is room or there is none");
	}
}

static void pop_until_position(struct numbers_consumer *consumer, uint64_t end)
{
	while (consumer->ring.head < end) {
		uint64_t value = 0;
		enum tdm_status status = numbers_try_pop(consumer, &value);
		if (status == TDM_EMPTY) {
			explore_await_change();
			continue;
		}
		EXPLORE_CHECK(ok(status), "there is an element or there is none");
		check_value(value, consumer->ring.head - 1);
	}
}

static void push_all(void)
{
	struct numbers_producer producer = producers[explore_thread()];
	push_until_position(&producer, total);
}

static void pop_all(void)
{
	struct numbers_consumer consumer = consumers[explore_thread()];
	pop_until_position(&consumer, total);
}

// --- batches ---

static void push_batches(void)
{
	struct tdm_spsc_producer producer = producers[explore_thread()].ring;
	while (producer.tail < total) {
		uint64_t values[3];
		size_t count = total - producer.tail < 3 ? (size_t)(total - producer.tail) : 3;
		for (size_t i = 0; i < count; i++)
			values[i] = producer.tail + i + 1;
		if (tdm_spsc_try_push_n(&producer, values, count, &count) == TDM_FULL)
			explore_await_change();
	}
}

static void pop_batches(void)
{
	struct tdm_spsc_consumer consumer = consumers[explore_thread()].ring;
	while (consumer.head < total) {
		uint64_t values[3] = {0}, first = consumer.head;
		size_t count;
		if (tdm_spsc_try_pop_n(&consumer, values, 3, &count) == TDM_EMPTY)
			explore_await_change();
		for (size_t i = 0; i < count; i++)
			check_value(values[i], first + i);
	}
}

// --- in place ---

static void push_in_place(void)
{
	struct numbers_producer producer = producers[explore_thread()];
	bool aborts = true; // what was written before an abort is seen by nobody
	while (producer.ring.tail < total) {
		uint64_t *slot;
		if (numbers_try_reserve(&producer, &slot) == TDM_FULL) {
			explore_await_change();
			continue;
		}
		*slot = aborts ? 99 : producer.ring.tail + 1;
		EXPLORE_CHECK(ok(aborts ? numbers_abort(&producer) : numbers_commit(&producer)),
			      "a reservation ends");
		aborts = false;
	}
}

// Looks at up to two at a time, from the second on where it is there.
static void pop_in_place(void)
{
	struct tdm_spsc_consumer consumer = consumers[explore_thread()].ring;
	while (consumer.head < total) {
		const void *slot[2];
		uint64_t count = 0;
		for (uint64_t ahead = 2; ahead-- > 0;)
			if (ok(tdm_spsc_try_peek_at(&consumer, ahead, &slot[ahead])) && count == 0)
				count = ahead + 1;
		if (count == 0) {
			explore_await_change();
			continue;
		}
		for (uint64_t i = 0; i < count; i++) {
			uint64_t value;
			memcpy(&value, slot[i], sizeof(value));
			check_value(value, consumer.head + i);
		}
		EXPLORE_CHECK(ok(tdm_spsc_release_n(&consumer, count)),
			      "what was peeked at is released");
	}
}

static void peek_all(void)
{
	struct numbers_consumer consumer = consumers[explore_thread()];
	while (consumer.ring.head < total) {
		const uint64_t *slot;
		enum tdm_status status = numbers_try_peek(&consumer, &slot);
		if (status == TDM_EMPTY) {
			explore_await_change();
			continue;
		}
		check_value(*slot, consumer.ring.head);
		EXPLORE_CHECK(ok(numbers_release(&consumer)), "what was peeked at is released");
	}
}

// --- waiting ---

static void push_waiting(void)
{
	struct numbers_producer producer = producers[explore_thread()];
	while (producer.ring.tail < total) {
		uint64_t value = producer.ring.tail + 1;
		EXPLORE_CHECK(ok(numbers_push(&producer, &value)), "room is waited for");
	}
}

static void pop_waiting(void)
{
	struct numbers_consumer consumer = consumers[explore_thread()];
	while (consumer.ring.head < total) {
		uint64_t value = 0;
		EXPLORE_CHECK(ok(numbers_pop(&consumer, &value)), "an element is waited for");
		check_value(value, consumer.ring.head - 1);
	}
}

static void push_batch_waiting(void)
{
	struct numbers_producer producer = producers[explore_thread()];
	static const uint64_t values[] = {1, 2, 3, 4};
	size_t count;
	EXPLORE_CHECK(ok(numbers_push_n_until(&producer, values, total, &count, TDM_FOREVER)) &&
			  count == total,
		      "room for all is waited for");
}

static void pop_batch_waiting(void)
{
	struct numbers_consumer consumer = consumers[explore_thread()];
	while (consumer.ring.head < total) {
		uint64_t values[4] = {0}, first = consumer.ring.head;
		size_t count;
		EXPLORE_CHECK(ok(numbers_pop_n_until(&consumer, values, 4, &count, TDM_FOREVER)),
			      "one at least is waited for");
		for (size_t i = 0; i < count; i++)
			check_value(values[i], first + i);
	}
}

static void push_in_place_waiting(void)
{
	struct numbers_producer producer = producers[explore_thread()];
	while (producer.ring.tail < total) {
		uint64_t *slot;
		EXPLORE_CHECK(ok(numbers_reserve_until(&producer, &slot, TDM_FOREVER)),
			      "a slot is waited for");
		*slot = producer.ring.tail + 1;
		EXPLORE_CHECK(ok(numbers_commit(&producer)), "a reservation ends");
	}
}

static void peek_waiting(void)
{
	struct numbers_consumer consumer = consumers[explore_thread()];
	while (consumer.ring.head < total) {
		const uint64_t *slot;
		EXPLORE_CHECK(ok(numbers_peek_until(&consumer, &slot, TDM_FOREVER)),
			      "an element is waited for");
		check_value(*slot, consumer.ring.head);
		EXPLORE_CHECK(ok(numbers_release(&consumer)), "what was peeked at is released");
	}
}

// Until the deadline; what it did not get is left for settle.
static void pop_for_a_while(void)
{
	struct numbers_consumer consumer = consumers[explore_thread()];
	uint64_t deadline = tdm_deadline_after_ns(2 * TDM_EVENT_SLICE_NS_);
	while (consumer.ring.head < total) {
		uint64_t value = 0;
		enum tdm_status status = numbers_pop_until(&consumer, &value, deadline);
		if (status == TDM_TIMED_OUT) {
			EXPLORE_CHECK(tdm_now_ns() >= deadline, "a time-out comes at the deadline");
			break;
		}
		EXPLORE_CHECK(ok(status), "there is an element, or a time-out");
		check_value(value, consumer.ring.head - 1);
	}
}

// ---------------------------------------------------------------------------------------------
// The other side leaves

static void push_and_leave(void)
{
	struct numbers_producer producer = producers[explore_thread()];
	push_until_position(&producer, total);
	left_at = producer.ring.tail;
	EXPLORE_CHECK(ok(numbers_producer_detach(&producer)), "a producer detaches");
}

static void pop_one_and_leave(void)
{
	struct numbers_consumer consumer = consumers[explore_thread()];
	pop_until_position(&consumer, 1);
	left_at = 1;
	EXPLORE_CHECK(ok(numbers_consumer_detach(&consumer)), "a consumer detaches");
}

static void leave_unused(void)
{
	unsigned thread = explore_thread();
	EXPLORE_CHECK(ok(thread == 0 ? numbers_producer_detach(&producers[thread])
				     : numbers_consumer_detach(&consumers[thread])),
		      "a side detaches");
}

static void pop_until_gone(void)
{
	struct numbers_consumer consumer = consumers[explore_thread()];
	uint64_t value = 0;
	enum tdm_status status;
	while (ok(status = numbers_pop(&consumer, &value)))
		check_value(value, consumer.ring.head - 1);
	EXPLORE_CHECK(status == TDM_PEER_LEFT || (status == TDM_PEER_DIED && robust),
		      "the wait ends with the producer");
	EXPLORE_CHECK(status == TDM_PEER_DIED || consumer.ring.head == left_at,
		      "what was pushed before the producer left is popped first");
	EXPLORE_CHECK(ok(numbers_consumer_detach(&consumer)), "a consumer detaches");
}

static void push_until_gone(void)
{
	struct numbers_producer producer = producers[explore_thread()];
	enum tdm_status status = TDM_OK;
	while (producer.ring.tail < total && ok(status)) {
		uint64_t value = producer.ring.tail + 1;
		status = numbers_push(&producer, &value);
	}
	EXPLORE_CHECK(ok(status) || status == TDM_PEER_LEFT || (status == TDM_PEER_DIED && robust),
		      "the wait ends with the consumer");
	EXPLORE_CHECK(status != TDM_PEER_LEFT || producer.ring.tail == left_at + 1,
		      "what the consumer made room for is pushed first");
	EXPLORE_CHECK(ok(numbers_producer_detach(&producer)), "a producer detaches");
}

// Nothing is pushed that the consumer did not pop before it died.
static void all_before_death(void)
{
	struct tdm_spsc_info info;
	EXPLORE_CHECK(ok(tdm_spsc_check(span, &info)), "the ring can be looked at");
	EXPLORE_CHECK(info.pushed == info.popped,
		      "what was pushed before the producer died is popped first");
	settle();
}

// ---------------------------------------------------------------------------------------------
// Roles that go from one to the next

// Nobody else is in the role, and what they did there is seen.
static void enter_role(void)
{
	EXPLORE_CHECK(busy_with == 0 || explore_died(busy_with - 1), "a role has one holder");
	busy_with = explore_thread() + 1;
}

static void become_producer(struct numbers_producer *producer)
{
	struct tdm_participant *participant = participant_of(explore_thread());
	enum tdm_status status;
	while ((status = numbers_producer_attach(producer, span, participant)) == TDM_BUSY)
		explore_await_change();
	EXPLORE_CHECK(ok(status), "a role that was given back is there for the next one");
	enter_role();
}

static void leave_producer(struct numbers_producer *producer)
{
	busy_with = 0;
	EXPLORE_CHECK(ok(numbers_producer_detach(producer)), "a producer detaches");
}

static void become_consumer(struct numbers_consumer *consumer)
{
	struct tdm_participant *participant = participant_of(explore_thread());
	enum tdm_status status;
	while ((status = numbers_consumer_attach(consumer, span, participant)) == TDM_BUSY)
		explore_await_change();
	EXPLORE_CHECK(ok(status), "a role that was given back is there for the next one");
	enter_role();
}

static void leave_consumer(struct numbers_consumer *consumer)
{
	busy_with = 0;
	EXPLORE_CHECK(ok(numbers_consumer_detach(consumer)), "a consumer detaches");
}

// The role is taken where it is free, or its holder dead by then.
static bool succeed_producer(struct numbers_producer *producer)
{
	struct tdm_participant *participant = participant_of(explore_thread());
	enum tdm_status status = numbers_producer_attach(producer, span, participant);
	if (status == TDM_BUSY)
		return false;
	EXPLORE_CHECK(ok(status), "a dead producer's role is there for the next one");
	enter_role();
	return true;
}

static bool succeed_consumer(struct numbers_consumer *consumer)
{
	struct tdm_participant *participant = participant_of(explore_thread());
	enum tdm_status status = numbers_consumer_attach(consumer, span, participant);
	if (status == TDM_BUSY)
		return false;
	EXPLORE_CHECK(ok(status), "a dead consumer's role is there for the next one");
	enter_role();
	return true;
}

static void robust_without_producer(void)
{
	make_ring(true, 2, 3);
	attach_consumer(1);
}

static void robust_without_consumer(void)
{
	make_ring(true, 2, 3);
	attach_producer(1);
}

static void robust_left_by_producer(void)
{
	robust_without_producer();
	attach_producer(0);
	EXPLORE_CHECK(ok(numbers_producer_detach(&producers[0])), "a producer detaches");
}

static void robust_left_by_consumer(void)
{
	robust_without_consumer();
	attach_consumer(0);
	EXPLORE_CHECK(ok(numbers_consumer_detach(&consumers[0])), "a consumer detaches");
}

static void push_one_more(void)
{
	struct numbers_producer producer;
	become_producer(&producer);
	push_until_position(&producer, producer.ring.tail + 1);
	leave_producer(&producer);
}

static void push_two_more(void)
{
	struct numbers_producer producer;
	become_producer(&producer);
	push_until_position(&producer, producer.ring.tail + 2);
	leave_producer(&producer);
}

static void pop_one_more(void)
{
	struct numbers_consumer consumer;
	become_consumer(&consumer);
	pop_until_position(&consumer, consumer.ring.head + 1);
	leave_consumer(&consumer);
}

static void pop_two_more(void)
{
	struct numbers_consumer consumer;
	become_consumer(&consumer);
	pop_until_position(&consumer, consumer.ring.head + 2);
	leave_consumer(&consumer);
}

// A plain ring does not keep the living out: who knows from `check` that the role was given back
// may take it.
static void push_half_and_leave(void)
{
	struct numbers_producer producer = producers[explore_thread()];
	push_until_position(&producer, total / 2);
	EXPLORE_CHECK(ok(numbers_producer_detach(&producer)), "a producer detaches");
}

static void pop_half_and_leave(void)
{
	struct numbers_consumer consumer = consumers[explore_thread()];
	pop_until_position(&consumer, total / 2);
	EXPLORE_CHECK(ok(numbers_consumer_detach(&consumer)), "a consumer detaches");
}

static void push_rest_when_left(void)
{
	struct tdm_spsc_info info;
	while (!ok(tdm_spsc_check(span, &info)) || info.producer.held)
		explore_await_change();
	attach_producer(explore_thread());
	EXPLORE_CHECK(producers[explore_thread()].ring.tail == total / 2,
		      "the next producer goes on where the last one left");
	push_all();
}

static void pop_rest_when_left(void)
{
	struct tdm_spsc_info info;
	while (!ok(tdm_spsc_check(span, &info)) || info.consumer.held)
		explore_await_change();
	attach_consumer(explore_thread());
	EXPLORE_CHECK(consumers[explore_thread()].ring.head == total / 2,
		      "the next consumer goes on where the last one left");
	pop_all();
}

// ---------------------------------------------------------------------------------------------
// Newcomers: who joins and takes a role is alive, whoever looks.

static void seat_0_is_free(void)
{
	make_segment();
	robust = true;
	total = 3;
	struct tdm_object object = object_of(2);
	EXPLORE_CHECK(ok(tdm_spsc_init_at_(span, &object, 0)), "a ring is made");
	for (unsigned seat = 1; seat < SEATS; seat++)
		sit(seat);
	attach_consumer(1);
	participants[0] = participants[1];
	participants[0].index = 0;
	participants[0].attached = 0;
}

static void join(void)
{
	struct tdm_participant *participant = &participants[explore_thread()];
	uint32_t index = participant->index;
	participant->generation = tdm_seat_take_over_(&participant->table, index, true);
	EXPLORE_CHECK(ok(TDM_SEAM_SEAT_TAKE(100 + (int)index, index)), "the seat is free");
}

static void push_where_free(void)
{
	struct numbers_producer producer;
	if (!succeed_producer(&producer))
		return;
	push_until_position(&producer, producer.ring.tail + 1);
	leave_producer(&producer);
}

static void pop_where_free(void)
{
	struct numbers_consumer consumer;
	if (!succeed_consumer(&consumer))
		return;
	uint64_t value = 0;
	if (ok(numbers_try_pop(&consumer, &value)))
		check_value(value, consumer.ring.head - 1);
	leave_consumer(&consumer);
}

static void join_and_push(void)
{
	join();
	push_where_free();
}

static void see_newcomer(void)
{
	struct numbers_consumer consumer = consumers[explore_thread()];
	enum tdm_status peer = tdm_spsc_consumer_peer(&consumer.ring);
	EXPLORE_CHECK(ok(peer) || peer == TDM_NOT_FOUND || peer == TDM_PEER_LEFT,
		      "the living are not taken for dead");
}

// Gives its role back, and then its seat, as tdm_participant_leave does.
static void leave_for_good(void)
{
	unsigned thread = explore_thread();
	leave_unused();
	tdm_store_release_u32(&segment->seats[thread].dirty, 0);
	TDM_SEAM_SEAT_DROP(100 + (int)thread, thread);
}

static void recover_beside(void)
{
	uint32_t recovered;
	EXPLORE_CHECK(ok(tdm_spsc_recover(span, &participants[explore_thread()], &recovered)),
		      "a ring is recovered");
	EXPLORE_CHECK(recovered == 0, "the living are not taken for dead");
}

// ---------------------------------------------------------------------------------------------
// Death

// As many as there is room for.
static void push_some(struct numbers_producer *producer)
{
	enum tdm_status status = TDM_OK;
	while (ok(status) && producer->ring.tail < total) {
		uint64_t value = producer->ring.tail + 1;
		status = numbers_try_push(producer, &value);
	}
	EXPLORE_CHECK(ok(status) || status == TDM_FULL, "there is room or there is none");
}

// As many as are there.
static void pop_some(struct numbers_consumer *consumer)
{
	uint64_t value = 0;
	enum tdm_status status;
	while (ok(status = numbers_try_pop(consumer, &value)))
		check_value(value, consumer->ring.head - 1);
	EXPLORE_CHECK(status == TDM_EMPTY, "there is an element or there is none");
}

static void push_what_fits(void)
{
	struct numbers_producer producer = producers[explore_thread()];
	push_some(&producer);
}

static void push_some_and_leave(void)
{
	struct numbers_producer producer = producers[explore_thread()];
	push_some(&producer);
	left_at = producer.ring.tail;
	EXPLORE_CHECK(ok(numbers_producer_detach(&producer)), "a producer detaches");
}

static void pop_what_is_there(void)
{
	struct numbers_consumer consumer = consumers[explore_thread()];
	pop_some(&consumer);
}

static void pop_some_and_leave(void)
{
	struct numbers_consumer consumer = consumers[explore_thread()];
	pop_some(&consumer);
	EXPLORE_CHECK(ok(numbers_consumer_detach(&consumer)), "a consumer detaches");
}

static void take_over_and_push(void)
{
	struct numbers_producer producer;
	if (!succeed_producer(&producer))
		return;
	EXPLORE_CHECK(!producer.ring.took_over || deaths() > 0, "who took over is told so");
	push_some(&producer);
	leave_producer(&producer);
}

static void take_over_and_pop(void)
{
	struct numbers_consumer consumer;
	if (!succeed_consumer(&consumer))
		return;
	EXPLORE_CHECK(!consumer.ring.took_over || deaths() > 0, "who took over is told so");
	pop_some(&consumer);
	leave_consumer(&consumer);
}

static void recover(void)
{
	uint32_t recovered;
	EXPLORE_CHECK(ok(tdm_spsc_recover(span, &participants[explore_thread()], &recovered)),
		      "a ring is recovered");
	EXPLORE_CHECK(recovered <= deaths(), "the living are not taken for dead");
}

// Notes the death, if there was one; then somebody else, who learns of it from the word alone,
// goes on.
static void push_after_recovery(void)
{
	struct numbers_producer producer;
	if (tdm_load_relaxed_u64(&shm->producer) != TDM_ROLE_DIED_)
		return;
	EXPLORE_CHECK(succeed_producer(&producer) && producer.ring.took_over,
		      "who comes after a recovery is told of the death");
	push_some(&producer);
	leave_producer(&producer);
}

static void pop_after_recovery(void)
{
	struct numbers_consumer consumer;
	if (tdm_load_relaxed_u64(&shm->consumer) != TDM_ROLE_DIED_)
		return;
	EXPLORE_CHECK(succeed_consumer(&consumer) && consumer.ring.took_over,
		      "who comes after a recovery is told of the death");
	pop_some(&consumer);
	leave_consumer(&consumer);
}

// ---------------------------------------------------------------------------------------------
// Looking, and a ring's first moment

static void look(void)
{
	struct tdm_spsc_info info;
	EXPLORE_CHECK(ok(tdm_spsc_check(span, &info)), "the ring can be looked at");
	EXPLORE_CHECK(info.pushed - info.popped <= info.capacity && info.pushed <= total,
		      "what is there fits, and was pushed");
}

static void memory_only(void)
{
	make_segment();
	robust = false;
	total = 1;
}

static void init_ring(void)
{
	EXPLORE_CHECK(ok(numbers_init(segment->ring, sizeof(segment->ring), 2)), "a ring is made");
}

static void attach_to_new_ring(void)
{
	struct numbers_producer *producer = &producers[explore_thread()];
	enum tdm_status status;
	while ((status = numbers_producer_attach(producer, span, NULL)) == TDM_NOT_INITIALIZED)
		explore_await_change();
	EXPLORE_CHECK(ok(status), "a ring is there as a whole or not yet");
	push_all();
}

static void all_pushed(void)
{
	struct tdm_spsc_info info;
	EXPLORE_CHECK(ok(tdm_spsc_check(span, &info)) && info.pushed == total,
		      "what was pushed is there");
	settle();
}

// ---------------------------------------------------------------------------------------------
// Broken variants

static void push_early_sequence(void)
{
	struct tdm_spsc_producer producer = producers[explore_thread()].ring;
	uint64_t value = 1;
	(void)broken_spsc_early_sequence(&producer, &value);
}

static void push_off_by_one(void)
{
	struct tdm_spsc_producer producer = producers[explore_thread()].ring;
	for (uint64_t value = 1; value <= total; value++)
		while (broken_spsc_off_by_one(&producer, &value) == TDM_FULL)
			explore_await_change();
}

static void pop_early_release(void)
{
	struct tdm_spsc_consumer consumer = consumers[explore_thread()].ring;
	while (consumer.head < total) {
		uint64_t value;
		if (broken_spsc_early_release(&consumer, &value) == TDM_EMPTY)
			explore_await_change();
	}
}

static void claim_by_store(void)
{
	struct numbers_producer producer;
	struct tdm_participant *participant = participant_of(explore_thread());
	if (!ok(broken_claim_store(&producer.ring, span, 0, participant)))
		return;
	enter_role();
	leave_producer(&producer);
}

static void recover_by_store(void)
{
	EXPLORE_CHECK(ok(broken_recover_store(span, &participants[explore_thread()])),
		      "a ring is recovered");
}

static void take_over_released(void)
{
	struct tdm_spsc_consumer consumer;
	struct tdm_participant *participant = participant_of(explore_thread());
	if (!ok(broken_take_over_released(&consumer, span, 0, participant)))
		return;
	uint64_t value = 0;
	while (ok(tdm_spsc_try_pop(&consumer, &value)))
		check_value(value, consumer.head - 1);
	(void)tdm_spsc_consumer_detach(&consumer);
}

// ---------------------------------------------------------------------------------------------

static const struct explore_case cases[] = {
    {.name = "one slot", .setup = plain_of_1, .threads = {push_all, pop_all}, .finish = settle},
    {.name = "two slots", .setup = plain_of_2, .threads = {push_all, pop_all}, .finish = settle},
    {.name = "four slots", .setup = plain_of_4, .threads = {push_all, pop_all}, .finish = settle},
    {.name = "batches, one slot",
     .setup = plain_of_1,
     .threads = {push_batches, pop_batches},
     .finish = settle},
    {.name = "batches, two slots",
     .setup = plain_of_2,
     .threads = {push_batches, pop_batches},
     .finish = settle},
    {.name = "batches, four slots",
     .setup = plain_of_4,
     .threads = {push_batches, pop_batches},
     .finish = settle},
    {.name = "in place, one slot",
     .setup = plain_of_1,
     .threads = {push_in_place, peek_all},
     .finish = settle},
    {.name = "in place, a window on both slots",
     .setup = plain_of_2,
     .threads = {push_in_place, pop_in_place},
     .finish = settle},
    {.name = "in place, a window in four slots",
     .setup = plain_of_4,
     .threads = {push_in_place, pop_in_place},
     .finish = settle},
    {.name = "eight slots, released by twos",
     .setup = plain_full_of_8,
     .threads = {push_all, pop_all},
     .finish = settle},
    {.name = "waiting for eight slots, released by twos",
     .setup = plain_full_of_8,
     .threads = {push_waiting, pop_all},
     .finish = settle},
    {.name = "waiting for an element",
     .setup = plain_of_2_for_2,
     .threads = {push_all, pop_waiting},
     .finish = settle},
    {.name = "waiting for room",
     .setup = plain_of_1_for_2,
     .threads = {push_waiting, pop_all},
     .finish = settle},
    {.name = "waiting for an element, fenced events",
     .setup = fenced_of_2_for_2,
     .threads = {push_all, pop_waiting},
     .finish = settle},
    {.name = "waiting for room, fenced events",
     .setup = fenced_of_1_for_2,
     .threads = {push_waiting, pop_all},
     .finish = settle},
    {.name = "waiting, one slot",
     .setup = plain_of_1_for_2,
     .threads = {push_waiting, pop_waiting},
     .finish = settle},
    {.name = "waiting until a deadline",
     .setup = plain_of_2_for_2,
     .threads = {push_what_fits, pop_for_a_while},
     .finish = settle,
     .timeouts = 1,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "a producer leaves",
     .setup = plain_of_1_for_1,
     .threads = {leave_unused, pop_until_gone}},
    {.name = "a producer pushes and leaves",
     .setup = plain_of_1_for_1,
     .threads = {push_and_leave, pop_until_gone},
     .finish = settle},
    {.name = "a consumer leaves", .setup = plain_full, .threads = {push_until_gone, leave_unused}},
    {.name = "a consumer pops and leaves",
     .setup = plain_full,
     .threads = {push_until_gone, pop_one_and_leave},
     .finish = settle},
    {.name = "a participant pushes and leaves",
     .setup = robust_of_1_for_1,
     .threads = {push_and_leave, pop_until_gone},
     .finish = settle},
    {.name = "a participant leaves for good",
     .setup = robust_of_1_for_1,
     .threads = {leave_for_good, see_newcomer}},
    {.name = "another thread becomes the plain ring's producer",
     .setup = plain_of_2,
     .threads = {push_half_and_leave, pop_all, push_rest_when_left},
     .finish = settle},
    {.name = "another thread becomes the plain ring's consumer",
     .setup = plain_of_2,
     .threads = {push_all, pop_half_and_leave, pop_rest_when_left},
     .finish = settle},
    {.name = "two want to be the producer",
     .setup = robust_left_by_producer,
     .threads = {push_where_free, pop_what_is_there, push_where_free},
     .finish = settle,
     .spurious = 1},
    {.name = "two want to be the consumer",
     .setup = robust_left_by_consumer,
     .threads = {pop_where_free, push_what_fits, pop_where_free},
     .finish = settle,
     .spurious = 1},
    {.name = "a newcomer's role is not taken",
     .setup = seat_0_is_free,
     .threads = {join_and_push, push_where_free},
     .finish = settle},
    {.name = "a newcomer is seen alive",
     .setup = seat_0_is_free,
     .threads = {join_and_push, see_newcomer},
     .finish = settle},
    {.name = "a newcomer is not recovered",
     .setup = seat_0_is_free,
     .threads = {join_and_push, recover_beside},
     .finish = settle},
    {.name = "a producer dies, another takes over",
     .setup = robust_of_1,
     .threads = {push_some_and_leave, pop_some_and_leave, take_over_and_push},
     .finish = settle,
     .can_die = 1,
     .deaths = 1},
    {.name = "a consumer dies, another takes over",
     .setup = robust_of_1,
     .threads = {push_some_and_leave, pop_some_and_leave, take_over_and_pop},
     .finish = settle,
     .can_die = 2,
     .deaths = 1},
    {.name = "a consumer dies and had not told of all that it popped",
     .setup = robust_full_of_8,
     .threads = {push_some_and_leave, pop_some_and_leave, take_over_and_pop},
     .finish = settle,
     .can_die = 2,
     .deaths = 1},
    {.name = "a producer dies, two want to take over",
     .setup = robust_of_2,
     .threads = {push_some_and_leave, take_over_and_push, take_over_and_push},
     .finish = settle,
     .can_die = 1,
     .deaths = 1,
     .spurious = 1},
    {.name = "a consumer dies, two want to take over",
     .setup = robust_full,
     .threads = {take_over_and_pop, pop_some_and_leave, take_over_and_pop},
     .finish = settle,
     .can_die = 2,
     .deaths = 1,
     .spurious = 1},
    {.name = "a producer dies, and who takes over, too",
     .setup = robust_of_2,
     .threads = {push_some_and_leave, take_over_and_push, take_over_and_push},
     .finish = settle,
     .can_die = 3,
     .deaths = 2},
    {.name = "both sides die",
     .setup = robust_of_2,
     .threads = {push_some_and_leave, pop_some_and_leave, take_over_and_push},
     .finish = settle,
     .can_die = 3,
     .deaths = 2},
    {.name = "a producer dies beside a waiting consumer",
     .setup = robust_of_1_for_1,
     .threads = {push_some_and_leave, pop_until_gone},
     .finish = all_before_death,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "a consumer dies beside a waiting producer",
     .setup = robust_full,
     .threads = {push_until_gone, pop_one_and_leave},
     .finish = settle,
     .can_die = 2,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "a producer dies, recover notes it, another goes on",
     .setup = robust_of_2,
     .threads = {push_some_and_leave, recover, push_after_recovery},
     .finish = settle,
     .can_die = 1,
     .deaths = 1},
    {.name = "a consumer dies, recover notes it, another goes on",
     .setup = robust_of_2,
     .threads = {recover, pop_some_and_leave, pop_after_recovery},
     .finish = settle,
     .can_die = 2,
     .deaths = 1},
    {.name = "looking at a ring at work",
     .setup = plain_of_1,
     .threads = {push_all, pop_all, look},
     .finish = settle},
    {.name = "attaching to a ring that is just being made",
     .setup = memory_only,
     .threads = {init_ring, attach_to_new_ring},
     .finish = all_pushed},

    // What takes longer.
    {.name = "waiting, one slot, fenced events",
     .setup = fenced_of_1_for_2,
     .threads = {push_waiting, pop_waiting},
     .finish = settle,
     .spurious = 1},
    {.name = "waiting for batches, two slots",
     .setup = plain_of_2,
     .threads = {push_batch_waiting, pop_batch_waiting},
     .finish = settle,
     .random = 50000},
    {.name = "waiting in place, two slots, fenced events",
     .setup = fenced_of_2,
     .threads = {push_in_place_waiting, peek_waiting},
     .finish = settle,
     .random = 50000},
    {.name = "a producer pushes twice and leaves, fenced events",
     .setup = fenced_of_2_for_2,
     .threads = {push_and_leave, pop_until_gone},
     .finish = settle},
    {.name = "two take turns as producer",
     .setup = robust_left_by_producer,
     .threads = {push_one_more, pop_all, push_two_more},
     .finish = settle,
     .random = 50000},
    {.name = "two take turns as consumer",
     .setup = robust_left_by_consumer,
     .threads = {pop_one_more, push_all, pop_two_more},
     .finish = settle,
     .random = 50000},
    {.name = "recover wakes who waits beside the dead",
     .setup = robust_of_1,
     .threads = {push_some_and_leave, pop_until_gone, recover},
     .finish = all_before_death,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES,
     .random = 50000},

    {.name = "broken: the sequence comes before the payload",
     .setup = plain_of_1,
     .threads = {push_early_sequence, pop_all},
     .expect = "data race on ring+"},
    {.name = "broken: a slot is given back before it is read",
     .setup = plain_of_1,
     .threads = {push_all, pop_early_release},
     .expect = "data race on ring+"},
    {.name = "broken: a producer that believes in one slot more",
     .setup = plain_of_2,
     .threads = {push_off_by_one, pop_all},
     .expect = "there is an element or there is none"},
    {.name = "broken: a role is claimed by a store",
     .setup = robust_without_producer,
     .threads = {claim_by_store, claim_by_store},
     .expect = "data race on busy_with"},
    {.name = "broken: recover notes a death by a store",
     .setup = robust_of_1,
     .threads = {push_some_and_leave, recover_by_store, take_over_and_push},
     .can_die = 1,
     .deaths = 1,
     .expect = "a producer detaches"},
    {.name = "broken: a take-over begins where the dead had released to",
     .setup = robust_of_1,
     .threads = {push_some_and_leave, pop_some_and_leave, take_over_released},
     .finish = settle,
     .can_die = 2,
     .deaths = 1,
     .expect = "each is popped once"},
};

int main(int argc, char **argv)
{
	return explore_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
