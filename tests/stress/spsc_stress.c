// SPDX-License-Identifier: BSD-2-Clause
// Many elements through rings of all capacities, by threads and by processes, plain and robust,
// typed and not, in every way to push and to pop, with more rings than CPUs. Every element carries
// its position and a checksum, so that the consumer can tell one that is torn, lost or twice there.
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include <tandem.h>
#include <tandem/base/sanitizer.h>

#include "../support/broken/spsc_batched_head.h"
#include "../support/broken/spsc_early_release.h"
#include "../support/broken/spsc_early_sequence.h"
#include "../support/broken/spsc_off_by_one.h"
#include "../support/child.h"
#include "../support/pattern.h"
#include "../support/tap.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define LANES_MAX 4
#define SCRATCH_BYTES 65536U
#define SOON_NS UINT64_C(2000000)

enum way { TRY, WAIT, BATCH, PLACE, MIXED, BROKEN };

// What the two sides found out. Shared memory.
struct verdict {
	tdm_atomic_u32 finished; // the producer, and `total` is valid
	uint64_t total;
	tdm_atomic_u32 torn, lost, twice, miscounted, odd_status;
	tdm_atomic_u32 last_status;
};

// One ring, its two workers, and how they work. Filled before they start.
struct lane {
	struct tdm_segment *segment; // NULL: plain, in memory of our own
	struct tdm_span span;
	uint64_t elem_size;
	uint64_t salt; // so that no two lanes have equal elements
	uint64_t seed;
	uint64_t least; // elements
	uint64_t until_ns;
	uint64_t batch; // the largest
	enum way producing;
	enum way consuming;
	bool comes_and_goes;
	void (*produce)(struct lane *lane, struct tdm_participant *self);
	void (*consume)(struct lane *lane, struct tdm_participant *self);
	enum tdm_status (*broken_push)(struct tdm_spsc_producer *producer, const void *elem);
	enum tdm_status (*broken_pop)(struct tdm_spsc_consumer *consumer, void *elem);
	struct verdict *verdict;
	unsigned char *scratch[2];
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
	return (tdm_load_relaxed_u32(&verdict->torn) | tdm_load_relaxed_u32(&verdict->lost) |
		tdm_load_relaxed_u32(&verdict->twice) | tdm_load_relaxed_u32(&verdict->miscounted) |
		tdm_load_relaxed_u32(&verdict->odd_status)) != 0;
}

// An element: its position and 16 bits of a checksum in the first word; what follows is made from
// that word.
static uint64_t first_word(const struct lane *lane, uint64_t position)
{
	return position << 16 | (mix(position ^ lane->salt) & 0xffff);
}

static void element_put(unsigned char *elem, const struct lane *lane, uint64_t position)
{
	uint64_t word = first_word(lane, position);
	for (uint64_t at = 0; at < lane->elem_size; at += 8) {
		size_t rest = (size_t)(lane->elem_size - at);
		memcpy(elem + at, &word, rest < 8 ? rest : 8);
		word = mix(word + at);
	}
}

static void element_came(const unsigned char *elem, struct lane *lane, uint64_t expected)
{
	uint64_t first;
	memcpy(&first, elem, 8);
	uint64_t position = first >> 16;
	bool whole = first == first_word(lane, position);
	uint64_t word = first;
	for (uint64_t at = 0; at < lane->elem_size && whole; at += 8) {
		size_t rest = (size_t)(lane->elem_size - at);
		whole = memcmp(elem + at, &word, rest < 8 ? rest : 8) == 0;
		word = mix(word + at);
	}
	if (!whole)
		complain(&lane->verdict->torn);
	else if (position < expected)
		complain(&lane->verdict->twice);
	else if (position > expected)
		complain(&lane->verdict->lost);
}

struct note {
	uint64_t id;
	unsigned char text[25];
};
TDM_SPSC_DEFINE(words, uint64_t);
TDM_SPSC_DEFINE(texts, struct note);

