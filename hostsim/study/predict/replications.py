"""Replications of a question: how many, by which rule, with which seeds.

Counted work and fixed batches decide the number, never time or the number of workers: every machine runs the same seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hostsim.core.errors import InputError, Problem
from hostsim.scenario.schema import SEED_MAX, Scenario
from hostsim.study.compare.figures import Figures
from hostsim.study.compare.work import BASE_WORK, work_of
from hostsim.study.predict.bench import Bench
from hostsim.study.predict.work_ahead import computed_work
from hostsim.study.statistics import BATCH, is_narrow

Drawn = Callable[[int], Scenario] | Sequence[Scenario]
"""The scenario of each replication: a function of its number (0, 1, ...), or a scenario for each."""
RuleName = Literal["asked", "work", "interval", "most"]

REPLICATIONS = 30
PILOT = 2
"""Runs whose work decides how many follow; one for a guest whose run is, by computation, more work than PILOT_WORK."""
PILOT_WORK = 900_000_000
"""[pages]. Two such runs exceed the work of an answer, but show a spread."""
MOST = 300
"""Replications at which a wanted interval is given up, unless --reps says another number."""


@dataclass(frozen=True)
class Wanted:
    """Replications as the user asks for them.

    reps: their number, or the most with ``until_ci``; None: 30, fewer where their work would exceed ``work``.
    until_ci: half width of the interval of the mean total time, as a share of the mean, at which no more are added.
    guests_differ: the replications are of several guests, so that the work of one run does not tell that of the next.
    """

    reps: int | None = None
    until_ci: float | None = None
    work: float = BASE_WORK
    guests_differ: bool = False


@dataclass(frozen=True)
class Rule:
    """The rule that set the number of replications.

    asked: the number that was asked for, or the usual one. work: more would have been too much work. interval: the
    interval became narrow enough. most: it did not, up to the largest number.
    wanted: the number without the rule; within: the wanted half width as a share.
    work_each, budget: of the dearest run, and of all runs [pages], by which rule work has counted.
    """

    name: RuleName
    wanted: int
    within: float | None = None
    work_each: float = 0.0
    budget: float = 0.0


@dataclass(frozen=True)
class Replications:
    """Scenario and figures of each replication, and the rule that ended them."""

    scenarios: tuple[Scenario, ...]
    figures: tuple[Figures, ...]
    rule: Rule


def same_guest(scenario: Scenario) -> Callable[[int], Scenario]:
    """``scenario`` with its own seed, the next seed, and so on: as ``hostsim compare --seeds`` counts."""

    def replication(number: int) -> Scenario:
        if scenario.seed + number > SEED_MAX:
            raise InputError([Problem("--seed", "", str(scenario.seed), f"seeds up to {SEED_MAX}", "--seed 1")])
        return scenario.model_copy(update={"seed": scenario.seed + number})

    return replication


def replicate(drawn: Drawn, wanted: Wanted, bench: Bench) -> Replications:
    """Run the replications of ``drawn``, which gives the scenario of each number. RunsFailedError, InputError.

    wanted: their number; or the interval to reach, or the work that they may take.
    bench: workers, and the folder of finished runs.
    """
    if wanted.until_ci is not None:
        return _until_narrow(drawn, wanted, bench, wanted.until_ci)
    if wanted.guests_differ and wanted.reps is None:
        return _within_work(drawn, wanted, bench)
    usual = _most(drawn, REPLICATIONS if wanted.reps is None else wanted.reps)
    first = usual if wanted.reps is not None else min(pilots(_draw(drawn)(0)), usual)
    bench.expected = bench.done + usual
    scenarios, figures = _more(drawn, 0, first, bench)
    work = max(work_of(f, s) for f, s in zip(figures, scenarios, strict=True))
    count = usual if wanted.reps is not None else max(first, min(usual, int(wanted.work // max(1, work))))
    bench.expected = bench.done + count - first
    more_scenarios, more_figures = _more(drawn, first, count, bench)
    rule = Rule("asked", usual) if count == usual else Rule("work", usual, None, work, wanted.work)
    return Replications((*scenarios, *more_scenarios), (*figures, *more_figures), rule)


def pilots(first: Scenario) -> int:
    """Number of runs that measure the work of one: PILOT, or one where ``first`` is more work than PILOT_WORK."""
    return PILOT if computed_work(first) <= PILOT_WORK else 1


def _within_work(drawn: Drawn, wanted: Wanted, bench: Bench) -> Replications:
    """Replications in their order, as many as the work allows: one guest may take 20 times the work of another.

    The work of each run is computed before it runs and counted afterwards: a migration near its limit often ends sooner
    than by computation, which leaves work for more.
    """
    usual, spent, scenarios, figures = _most(drawn, REPLICATIONS), 0, list[Scenario](), list[Figures]()
    ahead = [computed_work(_draw(drawn)(number)) for number in range(usual)]
    bench.expected = bench.done + usual
    while len(figures) < usual:
        first = len(figures)
        more = _affordable(ahead[first:], wanted.work - spent) if figures else max(1, _affordable(ahead, wanted.work))
        if not more:
            break
        some = _more(drawn, first, first + more, bench)
        scenarios, figures = [*scenarios, *some[0]], [*figures, *some[1]]
        spent = sum(work_of(f, s) for f, s in zip(figures, scenarios, strict=True))
    dearest = max(ahead[: len(figures) + 1])
    rule = Rule("asked", usual) if len(figures) == usual else Rule("work", usual, None, dearest, wanted.work)
    return Replications(tuple(scenarios), tuple(figures), rule)


def _affordable(ahead: Sequence[float], left: float) -> int:
    """Number of the runs whose work is ``ahead``, the first ones, that take at most ``left`` together."""
    return int(np.searchsorted(np.cumsum(ahead), left, side="right"))


def _until_narrow(drawn: Drawn, wanted: Wanted, bench: Bench, within: float) -> Replications:
    most = _most(drawn, wanted.reps or MOST)
    scenarios: tuple[Scenario, ...] = ()
    figures: tuple[Figures, ...] = ()
    while len(figures) < most:
        bench.expected = bench.done + min(BATCH, most - len(figures))
        more = _more(drawn, len(figures), min(len(figures) + BATCH, most), bench)
        scenarios, figures = (*scenarios, *more[0]), (*figures, *more[1])
        times = total_times(figures)
        if not times or is_narrow(times, within):
            return Replications(scenarios, figures, Rule("interval", most, within))
    return Replications(scenarios, figures, Rule("most", most, within))


def total_times(figures: Sequence[Figures]) -> list[float]:
    """Total time [ms] of each run that completed."""
    times = [one["total_time_ms"] for one in figures if one["status"] == "completed"]
    return [float(time) for time in times if isinstance(time, int | float)]


def _most(drawn: Drawn, wanted: int) -> int:
    return wanted if callable(drawn) else min(wanted, len(drawn))


def _more(drawn: Drawn, first: int, end: int, bench: Bench) -> tuple[tuple[Scenario, ...], tuple[Figures, ...]]:
    scenarios = tuple(_draw(drawn)(number) for number in range(first, end))
    return scenarios, tuple(bench.figures(scenarios))


def _draw(drawn: Drawn) -> Callable[[int], Scenario]:
    return drawn if callable(drawn) else drawn.__getitem__
