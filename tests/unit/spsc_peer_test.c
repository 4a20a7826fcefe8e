// SPDX-License-Identifier: BSD-2-Clause
// Several processes at a ring: who holds a role, what is left when somebody leaves, dies, is
// stopped or forks, and waiting.
#include <stdint.h>

#include <tandem/base/status.h>

static enum tdm_status look_at_seat(int fd, uint32_t index);
#define TDM_SEAM_SEAT_LOOK(fd, index) look_at_seat(fd, index)

#include <tandem.h>
#include <tandem/base/sanitizer.h>

#include "../support/child.h"
#include "../support/cpu.h"
#include "../support/tap.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

struct job {
	uint64_t id;
	char text[16];
};
TDM_SPSC_DEFINE(jobs, struct job);

#define ATTACH(role, handle, span, elem_size, self)                                                \
	tdm_spsc_##role##_attach(handle, span, elem_size, self)
#define BARE(h) (h)
#define ELEM void
#define FORM(op) tdm_spsc_##op
#define NAMED(x) x##_untyped
#include "spsc_forms.h"

#define ATTACH(role, handle, span, elem_size, self) jobs_##role##_attach(handle, span, self)
#define BARE(h) (h).ring
#define ELEM struct job
#define FORM(op) jobs_##op
#define NAMED(x) x##_jobs
#include "spsc_forms.h"

#define MS UINT64_C(1000000)
#define CAPACITY 8U

// What a case works with: a segment without a name, which children inherit, and notes.
struct notes {
	tdm_atomic_u32 stage; // how far the child is
	tdm_atomic_u32 go;    // how far it may go
};
static struct tdm_segment segment;
static struct tdm_participant self;
static struct tdm_span ring;  // robust, 8 numbers
static struct tdm_span plain; // the same without participants
static struct tdm_span typed; // robust, 8 jobs
static struct notes *notes;
static struct tdm_spsc_producer out;
static struct tdm_spsc_consumer in;

static void (*before_look)(void); // called once, before a seat is looked at, or NULL

static enum tdm_status look_at_seat(int fd, uint32_t index)
{
	void (*once)(void) = before_look;
	before_look = TDM_NULL;
	if (once != TDM_NULL)
		once();
	return tdm_seat_look_kernel_(fd, index);
}

static void set_up(void)
{
	struct tdm_object objects[3];
	objects[0] = tdm_spsc_object("ring", 8, CAPACITY);
	objects[1] = tdm_spsc_object("plain", 8, CAPACITY);
	objects[1].plain = true;
	objects[2] = jobs_object("typed", CAPACITY);
	if (!CHECK_STATUS(tdm_segment_create(&segment, objects, 3, TDM_NULL), TDM_OK) ||
	    !CHECK_STATUS(tdm_segment_join(&segment, &self, "test"), TDM_OK))
		abort();
	ring = tdm_segment_find(&segment, "ring");
	plain = tdm_segment_find(&segment, "plain");
	typed = tdm_segment_find(&segment, "typed");
	memset(&out, 0, sizeof(out));
	memset(&in, 0, sizeof(in));
	notes = TDM_CAST(struct notes *, child_shared(sizeof(*notes)));
}

static void tear_down(void)
{
	if (out.shm != TDM_NULL)
		CHECK_STATUS(tdm_spsc_producer_detach(&out), TDM_OK);
	if (in.shm != TDM_NULL)
		CHECK_STATUS(tdm_spsc_consumer_detach(&in), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	munmap(notes, sizeof(*notes));
}

static void produce(void)
{
	CHECK_STATUS(tdm_spsc_producer_attach(&out, ring, 8, &self), TDM_OK);
}

static void consume(void)
{
	CHECK_STATUS(tdm_spsc_consumer_attach(&in, ring, 8, &self), TDM_OK);
}

// Pushes the numbers from the position on.
static void push(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		uint64_t value = tdm_spsc_producer_position(&out);
		CHECK_STATUS(tdm_spsc_try_push(&out, &value), TDM_OK);
	}
}

static void pop(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		uint64_t expected = tdm_spsc_consumer_position(&in);
		uint64_t value = ~expected;
		CHECK_STATUS(tdm_spsc_try_pop(&in, &value), TDM_OK);
		CHECK_EQ_U64(value, expected);
	}
}

// In a child: a seat of its own, and none of its parent's handles.
static void join(void)
{
	memset(&out, 0, sizeof(out));
	memset(&in, 0, sizeof(in));
	CHECK_STATUS(tdm_segment_join(&segment, &self, "child"), TDM_OK);
}

