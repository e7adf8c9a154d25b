"""Suite ``kvm``: a guest that writes its page tables under shadow paging, and the sync of these tables at a CR3 load."""

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
from hostsim.kvm.spec import MmuSpec
from hostsim.spte_index.spte import REGION_PAGES
from hostsim.validation.kvm_migrations import ERA, SHEET, SUITE
from hostsim.validation.rows import Row, exact, relative

TOLERANCE = 0.15
WRITE_NS = 1000
"""Work from one write to the next: a fault follows the fault before, so that none comes alone."""
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
        if one["how"] == "read-only":  # an entry that loses W keeps its spte; the guest of the model moves pages
            continue
        name = _name(one)
        found = synced(one["tables"], one["sptes"], one["changed"])
        row = _row(f"unsync/{name}", "ns that unsync tables add to a CR3 load", one["added_ns"], found.load_ns)
        yield row.unscored("fitted") if f"unsync {name}" in load_costs(SHEET).fitted_on() else row
        yield exact(SUITE, f"unsync/{name}/flushes", "flushes of the CR3 load", one["flushes"], found.flushes)


def _name(one: Mapping[str, Any]) -> str:
    return f"{one['tables']}-{one['sptes']}" + (f"-{one['changed']}" if one["changed"] else "")


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
