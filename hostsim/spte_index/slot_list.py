"""A list of all sptes of a slot, and nothing else."""

from __future__ import annotations

from typing import ClassVar

from hostsim.spte_index.chains import ChainedIndex
from hostsim.spte_index.walk import ZAP, Walk


class SlotListIndex(ChainedIndex):
    """A node for each spte, on the list of its slot: flushing a slot reads no gfn, all else reads the gfn of every spte."""

    name: ClassVar[str] = "slot-list"
    harvests_slots: ClassVar[bool] = True

    def apply(self, walk: Walk) -> int:
        """Walk the lists of the slots that hold the gfns, and compare the gfn of each node."""
        return self.walk_slots(walk)

    def protect_slot(self, slot: int) -> int:
        """Walk the whole list; no gfn is looked up, since every node is meant."""
        return self.walk_slots(self.protecting(slot), whole=True)

    def zap_all(self) -> int:
        """Walk all lists."""
        return self.walk_slots(self.begin(ZAP, 0, self.n_pages), whole=True)

    def _zap_slot(self, slot: int) -> int:
        return self.walk_slots(self.begin(ZAP, self.slots[slot].first, self.slots[slot].end), whole=True)
