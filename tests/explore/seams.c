// SPDX-License-Identifier: BSD-2-Clause
// The explorer against what the kernel and the processes do: futexes, membarrier, lock bytes,
// death; and against each kind of mistake that it reports.
#include "explore.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <tandem/base/status.h>

static uint32_t x, y, word, r[4];
static uint64_t wide;
static unsigned data;

#define RLX __ATOMIC_RELAXED
#define ACQ __ATOMIC_ACQUIRE
#define REL __ATOMIC_RELEASE
#define LOAD(a, order) __atomic_load_n(&a, order)
#define STORE(a, v, order) __atomic_store_n(&a, v, order)
#define FOREVER UINT64_MAX

static void two(void)
{
	explore_outcome(r[0] << 4 | r[1]);
}

// --- futexes ---

static void wake_after_store(void)
{
	data = 1;
	STORE(word, 1, REL);
	explore_futex_wake(&word, UINT32_MAX);
}

static void wake_before_store(void)
{
	data = 1;
	explore_futex_wake(&word, UINT32_MAX);
	STORE(word, 1, REL);
}

static void wait_for_word(void)
{
	while (LOAD(word, ACQ) == 0)
		(void)explore_futex_wait(&word, 0, FOREVER);
	EXPLORE_CHECK(data == 1, "what was written before the wake-up is seen");
}

static void wait_for_flag(void)
{
	if (LOAD(x, ACQ) == 0)
		(void)explore_futex_wait(&word, 0, FOREVER); // the word does not change
}

static void wake_for_flag(void)
{
	STORE(x, 1, REL);
	explore_futex_wake(&word, UINT32_MAX);
}

static void wait_once(void)
{
	if (LOAD(word, ACQ) == 0)
		(void)explore_futex_wait(&word, 0, FOREVER);
	EXPLORE_CHECK(LOAD(word, ACQ) == 1, "the wait was for the word");
}

static void wait_a_while(void)
{
	uint64_t deadline = explore_now_ns() + 100;
	r[0] = (uint32_t)explore_futex_wait(&word, 0, deadline);
	EXPLORE_CHECK((r[0] == TDM_TIMED_OUT) == (explore_now_ns() >= deadline),
		      "the clock agrees with the time-out");
}

static void wake_one(void)
{
	STORE(word, 1, RLX);
	explore_futex_wake(&word, 1);
}

// --- membarrier: x is published, y says that somebody looks ---

static void light(void)
{
	STORE(x, 1, REL);
	r[0] = LOAD(y, RLX);
}

static void heavy(void)
{
	STORE(y, 1, RLX);
	bool done = explore_membarrier(2);
	r[1] = LOAD(x, ACQ);
	EXPLORE_CHECK(done, "membarrier is there");
}

static void not_heavy(void)
{
	STORE(y, 1, RLX);
	r[1] = LOAD(x, ACQ);
}

static void light_registers(void)
{
	(void)explore_membarrier(4);
	light();
}

static void register_all(void)
{
	(void)explore_membarrier(4);
}

static void one_sees(void)
{
	EXPLORE_CHECK(r[0] == 1 || r[1] == 1, "one of the two sides sees the other");
}

static void refused_register(void)
{
	EXPLORE_CHECK(!explore_membarrier(4) && !explore_membarrier(2), "both are refused");
}

// --- processes ---

static uint64_t own = 5, own_atomic = 7;

static void localize(void)
{
	own = 5;
	explore_process_local(&own, sizeof(own));
	explore_process_local(&own_atomic, sizeof(own_atomic));
}

static void use_own(void)
{
	EXPLORE_CHECK(own == 5, "a process begins with what setup left");
	own = 10 + explore_thread();
	STORE(x, 1, RLX); // others may run here
	EXPLORE_CHECK(own == 10 + explore_thread(), "no other process writes here");
	EXPLORE_CHECK(__atomic_fetch_add(&own_atomic, 1, RLX) == 7, "nor here");
}

static void race_on_own(void)
{
	own++;
}

static void own_again(void)
{
	EXPLORE_CHECK(own == 10, "finish is in the first one's process");
}

// --- death and lock bytes ---

static void hold_byte(void)
{
	explore_seat_holder(0, 100, 3);
}

