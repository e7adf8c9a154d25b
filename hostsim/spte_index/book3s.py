"""The designs of Book3S: PR with its hashes, HV with a word and a ring a gfn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hostsim.spte_index import hv_rings_loops as hv
from hostsim.spte_index import pr_hashes_loops as pr
from hostsim.spte_index.base import BaseIndex
from hostsim.spte_index.hv_rings_arrays import REVMAP_BYTES, WORD_BYTES, make_hv_rings
from hostsim.spte_index.pr_hashes_arrays import CAP, HEAD_BYTES, LINK_BYTES, REST_BYTES, make_pr_hashes
from hostsim.spte_index.protocol import Bits, Slot, SpteNumbers
from hostsim.spte_index.tables import HPTE_GROUP, SpteTables
from hostsim.spte_index.traits import Traits
from hostsim.spte_index.walk import CLEAR_YOUNG, PROTECT, TEST_YOUNG, ZAP, Walk


class Book3sPrIndex(BaseIndex):
    """Hashes of each vCPU; nothing by gfn. has_notifiers: False in 2010, guest pages were pinned."""

    name: ClassVar[str] = "book3s-pr"

    def __init__(
        self, tables: SpteTables, slots: Sequence[Slot], n_vcpus: int = 1, n_lists: int = 5, cap: int = CAP, *,
        has_notifiers: bool = False,
    ) -> None:  # fmt: skip
        traits = Traits(sees_young=False, protects_by_zapping=True, cap=cap, has_notifiers=has_notifiers)
        super().__init__(tables, slots, traits)
        self.hashes = make_pr_hashes(n_vcpus, len(tables.flags), n_lists, cap)
        self.flushes = 0

    def locks(self, action: int) -> int:
        """One round trip a vCPU: each has a lock of its own. Ageing looks at no list and takes mmu_lock alone."""
        return 1 if action in {CLEAR_YOUNG, TEST_YOUNG} else len(self.hashes.used)

    def place(self, sptes: SpteNumbers, gfns: NDArray[np.int64], flags: int, walk: Walk) -> None:
        """A node on every list; a full vCPU drops all it has first."""
        self.flushes += pr.map_hptes(self.tables, self.hashes, sptes, gfns, flags, walk)

    def remove(self, sptes: SpteNumbers, walk: Walk) -> None:
        """The guest's tlbie of each, found by its effective address."""
        pr.drop_hptes(self.tables, self.hashes, sptes, walk)

    def apply(self, walk: Walk) -> int:
        """Unmapping and protecting invalidate; ageing looks at nothing."""
        if walk.action in {ZAP, PROTECT}:  # kvmppc_mmu_pte_pflush invalidates, whatever for
            return pr.flush_gfns(self.tables, self.hashes, walk._replace(action=ZAP))
        return 0  # kvm_age_gfn_pr: nobody looks

    def harvest(self, slot: int, dirty: Bits) -> int:
        """If anything is dirty all hptes of the slot go (kvm_vm_ioctl_get_dirty_log_pr)."""
        return self.protect_slot(slot) if dirty.any() else 0

    def flush_list(self, vcpu: int, which: int, key: int) -> int:
        """The guest invalidates by a key of list ``which``: hostsim.spte_index.pr_hashes_arrays."""
        walk = self.begin(ZAP, 0, self.n_pages)
        return pr.flush_list(self.tables, self.hashes, vcpu, which, key, walk)

    def zap_all(self) -> int:
        """Every vCPU drops what it has."""
        walk = self.begin(ZAP, 0, self.n_pages)
        return sum(pr.flush_vcpu(self.tables, self.hashes, v, walk) for v in range(len(self.hashes.used)))

    def index_bytes(self) -> dict[str, int]:
        """Heads of each vCPU; of each hpte its links, and the rest."""
        hptes = int(self.hashes.used.sum())
        links = hptes * LINK_BYTES * len(self.hashes.offset)
        return {"heads": self.hashes.head.size * HEAD_BYTES, "links": links, "hptes": hptes * REST_BYTES}


class Book3sHvIndex(BaseIndex):
    """A word a gfn with R and C of what has gone, and a ring through its hptes."""

    name: ClassVar[str] = "book3s-hv"

    def __init__(self, tables: SpteTables, slots: Sequence[Slot]) -> None:
        super().__init__(tables, slots, Traits(keeps_bits=True, logs_by_hardware=True))
        self.rings = make_hv_rings(self.n_pages, len(tables.flags))

    def place(self, sptes: SpteNumbers, gfns: NDArray[np.int64], flags: int, walk: Walk) -> None:
        """Into the rings."""
        hv.map_ring(self.tables, self.rings, sptes, gfns, flags, walk)

    def remove(self, sptes: SpteNumbers, walk: Walk) -> None:
        """Off the rings; R and C stay in the words."""
        hv.drop_ring(self.tables, self.rings, sptes, walk)

    def apply(self, walk: Walk) -> int:
        """Word by word."""
        return hv.walk_rings(self.tables, self.rings, walk)

    def apply_each(self, walk: Walk, firsts: SpteNumbers, ends: SpteNumbers, rows: NDArray[np.int64]) -> None:
        """Words of each call."""
        hv.walk_rings_calls(self.tables, self.rings, walk, firsts, ends, self.locks(walk.action), rows)

    def locks(self, action: int) -> int:  # noqa: ARG002
        """None: each word has a lock bit, counted as an atomic operation."""
        return 0

    def harvest(self, slot: int, dirty: Bits) -> int:
        """Read and clear C of every gfn; returns how many were on, marked in ``dirty``."""
        walk = self.begin(PROTECT, self.slots[slot].first, self.slots[slot].end)
        return hv.read_dirty(self.tables, self.rings, dirty, walk)

    def start_log(self, slot: int) -> int:
        """C of what was written before is read and forgotten."""
        return self.harvest(slot, np.zeros(self.slots[slot].n_pages, np.uint8))

    def index_bytes(self) -> dict[str, int]:
        """Words of the slots; entries beside those of the hash table, used or not."""
        entries = HPTE_GROUP << self.tables.group_bits
        return {"words": self.kept_pages() * WORD_BYTES, "revmap": entries * REVMAP_BYTES}
