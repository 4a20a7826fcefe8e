// SPDX-License-Identifier: BSD-2-Clause
// The mutex, one behaviour at a time: plain and robust, parking and spinning, in threads and in
// processes that die. Compiled as C and as C++, and once more with TDM_CHECKED.
#include <stdbool.h>
#include <stdint.h>

#include <tandem/base/atomic.h>
#include <tandem/base/status.h>

// System calls of this thread. Refusals are for cases with one thread.
static __thread struct {
	unsigned waits, wakes, looks, yields;
} calls;
static bool refuse_waits, refuse_looks;

static enum tdm_status seam_wait(tdm_atomic_u32 *word, uint32_t expected, uint64_t deadline_ns);
static void seam_wake(tdm_atomic_u32 *word, uint32_t count);
static enum tdm_status seam_look(int fd, uint32_t index);
static void seam_yield(void);

#define TDM_SEAM_FUTEX_WAIT(word, expected, deadline_ns) seam_wait(word, expected, deadline_ns)
#define TDM_SEAM_FUTEX_WAKE(word, count) seam_wake(word, count)
#define TDM_SEAM_SEAT_LOOK(fd, index) seam_look(fd, index)
#define TDM_SEAM_YIELD() seam_yield()

#include <tandem/lock/mutex.h>
#include <tandem/shm/segment.h>

#include <pthread.h>

#include "../support/child.h"
#include "../support/cpu.h"
#include "../support/tap.h"

#if TDM_UNDER_TSAN
// Misuse and threads that end without unlocking are what is tested here, and reported elsewhere.
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
	calls.waits++;
	if (refuse_waits) {
		errno = EPERM;
		return TDM_SYSTEM;
	}
	return tdm_futex_wait_kernel_(word, expected, deadline_ns);
}

static void seam_wake(tdm_atomic_u32 *word, uint32_t count)
{
	calls.wakes++;
	tdm_futex_wake_kernel_(word, count);
}

static enum tdm_status seam_look(int fd, uint32_t index)
{
	calls.looks++;
	if (refuse_looks) {
		errno = ENOLCK;
		return TDM_SYSTEM;
	}
	return tdm_seat_look_kernel_(fd, index);
}

static void seam_yield(void)
{
	calls.yields++;
	(void)sched_yield();
}

// What two processes share.
struct scene {
	TDM_ALIGNAS(TDM_CACHE_LINE) struct tdm_mutex mutex;
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u32 stage;
	tdm_atomic_u32 counts[TDM_STATUS_COUNT_]; // of what locking answered
	uint64_t data;                            // what the mutex protects
};

static struct tdm_segment segment;
static struct scene *scene;
static struct tdm_participant keeper; // the main thread's
static uint32_t flags;                // of the mutex
static struct tdm_participant *self;  // of the main thread, NULL where the mutex is plain

#define SEATS 8U

static bool robust(void)
{
	return (flags & TDM_MUTEX_ROBUST) != 0;
}

static bool spins(void)
{
	return (flags & TDM_MUTEX_SPIN) != 0;
}

static void begin(const char *sentence)
{
	char text[200];
	snprintf(text, sizeof(text), "%s%s%s mutex: %s", robust() ? "robust" : "plain",
		 spins() ? ", spinning" : "", TDM_CHECKED ? ", checked" : "", sentence);
	tap_case(text);
	memset(TDM_CAST(void *, scene), 0, sizeof(*scene));
	self = robust() ? &keeper : TDM_NULL;
	CHECK_STATUS(tdm_mutex_init(&scene->mutex, flags), TDM_OK);
	memset(&calls, 0, sizeof(calls));
}

static uint64_t word(void)
{
	return tdm_load_relaxed_u64(&scene->mutex.owner);
}

static void set_word(uint64_t value)
{
	tdm_store_relaxed_u64(&scene->mutex.owner, value);
}

// --- other threads and processes ---

// Somebody else, who joins first where the mutex is robust.
struct other {
	void (*body)(struct tdm_participant *me);
	bool stays; // ends without leaving
};

static void act(const struct other *other)
{
	struct tdm_participant mine;
	if (!robust()) {
		other->body(TDM_NULL);
		return;
	}
	CHECK_STATUS(tdm_segment_join(&segment, &mine, "other"), TDM_OK);
	other->body(&mine);
	if (!other->stays)
		CHECK_STATUS(tdm_participant_leave(&mine), TDM_OK);
}

static void *act_in_thread(void *other)
{
	act(TDM_CAST(const struct other *, other));
	return TDM_NULL;
}

static void act_in_process(void *other)
{
	act(TDM_CAST(const struct other *, other));
}

