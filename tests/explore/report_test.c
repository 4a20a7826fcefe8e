// SPDX-License-Identifier: BSD-2-Clause
// What the explorer prints about a failure: this program explores a broken seqlock, and a race,
// when it is called with arguments, and checks what that prints when it is not.
#include "explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/broken/explore_seqlock.h"
#include "../support/tap.h"

static struct seqlock lock;
static uint32_t noise;
static struct {
	uint32_t ready, body;
} mail;

static void setup(void)
{
	explore_name(&lock, sizeof(lock), "lock");
	explore_name(&lock.left, sizeof(lock.left), "lock.left");
	explore_name(&mail, sizeof(mail), "mail");
	explore_name(&mail.body, sizeof(mail.body), "mail.body");
}

static void writer(void)
{
	seqlock_write(&lock, 1);
}

static void reader(void)
{
	uint32_t left, right;
	if (seqlock_read(&lock, &left, &right))
		EXPLORE_CHECK(left == right, "no torn value is accepted");
}

static void bystander(void)
{
	for (int i = 0; i < 10; i++)
		__atomic_fetch_add(&noise, 1, __ATOMIC_RELAXED);
}

static __attribute__((noinline)) void post(uint32_t body)
{
	mail.body = body;
	__atomic_store_n(&mail.ready, 1, __ATOMIC_RELAXED); // should be release
}

static __attribute__((noinline)) uint32_t collect(void)
{
	return __atomic_load_n(&mail.ready, __ATOMIC_ACQUIRE) ? mail.body : 0;
}

static void poster(void)
{
	post(5);
}

static void collector(void)
{
	EXPLORE_CHECK(collect() <= 5, "nothing else was posted");
}

static const struct explore_case cases[] = {
    {.name = "all of a seqlock", .setup = setup, .threads = {writer, reader, bystander}},
    {.name = "some of a seqlock",
     .setup = setup,
     .threads = {writer, reader, bystander, bystander},
     .random = 100000},
    {.name = "a race", .setup = setup, .threads = {poster, collector, bystander}},
};

// --- what it printed ---

static char output[1 << 16];

static void call(const char *program, const char *arguments)
{
	char command[8192];
	snprintf(command, sizeof(command), "'%s' %s", program, arguments);
	FILE *pipe = popen(command, "r");
	size_t length = pipe != NULL ? fread(output, 1, sizeof(output) - 1, pipe) : 0;
	output[length] = '\0';
	if (pipe == NULL || pclose(pipe) == -1)
		tap_note("%s does not run", command);
}

static bool printed(const char *text)
{
	if (strstr(output, text) != NULL)
		return true;
	tap_note("not printed: %s", text);
	return false;
}

// Whether the texts stand in the output in this order.
static bool printed_in_order(const char *const *texts)
{
	const char *at = output;
	for (; *texts != NULL; texts++) {
		at = strstr(at, *texts);
		if (at == NULL) {
			tap_note("not printed, or not behind the one before: %s", *texts);
			return false;
		}
	}
	return true;
}

// The seed that was printed, and how many of its choices are not the usual ones.
static unsigned read_seed(char *seed, size_t room)
{
	const char *at = strstr(output, "--seed ");
	seed[0] = '\0';
	if (at == NULL)
		return UINT32_MAX;
	snprintf(seed, room, "%.*s", (int)strcspn(at + 7, " \n"), at + 7);
	unsigned unusual = 0;
	for (at = strchr(seed, '.'); at != NULL; at = strchr(at + 1, '.'))
		unusual += at[1] != 'z';
	return unusual;
}

static void check_seqlock(const char *program, const char *name)
{
	char arguments[8192], seed[4096];
	snprintf(arguments, sizeof(arguments), "--case '%s'", name);
	call(program, arguments);
	CHECK(printed("not ok"));
	CHECK(printed("check failed: no torn value is accepted"));
	CHECK(printed("thread 1  load acquire lock"));
	// One word is new, the other old, and so is the count, although newer ones are there.
	CHECK(printed("although"));
	CHECK(printed_in_order(
	    (const char *const[]){"seqlock_write", "seqlock_read", "now:", "reader", NULL}));
	unsigned unusual = read_seed(seed, sizeof(seed));
	tap_note("seed %s", seed);
	CHECK(unusual >= 1 && unusual <= 4);

	tap_case("the seed leads to the same failure again");
	snprintf(arguments, sizeof(arguments), "--case '%s' --seed %s", name, seed);
	call(program, arguments);
	CHECK(printed("check failed: no torn value is accepted"));
	CHECK(printed("lock.left"));
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return explore_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));

	char program[4096];
	ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
	program[length > 0 ? length : 0] = '\0';

	tap_case("a torn read is told as the few choices that it takes");
	check_seqlock(program, "all of a seqlock");
	tap_case("so it is when a random search found it among much else");
	check_seqlock(program, "some of a seqlock");

	tap_case("a race is told with its place, both stacks and what led to it");
	call(program, "--case 'a race'");
	CHECK(printed("data race on mail.body, 4 bytes: thread 1 reads, thread 0 wrote"));
	CHECK(printed_in_order((const char *const[]){
	    "store relaxed mail = 1", "load acquire mail -> 1", "now:", "collect", "collector",
	    "before:", "post", "poster", NULL}));

	tap_case("a seed that ends elsewhere is not a failure");
	call(program, "--case 'a race' --seed x.z1.2");
	CHECK(printed("1..1"));

	tap_case("what is asked for wrongly is answered");
	call(program, "--seed 5 2>&1");
	CHECK(printed("--seed needs --case"));
	call(program, "--case nowhere 2>&1");
	CHECK(printed("no case is called that"));
	call(program, "--list");
	CHECK(printed("all of a seqlock\nsome of a seqlock\na race\n"));
	return tap_done();
}
