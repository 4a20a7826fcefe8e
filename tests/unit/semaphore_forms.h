// SPDX-License-Identifier: BSD-2-Clause
// What every plain semaphore must do. Include it with
//
//	FORM(op)          the semaphore's function of that name
//	struct SEMAPHORE  its type
//	TEXT              what it is called in sentences
//	NAME(x)           a name of its own
//
// and again for the next one.

static struct SEMAPHORE *NAME(it);

static void NAME(begin)(const char *sentence)
{
	char text[200];
	snprintf(text, sizeof(text), TEXT ": %s", sentence);
	tap_case(text);
	memset(TDM_CAST(void *, NAME(it)), 0, sizeof(*NAME(it)));
	memset(&calls, 0, sizeof(calls));
}

static void NAME(test_counting)(void)
{
	struct SEMAPHORE *it = NAME(it);
	NAME(begin)("zero-filled memory has no permits, and takes as many as there can be");
	CHECK_EQ_U64(FORM(value)(it), 0);
	CHECK(!FORM(try_wait)(it));
	CHECK_STATUS(FORM(post_n)(it, TDM_SEMAPHORE_MAX), TDM_OK);
	CHECK_EQ_U64(FORM(value)(it), TDM_SEMAPHORE_MAX);
	CHECK_STATUS(FORM(post)(it), TDM_FULL);
	CHECK(FORM(try_wait)(it));
	CHECK_STATUS(FORM(post)(it), TDM_OK);

	NAME(begin)("each post is one permit, and each permit is taken once");
	CHECK_STATUS(FORM(init)(it, 2, 0), TDM_OK);
	CHECK(FORM(try_wait)(it));
	CHECK_EQ_U64(FORM(value)(it), 1);
	CHECK_STATUS(FORM(wait)(it), TDM_OK);
	CHECK(!FORM(try_wait)(it));
	CHECK_STATUS(FORM(post)(it), TDM_OK);
	CHECK_STATUS(FORM(post_n)(it, 3), TDM_OK);
	CHECK_STATUS(FORM(post_n)(it, 0), TDM_OK);
	CHECK_EQ_U64(FORM(value)(it), 4);
	CHECK_STATUS(FORM(wait_until)(it, TDM_FOREVER), TDM_OK);
	CHECK_STATUS(FORM(wait_until)(it, 0), TDM_OK);
	CHECK(FORM(try_wait)(it));
	CHECK(FORM(try_wait)(it));
	CHECK(!FORM(try_wait)(it));
	CHECK_EQ_U64(FORM(value)(it), 0);

	NAME(begin)("nobody sleeping, nothing but registering asks the kernel");
	CHECK_STATUS(FORM(init)(it, 1, 0), TDM_OK);
	for (int i = 0; i < 10; i++) {
		CHECK_STATUS(FORM(post)(it), TDM_OK);
		CHECK_STATUS(FORM(wait)(it), TDM_OK);
	}
	CHECK_EQ_U64(calls.waits + calls.wakes, 0);

	NAME(begin)("more than the maximum is refused, all of it");
	CHECK_STATUS(FORM(init)(it, 4, 3), TDM_INVALID);
	CHECK_STATUS(FORM(init)(it, 0, TDM_SEMAPHORE_MAX + 1), TDM_INVALID);
	CHECK_STATUS(FORM(init)(it, TDM_SEMAPHORE_MAX + 1, 0), TDM_INVALID);
	CHECK_STATUS(FORM(init)(it, TDM_SEMAPHORE_MAX, TDM_SEMAPHORE_MAX), TDM_OK);
	CHECK_STATUS(FORM(init)(it, 1, 3), TDM_OK);
	CHECK_STATUS(FORM(post_n)(it, 3), TDM_FULL);
	CHECK_STATUS(FORM(post_n)(it, UINT32_MAX), TDM_FULL);
	CHECK_EQ_U64(FORM(value)(it), 1);
	CHECK_STATUS(FORM(post_n)(it, 2), TDM_OK);
	CHECK_STATUS(FORM(post)(it), TDM_FULL);
	CHECK_EQ_U64(FORM(value)(it), 3);

	NAME(begin)("a binary one has a permit or has none");
	CHECK_STATUS(FORM(init)(it, 2, 1), TDM_INVALID);
	CHECK_STATUS(FORM(init)(it, 0, 1), TDM_OK);
	for (int i = 0; i < 3; i++) {
		CHECK(!FORM(try_wait)(it));
		CHECK_STATUS(FORM(post)(it), TDM_OK);
		CHECK_STATUS(FORM(post)(it), TDM_FULL);
		CHECK(FORM(try_wait)(it));
	}
}

