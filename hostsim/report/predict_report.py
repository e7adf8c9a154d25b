"""A prediction in sentences, its margins, tables and files.

Sentences: whether it converges, its time, its effect on the guest, the runs behind the answer, and the value at which the
answer flips. Files: figures with intervals, runs, margins; JSON, the picture, the origin of each.
"""

from __future__ import annotations

import platform
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hostsim.core.constants import PAGE_BYTES
from hostsim.core.units import parse_duration
from hostsim.report.columns import Column, Grid, Role, grid_of
from hostsim.report.compare_report import ENDED, TITLES, figure_words
from hostsim.report.html.registry import folder_content, pictures_of
from hostsim.report.origin_words import BY, seeds_words
from hostsim.results.aside import write_files
from hostsim.results.encode import json_bytes, table_files
from hostsim.results.provenance import config_sha256, own_revision
from hostsim.results.tables import Table, or_nan
from hostsim.study.compare.figures import figure_names
from hostsim.study.compare.identity import versions
from hostsim.study.compare.work import work_words
from hostsim.study.predict.close_call import CloseCall
from hostsim.study.predict.logged import LOGGED_WORK, TRACKING
from hostsim.study.predict.margins import MARGIN_WORK, Margin
from hostsim.study.predict.prediction import Estimate, Prediction
from hostsim.study.predict.replications import Rule
from hostsim.study.statistics import CONFIDENCE, Share, runs_that_show
from hostsim.verdict.interrupted import is_other_than
from hostsim.verdict.render import warning_lines
from hostsim.verdict.words import bandwidth_words, bytes_words, number_words, seconds_words

NAMES: Mapping[str, str] = {
    "dirty_rate_pages_per_s": "dirty rate", "bandwidth_bytes_per_s": "bandwidth", "downtime_limit_ms": "downtime limit",
    "working_set_bytes": "working set",
}  # fmt: skip
WORDS: Mapping[str, Callable[[float], str]] = {
    "dirty_rate_pages_per_s": lambda pages: bandwidth_words(pages * PAGE_BYTES), "bandwidth_bytes_per_s": bandwidth_words,
    "downtime_limit_ms": lambda ms: seconds_words(ms / 1000), "working_set_bytes": bytes_words,
}  # fmt: skip
FARTHEST: Mapping[tuple[str, bool], str] = {
    ("dirty_rate_pages_per_s", True): "no larger dirty rate is tried", ("dirty_rate_pages_per_s", False): "no less is tried",
    ("bandwidth_bytes_per_s", True): "no lower bandwidth is tried",
    ("bandwidth_bytes_per_s", False): "no faster link helps: the migration thread sends less than this link carries",
    ("downtime_limit_ms", True): "QEMU takes no shorter downtime limit",
    ("downtime_limit_ms", False): "QEMU takes no longer downtime limit",
    ("working_set_bytes", True): "the working set is all memory already",
    ("working_set_bytes", False): "no smaller working set is tried",
}  # fmt: skip
"""A figure that is as far as it can be, by its name and whether farther is harder."""
MORE_IS_HARDER = ("dirty_rate_pages_per_s", "working_set_bytes")


def margin_lines(margins: Sequence[Margin]) -> Iterator[str]:
    """A line for each margin, then the seeds of their runs, and the work of those that were not run."""
    for margin in margins:
        yield f"Margin: {margin_words(margin)}."
    seeds = {margin.seeds for margin in margins if margin.seeds}
    if seeds:
        yield f"Margins are runs with that one change ({seeds_words(max(seeds, key=len))})."
    if too_dear := [margin.work for margin in margins if margin.work and not margin.confirmed]:
        yield (
            "Margins marked 'not run' are computed from the dirty curve and not confirmed: the runs of one are work of "
            f"{work_words(min(too_dear))} or more, and the budget of all is {work_words(MARGIN_WORK)}."
        )


def margin_words(margin: Margin) -> str:
    """``it stops converging above a dirty rate of 9.1 Gbit/s: at 9.2 Gbit/s it does not converge``."""
    name, words = NAMES[margin.knob], WORDS[margin.knob]
    now = f"now {words(margin.today)}"
    if margin.near == margin.today and margin.far is None:
        return f"{FARTHEST[margin.knob, margin.harder]} ({now})"
    if margin.near is None or not margin.confirmed:
        return _computed(margin, name, now)
    if margin.far is None:
        return _no_flip(margin, f"a {name} of {words(margin.near)}", now)
    side = _side(margin)
    if margin.harder:
        return (
            f"it stops converging {side} a {name} of {words(margin.near)} ({now}): there it converges, at "
            f"{words(margin.far)} it does not"
        )
    there = f"there it does, at {words(margin.near)} it does not yet"
    return f"it converges {side} a {name} of {words(margin.far)} ({now}): {there}"


