"""Guest RAM: RAMBlocks laid out on one gfn axis, and the content of their pages.

Contents are versioned. A page's version grows by one when its dirty record is harvested, so once for all
writes between two harvests; a copy carries the version of its moment. A copy is the newest content if and only if the
versions agree and no write is waiting to be harvested.

Versions have 16 bits and come round: the one after LAST_VERSION is FIRST_AGAIN. Copies are compared with versions at each
sync, between which no page is harvested 65,533 times, so that a copy that differs is seen. With 32 bits, versions and
copies were most of the memory of a simulated migration, and the largest part of its time in the kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined_and_called
from hostsim.core.constants import PAGE_BYTES

Versions = NDArray[np.uint16]
NEVER_COPIED = 0xFFFF
"""In place of the version of a copy: there is no copy yet."""
LAST_VERSION, FIRST_AGAIN = NEVER_COPIED - 1, 2
"""0 and 1 do not come again: a page of a larger version was written, also where a log began with all pages in it."""
N_VERSIONS = LAST_VERSION - FIRST_AGAIN + 1


@inlined_and_called
def grown(version: int, harvests: int) -> int:
    """The version after ``version`` and ``harvests``, 0 or 1, that found the page written."""
    after = version + harvests
    return int(after if after != NEVER_COPIED else FIRST_AGAIN)


@inlined_and_called
def harvests_between(version: int, later: int) -> int:
    """Harvests that found the page written from ``version`` to ``later``, modulo N_VERSIONS."""
    return int((later - version) % N_VERSIONS)


@dataclass(frozen=True)
class RamBlock:
    """A RAMBlock: its id string, where it starts on the gfn axis, its length [pages], its non-zero gfn ranges."""

    idstr: str
    first_gfn: int
    n_pages: int
    filled: tuple[tuple[int, int], ...] = ()
    """(first gfn, pages) of each range with content."""

    @property
    def end_gfn(self) -> int:
        """First gfn behind the block."""
        return self.first_gfn + self.n_pages


def lay_out(blocks: Sequence[tuple[str, int, Sequence[tuple[int, int]]]]) -> tuple[RamBlock, ...]:
    """RAMBlocks in QEMU's order, largest first (softmmu/physmem.c::ram_block_add); fills are relative to the block."""
    placed: list[RamBlock] = []
    first = 0
    for idstr, n_pages, fills in sorted(blocks, key=lambda block: -block[1]):
        filled = tuple((first + at, length) for at, length in fills)
        placed.append(RamBlock(idstr, first, n_pages, filled))
        first += n_pages
    return tuple(placed)


@dataclass(frozen=True)
class GuestMemory:
    """Pages of all RAMBlocks: zero uint8[n_pages] (1: reads as zeros), version uint16[n_pages]; changed in place."""

    blocks: tuple[RamBlock, ...]
    zero: NDArray[np.uint8]
    version: Versions

    @property
    def n_pages(self) -> int:
        """Pages of all RAMBlocks together."""
        return len(self.zero)

    @property
    def n_bytes(self) -> int:
        """ram.total [bytes]."""
        return self.n_pages * PAGE_BYTES


def make_memory(blocks: tuple[RamBlock, ...]) -> GuestMemory:
    """Memory at the start of the guest: zero but for the blocks' filled ranges."""
    n_pages = blocks[-1].end_gfn
    zero = np.ones(n_pages, np.uint8)
    for block in blocks:
        for first, length in block.filled:
            zero[first : first + length] = 0
    return GuestMemory(blocks, zero, np.zeros(n_pages, np.uint16))
