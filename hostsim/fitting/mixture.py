"""Classes of pages whose expected rounds come nearest to a log: non-negative least squares over a grid of rates.

Many mixtures agree with a log of few rounds. The fit takes that with the fewest classes that the points do not contradict:
each further class has to lower the sum of squares by as much as Schwarz's criterion requires ("Estimating the dimension of a
model", Annals of Statistics 6(2), 1978).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hostsim.fitting.expected import Speed, full_speed, swept, written_independently
from hostsim.fitting.least_squares import nonneg_least_squares
from hostsim.fitting.points import Point
from hostsim.theory.dirty_curve import DirtyCurve
from hostsim.theory.page_classes import PageClasses

Array = NDArray[np.float64]
RATES_PER_DECADE = 12
FINER = 13
"""Rates between the neighbours of a fitted one that are tried: the grid is too coarse for a rate that few points hold."""
SWEEPS_PER_DECADE = 40
SLOWEST, FASTEST = 0.05, 8.0
"""The grid of rates: a page written this often in the longest, and in the shortest, round."""
AT_ONCE_PER_S = FASTEST / 0.1
"""Rate of a page that is dirty again at once: it is written in each window of QEMU's loop."""
Shape = Literal["fewest", "many", "sweep", "steep"]
"""Which of the guests that the points allow. fewest: with the fewest classes. many: with as many as least squares take.
sweep: with a sweep, the slowest, if the points do not speak against one. steep: with the most pages that are dirty again at
once.
"""
SWEEP_GAIN = 6.0
"""A sweep is taken if it betters Schwarz's criterion by this: odds of e^3 to 1."""
MOVED_MISFIT = 0.25
"""The steepest guest, and the slowest sweep, have a misfit larger than the least by at most this: half a standard error of
the number that is moved. The points of a drawn guest have their errors already.
"""
BISECTIONS = 16
PAGES_MIN = 0.5
TOTAL_WEIGHT, TOTAL_TIMES = 1e3, 30.0
"""Weight of "the classes have no more pages than there are" beside the points, and over that of the surest point."""


@dataclass(frozen=True)
class Sweep:
    """A region written in order, in a circle. pages: its size; sweeps_per_s: times a second that all of it is written."""

    pages: float
    sweeps_per_s: float

    @property
    def rate_pages_per_s(self) -> float:
        """Page writes a second."""
        return self.pages * self.sweeps_per_s


@dataclass(frozen=True)
class Classes:
    """A fitted guest's writes. pages: (pages, writes per second to one of them) of each class; sweep: None without one.

    expected: float64[points], newly dirty pages a round; misfit: sum of squares of (found - expected) / error.
    """

    pages: tuple[tuple[float, float], ...]
    sweep: Sweep | None
    expected: Array
    misfit: float

    def curve(self) -> DirtyCurve:
        """The mean dirty curve D(t) of the guest at full speed, its log cleared as a whole."""
        drawn = DirtyCurve.from_classes(PageClasses.of(list(self.pages)))
        if self.sweep is None:
            return drawn
        sweep = DirtyCurve.sequential(max(1, round(self.sweep.pages)), self.sweep.rate_pages_per_s)
        return sweep.plus(drawn) if self.pages else sweep

    @property
    def written_pages(self) -> float:
        """Pages that the guest writes at all: its working set as far as the log shows it."""
        return sum(n for n, _ in self.pages) + (self.sweep.pages if self.sweep else 0.0)

    @property
    def writes_per_s(self) -> float:
        """Page writes a second."""
        return sum(n * rate for n, rate in self.pages) + (self.sweep.rate_pages_per_s if self.sweep else 0.0)

    def criterion(self, points: int) -> float:
        """Schwarz's criterion: the misfit, and ln(points) for each number that was fitted."""
        numbers = 2 * len(self.pages) + (2 if self.sweep else 0)
        return self.misfit + numbers * float(np.log(max(points, 3)))


def rate_grid(points: Sequence[Point]) -> Array:
    """Rates [1/s] of a page: from one that even the longest round seldom finds dirty to one that every round finds dirty."""
    lengths = [point.t_s for point in points]
    low, high = SLOWEST / max(lengths), FASTEST / min(lengths)
    return np.geomspace(low, high, int(np.log10(high / low) * RATES_PER_DECADE) + 2)


def sweep_grid(points: Sequence[Point]) -> Array:
    """Sweeps a second that are tried."""
    lengths = [point.t_s for point in points]
    low, high = 0.1 / max(lengths), 3.0 / min(lengths)
    return np.geomspace(low, high, int(np.log10(high / low) * SWEEPS_PER_DECADE) + 2)


