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
// A point is {stretch, offset}: system calls before it, and instructions since the last of them.
// One step costs some 20 microseconds, so the engine steps an operation once, and writes down where
// it went. To a point it then runs at full speed: by system calls to the stretch, by a breakpoint
// to the last instruction before the point that is new in the stretch, and by steps (in loops) from
// there. With a stride above 1 it kills at every stride-th instruction, and still before and after
// each system call.
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

struct crash_point {
	uint32_t stretch; // system calls before
	uint32_t offset;  // instructions since the last of them
};

#define CRASH_STRETCHES 4096

// The way an operation takes, instruction by instruction.
struct crash_shape {
	uint32_t stretches;
	uint32_t instructions;
	uint32_t start[CRASH_STRETCHES + 1]; // of a stretch, in the arrays below
	uint64_t *address;
	uint32_t *fresh; // the last offset up to here whose address had not been met in the stretch
	uint32_t room;
};

struct crash_outcome {
	uint64_t kills;    // victims that died inside the operation and were audited
	uint64_t failures; // audits with a complaint, and victims that did something else
	uint64_t steps;
	uint64_t strays; // did not go the way that was measured, died at a system call instead
	char first[512]; // complaint
};

// Where the first and the second victim are killed just now.
static struct crash_point crash_now_first_ __attribute__((unused));
static struct crash_point crash_now_second_ __attribute__((unused));

#if defined(__x86_64__)

// The tracer tells the two apart by the signal that stops the victim, without a further call.
#	define crash_begin() __asm__ __volatile__("int3" ::: "memory")
#	define crash_end() __asm__ __volatile__("ud2" ::: "memory")

enum crash_end {
	CRASH_STEPPED,   // still inside, stopped after as many steps as wanted
	CRASH_COMPLETED, // at crash_end
	CRASH_LOST,      // it exited, or died of itself
};

// Off: no line for each run.
__attribute__((unused)) static bool crash_notes = true;

// Not NULL: the victim is not killed but goes on after the audit, and this looks at the end.
static const char *(*crash_resumed_)(void *state);

static const char *crash_now_; // the case, for the alarm

static void crash_hung_(int signal_number)
{
	char line[256];
	(void)signal_number;
	int length =
	    snprintf(line, sizeof(line), "Bail out! %s hangs after a death at %u+%u, then %u+%u\n",
		     crash_now_, crash_now_first_.stretch, crash_now_first_.offset,
		     crash_now_second_.stretch, crash_now_second_.offset);
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

// Starts a victim and runs it up to crash_begin. -1: it never came there.
static pid_t crash_start_(void (*victim)(void *), void *state)
{
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		alarm(0);
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
			_exit(125);
		raise(SIGSTOP);
		victim(state);
		_exit(0);
	}
	if (pid < 0)
		return -1;
	int status = 0;
	if (!crash_wait_(pid, &status))
		return -1;
	ptrace(PTRACE_SETOPTIONS, pid, NULL,
	       (void *)(uintptr_t)(PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD));
	long deliver = 0;
	for (;;) {
		ptrace(PTRACE_CONT, pid, NULL, (void *)deliver);
		if (!crash_wait_(pid, &status))
			return -1;
		if (WSTOPSIG(status) == SIGTRAP)
			return pid;
		deliver = WSTOPSIG(status);
	}
}

// Lets the victim go on by one request, past other signals, until it stops for that request.
static enum crash_end crash_go_(pid_t pid, enum __ptrace_request request, int wanted)
{
	long deliver = 0;
	for (;;) {
		int status = 0;
		ptrace(request, pid, NULL, (void *)deliver);
		if (!crash_wait_(pid, &status))
			return CRASH_LOST;
		if (WSTOPSIG(status) == wanted)
			return CRASH_STEPPED;
		if (WSTOPSIG(status) == SIGILL)
			return CRASH_COMPLETED;
		deliver = WSTOPSIG(status);
	}
}

