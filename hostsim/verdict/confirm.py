"""Runs each value that a verdict would advise; if the migration does not complete, raises the value and runs again.

A remedy is confirmed if the scenario with this change alone completes with the scenario's seed and two more. Counted work
(trial.py) bounds the cost of all trials; a remedy that was not run says so in its text.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hostsim.core.constants import NS_PER_MS, NS_PER_S
from hostsim.results.work import sleeps
from hostsim.scenario.schema import DURATION_MAX_NS
from hostsim.verdict.diagnose import diagnose, stuck_after_all
from hostsim.verdict.ended import with_margins
from hostsim.verdict.evidence import Evidence
from hostsim.verdict.forecast import MARGIN, Forecast, forecast
from hostsim.verdict.from_result import evidence_from_result
from hostsim.verdict.mechanism import Changes, Tried, mechanisms
from hostsim.verdict.model import Remedy, Verdict
from hostsim.verdict.moments import Moments, moments_of
from hostsim.verdict.remedies import LIMIT_MAX_S, THROTTLE_MAX, bandwidth, downtime_limit, more_time, throttle
from hostsim.verdict.trial import Trial, counted
from hostsim.verdict.trial_budget import SEEDS, Show, TrialBudget, ignore
from hostsim.verdict.words import bandwidth_words, rounded_up, seconds_words

if TYPE_CHECKING:
    from hostsim.results.tables import RunResult
    from hostsim.scenario import Scenario

STEPS = (1.0, 1.05, 1.1, 1.2, 1.35, 1.6, 2.0, 2.8, 4.0)
"""A value that does not do is raised, first by a twentieth, up to so many times."""
FROM_NOW = 1.05
"""Where a forecast takes the present value for enough, the least value tried is a twentieth above it."""
WORK_LEAST, WORK_MOST, TIMES_THE_RUN = 40_000_000, 400_000_000, 3
"""Bounds of the work of all trials of a run: TIMES_THE_RUN times the run's own, from about 2 s to about 20 s of work."""
MARGINS_WORK, AS_LONG = 48_000_000, 1.2
"""Work for all margins of a migration that completed (about 2 s); work of one trial over that of the run."""
LOWERED = ("downtime_limit", "bandwidth")
"""Kinds of values that are lowered to the least that does."""
NEAR_SHARE = 0.75
"""A change of which three quarters do not do is the least, near enough (assumed)."""
PERIODS = 2
"""Periods for which a guest with windows is given time to meet a pause, beside the time it had."""
SEEN_BELOW = 0.8
"""Remaining below this share of the forecast's least refutes the forecast (assumed)."""
PAUSE_SHARE = 0.5
"""Part of all work that these trials may take; the rest, and what they leave, is for values."""
PASSES, PASSES_MOST = 3, 12
"""Work in passes over all memory, sent and harvested: of a trial that completes at once; a trial ends after the second
(assumed).
"""
PATIENCE = 4.0
"""A migration that is said to need more time is given up after so many times the time it had, and the advised one."""

STEPS_TAKE_S = 600.0
"""All nine steps of auto-converge at a sync each 5 s take 90 s; long iterations take longer."""
THROTTLE_INITIAL = 20
ALIKE = 1.05
MARGIN_SHARES = (0.0, 0.25, 0.5, 0.75)
"""Shares of the way from the computed margin to the present value, on a logarithmic scale."""
NOT_RUN = "computed, not run again (too much work; --confirm runs it)"


