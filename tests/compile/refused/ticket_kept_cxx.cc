// SPDX-License-Identifier: BSD-2-Clause
// refused: keeping a ticket lock, and using what it guards when try_lock was false
// only clang: -Wthread-safety
// expect: still held at the end of function(.|\n)*requires holding mutex
#include <tandem/lock/ticket.h>

struct account {
	struct tdm_ticket lock;
	int balance __attribute__((guarded_by(lock)));
};

void pay(struct account *account);
void pay(struct account *account)
{
	tdm_ticket_lock(&account->lock);
	account->balance++;
#ifndef WRONG
	tdm_ticket_unlock(&account->lock);
#endif
}

void try_to_pay(struct account *account);
void try_to_pay(struct account *account)
{
#ifdef WRONG
	if (tdm_ticket_try_lock(&account->lock))
		return;
#else
	if (!tdm_ticket_try_lock(&account->lock))
		return;
#endif
	account->balance++;
	tdm_ticket_unlock(&account->lock);
}
