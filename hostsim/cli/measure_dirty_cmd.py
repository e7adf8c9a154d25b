"""``hostsim measure-dirty``: bias, spread and cost of calc-dirty-rate, and the forecast that is made from it."""

from __future__ import annotations

import typer

from hostsim.cli.study_options import Printing, add_study, run_rows, say_scenarios, show_study
from hostsim.study.dirty_measure.options import MeasureOptions

HELP = """Measure a simulated guest's dirty rate as QEMU does, many times, and say how far the answers are off.

Compares each answer with the pages that the guest wrote, and the total time that the answer forecasts with a simulated
migration."""


def register(app: typer.Typer) -> None:
    """Add the command ``measure-dirty``."""
    add_study(app, "measure-dirty", MeasureOptions, _run, HELP, "Say how far a measured dirty rate can be trusted.")


def _run(options: MeasureOptions, printing: Printing) -> None:
    """Run the measurements, write the files, and print the results."""
    from hostsim.report.measure_dirty_report import caption, measure_content, measure_data, measure_table, write_measure
    from hostsim.study.dirty_measure.outcome import measure_rows
    from hostsim.study.dirty_measure.plan import measure_plan
    from hostsim.study.sizing import measure_size

    plan, out = measure_plan(options), printing.folder
    if printing.show_scenario:
        n = len(plan.plan.seeds)
        labels = [", ".join(row.values()) for row in plan.rows] + ["the migration"]
        say_scenarios((label, plan.plan.runs[i * n].scenario.resolved()) for i, label in enumerate(labels))
        return
    rows, truth = measure_rows(plan, run_rows(plan.plan, measure_size, printing))
    content = measure_content(plan, options, rows, truth)
    paths = [] if out is None else write_measure(out, content, rows)
    paths += printing.reports.of_study("measure-dirty", content, {})
    text = caption(plan, options, rows)
    show_study(printing.form, content, [measure_table(rows)], text, measure_data(rows), paths, wide=printing.wide)
