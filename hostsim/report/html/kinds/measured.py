"""The page of measure-dirty: which measurement reads right, its cost to the guest, the worth of a forecast."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hostsim.report.charts.chart import COLOURS, N_DASHES, Axis, Bar, Bars, Chart, Line, Panel
from hostsim.report.columns import Column, Grid, Role
from hostsim.report.html.kinds.parts import (
    lines_card,
    noted,
    options_command,
    origin_of,
    sections_of,
    tiles_of,
)
from hostsim.report.html.page import Content, Page, Section, Tabled, Tile, chart_section
from hostsim.report.tables import NONE
from hostsim.study.dirty_measure.plan import NONE as NO_SAMPLES
from hostsim.verdict.words import number_words, seconds_words

Row = Mapping[str, Any]
KEYS = ("method", "samples", "window")


def measure_page(content: Content) -> Page:
    """The page of measure-dirty.json."""
    from hostsim.report.html.kinds.studies import defaults_of
    from hostsim.study.dirty_measure.options import MeasureOptions

    main, notes = content.main, list[str]()
    rows, options = main["rows"], dict(main["options"])
    file = options.pop("file", None)
    return Page(
        title="How far can a measured dirty rate be trusted?",
        kicker=f"hostsim measure-dirty, {len(rows)} measurements, {len(main['seeds'])} seeds",
        cards=(lines_card(main["verdict"], "told", "calc-dirty-rate"),),
        tiles=tiles_of(notes, lambda: _tiles(main)),
        sections=sections_of(
            notes,
            ("Bias", lambda: chart_section("Bias, forecast and cost", measure_chart(rows))),
            ("Answers", lambda: chart_section("Answers beside what the guest wrote", answers_chart(rows))),
            ("Forecasts", lambda: chart_section("Total times that are forecast", forecasts_chart(rows, main["truth"]))),
            ("Measurements", lambda: _measurements(rows, main.get("interval"))),
        ),
        origin=origin_of({**content.origin, "seeds": main["seeds"]}),
        command=options_command("measure-dirty", options, defaults_of(MeasureOptions), file),
        notes=noted(content, notes),
    )


def _tiles(main: Mapping[str, Any]) -> Iterator[Tile]:
    truth, rows = main["truth"], main["rows"]
    total, counted = truth["total_s"], f"{truth['completed']} of {truth['seeds']} seeds complete"
    yield Tile("the simulated migration", "never ends" if total is None else seconds_words(total["mean"]),
               f"{_ends(total, seconds_words)}{counted}")  # fmt: skip
    for name, (title, sizes) in BESTS.items():
        known = [row for row in rows if name in row["figures"]]
        if known:
            one = min(known, key=sizes)
            spread = one["figures"][name]
            yield Tile(title, percent(spread["mean"]), f"{_ends(spread, percent)}{_named(one)}")


def _mean(row: Row, name: str) -> float:
    return float((row["figures"].get(name) or {"mean": 0.0})["mean"])


def _far_off(row: Row) -> tuple[float, float]:
    """How far a reading is off, then its cost to the guest: the order in which the verdict ranks readings."""
    return abs(_mean(row, "bias_percent")) + row["cv_percent"], _mean(row, "guest_lost_percent")


BESTS: Mapping[str, tuple[str, Callable[[Row], Any]]] = {
    "bias_percent": ("bias of the best reading", _far_off),
    "error_percent": ("error of the best forecast", lambda row: abs(_mean(row, "error_percent"))),
    "guest_lost_percent": ("most time lost by a vCPU", lambda row: -_mean(row, "guest_lost_percent")),
}


def _ends(spread: Mapping[str, Any] | None, words: Any) -> str:
    if spread is None or spread["low"] is None or words(spread["low"]) == words(spread["high"]):
        return ""
    return f"95 % interval {words(spread['low'])} to {words(spread['high'])}; "


def percent(value: float) -> str:
    """``-3.1 %``."""
    return f"{number_words(value)} %"


def _named(row: Row) -> str:
    return ", ".join(row["settings"][key] for key in KEYS if row["settings"][key] != NO_SAMPLES)


def _measurements(rows: Sequence[Row], interval: str | None) -> Section:
    """A line a measurement."""
    heads = (*KEYS, "n", "answer [MiB/s]", "written [MiB/s]", "bias", "spread of one answer", "guest lost", "forecast",
             "its error", "never ends")  # fmt: skip
    columns = tuple(Column(f"{i}", head, role=Role.KEY if i < len(KEYS) else Role.FIGURE) for i, head in enumerate(heads))
    cells = tuple(_cells(row) for row in rows)
    lead = f"Brackets: {interval}. Never ends: answers from which a forecast does not end." if interval else ""
    return Section("Measurements", (Tabled(Grid(columns, cells), "Measurements", folded=False),), lead)


def _cells(row: Row) -> tuple[str, ...]:
    total = row["forecast_total_s"]
    bias, error, lost = (_spread(row["figures"].get(name)) for name in BESTS)
    return (
        *(row["settings"][key] for key in KEYS), str(row["n"]), number_words(row["reported_mib_per_s"]),
        number_words(row["written_mib_per_s"]), bias, percent(row["cv_percent"]), lost,
        "never" if total is None else seconds_words(total), error, f"{100 * row['endless_share']:.0f} %",
    )  # fmt: skip


def _spread(spread: Mapping[str, Any] | None) -> str:
    if spread is None:
        return NONE
    if not _ends(spread, percent):
        return percent(spread["mean"])
    return f"{percent(spread['mean'])} [{number_words(spread['low'])}, {number_words(spread['high'])}]"


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
    return settings["method"] if samples == NO_SAMPLES else f"{settings['method']}, {samples} a GiB"


def measure_chart(rows: Sequence[Row]) -> Chart:
    """A panel a figure: over the windows, a line a method."""
    shown = [(name, title) for name, title in FIGURES.items() if any(_chart_mean(row, name) for row in rows)]
    panels = tuple(_panel(rows, name, title) for name, title in shown)
    lead = "Marks: means over the seeds, whiskers: their 95 % intervals."
    return Chart("measured", "What a measured dirty rate is worth", Axis("window"), panels, across=2, lead=lead)


def _chart_mean(row: Row, name: str) -> float | None:
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
    """Bars: the mean answer of each measurement, and the rate at which the guest wrote in its periods."""
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
