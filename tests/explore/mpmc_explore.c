// SPDX-License-Identifier: BSD-2-Clause
// ring/mpmc.h under every schedule and every value that its loads may return, and with a death at
// any access. Each element is a number of its own. Whoever pushes and pops keeps an account, and at
// the end the helper, one more participant, takes what is left: what was pushed has then come out
// exactly once, save what a consumer died with in its hands.
#include "explore.h"

// Who lost a claim tries again at once: what made it lose has changed already.
#undef TDM_SEAM_PAUSE
#define TDM_SEAM_PAUSE() ((void)0)

#include <string.h>

#include <tandem/ring/mpmc.h>

#include "../support/broken/mpmc_push_intents.h"
#include "../support/broken/mpmc_state_first.h"

TDM_MPMC_DEFINE(numbers, uint64_t);

#define SEATS 5U
#define HELPER 4U // the participant who acts in finish
#define VALUES 32U
#define LOOKING (TDM_MPMC_PATIENCE_ - 1) // doubts: a refusal looks after the dead
#define NEAR_32 (UINT64_C(0xffffffff))
#define NEAR_56 ((UINT64_C(1) << 56) - 1)

static struct segment {
	struct tdm_seats_shm head;
	struct tdm_seat_shm seats[SEATS];
	unsigned char ring[2048];
} * segment;
static struct tdm_mpmc_shm *shm;
static struct tdm_span span;
static struct tdm_participant participants[SEATS];
static struct tdm_seat_lock_ lock; // they say that they joined through it

static struct numbers_producer producers[SEATS];
static struct numbers_consumer consumers[SEATS];
static bool robust;
static uint64_t capacity;

// The accounts: of values, by thread.
static uint32_t begun[SEATS], pushed[SEATS];
static unsigned char popped[SEATS][VALUES];
static unsigned char given[SEATS][VALUES]; // times that it was taken
static unsigned in_hand[SEATS];            // elements that an operation under way may end with

static bool ok(enum tdm_status status)
{
	return status == TDM_OK;
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
	if (seat != HELPER)
		explore_seat_holder(seat, 100 + (int)seat, seat);
}

static void make_memory(uint64_t elements)
{
	(void)tdm_backoff_alone_(); // asks the kernel, once
	explore_ignore(&tdm_backoff_cpus_, sizeof(tdm_backoff_cpus_));
	explore_ignore(&tdm_slots_yes_, sizeof(tdm_slots_yes_));
	segment = explore_memory(sizeof(*segment));
	explore_name(segment->seats, sizeof(segment->seats), "seats");
	explore_name(segment->ring, sizeof(segment->ring), "ring");
	shm = (struct tdm_mpmc_shm *)(void *)segment->ring;
	span = tdm_memory(segment->ring, sizeof(segment->ring));
	capacity = elements;
}

static void make_ring(bool with_participants, uint64_t elements, uint64_t start)
{
	make_memory(elements);
	robust = with_participants;
	struct tdm_object object = numbers_object("", capacity);
	object.plain = !robust;
	object.seats = SEATS;
	EXPLORE_CHECK(ok(tdm_mpmc_init_at_(span, &object, start)), "a ring is made");
	explore_ignore(&shm->constant, sizeof(shm->constant));
	for (unsigned seat = 0; robust && seat < SEATS; seat++)
		sit(seat);
}

static void attach_producer(unsigned thread)
{
	EXPLORE_CHECK(ok(numbers_producer_attach(&producers[thread], span,
						 robust ? &participants[thread] : NULL)),
		      "a producer attaches");
}

static void attach_consumer(unsigned thread)
{
	EXPLORE_CHECK(ok(numbers_consumer_attach(&consumers[thread], span,
						 robust ? &participants[thread] : NULL)),
		      "a consumer attaches");
}

// The threads' roles, a letter for each: p, c, b for both, - for none yet.
static void make(bool with_participants, const char *roles, uint64_t elements, uint64_t start)
{
	make_ring(with_participants, elements, start);
	for (unsigned thread = 0; roles[thread] != '\0'; thread++) {
		if (roles[thread] == 'p' || roles[thread] == 'b')
			attach_producer(thread);
		if (roles[thread] == 'c' || roles[thread] == 'b')
			attach_consumer(thread);
	}
}

#define SETUP(name, ...)                                                                           \
	static void name(void)                                                                     \
	{                                                                                          \
		__VA_ARGS__;                                                                       \
	}

// ---------------------------------------------------------------------------------------------
// Operations and their accounts

static bool push_looking(uint64_t value, uint32_t doubts)
{
	unsigned self = explore_thread();
	producers[self].ring.doubts = doubts;
	begun[self] |= 1U << value;
	enum tdm_status status = numbers_try_push(&producers[self], &value);
	EXPLORE_CHECK(ok(status) || status == TDM_FULL, "there is room or there is none");
	if (ok(status))
		pushed[self] |= 1U << value;
	else
		begun[self] &= ~(1U << value);
	return ok(status);
}

static bool push(uint64_t value)
{
	return push_looking(value, LOOKING);
}

