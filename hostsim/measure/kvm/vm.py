"""A small VM through /dev/kvm: memslots, dirty log, vCPUs that run on threads of their own."""

from __future__ import annotations

import ctypes
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hostsim.measure.kvm import abi
from hostsim.measure.kvm.counters import Counters
from hostsim.measure.kvm.device import Kvm, KvmError, ioctl, refusal
from hostsim.measure.kvm.guest import CODE_GPA, EVENT_PORT, PROGRAM, Work
from hostsim.measure.kvm.pace import Pace
from hostsim.measure.kvm.page_tables import ENTRIES, PAGE_BYTES, REGION_BYTES, PageTables, tables_bytes
from hostsim.measure.kvm.region import Region
from hostsim.measure.kvm.ring import DirtyRing
from hostsim.measure.kvm.vcpu import Outcome, Place, Vcpu

MAILBOX_GPA, TABLES_GPA, MEMORY_GPA = 0x20000, 0x200000, 1 << 30
ROOTS = 8
"""Of one address space each VM."""
SHADOW_PAGES_MAX = 60_000
"""KVM's default, 2 % of the guest's memory, is too few for 16 sptes a page: it would recycle them all the time."""

Call = tuple[int, ctypes.Structure]
"""An ioctl: its number, its argument."""


@dataclass(frozen=True)
class VmSpec:
    """A VM to be made.

    memory_bytes: of the memslots that are measured, a multiple of 4 KiB.
    n_slots: so many share that memory.
    huge: the host's memory is of transparent huge pages.
    guest_huge: the guest's page tables have 2 MiB pages.
    aliases: guest-virtual addresses of each page.
    ring_entries: of each vCPU's dirty ring, 0: the log is a bitmap.
    manual_protect: flags of KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2.
    cpus: processors for vCPUs and the host's thread, (): those of this thread.
    """

    memory_bytes: int
    n_vcpus: int = 1
    huge: bool = False
    guest_huge: bool = False
    aliases: int = 1
    ring_entries: int = 0
    manual_protect: int = 0
    n_slots: int = 1
    cpus: tuple[int, ...] = ()

    @property
    def n_pages(self) -> int:
        """4 KiB pages of all slots."""
        return self.memory_bytes // PAGE_BYTES

    def slots(self) -> list[tuple[int, int]]:
        """[first, end) pages of each slot."""
        n = self.n_slots
        return [(self.n_pages * i // n, self.n_pages * (i + 1) // n) for i in range(n)]


def address_of(page: int, alias: int = 0) -> int:
    """Guest-virtual address of ``page``: each alias has an entry of the root table to itself."""
    return ((alias + 1) << 39) + page * PAGE_BYTES


class Vm:
    """A context manager: after any end, also an exception, no thread, descriptor or memory is left."""

    def __init__(self, kvm: Kvm, spec: VmSpec, pace: Pace | None = None) -> None:
        """kvm: the opened device. pace: waits for cores before commands of the guest; None: nothing waits."""
        self.kvm, self.spec = kvm, spec
        self._stack = ExitStack()
        self.pace = pace or self._stack.enter_context(closing(Pace(waits=False)))
        try:
            self._create()
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    # -- how it is made

    def _create(self) -> None:
        spec = self.spec
        self.fd = ioctl(self.kvm.fd, abi.KVM_CREATE_VM)
        self._stack.callback(os.close, self.fd)
        self._set_capabilities()
        tables = tables_bytes(spec.memory_bytes, spec.aliases, large=spec.guest_huge)
        tables = -(-tables // REGION_BYTES) * REGION_BYTES
        self._samples_gpa = TABLES_GPA + tables
        own_bytes = self._samples_gpa + REGION_BYTES * spec.n_vcpus
        self._own = self._region(own_bytes, huge=False)
        self.memory = self._region(spec.memory_bytes, huge=spec.huge)
        self.ask([self._slot(0, 0, 0, own_bytes, self._own.address), *self.logs(on=False)])
        self._fill(own_bytes)
        self.counters = Counters(self.fd)
        self._stack.callback(self.counters.close)
        self.tsc_khz = 0
        self.vcpus = [self._vcpu(i) for i in range(spec.n_vcpus)]

    def _set_capabilities(self) -> None:
        if self.spec.ring_entries:
            ring = abi.KVM_CAP_DIRTY_LOG_RING_ACQ_REL
            name = ring if self.kvm.has(ring) else abi.KVM_CAP_DIRTY_LOG_RING
            self._enable_cap(name, self.spec.ring_entries * DirtyRing.ENTRY_BYTES)
        if self.spec.manual_protect:
            self._enable_cap(abi.KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, self.spec.manual_protect)
        if self.spec.aliases > 1:
            with suppress(KvmError):  # only a limit of shadow paging: without it pages are recycled, and counters show that
                ioctl(self.fd, abi.KVM_SET_NR_MMU_PAGES, SHADOW_PAGES_MAX)

    def _enable_cap(self, cap: int, argument: int) -> None:
        enable = abi.kvm_enable_cap(cap=cap)
        enable.args[0] = argument
        ioctl(self.fd, abi.KVM_ENABLE_CAP, enable)

    def _region(self, n_bytes: int, *, huge: bool) -> Region:
        region = Region.anonymous(n_bytes, huge=huge)
        self._stack.callback(region.close)
        return region

    def _fill(self, own_bytes: int) -> None:
        """The program and the page tables; the VM's own memory is mapped where it lies."""
        self._own.array(np.uint8, CODE_GPA, len(PROGRAM))[:] = np.frombuffer(PROGRAM, np.uint8)
        tables = PageTables(self._own.array(np.uint64), TABLES_GPA, self._samples_gpa)
        tables.map(0, 0, own_bytes)
        for alias in range(self.spec.aliases):
            tables.map(address_of(0, alias), MEMORY_GPA, self.spec.memory_bytes, large=self.spec.guest_huge)
        self._tables, self._root = tables, tables.root
        self._roots = (tables.root, *(tables.another_root() for _ in range(1, ROOTS)))

    def _vcpu(self, index: int) -> Vcpu:
        spec = self.spec
        place = Place(
            index=index, mailbox_gpa=MAILBOX_GPA + index * PAGE_BYTES, samples_gpa=self._samples_gpa + index * REGION_BYTES,
            own=self._own, root_gpa=self._root, cpu=vcpu_cpu(index, spec.cpus or usable_cpus()),
            ring_entries=spec.ring_entries,
        )  # fmt: skip
        vcpu = Vcpu(self.kvm, self.fd, place, self.pace)
        self._stack.callback(vcpu.close)
        self.tsc_khz = self.tsc_khz or vcpu.tsc_khz
        if self.tsc_khz <= 0:
            raise refusal("KVM_GET_TSC_KHZ", "KVM does not know the frequency of the time stamp counter")
        return vcpu

    # -- memslots and the log: ioctls of user space, made ready before they are timed

    def ask(self, calls: Sequence[Call]) -> None:
        """Make ioctls of the VM, one after the other."""
        for request, argument in calls:
            ioctl(self.fd, request, argument)

    def _slot(self, slot: int, flags: int, gpa: int, n_bytes: int, address: int) -> Call:
        region = abi.kvm_userspace_memory_region(slot, flags, gpa, n_bytes, address)
        return abi.KVM_SET_USER_MEMORY_REGION, region

    def logs(self, *, on: bool) -> list[Call]:
        """KVM_MEM_LOG_DIRTY_PAGES set on every slot that is measured, or taken away."""
        flags = abi.KVM_MEM_LOG_DIRTY_PAGES if on else 0
        places = [(number, first * PAGE_BYTES, end * PAGE_BYTES) for number, (first, end) in enumerate(self.spec.slots(), 1)]
        return [
            self._slot(number, flags, MEMORY_GPA + first, end - first, self.memory.address + first)
            for number, first, end in places
        ]

    def bitmaps(self) -> list[NDArray[np.uint64]]:
        """A buffer for the log of each slot, all clear."""
        return [np.zeros(-(-(end - first) // 64), np.uint64) for first, end in self.spec.slots()]

    def gets(self, into: Sequence[NDArray[np.uint64]]) -> list[Call]:
        """KVM_GET_DIRTY_LOG of every slot."""
        return [
            (abi.KVM_GET_DIRTY_LOG, _keeping(abi.kvm_dirty_log(slot=slot, dirty_bitmap=bitmap.ctypes.data), bitmap))
            for slot, bitmap in enumerate(into, 1)
        ]

    def clears(self, bitmaps: Sequence[NDArray[np.uint64]], chunk_pages: int = 0) -> list[Call]:
        """KVM_CLEAR_DIRTY_LOG of every slot, ``chunk_pages`` (a multiple of 64) a call, 0: a slot a call."""
        return [
            clear(page, min(chunk, n_pages - page), bitmap[page // 64 :], slot)
            for slot, ((first, end), bitmap) in enumerate(zip(self.spec.slots(), bitmaps, strict=True), 1)
            for n_pages in [end - first]
            for chunk in [chunk_pages or n_pages]
            for page in range(0, n_pages, chunk)
        ]

    def reset_rings(self) -> int:
        """KVM_RESET_DIRTY_RINGS; returns entries that were reset."""
        return ioctl(self.fd, abi.KVM_RESET_DIRTY_RINGS)

    @contextmanager
    def event_ends_in_kernel(self) -> Iterator[None]:
        """An ioeventfd takes the exits of the guest's EVENT command."""
        descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        event = abi.kvm_ioeventfd(addr=EVENT_PORT, len=1, fd=descriptor, flags=abi.KVM_IOEVENTFD_FLAG_PIO)
        try:
            ioctl(self.fd, abi.KVM_IOEVENTFD, event)
            yield
            event.flags |= abi.KVM_IOEVENTFD_FLAG_DEASSIGN
            ioctl(self.fd, abi.KVM_IOEVENTFD, event)
        finally:
            os.close(descriptor)

    # -- the guest at work

    def run(self, works: Sequence[Work], *, patient: bool = False) -> list[Outcome]:
        """Each vCPU, from 0 on, does one of ``works``; several begin together. Returns when all are done.

        patient: their threads first wait for cores of their own.
        """
        active = list(zip(self.vcpus, works, strict=False))
        for vcpu, work in active:
            vcpu.begin(work, at_once=len(active) == 1, patient=patient)
        if len(active) > 1:
            self._release(active)
        return [vcpu.finish() for vcpu, _ in active]

    def load_root(self, which: int) -> None:
        """Set CR3 of the first vCPU, which is in user space: one of ROOTS, of one address space."""
        self.vcpus[0].set_cr3(self._roots[which])

    @contextmanager
    def kernel_mode(self, roots: int = 1) -> Iterator[None]:
        """The first vCPU runs commands of OF_KERNEL, its page tables stay; roots: that TURN and LOAD go round."""
        self._own.array(np.uint64, self._samples_gpa, roots + 1)[:] = [*self._roots[:roots], 0]
        self.vcpus[0].set_mode(kernel=True)
        try:
            yield
        finally:
            self.vcpus[0].set_mode(kernel=False)

    def page_tables(self, n: int) -> tuple[int, NDArray[np.uint64]]:
        """(guest-virtual address, entries uint64[n, 512]) of the page tables of the first ``n`` regions of the memory."""
        at = [self._tables.leaf(address_of(region * ENTRIES)) for region in range(n)]
        assert at == [at[0] + i * PAGE_BYTES for i in range(n)], "the tables lie in a row"
        return at[0], self._own.array(np.uint64, at[0], n * ENTRIES).reshape(n, ENTRIES)

    def directory(self, n: int) -> tuple[int, NDArray[np.uint64]]:
        """(guest-virtual address, entries uint64[n]) of the directory of the first ``n`` of these tables."""
        at = self._tables.directory(address_of(0))
        return at, self._own.array(np.uint64, at, n)

    def start(self, work: Work, vcpu: int = 0, *, patient: bool = False) -> None:
        """Let vCPU ``vcpu`` begin ``work``; the host's thread goes on meanwhile. patient: as for ``run``."""
        self.vcpus[vcpu].begin(work, at_once=True, patient=patient)

    def stop(self, vcpu: int = 0) -> Outcome:
        """End a SPIN that ``start`` began."""
        self.vcpus[vcpu].mailbox.stop = 1
        return self.vcpus[vcpu].finish()

    def _release(self, active: Sequence[tuple[Vcpu, Work]], patience_s: float = 10) -> None:
        """Wait until all guests wait in guest mode, then let all begin."""
        until = time.monotonic() + patience_s
        while not all(vcpu.mailbox.ready for vcpu, _ in active):
            if time.monotonic() > until:
                raise refusal("KVM_RUN", f"a vCPU is not in guest mode after {patience_s:g} s")
            time.sleep(50e-6)
        for vcpu, _ in active:
            vcpu.go()

    def read_counters(self) -> Counter[str]:
        """Counters of the VM and of all its vCPUs, added."""
        return sum((vcpu.counters.read() for vcpu in self.vcpus), self.counters.read())


def clear(first: int, n_pages: int, bitmap: NDArray[np.uint64], slot: int = 1) -> Call:
    """KVM_CLEAR_DIRTY_LOG of ``n_pages`` from page ``first`` of the slot on; bitmap: of these pages."""
    log = abi.kvm_clear_dirty_log(slot, n_pages, first, bitmap.ctypes.data)
    return abi.KVM_CLEAR_DIRTY_LOG, _keeping(log, bitmap)


def _keeping(argument: ctypes.Structure, buffer: NDArray[np.uint64]) -> ctypes.Structure:
    """``argument`` holds an address of ``buffer``, which lives as long: KVM writes there."""
    argument.buffer = buffer  # a structure takes attributes beside its fields
    return argument


def usable_cpus() -> tuple[int, ...]:
    """Processors that this thread may run on."""
    return tuple(sorted(os.sched_getaffinity(0)))


def vcpu_cpu(index: int, cpus: Sequence[int]) -> int:
    """The processor of vCPU ``index``; the host's thread has the first, and shares it only when no other is left."""
    return cpus[(index + 1) % len(cpus)]


@contextmanager
def pinned(cpu: int) -> Iterator[None]:
    """This thread stays on ``cpu``; afterwards it may run where it could before."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, before)

