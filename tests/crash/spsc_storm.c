// SPDX-License-Identifier: BSD-2-Clause
// Storms: a producer and a consumer in processes of their own, killed at random moments and started
// again at once, thousands of times, with exact accounts. Copies yield in the middle, so that many
// of the deaths come within an operation.
//
// Position k always carries the same words. A new producer goes on where the ring says that the
// last one stopped; a consumer enters what it has seen in an account beside the ring, {position,
// hash}, before it releases. So at the end the account must have reached the producer's position,
// and its hash must be that of all positions in order, each once.
//
// TANDEM_SEED repeats the decisions of a run (not its interleaving), TANDEM_SOAK=1 kills 50,000.
#include <stddef.h>

static void storm_copy(void *to, const void *from, size_t size);
#define TDM_SEAM_COPY(to, from, size) storm_copy(to, from, size)

#include <tandem/ring/spsc.h>
#include <tandem/shm/segment.h>

#include "../support/broken/spsc_push_sequence_first.h"
#include "../support/child.h"

// --- elements ---

struct words {
	uint64_t word[6];
};

TDM_SPSC_DEFINE(stream, struct words);

static uint64_t seed;

static uint64_t mix(uint64_t value)
{
	value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
	return value ^ (value >> 31);
}

static void words_fill(struct words *words, uint64_t position)
{
	for (uint64_t i = 0; i < 6; i++)
		words->word[i] = mix(seed + position * 8 + i);
}

static bool words_are(const struct words *words, uint64_t position)
{
	for (uint64_t i = 0; i < 6; i++)
		if (words->word[i] != mix(seed + position * 8 + i))
			return false;
	return true;
}

static uint64_t chain(uint64_t hash, uint64_t position)
{
	return mix(hash ^ mix(seed + position * 8));
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
	if (draw(6) == 0)
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

// --- what all share ---

enum who { PRODUCER, CONSUMER, MEDDLER, NOBODY };
enum place { OUTSIDE, ATTACHING, WORKING };

// In the segment. The hash for position p is in hash[p % 2], so that no death can part the two.
struct account {
	tdm_atomic_u64 position;
	tdm_atomic_u64 hash[2];
	tdm_atomic_u64 may_pop; // up to where the consumer was about to pop
	tdm_atomic_u64 in_hand; // popped, and lost with the one who had popped it
};

struct control {
	tdm_atomic_u32 stop;  // 1: the producer shall end, 2: the consumer, too
	tdm_atomic_u64 acked; // positions
	tdm_atomic_u64 tried;
	tdm_atomic_u32 place[3]; // enum place, by enum who
	tdm_atomic_u32 held[2];  // the role was held, and not given back
	tdm_atomic_u32 failed;
	char verdict[200];
};
static struct control *control;
static struct tdm_segment segment;

struct style {
	const char *name;
	uint64_t capacity;
	void (*produce)(struct stream_producer *out);
	void (*consume)(struct stream_consumer *in, struct account *account);
};
static const struct style *style;

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...)
{
	if (tdm_fetch_add_acq_rel_u32(&control->failed, 1) == 0) {
		va_list arguments;
		va_start(arguments, format);
		vsnprintf(control->verdict, sizeof(control->verdict), format, arguments);
		va_end(arguments);
	}
	_exit(1);
}

static void at(enum who who, enum place place)
{
	tdm_store_release_u32(&control->place[who], place);
}

static void must_be_harmless(const char *what, enum tdm_status status)
{
	if (status != TDM_OK && status != TDM_FULL && status != TDM_EMPTY &&
	    status != TDM_TIMED_OUT && status != TDM_PEER_DIED && status != TDM_PEER_LEFT)
		fail("%s: %s", what, tdm_status_name(status));
}

// --- producers ---

static uint64_t soon(void)
{
	return tdm_deadline_after_ns(draw(2000000));
}

static void will_push(struct stream_producer *out, uint64_t count)
{
	uint64_t tail = tdm_spsc_producer_position(&out->ring);
	tdm_store_release_u64(&control->tried, tail + count);
}

static void have_pushed(struct stream_producer *out)
{
	tdm_store_release_u64(&control->acked, tdm_spsc_producer_position(&out->ring));
}

