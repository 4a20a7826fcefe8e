// SPDX-License-Identifier: BSD-2-Clause
// The event, one behaviour at a time. Whatever it asks of the kernel goes through the counters
// below; where time matters, most cases bring their own clock. Compiled as C and as C++.
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <tandem/base/atomic.h>
#include <tandem/base/status.h>

typedef enum tdm_status wait_function(tdm_atomic_u32 *word, uint32_t expected,
				      uint64_t deadline_ns);
typedef void wake_function(tdm_atomic_u32 *word, uint32_t count);

// What the event did in this thread.
struct calls {
	unsigned pauses, yields, waits, wakes, barriers, registrations;
};
static __thread struct calls calls;

// How its surroundings behave; changed only while one thread runs.
static struct {
	uint64_t now_ns; // 0: the real clock
	wait_function *wait;
	wake_function *wake;
	bool fenced, refuse_registration, refuse_barrier;
} seam;

static uint64_t seam_now_ns(void);
static enum tdm_status seam_wait(tdm_atomic_u32 *word, uint32_t expected, uint64_t deadline_ns);
static void seam_wake(tdm_atomic_u32 *word, uint32_t count);
static bool seam_membarrier(int command);

#define TDM_SEAM_NOW_NS() seam_now_ns()
#define TDM_SEAM_FUTEX_WAIT(word, expected, deadline_ns) seam_wait(word, expected, deadline_ns)
#define TDM_SEAM_FUTEX_WAKE(word, count) seam_wake(word, count)
#define TDM_SEAM_MEMBARRIER(command) seam_membarrier(command)
#define TDM_SEAM_FENCED seam.fenced
#define TDM_SEAM_PAUSE() ((void)calls.pauses++)
#define TDM_SEAM_YIELD() ((void)calls.yields++, (void)sched_yield())

#include <tandem/sync/event.h>

#include "../support/cpu.h"
#include "../support/refuse.h"
#include "../support/tap.h"

static uint64_t seam_now_ns(void)
{
	return seam.now_ns != 0 ? seam.now_ns : tdm_clock_now_();
}

static enum tdm_status seam_wait(tdm_atomic_u32 *word, uint32_t expected, uint64_t deadline_ns)
{
	calls.waits++;
	return seam.wait != TDM_NULL ? seam.wait(word, expected, deadline_ns)
				     : tdm_futex_wait_kernel_(word, expected, deadline_ns);
}

static void seam_wake(tdm_atomic_u32 *word, uint32_t count)
{
	calls.wakes++;
	if (seam.wake != TDM_NULL)
		seam.wake(word, count);
	tdm_futex_wake_kernel_(word, count);
}

static bool seam_membarrier(int command)
{
	bool registers = command == TDM_MEMBARRIER_REGISTER_GLOBAL_EXPEDITED_;
	calls.registrations += registers;
	calls.barriers += !registers;
	if (registers ? seam.refuse_registration : seam.refuse_barrier)
		return false;
	if (seam.now_ns != 0) // a case with a clock of its own runs alone
		return true;
	return tdm_fence_call_kernel_(command);
}

// As a process that has just begun.
static void forget(void)
{
	memset(&seam, 0, sizeof(seam));
	memset(&calls, 0, sizeof(calls));
	tdm_store_relaxed_u32(&tdm_fence_state_, TDM_FENCE_UNKNOWN_);
	tdm_store_relaxed_u32(&tdm_event_poll_, 0);
	tdm_store_relaxed_u32(&tdm_backoff_cpus_, 2);
}

// As a process that has woken before.
static void begin(const char *sentence)
{
	tap_case(sentence);
	forget();
	(void)tdm_fence_register_();
	memset(&calls, 0, sizeof(calls));
}

static void begin_fenced(bool fenced, const char *sentence)
{
	char text[200];
	snprintf(text, sizeof(text), "%s event: %s", fenced ? "fenced" : "zero", sentence);
	begin(text);
}

static void make(struct tdm_event *event, bool fenced)
{
	memset(TDM_CAST(void *, event), 0, sizeof(*event));
	seam.fenced = fenced;
	if (fenced)
		tdm_event_init(event);
	seam.fenced = false;
}

static uint32_t word_of(const struct tdm_event *event)
{
	return tdm_load_relaxed_u32(&event->word);
}

// What attempts look at: a flag that lies beside its event, in memory that children share.
struct scene {
	struct tdm_event event;
	tdm_atomic_u32 flag, turn;
};
static struct scene *scene;

static void set_scene(bool fenced)
{
	make(&scene->event, fenced);
	tdm_store_relaxed_u32(&scene->flag, 0);
	tdm_store_relaxed_u32(&scene->turn, 0);
}

struct attempt {
	unsigned attempts, idles;
	unsigned succeeds_at; // this attempt succeeds, 0: when the flag is set
	enum tdm_status idle_answer;
	bool idle_sets_flag;
	unsigned pauses_at_idle[32];
	char log[64]; // 'a' attempt, 'i' idle, newest last
};

static void note_down(struct attempt *attempt, char what)
{
	size_t length = strlen(attempt->log);
	if (length == sizeof(attempt->log) - 1)
		memmove(attempt->log, attempt->log + 1, length--);
	attempt->log[length] = what;
	attempt->log[length + 1] = '\0';
}

