"""Counters of bytes that a script or an exporter keeps in 32 bits: they begin again at zero each 4 GiB."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]
TURN = 2.0**32
COUNTER = "transferred_bytes"
BEGIN = 0.9
"""A migration that has more than this share of its memory left may have just begun."""
SENTENCE = "The bytes sent begin again at zero each 4 GiB, as a counter of 32 bits does: hostsim adds the 4 GiB of each turn"


def wraps(before: float, figures: Mapping[str, float]) -> bool:
    """Whether the bytes sent in ``figures`` follow ``before`` by a turn of the counter, and are of no new migration."""
    now, left, total = (figures.get(name) for name in (COUNTER, "remaining_bytes", "total_bytes"))
    is_begun = left is not None and total is not None and left <= BEGIN * total
    return now is not None and is_begun and TURN / 2 < before < TURN and before - now > TURN / 2


def unwrapped(columns: MutableMapping[str, Column]) -> tuple[str, ...]:
    """Add the turns of the counter of bytes sent, in place. Returns a sentence if there were any."""
    told = np.flatnonzero(~np.isnan(columns[COUNTER]))
    sent = columns[COUNTER][told]
    turns = np.diff(sent) < -TURN / 2
    if not turns.any() or sent.max() >= TURN:
        return ()
    columns[COUNTER][told[1:]] += TURN * np.cumsum(turns)
    return (SENTENCE,)
