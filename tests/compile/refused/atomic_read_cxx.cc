// SPDX-License-Identifier: BSD-2-Clause
// refused: a plain read of an atomic
// expect: cannot convert|no viable conversion|no match for
#include <tandem/atomic.h>

uint64_t read_it(const tdm_atomic_u64 *a)
{
#ifdef WRONG
	return *a;
#else
	return tdm_load_relaxed_u64(a);
#endif
}
