"""The dirty log of a VM as its engine keeps it, and law 3: no write is lost."""

from __future__ import annotations

import numpy as np

from hostsim.core.errors import InvariantError
from hostsim.kvm.engine_state import Bytes, EngineState
from hostsim.kvm.loops import dirty_log, law

RECOVERY: dict[str, int] = {
    "none": dirty_log.RECOVER_NONE, "zap": dirty_log.RECOVER_ZAP, "in-place": dirty_log.RECOVER_IN_PLACE,
}  # fmt: skip


class EngineLog(EngineState):
    """The part of GuestEngine that is about the log."""

    # -- dirty log; each effect takes place at now_ns

    def count_start(self, *, splits: bool) -> tuple[int, int]:
        """(as ``count_large``, small sptes with the flag that logging takes)."""
        return self.count_large(0, self.memory.n_pages, splits), int(dirty_log.count_small(self.kvm))

    def start_log(self, all_set: bool, eager: bool, now_ns: int) -> None:
        """Logging is on. all_set: all is dirty and nothing protected; eager: large sptes are split, else they lose W."""
        dirty_log.start_log(self.kvm, all_set, eager, now_ns)
        self._changed(now_ns)

    def count_recoverable(self) -> int:
        """Regions that would become large again."""
        return int(dirty_log.count_recoverable(self.kvm))

    def stop_log(self, recovery: str, now_ns: int) -> None:
        """Logging is off. recovery: none, zap or in-place."""
        dirty_log.stop_log(self.kvm, RECOVERY[recovery], now_ns)
        self._changed(now_ns)

    def mark_due(self, due: Bytes, first: int, end: int, got: Bytes | None = None) -> int:
        """Mark in ``due`` the dirty pages of [first, end), with ``got`` those of them that it has; how many."""
        return int(dirty_log.mark_due(self.kvm, due, due if got is None else got, got is not None, first, end))

    def count_large(self, first: int, end: int, splits: bool) -> int:
        """Large sptes of pages [first, end), or tables that split those there: one of 1 GiB takes one more."""
        return int(dirty_log.count_large(self.kvm, first, end, splits))

    def clear(
        self,
        due: Bytes,
        first: int,
        end: int,
        *,
        split: bool,
        protect_large: bool,
        now_ns: int,
        got: Bytes | None = None,
        bmap: Bytes | None = None,
    ) -> int:
        """Log bit and flag of pages of [first, end) in ``due`` go; large sptes there are split or lose W.

        What is in ``due`` goes from ``got`` and into ``bmap``. Returns how many pages were new in bmap; due is zero then.
        """
        new = 0
        if bmap is not None:
            new = int((due[first:end] > bmap[first:end]).sum())
            bmap[first:end] |= due[first:end]
        if got is not None:
            got[first:end] &= 1 - due[first:end]
        dirty_log.clear(self.kvm, due, first, end, split, protect_large, now_ns)
        self._changed(now_ns)
        return new

    def copy_log(self, got: Bytes, bmap: Bytes) -> tuple[int, int]:
        """``got`` and ``bmap`` take in the log: (pages in got, of them new in bmap)."""
        new = int(dirty_log.copy_log(self.kvm, got, bmap))
        return int(np.count_nonzero(got)), new

    def take_rings(self, got: Bytes) -> tuple[int, int]:
        """User space collects all ring entries: (entries, masks they will be reset in)."""
        counts = np.zeros(2, np.int64)
        dirty_log.take_rings(self.kvm, got, counts)
        return int(counts[0]), int(counts[1])

    def reset_taken(self, now_ns: int) -> None:
        """KVM_RESET_DIRTY_RINGS takes effect for what was collected."""
        dirty_log.reset_rings(self.kvm, now_ns)
        self._changed(now_ns)

    # -- law 3

    def first_unrecorded(self, first: int = 0, end: int | None = None) -> int:
        """First of gfns [first, end) that can be written without an exit and has no record, or -1."""
        return int(law.first_unrecorded(self.kvm, first, self.memory.n_pages if end is None else end))

    def first_unharvested(self, got: Bytes) -> int:
        """First gfn with a record that user space has not got, or -1."""
        return int(law.first_unharvested(self.kvm, got, self.memory.n_pages))

    def check_counts(self) -> None:
        """InvariantError if armed pages are not counted right."""
        part = int(law.first_miscounted(self.kvm))
        if part >= 0:
            raise InvariantError(f"part {part} of the guest's work: armed pages are miscounted")
