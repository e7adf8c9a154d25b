"""A VM: memory, guest work, vCPUs, and the dirty tracker they share."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.core.clock import NEVER_NS, Clock
from hostsim.core.memory import GuestMemory
from hostsim.guest.armed import Armed, make_armed
from hostsim.guest.clocks import class_work
from hostsim.guest.pacing import work_at
from hostsim.guest.vcpu import Vcpu, VcpuThread
from hostsim.guest.workload import Guest

_ALL_THERE = np.zeros(0, np.uint8)


class VmBase:
    """Base of VMs: guest state, and the threads of the vCPUs; ``armed``: pending touches, which the send loop reads."""

    vcpus: Sequence[VcpuThread]

    def __init__(self, env: Clock, memory: GuestMemory, guest: Guest, armed: Armed, stop_ns: int) -> None:
        """``stop_ns``: time of vm_stop once all vCPUs are out of the guest."""
        self.env, self.memory, self.guest, self.armed = env, memory, guest, armed
        self.running = True
        self._stop_ns = stop_ns

    @property
    def settled_ns(self) -> int:
        """Time up to which ``memory.zero`` holds [ns]; NEVER_NS: pending touches decide at any time whether it holds."""
        return NEVER_NS

    def may_come_up(self) -> bool:
        """Whether the guest may deliver an event to the host that SimPy does not have yet."""
        return False

    @property
    def backing(self) -> NDArray[np.uint8]:
        """uint8[n_pages]: the place of each page at the host (hostsim.kvm.loops.layout); empty: all pages are resident."""
        return _ALL_THERE

    def read_back(self, page: int) -> Generator[simpy.Event, Any, None]:  # noqa: ARG002  # all are there
        """Make ``page`` resident for a thread of the host, which reads it."""
        yield from ()

    def note_read(self, pages: NDArray[np.int64]) -> None:
        """Note that a thread of the host has read ``pages`` (int64[k]), which sets A bits in its own page table."""

    def check_host(self) -> None:
        """InvariantError if the host's memory breaks an invariant, or does not match this VM."""

    def tally(self) -> Any:
        """Counts of exits and of work on the log so far (hostsim.kvm.tally.Tally); None where vCPUs have no exits."""
        return None

    def index_figures(self) -> Any:
        """Work of the index of the VM's sptes so far (hostsim.kvm.indexed.IndexFigures); None without an index."""
        return None

    def work_ns(self) -> int:
        """Work done by now, summed over all work clocks [ns]."""
        now_ns = self.env.now_ns
        return sum([int(work_at(row, now_ns)) for row in self.guest.clocks])

    def class_works(self) -> list[int]:
        """Work done by each touch class by now [ns]."""
        ints, clocks = self.guest.table.ints, self.guest.clocks
        return [int(class_work(ints, clocks, c, self.env.now_ns)) for c in range(len(ints))]

    def stop(self) -> Generator[simpy.Event, Any, None]:
        """vm_stop: return when no vCPU is in the guest (softmmu/cpus.c::vm_stop)."""
        self.running = False
        yield self.env.all_of([vcpu.pause() for vcpu in self.vcpus])
        yield self.env.timeout(self._stop_ns)

    def run_on_cpus(self) -> Generator[simpy.Event, Any, None]:
        """Return when every vCPU thread has run a work item; a throttled vCPU runs it after its sleep."""
        for vcpu in self.vcpus:
            yield vcpu.run_on_cpu()

    def start(self) -> None:
        """vm_start: all vCPUs enter the guest again."""
        self.running = True
        for vcpu in self.vcpus:
            vcpu.resume()


class Vm(VmBase):
    """A VM whose vCPUs leave the guest only when kicked; ``armed``: pending touches, which the loops share."""

    def __init__(self, env: Clock, memory: GuestMemory, guest: Guest, n_vcpus: int, stop_ns: int) -> None:
        """``stop_ns``: time of vm_stop once all vCPUs are out of the guest."""
        armed = make_armed(guest.pending_size, guest.paced_size, len(guest.table.ints))
        super().__init__(env, memory, guest, armed, stop_ns)
        self.vcpus = [
            Vcpu(env, guest.clocks, np.flatnonzero(guest.clock_vcpu == i).astype(np.int64), i) for i in range(n_vcpus)
        ]

    def class_work(self, c: int) -> int:
        """Work time [ns] of touch class ``c`` now."""
        return int(class_work(self.guest.table.ints, self.guest.clocks, c, self.env.now_ns))
