"""O19, O33 on the swap device and on VMs that swap.

Waits of Poisson requests, with exponential and with constant service. Little's law on the faults of VMs, whose waits are
counted twice, by the VM and by its host; the cycle of one vCPU that works, faults and waits.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hostsim.core.clock import Clock
from hostsim.core.memory import lay_out, make_memory
from hostsim.core.rng import keyed_exponential, stream_key
from hostsim.guest.workload import Active, Workload, build_guest
from hostsim.kvm.build import live_vm
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.loops.layout import N_EXITS
from hostsim.kvm.notifier_plan import notifier_of
from hostsim.kvm.spec import MmuSpec
from hostsim.memory.fault_waits import VCPU
from hostsim.memory.host_memory import HostMemory, attach
from hostsim.memory.spec import HostMemorySpec
from hostsim.memory.swap_device import SwapDevice
from hostsim.memory.swap_service import Constant, Exponential, Service
from hostsim.memory.swap_sheet import SwapSpec
from hostsim.theory import queues
from hostsim.validation.rows import Row, exact, sigma
from hostsim.validation.samples import SUITE, closed_requester_row, little_row, sample_z

N_PAGES, FRAMES = 2048, 1400
READS_PER_S = 20_000


@dataclass(frozen=True)
class SwapRun:
    """A VM that has swapped, and its host."""

    vm: LiveVm
    host: HostMemory


def swapping_vm(n_vcpus: int, swap: str, work_ns: int, end_ns: int, seed: int) -> SwapRun:
    """A run in which each of ``n_vcpus`` vCPUs reads at random, uniformly, for ``work_ns``, over more memory than there is.

    swap: name of the swap device. end_ns: the run goes on until then, after the last read. seed: of all draws.
    """
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


SERVICE_NS = 20_000
UTILISATIONS = (0.5, 0.7, 0.9)
SERVICES: dict[str, tuple[Service, Callable[[float, float], float]]] = {
    "exponential": (Exponential(SERVICE_NS), queues.mm1_wait),
    "constant": (Constant(SERVICE_NS), queues.md1_wait),
}
BATCHES, BATCH_REQUESTS = 20, 2000
"""One long run, its first batch left out. At 0.9 the queue forgets in some 400 services, a fifth of a batch."""


def swap_rows(seed: int = 1) -> Iterator[Row]:
    """Rows of the waits at a swap device, from a quarter of a million requests."""
    for rho in UTILISATIONS:
        for name, (service, form) in SERVICES.items():
            yield from _queue_rows(f"O19-run/swap/{rho}", name, service, rho, form(rho, SERVICE_NS), seed)


def _queue_rows(row_id: str, name: str, service: Service, rho: float, expected_ns: float, seed: int) -> Iterator[Row]:
    env = Clock()
    device = SwapDevice(env, SwapSpec("one channel", 1, service, service), seed, f"{name} {rho}")
    arrivals_ns = _arrivals_ns(seed, rho)
    latencies_ns = np.empty(len(arrivals_ns), np.int64)
    env.process(_requests(env, device, arrivals_ns, latencies_ns))
    env.run()
    waits_ns = _waits_ns(arrivals_ns, latencies_ns).reshape(BATCHES + 1, -1)[1:].mean(axis=1)
    what = f"mean wait, {name} service, ns"
    yield sigma(SUITE, row_id, what, expected_ns, float(waits_ns.mean()), sample_z(waits_ns, expected_ns))
    yield little_row(f"{row_id}/{name}/little", arrivals_ns, arrivals_ns + latencies_ns, device.in_flight_ns)


def _arrivals_ns(seed: int, rho: float) -> NDArray[np.int64]:
    keys, requests = stream_key(seed, f"requests {rho}"), (BATCHES + 1) * BATCH_REQUESTS
    gaps = [keyed_exponential(*keys, number, 0) for number in range(requests)]
    return np.cumsum(np.round(np.array(gaps) * SERVICE_NS / rho).astype(np.int64))


def _requests(
    env: Clock, device: SwapDevice, arrivals_ns: NDArray[np.int64], latencies_ns: NDArray[np.int64]
) -> Generator[Any, Any, None]:
    """Submits at the arrivals and waits for nothing; a latency is the value of its event, known when it is made."""
    done = []
    for arrival_ns in arrivals_ns.tolist():
        yield env.timeout(arrival_ns - env.now_ns)
        done.append(device.submit("read"))
    latencies_ns[:] = np.array([event.value for event in done])


def _waits_ns(arrivals_ns: NDArray[np.int64], latencies_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[n]: from arrival to the end of the request before, where that comes later."""
    ends_ns = arrivals_ns + latencies_ns
    return np.concatenate([[0], np.maximum(0, ends_ns[:-1] - arrivals_ns[1:])])


WORK_NS, END_NS = 30_000_000, 1_000_000_000
"""Long enough for every fault to have its answer."""
SWAPS = ("nvme", "zram")


def fault_rows(seed: int = 1) -> Iterator[Row]:
    """Rows of the faults of VMs that swap, from hundreds of faults on each device."""
    for swap in SWAPS:
        yield _little_row(swap, swapping_vm(4, swap, WORK_NS, END_NS, seed))
        yield _cycle_row(swap, swapping_vm(1, swap, 4 * WORK_NS, END_NS, seed))


def _little_row(swap: str, run: SwapRun) -> Row:
    """Little's law from empty to empty: mean in flight = rate x mean latency, both sides times the duration."""
    assert run.vm.page_waits.in_flight == 0, "every fault has its answer by the end"
    assert run.vm.page_waits.faults > 500
    waited_ns = run.host.vms[0].waits[VCPU].ns
    what = f"faults in flight, integrated, ns, {run.vm.page_waits.faults} faults of 4 vCPUs"
    return exact(SUITE, f"O33-run/faults/{swap}", what, waited_ns, run.vm.page_waits.in_flight_ns)


def _cycle_row(swap: str, run: SwapRun) -> Row:
    """The vCPU as closed requester: its work is the think time; a fault lasts from the exit to the next entry."""
    by_kind, now_ns = run.vm.engine.exit_latencies(), run.vm.env.now_ns
    exits_ns = sum(by_kind[kind].total_ns for kind in range(N_EXITS))
    return closed_requester_row(f"O33-run/vcpu/{swap}", run.vm.page_waits.faults, now_ns, exits_ns, run.vm.work_ns())
