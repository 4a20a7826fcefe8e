// SPDX-License-Identifier: BSD-2-Clause
// Thousands of small histories of concurrent try_push and try_pop, each of which must be explained
// by one order of steps (Wing and Gong, "Testing and Verifying Concurrent Objects", 1993; with the
// cache of configurations of Lowe, "Testing for linearizability", 2017).
//
// What is allowed. A ring of capacity N has a tail and a head that count positions. An operation
// that answers TDM_OK takes two steps, the others one, each at one instant between its call and its
// return:
//
//	try_push   claim:   position tail - N was released, or there is none; the position is tail,
//	                    which grows by 1
//	           publish
//	try_pop    claim:   position head was published, and its element is what is returned; head
//	                    grows by 1
//	           release
//	TDM_EMPTY  position head is not published: not claimed, or its push has not returned
//	TDM_FULL   position tail - N is not released: not popped, or its pop has not returned
//
// So an operation may be answered TDM_EMPTY although a later element is there, but only while the
// push of the first one is under way; when nothing else is, both answers are exact. A queue whose
// operations have one step each would allow less; how many histories show that is noted.
#include <pthread.h>
#include <sched.h>

static void disturb(void);
#define TDM_SEAM_CAS_WEAK_FAILS() (disturb(), 0) // between the look at a position and its claim
#define TDM_SEAM_COPY(to, from, size) (disturb(), memcpy(to, from, size), disturb())

#include <tandem.h>
#include <tandem/base/sanitizer.h>

#include "../support/broken/mpmc_hasty.h"
#include "../support/pattern.h"
#include "../support/tap.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

// --- histories ---

#define OPERATIONS 32 // of one history, at most

struct operation {
	bool push;
	enum tdm_status status;
	uint32_t value;
	uint32_t thread;
	uint64_t begin, end; // on a clock that ticks with each of them
};

struct history {
	uint32_t capacity;
	uint32_t count;
	struct operation operations[OPERATIONS];
};

// --- the checker ---

// A configuration: how many steps each operation has taken, and which pushes have the positions.
// Everything else follows from these.
#define PUSHES_MAX 24
struct configuration {
	uint64_t steps;    // 2 bits for each operation
	uint64_t order[2]; // 5 bits for each position: its push
};

#define CACHE (1U << 18)

struct checker {
	const struct history *history;
	bool strict; // operations have one step
	uint32_t used;
	uint32_t generation;
	struct {
		uint32_t generation;
		struct configuration key;
	} seen[CACHE];
};

static uint32_t steps_of(uint64_t steps, uint32_t operation)
{
	return (uint32_t)(steps >> 2 * operation & 3);
}

static uint32_t push_at(const struct configuration *at, uint32_t position)
{
	return (uint32_t)(at->order[position / 12] >> 5 * (position % 12) & 31);
}

// True: been here. Remembers.
static bool been_there(struct checker *checker, const struct configuration *at)
{
	uint64_t hash = mix(mix(mix(at->steps) ^ at->order[0]) ^ at->order[1]);
	for (uint32_t i = (uint32_t)hash;; i++) {
		struct configuration *key = &checker->seen[i % CACHE].key;
		if (checker->seen[i % CACHE].generation != checker->generation) {
			if (++checker->used > CACHE / 2)
				abort(); // a history that is too wide to be checked
			checker->seen[i % CACHE].generation = checker->generation;
			*key = *at;
			return false;
		}
		if (key->steps == at->steps && key->order[0] == at->order[0] &&
		    key->order[1] == at->order[1])
			return true;
	}
}

static bool explains(struct checker *checker, struct configuration at);

// Goes on after one step of an operation. False: it leads nowhere.
static bool step(struct checker *checker, struct configuration at, uint32_t which, uint32_t tail,
		 uint32_t head)
{
	const struct history *history = checker->history;
	const struct operation *operation = &history->operations[which];
	uint32_t taken = steps_of(at.steps, which);
	// Of the push that has the head, and of the pop that had the place for the tail.
	bool published = head < tail && steps_of(at.steps, push_at(&at, head)) == 2;
	bool released = tail < history->capacity;
	if (!released && tail - history->capacity < head) {
		uint32_t value = history->operations[push_at(&at, tail - history->capacity)].value;
		for (uint32_t i = 0; i < history->count; i++)
			released = released || (!history->operations[i].push &&
						history->operations[i].status == TDM_OK &&
						history->operations[i].value == value &&
						steps_of(at.steps, i) == 2);
	}
	if (operation->status != TDM_OK) {
		if (operation->push ? released : published)
			return false;
		at.steps |= UINT64_C(2) << 2 * which;
		return explains(checker, at);
	}
	if (taken == 0 && operation->push) {
		if (!released)
			return false;
		at.order[tail / 12] |= (uint64_t)which << 5 * (tail % 12);
	} else if (taken == 0) {
		if (!published || history->operations[push_at(&at, head)].value != operation->value)
			return false;
	}
	at.steps += UINT64_C(1) << 2 * which;
	if (checker->strict && taken == 0)
		at.steps += UINT64_C(1) << 2 * which;
	return explains(checker, at);
}