static void write_and_die(void)
{
	data = 1;
	STORE(x, 1, RLX);
	data = 2;
	STORE(x, 2, RLX);
}

static void take_and_look(void)
{
	if (explore_seat(0, 101, 3) != TDM_OK)
		return;
	r[0] = data; // no race: its writer is dead
	r[1] = LOAD(x, RLX);
	EXPLORE_CHECK(r[0] == r[1] || r[0] == r[1] + 1, "all that the dead one did is seen");
}

static void look_and_look(void)
{
	if (explore_seat(1, 101, 3) != TDM_OK)
		return;
	EXPLORE_CHECK(data == LOAD(x, RLX) || data == LOAD(x, RLX) + 1, "it is seen");
}

static void look_at_flag(void)
{
	if (LOAD(x, RLX) == 2)
		r[0] = data;
}

static void drop_byte(void)
{
	data = 1;
	explore_seat(2, 100, 3);
}

static void byte_is_free(void)
{
	EXPLORE_CHECK(!explore_died(0) || explore_seat(1, 101, 3) == TDM_OK,
		      "the dead hold nothing");
	explore_outcome((explore_died(0) ? 1U : 0) << 4 | (explore_finished(0) ? 1U : 0));
}

static void pair(void)
{
	STORE(x, 1, RLX);
	STORE(y, 1, RLX);
}

static void whole(void)
{
	EXPLORE_CHECK(x == y, "both or none");
}

static void waits_for_the_dead(void)
{
	uint64_t deadline = explore_now_ns() + 100;
	while (LOAD(word, ACQ) == 0)
		if (explore_futex_wait(&word, 0, deadline) == TDM_TIMED_OUT) {
			EXPLORE_CHECK(explore_now_ns() >= deadline, "time has passed");
			EXPLORE_CHECK(LOAD(word, ACQ) == 0 || explore_died(0), "for a reason");
			return;
		}
}

// --- mistakes ---

static uint32_t *block;

static void allocate(void)
{
	block = explore_memory(3 * sizeof(*block));
	explore_name(block, 3 * sizeof(*block), "block");
}

static void free_it(void)
{
	explore_free(block);
}

static void use_it(void)
{
	block[1] = 1;
}

static void free_when_told(void)
{
	if (LOAD(x, ACQ) == 1)
		explore_free(block);
}

static void free_and_tell(void)
{
	free_when_told();
	STORE(y, LOAD(x, RLX), REL);
}

static void use_when_told(void)
{
	if (LOAD(y, ACQ) == 1)
		block[1] = 1;
}

static void use_and_tell(void)
{
	block[1] = 1;
	STORE(x, 1, REL);
}

static void free_then_use_atomic(void)
{
	explore_free(block);
	STORE(block[0], 1, RLX);
}

static void past_the_end(void)
{
	block[3] = 1;
}

static void far_past_the_end(void)
{
	memset(block, 0, 64);
}

static uint32_t *volatile nowhere;

static void follow_null(void)
{
	*nowhere = 1;
}

static void in_two_sizes(void)
{
	STORE(wide, 1, RLX);
	__atomic_store_n((uint32_t *)(void *)&wide, 1, RLX);
}

static pthread_mutex_t first = PTHREAD_MUTEX_INITIALIZER, second = PTHREAD_MUTEX_INITIALIZER;

static void lock_both(void)
{
	pthread_mutex_lock(&first);
	pthread_mutex_lock(&second);
	data++;
	pthread_mutex_unlock(&second);
	pthread_mutex_unlock(&first);
}

static void lock_backwards(void)
{
	pthread_mutex_lock(&second);
	pthread_mutex_lock(&first);
	data++;
	pthread_mutex_unlock(&first);
	pthread_mutex_unlock(&second);
}

static void spin_for_nothing(void)
{
	while (LOAD(x, RLX) == 0)
		continue;
}

static void await_nothing(void)
{
	while (LOAD(x, RLX) == 0)
		explore_await_change();
}

static void await_something(void)
{
	while (LOAD(x, ACQ) != 2)
		explore_await_change();
}

static void count_up(void)
{
	STORE(x, 1, RLX);
	STORE(x, 2, RLX);
}

