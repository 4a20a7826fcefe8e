// SPDX-License-Identifier: BSD-2-Clause
// Waits are short and always take the same way, so that they can be stepped.
#ifndef TDM_TESTS_CRASH_VALUE_SEAMS_H
#define TDM_TESTS_CRASH_VALUE_SEAMS_H

#define TDM_SEAM_SPINS 0U
#define TDM_SEAM_YIELDS 1U
#define TDM_SEAM_NOW_NS() UINT64_C(1)

#define ITEM_WORDS 4U

#endif
