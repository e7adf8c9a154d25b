"""``hostsim age``: the cost of page ageing to a guest, and the quality of its estimate."""

from __future__ import annotations

import typer

from hostsim.cli.study_options import Printing, add_study, run_rows, say_scenarios, show_study
from hostsim.study.ageing.options import AgeOptions

HELP = """Age a guest's memory with a policy; measure the cost to the guest and the error of the working set.

Separate the items of a list by commas; every combination is a row. Each is compared with the same guest without ageing."""


def register(app: typer.Typer) -> None:
    """Add the command ``age``."""
    short = "Measure the cost of page ageing to a guest, and its error."
    add_study(app, "age", AgeOptions, _run, HELP, short)


def _run(options: AgeOptions, printing: Printing) -> None:
    """Run the study, write its files, and print its results."""
    from hostsim.report.age_report import age_content, age_data, age_table, age_tables_of, caption, write_age
    from hostsim.study.ageing.outcome import age_rows
    from hostsim.study.ageing.preset import age_plan, age_tables
    from hostsim.study.sizing import age_size

    plan, out = age_plan(options), printing.folder
    if printing.show_scenario:
        say_scenarios(age_tables(options))
        return
    rows = age_rows(plan, run_rows(plan.plan, age_size, printing))
    content = age_content(plan, options, rows)
    paths = [] if out is None else write_age(out, content, rows)
    paths += printing.reports.of_study("age", content, age_tables_of(rows))
    text = caption(plan, options, rows)
    show_study(printing.form, content, [age_table(rows, plan.varied())], text, age_data(rows), paths, wide=printing.wide)
