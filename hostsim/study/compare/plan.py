"""The runs of a comparison: every combination of the axes' values, all with the same seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from hostsim.core.errors import InputError, Problem
from hostsim.scenario import load_scenario
from hostsim.scenario.load import scenario_of
from hostsim.scenario.overrides import SOURCE as SET
from hostsim.scenario.schema import SEED_MAX, Scenario
from hostsim.study.compare.axes import EXAMPLE, SOURCE, Axis
from hostsim.study.compare.identity import run_key
from hostsim.study.compare.record import WHOLE_RUN, Measure

RUNS_MAX = 1000
"""A comparison with more runs has to be asked for by an option."""


@dataclass(frozen=True)
class Request:
    """A comparison as the user asks for it.

    seed: the first, None: the file's; n_seeds: seeds from it on, shared by all combinations.
    name: of the comparison, "": the scenario's.
    source, set_source: named in problems of a varied key, and of a key that was set.
    measure: how each run is measured.
    command: of a preset, which makes the scenarios itself: its program and the options that do not vary.
    table: of a scenario made in Python, whose file need not be there; None: the scenario is read from ``file``.
    by_work: no number of seeds was asked for, so more may follow (hostsim.study.compare.grown).
    """

    file: Path
    axes: tuple[Axis, ...]
    overrides: tuple[str, ...] = ()
    seed: int | None = None
    n_seeds: int = 1
    max_runs: int = RUNS_MAX
    name: str = ""
    source: str = SOURCE
    set_source: str = SET
    measure: Measure = WHOLE_RUN
    command: tuple[str, ...] = ()
    table: Mapping[str, Any] | None = None
    by_work: bool = False


@dataclass(frozen=True)
class Run:
    """One run: combination ``combination`` with ``seed``; runs of equal ``key`` give equal results."""

    combination: int
    seed: int
    scenario: Scenario
    key: str


@dataclass(frozen=True)
class Plan:
    """All combinations, the last axis varying fastest, and their runs in that order; the first is the baseline."""

    request: Request
    name: str
    combinations: tuple[tuple[str, ...], ...]
    """Labels of the values, one for each axis."""
    seeds: tuple[int, ...]
    runs: tuple[Run, ...]

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes of the request."""
        return self.request.axes

    def settings(self, combination: int) -> dict[str, str]:
        """Key and value of each axis in a combination."""
        return dict(zip((axis.key for axis in self.axes), self.combinations[combination], strict=True))


def make_plan(request: Request) -> Plan:
    """The plan of ``request``, every scenario loaded and checked. InputError with all problems, each once."""
    _check_count(request)
    labels = tuple(product(*(axis.labels for axis in request.axes)))
    runs: list[Run] = []
    found: dict[Problem, list[int]] = {}
    for i, settings in enumerate(product(*(axis.overrides for axis in request.axes))):
        try:
            runs += _runs(i, loaded(request, settings), request)
        except InputError as error:
            for problem in error.problems:
                found.setdefault(_placed(problem, request), []).append(i)
    if found:
        raise InputError(_each_once(request, labels, found))
    seeds = tuple(run.seed for run in runs[: request.n_seeds])
    return Plan(request, request.name or runs[0].scenario.name or request.file.stem, labels, seeds, tuple(runs))


def loaded(request: Request, settings: Sequence[str] = ()) -> Scenario:
    """The scenario of ``request`` with ``settings``, texts of ``--set``, besides its own. InputError."""
    overrides = [*request.overrides, *settings]
    if request.table is None:
        return load_scenario(request.file, overrides, request.seed)
    return scenario_of(deepcopy(dict(request.table)), request.file, overrides, request.seed)


def plan_of(request: Request, combinations: Sequence[tuple[str, ...]], scenarios: Sequence[Scenario]) -> Plan:
    """The plan of ``scenarios`` that are made already. InputError.

    request: name, seeds and options of the study.
    combinations: a label for each axis, a row for each of ``scenarios``.
    """
    runs = [run for i, scenario in enumerate(scenarios) for run in _runs(i, scenario, request)]
    return Plan(request, request.name, tuple(combinations), tuple(run.seed for run in runs[: request.n_seeds]), tuple(runs))


def with_seeds(plan: Plan, n_seeds: int) -> Plan:
    """``plan`` with ``n_seeds`` seeds, from its first one on. InputError."""
    scenarios = [run.scenario for run in plan.runs if run.seed == plan.seeds[0]]
    request = replace(plan.request, n_seeds=n_seeds, by_work=False)
    return replace(plan_of(request, plan.combinations, scenarios), name=plan.name)


def _runs(combination: int, scenario: Scenario, request: Request) -> list[Run]:
    """A run for each seed. Scenarios are kept without their traces: the worker reads them again."""
    last = scenario.seed + request.n_seeds - 1
    if last > SEED_MAX:
        raise InputError([Problem("--seeds", "", f"seeds {scenario.seed} to {last}", f"seeds up to {SEED_MAX}", "--seed 1")])
    runs = []
    for seed in range(scenario.seed, last + 1):
        seeded = scenario.model_copy(update={"seed": seed})
        runs.append(Run(combination, seed, seeded.in_folder(request.file.parent), run_key(seeded)))
    return runs


def _check_count(request: Request) -> None:
    count = math.prod(len(axis.values) for axis in request.axes) * request.n_seeds
    if count > request.max_runs:
        got = f"{count} runs ({' x '.join([*(str(len(a.values)) for a in request.axes), f'{request.n_seeds} seeds'])})"
        wanted = f"at most {request.max_runs} runs, or --max-runs"
        raise InputError([Problem(request.source, "", got, wanted, f"--max-runs {count}")])


def _placed(problem: Problem, request: Request) -> Problem:
    """A problem of a varied key stands where the key is varied."""
    if problem.file != SET:
        return problem
    if not any(_is_of(problem.key, axis.key) for axis in request.axes):
        return replace(problem, file=request.set_source)
    example = EXAMPLE if problem.example.startswith(SET) else problem.example
    return replace(problem, file=request.source, example=example)


def _is_of(key: str, axis_key: str) -> bool:
    return key == axis_key or key.startswith((f"{axis_key}.", f"{axis_key}["))


def _each_once(request: Request, labels: Sequence[tuple[str, ...]], found: dict[Problem, list[int]]) -> Iterator[Problem]:
    """Each problem once; one that depends on the values of another key names the first values with which it occurs."""
    for problem, where in found.items():
        names_itself = problem.file == request.source
        if len(where) == len(labels) or names_itself:
            yield problem
            continue
        axes = zip(request.axes, labels[where[0]], strict=True)
        settings = ", ".join(f"{axis.key}={value}" for axis, value in axes)
        more = f" and {len(where) - 1} more" if len(where) > 1 else ""
        yield replace(problem, got=f"{problem.got} (with {settings}{more})")
