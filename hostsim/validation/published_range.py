"""P1-range of suite ``published``: the forecasts of P1 by guests drawn from the errors of the readings.

Each reading counts samples of 512 pages, and k samples are known within sqrt(k). `hostsim whatif` draws guests from these
errors and gives a range. The published time of each cell has to lie in it, and where all drawn guests complete, the range
has to be narrow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from hostsim.fitting.estimate import estimate_points
from hostsim.fitting.inputs import point
from hostsim.theory.dirty_curve import DirtyCurve
from hostsim.validation.published_precopy import cell_of, inputs_of, measured_curve, predictor
from hostsim.validation.rows import Row, absolute, exact, published

SEED = 1
LOW, HIGH = 0.05, 0.95
NARROW = 0.05
"""Width of a range as a share of the published time, where all drawn guests complete."""


def drawn_curves() -> list[DirtyCurve]:
    """Curves of guests drawn from the readings of the published curve, cut off at all normal pages."""
    data, curve = published("dirty_curve"), measured_curve()
    sample, most = data["pages_per_sample"], data["normal_pages"]
    readings = [
        replace(point(t_s, pages, 0.0), off_pages=math.sqrt(sample * pages))
        for t_s, pages in zip(curve.t_s[1:].tolist(), curve.pages[1:].tolist(), strict=True)
    ]
    found = (one.curve() for one in estimate_points(readings, most, SEED).draws)
    return [replace(one, max_pages=min(one.max_pages, most)) for one in found]


def range_rows() -> Iterator[Row]:
    """A row a cell that was published to the millisecond, and one for the width of the ranges."""
    data, curves, widest = published("dirty_curve"), drawn_curves(), 0.0
    for name, values in data["milliseconds"].items():
        for i, (total_ms, _) in enumerate(values):
            times_s = sorted(_total_s(curve, name, i) for curve in curves)
            low, high = (times_s[round(share * (len(times_s) - 1))] for share in (LOW, HIGH))
            never, cell = sum(map(math.isinf, times_s)), cell_of(data, name, i).replace("P1", "P1-range")
            what = "the published total time lies between nine of ten drawn guests"
            row = exact("published", cell, what, True, round(1000 * low) <= total_ms <= 1000 * high + 0.5)
            yield row.with_note(f"{low:.1f} s to {_words(high)}; {never} of {len(times_s)} guests never complete")
            widest = widest if never else max(widest, 1000 * (high - low) / total_ms)
    what = "widest range of the cells in which all drawn guests complete, share of the published time"
    yield absolute("published", "P1-range/width", what, 0.0, widest, NARROW)


def _total_s(curve: DirtyCurve, name: str, i: int) -> float:
    found = predictor(curve)(*inputs_of(published("dirty_curve"), name, i))
    return found.total_s if found.converged else math.inf


def _words(seconds: float) -> str:
    return f"{seconds:.1f} s" if np.isfinite(seconds) else "never"
