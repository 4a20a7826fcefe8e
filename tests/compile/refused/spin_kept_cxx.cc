// SPDX-License-Identifier: BSD-2-Clause
// refused: keeping a spin lock, and using what it guards when try_lock was false
// only clang: -Wthread-safety
// expect: still held at the end of function(.|\n)*requires holding mutex
#include <tandem/lock/spin.h>

struct account {
	struct tdm_spin lock;
	int balance __attribute__((guarded_by(lock)));
};

void pay(struct account *account);
void pay(struct account *account)
{
	tdm_spin_lock(&account->lock);
	account->balance++;
#ifndef WRONG
	tdm_spin_unlock(&account->lock);
#endif
}

void try_to_pay(struct account *account);
void try_to_pay(struct account *account)
{
#ifdef WRONG
	if (tdm_spin_try_lock(&account->lock))
		return;
#else
	if (!tdm_spin_try_lock(&account->lock))
		return;
#endif
	account->balance++;
	tdm_spin_unlock(&account->lock);
}
