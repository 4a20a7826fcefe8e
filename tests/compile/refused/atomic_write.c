// SPDX-License-Identifier: BSD-2-Clause
// refused: a plain write to an atomic
// expect: incompatible.*type
#include <tandem/atomic.h>

void write_it(tdm_atomic_u64 *a);
void write_it(tdm_atomic_u64 *a)
{
#ifdef WRONG
	*a = 1;
#else
	tdm_store_relaxed_u64(a, 1);
#endif
}
