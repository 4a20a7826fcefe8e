// SPDX-License-Identifier: BSD-2-Clause
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "demo.h"
#include "report.h"

extern char **environ;

#define PREFIX "tandem-demo-"
#define CHILDREN_MAX (SIDES * OF_EACH)

static volatile sig_atomic_t stop_signal;
static pid_t owner; // who cleans up
static pid_t children[CHILDREN_MAX];
static struct house house;
static bool on_terminal;
static bool shown; // a line of progress is on the screen

// ---------------------------------------------------------------------------------------------
// Ending

static void clean_up(void)
{
	progress(NULL, 0, 0);
	for (size_t i = 0; i < CHILDREN_MAX; i++) {
		if (children[i] == 0)
			continue;
		kill(children[i], SIGKILL);
		while (waitpid(children[i], NULL, 0) < 0 && errno == EINTR)
			;
		children[i] = 0;
	}
	if (tdm_segment_named(&house.segment))
		(void)!tdm_segment_remove(&house.segment);
}

void fail(const char *format, ...)
{
	char line[512];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (getpid() == owner)
		clean_up();
	fprintf(stderr, "tools/demo: %s\n", line);
	fflush(stderr);
	_exit(1);
}

void check_stop(void)
{
	if (stop_signal == 0)
		return;
	clean_up();
	signal(stop_signal, SIG_DFL);
	raise(stop_signal);
}

static void on_stop(int number)
{
	stop_signal = number;
}

static void catch_signals(void)
{
	static const int numbers[] = {SIGHUP, SIGINT, SIGTERM};
	struct sigaction action;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler == SIG_IGN)
			continue;
		memset(&action, 0, sizeof(action)); // no SA_RESTART
		action.sa_handler = on_stop;
		sigemptyset(&action.sa_mask);
		sigaction(numbers[i], &action, NULL);
	}
	signal(SIGPIPE, SIG_IGN); // a write that fails is an error like others
}

// ---------------------------------------------------------------------------------------------
// Children

static void child_keep(pid_t pid)
{
	for (size_t i = 0; i < CHILDREN_MAX; i++)
		if (children[i] == 0) {
			children[i] = pid;
			return;
		}
}

void child_gone(pid_t pid)
{
	for (size_t i = 0; i < CHILDREN_MAX; i++)
		if (children[i] == pid)
			children[i] = 0;
}

static void die_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
}

pid_t start_fork(void)
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid < 0)
		fail("cannot fork: %s", strerror(errno));
	if (pid > 0) {
		child_keep(pid);
		return pid;
	}
	signal(SIGHUP, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	die_with(owner);
	return 0;
}

pid_t start_role(const char *role, const char *segment)
{
	char parent[24];
	char own_role[16];
	char name[TDM_NAME_SIZE];
	char program[] = "tandem-demo";
	char *const arguments[] = {program, own_role, name, parent, NULL};
	pid_t pid;
	snprintf(own_role, sizeof(own_role), "%s", role);
	snprintf(name, sizeof(name), "%s", segment);
	snprintf(parent, sizeof(parent), "%jd", (intmax_t)getpid());
	int error = posix_spawn(&pid, "/proc/self/exe", NULL, NULL, arguments, environ);
	if (error != 0)
		fail("cannot start the %s: %s", role, strerror(error));
	child_keep(pid);
	return pid;
}

void child_check(const char *who, int status)
{
	if (WIFSIGNALED(status)) {
		int number = WTERMSIG(status);
		if (number == SIGINT || number == SIGTERM || number == SIGHUP)
			stop_signal = number; // it was meant for all of us
		check_stop();
		fail("the %s died of signal %d", who, number);
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail("the %s failed", who);
}

// ---------------------------------------------------------------------------------------------
// Small things

void progress(const char *what, uint64_t done, uint64_t all)
{
	static uint64_t last_ns;
	if (!on_terminal)
		return;
	if (what == NULL) {
		if (shown)
			fputs("\r\033[K", stderr);
		shown = false;
		fflush(stderr);
		return;
	}
	uint64_t now = tdm_now_ns();
	if (shown && now - last_ns < UINT64_C(100000000))
		return;
	last_ns = now;
	shown = true;
	fprintf(stderr, "\r\033[K%s", what);
	if (all > 0)
		fprintf(stderr, " %3ju %%", (uintmax_t)(done * 100 / all));
	fflush(stderr);
}

void sleep_ns(uint64_t ns)
{
	const struct timespec time = {(time_t)(ns / 1000000000U), (long)(ns % 1000000000U)};
	nanosleep(&time, NULL);
}

uint64_t random_below(uint64_t limit)
{
	uint64_t number = 0;
	if (getentropy(&number, sizeof(number)) != 0)
		fail("no random numbers: %s", strerror(errno));
	return number % limit;
}

int compare_u64(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a;
	const uint64_t y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

// ---------------------------------------------------------------------------------------------
// The segment

// What a demonstration left behind that was itself killed: nobody is joined any more, and whoever
// makes one joins before it has a name.
static void remove_abandoned(void)
{
	DIR *directory = opendir(TDM_DIRECTORY);
	if (directory == NULL)
		return;
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
		struct tdm_segment segment;
		if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0 ||
		    tdm_segment_open(&segment, entry->d_name, TDM_MAP_READ_ONLY) != TDM_OK)
			continue;
		bool alive = false;
		struct tdm_seat_info seat;
		for (uint32_t i = 0; tdm_segment_seat(&segment, i, &seat) == TDM_OK; i++)
			alive = alive || seat.liveness == TDM_SEAT_LIVE;
		if (!alive)
			(void)!tdm_segment_remove(&segment);
		(void)!tdm_segment_close(&segment);
	}
	closedir(directory);
}

