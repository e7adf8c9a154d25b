"""Runs a drawn host in small steps, and says what must hold after each of them and at the end."""

from __future__ import annotations

import numpy as np

from hostsim.guest.pacing import work_at
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.loops.layout import FAULTS, OUT, WAITING
from hostsim.kvm.vcpu_times import check_vcpu_times, vcpu_times
from hostsim.machine.machine import Machine
from hostsim.memory.fault_waits import VCPU
from hostsim.memory.pages import PLACES
from hostsim.results.latencies import distributions
from hostsim.results.memory import host_result
from hostsim.scenario.build import build
from tests.swarm.configs import drawn_scenario

STEPS = 8
LONGEST_NS = 20_000_000_000
"""A vCPU that stands still is watched for so long: a queue at a slow disk is long."""
WAITS = {WAITING: "mmu_lock", FAULTS: "its page", OUT: "user space"}


def check_seed(seed: int) -> str:
    """Run the host of ``seed`` and check it; returns how it ended. AssertionError and InvariantError name the seed."""
    scenario = drawn_scenario(seed)
    try:
        return _checked(Machine(build(scenario)))
    except BaseException as error:
        error.add_note(f"seed {seed}: python -m tests.swarm.replay {seed}")
        raise


def _checked(machine: Machine) -> str:
    _run(machine)
    _check_pages(machine)
    _check_latencies(machine)
    _check_times(machine)
    if machine.out_of_memory is not None:
        _check_ran_out(machine)
        return "out of memory"
    if machine.migration is not None and machine.migration.done.triggered:
        return machine.migration.state.status
    for vm in machine.live_vms:
        _check_goes_on(machine, vm)
    return "out of memory" if machine.out_of_memory is not None else "ended"


def _over(machine: Machine) -> bool:
    migrated = machine.migration is not None and machine.migration.done.triggered
    return migrated or machine.out_of_memory is not None


def _run(machine: Machine) -> None:
    for step in range(1, STEPS + 1):
        end_ns = machine.spec.duration_ns * step // STEPS
        _run_on(machine, end_ns - machine.env.now_ns)
        _look(machine)
        if _over(machine):
            return
        assert machine.env.now_ns == end_ns, "time goes on"


def _look(machine: Machine) -> None:
    for vm in machine.live_vms:
        vm.engine.mmu.check_counts()
        assert vm.engine.pages.first_orphan() == -1
        check_vcpu_times(vm)
    if machine.memory is not None:
        machine.memory.check()


def _check_pages(machine: Machine) -> None:
    """Each page is in one place, and the content of a swap slot is of the VM that has the slot."""
    memory = machine.memory
    for number, pages in enumerate([] if memory is None else memory.vms):
        by_place = np.bincount(pages.where, minlength=len(PLACES))
        assert len(by_place) == len(PLACES)
        assert by_place.sum() == machine.live_vms[number].memory.n_pages
        for page in np.flatnonzero(pages.slot >= 0).tolist():
            pages.check_copy(page, memory.area.load(int(pages.slot[page])))
    if memory is not None:
        assert memory.area.used == sum(int((pages.slot >= 0).sum()) for pages in memory.vms)


def _check_times(machine: Machine) -> None:
    """No vCPU has more than its time, and the waits in the results are those of faults, each of its own waiter."""
    for number, pages in enumerate([] if machine.memory is None else machine.memory.vms):
        times = vcpu_times(machine.live_vms[number])
        assert (times.exit_ns + times.user_space_ns <= times.elapsed_ns).all()
        assert (times.page_wait_ns <= times.exit_ns).all()
        assert times.page_wait_ns.sum() == pages.waits[VCPU].ns
    told = host_result(machine)
    for row in told.memory["vms"] if told is not None and told.memory is not None else []:
        assert 0 <= row["stall_share"] <= row["stall_share_max"] <= 1
    for daemon in machine.daemons:
        assert all(done.host_read <= done.young <= done.asked <= len(daemon.ages) for done in daemon.passes)


def _check_latencies(machine: Machine) -> None:
    for one in distributions(machine):
        summary = one.latencies.summary()
        marks = [0, *(summary[f"p{percent}_ns"] for percent in ("50", "90", "99", "99.9")), summary["max_ns"]]
        assert marks == sorted(marks), one.what
        assert int(one.latencies.buckets()[1].sum()) == one.latencies.count


def _check_ran_out(machine: Machine) -> None:
    """Only where swap has no slot left, or there is none."""
    memory, end = machine.memory, machine.out_of_memory
    assert memory is not None
    assert end is not None
    assert end.ns == machine.env.now_ns
    assert memory.area.left == 0, "memory ran out with swap to spare"


def _check_goes_on(machine: Machine, vm: LiveVm) -> None:
    """Every vCPU works, or waits for something that comes."""
    busy = sorted(set(vm.guest.clock_vcpu.tolist()))
    still, before, watched_ns = busy, _work(vm), 0
    while still and watched_ns < LONGEST_NS and not _over(machine):
        step_ns = 200_000 + watched_ns
        _run_on(machine, step_ns)
        watched_ns += step_ns
        after = _work(vm)
        still = [vcpu for vcpu in still if after[vcpu] <= before[vcpu]]
    stages = {vcpu: int(vm.engine.kvm.vcpus[vcpu].stage) for vcpu in still}
    told = {vcpu: WAITS.get(stage, f"stage {stage}") for vcpu, stage in stages.items()}
    assert _over(machine) or not still, f"vCPUs stand still and wait for {told}"


def _run_on(machine: Machine, step_ns: int) -> None:
    stops = [] if machine.migration is None else [machine.migration.done]
    stops += [] if machine.memory is None else [machine.memory.exhausted]
    machine.env.run(until=machine.env.any_of([machine.env.timeout(step_ns), *stops]))


def _work(vm: LiveVm) -> dict[int, int]:
    """Work done by each vCPU [ns]."""
    work: dict[int, int] = {}
    for row, vcpu in zip(vm.guest.clocks, vm.guest.clock_vcpu.tolist(), strict=True):
        work[vcpu] = work.get(vcpu, 0) + int(work_at(row, vm.env.now_ns))
    return work