def _side(margin: Margin) -> str:
    """Above or below: where the other answer begins."""
    return "above" if (margin.knob in MORE_IS_HARDER) == margin.harder else "below"


def _no_flip(margin: Margin, value: str, now: str) -> str:
    if margin.harder:
        return f"it converges with {value}, too ({now})"
    return f"it does not converge with {value} either ({now})"


def _computed(margin: Margin, name: str, now: str) -> str:
    if margin.computed is None:
        return f"by computation, no {name} changes the answer ({now}; not run)"
    side, value = _side(margin), WORDS[margin.knob](margin.computed)
    ends = "stops converging" if margin.harder else "converges"
    return f"it {ends} {side} a {name} of about {value} ({now}; computed, not run)"


def in_the_way(computed: Mapping[str, float] | None) -> Iterator[str]:
    """The computed reasons that keep a migration from converging; none where it would converge, or is not computed."""
    if computed is None:
        return
    if "window_bytes" in computed:
        window, trip = bytes_words(computed["window_bytes"]), seconds_words(computed["round_trip_s"])
        yield (
            f"Bandwidth: TCP sends a window of {window} each round trip of {trip}, which is "
            f"{bandwidth_words(computed['bandwidth_bytes_per_s'])} whatever the link carries (computed)."
        )
    if computed["floor_bytes"] <= computed["threshold_bytes"]:
        return
    floor, threshold = (bytes_words(computed[name]) for name in ("floor_bytes", "threshold_bytes"))
    at = bandwidth_words(computed["bandwidth_bytes_per_s"])
    yield (
        f"Obstacle: the guest writes so fast that at {at} no less than {floor} remain to be sent, and QEMU stops the "
        f"guest only below {threshold} (computed)."
    )


AT = f"at {CONFIDENCE:.0%}".replace("%", " %")
DIGITS, DIGITS_MOST = 4, 6
"""Significant digits of an interval: so many that its ends differ, if that takes no more than the second number."""
SCALES = {
    "_ms": ((1000.0, "s"), (1.0, "ms")), "_ns": ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1.0, "ns")),
    "_bytes": ((1e9, "GB"), (1e6, "MB"), (1.0, "B")), "_percent": ((1.0, "%"),),
}  # fmt: skip
"""Ending of a figure's name: (divisor, unit) of the units that an interval is written in, the largest first."""


def prediction_lines(found: Prediction) -> list[str]:
    """The verdict on ``found`` in sentences; the first line opens with VERDICT."""
    return [
        f"VERDICT: {converges_words(found)}.", *warning_lines(found.warnings), *_outcome(found), *in_the_way(found.computed),
        *_guest(found),
        *margin_lines(found.margins), *_close_call(found.close_call),
        *_equal(found), *(f"Assumption: {text}." for text in found.assumptions), f"{rests_on(found)}.",
    ]  # fmt: skip


def converges_words(found: Prediction) -> str:
    """``it converges in 30 of 30 runs (P >= 0.89 at 95 %)``."""
    share = found.converges
    counted = f"{share.k} of {share.n} runs" if share.n > 1 else "its only run"
    counted += f" ({chance_words(share)})"
    if share.k == share.n:
        return f"it converges in {counted}"
    ends = Counter(status for status in found.statuses if status != "completed")
    told = ", ".join(f"{count} {ENDED.get(end, end)}" for end, count in ends.items())
    within = f" within {seconds_words(parse_duration(found.scenario['duration']) / 1e9)}" if "active" in ends else ""
    if share.k == 0 and set(ends) == {"active"} and found.mean("syncs") == 1:
        return f"cannot tell: {none_of(share.n)} got through the first pass{within}; --set duration=1h gives an hour"
    if share.k == 0:
        return f"it does not converge: {none_of(share.n)} completed{within} ({chance_words(share)})"
    return f"it converges in {counted}; {told}{within}"


def none_of(n: int) -> str:
    """``none of 30 runs``."""
    return f"none of {n} runs" if n > 1 else "not even its only run"


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
    covers = "The intervals cover chance alone; dirty rate, bandwidth and host are taken as given"
    if found.n == 1:
        parts = [f"A single run of {BY}, {seeds} (n = 1), so its figures have no interval"]
        covers = "Dirty rate, bandwidth and host are taken as given"
    if rule := rule_words(found.rule, found.n):
        parts.append(rule[:1].upper() + rule[1:])
    parts.append(covers)
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


def _close_call(found: CloseCall | None) -> Iterator[str]:
    if found is None:
        return
    times = (found.own_s, found.fewer_s, found.more_s)
    own, fewer, more = ("does not complete" if s is None else f"takes {seconds_words(s)}" for s in times)
    yield (
        f"Close call: by computation the migration {own}, with 1 % fewer writes it {fewer}, and with 1 % more it {more}. "
        "A dirty rate is seldom known so exactly, so expect any time of that range."
    )


