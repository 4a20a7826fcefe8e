// SPDX-License-Identifier: BSD-2-Clause
// What instrumented code calls: the symbols of -fsanitize=thread, as gcc and clang emit them, what
// the linker redirects here (--wrap), and the seams of explore.h.
//
// The compilers announce a plain access before it happens; an atomic one is a call altogether.
// There is no __tsan_atomic128_*: tandem has none, and a program that needs one does not link.
#include "model.h"

#include <stdlib.h>
#include <string.h>

#include <tandem/base/status.h>

// ---------------------------------------------------------------------------------------------
// Functions, for stacks

PUBLIC void __tsan_init(void);
PUBLIC void __tsan_init(void)
{
}

PUBLIC void __tsan_func_entry(void *pc);
PUBLIC void __tsan_func_entry(void *pc)
{
	current->frames[current->depth++ % FRAMES] = pc;
}

PUBLIC void __tsan_func_exit(void);
PUBLIC void __tsan_func_exit(void)
{
	current->depth--;
}

// ---------------------------------------------------------------------------------------------
// Plain accesses

#define PC __builtin_return_address(0)

#define PLAIN(name, size, write)                                                                   \
	PUBLIC void __tsan_##name(void *at);                                                       \
	PUBLIC void __tsan_##name(void *at)                                                        \
	{                                                                                          \
		model_plain((uintptr_t)at, size, write, PC);                                       \
	}
PLAIN(read1, 1, false)
PLAIN(read2, 2, false)
PLAIN(read4, 4, false)
PLAIN(read8, 8, false)
PLAIN(read16, 16, false)
PLAIN(write1, 1, true)
PLAIN(write2, 2, true)
PLAIN(write4, 4, true)
PLAIN(write8, 8, true)
PLAIN(write16, 16, true)
PLAIN(unaligned_read2, 2, false)
PLAIN(unaligned_read4, 4, false)
PLAIN(unaligned_read8, 8, false)
PLAIN(unaligned_read16, 16, false)
PLAIN(unaligned_write2, 2, true)
PLAIN(unaligned_write4, 4, true)
PLAIN(unaligned_write8, 8, true)
PLAIN(unaligned_write16, 16, true)
PLAIN(read_write1, 1, true)
PLAIN(read_write2, 2, true)
PLAIN(read_write4, 4, true)
PLAIN(read_write8, 8, true)
PLAIN(read_write16, 16, true)
PLAIN(volatile_read1, 1, false)
PLAIN(volatile_read2, 2, false)
PLAIN(volatile_read4, 4, false)
PLAIN(volatile_read8, 8, false)
PLAIN(volatile_write1, 1, true)
PLAIN(volatile_write2, 2, true)
PLAIN(volatile_write4, 4, true)
PLAIN(volatile_write8, 8, true)

PUBLIC void __tsan_read_range(void *at, size_t size);
PUBLIC void __tsan_read_range(void *at, size_t size)
{
	model_plain((uintptr_t)at, size, false, PC);
}

PUBLIC void __tsan_write_range(void *at, size_t size);
PUBLIC void __tsan_write_range(void *at, size_t size)
{
	model_plain((uintptr_t)at, size, true, PC);
}

// The linker leads instrumented code's calls here, and only those.
#define WRAPPED(result, name, parameters)                                                          \
	PUBLIC result __wrap_##name parameters;                                                    \
	PUBLIC result __wrap_##name parameters

WRAPPED(void *, memcpy, (void *to, const void *from, size_t size))
{
	model_plain((uintptr_t)from, size, false, PC);
	model_plain((uintptr_t)to, size, true, PC);
	return memcpy(to, from, size);
}

WRAPPED(void *, memmove, (void *to, const void *from, size_t size))
{
	model_plain((uintptr_t)from, size, false, PC);
	model_plain((uintptr_t)to, size, true, PC);
	return memmove(to, from, size);
}

WRAPPED(void *, memset, (void *to, int byte, size_t size))
{
	model_plain((uintptr_t)to, size, true, PC);
	return memset(to, byte, size);
}

// Newer versions of clang call these.
PUBLIC void *__tsan_memcpy(void *, const void *, size_t) __attribute__((alias("__wrap_memcpy")));
PUBLIC void *__tsan_memmove(void *, const void *, size_t) __attribute__((alias("__wrap_memmove")));
PUBLIC void *__tsan_memset(void *, int, size_t) __attribute__((alias("__wrap_memset")));

