// SPDX-License-Identifier: BSD-2-Clause
// sync/semaphore.h: no permit is lost or made, no post is slept through, and what was done before a
// post is seen by whoever takes the permit. Unless a case says EXPLORE_TIME_PASSES, slices never
// end, so that a lost wake-up is a deadlock and not a delay.
#include "explore.h"

#include <tandem/sync/semaphore.h>

#include "../support/broken/semaphore.h"

static struct tdm_semaphore *plain;
static struct tdm_semaphore_fair *fair;

static int written[EXPLORE_THREADS]; // by who posts, before it does
// Of each thread: what it has done for certain, and what is under way: may be done if it is dead.
static unsigned posted[EXPLORE_THREADS], taken[EXPLORE_THREADS];
static unsigned posting[EXPLORE_THREADS], taking[EXPLORE_THREADS];
static unsigned at_first;

// ---------------------------------------------------------------------------------------------
// Setups

static void begin(uint32_t value, uint32_t max)
{
	(void)tdm_backoff_alone_(); // asks the kernel, once
	explore_ignore(&tdm_backoff_cpus_, sizeof(tdm_backoff_cpus_));
	tdm_store_relaxed_u32(&tdm_fence_state_, TDM_FENCE_UNKNOWN_); // init registers
	explore_ignore(&tdm_fence_state_, sizeof(tdm_fence_state_));
	at_first = value;
	plain = explore_memory(sizeof(*plain));
	fair = explore_memory(sizeof(*fair));
	explore_name(plain, sizeof(*plain), "plain");
	explore_name(fair, sizeof(*fair), "fair");
	EXPLORE_CHECK(tdm_semaphore_init(plain, value, max) == TDM_OK, "it can be made");
	EXPLORE_CHECK(tdm_semaphore_fair_init(fair, value, max) == TDM_OK, "it can be made");
}

static void empty(void)
{
	begin(0, 0);
}

static void one_permit(void)
{
	begin(1, 0);
}

static void two_permits(void)
{
	begin(2, 0);
}

static void binary(void)
{
	begin(0, 1);
}

static void about_to_wrap(void)
{
	begin(0, 0);
	tdm_store_relaxed_u32(&fair->granted, UINT32_MAX);
	tdm_store_relaxed_u32(&fair->asked, UINT32_MAX);
}

// Made where membarrier is refused: both sides use read-modify-writes.
static void fenced(void)
{
	begin(0, 0);
	tdm_store_relaxed_u32(&plain->posted.word, TDM_EVENT_FENCED_);
	tdm_store_relaxed_u32(&fair->spare.word, TDM_EVENT_FENCED_);
	for (unsigned i = 0; i < TDM_SEMAPHORE_TURNS_; i++)
		tdm_store_relaxed_u32(&fair->turns[i].word, TDM_EVENT_FENCED_);
}

// ---------------------------------------------------------------------------------------------
// Operations, with accounts

static void post_n(uint32_t count)
{
	written[explore_thread()] = 1;
	posting[explore_thread()] += count;
	EXPLORE_CHECK(tdm_semaphore_post_n(plain, count) == TDM_OK, "there is room");
	posting[explore_thread()] -= count;
	posted[explore_thread()] += count;
}

static void fair_post_n(uint32_t count)
{
	written[explore_thread()] = 1;
	posting[explore_thread()] += count;
	EXPLORE_CHECK(tdm_semaphore_fair_post_n(fair, count) == TDM_OK, "there is room");
	posting[explore_thread()] -= count;
	posted[explore_thread()] += count;
}

// Whoever takes the only permit there can be sees what its giver did.
static void see(unsigned thread)
{
	EXPLORE_CHECK(written[thread] == 1, "what was done before the post is seen");
}

static void wait_any(void)
{
	taking[explore_thread()]++;
	EXPLORE_CHECK(tdm_semaphore_wait(plain) == TDM_OK, "a waiter gets a permit");
	taking[explore_thread()]--;
	taken[explore_thread()]++;
}

