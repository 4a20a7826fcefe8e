// SPDX-License-Identifier: BSD-2-Clause
// The same test as C++.
#include "barrier_test.c"
