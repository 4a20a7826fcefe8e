// SPDX-License-Identifier: BSD-2-Clause
// The cases of ticket_explore.c in a checking build.
#define TDM_CHECKED 1
#include "ticket_explore.c"
