// SPDX-License-Identifier: BSD-2-Clause
// Death at every instruction: runs an operation in a forked child, single-steps it with ptrace,
// kills it after k instructions for every k, and asks an audit what the survivors find.
//
//	static void victim(void *state)
//	{
//		struct books *books = state;
//		open, join, attach ...                  // runs at full speed
//		crash_begin();
//		books->status = try_push(...);          // dies at each instruction in here
//		crash_end();
//	}
//	static const struct crash_case push = {"push", setup, victim, NULL, audit, teardown};
//	crash_must_hold(&push, 1, 1);
//
// Every kill has a fresh state from setup(), so what the victim tells the audit lies in memory that
// they share: a segment, or crash_shared(). The audit runs in the tracer and says what is wrong,
// NULL for nothing; `completed` says that the (second) victim had reached crash_end.
//
// A point is the number of instructions before it. With a stride above 1 it kills at every
// stride-th point, and still before and after each system call.
//
// A step costs a trap, some 20 microseconds where that goes through a hypervisor. So an operation
// is stepped once, and its way written down. All victims are forked from one process and find the
// same code at the same addresses, so the others go that way at full speed from breakpoint to
// breakpoint, one at a time: each where the way comes to an address that it has not met since the
// one before, which is once or twice in each round of a loop. Who strays from the way is buried,
// and another one stepped to that point: the clock is read again when a tick comes in between.
//
// With a `second` victim, the second dies at each of its points on what the first left behind. Its
// stride begins at another instruction for each point of the first, so that over all of them no
// instruction is left out.
//
// crash_must_hold_stopped does not kill: the audit runs beside a victim that is stopped at the
// point, which is alive, then the victim goes on to its end, and a second audit looks at both.
//
// Only x86-64 has the stepping; elsewhere, and where ptrace is refused, crash_available() says no.
#ifndef TDM_TESTS_CRASH_CRASH_H
#define TDM_TESTS_CRASH_CRASH_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../support/tap.h"

struct crash_case {
	const char *name;
	void *(*setup)(void);
	void (*victim)(void *state);
	void (*second)(void *state); // NULL: one victim
	const char *(*audit)(void *state, bool completed);
	void (*teardown)(void *state);
};

// The way that an operation takes. At each point: the instruction that comes next.
struct crash_way {
	uint32_t points; // the last one is at crash_end; 0: not known yet
	uint32_t room;
	struct crash_stop {
		uint64_t address;
		uint32_t from; // the point from which one breakpoint, or step, leads here
		uint32_t to;   // the next one on the way to where a victim is sent just now
		uint32_t hops; // from the first point
		bool kept;     // by any stride
	} * stops;
};

struct crash_outcome {
	uint64_t kills;    // victims that died inside the operation and were audited
	uint64_t failures; // audits with a complaint, and victims that did something else
	uint64_t strays;   // points to which a victim was stepped
	char first[512];   // complaint
};

// The points of the first and the second victim.
__attribute__((unused)) static uint32_t crash_now_[2];

#if defined(__x86_64__)

// The tracer tells the two apart by the signal that stops the victim, without a further call.
#	define crash_begin() __asm__ __volatile__("int3" ::: "memory")
#	define crash_end() __asm__ __volatile__("ud2" ::: "memory")

enum crash_end {
	CRASH_STOPPED,   // at a trap, inside
	CRASH_COMPLETED, // at crash_end
	CRASH_STRAYED,   // elsewhere than on the way
	CRASH_LOST,      // it exited, or died of itself
};

// Off: no line for each run.
__attribute__((unused)) static bool crash_notes = true;

// Not NULL: the victim is not killed but goes on after the audit, and this looks at the end.
static const char *(*crash_resumed_)(void *state);

static const struct crash_case *crash_case_;
static struct crash_way crash_ways_[2];

static void crash_hung_(int signal_number)
{
	char line[256];
	(void)signal_number;
	int length =
	    snprintf(line, sizeof(line), "Bail out! %s hangs after a death at %u, then %u\n",
		     crash_case_->name, crash_now_[0], crash_now_[1]);
	if (write(1, line, (size_t)length) < 0)
		_exit(2);
	_exit(1);
}

// Waits for the next stop. False: there will be none, the victim is gone.
static bool crash_wait_(pid_t pid, int *status)
{
	while (waitpid(pid, status, 0) < 0)
		if (errno != EINTR)
			return false;
	return WIFSTOPPED(*status);
}

static void crash_kill_(pid_t pid)
{
	int status = 0;
	kill(pid, SIGKILL);
	while (crash_wait_(pid, &status))
		;
}

