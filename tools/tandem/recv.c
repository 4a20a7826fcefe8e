// SPDX-License-Identifier: BSD-2-Clause
// tandem recv: a ring to standard output.
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "receive.h"
#include "stop.h"

const char recv_help[] =
    "Waits for the ring's first producer, and while the ring is empty, without using\n"
    "the processor. Ends when the producer has left and the ring is empty, at once\n"
    "when that is so already; with status 1 when the producer has died instead, after\n"
    "what it sent was received. One consumer at a time, in a ring of kind mpmc or\n"
    "work any number: then the last producer counts, and recv also waits for what\n"
    "others have taken and not acknowledged, as it is delivered again if they die.\n\n"
    "A record leaves the ring once standard output has taken it: when the reader\n"
    "goes away ('| head') recv ends quietly with status 0, and the rest stays in the\n"
    "ring. Killed between the two, or stopped in the middle of a record, it leaves\n"
    "in the ring what the next recv then writes again: nothing is lost.\n\n"
    "Of many, each takes up to 8 records at once, and writes several times what one\n"
    "of them had written when it was killed. A ring of kind work is one of kind mpmc\n"
    "that recv treats as with --work.\n\n"
    "Example: tandem recv log | grep -i error\n\n"
    "  --framed        records instead of lines: 4 bytes of length, little-endian,\n"
    "                  then that many bytes\n"
    "  --follow        wait for the next producer when one has left or died\n"
    "  --work          take one record at a time: the next is another's meanwhile\n"
    "  --exec CMD      take one record at a time and run 'sh -c CMD' with it as\n"
    "                  standard input, its newline included, and in TANDEM_ATTEMPT\n"
    "                  whether it is the 1st attempt; status 0 acknowledges the record,\n"
    "                  otherwise it is given back and somebody takes it again\n"
    "  --attempts N    what was taken N times and never acknowledged is not taken\n"
    "                  again, but put into the ring that --dead names\n"
    "  --dead NAME     a segment of kind mpmc with the same --elem-size\n";

int receive_failed(const struct receiver *receiver, enum tdm_status status)
{
	return failed("cannot receive from '%s': %s", receiver->endpoint.name,
		      status == TDM_SYSTEM ? strerror(errno) : tdm_status_text(status));
}

bool receive_record(const struct receiver *receiver, const void *elem, uint64_t position,
		    struct record *record)
{
	const struct endpoint *endpoint = &receiver->endpoint;
	if (record_read(elem, endpoint->room, record))
		return true;
	failed("element %" PRIu64 " of '%s' says %" PRIu32 " bytes, but has %" PRIu64
	       ": it was not written by 'tandem send'; 'tandem rm %s' removes it",
	       position, endpoint->name, record->length, endpoint->room, endpoint->name);
	return false;
}

// Copies what is ready, a block at most, or one record that is larger. False after an error.
static bool gather(struct receiver *receiver)
{
	struct output *output = &receiver->output;
	output->used = 0;
	output->count = 0;
	while (output->count < OUTPUT_BATCH && output->count < receiver->endpoint.capacity) {
		const void *elem = NULL;
		struct record record;
		enum tdm_status status = tdm_spsc_try_peek_at(&receiver->one, output->count, &elem);
		if (status == TDM_EMPTY)
			break;
		if (status != TDM_OK) {
			receive_failed(receiver, status);
			return false;
		}
		if (output->count > 0 && (!record_read(elem, receiver->endpoint.room, &record) ||
					  !output_has_room(output, &record)))
			break; // first write what is here
		if (output->count == 0 &&
		    !receive_record(receiver, elem, tdm_spsc_consumer_position(&receiver->one),
				    &record))
			return false;
		if (!output_add(output, &record))
			return false;
	}
	return true;
}

// Takes out of the ring what was written as a whole.
static bool release(void *context, uint32_t count)
{
	struct receiver *receiver = context;
	enum tdm_status status = tdm_spsc_release_n(&receiver->one, count);
	if (status != TDM_OK)
		receive_failed(receiver, status);
	return status == TDM_OK;
}

int producer_died(struct receiver *receiver)
{
	char who[64];
	remember_producer(&receiver->endpoint);
	holder_text(&receiver->endpoint.producer, who, sizeof(who));
	return failed("%s producer of '%s' (%s) died: all it had sent was received; start it "
		      "again, or receive with --follow to wait for it",
		      receiver->endpoint.many ? "a" : "the", receiver->endpoint.name, who);
}

