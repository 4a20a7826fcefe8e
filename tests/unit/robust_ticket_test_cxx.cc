// SPDX-License-Identifier: BSD-2-Clause
// The same test as C++.
#include "robust_ticket_test.c"
