"""DirtyLog: the dirty log of a VM as its engine keeps it, and law 3: no write is lost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.kvm.engine_state import EngineState
from hostsim.kvm.loops import dirty_log, law

Bytes = NDArray[np.uint8]
RECOVERY: dict[str, int] = {
    "none": dirty_log.RECOVER_NONE, "zap": dirty_log.RECOVER_ZAP, "in-place": dirty_log.RECOVER_IN_PLACE,
}  # fmt: skip


class DirtyLog:
    """The log of all memory, a bitmap or rings. Each change takes effect at ``now_ns`` and takes no time.

    Masks of pages (``due``, ``got``, ``bmap``) are uint8[n_pages], 1 or 0.
    """

    def __init__(self, state: EngineState) -> None:
        self._state = state

    def count_start(self, *, splits: bool) -> tuple[int, int]:
        """Sptes that switching the log on changes: (``count_large`` of all memory, small sptes with the flag)."""
        return self.count_large(0, self._state.memory.n_pages, splits), int(dirty_log.count_small(self._state.kvm))

    def start(self, all_set: bool, eager: bool, now_ns: int) -> None:
        """Switch the log on.

        all_set: the log starts with all pages dirty and write-protects none.
        eager: split large sptes, else take W from them.
        """
        self._state.about_to_protect()
        dirty_log.start_log(self._state.kvm, all_set, eager, now_ns)
        self._state.changed(now_ns)

    def count_recoverable(self) -> int:
        """Number of regions that get a large spte again when the log is switched off."""
        return int(dirty_log.count_recoverable(self._state.kvm))

    def recoverable_sptes(self) -> NDArray[np.int64]:
        """int64[k]: number of sptes that are to be zapped in each region, or block of 1 GiB, of ``count_recoverable``."""
        n_regions = len(self._state.kvm.sptes.level)
        n = np.zeros(2 * n_regions, np.int64)
        dirty_log.count_recoverable_sptes(self._state.kvm, n)
        return n[n > 0]

    def stop(self, recovery: str, now_ns: int) -> None:
        """Switch the log off. ``recovery``: the treatment of split regions, a key of RECOVERY."""
        dirty_log.stop_log(self._state.kvm, RECOVERY[recovery], now_ns)
        self._state.changed(now_ns)

    def mark_due(self, due: Bytes, first: int, end: int, got: Bytes | None = None) -> int:
        """Mark the dirty pages of [first, end) in ``due``, only those in ``got`` if given; return their number."""
        kvm = self._state.kvm
        return int(dirty_log.mark_due(kvm, due, kvm.sptes.spte if got is None else got, got is not None, first, end))

    def count_due(self, due: Bytes, first: int, end: int, *, splits: bool) -> tuple[int, int]:
        """Pages of [first, end) in ``due`` with a 4 KiB spte, and words of 64 with none; none in large sptes to be split."""
        n = np.zeros(2, np.int64)
        dirty_log.count_due(self._state.kvm, due, first, end, splits, n)
        return int(n[0]), int(n[1])

    def count_large(self, first: int, end: int, splits: bool) -> int:
        """Large sptes of [first, end), or with ``splits`` the tables that split them there: one of 1 GiB takes one more."""
        return int(dirty_log.count_large(self._state.kvm, first, end, splits))

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
        """Take log bit and flag from the pages of [first, end) in ``due``; return the number of pages new in ``bmap``.

        due: in place: set to 0 in [first, end).
        split: split large sptes there.
        protect_large: take W from large sptes there.
        got: in place: loses the pages.
        bmap: in place: gets the pages.
        """
        new = 0
        if bmap is not None:
            new = int((due[first:end] > bmap[first:end]).sum())
            bmap[first:end] |= due[first:end]
        if got is not None:
            got[first:end] &= 1 - due[first:end]
        self._state.about_to_protect()
        dirty_log.clear(self._state.kvm, due, first, end, split, protect_large, now_ns)
        self._state.changed(now_ns)
        return new

    def copy(self, got: Bytes, bmap: Bytes) -> tuple[int, int]:
        """Put all pages of the log into ``got`` and ``bmap``, in place; return (pages in got, pages new in bmap)."""
        new = int(dirty_log.copy_log(self._state.kvm, got, bmap))
        return int(np.count_nonzero(got)), new

    def take_rings(self, got: Bytes, vcpu: int | None = None) -> tuple[int, int]:
        """Collect the ring entries of ``vcpu`` (None: of all) into ``got``, as user space does.

        Returns (entries, masks by which KVM resets them).
        """
        counts, n_vcpus = np.zeros(2, np.int64), len(self._state.kvm.vcpus)
        first, end = (0, n_vcpus) if vcpu is None else (vcpu, vcpu + 1)
        dirty_log.take_rings(self._state.kvm, got, counts, first, end)
        return int(counts[0]), int(counts[1])

    def ring_entries(self) -> NDArray[np.int64]:
        """Entries in the ring of each vCPU that user space has not collected, int64[n_vcpus]."""
        vcpus = self._state.kvm.vcpus
        return np.asarray(vcpus["ring_entries"] - vcpus["ring_taken"], np.int64)

    def reset_rings(self, now_ns: int) -> NDArray[np.int64]:
        """Do KVM_RESET_DIRTY_RINGS: reset the entries that user space has collected; return their pages, int64[entries]."""
        pages = np.empty(int(self._state.kvm.vcpus["ring_taken"].sum()), np.int64)
        dirty_log.taken_pages(self._state.kvm, pages)
        self._state.about_to_protect()
        dirty_log.reset_rings(self._state.kvm, now_ns)
        self._state.changed(now_ns)
        return pages

    def first_unrecorded(self, first: int = 0, end: int | None = None) -> int:
        """First of gfns [first, end), all by default, that is writable without an exit and has no record, or -1."""
        return int(law.first_unrecorded(self._state.kvm, first, self._state.memory.n_pages if end is None else end))

    def first_unrecorded_of(self, pages: NDArray[np.int64]) -> int:
        """As ``first_unrecorded``, of ``pages`` (int64[n]) alone."""
        return int(law.first_unrecorded_of(self._state.kvm, pages))

    def first_unharvested(self, got: Bytes) -> int:
        """First gfn with a record that user space has not collected, or -1."""
        return int(law.first_unharvested(self._state.kvm, got, self._state.memory.n_pages))
