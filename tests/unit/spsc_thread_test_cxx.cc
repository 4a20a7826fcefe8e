// SPDX-License-Identifier: BSD-2-Clause
// The same test as C++.
#include "spsc_thread_test.c"
