// SPDX-License-Identifier: BSD-2-Clause
// A program of somebody who uses tandem and runs it under ThreadSanitizer: two threads and a ring.
// The ring's synchronization is visible to the checker, so that it has nothing to say about this
// program. With -DRACE=n it makes a mistake of its own, and that one is reported:
//
//	1  an element is changed after it was committed
//	2  a plain variable is written after the push that should have handed it over
//	3  an element is read after it was released
//	4  an element is changed after it was committed, and the other side takes a copy
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include <tandem.h>

#ifndef RACE
#	define RACE 0
#endif

struct order {
	int number;
	int price;
	char item[40];
};
TDM_SPSC_DEFINE(orders, struct order);

#define ORDERS 20000

static struct tdm_segment segment;
static int last_price; // handed over with each order, and back with the next free slot

static void must(enum tdm_status status)
{
	if (status != TDM_OK) {
		fprintf(stderr, "%s\n", tdm_status_text(status));
		exit(2);
	}
}

static void *sell(void *unused)
{
	struct tdm_participant self;
	struct orders_producer out;
	(void)unused;
	must(tdm_segment_join(&segment, &self, "seller"));
	must(orders_producer_attach(&out, tdm_segment_find(&segment, "orders"), &self));
	for (int number = 0; number < ORDERS; number++) {
		struct order *order;
		must(orders_reserve_until(&out, &order, TDM_FOREVER));
		order->number = number;
		order->price = number * 7;
		snprintf(order->item, sizeof(order->item), "item %d", number);
		if (RACE != 2)
			last_price = order->price;
		must(orders_commit(&out));
		if (RACE == 1 || RACE == 4)
			order->price++;
		if (RACE == 2)
			last_price = number * 7;
	}
	must(orders_producer_detach(&out));
	must(tdm_participant_leave(&self));
	return NULL;
}

static void *buy(void *unused)
{
	struct tdm_participant self;
	struct orders_consumer in;
	const struct order *seen;
	long *sum = malloc(sizeof(*sum));
	(void)unused;
	if (sum == NULL)
		exit(2);
	*sum = 0;
	must(tdm_segment_join(&segment, &self, "buyer"));
	must(orders_consumer_attach(&in, tdm_segment_find(&segment, "orders"), &self));
	for (int number = 0; RACE == 4 && number < ORDERS;) {
		struct order order;
		if (orders_try_pop(&in, &order) == TDM_OK) {
			*sum += order.price + order.item[0];
			number++;
		} else {
			sched_yield();
		}
	}
	while (orders_peek_until(&in, &seen, TDM_FOREVER) == TDM_OK) {
		*sum += seen->price + last_price;
		must(orders_release(&in));
		if (RACE == 3)
			*sum += seen->price;
	}
	must(orders_consumer_detach(&in));
	must(tdm_participant_leave(&self));
	return sum;
}

int main(void)
{
	struct tdm_object ring = orders_object("orders", 1); // so that last_price goes with it
	pthread_t threads[2];
	void *sum = NULL;
	must(tdm_segment_create(&segment, &ring, 1, NULL));
	if (pthread_create(&threads[0], NULL, sell, NULL) != 0 ||
	    pthread_create(&threads[1], NULL, buy, NULL) != 0)
		return 2;
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], &sum);
	must(tdm_segment_close(&segment));
	printf("%d orders, checksum %ld\n", ORDERS, *(long *)sum);
	free(sum);
	return 0;
}
