"""Asynchronous page faults: the task that waits for the host is put to sleep, its vCPU goes on with the others.

A task is a work clock of a vCPU. Linux arch/x86/kvm/mmu/mmu.c::kvm_arch_setup_async_pf, arch/x86/kvm/x86.c::
kvm_arch_async_page_not_present, ::kvm_arch_async_page_present; in the guest arch/x86/kernel/kvm.c::kvm_async_pf_task_wait.
"""

from __future__ import annotations

from hostsim.compiled.jit import inlined, jit
from hostsim.kvm.loops.layout import ENTRY, EXITED, IN_GUEST, Kvm
from hostsim.kvm.loops.vcpu import drain_ns
from hostsim.kvm.loops.work import stop_clocks


@jit
def park(k: Kvm, v: int, now_ns: int) -> int:
    """Put the task of vCPU ``v``, which is in FAULTS, to sleep at ``now_ns``; the vCPU enters the guest without it.

    Returns the work clock of the task.
    """
    vcpu = k.vcpus[v]
    clock = k.streams[vcpu.stream].clock
    for at in range(vcpu.clock_first, vcpu.clock_end):
        if k.own_clocks[at] == clock:
            k.own_clocks[at] = -1 - clock
    vcpu.next_ns, vcpu.stage = now_ns, EXITED
    return int(clock)


@jit
def unpark(k: Kvm, v: int, clock: int, now_ns: int) -> None:
    """Wake the task of ``clock`` by an interrupt at ``now_ns``: it runs when vCPU ``v`` is in the guest next."""
    vcpu = k.vcpus[v]
    if vcpu.stage == IN_GUEST:
        stop_clocks(k, v, now_ns)
        vcpu.next_ns = now_ns + k.costs.exit_ns + drain_ns(k, v) + k.costs.entry_ns
        vcpu.stage = ENTRY
    _wake(k, v, clock)


@inlined
def _wake(k: Kvm, v: int, clock: int) -> None:
    for at in range(k.vcpus[v].clock_first, k.vcpus[v].clock_end):
        if k.own_clocks[at] == -1 - clock:
            k.own_clocks[at] = clock
