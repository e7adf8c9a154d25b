"""Results of a host whose memory may run short: frames, swap, and the time that each VM lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.core.clock import NEVER_NS
from hostsim.kvm.vcpu_times import VcpuTimes, vcpu_times
from hostsim.memory.fault_waits import MIGRATION, TASK
from hostsim.results.ageing import ageing_section, ageing_tables
from hostsim.results.columns import FLOAT, INT, JSON, STR, Column, Columns, read_row
from hostsim.results.latencies import Distribution, HostOf, distributions, hosts_of, latency_table
from hostsim.results.tables import Table

if TYPE_CHECKING:
    from hostsim.guest.workload import Guest
    from hostsim.kvm.live_vm import LiveVm
    from hostsim.machine.machine import Machine
    from hostsim.machine.monitor import HostSample, VmSample
    from hostsim.memory.host_memory import HostMemory
    from hostsim.memory.pages import VmPages

ENDED, OUT_OF_MEMORY = "ended", "out-of-memory"


class Span(NamedTuple):
    """The time between two samples of the host, as VM ``number`` spent it.

    guest: of the VM; name: of the VM. is_here: False once post-copy has moved the guest to the destination.
    """

    before: HostSample
    after: HostSample
    number: int
    guest: Guest
    name: str
    is_here: bool = True

    @property
    def then(self) -> VmSample:
        """The VM at the sample before."""
        return self.before.vms[self.number]

    @property
    def now(self) -> VmSample:
        """The VM at this sample."""
        return self.after.vms[self.number]

    @property
    def slowdown(self) -> float:
        """Share of its nominal work that the guest did not do; NaN where it is not here."""
        if not self.is_here:
            return float("nan")
        before_ns, after_ns = self.before.t_ns, self.after.t_ns
        span_ns = (after_ns - before_ns) * self.guest.nominal_speed(before_ns, after_ns)
        return 1.0 - (self.now.work_ns - self.then.work_ns) / span_ns if span_ns else 0.0


class BusyVcpu(NamedTuple):
    """A vCPU that runs a workload, over the whole run."""

    vm: str
    vcpu: int
    times: VcpuTimes


class VmMemory(NamedTuple):
    """A VM at the end of a run.

    wait_shares: float64[vCPUs that run a workload], of the time, waiting for pages or frames.

    whole: the run, as the VM spent it; here: the part of it until the guest moved to the destination, if it did.
    """

    name: str
    pages: VmPages
    waited_ns: NDArray[np.int64]
    wait_shares: NDArray[np.float64]
    whole: Span
    here: Span


def _counted(name: str, unit: str, heading: str, words: str, **shown: Any) -> Column[VmMemory]:
    """A counter of ``VmPages.counts``."""
    return Column(name, INT, unit, heading, words, lambda vm: vm.pages.counts[name], **shown)


MEMORY_SERIES: Columns[Span] = (
    Column("t_ns", INT, "ns", "", "since the start of the run", lambda span: span.after.t_ns),
    Column("vm", STR, "", "", "the VM", lambda span: span.name),
    Column(
        "free_frames", INT, "frames", "", "free frames of the host; -1 without `[host.memory]`",
        lambda span: -1 if span.after.free_frames is None else span.after.free_frames, label="free frames",
    ),
    Column(
        "swap_used_pages", INT, "pages", "", "slots of the host that hold a page", lambda span: span.after.swap_used_pages,
    ),
    Column("resident_pages", INT, "pages", "", "resident pages of the VM", lambda span: span.now.resident_pages),
    Column(
        "swapped_in_pages", INT, "pages", "", "pages of the VM read from swap since the row before",
        lambda span: span.now.swapped_in - span.then.swapped_in, label="swapped in",
    ),
    Column(
        "swapped_out_pages", INT, "pages", "", "pages of the VM written to swap since the row before",
        lambda span: span.now.swapped_out - span.then.swapped_out, label="swapped out",
    ),
    Column(
        "guest_slowdown", FLOAT, "share", "",
        "share of its nominal work that the VM did not do since the row before; below 0 where it catches up; empty at the "
        "source once the guest runs at a destination with `[destination.memory]`",
        lambda span: span.slowdown,
    ),
)  # fmt: skip
"""Columns of ``memory_series``: a row a VM about each 100 ms."""
VCPU_TIMES: Columns[BusyVcpu] = (
    Column("vm", STR, "", "", "the VM", lambda one: one.vm),
    Column("vcpu", INT, "", "", "the vCPU", lambda one: one.vcpu),
    Column(
        "elapsed_ns", INT, "ns", "", "time of the whole run; at the destination since the switch",
        lambda one: one.times.elapsed_ns,
    ),
    Column(
        "guest_ns", INT, "ns", "", "time in guest mode, also while it halts because all its tasks sleep",
        lambda one: int(one.times.guest_ns[one.vcpu]),
    ),
    Column(
        "exit_ns", INT, "ns", "", "time out of the guest because of exits", lambda one: int(one.times.exit_ns[one.vcpu]),
    ),
    Column(
        "page_wait_ns", INT, "ns", "", "of `exit_ns`, waiting for pages that the host did not have",
        lambda one: int(one.times.page_wait_ns[one.vcpu]),
    ),
    Column(
        "user_space_ns", INT, "ns", "", "time in user space: throttled, paused, or because of a dirty ring",
        lambda one: int(one.times.user_space_ns[one.vcpu]),
    ),
)  # fmt: skip
"""Columns of ``vcpu_times``: a row a vCPU that runs a workload; elapsed_ns = guest_ns + exit_ns + user_space_ns."""
MEMORY: Columns[HostMemory] = (
    Column("frames", INT, "frames", "", "frames of the host", lambda memory: memory.frames.total),
    Column("free_frames", INT, "frames", "", "frames free at the end", lambda memory: memory.frames.free),
    Column(
        "watermarks", JSON, "frames", "", "`min`, `low`, `high`: frames that are free",
        lambda memory: {name: getattr(memory.frames, name) for name in ("min", "low", "high")},
    ),
    Column("swap_pages", INT, "pages", "", "slots of the swap device", lambda memory: memory.area.n_slots),
    Column(
        "swap_used_pages", INT, "pages", "", "slots that hold a copy at the end", lambda memory: memory.area.used,
    ),
    Column(
        "swap_busy_ns", INT, "ns", "", "time that the swap device worked",
        lambda memory: 0 if memory.device is None else memory.device.busy_ns,
    ),
)  # fmt: skip
"""Keys of ``memory`` in run.json, beside ``vms``."""
VMS: Columns[VmMemory] = (
    Column("vm", STR, "", "VM", "its name", lambda vm: vm.name, key=True),
    Column("pages", INT, "pages", "pages", "pages of its memory", lambda vm: len(vm.pages.where), spare=True),
    Column(
        "resident_pages", INT, "pages", "resident", "resident pages at the end",
        lambda vm: vm.whole.now.resident_pages,
    ),
    Column(
        "swapped_pages", INT, "pages", "in swap",
        "pages that have a slot at the end; a page of the swap cache has one and counts as swapped",
        lambda vm: int((vm.pages.slot >= 0).sum()),
    ),
    _counted(
        "populated", "pages", "populated", "first touches that got a frame, counted once reclaim has the page on its lists",
        spare=True,
    ),
    _counted(
        "swapped_in", "pages", "swapped in", "pages read because a vCPU, a task or the migration thread waited",
        title="swapped in",
    ),
    _counted("read_ahead", "pages", "read ahead", "pages read along with them", spare=True),
    _counted("swapped_out", "pages", "swapped out", "pages written"),
    _counted("dropped", "pages", "dropped", "pages of the swap cache freed, whose copy was still there", spare=True),
    _counted("no_slot", "pages", "", "pages that reclaim put back, for swap was full"),
    _counted(
        "direct_reclaims", "calls", "direct reclaims", "batches that its faults had to reclaim for themselves", spare=True,
        title="direct reclaims",
    ),
    _counted("async_faults", "faults", "async faults", "tasks put to sleep", spare=True, if_any=True),
    Column(
        "async_wait_ns", INT, "ns", "tasks slept",
        "time of its tasks asleep until their page came, summed: their vCPUs ran other tasks meanwhile",
        lambda vm: vm.pages.waits[TASK].ns, spare=True, if_any=True,
    ),
    Column(
        "read_back", INT, "pages", "read back",
        "pages that the migration thread had to bring back from swap to send them",
        lambda vm: vm.pages.waits[MIGRATION].fetched, spare=True, if_any=True,
    ),
    Column(
        "migration_wait_ns", INT, "ns", "migration waited",
        "time that the migration thread waited for these pages; no vCPU waits for them",
        lambda vm: vm.pages.waits[MIGRATION].ns, if_any=True, title="migration waiting",
    ),
    Column(
        "stall_ns", INT, "ns", "",
        "time that its vCPUs waited for pages or frames, summed, waits under way included",
        lambda vm: int(vm.waited_ns.sum()),
    ),
    Column(
        "stall_share", FLOAT, "share", "stalled",
        "`stall_ns` over the time of the vCPUs that run a workload, so at most 1",
        lambda vm: float(vm.wait_shares.mean()) if len(vm.wait_shares) else 0.0, title="stalled for host",
    ),
    Column(
        "stall_share_max", FLOAT, "share", "", "that share of the vCPU that waited longest",
        lambda vm: float(vm.wait_shares.max(initial=0.0)),
    ),
    Column(
        "guest_slowdown", FLOAT, "share", "slowed by",
        "share of its nominal work that it did not do, over the time that it was on the host",
        lambda vm: vm.here.slowdown,
    ),
)  # fmt: skip
"""Keys of ``memory.vms[]`` in run.json."""


@dataclass(frozen=True, eq=False)
class HostResult:
    """A host with [host.memory], [ageing] or neighbours, and the destination of post-copy with [destination.memory].

    out_of_memory: the instant [ns] and the VM that the kernel would have killed; None if memory sufficed.
    memory, ageing: sections of run.json, None without the table in the scenario.
    destination_memory: the section of that name, None before a switch, too.
    tables: by name; ``memory_series`` is always present.
    """

    out_of_memory: tuple[int, str] | None
    memory: dict[str, Any] | None
    ageing: list[dict[str, Any]] | None
    latencies: tuple[Distribution, ...]
    tables: dict[str, Table]
    destination_memory: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The keys that the host adds to run.json."""
        found: dict[str, Any] = {"status": OUT_OF_MEMORY if self.out_of_memory else ENDED}
        if self.out_of_memory is not None:
            t_ns, vm = self.out_of_memory
            found["out_of_memory"] = {"t_ns": t_ns, "vm": vm}
        sections = {"memory": self.memory, "destination_memory": self.destination_memory, "ageing": self.ageing}
        found |= {name: section for name, section in sections.items() if section is not None}
        return {**found, "latencies": [one.to_dict() for one in self.latencies]}


