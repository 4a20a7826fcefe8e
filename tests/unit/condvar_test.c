// SPDX-License-Identifier: BSD-2-Clause
// The condition variable, one behaviour at a time, with plain and robust mutexes. Compiled as C and
// as C++.
#include <stdint.h>

#include <tandem/base/atomic.h>
#include <tandem/base/status.h>

static __thread unsigned wakes, waits;
static bool refuse_waits;

static enum tdm_status seam_wait(tdm_atomic_u32 *word, uint32_t expected, uint64_t deadline_ns);
static void seam_wake(tdm_atomic_u32 *word, uint32_t count);

#define TDM_SEAM_FUTEX_WAIT(word, expected, deadline_ns) seam_wait(word, expected, deadline_ns)
#define TDM_SEAM_FUTEX_WAKE(word, count) seam_wake(word, count)

#include <tandem/shm/segment.h>
#include <tandem/sync/condvar.h>

#include <pthread.h>

#include "../support/child.h"
#include "../support/cpu.h"
#include "../support/tap.h"

#if TDM_UNDER_TSAN
// Misuse is tested here, and reported elsewhere.
TDM_BEGIN_DECLS
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "report_mutex_bugs=0:report_destroy_locked=0";
}
TDM_END_DECLS
#endif

static enum tdm_status seam_wait(tdm_atomic_u32 *word, uint32_t expected, uint64_t deadline_ns)
{
	waits++;
	if (refuse_waits) {
		errno = EPERM;
		return TDM_SYSTEM;
	}
	return tdm_futex_wait_kernel_(word, expected, deadline_ns);
}

static void seam_wake(tdm_atomic_u32 *word, uint32_t count)
{
	wakes++;
	tdm_futex_wake_kernel_(word, count);
}

// What two processes share.
struct scene {
	TDM_ALIGNAS(TDM_CACHE_LINE) struct tdm_mutex mutex;
	struct tdm_condvar condvar;
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u32 waiting, through, stage;
	uint64_t tokens, sum; // under the mutex
};

static struct tdm_segment segment;
static struct scene *scene;
static struct tdm_participant keeper;
static uint32_t flags;
static struct tdm_participant *self;

static bool robust(void)
{
	return (flags & TDM_MUTEX_ROBUST) != 0;
}

static void begin(const char *sentence)
{
	char text[200];
	snprintf(text, sizeof(text), "%s: %s", robust() ? "robust" : "plain", sentence);
	tap_case(text);
	memset(TDM_CAST(void *, scene), 0, sizeof(*scene));
	self = robust() ? &keeper : TDM_NULL;
	CHECK_STATUS(tdm_mutex_init(&scene->mutex, flags), TDM_OK);
	wakes = waits = 0;
}

static enum tdm_status wait_for(uint64_t ns)
{
	return tdm_condvar_wait_until(&scene->condvar, &scene->mutex, self,
				      tdm_deadline_after_ns(ns));
}

static void enter(struct tdm_participant *me)
{
	enum tdm_status status = tdm_mutex_lock(&scene->mutex, me);
	if (status == TDM_OWNER_DIED)
		status = tdm_mutex_make_consistent(&scene->mutex, me);
	CHECK_STATUS(status, TDM_OK);
}

static void leave(struct tdm_participant *me)
{
	CHECK_STATUS(tdm_mutex_unlock(&scene->mutex, me), TDM_OK);
}

// --- other threads and processes ---

typedef void body_function(struct tdm_participant *me);
static body_function *body;

static void act(void *unused)
{
	struct tdm_participant mine;
	(void)unused;
	if (robust())
		CHECK_STATUS(tdm_segment_join(&segment, &mine, "other"), TDM_OK);
	body(robust() ? &mine : TDM_NULL);
	if (robust())
		CHECK_STATUS(tdm_participant_leave(&mine), TDM_OK);
}

static void *act_in_thread(void *unused)
{
	act(unused);
	return TDM_NULL;
}

#define WAITERS 3U
static pthread_t threads[WAITERS];

