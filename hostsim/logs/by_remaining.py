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
SYNCS_MIN = 2
ANSWERS_A_ROUND = 2
FOUND_AGAIN = 0.25
"""Bytes that a sync adds to those remaining over the bytes sent meanwhile: less may be the rounding of figures (assumed)."""
SYNCS_SENTENCE = "The log does not count bitmap syncs: hostsim takes one where fewer bytes leave than are sent"
EARLY = 0.5
"""A log whose first answer has sent less than this share of the bytes left begins in the first pass (assumed)."""
MEMORY_SENTENCE = "The log has no size of memory: hostsim takes the bytes sent and left at its first answer"


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


def with_syncs(columns: MutableMapping[str, Column]) -> tuple[str, ...]:
    """Fill in dirty_sync_count if no answer has it: at a sync fewer bytes leave than are sent. In place.

    Returns a sentence if it did. Without times nothing is; where syncs follow each other as fast as answers, they cannot be
    counted.
    """
    told = np.flatnonzero(~np.isnan(columns["remaining_bytes"] + columns["transferred_bytes"]))
    is_timed = bool(np.nan_to_num(columns["t_s"]).any())
    if not np.isnan(columns["dirty_sync_count"]).all() or len(told) < ANSWERS_MIN or not is_timed:
        return ()
    sent, change = np.diff(columns["transferred_bytes"][told]), np.diff(columns["remaining_bytes"][told])
    found = np.flatnonzero((change + sent > FOUND_AGAIN * sent) & (sent > 0))
    if len(found) < SYNCS_MIN or np.median(np.diff(found)) < ANSWERS_A_ROUND:
        return ()
    columns["dirty_sync_count"][told] = 1.0 + np.concatenate(([0.0], np.cumsum(np.isin(np.arange(len(change)), found))))
    return (SYNCS_SENTENCE,)


def with_memory(columns: MutableMapping[str, Column]) -> tuple[str, ...]:
    """Fill in total_bytes, bytes sent and left at the first answer, if no answer has it. In place.

    Nothing is filled in where the log may begin after the first pass.
    Returns a sentence if it did. Pages of zeros that were sent by then count as none.
    """
    left, sent = columns["remaining_bytes"], columns["transferred_bytes"]
    told = np.flatnonzero(~np.isnan(left + sent))
    if not np.isnan(columns["total_bytes"]).all() or not len(told) or sent[told[0]] > EARLY * left[told[0]]:
        return ()
    memory = float(left[told[0]] + sent[told[0]])
    if memory < np.nanmax(left):
        return ()
    columns["total_bytes"][told] = memory
    return (MEMORY_SENTENCE,)


def _sent(left: Column, seconds: Column) -> Column:
    """float64[answers - 1]: bytes sent from answer to answer, by the fall of the bytes remaining.

    left: float64[answers], bytes remaining. seconds: float64[answers - 1], from answer to answer.
    Between answers with a rise, a sync: all bytes that were left, or more at the speed of the falls after the first rise.
    """
    change = np.diff(left)
    falls = (change <= 0) & (np.cumsum(change > 0) > 0)
    speed = -change[falls].sum() / seconds[falls].sum() if seconds[falls].sum() > 0 else 0.0
    return np.where(change > 0, np.maximum(left[:-1], speed * seconds), -change)
