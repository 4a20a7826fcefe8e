// SPDX-License-Identifier: BSD-2-Clause
// refused: acknowledging to one typed ring what was taken from another with the same element
// expect: incompatible.pointer.type
#include <tandem/ring/mpmc.h>

TDM_MPMC_DEFINE(prices, uint64_t);
TDM_MPMC_DEFINE(weights, uint64_t);

enum tdm_status done(struct prices_consumer *consumer, const struct prices_lease *price,
		     const struct weights_lease *weight);
enum tdm_status done(struct prices_consumer *consumer, const struct prices_lease *price,
		     const struct weights_lease *weight)
{
#ifdef WRONG
	(void)price;
	return prices_ack(consumer, weight);
#else
	(void)weight;
	return prices_ack(consumer, price);
#endif
}
