// SPDX-License-Identifier: BSD-2-Clause
// Which thread goes next, which store is read, whether a thread dies: every question that has more
// than one answer is a choice (index, count), 0 being the usual one: the same thread goes on, the
// newest store is read, nothing fails. A list of choices is an execution, and a seed.
//
// The exhaustive search is depth-first over these lists. Two reductions, which random_programs.c
// checks against brute force:
//
//   DPOR        (Abdulla, Aronis, Jonsson and Sagonas, "Optimal Dynamic Partial Order Reduction",
//               POPL 2014, source sets.) At first one thread is tried at each choice. When an event
//               turns out to depend on an earlier one of another thread, some thread that leads to
//               the other order is added at the earlier one's choice. A load and a later store that
//               it could have read are such a pair, a store and a later load are not: the load may
//               read an older store all the same. Two stores are not either: the second one may go
//               before the first in the modification order.
//   Sleep sets  A thread whose next operation has been tried at a choice sleeps while others are
//               tried there, until one of them does something dependent. After a store to a
//               location that it will read, it wakes only half: it has to read a store that is
//               newer than its sleep. (Not so for seq_cst: whether it may read the new store
//               depends on what came before, in an order that may have to be reversed first.)
//
// A membarrier depends on everything that several threads use, in both directions; but where one
// order allows all that the other one does (model.c), only that one is tried. Two-sided pairs of a
// store and a load are what is left.
//
// Loops that wait: see explore_await_change. Random search is PCT (Burckhardt, Kothari, Musuvathi
// and Nagarakatte, "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", ASPLOS
// 2010) for threads; loads prefer the newest store.
#include "model.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct thread threads[THREADS + 1];
struct thread *current = &threads[MAIN];
unsigned thread_count;
enum phase phase;
const struct explore_case *running_case;
bool recording, reduced, fresh;

static enum mode { EXHAUSTIVE, BRUTE, RANDOM, REPLAY } mode;

struct node {
	uint64_t allowed; // of the answers
	uint16_t count, index;
	// Where a thread is chosen:
	bool schedules;
	uint8_t chosen, stay, enabled, eligible, wanted, done;
};
static struct node *nodes;
static int node_count, node_room; // of this execution so far
static int replayed;              // the choices before this are those of the last execution
static int event_node;

static unsigned asleep, half_awake; // threads
static int32_t asleep_since[THREADS], read_since[THREADS];

static struct fiber control; // the program's own stack
static struct fiber *advanced_by;
static enum result { RUNNING, COMPLETE, REDUNDANT, FAILED } result;
static unsigned steps;
static void (*alone)(void);

// For REPLAY.
static uint16_t *choices;
static int choice_count;
static bool replay_resumes;

// For RANDOM.
static uint64_t random_state;
static unsigned priority[THREADS];
static unsigned change_at[8], changes, longest = 64;