def confirmed(
    scenario: Scenario, result: RunResult, index: int = 0, *, all_of_it: bool = False, show: Show = ignore
) -> Verdict:
    """The verdict on the ``index``-th migration of ``result``, the result of ``scenario``; runs confirm its values.

    A guest that works in windows is tried from starts over its whole period, and an advice is then the least value that
    completes from each: its forecast takes the worst window for all time.

    all_of_it: without a limit of work; show: called with words for each trial. InvariantError as of a run.
    """
    evidence = evidence_from_result(result, index)
    verdict, ram_pages = diagnose(evidence), evidence.ram_pages or 0.0
    if not (verdict.remedies or verdict.margins):
        return verdict
    own, of_pages = _work_of(result, ram_pages, index)
    memory = 2 * ram_pages * of_pages / max(1.0, _pages_of(result))
    one = AS_LONG * own if verdict.converged else PASSES * memory
    least = len(verdict.margins) * one if verdict.converged else one
    most = MARGINS_WORK if verdict.converged else min(WORK_MOST, max(WORK_LEAST, TIMES_THE_RUN * own))
    most = float("inf") if all_of_it else most
    if (scenario.shares_host and not all_of_it) or least > most:
        return _left_out(verdict, one / max(own, 1.0))
    budget = TrialBudget(scenario, most, max(PASSES_MOST * memory, WORK_LEAST / 4), show)
    with _only_new_garbage():
        if verdict.converged:
            verdict = with_margins(verdict, evidence, tuple(_kept(verdict.margins, evidence, budget)))
        else:
            verdict = _given_time(_with_pause(verdict, evidence, budget), evidence, budget)
            verdict = replace(verdict, remedies=tuple(_all_tried(verdict.remedies, evidence, budget)))
    return _with_seeds(verdict, moments_of(scenario, SEEDS))


def unconfirmed(result: RunResult, index: int = 0) -> Verdict:
    """The verdict on the ``index``-th migration of ``result``; it says that the values it advises were not run."""
    verdict = diagnose(evidence_from_result(result, index))
    return _left_out(verdict, 0.0) if verdict.remedies or verdict.margins else verdict