static void leave(void)
{
	if (out.shm != TDM_NULL)
		CHECK_STATUS(tdm_spsc_producer_detach(&out), TDM_OK);
	if (in.shm != TDM_NULL)
		CHECK_STATUS(tdm_spsc_consumer_detach(&in), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
}

static void reach(uint32_t stage)
{
	tdm_store_release_u32(&notes->stage, stage);
}

static void await_stage(uint32_t stage)
{
	CHECK(child_await_u32(&notes->stage, stage));
}

static void await_death(void)
{
	reach(1);
	for (;;)
		pause();
}

static struct tdm_spsc_shm *shm(void)
{
	return TDM_CAST(struct tdm_spsc_shm *, ring.base);
}

// Somebody has armed the event since it was last notified, and is asleep or about to be.
static bool comes_to_sleep(const struct tdm_event *event)
{
	uint64_t deadline_ns = tdm_deadline_after_ns(CHILD_PATIENCE_NS);
	while ((tdm_load_relaxed_u32(&event->word) & TDM_EVENT_ARMED_) == 0) {
		if (tdm_now_ns() > deadline_ns)
			return false;
		child_sleep_ms(1);
	}
	return true;
}

// --- who holds a role ---

static void tries_roles(void *argument)
{
	(void)argument;
	join();
	CHECK_STATUS(tdm_spsc_producer_attach(&out, ring, 8, &self), TDM_BUSY);
	CHECK_STATUS(tdm_spsc_consumer_attach(&in, ring, 8, &self), TDM_BUSY);
	all_of_producer_untyped(&out, TDM_INVALID);
	all_of_consumer_untyped(&in, TDM_INVALID);
	leave();
}

static void test_one_each(void)
{
	struct tdm_participant second;
	struct tdm_spsc_producer second_out;
	struct tdm_spsc_consumer second_in;
	tap_case("a second producer or consumer is told that the role is taken");
	set_up();
	CHECK_STATUS(tdm_segment_join(&segment, &second, "second"), TDM_OK);
	produce();
	CHECK_STATUS(tdm_spsc_producer_peer(&out), TDM_NOT_FOUND);
	consume();
	CHECK_STATUS(tdm_spsc_producer_peer(&out), TDM_OK);
	CHECK_STATUS(tdm_spsc_producer_attach(&second_out, ring, 8, &second), TDM_BUSY);
	CHECK_STATUS(tdm_spsc_consumer_attach(&second_in, ring, 8, &second), TDM_BUSY);
	CHECK_STATUS(tdm_spsc_producer_attach(&second_out, ring, 8, &self), TDM_BUSY);
	child_end(child_start(tries_roles, TDM_NULL));
	push(1);
	pop(1);

	tap_case("a role that was given back can be had, and it was not taken from the dead");
	CHECK_STATUS(tdm_spsc_producer_detach(&out), TDM_OK);
	CHECK_STATUS(tdm_spsc_producer_attach(&second_out, ring, 8, &second), TDM_OK);
	CHECK(!second_out.took_over);
	CHECK_EQ_U64(tdm_spsc_producer_position(&second_out), 1);
	CHECK_STATUS(tdm_spsc_producer_detach(&second_out), TDM_OK);
	CHECK_STATUS(tdm_spsc_consumer_detach(&in), TDM_OK);
	CHECK_STATUS(tdm_spsc_consumer_attach(&second_in, ring, 8, &second), TDM_OK);
	CHECK(!second_in.took_over);
	CHECK_EQ_U64(tdm_spsc_consumer_position(&second_in), 1);
	CHECK_STATUS(tdm_spsc_consumer_detach(&second_in), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&second), TDM_OK);
	tear_down();
}

static void dies_producing(void *argument)
{
	uint64_t count = *TDM_CAST(const uint64_t *, argument);
	void *slot = TDM_NULL;
	join();
	produce();
	push(count);
	if (count < CAPACITY) { // with a half-written element
		CHECK_STATUS(tdm_spsc_try_reserve(&out, &slot), TDM_OK);
		memset(slot, 0xee, 8);
	}
	await_death();
}

static void test_producer_dies(void)
{
	struct tdm_spsc_info info;
	tap_case("a dead producer's role is taken over, and the position says what arrived");
	for (uint64_t pushed = 0; pushed <= CAPACITY; pushed += 2)
		for (uint64_t popped = 0; popped <= pushed; popped += 3) {
			uint64_t value = 0;
			set_up();
			consume();
			pid_t child = child_start(dies_producing, &pushed);
			await_stage(1);
			pop(popped);
			CHECK_STATUS(tdm_spsc_producer_attach(&out, ring, 8, &self), TDM_BUSY);
			child_kill(child);
			CHECK_STATUS(tdm_spsc_consumer_peer(&in), TDM_PEER_DIED);
			produce();
			CHECK(out.took_over);
			CHECK_EQ_U64(tdm_spsc_producer_position(&out), pushed);
			CHECK_STATUS(tdm_spsc_check(ring, &info), TDM_OK);
			CHECK_EQ_U64(info.pushed, pushed);
			CHECK_EQ_U64(info.popped, popped);
			push(popped + CAPACITY - pushed);
			CHECK_STATUS(tdm_spsc_try_push(&out, &value), TDM_FULL);
			pop(CAPACITY);
			CHECK_STATUS(tdm_spsc_try_pop(&in, &value), TDM_EMPTY);
			tear_down();
		}
}

static void dies_consuming(void *argument)
{
	const void *seen = TDM_NULL;
	join();
	consume();
	pop(*TDM_CAST(const uint64_t *, argument));
	(void)!tdm_spsc_try_peek(&in, &seen);
	await_death();
}

