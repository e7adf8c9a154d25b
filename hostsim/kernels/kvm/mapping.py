"""What handling a fault sets, with the counts of armed pages kept.

Linux arch/x86/kvm/mmu/mmu.c::fast_page_fault, ::direct_page_fault, tdp_mmu.c::kvm_tdp_mmu_map; spte.c::make_spte.
"""

from __future__ import annotations

from hostsim.jit import inlined, jit
from hostsim.kernels.kvm.armed import count_range, disarm_page, is_armed
from hostsim.kernels.kvm.layout import (
    HUGE,
    IN_GUEST,
    LOG,
    LOGGED,
    REGION_BITS,
    RING,
    V_END,
    V_HEAD,
    V_PML,
    V_RING,
    V_STAGE,
    WHOLE_TABLE,
    YOUNG,
    Ints,
    Kvm,
)
from hostsim.kernels.kvm.streams import pass_by, rearm
from hostsim.mmu.cost_rules import PML_ENTRIES
from hostsim.mmu.exits import MAP, SPLIT, TRACK
from hostsim.mmu.spte import BLANK, DIRTY, IN_LOG, KEPT, OLD, PRESENT, REGION_PAGES, TRACKED, WRITABLE, Sptes


@inlined
def set_spte(k: Kvm, page: int, value: int) -> None:
    """The 4 KiB spte of ``page``, and what its place holds of the page's content, become ``value``. Disarms at most."""
    read, write = is_armed(k.sptes, k.state, page, 0), is_armed(k.sptes, k.state, page, 1)
    k.sptes.spte[page] = value
    read = read and not is_armed(k.sptes, k.state, page, 0)
    disarm_page(k, page, read, write and not is_armed(k.sptes, k.state, page, 1))


@inlined
def mark_dirty(sptes: Sptes, vcpus: Ints, buffers: Ints, state: Ints, v: int, page: int) -> None:
    """mark_page_dirty_in_slot: the bit in the log, or an entry in the ring of vCPU ``v``."""
    if sptes.spte[page] & IN_LOG != 0:
        return
    sptes.spte[page] |= IN_LOG
    if state[RING] == 1:
        size = buffers.shape[1] - PML_ENTRIES
        buffers[v, PML_ENTRIES + (vcpus[V_HEAD, v] + vcpus[V_RING, v]) % size] = page
        vcpus[V_RING, v] += 1


@inlined
def drain_pml(sptes: Sptes, vcpus: Ints, buffers: Ints, state: Ints, v: int) -> int:
    """Move the PML buffer of vCPU ``v`` into the log, oldest first; returns how many entries it had."""
    entries = vcpus[V_PML, v]
    for i in range(entries):
        mark_dirty(sptes, vcpus, buffers, state, v, buffers[v, i])
    vcpus[V_PML, v] = 0
    return int(entries)


@jit
def set_region(k: Kvm, region: int, level: int, large: int, small: int) -> None:
    """All sptes of a region at once: one large one with flags ``large`` (level 1), or 512 with flags ``small``."""
    first = region * REGION_PAGES
    k.sptes.level[region], k.sptes.large[region] = level, large
    for page in range(first, first + REGION_PAGES):
        k.sptes.spte[page] = small | (k.sptes.spte[page] & KEPT)


@jit
def is_empty(sptes: Sptes, region: int) -> bool:
    """Whether nothing in the region is mapped."""
    if sptes.level[region] == 1:
        return False
    for page in range(region * REGION_PAGES, (region + 1) * REGION_PAGES):
        if sptes.spte[page] & PRESENT != 0:
            return False
    return True


@jit
def set_region_counted(k: Kvm, region: int, level: int, large: int, small: int) -> None:
    """``set_region`` with the counts of armed pages kept."""
    first, end = region * REGION_PAGES, (region + 1) * REGION_PAGES
    count_range(k, first, end, -1)
    set_region(k, region, level, large, small)
    count_range(k, first, end, 1)


