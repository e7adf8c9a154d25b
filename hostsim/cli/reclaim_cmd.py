"""``hostsim reclaim``: how much memory can be reclaimed at a latency budget, and whether a migration breaks it."""

from __future__ import annotations

import typer

from hostsim.cli.study_options import Telling, add_study, tell
from hostsim.cli.warm_up_cmd import prepare
from hostsim.study.reclaim.options import ReclaimOptions

HELP = """Page out what a guest has not used for an age; tell what that frees, what it costs, and which age is safe.

Each age runs beside the same guest without reclaim. --during-migration runs all of it again while the VM migrates."""


def register(app: typer.Typer) -> None:
    """Add the command ``reclaim``."""
    add_study(app, "reclaim", ReclaimOptions, _run, HELP, "How much memory can go at a latency budget.")


def _run(options: ReclaimOptions, telling: Telling) -> None:
    """Run the study, write its files, and print its results."""
    from hostsim.report.compare_progress import compare_progress, say_size
    from hostsim.report.reclaim_report import (
        reclaim_caption,
        reclaim_content,
        reclaim_csv,
        reclaim_tables,
        write_reclaim,
    )
    from hostsim.results.store import prepare_folder
    from hostsim.study.reclaim.outcome import run_reclaim
    from hostsim.study.reclaim.preset import reclaim_plan
    from hostsim.study.sizing import reclaim_size

    plan, out = reclaim_plan(options), telling.folder
    if out is not None:
        prepare_folder(out)
    prepare(("kvm", "ageing", "memory"), quiet=telling.silent)
    say_size(reclaim_size(plan.cases, len(plan.seeds), telling.workers), quiet=telling.silent)
    with compare_progress(quiet=telling.silent) as show:
        rows = run_reclaim(plan, telling.workers, show)
    content = reclaim_content(plan, options, rows)
    paths = [] if out is None else write_reclaim(out, plan, content, rows)
    caption = reclaim_caption(plan, options)
    tell(telling.told_as, content, reclaim_tables(plan, rows), caption, reclaim_csv(plan, rows), paths, wide=telling.wide)
