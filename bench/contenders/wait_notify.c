// SPDX-License-Identifier: BSD-2-Clause
#include "tandem_spsc.h"

#include "tandem_pair_names.h"

#define ITEM item8
#include "tandem_pair.h"

#ifndef WAIT_CONTENDER
#	define WAIT_CONTENDER wait_notify
#	define WAIT_NAME "tandem"
#	define WAIT_PEER "tandem"
#endif

const struct contender WAIT_CONTENDER = {
    .name = WAIT_NAME,
    .peer = WAIT_PEER,
    .make = N(make_robust),
    .unmake = N(unmake),
    .left = {.enter = N(enter_left), .leave = N(leave_left), .run = N(produce)},
    .right = {.enter = N(enter_right), .leave = N(leave_right), .run = N(consume)},
};