static pthread_t thread_start(struct other *other)
{
	pthread_t thread;
	if (pthread_create(&thread, TDM_NULL, act_in_thread, other) != 0)
		abort();
	return thread;
}

static void thread_end(pthread_t thread)
{
	CHECK(pthread_join(thread, TDM_NULL) == 0);
}

// Runs it to its end, in a thread and in a process.
static void everywhere(void (*body)(struct tdm_participant *me))
{
	struct other other = {body, false};
	thread_end(thread_start(&other));
	child_end(child_start(act_in_process, &other));
}

static void hold(struct tdm_participant *me)
{
	CHECK_STATUS(tdm_mutex_lock(&scene->mutex, me), TDM_OK);
	tdm_store_release_u32(&scene->stage, 1);
	while (tdm_load_acquire_u32(&scene->stage) != 2)
		child_sleep_ms(1);
	CHECK_STATUS(tdm_mutex_unlock(&scene->mutex, me), TDM_OK);
}

static struct other holder = {hold, false};
static pthread_t holding;

static void start_holder(void)
{
	tdm_store_release_u32(&scene->stage, 0);
	holding = thread_start(&holder);
	CHECK(child_await_u32(&scene->stage, 1));
}

static void end_holder(void)
{
	tdm_store_release_u32(&scene->stage, 2);
	thread_end(holding);
}

// --- one thread ---

static void test_forms(void)
{
	struct tdm_mutex *mutex = &scene->mutex;
	begin("it is locked and unlocked in every form, without a system call");
	for (int i = 0; i < 3; i++) {
		CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_OK);
		CHECK_EQ_U64(word(), robust() ? tdm_owner_of_(self) : tdm_owner_plain_());
		CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_OK);
		CHECK_EQ_U64(word(), 0);
		CHECK_STATUS(tdm_mutex_try_lock(mutex, self), TDM_OK);
		CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_OK);
		CHECK_STATUS(tdm_mutex_lock_until(mutex, self, 0), TDM_OK);
		CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_OK);
		CHECK_STATUS(tdm_mutex_lock_until(mutex, self, TDM_FOREVER), TDM_OK);
		CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_OK);
	}
	CHECK_EQ_U64(calls.waits + calls.wakes + calls.looks + calls.yields, 0);
	CHECK_STATUS(tdm_mutex_destroy(mutex), TDM_OK);
}

static void test_destroy(void)
{
	static const unsigned char zeros[sizeof(struct tdm_mutex)] = {0};
	begin("destroying answers TDM_BUSY while it is held, and leaves zeros");
	tdm_store_relaxed_u32(&scene->mutex.freed.word, 99);
	tdm_store_relaxed_u32(&scene->mutex.depth, 99);
	CHECK_STATUS(tdm_mutex_lock(&scene->mutex, self), TDM_OK);
	CHECK_STATUS(tdm_mutex_destroy(&scene->mutex), TDM_BUSY);
	CHECK_STATUS(tdm_mutex_try_lock(&scene->mutex, self),
		     robust() || TDM_CHECKED ? TDM_DEADLOCK : TDM_BUSY);
	CHECK_STATUS(tdm_mutex_unlock(&scene->mutex, self), TDM_OK);
	CHECK_STATUS(tdm_mutex_destroy(&scene->mutex), TDM_OK);
	CHECK(memcmp(&scene->mutex, zeros, sizeof(zeros)) == 0);
}

static void unlock_as_stranger(struct tdm_participant *me)
{
	uint64_t before = word();
	CHECK_STATUS(tdm_mutex_unlock(&scene->mutex, me), TDM_NOT_OWNER);
	CHECK_EQ_U64(word(), before);
}

static void test_misuse(void)
{
	struct tdm_mutex *mutex = &scene->mutex;
	begin("unlocking what nobody holds is TDM_NOT_OWNER, and does nothing");
	CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_NOT_OWNER);
	CHECK_EQ_U64(word(), 0);
	CHECK_STATUS(tdm_mutex_make_consistent(mutex, self), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_OK);
	CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_OK);
	CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_NOT_OWNER);
	if (!robust() && !TDM_CHECKED)
		return;

	begin("unlocking what another thread or process holds is TDM_NOT_OWNER");
	CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_OK);
	everywhere(unlock_as_stranger);
	CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_OK);

	begin("locking what one holds is TDM_DEADLOCK in every form, and does nothing");
	CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_OK);
	CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_DEADLOCK);
	CHECK_STATUS(tdm_mutex_try_lock(mutex, self), TDM_DEADLOCK);
	CHECK_STATUS(tdm_mutex_lock_until(mutex, self, 0), TDM_DEADLOCK);
	CHECK_STATUS(tdm_mutex_lock_until(mutex, self, TDM_FOREVER), TDM_DEADLOCK);
	if (robust())
		CHECK_STATUS(tdm_mutex_make_consistent(mutex, self), TDM_INVALID);
	CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_OK);
	CHECK_EQ_U64(word(), 0);
	CHECK_EQ_U64(calls.waits, 0);
}

