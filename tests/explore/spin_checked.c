// SPDX-License-Identifier: BSD-2-Clause
// The cases of spin_explore.c in a checking build.
#define TDM_CHECKED 1
#include "spin_explore.c"