def _equal(found: Prediction) -> Iterator[str]:
    if found.equal:
        yield f"All {found.n} runs are equal: no random draw changes this migration, so all intervals have length 0."


OWN_FILES = re.compile(
    r"(predict|runs|margins)\.(csv|parquet)|predict(-[\w-]+)?\.(png|svg)|verdict\.txt|report\.html"
)
SHOWN: Mapping[str, str] = {
    **TITLES, "syncs": "rounds", "throttle_max_percent": "throttle", "mode.sent_percent": "sent / RAM",
    "mode.exposed_ns": "needs both hosts", "mode.page_wait_p99_ns": "page wait p99",
    "kvm.wp_faults": "write faults", "memory.swapped_in": "pages swapped in",
}  # fmt: skip
"""Figures of the table on the terminal: name to heading."""


def figures_grid(estimates: Mapping[str, Estimate]) -> Grid:
    """A row a figure: mean and interval, median, the value that most runs do not exceed, number of runs."""
    columns = [
        Column("figure", "figure", role=Role.KEY, of=lambda one: SHOWN[one.name]),
        Column("mean", "mean [95 % interval]", of=estimate_words),
        Column("median", "median [95 % interval]", of=_median_words),
        Column("p95", "95 % of runs", of=lambda one: figure_words(one.name, one.p95)),
        Column("n", "runs", of=lambda one: one.spread.n),
    ]
    rows = [estimates[name] for name in SHOWN if name in estimates]
    return grid_of(columns, [one for one in rows if one.spread.mean > 0], "Figures")


def write_prediction(out: Path, found: Prediction, content: dict[str, Any]) -> list[Path]:
    """Write the files of ``found``; returns their paths. OutputError, then ``out`` is as it was."""
    files = {
        "predict.json": json_bytes(content), "provenance.json": json_bytes(provenance(found)),
        "verdict.txt": "".join(f"{line}\n" for line in content["verdict"]).encode(),
        **table_files("predict", estimates_table(found)), **table_files("runs", runs_table(found)),
        **(table_files("margins", margins_table(found)) if found.margins else {}),
        **pictures_of(folder_content("predict", content, provenance(found)), "predict"),
    }  # fmt: skip
    return write_files(out, files, stale=OWN_FILES if (out / "predict.json").exists() else None)


def provenance(found: Prediction) -> dict[str, Any]:
    """All data to run the prediction again."""
    return {
        **versions(), "git": own_revision(), "python": platform.python_version(), "seeds": list(found.seeds),
        "scenario": found.scenario, "config_sha256": config_sha256(dict(found.scenario)),
    }  # fmt: skip


def estimates_table(found: Prediction) -> Table:
    """A row a figure."""
    schema = {"figure": "str", "n": "int64"} | dict.fromkeys(
        ("mean", "low", "high", "median", "median_low", "median_high", "p95"), "float64"
    )
    rows = [(name, *(or_nan(value) for value in _values(one))) for name, one in found.estimates.items()]
    return Table.of("predict", schema, rows)


def runs_table(found: Prediction) -> Table:
    """A row a run: seed, how it ended, its figures."""
    names = figure_names(found.runs)
    schema = {"seed": "int64", "status": "str"} | dict.fromkeys(names, "float64")
    both = zip(found.seeds, found.runs, strict=True)
    return Table.of(
        "runs", schema, [(seed, run["status"], *(or_nan(run.get(name)) for name in names)) for seed, run in both]
    )


def margins_table(found: Prediction) -> Table:
    """A row for each figure with a margin that was searched."""
    schema = {"figure": "str"} | dict.fromkeys(("today", "computed", "near", "far"), "float64")
    schema |= {"harder": "bool", "confirmed": "bool", "runs": "int64"}
    rows = [
        (one.knob, one.today, or_nan(one.computed), or_nan(one.near), or_nan(one.far), one.harder, one.confirmed,
         len(one.seeds))
        for one in found.margins
    ]  # fmt: skip
    return Table.of("margins", schema, rows)


def _median_words(one: Estimate) -> str:
    text = figure_words(one.name, one.median.median)
    if one.median.low is None or one.median.high is None or one.median.low == one.median.high:
        return text
    return f"{text} [{figure_words(one.name, one.median.low)}, {figure_words(one.name, one.median.high)}]"


def _values(one: Estimate) -> tuple[Any, ...]:
    spread, median = one.spread, one.median
    return (spread.n, spread.mean, spread.low, spread.high, median.median, median.low, median.high, one.p95)