// --- deadlines ---

static void test_deadlines(void)
{
	begin("what is held is waited for until the deadline, and not less");
	start_holder();
	CHECK_STATUS(tdm_mutex_try_lock(&scene->mutex, self), TDM_BUSY);
	CHECK_STATUS(tdm_mutex_lock_until(&scene->mutex, self, 0), TDM_TIMED_OUT);
	CHECK_EQ_U64(calls.waits, 0);
	uint64_t allowed_ns = spins() ? 20000000 : 1000000; // a yield may take a slice of the CPU
	uint64_t latest_ns = TDM_FOREVER;
	for (int i = 0; i < 100 && latest_ns > allowed_ns; i++) {
		uint64_t deadline_ns = tdm_deadline_after_ns(5000000);
		CHECK_STATUS(tdm_mutex_lock_until(&scene->mutex, self, deadline_ns), TDM_TIMED_OUT);
		uint64_t late_ns = tdm_now_ns() - deadline_ns;
		CHECK(late_ns < UINT64_C(1) << 63);
		latest_ns = late_ns < latest_ns ? late_ns : latest_ns;
	}
	CHECK(latest_ns <= allowed_ns);
	CHECK_STATUS(tdm_mutex_destroy(&scene->mutex), TDM_BUSY);
	CHECK((calls.waits == 0) == spins());
	end_holder();
	CHECK_STATUS(tdm_mutex_try_lock(&scene->mutex, self), TDM_OK);
	CHECK_STATUS(tdm_mutex_unlock(&scene->mutex, self), TDM_OK);
}

static void unlock_soon(struct tdm_participant *me)
{
	CHECK_STATUS(tdm_mutex_lock(&scene->mutex, me), TDM_OK);
	tdm_store_release_u32(&scene->stage, 1);
	child_sleep_ms(20);
	scene->data = 7;
	memset(&calls, 0, sizeof(calls));
	CHECK_STATUS(tdm_mutex_unlock(&scene->mutex, me), TDM_OK);
	CHECK(!spins() || calls.wakes == 0);
}

static struct other unlocker = {unlock_soon, false};

static void test_waiting(void)
{
	for (int timed = 0; timed < 2; timed++) {
		begin(timed ? "who waits with a deadline gets it when it is unlocked"
			    : "who waits gets it when it is unlocked");
		pthread_t thread = thread_start(&unlocker);
		CHECK(child_await_u32(&scene->stage, 1));
		CHECK_STATUS(timed ? tdm_mutex_lock_until(&scene->mutex, self,
							  tdm_deadline_after_ns(60000000000))
				   : tdm_mutex_lock(&scene->mutex, self),
			     TDM_OK);
		CHECK_EQ_U64(scene->data, 7);
		CHECK_STATUS(tdm_mutex_unlock(&scene->mutex, self), TDM_OK);
		thread_end(thread);
	}
}

static void test_sleep_is_free(void)
{
	begin("two seconds of waiting take 2 ms of CPU, or little more than sleep");
	bool little = false;
	start_holder();
	for (int i = 0; i < 3 && !little; i++) {
		uint64_t before_ns = cpu_ns();
		CHECK_STATUS(
		    tdm_mutex_lock_until(&scene->mutex, self, tdm_deadline_after_ns(2000000000)),
		    TDM_TIMED_OUT);
		uint64_t used_ns = cpu_ns() - before_ns;
		tap_note("%.4f %% of a CPU", TDM_CAST(double, used_ns) / 2e9 * 100);
		little = cpu_is_little(used_ns, 0) || cpu_is_little(used_ns, cpu_of_sleeping_ns());
	}
	CHECK(little);
	end_holder();
}

static void test_refused(void)
{
	begin("a kernel that refuses to wait ends the wait with TDM_SYSTEM");
	start_holder();
	refuse_waits = true;
	errno = 0;
	CHECK_STATUS(tdm_mutex_lock(&scene->mutex, self), TDM_SYSTEM);
	CHECK_EQ_U64(TDM_CAST(uint64_t, errno), EPERM);
	refuse_waits = false;
	end_holder();
}

// --- several ---

