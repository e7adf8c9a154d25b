"""``hostsim kvm-selftest``: KVM's own selftests on a simulated host."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from hostsim.cli.access_tracking_cmd import HELP as ACCESS_HELP
from hostsim.cli.access_tracking_cmd import access_tracking_perf_test
from hostsim.cli.options import HtmlOption, PlotOption, StrictApp, WideFlag
from hostsim.cli.report_files import ReportFiles
from hostsim.core.errors import InputError, Problem

if TYPE_CHECKING:
    from hostsim.measure.kvm.beside import Pair
    from hostsim.measure.selftest.dirty_log_perf_test import SelftestResult
    from hostsim.measure.selftest.options import Options

HELP = """Run the phases of Linux' dirty_log_perf_test on a simulated host and print its lines.

The lines have the format of a real run, to be compared with it. Options of one letter are the selftest's own."""

VcpusOption = Annotated[int, typer.Option("-v", metavar="N", help="vCPUs.")]
SizeOption = Annotated[str, typer.Option("-b", metavar="SIZE", help="Memory of each vCPU: 10M, 3G.")]
IterationsOption = Annotated[int, typer.Option("-i", metavar="N", help="Iterations, at least 2.")]
WrittenOption = Annotated[
    str, typer.Option("-f", metavar="N", help="Write one page in N, or a share (5%), and read the others.")
]
GetOption = Annotated[
    bool, typer.Option("-g", help="No manual protect: KVM_GET_DIRTY_LOG write-protects, without KVM_CLEAR_DIRTY_LOG.")
]
SlotsOption = Annotated[int, typer.Option("-x", metavar="N", help="Number of memslots that the memory is split into.")]
SourceOption = Annotated[
    str, typer.Option("-s", metavar="TYPE", help="anonymous, anonymous_hugetlb_2mb or anonymous_hugetlb_1gb.")
]
OverlapOption = Annotated[bool, typer.Option("-o", help="All vCPUs walk the same memory.")]
RunOption = Annotated[bool, typer.Option("-e", help="vCPUs keep running while logging is disabled.")]
EraOption = Annotated[
    str | None,
    typer.Option("--era", help="Kernel: an era (E0 to E6) or a release (6.1). Default: E4; with --real, this host's."),
]
SheetOption = Annotated[str, typer.Option("--sheet", help="Cost sheet: a file, or the name of a sheet of hostsim.")]
MmuOption = Annotated[
    str | None,
    typer.Option(
        metavar="tdp|direct|shadow",
        help="MMU; direct is EPT through rmaps (tdp_mmu=N). Default: tdp; with --real, this host's.",
    ),
]
PmlOption = Annotated[bool | None, typer.Option("--pml/--no-pml", help="Page-modification logging, or write protection.")]
EagerOption = Annotated[
    bool | None,
    typer.Option(
        "--eager-split/--no-eager-split",
        help="Split huge mappings when logging starts, or in faults. Default: as kernels of the era do.",
    ),
]
AllSetOption = Annotated[
    bool,
    typer.Option(
        "--initially-all-set", help="Start with all pages dirty, and write-protect at CLEAR (as recent selftests do)."
    ),
]
RealOption = Annotated[
    bool,
    typer.Option("--real", help="Also run on this host's /dev/kvm: print real, simulated and their ratio for each phase."),
]
BusyOption = Annotated[bool, typer.Option("--busy", help="With --real: accept a machine on which other processes work.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="With --real: folder for JSON and a picture of both sides.")
]
REAL_FILE = "selftest"
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print only JSON: options, lines, and the phases with all counters.")
]


def register(app: typer.Typer) -> None:
    """Add the command ``kvm-selftest`` with its tests."""
    tests = StrictApp(no_args_is_help=True, rich_markup_mode=None)
    tests.callback()(_group)
    tests.command("dirty_log_perf_test", help=HELP, short_help="Time of faults, GET and CLEAR.")(dirty_log_perf_test)
    tests.command("access_tracking_perf_test", help=ACCESS_HELP, short_help="Time of ageing, and of access to old memory.")(
        access_tracking_perf_test
    )
    app.add_typer(tests, name="kvm-selftest", help="Run KVM's selftests on a simulated host.")


def _group() -> None:
    """Run KVM's selftests on a simulated host."""


def dirty_log_perf_test(
    *,
    vcpus: VcpusOption = 1,
    size: SizeOption = "1G",
    iterations: IterationsOption = 2,
    written: WrittenOption = "1",
    get_protects: GetOption = False,
    slots: SlotsOption = 1,
    source: SourceOption = "anonymous",
    overlap: OverlapOption = False,
    run_while_disabling: RunOption = False,
    era: EraOption = None,
    sheet: SheetOption = "cascade-lake",
    mmu: MmuOption = None,
    pml: PmlOption = None,
    eager_split: EagerOption = None,
    initially_all_set: AllSetOption = False,
    real: RealOption = False,
    busy: BusyOption = False,
    out: OutOption = None,
    html: HtmlOption = None,
    plot: PlotOption = None,
    wide: WideFlag = False,
    as_json: JsonOption = False,
) -> None:
    """Simulate dirty_log_perf_test and print the time of its phases; with ``real`` run the phases on /dev/kvm too."""
    from hostsim.measure.selftest.dirty_log_perf_test import run_selftest
    from hostsim.measure.selftest.options import Options, asked_for
    from hostsim.report.progress import work_progress

    reports = ReportFiles(html, plot)
    reports.check()
    usual = _of_this_host() if real else Usual()
    options = Options(
        vcpus, size, iterations, written, get_protects, slots, source, overlap, run_while_disabling, era or usual.era, sheet,
        mmu or usual.mmu, usual.pml if pml is None else pml, usual.eager_split if eager_split is None else eager_split,
        initially_all_set,
    )  # fmt: skip
    if real:
        _beside_real(options, busy=busy, out=out, reports=reports, wide=wide, as_json=as_json)
        return
    if out:
        raise InputError([Problem("", "--out", str(out), "--real beside it: no other run writes files", "--real --out DIR")])
    asked = asked_for(options)
    with work_progress(("kvm",), quiet=as_json):
        result = run_selftest(asked.spec, asked.plan)
    told = _json_object(options, result)
    paths = reports.of_object("selftest", told)
    _say_json(told) if as_json else _print_result(result, paths, wide=wide)


