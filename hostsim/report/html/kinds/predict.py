"""Pages of predict and whatif: does it converge, what does it take, where does the answer flip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from hostsim.report.charts import predict as charts
from hostsim.report.columns import Column, Grid, Role
from hostsim.report.compare_words import figure_words
from hostsim.report.html.kinds.fit import guest_sections
from hostsim.report.html.kinds.parts import (
    chart_section,
    command_words,
    lines_card,
    noted,
    origin_of,
    saved_scenario,
    sections_of,
    tiles_of,
)
from hostsim.report.html.kinds.read_back import estimates_in, margin_in, share_in
from hostsim.report.html.page import Content, Page, Section, Tabled, Tile, Tone
from hostsim.report.margin_words import NAMES, margin_words
from hostsim.report.predict_files import SHOWN, figures_grid
from hostsim.report.predict_words import chance_words, estimate_words
from hostsim.report.tables import NONE
from hostsim.study.predict.prediction import Estimate
from hostsim.study.statistics import Share

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
        cards=(lines_card(_lines(main), _tone(share), f"{share.k} of {share.n} runs converge"),),
        tiles=tiles_of(notes, lambda: _tiles(main, share, estimates)),
        sections=sections_of(
            notes,
            ("Runs", lambda: chart_section("How the runs end", charts.runs_chart(main["runs"], estimates))),
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
    """A key figure with the interval of its mean."""
    figure, _, interval = estimate_words(one).partition(" [")
    if not interval:
        return Tile(name, figure, "in every run" if one.spread.n > 1 else "one run")
    low, high = interval.strip("]").split(", ")
    return Tile(name, figure, f"mean; 95 % interval {low} to {high}")


def _margins(main: Mapping[str, Any]) -> Section | None:
    margins = [margin_in(one) for one in main["margins"]]
    section = chart_section("At which value does the answer flip?", charts.margins_chart(margins))
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
