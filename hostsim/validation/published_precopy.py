"""P1-P4 of suite ``published``: pre-copy, forecast from measured curves and run by the engine.

P1: forecasts from one measured dirty curve, 4 bandwidths x 6 downtime limits. P2-P4: bytes on the wire, migrations that
never completed, and the share of time that cpu-throttle leaves a vCPU. By the engine: the guest of P1 as it was fitted, the
duty cycle of P4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import PAGE_BYTES
from hostsim.costs.host_sheet import punctual
from hostsim.fitting.inputs import measured
from hostsim.fitting.mixture import Classes, Problem, rate_grid
from hostsim.guest.workload import Workload
from hostsim.qemu.cpu_throttle import CpuThrottle
from hostsim.theory.dirty_curve import DirtyCurve
from hostsim.theory.floor import converges
from hostsim.theory.precopy import (
    PrecopyOutcome,
    never_completes_above_pages,
    page_seconds,
    predict_precopy,
    transferred_bytes,
)
from hostsim.theory.throttle import run_fraction
from hostsim.validation.passes import Passes, PassPlan, guest_machine, passes_of
from hostsim.validation.rows import SIGMAS, Row, absolute, digits, exact, published, relative

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


def fitted_classes() -> Classes:
    """A guest for the engine, fitted to the measured curve as ``hostsim fit`` fits one whose file has ``error_pages``."""
    data, curve = published("dirty_curve"), measured_curve()
    sampling = _sampling_error(curve.pages)
    points = [measured(*point) for point in zip(curve.t_s[1:], curve.pages[1:], sampling[1:], strict=True)]
    return Problem(points, data["normal_pages"], rate_grid(points)).fitted()


def _sampling_error(pages: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard error of the number of pages that stand for the samples found dirty."""
    return np.asarray(np.sqrt(pages * published("dirty_curve")["pages_per_sample"]))


def curve_rows() -> Iterator[Row]:
    """24 cells to the second; where published, milliseconds and passes exactly."""
    data, predict = published("dirty_curve"), predictor(measured_curve())
    for name, i, cell in _cells(data):
        outcome = predict(*inputs_of(data, name, i))
        expected, unit = data["table_s"][name][i], "total time, s, rounded up"
        wanted = NEVER if expected is None else expected
        yield exact("published", cell, unit, wanted, _seconds_up(outcome))
    for name, values in data["milliseconds"].items():
        for i, (total_ms, passes) in enumerate(values):
            cell, outcome = cell_of(data, name, i), predict(*inputs_of(data, name, i))
            yield exact("published", cell, "total time, ms", total_ms, round(outcome.total_s * 1000.0))
            yield exact("published", cell, "passes", passes, outcome.passes)


def fitted_guest_rows() -> Iterator[Row]:
    """A stationary guest fitted to the curve: errors of its curve, and its forecasts."""
    fitted = fitted_classes().curve()
    yield from _curve_error_rows(measured_curve(), fitted)
    yield from fitted_total_rows(predictor(fitted))


def fitted_total_rows(predict: Predict, prefix: str = "P1-fit") -> Iterator[Row]:
    """Total times of a fitted guest, within 5% of the figures published to the millisecond.

    predict: (bandwidth bytes/s, downtime limit s) to outcome: the predictor on the fitted curve, or an
    engine run.
    """
    data = published("dirty_curve")
    for name, values in data["milliseconds"].items():
        for i, (total_ms, _) in enumerate(values):
            inputs = inputs_of(data, name, i)
            outcome = predict(*inputs)
            got_ms = outcome.total_s * 1000.0 if outcome.converged else math.inf
            cell = cell_of(data, name, i).replace("P1", prefix)
            row = relative("published", cell, "total time, ms", total_ms, got_ms, FITTED_TOLERANCE)
            yield row if _well_conditioned(inputs) else row.unscored(_knife_edge(inputs))