static enum tdm_status try_once(void *context)
{
	struct attempt *attempt = TDM_CAST(struct attempt *, context);
	errno = EDOM; // attempts may spoil errno
	note_down(attempt, 'a');
	attempt->attempts++;
	if (attempt->succeeds_at != 0)
		return attempt->attempts == attempt->succeeds_at ? TDM_OK : TDM_EMPTY;
	return tdm_load_acquire_u32(&scene->flag) != 0 ? TDM_OK : TDM_EMPTY;
}

static enum tdm_status look_around(void *context)
{
	struct attempt *attempt = TDM_CAST(struct attempt *, context);
	note_down(attempt, 'i');
	if (attempt->idles < 32)
		attempt->pauses_at_idle[attempt->idles] = calls.pauses;
	attempt->idles++;
	if (attempt->idle_sets_flag)
		tdm_store_release_u32(&scene->flag, 1);
	return attempt->idle_answer;
}

static enum tdm_status await(struct attempt *attempt, uint64_t deadline_ns)
{
	struct tdm_patience patience = {0};
	return tdm_event_await(&scene->event, &patience, deadline_ns, TDM_EMPTY, try_once,
			       look_around, attempt);
}

static void publish(void)
{
	tdm_store_release_u32(&scene->flag, 1);
	tdm_event_notify(&scene->event);
}

static void sleep_ms(unsigned ms)
{
	uint64_t end = tdm_deadline_after_ns(ms * TDM_NS_PER_MS_);
	while (tdm_now_ns() < end)
		usleep(1000);
}

