// SPDX-License-Identifier: BSD-2-Clause
// An asymmetric fence: the rare side (a waiter about to sleep) pays for the common side (a waker).
//
// membarrier(GLOBAL_EXPEDITED) makes every running thread of every *registered* process pass a
// full barrier. So a registered waker needs only program order between its publishing store and
// its look at the event: either the waiter's barrier came before the store, and the look sees the
// event armed, or it came after, and the waiter's re-check sees the store.
//
// A process registers once. One that is refused (an old kernel, a seccomp filter) wakes with a
// read-modify-write instead, and as a waiter polls in short slices.
//
// Edges
//   E1  A process's registration, noted (release) in tdm_fence_state_, with each waker's look at
//       that (acquire): a waker that was told zero looks at its event after the registration.
#ifndef TDM_BASE_FENCE_H
#define TDM_BASE_FENCE_H

#include <errno.h>

#include "atomic.h"
#include "config.h"
#include "sanitizer.h"
#include "syscall.h"

TDM_BEGIN_DECLS

#define TDM_MEMBARRIER_GLOBAL_EXPEDITED_ 2
#define TDM_MEMBARRIER_REGISTER_GLOBAL_EXPEDITED_ 4

#define TDM_FENCE_REGISTERED_ 0U // zero, so that a waker tests it together with the event's bits
#define TDM_FENCE_UNKNOWN_ 1U
#define TDM_FENCE_REFUSED_ 2U

TDM_PROCESS_WIDE tdm_atomic_u32 tdm_fence_state_ = {TDM_FENCE_UNKNOWN_};

tdm_function bool tdm_fence_call_kernel_(int command)
{
#ifdef SYS_membarrier
	int saved = errno;
	bool done = syscall(SYS_membarrier, command, 0, 0) == 0;
	errno = saved;
	return done;
#else
	(void)command;
	return false;
#endif
}

#ifndef TDM_SEAM_MEMBARRIER
#	define TDM_SEAM_MEMBARRIER(command) tdm_fence_call_kernel_(command)
#endif

// New events use read-modify-writes on both sides: for checkers that do not know membarrier.
#ifndef TDM_SEAM_FENCED
#	define TDM_SEAM_FENCED TDM_UNDER_TSAN
#endif

// Registers this process, once; answers TDM_FENCE_REGISTERED_ or TDM_FENCE_REFUSED_.
tdm_function uint32_t tdm_fence_register_(void)
{
	uint32_t state = tdm_load_relaxed_u32(&tdm_fence_state_);
	if (state != TDM_FENCE_UNKNOWN_)
		return state;
	state = TDM_SEAM_MEMBARRIER(TDM_MEMBARRIER_REGISTER_GLOBAL_EXPEDITED_)
		    ? TDM_FENCE_REGISTERED_
		    : TDM_FENCE_REFUSED_;
	tdm_store_release_u32(&tdm_fence_state_, state); // E1, pairs with light
	return state;
}

// The waker's half, between its publishing store and its look: not zero where the look has to be a
// read-modify-write. What comes before stays before, for the compiler; and a waker that was told
// zero looks after the registration, so that no membarrier can have passed it over.
tdm_inline uint32_t tdm_fence_light_(void)
{
	tdm_compiler_fence();
	return tdm_load_acquire_u32(&tdm_fence_state_); // E1, pairs with register
}

// The waiter's half. False: refused, nothing was ordered.
tdm_function bool tdm_fence_heavy_(void)
{
	return TDM_SEAM_MEMBARRIER(TDM_MEMBARRIER_GLOBAL_EXPEDITED_);
}

TDM_END_DECLS

#endif
