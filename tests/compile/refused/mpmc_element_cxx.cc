// SPDX-License-Identifier: BSD-2-Clause
// refused: pushing an element of another type into a typed ring
// expect: cannot convert|no matching function
#include <tandem/ring/mpmc.h>

struct job {
	uint32_t number;
};
struct fruit {
	uint32_t weight;
};
TDM_MPMC_DEFINE(jobs, struct job);

enum tdm_status push(struct jobs_producer *producer, const struct job *job,
		     const struct fruit *fruit)
{
#ifdef WRONG
	(void)job;
	return jobs_try_push(producer, fruit);
#else
	(void)fruit;
	return jobs_try_push(producer, job);
#endif
}
