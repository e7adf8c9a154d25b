"""mmu-notifier events as KVM handles them: calls test and clear young bits, and invalidate ranges.

Linux virt/kvm/kvm_main.c::kvm_handle_hva_range and the kvm_mmu_notifier_.. that call it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.core.clock import Clock
from hostsim.core.latency import Latencies, merged
from hostsim.core.timeline import Track
from hostsim.costs.exits import EXCLUSIVE, NONE

if TYPE_CHECKING:
    from hostsim.kvm.engine import GuestEngine
    from hostsim.kvm.engine_mmu import Bytes
    from hostsim.kvm.flush import RemoteFlush
    from hostsim.kvm.indexed import IndexedSptes
    from hostsim.kvm.lock import MmuLock

Step = Generator[simpy.Event, Any, None]
Found = Generator[simpy.Event, Any, int]
CLEAR_FLUSH_YOUNG, CLEAR_YOUNG, TEST_YOUNG, RANGE_START, RANGE_END = EVENTS = (
    "clear_flush_young", "clear_young", "test_young", "invalidate_range_start", "invalidate_range_end",
)  # fmt: skip


TRACE_POINTS = {
    CLEAR_FLUSH_YOUNG: "kvm_age_hva", CLEAR_YOUNG: "kvm_age_hva", TEST_YOUNG: "kvm_test_age_hva",
    RANGE_START: "kvm_unmap_hva_range", RANGE_END: "kvm_mmu_notifier_invalidate_range_end",
}  # fmt: skip
"""The kernel's trace point of each event (include/trace/events/kvm.h); the last is a function without one."""


