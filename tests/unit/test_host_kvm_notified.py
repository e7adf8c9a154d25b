"""The sptes of a VM in an index under notifiers: aged, unmapped at random and migrated at once, they are the engine's."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from random import Random
from typing import Any

import numpy as np
import pytest

from hostsim.core.clock import Clock
from hostsim.core.errors import InputError, InvariantError
from hostsim.core.knobs import Knobs
from hostsim.core.memory import lay_out, make_memory
from hostsim.costs.costs import load_costs
from hostsim.guest.pacing import Pacing
from hostsim.guest.workload import Workload, build_guest
from hostsim.kvm import build
from hostsim.kvm.build import live_vm
from hostsim.kvm.index_costs import IndexCosts
from hostsim.kvm.indexed import IndexedSptes
from hostsim.kvm.mmu_notifier import CLEAR_FLUSH_YOUNG, CLEAR_YOUNG, RANGE_START, TEST_YOUNG, MmuNotifier
from hostsim.kvm.notifier_plan import notifier_of
from hostsim.kvm.spec import INDEXES, MEASURED, MmuSpec, traits_of
from hostsim.machine.machine import Machine
from hostsim.memory.ageing_daemon import AgeingDaemon
from hostsim.memory.host_memory import attach
from hostsim.memory.spec import HostMemorySpec
from hostsim.spte_index.cache_costs import CacheCosts
from hostsim.spte_index.spte import DIRTY, PRESENT, WRITABLE
from hostsim.spte_index.work import N_WORK, counted
from tests.helpers.live import MS, at, live_machine, sweep, timed, vm_of
from tests.helpers.tiers import quick_and_long

N_PAGES = 2048
DESIGNS = tuple(name for name in INDEXES if name != MEASURED)
HV, PR = "book3s-hv", "book3s-pr"
KERNELS = {
    "2010, zaps": MmuSpec(era="E0", costs="nehalem-2010", a_bits=False),
    "2012, A bits": MmuSpec(era="E1", costs="haswell", mmu="direct"),
    "5.17, A bits": MmuSpec(era="E4"),
    "5.17, access tracking": MmuSpec(era="E4", a_bits=False),
    "6.15, A bits": MmuSpec(era="E6"),
    "6.15, access tracking": MmuSpec(era="E6", a_bits=False),
}
KNOBS = (Knobs(), Knobs(7, 64, 50_000))


def kernel_with(mmu: MmuSpec, design: str) -> MmuSpec:
    """``mmu`` with ``design``, and what goes with it."""
    if design == HV:
        return replace(mmu, index=HV, write_tracking="d-bit", a_bits=True)
    if design == PR and mmu.era == "E0":
        return replace(mmu, index=PR, era="E0b")
    return replace(mmu, index=design)  # type: ignore[arg-type]


def loads() -> tuple[Workload, ...]:
    """Sweeps over pages of which some are not mapped, one of them reads; drawn writes."""
    return (
        Workload("sweep", "sequential", (0, 1), 100, 1200, Fraction(3_000), Fraction(1_000), split=True),
        Workload("reader", "strided", (1,), 0, N_PAGES, read_rate_per_s=Fraction(20_000), stride_pages=37),
        Workload("random", "uniform", (1,), 600, 700, Fraction(2_000), pacing=Pacing(open_loop=True)),
    )


class Notified:
    """A guest that is aged, whose pages the host takes away, and whose log is read as a migration does.

    harvests: (when, pages found, of them new) of each sync.
    """

    def __init__(
        self, mmu: MmuSpec, tracking: str = "get-dirty-log", knobs: Knobs | None = None, *, period_ns: int = 4 * MS
    ) -> None:
        one = live_machine(
            *loads(), tracking=tracking, n_pages=N_PAGES, filled=1500, n_vcpus=2, mmu=mmu, duration_ns=90 * MS
        )
        self.machine = Machine(one.spec, knobs)
        self.vm, self.tracker = vm_of(self.machine), self.machine.tracker
        self.notifier = notifier_of(self.vm, mmu)
        self.daemon = AgeingDaemon(self.vm, self.notifier, period_ns, call_pages=200, flushes=True)
        self.harvests: list[tuple[int, int, int]] = []
        self.vm.env.process(self._take_away(Random(5)))
        self.vm.env.process(self._migrate(Random(6)))
        self.machine.run()

    def _migrate(self, rng: Random) -> Generator[Any, Any, None]:
        """The log is on for six syncs, then off for a while."""
        bmap = np.ones(N_PAGES, np.uint8)
        while True:
            yield self.vm.env.timeout(rng.randrange(1, 5 * MS))
            yield from self.tracker.start_log()
            for _ in range(6):
                found = yield from self.tracker.sync(bmap)
                self.harvests.append((self.vm.env.now_ns, found.dirtied_pages, found.newly_dirty_pages))
                yield from self.tracker.before_send(0)
                bmap[:] = 0
                yield self.vm.env.timeout(rng.randrange(1, 10 * MS))
            yield from self.tracker.stop_log()

    def _take_away(self, rng: Random) -> Generator[Any, Any, None]:
        while True:
            yield self.vm.env.timeout(rng.randrange(1, 2 * MS))
            first = rng.randrange(N_PAGES)
            end = min(N_PAGES, first + rng.choice((1, 1, 8, 300)))
            yield from self.notifier.invalidate_range_start(first, end)
            yield self.vm.env.timeout(rng.randrange(1, 100_000))
            yield from self.notifier.invalidate_range_end(first, end)

    @property
    def indexed(self) -> IndexedSptes:
        assert self.vm.indexed is not None
        return self.vm.indexed

    def facts(self) -> dict[str, Any]:
        return {
            "passes": [(one.start_ns, one.took_ns, one.calls, one.asked, one.young) for one in self.daemon.passes],
            "young": self.daemon.young_counts.tolist(),
            "harvests": self.harvests, "version": self.vm.memory.version.tolist(),
            "exits": self.vm.engine.exits.tolist(), "work_ns": self.vm.work_ns(), "flushes": self.vm.flush.ns,
            "lock": (self.vm.lock.hold_ns, self.vm.lock.wait_ns),
        }  # fmt: skip


def check_contents(one: Notified) -> None:
    """Sptes of the index are those of the engine, and so is their number."""
    one.indexed.follow()
    theirs, mine = one.vm.engine.kvm.sptes.spte, one.indexed.index.tables.flags
    flag = DIRTY if one.indexed.index.traits.logs_by_hardware else WRITABLE
    assert np.flatnonzero((theirs ^ mine) & (PRESENT | flag)).tolist() == []


def half() -> list[Any]:
    """Each design with each fourth kernel; other pairs in the long tests, the other half in the swarm."""
    tiers = ([], [pytest.mark.swarm], [pytest.mark.long], [pytest.mark.swarm])
    return [
        pytest.param(design, kernel, marks=tiers[(i + j) % 4])
        for i, design in enumerate(DESIGNS)
        for j, kernel in enumerate(KERNELS)
    ]


@pytest.mark.parametrize(("design", "kernel"), half())
def test_aged_unmapped_and_logged_at_once_the_index_is_as_the_engine(design: str, kernel: str) -> None:
    mmu = kernel_with(KERNELS[kernel], design)
    one = Notified(mmu)
    figures, told = one.indexed.figures(), one.notifier.latencies
    check_contents(one)
    assert len(one.harvests) > 10
    assert figures.start_ns > 0
    assert figures.get_ns > 0
    assert figures.unmaps == told[RANGE_START].count > 40
    assert figures.ages == told[CLEAR_FLUSH_YOUNG].count > 100
    assert figures.unmap_ns > 0
    assert (one.notifier.young > 1000) == (design != PR)
    if kernel == "5.17, access tracking":
        assert Notified(mmu, knobs=KNOBS[1]).facts() == one.facts()


@pytest.mark.parametrize("kernel", ["5.17, A bits", "6.15, access tracking"])
@pytest.mark.parametrize("design", quick_and_long([name for name in DESIGNS if name not in (HV, PR)], DESIGNS[::3]))
def test_the_same_with_a_log_that_is_cleared_in_chunks(design: str, kernel: str) -> None:
    one = Notified(kernel_with(KERNELS[kernel], design), "clear-dirty-log")
    check_contents(one)
    assert one.indexed.figures().clears > 10


@pytest.mark.parametrize("knobs", [KNOBS[0], pytest.param(KNOBS[1], marks=pytest.mark.swarm)])
@pytest.mark.parametrize("kernel", ["2010, zaps", "2012, A bits", "5.17, access tracking"])
def test_where_all_calls_cost_the_same_all_designs_see_the_same(
    kernel: str, knobs: Knobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that link in a fault would otherwise take mmu_lock in another way."""
    monkeypatch.setattr(build, "index_costs", lambda _: IndexCosts(*[CacheCosts.uniform] * 4))
    monkeypatch.setattr(build, "shares_lock", lambda _: False)
    monkeypatch.setattr(build, "locked_for", lambda _design, era, _mmu: era)
    designs = [name for name in DESIGNS if name not in (HV, PR)]
    runs = [Notified(kernel_with(KERNELS[kernel], name), knobs=knobs).facts() for name in designs]
    for name, run in zip(designs, runs, strict=True):
        assert run == runs[0], name
    assert sum(row[-1] for row in runs[0]["passes"]) > 1000


