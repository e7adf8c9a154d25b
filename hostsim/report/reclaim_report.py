"""What ``hostsim reclaim`` prints and writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hostsim.report.reclaim_plot import draw_reclaim
from hostsim.report.study_files import figures_table, latency_table, spreads, study_content, write_study
from hostsim.report.study_words import cell
from hostsim.report.tables import titled_table
from hostsim.results.encode import csv_bytes
from hostsim.results.tables import Table
from hostsim.study.compare.spread import Spread, method
from hostsim.study.reclaim.options import ReclaimOptions, ReclaimPlan
from hostsim.study.reclaim.outcome import ReclaimRow, row_verdict, verdict_lines
from hostsim.study.reclaim.trial import OF_MIGRATIONS

if TYPE_CHECKING:
    from rich.table import Table as RichTable

COLUMNS = {
    "cold": "cold_bytes", "reclaimed": "reclaimed_bytes", "refaults/s": "refaults_per_s", "stall p50": "stall_p50_ns",
    "p99": "stall_p99_ns", "p99.9": "stall_p99.9_ns", "slowdown": "slowdown_percent", "pass": "pass_mean_ns",
    "longest": "pass_max_ns",
}  # fmt: skip
MIGRATION_COLUMNS = {
    "took": "migration_ns", "sent": "migration_bytes", "took without": "plain_migration_ns",
    "sent without": "plain_migration_bytes", "read back": "read_back_pages",
    "dirtied by swap-in": "dirtied_by_swap_in_pages",
}  # fmt: skip
NONE = Spread(0, float("nan"), None, None)


def reclaim_content(plan: ReclaimPlan, options: ReclaimOptions, rows: Sequence[ReclaimRow]) -> dict[str, Any]:
    """The content of reclaim.json."""
    told = [
        {"settings": row.settings, "verdict": row_verdict(row, plan.limits), "figures": spreads(row.figures),
         "migrations_completed": row.n_completed if row.case.migrates else None,
         "latencies": {what: latencies.summary() for what, latencies in row.latencies.items()}}
        for row in rows
    ]  # fmt: skip
    interval = method() if len(plan.seeds) > 1 else None
    lines = verdict_lines(rows, plan.limits)
    return study_content("reclaim", options, plan.seeds, interval, verdict=lines, rows=told)


def reclaim_csv(plan: ReclaimPlan, rows: Sequence[ReclaimRow]) -> bytes:
    """The table alone."""
    return csv_bytes(_table(plan, rows))


def write_reclaim(out: Path, plan: ReclaimPlan, content: dict[str, Any], rows: Sequence[ReclaimRow]) -> list[Path]:
    """All files; OutputError."""
    tables = {"reclaim": _table(plan, rows), "latencies": latency_table(row.latencies for row in rows)}
    return write_study(out, "reclaim", content, tables, lambda: draw_reclaim(rows, plan.limits))


def _table(plan: ReclaimPlan, rows: Sequence[ReclaimRow]) -> Table:
    """Rows without a migration have no figures of one."""
    blank = dict.fromkeys(OF_MIGRATIONS, NONE)
    return figures_table(
        "reclaim", [(row.settings, {**row.figures, **({} if row.case.migrates else blank)}, row_verdict(row, plan.limits))
                    for row in rows]
    )  # fmt: skip


def reclaim_tables(plan: ReclaimPlan, rows: Sequence[ReclaimRow]) -> list[RichTable]:
    """A line a case; with migrations another table that tells of these."""
    keys = [key for key in rows[0].settings if key == "age" or len({row.settings[key] for row in rows}) > 1]
    table = titled_table("", [*keys, *COLUMNS, "verdict"], left=len(keys) + 1)
    for row in rows:
        cells = [cell(figure, row.figures[figure]) for figure in COLUMNS.values()]
        table.add_row(*(row.settings[key] for key in keys), *cells, row_verdict(row, plan.limits))
    moved = [row for row in rows if row.case.migrates]
    return [table, _migrations(keys, moved)] if moved else [table]


def _migrations(keys: Sequence[str], rows: Sequence[ReclaimRow]) -> RichTable:
    keys = [key for key in keys if key != "migration"]
    table = titled_table("Migrations", [*keys, "completed", *MIGRATION_COLUMNS], left=len(keys) + 1)
    for row in rows:
        cells = [cell(figure, row.figures[figure]) for figure in MIGRATION_COLUMNS.values()]
        done = f"{row.n_completed} of {row.figures['migration_ns'].n}"
        table.add_row(*(row.settings[key] for key in keys), done, *cells)
    return table


def reclaim_caption(plan: ReclaimPlan, options: ReclaimOptions) -> str:
    """What is the same for all rows."""
    same = {key: getattr(options, key) for key in ("memory", "used", "vcpus", "load", "rate", "writes", "era", "sheet")}
    if options.during_migration:
        same["bandwidth"] = options.bandwidth
    seeds = f"seed {plan.seeds[0]}" if len(plan.seeds) == 1 else f"{len(plan.seeds)} seeds from {plan.seeds[0]}; {method()}"
    return ", ".join(f"{key}={value}" for key, value in same.items()) + f"; {seeds}"
