"""What the host does to vCPUs and to mmu_lock, at a time up to which the guest has been advanced."""

from __future__ import annotations

from hostsim.compiled.jit import jit, part
from hostsim.costs.exits import NOTHING
from hostsim.kvm.loops.armed import count_range
from hostsim.kvm.loops.layout import (
    COST,
    ENTRY,
    ENTRY_NS,
    EXIT_NS,
    EXITED,
    HOLDERS,
    HOST_IDLE,
    HOST_WAITING,
    IN_GUEST,
    LEAVING,
    NO_EXIT,
    OUT,
    Q_MODE,
    Q_STATE,
    Q_WATCH,
    REORDERED,
    V_AWAY_NS,
    V_EXIT,
    V_FULL,
    V_KICKED,
    V_NS,
    V_STAGE,
    V_STOP,
    Kvm,
)
from hostsim.kvm.loops.mmu_lock import grant_next, join_queue, leave_lock, tell_contended
from hostsim.kvm.loops.streams import choose, find
from hostsim.kvm.loops.vcpu import drain_ns, is_full
from hostsim.kvm.loops.work import start_clocks, stop_clocks


@jit
def kick(k: Kvm, v: int, now_ns: int) -> None:
    """Ask vCPU ``v`` to user space: at once from the guest, else when its exit is over."""
    if k.vcpus[V_STAGE, v] == OUT:
        return
    k.vcpus[V_KICKED, v] = 1
    if k.vcpus[V_STAGE, v] == IN_GUEST:
        stop_clocks(k.vcpus, k.clocks, k.state, v, now_ns)
        k.vcpus[V_NS, v], k.vcpus[V_STAGE, v] = now_ns + k.costs[COST, EXIT_NS] + drain_ns(k, v), LEAVING


@jit
def enter_guest(k: Kvm, v: int, now_ns: int, entry_ns: int) -> None:
    """KVM_RUN: vCPU ``v``, which is OUT, enters the guest."""
    k.vcpus[V_KICKED, v] = k.vcpus[V_FULL, v] = 0
    k.vcpus[V_AWAY_NS, v], k.vcpus[V_EXIT, v] = now_ns, NO_EXIT
    k.vcpus[V_NS, v], k.vcpus[V_STAGE, v] = now_ns + entry_ns, ENTRY


@jit
def stop_at(k: Kvm, v: int, work_ns: int) -> None:
    """Let vCPU ``v`` leave the guest by itself when its first clock has come to ``work_ns``."""
    k.vcpus[V_STOP, v] = work_ns
    if k.vcpus[V_STAGE, v] == IN_GUEST:
        choose(k.vcpus, k.streams, k.clocks, k.state, v)


@jit
def interrupt(k: Kvm, now_ns: int) -> int:
    """An IPI to every vCPU in guest mode: an exit, PML buffer drained, and an entry. Returns how many there were."""
    running = 0
    for v in range(k.vcpus.shape[1]):
        if k.vcpus[V_STAGE, v] == IN_GUEST:
            running += 1
            stop_clocks(k.vcpus, k.clocks, k.state, v, now_ns)
            left_ns = now_ns + k.costs[COST, EXIT_NS] + drain_ns(k, v)
            k.vcpus[V_NS, v], k.vcpus[V_STAGE, v] = left_ns + k.costs[COST, ENTRY_NS], ENTRY
            if is_full(k.vcpus, k.state, v):
                k.vcpus[V_NS, v], k.vcpus[V_STAGE, v] = left_ns, EXITED
    return running


@part
def grant_all(k: Kvm, now_ns: int) -> None:
    """Let in all who may have mmu_lock now."""
    who = 0
    while who >= 0:
        who = grant_next(k, now_ns)
        if 0 <= who < k.vcpus.shape[1]:
            k.state[REORDERED] = 1


@jit
def request_lock(k: Kvm, host: int, mode: int, now_ns: int) -> None:
    """A host asks for mmu_lock; a grant comes up in Kvm.due."""
    k.queue[Q_STATE, k.vcpus.shape[1] + host], k.queue[Q_MODE, k.vcpus.shape[1] + host] = HOST_WAITING, mode
    join_queue(k.queue, k.state, k.vcpus.shape[1] + host, mode, now_ns)
    grant_all(k, now_ns)
    tell_contended(k, now_ns)


@jit
def release_lock(k: Kvm, host: int, now_ns: int) -> None:
    """A host lets mmu_lock go; those it lets in are granted now."""
    k.queue[Q_STATE, k.vcpus.shape[1] + host], k.queue[Q_WATCH, k.vcpus.shape[1] + host] = HOST_IDLE, 0
    k.state[HOLDERS] -= 1
    leave_lock(k.state, k.queue[Q_MODE, k.vcpus.shape[1] + host])
    grant_all(k, now_ns)


@jit
def begin_work(k: Kvm, n_pages: int) -> None:
    """The vCPUs, all of them out of the guest, have new work: what is armed is counted, what comes first is found."""
    count_range(k, 0, n_pages, 1)
    for s in range(len(k.streams)):
        find(k, s, 0, False)


@jit
def start(k: Kvm) -> None:
    """All vCPUs are in the guest at 0."""
    for v in range(k.vcpus.shape[1]):
        start_clocks(k.vcpus, k.clocks, k.state, v, 0)
        k.vcpus[V_EXIT, v] = NOTHING
        choose(k.vcpus, k.streams, k.clocks, k.state, v)