@pytest.mark.parametrize("design", DESIGNS)
def test_a_host_short_of_memory_takes_pages_out_of_the_index(design: str) -> None:
    """Swapped out and in again, some before the run begins."""
    env, mmu = Clock(), kernel_with(KERNELS["5.17, A bits"], design)
    load = Workload("load", "uniform", (0,), 0, 1024, Fraction(20_000), Fraction(80_000))
    memory = make_memory(lay_out([("pc.ram", 1024, [(0, 1024)])]))
    vm = live_vm(env, memory, build_guest([load], 1), 1, 0, mmu, "get-dirty-log")
    host = attach(env, HostMemorySpec(700), [(vm, notifier_of(vm, mmu))], seed=1)
    for end_ns in range(MS, 20 * MS, MS):
        env.run(until=end_ns)
        host.check()
    assert vm.indexed is not None
    figures = vm.indexed.figures()
    assert figures.unmaps > 20
    vm.indexed.follow()
    theirs, mine = vm.engine.kvm.sptes.spte, vm.indexed.index.tables.flags
    assert not ((theirs ^ mine) & PRESENT).any()


def asked(design: str, event: str, first: int, end: int, **mmu: Any) -> tuple[MmuNotifier, Any, int]:
    """One call at 1 ms about a guest of which all is mapped and young: the notifier, its VM, and what the call held."""
    one = live_machine(sweep(N_PAGES, 1), n_pages=N_PAGES, mmu=MmuSpec(index=design, **mmu), duration_ns=3 * MS)  # type: ignore[arg-type]
    notifier = notifier_of(vm_of(one), MmuSpec(index=design, **mmu))  # type: ignore[arg-type]
    young = np.zeros(N_PAGES, np.uint8)
    rest = (young,) if event != RANGE_START else ()
    timed(one, MS, lambda: getattr(notifier, event)(first, end, *rest))
    one.run()
    return notifier, vm_of(one), notifier.latencies[event].total_ns


