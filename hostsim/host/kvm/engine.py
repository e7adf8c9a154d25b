"""GuestEngine: all vCPUs of a VM under KVM as the host sees them. The compiled loops are in hostsim.kernels.kvm."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.errors import InvariantError
from hostsim.guest.workload import Guest
from hostsim.host.kvm.lay_out import MmuConfig, cost_table, lay_out, with_work
from hostsim.kernels.kvm import ageing, backing, dirty_log, host, law, parking
from hostsim.kernels.kvm.armed import count_range
from hostsim.kernels.kvm.layout import (
    COST,
    DUE,
    DUE_CONTENDED,
    DUE_FAULT,
    DUE_GRANTED,
    DUE_OUT,
    ENTRY_NS,
    EXITS,
    FRAMES,
    HOLD_NS,
    IN_PROGRESS,
    N_DUE,
    N_EXITS,
    N_FRESH,
    PFN_NS,
    Q_WATCH,
    RANGE_END,
    RANGE_FIRST,
    SEQ,
    V_FRAMES,
    V_FULL,
    V_PAGE,
    V_STAGE,
    V_STALL_NS,
    WAIT_NS,
)
from hostsim.kernels.kvm.layout import (
    OUT as STAGE_OUT,
)
from hostsim.kernels.kvm.run import run_vcpus
from hostsim.kernels.kvm.streams import rearm
from hostsim.mmu.exits import ExitCosts
from hostsim.mmu.memory import GuestMemory
from hostsim.mmu.spte import KEPT, Sptes

GRANTED, OUT, CONTENDED, FAULT = DUE_GRANTED, DUE_OUT, DUE_CONTENDED, DUE_FAULT
Bytes = NDArray[np.uint8]
RECOVERY: dict[str, int] = {
    "none": dirty_log.RECOVER_NONE, "zap": dirty_log.RECOVER_ZAP, "in-place": dirty_log.RECOVER_IN_PLACE,
}  # fmt: skip


class Due(NamedTuple):
    """What comes up for the host: GRANTED (who: host), OUT (who: vCPU), CONTENDED (who: host), FAULT (who: vCPU)."""

    ns: int
    what: int
    who: int


class GuestEngine:
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
        self.kvm = lay_out(guest, memory, n_vcpus, config, exits, n_hosts, log_capacity)
        self.memory, self.config, self.n_vcpus = memory, config, n_vcpus
        self.next_ns = 0
        self._due: list[Due] = []
        self._masks = np.zeros(2, np.int64)
        dirty_log.map_filled(self.kvm, memory.n_pages)
        host.begin_work(self.kvm, len(self.kvm.sptes.spte))
        if running:
            host.start(self.kvm)
        else:
            self.kvm.vcpus[V_STAGE] = STAGE_OUT

    # -- time

    def advance(self, horizon_ns: int) -> Due | None:
        """All guest events strictly below ``horizon_ns``; stops early at what comes up for the host, and returns it."""
        if not self._due and self.next_ns < horizon_ns:
            self.next_ns = int(run_vcpus(self.kvm, horizon_ns))
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

    def _changed(self, now_ns: int) -> None:
        """The host changed something: the next guest event has to be found anew."""
        self.next_ns = now_ns

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
        self.kvm = with_work(self.kvm, guest)
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
        rearm(self.kvm, 0, n_pages, now_ns)
        self._changed(now_ns)

    def is_out(self, vcpu: int) -> bool:
        """Whether ``vcpu`` is in user space."""
        return bool(self.kvm.vcpus[V_STAGE, vcpu] == STAGE_OUT)

    def ring_full(self, vcpu: int) -> bool:
        """Whether a vCPU that is out came because its dirty ring was soft-full."""
        return bool(self.kvm.vcpus[V_FULL, vcpu] == 1)

    def interrupt(self, now_ns: int) -> int:
        """An IPI to all vCPUs in guest mode; returns how many those are."""
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

    def watch_lock(self, slot: int, on: bool) -> None:
        """While ``on``, CONTENDED comes up once when somebody queues behind host ``slot``."""
        self.kvm.queue[Q_WATCH, self.n_vcpus + slot] = on

    @property
    def queued(self) -> int:
        """Who waits for mmu_lock."""
        return int(host.waiters(self.kvm))

    # -- mmu-notifier

    def invalidate_begin(self, first: int, end: int) -> None:
        """mmu_invalidate_in_progress goes up; the ranges of several become one."""
        notifier = self.kvm.state
        alone = notifier[IN_PROGRESS] == 0
        notifier[RANGE_FIRST] = first if alone else min(int(notifier[RANGE_FIRST]), first)
        notifier[RANGE_END] = end if alone else max(int(notifier[RANGE_END]), end)
        notifier[IN_PROGRESS] += 1

    def invalidate_end(self) -> None:
        """mmu_invalidate_seq goes up, mmu_invalidate_in_progress down."""
        self.kvm.state[SEQ] += 1
        self.kvm.state[IN_PROGRESS] -= 1

    def zap(self, first: int, end: int, now_ns: int) -> None:
        """Sptes of pages [first, end) go."""
        dirty_log.zap_range(self.kvm, first, end, now_ns)
        self._changed(now_ns)

    def maps_any(self, first: int, end: int) -> bool:
        """Whether any page of [first, end) is mapped."""
        return bool(ageing.maps_any(self.kvm, first, end))

    def test_young(self, first: int, end: int, young: Bytes) -> int:
        """young[first:end] says which pages were accessed since they were last made old; returns how many."""
        return int(ageing.test_young(self.kvm, first, end, young))

    def clear_young(self, first: int, end: int, young: Bytes, now_ns: int) -> int:
        """As ``test_young``; those pages are old from ``now_ns`` on, with all that shares a large spte with them."""
        found = int(ageing.clear_young(self.kvm, first, end, young, now_ns))
        self._changed(now_ns)
        return found

    def look_up_pfn_in(self, ns: int) -> None:
        """Faults that map take ``ns`` more from now on, before they ask for mmu_lock: the host finds or makes the page."""
        self.kvm.state[PFN_NS] = ns

    # -- host memory

    def ask_for_frames(self, most_fresh: int) -> None:
        """First touches use frames of the host from now on: FAULT comes up where none is at hand.

        ``most_fresh``: so many pages are populated, at most, between two calls of take_fresh.
        """
        self.kvm.state[FRAMES] = 0
        self.kvm = self.kvm._replace(fresh=np.zeros(most_fresh, np.int64))

    @property
    def backing(self) -> Bytes:
        """uint8[n_pages], UNTOUCHED, RESIDENT, AWAY or more of hostsim.kernels.kvm.layout; the host may write it."""
        return self.kvm.backing

    @property
    def frames_at_hand(self) -> int:
        """Frames that vCPUs have and that are no page yet."""
        return int(self.kvm.state[FRAMES] + self.kvm.vcpus[V_FRAMES].sum())

    def add_frames(self, frames: int) -> None:
        """``frames`` more at hand."""
        self.kvm.state[FRAMES] += frames

    def give_frames_back(self) -> int:
        """None is at hand any more; returns how many were."""
        frames = int(self.kvm.state[FRAMES])
        self.kvm.state[FRAMES] = 0
        return frames

    def take_fresh(self) -> NDArray[np.int64]:
        """Pages that were populated since this was last asked, oldest first."""
        n_fresh = int(self.kvm.state[N_FRESH])
        self.kvm.state[N_FRESH] = 0
        return self.kvm.fresh[:n_fresh].copy()

    def faults_on(self, vcpu: int) -> int:
        """The gfn whose host page ``vcpu`` asks for, or last faulted on."""
        return int(self.kvm.vcpus[V_PAGE, vcpu])

    def look_again(self, vcpu: int, now_ns: int) -> None:
        """The host has done what ``vcpu`` came up with as FAULT: it looks its page up again."""
        backing.look_again(self.kvm, vcpu, now_ns)
        self._changed(now_ns)

    def park(self, vcpu: int, now_ns: int) -> int:
        """The task of ``vcpu`` that came up as FAULT sleeps, its vCPU goes on without it; returns the task's work clock."""
        clock = int(parking.park(self.kvm, vcpu, now_ns))
        self._changed(now_ns)
        return clock

    def unpark(self, vcpu: int, clock: int, now_ns: int) -> None:
        """The task of work clock ``clock`` goes on."""
        parking.unpark(self.kvm, vcpu, clock, now_ns)
        self._changed(now_ns)

    def first_orphan(self) -> int:
        """First gfn that is mapped although the host does not have it, or -1."""
        return int(backing.first_orphan(self.kvm))

    # -- dirty log; each effect takes place at now_ns

    def count_start(self) -> tuple[int, int]:
        """(large sptes, small ones with the flag that logging takes)."""
        return int(dirty_log.count_large(self.kvm, 0, self.memory.n_pages)), int(dirty_log.count_small(self.kvm))

    def start_log(self, all_set: bool, eager: bool, now_ns: int) -> None:
        """Logging is on. all_set: all is dirty and nothing protected; eager: large sptes are split, else they lose W."""
        dirty_log.start_log(self.kvm, all_set, eager, now_ns)
        self._changed(now_ns)

    def count_recoverable(self) -> int:
        """Regions that would become large again."""
        return int(dirty_log.count_recoverable(self.kvm))

    def stop_log(self, recovery: str, now_ns: int) -> None:
        """Logging is off. recovery: none, zap or in-place."""
        dirty_log.stop_log(self.kvm, RECOVERY[recovery], now_ns)
        self._changed(now_ns)

    def mark_due(self, due: Bytes, first: int, end: int, got: Bytes | None = None) -> int:
        """Mark in ``due`` the dirty pages of [first, end), with ``got`` those of them that it has; how many."""
        return int(dirty_log.mark_due(self.kvm, due, due if got is None else got, got is not None, first, end))

    def count_large(self, first: int, end: int) -> int:
        """Large sptes of pages [first, end)."""
        return int(dirty_log.count_large(self.kvm, first, end))

    def clear(
        self,
        due: Bytes,
        first: int,
        end: int,
        *,
        split: bool,
        protect_large: bool,
        now_ns: int,
        got: Bytes | None = None,
        bmap: Bytes | None = None,
    ) -> int:
        """Log bit and flag of pages of [first, end) in ``due`` go; large sptes there are split or lose W.

        What is in ``due`` goes from ``got`` and into ``bmap``. Returns how many pages were new in bmap; due is zero then.
        """
        new = 0
        if bmap is not None:
            new = int((due[first:end] > bmap[first:end]).sum())
            bmap[first:end] |= due[first:end]
        if got is not None:
            got[first:end] &= 1 - due[first:end]
        dirty_log.clear(self.kvm, due, first, end, split, protect_large, now_ns)
        self._changed(now_ns)
        return new

    def copy_log(self, got: Bytes, bmap: Bytes) -> tuple[int, int]:
        """``got`` and ``bmap`` take in the log: (pages in got, of them new in bmap)."""
        new = int(dirty_log.copy_log(self.kvm, got, bmap))
        return int(np.count_nonzero(got)), new

    def take_rings(self, got: Bytes) -> tuple[int, int]:
        """User space collects all ring entries: (entries, masks they will be reset in)."""
        dirty_log.take_rings(self.kvm, got, self._masks)
        return int(self._masks[0]), int(self._masks[1])

    def reset_taken(self, now_ns: int) -> None:
        """KVM_RESET_DIRTY_RINGS takes effect for what was collected."""
        dirty_log.reset_rings(self.kvm, now_ns)
        self._changed(now_ns)

    # -- law 3

    def first_unrecorded(self, first: int = 0, end: int | None = None) -> int:
        """First of gfns [first, end) that can be written without an exit and has no record, or -1."""
        return int(law.first_unrecorded(self.kvm, first, self.memory.n_pages if end is None else end))

    def first_unharvested(self, got: Bytes) -> int:
        """First gfn with a record that user space has not got, or -1."""
        return int(law.first_unharvested(self.kvm, got, self.memory.n_pages))

    def check_counts(self) -> None:
        """InvariantError if armed pages are not counted right."""
        part = int(law.first_miscounted(self.kvm))
        if part >= 0:
            raise InvariantError(f"part {part} of the guest's work: armed pages are miscounted")

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
        """Time that vCPUs were out of the guest because of exits, summed [ns]."""
        return int(self.kvm.vcpus[V_STALL_NS].sum())
