// SPDX-License-Identifier: BSD-2-Clause
// Rings for many producers and many consumers behind one shape, so that one loop serves all: a
// Ring with Out::push(item) and In::pop(item), which answer at once, and, where the ring itself can
// wait, Out::push_waiting and In::pop_waiting.
#ifndef TDM_BENCH_CONTENDERS_MANY_H
#define TDM_BENCH_CONTENDERS_MANY_H

#include <cstring>
#include <vector>

#include <tandem/ring/mpmc.h>
#include <tandem/shm/segment.h>

#include "../support/contender.h"
#ifdef HAVE_BOOST_QUEUE
#	include <boost/lockfree/queue.hpp>
#endif
#ifdef HAVE_CK
#	include "ck_many.h"
#endif

namespace many
{

inline void must(enum tdm_status status)
{
	if (status != TDM_OK)
		bench_give_up("tandem", tdm_status_text(status));
}

TDM_MPMC_DEFINE(many_item8, item8);
TDM_MPMC_DEFINE(many_item64, item64);

// The typed functions by the type of the element.
template <typename T>
struct Typed;
#define MANY_TYPED(T)                                                                              \
	template <>                                                                                \
	struct Typed<T> {                                                                          \
		using Producer = many_##T##_producer;                                              \
		using Consumer = many_##T##_consumer;                                              \
		using Lease = many_##T##_lease;                                                    \
		static constexpr auto object = many_##T##_object;                                  \
		static constexpr auto attach_out = many_##T##_producer_attach;                     \
		static constexpr auto attach_in = many_##T##_consumer_attach;                      \
		static constexpr auto detach_out = many_##T##_producer_detach;                     \
		static constexpr auto detach_in = many_##T##_consumer_detach;                      \
		static enum tdm_status push(Producer *out, const T *item)                          \
		{                                                                                  \
			return many_##T##_try_push(out, item);                                     \
		}                                                                                  \
		static enum tdm_status pop(Consumer *in, T *item)                                  \
		{                                                                                  \
			return many_##T##_try_pop(in, item);                                       \
		}                                                                                  \
		static enum tdm_status push_waiting(Producer *out, const T *item)                  \
		{                                                                                  \
			return many_##T##_push(out, item);                                         \
		}                                                                                  \
		static enum tdm_status pop_waiting(Consumer *in, T *item)                          \
		{                                                                                  \
			return many_##T##_pop(in, item);                                           \
		}                                                                                  \
		static enum tdm_status take(Consumer *in, Lease *lease)                            \
		{                                                                                  \
			return many_##T##_try_take(in, lease);                                     \
		}                                                                                  \
		static enum tdm_status ack(Consumer *in, const Lease *lease)                       \
		{                                                                                  \
			return many_##T##_ack(in, lease);                                          \
		}                                                                                  \
	}
MANY_TYPED(item8);
MANY_TYPED(item64);
#undef MANY_TYPED

inline bool done(enum tdm_status status, enum tdm_status otherwise)
{
	if (tdm_unlikely(status != TDM_OK && status != otherwise))
		must(status);
	return status == TDM_OK;
}

template <typename T, bool plain, bool takes = false>
struct Tandem {
	static constexpr const char *name = plain   ? "tandem plain"
					    : takes ? "tandem, take and ack"
						    : "tandem";
	static constexpr const char *peer = "tandem";
	static constexpr bool waits = !takes;
	using Form = Typed<T>;

	struct tdm_segment segment;

	Tandem()
	{
		struct tdm_object object = Form::object("ring", BENCH_CAPACITY);
		struct tdm_segment_options options = {};
		options.sealed = true;
		object.plain = plain;
		must(tdm_segment_create(&segment, &object, 1, &options));
	}

	~Tandem()
	{
		must(tdm_segment_close(&segment));
	}

	struct tdm_participant *join(struct tdm_participant *self)
	{
		if (plain)
			return nullptr;
		must(tdm_segment_join(&segment, self, "bench"));
		return self;
	}

	struct Out {
		struct tdm_participant self;
		typename Form::Producer handle;

		explicit Out(Tandem &ring)
		{
			must(Form::attach_out(&handle, tdm_segment_find(&ring.segment, "ring"),
					      ring.join(&self)));
			handle.ring.follow = true; // others may come and go
		}

		void leave()
		{
			must(Form::detach_out(&handle));
			if (!plain)
				must(tdm_participant_leave(&self));
		}

		bool push(const T &item)
		{
			return done(Form::push(&handle, &item), TDM_FULL);
		}

		void push_waiting(const T &item)
		{
			must(Form::push_waiting(&handle, &item));
		}
	};

	struct In {
		struct tdm_participant self;
		typename Form::Consumer handle;

		explicit In(Tandem &ring)
		{
			must(Form::attach_in(&handle, tdm_segment_find(&ring.segment, "ring"),
					     ring.join(&self)));
			handle.ring.follow = true;
		}

