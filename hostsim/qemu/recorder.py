"""Records of a migration: rounds, a series, marks; each also goes out as a structlog trace event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hostsim.core.timeline import Track
from hostsim.core.trace import tracer

if TYPE_CHECKING:
    from hostsim.kvm.tally import Tally

SERIES_PERIOD_NS = 100_000_000
THREAD, LINK = Track("vm", "migration thread"), Track("vm", "link")


@dataclass(frozen=True)
class SyncPoint:
    """State right after a bitmap sync; the next one ends the round. mechanisms: see hostsim.qemu.mechanism::figures_of."""

    dirty_sync_count: int
    t_ns: int
    remaining_bytes: int
    newly_dirty_pages: int
    dirtied_pages: int
    normal_pages: int
    zero_pages: int
    sent_bytes: int
    dirty_pages_rate: int
    bandwidth_bytes_per_s: float
    threshold_bytes: int
    throttle_percent: int
    mechanisms: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One line of the series: the counters at ``t_ns``, and the status between the previous sample and this one.

    The sampler takes a sample each 100 ms. The migration thread adds one where a rate of the guest jumps: at a change of
    status, when the guest is asked to stop, when it has stopped, and before a throttle step.
    """

    t_ns: int
    status: str
    dirty_sync_count: int
    remaining_bytes: int
    transferred_bytes: int
    dirty_pages_rate: int
    bandwidth_bytes_per_s: float
    threshold_bytes: int
    expected_downtime_ms: int
    throttle_percent: int
    work_ns: int
    pages_sent: int


@dataclass
class Recorder:
    """Lists that grow during the migration.

    syncs: one entry a bitmap sync.
    samples: the series.
    marks: (t_ns, event, value).
    tallies: one a sync, at its end; none for a guest that does not exit.
    last_tally: the tally at the end of a migration after which another one began; None: that of the end of the run.
    on_cut: called when a sample is taken between two of the 100 ms, for other series of this host.
    on_trace: called with each trace event and its fields.
    """

    syncs: list[SyncPoint] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    marks: list[tuple[int, str, int]] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)
    last_tally: Tally | None = None
    on_cut: Callable[[], None] = field(default=lambda: None)
    on_trace: Callable[[str, dict[str, Any]], None] = field(default=lambda _event, _fields: None)

    def sample(self, sample: Sample) -> None:
        """Keep a sample, unless the series has one of this instant: the older sample ends the interval before it."""
        if not self.samples or self.samples[-1].t_ns < sample.t_ns:
            self.samples.append(sample)

    def mark(self, t_ns: int, event: str, value: int = 0) -> None:
        """Keep a moment ``t_ns`` named ``event`` (a throttle step, the stop) with its ``value``, and trace it."""
        self.marks.append((t_ns, event, value))
        self.trace(event, t_ns=t_ns, value=value)

    def status(self, t_ns: int, status: str) -> None:
        """Keep the change to ``status`` at ``t_ns`` and trace it (migrate_set_state)."""
        self.marks.append((t_ns, f"migrate_set_state {status}", 0))
        self.trace("migrate_set_state", t_ns=t_ns, new_state=status)

    def sync(self, point: SyncPoint, tally: Tally | None = None) -> None:
        """Keep sync ``point``, with ``tally``, the counts at its end, and trace it as QEMU does."""
        self.syncs.append(point)
        if tally is not None:
            self.tallies.append(tally)
        self.trace("migration_bitmap_sync_end", t_ns=point.t_ns, dirty_pages=point.newly_dirty_pages)

    def trace(self, event: str, **fields: Any) -> None:
        """Trace ``event`` with ``fields``, and keep nothing."""
        tracer().debug(event, **fields)
        self.on_trace(event, fields)
