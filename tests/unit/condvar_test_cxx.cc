// SPDX-License-Identifier: BSD-2-Clause
// The same test as C++.
#include "condvar_test.c"