#define PARTIES 3U
#define ROUNDS 2000U

static void count_up(struct tdm_participant *me)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		enum tdm_status status =
		    i % 3 == 0 ? tdm_mutex_lock_until(&scene->mutex, me,
						      tdm_deadline_after_ns(60000000000))
			       : tdm_mutex_lock(&scene->mutex, me);
		CHECK_STATUS(status, TDM_OK);
		uint64_t seen = scene->data;
		if (i % 64 == 0)
			(void)sched_yield();
		scene->data = seen + 1;
		CHECK_STATUS(tdm_mutex_unlock(&scene->mutex, me), TDM_OK);
	}
}

static struct other counter = {count_up, false};

static void test_turns(void)
{
	begin("threads and processes take turns");
	pthread_t threads[PARTIES];
	pid_t children[PARTIES - 1];
	for (unsigned i = 0; i < PARTIES - 1; i++)
		children[i] = child_start(act_in_process, &counter);
	for (unsigned i = 0; i < PARTIES; i++)
		threads[i] = thread_start(&counter);
	for (unsigned i = 0; i < PARTIES; i++)
		thread_end(threads[i]);
	for (unsigned i = 0; i < PARTIES - 1; i++)
		child_end(children[i]);
	CHECK_EQ_U64(scene->data, (2 * PARTIES - 1) * ROUNDS);
	CHECK_STATUS(tdm_mutex_destroy(&scene->mutex), TDM_OK);
}

// --- plain only ---

static void hold_forever(struct tdm_participant *me)
{
	CHECK_STATUS(tdm_mutex_lock(&scene->mutex, me), TDM_OK);
	scene->data++;
	tdm_store_release_u32(&scene->stage, 1);
	while (tdm_load_acquire_u32(&scene->stage) != 2)
		child_sleep_ms(1);
	scene->data++; // nothing but its end orders this before who comes next
}

static struct other victim = {hold_forever, true};

// A process that dies with the mutex locked.
static void kill_holder(void)
{
	tdm_store_release_u32(&scene->stage, 0);
	pid_t child = child_start(act_in_process, &victim);
	CHECK(child_await_u32(&scene->stage, 1));
	child_kill(child);
}

static void test_plain(void)
{
	static const unsigned char zeros[sizeof(struct tdm_mutex)] = {0};
	begin("zero-filled memory is an unlocked one");
	memset(TDM_CAST(void *, &scene->mutex), 0, sizeof(scene->mutex));
	CHECK_STATUS(tdm_mutex_destroy(&scene->mutex), TDM_OK);
	CHECK_STATUS(tdm_mutex_lock(&scene->mutex, TDM_NULL), TDM_OK);
	CHECK_STATUS(tdm_mutex_unlock(&scene->mutex, TDM_NULL), TDM_OK);
	CHECK(memcmp(&scene->mutex, zeros, sizeof(zeros)) == 0);

	begin("a participant is welcome and not looked at");
	CHECK_STATUS(tdm_mutex_lock(&scene->mutex, &keeper), TDM_OK);
	CHECK_EQ_U64(word(), tdm_owner_plain_());
	CHECK_STATUS(tdm_mutex_unlock(&scene->mutex, TDM_NULL), TDM_OK);

	begin("a holder that is killed leaves it locked");
	kill_holder();
	CHECK_STATUS(tdm_mutex_try_lock(&scene->mutex, TDM_NULL), TDM_BUSY);
	CHECK_STATUS(
	    tdm_mutex_lock_until(&scene->mutex, TDM_NULL, tdm_deadline_after_ns(150000000)),
	    TDM_TIMED_OUT);
	CHECK_STATUS(tdm_mutex_destroy(&scene->mutex), TDM_BUSY);
	CHECK_EQ_U64(calls.looks, 0);

	begin("who waits for a holder without checks waits, and either may unlock");
	set_word(TDM_OWNER_PLAIN_);
	CHECK_STATUS(tdm_mutex_lock_until(&scene->mutex, TDM_NULL, 0), TDM_TIMED_OUT);
	CHECK_STATUS(tdm_mutex_unlock(&scene->mutex, TDM_NULL), TDM_OK);
	CHECK_STATUS(tdm_mutex_lock(&scene->mutex, TDM_NULL), TDM_OK);
	CHECK_STATUS(tdm_mutex_unlock(&scene->mutex, TDM_NULL), TDM_OK);
}

