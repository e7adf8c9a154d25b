"""A prediction in sentences: does it converge, how long does it take, what does the guest notice, what it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from hostsim.core.units import parse_duration
from hostsim.report.compare_words import ENDED, figure_words
from hostsim.report.margin_words import in_the_way, margin_lines
from hostsim.report.origin_words import BY, seeds_words
from hostsim.study.compare.work import work_words
from hostsim.study.predict.logged import LOGGED_WORK, TRACKING
from hostsim.study.predict.prediction import Estimate, Prediction
from hostsim.study.predict.replications import Rule
from hostsim.study.statistics import CONFIDENCE, Share, runs_that_show
from hostsim.verdict.interrupted import is_other_than
from hostsim.verdict.render import warning_lines
from hostsim.verdict.words import number_words, seconds_words

AT = f"at {CONFIDENCE:.0%}".replace("%", " %")
DIGITS, DIGITS_MOST = 4, 6
"""Significant digits of an interval: so many that its ends differ, if that takes no more than the second number."""
SCALES = {
    "_ms": ((1000.0, "s"), (1.0, "ms")), "_ns": ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1.0, "ns")),
    "_bytes": ((1e9, "GB"), (1e6, "MB"), (1.0, "B")), "_percent": ((1.0, "%"),),
}  # fmt: skip
"""Ending of a figure's name: (divisor, unit) of the units that an interval is written in, the largest first."""


def prediction_lines(found: Prediction) -> list[str]:
    """The answer; the first line opens with VERDICT."""
    return [
        f"VERDICT: {converges_words(found)}.", *warning_lines(found.warnings), *_outcome(found), *in_the_way(found.computed),
        *_guest(found),
        *margin_lines(found.margins),
        *_equal(found), *(f"Assumption: {text}." for text in found.assumptions), f"{rests_on(found)}.",
    ]  # fmt: skip


def converges_words(found: Prediction) -> str:
    """``it converges in 30 of 30 runs (P >= 0.89 at 95 %)``."""
    share = found.converges
    counted = f"{share.k} of {share.n} runs ({chance_words(share)})"
    if share.k == share.n:
        return f"it converges in {counted}"
    ends = Counter(status for status in found.statuses if status != "completed")
    told = ", ".join(f"{count} {ENDED.get(end, end)}" for end, count in ends.items())
    within = f" within {seconds_words(parse_duration(found.scenario['duration']) / 1e9)}" if "active" in ends else ""
    if share.k == 0 and set(ends) == {"active"} and found.mean("syncs") == 1:
        return f"cannot tell: none of {share.n} runs got through the first pass{within}; --set duration=1h gives an hour"
    if share.k == 0:
        return f"it does not converge: none of {share.n} runs completed{within} ({chance_words(share)})"
    return f"it converges in {counted}; {told}{within}"


def chance_words(share: Share) -> str:
    """``P >= 0.89 at 95 %``: the Wilson interval, the end that can be left out left out."""
    if share.k == share.n:
        return f"P >= {share.low:.2f} {AT}"
    if share.k == 0:
        return f"P <= {share.high:.2f} {AT}"
    return f"P from {share.low:.2f} to {share.high:.2f} {AT}"


def estimate_words(one: Estimate) -> str:
    """``71.3 s [70.6, 72]``: the mean and its interval in one unit; the mean alone of a single run."""
    spread = one.spread
    if spread.low is None or spread.high is None or spread.low == spread.high:
        return figure_words(one.name, spread.mean)
    scale, unit = unit_of(one.name, spread.mean)
    values = [value / scale for value in (spread.mean, max(0.0, spread.low), spread.high)]
    told = ([f"{value:#.{digits}g}".rstrip(".") for value in values] for digits in range(DIGITS, DIGITS_MOST + 1))
    mean, low, high = next((texts for texts in told if texts[1] != texts[2]), [number_words(v, DIGITS) for v in values])
    return f"{mean} {unit} [{low}, {high}]" if unit else f"{mean} [{low}, {high}]"


def unit_of(name: str, value: float) -> tuple[float, str]:
    """(divisor, unit) in which a value of figure ``name`` is written."""
    steps = next((steps for ending, steps in SCALES.items() if name.endswith(ending)), ((1.0, ""),))
    return next(((factor, unit) for factor, unit in steps if value >= factor), steps[-1])


