"""The dirty log of a VM under KVM as user space drives it: enable, GET, CLEAR, disable.

Each is one ioctl a memslot. All hold mmu_lock while they work on sptes; the vCPUs stand still meanwhile or, where
``running`` says so, are in guest mode and get an IPI at every flush.
Linux virt/kvm/kvm_main.c::kvm_get_dirty_log_protect, ::kvm_clear_dirty_log_protect;
arch/x86/kvm/x86.c::kvm_mmu_slot_apply_flags.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from hostsim.host.kvm.setup import BACKING_PAGES
from hostsim.host.kvm.vm import KvmVm
from hostsim.kernels.log_ops import (
    clear_masked,
    keep_first_of,
    protect_large,
    protect_small,
    recover_large,
    split_large,
)
from hostsim.mmu.spte import DIRTY, REGION_PAGES, WRITABLE

Timed = Generator[simpy.Event, Any, int]


def enable(vm: KvmVm) -> Timed:
    """Start logging; returns sptes and regions changed. The flush is unconditional."""
    vm.logged = True
    vm.sptes.dirty[:] = vm.setup.policy.initially_all_set
    if vm.setup.policy.initially_all_set:
        yield from _spend(vm, 0.0, vm.setup.n_pages * vm.costs.log.all_set_ns, vm.setup.n_slots)
        return 0
    changed, ns = _protect(vm, 0, vm.setup.n_pages)
    pages = protect_small(vm.sptes, 0, vm.setup.n_pages, _flag(vm))
    ns += (0 if vm.setup.huge else pages) * vm.costs.log.protect_ns
    yield from _spend(vm, ns, 0.0, vm.setup.n_slots)
    return changed if vm.setup.huge else pages


def get(vm: KvmVm) -> Timed:
    """KVM_GET_DIRTY_LOG: copy the log to ``vm.bitmap``; without manual protect clear it too. Returns dirty pages."""
    vm.bitmap[:] = vm.sptes.dirty[: vm.setup.n_pages]
    found = int(vm.bitmap.sum(dtype=int))
    yield from _spend(vm, 0.0, vm.setup.n_pages * vm.costs.log.get_ns, 0)
    if not vm.setup.policy.manual_protect:
        yield from clear(vm)
    return found


def clear(vm: KvmVm) -> Timed:
    """KVM_CLEAR_DIRTY_LOG of all that ``vm.bitmap`` has, one ioctl a slot; returns pages cleared.

    One flush a slot in which anything was cleared, after mmu_lock is released.
    """
    total = 0
    for first, end in _slots(vm):
        _, ns = _protect(vm, first, end) if vm.setup.policy.initially_all_set else (0, 0.0)
        cleared = clear_masked(vm.sptes, vm.bitmap, first, end, _flag(vm))
        yield from _spend(vm, ns + cleared * vm.costs.log.clear_ns, 0.0, int(cleared > 0))
        total += cleared
    return total


def disable(vm: KvmVm, running: int = 0) -> Timed:
    """Stop logging, with huge pages underneath make sptes large again; returns regions.

    running: vCPUs in guest mode.
    """
    # Model limit: vCPUs that run while logging is disabled answer IPIs, what they access meanwhile is not modelled.
    vm.logged = False
    # Model limit: looking for 4 KiB sptes to recover takes no time where there are none.
    recovered, policy = 0, vm.setup.policy
    if vm.setup.huge and policy.recovery != "none":
        recovered = recover_large(vm.sptes, 0, len(vm.sptes.level), policy.recovery == "zap")
    flushes = recovered if policy.flush_each else vm.setup.n_slots
    yield from _spend(vm, recovered * vm.costs.log.recover_ns, 0.0, flushes, running)
    return recovered


def _spend(vm: KvmVm, held_ns: float, free_ns: float, flushes: int, running: int = 0) -> Generator[simpy.Event, Any, None]:
    """Let time pass: with mmu_lock held, without it, and for flushes."""
    vm.host_hold_ns += round(held_ns)
    vm.flushes += flushes
    flush_ns = flushes * vm.costs.log.remote_flush_ns(running)
    yield vm.env.timeout(round(held_ns) + round(free_ns + flush_ns))


def _protect(vm: KvmVm, first: int, end: int) -> tuple[int, float]:
    """Large sptes of pages [first, end): split, or write-protected to be split at a fault. (how many, ns)."""
    regions = first // REGION_PAGES, -(-end // REGION_PAGES)
    if vm.setup.policy.eager_split:
        split = split_large(vm.sptes, *regions)
        return split, split * vm.costs.log.split_ns
    changed = protect_large(vm.sptes, *regions)
    # Model limit: a 1 GiB spte is kept as 512 of 2 MiB, and the fault that splits it has to be in its first 2 MiB.
    keep_first_of(vm.sptes, BACKING_PAGES[vm.setup.backing] // REGION_PAGES or 1)
    return changed, changed * vm.costs.log.protect_ns


def _flag(vm: KvmVm) -> int:
    """What is taken from a 4 KiB spte so that the next write is logged."""
    return DIRTY if vm.setup.policy.pml else WRITABLE


def _slots(vm: KvmVm) -> list[tuple[int, int]]:
    """Pages of each memslot."""
    n, pages = vm.setup.n_slots, vm.setup.n_pages
    return [(pages * i // n, pages * (i + 1) // n) for i in range(n)]
