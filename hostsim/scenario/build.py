"""Building the machine that a checked scenario describes."""

from __future__ import annotations

from hostsim.core.constants import PAGE_BYTES
from hostsim.core.memory import RamBlock, lay_out
from hostsim.core.rng import stream_key
from hostsim.guest.workload import Active, TouchTrace, Workload
from hostsim.kvm.spec import MmuSpec
from hostsim.machine.spec import DaemonSpec, MachineSpec, NeighbourSpec
from hostsim.memory.spec import NO_LIMIT, AgeingSpec, HostMemorySpec
from hostsim.plugins.registry import find
from hostsim.qemu.compression import ASSUMED_RATIO, Content
from hostsim.scenario import schema
from hostsim.scenario.footprint import check_footprint
from hostsim.scenario.mechanism import inputs_of
from hostsim.scenario.plugged import pacing_of, plugged_workloads
from hostsim.scenario.schema import Scenario, trace_name

MAIN_BLOCK = "pc.ram"


def build(scenario: Scenario) -> MachineSpec:
    """The machine of ``scenario``. InputError if a trace cannot be read or the run would not fit into free memory."""
    check_footprint(scenario)
    vm = scenario.vm
    return MachineSpec(
        blocks=_blocks(vm),
        workloads=_workloads(scenario, "vm", vm),
        n_vcpus=vm.vcpus,
        sheet=scenario.host.sheet(),
        seed=scenario.seed,
        duration_ns=scenario.duration,
        dirty_tracking=vm.dirty_tracking,
        dirty_rates=tuple(one.command() for one in vm.calc_dirty_rate),
        link=scenario.link.spec(scenario.seed),
        migration=scenario.migration.parameters() if scenario.migration else None,
        checkpoints=scenario.checkpoints.spec() if scenario.checkpoints else None,
        inputs=inputs_of(scenario),
        mmu=MmuSpec() if vm.mmu is None else vm.mmu.spec(scenario.costs()),
        limit_pages=_limit_pages(vm),
        neighbours=tuple(_neighbour(scenario, i, one) for i, one in enumerate(scenario.neighbour)),
        memory=_memory(scenario.host.memory) if scenario.host.memory else None,
        destination_memory=None if (there := scenario.destination) is None else _memory(there.memory),
        ageing=_ageing(scenario.ageing) if scenario.ageing else None,
        until_work=scenario.until == "work",
        content=_content(vm),
        plugged=tuple(DaemonSpec(find("daemon", one.name), one.options or {}) for one in scenario.daemon),
    )


def _content(vm: schema.Vm) -> Content:
    """How well the pages compress; the ratio of a workload holds for its region."""
    regions = [(*load.region_gfns(vm.memory), load.compression_ratio) for load in vm.workload]
    known = tuple((first, pages, ratio) for first, pages, ratio in regions if ratio is not None)
    return Content(vm.compression_ratio or ASSUMED_RATIO, known)


def _neighbour(scenario: Scenario, number: int, vm: schema.Vm) -> NeighbourSpec:
    key = f"neighbour[{number}]"
    assert vm.mmu is not None, "a checked neighbour is under KVM"
    return NeighbourSpec(
        blocks=_blocks(vm),
        workloads=_workloads(scenario, key, vm),
        n_vcpus=vm.vcpus,
        seed=stream_key(scenario.seed, key)[0],
        dirty_tracking=vm.dirty_tracking,
        mmu=vm.mmu.spec(scenario.costs()),
        limit_pages=_limit_pages(vm),
    )


def _limit_pages(vm: schema.Vm) -> int:
    return NO_LIMIT if vm.memory_limit is None else vm.memory_limit // PAGE_BYTES


def _memory(memory: schema.Frames) -> HostMemorySpec:
    return HostMemorySpec(
        frames=memory.size // PAGE_BYTES,
        swap=memory.swap,
        swap_pages=memory.swap_size // PAGE_BYTES,
        policy=memory.policy,
        page_cluster=memory.page_cluster,
        proactive_ns=memory.proactive,
        async_pf=memory.async_page_faults,
        reclaim=None if not isinstance(memory, schema.HostMemory) or memory.reclaim is None else memory.reclaim.spec(),
    )


def _ageing(ageing: schema.Ageing) -> AgeingSpec:
    return AgeingSpec(
        ageing.policy, ageing.period, ageing.call_pages, ageing.flush, ageing.passes or 0, ageing.mmu_lock
    )


def _blocks(vm: schema.Vm) -> tuple[RamBlock, ...]:
    others = [(block.name, block.size // PAGE_BYTES, [(0, block.filled_pages)]) for block in vm.ramblock]
    return lay_out([(MAIN_BLOCK, vm.memory_pages, vm.filled_gfns()), *others])


def _workloads(scenario: Scenario, key: str, vm: schema.Vm) -> tuple[Workload, ...]:
    parts = (plugged_workloads(scenario, key, vm, load) if load.is_plugged else (_workload(scenario, key, vm, load),)
             for load in vm.workload)  # fmt: skip
    return tuple(one for part in parts for one in part)


def _workload(scenario: Scenario, key: str, vm: schema.Vm, load: schema.Workload) -> Workload:
    first_gfn, n_pages = load.region_gfns(vm.memory)
    trace = scenario.traces()[trace_name(key, load)] if load.file is not None else None
    return Workload(
        name=str(load.name),
        pattern=load.pattern,
        vcpus=load.vcpu_numbers(vm.vcpus),
        first_gfn=first_gfn,
        n_pages=n_pages,
        write_rate_per_s=load.write_rate,
        read_rate_per_s=load.read_rate,
        pacing=pacing_of(load),
        split=load.is_split,
        stride_pages=load.stride // PAGE_BYTES or 1,
        hot_pages=load.hot_size // PAGE_BYTES,
        hot_share=load.hot_share,
        exponent=load.exponent,
        arrivals=load.arrivals,
        start_page=load.start_page,
        active=_active(load),
        trace=None if trace is None else TouchTrace(*trace),
        changed_bytes=load.changed_bytes,
        changed_place=load.changed_place,
        cr3_load_rate_per_s=load.cr3_load_rate,
        processes=load.processes,
        invlpg_rate_per_s=load.invlpg_rate,
        fork_rate_per_s=load.fork_rate,
    )


def _active(load: schema.Workload) -> Active | None:
    window = load.window
    return Active(window.start, window.length, window.period, window.is_of_host) if window else None


def workloads_of(scenario: Scenario) -> tuple[Workload, ...]:
    """The workloads of the guest that is migrated. InputError if a trace cannot be read."""
    return _workloads(scenario, "vm", scenario.vm)
