"""A vCPU on a thread of its own: the loop around KVM_RUN, pinned to one processor, stopped without a signal."""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_MS
from hostsim.measure.kvm import abi
from hostsim.measure.kvm.counters import Counters
from hostsim.measure.kvm.device import Kvm, KvmError, ioctl, refusal
from hostsim.measure.kvm.guest import CODE_GPA, DOORBELL_PORT, EVENT_PORT, KERNEL_AT, OF_KERNEL, Command, Mailbox, Work
from hostsim.measure.kvm.pace import PREEMPTED, Pace, preemptions
from hostsim.measure.kvm.region import Region
from hostsim.measure.kvm.ring import DirtyRing

PATIENCE_S = 60.0
"""No command of a measurement takes as long; a guest that does is given up."""
SAMPLES_MAX = 1 << 19
USER_CS, USER_DS = 0x33, 0x2B
"""Linux' __USER_CS and __USER_DS: KVM-PVM runs a guest natively only in these."""
KERNEL_CS, KERNEL_DS = 0x10, 0x18
CR0 = 0x80050033
"""PG, AM, WP, NE, ET, MP, PE."""
CR4 = 0x20 | 0x200 | 0x400
"""PAE, OSFXSR, OSXMMEXCPT."""
EFER = 0x1 | 0x100 | 0x400 | 0x800
"""SCE, LME, LMA, NXE."""
RFLAGS = 0x2 | 0x200 | 0x3000
"""IF, and IOPL 3: OUT is allowed in user mode."""


@dataclass(frozen=True)
class Place:
    """The memory and the processor of a vCPU.

    mailbox_gpa, samples_gpa: places in the VM's ``own`` memory.
    root_gpa: of the page tables.
    cpu: its thread is pinned there.
    ring_entries: of its dirty ring, 0 for none.
    """

    index: int
    mailbox_gpa: int
    samples_gpa: int
    own: Region
    root_gpa: int
    cpu: int
    ring_entries: int


@dataclass(frozen=True)
class Outcome:
    """A command that a guest has carried out.

    ticks: of the time stamp counter, from begin to end in the guest.
    pace_ticks: of the loop beside the command, before or after, whichever took longer, or PREEMPTED.
    cpu_ns: the thread's, in KVM_RUN, that loop and harvests and resets of a full ring left out.
    ring_fulls: exits because the dirty ring was full.
    ring_full_ns: the thread's, to harvest and reset then.
    ring_full_walls_ns: int64[ring_fulls], by the wall's clock, each exit's harvest and reset.
    user_exits: exits to user space by OUT, the last one left out.
    progress: writes of SPIN.
    samples: uint32[count], ticks of each paced write.
    """

    ticks: int
    pace_ticks: int
    cpu_ns: int
    ring_fulls: int
    ring_full_ns: int
    ring_full_walls_ns: NDArray[np.int64]
    user_exits: int
    progress: int
    samples: NDArray[np.uint32]