static void test_consumer_dies(void)
{
	tap_case("a dead consumer's role is taken over: what it popped is gone, the rest is there");
	for (uint64_t pushed = 0; pushed <= CAPACITY; pushed += 2)
		for (uint64_t popped = 0; popped <= pushed; popped += 3) {
			uint64_t value = 0;
			set_up();
			produce();
			push(pushed);
			pid_t child = child_start(dies_consuming, &popped);
			await_stage(1);
			CHECK_STATUS(tdm_spsc_consumer_attach(&in, ring, 8, &self), TDM_BUSY);
			child_kill(child);
			CHECK_STATUS(tdm_spsc_producer_peer(&out), TDM_PEER_DIED);
			// Room is exact even though the dead gave back in batches.
			push(popped + CAPACITY - pushed);
			CHECK_STATUS(tdm_spsc_try_push(&out, &value), TDM_FULL);
			consume();
			CHECK(in.took_over);
			CHECK_EQ_U64(tdm_spsc_consumer_position(&in), popped);
			CHECK_STATUS(tdm_spsc_release(&in), TDM_INVALID);
			pop(CAPACITY);
			CHECK_STATUS(tdm_spsc_try_pop(&in, &value), TDM_EMPTY);
			tear_down();
		}
}

static void *ends_producing(void *argument)
{
	struct tdm_participant mine;
	struct tdm_spsc_producer producer;
	(void)argument;
	CHECK_STATUS(tdm_segment_join(&segment, &mine, "thread"), TDM_OK);
	CHECK_STATUS(tdm_spsc_producer_attach(&producer, ring, 8, &mine), TDM_OK);
	for (uint64_t i = 0; i < 3; i++)
		CHECK_STATUS(tdm_spsc_try_push(&producer, &i), TDM_OK);
	return TDM_NULL;
}

static void test_thread_ends(void)
{
	pthread_t thread;
	uint64_t value = 0;
	tap_case("a thread that ends without leaving has died");
	set_up();
	consume();
	CHECK(pthread_create(&thread, TDM_NULL, ends_producing, TDM_NULL) == 0);
	for (uint64_t i = 0; i < 3; i++) {
		CHECK_STATUS(tdm_spsc_pop(&in, &value), TDM_OK);
		CHECK_EQ_U64(value, i);
	}
	CHECK_STATUS(tdm_spsc_pop(&in, &value), TDM_PEER_DIED);
	CHECK(pthread_join(thread, TDM_NULL) == 0);
	produce();
	CHECK(out.took_over);
	push(1);
	pop(1);
	tear_down();
}

// --- the other side goes ---

// How it goes.
enum way { LEAVES, DIES, LEAVES_LATER, DIES_LATER, WAYS };

static bool dies(enum way way)
{
	return way == DIES || way == DIES_LATER;
}

// Holds the role until the other side sleeps, or not, then goes.
static void go(enum way way, const struct tdm_event *event)
{
	if (way == LEAVES_LATER || way == DIES_LATER)
		CHECK(comes_to_sleep(event));
	if (dies(way))
		kill(getpid(), SIGKILL);
	leave();
}

static void produces_and_goes(void *argument)
{
	join();
	produce();
	push(3);
	reach(1);
	go(*TDM_CAST(const enum way *, argument), &shm()->not_empty);
}

static void consumes_and_goes(void *argument)
{
	join();
	consume();
	pop(3);
	reach(1);
	go(*TDM_CAST(const enum way *, argument), &shm()->not_full);
}

static void reap(pid_t child, enum way way)
{
	int status = 0;
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(dies(way) ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL : status == 0);
}

static void test_producer_goes(void)
{
	static const char *const forms[] = {"pop", "pop_until", "pop_n_until", "peek_until"};
	for (size_t form = 0; form < COUNT(forms); form++) {
		char sentence[100];
		snprintf(sentence, sizeof(sentence),
			 "%s gives all there is, then tells how the producer went", forms[form]);
		tap_case(sentence);
		for (unsigned n = 0; n < WAYS; n++) {
			enum way way = TDM_CAST(enum way, n);
			enum tdm_status status = TDM_OK;
			uint64_t values[8] = {0};
			const void *seen = TDM_NULL;
			size_t popped = 0;
			uint64_t deadline_ns = tdm_deadline_after_ns(CHILD_PATIENCE_NS);
			set_up();
			consume();
			pid_t child = child_start(produces_and_goes, &way);
			if (way == LEAVES || way == DIES)
				reap(child, way);
			while (status == TDM_OK) {
				switch (form) {
				case 0:
					status = tdm_spsc_pop(&in, values);
					break;
				case 1:
					status = tdm_spsc_pop_until(&in, values, deadline_ns);
					break;
				case 2:
					status = tdm_spsc_pop_n_until(&in, values, 8, &popped,
								      deadline_ns);
					break;
				default:
					status = tdm_spsc_peek_until(&in, &seen, deadline_ns);
					if (status == TDM_OK)
						CHECK_STATUS(tdm_spsc_release(&in), TDM_OK);
					break;
				}
			}
			CHECK_STATUS(status, dies(way) ? TDM_PEER_DIED : TDM_PEER_LEFT);
			CHECK_EQ_U64(popped, 0);
			CHECK(seen == TDM_NULL);
			CHECK_EQ_U64(tdm_spsc_consumer_position(&in), 3);
			if (way == LEAVES_LATER || way == DIES_LATER)
				reap(child, way);
			produce();
			CHECK(out.took_over == dies(way));
			push(1);
			pop(1);
			tear_down();
		}
	}
}

