"""From a cost sheet and an era to what the engine and the thread that works on the log take."""

from __future__ import annotations

from hostsim.costs.costs import exit_costs, load_costs, log_costs
from hostsim.costs.era import load_era
from hostsim.costs.exits import ExitCosts
from hostsim.kvm.setup import KvmCosts, LogCosts, LogPolicy


def kvm_costs(sheet: str, era: str, mmu: str = "tdp", *, pml: bool = False, n_vcpus: int = 64) -> KvmCosts:
    """Costs of ``sheet`` with the locking of ``era``. Raises InputError for unknown names, and for PML that is not there."""
    costs, kernel = load_costs(sheet), load_era(era)
    exits = exit_costs(costs, kernel, mmu, pml=pml, n_vcpus=n_vcpus)
    populate = exit_costs(costs, kernel, mmu, pml=pml, populate=True, n_vcpus=n_vcpus)
    populate_ns = populate["exit_ns"] - exits["exit_ns"]
    log = LogCosts(**log_costs(costs, kernel, mmu))
    return KvmCosts(ExitCosts(**exits), populate_ns, log, costs.loop_ns, costs.read_loop_ns)


def era_policy(era: str, mmu: str = "tdp", *, pml: bool = False) -> LogPolicy:
    """How the kernel of ``era`` keeps a log unless told otherwise; with CLEAR where it has it. Raises InputError."""
    kernel = load_era(era)
    kernel.locks(mmu)
    return LogPolicy(
        pml=pml, eager_split=kernel.eager_split, manual_protect=kernel.manual_protect, recovery=kernel.recovery[mmu],
        flush_each=kernel.recovery_flush == "each",
    )  # fmt: skip
