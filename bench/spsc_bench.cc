// SPDX-License-Identifier: BSD-2-Clause
// One producer, one consumer, a CPU each: streams of small and larger elements, and round trips
// through two rings. Everybody polls, with a pause instruction while there is nothing to do (which
// helps each ring's round trip; the raw one is bare), except where the name says otherwise. Every
// value is checked.
#include "contenders/raw.h"
#include "contenders/tandem_spsc.h"
#include "support/contest.h"
#ifdef HAVE_CK
#	include "contenders/ck_ring.h"
#endif
#ifdef HAVE_BOOST
#	include "contenders/boost_spsc.h"
#endif

int main(int argc, char **argv)
{
	using contest::Trial;
	const contest::Options options = contest::parse(argc, argv);
	Trial small = {"stream of 8 B", true, 6000000, duel::Sides::threads, {}};
	Trial large = {"stream of 64 B", true, 1500000, duel::Sides::threads, {}};
	Trial trip = {"round trip", false, 100000, duel::Sides::threads, {}};

	contest::append(small.contenders, tandem_spsc_item8);
	contest::append(large.contenders, tandem_spsc_item64);
	contest::append(trip.contenders, tandem_spsc_trip);
#ifdef HAVE_CK
	small.contenders.push_back(&ck_ring_item8);
	large.contenders.push_back(&ck_ring_item64);
	trip.contenders.push_back(&ck_ring_trip);
#endif
#ifdef HAVE_BOOST
	for (const contender *who : {&boost_spsc::single<item8>, &boost_spsc::batch<item8>})
		small.contenders.push_back(who);
	for (const contender *who : {&boost_spsc::single<item64>, &boost_spsc::batch<item64>})
		large.contenders.push_back(who);
	trip.contenders.push_back(&boost_spsc::trip);
#endif
	small.contenders.push_back(&raw::stream<item8>);
	large.contenders.push_back(&raw::stream<item64>);
	trip.contenders.push_back(&raw::trip);

	contest::Contest contest("spsc", options,
				 {{"Concurrency Kit", "ck"}, {"Boost", "boost"}, {"raw", "raw"}});
	contest.run({small, large, trip});
	return contest.finish();
}
