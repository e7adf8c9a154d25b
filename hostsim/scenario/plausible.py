"""Warnings of scenarios that no real machine fits, or that the model fits only in part: each names key and reason.

Limits of real machines: figures with unit (in the name) and source, from hostsim/data/limits.toml.
"""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from hostsim.core.constants import NS_PER_MS, NS_PER_S, PAGE_BYTES, PAGE_WIRE_BYTES
from hostsim.core.units import format_rate
from hostsim.costs.costs import load_costs
from hostsim.costs.era import load_era
from hostsim.costs.host_sheet import load_sheet, sheet_range
from hostsim.qemu.mechanism import stream_of
from hostsim.scenario.complete import vms_of
from hostsim.scenario.guest_schema import Vm, Workload
from hostsim.scenario.kvm_schema import Mmu
from hostsim.scenario.mechanism import mechanisms, on_in

if TYPE_CHECKING:
    from hostsim.scenario.schema import Scenario

@dataclass(frozen=True)
class Limits:
    """Limits of real machines: a scenario beyond one of them gets a warning.

    page_touch_ns: a page in the fastest loop over pages.
    core_write_bytes_per_s: whole pages written by one core; host_write_bytes_per_s: by all cores.
    host_threads: CPUs of a server.
    tcp_flow_bytes_per_s: the fastest TCP flow of one core.
    reported_stream_*_bytes_per_s: least and most that users reported of migrations over one stream.
    """

    page_touch_ns: int
    core_write_bytes_per_s: int
    host_write_bytes_per_s: int
    host_threads: int
    tcp_flow_bytes_per_s: int
    reported_stream_least_bytes_per_s: int
    reported_stream_most_bytes_per_s: int

    @property
    def core_touches_per_s(self) -> int:
        """Pages that a core touches in a second."""
        return 1_000_000_000 // self.page_touch_ns


@cache
def machine_limits() -> Limits:
    """The figures of hostsim/data/limits.toml."""
    entries = tomllib.loads((files("hostsim") / "data" / "limits.toml").read_text(encoding="utf-8"))
    return Limits(**{field.name: int(entries[field.name]["value"]) for field in fields(Limits)})


GIGA = 10**9
EXCLUSIVE = "exclusive"

Rate = Callable[[Workload], Fraction]
"""The rate of a workload that a check adds up over a vCPU [pages/s]."""


def warnings_of(scenario: Scenario) -> tuple[str, ...]:
    """A warning, with its figure, for each value of ``scenario``, checked and complete, beyond any real machine."""
    return tuple(text for check in (*CHECKS, *_of_mechanisms(scenario)) for text in check(scenario))


def _of_mechanisms(scenario: Scenario) -> Iterator[Callable[[Scenario], Iterator[str]]]:
    on = () if scenario.migration is None else on_in(scenario.migration)
    return (one.warnings for one in on if one.warnings is not None)


def touches_of_a_core(scenario: Scenario) -> Iterator[str]:
    """Warnings of a vCPU that touches more pages than a loop over pages, at its nominal speed or when it catches up."""
    most = machine_limits().core_touches_per_s
    for key, vm in vms_of(scenario):
        vcpu, rate = _busiest(vm, _touches)
        _, fastest = _busiest(vm, _touches_at_full_speed)
        core = f"a core touches at most {_pages(most)} ({machine_limits().page_touch_ns} ns a page, measured)"
        if rate > most:
            yield f"vCPU {vcpu} of {key} touches {_pages(rate)}, but {core}: no real guest dirties its memory like this one"
        elif fastest > most:
            yield f"a vCPU of {key} that stalled catches up at {_pages(fastest)} (catch_up), but {core}"


