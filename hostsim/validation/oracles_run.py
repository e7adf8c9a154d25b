"""The closed forms against the engine: its guests, its dirty log, its migrations."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from hostsim.core.constants import NS_PER_S
from hostsim.core.dirty_tracker import at_once
from hostsim.core.memory import lay_out
from hostsim.costs.exits import EXCLUSIVE, WP
from hostsim.costs.host_sheet import load_sheet, punctual
from hostsim.guest.workload import Workload
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.cpu_throttle import CpuThrottle
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.parameters import MigrationParameters
from hostsim.spte_index.spte import PRESENT, make_sptes
from hostsim.theory import distinct
from hostsim.theory.page_classes import PageClasses
from hostsim.theory.precopy import PrecopyOutcome, throughput_mbps
from hostsim.theory.throttle import throttle_needed
from hostsim.validation.lock_runs import ENTRY_NS, EXIT_NS, LockRun, Loops, exit_costs
from hostsim.validation.oracles_precopy import GEOMETRIC, LIMIT_S, PAGE_S, PAGES, SATURATING, saturating
from hostsim.validation.passes import PassPlan, guest_machine, harvest_counts, run_passes
from hostsim.validation.rows import Row, exact, relative, sigma
from hostsim.validation.samples import SUITE, closed_requester_row, count_rows, distinct_rows, pages_sent_row

HARVESTS = 400
COUPON_REPLICATIONS = 400
THROTTLED_RATIO = 1.5
THROTTLES_PERCENT = (20, 30, 37, 50)
COUPON_STEPS_A_PAGE = 20
"""Harvests of the coupon collector for each page: the count of writes is known to 1/20 of a page's worth."""


def run_rows() -> Iterator[Row]:
    """O1-O6, O8, O29 and O32-O34, each on the engine."""
    yield from _distinct_rows()
    yield _sweep_row()
    yield _coupon_row()
    yield from _geometric_rows()
    yield from _saturating_rows()
    yield from _throttle_rows()
    yield _requester_row()
    yield from _migration_rows()


def _uniform(n_pages: int, rate: float, pattern: str = "uniform", **more: object) -> Workload:
    writes = Fraction(rate).limit_denominator(1000)
    return Workload("w", pattern, (0,), 0, n_pages, writes, **more)  # type: ignore[arg-type]


def _distinct_rows() -> Iterator[Row]:
    """Distinct pages a second: 15 000 uniform writes to 10 000 pages, paced (O1) and as Poisson processes (O2)."""
    pages, writes = 10_000, 15_000
    paced = harvest_counts(guest_machine((_uniform(pages, writes),), pages), NS_PER_S, HARVESTS)
    mean = distinct.distinct_mean_pages(pages, writes)
    yield from count_rows("O1-run", "distinct pages", paced, mean, distinct.distinct_variance_pages(pages, writes))
    loads = {
        "uniform": (_uniform(pages, writes, arrivals="poisson"), PageClasses.uniform(pages, writes)),
        "hotcold": (
            _uniform(pages, writes, "hotcold", arrivals="poisson", hot_pages=1000, hot_share=0.9),
            PageClasses.hotcold(pages, 1000, 0.9, writes),
        ),
        "zipf": (_uniform(pages, writes, "zipf", exponent=1.0), PageClasses.zipf(pages, 1.0, writes)),
    }
    for name, (load, classes) in loads.items():
        found = harvest_counts(guest_machine((load,), pages), NS_PER_S, HARVESTS)
        yield from distinct_rows(f"O2-run/{name}", found, classes, 1.0)


def _sweep_row() -> Row:
    """O3: a sweep of 7 000 pages a second over 10 000 pages, harvested each second."""
    found = harvest_counts(guest_machine((_uniform(10_000, 7_000, "sequential"),), 10_000), NS_PER_S, 50)
    return exact(SUITE, "O3-run", "distinct pages of 50 harvests", 50 * 7_000, sum(found))


def _coupon_row() -> Row:
    """O29: writes until all of 1 000 pages are dirty."""
    pages, rate = 1000, 1_000_000
    counts = [_writes_until_all_dirty(pages, rate, seed) for seed in range(COUPON_REPLICATIONS)]
    mean, spread = distinct.all_dirty_mean_writes(pages), distinct.all_dirty_sd_writes(pages)
    late = pages / COUPON_STEPS_A_PAGE / 2
    z = (float(np.mean(counts)) - late - mean) / (spread / COUPON_REPLICATIONS**0.5)
    return sigma(SUITE, "O29-run", "writes until all pages are dirty", mean, float(np.mean(counts)) - late, z)


def _writes_until_all_dirty(pages: int, rate: int, seed: int) -> int:
    machine = guest_machine((_uniform(pages, rate),), pages, seed=seed)
    bmap = np.zeros(pages, np.uint8)
    at_once(machine.tracker.start_log())
    step_ns = NS_PER_S // rate * pages // COUPON_STEPS_A_PAGE
    while not bmap.all():
        machine.env.run(until=machine.env.now_ns + step_ns)
        at_once(machine.tracker.sync(bmap))
    return machine.env.now_ns * rate // NS_PER_S


