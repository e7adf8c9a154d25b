"""The page of a comparison or a sweep: best figures, small multiples, heat maps, differences from the first row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from hostsim.core.errors import UnitError
from hostsim.core.units import parse_bandwidth, parse_bytes, parse_duration, parse_fraction, parse_rate
from hostsim.report.charts.chart import COLOURS, N_DASHES, Axis, Bar, Bars, Chart, HeatMap, Line, Panel, spans_decades, words
from hostsim.report.columns import Column, Grid, Role
from hostsim.report.compare_report import ENDED, TITLES, figure_words, short_keys
from hostsim.report.html.kinds.parts import command_words, lines_card, noted, origin_of, sections_of
from hostsim.report.html.page import Content, Drawn, Page, Section, Tabled, Tile, Tone
from hostsim.report.tables import NONE
from hostsim.study.compare.figures import JUDGED
from hostsim.study.compare.modes import KEY

ROWS_MAX = 200
NO_CONVERGING = "ran"


def compare_page(content: Content) -> Page:
    """The page of compare.json."""
    main, notes = content.main, list[str]()
    lines = list(main.get("verdict") or ())
    combinations = main["combinations"]
    good = sum(bool(one["converges"]) for one in combinations)
    tone: Tone = "good" if good == len(combinations) else "open" if good else "bad"
    return Page(
        title=f"{main['name']}: {' and '.join(axis['key'] for axis in main['axes'])}",
        kicker=f"hostsim comparison, {len(combinations)} combinations, {_seeds(main)}",
        cards=(lines_card(lines, tone, f"{good} of {len(combinations)} converge" if _migrates(main) else "ran"),),
        tiles=tuple(_tiles(main)),
        sections=sections_of(
            notes,
            ("Figures", lambda: Section("Figures side by side", (Drawn(compare_chart(main)),))),
            ("Maps", lambda: Section("Maps", tuple(Drawn(chart) for chart in heat_maps(main)))),
            ("Differences", lambda: _differences(main)),
            ("Runs", lambda: Section("Runs", (Tabled(runs_grid(main), "Every run with its seed and figures"),))),
        ),
        origin=origin_of({**content.origin, "seeds": main.get("seeds")}),
        command=_command(content),
        notes=noted(content, notes),
    )


def _migrates(main: Mapping[str, Any]) -> bool:
    return any(status != NO_CONVERGING for one in main["combinations"] for status in one["statuses"])


def _seeds(main: Mapping[str, Any]) -> str:
    seeds: list[int] = main.get("seeds") or []
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds"


def _tiles(main: Mapping[str, Any]) -> Iterator[Tile]:
    for best in main.get("best") or ():
        settings = ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in best["settings"].items())
        noise = len(best.get("within_noise") or ())
        aside = f"with {settings}{f'; {noise} more within noise' if noise else ''}"
        yield Tile(f"least {TITLES.get(best['figure'], best['figure'])}", figure_words(best["figure"], best["value"]), aside)


def _differences(main: Mapping[str, Any]) -> Section:
    """A line a combination: each figure, its ratio to the first row that has it, and whether chance may explain it."""
    keys, names = [axis["key"] for axis in main["axes"]], figures_shown(main)
    heads = [*keys, "converges", *(head for name in names for head in (TITLES[name], "against the first"))]
    rows = [
        (*(one["settings"][key] for key in keys), ended(one), *(cell for name in names for cell in _cells(one, name)))
        for one in main["combinations"][:ROWS_MAX]
    ]
    roles = [Role.KEY] * len(keys) + [Role.FIGURE] * (len(heads) - len(keys))
    columns = tuple(Column(f"{place}", head, role=role) for place, (head, role) in enumerate(zip(heads, roles, strict=True)))
    lead = "Differences of paired runs with equal seeds. Within noise: the interval of the differences contains 0."
    return Section("Differences", (Tabled(Grid(columns, tuple(rows)), "Differences", folded=False),), lead)


def _cells(one: Mapping[str, Any], name: str) -> tuple[str, str]:
    spread = one["figures"].get(name)
    if spread is None:
        return NONE, NONE
    factor, quantity = quantity_of(name)
    against = spread.get("against_baseline") or {}
    ratio = against.get("ratio")
    if ratio is None:
        return words(factor * spread["mean"], quantity), NONE
    effect = "within noise" if against["effect"] == "within noise" else against["effect"]
    return words(factor * spread["mean"], quantity), f"{ratio:.3g}x, {effect}"


def runs_grid(main: Mapping[str, Any]) -> Grid:
    """A line a run with its seed and figures."""
    keys, names = [axis["key"] for axis in main["axes"]], figures_shown(main)
    columns = tuple(Column(head, head) for head in (*keys, "seed", "ended", *(TITLES[name] for name in names)))
    rows = []
    for run in main["runs"][:ROWS_MAX]:
        figures = run.get("figures") or {"status": "failed"}
        told = (NONE if figures.get(name) is None else figure_words(name, figures[name]) for name in names)
        rows.append((*(run["settings"][key] for key in keys), str(run["seed"]), str(figures["status"]), *told))
    left_out = len(main["runs"]) - len(rows)
    return Grid(columns, tuple(rows), f"Runs ({left_out} more are in runs.csv)" if left_out else "Runs")


def _command(content: Content) -> str:
    """The command that repeats the study, from provenance.json; of a sweep the comparison that the sweep expands to."""
    origin = content.origin
    if "vary" not in origin or "file" not in origin:
        return ""
    command = ["hostsim", "compare", origin["file"]]
    for key, values in origin["vary"].items():
        listed = ",".join(map(_value, values))
        command += ["--modes", listed] if key == KEY else ["--vary", f"{key}={listed}"]
    for text in origin.get("set") or ():
        command += ["--set", text]
    seeds = origin.get("seeds") or [1]
    command += ["--seed", str(seeds[0])] if seeds[0] != 1 else []
    return command_words(command + (["--seeds", str(len(seeds))] if len(seeds) > 1 else []))


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def unfinished_page(content: Content) -> Page:
    """The page of a comparison that was interrupted: the runs that are finished."""
    runs = content.main["runs"]
    names = [name for name in TITLES if any(run.get(name) is not None for run in runs)]
    columns = tuple(Column(head, head) for head in ("run", "ended", *(TITLES[name] for name in names)))
    rows = tuple(
        (run["key"], str(run.get("status")),
         *(NONE if run.get(name) is None else figure_words(name, run[name]) for name in names)) for run in runs
    )  # fmt: skip
    head = f"this study is not finished: {len(runs)} runs of it are"
    advice = "The command that began it goes on from there; then the report has verdict and figures."
    return Page(
        title="An unfinished study", kicker="hostsim comparison", cards=(lines_card([head, advice], "open", "interrupted"),),
        sections=(Section("Finished runs", (Tabled(Grid(columns, rows), "Finished runs", folded=False),)),),
        notes=content.notes,
    )  # fmt: skip


LINES_MAX = len(COLOURS)
LOG_FROM = 8.0
"""Values of the first axis are on a logarithmic axis where the largest is this many times the smallest."""
CELLS_MIN = 3
"""Values of either axis from which on a heat map is drawn."""
NUMBER = re.compile(r"[-+]?\.?\d")
QUANTITY: Mapping[str, tuple[float, str]] = {
    "_ms": (1e6, "ns"), "_ns": (1.0, "ns"), "_per_s": (1.0, "/s"), "_s": (1e9, "ns"), "_bytes": (1.0, "bytes"),
    "_percent": (1.0, "%"), "_share": (100.0, "%"),
}  # fmt: skip
"""Ending of a figure's name: (factor, quantity of the axis)."""