// Until it stops by a trap or at crash_end: past other signals it goes on by the same request.
static enum crash_end crash_await_(pid_t pid, enum __ptrace_request request)
{
	int status = 0;
	while (crash_wait_(pid, &status)) {
		if (WSTOPSIG(status) == SIGTRAP)
			return CRASH_STOPPED;
		if (WSTOPSIG(status) == SIGILL)
			return CRASH_COMPLETED;
		ptrace(request, pid, NULL, (void *)(intptr_t)WSTOPSIG(status));
	}
	return CRASH_LOST;
}

static enum crash_end crash_go_(pid_t pid, enum __ptrace_request request)
{
	ptrace(request, pid, NULL, NULL);
	return crash_await_(pid, request);
}

// Starts a victim and runs it up to crash_begin. -1: it never came there.
static pid_t crash_start_(void (*victim)(void *), void *state)
{
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		alarm(0);
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
			_exit(125);
		victim(state);
		_exit(0);
	}
	if (pid < 0 || crash_await_(pid, PTRACE_CONT) != CRASH_STOPPED)
		return -1;
	ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(uintptr_t)PTRACE_O_EXITKILL);
	return pid;
}

#	define CRASH_RIP_ ((void *)offsetof(struct user, regs.rip))

static uint64_t crash_address_(pid_t pid)
{
	return (uint64_t)ptrace(PTRACE_PEEKUSER, pid, CRASH_RIP_, NULL);
}

// Runs a victim to an address other than where it is.
static enum crash_end crash_break_at_(pid_t pid, uint64_t address)
{
	long code = ptrace(PTRACE_PEEKTEXT, pid, (void *)address, NULL);
	long trap = (long)(((unsigned long)code & ~0xffUL) | 0xccUL);
	ptrace(PTRACE_POKETEXT, pid, (void *)address, (void *)trap);
	enum crash_end end = crash_go_(pid, PTRACE_CONT);
	if (end == CRASH_LOST)
		return CRASH_LOST;
	if (end == CRASH_COMPLETED || crash_address_(pid) != address + 1)
		return CRASH_STRAYED;
	ptrace(PTRACE_POKETEXT, pid, (void *)address, (void *)code);
	ptrace(PTRACE_POKEUSER, pid, CRASH_RIP_, (void *)address);
	return CRASH_STOPPED;
}

// Sends a started victim to a point by its way.
static enum crash_end crash_follow_(pid_t pid, struct crash_way *way, uint32_t point)
{
	struct crash_stop *stops = way->stops;
	enum crash_end end = CRASH_STOPPED;
	for (uint32_t i = point; i != 0; i = stops[i].from)
		stops[stops[i].from].to = i;
	for (uint32_t i = 0; i != point && end == CRASH_STOPPED; i = stops[i].to) {
		uint64_t address = stops[stops[i].to].address;
		if (address != stops[i].address)
			end = crash_break_at_(pid, address);
		else // a repeated instruction
			end = crash_go_(pid, PTRACE_SINGLESTEP);
	}
	if (end == CRASH_STOPPED && crash_address_(pid) != stops[point].address)
		return CRASH_STRAYED;
	return end;
}

// Steps a started victim to a point, or to its end.
static enum crash_end crash_step_(pid_t pid, uint32_t point)
{
	enum crash_end end = CRASH_STOPPED;
	for (uint32_t i = 0; i < point && end == CRASH_STOPPED; i++)
		end = crash_go_(pid, PTRACE_SINGLESTEP);
	return end;
}

// Adds a point. One breakpoint leads to it from each of those that come after the last one with the
// same address; the best is the one that takes the fewest itself.
static void crash_add_(struct crash_way *way, uint64_t address, bool kept)
{
	if (way->points == way->room) {
		way->room += 4096;
		way->stops =
		    (struct crash_stop *)realloc(way->stops, way->room * sizeof(*way->stops));
	}
	struct crash_stop *stops = way->stops;
	uint32_t at = way->points++, from = at > 0 ? at - 1 : 0;
	for (uint32_t i = at; i > 0 && stops[i - 1].address != address; i--)
		if (stops[i - 1].hops < stops[from].hops)
			from = i - 1;
	stops[at].address = address;
	stops[at].from = from;
	stops[at].hops = at > 0 ? stops[from].hops + 1 : 0;
	stops[at].kept = kept;
}

// Does the same instruction always come next? After most: not after a branch, a return, an indirect
// jump or call, or a repetition.
static bool crash_is_plain_(const unsigned char *code)
{
	static const unsigned char prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65,
						 0x66, 0x67, 0xf0, 0xf2, 0xf3};
	bool repeats = false;
	for (; memchr(prefixes, *code, sizeof(prefixes)) != NULL || *code >> 4 == 4; code++)
		repeats |= *code == 0xf2 || *code == 0xf3;
	unsigned first = code[0], second = code[1], form = second >> 3 & 7;
	bool branches =
	    first >> 4 == 7 || first >> 2 == 0xe0 >> 2 || (first == 0x0f && second >> 4 == 8);
	bool returns = (first & 0xf6) == 0xc2;
	bool indirect = first == 0xff && form >= 2 && form <= 5;
	bool is_string = first >> 4 == 0xa || first >> 2 == 0x6c >> 2;
	return !branches && !returns && !indirect && !(repeats && is_string);
}