static uint64_t random_next(void)
{
	uint64_t x = (random_state += UINT64_C(0x9e3779b97f4a7c15));
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

// ---------------------------------------------------------------------------------------------
// Switching

static void switch_to(struct thread *to)
{
	struct thread *from = current;
	from->saved_errno = errno;
	current = to;
	model_switch_process(to->process);
	fiber_switch(&from->fiber, &to->fiber);
	errno = current->saved_errno;
}

// Ends the execution.
__attribute__((noreturn)) static void leave(enum result how)
{
	result = how;
	struct fiber *from = &current->fiber;
	current = &threads[MAIN];
	fiber_switch(from, &control);
	abort();
}

void search_failed(void)
{
	leave(FAILED);
}

static void fiber_of_thread(void)
{
	running_case->threads[current->index]();
	search_ended();
}

static void fiber_alone(void)
{
	alone();
	leave(COMPLETE);
}

static enum result run_alone(void (*function)(void), enum phase as)
{
	if (function == NULL)
		return COMPLETE;
	phase = as;
	alone = function;
	current = &threads[MAIN];
	current->depth = 0;
	fiber_reset(&current->fiber, fiber_alone);
	fiber_switch(&control, &current->fiber);
	return result;
}

// Runs a thread from where it is to its next operation, on behalf of the running one.
static void advance(struct thread *thread)
{
	struct thread *by = current;
	struct fiber *outer = advanced_by;
	struct fiber *from = by->index == MAIN ? &control : &by->fiber;
	int saved = errno;
	advanced_by = from;
	current = thread;
	model_switch_process(thread->process);
	fiber_switch(from, &thread->fiber);
	advanced_by = outer;
	current = by;
	errno = saved;
	model_switch_process(by->process);
}

// ---------------------------------------------------------------------------------------------
// Choices

static struct node *new_node(void)
{
	if (node_count == node_room) {
		node_room = node_room ? 2 * node_room : 1024;
		nodes = realloc(nodes, (size_t)node_room * sizeof(*nodes));
		if (nodes == NULL)
			abort();
	}
	return &nodes[node_count++];
}

static void record(int count, int index)
{
	struct node *node = new_node();
	memset(node, 0, sizeof(*node));
	node->count = (uint16_t)count;
	node->index = (uint16_t)index;
}

static int next_replayed(int count)
{
	int index = node_count < choice_count ? choices[node_count] : 0;
	if (index >= count)
		index = 0;
	record(count, index);
	return index;
}

int search_choose(int count, unsigned long long allowed)
{
	if (count <= 1)
		return 0;
	if (mode == REPLAY)
		return next_replayed(count);
	if (mode == RANDOM) {
		uint64_t random = random_next();
		int index = random % 4 != 0 ? 0 : (int)((random >> 8) % (unsigned)count);
		record(count, index);
		return index;
	}
	if (node_count < replayed) {
		struct node *node = &nodes[node_count++];
		fresh = node_count >= replayed;
		return node->index;
	}
	struct node *node = new_node();
	memset(node, 0, sizeof(*node));
	node->count = (uint16_t)count;
	node->allowed = count < 64 ? allowed & ((1ULL << count) - 1) : allowed;
	node->index = (uint16_t)__builtin_ctzll(node->allowed);
	fresh = true;
	return node->index;
}

int32_t search_node(void)
{
	return event_node;
}

int32_t search_stamp(const struct thread *thread)
{
	return mode == EXHAUSTIVE ? read_since[thread->index] : -1;
}

bool search_resumes(void)
{
	return mode == RANDOM || (mode == REPLAY && replay_resumes);
}

void search_performed(const struct op *op, bool wrote)
{
	current->pending = false;
	for (unsigned left = asleep; left != 0; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctz(left);
		const struct op *next = &threads[i].op;
		bool readable = wrote && next->reads && next->location == op->location;
		if (dependent(op, current->index, next, i) ||
		    (readable && (next->sc || next->object != NULL))) {
			asleep &= ~(1U << i);
			half_awake &= ~(1U << i);
		} else if (readable) {
			half_awake |= 1U << i;
		}
	}
}

// `event` and what thread `self` does now, with `trace` before it, could come in the other order.
void search_race(int event, unsigned self, clock8 trace)
{
	const struct event *first = &events[event];
	if (first->node < 0)
		return;
	struct node *node = &nodes[first->node];
	unsigned seen = 1U << first->thread, initials = 0;
	for (int i = event + 1; i < event_count - 1; i++) {
		unsigned thread = events[i].thread;
		if (seen >> thread & 1)
			continue;
		seen |= 1U << thread;
		clock8 known = events[i].trace;
		known[thread] = 0;
		if (!any(known > first->before))
			initials |= 1U << thread;
	}
	if (!(seen >> self & 1)) {
		trace[self] = 0;
		if (!any(trace > first->before))
			initials |= 1U << self;
	}
	if (initials & (node->wanted | (node->enabled & ~node->eligible)))
		return;
	initials &= node->enabled;
	if (initials == 0)
		node->wanted |= node->eligible;
	else if (initials >> self & 1)
		node->wanted |= (uint8_t)(1U << self);
	else
		node->wanted |= (uint8_t)(initials & -initials);
}

// A half-awake thread can run when there is something new for it to read.
static bool has_new(unsigned index)
{
	int options[64];
	const struct op *op = &threads[index].op;
	int count = model_options(&threads[index], op, options, 64);
	for (int i = 0; i < count; i++)
		if (op->location->order[options[i]]->stamp >= asleep_since[index])
			return true;
	return false;
}

static unsigned nth(unsigned enabled, unsigned stay, int index)
{
	if (enabled >> stay & 1) {
		if (index == 0)
			return stay;
		index--;
		enabled &= ~(1U << stay);
	}
	for (; index > 0; index--)
		enabled &= enabled - 1;
	return (unsigned)__builtin_ctz(enabled);
}

static int index_of(unsigned enabled, unsigned stay, unsigned chosen)
{
	int index = 0;
	while (nth(enabled, stay, index) != chosen)
		index++;
	return index;
}

static unsigned pick_random(unsigned enabled)
{
	for (unsigned i = 0; i < changes; i++)
		if (change_at[i] == steps && current->index < THREADS)
			priority[current->index] = i;
	unsigned best = (unsigned)__builtin_ctz(enabled);
	for (unsigned i = 0; i < thread_count; i++)
		if (enabled >> i & 1 && priority[i] > priority[best])
			best = i;
	return best;
}

static unsigned pick_first(unsigned enabled, unsigned stay)
{
	unsigned eligible = enabled & ~asleep;
	for (unsigned left = enabled & half_awake; left != 0; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctz(left);
		if (has_new(i))
			eligible |= 1U << i;
	}
	if (eligible == 0)
		leave(REDUNDANT);
	unsigned chosen = nth(eligible, stay, 0);
	if ((enabled & (enabled - 1)) == 0)
		return chosen;
	event_node = node_count;
	struct node *node = new_node();
	memset(node, 0, sizeof(*node));
	node->schedules = true;
	node->enabled = (uint8_t)enabled;
	node->eligible = (uint8_t)eligible;
	node->stay = (uint8_t)stay;
	node->chosen = (uint8_t)chosen;
	node->count = (uint16_t)__builtin_popcount(enabled);
	node->index = (uint16_t)index_of(enabled, stay, chosen);
	node->wanted = (uint8_t)(mode == BRUTE ? enabled : 1U << chosen);
	fresh = true;
	return chosen;
}

static unsigned pick(unsigned enabled, unsigned stay)
{
	bool alone_left = (enabled & (enabled - 1)) == 0;
	event_node = -1;
	if (mode == REPLAY)
		return alone_left ? nth(enabled, stay, 0)
				  : nth(enabled, stay, next_replayed(__builtin_popcount(enabled)));
	if (mode == RANDOM) {
		if (alone_left)
			return nth(enabled, stay, 0);
		unsigned chosen = pick_random(enabled);
		record(__builtin_popcount(enabled), index_of(enabled, stay, chosen));
		return chosen;
	}
	unsigned chosen;
	if (!alone_left && node_count < replayed) {
		event_node = node_count;
		struct node *node = &nodes[node_count++];
		unsigned sleepy = mode == BRUTE ? 0 : node->done;
		for (unsigned left = sleepy; left != 0; left &= left - 1) {
			unsigned i = (unsigned)__builtin_ctz(left);
			asleep |= 1U << i;
			half_awake &= ~(1U << i);
			asleep_since[i] = event_count;
		}
		chosen = node->chosen;
		fresh = node_count >= replayed;
	} else {
		chosen = pick_first(enabled, stay);
	}
	read_since[chosen] = asleep >> chosen & 1 ? asleep_since[chosen] : -1;
	asleep &= ~(1U << chosen);
	half_awake &= ~(1U << chosen);
	return chosen;
}

// ---------------------------------------------------------------------------------------------
// Scheduling

static unsigned all_enabled(void)
{
	unsigned enabled = 0;
	for (unsigned i = 0; i < thread_count; i++) {
		struct thread *thread = &threads[i];
		if (!model_enabled(thread))
			continue;
		if (thread->state == AWAITS) {
			model_resume(thread);
			thread->state = RUNS;
			thread->awaiting = 0;
			thread->overflow = false;
			thread->wrote = false;
		}
		if (!thread->pending && thread != current)
			advance(thread);
		if (model_enabled(thread))
			enabled |= 1U << i;
	}
	return enabled;
}

// Nobody can go on. If it returns, time has passed and somebody can.
static void unstick(void)
{
	struct thread *first = NULL;
	bool ended = true, stuck = true;
	for (unsigned i = 0; i < thread_count; i++) {
		struct thread *thread = &threads[i];
		if (thread->state == ENDED)
			continue;
		ended = false;
		if (thread->state == AWAITS && !model_newest_awaited(thread))
			stuck = false;
		if (thread->state == PARKED && thread->deadline != UINT64_MAX &&
		    (first == NULL || thread->deadline < first->deadline))
			first = thread;
	}
	if (ended)
		leave(COMPLETE);
	// In others the waiting one reads what is newest. It was not broken off at once: what was
	// read before has to meet the stores of others first.
	if (!stuck)
		leave(REDUNDANT);
	if (first != NULL && running_case->flags & EXPLORE_TIME_PASSES) {
		first->state = RUNS;
		first->timed_out = true;
		first->now = first->deadline;
		return;
	}
	char text[256];
	size_t length = 0;
	text[0] = '\0';
	for (unsigned i = 0; i < thread_count; i++) {
		const struct thread *thread = &threads[i];
		if (thread->state == ENDED)
			continue;
		length += (size_t)snprintf(text + length, sizeof(text) - length, "%sthread %u %s",
					   length ? ", " : "", i,
					   thread->state == PARKED   ? "sleeps on a futex"
					   : thread->state == AWAITS ? "awaits a change"
								     : "waits for a mutex");
		char title[32];
		snprintf(title, sizeof(title), "thread %u", i);
		struct thread *by = current;
		current = &threads[i];
		report_stack(title, stack_keep(NULL));
		current = by;
	}
	fail("deadlock: %s", text);
}

void search_step(void)
{
	if (++steps > (running_case->steps ? running_case->steps : 5000))
		fail("livelock: no end after %u steps (a loop that waits needs "
		     "explore_await_change)",
		     steps - 1);
}

// The running thread has said what it does next, waits, or has ended: who goes?
static void schedule(void)
{
	struct thread *self = current;
	if (advanced_by != NULL) {
		fiber_switch(&self->fiber, advanced_by);
		return; // chosen meanwhile, or resumed
	}
	unsigned enabled;
	while ((enabled = all_enabled()) == 0)
		unstick();
	if (enabled >> self->index & 1 && !self->pending)
		return; // it goes on at once, to its next operation
	search_step();
	struct thread *next = &threads[pick(enabled, self->index)];
	if (next != self)
		switch_to(next);
}

void search_schedule(void)
{
	current->pending = true;
	schedule();
}

void search_ended(void)
{
	current->state = ENDED;
	current->pending = false;
	schedule();
	abort();
}

// Blocks the running thread, whose state says why.
void search_block(void)
{
	schedule();
}

static void begin_thread(unsigned i)
{
	struct thread *thread = &threads[i];
	struct fiber fiber = thread->fiber;
	size_t frames = offsetof(struct thread, frames);
	memset(thread, 0, frames);
	thread->fiber = fiber;
	thread->index = (uint8_t)i;
	thread->process = running_case->process[i];
	thread->depth = 0;
	thread->spurious = running_case->spurious;
	thread->timeouts = running_case->timeouts;
	thread->now = 1000;
	thread->saved_errno = 0;
	fiber_reset(&thread->fiber, fiber_of_thread);
}

static enum result run_threads(void)
{
	for (unsigned i = 0; i < thread_count; i++)
		begin_thread(i);
	phase = EXPLORING;
	current = &threads[MAIN];
	result = RUNNING;
	for (unsigned i = 0; i < thread_count; i++) {
		advance(&threads[i]);
		if (result != RUNNING)
			return result; // it failed before its first operation
	}
	unsigned enabled = all_enabled();
	if (enabled == 0)
		return COMPLETE; // nobody did any operation
	steps++;
	current = &threads[pick(enabled, MAIN)];
	model_switch_process(current->process);
	fiber_switch(&control, &current->fiber);
	return result;
}

static enum result execute(void)
{
	failure[0] = '\0';
	node_count = 0;
	steps = 0;
	asleep = half_awake = 0;
	advanced_by = NULL;
	reduced = mode == EXHAUSTIVE;
	fresh = replayed == 0;
	model_begin_execution();
	report_begin();
	enum result how = run_threads();
	model_switch_process(0);
	if (how == COMPLETE)
		how = run_alone(running_case->finish, FINISH);
	return how;
}

// ---------------------------------------------------------------------------------------------
// The next execution

static bool next_alternative(struct node *node)
{
	if (!node->schedules) {
		uint64_t left = node->index >= 63 ? 0 : node->allowed >> (node->index + 1);
		if (left == 0)
			return false;
		node->index = (uint16_t)(node->index + 1 + __builtin_ctzll(left));
		return true;
	}
	node->done |= (uint8_t)(1U << node->chosen);
	unsigned left = node->wanted & node->eligible & ~(unsigned)node->done;
	if (left == 0)
		return false;
	node->chosen = (uint8_t)__builtin_ctz(left);
	node->index = (uint16_t)index_of(node->enabled, node->stay, node->chosen);
	return true;
}

// False: there is none.
static bool backtrack(void)
{
	while (node_count > 0 && !next_alternative(&nodes[node_count - 1]))
		node_count--;
	replayed = node_count;
	return node_count > 0;
}

static void prepare_random(uint64_t seed)
{
	random_state = seed;
	for (unsigned i = 0; i < THREADS; i++)
		priority[i] = 1000 + (unsigned)(random_next() % 1000) * THREADS + i;
	changes = 1 + (unsigned)(random_next() % 5);
	for (unsigned i = 0; i < changes; i++)
		change_at[i] = 1 + (unsigned)(random_next() % longest);
}

// ---------------------------------------------------------------------------------------------
// Seeds: the choices, a run of n zeros as zn, and before them whether waiting loops go on.

static void write_seed(char *seed, size_t room)
{
	bool resumes = search_resumes();
	size_t length = (size_t)snprintf(seed, room, "%c", resumes ? 'r' : 'x');
	int last = node_count;
	while (last > 0 && nodes[last - 1].index == 0)
		last--;
	for (int i = 0; i < last && length < room; i++) {
		int zeros = 0;
		while (nodes[i].index == 0) {
			zeros++;
			i++;
		}
		if (zeros > 0)
			length += (size_t)snprintf(seed + length, room - length, ".z%d", zeros);
		if (length < room)
			length +=
			    (size_t)snprintf(seed + length, room - length, ".%u", nodes[i].index);
	}
	if (length >= room)
		snprintf(seed, room, "too long");
}

static void push_choice(int *room, unsigned index)
{
	if (choice_count == *room) {
		*room = *room ? 2 * *room : 256;
		choices = realloc(choices, (size_t)*room * sizeof(*choices));
		if (choices == NULL)
			abort();
	}
	choices[choice_count++] = (uint16_t)index;
}

static bool read_seed(const char *seed)
{
	static int room;
	choice_count = 0;
	if (*seed != 'x' && *seed != 'r')
		return false;
	replay_resumes = *seed++ == 'r';
	while (*seed == '.') {
		bool zeros = *++seed == 'z';
		char *end;
		unsigned long number = strtoul(seed + zeros, &end, 10);
		if (end == seed + zeros || number > 1000000)
			return false;
		seed = end;
		if (!zeros)
			push_choice(&room, (unsigned)number);
		for (unsigned long i = 0; zeros && i < number; i++)
			push_choice(&room, 0);
	}
	return *seed == '\0';
}

static bool replay(char *message, size_t room)
{
	mode = REPLAY;
	replayed = 0;
	enum result how = execute();
	snprintf(message, room, "%s", failure);
	model_end_execution();
	return how == FAILED;
}

// What kind of failure it is, without the names and numbers.
static size_t kind_length(const char *message)
{
	size_t length = strcspn(message, ":");
	if (strncmp(message, "data race", 9) == 0)
		return 9;
	if (strncmp(message, "check failed", 12) == 0)
		return strlen(message);
	return length;
}

// Zeroes every choice of the seed that the failure does not need.
static void minimize(char *seed, size_t room)
{
	char first[512], message[512];
	if (!read_seed(seed) || !replay(first, sizeof(first)))
		return;
	size_t length = kind_length(first);
	for (bool again = true; again;) {
		again = false;
		for (int i = choice_count - 1; i >= 0; i--) {
			if (choices[i] == 0)
				continue;
			uint16_t kept = choices[i];
			choices[i] = 0;
			if (replay(message, sizeof(message)) &&
			    strncmp(first, message, length) == 0)
				again = true;
			else
				choices[i] = kept;
		}
	}
	if (replay(message, sizeof(message)))
		write_seed(seed, room);
}

// ---------------------------------------------------------------------------------------------
// One case

static uint64_t now_ns(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

// The graphs' numbers, in a table with open addressing.
static uint64_t *graphs;
static size_t graph_room, graph_count;
#define GRAPHS_MAX ((size_t)1 << 24)

static bool graph_is_new(uint64_t graph)
{
	if (2 * graph_count >= graph_room && graph_room < GRAPHS_MAX) {
		uint64_t *old = graphs;
		size_t old_room = graph_room;
		graph_room = graph_room ? 4 * graph_room : 4096;
		graphs = calloc(graph_room, sizeof(*graphs));
		if (graphs == NULL)
			abort();
		graph_count = 0;
		for (size_t i = 0; i < old_room; i++)
			if (old[i] != 0)
				(void)graph_is_new(old[i]);
		free(old);
	}
	graph |= graph == 0;
	for (size_t i = graph;; i++) {
		uint64_t *slot = &graphs[i & (graph_room - 1)];
		if (*slot == graph)
			return false;
		if (*slot != 0)
			continue;
		if (graph_count + 16 < graph_room) { // the rest is not told apart any more
			*slot = graph;
			graph_count++;
		}
		return true;
	}
}

static struct explore_result *results;

PUBLIC void explore_outcome(uint64_t value)
{
	for (unsigned i = 0; i < results->outcome_count; i++)
		if (results->outcomes[i] == value)
			return;
	if (results->outcome_count == sizeof(results->outcomes) / sizeof(results->outcomes[0]))
		fail("misuse: too many outcomes");
	results->outcomes[results->outcome_count++] = value;
}

static void count_failure(bool keep_going)
{
	results->failed++;
	if (results->seed[0] == '\0')
		write_seed(results->seed, sizeof(results->seed));
	if (!keep_going) {
		snprintf(results->message, sizeof(results->message), "%s", failure);
		return;
	}
	// Once each, by kind.
	char line[512];
	snprintf(line, sizeof(line), "%.*s\n", (int)kind_length(failure), failure);
	size_t length = strlen(results->message);
	if (strstr(results->message, line) == NULL && length + strlen(line) < 500)
		memcpy(results->message + length, line, strlen(line) + 1);
}

static void begin_case(const struct explore_case *explored)
{
	static bool started;
	if (!started) {
		started = true;
		for (unsigned i = 0; i <= THREADS; i++)
			fiber_create(&threads[i].fiber, (size_t)256 << 10);
		threads[MAIN].index = MAIN;
		report_start();
		model_start();
	}
	running_case = explored;
	thread_count = 0;
	while (thread_count < THREADS && explored->threads[thread_count] != NULL)
		thread_count++;
	failure[0] = '\0';
	report_begin();
	report_clear();
	model_begin_setup();
	advanced_by = NULL;
	if (run_alone(explored->setup, SETUP) != COMPLETE) {
		printf("# setup: %s\n", failure);
		exit(1);
	}
	model_end_setup();
	phase = IDLE;
}

// Also in the middle: the executions until now were of a search that took too much for independent.
static void begin_search(struct explore_result *into)
{
	uint64_t executions = into->executions;
	memset(into, 0, sizeof(*into));
	into->executions = executions;
	graph_count = 0;
	if (graph_room > 0)
		memset(graphs, 0, graph_room * sizeof(*graphs));
	replayed = 0;
	model_learned = false;
}

PUBLIC void explore_run(const struct explore_case *explored, unsigned how, double seconds,
			struct explore_result *into)
{
	into->executions = 0;
	begin_search(into);
	results = into;
	begin_case(explored);
	mode = how & EXPLORE_BRUTE ? BRUTE : how & EXPLORE_RANDOMLY ? RANDOM : EXHAUSTIVE;
	recording = false;
	longest = 64;
	uint64_t begun = now_ns(CLOCK_PROCESS_CPUTIME_ID);
	uint64_t end = now_ns(CLOCK_MONOTONIC) + (uint64_t)(seconds * 1e9);
	for (;;) {
		if (mode == RANDOM)
			prepare_random(into->executions * UINT64_C(0x2545f4914f6cdd1d) + 1);
		enum result result_now = execute();
		into->executions++;
		if (result_now == COMPLETE) {
			uint64_t graph = model_graph();
			into->complete++;
			if (graph_is_new(graph)) {
				into->graphs++;
				into->sum += graph;
			}
		} else if (result_now == REDUNDANT) {
			into->redundant++;
		} else {
			count_failure(how & EXPLORE_KEEP_GOING);
			if (!(how & EXPLORE_KEEP_GOING)) {
				model_end_execution();
				break;
			}
		}
		if (steps > longest)
			longest = steps;
		model_end_execution();
		if (model_learned && mode == EXHAUSTIVE) {
			begin_search(into);
			continue;
		}
		if (mode == RANDOM) {
			if (into->executions >= explored->random)
				break;
		} else if (!backtrack()) {
			into->exhausted = true;
			break;
		}
		if (into->executions % 1024 == 0 && now_ns(CLOCK_MONOTONIC) > end)
			break;
	}
	into->nanoseconds = now_ns(CLOCK_PROCESS_CPUTIME_ID) - begun;
	phase = IDLE;
	current = &threads[MAIN];
}

// ---------------------------------------------------------------------------------------------
// main

static struct {
	const char *name, *seed;
	unsigned long random;
	double seconds;
	bool brute, list, verbose;
} options;

__attribute__((noreturn)) static void usage(const char *program, int status)
{
	fprintf(
	    status ? stderr : stdout,
	    "usage: %s [--list] [--case NAME] [--seed SEED] [--random N] [--time SECONDS]\n"
	    "       [--brute] [--verbose]\n"
	    "  --case NAME    only the cases whose name contains NAME\n"
	    "  --seed SEED    replay one execution of that case, as printed with a failure\n"
	    "  --random N     N random executions instead of all\n"
	    "  --time S       stop a case after S seconds (a case that is not exhausted fails)\n"
	    "  --brute        every schedule, without any reduction\n"
	    "  --verbose      print the execution of expected failures, too\n",
	    program);
	exit(status);
}

static void parse(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;
		char *end = NULL;
		if (strcmp(argv[i], "--list") == 0) {
			options.list = true;
		} else if (strcmp(argv[i], "--brute") == 0) {
			options.brute = true;
		} else if (strcmp(argv[i], "--verbose") == 0) {
			options.verbose = true;
		} else if (strcmp(argv[i], "--help") == 0) {
			usage(argv[0], 0);
		} else if (strcmp(argv[i], "--case") == 0 && value != NULL) {
			options.name = argv[++i];
		} else if (strcmp(argv[i], "--seed") == 0 && value != NULL) {
			options.seed = argv[++i];
		} else if (strcmp(argv[i], "--random") == 0 && value != NULL) {
			options.random = strtoul(argv[++i], &end, 10);
			if (*end != '\0' || options.random == 0)
				usage(argv[0], 2);
		} else if (strcmp(argv[i], "--time") == 0 && value != NULL) {
			options.seconds = strtod(argv[++i], &end);
			if (*end != '\0' || options.seconds <= 0)
				usage(argv[0], 2);
		} else {
			usage(argv[0], 2);
		}
	}
	if (options.seed != NULL && (options.name == NULL || !read_seed(options.seed))) {
		fprintf(stderr, "--seed needs --case, and a seed as printed with a failure\n");
		exit(2);
	}
}

// Replays the choices once more, and prints what happens.
static bool show(char *message, size_t room)
{
	recording = true;
	mode = REPLAY;
	replayed = 0;
	enum result how = execute();
	snprintf(message, room, "%s", how == FAILED ? failure : "");
	report_print();
	model_end_execution();
	recording = false;
	phase = IDLE;
	current = &threads[MAIN];
	return how == FAILED;
}

static bool same_outcomes(const struct explore_case *explored, const struct explore_result *found)
{
	bool same = found->outcome_count == explored->outcome_count;
	for (unsigned i = 0; i < found->outcome_count; i++) {
		bool expected = false;
		for (unsigned k = 0; k < explored->outcome_count; k++)
			expected |= found->outcomes[i] == explored->outcomes[k];
		if (!expected)
			printf("#   outcome %#llx is forbidden\n",
			       (unsigned long long)found->outcomes[i]);
		same &= expected;
	}
	for (unsigned k = 0; k < explored->outcome_count; k++) {
		bool seen = false;
		for (unsigned i = 0; i < found->outcome_count; i++)
			seen |= found->outcomes[i] == explored->outcomes[k];
		if (!seen)
			printf("#   outcome %#llx is allowed, and was not found\n",
			       (unsigned long long)explored->outcomes[k]);
	}
	return same;
}

static void print_counts(const struct explore_result *found, const char *how)
{
	double seconds = (double)found->nanoseconds / 1e9;
	printf("#   %s: %llu executions (%llu complete, %llu redundant), %llu graphs, %s, %.2f s, "
	       "%.0f/s\n",
	       how, (unsigned long long)found->executions, (unsigned long long)found->complete,
	       (unsigned long long)found->redundant, (unsigned long long)found->graphs,
	       found->exhausted ? "exhausted" : "not exhausted", seconds,
	       (double)found->executions / (seconds > 0 ? seconds : 1e-9));
}

static bool run_case(const struct explore_case *explored)
{
	static struct explore_result found;
	struct explore_case changed = *explored;
	unsigned how = options.brute ? EXPLORE_BRUTE : 0;
	bool partial = explored->flags & EXPLORE_PARTIAL;
	double seconds = options.seconds > 0     ? options.seconds
			 : getenv("TANDEM_SOAK") ? 3600
			 : partial               ? 5
						 : 120;
	if (getenv("TANDEM_SOAK"))
		changed.random *= 50;
	if (options.random)
		changed.random = (unsigned)options.random;
	if (changed.random)
		how = EXPLORE_RANDOMLY;
	explore_run(&changed, how, seconds, &found);
	print_counts(&found, changed.random ? "random" : options.brute ? "brute force" : "all");
	if (partial && how == 0 && found.failed == 0 && !found.exhausted) {
		changed.random = 50000;
		explore_run(&changed, EXPLORE_RANDOMLY, seconds, &found);
		print_counts(&found, "the rest at random");
	}
	if (found.failed > 0) {
		char message[512];
		char seed[sizeof(found.seed)];
		memcpy(seed, found.seed, sizeof(seed));
		minimize(seed, sizeof(seed));
		bool expected =
		    explored->expect != NULL && strstr(found.message, explored->expect) != NULL;
		printf("#   %s%s\n#   replay: --case \"%s\" --seed %s\n",
		       expected ? "as expected: " : "", found.message, explored->name, seed);
		if ((!expected || options.verbose) && read_seed(seed))
			(void)show(message, sizeof(message));
		return expected;
	}
	if (explored->expect != NULL) {
		printf("#   no execution fails with \"%s\"\n", explored->expect);
		return false;
	}
	if (found.complete == 0)
		printf("#   no execution was complete\n");
	if (!changed.random && !found.exhausted && !(explored->flags & EXPLORE_PARTIAL))
		printf("#   the space was not exhausted\n");
	bool good = found.complete > 0 &&
		    (changed.random || found.exhausted || explored->flags & EXPLORE_PARTIAL);
	if (explored->outcomes != NULL && !changed.random)
		good &= same_outcomes(explored, &found);
	return good;
}

static bool replay_case(const struct explore_case *explored)
{
	static struct explore_result found;
	char message[512];
	results = &found;
	begin_case(explored);
	(void)show(message, sizeof(message));
	printf("#   %s\n", message[0] ? message : "the execution holds");
	return (message[0] != '\0') == (explored->expect != NULL);
}

PUBLIC int explore_main(int argc, char **argv, const struct explore_case *cases, unsigned count)
{
	parse(argc, argv);
	unsigned number = 0, bad = 0;
	for (unsigned i = 0; i < count; i++) {
		if (options.name != NULL && strstr(cases[i].name, options.name) == NULL)
			continue;
		if (options.list) {
			printf("%s\n", cases[i].name);
			continue;
		}
		model_restore_variables(); // no case sees what another one left
		bool good = options.seed ? replay_case(&cases[i]) : run_case(&cases[i]);
		printf("%s %u - %s\n", good ? "ok" : "not ok", ++number, cases[i].name);
		fflush(stdout);
		bad += !good;
		if (options.seed)
			break;
	}
	if (!options.list)
		printf("1..%u\n", number);
	if (number == 0 && !options.list)
		fprintf(stderr, "no case is called that\n");
	return bad > 0 || (number == 0 && !options.list);
}
