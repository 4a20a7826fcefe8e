// SPDX-License-Identifier: BSD-2-Clause
// No wake-up is lost: between threads and between processes, at one, two and four times as many as
// there are CPUs; and the same with events that do lose some, which must be caught.
//
// How a loss is told from a long wait. Every sleep is cut into slices of 20 ms. When a sleep ends
// with its slice and the condition holds, the sleeper asks when the last of those who made it hold
// had come back from notify. If that was before the end of the slice, somebody should have woken
// it: a wake-up was lost. So no machine is too slow for this test.
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <tandem/base/atomic.h>
#include <tandem/base/sanitizer.h>
#include <tandem/base/status.h>

static enum tdm_status sleep_a_slice(tdm_atomic_u32 *word, uint32_t expected, uint64_t deadline_ns);
static bool call_membarrier(int command);

static __thread unsigned spin_budget, yield_budget;

#define TDM_SEAM_FUTEX_WAIT(word, expected, deadline_ns) sleep_a_slice(word, expected, deadline_ns)
#define TDM_SEAM_MEMBARRIER(command) call_membarrier(command)
#define TDM_SEAM_FENCED (variant->fenced || TDM_UNDER_TSAN)
#define TDM_SEAM_SPINS spin_budget
#define TDM_SEAM_YIELDS yield_budget

enum mistake {
	NONE,
	DELAY_FOR_MEMBARRIER,
	LOOK_THEN_PUBLISH,
	ONLY_LOOK,
	DISARM_LAST,
	FORGET_TO_WAKE,
};

// What kind of event, and what is wrong with it.
struct variant {
	const char *name;
	bool fenced;
	bool unregistered; // the wakers' process is refused its registration
	enum mistake mistake;
};
static const struct variant *variant;

#include <tandem/sync/event.h>

#include "../support/broken/event_notify.h"
#include "../support/tap.h"

// Instrumented stores take so long that no store buffer fills.
#if defined(__SANITIZE_ADDRESS__)
#	define INSTRUMENTED 1
#elif defined(__has_feature)
#	if __has_feature(address_sanitizer)
#		define INSTRUMENTED 1
#	endif
#endif
#ifndef INSTRUMENTED
#	define INSTRUMENTED TDM_UNDER_TSAN
#endif

#define SIDE_MAX 7U
#define SLICE_NS (20 * TDM_NS_PER_MS_)

// One party's announcements. `value` is what others wait for.
struct post {
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u32 value;
	tdm_atomic_u32 notified;    // the value whose notify has returned
	tdm_atomic_u64 notified_ns; // when
};

// Stores that take long: each straddles two pages, and all of them fall into the same sets of
// the caches, whose lines the other side has just taken away.
#define STORES 48U
#define STORE_STRIDE 4096U
#define STORE_OFFSET (STORE_STRIDE - sizeof(long) / 2)

struct area {
	struct tdm_event event[2]; // where each side sleeps
	TDM_ALIGNAS(TDM_CACHE_LINE) struct post posts[2][SIDE_MAX];
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u32 go;
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u32 arrived;
	tdm_atomic_u32 last; // the round after which everybody leaves
	tdm_atomic_u32 lost;
	tdm_atomic_u64 waits, sleeps;
	TDM_ALIGNAS(4096) unsigned char payload[(STORES + 1) * STORE_STRIDE];
};
static struct area *area;

// What runs now: fixed before its processes and threads begin.
static struct {
	unsigned parties[2]; // wakers, waiters: each of one side waits for all of the other
	bool by_processes;
	bool window; // see wait_in_window
	bool until_lost;
	uint64_t end_ns;
} plan;

// --- the seams ---

static __thread uint64_t slice_end_ns; // of the last sleep, 0 when somebody ended it
static __thread uint64_t sleeps;

static enum tdm_status sleep_a_slice(tdm_atomic_u32 *word, uint32_t expected, uint64_t deadline_ns)
{
	uint64_t end_ns = tdm_now_ns() + SLICE_NS;
	(void)deadline_ns; // for ever, here
	enum tdm_status status = tdm_futex_wait_kernel_(word, expected, end_ns);
	slice_end_ns = status == TDM_TIMED_OUT ? end_ns : 0;
	sleeps++;
	return status == TDM_TIMED_OUT ? TDM_OK : status;
}

static bool call_membarrier(int command)
{
	if (command == TDM_MEMBARRIER_REGISTER_GLOBAL_EXPEDITED_) {
		if (variant->unregistered)
			return false;
	} else if (variant->mistake == DELAY_FOR_MEMBARRIER) {
		broken_membarrier();
		return true;
	}
	return tdm_fence_call_kernel_(command);
}

