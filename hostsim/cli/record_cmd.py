"""``hostsim record``: the migrations of a live QEMU, polled into a log that ``hostsim explain`` reads."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hostsim.cli.options import QuietFlag
from hostsim.report import console

if TYPE_CHECKING:
    from hostsim.measure.live.recording import Recording, Wanted

HELP = """Record the migrations of a live QEMU into a log that `hostsim explain` reads.

Polls the monitor at SOCKET and changes nothing in the VM. Waits until a migration begins, and stops when it ends."""
STANDARD_OUTPUT = Path("-")
INTERVAL_LEAST_NS = 10_000_000
"""Each poll takes QEMU's main lock three times for some microseconds."""

QmpOption = Annotated[
    str, typer.Option("--qmp", metavar="SOCKET", help="QEMU's monitor: a path, or HOST:PORT.", show_default=False)
]
IntervalOption = Annotated[str, typer.Option(metavar="TIME", help="Time from one poll to the next.")]
ForOption = Annotated[
    str | None, typer.Option("--for", metavar="TIME", help="Stop after this time.", show_default="no limit")
]
FollowFlag = Annotated[bool, typer.Option("--follow", help="When a migration has ended, wait for the next.")]
OutOption = Annotated[
    Path, typer.Option("--out", metavar="FILE", help="The log. Lines are appended if the file exists; - is standard output.")
]
RateOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME,TIME...",
        help="Send calc-dirty-rate with these calc-times before a migration.",
        show_default="not sent",
    ),
]
ModeOption = Annotated[
    str,
    typer.Option(
        "--dirty-rate-mode", metavar="MODE", help="Mode of calc-dirty-rate: page-sampling, dirty-bitmap or dirty-ring."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command ``record``."""
    app.command("record", help=HELP, short_help="Record the migrations of a live QEMU.")(record_command)


def record_command(
    *,
    qmp: QmpOption,
    interval: IntervalOption = "200ms",
    limit: ForOption = None,
    follow: FollowFlag = False,
    out: OutOption = Path("out/migration.jsonl"),
    dirty_rate: RateOption = None,
    mode: ModeOption = "page-sampling",
    quiet: QuietFlag = False,
) -> None:
    """Record the migrations of a live QEMU, on standard output or into a file."""
    from hostsim.measure.live.recording import Recording

    wanted = wanted_of(qmp, interval, limit, follow=follow, windows=dirty_rate, mode=mode)
    recording = Recording(wanted, console.note)
    to_file = out != STANDARD_OUTPUT
    try:
        _record(recording, out if to_file else None, quiet=quiet)
    except KeyboardInterrupt:
        _print_end(recording, out, to_file=to_file)
        raise
    _print_end(recording, out, to_file=to_file)


def _record(recording: Recording, out: Path | None, *, quiet: bool) -> None:
    from hostsim.report.progress import record_progress

    with ExitStack() as stack:
        put = _to_file(stack, out) if out else _to_standard_output
        show = stack.enter_context(record_progress(quiet=quiet or out is None))
        for line in recording.lines():
            put(line)
            show(recording.status, recording.answers, line)


def _to_file(stack: ExitStack, path: Path) -> Callable[[dict[str, Any]], None]:
    """A function that adds a line to the file; the file is made with the first line."""
    from hostsim.measure.live.line_file import LineFile

    opened: list[LineFile] = []

    def put(line: dict[str, Any]) -> None:
        if not opened:
            opened.append(stack.enter_context(LineFile(path)))
        opened[0].put(line)

    return put


def _to_standard_output(line: dict[str, Any]) -> None:
    from hostsim.measure.live.line_file import line_of

    console.say_raw(line_of(line).decode())


def _print_end(recording: Recording, out: Path, *, to_file: bool) -> None:
    if not to_file:
        return
    answers = "1 answer" if recording.answers == 1 else f"{recording.answers} answers"
    if recording.end == "time" and recording.status not in ("none", "completed", "failed", "cancelled"):
        console.note(f"the time is over, and the migration is still {recording.status}")
    if recording.answers:
        console.say([f"{answers} about the migration ({recording.status}) in {out}", "", f"hostsim explain {out}"])
    else:
        console.say([f"no migration was seen; {out} has QEMU's answers about itself"])


def wanted_of(
    qmp: str, interval: str, limit: str | None, *, follow: bool = False, windows: str | None = None,
    mode: str = "page-sampling",
) -> Wanted:  # fmt: skip
    """The recording that the options ask for. InputError.

    qmp: address of the monitor. interval: from poll to poll, 10ms to 1h.
    limit: length of the recording, None: no limit. follow: record the next migration, too.
    windows: of calc-dirty-rate, as "100ms,1s", 50ms to 60s each; None: it is not sent. mode: of calc-dirty-rate.
    """
    from hostsim.core.errors import InputError, Problem
    from hostsim.measure.live import dirty_rates
    from hostsim.measure.live.recording import Wanted

    every_ns = duration_ns_of("--interval", interval, INTERVAL_LEAST_NS, 3600 * 10**9, "from 10ms to 1h")
    for_ns = None if limit is None else duration_ns_of("--for", limit, 1, 10**18, "more than 0")
    measured = (dirty_rates.SHORTEST_NS, dirty_rates.LONGEST_NS, "windows from 50ms to 60s")
    texts = () if windows is None else windows.split(",")
    windows_ns = tuple(duration_ns_of("--dirty-rate", text.strip(), *measured) for text in texts)
    if mode not in dirty_rates.MODES:
        raise InputError([Problem("--dirty-rate-mode", "", mode, f"one of: {', '.join(dirty_rates.MODES)}")])
    return Wanted(qmp, every_ns / 1e9, None if for_ns is None else for_ns / 1e9, follow, windows_ns, mode)


def duration_ns_of(option: str, text: str, least_ns: int, most_ns: int, wanted: str) -> int:
    """The time that ``option`` gives [ns]; wanted: the times from ``least_ns`` to ``most_ns`` in words. InputError."""
    from hostsim.core.errors import InputError, Problem
    from hostsim.core.units import parse_duration

    try:
        ns = parse_duration(text)
    except InputError as error:
        raise InputError([replace(problem, file=option) for problem in error.problems]) from None
    if not least_ns <= ns <= most_ns:
        raise InputError([Problem(option, "", text, wanted, f"{option} 1s")])
    return ns
