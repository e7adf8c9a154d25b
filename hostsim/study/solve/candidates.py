"""The least change of each kind that reaches a target, by computation and by a few runs; confirmation comes later."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hostsim.core.constants import NS_PER_MS, NS_PER_S, PAGE_WIRE_BYTES
from hostsim.core.errors import InputError
from hostsim.core.units import format_bandwidth, rounded_up
from hostsim.scenario.build import workloads_of
from hostsim.scenario.mechanism import Kind, always_ends, by_kind
from hostsim.scenario.overrides import apply_overrides
from hostsim.scenario.schema import DURATION_MAX_NS, Scenario
from hostsim.study.compare.modes import MODES, OF_MODE
from hostsim.study.compare.work import work_words
from hostsim.study.predict.bench import Bench
from hostsim.study.predict.forecast import bandwidth_bytes_per_s, first_pass_s, forecast, speed_under
from hostsim.study.predict.guest import mode_overrides, tracking_overrides
from hostsim.study.predict.knobs import KNOBS, LIMIT_MOST_MS, Knob
from hostsim.study.predict.margins import PATIENCE, Goal, Margin, margins_of
from hostsim.study.predict.replications import same_guest
from hostsim.study.predict.work_ahead import computed_work
from hostsim.study.solve.solution import Change
from hostsim.study.solve.target import Target
from hostsim.theory.floor import sweep_s
from hostsim.theory.guest_curve import guest_curve
from hostsim.theory.throttle import HIGH_SYNCS_PER_STEP, steps_needed

SEARCH_WORK, THROTTLE_WORK, MODES_WORK = 400_000_000, 300_000_000, 300_000_000
"""Work of the search for values, for a throttle, and for a mechanism [pages]."""
ROOM = 0.85
"""Share of a downtime that its limit may take: the guest dirties more pages between the last sync and its stop (assumed)."""
LEAST_S, SWEEP_MOST_S = 10.0, 60.0
SEARCH_SEEDS = 2
THROTTLES = (20, 30, 40, 50, 60, 70, 80, 90, 99)
"""Values of max-cpu-throttle that are tried, as auto-converge raises it."""
TRIED_MODES = tuple(name for name in MODES if name not in {"precopy", "auto-converge"})
KNOB_OF = {"bandwidth": "bandwidth_bytes_per_s", "downtime-limit": "downtime_limit_ms"}
KINDS = ("bandwidth", "downtime-limit", "throttle", "mode")
SHORTER = (1.0, 0.5, 0.25, 0.125)
"""Parts of the longest downtime limit that a target leaves, which are tried where the present one is longer."""
_LIMIT = next(knob for knob in KNOBS if knob.name == "downtime_limit_ms")


@dataclass(frozen=True)
class Candidate:
    """A change that the search found, and the scenario with it; scenario None: nothing to run, ``change`` says why."""

    change: Change
    scenario: Scenario | None = None
    again: Callable[[float], Candidate] | None = None
    """The candidate with another value, where the kind has values."""


def goal_of(base: Scenario, target: Target) -> Goal:
    """The goal of a search: the target, with runs no longer than it allows."""

    def patient(scenario: Scenario) -> Scenario:
        return scenario.model_copy(update={"duration": duration_ns(scenario, target)})

    return Goal(target.met, target.computed, patient, {"downtime_limit_ms": limit_edge_ms(base, target)})


def duration_ns(scenario: Scenario, target: Target, least_s: float = 0.0) -> int:
    """Duration [ns] of a run of ``scenario``: some passes over memory, ``least_s`` at least [s].

    No longer than the total time of ``target``.
    """
    most_s = math.inf if target.total_ms is None else target.total_ms / 1000
    seconds = min(max(least_s, PATIENCE * first_pass_s(scenario), LEAST_S), most_s)
    start = scenario.migration.start if scenario.migration else 0
    return min(DURATION_MAX_NS, start + round((seconds + 1.0) * NS_PER_S))


def limit_edge_ms(base: Scenario, target: Target) -> float:
    """The largest downtime limit that the target leaves: QEMU counts the limit alone, the guest waits for the rest, too."""
    if target.downtime_ms is None:
        return float(LIMIT_MOST_MS)
    return max(1.0, ROOM * (target.downtime_ms - fixed_ms(base)))


def fixed_ms(base: Scenario) -> float:
    """The part of a downtime that the limit does not bound: stopping vCPUs, device state, the manager's go-ahead."""
    sheet, migration = base.host.sheet(), base.migration
    assert migration is not None, "a migration is asked about"
    waits = migration.continue_after if migration.pause_before_switchover else 0
    return (sheet.vm_stop_ns + sheet.switchover_ns + waits + 2 * base.link.latency) / NS_PER_MS


