"""The machines that are measured."""

from __future__ import annotations

from fractions import Fraction

from hostsim.core.constants import PAGE_WIRE_BYTES
from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import load_sheet
from hostsim.guest.workload import Workload
from hostsim.kvm.spec import MmuSpec
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.parameters import MigrationParameters

LINK_BYTES_PER_S = 12_500_000_000
"""100 Gbit/s."""
N_VCPUS = 16
DIRTY_RATIO = Fraction(7, 10)


def migrating_guest(
    gib: int, *, split: bool = False, link_bytes_per_s: int = LINK_BYTES_PER_S, channels: int = 0
) -> Machine:
    """A guest of 16 vCPUs that writes uniformly over all its pages, at 0.7 of the bandwidth of the link.

    channels: of multifd, 0: one stream.
    """
    n_pages = gib << 18
    rate = DIRTY_RATIO * link_bytes_per_s / PAGE_WIRE_BYTES
    load = Workload("uniform", "uniform", tuple(range(N_VCPUS)), 0, n_pages, rate, split=split)
    return Machine(
        MachineSpec(
            lay_out([("pc.ram", n_pages, [(0, n_pages)])]), (load,), N_VCPUS, load_sheet("generic", {"page_send_ns": 50}),
            link=LinkSpec(link_bytes_per_s, 100_000, 2 << 20),
            migration=MigrationParameters(max_bandwidth=0, multifd=channels > 0, multifd_channels=channels or 2),
        )
    )  # fmt: skip


def multifd_guest(gib: int) -> Machine:
    """``migrating_guest`` with QEMU's two channels."""
    return migrating_guest(gib, channels=2)


def kvm_guest(gib: int, mmu: MmuSpec | None = None, dirty_ratio: Fraction = DIRTY_RATIO) -> Machine:
    """``migrating_guest`` under KVM, its log kept with CLEAR in chunks of 1 GiB; 4 KiB pages and era E4 unless said."""
    n_pages, rate = gib << 18, dirty_ratio * LINK_BYTES_PER_S / PAGE_WIRE_BYTES
    load = Workload("uniform", "uniform", tuple(range(N_VCPUS)), 0, n_pages, rate)
    return Machine(
        MachineSpec(
            lay_out([("pc.ram", n_pages, [(0, n_pages)])]), (load,), N_VCPUS, load_sheet("generic", {"page_send_ns": 50}),
            dirty_tracking="clear-dirty-log", mmu=mmu or MmuSpec(era="E4"),
            link=LinkSpec(LINK_BYTES_PER_S, 100_000, 2 << 20),
            migration=MigrationParameters(max_bandwidth=0),
        )
    )  # fmt: skip


def huge_kvm_guest(gib: int) -> Machine:
    """The same on 2 MiB pages, split eagerly, written at a tenth of the bandwidth of the link."""
    return kvm_guest(gib, MmuSpec(era="E4", page_size="2MiB", eager_split=True), Fraction(1, 10))


def scaled_guest(gib: int) -> Machine:
    """``migrating_guest`` over a link as fast as the guest is large: each size migrates in the same simulated time."""
    return migrating_guest(gib, link_bytes_per_s=LINK_BYTES_PER_S * gib // 64)


def harvested_guest(gib: int, touches_per_s: int) -> Machine:
    """A guest without a migration, whose dirty log a process of the host harvests."""
    n_pages = gib << 18
    load = Workload("uniform", "uniform", (0,), 0, n_pages, Fraction(touches_per_s))
    return Machine(MachineSpec(lay_out([("pc.ram", n_pages, [(0, n_pages)])]), (load,), 1, load_sheet("generic")))