// --- both sides ---

static void publish(tdm_atomic_u32 *a, uint32_t v, struct tdm_event *event)
{
	switch (variant->mistake) {
	case LOOK_THEN_PUBLISH:
		broken_look_then_publish(event, a, v);
		break;
	case ONLY_LOOK:
		tdm_store_release_u32(a, v);
		broken_notify_by_load(event);
		break;
	case DISARM_LAST:
		tdm_store_release_u32(a, v);
		broken_notify_disarm_last(event);
		break;
	case FORGET_TO_WAKE:
		tdm_store_release_u32(a, v);
		broken_notify_forget(event);
		break;
	case NONE:
	case DELAY_FOR_MEMBARRIER:
		tdm_store_release_u32(a, v);
		tdm_event_notify(event);
		break;
	}
}

static void post(unsigned side, unsigned me, uint32_t round)
{
	struct post *mine = &area->posts[side][me];
	publish(&mine->value, round, &area->event[!side]);
	tdm_store_relaxed_u64(&mine->notified_ns, tdm_now_ns());
	tdm_store_release_u32(&mine->notified, round);
}

struct wait {
	unsigned side;
	uint32_t round;
};

static enum tdm_status all_have_posted(void *context)
{
	const struct wait *wait = context;
	unsigned other = !wait->side;
	for (unsigned i = 0; i < plan.parties[other]; i++)
		if (tdm_load_acquire_u32(&area->posts[other][i].value) < wait->round)
			return TDM_EMPTY;
	return TDM_OK;
}

// The condition holds. Did the last sleep end as it should have?
static void account(const struct wait *wait)
{
	uint64_t notified_ns = 0;
	if (slice_end_ns == 0)
		return;
	for (unsigned i = 0; i < plan.parties[!wait->side]; i++) {
		const struct post *theirs = &area->posts[!wait->side][i];
		while (tdm_load_acquire_u32(&theirs->notified) < wait->round)
			sched_yield();
		uint64_t at_ns = tdm_load_relaxed_u64(&theirs->notified_ns);
		notified_ns = at_ns > notified_ns ? at_ns : notified_ns;
	}
	if (notified_ns < slice_end_ns)
		tdm_fetch_add_relaxed_u32(&area->lost, 1);
	slice_end_ns = 0;
}

static bool over(void)
{
	return tdm_now_ns() >= plan.end_ns ||
	       (plan.until_lost && tdm_load_relaxed_u32(&area->lost) != 0);
}

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

// --- hand-overs: rounds in which each party of one side posts, and the other waits for all ---

static void hand_over(unsigned side, unsigned me)
{
	static const unsigned some_spins[] = {0, 0, 10, 50, 200};
	uint32_t random = 1 + side * SIDE_MAX + me, round = 0;
	uint64_t waits = 0;
	do {
		struct wait wait = {side, ++round};
		struct tdm_patience patience = {0};
		spin_budget = some_spins[next_random(&random) % 5];
		yield_budget = next_random(&random) % 8 == 0 ? 4 : 0;
		if (side == 0) {
			if (me == 0 && over())
				tdm_store_relaxed_u32(&area->last, round);
			post(side, me, round);
		}
		waits++;
		CHECK_STATUS(tdm_event_await(&area->event[side], &patience, TDM_FOREVER, TDM_EMPTY,
					     all_have_posted, NULL, &wait),
			     TDM_OK);
		account(&wait);
		for (unsigned i = next_random(&random) % 64; i != 0; i--)
			TDM_SEAM_PAUSE();
		if (side == 1)
			post(side, me, round);
	} while (tdm_load_relaxed_u32(&area->last) != round);
	tdm_fetch_add_relaxed_u64(&area->waits, waits);
	tdm_fetch_add_relaxed_u64(&area->sleeps, sleeps);
}

// --- the window: both sides meet where one arms and looks while the other publishes and looks ---
// The waker's store waits in its CPU behind many others while its look already happens. The waiter
// feels its way to the moment at which either of the two just sees the other.

static void tie_to_cpu(unsigned which)
{
	cpu_set_t all, one;
	CHECK(sched_getaffinity(0, sizeof(all), &all) == 0);
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all) || which-- != 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
		return;
	}
}

#define NO_MORE UINT32_MAX
#define HEAD_START 500U // the waiter's, in steps of about a nanosecond

static void dawdle(unsigned steps)
{
	for (volatile unsigned i = steps; i != 0;)
		i = i - 1;
}