def test_ageing_in_the_measured_design_costs_what_was_measured() -> None:
    """All of a guest in one call: the walk and what is left of a page beside it are the measured page."""
    for mode, design in (("tdp", "tdp"), ("direct", "rmap")):
        _, _, took_ns = asked(design, CLEAR_YOUNG, 0, N_PAGES, mmu=mode, era="E5")
        assert took_ns / N_PAGES == pytest.approx(load_costs("cascade-lake").age_page_ns, rel=0.05)


def test_a_list_pays_for_all_of_memory_and_an_rmap_for_the_page() -> None:
    designs = "rmap", "slot-list", "gfn-hash"
    held = {name: asked(name, CLEAR_YOUNG, 700, 701, era="E5", mmu="direct")[2] for name in designs}
    assert held["slot-list"] > 50 * held["rmap"]
    assert held["rmap"] < held["gfn-hash"] < held["slot-list"]
    aged, gone = (asked("slot-list", event, 700, 701, era="E5", mmu="direct")[2] for event in (CLEAR_YOUNG, RANGE_START))
    assert gone > aged


def test_a_chain_of_writable_sptes_asks_the_index_that_it_names() -> None:
    """The rmap for one, a scan of all tables for the other."""
    held = {
        name: asked(name, CLEAR_YOUNG, 700, 701, era="E5", mmu="direct")[2]
        for name in ("rmap", "table-scan", "writable-chain", "logged-chain", "logged-writable-chain")
    }
    assert held["rmap"] * 2 > held["writable-chain"]
    assert held["rmap"] * 2 > held["logged-chain"]
    assert held["logged-writable-chain"] > 0.5 * held["table-scan"] > 5 * held["rmap"]


