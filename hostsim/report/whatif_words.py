"""The answer of ``hostsim whatif`` in sentences: the prediction, the range over the drawn guests, and the fit behind it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hostsim.fitting.fitted import GuestFit
from hostsim.fitting.whatif import Change, assumptions_of_whatif
from hostsim.report.fit_words import fit_lines
from hostsim.report.origin_words import BY
from hostsim.report.predict_words import estimate_words, prediction_lines
from hostsim.study.predict.prediction import Prediction
from hostsim.verdict.words import seconds_words

FIT_LINES = 3
RUNS_MIN = 5
"""Fewer runs show no range."""


def whatif_lines(found: Prediction, fitted: GuestFit, change: Change) -> list[str]:
    """The answer; the first line opens with VERDICT."""
    lines = prediction_lines(found)[:-1]
    rests = (
        f"Each of the {found.n} runs of {BY} is of a guest drawn anew from the errors of the fit, seeds {found.seeds[0]} "
        f"to {found.seeds[-1]}; "
        "brackets are 95 % intervals of the mean over these guests."
    )
    return [
        *lines,
        *_range(found),
        *_requests(found),
        *(f"{text}." for text in assumptions_of_whatif(fitted, change)),
        rests,
        *fit_lines(fitted)[:FIT_LINES],
    ]


def _range(found: Prediction) -> Iterator[str]:
    times = [float(run["total_time_ms"] or 0.0) / 1000 for run in found.runs if run["status"] == "completed"]
    if len(times) >= RUNS_MIN:
        low, high = np.percentile(times, [5, 95])
        yield f"Range: nine of ten runs that complete take from {seconds_words(float(low))} to {seconds_words(float(high))}."


def _requests(found: Prediction) -> Iterator[str]:
    """Page requests: each page that is missing at the switch is requested once at most, whether read or written."""
    least, most = (found.estimates.get(f"mode.{name}") for name in ("page_requests", "missing_pages"))
    if least is not None and most is not None:
        yield (
            f"Requests: the guest's writes request {estimate_words(least)} pages; with its reads they are at most the "
            f"{estimate_words(most)} pages that are missing at the switch."
        )