static void start_threads(body_function *does)
{
	body = does;
	for (unsigned i = 0; i < WAITERS; i++)
		if (pthread_create(&threads[i], TDM_NULL, act_in_thread, TDM_NULL) != 0)
			abort();
	CHECK(child_await_u32(&scene->waiting, WAITERS));
}

static void end_threads(void)
{
	for (unsigned i = 0; i < WAITERS; i++)
		CHECK(pthread_join(threads[i], TDM_NULL) == 0);
}

// Takes one token.
static void take_token(struct tdm_participant *me)
{
	enter(me);
	tdm_fetch_add_relaxed_u32(&scene->waiting, 1);
	while (scene->tokens == 0) {
		enum tdm_status status = tdm_condvar_wait(&scene->condvar, &scene->mutex, me);
		if (status == TDM_OWNER_DIED)
			status = tdm_mutex_make_consistent(&scene->mutex, me);
		CHECK_STATUS(status, TDM_OK);
	}
	scene->tokens--;
	scene->sum++;
	leave(me);
	tdm_fetch_add_relaxed_u32(&scene->through, 1);
}

static void put_tokens(uint64_t tokens)
{
	enter(self); // by now all sleep, or will be told
	scene->tokens += tokens;
	leave(self);
}

// --- cases ---

static void test_free(void)
{
	static const unsigned char zeros[sizeof(struct tdm_condvar)] = {0};
	begin("zero-filled memory is one, and signalling nobody costs no system call");
	CHECK_EQ_U64(sizeof(struct tdm_condvar), 4);
	for (int i = 0; i < 1000; i++) {
		tdm_condvar_signal(&scene->condvar);
		tdm_condvar_broadcast(&scene->condvar);
	}
	CHECK_EQ_U64(wakes, 0);
	CHECK(memcmp(&scene->condvar, zeros, sizeof(zeros)) == 0);

	begin("once nobody waits any more, signalling is free again after 64 times");
	enter(self);
	CHECK_STATUS(wait_for(1000), TDM_TIMED_OUT);
	leave(self);
	for (int i = 0; i < 1000; i++)
		tdm_condvar_signal(&scene->condvar);
	CHECK(wakes > 0 && wakes <= 65);
	enter(self);
	CHECK_STATUS(wait_for(1000), TDM_TIMED_OUT);
	leave(self);
	wakes = 0;
	for (int i = 0; i < 1000; i++)
		tdm_condvar_broadcast(&scene->condvar);
	CHECK_EQ_U64(wakes, 1);
	CHECK_STATUS(tdm_condvar_destroy(&scene->condvar), TDM_OK);
	CHECK(memcmp(&scene->condvar, zeros, sizeof(zeros)) == 0);
}

static void test_deadlines(void)
{
	begin("a wait ends at its deadline, not before, with the mutex held");
	enter(self);
	CHECK_STATUS(tdm_condvar_wait_until(&scene->condvar, &scene->mutex, self, 0),
		     TDM_TIMED_OUT);
	CHECK_EQ_U64(waits, 0);
	uint64_t latest_ns = TDM_FOREVER;
	for (int i = 0; i < 100 && latest_ns > 1000000; i++) {
		uint64_t deadline_ns = tdm_deadline_after_ns(5000000);
		CHECK_STATUS(
		    tdm_condvar_wait_until(&scene->condvar, &scene->mutex, self, deadline_ns),
		    TDM_TIMED_OUT);
		uint64_t late_ns = tdm_now_ns() - deadline_ns;
		CHECK(late_ns < UINT64_C(1) << 63);
		latest_ns = late_ns < latest_ns ? late_ns : latest_ns;
	}
	CHECK(latest_ns <= 1000000);
	CHECK_STATUS(tdm_mutex_destroy(&scene->mutex), TDM_BUSY);
	leave(self);

	begin(robust() ? "a wait that nobody ends ends within a slice"
		       : "a wait that nobody ends goes on, and costs no CPU");
	uint64_t began_ns = tdm_now_ns(), used_ns = cpu_ns();
	enter(self);
	if (robust()) {
		CHECK_STATUS(wait_for(60 * TDM_NS_PER_S_), TDM_OK);
		CHECK(tdm_now_ns() - began_ns >= TDM_EVENT_SLICE_NS_);
	} else {
		CHECK_STATUS(wait_for(TDM_NS_PER_S_), TDM_TIMED_OUT);
		CHECK(waits <= 60);
		CHECK(cpu_is_little(cpu_ns() - used_ns, cpu_of_sleeping_ns()));
	}
	leave(self);

	begin("a kernel that refuses to wait ends the wait with TDM_SYSTEM, and the mutex held");
	enter(self);
	refuse_waits = true;
	CHECK_STATUS(tdm_condvar_wait(&scene->condvar, &scene->mutex, self), TDM_SYSTEM);
	CHECK_EQ_U64(TDM_CAST(uint64_t, errno), EPERM);
	refuse_waits = false;
	leave(self);
}

