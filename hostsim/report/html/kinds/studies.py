"""Pages of age, reclaim and debate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from hostsim.report.charts import studies as charts
from hostsim.report.charts.chart import Chart
from hostsim.report.columns import Column, Grid, Role
from hostsim.report.html.kinds.parts import command_words, lines_card, noted, options_command, origin_of, sections_of
from hostsim.report.html.page import Content, Drawn, Page, Part, Section, Tabled, Tile, Tone, chart_section
from hostsim.report.study_words import value_words
from hostsim.report.tables import NONE

TITLES = {
    "pass_mean_ns": "a pass", "pass_max_ns": "longest pass", "vcpu_slowdown_percent": "slowdown",
    "slowdown_percent": "slowdown", "false_old_pages": "false old", "false_young_pages": "false young",
    "working_set_pages": "estimate", "used_pages": "in use", "vcpu_lock_wait_p99_ns": "vCPU waits p99",
    "host_lock_wait_p99_ns": "host waits p99", "notifier_calls_per_s": "calls a second", "lock_held_percent": "lock held",
    "cold_bytes": "cold", "reclaimed_bytes": "reclaimed", "refaults_per_s": "refaults a second",
    "stall_p50_ns": "stall p50", "stall_p99_ns": "stall p99", "migration_ns": "migration took", "migration_bytes": "sent",
}  # fmt: skip
"""Figures of the tables, in their order."""


Maker = tuple[str, Callable[[], Chart | None]]
"""Title of a section, and the maker of its chart."""


def defaults_of(options: type) -> dict[str, Any]:
    """Defaults of the options of a study."""
    return {one.name: one.default for one in fields(options) if one.default is not MISSING}


def _table(rows: Sequence[Mapping[str, Any]]) -> Grid:
    """A line a case: the settings that vary, the figures, the verdict."""
    keys = charts.varied(rows) or ["policy"]
    names = [name for name in TITLES if any(name in row["figures"] for row in rows)]
    columns = [Column(key, key, role=Role.KEY) for key in keys] + [Column(name, TITLES[name]) for name in names]
    cells = tuple((*(str(row["settings"].get(key)) for key in keys), *(_figure(row, name) for name in names), row["verdict"])
                  for row in rows)  # fmt: skip
    return Grid((*columns, Column("verdict", "verdict", prose=True)), cells)


def _figure(row: Mapping[str, Any], name: str) -> str:
    spread = row["figures"].get(name)
    if spread is None or spread["mean"] is None:
        return NONE
    text = value_words(name, spread["mean"])
    if spread["low"] is None or spread["high"] is None or spread["high"] <= spread["low"]:
        return text
    return f"{text} ({value_words(name, spread['low'])} to {value_words(name, spread['high'])})"


def _study(content: Content, title: str, options: type, tone: Tone, badge: str, drawn: Sequence[Any]) -> Page:
    main, notes = content.main, list[str]()
    rows = main["rows"]
    interval = f"In brackets: {main['interval']}." if main.get("interval") else ""
    made: list[tuple[str, Any]] = [(name, lambda make=make, name=name: chart_section(name, make())) for name, make in drawn]
    made.append(("Cases", lambda: Section("Cases", (Tabled(_table(rows), "Cases", folded=False),), interval)))
    return Page(
        title=title, kicker=f"hostsim {content.kind}",
        cards=(lines_card(main.get("verdict") or (), tone, badge),),
        sections=sections_of(notes, *made),
        origin=origin_of({**content.origin, "seeds": main.get("seeds")}),
        command=options_command(content.kind, main.get("options") or {}, defaults_of(options)),
        notes=noted(content, notes),
    )  # fmt: skip


def age_page(content: Content) -> Page:
    """The page of age.json and its tables."""
    from hostsim.study.ageing.options import AgeOptions

    main, table = content.main, content.tables.get("latencies")
    good = str((main.get("verdict") or ["VERDICT: 0"])[0]).removeprefix("VERDICT: ")[:1]
    drawn: list[Maker] = [("Cost and accuracy", lambda: charts.age_chart(main))]
    if table is not None:
        drawn.append(("Faults", lambda: charts.age_faults(main, table)))
    tone: Tone = "bad" if good == "0" else "open"
    question = "What does page ageing cost the guest, and how accurate is it?"
    return _study(content, question, AgeOptions, tone, "ageing", drawn)


def reclaim_page(content: Content) -> Page:
    """The page of reclaim.json and its tables."""
    from hostsim.study.reclaim.budget import read_budget
    from hostsim.study.reclaim.options import ReclaimOptions

    main, table = content.main, content.tables.get("latencies")
    drawn: list[Maker] = [("By age", lambda: charts.reclaim_chart(main))]
    if table is not None:
        drawn.append(("Stalls", lambda: charts.reclaim_stalls(
            main, table, [one.most for one in read_budget(main["options"]["budget"]) if one.figure.startswith("stall")]
        )))  # fmt: skip
    question = "How much memory can be reclaimed, and what does it cost?"
    return _study(content, question, ReclaimOptions, "told", "reclaim", drawn)


def debate_page(content: Content) -> Page:
    """The page of debate.json and its curves."""
    main, notes = content.main, list[str]()
    claims, curves = main["claims"], content.tables.get("curves")
    counts = {name: sum(claim["verdict"] == name for claim in claims) for name in ("holds", "holds if", "fails")}
    drawn: list[Part] = [] if curves is None else [Drawn(charts.debate_chart(claims, curves))]
    return Page(
        title="Which index should find the shadow PTEs of a page?", kicker="hostsim debate: the argument of 2010, run",
        cards=(lines_card([*(main.get("verdict") or ()), f"Machine: {main.get('machine', '')}."], "told", "twelve claims"),),
        tiles=tuple(Tile(name, str(count), f"of {len(claims)} claims") for name, count in counts.items() if count),
        sections=sections_of(
            notes, ("Costs", lambda: Section("Claim by claim", tuple(drawn))),
            ("Conditions", lambda: Section("Verdicts and their conditions", (Tabled(_claims(claims), "", folded=False),))),
            ("Crossings", lambda: Section("Where it turns", (Tabled(_crossings(claims), "", folded=False),))),
        ),
        origin=origin_of(content.origin),
        command=command_words(["hostsim", "debate", "--sheet", (main.get("options") or {}).get("sheet", "nehalem-2010")]),
        notes=noted(content, notes),
    )  # fmt: skip


def _claims(claims: Sequence[Mapping[str, Any]]) -> Grid:
    columns = (Column("number", "#", role=Role.KEY), Column("says", "claim", prose=True), Column("who", "by"),
               Column("verdict", "verdict"), Column("condition", "condition", prose=True))  # fmt: skip
    return Grid(columns, tuple(tuple(str(claim[column.name]) for column in columns) for claim in claims))


def _crossings(claims: Sequence[Mapping[str, Any]]) -> Grid:
    columns = (Column("number", "#", role=Role.KEY), Column("what", "where it turns", prose=True),
               Column("unit", "in", prose=True), Column("measured", "measured"), Column("computed", "closed form"),
               Column("formula", "formula", prose=True))  # fmt: skip
    rows = [(str(claim["number"]), one["what"], one["unit"], _number(one["measured"]), _number(one["computed"]),
             one["formula"]) for claim in claims for one in claim["crossings"]]  # fmt: skip
    return Grid(columns, tuple(rows))


def _number(value: float | None) -> str:
    return "nowhere" if value is None else f"{value:.4g}"
