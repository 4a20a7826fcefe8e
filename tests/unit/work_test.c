// SPDX-License-Identifier: BSD-2-Clause
// A limit of attempts: what was tried too often is put aside, whatever its workers died of. And
// what a look at such a ring tells.
#include <tandem.h>

#include "../support/process.h"
#include "../support/tap.h"

#define LIMIT 3U

static struct tdm_segment segment;
static struct tdm_participant self;
static struct tdm_mpmc_producer in;         // of the work
static struct tdm_mpmc_consumer letters;    // the dead ones
static struct tdm_mpmc_consumer worker;     // its ends
static struct tdm_mpmc_producer undertaker; //
static struct tdm_work work;

static struct tdm_span ring(const char *name)
{
	return tdm_segment_find(&segment, name);
}

static void attach_worker(struct tdm_participant *who)
{
	CHECK_STATUS(tdm_mpmc_consumer_attach(&worker, ring("work"), 8, who), TDM_OK);
	CHECK_STATUS(tdm_mpmc_producer_attach(&undertaker, ring("dead"), 8, who), TDM_OK);
	CHECK_STATUS(tdm_work_init(&work, &worker, &undertaker, LIMIT), TDM_OK);
}

static void detach_worker(void)
{
	CHECK_STATUS(tdm_mpmc_consumer_detach(&worker), TDM_OK);
	CHECK_STATUS(tdm_mpmc_producer_detach(&undertaker), TDM_OK);
}

static void open_shop(void)
{
	struct tdm_object objects[3];
	objects[0] = tdm_mpmc_object("work", 8, 8);
	objects[1] = tdm_mpmc_object("dead", 8, 2);
	objects[2] = tdm_mpmc_object("other", 16, 2);
	CHECK_STATUS(tdm_segment_create(&segment, objects, 3, TDM_NULL), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&segment, &self, "test"), TDM_OK);
	CHECK_STATUS(tdm_mpmc_producer_attach(&in, ring("work"), 8, &self), TDM_OK);
	CHECK_STATUS(tdm_mpmc_consumer_attach(&letters, ring("dead"), 8, &self), TDM_OK);
	attach_worker(&self);
}