static void produce_one(struct stream_producer *out)
{
	struct words words;
	words_fill(&words, tdm_spsc_producer_position(&out->ring));
	will_push(out, 1);
	must_be_harmless("push", draw(4) != 0 ? stream_try_push(out, &words)
					      : stream_push_until(out, &words, soon()));
	have_pushed(out);
}

static void produce_many(struct stream_producer *out)
{
	uint64_t tail = tdm_spsc_producer_position(&out->ring);
	struct words batch[8];
	size_t count = (size_t)draw(8) + 1, pushed = 0;
	struct words *slot = NULL;
	enum tdm_status status;
	will_push(out, count);
	switch (draw(4)) {
	case 0:
	case 1:
		for (size_t i = 0; i < count; i++)
			words_fill(&batch[i], tail + i);
		must_be_harmless("push_n",
				 draw(2) != 0
				     ? stream_try_push_n(out, batch, count, &pushed)
				     : stream_push_n_until(out, batch, count, &pushed, soon()));
		break;
	default:
		will_push(out, 1);
		status = draw(2) != 0 ? stream_try_reserve(out, &slot)
				      : stream_reserve_until(out, &slot, soon());
		must_be_harmless("reserve", status);
		if (status != TDM_OK)
			break;
		words_fill(slot, tail + 12345);
		dawdle();
		if (draw(4) == 0) {
			must_be_harmless("abort", stream_abort(out));
			break;
		}
		words_fill(slot, tail);
		dawdle();
		must_be_harmless("commit", stream_commit(out));
	}
	have_pushed(out);
}

static void produce_broken(struct stream_producer *out)
{
	struct words words;
	words_fill(&words, tdm_spsc_producer_position(&out->ring));
	will_push(out, 1);
	must_be_harmless("push", broken_push_sequence_first(&out->ring, &words));
	have_pushed(out);
}

// --- consumers ---

static void enter(struct account *account, uint64_t position)
{
	uint64_t hash = tdm_load_acquire_u64(&account->hash[position % 2]);
	if (tdm_load_acquire_u64(&account->position) != position)
		fail("position %" PRIu64 " is entered after %" PRIu64, position,
		     tdm_load_acquire_u64(&account->position));
	tdm_store_release_u64(&account->hash[(position + 1) % 2], chain(hash, position));
	dawdle();
	tdm_store_release_u64(&account->position, position + 1);
}

// Peeks at up to `ahead` elements, and enters those that a dead one had not entered before.
static uint64_t see(struct stream_consumer *in, struct account *account, uint64_t ahead)
{
	uint64_t head = tdm_spsc_consumer_position(&in->ring);
	uint64_t seen = 0;
	for (; seen < ahead; seen++) {
		const void *elem = NULL;
		enum tdm_status status = seen == 0 && draw(4) == 0
					     ? tdm_spsc_peek_until(&in->ring, &elem, soon())
					     : tdm_spsc_try_peek_at(&in->ring, seen, &elem);
		must_be_harmless("peek", status);
		if (status != TDM_OK)
			break;
		if (!words_are(elem, head + seen))
			fail("element %" PRIu64 " is torn or another", head + seen);
		dawdle();
		if (tdm_load_acquire_u64(&account->position) <= head + seen)
			enter(account, head + seen);
	}
	return seen;
}

static void consume_one(struct stream_consumer *in, struct account *account)
{
	if (see(in, account, 1) == 1)
		must_be_harmless("release", stream_release(in));
}

static void consume_many(struct stream_consumer *in, struct account *account)
{
	uint64_t seen = see(in, account, draw(8) + 1);
	must_be_harmless("release_n", tdm_spsc_release_n(&in->ring, seen));
}

// What it has popped and not entered is gone with it; its successor can tell by the position.
static void consume_by_pop(struct stream_consumer *in, struct account *account)
{
	struct words batch[8];
	uint64_t head = tdm_spsc_consumer_position(&in->ring);
	size_t count = draw(2) != 0 ? 1 : (size_t)draw(8) + 1, popped = 0;
	tdm_store_release_u64(&account->may_pop, head + count);
	enum tdm_status status = draw(4) == 0
				     ? stream_pop_n_until(in, batch, count, &popped, soon())
				     : stream_try_pop_n(in, batch, count, &popped);
	must_be_harmless("pop", status);
	for (size_t i = 0; i < popped; i++) {
		if (!words_are(&batch[i], head + i))
			fail("element %" PRIu64 " is torn or another", head + i);
		enter(account, head + i);
	}
}