WRAPPED(int, memcmp, (const void *a, const void *b, size_t size))
{
	model_plain((uintptr_t)a, size, false, PC);
	model_plain((uintptr_t)b, size, false, PC);
	return memcmp(a, b, size);
}

WRAPPED(void *, malloc, (size_t size))
{
	return phase == IDLE ? malloc(size) : explore_memory(size);
}

WRAPPED(void *, calloc, (size_t count, size_t size))
{
	size_t bytes;
	if (__builtin_mul_overflow(count, size, &bytes))
		return NULL;
	return phase == IDLE ? calloc(count, size) : explore_memory(bytes);
}

WRAPPED(void, free, (void *memory))
{
	if (model_owns(memory))
		explore_free(memory);
	else
		free(memory);
}

__attribute__((noreturn)) WRAPPED(void, abort, (void))
{
	fail("check failed: abort");
}

__attribute__((noreturn))
WRAPPED(void, __assert_fail,
	(const char *text, const char *file, unsigned line, const char *function))
{
	fail("check failed: %s:%u: %s: %s", file, line, function, text);
}

// ---------------------------------------------------------------------------------------------
// Operations

__attribute__((noreturn)) static void die(void)
{
	struct thread *thread = current;
	struct object *held;
	thread->dead = true;
	if (recording)
		report_event(thread, NULL, "dies");
	while ((held = model_held(thread)) != NULL) {
		thread->op = (struct op){.kind = OP_DROP, .object = held, .fd = held->holder};
		search_schedule();
		(void)model_perform(thread, NULL);
	}
	search_ended();
}

// A thread that may die may do so before each of its operations.
static inline void live_or_die(void)
{
	const struct explore_case *explored = running_case;
	struct thread *thread = current;
	if (!(explored->can_die >> thread->index & 1))
		return;
	unsigned deaths = 0;
	for (unsigned i = 0; i < thread_count; i++)
		deaths += threads[i].dead;
	if (deaths < explored->deaths && !thread->dead && search_choose(2, ~0ULL) == 1)
		die();
}

static inline __attribute__((always_inline)) uint64_t perform(struct op op, const volatile void *at,
							      unsigned size, bool *done)
{
	op.reads = op.kind != OP_STORE;
	op.sc =
	    op.order == __ATOMIC_SEQ_CST || (op.kind == OP_CAS && op.failure == __ATOMIC_SEQ_CST);
	void *where = (void *)(uintptr_t)at;
	if (model_direct() || model_private((uintptr_t)at))
		return model_alone(&op, where, size, done);
	live_or_die();
	struct thread *thread = current;
	op.location = model_location(where, size);
	thread->op = op;
	search_schedule();
	return model_perform(thread, done);
}

static int order_of(int order)
{
	order &= 0x7fff; // the rest are hints about transactions
	return order == __ATOMIC_CONSUME ? __ATOMIC_ACQUIRE : order;
}

#define RMW(bits, name, what)                                                                      \
	PUBLIC uint##bits##_t __tsan_atomic##bits##_##name(volatile void *at,                      \
							   uint##bits##_t value, int order);       \
	PUBLIC uint##bits##_t __tsan_atomic##bits##_##name(volatile void *at,                      \
							   uint##bits##_t value, int order)        \
	{                                                                                          \
		return (uint##bits##_t)perform((struct op){.kind = OP_RMW,                         \
							   .rmw = what,                            \
							   .order = order_of(order),               \
							   .value = value,                         \
							   .pc = PC},                              \
					       at, bits / 8, NULL);                                \
	}

