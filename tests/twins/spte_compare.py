"""One index and its twin, driven by the same drawn operations and compared after each."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from hostsim.spte_index.chains import N_NODES
from hostsim.spte_index.designs import DESIGNS, make_index, tables_for
from hostsim.spte_index.protocol import Slot
from hostsim.spte_index.rmap import MAPPED, RmapIndex
from hostsim.spte_index.slot_list import SlotListIndex
from hostsim.spte_index.spte import DIRTY, PRESENT, WRITABLE
from hostsim.spte_index.tables import ACCESSED, ENTRIES, take_tables
from hostsim.spte_index.writable_chain import WritableChainIndex
from tests.twins.spte_twin import TwinIndex, TwinSpte

SLOTS = (Slot(0, 1024), Slot(1024, 1536), Slot(1536, 2560))
N_PAGES = 2560
REGIONS = N_PAGES // ENTRIES
HOT_GFNS = (3, 4, 5, 511, 512, 1023, 1024, 1100, 1535, 1536, 2559)
RECYCLE, CAP, N_VCPUS = 5, 12, 2
"""Small, so that they are met."""
OPTIONS: dict[str, dict[str, Any]] = {
    **{name: {"recycle": RECYCLE} for name, design in DESIGNS.items() if issubclass(design.kind, RmapIndex)},
    "gfn-hash": {"bits": 3},
    "book3s-pr": {"n_vcpus": N_VCPUS, "cap": CAP},
}
OPS = (
    "map", "map", "map", "write", "write", "read", "drop", "unmap", "clear_young", "test_young", "protect_slot",
    "protect_masked", "harvest", "harvest", "start_log", "stop_log", "zap_all", "delete_slot", "move_slot",
)  # fmt: skip
SMALL_TABLES = 3
"""Indirect tables, beside a direct one for each region."""


class Pair:
    """``design`` and its twin over direct tables, indirect ones of two spaces and vCPUs, and one of large sptes."""

    def __init__(self, design: str) -> None:
        self.index_tables(design)
        self.index = make_index(design, self.tables, SLOTS, **OPTIONS.get(design, {}))
        self.twin = TwinIndex(SLOTS, self.index.traits)
        self.log: dict[int, set[int]] = {}
        self.gone: set[int] = set()

    def index_tables(self, design: str) -> None:
        self.tables = tables_for(design, REGIONS + SMALL_TABLES + 1, N_PAGES)
        take_tables(self.tables, [r * ENTRIES for r in range(REGIONS)])
        for space in range(1, SMALL_TABLES + 1):
            take_tables(self.tables, [ENTRIES * (2 + space)], space, direct=False, vcpu=space % N_VCPUS)
        take_tables(self.tables, [0], level=1)
        traits = DESIGNS[design].kind.traits
        self.has_large, self.one_spte = not traits.hashed, traits.one_spte

    def step(self, op: str, seed: int) -> None:
        """Do ``op`` to both; AssertionError where they differ."""
        method: Callable[[Random], None] = getattr(self, f"_{op}")
        method(Random(seed))
        assert self.content() == {n: (s.gfn, s.flags) for n, s in self.twin.sptes.items()}
        self.check_structure()

    def content(self) -> dict[int, tuple[int, int]]:
        present = np.flatnonzero(self.tables.flags)
        return {int(n): (int(self.tables.gfn[n]), int(self.tables.flags[n])) for n in present}

    def check_structure(self) -> None:
        """As many entries as present sptes, nothing left behind."""
        present = len(self.twin.sptes)
        assert int(self.tables.used.sum()) == present
        if isinstance(self.index, RmapIndex):
            assert int(self.index.rmap.state[MAPPED:].sum()) == present
            assert int(self.index.lengths().sum()) == sum(s.n_pages == 1 for s in self.twin.sptes.values())
        if isinstance(self.index, SlotListIndex):
            assert int(self.index.chains.state[N_NODES]) == present
        if type(self.index) is WritableChainIndex:
            writable = sum(s.flags & WRITABLE != 0 for s in self.twin.sptes.values())
            assert int(self.index.chains.state[N_NODES]) == writable

    # Drawing.

    def _gfn(self, rng: Random) -> int:
        return rng.choice(HOT_GFNS) if rng.random() < 0.7 else rng.randrange(N_PAGES)

    def _spte(self, rng: Random) -> tuple[int, TwinSpte]:
        """A place and the gfn that it would map."""
        kind = rng.random()
        flags = PRESENT | rng.choice((0, ACCESSED)) | rng.choice((0, WRITABLE | DIRTY))
        if kind < 0.1 and self.has_large:
            entry = rng.randrange(REGIONS)
            return (REGIONS + SMALL_TABLES) * ENTRIES + entry, TwinSpte(entry * ENTRIES, ENTRIES, flags, 0)
        gfn = self._gfn(rng)
        if kind < 0.5 or self.one_spte:
            return gfn, TwinSpte(gfn, 1, flags, 0)
        table = REGIONS + rng.randrange(SMALL_TABLES)
        return table * ENTRIES + rng.choice((rng.randrange(ENTRIES), rng.randrange(6))), TwinSpte(
            gfn, 1, flags, int(self.tables.vcpu[table])
        )

    def _is_free(self, number: int, spte: TwinSpte, taken: set[int]) -> bool:
        if number in self.twin.sptes or number in taken or self._slot(spte.gfn) in self.gone:
            return False
        met = any(self.twin.of_gfn[gfn] for gfn in spte.gfns())
        return not (self.one_spte and met)

    def _slot(self, gfn: int) -> int:
        return next(i for i, slot in enumerate(SLOTS) if gfn < slot.end)

    def _mapped(self, rng: Random) -> list[int]:
        numbers = sorted(self.twin.sptes)
        return rng.sample(numbers, min(len(numbers), rng.choice((1, 2, 5)))) if numbers else []

    def _range(self, rng: Random) -> tuple[int, int]:
        first = self._gfn(rng)
        return first, min(N_PAGES, first + rng.choice((1, 1, 2, 64, 600, N_PAGES)))

    def _record(self, gfns: range) -> None:
        slot = self._slot(gfns[0])
        if slot in self.log:
            self.log[slot] |= set(gfns)

    # Operations.

    def _map(self, rng: Random) -> None:
        drawn: dict[int, TwinSpte] = {}
        for _ in range(rng.choice((1, 3, 8))):
            number, spte = self._spte(rng)
            spte.flags = drawn[min(drawn)].flags if drawn else spte.flags
            inside = {gfn for other in drawn.values() for gfn in other.gfns()}
            clash = self.one_spte and inside & set(spte.gfns())
            wide = spte.n_pages > 1 and self._slot(spte.gfn) in self.log  # a logged slot has no large W
            if self._is_free(number, spte, set(drawn)) and not clash and not wide:
                drawn[number] = spte
        if not drawn:
            return
        flags = next(iter(drawn.values())).flags
        numbers = np.array(list(drawn), np.int64)
        gfns = np.array([spte.gfn for spte in drawn.values()], np.int64)
        for spte in drawn.values():
            spte.flags = flags
            if flags & WRITABLE:
                self._record(spte.gfns())
        self.index.map(numbers, gfns, flags)
        self.twin.map(list(drawn.items()))

    def _write(self, rng: Random) -> None:
        chosen = [n for n in self._mapped(rng) if not self._is_logged_large(n)]
        faults = [n for n in chosen if not self.twin.sptes[n].flags & WRITABLE]
        for number in chosen:
            self._record(self.twin.sptes[number].gfns())
            if number not in faults:  # the hardware does it
                self.tables.flags[number] |= ACCESSED | DIRTY
                self.twin.sptes[number].flags |= ACCESSED | DIRTY
        if faults:
            self.index.make_writable(np.array(faults, np.int64))
            self.twin.make_writable(faults)

    def _is_logged_large(self, number: int) -> bool:
        spte = self.twin.sptes[number]
        return spte.n_pages > 1 and self._slot(spte.gfn) in self.log

    def _read(self, rng: Random) -> None:
        for number in self._mapped(rng):
            self.tables.flags[number] |= ACCESSED
            self.twin.sptes[number].flags |= ACCESSED

    def _drop(self, rng: Random) -> None:
        if chosen := self._mapped(rng):
            self.index.drop(np.array(chosen, np.int64))
            self.twin.drop(chosen)

    def _unmap(self, rng: Random) -> None:
        first, end = self._range(rng)
        expected = self.twin.unmap(first, end)
        assert self.index.unmap(first, end) == expected
        assert len(self.index.zapped) == expected

    def _clear_young(self, rng: Random) -> None:
        self._age(rng, clear=True)

    def _test_young(self, rng: Random) -> None:
        self._age(rng, clear=False)

    def _age(self, rng: Random, *, clear: bool) -> None:
        first, end = self._range(rng)
        young = np.zeros(end - first, np.uint8)
        found = (self.index.clear_young if clear else self.index.test_young)(first, end, young)
        assert (found, {first + int(i) for i in np.flatnonzero(young)}) == self.twin.ages(first, end, clear=clear)

    def _protect_slot(self, rng: Random) -> None:
        slot = rng.randrange(len(SLOTS))
        expected = self.twin.protect(set(range(SLOTS[slot].first, SLOTS[slot].end)))
        assert self.index.protect_slot(slot) == expected

    def _protect_masked(self, rng: Random) -> None:
        first = self._gfn(rng) // 64 * 64
        mask = np.array([rng.random() < 0.5 for _ in range(64)], np.uint8)
        expected = self.twin.protect({first + int(i) for i in np.flatnonzero(mask)})
        assert self.index.protect_masked(first, mask) == expected

    def _harvest(self, rng: Random) -> None:
        if not self.log:
            return
        slot = rng.choice(sorted(self.log))
        first = SLOTS[slot].first
        dirty = np.zeros(SLOTS[slot].n_pages, np.uint8)
        if not self.index.traits.logs_by_hardware:
            dirty[[gfn - first for gfn in self.log[slot]]] = 1
        expected, pages = self.twin.harvest(slot, self.log[slot])
        assert self.index.harvest(slot, dirty) == expected
        assert {first + int(i) for i in np.flatnonzero(dirty)} == pages == self.log[slot]
        self.log[slot] = set()

    def _start_log(self, rng: Random) -> None:
        slot = rng.randrange(len(SLOTS))
        if slot not in self.log and slot not in self.gone:
            assert self.index.start_log(slot) == self.twin.start_log(slot)
            self.log[slot] = set()

    def _stop_log(self, rng: Random) -> None:
        if self.log and rng.random() < 0.3:
            slot = rng.choice(sorted(self.log))
            self.index.stop_log(slot)
            del self.log[slot]

    def _zap_all(self, rng: Random) -> None:
        if rng.random() < 0.3:
            assert self.index.zap_all() == self.twin.zap_all()

    def _delete_slot(self, rng: Random) -> None:
        slot = rng.randrange(len(SLOTS))
        if rng.random() < 0.15 and len(self.gone) < 2 and slot not in self.gone and slot not in self.log:
            assert self.index.delete_slot(slot) == self.twin.move_slot(slot)
            self.gone.add(slot)

    def _move_slot(self, rng: Random) -> None:
        slot = rng.randrange(len(SLOTS))
        if rng.random() < 0.3 and slot not in self.gone:
            assert self.index.move_slot(slot) == self.twin.move_slot(slot)
