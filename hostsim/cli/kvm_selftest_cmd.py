"""``hostsim kvm-selftest``: KVM's own selftests on a simulated host."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hostsim.cli.access_tracking_cmd import HELP as ACCESS_HELP
from hostsim.cli.access_tracking_cmd import access_tracking_perf_test
from hostsim.cli.options import WideFlag
from hostsim.cli.strict import StrictApp

if TYPE_CHECKING:
    from hostsim.measure.selftest.dirty_log_perf_test import SelftestResult
    from hostsim.measure.selftest.options import Options

HELP = """Run the phases of Linux' dirty_log_perf_test on a simulated host and print its lines.

Put them beside those of a real run. Options of one letter are the selftest's own."""

VcpusOption = Annotated[int, typer.Option("-v", metavar="N", help="vCPUs.")]
SizeOption = Annotated[str, typer.Option("-b", metavar="SIZE", help="Memory of each vCPU, as 10M or 3G.")]
IterationsOption = Annotated[int, typer.Option("-i", metavar="N", help="Iterations, at least 2.")]
WrittenOption = Annotated[str, typer.Option("-f", metavar="N", help="One page in N is written, the others are read; or 5%.")]
GetOption = Annotated[bool, typer.Option("-g", help="No manual protect: GET protects, there is no CLEAR.")]
SlotsOption = Annotated[int, typer.Option("-x", metavar="N", help="Memslots that the memory is split into.")]
SourceOption = Annotated[
    str, typer.Option("-s", metavar="TYPE", help="anonymous, anonymous_hugetlb_2mb or anonymous_hugetlb_1gb.")
]
OverlapOption = Annotated[bool, typer.Option("-o", help="All vCPUs walk the same memory.")]
RunOption = Annotated[bool, typer.Option("-e", help="vCPUs run while logging is disabled.")]
EraOption = Annotated[str, typer.Option("--era", help="Whose kernel: an era, E0 to E6, or a release, as 6.1.")]
SheetOption = Annotated[str, typer.Option("--sheet", help="Whose costs.")]
MmuOption = Annotated[str, typer.Option(metavar="tdp|direct|shadow", help="Paging; direct: EPT through rmaps (tdp_mmu=N).")]
PmlOption = Annotated[bool, typer.Option("--pml/--no-pml", help="Page-modification logging instead of write protection.")]
EagerOption = Annotated[
    bool | None,
    typer.Option("--eager-split/--no-eager-split", help="When huge mappings are split; default: as kernels of the era do."),
]
AllSetOption = Annotated[
    bool, typer.Option("--initially-all-set", help="The log begins all dirty, CLEAR protects (as recent selftests ask).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Only JSON: options, lines, and the phases with all counters.")]


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
    era: EraOption = "E4",
    sheet: SheetOption = "cascade-lake",
    mmu: MmuOption = "tdp",
    pml: PmlOption = False,
    eager_split: EagerOption = None,
    initially_all_set: AllSetOption = False,
    wide: WideFlag = False,
    as_json: JsonOption = False,
) -> None:
    """Simulate and print."""
    from hostsim.measure.selftest.dirty_log_perf_test import run_selftest
    from hostsim.measure.selftest.options import Options, asked_for
    from hostsim.report.steps_progress import work_progress

    options = Options(
        vcpus, size, iterations, written, get_protects, slots, source, overlap, run_while_disabling, era, sheet, mmu, pml,
        eager_split, initially_all_set,
    )  # fmt: skip
    asked = asked_for(options)
    with work_progress(("kvm",), quiet=as_json):
        result = run_selftest(asked.spec, asked.plan)
    _tell_json(options, result) if as_json else _tell(result, wide=wide)


def _tell(result: SelftestResult, *, wide: bool) -> None:
    from hostsim.measure.selftest.lines import phase_table, selftest_lines
    from hostsim.report.console import say, show
    from hostsim.report.tables import plain_table

    say([*selftest_lines(result), ""])
    table = phase_table(result)
    show(plain_table(table, most=len(table)), wide=wide)


def _tell_json(options: Options, result: SelftestResult) -> None:
    from hostsim.measure.selftest.lines import selftest_lines
    from hostsim.report.console import say_raw

    phases: list[dict[str, Any]] = [
        {"phase": phase.name, "iteration": phase.iteration, "pages": phase.pages, **phase.tally.to_dict()}
        for phase in result.phases
    ]
    told = {"options": asdict(options), "lines": list(selftest_lines(result)), "phases": phases}
    say_raw(json.dumps(told, indent=2) + "\n")
