"""``hostsim calibrate``: the cost sheet of this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from hostsim.cli.options import AsRootFlag, HtmlOption, JsonFlag, PlotOption, QuietFlag
from hostsim.cli.report_files import ReportFiles

if TYPE_CHECKING:
    from hostsim.measure.calibrate.calibration import Calibration, Measured, Progress
    from hostsim.measure.kvm.calibrate_kvm import KvmCalibration
    from hostsim.measure.privileged.measures import AsRoot
    from hostsim.report.columns import Grid

HELP = """Measure the costs of memory accesses on this machine, and write a cost sheet.

Measures the latency of each cache and of memory, stores, atomics, zeroing, copying. With --kvm it also measures faults,
exits, flushes and the dirty log of this host's KVM, with a tiny guest; with --as-root also ageing and swap-ins. Numbers that
cannot be measured come from another sheet (--base) and are marked as assumed."""
SUFFIX = ".toml"


def register(app: typer.Typer) -> None:
    """Add the command ``calibrate``."""
    app.command("calibrate", help=HELP, short_help="Measure this machine and write a cost sheet.")(calibrate_command)


def calibrate_command(
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The cost sheet to write; its name ends in .toml.")] = Path(
        "out/costs.toml"
    ),
    base: Annotated[
        str, typer.Option(metavar="SHEET", help="Sheet that supplies the numbers that cannot be measured.")
    ] = "cascade-lake",
    quick: Annotated[bool, typer.Option("--quick", help="Measure with fewer repetitions, in a few seconds.")] = False,
    kvm: Annotated[
        bool, typer.Option("--kvm", help="Also measure KVM, through /dev/kvm; needs x86-64 Linux, not root.")
    ] = False,
    busy: Annotated[
        bool, typer.Option("--busy", help="With --kvm: accept a machine on which other processes work.")
    ] = False,
    as_root: AsRootFlag = False,
    swap: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE",
            help="With --as-root: also measure swap-ins; 'present': from the swap in use, 'zram': from a new zram.",
        ),
    ] = None,
    html: HtmlOption = None,
    plot: PlotOption = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Measure this machine, write its cost sheet, print the numbers."""
    from hostsim.measure.calibrate.calibration import calibrate, check_options
    from hostsim.measure.calibrate.sheet_text import as_object, sheet_text

    check_options(base)
    asked = _asked_of_root(kvm=kvm, as_root=as_root, swap=swap)
    reports = ReportFiles(html, plot)
    reports.check()
    _check_place(out)
    with _progress(quiet=quiet or as_json) as progress:
        real = _measure_kvm(quick=quick, busy=busy, as_root=asked, progress=progress) if kvm else None
        found = calibrate(base, quick=quick, progress=progress)
    if real:
        from hostsim.measure.kvm.calibrate_kvm import with_kvm

        found = with_kvm(found, real)
    _write(out, sheet_text(found))
    paths = reports.of_object("calibrate", as_object(found, str(out)))
    if as_json:
        from hostsim.report.console import say_raw

        say_raw(json.dumps(as_object(found, str(out)), indent=2) + "\n")
    else:
        _print_result(found, out, paths)


def _asked_of_root(*, kvm: bool, as_root: bool, swap: str | None) -> AsRoot | None:
    """InputError or KvmError before anything is measured."""
    if not as_root and swap is None:
        return None
    from hostsim.measure.privileged.measures import check_options

    return check_options(kvm=kvm, as_root=as_root, swap=swap)


def _measure_kvm(*, quick: bool, busy: bool, as_root: AsRoot | None, progress: Progress | None) -> KvmCalibration:
    """Measure KVM, before all else: an error about a missing device comes first."""
    from hostsim.measure.kvm.calibrate_kvm import calibrate_kvm
    from hostsim.measure.kvm.device import Kvm

    with Kvm.open() as device:
        return calibrate_kvm(device, quick=quick, busy=busy, as_root=as_root, progress=progress)


def _check_place(out: Path) -> None:
    """InputError or OutputError before anything is measured."""
    from hostsim.core.errors import InputError, OutputError, Problem
    from hostsim.results.aside import check_folder

    if out.suffix != SUFFIX:
        raise InputError([Problem("", "--out", str(out), f"a file whose name ends in {SUFFIX}", "--out my-host.toml")])
    if out.is_dir():
        raise OutputError(f"{out}: cannot write: a folder stands where the file should go")
    check_folder(out.parent)


def _write(out: Path, text: str) -> None:
    """Write the whole file; on OutputError an earlier file stays as it was."""
    from hostsim.core.errors import OutputError
    from hostsim.results.aside import write_files

    try:
        write_files(out.parent, {out.name: text.encode()})
    except OutputError as error:
        place, _, reason = str(error).partition(": cannot write: ")
        raise OutputError(f"{out if place == str(out.parent) else place}: cannot write: {reason}") from error


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Progress | None]:
    """A bar on standard error; None where it is silent."""
    from hostsim.report.console import err_console

    console = err_console()
    if quiet or not console.is_terminal:
        yield None
        return
    from rich.progress import Progress as Bar

    with Bar(console=console, transient=True) as bar:
        task = bar.add_task("starting")
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def _print_result(found: Calibration, out: Path, paths: Sequence[Path]) -> None:
    from hostsim.report.console import say, show

    say([found.machine.title, ""])
    show(_table(found))
    if found.notes:
        say(["", *(part for line in found.notes for part in _wrapped(line))])
    say(["", *_remarks(found), f"wrote {out}; its other numbers are assumed: those of {found.base}"])
    say(f"wrote {path}" for path in paths)


def _wrapped(line: str) -> list[str]:
    """Lines of a note, no wider than a table."""
    from hostsim.report.console import PLAIN_WIDTH

    indent = " " * (len(line) - len(line.lstrip()))
    return wrap(line, PLAIN_WIDTH, subsequent_indent=f"{indent}  ") or [""]


def _remarks(found: Calibration) -> Iterator[str]:
    again = "run again while nothing else runs"
    if found.unseen:
        yield f"not distinguishable, so assumed: {', '.join(found.unseen)}; {again}"
    if found.noisy:
        yield f"repetitions lie far apart: {', '.join(found.noisy)}; {again}"


def _table(found: Calibration) -> Grid:
    from hostsim.report.columns import Column, Role, grid_of

    def how(number: Measured) -> str:
        told = number.source.partition(": ")[2] if number.spread is not None else number.source.partition(" (")[0]
        return told.removeprefix(f"{found.date}: ")

    columns = [
        Column("name", "number", role=Role.KEY, of=lambda number: number.name),
        Column("value", "value", of=lambda number: f"{number.value:.12g}"),
        Column("spread", "spread", of=lambda number: "" if number.spread is None else f"{100 * number.spread:.1f} %"),
        Column("how", "how", prose=True, of=how),
    ]
    return grid_of(columns, found.numbers)