static void fair_wait_any(void)
{
	taking[explore_thread()]++;
	EXPLORE_CHECK(tdm_semaphore_fair_wait(fair) == TDM_OK, "a waiter gets a permit");
	taking[explore_thread()]--;
	taken[explore_thread()]++;
}

static bool wait_timed(void)
{
	uint64_t deadline = tdm_deadline_after_ns(TDM_EVENT_SLICE_NS_ / 2);
	taking[explore_thread()]++;
	enum tdm_status status = tdm_semaphore_wait_until(plain, deadline);
	taking[explore_thread()]--;
	EXPLORE_CHECK(status == TDM_OK || status == TDM_TIMED_OUT, "it is served or in time");
	EXPLORE_CHECK(status == TDM_OK || tdm_now_ns() >= deadline, "no time-out before its time");
	taken[explore_thread()] += status == TDM_OK;
	return status == TDM_OK;
}

static bool fair_wait_timed(void)
{
	uint64_t deadline = tdm_deadline_after_ns(TDM_EVENT_SLICE_NS_ / 2);
	taking[explore_thread()]++;
	enum tdm_status status = tdm_semaphore_fair_wait_until(fair, deadline);
	taking[explore_thread()]--;
	EXPLORE_CHECK(status == TDM_OK || status == TDM_TIMED_OUT, "it is served or in time");
	EXPLORE_CHECK(status == TDM_OK || tdm_now_ns() >= deadline, "no time-out before its time");
	taken[explore_thread()] += status == TDM_OK;
	return status == TDM_OK;
}

// ---------------------------------------------------------------------------------------------
// Threads

static void post(void)
{
	post_n(1);
}

static void post_2(void)
{
	post_n(2);
}

static void post_twice(void)
{
	post_n(1);
	post_n(1);
}

static void wait(void)
{
	wait_any();
}

static void wait_and_see(void)
{
	wait_any();
	see(0);
}

static void wait_twice(void)
{
	wait_any();
	wait_any();
}

static void try_once(void)
{
	taking[explore_thread()]++;
	bool got = tdm_semaphore_try_wait(plain);
	taking[explore_thread()]--;
	taken[explore_thread()] += got;
}

static void wait_until(void)
{
	(void)wait_timed();
}

static void wait_until_and_see(void)
{
	if (wait_timed())
		see(0);
}

// A lock: written[7] is what it protects.
static void hold(void)
{
	wait_any();
	written[7]++;
	post_n(1);
}

// Of two who post to a binary one, one may be refused; then it was full.
static void post_or_full(void)
{
	enum tdm_status status = tdm_semaphore_post(plain);
	EXPLORE_CHECK(status == TDM_OK || status == TDM_FULL, "there is room or there is none");
	posted[explore_thread()] += status == TDM_OK;
}

static void fair_post_or_full(void)
{
	enum tdm_status status = tdm_semaphore_fair_post(fair);
	EXPLORE_CHECK(status == TDM_OK || status == TDM_FULL, "there is room or there is none");
	posted[explore_thread()] += status == TDM_OK;
}

static void fair_post(void)
{
	fair_post_n(1);
}

static void fair_post_2(void)
{
	fair_post_n(2);
}

static void fair_post_twice(void)
{
	fair_post_n(1);
	fair_post_n(1);
}

static void fair_wait(void)
{
	fair_wait_any();
}

static void fair_wait_and_see(void)
{
	fair_wait_any();
	see(0);
}

static void fair_try_once(void)
{
	taking[explore_thread()]++;
	bool got = tdm_semaphore_fair_try_wait(fair);
	taking[explore_thread()]--;
	taken[explore_thread()] += got;
}

static void fair_try_and_see(void)
{
	if (tdm_semaphore_fair_try_wait(fair)) {
		taken[explore_thread()]++;
		see(0);
	}
}

static void fair_wait_until(void)
{
	(void)fair_wait_timed();
}

static void fair_hold(void)
{
	fair_wait_any();
	written[7]++;
	fair_post_n(1);
}

