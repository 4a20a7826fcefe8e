// SPDX-License-Identifier: BSD-2-Clause
// The robust ticket lock, one behaviour at a time, in threads and in processes that die. Compiled
// as C and as C++.
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

#include <tandem/lock/robust_ticket.h>
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

#define SEATS 8U
#define LONG_NS UINT64_C(60000000000)

// What processes share beside the lock.
struct scene {
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u32 stage;
	tdm_atomic_u32 counts[TDM_STATUS_COUNT_]; // of what locking answered
	uint64_t data;                            // what the lock protects
	uint32_t served;                          // under the lock: how many were,
	uint32_t order[SEATS];                    // and who, by number
};

static struct tdm_segment segment;
static struct scene *scene;
static struct tdm_robust_ticket *lock;
static struct tdm_participant keeper, *self = &keeper; // the main thread's
static const uint64_t queued = TDM_ROBUST_TICKET_QUEUED_;

static struct tdm_span lock_span(void)
{
	return tdm_segment_find(&segment, "lock");
}

static void make_again(void)
{
	struct tdm_object object = tdm_robust_ticket_object("lock");
	object.seats = SEATS;
	tdm_tsan_forget_(lock);
	CHECK_STATUS(tdm_robust_ticket_object_init_(lock_span(), &object), TDM_OK);
}

static void begin(const char *sentence)
{
	tap_case(sentence);
	make_again();
	memset(TDM_CAST(void *, scene), 0, sizeof(*scene));
	memset(&calls, 0, sizeof(calls));
}

static uint64_t word(void)
{
	return tdm_load_relaxed_u64(&lock->owner);
}

static void set_word(uint64_t value)
{
	tdm_store_relaxed_u64(&lock->owner, value);
}

static uint64_t ticket(uint32_t seat)
{
	return tdm_load_acquire_u64(&tdm_robust_ticket_seat_(lock, seat)->ticket);
}

static void set_ticket(uint32_t seat, uint64_t generation, uint64_t value)
{
	tdm_store_relaxed_u64(&tdm_robust_ticket_seat_(lock, seat)->generation, generation);
	tdm_store_release_u64(&tdm_robust_ticket_seat_(lock, seat)->ticket, value);
	tdm_store_relaxed_u32(&lock->used, SEATS);
}

// Waits until so many queue.
static bool await_queue(uint32_t length)
{
	uint64_t deadline_ns = tdm_deadline_after_ns(LONG_NS);
	for (;;) {
		uint32_t waiting = 0;
		for (uint32_t seat = 0; seat < SEATS; seat++)
			waiting += ticket(seat) != 0;
		if (waiting == length && (length == 0 || (word() & queued) != 0))
			return true;
		if (tdm_now_ns() > deadline_ns)
			return false;
		child_sleep_ms(1);
	}
}

// --- other threads and processes ---

// Somebody else, who joins first.
struct other {
	void (*body)(struct tdm_participant *me, uint32_t number);
	uint32_t number;
	bool stays; // ends without leaving
};

