"""Sptes that a fault sets beside its own: those of the aligned group of eight around it whose page the host has.

Linux arch/x86/kvm/mmu/mmu.c::direct_pte_prefetch, ::direct_pte_prefetch_many, ::gfn_to_memslot_dirty_bitmap;
paging_tmpl.h::pte_prefetch, ::prefetch_gpte; virt/kvm/kvm_main.c::kvm_prefetch_pages (gfn_to_page_many_atomic before 6.13).
"""

from __future__ import annotations

from hostsim.compiled.jit import late, part
from hostsim.costs.exits import MAP, WP
from hostsim.kvm.loops.armed import flags_of
from hostsim.kvm.loops.layout import ENDED_RUNS, IN_ORDER, NO_PREFETCH, PREFETCH_PAGES, REGION_BITS, RESIDENT, Kvm
from hostsim.kvm.loops.mapping import set_spte, sets_region
from hostsim.spte_index.spte import DIRTY, KEPT, OLD, PRESENT, WRITABLE


@part
def _is_there(k: Kvm, page: int) -> bool:
    """Whether the host's page table maps ``page`` now: a prefetch makes no page, and waits for none."""
    return bool(page < len(k.version) and (k.state.is_backed == 0 or k.backing[page] == RESIDENT))


@part
def _in_order(k: Kvm, page: int, first: int) -> int:
    """The guest's ptes are read one by one, and the first whose page is not there ends the prefetch."""
    # Model limit: the guest's ptes around a fault of shadow paging are present with A and D bits. KVM stops at a
    # pte without A bit, and maps a pte without D bit read-only.
    found = 0
    for i in range(PREFETCH_PAGES):
        other = first + i
        if other == page or flags_of(k.sptes, other) & PRESENT != 0:
            continue
        if not _is_there(k, other):
            break
        found |= 1 << i
    return found


@part
def _by_runs(k: Kvm, page: int, first: int, ended: bool) -> int:
    """Each run of sptes without mapping is looked up as one: up to the first page that is not there.

    A run that begins with such a page ends the prefetch. ended: only runs that a mapped spte, or that of the fault, ends.
    """
    found = run = 0
    goes_on = True
    for i in range(PREFETCH_PAGES):
        other = first + i
        if other == page or flags_of(k.sptes, other) & PRESENT != 0:
            found |= run
            run, goes_on = 0, True
        elif goes_on:
            goes_on = _is_there(k, other)
            if not goes_on and run == 0:
                return found
            if goes_on:
                run |= 1 << i
    return found if ended else found | run


@late
def prefetched(k: Kvm, kind: int, page: int) -> int:
    """Sptes that a fault of ``kind`` on ``page``, which has been granted mmu_lock, sets beside its own: a bit each."""
    state = k.state
    if state.prefetches == NO_PREFETCH or state.is_logged == 1 or kind not in (MAP, WP):
        return 0
    # Pages that are being invalidated may still be in the host's page table.
    if state.invalidate_in_progress > 0 or sets_region(k.sptes, state, kind, page):
        return 0
    first = page - page % PREFETCH_PAGES
    if state.prefetches == IN_ORDER:
        return int(_in_order(k, page, first))
    return int(_by_runs(k, page, first, state.prefetches == ENDED_RUNS))


@part
def count_bits(bits: int) -> int:
    """Number of ones in ``bits``."""
    n = 0
    for i in range(PREFETCH_PAGES):
        n += (bits >> i) & 1
    return n


@late
def prefetch_sptes(k: Kvm, v: int) -> None:
    """Set the sptes that the fault of vCPU ``v`` prefetches. The A bit stays clear: the guest has not accessed the page.

    Linux arch/x86/kvm/mmu/spte.c::make_spte.
    """
    first = k.vcpus[v].page - k.vcpus[v].page % PREFETCH_PAGES
    for i in range(PREFETCH_PAGES):
        page = first + i
        if (k.vcpus[v].prefetched >> i) & 1 == 0:
            continue
        # Seen again at the end of the hold: readers of the lock map pages of one group at the same time, and a log that was
        # being switched on when the lock was granted has its flush behind it.
        if k.state.is_logged == 0 and k.sptes.level[page >> REGION_BITS] == 0 and k.sptes.spte[page] & PRESENT == 0:
            set_spte(k, page, PRESENT | WRITABLE | DIRTY | OLD | (k.sptes.spte[page] & KEPT))
            k.state.prefetched_sptes += 1
