// SPDX-License-Identifier: BSD-2-Clause
// The stepping engine itself: does it stop everywhere, and does it catch what is broken?
#include "crash.h"

// Two counters that must be equal whenever nobody is inside.
struct account {
	volatile uint64_t intent; // 1 + the value both are moving to, 0: nobody is inside
	volatile uint64_t left, right;
	volatile uint64_t seen[8]; // by the audit: how often `left` had each value
	volatile uint64_t completed;
};

static struct account *account;

static void *setup(void)
{
	account->intent = account->left = account->right = 0;
	return account;
}

static void teardown(void *state)
{
	(void)state;
}

static void count_to_six(void *state)
{
	struct account *a = state;
	crash_begin();
	a->left = 1;
	a->left = 2;
	(void)getppid();
	a->left = 3;
	(void)getppid();
	(void)getppid();
	a->left = 4;
	a->left = 5;
	a->left = 6;
	crash_end();
}

static const char *note_value(void *state, bool completed)
{
	struct account *a = state;
	a->seen[a->left]++;
	a->completed += completed;
	return a->left > 6 || (completed && a->left != 6) ? "impossible value" : NULL;
}

static void in_two_steps(void *state)
{
	struct account *a = state;
	crash_begin();
	a->left = 7;
	a->right = 7;
	crash_end();
}

static void with_intent(void *state)
{
	struct account *a = state;
	crash_begin();
	a->intent = 1 + 7;
	a->left = 7;
	a->right = 7;
	a->intent = 0;
	crash_end();
}

static void repair(void *state)
{
	struct account *a = state;
	crash_begin();
	if (a->intent != 0) {
		uint64_t value = a->intent - 1;
		a->left = value;
		a->right = value;
		a->intent = 0;
	}
	crash_end();
}

// Forgets the intent first, so that a second death finds nothing to repair from.
static void forgetful_repair(void *state)
{
	struct account *a = state;
	crash_begin();
	if (a->intent != 0) {
		uint64_t value = a->intent - 1;
		a->intent = 0;
		a->left = value;
		a->right = value;
	}
	crash_end();
}

static const char *must_balance(void *state, bool completed)
{
	struct account *a = state;
	(void)completed;
	if (a->intent != 0) {
		uint64_t value = a->intent - 1;
		a->intent = 0;
		a->left = a->right = value;
	}
	return a->left != a->right ? "the sides differ" : NULL;
}

static void leaves_early(void *state)
{
	(void)state;
	crash_begin();
	_exit(0);
}

static void adds_in_two_steps(void *state)
{
	struct account *a = state;
	crash_begin();
	uint64_t value = a->left;
	__asm__ __volatile__("" : "+r"(value)); // or it may become one instruction
	a->left = value + 1;
	crash_end();
}

static void adds_at_once(void *state)
{
	struct account *a = state;
	crash_begin();
	__atomic_fetch_add(&a->left, 1, __ATOMIC_RELAXED);
	crash_end();
}

static const char *add_meanwhile(void *state, bool completed)
{
	struct account *a = state;
	(void)completed;
	__atomic_fetch_add(&a->left, 1, __ATOMIC_RELAXED);
	return NULL;
}

static const char *both_added(void *state)
{
	struct account *a = state;
	a->seen[0]++;
	return a->left != 2 ? "an addition is lost" : NULL;
}

// --- breakpoints and steps ---

static void turn_left(struct account *a)
{
	a->left++;
}

static void turn_right(struct account *a)
{
	a->right++;
}

static void (*volatile turns[])(struct account *a) = {turn_left, turn_right};

// Loops in loops, system calls, and everything else after which another instruction may come next.
static void wanders(void *state)
{
	struct account *a = state;
	crash_begin();
	for (uint64_t i = 0; i < 4; i++) {
		for (uint64_t j = 0; j < 3 + i; j++)
			a->left += a->right ^ j;
		a->right += (uint64_t)getppid();
		turns[i % 2](a);
#if defined(__x86_64__)
		volatile uint64_t *to = a->seen;
		uint64_t bytes = 5 * i;
		__asm__ __volatile__("rep stosb" : "+D"(to), "+c"(bytes) : "a"(i + 1) : "memory");
		uint64_t rounds = 1 + i;
		__asm__ __volatile__("test $1, %0\n\t"
				     "jnz 1f\n\t"
				     "jmp 1f\n\t"
				     ".skip 200\n"
				     "1:\tnop\n\t"
				     "loop 1b"
				     : "+c"(rounds)
				     :
				     : "cc");
#endif
	}
	crash_end();
}

// Goes round once more every other time.
static void hesitates(void *state)
{
	struct account *a = state;
	uint64_t rounds = 3 + a->completed++ % 2;
	crash_begin();
	while (a->left < rounds)
		a->left++;
	crash_end();
}

static const char *no_complaint(void *state, bool completed)
{
	(void)state, (void)completed;
	return NULL;
}

#if defined(__x86_64__)

// Where somebody died, and what that left behind.
struct death {
	uint64_t address;
	struct account account;
};

// One copy of the code for all.
__attribute__((noinline)) static pid_t start_wanderer(void)
{
	memset((void *)account, 0, sizeof(*account));
	return crash_start_(wanders, account);
}