static void act(const struct other *other)
{
	struct tdm_participant mine;
	CHECK_STATUS(tdm_segment_join(&segment, &mine, "other"), TDM_OK);
	other->body(&mine, other->number);
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

static void await_stage(uint32_t stage)
{
	CHECK(child_await_u32(&scene->stage, stage));
}

static void set_stage(uint32_t stage)
{
	tdm_store_release_u32(&scene->stage, stage);
}

// Holds it from stage 1 to stage 2.
static void hold(struct tdm_participant *me, uint32_t number)
{
	(void)number;
	CHECK_STATUS(tdm_robust_ticket_lock(lock, me), TDM_OK);
	scene->data++;
	set_stage(1);
	while (tdm_load_acquire_u32(&scene->stage) != 2)
		child_sleep_ms(1);
	scene->data++;
	CHECK_STATUS(tdm_robust_ticket_unlock(lock, me), TDM_OK);
}

static struct other holder = {hold, 0, false};
static pthread_t holding;

static void start_holder(void)
{
	set_stage(0);
	holding = thread_start(&holder);
	await_stage(1);
}

static void end_holder(void)
{
	set_stage(2);
	thread_end(holding);
}

// A process that dies holding it.
static void kill_holder(void)
{
	set_stage(0);
	pid_t child = child_start(act_in_process, &holder);
	await_stage(1);
	child_kill(child);
}

// Queues for it, says when it was served, and counts the answers.
static void be_served(struct tdm_participant *me, uint32_t number)
{
	enum tdm_status status = tdm_robust_ticket_lock(lock, me);
	tdm_fetch_add_relaxed_u32(&scene->counts[status], 1);
	if (status == TDM_NOT_RECOVERABLE)
		return;
	if (status == TDM_OWNER_DIED)
		CHECK_STATUS(tdm_robust_ticket_make_consistent(lock, me), TDM_OK);
	scene->order[scene->served++] = number;
	CHECK_STATUS(tdm_robust_ticket_unlock(lock, me), TDM_OK);
}

static void be_late(struct tdm_participant *me, uint32_t number)
{
	(void)number;
	CHECK_STATUS(tdm_robust_ticket_lock_until(lock, me, tdm_deadline_after_ns(20000000)),
		     TDM_TIMED_OUT);
	set_stage(9);
}

// --- making and finding ---

static void test_attach(void)
{
	struct tdm_robust_ticket *found = lock;
	struct tdm_span span = lock_span();
	begin("attach finds it, and refuses what it is not, with a status for each");
	CHECK_STATUS(tdm_robust_ticket_attach(&found, span, self), TDM_OK);
	CHECK(found == lock);
	CHECK_STATUS(tdm_robust_ticket_attach(&found, tdm_segment_find(&segment, "no"), self),
		     TDM_NOT_FOUND);
	CHECK(found == TDM_NULL);
	CHECK_STATUS(tdm_robust_ticket_attach(&found, tdm_segment_find(&segment, "other"), self),
		     TDM_WRONG_KIND);
	CHECK_STATUS(tdm_robust_ticket_attach(&found, span, TDM_NULL), TDM_NEEDS_PARTICIPANT);
	struct tdm_span bad = span;
	bad.read_only = true;
	CHECK_STATUS(tdm_robust_ticket_attach(&found, bad, self), TDM_READ_ONLY);
	bad = span;
	bad.bytes--;
	CHECK_STATUS(tdm_robust_ticket_attach(&found, bad, self), TDM_BAD_GEOMETRY);
	unsigned char elsewhere[1024];
	CHECK_STATUS(
	    tdm_robust_ticket_attach(&found, tdm_memory(elsewhere, sizeof(elsewhere)), self),
	    TDM_INVALID);
	bad = tdm_segment_find(&segment, "zeros");
	bad.kind = TDM_KIND_NONE;
	CHECK_STATUS(tdm_robust_ticket_attach(&found, bad, self), TDM_NOT_INITIALIZED);
	CHECK(found == TDM_NULL);

	begin("it takes 128 bytes and 32 for each seat, and is made in no less");
	struct tdm_object object = tdm_robust_ticket_object("lock");
	object.seats = SEATS;
	CHECK_EQ_U64(object.size(&object), 128 + 32 * SEATS);
	CHECK(span.bytes >= object.size(&object));
	bad = span;
	bad.bytes = object.size(&object) - 1;
	CHECK_STATUS(object.init(bad, &object), TDM_INVALID);
}

// --- one thread ---

static void test_forms(void)
{
	begin("it is locked and unlocked in every form, without a system call");
	for (int i = 0; i < 3; i++) {
		CHECK_STATUS(tdm_robust_ticket_lock(lock, self), TDM_OK);
		CHECK_EQ_U64(word(), tdm_owner_of_(self));
		CHECK_STATUS(tdm_robust_ticket_unlock(lock, self), TDM_OK);
		CHECK_EQ_U64(word(), 0);
		CHECK_STATUS(tdm_robust_ticket_try_lock(lock, self), TDM_OK);
		CHECK_STATUS(tdm_robust_ticket_unlock(lock, self), TDM_OK);
		CHECK_STATUS(tdm_robust_ticket_lock_until(lock, self, 0), TDM_OK);
		CHECK_STATUS(tdm_robust_ticket_unlock(lock, self), TDM_OK);
		CHECK_STATUS(tdm_robust_ticket_lock_until(lock, self, TDM_FOREVER), TDM_OK);
		CHECK_STATUS(tdm_robust_ticket_unlock(lock, self), TDM_OK);
	}
	CHECK_EQ_U64(calls.waits + calls.wakes + calls.looks + calls.yields, 0);
	CHECK_EQ_U64(tdm_load_relaxed_u64(&lock->drawn), 0);
}

static void refuse_stranger(struct tdm_participant *me, uint32_t number)
{
	uint64_t before = word();
	(void)number;
	CHECK_STATUS(tdm_robust_ticket_unlock(lock, me), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_robust_ticket_make_consistent(lock, me), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_robust_ticket_try_lock(lock, me), TDM_BUSY);
	CHECK_EQ_U64(word(), before);
}

static void test_misuse(void)
{
	struct other stranger = {refuse_stranger, 0, false};
	begin("unlocking what nobody holds is TDM_NOT_OWNER, and does nothing");
	CHECK_STATUS(tdm_robust_ticket_unlock(lock, self), TDM_NOT_OWNER);
	CHECK_STATUS(tdm_robust_ticket_make_consistent(lock, self), TDM_NOT_OWNER);
	CHECK_EQ_U64(word(), 0);

	begin("what another thread or process holds is theirs");
	CHECK_STATUS(tdm_robust_ticket_lock(lock, self), TDM_OK);
	thread_end(thread_start(&stranger));
	child_end(child_start(act_in_process, &stranger));
	CHECK_STATUS(tdm_robust_ticket_unlock(lock, self), TDM_OK);

	begin("locking what one holds is TDM_DEADLOCK in every form, and does nothing");
	CHECK_STATUS(tdm_robust_ticket_lock(lock, self), TDM_OK);
	CHECK_STATUS(tdm_robust_ticket_lock(lock, self), TDM_DEADLOCK);
	CHECK_STATUS(tdm_robust_ticket_try_lock(lock, self), TDM_DEADLOCK);
	CHECK_STATUS(tdm_robust_ticket_lock_until(lock, self, 0), TDM_DEADLOCK);
	CHECK_STATUS(tdm_robust_ticket_lock_until(lock, self, TDM_FOREVER), TDM_DEADLOCK);
	CHECK_STATUS(tdm_robust_ticket_make_consistent(lock, self), TDM_INVALID);
	CHECK_EQ_U64(word(), tdm_owner_of_(self));
	CHECK_EQ_U64(tdm_load_relaxed_u64(&lock->drawn), 0);
	CHECK_STATUS(tdm_robust_ticket_unlock(lock, self), TDM_OK);
	CHECK_EQ_U64(calls.waits, 0);
}

// --- waiting ---

static void test_deadlines(void)
{
	begin("what is held is waited for until the deadline, and not less");
	start_holder();
	CHECK_STATUS(tdm_robust_ticket_try_lock(lock, self), TDM_BUSY);
	CHECK_STATUS(tdm_robust_ticket_lock_until(lock, self, 0), TDM_TIMED_OUT);
	CHECK_EQ_U64(calls.waits, 0);
	uint64_t latest_ns = TDM_FOREVER;
	for (int i = 0; i < 20 && latest_ns > 1000000; i++) {
		uint64_t deadline_ns = tdm_deadline_after_ns(10000000);
		CHECK_STATUS(tdm_robust_ticket_lock_until(lock, self, deadline_ns), TDM_TIMED_OUT);
		uint64_t late_ns = tdm_now_ns() - deadline_ns;
		CHECK(late_ns < UINT64_C(1) << 63);
		latest_ns = late_ns < latest_ns ? late_ns : latest_ns;
	}
	CHECK(latest_ns <= 1000000);
	CHECK(calls.waits != 0);
	CHECK_EQ_U64(ticket(self->index), 0);
	end_holder();
	CHECK_EQ_U64(word(), 0); // that somebody queued is forgotten
	CHECK_STATUS(tdm_robust_ticket_try_lock(lock, self), TDM_OK);
	CHECK_STATUS(tdm_robust_ticket_unlock(lock, self), TDM_OK);
}

static void test_sleep_is_free(void)
{
	begin("two seconds in the queue take 2 ms of CPU, or little more than sleep");
	bool little = false;
	start_holder();
	for (int i = 0; i < 3 && !little; i++) {
		uint64_t before_ns = cpu_ns();
		CHECK_STATUS(
		    tdm_robust_ticket_lock_until(lock, self, tdm_deadline_after_ns(2000000000)),
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
	CHECK_STATUS(tdm_robust_ticket_lock(lock, self), TDM_SYSTEM);
	CHECK_EQ_U64(TDM_CAST(uint64_t, errno), EPERM);
	CHECK_EQ_U64(ticket(self->index), 0);
	refuse_waits = false;
	end_holder();

	begin("where the kernel does not say who lives, it is TDM_SYSTEM and not a death");
	kill_holder();
	uint64_t before = word();
	refuse_looks = true;
	errno = 0;
	CHECK_STATUS(tdm_robust_ticket_try_lock(lock, self), TDM_SYSTEM);
	CHECK_EQ_U64(TDM_CAST(uint64_t, errno), ENOLCK);
	errno = 0;
	CHECK_STATUS(tdm_robust_ticket_lock(lock, self), TDM_SYSTEM);
	CHECK_EQ_U64(TDM_CAST(uint64_t, errno), ENOLCK);
	CHECK_EQ_U64(word() & ~queued, before & ~queued);
	refuse_looks = false;
	CHECK_STATUS(tdm_robust_ticket_lock(lock, self), TDM_OWNER_DIED);

	begin("nor is it one of those who queue");
	struct tdm_participant living;
	CHECK_STATUS(tdm_segment_join(&segment, &living, "living"), TDM_OK);
	set_ticket(living.index, living.generation, 1);
	tdm_store_relaxed_u64(&lock->drawn, 1);
	set_word(queued);
	refuse_looks = true;
	CHECK_STATUS(tdm_robust_ticket_try_lock(lock, self), TDM_SYSTEM);
	CHECK_STATUS(tdm_robust_ticket_lock(lock, self), TDM_SYSTEM);
	CHECK_EQ_U64(ticket(living.index), 1);
	CHECK_EQ_U64(word(), queued);
	refuse_looks = false;
	CHECK_STATUS(tdm_participant_leave(&living), TDM_OK);
}

// --- the order ---

#define QUEUE 5U

// Each queues when the one before it does. Number `odd`, if any, leaves the queue: it gives up, or
// is killed.
static void serve(uint32_t odd, bool killed)
{
	struct other others[QUEUE];
	pthread_t threads[QUEUE];
	pid_t child = -1;
	CHECK_STATUS(tdm_robust_ticket_lock(lock, self), TDM_OK);
	for (uint32_t i = 0; i < QUEUE; i++) {
		others[i].body = i == odd && !killed ? be_late : be_served;
		others[i].number = i;
		others[i].stays = false;
		if (i == odd && killed)
			child = child_start(act_in_process, &others[i]);
		else
			threads[i] = thread_start(&others[i]);
		CHECK(i == odd && !killed ? child_await_u32(&scene->stage, 9)
					  : await_queue(i + 1 - (i > odd && !killed)));
	}
	if (killed)
		child_kill(child);
	CHECK_STATUS(tdm_robust_ticket_unlock(lock, self), TDM_OK);
	for (uint32_t i = 0; i < QUEUE; i++)
		if (i != odd || !killed)
			thread_end(threads[i]);
	CHECK_EQ_U64(scene->served, odd < QUEUE ? QUEUE - 1 : QUEUE);
	for (uint32_t i = 0; i < scene->served; i++)
		CHECK_EQ_U64(scene->order[i], i + (i >= odd));
	CHECK_EQ_U64(scene->served, tdm_load_relaxed_u32(&scene->counts[TDM_OK]));
	CHECK(await_queue(0));
	CHECK_EQ_U64(word(), 0);
}

static void test_order(void)
{
	char sentence[100];
	begin("who queues first is served first");
	serve(QUEUE, false);
	for (uint32_t odd = 0; odd < QUEUE; odd++) {
		snprintf(sentence, sizeof(sentence), "number %u, who gives up, is passed over",
			 odd + 1);
		begin(sentence);
		serve(odd, false);
	}
	for (uint32_t odd = 0; odd < QUEUE - 1; odd++) {
		snprintf(sentence, sizeof(sentence), "number %u, who is killed, is passed over",
			 odd + 1);
		begin(sentence);
		serve(odd, true);
	}

	begin("nobody passes over one who queues, though the lock is free");
	struct tdm_participant first;
	CHECK_STATUS(tdm_segment_join(&segment, &first, "first"), TDM_OK);
	set_ticket(first.index, first.generation, 1);
	tdm_store_relaxed_u64(&lock->drawn, 1);
	set_word(queued);
	CHECK_STATUS(tdm_robust_ticket_try_lock(lock, self), TDM_BUSY);
	CHECK_STATUS(tdm_robust_ticket_lock_until(lock, self, 0), TDM_TIMED_OUT);
	CHECK_STATUS(tdm_robust_ticket_lock_until(lock, self, tdm_deadline_after_ns(1000000)),
		     TDM_TIMED_OUT);
	CHECK_EQ_U64(word(), queued);
	CHECK_STATUS(tdm_robust_ticket_try_lock(lock, &first), TDM_BUSY); // its ticket, too
	set_ticket(first.index, first.generation, 0);
	CHECK_STATUS(tdm_robust_ticket_try_lock(lock, self), TDM_OK);
	CHECK_EQ_U64(word(), tdm_owner_of_(self) | queued);
	CHECK_STATUS(tdm_robust_ticket_unlock(lock, self), TDM_OK);
	CHECK_EQ_U64(word(), 0);

	begin("a ticket of the dead stops nobody, in whatever form");
	CHECK_STATUS(tdm_participant_leave(&first), TDM_OK);
	for (unsigned form = 0; form < 3; form++) {
		set_ticket(first.index, first.generation, 1);
		set_ticket(SEATS - 1, 77, 2);
		tdm_store_relaxed_u64(&lock->drawn, 2);
		set_word(queued);
		CHECK_STATUS(form == 0   ? tdm_robust_ticket_try_lock(lock, self)
			     : form == 1 ? tdm_robust_ticket_lock_until(lock, self, 0)
					 : tdm_robust_ticket_lock(lock, self),
			     TDM_OK);
		CHECK_EQ_U64(ticket(first.index) + ticket(SEATS - 1), 0);
		CHECK_STATUS(tdm_robust_ticket_unlock(lock, self), TDM_OK);
		CHECK_EQ_U64(word(), 0);
	}

	begin("who queues in the seat of one who died in the queue does not inherit its ticket");
	set_ticket(self->index, self->generation - 1, 1);
	tdm_store_relaxed_u64(&lock->drawn, 1);
	start_holder();
	CHECK_STATUS(tdm_robust_ticket_lock_until(lock, self, 0), TDM_TIMED_OUT);
	CHECK_EQ_U64(ticket(self->index), 0);
	end_holder();
}

// --- several ---

#define PARTIES 3U
#define ROUNDS (TDM_UNDER_TSAN ? 300U : 1000U)

static void count_up(struct tdm_participant *me, uint32_t number)
{
	(void)number;
	for (unsigned i = 0; i < ROUNDS; i++) {
		enum tdm_status status =
		    i % 3 == 0
			? tdm_robust_ticket_lock_until(lock, me, tdm_deadline_after_ns(LONG_NS))
			: tdm_robust_ticket_lock(lock, me);
		CHECK_STATUS(status, TDM_OK);
		uint64_t seen = scene->data;
		if (i % 64 == 0)
			(void)sched_yield();
		scene->data = seen + 1;
		CHECK_STATUS(tdm_robust_ticket_unlock(lock, me), TDM_OK);
	}
}

static void test_turns(void)
{
	struct other counter = {count_up, 0, false};
	pthread_t threads[PARTIES];
	pid_t children[PARTIES - 1];
	begin("threads and processes take turns");
	for (unsigned i = 0; i < PARTIES - 1; i++)
		children[i] = child_start(act_in_process, &counter);
	for (unsigned i = 0; i < PARTIES; i++)
		threads[i] = thread_start(&counter);
	for (unsigned i = 0; i < PARTIES; i++)
		thread_end(threads[i]);
	for (unsigned i = 0; i < PARTIES - 1; i++)
		child_end(children[i]);
	CHECK_EQ_U64(scene->data, (2 * PARTIES - 1) * ROUNDS);
	CHECK_EQ_U64(word(), 0);
}

// --- deaths ---

static void take_over(struct tdm_participant *me, uint32_t number)
{
	(void)number;
	CHECK_STATUS(tdm_robust_ticket_lock(lock, me), TDM_OWNER_DIED);
}

static void hold_to_the_end(struct tdm_participant *me, uint32_t number)
{
	(void)number;
	CHECK_STATUS(tdm_robust_ticket_lock(lock, me), TDM_OK);
	scene->data++;
	set_stage(1);
	while (tdm_load_acquire_u32(&scene->stage) != 2)
		child_sleep_ms(1);
	scene->data++; // nothing but its end orders this before who comes next
}

static void test_died(void)
{
	struct other second = {take_over, 0, true};
	for (unsigned form = 0; form < 3; form++) {
		begin(form == 0   ? "try_lock takes over from the dead, and says so"
		      : form == 1 ? "a deadline that has passed is no reason not to hear of a death"
				  : "who waits takes over from the dead, and is told");
		kill_holder();
		CHECK_STATUS(form == 0   ? tdm_robust_ticket_try_lock(lock, self)
			     : form == 1 ? tdm_robust_ticket_lock_until(lock, self, 0)
					 : tdm_robust_ticket_lock(lock, self),
			     TDM_OWNER_DIED);
		CHECK_EQ_U64(scene->data, 1);
		CHECK_EQ_U64(word() & ~queued, tdm_owner_of_(self) | TDM_OWNER_INCONSISTENT_);
		CHECK_STATUS(tdm_robust_ticket_lock(lock, self), TDM_DEADLOCK);
		CHECK_STATUS(tdm_robust_ticket_make_consistent(lock, self), TDM_OK);
		CHECK_STATUS(tdm_robust_ticket_make_consistent(lock, self), TDM_INVALID);
		CHECK_STATUS(tdm_robust_ticket_unlock(lock, self), TDM_OK);
		CHECK_EQ_U64(word(), 0);
		CHECK_STATUS(tdm_robust_ticket_lock(lock, self), TDM_OK);
		CHECK_STATUS(tdm_robust_ticket_unlock(lock, self), TDM_OK);
	}

	begin("who takes over from the dead and dies leaves it unrepaired");
	kill_holder();
	child_end(child_start(act_in_process, &second));
	CHECK_STATUS(tdm_robust_ticket_lock(lock, self), TDM_OWNER_DIED);
	CHECK_STATUS(tdm_robust_ticket_make_consistent(lock, self), TDM_OK);
	CHECK_STATUS(tdm_robust_ticket_unlock(lock, self), TDM_OK);

	for (unsigned leaves = 0; leaves < 2; leaves++) {
		begin(leaves ? "one that leaves its seat without unlocking has died, too"
			     : "a thread that ends without unlocking has died");
		struct other ends = {hold_to_the_end, 0, leaves == 0};
		pthread_t thread = thread_start(&ends);
		await_stage(1);
		CHECK_STATUS(tdm_robust_ticket_try_lock(lock, self), TDM_BUSY);
		set_stage(2);
		CHECK_STATUS(tdm_robust_ticket_lock(lock, self), TDM_OWNER_DIED);
		CHECK_EQ_U64(scene->data, 2);
		thread_end(thread);
	}
}

static void test_many_find_the_dead(void)
{
	struct other others[PARTIES];
	pthread_t threads[PARTIES];
	begin("the first of many in the queue is told that the holder died, and only that one");
	pid_t child = child_start(act_in_process, &holder);
	await_stage(1);
	for (unsigned i = 0; i < PARTIES; i++) {
		others[i].body = be_served;
		others[i].number = i;
		others[i].stays = false;
		threads[i] = thread_start(&others[i]);
		CHECK(await_queue(i + 1));
	}
	child_kill(child);
	for (unsigned i = 0; i < PARTIES; i++)
		thread_end(threads[i]);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->counts[TDM_OWNER_DIED]), 1);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->counts[TDM_OK]), PARTIES - 1);
	for (unsigned i = 0; i < PARTIES; i++)
		CHECK_EQ_U64(scene->order[i], i);
	CHECK_EQ_U64(word(), 0);

	begin("all who queue are told that it was given up unrepaired");
	struct other stranger = {refuse_stranger, 0, false};
	kill_holder();
	CHECK_STATUS(tdm_robust_ticket_lock(lock, self), TDM_OWNER_DIED);
	thread_end(thread_start(&stranger));
	for (unsigned i = 0; i < PARTIES; i++)
		threads[i] = thread_start(&others[i]);
	CHECK(await_queue(PARTIES));
	child_sleep_ms(20); // most of them sleep by now
	CHECK_STATUS(tdm_robust_ticket_unlock(lock, self), TDM_NOT_RECOVERABLE);
	for (unsigned i = 0; i < PARTIES; i++)
		thread_end(threads[i]);
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->counts[TDM_NOT_RECOVERABLE]), PARTIES);

	begin("what was given up unrepaired stays so, in every form");
	for (unsigned i = 0; i < 2; i++) {
		set_word(i == 0 ? TDM_OWNER_LOST_ : TDM_OWNER_LOST_ | queued);
		CHECK_STATUS(tdm_robust_ticket_lock(lock, self), TDM_NOT_RECOVERABLE);
		CHECK_STATUS(tdm_robust_ticket_try_lock(lock, self), TDM_NOT_RECOVERABLE);
		CHECK_STATUS(tdm_robust_ticket_lock_until(lock, self, 0), TDM_NOT_RECOVERABLE);
		CHECK_STATUS(tdm_robust_ticket_unlock(lock, self), TDM_NOT_OWNER);
		CHECK_STATUS(tdm_robust_ticket_make_consistent(lock, self), TDM_NOT_OWNER);
	}
}

