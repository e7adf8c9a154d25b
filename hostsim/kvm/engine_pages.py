"""HostPages: the host memory under a VM's faults: places of pages, free frames at hand, tasks that wait for a page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hostsim.kvm.engine_state import EngineState
from hostsim.kvm.loops import backing, parking


class HostPages:
    """Host memory under the faults of one VM.

    A first touch takes a frame that is at hand, which is a free frame that the host has given to the VM's vCPUs. The engine
    delivers FAULT for a vCPU that finds no frame, or whose page is away.
    """

    def __init__(self, state: EngineState) -> None:
        self._state = state

    @property
    def backing(self) -> NDArray[np.uint8]:
        """uint8[n_pages], UNTOUCHED, RESIDENT, AWAY or more of hostsim.kvm.loops.layout; the host may write it."""
        return self._state.kvm.backing

    def ask_for_frames(self, most_fresh: int) -> None:
        """Let first touches use frames of the host from now on; no frame is at hand yet.

        most_fresh: most pages that vCPUs populate between two calls of ``take_fresh``.
        """
        self._state.kvm.state.frames = 0
        self._state.kvm = replace(self._state.kvm, fresh=np.zeros(most_fresh, np.int64))

    @property
    def frames_at_hand(self) -> int:
        """Free frames at hand, and frames that a fault under way has taken."""
        return int(self._state.kvm.state.frames + self._state.kvm.vcpus["frames"].sum())

    def add_frames(self, frames: int) -> None:
        """Put ``frames`` more frames at hand."""
        self._state.kvm.state.frames += frames

    def fresh(self) -> NDArray[np.int64]:
        """int64[k]: gfns populated since the last ``take_fresh``, oldest first."""
        return self._state.kvm.fresh[: int(self._state.kvm.state.fresh_pages)].copy()

    def take_fresh(self) -> NDArray[np.int64]:
        """Return ``fresh`` and empty the list."""
        taken = self.fresh()
        self._state.kvm.state.fresh_pages = 0
        return taken

    def faults_on(self, vcpu: int) -> int:
        """The gfn on which ``vcpu`` faults now, or faulted last."""
        return int(self._state.kvm.vcpus[vcpu].page)

    def is_write(self, vcpu: int) -> bool:
        """Whether the access on which ``vcpu`` faults now, or faulted last, is a write."""
        stream = self._state.kvm.vcpus[vcpu].stream
        return bool(self._state.kvm.streams[stream].is_write == 1)

    def look_again(self, vcpu: int, now_ns: int) -> None:
        """End the FAULT of ``vcpu``: the vCPU looks its page up again."""
        backing.look_again(self._state.kvm, vcpu, now_ns)
        self._state.changed(now_ns)

    def park(self, vcpu: int, now_ns: int) -> int:
        """Put the faulting task of ``vcpu`` to sleep; the vCPU runs other tasks. Return the work clock of the task."""
        clock = int(parking.park(self._state.kvm, vcpu, now_ns))
        self._state.changed(now_ns)
        return clock

    def unpark(self, vcpu: int, clock: int, now_ns: int) -> None:
        """Wake the task of work clock ``clock`` of ``vcpu`` at ``now_ns``; the task runs once the vCPU is in the guest."""
        parking.unpark(self._state.kvm, vcpu, clock, now_ns)
        self._state.changed(now_ns)

    def first_orphan(self) -> int:
        """First gfn that is mapped without being resident, or -1."""
        return int(backing.first_orphan(self._state.kvm))
