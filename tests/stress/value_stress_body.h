// SPDX-License-Identifier: BSD-2-Clause
// Values that are read without a lock, under load: threads and processes, as many as there are CPUs
// and twice as many. Every word of a value carries its number, so that a torn one shows; a number
// never comes back; and no change is lost. Include it after the header and
//
//	FORM(op)         the header's untyped function of that name
//	LOCK_OF(value)   what that takes
//	DEFINE(name, T)  its generator
//	VALUE_TEXT       what it is called in sentences
#ifndef TDM_TESTS_STRESS_VALUE_STRESS_BODY_H
#define TDM_TESTS_STRESS_VALUE_STRESS_BODY_H

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <tandem/base/sanitizer.h>

#include "../support/child.h"
#include "../support/tap.h"

#define SMALL_WORDS 2U
#define LARGE_WORDS 100U
#define WRITERS_MAX 4U
#define READERS_MAX 4U

struct small {
	uint64_t words[SMALL_WORDS];
};
struct large {
	uint64_t words[LARGE_WORDS];
};
DEFINE(small_value, struct small);
DEFINE(large_value, struct large);

// What the parties share.
struct area {
	TDM_ALIGNAS(TDM_CACHE_LINE) struct small_value small;
	TDM_ALIGNAS(TDM_CACHE_LINE) struct large_value large;
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u32 writing; // writers who have not ended yet
	tdm_atomic_u64 torn, back, refused;                 // values, and statuses
	tdm_atomic_u64 reads, misses;
	tdm_atomic_u64 changes;
};
static struct area *area;

enum way { CHANGE, WRITE, KEEP };
static const char *const way_names[] = {"change it", "write it",
					"keep the role"}; // KEEP: for a writer who is alone

static struct plan {
	enum way way;
	bool large, broken;
	unsigned writers, readers;
	uint64_t span_ns;
} plan;

static uint64_t milliseconds = TDM_UNDER_TSAN ? 60 : 100; // for each case

static void count(tdm_atomic_u64 *counter)
{
	tdm_fetch_add_relaxed_u64(counter, 1);
}

// Numbers:  writer << 48 | how manieth. Who changes a value numbers without a writer.
#define WRITER_OF(number) ((number) >> 48)

