"""The page of the sweep of auto-converge: maps of time and of lost work, every setting, the migration without it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from hostsim.report.charts.chart import Axis, Chart, HeatMap
from hostsim.report.columns import Column, Grid, Role
from hostsim.report.compare_report import figure_words
from hostsim.report.html.kinds.compare import ended, quantity_of, runs_grid
from hostsim.report.html.kinds.parts import command_words, lines_card, noted, origin_of, sections_of, tiles_of
from hostsim.report.html.page import Content, Drawn, Page, Section, Tabled, Tile, Tone
from hostsim.report.tables import NONE
from hostsim.study.sweeps import SWEEPS
from hostsim.study.throttle_sweep import CSV, OFF, REACHED, unbeaten_pairs

NAME = "auto-converge"
Row = Mapping[str, Any]
FIGURES = {
    "total_time_ms": "total time", "downtime_ms": "downtime", "guest_lost_ms": "lost work",
    "throttle_max_percent": "throttle",
    **{f"{CSV}to_{k}_percent_ms": f"to {k} %" for k in REACHED},
}  # fmt: skip


def tuning_page(content: Content) -> Page:
    """The page of auto-converge.json."""
    main, notes = content.main, list[str]()
    rows = [one for one in main["combinations"] if OFF not in one["settings"].values()]
    best = unbeaten_rows(rows)
    good = sum(bool(one["converges"]) for one in rows)
    tone: Tone = "good" if good == len(rows) else "open" if good else "bad"
    return Page(
        title=f"How should auto-converge be tuned for {main['options']['file'].removesuffix('.toml')}?",
        kicker=f"hostsim sweep auto-converge, {len(rows)} settings, seeds {', '.join(map(str, main['seeds']))}",
        cards=(lines_card(main["verdict"], tone, f"{good} of {len(rows)} settings complete"),),
        tiles=tiles_of(notes, lambda: _tiles(main["combinations"], [rows[i] for i in best])),
        sections=sections_of(
            notes,
            ("Maps", lambda: Section("Maps of time and lost work", tuple(map(Drawn, tuning_charts(rows, best))))),
            ("Settings", lambda: _settings(main)),
            ("Runs", lambda: Section("Runs", (Tabled(runs_grid(main), "Every run with its seed and figures"),))),
        ),
        origin=origin_of({**content.origin, "seeds": main["seeds"]}),
        command=_command(main),
        notes=noted(content, notes),
    )


def unbeaten_rows(rows: Sequence[Row]) -> list[int]:
    """Numbers of the rows that complete, and that no other beats in both time and lost work; the fastest first."""
    pairs: dict[tuple[float, float], list[int]] = {}
    for number, row in enumerate(rows):
        if row["converges"]:
            time, lost = (mean_of(row, name) for name in MAPS)
            pairs.setdefault((time, lost), []).append(number)
    return [number for pair in unbeaten_pairs(pairs) for number in pairs[pair]]


def _setting(row: Row) -> str:
    return " ".join(f"--{key} {row['settings'][key]}" for key in SWEEPS[NAME].varies)


def _tiles(every: Sequence[Row], best: Sequence[Row]) -> Iterator[Tile]:
    base = every[0]
    takes, interval = _mean_words(base, "total_time_ms")
    yield Tile("without auto-converge", takes if base["converges"] else ended(base), _interval(interval))
    if best:
        for name in MAPS:
            row = min(best, key=partial(mean_of, name=name))
            figure, interval = _mean_words(row, name)
            yield Tile(f"least {FIGURES[name]}", figure, "; ".join(filter(None, [_interval(interval), _setting(row)])))


def _interval(ends: str) -> str:
    return f"95 % interval {ends}" if ends else ""


def _mean_words(row: Row, name: str) -> tuple[str, str]:
    """(mean, interval) in words."""
    spread = row["figures"].get(name)
    if spread is None:
        return NONE, ""
    low, high = ("" if spread[end] is None else figure_words(name, spread[end]) for end in ("low", "high"))
    return figure_words(name, spread["mean"]), "" if low == high else f"{low} to {high}"


def _settings(main: Mapping[str, Any]) -> Section:
    """A row a setting, the migration without auto-converge first."""
    every, keys = main["combinations"], [axis["key"] for axis in main["axes"]]
    names = [name for name in FIGURES if any(row["figures"].get(name) for row in every)]
    heads = (*keys, "completes", *(FIGURES[name] for name in names))
    columns = tuple(Column(head, head, role=Role.KEY if head in keys else Role.FIGURE) for head in heads)
    cells = tuple(
        (*(row["settings"][key] for key in keys), ended(row), *(_cell(row, name) for name in names)) for row in every
    )
    interval = f" Brackets: {main['interval']}." if main.get("interval") else ""
    lead = f"Lost work: time for which a vCPU did not work. To k %: time until the throttle reaches k %.{interval}"
    return Section("Settings", (Tabled(Grid(columns, cells), "Settings", folded=False),), lead)


def _cell(row: Row, name: str) -> str:
    figure, ends = _mean_words(row, name)
    return f"{figure} [{ends}]" if ends else figure


def _command(main: Mapping[str, Any]) -> str:
    options = main["options"]
    words = ["hostsim", "sweep", "auto-converge", "--vm", options["file"]]
    for axis in main["axes"]:
        words += [f"--{axis['key']}", ",".join(map(str, options[axis["key"]]))]
    words += [part for text in options["set"] for part in ("--set", text)]
    seeds = main["seeds"]
    words += ["--seed", str(seeds[0])] if seeds[0] != 1 else []
    return command_words(words + (["--seeds", str(len(seeds))] if len(seeds) > 1 else []))


MAPS = {"total_time_ms": "total time", "guest_lost_ms": "lost work"}
AXES = {"increment": "cpu-throttle-increment", "initial": "cpu-throttle-initial"}


def mean_of(row: Row, name: str) -> float:
    """The mean of figure ``name`` in ``row``, a combination of auto-converge.json; NaN where it has no such figure."""
    value = (row["figures"].get(name) or {}).get("mean")
    return float("nan") if value is None else float(value)


def tuning_charts(rows: Sequence[Row], best: Collection[int]) -> Iterator[Chart]:
    """A chart a figure. rows: with auto-converge; best: numbers of the rows that get a frame."""
    mosts = list(dict.fromkeys(row["settings"]["max"] for row in rows))
    for name, title in MAPS.items():
        factor, quantity = quantity_of(name)
        known = [factor * mean_of(row, name) for row in rows if np.isfinite(mean_of(row, name))]
        if not known:
            continue
        labels = {key: list(dict.fromkeys(row["settings"][key] for row in rows)) for key in AXES}
        x, y = (_axis(AXES[key], texts) for key, texts in labels.items())
        across, up = (np.arange(len(texts) + 1, dtype=float) for texts in labels.values())
        panels = []
        for most in mosts:
            values, framed = np.full([len(texts) for texts in labels.values()], np.nan), list[tuple[int, int, str]]()
            told = list[tuple[int, int, str]]()
            for number, row in enumerate(rows):
                if row["settings"]["max"] == most:
                    i, k = (texts.index(row["settings"][key]) for key, texts in labels.items())
                    values[i, k] = factor * mean_of(row, name)
                    framed += [(i, k, "")] if number in best else []
                    told += [] if np.isfinite(values[i, k]) else [(i, k, ended(row))]
            panels.append(HeatMap(y, across, up, values, title, quantity, f"{title}, max-cpu-throttle {most} %", True,
                                  tuple(framed), tuple(told), max(known)))  # fmt: skip
        ended_ones = "Cells with words: no seed completed. " if any(part.told for part in panels) else ""
        lead = f"{ended_ones}Frame: no other setting beats it in both time and lost work."
        yield Chart(f"map-{name}", f"{title[:1].upper()}{title[1:]} by the settings of auto-converge", x, tuple(panels),
                    across=2, lead=lead)  # fmt: skip


def _axis(name: str, texts: Sequence[str]) -> Axis:
    ticks = tuple((i + 0.5, f"{text} %") for i, text in enumerate(texts))
    return Axis(name, "plain", low=0.0, high=float(len(texts)), ticks=ticks)