def bytes_of_a_core(scenario: Scenario) -> Iterator[str]:
    """Warnings of writes that, as whole pages, exceed a core or a server's memory; parts of pages may be meant."""
    limits = machine_limits()
    busiest = [(key, *_busiest(vm, _writes)) for key, vm in vms_of(scenario)]
    total = sum(load.write_rate for _, vm in vms_of(scenario) for load in vm.workload)
    if any(rate > limits.core_touches_per_s for *_, rate in busiest):
        return  # said already
    only = "this guest is real only if it writes a part of each page"
    for key, vcpu, rate in busiest:
        if rate * PAGE_BYTES > limits.core_write_bytes_per_s:
            most = _gigabytes(limits.core_write_bytes_per_s)
            yield (
                f"vCPU {vcpu} of {key} writes to {_pages(rate)}: {_gigabytes(rate * PAGE_BYTES)} if it writes whole "
                f"pages, but a core writes at most {most}: {only}"
            )
    if total * PAGE_BYTES > limits.host_write_bytes_per_s:
        most = _gigabytes(limits.host_write_bytes_per_s)
        yield (
            f"all vCPUs together write to {_pages(total)}: {_gigabytes(total * PAGE_BYTES)} if they write whole pages, "
            f"but the memory of a large server takes at most {most}: {only}"
        )


def cpus_of_a_host(scenario: Scenario) -> Iterator[str]:
    """A warning of more vCPUs than a server has CPUs; in the model each vCPU has a CPU to itself."""
    vcpus, most = sum(vm.vcpus for _, vm in vms_of(scenario)), machine_limits().host_threads
    if vcpus > most:
        yield (
            f"{vcpus} vCPUs run at once, each on a CPU of its own, but a large server has {most} hardware threads: on a "
            "real host they would wait for each other"
        )


def queue_at_mmu_lock(scenario: Scenario) -> Iterator[str]:
    """Warnings of more vCPUs whose faults take mmu_lock exclusively than were measured."""
    for key, vm in vms_of(scenario):
        if vm.mmu is None or vm.dirty_tracking == "tcg":
            continue
        sheet, locks = load_costs(scenario.costs()), load_era(vm.mmu.era).locks(vm.mmu.mode)
        if vm.vcpus > sheet.queued_vcpus and EXCLUSIVE in (locks.map, locks.wp):
            yield (
                f"{vm.vcpus} vCPUs of {key} queue for mmu_lock, which their faults hold exclusively; with sheet "
                f"{vm.mmu.costs} that was measured with up to {sheet.queued_vcpus:.0f}, and with more a hand-over is "
                "assumed to grow on with the logarithm of their number"
            )


def one_stream(scenario: Scenario) -> Iterator[str]:
    """A warning of one migration thread that is to send more than such threads were seen to send."""
    if scenario.migration is None or stream_of(scenario.migration.parameters()) is not None:
        return
    limits, page_ns = machine_limits(), scenario.host.sheet().page_send_ns
    sent = _sent_bytes_per_s(scenario, page_ns)
    fastest_ns, slowest_ns = page_send_range_ns(scenario.host.machine, page_ns)
    if slowest_ns and sent > sent_by(slowest_ns):
        yield (
            f"one stream sends up to {bits_words(sent)} here; users reported {_reported()} of one migration thread "
            f"(host.page_send_ns = {slowest_ns} to {fastest_ns}): the answer rests on host.page_send_ns = {page_ns}"
        )
    elif not slowest_ns and sent > limits.tcp_flow_bytes_per_s:
        yield (
            f"one stream sends up to {bits_words(sent)} here (host.page_send_ns = {page_ns}), but one TCP flow was measured "
            f"at {bits_words(limits.tcp_flow_bytes_per_s)} at most, and users of real hosts reported {_reported()}"
        )


def limit_of_nothing(scenario: Scenario) -> Iterator[str]:
    """A warning of a downtime limit of 0, under which QEMU's loop comes to no second sync (migration_iteration_run)."""
    if scenario.migration is not None and scenario.migration.downtime_limit < NS_PER_MS:
        yield (
            "migration.downtime_limit = 0: QEMU syncs again only while less than its threshold remains, which is 0 then, so "
            "it never looks for pages that were dirtied again; it stops the guest after the first pass and sends all of "
            "them in the downtime; the least limit that bounds it is 1 ms"
        )


