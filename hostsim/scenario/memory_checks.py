"""Checks between [host.memory], [host.memory.reclaim], [ageing], the neighbours and the VMs they are about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hostsim.core.constants import PAGE_BYTES
from hostsim.core.errors import Finding
from hostsim.core.units import format_bytes, format_duration
from hostsim.kvm.spec import pins_pages
from hostsim.memory.frames import kept_at_start, watermarks
from hostsim.memory.policies.registry import policy_named
from hostsim.memory.spec import NO_LIMIT, PCP_BATCH
from hostsim.scenario.complete import HOST_WIDE, vms_of
from hostsim.scenario.guest_schema import Vm
from hostsim.scenario.kvm_schema import Mmu
from hostsim.scenario.memory_schema import MIB, NO_SWAP, Frames, HostMemory, Reclaim

if TYPE_CHECKING:
    # Circle of types: the schema calls the checks, which get the whole scenario.
    from hostsim.scenario.schema import Scenario

KVM_WANTED = "a guest under KVM: a dirty_tracking other than 'tcg'"
AGE_SCANS_MAX = 10_000
"""A page's age in scans is a number of at most so much."""
KVM_EXAMPLE = 'dirty_tracking = "get-dirty-log" under [vm]'
Vms = list[tuple[str, Vm]]


def memory_findings(scenario: Scenario) -> list[Finding]:
    """All findings about memory that may run short, ageing, and several VMs on a host."""
    vms = vms_of(scenario)
    found = [*_without_kvm(scenario, vms), *_one_host(scenario), *_ageing(scenario), *_parked(scenario, vms)]
    memory, there = scenario.host.memory, scenario.destination
    found += [] if there is None else _swap_keys("destination.memory", there.memory)
    if memory is None:
        return [*found, *_needless_limits(vms)]
    found += [*_swap_keys("host.memory", memory), *(finding for one in vms for finding in _pages(*one)), *_room(memory, vms)]
    return found if memory.reclaim is None else [*found, *_reclaim(scenario, memory, memory.reclaim)]


def _parked(scenario: Scenario, vms: Vms) -> Iterator[Finding]:
    """A task that sleeps for a page has no clock that could say when its vCPU loads CR3."""
    if not any(load.cr3_load_rate for _, vm in vms for load in vm.workload):
        return
    there = None if scenario.destination is None else scenario.destination.memory
    for key, memory in (("host.memory", scenario.host.memory), ("destination.memory", there)):
        if memory is not None and memory.async_page_faults:
            wanted = "false with cr3_load_rate: CR3 loads of a vCPU whose task sleeps are not modelled"
            yield Finding(f"{key}.async_page_faults", "true", wanted, "async_page_faults = false", ())


def without_idle_host_keys(memory: Frames, table: Mapping[str, Any]) -> dict[str, Any]:
    """``table`` of [host.memory] or [destination.memory] without keys that mean nothing."""
    lists = _keys_of_lists(memory) if isinstance(memory, HostMemory) else frozenset()
    idle = _keys_of_swap(memory) | lists
    found = {key: value for key, value in table.items() if key not in idle}
    if isinstance(memory, HostMemory) and memory.reclaim is not None:
        found["reclaim"] = {key: value for key, value in table["reclaim"].items() if key not in _keys_of_age(memory.reclaim)}
    return found


def _keys_of_swap(memory: Frames) -> frozenset[str]:
    return frozenset({"swap_size", "page_cluster", "async_page_faults"} if memory.swap == NO_SWAP else ())


def _keys_of_lists(memory: HostMemory) -> frozenset[str]:
    """Pages are on the lists of the policy that pages out, and age by its scans."""
    return frozenset({"policy", "proactive"} if memory.pages_out else ())


def _keys_of_age(reclaim: Reclaim) -> frozenset[str]:
    return frozenset() if reclaim.pages_out else frozenset({"age", "scan"})


def filled_pages(vm: Vm) -> int:
    """Pages of all RAMBlocks that have content when the VM starts."""
    return sum(pages for _, pages in vm.filled_gfns()) + sum(block.filled_pages for block in vm.ramblock)


