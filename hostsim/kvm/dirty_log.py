"""The dirty log of a VM under KVM as user space drives it: enable, GET, CLEAR, disable.

Each is one ioctl a memslot. All hold mmu_lock while they work on sptes; the vCPUs stand still meanwhile or, where
``running`` says so, are in guest mode and get an IPI at every flush.
Linux virt/kvm/kvm_main.c::kvm_get_dirty_log_protect, ::kvm_clear_dirty_log_protect;
arch/x86/kvm/x86.c::kvm_mmu_slot_apply_flags.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import simpy

from hostsim.kvm.vm import KvmVm
from hostsim.spte_index.spte import REGION_PAGES, WRITABLE

Timed = Generator[simpy.Event, Any, int]


def enable(vm: KvmVm) -> Timed:
    """Start logging; returns sptes and regions changed. The flush is unconditional."""
    policy, costs = vm.setup.policy, vm.costs.log
    large, (_, small) = _open_large(vm, 0, vm.setup.n_pages), vm.engine.log.count_start(splits=policy.eager_split)
    vm.logged = True
    vm.engine.log.start(policy.initially_all_set, policy.eager_split, vm.env.now_ns)
    if policy.initially_all_set:
        yield from _spend(vm, 0.0, vm.setup.n_pages * costs.all_set_ns, vm.setup.n_slots)
        return 0
    ns = _protect_ns(vm, large) if vm.setup.huge else small * costs.protect_ns
    yield from _spend(vm, ns, 0.0, vm.setup.n_slots)
    return large if vm.setup.huge else small


def get(vm: KvmVm) -> Timed:
    """KVM_GET_DIRTY_LOG: copy the log to ``vm.bitmap``; without manual protect clear it too. Returns dirty pages."""
    vm.bitmap[:] = 0
    found = vm.engine.log.mark_due(vm.bitmap, 0, vm.setup.n_pages)
    yield from _spend(vm, 0.0, vm.setup.n_pages * vm.costs.log.get_ns, 0)
    if not vm.setup.policy.manual_protect:
        yield from clear(vm)
    return found


def clear(vm: KvmVm) -> Timed:
    """KVM_CLEAR_DIRTY_LOG of all that ``vm.bitmap`` has, one ioctl a slot; returns pages cleared.

    One flush a slot in which anything was cleared, after mmu_lock is released.
    """
    policy, total, due = vm.setup.policy, 0, np.zeros(vm.setup.n_pages, np.uint8)
    for first, end in _slots(vm):
        large = _open_large(vm, first, end) if policy.initially_all_set else 0
        cleared = vm.engine.log.mark_due(due, first, end, got=vm.bitmap)
        vm.engine.log.clear(
            due, first, end, split=policy.initially_all_set and policy.eager_split, protect_large=policy.initially_all_set,
            now_ns=vm.env.now_ns,
        )  # fmt: skip
        ns = _protect_ns(vm, large) + cleared * vm.costs.log.clear_ns
        yield from _spend(vm, ns, 0.0, int(cleared > 0))
        total += cleared
    return total


def disable(vm: KvmVm, running: int = 0) -> Timed:
    """Stop logging, with huge pages underneath make sptes large again; returns regions.

    running: vCPUs in guest mode.
    """
    # Model limit: vCPUs that run while logging is disabled answer IPIs, what they access meanwhile is not modelled.
    vm.logged = False
    # Model limit: looking for 4 KiB sptes to recover takes no time where there are none.
    policy = vm.setup.policy
    recovered = vm.engine.log.count_recoverable() if policy.recovery != "none" else 0
    vm.engine.log.stop(policy.recovery, vm.env.now_ns)
    flushes = recovered if policy.flush_each else vm.setup.n_slots
    yield from _spend(vm, recovered * vm.costs.log.recover_ns, 0.0, flushes, running)
    return recovered


def _spend(vm: KvmVm, held_ns: float, free_ns: float, flushes: int, running: int = 0) -> Generator[simpy.Event, Any, None]:
    """Let time pass: with mmu_lock held, without it, and for flushes."""
    vm.host_hold_ns += round(held_ns)
    vm.flushes += flushes
    flush_ns = flushes * vm.costs.log.remote_flush_ns(running)
    yield vm.env.timeout(round(held_ns) + round(free_ns + flush_ns))


def _open_large(vm: KvmVm, first: int, end: int) -> int:
    """Large sptes of pages [first, end) that lose W when they are protected; or the tables that split them."""
    if vm.setup.policy.eager_split:
        return vm.engine.log.count_large(first, end, splits=True)
    regions = np.arange(first // REGION_PAGES, -(-end // REGION_PAGES))
    level, is_writable = vm.sptes.level[regions], vm.sptes.large[regions] & WRITABLE != 0
    begins = (level == 1) | ((level == 2) & (regions % vm.engine.config.block_regions == 0))
    return int(np.count_nonzero(begins & is_writable))


def _protect_ns(vm: KvmVm, large: int) -> float:
    """To split ``large`` sptes, or to write-protect them to be split at a fault."""
    return large * (vm.costs.log.split_ns if vm.setup.policy.eager_split else vm.costs.log.protect_ns)


def _slots(vm: KvmVm) -> list[tuple[int, int]]:
    """Pages of each memslot."""
    n, pages = vm.setup.n_slots, vm.setup.n_pages
    return [(pages * i // n, pages * (i + 1) // n) for i in range(n)]
