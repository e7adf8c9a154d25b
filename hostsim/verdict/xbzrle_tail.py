"""The part of a migration in which pages travelled as XBZRLE deltas, from a log or from the rounds of a run."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_S
from hostsim.verdict.evidence import XbzrleTail

XBZRLE_SHARE = 0.5
"""If this share of the pages sent since the first pass is encoded, XBZRLE decides the outcome (assumed)."""
DELTA_SYNCS = 3
"""So many syncs of deltas in a row suffice to measure the cost of a delta (assumed)."""
Array = NDArray[Any]


def tail_of(
    pages: float, wire_bytes: float, seconds: float, remaining_bytes: Array, bytes_per_s: Array, syncs: float
) -> XbzrleTail:
    """The tail of ``pages`` encoded pages in ``seconds``.

    remaining_bytes, bytes_per_s: [n], at the moments at which the two are known together; one speed is above 0.
    """
    moves = bytes_per_s > 0
    needed_ms = remaining_bytes[moves] / bytes_per_s[moves] * 1000
    return XbzrleTail(
        pages=pages,
        wire_bytes=wire_bytes,
        duration_s=seconds,
        remaining_bytes=(float(remaining_bytes.min()), float(remaining_bytes.max())),
        needed_limit_ms=(float(needed_ms.min()), float(needed_ms.max())),
        syncs=syncs,
    )


def tail_of_rounds(rounds: dict[str, Array]) -> XbzrleTail | None:
    """The tail of a run: its last rounds in which most pages were in the cache; None if these are too few to judge by."""
    if "xbzrle_pages" not in rounds:
        return None
    pages, whole = rounds["xbzrle_pages"], rounds["normal_pages"]
    by_delta = (pages > 0) & (pages >= XBZRLE_SHARE * (pages + whole)) & (rounds["bandwidth_bytes_per_s"] > 0)
    first = len(pages)
    while first > 0 and by_delta[first - 1]:
        first -= 1
    tail = slice(first, len(pages))
    if len(pages) - first < DELTA_SYNCS:
        return None
    return tail_of(
        float(pages[tail].sum()),
        float(rounds["xbzrle_bytes"][tail].sum()),
        float(rounds["end_ns"][-1] - rounds["start_ns"][first]) / NS_PER_S,
        rounds["remaining_start_bytes"][tail],
        rounds["bandwidth_bytes_per_s"][tail],
        float(len(pages) - first),
    )
