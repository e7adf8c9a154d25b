"""Charts of measured dirty rates: bias, error and cost; answers beside what the guest wrote; forecast total times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hostsim.report.charts.chart import COLOURS, N_DASHES, Axis, Bar, Bars, Chart, Line, Panel
from hostsim.study.dirty_measure.plan import NONE
from hostsim.verdict.words import number_words

Row = Mapping[str, Any]
FIGURES = {
    "bias_percent": "bias: answer against the pages written", "error_percent": "error of the forecast of the total time",
    "guest_lost_percent": "time that a vCPU loses",
}  # fmt: skip
ASIDE = 0.5
"""Room over which the methods stand beside each other at a window, of the room between two windows."""


def named(row: Row) -> str:
    """Method and samples of a row."""
    settings = row["settings"]
    samples = settings["samples"]
    return settings["method"] if samples == NONE else f"{settings['method']}, {samples} a GiB"


def measure_chart(rows: Sequence[Row]) -> Chart:
    """A panel a figure: over the windows, a line a method."""
    panels = tuple(_panel(rows, name, title) for name, title in FIGURES.items() if any(_mean(row, name) for row in rows))
    lead = "Marks: means over the seeds, whiskers: their 95 % intervals."
    return Chart("measured", "What a measured dirty rate is worth", Axis("window"), panels, across=2, lead=lead)


def _mean(row: Row, name: str) -> float | None:
    return (row["figures"].get(name) or {}).get("mean")


def _panel(rows: Sequence[Row], name: str, title: str) -> Panel:
    windows = list(dict.fromkeys(row["settings"]["window"] for row in rows))
    methods = list(dict.fromkeys(map(named, rows)))
    lines = []
    for number, method in enumerate(methods):
        mine = {row["settings"]["window"]: row["figures"].get(name) or {} for row in rows if named(row) == method}
        aside = ASIDE * ((number + 0.5) / len(methods) - 0.5)
        y, low, high = (np.array([_number(mine.get(w, {}).get(end)) for w in windows]) for end in ("mean", "low", "high"))
        ends: dict[str, Any] = {"low": low, "high": high} if np.isfinite(low).any() else {}
        at = np.arange(len(windows)) + aside
        lines.append(Line(method, at, y, COLOURS[number % len(COLOURS)], dash=number % N_DASHES, marked=True, **ends))
    ticks = tuple((float(i), text) for i, text in enumerate(windows))
    x = Axis("window of a measurement", "plain", low=-0.5, high=len(windows) - 0.5, ticks=ticks)
    return Panel(Axis(title, "%"), tuple(lines), x=x, title=title)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def answers_chart(rows: Sequence[Row]) -> Chart:
    """Bars: the mean answer of each measurement, and what the guest wrote in its periods."""
    names = tuple(f"{named(row)}, {row['settings']['window']}" for row in rows)
    reported = tuple(_answer(row) for row in rows)
    written = tuple(Bar(row["written_mib_per_s"], words=_rate(row["written_mib_per_s"])) for row in rows)
    bars = Bars(Axis("dirty rate [MiB/s]", "plain"), names, (("answer", reported), ("written by the guest", written)))
    lead = "Whiskers of an answer: the standard deviation of a single one."
    return Chart("answers", "Answers beside what the guest wrote", Axis(""), (bars,), lead=lead)


def forecasts_chart(rows: Sequence[Row], truth: Row) -> Chart:
    """Bars: the total time that is forecast from each measurement, below that of the simulated migration.

    truth: of measure-dirty.json.
    """
    total = truth["total_s"]
    known = Bar(float("nan"), words="never ends") if total is None else Bar(total["mean"], total["low"], total["high"])
    names = ("the simulated migration", *(f"{named(row)}, {row['settings']['window']}" for row in rows))
    bars = Bars(Axis("total time", "s"), names, (("total time", (known, *map(_forecast, rows))),), colour="grey")
    return Chart("forecasts", "Total times forecast from the answers", Axis(""), (bars,))


def _forecast(row: Row) -> Bar:
    total_s = row["forecast_total_s"]
    return Bar(float("nan"), words="never ends") if total_s is None else Bar(total_s)


def _answer(row: Row) -> Bar:
    mean, off = row["reported_mib_per_s"], row["reported_mib_per_s"] * row["cv_percent"] / 100
    low, high = (max(0.0, mean - off), mean + off) if off else (None, None)
    return Bar(mean, low, high, _rate(mean))


def _rate(mib: float) -> str:
    return f"{number_words(mib)} MiB/s"
