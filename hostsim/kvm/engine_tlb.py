"""The TLBs of a VM's vCPUs, if they are modelled: what ageing does not see, and what a flush brings back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hostsim.kvm.engine_state import EngineState
from hostsim.kvm.loops import layout as lay
from hostsim.kvm.loops import tlb
from hostsim.kvm.loops.streams import rearm
from hostsim.kvm.miss_chances import Mapped, MissChances
from hostsim.kvm.with_tlb import by_weight, column, count_anew, with_columns


class EngineTlb(EngineState):
    """The part of GuestEngine that is about TLBs."""

    def model_tlb(self, now_ns: int, chances: Sequence[float] | None = None) -> None:
        """From now on an access sets an A bit that was cleared without a flush only if it misses the TLB.

        Who ages a VM calls it, and again before each pass: chances to miss are found anew if what maps memory has changed.
        It does nothing without A bits, or where the machine's TLB is not known. ``chances``: by touch class, 0 or 1 for
        sweeps and traces, instead of those that follow from MmuConfig.tlb.
        """
        # Model limit: access tracking without A bits takes effect at once, also where a TLB still has the translation.
        if not self.config.a_bits or (self.config.tlb is None and chances is None):
            return
        levels = self.kvm.sptes.level
        if self._tlb_levels is not None and np.array_equal(self._tlb_levels, levels):
            return
        again = self._tlb_levels is not None
        self._tlb_levels, self._tlb_chances = levels.copy(), chances
        self._weigh()
        count_anew(self.kvm)
        if again:
            rearm(self.kvm, 0, len(self.kvm.sptes.spte), now_ns)
            self._changed(now_ns)

    @property
    def models_tlb(self) -> bool:
        """Whether ``model_tlb`` was called, and had something to do."""
        return self._tlb_levels is not None

    def _weigh(self) -> None:
        """Lay out what STALE pages weigh."""
        if self.kvm.state[lay.CLEARED] == 0:
            self.kvm = by_weight(self.kvm, self._guest)
        length = int(self.kvm.state[lay.CLEARED]) + len(self.kvm.sptes.spte) + len(self.kvm.sptes.level)
        self.kvm = with_columns(self.kvm, length, self._columns())

    def _columns(self) -> list[NDArray[np.int64]]:
        if self._tlb_chances is not None:
            return [column(self.kvm, c, [np.array([chance])]) for c, chance in enumerate(self._tlb_chances)]
        assert self.config.tlb is not None
        found = MissChances(self._guest, Mapped(self.kvm.sptes.level, self.config.block_regions), self.config.tlb)
        return [column(self.kvm, c, found.of(c)) for c in range(len(self.kvm.ints))]

    def _carry_tlb(self, cleared: NDArray[np.int64]) -> None:
        """The vCPUs have other work; cleared: since when sptes are old, of before. Nothing is counted as armed."""
        self.kvm.state[lay.CLEARED] = 0
        self._weigh()
        at = int(self.kvm.state[lay.CLEARED])
        self.kvm.tape[at : at + len(cleared)] = cleared

    def _cleared(self) -> NDArray[np.int64]:
        at = int(self.kvm.state[lay.CLEARED])
        return self.kvm.tape[at : at + len(self.kvm.sptes.spte) + len(self.kvm.sptes.level)].copy()

    def flush_translations(self, now_ns: int) -> int:
        """A remote TLB flush: ``interrupt``, and no vCPU has an old translation; returns how many were in guest mode."""
        running = int(tlb.flush_translations(self.kvm, now_ns))
        self._changed(now_ns)
        return running

    def judge_old(self, first: int, end: int, now_ns: int) -> float:
        """How many of pages [first, end) are expected to be old although they were accessed since they were last cleared.

        It begins anew with ``now_ns``. 0 where TLBs are not modelled.
        """
        return float(tlb.judge_old(self.kvm, first, end, now_ns)) if self.models_tlb else 0.0
