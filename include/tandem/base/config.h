// SPDX-License-Identifier: BSD-2-Clause
// Versions, layout constants and the compiler: the only file that asks which language or compiler
// this is. Not API, apart from the version macros.
#ifndef TDM_BASE_CONFIG_H
#define TDM_BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TDM_VERSION_MAJOR 0
#define TDM_VERSION_MINOR 1
#define TDM_VERSION_PATCH 0

// Version of the bytes in shared memory. It moves apart from the library's version: two releases
// with one layout version can share a segment.
#define TDM_LAYOUT_VERSION 1

// Distance that keeps two objects out of each other's way. Fixed in the layout, whatever the
// machine says: 128 covers 64-byte lines fetched in pairs as well as 128-byte lines.
#define TDM_CACHE_LINE 128

#ifdef __cplusplus
#	define TDM_BEGIN_DECLS extern "C" {
#	define TDM_END_DECLS }
#	define TDM_STATIC_ASSERT(cond, text) static_assert(cond, text)
#	define TDM_ALIGNAS(n) alignas(n)
#	define TDM_ALIGNOF(T) alignof(T)
#	define TDM_CAST(T, value) static_cast<T>(value)
#	define TDM_RETYPE(T, pointer) reinterpret_cast<T>(pointer)
#	define TDM_NULL nullptr
#else
#	define TDM_BEGIN_DECLS
#	define TDM_END_DECLS
#	define TDM_STATIC_ASSERT(cond, text) _Static_assert(cond, text)
#	define TDM_ALIGNAS(n) _Alignas(n)
#	define TDM_ALIGNOF(T) _Alignof(T)
#	define TDM_CAST(T, value) ((T)(value))
#	define TDM_RETYPE(T, pointer) ((T)(pointer))
#	define TDM_NULL NULL
#endif

// A pointer `offset` bytes behind `base`, as T *. Through void *, because the caller has checked
// the alignment and -Wcast-align cannot know.
#define TDM_AT_(T, base, offset)                                                                   \
	TDM_CAST(T *,                                                                              \
		 TDM_CAST(void *, TDM_CAST(unsigned char *, TDM_CAST(void *, base)) + (offset)))
#define TDM_CONST_AT_(T, base, offset)                                                             \
	TDM_CAST(const T *, TDM_CAST(const void *, TDM_CAST(const unsigned char *,                 \
							    TDM_CAST(const void *, base)) +        \
						       (offset)))

#if !defined(__GNUC__)
#	error "tandem needs gcc or clang (or a compiler that speaks their attributes and builtins)"
#endif

#define tdm_inline static inline __attribute__((always_inline, unused))
#define tdm_cold static __attribute__((noinline, cold, unused))
#define tdm_function static __attribute__((unused))
#define tdm_nodiscard __attribute__((warn_unused_result))
#define tdm_likely(cond) __builtin_expect(!!(cond), 1)
#define tdm_unlikely(cond) __builtin_expect(!!(cond), 0)

// State that a process has once, however many of its files include the header.
#define TDM_PROCESS_WIDE __attribute__((weak, visibility("hidden")))

// The compiler alone may not move accesses across this line; no instruction is issued.
#define tdm_compiler_fence() __atomic_signal_fence(__ATOMIC_SEQ_CST)

#endif
