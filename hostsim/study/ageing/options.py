"""Options of ``hostsim age``, as typed."""

from __future__ import annotations

from dataclasses import dataclass

from hostsim.memory.policies.registry import policy_names
from hostsim.study.asking import asked, cost_sheet, first_seed, has_a_bits, most_runs, replications

FAULTING_PERIOD, PERIOD = "1ms", "250ms"


@dataclass(frozen=True)
class AgeOptions:
    """Lists are separated by commas. period None: PERIOD, under faulting FAULTING_PERIOD."""

    policy: str = asked("two-list,mglru,idle", f"{', '.join(policy_names('age'))}.", "NAME,...")
    vcpus: str = asked("1", "vCPUs.", "N,...")
    mem_per_vcpu: str = asked("64MiB", "Memory of each vCPU.", "SIZE")
    index: str = asked("measured", "What holds the sptes: measured, rmap, slot-list, ...", "NAME,...")
    era: str = asked("E4", "The kernels: eras, E0 to E6, or releases, as 6.1.", "E,...")
    notifier: str = asked("era", "Ageing takes mmu_lock: era (as its kernels do), locked, lockless.", "NAME,...")
    under: str = asked(
        "touching", "Meanwhile the guest is faulting (populates memory), touching, or idle.", "NAME,..."
    )
    a_bits: bool = has_a_bits()
    sheet: str = cost_sheet()
    mmu: str = asked("tdp", "Paging; direct: EPT through rmaps (tdp_mmu=N).", "tdp|direct")
    load: str = asked("zipf:0.9", "Which pages a touching guest reads: zipf:S, uniform.", "LOAD,...")
    rate: str = asked("200k/s", "Reads of each vCPU a second.", "RATE")
    period: str | None = asked(
        None, "Time from one pass to the next.", "TIME", show_default=f"{PERIOD}; {FAULTING_PERIOD} under faulting"
    )
    passes: int = asked(4, "Passes; under faulting as many as populating takes.", "N")
    seed: int = first_seed()
    reps: int = replications()
    max_runs: int = most_runs()