def _without_kvm(scenario: Scenario, vms: Vms) -> Iterator[Finding]:
    if scenario.vm.dirty_tracking == "tcg":
        tables = {"host.memory": scenario.host.memory, "ageing": scenario.ageing, "neighbour": scenario.neighbour or None}
        for key in [key for key, table in tables.items() if table is not None]:
            yield Finding(key, "a table with dirty_tracking = 'tcg'", KVM_WANTED, KVM_EXAMPLE, ("vm.dirty_tracking",))
    for key, vm in vms[1:]:
        if vm.dirty_tracking == "tcg":
            yield Finding(f"{key}.dirty_tracking", "'tcg'", KVM_WANTED, 'dirty_tracking = "get-dirty-log"')


def _one_host(scenario: Scenario) -> Iterator[Finding]:
    """Findings where a neighbour has another kernel or machine than [vm]: a host has one of each."""
    host = scenario.vm.mmu or Mmu()
    for i, vm in enumerate(scenario.neighbour):
        for name in HOST_WIDE:
            own, wanted = getattr(vm.mmu or Mmu(), name), getattr(host, name)
            if vm.mmu is not None and name in vm.mmu.model_fields_set and own != wanted:
                key, uses = f"neighbour[{i}].mmu.{name}", (f"vm.mmu.{name}",)
                yield Finding(key, repr(own), f"{wanted!r}, as vm.mmu has it: it is one host", "", uses)


def _ageing(scenario: Scenario) -> Iterator[Finding]:
    ageing = scenario.ageing
    if ageing is None:
        return
    if ageing.policy != "scan" and "call_pages" in ageing.model_fields_set:
        wanted = 'only with policy = "scan": other policies ask page by page'
        yield Finding("ageing.call_pages", "a key that has no effect here", wanted, "", ("ageing.policy",))
    if scenario.host.memory is not None and not policy_named(ageing.policy).scans:
        # All others keep lists of their own, of pages that do not come and go.
        wanted = "'scan' or 'idle' beside [host.memory], whose own policy keeps the lists and ages by itself (proactive)"
        yield Finding("ageing.policy", f"'{ageing.policy}'", wanted, 'policy = "idle"', ("host.memory",))
    for key, vm in vms_of(scenario):
        if vm.mmu is not None and pins_pages(vm.mmu.index, vm.mmu.era):
            yield _pinned(key, vm.mmu, "ageing")


def _pinned(key: str, mmu: Mmu, table: str) -> Finding:
    got = f"'{mmu.index}' with [{table}] and era {mmu.era}"
    wanted = "another index, or a later era: Book3S PR pinned the pages of its guests in 2010"
    return Finding(f"{key}.mmu.index", got, wanted, 'era = "E0b"', (table, f"{key}.mmu.era"))


def _needless_limits(vms: Vms) -> Iterator[Finding]:
    for key, vm in vms:
        if vm.memory_limit is not None:
            got, wanted = "a key that has no effect here", "only with [host.memory]"
            yield Finding(f"{key}.memory_limit", got, wanted, "", ("host.memory",))


def _swap_keys(key: str, memory: Frames) -> Iterator[Finding]:
    """``key``: of the table of ``memory``."""
    for name in sorted(memory.model_fields_set & _keys_of_swap(memory)):
        wanted = f'only with a swap device: swap = "{NO_SWAP}"'
        yield Finding(f"{key}.{name}", "a key that has no effect here", wanted, 'swap = "nvme"', (f"{key}.swap",))
    if memory.size < MIB:
        yield Finding(f"{key}.size", format_bytes(memory.size), "at least 1MiB", 'size = "8GiB"')


def _pages(key: str, vm: Vm) -> Iterator[Finding]:
    mmu = vm.mmu or Mmu()
    if vm.dirty_tracking != "tcg" and mmu.page_size != "4KiB":
        wanted = "4KiB with [host.memory]: its frames hold 4 KiB each, and so does a slot of swap"
        got = f"'{mmu.page_size}' with [host.memory]"
        yield Finding(f"{key}.mmu.page_size", got, wanted, 'page_size = "4KiB"', ("host.memory",))
    if pins_pages(mmu.index, mmu.era):
        yield _pinned(key, mmu, "host.memory")


