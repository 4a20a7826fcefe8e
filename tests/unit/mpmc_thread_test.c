// SPDX-License-Identifier: BSD-2-Clause
// Threads around a ring for many, for ThreadSanitizer above all: what a user did before an
// operation must come before what somebody does after the one that answers it, in every form, also
// when somebody has left or died in between, and nothing but the ring's own edges may say so.
static void perhaps_die(void);
#define TDM_SEAM_COPY(to, from, size)                                                              \
	do {                                                                                       \
		TDM_COPY_(to, from, size);                                                         \
		perhaps_die();                                                                     \
	} while (0)
#include "../support/threads.h"

#include "../support/pattern.h"

#define LONG_NS UINT64_C(60000000000)

// One word, because gcc writes larger things in ways that ThreadSanitizer does not see.
TDM_MPMC_DEFINE(words, uint64_t);

static uint64_t note;           // goes with an element, or back with its place
static __thread bool dies_next; // in the middle of its next operation

static void perhaps_die(void)
{
	if (!dies_next)
		return;
	reach(1);
	pthread_exit(TDM_NULL);
}

static struct tdm_span ring(const char *name)
{
	return tdm_segment_find(&segment, name);
}

static struct tdm_mpmc_shm *shared(void)
{
	return TDM_CAST(struct tdm_mpmc_shm *, ring("words").base);
}

static bool is_plain(void)
{
	return tdm_load_relaxed_u64(&shared()->constant.plain) != 0;
}

static void make(uint64_t capacity, bool plain)
{
	struct tdm_object objects[2];
	objects[0] = words_object("words", capacity);
	objects[0].plain = plain;
	objects[1] = words_object("dead", 64);
	note = 0;
	CHECK_STATUS(tdm_segment_create(&segment, objects, 2, TDM_NULL), TDM_OK);
}

// A thread, and its handles.
struct hand {
	struct tdm_participant self;
	struct words_producer out;
	struct words_consumer in;
};

static void begin(struct hand *hand)
{
	memset(hand, 0, sizeof(*hand));
	if (!is_plain())
		join(&hand->self);
}

static struct tdm_participant *self_of(struct hand *hand)
{
	return is_plain() ? TDM_NULL : &hand->self;
}

static void begin_producer(struct hand *hand)
{
	begin(hand);
	CHECK_STATUS(words_producer_attach(&hand->out, ring("words"), self_of(hand)), TDM_OK);
	hand->out.ring.follow = true;
}

static void begin_consumer(struct hand *hand)
{
	begin(hand);
	CHECK_STATUS(words_consumer_attach(&hand->in, ring("words"), self_of(hand)), TDM_OK);
	hand->in.ring.follow = true;
}

static void end(struct hand *hand)
{
	if (hand->out.ring.view.shm != TDM_NULL)
		CHECK_STATUS(words_producer_detach(&hand->out), TDM_OK);
	if (hand->in.ring.view.shm != TDM_NULL)
		CHECK_STATUS(words_consumer_detach(&hand->in), TDM_OK);
	if (!is_plain())
		CHECK_STATUS(tdm_participant_leave(&hand->self), TDM_OK);
}

// --- every form ---

#define PUSHES 10U
#define POPS 10U    // that a plain ring has
#define TAKES 6U    // that follow them
#define MIXED 1000U // another form each time
#define MANY 3U     // elements in a batch

// Forms that park. The others poll.
static bool push_waits(unsigned form)
{
	return form >= 4;
}

static bool pop_waits(unsigned form)
{
	return form >= 4 && form != POPS && form != POPS + 1;
}

// *done says how many of the words were pushed.
static enum tdm_status push_by(unsigned form, struct words_producer *out, const uint64_t *words,
			       size_t count, size_t *done)
{
	enum tdm_status status = TDM_INVALID;
	uint64_t deadline_ns = tdm_deadline_after_ns(LONG_NS);
	switch (form) {
	case 0:
		return words_try_push_n(out, words, count, done);
	case 1:
		return tdm_mpmc_try_push_n(&out->ring, words, count, done);
	case 2:
		status = words_try_push(out, words);
		break;
	case 3:
		status = tdm_mpmc_try_push(&out->ring, words);
		break;
	case 4:
		return words_push_n_until(out, words, count, done, deadline_ns);
	case 5:
		return tdm_mpmc_push_n_until(&out->ring, words, count, done, deadline_ns);
	case 6:
		status = words_push_until(out, words, deadline_ns);
		break;
	case 7:
		status = tdm_mpmc_push_until(&out->ring, words, deadline_ns);
		break;
	case 8:
		status = words_push(out, words);
		break;
	case 9:
		status = tdm_mpmc_push(&out->ring, words);
		break;
	}
	*done = status == TDM_OK ? 1 : 0;
	return status;
}

