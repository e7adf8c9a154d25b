"""The page of one run: verdicts, the migration over time, its dirty log and locks, memory, ages, tables, the scenario."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hostsim.report.charts import memory as memory_charts
from hostsim.report.charts import migration as charts
from hostsim.report.charts.migration import own_charts
from hostsim.report.html.kinds.parts import command_words, lines_card, noted, origin_of, sections_of, tiles_of, verdict_card
from hostsim.report.html.page import Card, Content, Drawn, Listing, Page, Part, Section, Tabled, Tile
from hostsim.report.tables import (
    host_tables,
    kvm_table,
    mechanism_tables,
    plain_table,
    rates_table,
    rounds_table,
    tables_of_run,
)
from hostsim.verdict.words import bytes_words, count_words, percent_words, seconds_words, span_words, times_words

if TYPE_CHECKING:
    from hostsim.results.memory import HostResult
    from hostsim.results.tables import MigrationResult, RunResult

ROWS_MAX = 100
WAITS = ("fault_major", "async_fault_major")


def run_page(content: Content) -> Page:
    """The page of a run."""
    result: RunResult = content.result
    notes: list[str] = []
    sections = [one for number in range(len(result.migrations)) for one in _migration_sections(result, number, notes)]
    sections += sections_of(notes, ("Memory of the host", lambda: _host(result)), ("Guests", lambda: _guests(result)))
    scenario = _scenario(result)
    return Page(
        title=result.name,
        kicker=f"hostsim run, seed {result.seed}",
        question=str(result.scenario.get("question") or ""),
        cards=tuple(_cards(result, content.texts.get("verdict.txt", ""))),
        tiles=tiles_of(notes, lambda: _tiles(result)),
        sections=tuple(sections),
        origin=origin_of(content.origin),
        command=command_words(["hostsim", "run", _file(result)]) if scenario else "",
        listings=scenario,
        notes=noted(content, notes),
    )


def _file(result: RunResult) -> str:
    return f"{result.name}.toml"


def _scenario(result: RunResult) -> tuple[Listing, ...]:
    from hostsim.scenario.toml_text import scenario_text

    if not result.scenario:
        return ()
    named = f"The scenario with every default, to be saved as {_file(result)}"
    return (Listing(scenario_text(result.scenario), named, folded=True),)


def _cards(result: RunResult, text: str) -> Iterator[Card]:
    """A verdict a migration, then that of the host's memory; the lines of verdict.txt where there are no data."""
    from hostsim.verdict.memory import host_verdict

    many = len(result.verdicts) > 1
    yield from (
        verdict_card(verdict, f"migration {number}" if many else "")
        for number, verdict in enumerate(result.verdicts, start=1)
    )
    if result.verdicts and (lines := host_verdict(result)):
        yield lines_card(["VERDICT: memory and ageing meanwhile", *lines], "told", "memory of the host")
    if not result.verdicts:
        killed = result.host is not None and result.host.out_of_memory is not None
        lines = [line for line in text.splitlines() if line.strip()]
        fine = bool(lines) and not killed
        yield lines_card(lines, "bad" if killed else "good" if fine else "open", _ended(result, lines=bool(lines)))


def _ended(result: RunResult, *, lines: bool) -> str:
    if result.host is not None and result.host.out_of_memory is not None:
        return "out of memory"
    return f"ran for {seconds_words(result.end_ns / 1e9)}" if result.end_ns else "verdict" if lines else "no verdict"


def _tiles(result: RunResult) -> Iterator[Tile]:
    for number, migration in enumerate(result.migrations, start=1):
        behind = f" {number}" if len(result.migrations) > 1 else ""
        yield from (Tile(f"{tile.name}{behind}", tile.figure, tile.aside) for tile in _of_migration(migration))
    if result.host is not None:
        yield from _of_host(result.host)
    if not result.migrations and result.end_ns:
        yield Tile("simulated time", seconds_words(result.end_ns / 1e9))