// Runs `body` in a child and demands that its checks hold.
static void in_child(void (*body)(void))
{
	int status = -1;
	pid_t child = fork();
	if (child == 0) {
		body();
		tap_child_exit();
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	CHECK_EQ_U64(TDM_CAST(uint64_t, status), 0);
}

#define NO_FILTERS 77 // a child's exit status

// Whether the kernel can take calls away at all.
static bool filters_work(void)
{
	int status = -1;
	pid_t child = fork();
	if (child == 0)
		_exit(refuse_call(-1, EPERM) ? 0 : NO_FILTERS);
	return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

// --- the word ---

static void test_layout(void)
{
	begin("an event is one line in memory, its word first");
	CHECK_EQ_U64(sizeof(struct tdm_event), 4);
	CHECK_EQ_U64(TDM_ALIGNOF(struct tdm_event), 4);
	CHECK_EQ_U64(offsetof(struct tdm_event, word), 0);
}

static void test_zero(void)
{
	static const unsigned char zeros[sizeof(struct tdm_event)] = {0};
	begin("a zero-filled page is a valid event");
	struct tdm_event *event =
	    TDM_CAST(struct tdm_event *, mmap(TDM_NULL, 4096, PROT_READ | PROT_WRITE,
					      MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	CHECK(event != MAP_FAILED);
	tdm_event_notify(event);
	CHECK(memcmp(event, zeros, sizeof(zeros)) == 0);
	uint32_t key = tdm_event_prepare(event);
	CHECK_EQ_U64(key, TDM_EVENT_ARMED_);
	CHECK_EQ_U64(word_of(event), TDM_EVENT_ARMED_);
	CHECK_STATUS(tdm_event_wait_until(event, key, tdm_deadline_after_ns(1000)), TDM_TIMED_OUT);
	tdm_event_notify(event);
	CHECK_STATUS(tdm_event_wait_until(event, key, TDM_FOREVER), TDM_OK);

	if (tdm_fence_register_() == TDM_FENCE_REGISTERED_) {
		memset(TDM_CAST(void *, event), 0x5a, sizeof(*event));
		tdm_event_init(event);
		CHECK_EQ_U64(word_of(event), 0);
	}
	make(event, true);
	CHECK_EQ_U64(word_of(event), TDM_EVENT_FENCED_);
	munmap(event, 4096);
}

static uint32_t word_at_wake, count_at_wake;

static void look_at_wake(tdm_atomic_u32 *word, uint32_t count)
{
	word_at_wake = tdm_load_relaxed_u32(word);
	count_at_wake = count;
}

static void test_wake(bool fenced)
{
	const uint32_t bits = fenced ? TDM_EVENT_FENCED_ : 0;
	begin_fenced(fenced, "notify moves the epoch and disarms, then wakes everybody, once");
	set_scene(fenced);
	seam.wake = look_at_wake;
	for (uint32_t epoch = 0; epoch < 3; epoch++) {
		uint32_t key = tdm_event_prepare(&scene->event);
		CHECK_EQ_U64(key, epoch * TDM_EVENT_EPOCH_ | bits | TDM_EVENT_ARMED_);
		CHECK_EQ_U64(tdm_event_prepare(&scene->event), key);
		tdm_event_notify(&scene->event);
		CHECK_EQ_U64(word_at_wake, ((epoch + 1) * TDM_EVENT_EPOCH_) | bits);
		CHECK_EQ_U64(word_of(&scene->event), word_at_wake);
		CHECK_EQ_U64(count_at_wake, UINT32_MAX);
		CHECK_EQ_U64(calls.wakes, epoch + 1);
		tdm_event_notify(&scene->event);
		CHECK_EQ_U64(word_of(&scene->event), word_at_wake);
		CHECK_EQ_U64(calls.wakes, epoch + 1);
	}

	begin_fenced(fenced, "the epoch wraps and leaves the other bits alone");
	tdm_store_relaxed_u32(&scene->event.word, 0U - TDM_EVENT_EPOCH_ + bits);
	CHECK_EQ_U64(tdm_event_prepare(&scene->event), UINT32_MAX - 2 + bits);
	tdm_event_notify(&scene->event);
	CHECK_EQ_U64(word_of(&scene->event), bits);
}

static void test_old_key(bool fenced)
{
	begin_fenced(fenced, "a key from before a notify does not sleep");
	set_scene(fenced);
	uint32_t key = tdm_event_prepare(&scene->event);
	tdm_event_notify(&scene->event);
	CHECK_STATUS(tdm_event_wait_until(&scene->event, key, TDM_FOREVER), TDM_OK);
	// Somebody else has armed it again since: still an old key.
	CHECK(tdm_event_prepare(&scene->event) != key);
	CHECK_STATUS(tdm_event_wait_until(&scene->event, key, TDM_FOREVER), TDM_OK);
	// And not because a slice is short.
	uint64_t far_away = tdm_deadline_after_ns(60 * TDM_NS_PER_S_);
	CHECK_STATUS(tdm_futex_wait_kernel_(&scene->event.word, key, far_away), TDM_OK);
	CHECK(tdm_now_ns() < far_away);
}

// --- what notify costs ---

static void test_free(bool fenced)
{
	begin_fenced(fenced, "notify with nobody parked makes no system call");
	set_scene(fenced);
	for (int i = 0; i < 1000; i++)
		tdm_event_notify(&scene->event);
	CHECK_EQ_U64(calls.wakes + calls.waits, 0);
	CHECK_EQ_U64(calls.barriers + calls.registrations, 0);

	begin_fenced(fenced, "the first notify of a process registers it, and only the first");
	set_scene(fenced);
	tdm_store_relaxed_u32(&tdm_fence_state_, TDM_FENCE_UNKNOWN_);
	for (int i = 0; i < 1000; i++)
		tdm_event_notify(&scene->event);
	CHECK_EQ_U64(calls.registrations, 1);
	CHECK_EQ_U64(calls.wakes + calls.waits + calls.barriers, 0);
}

static bool armed_first; // a waker with somebody to wake

static void notify_or_die(void)
{
	if (armed_first)
		(void)tdm_event_prepare(&scene->event);
	if (!refuse_all_but(SYS_exit_group))
		syscall(SYS_exit_group, NO_FILTERS);
	for (int i = 0; i < 1000; i++)
		tdm_event_notify(&scene->event);
	syscall(SYS_exit_group, 0);
}

static void test_free_for_the_kernel(bool fenced)
{
	begin_fenced(fenced, "a waker whom every system call would kill lives, until it must wake");
	if (!filters_work()) {
		tap_skip("no system call filters here");
		return;
	}
	set_scene(fenced);
	armed_first = false;
	in_child(notify_or_die);
	armed_first = true;
	int status = 0;
	pid_t child = fork();
	if (child == 0)
		notify_or_die();
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static void refused_wake(void)
{
	set_scene(false);
	memset(&calls, 0, sizeof(calls));
	(void)tdm_event_prepare(&scene->event);
	CHECK(refuse_call(TDM_SYS_FUTEX_, EPERM));
	errno = EXDEV;
	tdm_event_notify(&scene->event);
	CHECK_EQ_U64(TDM_CAST(uint64_t, errno), EXDEV);
	CHECK_EQ_U64(calls.wakes, 1);
}

static void test_errno(void)
{
	begin("notify leaves errno alone, even when the kernel refuses to wake or to register");
	set_scene(false);
	tdm_store_relaxed_u32(&tdm_fence_state_, TDM_FENCE_UNKNOWN_);
	errno = EXDEV;
	CHECK(!tdm_fence_call_kernel_(-1));
	(void)tdm_event_prepare(&scene->event);
	tdm_event_notify(&scene->event);
	CHECK_EQ_U64(TDM_CAST(uint64_t, errno), EXDEV);
	if (filters_work())
		in_child(refused_wake);
}

// --- deadlines ---

static uint64_t slice_start_ns, slice_end_ns;

// Sleeps by the fake clock, to the end.
static enum tdm_status oversleep(tdm_atomic_u32 *word, uint32_t expected, uint64_t deadline_ns)
{
	CHECK_EQ_U64(tdm_load_relaxed_u32(word), expected);
	CHECK(deadline_ns > seam.now_ns);
	slice_start_ns = seam.now_ns;
	slice_end_ns = seam.now_ns = deadline_ns;
	return TDM_TIMED_OUT;
}

static void test_past_deadlines(bool fenced)
{
	static const uint64_t past[] = {0, 1, 999999, 1000000};
	begin_fenced(fenced,
		     "a deadline that is past is answered after an attempt, without waiting");
	set_scene(fenced);
	seam.now_ns = 1000000;
	for (size_t i = 0; i < sizeof(past) / sizeof(past[0]); i++) {
		struct attempt never, first, second;
		memset(&never, 0, sizeof(never));
		memset(&first, 0, sizeof(first));
		memset(&second, 0, sizeof(second));
		first.succeeds_at = 1;
		second.succeeds_at = 2;
		CHECK_STATUS(tdm_event_wait_until(&scene->event, 0, past[i]), TDM_TIMED_OUT);
		CHECK_STATUS(await(&never, past[i]), TDM_TIMED_OUT);
		CHECK(never.attempts >= 1 && never.attempts <= 2);
		CHECK_STATUS(await(&first, past[i]), TDM_OK);
		CHECK_STATUS(await(&second, past[i]), TDM_OK); // looked again after the deadline
		CHECK_EQ_U64(never.idles + first.idles + second.idles, 0);
	}
	CHECK_EQ_U64(calls.waits + calls.barriers + calls.pauses + calls.yields, 0);
	CHECK_EQ_U64(word_of(&scene->event), fenced ? TDM_EVENT_FENCED_ : 0);
}

static void test_far_deadlines(bool fenced)
{
	static const uint64_t far_away[] = {
	    TDM_FOREVER,
	    TDM_FOREVER - 1,
	    TDM_FOREVER - TDM_NS_PER_S_,
	    TDM_CAST(uint64_t, INT64_MAX) + 1,
	    TDM_CAST(uint64_t, INT64_MAX),
	};
	begin_fenced(fenced, "deadlines up to the end of time do not overflow");
	set_scene(fenced);
	seam.wait = oversleep;
	for (size_t i = 0; i < sizeof(far_away) / sizeof(far_away[0]); i++) {
		seam.now_ns = 1234567;
		uint32_t key = tdm_event_prepare(&scene->event);
		CHECK_STATUS(tdm_event_wait_until(&scene->event, key, far_away[i]), TDM_OK);
		CHECK_EQ_U64(slice_end_ns, 1234567 + TDM_EVENT_SLICE_NS_);
	}
	seam.now_ns = TDM_FOREVER - 5;
	uint32_t key = tdm_event_prepare(&scene->event);
	CHECK_STATUS(tdm_event_wait_until(&scene->event, key, TDM_FOREVER - 1), TDM_TIMED_OUT);
	CHECK_EQ_U64(slice_end_ns, TDM_FOREVER - 1);
}

static void test_slices(bool fenced)
{
	begin_fenced(fenced, "a sleep is cut into slices, and only the deadline times out");
	set_scene(fenced);
	seam.wait = oversleep;
	seam.now_ns = 1000;
	struct attempt attempt;
	memset(&attempt, 0, sizeof(attempt));
	uint64_t deadline_ns = 1000 + 3 * TDM_EVENT_SLICE_NS_ + 7;
	CHECK_STATUS(await(&attempt, deadline_ns), TDM_TIMED_OUT);
	CHECK_EQ_U64(calls.waits, 4);
	CHECK_EQ_U64(attempt.idles, 4);
	CHECK_EQ_U64(slice_end_ns - slice_start_ns, 7);
	CHECK_EQ_U64(seam.now_ns, deadline_ns);
	CHECK_EQ_STR(attempt.log + strlen(attempt.log) - 3, "iaa");

	begin_fenced(fenced, "the last slice ends with the deadline");
	static const uint64_t left_ns[] = {1, TDM_EVENT_SLICE_NS_ / 2, TDM_EVENT_SLICE_NS_ - 1,
					   TDM_EVENT_SLICE_NS_, TDM_EVENT_SLICE_NS_ + 1};
	set_scene(fenced);
	seam.wait = oversleep;
	for (size_t i = 0; i < sizeof(left_ns) / sizeof(left_ns[0]); i++) {
		seam.now_ns = 1000;
		uint32_t key = tdm_event_prepare(&scene->event);
		bool last = left_ns[i] <= TDM_EVENT_SLICE_NS_;
		CHECK_STATUS(tdm_event_wait_until(&scene->event, key, 1000 + left_ns[i]),
			     last ? TDM_TIMED_OUT : TDM_OK);
		CHECK_EQ_U64(slice_end_ns, 1000 + (last ? left_ns[i] : TDM_EVENT_SLICE_NS_));
	}
}

static void test_never_early(bool fenced)
{
	begin_fenced(fenced, "a wait is never too short, and not much too long");
	set_scene(fenced);
	uint64_t latest_ns = 0;
	for (unsigned i = 0; i < 40; i++) {
		struct attempt attempt;
		memset(&attempt, 0, sizeof(attempt));
		uint64_t deadline_ns = tdm_deadline_after_ns(i * i * 3000);
		CHECK_STATUS(await(&attempt, deadline_ns), TDM_TIMED_OUT);
		uint64_t now_ns = tdm_now_ns();
		if (!CHECK(now_ns >= deadline_ns))
			return;
		if (now_ns - deadline_ns > latest_ns)
			latest_ns = now_ns - deadline_ns;
	}
	tap_note("at most %" PRIu64 " us late", latest_ns / 1000);
	CHECK(latest_ns < 5 * TDM_NS_PER_S_);
}

static void test_clock_decides(void)
{
	begin("the kernel's word for a time-out is checked against the clock");
	set_scene(false);
	uint32_t key = tdm_event_prepare(&scene->event);
	seam.now_ns = 1; // a nanosecond after the machine was started: long past for the kernel
	CHECK_STATUS(tdm_futex_wait_kernel_(&scene->event.word, key, 2), TDM_OK);
	seam.now_ns = 2;
	CHECK_STATUS(tdm_futex_wait_kernel_(&scene->event.word, key, 2), TDM_TIMED_OUT);
}

// --- signals ---

static tdm_atomic_u32 signals;

static void count_signal(int number)
{
	(void)number;
	tdm_fetch_add_relaxed_u32(&signals, 1);
}

static void publish_at_signal(int number)
{
	(void)number;
	publish();
}

static void start_timer(void (*handler)(int), int first_us, int every_us)
{
	struct sigaction action;
	struct itimerval timer;
	memset(&action, 0, sizeof(action));
	action.sa_handler = handler;
	CHECK(sigaction(SIGALRM, &action, TDM_NULL) == 0);
	timer.it_value.tv_sec = timer.it_interval.tv_sec = 0;
	timer.it_value.tv_usec = first_us;
	timer.it_interval.tv_usec = every_us;
	CHECK(setitimer(ITIMER_REAL, &timer, TDM_NULL) == 0);
}

static void test_storm(bool fenced)
{
	struct attempt attempt;
	begin_fenced(fenced, "a signal every millisecond neither ends nor shortens a wait");
	set_scene(fenced);
	tdm_store_relaxed_u32(&signals, 0);
	start_timer(count_signal, 1000, 1000);
	memset(&attempt, 0, sizeof(attempt));
	uint64_t deadline_ns = tdm_deadline_after_ns(200 * TDM_NS_PER_MS_);
	CHECK_STATUS(await(&attempt, deadline_ns), TDM_TIMED_OUT);
	CHECK(tdm_now_ns() >= deadline_ns);
	CHECK(tdm_load_relaxed_u32(&signals) > 2);
	CHECK(calls.waits > 2);

	begin_fenced(fenced, "a wait under such a storm still ends with its condition");
	set_scene(fenced);
	pid_t child = fork();
	if (child == 0) {
		sleep_ms(100);
		publish();
		tap_child_exit();
	}
	memset(&attempt, 0, sizeof(attempt));
	CHECK_STATUS(await(&attempt, TDM_FOREVER), TDM_OK);
	start_timer(SIG_IGN, 0, 0);
	int status = -1;
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void test_handler(bool fenced)
{
	begin_fenced(fenced, "a signal handler may notify the thread that it interrupts");
	for (int i = 0; i < 20; i++) {
		struct attempt attempt;
		memset(&attempt, 0, sizeof(attempt));
		set_scene(fenced);
		start_timer(publish_at_signal, 1 + 50 * i, 0);
		CHECK_STATUS(await(&attempt, TDM_FOREVER), TDM_OK);
	}
}

static void test_unbounded_kernel_sleep(void)
{
	static const uint64_t far_away[] = {TDM_FOREVER, TDM_FOREVER - 1,
					    TDM_CAST(uint64_t, INT64_MAX)};
	begin("the kernel accepts every deadline, and a signal is no error");
	set_scene(false);
	uint32_t key = tdm_event_prepare(&scene->event);
	start_timer(count_signal, 1000, 1000);
	for (size_t i = 0; i < sizeof(far_away) / sizeof(far_away[0]); i++)
		CHECK_STATUS(tdm_futex_wait_kernel_(&scene->event.word, key, far_away[i]), TDM_OK);
	start_timer(SIG_IGN, 0, 0);
}

// --- waking up for nothing ---

static enum tdm_status wake_for_nothing(tdm_atomic_u32 *word, uint32_t expected,
					uint64_t deadline_ns)
{
	(void)word, (void)expected, (void)deadline_ns;
	if (calls.waits == 25)
		publish();
	return TDM_OK;
}

static void test_spurious(bool fenced)
{
	begin_fenced(fenced, "waking up for nothing is absorbed");
	set_scene(fenced);
	seam.wait = wake_for_nothing;
	struct attempt attempt;
	memset(&attempt, 0, sizeof(attempt));
	CHECK_STATUS(await(&attempt, TDM_FOREVER), TDM_OK);
	CHECK_EQ_U64(calls.waits, 25);
	CHECK_EQ_U64(attempt.idles, 25);
}

// --- a waker that dies ---

static enum tdm_status publish_silently(tdm_atomic_u32 *word, uint32_t expected,
					uint64_t deadline_ns)
{
	tdm_store_release_u32(&scene->flag, 1);
	return oversleep(word, expected, deadline_ns);
}

static void test_dead_waker(bool fenced)
{
	begin_fenced(fenced, "a waker that dies before it wakes costs one slice");
	set_scene(fenced);
	seam.wait = publish_silently;
	seam.now_ns = 1000;
	struct attempt attempt;
	memset(&attempt, 0, sizeof(attempt));
	CHECK_STATUS(await(&attempt, TDM_FOREVER), TDM_OK);
	CHECK_EQ_U64(calls.waits, 1);
	CHECK_EQ_U64(seam.now_ns, 1000 + 100 * TDM_NS_PER_MS_);

	begin_fenced(fenced, "so it is when a process is killed there");
	set_scene(fenced);
	pid_t child = fork();
	if (child == 0) {
		while ((word_of(&scene->event) & TDM_EVENT_ARMED_) == 0)
			usleep(100);
		usleep(1000);
		tdm_store_release_u32(&scene->flag, 1);
		raise(SIGKILL);
	}
	memset(&attempt, 0, sizeof(attempt));
	CHECK_STATUS(await(&attempt, TDM_FOREVER), TDM_OK);
	CHECK(calls.waits >= 1);
	int status = 0;
	CHECK(waitpid(child, &status, 0) == child);

	begin_fenced(fenced, "a waiter that is killed costs the next waker one call, no more");
	set_scene(fenced);
	child = fork();
	if (child == 0) {
		memset(&attempt, 0, sizeof(attempt));
		(void)await(&attempt, TDM_FOREVER);
	}
	while ((word_of(&scene->event) & TDM_EVENT_ARMED_) == 0)
		usleep(100);
	CHECK(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
	for (int i = 0; i < 100; i++)
		tdm_event_notify(&scene->event);
	CHECK_EQ_U64(calls.wakes, 1);
}

// --- idle ---

static void test_idle(bool fenced)
{
	struct attempt attempt;
	begin_fenced(fenced, "idle ends a wait with its own answer, before it sleeps");
	set_scene(fenced);
	memset(&attempt, 0, sizeof(attempt));
	attempt.idle_answer = TDM_PEER_DIED;
	CHECK_STATUS(await(&attempt, TDM_FOREVER), TDM_PEER_DIED);
	CHECK_EQ_U64(attempt.idles, 1);
	CHECK_EQ_U64(calls.waits, 0);

	begin_fenced(fenced, "what the dead left behind goes before the news of the death");
	set_scene(fenced);
	memset(&attempt, 0, sizeof(attempt));
	attempt.idle_answer = TDM_PEER_DIED;
	attempt.idle_sets_flag = true;
	CHECK_STATUS(await(&attempt, TDM_FOREVER), TDM_OK);
	CHECK_EQ_U64(attempt.idles, 1);
	CHECK_EQ_STR(attempt.log + strlen(attempt.log) - 3, "aia");

	begin_fenced(fenced, "idle is not asked while attempts succeed, and may be absent");
	set_scene(fenced);
	memset(&attempt, 0, sizeof(attempt));
	attempt.succeeds_at = 3;
	attempt.idle_answer = TDM_PEER_DIED;
	CHECK_STATUS(await(&attempt, TDM_FOREVER), TDM_OK);
	CHECK_EQ_U64(attempt.idles, 0);
	struct tdm_patience patience = {0};
	memset(&attempt, 0, sizeof(attempt));
	CHECK_STATUS(tdm_event_await(&scene->event, &patience, tdm_deadline_after_ns(2000000),
				     TDM_EMPTY, try_once, TDM_NULL, &attempt),
		     TDM_TIMED_OUT);
	CHECK_EQ_U64(attempt.idles, 0);
}

static enum tdm_status attempt_refused(void *context)
{
	(void)context;
	return TDM_CORRUPT;
}

static void test_other_answers(void)
{
	begin("an attempt's own failure ends the wait at once");
	set_scene(false);
	struct tdm_patience patience = {0};
	CHECK_STATUS(tdm_event_await(&scene->event, &patience, TDM_FOREVER, TDM_EMPTY,
				     attempt_refused, TDM_NULL, TDM_NULL),
		     TDM_CORRUPT);
	CHECK_EQ_U64(calls.waits + calls.pauses + calls.barriers, 0);
}

// --- patience ---

static uint64_t nap_ns;

static enum tdm_status nap(tdm_atomic_u32 *word, uint32_t expected, uint64_t deadline_ns)
{
	(void)word, (void)expected, (void)deadline_ns;
	seam.now_ns += nap_ns;
	return TDM_OK;
}

// `naps` parks of `ns`; checks how often it paused before each.
static void park(struct tdm_patience *patience, uint64_t ns, unsigned naps, const unsigned *pauses)
{
	struct attempt attempt;
	memset(&attempt, 0, sizeof(attempt));
	memset(&calls, 0, sizeof(calls));
	seam.now_ns = 1000;
	seam.wait = nap;
	nap_ns = ns;
	uint64_t deadline_ns = seam.now_ns + ns * naps;
	CHECK_STATUS(tdm_event_await(&scene->event, patience, deadline_ns, TDM_EMPTY, try_once,
				     look_around, &attempt),
		     TDM_TIMED_OUT);
	CHECK_EQ_U64(attempt.idles, naps);
	for (unsigned i = 0; i < naps; i++)
		CHECK_EQ_U64(attempt.pauses_at_idle[i] -
				 (i == 0 ? 0 : attempt.pauses_at_idle[i - 1]),
			     pauses[i]);
}

static void test_patience(void)
{
	static const unsigned falling[] = {200, 100, 50, 25, 12, 6, 3, 1, 0, 0, 0};
	static const unsigned rising[] = {0, 1, 3, 6, 12, 25, 50, 100, 200, 200, 200};
	static const unsigned half[] = {100, 100, 100};
	static const unsigned none[] = {0, 0, 0};
	struct tdm_patience patience = {0};
	begin("long parks stop the spinning, short ones start it again");
	set_scene(false);
	park(&patience, 1000001, 11, falling);
	park(&patience, 49999, 11, rising);
	CHECK_EQ_U64(patience.shift, 0);

	begin("parks that are neither leave it as it is");
	patience.shift = 1;
	park(&patience, 50000, 3, half);
	park(&patience, 1000000, 3, half);
	CHECK_EQ_U64(patience.shift, 1);

	begin("on a single CPU nobody spins, everybody yields");
	patience.shift = 0;
	tdm_store_relaxed_u32(&tdm_backoff_cpus_, 1);
	park(&patience, 49999, 3, none);
	CHECK_EQ_U64(calls.yields, 3 * 4);
}

// --- no membarrier ---

static void test_refused(void)
{
	begin("without registration new events are fenced, and wakers use read-modify-writes");
	forget();
	seam.refuse_registration = true;
	set_scene(false);
	tdm_event_init(&scene->event);
	CHECK_EQ_U64(word_of(&scene->event), TDM_EVENT_FENCED_);
	CHECK_EQ_U64(tdm_fence_light_(), TDM_FENCE_REFUSED_);
	make(&scene->event, false);
	tdm_event_notify(&scene->event);
	CHECK_EQ_U64(calls.registrations, 1);
	CHECK_EQ_U64(word_of(&scene->event), 0);
	(void)tdm_event_prepare(&scene->event);
	tdm_event_notify(&scene->event);
	CHECK_EQ_U64(calls.wakes, 1);
	CHECK_EQ_U64(word_of(&scene->event), TDM_EVENT_EPOCH_);

	begin("without membarrier a waiter polls every millisecond, but not on fenced events");
	set_scene(false);
	seam.refuse_barrier = true;
	seam.now_ns = 1000;
	seam.wait = oversleep;
	uint32_t key = tdm_event_prepare(&scene->event);
	CHECK_STATUS(tdm_event_wait_until(&scene->event, key, TDM_FOREVER), TDM_OK);
	CHECK_EQ_U64(slice_end_ns - slice_start_ns, TDM_NS_PER_MS_);
	make(&scene->event, true);
	memset(&calls, 0, sizeof(calls));
	key = tdm_event_prepare(&scene->event);
	CHECK_EQ_U64(calls.barriers, 0);
	CHECK_STATUS(tdm_event_wait_until(&scene->event, key, TDM_FOREVER), TDM_OK);
	CHECK_EQ_U64(slice_end_ns - slice_start_ns, 100 * TDM_NS_PER_MS_);
}

#define ROUNDS 300U

// Both sides share one event, so that each hand-over also wakes who gave it. Nobody spins.
static void ping_pong(uint32_t me)
{
	for (uint32_t turn = me; turn < ROUNDS; turn += 2) {
		uint32_t key = tdm_event_prepare(&scene->event);
		while (tdm_load_acquire_u32(&scene->turn) != turn) {
			CHECK_STATUS(tdm_event_wait_until(&scene->event, key, TDM_FOREVER), TDM_OK);
			key = tdm_event_prepare(&scene->event);
		}
		tdm_store_release_u32(&scene->turn, turn + 1);
		tdm_event_notify(&scene->event);
	}
}

static void hand_over(bool fenced, int error, unsigned refused)
{
	pid_t child[2];
	set_scene(fenced);
	for (unsigned me = 0; me < 2; me++) {
		child[me] = fork();
		if (child[me] != 0)
			continue;
		forget();
		if ((refused & (1U << me)) != 0)
			CHECK(refuse_call(SYS_membarrier, error));
		ping_pong(me);
		bool refuses = tdm_load_relaxed_u32(&tdm_fence_state_) == TDM_FENCE_REFUSED_;
		CHECK(refuses == ((refused & (1U << me)) != 0));
		CHECK(tdm_load_relaxed_u32(&tdm_event_poll_) == (refuses && !fenced));
		tap_child_exit();
	}
	for (unsigned me = 0; me < 2; me++) {
		int status = -1;
		CHECK(waitpid(child[me], &status, 0) == child[me] && status == 0);
	}
	CHECK_EQ_U64(tdm_load_relaxed_u32(&scene->turn), ROUNDS);
}

static void test_filtered(bool fenced)
{
	static const int errors[] = {EPERM, ENOSYS};
	for (unsigned refused = 1; refused <= 3; refused++) {
		char text[100];
		snprintf(text, sizeof(text), "%s may not call membarrier: nothing is lost",
			 refused == 3 ? "processes that" : "one of two processes");
		begin_fenced(fenced, text);
		if (!filters_work()) {
			tap_skip("no system call filters here");
			continue;
		}
		if (!tdm_fence_heavy_()) {
			tap_skip("no membarrier here");
			continue;
		}
		for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
			hand_over(fenced, errors[i], refused);
	}
}

#define MEMBARRIER_GET_REGISTRATIONS 512

static void test_fork(void)
{
	begin("a forked child is registered like its parent");
	long registered = syscall(SYS_membarrier, MEMBARRIER_GET_REGISTRATIONS, 0, 0);
	if (registered <= 0) {
		tap_skip("the kernel does not tell");
		return;
	}
	int status = -1;
	pid_t child = fork();
	if (child == 0)
		_exit(syscall(SYS_membarrier, MEMBARRIER_GET_REGISTRATIONS, 0, 0) == registered
			  ? 0
			  : 1);
	CHECK((registered & TDM_MEMBARRIER_REGISTER_GLOBAL_EXPEDITED_) != 0);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

// --- no futex ---

static int futex_error;

static void wait_without_futex(void)
{
	for (int fenced = 0; fenced < 2; fenced++) {
		struct attempt attempt;
		set_scene(fenced != 0);
		memset(&attempt, 0, sizeof(attempt));
		uint32_t key = tdm_event_prepare(&scene->event);
		if (fenced == 0)
			CHECK(refuse_call(TDM_SYS_FUTEX_, futex_error));
		errno = 0;
		CHECK_STATUS(tdm_event_wait_until(&scene->event, key, TDM_FOREVER), TDM_SYSTEM);
		CHECK_EQ_U64(TDM_CAST(uint64_t, errno), TDM_CAST(uint64_t, futex_error));
		CHECK_STATUS(await(&attempt, TDM_FOREVER), TDM_SYSTEM);
		CHECK_EQ_U64(TDM_CAST(uint64_t, errno), TDM_CAST(uint64_t, futex_error));
		CHECK_STATUS(await(&attempt, 0), TDM_TIMED_OUT);
	}
}

static void test_no_futex(void)
{
	begin("where futex is refused a wait answers TDM_SYSTEM, and errno says why");
	if (!filters_work()) {
		tap_skip("no system call filters here");
		return;
	}
	futex_error = EPERM;
	in_child(wait_without_futex);
	futex_error = ENOSYS;
	in_child(wait_without_futex);
}

// --- several ---

static void *wait_for_flag(void *argument)
{
	struct attempt attempt;
	(void)argument;
	memset(&attempt, 0, sizeof(attempt));
	CHECK_STATUS(await(&attempt, TDM_FOREVER), TDM_OK);
	return TDM_NULL;
}

static void test_herd(bool fenced)
{
	pthread_t threads[8];
	begin_fenced(fenced, "one notify wakes everybody");
	set_scene(fenced);
	for (int i = 0; i < 8; i++)
		CHECK(pthread_create(&threads[i], TDM_NULL, wait_for_flag, TDM_NULL) == 0);
	sleep_ms(20);
	publish();
	for (int i = 0; i < 8; i++)
		CHECK(pthread_join(threads[i], TDM_NULL) == 0);
}

static void test_addresses(bool fenced)
{
	begin_fenced(fenced, "processes that map it at different addresses wake each other");
	char name[] = "/tmp/event_test_XXXXXX";
	int file = mkstemp(name);
	CHECK(file >= 0 && unlink(name) == 0 && ftruncate(file, 4096) == 0);
	struct scene *first = scene;
	for (int child_first = 0; child_first < 2; child_first++) {
		void *here = mmap(TDM_NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
		void *there = mmap(TDM_NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
		CHECK(here != MAP_FAILED && there != MAP_FAILED && here != there);
		scene = TDM_CAST(struct scene *, here);
		set_scene(fenced);
		int status = -1;
		pid_t child = fork();
		if (child == 0) {
			scene = TDM_CAST(struct scene *, there);
			munmap(here, 4096);
		}
		if ((child == 0) == (child_first != 0)) {
			wait_for_flag(TDM_NULL);
		} else {
			while ((word_of(&scene->event) & TDM_EVENT_ARMED_) == 0)
				usleep(100);
			publish();
		}
		if (child == 0)
			tap_child_exit();
		CHECK(waitpid(child, &status, 0) == child && status == 0);
		munmap(here, 4096);
		munmap(there, 4096);
	}
	scene = first;
	close(file);
}

// --- sleeping costs nothing ---

static void test_sleep_is_free(bool fenced)
{
	begin_fenced(fenced, "two seconds of waiting take 2 ms of CPU, or little more than sleep");
	if (!fenced && !tdm_fence_heavy_()) {
		tap_skip("no membarrier here");
		return;
	}
	bool little = false;
	for (int i = 0; i < 3 && !little; i++) { // others disturb the caches
		struct attempt attempt;
		memset(&attempt, 0, sizeof(attempt));
		memset(&calls, 0, sizeof(calls));
		set_scene(fenced);
		uint64_t before_ns = cpu_ns();
		CHECK_STATUS(await(&attempt, tdm_deadline_after_ns(2 * TDM_NS_PER_S_)),
			     TDM_TIMED_OUT);
		uint64_t used_ns = cpu_ns() - before_ns;
		tap_note("%.4f %% of a CPU, %u sleeps", TDM_CAST(double, used_ns) / 2e9 * 100,
			 calls.waits);
		CHECK(calls.waits <= 25);
		little = cpu_is_little(used_ns, 0) || cpu_is_little(used_ns, cpu_of_sleeping_ns());
	}
	CHECK(little);
}

int main(void)
{
	scene =
	    TDM_CAST(struct scene *, mmap(TDM_NULL, sizeof(struct scene), PROT_READ | PROT_WRITE,
					  MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	if (scene == MAP_FAILED)
		return 1;
	test_layout();
	test_zero();
	for (int i = 0; i < 2; i++) {
		bool fenced = i == 1;
		test_wake(fenced);
		test_old_key(fenced);
		test_free(fenced);
		test_free_for_the_kernel(fenced);
		test_past_deadlines(fenced);
		test_far_deadlines(fenced);
		test_slices(fenced);
		test_never_early(fenced);
		test_storm(fenced);
		test_handler(fenced);
		test_spurious(fenced);
		test_dead_waker(fenced);
		test_idle(fenced);
		test_filtered(fenced);
		test_herd(fenced);
		test_addresses(fenced);
		test_sleep_is_free(fenced);
	}
	test_errno();
	test_clock_decides();
	test_unbounded_kernel_sleep();
	test_other_answers();
	test_patience();
	test_refused();
	test_fork();
	test_no_futex();
	return tap_done();
}
