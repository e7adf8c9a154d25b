"""K12, K13: entries of rmap descriptors, references of the two-dimensional walk, on the structures themselves."""

from __future__ import annotations

from collections.abc import Iterator

from hostsim.spte_index.rmap import DESC_KINDS
from hostsim.validation.index_runs import descriptors_by_sptes, walk_references
from hostsim.validation.rows import Row, exact

SUITE = "published"
ENTRIES_OF = {"3": 3, "15": 15, "14": 14}
SPTES = (0, 1, 2, 3, 4, 14, 15, 16, 28, 29, 300)
WALKS = {(4, 4): 24, (5, 5): 35, (3, 3): 15}
"""Guest and host levels: references."""


def index_rows() -> Iterator[Row]:
    """K12 and K13."""
    for kind, ext in ENTRIES_OF.items():
        used = [0, *descriptors_by_sptes(kind, max(SPTES))[0]]
        yield exact(SUITE, f"K12/{kind}", "sptes a descriptor holds", ext, DESC_KINDS[kind].ext)
        for n in SPTES:
            yield exact(SUITE, f"K12/{kind}", f"descriptors for {n} sptes of a page", -(-n // ext) if n > 1 else 0, used[n])
    for (guest, host), references in WALKS.items():
        where = f"K13/{guest}x{host}"
        yield exact(SUITE, where, "memory references of a two-dimensional walk", references, walk_references(guest, host)[0])
        yield exact(SUITE, where, "(g + 1)(h + 1) - 1", references, (guest + 1) * (host + 1) - 1)
