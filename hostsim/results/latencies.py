"""Latencies of a run as whole distributions: waits by waiter and cause, and a count for each latency."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from hostsim.core.latency import PERCENTILES
from hostsim.costs.exits import COSTED
from hostsim.memory.fault_waits import MIGRATION, TASK, VCPU
from hostsim.results.columns import FLOAT, INT, JSON, STR, Column, Columns, read_row
from hostsim.results.tables import Table

if TYPE_CHECKING:
    from hostsim.core.latency import Latencies
    from hostsim.kvm.live_vm import LiveVm
    from hostsim.machine.destination import DestinationHost
    from hostsim.machine.machine import Machine

PREFIXES = {VCPU: "", TASK: "async_", MIGRATION: "migration_"}
"""Prefix of a distribution's name for each waiter; a vCPU's wait has none."""
HOST, THERE = "host", "destination"
"""Stand for a VM where the host itself waits, the source or the destination."""
HostOf: TypeAlias = "Machine | DestinationHost"
"""A host with results of its own."""


class Distribution(NamedTuple):
    """The latencies of one kind of wait (``what``) of one VM."""

    what: str
    vm: str
    latencies: Latencies

    def to_dict(self) -> dict[str, Any]:
        """The distribution by the names of ``DISTRIBUTION``."""
        return read_row(DISTRIBUTION, self)


@dataclass(frozen=True)
class Bucket:
    """Waits of a distribution that fall into one bucket, of which ``latency_ns`` is the longest."""

    what: str
    vm: str
    latency_ns: int
    count: int


def _percentile(percent: float) -> Column[Distribution]:
    """The median and the 99th are always shown."""
    return Column(
        f"p{percent:g}_ns", INT, "ns", f"p{percent:g}", f"{percent:g} % of the waits were not longer",
        lambda one: one.latencies.percentile_ns(percent), spare=percent not in {50.0, 99.0},
    )  # fmt: skip


def _pairs(one: Distribution) -> list[list[int]]:
    ends_ns, counts = one.latencies.buckets()
    return [list(pair) for pair in zip(ends_ns.tolist(), counts.tolist(), strict=True)]


DISTRIBUTION: Columns[Distribution] = (
    Column("what", STR, "", "what", "the kind of wait", lambda one: one.what, key=True),
    Column("vm", STR, "", "VM", "the VM, or `host`, or `destination`", lambda one: one.vm, key=True),
    Column("count", INT, "waits", "count", "how many", lambda one: one.latencies.count),
    Column("mean_ns", FLOAT, "ns", "", "their mean", lambda one: one.latencies.mean_ns),
    *map(_percentile, PERCENTILES),
    Column("max_ns", INT, "ns", "max", "the longest", lambda one: one.latencies.max_ns),
    Column("buckets", JSON, "", "", "pairs: longest latency [ns] of a bucket that is not empty, its count", _pairs),
)
"""Keys of ``latencies[]`` in run.json."""
LATENCIES: Columns[Bucket] = (
    Column("what", STR, "", "", "the kind of wait", lambda bucket: bucket.what),
    Column("vm", STR, "", "", "the VM, or `host`, or `destination`", lambda bucket: bucket.vm),
    Column("latency_ns", INT, "ns", "", "the longest that falls into the bucket", lambda bucket: bucket.latency_ns),
    Column("count", INT, "waits", "", "how many fell into it", lambda bucket: bucket.count),
)
"""Columns of ``latencies``: a row a bucket that is not empty."""


def hosts_of(machine: Machine) -> list[HostOf]:
    """The hosts of ``machine`` that have results: the source's, then the destination's after a switch to post-copy."""
    return [machine, *([] if machine.there is None else [machine.there])]


def distributions(machine: Machine) -> list[Distribution]:
    """Everything that was waited for at least once: of each VM, then of the host; of the source, then of the destination."""
    found = []
    for host, name in zip(hosts_of(machine), (HOST, THERE), strict=False):
        found += [one for number in range(len(host.live_vms)) for one in _of_vm(host, number)]
        found += _of_host(host, name)
    return [one for one in found if one.latencies.count]


def latency_table(found: Sequence[Distribution]) -> Table:
    """The table ``latencies``: all buckets in use."""
    buckets = [Bucket(one.what, one.vm, ns, count) for one in found for ns, count in _pairs(one)]
    return Table.read("latencies", LATENCIES, buckets)


def _of_vm(machine: HostOf, number: int) -> Iterator[Distribution]:
    name = machine.name_of(number)
    for what, latencies in (*_of_exits(machine.live_vms[number]), *_of_memory(machine, number)):
        yield Distribution(what, name, latencies)


def _of_exits(vm: LiveVm) -> Iterator[tuple[str, Latencies]]:
    """Exits by kind, and waits for mmu_lock by vCPUs and by threads of the host."""
    exits = vm.engine.exit_latencies()
    yield from ((f"exit_{kind.name}", exits[kind.number]) for kind in COSTED)
    yield "lock_wait_vcpu", vm.engine.lock_waits()
    yield "lock_hold_vcpu", vm.engine.lock_holds()
    yield "lock_wait_host", vm.lock.waits


def _of_memory(machine: HostOf, number: int) -> Iterator[tuple[str, Latencies]]:
    """Calls of the mmu notifier by event, and faults that waited for the host by waiter and kind."""
    if machine.notifiers:
        calls = machine.notifiers[number].latencies
        yield from ((f"notifier_{event}", latencies) for event, latencies in calls.items())
    if machine.memory is not None:
        for waiter, waits in machine.memory.vms[number].waits.items():
            prefix = PREFIXES[waiter]
            yield from ((f"{prefix}fault_{kind}", latencies) for kind, latencies in waits.latencies.items())
            yield f"{prefix}direct_reclaim", waits.reclaims


def _of_host(machine: HostOf, name: str) -> Iterator[Distribution]:
    memory = machine.memory
    if memory is None:
        return
    if memory.device is not None:
        for kind, latencies in memory.device.latencies.items():
            yield Distribution(f"swap_{kind}", name, latencies)