def unseen_page_tables(scenario: Scenario) -> Iterator[str]:
    """Warnings of CR3 loads of guests whose page tables KVM does not shadow: they are no exits there."""
    for key, vm in vms_of(scenario):
        mode = (vm.mmu or Mmu()).mode
        if not any(load.cr3_load_rate for load in vm.workload) or (vm.dirty_tracking != "tcg" and mode == "shadow"):
            continue
        under = "TCG" if vm.dirty_tracking == "tcg" else f"two-dimensional paging ({key}.mmu.mode = {mode})"
        yield (
            f"cr3_load_rate of {key} has no effect: under {under} a guest writes its page tables and loads CR3 without an "
            f"exit; KVM syncs page tables with {key}.mmu.mode = shadow"
        )


CHECKS: tuple[Callable[[Scenario], Iterator[str]], ...] = (
    touches_of_a_core, bytes_of_a_core, cpus_of_a_host, queue_at_mmu_lock, one_stream, limit_of_nothing,
    unseen_page_tables,
)
"""The checks; each yields the warnings of one kind. Those of mechanisms come behind."""


def page_send_range_ns(machine: str, page_send_ns: int) -> tuple[int, int]:
    """(least, most) that sheet ``machine`` takes for likely; (0, 0) if it has no range or another value than this one."""
    return range_ns(machine, "page_send_ns", page_send_ns)


def range_ns(machine: str, constant: str, used_ns: int) -> tuple[int, int]:
    """(least, most) that sheet ``machine`` takes for likely of ``constant``; (0, 0): no range, or another value is used."""
    bounds = sheet_range(machine, constant)
    return bounds if bounds is not None and used_ns == getattr(load_sheet(machine), constant) else (0, 0)


def surely_sent_bytes_per_s(resolved: Mapping[str, Any]) -> int:
    """Bytes/s of one stream, or of all channels, at the slow end of the sheet's range, from a scenario as resolved.

    0: there is no range.
    """
    host, migration = resolved.get("host", {}), resolved.get("migration") or {}
    on = (one for one in mechanisms() if migration.get(one.capability) and one.sure_streams is not None)
    streams = next((one.sure_streams(migration) for one in on if one.sure_streams is not None), 1)
    _, slowest_ns = page_send_range_ns(host["machine"], host["page_send_ns"]) if "machine" in host else (0, 0)
    return int(streams * sent_by(slowest_ns))


def _writes(load: Workload) -> Fraction:
    return load.write_rate


def _touches(load: Workload) -> Fraction:
    return load.write_rate + load.read_rate


def _touches_at_full_speed(load: Workload) -> Fraction:
    return _touches(load) * (Fraction(load.catch_up) if load.pacing == "open" else 1)


def _busiest(vm: Vm, rate: Rate) -> tuple[int, Fraction]:
    """(number, pages per second) of the vCPU of ``vm`` that does most."""
    done: defaultdict[int, Fraction] = defaultdict(Fraction)
    for load in vm.workload:
        vcpus = load.vcpu_numbers(vm.vcpus)
        for vcpu in vcpus:
            done[vcpu] += rate(load) / len(vcpus)
    return max(done.items(), key=lambda item: item[1], default=(0, Fraction(0)))


def _sent_bytes_per_s(scenario: Scenario, page_ns: int) -> int:
    assert scenario.migration is not None
    limits = (scenario.link.bandwidth, scenario.migration.bandwidth, sent_by(page_ns))
    return min((limit for limit in limits if limit), default=0)


def sent_by(page_ns: int) -> int:
    """Bytes per second of a thread that spends ``page_ns`` on a page; 0: no limit."""
    return PAGE_WIRE_BYTES * NS_PER_S // page_ns if page_ns else 0


def _reported() -> str:
    limits = machine_limits()
    least, most = limits.reported_stream_least_bytes_per_s, limits.reported_stream_most_bytes_per_s
    return f"{bits_words(least)} to {bits_words(most)}"


def bits_words(bytes_per_s: int) -> str:
    """1250000000 -> "10 Gbit/s"."""
    return f"{bytes_per_s * 8 / GIGA:.3g} Gbit/s"


def _pages(per_s: Fraction | int) -> str:
    return format_rate(Fraction(per_s), 3).replace("/s", " pages/s")


def _gigabytes(bytes_per_s: Fraction | int) -> str:
    return f"{float(bytes_per_s) / GIGA:.3g} GB/s"