@contextmanager
def _only_new_garbage() -> Iterator[None]:
    """Garbage collections inside look at new objects only: a caller may hold many (a notebook, a test)."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _with_seeds(verdict: Verdict, moments: Moments) -> Verdict:
    """``verdict`` with a note on how its values were confirmed."""
    runs = [one.seeds for one in (*verdict.remedies, *verdict.margins) if one.confirmed]
    what = "Each margin was confirmed by a run of" if verdict.converged else '"Run again" means a run of'
    if not runs:
        return verdict
    most, least = max(runs, key=len), min(runs, key=len)
    told = f"seed{'s' * (len(most) > 1)} {', '.join(map(str, most))}"
    told += f"; some with seed{'s' * (len(least) > 1)} {', '.join(map(str, least))} alone" if least != most else ""
    note = f"{what} this scenario with that change alone ({told}{moments.words()})"
    return replace(verdict, notes=(*verdict.notes, note))


def _work_of(result: RunResult, ram_pages: float, index: int) -> tuple[float, float]:
    """(Work of the run, counted as for a trial; its part of pages and exits alone)."""
    pages, exits, syncs = _pages_of(result), _exits_of(result, index), len(result.migrations[index].rounds)
    slept = _sleeps_of(result, index)
    return counted(pages, exits, syncs, ram_pages, result.end_ns, slept), counted(pages, exits, 0, 0, 0)


def _sleeps_of(result: RunResult, index: int) -> float:
    """Sleeps of all vCPUs under the throttle, by the time for which it left them awake."""
    series = result.migrations[index].series
    percent, spans_ns = series["throttle_percent"], np.diff(series["t_ns"], prepend=0)
    awake_ns = float(np.sum(np.where(percent > 0, spans_ns * (1 - percent / 100), 0.0)))
    return sleeps(awake_ns, int(result.scenario["vm"]["vcpus"]))


def _exits_of(result: RunResult, index: int) -> int:
    kvm = result.migrations[index].kvm
    return 0 if kvm is None else sum(kvm.logged[name] for name in ("wp_faults", "map_faults"))


def _pages_of(result: RunResult) -> float:
    """Pages harvested and sent."""
    return float(sum(result.counters.get(name, 0) for name in ("pages_harvested", "normal_pages_sent", "zero_pages_sent")))


def _left_out(verdict: Verdict, times: float) -> Verdict:
    """``verdict`` with the note that no value was run, and with the work of a trial."""
    about = f", each of which takes about {rounded_up(times):g} times the work of this run" if times > 1 else ""
    note = f"These values are computed, not confirmed by runs{about}; --confirm runs them"
    own = {kind: how.not_run for kind, how in tried().items() if how.not_run is not None}
    remedies = tuple(own[one.kind](one) if one.kind in own else one for one in verdict.remedies)
    return replace(verdict, notes=(*verdict.notes, note), remedies=remedies)


# -- remedies


def _all_tried(remedies: Sequence[Remedy], evidence: Evidence, budget: TrialBudget) -> Iterator[Remedy]:
    """The remedies, each tried with an equal part of the work."""
    to_run = sum(bool(_values(remedy, evidence)) for remedy in remedies)
    for remedy in remedies:
        if not _values(remedy, evidence):
            yield remedy
            continue
        with budget.part(1 / to_run) as part:
            yield _tried(remedy, evidence, part)
        to_run -= 1


def _tried(remedy: Remedy, evidence: Evidence, budget: TrialBudget) -> Remedy:
    """``remedy`` with the least value, from its own on, that completes; if none was run, ``remedy`` with a note."""
    values, below = _values(remedy, evidence), _now(remedy.kind, evidence)
    for value in values:
        trials = budget.all_complete(_what(remedy, value), tried()[remedy.kind].changes(value, evidence))
        if trials is None:
            return _not_run(remedy, evidence)
        if trials:
            return _least_of(remedy, evidence, budget, Worked(below, value, trials))
        below = value
    if not values:
        return remedy
    how, most = tried()[remedy.kind], _what(remedy, values[-1])
    return replace(remedy, text=f"{how.name}: run again with {how.up_to} {most}, it did not complete", helps=False)


class Worked(NamedTuple):
    """below: a value that does not do; value: one that does, with its trials."""

    below: float
    value: float
    trials: tuple[Trial, ...]


def _least_of(remedy: Remedy, evidence: Evidence, budget: TrialBudget, worked: Worked) -> Remedy:
    """``remedy`` as ``worked`` confirms it; with the least value that does, by halving, where the forecast is too high."""
    now, may_fall = _now(remedy.kind, evidence), budget.varies or _fell_below(evidence)
    while may_fall and remedy.kind in LOWERED and worked.below - now < NEAR_SHARE * (worked.value - now):
        middle = _rounded_up(remedy.kind, (worked.below + worked.value) / 2)
        if not worked.below < middle < worked.value:
            break
        trials = budget.all_complete(_what(remedy, middle), tried()[remedy.kind].changes(middle, evidence))
        if trials is None or 0 < len(trials) < len(worked.trials):
            break
        worked = Worked(worked.below, middle, trials) if trials else worked._replace(below=middle)
    return _confirmed(remedy, evidence, worked.value, worked.trials)


def _fell_below(evidence: Evidence) -> bool:
    """Whether a sync of the run found clearly less than the forecast has for the least: the guest is held back or rests."""
    found = forecast(evidence)
    least = min((one.remaining_pages for one in evidence.rounds[1:]), default=float("inf"))
    return found is not None and least < SEEN_BELOW * found.floor[0]


def _values(remedy: Remedy, evidence: Evidence) -> Sequence[float]:
    """Values to try, ascending from the remedy's own, or from above the present value if that is higher."""
    if not remedy.helps or remedy.value is None or remedy.kind not in tried():
        return ()
    how = tried()[remedy.kind]
    return (remedy.value,) if how.values is None else how.values(remedy, evidence)


def _throttles(remedy: Remedy, _evidence: Evidence) -> Sequence[float]:
    return [*range(int(remedy.value or 0), int(THROTTLE_MAX), 5), THROTTLE_MAX]


