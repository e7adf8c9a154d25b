"""A VM under KVM that runs while the host works on its log: its engine, mmu_lock and flushes on SimPy's clock."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.core.clock import NEVER_NS, Clock
from hostsim.core.memory import GuestMemory
from hostsim.guest.armed import make_armed
from hostsim.guest.vm import VmBase
from hostsim.guest.workload import Guest
from hostsim.kvm.engine import CONTENDED, FAULT, GRANTED, OUT, WALKED, Due, GuestEngine
from hostsim.kvm.flush import RemoteFlush
from hostsim.kvm.indexed import IndexedSptes, IndexFigures
from hostsim.kvm.lock import MmuLock
from hostsim.kvm.page_waits import PageWaits
from hostsim.kvm.plan import LogPlan
from hostsim.kvm.tally import LogTimes, Tally, live_tally
from hostsim.kvm.turn import Turn
from hostsim.kvm.vcpu import KvmVcpu
from hostsim.kvm.vcpu_times import check_vcpu_times

Step = Generator[simpy.Event, Any, None]


class HostPages(Protocol):
    """The host under a VM whose pages are not all there."""

    def vcpu_faults(self, vcpu: int) -> None:
        """``vcpu`` waits for its page, or for a frame: begin to find it."""
        ...

    def fault_in(self, page: int) -> Step:
        """The migration thread reads ``page``; returns when it is there."""
        ...

    def note_read(self, pages: NDArray[np.int64]) -> None:
        """The migration thread has read ``pages``, which are there."""
        ...

    def check(self) -> None:
        """InvariantError if a page or a frame of the host is lost, or has two owners."""
        ...


class LiveVm(VmBase):
    """engine: sptes and vCPUs; lock: mmu_lock; flush: remote TLB flushes; slots_lock: one ioctl on the log at a time.

    plan: how the log is kept; times: what keeping it took so far; on_ring_full: what a vCPU does with a full ring;
    indexed: the sptes in an index, None: its work is not modelled; host: what finds its pages, None: all of them are there;
    page_waits: of its vCPUs and their tasks for pages that the host does not have.
    """

    vcpus: list[KvmVcpu]

    def __init__(
        self, env: Clock, memory: GuestMemory, guest: Guest, n_vcpus: int, stop_ns: int, engine: GuestEngine, plan: LogPlan,
        indexed: IndexedSptes | None = None, *, running: bool = True,
    ) -> None:  # fmt: skip
        """stop_ns: time of vm_stop once all vCPUs are out of the guest; running: the vCPUs are in the guest, else held."""
        super().__init__(env, memory, guest, make_armed(0, 0, len(guest.table.ints)), stop_ns)
        self.engine, self.plan, self.times, self.indexed = engine, plan, LogTimes(), indexed
        self.lock = MmuLock(env, engine.lock, engine.walks)
        self.flush = RemoteFlush(env, engine.tlb, engine.walks, plan.costs)
        self.slots_lock = Turn(env)
        self.on_ring_full: Callable[[], Step] = _no_ring
        self.host: HostPages | None = None
        self.page_waits = PageWaits(n_vcpus)
        self.vcpus = [
            KvmVcpu(env, engine, index, self._ring_full, self._is_ring_full, running=running) for index in range(n_vcpus)
        ]
        env.attach(self)

    @property
    def next_ns(self) -> int:
        """No event of the guest comes before it [ns]."""
        return self.engine.next_ns

    def advance(self, horizon_ns: int) -> Due | None:
        """Run the guest up to (strictly below) ``horizon_ns``, or to what comes up for the host."""
        return self.engine.advance(horizon_ns)

    def deliver(self, due: Due) -> None:
        """Wake the process that waits for ``due``."""
        if due.what == OUT:
            self.vcpus[due.who].left()
        elif due.what in {GRANTED, WALKED}:
            self.lock.granted(due.who)
        elif due.what == FAULT:
            assert self.host is not None
            self.page_waits.begins(due.who, self.env.now_ns)
            self.host.vcpu_faults(due.who)
        else:
            assert due.what == CONTENDED
            self.lock.contended(due.who)

    def may_come_up(self) -> bool:
        """Whether a host process waits for the guest, or a ring may be full."""
        if self.host is not None or self.plan.interface == "dirty-ring":
            return True
        return self.lock.awaited or any(vcpu.leaving for vcpu in self.vcpus)

    @property
    def settled_ns(self) -> int:
        """The guest's memory does not change before this instant is over [ns]."""
        return min(self.engine.next_ns, NEVER_NS - 1)

    @property
    def backing(self) -> NDArray[np.uint8]:
        """uint8[n_pages]: which pages the host has; empty: all."""
        return self.engine.pages.backing if self.host is not None else super().backing

    def page_is_there(self, vcpu: int) -> None:
        """The host has found the page that ``vcpu`` waits for, or a frame: it looks the page up again."""
        self.page_waits.ends(vcpu, self.env.now_ns)
        self.engine.pages.look_again(vcpu, self.env.now_ns)

    def put_to_sleep(self, vcpu: int) -> int:
        """The task of ``vcpu`` waits for its page asleep, the vCPU does its other work; returns the task's work clock."""
        clock = self.engine.pages.park(vcpu, self.env.now_ns)
        self.page_waits.falls_asleep(vcpu, clock, self.env.now_ns)
        return clock

    def wake(self, vcpu: int, clock: int) -> None:
        """The page is there that the task of work clock ``clock`` waits for."""
        self.page_waits.wakes(clock, self.env.now_ns)
        self.engine.pages.unpark(vcpu, clock, self.env.now_ns)

    def read_back(self, page: int) -> Step:
        """The migration thread reads ``page``; returns when it is there."""
        if self.host is not None:
            yield from self.host.fault_in(page)

    def note_read(self, pages: NDArray[np.int64]) -> None:
        """The migration thread has read ``pages``."""
        if self.host is not None:
            self.host.note_read(pages)

    def check_host(self) -> None:
        """InvariantError if the host's memory contradicts itself or this VM, or the time of a vCPU does not add up."""
        check_vcpu_times(self)
        if self.host is not None:
            self.host.check()

    def tally(self) -> Tally:
        """All counters now."""
        found = live_tally(self.env.now_ns, self.engine, self.lock, self.flush, self.times, self.vcpus)
        return replace(found, page_wait_ns=int(self.page_waits.waited_ns(self.env.now_ns).sum()))

    def index_figures(self) -> IndexFigures | None:
        """What the index took so far; None without one."""
        return None if self.indexed is None else self.indexed.figures()

    def begin_work(self, guest: Guest) -> None:
        """The vCPUs, all of them out of the guest, have the work of ``guest`` from now on; their work clocks begin anew."""
        self.guest = guest
        self.engine.begin_work(guest)

    def hold_all(self) -> Step:
        """Keep all vCPUs out of the guest; returns when they are."""
        yield self.env.all_of([vcpu.hold() for vcpu in self.vcpus])

    def release_all(self) -> None:
        """Undo ``hold_all``: vCPUs enter the guest again, unless a throttle or a pause keeps them out."""
        for vcpu in self.vcpus:
            vcpu.release()

    def _is_ring_full(self, vcpu: int) -> bool:
        config, entries = self.engine.config, int(self.engine.kvm.vcpus[vcpu].ring_entries)
        return config.ring_entries > 0 and entries >= config.ring_soft

    def _ring_full(self) -> Step:
        yield from self.on_ring_full()


def _no_ring() -> Step:
    """A VM without dirty rings: none is ever full."""
    yield from ()
