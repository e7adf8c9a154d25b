"""P1: forecasts of pre-copy from one measured dirty curve, 4 bandwidths x 6 downtime limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from hostsim.theory.dirty_curve import DirtyCurve
from hostsim.theory.fit import curve_of, fit_classes
from hostsim.theory.precopy import PrecopyOutcome, predict_precopy
from hostsim.validation.data import published
from hostsim.validation.rows import SIGMAS, Row, absolute, exact, relative

NEVER = "never"
FITTED_TOLERANCE = 0.05
SETTLED_S = 1.0
"""From here on a point of the curve counts at least 236 samples and is known to 6.5% or better."""
NUDGE = 0.01
"""A forecast that moves by more than FITTED_TOLERANCE when the curve moves by this share cannot test a fit."""

Predict = Callable[[float, float], PrecopyOutcome]


def measured_curve(scale: float = 1.0) -> DirtyCurve:
    """The published curve in pages, cut off at all normal pages; ``scale`` nudges every point."""
    data = published("dirty_curve")
    points = np.asarray(data["curve"], np.float64)
    pages = points[:, 1] * data["pages_per_sample"] * scale
    return DirtyCurve.from_points((points[:, 0] / 1000.0).tolist(), pages.tolist(), data["normal_pages"])


def fitted_classes() -> list[tuple[int, float]]:
    """A guest for the engine: pairs (pages, writes per second to one page) fitted to the measured curve."""
    return fit_classes(measured_curve(), published("dirty_curve")["normal_pages"])


def curve_rows() -> Iterator[Row]:
    """24 cells to the second; where published, milliseconds and passes exactly."""
    data, predict = published("dirty_curve"), _predictor(measured_curve())
    for name, i, cell in _cells(data):
        outcome = predict(*_inputs(data, name, i))
        expected, unit = data["table_s"][name][i], "total time, s, rounded up"
        wanted = NEVER if expected is None else expected
        yield exact("published", cell, unit, wanted, _seconds_up(outcome))
    for name, values in data["milliseconds"].items():
        for i, (total_ms, passes) in enumerate(values):
            cell, outcome = _cell(data, name, i), predict(*_inputs(data, name, i))
            yield exact("published", cell, "total time, ms", total_ms, round(outcome.total_s * 1000.0))
            yield exact("published", cell, "passes", passes, outcome.passes)


def fitted_guest_rows() -> Iterator[Row]:
    """A stationary guest fitted to the curve: errors of its curve, and its forecasts."""
    fitted = curve_of(fitted_classes())
    yield from _curve_error_rows(measured_curve(), fitted)
    yield from fitted_total_rows(_predictor(fitted))


def fitted_total_rows(predict: Predict, prefix: str = "P1-fit") -> Iterator[Row]:
    """Total times of a fitted guest, within 5% of the figures published to the millisecond.

    predict: (bandwidth bytes/s, downtime limit s) to outcome: the predictor on the fitted curve, or an
    engine run.
    """
    data = published("dirty_curve")
    for name, values in data["milliseconds"].items():
        for i, (total_ms, _) in enumerate(values):
            inputs = _inputs(data, name, i)
            outcome = predict(*inputs)
            got_ms = outcome.total_s * 1000.0 if outcome.converged else math.inf
            cell = _cell(data, name, i).replace("P1", prefix)
            row = relative("published", cell, "total time, ms", total_ms, got_ms, FITTED_TOLERANCE)
            yield row if _well_conditioned(inputs) else row.unscored(_knife_edge(inputs))


def _curve_error_rows(measured: DirtyCurve, fitted: DirtyCurve) -> Iterator[Row]:
    t_s, pages = measured.t_s[1:], measured.pages[1:]
    off = fitted.at(t_s) - pages
    settled = t_s >= SETTLED_S
    worst = float(np.max(np.abs(off / pages)[settled]))
    what = "largest error of the fitted curve from 1 s on, share"
    yield absolute("published", "P1-fit/curve", what, 0.0, worst, FITTED_TOLERANCE)
    sampling = np.sqrt(pages * published("dirty_curve")["pages_per_sample"])
    worst_sigmas = float(np.max(np.abs(off / sampling)))
    what = "largest error of the fitted curve, sampling standard deviations"
    yield absolute("published", "P1-fit/curve", what, 0.0, worst_sigmas, SIGMAS)


def _predictor(curve: DirtyCurve) -> Predict:
    data = published("dirty_curve")

    def predict(bandwidth_bytes_per_s: float, limit_s: float) -> PrecopyOutcome:
        return predict_precopy(
            curve, data["normal_pages"], data["zero_pages"], bandwidth_bytes_per_s, limit_s,
            data["give_up_s"], data["page_bytes"], data["zero_page_bytes"],
        )  # fmt: skip

    return predict


def _well_conditioned(inputs: tuple[float, float]) -> bool:
    return all(abs(moved - 1.0) <= FITTED_TOLERANCE for moved in _nudged(inputs))


def _nudged(inputs: tuple[float, float]) -> list[float]:
    """Total times over the published one when the curve lies NUDGE lower and higher."""
    base = _predictor(measured_curve())(*inputs).total_s
    outcomes = [_predictor(measured_curve(1.0 + by))(*inputs) for by in (-NUDGE, NUDGE)]
    return [outcome.total_s / base if outcome.converged else math.inf for outcome in outcomes]


def _knife_edge(inputs: tuple[float, float]) -> str:
    low, high = (f"{moved - 1.0:+.0%}" if math.isfinite(moved) else NEVER for moved in _nudged(inputs))
    return f"not scored: the measured curve itself 1% lower gives {low}, 1% higher {high}"


def _cells(data: dict[str, Any]) -> Iterator[tuple[str, int, str]]:
    for name, values in data["table_s"].items():
        for i in range(len(values)):
            yield name, i, _cell(data, name, i)


def _cell(data: dict[str, Any], name: str, i: int) -> str:
    limit_ms = data["limits_ms"][i]
    return f"P1/{name}/{'none' if limit_ms is None else f'{limit_ms}ms'}"


def _inputs(data: dict[str, Any], name: str, i: int) -> tuple[float, float]:
    limit_ms = data["limits_ms"][i]
    limit_s = math.inf if limit_ms is None else limit_ms / 1000.0
    return data["bandwidths_bit_per_s"][name] / 8.0, limit_s


def _seconds_up(outcome: PrecopyOutcome) -> int | str:
    return math.ceil(outcome.total_s) if outcome.converged else NEVER