def test_nothing_changes_when_young_bits_are_only_read() -> None:
    _, vm, took_ns = asked("rmap", TEST_YOUNG, 0, N_PAGES)
    assert 0 < took_ns < asked("rmap", CLEAR_YOUNG, 0, N_PAGES, era="E5")[2]
    assert vm.engine.mmu.test_young(0, N_PAGES, np.zeros(N_PAGES, np.uint8)) == N_PAGES


def test_lockless_ageing_takes_no_lock() -> None:
    _, vm, _ = asked("rmap", CLEAR_YOUNG, 0, 64, era="E6")
    assert vm.lock.hold_ns == 0


def test_calls_in_a_batch_cost_what_single_ones_do() -> None:
    def of(call_pages: int, *, batch: bool, design: str) -> list[int]:
        one = live_machine(sweep(N_PAGES, 1), n_pages=N_PAGES, mmu=MmuSpec(index=design))  # type: ignore[arg-type]
        indexed, firsts = vm_of(one).indexed, np.arange(0, N_PAGES, call_pages)
        assert indexed is not None
        if batch:
            return indexed.age_holds_ns(firsts, call_pages).tolist()  # type: ignore[no-any-return]
        return [indexed.age_ns(int(first), min(int(first) + call_pages, N_PAGES)) for first in firsts]

    for design in ("rmap", "slot-list", "logged-writable-chain", "tdp", PR):
        assert of(100, batch=True, design=design) == of(100, batch=False, design=design)
        assert len(set(of(100, batch=True, design=design))) <= 8


def test_rows_of_counts_cost_what_single_counts_do() -> None:
    rows = np.random.default_rng(1).integers(0, 1000, (5, N_WORK))
    costs = replace(CacheCosts.from_sheet(load_costs("cascade-lake")), operation_ns=3.0)
    for footprint in (1e4, 1e6, 1e9):
        single = [costs.price_ns(counted(row), footprint) for row in rows]
        assert costs.price_rows_ns(rows, footprint).tolist() == pytest.approx(single)


