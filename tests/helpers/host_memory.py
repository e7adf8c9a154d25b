"""Small hosts with a memory of their own, for tests."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hostsim.core.memory import RamBlock, lay_out
from hostsim.costs.host_sheet import HostSheet
from hostsim.guest.workload import Workload
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec, NeighbourSpec
from hostsim.memory.host_memory import HostMemory
from hostsim.memory.pages import VmPages
from hostsim.memory.spec import HostMemorySpec
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.parameters import MigrationParameters

US, MS = 1_000, 1_000_000
SHEET = HostSheet(1_000, 500, 100, 100_000, 10_000, 100_000, 1_000, 1_000, 1_000, 1_000)


def blocks(n_pages: int, filled: int) -> tuple[RamBlock, ...]:
    return lay_out([("pc.ram", n_pages, [(0, filled)] if filled else [])])


def touches(pattern: str, n_pages: int, writes: int = 0, reads: int = 0, **keys: Any) -> Workload:
    """Of vCPU 0 over the first pages."""
    return Workload("touches", pattern, (0,), 0, n_pages, Fraction(writes), Fraction(reads), **keys)


def host(
    frames: int, n_pages: int = 512, filled: int | None = None, *loads: Workload, ms: int = 50, n_vcpus: int = 1,
    migration: MigrationParameters | None = None, neighbours: tuple[NeighbourSpec, ...] = (), **keys: Any,
) -> Machine:  # fmt: skip
    """A VM of ``n_pages``, the first ``filled`` of them with content (None: all), on ``frames``; keys: of MachineSpec, and
    of HostMemorySpec.
    """
    own = {name: keys.pop(name) for name in ("limit_pages", "mmu", "ageing", "dirty_tracking") if name in keys}
    spec = MachineSpec(
        blocks(n_pages, n_pages if filled is None else filled), loads, n_vcpus, SHEET, 1, ms * MS, link=LinkSpec(),
        migration=migration, neighbours=neighbours, memory=HostMemorySpec(frames, **keys),
        **{"dirty_tracking": "get-dirty-log", **own},
    )  # fmt: skip
    return Machine(spec)


def memory_of(machine: Machine) -> HostMemory:
    assert machine.memory is not None
    return machine.memory


def pages_of(machine: Machine, number: int = 0) -> VmPages:
    return memory_of(machine).vms[number]
