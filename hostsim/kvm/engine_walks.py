"""Walkers of the engine: threads of the host whose mmu-notifier calls are made among the events of the vCPUs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.core.latency import Latencies
from hostsim.kvm.engine_state import Bytes, EngineState
from hostsim.kvm.lay_out import with_calls
from hostsim.kvm.loops import walker
from hostsim.kvm.loops.layout import (
    CALL_END,
    CALL_FIRST,
    CALL_HOLD,
    CALLS_MAX,
    FOUND_MAX,
    W_PAGES,
    W_YOUNG,
    WALKER_CALLS,
    WALKER_WAITS,
)

Ints = NDArray[np.int64]


class EngineWalks(EngineState):
    """The part of GuestEngine that is about walkers; they are numbered by host slots."""

    @staticmethod
    def calls_at_once(call_pages: int) -> int:
        """Calls about ``call_pages`` each that a walker can be given at a time; 0: one is too long."""
        return min(CALLS_MAX, FOUND_MAX // call_pages)

    def set_flush_ns(self, flush_ns: Ints) -> None:
        """Walkers may come; int64[n_vcpus + 1], what a flush takes them by how many vCPUs are in guest mode."""
        self.kvm.flush_ns[:] = flush_ns
        self.is_walked = True

    def begin_walk(
        self, slot: int, event: int, mode: int, firsts: Ints, ends: Ints, holds_ns: Ints, now_ns: int, *, flushes: bool
    ) -> None:
        """Make calls about pages [firsts, ends), one after the other; then WALKED comes up. All int64[k], k >= 1.

        ``event``: CALL_CLEAR_FLUSH, .. of hostsim.kvm.loops.layout; ``mode``: how each takes mmu_lock, for ``holds_ns``
        and a flush.
        """
        if self.kvm.calls.shape[2] == 0:
            self.kvm = with_calls(self.kvm)
        calls = self.kvm.calls[slot]
        for row, values in ((CALL_FIRST, firsts), (CALL_END, ends), (CALL_HOLD, holds_ns)):
            calls[row, : len(firsts)] = values
        walker.begin_walk(self.kvm, slot, event, mode, flushes, len(firsts), now_ns)
        self._changed(now_ns)

    def take_found(self, slot: int, young: Bytes) -> None:
        """``young`` is 1, too, of pages that the walker has found young."""
        walker.take_found(self.kvm, slot, young)

    def walk_sum(self, column: int) -> int:
        """Of a column of Kvm.walks, over all walkers so far."""
        return int(self.kvm.walks[:, column].sum())

    def walker_waits(self) -> Latencies:
        """Waits of walkers for mmu_lock."""
        return Latencies.counted(self.kvm.latencies[WALKER_WAITS])

    def walked(self, slot: int) -> tuple[Latencies, int, int, float]:
        """Calls that the walker has made since ``take_walked``: latencies, pages asked about, young ones of them.

        And those expected to be old although they were accessed.
        """
        pages, young = self.kvm.walks[slot, [W_PAGES, W_YOUNG]].tolist()
        return Latencies.counted(self.kvm.latencies[WALKER_CALLS + slot]), pages, young, float(self.kvm.unseen[slot])

    def take_walked(self, slot: int, latencies: Latencies) -> tuple[int, int, float]:
        """The same, the latencies added to ``latencies``; the next walker in ``slot`` counts anew."""
        walk = self.kvm.walks[slot]
        latencies.take(self.kvm.latencies[WALKER_CALLS + slot])
        pages, young, false_old = int(walk[W_PAGES]), int(walk[W_YOUNG]), float(self.kvm.unseen[slot])
        walk[W_PAGES] = walk[W_YOUNG] = self.kvm.unseen[slot] = 0
        return pages, young, false_old
