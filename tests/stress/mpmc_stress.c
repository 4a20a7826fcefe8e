// SPDX-License-Identifier: BSD-2-Clause
// Many elements through one ring, from several producers to several consumers, by threads and by
// processes, plain and robust, typed and not, in every way to push, to pop and to take, with more
// of them than CPUs. Every element carries its producer, a sequence and a checksum: each must
// arrive once and whole, and those of one producer in order at whichever consumer.
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include <tandem.h>
#include <tandem/base/sanitizer.h>

#include "../support/broken/mpmc_claim_store.h"
#include "../support/broken/mpmc_early_release.h"
#include "../support/broken/mpmc_early_sequence.h"
#include "../support/child.h"
#include "../support/pattern.h"
#include "../support/tap.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define SIDE_MAX 4 // workers on one side
#define SCRATCH_BYTES 65536U
#define SEQUENCES (UINT64_C(1) << 20) // at most, of one producer
#define SOON_NS UINT64_C(2000000)

enum way { TRY, WAIT, BATCH, TAKE, MIXED, BROKEN };

// What went wrong. Shared memory.
struct verdict {
	tdm_atomic_u32 finished; // producers, whose counts are valid then
	tdm_atomic_u32 torn, lost, twice, disordered, miscounted, odd_status;
	tdm_atomic_u32 last_status;
};

// One producer or consumer. Shared memory.
struct worker {
	struct lane *lane;
	unsigned number; // among its kind
	uint64_t seed;
	unsigned char *scratch;
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u64 count; // pushed in all; came so far
	uint64_t next[SIDE_MAX];                          // least sequence of each producer
	// A bit for each element that came; nobody else writes it.
	uint64_t came[SIDE_MAX][SEQUENCES / 64];
};

// A ring and how its workers work. Filled before they start.
struct lane {
	struct tdm_segment *segment; // NULL: plain, in memory of our own
	struct tdm_span span;
	uint64_t elem_size;
	uint64_t salt;  // so that no two lanes have equal elements
	uint64_t least; // elements of each producer
	uint64_t until_ns;
	uint64_t batch; // the largest
	unsigned producers, consumers;
	unsigned holds; // leases at once
	enum way producing;
	enum way consuming;
	bool comes_and_goes;
	bool gives_back; // and so orders nothing
	void (*produce)(struct worker *worker, struct tdm_participant *self);
	void (*consume)(struct worker *worker, struct tdm_participant *self);
	enum tdm_status (*broken_push)(struct tdm_mpmc_producer *producer, const void *elem);
	enum tdm_status (*broken_pop)(struct tdm_mpmc_consumer *consumer, void *elem);
	struct verdict *verdict;
	struct worker *workers; // producers first
};

static enum way way_of(enum way way, uint64_t *random)
{
	return way == MIXED ? (enum way)random_below(random, MIXED) : way;
}

static void complain(tdm_atomic_u32 *about)
{
	tdm_fetch_add_relaxed_u32(about, 1);
}

static bool fine(struct lane *lane, enum tdm_status status)
{
	if (status == TDM_OK)
		return true;
	tdm_store_relaxed_u32(&lane->verdict->last_status, status);
	complain(&lane->verdict->odd_status);
	return false;
}

// Something is wrong already: nobody goes on.
static bool given_up(const struct lane *lane)
{
	const struct verdict *verdict = lane->verdict;
	return (tdm_load_relaxed_u32(&verdict->torn) | tdm_load_relaxed_u32(&verdict->twice) |
		tdm_load_relaxed_u32(&verdict->disordered) |
		tdm_load_relaxed_u32(&verdict->miscounted) |
		tdm_load_relaxed_u32(&verdict->odd_status)) != 0 ||
	       (lane->producing == BROKEN && tdm_now_ns() > lane->until_ns + SOON_NS * 100);
}

// An element: its producer, its sequence and 16 bits of a checksum in the first word; what follows
// is made from that word.
static uint64_t first_word(const struct lane *lane, uint64_t producer, uint64_t sequence)
{
	uint64_t named = producer << 40 | sequence;
	return named << 16 | (mix(named ^ lane->salt) & 0xffff);
}

static void element_put(unsigned char *elem, const struct lane *lane, uint64_t producer,
			uint64_t sequence)
{
	uint64_t word = first_word(lane, producer, sequence);
	for (uint64_t at = 0; at < lane->elem_size; at += 8) {
		size_t rest = (size_t)(lane->elem_size - at);
		memcpy(elem + at, &word, rest < 8 ? rest : 8);
		word = mix(word + at);
	}
}

