// SPDX-License-Identifier: BSD-2-Clause
// refused: not looking at what a push answered
// expect: warn_unused_result|unused-result
#include <tandem/ring/spsc.h>

enum tdm_status push(struct tdm_spsc_producer *producer, const void *from);
enum tdm_status push(struct tdm_spsc_producer *producer, const void *from)
{
#ifdef WRONG
	tdm_spsc_try_push(producer, from);
	return TDM_OK;
#else
	return tdm_spsc_try_push(producer, from);
#endif
}
