"""Mmu: the sptes of a VM, read and changed by mmu notifiers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hostsim.core.errors import InvariantError
from hostsim.kvm.engine_state import EngineState
from hostsim.kvm.loops import ageing, dirty_log, law
from hostsim.kvm.loops.armed import count_range
from hostsim.kvm.loops.streams import rearm
from hostsim.spte_index.spte import WRITABLE

Bytes = NDArray[np.uint8]
Gfns = NDArray[np.int64]


class Mmu:
    """Pages are gfns [first, end); ``young`` is uint8[n_pages], 1 or 0. Each effect takes place at ``now_ns``."""

    def __init__(self, state: EngineState) -> None:
        self._state = state

    def before_protection(self, note: Callable[[], None]) -> None:
        """Let ``note`` be called whenever the log or a notifier is about to take W or the mapping from pages."""
        self._state.before_protection = note

    def invalidate_begin(self, first: int, end: int) -> None:
        """Raise mmu_invalidate_in_progress for gfns [first, end); concurrent invalidations widen one common range.

        KVM keeps one range for all of them, mmu_invalidate_range_start and _end (kvm_main.c::kvm_mmu_invalidate_range_add).
        """
        notifier = self._state.kvm.state
        alone = notifier.invalidate_in_progress == 0
        notifier.invalidate_first = first if alone else min(int(notifier.invalidate_first), first)
        notifier.invalidate_end = end if alone else max(int(notifier.invalidate_end), end)
        notifier.invalidate_in_progress += 1

    def invalidate_end(self) -> None:
        """Raise mmu_invalidate_seq, then lower mmu_invalidate_in_progress."""
        # A fault that looked its page up before this moment retries by seq. A fault that looks it up during the
        # invalidation retries by the range. The order of the two writes leaves no gap between the two tests.
        self._state.kvm.state.invalidate_seq += 1
        self._state.kvm.state.invalidate_in_progress -= 1

    def zap(self, first: int, end: int, now_ns: int) -> None:
        """Unmap gfns [first, end) at ``now_ns``, and all of a large spte that maps any of them (kvm_unmap_gfn_range)."""
        self._state.about_to_protect()
        dirty_log.zap_range(self._state.kvm, first, end, now_ns)
        self._state.changed(now_ns)

    def zap_pages(self, gfns: Gfns, now_ns: int) -> None:
        """Do ``zap`` for each run of ``gfns``, int64[k], distinct."""
        ordered = np.sort(gfns)
        for run in np.split(ordered, np.flatnonzero(np.diff(ordered) != 1) + 1):
            self.zap(int(run[0]), int(run[-1]) + 1, now_ns)

    def write_protect(self, gfns: Gfns, now_ns: int) -> None:
        """Take W from the 4 KiB sptes of ``gfns``, int64[k], ascending; the log is left as it is (rmap_write_protect)."""
        kvm, first, end = self._state.kvm, int(gfns[0]), int(gfns[-1]) + 1
        count_range(kvm, first, end, -1)
        kvm.sptes.spte[gfns] &= ~np.uint8(WRITABLE)
        count_range(kvm, first, end, 1)
        rearm(kvm, first, end, now_ns)
        self._state.changed(now_ns)

    def maps_any(self, first: int, end: int) -> bool:
        """Whether any gfn of [first, end) is mapped."""
        return bool(ageing.maps_any(self._state.kvm, first, end))

    def test_young(self, first: int, end: int, young: Bytes) -> int:
        """Set young[first:end] to 1 for pages accessed since they were last made old; return the number of young pages."""
        return int(ageing.test_young(self._state.kvm, first, end, young[first:end]))

    def clear_young(self, first: int, end: int, young: Bytes, now_ns: int, *, flushed: bool = True) -> int:
        """Do ``test_young`` for gfns [first, end), make young pages old at ``now_ns``; return the number of young pages.

        Pages that share a large spte with a young page become old, too.

        young: uint8[n_pages], set in place as by ``test_young``.
        flushed: a completed flush has removed the translations of the pages from all TLBs.
        """
        self._state.about_to_protect()
        found = int(ageing.clear_young(self._state.kvm, first, end, young[first:end], now_ns, flushed))
        self._state.changed(now_ns)
        return found

    def check_counts(self) -> None:
        """InvariantError if the counts of armed pages differ from the sptes."""
        part = int(law.first_miscounted(self._state.kvm))
        if part >= 0:
            raise InvariantError(f"part {part} of the guest's work: armed pages are miscounted")