static uint32_t await_change(tdm_atomic_u32 *a, uint32_t from)
{
	uint32_t now;
	for (unsigned i = 1; (now = tdm_load_acquire_u32(a)) == from; i++)
		if (i % 4096 == 0)
			sched_yield();
	return now;
}

static void wake_in_window(void)
{
	for (uint32_t round = 0; (round = await_change(&area->go, round)) != NO_MORE;) {
		unsigned long bytes = round;
		dawdle(HEAD_START);
		// Not always as many: a store buffer that is full would hold up the look, too.
		for (unsigned i = round % 32; i < STORES; i++)
			memcpy(&area->payload[STORE_OFFSET + i * STORE_STRIDE], &bytes,
			       sizeof(bytes));
		post(0, 0, round);
	}
}

static void wait_in_window(void)
{
	unsigned delay = HEAD_START, step = 1;
	bool was_early = false;
	uint32_t round = 0;
	while (!over()) {
		struct wait wait = {1, ++round};
		tdm_event_notify(&area->event[1]); // disarm what the last round may have left armed
		for (unsigned i = 0; i < STORES; i++) {
			unsigned char *bytes = &area->payload[STORE_OFFSET + i * STORE_STRIDE];
			bytes[0]++;
			bytes[sizeof(long) - 1]++;
		}
		tdm_exchange_seq_cst_u32(&area->go, round);
		dawdle(delay);
		uint32_t key = tdm_event_prepare(&area->event[1]);
		while (all_have_posted(&wait) != TDM_OK)
			CHECK_STATUS(tdm_event_wait_until(&area->event[1], key, TDM_FOREVER),
				     TDM_OK);
		account(&wait);
		await_change(&area->posts[0][0].notified, round - 1);

		bool early = tdm_load_relaxed_u32(&area->event[1].word) != key; // the waker saw it
		step = early != was_early ? 1 + step / 4 : step < 256 ? 2 * step : 256;
		was_early = early;
		if (early)
			delay += delay < 100 * HEAD_START ? step : 0;
		else
			delay -= delay > step ? step : delay;
	}
	tdm_store_release_u32(&area->go, NO_MORE);
	tdm_fetch_add_relaxed_u64(&area->waits, round);
	tdm_fetch_add_relaxed_u64(&area->sleeps, sleeps);
}

// --- running it ---

static void *party(void *number)
{
	unsigned me = (unsigned)(uintptr_t)number;
	unsigned side = me >= plan.parties[0];
	(void)tdm_fence_register_();
	tdm_fetch_add_relaxed_u32(&area->arrived, 1);
	while (tdm_load_relaxed_u32(&area->arrived) < plan.parties[0] + plan.parties[1])
		sched_yield();
	if (!plan.window) {
		hand_over(side, side == 0 ? me : me - plan.parties[0]);
	} else {
		tie_to_cpu(side);
		if (side == 0)
			wake_in_window();
		else
			wait_in_window();
	}
	return NULL;
}

static void run_threads(unsigned parties)
{
	pthread_t threads[2 * SIDE_MAX];
	for (unsigned i = 0; i < parties; i++)
		if (pthread_create(&threads[i], NULL, party, (void *)(uintptr_t)i) != 0)
			abort();
	for (unsigned i = 0; i < parties; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
}

static void run_processes(unsigned parties)
{
	pid_t children[2 * SIDE_MAX];
	for (unsigned i = 0; i < parties; i++) {
		children[i] = fork();
		if (children[i] < 0)
			abort();
		if (children[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			party((void *)(uintptr_t)i);
			tap_child_exit();
		}
	}
	for (unsigned i = 0; i < parties; i++) {
		int status = -1;
		CHECK(waitpid(children[i], &status, 0) == children[i] && status == 0);
	}
}

// Leaves this process the first two of its CPUs, so that one, two and four parties to each mean the
// same everywhere.
static unsigned take_two_cpus(void)
{
	cpu_set_t set;
	unsigned taken = 0;
	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return 0;
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set) && ++taken > 2)
			CPU_CLR(cpu, &set);
	if (taken > 2)
		sched_setaffinity(0, sizeof(set), &set);
	return taken;
}

static uint64_t total_waits;

