"""A migration over time: the columns of ``series`` and ``events``, and the records that they read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hostsim.core.clock import NEVER_NS
from hostsim.core.constants import NS_PER_S
from hostsim.results.columns import FLOAT, INT, STR, Column, Columns

if TYPE_CHECKING:
    from hostsim.guest.workload import Guest
    from hostsim.qemu.migration import Migration
    from hostsim.qemu.recorder import Sample


class Moment(NamedTuple):
    """A sample and the time since the sample before, None for the first one.

    nominal_speed: work of all clocks of the guest over that time, undisturbed: one each, less if its task thinks or rests.
    """

    before: Sample | None
    sample: Sample
    dirtied_pages_per_s: float
    nominal_speed: float

    @property
    def guest_speed(self) -> float:
        """Share of its nominal work that the guest did since the sample before."""
        before, sample = self.before, self.sample
        if before is None or self.nominal_speed == 0 or sample.t_ns <= before.t_ns:
            return 1.0
        return (sample.work_ns - before.work_ns) / self.nominal_speed / (sample.t_ns - before.t_ns)


class Mark(NamedTuple):
    """A named moment of a migration, since it started."""

    t_ns: int
    event: str
    value: int


SERIES: Columns[Moment] = (
    Column("t_ns", INT, "ns", "", "since the migration started", lambda row: row.sample.t_ns, key=True),
    Column(
        "status", STR, "", "",
        "as `query-migrate` would say, of the time before `t_ns`: `none` in the first row, `setup` in the second",
        lambda row: row.sample.status,
    ),
    Column("round", INT, "", "", "`dirty-sync-count`: syncs so far", lambda row: row.sample.dirty_sync_count),
    Column(
        "remaining_bytes", INT, "bytes", "", "pages to be sent, 4096 bytes each", lambda row: row.sample.remaining_bytes,
        label="remaining",
    ),
    Column("transferred_bytes", INT, "bytes", "", "bytes sent so far", lambda row: row.sample.transferred_bytes),
    Column(
        "dirty_pages_rate_per_s", INT, "pages/s", "", "QEMU's last figure: changes at syncs at least one second apart",
        lambda row: row.sample.dirty_pages_rate,
    ),
    Column(
        "dirtied_pages_per_s", FLOAT, "pages/s", "",
        "distinct pages that the guest dirtied since the row before, waiting or not, taken as even between two syncs; "
        "0 once the guest has stopped; empty where no sync has counted yet",
        lambda row: row.dirtied_pages_per_s, label="dirtied by the guest",
    ),
    Column(
        "bandwidth_bytes_per_s", FLOAT, "bytes/s", "", "measured by QEMU in the last 100 ms window",
        lambda row: row.sample.bandwidth_bytes_per_s, label="bandwidth",
    ),
    Column(
        "threshold_bytes", INT, "bytes", "",
        "remaining bytes below which QEMU stops the guest, computed from that bandwidth",
        lambda row: row.sample.threshold_bytes,
        label="threshold",
    ),
    Column(
        "expected_downtime_ms", INT, "ms", "", "`expected-downtime`, computed by QEMU at the end of that window",
        lambda row: row.sample.expected_downtime_ms,
    ),
    Column(
        "throttle_percent", INT, "percent", "", "throttle of auto-converge", lambda row: row.sample.throttle_percent,
        label="throttle",
    ),
    Column(
        "guest_speed", FLOAT, "share", "",
        "share of its nominal work that the guest did since the row before; above 1 where it catches up",
        lambda row: row.guest_speed, label="guest speed",
    ),
)  # fmt: skip
"""Columns of ``series``, a row each 100 ms and where a status changes: counters at t_ns; status, rates and guest_speed of
the time before.
"""
KVM_SERIES: Columns[Moment] = (
    Column(
        "guest_slowdown", FLOAT, "share", "", "1 less `guest_speed`: exits, throttle and pause together",
        lambda row: 1 - row.guest_speed, label="work not done",
    ),
)  # fmt: skip
"""Columns that ``series`` has besides where KVM finds the dirty pages."""
EVENTS: Columns[Mark] = (
    Column("t_ns", INT, "ns", "", "since the migration started", lambda mark: mark.t_ns),
    Column("event", STR, "", "", "see [events](events.md)", lambda mark: mark.event),
    Column("value", INT, "", "", "percent, bytes, or 0", lambda mark: mark.value),
)
"""Columns of ``events``: marks and throttle steps."""


def moments_of(migration: Migration, guest: Guest) -> list[Moment]:
    """The samples of ``migration`` of ``guest``, each with the one before."""
    samples, start_ns = migration.recorder.samples, migration.state.start_ns
    each = zip([None, *samples], samples, _dirtied_per_s(migration), strict=False)
    return [
        Moment(before, sample, rate, guest.nominal_speed(start_ns + (before or sample).t_ns, start_ns + sample.t_ns))
        for before, sample, rate in each
    ]


def marks_of(migration: Migration) -> list[Mark]:
    """The marks of ``migration``."""
    start_ns = migration.state.start_ns
    return [Mark(t_ns - start_ns, event, value) for t_ns, event, value in migration.recorder.marks]


def _dirtied_per_s(migration: Migration) -> list[float]:
    """Pages dirtied per second in the time before each sample.

    The pages that a sync finds are spread evenly over the time since the sync before, but not beyond the guest's stop,
    unless it was handed over, and syncs count on.
    NaN where no sync has counted: before the first sync, and after the last sync of a guest that runs on.
    """
    recorder, start_ns = migration.recorder, migration.state.start_ns
    stops_ns = [t_ns for t_ns, event, _ in recorder.marks if event == "migration_completion_vm_stop"]
    stops_ns = [] if migration.state.handed_over_ns else stops_ns
    last_ns = min(stops_ns, default=NEVER_NS)
    counted_ns = [min(sync.t_ns, last_ns) - start_ns for sync in recorder.syncs]
    dirtied = np.cumsum([0, *(sync.dirtied_pages for sync in recorder.syncs[1:])])
    if not counted_ns:
        return [float("nan")] * len(recorder.samples)
    t_ns = np.array([sample.t_ns for sample in recorder.samples], np.int64)
    known = np.interp(t_ns, counted_ns, dirtied, left=np.nan, right=dirtied[-1] if stops_ns else np.nan)
    spans_s = np.diff(t_ns, prepend=t_ns[:1]) / NS_PER_S
    grown = np.diff(known, prepend=known[:1])
    return [float(rate) for rate in np.divide(grown, spans_s, out=np.full(len(t_ns), np.nan), where=spans_s > 0)]
