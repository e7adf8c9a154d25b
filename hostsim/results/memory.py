"""What became of memory that runs short: frames, swap, and how each VM fared."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hostsim.kvm.vcpu_times import vcpu_times
from hostsim.memory.fault_waits import MIGRATION, TASK
from hostsim.results.ageing import ageing_section, ageing_tables
from hostsim.results.latencies import Distribution, distributions, latency_table, vm_name
from hostsim.results.tables import Table

if TYPE_CHECKING:
    from hostsim.machine.machine import Machine
    from hostsim.machine.monitor import HostSample
    from hostsim.memory.host_memory import HostMemory

SERIES = {
    "t_ns": "int64", "vm": "str", "free_frames": "int64", "swap_used_pages": "int64", "resident_pages": "int64",
    "swapped_in_pages": "int64", "swapped_out_pages": "int64", "guest_slowdown": "float64",
}  # fmt: skip
"""Columns of ``memory_series``: a row a VM about each 100 ms; what was swapped, and the slowdown, are of the time before.

free_frames: -1 where memory does not run short; guest_slowdown: share of its nominal work that the guest did not do.
"""
VCPU_TIMES = {
    "vm": "str", "vcpu": "int64", "elapsed_ns": "int64", "guest_ns": "int64", "exit_ns": "int64", "page_wait_ns": "int64",
    "user_space_ns": "int64",
}  # fmt: skip
"""Columns of ``vcpu_times``: a row a vCPU that runs a workload, over the whole run.

elapsed_ns = guest_ns + exit_ns + user_space_ns: in guest mode (halted ones, too), out of it because of exits, in user space
(throttled, paused, at a full dirty ring); page_wait_ns: of exit_ns, waiting for pages that the host did not have.
"""
COUNTS = (
    "populated", "swapped_in", "swapped_out", "read_ahead", "dropped", "no_slot", "direct_reclaims", "async_faults",
)  # fmt: skip
"""Of each VM: pages, and calls."""
ENDED, OUT_OF_MEMORY = "ended", "out-of-memory"


@dataclass(frozen=True, eq=False)
class HostResult:
    """A host that does more than run one VM whose memory is all there.

    out_of_memory: when [ns] and the VM that would have gone; memory, ageing: sections of run.json, None without the table;
    tables: by name, of which ``memory_series`` is always one.
    """

    out_of_memory: tuple[int, str] | None
    memory: dict[str, Any] | None
    ageing: list[dict[str, Any]] | None
    latencies: tuple[Distribution, ...]
    tables: dict[str, Table]

    def to_dict(self) -> dict[str, Any]:
        """What run.json has of it."""
        found: dict[str, Any] = {"status": OUT_OF_MEMORY if self.out_of_memory else ENDED}
        if self.out_of_memory is not None:
            t_ns, vm = self.out_of_memory
            found["out_of_memory"] = {"t_ns": t_ns, "vm": vm}
        sections = {"memory": self.memory, "ageing": self.ageing}
        found |= {name: section for name, section in sections.items() if section is not None}
        return {**found, "latencies": [one.to_dict() for one in self.latencies]}


def host_result(machine: Machine) -> HostResult | None:
    """The result of a machine that has run; None if it has nothing of this."""
    if machine.monitor is None:
        return None
    found, end = tuple(distributions(machine)), machine.out_of_memory
    tables = [latency_table(found), _series(machine.monitor.samples, _n_clocks(machine))]
    tables += [_vcpu_times(machine)] if machine.memory is not None else []
    tables += ageing_tables(machine) if machine.daemons else []
    return HostResult(
        out_of_memory=None if end is None else (end.ns, vm_name(end.vm)),
        memory=None if machine.memory is None else _section(machine, machine.memory),
        ageing=ageing_section(machine) if machine.daemons else None,
        latencies=found,
        tables={table.name: table for table in tables},
    )


def _section(machine: Machine, memory: HostMemory) -> dict[str, Any]:
    frames, device = memory.frames, memory.device
    return {
        "frames": frames.total,
        "free_frames": frames.free,
        "watermarks": {"min": frames.min, "low": frames.low, "high": frames.high},
        "swap_pages": memory.area.n_slots,
        "swap_used_pages": memory.area.used,
        "swap_busy_ns": 0 if device is None else device.busy_ns,
        "vms": [_of_vm(machine, memory, number) for number in range(len(memory.vms))],
    }


def _of_vm(machine: Machine, memory: HostMemory, number: int) -> dict[str, Any]:
    pages, vm = memory.vms[number], machine.live_vms[number]
    waited_ns, busy = vcpu_times(vm).page_wait_ns, sorted(set(vm.guest.clock_vcpu.tolist()))
    shares = waited_ns[busy] / max(1, machine.env.now_ns)
    return {
        "vm": vm_name(number),
        "pages": len(pages.where),
        "resident_pages": machine_resident(machine, number),
        "swapped_pages": int((pages.slot >= 0).sum()),
        **{name: pages.counts[name] for name in COUNTS},
        "read_back": pages.waits[MIGRATION].fetched,
        "stall_ns": int(waited_ns.sum()),
        "stall_share": float(shares.mean()) if busy else 0.0,
        "stall_share_max": float(shares.max(initial=0.0)),
        "async_wait_ns": pages.waits[TASK].ns,
        "migration_wait_ns": pages.waits[MIGRATION].ns,
        "guest_slowdown": slowdown(machine, number),
    }


def _vcpu_times(machine: Machine) -> Table:
    rows: list[tuple[Any, ...]] = []
    for number, vm in enumerate(machine.live_vms):
        times = vcpu_times(vm)
        columns = (times.guest_ns, times.exit_ns, times.page_wait_ns, times.user_space_ns)
        busy = sorted(set(vm.guest.clock_vcpu.tolist()))
        rows += [(vm_name(number), vcpu, times.elapsed_ns, *(int(column[vcpu]) for column in columns)) for vcpu in busy]
    return Table.of("vcpu_times", VCPU_TIMES, rows)


def machine_resident(machine: Machine, number: int) -> int:
    """Pages of VM ``number`` that the host has at the end."""
    assert machine.monitor is not None
    return machine.monitor.samples[-1].vms[number].resident_pages


def slowdown(machine: Machine, number: int) -> float:
    """Share of its nominal work that VM ``number`` did not do, over the whole run."""
    assert machine.monitor is not None
    return _slowdown(machine.monitor.samples[0], machine.monitor.samples[-1], number, _n_clocks(machine)[number])


def _n_clocks(machine: Machine) -> list[int]:
    return [len(vm.guest.clocks) for vm in machine.live_vms]


def _series(samples: list[HostSample], n_clocks: list[int]) -> Table:
    rows = [
        _row(before, after, number, clocks)
        for before, after in pairwise([samples[0], *samples])
        for number, clocks in enumerate(n_clocks)
    ]
    return Table.of("memory_series", SERIES, rows)


def _row(before: HostSample, after: HostSample, number: int, n_clocks: int) -> tuple[Any, ...]:
    then, now = before.vms[number], after.vms[number]
    return (
        after.t_ns, vm_name(number), -1 if after.free_frames is None else after.free_frames, after.swap_used_pages,
        now.resident_pages, now.swapped_in - then.swapped_in, now.swapped_out - then.swapped_out,
        _slowdown(before, after, number, n_clocks),
    )  # fmt: skip


def _slowdown(before: HostSample, after: HostSample, number: int, n_clocks: int) -> float:
    span_ns = (after.t_ns - before.t_ns) * n_clocks
    return 1.0 - (after.vms[number].work_ns - before.vms[number].work_ns) / span_ns if span_ns else 0.0