// Values from `value` on.
static size_t push_batch(uint64_t value, size_t count)
{
	unsigned self = explore_thread();
	uint64_t values[4];
	uint32_t all = 0;
	for (size_t i = 0; i < count; i++) {
		values[i] = value + i;
		all |= 1U << values[i];
	}
	producers[self].ring.doubts = LOOKING;
	begun[self] |= all;
	size_t done = 9;
	enum tdm_status status = numbers_try_push_n(&producers[self], values, count, &done);
	EXPLORE_CHECK((ok(status) && done > 0 && done <= count) ||
			  (status == TDM_FULL && done == 0),
		      "there is room or there is none");
	begun[self] &= ~all;
	for (size_t i = 0; i < done; i++) {
		begun[self] |= 1U << values[i];
		pushed[self] |= 1U << values[i];
	}
	return done;
}

static void note(unsigned char *account, uint64_t value)
{
	EXPLORE_CHECK(value > 0 && value < VALUES, "an element is whole");
	account[value]++;
}

static bool pop_looking(uint32_t doubts)
{
	unsigned self = explore_thread();
	consumers[self].ring.doubts = doubts;
	uint64_t value = 0;
	in_hand[self] = 1;
	enum tdm_status status = numbers_try_pop(&consumers[self], &value);
	in_hand[self] = 0;
	EXPLORE_CHECK(ok(status) || status == TDM_EMPTY, "there is an element or there is none");
	if (ok(status))
		note(popped[self], value);
	return ok(status);
}

static bool pop(void)
{
	return pop_looking(LOOKING);
}

static size_t pop_batch(size_t count)
{
	unsigned self = explore_thread();
	consumers[self].ring.doubts = LOOKING;
	uint64_t values[4] = {0};
	size_t done = 9;
	in_hand[self] = (unsigned)count;
	enum tdm_status status = numbers_try_pop_n(&consumers[self], values, count, &done);
	in_hand[self] = 0;
	EXPLORE_CHECK((ok(status) && done > 0 && done <= count) ||
			  (status == TDM_EMPTY && done == 0),
		      "there is an element or there is none");
	for (size_t i = 0; i < done; i++)
		note(popped[self], values[i]);
	return done;
}

static bool take(struct numbers_lease *lease)
{
	unsigned self = explore_thread();
	consumers[self].ring.doubts = LOOKING;
	enum tdm_status status = numbers_try_take(&consumers[self], lease);
	EXPLORE_CHECK(ok(status) || status == TDM_EMPTY, "there is an element or there is none");
	if (!ok(status))
		return false;
	note(given[self], *lease->elem);
	return true;
}

// It is the taker's to write, too.
static void write_again(const struct numbers_lease *lease)
{
	uint64_t value = *lease->elem;
	memcpy(lease->elem, &value, sizeof(value));
}

static void ack(const struct numbers_lease *lease)
{
	unsigned self = explore_thread();
	uint64_t value = *lease->elem;
	write_again(lease);
	in_hand[self] = 1;
	EXPLORE_CHECK(ok(numbers_ack(&consumers[self], lease)), "what was taken is acknowledged");
	in_hand[self] = 0;
	note(popped[self], value);
}

static void nack(const struct numbers_lease *lease)
{
	write_again(lease);
	EXPLORE_CHECK(ok(numbers_nack(&consumers[explore_thread()], lease)),
		      "what was taken is given back");
}

// ---------------------------------------------------------------------------------------------
// After the threads: whoever comes next finds everything in order.

static uint32_t died(void)
{
	uint32_t threads = 0;
	for (unsigned i = 0; i < HELPER; i++)
		threads |= (uint32_t)explore_died(i) << i;
	return threads;
}

// Thread 4 is nobody's: finish runs as none of them.
static void helper_attaches(void)
{
	attach_producer(HELPER);
	attach_consumer(HELPER);
}

static bool helper_pops(uint64_t *value)
{
	consumers[HELPER].ring.doubts = LOOKING;
	enum tdm_status status = numbers_try_pop(&consumers[HELPER], value);
	EXPLORE_CHECK(ok(status) || status == TDM_EMPTY, "there is an element or there is none");
	return ok(status);
}

static void check_accounts(void)
{
	uint32_t was_begun = 0, was_pushed = 0;
	unsigned lost = 0, may_be_lost = 0;
	for (unsigned i = 0; i < SEATS; i++) {
		was_begun |= begun[i];
		was_pushed |= pushed[i];
		may_be_lost += in_hand[i];
	}
	for (unsigned value = 0; value < VALUES; value++) {
		unsigned times = 0;
		for (unsigned i = 0; i < SEATS; i++)
			times += popped[i][value];
		EXPLORE_CHECK(times <= 1, "an element comes out once");
		EXPLORE_CHECK(times == 0 || (was_begun >> value & 1), "it was pushed before");
		lost += (was_pushed >> value & 1) && times == 0;
	}
	EXPLORE_CHECK(lost <= may_be_lost, "what was pushed comes out");
}

static void settle(void)
{
	helper_attaches();
	uint64_t value = 0;
	while (helper_pops(&value))
		note(popped[HELPER], value);
	struct tdm_mpmc_info info;
	EXPLORE_CHECK(ok(tdm_mpmc_check(span, &info)), "the ring can be looked at");
	EXPLORE_CHECK(info.pushed == info.popped && info.held == 0,
		      "nobody is stuck behind what the dead left");
	check_accounts();
	if (died() == 0)
		return;
	for (uint64_t lap = 0; lap < 2; lap++) {
		for (uint64_t i = 0; i < capacity; i++) {
			value = 10 * lap + i;
			EXPLORE_CHECK(ok(numbers_try_push(&producers[HELPER], &value)),
				      "all slots are there again");
		}
		EXPLORE_CHECK(numbers_try_push(&producers[HELPER], &value) == TDM_FULL,
			      "all slots are full");
		for (uint64_t i = 0; i < capacity; i++)
			EXPLORE_CHECK(helper_pops(&value) && value == 10 * lap + i,
				      "what comes after comes in order");
	}
}

