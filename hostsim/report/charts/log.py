"""The chart of a real migration's log: remaining bytes, rates, throttle, as far as the log has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hostsim.core.constants import PAGE_WIRE_BYTES
from hostsim.report.charts.chart import Array, Axis, Chart, Colour, Line, Marks, Panel

if TYPE_CHECKING:
    from hostsim.logs import MigrationLog

SAMPLES_MIN = 2


def log_chart(log: MigrationLog, number: int = 0) -> Chart | None:
    """Figures of a log over the time since the migration started; None where it holds fewer than two samples of each."""
    panels = [panel for panel in (_remaining(log), _rates(log), _throttle(log)) if panel.lines]
    known_s = log.t_s[np.isfinite(log.t_s)]
    if not panels or len(known_s) < SAMPLES_MIN:
        return None
    x = Axis("time since the migration started", "s", low=0.0, high=float(max(known_s.max(), 1e-3)))
    name = f"log-{number + 1}"
    return Chart(name, "The migration as it was polled", x, tuple(panels), _rounds(log), group=name)


def _remaining(log: MigrationLog) -> Panel:
    values = np.where(log.remaining_bytes > 0, log.remaining_bytes, np.nan)
    return Panel(Axis("left to send", "bytes", log=True), _known(log, ("remaining", values, "blue")), 1.3)


def _rates(log: MigrationLog) -> Panel:
    dirtied = log.dirty_pages_rate_per_s * PAGE_WIRE_BYTES * 8
    lines = _known(log, ("throughput", log.mbps * 1e6, "blue"), ("dirty-pages-rate", dirtied, "vermilion"))
    return Panel(Axis("rate", "bit/s", low=0.0), lines)


def _throttle(log: MigrationLog) -> Panel:
    lines = _known(log, ("throttle", log.throttle_percent, "ink"))
    return Panel(Axis("throttle", "%", low=-3.0, high=109.0), lines, 0.7)


def _known(log: MigrationLog, *lines: tuple[str, Array, Colour]) -> tuple[Line, ...]:
    """Lines of the figures that two samples at least have."""
    found = []
    for name, values, colour in lines:
        there = np.isfinite(values) & np.isfinite(log.t_s)
        if there.sum() >= SAMPLES_MIN:
            found.append(Line(name, log.t_s[there], values[there], colour, marked=int(there.sum()) <= 60))
    return tuple(found)


def _rounds(log: MigrationLog) -> tuple[Marks, ...]:
    """The first sample of each round."""
    counts = log.dirty_sync_count
    there = np.isfinite(counts) & np.isfinite(log.t_s)
    counted, t_s = counts[there], log.t_s[there]
    first = t_s[np.flatnonzero(np.diff(counted, prepend=counted[:1]) > 0)]
    return (Marks("first sample of a round", first),) if len(first) else ()