static void NAME(test_deadlines)(void)
{
	struct SEMAPHORE *it = NAME(it);
	NAME(begin)("a deadline ends a wait, and not before its time");
	CHECK_STATUS(FORM(wait_until)(it, 0), TDM_TIMED_OUT);
	for (uint64_t ns = 1000; ns <= 10000000; ns *= 10) {
		uint64_t deadline_ns = tdm_deadline_after_ns(ns);
		CHECK_STATUS(FORM(wait_until)(it, deadline_ns), TDM_TIMED_OUT);
		CHECK(tdm_now_ns() >= deadline_ns);
	}
	CHECK_STATUS(FORM(post)(it), TDM_OK);
	CHECK_STATUS(FORM(wait_until)(it, 0), TDM_OK);
	CHECK_EQ_U64(FORM(value)(it), 0);
}

// --- sleeping ---

static void *NAME(waits)(void *served)
{
	CHECK_STATUS(FORM(wait)(NAME(it)), TDM_OK);
	tdm_fetch_add_relaxed_u32(TDM_CAST(tdm_atomic_u32 *, served), 1);
	return TDM_NULL;
}

static void *NAME(waits_timed)(void *served)
{
	CHECK_STATUS(FORM(wait_until)(NAME(it), tdm_deadline_after_ns(CHILD_PATIENCE_NS)), TDM_OK);
	tdm_fetch_add_relaxed_u32(TDM_CAST(tdm_atomic_u32 *, served), 1);
	return TDM_NULL;
}

static void NAME(test_sleeping)(void)
{
	struct SEMAPHORE *it = NAME(it);
	pthread_t threads[SLEEPERS];
	for (uint32_t way = 0; way < 4; way++) {
		bool timed = way % 2 == 1, at_once = way / 2 == 1;
		char sentence[100];
		snprintf(sentence, sizeof(sentence), "who sleeps%s gets what is posted %s",
			 timed ? " with a deadline" : "", at_once ? "at once" : "one by one");
		NAME(begin)(sentence);
		tdm_atomic_u32 served = {0};
		for (uint32_t i = 0; i < SLEEPERS; i++)
			CHECK(pthread_create(&threads[i], TDM_NULL,
					     timed ? NAME(waits_timed) : NAME(waits),
					     &served) == 0);
		child_sleep_ms(50);
		CHECK_EQ_U64(tdm_load_relaxed_u32(&served), 0);
		if (at_once)
			CHECK_STATUS(FORM(post_n)(it, SLEEPERS), TDM_OK);
		for (uint32_t i = 0; i < SLEEPERS && !at_once; i++) {
			CHECK_STATUS(FORM(post)(it), TDM_OK);
			if (i % 2 == 0)
				CHECK(child_await_u32(&served, i + 1));
		}
		for (uint32_t i = 0; i < SLEEPERS; i++)
			CHECK(pthread_join(threads[i], TDM_NULL) == 0);
		CHECK_EQ_U64(tdm_load_relaxed_u32(&served), SLEEPERS);
		CHECK_EQ_U64(FORM(value)(it), 0);
	}
}

static void NAME(waits_in_child)(void *unused)
{
	(void)unused;
	CHECK_STATUS(FORM(wait)(NAME(it)), TDM_OK);
}

static void NAME(test_processes)(void)
{
	NAME(begin)("a process sleeps until another one posts");
	pid_t child = child_start(NAME(waits_in_child), TDM_NULL);
	child_sleep_ms(20);
	CHECK_STATUS(FORM(post)(NAME(it)), TDM_OK);
	child_end(child);
	CHECK_EQ_U64(FORM(value)(NAME(it)), 0);
}

// --- signals ---

static void NAME(post_in_handler)(int signal_number)
{
	int before = errno;
	(void)signal_number;
	if (FORM(post)(NAME(it)) != TDM_OK || errno != before)
		abort();
}

static void NAME(test_handler)(void)
{
	struct itimerval every_ms = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
	NAME(begin)("a signal handler may post what the thread it interrupts waits for");
	signal(SIGALRM, NAME(post_in_handler));
	CHECK(setitimer(ITIMER_REAL, &every_ms, TDM_NULL) == 0);
	for (int i = 0; i < 50; i++)
		CHECK_STATUS(i % 2 == 0 ? FORM(wait)(NAME(it))
					: FORM(wait_until)(
					      NAME(it), tdm_deadline_after_ns(CHILD_PATIENCE_NS)),
			     TDM_OK);
	CHECK(setitimer(ITIMER_REAL, &never, TDM_NULL) == 0);
	signal(SIGALRM, SIG_DFL);
}

static void NAME(test_all_forms)(void)
{
	NAME(it) = TDM_CAST(struct SEMAPHORE *, child_shared(sizeof(*NAME(it))));
	NAME(test_counting)();
	NAME(test_deadlines)();
	NAME(test_sleeping)();
	NAME(test_processes)();
	NAME(test_handler)();
}

#undef FORM
#undef SEMAPHORE
#undef TEXT
#undef NAME
