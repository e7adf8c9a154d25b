"""O33 on VMs that swap: Little's law on their faults, and the cycle of one vCPU that works, faults and waits."""

from __future__ import annotations

from collections.abc import Iterator

from hostsim.kvm.loops.layout import N_EXITS
from hostsim.memory.fault_waits import VCPU
from hostsim.validation.rows import Row, exact
from hostsim.validation.samples import SUITE, closed_requester_row
from hostsim.validation.swap_runs import SwapRun, swapping_vm

WORK_NS, END_NS = 30_000_000, 1_000_000_000
"""Long enough for every fault to have its answer."""
SWAPS = ("nvme", "zram")


def fault_rows(seed: int = 1) -> Iterator[Row]:
    """Hundreds of faults on each device."""
    for swap in SWAPS:
        yield _little_row(swap, swapping_vm(4, swap, WORK_NS, END_NS, seed))
        yield _cycle_row(swap, swapping_vm(1, swap, 4 * WORK_NS, END_NS, seed))


def _little_row(swap: str, run: SwapRun) -> Row:
    """Little's law from empty to empty: mean in flight = rate x mean latency, both sides times the duration."""
    assert run.vm.page_waits.in_flight == 0, "every fault has its answer by the end"
    assert run.vm.page_waits.faults > 500
    waited_ns = run.host.vms[0].waits[VCPU].ns
    what = f"faults in flight, integrated, ns, {run.vm.page_waits.faults} faults of 4 vCPUs"
    return exact(SUITE, f"O33-run/faults/{swap}", what, waited_ns, run.vm.page_waits.in_flight_ns)


def _cycle_row(swap: str, run: SwapRun) -> Row:
    """The vCPU as closed requester: its work is the think time; a fault lasts from the exit to the next entry."""
    by_kind, now_ns = run.vm.engine.exit_latencies(), run.vm.env.now_ns
    exits_ns = sum(by_kind[kind].total_ns for kind in range(N_EXITS))
    return closed_requester_row(f"O33-run/vcpu/{swap}", run.vm.page_waits.faults, now_ns, exits_ns, run.vm.work_ns())
