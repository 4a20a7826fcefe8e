// SPDX-License-Identifier: BSD-2-Clause
// Everything. Each header may also be included alone.
#ifndef TANDEM_H
#define TANDEM_H

#include "tandem/atomic.h"
#include "tandem/lock/mutex.h"
#include "tandem/lock/robust_rw.h"
#include "tandem/lock/robust_ticket.h"
#include "tandem/lock/rw.h"
#include "tandem/lock/seq.h"
#include "tandem/lock/snapshot.h"
#include "tandem/lock/spin.h"
#include "tandem/lock/ticket.h"
#include "tandem/ring/mpmc.h"
#include "tandem/ring/spsc.h"
#include "tandem/ring/work.h"
#include "tandem/shm/participant.h"
#include "tandem/shm/segment.h"
#include "tandem/sync/barrier.h"
#include "tandem/sync/condvar.h"
#include "tandem/sync/event.h"
#include "tandem/sync/semaphore.h"

#endif
