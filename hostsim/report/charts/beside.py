"""Charts of figures beside each other: real and simulated, expected and got, measured and its spread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hostsim.report.charts.chart import COLOURS, Axis, Bar, Bars, Chart, Line, Panel, spans_decades

Row = Mapping[str, Any]
WORK_TITLES = {"enable": "enabling a log", "get": "GET that protects", "unmap": "unmapping"}
QUANTITIES_MAX, ROWS_MIN = 9, 3
"""Quantities of a validation that have a panel, and the rows that a panel has at least."""


def phases_chart(phases: Sequence[Row], host: str = "") -> Chart:
    """The time of a page in each phase, real with the least and the most of the runs, and simulated.

    host: the machine of the real runs.
    """
    names = tuple(str(row["phase"]) for row in phases)
    real = tuple(Bar(_a_page(row, "real_ms"), _a_page(row, "real_least_ms"), _a_page(row, "real_most_ms")) for row in phases)
    simulated = tuple(Bar(_a_page(row, "simulated_ms")) for row in phases)
    bars = Bars(Axis("time of a page", "ns", log=True), names, (("real", real), ("simulated", simulated)))
    lead = f"Bars are on a logarithmic scale. Whiskers: the least and the most of the real runs{_on(host)}."
    return Chart("phases", "Time of a page in each phase", Axis(""), (bars,), lead=lead)


def simulated_phases_chart(phases: Sequence[Row]) -> Chart:
    """The time of a page in each phase of a selftest that was simulated alone."""
    names = tuple(f"{row['phase']} {row['iteration']}" if row.get("iteration") else str(row["phase"]) for row in phases)
    times = tuple(Bar(_a_page(row, "duration_ns", 1.0)) for row in phases)
    bars = Bars(Axis("time of a page", "ns", log=True), names, (("simulated", times),))
    return Chart("phases", "Time of a page in each phase", Axis(""), (bars,), lead="Bars are on a logarithmic scale.")


def _on(host: str) -> str:
    return f", on {host}" if host else ""


def _a_page(row: Row, key: str, unit_ns: float = 1e6) -> float:
    return float(row[key]) * unit_ns / max(1, int(row.get("pages", 1)))


def chains_chart(rows: Sequence[Row], host: str = "") -> Chart | None:
    """A panel a work: the time of a page by its sptes, real with its middle half, modelled, by the closed form; or None.

    host: the machine of the real measurements.
    """
    panels = []
    for work, title in WORK_TITLES.items():
        mine = [row for row in rows if row["work"] == work]
        if mine:
            panels.append(_chain(title, mine))
    if not panels:
        return None
    lead = f"Whiskers: the middle half of the real measurements{_on(host)}."
    title = "What a spte of a page costs, real and modelled"
    return Chart("chains", title, Axis("sptes of a page"), tuple(panels), across=3, lead=lead)


def _chain(title: str, rows: Sequence[Row]) -> Panel:
    """rows: as ChainCosts.table has them."""
    names = ("sptes_a_page", "real_ns", "rmap_ns", "form_ns", "low_ns", "high_ns")
    sptes, real, modelled, form, low, high = (np.array([row[name] for row in rows], float) for name in names)
    ticks = tuple((value, f"{value:g}") for value in sptes.tolist())
    x = Axis("sptes of a page", "plain", low=0.0, high=1.06 * float(sptes.max()), ticks=ticks)
    lines = (
        Line("real", sptes, real, "blue", marked=True, low=low, high=high),
        Line("modelled rmap", sptes, modelled, "vermilion", dash=1, marked=True),
        Line("closed form", sptes, form, "green", dash=2),
    )
    return Panel(Axis("a page takes", "ns", low=0.0), lines, x=x, title=title)


def ratios_chart(rows: Sequence[Row], expected: str, got: str) -> Chart | None:
    """A panel a quantity: got over expected, over what was expected, for the quantities that most rows have."""
    known = [row for row in rows if _is_number(row[expected]) and _is_number(row[got]) and row[expected] > 0]
    counts = Counter(row["quantity"] for row in known)
    names = [name for name, count in counts.most_common(QUANTITIES_MAX) if count >= ROWS_MIN]
    if not names:
        return None
    panels = tuple(_ratio(name, [row for row in known if row["quantity"] == name], expected, got) for name in names)
    lead = f"A point a row: {got} over {expected}. 1 is exact."
    return Chart("ratios", f"{got.capitalize()} over {expected}, by quantity", Axis(expected), panels, across=3, lead=lead)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _ratio(name: str, rows: Sequence[Row], expected: str, got: str) -> Panel:
    rows = sorted(rows, key=lambda row: float(row[expected]))
    x = np.array([row[expected] for row in rows], float)
    y = np.array([row[got] for row in rows], float) / x
    scored = np.array([bool(row.get("scored", True)) for row in rows])
    failed = scored & ~np.array([bool(row["passed"]) for row in rows])
    edge = 1.15 * max(0.05, float(np.max(np.abs(y - 1), initial=0.0)))
    lines = [Line("exact", x[[0, -1]], np.ones(2), "grey", "level", 1)]
    kinds = (("within tolerance", scored & ~failed, 0), ("not within", failed, 1), ("shown only", ~scored, 5))
    for label, where, colour in kinds:
        if where.any():
            lines.append(Line(label, x[where], y[where], COLOURS[colour], "points"))
    room = (float(x.max()) / float(x.min())) ** 0.06 if x.max() > 8 * x.min() else 1.0
    is_log = room > 1.0
    ends = (float(x.min()) / room, float(x.max()) * room) if is_log else (None, None)
    across = Axis(expected, "", is_log, *ends)
    y_axis = Axis(f"{got} / {expected}", "plain", low=max(0.0, 1 - edge), high=1 + edge)
    return Panel(y_axis, tuple(lines), x=across, title=name)


def counts_chart(suites: Mapping[str, tuple[int, int, int]]) -> Chart:
    """A row a suite: rows within tolerance, not within, and shown only."""
    groups = tuple(
        (name, tuple(Bar(float(counts[place]), words=str(counts[place])) for counts in suites.values()))
        for place, name in enumerate(("within tolerance", "not within", "shown only"))
    )
    return Chart("suites", "Rows of each suite", Axis(""), (Bars(Axis("rows", "plain"), tuple(suites), groups),))


def measured_chart(rows: Sequence[Row]) -> Chart | None:
    """A bar a measured number in nanoseconds, with the spread of its repetitions; rows: of a calibration."""
    mine = [row for row in rows if row.get("spread") is not None and _is_number(row["value"])]
    if not mine:
        return None
    bars = tuple(Bar(row["value"], row["value"] * (1 - row["spread"]), row["value"] * (1 + row["spread"])) for row in mine)
    is_log = spans_decades([bar.value for bar in bars])
    part = Bars(Axis("time", "ns", is_log), tuple(str(row["name"]) for row in mine), (("measured", bars),))
    lead = f"Whiskers: the spread of the repetitions.{' Bars are on a logarithmic scale.' * is_log}"
    return Chart("measured", "Measured on this machine", Axis(""), (part,), lead=lead)


def memory_chart(curve: Sequence[Row]) -> Chart | None:
    """The time of a load by the size of the memory it falls into; curve: of a calibration."""
    if not curve:
        return None
    size, load = (np.array([row[name] for row in curve], float) for name in ("footprint_bytes", "load_ns"))
    panel = Panel(Axis("a load takes", "ns", log=True), (Line("load", size, load, "blue", marked=True),))
    return Chart("memory-latency", "Latency of memory", Axis("memory that is read", "bytes", log=True), (panel,))
