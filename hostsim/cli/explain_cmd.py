"""``hostsim explain``: the verdict on a real migration, from its log."""

from __future__ import annotations

import json
from dataclasses import replace
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hostsim.cli.options import HtmlOption, PlotOption
from hostsim.cli.report_files import ReportFiles
from hostsim.logs.forms import HELP
from hostsim.report.console import say, say_raw, say_verdict

if TYPE_CHECKING:
    from hostsim.logs.model import MigrationLog
    from hostsim.verdict import Verdict

LogArgument = Annotated[
    str,
    typer.Argument(metavar="LOG", help=HELP),
]
TagOption = Annotated[
    str | None, typer.Option(help="Read only the migration with this tag, if the log tags several (an instance, a VM).")
]
LimitOption = Annotated[str | None, typer.Option(help="The downtime-limit that was set: 300ms.")]
BandwidthOption = Annotated[str | None, typer.Option(help="The max-bandwidth that was set: 32MiB/s, or unlimited.")]
LinkOption = Annotated[str | None, typer.Option(help="Bandwidth of the link: 10Gbit/s.")]
ProfileOption = Annotated[
    str | None,
    typer.Option(
        help="Management layer whose commands to name: qemu, libvirt, nova, kubevirt, proxmox.",
        show_default="the layer that wrote the log",
    ),
]
FormatOption = Annotated[Literal["text", "markdown"], typer.Option("--format", help="Form of the verdict.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print only JSON: a list with one verdict for each migration.")]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("explain", short_help="Say why a real migration converges, or not.")(explain)


def explain(
    log: LogArgument,
    tag: TagOption = None,
    downtime_limit: LimitOption = None,
    bandwidth: BandwidthOption = None,
    link: LinkOption = None,
    profile: ProfileOption = None,
    style: FormatOption = "text",
    as_json: JsonOption = False,
    html: HtmlOption = None,
    plot: PlotOption = None,
) -> None:
    """Say whether a real migration converges, and if not, why, and which single change would help."""
    from hostsim.logs.sniff import read_logs
    from hostsim.verdict import explain_log
    from hostsim.verdict.dirty_rate import scenario_lines

    reports = ReportFiles(html, plot)
    reports.check()
    known = _known(downtime_limit, bandwidth, link, profile)
    logs = read_logs(log, tag)
    verdicts = [explain_log(one, **known) for one in logs]
    scenarios = ["\n".join(scenario_lines(one, known.get("link_bandwidth_bytes_per_s"))) for one in logs]
    told = _json_objects(logs, verdicts, scenarios)
    paths = reports.of_object("explain", {"verdicts": told, "command": f"hostsim explain {quote(log)}"}, logs)
    if as_json:
        say_raw(json.dumps(told, indent=2) + "\n")
        return
    _show(logs, verdicts, style)
    _show_scenario(scenarios, style)
    say(line for path in paths for line in ("", f"wrote {path}"))


def _known(limit: str | None, bandwidth: str | None, link: str | None, profile: str | None = None) -> dict[str, Any]:
    """Fields of Evidence that the options give. Raises one InputError with the problems of all options."""
    from hostsim.core.errors import InputError
    from hostsim.core.units import parse_bandwidth, parse_duration

    problems = _profile_problems(profile)
    known: dict[str, Any] = {} if profile is None else {"profile": profile}
    for option, name, text, parse in (
        ("--downtime-limit", "downtime_limit_ms", limit, lambda text: parse_duration(text) / 1e6),
        ("--bandwidth", "max_bandwidth_bytes_per_s", bandwidth, parse_bandwidth),
        ("--link", "link_bandwidth_bytes_per_s", link, parse_bandwidth),
    ):
        try:
            known |= {} if text is None else {name: parse(text)}
        except InputError as error:
            problems += [replace(problem, file=option) for problem in error.problems]
    if problems:
        raise InputError(problems)
    return known


def _profile_problems(profile: str | None) -> list[Any]:
    from hostsim.core.errors import Problem
    from hostsim.scenario.profiles import PROFILES

    wanted = f"one of: {', '.join(PROFILES)}"
    return [] if profile is None or profile in PROFILES else [Problem("--profile", "", profile, wanted, "--profile libvirt")]


def _show(logs: tuple[MigrationLog, ...], verdicts: list[Verdict], style: Literal["text", "markdown"]) -> None:
    from hostsim.verdict import render

    if len({(log.format, log.tag, log.part) for log in logs}) > 1 and any(log.part[1] > 1 for log in logs):
        say([f"This log holds {len(logs)} migrations, each with a verdict of its own:", ""])
    forms = len({log.format for log in logs})
    for i, (log, verdict) in enumerate(zip(logs, verdicts, strict=True)):
        title = [""] * (i > 0) + [_title(_name(log, several_forms=forms > 1), style)]
        say_verdict([*(title if len(logs) > 1 else ()), *render(verdict, style).splitlines()], markdown=style == "markdown")


def _name(log: MigrationLog, *, several_forms: bool) -> str:
    """The name of a migration among several: form, tag, number and lines, as far as they differ."""
    part, parts = log.part
    first, last = log.lines
    lines = f"line {first}" if first == last else f"lines {first} to {last}"
    names = [log.format] * several_forms + [log.tag] * bool(log.tag)
    return ", ".join(names + [f"migration {part} of {parts}, {lines}"] * (parts > 1 or not names))


def _title(name: str, style: str) -> str:
    return f"### {name}" if style == "markdown" else f"[{name}]"


def _show_scenario(scenarios: list[str], style: str) -> None:
    fence = ["```"] if style == "markdown" else []
    for text in filter(None, scenarios):
        say(["", "To simulate it, write this to a file and run it as hostsim run FILE:", ""])
        say_raw("\n".join([*(["```toml"] if fence else []), text, *fence]) + "\n")


def _json_objects(logs: tuple[MigrationLog, ...], verdicts: list[Verdict], scenarios: list[str]) -> list[dict[str, Any]]:
    """The objects that --json prints, one a log."""
    return [
        {"tag": log.tag, "format": log.format, "migration": log.part[0], "migrations": log.part[1], "lines": list(log.lines),
         **verdict.to_dict(), **({"scenario": scenario} if scenario else {})}
        for log, verdict, scenario in zip(logs, verdicts, scenarios, strict=True)
    ]  # fmt: skip
