"""Tlbs: the TLBs of a VM's vCPUs, if they are modelled: accesses that ageing misses, and flushes that make it see them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hostsim.kvm.engine_state import EngineState
from hostsim.kvm.loops import tlb
from hostsim.kvm.loops.streams import rearm
from hostsim.kvm.miss_chances import Mapped, MissChances
from hostsim.kvm.with_tlb import by_weight, column, count_anew, with_columns


class Tlbs:
    """Not modelled, and without effect, until ``model`` is called."""

    def __init__(self, state: EngineState) -> None:
        self._state = state
        self._levels: NDArray[np.uint8] | None = None
        """Sptes.level when chances were last found."""
        self._chances: Sequence[float] | None = None

    @property
    def is_modelled(self) -> bool:
        """Whether ``model`` was called, and had something to do."""
        return self._levels is not None

    def model(self, now_ns: int, chances: Sequence[float] | None = None) -> None:
        """From now on an access sets an A bit that was cleared without a flush only if it misses the TLB.

        Code that ages a VM calls it first, and again before each pass: chances to miss are found anew if the sizes of the
        mappings have changed. It does nothing without A bits, or where the machine's TLB is not known.
        chances: by touch class, 0 or 1 for sweeps and traces, instead of those that follow from MmuConfig.tlb.
        """
        # Model limit: access tracking without A bits takes effect at once, also where a TLB still has the translation.
        config = self._state.config
        if not config.a_bits or (config.tlb is None and chances is None):
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
        """A remote TLB flush: an IPI to all vCPUs in guest mode, and no stale translation is left; returns how many."""
        running = int(tlb.flush_translations(self._state.kvm, now_ns))
        self._state.changed(now_ns)
        return running

    def judge_old(self, first: int, end: int, now_ns: int) -> float:
        """Pages of [first, end) that are expected to be old although they were accessed since they were last cleared.

        Counting begins anew at ``now_ns``. 0 where TLBs are not modelled.
        """
        return float(tlb.judge_old(self._state.kvm, first, end, now_ns)) if self.is_modelled else 0.0

    def cleared(self) -> NDArray[np.int64] | None:
        """Since when sptes are old [ns], small ones, then large ones; None where TLBs are not modelled."""
        if not self.is_modelled:
            return None
        at = int(self._state.kvm.state.cleared_at)
        return self._state.kvm.tape[at : at + self._n_cleared()].copy()

    def carry(self, cleared: NDArray[np.int64] | None) -> None:
        """The vCPUs have other work: weigh its pages, and keep ``cleared`` of before. No page is counted as armed yet."""
        if cleared is None:
            return
        self._state.kvm.state.cleared_at = 0
        self._weigh()
        at = int(self._state.kvm.state.cleared_at)
        self._state.kvm.tape[at : at + len(cleared)] = cleared

    def _n_cleared(self) -> int:
        return len(self._state.kvm.sptes.spte) + len(self._state.kvm.sptes.level)

    def _weigh(self) -> None:
        """Lay out the weights that pages have while they are STALE."""
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
