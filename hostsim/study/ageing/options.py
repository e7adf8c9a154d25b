"""Options of ``hostsim age``, as typed."""

from __future__ import annotations

from dataclasses import dataclass

from hostsim.memory.policies.registry import policy_names
from hostsim.study.asking import asked, cost_sheet, first_seed, has_a_bits, most_runs, replications

FAULTING_PERIOD, PERIOD = "1ms", "250ms"


@dataclass(frozen=True)
class AgeOptions:
    """Lists are separated by commas. period None: PERIOD, under faulting FAULTING_PERIOD."""

    policy: str = asked("two-list,mglru,idle", f"Policies: {', '.join(policy_names('age'))}.", "NAME,...")
    vcpus: str = asked("1", "vCPUs.", "N,...")
    mem_per_vcpu: str = asked("64MiB", "Memory of each vCPU.", "SIZE")
    index: str = asked("measured", "Index of sptes: measured, rmap, slot-list, ...", "NAME,...")
    era: str = asked("E4", "Kernels: eras (E0 to E6) or releases (6.1).", "E,...")
    notifier: str = asked(
        "era", "Ageing with mmu_lock (locked), without (lockless), or as the kernels of the era do (era).", "NAME,..."
    )
    under: str = asked("touching", "Work of the guest: faulting (populates memory), touching, idle.", "NAME,...")
    a_bits: bool = has_a_bits()
    sheet: str = cost_sheet()
    mmu: str = asked("tdp", "MMU; direct is EPT through rmaps (tdp_mmu=N).", "tdp|direct")
    load: str = asked("zipf:0.9", "Distribution of the pages that a touching guest reads: zipf:S, uniform.", "LOAD,...")
    rate: str = asked("200k/s", "Reads of each vCPU a second.", "RATE")
    period: str | None = asked(
        None, "Time from one ageing pass to the next.", "TIME", show_default=f"{PERIOD}; {FAULTING_PERIOD} under faulting"
    )
    passes: int = asked(4, "Number of passes; a faulting guest is aged until it has populated its memory.", "N")
    seed: int = first_seed()
    reps: int = replications()
    max_runs: int = most_runs()