def _rising(remedy: Remedy, evidence: Evidence) -> Sequence[float]:
    assert remedy.value is not None, "a remedy without a value is not tried"
    now = _now(remedy.kind, evidence)
    first = remedy.value if remedy.value > now else _rounded_up(remedy.kind, now * _short_of(evidence))
    rising = [first, *(_rounded_up(remedy.kind, first * step) for step in STEPS[1:])]
    most = LIMIT_MAX_S * 1000 if remedy.kind == "downtime_limit" else evidence.host_bandwidth_bytes_per_s or float("inf")
    return list(dict.fromkeys(value for value in rising if value <= most))


def _now(kind: str, evidence: Evidence) -> float:
    if kind == "auto_converge":
        return 0.0
    return evidence.limit_s * 1000 if kind == "downtime_limit" else evidence.bandwidth_bytes_per_s or 0.0


def _short_of(evidence: Evidence) -> float:
    """Factor by which to raise a present value that a forecast wrongly takes for enough: least remaining over threshold."""
    least = min((r.remaining_pages for r in evidence.rounds[1:]), default=0.0)
    return max(FROM_NOW, least / evidence.threshold_pages if evidence.threshold_pages else 0.0)


def _not_run(remedy: Remedy, evidence: Evidence) -> Remedy:
    """The remedy when no work is left to run it: with its computed value, or with none if that is not above today's."""
    how = tried()[remedy.kind]
    if how.not_run is not None:
        return how.not_run(remedy)
    if remedy.kind in ("downtime_limit", "bandwidth") and (remedy.value or 0.0) <= _now(remedy.kind, evidence):
        text = f"{how.name}: more than {_what(remedy, _now(remedy.kind, evidence))}; no run has found how much more"
        return replace(remedy, text=text, value=None, command="", certain=False)
    return replace(remedy, text=f"{remedy.text}; {NOT_RUN}")


def _rounded_up(kind: str, value: float) -> float:
    """``value`` rounded up to two digits; a bandwidth to two digits of bit/s; a throttle is a whole number."""
    if kind == "auto_converge":
        return float(math.ceil(value))
    return rounded_up(value * 8) / 8 if kind == "bandwidth" else rounded_up(value)


def _confirmed(remedy: Remedy, evidence: Evidence, value: float, trials: tuple[Trial, ...]) -> Remedy:
    found = forecast(evidence)
    assert found is not None, "a remedy rests on a forecast"
    again = _with_value(remedy, evidence, found, value)
    text = f"{again.text}; {_ran_words(trials)}{_lost_words(remedy, trials)}{_late_words(evidence, trials)}"
    return replace(again, text=text, confirmed=True, seeds=tuple(trial.seed for trial in trials))


def _with_value(remedy: Remedy, evidence: Evidence, found: Forecast, value: float) -> Remedy:
    """``remedy`` with another value than was computed."""
    if value == remedy.value:
        return remedy
    build = more_time if remedy.kind == "timeout" else tried()[remedy.kind].again
    assert build is not None, "a remedy whose value never changes is tried with that value"
    return replace(build(evidence, found, value), certain=remedy.certain)


def _ran_words(trials: Sequence[Trial]) -> str:
    total, downtime = (_span_words([getattr(t, name) for t in trials]) for name in ("total_s", "downtime_s"))
    return f"run again, it completes in {total} with a downtime of {downtime}"


def _span_words(seconds: Sequence[float]) -> str:
    least, most = seconds_words(min(seconds)), seconds_words(max(seconds))
    return most if max(seconds) <= ALIKE * min(seconds) else f"{least} to {most}"


def _lost_words(remedy: Remedy, trials: Sequence[Trial]) -> str:
    """The cost of a throttle."""
    if remedy.kind != "auto_converge":
        return ""
    lost = 100 * max(trial.lost_share for trial in trials)
    return f", and until then the guest does {f'{lost:.0f} %' if lost >= 1 else 'less than 1 %'} less work"


