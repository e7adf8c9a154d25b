"""``hostsim age``: what page ageing costs a guest, and how much of its use it sees."""

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

HELP = """Age a guest's memory by a policy, and tell what that costs the guest and what it sees.

Lists are separated by commas; every combination is a row. Each runs beside the same guest without ageing."""

PolicyOption = Annotated[str, typer.Option(metavar="NAME,...", help=f"{', '.join(policy_names('age'))}.")]
VcpusOption = Annotated[str, typer.Option(metavar="N,...", help="vCPUs.")]
MemOption = Annotated[str, typer.Option("--mem-per-vcpu", metavar="SIZE", help="Memory of each vCPU.")]
IndexOption = Annotated[str, typer.Option(metavar="NAME,...", help="What holds the sptes: measured, rmap, slot-list, ...")]
EraOption = Annotated[
    str, typer.Option("--era", metavar="E,...", help="Whose kernels: eras, E0 to E6, or releases, as 6.1.")
]
NotifierOption = Annotated[
    str, typer.Option(metavar="NAME,...", help="Ageing takes mmu_lock: era (as its kernels do), locked, lockless.")
]
UnderOption = Annotated[
    str, typer.Option(metavar="NAME,...", help="Meanwhile the guest is faulting (populates memory), touching, or idle.")
]
ABitsOption = Annotated[bool, typer.Option("--a-bits/--no-a-bits", help="Whether the page tables have accessed bits.")]
MmuOption = Annotated[str, typer.Option(metavar="tdp|direct", help="Paging; direct: EPT through rmaps (tdp_mmu=N).")]
LoadOption = Annotated[str, typer.Option(metavar="LOAD,...", help="Which pages a touching guest reads: zipf:S, uniform.")]
RateOption = Annotated[str, typer.Option(metavar="RATE", help="Reads of each vCPU a second.")]
PeriodOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="From pass to pass.", show_default="250ms; 1ms under faulting")
]
PassesOption = Annotated[int, typer.Option(metavar="N", help="Passes; under faulting as many as populating takes.")]
OutOption = Annotated[Path, typer.Option(metavar="DIR", help="Where the files go.")]


def register(app: typer.Typer) -> None:
    """Add the command ``age``."""
    app.command("age", help=HELP, short_help="What page ageing costs a guest, and what it sees.")(age_command)


def age_command(
    *,
    policy: PolicyOption = "two-list,mglru,idle",
    vcpus: VcpusOption = "1",
    mem_per_vcpu: MemOption = "64MiB",
    index: IndexOption = "measured",
    era: EraOption = "E4",
    notifier: NotifierOption = "era",
    under: UnderOption = "touching",
    a_bits: ABitsOption = True,
    sheet: SheetOption = "cascade-lake",
    mmu: MmuOption = "tdp",
    load: LoadOption = "zipf:0.9",
    rate: RateOption = "200k/s",
    period: PeriodOption = None,
    passes: PassesOption = 4,
    seed: SeedOption = 1,
    reps: RepsOption = 1,
    workers: WorkersOption = None,
    style: FormatOption = "text",
    as_json: JsonFlag = False,
    out: OutOption = Path("out/age"),
    no_files: NoFilesOption = False,
    wide: WideFlag = False,
    max_runs: MaxOption = 1000,
    quiet: QuietFlag = False,
) -> None:
    """Run and tell."""
    from hostsim.report.age_report import age_content, age_csv, age_table, caption, write_age
    from hostsim.report.compare_progress import compare_progress, say_size
    from hostsim.results.store import prepare_folder
    from hostsim.study.ageing.options import AgeOptions, age_plan
    from hostsim.study.ageing.outcome import run_age
    from hostsim.study.sizing import age_size

    options = AgeOptions(
        policy, vcpus, mem_per_vcpu, index, era, notifier, under, a_bits, sheet, mmu, load, rate, period, passes, seed, reps,
        max_runs,
    )  # fmt: skip
    plan, told_as = age_plan(options), "json" if as_json else style
    if not no_files:
        prepare_folder(out)
    silent = quiet or told_as in {"json", "csv"}
    prepare(("kvm", "ageing"), quiet=silent)
    say_size(age_size(plan.cases, len(plan.seeds), workers), quiet=silent)
    with compare_progress(quiet=silent) as show:
        rows = run_age(plan, workers, show)
    content = age_content(plan, options, rows)
    paths = [] if no_files else write_age(out, content, rows, plan.varied())
    tell(told_as, content, [age_table(rows, plan.varied())], caption(plan, options), age_csv(rows), paths, wide=wide)