class Vcpu:
    """One vCPU; ``begin`` and ``finish`` are called by the host's thread. tsc_khz: of the guest's time stamp counter."""

    _reset_lock = threading.Lock()

    def __init__(self, kvm: Kvm, vm_fd: int, place: Place, pace: Pace) -> None:
        self._kvm, self._vm_fd, self._place, self._pace = kvm, vm_fd, place, pace
        self._stack = ExitStack()
        self._orders: SimpleQueue[bool] = SimpleQueue()
        self._done = threading.Event()
        self._error: BaseException | None = None
        self.mailbox = Mailbox.from_address(place.own.address + place.mailbox_gpa)
        self.ring: DirtyRing | None = None
        try:
            self._create()
        except BaseException:
            self._stack.close()
            raise

    def _create(self) -> None:
        self.fd = ioctl(self._vm_fd, abi.KVM_CREATE_VCPU, self._place.index)
        self._stack.callback(os.close, self.fd)
        shared = Region.shared(self.fd, ioctl(self._kvm.fd, abi.KVM_GET_VCPU_MMAP_SIZE))
        self._stack.callback(shared.close)
        self._run = abi.kvm_run.from_address(shared.address)
        if self._place.ring_entries:
            self.ring = DirtyRing(self.fd, self._place.ring_entries)
            self._stack.callback(self.ring.close)
        self._set_state()
        self.tsc_khz = ioctl(self.fd, abi.KVM_GET_TSC_KHZ)
        self.counters = Counters(self.fd)
        self._stack.callback(self.counters.close)
        self._thread = threading.Thread(target=self._serve, name=f"vcpu-{self._place.index}", daemon=True)
        self._thread.start()
        self._clock = time.pthread_getcpuclockid(self._thread.ident)  # type: ignore[arg-type]  # it has started
        self._stack.callback(self._end_thread)

    # -- registers

    def _set_state(self) -> None:
        cpuid = abi.kvm_cpuid2(nent=abi.CPUID_ENTRIES)
        ioctl(self._kvm.fd, abi.KVM_GET_SUPPORTED_CPUID, cpuid)
        ioctl(self.fd, abi.KVM_SET_CPUID2, cpuid)
        sregs = abi.kvm_sregs()
        ioctl(self.fd, abi.KVM_GET_SREGS, sregs)
        _in_user_mode(sregs, self._place.root_gpa)
        ioctl(self.fd, abi.KVM_SET_SREGS, sregs)
        self._in_kernel = False
        star = (USER_CS - 16) << 48 | KERNEL_CS << 32
        with suppress(KvmError):  # only KVM-PVM looks at it, to learn the selectors of user mode
            ioctl(self.fd, abi.KVM_SET_MSRS, abi.kvm_msrs(nmsrs=1, index=abi.MSR_STAR, data=star))
        ioctl(self.fd, abi.KVM_SET_REGS, abi.kvm_regs(rip=CODE_GPA, rdi=self._place.mailbox_gpa, rflags=RFLAGS))

    def set_cr3(self, root_gpa: int) -> None:
        """Load another root, while the vCPU is in user space."""
        sregs = abi.kvm_sregs()
        ioctl(self.fd, abi.KVM_GET_SREGS, sregs)
        sregs.cr3 = root_gpa
        ioctl(self.fd, abi.KVM_SET_SREGS, sregs)

    def set_mode(self, *, kernel: bool) -> None:
        """Begin the guest's program anew in kernel mode, or in user mode, while the vCPU is in user space."""
        sregs = abi.kvm_sregs()
        ioctl(self.fd, abi.KVM_GET_SREGS, sregs)
        _set_mode(sregs, kernel=kernel)
        ioctl(self.fd, abi.KVM_SET_SREGS, sregs)
        rip = CODE_GPA + KERNEL_AT * kernel
        ioctl(self.fd, abi.KVM_SET_REGS, abi.kvm_regs(rip=rip, rdi=self._place.mailbox_gpa, rflags=RFLAGS))
        self._in_kernel = kernel

    # -- commands

    def begin(self, work: Work, *, at_once: bool, patient: bool = False) -> None:
        """Hand ``work`` over; the guest waits for ``mailbox.go`` unless ``at_once``.

        patient: before that the thread waits for a core of its own.
        """
        box = self.mailbox
        assert work.command != Command.PACED or work.count <= SAMPLES_MAX
        assert self._in_kernel == (work.command in OF_KERNEL)
        box.command, box.base, box.stride, box.count = work.command, work.base, work.stride_bytes, work.count
        box.every, box.passes, box.samples = work.every, work.passes, self._place.samples_gpa
        box.stop = box.progress = box.ready = 0
        box.go = int(at_once)
        self._samples = work.count if work.command == Command.PACED else 0
        self._done.clear()
        self._from_ns = 0
        self._at_once, self._patient = at_once, patient
        self._orders.put(True)

    def go(self) -> None:
        """Let the waiting guest begin; its thread's time counts from here."""
        self._from_ns = time.clock_gettime_ns(self._clock)
        self.mailbox.go = 1

    def finish(self) -> Outcome:
        """Wait until the command is done. Raises KvmError."""
        if not self._done.wait(PATIENCE_S):
            raise refusal("KVM_RUN", f"the guest is not done after {PATIENCE_S:g} s")
        if self._error:
            raise self._error
        box = self.mailbox
        samples = self._place.own.array(np.uint32, self._place.samples_gpa, self._samples).copy()
        walls_ns = np.array(self._ring_full_walls_ns, np.int64)
        pace_ns = 0 if self._in_kernel else (box.before + box.after) * NS_PER_MS // self.tsc_khz
        return Outcome(
            box.end - box.begin, self._pace_ticks(), max(1, self._cpu_ns - pace_ns),
            len(walls_ns), self._ring_full_ns, walls_ns, self._user_exits, box.progress,
            samples,
        )  # fmt: skip

    def _pace_ticks(self) -> int:
        around = (self._pace.see(self.mailbox.before), self._pace.see(self.mailbox.after))
        return PREEMPTED if self._is_preempted else max(around)

    # -- the thread

    def _serve(self) -> None:
        with suppress(OSError):
            os.sched_setaffinity(0, {self._place.cpu})
        while self._orders.get():
            try:
                self._carry_out()
            except BaseException as error:  # noqa: BLE001  finish() raises it in the host's thread
                self._error = error
            self._done.set()

    def _carry_out(self) -> None:
        self._ring_full_ns = self._user_exits = 0
        self._ring_full_walls_ns: list[int] = []
        if self._patient:
            self._pace.wait()
        before = self._pace.look() if self._in_kernel else 0
        switches, begin_ns = preemptions(), time.thread_time_ns()
        while not self._enter():
            pass
        # vCPUs that wait for each other share a core with the host's thread, which lets them begin: no preemption.
        self._is_preempted = self._at_once and preemptions() > switches
        self._cpu_ns = time.thread_time_ns() - max(begin_ns, self._from_ns) - self._ring_full_ns
        if self._in_kernel:  # where the guest has no loop of its own
            self.mailbox.before, self.mailbox.after = before, self._pace.look()

    def _enter(self) -> bool:
        """One KVM_RUN; whether the doorbell ended it."""
        try:
            ioctl(self.fd, abi.KVM_RUN)
        except InterruptedError:
            return bool(self._run.immediate_exit)
        reason = self._run.exit_reason
        if reason == abi.KVM_EXIT_IO and self._run.io_port in {DOORBELL_PORT, EVENT_PORT}:
            is_done = bool(self._run.io_port == DOORBELL_PORT)
            self._user_exits += not is_done
            return is_done
        if reason == abi.KVM_EXIT_DIRTY_RING_FULL:
            self._empty_ring()
            return False
        raise refusal("KVM_RUN", f"the guest left for reason {reason}, which it never should", "a defect of hostsim or KVM")

    def _empty_ring(self) -> None:
        assert self.ring is not None
        wall_ns, begin_ns = time.perf_counter_ns(), time.thread_time_ns()
        with self._reset_lock:
            self.ring.harvest()
            ioctl(self._vm_fd, abi.KVM_RESET_DIRTY_RINGS)
        self._ring_full_ns += time.thread_time_ns() - begin_ns
        self._ring_full_walls_ns.append(time.perf_counter_ns() - wall_ns)

    def _end_thread(self) -> None:
        """The guest ends its command, KVM_RUN is not entered again."""
        self.mailbox.stop, self._run.immediate_exit = 1, 1
        if self.mailbox.ready:
            self.mailbox.command = Command.NOTHING
        self.mailbox.go = 1
        self._orders.put(False)
        self._thread.join(PATIENCE_S)

    def close(self) -> None:
        """End the thread, then give everything back."""
        self._stack.close()


