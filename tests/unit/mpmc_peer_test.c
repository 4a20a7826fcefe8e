// SPDX-License-Identifier: BSD-2-Clause
// Several processes at a ring: what is left when somebody leaves, dies, is stopped or forks, and
// waiting. Elements are numbers in the order of their pushing.
#include <stddef.h>
#include <stdint.h>

static void before_copying(void);
#define TDM_SEAM_COPY(to, from, size) (before_copying(), memcpy(to, from, size))

static void before_claiming(void);
#define TDM_SEAM_CAS_WEAK_FAILS() (before_claiming(), 0)

static unsigned parks; // of this process
#define TDM_SEAM_FUTEX_WAIT(word, expected, deadline_ns)                                           \
	(parks++, tdm_futex_wait_kernel_(word, expected, deadline_ns))

#include <tandem.h>
#include <tandem/base/sanitizer.h>

#include "../support/child.h"
#include "../support/cpu.h"
#include "../support/pattern.h"
#include "../support/tap.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

struct job {
	uint64_t id;
	char text[16];
};
TDM_MPMC_DEFINE(jobs, struct job);

#define ATTACH(role, handle, span, elem_size, self)                                                \
	tdm_mpmc_##role##_attach(handle, span, elem_size, self)
#define BARE(h) (h)
#define ELEM void
#define FORM(op) tdm_mpmc_##op
#define NAMED(x) x##_untyped
#include "mpmc_forms.h"

#define ATTACH(role, handle, span, elem_size, self) jobs_##role##_attach(handle, span, self)
#define BARE(h) (h).ring
#define ELEM struct job
#define FORM(op) jobs_##op
#define NAMED(x) x##_jobs
#include "mpmc_forms.h"

#define MS UINT64_C(1000000)
#define CAPACITY 8U

// What a case works with: a segment without a name, which children inherit, and notes.
struct notes {
	tdm_atomic_u32 stage; // how far the child is
	tdm_atomic_u32 seat;  // the child's
};
static struct tdm_segment segment;
static struct tdm_participant self;
static struct tdm_participant idle; // a second one in this process
static struct tdm_span ring;        // robust, 8 numbers
static struct tdm_span wide;        // robust, 64 numbers
static struct tdm_span plain;       // 8 numbers without participants
static struct tdm_span typed;       // robust, 8 jobs
static struct notes *notes;
static struct tdm_mpmc_producer out;
static struct tdm_mpmc_consumer in;
static uint64_t pushed; // the next number

// Ends or stops the process before its nth copy from now; 0: never.
static unsigned copies_left;
static int copy_signal;

static void before_copying(void)
{
	if (copies_left > 0 && --copies_left == 0)
		raise(copy_signal);
}

static void (*at_claim)(void); // called once, before the next claim, or NULL

static void before_claiming(void)
{
	void (*once)(void) = at_claim;
	at_claim = TDM_NULL;
	if (once != TDM_NULL)
		once();
}

static void set_up(void)
{
	struct tdm_object objects[4];
	objects[0] = tdm_mpmc_object("ring", 8, CAPACITY);
	objects[1] = tdm_mpmc_object("wide", 8, 64);
	objects[2] = tdm_mpmc_object("plain", 8, CAPACITY);
	objects[2].plain = true;
	objects[3] = jobs_object("typed", CAPACITY);
	if (!CHECK_STATUS(tdm_segment_create(&segment, objects, 4, TDM_NULL), TDM_OK) ||
	    !CHECK_STATUS(tdm_segment_join(&segment, &self, "test"), TDM_OK) ||
	    !CHECK_STATUS(tdm_segment_join(&segment, &idle, "idle"), TDM_OK))
		abort();
	ring = tdm_segment_find(&segment, "ring");
	wide = tdm_segment_find(&segment, "wide");
	plain = tdm_segment_find(&segment, "plain");
	typed = tdm_segment_find(&segment, "typed");
	memset(&out, 0, sizeof(out));
	memset(&in, 0, sizeof(in));
	notes = TDM_CAST(struct notes *, child_shared(sizeof(*notes)));
	pushed = 0;
}

static void detach(void)
{
	if (out.view.shm != TDM_NULL)
		CHECK_STATUS(tdm_mpmc_producer_detach(&out), TDM_OK);
	if (in.view.shm != TDM_NULL)
		CHECK_STATUS(tdm_mpmc_consumer_detach(&in), TDM_OK);
}

static void tear_down(void)
{
	detach();
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&idle), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	munmap(notes, sizeof(*notes));
}

static void produce(void)
{
	CHECK_STATUS(tdm_mpmc_producer_attach(&out, ring, 8, &self), TDM_OK);
}

static void consume(void)
{
	CHECK_STATUS(tdm_mpmc_consumer_attach(&in, ring, 8, &self), TDM_OK);
	in.doubts = 0; // so that what is left behind is not looked for at once
}

static void push(uint64_t count)
{
	for (uint64_t i = 0; i < count; i++, pushed++)
		CHECK_STATUS(tdm_mpmc_try_push(&out, &pushed), TDM_OK);
}

// Within 32 polls.
static void expect_pop(uint64_t expected)
{
	uint64_t value = ~expected;
	enum tdm_status status = TDM_EMPTY;
	for (unsigned i = 0; i < TDM_MPMC_PATIENCE_ && status == TDM_EMPTY; i++)
		status = tdm_mpmc_try_pop(&in, &value);
	CHECK_STATUS(status, TDM_OK);
	CHECK_EQ_U64(value, expected);
}

static void expect_push(uint64_t value)
{
	enum tdm_status status = TDM_FULL;
	for (unsigned i = 0; i < TDM_MPMC_PATIENCE_ && status == TDM_FULL; i++)
		status = tdm_mpmc_try_push(&out, &value);
	CHECK_STATUS(status, TDM_OK);
}

static struct tdm_mpmc_lease expect_take(uint64_t expected, uint32_t attempt)
{
	struct tdm_mpmc_lease lease;
	enum tdm_status status = TDM_EMPTY;
	for (unsigned i = 0; i < TDM_MPMC_PATIENCE_ && status == TDM_EMPTY; i++)
		status = tdm_mpmc_try_take(&in, &lease);
	CHECK_STATUS(status, TDM_OK);
	if (CHECK(lease.elem != TDM_NULL))
		CHECK_EQ_U64(*TDM_CAST(const uint64_t *, lease.elem), expected);
	CHECK_EQ_U64(lease.attempt, attempt);
	return lease;
}

static void expect_nothing(void)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < 2 * TDM_MPMC_PATIENCE_; i++)
		if (!CHECK_STATUS(tdm_mpmc_try_pop(&in, &value), TDM_EMPTY))
			break;
}

// The ring is empty, and all of it can be used, twice round.
static void expect_whole(void)
{
	expect_nothing();
	for (unsigned lap = 0; lap < 2; lap++) {
		uint64_t first = pushed;
		push(CAPACITY);
		CHECK_STATUS(tdm_mpmc_try_push(&out, &pushed), TDM_FULL);
		for (uint64_t i = 0; i < CAPACITY; i++)
			expect_pop(first + i);
	}
	expect_nothing();
}

