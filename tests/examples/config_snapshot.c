// SPDX-License-Identifier: BSD-2-Clause
// A configuration that services read at any time, whatever happens to whoever changes it: a
// snapshot in a segment. Here an editor changes it a few times and is killed in the middle of its
// work; a reader, which maps the segment read-only, has a whole configuration at every instant, and
// the next editor simply goes on.
//
//	cc -Iinclude tests/examples/config_snapshot.c -pthread && ./a.out
//
// It prints what happened and exits with 1 if anything is not as it must be.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tandem/lock/snapshot.h>
#include <tandem/shm/segment.h>

struct settings {
	uint32_t revision;
	uint32_t port;
	char host[32];
};
TDM_SNAPSHOT_DEFINE(config, struct settings);

static const struct settings first = {1, 8001, "host-1"};

// What belongs together: a torn configuration would not be.
static bool is_whole(const struct settings *settings)
{
	char host[32];
	snprintf(host, sizeof(host), "host-%u", settings->revision);
	return settings->port == 8000 + settings->revision && strcmp(settings->host, host) == 0;
}

static struct config *config_of(const struct tdm_segment *segment)
{
	struct tdm_span span = tdm_segment_find(segment, "config");
	return span.status == TDM_OK ? TDM_AT_(struct config, span.base, 0) : NULL;
}

// To change a part: take the role, read, change, store.
static enum tdm_status next_revision(struct config *config, struct tdm_participant *self)
{
	struct settings settings;
	enum tdm_status status = tdm_snapshot_lock(&config->snapshot, self);
	if (status != TDM_OK)
		return status;
	status = config_try_read(config, &settings);
	if (status == TDM_OK) {
		settings.revision++;
		settings.port = 8000 + settings.revision;
		snprintf(settings.host, sizeof(settings.host), "host-%u", settings.revision);
		status = config_store(config, self, &settings);
	}
	(void)tdm_snapshot_unlock(&config->snapshot, self);
	return status;
}

// Never ends by itself.
static void edit(struct tdm_segment *segment)
{
	struct tdm_participant self;
	struct config *config = config_of(segment);
	if (config == NULL || tdm_segment_join(segment, &self, "editor") != TDM_OK)
		_exit(1);
	while (next_revision(config, &self) == TDM_OK)
		continue;
	_exit(1);
}

static int fail(const char *what, enum tdm_status status)
{
	printf("%s: %s\n", what, tdm_status_text(status));
	return 1;
}

int main(void)
{
	struct tdm_segment segment, view;
	struct tdm_participant self;
	struct settings settings;
	struct tdm_object object =
	    tdm_bytes_object("config", sizeof(struct config), TDM_CACHE_LINE, "struct config");
	enum tdm_status status = tdm_segment_create(&segment, &object, 1, NULL);
	if (status != TDM_OK)
		return fail("cannot create", status);
	struct config *config = config_of(&segment);
	status = config_init(config, &first, TDM_SNAPSHOT_ROBUST);
	if (status != TDM_OK)
		return fail("cannot begin", status);

	pid_t editor = fork();
	if (editor == 0)
		edit(&segment);

	// A service has a read-only mapping, and is no participant.
	status = tdm_segment_open_fd(&view, dup(segment.fd), TDM_MAP_READ_ONLY);
	if (status != TDM_OK)
		return fail("cannot map read-only", status);
	const struct config *seen = config_of(&view);
	uint32_t last = 0, reads = 0;
	for (; last < 1000 || reads < 100000; reads++) {
		status = config_read(seen, &settings);
		if (status != TDM_OK || !is_whole(&settings) || settings.revision < last)
			return fail("not a configuration", status);
		last = settings.revision;
	}
	kill(editor, SIGKILL);
	waitpid(editor, NULL, 0);
	printf("%u reads up to revision %u, then the editor was killed\n", reads, last);

	if (config_read(seen, &settings) != TDM_OK || !is_whole(&settings))
		return fail("no configuration after the death", status);
	last = settings.revision;
	status = tdm_segment_join(&segment, &self, "next editor");
	if (status == TDM_OK)
		status = next_revision(config, &self);
	if (status != TDM_OK || config_read(seen, &settings) != TDM_OK || !is_whole(&settings) ||
	    settings.revision != last + 1)
		return fail("the next editor cannot go on", status);
	printf("the next editor made revision %u\n", settings.revision);

	if (tdm_participant_leave(&self) != TDM_OK || tdm_segment_close(&view) != TDM_OK)
		return 1;
	return tdm_segment_close(&segment) == TDM_OK ? 0 : 1;
}