def quantity_of(name: str) -> tuple[float, str]:
    """(factor, quantity) of figure ``name``."""
    return next((found for ending, found in QUANTITY.items() if name.endswith(ending)), (1.0, ""))


def figures_shown(content: Mapping[str, Any]) -> list[str]:
    """The judged figures that any combination has."""
    return [name for name in JUDGED if any(one["figures"].get(name) for one in content["combinations"])]


def compare_chart(content: Mapping[str, Any]) -> Chart:
    """A panel a judged figure; content: of compare.json."""
    axis = content["axes"][0]
    keys, lines = [one["key"] for one in content["axes"]], _lines(content)
    has_bars = not all(NUMBER.match(label) for label in axis["values"])
    names = figures_shown(content)
    labels = axis["values"]
    if not names:
        return _outcomes(keys[0], labels, lines)
    made = [_bars(labels, lines, n) if has_bars else _panel(axis["key"], labels, lines, n) for n in names]
    left_out = len(content["combinations"]) // len(axis["values"]) - len(lines)
    more = f" {left_out} more lines are in compare.csv." if left_out > 0 else ""
    told = f"Marks: means over the seeds; the lines through them: {content['interval']}." if content["interval"] else ""
    x = Axis(keys[0])
    return Chart("compare", f"What {keys[0]} changes", x, tuple(made), across=2, lead=f"{told}{more}".strip())


def _outcomes(key: str, labels: Sequence[str], lines: Sequence[tuple[str, list[Any]]]) -> Chart:
    """How many seeds of each combination completed, where no combination has a figure."""
    groups = tuple((label or "seeds that completed", tuple(map(_completed, rows))) for label, rows in lines)
    bars = Bars(Axis("seeds that completed", "plain"), tuple(labels), groups)
    return Chart("compare", f"How the runs ended, by {key}", Axis(key), (bars,))


def _completed(row: Mapping[str, Any]) -> Bar:
    return Bar(float(sum(status == "completed" for status in row["statuses"])), words=ended(row))


