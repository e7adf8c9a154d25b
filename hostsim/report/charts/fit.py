"""Charts of a fit: the dirty curve with its drawn guests and the rounds, and the residuals of the rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hostsim.core.constants import PAGE_BYTES
from hostsim.report.charts.chart import Axis, Chart, Line, Panel
from hostsim.results.tables import Table

Row = Mapping[str, Any]


def is_of_log(rows: Sequence[Row]) -> bool:
    """Whether the points are rounds of a log, not a curve that was measured."""
    return any(row["end_s"] > 0 for row in rows)


def curve_chart(curve: Table, rows: Sequence[Row]) -> Chart | None:
    """The memory that is dirty some time after the log was cleared: fitted, of the drawn guests, and of the rounds."""
    if not len(curve):
        return None
    t_s, fitted, low, high = (curve[name].astype(float) for name in ("t_s", "fitted_pages", "low_pages", "high_pages"))
    known = bool(np.isfinite(low).any())
    ends: dict[str, Any] = {"low": PAGE_BYTES * low, "high": PAGE_BYTES * high, "band": True} if known else {}
    name = "fitted guest; shaded: 90 % of the drawn guests" if known else "fitted guest"
    lines = [Line(name, t_s, PAGE_BYTES * fitted, **ends)]
    lines += [_points("rounds of the log" if is_of_log(rows) else "measured", rows)] if rows else []
    x, y = Axis("time since the log was cleared", "s", log=True), Axis("dirty memory", "bytes", log=True)
    lead = "Rounds lie below the curve where pages still wait to be sent." if is_of_log(rows) else ""
    return Chart("curve", "Dirty curve", x, (Panel(y, tuple(lines), height=1.7),), lead=lead)


def _points(name: str, rows: Sequence[Row]) -> Line:
    rows = sorted(rows, key=lambda row: float(row["length_s"]))
    at, found, error = (np.array([row[key] for row in rows], float) for key in ("length_s", "found_pages", "error_share"))
    found *= PAGE_BYTES
    return Line(name, at, found, "vermilion", "points", low=found * np.maximum(1 - error, 0.01), high=found * (1 + error))


def residuals_chart(rows: Sequence[Row]) -> Chart | None:
    """How far each round lies from the fitted guest, with its error; None for a measured curve, which has no rounds."""
    if not is_of_log(rows):
        return None
    rows = sorted((row for row in rows if row["off_share"] is not None), key=lambda row: float(row["end_s"]))
    if not rows:
        return None
    at, off, error = (np.array([row[key] for row in rows], float) for key in ("end_s", "off_share", "error_share"))
    off, error = 100 * off, 100 * error
    line = Line("measured over fitted, less 1", at, off, "vermilion", "points", low=off - error, high=off + error)
    ends = np.array([at.min(), at.max()])
    level = Line("the fitted guest", ends, np.zeros(2), "grey", dash=1)
    x, y = Axis("end of the round, since the migration began", "s"), Axis("off by", "%")
    lead = "No trend is left if the guest's load is steady. Whiskers: error of a round."
    return Chart("residuals", "Residuals by round", x, (Panel(y, (line, level)),), lead=lead)
