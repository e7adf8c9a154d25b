"""Results of ``hostsim measure-dirty``: a row a method, its bias, its spread, its cost, and the forecast made from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

from hostsim.core.constants import PAGE_HEADER_BYTES
from hostsim.core.units import parse_duration
from hostsim.qemu.mib_per_s import PAGES_A_MIB
from hostsim.study.statistics import Spread, spread_of
from hostsim.study.dirty_measure.options import METHODS
from hostsim.study.dirty_measure.plan import NONE, MeasurePlan
from hostsim.theory.rate_forecast import forecast
from hostsim.verdict.words import number_words, percent_words, seconds_words

SMALL = 0.02
"""Errors up to this share are called small."""


@dataclass(frozen=True)
class TrueTime:
    """The simulated migration: total time over the seeds that complete [s]; facts: of its scenario."""

    total_s: Spread | None
    n_completed: int
    n: int
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class MeasureRow:
    """n: measurements. Figures that end in _percent have an interval over the runs.

    reported_mib, written_mib: mean rate as QEMU answers, and as the guest wrote [MiB/s].
    bias_percent: reported against written; cv_percent: standard deviation of a single answer over the mean answer.
    guest_lost_percent: time of a vCPU lost to exits; total_s: mean forecast [s], of the answers from which it ends.
    error_percent: forecast against the simulated total time; endless: share of the answers from which it never ends.
    """

    settings: Mapping[str, str]
    n: int
    reported_mib: float
    written_mib: float
    cv_percent: float
    figures: Mapping[str, Spread]
    total_s: float | None
    endless: float


def measure_rows(plan: MeasurePlan, figures: Mapping[str, Any]) -> tuple[list[MeasureRow], TrueTime]:
    """A row a combination, and the truth. figures: of each run by its key, as the record has them."""
    runs = [figures[key] for key in plan.keys_of(len(plan.rows))]
    totals = [run["total_time_ms"] / 1000 for run in runs if run["status"] == "completed"]
    truth = TrueTime(spread_of(totals), len(totals), len(runs), runs[0])
    rows = [_row(row, [figures[key] for key in plan.keys_of(i)], truth) for i, row in enumerate(plan.rows)]
    return rows, truth


def _row(settings: Mapping[str, str], runs: Sequence[Mapping[str, Any]], truth: TrueTime) -> MeasureRow:
    every = {name: [value for run in runs for value in run[name]] for name in ("dirty_rate", "written_rate")}
    reported, written = fmean(every["dirty_rate"]), fmean(every["written_rate"])
    window_s = parse_duration(settings["window"]) / 1e9
    ends = [[_forecast_s(rate, window_s, truth.facts) for rate in run["dirty_rate"]] for run in runs]
    known = [one for run in ends for one in run if one is not None]
    return MeasureRow(
        settings, len(every["dirty_rate"]), reported, written,
        100 * pstdev(every["dirty_rate"]) / reported if reported else 0.0,
        dict(_intervals(runs, ends, truth)), fmean(known) if known else None, 1 - len(known) / len(every["dirty_rate"]),
    )  # fmt: skip


def _intervals(
    runs: Sequence[Mapping[str, Any]], ends: Sequence[Sequence[float | None]], truth: TrueTime
) -> Iterator[tuple[str, Spread]]:
    """Figures with intervals over the runs: each run gives one mean, for its own measurements are not independent."""
    values = {
        "bias_percent": [100 * (fmean(run["dirty_rate"]) / fmean(run["written_rate"]) - 1) for run in runs if any(run["written_rate"])],
        "guest_lost_percent": [100 * fmean(run["lost_share"]) for run in runs],
    }  # fmt: skip
    if truth.total_s is not None:
        means = [fmean(known) for run in ends if (known := [one for one in run if one is not None])]
        values["error_percent"] = [100 * (mean / truth.total_s.mean - 1) for mean in means]
    for name, each in values.items():
        if (spread := spread_of(each)) is not None:
            yield name, spread


def _forecast_s(rate_mib: float, window_s: float, facts: Mapping[str, Any]) -> float | None:
    """Total time forecast from an answer of ``rate_mib`` [MiB/s]; None: the forecast never ends."""
    brakes = (facts["max_bandwidth_bytes_per_s"], facts["link_bandwidth_bytes_per_s"], facts["host_bandwidth_bytes_per_s"])
    bandwidth = min(brake for brake in brakes if brake)
    page_s, pages = facts["page_wire_bytes"] / bandwidth, facts["filled_pages"]
    first_s = pages * page_s + facts["zero_pages"] * PAGE_HEADER_BYTES / bandwidth
    found = forecast(rate_mib * PAGES_A_MIB, window_s, pages, page_s, facts["downtime_limit_ms"] / 1000, first_s)
    return found.total_s if found.converged else None


def verdict_lines(rows: Sequence[MeasureRow], truth: TrueTime) -> list[str]:
    """The measurement that reads best, a sentence a row, and the truth."""
    best = min(rows, key=lambda row: (abs(_bias(row)) + row.cv_percent, _lost(row)))
    lines = [f"VERDICT: {_named(best)} reads best: {_reading(best)}."]
    lines += [f"{_named(row)[0].upper()}{_named(row)[1:]}: {_reading(row)}; {_cost(row)}; {_forecast_words(row)}." for row in rows]
    return [*lines, _truth_words(truth), _lesson(rows, truth)]


def _named(row: MeasureRow) -> str:
    mode, samples, window = row.settings["method"], row.settings["samples"], row.settings["window"]
    of = "" if samples == NONE else f" with {samples} pages a GiB"
    return f"{METHODS[mode].replace('page-', 'page ').replace('dirty-', 'dirty ')}{of} over {window}"


def _reading(row: MeasureRow) -> str:
    bias = _bias(row) / 100
    side = "above" if bias > 0 else "below"
    mean = f"reads {percent_words(abs(bias))} {side} what the guest wrote" if abs(bias) >= 0.001 else "reads what the guest wrote"
    return f"it {mean} ({number_words(row.reported_mib)} MiB/s), and a single answer is off by another {percent_words(row.cv_percent / 100)}"


def _cost(row: MeasureRow) -> str:
    lost = _lost(row) / 100
    return f"it costs a vCPU {percent_words(lost)} of its time" if lost > 0 else "it costs the guest nothing"


def _forecast_words(row: MeasureRow) -> str:
    if row.total_s is None:
        return "a forecast from it never ends"
    some = f" ({percent_words(row.endless)} of the answers give a forecast that never ends)" if row.endless else ""
    error = row.figures.get("error_percent")
    if error is None:
        return f"a forecast from it is {seconds_words(row.total_s)}{some}"
    side = "long" if error.mean > 0 else "short"
    much = f"{percent_words(abs(error.mean) / 100)} too {side}" if abs(error.mean) >= 100 * SMALL else "right within 2 %"
    return f"a total time forecast from it, {seconds_words(row.total_s)}, is {much}{some}"


def _truth_words(truth: TrueTime) -> str:
    if truth.total_s is None:
        return f"Truth: the simulated migration completes with none of {truth.n} seeds."
    return f"Truth: the simulated migration takes {seconds_words(truth.total_s.mean)} ({truth.n_completed} of {truth.n} seeds complete)."


def _lesson(rows: Sequence[MeasureRow], truth: TrueTime) -> str:
    """Whether the error of the forecast is that of the measurement, or that of taking one rate for a guest."""
    errors = [abs(row.figures["error_percent"].mean) for row in rows if "error_percent" in row.figures]
    exact = [row for row in rows if row.settings["method"] == "bitmap" and "error_percent" in row.figures]
    if truth.total_s is None or not errors:
        return "No forecast can be held against it."
    if exact and min(abs(row.figures["error_percent"].mean) for row in exact) > 100 * SMALL:
        return (
            "Even an exact rate forecasts wrongly: the forecast takes the guest for one that writes all its memory evenly. Rates "
            "over several windows show how the guest saturates."
        )
    return "An exact rate forecasts well here: the guest writes its memory evenly enough."


def _bias(row: MeasureRow) -> float:
    spread = row.figures.get("bias_percent")
    return 0.0 if spread is None else spread.mean


def _lost(row: MeasureRow) -> float:
    return row.figures["guest_lost_percent"].mean
