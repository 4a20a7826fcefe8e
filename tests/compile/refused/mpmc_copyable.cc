// SPDX-License-Identifier: BSD-2-Clause
// refused: a typed ring of a class that cannot be copied as bytes
// expect: elements are copied as bytes
#include <string>

#include <tandem/ring/mpmc.h>

#ifdef WRONG
TDM_MPMC_DEFINE(names, std::string);
#else
struct label {
	char text[32];
};
TDM_MPMC_DEFINE(names, label);
#endif