static void broken_waits(void)
{
	taking[explore_thread()]++;
	EXPLORE_CHECK(broken_semaphore_wait(plain) == TDM_OK, "a waiter gets a permit");
	taking[explore_thread()]--;
	taken[explore_thread()]++;
}

static void broken_takes(void)
{
	taken[explore_thread()] += broken_semaphore_try_wait(plain);
}

static void broken_posts(void)
{
	written[explore_thread()] = 1;
	broken_semaphore_post(plain);
}

static void broken_waits_until(void)
{
	(void)broken_semaphore_fair_wait_until(fair, tdm_deadline_after_ns(1000));
}

static void broken_posts_twice(void)
{
	broken_semaphore_fair_post(fair);
	broken_semaphore_fair_post(fair);
	posted[explore_thread()] += 2;
}

// ---------------------------------------------------------------------------------------------
// Afterwards

static void balance(uint32_t value)
{
	unsigned in = at_first, in_most = at_first, out = value, out_most = value;
	for (unsigned i = 0; i < EXPLORE_THREADS; i++) {
		in += posted[i];
		in_most += posted[i] + posting[i];
		out += taken[i];
		out_most += taken[i] + taking[i];
	}
	EXPLORE_CHECK(out <= in_most && out_most >= in, "permits are neither lost nor made");
}

static void plain_balances(void)
{
	balance(tdm_semaphore_value(plain));
}

static void fair_balances(void)
{
	balance(tdm_semaphore_fair_value(fair));
}

static void both_held_once(void)
{
	EXPLORE_CHECK(written[7] == 2, "one holder after the other");
	plain_balances();
}

static void both_held_fairly(void)
{
	EXPLORE_CHECK(written[7] == 2, "one holder after the other");
	fair_balances();
}

// ---------------------------------------------------------------------------------------------

