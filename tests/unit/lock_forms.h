// SPDX-License-Identifier: BSD-2-Clause
// What every plain lock must do. Include it after count_rests.h, the lock's header and
//
//	FORM(op)       the lock's function of that name
//	struct LOCK    its type
//	LOCK_TEXT      what it is called in sentences
//	FOREIGN        what a checked caller is told that unlocks what it locked unchecked
//
// A waiter's yield, which count_rests.h counts, is where a holder can be made to unlock.
#ifndef TDM_TESTS_UNIT_LOCK_FORMS_H
#define TDM_TESTS_UNIT_LOCK_FORMS_H

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../support/child.h"
#include "../support/tap.h"

// What two processes share.
struct scene {
	TDM_ALIGNAS(TDM_CACHE_LINE) struct LOCK lock;
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u32 stage;
	uint64_t data; // what the lock protects
};
static struct scene *scene;

static void begin(const char *sentence)
{
	char text[200];
	snprintf(text, sizeof(text), LOCK_TEXT "%s: %s", TDM_CHECKED ? ", checked" : "", sentence);
	tap_case(text);
	memset(TDM_CAST(void *, scene), 0, sizeof(*scene));
	memset(&calls, 0, sizeof(calls));
	at_yield = TDM_NULL;
}

static bool is_zero(const void *memory, size_t bytes)
{
	const unsigned char *byte = TDM_CAST(const unsigned char *, memory);
	for (size_t i = 0; i < bytes; i++)
		if (byte[i] != 0)
			return false;
	return true;
}

static void test_zero(void)
{
	struct LOCK *lock = &scene->lock;
	begin("zero-filled memory is unlocked, one lock at a time");
	CHECK_STATUS(FORM(destroy)(lock), TDM_OK);
	CHECK(FORM(try_lock)(lock));
	CHECK(!FORM(try_lock)(lock));
	CHECK(!FORM(try_lock)(lock));
	CHECK_STATUS(FORM(unlock)(lock), TDM_OK);
	CHECK_STATUS(FORM(lock)(lock), TDM_OK);
	CHECK(!FORM(try_lock)(lock));
	CHECK_STATUS(FORM(unlock)(lock), TDM_OK);
	CHECK_STATUS(FORM(lock_until)(lock, TDM_FOREVER), TDM_OK);
	CHECK(!FORM(try_lock)(lock));
	CHECK_STATUS(FORM(unlock)(lock), TDM_OK);
	CHECK_EQ_U64(calls.pauses + calls.yields, 0);
}

static void test_destroy(void)
{
	struct LOCK *lock = &scene->lock;
	begin("destroying it answers TDM_BUSY while it is held, and leaves zeros");
	for (int i = 0; i < 3; i++) {
		CHECK_STATUS(FORM(lock)(lock), TDM_OK);
		CHECK_STATUS(FORM(destroy)(lock), TDM_BUSY);
		CHECK(!FORM(try_lock)(lock));
		CHECK_STATUS(FORM(unlock)(lock), TDM_OK);
	}
	CHECK_STATUS(FORM(destroy)(lock), TDM_OK);
	CHECK(is_zero(lock, sizeof(*lock)));
	CHECK(FORM(try_lock)(lock));
	CHECK_STATUS(FORM(unlock)(lock), TDM_OK);
}

// --- deadlines ---

static void hold(void *unused)
{
	(void)unused;
	CHECK_STATUS(FORM(lock)(&scene->lock), TDM_OK);
	tdm_store_release_u32(&scene->stage, 1);
	while (tdm_load_acquire_u32(&scene->stage) != 2)
		sched_yield();
	CHECK_STATUS(FORM(unlock)(&scene->lock), TDM_OK);
}

static void *hold_in_thread(void *unused)
{
	hold(unused);
	return TDM_NULL;
}

static pthread_t holder;

static void start_holder(void)
{
	if (pthread_create(&holder, TDM_NULL, hold_in_thread, TDM_NULL) != 0)
		abort();
	CHECK(child_await_u32(&scene->stage, 1));
}

static void end_holder(void)
{
	tdm_store_release_u32(&scene->stage, 2);
	CHECK(pthread_join(holder, TDM_NULL) == 0);
}

