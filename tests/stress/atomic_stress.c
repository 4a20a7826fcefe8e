// SPDX-License-Identifier: BSD-2-Clause
// Every family of atomic operations under contention, by threads and by processes, with accounts
// that must balance to the last update; and every release paired with every acquire around plain
// data, so that ThreadSanitizer proves each edge.
//
// The cells of one width lie side by side and are all in use at once: where 8 and 16 bits go
// through the word around them, a family must not disturb its neighbours.
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <tandem/atomic.h>
#include <tandem/base/sanitizer.h>

#include "../support/broken/atomic_lost_updates.h"
#include "../support/broken/atomic_relaxed_publish.h"
#include "../support/tap.h"

#define WORKERS_MAX 8
#define ROUNDS (TDM_UNDER_TSAN ? 2000U : 50000U)
#define MESSAGES 20U // for each pair; a hand-over costs a scheduler's slice on a busy machine
#define SEMAPHORE_LIMIT 3

// What one worker did, for the accounts. Read after it was joined.
struct deed {
	TDM_ALIGNAS(TDM_CACHE_LINE) uint64_t sum, token, xored, least, most, taken;
	uint64_t built, destroyed, refused;
};

struct payload {
	uint64_t a, b;
};

struct area {
	tdm_atomic_u32 arrived, finished;
	uint32_t workers;
	tdm_atomic_u8 cells_u8[4];
	tdm_atomic_u16 cells_u16[4];
	tdm_atomic_u32 cells_u32[4];
	tdm_atomic_u64 cells_u64[4];
	TDM_ALIGNAS(TDM_CACHE_LINE) struct tdm_refcount refcount;
	struct payload payload; // plain: whoever may touch it follows from the atomics
	uint64_t plain[3];
	struct deed deeds[WORKERS_MAX];
};

typedef void worker_function(struct area *area, unsigned me);

static struct area *area;
static bool by_processes;

struct job {
	worker_function *work;
	unsigned me;
};

static void wait_a_little(unsigned *spins)
{
	if (++*spins % (TDM_UNDER_TSAN ? 16 : 128) == 0)
		sched_yield();
}

static void *start(void *argument)
{
	const struct job *job = argument;
	unsigned spins = 0;
	tdm_fetch_add_relaxed_u32(&area->arrived, 1);
	while (tdm_load_relaxed_u32(&area->arrived) < area->workers)
		wait_a_little(&spins);
	job->work(area, job->me);
	return NULL;
}

static void run(unsigned workers, worker_function *even, worker_function *odd)
{
	struct job jobs[WORKERS_MAX];
	pthread_t threads[WORKERS_MAX];
	pid_t children[WORKERS_MAX];

	area->workers = workers;
	tdm_store_relaxed_u32(&area->arrived, 0);
	for (unsigned i = 0; i < workers; i++) {
		jobs[i].work = i % 2 == 0 ? even : odd;
		jobs[i].me = i;
		if (!by_processes) {
			if (pthread_create(&threads[i], NULL, start, &jobs[i]) != 0)
				abort();
			continue;
		}
		children[i] = fork();
		if (children[i] < 0)
			abort();
		if (children[i] == 0) {
			start(&jobs[i]);
			tap_child_exit();
		}
	}
	for (unsigned i = 0; i < workers; i++) {
		int status = -1;
		if (!by_processes)
			CHECK(pthread_join(threads[i], NULL) == 0);
		else
			CHECK(waitpid(children[i], &status, 0) == children[i] && status == 0);
	}
}

static void begin(unsigned workers, const char *sentence)
{
	char text[200];
	snprintf(text, sizeof(text), "%u %s: %s", workers, by_processes ? "processes" : "threads",
		 sentence);
	tap_case(text);
	memset((void *)area, 0, sizeof(*area));
}

// xorshift64*: enough to spread operands, the same on every machine.
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(2685821657736338717);
}

// --- the families, in every width ---

