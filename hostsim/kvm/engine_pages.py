"""HostPages: the host memory under a VM's faults: which pages are resident, frames at hand, tasks that wait for a page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hostsim.kvm.engine_state import EngineState
from hostsim.kvm.loops import backing, parking


class HostPages:
    """A first touch takes a frame at hand; FAULT comes up for a vCPU that finds none, or whose page is away."""

    def __init__(self, state: EngineState) -> None:
        self._state = state

    @property
    def backing(self) -> NDArray[np.uint8]:
        """uint8[n_pages], UNTOUCHED, RESIDENT, AWAY or more of hostsim.kvm.loops.layout; the host may write it."""
        return self._state.kvm.backing

    def ask_for_frames(self, most_fresh: int) -> None:
        """First touches use frames of the host from now on, and none is at hand yet.

        most_fresh: so many pages are populated, at most, between two calls of ``take_fresh``.
        """
        self._state.kvm.state.frames = 0
        self._state.kvm = replace(self._state.kvm, fresh=np.zeros(most_fresh, np.int64))

    @property
    def frames_at_hand(self) -> int:
        """Frames that vCPUs may populate, or are populating, and that are no page yet."""
        return int(self._state.kvm.state.frames + self._state.kvm.vcpus["frames"].sum())

    def add_frames(self, frames: int) -> None:
        """Put ``frames`` more at hand."""
        self._state.kvm.state.frames += frames

    def fresh(self) -> NDArray[np.int64]:
        """int64[k]: gfns that were populated since the last ``take_fresh``, oldest first."""
        return self._state.kvm.fresh[: int(self._state.kvm.state.fresh_pages)].copy()

    def take_fresh(self) -> NDArray[np.int64]:
        """As ``fresh``; the list is empty afterwards."""
        taken = self.fresh()
        self._state.kvm.state.fresh_pages = 0
        return taken

    def faults_on(self, vcpu: int) -> int:
        """The gfn whose host page ``vcpu`` asks for, or last faulted on."""
        return int(self._state.kvm.vcpus[vcpu].page)

    def look_again(self, vcpu: int, now_ns: int) -> None:
        """The host has handled the FAULT of ``vcpu``: the vCPU looks its page up again."""
        backing.look_again(self._state.kvm, vcpu, now_ns)
        self._state.changed(now_ns)

    def park(self, vcpu: int, now_ns: int) -> int:
        """Put the task of ``vcpu`` that came up as FAULT to sleep; its vCPU goes on without it. Returns its work clock."""
        clock = int(parking.park(self._state.kvm, vcpu, now_ns))
        self._state.changed(now_ns)
        return clock

    def unpark(self, vcpu: int, clock: int, now_ns: int) -> None:
        """Wake the task of work clock ``clock``."""
        parking.unpark(self._state.kvm, vcpu, clock, now_ns)
        self._state.changed(now_ns)

    def first_orphan(self) -> int:
        """First gfn that is mapped although the host does not have it, or -1."""
        return int(backing.first_orphan(self._state.kvm))
