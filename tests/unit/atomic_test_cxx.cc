// SPDX-License-Identifier: BSD-2-Clause
// The same test as C++: there the operations come from other builtins on another member type.
#include "atomic_test.c"
