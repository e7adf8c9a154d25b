"""``hostsim kvm-selftest access_tracking_perf_test``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hostsim.cli.options import HtmlOption, PlotOption, WideFlag
from hostsim.cli.report_files import ReportFiles

if TYPE_CHECKING:
    from hostsim.measure.selftest.access_options import AccessOptions
    from hostsim.measure.selftest.access_tracking_perf_test import AccessResult

HELP = """Run the phases of Linux' access_tracking_perf_test on a simulated host and print its lines.

The lines have the format of a real run, to be compared with it. Options of one letter are the selftest's own."""

VcpusOption = Annotated[int, typer.Option("-v", metavar="N", help="vCPUs.")]
SizeOption = Annotated[str, typer.Option("-b", metavar="SIZE", help="Memory of each vCPU: 10M, 3G.")]
MglruOption = Annotated[bool, typer.Option("-l", help="Age memory with MGLRU instead of idle-page tracking.")]
PopulateOption = Annotated[bool, typer.Option("-p", help="With -l: only age while vCPUs populate memory.")]
ABitsOption = Annotated[bool, typer.Option("--a-bits/--no-a-bits", help="Page tables with accessed bits, or without.")]
EraOption = Annotated[str, typer.Option("--era", help="Kernel: an era (E0 to E6) or a release (6.1).")]
SheetOption = Annotated[str, typer.Option("--sheet", help="Cost sheet: a file, or the name of a sheet of hostsim.")]
MmuOption = Annotated[str, typer.Option(metavar="tdp|direct|shadow", help="MMU; direct is EPT through rmaps (tdp_mmu=N).")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print only JSON: options, lines, and the phases with all counters.")
]


def access_tracking_perf_test(
    *,
    vcpus: VcpusOption = 1,
    size: SizeOption = "1G",
    mglru: MglruOption = False,
    during_populate: PopulateOption = False,
    a_bits: ABitsOption = True,
    era: EraOption = "E4",
    sheet: SheetOption = "cascade-lake",
    mmu: MmuOption = "tdp",
    html: HtmlOption = None,
    plot: PlotOption = None,
    wide: WideFlag = False,
    as_json: JsonOption = False,
) -> None:
    """Simulate access_tracking_perf_test and print the time of its phases."""
    from hostsim.measure.selftest.access_options import AccessOptions, access_plan
    from hostsim.measure.selftest.access_tracking_perf_test import run_access_test
    from hostsim.report.console import say, say_raw
    from hostsim.report.progress import work_progress

    reports = ReportFiles(html, plot)
    reports.check()
    options = AccessOptions(vcpus, size, mglru, during_populate, a_bits, era, sheet, mmu)
    plan = access_plan(options)
    with work_progress(("kvm", "ageing"), quiet=as_json):
        result = run_access_test(plan)
    told = _json_object(options, result)
    paths = reports.of_object("selftest", told | {"test": "access_tracking_perf_test"})
    if as_json:
        say_raw(json.dumps(told, indent=2) + "\n")
        return
    _print_result(result, wide=wide)
    say(f"wrote {path}" for path in paths)


def _print_result(result: AccessResult, *, wide: bool) -> None:
    from hostsim.measure.selftest.access_lines import access_lines, access_table
    from hostsim.report.console import say_verdict, show
    from hostsim.report.tables import plain_table

    say_verdict([*access_lines(result), ""])
    table = access_table(result)
    show(plain_table(table, most=len(table)), wide=wide)


def _json_object(options: AccessOptions, result: AccessResult) -> dict[str, Any]:
    """The object that --json prints."""
    from hostsim.measure.selftest.access_lines import access_lines

    phases: list[dict[str, Any]] = [
        {"phase": phase.name, "pages": phase.pages, "young": phase.young, "passes": phase.passes, **phase.tally.to_dict()}
        for phase in result.phases
    ]
    return {"options": asdict(options), "lines": list(access_lines(result)), "phases": phases}
