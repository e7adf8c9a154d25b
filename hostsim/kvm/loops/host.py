"""Operations of the host on vCPUs and on mmu_lock, at a time up to which the guest has been advanced."""

from __future__ import annotations

from hostsim.compiled.jit import jit, part
from hostsim.costs.exits import NOTHING
from hostsim.guest.pacing import work_at
from hostsim.guest.touch import TRACE
from hostsim.kvm.loops.armed import count_range
from hostsim.kvm.loops.layout import ENTRY, EXITED, HOST_IDLE, HOST_WAITING, IN_GUEST, LEAVING, NO_EXIT, OUT, Kvm
from hostsim.kvm.loops.mmu_lock import grant_next, join_queue, leave_lock, queue_contended
from hostsim.kvm.loops.streams import choose, find
from hostsim.kvm.loops.vcpu import drain_ns, is_full
from hostsim.kvm.loops.work import active_time, start_clocks, stop_clocks


@jit
def kick(k: Kvm, v: int, now_ns: int) -> None:
    """Ask vCPU ``v`` to leave for user space: at ``now_ns`` if it is in the guest, else when its exit is over."""
    vcpu = k.vcpus[v]
    if vcpu.stage == OUT:
        return
    vcpu.is_kicked = 1
    if vcpu.stage == IN_GUEST:
        stop_clocks(k, v, now_ns)
        vcpu.next_ns, vcpu.stage = now_ns + k.costs.exit_ns + drain_ns(k, v), LEAVING


@jit
def enter_guest(k: Kvm, v: int, now_ns: int, entry_ns: int) -> None:
    """KVM_RUN: vCPU ``v``, which is OUT, leaves user space at ``now_ns`` and is in the guest ``entry_ns`` later."""
    vcpu = k.vcpus[v]
    vcpu.is_kicked = vcpu.is_ring_full = 0
    vcpu.away_since_ns, vcpu.exit_kind = now_ns, NO_EXIT
    vcpu.next_ns, vcpu.stage = now_ns + entry_ns, ENTRY


@jit
def stop_at(k: Kvm, v: int, work_ns: int) -> None:
    """Let vCPU ``v`` leave the guest by itself when its first clock has come to ``work_ns``."""
    k.vcpus[v].stop_work_ns = work_ns
    if k.vcpus[v].stage == IN_GUEST:
        choose(k, v)


@jit
def interrupt(k: Kvm, now_ns: int) -> int:
    """Send an IPI at ``now_ns`` to every vCPU of ``k`` in guest mode: an exit, its PML buffer drained, an entry.

    Returns the number of vCPUs in guest mode.
    """
    running = 0
    for v in range(len(k.vcpus)):
        if k.vcpus[v].stage == IN_GUEST:
            running += 1
            stop_clocks(k, v, now_ns)
            left_ns = now_ns + k.costs.exit_ns + k.costs.ipi_ns + drain_ns(k, v)
            k.vcpus[v].next_ns, k.vcpus[v].stage = left_ns + k.costs.entry_ns, ENTRY
            if is_full(k, v):
                k.vcpus[v].next_ns, k.vcpus[v].stage = left_ns, EXITED
    return running


@part
def grant_all(k: Kvm, now_ns: int) -> None:
    """Grant mmu_lock of ``k`` at ``now_ns`` to all at the head of the queue that can hold it together."""
    who = 0
    while who >= 0:
        who = grant_next(k, now_ns)
        if 0 <= who < len(k.vcpus):
            k.state.is_reordered = 1  # the vCPU has an event again, and is not on the agenda


@jit
def request_lock(k: Kvm, host: int, mode: int, now_ns: int) -> None:
    """Queue ``host`` for mmu_lock at ``now_ns``; the grant, at once or later, is a row of ``k.due``.

    mode: SHARED or EXCLUSIVE.
    """
    k.waiters[len(k.vcpus) + host].state, k.waiters[len(k.vcpus) + host].lock_mode = HOST_WAITING, mode
    join_queue(k, len(k.vcpus) + host, mode)
    grant_all(k, now_ns)
    queue_contended(k, now_ns)  # after the grants: a request that is granted at once waits behind no holder


@jit
def release_lock(k: Kvm, host: int, now_ns: int) -> None:
    """Drop mmu_lock, which ``host`` holds, at ``now_ns``, and grant it at once to the head of the queue."""
    k.waiters[len(k.vcpus) + host].state, k.waiters[len(k.vcpus) + host].is_watched = HOST_IDLE, 0
    k.state.host_holders -= 1
    leave_lock(k.state, k.waiters[len(k.vcpus) + host].lock_mode)
    grant_all(k, now_ns)


@jit
def begin_work(k: Kvm, n_pages: int) -> None:
    """Begin new work with all vCPUs of ``k`` out of the guest: count armed pages, find the first candidate of each stream.

    n_pages: pages of the VM.
    """
    count_range(k, 0, n_pages, 1)
    for s in range(len(k.streams)):
        find(k, s, 0, False)


@jit
def carry_on(k: Kvm, now_ns: int) -> None:
    """Go on at ``now_ns`` with work that the clocks of ``k`` began on the source; all vCPUs are out of the guest."""
    for s in range(len(k.streams)):
        stream, row = k.streams[s], k.ints[k.streams[s].touch_class]
        active_ns = active_time(row, work_at(k.clocks[stream.clock], now_ns))
        if stream.kind == TRACE:
            end = k.classes[stream.touch_class].trace_end
            while stream.index < end and k.tape[stream.index] < active_ns:
                stream.index += 1
        find(k, s, active_ns, False)


@jit
def start(k: Kvm) -> None:
    """All vCPUs are in the guest at 0."""
    for v in range(len(k.vcpus)):
        start_clocks(k, v, 0)
        k.vcpus[v].exit_kind = NOTHING
        choose(k, v)