int receive_removed(const struct receiver *receiver)
{
	return failed("'%s' was removed: create it and receive again", receiver->endpoint.name);
}

static int receive_all(struct receiver *receiver)
{
	while (stop_signal == 0) {
		if (!gather(receiver))
			return EXIT_FAILED;
		if (receiver->output.count > 0) {
			enum flushed flushed = output_flush(
			    &receiver->output, receiver->endpoint.name, release, receiver);
			if (flushed == FLUSH_CLOSED)
				return EXIT_DONE;
			if (flushed == FLUSH_FAILED)
				return EXIT_FAILED;
			continue;
		}
		const void *elem = NULL;
		enum tdm_status status = tdm_spsc_peek_until(&receiver->one, &elem,
							     tdm_deadline_after_ns(STOP_SLICE_NS));
		switch (status) {
		case TDM_OK:
			break;
		case TDM_TIMED_OUT:
			if (output_closed())
				return EXIT_DONE;
			remember_producer(&receiver->endpoint);
			if (endpoint_abandoned(&receiver->endpoint,
					       tdm_spsc_consumer_peer(&receiver->one)))
				return receive_removed(receiver);
			break;
		case TDM_PEER_LEFT:
			return EXIT_DONE;
		case TDM_PEER_DIED:
			return producer_died(receiver);
		default:
			return receive_failed(receiver, status);
		}
	}
	return EXIT_FAILED;
}

static int receive_as_only(struct receiver *receiver)
{
	struct endpoint *endpoint = &receiver->endpoint;
	if (receiver->work)
		return failed(
		    "'%s' is of kind spsc, and has one consumer: make it with --kind work "
		    "for several",
		    endpoint->name);
	enum tdm_status status = tdm_spsc_consumer_attach(&receiver->one, endpoint->ring,
							  endpoint->elem_size, &endpoint->self);
	if (status != TDM_OK)
		return attach_failed(endpoint, "consumer", status);
	receiver->one.follow = receiver->follow;
	int result = receive_all(receiver);
	(void)tdm_spsc_consumer_detach(&receiver->one);
	return result;
}

int recv_command(int argc, char **argv)
{
	static const struct option options[] = {{"framed", no_argument, NULL, 'f'},
						{"follow", no_argument, NULL, 'F'},
						{"work", no_argument, NULL, 'w'},
						{"exec", required_argument, NULL, 'x'},
						{"attempts", required_argument, NULL, 'a'},
						{"dead", required_argument, NULL, 'D'},
						COMMON_OPTIONS};
	static struct receiver receiver;
	const char *directory = TDM_DIRECTORY;
	for (int option; (option = next_option(argc, argv, options)) != -1;) {
		switch (option) {
		case 'f':
			receiver.output.framed = true;
			break;
		case 'F':
			receiver.follow = true;
			break;
		case 'w':
			receiver.work = true;
			break;
		case 'x':
			receiver.work = true;
			receiver.command = optarg;
			break;
		case 'a':
			receiver.attempts = (uint32_t)number_argument("--attempts", optarg, 1, 255);
			break;
		case 'D':
			receiver.dead_name = optarg;
			break;
		default:
			directory = optarg;
			break;
		}
	}
	if (receiver.command != NULL && receiver.command[0] == '\0')
		usage("--exec '' runs nothing: give a command");
	if ((receiver.attempts > 0) != (receiver.dead_name != NULL))
		usage("--attempts and --dead need each other: give both, or neither");
	const char *name = name_argument(argc, argv);
	if (receiver.dead_name != NULL) {
		check_name(receiver.dead_name);
		if (strcmp(receiver.dead_name, name) == 0)
			usage("--dead names '%s' itself: name another segment", name);
	}

	signal(SIGPIPE, SIG_IGN);
	stop_catch();
	int result = EXIT_FAILED;
	if (endpoint_open(&receiver.endpoint, directory, name, "tandem recv")) {
		result = receiver.endpoint.many ? receive_as_one_of_many(&receiver, directory)
						: receive_as_only(&receiver);
		endpoint_close(&receiver.endpoint);
	}
	free(receiver.output.bytes);
	if (stop_signal != 0)
		stop_end();
	return result;
}
