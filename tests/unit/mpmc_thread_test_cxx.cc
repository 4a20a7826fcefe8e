// SPDX-License-Identifier: BSD-2-Clause
// The same test as C++.
#include "mpmc_thread_test.c"