static void assert_it(void)
{
	assert(LOAD(x, RLX) == 1);
}

static void abort_it(void)
{
	if (LOAD(x, RLX) == 1)
		abort();
}

static void *lent;

static void lend_stack(void)
{
	unsigned here = 0;
	__atomic_store_n(&lent, &here, REL);
	STORE(x, 1, RLX);
	if (LOAD(y, ACQ) == 1)
		explore_outcome(here);
}

static void borrow_stack(void)
{
	unsigned *there = __atomic_load_n(&lent, ACQ);
	if (there != NULL)
		*there = 1;
}

static void weak(void)
{
	r[0] = 0;
	while (explore_weak_cas_fails())
		r[0]++;
}

static void choose(void)
{
	r[0] = explore_choose(3);
	r[1] = explore_choose(2);
}

static void copy_bytes(void)
{
	uint32_t local[2] = {1, 2};
	memcpy(&wide, local, sizeof(local));
}

static void read_bytes(void)
{
	uint32_t local[2];
	memcpy(local, &wide, sizeof(local));
	r[0] = local[0];
}

static void leave_traces(void)
{
	EXPLORE_CHECK(data == 0 && word == 0, "an execution begins as setup left it");
	data = 1;
	memset(&word, 1, sizeof(word));
	char *more = explore_memory(8);
	EXPLORE_CHECK(more[0] == 0, "memory is zeroed");
	more[0] = 1;
	STORE(x, 1, RLX);
	explore_free(more);
}

#define OUTCOMES(...)                                                                              \
	.outcomes = (const uint64_t[]){__VA_ARGS__},                                               \
	.outcome_count = sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)

