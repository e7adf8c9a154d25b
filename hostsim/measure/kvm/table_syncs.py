"""A guest that writes its page tables under shadow paging: what the sync of unsync tables adds to a CR3 load.

No guest in user mode can load CR3, so user space sets another one (KVM_SET_SREGS): KVM loads the root at the next entry, and
syncs its tables then, under mmu_lock. Linux arch/x86/kvm/mmu/mmu.c::kvm_mmu_load, ::mmu_sync_children.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hostsim.measure.kvm.bench import Bench, Timing, guest_timing
from hostsim.measure.kvm.guest import Command, Work
from hostsim.measure.kvm.page_tables import ENTRIES, PAGE_BYTES, REGION_BYTES
from hostsim.measure.kvm.passes import LEAVES, forget, write
from hostsim.measure.kvm.vm import Vm, address_of

Change = Callable[[NDArray[np.uint64]], NDArray[np.uint64]]
TABLES, TURNS = 16, 4
UNSYNCED = "mmu_unsync"
"""Counter of KVM: it grows with each page table that goes out of sync."""
NAMES = ("sync_table_ns", "sync_spte_ns", "sync_drop_ns", "sync_protect_ns")
READ_WRITE = np.uint64(2)
"""Bit of a page table's entry."""


def table_syncs(bench: Bench) -> None:
    """Syncs of TABLES page tables whose entries KVM has all mapped, and the guest changed or not, or a few mapped."""
    size = TABLES * REGION_BYTES
    with bench.vm(memory_bytes=size) as full, bench.vm(memory_bytes=size) as sparse:
        for vm in (full, sparse):
            write(vm)
        forget(sparse)
        before = sparse.read_counters()[LEAVES]
        _touch(sparse, ENTRIES)
        some = (sparse.read_counters()[LEAVES] - before) / TABLES
        for _ in range(bench.repetitions):
            if not _keep(bench, full, sparse, some):
                return


def _keep(bench: Bench, full: Vm, sparse: Vm, some: float) -> bool:
    """Keep a repetition; False if KVM does not shadow page tables. some: mapped entries of a table of ``sparse``."""
    (none, _), (every, unsync) = _load(full, 1, 0), _load(full, 1, TABLES)
    if unsync == 0:
        bench.absent |= dict.fromkeys(NAMES, "two-dimensional paging: a guest writes its page tables without an exit")
        return False
    why_not = "" if unsync == TABLES else f"{unsync} of {TABLES} tables were unsync"
    for name, change in (("sync_drop_ns", _to_other_pages), ("sync_protect_ns", _to_read_only)):
        changed = _load(full, 1, TABLES, change)[0]
        bench.keep(name, (changed.cpu_ns - every.cpu_ns) / (TABLES * ENTRIES), [changed, every], why_not)
    of_all_ns = (every.cpu_ns - none.cpu_ns) / TABLES
    for _ in range(TURNS):
        few, bare = (_load(sparse, ENTRIES, n)[0] for n in (TABLES, 0))
        of_few_ns = (few.cpu_ns - bare.cpu_ns) / TABLES
        spte_ns = (of_all_ns - of_few_ns) / (ENTRIES - some)
        bench.keep("sync_spte_ns", spte_ns, [none, every, few, bare], why_not)
        bench.keep("sync_table_ns", of_few_ns - some * spte_ns, [few, bare], why_not)
    return True


def _touch(vm: Vm, step: int) -> None:
    """The guest reads each ``step``-th page."""
    vm.run([Work(Command.READ, address_of(0), vm.spec.n_pages // step, stride_bytes=step * PAGE_BYTES)])


def _unchanged(entries: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return entries


def _to_other_pages(entries: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each entry maps the page of the one before. entries: uint64[tables, 512]."""
    return np.roll(entries, 1, axis=1)


def _to_read_only(entries: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return np.bitwise_and(entries, ~READ_WRITE)


def _load(vm: Vm, step: int, tables: int, change: Change = _unchanged) -> tuple[Timing, int]:
    """(KVM_RUN after CR3 was set, tables that were unsync).

    step: KVM has mapped each such page. tables: the guest writes an entry of each of the first ``tables``, and user space
    all their entries by ``change``.
    """
    for first in (1, 0):  # each syncs what the measurement before has left, and links the tables below it
        vm.load_root(first)
        _touch(vm, step)
    tables_at, entries = vm.page_tables(TABLES)
    kept, unsync = entries.copy(), 0
    if tables:
        last = PAGE_BYTES - 8
        work = Work(Command.WRITE, tables_at + last, tables)
        unsync = guest_timing(vm, [work]).counters.get(UNSYNCED, 0)
        entries[:] = kept
        entries[:tables] = change(kept[:tables])
    vm.run([Work(Command.NOTHING)], patient=True)  # not after CR3 is set: caches would forget meanwhile
    vm.load_root(1)
    took = guest_timing(vm, [Work(Command.NOTHING)], patient=False)
    _restore(vm, tables_at, tables, entries, kept)
    return took, unsync


def _restore(vm: Vm, tables_at: int, tables: int, entries: NDArray[np.uint64], kept: NDArray[np.uint64]) -> None:
    """The guest writes the tables once more, so that KVM compares them again when they are as they were."""
    if tables:
        vm.run([Work(Command.WRITE, tables_at + PAGE_BYTES - 8, tables)])
        entries[:] = kept