// Releases before it enters: who dies in between takes the element along.
static void consume_broken(struct stream_consumer *in, struct account *account)
{
	uint64_t head = tdm_spsc_consumer_position(&in->ring);
	const struct words *elem = NULL;
	enum tdm_status status = stream_try_peek(in, &elem);
	must_be_harmless("peek", status);
	if (status != TDM_OK)
		return;
	must_be_harmless("release", stream_release(in));
	sched_yield();
	enter(account, head);
}

// --- processes ---

// Each maps the segment for itself, elsewhere than its parent.
static void come_in(struct tdm_segment *mine, struct tdm_participant *self, const char *name)
{
	chance = mix((uint64_t)getpid() ^ seed);
	int fd = fcntl(segment.fd, F_DUPFD_CLOEXEC, 0);
	enum tdm_status status = tdm_segment_open_fd(mine, fd, TDM_READ_WRITE);
	if (status != TDM_OK)
		fail("open: %s", tdm_status_name(status));
	status = tdm_segment_join(mine, self, name);
	if (status != TDM_OK)
		fail("join: %s", tdm_status_name(status));
}

static void attached(enum who who, enum tdm_status status, bool took_over)
{
	if (status != TDM_OK)
		fail("attach %d: %s", who, tdm_status_name(status));
	if (tdm_load_acquire_u32(&control->held[who]) == 1 && !took_over)
		fail("attach %d was not told of the death before", who);
	tdm_store_release_u32(&control->held[who], 1);
	at(who, OUTSIDE);
}

static void run_producer(void *unused)
{
	struct tdm_segment mine;
	struct tdm_participant self;
	struct stream_producer out;
	(void)unused;
	come_in(&mine, &self, "producer");
	at(PRODUCER, ATTACHING);
	enum tdm_status status =
	    stream_producer_attach(&out, tdm_segment_find(&mine, "ring"), &self);
	attached(PRODUCER, status, out.ring.took_over);
	uint64_t tail = tdm_spsc_producer_position(&out.ring);
	uint64_t acked = tdm_load_acquire_u64(&control->acked);
	if (tail < acked)
		fail("acknowledged pushes are lost: %" PRIu64 " of %" PRIu64, tail, acked);
	if (tail > tdm_load_acquire_u64(&control->tried))
		fail("pushes from nowhere");
	have_pushed(&out);
	out.ring.follow = draw(2) == 0;
	while (tdm_load_acquire_u32(&control->stop) == 0) {
		at(PRODUCER, WORKING);
		style->produce(&out);
		at(PRODUCER, OUTSIDE);
		dawdle();
	}
	if (stream_producer_detach(&out) != TDM_OK || tdm_participant_leave(&self) != TDM_OK)
		fail("the producer's role was overwritten");
}

static void run_consumer(void *unused)
{
	struct tdm_segment mine;
	struct tdm_participant self;
	struct stream_consumer in;
	(void)unused;
	come_in(&mine, &self, "consumer");
	void *bytes = NULL;
	if (tdm_segment_bytes(&mine, "account", sizeof(struct account), NULL, &bytes) != TDM_OK)
		fail("no account");
	struct account *account = bytes;
	at(CONSUMER, ATTACHING);
	enum tdm_status status =
	    stream_consumer_attach(&in, tdm_segment_find(&mine, "ring"), &self);
	attached(CONSUMER, status, in.ring.took_over);
	uint64_t head = tdm_spsc_consumer_position(&in.ring);
	uint64_t entered = tdm_load_acquire_u64(&account->position);
	if (style->consume == consume_by_pop) {
		uint64_t may_pop = tdm_load_acquire_u64(&account->may_pop);
		if (head != entered && (head < entered || head > may_pop))
			fail("popped to %" PRIu64 ", entered to %" PRIu64, head, entered);
		tdm_fetch_add_acq_rel_u64(&account->in_hand, head - entered);
		for (; entered != head; entered++)
			enter(account, entered);
	} else if (head > entered || entered - head > 8) {
		fail("released to %" PRIu64 ", entered to %" PRIu64, head, entered);
	}
	in.ring.follow = draw(2) == 0;
	for (;;) {
		uint64_t before = tdm_spsc_consumer_position(&in.ring);
		bool last = tdm_load_acquire_u32(&control->stop) == 2;
		at(CONSUMER, WORKING);
		style->consume(&in, account);
		at(CONSUMER, OUTSIDE);
		dawdle();
		if (last && tdm_spsc_consumer_position(&in.ring) == before)
			break;
	}
	if (stream_consumer_detach(&in) != TDM_OK || tdm_participant_leave(&self) != TDM_OK)
		fail("the consumer's role was overwritten");
}

