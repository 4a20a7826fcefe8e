// SPDX-License-Identifier: BSD-2-Clause
// sync/event.h, base/fence.h and base/futex.h: nobody sleeps through a wake-up, whatever the
// schedule, whichever side is registered for membarrier, refused it, or dead. Unless a case says
// EXPLORE_TIME_PASSES, slices never end, so that a lost wake-up is a deadlock and not a delay.
//
// A waker writes its thread's `data`, plainly, and then stores `flags`; who waited for the flag
// reads the data. So what the event promises besides waking, that publishing is as good as it was
// without waiting, is looked at as well.
#include "explore.h"

static uint64_t clock_ns(void);
#undef TDM_SEAM_NOW_NS
#define TDM_SEAM_NOW_NS() clock_ns()

#include <tandem/base/atomic.h>

// explore_process_local wants them aligned to 8.
extern TDM_PROCESS_WIDE __attribute__((aligned(8))) tdm_atomic_u32 tdm_fence_state_;
extern TDM_PROCESS_WIDE __attribute__((aligned(8))) tdm_atomic_u32 tdm_event_poll_;

#include <tandem/sync/event.h>

#include "../support/broken/event_notify.h"
#include "../support/broken/event_one.h"
#include "../support/broken/event_prepare.h"

static struct tdm_event *event;
static tdm_atomic_u32 flags[2]; // of the first and the second waker
static int data[2];

// For threads that mind: from any look at the clock on it may be late, without having slept.
static bool minds[EXPLORE_THREADS], is_late[EXPLORE_THREADS];

static uint64_t clock_ns(void)
{
	unsigned thread = explore_thread();
	if (minds[thread] && !is_late[thread])
		is_late[thread] = explore_choose(2) == 1;
	return explore_now_ns() + (is_late[thread] ? TDM_EVENT_SLICE_NS_ : 0);
}

// ---------------------------------------------------------------------------------------------
// Setups

// A zero-filled event, and processes that are not registered yet.
static void unregistered(void)
{
	(void)tdm_backoff_alone_(); // asks the kernel, once
	explore_ignore(&tdm_backoff_cpus_, sizeof(tdm_backoff_cpus_));
	event = explore_memory(sizeof(*event));
	explore_name(event, sizeof(*event), "event");
	tdm_store_relaxed_u32(&tdm_fence_state_, TDM_FENCE_UNKNOWN_);
	tdm_store_relaxed_u32(&tdm_event_poll_, 0);
	explore_process_local(&tdm_fence_state_, sizeof(tdm_fence_state_));
	explore_process_local(&tdm_event_poll_, sizeof(tdm_event_poll_));
}

// All threads are in the first process.
static void registered(void)
{
	unregistered();
	tdm_event_init(event);
	EXPLORE_CHECK(tdm_load_relaxed_u32(&event->word) == 0, "the event needs no fences");
}

// Who makes an event and is refused makes it fenced.
static void fenced(void)
{
	unregistered();
	tdm_store_relaxed_u32(&tdm_fence_state_, TDM_FENCE_REFUSED_);
	tdm_event_init(event);
	EXPLORE_CHECK(tdm_load_relaxed_u32(&event->word) == TDM_EVENT_FENCED_,
		      "the event is fenced");
	tdm_store_relaxed_u32(&tdm_fence_state_, TDM_FENCE_UNKNOWN_);
}

// The processes, but not the event, know better.
static void fenced_and_registered(void)
{
	registered();
	tdm_store_relaxed_u32(&event->word, TDM_EVENT_FENCED_);
}

// ---------------------------------------------------------------------------------------------
// Wakers

static void publish(unsigned which, uint32_t value)
{
	if (value == 1)
		data[which] = 1;
	tdm_store_release_u32(&flags[which], value);
}

static void wake(void)
{
	publish(0, 1);
	tdm_event_notify(event);
}

static void wake_too(void)
{
	publish(1, 1);
	tdm_event_notify(event);
}