class Usual(NamedTuple):
    """Values of options that the user does not give; eager_split None: as the era does."""

    era: str = "E4"
    mmu: str = "tdp"
    pml: bool = False
    eager_split: bool | None = None


def _of_this_host() -> Usual:
    """The simulated setting beside --real; without the TDP MMU no huge page is split when logging begins.

    arch/x86/kvm/mmu/mmu.c::kvm_mmu_slot_try_split_huge_pages.
    """
    from hostsim.measure.kvm.host import read_host

    host = read_host()
    return Usual(host.version, host.mmu, host.pml, None if host.mmu == "tdp" else False)


def _beside_real(
    options: Options, *, busy: bool, out: Path | None, reports: ReportFiles, wide: bool, as_json: bool
) -> None:  # fmt: skip
    """Run on /dev/kvm first, then simulate, so that neither takes the other's time."""
    from hostsim.measure.kvm.beside import as_row, pairs, verdict
    from hostsim.measure.kvm.device import Kvm
    from hostsim.measure.kvm.host import read_host
    from hostsim.measure.kvm.real_selftest import RUNS, run_real
    from hostsim.measure.selftest.dirty_log_perf_test import run_selftest
    from hostsim.measure.selftest.options import asked_for
    from hostsim.report.beside import write_real
    from hostsim.report.console import say
    from hostsim.report.progress import steps_progress, work_progress
    from hostsim.results.aside import check_folder

    asked = asked_for(options)
    if out:
        check_folder(out)
    with Kvm.open() as kvm, steps_progress(RUNS, quiet=as_json) as step:
        real = run_real(kvm, asked.spec, asked.plan, busy=busy, step=step)
    with work_progress(("kvm",), quiet=as_json):
        simulated = run_selftest(asked.spec, asked.plan)
    found = pairs(real.phases, simulated.phases)
    host = read_host().words
    told = {"host": host, "options": asdict(options), "runs": RUNS, "foreign_share": real.foreign_share,
            "phases": [as_row(pair) for pair in found]}  # fmt: skip
    paths = write_real(out, "selftest", REAL_FILE, told) if out else []
    paths += reports.of_object("selftest", told | {"verdict": list(verdict(found))})
    if as_json:
        _say_json(told)
    else:
        _print_beside(found, options, real.foreign_share, wide=wide)
        say(f"wrote {path}" for path in paths)


def _print_beside(found: list[Pair], options: Options, foreign_share: float, *, wide: bool) -> None:
    from hostsim.measure.kvm.beside import beside_table, sheet_line, verdict
    from hostsim.measure.kvm.host import read_host
    from hostsim.measure.kvm.rules import BUSY_SHARE
    from hostsim.report.console import PLAIN_WIDTH, say, say_wrapped, show
    from hostsim.report.tables import plain_table

    say_wrapped([f"real: {read_host().words}", f"simulated: {options.era}, {options.mmu}, sheet {options.sheet}", ""])
    table = beside_table(found)
    show(plain_table(table, most=len(table)), wide=wide)
    lines = [*verdict(found), *sheet_line(options.sheet)]
    if foreign_share > BUSY_SHARE:
        lines.append(f"the machine was busy: other processes took {foreign_share:.0%} of its processors; accepted")
    say(["", *(part for line in lines for part in wrap(line, PLAIN_WIDTH))])


def _say_json(told: dict[str, Any]) -> None:
    from hostsim.report.console import say_raw

    say_raw(json.dumps(told, indent=2) + "\n")


def _print_result(result: SelftestResult, paths: Sequence[Path], *, wide: bool) -> None:
    from hostsim.measure.selftest.lines import phase_table, selftest_lines
    from hostsim.report.console import say, say_verdict, show
    from hostsim.report.tables import plain_table

    say_verdict([*selftest_lines(result), ""])
    table = phase_table(result)
    show(plain_table(table, most=len(table)), wide=wide)
    say(f"wrote {path}" for path in paths)


def _json_object(options: Options, result: SelftestResult) -> dict[str, Any]:
    """The object that --json prints."""
    from hostsim.measure.selftest.lines import selftest_lines

    phases: list[dict[str, Any]] = [
        {"phase": phase.name, "iteration": phase.iteration, "pages": phase.pages, **phase.tally.to_dict()}
        for phase in result.phases
    ]
    return {"options": asdict(options), "lines": list(selftest_lines(result)), "phases": phases}