// --- participants ---

static void every_call_answers(struct tdm_robust_ticket *it, struct tdm_participant *who,
			       enum tdm_status expected)
{
	CHECK_STATUS(tdm_robust_ticket_lock(it, who), expected);
	CHECK_STATUS(tdm_robust_ticket_try_lock(it, who), expected);
	CHECK_STATUS(tdm_robust_ticket_lock_until(it, who, TDM_FOREVER), expected);
	CHECK_STATUS(tdm_robust_ticket_unlock(it, who), expected);
	CHECK_STATUS(tdm_robust_ticket_make_consistent(it, who), expected);
}

static void inherit(void *unused)
{
	struct tdm_robust_ticket *found;
	(void)unused;
	every_call_answers(lock, &keeper, TDM_FORKED);
	CHECK_STATUS(tdm_robust_ticket_attach(&found, lock_span(), &keeper), TDM_FORKED);
}

static void test_participants(void)
{
	struct tdm_participant gone, foreign;
	struct tdm_segment elsewhere;
	struct tdm_segment_options options;
	begin("without a participant it is TDM_NEEDS_PARTICIPANT");
	every_call_answers(lock, TDM_NULL, TDM_NEEDS_PARTICIPANT);
	CHECK_STATUS(tdm_segment_join(&segment, &gone, "gone"), TDM_OK);
	CHECK_STATUS(tdm_participant_leave(&gone), TDM_OK);
	every_call_answers(lock, &gone, TDM_NEEDS_PARTICIPANT);

	begin("a participant inherited through fork is TDM_FORKED");
	child_end(child_start(inherit, TDM_NULL));
	CHECK_STATUS(tdm_robust_ticket_lock(lock, self), TDM_OK);
	child_end(child_start(inherit, TDM_NULL));
	CHECK_STATUS(tdm_robust_ticket_unlock(lock, self), TDM_OK);

	begin("a participant of another segment is TDM_INVALID");
	memset(&options, 0, sizeof(options));
	struct tdm_object object = tdm_bytes_object("none", 64, 64, TDM_NULL);
	CHECK_STATUS(tdm_segment_create(&elsewhere, &object, 1, &options), TDM_OK);
	CHECK_STATUS(tdm_segment_join(&elsewhere, &foreign, "foreign"), TDM_OK);
	every_call_answers(lock, &foreign, TDM_INVALID);
	CHECK_STATUS(tdm_participant_leave(&foreign), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&elsewhere), TDM_OK);
	static struct tdm_robust_ticket outside;
	every_call_answers(&outside, self, TDM_INVALID);
	every_call_answers(TDM_NULL, self, TDM_INVALID);
	CHECK_EQ_U64(word(), 0);
}

