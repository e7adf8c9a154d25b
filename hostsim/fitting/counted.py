"""Whole and zero pages of a log that does not count them, by its bytes: a whole page takes 4104, a page of zeros 9."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import PAGE_BYTES
from hostsim.logs.model import MigrationLog

WHOLE_BYTES, ZERO_BYTES = PAGE_BYTES + 8, 9
"""On the wire (migration/ram.c::save_normal_page, save_zero_page)."""
NOTE = "The log does not count pages; bytes sent and remaining tell which were whole and which zeros"


def counted(log: MigrationLog) -> MigrationLog:
    """``log`` with whole and zero pages, where it has neither and pages did not travel in part.

    Between two answers without a sync, as many pages were sent as fewer remain. By the sync that ends the first pass all
    memory was sent once, so the rest was zeros. Later intervals with a sync have whole pages only.
    """
    told = _countable(log)
    if not len(told):
        return log
    zeros = _zeros(log, told)
    zero, normal = np.full(len(log), np.nan), np.full(len(log), np.nan)
    zero[told] = np.cumsum(np.append(0.0, zeros))
    normal[told] = (log.transferred_bytes[told] - ZERO_BYTES * zero[told]) / WHOLE_BYTES
    return replace(log, zero_pages=zero, normal_pages=normal, notes=(*log.notes, NOTE))


def loose_pages(log: MigrationLog) -> float:
    """Pages of which a log that does not count pages leaves open whether the first pass or the next round sent them.

    They are those of the interval with the sync that ends the first pass. 0: the log counts pages, or has no such interval.
    """
    told = _countable(log)
    end = _end_of_first_pass(log, told) if len(told) else -1
    if end < 0:
        return 0.0
    first, last = (float(log.transferred_bytes[told[i]]) for i in (end, end + 1))
    return (last - first) / WHOLE_BYTES


def _countable(log: MigrationLog) -> NDArray[np.int64]:
    """Answers by which pages can be counted; none where the log counts them itself, or pages travelled in part."""
    told = np.flatnonzero(~np.isnan(log.remaining_bytes + log.transferred_bytes + log.dirty_sync_count))
    counts = np.concatenate([log.normal_pages, log.zero_pages, log.normal_bytes])
    in_part = (log.xbzrle_pages > 0).any() or (log.multifd_bytes > 0).any()
    return told[:0] if len(told) < 2 or in_part or not np.isnan(counts).all() else told


def _end_of_first_pass(log: MigrationLog, told: NDArray[np.int64]) -> int:
    """Number of the interval between answers ``told`` with the sync that ends the first pass; -1: none has it."""
    syncs = log.dirty_sync_count[told]
    ends = np.flatnonzero((syncs[:-1] <= 1) & (syncs[1:] > 1))[:1]
    return int(ends[0]) if len(ends) and syncs[0] <= 1 else -1


def _zeros(log: MigrationLog, told: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[intervals], pages of zeros sent between the answers ``told``."""
    syncs, sent = log.dirty_sync_count[told], log.transferred_bytes[told]
    fewer = -np.diff(log.remaining_bytes[told]) / PAGE_BYTES
    found = (fewer * WHOLE_BYTES - np.diff(sent)) / (WHOLE_BYTES - ZERO_BYTES)
    zeros = np.where(np.diff(syncs) == 0, np.maximum(found, 0.0), 0.0)
    end = _end_of_first_pass(log, told)
    if end >= 0:
        # Model limit: pages pending at that sync and pages sent since then, both of a few windows, are taken as alike.
        memory, whole = float(np.nanmax(log.total_bytes)) / PAGE_BYTES, float(sent[end + 1]) / WHOLE_BYTES
        zeros[end] = max(0.0, memory - whole - float(zeros[:end].sum()))
    return zeros