// ---------------------------------------------------------------------------------------------
// Threads. A value is 1 + 4 * thread and the ones that follow.

static uint64_t first_value(void)
{
	return 1 + 4 * explore_thread();
}

// --- that wait ---

// A look at a lock byte would count as a change.
static void push_surely(uint64_t value)
{
	explore_await_begin();
	while (!push_looking(value, 0))
		explore_await_change();
}

static void pop_surely(void)
{
	explore_await_begin();
	while (!pop_looking(0))
		explore_await_change();
}

SETUP(push_1, push_surely(first_value()))
SETUP(push_2, push_surely(first_value()); push_surely(first_value() + 1))
SETUP(push_3, push_2(); push_surely(first_value() + 2))
SETUP(pop_1, pop_surely())
SETUP(pop_2, pop_surely(); pop_surely())
SETUP(pop_3, pop_2(); pop_surely())

static void push_batches(uint64_t total)
{
	for (uint64_t done = 0; done < total;) {
		explore_await_begin();
		size_t count;
		while ((count = push_batch(first_value() + done, (size_t)(total - done))) == 0)
			explore_await_change();
		done += count;
	}
}

static void pop_batches(size_t total)
{
	while (total > 0) {
		explore_await_begin();
		size_t count;
		while ((count = pop_batch(total < 2 ? total : 2)) == 0)
			explore_await_change();
		total -= count;
	}
}

SETUP(push_batch_of_2, push_batches(2))
SETUP(push_batch_of_3, push_batches(3))
SETUP(pop_batch_of_2, pop_batches(2))
SETUP(pop_batch_of_3, pop_batches(3))

// --- that try ---

static void try_push(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		(void)push(first_value() + i);
}

static void try_pop(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		(void)pop();
}

SETUP(try_push_1, try_push(1))
SETUP(try_push_2, try_push(2))
SETUP(try_push_3, try_push(3))
SETUP(try_pop_1, try_pop(1))
SETUP(try_pop_2, try_pop(2))
SETUP(try_push_batch, (void)push_batch(first_value(), 2))
SETUP(try_push_batches, (void)push_batch(first_value(), 2); (void)push_batch(first_value() + 2, 2))
SETUP(try_pop_batch, (void)pop_batch(2))
SETUP(try_pop_batches, (void)pop_batch(2); (void)pop_batch(2))

static void try_take_and_ack(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct numbers_lease lease;
		if (take(&lease))
			ack(&lease);
	}
}

SETUP(take_and_ack_1, try_take_and_ack(1))
SETUP(take_and_ack_2, try_take_and_ack(2))

static void take_2_and_ack(void)
{
	struct numbers_lease leases[2];
	unsigned count = 0;
	while (count < 2 && take(&leases[count]))
		count++;
	while (count-- > 0)
		ack(&leases[count]);
}

static void take_and_nack(void)
{
	struct numbers_lease lease;
	if (take(&lease))
		nack(&lease);
}

static void take_nack_take(void)
{
	take_and_nack();
	try_take_and_ack(1);
}

static void take_and_leave(void)
{
	struct numbers_lease lease;
	if (take(&lease))
		write_again(&lease);
	EXPLORE_CHECK(ok(numbers_consumer_detach(&consumers[explore_thread()])),
		      "a consumer detaches");
}

// --- that begin with two elements in their hands, or with their last breath ---

static struct numbers_lease leases[2];

static void ack_both(void)
{
	write_again(&leases[0]);
	ack(&leases[1]);
	ack(&leases[0]);
}

static void nack_both(void)
{
	nack(&leases[1]);
	nack(&leases[0]);
}

static void leave_both(void)
{
	write_again(&leases[0]);
	EXPLORE_CHECK(ok(numbers_consumer_detach(&consumers[explore_thread()])),
		      "a consumer detaches");
}

SETUP(nack_one, nack(&leases[0]))

// As tdm_mpmc_ack, but who dies within has written down that it released the element.
static void ack_noting(void)
{
	const struct tdm_mpmc_consumer *consumer = &consumers[0].ring;
	uint64_t position = leases[0].ring.position;
	uint64_t value = *leases[0].elem;
	tdm_store_release_u64(tdm_mpmc_sequence_(&consumer->view, position), position + capacity);
	note(popped[0], value);
	tdm_store_release_u64(&consumer->part->intents[leases[0].ring.word], 0);
}

// --- that find no ring yet ---

static void init_ring(void)
{
	EXPLORE_CHECK(ok(numbers_init(segment->ring, sizeof(segment->ring), capacity)),
		      "a ring is made");
}

static void attach_and_push(void)
{
	enum tdm_status status;
	while ((status = numbers_producer_attach(&producers[explore_thread()], span, NULL)) ==
	       TDM_NOT_INITIALIZED)
		explore_await_change();
	EXPLORE_CHECK(ok(status), "a ring is there as a whole or not yet");
	EXPLORE_CHECK(push(first_value()), "there is room");
}

// --- that come later ---

