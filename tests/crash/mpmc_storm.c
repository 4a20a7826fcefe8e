// SPDX-License-Identifier: BSD-2-Clause
// Storms: two producers, two that pop and two that take, in processes of their own, killed at
// random moments and started again at once, thousands of times, with exact accounts. Copies yield
// in the middle, so that many of the deaths come within an operation. Some are stopped for a while
// before they die, or go on.
//
// The accounts lie beside the ring, in memory of their own. Each element has an entry: that its
// push has returned, or its producer died in it, and who got it. Who gets an element enters itself
// there by a CAS, so that nothing is got twice; what was in a hand when its owner died is written
// down by the successor as in doubt. In the end everything that was pushed has been got, or was in
// a dead hand. What was taken and not about to be acknowledged is not in doubt at all.
//
// TANDEM_SEED repeats the decisions of a run (not its interleaving), TANDEM_SOAK=1 kills 100,000
// instead of 10,000.
#include <stddef.h>

static void storm_copy(void *to, const void *from, size_t size);
#define TDM_SEAM_COPY(to, from, size) storm_copy(to, from, size)

#include <tandem/ring/mpmc.h>
#include <tandem/shm/segment.h>

#include "../support/broken/mpmc_never_looks.h"
#include "../support/child.h"

// --- elements ---

#define WORDS 6U
#define BATCH 8U
#define LEASES 3U

struct words {
	uint64_t word[WORDS]; // the first is the element's number + 1
};

TDM_MPMC_DEFINE(stream, struct words);

static uint64_t seed;

static uint64_t mix(uint64_t value)
{
	value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
	return value ^ (value >> 31);
}

static void words_fill(struct words *words, uint64_t number)
{
	words->word[0] = number + 1;
	for (uint64_t i = 1; i < WORDS; i++)
		words->word[i] = mix(seed + number * WORDS + i);
}

static bool words_are_whole(const struct words *words)
{
	struct words should;
	words_fill(&should, words->word[0] - 1);
	return words->word[0] != 0 && memcmp(words, &should, sizeof(should)) == 0;
}

// --- chance ---

static uint64_t chance;

static uint64_t draw(uint64_t below)
{
	chance += UINT64_C(0x9e3779b97f4a7c15);
	return mix(chance) % below;
}

// A moment for somebody else, now and then.
static void dawdle(void)
{
	if (draw(4) == 0)
		sched_yield();
}

static void storm_copy(void *to, const void *from, size_t size)
{
	size_t half = size / 2;
	memcpy(to, from, half);
	dawdle();
	memcpy((unsigned char *)to + half, (const unsigned char *)from + half, size - half);
	dawdle();
}

// --- accounts ---

#define PRODUCERS 2U
#define CONSUMERS 4U // two that pop, two that take
#define PROCESSES (PRODUCERS + CONSUMERS)
#define NUMBERS (UINT64_C(1) << 22) // elements for each producer

#define PUSHED 1U      // its push has returned
#define PUSH_DOUBT 2U  // its producer died in the push
#define POP_DOUBT 4U   // it was in the hand of one who died
#define TAKEN_SHIFT 8U // takes of it that returned

struct entry {
	tdm_atomic_u32 state;
	tdm_atomic_u32 got; // by whom and when, 0: by nobody
};

enum stage { IDLE, UNDER_WAY, RETURNED };

// What a producer is about to push: numbers from `next` on.
struct pushing {
	tdm_atomic_u64 next;
	tdm_atomic_u64 count; // 0: nothing
};

// What a consumer is about to pop, or has.
struct hand {
	tdm_atomic_u32 stage; // enum stage
	tdm_atomic_u32 serial;
	tdm_atomic_u32 count;
	struct words items[BATCH];
};

// What it is about to acknowledge.
struct acking {
	tdm_atomic_u32 serial;
	tdm_atomic_u64 number; // + 1; 0: nothing
};

enum place { OUTSIDE, ATTACHING, WORKING };

struct control {
	tdm_atomic_u32 stop; // 1: the producers shall end, 2: all
	tdm_atomic_u32 place[PROCESSES];
	tdm_atomic_u32 failed;
	tdm_atomic_u64 redelivered;
	struct pushing pushing[PRODUCERS];
	struct hand hands[PROCESSES + 1]; // the last is who tidies up
	struct acking acking[PROCESSES];
	char verdict[200];
};
static struct control *control;
static struct entry *entries; // [producer * NUMBERS + number]
static struct tdm_segment segment;