def _room(memory: HostMemory, vms: Vms) -> Iterator[Finding]:
    """Every page that has content at the start needs a frame or a swap slot."""
    filled = [filled_pages(vm) for _, vm in vms]
    limits = [NO_LIMIT if vm.memory_limit is None else vm.memory_limit // PAGE_BYTES for _, vm in vms]
    out = sum(filled) - sum(kept_at_start(filled, limits, memory.size // PAGE_BYTES))
    room = 0 if memory.swap == NO_SWAP else memory.swap_size // PAGE_BYTES
    if out > room:
        tail = ("memory", "filled", "fill", "ramblock", "memory_limit")
        uses = ("host.memory", *(f"{key}.{name}" for key, _ in vms for name in tail))
        got = f"{format_bytes(sum(filled) * PAGE_BYTES)} that have content at the start"
        wanted = f"at most as much as frames and swap hold: {format_bytes(out * PAGE_BYTES)} do not fit"
        more = 'swap = "nvme"'
        if memory.swap != NO_SWAP:
            wanted = f"{wanted} in frames, and swap_size is {format_bytes(memory.swap_size)}"
            more = f'swap_size = "{-(-out * PAGE_BYTES // MIB)}MiB"'
        yield Finding("host.memory.size", got, wanted, f'filled = "none" under [vm], or {more}', uses)


def _reclaim(scenario: Scenario, memory: HostMemory, reclaim: Reclaim) -> Iterator[Finding]:
    yield from _reclaim_keys(memory, reclaim)
    key = "host.memory.reclaim"
    if scenario.neighbour:
        wanted = "no [[neighbour]]: pages of [vm] alone go by the clock"
        yield Finding(key, "a table with [[neighbour]]", wanted, "", ("neighbour",))
    if reclaim.pages_out:
        yield from _ages(reclaim)
        yield from _room_for_all(scenario.vm, memory)
        if memory.swap == NO_SWAP:
            got, wanted = f"'none' with [{key}]", "a device to page out to"
            yield Finding("host.memory.swap", got, wanted, 'swap = "nvme"', (f"{key}.policy",))
    if reclaim.warm_up >= scenario.duration:
        wanted = f"a warm-up that ends before the run does ({format_duration(scenario.duration)})"
        yield Finding(f"{key}.warm_up", format_duration(reclaim.warm_up), wanted, 'warm_up = "10s"', ("duration",))


def _reclaim_keys(memory: HostMemory, reclaim: Reclaim) -> Iterator[Finding]:
    """Keys that are written and that nothing reads."""
    got, of = "a key that has no effect here", "host.memory.reclaim"
    for name in sorted(memory.model_fields_set & _keys_of_lists(memory)):
        wanted = f"the table without this key: the policy of [{of}] keeps the lists and ages by its scans"
        yield Finding(f"host.memory.{name}", got, wanted, "", (f"{of}.policy",))
    for name in sorted(reclaim.model_fields_set & _keys_of_age(reclaim)):
        yield Finding(f"{of}.{name}", got, "only with a policy that pages out", 'policy = "idle"', (f"{of}.policy",))


def _ages(reclaim: Reclaim) -> Iterator[Finding]:
    scan_ns, key = reclaim.scan_ns, "host.memory.reclaim"
    if reclaim.age % scan_ns or reclaim.age // scan_ns > AGE_SCANS_MAX:
        scan = format_duration(scan_ns)
        wanted = f"a multiple of the time from scan to scan, {scan}, at most {AGE_SCANS_MAX} of it"
        yield Finding(f"{key}.age", format_duration(reclaim.age), wanted, f'age = "{scan}"', (f"{key}.scan",))


def _room_for_all(vm: Vm, memory: HostMemory) -> Iterator[Finding]:
    """Frames for all pages of the VM, and for the batches of its vCPUs."""
    # Model limit: memory does not run short where pages are taken by the clock: the lists of such a policy give up idle
    # pages alone, and a kernel under pressure takes others.
    frames, beside = memory.size // PAGE_BYTES, " with [host.memory.reclaim]"
    pages = vm.memory_pages + sum(block.size // PAGE_BYTES for block in vm.ramblock)
    least = pages + (PCP_BATCH + 1) * (vm.vcpus + 1) + watermarks(frames).high
    if frames < least:
        wanted = f"frames for all of vm.memory and {format_bytes((least - pages) * PAGE_BYTES)} besides"
        uses = ("host.memory.reclaim.policy", "vm.memory", "vm.ramblock", "vm.vcpus")
        yield Finding("host.memory.size", f"{format_bytes(memory.size)}{beside}", wanted, 'size = "8GiB"', uses)
    if vm.memory_limit is not None:
        got, wanted = f"{format_bytes(vm.memory_limit)}{beside}", "no limit: memory does not run short there"
        yield Finding("vm.memory_limit", got, wanted, "", ("host.memory.reclaim.policy",))
