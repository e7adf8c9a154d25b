"""Changes that the handling of a fault makes to sptes, with the counts of armed pages kept.

Linux arch/x86/kvm/mmu/mmu.c::fast_page_fault, ::direct_page_fault, tdp_mmu.c::kvm_tdp_mmu_map; spte.c::make_spte.
"""

from __future__ import annotations

from hostsim.compiled.jit import inlined, late, part
from hostsim.costs.cost_rules import PML_ENTRIES
from hostsim.costs.exits import MAP, SPLIT, TRACK
from hostsim.kvm.loops.armed import answers_of, armed_by, count_range, disarm_page, span_end, span_first
from hostsim.kvm.loops.hptes import at_cap, unmap_all
from hostsim.kvm.loops.layout import IN_GUEST, LOG, REGION_BITS, YOUNG, Kvm, State
from hostsim.kvm.loops.streams import pass_by, rearm
from hostsim.spte_index.spte import AGED, BLANK, DIRTY, IN_LOG, KEPT, PRESENT, REGION_PAGES, TRACKED, WRITABLE, Sptes


@inlined
def set_spte(k: Kvm, page: int, value: int) -> None:
    """Set the byte of the 4 KiB spte of ``page``, with the page's flags (KEPT), to ``value``: never arms it."""
    # The counts hold the page as it was armed before.
    before, after = answers_of(k, page, k.sptes.spte[page]), answers_of(k, page, value)
    k.sptes.spte[page] = value
    read = armed_by(before, 0) if armed_by(after, 0) == 0 else 0
    write = armed_by(before, 1) if armed_by(after, 1) == 0 else 0
    disarm_page(k, page, read, write)


@inlined
def mark_dirty(k: Kvm, v: int, page: int) -> None:
    """mark_page_dirty_in_slot: set the bit of ``page`` in the log, or put an entry into the ring of vCPU ``v``."""
    if k.sptes.spte[page] & IN_LOG != 0:
        return
    k.sptes.spte[page] |= IN_LOG
    if k.state.has_rings == 1:
        vcpu, size = k.vcpus[v], k.buffers.shape[1] - PML_ENTRIES
        k.buffers[v, PML_ENTRIES + (vcpu.ring_head + vcpu.ring_entries) % size] = page
        vcpu.ring_entries += 1


@inlined
def drain_pml(k: Kvm, v: int) -> int:
    """Move the PML buffer of vCPU ``v`` into the log, oldest first; returns how many entries it had."""
    entries = k.vcpus[v].pml_entries
    for i in range(entries):
        mark_dirty(k, v, k.buffers[v, i])
    k.vcpus[v].pml_entries = 0
    return int(entries)


@part
def set_region(k: Kvm, region: int, level: int, large: int, small: int) -> None:
    """Set all sptes of ``region`` at once.

    level: 0: 512 sptes of 4 KiB; 1, 2: a large spte of 2 MiB, of 1 GiB.
    large: flags of the large spte; small: flags of the 512. Flags of the pages (KEPT) stay.
    """
    first = region * REGION_PAGES
    k.sptes.level[region], k.sptes.large[region] = level, large
    for page in range(first, first + REGION_PAGES):
        k.sptes.spte[page] = small | (k.sptes.spte[page] & KEPT)


@part
def is_empty(sptes: Sptes, region: int) -> bool:
    """Whether nothing in the region is mapped."""
    if sptes.level[region] != 0:
        return False
    for page in range(region * REGION_PAGES, (region + 1) * REGION_PAGES):
        if sptes.spte[page] & PRESENT != 0:
            return False
    return True


@part
def is_empty_block(k: Kvm, region: int) -> bool:
    """Whether the block of ``region`` lies in memory as a whole, and nothing in it is mapped."""
    first = region - region % k.state.block_regions
    if k.state.block_regions == 1 or first + k.state.block_regions > len(k.sptes.level):
        return False
    for other in range(first, first + k.state.block_regions):
        if not is_empty(k.sptes, other):
            return False
    return True


@part
def set_regions_counted(k: Kvm, first: int, end: int, level: int, large: int, small: int) -> None:
    """``set_region`` for regions [first, end), with the counts of armed pages in ``k`` kept.

    level, large, small: as in ``set_region``.
    """
    count_range(k, first * REGION_PAGES, end * REGION_PAGES, -1)
    for region in range(first, end):
        set_region(k, region, level, large, small)
    count_range(k, first * REGION_PAGES, end * REGION_PAGES, 1)