@dataclass(frozen=True, eq=False)
class Problem:
    """Points, the grid of rates, and the columns that belong to them.

    ram_pages: all classes together have no more. speed: share of its work that the guest does in a round.
    """

    points: Sequence[Point]
    ram_pages: float
    rates: Array
    speed: Speed = full_speed
    drawn: Array = field(init=False)
    found: Array = field(init=False)
    off: Array = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "drawn", written_independently(self.points, self.rates, self.speed))
        object.__setattr__(self, "found", np.array([p.found_pages for p in self.points]))
        object.__setattr__(self, "off", np.array([p.off_pages for p in self.points]))

    def fitted(self, found: Array | None = None, scale: Array | None = None, shape: Shape = "fewest") -> Classes:
        """The classes nearest to ``found`` (default: of the points), each point weighted by ``scale`` over its error."""
        target = _Target(
            self.found if found is None else found, self.off, np.ones_like(self.off) if scale is None else scale
        )
        if shape == "many":
            return self._full(target)
        return self._steepest(target) if shape == "steep" else self._fewest(target, shape)

    def _fewest(self, target: _Target, shape: Shape) -> Classes:
        """The fewest classes that the points do not contradict."""
        n = len(self.points)
        best = min((self._one(target), self._two(target), self._full(target)), key=lambda classes: classes.criterion(n))
        best = min((best, self._finer(target, best)), key=lambda classes: classes.criterion(n))
        gain, least, slack = (-SWEEP_GAIN, 2, MOVED_MISFIT) if shape == "sweep" else (SWEEP_GAIN, 3, 0.0)
        swept_best = self._swept(target, slack) if n >= least else None
        return swept_best if swept_best and swept_best.criterion(n) + gain < best.criterion(n) else best

    def _finer(self, target: _Target, coarse: Classes) -> Classes:
        """``coarse`` with rates from a grid of their own, between their neighbours on the coarse one."""
        if not 1 <= len(coarse.pages) <= 2:
            return coarse
        step = 10 ** (1 / RATES_PER_DECADE)
        around = np.geomspace(1 / step, step, FINER)
        rates = np.unique(np.concatenate([rate * around for _, rate in coarse.pages]))
        finer = Problem(self.points, self.ram_pages, rates, self.speed)
        return finer._one(target) if len(coarse.pages) == 1 else finer._two(target)

    def at_once(self) -> Classes:
        """One class, of which each page is written again at once, as far as the grid of rates goes."""
        target = _Target(self.found, self.off, np.ones_like(self.off))
        counts, _ = _best_single(target.weighted(self.drawn[:, -1:]), target.wanted, self.ram_pages)
        pages = ((float(counts[0]), float(self.rates[-1])),)
        return self._classes(target, pages, None, self.drawn[:, -1] * counts[0])

    def _full(self, target: _Target) -> Classes:
        return self._of_counts(target, self._counts(target))

    def _of_counts(self, target: _Target, counts: Array) -> Classes:
        return self._classes(target, _merged(counts, self.rates), None, self.drawn @ counts)

    def _counts(self, target: _Target, hot_pages: float = 0.0) -> Array:
        """float64[rates], pages of each rate by least squares: ``hot_pages`` of the fastest at least, ram_pages at most."""
        total = max(TOTAL_WEIGHT, TOTAL_TIMES * float(target.wanted.max(initial=0.0)))
        cap = total / self.ram_pages
        unwritten = np.append(np.zeros(len(target.found)), cap)
        columns = target.weighted(self.drawn)
        matrix = np.column_stack([np.vstack([columns, np.full(columns.shape[1], cap)]), unwritten])
        left = np.append(target.wanted, total) - hot_pages * matrix[:, -2]
        counts = nonneg_least_squares(matrix, left)[:-1]
        counts[-1] += hot_pages
        return counts

    def _steepest(self, target: _Target) -> Classes:
        """The guest with the most pages of the fastest rate that the points allow.

        No point holds the curve before the shortest round, so pages that are dirty again at once are known only as far as
        the other rounds leave room for them. The misfit is convex in their number.
        """
        counts = self._counts(target)
        low, high = float(counts[-1]), self.ram_pages
        allowed = self._of_counts(target, counts).misfit + MOVED_MISFIT
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            tried = self._counts(target, middle)
            if self._of_counts(target, tried).misfit <= allowed:
                low, counts = middle, tried
            else:
                high = middle
        return self._with_at_once(target, counts)

    def _with_at_once(self, target: _Target, counts: Array) -> Classes:
        """The classes of ``counts``, those of the fastest rate written at AT_ONCE_PER_S: no round is so short."""
        hot, rate = float(counts[-1]), max(float(self.rates[-1]), AT_ONCE_PER_S)
        slower = _merged(np.append(counts[:-1], 0.0), self.rates)
        pages = (*slower, (hot, rate)) if hot >= PAGES_MIN else slower
        return self._classes(target, pages, None, self.drawn @ counts)

    def _one(self, target: _Target) -> Classes:
        counts, misfit = _best_single(target.weighted(self.drawn), target.wanted, self.ram_pages)
        i = int(np.argmin(misfit))
        return self._classes(target, ((float(counts[i]), float(self.rates[i])),), None, self.drawn[:, i] * counts[i])

    def _two(self, target: _Target) -> Classes:
        i, j, pages = _best_pair(target.weighted(self.drawn), target.weighted(self.drawn), target.wanted, self.ram_pages)
        both = tuple((float(n), float(self.rates[k])) for n, k in zip(pages, (i, j), strict=True) if n >= PAGES_MIN)
        return self._classes(target, both, None, self.drawn[:, [i, j]] @ pages)

    def _swept(self, target: _Target, slack: float) -> Classes:
        """A sweep alone, the slowest within ``slack`` of the least misfit, or a sweep and one class."""
        tried = sweep_grid(self.points)
        columns = swept(self.points, tried, self.speed)
        counts, misfit = _best_single(target.weighted(columns), target.wanted, self.ram_pages)
        k = int(np.flatnonzero(misfit <= misfit.min() + slack)[0])
        alone = self._classes(target, (), Sweep(float(counts[k]), float(tried[k])), columns[:, k] * counts[k])
        i, j, pages = _best_pair(target.weighted(columns), target.weighted(self.drawn), target.wanted, self.ram_pages)
        expected = columns[:, i] * pages[0] + self.drawn[:, j] * pages[1]
        drawn = ((float(pages[1]), float(self.rates[j])),) if pages[1] >= PAGES_MIN else ()
        mixed = self._classes(target, drawn, Sweep(float(pages[0]), float(tried[i])), expected)
        return min((alone, mixed), key=lambda classes: classes.criterion(len(self.points)))

    def _classes(
        self, target: _Target, pages: tuple[tuple[float, float], ...], sweep: Sweep | None, expected: Array
    ) -> Classes:
        return Classes(pages, sweep, expected, float(np.sum(((target.found - expected) * target.scale / target.off) ** 2)))


