// SPDX-License-Identifier: BSD-2-Clause
// Sleeping on a 32-bit word in shared memory: the only file with a system call for waiting.
// Always the shared operations: the private ones hash by address space and cannot cross processes.
#ifndef TDM_BASE_FUTEX_H
#define TDM_BASE_FUTEX_H

#include <errno.h>
#include <limits.h>

#include "atomic.h"
#include "clock.h"
#include "config.h"
#include "status.h"
#include "syscall.h"

TDM_BEGIN_DECLS

#define TDM_FUTEX_WAKE_ 1
#define TDM_FUTEX_WAIT_BITSET_ 9 // its time-out is absolute, on CLOCK_MONOTONIC

// The kernel's own time for the call used below, whatever the C library's time_t is.
#ifdef SYS_futex
#	define TDM_SYS_FUTEX_ SYS_futex
#	define TDM_FUTEX_SECONDS_ long
#	define TDM_FUTEX_SECONDS_MAX_ LONG_MAX
#else // 32-bit machines younger than the year-2038 change
#	define TDM_SYS_FUTEX_ SYS_futex_time64
#	define TDM_FUTEX_SECONDS_ int64_t
#	define TDM_FUTEX_SECONDS_MAX_ INT64_MAX
#endif
struct tdm_futex_time_ {
	TDM_FUTEX_SECONDS_ sec;
	TDM_FUTEX_SECONDS_ nsec;
};

// Sleeps while *word == expected. TDM_OK: woken, or the word differs, or for no reason: check
// again. TDM_TIMED_OUT: the deadline has passed by the clock. TDM_SYSTEM: errno says why.
tdm_function enum tdm_status tdm_futex_wait_kernel_(tdm_atomic_u32 *word, uint32_t expected,
						    uint64_t deadline_ns)
{
	struct tdm_futex_time_ until;
	struct tdm_futex_time_ *time_out = TDM_NULL;
	if (deadline_ns != TDM_FOREVER) {
		uint64_t sec = deadline_ns / TDM_NS_PER_S_;
		if (sec > TDM_CAST(uint64_t, TDM_FUTEX_SECONDS_MAX_))
			sec = TDM_FUTEX_SECONDS_MAX_; // returns early, and the caller waits again
		until.sec = TDM_CAST(TDM_FUTEX_SECONDS_, sec);
		until.nsec = TDM_CAST(TDM_FUTEX_SECONDS_, deadline_ns % TDM_NS_PER_S_);
		time_out = &until;
	}
	long result = syscall(TDM_SYS_FUTEX_, word, TDM_FUTEX_WAIT_BITSET_, expected, time_out,
			      TDM_NULL, UINT32_MAX);
	if (result == 0)
		return TDM_OK;
	switch (errno) {
	case EAGAIN: // the word had changed before we slept
	case EINTR:  // a signal handler ran
		return TDM_OK;
	case ETIMEDOUT: // by the kernel's timer; the answer comes from the clock
		return tdm_now_ns() >= deadline_ns ? TDM_TIMED_OUT : TDM_OK;
	default: // EFAULT, EINVAL: not a futex word; ENOSYS, EPERM: refused by a filter
		return TDM_SYSTEM;
	}
}

tdm_function void tdm_futex_wake_kernel_(tdm_atomic_u32 *word, uint32_t count)
{
	int saved = errno; // a waker may be a signal handler
	// A failure means that nobody can be asleep there either.
	(void)syscall(TDM_SYS_FUTEX_, word, TDM_FUTEX_WAKE_,
		      count > INT32_MAX ? TDM_CAST(uint32_t, INT32_MAX) : count, TDM_NULL, TDM_NULL,
		      0);
	errno = saved;
}

#ifndef TDM_SEAM_FUTEX_WAIT
#	define TDM_SEAM_FUTEX_WAIT(word, expected, deadline_ns)                                   \
		tdm_futex_wait_kernel_(word, expected, deadline_ns)
#endif
#ifndef TDM_SEAM_FUTEX_WAKE
#	define TDM_SEAM_FUTEX_WAKE(word, count) tdm_futex_wake_kernel_(word, count)
#endif

tdm_function enum tdm_status tdm_futex_wait_(tdm_atomic_u32 *word, uint32_t expected,
					     uint64_t deadline_ns)
{
	return TDM_SEAM_FUTEX_WAIT(word, expected, deadline_ns);
}

tdm_function void tdm_futex_wake_(tdm_atomic_u32 *word, uint32_t count)
{
	TDM_SEAM_FUTEX_WAKE(word, count);
}

TDM_END_DECLS

#endif
