"""Walkers: threads of the host whose mmu-notifier calls the compiled loops make among the events of the vCPUs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.core.latency import Latencies
from hostsim.kvm.engine_state import EngineState
from hostsim.kvm.lay_out import with_calls
from hostsim.kvm.loops import walker
from hostsim.kvm.loops.layout import CALLS_MAX, FOUND_MAX, WALKER_CALLS, WALKER_WAITS

Ints = NDArray[np.int64]


class Walked(NamedTuple):
    """The calls of one walker so far.

    latencies: of the calls.
    pages: pages of all calls.
    young: pages that calls found young.
    false_old: expected number of pages that calls found old although the guest had accessed them.
    """

    latencies: Latencies
    pages: int
    young: int
    false_old: float


class Walkers:
    """Walkers, at most one a host slot; ``may_come``: the engine advances vCPUs by the loop that handles walkers."""

    def __init__(self, state: EngineState) -> None:
        self._state = state
        self.may_come = False

    @staticmethod
    def calls_at_once(call_pages: int) -> int:
        """Calls of ``call_pages`` pages that one ``begin`` takes; 0: such a call is too long."""
        return min(CALLS_MAX, FOUND_MAX // call_pages)

    def set_flush_ns(self, flush_ns: Ints) -> None:
        """Allow walkers. ``flush_ns``: int64[n_vcpus + 1], length of a flush [ns] by the number of vCPUs in guest mode."""
        self._state.kvm.flush_ns[:] = flush_ns
        self.may_come = True

    def begin(
        self, slot: int, event: int, mode: int, firsts: Ints, ends: Ints, holds_ns: Ints, now_ns: int, *, flushes: bool
    ) -> None:
        """Start the calls of the walker in ``slot``, one after the other; the engine delivers WALKED after the last.

        event: CALL_CLEAR_FLUSH, .. of hostsim.kvm.loops.layout.
        mode: NONE, SHARED or EXCLUSIVE, the mode in which each call takes mmu_lock.
        firsts, ends: int64[k], gfns, k >= 1: call i is about pages [firsts[i], ends[i]).
        holds_ns: int64[k], work under the lock [ns], without a flush.
        flushes: a call that finds young pages flushes.
        """
        if self._state.kvm.calls.shape[1] == 0:
            self._state.kvm = with_calls(self._state.kvm)
        for name, values in (("first", firsts), ("end", ends), ("hold_ns", holds_ns)):
            self._state.kvm.calls[name][slot, : len(firsts)] = values
        walker.begin_walk(self._state.kvm, slot, event, mode, flushes, len(firsts), now_ns)
        granted = self._state.granted(now_ns)
        assert not granted, "a walker's grant is an event of the loops, not of the host"

    def take_found(self, slot: int, young: NDArray[np.uint8]) -> None:
        """Set ``young`` (uint8[n_pages], in place) to 1 for pages that the walker has found young; keep other entries."""
        walker.take_found(self._state.kvm, slot, young)

    def sum(self, name: str) -> int:
        """Sum of field ``name`` of Walk (wait_ns, ..) over all walkers so far."""
        return int(self._state.kvm.walks[name].sum())

    def waits(self) -> Latencies:
        """Waits of walkers for mmu_lock."""
        return Latencies.counted(self._state.kvm.latencies[WALKER_WAITS])

    def walked(self, slot: int) -> Walked:
        """The calls that the walker in ``slot`` has made since ``take_walked``."""
        walk = self._state.kvm.walks[slot]
        found = Latencies.counted(self._state.kvm.latencies[WALKER_CALLS + slot])
        return Walked(found, int(walk.pages), int(walk.young), float(self._state.kvm.unseen[slot]))

    def take_walked(self, slot: int, latencies: Latencies) -> Walked:
        """As ``walked``, with its latencies added to ``latencies``; the next walker in ``slot`` starts its counts at 0."""
        walked = self.walked(slot)
        latencies.take(self._state.kvm.latencies[WALKER_CALLS + slot])
        walk = self._state.kvm.walks[slot]
        walk.pages = walk.young = self._state.kvm.unseen[slot] = 0
        return walked
