"""Rounds of a migration: the columns of ``rounds``, and the record of a round that they read."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from hostsim.core.constants import NS_PER_S
from hostsim.qemu.mechanism import figures_of
from hostsim.results.columns import FLOAT, INT, Column, Columns

if TYPE_CHECKING:
    from hostsim.qemu.migration import Migration
    from hostsim.qemu.recorder import SyncPoint


class RoundEnd(NamedTuple):
    """Counters when a round ended; mechanisms: see hostsim.qemu.mechanism::figures_of."""

    t_ns: int
    normal_pages: int
    zero_pages: int
    sent_bytes: int
    mechanisms: Mapping[str, Any] = MappingProxyType({})


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

    def growth(self, mechanism: str, name: str) -> int:
        """Growth of a counter of ``mechanism`` in this round."""
        before, after = self.sync.mechanisms[mechanism], self.end.mechanisms[mechanism]
        return int(getattr(after, name) - getattr(before, name))


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


def rounds_of(migration: Migration, now_ns: int) -> list[Round]:
    """The rounds of ``migration``; one that still runs ends at ``now_ns``."""
    ram, state, syncs = migration.ram, migration.state, migration.recorder.syncs
    now = figures_of(migration)
    last = RoundEnd(state.end_ns or now_ns, ram.normal_pages, ram.zero_pages, migration.transferred_bytes, now)
    ends = [RoundEnd(sync.t_ns, sync.normal_pages, sync.zero_pages, sync.sent_bytes, sync.mechanisms) for sync in syncs[1:]]
    spans = zip(pairwise([*syncs[:1], *syncs]), [*ends, last], strict=False)
    return [Round(before, sync, end, state.start_ns) for (before, sync), end in spans]