// Runs the plan in a process of its own, because a registration lasts as long as its process does.
// Answers how many wake-ups were lost.
static uint32_t run(unsigned ms)
{
	int status = -1;
	memset((void *)area, 0, sizeof(*area));
	uint64_t start_ns = tdm_now_ns();
	plan.end_ns = start_ns + ms * TDM_NS_PER_MS_;
	fflush(stdout);
	pid_t child = fork();
	if (child < 0)
		abort();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 0; i < 2; i++) // a zero-filled event is never fenced
			if (!variant->unregistered)
				tdm_event_init(&area->event[i]);
		(plan.by_processes ? run_processes
				   : run_threads)(plan.parties[0] + plan.parties[1]);
		tap_child_exit();
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	uint64_t waits = tdm_load_relaxed_u64(&area->waits);
	uint32_t lost = tdm_load_relaxed_u32(&area->lost);
	tap_note("%" PRIu64 " waits, %" PRIu64 " sleeps, %u lost, %" PRIu64 " ms", waits,
		 tdm_load_relaxed_u64(&area->sleeps), lost, (tdm_now_ns() - start_ns) / 1000000);
	CHECK(waits > 0);
	if (variant->mistake == NONE)
		total_waits += waits;
	return lost;
}

static void plan_for(unsigned wakers, unsigned waiters, bool window, bool by_processes)
{
	plan.parties[0] = wakers;
	plan.parties[1] = waiters;
	plan.window = window;
	plan.by_processes = by_processes;
	plan.until_lost = variant->mistake != NONE;
}

// Whether the current case cannot be run here, and why.
static bool skipped(bool window, unsigned cpus)
{
	bool needs_membarrier = variant->unregistered || variant->mistake == DELAY_FOR_MEMBARRIER;
	if (needs_membarrier && !tdm_fence_call_kernel_(TDM_MEMBARRIER_GLOBAL_EXPEDITED_))
		tap_skip("no membarrier here");
	else if (window && cpus < 2)
		tap_skip("one CPU only");
	else if (window && variant->mistake != NONE && INSTRUMENTED)
		tap_skip("instrumented code is too slow to slip through");
	else if (variant->mistake == LOOK_THEN_PUBLISH && TDM_UNDER_TSAN)
		tap_skip("events are fenced here, and so the look comes too late to do harm");
	else
		return false;
	return true;
}

static void test_sound(bool by_processes, unsigned cpus)
{
	static const unsigned shapes[][2] = {{1, 1}, {2, 2}, {1, 3}, {4, 4}, {1, 7}};
	char text[200];
	const char *who = by_processes ? "processes" : "threads";
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		snprintf(text, sizeof(text), "%s, %u and %u %s: every wait is woken", variant->name,
			 shapes[i][0], shapes[i][1], who);
		tap_case(text);
		plan_for(shapes[i][0], shapes[i][1], false, by_processes);
		if (!skipped(plan.window, cpus))
			CHECK_EQ_U64(run(450), 0);
	}
	snprintf(text, sizeof(text), "%s, 2 %s: nobody slips through while both are looking",
		 variant->name, who);
	tap_case(text);
	plan_for(1, 1, true, by_processes);
	if (!skipped(plan.window, cpus))
		CHECK_EQ_U64(run(1000), 0);
}

static void test_broken(bool window, unsigned cpus)
{
	char text[200];
	snprintf(text, sizeof(text), "the test catches %s", variant->name);
	tap_case(text);
	if (skipped(window, cpus))
		return;
	bool caught = false;
	for (int i = 0; i < 8 && !caught; i++) {
		plan_for(1, 1, window, i % 2 == 1);
		caught = run(2000) != 0;
	}
	CHECK(caught);
}

int main(void)
{
	static const struct variant sound[] = {
	    {"event", false, false, NONE},
	    {"fenced event", true, false, NONE},
	    {"event without registered wakers", false, true, NONE},
	};
	static const struct {
		struct variant variant;
		bool window;
	} broken[] = {
	    {{"a membarrier that only takes its time", false, false, DELAY_FOR_MEMBARRIER}, true},
	    {{"a waker that looks before it publishes", false, false, LOOK_THEN_PUBLISH}, false},
	    {{"a fenced event whose waker only looks", true, false, ONLY_LOOK}, true},
	    {{"an unregistered waker that only looks", false, true, ONLY_LOOK}, true},
	    {{"a waker that disarms after it wakes", false, false, DISARM_LAST}, false},
	    {{"a waker that at times forgets to wake", false, false, FORGET_TO_WAKE}, false},
	};
	area = mmap(NULL, sizeof(*area), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		return 1;
	unsigned cpus = take_two_cpus();
	for (size_t i = 0; i < sizeof(sound) / sizeof(sound[0]); i++) {
		variant = &sound[i];
		test_sound(false, cpus);
		test_sound(true, cpus);
	}
	tap_note("%" PRIu64 " waits in all", total_waits);
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		variant = &broken[i].variant;
		test_broken(broken[i].window, cpus);
	}
	return tap_done();
}
