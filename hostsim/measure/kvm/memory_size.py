"""How large the VMs of a calibration are: smaller on a host whose faults take long."""

from __future__ import annotations

import time
from collections.abc import Sequence

from hostsim.core.constants import NS_PER_MS, PAGE_BYTES
from hostsim.measure.kvm.bench import Bench
from hostsim.measure.kvm.device import Kvm
from hostsim.measure.kvm.passes import unmap, write

LARGEST_BYTES, SMALLEST_BYTES = 64 << 20, 32 << 20
"""In 16 MiB, a GET or CLEAR of all pages is so short that two runs differ by 10 % and more."""
PROBE_BYTES = 2 << 20
PASSES, PAUSE_S = 6, 0.02
"""The shortest counts: a neighbour that is busy for a moment does not disturb all of them."""
PASS_MOST_NS = 150 * NS_PER_MS
"""A pass that faults on every page takes no longer: a first fault takes 4.6 us under PVM, 6.4 beside a neighbour, and more
than 20 us under nested VMX. The limit lies between, so that no neighbour changes the size, and with it other numbers.
"""


def memory_bytes(kvm: Kvm, cpus: Sequence[int]) -> int:
    """Memory of each VM [bytes], by the price of a fault on this host.

    kvm: the opened device.
    cpus: processors for the vCPU and the host's thread.
    """
    return size_for(_fault_ns(kvm, cpus))


def size_for(fault_ns: float) -> int:
    """The largest power of two whose pages fault within PASS_MOST_NS, from SMALLEST_BYTES to LARGEST_BYTES."""
    size = LARGEST_BYTES
    while size > SMALLEST_BYTES and size // PAGE_BYTES * fault_ns > PASS_MOST_NS:
        size //= 2
    return size


def _fault_ns(kvm: Kvm, cpus: Sequence[int]) -> float:
    """The least of a few populating passes over a small VM, a page."""
    bench = Bench(kvm, PASSES, PROBE_BYTES, tuple(cpus))
    with bench.vm() as vm:
        passes = []
        for _ in range(PASSES):
            unmap(vm)
            passes.append(write(vm).ns / vm.spec.n_pages)
            time.sleep(PAUSE_S)
    return min(passes)
