// SPDX-License-Identifier: BSD-2-Clause
// Ending on a signal without dying of it: whoever is joined must leave first.
#ifndef TANDEM_STOP_H
#define TANDEM_STOP_H

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

// How long a wait may last before it looks at stop_signal again.
#define STOP_SLICE_NS UINT64_C(100000000)

// The signal that asks us to stop; 0: none yet.
extern volatile sig_atomic_t stop_signal;

// From here on SIGALRM, SIGHUP, SIGINT and SIGTERM set stop_signal, unless they were ignored.
void stop_catch(void);

// Ends the process by stop_signal, as if it had never been caught.
void stop_end(void);

// read(2) and write(2), also on descriptors that do not block. -1 with EINTR: asked to stop.
ssize_t stop_read(int fd, void *bytes, size_t size);
ssize_t stop_write(int fd, const void *bytes, size_t size);

#endif