// The same for both sizes.
#define PARTIES(NAME)                                                                              \
	static void NAME##_write_on(unsigned me)                                                   \
	{                                                                                          \
		struct NAME##_value *it = &area->NAME;                                             \
		uint64_t end_ns = tdm_deadline_after_ns(plan.span_ns), number = 0;                 \
		struct NAME value = {{0}};                                                         \
		if (plan.way == KEEP && FORM(lock)(LOCK_OF(it), NULL) != TDM_OK)                   \
			count(&area->refused);                                                     \
		while (tdm_now_ns() < end_ns) {                                                    \
			enum tdm_status status = TDM_OK;                                           \
			if (plan.way == CHANGE) {                                                  \
				status = FORM(lock)(LOCK_OF(it), NULL);                            \
				if (status != TDM_OK ||                                            \
				    NAME##_value_try_read(it, &value) != TDM_OK)                   \
					count(&area->refused);                                     \
				number = value.words[0] + 1;                                       \
				count(&area->changes);                                             \
			} else {                                                                   \
				number = (number + 1) | (uint64_t)me << 48;                        \
			}                                                                          \
			for (unsigned i = 0; i < sizeof(value) / 8; i++)                           \
				value.words[i] = number;                                           \
			status = plan.way == WRITE ? NAME##_value_write(it, NULL, &value)          \
						   : NAME##_value_store(it, NULL, &value);         \
			if (plan.way == CHANGE && FORM(unlock)(LOCK_OF(it), NULL) != TDM_OK)       \
				count(&area->refused);                                             \
			if (status != TDM_OK)                                                      \
				count(&area->refused);                                             \
		}                                                                                  \
		if (plan.way == KEEP && FORM(unlock)(LOCK_OF(it), NULL) != TDM_OK)                 \
			count(&area->refused);                                                     \
		tdm_fetch_sub_relaxed_u32(&area->writing, 1);                                      \
	}                                                                                          \
	static void NAME##_read_on(void)                                                           \
	{                                                                                          \
		const struct NAME##_value *it = &area->NAME;                                       \
		uint64_t last[WRITERS_MAX] = {0}, reads = 0, misses = 0;                           \
		struct NAME value = {{0}};                                                         \
		while (tdm_load_relaxed_u32(&area->writing) != 0) {                                \
			enum tdm_status status = TDM_OK;                                           \
			if (plan.broken)                                                           \
				memcpy(&value, (const void *)it->words, sizeof(value));            \
			else                                                                       \
				status = reads % 2 == 0 ? NAME##_value_try_read(it, &value)        \
							: NAME##_value_read(it, &value);           \
			if (status == TDM_BUSY && reads % 2 == 0) {                                \
				misses++;                                                          \
				reads++;                                                           \
				continue;                                                          \
			}                                                                          \
			if (status != TDM_OK)                                                      \
				count(&area->refused);                                             \
			uint64_t number = value.words[0], writer = WRITER_OF(number);              \
			for (unsigned i = 1; i < sizeof(value) / 8; i++)                           \
				if (value.words[i] != number) {                                    \
					count(&area->torn);                                        \
					break;                                                     \
				}                                                                  \
			if (writer >= WRITERS_MAX || number < last[writer])                        \
				count(&area->back);                                                \
			else                                                                       \
				last[writer] = number;                                             \
			reads++;                                                                   \
		}                                                                                  \
		tdm_fetch_add_relaxed_u64(&area->reads, reads);                                    \
		tdm_fetch_add_relaxed_u64(&area->misses, misses);                                  \
	}

PARTIES(small)
PARTIES(large)

static unsigned party_numbers[WRITERS_MAX + READERS_MAX];

// Writers come first.
static void take_part(void *party)
{
	unsigned me = *(unsigned *)party;
	if (me < plan.writers && plan.large)
		large_write_on(me);
	else if (me < plan.writers)
		small_write_on(me);
	else if (plan.large)
		large_read_on();
	else
		small_read_on();
}

static void *take_part_in_thread(void *party)
{
	take_part(party);
	return NULL;
}

static void run(bool processes)
{
	unsigned parties = plan.writers + plan.readers;
	pthread_t threads[WRITERS_MAX + READERS_MAX];
	pid_t children[WRITERS_MAX + READERS_MAX];
	memset((void *)area, 0, sizeof(*area));
	tdm_store_relaxed_u32(&area->writing, plan.writers);
	for (unsigned i = 0; i < parties; i++) {
		party_numbers[i] = i;
		if (processes)
			children[i] = child_start(take_part, &party_numbers[i]);
		else if (pthread_create(&threads[i], NULL, take_part_in_thread,
					&party_numbers[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < parties; i++)
		if (processes)
			child_end(children[i]);
		else
			CHECK(pthread_join(threads[i], NULL) == 0);
}

static uint64_t last_number(void)
{
	struct small small = {{0}};
	struct large large = {{0}};
	if (plan.large) {
		CHECK_STATUS(large_value_try_read(&area->large, &large), TDM_OK);
		return large.words[0];
	}
	CHECK_STATUS(small_value_try_read(&area->small, &small), TDM_OK);
	return small.words[0];
}

static void stress(bool processes, enum way way, bool large, unsigned crowd)
{
	char text[200];
	unsigned cpus = tdm_backoff_cpu_count_();
	plan = (struct plan){.way = way, .large = large, .span_ns = milliseconds * 1000000};
	plan.writers = way == KEEP ? 1 : cpus * crowd / 2 + 1;
	plan.writers = plan.writers > WRITERS_MAX ? WRITERS_MAX : plan.writers;
	plan.readers = cpus * crowd > READERS_MAX ? READERS_MAX : cpus * crowd;
	snprintf(text, sizeof(text), VALUE_TEXT ": %u %s %s, %u read, values of %u bytes",
		 plan.writers, processes ? "processes" : "threads", way_names[way], plan.readers,
		 (unsigned)(large ? sizeof(struct large) : sizeof(struct small)));
	tap_case(text);
	run(processes);
	CHECK_EQ_U64(tdm_load_relaxed_u64(&area->torn), 0);
	CHECK_EQ_U64(tdm_load_relaxed_u64(&area->back), 0);
	CHECK_EQ_U64(tdm_load_relaxed_u64(&area->refused), 0);
	if (way == CHANGE)
		CHECK_EQ_U64(last_number(), tdm_load_relaxed_u64(&area->changes));
	else
		CHECK(last_number() != 0);
	tap_note("%" PRIu64 " reads, %" PRIu64 " misses", tdm_load_relaxed_u64(&area->reads),
		 tdm_load_relaxed_u64(&area->misses));
}

static int value_stress(void)
{
	if (getenv("TANDEM_SOAK") != NULL)
		milliseconds = 10000;
	area = child_shared(sizeof(*area));
	for (int processes = 0; processes < 2; processes++)
		for (enum way way = CHANGE; way <= KEEP; way++)
			for (int large = 0; large < 2; large++)
				for (unsigned crowd = 1; crowd <= 2; crowd++)
					stress(processes != 0, way, large != 0, crowd);
	if (!TDM_UNDER_TSAN) {
		tap_case(VALUE_TEXT ": a reader that just copies is caught");
		plan = (struct plan){KEEP, true, true, 1, 1, 1000000000};
		run(false);
		CHECK(tdm_load_relaxed_u64(&area->torn) != 0);
	}
	return tap_done();
}

#endif
