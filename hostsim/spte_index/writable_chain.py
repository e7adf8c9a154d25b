"""A chain of the writable sptes of a slot, beside another index that unmaps and ages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hostsim.spte_index.chains import ChainedIndex, link_all, unlink_all
from hostsim.spte_index.protocol import BaseIndex, Bits, Gfns, Slot, SpteNumbers
from hostsim.spte_index.rmap import RmapIndex
from hostsim.spte_index.spte import WRITABLE
from hostsim.spte_index.tables import SpteTables
from hostsim.spte_index.walk import PROTECT, Walk


class WritableChainIndex(ChainedIndex):
    """A node for each writable spte, on the chain of its slot; a flush empties the chain.

    After a flush the chain lists the sptes that were written since. Unmapping and ageing go to ``partner``, another index
    over the same sptes, whose bytes count.
    """

    name: ClassVar[str] = "writable-chain"
    partner_kind: ClassVar[type[BaseIndex]] = RmapIndex
    link_bytes: ClassVar[int] = ChainedIndex.link_bytes + RmapIndex.link_bytes
    traits = RmapIndex.traits.but(links_writes=True)

    def __init__(self, tables: SpteTables, slots: Sequence[Slot]) -> None:
        super().__init__(tables, slots)
        self.partner = self.partner_kind(tables, slots)

    def place(self, sptes: SpteNumbers, gfns: Gfns, flags: int, walk: Walk) -> None:
        """Map ``sptes`` to ``gfns`` with ``flags`` through the partner, and chain them if they are writable."""
        self.partner.place(sptes, gfns, flags, walk)
        if flags & WRITABLE:
            link_all(self.tables, self.chains, sptes, True, walk.work)
        self._forget_zapped(walk)

    def make_writable(self, sptes: SpteNumbers) -> None:
        """Chain each spte that a write-protection fault makes writable: this is the price of the chain."""
        super().make_writable(sptes)
        link_all(self.tables, self.chains, sptes, True, self.work)

    def remove(self, sptes: SpteNumbers, walk: Walk) -> None:
        """Take the sptes out of the partner and off the chain."""
        self.partner.remove(sptes, walk)
        self._forget_zapped(walk)

    def apply(self, walk: Walk) -> int:
        """Walk the chain to protect; let the partner find sptes to zap or to age."""
        if walk.action == PROTECT:
            return self.walk_slots(walk, let_go=True)
        changed = self.partner.apply(walk)
        self._forget_zapped(walk)
        return changed

    def apply_each(self, walk: Walk, firsts: Gfns, ends: Gfns, rows: Gfns) -> None:
        """Let the partner age: ``walk``, ``firsts``, ``ends`` and ``rows`` as in BaseIndex.apply_each."""
        self.partner.apply_each(walk, firsts, ends, rows)

    def _forget_zapped(self, walk: Walk) -> None:
        """Free the nodes of the sptes that the partner has zapped in this call."""
        if len(self.zapped):
            unlink_all(self.chains, self.zapped, walk.work)

    def protect_slot(self, slot: int) -> int:
        """Walk the whole chain, which is empty afterwards."""
        return self.walk_slots(self.protecting(slot), whole=True, let_go=True)

    def harvest(self, slot: int, dirty: Bits) -> int:  # noqa: ARG002  the chain is the dirty list
        """Take W from the sptes of ``slot`` that are writable: the chain holds them, so ``dirty`` is not needed."""
        return self.protect_slot(slot)

    def delete_slot(self, slot: int) -> int:
        """Delete a slot with the heads that the partner keeps for it."""
        self.partner.gone.add(slot)
        return super().delete_slot(slot)

    def index_bytes(self) -> dict[str, int]:
        """The bytes of the chain, and those of the partner under its name."""
        other = {f"{self.partner.name}: {part}": n for part, n in self.partner.index_bytes().items()}
        return {**super().index_bytes(), **other}