static void wake_twice(void)
{
	publish(0, 1);
	tdm_event_notify(event);
	publish(0, 2);
	tdm_event_notify(event);
}

static void register_only(void)
{
	(void)tdm_fence_register_();
}

// ---------------------------------------------------------------------------------------------
// Waiters

struct wish {
	unsigned which;
	uint32_t value;
};

static enum tdm_status attempt(void *context)
{
	const struct wish *wish = context;
	if (tdm_load_acquire_u32(&flags[wish->which]) < wish->value)
		return TDM_EMPTY;
	EXPLORE_CHECK(data[wish->which] == 1, "what was written before is seen");
	return TDM_OK;
}

static enum tdm_status await(unsigned which, uint32_t value, uint64_t deadline_ns)
{
	struct wish wish = {which, value};
	struct tdm_patience patience = {0};
	return tdm_event_await(event, &patience, deadline_ns, TDM_EMPTY, attempt, NULL, &wish);
}

static void wait_once(void)
{
	EXPLORE_CHECK(await(0, 1, TDM_FOREVER) == TDM_OK, "the waiter is woken");
}

static void wait_twice(void)
{
	wait_once();
	EXPLORE_CHECK(await(0, 2, TDM_FOREVER) == TDM_OK, "the waiter is woken again");
}

static void wait_for_both(void)
{
	wait_once();
	EXPLORE_CHECK(await(1, 1, TDM_FOREVER) == TDM_OK, "the waiter is woken again");
}

// The loop in the header's example.
static void wait_by_hand(void)
{
	while (tdm_load_acquire_u32(&flags[0]) == 0) {
		uint32_t key = tdm_event_prepare(event);
		if (tdm_load_acquire_u32(&flags[0]) != 0)
			break;
		EXPLORE_CHECK(tdm_event_wait_until(event, key, TDM_FOREVER) == TDM_OK,
			      "there is no deadline");
	}
	EXPLORE_CHECK(data[0] == 1, "what was written before is seen");
}

static void wait_until_deadline(void)
{
	uint64_t deadline = tdm_deadline_after_ns(TDM_EVENT_SLICE_NS_ / 2);
	enum tdm_status status = await(0, 1, deadline);
	EXPLORE_CHECK(status == TDM_OK || status == TDM_TIMED_OUT, "it is woken or in time");
	EXPLORE_CHECK(status == TDM_OK || tdm_now_ns() >= deadline,
		      "a time-out comes at the deadline");
}

// The waker may be dead: then the waiter finds out at the end of its slice.
static void wait_for_the_dead(void)
{
	uint64_t begun = tdm_now_ns();
	uint64_t deadline = begun + 2 * TDM_EVENT_SLICE_NS_;
	enum tdm_status status = await(0, 1, deadline);
	EXPLORE_CHECK(status == TDM_OK || tdm_load_relaxed_u32(&flags[0]) == 0,
		      "what was published is found");
	EXPLORE_CHECK(status != TDM_OK || tdm_now_ns() - begun <= TDM_EVENT_SLICE_NS_,
		      "what was published is found within a slice");
	EXPLORE_CHECK(explore_died(0) || tdm_now_ns() == begun,
		      "the living do not keep it waiting");
}

// The same where nothing orders the dead one's store before the waiter's next look.
static void wait_for_the_living(void)
{
	enum tdm_status status = await(0, 1, tdm_now_ns() + TDM_EVENT_SLICE_NS_);
	EXPLORE_CHECK(status == TDM_OK || explore_died(0), "the living do not keep it waiting");
}

// At most two slices: nothing says when a store is seen that nothing orders.
static void wait_in_slices(uint32_t (*prepare)(struct tdm_event *))
{
	for (unsigned round = 0; round < 2 && tdm_load_acquire_u32(&flags[0]) == 0; round++) {
		uint64_t begun = tdm_now_ns();
		uint32_t key = prepare(event);
		if (tdm_load_acquire_u32(&flags[0]) != 0)
			break;
		EXPLORE_CHECK(tdm_event_wait_until(event, key, TDM_FOREVER) == TDM_OK,
			      "there is no deadline");
		EXPLORE_CHECK(tdm_now_ns() - begun <= TDM_EVENT_POLL_NS_,
			      "who is refused membarrier sleeps in short slices");
	}
}

