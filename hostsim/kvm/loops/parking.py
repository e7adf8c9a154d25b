"""Asynchronous page faults: the task that waits for the host is put to sleep, its vCPU goes on with the others.

A task is a work clock of a vCPU. Linux arch/x86/kvm/mmu/mmu.c::kvm_arch_setup_async_pf, arch/x86/kvm/x86.c::
kvm_arch_async_page_not_present, ::kvm_arch_async_page_present; in the guest arch/x86/kernel/kvm.c::kvm_async_pf_task_wait.
"""

from __future__ import annotations

from hostsim.compiled.jit import inlined, jit
from hostsim.kvm.loops.layout import (
    COST,
    ENTRY,
    ENTRY_NS,
    EXIT_NS,
    EXITED,
    IN_GUEST,
    S_CLOCK,
    V_CLOCK,
    V_CLOCK_END,
    V_NS,
    V_STAGE,
    V_STREAM,
    Kvm,
)
from hostsim.kvm.loops.vcpu import drain_ns
from hostsim.kvm.loops.work import stop_clocks


@jit
def park(k: Kvm, v: int, now_ns: int) -> int:
    """The task of vCPU ``v``, which is in FAULTS, sleeps; the vCPU enters the guest without it. Returns the task's clock."""
    clock = k.streams[k.vcpus[V_STREAM, v], S_CLOCK]
    for at in range(k.vcpus[V_CLOCK, v], k.vcpus[V_CLOCK_END, v]):
        if k.state[at] == clock:
            k.state[at] = -1 - clock
    k.vcpus[V_NS, v], k.vcpus[V_STAGE, v] = now_ns, EXITED
    return int(clock)


@jit
def unpark(k: Kvm, v: int, clock: int, now_ns: int) -> None:
    """The page is there: an interrupt tells the guest, and the task goes on when vCPU ``v`` is in the guest next."""
    if k.vcpus[V_STAGE, v] == IN_GUEST:
        stop_clocks(k.vcpus, k.clocks, k.state, v, now_ns)
        k.vcpus[V_NS, v] = now_ns + k.costs[COST, EXIT_NS] + drain_ns(k, v) + k.costs[COST, ENTRY_NS]
        k.vcpus[V_STAGE, v] = ENTRY
    _wake(k, v, clock)


@inlined
def _wake(k: Kvm, v: int, clock: int) -> None:
    for at in range(k.vcpus[V_CLOCK, v], k.vcpus[V_CLOCK_END, v]):
        if k.state[at] == -1 - clock:
            k.state[at] = clock
