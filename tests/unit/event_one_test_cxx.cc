// SPDX-License-Identifier: BSD-2-Clause
// The same test as C++.
#include "event_one_test.c"
