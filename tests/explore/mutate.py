#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Weakens every memory order of the headers, one at a time, and expects the explorer to notice.

A mutant is a copy of include/ with one change: an order is weaker by one step (seq_cst to acq_rel,
acq_rel to acquire and to release, acquire or release to relaxed; the two orders of a CAS apart; an
order that a macro takes from its caller, to relaxed), or two steps whose order a comment justifies
are swapped (SWAPS below). It is caught when the explorer cases of its header fail. One that no
program can tell from the header itself stands in equivalent.txt with a proof. Any other is a
survivor: an edge that nothing tests.
"""

import argparse
import json
import math
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tests/support")]

import edges
import tap

# A header is tried by the cases of its own name, or by these.
CASES = {"base/fence.h": "event", "base/slots.h": "spsc", "base/words.h": "seq",
         "lock/owner.h": "mutex"}

# Base operations are no edges: what is in there is every order for everybody.
NO_EDGES = {"base/atomic.h"}

# Steps whose order, or presence, a comment of the header justifies: (header, function, what is done
# instead, how). How: texts of the function that go before or after another one, or that become
# something else. Each must be there exactly once; white space does not count.
SWAPS = [
    ("sync/event.h", "tdm_event_notify_slow_", "wake, then disarm", [
        ("tdm_futex_wake_(&event->word, sleepers);", "before", "uint32_t next =")]),
    ("sync/event.h", "tdm_event_notify_", "look, then ask whether that is enough", [
        ("uint32_t rmw = tdm_fence_light_();", "after", "tdm_load_relaxed_u32(&event->word);")]),
    ("sync/event.h", "tdm_event_prepare", "no membarrier", [
        ("!tdm_fence_heavy_()", "becomes", "false")]),
    ("sync/event.h", "tdm_event_await", "check again, then arm", [
        ("uint32_t key = tdm_event_prepare(event);", "becomes", ""),
        ("tdm_event_wait_until(event, key,", "becomes",
         "tdm_event_wait_until(event, tdm_event_prepare(event),")]),

    ("sync/event.h", "tdm_event_await_one", "take it, and do not arm again", [
        ("tdm_fetch_or_relaxed_u32(&event->word, TDM_EVENT_ARMED_);", "becomes", ";")]),
    ("sync/event.h", "tdm_event_await_one", "give up, and do not wake the next", [
        ("tdm_futex_wake_(&event->word, 1);", "becomes", "")]),

    ("lock/mutex.h", "tdm_mutex_attempt_", "keep the depth of the dead", [
        ("tdm_store_relaxed_u32(&mutex->depth, 0);", "becomes", ";")]),
    ("lock/mutex.h", "tdm_mutex_lock_slow_", "time out, and do not ask", [
        ("wait.ask = true;", "becomes", "")]),
    ("lock/mutex.h", "tdm_mutex_unlock", "wake, then unlock", [
        ("tdm_mutex_wake_(mutex);", "becomes", ";"),
        ("status = (mine & TDM_OWNER_PLAIN_) != 0", "becomes",
         "tdm_mutex_wake_(mutex); status = (mine & TDM_OWNER_PLAIN_) != 0")]),
    ("lock/mutex.h", "tdm_mutex_unlock", "lose it, and tell nobody", [
        ("tdm_event_notify(&mutex->freed);", "becomes", ";")]),

    ("sync/condvar.h", "tdm_condvar_wait_until", "unlock, then say so", [
        ("uint32_t key = tdm_fetch_or_relaxed_u32(&condvar->word, TDM_CONDVAR_WAITED_) | "
         "TDM_CONDVAR_WAITED_;", "after", "status = tdm_mutex_unlock(mutex, self);")]),
    ("sync/condvar.h", "tdm_condvar_signal_slow_", "wake, then move the epoch on", [
        ("uint32_t word = tdm_fetch_add", "becomes",
         "tdm_futex_wake_(&condvar->word, 1); uint32_t word = tdm_fetch_add"),
        ("tdm_futex_wake_(&condvar->word, 1);", "becomes", ";")]),
    ("sync/condvar.h", "tdm_condvar_broadcast_slow_", "wake, then say that nobody waits", [
        ("tdm_futex_wake_(&condvar->word, UINT32_MAX);", "before", "uint32_t word =")]),
    ("sync/condvar.h", "tdm_condvar_sleep_", "sleep on, although signalled", [
        ("if (tdm_load_relaxed_u32(&condvar->word) != key) return TDM_OK;", "becomes", "")]),
    ("sync/condvar.h", "tdm_condvar_sleep_", "sleep on, although one may have died", [
        ("if (status == TDM_TIMED_OUT && robust) return TDM_OK;", "becomes", "")]),

    ("shm/participant.h", "tdm_seat_unlock_", "let the seat go, then count the exit", [
        ("close(lock->fd);", "before", "tdm_fetch_add_release")]),
    ("shm/participant.h", "tdm_table_dead_", "look once at the generation", [
        ("if (status == TDM_BUSY && tdm_seat_moved_on_(seat, generation)) return TDM_OK;",
         "becomes", "")]),
    ("shm/participant.h", "tdm_table_dead_", "look at exits, then at the lock", [
        ("(void)tdm_load_acquire_u32(&tdm_process_.exits);", "before", "enum tdm_status status")]),
    ("shm/participant.h", "tdm_table_dead_", "look at dirty, then at the lock", [
        ("(void)tdm_load_acquire_u32(&seat->dirty);", "before", "enum tdm_status status")]),
    ("shm/participant.h", "tdm_seat_take_over_", "the epoch, then the generation", [
        ("if (died) tdm_fetch_add_acq_rel_u64(&table->head->epoch, 1);", "before",
         "uint64_t generation =")]),
    ("shm/participant.h", "tdm_seat_take_over_", "clean, then the epoch", [
        ("tdm_store_release_u32(&seat->dirty, joining ? 1 : 0);", "before", "if (died)")]),
    ("shm/participant.h", "tdm_seat_open_", "open a door without a second look", [
        ("return status; status = TDM_SEAM_SEAT_LOOK(fd, index);", "becomes", "return status;")]),
    ("shm/participant.h", "tdm_table_sit_", "take the seat, then move it on", [
        ("*generation = tdm_seat_take_over_(table, index, true);", "after",
         "TDM_SEAM_SEAT_TAKE(fd, index);")]),
    ("shm/participant.h", "tdm_table_sit_", "shut the door, then take the seat", [
        ("TDM_SEAM_SEAT_DROP(fd, TDM_SEAT_DOOR_(index));", "before", "enum tdm_status status")]),
    ("shm/participant.h", "tdm_participant_leave", "let the seat go, then clean it", [
        ("tdm_seat_unlock_(link);", "before", "tdm_store_release_u32(")]),
    ("shm/participant.h", "tdm_table_reap_", "reap without a second look", [
        ("if (tdm_load_relaxed_u32(&seat->dirty) != 0) {", "becomes", "{")]),

    ("lock/rw.h", "tdm_rw_open_", "hand on, then open", [
        ("tdm_store_release_u32(&rw->serving, ticket + 1);", "before",
         "tdm_fetch_add_release_u64(")]),
    ("lock/rw.h", "tdm_rw_open_", "notify, then open", [
        ("tdm_event_notify(&rw->opened);", "before", "tdm_fetch_add_release_u64(")]),
    ("lock/rw.h", "tdm_rw_open_", "notify, then hand on", [
        ("tdm_event_notify(&rw->turn[(ticket + 1) % TDM_RW_TURNS_]);", "before",
         "tdm_store_release_u32(")]),
    ("lock/rw.h", "tdm_rw_read_unlock", "notify, then leave", [
        ("tdm_event_notify(&rw->left);", "before", "tdm_fetch_add_release_u32(")]),

    ("lock/robust_rw.h", "tdm_robust_rw_lower_", "notify, then leave", [
        ("tdm_event_notify(&rw->left);", "before", "tdm_store_release_u64(")]),
    ("lock/robust_rw.h", "tdm_robust_rw_open_gate_", "notify, then open", [
        ("tdm_event_notify(&rw->opened);", "before", "if ((gate & 1) != 0)")]),
    ("lock/robust_rw.h", "tdm_robust_rw_go_", "go, then open", [
        ("tdm_robust_rw_open_gate_(rw);", "after",
         "tdm_store_release_u64(&rw->owner, TDM_OWNER_FREE_);")]),
    ("lock/robust_rw.h", "tdm_robust_rw_say_waits_", "notify, then say it", [
        ("tdm_event_notify(&wait->rw->left);", "before",
         "tdm_store_release_u64(&seat->flag, flag);")]),
    ("lock/robust_rw.h", "tdm_robust_rw_look_", "clear whatever flag is there", [
        ("!tdm_cas_strong_relaxed_relaxed_u64(&seat->flag, &flag, 0)", "becomes",
         "(tdm_store_relaxed_u64(&seat->flag, 0), false)")]),
    ("lock/robust_rw.h", "tdm_robust_rw_write_unlock", "go, then be outside", [
        ("tdm_store_relaxed_u32(&rw->inside, 0);", "after", "tdm_robust_rw_go_(rw);")]),
    ("lock/robust_rw.h", "tdm_robust_rw_downgrade", "be outside, then read", [
        ("tdm_store_relaxed_u64(&tdm_robust_rw_seat_(rw, self->index)->flag, "
         "tdm_robust_rw_name_(self) | 1);", "after", "tdm_robust_rw_go_(rw);")]),

    ("ring/spsc.h", "tdm_spsc_init_at_", "ready, then empty", [
        ("tdm_slots_ready_(&tdm_spsc_layout_, span);", "before", "for (uint64_t i = 0")]),
    ("ring/spsc.h", "tdm_spsc_producer_attach_", "the head, then the role", [
        ("uint64_t head = tdm_load_acquire_u64(&shm->head);", "before",
         "status = tdm_spsc_claim_(")]),
    ("ring/spsc.h", "tdm_spsc_consumer_attach_", "the head, then the role", [
        ("consumer->head = tdm_load_relaxed_u64(&shm->head);", "before",
         "status = tdm_spsc_claim_(")]),
    ("ring/spsc.h", "tdm_spsc_producer_detach", "notify, then leave", [
        ("tdm_event_notify(&shm->not_empty);", "before", "status = tdm_spsc_drop_(")]),
    ("ring/spsc.h", "tdm_spsc_consumer_detach", "notify, then leave", [
        ("tdm_event_notify(&shm->not_full);", "before", "status = tdm_spsc_drop_(")]),
    ("ring/spsc.h", "tdm_spsc_role_", "look once at the role", [
        ("if (tdm_load_relaxed_u64(role) == word)", "becomes", "")]),
    ("ring/spsc.h", "tdm_spsc_put_", "publish, then copy", [
        ("TDM_SEAM_COPY(TDM_AT_(unsigned char, sequence, offset), elem, size);", "after",
         "tdm_store_release_u64(sequence, tail + 1);")]),
    ("ring/spsc.h", "tdm_spsc_try_push_", "notify, then publish", [
        ("tdm_event_notify(&producer->shm->not_empty);", "before", "tdm_spsc_put_(")]),
    ("ring/spsc.h", "tdm_spsc_popped_", "tell, then count", [
        ("if (tdm_unlikely(head - consumer->released >= consumer->batch)) "
         "consumer->released = tdm_spsc_tell_(consumer->shm, head);", "before",
         "tdm_store_release_u64(")]),
    ("ring/spsc.h", "tdm_spsc_try_pop_", "release, then copy", [
        ("TDM_SEAM_COPY(elem, from, size);", "after", "tdm_spsc_popped_(consumer, head + 1);")]),

    ("ring/mpmc.h", "tdm_mpmc_init_at_", "ready, then empty", [
        ("tdm_slots_ready_(&tdm_mpmc_layout_, span);", "before", "unsigned char *first =")]),
    ("ring/mpmc.h", "tdm_mpmc_skip_", "who has claimed it, then whether it is claimed", [
        ("if (tdm_mpmc_scan_(view, TDM_MPMC_PUSH_, TDM_MPMC_PUSH_, position) != "
         "TDM_MPMC_ABANDONED_) return false;", "before", "uint64_t tail =")]),
    ("ring/mpmc.h", "tdm_mpmc_adopt_", "without the lock", [
        ("tdm_mpmc_lock_(view) != TDM_OK", "becomes", "false")]),
    ("ring/mpmc.h", "tdm_mpmc_adopt_", "whether it is there, then who has it", [
        ("tdm_mpmc_scan_(view, TDM_MPMC_POP_, TDM_MPMC_WORDS_ - 1, position) == "
         "TDM_MPMC_ABANDONED_ &&", "becomes", ""),
        ("tdm_mpmc_unreleased_(view, position)", "becomes",
         "tdm_mpmc_unreleased_(view, position) && tdm_mpmc_scan_(view, TDM_MPMC_POP_, "
         "TDM_MPMC_WORDS_ - 1, position) == TDM_MPMC_ABANDONED_")]),
    ("ring/mpmc.h", "tdm_mpmc_adopt_", "unlock, then say who has it", [
        ("tdm_store_relaxed_u64(intent, tdm_mpmc_intent_(position, 1) | TDM_MPMC_WON_);",
         "becomes", ""),
        ("tdm_mpmc_unlock_(view);", "becomes",
         "tdm_mpmc_unlock_(view); if (adopted) "
         "tdm_store_relaxed_u64(intent, tdm_mpmc_intent_(position, 1) | TDM_MPMC_WON_);")]),
    ("ring/mpmc.h", "tdm_mpmc_settle_", "a new generation, and nothing is given up", [
        ("tdm_store_release_u64(&part->intents[i], intent | TDM_MPMC_ORPHAN_);", "becomes", ";")]),
    ("ring/mpmc.h", "tdm_mpmc_producer_detach", "notify, then leave", [
        ("tdm_event_notify(&shm->not_empty);", "before", "tdm_mpmc_drop_(")]),
    ("ring/mpmc.h", "tdm_mpmc_consumer_detach", "notify, then leave", [
        ("tdm_event_notify(&shm->not_full);", "before", "tdm_mpmc_drop_(")]),
    ("ring/mpmc.h", "tdm_mpmc_consumer_detach", "notify, then give up", [
        ("tdm_event_notify(&shm->not_empty);", "before", "if (consumer->part")]),
    ("ring/mpmc.h", "tdm_mpmc_role_", "look once at the role", [
        ("if ((tdm_load_relaxed_u64(&part->roles) & role) != 0 && "
         "tdm_load_relaxed_u64(&part->generation) == generation)", "becomes", "")]),
    ("ring/mpmc.h", "tdm_mpmc_try_push_", "claim, then say so", [
        ("if (intent != TDM_NULL) tdm_store_release_u64(intent, claim);", "after",
         "position + 1))) {")]),
    ("ring/mpmc.h", "tdm_mpmc_try_push_", "publish, then say who has won", [
        ("if (intent != TDM_NULL) tdm_store_release_u64(intent, claim | TDM_MPMC_WON_);", "after",
         "(position + 1) & TDM_MPMC_POSITION_);")]),
    ("ring/mpmc.h", "tdm_mpmc_try_push_", "publish, then copy", [
        ("TDM_SEAM_COPY(TDM_AT_(unsigned char, slot, offset), elem, size);", "after",
         "(position + 1) & TDM_MPMC_POSITION_);")]),
    ("ring/mpmc.h", "tdm_mpmc_try_push_", "notify, then publish", [
        ("tdm_event_notify(&shm->not_empty);", "before", "tdm_store_release_u64(slot,")]),
    ("ring/mpmc.h", "tdm_mpmc_try_push_", "lose, and keep the intent", [
        ("if (intent != TDM_NULL) tdm_store_release_u64(intent, 0);", "becomes", "")]),
    ("ring/mpmc.h", "tdm_mpmc_claim_free_", "claim, then say so", [
        ("if (producer->intent != TDM_NULL) tdm_store_release_u64(producer->intent, claim);",
         "after", "position + run)) {")]),
    ("ring/mpmc.h", "tdm_mpmc_claim_free_", "win, and keep silent", [
        ("if (producer->intent != TDM_NULL) "
         "tdm_store_release_u64(producer->intent, claim | TDM_MPMC_WON_);", "becomes", "")]),
    ("ring/mpmc.h", "tdm_mpmc_claim_free_", "lose, and keep the intent", [
        ("if (producer->intent != TDM_NULL) tdm_store_release_u64(producer->intent, 0);",
         "becomes", "")]),
    ("ring/mpmc.h", "tdm_mpmc_try_push_n_", "publish, then copy", [
        ("TDM_SEAM_COPY(TDM_AT_(unsigned char, slot, offset), from, size);", "after",
         "(position + 1) & TDM_MPMC_POSITION_);")]),
    ("ring/mpmc.h", "tdm_mpmc_claim_ready_", "claim, then say so", [
        ("if (intent != TDM_NULL) tdm_store_release_u64(intent, claim);", "after",
         "position + run))) {")]),
    ("ring/mpmc.h", "tdm_mpmc_claim_ready_", "lose, and keep the intent", [
        ("if (intent != TDM_NULL) tdm_store_release_u64(intent, 0);", "becomes", "")]),
    ("ring/mpmc.h", "tdm_mpmc_pop_again_", "release, then copy", [
        ("TDM_SEAM_COPY(elem, TDM_AT_(unsigned char, slot, offset), TDM_CAST(size_t, elem_size));",
         "after", "& TDM_MPMC_POSITION_);")]),
    ("ring/mpmc.h", "tdm_mpmc_try_pop_n_", "release, then copy", [
        ("TDM_SEAM_COPY(to, TDM_AT_(unsigned char, slot, offset), size);", "after",
         "TDM_MPMC_POSITION_);")]),
    ("ring/mpmc.h", "tdm_mpmc_try_pop_n_", "notify, then release", [
        ("tdm_event_notify(&consumer->view.shm->not_full);", "before", "for (uint64_t end")]),
    ("ring/mpmc.h", "tdm_mpmc_ack", "forget, then release", [
        ("tdm_store_release_u64(word, 0);", "before",
         "tdm_store_release_u64(tdm_mpmc_sequence_(")]),
    ("ring/mpmc.h", "tdm_mpmc_ack", "notify, then release", [
        ("tdm_event_notify(&view->shm->not_full);", "before",
         "tdm_store_release_u64(tdm_mpmc_sequence_(")]),
    ("ring/mpmc.h", "tdm_mpmc_nack", "notify, then give up", [
        ("tdm_event_notify(&consumer->view.shm->not_empty);", "before", "tdm_store_release_u64(")]),

    ("lock/robust_ticket.h", "tdm_robust_ticket_attempt_", "lock, and forget who queues", [
        ("wait->mine | (word & queued))", "becomes", "wait->mine)")]),
    ("lock/robust_ticket.h", "tdm_robust_ticket_attempt_", "take over, and say nothing", [
        ("tdm_fetch_or_relaxed_u64(&wait->lock->owner, queued); word = state | queued;", "becomes",
         ""),
        ("wait->mine | TDM_OWNER_INCONSISTENT_ | queued)", "becomes",
         "wait->mine | TDM_OWNER_INCONSISTENT_ | (word & queued))")]),
    ("lock/robust_ticket.h", "tdm_robust_ticket_queue_", "say QUEUED, then note the ticket", [
        ("tdm_store_release_u64(&seat->ticket, wait.ticket);", "after",
         "tdm_fetch_or_release_u64(&lock->owner, TDM_ROBUST_TICKET_QUEUED_);")]),
    ("lock/robust_ticket.h", "tdm_robust_ticket_queue_", "note the ticket, then whose it is", [
        ("tdm_store_relaxed_u64(&seat->generation, self->generation);", "after",
         "tdm_store_release_u64(&seat->ticket, wait.ticket);")]),
    ("lock/robust_ticket.h", "tdm_robust_ticket_queue_", "give up, and wake nobody", [
        ("tdm_robust_ticket_wake_(lock, self);", "becomes", ";")]),
    ("lock/robust_ticket.h", "tdm_robust_ticket_queue_", "look at the lock, then give up", [
        ("tdm_store_relaxed_u64(&seat->ticket, 0); if (status != TDM_OK", "becomes",
         "if (status == TDM_OK || status == TDM_OWNER_DIED) "
         "tdm_store_relaxed_u64(&seat->ticket, 0); if (status != TDM_OK"),
        ("if ((word & ~TDM_ROBUST_TICKET_QUEUED_) == TDM_OWNER_FREE_)", "becomes",
         "tdm_store_relaxed_u64(&seat->ticket, 0); "
         "if ((word & ~TDM_ROBUST_TICKET_QUEUED_) == TDM_OWNER_FREE_)")]),
    ("lock/robust_ticket.h", "tdm_robust_ticket_unlock_slow_", "take QUEUED away, and look once", [
        ("tdm_robust_ticket_lowest_(lock, self, UINT64_MAX).ticket == 0 &&", "becomes", "")]),
    ("lock/robust_ticket.h", "tdm_robust_ticket_unlock_slow_", "let newcomers pass", [
        ("tdm_exchange_acq_rel_u64(&lock->owner, queued)", "becomes",
         "tdm_exchange_acq_rel_u64(&lock->owner, TDM_OWNER_FREE_)")]),
    ("lock/robust_ticket.h", "tdm_robust_ticket_unlock_slow_", "wake, then unlock", [
        ("(void)tdm_robust_ticket_wake_(lock, self);", "before",
         "(void)tdm_exchange_acq_rel_u64(")]),
    ("lock/robust_ticket.h", "tdm_robust_ticket_unlock_slow_", "wake, then lose it", [
        ("tdm_store_relaxed_u64(&lock->owner, TDM_OWNER_LOST_);", "after",
         "tdm_event_notify(&tdm_robust_ticket_seat_(lock, k)->turn);")]),

    ("lock/seq.h", "tdm_seq_put_", "store, then begin", [
        ("tdm_words_store_(words, value, size);", "before", "tdm_seq_write_begin(seq);")]),
    ("lock/seq.h", "tdm_seq_put_", "end, then store", [
        ("tdm_words_store_(words, value, size);", "after", "tdm_seq_write_end(seq);")]),
    ("lock/seq.h", "tdm_seq_locked_", "take what a dead one left for whole", [
        ("return TDM_OWNER_DIED;", "becomes", "return TDM_OK;")]),
    ("lock/seq.h", "tdm_seq_read_retry", "take what is half written", [
        ("(begun & 1) != 0 ||", "becomes", "")]),
    ("lock/snapshot.h", "tdm_snapshot_put_", "publish, then fill", [
        ("tdm_store_release_u64(&snapshot->version, version);", "before", "tdm_words_store_(")]),
]

WEAKER = {"seq_cst": ["acq_rel"], "acq_rel": ["acquire", "release"],
          "acquire": ["relaxed"], "release": ["relaxed"]}


@dataclass
class Mutant:
    name: str
    header: str
    line: int
    about: str
    edits: list  # (begin, end, text): what stands there becomes `text`
    problem: str = ""  # why it cannot be made

    def apply(self, text):
        for begin, end, new in sorted(self.edits, reverse=True):
            text = text[:begin] + new + text[end:]
        return text


def weaker(access, which):
    """The orders one step below."""
    order = access.orders[which]
    if "#" in order:
        return ["relaxed"]
    if order == "seq_cst" and (access.verb in edges.READS or which == 1):
        return ["acquire"]
    if order == "seq_cst" and access.verb in edges.WRITES:
        return ["release"]
    if order == "acq_rel" and access.verb == "test_and_set":
        return ["acquire"]  # it has no release form
    return WEAKER.get(order, [])


def place(text, function, what):
    """Where `what` stands in the function."""
    lines = text.splitlines(keepends=True)
    bodies = [body for body in edges.functions(text) if body.name == function]
    if len(bodies) != 1:
        raise ValueError(function)
    begin = len("".join(lines[:bodies[0].head - 1]))
    end = len("".join(lines[:bodies[0].end]))
    pattern = re.compile(r"\s+".join(map(re.escape, what.split())))
    spans = [match.span() for match in pattern.finditer(text, begin, end)]
    if len(spans) != 1:
        raise ValueError(what)
    return spans[0]


def edits_of(text, function, what, how, other):
    begin, end = place(text, function, what)
    if how == "becomes":
        return [(begin, end, other)]
    target = place(text, function, other)[how == "after"]
    return [(begin, end, ""), (target, target, f" {text[begin:end]} ")]


def mutants_of(header, text, swaps=()):
    found = []
    for access in edges.accesses(text):
        for which, (begin, end) in enumerate(access.spans):
            for order in weaker(access, which):
                orders = list(access.orders)
                orders[which] = order
                change = f"{'/'.join(access.orders)}->{'/'.join(orders)}"
                name = f"{header}:{access.function}:{access.operation}:{access.nth}:{change}"
                about = " ".join(access.labels)
                if access.partners:
                    about += " with " + " and ".join(access.partners)
                found.append(Mutant(name.replace("#", ""), header, access.line, about,
                                    [(begin, end, order)]))
    for where, function, instead, steps in swaps:
        if where != header:
            continue
        edits, problem = [], ""
        try:
            edits = [edit for step in steps for edit in edits_of(text, function, *step)]
        except ValueError as error:
            problem = f"not exactly once in {function}: {error}"
        line = text.count("\n", 0, min(edits)[0]) + 1 if edits else 0
        found.append(Mutant(f"{header}:{function}:swap:{instead}", header, line, "a swap", edits,
                            problem))
    return found


def all_mutants(include):
    found = []
    for path in sorted((include / "tandem").rglob("*.h")):
        header = str(path.relative_to(include / "tandem"))
        if header not in NO_EDGES:
            found += mutants_of(header, path.read_text(), SWAPS)
    return found


def equivalents(path):
    """{name: proof}. A name in the first column, its proof indented below it."""
    proofs, name = {}, None
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.startswith("#") or not line.strip():
            continue
        if not line[0].isspace():
            name = line.strip()
            if name in proofs:
                raise SystemExit(f"{path}: {name} is there twice")
            proofs[name] = ""
        elif name is None:
            raise SystemExit(f"{path}: a proof without a mutant: {line.strip()}")
        else:
            proofs[name] = f"{proofs[name]} {line.strip()}".strip()
    return proofs


# --- trying one ---

class Broken(Exception):
    """The experiment itself went wrong; nothing is known about the mutant."""


def run(command, folder, what):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Broken(f"{what}:\n{(done.stderr or done.stdout)[:3000]}")
    return done.stdout


def complete(text):
    """A CAS whose failure is stronger than its success has no accessor: here all get one."""
    first = "X(__VA_ARGS__, relaxed, relaxed)"
    lacking = [entry for success in ("relaxed", "acquire", "release", "acq_rel", "seq_cst")
               for failure in ("relaxed", "acquire", "seq_cst")
               if (entry := f"X(__VA_ARGS__, {success}, {failure})") not in text]
    return text.replace(first, " ".join([*lacking, first]), 1)


def plant(mutant, include, folder):
    """The headers with the mutant, or as they are."""
    shutil.copytree(include, folder / "include")
    if mutant is None:
        return
    if mutant.problem:
        raise Broken(mutant.problem)
    target = folder / "include/tandem" / mutant.header
    target.write_text(mutant.apply(target.read_text()))
    atomic = folder / "include/tandem/base/atomic.h"
    atomic.write_text(complete(atomic.read_text()))


class Program:
    """The explorer cases of one header, as meson builds them in the build folder."""

    def __init__(self, build, include, name, entries):
        self.build, self.include, self.name = build, include, name
        self.executable = entries[0]["output"].split(".p/")[0]
        self.compilations = {entry["output"]: entry["command"] for entry in entries}
        self.link = run(["ninja", "-t", "commands", "-s", self.executable], build,
                        f"ninja does not know {self.executable}").strip()

    def make(self, folder):
        """Builds it in `folder` against the headers there."""
        objects = {}
        for number, (output, command) in enumerate(self.compilations.items()):
            objects[output] = str(folder / f"{number}.o")
            words = shlex.split(command)
            for i, word in enumerate(words):
                if word.startswith("-I") and (self.build / word[2:]).resolve() == self.include:
                    words[i] = f"-I{folder / 'include'}"
                elif word in ("-o", "-MF", "-MQ"):
                    words[i + 1] = objects[output] + (".d" if word == "-MF" else "")
            run([*words, "-w"], self.build, "it does not compile")
        if not any(str(folder / "include/tandem") in path.read_text()
                   for path in folder.glob("*.d")):
            raise Broken("it was compiled with other headers")
        origin = str((self.build / self.executable).parent)  # where the runtime is looked for
        words = [objects.get(word, word.replace("$ORIGIN", origin))
                 for word in shlex.split(self.link)]
        words[words.index("-o") + 1] = str(folder / self.name)
        run(words, self.build, "it does not link")
        return folder / self.name


def programs(build, include):
    entries = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        match = re.search(r"(?:^|/)(\w+)_explore\.p/", entry["output"])
        if match:
            entries.setdefault(match[1], []).append(entry)
    return {stem: Program(build, include, f"{stem}_explore", found)
            for stem, found in entries.items()}


def verdict(executable, limit):
    """(whether it failed, what it said): stopped at the first case that fails. The limit is one of
    CPU time, as others may be at work here; who only waits has ten times as long."""
    environment = {key: value for key, value in os.environ.items() if key != "TANDEM_SOAK"}
    process = subprocess.Popen([executable], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, errors="replace", env=environment)
    seconds = math.ceil(limit)
    resource.prlimit(process.pid, resource.RLIMIT_CPU, (seconds, seconds))
    late = threading.Event()
    timer = threading.Timer(10 * limit, lambda: (late.set(), process.kill()))
    timer.start()
    failed, plan, last = None, False, ""
    for line in process.stdout:
        last = line.strip() or last
        plan = plan or re.match(r"1\.\.[1-9]", line) is not None
        failed = re.match(r"not ok \d+ - (.*)", line)
        if failed:
            process.kill()
            break
    process.stdout.close()
    status = process.wait()
    timer.cancel()
    if failed:
        return True, failed[1]
    if late.is_set() or status == -signal.SIGKILL:
        return False, f"no failure within {limit} s"
    if status != 0:
        return True, f"exit status {status}: {last}"
    if not plan:
        raise Broken(f"{executable.name} ran no case")
    return False, "every case passes"


def try_out(mutant, program, limit):
    """(whether it was caught, what was said), of a mutant or of the headers as they are."""
    with tempfile.TemporaryDirectory(prefix="tandem-mutant-") as name:
        folder = Path(name)
        plant(mutant, program.include, folder)
        return verdict(program.make(folder), limit)


# --- all of them ---

@dataclass
class Outcome:
    kind: str  # caught, equivalent, survived
    sentence: str
    problems: list


def unsound(program, limit):
    """Why the cases say nothing about a mutant: they do not pass without one."""
    try:
        failed, said = try_out(None, program, limit)
    except Broken as broken:
        return [str(broken)]
    return [said] if failed or said.startswith("no failure within") else []


def judge(mutant, program, proof, limit):
    if program is None:
        return Outcome("survived", "is never tried", ["its header has no explorer cases"])
    try:
        caught, said = try_out(mutant, program, limit)
    except Broken as broken:
        return Outcome("survived", "could not be tried", [str(broken)])
    if caught and proof is not None:
        return Outcome("caught", "is listed as equivalent",
                       [f"but it was caught: {said}", proof])
    if caught:
        return Outcome("caught", f"is caught: {said}", [])
    if proof is not None:
        return Outcome("equivalent", "is equivalent", [])
    return Outcome("survived", "survives", [said, mutant.about])


def subset_of(text):
    """K/N, or N for the K of the day."""
    words = text.split("/")
    if not all(word.isdigit() for word in words) or len(words) > 2 or int(words[-1]) == 0:
        raise argparse.ArgumentTypeError(f"{text} is not N or K/N")
    count = int(words[-1])
    which = int(words[0]) if len(words) == 2 else int(time.time() // 86400) % count + 1
    if not 1 <= which <= count:
        raise argparse.ArgumentTypeError(f"{text}: K is 1 to N")
    return which, count


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("build", nargs="?", default=".", type=Path,
                        help="meson's build folder, with everything built (default: this one)")
    parser.add_argument("--list", action="store_true", help="only print the mutants")
    parser.add_argument("--header", metavar="NAME", action="append",
                        help="only this header's, for example spsc.h; may be given again")
    parser.add_argument("--only", metavar="NAME", help="only those with NAME in their name")
    parser.add_argument("--subset", metavar="N or K/N", type=subset_of,
                        help="every Nth, from the Kth or from the day's on; all of them where "
                        "TANDEM_SOAK is set")
    parser.add_argument("--time-limit", metavar="SECONDS", type=float, default=120,
                        help="of CPU time for one run of the cases (default: 120)")
    parser.add_argument("--jobs", metavar="N", type=int, default=os.cpu_count())
    parser.add_argument("--include", type=Path, default=ROOT / "include", help="the headers")
    parser.add_argument("--equivalent", type=Path, default=HERE / "equivalent.txt")
    return parser.parse_args()


def choose(mutants, options):
    chosen = [mutant for mutant in mutants
              if (not options.header or any(f"/tandem/{mutant.header}".endswith(f"/{header}")
                                            for header in options.header))
              and (not options.only or options.only in mutant.name)]
    if options.subset and "TANDEM_SOAK" not in os.environ:
        which, count = options.subset
        tap.note(f"subset {which} of {count}")
        chosen = chosen[which - 1::count]
    return chosen


def main():
    options = arguments()
    include = options.include.resolve()
    mutants = all_mutants(include)
    chosen = choose(mutants, options)
    if not chosen:
        sys.exit("mutate.py: there is no such mutant")
    if options.list:
        for mutant in chosen:
            print(f"{mutant.name}  (line {mutant.line}, {mutant.about})")
        return
    proofs = equivalents(options.equivalent)
    names = {mutant.name for mutant in mutants}
    tap.case("every equivalent mutant exists and has a proof",
             [f"{name} does not exist" for name in proofs if name not in names]
             + [f"{name} has no proof" for name, proof in proofs.items() if not proof])

    built = programs(options.build.resolve(), include)
    tried = {mutant.header: built.get(CASES.get(mutant.header, Path(mutant.header).stem))
             for mutant in chosen}
    counts = {"caught": 0, "equivalent": 0, "survived": 0}
    begin = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        used = list({id(program): program for program in tried.values() if program}.values())
        problems = pool.map(lambda program: unsound(program, options.time_limit), used)
        sound = [None]
        for program, problem in zip(used, problems):
            tap.case(f"{program.name} passes without a mutant", problem)
            sound += [] if problem else [program]
        work = [mutant for mutant in chosen if tried[mutant.header] in sound]
        outcomes = pool.map(lambda mutant: judge(mutant, tried[mutant.header],
                                                 proofs.get(mutant.name), options.time_limit),
                            work)
        for mutant, outcome in zip(work, outcomes):
            counts[outcome.kind] += 1
            tap.case(f"{mutant.name} {outcome.sentence}", outcome.problems)
    tap.note(f"in {(time.monotonic() - begin) / 60:.1f} minutes")
    counts["survived"] += len(chosen) - len(work)
    tap.done(f"mutants {len(chosen)}, "
             + ", ".join(f"{kind} {count}" for kind, count in counts.items()))


if __name__ == "__main__":
    main()
