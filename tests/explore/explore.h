// SPDX-License-Identifier: BSD-2-Clause
// The explorer: runs a case under every schedule, and under every value that C11 lets each load
// return, instead of those that this machine happens to produce. A case is a C file that includes
// this first, then the headers it is about, and calls explore_main; meson compiles it with
// -fsanitize=thread and links it with the runtime in this folder, which stands where
// ThreadSanitizer's would. The model, and where it differs from C11, is described in model.c; the
// search in search.c. CONTRIBUTING.md, "From your header to its explorer case", is the way in.
//
//	static struct ring *ring;
//	static void setup(void) { ring = explore_memory(sizeof(*ring)); ... }
//	static void producer(void) { while (!try_push(ring, 1)) explore_await_change(); }
//	static void consumer(void) { ... EXPLORE_CHECK(value == 1, "values come in order"); }
//	static const struct explore_case cases[] = {
//		{.name = "one element", .setup = setup, .threads = {producer, consumer}},
//	};
//	int main(int argc, char **argv) { return explore_main(argc, argv, cases, 1); }
#ifndef TDM_TESTS_EXPLORE_EXPLORE_H
#define TDM_TESTS_EXPLORE_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPLORE_THREADS 8

struct explore_case {
	const char *name; // a sentence without its full stop, as in tap.h; unique in the program

	// setup runs once, alone, before everything; what it leaves in memory is put back before
	// each execution, so that nothing leaks from one into the next. finish runs alone after
	// each complete execution. Both are ordered with the threads as by create and join.
	void (*setup)(void);
	void (*threads[EXPLORE_THREADS])(void);
	void (*finish)(void);

	unsigned can_die;  // bit t: thread t may die before any of its atomic accesses
	unsigned deaths;   // at most so many deaths in an execution
	unsigned spurious; // each thread has so many spurious failures (weak CAS, futex wait)
	unsigned timeouts; // each thread can time out so often while parked on a futex
	unsigned steps;    // an execution of more steps is a livelock; 0: 5000
	unsigned refused;  // bit p: process p is refused membarrier
	unsigned flags;    // EXPLORE_* below
	unsigned random;   // 0: exhaust the space. Otherwise: so many random executions (PCT)
	unsigned char process[EXPLORE_THREADS]; // which process the thread is in; see below

	// NULL: the case must hold in every execution. Otherwise: an execution must fail, and the
	// first message must contain this. All start with one of: "data race", "freed memory",
	// "unmapped memory", "mixed sizes", "deadlock", "livelock", "check failed", "misuse".
	const char *expect;

	// Where not NULL, the values given to explore_outcome, over all complete executions, must
	// be exactly these.
	const uint64_t *outcomes;
	unsigned outcome_count;
};

// When all threads are stuck, those parked with a deadline time out, instead of a deadlock. For
// cases in which the time-out is the recovery, as after a death. Without it a lost wake-up is
// found although the wait is bounded.
#define EXPLORE_TIME_PASSES 1U
// The space may be too large: after --time (5 seconds) go on with 50,000 random executions.
#define EXPLORE_PARTIAL 2U
// A lock byte that is found free orders, but brings no happens-before: what a checker sees that
// does not know the kernel's locks. For the edges that are there for its sake.
#define EXPLORE_LOCKS_UNSEEN 4U

// Explores each case and prints TAP. Options: --list, --case NAME (a part of it), --seed SEED
// (replay one execution, as printed with a failure), --random N, --time SECONDS for each case,
// --brute (no reduction), --verbose. A case ends with its first failure.
int explore_main(int argc, char **argv, const struct explore_case *cases, unsigned count);

// One case without TAP: for tests of the explorer itself.
struct explore_result {
	uint64_t executions; // begun; of these:
	uint64_t complete;   // ran to the end
	uint64_t redundant;  // broken off, because others stand for them
	uint64_t failed;
	uint64_t graphs;      // different ones among the complete
	uint64_t sum;         // of their numbers
	uint64_t nanoseconds; // of CPU time
	bool exhausted;
	char message[512]; // of the first failure, or of all, one in each line
	char seed[4096];   // of the first failure
	uint64_t outcomes[1024];
	unsigned outcome_count;
};
#define EXPLORE_BRUTE 1U      // no reduction
#define EXPLORE_KEEP_GOING 2U // failures are collected
#define EXPLORE_RANDOMLY 4U
void explore_run(const struct explore_case *explored, unsigned how, double seconds,
		 struct explore_result *result);

