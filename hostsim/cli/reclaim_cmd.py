"""``hostsim reclaim``: how much memory can be reclaimed at a latency budget, and whether a migration breaks it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hostsim.cli.options import JsonFlag, QuietFlag, WideFlag
from hostsim.cli.study_options import (
    FormatOption,
    MaxOption,
    NoFilesOption,
    RepsOption,
    SeedOption,
    SheetOption,
    WorkersOption,
    tell,
)
from hostsim.cli.warm_up_cmd import prepare
from hostsim.memory.policies.registry import policy_names

HELP = """Page out what a guest has not used for an age; tell what that frees, what it costs, and which age is safe.

Each age runs beside the same guest without reclaim. --during-migration runs all of it again while the VM migrates."""

MemoryOption = Annotated[str, typer.Option(metavar="SIZE", help="Memory of the VM.")]
UsedOption = Annotated[str, typer.Option(metavar="SHARE", help="Share of it that the guest uses; the rest is idle.")]
VcpusOption = Annotated[int, typer.Option(metavar="N", help="vCPUs.")]
LoadOption = Annotated[str, typer.Option(metavar="zipf:S|uniform", help="Which pages the guest touches.")]
RateOption = Annotated[str, typer.Option(metavar="RATE", help="Touches of each vCPU a second.")]
WritesOption = Annotated[str, typer.Option(metavar="SHARE", help="Share of those that write.")]
AgesOption = Annotated[str, typer.Option(metavar="TIME,...", help="Pages idle for as long are paged out.")]
BudgetOption = Annotated[str, typer.Option(metavar="LIMIT,...", help="p50=, p90=, p99=, p99.9= of stalls; slowdown=.")]
SwapOption = Annotated[str, typer.Option(metavar="NAME,...", help="nvme, sata-ssd, hdd, zram, memory.")]
PolicyOption = Annotated[str, typer.Option(metavar="NAME,...", help=f"{', '.join(policy_names('reclaim'))}.")]
DuringOption = Annotated[bool, typer.Option("--during-migration/--no-migration", help="Also while a migration runs.")]
BandwidthOption = Annotated[str, typer.Option(metavar="RATE", help="Of the migration's link.")]
TimeoutOption = Annotated[str, typer.Option(metavar="TIME", help="After which the migration is given up.")]
EraOption = Annotated[str, typer.Option("--era", help="Whose kernel: an era, E0 to E6, or a release, as 6.1.")]
ABitsOption = Annotated[bool, typer.Option("--a-bits/--no-a-bits", help="Whether the page tables have accessed bits.")]
AsyncOption = Annotated[bool, typer.Option("--async-pf/--halt", help="A task that waits sleeps, or its vCPU halts.")]
ScanOption = Annotated[str | None, typer.Option(metavar="TIME", help="From scan to scan.", show_default="the smallest age")]
MeasureOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="How long it is measured.", show_default="twice the largest age")
]
OutOption = Annotated[Path, typer.Option(metavar="DIR", help="Where the files go.")]


def register(app: typer.Typer) -> None:
    """Add the command ``reclaim``."""
    app.command("reclaim", help=HELP, short_help="How much memory can go at a latency budget.")(reclaim_command)


def reclaim_command(
    *,
    memory: MemoryOption = "16MiB",
    used: UsedOption = "75%",
    vcpus: VcpusOption = 2,
    load: LoadOption = "zipf:0.9",
    rate: RateOption = "5k/s",
    writes: WritesOption = "5%",
    ages: AgesOption = "1s,2s,5s,10s",
    budget: BudgetOption = "p99=2ms,slowdown=1%",
    swap: SwapOption = "nvme",
    policy: PolicyOption = "idle,mglru",
    during_migration: DuringOption = False,
    bandwidth: BandwidthOption = "100Mbit/s",
    timeout: TimeoutOption = "60s",
    era: EraOption = "E4",
    a_bits: ABitsOption = True,
    async_pf: AsyncOption = False,
    sheet: SheetOption = "cascade-lake",
    scan: ScanOption = None,
    measure: MeasureOption = None,
    seed: SeedOption = 1,
    reps: RepsOption = 1,
    workers: WorkersOption = None,
    style: FormatOption = "text",
    as_json: JsonFlag = False,
    out: OutOption = Path("out/reclaim"),
    no_files: NoFilesOption = False,
    wide: WideFlag = False,
    max_runs: MaxOption = 1000,
    quiet: QuietFlag = False,
) -> None:
    """Run and tell."""
    from hostsim.report.compare_progress import compare_progress, say_size
    from hostsim.report.reclaim_report import (
        reclaim_caption,
        reclaim_content,
        reclaim_csv,
        reclaim_tables,
        write_reclaim,
    )
    from hostsim.results.store import prepare_folder
    from hostsim.study.reclaim.options import ReclaimOptions, reclaim_plan
    from hostsim.study.reclaim.outcome import run_reclaim
    from hostsim.study.sizing import reclaim_size

    options = ReclaimOptions(
        memory, used, vcpus, load, rate, writes, ages, budget, swap, policy, during_migration, bandwidth, timeout, era,
        a_bits, async_pf, sheet, scan, measure, seed, reps, max_runs,
    )  # fmt: skip
    plan, told_as = reclaim_plan(options), "json" if as_json else style
    if not no_files:
        prepare_folder(out)
    silent = quiet or told_as in {"json", "csv"}
    prepare(("kvm", "ageing", "memory"), quiet=silent)
    say_size(reclaim_size(plan.cases, len(plan.seeds), workers), quiet=silent)
    with compare_progress(quiet=silent) as show:
        rows = run_reclaim(plan, workers, show)
    content = reclaim_content(plan, options, rows)
    paths = [] if no_files else write_reclaim(out, plan, content, rows)
    caption = reclaim_caption(plan, options)
    tell(told_as, content, reclaim_tables(plan, rows), caption, reclaim_csv(plan, rows), paths, wide=wide)