static bool element_whole(const void *elem, const struct lane *lane)
{
	const unsigned char *bytes = elem;
	uint64_t word;
	memcpy(&word, bytes, 8);
	uint64_t producer = word >> 56;
	uint64_t sequence = word >> 16 & 0xffffffffff;
	bool whole = producer < lane->producers && sequence < SEQUENCES &&
		     word == first_word(lane, producer, sequence);
	for (uint64_t at = 0; at < lane->elem_size && whole; at += 8) {
		size_t rest = (size_t)(lane->elem_size - at);
		whole = memcmp(bytes + at, &word, rest < 8 ? rest : 8) == 0;
		word = mix(word + at);
	}
	if (!whole)
		complain(&lane->verdict->torn);
	return whole;
}

static void element_came(const void *elem, struct worker *worker)
{
	struct lane *lane = worker->lane;
	uint64_t word;
	if (!element_whole(elem, lane))
		return;
	memcpy(&word, elem, 8);
	uint64_t producer = word >> 56;
	uint64_t sequence = word >> 16 & 0xffffffffff;
	uint64_t bit = UINT64_C(1) << sequence % 64;
	if ((worker->came[producer][sequence / 64] & bit) != 0)
		complain(&lane->verdict->twice);
	else if (!lane->gives_back && sequence < worker->next[producer])
		complain(&lane->verdict->disordered);
	worker->came[producer][sequence / 64] |= bit;
	worker->next[producer] = sequence + 1;
	tdm_store_relaxed_u64(&worker->count, tdm_load_relaxed_u64(&worker->count) + 1);
}

// All producers have finished, and what they pushed has come.
static bool all_came(const struct lane *lane)
{
	uint64_t pushed = 0;
	uint64_t came = 0;
	if (tdm_load_acquire_u32(&lane->verdict->finished) != lane->producers)
		return false;
	for (unsigned i = 0; i < lane->producers; i++)
		pushed += tdm_load_relaxed_u64(&lane->workers[i].count);
	for (unsigned i = 0; i < lane->consumers; i++)
		came += tdm_load_relaxed_u64(&lane->workers[lane->producers + i].count);
	return came >= pushed;
}

struct note {
	uint64_t id;
	unsigned char text[25];
};
TDM_MPMC_DEFINE(words, uint64_t);
TDM_MPMC_DEFINE(texts, struct note);

#define ATTACH(role, handle, span, elem_size, self)                                                \
	tdm_mpmc_##role##_attach(handle, span, elem_size, self)
#define BARE(h) (h)
#define ELEM void
#define FORM(op) tdm_mpmc_##op
#define NAMED(x) x##_untyped
#include "mpmc_stress_body.h"

#define ATTACH(role, handle, span, elem_size, self) words_##role##_attach(handle, span, self)
#define BARE(h) (h).ring
#define ELEM uint64_t
#define FORM(op) words_##op
#define NAMED(x) x##_words
#include "mpmc_stress_body.h"

#define ATTACH(role, handle, span, elem_size, self) texts_##role##_attach(handle, span, self)
#define BARE(h) (h).ring
#define ELEM struct note
#define FORM(op) texts_##op
#define NAMED(x) x##_texts
#include "mpmc_stress_body.h"

// The kinds of ring that cases take in turn.
static const struct {
	uint64_t elem_size; // 0: typed
	void (*produce)(struct worker *worker, struct tdm_participant *self);
	void (*consume)(struct worker *worker, struct tdm_participant *self);
} kinds[] = {
    {8, produce_untyped, consume_untyped},    {0, produce_texts, consume_texts},
    {100, produce_untyped, consume_untyped},  {0, produce_words, consume_words},
    {1024, produce_untyped, consume_untyped},
};

static struct tdm_object object_of(size_t kind, uint64_t capacity)
{
	return kinds[kind].elem_size != 0 ? tdm_mpmc_object("ring", kinds[kind].elem_size, capacity)
	       : kinds[kind].produce == produce_words ? words_object("ring", capacity)
						      : texts_object("ring", capacity);
}

// --- workers ---

static void work(void *argument)
{
	struct worker *worker = argument;
	struct lane *lane = worker->lane;
	bool produces = worker < lane->workers + lane->producers;
	struct tdm_participant self;
	if (lane->segment != NULL &&
	    !fine(lane, tdm_segment_join(lane->segment, &self, produces ? "out" : "in")))
		return;
	(produces ? lane->produce : lane->consume)(worker, lane->segment != NULL ? &self : NULL);
	if (lane->segment != NULL)
		(void)fine(lane, tdm_participant_leave(&self));
}

static void *work_in_thread(void *argument)
{
	work(argument);
	return NULL;
}