@jit
def _split(k: Kvm, v: int, page: int, now_ns: int) -> None:
    """In a logged slot: 512 sptes with the large one's flags, or none at all.

    It is set by vCPU ``v``: those before it have made their touches of this instant.
    """
    region = page >> REGION_BITS
    set_region_counted(k, region, 0, 0, k.sptes.large[region] if k.state[WHOLE_TABLE] == 1 else 0)
    for other in range(v):
        if k.vcpus[V_STAGE, other] == IN_GUEST:
            pass_by(k, other, k.vcpus[V_END, other], now_ns)
    rearm(k, region * REGION_PAGES, (region + 1) * REGION_PAGES, now_ns)


@inlined
def _sets_region(sptes: Sptes, state: Ints, kind: int, page: int) -> bool:
    """Whether the fault sets one large spte, or replaces it."""
    region = page >> REGION_BITS
    if sptes.level[region] == 1:
        return True
    return bool(kind == MAP and state[HUGE] == 1 and state[LOGGED] == 0 and is_empty(sptes, region))


@jit
def _handle_large(k: Kvm, v: int, kind: int, page: int, is_write: bool, now_ns: int) -> bool:
    """A fault on a large spte, or one that makes it; True if the 4 KiB spte of ``page`` remains to be set."""
    region, logged = page >> REGION_BITS, k.state[LOGGED] == 1
    large = k.sptes.large[region]
    if kind == MAP:
        set_region_counted(k, region, 1, PRESENT | WRITABLE | (DIRTY if is_write else 0), 0)
    elif kind == TRACK:
        writable = WRITABLE | DIRTY if is_write and not logged else 0
        set_region_counted(k, region, 1, (large & (~(TRACKED | OLD) & 0xFF)) | writable, 0)
    elif not logged:
        set_region_counted(k, region, 1, (large & (~OLD & 0xFF)) | WRITABLE | DIRTY, 0)
    else:
        _split(k, v, page, now_ns)
        return True
    return False


@inlined
def _small_flags(sptes: Sptes, state: Ints, kind: int, page: int, is_write: bool) -> int:
    """Flags of the 4 KiB spte that the fault sets."""
    if kind == MAP or (kind == SPLIT and state[WHOLE_TABLE] == 0):
        return PRESENT | WRITABLE | (DIRTY if is_write or state[LOGGED] == 1 else 0)
    kept = sptes.spte[page] & (PRESENT if is_write else PRESENT | WRITABLE | DIRTY)
    return int(kept | (WRITABLE | DIRTY if is_write else 0))


@inlined
def handle(k: Kvm, v: int, kind: int, page: int, is_write: bool, now_ns: int) -> None:
    """Set what a fault of ``kind`` sets, at the end of its hold.

    The page is young then. W comes back to an access-tracked page only with a write; what is mapped writable in a logged
    slot is dirty.
    """
    if _sets_region(k.sptes, k.state, kind, page) and not _handle_large(k, v, kind, page, is_write, now_ns):
        return
    flags = _small_flags(k.sptes, k.state, kind, page, is_write)
    set_spte(k, page, flags | (k.sptes.spte[page] & KEPT))
    if k.state[LOGGED] == 1 and (is_write or kind != TRACK):
        mark_dirty(k.sptes, k.vcpus, k.buffers, k.state, v, page)


@jit
def set_large(k: Kvm, region: int, flags: int) -> None:
    """The flags of a large spte become ``flags``."""
    set_region_counted(k, region, 1, flags, 0)


@inlined
def note_access(k: Kvm, page: int, kind: int) -> None:
    """An access that faults no more, of LOG, FILL or YOUNG: the hardware sets A, a LOG sets D, a FILL or LOG is a write."""
    region, value = page >> REGION_BITS, k.sptes.spte[page] & (~OLD & 0xFF)
    if k.sptes.level[region] == 1:
        large = k.sptes.large[region]
        flags = (large | (DIRTY if kind == LOG else 0)) & (~OLD & 0xFF)
        if flags != large:
            set_large(k, region, flags)
    elif kind == LOG:
        value |= DIRTY
    if kind != YOUNG:
        value &= ~BLANK & 0xFF
        k.zero[page] = 0
    set_spte(k, page, value)