// In thread 0's seat, if that is dead by now.
static bool succeed(void)
{
	unsigned self = explore_thread();
	struct tdm_participant *participant = &participants[self];
	int fd = 200 + (int)self;
	if (!ok(tdm_seat_open_(fd, 0)))
		return false;
	participant->index = 0;
	EXPLORE_CHECK(ok(tdm_table_sit_(&participant->table, fd, 0, "", &participant->generation)),
		      "a dead one's seat is free");
	return true;
}

static bool produce_next(void)
{
	if (!succeed())
		return false;
	attach_producer(explore_thread());
	return true;
}

static bool consume_next(void)
{
	if (!succeed())
		return false;
	attach_consumer(explore_thread());
	return true;
}

SETUP(sit_and_push, if (produce_next()) try_push(1))
SETUP(sit_and_pop, if (consume_next()) try_pop(1))
SETUP(sit_and_pop_2, if (consume_next()) try_pop(2))
SETUP(sit_and_take, if (consume_next()) take_and_ack_1())

static void recover(void)
{
	uint32_t recovered;
	EXPLORE_CHECK(ok(tdm_mpmc_recover(span, &participants[explore_thread()], &recovered)),
		      "a ring is recovered");
	EXPLORE_CHECK(recovered == 0 || died() != 0, "the living are not taken for dead");
}

// --- that wait in the kernel ---

static bool waited(enum tdm_status status, uint64_t value)
{
	unsigned self = explore_thread();
	in_hand[self] = 0;
	if (ok(status))
		note(popped[self], value);
	return ok(status);
}

static void push_waiting(void)
{
	unsigned self = explore_thread();
	uint64_t value = first_value();
	begun[self] |= 1U << value;
	EXPLORE_CHECK(ok(numbers_push(&producers[self], &value)), "room is waited for");
	pushed[self] |= 1U << value;
}

static void pop_waiting(void)
{
	uint64_t value = 0;
	enum tdm_status status = numbers_pop(&consumers[explore_thread()], &value);
	EXPLORE_CHECK(waited(status, value), "an element is waited for");
}

static void take_waiting(void)
{
	struct numbers_lease lease;
	EXPLORE_CHECK(ok(numbers_take(&consumers[explore_thread()], &lease)),
		      "an element is waited for");
	note(given[explore_thread()], *lease.elem);
	ack(&lease);
}

static enum tdm_status end; // what ended the wait

static void pop_until_gone(void)
{
	uint64_t value = 0;
	do {
		in_hand[explore_thread()] = 1;
		end = numbers_pop(&consumers[explore_thread()], &value);
	} while (waited(end, value));
	EXPLORE_CHECK(end == TDM_PEER_LEFT || end == TDM_PEER_DIED,
		      "the wait ends with the producers");
}

static void push_until_gone(void)
{
	unsigned self = explore_thread();
	uint64_t value = first_value();
	begun[self] |= 1U << value;
	enum tdm_status status = numbers_push(&producers[self], &value);
	EXPLORE_CHECK(ok(status) || status == TDM_PEER_LEFT || status == TDM_PEER_DIED,
		      "the wait ends with the consumers");
	if (ok(status))
		pushed[self] |= 1U << value;
	else
		begun[self] &= ~(1U << value);
}

static void leave_as_producer(void)
{
	EXPLORE_CHECK(ok(numbers_producer_detach(&producers[explore_thread()])),
		      "a producer detaches");
}

static void leave_as_consumer(void)
{
	EXPLORE_CHECK(ok(numbers_consumer_detach(&consumers[explore_thread()])),
		      "a consumer detaches");
}

SETUP(push_and_leave, try_push(1); leave_as_producer())
SETUP(pop_and_leave, try_pop(1); leave_as_consumer())

// And gives its seat back, as tdm_participant_leave does.
static void leave_for_good(void)
{
	leave_as_producer();
	tdm_store_release_u32(&segment->seats[explore_thread()].dirty, 0);
	TDM_SEAM_SEAT_DROP(100 + (int)explore_thread(), explore_thread());
}

// Has everybody gone who could push? Then all that they pushed is there.
static void see_the_end(void)
{
	end = tdm_mpmc_consumer_peers(&consumers[explore_thread()].ring);
	EXPLORE_CHECK(end != TDM_PEER_DIED || died() != 0, "who has left did not die");
	if (end == TDM_PEER_LEFT || end == TDM_PEER_DIED)
		(void)pop();
	else
		end = TDM_OK;
}

SETUP(sit_as_consumer, (void)consume_next())
SETUP(sit_as_producer, (void)produce_next())
SETUP(sit_and_leave, if (produce_next()) leave_as_producer())

// Who waited until all had gone has got what they had pushed by then.
static void all_before_the_end(void)
{
	if (end == TDM_OK) {
		settle();
		return;
	}
	uint64_t value;
	helper_attaches();
	EXPLORE_CHECK(!helper_pops(&value), "what was pushed before they went is popped");
	check_accounts();
}

// Unless thread 0 lives and keeps what it has taken.
static void settle_after_death(void)
{
	if (explore_died(0))
		settle();
}

// --- broken variants ---

static void push_broken(enum tdm_status (*broken)(struct tdm_mpmc_producer *, const void *))
{
	unsigned self = explore_thread();
	uint64_t value = first_value();
	begun[self] |= 1U << value;
	if (ok(broken(&producers[self].ring, &value)))
		pushed[self] |= 1U << value;
	else
		begun[self] &= ~(1U << value);
}

