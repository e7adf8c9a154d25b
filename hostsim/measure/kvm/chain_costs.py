"""The argument of 2010 on this host: the price of each further spte of a page, real, in the modelled rmap, by a form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from hostsim.core.constants import PAGE_BYTES
from hostsim.costs.costs import CostSheet
from hostsim.kvm.index_costs import ordered_walk_ns, switching, zapping
from hostsim.measure.calibrate.sample import Sample
from hostsim.measure.kvm.bench import Bench
from hostsim.measure.kvm.bystanders import Bystanders, check_quiet, look_first
from hostsim.measure.kvm.chains import CHAINS, SHARE, chain_name, chains
from hostsim.measure.kvm.device import Kvm
from hostsim.measure.kvm.estimates import estimate
from hostsim.measure.kvm.host import KvmHost, read_host
from hostsim.measure.kvm.numbers import AT_WISH
from hostsim.measure.kvm.pace import Pace
from hostsim.measure.kvm.rules import REPETITIONS_MIN
from hostsim.measure.kvm.vm import pinned, usable_cpus
from hostsim.measure.privileged.ageing import AGE, ages
from hostsim.results.tables import Table
from hostsim.spte_index.cache_costs import CacheCosts
from hostsim.spte_index.designs import make_index, tables_for
from hostsim.spte_index.guests import one_slot
from hostsim.spte_index.meter import Meter
from hostsim.spte_index.protocol import BaseIndex
from hostsim.spte_index.rmap import HEAD_BYTES
from hostsim.spte_index.spte import DIRTY, PRESENT, WRITABLE
from hostsim.spte_index.tables import ACCESSED, ENTRIES, take_tables
from hostsim.spte_index.work import LINE_BYTES

PAGES = 8192
"""Pages of the modelled guest, and of the measured one."""
MEMORY_BYTES = SHARE * PAGES * PAGE_BYTES
DESC_SPTES = 14
"""Sptes of a descriptor of the rmap since 6.4 (arch/x86/kvm/mmu/mmu.c::PTE_LIST_EXT)."""
SPTES_A_LINE = 8
WORDS = {"enable": "Enabling a log", "get": "A GET that protects", "unmap": "Unmapping by mprotect", AGE: "Ageing"}
WORKS = tuple(WORDS)
COLUMNS = {
    "work": "str", "sptes_a_page": "int64", "real_ns": "float64", "rmap_ns": "float64", "form_ns": "float64",
    "low_ns": "float64", "high_ns": "float64",
}  # fmt: skip


@dataclass(frozen=True)
class ChainCosts:
    """Costs a page [ns] by (work, sptes a page).

    host: where the real ones were measured.
    real: measured with empty caches; spread: ends of the middle half of the repetitions.
    modelled: of the index ``rmap`` with the costs of a sheet; form: closed form of its counted lines.
    not_aged: the reason for which ageing was not measured, "" if it was.
    """

    host: KvmHost
    real: dict[tuple[str, int], float]
    spread: dict[tuple[str, int], tuple[float, float]]
    modelled: dict[tuple[str, int], float]
    form: dict[tuple[str, int], float]
    not_aged: str = ""

    def lines(self) -> list[str]:
        """A sentence for each work: the time that a further spte of a page adds, from 2 to 16."""
        few, many = CHAINS[1], CHAINS[-1]
        told = [
            f"{WORDS[work]}: each further spte of a page adds {self._further(self.real, work, few, many):.1f} ns here, "
            f"{self._further(self.modelled, work, few, many):.1f} in the model, "
            f"{self._further(self.form, work, few, many):.1f} by the closed form."
            for work in WORKS if (work, few) in self.real and (work, many) in self.real
        ]  # fmt: skip
        return [*told, *([f"Not measured: {self.not_aged}."] if self.not_aged else [])]

    def _further(self, costs: dict[tuple[str, int], float], work: str, few: int, many: int) -> float:
        return (costs[work, many] - costs[work, few]) / (many - few)

    def table(self) -> Table:
        """A row a work and number of sptes."""
        return Table.of("sptes", COLUMNS, self._rows())

    def _rows(self) -> Iterator[tuple[str, int, float, float, float, float, float]]:
        for key, real_ns in self.real.items():
            work, length = key
            low, high = self.spread[key]
            figures = (real_ns, self.modelled[key], self.form[key], low, high)
            yield work, length, *(round(ns, 2) for ns in figures)  # type: ignore[misc]


def chain_costs(kvm: Kvm, sheet: CostSheet, *, busy: bool = False, as_root: bool = False) -> ChainCosts:
    """Measure chains of 1, 2, 8 and 16 sptes a page on this host, and price the modelled rmap by ``sheet``.

    kvm: the opened device.
    busy: accept a machine on which other processes work.
    as_root: also age pages, if this kernel has a trigger for that.
    Raises KvmError if the machine is busy or KVM fails.
    """
    look_first(accept=busy)
    host, cpus, bystanders = read_host(), usable_cpus(), Bystanders()
    with pinned(cpus[0]), closing(Pace()) as pace:
        bench = Bench(kvm, REPETITIONS_MIN, MEMORY_BYTES, cpus, host.pml, pace=pace)
        if as_root:
            ages(bench)
        for length in CHAINS:
            chains(bench, length)
    check_quiet(bystanders.share(), accept=busy)
    samples = {(work, k): sample for work in WORKS for k in CHAINS if (sample := bench.sample(chain_name(work, k)))}
    found = {key: estimate(chain_name(*key), sample).ns for key, sample in samples.items()}
    spread = {key: quartiles(sample) for key, sample in samples.items()}
    costs = costs_by_work(sheet)
    modelled = {(work, k): ns for k in CHAINS for work, ns in modelled_ns(costs, k).items()}
    form = {(work, k): form_ns(costs[work], work, k) for work in WORKS for k in CHAINS}
    aged = any(work == AGE for work, _ in found)
    not_aged = "" if aged else bench.why_not("age_page_ns") if as_root else AT_WISH["age_page_ns"]
    return ChainCosts(host, found, spread, modelled, form, not_aged)


def quartiles(sample: Sample) -> tuple[float, float]:
    """(Lower, upper) end of the middle half of the repetitions [ns]."""
    low, high = np.percentile(sample.ns, (25, 75))
    return float(low), float(high)


def costs_by_work(sheet: CostSheet) -> dict[str, CacheCosts]:
    """Costs of each of WORKS with empty caches, by the numbers of ``sheet`` for it."""
    costs = CacheCosts.from_sheet(sheet)
    walk_ns = ordered_walk_ns("rmap", replace(costs, change_ns=0.0))
    enable = switching(costs, sheet.protect_page_ns, sheet.clear_rmap_ns, walk_ns)
    zap_ns = sheet.measured_ns("zap_page_ns")
    unmap = zapping(costs, zap_ns, walk_ns) if zap_ns else costs
    return {work: one.emptied() for work, one in zip(WORKS, (enable, costs, unmap, costs), strict=True)}


def modelled_ns(costs: Mapping[str, CacheCosts], length: int) -> dict[str, float]:
    """Cost a page of each work on an rmap of ``length`` sptes a page, in order; one of them is writable at GET."""
    index, sptes = _rmap(length)
    enable_ns = _ns(index, costs["enable"], lambda: index.protect_slot(0))
    index.make_writable(sptes[0])
    get_ns = _ns(index, costs["get"], lambda: index.protect_masked(0, np.ones(PAGES, np.uint8)))
    age_ns = _ns(index, costs[AGE], lambda: index.clear_young(0, PAGES, np.zeros(PAGES, np.uint8)))
    unmap_ns = _ns(index, costs["unmap"], lambda: index.unmap(0, PAGES))
    return {"enable": enable_ns, "get": get_ns, "unmap": unmap_ns, AGE: age_ns}


def _ns(index: BaseIndex, costs: CacheCosts, call: Callable[[], object]) -> float:
    meter = Meter(index, costs)
    with meter.of("call"):
        call()
    return meter.last_ns / PAGES


def _rmap(length: int) -> tuple[BaseIndex, list[np.ndarray[tuple[int], np.dtype[np.int64]]]]:
    """An rmap over ``length`` address spaces that map all pages, and the sptes of each."""
    n_tables, slots = PAGES // ENTRIES, one_slot(PAGES)
    tables = tables_for("rmap", n_tables * length, PAGES)
    gfns, spaces = np.arange(PAGES), []
    index = make_index("rmap", tables, slots)
    for space in range(length):
        taken = take_tables(tables, np.arange(n_tables) * ENTRIES, space, direct=False)
        spaces.append((taken[:, None] * ENTRIES + np.arange(ENTRIES)).ravel())
        index.map(spaces[-1], gfns, PRESENT | WRITABLE | DIRTY | ACCESSED)
    return index, spaces


def form_ns(costs: CacheCosts, work: str, length: int) -> float:
    """Closed form [ns] at ``costs`` for a page with ``length`` sptes: head, descriptors, sptes, all read in order.

    work: of WORKS; "get" changes one spte of a page and looks at the others, all else changes each spte.
    """
    footprint = PAGES * (HEAD_BYTES + length * 8 + (ceil(length / DESC_SPTES) * 128 if length > 1 else 0))
    stream_ns, load_ns = costs.stream_ns(footprint), costs.load_ns(footprint)
    head_ns = costs.visit_ns + stream_ns * HEAD_BYTES / LINE_BYTES
    spte_lines_ns = length * stream_ns / SPTES_A_LINE
    changed = 1 if work == "get" else length
    changes_ns = changed * (costs.change_ns + costs.atomic_ns)
    covers_ns = costs.ahead_ns if work == "unmap" else costs.visit_ns + changes_ns / length
    descriptors_ns = _descriptors_ns(costs, length, covers_ns, stream_ns, load_ns)
    freed_ns = ceil(length / DESC_SPTES) * costs.freed_ns(load_ns) if work == "unmap" and length > 1 else 0.0
    return head_ns + costs.found_ns + spte_lines_ns + descriptors_ns + freed_ns + length * costs.visit_ns + changes_ns


def _descriptors_ns(costs: CacheCosts, length: int, spte_ns: float, stream_ns: float, load_ns: float) -> float:
    """Time that a page with ``length`` sptes waits for descriptors, less the work of ``spte_ns`` a spte that covers it.

    The first descriptor, which is not full, is loaded ``ahead_ns`` before its use; each further one while the sptes
    before it are looked at, or in an unmapping while the descriptor before is freed.
    """
    if length == 1:
        return 0.0
    n, reach_ns = ceil(length / DESC_SPTES), min(costs.ahead_ns, load_ns)
    covered = [(length - 1) % DESC_SPTES + 1, *[DESC_SPTES] * n][: n - 1]
    hidden_ns = reach_ns + sum(min(reach_ns, sptes * spte_ns) for sptes in covered)
    return n * (load_ns + stream_ns + costs.visit_ns) - hidden_ns
