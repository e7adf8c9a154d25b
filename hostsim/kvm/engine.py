"""GuestEngine: all vCPUs of a VM under KVM as the host drives them. The compiled loops are in hostsim.kvm.loops."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.by_address import Code, code_of
from hostsim.core.latency import Latencies
from hostsim.core.memory import GuestMemory
from hostsim.core.rng import NEVER
from hostsim.costs.exits import ExitCosts
from hostsim.guest.workload import Guest
from hostsim.kvm.engine_lock import LockQueue
from hostsim.kvm.engine_log import DirtyLog
from hostsim.kvm.engine_mmu import Mmu
from hostsim.kvm.engine_pages import HostPages
from hostsim.kvm.engine_state import CONTENDED, FAULT, GRANTED, OUT, WALKED, Due, EngineState
from hostsim.kvm.engine_tlb import Tlbs
from hostsim.kvm.engine_walks import Walkers
from hostsim.kvm.lay_out import MmuConfig, lay_out, set_costs, with_work
from hostsim.kvm.loops import dirty_log, host
from hostsim.kvm.loops.armed import count_range
from hostsim.kvm.loops.hptes import count_mapped
from hostsim.kvm.loops.layout import IN_GUEST, LOCK_HOLDS, LOCK_WAITS, N_EXITS, Kvm
from hostsim.kvm.loops.layout import OUT as STAGE_OUT
from hostsim.kvm.loops.run import run_vcpus, run_with_walkers
from hostsim.kvm.loops.streams import rearm
from hostsim.spte_index.spte import KEPT, Sptes

__all__ = ["CONTENDED", "FAULT", "GRANTED", "OUT", "WALKED", "Due", "GuestEngine"]


class GuestEngine:
    """The vCPUs of one VM with their exits: the engine advances, kicks, enters and counts them.

    lock: the queue of mmu_lock.
    log: the dirty log.
    mmu: sptes, for mmu notifiers.
    pages: host memory under faults.
    tlb: the TLBs of the vCPUs.
    walks: host threads whose notifier calls the loops make.
    memory: content of the VM's pages.
    config: behaviour of its MMU.
    """

    def __init__(
        self,
        guest: Guest,
        memory: GuestMemory,
        n_vcpus: int,
        config: MmuConfig,
        exits: ExitCosts,
        n_hosts: int = 8,
        log_capacity: int = 0,
        *,
        running: bool = True,
    ) -> None:
        """Map all pages that are not zero.

        guest: work of the vCPUs.
        exits: costs of exits.
        n_hosts: slots of host processes in the queue of mmu_lock.
        log_capacity: entries of the log of exits.
        running: all vCPUs are in guest mode from 0 on, else in user space.
        """
        kvm = lay_out(guest, memory, n_vcpus, config, exits, n_hosts, log_capacity)
        self.memory, self.config, self.n_vcpus = memory, config, n_vcpus
        self._state = EngineState(kvm, memory, config, guest)
        self._vcpus_code: Code = None
        self.lock, self.log, self.mmu = LockQueue(self._state), DirtyLog(self._state), Mmu(self._state)
        self.pages, self.tlb, self.walks = HostPages(self._state), Tlbs(self._state), Walkers(self._state)
        dirty_log.map_filled(kvm, memory.n_pages)
        count_mapped(kvm)
        host.begin_work(kvm, len(kvm.sptes.spte))
        if running:
            host.start(kvm)
        else:
            kvm.vcpus["stage"] = STAGE_OUT

    @property
    def kvm(self) -> Kvm:
        """The arrays of the compiled loops now; another object after ``begin_work`` and some calls of the parts."""
        return self._state.kvm

    @property
    def next_ns(self) -> int:
        """Lower bound of the guest's next event [ns]."""
        return self._state.next_ns

    # -- time

    def advance(self, horizon_ns: int) -> Due | None:
        """Advance strictly below ``horizon_ns``, or up to the first event for the host; return that event or None."""
        state = self._state
        while not state.due and state.next_ns < horizon_ns:  # again where the agenda of a call ends before the horizon
            state.next_ns = self._run(state.kvm, horizon_ns)
            state.collect()
        if not state.due:
            return None
        # Events of one instant are handed out one by one: the host may change the guest between them, so the time stands
        # at the instant until the last of them is out.
        due = state.due.pop(0)
        state.next_ns = due.ns
        return due

    def _run(self, kvm: Kvm, horizon_ns: int) -> int:
        if not self.walks.may_come:
            return int(run_vcpus(kvm, horizon_ns, True))
        if self._vcpus_code is None:
            self._vcpus_code = code_of(run_vcpus, kvm, horizon_ns, True)
        return int(run_with_walkers(kvm, horizon_ns, self._vcpus_code))

    # -- vCPUs

    def kick(self, vcpu: int, now_ns: int) -> None:
        """Kick ``vcpu`` to user space; the engine delivers OUT when it has arrived there."""
        host.kick(self.kvm, vcpu, now_ns)
        self._state.changed(now_ns)

    def enter(self, vcpu: int, now_ns: int) -> None:
        """KVM_RUN of ``vcpu``, which is in user space."""
        assert self.is_out(vcpu), "only a vCPU in user space can enter"
        host.enter_guest(self.kvm, vcpu, now_ns, self.kvm.costs.entry_ns)
        self._state.changed(now_ns)

    def stop_at(self, vcpu: int, work_ns: int, now_ns: int) -> None:
        """Let ``vcpu`` exit to user space (OUT) when its first work clock reaches ``work_ns``, which lies ahead."""
        host.stop_at(self.kvm, vcpu, work_ns)
        self._state.changed(now_ns)

    def has_stopped(self, vcpu: int) -> bool:
        """Whether ``vcpu`` has done the work at which it was to leave by itself, or was not to leave at all."""
        return bool(self.kvm.vcpus[vcpu].stop_work_ns == NEVER)

    def begin_work(self, guest: Guest) -> None:
        """Give the vCPUs, which are all in user space, the work of ``guest``, with clocks that start at 0."""
        assert all(self.is_out(vcpu) for vcpu in range(self.n_vcpus)), "work changes while all vCPUs are in user space"
        cleared = self.tlb.cleared()
        self._state.kvm, self._state.guest = with_work(self.kvm, guest), guest
        self.tlb.carry(cleared)
        host.begin_work(self.kvm, len(self.kvm.sptes.spte))

    def carry_on(self, now_ns: int) -> None:
        """The vCPUs, all in user space, go on with the work that their clocks say is done; no page is mapped any more."""
        assert all(self.is_out(vcpu) for vcpu in range(self.n_vcpus)), "work changes while all vCPUs are in user space"
        self.mmu.zap(0, len(self.kvm.sptes.spte), now_ns)
        host.carry_on(self.kvm, now_ns)
        self._state.changed(now_ns)

    def run_to(self, work_ns: int, now_ns: int) -> None:
        """Enter the guest on all vCPUs, which are in user space; each exits (OUT) once it has done ``work_ns``."""
        for vcpu in range(self.n_vcpus):
            assert self.is_out(vcpu), "only a vCPU in user space can enter"
            host.enter_guest(self.kvm, vcpu, now_ns, 0)
            self.stop_at(vcpu, work_ns, now_ns)

    def set_costs(self, exits: ExitCosts, pfn_ns: int) -> None:
        """Exits cost ``exits`` from now on; pfn_ns: as in MmuConfig."""
        set_costs(self.kvm, exits)
        self.kvm.state.pfn_ns = pfn_ns

    def set_sptes(self, sptes: Sptes, now_ns: int) -> None:
        """Take over the mappings of ``sptes``; content and log bits of pages stay as they are."""
        mine, n_pages = self.kvm.sptes, len(self.kvm.sptes.spte)
        count_range(self.kvm, 0, n_pages, -1)
        mine.level[:], mine.large[:] = sptes.level, sptes.large
        mine.spte[:] = (mine.spte & KEPT) | (sptes.spte & ~np.uint8(KEPT))
        count_range(self.kvm, 0, n_pages, 1)
        count_mapped(self.kvm)
        rearm(self.kvm, 0, n_pages, now_ns)
        self._state.changed(now_ns)

    def is_out(self, vcpu: int) -> bool:
        """Whether ``vcpu`` is in user space."""
        return bool(self.kvm.vcpus[vcpu].stage == STAGE_OUT)

    def ring_full(self, vcpu: int) -> bool:
        """Whether ``vcpu``, now in user space, left the guest because its dirty ring was soft-full."""
        return bool(self.kvm.vcpus[vcpu].is_ring_full == 1)

    def interrupt(self, now_ns: int) -> int:
        """Send an IPI, which flushes no TLB, to all vCPUs in guest mode; return the number of those vCPUs."""
        running = int(host.interrupt(self.kvm, now_ns))
        self._state.changed(now_ns)
        return running

    # -- counters

    @property
    def exits(self) -> NDArray[np.int64]:
        """int64[N_EXITS], exits by kind."""
        return self.kvm.state.exits

    @property
    def sums(self) -> NDArray[np.int64]:
        """int64[2], summed over vCPUs [ns]: waits for mmu_lock, holds of mmu_lock."""
        return np.array([self.kvm.state.wait_ns, self.kvm.state.hold_ns])

    @property
    def stall_ns(self) -> int:
        """Time that vCPUs were out of the guest because of exits that are over, summed [ns]."""
        return int(self.kvm.vcpus["stall_ns"].sum())

    def stalls_ns(self, now_ns: int) -> NDArray[np.int64]:
        """int64[n_vcpus]: time that each vCPU was out of the guest because of exits, exits under way included [ns]."""
        vcpus = self.kvm.vcpus
        in_exit = (vcpus["stage"] != IN_GUEST) & (vcpus["stage"] != STAGE_OUT)
        return np.asarray(vcpus["stall_ns"] + in_exit * np.maximum(0, now_ns - vcpus["away_since_ns"]), np.int64)

    def exit_latencies(self) -> dict[int, Latencies]:
        """Latencies by kind of exit: from leaving the guest to entering it again, or to user space.

        NOTHING: IPIs, kicks, tasks put to sleep. Exits under way are not counted.
        """
        return {kind: Latencies.counted(self.kvm.latencies[kind]) for kind in range(N_EXITS)}

    def lock_waits(self) -> Latencies:
        """Waits of vCPUs for mmu_lock, waits of 0 ns included."""
        return Latencies.counted(self.kvm.latencies[LOCK_WAITS])

    def lock_holds(self) -> Latencies:
        """Holds of mmu_lock by vCPUs."""
        return Latencies.counted(self.kvm.latencies[LOCK_HOLDS])
