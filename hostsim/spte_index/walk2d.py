"""The walk of the hardware through two page tables: each guest table is itself found through the tables of the host.

Memory references of a walk with g guest and h host levels: (g + 1)(h + 1) - 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit, part

Tables = NDArray[np.int64]


@part
def host_walk(host: Tables, levels: int, gfn: int, references: NDArray[np.int64]) -> int:
    """Frame of ``gfn`` through ``levels`` levels of host tables.

    host: int64[tables, 512], frames; a table lies in the frame of its number, and table 0 is the root.
    references: int64[1], memory references, counted in place.
    """
    table = 0
    for level in range(levels - 1, -1, -1):
        references[0] += 1
        table = int(host[table, (gfn >> (9 * level)) & 511])
    return table


@jit
def nested_walk(
    guest: Tables, guest_levels: int, host: Tables, host_levels: int, place: Tables, va: int, references: NDArray[np.int64]
) -> int:
    """Host frame of guest-virtual page ``va``; the host translates every gfn on the way.

    guest: int64[tables, 512], gfns; the root is table 0, at gfn 0.
    host: as of ``host_walk``.
    place: int64[gfns], the guest table that lies at a gfn.
    references: int64[1], memory references, counted in place.
    """
    gfn = 0
    for level in range(guest_levels - 1, -1, -1):
        host_walk(host, host_levels, gfn, references)
        references[0] += 1
        gfn = int(guest[place[gfn], (va >> (9 * level)) & 511])
    return host_walk(host, host_levels, gfn, references)
