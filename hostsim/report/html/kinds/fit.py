"""The page of a fit, and the guest of a log on the page of whatif: dirty curve, residuals, the scenario to copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hostsim.core.constants import PAGE_BYTES
from hostsim.fitting.fitted import Interval
from hostsim.fitting.guest_text import interval_words, size_words
from hostsim.report.charts.chart import Axis, Chart, Line, Panel
from hostsim.report.columns import Column, Grid, Role
from hostsim.report.html.kinds.parts import lines_card, noted, origin_of, sections_of, tiles_of
from hostsim.report.html.page import Content, Listing, Page, Section, Tabled, Tile, chart_section
from hostsim.results.tables import Table
from hostsim.verdict.words import bandwidth_words, count_words, percent_words, seconds_words

FIGURES: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "working_set_pages": ("working set", size_words), "writes_per_s": ("page writes a second", count_words),
    "dirtied_in_0.1s_pages": ("dirtied in 100 ms", size_words), "dirtied_in_1s_pages": ("dirtied in 1 s", size_words),
    "dirtied_in_10s_pages": ("dirtied in 10 s", size_words), "floor_pages": ("remaining can fall to", size_words),
    "bandwidth_bytes_per_s": ("bandwidth, measured", bandwidth_words),
}  # fmt: skip
PREFIX = "FIT: "
ROWS_MAX = 500
GUEST = "guest.toml"


def fit_page(content: Content) -> Page:
    """The page of a fitted guest."""
    main, notes = content.main, list[str]()
    head, *lines = main["lines"]
    logs = ", ".join(main["sources"])
    return Page(
        title=f"The guest of {logs}",
        kicker="hostsim fit",
        cards=(lines_card([head.removeprefix(f"{PREFIX}{logs}: "), *lines], "told", "guest fitted"),),
        tiles=tiles_of(notes, lambda: _tiles(main)),
        sections=guest_sections(notes, content, main),
        origin=origin_of(content.origin),
        command=str(main.get("command") or ""),
        notes=noted(content, notes),
    )


def guest_sections(notes: list[str], content: Content, told: Mapping[str, Any]) -> tuple[Section, ...]:
    """Sections on a fitted guest: dirty curve, residuals, rounds, scenario. A section that fails adds a line to ``notes``.

    content: has the table "curve". told: as GuestFit.to_dict has it.
    """
    rows, curve = told["rounds"], content.tables["curve"]
    return sections_of(
        notes,
        ("Dirty curve", lambda: chart_section("Dirty curve of the guest", curve_chart(curve, rows))),
        ("Residuals", lambda: chart_section("Residuals by round", residuals_chart(rows))),
        ("Rounds", lambda: _rounds(rows)),
        ("Scenario", lambda: _scenario(content, told)),
    )


def _tiles(main: Mapping[str, Any]) -> Iterator[Tile]:
    offs = sorted(abs(row["off_share"]) for row in main["rounds"] if row["off_share"] is not None)
    if offs:
        points = "lengths of rounds" if is_of_log(main["rounds"]) else "points"
        aside = f"{len(offs)} {points}; {percent_words(offs[-1])} at most"
        yield Tile("fitted within, median", percent_words(offs[len(offs) // 2]), aside)
    for name, (title, words) in FIGURES.items():
        if name in main["figures"]:
            figure, _, interval = interval_words(Interval(**main["figures"][name]), words).partition(" [")
            asides = [f"90 % of drawn guests: {' to '.join(interval.strip(']').split(', '))}"] if interval else []
            if name == "floor_pages" and main["threshold_pages"] is not None:
                asides.append(f"QEMU stops the guest below {size_words(main['threshold_pages'])}")
            yield Tile(title, figure, "; ".join(asides))


def _rounds(rows: list[Mapping[str, Any]]) -> Section | None:
    if not rows:
        return None
    heads = ("until", "rounds", "each took", "throttle", "newly dirty", "fitted", "off", "error")
    if not is_of_log(rows):
        heads = ("until", "points", "after", "throttle", "dirty", "fitted", "off", "error")
    columns = tuple(Column(head, head, role=Role.KEY if i == 0 else Role.FIGURE) for i, head in enumerate(heads))
    cells = tuple(_cells(row) for row in rows[:ROWS_MAX])
    left_out = f" of {len(rows)}" if len(rows) > ROWS_MAX else ""
    grid = Grid(columns, cells)
    return Section("Measured and fitted", (Tabled(grid, f"{len(cells)}{left_out} points, measured beside fitted"),))


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    off = "-" if row["off_share"] is None else f"{100 * row['off_share']:+.1f} %"
    return (
        seconds_words(row["end_s"]), str(row["rounds"]), seconds_words(row["length_s"]), f"{row['throttle_percent']:.0f} %",
        size_words(row["found_pages"]), size_words(row["fitted_pages"]), off, f"±{100 * row['error_share']:.1f} %",
    )  # fmt: skip


def _scenario(content: Content, told: Mapping[str, Any]) -> Section:
    file = f"{told['name']}.toml"
    listing = Listing(content.texts[GUEST], f"Save it as {file}; then hostsim run {file}, or hostsim predict {file}.")
    return Section("The fitted guest as a scenario", (listing,))


Row = Mapping[str, Any]


def is_of_log(rows: Sequence[Row]) -> bool:
    """Whether the points are rounds of a log, not a curve that was measured."""
    return any(row["end_s"] > 0 for row in rows)


def curve_chart(curve: Table, rows: Sequence[Row]) -> Chart | None:
    """The memory that is dirty some time after the log was cleared: fitted, of the drawn guests, and of the rounds.

    curve: t_s and pages: fitted, low and high (NaN without drawn guests); None if it is empty.
    rows: rounds of the log, or the points of a measured curve.
    """
    if not len(curve):
        return None
    t_s, fitted, low, high = (curve[name].astype(float) for name in ("t_s", "fitted_pages", "low_pages", "high_pages"))
    known = bool(np.isfinite(low).any())
    ends: dict[str, Any] = {"low": PAGE_BYTES * low, "high": PAGE_BYTES * high, "band": True} if known else {}
    name = "fitted guest; shaded: 90 % of the drawn guests" if known else "fitted guest"
    lines = [Line(name, t_s, PAGE_BYTES * fitted, **ends)]
    lines += [_points("rounds of the log" if is_of_log(rows) else "measured", rows)] if rows else []
    x, y = Axis("time since the log was cleared", "s", log=True), Axis("dirty memory", "bytes", log=True)
    lead = "Rounds lie below the curve where pages still wait to be sent." if is_of_log(rows) else ""
    return Chart("curve", "Dirty curve", x, (Panel(y, tuple(lines), height=1.7),), lead=lead)


def _points(name: str, rows: Sequence[Row]) -> Line:
    rows = sorted(rows, key=lambda row: float(row["length_s"]))
    at, found, error = (np.array([row[key] for row in rows], float) for key in ("length_s", "found_pages", "error_share"))
    found *= PAGE_BYTES
    return Line(name, at, found, "vermilion", "points", low=found * np.maximum(1 - error, 0.01), high=found * (1 + error))


def residuals_chart(rows: Sequence[Row]) -> Chart | None:
    """How far each round lies from the fitted guest, with its error; None for a measured curve, which has no rounds."""
    if not is_of_log(rows):
        return None
    rows = sorted((row for row in rows if row["off_share"] is not None), key=lambda row: float(row["end_s"]))
    if not rows:
        return None
    at, off, error = (np.array([row[key] for row in rows], float) for key in ("end_s", "off_share", "error_share"))
    off, error = 100 * off, 100 * error
    line = Line("measured over fitted, less 1", at, off, "vermilion", "points", low=off - error, high=off + error)
    ends = np.array([at.min(), at.max()])
    level = Line("the fitted guest", ends, np.zeros(2), "grey", dash=1)
    x, y = Axis("end of the round, since the migration began", "s"), Axis("off by", "%")
    lead = "No trend is left if the guest's load is steady. Whiskers: error of a round."
    return Chart("residuals", "Residuals by round", x, (Panel(y, (line, level)),), lead=lead)