		void leave()
		{
			must(Form::detach_in(&handle));
			if (!plain)
				must(tdm_participant_leave(&self));
		}

		bool pop(T &item)
		{
			if (!takes)
				return done(Form::pop(&handle, &item), TDM_EMPTY);
			typename Form::Lease lease;
			if (!done(Form::take(&handle, &lease), TDM_EMPTY))
				return false;
			item = *lease.elem;
			must(Form::ack(&handle, &lease));
			return true;
		}

		void pop_waiting(T &item)
		{
			must(Form::pop_waiting(&handle, &item));
		}
	};
};

// Vyukov's bounded queue as he published it, with nothing added.
template <typename T>
struct Vyukov {
	static constexpr const char *name = "Vyukov's queue, bare";
	static constexpr const char *peer = "raw";
	static constexpr bool waits = false;

	struct Cell {
		tdm_atomic_u64 sequence;
		T item;
	};
	alignas(TDM_CACHE_LINE) Cell cells[BENCH_CAPACITY];
	alignas(TDM_CACHE_LINE) tdm_atomic_u64 tail;
	alignas(TDM_CACHE_LINE) tdm_atomic_u64 head;

	Vyukov()
	{
		for (uint64_t i = 0; i < BENCH_CAPACITY; i++)
			tdm_store_relaxed_u64(&cells[i].sequence, i);
		tdm_store_relaxed_u64(&tail, 0);
		tdm_store_relaxed_u64(&head, 0);
	}

	// The cell at *end, once it is there with `ready` added; or NULL: not yet.
	Cell *claim(tdm_atomic_u64 *end, uint64_t ready, uint64_t *position)
	{
		*position = tdm_load_relaxed_u64(end);
		for (;;) {
			Cell *cell = &cells[*position % BENCH_CAPACITY];
			const uint64_t sequence = tdm_load_acquire_u64(&cell->sequence);
			const int64_t ahead = static_cast<int64_t>(sequence - (*position + ready));
			if (ahead < 0)
				return nullptr;
			if (ahead > 0)
				*position = tdm_load_relaxed_u64(end);
			else if (tdm_cas_weak_relaxed_relaxed_u64(end, position, *position + 1))
				return cell;
		}
	}

	struct Out {
		Vyukov *ring;

		explicit Out(Vyukov &of) : ring(&of)
		{
		}

		void leave()
		{
		}

		bool push(const T &item)
		{
			uint64_t position;
			Cell *cell = ring->claim(&ring->tail, 0, &position);
			if (cell == nullptr)
				return false;
			cell->item = item;
			tdm_store_release_u64(&cell->sequence, position + 1);
			return true;
		}
	};

	struct In {
		Vyukov *ring;

		explicit In(Vyukov &of) : ring(&of)
		{
		}

		void leave()
		{
		}

		bool pop(T &item)
		{
			uint64_t position;
			Cell *cell = ring->claim(&ring->head, 1, &position);
			if (cell == nullptr)
				return false;
			item = cell->item;
			tdm_store_release_u64(&cell->sequence, position + BENCH_CAPACITY);
			return true;
		}
	};
};

#ifdef HAVE_BOOST_QUEUE
template <typename T>
struct Boost {
	static constexpr const char *name = "Boost.Lockfree queue";
	static constexpr const char *peer = "boost";
	static constexpr bool waits = false;

	boost::lockfree::queue<T, boost::lockfree::capacity<BENCH_CAPACITY>> queue;

	struct Out {
		Boost *ring;

		explicit Out(Boost &of) : ring(&of)
		{
		}

		void leave()
		{
		}

		bool push(const T &item)
		{
			return ring->queue.bounded_push(item);
		}
	};

	struct In {
		Boost *ring;

		explicit In(Boost &of) : ring(&of)
		{
		}

		void leave()
		{
		}

		bool pop(T &item)
		{
			return ring->queue.pop(item);
		}
	};
};
#endif

#ifdef HAVE_CK
template <typename T>
struct Ck {
	static constexpr const char *name = "Concurrency Kit";
	static constexpr const char *peer = "ck";
	static constexpr bool waits = false;

	void *ring = ck_many_make();

	~Ck()
	{
		ck_many_unmake(ring);
	}

	struct Out {
		void *ring;

		explicit Out(Ck &of) : ring(of.ring)
		{
		}

		void leave()
		{
		}

		bool push(const T &item)
		{
			return sizeof(T) == 8 ? ck_many_push_item8(ring, &item)
					      : ck_many_push_item64(ring, &item);
		}
	};

	struct In {
		void *ring;

		explicit In(Ck &of) : ring(of.ring)
		{
		}

		void leave()
		{
		}

		bool pop(T &item)
		{
			return sizeof(T) == 8 ? ck_many_pop_item8(ring, &item)
					      : ck_many_pop_item64(ring, &item);
		}
	};
};
#endif

} // namespace many

#endif