def _lines(content: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """At most LINES_MAX lines: label, and combinations in the order of the first axis."""
    every = content["combinations"]
    n = max(1, len(every) // len(content["axes"][0]["values"]))
    keys = [axis["key"] for axis in content["axes"]]
    short, found = short_keys(keys), []
    for offset in range(min(n, LINES_MAX)):
        rows = every[offset::n]
        # Keys as the axes have them: those of an object that was read from a file are sorted.
        found.append((", ".join(f"{short[key]}={rows[0]['settings'][key]}" for key in keys[1:]), rows))
    return found


def places(labels: Sequence[str]) -> list[float] | None:
    """The values of an axis in their base unit; None if they have no common unit."""
    for parse in (float, parse_duration, parse_bandwidth, parse_bytes, parse_rate, parse_fraction):
        with suppress(ValueError, UnitError):
            return [float(parse(label)) for label in labels]
    return None


def _panel(key: str, values: Sequence[str], lines: Sequence[tuple[str, list[Any]]], name: str) -> Panel:
    factor, quantity = quantity_of(name)
    at = np.array(places(values) or range(len(values)), float)
    drawn = []
    for number, (label, rows) in enumerate(lines):
        mean, low, high = (
            np.array([_chart_value(row, name, part) for row in rows]) * factor for part in ("mean", "low", "high")
        )
        known = bool(np.isfinite(low).any())
        notes = tuple((x, ended(row)) for x, y, row in zip(at.tolist(), mean, rows, strict=True) if not np.isfinite(y))
        drawn.append(Line(label or TITLES[name], at, mean, COLOURS[number], dash=number % N_DASHES, marked=True,
                          low=low if known else None, high=high if known else None, notes=notes))  # fmt: skip
    means = np.concatenate([line.y[np.isfinite(line.y)] for line in drawn])
    is_log = bool(len(means)) and means.min() > 0 and spans_decades(means.tolist())
    return Panel(Axis(TITLES[name], quantity, is_log), tuple(drawn), x=_across(key, at, values), title=TITLES[name])


def _across(key: str, at: Any, values: Sequence[str]) -> Axis:
    low, high = float(at.min()), float(at.max())
    ticks = tuple(zip(at.tolist(), values, strict=True))
    if low > 0 and high >= LOG_FROM * low:
        room = (high / low) ** 0.06
        return Axis(key, "plain", True, low / room, high * room, ticks)
    room = 0.06 * (high - low or 1.0)
    return Axis(key, "plain", False, low - room, high + room, ticks)


def _chart_value(row: Mapping[str, Any], name: str, part: str) -> float:
    spread = row["figures"].get(name)
    value = None if spread is None else spread.get(part)
    return float("nan") if value is None else float(value)


def _bars(values: Sequence[str], lines: Sequence[tuple[str, list[Any]]], name: str) -> Bars:
    factor, quantity = quantity_of(name)
    groups = tuple(
        (label or TITLES[name], tuple(_bar(row, name, factor, quantity) for row in rows)) for label, rows in lines
    )
    return Bars(Axis(TITLES[name], quantity), tuple(values), groups, TITLES[name])


def _bar(row: Mapping[str, Any], name: str, factor: float, quantity: str) -> Bar:
    mean, low, high = (factor * _chart_value(row, name, part) for part in ("mean", "low", "high"))
    if not np.isfinite(mean):
        return Bar(mean, words=ended(row))
    has_ends = bool(np.isfinite(low)) and high > low
    against = (row["figures"].get(name) or {}).get("against_baseline") or {}
    noise = ", within noise" if against.get("effect") == "within noise" else ""
    return Bar(mean, low if has_ends else None, high if has_ends else None, f"{words(mean, quantity)}{noise}")


def ended(row: Mapping[str, Any]) -> str:
    """The end of a combination's runs: "yes", "cancelled", or the count of its seeds that completed."""
    statuses = row["statuses"]
    if len(statuses) > 1:
        return f"{sum(status == 'completed' for status in statuses)} of {len(statuses)} completed"
    return "yes" if statuses[0] == "completed" else ENDED.get(statuses[0], statuses[0])


def heat_maps(content: Mapping[str, Any]) -> Iterator[Chart]:
    """Over two axes that have CELLS_MIN values each: a map a judged figure."""
    axes = content["axes"]
    if len(axes) != 2 or min(len(axis["values"]) for axis in axes) < CELLS_MIN:
        return
    across, up = ([*axis["values"]] for axis in axes)
    for name in figures_shown(content):
        factor, quantity = quantity_of(name)
        values = factor * np.array([_chart_value(row, name, "mean") for row in content["combinations"]])
        edges = [np.arange(len(axis) + 1, dtype=float) for axis in (across, up)]
        ticks = [tuple((i + 0.5, label) for i, label in enumerate(axis)) for axis in (across, up)]
        y = Axis(axes[1]["key"], "plain", low=0.0, high=float(len(up)), ticks=ticks[1])
        grid = values.reshape(len(across), len(up))
        told = tuple((*divmod(number, len(up)), ended(row)) for number, row in enumerate(content["combinations"])
                     if not np.isfinite(values[number]))  # fmt: skip
        cells = HeatMap(y, edges[0], edges[1], grid, TITLES[name], quantity, TITLES[name], written=True, told=told)
        x = Axis(axes[0]["key"], "plain", low=0.0, high=float(len(across)), ticks=ticks[0])
        title = f"{TITLES[name][:1].upper()}{TITLES[name][1:]} by {axes[0]['key']} and {axes[1]['key']}"
        yield Chart(f"map-{name}", title, x, (cells,), lead="A cell with words: no seed completed." if told else "")
