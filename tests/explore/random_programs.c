// SPDX-License-Identifier: BSD-2-Clause
// The reduction against brute force, on programs made at random: both must find the same execution
// graphs (the same number of them, and the same sum of their numbers), the same outcomes and the
// same kinds of failures. And the random search must find nothing that brute force does not.
#include "explore.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum what {
	LOAD,
	STORE,
	ADD,
	SWAP,
	CAS,
	WEAK_CAS,
	FENCE,
	READ,
	WRITE,
	AWAIT, // until the location is not 0
	SPIN,  // the same with an RMW
	MEMBARRIER,
	WAIT,
	WAKE,
	TAKE,
	LOOK,
	DROP,
	LOCK,
	UNLOCK,
	WHATS,
};

static const char *const names[WHATS] = {
    "load", "store",      "add",  "swap", "cas",  "weak cas", "fence", "read", "write", "await",
    "spin", "membarrier", "wait", "wake", "take", "look",     "drop",  "lock", "unlock"};

#define OPS 5
#define LOCATIONS 2
static struct operation {
	enum what what;
	int order, failure;
	unsigned location;
	uint32_t value, expected;
} program[EXPLORE_THREADS][OPS];
static unsigned lengths[EXPLORE_THREADS];

static uint32_t shared[LOCATIONS], plain;
static uint32_t results[EXPLORE_THREADS][OPS];
static uint64_t mutex;

int pthread_mutex_lock(void *); // the runtime's, whatever a mutex is
int pthread_mutex_unlock(void *);

// The compilers want constant orders.
#define ORDERED(call)                                                                              \
	switch (op->order) {                                                                       \
	case __ATOMIC_RELAXED:                                                                     \
		return call(__ATOMIC_RELAXED);                                                     \
	case __ATOMIC_ACQUIRE:                                                                     \
		return call(__ATOMIC_ACQUIRE);                                                     \
	case __ATOMIC_RELEASE:                                                                     \
		return call(__ATOMIC_RELEASE);                                                     \
	case __ATOMIC_ACQ_REL:                                                                     \
		return call(__ATOMIC_ACQ_REL);                                                     \
	default:                                                                                   \
		return call(__ATOMIC_SEQ_CST);                                                     \
	}