// A new victim on the way, or by steps. False: it did not get there.
static bool die_at(struct crash_way *way, uint32_t point, struct death *death)
{
	pid_t pid = start_wanderer();
	enum crash_end end = way != NULL ? crash_follow_(pid, way, point) : crash_step_(pid, point);
	death->address = crash_address_(pid);
	crash_kill_(pid);
	memcpy(&death->account, (const void *)account, sizeof(death->account));
	return end == CRASH_STOPPED;
}

static bool same_memory(const struct death *a, const struct death *b)
{
	return memcmp(&a->account, &b->account, sizeof(a->account)) == 0;
}

static bool same(const struct death *a, const struct death *b)
{
	return a->address == b->address && same_memory(a, b);
}

static void breakpoints_and_steps(void)
{
	static struct crash_way way;
	static struct death by_breakpoints, by_steps, one_more;
	uint32_t hops = 0, moved = 0;
	uint32_t points = 0;
	for (unsigned again = 0; again < 2; again++) { // the second time much is known
		pid_t pid = start_wanderer();
		points = way.points;
		way.points = 0;
		CHECK(crash_measure_(pid, &way) == CRASH_COMPLETED);
		crash_kill_(pid);
	}
	CHECK_EQ_U64(way.points, points);
	CHECK(die_at(NULL, 0, &by_steps));
	for (uint32_t point = 0; point < way.points; point++, by_steps = one_more) {
		bool last = point + 1 == way.points;
		CHECK(die_at(&way, point, &by_breakpoints));
		CHECK(same(&by_breakpoints, &by_steps));
		CHECK(die_at(NULL, point + 1, &one_more) != last);
		CHECK(last || !same(&by_breakpoints, &one_more));
		moved += !same_memory(&by_breakpoints, &one_more);
		hops += way.stops[point].hops;
	}
	// One step too many is noticed everywhere, and after each of the stores by what it stores.
	CHECK(moved >= 4 + 5 + 10 + 15);
	CHECK(hops < way.points * (way.points - 1) / 2 / 4);
	tap_note("%u points, %u traps instead of %u", way.points, hops,
		 way.points * (way.points - 1) / 2);
}

#endif

int main(void)
{
	if (!crash_available())
		tap_skip_all("no single-stepping here");
	account = crash_shared(sizeof(*account));

	tap_case("a victim dies between any two of its instructions, also around system calls");
	static const struct crash_case counting = {"count", setup,      count_to_six,
						   NULL,    note_value, teardown};
	crash_must_hold(&counting, 1, 1);
	for (unsigned value = 0; value <= 6; value++)
		CHECK(account->seen[value] > 0);
	CHECK_EQ_U64(account->completed, 1);

	tap_case("a stride leaves no system call out");
	memset((void *)account, 0, sizeof(*account));
	crash_must_hold(&counting, 1000, 1);
	CHECK(account->seen[0] > 0 && account->seen[2] > 0 && account->seen[3] > 0);
	CHECK(account->seen[1] == 0);

	tap_case("an update in two steps without repair is caught");
	static const struct crash_case two_steps = {"two steps", setup,        in_two_steps,
						    NULL,        must_balance, teardown};
	crash_must_fail(&two_steps, 1, "the sides differ");

	tap_case("the same update with an intent that the survivor finishes holds");
	static const struct crash_case intent = {"intent", setup,        with_intent,
						 NULL,     must_balance, teardown};
	crash_must_hold(&intent, 1, 1);

	tap_case("a repair that dies in its turn holds when it keeps the intent to the end");
	static const struct crash_case pair = {"intent, repair", setup,        with_intent,
					       repair,           must_balance, teardown};
	crash_must_hold(&pair, 1, 1);

	tap_case("a repair that forgets the intent first is caught by a second death");
	static const struct crash_case bad_pair = {
	    "intent, forgetful repair", setup,        with_intent,
	    forgetful_repair,           must_balance, teardown};
	crash_must_fail(&bad_pair, 1, "the sides differ");

	tap_case("a victim that exits inside its operation is a failure");
	static const struct crash_case early = {"early", setup,        leaves_early,
						NULL,    must_balance, teardown};
	crash_must_fail(&early, 1, "ended by itself");

	tap_case("a victim that is stopped between any two instructions goes on afterwards");
	memset((void *)account, 0, sizeof(*account));
	static const struct crash_case at_once = {"at once", setup,         adds_at_once,
						  NULL,      add_meanwhile, teardown};
	uint64_t stops = crash_must_hold_stopped(&at_once, both_added, 1);
	CHECK_EQ_U64(account->seen[0], stops + 1); // and once at its end

	tap_case("an update that is lost between two who live is caught");
	static const struct crash_case two_adds = {
	    "add in two steps", setup, adds_in_two_steps, NULL, add_meanwhile, teardown};
	crash_must_fail_stopped(&two_adds, both_added, 1, "an addition is lost");

#if defined(__x86_64__)
	tap_case("breakpoints lead to each point in the same state as steps, and no step further");
	breakpoints_and_steps();
#endif

	tap_case("who goes another way than the one before is stepped to its points");
	memset((void *)account, 0, sizeof(*account));
	account->completed = 1; // the first goes round once more than the second
	static const struct crash_case other_way = {"hesitate", setup,        hesitates,
						    NULL,       no_complaint, teardown};
	struct crash_outcome outcome = crash_run(&other_way, 1, 1);
	CHECK(outcome.failures == 0 && outcome.kills > 3);
	CHECK(outcome.strays > 0 && outcome.strays < outcome.kills);

	return tap_done();
}