def broken(change: Any, event: str) -> None:
    one = live_machine(sweep(N_PAGES, 1), n_pages=N_PAGES, mmu=MmuSpec(index="rmap"), duration_ns=3 * MS)
    notifier, young = notifier_of(vm_of(one), MmuSpec(index="rmap")), np.zeros(N_PAGES, np.uint8)
    rest = (young,) if event != RANGE_START else ()
    at(one, MS // 2, lambda: change(vm_of(one).indexed))
    timed(one, MS, lambda: getattr(notifier, event)(0, N_PAGES, *rest))
    one.run()


@pytest.mark.parametrize("event", [CLEAR_FLUSH_YOUNG, CLEAR_YOUNG, TEST_YOUNG, RANGE_START])
def test_an_index_that_misses_a_page_is_found(event: str) -> None:
    def lose(one: IndexedSptes) -> None:
        index: Any = one.index
        apply, each = index.apply, index.apply_each
        index.apply = lambda walk: apply(walk._replace(end=walk.end - 10))
        index.apply_each = lambda walk, firsts, ends, rows: each(walk, firsts, ends - 10, rows)

    broken(lambda _: None, event)
    with pytest.raises(InvariantError, match=r"rmap: (gfn 2038 is young|a page of \[0, 2048\) is still mapped)"):
        broken(lose, event)


# Book3S PR


def test_book3s_pr_finds_all_old_and_looks_at_nothing() -> None:
    notifier, vm, took_ns = asked(PR, CLEAR_FLUSH_YOUNG, 0, N_PAGES)
    assert (notifier.young, vm.flush.count) == (0, 0)
    assert took_ns < 100
    assert notifier.look(np.ones(N_PAGES, np.uint8)) == 0
    assert vm.engine.mmu.test_young(0, N_PAGES, np.zeros(N_PAGES, np.uint8)) == N_PAGES


def test_book3s_pr_looks_at_all_hptes_for_one_page() -> None:
    one = {n: asked(PR, RANGE_START, 7, 7 + n)[2] for n in (1, 200)}
    all_of_them = asked("slot-list", RANGE_START, 7, 8)[2]
    assert 0.3 * all_of_them < one[1] < one[200]
    assert one[1] > 10 * asked("tdp", RANGE_START, 7, 8)[2]


def test_book3s_pr_of_2010_has_no_notifiers() -> None:
    one = live_machine(mmu=MmuSpec(era="E0", index=PR))
    with pytest.raises(InputError, match="pinned in 2010") as caught:
        notifier_of(vm_of(one), MmuSpec(era="E0", index=PR))
    assert [problem.key for problem in caught.value.problems] == ["vm.mmu.index"]
    notifier_of(vm_of(live_machine(mmu=MmuSpec(era="E0b", index=PR))), MmuSpec(era="E0b", index=PR))


def test_a_get_that_finds_something_unmaps_all_and_reads_dirty_what_they_touch() -> None:
    """The write of a page makes all of the slot go; reads map it again, and the next GET finds what was only read."""
    reader = Workload("reader", "sequential", (0,), 0, 64, read_rate_per_s=Fraction(64_000))
    writer = Workload("writer", "sequential", (0,), 500, 8, Fraction(8_000))
    found: dict[str, list[int]] = {}
    for design in ("rmap", PR):
        mmu = MmuSpec(era="E0", costs="nehalem-2010", index=design)  # type: ignore[arg-type]
        one = live_machine(reader, writer, n_pages=512, mmu=mmu, duration_ns=20 * MS)
        timed(one, 0, one.tracker.start_log)
        ends = [timed(one, ms * MS + 500_000, partial(one.tracker.sync, np.zeros(512, np.uint8))) for ms in (4, 8)]
        one.run()
        found[design] = [end[0][1].dirtied_pages for end in ends]
        indexed = vm_of(one).indexed
        assert indexed is not None
        assert indexed.figures().get_ns > 20 * sum(found[design])
    assert found == {"rmap": [8, 8], PR: [72, 72]}


def test_a_full_table_is_emptied_by_the_fault_that_finds_it_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 hptes of each of two vCPUs: 500 pages in turn, each pass over them maps all, and empties the table twice or so."""
    monkeypatch.setattr(build, "traits_of", lambda name: traits_of(name).but(cap=100))
    load = Workload("load", "sequential", (0,), 0, 500, Fraction(500_000))
    mmu = MmuSpec(era="E0", costs="nehalem-2010", index=PR)
    one = live_machine(load, n_pages=512, n_vcpus=2, mmu=mmu, duration_ns=40 * MS)
    one.run()
    vm = vm_of(one)
    state, faults = vm.engine.kvm.state, vm.tally().map_faults
    mapped = np.count_nonzero(vm.engine.kvm.sptes.spte & PRESENT)
    assert (state.cap_sptes, state.mapped_sptes) == (200, mapped)
    assert vm.indexed is not None
    assert vm.indexed.figures().emptied == state.emptied == (faults + 200 - mapped) // 200 > 10
    vm.indexed.follow()
    assert np.count_nonzero(vm.indexed.index.tables.flags) == mapped <= 200
    full_ns = int(vm.engine.kvm.costs.unmap_all_ns)
    assert full_ns > 200 * 10
    assert vm.engine.sums[1] > full_ns * state.emptied
