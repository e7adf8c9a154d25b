"""``hostsim explain``: the verdict on a real migration, from its log."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hostsim.report.console import say, say_raw

if TYPE_CHECKING:
    from hostsim.logs import MigrationLog
    from hostsim.verdict import Verdict

LogArgument = Annotated[
    str,
    typer.Argument(
        metavar="LOG",
        help="Polled query-migrate answers (JSON), virsh domjobinfo or info migrate; - is standard input.",
    ),
]
TagOption = Annotated[str | None, typer.Option(help="Only the migration of this tag, where a log holds several.")]
LimitOption = Annotated[str | None, typer.Option(help="downtime-limit that was set, as 300ms.")]
BandwidthOption = Annotated[str | None, typer.Option(help="max-bandwidth that was set, as 32MiB/s, or unlimited.")]
LinkOption = Annotated[str | None, typer.Option(help="Bandwidth of the link, as 10Gbit/s.")]
ProfileOption = Annotated[str, typer.Option(help="Whose commands to name: qemu, libvirt, nova, kubevirt, proxmox.")]
FormatOption = Annotated[Literal["text", "markdown"], typer.Option("--format", help="text or markdown.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Only JSON: a list, one verdict for each migration.")]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("explain")(explain)


def explain(
    log: LogArgument,
    tag: TagOption = None,
    downtime_limit: LimitOption = None,
    bandwidth: BandwidthOption = None,
    link: LinkOption = None,
    profile: ProfileOption = "qemu",
    style: FormatOption = "text",
    as_json: JsonOption = False,
) -> None:
    """Say whether a real migration converges, why not, and which single change would help."""
    from hostsim.logs import read_logs
    from hostsim.verdict import diagnose, evidence_from_log

    known = _known(downtime_limit, bandwidth, link, profile)
    logs = read_logs(log, tag)
    verdicts = [diagnose(evidence_from_log(one, **known)) for one in logs]
    _show_json(logs, verdicts) if as_json else _show(logs, verdicts, style)


def _known(limit: str | None, bandwidth: str | None, link: str | None, profile: str) -> dict[str, Any]:
    """What the options tell, all of their errors at once. Raises InputError."""
    from hostsim.errors import InputError
    from hostsim.units import parse_bandwidth, parse_duration

    problems = _profile_problems(profile)
    known: dict[str, Any] = {"profile": profile}
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


def _profile_problems(profile: str) -> list[Any]:
    from hostsim.errors import Problem
    from hostsim.scenario.profiles import PROFILES

    wanted = f"one of: {', '.join(PROFILES)}"
    return [] if profile in PROFILES else [Problem("--profile", "", profile, wanted, "--profile libvirt")]


def _show(logs: tuple[MigrationLog, ...], verdicts: list[Verdict], style: Literal["text", "markdown"]) -> None:
    from hostsim.verdict import render

    for i, (log, verdict) in enumerate(zip(logs, verdicts, strict=True)):
        title = [""] * (i > 0) + [_title(log.tag, style)]
        say([*(title if len(logs) > 1 else ()), render(verdict, style)])


def _title(tag: str, style: str) -> str:
    return f"### {tag}" if style == "markdown" else f"[{tag}]"


def _show_json(logs: tuple[MigrationLog, ...], verdicts: list[Verdict]) -> None:
    pairs = zip(logs, verdicts, strict=True)
    say_raw(json.dumps([{"tag": log.tag, "format": log.format, **v.to_dict()} for log, v in pairs], indent=2) + "\n")
