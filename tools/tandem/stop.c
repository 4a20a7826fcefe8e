// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "stop.h"

volatile sig_atomic_t stop_signal;

// A signal may come just before a system call that then blocks. The alarm rings again and again,
// and so interrupts that call, too.
static void on_stop(int signal)
{
	if (stop_signal == 0)
		stop_signal = signal;
	alarm(1);
}

static void catch_signal(int signal)
{
	struct sigaction action;
	if (sigaction(signal, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
		return;
	memset(&action, 0, sizeof(action)); // no SA_RESTART
	action.sa_handler = on_stop;
	sigemptyset(&action.sa_mask);
	sigaction(signal, &action, NULL);
}

void stop_catch(void)
{
	static const int signals[] = {SIGALRM, SIGHUP, SIGINT, SIGTERM};
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		catch_signal(signals[i]);
}

void stop_end(void)
{
	signal(stop_signal, SIG_DFL);
	raise(stop_signal);
}

// Is the call to be made again? False with EINTR: stop.
static bool once_more(int fd, short events)
{
	if (errno == EINTR)
		return stop_signal == 0;
	if (errno != EAGAIN && errno != EWOULDBLOCK)
		return false;
	struct pollfd ready = {fd, events, 0};
	return poll(&ready, 1, -1) >= 0 || (errno == EINTR && stop_signal == 0);
}

ssize_t stop_read(int fd, void *bytes, size_t size)
{
	ssize_t got;
	do
		got = read(fd, bytes, size);
	while (got < 0 && once_more(fd, POLLIN));
	return got;
}

ssize_t stop_write(int fd, const void *bytes, size_t size)
{
	ssize_t put;
	do
		put = write(fd, bytes, size);
	while (put < 0 && once_more(fd, POLLOUT));
	return put;
}
