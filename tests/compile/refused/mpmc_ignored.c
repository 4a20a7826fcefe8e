// SPDX-License-Identifier: BSD-2-Clause
// refused: not looking at what an acknowledgement answered
// expect: warn_unused_result|unused-result
#include <tandem/ring/mpmc.h>

enum tdm_status done(struct tdm_mpmc_consumer *consumer, const struct tdm_mpmc_lease *lease);
enum tdm_status done(struct tdm_mpmc_consumer *consumer, const struct tdm_mpmc_lease *lease)
{
#ifdef WRONG
	tdm_mpmc_ack(consumer, lease);
	return TDM_OK;
#else
	return tdm_mpmc_ack(consumer, lease);
#endif
}