static void build_segment(const struct corpus *corpus, bool broken, uint64_t records, uint64_t jobs)
{
	const struct tdm_object objects[] = {
	    records_object(OBJECT_STREAM, RECORDS_CAPACITY),
	    blocks_object(OBJECT_BLOCKS, BLOCKS_CAPACITY),
	    notes_object(OBJECT_PING, NOTES_CAPACITY),
	    notes_object(OBJECT_PONG, NOTES_CAPACITY),
	    jobs_object(OBJECT_JOBS, JOBS_CAPACITY),
	    tdm_bytes_object(OBJECT_RECORDED, jobs * 2 * sizeof(uint64_t), TDM_CACHE_LINE, NULL),
	    tdm_bytes_object(OBJECT_BOOKS, sizeof(struct books), TDM_CACHE_LINE, "books"),
	    tdm_bytes_object(OBJECT_FILES, corpus->list_bytes, TDM_CACHE_LINE, NULL),
	};
	char name[TDM_NAME_SIZE];
	snprintf(name, sizeof(name), PREFIX "%jd", (intmax_t)getpid());
	const uint32_t count = sizeof(objects) / sizeof(objects[0]);
	enum tdm_status status = tdm_segment_create(&house.segment, objects, count, NULL);
	if (status == TDM_OK)
		status = tdm_segment_join(&house.segment, &house.self, "demo");
	if (status != TDM_OK)
		fail("cannot make a segment in " TDM_DIRECTORY ": %s", tdm_status_text(status));
	memcpy(tdm_segment_find(&house.segment, OBJECT_FILES).base, corpus->list,
	       corpus->list_bytes);
	tdm_store_relaxed_u64(&house_books(&house)->jobs, jobs);
	if (broken)
		tdm_store_relaxed_u64(&house_books(&house)->drop_at, 1 + random_below(records - 1));
	status = tdm_segment_publish(&house.segment, name);
	if (status != TDM_OK)
		fail("cannot publish %s: %s", name, tdm_status_text(status));
}

// ---------------------------------------------------------------------------------------------

static int run_role(char **argv)
{
	char *end;
	die_with((pid_t)strtoimax(argv[3], &end, 10));
	if (strcmp(argv[1], side_name[PRODUCER]) == 0)
		produce(argv[2]);
	else if (!many_role(argv[1], argv[2]))
		consume(argv[2]);
	return 0;
}

int main(int argc, char **argv)
{
	static struct report report;
	struct corpus corpus;
	bool broken = false;
	if (argc == 4 && argv[1][0] != '-')
		return run_role(argv);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--quick") == 0) {
			report.quick = true;
		} else if (strcmp(argv[i], "--json") == 0) {
			report.json = true;
		} else if (strcmp(argv[i], "--self-test-broken") == 0) {
			broken = true;
		} else {
			fprintf(stderr, "tools/demo: no option %s (see tools/demo --help)\n",
				argv[i]);
			return 2;
		}
	}
	owner = getpid();
	on_terminal = isatty(STDERR_FILENO);
	house.segment.fd = -1;
	catch_signals();
	remove_abandoned();
	const uint64_t start = tdm_now_ns();
	corpus_find(&corpus, report.quick);
	corpus_count(&corpus, &report.files, &report.first);
	build_segment(&corpus, broken, report.files.records, report.first.records);
	report.corpus = &corpus;
	kill_and_recover(&house, report.files.records, report.quick, &report.killing);
	report.balanced = tally_equal(&report.files, &report.killing.tally[PRODUCER]) &&
			  tally_equal(&report.files, &report.killing.tally[CONSUMER]);
	many_kill(&house, report.quick, &report.crowd);
	report.crowd_balanced = report.crowd.sent.records == report.first.records &&
				report.crowd.sent.bytes == report.first.bytes &&
				tally_equal(&report.first, &report.crowd.recorded);
	if (report.balanced && report.crowd_balanced)
		contest_run(house.segment.name, &corpus, report.quick, &report.contest);
	clean_up();
	report.duration_ns = tdm_now_ns() - start;
	return report_print(&report);
}
