// SPDX-License-Identifier: BSD-2-Clause
// What the runtime's files share. model.c: memory; search.c: choices; abi.c: what the compiler and
// the seams call; report.c: words.
#ifndef TDM_TESTS_EXPLORE_MODEL_H
#define TDM_TESTS_EXPLORE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "explore.h"
#include "fiber.h"

#define PUBLIC __attribute__((visibility("default")))
#define THREADS EXPLORE_THREADS
#define MAIN THREADS // runs setup and finish

// ---------------------------------------------------------------------------------------------
// Vector clocks: for each thread, how many of its events are known.

typedef int16_t clock8 __attribute__((vector_size(16)));
#define CLOCK_MAX INT16_MAX

#ifdef __SSE2__
#	include <emmintrin.h>
static inline clock8 later(clock8 a, clock8 b)
{
	return (clock8)_mm_max_epi16((__m128i)a, (__m128i)b);
}

static inline bool any(clock8 mask)
{
	return _mm_movemask_epi8((__m128i)mask) != 0;
}
#else
static inline clock8 later(clock8 a, clock8 b)
{
	clock8 mask = a > b;
	return (a & mask) | (b & ~mask);
}

static inline bool any(clock8 mask)
{
	typedef int64_t halves __attribute__((vector_size(16)));
	halves two = (halves)mask;
	return (two[0] | two[1]) != 0;
}
#endif

// ---------------------------------------------------------------------------------------------
// Locations

// A store to a location, and so what a load may read.
struct store {
	clock8 seen;                 // for each thread, its first event that wrote or read this
	clock8 hb, coherence, trace; // what a reader takes over: see model.c
	uint64_t value;
	int32_t fence;    // likewise: the last seq_cst fence's time
	int32_t sc;       // when the first seq_cst operation wrote or read it, or NEVER
	int32_t stamp;    // index of the event that wrote it; -1: before the threads
	int32_t taken_by; // index of the event of the RMW that read it, or -1
	uint8_t thread;
	bool releases; // hb, coherence and fence count
	bool rmw;      // it must stay right behind its predecessor
	bool taken;
	int16_t tick; // of its thread
	uint32_t stack;
};
#define NEVER INT32_MAX

// A read, for finding the stores that could come before it.
struct reader {
	int32_t event;
	int32_t next; // index in the pool, -1: none
};

struct location {
	uintptr_t address; // as the program knows it
	struct granule *granule;
	struct knowledge *known;
	struct store **order; // modification order
	int count, room;
	unsigned size;
	unsigned index;       // in the table of this execution
	bool stale;           // a plain write came: the history begins again
	clock8 written, read; // last atomic write and read of each thread
	int32_t readers;
	int32_t last_sc[THREADS]; // event of each thread's last seq_cst access
	uint32_t stacks[THREADS];
};

// What orders its users completely: lock bytes, futex queues, mutexes.
struct object {
	uintptr_t key;
	int kind;
	int holder; // lock bytes: fd, mutexes: thread; -1: free
	int taker;  // the thread
	clock8 hb, coherence, trace;
	int32_t fence;
	// The events of each thread's last change, look and lock.
	int32_t last[THREADS], last_look[THREADS], last_lock[THREADS];
};
enum { OBJECT_FUTEX, OBJECT_SEAT, OBJECT_MUTEX };

// Plain accesses to one range of bytes.
struct cell {
	clock8 written, read; // the threads' last ones, later than which they must be ordered
	uint32_t write_stack, read_stack[THREADS];
};

// Eight bytes of memory that is watched.
struct granule {
	struct cell whole;
	struct cell *bytes; // one for each byte, as soon as two ranges overlap without being equal
	uint64_t before;    // the content when the execution began
	uint16_t location[8]; // index + 1 of the location that begins here
	uint8_t valid;        // so many bytes may be used
	uint8_t first, size;  // the range of `whole`; size 0: no plain access yet
	uint8_t atomic;       // bit b: byte b belongs to a location
	bool touched, freed, fresh, ignored;
	uint16_t local; // index + 1 among the process-local ones
	uint32_t free_stack;
};

// ---------------------------------------------------------------------------------------------
// Threads and their operations

enum kind {
	OP_LOAD,
	OP_STORE,
	OP_RMW,
	OP_CAS,
	OP_FENCE,   // seq_cst only: the others are no events
	OP_BARRIER, // membarrier
	OP_REGISTER,
	OP_WAIT,
	OP_WAKE,
	OP_TAKE,
	OP_LOOK,
	OP_DROP,
	OP_LOCK,
	OP_UNLOCK,
};

enum rmw { RMW_EXCHANGE, RMW_ADD, RMW_SUB, RMW_AND, RMW_OR, RMW_XOR, RMW_NAND };

struct op {
	enum kind kind;
	enum rmw rmw;
	int order, failure; // __ATOMIC_*
	bool sc;            // takes part in the order of the seq_cst operations
	bool reads;         // the location, among others
	struct location *location;
	struct object *object;
	uint64_t value, expected;
	uint32_t wakes;
	int fd;
	void *pc;
};

