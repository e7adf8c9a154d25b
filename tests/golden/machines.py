"""Four machines that never change, one a corner of the model."""

from __future__ import annotations

from fractions import Fraction

from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import HostSheet
from hostsim.guest.pacing import Pacing
from hostsim.guest.workload import Workload
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.parameters import MigrationParameters

MS = 1_000_000
MIB = 1 << 20
SHEET = HostSheet(1_000, 500, 100, 5 * MS, 100_000, 10 * MS, 60_000, 100_000, 50_000, 60_000)
BLOCKS = lay_out([("pc.ram", 4096, [(0, 3000)]), ("vga.vram", 512, []), ("pc.bios", 64, [(0, 64)])])


def _machine(loads: tuple[Workload, ...], link: LinkSpec, migration: MigrationParameters) -> MachineSpec:
    n_vcpus = 1 + max(vcpu for load in loads for vcpu in load.vcpus)
    return MachineSpec(BLOCKS, loads, n_vcpus, SHEET, 7, 30_000 * MS, "tcg", link, migration)


MACHINES = {
    "idle, limited": _machine(
        (Workload("idle", "idle", (0,), 0, 4096),), LinkSpec(), MigrationParameters("7.2", 8 * MIB)
    ),
    "sweep over a link": _machine(
        (Workload("sweep", "sequential", (0, 1), 0, 2048, Fraction(2000), split=True),),
        LinkSpec(20_000_000, 100_000, 212_992),
        MigrationParameters("10.2", 0, 50),
    ),
    "uniform, throttled": _machine(
        (Workload("writer", "uniform", (0, 1), 0, 4096, Fraction(20_000)),),
        LinkSpec(12_500_000, 100_000, 212_992),
        MigrationParameters("10.2", 0, 100, auto_converge=True, cpu_throttle_initial=50, timeout_ns=20_000 * MS),
    ),
    "ticking zipf, cancelled": _machine(
        (
            Workload("zipf", "zipf", (0,), 1000, 2000, Fraction(9000), pacing=Pacing(True, Fraction(10), MS)),
            Workload("tick", "sequential", (0,), 8, 1, Fraction(1000), pacing=Pacing(tick_ns=MS, tick_late_ns=2 * MS)),
        ),
        LinkSpec(),
        MigrationParameters("10.0", 8 * MIB, 20, timeout_ns=10_000 * MS),
    ),
}  # fmt: skip
