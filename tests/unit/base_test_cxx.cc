// SPDX-License-Identifier: BSD-2-Clause
// The same test as C++.
#include "base_test.c"
