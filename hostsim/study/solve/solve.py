"""``hostsim.solve``: the least change with which a migration reaches a target, confirmed by runs with other seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hostsim.core.constants import NS_PER_MS
from hostsim.core.errors import InputError, Problem
from hostsim.scenario import load_scenario
from hostsim.scenario.assumed import assumptions_of
from hostsim.scenario.plausible import warnings_of
from hostsim.scenario.problems import wanted_name
from hostsim.scenario.schema import Scenario
from hostsim.study.compare.work import work_of
from hostsim.study.predict.bench import Bench
from hostsim.study.predict.forecast import computed_figures
from hostsim.study.predict.predict import require_migration
from hostsim.study.predict.prediction import estimates_of
from hostsim.study.predict.replications import REPLICATIONS, Wanted, replicate, same_guest
from hostsim.study.solve.candidates import KINDS, Candidate, candidates, settings_of, without_too_long_a_stop
from hostsim.study.solve.frontier import confirmed, frontier
from hostsim.study.solve.solution import Cell, Change, Solution
from hostsim.study.solve.target import Target, read_target
from hostsim.study.statistics import require_intervals, share_of

FIRST_WORK, CONFIRM_WORK = 150_000_000, 600_000_000
"""Work of the runs of the present scenario, and of all confirming runs [pages]."""
SEED_AFTER = 1000
"""Seeds of confirming runs lie so far behind the first: the search has others."""
CONFIRMED_LEAST = 2
RAISES, RAISED = 3, 1.03
"""A value that confirming runs refute is raised by so much, and confirmed again, so many times."""


def solve(
    scenario: Scenario | str | Path,
    target: Target | str = "converge=0.95",
    *,
    vary: Sequence[str] = KINDS,
    reps: int | None = None,
    seed: int | None = None,
    workers: int | None = None,
    out: Path | None = None,
) -> Solution:
    """Search for the least change of each kind that reaches ``target``, and confirm each with other seeds.

    scenario: or the file of one.
    target: "converge=0.95,downtime<=500ms,total<=10min".
    vary: kinds of changes: bandwidth, downtime-limit, throttle, mode.
    reps: confirming runs of each change; None: 30, fewer where that is too much work.
    workers: processes; moves no result.
    out: folder of finished runs, which are not run again.

    InputError; MissingExtraError without scipy; RunsFailedError.
    """
    base = scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
    base = base if seed is None else base.model_copy(update={"seed": seed})
    wanted = target if isinstance(target, Target) else read_target(target)
    return solve_whole(base, wanted, checked_kinds(vary), reps, Bench(workers, out))


def solve_whole(base: Scenario, target: Target, kinds: Sequence[str], reps: int | None, bench: Bench) -> Solution:
    """As ``solve``, for a loaded scenario ``base``, a read ``target`` and checked ``kinds`` of changes.

    reps: confirming runs of each change; None: 30, fewer where that is too much work.
    bench: workers, and the folder of finished runs.
    """
    require_intervals()
    require_migration(base)
    first = replicate(same_guest(base), Wanted(min(reps, REPLICATIONS) if reps else None, work=FIRST_WORK), bench)
    met = sum(map(target.met, first.figures))
    today = share_of(met, len(first.figures))
    solution = Solution(
        base.name or "vm", base.resolved(), target, today, tuple(one.seed for one in first.scenarios), first.figures, (),
        computed=computed_figures(base), warnings=warnings_of(base), assumptions=assumptions_of(base),
    )  # fmt: skip
    if solution.is_met:
        return solution
    start = without_too_long_a_stop(base, target)
    found = candidates(start, target, kinds, bench)
    changes = _confirmed(found, target, reps, bench)
    solution = replace(solution, assumptions=_assumptions(base, found, changes))
    changes = tuple(_from_today(change, base, start) for change in changes)
    if not {"bandwidth", "downtime-limit"} <= set(kinds):
        return replace(solution, changes=changes)
    cells = _frontier(start, target, changes, reps, bench)
    return replace(solution, changes=changes, frontier=tuple(_cell_from_today(cell, base, start) for cell in cells))


def _assumptions(base: Scenario, found: Sequence[Candidate], changes: Sequence[Change]) -> tuple[str, ...]:
    """Assumptions of ``base``, then those of ``changes`` that reach the target, such as the ratio of a compression."""
    helping = (one.scenario for one, change in zip(found, changes, strict=True) if change.helps and one.scenario is not None)
    return tuple(dict.fromkeys(text for scenario in (base, *helping) for text in assumptions_of(scenario)))


def _from_today(change: Change, base: Scenario, start: Scenario) -> Change:
    """``change`` of the scenario that the user has, where the search has begun at a shorter downtime limit."""
    if start is base or base.migration is None or start.migration is None:
        return change
    now, begun = (one.migration.downtime_limit / NS_PER_MS for one in (base, start) if one.migration is not None)
    if change.kind == "downtime-limit":
        return replace(change, today=now, factor=change.value / now if isinstance(change.value, float) else change.factor)
    shorter = f"together with a downtime limit of {begun:g} ms, the most that the target's downtime leaves"
    settings = {**change.settings, "migration.downtime_limit": f"{begun:g}ms"} if change.settings else change.settings
    note = "; ".join(text for text in (shorter, change.note) if text)
    return replace(change, settings=settings, note=note)


def _cell_from_today(cell: Cell, base: Scenario, start: Scenario) -> Cell:
    """``cell`` with all keys that it changes in the scenario that the user has."""
    if start is base or base.migration is None or cell.downtime_limit_ms == base.migration.downtime_limit / NS_PER_MS:
        return cell
    return replace(cell, settings={**(cell.settings or {}), **settings_of(base, "downtime-limit", cell.downtime_limit_ms)})


def _frontier(
    start: Scenario, target: Target, changes: Sequence[Change], reps: int | None, bench: Bench
) -> tuple[Cell, ...]:  # fmt: skip
    return confirmed(start, target, frontier(start, target, changes), reps, bench)


def checked_kinds(names: Sequence[str]) -> tuple[str, ...]:
    """Kinds of changes, each once. InputError for an unknown one."""
    problems = [Problem("--vary", "", repr(name), wanted_name(name, KINDS), "--vary bandwidth,downtime-limit")
                for name in names if name not in KINDS]  # fmt: skip
    if problems:
        raise InputError(problems)
    return tuple(dict.fromkeys(names))


def _confirmed(found: Sequence[Candidate], target: Target, reps: int | None, bench: Bench) -> tuple[Change, ...]:
    to_run = [one for one in found if one.scenario is not None]
    work = CONFIRM_WORK / max(1, len(to_run))
    return tuple(one.change if one.scenario is None else _raised(one, target, reps, work, bench) for one in found)


def _raised(one: Candidate, target: Target, reps: int | None, work: float, bench: Bench) -> Change:
    """The change as confirming runs leave it: its value raised until they reach the target, or an obstacle."""
    for raises in range(RAISES + 1):
        change = _by_runs(one, target, reps, work, bench)
        if change.helps or one.again is None or raises == RAISES or not isinstance(one.change.value, float):
            break
        higher = one.again(one.change.value * RAISED)
        if higher.change.value == one.change.value:
            break
        one = higher
    if change.helps or change.reached is None:
        return change
    counted = f"{change.reached.k} of {change.reached.n}"
    return replace(change, obstacle=f"it reached the target in {counted} confirming runs only")


def _by_runs(one: Candidate, target: Target, reps: int | None, work: float, bench: Bench) -> Change:
    """The change with its confirming runs: two, then as many as their work leaves."""
    assert one.scenario is not None, "only a scenario is run"
    draw = same_guest(one.scenario)
    first = [draw(SEED_AFTER + number) for number in range(CONFIRMED_LEAST)]
    figures = bench.figures(first)
    most = max(work_of(f, s) for f, s in zip(figures, first, strict=True))
    count = reps if reps is not None else min(REPLICATIONS, max(CONFIRMED_LEAST, int(work // max(1, most))))
    more = [draw(SEED_AFTER + number) for number in range(CONFIRMED_LEAST, count)]
    bench.expected = bench.done + len(more)
    runs = (*figures, *bench.figures(more))[:count]
    reached = share_of(sum(map(target.met, runs)), len(runs))
    seeds = tuple(scenario.seed for scenario in (*first, *more))[:count]
    return replace(one.change, wanted=target.converge, reached=reached, estimates=estimates_of(runs), seeds=seeds)
