// SPDX-License-Identifier: BSD-2-Clause
// Which checker, if any, is looking on, and what locks tell it: ThreadSanitizer at run time, and
// clang's thread-safety analysis (-Wthread-safety) at compile time.
//
// Between tdm_tsan_locking_ and _locked_, and between _unlocking_ and _unlocked_, ThreadSanitizer
// looks at nothing: it takes the lock's word for the edge, and can say more than about atomics:
// who holds what, in which order locks are taken, and that an unlocked one is unlocked.
#ifndef TDM_BASE_SANITIZER_H
#define TDM_BASE_SANITIZER_H

#include "config.h"

// 1: plain locks note who holds them, and misuse of one is a status.
#ifndef TDM_CHECKED
#	define TDM_CHECKED 0
#endif

#if defined(__SANITIZE_THREAD__)
#	define TDM_UNDER_TSAN 1
#elif defined(__has_feature)
#	if __has_feature(thread_sanitizer)
#		define TDM_UNDER_TSAN 1
#	endif
#endif
#ifndef TDM_UNDER_TSAN
#	define TDM_UNDER_TSAN 0
#endif

// A checker that has no mutexes of its own sets 0 and sees the atomics.
#ifndef TDM_SEAM_TSAN_MUTEX
#	define TDM_SEAM_TSAN_MUTEX TDM_UNDER_TSAN
#endif

TDM_BEGIN_DECLS

// As <sanitizer/tsan_interface.h> has them.
#define TDM_TSAN_REENTRANT_ (1U << 1)
#define TDM_TSAN_READ_ (1U << 3)
#define TDM_TSAN_TRY_ (1U << 4)
#define TDM_TSAN_FAILED_ (1U << 5)
#define TDM_TSAN_NOT_STATIC_ (1U << 8)

#if TDM_SEAM_TSAN_MUTEX
void __tsan_mutex_create(void *address, unsigned flags);
void __tsan_mutex_destroy(void *address, unsigned flags);
void __tsan_mutex_pre_lock(void *address, unsigned flags);
void __tsan_mutex_post_lock(void *address, unsigned flags, int depth);
int __tsan_mutex_pre_unlock(void *address, unsigned flags);
void __tsan_mutex_post_unlock(void *address, unsigned flags);
#	define TDM_TSAN_CALL_(call) ((void)(call))
#else
#	define TDM_TSAN_CALL_(call) ((void)0)
#endif

tdm_inline void tdm_tsan_locking_(void *lock, unsigned flags)
{
	(void)lock, (void)flags;
	TDM_TSAN_CALL_(__tsan_mutex_pre_lock(lock, TDM_TSAN_NOT_STATIC_ | flags));
}

tdm_inline void tdm_tsan_locked_(void *lock, unsigned flags)
{
	(void)lock, (void)flags;
	TDM_TSAN_CALL_(__tsan_mutex_post_lock(lock, TDM_TSAN_NOT_STATIC_ | flags, 0));
}

tdm_inline void tdm_tsan_unlocking_(void *lock, unsigned flags)
{
	(void)lock, (void)flags;
	TDM_TSAN_CALL_(__tsan_mutex_pre_unlock(lock, flags));
}

tdm_inline void tdm_tsan_unlocked_(void *lock, unsigned flags)
{
	(void)lock, (void)flags;
	TDM_TSAN_CALL_(__tsan_mutex_post_unlock(lock, flags));
}

// The lock's memory is given up, or its last holder is dead: nobody holds it any more.
tdm_inline void tdm_tsan_forget_(void *lock)
{
	(void)lock;
	TDM_TSAN_CALL_(__tsan_mutex_destroy(lock, TDM_TSAN_NOT_STATIC_));
}

TDM_END_DECLS

#ifdef __clang__
#	define TDM_CAPABILITY_(name) __attribute__((capability(name)))
#	define TDM_ACQUIRES_(lock) __attribute__((acquire_capability(lock)))
#	define TDM_ACQUIRES_SHARED_(lock) __attribute__((acquire_shared_capability(lock)))
#	define TDM_TRIES_(success, lock) __attribute__((try_acquire_capability(success, lock)))
#	define TDM_TRIES_SHARED_(success, lock)                                                   \
		__attribute__((try_acquire_shared_capability(success, lock)))
#	define TDM_RELEASES_(lock) __attribute__((release_capability(lock)))
#	define TDM_RELEASES_SHARED_(lock) __attribute__((release_shared_capability(lock)))
#	define TDM_UNANALYZED_ __attribute__((no_thread_safety_analysis))
#else
#	define TDM_CAPABILITY_(name)
#	define TDM_ACQUIRES_(lock)
#	define TDM_ACQUIRES_SHARED_(lock)
#	define TDM_TRIES_(success, lock)
#	define TDM_TRIES_SHARED_(success, lock)
#	define TDM_RELEASES_(lock)
#	define TDM_RELEASES_SHARED_(lock)
#	define TDM_UNANALYZED_
#endif

#endif
