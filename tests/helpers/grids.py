"""Every table that a command prints, from small or made-up results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from hostsim.cli.calibrate_cmd import _table as calibration_table
from hostsim.cli.scenarios_cmd import scenarios_table
from hostsim.core.latency import Latencies
from hostsim.fitting.points import Point, Visit
from hostsim.measure.kvm.chain_costs import COLUMNS as CHAIN_COLUMNS
from hostsim.measure.selftest.access_lines import PHASE_COLUMNS as ACCESS_COLUMNS
from hostsim.measure.selftest.lines import PHASE_COLUMNS
from hostsim.report.age_report import age_table, two_by_two_tables
from hostsim.report.beside import beside_grid
from hostsim.report.columns import Grid
from hostsim.report.compare_report import compare_tables
from hostsim.report.debate_report import debate_tables
from hostsim.report.fit_report import rounds_grid
from hostsim.report.measure_dirty_report import measure_table
from hostsim.report.predict_report import figures_grid
from hostsim.report.reclaim_report import reclaim_tables
from hostsim.report.solve_report import frontier_grid, runs_grid
from hostsim.report.sweep_reports import sweep_table
from hostsim.report.tables import host_tables, migration_tables, plain_table, summary_table, validation_tables
from hostsim.report.watch_study import study_grid
from hostsim.results.ageing import PASSES
from hostsim.results.kvm import KVM_ROUNDS
from hostsim.results.latencies import Distribution
from hostsim.results.tables import MigrationResult, RunResult, Table
from hostsim.scenario.catalogue import catalogue
from hostsim.study.ageing.two_by_two import Cell
from hostsim.study.compare.plan_file import Finished, Group, PlannedRuns
from hostsim.study.compare.summary import Row, Summary
from hostsim.study.dirty_measure.outcome import MeasureRow
from hostsim.study.rmap_debate.claim import Claim, Crossing, Panel
from hostsim.study.statistics import Spread
from hostsim.study.throttle_sweep import REACHED
from hostsim.validation.rows import relative
from tests.helpers.kvm_synthetic import kvm_migration
from tests.helpers.predicted import predicted, solved
from tests.helpers.synthetic import migration, run_result

ROOT = Path(__file__).resolve().parents[2]
NS = 123_456_789_012
WORD = "mglru-no-walk"
WIDE_SPREAD = Spread(3, 123_456.0, 100_000.0, 199_999.0)
NEIGHBOURS = ("vm", "neighbour[0]", "neighbour[10]")


def _of_fits() -> Iterator[Grid]:
    visit = Visit(1234.5, 1234.5, 0.1, np.zeros(1), np.ones(1), 0.55, is_first=False, kept=np.array([0.1]))
    point = Point((visit,), 123_456_789.0, 12_345.0, 123_456.7)
    one = SimpleNamespace(
        rounds=(visit,), has_chunks=False, points=lambda **_: (point,), log=SimpleNamespace(part=(9, 10), source="x")
    )
    for observed in ((), (one,), (one, one)):
        points = (point,) * max(1, len(observed))
        found = SimpleNamespace(points=points, by_chunks=None, circles=0.0)
        classes = SimpleNamespace(expected=np.array([1_234_567.0] * len(points)))
        yield rounds_grid(SimpleNamespace(found=found, classes=classes, observed=observed))  # type: ignore[arg-type]


def every_table() -> Iterator[Grid]:
    """All of them; wide figures, long names."""
    yield from _of_runs()
    yield from _of_studies()
    yield from _of_fits()
    yield from _of_tools()
    yield from _of_sweeps()


def _of_runs() -> Iterator[Grid]:
    yield from migration_tables(migration(rounds=50, throttled=True))
    yield from migration_tables(_busy())
    yield from host_tables(_host())
    result: RunResult = run_result()
    yield plain_table(result.guest)
    yield from compare_tables(compared())
    yield figures_grid(predicted().estimates)
    yield frontier_grid(solved())
    yield runs_grid(solved())


def _busy() -> MigrationResult:
    """A migration under KVM in which everything happened that has a column."""
    found = kvm_migration(throttled=True)
    counters = [column.name for column in KVM_ROUNDS if column.dtype == "int64"]
    rounds = found.rounds.columns | {name: np.full(len(found.rounds), 123_456) for name in counters}
    return MigrationResult(**{**vars(found), "rounds": Table("rounds", rounds)})


def _host() -> Any:
    one = {"pages": 262_144, "resident_pages": 123_456, "swapped_pages": 98_765, "populated": 262_144,
           "swapped_in": 123_456, "read_ahead": 98_765, "swapped_out": 123_456, "dropped": 123_456,
           "direct_reclaims": 12_345, "async_faults": 1_234, "async_wait_ns": 1_234_567_890, "read_back": 12_345,
           "migration_wait_ns": 109_234_567, "stall_share": 0.1234, "guest_slowdown": 0.2345}  # fmt: skip
    vms = [{"vm": vm, **one} for vm in NEIGHBOURS]
    marks = {"low": 276, "high": 331}
    memory = {"free_frames": 294, "frames": 12_288, "watermarks": marks, "swap_used_pages": 8_180, "vms": vms}
    pages = (float("nan"), 16_123.0, 1_616_123.0)
    found = {"pass": 12, "start_ns": NS, "took_ns": NS, "calls": 1_024, "asked": 65_536, "young": 15_800, "host_read": 1_831}
    passes = [{"vm": vm, "in_use": 1_234, "false_old": 281, "working_set_pages": true, **found}
              for vm, true in zip(NEIGHBOURS, pages, strict=True)]  # fmt: skip
    aged = Table.of_dicts("ageing_passes", PASSES, passes)
    latencies = Latencies()
    for _ in range(123):
        latencies.record(123_456_789)
    waits = [Distribution("notifier_invalidate_range_start", vm, latencies) for vm in NEIGHBOURS]
    tables = {"ageing_passes": aged}
    return SimpleNamespace(memory=memory, destination_memory=None, ageing=[1], tables=tables, latencies=waits)


def compared() -> Summary:
    """Two keys, three seeds, and every figure that has a column."""
    costs = {"kvm.wp_faults": 77_777, "kvm.lock_wait_ns": NS, "kvm.stall_share": 0.045, "kvm.index_bytes": 10**9,
             "memory.swapped_in": 12_345, "memory.swap_in_p99_ns": NS, "ageing.pass_max_ns": NS}  # fmt: skip
    one = {"status": "completed", "total_time_ms": 4_001, "downtime_ms": 201, "transferred_bytes": 2_000_000_001,
           "guest_slowdown_percent": 1.23, "ageing.pass_mean_ns": NS, "syncs": 5, "throttle_max_percent": 20}  # fmt: skip
    rows = [
        Row({"link.bandwidth": f"{n}Gbit/s", "vm.mmu.index": "writable-chain"},
            tuple(one | costs | {"total_time_ms": 4_000 + 77 * seed * n} for seed in (1, 2, 3)))
        for n in (1, 10)
    ]  # fmt: skip
    return Summary(tuple(rows), (1, 2, 3))


def _of_studies() -> Iterator[Grid]:
    figures = _AnyFigure()
    settings = {"policy": WORD, "vcpus": "64", "index": "writable-chain"}
    verdict = "guest 12.3 % slower; 2 passes in 10 fall behind; takes 23 % of what is used for idle"
    case: Any = SimpleNamespace(period_ns=1)
    row: Any = _StudyRow(figures, settings, case, verdict)
    yield age_table([row, row], ["policy", "vcpus", "index"])
    plan: Any = SimpleNamespace(limits=[])
    aged = _StudyRow(figures, {"age": "10s", "policy": WORD, "swap": "sata-ssd"}, case, verdict)
    other = _StudyRow(figures, {"age": "20s", "policy": "idle", "swap": "nvme"}, case, verdict)
    yield from reclaim_tables(plan, [aged, other])  # type: ignore[list-item]
    turns = tuple(Crossing("half of the mapped pages have two or more sptes, 50 processes", 265_648.0, 265_589.0,
                           "of memory used between scans", "n q = 1") for _ in range(2))  # fmt: skip
    says = "chain only slots that are logged: no penalty for normal RAM of 16 GiB, unless Kemari or migration"
    yield from debate_tables([Claim(8, says, "Graf / Kivity", "holds if", "x", turns, Panel("x", "y", ()))])
    cell = Cell(True, "slot-list", True, 123_456_789.0, 2_048.0, 123.4, 2_048.0, 12.345, NS, 12.34, 5.67, False)
    yield _watched()
    yield from two_by_two_tables([cell, Cell(False, "rmap", False, 1e6, 500.0, 0.0, 0.0, 0.0, 0)])


def _of_sweeps() -> Iterator[Grid]:
    figures = {"status": "completed", "total_time_ms": 123_456, "downtime_ms": 1_234, "guest_lost_ms": 123_456.7,
               "throttle_max_percent": 99} | {f"throttle.to_{k}_percent_ms": 123_456.7 for k in REACHED}  # fmt: skip
    setting = {"max": "99", "initial": "40", "increment": "20"}
    rows = [Row(setting, tuple(figures | {"total_time_ms": n} for n in (1, 2, 3_456)))]
    yield sweep_table(Summary((Row({"max": "off", "initial": "off", "increment": "off"}, (None,) * 3), *rows), (1, 2, 3)))
    spreads = dict.fromkeys(("bias_percent", "guest_lost_percent", "error_percent"), WIDE_SPREAD)
    setting = {"method": "page-sampling", "samples": "16384", "window": "1500ms"}
    yield measure_table([MeasureRow(setting, 10_000, 12_345.6, 12_345.6, 123.4, spreads, 123_456.7, 0.123)])


def _watched() -> Grid:
    """Two keys, one combination finished and one not begun."""
    settings = {"link.bandwidth": "12.5Gbit/s", "migration.downtime_limit": "1234ms"}
    groups = (Group(settings, ("a", "b", "c")), Group(settings, ("d", "e", "f")))
    finished = Finished(ROOT, PlannedRuns("mine", groups))
    one = {"status": "completed", "total_time_ms": 123_456, "downtime_ms": 1_234, "transferred_bytes": 123_456_789_012,
           "guest_slowdown_percent": 12.3}  # fmt: skip
    finished._figures = {"a": one, "b": one, "c": one}
    return study_grid(list(groups), finished)


class _AnyFigure(dict[str, Spread]):
    """Every figure there may be."""

    def __missing__(self, name: str) -> Spread:
        return WIDE_SPREAD


class _StudyRow:
    def __init__(self, figures: dict[str, Spread], settings: dict[str, str], case: Any, verdict: str) -> None:
        self.figures, self.settings, self.case, self.verdict = figures, settings, case, verdict
        self.n_completed, self.falls_behind, self.latencies, self.migrates = 3, True, {}, True
        self.sees, self.missed_share, self.surplus_share = False, 0.23, 0.48

    def mean(self, name: str) -> float:
        return self.figures[name].mean


def _of_tools() -> Iterator[Grid]:
    notes = "error and tolerance as share of expected; measured 12.3 s to 45.6 s over 10 repeats of one case"
    rows = [relative(suite, "ac_link_rand150_throttle/25Gbps/300ms", "transferred_bytes", 1.2345e11, 1.23e11, 0.05)
            .unscored(notes) for suite in ("qemu", "published")]  # fmt: skip
    yield from (*validation_tables(rows), summary_table(rows), beside_grid(rows))
    for columns in (PHASE_COLUMNS, ACCESS_COLUMNS):
        row = {column.name: "Mark memory idle (page_idle)" if column.key else 123_456_789 for column in columns}
        yield plain_table(Table.of_dicts("phases", columns, [row]))
    yield plain_table(Table.of("sptes", CHAIN_COLUMNS, [("enable", 16, *5 * (123_456.78,))]))
    how = "measured 2024-05-06: median of 31 repetitions of 4 MiB each, pinned to one core"
    number = SimpleNamespace(name="tlb_flush_remote_ns", value=123.456789012, spread=0.123, source=how)
    yield calibration_table(SimpleNamespace(numbers=[number], date="measured 2024-05-06"))  # type: ignore[arg-type]
    yield scenarios_table(catalogue(ROOT / "scenarios"))