static void test_wakes(void)
{
	begin("each signal lets one of those who wait through");
	start_threads(take_token);
	for (uint32_t i = 1; i <= WAITERS; i++) {
		put_tokens(1);
		tdm_condvar_signal(&scene->condvar);
		CHECK(child_await_u32(&scene->through, i));
	}
	end_threads();
	CHECK_EQ_U64(scene->sum, WAITERS);

	begin("a broadcast lets all of them through");
	start_threads(take_token);
	put_tokens(WAITERS);
	tdm_condvar_broadcast(&scene->condvar);
	end_threads();
	CHECK_EQ_U64(scene->sum, WAITERS);

	begin("processes wait for each other as threads do");
	body = take_token;
	pid_t children[WAITERS];
	for (unsigned i = 0; i < WAITERS; i++)
		children[i] = child_start(act, TDM_NULL);
	CHECK(child_await_u32(&scene->waiting, WAITERS));
	for (unsigned i = 0; i < WAITERS; i++) {
		put_tokens(1);
		tdm_condvar_signal(&scene->condvar);
	}
	for (unsigned i = 0; i < WAITERS; i++)
		child_end(children[i]);
	CHECK_EQ_U64(scene->sum, WAITERS);
}

#define TURNS 20000U

// A buffer of one: with each turn it is filled and emptied.
static void fill(struct tdm_participant *me)
{
	for (unsigned i = 0; i < TURNS; i++) {
		enter(me);
		while (scene->tokens == 1)
			CHECK_STATUS(tdm_condvar_wait(&scene->condvar, &scene->mutex, me), TDM_OK);
		scene->tokens = 1;
		leave(me);
		tdm_condvar_signal(&scene->condvar);
	}
}

static void test_turns(void)
{
	begin("two that wait for each other all the time lose no signal");
	body = fill;
	pthread_t thread;
	CHECK(pthread_create(&thread, TDM_NULL, act_in_thread, TDM_NULL) == 0);
	uint64_t longest_ns = 0;
	for (unsigned i = 0; i < TURNS; i++) {
		uint64_t began_ns = tdm_now_ns();
		enter(self);
		while (scene->tokens == 0)
			CHECK_STATUS(tdm_condvar_wait(&scene->condvar, &scene->mutex, self),
				     TDM_OK);
		scene->tokens = 0;
		leave(self);
		tdm_condvar_signal(&scene->condvar);
		uint64_t took_ns = tdm_now_ns() - began_ns;
		longest_ns = took_ns > longest_ns ? took_ns : longest_ns;
	}
	CHECK(pthread_join(thread, TDM_NULL) == 0);
	tap_note("the longest turn took %.3f ms", TDM_CAST(double, longest_ns) / 1e6);
}