// gcc and clang give the orders of a CAS in two arguments, and its expected value by address;
// clang's *_val form by value. Both pass a weak one as strong.
#define CAS(bits, name)                                                                            \
	PUBLIC int __tsan_atomic##bits##_##name(volatile void *at, uint##bits##_t *expected,       \
						uint##bits##_t value, int order, int on_failure);  \
	PUBLIC int __tsan_atomic##bits##_##name(volatile void *at, uint##bits##_t *expected,       \
						uint##bits##_t value, int order, int on_failure)   \
	{                                                                                          \
		bool done;                                                                         \
		uint64_t old = perform((struct op){.kind = OP_CAS,                                 \
						   .order = order_of(order),                       \
						   .failure = order_of(on_failure),                \
						   .value = value,                                 \
						   .expected = *expected,                          \
						   .pc = PC},                                      \
				       at, bits / 8, &done);                                       \
		if (!done)                                                                         \
			*expected = (uint##bits##_t)old;                                           \
		return done;                                                                       \
	}

#define ATOMIC(bits)                                                                               \
	PUBLIC uint##bits##_t __tsan_atomic##bits##_load(const volatile void *at, int order);      \
	PUBLIC uint##bits##_t __tsan_atomic##bits##_load(const volatile void *at, int order)       \
	{                                                                                          \
		return (uint##bits##_t)perform(                                                    \
		    (struct op){.kind = OP_LOAD, .order = order_of(order), .pc = PC}, at,          \
		    bits / 8, NULL);                                                               \
	}                                                                                          \
	PUBLIC void __tsan_atomic##bits##_store(volatile void *at, uint##bits##_t value,           \
						int order);                                        \
	PUBLIC void __tsan_atomic##bits##_store(volatile void *at, uint##bits##_t value,           \
						int order)                                         \
	{                                                                                          \
		(void)perform(                                                                     \
		    (struct op){                                                                   \
			.kind = OP_STORE, .order = order_of(order), .value = value, .pc = PC},     \
		    at, bits / 8, NULL);                                                           \
	}                                                                                          \
	RMW(bits, exchange, RMW_EXCHANGE)                                                          \
	RMW(bits, fetch_add, RMW_ADD)                                                              \
	RMW(bits, fetch_sub, RMW_SUB)                                                              \
	RMW(bits, fetch_and, RMW_AND)                                                              \
	RMW(bits, fetch_or, RMW_OR)                                                                \
	RMW(bits, fetch_xor, RMW_XOR)                                                              \
	RMW(bits, fetch_nand, RMW_NAND)                                                            \
	CAS(bits, compare_exchange_strong)                                                         \
	CAS(bits, compare_exchange_weak)                                                           \
	PUBLIC uint##bits##_t __tsan_atomic##bits##_compare_exchange_val(                          \
	    volatile void *at, uint##bits##_t expected, uint##bits##_t value, int order,           \
	    int on_failure);                                                                       \
	PUBLIC uint##bits##_t __tsan_atomic##bits##_compare_exchange_val(                          \
	    volatile void *at, uint##bits##_t expected, uint##bits##_t value, int order,           \
	    int on_failure)                                                                        \
	{                                                                                          \
		return (uint##bits##_t)perform((struct op){.kind = OP_CAS,                         \
							   .order = order_of(order),               \
							   .failure = order_of(on_failure),        \
							   .value = value,                         \
							   .expected = expected,                   \
							   .pc = PC},                              \
					       at, bits / 8, NULL);                                \
	}

ATOMIC(8)
ATOMIC(16)
ATOMIC(32)
ATOMIC(64)

PUBLIC void __tsan_atomic_signal_fence(int order);
PUBLIC void __tsan_atomic_signal_fence(int order)
{
	(void)order; // for the compiler alone
}

static void schedule_object(struct op op)
{
	live_or_die();
	current->op = op;
	search_schedule();
}

PUBLIC void __tsan_atomic_thread_fence(int order);
PUBLIC void __tsan_atomic_thread_fence(int order)
{
	order = order_of(order);
	if (model_direct() || order == __ATOMIC_RELAXED)
		return;
	if (order == __ATOMIC_SEQ_CST) {
		schedule_object((struct op){.kind = OP_FENCE, .sc = true, .pc = PC});
		(void)model_perform(current, NULL);
	} else {
		model_fence(current, order);
	}
}

// ---------------------------------------------------------------------------------------------
// Mutexes

WRAPPED(int, pthread_mutex_lock, (void *mutex))
{
	if (model_direct())
		return 0;
	schedule_object((struct op){
	    .kind = OP_LOCK, .object = model_object(OBJECT_MUTEX, (uintptr_t)mutex), .pc = PC});
	(void)model_perform(current, NULL);
	return 0;
}

WRAPPED(int, pthread_mutex_unlock, (void *mutex))
{
	if (model_direct())
		return 0;
	schedule_object((struct op){
	    .kind = OP_UNLOCK, .object = model_object(OBJECT_MUTEX, (uintptr_t)mutex), .pc = PC});
	(void)model_perform(current, NULL);
	return 0;
}

// ---------------------------------------------------------------------------------------------
// What cases call

