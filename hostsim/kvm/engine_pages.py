"""What mmu notifiers and the host's memory do to the sptes of a VM."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hostsim.kvm.engine_state import Bytes, EngineState
from hostsim.kvm.loops import ageing, backing, dirty_log, parking
from hostsim.kvm.loops.layout import FRAMES, IN_PROGRESS, N_FRESH, RANGE_END, RANGE_FIRST, SEQ, V_FRAMES, V_PAGE


class EnginePages(EngineState):
    """The part of GuestEngine that is about host pages."""

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
        return int(ageing.test_young(self.kvm, first, end, young[first:end]))

    def clear_young(self, first: int, end: int, young: Bytes, now_ns: int, *, flushed: bool = True) -> int:
        """As ``test_young``; those pages are old from ``now_ns`` on, with all that shares a large spte with them.

        flushed: by a flush that is over, no TLB has a translation of theirs.
        """
        found = int(ageing.clear_young(self.kvm, first, end, young[first:end], now_ns, flushed))
        self._changed(now_ns)
        return found

    # -- host memory

    def ask_for_frames(self, most_fresh: int) -> None:
        """First touches use frames of the host from now on: FAULT comes up where none is at hand.

        ``most_fresh``: so many pages are populated, at most, between two calls of take_fresh.
        """
        self.kvm.state[FRAMES] = 0
        self.kvm = replace(self.kvm, fresh=np.zeros(most_fresh, np.int64))

    @property
    def backing(self) -> Bytes:
        """uint8[n_pages], UNTOUCHED, RESIDENT, AWAY or more of hostsim.kvm.loops.layout; the host may write it."""
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

    def fresh(self) -> NDArray[np.int64]:
        """What ``take_fresh`` would return, and still will."""
        return self.kvm.fresh[: int(self.kvm.state[N_FRESH])].copy()

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
