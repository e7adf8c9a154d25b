"""Dirty curves that agree with the rounds of a log: seldom only one, so all of them are kept.

Two shapes bound the writes of guests: a sweep that never meets a page twice before it has met all, D = min(W, r t), and
independent writes, D = W (1 - exp(-r t / W)). Each round gives one point of the curve; a log in its steady state gives one
point again and again, and does not constrain the curve at shorter times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hostsim.theory.dirty_curve import DirtyCurve
from hostsim.verdict.evidence import Round

Array = NDArray[np.float64]
Shape = Callable[[Array], Array]

WORKING_SETS = 120
RATES = 140
FASTEST = 2000.0
"""Rates are tried up to this many times the greatest one seen."""
TOLERANCE = 0.02
"""Rounds are timed and counted between polls: figures closer than this are alike (assumed)."""
WORSE_BY = 1.5
KEPT_CURVES = 160
AT_ONCE_S = 1e-5


@dataclass(frozen=True)
class FittedCurves:
    """All curves that agree with the rounds.

    misfit: root mean square of log(expected / found) of the best curve.
    working_set_pages, rate_pages_per_s: least and greatest that agree; where the rounds do not bound the rate, the greatest
    is FASTEST times the greatest rate seen.
    """

    curves: tuple[DirtyCurve, ...]
    misfit: float
    working_set_pages: tuple[float, float]
    rate_pages_per_s: tuple[float, float]
    rate_is_bounded: bool


def ramp(u: Array) -> Array:
    """D / W of a sweep, u = r t / W."""
    return np.minimum(1.0, u)


def saturating(u: Array) -> Array:
    """D / W of independent uniform writes, u = r t / W."""
    return -np.expm1(-u)


SHAPES: tuple[Shape, ...] = (ramp, saturating)


def worst_curve(rounds: Sequence[Round], ram_pages: float) -> DirtyCurve:
    """The greatest curve the rounds allow: D(T) is at most the pages remaining at a sync after T seconds. Times below the
    shortest round are unknown: its pages may all be dirty at once.

    Of the first pass only newly dirty pages count: pages that it had not sent yet are not dirty. Of rounds known only by
    their mean, one may have found all pages.
    """
    later = [(_least_s(r), r.newly_dirty_pages * r.syncs + r.pending_pages + r.pending_off_pages) for r in rounds[1:]]
    used = sorted(later or [(_least_s(r), r.newly_dirty_pages * r.syncs) for r in rounds])
    pages = np.minimum(np.maximum.accumulate([p for _, p in used]), max(ram_pages, 1.0))
    seconds, last = np.unique([s for s, _ in used][::-1], return_index=True)
    pages = pages[::-1][last]
    return DirtyCurve(np.concatenate([[0.0, AT_ONCE_S], seconds]), np.concatenate([[0.0, pages[0]], pages]))


def _least_s(r: Round) -> float:
    return max(r.duration_s * (1 - r.timing_off), 2 * AT_ONCE_S)


@dataclass(frozen=True)
class _Points:
    """Rounds as arrays, float64[rounds]: durations, finds and pages pending, each with its least and greatest value."""

    least_s: Array
    most_s: Array
    found: Array
    found_most: Array
    pending: Array
    pending_most: Array


def fit_curves(rounds: Sequence[Round], ram_pages: float, speeds: Sequence[float] | None = None) -> FittedCurves | None:
    """Curves of the unthrottled guest that agree with ``rounds``; None if no round found dirty pages.

    ram_pages: upper bound of the working set; speeds: the guest's share of its full speed in each round (default: 1).
    The pages that the first round, the pass over all memory, found are a lower bound if others follow: pages written
    before they were first sent may not have been logged (KVM protects memory chunk by chunk as it is sent).
    """
    speeds = [1.0] * len(rounds) if speeds is None else speeds
    used = [
        (s * _least_s(r), s * r.duration_s * (1 + r.timing_off), r.newly_dirty_pages,
         np.inf if i == 0 and len(rounds) > 1 else r.newly_dirty_pages * r.syncs,
         max(0.0, r.pending_pages - r.pending_off_pages), r.pending_pages + r.pending_off_pages)
        for i, (r, s) in enumerate(zip(rounds, speeds, strict=True))
        if r.newly_dirty_pages >= 1 and r.duration_s > 0
    ]  # fmt: skip
    if not used:
        return None
    points = _Points(*(np.array(column) for column in zip(*used, strict=True)))
    sets, rates = _grid(points.found, points.most_s, max(ram_pages, float(points.found.max())))
    misfits = np.stack([_misfits(shape, sets, rates, points) for shape in SHAPES])
    best = float(misfits.min())
    kept = np.argwhere(misfits <= max(TOLERANCE, WORSE_BY * best))
    return _kept_curves(kept, sets, rates, best)


def _grid(found: Array, seconds: Array, ram_pages: float) -> tuple[Array, Array]:
    seen = found / seconds
    sets = np.geomspace(found.max(), max(ram_pages, found.max() * 1.001), WORKING_SETS)
    near = np.geomspace(found.max(), min(ram_pages, found.max() * 1.2) * 1.0001, WORKING_SETS // 2)
    rates = np.geomspace(seen.min() / 2, seen.max() * FASTEST, RATES)
    return np.union1d(sets, near), np.union1d(rates, np.geomspace(seen.min() * 0.9, seen.max() * 1.2, RATES // 2))


def _misfits(shape: Shape, sets: Array, rates: Array, points: _Points) -> Array:
    """Root mean square of log(expected / found), counting noise taken off: float64[sets, rates]."""
    w = sets[:, None, None]
    most = _log_expected(shape, w, rates[None, :, None] * points.most_s, points.pending)
    least = _log_expected(shape, w, rates[None, :, None] * points.least_s, points.pending_most)
    below, above = np.log(points.found) - most, least - np.log(points.found_most)
    beyond_noise = np.maximum(np.maximum(below, above) - 1 / np.sqrt(points.found), 0.0)
    return np.asarray(np.sqrt(np.mean(beyond_noise**2, axis=-1)), np.float64)


def _log_expected(shape: Shape, w: Array, written: Array, pending: Array) -> Array:
    clean = np.clip(1 - pending / w, 1e-3, 1.0)
    return np.asarray(np.log(np.maximum(w * shape(written / w) * clean, 1e-9)), np.float64)


def _kept_curves(kept: NDArray[np.int64], sets: Array, rates: Array, best: float) -> FittedCurves:
    set_of, rate_of = sets[kept[:, 1]], rates[kept[:, 2]]
    return FittedCurves(
        curves=tuple(_curve(int(kept[i, 0]), set_of[i], rate_of[i]) for i in _spread(set_of, rate_of)),
        misfit=best,
        working_set_pages=(float(set_of.min()), float(set_of.max())),
        rate_pages_per_s=(float(rate_of.min()), float(rate_of.max())),
        rate_is_bounded=bool(rate_of.max() < rates[-1]),
    )


def _spread(set_of: Array, rate_of: Array) -> list[int]:
    """Indices of the extremes of both parameters, and of some members between."""
    extremes = [int(f(a)) for a in (set_of, rate_of, rate_of / set_of, rate_of * set_of) for f in (np.argmin, np.argmax)]
    between = np.linspace(0, len(set_of) - 1, min(len(set_of), KEPT_CURVES - len(extremes))).astype(int)
    return sorted({*extremes, *between.tolist()})


def _curve(shape: int, working_set: float, rate: float) -> DirtyCurve:
    if SHAPES[shape] is ramp:
        return DirtyCurve(np.array([0.0, working_set / rate]), np.array([0.0, working_set]))
    u = np.concatenate([[0.0], np.geomspace(1e-3, 30.0, 200)])
    return DirtyCurve(u * working_set / rate, working_set * saturating(u))
