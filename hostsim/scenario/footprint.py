"""Memory of this machine that a run will take, estimated before the run allocates it."""

from __future__ import annotations

import os
from pathlib import Path

from hostsim.core.constants import PAGE_BYTES
from hostsim.core.errors import InputError, Problem
from hostsim.core.latency import N_COUNTERS
from hostsim.core.units import format_bytes
from hostsim.costs.cost_rules import PML_ENTRIES
from hostsim.kvm.interfaces import with_rings
from hostsim.kvm.loops.layout import N_HOSTS, WALKER_CALLS
from hostsim.kvm.spec import MEASURED
from hostsim.memory.policies.registry import policy_named
from hostsim.scenario.memory_schema import NO_SWAP
from hostsim.scenario.schema import Scenario, Vm, Workload
from hostsim.scenario.section import SOURCE
from hostsim.spte_index.designs import DESIGNS

MEMORY_BYTES_A_PAGE = 5
"""zero and due (uint8), version (uint16), and a byte for the mask of written pages that the verdict counts."""
MIGRATION_BYTES_A_PAGE = 3
"""bmap (uint8) and copied (uint16)."""
KVM_BYTES_A_PAGE = 3
"""spte, dirty log, and the bitmap that a harvest read (uint8 each)."""
VISIT_BYTES_A_PAGE = 0.26
"""Under KVM: a sweep's visits as bits of a tree, 32 in 8 bytes, and its upper levels."""
BUFFER_BYTES_AN_ENTRY = 8
"""Under KVM: a gfn in a dirty ring or PML buffer (int64)."""
HISTOGRAM_BYTES = 8 * N_COUNTERS * (WALKER_CALLS + N_HOSTS)
"""Under KVM: latencies (int64)."""
INDEX_BYTES_A_PAGE = 92
"""Under KVM with an index: its tables (gfn, flags, zapped: 9), the log of a fault a page (64), and while it is asked ranks
and masks (19).
"""
HOST_BYTES_A_PAGE = 45
"""With [host.memory]: slot, token (int64), young bits of guest and host, places (uint8), and the policy's lists, two links
and two marks (int64 or less).
"""
POLICY_BYTES_A_PAGE = 72
"""With an ageing policy that keeps lists: the lists, and the arrays of a pass. Measured in all: 162 bytes a page with
two-list, 116 with mglru.
"""
AGEING_BYTES_A_PAGE = 26
"""With [ageing]: count of young passes and age of a page (int32), flags young and asked (uint8), first gfns of notifier
calls (int64), the instant since which a TLB may hold the page (int64).
"""
SWAP_BYTES_A_PAGE = 300
"""A copy in a slot: a tuple, its numbers, and its entry in a dict of Python."""
PENDING_BYTES_A_PAGE = 8
PACED_BYTES_A_PAGE = 2.125
"""hit (a bit) and few (int32 for every second page)."""
ZIPF_BYTES_A_PAGE, ZIPF_SCRATCH_BYTES_A_PAGE = 8, 32
"""Mean waits (float64) of writes or reads; four arrays of that size while they are computed."""


def footprint_bytes(scenario: Scenario) -> int:
    """Bytes that the arrays of a run take, without the traces: these are in memory already."""
    more = (HOST_BYTES_A_PAGE if scenario.host.memory else 0) + _ageing_bytes_a_page(scenario)
    migrated = MIGRATION_BYTES_A_PAGE if scenario.migration else 0
    vms = sum(_vm_bytes(vm, more) for vm in scenario.neighbour) + _vm_bytes(scenario.vm, migrated + more)
    return vms + _swap_bytes(scenario) + _destination_bytes(scenario)


