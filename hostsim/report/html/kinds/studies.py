"""Pages of age, reclaim and debate, and their charts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hostsim.core.latency import Latencies
from hostsim.core.units import parse_duration
from hostsim.report.charts.chart import COLOURS, N_DASHES, Axis, Bar, Bars, Chart, Colour, Line, Panel, spans_decades
from hostsim.report.charts.memory import distributions, survival
from hostsim.report.columns import Column, Grid, Role
from hostsim.report.html.kinds.compare import quantity_of
from hostsim.report.html.kinds.parts import command_words, lines_card, noted, options_command, origin_of, sections_of
from hostsim.report.html.page import Content, Drawn, Page, Part, Section, Tabled, Tile, Tone, chart_section
from hostsim.report.studies import value_words
from hostsim.report.tables import NONE

if TYPE_CHECKING:
    from hostsim.results.tables import Table

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
    keys = varied(rows) or ["policy"]
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
    drawn: list[Maker] = [("Cost and accuracy", lambda: age_chart(main))]
    if table is not None:
        drawn.append(("Faults", lambda: age_faults(main, table)))
    tone: Tone = "bad" if good == "0" else "open"
    question = "What does page ageing cost the guest, and how accurate is it?"
    return _study(content, question, AgeOptions, tone, "ageing", drawn)


def reclaim_page(content: Content) -> Page:
    """The page of reclaim.json and its tables."""
    from hostsim.study.reclaim.budget import read_budget
    from hostsim.study.reclaim.options import ReclaimOptions

    main, table = content.main, content.tables.get("latencies")
    drawn: list[Maker] = [("By age", lambda: reclaim_chart(main))]
    if table is not None:
        drawn.append(("Stalls", lambda: reclaim_stalls(
            main, table, [one.most for one in read_budget(main["options"]["budget"]) if one.figure.startswith("stall")]
        )))  # fmt: skip
    question = "How much memory can be reclaimed, and what does it cost?"
    return _study(content, question, ReclaimOptions, "told", "reclaim", drawn)


def debate_page(content: Content) -> Page:
    """The page of debate.json and its curves."""
    main, notes = content.main, list[str]()
    claims, curves = main["claims"], content.tables.get("curves")
    counts = {name: sum(claim["verdict"] == name for claim in claims) for name in ("holds", "holds if", "fails")}
    drawn: list[Part] = [] if curves is None else [Drawn(debate_chart(claims, curves))]
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


Row = Mapping[str, Any]
ROWS_MAX = 24
AGE_BARS: dict[str, tuple[str, Colour]] = {
    "pass_mean_ns": ("a pass takes", "blue"), "vcpu_slowdown_percent": ("guest slower by", "vermilion"),
    "used_pages": ("pages in use in a period", "grey"), "false_old_pages": ("of them, taken for idle", "vermilion"),
    "working_set_pages": ("estimate of the pages in use", "green"),
}  # fmt: skip
FAULTS, STALL = "guest fault", "stall"


def varied(rows: Sequence[Row]) -> list[str]:
    """Settings that have more than one value."""
    return [key for key in rows[0]["settings"] if len({row["settings"].get(key) for row in rows}) > 1]


def label(row: Row, keys: Sequence[str]) -> str:
    """The settings of ``keys``; the policy if there are none."""
    shown = keys or ["policy"]
    return ", ".join(f"{key}={row['settings'].get(key)}" for key in shown)


def _bar(row: Row, name: str) -> Bar:
    factor, _ = quantity_of(name)
    spread = row["figures"][name]
    low, high = (None if spread[end] is None else factor * spread[end] for end in ("low", "high"))
    return Bar(float("nan") if spread["mean"] is None else factor * spread["mean"], low, high)


def age_chart(content: Mapping[str, Any]) -> Chart:
    """A panel of bars a figure, a bar a case."""
    rows = content["rows"][:ROWS_MAX]
    names = tuple(label(row, varied(content["rows"])) for row in rows)
    made = [_age_bars(rows, names, name) for name in AGE_BARS]
    left_out = len(content["rows"]) - len(rows)
    logarithmic = ", ".join(f'"{part.title}"' for part in made if part.x.log)
    scale = f"On a logarithmic scale: {logarithmic}." if logarithmic else ""
    lead = " ".join(filter(None, [scale, f"{left_out} more cases are in age.csv." if left_out else ""]))
    title = "What does page ageing cost the guest, and how accurate is it?"
    return Chart("age", title, Axis(""), tuple(made), across=3, lead=lead)


def _age_bars(rows: Sequence[Row], names: tuple[str, ...], name: str) -> Bars:
    """The bars of a figure; on a logarithmic axis for times, of which one may be 1000 times another, and across decades."""
    title, colour = AGE_BARS[name]
    bars, quantity = tuple(map(partial(_bar, name=name), rows)), quantity_of(name)[1]
    values = [bar.value for bar in bars]
    is_log = spans_decades(values) or (quantity == "ns" and any(value > 0 for value in values))
    return Bars(Axis(title, quantity, is_log), names, ((title, bars),), title, colour)


def latencies_of(table: Table, row: int, what: str) -> Latencies:
    """The distribution of ``row`` in ``table``, latencies.csv, that has the name ``what``."""
    mine = (table["row"] == row) & (table["what"] == what)
    ends, counts = table["latency_ns"][mine], table["count"][mine]
    total = int((ends * counts).sum())
    pairs = list(zip(ends.tolist(), counts.tolist(), strict=True))
    return Latencies.of_buckets(pairs, total / max(1, int(counts.sum())), int(ends.max(initial=0)))


def _survivals(names: Sequence[tuple[int, str]], table: Table, what: str) -> list[Line]:
    found: list[Line] = []
    for row, name in names:
        counted = latencies_of(table, row, what)
        if counted.count:
            number = len(found)
            found.append(survival(name, counted, COLOURS[number % len(COLOURS)], number % N_DASHES))
    return found


def age_faults(content: Mapping[str, Any], table: Table) -> Chart | None:
    """Distributions of the guest's faults, a line a row; None if there were no faults.

    content: of age.json. table: latencies.csv. Rows beyond the number of COLOURS have no line.
    """
    rows = content["rows"]
    names = [(number, label(row, varied(rows))) for number, row in enumerate(rows[: len(COLOURS)])]
    lines = _survivals(names, table, FAULTS)
    return distributions("faults", "Time of a fault of the guest", lines) if lines else None


def reclaim_chart(content: Mapping[str, Any]) -> Chart:
    """Cold memory, refaults, slowdown and, with migrations, their times, over the age from which on pages are reclaimed."""
    lines = _by_age(content["rows"])
    moved = {name: rows for name, rows in lines.items() if rows[0].get("migrations_completed") is not None}
    panels = [
        _over_age(lines, "reclaimed_bytes", "reclaimed", beside=("cold_bytes", "cold, if all were resident")),
        _over_age(lines, "refaults_per_s", "refaults"),
        _over_age(lines, "slowdown_percent", "guest slower by"),
    ]
    if moved:
        panels.append(
            _over_age(lines, "migration_ns", "a migration takes", ("plain_migration_ns", "without reclaim"), moved)
        )
    title = "How much memory can be reclaimed, and what does it cost?"
    return Chart("reclaim", title, Axis("age"), tuple(panels), across=2)


def reclaim_stalls(content: Mapping[str, Any], table: Table, budget_ns: Sequence[float] = ()) -> Chart | None:
    """Distributions of the guest's stalls at the youngest age of each line; None if there were no stalls.

    content: of reclaim.json. table: latencies.csv. budget_ns: longest stalls that the budget allows, drawn as rules.
    """
    lines = _by_age(content["rows"])
    firsts = [(content["rows"].index(rows[0]), name) for name, rows in lines.items()][: len(COLOURS)]
    age = next(iter(lines.values()))[0]["settings"]["age"]
    found = _survivals(firsts, table, STALL)
    return distributions("stalls", f"Stalls of the guest at age {age}", found, budget_ns) if found else None


def _by_age(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of each line in the order of their ages."""
    keys = [key for key in varied(rows) if key != "age"]
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(label(row, keys), []).append(row)
    return found


