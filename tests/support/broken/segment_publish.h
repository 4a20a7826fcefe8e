// SPDX-License-Identifier: BSD-2-Clause
// Broken on purpose: a segment is created under its name and filled there. What must be caught:
// a name that leads to half a segment.
#ifndef TDM_TESTS_BROKEN_SEGMENT_PUBLISH_H
#define TDM_TESTS_BROKEN_SEGMENT_PUBLISH_H

#include <tandem/shm/segment.h>

static enum tdm_status broken_publish(const struct tdm_segment *segment, const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return tdm_errno_status_();
	bool whole = write(fd, segment->base, (size_t)segment->bytes) == (ssize_t)segment->bytes;
	close(fd);
	return whole ? TDM_OK : TDM_SYSTEM;
}

#endif