static const struct explore_case cases[] = {
    {.name = "a waiter gets what is posted",
     .setup = empty,
     .threads = {post, wait_and_see},
     .finish = plain_balances,
     .spurious = 1},
    {.name = "two waiters get what is posted one by one",
     .setup = empty,
     .threads = {post_twice, wait, wait},
     .finish = plain_balances,
     .random = 50000},
    {.name = "two waiters get what is posted at once",
     .setup = empty,
     .threads = {post_2, wait, wait},
     .finish = plain_balances,
     .random = 50000},
    {.name = "fenced: a waiter gets what is posted",
     .setup = fenced,
     .threads = {post, wait_and_see},
     .finish = plain_balances,
     .spurious = 1},
    {.name = "two waiters get what two post",
     .setup = empty,
     .threads = {post, post, wait, wait},
     .finish = plain_balances,
     .random = 30000},
    {.name = "one waiter gets what two post",
     .setup = empty,
     .threads = {post, post, wait_twice},
     .finish = plain_balances,
     .random = 50000},
    {.name = "both sides use read-modify-writes",
     .setup = fenced,
     .threads = {post_twice, wait, wait},
     .finish = plain_balances,
     .random = 50000},
    {.name = "a waiter beside one that only tries",
     .setup = empty,
     .threads = {post_twice, wait, try_once},
     .finish = plain_balances,
     .random = 50000},
    {.name = "two try for one permit",
     .setup = one_permit,
     .threads = {try_once, try_once, try_once},
     .finish = plain_balances,
     .spurious = 1},
    {.name = "a semaphore as a lock",
     .setup = one_permit,
     .threads = {hold, hold},
     .finish = both_held_once},
    {.name = "two post to a binary one while one waits",
     .setup = binary,
     .threads = {post_or_full, post_or_full, wait},
     .finish = plain_balances,
     .random = 50000},
    {.name = "a waiter has a deadline",
     .setup = empty,
     .threads = {post, wait_until_and_see},
     .finish = plain_balances,
     .timeouts = 1},
    {.name = "one of two waiters has a deadline",
     .setup = empty,
     .threads = {post, wait_until, wait_until},
     .finish = plain_balances,
     .timeouts = 1,
     .flags = EXPLORE_TIME_PASSES,
     .random = 50000},
    {.name = "one of two waiters has a deadline, the other can wait",
     .setup = empty,
     .threads = {post_twice, wait_until, wait},
     .finish = plain_balances,
     .timeouts = 1,
     .random = 50000},
    {.name = "one who posts dies",
     .setup = empty,
     .threads = {post, wait_until},
     .finish = plain_balances,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "one of two waiters dies",
     .setup = two_permits,
     .threads = {wait_twice, wait_until, post},
     .finish = plain_balances,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES},

    {.name = "fair: a waiter gets what is posted",
     .setup = empty,
     .threads = {fair_post, fair_wait_and_see},
     .finish = fair_balances,
     .spurious = 1},
    {.name = "fair: two waiters get what is posted one by one",
     .setup = empty,
     .threads = {fair_post_twice, fair_wait, fair_wait},
     .finish = fair_balances,
     .random = 50000},
    {.name = "fair: two waiters get what is posted at once",
     .setup = empty,
     .threads = {fair_post_2, fair_wait, fair_wait},
     .finish = fair_balances},
    {.name = "fair: tickets wrap around",
     .setup = about_to_wrap,
     .threads = {fair_post_twice, fair_wait, fair_wait},
     .finish = fair_balances,
     .random = 50000},
    {.name = "fair: both sides use read-modify-writes",
     .setup = fenced,
     .threads = {fair_post_2, fair_wait, fair_wait_until},
     .finish = fair_balances},
    {.name = "fair: who only tries sees what was done",
     .setup = empty,
     .threads = {fair_post, fair_try_and_see},
     .finish = fair_balances},
    {.name = "fair: a waiter beside one that only tries",
     .setup = empty,
     .threads = {fair_post_twice, fair_wait, fair_try_once},
     .finish = fair_balances},
    {.name = "fair: as a lock",
     .setup = one_permit,
     .threads = {fair_hold, fair_hold},
     .finish = both_held_fairly},
    {.name = "fair: two post to a binary one while one waits",
     .setup = binary,
     .threads = {fair_post_or_full, fair_post_or_full, fair_wait},
     .finish = fair_balances},
    {.name = "fair: a waiter has a deadline",
     .setup = empty,
     .threads = {fair_post, fair_wait_until},
     .finish = fair_balances,
     .timeouts = 1},
    {.name = "fair: two waiters have a deadline",
     .setup = empty,
     .threads = {fair_post_2, fair_wait_until, fair_wait_until},
     .finish = fair_balances,
     .timeouts = 1,
     .random = 50000},
    {.name = "fair: two who have a deadline are woken before it",
     .setup = empty,
     .threads = {fair_post_twice, fair_wait_until, fair_wait_until},
     .finish = fair_balances,
     .random = 50000},
    {.name = "fair: a waiter with a deadline beside one that queues",
     .setup = empty,
     .threads = {fair_post_twice, fair_wait, fair_wait_until},
     .finish = fair_balances,
     .timeouts = 1,
     .random = 50000},
    {.name = "fair: one who posts dies",
     .setup = empty,
     .threads = {fair_post, fair_wait_until},
     .finish = fair_balances,
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES},

    {.name = "broken: no look after a success",
     .setup = empty,
     .threads = {post_twice, broken_waits, broken_waits},
     .random = 50000,
     .expect = "deadlock: thread"},
    {.name = "broken: a permit is taken by a load and a store",
     .setup = one_permit,
     .threads = {broken_takes, broken_takes},
     .finish = plain_balances,
     .expect = "permits are neither lost nor made"},
    {.name = "broken: a post that publishes nothing",
     .setup = empty,
     .threads = {broken_posts, wait_and_see},
     .expect = "data race"},
    {.name = "broken: fair: a post that wakes another one",
     .setup = empty,
     .threads = {broken_posts_twice, fair_wait, fair_wait},
     .expect = "deadlock: thread"},
    {.name = "broken: fair: who gives up leaves a ticket behind",
     .setup = empty,
     .threads = {fair_post, broken_waits_until, fair_wait},
     .timeouts = 1,
     .expect = "deadlock: thread"},
};

int main(int argc, char **argv)
{
	return explore_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