// Reaps, recovers and looks, all the time.
static void run_meddler(void *unused)
{
	struct tdm_segment mine;
	struct tdm_participant self;
	(void)unused;
	come_in(&mine, &self, "meddler");
	struct tdm_span span = tdm_segment_find(&mine, "ring");
	while (tdm_load_acquire_u32(&control->stop) == 0) {
		uint32_t count = 0;
		struct tdm_spsc_info info;
		enum tdm_status status = TDM_OK;
		at(MEDDLER, WORKING);
		switch (draw(3)) {
		case 0:
			status = tdm_segment_reap(&mine, &count);
			break;
		case 1:
			status = tdm_spsc_recover(span, &self, &count);
			break;
		default:
			status = tdm_spsc_check(span, &info);
			if (info.pushed - info.popped > info.capacity)
				fail("check: pushed %" PRIu64 ", popped %" PRIu64, info.pushed,
				     info.popped);
		}
		at(MEDDLER, OUTSIDE);
		if (status != TDM_OK)
			fail("meddling: %s", tdm_status_name(status));
		struct timespec pause = {0, (long)draw(100000)};
		nanosleep(&pause, NULL);
	}
	if (tdm_participant_leave(&self) != TDM_OK)
		fail("the meddler cannot leave");
}

// --- the storm ---

static pid_t pids[3];
static uint64_t all_kills;

static void start(enum who who)
{
	static void (*const run[])(void *) = {run_producer, run_consumer, run_meddler};
	pids[who] = child_start(run[who], NULL);
}

static void verdict(const char *text)
{
	if (tdm_fetch_add_acq_rel_u32(&control->failed, 1) == 0)
		snprintf(control->verdict, sizeof(control->verdict), "%s", text);
}

// Waits for an end that the process comes to by itself.
static void await_end(enum who who)
{
	uint64_t deadline_ns = tdm_deadline_after_ns(CHILD_PATIENCE_NS);
	int status = 0;
	pid_t pid = pids[who];
	pids[who] = 0;
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (tdm_now_ns() > deadline_ns) {
			verdict("a process does not come to its end");
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return;
		}
		child_sleep_ms(1);
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		verdict("a process ended badly");
}

// True: it was alive until then.
static bool strike(enum who who)
{
	int status = 0;
	kill(pids[who], SIGKILL);
	waitpid(pids[who], &status, 0);
	pids[who] = 0;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return true;
	verdict("a process ended before it was killed");
	return false;
}

static void storm_open(const struct style *chosen)
{
	style = chosen;
	memset((void *)control, 0, sizeof(*control));
	struct tdm_segment_options options;
	memset(&options, 0, sizeof(options));
	options.sealed = true;
	options.seats = 8;
	struct tdm_object objects[2];
	objects[0] = stream_object("ring", style->capacity);
	objects[1] = tdm_bytes_object("account", sizeof(struct account), 8, NULL);
	if (tdm_segment_create(&segment, objects, 2, &options) != TDM_OK)
		abort();
}

static const struct account *storm_account(void)
{
	void *bytes = NULL;
	if (tdm_segment_bytes(&segment, "account", sizeof(struct account), NULL, &bytes) != TDM_OK)
		abort();
	return bytes;
}