def _of_migration(migration: MigrationResult) -> Iterator[Tile]:
    from hostsim.study.compare.figures import slowdown_percent

    took = "" if migration.status == "completed" else f"{migration.status}, not completed"
    yield Tile("total time", seconds_words(charts.end_s(migration)) if len(migration.series) else "-", took)
    if migration.downtime_ms is not None:
        limit = migration.facts.get("downtime_limit_ms")
        aside = f"the limit is {seconds_words(limit / 1000)}" if limit else ""
        yield Tile("downtime", seconds_words(migration.downtime_ms / 1000), aside)
    ram = migration.query.get("ram") or {}
    if ram.get("transferred"):
        memory = migration.facts.get("memory_bytes") or 0
        aside = f"{times_words(ram['transferred'] / memory)} its RAM of {bytes_words(memory)}" if memory else ""
        yield Tile("sent", bytes_words(ram["transferred"]), aside)
    if len(migration.rounds):
        yield Tile("rounds", str(len(migration.rounds)))
    slower = slowdown_percent(migration) if len(migration.series) else None
    if slower is not None and math.isfinite(slower):
        throttle = int(migration.series["throttle_percent"].max(initial=0))
        yield Tile("guest slower by", percent_words(slower / 100), f"throttled by up to {throttle} %" if throttle else "")
    if migration.kvm is not None and "stall_share" in migration.kvm.logged:
        yield Tile("lost to exits", percent_words(migration.kvm.logged["stall_share"]), "of the guest's time, while logged")


def _of_host(host: HostResult) -> Iterator[Tile]:
    if host.memory is not None:
        free = f"{bytes_words(4096 * host.memory['free_frames'])} of {bytes_words(4096 * host.memory['frames'])}"
        yield Tile("free at the end", free.split(" of ", maxsplit=1)[0], f"of {free.split(' of ')[1]}")
    for what in WAITS:
        waits = [one.latencies for one in host.latencies if one.what == what]
        if waits:
            worst = max(waits, key=lambda one: one.percentile_ns(99))
            count = sum(one.count for one in waits)
            yield Tile("swap-in, p99", span_words(worst.percentile_ns(99)), f"{count_words(count)} swap-ins")
            break
    for aged in (host.ageing or ())[:1]:
        if aged.get("pass_mean_ns"):
            yield Tile("a pass of ageing", span_words(aged["pass_mean_ns"]), f"{aged['passes']} passes over {aged['vm']}")


def _migration_sections(result: RunResult, number: int, notes: list[str]) -> tuple[Section, ...]:
    migration = result.migrations[number]
    name = f"Migration {number + 1}: " if len(result.migrations) > 1 else ""

    def over_time() -> Section:
        parts: list[Part] = [Drawn(charts.timeline(migration, number))] if len(migration.series) else []
        if len(migration.rounds):
            parts.append(Tabled(rounds_table(migration.rounds, ROWS_MAX), "All rounds"))
        if len(migration.events):
            parts.append(Tabled(plain_table(migration.events, ROWS_MAX), "Events"))
        return Section(f"{name}{'The' if not name else 'the'} migration over time", tuple(parts))

    def found_dirty() -> Section | None:
        if migration.kvm is None:
            return None
        cost: list[Part] = [
            Drawn(charts.dirty_log(migration, number)),
            Tabled(kvm_table(migration.rounds, ROWS_MAX), "By round"),
        ]
        lock = charts.lock_shares(migration, number)
        return Section(f"{name}What finding dirty pages cost", (*cost, *([] if lock is None else [Drawn(lock)])))

    return sections_of(
        notes, (f"{name}the migration over time", over_time), (f"{name}cost of finding dirty pages", found_dirty),
        (f"{name}other mechanisms", lambda: _mechanisms(name, migration, number)),
    )  # fmt: skip


def _mechanisms(name: str, migration: MigrationResult, number: int) -> Section | None:
    parts: list[Part] = [Drawn(chart) for chart in own_charts(migration, number)]
    parts += [Tabled(grid, grid.title, folded=False) for grid in mechanism_tables(migration, ROWS_MAX)]
    return Section(f"{name}Mechanisms", tuple(parts))


def _host(result: RunResult) -> Section | None:
    if result.host is None:
        return None
    drawn = [Drawn(chart) for chart in memory_charts.host_charts(result.host)]
    tables = [Tabled(grid, grid.title or "Memory") for grid in host_tables(result.host)]
    return Section("Memory of the host", (*drawn, *tables))


def _guests(result: RunResult) -> Section | None:
    parts: list[Part] = []
    parts += [Tabled(grid, heading, folded=False) for heading, grid in tables_of_run(result, ROWS_MAX) if grid.cells]
    if result.dirty_rates:
        parts.append(Tabled(rates_table(result.dirty_rates, ROWS_MAX), "calc-dirty-rate", folded=False))
    if len(result.guest):
        parts.append(Tabled(plain_table(result.guest, ROWS_MAX), "Work of the vCPUs"))
    return Section("Guests", tuple(parts))