static void close_shop(void)
{
	detach_worker();
	CHECK_STATUS(tdm_mpmc_producer_detach(&in), TDM_OK);
	CHECK_STATUS(tdm_mpmc_consumer_detach(&letters), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

static void push(uint64_t element)
{
	CHECK_STATUS(tdm_mpmc_try_push(&in, &element), TDM_OK);
}

static uint64_t element_of(const struct tdm_mpmc_lease *lease)
{
	uint64_t element;
	memcpy(&element, lease->elem, sizeof(element));
	return element;
}

// What was left behind is found after some polls only.
static enum tdm_status take(struct tdm_mpmc_lease *lease)
{
	enum tdm_status status = TDM_EMPTY;
	for (uint32_t i = 0; i < 2 * TDM_MPMC_PATIENCE_ && status == TDM_EMPTY; i++)
		status = tdm_work_try_take(&work, lease);
	return status;
}

static void check_letter(uint64_t element)
{
	uint64_t letter = 0;
	CHECK_STATUS(tdm_mpmc_try_pop(&letters, &letter), TDM_OK);
	CHECK_EQ_U64(letter, element);
}

static void check_no_letter(void)
{
	uint64_t letter = 0;
	CHECK_STATUS(tdm_mpmc_try_pop(&letters, &letter), TDM_EMPTY);
}

// Fails `element` as often as it may.
static void fail_it(uint64_t element)
{
	struct tdm_mpmc_lease lease;
	for (uint32_t attempt = 1; attempt <= LIMIT; attempt++) {
		CHECK_STATUS(take(&lease), TDM_OK);
		CHECK_EQ_U64(element_of(&lease), element);
		CHECK_EQ_U64(lease.attempt, attempt);
		CHECK_STATUS(tdm_work_nack(&work, &lease), TDM_OK);
	}
}

static void test_init(void)
{
	struct tdm_work other;
	struct tdm_mpmc_producer producer;
	open_shop();
	tap_case("attempts are 1 to 255, and both rings have elements of one size");
	CHECK_STATUS(tdm_work_init(&other, &worker, &undertaker, 0), TDM_INVALID);
	CHECK_STATUS(tdm_work_init(&other, &worker, &undertaker, 256), TDM_INVALID);
	CHECK_STATUS(tdm_work_init(&other, &worker, &undertaker, 1), TDM_OK);
	CHECK_STATUS(tdm_work_init(&other, &worker, &undertaker, 255), TDM_OK);
	CHECK_STATUS(tdm_mpmc_producer_attach(&producer, ring("other"), 16, &self), TDM_OK);
	CHECK_STATUS(tdm_work_init(&other, &worker, &producer, 1), TDM_WRONG_TYPE);
	CHECK_STATUS(tdm_mpmc_producer_detach(&producer), TDM_OK);

	tap_case("a handle that is not attached is refused");
	CHECK_STATUS(tdm_work_init(&other, &worker, &producer, 1), TDM_INVALID);

	tap_case("plain rings are refused");
	TDM_ALIGNAS(128) static unsigned char memory[4096];
	struct tdm_mpmc_consumer consumer;
	CHECK_STATUS(tdm_mpmc_init(memory, sizeof(memory), 8, 8, 2), TDM_OK);
	CHECK_STATUS(
	    tdm_mpmc_consumer_attach(&consumer, tdm_memory(memory, sizeof(memory)), 8, TDM_NULL),
	    TDM_OK);
	CHECK_STATUS(tdm_work_init(&other, &consumer, &undertaker, 1), TDM_INVALID);
	CHECK_STATUS(
	    tdm_mpmc_producer_attach(&producer, tdm_memory(memory, sizeof(memory)), 8, TDM_NULL),
	    TDM_OK);
	CHECK_STATUS(tdm_work_init(&other, &worker, &producer, 1), TDM_INVALID);
	close_shop();
}

static void test_take(void)
{
	struct tdm_mpmc_lease lease;
	open_shop();
	tap_case("what succeeds is not put aside");
	push(7);
	CHECK_STATUS(tdm_work_take(&work, &lease), TDM_OK);
	CHECK_EQ_U64(element_of(&lease), 7);
	CHECK_STATUS(tdm_work_ack(&work, &lease), TDM_OK);
	CHECK_STATUS(tdm_work_ack(&work, &lease), TDM_INVALID);
	CHECK_STATUS(tdm_work_try_take(&work, &lease), TDM_EMPTY);
	check_no_letter();

	tap_case("what fails is tried as often as the limit says, and then put aside");
	push(8);
	fail_it(8);
	check_no_letter();
	CHECK_STATUS(take(&lease), TDM_EMPTY);
	CHECK_EQ_U64(work.buried, 1);
	check_letter(8);
	check_no_letter();

	tap_case("and the next one is taken in the same call, also by the form that waits");
	push(9);
	fail_it(9);
	push(10);
	push(11);
	CHECK_STATUS(tdm_work_take(&work, &lease), TDM_OK); // comes before what is delivered again
	CHECK_EQ_U64(element_of(&lease), 10);
	CHECK_STATUS(tdm_work_ack(&work, &lease), TDM_OK);
	CHECK_STATUS(tdm_work_take(&work, &lease), TDM_OK);
	CHECK_EQ_U64(element_of(&lease), 11);
	CHECK_STATUS(tdm_work_ack(&work, &lease), TDM_OK);
	CHECK_STATUS(tdm_work_take_until(&work, &lease, tdm_deadline_after_ns(1000000)),
		     TDM_TIMED_OUT);
	CHECK_EQ_U64(work.buried, 2);
	check_letter(9);

	tap_case("an element with no attempt left is passed over for one that has some");
	push(12);
	fail_it(12);
	push(13);
	CHECK_STATUS(tdm_work_take(&work, &lease), TDM_OK);
	CHECK_STATUS(tdm_work_nack(&work, &lease), TDM_OK);
	CHECK_STATUS(take(&lease), TDM_OK);
	CHECK_EQ_U64(element_of(&lease), 13);
	CHECK_EQ_U64(lease.attempt, 2);
	CHECK_STATUS(tdm_work_ack(&work, &lease), TDM_OK);
	check_letter(12);
	close_shop();
}

static void test_full(void)
{
	struct tdm_mpmc_lease lease;
	uint64_t letter = 99;
	open_shop();
	tap_case("while the dead letters have no room, the element stays and TDM_FULL says so");
	CHECK_STATUS(tdm_mpmc_try_push(&undertaker, &letter), TDM_OK);
	CHECK_STATUS(tdm_mpmc_try_push(&undertaker, &letter), TDM_OK);
	push(1);
	fail_it(1);
	CHECK_STATUS(take(&lease), TDM_FULL);
	CHECK_STATUS(tdm_work_take(&work, &lease), TDM_FULL);
	CHECK_STATUS(tdm_work_ack(&work, &lease), TDM_INVALID);
	CHECK_EQ_U64(work.buried, 0);
	check_letter(99);
	check_letter(99);
	CHECK_STATUS(take(&lease), TDM_EMPTY);
	check_letter(1);
	check_no_letter();
	close_shop();
}

// --- looking at it ---

static void test_looking(void)
{
	struct tdm_mpmc_info info;
	struct tdm_mpmc_seat_info seat;
	struct tdm_mpmc_lease first;
	struct tdm_mpmc_lease second;
	open_shop();
	tap_case("a look at the ring tells how many are held, and the highest attempt among them");
	push(1);
	push(2);
	CHECK_STATUS(tdm_mpmc_check(ring("work"), &info), TDM_OK);
	CHECK_EQ_U64(info.held, 0);
	CHECK_EQ_U64(info.attempt, 0);
	CHECK_STATUS(take(&first), TDM_OK);
	CHECK_STATUS(take(&second), TDM_OK);
	CHECK_STATUS(tdm_work_nack(&work, &first), TDM_OK);
	CHECK_STATUS(take(&first), TDM_OK);
	CHECK_STATUS(tdm_mpmc_check(ring("work"), &info), TDM_OK);
	CHECK_EQ_U64(info.held, 2);
	CHECK_EQ_U64(info.attempt, 2);
	CHECK_STATUS(tdm_work_ack(&work, &first), TDM_OK);
	CHECK_STATUS(tdm_mpmc_check(ring("work"), &info), TDM_OK);
	CHECK_EQ_U64(info.held, 1);
	CHECK_EQ_U64(info.attempt, 1);
	CHECK_STATUS(tdm_work_ack(&work, &second), TDM_OK);

	tap_case("and who takes part from which seat");
	CHECK_STATUS(tdm_mpmc_seat(ring("dead"), self.index, &seat), TDM_OK);
	CHECK_EQ_U64(seat.generation, self.generation);
	CHECK(seat.produces && seat.consumes);
	CHECK_STATUS(tdm_mpmc_seat(ring("other"), self.index, &seat), TDM_OK);
	CHECK_EQ_U64(seat.generation, 0);
	CHECK(!seat.produces && !seat.consumes);
	CHECK_STATUS(tdm_mpmc_consumer_detach(&letters), TDM_OK);
	CHECK_STATUS(tdm_mpmc_seat(ring("dead"), self.index, &seat), TDM_OK);
	CHECK(seat.produces && !seat.consumes);
	CHECK_STATUS(tdm_mpmc_consumer_attach(&letters, ring("dead"), 8, &self), TDM_OK);
	CHECK_STATUS(tdm_mpmc_seat(ring("dead"), segment.header.seat_count, &seat), TDM_NOT_FOUND);
	CHECK_STATUS(tdm_mpmc_seat(ring("none"), 0, &seat), TDM_NOT_FOUND);

	tap_case("a look at a ring whose head somebody has broken ends");
	struct tdm_mpmc_shm *shm = TDM_CAST(struct tdm_mpmc_shm *, ring("other").base);
	tdm_store_relaxed_u64(&shm->head, UINT64_MAX - 1);
	CHECK_STATUS(tdm_mpmc_check(ring("other"), &info), TDM_OK);
	CHECK_EQ_U64(info.popped, UINT64_MAX - 1);
	close_shop();
}

// --- death ---

// The end of a worker: what it was doing is its argument.
static void die_with_lease(void *unused)
{
	(void)unused;
	struct tdm_participant own;
	struct tdm_mpmc_lease lease;
	CHECK_STATUS(tdm_segment_join(&segment, &own, "worker"), TDM_OK);
	attach_worker(&own);
	if (!CHECK_STATUS(tdm_work_take(&work, &lease), TDM_OK))
		return;
	kill(getpid(), SIGKILL);
}

static void die_between_push_and_ack(void *unused)
{
	(void)unused;
	struct tdm_participant own;
	struct tdm_mpmc_lease lease;
	CHECK_STATUS(tdm_segment_join(&segment, &own, "worker"), TDM_OK);
	attach_worker(&own);
	if (!CHECK_STATUS(tdm_mpmc_take(&worker, &lease), TDM_OK) ||
	    !CHECK_EQ_U64(lease.attempt, LIMIT + 1) ||
	    !CHECK_STATUS(tdm_mpmc_try_push(&undertaker, lease.elem), TDM_OK))
		return;
	kill(getpid(), SIGKILL);
}

static void test_death(void)
{
	struct tdm_mpmc_lease lease;
	open_shop();
	tap_case("an element that kills its workers is put aside after as many as the limit says");
	push(5);
	for (uint32_t i = 0; i < LIMIT; i++)
		CHECK_EQ_U64(
		    TDM_CAST(uint64_t, process_status(process_start(die_with_lease, TDM_NULL))),
		    128 + SIGKILL);
	check_no_letter();
	CHECK_STATUS(take(&lease), TDM_EMPTY);
	check_letter(5);
	check_no_letter();

	tap_case("death between putting aside and acknowledging puts aside again: nothing is lost");
	push(6);
	fail_it(6);
	CHECK_EQ_U64(
	    TDM_CAST(uint64_t, process_status(process_start(die_between_push_and_ack, TDM_NULL))),
	    128 + SIGKILL);
	CHECK_STATUS(take(&lease), TDM_EMPTY);
	check_letter(6);
	check_letter(6);
	check_no_letter();
	CHECK_STATUS(take(&lease), TDM_EMPTY);
	close_shop();
}

int main(void)
{
	test_init();
	test_take();
	test_full();
	test_looking();
	test_death();
	return tap_done();
}