// Runs a started victim to `address`. False: it stopped before, at a system call or its end.
static bool crash_break_at_(pid_t pid, uint64_t address, enum crash_end *end)
{
	errno = 0;
	long code = ptrace(PTRACE_PEEKTEXT, pid, (void *)address, NULL);
	long trap = (long)(((unsigned long)code & ~0xffUL) | 0xccUL);
	if (errno != 0 || ptrace(PTRACE_POKETEXT, pid, (void *)address, (void *)trap) != 0)
		return false;
	int status = 0;
	long deliver = 0;
	for (;;) {
		ptrace(PTRACE_SYSCALL, pid, NULL, (void *)deliver);
		*end = CRASH_LOST;
		if (!crash_wait_(pid, &status))
			return false;
		*end = WSTOPSIG(status) == SIGILL ? CRASH_COMPLETED : CRASH_STEPPED;
		if (WSTOPSIG(status) == SIGTRAP)
			break;
		if (WSTOPSIG(status) == SIGILL || WSTOPSIG(status) == (SIGTRAP | 0x80)) {
			ptrace(PTRACE_POKETEXT, pid, (void *)address, (void *)code);
			return false;
		}
		deliver = WSTOPSIG(status);
	}
	struct user_regs_struct registers;
	ptrace(PTRACE_POKETEXT, pid, (void *)address, (void *)code);
	ptrace(PTRACE_GETREGS, pid, NULL, &registers);
	registers.rip = address;
	ptrace(PTRACE_SETREGS, pid, NULL, &registers);
	return true;
}

// Runs a started victim to a point.
static enum crash_end crash_run_to_(pid_t pid, const struct crash_shape *shape,
				    struct crash_point point, struct crash_outcome *outcome)
{
	enum crash_end end = CRASH_STEPPED;
	for (uint32_t i = 0; i < 2 * point.stretch && end == CRASH_STEPPED; i++)
		end = crash_go_(pid, PTRACE_SYSCALL, SIGTRAP | 0x80);
	uint32_t done = shape->fresh[shape->start[point.stretch] + point.offset];
	uint64_t address = shape->address[shape->start[point.stretch] + done];
	if (end == CRASH_STEPPED && done > 0 && !crash_break_at_(pid, address, &end)) {
		outcome->strays++;
		return end;
	}
	for (; done < point.offset && end == CRASH_STEPPED; done++) {
		end = crash_go_(pid, PTRACE_SINGLESTEP, SIGTRAP);
		outcome->steps++;
	}
	return end;
}

// The addresses of one stretch that have been met.
struct crash_met {
	uint64_t address[1U << 17];
	uint32_t stretch[1U << 17];
};

// Is the address new in this stretch? Also writes it down.
static bool crash_is_new_(struct crash_met *met, uint64_t address, uint32_t stretch)
{
	uint64_t at = (address * UINT64_C(0x9e3779b97f4a7c15)) >> 47;
	while (met->stretch[at] == stretch && met->address[at] != address)
		at = (at + 1) % (1U << 17);
	bool is_new = met->stretch[at] != stretch;
	met->stretch[at] = stretch;
	met->address[at] = address;
	return is_new;
}