struct style {
	const char *name;
	uint64_t capacity;
	bool batches;
	bool waits;
	bool broken; // nobody looks for what the dead have left
};
static const struct style *style;

static void verdict(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void verdict(const char *format, ...)
{
	if (tdm_fetch_add_acq_rel_u32(&control->failed, 1) != 0)
		return;
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(control->verdict, sizeof(control->verdict), format, arguments);
	va_end(arguments);
}

#define FAIL(...)                                                                                  \
	do {                                                                                       \
		verdict(__VA_ARGS__);                                                              \
		_exit(1);                                                                          \
	} while (0)

static void must_be_harmless(const char *what, enum tdm_status status)
{
	if (status != TDM_OK && status != TDM_FULL && status != TDM_EMPTY &&
	    status != TDM_TIMED_OUT && status != TDM_PEER_DIED && status != TDM_PEER_LEFT)
		FAIL("%s: %s", what, tdm_status_name(status));
}

static void at(unsigned who, enum place place)
{
	tdm_store_release_u32(&control->place[who], place);
}

static struct entry *entry_of(uint64_t number)
{
	if (number >= PRODUCERS * NUMBERS ||
	    number % NUMBERS >=
		tdm_load_acquire_u64(&control->pushing[number / NUMBERS].next) + BATCH)
		FAIL("element %" PRIu64 " comes from nowhere", number);
	return &entries[number];
}

static uint32_t token_of(unsigned who, uint32_t serial)
{
	return (uint32_t)(who + 1) << 28 | (serial & 0xfffffffU);
}

// Again with the same token after a death in here.
static void enter(uint64_t number, uint32_t token)
{
	uint32_t before = 0;
	struct entry *entry = entry_of(number);
	if (!tdm_cas_strong_acq_rel_acquire_u32(&entry->got, &before, token) && before != token)
		FAIL("element %" PRIu64 " was got twice: by %#x and %#x", number, before, token);
}

static uint64_t soon(void)
{
	return tdm_deadline_after_ns(draw(2000000));
}

// --- producers ---

// What its predecessor was about to push is in doubt.
static void succeed_producer(unsigned who)
{
	struct pushing *pushing = &control->pushing[who];
	uint64_t next = tdm_load_acquire_u64(&pushing->next);
	uint64_t count = tdm_load_acquire_u64(&pushing->count);
	for (uint64_t i = 0; i < count; i++) {
		struct entry *entry = &entries[who * NUMBERS + next + i];
		if ((tdm_load_acquire_u32(&entry->state) & PUSHED) == 0)
			tdm_fetch_or_acq_rel_u32(&entry->state, PUSH_DOUBT);
	}
	tdm_store_release_u64(&pushing->count, 0);
	tdm_store_release_u64(&pushing->next, next + count);
}

static void produce(unsigned who, struct stream_producer *out)
{
	struct words batch[BATCH];
	struct pushing *pushing = &control->pushing[who];
	uint64_t next = tdm_load_acquire_u64(&pushing->next);
	size_t count = style->batches ? (size_t)draw(BATCH) + 1 : 1, pushed = 0;
	if (next + 2 * BATCH >= NUMBERS) {
		sched_yield();
		return;
	}
	for (size_t i = 0; i < count; i++)
		words_fill(&batch[i], who * NUMBERS + next + i);
	tdm_store_release_u64(&pushing->count, count);
	enum tdm_status status;
	if (style->waits && draw(3) == 0) {
		status = stream_push_n_until(out, batch, count, &pushed, soon());
	} else if (count > 1) {
		status = stream_try_push_n(out, batch, count, &pushed);
	} else {
		status = style->broken ? broken_mpmc_push_never_looks(&out->ring, batch)
				       : stream_try_push(out, batch);
		pushed = status == TDM_OK;
	}
	must_be_harmless("push", status);
	for (size_t i = 0; i < pushed; i++)
		tdm_fetch_or_acq_rel_u32(&entries[who * NUMBERS + next + i].state, PUSHED);
	tdm_store_release_u64(&pushing->count, pushed);
	dawdle();
	// A successor comes to the same end from here.
	succeed_producer(who);
}

// --- consumers ---

static void enter_hand(unsigned who)
{
	struct hand *hand = &control->hands[who];
	uint32_t count = tdm_load_acquire_u32(&hand->count);
	for (uint32_t i = 0; i < count; i++) {
		if (!words_are_whole(&hand->items[i]))
			FAIL("a popped element is torn");
		enter(hand->items[i].word[0] - 1,
		      token_of(who, tdm_load_relaxed_u32(&hand->serial) + i));
		dawdle();
	}
	tdm_store_release_u32(&hand->stage, IDLE);
}

// What its predecessor was about to get is in doubt, what it had got is not.
static void succeed_consumer(unsigned who)
{
	struct hand *hand = &control->hands[who];
	struct acking *acking = &control->acking[who];
	uint32_t stage = tdm_load_acquire_u32(&hand->stage);
	for (uint32_t i = 0; i < BATCH && stage == UNDER_WAY; i++)
		if (words_are_whole(&hand->items[i]))
			tdm_fetch_or_acq_rel_u32(&entry_of(hand->items[i].word[0] - 1)->state,
						 POP_DOUBT);
	if (stage == RETURNED)
		enter_hand(who);
	tdm_store_release_u32(&hand->stage, IDLE);
	uint64_t number = tdm_load_acquire_u64(&acking->number);
	if (number != 0)
		tdm_fetch_or_acq_rel_u32(&entry_of(number - 1)->state, POP_DOUBT);
	tdm_store_release_u64(&acking->number, 0);
}

static bool pop_some(unsigned who, struct stream_consumer *in)
{
	struct hand *hand = &control->hands[who];
	size_t count = style->batches ? (size_t)draw(BATCH) + 1 : 1, popped = 0;
	memset(hand->items, 0, sizeof(hand->items));
	tdm_fetch_add_acq_rel_u32(&hand->serial, BATCH);
	tdm_store_release_u32(&hand->stage, UNDER_WAY);
	enum tdm_status status;
	if (style->waits && draw(3) == 0) {
		status = stream_pop_n_until(in, hand->items, count, &popped, soon());
	} else if (count > 1) {
		status = stream_try_pop_n(in, hand->items, count, &popped);
	} else {
		status = style->broken ? broken_mpmc_pop_never_looks(&in->ring, hand->items)
				       : stream_try_pop(in, hand->items);
		popped = status == TDM_OK;
	}
	must_be_harmless("pop", status);
	tdm_store_release_u32(&hand->count, (uint32_t)popped);
	tdm_store_release_u32(&hand->stage, RETURNED);
	enter_hand(who);
	return popped > 0;
}

static bool take_one(struct stream_consumer *in, struct stream_lease *lease)
{
	if (style->broken)
		in->ring.doubts = 0;
	enum tdm_status status = style->waits && draw(3) == 0 ? stream_take_until(in, lease, soon())
							      : stream_try_take(in, lease);
	must_be_harmless("take", status);
	if (status != TDM_OK)
		return false;
	if (!words_are_whole(lease->elem))
		FAIL("a taken element is torn");
	struct entry *entry = entry_of(lease->elem->word[0] - 1);
	uint32_t before = tdm_fetch_add_acq_rel_u32(&entry->state, 1U << TAKEN_SHIFT);
	if (lease->ring.attempt <= before >> TAKEN_SHIFT)
		FAIL("attempt %u after %u that returned", lease->ring.attempt,
		     before >> TAKEN_SHIFT);
	if (lease->ring.attempt > 1)
		tdm_fetch_add_relaxed_u64(&control->redelivered, 1);
	return true;
}

static void finish_one(unsigned who, struct stream_consumer *in, const struct stream_lease *lease)
{
	struct acking *acking = &control->acking[who];
	uint64_t number = lease->elem->word[0] - 1;
	dawdle();
	if (draw(8) == 0) {
		must_be_harmless("nack", stream_nack(in, lease));
		return;
	}
	uint32_t serial = tdm_fetch_add_acq_rel_u32(&acking->serial, 1);
	tdm_store_release_u64(&acking->number, number + 1);
	must_be_harmless("ack", stream_ack(in, lease));
	enter(number, token_of(who, serial));
	tdm_store_release_u64(&acking->number, 0);
}

// True: some of it is left to the others, by detaching.
static bool take_some(unsigned who, struct stream_consumer *in)
{
	struct stream_lease leases[LEASES];
	unsigned held = 0, wanted = style->batches ? (unsigned)draw(LEASES) + 1 : 1;
	while (held < wanted && take_one(in, &leases[held]))
		held++;
	bool leaves = held > 0 && draw(64) == 0;
	for (unsigned i = leaves ? 1 : 0; i < held; i++)
		finish_one(who, in, &leases[i]);
	return leaves;
}

// --- processes ---

// Each maps the segment for itself, elsewhere than its parent.
static void come_in(struct tdm_segment *mine, struct tdm_participant *self, const char *name)
{
	chance = mix((uint64_t)getpid() ^ seed);
	int fd = fcntl(segment.fd, F_DUPFD_CLOEXEC, 0);
	enum tdm_status status = tdm_segment_open_fd(mine, fd, TDM_READ_WRITE);
	if (status == TDM_OK)
		status = tdm_segment_join(mine, self, name);
	if (status != TDM_OK)
		FAIL("join: %s", tdm_status_name(status));
}

static void run_producer(void *argument)
{
	unsigned who = *(const unsigned *)argument;
	struct tdm_segment mine;
	struct tdm_participant self;
	struct stream_producer out;
	come_in(&mine, &self, "producer");
	succeed_producer(who);
	at(who, ATTACHING);
	enum tdm_status status =
	    stream_producer_attach(&out, tdm_segment_find(&mine, "ring"), &self);
	if (status != TDM_OK)
		FAIL("producer_attach: %s", tdm_status_name(status));
	out.ring.follow = draw(2) == 0;
	while (tdm_load_acquire_u32(&control->stop) == 0) {
		at(who, WORKING);
		produce(who, &out);
		at(who, OUTSIDE);
		dawdle();
	}
	if (stream_producer_detach(&out) != TDM_OK || tdm_participant_leave(&self) != TDM_OK)
		FAIL("a producer cannot leave");
}

static void run_consumer(void *argument)
{
	unsigned who = *(const unsigned *)argument;
	struct tdm_segment mine;
	struct tdm_participant self;
	struct stream_consumer in;
	come_in(&mine, &self, "consumer");
	succeed_consumer(who);
	at(who, ATTACHING);
	enum tdm_status status =
	    stream_consumer_attach(&in, tdm_segment_find(&mine, "ring"), &self);
	if (status != TDM_OK)
		FAIL("consumer_attach: %s", tdm_status_name(status));
	in.ring.follow = draw(2) == 0;
	while (tdm_load_acquire_u32(&control->stop) < 2) {
		at(who, WORKING);
		bool leaves = false;
		if (who % 2 == 0)
			(void)pop_some(who, &in);
		else
			leaves = take_some(who, &in);
		at(who, OUTSIDE);
		dawdle();
		if (!leaves && draw(4096) != 0)
			continue;
		at(who, ATTACHING);
		if (stream_consumer_detach(&in) != TDM_OK ||
		    stream_consumer_attach(&in, tdm_segment_find(&mine, "ring"), &self) != TDM_OK)
			FAIL("a consumer cannot come back");
	}
	if (stream_consumer_detach(&in) != TDM_OK || tdm_participant_leave(&self) != TDM_OK)
		FAIL("a consumer cannot leave");
}

// --- the storm ---

static pid_t pids[PROCESSES];
static uint64_t all_kills, all_stops, all_in_doubt;

static void start(unsigned who)
{
	pids[who] = child_start(who < PRODUCERS ? run_producer : run_consumer, &who);
}

// Waits for an end that the process comes to by itself.
static void await_end(unsigned who)
{
	uint64_t deadline_ns = tdm_deadline_after_ns(CHILD_PATIENCE_NS);
	int status = 0;
	pid_t pid = pids[who];
	pids[who] = 0;
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (tdm_now_ns() > deadline_ns) {
			verdict("process %u does not come to its end", who);
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return;
		}
		child_sleep_ms(1);
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		verdict("process %u ended badly", who);
}

// True: it was alive until then.
static bool strike(unsigned who)
{
	int status = 0;
	kill(pids[who], SIGKILL);
	waitpid(pids[who], &status, 0);
	pids[who] = 0;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return true;
	verdict("process %u ended before it was killed", who);
	return false;
}

static void storm_open(const struct style *chosen)
{
	style = chosen;
	memset((void *)control, 0, sizeof(*control));
	entries = child_shared(PRODUCERS * NUMBERS * sizeof(struct entry));
	struct tdm_segment_options options;
	memset(&options, 0, sizeof(options));
	options.sealed = true;
	options.seats = PROCESSES + 2;
	struct tdm_object object = stream_object("ring", style->capacity);
	if (tdm_segment_create(&segment, &object, 1, &options) != TDM_OK)
		abort();
}

// Kills until so many have died, or something is wrong.
static void storm_kill(uint64_t kills, struct tdm_participant *self)
{
	uint64_t inside[PROCESSES] = {0}, attaching = 0, done = 0, stopped = 0;
	struct tdm_span span = tdm_segment_find(&segment, "ring");
	for (unsigned who = 0; who < PROCESSES; who++)
		start(who);
	while (done < kills && tdm_load_acquire_u32(&control->failed) == 0) {
		struct timespec pause = {0, (long)(draw(2) == 0 ? draw(400000) : draw(6000000))};
		if (draw(8) != 0)
			nanosleep(&pause, NULL);
		// Mostly one, sometimes two or three at once, and sometimes one is stopped before.
		unsigned victims = draw(8) == 0 ? 2 + (unsigned)draw(2) : 1;
		unsigned sleeper = draw(8) == 0 ? (unsigned)draw(PROCESSES) : PROCESSES;
		if (sleeper < PROCESSES) {
			kill(pids[sleeper], SIGSTOP);
			stopped++;
			pause.tv_nsec = (long)draw(4000000);
			nanosleep(&pause, NULL);
		}
		for (unsigned i = 0; i < victims; i++) {
			unsigned who = (unsigned)draw(PROCESSES);
			if (pids[who] == 0 || !strike(who))
				break;
			uint32_t place = tdm_load_acquire_u32(&control->place[who]);
			inside[who] += place == WORKING;
			attaching += place == ATTACHING;
			done++;
		}
		uint32_t count = 0;
		if (draw(8) == 0 && tdm_segment_reap(&segment, &count) != TDM_OK)
			verdict("reap");
		if (draw(4) == 0 && !style->broken &&
		    tdm_mpmc_recover(span, self, &count) != TDM_OK)
			verdict("recover");
		for (unsigned who = 0; who < PROCESSES; who++)
			if (pids[who] == 0 && tdm_load_acquire_u32(&control->failed) == 0)
				start(who);
		if (sleeper < PROCESSES && pids[sleeper] != 0)
			kill(pids[sleeper], SIGCONT);
	}
	all_kills += done;
	all_stops += stopped;
	tap_note("%s: %" PRIu64 " killed; within an operation: %" PRIu64 " that pushed, %" PRIu64
		 " that popped, %" PRIu64 " that took; %" PRIu64 " while attaching; %" PRIu64
		 " stopped for a while",
		 style->name, done, inside[0] + inside[1], inside[2] + inside[4],
		 inside[3] + inside[5], attaching, stopped);
}

// The accounts, with everything drained.
static void storm_books(void)
{
	uint64_t pushed = 0, got = 0, push_doubts[2] = {0, 0}, pop_doubts[2] = {0, 0}, lost = 0;
	for (unsigned who = 0; who < PRODUCERS; who++)
		for (uint64_t n = 0; n < tdm_load_acquire_u64(&control->pushing[who].next); n++) {
			const struct entry *entry = &entries[who * NUMBERS + n];
			uint32_t state = tdm_load_acquire_u32(&entry->state);
			bool has = tdm_load_acquire_u32(&entry->got) != 0;
			pushed += (state & PUSHED) != 0;
			got += has;
			if ((state & PUSH_DOUBT) != 0 && (state & PUSHED) == 0)
				push_doubts[has || (state & POP_DOUBT) != 0]++;
			if ((state & POP_DOUBT) != 0)
				pop_doubts[has]++;
			lost += (state & PUSHED) != 0 && !has && (state & POP_DOUBT) == 0;
		}
	if (lost != 0)
		verdict("%" PRIu64 " of %" PRIu64 " elements are lost", lost, pushed);
	all_in_doubt += push_doubts[0] + push_doubts[1] + pop_doubts[0] + pop_doubts[1];
	CHECK(pushed > 0 && got > 0);
	tap_note("%s: %" PRIu64 " elements pushed, %" PRIu64 " got, %" PRIu64
		 " times taken again; in doubt: pushes %" PRIu64 " there, %" PRIu64
		 " not; pops %" PRIu64 " gone with the dead, %" PRIu64 " delivered",
		 style->name, pushed, got, tdm_load_acquire_u64(&control->redelivered),
		 push_doubts[1], push_doubts[0], pop_doubts[0], pop_doubts[1]);
}

// Everybody to their end, the rest is drained, then the books.
static void storm_close(struct tdm_participant *self)
{
	bool going = tdm_load_acquire_u32(&control->failed) == 0;
	tdm_store_release_u32(&control->stop, 1);
	for (unsigned who = 0; who < PRODUCERS && going; who++)
		await_end(who);
	tdm_store_release_u32(&control->stop, 2);
	for (unsigned who = PRODUCERS; who < PROCESSES && going; who++)
		await_end(who);
	for (unsigned who = 0; who < PROCESSES; who++)
		if (pids[who] != 0)
			(void)strike(who);
	struct stream_consumer in;
	struct tdm_mpmc_info info;
	struct tdm_span span = tdm_segment_find(&segment, "ring");
	CHECK_STATUS(stream_consumer_attach(&in, span, self), TDM_OK);
	unsigned refused = 0;
	while (refused < 2 * TDM_MPMC_PATIENCE_ && tdm_load_acquire_u32(&control->failed) == 0)
		refused = pop_some(PROCESSES, &in) ? 0 : refused + 1;
	CHECK_STATUS(stream_consumer_detach(&in), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(self), TDM_OK);
	if (tdm_load_acquire_u32(&control->failed) == 0) {
		storm_books();
		CHECK_STATUS(tdm_mpmc_check(span, &info), TDM_OK);
		CHECK(style->broken || (info.held == 0 && info.pushed == info.popped));
	}
	munmap(entries, PRODUCERS * NUMBERS * sizeof(struct entry));
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

static void storm(const struct style *chosen, uint64_t kills)
{
	struct tdm_participant self;
	storm_open(chosen);
	CHECK_STATUS(tdm_segment_join(&segment, &self, "keeper"), TDM_OK);
	storm_kill(kills, &self);
	storm_close(&self);
	if (tdm_load_acquire_u32(&control->failed) != 0)
		tap_note("%s: %s", style->name, control->verdict);
}

int main(void)
{
	const char *given = getenv("TANDEM_SEED");
	seed = given != NULL ? strtoull(given, NULL, 0) : mix(tdm_now_ns());
	chance = seed;
	tap_note("TANDEM_SEED=%" PRIu64, seed);
	uint64_t rounds = getenv("TANDEM_SOAK") != NULL ? 10 : 1;
	control = child_shared(sizeof(*control));
	uint64_t began_ns = tdm_now_ns();

	static const struct style one = {"one by one", 8, false, false, false};
	static const struct style many = {"batches", 64, true, false, false};
	static const struct style waits = {"waiting", 16, true, true, false};
	static const struct style tiny = {"two places", 2, true, true, false};
	static const struct style blind = {"nobody looks", 8, false, false, true};

	static const struct style *const styles[] = {&one, &many, &waits, &tiny};
	for (size_t i = 0; i < sizeof(styles) / sizeof(styles[0]); i++) {
		char sentence[128];
		snprintf(sentence, sizeof(sentence), "kills lose and repeat nothing (%s)",
			 styles[i]->name);
		tap_case(sentence);
		for (uint64_t round = 0; round < rounds; round++) {
			storm(styles[i], 2500);
			if (!CHECK(tdm_load_acquire_u32(&control->failed) == 0))
				break;
		}
	}

	tap_case("thousands died");
	tap_note("%" PRIu64 " killed, %" PRIu64 " stopped for a while, %" PRIu64
		 " elements in doubt, in %.0f s",
		 all_kills, all_stops, all_in_doubt, (double)(tdm_now_ns() - began_ns) / 1e9);
	CHECK(all_kills >= 10000 * rounds);

	tap_case("operations that never look for what the dead have left do not survive a storm");
	storm(&blind, 200);
	CHECK(strstr(control->verdict, "are lost") != NULL);
	return tap_done();
}
