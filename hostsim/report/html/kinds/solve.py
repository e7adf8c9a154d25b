"""The page of a solution: the changes that reach the target with their commands, and the pairs of link and limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from textwrap import shorten
from typing import Any

import numpy as np

from hostsim.report.charts.chart import Axis, Bar, Bars, Chart, HeatMap
from hostsim.report.columns import Column, Grid, Role
from hostsim.report.html.kinds.parts import (
    command_words,
    lines_card,
    noted,
    origin_of,
    saved_scenario,
    sections_of,
    tiles_of,
)
from hostsim.report.html.kinds.predict import cell_in, change_in, estimate_tile, share_in
from hostsim.report.html.page import Content, Drawn, Page, Section, Step, Tabled, Tile, Tone, chart_section
from hostsim.report.predict_report import chance_words, estimate_words
from hostsim.report.solve_report import TITLES, change_command, change_text, run_command, target_text, value_words
from hostsim.report.tables import NONE
from hostsim.study.solve.solution import Cell, Change
from hostsim.study.solve.target import Target
from hostsim.study.statistics import Share
from hostsim.verdict.words import bandwidth_words, seconds_words

FIGURES = {"total_time_ms": "total time", "downtime_ms": "downtime", "guest_slowdown_percent": "guest slower by"}


def solve_page(content: Content) -> Page:
    """The page of solve.json."""
    main, notes = content.main, list[str]()
    changes = [change_in(one) for one in main["changes"]]
    target, helping = Target(**main["target"]), sum(change.helps for change in changes)
    badge = "reached unchanged" if main["is_met"] else f"{helping} of {len(changes)} changes reach it"
    tone: Tone = "good" if main["is_met"] else "open" if helping else "bad"
    lines = [line for line in main["verdict"] if not line.startswith("- ")]
    scenario = saved_scenario(main["scenario"], main["name"])
    card = replace(lines_card(lines, tone, badge), steps=tuple(_step(one, main, scenario.file) for one in changes))
    return Page(
        title=f"What makes {main['name']} migrate?",
        kicker="hostsim solve",
        question=f"Target: {target_text(target)}.",
        cards=(card,),
        tiles=tiles_of(notes, lambda: _tiles(main)),
        sections=sections_of(
            notes,
            ("Map", lambda: chart_section("Link and downtime limit", reach_chart([*map(cell_in, main["frontier"])]))),
            ("Changes", lambda: _changes(changes, share_in(main["today"]))),
        ),
        origin=origin_of({**content.origin, "seeds": main["seeds"]}),
        command=_command(changes, target, scenario.file, main["today"]["n"]),
        listings=(scenario.listing,),
        notes=noted(content, notes),
    )


def _step(change: Change, main: Mapping[str, Any], file: str) -> Step:
    """The step of ``change`` on the page. file: name of the scenario that the page offers to save."""
    text = change_text(change)
    text = f"{text[:1].upper()}{text[1:]}."
    if not change.helps:
        return Step(text, tag="does not reach the target")
    assert change.reached is not None, "a change that helps was run"
    tag = f"confirmed by {change.reached.k} of {change.reached.n} runs"
    own = change_command(change, main["scenario"])
    return Step(text, own or run_command(command_words(["hostsim", "run", file]), change.settings or {}), tag, sure=True)


def _tiles(main: Mapping[str, Any]) -> Iterator[Tile]:
    today = share_in(main["today"])
    yield Tile("reach it unchanged", f"{today.k} of {today.n}", chance_words(today))
    if main["best"] is None:
        return
    best = change_in(main["best"])
    if best.reached is not None:
        value = value_words(best.kind, best.value)
        yield Tile(f"best: {TITLES[best.kind]}", value, f"now {value_words(best.kind, best.today)}")
        yield Tile("reach it then", f"{best.reached.k} of {best.reached.n}", chance_words(best.reached))
    for name, title in FIGURES.items():
        one = (best.estimates or {}).get(name)
        if one is not None and one.spread.mean > 0:
            yield estimate_tile(f"{title} then", one)


def _changes(changes: Sequence[Change], today: Share) -> Section:
    """A row a change: value, runs, figures, and the obstacle of each that does not reach the target."""
    chart = Drawn(changes_chart(today, changes))
    if not changes:
        return Section("Changes", (chart,))
    names = [name for name in FIGURES if any(name in (one.estimates or {}) for one in changes)]
    heads = ["change", "now", "to", "reach the target", *(FIGURES[name] for name in names)]
    columns = [Column(head, head, role=Role.KEY if i == 0 else Role.FIGURE) for i, head in enumerate(heads)]
    rows = [_row(one, names) for one in changes]
    if not all(one.helps for one in changes):
        columns.append(Column("obstacle", "obstacle", prose=True))
        rows = [(*row, _obstacle(one)) for row, one in zip(rows, changes, strict=True)]
    table = Tabled(Grid(tuple(columns), tuple(rows)), "Changes", folded=False)
    return Section("Changes", (chart, table), "Brackets: 95 % interval of the mean.")


def _obstacle(change: Change) -> str:
    return "" if change.helps else change.obstacle or "too few runs reach it"


def _row(change: Change, names: Sequence[str]) -> tuple[str, ...]:
    value = NONE if change.value is None else value_words(change.kind, change.value)
    share = change.reached
    reached = NONE if share is None else f"{share.k} of {share.n} ({chance_words(share)})"
    got = change.estimates or {}
    figures = (estimate_words(got[name]) if name in got else NONE for name in names)
    return TITLES[change.kind], value_words(change.kind, change.today), value, reached, *figures


def _command(changes: Sequence[Change], target: Target, file: str, unchanged: int) -> str:
    """The command that repeats the search.

    unchanged: runs of the scenario as it is; the number of runs that was asked for, if no change was run.
    """
    words = ["hostsim", "solve", file, "--target", target.text]
    words += ["--vary", ",".join(dict.fromkeys(one.kind for one in changes))] if changes else []
    ran = [one.reached.n for one in changes if one.reached is not None]
    return command_words([*words, "--reps", str(max(ran, default=unchanged))])


OBSTACLE_LETTERS = 90
QUARTERS = tuple((float(percent), f"{percent} %") for percent in (0, 25, 50, 75, 100))


def reach_chart(cells: Sequence[Cell]) -> Chart | None:
    """A cell a pair with its P, 0 or 1 where it is computed; pairs that were run have a frame."""
    if not cells:
        return None
    speeds = sorted({cell.bandwidth_bytes_per_s for cell in cells})
    limits = sorted({cell.downtime_limit_ms for cell in cells})
    chance, framed = np.zeros((len(speeds), len(limits))), []
    for cell in cells:
        at = speeds.index(cell.bandwidth_bytes_per_s), limits.index(cell.downtime_limit_ms)
        chance[at] = cell.share
        if cell.runs:
            framed.append((*at, f"{cell.reached}/{cell.runs} runs, {cell.low:.2f} to {cell.high:.2f}"))
    x, y = _axis("link", [bandwidth_words(v) for v in speeds]), _axis("limit", [seconds_words(v / 1000) for v in limits])
    across, up = (np.arange(n + 1, dtype=float) for n in chance.shape)
    title = "P that the target is reached, by link and downtime limit"
    part = HeatMap(y, across, up, chance, "P", "", title, True, tuple(framed), top=1.0)
    lead = "0 or 1 without a frame: computed. Frames: pairs that were run, their runs that reach it, and the interval of P."
    return Chart("reach", "Which link and downtime limit reach the target?", x, (part,), lead=lead)


def changes_chart(today: Share, changes: Sequence[Change]) -> Chart:
    """A bar a change: the share of its confirming runs that reach the target. today: of the runs without a change."""
    rows = ("unchanged", *(_named(change) for change in changes))
    bars = (_reached(today), *(_changed(change) for change in changes))
    part = Bars(Axis("runs that reach the target", "%", ticks=QUARTERS), rows, (("runs that reach the target", bars),))
    return Chart("changes", "What does each change alone reach?", Axis(""), (part,), lead="Whiskers: 95 % intervals.")


def _named(change: Change) -> str:
    value = "" if change.value is None else f" {value_words(change.kind, change.value)}"
    return f"{TITLES[change.kind]}{value}"


def _changed(change: Change) -> Bar:
    if change.reached is None:
        return Bar(float("nan"), words=shorten(change.obstacle or "not run", OBSTACLE_LETTERS, placeholder=" ..."))
    return _reached(change.reached)


def _reached(share: Share) -> Bar:
    return Bar(100 * share.share, 100 * share.low, 100 * share.high, f"{share.k} of {share.n} run{'s' * (share.n > 1)}")


def _axis(name: str, labels: Sequence[str]) -> Axis:
    ticks = tuple((i + 0.5, label) for i, label in enumerate(labels))
    return Axis(name, "plain", low=0.0, high=float(len(labels)), ticks=ticks)