SETUP(push_keeping_intent, push_broken(broken_mpmc_push_keeps_intent))
SETUP(push_never_won, push_broken(broken_mpmc_push_never_won))

// The first element, whoever has it: the second half of a take.
static void adopt_first(bool (*adopt)(const struct tdm_mpmc_view_ *, uint64_t, tdm_atomic_u64 *,
				      uint32_t *))
{
	unsigned self = explore_thread();
	struct tdm_mpmc_consumer *consumer = &consumers[self].ring;
	struct numbers_lease lease = {.ring = {.word = TDM_MPMC_TAKE_}};
	if (!adopt(&consumer->view, 0, &consumer->part->intents[TDM_MPMC_TAKE_],
		   &lease.ring.attempt))
		return;
	lease.elem = TDM_AT_(uint64_t, tdm_mpmc_sequence_(&consumer->view, 0), consumer->offset);
	note(given[self], *lease.elem);
	ack(&lease);
}

SETUP(adopt_first_rightly, adopt_first(tdm_mpmc_adopt_))
SETUP(sit_and_adopt_first, if (consume_next()) adopt_first_rightly())

// Dies, or does not.
static void breathe(void)
{
	(void)tdm_load_relaxed_u64(&shm->head);
}

SETUP(push_unlooking, (void)push_looking(first_value(), 0))
SETUP(pop_unlooking, (void)pop_looking(0))
SETUP(pop_2_unlooking, (void)pop_looking(0); (void)pop_looking(0))
SETUP(push_1_and_1, (void)push_batch(first_value(), 1); (void)push_batch(first_value() + 1, 1))
SETUP(push_1_batch, (void)push_batch(first_value(), 1))

// What is left behind, and nothing else.
static void adopt_oldest(void)
{
	unsigned self = explore_thread();
	struct tdm_mpmc_consumer *consumer = &consumers[self].ring;
	tdm_atomic_u64 *word = &consumer->part->intents[TDM_MPMC_TAKE_];
	struct numbers_lease lease = {.ring = {.word = TDM_MPMC_TAKE_}};
	uint64_t *position = &lease.ring.position;
	if (!tdm_mpmc_adopt_oldest_(&consumer->view, word, position, &lease.ring.attempt))
		return;
	lease.elem =
	    TDM_AT_(uint64_t, tdm_mpmc_sequence_(&consumer->view, *position), consumer->offset);
	ack(&lease);
}

SETUP(adopt_first_state_first, adopt_first(broken_mpmc_adopt_state_first))

// ---------------------------------------------------------------------------------------------

SETUP(memory_only, make_memory(2))
SETUP(plain_2p2c, make(false, "ppcc", 2, 0))
SETUP(plain_2p1c, make(false, "ppc", 2, 0))
SETUP(plain_1p1c, make(false, "pc", 2, 0))
SETUP(plain_1p1c_32, make(false, "pc", 2, NEAR_32))
SETUP(plain_1p1c_56, make(false, "pc", 2, NEAR_56))
SETUP(plain_2p2c_56, make(false, "ppcc", 2, NEAR_56))
SETUP(robust_1p1c, make(true, "pc", 2, 0))
SETUP(robust_1p1c_56, make(true, "pc", 2, NEAR_56))
SETUP(robust_2p1c, make(true, "ppc", 2, 0))
SETUP(robust_1p2c, make(true, "pcc", 2, 0))
SETUP(robust_2p2c, make(true, "ppcc", 2, 0))
SETUP(robust_2p2c_56, make(true, "ppcc", 2, NEAR_56))

// Elements that are there from the beginning; thread 4 has pushed them.
static void fill(unsigned count)
{
	attach_producer(HELPER);
	for (uint64_t value = 17; value < 17 + count; value++) {
		EXPLORE_CHECK(ok(numbers_try_push(&producers[HELPER], &value)), "there is room");
		begun[HELPER] |= 1U << value;
		pushed[HELPER] |= 1U << value;
	}
	EXPLORE_CHECK(ok(numbers_producer_detach(&producers[HELPER])), "a producer detaches");
	tdm_store_relaxed_u32(&shm->parts, HELPER); // it is nobody yet
}

SETUP(with_1_3c, make(true, "ccc", 2, 0); fill(1))
SETUP(with_2_3c, make(true, "ccc", 2, 0); fill(2))
SETUP(with_2_2c, make(true, "cc", 2, 0); fill(2))
SETUP(with_1_2p1c, make(true, "ppc", 2, 0); fill(1))
SETUP(full_1c1p, make(true, "cp", 2, 0); fill(2))

static void both_taken(void)
{
	for (unsigned i = 0; i < 2; i++)
		EXPLORE_CHECK(ok(numbers_try_take(&consumers[0], &leases[i])), "it is there");
}

static void one_taken(void)
{
	make(true, "cc", 2, 0);
	fill(1);
	EXPLORE_CHECK(ok(numbers_try_take(&consumers[0], &leases[0])), "it is there");
	consumers[1].ring.follow = true;
}

SETUP(taken_3c, with_2_3c(); both_taken())
SETUP(taken_2c, with_2_2c(); both_taken(); consumers[1].ring.follow = true)
SETUP(taken_1c1p, full_1c1p(); both_taken())
SETUP(taken_2c1p, make(true, "ccp", 2, 0); fill(2); both_taken())
SETUP(first_next, make(true, "p-c", 2, 0))
SETUP(first_next_full, make(true, "p-c", 2, 0); fill(1))
SETUP(taken_next, make(true, "c-c", 2, 0); fill(2); both_taken())
SETUP(popped_next, make(true, "c-c", 2, 0); fill(2))
SETUP(left_2, make(true, "pc", 2, 0))
SETUP(left_3, make(true, "p-c", 2, 0))