// --- garbage ---

static void meets(uint64_t garbage, enum tdm_status expected)
{
	uint64_t soon = tdm_deadline_after_ns(2000000);
	enum tdm_status tried = expected == TDM_TIMED_OUT ? TDM_BUSY : expected;
	for (uint64_t flag = 0; flag <= queued; flag += queued) {
		set_word(garbage | flag);
		CHECK_STATUS(tdm_robust_ticket_try_lock(lock, self), tried);
		set_word(garbage | flag);
		CHECK_STATUS(tdm_robust_ticket_lock_until(lock, self, soon), expected);
		set_word(garbage | flag);
		CHECK_STATUS(tdm_robust_ticket_lock_until(lock, self, 0), expected);
	}
	CHECK(tdm_now_ns() < soon + 10000000000);
}

static void test_garbage(void)
{
	static const uint64_t states[] = {0x0800, 0x2000, 0x8000, 0x1800, 0xb800};
	uint64_t mine = tdm_owner_of_(self);
	begin("an impossible owner is TDM_CORRUPT, and any other is somebody, dead or alive");
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		meets(states[i], TDM_CORRUPT);
		meets(states[i] | UINT64_C(0x10000), TDM_CORRUPT);
		if (states[i] != TDM_OWNER_INCONSISTENT_)
			meets(states[i] | mine, TDM_CORRUPT);
	}
	meets(0, TDM_OK);
	meets(TDM_OWNER_LOST_, TDM_NOT_RECOVERABLE);
	meets(TDM_OWNER_LOST_ | UINT64_C(0x10000), TDM_CORRUPT);
	meets(UINT64_C(0x10000), TDM_CORRUPT); // a generation, and nobody
	meets(SEATS + 1, TDM_CORRUPT);         // behind the last seat
	meets(TDM_OWNER_INDEX_MASK_, TDM_CORRUPT);
	meets(mine, TDM_DEADLOCK);
	meets(mine | TDM_OWNER_INCONSISTENT_, TDM_DEADLOCK);
	meets(mine + 0x10000, TDM_OWNER_DIED);
	meets(SEATS, TDM_OWNER_DIED); // a seat where nobody has ever sat
	struct tdm_participant living;
	CHECK_STATUS(tdm_segment_join(&segment, &living, "living"), TDM_OK);
	meets(tdm_owner_of_(&living), TDM_TIMED_OUT);
	meets(tdm_owner_of_(&living) | TDM_OWNER_INCONSISTENT_, TDM_TIMED_OUT);

	begin("counts and tickets that nobody wrote end no wait but at its deadline");
	tdm_store_relaxed_u64(&lock->drawn, UINT64_MAX);
	meets(0, TDM_OK); // with ticket 0
	meets(0, TDM_OK);
	make_again();
	tdm_store_relaxed_u32(&lock->used, UINT32_MAX);
	tdm_store_relaxed_u32(&lock->seats, UINT32_MAX);
	meets(0, TDM_OK);
	set_ticket(living.index, living.generation, UINT64_MAX);
	meets(0, TDM_OK);
	set_ticket(living.index, living.generation, 1);
	tdm_store_relaxed_u64(&lock->drawn, 9);
	set_word(queued);
	CHECK_STATUS(tdm_robust_ticket_lock_until(lock, self, tdm_deadline_after_ns(2000000)),
		     TDM_TIMED_OUT);
	CHECK_STATUS(tdm_participant_leave(&living), TDM_OK);

	begin("a ticket that was overlooked is found by its owner within a slice");
	struct other other = {be_served, 7, false};
	CHECK_STATUS(tdm_robust_ticket_lock(lock, self), TDM_OK);
	pthread_t thread = thread_start(&other);
	CHECK(await_queue(1));
	tdm_store_relaxed_u32(&lock->used, 0);
	CHECK_STATUS(tdm_robust_ticket_unlock(lock, self), TDM_OK);
	thread_end(thread);
	CHECK_EQ_U64(scene->order[0], 7);

	begin("random bits in it do no harm");
	uint64_t bits = 88172645463325252U;
	for (int i = 0; i < 2000; i++) {
		for (size_t at = 0; at < (sizeof(*lock) + SEATS * 32) / 8; at++) {
			bits ^= bits << 13, bits ^= bits >> 7, bits ^= bits << 17;
			uint64_t part = i % 2 == 0 ? bits : bits & (bits >> 17) & (bits >> 34);
			memcpy(TDM_AT_(unsigned char, lock, at * 8), &part, 8);
		}
		CHECK(tdm_robust_ticket_lock_until(lock, self, 0) < TDM_STATUS_COUNT_);
		CHECK(tdm_robust_ticket_unlock(lock, self) < TDM_STATUS_COUNT_);
		CHECK(tdm_robust_ticket_try_lock(lock, self) < TDM_STATUS_COUNT_);
		CHECK(tdm_robust_ticket_make_consistent(lock, self) < TDM_STATUS_COUNT_);
	}
}

