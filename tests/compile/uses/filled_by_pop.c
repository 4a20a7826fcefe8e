// SPDX-License-Identifier: BSD-2-Clause
// Elements that only a pop fills: with TDM_OK they are, and a compiler must not doubt it.
#include <tandem/ring/spsc.h>

struct job {
	int number;
	char name[40];
};
TDM_SPSC_DEFINE(jobs, struct job);

static int polled(struct jobs_consumer *in)
{
	struct job job;
	while (jobs_try_pop(in, &job) != TDM_OK)
		continue;
	return job.number;
}

static int waited(struct jobs_consumer *in)
{
	struct job job;
	return jobs_pop(in, &job) == TDM_OK ? job.number : 0;
}

static int several(struct jobs_consumer *in)
{
	struct job some[3];
	size_t count;
	return jobs_try_pop_n(in, some, 3, &count) == TDM_OK ? some[0].number : 0;
}

static int untyped(struct jobs_consumer *in)
{
	struct job job;
	return tdm_spsc_try_pop(&in->ring, &job) == TDM_OK ? job.number : 0;
}

static unsigned char memory[8192] __attribute__((aligned(128)));

int main(void)
{
	struct jobs_consumer in;
	if (jobs_init(memory, sizeof(memory), 8) != TDM_OK ||
	    jobs_consumer_attach(&in, tdm_memory(memory, sizeof(memory)), TDM_NULL) != TDM_OK)
		return 1;
	return polled(&in) + waited(&in) + several(&in) + untyped(&in);
}
