"""``hostsim age``: the cost of page ageing to a guest, and the quality of its estimate."""

from __future__ import annotations

import typer

from hostsim.cli.study_options import Telling, add_study, tell
from hostsim.study.ageing.options import AgeOptions

HELP = """Age a guest's memory by a policy, and tell what that costs the guest and what it sees.

Lists are separated by commas; every combination is a row. Each runs beside the same guest without ageing."""


def register(app: typer.Typer) -> None:
    """Add the command ``age``."""
    short = "What page ageing costs a guest, and what it sees."
    add_study(app, "age", AgeOptions, _run, HELP, short, resumes=True)


def _run(options: AgeOptions, telling: Telling) -> None:
    """Run the study, write its files, and print its results."""
    from hostsim.cli.run_plan import Options, run_what_is_left
    from hostsim.report import console
    from hostsim.report.age_report import age_content, age_csv, age_table, caption, write_age
    from hostsim.report.compare_progress import say_size
    from hostsim.results.store import prepare_folder
    from hostsim.scenario.toml_text import scenario_text
    from hostsim.study.ageing.outcome import age_rows
    from hostsim.study.ageing.preset import age_plan, age_tables
    from hostsim.study.compare.runner import failed_error
    from hostsim.study.sizing import age_size

    plan = age_plan(options)
    if telling.show_scenario:
        console.say_raw("\n".join(f"# {label}\n{scenario_text(table)}" for label, table in age_tables(options)))
        return
    out = telling.folder
    if out is not None:
        prepare_folder(out)
    say_size(age_size(plan.plan.runs, telling.workers), quiet=telling.silent)
    asked = Options(telling.workers, force=telling.force, quiet=telling.silent)
    outcome = run_what_is_left(plan.plan, asked, out)
    if (failed := failed_error(plan.plan, outcome)) is not None:
        raise failed
    rows = age_rows(plan, outcome.figures)
    content = age_content(plan, options, rows)
    paths = [] if out is None else write_age(out, content, rows, plan.varied())
    text = caption(plan, options, rows)
    tell(telling.told_as, content, [age_table(rows, plan.varied())], text, age_csv(rows), paths, wide=telling.wide)