static void test_flags(void)
{
	struct tdm_mutex mutex;
	flags = 0;
	begin("flags that mean nothing are TDM_INVALID");
	for (uint32_t bits = 0; bits < 16; bits++) {
		bool fine = bits < 8 && (bits & 3) != TDM_MUTEX_RECURSIVE;
		CHECK_STATUS(tdm_mutex_init(&mutex, bits), fine ? TDM_OK : TDM_INVALID);
	}
	CHECK_STATUS(tdm_mutex_init(&mutex, UINT32_C(1) << 31), TDM_INVALID);
	CHECK_EQ_U64(sizeof(mutex), 32);
}

// --- robust only ---

static void take_over(struct tdm_participant *me)
{
	CHECK_STATUS(tdm_mutex_lock(&scene->mutex, me), TDM_OWNER_DIED);
}

static void test_died(bool by_try)
{
	struct tdm_mutex *mutex = &scene->mutex;
	begin(by_try ? "try_lock takes over from the dead, and says so"
		     : "who waits takes over from the dead, and is told");
	kill_holder();
	if (by_try)
		CHECK_STATUS(tdm_mutex_try_lock(mutex, self), TDM_OWNER_DIED);
	else
		CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_OWNER_DIED);
	CHECK_EQ_U64(scene->data, 1);
	CHECK_EQ_U64(word(), tdm_owner_of_(self) | TDM_OWNER_INCONSISTENT_);
	CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_DEADLOCK);
	CHECK_STATUS(tdm_mutex_make_consistent(mutex, self), TDM_OK);
	CHECK_STATUS(tdm_mutex_make_consistent(mutex, self), TDM_INVALID);
	CHECK_EQ_U64(word(), tdm_owner_of_(self));
	CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_OK);
	CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_OK);
	CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_OK);

	begin("a deadline that has passed is no reason not to hear of a death");
	kill_holder();
	CHECK_STATUS(tdm_mutex_lock_until(mutex, self, 0), TDM_OWNER_DIED);
	CHECK_STATUS(tdm_mutex_make_consistent(mutex, self), TDM_OK);
	CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_OK);

	begin("who takes over from the dead and dies leaves it unrepaired");
	kill_holder();
	struct other second = {take_over, true};
	child_end(child_start(act_in_process, &second));
	CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_OWNER_DIED);
	CHECK_STATUS(tdm_mutex_make_consistent(mutex, self), TDM_OK);
	CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_OK);
}

static void refuse_stranger(struct tdm_participant *me)
{
	CHECK_STATUS(tdm_mutex_make_consistent(&scene->mutex, me), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_mutex_try_lock(&scene->mutex, me), TDM_BUSY);
	CHECK_STATUS(tdm_mutex_unlock(&scene->mutex, me), TDM_NOT_OWNER);
}

static void lock_and_count(struct tdm_participant *me)
{
	enum tdm_status status = tdm_mutex_lock(&scene->mutex, me);
	tdm_fetch_add_relaxed_u32(&scene->counts[status], 1);
	if (status == TDM_OWNER_DIED)
		CHECK_STATUS(tdm_mutex_make_consistent(&scene->mutex, me), TDM_OK);
	if (status != TDM_NOT_RECOVERABLE)
		CHECK_STATUS(tdm_mutex_unlock(&scene->mutex, me), TDM_OK);
}

static struct other lockers = {lock_and_count, false};

static void test_many_find_the_dead(void)
{
	begin("exactly one of many is told that the holder died");
	pid_t child = child_start(act_in_process, &victim);
	CHECK(child_await_u32(&scene->stage, 1));
	pthread_t threads[PARTIES];
	for (unsigned i = 0; i < PARTIES; i++)
		threads[i] = thread_start(&lockers);
	child_sleep_ms(20); // most of them sleep by now
	child_kill(child);
	for (unsigned i = 0; i < PARTIES; i++)
		thread_end(threads[i]);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->counts[TDM_OWNER_DIED]), 1);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->counts[TDM_OK]), PARTIES - 1);

	begin("all who wait are told that it was given up unrepaired");
	tdm_store_relaxed_u32(&scene->stage, 0);
	kill_holder();
	CHECK_STATUS(tdm_mutex_lock(&scene->mutex, self), TDM_OWNER_DIED);
	everywhere(refuse_stranger);
	for (unsigned i = 0; i < PARTIES; i++)
		threads[i] = thread_start(&lockers);
	child_sleep_ms(20);
	CHECK_STATUS(tdm_mutex_unlock(&scene->mutex, self), TDM_NOT_RECOVERABLE);
	for (unsigned i = 0; i < PARTIES; i++)
		thread_end(threads[i]);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->counts[TDM_NOT_RECOVERABLE]), PARTIES);

	begin("what was given up unrepaired stays so, in every form, until it is made again");
	struct tdm_mutex *mutex = &scene->mutex;
	set_word(TDM_OWNER_LOST_);
	CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_NOT_RECOVERABLE);
	CHECK_STATUS(tdm_mutex_try_lock(mutex, self), TDM_NOT_RECOVERABLE);
	CHECK_STATUS(tdm_mutex_lock_until(mutex, self, 0), TDM_NOT_RECOVERABLE);
	CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_mutex_make_consistent(mutex, self), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_mutex_init(mutex, flags), TDM_OK);
	CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_OK);
	CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_OK);
	set_word(TDM_OWNER_LOST_);
	CHECK_STATUS(tdm_mutex_destroy(mutex), TDM_OK);
}

