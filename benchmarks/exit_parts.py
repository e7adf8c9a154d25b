"""A drawn exit by part: each part alone in a loop, on the arrays of a guest in the middle of the row exits.

Alone a part has the caches and the branch prediction to itself, so the parts add up to less than an exit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.exits import DRAWN_NS, N_VCPUS, cpu_s, drawn, writing_guest
from benchmarks.measure import REPEATS
from hostsim.compiled.jit import jit
from hostsim.compiled.record import records
from hostsim.core.latency import note
from hostsim.costs.exits import EXCLUSIVE, WP
from hostsim.kvm.loops.agenda import LAST, SPARE, VCPU_BITS, put
from hostsim.kvm.loops.layout import Ints, Kvm, LoggedExit
from hostsim.kvm.loops.mapping import handle
from hostsim.kvm.loops.mmu_lock import grant_next, join_queue, leave_lock
from hostsim.kvm.loops.streams import choose, find, page_of
from hostsim.kvm.loops.vcpu import log_exit
from hostsim.kvm.loops.work import start_clocks, stop_clocks
from hostsim.spte_index.spte import PRESENT, WRITABLE

AT_WORK, QUEUED = 4, 12
"""vCPUs on the agenda, and at the lock, of the 16: the lock is what all wait for."""
EXITS = 250_000


def all_parts(gib: int) -> dict[str, float]:
    """Time of CPU [ns] of each part of an exit, of the exit, and of the difference; the least of REPEATS."""
    k = _half_way(gib)
    draws = _ns(lambda: _draw(k, EXITS))
    found = {
        "the time of the next touch": draws,
        "its page": _ns(lambda: _draw_pages(k, EXITS)) - draws,
        "five steps of the agenda": _ns(lambda: _agenda_steps(np.full(N_VCPUS + SPARE, LAST, np.int64), EXITS)),
        "mmu_lock: queue, grant, two latencies": _ns(lambda: _grants(k, EXITS)),
        "spte, counts of armed pages, bit in the log": min(_set_ns(gib) for _ in range(REPEATS)),
        "latency of the exit": _ns(lambda: _latencies(k, EXITS)),
        "clock stopped and started, next stream": _ns(lambda: _clocks(k, EXITS)),
        "content version": 0.0,
    }
    with_log = replace(k, log=records(LoggedExit, EXITS))
    exit_ns = 1e9 / max(drawn(gib << 18) for _ in range(REPEATS))
    rest = exit_ns - sum(found.values())
    return found | {
        "the exit": exit_ns, "the exit less its parts": rest,
        "a row in the log of exits, where one is kept": _ns(lambda: _rows(with_log, EXITS)),
    }  # fmt: skip


def _half_way(gib: int) -> Kvm:
    engine = writing_guest(gib << 18)
    engine.advance(DRAWN_NS // 2)
    return engine.kvm


def _set_ns(gib: int) -> float:
    """Each page is set once, so the guest is another one each time."""
    k = _half_way(gib)
    armed = np.flatnonzero(k.sptes.spte & (PRESENT | WRITABLE) == PRESENT)
    pages = np.random.default_rng(1).permutation(armed)[:EXITS]
    _set(k, pages[:1])
    return cpu_s(lambda: _set(k, pages[1:])) / (len(pages) - 1) * 1e9


def _ns(work: Callable[[], Any]) -> float:
    work()
    return min(cpu_s(work) for _ in range(REPEATS)) / EXITS * 1e9


@jit
def _draw(k: Kvm, n: int) -> int:
    for i in range(n):
        find(k, i % N_VCPUS, 0, True)
    return int(k.streams[0].next_work_ns)


@jit
def _draw_pages(k: Kvm, n: int) -> int:
    """As ``_draw``; of the stream drawn longest ago the page, too."""
    total = 0
    for i in range(n):
        find(k, i % N_VCPUS, 0, True)
        total += page_of(k, (i + 1) % N_VCPUS)
    return total


@jit
def _agenda_steps(agenda: Ints, n: int) -> int:
    first, step, entry = N_VCPUS, 1, 0
    for v in range(AT_WORK):
        first -= 1
        entry = put(agenda, first, (v << VCPU_BITS) | v)
    for _ in range(n):
        for _ in range(AT_WORK - 1):
            step = (step * 1103515245 + 12345) & 0x7FFFFFFF
            entry = put(agenda, first, entry + ((300 + (step & 511)) << VCPU_BITS))
        waits = entry
        # The first vCPU goes to the lock, and the one that is granted the lock comes.
        entry = put(agenda, first, waits + (400 << VCPU_BITS))
    return int(entry)


@jit
def _grants(k: Kvm, n: int) -> int:
    now_ns = k.vcpus[0].next_ns
    k.state.lock_writers = k.state.lock_readers = k.state.lock_queued = k.state.lock_head = 0
    for v in range(QUEUED):
        join_queue(k, v, EXCLUSIVE, now_ns)
    for _ in range(n):
        now_ns += 400
        v = grant_next(k, now_ns)
        leave_lock(k.state, EXCLUSIVE)
        join_queue(k, v, EXCLUSIVE, now_ns)
    return int(now_ns)


@jit
def _set(k: Kvm, pages: NDArray[np.int64]) -> int:
    for i in range(len(pages)):
        handle(k, 0, WP, pages[i], 1, 0)
    return int(k.parts[0].armed)


@jit
def _latencies(k: Kvm, n: int) -> int:
    for i in range(n):
        note(k.latencies, WP, 6000 + (i & 1023))
    return int(k.latencies[WP, 0])


@jit
def _clocks(k: Kvm, n: int) -> int:
    now_ns = k.vcpus[0].next_ns
    for i in range(n):
        v = i % N_VCPUS
        now_ns += 400
        stop_clocks(k, v, now_ns)
        start_clocks(k, v, now_ns)
        choose(k, v)
    return int(now_ns)


@jit
def _rows(k: Kvm, n: int) -> int:
    k.state.logged_exits = 0
    for i in range(n):
        log_exit(k, i % N_VCPUS, WP)
    return int(k.state.logged_exits)