def _late_words(evidence: Evidence, trials: Sequence[Trial]) -> str:
    most_s = max(trial.total_s - trial.downtime_s for trial in trials)  # a guest that is stopped is not cancelled any more
    limit_s = (evidence.timeout_ms or 0.0) / 1000
    return f": raise migration.timeout, {seconds_words(limit_s)} now, above that" if 0 < limit_s < most_s else ""


def _what(remedy: Remedy, value: float) -> str:
    """``downtime limit 1.2 s``."""
    return tried()[remedy.kind].words(value) if remedy.kind in tried() else "more time"


def _more_limit(value: float, _evidence: Evidence) -> Changes:
    return {"migration.downtime_limit": round(value) * NS_PER_MS}


def _set_bandwidth(value: float, _evidence: Evidence) -> Changes:
    return {"migration.avail_switchover_bandwidth": round(value)}


def _more_bandwidth(value: float, evidence: Evidence) -> Changes:
    """Raise each limit below ``value``: max-bandwidth, the link, and the windows of the stream."""
    found = {key: round(value) for key, now in _limits(evidence).items() if now and now < value}
    if evidence.window and evidence.window.bytes_per_s < value:
        found |= dict.fromkeys(("link.socket_buffer", "link.receive_window"), round(evidence.window.needed_bytes(value)))
    return found


def _throttle(value: float, evidence: Evidence) -> Changes:
    """Auto-converge for as long as its steps take, without a time-out; the remedy's text names the one it needs."""
    cap_s = max(PATIENCE * evidence.elapsed_s, STEPS_TAKE_S)
    return {
        "migration.auto_converge": True, "migration.max_cpu_throttle": int(value), "migration.timeout": 0,
        "migration.cpu_throttle_initial": min(int(value), THROTTLE_INITIAL), "duration": _within(cap_s),
    }  # fmt: skip


TRIED: Mapping[str, Tried] = {
    "downtime_limit": Tried(
        "downtime limit", _more_limit, lambda value: seconds_words(value / 1000), _rising, downtime_limit
    ),
    "bandwidth": Tried("bandwidth", _more_bandwidth, bandwidth_words, _rising, bandwidth),
    "auto_converge": Tried(
        "auto-converge", _throttle, lambda value: f"a throttle of {value:.0f} %", _throttles, throttle
    ),
    "avail_switchover_bandwidth": Tried(
        "switchover bandwidth", _set_bandwidth, lambda value: f"avail-switchover-bandwidth {bandwidth_words(value)}"
    ),
}


@cache
def tried() -> Mapping[str, Tried]:
    """The runs that confirm each kind of remedy, those of mechanisms too."""
    return {**TRIED, **{kind: how for one in mechanisms() for kind, how in one.tried.items()}}


def _limits(evidence: Evidence) -> dict[str, float | None]:
    return {
        "migration.bandwidth": evidence.max_bandwidth_bytes_per_s, "link.bandwidth": evidence.link_bandwidth_bytes_per_s,
    }  # fmt: skip


def _within(seconds: float) -> int:
    return min(DURATION_MAX_NS, round(seconds * NS_PER_S))


# -- more time


def _with_pause(verdict: Verdict, evidence: Evidence, budget: TrialBudget) -> Verdict:
    """``verdict`` with more time as a remedy, if a guest with windows gets through in a pause, or after its work."""
    moments, start_s = moments_of(budget.scenario, SEEDS), _start_s(budget)
    over_s = moments.over_ns / NS_PER_S - start_s
    if not (moments.period_ns or over_s > evidence.elapsed_s) or verdict.remedy("timeout") is not None:
        return verdict
    cap_s = evidence.elapsed_s + max(over_s, PERIODS * moments.period_ns / NS_PER_S)
    with budget.part(PAUSE_SHARE) as part:
        trials = part.all_complete("more time", {"migration.timeout": 0, "duration": _within(start_s + cap_s)})
    found = forecast(evidence)
    if not trials or (moments.period_ns and len(trials) < SEEDS) or found is None:
        return verdict
    value_s = rounded_up(MARGIN * max(trial.total_s for trial in trials))
    remedy = more_time(evidence, found, value_s)
    text = f"{remedy.text}; run again, it completes when the guest pauses, in {_span_words([t.total_s for t in trials])}"
    remedy = replace(remedy, text=text, confirmed=True, seeds=tuple(trial.seed for trial in trials))
    rest = sorted((_beside_time(one) for one in verdict.remedies), key=lambda one: not one.helps)
    return replace(verdict, remedies=(remedy, *rest))