// Is there an order of the steps that are left?
static bool explains(struct checker *checker, struct configuration at)
{
	const struct history *history = checker->history;
	uint64_t first_end = UINT64_MAX; // of an operation that is not done
	uint32_t tail = 0;
	uint32_t head = 0;
	for (uint32_t i = 0; i < history->count; i++) {
		const struct operation *operation = &history->operations[i];
		uint32_t taken = steps_of(at.steps, i);
		if (taken < 2 && operation->end < first_end)
			first_end = operation->end;
		if (taken > 0 && operation->status == TDM_OK)
			*(operation->push ? &tail : &head) += 1;
	}
	if (first_end == UINT64_MAX)
		return true;
	if (been_there(checker, &at))
		return false;
	for (uint32_t i = 0; i < history->count; i++)
		if (steps_of(at.steps, i) < 2 && history->operations[i].begin < first_end &&
		    step(checker, at, i, tail, head))
			return true;
	return false;
}

// Can the history have come about?
static bool possible(const struct history *history, bool strict)
{
	static struct checker checker;
	struct configuration start;
	memset(&start, 0, sizeof(start));
	checker.history = history;
	checker.strict = strict;
	checker.used = 0;
	checker.generation++;
	return explains(&checker, start);
}

static void tell(const struct history *history)
{
	tap_note("capacity %" PRIu32 ":", history->capacity);
	for (uint32_t i = 0; i < history->count; i++) {
		const struct operation *operation = &history->operations[i];
		tap_note("  %3" PRIu64 " to %3" PRIu64 ", thread %" PRIu32 ": %s %" PRIu32 ", %s",
			 operation->begin, operation->end, operation->thread,
			 operation->push ? "push" : "pop", operation->value,
			 tdm_status_name(operation->status));
	}
}

// --- the checker's own test ---

// "a 1 3" is a push of `a` from 1 to 3, "A 2 4" a pop of it; ? is TDM_EMPTY, ! is TDM_FULL.
static struct history parse(uint32_t capacity, const char *text)
{
	struct history history;
	int length = 0;
	char what;
	memset(&history, 0, sizeof(history));
	history.capacity = capacity;
	for (; *text != '\0'; text += length) {
		struct operation *operation = &history.operations[history.count++];
		unsigned begin;
		unsigned end;
		if (sscanf(text, " %c %u %u%n", &what, &begin, &end, &length) != 3)
			abort();
		operation->push = what == '!' || (what >= 'a' && what <= 'z');
		operation->status = what == '!' ? TDM_FULL : what == '?' ? TDM_EMPTY : TDM_OK;
		operation->value = (uint32_t)what | 32;
		operation->begin = begin;
		operation->end = end;
	}
	return history;
}

