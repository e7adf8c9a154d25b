"""The protocol of all indexes of sptes: what KVM asks of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hostsim.spte_index.tables import SpteTables
from hostsim.spte_index.traits import Traits

Bits = NDArray[np.uint8]
SpteNumbers = NDArray[np.int64]


@dataclass(frozen=True)
class Slot:
    """A memslot: gfns [first, end), multiples of 512. Slots of a VM follow each other without a gap from gfn 0."""

    first: int
    end: int

    @property
    def n_pages(self) -> int:
        """Pages of 4 KiB."""
        return self.end - self.first


class SpteIndex(Protocol):
    """Finds sptes by gfn, changes them in ``tables``, and counts what that takes in ``work`` (int64[N_WORK]).

    Numbers that come back are of sptes. ``young``: uint8[end - first], set to 1 for young gfns, in place. ``zapped``: the
    sptes that the last call took away, in the order in which they went.
    """

    @property
    def name(self) -> str:
        """As in the list of designs."""

    @property
    def traits(self) -> Traits:
        """How its answers differ."""

    @property
    def tables(self) -> SpteTables:
        """The sptes."""

    @property
    def work(self) -> NDArray[np.int64]:
        """What was done since the start under the lock."""

    @property
    def background(self) -> NDArray[np.int64]:
        """What was put off until after the lock was dropped."""

    @property
    def zapped(self) -> NDArray[np.int32]:
        """Sptes that the last call unmapped."""

    def map(self, sptes: SpteNumbers, gfns: NDArray[np.int64], flags: int) -> None:
        """Set absent sptes to map ``gfns`` with ``flags``."""

    def make_writable(self, sptes: SpteNumbers) -> None:
        """A write fault each: W and D come on."""

    def drop(self, sptes: SpteNumbers) -> None:
        """The guest changed its page table: these sptes go."""

    def unmap(self, first: int, end: int) -> int:
        """Zap what maps a gfn of [first, end): kvm_unmap_gfn_range."""

    def clear_young(self, first: int, end: int, young: Bits) -> int:
        """Test and clear accessed bits: kvm_age_gfn."""

    def test_young(self, first: int, end: int, young: Bits) -> int:
        """Test accessed bits: kvm_test_age_gfn."""

    def protect_slot(self, slot: int) -> int:
        """Take W from all sptes of a slot: kvm_mmu_slot_remove_write_access."""

    def protect_masked(self, first: int, mask: Bits) -> int:
        """Take W from what maps gfns first + i with mask[i] set, 64 at most: kvm_mmu_write_protect_pt_masked."""

    def harvest(self, slot: int, dirty: Bits) -> int:
        """GET_DIRTY_LOG: what the design does so that the next write of each dirty page is seen.

        dirty: uint8[pages of the slot], the slot's log; a design that logs by hardware fills it in, in place.
        """

    def start_log(self, slot: int) -> int:
        """Logging begins: nothing in the slot stays writable."""

    def stop_log(self, slot: int) -> None:
        """Logging ends."""

    def zap_all(self) -> int:
        """All sptes go: kvm_mmu_zap_all."""

    def delete_slot(self, slot: int) -> int:
        """The slot goes with its sptes, and with what the index keeps for it."""

    def move_slot(self, slot: int) -> int:
        """The slot gets other gfns: as if it were deleted and made anew."""

    def bytes_used(self) -> Mapping[str, int]:
        """Bytes by what they hold; "tables" are the sptes themselves."""
