"""Pages of real beside simulated: validate, selftests, chains of sptes, calibrate; and of logs: explain. Their charts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hostsim.core.constants import PAGE_WIRE_BYTES
from hostsim.report.charts.chart import COLOURS, Array, Axis, Bar, Bars, Chart, Colour, Line, Marks, Panel, spans_decades
from hostsim.report.columns import Column, Grid, Role
from hostsim.report.console import FAILED
from hostsim.report.html.kinds.parts import lines_card, noted, origin_of, sections_of, verdict_card
from hostsim.report.html.page import Card, Content, Drawn, Listing, Page, Section, Tabled, Tile, Tone, chart_section
from hostsim.report.tables import NONE, figure

if TYPE_CHECKING:
    from hostsim.logs.model import MigrationLog

ROWS_MAX = 2000
SKIPPED = ("real_counters",)


def plain_grid(rows: Sequence[Mapping[str, Any]], title: str = "") -> Grid:
    """Objects as the table ``title`` under the keys of the first; nested values are left out.

    rows: at most ROWS_MAX are shown; an entry that is no mapping is dropped.
    """
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
        ("Suites", lambda: Section("Suites", (Drawn(counts_chart(counted)),))),
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
    chart = ratios_chart(rows, expected, got)
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
        return Section("Real beside simulated", (Drawn(phases_chart(phases, host)),))
    return Section("Times", (Drawn(simulated_phases_chart(phases)),))


def chains_page(content: Content) -> Page:
    """The page of chains of sptes, real beside the modelled rmap and the closed form."""
    main, notes = content.main, list[str]()
    chart, host = chains_chart, str(main.get("host") or "")
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
    """The page of a calibration: measured numbers with their spread, latency by size of memory, assumptions."""
    main, notes = content.main, list[str]()
    numbers = main["numbers"]
    measured = [row for row in numbers if row.get("spread") is not None]
    noisy, unseen = main.get("noisy") or (), main.get("not_told_apart") or ()
    head = f"{len(measured)} of {len(numbers)} numbers of the cost sheet are measured on this machine"
    lines = [head, *_host(main), *([f"Repetitions lie far apart: {', '.join(noisy)}."] if noisy else []),
             *([f"Not distinguishable, so assumed: {', '.join(unseen)}."] if unseen else []),
             *(main.get("notes") or ())]  # fmt: skip
    made = [
        ("Measured", lambda: chart_section("Measured", measured_chart(numbers))),
        ("Latency", lambda: chart_section("Latency of memory", memory_chart(main.get("curve") or ()))),
        ("Numbers", lambda: Section("All numbers", (Tabled(plain_grid(numbers), "", folded=False),))),
    ]
    card: Card = lines_card(lines, "open" if noisy else "good", "measured")
    origin = tuple((name, str(main[name])) for name in ("file", "date", "base") if main.get(name))
    return Page(title="The cost sheet of this machine", kicker="hostsim calibrate", cards=(card,),
                sections=sections_of(notes, *made), origin=origin, notes=noted(content, notes))  # fmt: skip


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
    """The panel ``title`` of one work: the time of a page by its sptes. rows: as ChainCosts.table has them."""
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
    """A panel a quantity: the ratio got / expected over the expected value, for the quantities that most rows have."""
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


SAMPLES_MIN = 2


def log_chart(log: MigrationLog, number: int = 0) -> Chart | None:
    """Figures of a log over the time since the migration started; None where it holds fewer than two samples of each."""
    panels = [panel for panel in (_remaining(log), _rates(log), _throttle(log)) if panel.lines]
    known_s = log.t_s[np.isfinite(log.t_s)]
    if not panels or len(known_s) < SAMPLES_MIN:
        return None
    x = Axis("time since the migration started", "s", low=0.0, high=float(max(known_s.max(), 1e-3)))
    name = f"log-{number + 1}"
    return Chart(name, "The migration as it was polled", x, tuple(panels), _rounds(log), group=name)


def _remaining(log: MigrationLog) -> Panel:
    values = np.where(log.remaining_bytes > 0, log.remaining_bytes, np.nan)
    return Panel(Axis("left to send", "bytes", log=True), _known(log, ("remaining", values, "blue")), 1.3)


def _rates(log: MigrationLog) -> Panel:
    dirtied = log.dirty_pages_rate_per_s * PAGE_WIRE_BYTES * 8
    lines = _known(log, ("throughput", log.mbps * 1e6, "blue"), ("dirty-pages-rate", dirtied, "vermilion"))
    return Panel(Axis("rate", "bit/s", low=0.0), lines)


def _throttle(log: MigrationLog) -> Panel:
    lines = _known(log, ("throttle", log.throttle_percent, "ink"))
    return Panel(Axis("throttle", "%", low=-3.0, high=109.0), lines, 0.7)


def _known(log: MigrationLog, *lines: tuple[str, Array, Colour]) -> tuple[Line, ...]:
    """Lines of the figures that two samples at least have."""
    found = []
    for name, values, colour in lines:
        there = np.isfinite(values) & np.isfinite(log.t_s)
        if there.sum() >= SAMPLES_MIN:
            found.append(Line(name, log.t_s[there], values[there], colour, marked=int(there.sum()) <= 60))
    return tuple(found)


def _rounds(log: MigrationLog) -> tuple[Marks, ...]:
    """The first sample of each round."""
    counts = log.dirty_sync_count
    there = np.isfinite(counts) & np.isfinite(log.t_s)
    counted, t_s = counts[there], log.t_s[there]
    first = t_s[np.flatnonzero(np.diff(counted, prepend=counted[:1]) > 0)]
    return (Marks("first sample of a round", first),) if len(first) else ()
