// SPDX-License-Identifier: BSD-2-Clause
// A lock that is claimed first, and says whose it is in a second step: who dies in between leaves
// it with nobody, for ever.
#ifndef TDM_TESTS_SUPPORT_BROKEN_OWNER_LATE_H
#define TDM_TESTS_SUPPORT_BROKEN_OWNER_LATE_H

#include <tandem/lock/owner.h>

tdm_function bool broken_claim(tdm_atomic_u64 *word, uint64_t mine)
{
	if (!tdm_owner_claim_(word, TDM_OWNER_PLAIN_))
		return false;
	tdm_store_relaxed_u64(word, mine);
	return true;
}

#endif