static void test_consumer_goes(void)
{
	static const char *const forms[] = {"push", "push_until", "push_n_until", "reserve_until"};
	for (size_t form = 0; form < COUNT(forms); form++) {
		char sentence[100];
		snprintf(sentence, sizeof(sentence),
			 "%s uses all the room there is, then tells how the consumer went",
			 forms[form]);
		tap_case(sentence);
		for (unsigned n = 0; n < WAYS; n++) {
			enum way way = TDM_CAST(enum way, n);
			enum tdm_status status = TDM_OK;
			uint64_t values[100] = {0};
			void *slot = TDM_NULL;
			size_t pushed = 0;
			uint64_t deadline_ns = tdm_deadline_after_ns(CHILD_PATIENCE_NS);
			set_up();
			produce();
			push(CAPACITY);
			pid_t child = child_start(consumes_and_goes, &way);
			if (way == LEAVES || way == DIES)
				reap(child, way);
			while (status == TDM_OK) {
				switch (form) {
				case 0:
					status = tdm_spsc_push(&out, values);
					break;
				case 1:
					status = tdm_spsc_push_until(&out, values, deadline_ns);
					break;
				case 2:
					status = tdm_spsc_push_n_until(&out, values, COUNT(values),
								       &pushed, deadline_ns);
					CHECK_EQ_U64(pushed, 3);
					break;
				default:
					status = tdm_spsc_reserve_until(&out, &slot, deadline_ns);
					if (status == TDM_OK)
						CHECK_STATUS(tdm_spsc_commit(&out), TDM_OK);
					break;
				}
			}
			CHECK_STATUS(status, dies(way) ? TDM_PEER_DIED : TDM_PEER_LEFT);
			CHECK(slot == TDM_NULL);
			CHECK_EQ_U64(tdm_spsc_producer_position(&out), CAPACITY + 3);
			if (way == LEAVES_LATER || way == DIES_LATER)
				reap(child, way);
			consume();
			CHECK(in.took_over == dies(way));
			CHECK_EQ_U64(tdm_spsc_consumer_position(&in), 3);
			tear_down();
		}
	}
}

static void produces_later(void *argument)
{
	enum way way = *TDM_CAST(const enum way *, argument);
	join();
	CHECK(comes_to_sleep(&shm()->not_empty));
	produce();
	push(1);
	if (dies(way))
		kill(getpid(), SIGKILL);
	leave();
}

static void consumes_later(void *argument)
{
	enum way way = *TDM_CAST(const enum way *, argument);
	join();
	CHECK(comes_to_sleep(&shm()->not_full));
	consume();
	pop(1);
	if (dies(way))
		kill(getpid(), SIGKILL);
	leave();
}

static void test_follow(void)
{
	uint64_t value = 0;
	tap_case("a consumer that follows waits for the next producer, and the next");
	set_up();
	consume();
	in.follow = true;
	for (unsigned n = 0; n < 4; n++) {
		enum way way = n % 2 == 0 ? LEAVES : DIES;
		pid_t child = child_start(produces_later, &way);
		CHECK_STATUS(tdm_spsc_pop(&in, &value), TDM_OK);
		CHECK_EQ_U64(value, n);
		reap(child, way);
		CHECK_STATUS(tdm_spsc_pop_until(&in, &value, tdm_deadline_after_ns(5 * MS)),
			     TDM_TIMED_OUT);
	}
	in.follow = false;
	CHECK_STATUS(tdm_spsc_pop(&in, &value), TDM_PEER_DIED);
	tear_down();

	tap_case("a producer that follows waits for the next consumer, and the next");
	set_up();
	produce();
	push(CAPACITY);
	out.follow = true;
	for (unsigned n = 0; n < 4; n++) {
		enum way way = n % 2 == 0 ? LEAVES : DIES;
		pid_t child = child_start(consumes_later, &way);
		value = CAPACITY + n;
		CHECK_STATUS(tdm_spsc_push(&out, &value), TDM_OK);
		reap(child, way);
		CHECK_STATUS(tdm_spsc_push_until(&out, &value, tdm_deadline_after_ns(5 * MS)),
			     TDM_TIMED_OUT);
	}
	out.follow = false;
	CHECK_STATUS(tdm_spsc_push(&out, &value), TDM_PEER_DIED);
	CHECK_EQ_U64(tdm_spsc_producer_position(&out), CAPACITY + 4);
	tear_down();

	tap_case("peek_until and reserve_until hand out what they waited for");
	enum way leaves = LEAVES;
	const void *seen = TDM_NULL;
	void *slot = TDM_NULL;
	set_up();
	consume();
	pid_t peer = child_start(produces_later, &leaves);
	CHECK_STATUS(tdm_spsc_peek_until(&in, &seen, TDM_FOREVER), TDM_OK);
	if (CHECK(seen != TDM_NULL))
		CHECK_EQ_U64(*TDM_CAST(const uint64_t *, seen), 0);
	CHECK_STATUS(tdm_spsc_release(&in), TDM_OK);
	CHECK_STATUS(tdm_spsc_consumer_detach(&in), TDM_OK);
	reap(peer, leaves);
	produce();
	push(CAPACITY);
	out.follow = true;
	peer = child_start(consumes_later, &leaves);
	CHECK_STATUS(tdm_spsc_reserve_until(&out, &slot, TDM_FOREVER), TDM_OK);
	if (CHECK(slot != TDM_NULL))
		*TDM_CAST(uint64_t *, slot) = CAPACITY + 1;
	CHECK_STATUS(tdm_spsc_commit(&out), TDM_OK);
	reap(peer, leaves);
	consume();
	pop(CAPACITY);
	tear_down();

	tap_case("one who was never there yet is waited for");
	set_up();
	consume();
	CHECK_STATUS(tdm_spsc_consumer_peer(&in), TDM_NOT_FOUND);
	CHECK_STATUS(tdm_spsc_pop_until(&in, &value, tdm_deadline_after_ns(5 * MS)), TDM_TIMED_OUT);
	enum way way = LEAVES;
	pid_t child = child_start(produces_later, &way);
	CHECK_STATUS(tdm_spsc_pop(&in, &value), TDM_OK);
	CHECK_EQ_U64(value, 0);
	reap(child, way);
	tear_down();
}