// Who dies has just begun to pop.
static void with_2_begun(void)
{
	make(true, "cccc", 2, 0);
	fill(2);
	tdm_store_release_u64(&consumers[0].ring.part->intents[TDM_MPMC_POP_],
			      tdm_mpmc_intent_(0, 1));
}

static void with_1_begun(void)
{
	with_1_3c();
	tdm_store_release_u64(&consumers[0].ring.part->intents[TDM_MPMC_POP_],
			      tdm_mpmc_intent_(0, 1));
}

// Who dies had taken an element.
static void with_1_taken(void)
{
	make(true, "c-c", 2, 0);
	fill(1);
	EXPLORE_CHECK(ok(numbers_try_take(&consumers[0], &leases[0])), "it is there");
}

// A live producer that was stopped right before its claim, for ever.
static void stopped(void)
{
	make(true, "ppc", 2, 0);
	tdm_store_release_u64(producers[1].ring.intent, tdm_mpmc_intent_(0, 1));
}

// Once the winner has said that it had won, its death is enough to pass the position.
static void pass_the_stopped(void)
{
	unsigned char *slot = segment->ring + sizeof(*shm) + SEATS * sizeof(struct tdm_mpmc_part);
	uint64_t element, value = 0;
	memcpy(&element, slot + 8, sizeof(element));
	bool claimed = tdm_load_relaxed_u64(&shm->tail) == 1;
	helper_attaches();
	if (claimed && element != 0) {
		while (helper_pops(&value))
			continue;
		EXPLORE_CHECK(tdm_load_relaxed_u64(&shm->head) == 1,
			      "a stopped loser stands in nobody's way");
	}
}

