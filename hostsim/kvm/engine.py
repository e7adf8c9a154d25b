"""GuestEngine: all vCPUs of a VM under KVM as the host sees them. The compiled loops are in hostsim.kvm.loops."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.core.latency import Latencies
from hostsim.core.memory import GuestMemory
from hostsim.costs.exits import ExitCosts
from hostsim.guest.workload import Guest
from hostsim.kvm.engine_log import EngineLog
from hostsim.kvm.engine_pages import EnginePages
from hostsim.kvm.engine_tlb import EngineTlb
from hostsim.kvm.engine_walks import EngineWalks, Ints
from hostsim.kvm.lay_out import MmuConfig, cost_table, lay_out, with_work
from hostsim.kvm.loops import dirty_log, host
from hostsim.kvm.loops.armed import count_range
from hostsim.kvm.loops.hptes import count_mapped
from hostsim.kvm.loops.layout import (
    COST,
    DUE,
    DUE_CONTENDED,
    DUE_FAULT,
    DUE_GRANTED,
    DUE_OUT,
    DUE_WALKED,
    ENTRY_NS,
    EXITS,
    HOLD_NS,
    IN_GUEST,
    LOCK_HOLDS,
    LOCK_LENGTH,
    LOCK_WAITS,
    N_DUE,
    N_EXITS,
    PFN_NS,
    Q_WATCH,
    V_AWAY_NS,
    V_FULL,
    V_STAGE,
    V_STALL_NS,
    WAIT_NS,
)
from hostsim.kvm.loops.layout import OUT as STAGE_OUT
from hostsim.kvm.loops.run import run_vcpus, run_with_walkers
from hostsim.kvm.loops.streams import rearm
from hostsim.spte_index.spte import KEPT, Sptes

GRANTED, OUT, CONTENDED, FAULT, WALKED = DUE_GRANTED, DUE_OUT, DUE_CONTENDED, DUE_FAULT, DUE_WALKED


class Due(NamedTuple):
    """What comes up for the host: GRANTED, CONTENDED, WALKED (who: host), OUT, FAULT (who: vCPU)."""

    ns: int
    what: int
    who: int


class GuestEngine(EngineLog, EnginePages, EngineTlb, EngineWalks):
    """All vCPUs of one VM, exits included. ``now_ns`` is the host's time, up to which the guest has been advanced."""

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
        """Memory that is not zero is mapped. running: all vCPUs are in guest mode from 0 on, else in user space.

        ``log_capacity``: exits to keep.
        """
        kvm = lay_out(guest, memory, n_vcpus, config, exits, n_hosts, log_capacity)
        super().__init__(kvm, memory, config, n_vcpus, guest)
        self._due: list[Due] = []
        dirty_log.map_filled(self.kvm, memory.n_pages)
        count_mapped(self.kvm)
        host.begin_work(self.kvm, len(self.kvm.sptes.spte))
        if running:
            host.start(self.kvm)
        else:
            self.kvm.vcpus[V_STAGE] = STAGE_OUT

    # -- time

    def advance(self, horizon_ns: int) -> Due | None:
        """All guest events strictly below ``horizon_ns``; stops early at what comes up for the host, and returns it."""
        if not self._due and self.next_ns < horizon_ns:
            run_on = run_with_walkers if self.is_walked else run_vcpus
            self.next_ns = int(run_on(self.kvm, horizon_ns))
            self._collect()
        if not self._due:
            return None
        due = self._due.pop(0)
        self.next_ns = due.ns
        return due

    def _collect(self) -> None:
        state = self.kvm.state
        rows = state[DUE : DUE + 3 * int(state[N_DUE])].reshape(-1, 3)
        self._due += [Due(*row) for row in rows.tolist()]
        state[N_DUE] = 0

    # -- vCPUs

    def kick(self, vcpu: int, now_ns: int) -> None:
        """Ask ``vcpu`` to user space; it comes up as OUT."""
        host.kick(self.kvm, vcpu, now_ns)
        self._changed(now_ns)

    def enter(self, vcpu: int, now_ns: int) -> None:
        """KVM_RUN of a vCPU that is out."""
        assert self.is_out(vcpu), "only a vCPU in user space can enter"
        host.enter_guest(self.kvm, vcpu, now_ns, self.kvm.costs[COST, ENTRY_NS])
        self._changed(now_ns)

    def stop_at(self, vcpu: int, work_ns: int, now_ns: int) -> None:
        """``vcpu`` comes OUT by itself once its first work clock has come to ``work_ns``, which is still to be done."""
        host.stop_at(self.kvm, vcpu, work_ns)
        self._changed(now_ns)

    def begin_work(self, guest: Guest) -> None:
        """The vCPUs, all of them out, have the work of ``guest`` from now on, and their clocks begin anew."""
        assert all(self.is_out(vcpu) for vcpu in range(self.n_vcpus)), "work changes while all vCPUs are in user space"
        cleared = self._cleared() if self.models_tlb else None
        self.kvm, self._guest = with_work(self.kvm, guest), guest
        if cleared is not None:
            self._carry_tlb(cleared)
        host.begin_work(self.kvm, len(self.kvm.sptes.spte))

    def run_to(self, work_ns: int, now_ns: int) -> None:
        """All vCPUs, which are out, are in guest mode from ``now_ns`` on; each comes OUT once it has done ``work_ns``."""
        for vcpu in range(self.n_vcpus):
            assert self.is_out(vcpu), "only a vCPU in user space can enter"
            host.enter_guest(self.kvm, vcpu, now_ns, 0)
            self.stop_at(vcpu, work_ns, now_ns)

    def set_costs(self, exits: ExitCosts, pfn_ns: int) -> None:
        """What exits take from now on; pfn_ns: as in MmuConfig."""
        self.kvm.costs[:] = cost_table(exits)
        self.kvm.state[PFN_NS] = pfn_ns

    def set_sptes(self, sptes: Sptes, now_ns: int) -> None:
        """Take over mappings as they are in ``sptes``; content and log bits of pages stay what they are."""
        mine, n_pages = self.kvm.sptes, len(self.kvm.sptes.spte)
        count_range(self.kvm, 0, n_pages, -1)
        mine.level[:], mine.large[:] = sptes.level, sptes.large
        mine.spte[:] = (mine.spte & KEPT) | (sptes.spte & ~np.uint8(KEPT))
        count_range(self.kvm, 0, n_pages, 1)
        count_mapped(self.kvm)
        rearm(self.kvm, 0, n_pages, now_ns)
        self._changed(now_ns)

    def is_out(self, vcpu: int) -> bool:
        """Whether ``vcpu`` is in user space."""
        return bool(self.kvm.vcpus[V_STAGE, vcpu] == STAGE_OUT)

    def ring_full(self, vcpu: int) -> bool:
        """Whether a vCPU that is out came because its dirty ring was soft-full."""
        return bool(self.kvm.vcpus[V_FULL, vcpu] == 1)

    def interrupt(self, now_ns: int) -> int:
        """An IPI to all vCPUs in guest mode, which flushes nothing; returns how many those are."""
        running = int(host.interrupt(self.kvm, now_ns))
        self._changed(now_ns)
        return running

    # -- mmu_lock

    def request_lock(self, slot: int, mode: int, now_ns: int) -> bool:
        """Host ``slot`` asks for mmu_lock: True if it has it at once, else GRANTED comes up."""
        host.request_lock(self.kvm, slot, mode, now_ns)
        return slot in self._granted(now_ns)

    def release_lock(self, slot: int, now_ns: int) -> list[int]:
        """Host ``slot`` lets mmu_lock go; returns the hosts that have it from now on."""
        host.release_lock(self.kvm, slot, now_ns)
        return self._granted(now_ns)

    def _granted(self, now_ns: int) -> list[int]:
        self._changed(now_ns)
        before, self._due = self._due, []
        self._collect()
        granted = [due.who for due in self._due if due.what == GRANTED]
        self._due = before + [due for due in self._due if due.what != GRANTED]
        return granted

    def begin_walk(
        self, slot: int, event: int, mode: int, firsts: Ints, ends: Ints, holds_ns: Ints, now_ns: int, *, flushes: bool
    ) -> None:
        """See EngineWalks; what its first request brings up for others is kept."""
        super().begin_walk(slot, event, mode, firsts, ends, holds_ns, now_ns, flushes=flushes)
        self._granted(now_ns)

    def watch_lock(self, slot: int, on: bool) -> None:
        """While ``on``, CONTENDED comes up once when somebody queues behind host ``slot``."""
        self.kvm.queue[Q_WATCH, self.n_vcpus + slot] = on

    @property
    def queued(self) -> int:
        """Who waits for mmu_lock."""
        return int(self.kvm.state[LOCK_LENGTH])

    # -- counters

    @property
    def exits(self) -> NDArray[np.int64]:
        """int64[8], exits by kind."""
        return self.kvm.state[EXITS : EXITS + N_EXITS]

    @property
    def sums(self) -> NDArray[np.int64]:
        """int64[2]: waits for mmu_lock and holds of it by vCPUs [ns]."""
        return self.kvm.state[WAIT_NS : HOLD_NS + 1]

    @property
    def stall_ns(self) -> int:
        """Time that vCPUs were out of the guest because of exits that are over, summed [ns]."""
        return int(self.kvm.vcpus[V_STALL_NS].sum())

    def stalls_ns(self, now_ns: int) -> NDArray[np.int64]:
        """int64[n_vcpus]: the same of each vCPU, exits under way included."""
        vcpus = self.kvm.vcpus
        in_exit = (vcpus[V_STAGE] != IN_GUEST) & (vcpus[V_STAGE] != STAGE_OUT)
        return np.asarray(vcpus[V_STALL_NS] + in_exit * np.maximum(0, now_ns - vcpus[V_AWAY_NS]), np.int64)

    def exit_latencies(self) -> dict[int, Latencies]:
        """By kind of exit: from where a vCPU left the guest to where it entered it again, or was in user space.

        NOTHING: no fault: IPIs, kicks, tasks put to sleep. Exits under way are not in it.
        """
        return {kind: Latencies.counted(self.kvm.latencies[kind]) for kind in range(N_EXITS)}

    def lock_waits(self) -> Latencies:
        """Waits of vCPUs for mmu_lock, those of no time included."""
        return Latencies.counted(self.kvm.latencies[LOCK_WAITS])

    def lock_holds(self) -> Latencies:
        """Holds of mmu_lock by vCPUs."""
        return Latencies.counted(self.kvm.latencies[LOCK_HOLDS])
