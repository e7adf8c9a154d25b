"""Latencies of a run as whole distributions: who waited for what, and how often how long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from hostsim.kvm.tally import KINDS
from hostsim.memory.fault_waits import MIGRATION, TASK, VCPU
from hostsim.results.tables import Table

if TYPE_CHECKING:
    from hostsim.core.latency import Latencies
    from hostsim.kvm.live_vm import LiveVm
    from hostsim.machine.machine import Machine

LATENCIES = {"what": "str", "vm": "str", "latency_ns": "int64", "count": "int64"}
"""Columns of ``latencies``: a row a bucket that is not empty, latency_ns: the longest that falls into it."""
PREFIXES = {VCPU: "", TASK: "async_", MIGRATION: "migration_"}
"""What a name opens with that says whose wait it is; a vCPU's has none."""
HOST = "host"
"""Stands for a VM where the host itself waits."""


class Distribution(NamedTuple):
    """What was waited for, by whom, and how long each time."""

    what: str
    vm: str
    latencies: Latencies

    def to_dict(self) -> dict[str, Any]:
        """Count, mean, p50 to p99.9 and maximum, and (longest of a bucket, its count) of the buckets in use."""
        ends_ns, counts = self.latencies.buckets()
        pairs = [list(pair) for pair in zip(ends_ns.tolist(), counts.tolist(), strict=True)]
        return {"what": self.what, "vm": self.vm, **self.latencies.summary(), "buckets": pairs}


def vm_name(number: int) -> str:
    """The key of VM ``number`` in its scenario."""
    return "vm" if number == 0 else f"neighbour[{number - 1}]"


def distributions(machine: Machine) -> list[Distribution]:
    """Everything that was waited for at least once: of each VM, then of the host."""
    found = [one for number in range(len(machine.live_vms)) for one in _of_vm(machine, number)]
    return [one for one in [*found, *_of_host(machine)] if one.latencies.count]


def latency_table(found: Sequence[Distribution]) -> Table:
    """All buckets in use."""
    rows = [(one.what, one.vm, *pair) for one in found for pair in one.to_dict()["buckets"]]
    return Table.of("latencies", LATENCIES, rows)


def _of_vm(machine: Machine, number: int) -> Iterator[Distribution]:
    name = vm_name(number)
    for what, latencies in (*_of_exits(machine.live_vms[number]), *_of_memory(machine, number)):
        yield Distribution(what, name, latencies)


def _of_exits(vm: LiveVm) -> Iterator[tuple[str, Latencies]]:
    """Exits by kind, and waits for mmu_lock by vCPUs and by threads of the host."""
    exits = vm.engine.exit_latencies()
    yield from ((f"exit_{name}", exits[kind]) for name, kind in KINDS.items())
    yield "lock_wait_vcpu", vm.engine.lock_waits()
    yield "lock_hold_vcpu", vm.engine.lock_holds()
    yield "lock_wait_host", vm.lock.waits


def _of_memory(machine: Machine, number: int) -> Iterator[tuple[str, Latencies]]:
    """Calls of the mmu notifier by event, and faults that waited for the host by waiter and kind."""
    if machine.notifiers:
        calls = machine.notifiers[number].latencies
        yield from ((f"notifier_{event}", latencies) for event, latencies in calls.items())
    if machine.memory is not None:
        for waiter, waits in machine.memory.vms[number].waits.items():
            prefix = PREFIXES[waiter]
            yield from ((f"{prefix}fault_{kind}", latencies) for kind, latencies in waits.latencies.items())
            yield f"{prefix}direct_reclaim", waits.reclaims


def _of_host(machine: Machine) -> Iterator[Distribution]:
    memory = machine.memory
    if memory is None:
        return
    if memory.device is not None:
        for kind, latencies in memory.device.latencies.items():
            yield Distribution(f"swap_{kind}", HOST, latencies)