PUBLIC unsigned explore_thread(void)
{
	return current->index;
}

PUBLIC bool explore_died(unsigned thread)
{
	return threads[thread].dead;
}

PUBLIC bool explore_finished(unsigned thread)
{
	return threads[thread].state == ENDED && !threads[thread].dead;
}

PUBLIC void explore_fail(const char *message)
{
	report_stack("now", stack_keep(PC));
	fail("%s", message);
}

PUBLIC unsigned explore_choose(unsigned count)
{
	if (model_direct() || count > 64)
		fail("misuse: explore_choose is for threads, and for up to 64 values");
	return (unsigned)search_choose((int)count, ~0ULL);
}

PUBLIC void explore_await_begin(void)
{
	current->awaiting = 0;
	current->overflow = false;
	current->wrote = false;
}

PUBLIC void explore_await_change(void)
{
	if (model_direct())
		return;
	if (current->awaiting == 0) {
		search_step(); // it has read nothing, so nothing can change: at least it ends
		return;
	}
	live_or_die();
	if (recording)
		report_event(current, NULL, "awaits a change");
	current->state = AWAITS;
	search_block();
}

// ---------------------------------------------------------------------------------------------
// Seams

PUBLIC int explore_futex_wait(const void *word, uint32_t expected, uint64_t deadline)
{
	if (model_direct())
		fail("deadlock: setup or finish waits");
	struct thread *thread = current;
	live_or_die();
	// What may happen without the word: nothing, a spurious return, the deadline.
	unsigned answers[3] = {0}, count = 1;
	if (thread->spurious > 0)
		answers[count++] = 1;
	if (thread->timeouts > 0 && deadline != UINT64_MAX)
		answers[count++] = 2;
	unsigned answer = answers[search_choose((int)count, ~0ULL)];
	if (answer == 1) {
		thread->spurious--;
		return TDM_OK;
	}
	if (answer == 2) {
		thread->timeouts--;
		thread->now = thread->now > deadline ? thread->now : deadline;
		return TDM_TIMED_OUT;
	}
	thread->op = (struct op){.kind = OP_WAIT,
				 .reads = true,
				 .location = model_location(word, 4),
				 .object = model_object(OBJECT_FUTEX, (uintptr_t)word),
				 .expected = expected,
				 .pc = PC};
	thread->deadline = deadline;
	thread->timed_out = false;
	search_schedule();
	(void)model_perform(thread, NULL);
	if (thread->state == PARKED)
		search_block();
	return thread->timed_out ? TDM_TIMED_OUT : TDM_OK;
}

PUBLIC void explore_futex_wake(const void *word, uint32_t count)
{
	if (model_direct())
		return;
	schedule_object((struct op){.kind = OP_WAKE,
				    .object = model_object(OBJECT_FUTEX, (uintptr_t)word),
				    .wakes = count,
				    .pc = PC});
	(void)model_perform(current, NULL);
}

PUBLIC bool explore_membarrier(int command)
{
	if (model_direct()) {
		bool refused = running_case != NULL && running_case->refused & 1;
		if (!refused && command == 4)
			for (unsigned i = 0; i < THREADS; i++)
				model_register(i);
		return !refused;
	}
	schedule_object((struct op){.kind = command == 4 ? OP_REGISTER : OP_BARRIER, .pc = PC});
	return model_perform(current, NULL) != 0;
}

PUBLIC uint64_t explore_now_ns(void)
{
	return model_direct() ? 1000 : current->now;
}

PUBLIC bool explore_weak_cas_fails(void)
{
	if (model_direct() || current->spurious == 0 || search_choose(2, ~0ULL) == 0)
		return false;
	current->spurious--;
	return true;
}

PUBLIC int explore_seat(int operation, int fd, uint32_t index)
{
	static const enum kind kinds[] = {OP_TAKE, OP_LOOK, OP_DROP};
	if (phase == FINISH)
		return model_seat_alone(kinds[operation], fd, index) ? TDM_OK : TDM_BUSY;
	if (model_direct())
		fail("misuse: setup holds lock bytes by explore_seat_holder");
	schedule_object((struct op){.kind = kinds[operation],
				    .object = model_object(OBJECT_SEAT, index),
				    .fd = fd,
				    .pc = PC});
	return model_perform(current, NULL) != 0 ? TDM_OK : TDM_BUSY;
}