def host_result(machine: Machine) -> HostResult | None:
    """The result of a machine that has run; None without [host.memory], [ageing], neighbours and [destination.memory]."""
    if machine.monitor is None and machine.there is None:
        return None
    found, hosts, there = tuple(distributions(machine)), hosts_of(machine), machine.there
    tables = [latency_table(found), _series(hosts)]
    tables += [_vcpu_times(hosts)] if any(host.memory is not None for host in hosts) else []
    tables += ageing_tables(machine) if machine.daemons else []
    return HostResult(
        out_of_memory=next((end for host in hosts if (end := _end_of(host)) is not None), None),
        memory=None if machine.memory is None else _section(machine, machine.memory),
        ageing=ageing_section(machine) if machine.daemons else None,
        latencies=found,
        tables={table.name: table for table in tables},
        destination_memory=None if there is None else _section(there, there.memory),
    )


def _end_of(host: HostOf) -> tuple[int, str] | None:
    end = None if host.memory is None else host.memory.out_of_memory
    return None if end is None else (end.ns, host.name_of(end.vm))


def _section(host: HostOf, memory: HostMemory) -> dict[str, Any]:
    vms = [read_row(VMS, _of_vm(host, memory, number)) for number in range(len(memory.vms))]
    return {**read_row(MEMORY, memory), "vms": vms}


