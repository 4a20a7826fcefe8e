// SPDX-License-Identifier: BSD-2-Clause
// System calls by number, where the C library has no function or a strict -std=c11 hides it.
#ifndef TDM_BASE_SYSCALL_H
#define TDM_BASE_SYSCALL_H

#include <sys/syscall.h>
#include <unistd.h>

#include "config.h"

TDM_BEGIN_DECLS

#if !defined(__cplusplus) && !defined(_DEFAULT_SOURCE) && !defined(_GNU_SOURCE) &&                 \
    !defined(_BSD_SOURCE)
extern long syscall(long number, ...);
#endif

// The calling thread, as the kernel calls it; never 0.
tdm_function uint32_t tdm_thread_id_(void)
{
	return TDM_CAST(uint32_t, syscall(SYS_gettid));
}

TDM_END_DECLS

#endif