static void test_misuse(void)
{
	struct tdm_condvar *condvar = &scene->condvar;
	struct tdm_mutex *mutex = &scene->mutex;
	begin("who does not hold the mutex is told TDM_NOT_OWNER at once");
	CHECK_STATUS(tdm_condvar_wait(condvar, mutex, self), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_condvar_wait_until(condvar, mutex, self, 0), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_OK);
	leave(self);
	if (!robust())
		return;

	begin("without a participant it is TDM_NEEDS_PARTICIPANT");
	CHECK_STATUS(tdm_condvar_wait(condvar, mutex, TDM_NULL), TDM_NEEDS_PARTICIPANT);
	CHECK_EQ_U64(waits, 0);

	begin("a mutex that is to be repaired first is not given up");
	tdm_store_relaxed_u64(&mutex->owner, tdm_owner_pack_(keeper.index, 0));
	CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_OWNER_DIED);
	CHECK_STATUS(tdm_condvar_wait(condvar, mutex, self), TDM_INVALID);
	CHECK_STATUS(tdm_mutex_make_consistent(mutex, self), TDM_OK);
	leave(self);

	begin("neither is one that is locked more than once");
	CHECK_STATUS(tdm_mutex_init(mutex, TDM_MUTEX_ROBUST | TDM_MUTEX_RECURSIVE), TDM_OK);
	CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_OK);
	CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_OK);
	CHECK_STATUS(tdm_condvar_wait(condvar, mutex, self), TDM_INVALID);
	leave(self);
	CHECK_STATUS(wait_for(1000), TDM_TIMED_OUT);
	leave(self);
}

static void die_inside(struct tdm_participant *me)
{
	enter(me);
	scene->sum = 7;
	tdm_store_release_u32(&scene->stage, 1);
	child_sleep_ms(60000);
}

static void change_and_die(struct tdm_participant *me)
{
	enter(me);
	scene->tokens = 1;
	leave(me);
	tdm_store_release_u32(&scene->stage, 1);
	child_sleep_ms(60000);
}

static void *kill_at_stage(void *child)
{
	CHECK(child_await_u32(&scene->stage, 1));
	child_kill(*TDM_CAST(pid_t *, child));
	return TDM_NULL;
}

static void test_deaths(void)
{
	begin("who waits while a holder dies gets the mutex, and is told");
	pthread_t killer;
	enter(self);
	body = die_inside;
	pid_t child = child_start(act, TDM_NULL);
	CHECK(pthread_create(&killer, TDM_NULL, kill_at_stage, &child) == 0);
	enum tdm_status status = TDM_OK;
	while (status == TDM_OK)
		status = wait_for(60 * TDM_NS_PER_S_);
	CHECK_STATUS(status, TDM_OWNER_DIED);
	CHECK_EQ_U64(scene->sum, 7);
	CHECK_STATUS(tdm_mutex_make_consistent(&scene->mutex, self), TDM_OK);
	leave(self);
	CHECK(pthread_join(killer, TDM_NULL) == 0);

	begin("what one changed who died before it could signal is found out");
	enter(self);
	body = change_and_die;
	child = child_start(act, TDM_NULL);
	CHECK(pthread_create(&killer, TDM_NULL, kill_at_stage, &child) == 0);
	while (scene->tokens == 0)
		CHECK_STATUS(wait_for(60 * TDM_NS_PER_S_), TDM_OK);
	leave(self);
	CHECK(pthread_join(killer, TDM_NULL) == 0);

	begin("who dies waiting takes nothing away from the others");
	body = take_token;
	child = child_start(act, TDM_NULL);
	CHECK(child_await_u32(&scene->waiting, 1));
	child_kill(child);
	tdm_store_relaxed_u32(&scene->waiting, 0);
	start_threads(take_token);
	for (uint32_t i = 1; i <= WAITERS; i++) {
		put_tokens(1);
		tdm_condvar_signal(&scene->condvar);
		CHECK(child_await_u32(&scene->through, i));
	}
	end_threads();
}

int main(void)
{
	struct tdm_segment_options options;
	memset(&options, 0, sizeof(options));
	options.sealed = true;
	struct tdm_object object =
	    tdm_bytes_object("scene", sizeof(struct scene), TDM_CACHE_LINE, TDM_NULL);
	if (tdm_segment_create(&segment, &object, 1, &options) != TDM_OK ||
	    tdm_segment_join(&segment, &keeper, "keeper") != TDM_OK)
		return 1;
	scene = TDM_CAST(struct scene *, tdm_segment_find(&segment, "scene").base);
	for (int i = 0; i < 2; i++) {
		flags = i == 0 ? 0 : TDM_MUTEX_ROBUST;
		test_free();
		test_deadlines();
		test_wakes();
		test_turns();
		test_misuse();
		if (robust())
			test_deaths();
	}
	CHECK_STATUS(tdm_participant_leave(&keeper), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	return tap_done();
}