def _curve_error_rows(measured: DirtyCurve, fitted: DirtyCurve) -> Iterator[Row]:
    t_s, pages = measured.t_s[1:], measured.pages[1:]
    off = fitted.at(t_s) - pages
    settled = t_s >= SETTLED_S
    worst = float(np.max(np.abs(off / pages)[settled]))
    what = "largest error of the fitted curve from 1 s on, share"
    yield absolute("published", "P1-fit/curve", what, 0.0, worst, FITTED_TOLERANCE)
    worst_sigmas = float(np.max(np.abs(off / _sampling_error(pages))))
    what = "largest error of the fitted curve, sampling standard deviations"
    yield absolute("published", "P1-fit/curve", what, 0.0, worst_sigmas, SIGMAS)


def predictor(curve: DirtyCurve) -> Predict:
    """Forecasts of the published guest, pass by pass, by ``curve``."""
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
    base = predictor(measured_curve())(*inputs).total_s
    outcomes = [predictor(measured_curve(1.0 + by))(*inputs) for by in (-NUDGE, NUDGE)]
    return [outcome.total_s / base if outcome.converged else math.inf for outcome in outcomes]


def _knife_edge(inputs: tuple[float, float]) -> str:
    low, high = (f"{moved - 1.0:+.0%}" if math.isfinite(moved) else NEVER for moved in _nudged(inputs))
    return f"not scored: the measured curve itself 1% lower gives {low}, 1% higher {high}"


def _cells(data: dict[str, Any]) -> Iterator[tuple[str, int, str]]:
    for name, values in data["table_s"].items():
        for i in range(len(values)):
            yield name, i, cell_of(data, name, i)


def cell_of(data: dict[str, Any], name: str, i: int) -> str:
    """Id of the row of bandwidth ``name`` and of the downtime limit of number ``i``."""
    limit_ms = data["limits_ms"][i]
    return f"P1/{name}/{'none' if limit_ms is None else f'{limit_ms}ms'}"


def inputs_of(data: dict[str, Any], name: str, i: int) -> tuple[float, float]:
    """(bandwidth [bytes/s], downtime limit [s]) of that row."""
    limit_ms = data["limits_ms"][i]
    limit_s = math.inf if limit_ms is None else limit_ms / 1000.0
    return data["bandwidths_bit_per_s"][name] / 8.0, limit_s


def _seconds_up(outcome: PrecopyOutcome) -> int | str:
    return math.ceil(outcome.total_s) if outcome.converged else NEVER


THROTTLES_PERCENT = (1, 20, 50, 75, 90, 99)
BESIDE = 0.02
"""The map is tried at this share below and above the critical working set."""


def wire_byte_rows() -> Iterator[Row]:
    """P2: transferred KiB from page counts, within 10 KiB."""
    data = published("wire_bytes")
    for run in data["migrations"]:
        sent = transferred_bytes(run["normal_pages"], run["duplicate_pages"], run["skipped_pages"])
        expected = run["transferred_kib"]
        what = "transferred, KiB"
        yield absolute("published", f"P2/{run['id']}", what, expected, sent / 1024, data["tolerance_kib"])


def never_completes_rows() -> Iterator[Row]:
    """P3: working sets above which uniform writes explain that a migration never completed."""
    data = published("never_completes")
    for run in data["migrations"]:
        ratio = run["dirty_pages_per_s"] * PAGE_BYTES / run["sent_bytes_per_s"]
        yield digits("published", f"P3/{run['id']}/ratio", "bytes dirtied / bytes sent", run["ratio"], ratio)
        limits_s = [limit_ms / 1000.0 for limit_ms in data["limits_ms"]]
        critical = [_critical_pages(run, limit_s) for limit_s in limits_s]
        yield from _working_set_rows(run, limits_s, critical)


def run_fraction_rows(measured: Mapping[int, float] | None = None, tolerance: float = 1e-12) -> Iterator[Row]:
    """P4: share of time a CPU-bound vCPU runs under each throttle percentage, 1 - p.

    measured: percent to share, as an engine run gives it; None: the duty cycle's closed form.
    """
    shares = {p: float(run_fraction(p)) for p in THROTTLES_PERCENT} if measured is None else measured
    kind = "P4" if measured is None else "P4-run"
    for percent, share in shares.items():
        what = "share of time run under throttle"
        yield absolute("published", f"{kind}/{percent}%", what, 1.0 - percent / 100.0, share, tolerance)


def _critical_pages(run: dict[str, Any], limit_s: float) -> float:
    return never_completes_above_pages(
        run["dirty_pages_per_s"], page_seconds(run["sent_bytes_per_s"]), limit_s
    )


