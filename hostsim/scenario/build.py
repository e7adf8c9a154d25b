"""From a checked scenario to the machine it describes."""

from __future__ import annotations

from fractions import Fraction

from hostsim.guest.pacing import Pacing
from hostsim.guest.workload import Active, TouchTrace, Workload
from hostsim.host.kvm.spec import MmuSpec
from hostsim.host.link import LinkSpec
from hostsim.host.machine import MachineSpec
from hostsim.host.migration.parameters import MigrationParameters
from hostsim.mmu.memory import PAGE_SIZE, RamBlock, lay_out
from hostsim.scenario import schema
from hostsim.scenario.footprint import check_footprint
from hostsim.scenario.schema import Scenario

MAIN_BLOCK = "pc.ram"
NS_PER_MS = 1_000_000


def build(scenario: Scenario) -> MachineSpec:
    """The machine of ``scenario``. InputError if a trace cannot be read or the run would not fit into free memory."""
    check_footprint(scenario)
    vm = scenario.vm
    return MachineSpec(
        blocks=_blocks(vm),
        workloads=tuple(_workload(scenario, load) for load in vm.workload),
        n_vcpus=vm.vcpus,
        sheet=scenario.host.sheet(),
        seed=scenario.seed,
        duration_ns=scenario.duration,
        dirty_tracking=vm.dirty_tracking,
        link=LinkSpec(scenario.link.bandwidth, scenario.link.latency, scenario.link.socket_buffer),
        migration=_migration(scenario.migration) if scenario.migration else None,
        mmu=MmuSpec() if vm.mmu is None else _mmu(vm.mmu, scenario.costs()),
    )


def _mmu(mmu: schema.Mmu, costs: str) -> MmuSpec:
    return MmuSpec(
        era=mmu.era,
        costs=costs,
        mmu=mmu.mode,
        page_size=mmu.page_size,
        write_tracking=mmu.caught_by,
        eager_split=mmu.eager_split,
        ring_entries=mmu.ring_entries,
        index=mmu.index,
    )


def _blocks(vm: schema.Vm) -> tuple[RamBlock, ...]:
    others = [(block.name, block.size // PAGE_SIZE, [(0, block.filled_pages)]) for block in vm.ramblock]
    return lay_out([(MAIN_BLOCK, vm.memory_pages, vm.filled_gfns()), *others])


def _workload(scenario: Scenario, load: schema.Workload) -> Workload:
    first_gfn, n_pages = load.region_gfns(scenario.vm.memory)
    trace = scenario.traces()[str(load.name)] if load.file is not None else None
    return Workload(
        name=str(load.name),
        pattern=load.pattern,
        vcpus=load.vcpu_numbers(scenario.vm.vcpus),
        first_gfn=first_gfn,
        n_pages=n_pages,
        write_rate_per_s=load.write_rate,
        read_rate_per_s=load.read_rate,
        pacing=Pacing(load.pacing == "open", Fraction(load.catch_up), load.tick, load.tick_late),
        split=load.split,
        stride_pages=load.stride // PAGE_SIZE or 1,
        hot_pages=load.hot_size // PAGE_SIZE,
        hot_share=load.hot_share,
        exponent=load.exponent,
        arrivals=load.arrivals,
        start_page=load.start_page,
        active=Active(load.active.start, load.active.length, load.active.period) if load.active else None,
        trace=None if trace is None else TouchTrace(*trace),
    )


def _migration(migration: schema.Migration) -> MigrationParameters:
    return MigrationParameters(
        qemu=migration.qemu,
        max_bandwidth=migration.bandwidth,
        downtime_limit_ms=migration.downtime_limit // NS_PER_MS,
        auto_converge=migration.auto_converge,
        throttle_trigger_threshold=migration.throttle_trigger_threshold,
        cpu_throttle_initial=migration.cpu_throttle_initial,
        cpu_throttle_increment=migration.cpu_throttle_increment,
        cpu_throttle_tailslow=migration.cpu_throttle_tailslow,
        max_cpu_throttle=migration.max_cpu_throttle,
        avail_switchover_bandwidth=migration.avail_switchover_bandwidth,
        return_path=migration.return_path,
        start_ns=migration.start,
        timeout_ns=migration.timeout,
    )
