"""``hostsim whatif``: a migration that has not taken place, for the guest of a log."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from hostsim.cli.explain_cmd import LimitOption, LinkOption, TagOption
from hostsim.cli.fit_cmd import FolderOption, LogsArgument, MemoryOption, MigrationOption, check_out, known_figures
from hostsim.cli.forms import DATA, FormOption, form_of, say_data
from hostsim.cli.options import EVERY_MODE, HtmlOption, JsonFlag, PlotOption, QuietFlag, WideFlag
from hostsim.cli.report_files import ReportFiles
from hostsim.cli.study_options import WorkersOption

if TYPE_CHECKING:
    from hostsim.fitting.whatif import Drawn
    from hostsim.study.predict.prediction import Prediction

HELP = """Predict the migration of the guest in a log under other settings.

Fits the log (hostsim fit), changes the settings, and runs the migration. Each run draws another guest within the errors of
the fit, so the intervals include the uncertainty of the log."""

SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a key of the fitted scenario; repeatable.")
]
CarriesOption = Annotated[
    str,
    typer.Option(
        "--bandwidth",
        metavar="RATE",
        help="Bandwidth of another link, with max-bandwidth unlimited: 25Gbit.",
        show_default=False,
    ),
]
SetBandwidthOption = Annotated[
    str | None,
    typer.Option(
        "--log-bandwidth", help="The max-bandwidth that was set when the log was written: 32MiB/s.", show_default=False
    ),
]
ModeOption = Annotated[
    str,
    typer.Option(
        "--mode",
        metavar="MODE",
        show_default=False,
        help=f"Mechanism, as in compare --modes: {EVERY_MODE}; or stop-and-copy.",
    ),
]
EndsOption = Annotated[
    str, typer.Option("--load-ends", metavar="TIME", help="The guest stops writing after this time.", show_default="never")
]
SeedOption = Annotated[int, typer.Option(help="Seed of the guests that are drawn, and of the first run.")]
RepsOption = Annotated[
    int | None,
    typer.Option(
        "--reps", metavar="K", min=1, help="Number of runs; each draws another guest.", show_default="30, fewer if large"
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command ``whatif``."""
    app.command("whatif", help=HELP, short_help="Predict a log's guest under other settings.")(whatif_command)


def whatif_command(
    logs: LogsArgument,
    *,
    overrides: SetOption = None,
    bandwidth: CarriesOption = "",
    mode: ModeOption = "",
    load_ends: EndsOption = "",
    tag: TagOption = None,
    migration: MigrationOption = None,
    downtime_limit: LimitOption = None,
    log_bandwidth: SetBandwidthOption = None,
    link: LinkOption = None,
    memory: MemoryOption = None,
    seed: SeedOption = 1,
    reps: RepsOption = None,
    workers: WorkersOption = None,
    html: HtmlOption = None,
    plot: PlotOption = None,
    out: FolderOption = None,
    as_json: JsonFlag = False,
    style: FormOption = "text",
    wide: WideFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Predict a migration of the guest in a log under other settings."""
    from hostsim.fitting.fitted import fit
    from hostsim.fitting.whatif import Change, drawn_scenarios
    from hostsim.report import console
    from hostsim.report.fit_report import fit_report, whatif_content, write_fit
    from hostsim.report.html.kinds.parts import given_command, options_words
    from hostsim.report.predict_report import estimates_table, figures_grid

    reports, form = ReportFiles(html, plot), form_of(style, as_json=as_json)
    reports.check()
    check_out(out)
    known = known_figures(downtime_limit, log_bandwidth, link)
    fitted = fit(*logs, tag=tag, migration=migration, seed=seed, memory=memory, **known)
    change = Change(tuple(overrides or ()), bandwidth, mode, load_ends)
    drawn = drawn_scenarios(fitted, change, seed)
    found = _predict(drawn, reps, workers, quiet=quiet or form in DATA, name=fitted.name)
    told = whatif_content(found, fitted, change)
    asked = {"set": overrides, "bandwidth": bandwidth, "mode": mode, "load-ends": load_ends}
    options = {"tag": tag, "migration": migration, "downtime-limit": downtime_limit, "log-bandwidth": log_bandwidth,
               "link": link, "memory": memory, "seed": seed if seed != 1 else None, "reps": reps}  # fmt: skip
    more = {"asked": options_words(asked), "command": given_command("whatif", logs, asked | options)}
    content = fit_report("whatif", fitted, told | more, seed)
    paths = [] if out is None else write_fit(out, content, told["verdict"], estimates_table(found))
    paths += reports.write(lambda: content)
    if say_data(form, told, lambda: estimates_table(found)):
        return
    console.say_verdict(told["verdict"], markdown=form == "markdown")
    console.say([""])
    console.show(figures_grid(found.estimates), markdown=form == "markdown", wide=wide)
    console.say(f"wrote {path}" for path in paths)


def _predict(drawn: Drawn, reps: int | None, workers: int | None, *, quiet: bool, name: str) -> Prediction:
    from hostsim.cli.warm_up_cmd import prepare
    from hostsim.report.progress import compare_progress
    from hostsim.simulation import kinds_of
    from hostsim.study.predict.bench import Bench
    from hostsim.study.predict.predict import predict_drawn
    from hostsim.study.predict.replications import Wanted

    prepare(kinds_of(drawn(0)), quiet=quiet)
    with ExitStack() as stack:
        show = stack.enter_context(compare_progress(quiet=quiet))
        return predict_drawn(drawn, Wanted(reps, guests_differ=True), Bench(workers, None, show), name)