def _working_set_rows(run: dict[str, Any], limits_s: list[float], critical: list[float]) -> Iterator[Row]:
    for limit_s, pages in zip(limits_s, critical, strict=True):
        where = f"P3/{run['id']}/{limit_s * 1000:.0f}ms"
        gib = pages * PAGE_BYTES / 2**30
        yield exact(
            "published", where, f"2% below / above a working set of {gib:.2f} GiB",
            "completes / never", _beside(run, limit_s, pages),
        )  # fmt: skip
    grows = all(low < high for low, high in pairwise(critical))
    what = "critical working set exists and grows with the limit"
    yield exact("published", f"P3/{run['id']}/grows", what, True, grows and math.isfinite(critical[-1]))
    if run["vm_bytes"] is not None:
        fits = _critical_pages(run, run["limit_ms"] / 1000.0) * PAGE_BYTES <= run["vm_bytes"]
        what = "critical working set at the limit used fits into the VM"
        yield exact("published", f"P3/{run['id']}/fits", what, True, fits)


def _beside(run: dict[str, Any], limit_s: float, pages: float) -> str:
    page_s = page_seconds(run["sent_bytes_per_s"])
    below, above = (
        DirtyCurve.uniform(round(pages * scale), run["dirty_pages_per_s"])
        for scale in (1.0 - BESIDE, 1.0 + BESIDE)
    )
    return " / ".join(
        "completes" if converges(curve, page_s, limit_s) else "never" for curve in (below, above)
    )


THROTTLED_NS = 100_000_000_000


def run_rows() -> Iterator[Row]:
    """Rows P1 and P4, by runs of the engine."""
    yield from fitted_total_rows(fitted_guest(), prefix="P1-run")
    yield from run_fraction_rows({percent: throttled_share(percent) for percent in THROTTLES_PERCENT}, tolerance=2e-5)


def fitted_guest() -> Predict:
    """Textbook pre-copy of the fitted guest, run once a bandwidth: greater limits than the least only stop it earlier."""
    least_s = min(ms for ms in published("dirty_curve")["limits_ms"] if ms is not None) / 1000.0
    runs: dict[float, tuple[PassPlan, Passes]] = {}

    def outcome(bandwidth_bytes_per_s: float, limit_s: float) -> PrecopyOutcome:
        assert limit_s >= least_s
        if bandwidth_bytes_per_s not in runs:
            runs[bandwidth_bytes_per_s] = _fitted_passes(bandwidth_bytes_per_s, least_s)
        plan, passes = runs[bandwidth_bytes_per_s]
        return passes.outcome(replace(plan, limit_s=limit_s))

    return outcome


def _fitted_passes(bandwidth_bytes_per_s: float, limit_s: float) -> tuple[PassPlan, Passes]:
    """32 GiB, the classes' pages written by Poisson processes."""
    data = published("dirty_curve")
    page_s = data["page_bytes"] / bandwidth_bytes_per_s
    zero_s = data["zero_pages"] * data["zero_page_bytes"] / bandwidth_bytes_per_s
    loads, first = [], 0
    for i, (mean_pages, rate) in enumerate(fitted_classes().pages):
        pages = round(mean_pages)
        writes = Fraction(rate * pages).limit_denominator(1_000_000)
        loads.append(Workload(f"class-{i}", "uniform", (0,), first, pages, writes, arrivals="poisson"))
        first += pages
    machine = guest_machine(tuple(loads), data["normal_pages"])
    first_pass_s = data["normal_pages"] * page_s + zero_s
    plan = PassPlan(page_s, first_pass_s, limit_s, data["give_up_s"])
    return plan, passes_of(machine, plan)


def throttled_share(percent: int) -> float:
    """Share of time a CPU-bound vCPU runs under cpu-throttle, timers and sleeps exact, over 100 s."""
    machine = guest_machine((Workload("busy", "uniform", (0,), 0, 16, Fraction(1000)),), 16)
    throttle = CpuThrottle(machine.env, machine.vm, punctual(machine.spec.sheet), 1)
    throttle.set(percent)
    machine.env.run(until=THROTTLED_NS)
    return machine.vm.work_ns() / THROTTLED_NS
