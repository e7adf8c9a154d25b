"""A guest that clears a directory under shadow paging: emulated writes, and the zap of the directory's shadow page.

A write to a page table above the lowest level is a fault that KVM emulates (kvm_mmu_track_write). The third in a row has KVM
zap the directory (detect_write_flooding); the next write is a fault that makes the page writable, and further ones are no
exits. Linux arch/x86/kvm/mmu/mmu.c.
"""

from __future__ import annotations

from collections.abc import Callable

from hostsim.measure.kvm.bench import Bench, Timing, guest_timing
from hostsim.measure.kvm.guest import Command, Work
from hostsim.measure.kvm.page_tables import ENTRIES, PAGE_BYTES, REGION_BYTES
from hostsim.measure.kvm.vm import Vm, address_of

FEW, SOME, MANY = 2, 16, 128
"""Entries that are cleared: too few for a zap; of a small directory; of a large one."""
EMULATED, FAULTS = 3, 4
"""Writes to a directory that KVM emulates before it has zapped it; faults until the guest writes freely."""
TURNS = 3
FLOODED, UNSYNCED = "mmu_flooded", "mmu_unsync"
"""Counters of KVM: shadow pages that are zapped because the guest writes to them; page tables that go out of sync."""
NAMES = ("emulate_write_ns", "zap_table_ns", "zap_entry_ns")


def directories(bench: Bench) -> None:
    """Directories of SOME and MANY tables, of which KVM has mapped a page each, beside first writes to tables.

    A zap unlinks every table below the directory, cleared by the guest or not. Their shadow pages are in no cache when a
    process that has used its memory ends, so this price is of emptied caches; the others are of a directory like the last.
    """
    with bench.vm(memory_bytes=SOME * REGION_BYTES) as small, bench.vm(memory_bytes=MANY * REGION_BYTES) as large:
        for _ in range(bench.repetitions * TURNS):
            if not _keep(bench, small, large):
                return


def _keep(bench: Bench, small: Vm, large: Vm) -> bool:
    """Keep a repetition; False if KVM does not shadow page tables."""
    written = [_again(_first_writes, small, n) for n in (FEW, FAULTS)]
    if not all(one.counters.get(UNSYNCED, 0) for one in written):
        bench.absent |= dict.fromkeys(NAMES, "two-dimensional paging: a guest writes its page tables without an exit")
        return False
    few, some, many = cleared = [_again(_cleared, vm, n) for vm, n in ((small, FEW), (small, SOME), (large, MANY))]
    why_not = "" if [one.counters.get(FLOODED, 0) for one in cleared] == [0, 1, 1] else "KVM zapped another directory"
    more_ns = (few.ns - written[0].ns) / FEW
    bench.keep("emulated_more_ns", more_ns, [few, written[0]], why_not)
    entries_ns = SOME * (many.ns - some.ns) / (MANY - SOME)
    zap_ns = some.ns - written[1].ns - EMULATED * more_ns - entries_ns
    bench.keep("zap_table_ns", zap_ns, [*written, *cleared], why_not)
    cold = [_cleared(vm, n, bench.empty_caches) for vm, n in ((small, SOME), (large, MANY))]
    bench.keep("zap_entry_ns", (cold[1].ns - cold[0].ns) / (MANY - SOME), cold, why_not)
    return True


def _again(timed: Callable[[Vm, int], Timing], vm: Vm, n: int) -> Timing:
    """The second of two timings: the first finds the kernel's code in no cache."""
    timed(vm, n)
    return timed(vm, n)


def _linked(vm: Vm) -> None:
    """KVM has a shadow page of the directory, and under it one of each table, all in sync."""
    for root in (1, 0):
        vm.load_root(root)
        vm.run([Work(Command.READ, address_of(0), vm.spec.n_pages // ENTRIES, stride_bytes=REGION_BYTES)])


def _first_writes(vm: Vm, n: int) -> Timing:
    """The guest writes the last entry of each of ``n`` tables."""
    _linked(vm)
    at, entries = vm.page_tables(n)
    kept = entries.copy()
    timing = guest_timing(vm, [Work(Command.WRITE, at + PAGE_BYTES - 8, n)])
    entries[:] = kept
    return timing


def _cleared(vm: Vm, n: int, before: Callable[[], object] = tuple) -> Timing:
    """The guest writes the first ``n`` entries of the directory, after ``before``."""
    _linked(vm)
    before()
    at, entries = vm.directory(n)
    kept = entries.copy()
    timing = guest_timing(vm, [Work(Command.WRITE, at, n, stride_bytes=8)])
    entries[:] = kept
    return timing