// Steps a started victim through to the end, writes down the way, and kills it there.
static bool crash_measure_(pid_t pid, struct crash_shape *shape)
{
	static struct crash_met met;
	memset(met.stretch, 0, sizeof(met.stretch));
	shape->stretches = 1;
	shape->instructions = 0;
	shape->start[0] = 0;
	enum crash_end end = CRASH_STEPPED;
	uint32_t fresh = 0;
	while (end == CRASH_STEPPED && shape->stretches < CRASH_STRETCHES &&
	       shape->instructions < (1U << 16)) {
		uint32_t at = shape->instructions++;
		if (at == shape->room) {
			shape->room += 4096;
			shape->address = (uint64_t *)realloc(shape->address, shape->room * 8U);
			shape->fresh = (uint32_t *)realloc(shape->fresh, shape->room * 4U);
		}
		struct user_regs_struct registers;
		ptrace(PTRACE_GETREGS, pid, NULL, &registers);
		long code = ptrace(PTRACE_PEEKTEXT, pid, (void *)registers.rip, NULL);
		bool system_call = (code & 0xffff) == 0x050f;
		if (crash_is_new_(&met, registers.rip, shape->stretches))
			fresh = at - shape->start[shape->stretches - 1];
		shape->address[at] = registers.rip;
		shape->fresh[at] = fresh;
		end = crash_go_(pid, PTRACE_SINGLESTEP, SIGTRAP);
		if (system_call) {
			shape->start[shape->stretches++] = shape->instructions;
			fresh = 0;
		}
	}
	shape->start[shape->stretches] = shape->instructions;
	if (end != CRASH_LOST)
		crash_kill_(pid);
	return end == CRASH_COMPLETED;
}