def _destination_bytes(scenario: Scenario) -> int:
    """The guest once more, in an engine of its own, with [destination.memory]."""
    if scenario.destination is None:
        return 0
    memory = scenario.destination.memory
    over = 0 if memory.swap == NO_SWAP else scenario.vm.memory - memory.size
    swapped = SWAP_BYTES_A_PAGE * (max(0, over) // PAGE_BYTES)
    return _vm_bytes(scenario.vm, HOST_BYTES_A_PAGE + _ageing_bytes_a_page(scenario)) + swapped


def _ageing_bytes_a_page(scenario: Scenario) -> int:
    if scenario.ageing is None:
        return 0
    return AGEING_BYTES_A_PAGE + POLICY_BYTES_A_PAGE * (not policy_named(scenario.ageing.policy).scans)


def _swap_bytes(scenario: Scenario) -> int:
    """Upper bound of the bytes that this process keeps for pages in swap."""
    memory = scenario.host.memory
    if memory is None or memory.swap == NO_SWAP:
        return 0
    over = scenario.vm.memory + sum(vm.memory for vm in scenario.neighbour) - memory.size
    if memory.pages_out:
        over = scenario.vm.memory
    return SWAP_BYTES_A_PAGE * (min(max(0, over), memory.swap_size) // PAGE_BYTES)


def _vm_bytes(vm: Vm, more_a_page: int) -> int:
    pages = vm.memory_pages + sum(block.size // PAGE_BYTES for block in vm.ramblock)
    a_page = MEMORY_BYTES_A_PAGE + more_a_page
    if vm.mmu is None:
        return int(pages * a_page + sum(_workload_bytes(vm, load) for load in vm.workload))
    entries = PML_ENTRIES + (vm.mmu.ring_entries if vm.dirty_tracking in with_rings() else 0)
    buffers = BUFFER_BYTES_AN_ENTRY * entries * vm.vcpus
    workloads = sum(_kvm_workload_bytes(vm, load) for load in vm.workload)
    index = index_bytes(vm.mmu.index, pages, vm.vcpus)
    return int(pages * (a_page + KVM_BYTES_A_PAGE) + index + buffers + HISTOGRAM_BYTES + workloads)


def index_bytes(index: str, pages: int, vcpus: int) -> int:
    """Bytes of the sptes and links of ``pages``; 0 where the cost of an index is measured, not simulated."""
    if index == MEASURED:
        return 0
    return pages * INDEX_BYTES_A_PAGE + DESIGNS[index].kind.array_bytes(pages, vcpus)


def check_footprint(scenario: Scenario) -> None:
    """InputError if a run needs more memory than is free here."""
    needed, free = footprint_bytes(scenario), available_bytes()
    if free is not None and needed > free:
        wanted = f"at most the {format_bytes(free, 3)} of memory that are free on this machine"
        memory = scenario.vm.memory + sum(vm.memory for vm in scenario.neighbour)
        got = f"{format_bytes(memory)}, whose simulation takes {format_bytes(needed, 3)}"
        raise InputError([Problem(SOURCE, "vm.memory", got, wanted, 'memory = "64GiB"')])


def available_bytes(path: Path = Path("/proc/meminfo")) -> int | None:
    """Memory that a program can take without swapping [bytes]: MemAvailable; without it all physical memory; else None."""
    try:
        lines = dict(line.split(":", 1) for line in path.read_text(encoding="ascii").splitlines() if ":" in line)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError, IndexError):
        return _physical_bytes()


def _physical_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _zipf_bytes(load: Workload, n_pages: int) -> float:
    if load.pattern != "zipf":
        return 0.0
    return float(n_pages * (ZIPF_BYTES_A_PAGE * _streams(load) + ZIPF_SCRATCH_BYTES_A_PAGE))


def _streams(load: Workload) -> int:
    return int(load.write_rate > 0) + int(load.read_rate > 0)


def _kvm_workload_bytes(vm: Vm, load: Workload) -> float:
    """The engine of a KVM guest keeps no pending touches; sweeps find their next visit in a tree."""
    _, n_pages = load.region_gfns(vm.memory)
    if load.pattern not in ("sequential", "strided"):
        return _zipf_bytes(load, n_pages)
    sweeps = 1 if load.is_split else len(load.vcpu_numbers(vm.vcpus))
    return VISIT_BYTES_A_PAGE * n_pages * sweeps * _streams(load)


def _workload_bytes(vm: Vm, load: Workload) -> float:
    _, n_pages = load.region_gfns(vm.memory)
    total = _zipf_bytes(load, n_pages)
    if load.is_plugged:
        return PENDING_BYTES_A_PAGE * n_pages
    if load.write_rate == 0:
        return total
    if load.pattern in ("uniform", "hotcold") and load.arrivals == "paced":
        return total + PACED_BYTES_A_PAGE * n_pages
    shared = load.pattern in ("sequential", "strided") and not load.is_split
    return total + PENDING_BYTES_A_PAGE * n_pages * (len(load.vcpu_numbers(vm.vcpus)) if shared else 1)
