"""Page tables that hold sptes: the store that all indexes point into.

The number of an spte is ``table * 512 + entry`` and stands for its address: the order in which a walk visits sptes decides
whether the walk streams or jumps. Tables of shadow paging: arch/x86/include/asm/kvm_host.h::struct kvm_mmu_page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ACCESSED = 32
"""A bit of an spte, beside the flags of hostsim.spte_index.spte."""
ENTRIES = 512
TABLE_BYTES = 4096
HEADER_BYTES = 184
"""struct kvm_mmu_page; assumed, it differs between kernels."""
TRANSLATION_BYTES = 8 * ENTRIES
"""shadowed_translation: the gfn of every spte of an indirect table (kvm_mmu_page_get_gfn)."""
HPTE_BYTES, HPTE_GROUP = 16, 8
"""Book3S: an entry of the hash table, and entries in a group."""
LEVELS = 3
"""4 KiB, 2 MiB, 1 GiB sptes: levels 0, 1, 2 here."""
STREAMS = 64
"""Tables that a walk may read side by side, each in the order of its lines, and still find the next line prefetched. On
Zen 4 a page that is mapped at 64 addresses shows no sign of a limit; more were not measured.
"""
LINE_BITS = 6
"""A table has 64 lines."""


class SpteTables(NamedTuple):
    """Sptes and their tables, changed in place. n = tables x 512 sptes.

    gfn: int32[n], first gfn of an spte; stale where flags is 0.
    flags: uint8[n], as in hostsim.spte_index.spte, and ACCESSED; 0: absent.
    level: uint8[tables], 0 for 4 KiB sptes, 1 for 2 MiB, 2 for 1 GiB.
    space: int32[tables], guest address space.
    va: int64[tables], guest-virtual page of the first spte; of a direct table its first gfn.
    direct: uint8[tables], 1: entry i maps the i-th gfn, so no gfn is stored with it.
    vcpu: int32[tables], the owner where vCPUs do not share tables.
    used: int32[tables], sptes present.
    slots: int64[tables], bit i: the table has held an spte of slot i since it was made.
    active: int32[tables], tables in use, the oldest first, n_active of them.
    n_active: int64[1].
    looked: int64[tables], when a walk looked at a line of the table last, and at which: time << LINE_BITS | line.
    clock: int64[1], that time: spte lines looked at, and STREAMS more for each call.
    group_bits: 0: page tables hold the sptes; else they lie in a hash table of 2^group_bits groups of 8, by (space, va).
    """

    gfn: NDArray[np.int32]
    flags: NDArray[np.uint8]
    level: NDArray[np.uint8]
    space: NDArray[np.int32]
    va: NDArray[np.int64]
    direct: NDArray[np.uint8]
    vcpu: NDArray[np.int32]
    used: NDArray[np.int32]
    slots: NDArray[np.int64]
    active: NDArray[np.int32]
    n_active: NDArray[np.int64]
    looked: NDArray[np.int64]
    clock: NDArray[np.int64]
    group_bits: int


def make_tables(n_tables: int, group_bits: int = 0) -> SpteTables:
    """Room for ``n_tables`` tables, none in use. group_bits: as in SpteTables."""
    n = n_tables * ENTRIES
    return SpteTables(
        np.zeros(n, np.int32), np.zeros(n, np.uint8),
        level=np.zeros(n_tables, np.uint8), space=np.zeros(n_tables, np.int32), va=np.zeros(n_tables, np.int64),
        direct=np.zeros(n_tables, np.uint8), vcpu=np.zeros(n_tables, np.int32), used=np.zeros(n_tables, np.int32),
        slots=np.zeros(n_tables, np.int64), active=np.zeros(n_tables, np.int32), n_active=np.zeros(1, np.int64),
        looked=np.zeros(n_tables, np.int64), clock=np.full(1, STREAMS), group_bits=group_bits,
    )  # fmt: skip


def take_tables(
    tables: SpteTables, vas: Sequence[int] | NDArray[np.int64], space: int = 0, *,
    level: int = 0, direct: bool = True, vcpu: int = 0,
) -> NDArray[np.int64]:  # fmt: skip
    """Put free tables into use, in the order of their addresses, and change ``tables`` in place.

    vas: guest-virtual first page of each table.
    space, level, direct, vcpu: of all these tables, as in SpteTables.
    Returns int64[len(vas)], table numbers, ascending. Assertion if there is no room.
    """
    free = np.ones(len(tables.level), np.bool_)
    n_active = int(tables.n_active[0])
    free[tables.active[:n_active]] = False
    taken = np.flatnonzero(free)[: len(vas)]
    assert len(taken) == len(vas), "no room for so many tables"
    tables.level[taken], tables.space[taken], tables.vcpu[taken] = level, space, vcpu
    tables.va[taken], tables.direct[taken] = vas, direct
    tables.used[taken] = tables.slots[taken] = 0
    tables.active[n_active : n_active + len(taken)] = taken
    tables.n_active[0] += len(taken)
    return taken


def drop_tables(tables: SpteTables, dropped: NDArray[np.int64]) -> None:
    """Free tables whose sptes have been zapped, and change ``tables`` in place. dropped: int64, table numbers."""
    assert not tables.used[dropped].any(), "a table goes when its sptes have gone"
    active = tables.active[: int(tables.n_active[0])]
    kept = active[~np.isin(active, dropped)]
    tables.active[: len(kept)] = kept
    tables.n_active[0] = len(kept)


def table_bytes(tables: SpteTables) -> int:
    """Bytes of the tables in use: pages, headers, and the translations of indirect tables."""
    active = tables.active[: int(tables.n_active[0])]
    indirect = len(active) - int(tables.direct[active].sum())
    return len(active) * (TABLE_BYTES + HEADER_BYTES) + indirect * TRANSLATION_BYTES
