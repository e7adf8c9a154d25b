"""VMs that swap, whose waits of faults are counted twice: by the VM and by its host."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from hostsim.core.clock import Clock
from hostsim.core.memory import lay_out, make_memory
from hostsim.guest.workload import Active, Workload, build_guest
from hostsim.kvm.build import live_vm
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.notifier_plan import notifier_of
from hostsim.kvm.spec import MmuSpec
from hostsim.memory.host_memory import HostMemory, attach
from hostsim.memory.spec import HostMemorySpec

N_PAGES, FRAMES = 2048, 1400
READS_PER_S = 20_000


@dataclass(frozen=True)
class SwapRun:
    """A VM that has swapped, and its host."""

    vm: LiveVm
    host: HostMemory


def swapping_vm(n_vcpus: int, swap: str, work_ns: int, end_ns: int, seed: int) -> SwapRun:
    """Uniform random reads of ``work_ns`` by each vCPU over more memory than there is; the run goes on to ``end_ns``."""
    load = Workload(
        "reader", "uniform", tuple(range(n_vcpus)), 0, N_PAGES, read_rate_per_s=Fraction(n_vcpus * READS_PER_S),
        active=Active(0, work_ns),
    )  # fmt: skip
    env, mmu = Clock(), MmuSpec()
    memory = make_memory(lay_out([("pc.ram", N_PAGES, [(0, N_PAGES)])]))
    vm = live_vm(env, memory, build_guest([load], seed), n_vcpus, 0, mmu, "get-dirty-log")
    host = attach(env, HostMemorySpec(FRAMES, swap), [(vm, notifier_of(vm, mmu))], seed)
    env.run(until=end_ns)
    host.check()
    return SwapRun(vm, host)