def _beside_time(remedy: Remedy) -> Remedy:
    """``remedy`` where more time alone does: a trial of a throttle has more time too, and does not tell which did."""
    if remedy.kind != "auto_converge" or not remedy.helps:
        return remedy
    text = "auto-converge: not run, as with more time the migration completes without a throttle"
    return replace(remedy, text=text, value=None, command="", helps=False)


def _start_s(budget: TrialBudget) -> float:
    assert budget.scenario.migration is not None, "a trial is a migration"
    return budget.scenario.migration.start / NS_PER_S


def _given_time(verdict: Verdict, evidence: Evidence, budget: TrialBudget) -> Verdict:
    """The verdict with the time that trials take without a time-out; if no trial completes, it does not converge."""
    remedy = verdict.remedy("timeout")
    if remedy is None or remedy.value is None or remedy.confirmed:
        return verdict
    cap_s = PATIENCE * max(remedy.value, evidence.elapsed_s)
    trials = budget.all_complete("more time", {"migration.timeout": 0, "duration": _within(cap_s)})
    if trials == ():
        return stuck_after_all(evidence)
    if trials is None:
        again = replace(remedy, text=f"{remedy.text}; {NOT_RUN}")
    else:
        again = _confirmed(remedy, evidence, rounded_up(MARGIN * max(trial.total_s for trial in trials)), trials)
        again = replace(again, text=again.text.replace(_late_words(evidence, trials), ""))
    return replace(verdict, remedies=tuple(again if one is remedy else one for one in verdict.remedies))


# -- margins


def _kept(margins: Sequence[Remedy], evidence: Evidence, budget: TrialBudget) -> Iterator[Remedy]:
    """The margins with values that complete, each tried with an equal part of the work."""
    for number, margin in enumerate(margins):
        with budget.part(1 / (len(margins) - number)) as mine:
            found = _kept_one(margin, evidence, mine)
        if found is not None:
            yield found


def _kept_one(margin: Remedy, evidence: Evidence, budget: TrialBudget) -> Remedy | None:
    """``margin`` as it ran, or as computed if no work was left; None if only the present value completes."""
    for value in _margin_values(margin, evidence):
        trials = budget.all_complete(_what(margin, value), _less(margin.kind, value, evidence))
        if trials is None:
            return margin
        if trials:
            return _as_ran(margin, value, trials)
    return None


def _margin_values(margin: Remedy, evidence: Evidence) -> Sequence[float]:
    """Values from the margin's own up towards the present value."""
    assert margin.value is not None, "a margin has a value"
    now = _now(margin.kind, evidence)
    between = (margin.value * (now / margin.value) ** share for share in MARGIN_SHARES)
    return list(dict.fromkeys(value for value in (_rounded_up(margin.kind, one) for one in between) if value < now))


def _less(kind: str, value: float, evidence: Evidence) -> Changes:
    if kind == "downtime_limit":
        return {"migration.downtime_limit": round(value) * NS_PER_MS}
    return {"migration.bandwidth" if evidence.bottleneck == "max-bandwidth" else "link.bandwidth": round(value)}


def _as_ran(margin: Remedy, value: float, trials: tuple[Trial, ...]) -> Remedy:
    with_it = "with a downtime limit of " + seconds_words(value / 1000)
    text = with_it if margin.kind == "downtime_limit" else f"at {bandwidth_words(value)}"
    total = _span_words([trial.total_s for trial in trials])
    seeds = tuple(trial.seed for trial in trials)
    return replace(margin, text=f"{text} (in {total})", value=value, confirmed=True, seeds=seeds)