static const struct explore_case cases[] = {
    {.name = "a futex wait that looks at its word again loses nothing",
     .threads = {wake_after_store, wait_for_word},
     .spurious = 1},
    {.name = "a wake-up before the store is lost",
     .threads = {wake_before_store, wait_for_word},
     .expect = "deadlock"},
    {.name = "a wake-up for a word that does not change is lost",
     .threads = {wake_for_flag, wait_for_flag},
     .expect = "deadlock"},
    {.name = "a wait may end for no reason",
     .threads = {wake_after_store, wait_once},
     .spurious = 1,
     .expect = "the wait was for the word"},
    {.name = "a wake-up by itself says nothing about the word",
     .threads = {wake_after_store, wait_once},
     .expect = "the wait was for the word"},
    {.name = "a wait may time out, by the clock",
     .threads = {wait_a_while, wake_one},
     .finish = two,
     .timeouts = 1,
     OUTCOMES(TDM_OK << 4, TDM_TIMED_OUT << 4)},
    {.name = "a wake-up for one of two leaves the other asleep",
     .threads = {wait_once, wait_once, wake_one},
     .expect = "deadlock"},
    {.name = "membarrier stands for the other side's fence",
     .setup = register_all,
     .threads = {light, heavy},
     .finish = one_sees},
    {.name = "without membarrier neither side may see the other",
     .setup = register_all,
     .threads = {light, not_heavy},
     .finish = one_sees,
     .expect = "one of the two sides"},
    {.name = "membarrier passes over who is not registered",
     .threads = {light, heavy},
     .process = {0, 1},
     .finish = one_sees,
     .expect = "one of the two sides"},
    {.name = "membarrier reaches a process that registered itself",
     .threads = {light_registers, heavy},
     .process = {0, 1},
     .finish = one_sees},
    {.name = "membarrier may be refused", .threads = {refused_register, pair}, .refused = 1},
    {.name = "each process has its own copy",
     .setup = localize,
     .threads = {use_own, use_own, use_own},
     .process = {0, 1, 2},
     .finish = own_again},
    {.name = "threads of one process share it",
     .setup = localize,
     .threads = {race_on_own, race_on_own},
     .process = {1, 1},
     .expect = "data race"},
    {.name = "a lock byte that its dead holder dropped brings what it did",
     .setup = hold_byte,
     .threads = {write_and_die, take_and_look},
     .finish = byte_is_free,
     .can_die = 1,
     .deaths = 1,
     OUTCOMES(0x01, 0x10)},
    {.name = "looking at it does, too",
     .setup = hold_byte,
     .threads = {write_and_die, look_and_look},
     .can_die = 1,
     .deaths = 1},
    {.name = "unless the locks are not to be seen",
     .setup = hold_byte,
     .threads = {write_and_die, look_and_look},
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_LOCKS_UNSEEN,
     .expect = "data race"},
    {.name = "a flag alone does not",
     .setup = hold_byte,
     .threads = {write_and_die, look_at_flag},
     .can_die = 1,
     .deaths = 1,
     .expect = "data race"},
    {.name = "dropping it by hand does",
     .setup = hold_byte,
     .threads = {drop_byte, take_and_look},
     .can_die = 1,
     .deaths = 1},
    {.name = "a thread may die between any two accesses",
     .threads = {pair},
     .finish = whole,
     .can_die = 1,
     .deaths = 1,
     .expect = "both or none"},
    {.name = "nobody dies unless the case says so", .threads = {pair}, .finish = whole},
    {.name = "a waiter is stuck when its waker dies",
     .threads = {wake_after_store, wait_for_word},
     .can_die = 1,
     .deaths = 1,
     .expect = "deadlock"},
    {.name = "time passes when everybody is stuck",
     .threads = {wake_after_store, waits_for_the_dead},
     .can_die = 1,
     .deaths = 1,
     .flags = EXPLORE_TIME_PASSES},
    {.name = "freed memory may not be used",
     .setup = allocate,
     .threads = {use_and_tell, free_and_tell, use_when_told},
     .expect = "freed memory"},
    {.name = "memory that somebody uses may not be freed",
     .setup = allocate,
     .threads = {use_it, free_it},
     .expect = "data race"},
    {.name = "memory is freed in peace after its last use",
     .setup = allocate,
     .threads = {use_and_tell, free_when_told}},
    {.name = "freed memory may not be used atomically either",
     .setup = allocate,
     .threads = {free_then_use_atomic},
     .expect = "freed memory"},
    {.name = "one element past the end is not there",
     .setup = allocate,
     .threads = {past_the_end},
     .expect = "unmapped memory"},
    {.name = "nor are many",
     .setup = allocate,
     .threads = {far_past_the_end},
     .expect = "unmapped memory"},
    {.name = "nor is what NULL points to", .threads = {follow_null}, .expect = "unmapped memory"},
    {.name = "a location has one size", .threads = {in_two_sizes}, .expect = "mixed sizes"},
    {.name = "mutexes in one order", .threads = {lock_both, lock_both}},
    {.name = "mutexes in two orders", .threads = {lock_both, lock_backwards}, .expect = "deadlock"},
    {.name = "a loop that goes on for ever", .threads = {spin_for_nothing}, .expect = "livelock"},
    {.name = "a wait for nothing", .threads = {await_nothing, wake_one}, .expect = "deadlock"},
    {.name = "a wait for something", .threads = {await_something, count_up}},
    {.name = "assert", .threads = {assert_it, count_up}, .expect = "check failed"},
    {.name = "abort", .threads = {abort_it, count_up}, .expect = "abort"},
    {.name = "a thread keeps off another one's stack",
     .threads = {lend_stack, borrow_stack},
     .expect = "misuse"},
    {.name = "a weak CAS fails for no reason so often as the case says",
     .threads = {weak},
     .finish = two,
     .spurious = 2,
     OUTCOMES(0x00, 0x10, 0x20)},
    {.name = "every value is chosen",
     .threads = {choose},
     .finish = two,
     OUTCOMES(0x00, 0x01, 0x10, 0x11, 0x20, 0x21)},
    {.name = "a copy is seen", .threads = {copy_bytes, read_bytes}, .expect = "data race"},
    {.name = "an execution leaves nothing behind", .threads = {leave_traces, count_up}},
    {.name = "nor does a case", .threads = {leave_traces, count_up}},
    {.name = "random search finds a lost wake-up",
     .threads = {wake_for_flag, wait_for_flag},
     .random = 10000,
     .expect = "deadlock"},
    {.name = "random search waits, too", .threads = {await_something, count_up}, .random = 1000},
};

int main(int argc, char **argv)
{
	return explore_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