static enum tdm_status pop_by(unsigned form, struct words_consumer *in, uint64_t *words,
			      size_t count, size_t *done)
{
	enum tdm_status status = TDM_INVALID;
	uint64_t deadline_ns = tdm_deadline_after_ns(LONG_NS);
	switch (form) {
	case 0:
		return words_try_pop_n(in, words, count, done);
	case 1:
		return tdm_mpmc_try_pop_n(&in->ring, words, count, done);
	case 2:
		status = words_try_pop(in, words);
		break;
	case 3:
		status = tdm_mpmc_try_pop(&in->ring, words);
		break;
	case 4:
		return words_pop_n_until(in, words, count, done, deadline_ns);
	case 5:
		return tdm_mpmc_pop_n_until(&in->ring, words, count, done, deadline_ns);
	case 6:
		status = words_pop_until(in, words, deadline_ns);
		break;
	case 7:
		status = tdm_mpmc_pop_until(&in->ring, words, deadline_ns);
		break;
	case 8:
		status = words_pop(in, words);
		break;
	case 9:
		status = tdm_mpmc_pop(&in->ring, words);
		break;
	}
	*done = status == TDM_OK ? 1 : 0;
	return status;
}

static enum tdm_status take_by(unsigned form, struct words_consumer *in, struct words_lease *lease)
{
	enum tdm_status status = TDM_INVALID;
	uint64_t deadline_ns = tdm_deadline_after_ns(LONG_NS);
	switch (form - POPS) {
	case 0:
		return words_try_take(in, lease);
	case 1:
		status = tdm_mpmc_try_take(&in->ring, &lease->ring);
		break;
	case 2:
		return words_take_until(in, lease, deadline_ns);
	case 3:
		status = tdm_mpmc_take_until(&in->ring, &lease->ring, deadline_ns);
		break;
	case 4:
		return words_take(in, lease);
	case 5:
		status = tdm_mpmc_take(&in->ring, &lease->ring);
		break;
	}
	lease->elem = TDM_CAST(uint64_t *, lease->ring.elem);
	return status;
}

static enum tdm_status settle(unsigned form, struct words_consumer *in,
			      const struct words_lease *lease, bool done)
{
	if (form % 2 == 0)
		return done ? words_ack(in, lease) : words_nack(in, lease);
	return done ? tdm_mpmc_ack(&in->ring, &lease->ring)
		    : tdm_mpmc_nack(&in->ring, &lease->ring);
}

// One element, however long it takes.
static void push_one(unsigned form, struct words_producer *out, uint64_t word)
{
	size_t done = 0;
	enum tdm_status status;
	while ((status = push_by(form, out, &word, 1, &done)) == TDM_FULL)
		sched_yield();
	CHECK_STATUS(status, TDM_OK);
	CHECK_EQ_U64(done, 1);
}

static uint64_t pop_one(unsigned form, struct words_consumer *in)
{
	uint64_t word = 0;
	size_t done = 1;
	enum tdm_status status;
	struct words_lease lease;
	while ((status = form < POPS ? pop_by(form, in, &word, 1, &done)
				     : take_by(form, in, &lease)) == TDM_EMPTY)
		sched_yield();
	if (!CHECK_STATUS(status, TDM_OK) || !CHECK_EQ_U64(done, 1) || form < POPS)
		return word;
	word = *lease.elem;
	CHECK_STATUS(settle(form, in, &lease, true), TDM_OK);
	return word;
}

// --- one to one ---

static unsigned pushes_by, pops_by; // the forms that are tried

static void await_sleeper(const struct tdm_event *event)
{
	while ((tdm_load_relaxed_u32(&event->word) & TDM_EVENT_ARMED_) == 0)
		sched_yield();
}

