// SPDX-License-Identifier: BSD-2-Clause
// What every plain lock must do under every schedule, with checks and without: a program's second
// file sets TDM_CHECKED and includes the first one. Include it after explore.h, the lock's header,
// and these:
//
//	FORM(op)       the lock's function of that name
//	struct LOCK    its type
//	broken_lock    a lock that two can hold
//
// Everybody counts what it did under the lock, plainly: two inside, or an edge that is missing, is
// a data race.
#ifndef TDM_TESTS_EXPLORE_LOCK_EXPLORE_H
#define TDM_TESTS_EXPLORE_LOCK_EXPLORE_H

#include <stddef.h>

#define FAR_NS UINT64_C(1000000000)

extern struct LOCK *lock;
extern unsigned data;                  // what the lock protects
extern unsigned done[EXPLORE_THREADS]; // by thread: how often it was inside
void checked_lock_twice(void);
void checked_lock_in_time(void);
#if !TDM_CHECKED
struct LOCK *lock;
unsigned data, done[EXPLORE_THREADS];
#endif

static void setup(void)
{
	(void)tdm_backoff_cpu_count_(); // asks the kernel, once
	explore_ignore(&tdm_backoff_cpus_, sizeof(tdm_backoff_cpus_));
	lock = explore_memory(sizeof(*lock));
	explore_name(lock, sizeof(*lock), "lock");
	data = 0;
	for (unsigned i = 0; i < EXPLORE_THREADS; i++)
		done[i] = 0;
}

static void finish(void)
{
	unsigned sum = 0;
	for (unsigned i = 0; i < EXPLORE_THREADS; i++)
		sum += done[i];
	EXPLORE_CHECK(data == sum, "nothing that was done under the lock is lost");
	EXPLORE_CHECK(FORM(destroy)(lock) == TDM_OK, "nobody holds it at the end");
}

static void work(void)
{
	data++;
	done[explore_thread()]++;
	EXPLORE_CHECK(FORM(unlock)(lock) == TDM_OK, "the holder unlocks");
}

static void lock_once(void)
{
	EXPLORE_CHECK(FORM(lock)(lock) == TDM_OK, "it is locked in the end");
	work();
}

static void lock_twice(void)
{
	lock_once();
	lock_once();
}

static void try_once(void)
{
	if (FORM(try_lock)(lock))
		work();
}

static void try_twice(void)
{
	try_once();
	try_once();
}

static void lock_late(void)
{
	enum tdm_status status = FORM(lock_until)(lock, 0);
	EXPLORE_CHECK(status == TDM_OK || status == TDM_TIMED_OUT, "it is had or not");
	if (status == TDM_OK)
		work();
}

// The clock stands still, so that it waits until it has the lock.
static void lock_in_time(void)
{
	EXPLORE_CHECK(FORM(lock_until)(lock, FAR_NS) == TDM_OK, "it is had in the end");
	work();
}

static void lock_by_broken(void)
{
	if (broken_lock(lock, FAR_NS))
		work();
}

static void destroy_or_not(void)
{
	EXPLORE_CHECK(FORM(lock)(lock) == TDM_OK, "it is locked");
	EXPLORE_CHECK(FORM(destroy)(lock) == TDM_BUSY, "who holds it keeps it");
	work();
}

#if TDM_CHECKED
#	define MODE "checked: "
void checked_lock_twice(void)
{
	lock_twice();
}

void checked_lock_in_time(void)
{
	lock_in_time();
}

static void unlock_foreign(void)
{
	EXPLORE_CHECK(FORM(unlock)(lock) == TDM_NOT_OWNER, "only its holder unlocks it");
}

static void lock_again(void)
{
	EXPLORE_CHECK(FORM(lock)(lock) == TDM_OK, "it is locked");
	EXPLORE_CHECK(FORM(lock)(lock) == TDM_DEADLOCK, "who holds it does not wait for itself");
	EXPLORE_CHECK(FORM(lock_until)(lock, FAR_NS) == TDM_DEADLOCK, "nor for a while");
	work();
	EXPLORE_CHECK(FORM(unlock)(lock) == TDM_NOT_OWNER, "it is held no longer");
}
#	define MODE_CASES                                                                         \
		{.name = MODE "who does not hold it cannot unlock it",                             \
		 .setup = setup,                                                                   \
		 .threads = {lock_once, lock_in_time, unlock_foreign},                             \
		 .finish = finish},                                                                \
		    {.name = MODE "who holds it is told so when it locks again",                   \
		     .setup = setup,                                                               \
		     .threads = {lock_again, lock_once},                                           \
		     .finish = finish},