int main(void)
{
	struct tdm_segment_options options;
	memset(&options, 0, sizeof(options));
	options.sealed = true;
	options.seats = SEATS;
	struct tdm_object objects[] = {
	    tdm_bytes_object("scene", sizeof(struct scene), TDM_CACHE_LINE, TDM_NULL),
	    tdm_robust_ticket_object("lock"),
	    tdm_bytes_object("zeros", 1024, TDM_CACHE_LINE, TDM_NULL),
	    tdm_bytes_object("other", 1024, TDM_CACHE_LINE, TDM_NULL),
	};
	if (tdm_segment_create(&segment, objects, 4, &options) != TDM_OK ||
	    tdm_segment_join(&segment, &keeper, "keeper") != TDM_OK ||
	    tdm_robust_ticket_attach(&lock, lock_span(), self) != TDM_OK)
		return 1;
	scene = TDM_CAST(struct scene *, tdm_segment_find(&segment, "scene").base);
	test_attach();
	test_forms();
	test_misuse();
	test_deadlines();
	test_sleep_is_free();
	test_refused();
	test_order();
	test_turns();
	test_died();
	test_many_find_the_dead();
	test_participants();
	test_garbage();
	CHECK_STATUS(tdm_participant_leave(&keeper), TDM_OK);
	CHECK_STATUS(tdm_segment_close(&segment), TDM_OK);
	return tap_done();
}