static void follows(void *argument)
{
	uint64_t value = 0;
	(void)argument;
	join();
	consume();
	in.follow = true;
	CHECK_STATUS(tdm_spsc_pop(&in, &value), TDM_OK);
	CHECK_EQ_U64(value, 3);
	leave();
}

static void test_recover(void)
{
	struct tdm_spsc_info info;
	uint32_t recovered = 0;
	uint64_t three = 3;
	tap_case("recover notes a death once, and wakes who waits");
	set_up();
	pid_t producer = child_start(dies_producing, &three);
	await_stage(1);
	CHECK_STATUS(tdm_spsc_recover(ring, &self, &recovered), TDM_OK);
	CHECK_EQ_U64(recovered, 0);
	consume();
	pop(3);
	CHECK_STATUS(tdm_spsc_consumer_detach(&in), TDM_OK);
	pid_t consumer = child_start(follows, TDM_NULL);
	CHECK(comes_to_sleep(&shm()->not_empty));
	child_kill(producer);
	uint32_t before = tdm_load_relaxed_u32(&shm()->not_empty.word) / TDM_EVENT_EPOCH_;
	CHECK_STATUS(tdm_spsc_check(ring, &info), TDM_OK);
	CHECK(info.producer.held && !info.producer.died);
	CHECK_STATUS(tdm_spsc_recover(ring, &self, &recovered), TDM_OK);
	CHECK_EQ_U64(recovered, 1);
	CHECK(tdm_load_relaxed_u32(&shm()->not_empty.word) / TDM_EVENT_EPOCH_ != before);
	CHECK_STATUS(tdm_spsc_check(ring, &info), TDM_OK);
	CHECK(info.producer.ever && !info.producer.held && info.producer.died);
	CHECK(info.consumer.held && !info.consumer.died);
	CHECK_STATUS(tdm_spsc_recover(ring, &self, &recovered), TDM_OK);
	CHECK_EQ_U64(recovered, 0);

	tap_case("who takes a role after recover still learns that its last holder died");
	produce();
	CHECK(out.took_over);
	CHECK_STATUS(tdm_spsc_check(ring, &info), TDM_OK);
	CHECK(info.producer.held && !info.producer.died);
	push(1);
	child_end(consumer);

	tap_case("recover notes the death of either side, and of both");
	CHECK_STATUS(tdm_spsc_producer_detach(&out), TDM_OK);
	for (unsigned sides = 1; sides <= 3; sides++) {
		uint64_t none = 0;
		reach(0);
		if ((sides & 1) != 0) {
			pid_t child = child_start(dies_producing, &none);
			await_stage(1);
			child_kill(child);
		}
		reach(0);
		if ((sides & 2) != 0) {
			pid_t child = child_start(dies_consuming, &none);
			await_stage(1);
			child_kill(child);
		}
		CHECK_STATUS(tdm_spsc_recover(ring, &self, &recovered), TDM_OK);
		CHECK_EQ_U64(recovered, sides == 3 ? 2 : 1);
		CHECK_STATUS(tdm_spsc_check(ring, &info), TDM_OK);
		CHECK(info.producer.died == ((sides & 1) != 0));
		CHECK(info.consumer.died == ((sides & 2) != 0));
		produce();
		consume();
		CHECK_STATUS(tdm_spsc_producer_detach(&out), TDM_OK);
		CHECK_STATUS(tdm_spsc_consumer_detach(&in), TDM_OK);
	}
	tear_down();
}

// --- waiting ---

static enum tdm_status wait_until(unsigned form, uint64_t deadline_ns)
{
	uint64_t values[4] = {0};
	size_t done = 0;
	void *slot = TDM_NULL;
	const void *seen = TDM_NULL;
	switch (form) {
	case 0:
		return tdm_spsc_push_until(&out, values, deadline_ns);
	case 1:
		return tdm_spsc_push_n_until(&out, values, 4, &done, deadline_ns);
	case 2:
		return tdm_spsc_reserve_until(&out, &slot, deadline_ns);
	case 3:
		return tdm_spsc_pop_until(&in, values, deadline_ns);
	case 4:
		return tdm_spsc_pop_n_until(&in, values, 4, &done, deadline_ns);
	default:
		return tdm_spsc_peek_until(&in, &seen, deadline_ns);
	}
}

