// SPDX-License-Identifier: BSD-2-Clause
// What receiving from a ring for one and from a ring for many have in common.
#ifndef TANDEM_RECEIVE_H
#define TANDEM_RECEIVE_H

#include <stdbool.h>
#include <stdint.h>

#include <tandem/ring/work.h>

#include "endpoint.h"
#include "output.h"

struct receiver {
	struct endpoint endpoint;
	struct output output;
	bool follow;
	bool work;           // one record at a time
	const char *command; // runs for each record; NULL: they are written
	struct tdm_spsc_consumer one;
	struct tdm_mpmc_consumer many;
	uint32_t attempts;        // that a record has; 0: no limit
	const char *dead_name;    // of the ring for what exceeds them
	struct endpoint dead_end; // of that
	struct tdm_mpmc_producer dead;
	struct tdm_work limited;
	struct tdm_mpmc_lease leases[TDM_MPMC_TAKES]; // of the records in `output`
	uint32_t acknowledged;
};

int receive_failed(const struct receiver *receiver, enum tdm_status status);
// The record in an element, or false, which is said.
bool receive_record(const struct receiver *receiver, const void *elem, uint64_t position,
		    struct record *record);
int producer_died(struct receiver *receiver);
// The name is gone, and who could come has not.
int receive_removed(const struct receiver *receiver);

// work.c: receives as one of many. Answers the exit status.
int receive_as_one_of_many(struct receiver *receiver, const char *directory);

#endif
