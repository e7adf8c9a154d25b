"""Law 3: while a slot is logged, each page that can be written without an exit has its record."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit, part
from hostsim.kvm.loops.armed import armed_as, weight_of
from hostsim.kvm.loops.layout import BY_VISIT, REGION_BITS, UNIFORM, Kvm
from hostsim.spte_index.spte import DIRTY, IN_LOG, PRESENT, REGION_PAGES, TRACKED, WRITABLE


@part
def _note_buffers(k: Kvm) -> None:
    """Pages in PML buffers are in the log while a check runs; entries that put them there are turned round."""
    for v in range(len(k.vcpus)):
        for i in range(k.vcpus[v].pml_entries):
            page = k.buffers[v, i]
            if k.sptes.spte[page] & IN_LOG == 0:
                k.sptes.spte[page] |= IN_LOG
                k.buffers[v, i] = -1 - page


@part
def _forget_buffers(k: Kvm) -> None:
    """Undo ``_note_buffers``."""
    for v in range(len(k.vcpus)):
        for i in range(k.vcpus[v].pml_entries):
            if k.buffers[v, i] < 0:
                page = -1 - k.buffers[v, i]
                k.sptes.spte[page] &= ~IN_LOG & 0xFF
                k.buffers[v, i] = page


@part
def _first_unseen(k: Kvm, first: int, end: int, wanted: int) -> int:
    for region in range(first >> REGION_BITS, (end + REGION_PAGES - 1) >> REGION_BITS):
        low, high = max(first, region * REGION_PAGES), min(end, (region + 1) * REGION_PAGES)
        if k.sptes.level[region] != 0 and k.sptes.large[region] & (wanted | TRACKED) != wanted:
            continue
        large = k.sptes.level[region] != 0
        # Counted without an early end, so that the compiler takes many pages at a time: the check runs at every harvest, and
        # the page is looked for only if the law is broken.
        bad = 0
        for page in range(low, high):
            writable = large or k.sptes.spte[page] & (wanted | TRACKED) == wanted
            bad += writable and k.sptes.spte[page] & IN_LOG == 0
        if bad > 0:
            for page in range(low, high):
                if (large or k.sptes.spte[page] & (wanted | TRACKED) == wanted) and k.sptes.spte[page] & IN_LOG == 0:
                    return page
    return -1


@jit
def first_unrecorded(k: Kvm, first: int, end: int) -> int:
    """First of gfns [first, end) that the guest can write unseen and that has no record in log, ring or PML buffer, or -1.

    With D bits alone the bit that lets a write pass unseen is the record.
    """
    if k.state.is_logged == 0 or (k.state.has_d_bits == 1 and k.state.has_pml == 0):
        return -1
    _note_buffers(k)
    found = _first_unseen(k, first, end, PRESENT | WRITABLE | (DIRTY if k.state.has_d_bits == 1 else 0))
    _forget_buffers(k)
    return found


@jit
def first_unrecorded_of(k: Kvm, pages: NDArray[np.int64]) -> int:
    """As ``first_unrecorded``, of ``pages`` (int64[n]) alone: a reset of rings changes no other page."""
    if k.state.is_logged == 0 or (k.state.has_d_bits == 1 and k.state.has_pml == 0):
        return -1
    _note_buffers(k)
    found, wanted = -1, PRESENT | WRITABLE | (DIRTY if k.state.has_d_bits == 1 else 0)
    for i in range(len(pages)):
        if found < 0:
            found = _first_unseen(k, pages[i], pages[i] + 1, wanted)
    _forget_buffers(k)
    return found


@jit
def first_unharvested(k: Kvm, got: NDArray[np.uint8], n_pages: int) -> int:
    """First of gfns [0, n_pages) with a record that user space has not got, or -1.

    got: uint8[n_pages], 1: user space has the record.
    """
    by_spte = k.state.has_d_bits == 1 and k.state.has_pml == 0
    _note_buffers(k)
    found = -1
    for page in range(n_pages):
        d_bit = by_spte and k.sptes.spte[page] & (PRESENT | DIRTY) == PRESENT | DIRTY
        dirty = d_bit or k.sptes.spte[page] & IN_LOG != 0
        if dirty and got[page] == 0:
            found = page
            break
    _forget_buffers(k)
    return found


@jit
def first_miscounted(k: Kvm) -> int:
    """First part of the guest's work whose armed pages or weights contradict its sptes, or -1; sweeps count none."""
    for p in range(len(k.parts)):
        part, n = k.parts[p], 0
        if part.kind == BY_VISIT:
            continue
        for page in range(part.first, part.end):
            seen = armed_as(k, page, part.is_write)
            if seen > 0:
                n += 1 if part.kind == UNIFORM else weight_of(k, part.touch_class, page, seen)
        if n != part.armed:
            return p
    return -1