enum state { RUNS, AWAITS, PARKED, ENDED };

#define FRAMES 256
#define AWAITED 64

struct thread {
	clock8 hb;        // happens before its next event
	clock8 coherence; // hb, and what seq_cst fences order
	clock8 trace;     // program order, reads-from and the order of dependent operations
	clock8 released_hb, released_coherence; // at its last release fence
	clock8 pending_hb, pending_coherence;   // what relaxed loads would take over at a fence
	int32_t fence, released_fence, pending_fence;
	bool has_released;
	uint8_t index;
	uint8_t process;
	enum state state;
	bool dead;
	bool wrote;    // since its last await
	bool overflow; // more was read in the round than fits
	struct op op;  // what it does next
	struct {
		struct location *location;
		struct store *store;
	} awaited[AWAITED];
	unsigned awaiting;
	const void *parked_on;
	uint64_t deadline;
	bool timed_out;
	bool pending; // op says what it does next
	uint64_t now;
	unsigned spurious, timeouts;
	size_t allocated;
	struct fiber fiber;
	void *frames[FRAMES];
	unsigned depth;
	int saved_errno;
};

extern struct thread threads[THREADS + 1];
extern struct thread *current;
extern unsigned thread_count;

enum phase { IDLE, SETUP, EXPLORING, FINISH };
extern enum phase phase;

// ---------------------------------------------------------------------------------------------
// model.c

struct event {         // of one execution, in the order of execution
	clock8 before; // every thread's events until then
	clock8 trace;
	int32_t node; // the choice that led to it, or -1
	struct location *location;
	bool loads; // and nothing else
	bool feels_barrier;
	int16_t tick;
	uint8_t thread;
};
extern struct event *events;
extern int event_count;

void model_start(void);
void model_restore_variables(void); // to what they were at model_start
void model_begin_setup(void);
void model_end_setup(void);
void model_begin_execution(void);
void model_end_execution(void); // puts memory back
void model_switch_process(unsigned process);

struct location *model_location(const void *at, unsigned size);
struct object *model_object(int kind, uintptr_t key);
// Fills options with the indices in the modification order that the operation may read (or, for a
// store, be put at), newest first.
int model_options(const struct thread *thread, const struct op *op, int *options, int room);
uint64_t model_perform(struct thread *thread, bool *done);
void model_fence(struct thread *thread, int order);
void model_plain(uintptr_t at, size_t size, bool write, void *pc);
bool model_private(uintptr_t at); // on the running thread's stack, or ignored
uint64_t model_graph(void);       // a number for the execution's graph
bool model_newest_awaited(const struct thread *thread);
bool model_enabled(const struct thread *thread);
void model_resume(struct thread *thread);               // it goes on because something changed
void model_register(unsigned process);                  // for membarrier, by setup
struct object *model_held(const struct thread *thread); // a lock byte it took, or NULL
bool model_seat_alone(enum kind kind, int fd, uint32_t index); // in finish
bool model_owns(const void *memory);
uintptr_t model_offset(uintptr_t at); // in explore_memory
// The same operations where there is no other thread.
uint64_t model_alone(const struct op *op, void *at, unsigned size, bool *done);
bool model_direct(void); // no other thread: setup, finish, before main
// Does b, of thread `of_b`, depend on a, of thread `of_a`, which comes now?
bool dependent(const struct op *a, unsigned of_a, const struct op *b, unsigned of_b);
extern bool model_learned; // what was held independent until now is not: search again

// ---------------------------------------------------------------------------------------------
// search.c

extern const struct explore_case *running_case;
extern bool recording; // stacks are kept: the execution is one to be shown
extern bool reduced;   // races between events are looked for
extern bool fresh;     // this event was not part of an earlier execution

// The calling thread wants to do its op: returns when it is its turn.
void search_schedule(void);
void search_step(void);  // one more, and not without end
void search_block(void); // the calling thread waits: its state says for what
int search_choose(int count, unsigned long long allowed);
void search_race(int event, unsigned thread, clock8 trace);
void search_performed(const struct op *op, bool wrote); // sleeping threads wake
int32_t search_node(void);
int32_t search_stamp(const struct thread *thread); // only stores from that event on; -1: all
bool search_resumes(void);                         // awaits go on when something changes
__attribute__((noreturn)) void search_failed(void);
__attribute__((noreturn)) void search_ended(void); // the calling thread

// ---------------------------------------------------------------------------------------------
// report.c

extern char failure[512]; // the first line, empty: none
__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);
uint32_t stack_keep(void *pc); // 0 unless recording
void stack_print(const char *title, uint32_t stack);
void report_stack(const char *title, uint32_t stack); // a part of the failure
void report_event(const struct thread *thread, const struct op *op, const char *what);
void report_named(const void *at, size_t bytes, const char *name);
const char *report_address(uintptr_t address, char *text, size_t room);
void report_start(void);
void report_begin(void); // a new execution
void report_print(void);
void report_clear(void); // names, for a new case

#endif