static void test_thread_ends(void)
{
	begin("a thread that ends without unlocking has died");
	victim.stays = true;
	pthread_t thread = thread_start(&victim);
	CHECK(child_await_u32(&scene->stage, 1));
	CHECK_STATUS(tdm_mutex_try_lock(&scene->mutex, self), TDM_BUSY);
	tdm_store_release_u32(&scene->stage, 2);
	CHECK_STATUS(tdm_mutex_lock(&scene->mutex, self), TDM_OWNER_DIED);
	CHECK_EQ_U64(scene->data, 2);
	thread_end(thread);
	CHECK_STATUS(tdm_mutex_make_consistent(&scene->mutex, self), TDM_OK);
	CHECK_STATUS(tdm_mutex_unlock(&scene->mutex, self), TDM_OK);

	begin("one that leaves its seat without unlocking has died, too");
	victim.stays = false;
	tdm_store_release_u32(&scene->stage, 0);
	thread = thread_start(&victim);
	CHECK(child_await_u32(&scene->stage, 1));
	tdm_store_release_u32(&scene->stage, 2);
	CHECK_STATUS(tdm_mutex_lock(&scene->mutex, self), TDM_OWNER_DIED);
	thread_end(thread);
	CHECK_EQ_U64(scene->data, 2);
	victim.stays = true;
	CHECK_STATUS(tdm_mutex_make_consistent(&scene->mutex, self), TDM_OK);
	CHECK_STATUS(tdm_mutex_unlock(&scene->mutex, self), TDM_OK);
}

// Whether each call of the mutex answers `expected` to this participant.
static void every_call_answers(struct tdm_mutex *mutex, struct tdm_participant *who,
			       enum tdm_status expected)
{
	CHECK_STATUS(tdm_mutex_lock(mutex, who), expected);
	CHECK_STATUS(tdm_mutex_try_lock(mutex, who), expected);
	CHECK_STATUS(tdm_mutex_lock_until(mutex, who, TDM_FOREVER), expected);
	CHECK_STATUS(tdm_mutex_unlock(mutex, who), expected);
	CHECK_STATUS(tdm_mutex_make_consistent(mutex, who), expected);
}

static void inherit(void *unused)
{
	(void)unused;
	every_call_answers(&scene->mutex, &keeper, TDM_FORKED);
}

static void test_participants(void)
{
	struct tdm_participant gone, foreign;
	struct tdm_segment elsewhere;
	struct tdm_segment_options options;
	begin("without a participant it is TDM_NEEDS_PARTICIPANT");
	every_call_answers(&scene->mutex, TDM_NULL, TDM_NEEDS_PARTICIPANT);
	CHECK_STATUS(tdm_segment_join(&segment, &gone, "gone"), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&gone), TDM_OK);
	every_call_answers(&scene->mutex, &gone, TDM_NEEDS_PARTICIPANT);

	begin("a participant inherited through fork is TDM_FORKED");
	child_end(child_start(inherit, TDM_NULL));
	CHECK_STATUS(tdm_mutex_lock(&scene->mutex, self), TDM_OK);
	child_end(child_start(inherit, TDM_NULL));
	CHECK_STATUS(tdm_mutex_unlock(&scene->mutex, self), TDM_OK);

	begin("a participant of another segment is TDM_INVALID");
	memset(&options, 0, sizeof(options));
	struct tdm_object object = tdm_bytes_object("none", 64, 64, TDM_NULL);
	CHECK_STATUS(tdm_segment_create(&elsewhere, &object, 1, &options), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&elsewhere, &foreign, "foreign"), TDM_OK);
	every_call_answers(&scene->mutex, &foreign, TDM_INVALID);
	CHECK_STATUS(tdm_participant_leave(&foreign), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&elsewhere), TDM_OK);
	struct tdm_mutex outside;
	CHECK_STATUS(tdm_mutex_init(&outside, TDM_MUTEX_ROBUST), TDM_OK);
	every_call_answers(&outside, self, TDM_INVALID);
	CHECK_EQ_U64(word(), 0);
}

