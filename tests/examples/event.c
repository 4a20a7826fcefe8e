// SPDX-License-Identifier: BSD-2-Clause
// Two processes, one number and two events: one process asks, the other sleeps until it is asked.
//
//	cc -Iinclude tests/examples/event.c && ./a.out
//
// It prints what happened and exits with 1 if anything is not as it must be.
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tandem/sync/event.h>

#define QUESTIONS 1000

// Zero-filled memory is a desk at which nobody has asked yet.
struct desk {
	TDM_ALIGNAS(TDM_CACHE_LINE) struct tdm_event asked;
	TDM_ALIGNAS(TDM_CACHE_LINE) struct tdm_event answered;
	// The number of the latest; the clerk waits for the next.
	TDM_ALIGNAS(TDM_CACHE_LINE) tdm_atomic_u32 question;
	tdm_atomic_u32 answer; // the number of the latest question that is answered
	uint64_t value;        // belongs to who asks, until asked; to the clerk, until answered
};

// The loop by hand, to see what it takes: announce, look once more, and only then sleep.
static enum tdm_status wait_for_question(struct desk *desk, uint32_t number, uint64_t deadline_ns)
{
	while (tdm_load_acquire_u32(&desk->question) != number) {
		uint32_t key = tdm_event_prepare(&desk->asked);
		if (tdm_load_acquire_u32(&desk->question) == number)
			break;
		enum tdm_status status = tdm_event_wait_until(&desk->asked, key, deadline_ns);
		if (status != TDM_OK)
			return status;
	}
	return TDM_OK;
}

static int clerk(struct desk *desk)
{
	for (uint32_t number = 1; number <= QUESTIONS; number++) {
		uint64_t deadline_ns = tdm_deadline_after_ns(10 * UINT64_C(1000000000));
		if (wait_for_question(desk, number, deadline_ns) != TDM_OK)
			return 1;
		desk->value *= desk->value;
		tdm_store_release_u32(&desk->answer, number);
		tdm_event_notify(&desk->answered);
	}
	return 0;
}

// The same loop, ready-made: it calls this until it answers something else than TDM_EMPTY.
struct reply {
	struct desk *desk;
	uint32_t number;
};

static enum tdm_status look_for_answer(void *context)
{
	struct reply *reply = context;
	bool there = tdm_load_acquire_u32(&reply->desk->answer) == reply->number;
	return there ? TDM_OK : TDM_EMPTY;
}

static enum tdm_status ask(struct desk *desk, uint32_t number, uint64_t *value)
{
	struct tdm_patience patience = {0};
	struct reply reply = {desk, number};

	desk->value = *value;
	tdm_store_release_u32(&desk->question, number);
	tdm_event_notify(&desk->asked);
	enum tdm_status status = tdm_event_await(&desk->answered, &patience,
						 tdm_deadline_after_ns(10 * UINT64_C(1000000000)),
						 TDM_EMPTY, look_for_answer, NULL, &reply);
	if (status == TDM_OK)
		*value = desk->value;
	return status;
}

int main(void)
{
	struct desk *desk =
	    mmap(NULL, sizeof(*desk), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (desk == MAP_FAILED)
		return 1;
	pid_t child = fork();
	if (child < 0)
		return 1;
	if (child == 0)
		_exit(clerk(desk));

	sleep(1); // meanwhile the clerk sleeps, too, and not in a loop that burns a CPU
	uint32_t right = 0;
	for (uint32_t number = 1; number <= QUESTIONS; number++) {
		uint64_t value = number;
		if (ask(desk, number, &value) == TDM_OK)
			right += value == (uint64_t)number * number;
	}
	int status = 1;
	struct rusage used;
	if (waitpid(child, &status, 0) != child || getrusage(RUSAGE_CHILDREN, &used) != 0)
		return 1;
	printf("%u of %u answers were right\n", right, QUESTIONS);
	printf("the clerk used %ld ms of CPU in more than a second\n",
	       (long)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000 +
		   (long)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000);

	// Nobody is left who could answer: the deadline ends the wait.
	struct tdm_patience patience = {0};
	struct reply never = {desk, 0};
	uint64_t deadline_ns = tdm_deadline_after_ns(50000000);
	enum tdm_status end = tdm_event_await(&desk->answered, &patience, deadline_ns, TDM_EMPTY,
					      look_for_answer, NULL, &never);
	printf("a wait for nothing ends with %s (%s)\n", tdm_status_name(end),
	       tdm_status_text(end));
	bool in_time = end == TDM_TIMED_OUT && tdm_now_ns() >= deadline_ns;
	return status == 0 && right == QUESTIONS && in_time ? 0 : 1;
}
