"""The choices of a scenario, a study or a selftest about KVM's MMU under one VM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from hostsim.costs.era import ClearLock, Era
from hostsim.spte_index.designs import DESIGNS
from hostsim.spte_index.protocol import Traits
from hostsim.spte_index.spte import REGION_PAGES

PageSize = Literal["4KiB", "2MiB", "1GiB"]
BACKING_PAGES: dict[PageSize, int] = {"4KiB": 1, "2MiB": REGION_PAGES, "1GiB": REGION_PAGES * REGION_PAGES}
"""4 KiB pages of a host page."""
Mode = Literal["tdp", "direct", "shadow"]
"""Paging; direct: two-dimensional paging through rmaps."""
WriteTracking = Literal["write-protect", "pml", "d-bit"]
"""The mechanism that records the first write to a page."""
AgeingLock = Literal["era", "locked", "lockless"]
"""The mode in which ageing takes mmu_lock: the era's mode, exclusive, or none."""
AGEING_LOCKS: tuple[AgeingLock, ...] = get_args(AgeingLock)
MEASURED: Final = "measured"
"""The run keeps no index: the work on the log costs the times measured on the kernel's own index."""
INDEXES: tuple[str, ...] = (MEASURED, *DESIGNS)
"""Names of the designs that may hold the sptes of a VM."""
PINNING: Final = "E0"
"""Book3S PR pinned the pages of its guests in this era; notifiers came later (about 3.7, assumed)."""


@dataclass(frozen=True)
class MmuSpec:
    """KVM's MMU under one VM.

    era: era of the kernel.
    costs: name or path of the cost sheet.
    mmu: "tdp", "direct" or "shadow".
    page_size: page size of the host's memory under the guest.
    write_tracking: the mechanism that records the first write to a page.
    eager_split: split large sptes when they are protected; None: as the era does with this MMU.
    clear_lock: the way CLEAR takes mmu_lock; None: as the era does. Patches proposed the others (hostsim/data/eras.toml).
    ring_entries: entries of a vCPU's dirty ring.
    index: one of INDEXES, the design that holds the sptes. A design that logs by hardware needs d-bit, a design that
    protects by zapping needs get-dirty-log.
    a_bits: the page tables have accessed bits.
    n_slots: memslots of equal size over the VM's memory.
    """

    era: str = "E4"
    costs: str = "cascade-lake"
    mmu: str = "tdp"
    page_size: PageSize = "4KiB"
    write_tracking: WriteTracking = "write-protect"
    eager_split: bool | None = None
    ring_entries: int = 4096
    index: str = MEASURED
    a_bits: bool = True
    n_slots: int = 1
    clear_lock: ClearLock | None = None


def splits_eagerly(mmu: str, era: Era) -> bool:
    """Whether kernels of ``era`` split large sptes when they protect them.

    Without the TDP MMU they do not, for any value of the parameter eager_page_split
    (mmu.c::kvm_mmu_slot_try_split_huge_pages returns at once).
    """
    return era.eager_split and mmu == "tdp"


def traits_of(index: str) -> Traits:
    """Traits of the design ``index``; for MEASURED the traits of an x86 kernel."""
    return Traits() if index == MEASURED else DESIGNS[index].kind.traits


def pins_pages(index: str, era: str) -> bool:
    """Whether KVM of ``era`` with ``index`` pins the guest's pages, so that the host can neither age nor reclaim them."""
    return era == PINNING and not traits_of(index).has_notifiers