def candidates(base: Scenario, target: Target, kinds: Sequence[str], bench: Bench) -> list[Candidate]:
    """A candidate for each of ``kinds`` of changes: the least change of ``base`` that is expected to reach ``target``.

    bench: workers, and the folder of finished runs. RunsFailedError.
    """
    goal = goal_of(base, target)
    by_value = [knob for knob in KNOBS if knob.name in {KNOB_OF.get(kind) for kind in kinds}]
    margins = margins_of(base, False, goal, bench, by_value, SEARCH_WORK)
    found = {margin.knob: _of_margin(base, margin, target, bench) for margin in margins}
    for kind in kinds:
        if kind in KNOB_OF and KNOB_OF[kind] not in found:
            found[KNOB_OF[kind]] = Candidate(Change(kind, None, obstacle="the scenario sets no such limit"))
    more = {"throttle": lambda: _throttle(base, target, bench), "mode": lambda: _modes(base, target, bench)}
    answers = [found[KNOB_OF[kind]] if kind in KNOB_OF else None for kind in kinds]
    return [one or more[kind]() for one, kind in zip(answers, kinds, strict=True)]


def _of_margin(base: Scenario, margin: Margin, target: Target, bench: Bench) -> Candidate:
    kind = next(kind for kind, knob in KNOB_OF.items() if knob == margin.knob)
    if kind == "downtime-limit" and margin.today >= int(limit_edge_ms(base, target)):
        return _shorter_limit(base, margin, target, bench)
    if margin.far is None:
        return Candidate(Change(kind, margin.today, obstacle=why_not(base, margin, target)))
    knob: Knob = next(knob for knob in KNOBS if knob.name == margin.knob)
    most = limit_edge_ms(base, target) if kind == "downtime-limit" else math.inf

    def of(value: float) -> Candidate:
        rounded = min(_rounded_up(kind, value), most)
        change = Change(kind, margin.today, rounded, settings_of(base, kind, rounded), factor=rounded / margin.today)
        return Candidate(change, _timed(knob.turned(base, rounded), target), of)

    return of(margin.far)


def _shorter_limit(base: Scenario, margin: Margin, target: Target, bench: Bench) -> Candidate:
    """A limit that is the longest that the target leaves, or a part of it: a guest may dirty much before its stop."""
    search = Search(target, bench, SEARCH_WORK)
    for share in SHORTER:
        value = max(1.0, float(round(margin.today * share)))
        scenario = _timed(_LIMIT.turned(base, value), target)
        if may_reach(scenario, target) and search.reaches(scenario):
            settings = settings_of(base, "downtime-limit", value)
            return Candidate(Change("downtime-limit", margin.today, value, settings, factor=share), scenario)
    return Candidate(Change("downtime-limit", margin.today, obstacle=why_not(base, margin, target)))


def _timed(scenario: Scenario, target: Target, least_s: float = 0.0) -> Scenario:
    return scenario.model_copy(update={"duration": duration_ns(scenario, target, least_s)})


def _rounded_up(kind: str, value: float) -> float:
    """Three digits: whole milliseconds, and bandwidths that a person would set."""
    if kind == "downtime-limit":
        step = 10 if value >= 1000 else 1
        return float(math.ceil(value / step) * step)
    return rounded_up(value * 8, 3) / 8


def settings_of(base: Scenario, kind: str, value: float) -> Mapping[str, str]:
    """Keys of the scenario with ``value``, of kind downtime-limit or bandwidth."""
    if kind == "downtime-limit":
        return {"migration.downtime_limit": f"{value:.0f}ms"}
    assert base.migration is not None, "a migration is asked about"
    limits = {"link.bandwidth": base.link.bandwidth, "migration.bandwidth": base.migration.bandwidth}
    return {key: format_bandwidth(round(value)) for key, now in limits.items() if 0 < now < value}


def why_not(base: Scenario, margin: Margin, target: Target) -> str:
    """The obstacle of a figure that reaches the target at no value."""
    if margin.work:
        return _too_dear(margin)
    if margin.knob == "downtime_limit_ms":
        edge = limit_edge_ms(base, target)
        if target.downtime_ms is not None and margin.today >= int(edge):
            left = f"a downtime of {target.downtime_ms:g} ms leaves a limit of {edge:.0f} ms at most, and that misses it"
            return f"{left}; stopping the guest and its device state take {fixed_ms(base):.0f} ms by themselves"
        if target.downtime_ms is not None:
            return f"no downtime limit up to {edge:.0f} ms, the most that a downtime of {target.downtime_ms:g} ms leaves"
        return f"no downtime limit that QEMU accepts, up to {LIMIT_MOST_MS // 1000} s"
    return "no bandwidth that one migration thread of this host can fill"