// Steps a started victim through to the end, and writes down its way. Over plain instructions whose
// next one is known from before it passes without a trap.
static enum crash_end crash_measure_(pid_t pid, struct crash_way *way)
{
	static struct {
		uint64_t address, next;
	} known[1U << 16];
	enum crash_end end = CRASH_STOPPED;
	bool kept = true, ahead = false; // of the victim
	uint64_t address = crash_address_(pid);
	while (end == CRASH_STOPPED && way->points < (1U << 16)) {
		const unsigned char *code = (const unsigned char *)address; // ours is the same
		bool calls = code[0] == 0x0f && code[1] == 0x05;
		uint64_t slot = address % (1U << 16);
		crash_add_(way, address, kept || calls);
		kept = calls;
		if (known[slot].address == address) {
			address = known[slot].next;
			ahead = true;
			continue;
		}
		if (ahead)
			end = crash_break_at_(pid, address);
		if (end == CRASH_STOPPED)
			end = crash_go_(pid, PTRACE_SINGLESTEP);
		if (end != CRASH_STOPPED)
			break;
		uint64_t next = crash_address_(pid);
		if (crash_is_plain_(code)) {
			known[slot].address = address;
			known[slot].next = next;
		}
		address = next;
		ahead = false;
	}
	way->stops[way->points - 1].kept = true;
	if (end == CRASH_COMPLETED)
		return CRASH_COMPLETED;
	way->points = 0;
	return end == CRASH_LOST ? CRASH_LOST : CRASH_STRAYED;
}

// The next point of a stride, which begins at `skip`. False: there is none.
static bool crash_next_(const struct crash_way *way, uint32_t *point, unsigned stride,
			unsigned skip)
{
	do
		if (++*point == way->points)
			return false;
	while (*point % stride != skip && !way->stops[*point].kept);
	return true;
}

__attribute__((format(printf, 2, 3))) static void crash_complain_(struct crash_outcome *outcome,
								  const char *format, ...)
{
	if (outcome->failures++ == 0) {
		va_list arguments;
		va_start(arguments, format);
		vsnprintf(outcome->first, sizeof(outcome->first), format, arguments);
		va_end(arguments);
	}
}

static void crash_audited_(const struct crash_case *test, const char *complaint, bool completed,
			   struct crash_outcome *outcome)
{
	if (complaint != NULL)
		crash_complain_(outcome, "%s: killed at %u, then %u%s: %s", test->name,
				crash_now_[0], crash_now_[1], completed ? " (completed)" : "",
				complaint);
}

// What becomes of the last victim, where it is stopped.
static void crash_finish_(const struct crash_case *test, void *state, pid_t pid, bool completed,
			  struct crash_outcome *outcome)
{
	outcome->kills += !completed;
	if (crash_resumed_ == NULL)
		crash_kill_(pid);
	crash_audited_(test, test->audit(state, completed), completed, outcome);
	if (crash_resumed_ == NULL)
		return;
	const char *complaint = "the victim did not go on to its end";
	if (completed || crash_go_(pid, PTRACE_CONT) == CRASH_COMPLETED)
		complaint = crash_resumed_(state);
	crash_audited_(test, complaint, completed, outcome);
	crash_kill_(pid);
}

// Sends so many victims to their points, on a fresh state. One whose way is not known goes to its
// end, and that becomes known.
static enum crash_end crash_send_(const struct crash_case *test, unsigned victims, bool stepping,
				  struct crash_outcome *outcome)
{
	void *state = test->setup();
	enum crash_end end = CRASH_STOPPED;
	for (unsigned i = 0; i < victims && end <= CRASH_COMPLETED; i++) {
		struct crash_way *way = &crash_ways_[i];
		pid_t pid = crash_start_(i == 0 ? test->victim : test->second, state);
		if (pid < 0)
			end = CRASH_LOST;
		else if (way->points == 0)
			end = crash_measure_(pid, way);
		else if (stepping)
			end = crash_step_(pid, crash_now_[i]);
		else
			end = crash_follow_(pid, way, crash_now_[i]);
		if (end <= CRASH_COMPLETED && i == (test->second != NULL))
			crash_finish_(test, state, pid, end == CRASH_COMPLETED, outcome);
		else if (end != CRASH_LOST)
			crash_kill_(pid);
	}
	test->teardown(state);
	return end;
}

