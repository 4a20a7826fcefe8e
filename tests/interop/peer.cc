// SPDX-License-Identifier: BSD-2-Clause
// The same program as C++.
#include "peer.c"