@dataclass(frozen=True)
class NotifierPlan:
    """A kernel's handling of notifier events, with its costs.

    age_page_ns: to read or clear the young bit of a page.
    zap_page_ns: to invalidate a page.
    lock_pair_ns: to take and drop mmu_lock at the end of an invalidation.
    lock_mode: NONE, SHARED or EXCLUSIVE, the mode in which ageing takes mmu_lock.
    flush: clear_flush_young flushes if it found a young page.
    batches: reclaim flushes the host's own TLBs once for pages that it unmapped with a clean pte.
    """

    age_page_ns: float
    zap_page_ns: float
    lock_pair_ns: float
    lock_mode: int = EXCLUSIVE
    flush: bool = True
    batches: bool = True

    def age_ns(self, pages: int) -> int:
        """Time of work on the young bits of ``pages`` pages [ns]."""
        return max(1, round(pages * self.age_page_ns))

    def zap_ns(self, pages: int) -> int:
        """Time to zap the sptes of ``pages`` pages [ns]."""
        return max(1, round(pages * self.zap_page_ns))

    def ages_ns(self, pages: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[k]: ``age_ns`` of each of ``pages``, int64[k]; few differ from the first, so only those are computed."""
        took_ns = np.full(len(pages), self.age_ns(int(pages[0])), np.int64)
        for other in np.flatnonzero(pages != pages[0]).tolist():
            took_ns[other] = self.age_ns(int(pages[other]))
        return took_ns


class MmuNotifier:
    """The mmu notifier of one VM.

    plan: the kernel's handling of events.
    indexed: the sptes in an index, whose work sets the time of calls; None: the plan sets it.
    by_events: each call of a series is a host process of its own, as a check of the engine's walkers.
    """

    def __init__(
        self, env: Clock, engine: GuestEngine, lock: MmuLock, flush: RemoteFlush, plan: NotifierPlan,
        indexed: IndexedSptes | None = None,
    ) -> None:  # fmt: skip
        self.plan, self.indexed, self.by_events = plan, indexed, False
        self._latencies = {event: Latencies() for event in EVENTS}
        self._pages: Counter[str] = Counter()
        self._young = 0
        self._false_old = 0.0
        self._walks: dict[int, str] = {}
        self._env, self._engine, self._lock, self._flush = env, engine, lock, flush
        engine.walks.set_flush_ns(flush.table_ns())

    @property
    def latencies(self) -> dict[str, Latencies]:
        """Latencies of the calls so far by event, waits and flushes included."""
        found = dict(self._latencies)
        for slot, event in self._walks.items():
            found[event] = merged((found[event], self._engine.walks.walked(slot).latencies))
        return found

    @property
    def pages(self) -> Counter[str]:
        """Pages of all calls so far, by event."""
        found = Counter(self._pages)
        for slot, event in self._walks.items():
            found[event] += self._engine.walks.walked(slot).pages
        return found

    @property
    def young(self) -> int:
        """Young pages found by all calls; a page counts once for each call that found it young."""
        return self._young + sum(self._engine.walks.walked(slot).young for slot in self._walks)

    @property
    def false_old(self) -> float:
        """Expected number of pages that the clearing calls found old although the guest accessed them since the call before.

        A TLB held their translation, so the access set no A bit. 0 if the engine does not model TLBs.
        """
        return self._false_old + sum(self._engine.walks.walked(slot).false_old for slot in self._walks)

    def clear_flush_young(self, first: int, end: int, young: Bytes) -> Found:
        """Make pages old, and flush if the kernel does; set young[first:end]. Return the number of young pages."""
        return (yield from self._age(CLEAR_FLUSH_YOUNG, first, end, young))

    def clear_young(self, first: int, end: int, young: Bytes) -> Found:
        """Do ``clear_flush_young`` for gfns [first, end) and ``young`` without a flush: TLBs may keep translations."""
        return (yield from self._age(CLEAR_YOUNG, first, end, young))

    def test_young(self, first: int, end: int, young: Bytes) -> Found:
        """Set young[first:end] without making pages old; return the number of young pages."""
        return (yield from self._age(TEST_YOUNG, first, end, young))

    def each(self, event: str, firsts: NDArray[np.int64], call_pages: int, young: Bytes) -> Found:
        """Make calls of ``event`` for pages [first, first + call_pages) of each of ``firsts``, one after the other.

        firsts: int64[k], gfns.
        young: uint8[n_pages], in place: becomes 1 for pages that a call finds young, and keeps its other entries.
        Returns the number of young pages; a page that two calls find young counts twice.
        """
        by_events = self.by_events or (self.indexed is not None and not self.indexed.sees_young)
        n_calls = 0 if by_events else self._engine.walks.calls_at_once(call_pages)
        slot = self._lock.lend_slot() if n_calls else None
        if slot is None:
            return (yield from self.each_by_events(event, firsts, call_pages, young))
        self._walks[slot] = event
        for at in range(0, len(firsts), n_calls):
            batch = firsts[at : at + n_calls]
            over = self._begin_walk(slot, event, batch, call_pages, len(young))
            gfns = {"calls": len(batch), "start": int(batch.min()), "end": int(batch.max()) + call_pages}
            yield from self._env.traced(self._track, TRACE_POINTS[event], _wait(over), event=event, **gfns)
            self._engine.walks.take_found(slot, young)
        found = self._end_walk(slot)
        self._lock.take_slot_back(slot)
        return found

    def each_by_events(self, event: str, firsts: NDArray[np.int64], call_pages: int, young: Bytes) -> Found:
        """Do ``each`` for ``event``, ``firsts``, ``call_pages`` and ``young``, with one host process for every call."""
        found = 0
        for first in firsts.tolist():
            end = min(first + call_pages, len(young))
            before = young[first:end].copy()
            found += yield from self._age(event, first, end, young)
            young[first:end] |= before
        return found

    def _begin_walk(self, slot: int, event: str, firsts: NDArray[np.int64], call_pages: int, n_pages: int) -> simpy.Event:
        """Let the engine make these calls; the returned event fires after the last."""
        ends = np.minimum(firsts + call_pages, n_pages)
        over = self._lock.walk_over(slot)
        if self.indexed is None:
            holds_ns = self.plan.ages_ns(ends - firsts)
        else:
            holds_ns = self.indexed.age_holds_ns(firsts, call_pages, clears=event != TEST_YOUNG)
        self._engine.walks.begin(
            slot, EVENTS.index(event), self.plan.lock_mode, firsts, ends, holds_ns, self._env.now_ns, flushes=self.plan.flush
        )
        return over

    def _end_walk(self, slot: int) -> int:
        """Add the counts of the walker; return the number of young pages that it found."""
        event = self._walks.pop(slot)
        walked = self._engine.walks.take_walked(slot, self._latencies[event])
        self._pages[event] += walked.pages
        self._young += walked.young
        self._false_old += walked.false_old
        return walked.young

    def look(self, young: Bytes) -> int:
        """Set ``young`` as test_young of all memory would, for an observer: takes no time, and counts as no call."""
        return self._test_young(0, len(young), young)

    def invalidate_range_start(self, first: int, end: int) -> Step:
        """Zap pages [first, end) and flush, under mmu_lock; no fault maps them before invalidate_range_end."""
        yield from self._timed(RANGE_START, first, end, self._lock.during(EXCLUSIVE, self._zap(first, end)))

    def invalidate_range_end(self, first: int, end: int) -> Step:
        """End the invalidation of gfns [first, end): faults that looked a host page up before look it up again."""
        yield from self._timed(RANGE_END, first, end, self._lock.during(EXCLUSIVE, self._end()))

    @property
    def _track(self) -> Track:
        return Track(self._lock.track.process, "mmu notifier", nests=False)

    def _timed(self, event: str, first: int, end: int, work: Step) -> Step:
        asked_ns = self._env.now_ns
        yield from self._env.traced(self._track, TRACE_POINTS[event], work, event=event, start=first, end=end)
        self._latencies[event].record(self._env.now_ns - asked_ns)
        self._pages[event] += end - first

    def _age(self, event: str, first: int, end: int, young: Bytes) -> Found:
        work = self._walk(event, first, end, young)
        locked = work if self.plan.lock_mode == NONE else self._lock.during(self.plan.lock_mode, work)
        yield from self._timed(event, first, end, locked)
        found = int(young[first:end].sum(dtype=int))
        self._young += found
        return found

    def _walk(self, event: str, first: int, end: int, young: Bytes) -> Step:
        """Test, then clear if any page was young at the start; pages that became young meanwhile are cleared as well."""
        hold_ns = self._age_ns(event, first, end)
        found = self._test_young(first, end, young)
        yield self._env.timeout(hold_ns)
        if event == TEST_YOUNG:
            return
        flushes = found > 0 and event == CLEAR_FLUSH_YOUNG and self.plan.flush
        if flushes:
            yield from self._flush()
        self._false_old += self._engine.tlb.judge_old(first, end, self._env.now_ns)
        if found > 0:
            self._engine.mmu.clear_young(first, end, young, self._env.now_ns, flushed=flushes)

    def _age_ns(self, event: str, first: int, end: int) -> int:
        """Time of the walk [ns], computed as it begins: under mmu_lock, if the kernel takes it."""
        if self.indexed is None:
            return self.plan.age_ns(end - first)
        return self.indexed.age_ns(first, end, clears=event != TEST_YOUNG)

    def _test_young(self, first: int, end: int, young: Bytes) -> int:
        """Test young pages in the engine; every page is old where ageing reads no bits (book3s_pr.c::kvm_age_gfn_pr)."""
        if self.indexed is not None and not self.indexed.sees_young:
            young[first:end] = 0
            return 0
        return self._engine.mmu.test_young(first, end, young)

    def _zap(self, first: int, end: int) -> Step:
        hold_ns = self.plan.zap_ns(end - first) if self.indexed is None else self.indexed.zap_ns(first, end)
        self._engine.mmu.invalidate_begin(first, end)
        is_mapped = self._engine.mmu.maps_any(first, end)
        yield self._env.timeout(hold_ns)
        if is_mapped:
            yield from self._flush()
            self._engine.mmu.zap(first, end, self._env.now_ns)

    def _end(self) -> Step:
        self._engine.mmu.invalidate_end()
        yield self._env.timeout(max(1, round(self.plan.lock_pair_ns)))


def _wait(event: simpy.Event) -> Step:
    yield event
