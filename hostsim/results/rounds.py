"""Rounds of a migration: the columns of ``rounds``, and the record of a round that they read."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from hostsim.core.constants import NS_PER_S
from hostsim.results.columns import FLOAT, INT, Column, Columns

if TYPE_CHECKING:
    from hostsim.qemu.migration import Migration
    from hostsim.qemu.recorder import SyncPoint
    from hostsim.qemu.xbzrle import XbzrleCounters


class RoundEnd(NamedTuple):
    """Counters when a round ended."""

    t_ns: int
    normal_pages: int
    zero_pages: int
    sent_bytes: int
    xbzrle: XbzrleCounters | None = None


class Round(NamedTuple):
    """A sync and the time until the next one, or until the end. before: the sync before, of the first round its own.

    start_ns: of the migration, since the start of the run.
    """

    before: SyncPoint
    sync: SyncPoint
    end: RoundEnd
    start_ns: int

    @property
    def dirty_rate_pages_per_s(self) -> float:
        """Newly dirty pages over the time since the sync before."""
        seconds = (self.sync.t_ns - self.before.t_ns) / NS_PER_S
        return self.sync.newly_dirty_pages / seconds if seconds > 0 else 0.0

    def xbzrle(self, name: str) -> int:
        """Growth of a counter of XBZRLE in this round."""
        return int(getattr(self.end.xbzrle, name) - getattr(self.sync.xbzrle, name))


ROUNDS: Columns[Round] = (
    Column(
        "round", INT, "", "round", "`dirty-sync-count` of the sync that opened the round",
        lambda row: row.sync.dirty_sync_count, key=True,
    ),
    Column(
        "start_ns", INT, "ns", "from", "when that sync ended, since the migration started",
        lambda row: row.sync.t_ns - row.start_ns, spare=True,
    ),
    Column(
        "end_ns", INT, "ns", "took", "when the next sync ended; of the last round, when the migration did",
        lambda row: row.end.t_ns - row.start_ns,
    ),
    Column(
        "remaining_start_bytes", INT, "bytes", "to send", "pages to be sent right after the sync, 4096 bytes each",
        lambda row: row.sync.remaining_bytes,
    ),
    Column(
        "newly_dirty_pages", INT, "pages", "",
        "pages that the sync found dirty and that were not waiting to be sent already: what QEMU counts",
        lambda row: row.sync.newly_dirty_pages,
    ),
    Column(
        "normal_pages", INT, "pages", "", "pages sent with their content in this round",
        lambda row: row.end.normal_pages - row.sync.normal_pages,
    ),
    Column(
        "zero_pages", INT, "pages", "", "zero pages sent in this round",
        lambda row: row.end.zero_pages - row.sync.zero_pages,
    ),
    Column(
        "sent_bytes", INT, "bytes", "sent", "bytes sent in this round, as `transferred` counts them",
        lambda row: row.end.sent_bytes - row.sync.sent_bytes,
    ),
    Column(
        "dirty_rate_pages_per_s", FLOAT, "pages/s", "dirtied at",
        "newly dirty pages over the time since the sync *before*; 0 in the first row",
        lambda row: row.dirty_rate_pages_per_s,
    ),
    Column(
        "bandwidth_bytes_per_s", FLOAT, "bytes/s", "bandwidth", "measured by QEMU in the last 100 ms window before the sync",
        lambda row: row.sync.bandwidth_bytes_per_s,
    ),
    Column(
        "threshold_bytes", INT, "bytes", "threshold",
        "remaining bytes below which QEMU stops the guest, computed from that bandwidth",
        lambda row: row.sync.threshold_bytes,
    ),
    Column(
        "throttle_percent", INT, "percent", "throttle", "throttle of auto-converge, after the sync's evaluation",
        lambda row: row.sync.throttle_percent, if_any=True,
    ),
)  # fmt: skip
"""Columns of ``rounds``: a row for each sync (round = dirty-sync-count) up to the next one."""
XBZRLE_ROUNDS: Columns[Round] = (
    Column(
        "xbzrle_pages", INT, "pages", "in cache",
        "pages found in XBZRLE's cache: sent as a delta or, if nothing in them changed, not at all",
        lambda row: row.xbzrle("pages"),
    ),
    Column(
        "xbzrle_cache_misses", INT, "pages", "missed", "pages that were not in the cache, sent whole",
        lambda row: row.xbzrle("cache_miss"),
    ),
    Column(
        "xbzrle_overflows", INT, "pages", "overflowed", "pages whose delta would have been longer than the page, sent whole",
        lambda row: row.xbzrle("overflow"), if_any=True,
    ),
    Column("xbzrle_bytes", INT, "bytes", "deltas", "bytes of the deltas; an overflow counts as a page",
           lambda row: row.xbzrle("bytes")),
)  # fmt: skip
"""Columns that ``rounds`` has besides with the capability xbzrle."""


def rounds_of(migration: Migration, now_ns: int) -> list[Round]:
    """The rounds of ``migration``; one that still runs ends at ``now_ns``."""
    ram, state, syncs = migration.ram, migration.state, migration.recorder.syncs
    now = ram.xbzrle.counters if ram.xbzrle else None
    last = RoundEnd(state.end_ns or now_ns, ram.normal_pages, ram.zero_pages, migration.transferred_bytes, now)
    ends = [RoundEnd(sync.t_ns, sync.normal_pages, sync.zero_pages, sync.sent_bytes, sync.xbzrle) for sync in syncs[1:]]
    spans = zip(pairwise([*syncs[:1], *syncs]), [*ends, last], strict=False)
    return [Round(before, sync, end, state.start_ns) for (before, sync), end in spans]
