// SPDX-License-Identifier: BSD-2-Clause
// Child processes of a test, and a page that they share with it. A child checks like its parent,
// dies with it, and never outlives a call of child_end or child_kill.
#ifndef TDM_TESTS_SUPPORT_CHILD_H
#define TDM_TESTS_SUPPORT_CHILD_H

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <tandem/base/atomic.h>
#include <tandem/base/clock.h>

#include "tap.h"

#define CHILD_PATIENCE_NS UINT64_C(60000000000)

// Zero-filled memory that children share with the test.
tdm_function void *child_shared(size_t bytes)
{
	void *memory =
	    mmap(TDM_NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		abort();
	return memory;
}

tdm_function pid_t child_start(void (*body)(void *argument), void *argument)
{
	pid_t parent = getpid();
	fflush(TDM_NULL);
	pid_t pid = fork();
	if (pid < 0)
		abort();
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	__atomic_store_n(&tap_bad_, 0, __ATOMIC_RELAXED);
	body(argument);
	tap_child_exit();
	_exit(1);
}

// Waits for its end and checks that its checks held.
tdm_function void child_end(pid_t pid)
{
	int status = -1;
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_EQ_U64(TDM_CAST(uint64_t, status), 0);
}

// kill -9; it is gone when this returns.
tdm_function void child_kill(pid_t pid)
{
	int status = 0;
	CHECK(kill(pid, SIGKILL) == 0);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

tdm_function void child_sleep_ms(long ms)
{
	struct timespec time;
	time.tv_sec = ms / 1000;
	time.tv_nsec = ms % 1000 * 1000000;
	nanosleep(&time, TDM_NULL);
}

// Waits until the others have brought the counter to `value`. False after a minute.
tdm_function bool child_await_u32(const tdm_atomic_u32 *counter, uint32_t value)
{
	uint64_t deadline_ns = tdm_deadline_after_ns(CHILD_PATIENCE_NS);
	while (tdm_load_acquire_u32(counter) < value) {
		if (tdm_now_ns() > deadline_ns)
			return false;
		child_sleep_ms(1);
	}
	return true;
}

#endif
