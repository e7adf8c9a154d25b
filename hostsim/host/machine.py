"""A host with a VM on it, and at most one migration away from it: what a scenario is built into."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import simpy

from hostsim.guest.workload import Workload, build_guest
from hostsim.host.clock import Clock
from hostsim.host.dirty_log import TRACKERS
from hostsim.host.knobs import Knobs
from hostsim.host.kvm.build import live_vm
from hostsim.host.kvm.spec import MmuSpec
from hostsim.host.link import LinkSpec
from hostsim.host.migration.parameters import MigrationParameters
from hostsim.host.migration.thread import Migration
from hostsim.host.sheet import HostSheet
from hostsim.host.vm import Vm, VmBase
from hostsim.mmu.memory import PAGE_SIZE, RamBlock, make_memory

Progress = Callable[[int, dict[str, Any]], None]
PROGRESS_PERIOD_NS = 100_000_000


@dataclass(frozen=True)
class MachineSpec:
    """Everything a run depends on, but for the speed knobs."""

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
    """Of KVM; without meaning for ``tcg``."""


class Machine:
    """A machine ready to run: ``run()`` once, then read ``vm`` and ``migration``."""

    def __init__(self, spec: MachineSpec, knobs: Knobs | None = None, log_capacity: int = 0) -> None:
        """``log_capacity``: page sends, and first writes a sync or exits, to keep for tests, 0: none.

        InputError if KVM of ``spec.mmu`` does not offer ``spec.dirty_tracking``.
        """
        knobs = knobs or Knobs()
        self.spec = spec
        self.env = Clock()
        self.vm = self._vm(log_capacity)
        self.tracker = TRACKERS[spec.dirty_tracking](self.vm, knobs, log_capacity)
        self.migration = self._migration(knobs, log_capacity)

    def run(self, progress: Progress | None = None) -> None:
        """Run until the migration has ended or the duration is over. InvariantError if an invariant breaks."""
        end = self.env.timeout(self.spec.duration_ns)
        if progress is not None:
            self.env.process(self._report(progress))
        until = end if self.migration is None else self.env.any_of([end, self.migration.done])
        self.env.run(until=until)

    def _vm(self, log_capacity: int) -> VmBase:
        spec, memory = self.spec, make_memory(self.spec.blocks)
        guest, stop_ns = build_guest(spec.workloads, spec.seed), spec.sheet.vm_stop_ns
        if spec.dirty_tracking == "tcg":
            return Vm(self.env, memory, guest, spec.n_vcpus, stop_ns)
        return live_vm(self.env, memory, guest, spec.n_vcpus, stop_ns, spec.mmu, spec.dirty_tracking, log_capacity)

    def _migration(self, knobs: Knobs, log_capacity: int) -> Migration | None:
        spec = self.spec
        if spec.migration is None:
            return None
        return Migration(self.env, self.vm, self.tracker, spec.migration, spec.link, spec.sheet, knobs, log_capacity)

    def _report(self, progress: Progress) -> Generator[simpy.Event, Any, None]:
        while True:
            progress(self.env.now_ns, self._info())
            yield self.env.timeout(PROGRESS_PERIOD_NS)

    def _info(self) -> dict[str, Any]:
        if self.migration is None:
            return {"status": "running"}
        now = self.migration.counters()
        rate = self.migration.state.bandwidth_bytes_per_ms * 1000
        return {
            "status": now.status, "round": now.dirty_sync_count, "remaining_bytes": now.remaining,
            "total_bytes": now.total, "dirty_bytes_per_s": now.dirty_pages_rate * PAGE_SIZE, "bandwidth_bytes_per_s": rate,
            "threshold_bytes": self.migration.state.threshold_bytes, "throttle_percent": now.cpu_throttle_percentage,
        }  # fmt: skip
