"""The sptes of a VM in an index: kept in step with the guest, asked by the work on the dirty log, priced by its counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hostsim.errors import InvariantError
from hostsim.host.kvm.engine import GuestEngine
from hostsim.host.kvm.index_costs import AddedToFaults, IndexCosts
from hostsim.host.kvm.plan import whole_ns
from hostsim.host.spte_index.base import BaseIndex
from hostsim.host.spte_index.designs import make_index, tables_for
from hostsim.host.spte_index.guests import one_slot
from hostsim.host.spte_index.meter import Meter
from hostsim.kernels.kvm.layout import LOGGED_EXITS
from hostsim.mmu.index.tables import ACCESSED, ENTRIES, take_tables
from hostsim.mmu.memory import GuestMemory
from hostsim.mmu.spte import DIRTY, PRESENT, WRITABLE

Gfns = NDArray[np.int64]
Bits = NDArray[np.uint8]
FULL = PRESENT | WRITABLE | DIRTY | ACCESSED
PORTION_PAGES = 4096
LOG_PAGE = 2
"""Column of the engine's log of exits."""


def index_of(design: str, memory: GuestMemory) -> BaseIndex:
    """The index ``design`` over a direct map of ``memory``: what has content is mapped, linked in the order of gfns."""
    # Model limit: one memslot holds all memory, and the pages of a guest that has run for long are linked in order.
    n_tables = -(-memory.n_pages // ENTRIES)
    slots = one_slot(n_tables * ENTRIES)
    tables = tables_for(design, n_tables, slots[0].n_pages)
    take_tables(tables, np.arange(n_tables) * ENTRIES)
    index = make_index(design, tables, slots)
    _map(index, np.flatnonzero(memory.zero == 0), FULL)
    return index


def _map(index: BaseIndex, gfns: Gfns, flags: int) -> None:
    """In portions: an rmap makes room for as many descriptors as a call maps, and needs none for one spte a gfn."""
    for first in range(0, len(gfns), PORTION_PAGES):
        some = gfns[first : first + PORTION_PAGES]
        index.map(some, some, flags)


@dataclass(frozen=True)
class IndexFigures:
    """design: its name; kernel_has: that of the kernel itself. bytes: by what they hold, "tables" are the sptes themselves.

    start_ns, get_ns, clear_ns, stop_ns: what the calls took, summed, gets and clears: how many; map_ns, wp_ns: added to the
    hold of each such fault.
    """

    design: str
    kernel_has: str
    bytes: dict[str, int]
    start_ns: int
    get_ns: int
    gets: int
    clear_ns: int
    clears: int
    stop_ns: int
    map_ns: float
    wp_ns: float

    @property
    def index_bytes(self) -> int:
        """Bytes beside those of the page tables."""
        return sum(n for what, n in self.bytes.items() if what != "tables")


class IndexedSptes:
    """``index`` beside ``engine``: number of an spte = its gfn. Each call returns what it takes under mmu_lock [ns].

    added: to faults; kernel_has: the design of the kernel itself. owns_log: the engine's log of exits is read by nobody
    else, and starts anew at each call. unlocked_ns: what the last call takes besides, after mmu_lock.
    """

    def __init__(
        self, design: str, index: BaseIndex, engine: GuestEngine, costs: IndexCosts, added: AddedToFaults,
        kernel_has: str, *, owns_log: bool = True,
    ) -> None:  # fmt: skip
        self.design, self.index, self.engine = design, index, engine
        self.added, self.kernel_has = added, kernel_has
        self.harvests, self.switches = Meter(index, costs.harvest), Meter(index, costs.switch)
        self.unlocked_ns = 0
        self._owns_log, self._read = owns_log, 0

    # -- what the work on the log asks, at the grant of mmu_lock

    def start_log(self) -> int:
        """Logging begins: nothing stays writable, or C bits set so far are forgotten."""
        self._follow()
        before = self._armed()
        with self.switches.of("start"):
            self.index.start_log(0)
        self._check(before, before, "when the log was switched on")
        return self._hold_ns(self.switches)

    def stop_log(self) -> int:
        """Logging ends."""
        with self.switches.of("stop"):
            self.index.stop_log(0)
        return self._hold_ns(self.switches)

    def get(self, due: Bits) -> int:
        """KVM_GET_DIRTY_LOG that finds ``due`` (uint8[n_pages]) and protects it."""
        self._follow()
        before, dirty = self._armed(), self._mask(due)
        if self.index.traits.logs_by_hardware:
            dirty[:] = 0
        with self.harvests.of("get"):
            self.index.harvest(0, dirty)
        self._check(before, before & (self._mask(due) == 1), "at a GET")
        return self._hold_ns(self.harvests)

    def clear(self, due: Bits, first: int, end: int) -> int:
        """KVM_CLEAR_DIRTY_LOG of ``due`` in pages [first, end): one call, however many words of the bitmap it has."""
        self._follow()
        before = self._armed()
        with self.harvests.of("clear"):
            self.index.protect_masked(first, due[first:end])
        self._check(before, before & (self._mask(due) == 1), "at a CLEAR")
        return self._hold_ns(self.harvests)

    def figures(self) -> IndexFigures:
        """What it took so far."""
        get, switch = self.harvests, self.switches
        return IndexFigures(
            self.design, self.kernel_has, dict(self.index.bytes_used()),
            start_ns=round(switch.ns["start"]), get_ns=round(get.ns["get"]), gets=get.calls["get"],
            clear_ns=round(get.ns["clear"]), clears=get.calls["clear"], stop_ns=round(switch.ns["stop"]),
            map_ns=self.added.map_ns, wp_ns=self.added.wp_ns,
        )  # fmt: skip

    def _hold_ns(self, meter: Meter) -> int:
        """The call just made: under mmu_lock, or beside it where entries have locks of their own."""
        took_ns, holds = whole_ns(meter.last_ns), self.index.locks() > 0
        self.unlocked_ns = 0 if holds else took_ns
        return took_ns if holds else 1

    # -- in step with the engine

    @property
    def _flag(self) -> int:
        """What a harvest takes."""
        return DIRTY if self.index.traits.logs_by_hardware else WRITABLE

    def _armed(self) -> NDArray[np.bool_]:
        """bool[sptes]: what the next harvest may take the flag from."""
        return np.asarray(self.index.tables.flags & self._flag != 0)

    def _mask(self, due: Bits) -> Bits:
        mask = np.zeros(len(self.index.tables.flags), np.uint8)
        mask[: len(due)] = due
        return mask

    def _follow(self) -> None:
        """What faults did since the last call: first what was mapped, then what was made writable."""
        # Model limit: of one interval between two calls all pages that were mapped are linked before those made writable.
        theirs, tables = self.engine.kvm.sptes.spte, self.index.tables
        rank = self._rank_of_faults()
        absent = (theirs & PRESENT != 0) & (tables.flags == 0)
        for flag in (WRITABLE, 0):
            _map(self.index, _ordered(absent & (theirs & WRITABLE == flag), rank), PRESENT | ACCESSED | flag)
        if self.index.traits.logs_by_hardware:
            tables.flags[:] |= np.where(theirs & PRESENT != 0, theirs & DIRTY, 0)
        elif len(gfns := _ordered((theirs & WRITABLE != 0) & (tables.flags & WRITABLE == 0), rank)):
            self.index.make_writable(gfns)
        self._check_in_step(theirs)

    def _rank_of_faults(self) -> NDArray[np.int32]:
        """int32[sptes]: when the page had its last fault since the call before; not on record: behind all."""
        kvm = self.engine.kvm
        n = int(kvm.state[LOGGED_EXITS])
        pages = kvm.log[self._read : n, LOG_PAGE]
        rank = np.full(len(self.index.tables.flags), len(pages), np.int32)
        rank[pages] = np.arange(len(pages))
        self._read = 0 if self._owns_log else n
        if self._owns_log:
            kvm.state[LOGGED_EXITS] = 0
        return rank

    def _check_in_step(self, theirs: Bits) -> None:
        wanted = PRESENT | self._flag
        wrong = np.flatnonzero((theirs ^ self.index.tables.flags) & wanted)
        if len(wrong):
            raise InvariantError(f"{self.design}: gfn {wrong[0]} is mapped otherwise in the index than in the VM")

    def _check(self, before: NDArray[np.bool_], wanted: NDArray[np.bool_], when: str) -> None:
        """The sptes that the index changed are those that the log is about."""
        wrong = np.flatnonzero((before & ~self._armed()) != wanted)
        if len(wrong):
            raise InvariantError(f"{self.design}: gfn {wrong[0]} is in the log or was protected, not both, {when}")


def _ordered(mask: NDArray[np.bool_], rank: NDArray[np.int32]) -> Gfns:
    """Gfns of ``mask`` by rank, those of equal rank ascending."""
    gfns = np.flatnonzero(mask)
    return gfns[np.argsort(rank[gfns], kind="stable")]