static void test_deadlines(void)
{
	tap_case("a deadline in the past ends a wait at once");
	set_up();
	produce();
	consume();
	for (unsigned form = 0; form < 6; form++) {
		if (form == 0)
			push(CAPACITY);
		if (form == 3)
			pop(CAPACITY);
		uint64_t before = tdm_now_ns();
		CHECK_STATUS(wait_until(form, 0), TDM_TIMED_OUT);
		CHECK_STATUS(wait_until(form, 1), TDM_TIMED_OUT);
		CHECK_STATUS(wait_until(form, tdm_now_ns()), TDM_TIMED_OUT);
		CHECK(tdm_now_ns() - before < 5000 * MS);
	}

	tap_case("a wait is never over before its deadline, and soon after it");
	for (unsigned form = 0; form < 6; form++) {
		static const uint64_t waits[] = {1, 20 * MS, 130 * MS}; // the last above a slice
		if (form == 0)
			push(CAPACITY);
		if (form == 3)
			pop(CAPACITY);
		for (size_t i = 0; i < COUNT(waits); i++) {
			uint64_t deadline_ns = tdm_deadline_after_ns(waits[i]);
			CHECK_STATUS(wait_until(form, deadline_ns), TDM_TIMED_OUT);
			uint64_t after = tdm_now_ns();
			CHECK(after >= deadline_ns);
			CHECK(after < deadline_ns + 5000 * MS);
		}
	}

	tap_case("what can be done is done, whatever the deadline");
	push(4);
	CHECK_STATUS(wait_until(5, 0), TDM_OK);
	CHECK_STATUS(tdm_spsc_release(&in), TDM_OK);
	CHECK_STATUS(wait_until(3, 0), TDM_OK);
	CHECK_STATUS(wait_until(4, 0), TDM_OK);
	CHECK_EQ_U64(tdm_spsc_consumer_position(&in), tdm_spsc_producer_position(&out));
	CHECK_STATUS(wait_until(0, 0), TDM_OK);
	CHECK_STATUS(wait_until(1, 0), TDM_OK);
	CHECK_STATUS(wait_until(2, 0), TDM_OK);
	CHECK_STATUS(tdm_spsc_abort(&out), TDM_OK);
	tear_down();

	tap_case("a batch that times out says how many were done");
	uint64_t values[20] = {0};
	size_t done = 0;
	set_up();
	produce();
	consume();
	push(3);
	CHECK_STATUS(tdm_spsc_push_n_until(&out, values, 20, &done, tdm_deadline_after_ns(5 * MS)),
		     TDM_TIMED_OUT);
	CHECK_EQ_U64(done, CAPACITY - 3);
	CHECK_STATUS(tdm_spsc_push_n_until(&out, values, 20, &done, tdm_deadline_after_ns(5 * MS)),
		     TDM_TIMED_OUT);
	CHECK_EQ_U64(done, 0);
	CHECK_STATUS(tdm_spsc_pop_n_until(&in, values, 20, &done, TDM_FOREVER), TDM_OK);
	CHECK_EQ_U64(done, CAPACITY);
	CHECK_STATUS(tdm_spsc_pop_n_until(&in, values, 20, &done, tdm_deadline_after_ns(5 * MS)),
		     TDM_TIMED_OUT);
	CHECK_EQ_U64(done, 0);
	tear_down();
}

static void echoes(void *argument)
{
	uint64_t rounds = *TDM_CAST(const uint64_t *, argument);
	struct jobs_producer back;
	struct job job;
	uint64_t value = 0;
	join();
	consume();
	CHECK_STATUS(jobs_producer_attach(&back, typed, &self), TDM_OK);
	memset(&job, 0, sizeof(job));
	for (uint64_t i = 0; i < rounds; i++) {
		CHECK_STATUS(tdm_spsc_pop(&in, &value), TDM_OK);
		if (i % 64 == 0)
			child_sleep_ms(1); // so that the other side parks now and then
		job.id = value + 1;
		CHECK_STATUS(jobs_push(&back, &job), TDM_OK);
	}
	CHECK_STATUS(jobs_producer_detach(&back), TDM_OK);
	leave();
}

static void test_wakes(void)
{
	tap_case("a push wakes a sleeping consumer, each of two thousand times");
	struct jobs_consumer back;
	struct job job;
	uint64_t rounds = TDM_UNDER_TSAN ? 200 : 2000;
	set_up();
	produce();
	CHECK_STATUS(jobs_consumer_attach(&back, typed, &self), TDM_OK);
	pid_t child = child_start(echoes, &rounds);
	for (uint64_t i = 0; i < rounds; i++) {
		CHECK_STATUS(tdm_spsc_push(&out, &i), TDM_OK);
		CHECK_STATUS(jobs_pop(&back, &job), TDM_OK);
		if (!CHECK_EQ_U64(job.id, i + 1))
			break;
	}
	child_end(child);
	CHECK_STATUS(jobs_consumer_detach(&back), TDM_OK);
	tear_down();
}

