// SPDX-License-Identifier: BSD-2-Clause
// What was found out, for people and for machines.
#ifndef TANDEM_DEMO_REPORT_H
#define TANDEM_DEMO_REPORT_H

#include "demo.h"

struct report {
	bool quick;
	bool json;
	const struct corpus *corpus;
	struct tally files; // what both accounts must agree with
	struct killing killing;
	bool balanced;
	struct tally first; // what the ring for many must agree with
	struct crowd crowd;
	bool crowd_balanced;
	struct contest contest; // not run where the accounts do not balance
	uint64_t duration_ns;
};

// The exit status: 0 where the accounts balance and all could be printed.
int report_print(const struct report *report);

#endif
