// SPDX-License-Identifier: BSD-2-Clause
// One measured run of a contender: its two sides on a CPU each, in two threads or two processes,
// with the time that a cache line takes there and back, before and after.
#ifndef TDM_BENCH_SUPPORT_DUEL_H
#define TDM_BENCH_SUPPORT_DUEL_H

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <tandem/base/atomic.h>
#include <tandem/base/backoff.h>
#include <tandem/base/clock.h>

#include "contender.h"

namespace duel
{

enum class Sides { threads, processes };

struct Result {
	double ns;
	double before_ns, after_ns; // a cache line's round trip
	uint64_t wrong;
	bool interrupted; // others had one of the CPUs for a while

	// The host has moved the CPUs.
	bool moved() const
	{
		return std::max(before_ns, after_ns) > 1.3 * std::min(before_ns, after_ns);
	}
};

struct alignas(TDM_CACHE_LINE) Line {
	tdm_atomic_u64 word;
};

// What both sides see.
struct Field {
	Line met[2];
	Line ball[2];
	struct alignas(TDM_CACHE_LINE) {
		uint64_t wrong;
		uint64_t end_ns;
		uint64_t seen; // of the ball
		long switches;
	} side[2];
	uint64_t start_ns;
	double probe_ns[2]; // before, after
};

struct Plan {
	const contender *who;
	uint64_t warm, count, shift;
	void *state;
	Field *field;
	size_t cpus[2];
};

inline void give_up(const char *what)
{
	bench_give_up(what, std::strerror(errno));
}

// The first two CPUs this process may use. False: there is only one.
inline bool two_cpus(size_t cpus[2])
{
	cpu_set_t set;
	int found = 0;
	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		give_up("sched_getaffinity");
	for (size_t cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++)
		if (CPU_ISSET(cpu, &set))
			cpus[found++] = cpu;
	return found == 2;
}

inline void pin(size_t cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0)
		give_up("sched_setaffinity");
}

inline void meet(Field *field, int side)
{
	const uint64_t stage = tdm_fetch_add_acq_rel_u64(&field->met[side].word, 1) + 1;
	for (unsigned spins = 0; tdm_load_acquire_u64(&field->met[1 - side].word) < stage; spins++)
		if (spins > 10000)
			sched_yield();
}

// Bare ping-pong, one line each way; the left side serves. Whoever waits does so for a change, not
// for a number, so that a wrong one ends the wait, too.
inline uint64_t rally(Field *field, int side, uint64_t first, uint64_t count)
{
	tdm_atomic_u64 *mine = &field->ball[side].word, *theirs = &field->ball[1 - side].word;
	uint64_t seen = field->side[side].seen, wrong = 0;
	for (uint64_t number = first; number < first + count; number++) {
		if (side == 0)
			tdm_store_release_u64(theirs, number);
		const uint64_t old = seen;
		while ((seen = tdm_load_acquire_u64(mine)) == old)
			continue;
		wrong += seen != number;
		if (side == 1)
			tdm_store_release_u64(theirs, number);
	}
	field->side[side].seen = seen;
	return wrong;
}

// The fastest of some rallies: one in which nobody was interrupted.
inline double probe(Field *field, int side)
{
	const uint64_t rallies = 9, balls = 200;
	uint64_t best = UINT64_MAX;
	tdm_store_release_u64(&field->ball[side].word, 0);
	field->side[side].seen = 0;
	meet(field, side);
	for (uint64_t i = 0; i < rallies; i++) {
		const uint64_t start = tdm_now_ns();
		(void)rally(field, side, 1 + i * balls, balls);
		best = std::min(best, tdm_now_ns() - start);
	}
	meet(field, side);
	return static_cast<double>(best) / static_cast<double>(balls);
}

// How often this thread had to leave its CPU to somebody else.
inline long switches()
{
	struct rusage usage;
	if (getrusage(RUSAGE_THREAD, &usage) != 0)
		give_up("getrusage");
	return usage.ru_nivcsw;
}

inline void play(const Plan &plan, int side)
{
	pin(plan.cpus[side]);
	const contender_side &half = side == 0 ? plan.who->left : plan.who->right;
	Field *field = plan.field;
	// Shifted, the right side expects what the left one never sends: everything is wrong.
	const uint64_t first = side == 0 ? 1 : 1 + plan.shift;
	if (half.enter != nullptr)
		half.enter(plan.state);
	const double before = probe(field, side);
	uint64_t wrong = half.run(plan.state, first, plan.warm);
	const long switches_before = switches();
	meet(field, side);
	if (side == 0)
		field->start_ns = tdm_now_ns();
	wrong += half.run(plan.state, first + plan.warm, plan.count);
	field->side[side].end_ns = tdm_now_ns();
	field->side[side].switches = switches() - switches_before;
	field->side[side].wrong = wrong;
	meet(field, side);
	const double after = probe(field, side);
	if (side == 0) {
		field->probe_ns[0] = before;
		field->probe_ns[1] = after;
	}
	if (half.leave != nullptr)
		half.leave(plan.state);
	meet(field, side); // nobody unmakes what the other has not left
}

template <int side>
void *thread(void *plan)
{
	play(*static_cast<const Plan *>(plan), side);
	return nullptr;
}

// Only threads are pinned: a process whose first thread may use one CPU only takes itself to be
// alone, and does not spin.
inline pthread_t start(Plan *plan, void *(*body)(void *))
{
	pthread_t id;
	errno = pthread_create(&id, nullptr, body, plan);
	if (errno != 0)
		give_up("pthread_create");
	return id;
}

inline pid_t fork_right(Plan *plan)
{
	const pid_t child = fork();
	if (child < 0)
		give_up("fork");
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pthread_join(start(plan, thread<1>), nullptr);
		_exit(0);
	}
	return child;
}

// `shift` is 0, but in the self-test.
inline Result run(const contender &who, Sides sides, uint64_t count, uint64_t shift)
{
	Plan plan = {};
	plan.who = &who;
	plan.warm = count / 16 + 1;
	plan.count = count;
	plan.shift = shift;
	if (!two_cpus(plan.cpus))
		bench_give_up("bench", "needs two CPUs");
	void *memory =
	    mmap(nullptr, sizeof(Field), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		give_up("mmap");
	Field *field = plan.field = static_cast<Field *>(memory);
	plan.state = who.make();
	if (sides == Sides::processes) {
		const pid_t child = fork_right(&plan);
		const pthread_t left = start(&plan, thread<0>);
		int status;
		if (waitpid(child, &status, 0) != child)
			give_up("waitpid");
		if (status != 0)
			bench_give_up(who.name, "the consuming process died");
		pthread_join(left, nullptr);
	} else {
		const pthread_t right = start(&plan, thread<1>);
		pthread_join(start(&plan, thread<0>), nullptr);
		pthread_join(right, nullptr);
	}
	who.unmake(plan.state);
	const uint64_t end = std::max(field->side[0].end_ns, field->side[1].end_ns);
	const Result result = {static_cast<double>(end - field->start_ns), field->probe_ns[0],
			       field->probe_ns[1], field->side[0].wrong + field->side[1].wrong,
			       field->side[0].switches + field->side[1].switches != 0};
	munmap(memory, sizeof(Field));
	return result;
}

} // namespace duel

#endif