struct sleeper {
	bool produces;
	tdm_atomic_u64 used_ns; // of CPU time
};

static void sleeps(void *argument)
{
	struct sleeper *sleeper = TDM_CAST(struct sleeper *, argument);
	uint64_t value = 0;
	join();
	uint64_t before = cpu_ns();
	uint64_t deadline_ns = tdm_deadline_after_ns(2000 * MS);
	if (sleeper->produces) {
		produce();
		push(CAPACITY);
		CHECK_STATUS(tdm_spsc_push_until(&out, &value, deadline_ns), TDM_TIMED_OUT);
	} else {
		consume();
		CHECK_STATUS(tdm_spsc_pop_until(&in, &value, deadline_ns), TDM_TIMED_OUT);
	}
	tdm_store_relaxed_u64(&sleeper->used_ns, cpu_ns() - before);
	leave();
}

static void test_cpu(void)
{
	struct sleeper *sleeper = TDM_CAST(struct sleeper *, child_shared(sizeof(*sleeper)));
	tap_case("who waits for two seconds uses a thousandth of a CPU, or little more than sleep");
	for (unsigned n = 0; n < 2; n++) {
		bool little = false;
		sleeper->produces = n != 0;
		// What a virtual CPU loses to its host counts as used: one good attempt in five.
		for (unsigned i = 0; i < 5 && !little; i++) {
			set_up();
			pid_t child = child_start(sleeps, sleeper);
			uint64_t sleeping = cpu_of_sleeping_ns();
			child_end(child);
			tear_down();
			uint64_t used = tdm_load_relaxed_u64(&sleeper->used_ns);
			tap_note("%" PRIu64 " us of CPU time in 2 s, bare sleeps %" PRIu64,
				 used / 1000, sleeping / 1000);
			little = cpu_is_little(used, sleeping);
		}
		CHECK(little);
	}
	munmap(sleeper, sizeof(*sleeper));
}

// --- between two looks ---

static struct tdm_participant other;

static void other_attaches(void)
{
	CHECK_STATUS(tdm_segment_join(&segment, &other, "other"), TDM_OK);
	CHECK_STATUS(tdm_spsc_producer_attach(&out, ring, 8, &other), TDM_OK);
}

static void other_leaves(void)
{
	CHECK_STATUS(tdm_spsc_producer_detach(&out), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&other), TDM_OK);
}

static void other_returns(void)
{
	other_leaves();
	other_attaches();
}

static void test_between_looks(void)
{
	uint64_t value;
	set_up();
	consume();
	tap_case("who leaves while the other side looks has left, and has not died");
	other_attaches();
	before_look = other_leaves;
	CHECK_STATUS(tdm_spsc_consumer_peer(&in), TDM_PEER_LEFT);
	other_attaches();
	before_look = other_leaves;
	CHECK_STATUS(tdm_spsc_pop(&in, &value), TDM_PEER_LEFT);

	tap_case("who leaves and returns while the other side looks is there");
	other_attaches();
	before_look = other_returns;
	CHECK_STATUS(tdm_spsc_consumer_peer(&in), TDM_OK);
	other_leaves();
	tear_down();
}

// --- stopped ---

static void produces_and_stops(void *argument)
{
	void *slot = TDM_NULL;
	(void)argument;
	join();
	produce();
	push(3);
	CHECK_STATUS(tdm_spsc_try_reserve(&out, &slot), TDM_OK);
	raise(SIGSTOP);
	*TDM_CAST(uint64_t *, slot) = 3;
	CHECK_STATUS(tdm_spsc_commit(&out), TDM_OK);
	leave();
}

static void consumes_and_stops(void *argument)
{
	const void *seen = TDM_NULL;
	(void)argument;
	join();
	consume();
	pop(3);
	CHECK_STATUS(tdm_spsc_try_peek(&in, &seen), TDM_OK);
	raise(SIGSTOP);
	CHECK_EQ_U64(*TDM_CAST(const uint64_t *, seen), 3);
	CHECK_STATUS(tdm_spsc_release(&in), TDM_OK);
	leave();
}

static void await_stop(pid_t child)
{
	int status = 0;
	CHECK(waitpid(child, &status, WUNTRACED) == child);
	CHECK(WIFSTOPPED(status));
}