#define ATTACH(role, handle, span, elem_size, self)                                                \
	tdm_spsc_##role##_attach(handle, span, elem_size, self)
#define BARE(h) (h)
#define ELEM void
#define FORM(op) tdm_spsc_##op
#define NAMED(x) x##_untyped
#include "spsc_stress_body.h"

#define ATTACH(role, handle, span, elem_size, self) words_##role##_attach(handle, span, self)
#define BARE(h) (h).ring
#define ELEM uint64_t
#define FORM(op) words_##op
#define NAMED(x) x##_words
#include "spsc_stress_body.h"

#define ATTACH(role, handle, span, elem_size, self) texts_##role##_attach(handle, span, self)
#define BARE(h) (h).ring
#define ELEM struct note
#define FORM(op) texts_##op
#define NAMED(x) x##_texts
#include "spsc_stress_body.h"

// The kinds of ring that lanes take in turn.
static const struct {
	uint64_t elem_size; // 0: typed
	void (*produce)(struct lane *lane, struct tdm_participant *self);
	void (*consume)(struct lane *lane, struct tdm_participant *self);
} kinds[] = {
    {8, produce_untyped, consume_untyped},    {0, produce_texts, consume_texts},
    {100, produce_untyped, consume_untyped},  {0, produce_words, consume_words},
    {1024, produce_untyped, consume_untyped},
};

static struct tdm_object object_of(size_t kind, const char *name, uint64_t capacity)
{
	return kinds[kind].elem_size != 0 ? tdm_spsc_object(name, kinds[kind].elem_size, capacity)
	       : kinds[kind].produce == produce_words ? words_object(name, capacity)
						      : texts_object(name, capacity);
}

// --- workers ---

struct work {
	struct lane *lane;
	bool produces;
};

static void work(void *argument)
{
	const struct work *job = argument;
	struct lane *lane = job->lane;
	struct tdm_participant self;
	if (lane->segment != NULL &&
	    !fine(lane, tdm_segment_join(lane->segment, &self, job->produces ? "out" : "in")))
		return;
	(job->produces ? lane->produce : lane->consume)(lane, lane->segment != NULL ? &self : NULL);
	if (lane->segment != NULL)
		(void)fine(lane, tdm_participant_leave(&self));
}

static void *work_in_thread(void *argument)
{
	work(argument);
	return NULL;
}

