"""The designs of chained nodes: a list a slot, writable sptes only, only while a slot is logged, and a hash by gfn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hostsim.spte_index import chains_loops as kernels
from hostsim.spte_index.base import BaseIndex
from hostsim.spte_index.chains_arrays import BACK_BYTES, HEAD_BYTES, LINK_BYTES, N_NODES, make_chains
from hostsim.spte_index.protocol import Bits, Slot, SpteNumbers
from hostsim.spte_index.rmap import RmapIndex
from hostsim.spte_index.spte import WRITABLE
from hostsim.spte_index.table_walk import link_slot
from hostsim.spte_index.tables import SpteTables
from hostsim.spte_index.traits import Traits
from hostsim.spte_index.walk import PROTECT, ZAP, Walk


class _ChainedIndex(BaseIndex):
    """An index of nodes; ``bits``: 2^bits buckets by gfn, 0: a chain a slot."""

    def __init__(self, tables: SpteTables, slots: Sequence[Slot], traits: Traits, bits: int = 0) -> None:
        super().__init__(tables, slots, traits)
        self.chains = make_chains(self.first, len(tables.flags), bits)

    def index_bytes(self) -> dict[str, int]:
        """Heads, the links of each node, and its way back to the spte."""
        nodes = int(self.chains.state[N_NODES])
        heads = len(self.chains.head) * HEAD_BYTES
        return {"heads": heads, "links": nodes * LINK_BYTES, "back references": nodes * BACK_BYTES}

    def _walk_slots(self, walk: Walk, *, whole: bool = False, let_go: bool = False) -> int:
        """The chains of the slots that the call is about."""
        return sum(
            kernels.walk_chain(self.tables, self.chains, slot, walk, whole, let_go)
            for slot in self.slots_of(walk.first, walk.end)
        )


class SlotListIndex(_ChainedIndex):
    """One list of all sptes of a slot, and nothing else."""

    name: ClassVar[str] = "slot-list"

    def __init__(self, tables: SpteTables, slots: Sequence[Slot]) -> None:
        super().__init__(tables, slots, Traits())

    def place(self, sptes: SpteNumbers, gfns: NDArray[np.int64], flags: int, walk: Walk) -> None:
        """A node each, in front of the slot's list."""
        kernels.map_linked(self.tables, self.chains, sptes, gfns, flags, walk)

    def remove(self, sptes: SpteNumbers, walk: Walk) -> None:
        """Off the list: it is linked both ways."""
        kernels.drop_linked(self.tables, self.chains, sptes, walk)

    def apply(self, walk: Walk) -> int:
        """The lists of the slots that the gfns are in, node by node."""
        return self._walk_slots(walk)

    def protect_slot(self, slot: int) -> int:
        """Every node of the list is meant: no gfn is looked up."""
        return self._walk_slots(self.begin(PROTECT, self.slots[slot].first, self.slots[slot].end), whole=True)

    def harvest(self, slot: int, dirty: Bits) -> int:
        """The whole list, if anything is dirty."""
        return self.protect_slot(slot) if dirty.any() else 0

    def zap_all(self) -> int:
        """All lists."""
        return self._walk_slots(self.begin(ZAP, 0, self.n_pages), whole=True)

    def _zap_slot(self, slot: int) -> int:
        return self._walk_slots(self.begin(ZAP, self.slots[slot].first, self.slots[slot].end), whole=True)


class GfnHashIndex(_ChainedIndex):
    """Hash by gfn with a bounded array of heads."""

    name: ClassVar[str] = "gfn-hash"

    def __init__(self, tables: SpteTables, slots: Sequence[Slot], bits: int = 12) -> None:
        super().__init__(tables, slots, Traits(), bits)

    def place(self, sptes: SpteNumbers, gfns: NDArray[np.int64], flags: int, walk: Walk) -> None:
        """A node each, in the bucket of its gfn."""
        kernels.map_linked(self.tables, self.chains, sptes, gfns, flags, walk)

    def remove(self, sptes: SpteNumbers, walk: Walk) -> None:
        """Off the bucket."""
        kernels.drop_linked(self.tables, self.chains, sptes, walk)

    def apply(self, walk: Walk) -> int:
        """The buckets of the gfns, or all if those are fewer."""
        named = int(np.count_nonzero(walk.mask)) if len(walk.mask) else walk.end - walk.first
        if named > len(self.chains.head):
            return kernels.walk_all_chains(self.tables, self.chains, walk, False, False)
        return kernels.walk_buckets(self.tables, self.chains, walk)

    def zap_all(self) -> int:
        """All buckets."""
        return kernels.walk_all_chains(self.tables, self.chains, self.begin(ZAP, 0, self.n_pages), True, False)