// The point after `point`. False: that was the last. The last of a stretch is its system call, of
// the last stretch crash_end; the first and the last are never left out, `skip` (below `stride`)
// are, behind the first.
static bool crash_next_(const struct crash_shape *shape, struct crash_point *point, unsigned stride,
			unsigned skip)
{
	uint32_t last = shape->start[point->stretch + 1] - shape->start[point->stretch] - 1;
	if (point->offset < last) {
		uint32_t step = point->offset == 0 && skip > 0 ? skip : stride;
		point->offset = last - point->offset > step ? point->offset + step : last;
		return true;
	}
	point->stretch++;
	point->offset = 0;
	return point->stretch < shape->stretches;
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

// Stops one victim at `point` of `state`. -1: it ended before. *completed says how far it came.
static pid_t crash_stop_at_(const struct crash_case *test, void (*victim)(void *), void *state,
			    const struct crash_shape *shape, struct crash_point point,
			    struct crash_outcome *outcome, bool *completed)
{
	pid_t pid = crash_start_(victim, state);
	enum crash_end end = pid < 0 ? CRASH_LOST : crash_run_to_(pid, shape, point, outcome);
	if (end == CRASH_LOST) {
		crash_complain_(outcome, "%s: the victim ended by itself before %u+%u", test->name,
				point.stretch, point.offset);
		return -1;
	}
	*completed = end == CRASH_COMPLETED;
	outcome->kills += !*completed;
	return pid;
}

static void crash_complain_of_(const struct crash_case *test, const char *complaint, bool completed,
			       struct crash_outcome *outcome)
{
	if (complaint != NULL)
		crash_complain_(outcome, "%s: killed at %u+%u%s, then %u+%u: %s", test->name,
				crash_now_first_.stretch, crash_now_first_.offset,
				completed ? " (completed)" : "", crash_now_second_.stretch,
				crash_now_second_.offset, complaint);
}

// What becomes of a stopped victim.
static void crash_finish_(const struct crash_case *test, void *state, pid_t pid, bool completed,
			  struct crash_outcome *outcome)
{
	if (crash_resumed_ == NULL) {
		crash_kill_(pid);
		crash_complain_of_(test, test->audit(state, completed), completed, outcome);
		return;
	}
	crash_complain_of_(test, test->audit(state, completed), completed, outcome);
	if (completed || crash_go_(pid, PTRACE_CONT, SIGILL) == CRASH_STEPPED)
		crash_complain_of_(test, crash_resumed_(state), completed, outcome);
	else
		crash_complain_of_(test, "the victim did not go on to its end", completed, outcome);
	crash_kill_(pid);
}

// The inner loop: the victim (or, with a second, that one) at each of its points. `first` is where
// the first of two died before, `skip` how many instructions of each stretch a stride leaves out
// at first.
static void crash_points_(const struct crash_case *test, const struct crash_point *first,
			  const struct crash_shape *first_shape, unsigned skip, unsigned stride,
			  struct crash_shape *shape, struct crash_outcome *outcome)
{
	void (*victim)(void *) = first != NULL ? test->second : test->victim;
	struct crash_point *now = first != NULL ? &crash_now_second_ : &crash_now_first_;
	struct crash_point point = {0, 0};
	bool measured = false;
	*now = point;
	for (;;) {
		alarm(60);
		bool completed = false;
		void *state = test->setup();
		if (first != NULL) {
			pid_t dies = crash_stop_at_(test, test->victim, state, first_shape, *first,
						    outcome, &completed);
			if (dies < 0) {
				test->teardown(state);
				return;
			}
			crash_kill_(dies);
		}
		if (!measured) {
			// Once to the end: measures, and audits what comes after all of it.
			pid_t pid = crash_start_(victim, state);
			measured = pid >= 0 && crash_measure_(pid, shape);
			if (!measured) {
				crash_complain_(outcome, "%s: the victim never completed",
						test->name);
				test->teardown(state);
				return;
			}
			if (crash_resumed_ == NULL)
				crash_complain_of_(test, test->audit(state, true), true, outcome);
			test->teardown(state);
			continue;
		}
		pid_t stopped =
		    crash_stop_at_(test, victim, state, shape, point, outcome, &completed);
		if (stopped >= 0)
			crash_finish_(test, state, stopped, completed, outcome);
		test->teardown(state);
		if (!crash_next_(shape, &point, stride, skip))
			break;
		*now = point;
	}
}

// Every point of the victim, and for each of them every point of the second if there is one.
static struct crash_outcome crash_run(const struct crash_case *test, unsigned stride,
				      unsigned second_stride)
{
	struct crash_outcome outcome = {0, 0, 0, 0, ""};
	static struct crash_shape shape, second_shape;
	struct timespec began, ended;
	clock_gettime(CLOCK_MONOTONIC, &began);
	memset(&crash_now_first_, 0, sizeof(crash_now_first_));
	memset(&crash_now_second_, 0, sizeof(crash_now_second_));
	crash_now_ = test->name;
	signal(SIGALRM, crash_hung_);
	if (test->second == NULL) {
		crash_points_(test, NULL, NULL, 0, stride, &shape, &outcome);
	} else {
		struct crash_point point = {0, 0};
		void *state = test->setup();
		pid_t pid = crash_start_(test->victim, state);
		if (pid < 0 || !crash_measure_(pid, &shape))
			crash_complain_(&outcome, "%s: the victim never completed", test->name);
		test->teardown(state);
		if (outcome.failures == 0) {
			unsigned skip = 0;
			do {
				crash_now_first_ = point;
				crash_points_(test, &point, &shape, skip, second_stride,
					      &second_shape, &outcome);
				skip = (skip + 1) % second_stride;
			} while (crash_next_(&shape, &point, stride, 0));
		}
	}
	alarm(0);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	double seconds =
	    (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9;
	if (crash_notes)
		tap_note("%s: %u instructions, %u system calls; %" PRIu64 " %s, %" PRIu64
			 " steps, %" PRIu64 " strays, %.1f s",
			 test->name, shape.instructions - 1, shape.stretches - 1, outcome.kills,
			 crash_resumed_ != NULL ? "stops" : "kills", outcome.steps, outcome.strays,
			 seconds);
	return outcome;
}

// Can a child be stepped here?
static bool crash_available(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
			_exit(125);
		raise(SIGSTOP);
		_exit(0);
	}
	int status = 0;
	bool stopped = pid > 0 && crash_wait_(pid, &status);
	bool stepped = stopped && crash_go_(pid, PTRACE_SINGLESTEP, SIGTRAP) == CRASH_STEPPED;
	if (stopped)
		crash_kill_(pid);
	return stepped;
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
	struct crash_outcome outcome = {0, 0, 0, 0, ""};
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
