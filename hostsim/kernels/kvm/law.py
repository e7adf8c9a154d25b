"""Law 3: while a slot is logged, what can be written without an exit has its record."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.jit import jit
from hostsim.kernels.kvm.armed import is_armed
from hostsim.kernels.kvm.layout import (
    HARDWARE,
    LOGGED,
    P_ARMED,
    P_END,
    P_FIRST,
    P_KIND,
    P_WRITE,
    PML,
    REGION_BITS,
    UNIFORM,
    V_PML,
    Kvm,
)
from hostsim.mmu.spte import DIRTY, IN_LOG, PRESENT, REGION_PAGES, TRACKED, WRITABLE

_IN_BUFFER = 128
"""Of a 4 KiB spte's place while a check runs: the page is in a PML buffer."""
_RECORDED = IN_LOG | _IN_BUFFER


@jit
def _note_buffers(k: Kvm, flag: int) -> None:
    for v in range(k.vcpus.shape[1]):
        for i in range(k.vcpus[V_PML, v]):
            page = k.buffers[v, i]
            k.sptes.spte[page] = (k.sptes.spte[page] & (~_IN_BUFFER & 0xFF)) | flag


@jit
def _first_unseen(k: Kvm, first: int, end: int, wanted: int) -> int:
    for region in range(first >> REGION_BITS, (end + REGION_PAGES - 1) >> REGION_BITS):
        low, high = max(first, region * REGION_PAGES), min(end, (region + 1) * REGION_PAGES)
        if k.sptes.level[region] != 0 and k.sptes.large[region] & (wanted | TRACKED) != wanted:
            continue
        large = k.sptes.level[region] != 0
        bad = 0
        for page in range(low, high):
            writable = large or k.sptes.spte[page] & (wanted | TRACKED) == wanted
            bad += writable and k.sptes.spte[page] & _RECORDED == 0
        if bad > 0:
            for page in range(low, high):
                if (large or k.sptes.spte[page] & (wanted | TRACKED) == wanted) and k.sptes.spte[page] & _RECORDED == 0:
                    return page
    return -1


@jit
def first_unrecorded(k: Kvm, first: int, end: int) -> int:
    """First of gfns [first, end) that the guest can write unseen and that has no record in log, ring or PML buffer, or -1.

    With D bits alone the bit that lets a write pass unseen is the record.
    """
    if k.state[LOGGED] == 0 or (k.state[HARDWARE] == 1 and k.state[PML] == 0):
        return -1
    _note_buffers(k, _IN_BUFFER)
    found = _first_unseen(k, first, end, PRESENT | WRITABLE | (DIRTY if k.state[HARDWARE] == 1 else 0))
    _note_buffers(k, 0)
    return found


@jit
def first_unharvested(k: Kvm, got: NDArray[np.uint8], n_pages: int) -> int:
    """First gfn with a record that user space has not got, or -1."""
    by_spte = k.state[HARDWARE] == 1 and k.state[PML] == 0
    _note_buffers(k, _IN_BUFFER)
    found = -1
    for page in range(n_pages):
        d_bit = by_spte and k.sptes.spte[page] & (PRESENT | DIRTY) == PRESENT | DIRTY
        dirty = d_bit or k.sptes.spte[page] & _RECORDED != 0
        if dirty and got[page] == 0:
            found = page
            break
    _note_buffers(k, 0)
    return found


@jit
def first_miscounted(k: Kvm) -> int:
    """First part of the guest's work whose count of armed pages is not what its sptes say, or -1 (uniform parts)."""
    for p in range(len(k.parts)):
        part = k.parts[p]
        if part[P_KIND] == UNIFORM:
            n = 0
            for page in range(part[P_FIRST], part[P_END]):
                n += is_armed(k.sptes, k.state, page, part[P_WRITE])
            if n != part[P_ARMED]:
                return p
    return -1