static void run(struct lane *lanes, unsigned count, bool processes)
{
	struct work jobs[2 * LANES_MAX];
	pthread_t threads[2 * LANES_MAX];
	pid_t children[2 * LANES_MAX];
	for (unsigned i = 0; i < 2 * count; i++) {
		jobs[i].lane = &lanes[i / 2];
		jobs[i].produces = i % 2 == 0;
		if (processes)
			children[i] = child_start(work, &jobs[i]);
		else if (pthread_create(&threads[i], NULL, work_in_thread, &jobs[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < 2 * count; i++) {
		if (processes)
			child_end(children[i]);
		else
			CHECK(pthread_join(threads[i], NULL) == 0);
	}
}

// --- cases ---

struct setting {
	unsigned rings;
	uint64_t capacity;
	bool processes;
	bool robust;
	enum way producing, consuming;
	enum tdm_status (*broken_push)(struct tdm_spsc_producer *producer, const void *elem);
	enum tdm_status (*broken_pop)(struct tdm_spsc_consumer *consumer, void *elem);
};

static unsigned case_number; // what the cases take in turn is chosen by it
static uint64_t elements;    // that arrived, in all
static uint64_t milliseconds = TDM_UNDER_TSAN ? 60 : 120; // for each case

// Runs one setting. `sum` is what all lanes found.
static void stress(const struct setting *setting, struct verdict *sum)
{
	struct lane lanes[LANES_MAX];
	struct tdm_object objects[LANES_MAX];
	struct tdm_segment segment;
	static const char *const names[LANES_MAX] = {"a", "b", "c", "d"};
	struct verdict *verdicts = child_shared(sizeof(*verdicts) * LANES_MAX);
	unsigned char *scratch = child_shared(2 * LANES_MAX * SCRATCH_BYTES);
	void *memory[LANES_MAX] = {NULL};
	size_t bytes[LANES_MAX];
	bool comes_and_goes = case_number % 2 == 0 && setting->producing != BROKEN;
	uint64_t until_ns = tdm_deadline_after_ns(milliseconds * TDM_NS_PER_MS_);
	memset(lanes, 0, sizeof(lanes));
	for (unsigned i = 0; i < setting->rings; i++) {
		struct lane *lane = &lanes[i];
		size_t kind = setting->producing == BROKEN ? 2 : (case_number + i) % COUNT(kinds);
		objects[i] = object_of(kind, names[i], setting->capacity);
		lane->elem_size = objects[i].elem_size;
		lane->salt = mix(case_number * LANES_MAX + i + 1);
		lane->seed = lane->salt;
		lane->least = 200 + 2 * setting->capacity;
		lane->until_ns = until_ns;
		lane->batch = setting->capacity + 3;
		if (lane->batch > SCRATCH_BYTES / lane->elem_size)
			lane->batch = SCRATCH_BYTES / lane->elem_size;
		lane->producing = setting->producing;
		lane->consuming = setting->consuming;
		lane->comes_and_goes = comes_and_goes;
		lane->produce = kinds[kind].produce;
		lane->consume = kinds[kind].consume;
		lane->broken_push = setting->broken_push;
		lane->broken_pop = setting->broken_pop;
		lane->verdict = &verdicts[i];
		lane->scratch[0] = scratch + 2 * i * SCRATCH_BYTES;
		lane->scratch[1] = scratch + (2 * i + 1) * SCRATCH_BYTES;
		if (setting->robust)
			continue;
		objects[i].plain = true;
		bytes[i] = (size_t)tdm_spsc_object_size_(&objects[i]);
		memory[i] = child_shared(bytes[i]);
		lane->span = tdm_memory(memory[i], bytes[i]);
		CHECK_STATUS(tdm_spsc_object_init_(lane->span, &objects[i]), TDM_OK);
	}
	if (setting->robust) {
		CHECK_STATUS(tdm_segment_create(&segment, objects, setting->rings, NULL), TDM_OK);
		for (unsigned i = 0; i < setting->rings; i++) {
			lanes[i].segment = &segment;
			lanes[i].span = tdm_segment_find(&segment, names[i]);
		}
	}
	run(lanes, setting->rings, setting->processes);
	if (setting->robust)
		CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	memset((void *)sum, 0, sizeof(*sum));
	for (unsigned i = 0; i < setting->rings; i++) {
		const struct verdict *verdict = &verdicts[i];
		sum->total += verdict->total;
		tdm_fetch_add_relaxed_u32(&sum->torn, tdm_load_relaxed_u32(&verdict->torn));
		tdm_fetch_add_relaxed_u32(&sum->lost, tdm_load_relaxed_u32(&verdict->lost));
		tdm_fetch_add_relaxed_u32(&sum->twice, tdm_load_relaxed_u32(&verdict->twice));
		tdm_fetch_add_relaxed_u32(&sum->miscounted,
					  tdm_load_relaxed_u32(&verdict->miscounted));
		tdm_fetch_add_relaxed_u32(&sum->odd_status,
					  tdm_load_relaxed_u32(&verdict->odd_status));
		tdm_store_relaxed_u32(&sum->last_status,
				      tdm_load_relaxed_u32(&verdict->last_status));
		if (!setting->robust)
			munmap(memory[i], bytes[i]);
	}
	munmap(scratch, 2 * LANES_MAX * SCRATCH_BYTES);
	munmap(verdicts, sizeof(*verdicts) * LANES_MAX);
	case_number++;
}

static void test_exactly_once(void)
{
	static const uint64_t capacities[] = {1, 2, 4, 8, 64, 1024, 4096};
	static const unsigned rings[] = {1, 2, 4};
	for (size_t r = 0; r < COUNT(rings); r++)
		for (size_t c = 0; c < COUNT(capacities); c++)
			for (unsigned how = 0; how < 4; how++) {
				struct setting setting = {
				    .rings = rings[r],
				    .capacity = capacities[c],
				    .processes = how % 2 != 0,
				    .robust = how / 2 != 0,
				    .producing = (enum way)(case_number % (MIXED + 1)),
				    .consuming = (enum way)(case_number / 3 % (MIXED + 1)),
				};
				struct verdict sum;
				char sentence[160];
				snprintf(sentence, sizeof(sentence),
					 "%u %s ring%s of %u between %s: each element once, whole, "
					 "in order",
					 setting.rings, setting.robust ? "robust" : "plain",
					 setting.rings == 1 ? "" : "s", (unsigned)setting.capacity,
					 setting.processes ? "processes" : "threads");
				tap_case(sentence);
				stress(&setting, &sum);
				CHECK(sum.total >= setting.rings * (200 + 2 * setting.capacity));
				CHECK_EQ_U64(tdm_load_relaxed_u32(&sum.torn), 0);
				CHECK_EQ_U64(tdm_load_relaxed_u32(&sum.lost), 0);
				CHECK_EQ_U64(tdm_load_relaxed_u32(&sum.twice), 0);
				CHECK_EQ_U64(tdm_load_relaxed_u32(&sum.miscounted), 0);
				if (!CHECK_EQ_U64(tdm_load_relaxed_u32(&sum.odd_status), 0))
					tap_note("%s", tdm_status_name(
							   (enum tdm_status)tdm_load_relaxed_u32(
							       &sum.last_status)));
				elements += sum.total;
			}
	tap_note("%" PRIu64 " elements in %u cases", elements, case_number);
}

// Between processes only: a race checker would rightly complain about threads that do this.
static void test_broken(void)
{
	static const struct {
		const char *sentence;
		uint64_t capacity;
		enum tdm_status (*push)(struct tdm_spsc_producer *producer, const void *elem);
		enum tdm_status (*pop)(struct tdm_spsc_consumer *consumer, void *elem);
	} variants[] = {
	    {"a producer that publishes first and copies then is caught", 8,
	     broken_spsc_early_sequence, tdm_spsc_try_pop},
	    {"a producer that writes over the oldest element is caught", 4, broken_spsc_off_by_one,
	     tdm_spsc_try_pop},
	    {"a consumer that releases first and copies then is caught", 1, tdm_spsc_try_push,
	     broken_spsc_early_release},
	    {"a consumer that comes back to where it once was is caught", 64, tdm_spsc_try_push,
	     broken_spsc_batched_head},
	};
	for (size_t i = 0; i < COUNT(variants); i++) {
		struct setting setting = {
		    .rings = 1,
		    .capacity = variants[i].capacity,
		    .processes = true,
		    .producing = BROKEN,
		    .consuming = BROKEN,
		    .broken_push = variants[i].push,
		    .broken_pop = variants[i].pop,
		};
		uint32_t caught = 0;
		tap_case(variants[i].sentence);
		for (unsigned round = 0; round < 100 && caught == 0; round++) {
			struct verdict sum;
			stress(&setting, &sum);
			uint32_t torn = tdm_load_relaxed_u32(&sum.torn);
			uint32_t lost = tdm_load_relaxed_u32(&sum.lost);
			uint32_t twice = tdm_load_relaxed_u32(&sum.twice);
			uint32_t corrupt = tdm_load_relaxed_u32(&sum.odd_status);
			caught = torn + lost + twice + corrupt;
			tap_note("torn %" PRIu32 ", lost %" PRIu32 ", twice %" PRIu32
				 ", refused as corrupt %" PRIu32,
				 torn, lost, twice, corrupt);
		}
		CHECK(caught > 0);
	}
}

int main(void)
{
	bool soak = getenv("TANDEM_SOAK") != NULL;
	if (soak)
		milliseconds *= 50;
	alarm(soak ? 3600 : 300);
	test_exactly_once();
	test_broken();
	return tap_done();
}