static void *hands_over(void *unused)
{
	struct hand hand;
	(void)unused;
	begin_producer(&hand);
	if (pop_waits(pops_by))
		await_sleeper(&shared()->not_empty);
	note = 1;
	push_one(pushes_by, &hand.out, 10);
	end(&hand);
	return TDM_NULL;
}

static void *gets(void *unused)
{
	struct hand hand;
	(void)unused;
	begin_consumer(&hand);
	CHECK_EQ_U64(pop_one(pops_by, &hand.in), 10);
	CHECK_EQ_U64(note, 1);
	end(&hand);
	return TDM_NULL;
}

static void *makes_room(void *unused)
{
	struct hand hand;
	(void)unused;
	begin_consumer(&hand);
	if (push_waits(pushes_by))
		await_sleeper(&shared()->not_full);
	note = 2;
	CHECK_EQ_U64(pop_one(pops_by, &hand.in), 10);
	end(&hand);
	return TDM_NULL;
}

static void *uses_room(void *unused)
{
	struct hand hand;
	(void)unused;
	begin_producer(&hand);
	push_one(pushes_by, &hand.out, 12); // the ring was full
	CHECK_EQ_U64(note, 2);
	end(&hand);
	return TDM_NULL;
}

static void push_from_main(uint64_t first, uint64_t count)
{
	struct hand hand;
	tdm_store_relaxed_u32(&parties, 0);
	begin_producer(&hand);
	for (uint64_t i = 0; i < count; i++)
		push_one(0, &hand.out, first + i);
	end(&hand);
}

static void test_pairs(bool plain, bool back)
{
	for (pushes_by = 0; pushes_by < PUSHES; pushes_by++)
		for (pops_by = 0; pops_by < (plain ? POPS : POPS + TAKES); pops_by++) {
			make(2, plain);
			if (back) {
				push_from_main(10, 2);
				run_bodies(makes_room, uses_room, TDM_NULL);
			} else {
				run_bodies(hands_over, gets, TDM_NULL);
			}
			CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
		}
}

// --- many to many ---

#define SIDE 3U  // threads on each
#define EACH 60U // elements a thread pushes, or pops in the end
#define ATTEMPT (UINT64_C(1) << 32)

static uint64_t cells[SIDE * EACH]; // one for each element, and no atomics

static void *pushes_many(void *number)
{
	struct hand hand;
	uint64_t words[MANY];
	uint64_t first = *TDM_CAST(const uint64_t *, number) * EACH;
	size_t done = 0;
	begin_producer(&hand);
	for (size_t pushed = 0, turn = 0; pushed < EACH; pushed += done, turn++) {
		size_t count = EACH - pushed < MANY ? EACH - pushed : MANY;
		for (size_t i = 0; i < count; i++) {
			words[i] = first + pushed + i;
			cells[words[i]] = mix(words[i]);
		}
		enum tdm_status status =
		    push_by(TDM_CAST(unsigned, pushes_by == MIXED ? turn % PUSHES : pushes_by),
			    &hand.out, words, count, &done);
		if (status == TDM_FULL)
			sched_yield();
		else if (!CHECK_STATUS(status, TDM_OK))
			break;
	}
	end(&hand);
	return TDM_NULL;
}

// Is it an element that nobody had yet, with what belongs to it? An attempt that failed has left
// its mark on both.
static bool came_whole(uint64_t word)
{
	uint64_t which = word % ATTEMPT;
	return CHECK(which < SIDE * EACH) &&
	       CHECK_EQ_U64(cells[which], mix(which) + word / ATTEMPT);
}

// Takes an element, and gives every other one back, once. *done says whether it was kept.
static enum tdm_status take_or_not(unsigned form, struct words_consumer *in, uint64_t *word,
				   size_t *done)
{
	struct words_lease lease;
	enum tdm_status status = take_by(form, in, &lease);
	*done = 0;
	if (status != TDM_OK)
		return status;
	*word = *lease.elem;
	CHECK_EQ_U64(*word / ATTEMPT, lease.ring.attempt - 1);
	if (*word >= ATTEMPT || *word % 2 == 0) {
		*done = 1;
		return settle(form, in, &lease, true);
	}
	if (came_whole(*word)) {
		cells[*word]++;
		*lease.elem += ATTEMPT;
	}
	return settle(form, in, &lease, false);
}

