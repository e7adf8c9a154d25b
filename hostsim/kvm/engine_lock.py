"""LockQueue: the queue of a VM's mmu_lock. A host process queues by its slot, a vCPU by its number."""

from __future__ import annotations

from hostsim.kvm.engine_state import EngineState
from hostsim.kvm.loops import host


class LockQueue:
    """A FIFO queue; readers at its head take the lock together."""

    def __init__(self, state: EngineState) -> None:
        self._state = state

    @property
    def queued(self) -> int:
        """Number of vCPUs and host processes that wait now."""
        return int(self._state.kvm.state.lock_queued)

    def request(self, slot: int, mode: int, now_ns: int) -> bool:
        """Queue the host process in ``slot``; True: it has the lock; False: the engine delivers GRANTED later.

        mode: SHARED or EXCLUSIVE of hostsim.costs.exits.
        """
        host.request_lock(self._state.kvm, slot, mode, now_ns)
        return slot in self._state.granted(now_ns)

    def word_ns(self, slot: int) -> int:
        """Time from its grant until the host process in ``slot`` has the lock word [ns]."""
        return int(self._state.kvm.waiters[self._state.n_vcpus + slot].word_ns)

    def was_last(self, vcpu: int | None) -> bool:
        """Whether ``vcpu`` is the last actor that took the lock, so that its processor has the lock word."""
        return vcpu is not None and int(self._state.kvm.state.lock_last) == 1 + vcpu

    def note_last(self, vcpu: int | None) -> None:
        """Note that the host process that has just got the lock is the thread of ``vcpu``."""
        if vcpu is not None:
            self._state.kvm.state.lock_last = 1 + vcpu

    def release(self, slot: int, now_ns: int) -> list[int]:
        """Drop the lock that the host process in ``slot`` holds; return the host slots that take the lock at once."""
        host.release_lock(self._state.kvm, slot, now_ns)
        return self._state.granted(now_ns)

    def watch(self, slot: int, on: bool) -> None:
        """While ``on``, the engine delivers CONTENDED once, when an actor queues behind the holder in ``slot``."""
        self._state.kvm.waiters[self._state.n_vcpus + slot].is_watched = on
