"""The output of ``hostsim age``: table, caption and files; the tables of the 2x2 of A bits and indexes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hostsim.core.units import format_duration
from hostsim.report.columns import Column, Grid, Role, grid_of
from hostsim.report.origin_words import study_rests_on
from hostsim.report.studies import (
    figures_table,
    latency_table,
    setting_column,
    spreads,
    study_column,
    study_content,
    write_study,
)
from hostsim.report.tables import NONE
from hostsim.results.tables import Table
from hostsim.study.ageing.options import AgeOptions
from hostsim.study.ageing.outcome import AgeRow, row_verdict, verdict_lines
from hostsim.study.ageing.preset import AgePlan
from hostsim.study.ageing.two_by_two import Cell
from hostsim.study.statistics import method
from hostsim.verdict.words import seconds_words, span_words

COLUMNS = (
    study_column("pass_mean_ns", "pass"),
    study_column("pass_max_ns", "longest", Role.SPARE),
    study_column("vcpu_slowdown_percent", "slowdown"),
    study_column("notifier_calls_per_s", "calls/s", Role.SPARE),
    study_column("host_lock_wait_p99_ns", "host waits p99", Role.SPARE),
    study_column("vcpu_lock_wait_p99_ns", "vCPU waits p99"),
    study_column("lock_held_percent", "lock held", Role.SPARE),
    study_column("young_pages", "young", Role.SPARE),
    study_column("false_old_pages", "false old"),
    study_column("false_young_pages", "false young", Role.SPARE),
    study_column("working_set_pages", "ws estimate"),
    study_column("used_pages", "ws true"),
    study_column("faults_per_pass", "faults/pass", Role.SPARE),
    Column("verdict", "verdict", prose=True, of=row_verdict),
)


def age_content(plan: AgePlan, options: AgeOptions, rows: Sequence[AgeRow]) -> dict[str, Any]:
    """The content of age.json: ``options`` as given, the seeds of ``plan``, and ``rows`` with verdict and figures.

    One seed gives no intervals: the method of the interval is None then.
    """
    told = [
        {"settings": row.settings, "period_ns": row.ageing.period, "verdict": row_verdict(row),
         "figures": spreads(row.figures),
         "latencies": {what: latencies.summary() for what, latencies in row.latencies.items()}}
        for row in rows
    ]  # fmt: skip
    interval = method() if len(plan.seeds) > 1 else None
    return study_content(
        "age", options, plan.seeds, interval, verdict=verdict_lines(rows, plan.varied()), rows=told
    )


def write_age(out: Path, content: dict[str, Any], rows: Sequence[AgeRow]) -> list[Path]:
    """Write ``content`` (of ``age_content``) and the tables of ``rows`` to folder ``out``.

    Returns the paths. OutputError.
    """
    return write_study(out, "age", content, age_tables_of(rows))


def age_tables_of(rows: Sequence[AgeRow]) -> dict[str, Table]:
    """The tables of ``rows`` that have files, by name."""
    return {"age": age_data(rows), "latencies": latency_table(row.latencies for row in rows)}


def age_data(rows: Sequence[AgeRow]) -> Table:
    """The main table: a row a line of the table on the terminal."""
    return figures_table("age", [(row.settings, row.figures, row_verdict(row)) for row in rows])


def age_table(rows: Sequence[AgeRow], varied: Sequence[str]) -> Grid:
    """A line for each of ``rows`` (at least one): settings whose keys are in ``varied``, figures, verdict.

    Without a varied key the policy names the line.
    """
    keys = [key for key in rows[0].settings if key in varied] or ["policy"]
    return grid_of([*map(setting_column, keys), *COLUMNS], rows)


def caption(plan: AgePlan, options: AgeOptions, rows: Sequence[AgeRow]) -> str:
    """The settings of ``plan`` and ``options`` that all ``rows`` share, the periods of ageing in ``rows``, and the seeds."""
    same = {key: value for key, value in plan.settings[0].items() if key not in plan.varied()}
    same |= {"mem-per-vcpu": options.mem_per_vcpu, "a-bits": str(options.a_bits).lower()}
    periods = {format_duration(row.ageing.period) for row in rows}
    same |= {"rate": options.rate, "period": " or ".join(sorted(periods)), "sheet": options.sheet}
    return ", ".join(f"{key}={value}" for key, value in same.items()) + f"; {study_rests_on(plan.seeds)}"


TWO_BY_TWO = (
    Column("bit", "bit", role=Role.KEY, of=lambda cell: "yes" if cell.a_bits else "none"),
    Column("index", "index", role=Role.KEY, of=lambda cell: cell.index),
    Column("pass", "pass", of=lambda cell: span_words(cell.pass_ns)),
    Column("used", "in use", of=lambda cell: f"{cell.used_pages:.0f}"),
    Column("false_old", "false old", of=lambda cell: f"{cell.false_old_pages:.1f}"),
    Column("faults", "faults a pass", of=lambda cell: f"{cell.faults:.0f}"),
    Column("slowdown", "slowdown", of=lambda cell: f"{100 * cell.slowdown:.2f} %"),
    Column("wait", "longest wait", of=lambda cell: span_words(cell.longest_wait_ns)),
)


def _migration(cell: Cell) -> str:
    if cell.migration_s is None:
        return NONE
    return f"{seconds_words(cell.migration_s)}{'' if cell.completed else ', given up'}"


def _plain(cell: Cell) -> str:
    return NONE if cell.plain_migration_s is None else seconds_words(cell.plain_migration_s)


MIGRATION = (Column("migration", "migration", of=_migration), Column("plain", "if not aged", of=_plain))


def two_by_two_tables(cells: Sequence[Cell]) -> Iterator[Grid]:
    """A line a cell: first those without a migration."""
    yield grid_of(TWO_BY_TWO, [cell for cell in cells if not cell.migrates], "Alone")
    yield grid_of([*TWO_BY_TWO, *MIGRATION], [cell for cell in cells if cell.migrates], "While the VM migrates")