static void test_refused_looks(void)
{
	begin("where the kernel does not say who lives, it is TDM_SYSTEM and not a death");
	kill_holder();
	uint64_t before = word();
	refuse_looks = true;
	errno = 0;
	CHECK_STATUS(tdm_mutex_try_lock(&scene->mutex, self), TDM_SYSTEM);
	CHECK_EQ_U64(TDM_CAST(uint64_t, errno), ENOLCK);
	errno = 0;
	CHECK_STATUS(tdm_mutex_lock(&scene->mutex, self), TDM_SYSTEM);
	CHECK_EQ_U64(TDM_CAST(uint64_t, errno), ENOLCK);
	CHECK_EQ_U64(word(), before);
	refuse_looks = false;
	CHECK_STATUS(tdm_mutex_lock(&scene->mutex, self), TDM_OWNER_DIED);
}

static void test_recursive(void)
{
	struct tdm_mutex *mutex = &scene->mutex;
	flags = TDM_MUTEX_ROBUST | TDM_MUTEX_RECURSIVE;
	begin("its holder may lock a recursive one again, and unlocks as often");
	for (unsigned depth = 0; depth < 5; depth++)
		CHECK_STATUS(depth % 2 == 0 ? tdm_mutex_lock(mutex, self)
					    : tdm_mutex_try_lock(mutex, self),
			     TDM_OK);
	CHECK_STATUS(tdm_mutex_lock_until(mutex, self, 0), TDM_OK);
	for (unsigned depth = 6; depth > 0; depth--) {
		everywhere(refuse_stranger);
		CHECK_STATUS(tdm_mutex_destroy(mutex), TDM_BUSY);
		CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_OK);
	}
	CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_NOT_OWNER);
	CHECK_EQ_U64(word(), 0);

	begin("locked again 2^32 times is TDM_FULL");
	CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_OK);
	tdm_store_relaxed_u32(&mutex->depth, UINT32_MAX - 1);
	CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_OK);
	CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_FULL);
	CHECK_STATUS(tdm_mutex_try_lock(mutex, self), TDM_FULL);
	CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_OK);
	tdm_store_relaxed_u32(&mutex->depth, 0);
	CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_OK);

	begin("how deep the dead had locked it does not count for the next");
	kill_holder();
	tdm_store_relaxed_u32(&mutex->depth, 3);
	CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_OWNER_DIED);
	CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_OK); // again, and still unrepaired
	CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_OK);
	CHECK_STATUS(tdm_mutex_make_consistent(mutex, self), TDM_OK);
	CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_OK);
	CHECK_EQ_U64(word(), 0);

	begin("a recursive one given up unrepaired is lost at the last unlock only");
	kill_holder();
	CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_OWNER_DIED);
	CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_OK);
	CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_OK);
	CHECK_STATUS(tdm_mutex_unlock(mutex, self), TDM_NOT_RECOVERABLE);
	CHECK_STATUS(tdm_mutex_lock(mutex, self), TDM_NOT_RECOVERABLE);
}

// --- garbage ---

static void meets(uint64_t garbage, enum tdm_status expected)
{
	struct tdm_mutex *mutex = &scene->mutex;
	uint64_t soon = tdm_deadline_after_ns(2000000);
	enum tdm_status tried = expected == TDM_TIMED_OUT ? TDM_BUSY : expected;
	set_word(garbage);
	CHECK_STATUS(tdm_mutex_try_lock(mutex, self), tried);
	set_word(garbage);
	CHECK_STATUS(tdm_mutex_lock_until(mutex, self, soon), expected);
	set_word(garbage);
	CHECK_STATUS(tdm_mutex_lock_until(mutex, self, 0), expected);
	CHECK(tdm_now_ns() < soon + 10000000000);
}