static void test_checker(void)
{
	static const struct {
		const char *sentence;
		const char *history;
		bool possible, strictly;
	} cases[] = {
	    {"one after the other, in order", "a 1 2 b 3 4 A 5 6 B 7 8 ? 9 10", true, true},
	    {"the second first", "a 1 2 b 3 4 B 5 6 A 7 8", false, false},
	    {"either first, of two at once", "a 1 4 b 2 3 B 5 6 A 7 8", true, true},
	    {"one twice", "a 1 2 A 3 4 A 5 6", false, false},
	    {"one twice at once", "a 1 2 A 3 5 A 4 6", false, false},
	    {"one that nobody pushed", "a 1 2 B 3 4", false, false},
	    {"one before it was pushed", "A 1 2 a 3 4", false, false},
	    {"one while it was pushed", "a 1 4 A 2 3", true, true},
	    {"one lost", "a 1 2 ? 3 4", false, false},
	    {"one lost, and found again", "a 1 2 ? 3 4 A 5 6", false, false},
	    {"empty before and after", "? 1 2 a 3 4 A 5 6 ? 7 8", true, true},
	    {"empty while the first is pushed, though the second is there",
	     "a 1 6 b 2 3 ? 4 5 A 7 8 B 9 10", true, false},
	    {"empty when the first was pushed", "a 1 3 b 2 4 ? 5 6 A 7 8 B 9 10", false, false},
	    {"empty while somebody else pops the last", "a 1 2 A 3 6 ? 4 5", true, true},
	    {"empty while somebody else pops one of two", "a 1 2 b 3 4 A 5 8 ? 6 7 B 9 10", false,
	     false},
	    {"full when it is", "a 1 2 b 3 4 ! 5 6 A 7 8 B 9 10", true, true},
	    {"full when it is not", "a 1 2 ! 3 4 A 5 6", false, false},
	    {"full after a pop", "a 1 2 b 3 4 A 5 6 ! 7 8 B 9 10", false, false},
	    {"full while the first is popped, though the second was",
	     "a 1 2 b 3 4 A 5 10 B 6 7 ! 8 9 ? 11 12", true, false},
	    {"full while the second is popped, and the first was", "a 1 2 b 3 4 A 5 6 B 7 10 ! 8 9",
	     false, false},
	    {"more than fits", "a 1 2 b 3 4 c 5 6", false, false},
	    {"more than fits, but for a pop at once", "a 1 2 b 3 4 c 5 8 A 6 7", true, true},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		char sentence[160];
		struct history history = parse(2, cases[i].history);
		snprintf(sentence, sizeof(sentence), "the checker %s: %s",
			 cases[i].possible ? "accepts" : "refuses", cases[i].sentence);
		tap_case(sentence);
		CHECK(possible(&history, false) == cases[i].possible);
		CHECK(possible(&history, true) == cases[i].strictly);
	}
}

// --- making histories ---

#define THREADS_MAX 4
#define EACH_MAX 5 // operations of a thread

typedef enum tdm_status pushing(struct tdm_mpmc_producer *producer, const void *elem);
typedef enum tdm_status popping(struct tdm_mpmc_consumer *consumer, void *elem);

struct setting {
	uint32_t threads;
	uint32_t each; // operations of a thread
	uint32_t capacity;
	bool robust;
	uint32_t rounds;
	pushing *push;
	popping *pop;
};

static const struct setting *setting;
static struct tdm_segment segment;
static struct tdm_span ring;
static tdm_atomic_u64 ticks;
static tdm_atomic_u32 round_begun; // counts up; the last one ends the threads
static tdm_atomic_u32 round_done;  // by so many threads, in all rounds
static uint32_t filled;            // elements at the beginning
static uint64_t first_position;

static struct player {
	pthread_t thread;
	uint32_t number;
	uint32_t count;
	struct operation operations[EACH_MAX];
} players[THREADS_MAX];

static __thread uint64_t mood; // of this thread; 0: undisturbed

// In the middle of an operation: goes on, waits a little or lets others run.
static void disturb(void)
{
	if (mood == 0)
		return;
	uint64_t chance = random_below(&mood, 8);
	if (chance == 0)
		sched_yield();
	for (uint64_t i = 0; chance > 4 && i < 20 * chance; i++)
		TDM_SEAM_PAUSE();
}

static void operate(struct operation *operation, struct tdm_mpmc_producer *out,
		    struct tdm_mpmc_consumer *in, pushing *push, popping *pop)
{
	uint32_t value = operation->value;
	operation->begin = tdm_fetch_add_seq_cst_u64(&ticks, 1);
	operation->status = operation->push ? push(out, &value) : pop(in, &value);
	operation->end = tdm_fetch_add_seq_cst_u64(&ticks, 1);
	operation->value = value;
}

static void attach(struct tdm_participant *self, const char *name, struct tdm_mpmc_producer *out,
		   struct tdm_mpmc_consumer *in, bool first)
{
	if (setting->robust && first)
		CHECK_STATUS(tdm_segment_join(&segment, self, name), TDM_OK);
	CHECK_STATUS(tdm_mpmc_producer_attach(out, ring, 4, setting->robust ? self : NULL), TDM_OK);
	CHECK_STATUS(tdm_mpmc_consumer_attach(in, ring, 4, setting->robust ? self : NULL), TDM_OK);
}

