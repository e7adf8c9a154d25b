"""The output of ``hostsim reclaim``: tables, caption and files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
from hostsim.results.tables import Table
from hostsim.study.reclaim.measure import OF_MIGRATIONS
from hostsim.study.reclaim.options import ReclaimOptions
from hostsim.study.reclaim.outcome import ReclaimRow, row_verdict, verdict_lines
from hostsim.study.reclaim.preset import ReclaimPlan
from hostsim.study.statistics import Spread, method

COLUMNS = (
    study_column("cold_bytes", "cold"),
    study_column("reclaimed_bytes", "reclaimed"),
    study_column("refaults_per_s", "refaults/s"),
    study_column("stall_p50_ns", "stall p50", Role.SPARE),
    study_column("stall_p99_ns", "stall p99"),
    study_column("stall_p99.9_ns", "stall p99.9", Role.SPARE),
    study_column("slowdown_percent", "slowdown"),
    study_column("pass_mean_ns", "pass", Role.SPARE),
    study_column("pass_max_ns", "longest pass", Role.SPARE),
)
MIGRATION_COLUMNS = (
    Column("completed", "completed", of=lambda row: f"{row.n_completed} of {row.figures['migration_ns'].n}"),
    study_column("migration_ns", "took"),
    study_column("migration_bytes", "sent"),
    study_column("plain_migration_ns", "took without"),
    study_column("plain_migration_bytes", "sent without"),
    study_column("read_back_pages", "read back"),
    study_column("dirtied_by_swap_in_pages", "dirtied by swap-in"),
)
"""without: time and bytes of the migration in a run without reclaim."""
NONE = Spread(0, float("nan"), None, None)


def reclaim_content(plan: ReclaimPlan, options: ReclaimOptions, rows: Sequence[ReclaimRow]) -> dict[str, Any]:
    """The content of reclaim.json: ``options`` as given, seeds and limits of ``plan``, ``rows`` with verdict and figures.

    One seed gives no intervals: the method of the interval is None then.
    """
    told = [
        {"settings": row.settings, "verdict": row_verdict(row, plan.limits), "figures": spreads(row.figures),
         "migrations_completed": row.n_completed if row.migrates else None,
         "latencies": {what: latencies.summary() for what, latencies in row.latencies.items()}}
        for row in rows
    ]  # fmt: skip
    interval = method() if len(plan.seeds) > 1 else None
    lines = verdict_lines(rows, plan.limits)
    return study_content("reclaim", options, plan.seeds, interval, verdict=lines, rows=told)


def write_reclaim(out: Path, plan: ReclaimPlan, content: dict[str, Any], rows: Sequence[ReclaimRow]) -> list[Path]:
    """Write ``content`` (of ``reclaim_content``) and the tables of ``rows`` to the folder ``out``; returns the paths.

    plan: its limits decide the verdict in each row. OutputError.
    """
    return write_study(out, "reclaim", content, reclaim_tables_of(plan, rows))


def reclaim_tables_of(plan: ReclaimPlan, rows: Sequence[ReclaimRow]) -> dict[str, Table]:
    """The tables of ``rows`` that have files, by name: figures, judged by the limits of ``plan``, and latencies."""
    return {"reclaim": reclaim_data(plan, rows), "latencies": latency_table(row.latencies for row in rows)}


def reclaim_data(plan: ReclaimPlan, rows: Sequence[ReclaimRow]) -> Table:
    """The figures of ``rows``, with the verdict by the limits of ``plan``.

    Rows without a migration have no figures of one.
    """
    blank = dict.fromkeys(OF_MIGRATIONS, NONE)
    return figures_table(
        "reclaim", [(row.settings, {**row.figures, **({} if row.migrates else blank)}, row_verdict(row, plan.limits))
                    for row in rows]
    )  # fmt: skip


def reclaim_tables(plan: ReclaimPlan, rows: Sequence[ReclaimRow]) -> list[Grid]:
    """A table with a line for each of ``rows`` (at least one); with migrations a second table of the rows that migrate.

    plan: its limits decide the verdict of a line. A setting other than the age has a column only if it varies.
    """
    keys = [key for key in rows[0].settings if key == "age" or len({row.settings[key] for row in rows}) > 1]
    verdict = Column("verdict", "verdict", prose=True, of=lambda row: row_verdict(row, plan.limits))
    table = grid_of([*map(setting_column, keys), *COLUMNS, verdict], rows)
    moved = [row for row in rows if row.migrates]
    named = [setting_column(key) for key in keys if key != "migration"]
    return [table, grid_of([*named, *MIGRATION_COLUMNS], moved, "Migrations")] if moved else [table]


def reclaim_caption(plan: ReclaimPlan, options: ReclaimOptions) -> str:
    """The settings of ``options`` that all rows share, and the seeds of ``plan``."""
    same = {key: getattr(options, key) for key in ("memory", "used", "vcpus", "load", "rate", "writes", "era", "sheet")}
    if options.during_migration:
        same["bandwidth"] = options.bandwidth
    return ", ".join(f"{key}={value}" for key, value in same.items()) + f"; {study_rests_on(plan.seeds)}"