// ---------------------------------------------------------------------------------------------
// What a case calls

#define EXPLORE_CHECK(cond, message) ((cond) ? (void)0 : explore_fail("check failed: " message))

// Ends the execution; the case fails (or succeeds, by .expect).
__attribute__((noreturn)) void explore_fail(const char *message);

unsigned explore_thread(void);           // who is running: an index in .threads
bool explore_died(unsigned thread);      // for finish and for the survivors' accounts
bool explore_finished(unsigned thread);  // it returned; not: died
void explore_outcome(uint64_t value);    // see .outcomes
unsigned explore_choose(unsigned count); // every value below count is tried; 0 is the usual one

// Zeroed memory aligned to 128 bytes that lasts until explore_free or the execution's end. Reads
// and writes outside, or after the free, are reported. malloc, calloc and free lead here, too.
void *explore_memory(size_t bytes);
void explore_free(void *memory);

// What reports call this range: "ring.head". In setup.
void explore_name(const void *at, size_t bytes, const char *name);
// Accesses to this range are not looked at: caches of constants, counters of tests. In setup.
void explore_ignore(const void *at, size_t bytes);
// Each process has a copy of its own of this range, which starts with what setup left there. In
// setup; bytes is at most 1024, and at is aligned to 8.
void explore_process_local(const void *at, size_t bytes);

// The thread holds the lock byte through fd when the execution begins. In setup.
void explore_seat_holder(unsigned thread, int fd, uint32_t index);

// For loops that wait: "I shall do again what I did since the last such call". Blocks the thread
// until one of the locations read since can give something else. In the exhaustive search a round
// that stored nothing (or, by RMWs, only what was there) is not repeated at all: the executions in
// which it read something else in the first place have the same effects. So such a round must leave
// nothing behind that matters.
void explore_await_change(void);
// The first round begins here. Without it, it began with the thread (or the last await); with it,
// fewer executions are needed.
void explore_await_begin(void);

// ---------------------------------------------------------------------------------------------
// The seams: defined here, so this file comes before any of tandem's.

int explore_futex_wait(const void *word, uint32_t expected, uint64_t deadline_ns); // see below
void explore_futex_wake(const void *word, uint32_t count);
bool explore_membarrier(int command);
uint64_t explore_now_ns(void);
bool explore_weak_cas_fails(void);
int explore_seat(int operation, int fd, uint32_t index);

// futex: asleep until woken; with .spurious and .timeouts it may also return at once, or with the
// deadline passed. A wait and a wake on one word are ordered, as by the kernel's lock.
#define TDM_SEAM_FUTEX_WAIT(word, expected, deadline_ns)                                           \
	((enum tdm_status)explore_futex_wait(word, expected, deadline_ns))
#define TDM_SEAM_FUTEX_WAKE(word, count) explore_futex_wake(word, count)
// A fence on every thread of a process that registered; `.refused` processes are refused both.
#define TDM_SEAM_MEMBARRIER(command) explore_membarrier(command)
// A thread's own clock: it moves only when a wait of the thread times out.
#define TDM_SEAM_NOW_NS() explore_now_ns()
#define TDM_SEAM_CAS_WEAK_FAILS() explore_weak_cas_fails()
#define TDM_SEAM_PAUSE() explore_await_change()
#define TDM_SEAM_YIELD() explore_await_change()
#define TDM_SEAM_SPINS 0U
#define TDM_SEAM_YIELDS 0U
#define TDM_SEAM_TSAN_MUTEX 0
#ifndef TDM_SEAM_FENCED // the shipped path, although this is -fsanitize=thread
#	define TDM_SEAM_FENCED 0
#endif
#define TDM_SEAM_COPY(to, from, size) memcpy(to, from, size)
// Lock bytes, by index; `fd` names who holds one. A thread that dies drops what it took, some time
// later; everything it did before is ordered before a TAKE or LOOK that finds the byte free.
#define TDM_SEAM_SEAT_TAKE(fd, index) ((enum tdm_status)explore_seat(0, fd, index))
#define TDM_SEAM_SEAT_LOOK(fd, index) ((enum tdm_status)explore_seat(1, fd, index))
#define TDM_SEAM_SEAT_DROP(fd, index) ((void)explore_seat(2, fd, index))

#endif