def _set_mode(sregs: abi.kvm_sregs, *, kernel: bool) -> None:
    """CPL 0 or 3."""
    cs, ss, dpl = (KERNEL_CS, KERNEL_DS, 0) if kernel else (USER_CS, USER_DS, 3)
    sregs.ss = abi.kvm_segment(limit=0xFFFFFFFF, selector=ss, type=3, present=1, dpl=dpl, s=1, g=1, db=1)
    sregs.cs = abi.kvm_segment(limit=0xFFFFFFFF, selector=cs, type=11, present=1, dpl=dpl, s=1, g=1, l=1)


def _in_user_mode(sregs: abi.kvm_sregs, root_gpa: int) -> None:
    """Long mode, CPL 3."""
    data = abi.kvm_segment(limit=0xFFFFFFFF, type=3, present=1, dpl=3, s=1, g=1, db=1)
    for name in ("ds", "es", "fs", "gs"):
        setattr(sregs, name, data)
    _set_mode(sregs, kernel=False)
    sregs.tr = abi.kvm_segment(limit=0xFFFF, type=11, present=1)
    sregs.ldt = abi.kvm_segment(present=1, unusable=1)
    sregs.cr0, sregs.cr3, sregs.cr4, sregs.efer = CR0, root_gpa, CR4, EFER