def _too_dear(margin: Margin) -> str:
    """The obstacle of a figure whose runs the search could not afford."""
    dear = f"the next runs are work of {work_words(margin.work)}, the search has {work_words(SEARCH_WORK)}"
    if margin.computed is None:
        return f"by computation no value reaches it; not run, as {dear}"
    is_limit = margin.knob == "downtime_limit_ms"
    value = f"{margin.computed:.0f} ms" if is_limit else format_bandwidth(round(margin.computed))
    return f"by computation {value} reaches it; not run, as {dear}"


def _throttle(base: Scenario, target: Target, bench: Bench) -> Candidate:
    """Auto-converge with the least of THROTTLES that reaches the target in the runs of the search."""
    kept = speed_under(base, THROTTLES[-1])
    now = _throttle_now(base)
    if kept > 0.9:
        return Candidate(Change("throttle", now, obstacle=_follows_the_clock(kept)))
    scenarios = {percent: throttled(base, target, percent) for percent in THROTTLES if percent > now}
    if None in scenarios.values() or not scenarios:
        why = "auto-converge does not go together with the rest of the scenario" if scenarios else "it is at its greatest"
        return Candidate(Change("throttle", now, obstacle=why))
    possible = [(percent, one) for percent, one in scenarios.items() if one is not None and _is_computed(one, target)]
    if not possible:
        return Candidate(Change("throttle", now, obstacle="no throttle up to 99 % reaches it (computed, not run)"))
    return _least_throttle(base, {percent: one for percent, one in scenarios.items() if one}, possible[0][0], target, bench)


def _least_throttle(
    base: Scenario, scenarios: Mapping[int, Scenario], computed: int, target: Target, bench: Bench
) -> Candidate:  # fmt: skip
    """The least of ``scenarios`` that runs show to reach the target, looked for from the ``computed`` throttle on."""
    search, now = Search(target, bench, THROTTLE_WORK), _throttle_now(base)
    up = [percent for percent in sorted(scenarios) if percent >= computed]
    found = next((percent for percent in up if search.reaches(scenarios[percent])), None)
    if found is None:
        why = f"a throttle of up to {up[-1]} % does not reach it (run)"
        dear = f"{computed} % reaches it by computation; not run, as {search.dear_words}"
        return Candidate(Change("throttle", now, obstacle=dear if search.dear else why))
    for percent in sorted((percent for percent in scenarios if found == computed and percent < found), reverse=True):
        if not search.reaches(scenarios[percent]):
            break
        found = percent
    tracking = dict(text.partition("=")[::2] for text in tracking_overrides(base.vm, "auto-converge"))
    settings = {"migration.auto_converge": "true", "migration.max_cpu_throttle": str(found), **tracking}
    return Candidate(Change("throttle", now, float(found), settings), scenarios[found])


def _throttle_now(base: Scenario) -> float:
    return 0.0 if base.migration is None or not base.migration.auto_converge else float(base.migration.max_cpu_throttle)


def with_mode(base: Scenario, name: str, target: Target) -> Scenario | None:
    """``base`` with the mechanism ``name`` and the log that it needs; None if that does not go together."""
    return _with(base, _of_mode(base, name), target, 0.0)


def _of_mode(base: Scenario, name: str) -> list[str]:
    return [*mode_overrides(name), *tracking_overrides(base.vm, name)]


def may_reach(scenario: Scenario, target: Target) -> bool:
    """Whether the computation allows it: of a mechanism that ends any migration it does not know the moment."""
    assert scenario.migration is not None, "a migration is asked about"
    return always_ends(scenario.migration) or _is_computed(scenario, target)


def _is_computed(scenario: Scenario, target: Target) -> bool:
    found = forecast(scenario)
    return found is None or target.computed(found)


def _follows_the_clock(kept: float) -> str:
    left = f"{100 * kept:.0f} % of them"
    return f"the guest's writes follow the clock and catch up: under the greatest throttle, 99 %, it keeps {left}"


