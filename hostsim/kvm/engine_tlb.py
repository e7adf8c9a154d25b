"""Tlbs: the TLBs of a VM's vCPUs. A TLB hit sets no A bit, so ageing misses accesses until a flush."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hostsim.kvm.engine_state import EngineState
from hostsim.kvm.loops import host, tlb
from hostsim.kvm.loops.streams import rearm
from hostsim.kvm.miss_chances import Mapped, MissChances
from hostsim.kvm.with_tlb import by_weight, column, count_anew, with_columns


class Tlbs:
    """TLBs of one VM; without effect until ``model`` is called."""

    def __init__(self, state: EngineState) -> None:
        self._state = state
        self._levels: NDArray[np.uint8] | None = None
        """Sptes.level at the last computation of the chances."""
        self._chances: Sequence[float] | None = None

    @property
    def is_modelled(self) -> bool:
        """Whether ``model`` was called on a VM that has A bits and known TLBs."""
        return self._levels is not None

    def model(self, now_ns: int, chances: Sequence[float] | None = None) -> None:
        """Model TLBs from now on: an access sets an A bit that was cleared without a flush only if it misses the TLB.

        Code that ages a VM calls ``model`` first, and again before each pass: it computes the chances to miss again if the
        sizes of the mappings have changed. Without A bits, or with an unknown TLB, it has no effect.
        chances: chance to miss by touch class, 0 or 1 for sweeps and traces; None: chances follow from MmuConfig.tlb.
        """
        # Model limit: access tracking without A bits takes effect at once, also where a TLB still has the translation.
        config = self._state.config
        if not config.mmu.a_bits or (config.tlb is None and chances is None):
            return
        levels = self._state.kvm.sptes.level
        if self._levels is not None and np.array_equal(self._levels, levels):
            return
        again = self._levels is not None
        self._levels, self._chances = levels.copy(), chances
        self._weigh()
        count_anew(self._state.kvm)
        if again:
            rearm(self._state.kvm, 0, len(self._state.kvm.sptes.spte), now_ns)
            self._state.changed(now_ns)

    def flush(self, now_ns: int) -> int:
        """Flush the TLBs of all vCPUs by an IPI to those in guest mode; return the number of vCPUs in guest mode."""
        running = int(tlb.flush_translations(self._state.kvm, now_ns))
        self._state.changed(now_ns)
        return running

    def interrupt(self, now_ns: int) -> int:
        """Send an IPI to the vCPUs in guest mode, whose translations stay; return their number."""
        running = int(host.interrupt(self._state.kvm, now_ns))
        self._state.changed(now_ns)
        return running

    def judge_old(self, first: int, end: int, now_ns: int) -> float:
        """Expected number of pages of [first, end) that are old although the guest has accessed them since the last clear.

        Restarts the count at ``now_ns``. 0 without modelled TLBs.
        """
        return float(tlb.judge_old(self._state.kvm, first, end, now_ns)) if self.is_modelled else 0.0

    def cleared(self) -> NDArray[np.int64] | None:
        """int64[k]: the time since which each spte is old [ns], small sptes, then large ones; None without modelled TLBs."""
        if not self.is_modelled:
            return None
        at = int(self._state.kvm.state.cleared_at)
        return self._state.kvm.tape[at : at + self._n_cleared()].copy()

    def carry(self, cleared: NDArray[np.int64] | None) -> None:
        """Weigh the pages of new work and keep ``cleared`` of the old work; no page is counted as armed yet."""
        if cleared is None:
            return
        self._state.kvm.state.cleared_at = 0
        self._weigh()
        at = int(self._state.kvm.state.cleared_at)
        self._state.kvm.tape[at : at + len(cleared)] = cleared

    def _n_cleared(self) -> int:
        return len(self._state.kvm.sptes.spte) + len(self._state.kvm.sptes.level)

    def _weigh(self) -> None:
        """Lay out the weights of pages in the state STALE."""
        state = self._state
        if state.kvm.state.cleared_at == 0:
            state.kvm = by_weight(state.kvm, state.guest)
        length = int(state.kvm.state.cleared_at) + self._n_cleared()
        state.kvm = with_columns(state.kvm, length, self._columns())

    def _columns(self) -> list[NDArray[np.int64]]:
        kvm, config = self._state.kvm, self._state.config
        if self._chances is not None:
            return [column(kvm, c, [np.array([chance])]) for c, chance in enumerate(self._chances)]
        assert config.tlb is not None
        found = MissChances(self._state.guest, Mapped(kvm.sptes.level, config.block_regions), config.tlb)
        return [column(kvm, c, found.of(c)) for c in range(len(kvm.ints))]
