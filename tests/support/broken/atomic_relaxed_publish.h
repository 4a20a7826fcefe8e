// SPDX-License-Identifier: BSD-2-Clause
// A store that publishes without release: on x86 it works by luck, and a race checker must see it.
#ifndef TDM_TESTS_SUPPORT_BROKEN_ATOMIC_RELAXED_PUBLISH_H
#define TDM_TESTS_SUPPORT_BROKEN_ATOMIC_RELAXED_PUBLISH_H

#include <tandem/atomic.h>

tdm_inline void broken_publish_u32(tdm_atomic_u32 *a)
{
	tdm_store_relaxed_u32(a, 1);
}

#endif
