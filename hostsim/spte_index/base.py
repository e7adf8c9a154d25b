"""What all indexes have in common: a call is one operation under one lock, made of three primitives of the design."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hostsim.spte_index.protocol import Bits, Slot, SpteNumbers
from hostsim.spte_index.tables import SpteTables, table_bytes
from hostsim.spte_index.traits import Traits
from hostsim.spte_index.walk import CLEAR_YOUNG, PROTECT, TEST_YOUNG, ZAP, Walk, grant_writes, note_slots
from hostsim.spte_index.work import LOCKS, N_WORK, OPERATIONS, ZAPPED, forget_lines, make_work

NO_BITS = np.zeros(0, np.uint8)


class BaseIndex(ABC):
    """Calls of ``SpteIndex`` by the primitives ``place``, ``remove`` and ``apply`` of a design."""

    name: ClassVar[str] = ""
    notes_slots: ClassVar[bool] = False
    """Whether tables know which slots they hold sptes of."""

    def __init__(self, tables: SpteTables, slots: Sequence[Slot], traits: Traits) -> None:
        self.tables, self.slots, self.traits = tables, tuple(slots), traits
        self.first = np.array([*(slot.first for slot in slots), slots[-1].end], np.int64)
        assert self.first[0] == 0
        assert all(slot.end == after for slot, after in zip(slots, self.first[1:], strict=True))
        self.work, self.background = make_work(), make_work()
        self.gone: set[int] = set()
        self._zapped = np.empty(len(tables.flags), np.int32)

    @property
    def n_pages(self) -> int:
        """Pages of all slots."""
        return int(self.first[-1])

    @property
    def zapped(self) -> NDArray[np.int32]:
        """Sptes that the last call unmapped."""
        return self._zapped[: int(self.work[ZAPPED])]

    def kept_pages(self) -> int:
        """Pages of the slots that have not been deleted."""
        return sum(slot.n_pages for i, slot in enumerate(self.slots) if i not in self.gone)

    def slots_of(self, first: int, end: int) -> range:
        """Slots that hold a gfn of [first, end)."""
        low, high = np.searchsorted(self.first, [first, end - 1], side="right")
        return range(int(low) - 1, int(high))

    # The three primitives of a design.

    @abstractmethod
    def place(self, sptes: SpteNumbers, gfns: NDArray[np.int64], flags: int, walk: Walk) -> None:
        """Set ``sptes`` to map ``gfns`` and link them."""

    @abstractmethod
    def remove(self, sptes: SpteNumbers, walk: Walk) -> None:
        """Unlink and zap ``sptes``."""

    @abstractmethod
    def apply(self, walk: Walk) -> int:
        """Find what the call is about and act on it; returns how many sptes were changed."""

    # A call.

    def begin(self, action: int, first: int = 0, end: int = 0, mask: Bits = NO_BITS, young: Bits = NO_BITS) -> Walk:
        """A call of the index."""
        return self.call(Walk(action, first, end, mask, young, self._zapped, self.work))

    def call(self, walk: Walk) -> Walk:
        """It begins: one operation, its lock round trips, no cache line known."""
        forget_lines(walk.work)
        walk.work[ZAPPED] = 0
        walk.work[OPERATIONS] += 1
        walk.work[LOCKS] += self.locks(walk.action)
        return walk

    def locks(self, action: int) -> int:  # noqa: ARG002  one design has others for ageing
        """Lock round trips of a call that does ``action``."""
        return 1

    def map(self, sptes: SpteNumbers, gfns: NDArray[np.int64], flags: int) -> None:
        """Set absent sptes to map ``gfns`` (int64, both) with ``flags``."""
        self.place(sptes, gfns, flags, self.begin(ZAP, 0, self.n_pages))
        if self.notes_slots:
            note_slots(self.tables, sptes, self.first)

    def make_writable(self, sptes: SpteNumbers) -> None:
        """A write fault each: W, D and A come on."""
        grant_writes(self.tables, sptes, self.begin(PROTECT).work)

    def drop(self, sptes: SpteNumbers) -> None:
        """The guest changed its page table: these sptes go."""
        self.remove(sptes, self.begin(ZAP, 0, self.n_pages))

    def unmap(self, first: int, end: int) -> int:
        """Zap what maps a gfn of [first, end)."""
        return self.apply(self.begin(ZAP, first, end))

    def clear_young(self, first: int, end: int, young: Bits) -> int:
        """Test and clear accessed bits."""
        return self.apply(self.begin(CLEAR_YOUNG, first, end, young=young))

    def test_young(self, first: int, end: int, young: Bits) -> int:
        """Test accessed bits."""
        return self.apply(self.begin(TEST_YOUNG, first, end, young=young))

    def age_calls(
        self, firsts: SpteNumbers, ends: SpteNumbers, young: Bits, rows: NDArray[np.int64], *, clears: bool
    ) -> None:
        """Test accessed bits of gfns [firsts[i], ends[i]), and clear them if ``clears``, a call each, in turn.

        young: uint8[ends.max() - firsts.min()], set to 1 in place; rows: int64[calls, N_WORK], filled with what each call
        added to ``work``.
        """
        low, high = int(firsts.min()), int(ends.max())
        action = CLEAR_YOUNG if clears else TEST_YOUNG
        self.apply_each(Walk(action, low, high, NO_BITS, young, self._zapped, self.work), firsts, ends, rows)

    def apply_each(self, walk: Walk, firsts: SpteNumbers, ends: SpteNumbers, rows: NDArray[np.int64]) -> None:
        """Calls for parts of ``walk``; a design that many calls are made to has a loop of its own."""
        for i, (first, end) in enumerate(zip(firsts.tolist(), ends.tolist(), strict=True)):
            before = walk.work.copy()
            young = walk.young[first - walk.first : end - walk.first]
            self.apply(self.call(walk._replace(first=first, end=end, young=young)))
            rows[i] = walk.work - before

    def protect_slot(self, slot: int) -> int:
        """Take W from all sptes of a slot."""
        return self.apply(self.begin(PROTECT, self.slots[slot].first, self.slots[slot].end))

    def protect_masked(self, first: int, mask: Bits) -> int:
        """Take W from what maps gfns first + i with mask[i] set."""
        return self.apply(self.begin(PROTECT, first, first + len(mask), mask))

    def harvest(self, slot: int, dirty: Bits) -> int:
        """GET_DIRTY_LOG: by default each dirty gfn is looked up."""
        return self.protect_masked(self.slots[slot].first, dirty)

    def start_log(self, slot: int) -> int:
        """Logging begins: nothing in the slot stays writable."""
        return self.protect_slot(slot)

    def stop_log(self, slot: int) -> None:  # noqa: B027  most designs keep nothing for a log
        """Logging ends: by default nothing was kept for it."""

    def zap_all(self) -> int:
        """All sptes go."""
        return self.apply(self.begin(ZAP, 0, self.n_pages))

    def delete_slot(self, slot: int) -> int:
        """The slot goes with its sptes, and with what the index keeps for it."""
        zapped = self.move_slot(slot)
        self.gone.add(slot)
        return zapped

    def move_slot(self, slot: int) -> int:
        """The slot gets other gfns: as if it were deleted and made anew."""
        return self.zap_all() if self.traits.zaps_all_on_delete else self._zap_slot(slot)

    def _zap_slot(self, slot: int) -> int:
        return self.unmap(self.slots[slot].first, self.slots[slot].end)

    # Memory.

    def bytes_used(self) -> dict[str, int]:
        """Bytes by what they hold."""
        return {**self.index_bytes(), "tables": table_bytes(self.tables)}

    def index_bytes(self) -> dict[str, int]:
        """Bytes of the index alone."""
        return {}


def put_off(index: BaseIndex, walk: Walk) -> Walk:
    """The same call, its work counted as background."""
    forget_lines(index.background)
    index.background[ZAPPED] = 0
    return walk._replace(work=index.background[:N_WORK])