static void test_deadlines(void)
{
	struct LOCK *lock = &scene->lock;
	begin("a deadline that has passed is no reason not to lock what is free");
	CHECK_STATUS(FORM(lock_until)(lock, 0), TDM_OK);
	CHECK_STATUS(FORM(unlock)(lock), TDM_OK);
	CHECK_STATUS(FORM(lock_until)(lock, tdm_now_ns()), TDM_OK);
	CHECK_STATUS(FORM(unlock)(lock), TDM_OK);

	begin("what is held is waited for until the deadline, and not less");
	start_holder();
	CHECK_STATUS(FORM(lock_until)(lock, 0), TDM_TIMED_OUT);
	for (uint64_t ns = 1000; ns <= 10000000; ns *= 10) {
		uint64_t deadline_ns = tdm_deadline_after_ns(ns);
		CHECK_STATUS(FORM(lock_until)(lock, deadline_ns), TDM_TIMED_OUT);
		CHECK(tdm_now_ns() >= deadline_ns);
	}
	CHECK(!FORM(try_lock)(lock));
	CHECK_STATUS(FORM(destroy)(lock), TDM_BUSY);
	end_holder();
	CHECK(FORM(try_lock)(lock));
	CHECK_STATUS(FORM(unlock)(lock), TDM_OK);
	CHECK_STATUS(FORM(destroy)(lock), TDM_OK);
}

// --- waiting ---

#define YIELDS_BEFORE 50U

static void unlock_at_last(void)
{
	if (calls.yields == YIELDS_BEFORE)
		tdm_store_release_u32(&scene->stage, 2);
	(void)sched_yield();
}

static void wait_for_unlock(bool timed)
{
	start_holder();
	at_yield = unlock_at_last;
	calls.pauses = calls.yields = 0;
	CHECK_STATUS(timed ? FORM(lock_until)(&scene->lock, tdm_deadline_after_ns(60000000000))
			   : FORM(lock)(&scene->lock),
		     TDM_OK);
	CHECK(calls.yields >= YIELDS_BEFORE);
	at_yield = TDM_NULL;
	CHECK_STATUS(FORM(unlock)(&scene->lock), TDM_OK);
	end_holder();
}

static void test_waiting(void)
{
	for (int timed = 0; timed < 2; timed++) {
		begin(timed ? "a timed waiter pauses 200 times, and yields then"
			    : "a waiter pauses 200 times, and yields then");
		tdm_store_relaxed_u32(&tdm_backoff_cpus_, 2);
		wait_for_unlock(timed != 0);
		CHECK(calls.pauses >= TDM_SEAM_SPINS && calls.pauses < 2 * TDM_SEAM_SPINS);

		begin(timed ? "where there is one CPU, a timed waiter yields at once"
			    : "where there is one CPU, a waiter yields at once");
		tdm_store_relaxed_u32(&tdm_backoff_cpus_, 1);
		wait_for_unlock(timed != 0);
		CHECK_EQ_U64(calls.pauses, 0);
		tdm_store_relaxed_u32(&tdm_backoff_cpus_, 0);
	}
}

// --- signals ---

static bool handler_locked;

static void try_in_handler(int signal_number)
{
	(void)signal_number;
	handler_locked = FORM(try_lock)(&scene->lock);
	if (handler_locked)
		(void)FORM(unlock)(&scene->lock);
}

static void test_handler(void)
{
	begin("a signal handler may try to lock what the thread it interrupts holds");
	signal(SIGUSR1, try_in_handler);
	CHECK_STATUS(FORM(lock)(&scene->lock), TDM_OK);
	raise(SIGUSR1);
	CHECK(!handler_locked);
	CHECK_STATUS(FORM(unlock)(&scene->lock), TDM_OK);
	raise(SIGUSR1);
	CHECK(handler_locked);
	signal(SIGUSR1, SIG_DFL);
	CHECK_STATUS(FORM(destroy)(&scene->lock), TDM_OK);
}

// --- threads and processes ---

#define PARTIES 3U
#define ROUNDS 2000U

static void count_up(void *unused)
{
	(void)unused;
	for (unsigned i = 0; i < ROUNDS; i++) {
		CHECK_STATUS(FORM(lock)(&scene->lock), TDM_OK);
		scene->data++;
		CHECK_STATUS(FORM(unlock)(&scene->lock), TDM_OK);
	}
}

static void *count_up_in_thread(void *unused)
{
	count_up(unused);
	return TDM_NULL;
}

static void test_threads(void)
{
	pthread_t threads[PARTIES];
	begin("threads take turns");
	for (unsigned i = 0; i < PARTIES; i++)
		if (pthread_create(&threads[i], TDM_NULL, count_up_in_thread, TDM_NULL) != 0)
			abort();
	for (unsigned i = 0; i < PARTIES; i++)
		CHECK(pthread_join(threads[i], TDM_NULL) == 0);
	CHECK_EQ_U64(scene->data, PARTIES * ROUNDS);
}