static uint32_t do_load(const struct operation *op)
{
	const uint32_t *at = &shared[op->location];
	return op->order == __ATOMIC_RELAXED   ? __atomic_load_n(at, __ATOMIC_RELAXED)
	       : op->order == __ATOMIC_SEQ_CST ? __atomic_load_n(at, __ATOMIC_SEQ_CST)
					       : __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static void do_store(const struct operation *op)
{
	uint32_t *at = &shared[op->location];
	if (op->order == __ATOMIC_RELAXED)
		__atomic_store_n(at, op->value, __ATOMIC_RELAXED);
	else if (op->order == __ATOMIC_SEQ_CST)
		__atomic_store_n(at, op->value, __ATOMIC_SEQ_CST);
	else
		__atomic_store_n(at, op->value, __ATOMIC_RELEASE);
}

static uint32_t do_add(const struct operation *op)
{
#define ADD_IN(order) __atomic_fetch_add(&shared[op->location], op->value, order)
	ORDERED(ADD_IN)
}

static uint32_t do_swap(const struct operation *op)
{
#define SWAP_IN(order) __atomic_exchange_n(&shared[op->location], op->value, order)
	ORDERED(SWAP_IN)
}

#define CAS_IN(success, failure)                                                                   \
	(__atomic_compare_exchange_n(&shared[op->location], &expected, op->value, false, success,  \
				     failure))

static uint32_t do_cas(const struct operation *op)
{
	uint32_t expected = op->expected;
	bool done;
	if (op->what == WEAK_CAS && explore_weak_cas_fails())
		return do_load(op) + 100;
	if (op->order == __ATOMIC_SEQ_CST && op->failure == __ATOMIC_SEQ_CST)
		done = CAS_IN(__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	else if (op->order == __ATOMIC_SEQ_CST)
		done = CAS_IN(__ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	else if (op->order == __ATOMIC_RELAXED)
		done = CAS_IN(__ATOMIC_RELAXED, __ATOMIC_RELAXED);
	else if (op->failure == __ATOMIC_RELAXED)
		done = CAS_IN(__ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
	else
		done = CAS_IN(__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
	return expected + (done ? 50 : 0);
}

static uint32_t fence(const struct operation *op)
{
#define FENCE_IN(order) (__atomic_thread_fence(order), 0U)
	ORDERED(FENCE_IN)
}

static uint32_t perform(const struct operation *op)
{
	int fd = 10 + (int)explore_thread();
	uint32_t value;
	if (op->failure == __ATOMIC_RELAXED)
		explore_await_begin();
	switch (op->what) {
	case LOAD:
		return do_load(op);
	case STORE:
		do_store(op);
		return 0;
	case ADD:
		return do_add(op);
	case SWAP:
		return do_swap(op);
	case CAS:
	case WEAK_CAS:
		return do_cas(op);
	case FENCE:
		return fence(op);
	case READ:
		return plain;
	case WRITE:
		plain = op->value;
		return 0;
	case AWAIT:
		while ((value = do_load(op)) == 0)
			explore_await_change();
		return value;
	case SPIN:
		while (__atomic_exchange_n(&shared[op->location], 1, __ATOMIC_ACQUIRE) == 1)
			explore_await_change();
		return 0;
	case MEMBARRIER:
		return explore_membarrier(2);
	case WAIT:
		return (uint32_t)explore_futex_wait(&shared[op->location], op->expected,
						    UINT64_MAX);
	case WAKE:
		explore_futex_wake(&shared[op->location], 1);
		return 0;
	case TAKE:
		return (uint32_t)explore_seat(0, fd, op->location);
	case LOOK:
		return (uint32_t)explore_seat(1, fd, op->location);
	case DROP:
		return (uint32_t)explore_seat(2, fd, op->location);
	case LOCK:
		(void)pthread_mutex_lock(&mutex);
		return 0;
	default:
		(void)pthread_mutex_unlock(&mutex);
		return 0;
	}
}

static void thread(void)
{
	unsigned self = explore_thread();
	memset(results[self], 0, sizeof(results[self]));
	for (unsigned i = 0; i < lengths[self]; i++)
		results[self][i] = perform(&program[self][i]) + 1;
}

static void setup(void)
{
	// Its own results and its program are each thread's own business.
	explore_ignore(program, sizeof(program));
	explore_ignore(lengths, sizeof(lengths));
	explore_ignore(results, sizeof(results));
	(void)explore_membarrier(4);
}

static uint64_t hash;
static unsigned threads_used;

static void finish(void)
{
	hash = UINT64_C(14695981039346656037);
	for (unsigned i = 0; i < threads_used; i++)
		for (unsigned k = 0; k < lengths[i]; k++)
			hash = (hash ^ results[i][k]) * UINT64_C(1099511628211);
	for (unsigned i = 0; i < LOCATIONS; i++)
		hash = (hash ^ shared[i]) * UINT64_C(1099511628211);
	for (unsigned i = 0; i < threads_used; i++)
		hash = (hash ^ explore_died(i)) * UINT64_C(1099511628211);
	explore_outcome(hash % 509);
}

static uint64_t state;

static unsigned below(unsigned limit)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)((state >> 11) % limit);
}

// A kind of programs: how long, how many threads, which operations.
struct kind {
	const char *sentence;
	unsigned threads, length, programs;
	const char *letters; // one for each operation that may occur, more often if twice
	unsigned can_die, spurious;
};

static const struct kind kinds[] = {
    {"loads and stores", 3, 3, 1500, "lllsss", 0, 0},
    {"two long threads", 2, 5, 1000, "lllsssacf", 0, 0},
    {"read-modify-writes", 3, 2, 1500, "lsasccc", 0, 0},
    {"weak CASes", 2, 3, 800, "lswwa", 0, 1},
    {"seq_cst and fences", 3, 3, 1500, "LLSSlsff", 0, 0},
    {"seq_cst read-modify-writes", 3, 2, 800, "LSACCf", 0, 0},
    {"four threads", 4, 2, 300, "lsLSaf", 0, 0},
    {"plain accesses between", 3, 2, 1500, "lsrwaf", 0, 0},
    {"loops that wait", 3, 2, 1500, "lsAqqpr", 0, 0},
    {"membarrier", 3, 2, 1000, "lslsbbf", 0, 0},
    {"membarrier in two long threads", 2, 5, 800, "llssba", 0, 0},
    {"futexes", 3, 2, 1000, "lssvvkkb", 0, 1},
    {"lock bytes", 3, 3, 600, "lsttood", 0, 0},
    {"lock bytes and death", 3, 2, 600, "lsttooda", 7, 0},
    {"mutexes", 3, 3, 600, "lsLmmmmr", 0, 0},
    {"everything", 3, 2, 2000, "llssLSacwfrwAqpbvktodmL", 1, 1},
};

static void make_operation(struct operation *op, char letter)
{
	static const int orders[] = {__ATOMIC_RELAXED, __ATOMIC_ACQUIRE, __ATOMIC_RELEASE,
				     __ATOMIC_ACQ_REL, __ATOMIC_SEQ_CST};
	memset(op, 0, sizeof(*op));
	op->order = orders[below(5)];
	op->failure = below(2) ? __ATOMIC_RELAXED : __ATOMIC_ACQUIRE;
	op->location = below(LOCATIONS);
	op->value = 1 + below(2);
	op->expected = below(3);
	if (letter == 'f' && op->order == __ATOMIC_RELAXED)
		op->order = __ATOMIC_SEQ_CST;
	if (letter == 'L' || letter == 'S' || letter == 'A' || letter == 'C') {
		op->order = __ATOMIC_SEQ_CST;
		op->failure = below(2) ? __ATOMIC_RELAXED : __ATOMIC_SEQ_CST;
	}
	static const char letters[] = "lLsSaAxcCwfrWqpbvktodmu";
	static const enum what whats[] = {
	    LOAD,  LOAD,  STORE, STORE,      ADD,  ADD,  SWAP, CAS,  CAS,  WEAK_CAS, FENCE, READ,
	    WRITE, AWAIT, SPIN,  MEMBARRIER, WAIT, WAKE, TAKE, LOOK, DROP, LOCK,     UNLOCK};
	op->what = whats[strchr(letters, letter) - letters];
	if (op->what == ADD && below(4) == 0)
		op->what = SWAP;
	if (op->what == READ && below(2) == 0)
		op->what = WRITE;
}

static void make_program(const struct kind *kind)
{
	threads_used = 2 + below(kind->threads - 1);
	for (unsigned i = 0; i < threads_used; i++) {
		lengths[i] = 1 + below(kind->length);
		bool locked = false;
		for (unsigned k = 0; k < lengths[i]; k++) {
			make_operation(&program[i][k],
				       kind->letters[below((unsigned)strlen(kind->letters))]);
			if (program[i][k].what == LOCK) { // and unlock in turn
				program[i][k].what = locked ? UNLOCK : LOCK;
				locked = !locked;
			}
		}
	}
}

static void print_program(void)
{
	static const char *const order_names[] = {"relaxed", "consume", "acquire",
						  "release", "acq_rel", "seq_cst"};
	for (unsigned i = 0; i < threads_used; i++)
		for (unsigned k = 0; k < lengths[i]; k++) {
			const struct operation *op = &program[i][k];
			printf("#   thread %u: %s %c %s/%s value %u expected %u\n", i,
			       names[op->what], "xy"[op->location], order_names[op->order],
			       order_names[op->failure], op -> value, op -> expected);
		}
}

static bool same_set(const struct explore_result *a, const struct explore_result *b)
{
	for (unsigned i = 0; i < a->outcome_count; i++) {
		bool found = false;
		for (unsigned k = 0; k < b->outcome_count; k++)
			found |= a->outcomes[i] == b->outcomes[k];
		if (!found)
			return false;
	}
	return true;
}

// Every line of a's messages is among b's.
static bool same_messages(const char *a, const char *b)
{
	char line[512];
	for (; *a != '\0'; a += strcspn(a, "\n") + 1) {
		snprintf(line, sizeof(line), "%.*s\n", (int)strcspn(a, "\n"), a);
		if (strstr(b, line) == NULL)
			return false;
	}
	return true;
}

static struct explore_result brute, reduced, random_result;
static uint64_t brute_total, reduced_total, compared, skipped, failing;

static bool check(const struct kind *kind)
{
	struct explore_case explored = {.name = "random program",
					.setup = setup,
					.finish = finish,
					.can_die = kind->can_die,
					.deaths = kind->can_die ? 1 : 0,
					.spurious = kind->spurious,
					.random = 30};
	for (unsigned i = 0; i < threads_used; i++)
		explored.threads[i] = thread;
	explore_run(&explored, EXPLORE_KEEP_GOING, 10, &reduced);
	if (!reduced.exhausted) {
		printf("# not exhausted\n");
		return false;
	}
	explore_run(&explored, EXPLORE_BRUTE | EXPLORE_KEEP_GOING, 0.02, &brute);
	if (!brute.exhausted) {
		skipped++;
		return true;
	}
	explore_run(&explored, EXPLORE_RANDOMLY | EXPLORE_KEEP_GOING, 10, &random_result);
	compared++;
	brute_total += brute.executions;
	reduced_total += reduced.executions;
	// An execution that fails ends there, and what would have come later leads to no others: so
	// where one fails, the reduced search only has to find a failure, too.
	bool good = brute.failed == 0
			? reduced.failed == 0 && brute.graphs == reduced.graphs &&
			      brute.sum == reduced.sum && same_set(&brute, &reduced) &&
			      same_set(&reduced, &brute)
			: reduced.failed > 0 && same_messages(reduced.message, brute.message);
	failing += brute.failed > 0;
	if (!good)
		printf("# brute force: %" PRIu64 " graphs, %u outcomes, %s# reduced: %" PRIu64
		       " graphs, %u outcomes, %s",
		       brute.graphs, brute.outcome_count, brute.message[0] ? brute.message : "\n",
		       reduced.graphs, reduced.outcome_count,
		       reduced.message[0] ? reduced.message : "\n");
	if (!same_set(&random_result, &brute) ||
	    !same_messages(random_result.message, brute.message)) {
		printf("# the random search finds something else: %s\n", random_result.message);
		good = false;
	}
	return good;
}

int main(int argc, char **argv)
{
	unsigned times = getenv("TANDEM_SOAK") ? 50 : 1;
	unsigned only = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
	unsigned count = sizeof(kinds) / sizeof(kinds[0]), bad = 0;
	for (unsigned i = 0; i < count; i++) {
		if (only != 0 && only != i + 1)
			continue;
		unsigned wrong = 0;
		compared = skipped = failing = brute_total = reduced_total = 0;
		state = 88172645463325252U + i;
		for (unsigned n = 0; n < kinds[i].programs * times && wrong < 3; n++) {
			make_program(&kinds[i]);
			if (!check(&kinds[i])) {
				printf("# program %u:\n", n);
				print_program();
				wrong++;
			}
		}
		printf("# %" PRIu64 " programs compared (%" PRIu64 " of them fail), %" PRIu64
		       " too large for brute force; %" PRIu64 " executions instead of %" PRIu64
		       "\n",
		       compared, failing, skipped, reduced_total, brute_total);
		printf("%s %u - reduced and brute force agree: %s\n", wrong ? "not ok" : "ok",
		       i + 1, kinds[i].sentence);
		fflush(stdout);
		bad += wrong > 0;
	}
	printf("1..%u\n", count);
	return bad > 0;
}
