"""Pages of predict and whatif: whether it converges, its time and downtime, where the answer flips.

Objects of predictions, solutions and fits are read back from their JSON, so that pages share the words of the terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from hostsim.report.charts.chart import Array, Axis, Bar, Bars, Chart, Line, Panel
from hostsim.report.columns import Column, Grid, Role
from hostsim.report.compare_report import ENDED, TITLES, figure_words
from hostsim.report.html.kinds.compare import quantity_of
from hostsim.report.html.kinds.fit import guest_sections
from hostsim.report.html.kinds.parts import (
    command_words,
    lines_card,
    noted,
    origin_of,
    saved_scenario,
    sections_of,
    tiles_of,
)
from hostsim.report.html.page import Content, Page, Section, Tabled, Tile, Tone, chart_section
from hostsim.report.predict_report import NAMES, SHOWN, WORDS, chance_words, estimate_words, figures_grid, margin_words
from hostsim.report.tables import NONE
from hostsim.results.mechanism import is_converged
from hostsim.study.predict.margins import Margin
from hostsim.study.predict.prediction import Estimate
from hostsim.study.solve.solution import Cell, Change
from hostsim.study.statistics import Median, Share, Spread

KEYS = ("total_time_ms", "downtime_ms", "transferred_bytes", "syncs")
LOST = "guest_slowdown_percent"
ROWS_MAX = 200


def predict_page(content: Content) -> Page:
    """The page of predict.json."""
    main, notes = content.main, list[str]()
    share = share_in(main["converges"])
    estimates = estimates_in(main["figures"])
    scenario = saved_scenario(main["scenario"], main["name"])
    return Page(
        title=f"Will {main['name']} migrate?",
        kicker=f"hostsim predict, {_counted(share.n)}",
        cards=(lines_card(_lines(main), _tone(share), f"{share.k} of {_counted(share.n)} converge{'s' * (share.n == 1)}"),),
        tiles=tiles_of(notes, lambda: _tiles(main, share, estimates)),
        sections=sections_of(
            notes,
            ("Runs", lambda: chart_section("How the runs end", runs_chart(main["runs"], estimates))),
            ("Margins", lambda: _margins(main)),
            ("Figures", lambda: Section("Figures", (Tabled(figures_grid(estimates), "Figures", folded=False),))),
            ("Every run", lambda: Section("Every run", (Tabled(_runs(main), f"{_counted(share.n)}, seeds"),))),
        ),
        origin=origin_of({**content.origin, "seeds": main["seeds"]}),
        command=_command(main, scenario.file),
        listings=(scenario.listing,),
        notes=noted(content, notes),
    )


def whatif_page(content: Content) -> Page:
    """The page of a prediction for the guest of a log."""
    main = content.main
    page = predict_page(content)
    logs = ", ".join(main["fit"]["sources"])
    notes = list(page.notes)
    return replace(
        page,
        title=f"What if: {main['asked'] or 'the migration of the log again'}",
        kicker=f"hostsim whatif, {_counted(main['n'])}, the guest of {logs}",
        sections=(*page.sections, *guest_sections(notes, content, main["fit"])),
        origin=(("log", logs), *page.origin),
        command=str(main.get("command") or ""),
        listings=(),
        notes=tuple(notes),
    )


def _counted(n: int) -> str:
    return f"{n} run{'s' * (n != 1)}"


def _tone(share: Share) -> Tone:
    return "good" if share.k == share.n else "bad" if share.k == 0 else "open"


def _lines(main: Mapping[str, Any]) -> list[str]:
    """Lines of the verdict; those on margins stand at their chart."""
    return [line for line in main["verdict"] if not line.startswith("Margin")]


def _tiles(main: Mapping[str, Any], share: Share, estimates: Mapping[str, Estimate]) -> Iterator[Tile]:
    yield Tile("converges", f"{share.k} of {share.n}", chance_words(share))
    yield from (estimate_tile(SHOWN[name], estimates[name]) for name in KEYS if name in estimates)
    lost = estimates_in(main.get("logged") or {}).get(LOST) or estimates.get(LOST)
    if lost is not None and lost.spread.mean > 0:
        yield estimate_tile("guest slower by", lost)


def estimate_tile(name: str, one: Estimate) -> Tile:
    """The key figure ``name`` with the mean of ``one`` and the interval of the mean, or the number of runs without one."""
    figure, _, interval = estimate_words(one).partition(" [")
    if not interval:
        return Tile(name, figure, "in every run" if one.spread.n > 1 else "one run")
    low, high = interval.strip("]").split(", ")
    return Tile(name, figure, f"mean; 95 % interval {low} to {high}")


def _margins(main: Mapping[str, Any]) -> Section | None:
    margins = [margin_in(one) for one in main["margins"]]
    section = chart_section("At which value does the answer flip?", margins_chart(margins))
    if section is None:
        return None
    columns = (Column("figure", "figure", role=Role.KEY), Column("margin", "margin", prose=True),
               Column("runs", "runs of each value"))  # fmt: skip
    rows = tuple((NAMES[one.knob], f"{margin_words(one)}.", str(len(one.seeds)) if one.seeds else NONE) for one in margins)
    return replace(section, parts=(*section.parts, Tabled(Grid(columns, rows), "Margins", folded=False)))


def _runs(main: Mapping[str, Any]) -> Grid:
    both = list(zip(main["seeds"], main["runs"], strict=True))[:ROWS_MAX]
    names = [name for name in SHOWN if any(run.get(name) is not None for _, run in both)]
    columns = tuple(Column(head, head) for head in ("seed", "ended", *(SHOWN[name] for name in names)))
    rows = tuple(
        (str(seed), run["status"], *(NONE if run.get(name) is None else figure_words(name, run[name]) for name in names))
        for seed, run in both
    )
    return Grid(columns, rows)


def _command(main: Mapping[str, Any], file: str) -> str:
    words = ["hostsim", "predict", file, "--reps", str(main["n"])]
    return command_words([*words, *([] if main["margins"] else ["--no-margins"])])


Told = Mapping[str, Any]


def estimates_in(told: Mapping[str, Told]) -> dict[str, Estimate]:
    """The estimates that ``told``, an object of JSON, holds, by figure."""
    return {name: _estimate(name, one) for name, one in told.items()}


def share_in(told: Told) -> Share:
    """The share of runs that ``told`` holds, with its interval."""
    return Share(told["k"], told["n"], told["low"], told["high"])


def margin_in(told: Told) -> Margin:
    """The margin that ``told`` holds: the value at which the answer flips."""
    return Margin(**_known(Margin, told) | {"seeds": tuple(told["seeds"])})


def cell_in(told: Told) -> Cell:
    """The pair of link and downtime limit that ``told`` holds, with its runs."""
    return Cell(**_known(Cell, told))


def change_in(told: Told) -> Change:
    """The change that ``told``, an object of solve.json, describes, with the figures of its runs."""
    reached = None if told["reached"] is None else share_in(told["reached"])
    got = {"reached": reached, "estimates": estimates_in(told["figures"]), "seeds": tuple(told["seeds"])}
    return Change(**_known(Change, told) | got)


def _estimate(name: str, told: Told) -> Estimate:
    n = told["n"]
    median = Median(n, told["median"], told["median_low"], told["median_high"])
    return Estimate(name, Spread(n, told["mean"], told["low"], told["high"]), median, told["p95"])


def _known(form: type, told: Told) -> dict[str, Any]:
    return {one.name: told[one.name] for one in fields(form) if one.name in told}


DRAWN = ("total_time_ms", "downtime_ms", "transferred_bytes")
QUARTERS = tuple((float(percent), f"{percent} %") for percent in (0, 25, 50, 75, 100))
ROOM, EQUAL = 1.15, 0.01
"""Half of an axis over the reach of the runs, and over their mean where all runs are equal."""
LOG_FROM = 20.0
"""Margins are on a logarithmic scale where one of them is this many times the present value."""


def runs_chart(runs: Sequence[Mapping[str, Any]], estimates: Mapping[str, Estimate]) -> Chart:
    """A panel a figure: the share of the completed runs with at most that value; of those figures that vary, if any does.

    Where no run completed, how many runs ended in each way.
    """
    done = [run for run in runs if is_converged(run["status"])]
    values = {name: found for name in DRAWN if name in estimates and len(found := _values(done, name))}
    varied = {name: found for name, found in values.items() if len(set(found.tolist())) > 1}
    panels = [_spread(estimates[name], found) for name, found in (varied or values).items()]
    if not panels:
        return _ends(runs)
    steps = f"Each step is one of {len(done)} completed runs." if varied else f"{len(done)} completed runs, which are equal."
    lead = f"{steps} Dashed: the 95 % interval of the mean." if len(done) > 1 else "One run completed."
    return Chart("runs", "How the runs spread", Axis(""), tuple(panels), across=len(panels), lead=lead)


def _ends(runs: Sequence[Mapping[str, Any]]) -> Chart:
    counts = Counter(str(run["status"]) for run in runs)
    bars = tuple(Bar(float(count), words=f"{count} of {len(runs)}") for count in counts.values())
    names = tuple(ENDED.get(status, status) for status in counts)
    part = Bars(Axis("runs", "plain", low=0.0), names, (("runs", bars),), colour="vermilion")
    return Chart("runs", "How the runs ended", Axis(""), (part,), lead="No run completes.")


def _values(runs: Sequence[Mapping[str, Any]], name: str) -> Array:
    known = [run.get(name) for run in runs]
    return quantity_of(name)[0] * np.array([float(value) for value in known if isinstance(value, int | float)])


def _spread(one: Estimate, values: Array) -> Panel:
    factor, quantity = quantity_of(one.name)
    ends = [factor * end for end in (one.spread.low, one.spread.high) if end is not None]
    middle = factor * one.spread.mean
    reach = ROOM * max(abs(edge - middle) for edge in (*values.tolist(), *ends)) or EQUAL * abs(middle) or 1.0
    at, counts = np.unique(values, return_counts=True)
    share = 100.0 * np.cumsum(counts) / len(values)
    x, y = np.array([middle - reach, *at, middle + reach]), np.array([0.0, *share, 100.0])
    line = Line("share of runs", x, y, "blue", "after")
    title = TITLES[one.name]
    axis = Axis(title, quantity, low=middle - reach, high=middle + reach)
    return Panel(Axis("runs with at most this value", "%", low=0.0, high=104.0, ticks=QUARTERS), (line,), x=axis,
                 title=title, rules=tuple(ends))  # fmt: skip


def margins_chart(margins: Sequence[Margin]) -> Chart | None:
    """Bars: the present value of each figure, and the value at which the answer flips."""
    if not margins:
        return None
    flips = tuple(map(_flip, margins))
    most = max((bar.value for bar in flips if np.isfinite(bar.value)), default=1.0)
    least = min((bar.value for bar in flips if np.isfinite(bar.value)), default=1.0)
    is_log = most > LOG_FROM or least < 1 / LOG_FROM
    now = tuple(Bar(1.0, words=WORDS[margin.knob](margin.today)) for margin in margins)
    rows = tuple(NAMES[margin.knob] for margin in margins)
    axis = Axis("times the present value", "plain", log=is_log)
    names = f"now{_ending(margins, here=True)}", f"the answer flips{_ending(margins, here=False)}"
    bars = Bars(axis, rows, ((names[0], now), (names[1], flips)))
    scale = ", on a logarithmic scale" if is_log else ""
    lead = f"Length of a bar: times the present value{scale}. Each figure is changed alone."
    return Chart("margins", "At which value does the answer flip?", Axis(""), (bars,), lead=lead)


def _ending(margins: Sequence[Margin], *, here: bool) -> str:
    """Whether it converges, with the present values or beyond the others; "" if that differs from figure to figure."""
    harder = {margin.harder for margin in margins}
    if len(harder) > 1:
        return ""
    return ": converges" if harder == {here} else ": does not converge"


def _flip(margin: Margin) -> Bar:
    words, nan = WORDS[margin.knob], float("nan")
    if margin.near is None or not margin.confirmed:
        if margin.computed is None:
            return Bar(nan, words="nowhere (computed, not run)")
        return Bar(margin.computed / margin.today, words=f"at about {words(margin.computed)} (computed, not run)")
    if margin.far is None:
        untried = margin.near == margin.today
        side = "up to" if margin.near > margin.today else "down to"
        return Bar(nan, words="cannot be changed further" if untried else f"no flip {side} {words(margin.near)}")
    near, far = margin.near / margin.today, margin.far / margin.today
    told = f"between {words(margin.near)} and {words(margin.far)}"
    return Bar(near, min(near, far), max(near, far), told)
