"""The sptes of a VM in an index: its answers are the engine's, its work is what harvests hold mmu_lock for."""

from __future__ import annotations

from dataclasses import astuple, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from hostsim.core.errors import InputError, InvariantError
from hostsim.core.knobs import Knobs
from hostsim.costs.costs import clear_page_ns, load_costs
from hostsim.costs.era import load_era
from hostsim.costs.exits import EXCLUSIVE, SHARED
from hostsim.guest.pacing import Pacing
from hostsim.guest.workload import Workload
from hostsim.kvm import build, index_costs
from hostsim.kvm.index_costs import IndexCosts, added_to_faults, locked_for, upkeep_of
from hostsim.kvm.indexed import IndexedSptes
from hostsim.kvm.interfaces import with_index
from hostsim.kvm.spec import INDEXES, MEASURED, MmuSpec, traits_of
from hostsim.machine.machine import Machine
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.parameters import MigrationParameters
from hostsim.scenario.reference import json_schema
from hostsim.spte_index.cache_costs import CacheCosts
from hostsim.spte_index.designs import DESIGNS
from hostsim.spte_index.spte import PRESENT, WRITABLE
from hostsim.spte_index.work import Work
from tests.helpers.live import MS, live_machine, sweep, timed, vm_of

N_PAGES = 4096
CAUGHT = {"book3s-hv": "d-bit"}
OLD = MmuSpec(era="E0", costs="nehalem-2010")
NEW = MmuSpec(era="E4", costs="cascade-lake")
PROTECTING = tuple(
    name for name in DESIGNS if not (traits_of(name).logs_by_hardware or traits_of(name).protects_by_zapping)
)
WAYS = [
    *(("get-dirty-log", replace(OLD, index=name)) for name in PROTECTING),
    *(("clear-dirty-log", replace(NEW, index=name)) for name in PROTECTING),
    ("get-dirty-log", replace(OLD, index="book3s-hv", write_tracking="d-bit")),
    ("get-dirty-log", replace(OLD, index="book3s-pr")),
]
IDS = [f"{tracking}, {mmu.index}" for tracking, mmu in WAYS]
KNOBS = (Knobs(), Knobs(7, 64, 50_000), Knobs(1, 1 << 22, 1_000_000))


def loads() -> tuple[Workload, ...]:
    """Sweeps that overlap a writer in drawn order, and go on into pages that are not mapped."""
    rates = Fraction(3_000), Fraction(1_000)
    return (
        Workload("sweep", "sequential", (0, 1), 100, 2500, *rates, split=True),
        Workload("random", "uniform", (1,), 1000, 1500, *rates, pacing=Pacing(open_loop=True)),
    )


def migrating(tracking: str, mmu: MmuSpec, knobs: Knobs | None = None) -> Machine:
    """Where reads dirty what a harvest has unmapped a migration over a slow link never ends."""
    bits_per_s = 150_000_000 if mmu.index == "book3s-pr" else 30_000_000
    one = live_machine(
        *loads(), tracking=tracking, n_pages=N_PAGES, filled=2000, n_vcpus=2, mmu=mmu, duration_ns=8_000 * MS,
        migration=MigrationParameters(max_bandwidth=0, downtime_limit_ms=20), link=LinkSpec(bits_per_s, 100_000, 212_992),
    )  # fmt: skip
    one = Machine(one.spec, knobs)
    one.run()
    return one


def indexed(one: Machine) -> IndexedSptes:
    found = vm_of(one).indexed
    assert found is not None
    return found


def facts(one: Machine) -> dict[str, Any]:
    m, vm = one.migration, vm_of(one)
    assert m is not None
    return {
        "end_ns": one.env.now_ns, "syncs": [astuple(point) for point in m.recorder.syncs],
        "tallies": [astuple(tally) for tally in m.recorder.tallies], "version": vm.memory.version.tolist(),
        "index": astuple(indexed(one).figures()), "exits": vm.engine.exits.tolist(), "work_ns": vm.work_ns(),
    }  # fmt: skip


def test_all_designs_may_be_asked_for() -> None:
    asked = json_schema()["$defs"]["Mmu"]["properties"]["index"]
    assert tuple(asked["enum"]) == INDEXES == (MEASURED, *DESIGNS)


@pytest.mark.parametrize("knobs", [KNOBS[1], pytest.param(KNOBS[2], marks=pytest.mark.swarm)])
@pytest.mark.parametrize(("tracking", "mmu"), WAYS, ids=IDS)
def test_a_migration_ends_with_the_same_content(tracking: str, mmu: MmuSpec, knobs: Knobs) -> None:
    one, other = migrating(tracking, mmu), migrating(tracking, mmu, knobs)
    m = one.migration
    assert m is not None
    assert m.counters().status == "completed"
    assert (m.ram.copied == one.vm.memory.version).all()
    assert len(m.recorder.syncs) > (1 if mmu.index == "book3s-pr" else 2)
    assert facts(other) == facts(one)


