// SPDX-License-Identifier: BSD-2-Clause
#include <tandem/lock/snapshot.h>

#define FORM(op) tdm_snapshot_##op
#define LOCK_OF(value) (&(value)->snapshot)
#define DEFINE(name, T) TDM_SNAPSHOT_DEFINE(name, T)
#define VALUE_TEXT "snapshot"
#include "value_stress_body.h"

int main(void)
{
	return value_stress();
}
