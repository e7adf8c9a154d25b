"""The sptes of a VM in an index, which dirty-log work and mmu notifiers call, priced by its counted work."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hostsim.core.errors import InvariantError
from hostsim.core.memory import GuestMemory
from hostsim.kvm.engine import GuestEngine
from hostsim.kvm.index_costs import AddedToFaults, IndexCosts
from hostsim.kvm.index_step import InStep, map_in_portions
from hostsim.kvm.loops.layout import TRACKS, ZAPS
from hostsim.kvm.plan import whole_ns
from hostsim.spte_index.designs import make_index, tables_for
from hostsim.spte_index.guests import one_slot
from hostsim.spte_index.meter import Meter
from hostsim.spte_index.protocol import BaseIndex
from hostsim.spte_index.spte import DIRTY, PRESENT, WRITABLE
from hostsim.spte_index.tables import ACCESSED, ENTRIES, take_tables
from hostsim.spte_index.walk import PROTECT

Gfns = NDArray[np.int64]
Bits = NDArray[np.uint8]
Mask = NDArray[np.bool_]
FULL = PRESENT | WRITABLE | DIRTY | ACCESSED
AGED, UNMAPPED = "age", "unmap"
"""Work of the index for notifiers."""


def index_of(design: str, memory: GuestMemory, cap_pages: int = 0, *, has_notifiers: bool = True) -> BaseIndex:
    """The index ``design`` over a direct map of ``memory``: pages with content are mapped, linked in the order of gfns.

    cap_pages: most hptes, 0: the design has no cap.
    has_notifiers: the host's kernel has mmu notifiers.
    """
    # Model limit: one memslot holds all memory, and the pages of a guest that has run for long are linked in order.
    # Model limit: the guest has reached the cap of a design with a cap when the run begins: the next fault unmaps all.
    n_tables = -(-memory.n_pages // ENTRIES)
    slots = one_slot(n_tables * ENTRIES)
    tables = tables_for(design, n_tables, slots[0].n_pages)
    take_tables(tables, np.arange(n_tables) * ENTRIES)
    options: dict[str, Any] = {}
    if cap_pages:
        options = {"cap": min(cap_pages, len(tables.flags)), "has_notifiers": has_notifiers}
    index = make_index(design, tables, slots, **options)
    map_in_portions(index, np.flatnonzero(memory.zero == 0)[: cap_pages or None], FULL)
    return index


@dataclass(frozen=True)
class IndexFigures:
    """Work and size of an index in a run.

    design: name of the design.
    kernel_has: design of the kernel itself.
    bytes: bytes by content at the largest size of the index; "tables" are the sptes themselves.
    start_ns, get_ns, clear_ns, stop_ns: time of the calls on the log, summed.
    gets, clears: number of those calls.
    map_ns, wp_ns: time added to the hold of each such fault.
    age_ns, unmap_ns: time of notifier calls, summed; ages, unmaps: their number.
    emptied: faults that found the cap of the design reached and unmapped all hptes.
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
    age_ns: int
    ages: int
    unmap_ns: int
    unmaps: int
    emptied: int

    @property
    def index_bytes(self) -> int:
        """Bytes of the index without the page tables."""
        return sum(n for what, n in self.bytes.items() if what != "tables")


