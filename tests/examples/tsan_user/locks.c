// SPDX-License-Identifier: BSD-2-Clause
// A program of somebody who shares data under tandem's plain locks and runs it under
// ThreadSanitizer, which knows who holds what. As it is, there is nothing to report; with one of
// these mistakes, that one:
//
//	locks MISTAKE LOCK
//
//	reads_outside     the data are read after the lock was given up
//	writes_after_try  they are written although try_lock answered false
//	locks_backwards   two locks are taken in two orders
//	unlocks_twice     what is not locked is unlocked
//	unlocks_foreign   what another thread holds is unlocked
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tandem.h>

#define TURNS 2000

static const char *mistake = "";

static bool makes(const char *which)
{
	return strcmp(mistake, which) == 0;
}

static pthread_t start(void *(*body)(void *))
{
	pthread_t thread;
	if (pthread_create(&thread, NULL, body, NULL) != 0)
		exit(2);
	return thread;
}

#define ACCOUNTS(name)                                                                             \
	static struct {                                                                            \
		struct tdm_##name lock;                                                            \
		long balance;                                                                      \
	} name##_from, name##_to;                                                                  \
                                                                                                   \
	static void name##_pay_in(void)                                                            \
	{                                                                                          \
		tdm_##name##_lock(&name##_from.lock);                                              \
		name##_from.balance++;                                                             \
		tdm_##name##_unlock(&name##_from.lock);                                            \
		if (makes("reads_outside") && name##_from.balance < 0)                             \
			exit(2);                                                                   \
	}                                                                                          \
                                                                                                   \
	static void name##_move(void)                                                              \
	{                                                                                          \
		bool backwards = makes("locks_backwards");                                         \
		tdm_##name##_lock(backwards ? &name##_to.lock : &name##_from.lock);                \
		tdm_##name##_lock(backwards ? &name##_from.lock : &name##_to.lock);                \
		name##_from.balance--;                                                             \
		name##_to.balance++;                                                               \
		tdm_##name##_unlock(&name##_to.lock);                                              \
		tdm_##name##_unlock(&name##_from.lock);                                            \
	}                                                                                          \
                                                                                                   \
	static void name##_pay_out(void)                                                           \
	{                                                                                          \
		if (tdm_##name##_lock_until(&name##_to.lock, tdm_deadline_after_ns(1000)) !=       \
		    TDM_OK)                                                                        \
			return;                                                                    \
		name##_to.balance--;                                                               \
		tdm_##name##_unlock(&name##_to.lock);                                              \
	}                                                                                          \
                                                                                                   \
	static void *name##_try(void *unused)                                                      \
	{                                                                                          \
		(void)unused;                                                                      \
		if (tdm_##name##_try_lock(&name##_to.lock)) {                                      \
			name##_to.balance++;                                                       \
			tdm_##name##_unlock(&name##_to.lock);                                      \
		} else if (makes("writes_after_try")) {                                            \
			name##_to.balance++;                                                       \
		}                                                                                  \
		return NULL;                                                                       \
	}                                                                                          \
                                                                                                   \
	static void *name##_clerk(void *unused)                                                    \
	{                                                                                          \
		(void)unused;                                                                      \
		for (int i = 0; i < TURNS; i++) {                                                  \
			if (!makes("locks_backwards"))                                             \
				name##_move();                                                     \
			name##_try(NULL);                                                          \
			name##_pay_out();                                                          \
			name##_pay_in();                                                           \
		}                                                                                  \
		return NULL;                                                                       \
	}                                                                                          \
                                                                                                   \
	/* One after the other: nobody is ever stuck, and it is a mistake nevertheless. */         \
	static void *name##_forwards(void *unused)                                                 \
	{                                                                                          \
		(void)unused;                                                                      \
		tdm_##name##_lock(&name##_from.lock);                                              \
		tdm_##name##_lock(&name##_to.lock);                                                \
		tdm_##name##_unlock(&name##_to.lock);                                              \
		tdm_##name##_unlock(&name##_from.lock);                                            \
		return NULL;                                                                       \
	}                                                                                          \
                                                                                                   \
	static void *name##_backwards(void *unused)                                                \
	{                                                                                          \
		(void)unused;                                                                      \
		name##_move();                                                                     \
		return NULL;                                                                       \
	}                                                                                          \
                                                                                                   \
	static void *name##_unlock(void *unused)                                                   \
	{                                                                                          \
		(void)unused;                                                                      \
		if (makes("unlocks_foreign"))                                                      \
			tdm_##name##_unlock(&name##_to.lock);                                      \
		return NULL;                                                                       \
	}                                                                                          \
                                                                                                   \
	static int name##_main(void)                                                               \
	{                                                                                          \
		pthread_t clerks[2] = {start(name##_clerk), start(name##_clerk)};                  \
		pthread_join(clerks[0], NULL);                                                     \
		pthread_join(clerks[1], NULL);                                                     \
		pthread_join(start(name##_forwards), NULL);                                        \
		pthread_join(start(name##_backwards), NULL);                                       \
                                                                                                   \
		tdm_##name##_lock(&name##_to.lock);                                                \
		pthread_t other = start(name##_try);                                               \
		name##_to.balance++;                                                               \
		pthread_join(other, NULL);                                                         \
		pthread_join(start(name##_unlock), NULL);                                          \
		tdm_##name##_unlock(&name##_to.lock);                                              \
		if (makes("unlocks_twice"))                                                        \
			tdm_##name##_unlock(&name##_to.lock);                                      \
		return tdm_##name##_destroy(&name##_from.lock) == TDM_OK ? 0 : 2;                  \
	}

ACCOUNTS(spin)
ACCOUNTS(ticket)

int main(int argc, char **argv)
{
	const char *which = argc > 2 ? argv[2] : "";
	mistake = argc > 1 ? argv[1] : "";
	int status = strcmp(which, "ticket") == 0 ? 0 : spin_main();
	if (status == 0 && strcmp(which, "spin") != 0)
		status = ticket_main();
	printf("locks: spin and ticket\n");
	return status;
}
