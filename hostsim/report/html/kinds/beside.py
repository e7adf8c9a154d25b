"""Pages of real beside simulated: validate, selftests, chains of sptes, calibrate; and of logs: explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hostsim.report.charts import beside as charts
from hostsim.report.charts.log import log_chart
from hostsim.report.columns import Column, Grid, Role
from hostsim.report.console import FAILED
from hostsim.report.html.kinds.parts import lines_card, noted, origin_of, sections_of, verdict_card
from hostsim.report.html.page import Card, Content, Drawn, Listing, Page, Section, Tabled, Tile, Tone, chart_section
from hostsim.report.tables import NONE, figure

ROWS_MAX = 2000
SKIPPED = ("real_counters",)


def plain_grid(rows: Sequence[Mapping[str, Any]], title: str = "") -> Grid:
    """Objects as a table under their own keys; nested values are left out."""
    rows = [row for row in rows if isinstance(row, Mapping)][:ROWS_MAX]
    keys = [
        key for key, value in (rows[0] if rows else {}).items() if not isinstance(value, dict | list) and key not in SKIPPED
    ]
    columns = [Column(key, key.replace("_", " "), role=Role.FIGURE if i else Role.KEY, prose=key in {"note", "source"})
               for i, key in enumerate(keys)]  # fmt: skip
    return Grid(tuple(columns), tuple(tuple(_cell(row.get(key)) for key in keys) for row in rows), title)


def _cell(value: Any) -> str:
    return NONE if value is None else figure(value)


def explain_page(content: Content) -> Page:
    """The page of verdicts on real migrations, with the charts of their logs."""
    verdicts, notes = content.main["verdicts"], list[str]()
    logs = list(content.result or [None] * len(verdicts))
    many = len(verdicts) > 1
    titles = [f"migration {number}" if many else "" for number in range(1, len(verdicts) + 1)]
    cards = tuple(verdict_card(verdict, title) for verdict, title in zip(verdicts, titles, strict=True))
    made = [
        (f"Log {i + 1}", lambda i=i, log=log: _log_section(titles[i], log, i, verdicts[i])) for i, log in enumerate(logs)
    ]
    forms = ", ".join(dict.fromkeys(str(verdict.get("format")) for verdict in verdicts))
    return Page(
        title="A real migration, explained" if not many else f"{len(verdicts)} real migrations, explained",
        kicker=f"hostsim explain, {forms}", cards=cards, sections=sections_of(notes, *made),
        command=str(content.main.get("command") or ""), notes=noted(content, notes),
    )  # fmt: skip


def _log_section(title: str, log: Any, number: int, verdict: Mapping[str, Any]) -> Section:
    parts: list[Any] = []
    chart = None if log is None else log_chart(log, number)
    parts += [Drawn(chart)] if chart is not None else []
    numbers = {key: value for key, value in (verdict.get("numbers") or {}).items() if value is not None}
    rows = tuple((key.replace("_", " "), f"{value:.6g}") for key, value in numbers.items())
    if rows:
        columns = (Column("figure", "figure", role=Role.KEY), Column("value", "value"))
        parts.append(Tabled(Grid(columns, rows), "Figures that the verdict rests on"))
    if verdict.get("scenario"):
        parts.append(Listing(verdict["scenario"], "A scenario that simulates it; save it and run it as hostsim run FILE"))
    return Section(f"{title}: the log" if title else "The log", tuple(parts))


def validate_page(content: Content) -> Page:
    """The page of a validation: rows within tolerance, ratios by quantity, every row."""
    rows, notes = content.main["rows"], list[str]()
    beside = bool(rows) and "real" in rows[0]
    expected, got = ("real", "simulated") if beside else ("expected", "got")
    scored = [row for row in rows if row["scored"]]
    failed = [row for row in scored if not row["passed"]]
    tone: Tone = "good" if not failed else "open"
    head = f"{len(scored) - len(failed)} of {len(scored)} scored figures are within their tolerance"
    suites = {name: [row for row in rows if row["suite"] == name] for name in dict.fromkeys(row["suite"] for row in rows)}
    counted = {name: _counted(mine) for name, mine in suites.items()}
    made = [
        ("Suites", lambda: Section("Suites", (Drawn(charts.counts_chart(counted)),))),
        ("Ratios", lambda: _ratios(rows, expected, got)),
        ("Failed", lambda: _failed(_rows(failed, expected, got))),
        *((name, lambda name=name, mine=mine: _all(name, _rows(mine, expected, got))) for name, mine in suites.items()),
    ]
    badge = "within tolerance" if not failed else f"{len(failed)} not within tolerance"
    return Page(
        title="Real migrations beside the simulation" if beside else "Validation: expected and got",
        kicker="hostsim validate",
        cards=(lines_card([head, *_host(content.main)], tone, badge),),
        tiles=tuple(
            Tile(name, f"{good} of {good + bad}", f"{shown} shown only" if shown else "")
            for name, (good, bad, shown) in counted.items()
        ),
        sections=sections_of(notes, *made), origin=origin_of(content.origin),
        command=str(content.main.get("command") or ""), notes=noted(content, notes),
    )  # fmt: skip


def _failed(grid: Grid) -> Section | None:
    return Section("Not within tolerance", (Tabled(grid, "", folded=False),)) if grid.cells else None


def _all(name: str, grid: Grid) -> Section:
    return Section(f"All rows of {name}", (Tabled(grid, f"{len(grid.cells)} rows"),))


def _host(main: Mapping[str, Any]) -> list[str]:
    return [f"{name.capitalize()}: {main[name]}." for name in ("host", "sheet", "machine") if main.get(name)]


def _counted(rows: Sequence[Mapping[str, Any]]) -> tuple[int, int, int]:
    passed = [bool(row["passed"]) for row in rows if row["scored"]]
    return sum(passed), len(passed) - sum(passed), len(rows) - len(passed)


def _ratios(rows: Sequence[Mapping[str, Any]], expected: str, got: str) -> Section | None:
    chart = charts.ratios_chart(rows, expected, got)
    return None if chart is None else Section("Ratios", (Drawn(chart),))


def _rows(rows: Sequence[Mapping[str, Any]], expected: str, got: str) -> Grid:
    heads = ("id", "quantity", expected, got, "error", "tolerance", "passed", "note")
    columns = tuple(Column(head, "" if head == "passed" else head, role=Role.KEY if head == "id" else Role.FIGURE,
                           prose=head == "note") for head in heads)  # fmt: skip
    cells = tuple(tuple(_passed(row) if head == "passed" else _cell(row.get(head)) for head in heads) for row in rows)
    return Grid(columns, cells, "", frozenset(i for i, row in enumerate(rows) if not row["scored"]))


def _passed(row: Mapping[str, Any]) -> str:
    return "ok" if row["passed"] else FAILED if row["scored"] else "shown"


def selftest_page(content: Content) -> Page:
    """The page of a selftest: its lines and phases; with --real the real phases beside them."""
    main, notes = content.main, list[str]()
    phases, is_real = main["phases"], bool(main["phases"]) and "real_ms" in main["phases"][0]
    made = [("Times", lambda: _phases(phases, str(main.get("host") or ""), is_real=is_real))]
    made.append(("Phases", lambda: Section("Phases", (Tabled(plain_grid(phases), "", folded=False),))))
    if main.get("lines"):
        made.append(
            ("Lines", lambda: Section("Lines of the selftest", (Listing("\n".join(main["lines"]), "As it prints them"),)))
        )
    head = list(
        main.get("verdict") or [f"{len(phases)} phases of the selftest {'ran, real and simulated' if is_real else 'ran'}"]
    )
    return Page(
        title=f"KVM's {main.get('test', 'dirty_log_perf_test')}{', real and simulated' if is_real else ''}",
        kicker="hostsim kvm-selftest", cards=(lines_card([*head, *_host(main)], "told", "selftest"),),
        sections=sections_of(notes, *made), command=str(main.get("command") or ""), notes=noted(content, notes),
        origin=tuple((key, str(value)) for key, value in (main.get("options") or {}).items()),
    )  # fmt: skip


def _phases(phases: Sequence[Mapping[str, Any]], host: str, *, is_real: bool) -> Section:
    if is_real:
        return Section("Real beside simulated", (Drawn(charts.phases_chart(phases, host)),))
    return Section("Times", (Drawn(charts.simulated_phases_chart(phases)),))


def chains_page(content: Content) -> Page:
    """The page of chains of sptes, real beside the modelled rmap and the closed form."""
    main, notes = content.main, list[str]()
    chart, host = charts.chains_chart, str(main.get("host") or "")
    made = [
        ("Chains", lambda: chart_section("What a spte of a page costs", chart(main["rows"], host))),
        ("Rows", lambda: Section("Figures", (Tabled(plain_grid(main["rows"]), "", folded=False),))),
    ]
    head = list(main.get("lines") or ["chains of sptes, measured on this host and modelled"])
    return Page(
        title="What a spte of a page costs, real and modelled", kicker="hostsim debate --real",
        cards=(lines_card([*head, *_host(main)], "told", "measured"),), sections=sections_of(notes, *made),
        notes=noted(content, notes),
    )  # fmt: skip


def calibrate_page(content: Content) -> Page:
    """The page of a calibration: measured numbers with their spread, latency by size of memory, what is assumed."""
    main, notes = content.main, list[str]()
    numbers = main["numbers"]
    measured = [row for row in numbers if row.get("spread") is not None]
    noisy, unseen = main.get("noisy") or (), main.get("not_told_apart") or ()
    head = f"{len(measured)} of {len(numbers)} numbers of the cost sheet are measured on this machine"
    lines = [head, *_host(main), *([f"Repetitions lie far apart: {', '.join(noisy)}."] if noisy else []),
             *([f"Not distinguishable, so assumed: {', '.join(unseen)}."] if unseen else []),
             *(main.get("notes") or ())]  # fmt: skip
    made = [
        ("Measured", lambda: chart_section("Measured", charts.measured_chart(numbers))),
        ("Latency", lambda: chart_section("Latency of memory", charts.memory_chart(main.get("curve") or ()))),
        ("Numbers", lambda: Section("All numbers", (Tabled(plain_grid(numbers), "", folded=False),))),
    ]
    card: Card = lines_card(lines, "open" if noisy else "good", "measured")
    origin = tuple((name, str(main[name])) for name in ("file", "date", "base") if main.get(name))
    return Page(title="The cost sheet of this machine", kicker="hostsim calibrate", cards=(card,),
                sections=sections_of(notes, *made), origin=origin, notes=noted(content, notes))  # fmt: skip