def _over_age(
    lines: Mapping[str, Sequence[Row]], name: str, title: str, beside: tuple[str, str] | None = None,
    only: Mapping[str, Sequence[Row]] | None = None,
) -> Panel:  # fmt: skip
    """A figure over the age. beside: figure and label of a grey line. only: lines that have it; a line keeps its colour."""
    factor, quantity = quantity_of(name)
    drawn, shown = [], lines if only is None else only
    for number, (text, rows) in enumerate(list(lines.items())[: len(COLOURS)]):
        if text not in shown:
            continue
        bars = [_bar(row, name) for row in rows]
        low, high = (
            np.array([np.nan if (v := getattr(bar, end)) is None else v for bar in bars]) for end in ("low", "high")
        )
        known = bool(np.isfinite(low).any())
        values = np.array([bar.value for bar in bars])
        drawn.append(Line(text, _ages_ns(rows), values, COLOURS[number], dash=number % N_DASHES,
                          marked=True, low=low if known else None, high=high if known else None))  # fmt: skip
    first = next(iter(shown.values()))
    if beside:
        values = np.array([factor * (row["figures"][beside[0]]["mean"] or np.nan) for row in first])
        drawn.append(Line(beside[1], _ages_ns(first), values, "grey", dash=1))
    x = Axis("age from which on idle pages are reclaimed", "ns", low=0.0)
    return Panel(Axis(title, quantity, low=0.0), tuple(drawn), x=x, title=title)


def _ages_ns(rows: Sequence[Row]) -> Any:
    return np.array([parse_duration(row["settings"]["age"]) for row in rows], float)


def debate_chart(claims: Sequence[Row], curves: Table) -> Chart:
    """A panel a claim: its lines, and rules where two of them were found to meet. claims: as debate.json has them."""
    panels = tuple(_claim(claim, curves) for claim in claims)
    title = "Which index should find the shadow PTEs of a page?"
    lead = "Lines with marks were run; dashed lines are figures to compare with. Dashed rules: where two costs meet."
    return Chart("debate", title, Axis(""), panels, across=3, lead=lead)


def _claim(claim: Mapping[str, Any], curves: Table) -> Panel:
    mine = curves["claim"] == claim["number"]
    about = claim.get("panel") or {}
    levels = set(about.get("levels") or ())
    lines = []
    for number, name in enumerate(dict.fromkeys(curves["line"][mine].tolist())):
        here = mine & (curves["line"] == name)
        is_level = name in levels
        lines.append(Line(name, curves["x"][here].astype(float), curves["y"][here].astype(float),
                          COLOURS[number % len(COLOURS)], dash=int(is_level), marked=not is_level))  # fmt: skip
    x = Axis(str(curves["x_label"][mine][0]), "", bool(about.get("log_x")))
    y = Axis(str(curves["y_label"][mine][0]), "", bool(about.get("log_y", True)))
    meets = (
        [one["measured"] for one in claim["crossings"] if one["measured"] is not None] if about.get("crosses", True) else []
    )
    found = "holds under a condition" if claim["verdict"] == "holds if" else claim["verdict"]
    title = f"{claim['number']}. {claim['says']}: {found}"
    return Panel(y, tuple(lines), x=x, title=title, rules=tuple(meets))
