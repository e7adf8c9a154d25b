"""Asynchronous page faults: the task that waits sleeps, its vCPU does the rest of its work."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from hostsim.core.clock import Clock
from hostsim.core.memory import lay_out, make_memory
from hostsim.guest.pacing import Pacing, work_at
from hostsim.guest.workload import Workload, build_guest
from hostsim.kvm.build import live_vm
from hostsim.kvm.notifier_plan import notifier_of
from hostsim.kvm.spec import MmuSpec
from hostsim.memory.fault_waits import MAJOR, TASK, VCPU
from hostsim.memory.host_memory import HostMemory, attach
from hostsim.memory.spec import HostMemorySpec

N_PAGES, FRAMES, END_NS = 1024, 700, 40_000_000
SWAPS = Workload("swaps", "uniform", (0,), 0, N_PAGES - 64, Fraction(0), Fraction(100_000), Pacing())
STAYS = Workload("stays", "sequential", (0,), N_PAGES - 64, 64, Fraction(0), Fraction(100_000), Pacing())


def ran(*, async_pf: bool, workloads: tuple[Workload, ...] = (SWAPS, STAYS)) -> tuple[HostMemory, list[int]]:
    """The host, and the work of each task by the end."""
    env = Clock()
    memory, guest = make_memory(lay_out([("pc.ram", N_PAGES, [(0, N_PAGES)])])), build_guest(workloads, 1)
    vm = live_vm(env, memory, guest, 1, 0, MmuSpec(), "get-dirty-log")
    host = attach(env, HostMemorySpec(FRAMES, async_pf=async_pf), [(vm, notifier_of(vm, MmuSpec()))], seed=1)
    for end_ns in range(1_000_000, END_NS + 1, 1_000_000):
        env.run(until=end_ns)
        host.check()
    vm.engine.mmu.check_counts()
    return host, [int(work_at(row, END_NS)) for row in guest.clocks]


@pytest.mark.quick
def test_a_task_that_waits_for_swap_does_not_hold_up_another_one() -> None:
    halting, (swaps_halting, stays_halting) = ran(async_pf=False)
    parking, (swaps_parking, stays_parking) = ran(async_pf=True)
    assert swaps_halting == stays_halting, "both stand still while their vCPU waits"
    assert stays_parking > 0.8 * END_NS > 2 * stays_halting
    assert swaps_parking < 0.5 * END_NS
    assert halting.vms[0].counts["async_faults"] == 0 < parking.vms[0].counts["async_faults"]
    waits_ns = parking.vms[0].waits[TASK].latencies[MAJOR].total_ns
    assert parking.vms[0].waits[VCPU].latencies[MAJOR].count == 0, "no vCPU waits for swap"
    assert swaps_parking + waits_ns == pytest.approx(END_NS, rel=0.1), "asleep while it waits, and at no other time"


@pytest.mark.quick
def test_a_vcpu_whose_tasks_all_sleep_is_idle_and_goes_on() -> None:
    _, halting = ran(async_pf=False, workloads=(SWAPS,))
    _, parking = ran(async_pf=True, workloads=(SWAPS,))
    assert np.array(parking) == pytest.approx(halting, rel=0.1), "with one task there is nothing else to do"