// Refused membarrier, it may sleep through a wake-up, but not for long.
static void wait_refused(void)
{
	wait_in_slices(tdm_event_prepare);
}

// A waiter that died armed the event for nobody: one wake-up clears that.
static void disarmed_by_now(void)
{
	uint32_t before = tdm_load_relaxed_u32(&event->word);
	tdm_event_notify(event);
	uint32_t after = tdm_load_relaxed_u32(&event->word);
	EXPLORE_CHECK((after & TDM_EVENT_ARMED_) == 0, "a notify disarms");
	EXPLORE_CHECK((after == before) == ((before & TDM_EVENT_ARMED_) == 0),
		      "each wake-up has a number");
	EXPLORE_CHECK(((before ^ after) & TDM_EVENT_FENCED_) == 0, "FENCED is for ever");
}

// ---------------------------------------------------------------------------------------------
// Broken variants

static void wake_twice_disarming_last(void)
{
	publish(0, 1);
	broken_notify_disarm_last(event);
	publish(0, 2);
	broken_notify_disarm_last(event);
}

static void wake_by_load(void)
{
	publish(0, 1);
	broken_notify_by_load(event);
}

static void look_then_publish(void)
{
	data[0] = 1;
	broken_look_then_publish(event, &flags[0], 1);
}

static void many_wake_ups_before(void)
{
	registered();
	tdm_store_relaxed_u32(&event->word, 63 * TDM_EVENT_EPOCH_);
}

static void wake_and_forget(void)
{
	publish(0, 1);
	broken_notify_forget(event);
}

static void wait_without_fence(void)
{
	while (tdm_load_acquire_u32(&flags[0]) == 0) {
		uint32_t key = broken_prepare_without_fence(event);
		if (tdm_load_acquire_u32(&flags[0]) != 0)
			break;
		EXPLORE_CHECK(tdm_event_wait_until(event, key, TDM_FOREVER) == TDM_OK,
			      "there is no deadline");
	}
}

static void wait_although_refused(void)
{
	wait_in_slices(broken_prepare_unrefused);
}

// ---------------------------------------------------------------------------------------------
// Waiters of whom one is enough: a thing that one at a time has

static tdm_atomic_u32 taken;
static unsigned had; // by whoever has the thing

typedef enum tdm_status awaiting(struct tdm_event *, struct tdm_patience *, uint64_t,
				 enum tdm_status, enum tdm_status (*)(void *),
				 enum tdm_status (*)(void *), void *);

static enum tdm_status take(void *unused)
{
	(void)unused;
	uint32_t none = 0;
	return tdm_cas_strong_acquire_relaxed_u32(&taken, &none, 1) ? TDM_OK : TDM_EMPTY;
}

static void have(awaiting *await_one, uint64_t deadline_ns)
{
	struct tdm_patience patience = {0};
	enum tdm_status status =
	    await_one(event, &patience, deadline_ns, TDM_EMPTY, take, NULL, NULL);
	if (status == TDM_TIMED_OUT) {
		EXPLORE_CHECK(tdm_now_ns() >= deadline_ns, "a time-out comes at the deadline");
		return;
	}
	EXPLORE_CHECK(status == TDM_OK, "the waiter gets it");
	had++;
	tdm_store_release_u32(&taken, 0);
	tdm_event_notify_one(event);
}

static void have_once(void)
{
	have(tdm_event_await_one, TDM_FOREVER);
}

static void have_twice(void)
{
	have_once();
	have_once();
}

static void have_or_be_late(void)
{
	minds[explore_thread()] = true;
	have(tdm_event_await_one, explore_now_ns() + TDM_EVENT_SLICE_NS_ / 2);
}

static void have_and_not_arm(void)
{
	have(broken_await_one_unarmed, TDM_FOREVER);
}

