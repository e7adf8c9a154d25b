"""Checks of workloads that write page tables of the guest (``cr3_load_rate``), and of their processes and forks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

from hostsim.core.constants import PAGE_BYTES
from hostsim.core.errors import Finding
from hostsim.core.units import format_bytes, format_rate
from hostsim.kvm.spec import MEASURED
from hostsim.scenario.complete import TOUCHING
from hostsim.scenario.guest_schema import Vm, Workload
from hostsim.scenario.kvm_schema import Mmu
from hostsim.spte_index.spte import REGION_PAGES

LOADS_MAX_PER_S = 100_000
"""CR3 loads or INVLPGs of a vCPU; each costs the simulation some 50 us (assumed: no guest makes more)."""
FORKS_MAX_PER_S = 10_000
"""Forks of a vCPU; each costs the simulation some 50 us a page table of two processes (assumed: no guest makes more)."""


def page_table_findings(vm: Vm) -> Iterator[Finding]:
    """All findings about ``cr3_load_rate`` in the workloads of ``vm``, which is under KVM."""
    writers = [(f"vm.workload[{i}]", load) for i, load in enumerate(vm.workload) if load.cr3_load_rate]
    mmu = vm.mmu or Mmu()
    if not writers or mmu.mode != "shadow":
        return
    yield from _of_mmu(mmu, writers[0][0])
    yield from _of_vcpus(vm, writers)
    for key, load in writers:
        yield from _of_region(vm, key, load)
        yield from _of_rate(vm, key, load)
        yield from _of_processes(vm, key, load)
        yield from _of_others(vm, key, load)


def _of_mmu(mmu: Mmu, key: str) -> Iterator[Finding]:
    uses = (f"{key}.cr3_load_rate", "vm.mmu.mode")
    if mmu.page_size != "4KiB":
        wanted = "4KiB with cr3_load_rate: page tables of the lowest level map 4 KiB pages"
        yield Finding("vm.mmu.page_size", mmu.page_size, wanted, 'page_size = "4KiB"', uses)
    if mmu.index != MEASURED:
        wanted = f"'{MEASURED}' with cr3_load_rate: the work of an index at a CR3 load is not modelled"
        yield Finding("vm.mmu.index", f"'{mmu.index}'", wanted, f'index = "{MEASURED}"', uses)


def _of_vcpus(vm: Vm, writers: list[tuple[str, Workload]]) -> Iterator[Finding]:
    """A vCPU loads CR3 for one workload: the tables of all its processes are one region."""
    loaded = Counter(vcpu for _, load in writers for vcpu in load.vcpu_numbers(vm.vcpus))
    twice = [vcpu for vcpu, n in loaded.items() if n > 1]
    if twice:
        key, wanted = writers[-1][0], "one workload with cr3_load_rate a vCPU"
        yield Finding(f"{key}.cr3_load_rate", f"a further one of vCPU {twice[0]}", wanted, "", (f"{key}.vcpus",))


def _of_region(vm: Vm, key: str, load: Workload) -> Iterator[Finding]:
    tables, n_regions = load.region_gfns(vm.memory)[1], -(-vm.memory_pages // REGION_PAGES)
    if tables > n_regions:
        most = format_bytes(n_regions * PAGE_BYTES)
        wanted = f"at most {most} with cr3_load_rate: a page table for each 2 MiB of vm.memory"
        got, uses = format_bytes(tables * PAGE_BYTES), ("vm.memory", f"{key}.at")
        yield Finding(f"{key}.size", got, wanted, f'size = "{most}"', uses)


def _of_rate(vm: Vm, key: str, load: Workload) -> Iterator[Finding]:
    n = len(load.vcpu_numbers(vm.vcpus))
    loads, forks = n * LOADS_MAX_PER_S, n * FORKS_MAX_PER_S
    for name, rate, most_per_s, why in (
        ("cr3_load_rate", load.cr3_load_rate, loads, "no guest switches processes each 10 us"),
        ("invlpg_rate", load.invlpg_rate, loads, "no guest invalidates a page each 10 us"),
        ("fork_rate", load.fork_rate, forks, "no guest forks each 100 us"),
    ):
        if rate > most_per_s:
            most = format_rate(Fraction(most_per_s))
            example = f'{name} = "{format_rate(min(rate, Fraction(most_per_s, 100)))}"'
            yield Finding(f"{key}.{name}", format_rate(rate), f"at most {most}: {why}", example, (f"{key}.vcpus",))


def _of_processes(vm: Vm, key: str, load: Workload) -> Iterator[Finding]:
    """A process has at least one page table, and runs on one vCPU."""
    n, tables = len(load.vcpu_numbers(vm.vcpus)), load.region_gfns(vm.memory)[1]
    if load.processes > 1 and n > 1 and not load.is_split:
        wanted = "true with processes = 2 or more: each vCPU has processes of its own"
        yield Finding(f"{key}.split", "false", wanted, "split = true", (f"{key}.processes", f"{key}.vcpus"))
    if load.processes * n > tables:
        most = max(1, tables // n)
        wanted = f"at most {most}: a page table, 4 KiB of the region, for each process"
        yield Finding(f"{key}.processes", str(load.processes), wanted, f"processes = {most}", (f"{key}.size",))


def _of_others(vm: Vm, key: str, load: Workload) -> Iterator[Finding]:
    """Only a write to an entry lets a table go out of sync: no other workload may write data there."""
    first, n_pages = load.region_gfns(vm.memory)
    for i, other in enumerate(vm.workload):
        begin, n_others = other.region_gfns(vm.memory)
        if other is not load and other.pattern in TOUCHING and begin < first + n_pages and first < begin + n_others:
            got = f"page tables in the region of vm.workload[{i}]"
            wanted = "a region with page tables that no other workload accesses"
            yield Finding(f"{key}.at", got, wanted, 'size = "512MiB"', (f"vm.workload[{i}].size", f"vm.workload[{i}].at"))