static const struct explore_case cases[] = {
    // Exhausted in no time. A header with a mistake is to fail here.
    {.name = "one slot after the other, past 2^32",
     .setup = plain_1p1c_32,
     .threads = {push_3, pop_3},
     .finish = settle},
    {.name = "one slot after the other, past 2^56",
     .setup = plain_1p1c_56,
     .threads = {push_3, pop_3},
     .finish = settle},
    {.name = "attaching to a ring that is just being made",
     .setup = memory_only,
     .threads = {init_ring, attach_and_push},
     .finish = settle},
    {.name = "batches, one of each",
     .setup = plain_1p1c,
     .threads = {push_batch_of_3, pop_batch_of_3},
     .finish = settle},
    {.name = "batches, two producers",
     .setup = plain_2p1c,
     .threads = {push_batch_of_2, push_batch_of_2, pop_batch_of_2},
     .finish = settle},
    {.name = "robust, one of each",
     .setup = robust_1p1c,
     .threads = {push_3, pop_3},
     .finish = settle},
    {.name = "a producer dies",
     .setup = robust_1p1c,
     .threads = {try_push_2, try_pop_2},
     .finish = settle,
     .can_die = 1,
     .deaths = 1},
    {.name = "a consumer dies",
     .setup = robust_1p1c,
     .threads = {try_push_3, try_pop_2},
     .finish = settle,
     .can_die = 2,
     .deaths = 1},
    {.name = "both die, past 2^56",
     .setup = robust_1p1c_56,
     .threads = {try_push_2, try_pop_1},
     .finish = settle,
     .can_die = 3,
     .deaths = 2},
    {.name = "one of two producers dies",
     .setup = robust_2p1c,
     .threads = {try_push_1, try_push_1, try_pop_1},
     .finish = settle,
     .can_die = 1,
     .deaths = 1},
    {.name = "two producers want the last slot",
     .setup = with_1_2p1c,
     .threads = {try_push_1, try_push_1},
     .finish = settle,
     .can_die = 3,
     .deaths = 1},
    {.name = "one of two consumers dies",
     .setup = robust_1p2c,
     .threads = {push_1, try_pop_1, try_pop_1},
     .finish = settle,
     .can_die = 2,
     .deaths = 1},
    {.name = "a producer dies in a batch",
     .setup = robust_1p1c,
     .threads = {try_push_batches, try_pop_batch},
     .finish = settle,
     .can_die = 1,
     .deaths = 1},
    {.name = "a consumer dies in a batch",
     .setup = robust_1p1c,
     .threads = {try_push_batches, try_pop_batches},
     .finish = settle,
     .can_die = 2,
     .deaths = 1},
    {.name = "take, give back, take again",
     .setup = robust_1p1c,
     .threads = {try_push_2, take_nack_take},
     .finish = settle,
     .can_die = 2,
     .deaths = 1},
    {.name = "what one leaves behind another takes",
     .setup = with_2_2c,
     .threads = {take_and_leave, take_2_and_ack},
     .finish = settle,
     .can_die = 2,
     .deaths = 1},
    {.name = "what a dead taker had is popped and written over",
     .setup = taken_2c1p,
     .threads = {breathe, try_pop_1, push_unlooking},
     .finish = settle_after_death,
     .can_die = 1,
     .deaths = 1},
    {.name = "what a taker gives back is written over",
     .setup = taken_1c1p,
     .threads = {ack_both, try_push_2},
     .finish = settle,
     .can_die = 1,
     .deaths = 1},
    {.name = "a dead producer's seat is taken",
     .setup = first_next,
     .threads = {try_push_1, sit_and_push, try_pop_2},
     .finish = settle,
     .can_die = 1,
     .deaths = 1},
    {.name = "who takes a dead producer's seat dies, too",
     .setup = first_next_full,
     .threads = {try_push_1, sit_and_push, try_pop_1},
     .finish = settle,
     .can_die = 3,
     .deaths = 2},
    {.name = "waiting for room",
     .setup = full_1c1p,
     .threads = {pop_1, push_waiting},
     .finish = settle},
    {.name = "waiting for what is given back",
     .setup = taken_2c,
     .threads = {nack_both, take_waiting},
     .finish = settle},
    {.name = "waiting for the one that is given back",
     .setup = one_taken,
     .threads = {nack_one, take_waiting},
     .finish = settle},
    {.name = "waiting for what is left behind",
     .setup = taken_2c,
     .threads = {leave_both, take_waiting},
     .finish = settle},
    {.name = "waiting for room until it is acknowledged",
     .setup = taken_1c1p,
     .threads = {ack_both, push_waiting},
     .finish = settle},
    {.name = "waiting until the consumer leaves, and nothing else",
     .setup = full_1c1p,
     .threads = {leave_as_consumer, push_until_gone},
     .finish = settle},
    {.name = "waiting until the consumer leaves",
     .setup = full_1c1p,
     .threads = {pop_and_leave, push_until_gone},
     .finish = settle},
    {.name = "the producer dies, and its seat becomes a consumer's",
     .setup = left_3,
     .threads = {try_push_1, sit_as_consumer, see_the_end},
     .finish = all_before_the_end,
     .can_die = 1,
     .deaths = 1},
    {.name = "the producer dies, and its seat becomes a producer's",
     .setup = left_3,
     .threads = {try_push_1, sit_as_producer, see_the_end},
     .finish = all_before_the_end,
     .can_die = 3,
     .deaths = 2},
    {.name = "the producer leaves",
     .setup = left_2,
     .threads = {push_and_leave, see_the_end},
     .finish = all_before_the_end,
     .can_die = 1,
     .deaths = 1},
    {.name = "the producer leaves for good",
     .setup = left_2,
     .threads = {leave_for_good, see_the_end},
     .finish = all_before_the_end},
    {.name = "one that had only begun to pop is dead",
     .setup = with_1_begun,
     .threads = {breathe, pop_unlooking, try_pop_1},
     .can_die = 1,
     .deaths = 1,
     .finish = settle},
    {.name = "one that had only begun to pop is dead, and another goes on",
     .setup = with_2_begun,
     .threads = {breathe, pop_2_unlooking, adopt_oldest},
     .can_die = 1,
     .deaths = 1,
     .finish = settle},
    {.name = "one dies as it acknowledges, and its seat is taken",
     .setup = with_1_taken,
     .threads = {ack_noting, sit_as_consumer, adopt_oldest},
     .finish = settle,
     .can_die = 1,
     .deaths = 1},
    {.name = "two redeliver at once, one in the dead one's seat",
     .setup = with_1_taken,
     .threads = {breathe, sit_and_adopt_first, adopt_first_rightly},
     .can_die = 1,
     .deaths = 1,
     .finish = settle_after_death},
    {.name = "a stopped loser",
     .setup = stopped,
     .threads = {try_push_1},
     .finish = pass_the_stopped,
     .can_die = 1,
     .deaths = 1},
    {.name = "a stopped loser, and a batch",
     .setup = stopped,
     .threads = {push_1_batch},
     .finish = pass_the_stopped,
     .can_die = 1,
     .deaths = 1},
    {.name = "broken: nobody says that it has won",
     .setup = stopped,
     .threads = {push_never_won},
     .finish = pass_the_stopped,
     .can_die = 1,
     .deaths = 1,
     .expect = "a stopped loser stands in nobody's way"},
    {.name = "broken: who has lost keeps its intent",
     .setup = with_1_2p1c,
     .threads = {push_keeping_intent, push_keeping_intent},
     .finish = settle,
     .can_die = 3,
     .deaths = 1,
     .expect = "nobody is stuck behind what the dead left"},
    {.name = "scan first, check second",
     .setup = taken_3c,
     .threads = {ack_both, adopt_first_rightly, adopt_first_rightly},
     .finish = settle,
     .can_die = 1,
     .deaths = 1},
    {.name = "broken: check first, scan second",
     .setup = taken_2c,
     .threads = {ack_both, adopt_first_state_first},
     .finish = settle,
     .expect = "an element comes out once"},

    // Exhausted in a second or so.
    {.name = "robust, two producers",
     .setup = robust_2p1c,
     .threads = {try_push_2, try_push_1, try_pop_2},
     .finish = settle},
    {.name = "robust, two consumers",
     .setup = robust_1p2c,
     .threads = {try_push_2, try_pop_2, try_pop_1},
     .finish = settle},
    {.name = "one of two producers of batches dies",
     .setup = robust_2p1c,
     .threads = {try_push_batch, try_push_batch, try_pop_batch},
     .finish = settle,
     .can_die = 1,
     .deaths = 1},
    {.name = "what one gives back another takes",
     .setup = with_2_2c,
     .threads = {take_and_nack, take_and_ack_2},
     .finish = settle,
     .can_die = 3,
     .deaths = 1},
    {.name = "a taker leaves two, two take",
     .setup = taken_3c,
     .threads = {leave_both, take_and_ack_1, take_and_ack_1},
     .finish = settle},
    {.name = "one recovers beside the living",
     .setup = robust_2p1c,
     .threads = {try_push_2, try_push_1, recover},
     .finish = settle},
    {.name = "waiting until the producer leaves",
     .setup = left_2,
     .threads = {push_and_leave, pop_until_gone},
     .finish = all_before_the_end},
    {.name = "one that had only begun to pop is dead, and another loses",
     .setup = with_2_begun,
     .threads = {breathe, pop_2_unlooking, adopt_oldest, pop_unlooking},
     .can_die = 1,
     .deaths = 1,
     .finish = settle},
    {.name = "robust, two producers of batches",
     .setup = robust_2p1c,
     .threads = {push_1_and_1, push_1_batch, try_pop_2},
     .finish = settle},

    // At random.
    {.name = "two producers and two consumers past 2^56",
     .setup = plain_2p2c_56,
     .threads = {push_2, push_2, pop_2, pop_2},
     .finish = settle,
     .random = 5000},
    {.name = "one of two producers dies, two slots each",
     .setup = robust_2p1c,
     .threads = {try_push_1, try_push_2, try_pop_2},
     .finish = settle,
     .can_die = 1,
     .deaths = 1,
     .random = 20000},
    {.name = "one of three consumers dies",
     .setup = with_1_3c,
     .threads = {try_pop_1, try_pop_1, try_pop_1},
     .finish = settle,
     .can_die = 1,
     .deaths = 1,
     .random = 20000},
    {.name = "two and two, and two of them die",
     .setup = robust_2p2c,
     .threads = {try_push_2, try_push_2, try_pop_2, try_pop_2},
     .finish = settle,
     .can_die = 15,
     .deaths = 2,
     .random = 10000},
    {.name = "two and two past 2^56, and two of them die",
     .setup = robust_2p2c_56,
     .threads = {try_push_2, try_push_2, try_pop_2, try_pop_2},
     .finish = settle,
     .can_die = 15,
     .deaths = 2,
     .random = 10000},
    {.name = "one of three consumers of batches dies",
     .setup = with_2_3c,
     .threads = {try_pop_batch, try_pop_batch, try_pop_2},
     .finish = settle,
     .can_die = 1,
     .deaths = 1,
     .random = 20000},
    {.name = "take and acknowledge",
     .setup = robust_1p1c,
     .threads = {try_push_3, take_and_ack_2},
     .finish = settle,
     .can_die = 2,
     .deaths = 1,
     .random = 20000},
    {.name = "a taker dies, two pop",
     .setup = taken_3c,
     .threads = {ack_both, try_pop_2, try_pop_2},
     .finish = settle,
     .can_die = 1,
     .deaths = 1,
     .random = 20000},
    {.name = "a taker dies, one pops and one takes",
     .setup = taken_3c,
     .threads = {ack_both, try_pop_2, take_and_ack_2},
     .finish = settle,
     .can_die = 1,
     .deaths = 1,
     .random = 20000},
    {.name = "a taker gives two back, two pop",
     .setup = taken_3c,
     .threads = {nack_both, try_pop_2, try_pop_2},
     .finish = settle,
     .random = 20000},
    {.name = "a taker and who adopts from it die",
     .setup = taken_3c,
     .threads = {ack_both, take_and_ack_1, try_pop_1},
     .finish = settle,
     .can_die = 3,
     .deaths = 2,
     .random = 20000},
    {.name = "a dead consumer's seat is taken",
     .setup = popped_next,
     .threads = {try_pop_1, sit_and_pop, try_pop_2},
     .finish = settle,
     .can_die = 1,
     .deaths = 1,
     .random = 20000},
    {.name = "who takes a dead consumer's seat dies, too",
     .setup = popped_next,
     .threads = {try_pop_batch, sit_and_pop_2, try_pop_1},
     .finish = settle,
     .can_die = 3,
     .deaths = 2,
     .random = 20000},
    {.name = "a dead taker's seat is taken",
     .setup = taken_next,
     .threads = {ack_both, sit_and_take, try_pop_2},
     .finish = settle,
     .can_die = 1,
     .deaths = 1,
     .random = 20000},
    {.name = "waiting for an element",
     .setup = plain_1p1c,
     .threads = {push_1, pop_waiting},
     .finish = settle,
     .random = 20000},
    {.name = "waiting until the producer dies",
     .setup = left_2,
     .threads = {push_and_leave, pop_until_gone},
     .finish = all_before_the_end,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES,
     .random = 20000},
    {.name = "waiting until the next in the producer's seat leaves",
     .setup = left_3,
     .threads = {push_and_leave, sit_and_leave, pop_until_gone},
     .finish = all_before_the_end,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES,
     .random = 10000},

    // Exhausted in some ten seconds.
    {.name = "one recovers after the dead",
     .setup = robust_2p1c,
     .threads = {try_push_batch, try_push_1, recover},
     .finish = settle,
     .can_die = 5,
     .deaths = 1},
    {.name = "two producers and two consumers, two elements each",
     .setup = plain_2p2c,
     .threads = {push_2, push_2, pop_2, pop_2},
     .finish = settle},
};

int main(int argc, char **argv)
{
	return explore_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