#define DEFINE_FAMILIES(N, T)                                                                      \
	/* cell 0 arithmetic, 1 one bit each, 2 exchange of tokens, 3 CAS */                       \
	static void first_families_##N(struct area *s, unsigned me)                                \
	{                                                                                          \
		tdm_atomic_##N *cells = s->cells_##N;                                              \
		uint64_t random = me + 1;                                                          \
		T sum = 0, token = (T)(me + 1);                                                    \
		bool bits = true;                                                                  \
		for (unsigned i = 0; i < ROUNDS; i++) {                                            \
			const T v = (T)next_random(&random);                                       \
			if (i % 2 == 0) {                                                          \
				tdm_fetch_add_relaxed_##N(&cells[0], v);                           \
				sum = (T)(sum + v);                                                \
			} else {                                                                   \
				tdm_fetch_sub_seq_cst_##N(&cells[0], v);                           \
				sum = (T)(sum - v);                                                \
			}                                                                          \
			bits &= !tdm_bit_set_relaxed_##N(&cells[1], me);                           \
			bits &= tdm_bit_test_relaxed_##N(&cells[1], me);                           \
			bits &= tdm_bit_clear_relaxed_##N(&cells[1], me);                          \
			bits &= !tdm_bit_test_relaxed_##N(&cells[1], me);                          \
			token = tdm_exchange_relaxed_##N(&cells[2], token);                        \
			T seen = tdm_load_relaxed_##N(&cells[3]);                                  \
			if (i % 2 == 0)                                                            \
				while (!tdm_cas_weak_relaxed_relaxed_##N(&cells[3], &seen,         \
									 (T)(seen + 1)))           \
					continue;                                                  \
			else                                                                       \
				while (!tdm_cas_strong_acq_rel_acquire_##N(&cells[3], &seen,       \
									   (T)(seen + 1)))         \
					continue;                                                  \
		}                                                                                  \
		CHECK(bits);                                                                       \
		s->deeds[me].sum = sum;                                                            \
		s->deeds[me].token = token;                                                        \
	}                                                                                          \
	/* cell 0 the least, 1 the most, 2 a semaphore of add-unless, 3 xor */                     \
	static void second_families_##N(struct area *s, unsigned me)                               \
	{                                                                                          \
		tdm_atomic_##N *cells = s->cells_##N;                                              \
		uint64_t random = me + 1, taken = 0;                                               \
		T least = (T)-1, most = 0, xored = 0, last_least = (T)-1, last_most = 0;           \
		bool monotonic = true, limited = true;                                             \
		for (unsigned i = 0; i < ROUNDS; i++) {                                            \
			/* not too far at once, so that the extremes keep moving */                \
			const T v = (T)((T)next_random(&random) / 2 + ROUNDS - i);                 \
			T old = tdm_fetch_min_relaxed_##N(&cells[0], v);                           \
			monotonic &= old <= last_least;                                            \
			last_least = v < old ? v : old;                                            \
			least = v < least ? v : least;                                             \
			const T w = (T)~v;                                                         \
			old = tdm_fetch_max_acq_rel_##N(&cells[1], w);                             \
			monotonic &= old >= last_most;                                             \
			last_most = w > old ? w : old;                                             \
			most = w > most ? w : most;                                                \
			if (next_random(&random) % 2 == 0)                                         \
				taken +=                                                           \
				    tdm_add_unless_relaxed_##N(&cells[2], 1, SEMAPHORE_LIMIT);     \
			else                                                                       \
				taken -= tdm_add_unless_acq_rel_##N(&cells[2], (T)-1, 0);          \
			limited &= tdm_load_relaxed_##N(&cells[2]) <= SEMAPHORE_LIMIT;             \
			tdm_fetch_xor_relaxed_##N(&cells[3], v);                                   \
			xored ^= v;                                                                \
		}                                                                                  \
		CHECK(monotonic);                                                                  \
		CHECK(limited);                                                                    \
		s->deeds[me].least = least;                                                        \
		s->deeds[me].most = most;                                                          \
		s->deeds[me].taken = taken;                                                        \
		s->deeds[me].xored = xored;                                                        \
	}                                                                                          \
	/* three locks side by side: test-and-set, a bit, CAS; each guards one plain counter */    \
	static void locks_##N(struct area *s, unsigned me)                                         \
	{                                                                                          \
		tdm_atomic_##N *cells = s->cells_##N;                                              \
		unsigned spins = 0;                                                                \
		(void)me;                                                                          \
		for (unsigned i = 0; i < ROUNDS / 8; i++) {                                        \
			while (tdm_test_and_set_acquire_##N(&cells[0]))                            \
				wait_a_little(&spins);                                             \
			s->plain[0]++;                                                             \
			tdm_clear_release_##N(&cells[0]);                                          \
			while (tdm_bit_set_acquire_##N(&cells[1], 5))                              \
				wait_a_little(&spins);                                             \
			s->plain[1]++;                                                             \
			tdm_bit_clear_release_##N(&cells[1], 5);                                   \
			T seen = 0;                                                                \
			while (!tdm_cas_weak_acquire_relaxed_##N(&cells[2], &seen, 1)) {           \
				seen = 0;                                                          \
				wait_a_little(&spins);                                             \
			}                                                                          \
			s->plain[2]++;                                                             \
			tdm_fetch_and_release_##N(&cells[2], 0);                                   \
		}                                                                                  \
	}                                                                                          \
	static void all_families_##N(unsigned workers)                                             \
	{                                                                                          \
		const tdm_atomic_##N *cells = area->cells_##N;                                     \
		T sum = 0, xored = 0, least = (T)-1, most = 0;                                     \
		uint64_t tokens = 0, taken = 0;                                                    \
		begin(workers, #N " sums, bits, tokens and CAS counts balance");                   \
		run(workers, first_families_##N, first_families_##N);                              \
		for (unsigned i = 0; i < workers; i++) {                                           \
			sum = (T)(sum + area->deeds[i].sum);                                       \
			tokens |= UINT64_C(1) << area->deeds[i].token;                             \
		}                                                                                  \
		tokens |= UINT64_C(1) << tdm_load_relaxed_##N(&cells[2]);                          \
		CHECK_EQ_U64(tdm_load_relaxed_##N(&cells[0]), sum);                                \
		CHECK_EQ_U64(tdm_load_relaxed_##N(&cells[1]), 0);                                  \
		CHECK_EQ_U64(tokens, (UINT64_C(2) << workers) - 1);                                \
		CHECK_EQ_U64(tdm_load_relaxed_##N(&cells[3]), (T)(workers * ROUNDS));              \
		begin(workers, #N " extremes, semaphores and xor balance");                        \
		tdm_store_relaxed_##N(&area->cells_##N[0], (T)-1);                                 \
		run(workers, second_families_##N, second_families_##N);                            \
		for (unsigned i = 0; i < workers; i++) {                                           \
			const struct deed *deed = &area->deeds[i];                                 \
			least = deed->least < least ? (T)deed->least : least;                      \
			most = deed->most > most ? (T)deed->most : most;                           \
			xored ^= (T)deed->xored;                                                   \
			taken += deed->taken;                                                      \
		}                                                                                  \
		CHECK_EQ_U64(tdm_load_relaxed_##N(&cells[0]), least);                              \
		CHECK_EQ_U64(tdm_load_relaxed_##N(&cells[1]), most);                               \
		CHECK_EQ_U64(tdm_load_relaxed_##N(&cells[2]), taken);                              \
		CHECK_EQ_U64(tdm_load_relaxed_##N(&cells[3]), xored);                              \
		begin(workers, #N " test-and-set, bit and CAS locks exclude");                     \
		run(workers, locks_##N, locks_##N);                                                \
		for (unsigned i = 0; i < 3; i++) {                                                 \
			CHECK_EQ_U64(area->plain[i], (uint64_t)workers *(ROUNDS / 8));             \
			CHECK_EQ_U64(tdm_load_relaxed_##N(&cells[i]), 0);                          \
		}                                                                                  \
	}

DEFINE_FAMILIES(u8, uint8_t)
DEFINE_FAMILIES(u16, uint16_t)
DEFINE_FAMILIES(u32, uint32_t)
DEFINE_FAMILIES(u64, uint64_t)

// --- message passing: plain data handed over and back, each time through another pair ---
// The cell is 0 while the producer owns the payload, 1 while the consumer does.

#define RELEASING(X, ...)                                                                          \
	X(__VA_ARGS__, release)                                                                    \
	X(__VA_ARGS__, acq_rel)                                                                    \
	X(__VA_ARGS__, seq_cst)
#define ACQUIRING(X, ...)                                                                          \
	X(__VA_ARGS__, acquire)                                                                    \
	X(__VA_ARGS__, acq_rel)                                                                    \
	X(__VA_ARGS__, seq_cst)
#define RELEASING_CAS(X, ...)                                                                      \
	X(__VA_ARGS__, release, relaxed)                                                           \
	X(__VA_ARGS__, release, acquire)                                                           \
	X(__VA_ARGS__, acq_rel, relaxed)                                                           \
	X(__VA_ARGS__, acq_rel, acquire)                                                           \
	X(__VA_ARGS__, seq_cst, relaxed)                                                           \
	X(__VA_ARGS__, seq_cst, acquire)                                                           \
	X(__VA_ARGS__, seq_cst, seq_cst)
#define ACQUIRING_CAS(X, ...)                                                                      \
	X(__VA_ARGS__, acquire, relaxed)                                                           \
	X(__VA_ARGS__, acquire, acquire)                                                           \
	X(__VA_ARGS__, acq_rel, relaxed)                                                           \
	X(__VA_ARGS__, acq_rel, acquire)                                                           \
	X(__VA_ARGS__, seq_cst, relaxed)                                                           \
	X(__VA_ARGS__, seq_cst, acquire)                                                           \
	X(__VA_ARGS__, seq_cst, seq_cst)
#define ACQUIRING_FAILED_CAS(X, ...)                                                               \
	X(__VA_ARGS__, acquire, acquire)                                                           \
	X(__VA_ARGS__, release, acquire)                                                           \
	X(__VA_ARGS__, acq_rel, acquire)                                                           \
	X(__VA_ARGS__, seq_cst, acquire)                                                           \
	X(__VA_ARGS__, seq_cst, seq_cst)

// A way to hand over: X(name, what makes the cell `a`, which is `from`, into `to`). Some go up from
// 0 to 1, some down, some both ways.
#define GIVE_RMW(X, N, T, op, v, order) X(N, T, op##_##order, tdm_##op##_##order##_##N(a, v))
#define GIVE_CAS(X, N, T, strength, success, failure)                                              \
	X(N, T, cas_##strength##_##success##_##failure,                                            \
	  while (!tdm_cas_##strength##_##success##_##failure##_##N(a, &from, to)) continue)
#define GIVE_UNLESS(X, N, T, order)                                                                \
	X(N, T, add_unless_##order, CHECK(tdm_add_unless_##order##_##N(a, (T)(to - from), to)))
#define GIVE(X, N, T)                                                                              \
	X(N, T, store_release, tdm_store_release_##N(a, to))                                       \
	X(N, T, store_seq_cst, tdm_store_seq_cst_##N(a, to))                                       \
	RELEASING(GIVE_RMW, X, N, T, exchange, to)                                                 \
	RELEASING(GIVE_RMW, X, N, T, fetch_add, (T)(to - from))                                    \
	RELEASING(GIVE_RMW, X, N, T, fetch_sub, (T)(from - to))                                    \
	RELEASING(GIVE_RMW, X, N, T, fetch_xor, 1)                                                 \
	RELEASING(GIVE_UNLESS, X, N, T)                                                            \
	RELEASING_CAS(GIVE_CAS, X, N, T, weak)                                                     \
	RELEASING_CAS(GIVE_CAS, X, N, T, strong)
#define GIVE_UP(X, N, T)                                                                           \
	RELEASING(GIVE_RMW, X, N, T, fetch_or, 1)                                                  \
	RELEASING(GIVE_RMW, X, N, T, fetch_max, 1)                                                 \
	RELEASING(GIVE_RMW, X, N, T, bit_set, 0)                                                   \
	X(N, T, test_and_set_acq_rel, CHECK(!tdm_test_and_set_acq_rel_##N(a)))                     \
	X(N, T, test_and_set_seq_cst, CHECK(!tdm_test_and_set_seq_cst_##N(a)))
#define GIVE_DOWN(X, N, T)                                                                         \
	RELEASING(GIVE_RMW, X, N, T, fetch_and, 0)                                                 \
	RELEASING(GIVE_RMW, X, N, T, fetch_min, 0)                                                 \
	RELEASING(GIVE_RMW, X, N, T, bit_clear, 0)                                                 \
	X(N, T, clear_release, tdm_clear_release_##N(a))                                           \
	X(N, T, clear_seq_cst, tdm_clear_seq_cst_##N(a))

// A way to see that the cell `a` is `wanted`: X(name, condition). None changes its value, for the
// other side may be at it.
#define SEE_RMW(X, N, T, op, v, order)                                                             \
	X(N, T, op##_##order, tdm_##op##_##order##_##N(a, v) == wanted)
#define SEE_CAS(X, N, T, strength, success, failure)                                               \
	X(N, T, cas_##strength##_##success##_##failure,                                            \
	  (seen = wanted, tdm_cas_##strength##_##success##_##failure##_##N(a, &seen, wanted)))
#define SEE_FAILED_CAS(X, N, T, strength, success, failure)                                        \
	X(N, T, failed_cas_##strength##_##success##_##failure,                                     \
	  (seen = 2,                                                                               \
	   !tdm_cas_##strength##_##success##_##failure##_##N(a, &seen, 3) && seen == wanted))
#define SEE_UNLESS(X, N, T, order)                                                                 \
	X(N, T, add_unless_##order, !tdm_add_unless_##order##_##N(a, 0, wanted))
#define SEE(X, N, T)                                                                               \
	X(N, T, load_acquire, tdm_load_acquire_##N(a) == wanted)                                   \
	X(N, T, load_seq_cst, tdm_load_seq_cst_##N(a) == wanted)                                   \
	X(N, T, bit_test_acquire, tdm_bit_test_acquire_##N(a, 0) == (wanted != 0))                 \
	X(N, T, bit_test_seq_cst, tdm_bit_test_seq_cst_##N(a, 0) == (wanted != 0))                 \
	ACQUIRING(SEE_RMW, X, N, T, fetch_add, 0)                                                  \
	ACQUIRING(SEE_RMW, X, N, T, fetch_sub, 0)                                                  \
	ACQUIRING(SEE_RMW, X, N, T, fetch_and, 1)                                                  \
	ACQUIRING(SEE_RMW, X, N, T, fetch_or, 0)                                                   \
	ACQUIRING(SEE_RMW, X, N, T, fetch_xor, 0)                                                  \
	ACQUIRING(SEE_RMW, X, N, T, fetch_min, 1)                                                  \
	ACQUIRING(SEE_RMW, X, N, T, fetch_max, 0)                                                  \
	ACQUIRING(SEE_UNLESS, X, N, T)                                                             \
	ACQUIRING_CAS(SEE_CAS, X, N, T, weak)                                                      \
	ACQUIRING_CAS(SEE_CAS, X, N, T, strong)                                                    \
	ACQUIRING_FAILED_CAS(SEE_FAILED_CAS, X, N, T, weak)                                        \
	ACQUIRING_FAILED_CAS(SEE_FAILED_CAS, X, N, T, strong)                                      \
	/* what a relaxed read-modify-write makes of a released value still carries the edge */    \
	X(N, T, release_sequence,                                                                  \
	  (tdm_fetch_add_relaxed_##N(a, 0), tdm_load_acquire_##N(a) == wanted))

#define GIVE_FUNCTION(N, T, name, hand_over)                                                       \
	static void give_##name##_##N(tdm_atomic_##N *a, T from, T to)                             \
	{                                                                                          \
		(void)from, (void)to;                                                              \
		hand_over;                                                                         \
	}
#define SEE_FUNCTION(N, T, name, condition)                                                        \
	static bool see_##name##_##N(tdm_atomic_##N *a, T wanted)                                  \
	{                                                                                          \
		T seen = 0;                                                                        \
		(void)seen;                                                                        \
		return condition;                                                                  \
	}
#define GIVE_ROW(N, T, name, hand_over) {#name, give_##name##_##N},
#define SEE_ROW(N, T, name, condition) {#name, see_##name##_##N},
#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define PICK(table, i) (&(table)[(i) % COUNT(table)])

static size_t turn; // which operations meet: written before the workers start

#define DEFINE_MESSAGES(N, T)                                                                      \
	GIVE(GIVE_FUNCTION, N, T)                                                                  \
	GIVE_UP(GIVE_FUNCTION, N, T)                                                               \
	GIVE_DOWN(GIVE_FUNCTION, N, T)                                                             \
	SEE(SEE_FUNCTION, N, T)                                                                    \
	struct give_##N {                                                                          \
		const char *name;                                                                  \
		void (*run)(tdm_atomic_##N * a, T from, T to);                                     \
	};                                                                                         \
	struct see_##N {                                                                           \
		const char *name;                                                                  \
		bool (*run)(tdm_atomic_##N * a, T wanted);                                         \
	};                                                                                         \
	static const struct give_##N up_##N[] = {GIVE(GIVE_ROW, N, T) GIVE_UP(GIVE_ROW, N, T)};    \
	static const struct give_##N down_##N[] = {GIVE(GIVE_ROW, N, T)                            \
						       GIVE_DOWN(GIVE_ROW, N, T)};                 \
	static const struct see_##N see_##N[] = {SEE(SEE_ROW, N, T)};                              \
	static void produce_##N(struct area *s, unsigned me)                                       \
	{                                                                                          \
		const struct give_##N *publish = PICK(up_##N, turn);                               \
		const struct see_##N *empty = PICK(see_##N, turn + COUNT(see_##N) / 2);            \
		unsigned spins = 0;                                                                \
		(void)me;                                                                          \
		for (unsigned i = 1; i <= MESSAGES; i++) {                                         \
			while (!empty->run(&s->cells_##N[1], 0))                                   \
				wait_a_little(&spins);                                             \
			s->payload.a = i;                                                          \
			s->payload.b = ~s->payload.a;                                              \
			publish->run(&s->cells_##N[1], 0, 1);                                      \
		}                                                                                  \
	}                                                                                          \
	static void consume_##N(struct area *s, unsigned me)                                       \
	{                                                                                          \
		const struct give_##N *release = PICK(down_##N, turn);                             \
		const struct see_##N *full = PICK(see_##N, turn);                                  \
		unsigned spins = 0;                                                                \
		bool whole = true;                                                                 \
		(void)me;                                                                          \
		for (unsigned i = 1; i <= MESSAGES; i++) {                                         \
			while (!full->run(&s->cells_##N[1], 1))                                    \
				wait_a_little(&spins);                                             \
			whole &= s->payload.a == i && s->payload.b == ~(uint64_t)i;                \
			s->payload.a = s->payload.b = 0;                                           \
			release->run(&s->cells_##N[1], 1, 0);                                      \
		}                                                                                  \
		if (!CHECK(whole))                                                                 \
			tap_note("  %s -> %s", PICK(up_##N, turn)->name, full->name);              \
	}                                                                                          \
	static void all_messages_##N(void)                                                         \
	{                                                                                          \
		begin(2, #N " every release hands plain data to an acquire");                      \
		for (turn = 0;                                                                     \
		     turn < COUNT(up_##N) || turn < COUNT(down_##N) || turn < COUNT(see_##N);      \
		     turn++)                                                                       \
			run(2, produce_##N, consume_##N);                                          \
	}

DEFINE_MESSAGES(u8, uint8_t)
DEFINE_MESSAGES(u16, uint16_t)
DEFINE_MESSAGES(u32, uint32_t)
DEFINE_MESSAGES(u64, uint64_t)

// --- reference count ---

static void build(struct area *s, struct deed *deed)
{
	deed->built++;
	s->payload.a = deed->built + 1000;
	s->payload.b = ~s->payload.a;
	tdm_refcount_init(&s->refcount, 1);
}

// The last reference is gone: this worker alone may touch the payload now.
static void destroy(struct area *s, struct deed *deed)
{
	CHECK(s->payload.b == ~s->payload.a);
	s->payload.a = s->payload.b = 0;
	deed->destroyed++;
}

// Everybody looks the object up, uses it and lets go. Whoever lets go last destroys it, builds
// another and keeps the builder's reference for a round; until all have used it often enough.
static void use_recycled_object(struct area *s, unsigned me)
{
	struct deed *deed = &s->deeds[me];
	bool builder = me == 0;
	unsigned spins = 0, uses = 0;
	if (builder)
		build(s, deed);
	do {
		bool last = false;
		if (tdm_refcount_get_unless_zero(&s->refcount)) {
			tdm_refcount_get(&s->refcount);
			CHECK(s->payload.a != 0 && s->payload.b == ~s->payload.a);
			last |= tdm_refcount_put(&s->refcount);
			last |= tdm_refcount_put(&s->refcount);
			if (++uses == ROUNDS / 10)
				tdm_fetch_add_relaxed_u32(&s->finished, 1);
		} else {
			deed->refused++;
			wait_a_little(&spins);
		}
		if (builder)
			last |= tdm_refcount_put(&s->refcount);
		builder = false;
		if (last) {
			destroy(s, deed);
			builder = tdm_load_relaxed_u32(&s->finished) < s->workers;
			if (builder) {
				build(s, deed);
				if (deed->built % 16 == 0) // let others find it before a put does
					sched_yield();
			}
		}
	} while (builder || tdm_load_relaxed_u32(&s->finished) < s->workers);
}

static void recycle(unsigned workers)
{
	uint64_t built = 0, destroyed = 0, refused = 0;
	begin(workers,
	      "a counted object is destroyed once, by the last, and found only when built");
	run(workers, use_recycled_object, use_recycled_object);
	for (unsigned i = 0; i < workers; i++) {
		built += area->deeds[i].built;
		destroyed += area->deeds[i].destroyed;
		refused += area->deeds[i].refused;
	}
	tap_note("%" PRIu64 " lives, %" PRIu64 " times nobody there", built, refused);
	CHECK_EQ_U64(built, destroyed);
	CHECK_EQ_U64(tdm_refcount_read(&area->refcount), 0);
	CHECK_EQ_U64(area->payload.a, 0);
}

// Two holders, each with plain data of its own; the last to let go reads both. Nothing but the
// count orders them inside a round, and what only says "go on" is relaxed.
static void share_counted_object(struct area *s, unsigned me)
{
	unsigned spins = 0;
	for (unsigned i = 1; i <= 50 * MESSAGES; i++) {
		if (me == 0) {
			s->payload.a = i;
			tdm_refcount_init(&s->refcount, 1);
			while (tdm_load_relaxed_u32(&s->cells_u32[1]) < i)
				wait_a_little(&spins);
		} else {
			while (!tdm_refcount_get_unless_zero(&s->refcount))
				wait_a_little(&spins);
			CHECK_EQ_U64(s->payload.a, i);
			tdm_store_relaxed_u32(&s->cells_u32[1], i);
		}
		s->plain[me]++;
		if (tdm_refcount_put(&s->refcount)) {
			CHECK(s->plain[0] == i && s->plain[1] == i);
			s->plain[2]++;
			tdm_store_release_u32(&s->cells_u32[0], i);
		}
		while (tdm_load_acquire_u32(&s->cells_u32[0]) < i)
			wait_a_little(&spins);
	}
}

static void share(void)
{
	begin(2, "who finds an object sees it built, who puts it last sees every use");
	run(2, share_counted_object, share_counted_object);
	CHECK_EQ_U64(area->plain[2], 50 * MESSAGES);
}

// More gets than the count can hold, then more puts than there were gets.
static void overflow(struct area *s, unsigned me)
{
	unsigned last = 0;
	(void)me;
	for (unsigned i = 0; i < ROUNDS; i++)
		tdm_refcount_get(&s->refcount);
	for (unsigned i = 0; i < 2 * ROUNDS; i++)
		last += tdm_refcount_put(&s->refcount);
	CHECK_EQ_U64(last, 0);
}

static void saturate(unsigned workers)
{
	begin(workers, "an overflowing reference count saturates and never falls to zero");
	tdm_refcount_init(&area->refcount, TDM_REFCOUNT_MAX - ROUNDS / 2);
	run(workers, overflow, overflow);
	CHECK(tdm_refcount_read(&area->refcount) > TDM_REFCOUNT_MAX);
}

// --- can these tests fail? ---

static uint64_t (*add)(tdm_atomic_u64 *a, uint64_t v);

static uint64_t sound_add(tdm_atomic_u64 *a, uint64_t v)
{
	return tdm_fetch_add_relaxed_u64(a, v);
}

static uint64_t broken_add(tdm_atomic_u64 *a, uint64_t v)
{
	return broken_fetch_add_u64(a, v);
}

static void count(struct area *s, unsigned me)
{
	(void)me;
	for (unsigned i = 0; i < ROUNDS; i++)
		add(&s->cells_u64[0], 1);
}

static uint64_t total(uint64_t (*with)(tdm_atomic_u64 *a, uint64_t v))
{
	add = with;
	tdm_store_relaxed_u64(&area->cells_u64[0], 0);
	run(4, count, count);
	return tdm_load_relaxed_u64(&area->cells_u64[0]);
}

static void lost_updates(void)
{
	begin(4, "a counter made of a load and a store is caught losing updates");
	CHECK_EQ_U64(total(sound_add), 4 * ROUNDS);
	bool caught = false;
	for (int attempt = 0; attempt < 100 && !caught; attempt++)
		caught = total(broken_add) != 4 * ROUNDS;
	CHECK(caught);
}

static void publish_relaxed(struct area *s, unsigned me)
{
	(void)me;
	s->payload.a = 1;
	broken_publish_u32(&s->cells_u32[0]);
}

static void read_published(struct area *s, unsigned me)
{
	unsigned spins = 0;
	(void)me;
	while (tdm_load_acquire_u32(&s->cells_u32[0]) == 0)
		wait_a_little(&spins);
	CHECK_EQ_U64(s->payload.a, 1);
}

// Under ThreadSanitizer this program must be reported; it runs itself with this argument.
static const char planted[] = "--plant-a-race";

static void planted_race(void)
{
	tap_case("ThreadSanitizer reports data published without release");
	if (!TDM_UNDER_TSAN) {
		tap_skip("not built with ThreadSanitizer");
		return;
	}
	char program[] = "/proc/self/exe",
	     options[] = "TSAN_OPTIONS=exitcode=66:log_path=/dev/null";
	char *const arguments[] = {program, (char *)planted, NULL};
	char *const environment[] = {options, NULL};
	pid_t child;
	int status = -1;
	if (CHECK(posix_spawn(&child, program, NULL, NULL, arguments, environment) == 0))
		CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 66);
}

int main(int argc, char **argv)
{
	area = mmap(NULL, sizeof(*area), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		abort();
	if (argc == 2 && strcmp(argv[1], planted) == 0) {
		run(2, publish_relaxed, read_published);
		return 0;
	}
	for (int mode = 0; mode < 2; mode++) {
		by_processes = mode == 1;
		for (unsigned workers = 2; workers <= WORKERS_MAX; workers *= 2) {
			all_families_u8(workers);
			all_families_u16(workers);
			all_families_u32(workers);
			all_families_u64(workers);
			recycle(workers);
			saturate(workers);
		}
		all_messages_u8();
		all_messages_u16();
		all_messages_u32();
		all_messages_u64();
		share();
		lost_updates();
	}
	planted_race();
	return tap_done();
}
