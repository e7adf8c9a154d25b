"""``hostsim watch``: a live view of a run, of a comparison, or of the migration of a live QEMU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hostsim.cli.options import JsonFlag
from hostsim.cli.record_cmd import FollowFlag, ForOption, IntervalOption, duration_ns_of, wanted_of
from hostsim.core.errors import InputError, Problem

if TYPE_CHECKING:
    from hostsim.report.watch_display import Show

HELP = """Watch a migration while it runs: remaining memory, rates, throttle, and a forecast of its end.

TARGET is a scenario, which is simulated; or a study; or the folder of a `compare` or `sweep` that another process runs.
With --qmp, hostsim watches the migration of a live QEMU, and changes nothing in it.

If standard output is not a terminal, hostsim prints a line each second (--every) and at each iteration."""
EVERY_LEAST_NS = 50_000_000

TargetArgument = Annotated[
    str | None, typer.Argument(metavar="TARGET", help="A scenario, a study, or a folder of runs.", show_default=False)
]
QmpOption = Annotated[
    str | None,
    typer.Option("--qmp", metavar="SOCKET", help="A live QEMU's monitor: a path, or HOST:PORT.", show_default=False),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a key of the scenario; repeatable.")
]
SeedOption = Annotated[int | None, typer.Option(help="Seed of all draws; default: the scenario's.", show_default=False)]
EveryOption = Annotated[str, typer.Option(metavar="TIME", help="Time from one printed line to the next.")]
OutOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The folder with the runs of a study.", show_default="out/<study>")
]
WATCHED_BY = {"--qmp": ("--interval", "--for", "--follow"), "scenario": ("--set", "--seed"), "study": ("--out",)}
"""Options that go with one kind of target only."""


def register(app: typer.Typer) -> None:
    """Add the command ``watch``."""
    app.command("watch", help=HELP, short_help="Watch a run, a sweep, or a live QEMU.")(watch_command)


def watch_command(
    target: TargetArgument = None,
    *,
    qmp: QmpOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    every: EveryOption = "1s",
    interval: IntervalOption = "200ms",
    limit: ForOption = None,
    follow: FollowFlag = False,
    out: OutOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Watch a live QEMU, a scenario that is simulated, or the runs of a study."""
    from hostsim.report.watch_display import watch_display

    given = {
        "--set": bool(overrides), "--seed": seed is not None, "--out": out is not None, "--for": limit is not None,
        "--follow": follow, "--interval": interval != "200ms",
    }  # fmt: skip
    kind = _kind(target, qmp, given)
    every_s = duration_ns_of("--every", every, EVERY_LEAST_NS, 3600 * 10**9, "from 50ms to 1h") / 1e9
    if kind == "--qmp":
        wanted = wanted_of(str(qmp), interval, limit, follow=follow)
    elif kind == "scenario":
        scenario = _scenario(str(target), tuple(overrides or ()), seed, quiet=as_json)
    else:
        folder, finished = _study(Path(str(target)), kind, out)
    with watch_display(as_json=as_json, every_s=every_s) as show:
        if kind == "--qmp":
            _watch_qmp(wanted, show, as_json=as_json)
            return
        if kind == "scenario":
            result = _watch_scenario(scenario, show)
        else:
            _watch_study(folder, finished, show, every_s)
            return
    if not as_json:
        _say_verdict(result)


def _kind(target: str | None, qmp: str | None, given: dict[str, bool]) -> str:
    """The kind of ``target``: "--qmp", scenario, study or folder. InputError if it is not clear."""
    if (target is None) == (qmp is None):
        got = "both" if target else "neither"
        wanted = "either a scenario, a study or a folder, or --qmp SOCKET"
        raise InputError([Problem("TARGET, --qmp", "", got, wanted, "hostsim watch scenarios/precopy_convergence.toml")])
    kind = "--qmp" if target is None else _kind_of(Path(target))
    others = {name: other for other, names in WATCHED_BY.items() for name in names if other != kind}
    problems = [
        Problem(name, "", f"it with {target or '--qmp'}", f"it with {'--qmp' if other == '--qmp' else f'a {other}'} only")
        for name, other in others.items()
        if given.get(name)
    ]
    if problems:
        raise InputError(problems)
    return kind


def _kind_of(path: Path) -> str:
    from hostsim.core.user_files import SCENARIO, read_toml
    from hostsim.scenario.catalogue import found_file

    if path.is_dir():
        return "folder"
    return "study" if "vary" in read_toml(found_file(path), SCENARIO) else "scenario"


def _scenario(target: str, overrides: tuple[str, ...], seed: int | None, *, quiet: bool) -> Any:
    from hostsim.cli.options import refuse_same_keys
    from hostsim.cli.warm_up_cmd import prepare
    from hostsim.scenario import load_scenario
    from hostsim.scenario.catalogue import found_file
    from hostsim.simulation import kinds_of

    refuse_same_keys(overrides, seed)
    scenario = load_scenario(found_file(Path(target)), overrides=overrides, seed=seed)
    prepare(kinds_of(scenario), quiet=quiet)
    return scenario


def _study(path: Path, kind: str, out: Path | None) -> Any:
    from hostsim.cli.run_scenario import folder_name
    from hostsim.study.compare.plan import make_plan
    from hostsim.study.compare.plan_file import Finished, planned_runs, read_plan
    from hostsim.study.compare.study_file import load_study

    if kind == "folder":
        return path, Finished(path, read_plan(path))
    folder = out or Path("out") / folder_name(path.stem)
    return folder, Finished(folder, planned_runs(make_plan(load_study(path))))


def _watch_qmp(wanted: Any, show: Show, *, as_json: bool) -> None:
    from hostsim.report import console
    from hostsim.report.watch_live import watch_qmp

    in_view = not as_json and console.out_console().is_terminal
    watch_qmp(wanted, show, None if in_view else console.note)


def _watch_scenario(scenario: Any, show: Show) -> Any:
    from hostsim.report.watch_live import watch_scenario

    return watch_scenario(scenario, show)


def _watch_study(folder: Path, finished: Any, show: Show, every_s: float) -> None:
    from hostsim.report.watch_study import watch_folder

    watch_folder(folder, finished, show, every_s)


def _say_verdict(result: Any) -> None:
    from hostsim.report import console
    from hostsim.report.verdict_texts import verdict_texts

    console.say([""])
    for text in verdict_texts(result, "text"):
        console.say_verdict([*text.strip("\n").splitlines(), ""])
