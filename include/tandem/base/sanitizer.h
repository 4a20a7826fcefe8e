// SPDX-License-Identifier: BSD-2-Clause
// Which checker, if any, is looking on.
#ifndef TDM_BASE_SANITIZER_H
#define TDM_BASE_SANITIZER_H

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

#endif
