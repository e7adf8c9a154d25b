"""Results of ``hostsim measure-dirty``: a row a method, its bias, its spread, its cost, and the forecast made from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

from hostsim.core.constants import PAGE_HEADER_BYTES
from hostsim.core.units import parse_duration
from hostsim.qemu.mib_per_s import PAGES_A_MIB
from hostsim.study.dirty_measure.plan import MeasurePlan
from hostsim.study.statistics import Spread, spread_of
from hostsim.theory.precopy import forecast


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

    @property
    def bias_percent(self) -> float:
        """The mean bias; 0 of a guest that writes nothing."""
        spread = self.figures.get("bias_percent")
        return 0.0 if spread is None else spread.mean

    @property
    def lost_percent(self) -> float:
        """The mean cost to the guest."""
        return self.figures["guest_lost_percent"].mean

    @property
    def error_percent(self) -> float | None:
        """The mean error of the forecast; None where it or the migration never ends."""
        spread = self.figures.get("error_percent")
        return None if spread is None else spread.mean


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
        "bias_percent": [_bias_percent(run) for run in runs if any(run["written_rate"])],
        "guest_lost_percent": [100 * fmean(run["lost_share"]) for run in runs],
    }  # fmt: skip
    if truth.total_s is not None:
        means = [fmean(known) for run in ends if (known := [one for one in run if one is not None])]
        values["error_percent"] = [100 * (mean / truth.total_s.mean - 1) for mean in means]
    for name, each in values.items():
        if (spread := spread_of(each)) is not None:
            yield name, spread


def _bias_percent(run: Mapping[str, Any]) -> float:
    return 100 * (fmean(run["dirty_rate"]) / fmean(run["written_rate"]) - 1)


def _forecast_s(rate_mib: float, window_s: float, facts: Mapping[str, Any]) -> float | None:
    """Total time forecast from an answer of ``rate_mib`` [MiB/s]; None: the forecast never ends."""
    limits = (facts["max_bandwidth_bytes_per_s"], facts["link_bandwidth_bytes_per_s"], facts["host_bandwidth_bytes_per_s"])
    bandwidth = min(limit for limit in limits if limit)
    page_s, pages = facts["page_wire_bytes"] / bandwidth, facts["filled_pages"]
    first_s = pages * page_s + facts["zero_pages"] * PAGE_HEADER_BYTES / bandwidth
    found = forecast(rate_mib * PAGES_A_MIB, window_s, pages, page_s, facts["downtime_limit_ms"] / 1000, first_s)
    return found.total_s if found.converged else None
