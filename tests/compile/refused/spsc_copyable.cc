// SPDX-License-Identifier: BSD-2-Clause
// refused: a typed ring of a class that cannot be copied as bytes
// expect: elements are copied as bytes
#include <string>

#include <tandem/ring/spsc.h>

#ifdef WRONG
TDM_SPSC_DEFINE(names, std::string);
#else
struct label {
	char text[32];
};
TDM_SPSC_DEFINE(names, label);
#endif