static void *play(void *argument)
{
	struct player *player = argument;
	struct tdm_participant self;
	struct tdm_mpmc_producer out;
	struct tdm_mpmc_consumer in;
	uint64_t random = mix(player->number + 1);
	attach(&self, "player", &out, &in, true);
	for (uint32_t round = 1; round <= setting->rounds; round++) {
		while (tdm_load_acquire_u32(&round_begun) < round)
			sched_yield();
		mood = mix(random + round);
		uint64_t bias = 1 + round % 3; // more pushes or more pops
		for (uint32_t i = 0; i < player->count; i++) {
			struct operation *operation = &player->operations[i];
			operation->thread = player->number;
			operation->push = random_below(&random, 4) < bias;
			operation->value = 100 * (player->number + 1) + i;
			operate(operation, &out, &in, setting->push, setting->pop);
		}
		mood = 0;
		tdm_fetch_add_release_u32(&round_done, 1);
	}
	CHECK_STATUS(tdm_mpmc_producer_detach(&out), TDM_OK);
	CHECK_STATUS(tdm_mpmc_consumer_detach(&in), TDM_OK);
	if (setting->robust)
		CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
	return NULL;
}

static enum tdm_status init(struct tdm_span span, const struct tdm_object *object)
{
	return tdm_mpmc_init_at_(span, object, first_position);
}

// What the rounds showed.
struct outcome {
	bool expected; // that histories are impossible: not told
	uint32_t impossible;
	uint32_t unqueuelike; // possible, but not for a queue with operations of one step
	uint32_t overlapping; // histories in which operations did
	uint32_t empty, full; // answers
};

static void append(struct history *history, struct operation operation)
{
	if (history->count == OPERATIONS)
		abort();
	history->operations[history->count++] = operation;
}

// Before the round, the ring is filled; after it, it is emptied, so that nothing can be missing.
static void alone(struct history *history, bool push, uint32_t value, struct tdm_mpmc_producer *out,
		  struct tdm_mpmc_consumer *in)
{
	struct operation operation;
	memset(&operation, 0, sizeof(operation));
	operation.push = push;
	operation.value = value;
	operation.thread = 99;
	operate(&operation, out, in, tdm_mpmc_try_push, tdm_mpmc_try_pop);
	append(history, operation);
}

static void judge(const struct history *history, struct outcome *outcome)
{
	bool overlaps = false;
	for (uint32_t i = 0; i < history->count; i++) {
		outcome->empty += history->operations[i].status == TDM_EMPTY;
		outcome->full += history->operations[i].status == TDM_FULL;
		overlaps =
		    overlaps || history->operations[i].end != history->operations[i].begin + 1;
	}
	outcome->overlapping += overlaps;
	if (!possible(history, false)) {
		if (outcome->impossible++ == 0 && !outcome->expected)
			tell(history);
	} else if (!possible(history, true)) {
		outcome->unqueuelike++;
	}
}

static void play_rounds(const struct setting *wanted, uint64_t start, struct outcome *outcome)
{
	TDM_ALIGNAS(128) static unsigned char memory[4096];
	struct tdm_object object = tdm_mpmc_object("ring", 4, wanted->capacity);
	struct tdm_participant self;
	struct tdm_mpmc_producer out;
	struct tdm_mpmc_consumer in;
	setting = wanted;
	first_position = start;
	object.init = init;
	object.plain = !wanted->robust;
	tdm_store_relaxed_u32(&round_begun, 0);
	tdm_store_relaxed_u32(&round_done, 0);
	if (wanted->robust) {
		CHECK_STATUS(tdm_segment_create(&segment, &object, 1, NULL), TDM_OK);
		ring = tdm_segment_find(&segment, "ring");
	} else {
		ring = tdm_memory(memory, sizeof(memory));
		CHECK_STATUS(init(ring, &object), TDM_OK);
	}
	attach(&self, "judge", &out, &in, true);
	for (uint32_t i = 0; i < wanted->threads; i++) {
		players[i].number = i;
		players[i].count = wanted->each;
		if (pthread_create(&players[i].thread, NULL, play, &players[i]) != 0)
			abort();
	}
	for (uint32_t round = 1; round <= wanted->rounds; round++) {
		struct history history;
		memset(&history, 0, sizeof(history));
		history.capacity = wanted->capacity;
		tdm_store_relaxed_u64(&ticks, 1);
		filled = round % (wanted->capacity + 1);
		for (uint32_t i = 0; i < filled; i++)
			alone(&history, true, i, &out, &in);
		tdm_store_release_u32(&round_begun, round);
		while (tdm_load_acquire_u32(&round_done) < round * wanted->threads)
			sched_yield();
		for (uint32_t i = 0; i < wanted->threads; i++)
			for (uint32_t k = 0; k < wanted->each; k++)
				append(&history, players[i].operations[k]);
		do
			alone(&history, false, 0, &out, &in);
		while (history.operations[history.count - 1].status == TDM_OK);
		judge(&history, outcome);
	}
	for (uint32_t i = 0; i < wanted->threads; i++)
		CHECK(pthread_join(players[i].thread, NULL) == 0);
	CHECK_STATUS(tdm_mpmc_producer_detach(&out), TDM_OK);
	CHECK_STATUS(tdm_mpmc_consumer_detach(&in), TDM_OK);
	if (wanted->robust) {
		CHECK_STATUS(tdm_participant_leave(&self), TDM_OK);
		CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	}
}

