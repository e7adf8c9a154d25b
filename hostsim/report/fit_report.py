"""A fit in sentences, as a table and as the content of a report; the answer of ``hostsim whatif``, which rests on one.

The guest, figures that the log lacks, rounds measured beside rounds fitted; the prediction and its range over drawn
guests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hostsim.fitting.by_curve import by_curve
from hostsim.fitting.fitted import HIGH, LOW, GuestFit, Interval, rows_of
from hostsim.fitting.guest_text import guest_text, interval_words, size_words
from hostsim.fitting.whatif import Change, assumptions_of_whatif, drawn_scenarios
from hostsim.report.columns import Column, Grid, Role, grid_of
from hostsim.report.html.page import Content
from hostsim.report.html.registry import pictures_of
from hostsim.report.origin_words import BY, seeds_words
from hostsim.report.predict_report import estimate_words, prediction_lines, rule_words
from hostsim.results.aside import write_files
from hostsim.results.encode import json_bytes, table_files
from hostsim.results.provenance import own_revision
from hostsim.results.tables import Table, plain
from hostsim.study.compare.identity import versions
from hostsim.study.predict.prediction import Prediction
from hostsim.theory.precopy import PrecopyOutcome
from hostsim.verdict.words import bandwidth_words, count_words, pages_words, percent_words, seconds_words

POINTS = 120
SHORTEST_S, LENGTH_S = 0.05, 1.0
"""The curve begins at the first, and ends at twice the second where no point says otherwise."""
COLUMNS = dict.fromkeys(("t_s", "fitted_pages", "low_pages", "high_pages"), "float64")


def fit_report(kind: str, fitted: GuestFit, told: Mapping[str, Any], seed: int) -> Content:
    """The content of the page ``kind``, fit or whatif. told: the object that --json prints; seed: of the drawn guests."""
    origin = plain({**versions(), "git": own_revision(), "seed": seed})
    main = json.loads(json_bytes(plain(told)))  # as hostsim report reads it
    return Content(kind, main, {"curve": curve_table(fitted)}, {"guest.toml": guest_text(fitted)}, origin=origin)


def write_fit(out: Path, content: Content, lines: Sequence[str], table: Table) -> list[Path]:
    """Write the files of a fit, or of a forecast from one: JSON, verdict, curve, ``table``, the guest, pictures.

    Returns the paths; OutputError, then ``out`` is as it was.
    """
    name = content.kind
    tables = {"curve": content.tables["curve"]} | ({} if name == "fit" else {name: table})
    files = {
        f"{name}.json": json_bytes(content.main), "provenance.json": json_bytes(content.origin),
        "verdict.txt": "".join(f"{line}\n" for line in lines).encode(),
        "guest.toml": content.texts["guest.toml"].encode(), **pictures_of(content, name),
    }  # fmt: skip
    for stem, one in tables.items():
        files |= table_files(stem, one)
    own = re.compile(rf"(curve|{name})\.(csv|parquet)|{name}(-[\w-]+)?\.(png|svg)|verdict\.txt|guest\.toml")
    return write_files(out, files, stale=own if (out / f"{name}.json").exists() else None)


def curve_table(fitted: GuestFit) -> Table:
    """The dirty curve of the fitted guest, and between which values 90 % of the drawn guests lie."""
    lengths = [point.t_s for point in fitted.found.points] or [LENGTH_S]
    t_s = np.geomspace(min(SHORTEST_S, min(lengths) / 2), 2 * max(lengths), POINTS)
    drawn = np.array([classes.curve().at(t_s) for classes in fitted.found.draws])
    low, high = np.percentile(drawn, [LOW, HIGH], axis=0) if len(drawn) else np.full((2, POINTS), np.nan)
    return Table.of("curve", COLUMNS, list(zip(t_s, fitted.classes.curve().at(t_s), low, high, strict=True)))


ROWS_MAX = 14
FEW_POINTS = 4
LOOSE = 1.5
"""An interval whose ends differ by more than this factor is called wide."""


def fit_lines(fitted: GuestFit) -> list[str]:
    """The sentences on ``fitted``; the first line opens with FIT."""
    return [
        _headline(fitted),
        _guest(fitted),
        _curve(fitted),
        *_pacing(fitted),
        *_memory(fitted),
        *_bandwidth(fitted),
        *_ends(fitted),
        *_unsure(fitted),
        *(f"Note: {note}." for note in fitted.notes),
    ]


def _headline(fitted: GuestFit) -> str:
    sources, points = ", ".join(fitted.sources), fitted.found.points
    if not points:
        return f"FIT: {sources}: no page was written again after it had been sent, so the fitted guest writes no memory."
    offs = sorted(abs(row["off_share"]) for row in rows_of(fitted) if row["off_share"] is not None)
    typical = percent_words(offs[len(offs) // 2])
    rounds = sum(p.rounds for p in points)
    met = f"the fitted guest agrees with the {rounds} {'rounds of the log' if fitted.observed else 'measured points'}"
    return f"FIT: {sources}: {met} within {typical} (median), {percent_words(offs[-1])} at most."


def _guest(fitted: GuestFit) -> str:
    classes, figures = fitted.classes, fitted.figures
    rate = interval_words(figures["writes_per_s"], count_words)
    shape = f"{len(classes.pages)} class{'es' * (len(classes.pages) > 1)} of pages written independently"
    if classes.sweep:
        also = f", and {shape}" if classes.pages else ""
        period = seconds_words(1 / classes.sweep.sweeps_per_s)
        shape = f"a sweep over {pages_words(classes.sweep.pages)} in order, once each {period}{also}"
    if not fitted.found.points:
        return "Guest: no writes."
    working_set = interval_words(figures["working_set_pages"], pages_words)
    return f"Guest: {shape}; working set {working_set}, {rate} page writes a second."


def _curve(fitted: GuestFit) -> str:
    if not fitted.found.points:
        return "Dirtied: nothing."
    told = []
    for name, one in fitted.figures.items():
        if name.startswith("dirtied_in_"):
            seconds = float(name.removeprefix("dirtied_in_").removesuffix("s_pages"))
            told.append(f"{interval_words(one, size_words)} in {seconds_words(seconds)}")
    drawn = (
        f"{len(fitted.found.draws)} guests drawn from the errors of the {'rounds' if fitted.observed else 'measurements'}"
    )
    return f"Dirtied: {', '.join(told)}. Brackets hold 90 % of {drawn}."


def _pacing(fitted: GuestFit) -> Iterator[str]:
    if not fitted.found.points:
        return
    if fitted.found.pace.is_seen:
        yield f"Pacing: {fitted.found.pace.words} (seen in the throttled rounds)."
    else:
        why = ", for no round was throttled" if fitted.observed else ""
        yield f"Pacing: not seen{why}; work bound to the CPU is assumed, which auto-converge slows."
    if fitted.found.circles:
        yield (
            "Turns: rounds with many and with few dirty pages alternate, as they do where hot pages lie in a row and QEMU's "
            "cursor meets them in every other round; hostsim averages such rounds."
        )
    if fitted.found.bursts > 0.1:
        yield f"Bursts: the pages dirtied in a second vary by {percent_words(fitted.found.bursts)} more than by chance."


def _memory(fitted: GuestFit) -> Iterator[str]:
    filled, ram = fitted.figures.get("filled_pages"), fitted.figures.get("ram_pages")
    if filled and ram:
        zero = fitted.figures.get("zero_pages")
        also = f", {size_words(zero.value)} of zeros" if zero else ""
        yield f"Memory: {size_words(ram.value)}; the first pass sends {size_words(filled.value)} as whole pages{also}."


def _bandwidth(fitted: GuestFit) -> Iterator[str]:
    bottleneck = fitted.setting.bottleneck
    if bottleneck is None:
        return
    is_limit = bottleneck.kind == "max-bandwidth"
    name = f"max-bandwidth {bandwidth_words(bottleneck.bytes_per_s)}" if is_limit else "the link, or the host"
    yield f"Bandwidth: {bandwidth_words(bottleneck.measured)} measured; limited by {name} ({bottleneck.source})."


def _ends(fitted: GuestFit) -> Iterator[str]:
    floor, threshold = fitted.figures.get("floor_pages"), fitted.threshold_pages
    if floor is None or threshold is None or not fitted.found.points:
        return
    least, stops = interval_words(floor, size_words), size_words(threshold)
    words = {
        True: f"pre-copy ends by itself: remaining can fall to {least}, and QEMU stops the guest below {stops}",
        False: f"pre-copy does not end by itself: remaining stays above {least}; QEMU stops the guest below {stops}",
        None: f"the log does not decide whether pre-copy ends: remaining can fall to {least}, the threshold is {stops}",
    }
    yield f"Outcome: {words[fitted.ends_by_itself]}."
    if fitted.load_end_s:
        at = seconds_words(fitted.load_end_s)
        yield f"Load: the migration completed at {at}, which the fitted guest does not allow: its load ended just before."


def _unsure(fitted: GuestFit) -> Iterator[str]:
    points = fitted.found.points
    if 0 < len(points) < FEW_POINTS:
        kind, more = (
            ("rounds", "poll query-migrate over more rounds") if fitted.observed else ("measurements", "measure more")
        )
        yield f"Unsure: the dirty curve rests on {len(points)} lengths of {kind}, so the brackets are wide: {more}."
    shortest = min((p.t_s for p in points), default=0.0)
    tenth = fitted.figures.get("dirtied_in_0.1s_pages", Interval(0.0))
    if shortest > 0.1 and tenth.low is not None and tenth.high and tenth.high > LOOSE * max(tenth.low, 1.0):
        yield (
            f"Unsure: no {'round' if fitted.observed else 'measurement'} is shorter than {seconds_words(shortest)}, so the "
            "pages dirtied within 100 ms follow from the shape of the curve alone; calc-dirty-rate over "
            f"{'1 s or less' if shortest > 1 else f'less than {seconds_words(shortest)}'} would measure them."
        )
    if points and fitted.found.from_below:
        least = fitted.figures["writes_per_s"].low or fitted.figures["writes_per_s"].value
        yield (
            "Unsure: every round found about all pages that the guest writes, so its rate has only a lower bound, "
            f"{count_words(least)} page writes a second: a faster link, a longer downtime limit or calc-dirty-rate over "
            f"less than {seconds_words(shortest)} would measure it."
        )
    if any(one.evidence.downtime_limit_from == "assumed" for one in fitted.observed):
        limit = seconds_words(fitted.setting.limit_ms / 1000)
        yield f"Limit: the log does not contain the downtime limit; {limit} is assumed, --downtime-limit sets it."
    if fitted.found.by_chunks:
        yield "Log: the rounds fit better if KVM's dirty log is cleared by chunks as pages are sent; the scenario does so."


def rounds_grid(fitted: GuestFit) -> Grid:
    """Rounds measured beside fitted; of a long log some in the middle are left out."""
    columns = [
        *_length_columns(fitted),
        Column("throttle_percent", "throttle", words=lambda percent: f"{percent:.0f} %", if_any=True),
        Column("found_pages", "newly dirty" if fitted.observed else "dirty", words=count_words),
        Column("fitted_pages", "fitted", words=count_words),
        Column("off_share", "off", words=_signed),
        Column("error_share", "error", words=lambda share: f"±{100 * share:.1f} %"),
    ]
    rows = list(rows_of(fitted))
    if len(rows) > ROWS_MAX:
        half = ROWS_MAX // 2
        rows = [*rows[:half], *rows[-half:]]
    return grid_of(columns, rows, "Rounds" if fitted.observed else "Points")


def _length_columns(fitted: GuestFit) -> tuple[Column, ...]:
    """The columns that name a row: a measured curve has lengths and no rounds."""
    if not fitted.observed:
        return (Column("length_s", "after", role=Role.KEY, words=seconds_words),)
    return (
        Column("migration", "migration", role=Role.KEY, if_any=True),
        Column("end_s", "until", role=Role.KEY, words=seconds_words),
        Column("rounds", "rounds"),
        Column("length_s", "each took", words=seconds_words),
    )


def _signed(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:+.1f} %"


FIT_LINES = 3
RUNS_MIN = 5
"""Fewer runs show no range."""


def whatif_content(found: Prediction, fitted: GuestFit, change: Change) -> dict[str, Any]:
    """The object that --json prints: the verdict, the fit, the passes by the readings of a curve, the prediction.

    found: the prediction over guests drawn from the errors of ``fitted``, at least one run. change: the question.
    """
    outcome = by_curve(fitted, drawn_scenarios(fitted, change)(0))
    lines = whatif_lines(found, fitted, change, outcome)
    return {"verdict": lines, "fit": fitted.to_dict(), "by_readings": outcome and asdict(outcome), **found.to_dict()}


def whatif_lines(
    found: Prediction, fitted: GuestFit, change: Change, by_readings: PrecopyOutcome | None = None
) -> list[str]:
    """The verdict on a migration that has not taken place; the first line opens with VERDICT.

    found, fitted, change: as in ``whatif_content``; the first FIT_LINES lines on the fit close the verdict.
    by_readings: the passes by the readings of a curve; None: of a log, or not computed.
    """
    lines = prediction_lines(found)[:-1]
    seeds, rule = seeds_words(found.seeds), rule_words(found.rule, found.n)
    rests = (
        f"Each of the {found.n} runs of {BY} is of a guest drawn anew from the errors of the fit, {seeds}; "
        "brackets are 95 % intervals of the mean over these guests."
    )
    if found.n == 1:
        rests = f"The run of {BY} is of the fitted guest, {seeds} (n = 1), so its figures have no interval."
    return [
        *lines,
        *_range(found),
        *_by_readings(by_readings),
        *_requests(found),
        *(f"{text}." for text in assumptions_of_whatif(fitted, change)),
        rests,
        *([f"{rule[:1].upper()}{rule[1:]}."] if rule else []),
        *fit_lines(fitted)[:FIT_LINES],
    ]


def _range(found: Prediction) -> Iterator[str]:
    times = [float(run["total_time_ms"] or 0.0) / 1000 for run in found.runs if run["status"] == "completed"]
    if len(times) >= RUNS_MIN:
        low, high = np.percentile(times, [5, 95])
        yield f"Range: nine of ten runs that complete take from {seconds_words(float(low))} to {seconds_words(float(high))}."


def _by_readings(outcome: PrecopyOutcome | None) -> Iterator[str]:
    if outcome is None:
        return
    ends = f"it completes after {seconds_words(outcome.total_s)}, in {outcome.passes} passes"
    if not outcome.converged:
        ends = f"it does not complete within {seconds_words(outcome.total_s)}"
    yield f"By the readings of the curve themselves, pass by pass and without a fitted guest, {ends} (computed, not run)."


def _requests(found: Prediction) -> Iterator[str]:
    """Page requests: each page that is missing at the switch is requested once at most, whether read or written."""
    least, most = (found.estimates.get(f"mode.{name}") for name in ("page_requests", "missing_pages"))
    if least is not None and most is not None:
        yield (
            f"Requests: the guest's writes request {estimate_words(least)} pages; with its reads they are at most the "
            f"{estimate_words(most)} pages that are missing at the switch."
        )
