"""Where an answer flips: the computation says about where, runs on both sides of that value say whether it does.

A margin is a pair of neighbouring values: with the nearer one the migration ends as it does today with every seed, with the
farther one it does not. A pair that was not run says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hostsim.core.constants import NS_PER_S
from hostsim.results.mechanism import is_converged
from hostsim.scenario.schema import DURATION_MAX_NS, Scenario
from hostsim.study.compare.figures import Figures
from hostsim.study.predict.bench import Bench
from hostsim.study.predict.forecast import Forecast, first_pass_s, forecast
from hostsim.study.predict.knobs import KNOBS, Knob
from hostsim.study.predict.replications import same_guest
from hostsim.study.predict.work_ahead import computed_work

MARGIN_WORK = 900_000_000
"""Work of all runs for margins [pages]; a value whose runs would exceed it is computed, and not run."""
SEEDS = 3
"""Runs of each value, one where a run is more work than a part of MARGIN_WORK."""
GAP = 0.02
"""Distance of the first two values from the computed one; doubled while they do not part."""
NARROW = 1.08
"""Neighbours whose ratio is at most this are near enough (assumed)."""
FAR_APART = 2.0
"""Beyond this ratio the next value lies halfway, on a logarithmic scale."""
ROUNDS = 6
BISECTIONS = 40
PATIENCE, TIMES_THE_MEAN = 2.5, 3.0
"""A run for a margin is given up after the time that sending all memory so many times takes, or after so many times the
mean total time, whichever is longer (assumed).
"""


@dataclass(frozen=True)
class Margin:
    """Where the answer flips with one figure changed alone.

    knob: name of the figure; today: its value; computed: the value at which the computation flips, None: nowhere.
    near, far: with ``near`` it ends as today in all runs, with ``far`` in none; far None: also ``near``, the farthest value
    that was tried, does not flip it. seeds: of the runs of each value, () if none ran. near is today's where no value lies
    farther.
    work: of its runs [pages] by computation, where they were more than the budget had left; 0 where the search ended.
    """

    knob: str
    today: float
    harder: bool
    computed: float | None
    near: float | None = None
    far: float | None = None
    seeds: tuple[int, ...] = ()
    work: float = 0.0

    @property
    def confirmed(self) -> bool:
        """Whether runs on both sides, or at the farthest value, show it."""
        return bool(self.seeds) and self.near is not None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "confirmed": self.confirmed}


@dataclass(frozen=True)
class Search:
    """The search for one margin. sign: +1 where the search goes to larger values. edge: the farthest value.

    near, far: values that runs have shown to end as today, and not to. next_near, next_far: values to run.
    work: of the values that were not run [pages], where it is more than the budget had left.
    """

    knob: Knob
    today: float
    computed: float | None
    sign: int
    edge: float
    near: float
    far: float | None = None
    next_near: float | None = None
    next_far: float | None = None
    gap: float = GAP
    work: float = 0.0

    @property
    def to_run(self) -> tuple[float, ...]:
        """Values that the next round runs."""
        return tuple(value for value in (self.next_near, self.next_far) if value is not None)


@dataclass(frozen=True)
class Goal:
    """Which runs count: by default those that completed.

    met: of a run's figures; computed: of a computed migration.
    patient: a scenario with the duration of a run of the search.
    edges: by knob, the farthest value where it is not the knob's own.
    """

    met: Callable[[Figures], bool]
    computed: Callable[[Forecast], bool]
    patient: Callable[[Scenario], Scenario]
    edges: Mapping[str, float] = field(default_factory=dict)


def converging(mean_total_s: float | None) -> Goal:
    """The goal that a migration completes. mean_total_s: of the runs of the present scenario."""
    return Goal(
        lambda figures: is_converged(figures["status"]), lambda found: found.completes,
        lambda scenario: patient(scenario, mean_total_s),
    )  # fmt: skip


def margins_of(
    base: Scenario, is_met: bool, goal: Goal, bench: Bench, knobs: Sequence[Knob] = KNOBS, work: float = MARGIN_WORK
) -> tuple[Margin, ...]:  # fmt: skip
    """The margin of each of ``knobs`` that ``base`` has; is_met: whether ``base`` meets the goal. RunsFailedError."""
    searches = [begun(knob, base, is_met, goal) for knob in knobs if knob.read(base) is not None]
    seeds = n_seeds(base, len(searches), work)
    scenarios = [same_guest(base)(number) for number in range(seeds)]
    spent, rounds = bench.work, 0
    searches = affordable(searches, scenarios, goal, work)
    while any(search.to_run for search in searches) and rounds < ROUNDS:
        searches = _round(searches, scenarios, is_met, goal, bench)
        searches = affordable(searches, scenarios, goal, work - (bench.work - spent))
        rounds += 1
    return tuple(_margin(search, is_met, [one.seed for one in scenarios]) for search in searches)


def affordable(
    searches: Sequence[Search], scenarios: Sequence[Scenario], goal: Goal, left: float
) -> list[Search]:  # fmt: skip
    """``searches`` without values whose runs, by computation, are more work than ``left`` [pages]; the first go first."""
    found = []
    for search in searches:
        runs = [goal.patient(search.knob.turned(scenarios[0], value)) for value in search.to_run]
        work = len(scenarios) * sum(map(computed_work, runs))
        too_much = work > left
        found.append(replace(search, next_near=None, next_far=None, work=work) if too_much else search)
        left -= 0 if too_much else work
    return found


def begun(knob: Knob, base: Scenario, is_met: bool, goal: Goal) -> Search:
    """The search for the value of ``knob`` at which the answer flips.

    base: the scenario as it is; is_met: whether it converges.
    goal: the condition that flips, and the edges of the search.
    It begins at the computed flip, or at the edge where the computation sees none.
    """
    today, converges = knob.read(base), is_met
    assert today is not None, "asked before"
    edge = goal.edges.get(knob.name, knob.bound(base, converges))
    sign = knob.harder if converges else -knob.harder
    if edge == today:
        return Search(knob, today, None, sign, edge, today)
    computed = _computed_flip(knob, base, converges, today, edge, goal)
    search = Search(knob, today, computed, sign, edge, today)
    if computed is None:
        return replace(search, next_far=edge)
    return replace(search, next_near=_moved(search, computed, -GAP), next_far=_moved(search, computed, GAP))


def _computed_flip(
    knob: Knob, base: Scenario, is_met: bool, today: float, edge: float, goal: Goal
) -> float | None:  # fmt: skip
    """The value between today's and ``edge`` at which the computed migration ends otherwise; None: nowhere."""

    def as_today(value: float) -> bool:
        found = forecast(goal.patient(knob.turned(base, value)))
        return found is not None and goal.computed(found) == is_met

    if not as_today(today):
        return math.sqrt(today * math.sqrt(today * math.sqrt(today * edge)))  # the computation is wrong here: look near
    if as_today(edge):
        return None
    low, high = today, edge
    for _ in range(BISECTIONS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if as_today(middle) else (low, middle)
    return math.sqrt(low * high)


def _round(
    searches: Sequence[Search], scenarios: Sequence[Scenario], is_met: bool, goal: Goal, bench: Bench
) -> list[Search]:  # fmt: skip
    """All values that the searches want, run together; then the next values."""
    wanted = [(i, value) for i, search in enumerate(searches) for value in search.to_run]
    runs = [
        goal.patient(searches[i].knob.turned(one, value)) for i, value in wanted for one in scenarios
    ]
    bench.expected = bench.done + len(runs)
    figures, n = bench.figures(runs), len(scenarios)
    ended = {key: _ended([goal.met(one) for one in figures[at * n : at * n + n]]) for at, key in enumerate(wanted)}
    return [
        advanced(search, {value: ended[i, value] for value in search.to_run}, is_met) for i, search in enumerate(searches)
    ]


def advanced(search: Search, ended: dict[float, bool | None], converges: bool) -> Search:
    """The search after a round. ended: value to whether all its runs completed, None where they parted."""
    for value, completed in ended.items():
        if completed is converges and _is_farther(search, value, search.near):
            search = replace(search, near=value)
        if completed is (not converges) and (search.far is None or _is_farther(search, search.far, value)):
            search = replace(search, far=value)
    return replace(search, **_next_values(search, ended))


def _next_values(search: Search, ended: dict[float, bool | None]) -> dict[str, Any]:
    """Values for the next round: farther out until one flips, closer in until one does not, then between the two."""
    none: dict[str, Any] = {"next_near": None, "next_far": None, "gap": 2 * search.gap}
    if not ended:
        return none
    tried = sorted(ended, key=lambda value: search.sign * value)
    if search.far is None:
        return none if tried[-1] == search.edge else none | {"next_far": _moved(search, tried[-1], 2 * search.gap)}
    if search.near == search.today:
        halfway = math.sqrt(search.today * search.far)
        closer = halfway if _ratio(search) > FAR_APART else _moved(search, tried[0], -2 * search.gap)
        return none | {"next_near": closer} if _is_farther(search, closer, search.today) else none
    return none | {"next_near": math.sqrt(search.near * search.far)} if _ratio(search) > NARROW else none


def n_seeds(base: Scenario, searches: int, work: float) -> int:
    """SEEDS; 1 where two values of each of ``searches`` would take more than half of ``work``.

    base: the scenario; ``work``: pages sent and harvested that the margins may cost.
    """
    one = PATIENCE * 2 * base.vm.memory_pages
    return SEEDS if 2 * searches * SEEDS * one <= work / 2 else 1


def patient(scenario: Scenario, mean_total_s: float | None) -> Scenario:
    """``scenario`` with the duration of a run for a margin."""
    first_s = first_pass_s(scenario)
    least_s = PATIENCE * first_s if mean_total_s is None else max(PATIENCE * first_s, TIMES_THE_MEAN * mean_total_s)
    start = scenario.migration.start if scenario.migration else 0
    return scenario.model_copy(update={"duration": min(DURATION_MAX_NS, start + math.ceil(least_s) * NS_PER_S)})


def _ended(completed: Sequence[bool]) -> bool | None:
    """True: all met the goal, False: none, None: some."""
    return completed[0] if len(set(completed)) == 1 else None


def _moved(search: Search, value: float, share: float) -> float:
    """``value`` moved by ``share`` away from today's, never beyond the edge or behind today's."""
    moved = value * (1 + share) ** search.sign
    low, high = sorted((search.today, search.edge))
    return min(high, max(low, moved))


def _is_farther(search: Search, value: float, other: float) -> bool:
    return search.sign * (value - other) > 0


def _ratio(search: Search) -> float:
    assert search.far, "asked where it is there"
    return max(search.far / search.near, search.near / search.far)


def _margin(search: Search, converges: bool, seeds: Sequence[int]) -> Margin:
    found = Margin(search.knob.name, search.today, converges, search.computed, work=search.work)
    if search.edge == search.today:
        return replace(found, near=search.today)
    was_run = search.far is not None or search.near != search.today
    return replace(found, near=search.near, far=search.far, seeds=tuple(seeds)) if was_run else found
