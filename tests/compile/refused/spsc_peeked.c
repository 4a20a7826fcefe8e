// SPDX-License-Identifier: BSD-2-Clause
// refused: writing to an element that was only peeked at
// expect: read-only|const-qualified
#include <tandem/ring/spsc.h>

struct job {
	uint32_t number;
};
TDM_SPSC_DEFINE(jobs, struct job);

uint32_t number(struct jobs_consumer *consumer);
uint32_t number(struct jobs_consumer *consumer)
{
	const struct job *job;
	if (jobs_try_peek(consumer, &job) != TDM_OK)
		return 0;
#ifdef WRONG
	job->number = 1;
#endif
	return job->number;
}
