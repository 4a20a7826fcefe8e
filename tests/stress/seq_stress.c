// SPDX-License-Identifier: BSD-2-Clause
#include <tandem/lock/seq.h>

#define FORM(op) tdm_seq_##op
#define LOCK_OF(value) (&(value)->seq)
#define DEFINE(name, T) TDM_SEQ_DEFINE(name, T)
#define VALUE_TEXT "sequence lock"
#include "value_stress_body.h"

int main(void)
{
	return value_stress();
}
