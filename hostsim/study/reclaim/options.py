"""Options of ``hostsim reclaim``, as typed."""

from __future__ import annotations

from dataclasses import dataclass

from hostsim.memory.policies.registry import policy_names
from hostsim.study.asking import asked, cost_sheet, first_seed, has_a_bits, most_runs, replications


@dataclass(frozen=True)
class ReclaimOptions:
    """Lists are separated by commas. scan None: the smallest age. measure None: twice the largest age."""

    memory: str = asked("16MiB", "Memory of the VM.", "SIZE")
    used: str = asked("75%", "Share of it that the guest uses; the rest is idle.", "SHARE")
    vcpus: int = asked(2, "vCPUs.", "N")
    load: str = asked("zipf:0.9", "Which pages the guest touches.", "zipf:S|uniform")
    rate: str = asked("5k/s", "Touches of each vCPU a second.", "RATE")
    writes: str = asked("5%", "Share of those that write.", "SHARE")
    ages: str = asked("1s,2s,5s,10s", "Pages idle for as long are paged out.", "TIME,...")
    budget: str = asked("p99=2ms,slowdown=1%", "p50=, p90=, p99=, p99.9= of stalls; slowdown=.", "LIMIT,...")
    swap: str = asked("nvme", "nvme, sata-ssd, hdd, zram, memory.", "NAME,...")
    policy: str = asked("idle,mglru", f"{', '.join(policy_names('reclaim'))}.", "NAME,...")
    during_migration: bool = asked(
        default=False, text="Also while a migration runs.", flag="--during-migration/--no-migration"
    )
    bandwidth: str = asked("100Mbit/s", "Of the migration's link.", "RATE")
    timeout: str = asked("60s", "After which the migration is given up.", "TIME")
    era: str = asked("E4", "The kernel: an era, E0 to E6, or a release, as 6.1.")
    a_bits: bool = has_a_bits()
    async_pf: bool = asked(
        default=False, text="A task that waits sleeps, or its vCPU halts.", flag="--async-pf/--halt"
    )
    sheet: str = cost_sheet()
    scan: str | None = asked(None, "From scan to scan.", "TIME", show_default="the smallest age")
    measure: str | None = asked(None, "How long it is measured.", "TIME", show_default="twice the largest age")
    seed: int = first_seed()
    reps: int = replications()
    max_runs: int = most_runs()
