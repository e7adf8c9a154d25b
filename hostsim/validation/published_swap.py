"""S2: time of a fault that swaps in, and of a page that is swapped out, where swap is as fast as memory."""

from __future__ import annotations

from collections.abc import Iterator

from hostsim.costs.exits import MAP
from hostsim.memory.fault_waits import MAJOR, VCPU
from hostsim.validation.rows import Row, relative
from hostsim.validation.swap_runs import swapping_vm

SWAP_IN_NS, SWAP_OUT_NS = 4_050, 360
"""As published; hostsim/data/swap/memory.toml has them."""
WORK_NS, END_NS = 30_000_000, 150_000_000
TOLERANCE = 0.05
"""Assumed: no tolerance is published."""


def swap_rows(seed: int = 1) -> Iterator[Row]:
    """Random reads over half as much memory again as there is, one vCPU."""
    run = swapping_vm(1, "memory", WORK_NS, END_NS, seed)
    pages, device = run.host.vms[0], run.host.device
    assert device is not None
    in_ns, out_ns = device.latencies["read"].mean_ns, device.latencies["write"].total_ns / pages.counts["swapped_out"]
    yield _row("swap-in", "device, a fault that swaps in, ns", SWAP_IN_NS, in_ns).unscored("fitted: its sheet has it")
    yield _row("swap-out", "device, a page swapped out, ns", SWAP_OUT_NS, out_ns).unscored("fitted: its sheet has it")
    fault_ns = float(pages.waits[VCPU].latencies[MAJOR].percentile_ns(50.0))
    fault = _row("fault", "median of what a fault waits for the host, ns", SWAP_IN_NS, fault_ns)
    yield fault.unscored("fitted: nothing on the way comes on top of it")
    guest_ns = float(run.vm.engine.exit_latencies()[MAP].percentile_ns(50.0))
    guest = _row("guest", "median of a fault from guest to guest, ns", SWAP_IN_NS, guest_ns)
    yield guest.unscored(f"shown: the exit, KVM's own work and the entry come on top, {guest_ns - fault_ns:.0f} ns")


def _row(part: str, what: str, expected: float, got: float) -> Row:
    return relative("published", f"S2/{part}", what, expected, got, TOLERANCE)

