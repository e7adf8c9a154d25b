"""The choices of a scenario, a study or a selftest about KVM's MMU under one VM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from hostsim.spte_index.designs import DESIGNS
from hostsim.spte_index.protocol import Traits
from hostsim.spte_index.spte import REGION_PAGES

PageSize = Literal["4KiB", "2MiB", "1GiB"]
BACKING_PAGES: dict[PageSize, int] = {"4KiB": 1, "2MiB": REGION_PAGES, "1GiB": REGION_PAGES * REGION_PAGES}
"""4 KiB pages of a host page."""
Mode = Literal["tdp", "direct", "shadow"]
"""Paging; direct: two-dimensional paging through rmaps."""
Interface = Literal["get-dirty-log", "clear-dirty-log", "initially-all-set", "dirty-ring"]
WriteTracking = Literal["write-protect", "pml", "d-bit"]
"""What catches the first write to a page."""
INTERFACES: tuple[Interface, ...] = ("get-dirty-log", "clear-dirty-log", "initially-all-set", "dirty-ring")
"""How user space learns of dirty pages: the values of ``dirty_tracking`` beside "tcg"."""
MEASURED: Final = "measured"
"""No index is held: the work on the log costs what was measured on the kernel's own."""
INDEXES: tuple[str, ...] = (MEASURED, *DESIGNS)
"""Names of the designs that may hold the sptes of a VM."""
PINNING: Final = "E0"
"""Book3S PR pinned the pages of its guests in this era; notifiers came later (about 3.7, assumed)."""
INDEXED: tuple[Interface, ...] = ("get-dirty-log", "clear-dirty-log")
"""Interfaces whose work an index is asked to do."""


@dataclass(frozen=True)
class MmuSpec:
    """era: the kernel; costs: the sheet; mmu: tdp, direct or shadow; page_size: of the host's memory under the guest.

    write_tracking: what catches the first write; eager_split: None: as the era does; ring_entries: a vCPU's dirty ring;
    index: one of INDEXES, the design that holds the sptes; one that logs by hardware goes with d-bit alone, one that
    protects by zapping with get-dirty-log alone; a_bits: whether its page tables have accessed bits; n_slots: memslots of
    equal size that its memory is split into.
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


def traits_of(index: str) -> Traits:
    """Traits of the design ``index``; those of any x86 kernel where no index is held."""
    return Traits() if index == MEASURED else DESIGNS[index].kind.traits


def pins_pages(index: str, era: str) -> bool:
    """Whether a guest's pages are pinned, so that the host can neither age them nor take them away."""
    return era == PINNING and not traits_of(index).has_notifiers