@part
def _split(k: Kvm, v: int, page: int, now_ns: int) -> None:
    """In a logged slot: 512 sptes with the large one's flags, or none at all; of 1 GiB the other 2 MiB stay large, or go.

    It is set by vCPU ``v``: those before it have made their touches of this instant.
    """
    region = page >> REGION_BITS
    first, end, flags = span_first(k, region), span_end(k, region), k.sptes.large[region]
    if k.state.splits_whole == 1:
        for other in range(first, end):
            k.sptes.level[other] = 1
        set_regions_counted(k, region, region + 1, 0, 0, flags)
    else:
        set_regions_counted(k, first, end, 0, 0, 0)
    # Events of one instant are ordered by vCPU. Sweeps of lower vCPUs have made their touches of this instant while the page
    # was mapped; rearm would find them anew.
    for other in range(v):
        if k.vcpus[other].stage == IN_GUEST:
            pass_by(k, other, k.vcpus[other].stream_end, now_ns)
    rearm(k, first * REGION_PAGES, end * REGION_PAGES, now_ns)


@inlined
def sets_region(sptes: Sptes, state: State, kind: int, page: int) -> bool:
    """Whether a fault of ``kind`` on ``page`` sets one large spte, or replaces one.

    ``sptes`` and ``state`` are read only.
    """
    region = page >> REGION_BITS
    if sptes.level[region] != 0:
        return True
    return bool(kind == MAP and state.is_huge == 1 and state.is_logged == 0 and is_empty(sptes, region))


@late
def set_large(k: Kvm, region: int, flags: int) -> None:
    """The flags of the large spte of ``region`` become ``flags``."""
    set_regions_counted(k, span_first(k, region), span_end(k, region), k.sptes.level[region], flags, 0)


@part
def _map_large(k: Kvm, region: int, flags: int) -> None:
    """The largest spte that finds room."""
    if is_empty_block(k, region):
        first = region - region % k.state.block_regions
        set_regions_counted(k, first, first + k.state.block_regions, 2, flags, 0)
    else:
        set_regions_counted(k, region, region + 1, 1, flags, 0)


@late
def _handle_large(k: Kvm, v: int, kind: int, page: int, is_write: int, now_ns: int) -> bool:
    """A fault on a large spte, or one that makes it; True if the 4 KiB spte of ``page`` remains to be set."""
    region, logged = page >> REGION_BITS, k.state.is_logged == 1
    large = k.sptes.large[region]
    if kind == MAP:
        _map_large(k, region, PRESENT | WRITABLE | (DIRTY if is_write == 1 else 0))
    elif kind == TRACK:
        writable = WRITABLE | DIRTY if is_write == 1 and not logged else 0
        set_large(k, region, (large & (~(TRACKED | AGED) & 0xFF)) | writable)
    elif not logged:
        set_large(k, region, (large & (~AGED & 0xFF)) | WRITABLE | DIRTY)
    else:
        _split(k, v, page, now_ns)
        return True
    return False


@inlined
def _small_flags(sptes: Sptes, state: State, kind: int, page: int, is_write: int) -> int:
    """Flags of the 4 KiB spte that the fault sets."""
    if kind == MAP or (kind == SPLIT and state.splits_whole == 0):
        return PRESENT | WRITABLE | (DIRTY if is_write == 1 or state.is_logged == 1 else 0)
    kept = sptes.spte[page] & (PRESENT if is_write == 1 else PRESENT | WRITABLE | DIRTY)
    return int(kept | (WRITABLE | DIRTY if is_write == 1 else 0))


@inlined
def handle(k: Kvm, v: int, kind: int, page: int, is_write: int, now_ns: int) -> None:
    """Change the spte as a fault of ``kind`` does, at the end of its hold.

    v: the vCPU.
    kind: MAP, SPLIT, WP or TRACK.
    page: gfn of the access; is_write: the access writes.
    now_ns: end of the hold.
    The page is young then. W comes back to an access-tracked page only with a write; a page that is mapped writable in a
    logged slot is dirty.
    """
    if sets_region(k.sptes, k.state, kind, page) and not _handle_large(k, v, kind, page, is_write, now_ns):
        return
    if at_cap(k.state, kind):
        unmap_all(k, v, now_ns)
    flags = _small_flags(k.sptes, k.state, kind, page, is_write)
    set_spte(k, page, flags | (k.sptes.spte[page] & KEPT))
    if kind == MAP and k.state.cap_sptes > 0:
        k.state.mapped_sptes += 1
    if k.state.is_logged == 1 and (is_write == 1 or kind != TRACK):
        mark_dirty(k, v, page)


@inlined
def note_access(k: Kvm, page: int, kind: int) -> None:
    """Make an access to ``page`` that does not fault: the hardware sets A; LOG sets D, too; FILL and LOG are writes.

    kind: LOG, FILL or YOUNG.
    """
    # Model limit: the first write to a page of zeros makes it young, also where the TLB has its translation.
    region, value = page >> REGION_BITS, k.sptes.spte[page] & (~AGED & 0xFF)
    if k.sptes.level[region] != 0:
        large = k.sptes.large[region]
        flags = (large | (DIRTY if kind == LOG else 0)) & (~AGED & 0xFF)
        if flags != large:
            set_large(k, region, flags)
    elif kind == LOG:
        value |= DIRTY
    if kind != YOUNG:
        value &= ~BLANK & 0xFF
        k.zero[page] = 0
    set_spte(k, page, value)
