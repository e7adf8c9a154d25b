"""A vCPU's dirty ring, as user space collects it (Linux virt/kvm/dirty_ring.c, api.rst 8.29)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.measure.kvm import abi
from hostsim.measure.kvm.page_tables import PAGE_BYTES
from hostsim.measure.kvm.region import Region

ENTRY = np.dtype([("flags", np.uint32), ("slot", np.uint32), ("offset", np.uint64)])
"""struct kvm_dirty_gfn."""
BLOCK = 1024
"""Entries that a harvest looks at together."""


class DirtyRing:
    """n_entries: a power of two; memory is shared with KVM."""

    ENTRY_BYTES = ENTRY.itemsize

    def __init__(self, vcpu_fd: int, n_entries: int) -> None:
        at = abi.KVM_DIRTY_LOG_PAGE_OFFSET * PAGE_BYTES
        self._region = Region.shared(vcpu_fd, n_entries * self.ENTRY_BYTES, at)
        self._entries, self._n, self._next = self._region.array(ENTRY), n_entries, 0

    def harvest(self) -> NDArray[np.void]:
        """Entries that KVM has pushed since the last harvest, in their order; they are marked for the reset.

        x86 keeps stores in order, so an entry whose flag is seen is whole, and its flag is changed after it was copied.
        """
        parts = [self._harvest_block()]
        while len(parts[-1]) == min(BLOCK, self._n) and sum(map(len, parts)) < self._n:
            parts.append(self._harvest_block())
        return np.concatenate(parts)

    def _harvest_block(self) -> NDArray[np.void]:
        """The next entries, at most BLOCK: the rest of the ring is not looked at while these are not all there."""
        order = (self._next + np.arange(min(BLOCK, self._n))) % self._n
        dirty = self._entries["flags"][order] & (abi.KVM_DIRTY_GFN_F_DIRTY | abi.KVM_DIRTY_GFN_F_RESET)
        fresh = dirty == abi.KVM_DIRTY_GFN_F_DIRTY
        count = len(order) if fresh.all() else int(np.argmin(fresh))
        found = self._entries[order[:count]].copy()
        self._entries["flags"][order[:count]] |= abi.KVM_DIRTY_GFN_F_RESET
        self._next = (self._next + count) % self._n
        return found

    def close(self) -> None:
        """Unmap it."""
        self._region.close()