// The same, by steps after somebody has strayed. False: there is a victim that does not work.
static bool crash_here_(const struct crash_case *test, unsigned victims,
			struct crash_outcome *outcome)
{
	alarm(60);
	if (crash_send_(test, victims, false, outcome) <= CRASH_COMPLETED)
		return true;
	outcome->strays++;
	if (crash_send_(test, victims, true, outcome) <= CRASH_COMPLETED)
		return true;
	crash_complain_(outcome, "%s: a victim ended by itself before %u, then %u", test->name,
			crash_now_[0], crash_now_[1]);
	return false;
}

// Victim number `i` at each of its points.
static bool crash_points_(const struct crash_case *test, unsigned i, const unsigned *strides,
			  unsigned skip, struct crash_outcome *outcome)
{
	crash_ways_[i].points = 0;
	crash_now_[i] = 0;
	bool works = crash_here_(test, i + 1, outcome);
	for (unsigned number = 0; works; number++) {
		works = test->second != NULL && i == 0
			    ? crash_points_(test, 1, strides, number % strides[1], outcome)
			    : crash_here_(test, i + 1, outcome);
		if (!crash_next_(&crash_ways_[i], &crash_now_[i], strides[i], skip))
			break;
	}
	return works;
}

// Every point of the victim, and for each of them every point of the second if there is one.
static struct crash_outcome crash_run(const struct crash_case *test, unsigned stride,
				      unsigned second_stride)
{
	struct crash_outcome outcome = {0, 0, 0, ""};
	unsigned strides[] = {stride, second_stride};
	struct timespec began, ended;
	clock_gettime(CLOCK_MONOTONIC, &began);
	crash_case_ = test;
	crash_now_[1] = 0;
	signal(SIGALRM, crash_hung_);
	crash_points_(test, 0, strides, 0, &outcome);
	alarm(0);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	double seconds =
	    (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9;
	if (crash_notes)
		tap_note("%s: %u points; %" PRIu64 " %s, %" PRIu64 " strays, %.1f s", test->name,
			 crash_ways_[0].points, outcome.kills,
			 crash_resumed_ != NULL ? "stops" : "kills", outcome.strays, seconds);
	return outcome;
}

static void crash_probe_(void *unused)
{
	(void)unused;
	crash_begin();
}

// Can a child be stepped here?
static bool crash_available(void)
{
	pid_t pid = crash_start_(crash_probe_, NULL);
	if (pid < 0)
		return false;
	enum crash_end end = crash_go_(pid, PTRACE_SINGLESTEP);
	if (end != CRASH_LOST)
		crash_kill_(pid);
	return end == CRASH_STOPPED;
}

#else

#	define crash_begin() ((void)0)
#	define crash_end() ((void)0)

static bool crash_available(void)
{
	return false;
}

static struct crash_outcome crash_run(const struct crash_case *test, unsigned stride,
				      unsigned second_stride)
{
	struct crash_outcome outcome = {0, 0, 0, ""};
	(void)test, (void)stride, (void)second_stride;
	return outcome;
}

__attribute__((unused)) static bool crash_notes = true;
static const char *(*crash_resumed_)(void *state);

#endif

// Checks that no audit complains. Answers how many victims died.
__attribute__((unused)) static uint64_t crash_must_hold(const struct crash_case *test,
							unsigned stride, unsigned second_stride)
{
	struct crash_outcome outcome = crash_run(test, stride, second_stride);
	if (outcome.failures != 0)
		tap_note("%" PRIu64 " complaints, the first: %s", outcome.failures, outcome.first);
	CHECK(outcome.failures == 0);
	CHECK(outcome.kills != 0);
	return outcome.kills;
}

// The same, with a victim that is stopped instead of killed: `resumed` is the second audit.
__attribute__((unused)) static uint64_t crash_must_hold_stopped(const struct crash_case *test,
								const char *(*resumed)(void *state),
								unsigned stride)
{
	crash_resumed_ = resumed;
	uint64_t stops = crash_must_hold(test, stride, stride);
	crash_resumed_ = NULL;
	return stops;
}

// Checks that an audit does complain, of something it says in `expected`: for what is broken on
// purpose.
__attribute__((unused)) static void crash_must_fail(const struct crash_case *test, unsigned stride,
						    const char *expected)
{
	struct crash_outcome outcome = crash_run(test, stride, stride);
	tap_note("caught %" PRIu64 " times, first: %s", outcome.failures, outcome.first);
	CHECK(outcome.failures != 0 && strstr(outcome.first, expected) != NULL);
}

// The same for what is broken when it is stopped.
__attribute__((unused)) static void crash_must_fail_stopped(const struct crash_case *test,
							    const char *(*resumed)(void *state),
							    unsigned stride, const char *expected)
{
	crash_resumed_ = resumed;
	crash_must_fail(test, stride, expected);
	crash_resumed_ = NULL;
}

// Zero-filled memory that victims and audits share.
__attribute__((unused)) static void *crash_shared(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		abort();
	return memory;
}

#endif