@pytest.mark.parametrize(("tracking", "mmu"), WAYS, ids=IDS)
def test_its_calls_are_what_mmu_lock_is_held_for(tracking: str, mmu: MmuSpec) -> None:
    one = migrating(tracking, mmu)
    told, vm = indexed(one).figures(), vm_of(one)
    assert (told.gets > 0, told.clears > 0) == (tracking == "get-dirty-log", tracking == "clear-dirty-log")
    assert told.start_ns > 0
    calls, took_ns = 2 + told.gets + told.clears, told.start_ns + told.get_ns + told.clear_ns  # the run ends before stop_log
    held_ns = 0 if mmu.index == "book3s-hv" else took_ns
    assert abs(vm.lock.hold_ns - held_ns) <= calls  # each is rounded, and at least 1 ns
    if mmu.index == "book3s-hv":
        assert vm.times.sync_ns > told.get_ns


def uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "index_costs", lambda _: IndexCosts(*[CacheCosts.uniform] * 4))


@pytest.mark.parametrize("knobs", [KNOBS[0], *(pytest.param(knobs, marks=pytest.mark.swarm) for knobs in KNOBS[1:])])
@pytest.mark.parametrize("tracking", with_index(in_place=True))
def test_where_each_call_costs_the_same_all_designs_harvest_alike(
    tracking: str, knobs: Knobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their locks, too: CLEAR came when faults were lockless, and a design that links in a fault takes that away."""
    uniform(monkeypatch)
    spec = replace(OLD, era="E2", mmu="direct") if tracking == "clear-dirty-log" else OLD
    monkeypatch.setattr(index_costs, "traits_of", lambda name: traits_of(name).but(links_writes=True))
    runs = [facts(migrating(tracking, replace(spec, index=name), knobs)) for name in PROTECTING]
    for name, run in zip(PROTECTING, runs, strict=True):
        assert {**run, "index": 0} == {**runs[0], "index": 0}, name
    assert len(PROTECTING) >= 12
    assert runs[0]["tallies"][-1][3] > 1_000


def test_bytes_are_those_when_they_were_most() -> None:
    """Both chains are empty at the end; one began with all sptes, the other held them from when logging began."""
    told = {
        name: indexed(migrating("get-dirty-log", replace(OLD, index=name))) for name in ("writable-chain", "logged-chain")
    }
    for one in told.values():
        assert one.figures().bytes["links"] >= 16 * 2000 > 5 * one.index.bytes_used()["links"]
        assert one.figures().index_bytes == sum(n for part, n in one.figures().bytes.items() if part != "tables")


def test_designs_differ_where_caches_count() -> None:
    held = {name: indexed(migrating("get-dirty-log", replace(OLD, index=name))).figures().get_ns for name in PROTECTING}
    assert len(set(held.values())) > 5
    assert held["tdp"] < held["rmap"] < held["table-scan"] < held["slot-list"] < held["writable-chain"]  # most is dirty


def test_the_measured_design_costs_what_was_measured() -> None:
    """All pages dirty and in order: the walk, and what is left of a page beside it, are the measured page."""
    n_pages, kept = 1 << 15, {}
    for era, mode, name in (("E1", "direct", "rmap"), ("E4", "tdp", "tdp"), ("E6", "tdp", "tdp")):
        mmu = MmuSpec(era=era, costs="cascade-lake", mmu=mode, index=name)  # type: ignore[arg-type]
        one = live_machine(sweep(n_pages, 1), n_pages=n_pages, mmu=mmu, duration_ns=5 * MS)
        timed(one, 0, one.tracker.start_log)
        one.run()
        kernel = load_era(era)
        want_ns = clear_page_ns(load_costs("cascade-lake"), kernel, mode)
        index = indexed(one).index
        index.make_writable(np.arange(n_pages))
        with indexed(one).harvests.of("get"):
            index.harvest(0, np.ones(n_pages, np.uint8))
        kept[era] = indexed(one).harvests.last_ns / n_pages
        assert kept[era] == pytest.approx(want_ns, rel=0.02)
        start_ns = indexed(one).figures().start_ns / n_pages
        assert start_ns == pytest.approx(load_costs("cascade-lake").protect_page_ns, rel=0.05)
    assert kept["E6"] < kept["E4"]


@pytest.mark.parametrize(("mmu", "same"), [(OLD, "rmap"), (replace(NEW, mmu="direct"), "rmap"), (NEW, "tdp")])
def test_the_measured_design_adds_nothing_to_faults(mmu: MmuSpec, same: str) -> None:
    costs = build.index_costs(mmu).harvest
    added = {name: added_to_faults(name, mmu, costs, 50e6) for name in PROTECTING}
    assert astuple(added[same]) == (0.0, 0.0)
    assert added["writable-chain"].wp_ns > costs.allocation_ns
    assert added["slot-list"].wp_ns == added["logged-chain"].wp_ns == 0.0
    assert added["logged-chain"].map_ns > added["rmap"].map_ns > added["tdp"].map_ns - 1e-9
    exits = build.exits_of(replace(mmu, index=same), 4)  # type: ignore[arg-type]
    assert (added["writable-chain"].on(exits).hold_ns - exits.hold_ns)[[1, 3]].min() > 0
    assert added[same].on(exits).hold_ns.tolist() == exits.hold_ns.tolist()


def test_upkeep_is_counted_a_fault() -> None:
    assert upkeep_of("tdp").map == upkeep_of("table-scan").wp == upkeep_of("rmap").wp == Work()
    chain = upkeep_of("writable-chain").wp
    assert chain.allocations == index_costs.PROBED_FAULTS
    assert (chain.changed, chain.operations, chain.locks) == (0, 0, 0)
    assert upkeep_of("rmap").map.dependent[0] == index_costs.PROBED_FAULTS


@pytest.mark.parametrize(
    ("design", "map_way", "wp_way"),
    [("rmap", "exclusive", "none"), ("writable-chain", "exclusive", "exclusive"), ("tdp", "shared", "none"),
     ("book3s-hv", "shared", "none")],
)  # fmt: skip
def test_faults_that_link_take_mmu_lock(design: str, map_way: str, wp_way: str) -> None:
    locks = locked_for(design, load_era("E4"), "tdp").locks("tdp")
    assert (locks.map, locks.wp) == (map_way, wp_way)
    plan = build.log_plan(replace(NEW, index=design, write_tracking=CAUGHT.get(design, "write-protect")), "get-dirty-log")  # type: ignore[arg-type]
    assert plan.slot_mode == (SHARED if map_way == "shared" else EXCLUSIVE)


def test_nodes_come_in_the_order_of_faults() -> None:
    """A stride makes the faults; the chain's front is the last of them."""
    load = Workload("load", "strided", (0,), 0, 512, Fraction(100_000), stride_pages=37)
    one = live_machine(load, n_pages=512, mmu=replace(OLD, index="writable-chain"), duration_ns=4 * MS)
    one = Machine(one.spec)
    timed(one, 0, one.tracker.start_log)
    timed(one, 3 * MS, lambda: one.tracker.sync(np.zeros(512, np.uint8)))
    seen: list[list[int]] = []
    index: Any = indexed(one).index
    link = index.make_writable
    index.make_writable = lambda sptes: (seen.append(sptes.tolist()), link(sptes))
    one.run()
    (order,) = seen
    assert len(order) > 100
    assert np.all(np.diff(order) % 512 == 37)


def broken(change: Any, t_ns: int = 2 * MS, tracking: str = "get-dirty-log") -> None:
    """A guest whose log is read every millisecond; ``change`` is made to its index, or to the sptes."""
    one = live_machine(
        sweep(1024, 50_000), tracking=tracking, n_pages=1024, mmu=replace(NEW, index="rmap"), duration_ns=5 * MS
    )
    timed(one, 0, one.tracker.start_log)
    for ms in (1, 3):
        timed(one, ms * MS, lambda: one.tracker.sync(np.zeros(1024, np.uint8)), lambda: one.tracker.before_send(0))
    one.env.timeout(t_ns).callbacks.append(lambda _: change(indexed(one)))
    one.run()


@pytest.mark.parametrize("tracking", with_index(in_place=True))
def test_a_page_that_the_index_keeps_writable_is_found(tracking: str) -> None:
    def lose(one: IndexedSptes) -> None:
        index: Any = one.index
        apply = index.apply
        index.apply = lambda walk: apply(walk._replace(end=walk.end - 1000))

    broken(lambda _: None, tracking=tracking)
    with pytest.raises(InvariantError, match=r"rmap: gfn \d+ is in the log or was protected, not both, at a (GET|CLEAR)"):
        broken(lose, tracking=tracking)


def test_an_index_out_of_step_is_found() -> None:
    def lose(one: IndexedSptes) -> None:
        one.index.tables.flags[1000] |= PRESENT | WRITABLE

    with pytest.raises(InvariantError, match="rmap: gfn 1000 is mapped otherwise"):
        broken(lose)


@pytest.mark.parametrize(
    ("mmu", "tracking", "says"),
    [
        (MmuSpec(index="rmap"), "dirty-ring", "'rmap' with dirty_tracking = 'dirty-ring'"),
        (MmuSpec(index="rmap", mmu="shadow"), "get-dirty-log", "one spte a page"),
        (MmuSpec(index="rmap", page_size="2MiB"), "get-dirty-log", "4 KiB sptes"),
        (MmuSpec(index="rmap", write_tracking="pml"), "get-dirty-log", "'write-protect' with this index"),
        (MmuSpec(index="book3s-hv"), "get-dirty-log", "'d-bit' with this index"),
        (MmuSpec(index="book3s-pr"), "clear-dirty-log", "wanted dirty_tracking = 'get-dirty-log' with this index"),
    ],
)
def test_what_does_not_go_with_an_index_is_refused(mmu: MmuSpec, tracking: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        build.checked(mmu, tracking)
