"""The verdict on measurements of a dirty rate: a sentence a row, the truth, and where the error of a forecast comes from."""

from __future__ import annotations

from collections.abc import Sequence

from hostsim.study.dirty_measure.options import METHODS
from hostsim.study.dirty_measure.outcome import MeasureRow, TrueTime
from hostsim.study.dirty_measure.plan import NONE
from hostsim.verdict.words import number_words, percent_words, seconds_words

SMALL, EXACT = 0.02, 0.001
"""Shares: an error up to the first is called right; a bias below the second is not told."""


def verdict_lines(rows: Sequence[MeasureRow], truth: TrueTime) -> list[str]:
    """The measurement that reads best, a sentence for each method, and the truth."""
    best = min(rows, key=lambda row: (abs(row.bias_percent) + row.cv_percent, row.lost_percent))
    lines = [f"VERDICT: {_named(best)} reads best: {_reading(best)}."]
    return [*lines, *map(_row_words, _first_windows(rows)), _truth_words(truth), _lesson(rows, truth)]


def _first_windows(rows: Sequence[MeasureRow]) -> list[MeasureRow]:
    """A row for each method and number of samples: that of its first window; the table has the others."""
    first = {(row.settings["method"], row.settings["samples"]): row for row in reversed(rows)}
    return list(reversed(first.values()))


def _row_words(row: MeasureRow) -> str:
    name = _named(row)
    return f"{name[0].upper()}{name[1:]}: {_reading(row)}; {_cost(row)}; {_forecast_words(row)}."


def _named(row: MeasureRow) -> str:
    mode, samples, window = row.settings["method"], row.settings["samples"], row.settings["window"]
    of = "" if samples == NONE else f" with {samples} pages a GiB"
    return f"{METHODS[mode].replace('page-', 'page ').replace('dirty-', 'dirty ')}{of} over {window}"


def _reading(row: MeasureRow) -> str:
    bias = row.bias_percent / 100
    side = "above" if bias > 0 else "below"
    much = f"{percent_words(abs(bias))} {side} the rate" if abs(bias) >= EXACT else "the rate"
    mean = f"reads {much} at which the guest wrote"
    some = f"a single answer is off by another {percent_words(row.cv_percent / 100)}"
    spread = some if row.cv_percent > 0 else "all answers are alike"
    return f"it {mean} ({number_words(row.reported_mib)} MiB/s), and {spread}"


def _cost(row: MeasureRow) -> str:
    lost = row.lost_percent / 100
    return f"it costs a vCPU {percent_words(lost)} of its time" if lost > 0 else "it costs the guest nothing"


def _forecast_words(row: MeasureRow) -> str:
    if row.total_s is None:
        return "a forecast from it never ends"
    some = f" ({percent_words(row.endless)} of the answers give a forecast that never ends)" if row.endless else ""
    error = row.error_percent
    if error is None:
        return f"a forecast from it is {seconds_words(row.total_s)}{some}"
    side = "long" if error > 0 else "short"
    much = f"{percent_words(abs(error) / 100)} too {side}" if abs(error) >= 100 * SMALL else "right within 2 %"
    return f"a total time forecast from it, {seconds_words(row.total_s)}, is {much}{some}"


def _truth_words(truth: TrueTime) -> str:
    if truth.total_s is None:
        return f"Truth: the simulated migration completes with none of {truth.n} seeds."
    seeds = f"{truth.n_completed} of {truth.n} seeds complete"
    return f"Truth: the simulated migration takes {seconds_words(truth.total_s.mean)} ({seeds})."


def _lesson(rows: Sequence[MeasureRow], truth: TrueTime) -> str:
    """Whether the error of the forecast is that of the measurement, or that of taking one rate for a guest."""
    right = [row for row in rows if abs(row.bias_percent) <= 100 * SMALL]
    errors = [abs(row.error_percent) for row in right if row.error_percent is not None]
    if truth.total_s is None or not errors:
        return "No forecast can be compared: no migration completed, or no answer is within 2 % of the true rate."
    if min(errors) > 100 * SMALL:
        return (
            "Even the true rate gives a wrong forecast: the forecast assumes a guest that writes all its memory evenly. "
            "Rates over several windows show how the guest saturates."
        )
    return "The true rate gives a good forecast here: the guest writes its memory evenly enough."