static void *pops_many(void *unused)
{
	struct hand hand;
	uint64_t words[MANY];
	size_t done = 0;
	(void)unused;
	begin_consumer(&hand);
	unsigned forms = is_plain() ? POPS : POPS + TAKES;
	for (size_t popped = 0, turn = 0; popped < EACH; popped += done, turn++) {
		unsigned form = TDM_CAST(unsigned, pops_by == MIXED ? turn % forms : pops_by);
		size_t count = EACH - popped < MANY ? EACH - popped : MANY;
		enum tdm_status status = form < POPS ? pop_by(form, &hand.in, words, count, &done)
						     : take_or_not(form, &hand.in, words, &done);
		if (status == TDM_EMPTY)
			sched_yield();
		else if (!CHECK_STATUS(status, TDM_OK))
			break;
		for (size_t i = 0; i < done; i++)
			if (came_whole(words[i]))
				cells[words[i] % ATTEMPT] = 0;
	}
	end(&hand);
	return TDM_NULL;
}

static void many_to_many(bool plain)
{
	void *(*bodies[2 * SIDE])(void *);
	void *arguments[2 * SIDE];
	uint64_t numbers[SIDE];
	for (uint32_t i = 0; i < SIDE; i++) {
		numbers[i] = i;
		bodies[i] = pushes_many;
		bodies[SIDE + i] = pops_many;
		arguments[i] = arguments[SIDE + i] = &numbers[i];
	}
	memset(cells, 0xff, sizeof(cells));
	make(4, plain);
	run_threads(bodies, arguments, 2 * SIDE);
	for (uint32_t i = 0; i < SIDE * EACH; i++)
		CHECK_EQ_U64(cells[i], 0);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

static void test_many(bool plain)
{
	unsigned pops = plain ? POPS : POPS + TAKES;
	for (unsigned form = 0; form < pops; form++) {
		pushes_by = form % PUSHES;
		pops_by = form;
		many_to_many(plain);
	}
	pushes_by = pops_by = MIXED;
	many_to_many(plain);
}

// --- who gives an element back, or dies with it ---

static enum { GIVES_BACK, LEAVES, DIES } fate;

static void *takes_first(void *unused)
{
	struct hand hand;
	struct words_lease lease;
	(void)unused;
	begin_consumer(&hand);
	CHECK_STATUS(words_try_take(&hand.in, &lease), TDM_OK);
	CHECK_EQ_U64(*lease.elem, 10);
	*lease.elem = 11;
	note = 1;
	reach(1);
	if (fate == GIVES_BACK)
		CHECK_STATUS(words_nack(&hand.in, &lease), TDM_OK);
	if (fate != DIES)
		end(&hand);
	return TDM_NULL;
}

static void *takes_next(void *unused)
{
	struct hand hand;
	struct words_lease lease;
	enum tdm_status status = TDM_EMPTY;
	(void)unused;
	begin_consumer(&hand);
	await(&stage, 1);
	while (status == TDM_EMPTY)
		status = words_try_take(&hand.in, &lease);
	if (CHECK_STATUS(status, TDM_OK)) {
		CHECK_EQ_U64(lease.ring.attempt, 2);
		CHECK_EQ_U64(*lease.elem, 11);
		CHECK_EQ_U64(note, 1);
		note = 2;
		CHECK_STATUS(words_ack(&hand.in, &lease), TDM_OK);
	}
	reach(2);
	end(&hand);
	return TDM_NULL;
}

static void *pops_next(void *unused)
{
	struct hand hand;
	(void)unused;
	begin_consumer(&hand);
	await(&stage, 1);
	CHECK_EQ_U64(pop_one(pops_by, &hand.in), 11);
	CHECK_EQ_U64(note, 1);
	reach(2);
	end(&hand);
	return TDM_NULL;
}

static void push_two(uint32_t turn)
{
	struct hand hand;
	begin_producer(&hand);
	await(&stage, turn);
	push_one(2, &hand.out, 20);
	push_one(2, &hand.out, 21); // where the first element was
	end(&hand);
}

static void *pushes_two(void *unused)
{
	(void)unused;
	push_two(1);
	return TDM_NULL;
}

static void *overwrites(void *unused)
{
	(void)unused;
	push_two(2);
	return TDM_NULL;
}

// `count` elements are in the ring.
static void run(uint64_t count, void *(*first)(void *), void *(*second)(void *),
		void *(*third)(void *))
{
	make(2, false);
	if (count > 0)
		push_from_main(10, count);
	run_bodies(first, second, third);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

static void test_redelivery(void)
{
	static const char *const sentences[] = {
	    "what a consumer gave back comes as it left it",
	    "what a consumer left behind comes as it left it",
	    "what a consumer that died had taken comes as it left it",
	};
	for (int i = GIVES_BACK; i <= DIES; i++) {
		fate = i == GIVES_BACK ? GIVES_BACK : i == LEAVES ? LEAVES : DIES;
		tap_case(sentences[i]);
		run(1, takes_first, takes_next, overwrites);
		for (pops_by = 0; pops_by < POPS; pops_by++)
			run(1, takes_first, pops_next, overwrites);
	}
}

// --- death inside ---

static void *dies_popping(void *unused)
{
	struct hand hand;
	uint64_t word = 0;
	(void)unused;
	begin_consumer(&hand);
	dies_next = true;
	CHECK_STATUS(words_try_pop(&hand.in, &word), TDM_INVALID); // does not return
	return TDM_NULL;
}

static void *pops_after(void *unused)
{
	struct hand hand;
	(void)unused;
	begin_consumer(&hand);
	await(&stage, 1);
	CHECK_EQ_U64(pop_one(2, &hand.in), 10);
	reach(2);
	end(&hand);
	return TDM_NULL;
}

static void *dies_pushing(void *unused)
{
	struct hand hand;
	uint64_t word = 10;
	(void)unused;
	begin_producer(&hand);
	dies_next = true;
	CHECK_STATUS(words_try_push(&hand.out, &word), TDM_INVALID); // does not return
	return TDM_NULL;
}

static void *skips_popping(void *unused)
{
	struct hand hand;
	(void)unused;
	begin_consumer(&hand);
	await(&stage, 1);
	CHECK_EQ_U64(pop_one(2, &hand.in), 20);
	CHECK_EQ_U64(pop_one(2, &hand.in), 21);
	end(&hand);
	return TDM_NULL;
}

static void *recovers(void *unused)
{
	struct hand hand;
	uint32_t recovered = 0;
	(void)unused;
	begin(&hand);
	await(&stage, 1);
	while (recovered == 0)
		if (!CHECK_STATUS(tdm_mpmc_recover(ring("words"), &hand.self, &recovered), TDM_OK))
			break;
	reach(2);
	end(&hand);
	return TDM_NULL;
}

// --- who is told that nobody is there any more ---

static void *produces(void *unused)
{
	struct hand hand;
	(void)unused;
	begin_producer(&hand);
	note = 7;
	if (fate != DIES)
		end(&hand);
	return TDM_NULL;
}

static void *consumes(void *unused)
{
	struct hand hand;
	(void)unused;
	begin_consumer(&hand);
	note = 7;
	if (fate != DIES)
		end(&hand);
	return TDM_NULL;
}

static bool gone(enum tdm_status peers)
{
	return peers == TDM_PEER_LEFT || peers == TDM_PEER_DIED;
}

static void *misses_producers(void *unused)
{
	struct hand hand;
	(void)unused;
	begin_consumer(&hand);
	while (!gone(tdm_mpmc_consumer_peers(&hand.in.ring)))
		sched_yield();
	CHECK_EQ_U64(note, 7);
	end(&hand);
	return TDM_NULL;
}

static void *waits_for_element(void *unused)
{
	struct hand hand;
	uint64_t word;
	(void)unused;
	begin_consumer(&hand);
	hand.in.ring.follow = false;
	CHECK(gone(words_pop(&hand.in, &word)));
	CHECK_EQ_U64(note, 7);
	end(&hand);
	return TDM_NULL;
}

static void *misses_consumers(void *unused)
{
	struct hand hand;
	(void)unused;
	begin_producer(&hand);
	while (!gone(tdm_mpmc_producer_peers(&hand.out.ring)))
		sched_yield();
	CHECK_EQ_U64(note, 7);
	end(&hand);
	return TDM_NULL;
}

static void *waits_for_room(void *unused)
{
	struct hand hand;
	uint64_t word = 1;
	(void)unused;
	begin_producer(&hand);
	hand.out.ring.follow = false;
	CHECK(gone(words_push(&hand.out, &word)));
	CHECK_EQ_U64(note, 7);
	end(&hand);
	return TDM_NULL;
}

// --- work ---

#define LIMIT 2U

static tdm_atomic_u32 settled; // elements that are done with

static void begin_worker(struct hand *hand, struct tdm_work *work)
{
	begin_consumer(hand);
	CHECK_STATUS(words_producer_attach(&hand->out, ring("dead"), &hand->self), TDM_OK);
	hand->out.ring.follow = true;
	CHECK_STATUS(tdm_work_init(work, &hand->in.ring, &hand->out.ring, LIMIT), TDM_OK);
}

// Every third element cannot be done.
static void *works(void *unused)
{
	struct hand hand;
	struct tdm_work work;
	struct tdm_mpmc_lease lease;
	(void)unused;
	begin_worker(&hand, &work);
	for (uint32_t turn = 0; tdm_load_relaxed_u32(&settled) < SIDE * EACH; turn++) {
		enum tdm_status status =
		    turn % 2 == 0 ? tdm_work_try_take(&work, &lease)
				  : tdm_work_take_until(&work, &lease,
							tdm_deadline_after_ns(UINT64_C(1000000)));
		if (status == TDM_EMPTY || status == TDM_TIMED_OUT)
			continue;
		if (!CHECK_STATUS(status, TDM_OK))
			break;
		uint64_t *word = TDM_CAST(uint64_t *, lease.elem);
		uint64_t which = *word % ATTEMPT;
		if (!came_whole(*word))
			break;
		CHECK_EQ_U64(*word / ATTEMPT, lease.attempt - 1);
		if (which % 3 == 0) {
			cells[which]++;
			*word += ATTEMPT;
			CHECK_STATUS(tdm_work_nack(&work, &lease), TDM_OK);
		} else {
			cells[which] = 0;
			CHECK_STATUS(tdm_work_ack(&work, &lease), TDM_OK);
			tdm_fetch_add_relaxed_u32(&settled, 1);
		}
	}
	end(&hand);
	return TDM_NULL;
}

static void *reads_letters(void *unused)
{
	struct hand hand;
	(void)unused;
	begin(&hand);
	CHECK_STATUS(words_consumer_attach(&hand.in, ring("dead"), &hand.self), TDM_OK);
	hand.in.ring.follow = true;
	for (uint32_t i = 0; i < SIDE * EACH / 3; i++) {
		uint64_t word = pop_one(6, &hand.in);
		CHECK_EQ_U64(word / ATTEMPT, LIMIT);
		if (came_whole(word))
			cells[word % ATTEMPT] = 0;
		tdm_fetch_add_relaxed_u32(&settled, 1);
	}
	end(&hand);
	return TDM_NULL;
}

static void test_work(void)
{
	void *(*const bodies[])(void *) = {pushes_many, pushes_many, pushes_many, reads_letters,
					   works,       works,       works};
	uint64_t numbers[] = {0, 1, 2};
	void *const arguments[] = {&numbers[0], &numbers[1], &numbers[2], TDM_NULL,
				   TDM_NULL,    TDM_NULL,    TDM_NULL};
	memset(cells, 0xff, sizeof(cells));
	tdm_store_relaxed_u32(&settled, 0);
	pushes_by = MIXED;
	make(4, false);
	run_threads(bodies, arguments, 7);
	for (uint32_t i = 0; i < SIDE * EACH; i++)
		CHECK_EQ_U64(cells[i], 0);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

static void *fails_twice(void *unused)
{
	struct hand hand;
	struct tdm_work work;
	struct tdm_mpmc_lease lease;
	(void)unused;
	begin_worker(&hand, &work);
	for (uint32_t i = 0; i < LIMIT; i++) {
		if (!CHECK_STATUS(tdm_work_take(&work, &lease), TDM_OK))
			break;
		++*TDM_CAST(uint64_t *, lease.elem);
		note++;
		CHECK_STATUS(tdm_work_nack(&work, &lease), TDM_OK);
	}
	reach(1);
	end(&hand);
	return TDM_NULL;
}

static void *buries(void *unused)
{
	struct hand hand;
	struct tdm_work work;
	struct tdm_mpmc_lease lease;
	(void)unused;
	begin_worker(&hand, &work);
	await(&stage, 1);
	while (work.buried == 0)
		if (!CHECK_STATUS(tdm_work_try_take(&work, &lease), TDM_EMPTY))
			break;
	end(&hand);
	return TDM_NULL;
}

static void *reads_letter(void *unused)
{
	struct hand hand;
	(void)unused;
	begin(&hand);
	CHECK_STATUS(words_consumer_attach(&hand.in, ring("dead"), &hand.self), TDM_OK);
	CHECK_EQ_U64(pop_one(2, &hand.in), 10 + LIMIT);
	CHECK_EQ_U64(note, LIMIT);
	end(&hand);
	return TDM_NULL;
}

// --- who makes a ring and who finds it ---

#define RING_BYTES 4096

TDM_ALIGNAS(128) static unsigned char memory[RING_BYTES];

static void *makes(void *unused)
{
	(void)unused;
	// The maker's own writes to what will be elements. The rest was zero all the time.
	*TDM_AT_(uint64_t, memory, sizeof(struct tdm_mpmc_shm) + 8) = 5;
	CHECK_STATUS(words_init(memory, RING_BYTES, 4), TDM_OK);
	return TDM_NULL;
}

static void *finds(void *unused)
{
	struct words_producer out;
	uint64_t word = 6;
	enum tdm_status status = TDM_NOT_INITIALIZED;
	(void)unused;
	while (status == TDM_NOT_INITIALIZED)
		status = words_producer_attach(&out, tdm_memory(memory, RING_BYTES), TDM_NULL);
	CHECK_STATUS(status, TDM_OK);
	CHECK_STATUS(words_try_push(&out, &word), TDM_OK);
	return TDM_NULL;
}

int main(void)
{
	alarm(240);
	tap_case("each form of push hands over to each form of pop and take");
	test_pairs(false, false);
	tap_case("each form of pop and take gives the place back to each form of push");
	test_pairs(false, true);
	tap_case("each form of push hands over to each form of pop in a plain ring");
	test_pairs(true, false);
	tap_case("each form of pop gives the place back to each form of push in a plain ring");
	test_pairs(true, true);
	tap_case("among many, each element comes once, with what belongs to it");
	test_many(false);
	tap_case("among many, each element comes once, with what belongs to it, in a plain ring");
	test_many(true);
	test_redelivery();
	tap_case("what a consumer died popping is overwritten after somebody else popped it");
	run(1, dies_popping, pops_after, overwrites);
	tap_case("a producer writes where one had died writing and a consumer skipped it");
	run(0, dies_pushing, skips_popping, pushes_two);
	tap_case("a producer writes where one had died writing, and skips that itself");
	run(0, dies_pushing, pushes_two, TDM_NULL);
	tap_case("a producer writes where one had died writing and was recovered");
	run(0, dies_pushing, recovers, overwrites);
	fate = LEAVES;
	tap_case("who is told that the other side has left sees what it did");
	run(0, produces, misses_producers, TDM_NULL);
	run(0, produces, waits_for_element, TDM_NULL);
	run(0, consumes, misses_consumers, TDM_NULL);
	run(2, consumes, waits_for_room, TDM_NULL);
	fate = DIES;
	tap_case("who is told that the other side has died sees what it did");
	run(0, produces, misses_producers, TDM_NULL);
	run(0, produces, waits_for_element, TDM_NULL);
	run(0, consumes, misses_consumers, TDM_NULL);
	run(2, consumes, waits_for_room, TDM_NULL);
	tap_case("workers do what can be done, and the rest comes with the dead letters");
	test_work();
	tap_case("a dead letter comes as those left it who had tried");
	run(1, fails_twice, buries, reads_letter);
	tap_case("who attaches finds a ring as its maker left it");
	run_bodies(finds, makes, TDM_NULL);
	return tap_done();
}
