// SPDX-License-Identifier: BSD-2-Clause
// What a checking build does beside rw_explore.c's cases.
#include "explore.h"

#include <tandem/base/syscall.h>
#define tdm_thread_id_() (explore_thread() + 1)
#define TDM_CHECKED 1

#include <tandem/lock/rw.h>

extern struct tdm_rw *checked_rw;
void checked_read_once(void);

void checked_read_once(void)
{
	EXPLORE_CHECK(tdm_rw_read_lock(checked_rw) == TDM_OK, "a reader comes in");
	EXPLORE_CHECK(tdm_rw_read_unlock(checked_rw) == TDM_OK, "a reader is no stranger");
}