// Everybody to their end, then the books.
static void storm_close(void)
{
	for (enum who who = PRODUCER; who < NOBODY; who++)
		if (pids[who] == 0 && tdm_load_acquire_u32(&control->failed) == 0 && who != MEDDLER)
			start(who);
	tdm_store_release_u32(&control->stop, 1);
	if (pids[PRODUCER] != 0)
		await_end(PRODUCER);
	if (pids[MEDDLER] != 0)
		await_end(MEDDLER);
	tdm_store_release_u32(&control->stop, 2);
	if (pids[CONSUMER] != 0)
		await_end(CONSUMER);
	if (tdm_load_acquire_u32(&control->failed) == 0) {
		const struct account *account = storm_account();
		struct tdm_spsc_info info;
		CHECK_STATUS(tdm_spsc_check(tdm_segment_find(&segment, "ring"), &info), TDM_OK);
		CHECK(info.pushed > 0);
		CHECK_EQ_U64(info.popped, info.pushed);
		CHECK_EQ_U64(tdm_load_acquire_u64(&control->acked), info.pushed);
		CHECK_EQ_U64(tdm_load_acquire_u64(&account->position), info.pushed);
		CHECK(!info.producer.held && !info.consumer.held);
		uint64_t hash = 0;
		for (uint64_t position = 0; position < info.pushed; position++)
			hash = chain(hash, position);
		CHECK_EQ_U64(tdm_load_acquire_u64(&account->hash[info.pushed % 2]), hash);
		tap_note("%s: %" PRIu64 " elements, each once and in order; %" PRIu64
			 " of them died in the hand that had popped them",
			 style->name, info.pushed, tdm_load_acquire_u64(&account->in_hand));
	}
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

// Kills until so many have died, or something is wrong.
static void storm_kill(uint64_t kills)
{
	uint64_t inside[3] = {0, 0, 0}, attaching = 0, done = 0;
	start(PRODUCER);
	start(CONSUMER);
	start(MEDDLER);
	while (done < kills && tdm_load_acquire_u32(&control->failed) == 0) {
		// The newcomers of the last time are on their way in, or long at work.
		struct timespec pause = {0, (long)(draw(2) == 0 ? draw(400000) : draw(3000000))};
		if (draw(8) != 0)
			nanosleep(&pause, NULL);
		// Mostly one, sometimes both sides at once.
		enum who first = draw(16) == 0 ? MEDDLER : (enum who)draw(2);
		enum who second = first != MEDDLER && draw(8) == 0 ? 1 - first : NOBODY;
		const enum who victims[2] = {first, second};
		for (unsigned i = 0; i < 2 && victims[i] != NOBODY; i++) {
			if (!strike(victims[i]))
				break;
			uint32_t place = tdm_load_acquire_u32(&control->place[victims[i]]);
			inside[victims[i]] += place == WORKING;
			attaching += place == ATTACHING;
			done++;
		}
		for (enum who who = PRODUCER; who < NOBODY; who++)
			if (pids[who] == 0 && tdm_load_acquire_u32(&control->failed) == 0)
				start(who);
	}
	all_kills += done;
	tap_note("%s: %" PRIu64 " killed; within an operation: %" PRIu64 " producers, %" PRIu64
		 " consumers, %" PRIu64 " recoveries; %" PRIu64 " while attaching",
		 style->name, done, inside[PRODUCER], inside[CONSUMER], inside[MEDDLER], attaching);
}

static void storm(const struct style *chosen, uint64_t kills)
{
	storm_open(chosen);
	storm_kill(kills);
	storm_close();
	if (tdm_load_acquire_u32(&control->failed) != 0)
		tap_note("%s: %s", style->name, control->verdict);
	CHECK(tdm_load_acquire_u32(&control->failed) == 0);
}

static void storm_must_fail(const struct style *chosen, const char *expected)
{
	storm_open(chosen);
	storm_kill(20000);
	for (enum who who = PRODUCER; who < NOBODY; who++)
		if (pids[who] != 0)
			(void)strike(who);
	CHECK(tdm_load_acquire_u32(&control->failed) != 0);
	CHECK(strstr(control->verdict, expected) != NULL);
	tap_note("%s: %s", style->name, control->verdict);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
}

// Who is stopped is alive, whatever else happens.
static void storm_stop(const struct style *chosen, uint64_t stops)
{
	uint64_t refused = 0, killed = 0;
	storm_open(chosen);
	struct tdm_participant self;
	struct tdm_span span = tdm_segment_find(&segment, "ring");
	CHECK_STATUS(tdm_segment_join(&segment, &self, "rival"), TDM_OK);
	start(PRODUCER);
	start(CONSUMER);
	for (uint64_t i = 0; i < stops && tdm_load_acquire_u32(&control->failed) == 0; i++) {
		struct timespec pause = {0, (long)draw(2000000)};
		nanosleep(&pause, NULL);
		enum who who = (enum who)draw(2);
		int status = 0;
		kill(pids[who], SIGSTOP);
		if (waitpid(pids[who], &status, WUNTRACED) != pids[who] || !WIFSTOPPED(status)) {
			verdict("a process ended before it was stopped");
			pids[who] = 0;
			break;
		}
		struct tdm_spsc_info info;
		struct tdm_seat_info seat;
		CHECK_STATUS(tdm_spsc_check(span, &info), TDM_OK);
		const struct tdm_role_info *role =
		    who == PRODUCER ? &info.producer : &info.consumer;
		bool holds = role->held &&
			     tdm_segment_seat(&segment, role->seat, &seat) == TDM_OK &&
			     seat.liveness == TDM_SEAT_LIVE && seat.generation == role->generation;
		for (unsigned tries = 0; tries < 3 && holds; tries++) {
			struct stream_producer out;
			struct stream_consumer in;
			uint32_t count = 0;
			CHECK_STATUS(who == PRODUCER ? stream_producer_attach(&out, span, &self)
						     : stream_consumer_attach(&in, span, &self),
				     TDM_BUSY);
			CHECK_STATUS(tdm_segment_reap(&segment, &count), TDM_OK);
			CHECK_EQ_U64(count, 0);
			CHECK_STATUS(tdm_spsc_recover(span, &self, &count), TDM_OK);
			CHECK_STATUS(tdm_spsc_check(span, &info), TDM_OK);
			CHECK(role->held && role->generation == seat.generation);
			sched_yield();
			refused++;
		}
		if (draw(4) == 0) {
			killed += strike(who); // out of its sleep
			uint32_t count = 0;
			CHECK_STATUS(tdm_segment_reap(&segment, &count), TDM_OK);
			CHECK(count == 1 || (count == 0 && !holds)); // or it had not yet joined
			start(who);
		} else {
			kill(pids[who], SIGCONT);
		}
	}
	all_kills += killed;
	CHECK(refused > stops);
	CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	storm_close();
	if (tdm_load_acquire_u32(&control->failed) != 0)
		tap_note("%s: %s", style->name, control->verdict);
	CHECK(tdm_load_acquire_u32(&control->failed) == 0);
	tap_note("%" PRIu64 " stopped, %" PRIu64 " attempts at their roles refused, %" PRIu64
		 " killed while stopped",
		 stops, refused, killed);
}

int main(void)
{
	const char *given = getenv("TANDEM_SEED");
	seed = given != NULL ? strtoull(given, NULL, 0) : mix(tdm_now_ns());
	chance = seed;
	tap_note("TANDEM_SEED=%" PRIu64, seed);
	uint64_t scale = getenv("TANDEM_SOAK") != NULL ? 10 : 1;
	control = child_shared(sizeof(*control));
	uint64_t began_ns = tdm_now_ns();

	static const struct style one = {"one by one", 4, produce_one, consume_one};
	static const struct style many = {"batches", 32, produce_many, consume_many};
	static const struct style pops = {"pops", 8, produce_many, consume_by_pop};
	static const struct style tiny = {"one place", 1, produce_many, consume_by_pop};
	static const struct style torn = {"sequence first", 8, produce_broken, consume_one};
	static const struct style hasty = {"released first", 8, produce_one, consume_broken};

	tap_case("kills lose and repeat nothing when one element moves at a time");
	storm(&one, 2000 * scale);

	tap_case("kills lose and repeat nothing in batches, reservations and peeks ahead");
	storm(&many, 2000 * scale);

	tap_case("a killed consumer takes along no more than it had popped");
	storm(&pops, 700 * scale);
	storm(&tiny, 300 * scale);

	tap_case("who is stopped keeps the role, through everything that others try");
	storm_stop(&many, 200 * scale);

	tap_case("thousands died");
	tap_note("%" PRIu64 " killed in %.0f s", all_kills,
		 (double)(tdm_now_ns() - began_ns) / 1e9);
	CHECK(all_kills >= 5000 * scale);

	tap_case("a push that stores the sequence first does not survive a storm");
	storm_must_fail(&torn, "is torn or another");

	tap_case("a consumer that releases before it enters does not survive a storm");
	storm_must_fail(&hasty, "entered");

	return tap_done();
}
