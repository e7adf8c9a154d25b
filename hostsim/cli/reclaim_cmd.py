"""``hostsim reclaim``: how much memory can be reclaimed at a latency budget, and whether a migration breaks it."""

from __future__ import annotations

import typer

from hostsim.cli.study_options import Printing, add_study, run_rows, say_scenarios, show_study
from hostsim.study.reclaim.options import ReclaimOptions

HELP = """Page out pages that a guest has not used for an age; report the memory freed, the cost, and which age is safe.

Each age is compared with the same guest without reclaim. --during-migration runs everything again while the VM migrates."""


def register(app: typer.Typer) -> None:
    """Add the command ``reclaim``."""
    add_study(app, "reclaim", ReclaimOptions, _run, HELP, "Find how much memory can be reclaimed in a latency budget.")


def _run(options: ReclaimOptions, printing: Printing) -> None:
    """Run the study, write its files, and print its results."""
    from hostsim.report.reclaim_report import (
        reclaim_caption,
        reclaim_content,
        reclaim_data,
        reclaim_tables,
        reclaim_tables_of,
        write_reclaim,
    )
    from hostsim.study.reclaim.outcome import reclaim_rows
    from hostsim.study.reclaim.preset import reclaim_plan, reclaim_scenarios
    from hostsim.study.sizing import reclaim_size

    plan, out = reclaim_plan(options), printing.folder
    if printing.show_scenario:
        say_scenarios(reclaim_scenarios(options))
        return
    rows = reclaim_rows(plan, run_rows(plan.plan, reclaim_size, printing))
    content = reclaim_content(plan, options, rows)
    paths = [] if out is None else write_reclaim(out, plan, content, rows)
    paths += printing.reports.of_study("reclaim", content, reclaim_tables_of(plan, rows))
    caption = reclaim_caption(plan, options)
    tables = reclaim_tables(plan, rows)
    show_study(printing.form, content, tables, caption, reclaim_data(plan, rows), paths, wide=printing.wide)