static void be_late_and_keep_it(void)
{
	minds[explore_thread()] = true;
	have(broken_await_one_selfish, explore_now_ns() + TDM_EVENT_SLICE_NS_ / 2);
}

static void wake_one(void)
{
	publish(0, 1);
	tdm_event_notify_one(event);
}

// ---------------------------------------------------------------------------------------------

static const struct explore_case cases[] = {
    {.name = "a waiter is woken", .setup = registered, .threads = {wake, wait_once}, .spurious = 1},
    {.name = "a waiter is woken, by hand",
     .setup = registered,
     .threads = {wake, wait_by_hand},
     .spurious = 1},
    {.name = "a waiter is woken twice",
     .setup = registered,
     .threads = {wake_twice, wait_twice},
     .finish = disarmed_by_now},
    {.name = "two waiters are woken",
     .setup = registered,
     .threads = {wake, wait_once, wait_once},
     .finish = disarmed_by_now},
    {.name = "two waiters are woken, one of them twice",
     .setup = registered,
     .threads = {wake_twice, wait_once, wait_twice},
     .random = 20000},
    {.name = "two wake one waiter",
     .setup = registered,
     .threads = {wake, wake_too, wait_for_both},
     .finish = disarmed_by_now},
    {.name = "a waiter in another process is woken",
     .setup = registered,
     .threads = {wake, wait_once},
     .process = {0, 1}},

    {.name = "fenced: a waiter is woken",
     .setup = fenced_and_registered,
     .threads = {wake, wait_once},
     .spurious = 1},
    {.name = "fenced: a waiter is woken twice",
     .setup = fenced_and_registered,
     .threads = {wake_twice, wait_twice},
     .finish = disarmed_by_now},
    {.name = "fenced: two waiters are woken",
     .setup = fenced_and_registered,
     .threads = {wake, wait_once, wait_once},
     .finish = disarmed_by_now},
    {.name = "fenced: two wake one waiter",
     .setup = fenced_and_registered,
     .threads = {wake, wake_too, wait_for_both},
     .finish = disarmed_by_now},
    {.name = "fenced: neither process has membarrier",
     .setup = fenced,
     .threads = {wake, wait_once},
     .refused = 3,
     .process = {0, 1}},

    {.name = "a waker registers with its first wake-up",
     .setup = unregistered,
     .threads = {wake, wait_once},
     .process = {0, 1}},
    {.name = "a waker registers with the first of two wake-ups",
     .setup = unregistered,
     .threads = {wake_twice, wait_twice},
     .process = {0, 1}},
    {.name = "a thread registers beside one that wakes",
     .setup = unregistered,
     .threads = {wake, wait_once, register_only},
     .process = {0, 1, 0}},
    {.name = "two that register wake one waiter",
     .setup = unregistered,
     .threads = {wake, wait_for_both, wake_too},
     .process = {0, 1, 0},
     .random = 50000},
    {.name = "a waker is refused membarrier",
     .setup = unregistered,
     .threads = {wake, wait_once},
     .refused = 1,
     .process = {0, 1}},
    {.name = "a waker is refused membarrier, and wakes twice",
     .setup = unregistered,
     .threads = {wake_twice, wait_twice},
     .refused = 1,
     .process = {0, 1}},
    {.name = "two wakers are refused membarrier",
     .setup = unregistered,
     .threads = {wake, wake_too, wait_for_both},
     .refused = 1,
     .process = {0, 0, 1},
     .random = 50000},
    {.name = "a waiter is refused membarrier",
     .setup = registered,
     .threads = {wake, wait_refused},
     .refused = 2,
     .process = {0, 1},
     .flags = EXPLORE_TIME_PASSES},
    {.name = "two waiters of one process are refused membarrier",
     .setup = registered,
     .threads = {wake, wait_refused, wait_refused},
     .refused = 2,
     .process = {0, 1, 1},
     .flags = EXPLORE_TIME_PASSES,
     .random = 50000},

    {.name = "a waiter has a deadline",
     .setup = registered,
     .threads = {wake, wait_until_deadline},
     .timeouts = 1},
    {.name = "a waker dies",
     .setup = registered,
     .threads = {wake, wait_for_the_dead},
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "fenced: a waker dies",
     .setup = fenced_and_registered,
     .threads = {wake, wait_for_the_living},
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "one of two waiters dies",
     .setup = registered,
     .threads = {wake, wait_once, wait_once},
     .finish = disarmed_by_now,
     .can_die = 2,
     .deaths = 1},
    {.name = "fenced: one of two waiters dies",
     .setup = fenced_and_registered,
     .threads = {wake, wait_once, wait_once},
     .finish = disarmed_by_now,
     .can_die = 2,
     .deaths = 1},

    {.name = "broken: disarmed after the wake-up",
     .setup = registered,
     .threads = {wake_twice_disarming_last, wait_twice},
     .expect = "deadlock: thread 1 sleeps on a futex"},
    {.name = "broken: disarmed after the wake-up, fenced",
     .setup = fenced_and_registered,
     .threads = {wake_twice_disarming_last, wait_twice},
     .expect = "deadlock: thread 1 sleeps on a futex"},
    {.name = "broken: a waiter without membarrier",
     .setup = registered,
     .threads = {wake, wait_without_fence},
     .expect = "deadlock: thread 1 sleeps on a futex"},
    {.name = "broken: a waiter that ignores the refusal",
     .setup = registered,
     .threads = {wake, wait_although_refused},
     .refused = 2,
     .process = {0, 1},
     .flags = EXPLORE_TIME_PASSES,
     .expect = "short slices"},
    {.name = "broken: a waker that is not registered and only looks",
     .setup = unregistered,
     .threads = {wake_by_load, wait_once},
     .process = {0, 1},
     .expect = "deadlock: thread 1 sleeps on a futex"},
    {.name = "broken: a waker that only looks at a fenced event",
     .setup = fenced_and_registered,
     .threads = {wake_by_load, wait_once},
     .expect = "deadlock: thread 1 sleeps on a futex"},
    {.name = "broken: looking, then publishing",
     .setup = registered,
     .threads = {look_then_publish, wait_once},
     .expect = "deadlock: thread 1 sleeps on a futex"},
    {.name = "broken: a waker that forgets to wake",
     .setup = many_wake_ups_before,
     .threads = {wake_and_forget, wait_once},
     .expect = "deadlock: thread 1 sleeps on a futex"},

    {.name = "one of one waiter is woken",
     .setup = registered,
     .threads = {wake_one, wait_once},
     .spurious = 1},
    {.name = "one is enough for two that take turns",
     .setup = registered,
     .threads = {have_twice, have_once},
     .spurious = 1,
     .flags = EXPLORE_PARTIAL},
    {.name = "one is enough for three that take turns",
     .setup = registered,
     .threads = {have_once, have_once, have_once},
     .random = 50000},
    {.name = "one is enough for three that take turns, twice",
     .setup = registered,
     .threads = {have_twice, have_once, have_twice},
     .random = 50000},
    {.name = "fenced: one is enough for three that take turns",
     .setup = fenced_and_registered,
     .threads = {have_twice, have_once, have_once},
     .random = 50000},
    {.name = "one is enough where one may be late",
     .setup = registered,
     .threads = {have_twice, have_or_be_late, have_once},
     .random = 50000},
    {.name = "one is enough where one may be late, in three processes",
     .setup = unregistered,
     .threads = {have_twice, have_or_be_late, have_once},
     .process = {0, 1, 2},
     .random = 50000},
    {.name = "broken: who was woken does not arm again",
     .setup = registered,
     .threads = {have_twice, have_and_not_arm, have_and_not_arm},
     .random = 50000,
     .expect = "deadlock"},
    {.name = "broken: who was woken and is late does not pass it on",
     .setup = registered,
     .threads = {have_twice, be_late_and_keep_it, have_once},
     .random = 200000,
     .expect = "deadlock"},
};

int main(int argc, char **argv)
{
	return explore_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
