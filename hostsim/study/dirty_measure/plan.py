"""The runs of ``hostsim measure-dirty``: for each row some runs with many measurements each, and some with the migration."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from hostsim.core.constants import NS_PER_MS, NS_PER_S
from hostsim.core.errors import InputError, Problem
from hostsim.core.units import format_duration, parse_duration
from hostsim.core.user_files import SCENARIO, read_toml
from hostsim.scenario import load_scenario
from hostsim.scenario.build import build
from hostsim.scenario.catalogue import found_file
from hostsim.scenario.dirty_rate_schema import CALC_TIME_MAX_NS, CALC_TIME_MIN_NS, SAMPLE_PAGES
from hostsim.scenario.schema import Scenario
from hostsim.study.compare.axes import Axis
from hostsim.study.compare.plan import Plan, Request, plan_of
from hostsim.study.dirty_measure.measure import MEASURED_RUN
from hostsim.study.dirty_measure.options import DEFAULT_FILE, METHODS, MeasureOptions
from hostsim.study.option_text import listed, names, quantity, run_problems, whole_numbers
from hostsim.theory.guest_curve import guest_curve

RUNS = 8
"""Runs, each with a seed of its own, over which the measurements of a row are spread: an interval is made of their means."""
FAULTS_MAX = 24_000_000
"""Faults that all runs of one method together may cost; counted work, so that no machine changes the number of runs."""
START_NS, GAP_NS = NS_PER_S, NS_PER_S // 4
NONE = "-"
TRACKING = {"bitmap": "get-dirty-log", "ring": "dirty-ring"}


@dataclass(frozen=True)
class MeasurePlan:
    """plan: all runs, those of the migration last; rows: settings; reps: measurements in all runs of each row."""

    plan: Plan
    rows: tuple[dict[str, str], ...]
    reps: tuple[int, ...]
    scenario: Scenario

    def keys_of(self, row: int) -> list[str]:
        """Keys of the runs of ``row``; the number of rows: of the migration."""
        n = len(self.plan.seeds)
        return [run.key for run in self.plan.runs[row * n : (row + 1) * n]]


def measure_plan(options: MeasureOptions) -> MeasurePlan:
    """Check all options, and all scenarios that they make. InputError with all problems."""
    if problems := list(_problems(options)):
        raise InputError(problems)
    path = found_file(Path(options.file or DEFAULT_FILE))
    base = load_scenario(path, (), options.seed)
    rows = [dict(zip(("method", "samples", "window"), one, strict=True)) for one in _settings(options)]
    n_runs = min(RUNS, options.reps)
    if problems := list(run_problems(len(rows) + 1, n_runs, options.max_runs)):
        raise InputError(problems)
    each = [_measurements(base, row, options.reps, n_runs, len(listed(options.window))) for row in rows]
    tables = [_measured(path, row, n, options.seed) for row, n in zip(rows, each, strict=True)]
    scenarios = [_scenario(table, path) for table in [*tables, _migrated(path, options.seed)]]
    request = Request(
        path, tuple(Axis(key, ("",), ("",)) for key in ("method", "samples", "window")), n_seeds=n_runs,
        max_runs=options.max_runs, name="measure-dirty", measure=MEASURED_RUN,
        command=("hostsim", "measure-dirty", str(path), "--reps", str(options.reps)),
    )  # fmt: skip
    labels = [*(tuple(row.values()) for row in rows), ("", "", "")]
    return MeasurePlan(plan_of(request, labels, scenarios), tuple(rows), tuple(n_runs * n for n in each), base)


def _settings(options: MeasureOptions) -> Iterator[tuple[str, str, str]]:
    """(method, samples, window) of each row; a log takes no samples."""
    for method in listed(options.method):
        samples = listed(options.samples) if method == "page-sampling" else [NONE]
        yield from ((method, some, window) for some, window in product(samples, listed(options.window)))


def _measurements(base: Scenario, row: Mapping[str, str], reps: int, n_runs: int, n_windows: int) -> int:
    """Measurements in one run. A log costs a fault for each page that is written; sampling costs none."""
    wanted = -(-reps // n_runs)
    if row["method"] == "page-sampling":
        return wanted
    curve = guest_curve(build(base).workloads, base.seed)
    pages = float(curve(parse_duration(row["window"]) / NS_PER_S))
    return max(1, min(wanted, math.floor(FAULTS_MAX / n_windows / n_runs / max(1.0, pages))))


def _measured(path: Path, row: Mapping[str, str], n: int, seed: int | None) -> dict[str, Any]:
    """The scenario of a row: its guest alone, and ``n`` measurements one after the other."""
    table, window_ns = _table(path, seed), parse_duration(row["window"])
    table.pop("migration", None)
    vm = _under(table["vm"], TRACKING.get(row["method"], "tcg"), keeps="host" in table or "ageing" in table)
    step_ns = window_ns + GAP_NS
    samples = {} if row["samples"] == NONE else {"sample_pages": int(row["samples"])}
    mode = {"mode": METHODS[row["method"]], **samples}
    vm["calc_dirty_rate"] = [
        {"start": format_duration(START_NS + i * step_ns), "calc_time": row["window"], **mode} for i in range(n)
    ]
    return {**table, "vm": vm, "duration": format_duration(START_NS + n * step_ns)}


def _under(vm: Mapping[str, Any], tracking: str, *, keeps: bool) -> dict[str, Any]:
    """``vm`` with another dirty log, and without keys of [vm.mmu] that mean nothing then.

    keeps: the guest shares its host, so it stays under KVM where no log is needed.
    """
    found = {key: value for key, value in vm.items() if key not in ("dirty_limit", "calc_dirty_rate")}
    own = found.get("dirty_tracking", "tcg")
    if tracking == "tcg":
        tracking = own if keeps else "tcg"
    if tracking == "get-dirty-log" and own in ("clear-dirty-log", "initially-all-set"):
        tracking = own
    mmu = {key: value for key, value in found.pop("mmu", {}).items() if key != "ring_entries" or tracking == "dirty-ring"}
    return found | {"dirty_tracking": tracking} | ({"mmu": mmu} if mmu and tracking != "tcg" else {})


def _migrated(path: Path, seed: int | None) -> dict[str, Any]:
    """The scenario whose total time is forecast, without measurements."""
    table = _table(path, seed)
    table["vm"] = {key: value for key, value in table["vm"].items() if key != "calc_dirty_rate"}
    return {**table, "migration": table.get("migration", {})}


def _table(path: Path, seed: int | None) -> dict[str, Any]:
    table = read_toml(path, SCENARIO)
    return table if seed is None else {**table, "seed": seed}


def _scenario(table: Mapping[str, Any], path: Path) -> Scenario:
    try:
        return Scenario.model_validate(table).in_folder(path.parent)
    except InputError as error:
        raise InputError([replace(problem, file=str(path)) for problem in error.problems]) from None


def _problems(options: MeasureOptions) -> Iterator[Problem]:
    yield from names("--method", options.method, tuple(METHODS))
    yield from whole_numbers("--samples", options.samples, *SAMPLE_PAGES)
    wrong = list(quantity("--window", options.window, parse_duration, "1s"))
    yield from wrong
    for text in [] if wrong else listed(options.window):
        window_ns = parse_duration(text)
        if not CALC_TIME_MIN_NS <= window_ns <= CALC_TIME_MAX_NS or window_ns % NS_PER_MS:
            yield Problem("--window", "", text, "whole milliseconds from 50ms to 60s", "--window 1s,5s")