def _of_vm(host: HostOf, memory: HostMemory, number: int) -> VmMemory:
    assert host.monitor is not None
    vm, samples = host.live_vms[number], host.monitor.samples
    times, left_ns = vcpu_times(vm), _left_ns(host, number)
    shares = times.page_wait_ns[_busy(vm)] / max(1, min(times.elapsed_ns, left_ns))
    whole = Span(samples[0], samples[-1], number, vm.guest, host.name_of(number))
    here = whole._replace(after=[sample for sample in samples if sample.t_ns <= left_ns][-1])
    return VmMemory(host.name_of(number), memory.vms[number], times.page_wait_ns, shares, whole, here)


def _left_ns(host: HostOf, number: int) -> int:
    """The time at which post-copy had moved the guest to a destination with results of its own, NEVER_NS: it has not."""
    return NEVER_NS if number or host.there is None else host.there.vm.since_ns


def _busy(vm: LiveVm) -> list[int]:
    """The vCPUs that run a workload."""
    return sorted(set(vm.guest.clock_vcpu.tolist()))


def _vcpu_times(hosts: Sequence[HostOf]) -> Table:
    vms = [(host.name_of(number), vm) for host in hosts for number, vm in enumerate(host.live_vms)]
    each = [(name, vm, vcpu_times(vm)) for name, vm in vms]
    return Table.read("vcpu_times", VCPU_TIMES, [BusyVcpu(name, i, times) for name, vm, times in each for i in _busy(vm)])


def _series(hosts: Sequence[HostOf]) -> Table:
    return Table.read("memory_series", MEMORY_SERIES, [span for host in hosts for span in _spans(host)])


def _spans(host: HostOf) -> Iterator[Span]:
    samples = [] if host.monitor is None else host.monitor.samples
    for before, after in pairwise([*samples[:1], *samples]):
        for number, vm in enumerate(host.live_vms):
            is_here = before.t_ns < _left_ns(host, number)
            yield Span(before, after, number, vm.guest, host.name_of(number), is_here)
