// SPDX-License-Identifier: BSD-2-Clause
// refused: handing one typed ring to the functions of another with the same element
// expect: incompatible.pointer.type
#include <tandem/ring/mpmc.h>

TDM_MPMC_DEFINE(prices, uint64_t);
TDM_MPMC_DEFINE(weights, uint64_t);

enum tdm_status pop(struct prices_consumer *prices, struct weights_consumer *weights, uint64_t *to);
enum tdm_status pop(struct prices_consumer *prices, struct weights_consumer *weights, uint64_t *to)
{
#ifdef WRONG
	(void)weights;
	return weights_try_pop(prices, to);
#else
	(void)prices;
	return weights_try_pop(weights, to);
#endif
}
