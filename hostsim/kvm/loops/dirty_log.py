"""Effects of the work on the dirty log: protection, D bits, splitting, rings. Each takes place at one instant.

Linux virt/kvm/kvm_main.c::kvm_get_dirty_log_protect, ::kvm_clear_dirty_log_protect;
virt/kvm/dirty_ring.c::kvm_dirty_ring_reset; arch/x86/kvm/x86.c::kvm_mmu_slot_apply_flags. Masks are uint8, one a page.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit, part
from hostsim.core.memory import grown
from hostsim.costs.cost_rules import PML_ENTRIES
from hostsim.kvm.loops.armed import count_range, span_end, span_first
from hostsim.kvm.loops.layout import REGION_BITS, Kvm
from hostsim.kvm.loops.mapping import set_region
from hostsim.kvm.loops.streams import rearm
from hostsim.spte_index.spte import BLANK, DIRTY, IN_LOG, KEPT, PRESENT, REGION_PAGES, WRITABLE

Bytes = NDArray[np.uint8]
RECOVER_NONE, RECOVER_ZAP, RECOVER_IN_PLACE = range(3)
MASK_PAGES = 64
"""Pages of a word of the bitmap, and those that one mask of KVM_RESET_DIRTY_RINGS spans."""


@part
def log_flag(k: Kvm) -> int:
    """The flag to clear in a 4 KiB spte so that the next write is logged."""
    return DIRTY if k.state.has_d_bits == 1 else WRITABLE


@jit
def map_filled(k: Kvm, n_pages: int) -> None:
    """Lay out a guest that has run for long: pages with content are mapped, writable and dirty, the others are blank.

    n_pages: pages of the VM; sptes beyond them fill the last region and stay empty.
    Under a cap on sptes (``k.state.cap_sptes``) the first pages with content are mapped, up to the cap.
    """
    spte, huge = k.sptes.spte, k.state.is_huge == 1
    full, room = PRESENT | WRITABLE | DIRTY, k.state.cap_sptes if k.state.cap_sptes > 0 else n_pages
    for page in range(len(spte)):
        has_content = page < n_pages and k.zero[page] == 0
        is_mapped = has_content and not huge and room > 0
        room -= int(is_mapped)
        spte[page] = full if is_mapped else (BLANK if page < n_pages and not has_content else 0)
        if huge and has_content:
            k.sptes.level[page >> REGION_BITS], k.sptes.large[page >> REGION_BITS] = 1, full
    block = k.state.block_regions
    for first in range(0, len(k.sptes.level) - block + 1, block):
        if block > 1 and _highest_level(k, first) > 0:
            _join(k, first, full)


@part
def _highest_level(k: Kvm, first: int) -> int:
    """Of the sptes of the block from region ``first`` on."""
    highest = 0
    for region in range(first, first + k.state.block_regions):
        highest = max(highest, k.sptes.level[region])
    return highest


@part
def _join(k: Kvm, first: int, flags: int) -> None:
    """One large spte with ``flags`` maps the block from region ``first`` on."""
    for region in range(first, first + k.state.block_regions):
        set_region(k, region, 2, flags, 0)


@jit
def count_large(k: Kvm, first: int, end: int, splits: bool) -> int:
    """Large sptes of pages [first, end); with ``splits`` the tables that split them there: one more for one of 1 GiB."""
    n, block = 0, -1
    for region in range(first >> REGION_BITS, (end + REGION_PAGES - 1) >> REGION_BITS):
        if k.sptes.level[region] == 2 and span_first(k, region) != block:
            block = span_first(k, region)
            n += 1
        if k.sptes.level[region] == 1 or (splits and k.sptes.level[region] == 2):
            n += 1
    return n


@jit
def count_small(k: Kvm) -> int:
    """4 KiB sptes with the flag that logging takes away."""
    flag, n = log_flag(k), 0
    for page in range(len(k.sptes.spte)):
        n += k.sptes.spte[page] & flag != 0
    return n


@part
def _narrow(k: Kvm, region: int, split: bool) -> None:
    """A large spte is split into 512 with its flags, one of 1 GiB into smaller ones first; or it loses W."""
    large = k.sptes.large[region]
    for other in range(span_first(k, region), span_end(k, region)):
        if split:
            k.sptes.level[other] = 1
        else:
            k.sptes.large[other] = large & (~WRITABLE & 0xFF)
    if split:
        set_region(k, region, 0, 0, large)


@jit
def start_log(k: Kvm, all_set: bool, eager: bool, now_ns: int) -> None:
    """Switch logging on at ``now_ns``.

    all_set: KVM_DIRTY_LOG_INITIALLY_SET: all pages are in the log and none is protected; else all are clean and protected.
    eager: large sptes are split now; else each loses W, and the first write fault splits it.
    """
    spte, flag = k.sptes.spte, log_flag(k)
    count_range(k, 0, len(spte), -1)
    k.state.is_logged = 1
    if not all_set:
        for region in range(len(k.sptes.level)):
            if k.sptes.level[region] != 0:
                _narrow(k, region, eager)
        for page in range(len(spte)):
            spte[page] &= ~(flag | IN_LOG) & 0xFF
    else:
        for page in range(len(spte)):
            spte[page] |= IN_LOG
    count_range(k, 0, len(spte), 1)
    rearm(k, 0, len(spte), now_ns)


@part
def _is_recoverable(k: Kvm, region: int) -> bool:
    if k.state.is_huge == 0 or k.sptes.level[region] != 0:
        return False
    for page in range(region * REGION_PAGES, (region + 1) * REGION_PAGES):
        if k.sptes.spte[page] & PRESENT != 0:
            return True
    return False


@jit
def count_recoverable(k: Kvm) -> int:
    """Regions of huge host pages that are mapped in 4 KiB sptes, and blocks of 1 GiB pages that have 2 MiB sptes."""
    n, block = 0, k.state.block_regions
    for region in range(len(k.sptes.level)):
        n += _is_recoverable(k, region)
    if block > 1:
        for first in range(0, len(k.sptes.level) - block + 1, block):
            n += _highest_level(k, first) == 1
    return n


@jit
def count_recoverable_sptes(k: Kvm, n: NDArray[np.int64]) -> None:
    """The sptes that switching the log off zaps one by one, by region, then by block.

    n: int64[n_regions + n_blocks], in place: 4 KiB sptes of each region, and 2 MiB sptes of each block, that
    ``count_recoverable`` counts; 0 for the others.
    """
    n[:] = 0
    regions, block = len(k.sptes.level), k.state.block_regions
    for region in range(regions):
        if _is_recoverable(k, region):
            for page in range(region * REGION_PAGES, (region + 1) * REGION_PAGES):
                n[region] += k.sptes.spte[page] & PRESENT != 0
    if block > 1:
        for at in range(regions // block):
            if _highest_level(k, at * block) == 1:
                for region in range(at * block, (at + 1) * block):
                    n[regions + at] += k.sptes.level[region] == 1


@part
def _recover(k: Kvm, region: int, recovery: int) -> None:
    """A region becomes large again, or empty to be mapped large later."""
    level = 1 if recovery == RECOVER_IN_PLACE else 0
    set_region(k, region, level, PRESENT | WRITABLE | DIRTY if level == 1 else 0, 0)


@part
def _recover_blocks(k: Kvm, recovery: int) -> None:
    """Blocks of 1 GiB that are not mapped as a whole, nor empty, become large again, or empty to be mapped large later."""
    block = k.state.block_regions
    for first in range(0, len(k.sptes.level) - block + 1, block):
        if _highest_level(k, first) != 1:
            continue
        if recovery == RECOVER_IN_PLACE:
            _join(k, first, PRESENT | WRITABLE | DIRTY)
        else:
            for region in range(first, first + block):
                set_region(k, region, 0, 0, 0)


@jit
def stop_log(k: Kvm, recovery: int, now_ns: int) -> None:
    """Switch logging off at ``now_ns``: the log and the rings are empty.

    recovery: RECOVER_NONE; RECOVER_ZAP: split regions are unmapped, to be mapped large later; RECOVER_IN_PLACE: they are
    large.
    """
    n_pages = len(k.sptes.spte)
    count_range(k, 0, n_pages, -1)
    k.state.is_logged = 0
    for page in range(n_pages):
        k.sptes.spte[page] &= ~IN_LOG & 0xFF
    for v in range(len(k.vcpus)):
        k.vcpus[v].ring_entries = k.vcpus[v].ring_taken = k.vcpus[v].pml_entries = 0
    for region in range(len(k.sptes.level)):
        if recovery != RECOVER_NONE and _is_recoverable(k, region):
            _recover(k, region, recovery)
    if recovery != RECOVER_NONE and k.state.block_regions > 1:
        _recover_blocks(k, recovery)
    count_range(k, 0, n_pages, 1)
    rearm(k, 0, n_pages, now_ns)


@jit
def mark_due(k: Kvm, due: Bytes, got: Bytes, uses_got: bool, first: int, end: int) -> int:
    """Mark in ``due`` the pages of [first, end) whose bit in the log (or, with D bits alone, in the spte) is dirty.

    got: as long as ``due`` and another array; only pages with 1 there are marked if uses_got.
    """
    by_spte, least, n = k.state.has_d_bits == 1 and k.state.has_pml == 0, int(uses_got), 0
    # No branch, and indices from 0 on, so that the compiler takes many pages at a time.
    sptes, marks, asked = k.sptes.spte[first:end], due[first:end], got[first:end]
    for i in range(len(sptes)):
        dirty = (sptes[i] & IN_LOG != 0) | (by_spte & (sptes[i] & (PRESENT | DIRTY) == PRESENT | DIRTY))
        found = dirty & (asked[i] >= least)
        marks[i] |= found
        n += found
    return n


@part
def _due_and_small(sptes: Bytes, marks: Bytes) -> tuple[int, int]:
    """(Pages due, those of them with an spte). No branch, as in ``mark_due``."""
    n_due, n_small = 0, 0
    for i in range(len(marks)):
        n_due += marks[i]
        n_small += marks[i] & int(sptes[i] & PRESENT != 0)
    return n_due, n_small


@jit
def count_due(k: Kvm, due: Bytes, first: int, end: int, splits: bool, n: NDArray[np.int64]) -> None:
    """Work of a CLEAR of the pages of [first, end) in ``due``, before it splits large sptes.

    n: int64[2], in place: pages with a 4 KiB spte, and words of 64 pages, a page due, without one. With ``splits`` pages of
    large sptes are in neither: their split protects them.
    """
    n[0], n[1] = 0, 0
    low = first
    while low < end:  # a word lies in one region
        high = min(end, (low // MASK_PAGES + 1) * MASK_PAGES)
        is_large = k.sptes.level[low >> REGION_BITS] != 0
        if not (is_large and splits):
            n_due, n_small = _due_and_small(k.sptes.spte[low:high], due[low:high])
            small = 0 if is_large else n_small
            n[0] += small
            n[1] += int(n_due > 0 and small == 0)
        low = high


@part
def _clear_page(k: Kvm, page: int, flag: int) -> None:
    # The version grows where the record goes, not at the write: the next write leaves a record of its own, and all writes up
    # to now share one version (docs/background/data-model.md).
    k.sptes.spte[page] &= ~(flag | IN_LOG) & 0xFF
    k.version[page] = grown(k.version[page], 1)


@part
def _clear_region(k: Kvm, due: Bytes, first: int, end: int, flag: int) -> None:
    # As _clear_page, but without a branch, as in ``mark_due``.
    sptes, versions, marks = k.sptes.spte[first:end], k.version[first:end], due[first:end]
    for i in range(len(marks)):
        sptes[i] &= ~((flag | IN_LOG) * marks[i]) & 0xFF
        versions[i] = grown(versions[i], marks[i])
        marks[i] = 0


@part
def _has_due(due: Bytes, first: int, end: int) -> bool:
    n, marks = 0, due[first:end]
    for i in range(len(marks)):
        n += int(marks[i])
    return n > 0


@jit
def clear(k: Kvm, due: Bytes, first: int, end: int, split: bool, protect: bool, now_ns: int) -> None:
    """For pages of [first, end) in ``due`` log bit and flag go, one version more; large sptes there are split or lose W."""
    flag, low, lowest, highest = log_flag(k), first, len(k.sptes.spte), -1
    while low < end:
        region = low >> REGION_BITS
        high = min(end, (region + 1) * REGION_PAGES)
        large = k.sptes.level[region] != 0 and (split or (protect and k.sptes.large[region] & WRITABLE != 0))
        if large or _has_due(due, low, high):
            start = span_first(k, region) * REGION_PAGES if large else low
            stop = span_end(k, region) * REGION_PAGES if large else high
            count_range(k, start, stop, -1)
            if large:
                _narrow(k, region, split)
            _clear_region(k, due, low, high, flag)
            count_range(k, start, stop, 1)
            lowest, highest = min(lowest, start), max(highest, stop)
        low = high
    if highest >= 0:
        rearm(k, min(lowest, first - first % REGION_PAGES), max(highest, end + REGION_PAGES), now_ns)


@jit
def copy_log(k: Kvm, got: Bytes, bmap: Bytes) -> int:
    """``got`` and ``bmap`` take in the whole log; returns how many were new in bmap."""
    new = 0
    for page in range(len(bmap)):
        found = got[page] | (k.sptes.spte[page] & IN_LOG != 0)
        new += int(found) & (1 - int(bmap[page]))
        got[page] = found
        bmap[page] |= found
    return new


@jit
def take_rings(k: Kvm, got: Bytes, n: NDArray[np.int64], first: int, end: int) -> None:
    """User space collects all entries of the rings of vCPUs [first, end).

    n: int64[2], in place: entries, and masks by which KVM_RESET_DIRTY_RINGS will coalesce them.
    """
    n[0], n[1] = 0, 0
    for v in range(first, end):
        # KVM resets ring after ring: a mask never spans two of them.
        low = high = -MASK_PAGES
        for i in range(k.vcpus[v].ring_taken, k.vcpus[v].ring_entries):
            page = k.buffers[v, PML_ENTRIES + (k.vcpus[v].ring_head + i) % (k.buffers.shape[1] - PML_ENTRIES)]
            got[page] = 1
            n[0] += 1
            if max(high, page) - min(low, page) < MASK_PAGES:
                low, high = min(low, page), max(high, page)
            else:
                low = high = page
                n[1] += 1
        k.vcpus[v].ring_taken = k.vcpus[v].ring_entries


@jit
def taken_pages(k: Kvm, found: NDArray[np.int64]) -> None:
    """Put the pages of all ring entries that user space has collected into ``found`` (int64[entries], in place)."""
    size, at = k.buffers.shape[1] - PML_ENTRIES, 0
    for v in range(len(k.vcpus)):
        for i in range(k.vcpus[v].ring_taken):
            found[at] = k.buffers[v, PML_ENTRIES + (k.vcpus[v].ring_head + i) % size]
            at += 1


@jit
def reset_rings(k: Kvm, now_ns: int) -> None:
    """KVM_RESET_DIRTY_RINGS at ``now_ns``: collected entries leave the rings, and their pages are write-protected again.

    ``k``: rings, sptes, versions and counts of armed pages change in place.
    """
    flag, size = log_flag(k), (k.buffers.shape[1] - PML_ENTRIES)
    lowest, highest = len(k.sptes.spte), -1
    for v in range(len(k.vcpus)):
        for i in range(k.vcpus[v].ring_taken):
            page = k.buffers[v, PML_ENTRIES + (k.vcpus[v].ring_head + i) % size]
            count_range(k, page, page + 1, -1)
            _clear_page(k, page, flag)
            count_range(k, page, page + 1, 1)
            lowest, highest = min(lowest, page), max(highest, page)
        k.vcpus[v].ring_head = (k.vcpus[v].ring_head + k.vcpus[v].ring_taken) % size
        k.vcpus[v].ring_entries -= k.vcpus[v].ring_taken
        k.vcpus[v].ring_taken = 0
    if highest >= 0:
        rearm(k, lowest, highest + 1, now_ns)


@jit
def zap_range(k: Kvm, first: int, end: int, now_ns: int) -> None:
    """Unmap pages [first, end) (kvm_unmap_gfn_range); a large spte goes as a whole.

    A D bit that is the only record of a write goes into the log (book3s_64_mmu_hv.c::kvmppc_unmap_hpte keeps C).
    """
    by_spte = k.state.is_logged == 1 and k.state.has_d_bits == 1 and k.state.has_pml == 0
    lowest, highest, gone = first - first % REGION_PAGES, end + REGION_PAGES, 0
    for region in range(first >> REGION_BITS, (end + REGION_PAGES - 1) >> REGION_BITS):
        low, high = max(first, region * REGION_PAGES), min(end, (region + 1) * REGION_PAGES)
        if k.sptes.level[region] != 0:
            low, high = span_first(k, region) * REGION_PAGES, span_end(k, region) * REGION_PAGES
            lowest, highest = min(lowest, low), max(highest, high)
        count_range(k, low, high, -1)
        for other in range(low // REGION_PAGES, -(-high // REGION_PAGES)):
            k.sptes.level[other] = 0
        for page in range(low, high):
            gone += int(k.sptes.spte[page] & PRESENT != 0)
            recorded = IN_LOG if by_spte and k.sptes.spte[page] & DIRTY != 0 else 0
            k.sptes.spte[page] = (k.sptes.spte[page] & KEPT) | recorded
        count_range(k, low, high, 1)
    if k.state.cap_sptes > 0:
        k.state.mapped_sptes -= gone
    rearm(k, lowest, highest, now_ns)
