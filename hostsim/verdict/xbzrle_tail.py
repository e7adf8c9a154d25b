"""The part of a migration in which pages travelled as XBZRLE deltas, from a log or from the rounds of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_S

if TYPE_CHECKING:
    from hostsim.logs.model import MigrationLog

XBZRLE_SHARE = 0.5
"""If this share of the pages sent since the first pass is encoded, XBZRLE decides the outcome (assumed)."""
DELTA_SYNCS = 3
"""So many syncs of deltas in a row suffice to measure the cost of a delta (assumed)."""
Array = NDArray[Any]


@dataclass(frozen=True)
class XbzrleTail:
    """The part of a migration in which pages travelled as XBZRLE deltas.

    pages, wire_bytes: encoded pages and their deltas on the wire; duration_s: length of the part; syncs: in that time.
    remaining_bytes: least and greatest seen, 4096 a page.
    needed_limit_ms: least and greatest downtime limit at which QEMU's test would have passed at an answer (remaining over
    the measured bandwidth).
    """

    pages: float
    wire_bytes: float
    duration_s: float
    remaining_bytes: tuple[float, float]
    needed_limit_ms: tuple[float, float]
    syncs: float

    @property
    def wire_bytes_per_page(self) -> float:
        """Mean bytes on the wire for one dirty page."""
        return self.wire_bytes / self.pages

    @property
    def pages_per_s(self) -> float:
        """Pages encoded a second."""
        return self.pages / self.duration_s


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


def tail_of_log(log: MigrationLog, at: NDArray[np.int64]) -> XbzrleTail | None:
    """The tail of a log, at the answers ``at`` before the guest moved; None if deltas were few."""
    encoded = np.nan_to_num(log.xbzrle_pages[at])
    tail = at[encoded > 0]
    if len(tail) < 2:
        return None
    first, last = tail[0], tail[-1]
    pages = float(log.xbzrle_pages[last] - log.xbzrle_pages[first])
    whole = float(log.normal_pages[last] - log.normal_pages[first])
    seconds = float(log.t_s[last] - log.t_s[first])
    speed = log.mbps[tail] * 1e6 / 8
    if pages <= 0 or seconds <= 0 or pages < XBZRLE_SHARE * (pages + whole) or not np.any(speed > 0):
        return None
    return tail_of(
        pages,
        float(log.xbzrle_bytes[last] - log.xbzrle_bytes[first]),
        seconds,
        log.remaining_bytes[tail],
        speed,
        float(log.dirty_sync_count[last] - log.dirty_sync_count[first]),
    )


def is_unclear(log: MigrationLog, at: NDArray[np.int64]) -> bool:
    """Whether only the last answer has encoded pages, and most pages by then: the speed of encoding is unknown."""
    encoded = np.nan_to_num(log.xbzrle_pages[at])
    if np.count_nonzero(encoded) != 1 or len(at) < 2:
        return False
    whole = float(log.normal_pages[at[-1]] - log.normal_pages[at[-2]])
    return bool(encoded[-1] >= XBZRLE_SHARE * (encoded[-1] + whole))