def rule_words(rule: Rule, n: int) -> str:
    """The rule that set the number of runs; "" where it is the number that was asked for."""
    if rule.name == "work" and rule.budget:
        return (
            f"{n} run{'s' * (n > 1)} instead of {rule.wanted}: one is work of {work_words(rule.work_each)}, and the budget "
            f"of an answer is {work_words(rule.budget)}; --reps {rule.wanted} runs all"
        )
    if rule.within is None:
        return ""
    within = f"{100 * rule.within:g} % of the mean total time"
    if rule.name == "interval":
        return f"runs were added ten by ten until half of the interval was at most {within} (--until-ci)"
    return f"half of the interval is still more than {within} after the most runs ({rule.wanted})"


def rests_on(found: Prediction) -> str:
    """Number of runs, seeds, meaning of brackets, version."""
    seeds = seeds_words(found.seeds)
    parts = [f"Brackets are {CONFIDENCE:.0%} intervals of the mean of {found.n} runs of {BY}, {seeds}".replace("%", " %")]
    if found.n == 1:
        parts = [f"A single run of {BY}, {seeds} (n = 1), so its figures have no interval"]
    if rule := rule_words(found.rule, found.n):
        parts.append(rule[:1].upper() + rule[1:])
    parts.append("The intervals cover chance alone; dirty rate, bandwidth and host are taken as given")
    return ". ".join(parts)


def more_runs_words(share: Share, wanted: float) -> str:
    """The number of runs that would show ``wanted``, where all did and are too few; else ""."""
    if share.k < share.n or share.low >= wanted:
        return ""
    return f"--reps {runs_that_show(wanted)} would show P >= {wanted:g}"


def _outcome(found: Prediction) -> Iterator[str]:
    got: Mapping[str, Estimate] = found.estimates
    if "total_time_ms" not in got:
        sent = got.get("mode.sent_percent")
        if sent is not None:
            yield f"Until then it sent {number_words(sent.spread.mean / 100)} times its memory."
        return
    total, downtime, sent = (got.get(name) for name in ("total_time_ms", "downtime_ms", "transferred_bytes"))
    assert total is not None, "checked above"
    parts = [f"It takes {estimate_words(total)}"]
    parts += [f"stops the guest for {estimate_words(downtime)}"] if downtime else []
    rounds = f"in {number_words(got['syncs'].spread.mean)} rounds" if "syncs" in got else ""
    parts += [f"sends {estimate_words(sent)} {rounds}"] if sent else []
    yield ", ".join(parts[:-1]) + f" and {parts[-1]}." if len(parts) > 1 else f"{parts[0]}."
    outage = got.get("mode.outage_ms")
    if outage and downtime and is_other_than(outage.spread.mean, downtime.spread.mean):
        yield (
            f"Outage: the guest stands still for {estimate_words(outage)} until it runs at the destination; the downtime "
            "above is what QEMU reports, the source's view."
        )


def _guest(found: Prediction) -> Iterator[str]:
    """The guest's loss before the stop; where the runs count no logging, as runs under KVM have it."""
    slower, logged = (some.get("guest_slowdown_percent") for some in (found.estimates, found.logged))
    if logged is not None:
        runs = f"{logged.spread.n} runs of this guest under KVM's dirty log, {TRACKING}"
        yield f"The guest does {estimate_words(logged)} less work before it is stopped ({runs})."
    elif slower is not None and found.unlogged_work:
        yield (
            f"The cost of KVM's dirty log, {TRACKING}, was not run: a run is work of {work_words(found.unlogged_work)}, and "
            f"the budget is {work_words(LOGGED_WORK)}; --tracking {TRACKING} runs it."
        )
    elif slower is not None and slower.spread.mean == 0:
        yield "The guest loses no work before it is stopped; vm.dirty_tracking = tcg counts no cost of the dirty log."
    elif slower is not None:
        yield f"The guest does {estimate_words(slower)} less work before it is stopped."


def _equal(found: Prediction) -> Iterator[str]:
    if found.equal:
        yield f"All {found.n} runs are equal: no random draw changes this migration, so all intervals have length 0."