@dataclass(frozen=True, eq=False)
class _Target:
    found: Array
    off: Array
    scale: Array

    @property
    def wanted(self) -> Array:
        return self.found * self.scale / self.off

    def weighted(self, columns: Array) -> Array:
        return np.asarray(columns * (self.scale / self.off)[:, None], np.float64)


def _best_single(columns: Array, wanted: Array, most: float) -> tuple[Array, Array]:
    """(pages, misfit) of each column alone, at least 0 and at most ``most`` pages."""
    pages = np.clip(wanted @ columns / np.maximum(np.sum(columns**2, axis=0), 1e-300), 0.0, most)
    return pages, np.sum((wanted[:, None] - columns * pages) ** 2, axis=0)


def _best_pair(first: Array, second: Array, wanted: Array, most: float) -> tuple[int, int, Array]:
    """(column of ``first``, of ``second``, pages of both) of least misfit: none negative, together ``most`` at most."""
    a, b, c = np.sum(first**2, axis=0)[:, None], np.sum(second**2, axis=0)[None, :], first.T @ second
    u, v = (first.T @ wanted)[:, None], (second.T @ wanted)[None, :]
    determinant = a * b - c * c
    usable = determinant > 1e-9 * a * b
    safe = np.where(usable, determinant, 1.0)
    x, y = (b * u - c * v) / safe, (a * v - c * u) / safe
    usable &= (x >= 0) & (y >= 0) & (x + y <= most)
    misfit = np.where(usable, wanted @ wanted - x * u - y * v, np.inf)
    i, j = (int(k) for k in np.unravel_index(int(np.argmin(misfit)), misfit.shape))
    if not np.isfinite(misfit[i, j]):
        pages, alone = _best_single(first, wanted, most)
        best = int(np.argmin(alone))
        return best, 0, np.array([pages[best], 0.0])
    return i, j, np.array([x[i, j], y[i, j]])


def _merged(counts: Array, rates: Array) -> tuple[tuple[float, float], ...]:
    """Neighbours on the grid stand for one rate between them and become one class."""
    groups = np.split(np.arange(len(rates)), np.flatnonzero(counts < PAGES_MIN))
    used = [group[counts[group] >= PAGES_MIN] for group in groups]
    return tuple((float(counts[g].sum()), float(counts[g] @ rates[g] / counts[g].sum())) for g in used if len(g))