#else
#	define MODE ""
#	define MODE_CASES                                                                         \
		{.name = "two with checks, one without",                                           \
		 .setup = setup,                                                                   \
		 .threads = {lock_once, checked_lock_in_time, checked_lock_in_time},               \
		 .finish = finish},                                                                \
		    {.name = "one twice with checks, one without that tries",                      \
		     .setup = setup,                                                               \
		     .threads = {checked_lock_twice, try_twice},                                   \
		     .finish = finish},
#endif

#define LOCK_CASES                                                                                 \
	{.name = MODE "three lock once",                                                           \
	 .setup = setup,                                                                           \
	 .threads = {lock_once, lock_once, lock_once},                                             \
	 .finish = finish},                                                                        \
	    {.name = MODE "two lock twice",                                                        \
	     .setup = setup,                                                                       \
	     .threads = {lock_twice, lock_twice},                                                  \
	     .finish = finish},                                                                    \
	    {.name = MODE "one locks, two try",                                                    \
	     .setup = setup,                                                                       \
	     .threads = {lock_once, try_once, try_once},                                           \
	     .finish = finish},                                                                    \
	    {.name = MODE "one locks twice, one tries twice",                                      \
	     .setup = setup,                                                                       \
	     .threads = {lock_twice, try_twice},                                                   \
	     .finish = finish},                                                                    \
	    {.name = MODE "three try once",                                                        \
	     .setup = setup,                                                                       \
	     .threads = {try_once, try_once, try_once},                                            \
	     .finish = finish},                                                                    \
	    {.name = MODE "one locks, one comes too late, one in time",                            \
	     .setup = setup,                                                                       \
	     .threads = {lock_once, lock_late, lock_in_time},                                      \
	     .finish = finish},                                                                    \
	    {.name = MODE "three in time",                                                         \
	     .setup = setup,                                                                       \
	     .threads = {lock_in_time, lock_in_time, lock_in_time},                                \
	     .finish = finish},                                                                    \
	    {.name = MODE "two lock, one tries",                                                   \
	     .setup = setup,                                                                       \
	     .threads = {lock_once, lock_once, try_once},                                          \
	     .finish = finish},                                                                    \
	    {.name = MODE "what is held is not destroyed",                                         \
	     .setup = setup,                                                                       \
	     .threads = {destroy_or_not, lock_once},                                               \
	     .finish = finish},                                                                    \
	    {.name = MODE "a lock that looks first and takes then is caught",                      \
	     .setup = setup,                                                                       \
	     .threads = {lock_by_broken, lock_by_broken},                                          \
	     .finish = finish,                                                                     \
	     .expect = "data race"},                                                               \
	    MODE_CASES

// What each of the two files ends with.
extern const struct explore_case *const checked_cases;
extern const unsigned checked_count;
#define COUNT_OF(table) (sizeof(table) / sizeof((table)[0]))
#if TDM_CHECKED
#	define LOCK_MAIN(cases)                                                                   \
		const struct explore_case *const checked_cases = cases;                            \
		const unsigned checked_count = COUNT_OF(cases);
#else
#	define LOCK_MAIN(cases)                                                                   \
		int main(int argc, char **argv)                                                    \
		{                                                                                  \
			static struct explore_case all[2 * COUNT_OF(cases) + 8];                   \
			unsigned count = 0;                                                        \
			for (unsigned i = 0; i < COUNT_OF(cases); i++)                             \
				all[count++] = (cases)[i];                                         \
			for (unsigned i = 0; i < checked_count; i++)                               \
				all[count++] = checked_cases[i];                                   \
			return explore_main(argc, argv, all, count);                               \
		}
#endif

#endif
