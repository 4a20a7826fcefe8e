// SPDX-License-Identifier: BSD-2-Clause
// A takeover that looks whether the element is still there before it looks who has it: whoever
// had it may release it in between, and then nobody has it, as if it were abandoned.
#ifndef TDM_TESTS_SUPPORT_BROKEN_MPMC_STATE_FIRST_H
#define TDM_TESTS_SUPPORT_BROKEN_MPMC_STATE_FIRST_H

#include <tandem/ring/mpmc.h>

tdm_function bool broken_mpmc_adopt_state_first(const struct tdm_mpmc_view_ *view,
						uint64_t position, tdm_atomic_u64 *intent,
						uint32_t *attempt)
{
	bool adopted = false;
	if (tdm_mpmc_lock_(view) != TDM_OK)
		return false;
	if (tdm_mpmc_unreleased_(view, position) &&
	    tdm_mpmc_scan_(view, TDM_MPMC_POP_, TDM_MPMC_WORDS_ - 1, position) ==
		TDM_MPMC_ABANDONED_) {
		tdm_store_release_u64(intent, tdm_mpmc_intent_(position, 1) | TDM_MPMC_WON_);
		tdm_store_relaxed_u64(tdm_mpmc_sequence_(view, position),
				      UINT64_C(1) << TDM_MPMC_ATTEMPTS_SHIFT_ |
					  ((position + 1) & TDM_MPMC_POSITION_));
		*attempt = 2;
		adopted = true;
	}
	tdm_mpmc_unlock_(view);
	return adopted;
}

#endif