def _plan(limit_s: float = LIMIT_S, max_passes: int = 400) -> PassPlan:
    return PassPlan(PAGE_S, PAGES * PAGE_S, limit_s, max_passes=max_passes)


def _geometric_rows() -> Iterator[Row]:
    """O4: a sweep that never meets its own pages again. Sizes of passes are whole pages, so totals are to 1e-4."""
    for rate, (total_s, passes, _, sent) in GEOMETRIC.items():
        got = run_passes(guest_machine((_uniform(PAGES, rate, "sequential"),), PAGES), _plan())
        yield from _pass_rows(f"O4-run/{rate // 1000}k", float(total_s), passes, got, 1e-4)
        yield relative(SUITE, f"O4-run/{rate // 1000}k", "pages sent", float(sent), got.pages_sent, 1e-4)


def _saturating_rows() -> Iterator[Row]:
    """O5: uniform writes; one run, so the drawn total is within 1 %, and the number of passes may differ accordingly."""
    for rho, (total_s, passes) in SATURATING.items():
        load = _uniform(PAGES, float(rho) / PAGE_S)
        got = run_passes(guest_machine((load,), PAGES), _plan())
        yield from _pass_rows(f"O5-run/{rho}", float(total_s), passes, got, 0.01)
    never = run_passes(guest_machine((_uniform(PAGES, 1.05 / PAGE_S),), PAGES), _plan())
    yield exact(SUITE, "O5-run/1.05", "converges at 30 ms", saturating(1.05).converged, never.converged)
    wide = run_passes(guest_machine((_uniform(PAGES, 1.05 / PAGE_S),), PAGES), _plan(0.1))
    yield exact(SUITE, "O6-run/1.05", "converges at 100 ms", saturating(1.05, 0.1).converged, wide.converged)


def _throttle_rows() -> Iterator[Row]:
    """O8: a sweep at 1.5 times the rate pages are sent ends under throttles above 1 - B/r = 33 1/3 %, not below."""
    needed = throttle_needed(THROTTLED_RATIO, 1.0)
    for percent in THROTTLES_PERCENT:
        machine = guest_machine((_uniform(PAGES, THROTTLED_RATIO / PAGE_S, "sequential"),), PAGES)
        CpuThrottle(machine.env, machine.vm, punctual(machine.spec.sheet), 1).set(percent)
        got = run_passes(machine, _plan(max_passes=60))
        yield exact(SUITE, f"O8-run/{percent}%", "converges", percent / 100 > needed, got.converged)


def _requester_row() -> Row:
    """O33: one vCPU that write-faults on each of 4096 pages: rate x (latency + think) = 1 (times assumed)."""
    pages, hold_ns, think_ns = 4096, 331, 170
    sptes, zero = make_sptes(pages), np.zeros(1, np.int64)
    sptes.spte[:] = PRESENT
    run = LockRun(sptes, exit_costs({WP: EXCLUSIVE}, {WP: hold_ns}), Loops(zero, zero, zero + pages, zero + think_ns))
    run.advance()
    faults, duration_ns = int(run.exits[WP]), int(run.set_ns[-1]) + ENTRY_NS + think_ns
    return closed_requester_row("O33-run", faults, duration_ns, (EXIT_NS + hold_ns + ENTRY_NS) * faults, think_ns * pages)


def _pass_rows(where: str, total_s: float, passes: int, got: PrecopyOutcome, tolerance: float) -> Iterator[Row]:
    yield relative(SUITE, where, "total time, s", total_s, got.total_s, tolerance)
    yield relative(SUITE, where, "passes", passes, got.passes, 0.1 if tolerance > 1e-3 else 0.0)


def _migration_rows() -> Iterator[Row]:
    """O32 and O34 on QEMU's loop: pages sent are all pages plus every newly dirty page; mbps follows from its counters."""
    machine = _migrating()
    machine.run()
    migration = machine.migration
    assert migration is not None
    newly = [sync.newly_dirty_pages for sync in migration.recorder.syncs]
    sent = migration.ram.normal_pages + migration.ram.zero_pages
    yield pages_sent_row("O32-run", machine.vm.memory.n_pages, newly, sent)
    answer = migration.counters()
    expected = throughput_mbps(answer.transferred, answer.total_time_ms, answer.setup_time_ms)
    yield relative(SUITE, "O34-run", "mbps", expected, answer.mbps, 1e-9)


def _migrating() -> Machine:
    pages = 1 << 18
    load = _uniform(pages, 100_000)
    return Machine(
        MachineSpec(
            lay_out([("pc.ram", pages, [(0, pages // 2)])]), (load,), 1, load_sheet("generic"),
            link=LinkSpec(1_250_000_000, 100_000, 1 << 21), migration=MigrationParameters(max_bandwidth=0),
        )
    )  # fmt: skip
