"""Suite ``kvm``: a guest that writes its page tables under shadow paging: syncs, INVLPG, roots, writes to directories."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from importlib.resources import files
from typing import Any, NamedTuple

from hostsim.core.clock import Clock
from hostsim.core.constants import NS_PER_S
from hostsim.core.memory import lay_out, make_memory
from hostsim.costs.costs import load_costs
from hostsim.costs.exits import WP
from hostsim.guest.workload import Workload, build_guest
from hostsim.kvm.build import live_vm
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.page_tables import VcpuSpaces, spaces_of
from hostsim.kvm.spec import MmuSpec
from hostsim.kvm.table_work import FLOODED, Step, TableWork, table_costs
from hostsim.spte_index.spte import REGION_PAGES
from hostsim.validation.kvm_migrations import ERA, SHEET, SUITE
from hostsim.validation.rows import Row, exact, relative

TOLERANCE = 0.15
WRITE_NS = 1000
"""Work from one write to the next: a fault follows the fault before, so that none comes alone."""
MEAN_EXIT_NS = 10_000
"""More than a first write to a page table takes."""
SERIES = 16
"""Tables from which on first writes that follow one another set the mean of a first write."""
FIRST = 63 * REGION_PAGES
"""Gfn of the first table; regions below hold the data."""
N_PAGES = FIRST + REGION_PAGES


class Synced(NamedTuple):
    """What page tables cost a guest. first_ns: a first write; load_ns: the sync of a CR3 load; flushes: of that CR3 load."""

    first_ns: float
    load_ns: int
    flushes: int


def unsync_rows() -> Iterator[Row]:
    """First writes to page tables beside faults of the log, what unsync tables add to a CR3 load, and its flushes."""
    text = (files("hostsim") / "data" / "kvm_real" / "unsync.json").read_text(encoding="utf-8")
    measured = json.loads(text)
    for one in measured["writes"]:
        got = synced(one["tables"], REGION_PAGES, 0).first_ns / load_costs(SHEET).measured_ns("dirty_pass_ns")
        what = "first write to a page table over one to a logged page"
        yield _row(f"unsync/first-{one['tables']}", what, one["ratio"], got)
    for one in measured["syncs"]:
        is_protected = one["how"] == "read-only"
        if is_protected and one["changed"] < REGION_PAGES:  # a fork takes W from all entries
            continue
        name = _name(one)
        found = protected(one["tables"]) if is_protected else synced(one["tables"], one["sptes"], one["changed"])
        yield _scored(name, "ns that unsync tables add to a CR3 load", one["added_ns"], found.load_ns)
        yield exact(SUITE, f"unsync/{name}/flushes", "flushes of the CR3 load", one["flushes"], found.flushes)
    yield from _directory_rows(measured)
    yield from _root_rows(measured)


def _scored(name: str, what: str, measured: Mapping[str, float], got: float) -> Row:
    """A row of kind unsync; shown only, if the sheet has a number from it."""
    row = _row(f"unsync/{name}", what, measured, got)
    return row.unscored("fitted") if f"unsync {name}" in load_costs(SHEET).fitted_on() else row


def _name(one: Mapping[str, Any]) -> str:
    how = "-read-only" if one["how"] == "read-only" else ""
    return f"{one['tables']}-{one['sptes']}" + (f"-{one['changed']}" if one["changed"] else "") + how


def _directory_rows(measured: Mapping[str, Any]) -> Iterator[Row]:
    """A guest clears a directory, and reads a page under each table later, in first writes to page tables."""
    for cleared, linked in zip(measured["clears"], measured["links"], strict=True):
        n, sptes, first_ns = cleared["tables"], cleared["sptes"], cleared["first_ns"]
        act = ended(n, sptes)
        got = (act.emulated, act.faults, act.flushes)
        wanted = (cleared["emulated"], cleared["faults"], cleared["flushes"])
        yield exact(SUITE, f"unsync/clear-{n}-{sptes}/exits", "emulated writes, faults, flushes", str(wanted), str(got))
        if n < SERIES:  # a first write that comes alone costs more
            continue
        clear, link = _in_writes(cleared["took_ns"], first_ns), _in_writes(linked["table_ns"], first_ns)
        what = "clearing the entries of a directory, in first writes to a page table"
        yield _scored(f"clear-{n}-{sptes}", what, clear, act.clear_ns / act.first_ns)
        what = "reading a page under an unsync table whose directory is new, in first writes"
        yield _scored(f"link-{n}-{sptes}", what, link, act.link_ns / act.first_ns)


def _in_writes(measured: Mapping[str, float], first_ns: float) -> dict[str, float]:
    return {name: round(ns / first_ns, 3) for name, ns in measured.items()}


def _root_rows(measured: Mapping[str, Any]) -> Iterator[Row]:
    """INVLPG by the state of its page and the number of cached roots; CR3 loads of several roots in turn."""
    for one in measured["invlpgs"]:
        name = f"invlpg-{one['entry']}-{one['roots']}"
        yield _scored(name, "ns that INVLPG takes beside its exit", one["added_ns"], invalidated(one["entry"], one["roots"]))
    for one in measured["roots"]:
        n, misses = one["roots"], one["entries"] - 1
        added_ns, missed = loaded(n)
        yield exact(SUITE, f"unsync/roots-{n}/misses", "of a CR3 load: root not cached", str(misses), str(missed))
        if misses:
            yield _scored(f"roots-{n}", "ns that a root adds that is not cached", one["added_ns"], added_ns)


def synced(tables: int, sptes: int, changed: int) -> Synced:
    """A guest changes ``changed`` entries of each of ``tables`` page tables, each with ``sptes`` sptes, then it loads CR3.

    changed: 0: it writes one entry of each table that has no spte.
    """
    env, mmu = Clock(), MmuSpec(era=ERA, costs=SHEET, mmu="shadow")
    memory = make_memory(lay_out([("pc.ram", N_PAGES, [(0, N_PAGES)])]))
    work_ns = WRITE_NS * tables * max(1, changed) - WRITE_NS // 2  # after the last of these writes, before the next one
    writer = Workload(
        "tables", "sequential", (0,), FIRST, tables, Fraction(NS_PER_S, WRITE_NS),
        cr3_load_rate_per_s=Fraction(NS_PER_S, work_ns),
    )  # fmt: skip
    vm = live_vm(env, memory, build_guest([writer], seed=1), 1, 0, mmu, "get-dirty-log")
    for table in range(tables):
        _map_some(vm, table * REGION_PAGES, sptes, 0 if changed else 1)
    assert vm.table_counts is not None, "the guest loads CR3 under shadow paging"
    while not vm.table_counts.cr3_ns:
        env.run(until=env.now_ns + WRITE_NS)
    first_ns = vm.engine.exit_latencies()[WP].total_ns / tables + load_costs(SHEET).loop_ns
    costs = vm.engine.kvm.costs
    load_ns = vm.table_counts.cr3_ns - int(costs.exit_ns + costs.entry_ns)
    return Synced(first_ns, load_ns, vm.flush.count)


class Ended(NamedTuple):
    """What freed page tables cost a guest: clearing a directory and its exits, the first fault in a table afterwards."""

    first_ns: int
    clear_ns: int
    link_ns: int
    emulated: int
    faults: int
    flushes: int


class _Tables:
    """A vCPU out of the guest; its processes have ``n`` page tables each, of ``sptes`` sptes. work: KVM's, on the tables."""

    def __init__(self, n: int, sptes: int, processes: int = 1) -> None:
        size, self.env = n * processes, Clock()
        n_regions = size + -(-size // REGION_PAGES)
        memory = make_memory(lay_out([("pc.ram", n_regions * REGION_PAGES, [(0, n_regions * REGION_PAGES)])]))
        load = Workload(
            "tables", "sequential", (0,), size * REGION_PAGES, size, Fraction(NS_PER_S, WRITE_NS),
            cr3_load_rate_per_s=Fraction(1), processes=processes,
        )  # fmt: skip
        guest = build_guest([load], seed=1)
        self.vm = live_vm(self.env, memory, guest, 1, 0, MmuSpec(era=ERA, costs=SHEET, mmu="shadow"), "get-dirty-log")
        spaces = next(spaces_of(load, guest.clocks))
        self.spaces, self.work = VcpuSpaces(spaces), TableWork(self.vm, table_costs(SHEET), spaces)
        for table in range(size):
            _map_some(self.vm, table * REGION_PAGES, sptes, 0)
        self.let_write()

    def let_write(self) -> None:
        """Let the guest write each page table."""
        thread, tables = self.vm.vcpus[0], sum(len(space.unsync) for space in self.spaces.all)
        self.env.run(until=self.env.now_ns + 2 * tables * WRITE_NS + MEAN_EXIT_NS * tables)
        self.env.run(until=thread.hold())

    def load_all(self) -> None:
        """Load each address space once."""
        for _ in self.spaces.all:
            self.took_ns(self.work.load_cr3(0, self.spaces))

    def took_ns(self, work: Step) -> int:
        """Time of ``work``."""
        begin_ns = self.env.now_ns
        self.env.run(until=self.env.process(work))
        return self.env.now_ns - begin_ns


def ended(n: int, sptes: int) -> Ended:
    """A guest clears the directory above ``n`` unsync page tables, and later reads a page under each again."""
    host = _Tables(n, sptes)
    before = host.vm.flush.count
    clear_ns = host.took_ns(host.work.clear_directory(0, n))
    emulated, flushes = host.work.counts.emulated_writes, host.vm.flush.count - before
    link_ns = host.took_ns(host.work.link_table(0, sptes, 0))
    first_ns = host.work.round_trip_ns + int(host.vm.engine.kvm.costs.hold_ns[WP])
    return Ended(first_ns, clear_ns, link_ns, emulated, emulated + (n > FLOODED), flushes)


def protected(tables: int) -> Synced:
    """A guest takes W from all entries of ``tables`` full page tables, as a fork does, and loads CR3."""
    host = _Tables(tables, REGION_PAGES)
    before, space = host.vm.flush.count, host.spaces.current
    space.take_changes(host.env.now_ns)
    load_ns = host.took_ns(host.work.sync(0, space, loses_w=True))
    return Synced(0.0, load_ns, host.vm.flush.count - before)


def invalidated(entry: str, roots: int) -> int:
    """Time of INVLPG beside its exit [ns]. entry: synced, unchanged or changed; roots: that the vCPU has loaded before."""
    host = _Tables(1, REGION_PAGES, processes=roots)
    if entry != "changed":
        host.load_all()
    host.spaces.current.unsync[:] = entry != "synced"
    return host.took_ns(host.work.invalidate(0, host.spaces))


def loaded(roots: int) -> tuple[int, int]:
    """(time that the root adds to a CR3 load [ns], CR3 loads that miss, of one) of ``roots`` processes in turn."""
    host = _Tables(1, 8, processes=roots)
    host.load_all()
    before = host.work.counts.root_misses
    return host.took_ns(host.work.load_cr3(0, host.spaces)), host.work.counts.root_misses - before


def _map_some(vm: LiveVm, base: int, sptes: int, first: int) -> None:
    """Leave ``sptes`` of the 512 from gfn ``base`` on mapped, from entry ``first`` on, as far as there are so many."""
    end = min(first + sptes, REGION_PAGES)
    for low, high in ((0, first), (end, REGION_PAGES)):
        if low < high:
            vm.engine.mmu.zap(base + low, base + high, 0)


def _row(where: str, what: str, measured: Mapping[str, float], got: float) -> Row:
    """Within the tolerance, or between the least and the most of the repeats."""
    row = relative(SUITE, where, what, measured["median"], round(got, 3), TOLERANCE)
    inside = measured["min"] <= got <= measured["max"]
    return replace(row, passed=row.passed or inside, note=f"share; measured {measured['min']:g} to {measured['max']:g}")
