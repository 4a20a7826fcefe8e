// SPDX-License-Identifier: BSD-2-Clause
// Elements and leases that only a pop or a take fills: with TDM_OK they are, and a compiler must
// not doubt it.
#include <tandem/ring/mpmc.h>

struct job {
	int number;
	char name[40];
};
TDM_MPMC_DEFINE(jobs, struct job);

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

static int taken(struct jobs_consumer *in)
{
	struct jobs_lease lease;
	if (jobs_take(in, &lease) != TDM_OK)
		return 0;
	int number = lease.elem->number;
	return jobs_ack(in, &lease) == TDM_OK || jobs_nack(in, &lease) == TDM_OK ? number : 0;
}

static int untyped(struct jobs_consumer *in)
{
	struct job job;
	return tdm_mpmc_try_pop(&in->ring, &job) == TDM_OK ? job.number : 0;
}

static unsigned char memory[8192] __attribute__((aligned(128)));

int main(void)
{
	struct jobs_producer out;
	struct jobs_consumer in;
	const struct tdm_span span = tdm_memory(memory, sizeof(memory));
	const struct job job = {1, "first"};
	if (jobs_init(memory, sizeof(memory), 8) != TDM_OK ||
	    jobs_producer_attach(&out, span, TDM_NULL) != TDM_OK ||
	    jobs_consumer_attach(&in, span, TDM_NULL) != TDM_OK || jobs_push(&out, &job) != TDM_OK)
		return 1;
	return polled(&in) + waited(&in) + several(&in) + taken(&in) + untyped(&in);
}
