// SPDX-License-Identifier: BSD-2-Clause
// refused: replacing an element that was only peeked at, where elements are pointers
// expect: read-only|const-qualified
#include <tandem/ring/spsc.h>

TDM_SPSC_DEFINE(names, char *);

char *name(struct names_producer *producer, struct names_consumer *consumer);
char *name(struct names_producer *producer, struct names_consumer *consumer)
{
	static char ada[] = "Ada";
	char *const mine = ada;
	char *const *slot;
	if (names_try_push(producer, &mine) != TDM_OK || names_try_peek(consumer, &slot) != TDM_OK)
		return NULL;
#ifdef WRONG
	*slot = NULL;
#endif
	return *slot;
}
