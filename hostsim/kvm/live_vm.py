"""A VM under KVM that runs while the host works on its log; engine, mmu_lock and flushes share SimPy's clock."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import asdict, replace
from typing import Any, Protocol

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.core.clock import NEVER_NS, Clock
from hostsim.core.memory import GuestMemory
from hostsim.core.timeline import Span, Track
from hostsim.guest.armed import make_armed
from hostsim.guest.pacing import work_at
from hostsim.guest.vm import VmBase
from hostsim.guest.workload import Guest
from hostsim.kvm.engine import CONTENDED, FAULT, GRANTED, OUT, WALKED, Due, GuestEngine
from hostsim.kvm.flush import RemoteFlush
from hostsim.kvm.indexed import IndexedSptes, IndexFigures
from hostsim.kvm.interfaces import INTERFACE_TRAITS
from hostsim.kvm.lock import MmuLock
from hostsim.kvm.page_waits import PageWaits
from hostsim.kvm.plan import LogPlan
from hostsim.kvm.tally import LogTimes, TableCounts, Tally, live_tally
from hostsim.kvm.turn import Turn
from hostsim.kvm.vcpu import KvmVcpu
from hostsim.kvm.vcpu_times import check_vcpu_times

Step = Generator[simpy.Event, Any, None]


class HostPages(Protocol):
    """The host's memory under a VM; not all of the VM's pages are resident."""

    def vcpu_faults(self, vcpu: int) -> None:
        """Begin to resolve the fault of ``vcpu``, which waits for its page or for a frame."""
        ...

    def fault_in(self, page: int) -> Step:
        """Make ``page`` resident for the migration thread, which reads it."""
        ...

    def note_read(self, pages: NDArray[np.int64]) -> None:
        """Note that the migration thread has read ``pages`` (int64[k]), which are resident."""
        ...

    def check(self) -> None:
        """InvariantError if a page or a frame of the host is lost, or has two owners."""
        ...


class LiveVm(VmBase):
    """A VM under KVM on SimPy's clock.

    engine: sptes and vCPUs.
    lock: mmu_lock.
    flush: remote TLB flushes.
    slots_lock: serializes ioctls on the log.
    plan: the plan by which KVM keeps the log.
    times: time of the work on the log so far.
    on_ring_full: the process that a vCPU with a full ring runs; takes the vCPU's number.
    ring_sleep_ns: the time that this vCPU then sleeps (hostsim.qemu.dirty_limit).
    indexed: the sptes in an index, None: the work of an index is not modelled.
    table_counts: work on page tables that the guest writes, None: it writes none, or KVM does not shadow them.
    host: resolves faults on pages that are away, None: all pages are resident.
    page_waits: waits of vCPUs and their tasks for pages that are not resident.
    name: of its rows in a timeline.
    since_ns: the time at which the VM was made; work_before: int64[n_clocks], work that its clocks had done by then [ns].
    on_exits: called after the vCPUs have run, with the entry of the log of exits at which their exits begin, if set.
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
        self.flush = RemoteFlush(env, engine.tlb, engine.walks, plan.costs, n_vcpus)
        self.slots_lock = Turn(env)
        self.on_ring_full: Callable[[int], Step] = _no_ring
        self.ring_sleep_ns: Callable[[int], int] = _no_sleep
        self.table_counts: TableCounts | None = None
        self.host: HostPages | None = None
        self.page_waits = PageWaits(n_vcpus)
        self.on_exits: Callable[[int], None] | None = None
        self.since_ns = env.now_ns
        self.work_before = np.array([work_at(row, env.now_ns) for row in guest.clocks], np.int64)
        self._faults: dict[int, Span] = {}
        self._sleepers: dict[int, Span] = {}
        self.vcpus = [
            KvmVcpu(env, engine, index, self._ring_full, self._is_ring_full, self._sleep_ns, running=running)
            for index in range(n_vcpus)
        ]
        self.call("vm")
        env.attach(self)

    def call(self, name: str) -> None:
        """Name the rows of this VM in a timeline ``name``."""
        self.name, self.lock.track = name, replace(self.lock.track, process=name)
        for vcpu in self.vcpus:
            vcpu.track = replace(vcpu.track, process=name)

    @property
    def next_ns(self) -> int:
        """Lower bound of the guest's next event [ns]."""
        return self.engine.next_ns

    def advance(self, horizon_ns: int) -> Due | None:
        """Run the guest strictly below ``horizon_ns``, or up to its first event for the host; return that event or None."""
        if self.on_exits is None:
            return self.engine.advance(horizon_ns)
        first = int(self.engine.kvm.state.logged_exits)
        due = self.engine.advance(horizon_ns)
        self.on_exits(first)
        return due

    def deliver(self, due: Due) -> None:
        """Wake the process that waits for ``due``."""
        if due.what == OUT:
            self.vcpus[due.who].left()
        elif due.what in {GRANTED, WALKED}:
            self.lock.granted(due.who)
        elif due.what == FAULT:
            assert self.host is not None
            self.page_waits.begins(due.who, self.env.now_ns)
            vcpu = self.vcpus[due.who].track
            self._faults[due.who] = self.env.timeline.begin(vcpu, "kvm_faultin_pfn", self.env.now_ns)
            self.host.vcpu_faults(due.who)
        else:
            assert due.what == CONTENDED
            self.lock.contended(due.who)

    def may_come_up(self) -> bool:
        """Whether the guest may deliver an event: a host process waits, a fault needs the host, or a ring may fill."""
        if self.host is not None or INTERFACE_TRAITS[self.plan.interface].has_rings:
            return True
        return self.lock.awaited or any(vcpu.leaving for vcpu in self.vcpus)

    @property
    def settled_ns(self) -> int:
        """The guest's memory does not change before this instant is over [ns]."""
        return min(self.engine.next_ns, NEVER_NS - 1)

    @property
    def backing(self) -> NDArray[np.uint8]:
        """uint8[n_pages]: the place of each page at the host; empty: all pages are resident."""
        return self.engine.pages.backing if self.host is not None else super().backing

    def page_is_there(self, vcpu: int) -> None:
        """End the wait of ``vcpu`` for a page or a frame: the vCPU looks the page up again."""
        self.page_waits.ends(vcpu, self.env.now_ns)
        self.env.timeline.end(self._faults.pop(vcpu), self.env.now_ns)
        self.engine.pages.look_again(vcpu, self.env.now_ns)

    def put_to_sleep(self, vcpu: int) -> int:
        """Put the faulting task of ``vcpu`` to sleep until its page is resident; return the task's work clock."""
        clock = self.engine.pages.park(vcpu, self.env.now_ns)
        self.page_waits.falls_asleep(vcpu, clock, self.env.now_ns)
        self.env.timeline.end(self._faults.pop(vcpu), self.env.now_ns)
        asleep = Track(self.name, "tasks asleep", nests=False)
        self._sleepers[clock] = self.env.timeline.begin(asleep, "kvm_async_pf_not_present", self.env.now_ns, vcpu=vcpu)
        return clock

    def wake(self, vcpu: int, clock: int) -> None:
        """Wake the task of work clock ``clock``, whose page is resident."""
        self.page_waits.wakes(clock, self.env.now_ns)
        self.env.timeline.end(self._sleepers.pop(clock), self.env.now_ns)
        self.engine.pages.unpark(vcpu, clock, self.env.now_ns)

    def read_back(self, page: int) -> Step:
        """Make ``page`` resident for the migration thread, which reads it."""
        if self.host is not None:
            yield from self.host.fault_in(page)

    def note_read(self, pages: NDArray[np.int64]) -> None:
        """Note that the migration thread has read ``pages``."""
        if self.host is not None:
            self.host.note_read(pages)

    def check_host(self) -> None:
        """InvariantError if the host's memory breaks an invariant, or the time of a vCPU does not add up."""
        check_vcpu_times(self)
        if self.host is not None:
            self.host.check()

    def tally(self) -> Tally:
        """All counters now."""
        found = live_tally(self.env.now_ns, self.engine, self.lock, self.flush, self.times, self.vcpus)
        tables = {} if self.table_counts is None else asdict(self.table_counts)
        return replace(found, page_wait_ns=int(self.page_waits.waited_ns(self.env.now_ns).sum()), **tables)

    def index_figures(self) -> IndexFigures | None:
        """Work and size of the index so far; None without an index."""
        return None if self.indexed is None else self.indexed.figures()

    def begin_work(self, guest: Guest) -> None:
        """Give the vCPUs, which are all out of the guest, the work of ``guest``, with work clocks that start at 0."""
        self.guest = guest
        self.work_before = np.zeros(len(guest.clocks), np.int64)
        self.engine.begin_work(guest)

    def hold_all(self) -> Step:
        """Keep all vCPUs out of the guest; return when all are out."""
        yield self.env.all_of([vcpu.hold() for vcpu in self.vcpus])

    def release_all(self) -> None:
        """Undo ``hold_all``: vCPUs enter the guest again, unless a throttle or a pause keeps them out."""
        for vcpu in self.vcpus:
            vcpu.release()

    def _is_ring_full(self, vcpu: int) -> bool:
        config, entries = self.engine.config, int(self.engine.kvm.vcpus[vcpu].ring_entries)
        return config.ring_entries > 0 and entries >= config.ring_soft

    def _ring_full(self, vcpu: int) -> Step:
        yield from self.on_ring_full(vcpu)

    def _sleep_ns(self, vcpu: int) -> int:
        return self.ring_sleep_ns(vcpu)


def _no_ring(_vcpu: int) -> Step:
    """Do nothing: a VM without dirty rings has no full ring."""
    yield from ()


def _no_sleep(_vcpu: int) -> int:
    """No sleep: no dirty-limit holds the vCPU back."""
    return 0