static void test_garbage(void)
{
	begin("an impossible owner is TDM_CORRUPT, and any other is somebody, dead or alive");
	uint64_t mine = tdm_owner_pack_(keeper.index, keeper.generation);
	uint64_t states[] = {0x0800, 0x1000, 0x2000, 0x4000, 0x8000, 0xf800};
	if (!robust()) {
		meets(mine, TDM_CORRUPT);
		meets(TDM_OWNER_LOST_, TDM_NOT_RECOVERABLE);
		meets(TDM_OWNER_PLAIN_ | 1, TDM_CORRUPT);
		meets(TDM_OWNER_PLAIN_ | UINT64_C(0xffffffffffff0000), TDM_TIMED_OUT);
		for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
			if (states[i] != TDM_OWNER_PLAIN_ && states[i] != TDM_OWNER_LOST_)
				meets(states[i], TDM_CORRUPT);
		meets(UINT64_MAX, TDM_CORRUPT);
		meets(1, TDM_CORRUPT);
		return;
	}
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (states[i] != TDM_OWNER_LOST_) {
			meets(states[i], TDM_CORRUPT);
			meets(states[i] | UINT64_C(0x10000), TDM_CORRUPT);
			if (states[i] != TDM_OWNER_INCONSISTENT_)
				meets(states[i] | mine, TDM_CORRUPT);
		}
	meets(TDM_OWNER_LOST_, TDM_NOT_RECOVERABLE);
	meets(TDM_OWNER_LOST_ | UINT64_C(0x10000), TDM_CORRUPT);
	meets(UINT64_C(0x10000), TDM_CORRUPT); // a generation, and nobody
	meets(SEATS + 1, TDM_CORRUPT);         // behind the last seat
	meets(TDM_OWNER_INDEX_MASK_, TDM_CORRUPT);
	meets(UINT64_MAX, TDM_CORRUPT);
	meets(mine, TDM_DEADLOCK);
	meets(mine | TDM_OWNER_INCONSISTENT_, TDM_DEADLOCK);
	meets(mine + 0x10000, TDM_OWNER_DIED);
	meets(tdm_owner_pack_(keeper.index, 0), TDM_OWNER_DIED);
	meets(SEATS, TDM_OWNER_DIED); // a seat where nobody has ever sat
	struct tdm_participant living;
	CHECK_STATUS(tdm_segment_join(&segment, &living, "living"), TDM_OK);
	meets(tdm_owner_of_(&living), TDM_TIMED_OUT);
	meets(tdm_owner_of_(&living) | TDM_OWNER_INCONSISTENT_, TDM_TIMED_OUT);
	CHECK_STATUS(tdm_participant_leave(&living), TDM_OK);
	meets(tdm_owner_of_(&living), TDM_OWNER_DIED);

	begin("random bits in the mutex do no harm");
	uint64_t bits = 88172645463325252U;
	for (int i = 0; i < 2000; i++) {
		for (size_t at = 0; at < sizeof(scene->mutex) / 8; at++) {
			bits ^= bits << 13, bits ^= bits >> 7, bits ^= bits << 17;
			uint64_t part = i % 2 == 0 ? bits : bits & (bits >> 17) & (bits >> 34);
			memcpy(TDM_AT_(unsigned char, &scene->mutex, at * 8), &part, 8);
		}
		CHECK(tdm_mutex_lock_until(&scene->mutex, self, 0) < TDM_STATUS_COUNT_);
		CHECK(tdm_mutex_unlock(&scene->mutex, self) < TDM_STATUS_COUNT_);
		CHECK(tdm_mutex_try_lock(&scene->mutex, self) < TDM_STATUS_COUNT_);
		CHECK(tdm_mutex_make_consistent(&scene->mutex, self) < TDM_STATUS_COUNT_);
		CHECK(tdm_mutex_destroy(&scene->mutex) < TDM_STATUS_COUNT_);
	}
}

int main(void)
{
	struct tdm_segment_options options;
	memset(&options, 0, sizeof(options));
	options.sealed = true;
	options.seats = SEATS;
	struct tdm_object object =
	    tdm_bytes_object("scene", sizeof(struct scene), TDM_CACHE_LINE, TDM_NULL);
	if (tdm_segment_create(&segment, &object, 1, &options) != TDM_OK ||
	    tdm_segment_join(&segment, &keeper, "keeper") != TDM_OK)
		return 1;
	scene = TDM_CAST(struct scene *, tdm_segment_find(&segment, "scene").base);

	static const uint32_t every[] = {0, TDM_MUTEX_SPIN, TDM_MUTEX_ROBUST,
					 TDM_MUTEX_ROBUST | TDM_MUTEX_SPIN};
	for (size_t i = 0; i < sizeof(every) / sizeof(every[0]); i++) {
		flags = every[i];
		test_forms();
		test_destroy();
		test_misuse();
		test_deadlines();
		test_waiting();
		test_turns();
		test_garbage();
		if (!spins()) {
			test_sleep_is_free();
			test_refused();
		}
		if (!robust()) {
			test_plain();
			continue;
		}
		test_died(false);
		test_died(true);
		test_many_find_the_dead();
		test_thread_ends();
		test_participants();
		test_refused_looks();
	}
	test_flags();
	test_recursive();
	CHECK_STATUS(tdm_participant_leave(&keeper), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	return tap_done();
}
