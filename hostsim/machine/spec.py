"""The inputs of a machine, as a scenario gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hostsim.core.memory import RamBlock
from hostsim.costs.host_sheet import HostSheet
from hostsim.guest.workload import Workload
from hostsim.kvm.spec import MmuSpec
from hostsim.memory.spec import NO_LIMIT, AgeingSpec, HostMemorySpec
from hostsim.plugins.registry import Plugin
from hostsim.qemu.calc_dirty_rate import CalcDirtyRate
from hostsim.qemu.checkpoints import CheckpointSpec
from hostsim.qemu.compression import Content
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.parameters import MigrationParameters


@dataclass(frozen=True)
class DaemonSpec:
    """A daemon of a scenario: its plug-in, and the table ``options``."""

    plugin: Plugin
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NeighbourSpec:
    """A VM that shares the host and is not migrated; seed: of its draws; limit_pages: most frames of the VM."""

    blocks: tuple[RamBlock, ...]
    workloads: tuple[Workload, ...]
    n_vcpus: int
    seed: int
    dirty_tracking: str = "get-dirty-log"
    mmu: MmuSpec = field(default_factory=MmuSpec)
    limit_pages: int = NO_LIMIT


@dataclass(frozen=True)
class MachineSpec:
    """All inputs of a run, but for the speed knobs."""

    blocks: tuple[RamBlock, ...]
    workloads: tuple[Workload, ...]
    n_vcpus: int
    sheet: HostSheet
    seed: int = 1
    duration_ns: int = 600_000_000_000
    dirty_tracking: str = "tcg"
    link: LinkSpec = field(default_factory=LinkSpec)
    migration: MigrationParameters | None = None
    mmu: MmuSpec = field(default_factory=MmuSpec)
    """KVM's MMU; this field and the following ones do not apply to ``tcg``."""
    limit_pages: int = NO_LIMIT
    neighbours: tuple[NeighbourSpec, ...] = ()
    memory: HostMemorySpec | None = None
    destination_memory: HostMemorySpec | None = None
    """Memory of the destination, for a guest that post-copy has moved there; None: all memory of the guest is there."""
    ageing: AgeingSpec | None = None
    until_work: bool = False
    """The run ends when each workload of the VM has done its window of work, the only window of the workload."""
    checkpoints: CheckpointSpec | None = None
    content: Content = field(default_factory=Content)
    """How well the pages of the VM compress, for a migration that compresses them."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Of mechanisms of migration, by name, beside MigrationParameters (hostsim.scenario.mechanism)."""
    dirty_rates: tuple[CalcDirtyRate, ...] = ()
    plugged: tuple[DaemonSpec, ...] = ()
    """Daemons of plug-ins."""
