"""LockQueue: the queue of a VM's mmu_lock. Processes of the host stand in it by slot, vCPUs by themselves."""

from __future__ import annotations

from hostsim.kvm.engine_state import EngineState
from hostsim.kvm.loops import host


class LockQueue:
    """First come, first served; readers at the head of the queue enter together."""

    def __init__(self, state: EngineState) -> None:
        self._state = state

    @property
    def queued(self) -> int:
        """How many vCPUs and host processes wait now."""
        return int(self._state.kvm.state.lock_queued)

    def request(self, slot: int, mode: int, now_ns: int) -> bool:
        """Queue the host process in ``slot``; True if the lock is granted at once, else GRANTED comes up later.

        mode: SHARED or EXCLUSIVE of hostsim.costs.exits.
        """
        host.request_lock(self._state.kvm, slot, mode, now_ns)
        return slot in self._state.granted(now_ns)

    def release(self, slot: int, now_ns: int) -> list[int]:
        """The host process in ``slot`` drops the lock; returns the slots that are granted it by that."""
        host.release_lock(self._state.kvm, slot, now_ns)
        return self._state.granted(now_ns)

    def watch(self, slot: int, on: bool) -> None:
        """While ``on``, CONTENDED comes up once when a vCPU or a host process queues behind the holder in ``slot``."""
        self._state.kvm.waiters[self._state.n_vcpus + slot].is_watched = on