def throttled(base: Scenario, target: Target, percent: int) -> Scenario | None:
    """``base`` with auto-converge up to ``percent``, and time for its steps; None if that does not go together."""
    texts = ["auto_converge=true", f"max_cpu_throttle={percent}", f"cpu_throttle_initial={min(percent, 20)}"]
    tracking = tracking_overrides(base.vm, "auto-converge")
    return _with(base, [*(f"migration.{text}" for text in texts), *tracking], target, _steps_s(base, percent))


def _steps_s(base: Scenario, percent: int) -> float:
    """Time [s] for the steps up to ``percent``: two syncs each, a steady sweep apart, and as many more."""
    steps = steps_needed(percent / 100) or 1
    curve = guest_curve(workloads_of(base), base.seed)
    sweep = min(sweep_s(curve, bandwidth_bytes_per_s(base) / PAGE_WIRE_BYTES), SWEEP_MOST_S)
    return 2 * HIGH_SYNCS_PER_STEP * steps * max(1.0, sweep)


def _modes(base: Scenario, target: Target, bench: Bench) -> Candidate:
    """The first of the mechanisms that reaches the target: those that keep the guest whole come first, post-copy last.

    Mechanisms with which the computation misses the target are not run; neither are those whose runs are too much work.
    """
    today, search, left_out = _mode_now(base), Search(target, bench, MODES_WORK), []
    for name in sorted(TRIED_MODES, key=lambda name: OF_MODE[name].kind is Kind.SWITCH):
        scenario = None if name == today else with_mode(base, name, target)
        if scenario is None or not may_reach(scenario, target):
            continue
        if not search.affords(scenario):
            left_out.append(name)
        elif search.reaches(scenario):
            keys = dict(text.partition("=")[::2] for text in _of_mode(base, name))
            settings = {key: value for key, value in keys.items() if value not in ("false", "none")}
            note = f"not run: {', '.join(left_out)}, as {search.dear_words}" if left_out else ""
            return Candidate(Change("mode", today, name, settings, note=note), scenario)
    if left_out:
        why = f"those that were run do not reach it; not run: {', '.join(left_out)}, as {search.dear_words}"
        return Candidate(Change("mode", today, obstacle=why))
    return Candidate(Change("mode", today, obstacle="no mechanism that this guest can have reaches it (run or computed)"))


def _mode_now(base: Scenario) -> str:
    migration = base.migration
    assert migration is not None, "a migration is asked about"
    return next((next(iter(one.modes)) for one in by_kind() if one.is_on(migration)), "precopy")


def _with(base: Scenario, texts: Sequence[str], target: Target, least_s: float) -> Scenario | None:
    table = base.resolved()
    apply_overrides(table, texts)
    try:
        scenario = Scenario.model_validate(table).in_folder(base.folder)
    except InputError:
        return None
    return _timed(scenario, target, least_s)


@dataclass
class Search:
    """Runs that look for a change, up to ``work`` [pages]. dear: of the dearest scenario that was not run, 0 without one."""

    target: Target
    bench: Bench
    work: float
    spent: float = 0.0
    dear: float = 0.0

    def affords(self, scenario: Scenario) -> bool:
        """Whether a run of ``scenario``, by computation, is no more work than is left."""
        work = computed_work(scenario)
        if self.spent + work <= self.work:
            return True
        self.dear = max(self.dear, work)
        return False

    def reaches(self, scenario: Scenario) -> bool:
        """Whether SEARCH_SEEDS runs reach the target, the second only where the first does; False where not afforded."""
        if not self.affords(scenario):
            return False
        draw: Callable[[int], Scenario] = same_guest(scenario)
        return all(self._met(draw(number)) for number in range(SEARCH_SEEDS))

    def _met(self, scenario: Scenario) -> bool:
        before = self.bench.work
        self.bench.expected = self.bench.done + 1
        met = self.target.met(self.bench.figures([scenario])[0])
        self.spent += self.bench.work - before
        return met

    @property
    def dear_words(self) -> str:
        """The work of the dearest scenario and the budget."""
        return f"a run is work of {work_words(self.dear)} and the search has {work_words(self.work)}"


def without_too_long_a_stop(base: Scenario, target: Target) -> Scenario:
    """``base`` with the downtime limit that the target leaves, if its own is longer."""
    edge = limit_edge_ms(base, target)
    migration = base.migration
    assert migration is not None, "a migration is asked about"
    if migration.downtime_limit <= edge * NS_PER_MS:
        return base
    lower = migration.model_copy(update={"downtime_limit": max(1, int(edge)) * NS_PER_MS})
    return base.model_copy(update={"migration": lower})