// In a child: a seat of its own, and none of its parent's handles.
static void join(void)
{
	memset(&out, 0, sizeof(out));
	memset(&in, 0, sizeof(in));
	CHECK_STATUS(tdm_segment_join(&segment, &self, "child"), TDM_OK);
	tdm_store_relaxed_u32(&notes->seat, self.index);
}

static void leave(void)
{
	detach();
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

// It has killed itself.
static void await_end(pid_t child)
{
	int status = 0;
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void await_stop(pid_t child)
{
	int status = 0;
	CHECK(waitpid(child, &status, WUNTRACED) == child);
	CHECK(WIFSTOPPED(status));
}

static struct tdm_mpmc_shm *shm(void)
{
	return TDM_CAST(struct tdm_mpmc_shm *, ring.base);
}

// The word of the seat that the last child had.
static tdm_atomic_u64 *word_of_child(uint32_t which)
{
	struct tdm_mpmc_part *parts = TDM_AT_(struct tdm_mpmc_part, ring.base, sizeof(*shm()));
	return &parts[tdm_load_relaxed_u32(&notes->seat)].intents[which];
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

// --- somebody dies in the middle ---

// A child's one operation, and before which copy it ends.
struct fate {
	struct tdm_span *span;
	size_t count;
	unsigned copy;
	int signal;
};

static void pushes_and_dies(void *argument)
{
	const struct fate *fate = TDM_CAST(const struct fate *, argument);
	uint64_t values[64];
	size_t done = 0;
	for (uint64_t i = 0; i < COUNT(values); i++)
		values[i] = pushed + i;
	join();
	CHECK_STATUS(tdm_mpmc_producer_attach(&out, *fate->span, 8, &self), TDM_OK);
	copies_left = fate->copy;
	copy_signal = fate->signal;
	CHECK_STATUS(fate->count == 1 ? tdm_mpmc_try_push(&out, values)
				      : tdm_mpmc_try_push_n(&out, values, fate->count, &done),
		     TDM_OK);
	leave();
}

static void pops_and_dies(void *argument)
{
	const struct fate *fate = TDM_CAST(const struct fate *, argument);
	uint64_t values[64];
	size_t done = 0;
	join();
	CHECK_STATUS(tdm_mpmc_consumer_attach(&in, *fate->span, 8, &self), TDM_OK);
	copies_left = fate->copy;
	copy_signal = fate->signal;
	CHECK_STATUS(tdm_mpmc_try_pop_n(&in, values, fate->count, &done), TDM_OK);
	leave();
}

static struct fate fate_of(size_t count, unsigned copy, int signal)
{
	struct fate fate;
	fate.span = &ring;
	fate.count = count;
	fate.copy = copy;
	fate.signal = signal;
	return fate;
}

static void test_producer_dies(void)
{
	tap_case("what a producer claimed and did not publish before it died is skipped");
	for (unsigned known = 0; known < 2; known++) // whether its intent says that it has won
		for (uint64_t before = 0; before < 4; before++)
			for (uint64_t after = 0; after < 4; after++) {
				struct fate fate = fate_of(1, 1, SIGKILL);
				set_up();
				produce();
				consume();
				push(before);
				await_end(child_start(pushes_and_dies, &fate));
				tdm_atomic_u64 *word = word_of_child(TDM_MPMC_PUSH_);
				uint64_t intent = tdm_load_relaxed_u64(word);
				CHECK(tdm_mpmc_covers_(intent, before));
				if (known == 0)
					tdm_store_relaxed_u64(word, intent & ~TDM_MPMC_WON_);
				push(after);
				for (uint64_t i = 0; i < before + after; i++)
					expect_pop(i);
				expect_whole();
				tear_down();
			}

	tap_case("of a batch, what was published before its producer died is there, in order");
	for (size_t count = 2; count <= CAPACITY; count += 2)
		for (unsigned copy = 1; copy <= count; copy++) {
			struct fate fate = fate_of(count, copy, SIGKILL);
			set_up();
			produce();
			consume();
			await_end(child_start(pushes_and_dies, &fate));
			for (uint64_t i = 0; i + 1 < copy; i++)
				expect_pop(i);
			pushed = count;
			expect_whole();
			tear_down();
		}

	tap_case("a whole batch that a dead producer claimed costs no more than one look");
	uint64_t value = 0;
	struct fate fate = fate_of(32, 1, SIGKILL);
	set_up();
	fate.span = &wide;
	CHECK_STATUS(tdm_mpmc_producer_attach(&out, wide, 8, &self), TDM_OK);
	CHECK_STATUS(tdm_mpmc_consumer_attach(&in, wide, 8, &self), TDM_OK);
	in.doubts = 0;
	await_end(child_start(pushes_and_dies, &fate));
	push(1);
	expect_pop(0);
	CHECK_STATUS(tdm_mpmc_try_pop(&in, &value), TDM_EMPTY);
	tear_down();

	tap_case("a ring that looks full because of a dead producer is not, after 32 polls");
	fate = fate_of(1, 1, SIGKILL);
	set_up();
	produce();
	await_end(child_start(pushes_and_dies, &fate));
	push(CAPACITY - 1);
	CHECK_STATUS(tdm_mpmc_try_push(&out, &value), TDM_FULL);
	expect_push(pushed++);
	CHECK_STATUS(tdm_mpmc_try_push(&out, &value), TDM_FULL);
	consume();
	for (uint64_t i = 0; i < CAPACITY; i++)
		expect_pop(i);
	expect_whole();
	tear_down();
}

static void test_consumer_dies(void)
{
	tap_case("what a consumer claimed and did not release before it died is delivered again");
	for (unsigned known = 0; known < 2; known++)
		for (uint64_t before = 0; before < 3; before++)
			for (uint64_t after = 0; after < 4; after++) {
				struct fate fate = fate_of(1, 1, SIGKILL);
				set_up();
				produce();
				consume();
				push(before + 1 + after);
				for (uint64_t i = 0; i < before; i++)
					expect_pop(i);
				await_end(child_start(pops_and_dies, &fate));
				tdm_atomic_u64 *word = word_of_child(TDM_MPMC_POP_);
				uint64_t intent = tdm_load_relaxed_u64(word);
				CHECK(tdm_mpmc_covers_(intent, before));
				if (known == 0)
					tdm_store_relaxed_u64(word, intent & ~TDM_MPMC_WON_);
				for (uint64_t i = 0; i < after; i++)
					expect_pop(before + 1 + i);
				expect_pop(before);
				expect_whole();
				tear_down();
			}

	tap_case("of a batch, what was not released is delivered again, the oldest first");
	for (size_t count = 2; count <= CAPACITY; count += 2)
		for (unsigned copy = 1; copy <= count; copy++)
			for (unsigned take = 0; take < 2; take++) {
				struct fate fate = fate_of(count, copy, SIGKILL);
				set_up();
				produce();
				consume();
				push(CAPACITY);
				await_end(child_start(pops_and_dies, &fate));
				for (uint64_t i = count; i < CAPACITY; i++)
					expect_pop(i);
				for (uint64_t i = copy - 1; i < count; i++) {
					if (take == 0) {
						expect_pop(i);
						continue;
					}
					struct tdm_mpmc_lease lease = expect_take(i, 2);
					CHECK_STATUS(tdm_mpmc_ack(&in, &lease), TDM_OK);
				}
				expect_whole();
				tear_down();
			}

	tap_case("a full ring is full until somebody pops what the dead had claimed");
	uint64_t value = 0;
	struct fate fate = fate_of(1, 1, SIGKILL);
	set_up();
	produce();
	push(CAPACITY);
	await_end(child_start(pops_and_dies, &fate));
	for (unsigned i = 0; i < 3 * TDM_MPMC_PATIENCE_; i++)
		if (!CHECK_STATUS(tdm_mpmc_try_push(&out, &value), TDM_FULL))
			break;
	consume();
	for (uint64_t i = 1; i < CAPACITY; i++)
		expect_pop(i);
	CHECK_STATUS(tdm_mpmc_try_push(&out, &value), TDM_FULL);
	expect_pop(0);
	expect_whole();
	tear_down();
}

static void takes_and_dies(void *argument)
{
	unsigned count = *TDM_CAST(const unsigned *, argument);
	struct tdm_mpmc_lease lease;
	join();
	consume();
	for (unsigned i = 0; i < count; i++) {
		enum tdm_status status = TDM_EMPTY;
		for (unsigned k = 0; k < TDM_MPMC_PATIENCE_ && status == TDM_EMPTY; k++)
			status = tdm_mpmc_try_take(&in, &lease);
		CHECK_STATUS(status, TDM_OK);
	}
	await_death();
}

// A child takes this many and is killed.
static void taken_by_the_dead(unsigned count)
{
	reach(0);
	pid_t child = child_start(takes_and_dies, &count);
	await_stage(1);
	child_kill(child);
}

static void test_taker_dies(void)
{
	struct tdm_mpmc_lease leases[CAPACITY];
	tap_case(
	    "what a dead consumer had taken is delivered again, and counts as a second attempt");
	for (unsigned count = 1; count <= CAPACITY; count++) {
		set_up();
		produce();
		consume();
		push(CAPACITY);
		taken_by_the_dead(count);
		for (uint64_t i = count; i < CAPACITY; i++)
			expect_pop(i);
		for (uint64_t i = 0; i < count; i++)
			leases[i] = expect_take(i, 2);
		expect_nothing();
		for (uint64_t i = 0; i < count; i++)
			CHECK_STATUS(tdm_mpmc_ack(&in, &leases[i]), TDM_OK);
		expect_whole();
		tear_down();
	}

	tap_case("each taker that dies makes it one attempt more");
	set_up();
	produce();
	consume();
	push(1);
	for (unsigned i = 0; i < 6; i++)
		taken_by_the_dead(1);
	leases[0] = expect_take(0, 7);
	CHECK_STATUS(tdm_mpmc_ack(&in, &leases[0]), TDM_OK);
	expect_whole();
	tear_down();

	tap_case("one who dies while it pops what the dead left behind leaves it to the next");
	set_up();
	produce();
	push(1);
	taken_by_the_dead(1);
	struct fate fate = fate_of(1, 1, SIGKILL);
	for (unsigned i = 0; i < 3; i++)
		await_end(child_start(pops_and_dies, &fate));
	consume();
	leases[0] = expect_take(0, 5);
	CHECK_STATUS(tdm_mpmc_ack(&in, &leases[0]), TDM_OK);
	expect_whole();
	tear_down();

	tap_case("what a live consumer has taken is nobody else's, however long it takes");
	unsigned one = 1;
	set_up();
	produce();
	push(2);
	pid_t child = child_start(takes_and_dies, &one);
	await_stage(1);
	consume();
	expect_pop(1);
	expect_nothing();
	child_kill(child);
	expect_pop(0);
	expect_whole();
	tear_down();
}

static void *takes_and_ends(void *argument)
{
	struct tdm_participant mine;
	struct tdm_mpmc_consumer consumer;
	struct tdm_mpmc_lease lease;
	(void)argument;
	CHECK_STATUS(tdm_segment_join(&segment, &mine, "thread"), TDM_OK);
	CHECK_STATUS(tdm_mpmc_consumer_attach(&consumer, ring, 8, &mine), TDM_OK);
	CHECK_STATUS(tdm_mpmc_try_take(&consumer, &lease), TDM_OK);
	return TDM_NULL;
}

// Dies between its intent and its claim, which `word` and `count` are about.
struct thought {
	uint32_t word;
	uint64_t position, count;
};

static void thinks_and_dies(void *argument)
{
	const struct thought *thought = TDM_CAST(const struct thought *, argument);
	join();
	produce();
	consume();
	tdm_store_release_u64(word_of_child(thought->word),
			      tdm_mpmc_intent_(thought->position, thought->count));
	kill(getpid(), SIGKILL);
}

static void only_attaches(void *argument)
{
	uint32_t seat = tdm_load_relaxed_u32(&notes->seat);
	(void)argument;
	join();
	CHECK_EQ_U64(self.index, seat);
	produce();
	consume();
	for (uint64_t i = 0; i < 3; i++)
		expect_pop(i);
	leave();
}

static void test_before_claim(void)
{
	static const uint32_t words[] = {TDM_MPMC_PUSH_, TDM_MPMC_POP_, TDM_MPMC_TAKE_,
					 TDM_MPMC_WORDS_ - 1};
	tap_case("who dies before it claims what it was about to has done nothing");
	for (size_t i = 0; i < COUNT(words); i++)
		for (uint64_t count = 1; count <= 3; count++)
			for (unsigned next = 0; next < 3; next++) {
				struct thought thought;
				uint32_t recovered = 1;
				thought.word = words[i];
				thought.position = words[i] == TDM_MPMC_PUSH_ ? 3 : 0;
				thought.count = count;
				set_up();
				produce();
				consume();
				push(3);
				await_end(child_start(thinks_and_dies, &thought));
				if (next == 0) { // somebody else has its seat
					child_end(child_start(only_attaches, TDM_NULL));
				} else {
					CHECK_STATUS(tdm_mpmc_recover(ring, &self, &recovered),
						     TDM_OK);
					CHECK_EQ_U64(recovered, 0);
					push(next == 1 ? 2 : 0);
					for (uint64_t k = 0; k < pushed; k++)
						expect_pop(k);
				}
				expect_whole();
				tear_down();
			}
}

static void test_thread_ends(void)
{
	pthread_t thread;
	tap_case("a thread that ends without leaving has died");
	set_up();
	produce();
	push(1);
	CHECK(pthread_create(&thread, TDM_NULL, takes_and_ends, TDM_NULL) == 0);
	CHECK(pthread_join(thread, TDM_NULL) == 0);
	CHECK_STATUS(tdm_mpmc_producer_peers(&out), TDM_PEER_DIED);
	consume();
	struct tdm_mpmc_lease lease = expect_take(0, 2);
	CHECK_STATUS(tdm_mpmc_ack(&in, &lease), TDM_OK);
	expect_whole();
	tear_down();
}

// --- seats that are used again ---

// Takes everything, more than there are words for what is new; then acknowledges all.
static void takes_over_seat(void *argument)
{
	unsigned left = *TDM_CAST(const unsigned *, argument);
	uint32_t seat = tdm_load_relaxed_u32(&notes->seat);
	struct tdm_mpmc_lease leases[TDM_MPMC_TAKES];
	uint64_t seen = 0;
	join();
	CHECK_EQ_U64(self.index, seat);
	consume();
	for (unsigned i = 0; i < CAPACITY; i++) {
		enum tdm_status status = TDM_EMPTY;
		for (unsigned k = 0; k < TDM_MPMC_PATIENCE_ && status == TDM_EMPTY; k++)
			status = tdm_mpmc_try_take(&in, &leases[i]);
		if (!CHECK_STATUS(status, TDM_OK))
			break;
		uint64_t value = *TDM_CAST(const uint64_t *, leases[i].elem);
		CHECK_EQ_U64(leases[i].attempt, value < left ? 2 : 1);
		seen |= UINT64_C(1) << value;
	}
	CHECK_EQ_U64(seen, (UINT64_C(1) << CAPACITY) - 1);
	for (unsigned i = 0; i < CAPACITY; i++)
		CHECK_STATUS(tdm_mpmc_ack(&in, &leases[i]), TDM_OK);
	expect_nothing();
	leave();
}

static void pops_in_seat(void *argument)
{
	uint64_t left = *TDM_CAST(const unsigned *, argument);
	uint32_t seat = tdm_load_relaxed_u32(&notes->seat);
	join();
	CHECK_EQ_U64(self.index, seat);
	consume();
	for (uint64_t i = left; i < CAPACITY; i++)
		expect_pop(i);
	for (uint64_t i = 0; i < left; i++)
		expect_pop(i);
	expect_nothing();
	leave();
}

static void only_joins(void *argument)
{
	uint32_t seat = tdm_load_relaxed_u32(&notes->seat);
	(void)argument;
	join();
	CHECK_EQ_U64(self.index, seat);
	await_death();
}

static void only_produces(void *argument)
{
	uint32_t seat = tdm_load_relaxed_u32(&notes->seat);
	(void)argument;
	join();
	CHECK_EQ_U64(self.index, seat);
	produce();
	await_death();
}

static void test_seats(void)
{
	tap_case("who takes the seat of a dead taker can take what that left behind, and the rest");
	for (unsigned left = 1; left <= CAPACITY; left++) {
		set_up();
		produce();
		push(CAPACITY);
		taken_by_the_dead(left);
		child_end(child_start(takes_over_seat, &left));
		consume();
		expect_whole();
		tear_down();
	}

	tap_case("and can pop it");
	for (unsigned left = 1; left < CAPACITY; left++) {
		set_up();
		produce();
		push(CAPACITY);
		taken_by_the_dead(left);
		child_end(child_start(pops_in_seat, &left));
		consume();
		expect_whole();
		tear_down();
	}

	tap_case("who takes the seat of one who died popping a batch goes on with the next");
	for (unsigned left = 2; left < CAPACITY; left++) {
		struct fate fate = fate_of(left, 1, SIGKILL);
		set_up();
		produce();
		push(CAPACITY);
		await_end(child_start(pops_and_dies, &fate));
		child_end(child_start(pops_in_seat, &left));
		consume();
		expect_whole();
		tear_down();
	}

	tap_case("what the dead left behind is found while their seat has another holder");
	for (unsigned way = 0; way < 4; way++) {
		struct fate fate = fate_of(1, 1, SIGKILL);
		set_up();
		produce();
		consume();
		push(2);
		if (way % 2 == 0) {
			taken_by_the_dead(1);
		} else {
			expect_pop(0);
			expect_pop(1);
			await_end(child_start(pushes_and_dies, &fate));
		}
		reach(0);
		pid_t child = child_start(way < 2 ? only_joins : only_produces, TDM_NULL);
		await_stage(1);
		push(1);
		if (way % 2 == 0)
			expect_pop(1);
		expect_pop(2);
		if (way % 2 == 0)
			expect_pop(0);
		expect_whole();
		child_kill(child);
		tear_down();
	}
}

// A participant that did something long ago and has been idle since.
static void test_stale(void)
{
	struct tdm_mpmc_producer idle_out;
	struct tdm_mpmc_consumer idle_in;
	struct tdm_mpmc_lease lease;
	uint64_t value = 0;
	size_t done = 0;
	uint64_t batch[3] = {0, 1, 2};
	tap_case("an idle participant's old intents do not keep what dies where it once was");
	for (uint64_t laps = 1; laps <= 5; laps++)
		for (unsigned way = 0; way < 3; way++) {
			struct fate fate = fate_of(1, 1, SIGKILL);
			set_up();
			produce();
			consume();
			CHECK_STATUS(tdm_mpmc_producer_attach(&idle_out, ring, 8, &idle), TDM_OK);
			CHECK_STATUS(tdm_mpmc_consumer_attach(&idle_in, ring, 8, &idle), TDM_OK);
			CHECK_STATUS(tdm_mpmc_try_push_n(&idle_out, batch, 3, &done), TDM_OK);
			CHECK_STATUS(tdm_mpmc_try_pop(&idle_in, &value), TDM_OK);
			CHECK_STATUS(tdm_mpmc_try_take(&idle_in, &lease), TDM_OK);
			CHECK_STATUS(tdm_mpmc_ack(&idle_in, &lease), TDM_OK);
			CHECK_STATUS(tdm_mpmc_try_pop_n(&idle_in, batch, 3, &done), TDM_OK);
			pushed = 3;
			while (pushed < laps * CAPACITY) {
				push(1);
				expect_pop(pushed - 1);
			}
			// Now position 0's slot again.
			if (way == 0) {
				await_end(child_start(pushes_and_dies, &fate));
			} else {
				push(1);
				if (way == 1)
					await_end(child_start(pops_and_dies, &fate));
				else
					taken_by_the_dead(1);
				push(2);
				expect_pop(pushed - 2);
				expect_pop(pushed - 1);
				expect_pop(pushed - 3);
			}
			expect_whole();
			CHECK_STATUS(tdm_mpmc_producer_detach(&idle_out), TDM_OK);
			CHECK_STATUS(tdm_mpmc_consumer_detach(&idle_in), TDM_OK);
			tear_down();
		}

	tap_case("one who lost the race for a position keeps it only as long as that is unclear");
	struct fate fate = fate_of(1, 1, SIGKILL);
	for (unsigned known = 0; known < 2; known++) {
		set_up();
		produce();
		consume();
		CHECK_STATUS(tdm_mpmc_producer_attach(&idle_out, ring, 8, &idle), TDM_OK);
		await_end(child_start(pushes_and_dies, &fate));
		tdm_atomic_u64 *word = word_of_child(TDM_MPMC_PUSH_);
		if (known == 0)
			tdm_store_relaxed_u64(word, tdm_load_relaxed_u64(word) & ~TDM_MPMC_WON_);
		// `idle` is stopped between its intent and its claim.
		tdm_store_relaxed_u64(idle_out.intent, tdm_mpmc_intent_(0, 1));
		push(1);
		if (known == 0) {
			expect_nothing();
			tdm_store_relaxed_u64(idle_out.intent, 0); // it goes on, and loses
		}
		expect_pop(0);
		expect_whole();
		CHECK_STATUS(tdm_mpmc_producer_detach(&idle_out), TDM_OK);
		tear_down();
	}
}

static struct tdm_mpmc_producer faster_out;
static struct tdm_mpmc_consumer faster_in;

static void pushes_faster(void)
{
	CHECK_STATUS(tdm_mpmc_try_push(&faster_out, &pushed), TDM_OK);
	pushed++;
}

static void pops_faster(void)
{
	uint64_t value = 9;
	CHECK_STATUS(tdm_mpmc_try_pop(&faster_in, &value), TDM_OK);
	CHECK_EQ_U64(value, 0);
}

static void test_losing(void)
{
	tap_case("who loses the race for the last position takes back its intent");
	for (unsigned way = 0; way < 5; way++) {
		uint64_t values[3] = {0};
		size_t done = 0;
		struct tdm_mpmc_lease lease;
		set_up();
		produce();
		consume();
		CHECK_STATUS(tdm_mpmc_producer_attach(&faster_out, ring, 8, &idle), TDM_OK);
		CHECK_STATUS(tdm_mpmc_consumer_attach(&faster_in, ring, 8, &idle), TDM_OK);
		push(way < 2 ? CAPACITY - 1 : 1);
		at_claim = way < 2 ? pushes_faster : pops_faster;
		switch (way) {
		case 0:
			CHECK_STATUS(tdm_mpmc_try_push(&out, values), TDM_FULL);
			break;
		case 1:
			CHECK_STATUS(tdm_mpmc_try_push_n(&out, values, 3, &done), TDM_FULL);
			break;
		case 2:
			CHECK_STATUS(tdm_mpmc_try_pop(&in, values), TDM_EMPTY);
			break;
		case 3:
			CHECK_STATUS(tdm_mpmc_try_pop_n(&in, values, 3, &done), TDM_EMPTY);
			break;
		default:
			CHECK_STATUS(tdm_mpmc_try_take(&in, &lease), TDM_EMPTY);
			break;
		}
		CHECK(at_claim == TDM_NULL);
		tdm_atomic_u64 *words = in.part->intents;
		if (way < 2)
			CHECK_EQ_U64(tdm_load_relaxed_u64(&words[TDM_MPMC_PUSH_]), 0);
		for (uint32_t i = TDM_MPMC_POP_; i < TDM_MPMC_WORDS_; i++)
			CHECK_EQ_U64(tdm_load_relaxed_u64(&words[i]), 0);
		if (way < 2)
			for (uint64_t i = 0; i < CAPACITY; i++)
				expect_pop(i);
		expect_whole();
		CHECK_STATUS(tdm_mpmc_producer_detach(&faster_out), TDM_OK);
		CHECK_STATUS(tdm_mpmc_consumer_detach(&faster_in), TDM_OK);
		tear_down();
	}
}

static void dies_recovering(void *argument)
{
	(void)argument;
	join();
	consume();
	CHECK_STATUS(tdm_mpmc_lock_(&in.view), TDM_OK);
	await_death();
}

static void test_recovery_dies(void)
{
	tap_case("who dies while it takes over from the dead does not keep others from it");
	set_up();
	produce();
	consume();
	push(1);
	taken_by_the_dead(1);
	reach(0);
	pid_t child = child_start(dies_recovering, TDM_NULL);
	await_stage(1);
	expect_nothing();
	child_kill(child);
	expect_pop(0);
	expect_whole();
	tear_down();
}

// --- the other side goes ---

static void has_roles(void *argument)
{
	unsigned roles = *TDM_CAST(const unsigned *, argument);
	join();
	if ((roles & TDM_MPMC_PRODUCES_) != 0)
		produce();
	if ((roles & TDM_MPMC_CONSUMES_) != 0)
		consume();
	await_death();
}

static void test_peers(void)
{
	tap_case("who has the other role: nobody yet, somebody, nobody any more, or only the dead");
	for (unsigned both = 0; both < 2; both++) {
		unsigned roles =
		    both ? TDM_MPMC_PRODUCES_ | TDM_MPMC_CONSUMES_ : TDM_MPMC_CONSUMES_;
		struct tdm_mpmc_consumer first;
		set_up();
		produce();
		CHECK_STATUS(tdm_mpmc_producer_peers(&out), TDM_NOT_FOUND);
		CHECK_STATUS(tdm_mpmc_consumer_attach(&first, ring, 8, &idle), TDM_OK);
		CHECK_STATUS(tdm_mpmc_producer_peers(&out), TDM_OK);
		CHECK_STATUS(tdm_mpmc_consumer_detach(&first), TDM_OK);
		CHECK_STATUS(tdm_mpmc_producer_peers(&out), TDM_PEER_LEFT);
		pid_t child = child_start(has_roles, &roles);
		await_stage(1);
		CHECK_STATUS(tdm_mpmc_producer_peers(&out), TDM_OK);
		CHECK_STATUS(tdm_mpmc_consumer_attach(&first, ring, 8, &idle), TDM_OK);
		CHECK_STATUS(tdm_mpmc_consumer_peers(&first), TDM_OK);
		child_kill(child);
		CHECK_STATUS(tdm_mpmc_producer_peers(&out), TDM_OK);
		CHECK_STATUS(tdm_mpmc_consumer_detach(&first), TDM_OK);
		CHECK_STATUS(tdm_mpmc_producer_peers(&out), TDM_PEER_DIED);

		// The dead one's seat is taken by somebody who does something else.
		reach(0);
		child = child_start(only_produces, TDM_NULL);
		await_stage(1);
		CHECK_STATUS(tdm_mpmc_producer_peers(&out), TDM_PEER_LEFT);
		consume();
		CHECK_STATUS(tdm_mpmc_producer_detach(&out), TDM_OK);
		CHECK_STATUS(tdm_mpmc_consumer_peers(&in), TDM_OK);
		child_kill(child);
		CHECK_STATUS(tdm_mpmc_consumer_peers(&in), TDM_PEER_DIED);
		tear_down();
	}
}

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
	go(*TDM_CAST(const enum way *, argument), &shm()->not_empty);
}

static void consumes_and_goes(void *argument)
{
	join();
	consume();
	for (uint64_t i = 0; i < 3; i++)
		expect_pop(i);
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
	static const char *const forms[] = {"pop", "pop_until", "pop_n_until", "take_until",
					    "take"};
	for (size_t form = 0; form < COUNT(forms); form++) {
		char sentence[100];
		snprintf(sentence, sizeof(sentence),
			 "%s gives all there is, then tells how the last producer went",
			 forms[form]);
		tap_case(sentence);
		for (unsigned n = 0; n < WAYS; n++) {
			enum way way = TDM_CAST(enum way, n);
			enum tdm_status status = TDM_OK;
			uint64_t values[8] = {0};
			uint64_t came = 0;
			struct tdm_mpmc_lease lease;
			uint64_t deadline_ns = tdm_deadline_after_ns(CHILD_PATIENCE_NS);
			set_up();
			consume();
			pid_t child = child_start(produces_and_goes, &way);
			if (way == LEAVES || way == DIES)
				reap(child, way);
			while (status == TDM_OK) {
				size_t popped = 1;
				switch (form) {
				case 0:
					status = tdm_mpmc_pop(&in, values);
					break;
				case 1:
					status = tdm_mpmc_pop_until(&in, values, deadline_ns);
					break;
				case 2:
					status = tdm_mpmc_pop_n_until(&in, values, 8, &popped,
								      deadline_ns);
					break;
				default:
					status = form == 3
						     ? tdm_mpmc_take_until(&in, &lease, deadline_ns)
						     : tdm_mpmc_take(&in, &lease);
					if (status == TDM_OK)
						CHECK_STATUS(tdm_mpmc_ack(&in, &lease), TDM_OK);
					break;
				}
				came += status == TDM_OK ? popped : 0;
			}
			CHECK_STATUS(status, dies(way) ? TDM_PEER_DIED : TDM_PEER_LEFT);
			CHECK_EQ_U64(came, 3);
			if (way == LEAVES_LATER || way == DIES_LATER)
				reap(child, way);
			tear_down();
		}
	}
}

static void test_consumer_goes(void)
{
	static const char *const forms[] = {"push", "push_until", "push_n_until"};
	for (size_t form = 0; form < COUNT(forms); form++) {
		char sentence[100];
		snprintf(sentence, sizeof(sentence),
			 "%s uses all the room there is, then tells how the last consumer went",
			 forms[form]);
		tap_case(sentence);
		for (unsigned n = 0; n < WAYS; n++) {
			enum way way = TDM_CAST(enum way, n);
			enum tdm_status status = TDM_OK;
			uint64_t values[100] = {0};
			uint64_t went = 0;
			uint64_t deadline_ns = tdm_deadline_after_ns(CHILD_PATIENCE_NS);
			set_up();
			produce();
			push(CAPACITY);
			pid_t child = child_start(consumes_and_goes, &way);
			if (way == LEAVES || way == DIES)
				reap(child, way);
			while (status == TDM_OK) {
				size_t done = 1;
				switch (form) {
				case 0:
					status = tdm_mpmc_push(&out, values);
					break;
				case 1:
					status = tdm_mpmc_push_until(&out, values, deadline_ns);
					break;
				default:
					status = tdm_mpmc_push_n_until(&out, values, COUNT(values),
								       &done, deadline_ns);
					went += done;
					break;
				}
				went += form < 2 && status == TDM_OK ? 1 : 0;
			}
			CHECK_STATUS(status, dies(way) ? TDM_PEER_DIED : TDM_PEER_LEFT);
			CHECK_EQ_U64(went, 3);
			if (way == LEAVES_LATER || way == DIES_LATER)
				reap(child, way);
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
	uint64_t value = 0;
	enum way way = *TDM_CAST(const enum way *, argument);
	join();
	CHECK(comes_to_sleep(&shm()->not_full));
	consume();
	CHECK_STATUS(tdm_mpmc_try_pop(&in, &value), TDM_OK);
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
		CHECK_STATUS(tdm_mpmc_pop(&in, &value), TDM_OK);
		reap(child, way);
		CHECK_STATUS(tdm_mpmc_pop_until(&in, &value, tdm_deadline_after_ns(5 * MS)),
			     TDM_TIMED_OUT);
	}
	in.follow = false;
	CHECK_STATUS(tdm_mpmc_pop(&in, &value), TDM_PEER_DIED);
	tear_down();

	tap_case("a producer that follows waits for the next consumer, and the next");
	set_up();
	produce();
	push(CAPACITY);
	out.follow = true;
	for (unsigned n = 0; n < 4; n++) {
		enum way way = n % 2 == 0 ? LEAVES : DIES;
		pid_t child = child_start(consumes_later, &way);
		CHECK_STATUS(tdm_mpmc_push(&out, &value), TDM_OK);
		reap(child, way);
		CHECK_STATUS(tdm_mpmc_push_until(&out, &value, tdm_deadline_after_ns(5 * MS)),
			     TDM_TIMED_OUT);
	}
	out.follow = false;
	CHECK_STATUS(tdm_mpmc_push(&out, &value), TDM_PEER_DIED);
	tear_down();

	tap_case("one who was never there yet is waited for");
	set_up();
	consume();
	CHECK_STATUS(tdm_mpmc_consumer_peers(&in), TDM_NOT_FOUND);
	CHECK_STATUS(tdm_mpmc_pop_until(&in, &value, tdm_deadline_after_ns(5 * MS)), TDM_TIMED_OUT);
	enum way way = LEAVES;
	pid_t child = child_start(produces_later, &way);
	CHECK_STATUS(tdm_mpmc_pop(&in, &value), TDM_OK);
	CHECK_EQ_U64(value, 0);
	reap(child, way);
	tear_down();
}

static void test_recover(void)
{
	struct fate fate = fate_of(5, 3, SIGKILL);
	struct tdm_mpmc_info info;
	uint32_t recovered = 1;
	tap_case("recover skips what a dead producer left, once, and no live one's");
	set_up();
	produce();
	consume();
	await_end(child_start(pushes_and_dies, &fate));
	CHECK_STATUS(tdm_mpmc_recover(ring, &self, &recovered), TDM_OK);
	CHECK_EQ_U64(recovered, 3);
	CHECK_STATUS(tdm_mpmc_recover(ring, &self, &recovered), TDM_OK);
	CHECK_EQ_U64(recovered, 0);
	uint64_t value = 9;
	for (uint64_t i = 0; i < 2; i++) {
		CHECK_STATUS(tdm_mpmc_try_pop(&in, &value), TDM_OK);
		CHECK_EQ_U64(value, i);
	}
	CHECK_STATUS(tdm_mpmc_try_pop(&in, &value), TDM_EMPTY);
	pushed = 5;
	expect_whole();

	tap_case("recover notices what a dead consumer left, and leaves it to the consumers");
	uint64_t first = pushed;
	push(2);
	taken_by_the_dead(2);
	CHECK_STATUS(tdm_mpmc_recover(ring, &self, &recovered), TDM_OK);
	CHECK(recovered >= 1);
	CHECK_STATUS(tdm_mpmc_check(ring, &info), TDM_OK);
	CHECK_EQ_U64(info.held, 2);
	expect_pop(first);
	expect_pop(first + 1);
	CHECK_STATUS(tdm_mpmc_recover(ring, &self, &recovered), TDM_OK);
	CHECK_EQ_U64(recovered, 0);
	expect_whole();
	tear_down();
}

// --- waiting ---

static void test_before_parking(void)
{
	struct fate fate = fate_of(1, 1, SIGKILL);
	uint64_t value = 9;
	struct tdm_mpmc_lease lease;
	tap_case("a call that waits looks after the dead before it parks");
	for (unsigned way = 0; way < 4; way++) {
		set_up();
		produce();
		consume();
		if (way < 2) {
			push(1);
			if (way == 0)
				await_end(child_start(pops_and_dies, &fate));
			else
				taken_by_the_dead(1);
		} else {
			await_end(child_start(pushes_and_dies, &fate));
			push(way == 2 ? 1 : CAPACITY - 1);
		}
		in.patience.shift = out.patience.shift = TDM_PATIENCE_MAX_; // which spins never
		parks = 0;
		switch (way) {
		case 0:
		case 2:
			CHECK_STATUS(tdm_mpmc_pop(&in, &value), TDM_OK);
			CHECK_EQ_U64(value, 0);
			break;
		case 1:
			CHECK_STATUS(tdm_mpmc_take(&in, &lease), TDM_OK);
			CHECK_EQ_U64(lease.attempt, 2);
			CHECK_STATUS(tdm_mpmc_ack(&in, &lease), TDM_OK);
			break;
		default:
			CHECK_STATUS(tdm_mpmc_push(&out, &pushed), TDM_OK);
			pushed++;
			for (uint64_t i = 0; i < CAPACITY; i++)
				expect_pop(i);
			break;
		}
		CHECK_EQ_U64(parks, 0);
		expect_whole();
		tear_down();
	}

	tap_case("also when a whole batch of a dead producer is in the way");
	set_up();
	fate = fate_of(32, 1, SIGKILL);
	fate.span = &wide;
	CHECK_STATUS(tdm_mpmc_producer_attach(&out, wide, 8, &self), TDM_OK);
	CHECK_STATUS(tdm_mpmc_consumer_attach(&in, wide, 8, &self), TDM_OK);
	await_end(child_start(pushes_and_dies, &fate));
	push(1);
	in.doubts = 0;
	in.patience.shift = TDM_PATIENCE_MAX_;
	parks = 0;
	CHECK_STATUS(tdm_mpmc_pop(&in, &value), TDM_OK);
	CHECK_EQ_U64(parks, 0);
	tear_down();
}

static enum tdm_status wait_until(unsigned form, uint64_t deadline_ns)
{
	uint64_t values[4] = {0};
	size_t done = 0;
	struct tdm_mpmc_lease lease;
	switch (form) {
	case 0:
		return tdm_mpmc_push_until(&out, values, deadline_ns);
	case 1:
		return tdm_mpmc_push_n_until(&out, values, 4, &done, deadline_ns);
	case 2:
		return tdm_mpmc_pop_until(&in, values, deadline_ns);
	case 3:
		return tdm_mpmc_pop_n_until(&in, values, 4, &done, deadline_ns);
	default:
		return tdm_mpmc_take_until(&in, &lease, deadline_ns);
	}
}

// Full for the forms that push, empty for the others.
static void prepare(unsigned form)
{
	uint64_t value = 0;
	if (form == 0)
		push(CAPACITY);
	while (form == 2 && tdm_mpmc_try_pop(&in, &value) == TDM_OK)
		continue;
}

static void test_deadlines(void)
{
	tap_case("a deadline in the past ends a wait at once");
	set_up();
	produce();
	consume();
	for (unsigned form = 0; form < 5; form++) {
		prepare(form);
		uint64_t before = tdm_now_ns();
		CHECK_STATUS(wait_until(form, 0), TDM_TIMED_OUT);
		CHECK_STATUS(wait_until(form, 1), TDM_TIMED_OUT);
		CHECK_STATUS(wait_until(form, tdm_now_ns()), TDM_TIMED_OUT);
		CHECK(tdm_now_ns() - before < 5000 * MS);
	}

	tap_case("a wait is never over before its deadline, and soon after it");
	for (unsigned form = 0; form < 5; form++) {
		static const uint64_t waits[] = {1, 20 * MS, 130 * MS}; // the last above a slice
		prepare(form);
		for (size_t i = 0; i < COUNT(waits); i++) {
			uint64_t deadline_ns = tdm_deadline_after_ns(waits[i]);
			CHECK_STATUS(wait_until(form, deadline_ns), TDM_TIMED_OUT);
			uint64_t after = tdm_now_ns();
			CHECK(after >= deadline_ns);
			CHECK(after < deadline_ns + 5000 * MS);
		}
	}

	tap_case("what can be done is done, whatever the deadline");
	for (unsigned form = 0; form < 2; form++)
		CHECK_STATUS(wait_until(form, 0), TDM_OK);
	for (unsigned form = 2; form < 5; form++) {
		if (form == 4)
			push(1);
		CHECK_STATUS(wait_until(form, 0), TDM_OK);
	}
	tear_down();

	tap_case("a batch that times out says how many were done");
	uint64_t values[20] = {0};
	size_t done = 0;
	set_up();
	produce();
	consume();
	push(3);
	CHECK_STATUS(tdm_mpmc_push_n_until(&out, values, 20, &done, tdm_deadline_after_ns(5 * MS)),
		     TDM_TIMED_OUT);
	CHECK_EQ_U64(done, CAPACITY - 3);
	CHECK_STATUS(tdm_mpmc_push_n_until(&out, values, 20, &done, tdm_deadline_after_ns(5 * MS)),
		     TDM_TIMED_OUT);
	CHECK_EQ_U64(done, 0);
	CHECK_STATUS(tdm_mpmc_pop_n_until(&in, values, 20, &done, TDM_FOREVER), TDM_OK);
	CHECK_EQ_U64(done, CAPACITY);
	CHECK_STATUS(tdm_mpmc_pop_n_until(&in, values, 20, &done, tdm_deadline_after_ns(5 * MS)),
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
		CHECK_STATUS(tdm_mpmc_pop(&in, &value), TDM_OK);
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
	struct jobs_lease lease;
	uint64_t rounds = TDM_UNDER_TSAN ? 200 : 2000;
	set_up();
	produce();
	CHECK_STATUS(jobs_consumer_attach(&back, typed, &self), TDM_OK);
	pid_t child = child_start(echoes, &rounds);
	for (uint64_t i = 0; i < rounds; i++) {
		CHECK_STATUS(tdm_mpmc_push(&out, &i), TDM_OK);
		if (i % 2 == 0) {
			CHECK_STATUS(jobs_pop(&back, &job), TDM_OK);
		} else {
			CHECK_STATUS(jobs_take(&back, &lease), TDM_OK);
			job = *lease.elem;
			CHECK_STATUS(jobs_ack(&back, &lease), TDM_OK);
		}
		if (!CHECK_EQ_U64(job.id, i + 1))
			break;
	}
	child_end(child);
	CHECK_STATUS(jobs_consumer_detach(&back), TDM_OK);
	tear_down();
}

// Takes what its parent gives back, and gives it back, or acknowledges it at last.
static void nacks(void *argument)
{
	uint32_t rounds = *TDM_CAST(const uint32_t *, argument);
	struct tdm_mpmc_lease lease;
	join();
	consume();
	for (uint32_t i = 0; i < rounds; i++) {
		CHECK_STATUS(tdm_mpmc_take(&in, &lease), TDM_OK);
		CHECK_STATUS(tdm_mpmc_ack(&in, &lease), TDM_OK);
		reach(i + 1);
	}
	leave();
}

static void test_given_back_wakes(void)
{
	tap_case("what is given back wakes a sleeping consumer");
	uint32_t rounds = 20;
	uint64_t woken_ns = UINT64_MAX;
	set_up();
	produce();
	consume();
	pid_t child = child_start(nacks, &rounds);
	for (uint32_t i = 0; i < rounds; i++) {
		struct tdm_mpmc_lease lease;
		// Pushed and taken before the child is there, or in its sleep: whoever is faster.
		push(1);
		if (tdm_mpmc_try_take(&in, &lease) == TDM_OK) {
			CHECK(comes_to_sleep(&shm()->not_empty));
			uint64_t before = tdm_now_ns();
			CHECK_STATUS(tdm_mpmc_nack(&in, &lease), TDM_OK);
			while (tdm_load_acquire_u32(&notes->stage) <= i &&
			       tdm_now_ns() - before < CHILD_PATIENCE_NS)
				sched_yield();
			uint64_t took = tdm_now_ns() - before;
			woken_ns = took < woken_ns ? took : woken_ns;
		}
		await_stage(i + 1);
	}
	child_end(child);
	tap_note("soonest after %" PRIu64 " us", woken_ns / 1000);
	CHECK(woken_ns < TDM_EVENT_SLICE_NS_ / 2);
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
		CHECK_STATUS(tdm_mpmc_push_until(&out, &value, deadline_ns), TDM_TIMED_OUT);
	} else {
		consume();
		CHECK_STATUS(tdm_mpmc_pop_until(&in, &value, deadline_ns), TDM_TIMED_OUT);
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

// --- stopped ---

static void test_stopped(void)
{
	struct fate fate = fate_of(1, 1, SIGSTOP);
	uint64_t value = 0;
	uint32_t recovered = 1;
	tap_case("a stopped producer is alive and delays only what it holds, and what comes after");
	set_up();
	produce();
	consume();
	push(2);
	pid_t child = child_start(pushes_and_dies, &fate);
	await_stop(child);
	pushed++;
	push(3);
	expect_pop(0);
	expect_pop(1);
	expect_nothing();
	CHECK_STATUS(tdm_mpmc_pop_until(&in, &value, tdm_deadline_after_ns(150 * MS)),
		     TDM_TIMED_OUT);
	CHECK_STATUS(tdm_mpmc_recover(ring, &self, &recovered), TDM_OK);
	CHECK_EQ_U64(recovered, 0);
	CHECK(kill(child, SIGCONT) == 0);
	for (uint64_t i = 2; i < 6; i++) {
		CHECK_STATUS(tdm_mpmc_pop(&in, &value), TDM_OK);
		CHECK_EQ_U64(value, i);
	}
	child_end(child);
	expect_whole();
	tear_down();

	tap_case("a stopped consumer is alive, others go on, and producers until one lap later");
	set_up();
	produce();
	consume();
	push(CAPACITY);
	child = child_start(pops_and_dies, &fate);
	await_stop(child);
	for (uint64_t i = 1; i < CAPACITY; i++)
		expect_pop(i);
	expect_nothing();
	CHECK_STATUS(tdm_mpmc_try_push(&out, &value), TDM_FULL);
	CHECK_STATUS(tdm_mpmc_push_until(&out, &value, tdm_deadline_after_ns(150 * MS)),
		     TDM_TIMED_OUT);
	CHECK_STATUS(tdm_mpmc_recover(ring, &self, &recovered), TDM_OK);
	CHECK_EQ_U64(recovered, 0);
	CHECK(kill(child, SIGCONT) == 0);
	CHECK_STATUS(tdm_mpmc_push(&out, &pushed), TDM_OK);
	expect_pop(pushed++);
	child_end(child);
	expect_whole();
	tear_down();
}

// --- fork ---

static struct jobs_producer jobs_out;
static struct jobs_consumer jobs_in;
static struct tdm_mpmc_producer plain_out;
static struct tdm_mpmc_consumer plain_in;

static void inherits(void *argument)
{
	const struct tdm_mpmc_lease *lease = TDM_CAST(const struct tdm_mpmc_lease *, argument);
	uint64_t value = 0;
	uint32_t recovered = 1;
	struct tdm_mpmc_producer new_out;
	struct tdm_mpmc_consumer new_in;
	all_of_producer_untyped(&out, TDM_FORKED);
	CHECK_STATUS(tdm_mpmc_ack(&in, lease), TDM_FORKED);
	CHECK_STATUS(tdm_mpmc_nack(&in, lease), TDM_FORKED);
	all_of_consumer_untyped(&in, TDM_FORKED);
	all_of_producer_jobs(&jobs_out, TDM_FORKED);
	all_of_consumer_jobs(&jobs_in, TDM_FORKED);
	CHECK_STATUS(tdm_mpmc_producer_attach(&new_out, ring, 8, &self), TDM_FORKED);
	CHECK_STATUS(tdm_mpmc_consumer_attach(&new_in, ring, 8, &self), TDM_FORKED);
	CHECK_STATUS(tdm_mpmc_recover(ring, &self, &recovered), TDM_FORKED);
	CHECK_EQ_U64(recovered, 0);

	CHECK_STATUS(tdm_mpmc_try_pop(&plain_in, &value), TDM_OK);
	CHECK_EQ_U64(value, 11);
	value = 12;
	CHECK_STATUS(tdm_mpmc_try_push(&plain_out, &value), TDM_OK);
	CHECK_STATUS(tdm_mpmc_producer_peers(&plain_out), TDM_OK);

	join();
	consume();
	expect_pop(1);
	leave();
}

static void test_fork(void)
{
	struct job job;
	struct jobs_lease lease;
	uint64_t value = 11;
	memset(&job, 0, sizeof(job));
	tap_case("what a child inherits answers TDM_FORKED, and plain handles go on working");
	set_up();
	produce();
	consume();
	push(2);
	struct tdm_mpmc_lease mine = expect_take(0, 1);
	CHECK_STATUS(jobs_producer_attach(&jobs_out, typed, &self), TDM_OK);
	CHECK_STATUS(jobs_consumer_attach(&jobs_in, typed, &self), TDM_OK);
	job.id = 5;
	CHECK_STATUS(jobs_try_push(&jobs_out, &job), TDM_OK);
	CHECK_STATUS(jobs_try_take(&jobs_in, &lease), TDM_OK);
	CHECK_STATUS(tdm_mpmc_producer_attach(&plain_out, plain, 8, TDM_NULL), TDM_OK);
	CHECK_STATUS(tdm_mpmc_consumer_attach(&plain_in, plain, 8, TDM_NULL), TDM_OK);
	CHECK_STATUS(tdm_mpmc_try_push(&plain_out, &value), TDM_OK);
	child_end(child_start(inherits, &mine));

	tap_case("what its parent has is left alone");
	CHECK_STATUS(tdm_mpmc_ack(&in, &mine), TDM_OK);
	expect_whole();
	CHECK_EQ_U64(lease.elem->id, 5);
	CHECK_STATUS(jobs_ack(&jobs_in, &lease), TDM_OK);
	CHECK_STATUS(jobs_producer_detach(&jobs_out), TDM_OK);
	CHECK_STATUS(jobs_consumer_detach(&jobs_in), TDM_OK);
	CHECK_STATUS(tdm_mpmc_try_pop(&plain_in, &value), TDM_OK);
	CHECK_EQ_U64(value, 12);
	tear_down();
}

int main(void)
{
	alarm(240);
	test_producer_dies();
	test_consumer_dies();
	test_taker_dies();
	test_before_claim();
	test_thread_ends();
	test_seats();
	test_stale();
	test_losing();
	test_recovery_dies();
	test_peers();
	test_producer_goes();
	test_consumer_goes();
	test_follow();
	test_recover();
	test_before_parking();
	test_deadlines();
	test_wakes();
	test_given_back_wakes();
	test_cpu();
	test_stopped();
	test_fork();
	return tap_done();
}
