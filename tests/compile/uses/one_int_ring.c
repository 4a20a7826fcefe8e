// SPDX-License-Identifier: BSD-2-Clause
// A program with a single ring of a short-named type: everything is a constant, and gcc looks into
// all of it.
#include <tandem/ring/spsc.h>

TDM_SPSC_DEFINE(numbers, int);

static unsigned char memory[8192] __attribute__((aligned(128)));

int main(void)
{
	const struct tdm_object object = numbers_object("numbers", 8);
	struct numbers_producer out;
	const struct tdm_span span = tdm_memory(memory, sizeof(memory));
	if (object.type_tag == 0 || numbers_init(memory, sizeof(memory), 8) != TDM_OK ||
	    numbers_producer_attach(&out, span, TDM_NULL) != TDM_OK)
		return 1;
	const int number = 1;
	return numbers_push(&out, &number) == TDM_OK ? 0 : 1;
}