class WritableChainIndex(_ChainedIndex):
    """A chain a slot of its writable sptes: after a flush it is the list of what was written since.

    Unmapping and ageing need ``partner``, another index over the same tables, whose bytes count.
    """

    name: ClassVar[str] = "writable-chain"

    def __init__(self, tables: SpteTables, slots: Sequence[Slot], partner: BaseIndex | None = None) -> None:
        self.partner = partner or RmapIndex(tables, slots)
        super().__init__(tables, slots, self.partner.traits)

    def place(self, sptes: SpteNumbers, gfns: NDArray[np.int64], flags: int, walk: Walk) -> None:
        """Into the partner, and writable ones into the chain."""
        self.partner.place(sptes, gfns, flags, walk)
        if flags & WRITABLE:
            kernels.link_all(self.tables, self.chains, sptes, True, walk.work)
        self._forget_zapped(walk)

    def make_writable(self, sptes: SpteNumbers) -> None:
        """The price of the chain: an insertion with each write fault."""
        super().make_writable(sptes)
        kernels.link_all(self.tables, self.chains, sptes, True, self.work)

    def remove(self, sptes: SpteNumbers, walk: Walk) -> None:
        """Out of both."""
        self.partner.remove(sptes, walk)
        self._forget_zapped(walk)

    def apply(self, walk: Walk) -> int:
        """Protecting walks the chain; the partner finds what is to be zapped or aged."""
        if walk.action == PROTECT:
            return self._walk_slots(walk, let_go=True)
        changed = self.partner.apply(walk)
        self._forget_zapped(walk)
        return changed

    def apply_each(self, walk: Walk, firsts: SpteNumbers, ends: SpteNumbers, rows: NDArray[np.int64]) -> None:
        """Ageing is the partner's."""
        self.partner.apply_each(walk, firsts, ends, rows)

    def _forget_zapped(self, walk: Walk) -> None:
        if len(self.zapped):
            kernels.unlink_all(self.chains, self.zapped, walk.work)

    def protect_slot(self, slot: int) -> int:
        """The whole chain; it is empty afterwards."""
        walk = self.begin(PROTECT, self.slots[slot].first, self.slots[slot].end)
        return self._walk_slots(walk, whole=True, let_go=True)

    def harvest(self, slot: int, dirty: Bits) -> int:  # noqa: ARG002  the chain is the dirty list
        """Walk what is writable."""
        return self.protect_slot(slot)

    def delete_slot(self, slot: int) -> int:
        """The partner's heads go, too."""
        self.partner.gone.add(slot)
        return super().delete_slot(slot)

    def index_bytes(self) -> dict[str, int]:
        """The chain's, and the partner's by its name."""
        other = {f"{self.partner.name}: {part}": n for part, n in self.partner.index_bytes().items()}
        return {**super().index_bytes(), **other}


class LoggedChainIndex(WritableChainIndex):
    """A chain a slot, built when its log begins and freed when it ends; ``partner`` for notifiers and for other slots.

    writable_only: the chain holds writable sptes; else all of the slot.
    """

    name: ClassVar[str] = "logged-chain"
    notes_slots: ClassVar[bool] = True

    def __init__(
        self, tables: SpteTables, slots: Sequence[Slot], partner: BaseIndex | None = None, *, writable_only: bool = False
    ) -> None:
        super().__init__(tables, slots, partner)
        self.writable_only = writable_only
        self.logged: set[int] = set()

    def place(self, sptes: SpteNumbers, gfns: NDArray[np.int64], flags: int, walk: Walk) -> None:
        """Into the partner, and into the chain of a slot that is logged."""
        self.partner.place(sptes, gfns, flags, walk)
        if not self.writable_only or flags & WRITABLE:
            self._link(sptes, gfns)
        self._forget_zapped(walk)

    def _link(self, sptes: SpteNumbers, gfns: NDArray[np.int64] | NDArray[np.int32]) -> None:
        for slot in sorted(self.logged):
            inside = (gfns >= self.slots[slot].first) & (gfns < self.slots[slot].end)
            kernels.link_all(self.tables, self.chains, sptes[inside], self.writable_only, self.work)

    def make_writable(self, sptes: SpteNumbers) -> None:
        """Chained only in a logged slot."""
        BaseIndex.make_writable(self, sptes)
        if self.writable_only:
            self._link(sptes, self.tables.gfn[sptes])

    def apply(self, walk: Walk) -> int:
        """As the writable chain in a logged slot; in another the partner protects, too."""
        if walk.action != PROTECT:
            return super().apply(walk)
        wanted = self.slots_of(walk.first, walk.end)
        if all(slot in self.logged for slot in wanted):
            return self._walk_slots(walk, let_go=self.writable_only)
        return self.partner.apply(walk)

    def protect_slot(self, slot: int) -> int:
        """The chain, if the slot has one; else the tables."""
        walk = self.begin(PROTECT, self.slots[slot].first, self.slots[slot].end)
        if slot in self.logged:
            return self._walk_slots(walk, whole=True, let_go=self.writable_only)
        return self.partner.apply(walk)

    def harvest(self, slot: int, dirty: Bits) -> int:
        """The chain, if anything is dirty."""
        return self.protect_slot(slot) if dirty.any() else 0

    def start_log(self, slot: int) -> int:
        """Build the chain while W is taken away."""
        self.logged.add(slot)
        walk = self.begin(PROTECT, self.slots[slot].first, self.slots[slot].end)
        return link_slot(self.tables, self.chains, walk, 1 << slot, self.writable_only)

    def stop_log(self, slot: int) -> None:
        """Free the chain."""
        self.logged.discard(slot)
        kernels.free_chain(self.chains, slot, self.begin(PROTECT).work)
