// SPDX-License-Identifier: BSD-2-Clause
// refused: pushing as the consumer
// expect: incompatible.pointer.type
#include <tandem/ring/mpmc.h>

TDM_MPMC_DEFINE(prices, uint64_t);

enum tdm_status push(struct prices_producer *out, struct prices_consumer *in, const uint64_t *from);
enum tdm_status push(struct prices_producer *out, struct prices_consumer *in, const uint64_t *from)
{
#ifdef WRONG
	(void)out;
	return prices_try_push(in, from);
#else
	(void)in;
	return prices_try_push(out, from);
#endif
}
