"""Logs with one figure an answer, the bytes remaining: a fall is bytes sent, a rise is a bitmap sync.

Before the first rise zero pages leave the bytes remaining, too, at a few bytes on the wire each: only later answers count.
"""

from __future__ import annotations

from collections.abc import MutableMapping

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]
ANSWERS_MIN = 4
SENTENCE = (
    "The log shows only the remaining memory: hostsim takes each fall as bytes sent and each rise as a bitmap sync, "
    "from the first rise on"
)


def with_sent(columns: MutableMapping[str, Column]) -> tuple[str, ...]:
    """Fill in transferred_bytes and dirty_sync_count from ``remaining_bytes`` if no answer has bytes sent. In place.

    Returns a sentence if it did. Without times, or a rise, nothing is filled in.
    """
    told = np.flatnonzero(~np.isnan(columns["remaining_bytes"]) & ~np.isnan(columns["t_s"]))
    if not np.isnan(columns["transferred_bytes"]).all() or len(told) < ANSWERS_MIN:
        return ()
    left, change = columns["remaining_bytes"][told], np.diff(columns["remaining_bytes"][told])
    rises = np.flatnonzero(change > 0)
    if not len(rises) or columns["t_s"][told[-1]] <= columns["t_s"][told[0]]:
        return ()
    sent = np.concatenate(([0.0], np.cumsum(_sent(left, np.diff(columns["t_s"][told])))))
    later = np.arange(len(told)) > rises[0]
    columns["transferred_bytes"][told] = np.where(later, sent - sent[rises[0] + 1], np.nan)
    if np.isnan(columns["dirty_sync_count"]).all():
        columns["dirty_sync_count"][told] = 1.0 + np.concatenate(([0.0], np.cumsum(change > 0)))
    return (SENTENCE,)


def _sent(left: Column, seconds: Column) -> Column:
    """float64[answers - 1]: bytes sent from answer to answer, by the fall of the bytes remaining.

    left: float64[answers], bytes remaining. seconds: float64[answers - 1], from answer to answer.
    Between answers with a rise, a sync: all bytes that were left, or more at the speed of the falls after the first rise.
    """
    change = np.diff(left)
    falls = (change <= 0) & (np.cumsum(change > 0) > 0)
    speed = -change[falls].sum() / seconds[falls].sum() if seconds[falls].sum() > 0 else 0.0
    return np.where(change > 0, np.maximum(left[:-1], speed * seconds), -change)