class IndexedSptes:
    """An index beside an engine; the number of an spte is its gfn. Each call returns its time under mmu_lock [ns].

    index, engine: kept in step by InStep.
    added: time that the design adds to faults.
    kernel_has: design of the kernel itself.
    owns_log: this object is the only reader of the engine's log of exits, and empties the log at each call.
    unlocked_ns: time of the last call on the log after mmu_lock is dropped.
    """

    def __init__(
        self, design: str, index: BaseIndex, engine: GuestEngine, costs: IndexCosts, added: AddedToFaults,
        kernel_has: str, *, owns_log: bool = True,
    ) -> None:  # fmt: skip
        self.design, self.index, self.engine = design, index, engine
        self.added, self.kernel_has = added, kernel_has
        self.harvests, self.switches = Meter(index, costs.harvest), Meter(index, costs.switch)
        self.unlocked_ns, self._most = 0, dict(index.bytes_used())
        self._footprint_bytes = float(sum(self._most.values()))
        self._costs, self._step = costs, InStep(design, index, engine, owns_log=owns_log)
        self._notifier_ns: Counter[str] = Counter()
        self._notifier_calls: Counter[str] = Counter()

    # -- for the work on the log, at the grant of mmu_lock

    def start_log(self) -> int:
        """Switch the log on: take W from all sptes, or clear the C bits set so far."""
        self.follow()
        before = self._armed()
        with self.switches.of("start"):
            self.index.start_log(0)
        self._check(before, before, "when the log was switched on")
        self._step.log_starts()
        return self._hold_ns(self.switches)

    def stop_log(self) -> int:
        """Switch the log off."""
        with self.switches.of("stop"):
            self.index.stop_log(0)
        self._step.log_stops()
        return self._hold_ns(self.switches)

    def get(self, due: Bits) -> int:
        """KVM_GET_DIRTY_LOG that finds and protects ``due`` (uint8[n_pages]; the engine sets it to 0 when it follows)."""
        self._step.one_harvest_is_over()
        self.follow()
        before, dirty = self._armed(), self._mask(due)
        if self.index.traits.logs_by_hardware:
            dirty[:] = 0
        with self.harvests.of("get"):
            self.index.harvest(0, dirty)
        self._check(before, before & self._taken(due), "at a GET")
        self._step.harvests(due)
        return self._hold_ns(self.harvests)

    def clear(self, due: Bits, first: int, end: int) -> int:
        """KVM_CLEAR_DIRTY_LOG of ``due`` in pages [first, end): one call, for any number of bitmap words."""
        self._step.one_harvest_is_over()
        self.follow()
        before = self._armed()
        with self.harvests.of("clear"):
            self.index.protect_masked(first, due[first:end])
        self._check(before, before & self._taken(due), "at a CLEAR")
        self._step.harvests(due)
        return self._hold_ns(self.harvests)

    def figures(self) -> IndexFigures:
        """Work and bytes of the index so far."""
        get, switch = self.harvests, self.switches
        return IndexFigures(
            self.design, self.kernel_has, self._most,
            start_ns=round(switch.ns["start"]), get_ns=round(get.ns["get"]), gets=get.calls["get"],
            clear_ns=round(get.ns["clear"]), clears=get.calls["clear"], stop_ns=round(switch.ns["stop"]),
            map_ns=self.added.map_ns, wp_ns=self.added.wp_ns,
            age_ns=self._notifier_ns[AGED], ages=self._notifier_calls[AGED],
            unmap_ns=self._notifier_ns[UNMAPPED], unmaps=self._notifier_calls[UNMAPPED],
            emptied=int(self.engine.kvm.state.emptied),
        )  # fmt: skip

    def _hold_ns(self, meter: Meter) -> int:
        """Time of the last call under mmu_lock; entries with locks of their own work outside mmu_lock."""
        self._note_bytes()
        took_ns, holds = whole_ns(meter.last_ns), self.index.locks(PROTECT) > 0
        self.unlocked_ns = 0 if holds else took_ns
        return took_ns if holds else 1

    # -- for mmu notifiers

    @property
    def sees_young(self) -> bool:
        """Whether ageing reads A bits; else every page is old and ageing changes no spte."""
        return self.index.traits.sees_young

    def age_ns(self, first: int, end: int, *, clears: bool = True) -> int:
        """Read the young bits of pages [first, end), and clear them if ``clears``."""
        return int(self.age_holds_ns(np.array([first]), end - first, clears=clears)[0])

    def age_holds_ns(self, firsts: Gfns, call_pages: int, *, clears: bool = True) -> Gfns:
        """int64[k]: ``age_ns`` of k calls, for pages [first, first + call_pages) of each of ``firsts`` (int64[k]), in turn.

        All calls take young pages from the engine's state of this moment.
        """
        # Model limit: an ageing call finds no cache line of the index that the call before it has loaded.
        ends = np.minimum(firsts + call_pages, self.engine.memory.n_pages)
        low, high = (int(firsts.min()), int(ends.max())) if len(firsts) else (0, 0)
        self.follow(low, high)
        young, found = self._young_now(low, high), np.zeros(high - low, np.uint8)
        rows = np.empty((len(firsts), len(self.index.work)), np.int64)
        if len(firsts):
            self._age_calls(firsts, ends, found, rows, clears=clears)
        self._check_aged(low, _times_asked(firsts - low, ends - low, high - low), young, found, clears=clears)
        return self._noted(AGED, self._costs.ageing.price_rows_ns(rows, self._footprint_bytes))

    def zap_ns(self, first: int, end: int) -> int:
        """Unmap pages [first, end)."""
        self.follow(first, end)
        self._young_now(first, end)
        before = self.index.work.copy()
        self.index.unmap(first, end)
        if self.index.tables.flags[first:end].any():
            raise InvariantError(f"{self.design}: a page of [{first}, {end}) is still mapped after an unmapping")
        work = (self.index.work - before)[np.newaxis]
        return int(self._noted(UNMAPPED, self._costs.unmapping.price_rows_ns(work, self._footprint_bytes))[0])

    def _young_now(self, first: int, end: int) -> Bits:
        """Copy the engine's A bits of [first, end) to the index; return uint8[end - first], the mapped young pages."""
        young = np.zeros(end, np.uint8)
        self.engine.mmu.test_young(first, end, young)
        return self._step.set_young(first, end, young[first:])

    def _age_calls(self, firsts: Gfns, ends: Gfns, found: Bits, rows: NDArray[np.int64], *, clears: bool) -> None:
        """Make the ageing calls on the index. Without A bits ageing zaps sptes, or clears W as it tracks them."""
        ageing, low = self.engine.kvm.state.ageing, int(firsts.min())
        if clears and ageing == ZAPS and self.sees_young:
            for row, first, end in zip(rows, firsts.tolist(), ends.tolist(), strict=True):
                row[:] = self._unmapped(first, end, found[first - low : end - low])
            return
        self.index.age_calls(firsts, ends, found, rows, clears=clears)
        if clears and ageing == TRACKS:
            self.index.tables.flags[low : low + len(found)][found == 1] &= ~np.uint8(WRITABLE)

    def _unmapped(self, first: int, end: int, found: Bits) -> NDArray[np.int64]:
        """Age by unmapping: note young pages in ``found``; return the counts of the call."""
        before = self.index.work.copy()
        found |= self.index.tables.flags[first:end] & ACCESSED != 0
        self.index.unmap(first, end)
        return np.asarray(self.index.work - before)

    def _check_aged(self, low: int, asked: Gfns, young: Bits, found: Bits, *, clears: bool) -> None:
        """InvariantError unless the calls found the engine's young pages; a design that keeps zapped bits may find more."""
        if not self.sees_young:
            return
        wrong = (young > found) | ((young < found) & (not self.index.traits.keeps_bits))
        left = clears & (self.index.tables.flags[low : low + len(young)] & ACCESSED != 0)
        if (bad := (wrong & (asked == 1)) | (left & (asked > 0))).any():
            gfn = low + int(bad.argmax())
            raise InvariantError(f"{self.design}: gfn {gfn} is young in the index or in the VM, not both, or after ageing")

    def _noted(self, what: str, ns: NDArray[np.float64]) -> Gfns:
        """Round ``ns`` to whole nanoseconds, at least one, and add them to the sums of ``what``."""
        held_ns = np.maximum(1, np.rint(ns)).astype(np.int64)
        self._notifier_ns[what] += int(held_ns.sum())
        self._notifier_calls[what] += len(held_ns)
        return held_ns

    # -- in step with the engine

    def follow(self, first: int = 0, end: int | None = None) -> None:
        """Repeat in the index the changes that faults made to gfns [first, end) since the last call (see InStep).

        end: None: to the end of memory.
        """
        self._step.follow(first, end)
        self._note_bytes()

    def _armed(self) -> Mask:
        """bool[sptes]: sptes with the flag that the next harvest may clear."""
        return np.asarray(self.index.tables.flags & self._step.flag != 0)

    def _mask(self, due: Bits) -> Bits:
        mask = np.zeros(len(self.index.tables.flags), np.uint8)
        mask[: len(due)] = due
        return mask

    def _taken(self, due: Bits) -> Mask:
        """bool[sptes]: sptes whose flag a harvest of ``due`` clears; a design that zaps clears all if any page is due."""
        taken = self._mask(due) == 1
        return np.full_like(taken, taken.any()) if self.index.traits.protects_by_zapping else taken

    def _note_bytes(self) -> None:
        now = dict(self.index.bytes_used())
        self._footprint_bytes = float(sum(now.values()))
        if self._footprint_bytes > sum(self._most.values()):
            self._most = now

    def _check(self, before: Mask, wanted: Mask, when: str) -> None:
        """InvariantError unless the index cleared the flag of exactly the ``wanted`` sptes."""
        wrong = np.flatnonzero((before & ~self._armed()) != wanted)
        if len(wrong):
            raise InvariantError(f"{self.design}: gfn {wrong[0]} is in the log or was protected, not both, {when}")


def _times_asked(firsts: Gfns, ends: Gfns, n_pages: int) -> Gfns:
    """int64[n_pages]: number of ranges [firsts[i], ends[i]) that contain the page."""
    edges = np.bincount(firsts, minlength=n_pages + 1) - np.bincount(ends, minlength=n_pages + 1)
    return np.cumsum(edges)[:n_pages]
