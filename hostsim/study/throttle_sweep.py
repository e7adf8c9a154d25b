"""The sweep of auto-converge: every combination of its parameters, beside the migration without it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from hostsim.core.errors import InputError, Problem
from hostsim.results.tables import MigrationResult
from hostsim.scenario import load_scenario
from hostsim.scenario.schema import Scenario
from hostsim.study.compare.axes import Axis
from hostsim.study.compare.plan import Plan, Request, plan_of
from hostsim.study.compare.record import Heard, Measure, content_of
from hostsim.study.compare.summary import Row, Summary
from hostsim.study.option_text import listed, whole_numbers
from hostsim.study.sweeps import NamedSweep

OFF = "off"
"""The value of every option in the run without auto-converge."""
REACHED = (20, 40, 60, 80, 99)
"""Throttles [percent] whose times are reported."""
CSV = "throttle."
"""Opens the names of the figures that this sweep adds."""


@dataclass(frozen=True)
class Bound:
    """How far the writes of a guest are bound to its CPU.

    share: of its page writes, made in a closed loop; from_percent: throttle from which on the others are held back too,
    0 if there are no others.
    """

    share: float
    from_percent: float


def sweep_plan(sweep: NamedSweep, request: Request, values: Mapping[str, str]) -> Plan:
    """The runs of ``sweep``; values: option to its list as typed. The first combination is the baseline. InputError."""
    if problems := [found for name, text in values.items() for found in whole_numbers(f"--{name}", text, 1, 99)]:
        raise InputError(problems)
    lists = {name: listed(values[name]) for name in sweep.varies}
    _check_count(request, lists)
    labels = [tuple(OFF for _ in lists), *product(*lists.values())]
    scenarios = [_scenario(sweep, request, dict(zip(lists, one, strict=True))) for one in labels]
    axes = tuple(Axis(name, (OFF, *each), (OFF, *each)) for name, each in lists.items())
    return plan_of(replace(request, axes=axes, measure=THROTTLED_RUN), labels, scenarios)


def _check_count(request: Request, lists: Mapping[str, Sequence[str]]) -> None:
    n_runs = (1 + int(np.prod([len(each) for each in lists.values()]))) * request.n_seeds
    if n_runs > request.max_runs:
        wanted = f"at most {request.max_runs} runs"
        raise InputError([Problem("--max-runs", "", f"{n_runs} runs", wanted, f"--max-runs {n_runs}")])


def _scenario(sweep: NamedSweep, request: Request, setting: Mapping[str, str]) -> Scenario:
    is_base = OFF in setting.values()
    varied = {sweep.varies[name].key: value for name, value in setting.items()}
    texts = [f"{key}={value}" for key, value in (sweep.baseline if is_base else {**sweep.sets, **varied}).items()]
    return load_scenario(request.file, [*request.overrides, *texts], request.seed)


def _take(scenario: Scenario, heard: Heard) -> dict[str, Any]:
    from hostsim.simulation import run

    result = run(scenario, progress=heard)
    content = content_of(result)
    content["figures"] |= reached_ms(result.migrations[-1])
    return content


THROTTLED_RUN = Measure("hostsim-throttle-sweep-run/1", _take)
"""The measure of a run of this sweep."""


def reached_ms(migration: MigrationResult) -> dict[str, float]:
    """Time from the start until the throttle reaches each of REACHED [ms]; one that it never reaches is absent."""
    percents, t_ns = migration.series["throttle_percent"], migration.series["t_ns"]
    first = {k: np.flatnonzero(percents >= k) for k in REACHED}
    return {f"{CSV}to_{k}_percent_ms": float(t_ns[at[0]]) / 1e6 for k, at in first.items() if len(at)}


def bound_of(scenario: Scenario) -> Bound:
    """How far a throttle can hold the guest of ``scenario`` back.

    A workload in an open loop is caught up with at catch_up times its speed, so it loses nothing below 1 - 1/catch_up.
    """
    loads = [load for load in scenario.vm.workload if load.write_rate > 0]
    total = sum(float(load.write_rate) for load in loads)
    clocked = [load for load in loads if load.pacing == "open"]
    share = 1.0 - sum(float(load.write_rate) for load in clocked) / total if total else 1.0
    return Bound(share, max((100.0 * (1.0 - 1.0 / load.catch_up) for load in clocked), default=0.0))


def tuned(summary: Summary) -> list[Row]:
    """The rows with auto-converge."""
    return [row for row in summary.rows if OFF not in row.settings.values()]


def unbeaten(rows: Sequence[Row]) -> list[Row]:
    """Rows that converge, and that no other row beats in both total time and lost work; the fastest first.

    Of rows with equal figures the first stands for all.
    """
    each = {(mean(row, "total_time_ms"), mean(row, "guest_lost_ms")): row for row in reversed(rows) if row.converges}
    return [each[pair] for pair in unbeaten_pairs(each)]


def unbeaten_pairs(pairs: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The pairs that no other is below in one number and at most equal to in the other; the least first number first."""
    found = sorted(set(pairs))
    return [pair for pair in found if not any(_beats(other, pair) for other in found)]


def mean(row: Row, name: str) -> float:
    """The mean of figure ``name`` in ``row``, NaN without it."""
    spread = row.spread(name)
    return float("nan") if spread is None else spread.mean


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and one[0] <= other[0] and one[1] <= other[1]
