"""The hardware's walk through two page tables: every guest table is itself found through the host's.

Memory references of a walk with g guest and h host levels: (g + 1)(h + 1) - 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit, part

Tables = NDArray[np.int64]


@part
def host_walk(host: Tables, levels: int, gfn: int, references: NDArray[np.int64]) -> int:
    """Frame of ``gfn`` through ``levels`` of host tables; references: int64[1], counted in place.

    host: int64[tables, 512], frames, a table lies in the frame of its number; table 0 is the root.
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
    """Frame of guest-virtual page ``va``, every gfn on the way translated.

    guest: int64[tables, 512], gfns; place: int64[gfns], guest table t whose gfn it is; the root is table 0, at gfn 0.
    Returns the host frame of the page.
    """
    gfn = 0
    for level in range(guest_levels - 1, -1, -1):
        host_walk(host, host_levels, gfn, references)
        references[0] += 1
        gfn = int(guest[place[gfn], (va >> (9 * level)) & 511])
    return host_walk(host, host_levels, gfn, references)