static void test_stopped(void)
{
	uint64_t value = 0;
	uint32_t recovered = 1;
	tap_case("a stopped producer is alive and delays only what it holds");
	set_up();
	consume();
	pid_t child = child_start(produces_and_stops, TDM_NULL);
	await_stop(child);
	pop(3);
	CHECK_STATUS(tdm_spsc_try_pop(&in, &value), TDM_EMPTY);
	CHECK_STATUS(tdm_spsc_pop_until(&in, &value, tdm_deadline_after_ns(150 * MS)),
		     TDM_TIMED_OUT);
	CHECK_STATUS(tdm_spsc_consumer_peer(&in), TDM_OK);
	CHECK_STATUS(tdm_spsc_producer_attach(&out, ring, 8, &self), TDM_BUSY);
	CHECK_STATUS(tdm_spsc_recover(ring, &self, &recovered), TDM_OK);
	CHECK_EQ_U64(recovered, 0);
	CHECK(kill(child, SIGCONT) == 0);
	CHECK_STATUS(tdm_spsc_pop(&in, &value), TDM_OK);
	CHECK_EQ_U64(value, 3);
	CHECK_STATUS(tdm_spsc_pop(&in, &value), TDM_PEER_LEFT);
	child_end(child);
	tear_down();

	tap_case("a stopped consumer is alive and delays only what it holds");
	set_up();
	produce();
	push(CAPACITY);
	child = child_start(consumes_and_stops, TDM_NULL);
	await_stop(child);
	push(3);
	CHECK_STATUS(tdm_spsc_try_push(&out, &value), TDM_FULL);
	CHECK_STATUS(tdm_spsc_push_until(&out, &value, tdm_deadline_after_ns(150 * MS)),
		     TDM_TIMED_OUT);
	CHECK_STATUS(tdm_spsc_producer_peer(&out), TDM_OK);
	CHECK_STATUS(tdm_spsc_consumer_attach(&in, ring, 8, &self), TDM_BUSY);
	CHECK(kill(child, SIGCONT) == 0);
	CHECK_STATUS(tdm_spsc_push(&out, &value), TDM_OK);
	child_end(child);
	tear_down();
}

// --- fork ---

static struct jobs_producer jobs_out;
static struct jobs_consumer jobs_in;
static struct tdm_spsc_producer plain_out;
static struct tdm_spsc_consumer plain_in;

static void inherits(void *argument)
{
	uint64_t value = 0;
	uint32_t recovered = 1;
	struct tdm_spsc_producer new_out;
	(void)argument;
	all_of_producer_untyped(&out, TDM_FORKED);
	all_of_consumer_untyped(&in, TDM_FORKED);
	all_of_producer_jobs(&jobs_out, TDM_FORKED);
	all_of_consumer_jobs(&jobs_in, TDM_FORKED);
	CHECK_STATUS(tdm_spsc_producer_attach(&new_out, ring, 8, &self), TDM_FORKED);
	CHECK_STATUS(tdm_spsc_recover(ring, &self, &recovered), TDM_FORKED);
	CHECK_EQ_U64(recovered, 0);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_FORKED);

	CHECK_STATUS(tdm_spsc_try_pop(&plain_in, &value), TDM_OK);
	CHECK_EQ_U64(value, 11);
	value = 12;
	CHECK_STATUS(tdm_spsc_try_push(&plain_out, &value), TDM_OK);
	CHECK_STATUS(tdm_spsc_producer_peer(&plain_out), TDM_OK);

	join();
	CHECK_STATUS(tdm_spsc_producer_attach(&new_out, ring, 8, &self), TDM_BUSY);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
}

static void test_fork(void)
{
	struct job job;
	struct job *slot = TDM_NULL;
	uint64_t value = 11;
	memset(&job, 0, sizeof(job));
	tap_case("what a child inherits answers TDM_FORKED, and plain handles go on working");
	set_up();
	produce();
	consume();
	push(2);
	CHECK_STATUS(jobs_producer_attach(&jobs_out, typed, &self), TDM_OK);
	CHECK_STATUS(jobs_consumer_attach(&jobs_in, typed, &self), TDM_OK);
	job.id = 5;
	CHECK_STATUS(jobs_try_push(&jobs_out, &job), TDM_OK);
	CHECK_STATUS(jobs_try_reserve(&jobs_out, &slot), TDM_OK);
	CHECK_STATUS(tdm_spsc_producer_attach(&plain_out, plain, 8, TDM_NULL), TDM_OK);
	CHECK_STATUS(tdm_spsc_consumer_attach(&plain_in, plain, 8, TDM_NULL), TDM_OK);
	CHECK_STATUS(tdm_spsc_try_push(&plain_out, &value), TDM_OK);
	child_end(child_start(inherits, TDM_NULL));

	tap_case("what its parent has is left alone");
	pop(2);
	push(1);
	pop(1);
	slot->id = 6;
	CHECK_STATUS(jobs_commit(&jobs_out), TDM_OK);
	CHECK_STATUS(jobs_try_pop(&jobs_in, &job), TDM_OK);
	CHECK_EQ_U64(job.id, 5);
	CHECK_STATUS(jobs_try_pop(&jobs_in, &job), TDM_OK);
	CHECK_EQ_U64(job.id, 6);
	CHECK_STATUS(jobs_producer_detach(&jobs_out), TDM_OK);
	CHECK_STATUS(jobs_consumer_detach(&jobs_in), TDM_OK);
	CHECK_STATUS(tdm_spsc_consumer_attach(&plain_in, plain, 8, TDM_NULL), TDM_OK);
	CHECK_STATUS(tdm_spsc_try_pop(&plain_in, &value), TDM_OK);
	CHECK_EQ_U64(value, 12);
	tear_down();
}

int main(void)
{
	alarm(240);
	test_one_each();
	test_producer_dies();
	test_consumer_dies();
	test_thread_ends();
	test_producer_goes();
	test_consumer_goes();
	test_follow();
	test_recover();
	test_deadlines();
	test_wakes();
	test_cpu();
	test_between_looks();
	test_stopped();
	test_fork();
	return tap_done();
}