static struct scene *mapped(int file)
{
	void *memory =
	    mmap(TDM_NULL, sizeof(struct scene), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (memory == MAP_FAILED)
		abort();
	return TDM_CAST(struct scene *, memory);
}

static void count_up_there(void *there)
{
	scene = TDM_CAST(struct scene *, there);
	count_up(TDM_NULL);
}

static void test_processes(void)
{
	pid_t children[PARTIES];
	struct scene *before = scene;
	char name[] = "/tmp/lock_test_XXXXXX";
	int file = mkstemp(name);
	if (file < 0 || unlink(name) != 0 || ftruncate(file, sizeof(struct scene)) != 0)
		abort();
	scene = mapped(file);
	begin("processes that map it at different addresses take turns");
	for (unsigned i = 0; i < PARTIES; i++)
		children[i] = child_start(count_up_there, mapped(file));
	count_up(TDM_NULL);
	for (unsigned i = 0; i < PARTIES; i++)
		child_end(children[i]);
	CHECK_EQ_U64(scene->data, (PARTIES + 1) * ROUNDS);
	CHECK_STATUS(FORM(destroy)(&scene->lock), TDM_OK);
	close(file);
	scene = before;
}

static void test_dead_holder(void)
{
	begin("a holder that is killed leaves it locked");
	pid_t child = child_start(hold, TDM_NULL);
	CHECK(child_await_u32(&scene->stage, 1));
	child_kill(child);
	CHECK(!FORM(try_lock)(&scene->lock));
	CHECK_STATUS(FORM(lock_until)(&scene->lock, tdm_deadline_after_ns(1000000)), TDM_TIMED_OUT);
	CHECK_STATUS(FORM(destroy)(&scene->lock), TDM_BUSY);
}

// --- misuse ---

static void unlock_there(void *unused)
{
	(void)unused;
	CHECK_STATUS(FORM(unlock)(&scene->lock), TDM_NOT_OWNER);
}

static void *unlock_in_thread(void *unused)
{
	unlock_there(unused);
	return TDM_NULL;
}

static void test_misuse(void)
{
	struct LOCK *lock = &scene->lock;
	pthread_t thread;
	if (!TDM_CHECKED)
		return;
	begin("unlocking what nobody holds is TDM_NOT_OWNER, and does nothing");
	CHECK_STATUS(FORM(unlock)(lock), TDM_NOT_OWNER);
	CHECK(is_zero(lock, sizeof(*lock)));
	CHECK_STATUS(FORM(lock)(lock), TDM_OK);
	CHECK_STATUS(FORM(unlock)(lock), TDM_OK);
	CHECK_STATUS(FORM(unlock)(lock), TDM_NOT_OWNER);
	CHECK(FORM(try_lock)(lock));
	CHECK_STATUS(FORM(unlock)(lock), TDM_OK);

	begin("unlocking what another thread or process holds is TDM_NOT_OWNER, and does nothing");
	for (int i = 0; i < 3; i++) {
		CHECK(i == 0   ? FORM(try_lock)(lock)
		      : i == 1 ? FORM(lock)(lock) == TDM_OK
			       : FORM(lock_until)(lock, 0) == TDM_OK);
		CHECK(pthread_create(&thread, TDM_NULL, unlock_in_thread, TDM_NULL) == 0);
		CHECK(pthread_join(thread, TDM_NULL) == 0);
		child_end(child_start(unlock_there, TDM_NULL));
		CHECK(!FORM(try_lock)(lock));
		CHECK_STATUS(FORM(unlock)(lock), TDM_OK);
	}

	begin("locking what one holds is TDM_DEADLOCK, and does nothing");
	CHECK_STATUS(FORM(lock)(lock), TDM_OK);
	CHECK_STATUS(FORM(lock)(lock), TDM_DEADLOCK);
	CHECK_STATUS(FORM(lock_until)(lock, 0), TDM_DEADLOCK);
	CHECK_STATUS(FORM(lock_until)(lock, TDM_FOREVER), TDM_DEADLOCK);
	CHECK(!FORM(try_lock)(lock));
	CHECK_STATUS(FORM(unlock)(lock), TDM_OK);
	CHECK_STATUS(FORM(lock)(lock), TDM_OK);
	CHECK_STATUS(FORM(unlock)(lock), TDM_OK);

	begin("who waits for a holder without checks is told nothing, and waits");
	FORM(lock_unchecked)(lock);
	CHECK_STATUS(FORM(lock_until)(lock, 0), TDM_TIMED_OUT);
	CHECK_STATUS(FORM(unlock)(lock), FOREIGN);
	if (FOREIGN == TDM_NOT_OWNER)
		FORM(unlock_unchecked)(lock);
	CHECK_STATUS(FORM(lock)(lock), TDM_OK);
	CHECK_STATUS(FORM(unlock)(lock), TDM_OK);
	CHECK_STATUS(FORM(destroy)(lock), TDM_OK);
}

static void test_all_forms(void)
{
	scene = TDM_CAST(struct scene *, child_shared(sizeof(*scene)));
	test_zero();
	test_destroy();
	test_deadlines();
	test_waiting();
	test_handler();
	test_threads();
	test_processes();
	test_dead_holder();
	test_misuse();
}

#endif