static void run(struct lane *lane, bool processes)
{
	unsigned count = lane->producers + lane->consumers;
	pthread_t threads[2 * SIDE_MAX];
	pid_t children[2 * SIDE_MAX];
	for (unsigned i = 0; i < count; i++) {
		if (processes)
			children[i] = child_start(work, &lane->workers[i]);
		else if (pthread_create(&threads[i], NULL, work_in_thread, &lane->workers[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < count; i++) {
		if (processes)
			child_end(children[i]);
		else
			CHECK(pthread_join(threads[i], NULL) == 0);
	}
}

// --- cases ---

struct setting {
	unsigned producers, consumers;
	uint64_t capacity;
	bool processes;
	bool robust;
	bool gives_back;
	enum way producing, consuming;
	enum tdm_status (*broken_push)(struct tdm_mpmc_producer *producer, const void *elem);
	enum tdm_status (*broken_pop)(struct tdm_mpmc_consumer *consumer, void *elem);
};

static unsigned case_number; // what the cases take in turn is chosen by it
static uint64_t elements;    // that arrived, in all
static uint64_t milliseconds = TDM_UNDER_TSAN ? 100 : 80; // for each case

// Compares what came with what was pushed. How much that was.
static uint64_t count_up(struct lane *lane)
{
	uint64_t total = 0;
	for (unsigned p = 0; p < lane->producers; p++) {
		uint64_t pushed = tdm_load_relaxed_u64(&lane->workers[p].count);
		total += pushed;
		for (uint64_t word = 0; word < (pushed + 63) / 64; word++) {
			uint64_t expected = pushed - word * 64 >= 64
						? UINT64_MAX
						: (UINT64_C(1) << (pushed - word * 64)) - 1;
			uint64_t seen = 0;
			uint64_t twice = 0;
			for (unsigned c = 0; c < lane->consumers; c++) {
				uint64_t came = lane->workers[lane->producers + c].came[p][word];
				twice |= seen & came;
				seen |= came;
			}
			if (twice != 0 || (seen & ~expected) != 0)
				complain(&lane->verdict->twice);
			if (seen != expected)
				complain(&lane->verdict->lost);
		}
	}
	return total;
}

// Runs one setting. The number of elements.
static uint64_t stress(const struct setting *setting, struct verdict *verdict)
{
	struct lane lane;
	struct tdm_segment segment;
	unsigned count = setting->producers + setting->consumers;
	size_t kind = setting->producing == BROKEN ? 2 : case_number % COUNT(kinds);
	struct tdm_object object = object_of(kind, setting->capacity);
	unsigned char *scratch = child_shared(count * SCRATCH_BYTES);
	size_t bytes = 0;
	memset(&lane, 0, sizeof(lane));
	lane.verdict = child_shared(sizeof(*lane.verdict));
	lane.workers = child_shared(count * sizeof(*lane.workers));
	lane.elem_size = object.elem_size;
	lane.salt = mix(case_number + 1);
	lane.least = 200 + setting->capacity;
	lane.until_ns = tdm_deadline_after_ns(milliseconds * TDM_NS_PER_MS_);
	lane.batch = setting->capacity + 3 < 40 ? setting->capacity + 3 : 40;
	lane.producers = setting->producers;
	lane.consumers = setting->consumers;
	lane.holds = setting->capacity >= 64 ? TDM_MPMC_TAKES : 1 + case_number % 2;
	lane.producing = setting->producing;
	lane.consuming = setting->consuming;
	lane.comes_and_goes = case_number % 2 == 0 && setting->producing != BROKEN;
	lane.gives_back = setting->gives_back;
	lane.produce = kinds[kind].produce;
	lane.consume = kinds[kind].consume;
	lane.broken_push = setting->broken_push;
	lane.broken_pop = setting->broken_pop;
	for (unsigned i = 0; i < count; i++) {
		lane.workers[i].lane = &lane;
		lane.workers[i].number = i < lane.producers ? i : i - lane.producers;
		lane.workers[i].seed = mix(case_number * 16 + i + 1);
		lane.workers[i].scratch = scratch + i * SCRATCH_BYTES;
	}
	if (setting->robust) {
		CHECK_STATUS(tdm_segment_create(&segment, &object, 1, NULL), TDM_OK);
		lane.segment = &segment;
		lane.span = tdm_segment_find(&segment, "ring");
	} else {
		object.plain = true;
		bytes = (size_t)tdm_mpmc_object_size_(&object);
		lane.span = tdm_memory(child_shared(bytes), bytes);
		CHECK_STATUS(tdm_mpmc_object_init_(lane.span, &object), TDM_OK);
	}
	run(&lane, setting->processes);
	uint64_t total = count_up(&lane);
	if (setting->robust)
		CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	else
		munmap(lane.span.base, bytes);
	memcpy((void *)verdict, (const void *)lane.verdict, sizeof(*verdict));
	munmap(scratch, count * SCRATCH_BYTES);
	munmap(lane.verdict, sizeof(*lane.verdict));
	munmap(lane.workers, count * sizeof(*lane.workers));
	case_number++;
	return total;
}

static void test_exactly_once(void)
{
	static const uint64_t capacities[] = {2, 4, 64, 1024};
	static const unsigned sides[][2] = {{1, 1}, {2, 2}, {4, 4}, {1, 3}, {4, 1}};
	for (size_t side = 0; side < COUNT(sides); side++)
		for (size_t c = 0; c < COUNT(capacities); c++)
			for (unsigned how = 0; how < 5; how++) {
				struct setting setting = {
				    .producers = sides[side][0],
				    .consumers = sides[side][1],
				    .capacity = capacities[c],
				    .processes = how % 2 != 0,
				    .robust = how / 2 != 0,
				    .gives_back = how == 4,
				    .producing = (enum way)(case_number % (MIXED + 1)),
				    .consuming = how == 4 && case_number % 2 == 0
						     ? TAKE
						     : (enum way)(case_number / 3 % (MIXED + 1)),
				};
				struct verdict verdict;
				char sentence[160];
				snprintf(sentence, sizeof(sentence),
					 "%u to %u %s through a %s ring of %u: each element once, "
					 "%s",
					 setting.producers, setting.consumers,
					 setting.processes ? "processes" : "threads",
					 setting.robust ? "robust" : "plain",
					 (unsigned)setting.capacity,
					 setting.gives_back ? "also what is given back"
							    : "whole, in order");
				tap_case(sentence);
				uint64_t total = stress(&setting, &verdict);
				CHECK(total >= setting.producers * (200 + setting.capacity));
				CHECK_EQ_U64(tdm_load_relaxed_u32(&verdict.torn), 0);
				CHECK_EQ_U64(tdm_load_relaxed_u32(&verdict.lost), 0);
				CHECK_EQ_U64(tdm_load_relaxed_u32(&verdict.twice), 0);
				CHECK_EQ_U64(tdm_load_relaxed_u32(&verdict.disordered), 0);
				CHECK_EQ_U64(tdm_load_relaxed_u32(&verdict.miscounted), 0);
				if (!CHECK_EQ_U64(tdm_load_relaxed_u32(&verdict.odd_status), 0))
					tap_note("%s", tdm_status_name(
							   (enum tdm_status)tdm_load_relaxed_u32(
							       &verdict.last_status)));
				elements += total;
			}
	tap_note("%" PRIu64 " elements in %u cases", elements, case_number);
}

// Between processes only: a race checker would rightly complain about threads that do this.
static void test_broken(void)
{
	static const struct {
		const char *sentence;
		uint64_t capacity;
		enum tdm_status (*push)(struct tdm_mpmc_producer *producer, const void *elem);
		enum tdm_status (*pop)(struct tdm_mpmc_consumer *consumer, void *elem);
	} variants[] = {
	    {"a producer that publishes first and copies then is caught", 8,
	     broken_mpmc_early_sequence, tdm_mpmc_try_pop},
	    {"two producers that claim with a store are caught", 64, broken_mpmc_push_store,
	     tdm_mpmc_try_pop},
	    {"a consumer that releases first and copies then is caught", 2, tdm_mpmc_try_push,
	     broken_mpmc_early_release},
	    {"two consumers that claim with a store are caught", 64, tdm_mpmc_try_push,
	     broken_mpmc_pop_store},
	};
	for (size_t i = 0; i < COUNT(variants); i++) {
		struct setting setting = {
		    .producers = 2,
		    .consumers = 2,
		    .capacity = variants[i].capacity,
		    .processes = true,
		    .producing = BROKEN,
		    .consuming = BROKEN,
		    .broken_push = variants[i].push,
		    .broken_pop = variants[i].pop,
		};
		uint32_t caught = 0;
		tap_case(variants[i].sentence);
		for (unsigned round = 0; round < 50 && caught == 0; round++) {
			struct verdict verdict;
			(void)stress(&setting, &verdict);
			uint32_t torn = tdm_load_relaxed_u32(&verdict.torn);
			uint32_t lost = tdm_load_relaxed_u32(&verdict.lost);
			uint32_t twice = tdm_load_relaxed_u32(&verdict.twice);
			uint32_t disordered = tdm_load_relaxed_u32(&verdict.disordered);
			uint32_t odd = tdm_load_relaxed_u32(&verdict.odd_status);
			caught = torn + lost + twice + disordered + odd;
			tap_note("torn %" PRIu32 ", lost %" PRIu32 ", twice %" PRIu32
				 ", in disorder %" PRIu32 ", refused %" PRIu32,
				 torn, lost, twice, disordered, odd);
		}
		CHECK(caught > 0);
	}
}

int main(void)
{
	bool soak = getenv("TANDEM_SOAK") != NULL;
	alarm(soak ? 7200 : 300);
	for (unsigned round = 0; round < (soak ? 50U : 1U); round++)
		test_exactly_once();
	test_broken();
	return tap_done();
}