static void test_histories(uint32_t rounds)
{
	static const uint64_t starts[] = {0, (UINT64_C(1) << 32) - 100, TDM_MPMC_POSITION_ - 1000};
	struct outcome sum;
	uint32_t number = 0;
	memset(&sum, 0, sizeof(sum));
	for (unsigned robust = 0; robust < 2; robust++)
		for (uint32_t threads = 3; threads <= 4; threads++)
			for (uint32_t capacity = 2; capacity <= 4; capacity *= 2) {
				struct outcome outcome;
				struct setting wanted;
				char sentence[160];
				memset(&outcome, 0, sizeof(outcome));
				wanted.threads = threads;
				wanted.each = threads == 3 ? EACH_MAX : EACH_MAX - 1;
				wanted.capacity = capacity;
				wanted.robust = robust != 0;
				wanted.rounds = rounds;
				wanted.push = tdm_mpmc_try_push;
				wanted.pop = tdm_mpmc_try_pop;
				snprintf(sentence, sizeof(sentence),
					 "histories of %u threads at a %s ring of %u are possible",
					 (unsigned)threads, robust ? "robust" : "plain",
					 (unsigned)capacity);
				tap_case(sentence);
				play_rounds(&wanted, starts[number++ % COUNT(starts)], &outcome);
				CHECK_EQ_U64(outcome.impossible, 0);
				CHECK(outcome.empty > 0 && outcome.full > 0);
				sum.overlapping += outcome.overlapping;
				sum.unqueuelike += outcome.unqueuelike;
			}
	tap_note("%" PRIu32 " histories, %" PRIu32 " with operations at once, %" PRIu32
		 " that no queue with operations of one step has",
		 number * rounds, sum.overlapping, sum.unqueuelike);
	tap_case("most histories have operations at once");
	CHECK(sum.overlapping > number * rounds / 4);
}

static void test_broken(void)
{
	static const struct {
		const char *sentence;
		pushing *push;
		popping *pop;
	} variants[] = {
	    {"a pop that says empty when somebody else was faster is caught", tdm_mpmc_try_push,
	     broken_mpmc_hasty_pop},
	    {"a push that says full because of an old head is caught", broken_mpmc_hasty_push,
	     tdm_mpmc_try_pop},
	};
	for (size_t i = 0; i < COUNT(variants); i++) {
		struct outcome outcome;
		struct setting wanted;
		memset(&outcome, 0, sizeof(outcome));
		outcome.expected = true;
		wanted.threads = 4;
		wanted.each = 4;
		wanted.capacity = 2;
		wanted.robust = false;
		wanted.rounds = 200;
		wanted.push = variants[i].push;
		wanted.pop = variants[i].pop;
		tap_case(variants[i].sentence);
		uint32_t tried = 0;
		for (; tried < 50 * wanted.rounds && outcome.impossible == 0;
		     tried += wanted.rounds)
			play_rounds(&wanted, 0, &outcome);
		tap_note("%" PRIu32 " of %" PRIu32 " histories are impossible", outcome.impossible,
			 tried);
		CHECK(outcome.impossible > 0);
	}
}

int main(void)
{
	bool soak = getenv("TANDEM_SOAK") != NULL;
	alarm(soak ? 7200 : 300);
	test_checker();
	test_histories((TDM_UNDER_TSAN ? 300 : 1500) * (soak ? 100 : 1));
	test_broken();
	return tap_done();
}
