// SPDX-License-Identifier: BSD-2-Clause
// What is done with a lock, for C and C++: alone, and in a crowd of threads. LOCK_CONTENDER makes
// both loops for one lock, in one file with it, so that nobody pays a call that another does not.
#ifndef TDM_BENCH_CONTENDERS_LOCK_LOOPS_H
#define TDM_BENCH_CONTENDERS_LOCK_LOOPS_H

#include <stdlib.h>
#include <string.h>

#include <tandem/base/atomic.h>
#include <tandem/base/clock.h>

#include "../support/contender.h"

#define LOCK_BYTES 128

// What all threads see.
struct lock_field {
	TDM_ALIGNAS(TDM_CACHE_LINE) unsigned char lock[LOCK_BYTES];
	TDM_ALIGNAS(TDM_CACHE_LINE) uint64_t first, second; // under the lock: equal
	uint64_t shift;                                     // 0, but in the self-test
	uint64_t junk;
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u32 go; // 1: begin, 2: end
	uint64_t section_steps;
};

// What one thread of a crowd had.
struct lock_lap {
	TDM_ALIGNAS(TDM_CACHE_LINE) uint64_t rounds;
	uint64_t waited_ns, longest_ns; // for the lock
	uint64_t wrong;
};

struct lock_contender {
	const char *name;
	const char *peer;
	void (*init)(struct lock_field *field);
	void (*crowd)(struct lock_field *field, struct lock_lap *lap);
	struct contender alone;
};

static inline uint64_t lock_dwell(uint64_t steps)
{
	uint64_t value = steps;
	for (uint64_t i = 0; i < steps; i++)
		value = value * UINT64_C(6364136223846793005) + 1;
	return value;
}

static inline uint64_t lock_idle(void *state, uint64_t first, uint64_t count)
{
	(void)state, (void)first, (void)count;
	return 0;
}

static inline struct lock_field *lock_field_make(void)
{
	void *memory = aligned_alloc(TDM_CACHE_LINE, sizeof(struct lock_field));
	if (memory == TDM_NULL)
		bench_give_up("locks", "no memory");
	memset(memory, 0, sizeof(struct lock_field));
	return TDM_CAST(struct lock_field *, memory);
}

// LOCK and UNLOCK take a T *, INIT too.
#define LOCK_CONTENDER(id, name, peer, T, INIT, LOCK, UNLOCK)                                      \
	static void id##_init(struct lock_field *field)                                            \
	{                                                                                          \
		INIT(TDM_AT_(T, field->lock, 0));                                                  \
	}                                                                                          \
	static void *id##_make(void)                                                               \
	{                                                                                          \
		struct lock_field *field = lock_field_make();                                      \
		id##_init(field);                                                                  \
		return field;                                                                      \
	}                                                                                          \
	/* Nobody else is there, and so nothing changes but in the self-test. */                   \
	static uint64_t id##_alone(void *state, uint64_t first, uint64_t count)                    \
	{                                                                                          \
		struct lock_field *field = TDM_CAST(struct lock_field *, state);                   \
		T *lock = TDM_AT_(T, field->lock, 0);                                              \
		uint64_t wrong = 0, expected = first - 1;                                          \
		for (uint64_t i = 0; i < count; i++) {                                             \
			LOCK(lock);                                                                \
			wrong += field->first != expected;                                         \
			UNLOCK(lock);                                                              \
		}                                                                                  \
		field->first += count;                                                             \
		return wrong;                                                                      \
	}                                                                                          \
	static void id##_crowd(struct lock_field *field, struct lock_lap *lap)                     \
	{                                                                                          \
		T *lock = TDM_AT_(T, field->lock, 0);                                              \
		const uint64_t steps = field->section_steps;                                       \
		uint64_t asked_ns = tdm_now_ns();                                                  \
		do {                                                                               \
			LOCK(lock);                                                                \
			const uint64_t waited_ns = tdm_now_ns() - asked_ns;                        \
			lap->wrong += field->first++ != field->second + field->shift;              \
			field->junk += lock_dwell(steps);                                          \
			field->second++;                                                           \
			UNLOCK(lock);                                                              \
			lap->rounds++;                                                             \
			lap->waited_ns += waited_ns;                                               \
			if (waited_ns > lap->longest_ns)                                           \
				lap->longest_ns = waited_ns;                                       \
			asked_ns = tdm_now_ns();                                                   \
		} while (tdm_load_relaxed_u32(&field->go) != 2);                                   \
	}                                                                                          \
	extern const struct lock_contender id;                                                     \
	const struct lock_contender id = {name,                                                    \
					  peer,                                                    \
					  id##_init,                                               \
					  id##_crowd,                                              \
					  {name,                                                   \
					   peer,                                                   \
					   0,                                                      \
					   id##_make,                                              \
					   free,                                                   \
					   {TDM_NULL, TDM_NULL, lock_idle},                        \
					   {TDM_NULL, TDM_NULL, id##_alone}}}

#endif
