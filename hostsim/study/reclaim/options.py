"""Options of ``hostsim reclaim``, as typed."""

from __future__ import annotations

from dataclasses import dataclass

from hostsim.memory.policies.registry import policy_names
from hostsim.study.asking import asked, cost_sheet, first_seed, has_a_bits, most_runs, replications


@dataclass(frozen=True)
class ReclaimOptions:
    """Lists are separated by commas. scan None: the smallest age. measure None: twice the largest age."""

    memory: str = asked("16MiB", "Memory of the VM.", "SIZE")
    used: str = asked("75%", "Share of the memory that the guest uses; the rest is idle.", "SHARE")
    vcpus: int = asked(2, "vCPUs.", "N")
    load: str = asked("zipf:0.9", "Distribution of the pages that the guest touches.", "zipf:S|uniform")
    rate: str = asked("5k/s", "Touches of each vCPU a second.", "RATE")
    writes: str = asked("5%", "Share of the touches that write.", "SHARE")
    ages: str = asked("1s,2s,5s,10s", "Page out pages that have been idle for this time.", "TIME,...")
    budget: str = asked(
        "p99=2ms,slowdown=1%", "Limits of stall percentiles (p50=, p90=, p99=, p99.9=) and of slowdown=.", "LIMIT,..."
    )
    swap: str = asked("nvme", "Swap devices: nvme, sata-ssd, hdd, zram, memory.", "NAME,...")
    policy: str = asked("idle,mglru", f"Policies: {', '.join(policy_names('reclaim'))}.", "NAME,...")
    during_migration: bool = asked(
        default=False, text="Also measure while the VM migrates.", flag="--during-migration/--no-migration"
    )
    bandwidth: str = asked("100Mbit/s", "Bandwidth of the migration's link.", "RATE")
    timeout: str = asked("60s", "Time after which the migration is cancelled.", "TIME")
    era: str = asked("E4", "Kernel: an era (E0 to E6) or a release (6.1).")
    a_bits: bool = has_a_bits()
    async_pf: bool = asked(
        default=False, text="In a swap-in, the task sleeps (async page fault), or its vCPU halts.", flag="--async-pf/--halt"
    )
    sheet: str = cost_sheet()
    scan: str | None = asked(None, "Time from one scan to the next.", "TIME", show_default="the smallest age")
    measure: str | None = asked(None, "Length of the measurement.", "TIME", show_default="twice the largest age")
    seed: int = first_seed()
    reps: int = replications()
    max_runs: int = most_runs()
