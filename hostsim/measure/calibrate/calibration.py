"""A calibration: measurements of this machine, made into numbers of a cost sheet with their sources."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hostsim.core.errors import InputError, Problem
from hostsim.costs.costs import CostSheet, load_costs, sheet_names
from hostsim.costs.era import unknown_name
from hostsim.measure.calibrate.levels import (
    AGREE,
    OWN_AGREE,
    Curve,
    Plateau,
    agrees,
    knees,
    matched,
    plateaus,
    plateaus_at,
    rounded,
)
from hostsim.measure.calibrate.machine import MachineFacts, read_machine
from hostsim.measure.calibrate.measure import KIB, MIB, Timing, effort, is_compiled, measure_all, warm_up
from hostsim.measure.calibrate.sample import Sample, joined

CACHES = ("l1", "l2", "llc")
LARGEST_LEAST_BYTES, LARGEST_MOST_BYTES = 256 * MIB, 1024 * MIB
"""Footprints go this far at least and at most; between, to four times the largest cache that is reported."""
SHARE_OF_MEMORY = 4
"""The largest footprint is at most one part in so many of the available memory."""
LOW, LOW_OF_SHARED = (0.25, "lower quartile"), (0.1, "lower tenth")
"""The quantile of the repetitions that becomes a number, with its words. Others on the machine lengthen timings: it is a low
quantile. Loads of a shared cache become loads of memory while others use the cache, ten times as long: there the
quantile is lower.
"""
NOISY = 0.5
"""A spread above this is worth a word."""

Progress = Callable[[str, int, int], None]
"""Called with (next measurement, measurements done, measurements in all)."""


@dataclass(frozen=True)
class Measured:
    """One number of the sheet. spread: middle half of the repetitions as share of the median, None for a size."""

    name: str
    value: float
    source: str
    repetitions: int
    spread: float | None


@dataclass(frozen=True)
class Calibration:
    """Numbers for a cost sheet.

    numbers: measured, in the order of the sheet; all others are those of the sheet ``base``.
    through_kvm: names of the numbers measured through /dev/kvm; notes: lines on the method and on numbers not measured.
    """

    machine: MachineFacts
    date: str
    base: str
    pml: bool
    curve: Curve
    levels: tuple[Plateau, ...]
    numbers: tuple[Measured, ...]
    notes: tuple[str, ...] = ()
    through_kvm: tuple[str, ...] = ()

    @property
    def unseen(self) -> tuple[str, ...]:
        """Levels of memory that did not stand out of the curve: their latencies are assumed."""
        return tuple(name for name in (*CACHES, "dram") if f"{name}_ns" not in {number.name for number in self.numbers})

    @property
    def noisy(self) -> tuple[str, ...]:
        """Names of numbers whose repetitions differ by more than NOISY."""
        return tuple(n.name for n in self.numbers if n.spread is not None and n.spread > NOISY)


def check_options(base: str) -> None:
    """InputError if there is no sheet ``base``, or nothing that could be measured."""
    if base not in sheet_names():
        raise unknown_name("--base", base, sheet_names())
    if not is_compiled():
        wanted = "compiled loops: plain Python would measure itself"
        raise InputError([Problem("", "NUMBA_DISABLE_JIT", "set", wanted, "unset NUMBA_DISABLE_JIT")])


def calibrate(base: str = "cascade-lake", *, quick: bool = False, progress: Progress | None = None) -> Calibration:
    """Measure this machine. InputError as ``check_options``; MemoryError if there is no memory to measure.

    base: sheet whose numbers stay where nothing is measured.
    quick: fewer repetitions.
    progress: called with (step, steps done, steps in all).
    """
    check_options(base)
    machine, sheet = read_machine(), load_costs(base)
    plan = effort(largest_bytes(machine), quick=quick)
    done = 0

    def report(what: str) -> None:
        nonlocal done
        if progress:
            progress(what, done, plan.steps)
        done += 1

    report("compiling")
    warm_up()
    found = measure_all(plan, report)
    curve, samples, huge = found.curve, found.loads, found.huge
    levels = found_levels(curve, machine.cache_bytes)
    date = time.strftime("%Y-%m-%d")
    maker = _NumberMaker(f"measured on {machine.title}, {date}", huge)
    numbers = [*maker.levels(curve, levels, samples, machine.cache_bytes, sheet)]
    numbers += [number for timing in found.timings if (number := maker.timing(timing))]
    pml = sheet.has_pml if machine.has_pml is None else machine.has_pml
    return Calibration(machine, date, base, pml, curve, tuple(levels), tuple(numbers))


def found_levels(curve: Curve, cache_bytes: Sequence[int]) -> list[Plateau]:
    """Levels at the sizes of the reported caches; where knees contradict those, levels that stand out in ``curve``.

    The last cache is not compared: other CPUs may use a share of it. Where fewer caches are reported than there usually are,
    levels that stand out come first.
    """
    at_sizes, standing_out = plateaus_at(curve, cache_bytes), plateaus(curve)
    if len(cache_bytes) >= len(CACHES):
        return at_sizes if at_sizes and _agree(curve, at_sizes, cache_bytes) else standing_out
    if len(standing_out) > len(cache_bytes) and _agree(curve, standing_out, cache_bytes):
        return standing_out
    return at_sizes or standing_out


def _agree(curve: Curve, levels: Sequence[Plateau], cache_bytes: Sequence[int]) -> bool:
    """Whether the knees between ``levels`` are at the own caches of a processor."""
    own = zip(knees(curve, levels), cache_bytes[:-1], strict=False)
    return all(agrees(knee, size, OWN_AGREE) for knee, size in own)


def beyond_caches(curve: Curve, last: Plateau) -> Plateau:
    """The last octave of the last level: fewer of its loads still find their line in a cache than nearer to the knee."""
    octave = int(np.searchsorted(curve.footprint_bytes, curve.footprint_bytes[-1] / 2))
    first = max(last.first, octave)
    return Plateau(first, last.end, float(np.median(curve.ns[first : last.end])))


def largest_bytes(machine: MachineFacts) -> int:
    """The largest footprint: well beyond every cache, but only a part of the memory there is."""
    wanted = max(LARGEST_LEAST_BYTES, min(LARGEST_MOST_BYTES, 4 * max(machine.cache_bytes, default=0)))
    if machine.available_bytes is None:
        return wanted
    return max(8 * MIB, min(wanted, machine.available_bytes // SHARE_OF_MEMORY))


@dataclass(frozen=True)
class _NumberMaker:
    """Makes numbers with their sources; ``measured``: words for machine and date."""

    measured: str
    huge: bool

    def timing(self, timing: Timing) -> Measured | None:
        """The number of ``timing``; None if it could not be measured."""
        return self._number(timing.name, timing.sample, timing.what) if timing.sample else None

    def levels(
        self, curve: Curve, found: Sequence[Plateau], samples: Sequence[Sample], reported: Sequence[int], base: CostSheet
    ) -> list[Measured]:
        """Latencies of the levels that stand out, then sizes of the caches that end in a knee or are reported."""
        told = [*reported[:2], reported[-1]] if len(reported) >= len(CACHES) else [None] * len(CACHES)
        expected = [size or guess for size, guess in zip(told, (base.l1_bytes, base.l2_bytes, base.llc_bytes), strict=True)]
        where = knees(curve, found)
        match = matched(where, expected)
        caches = zip(CACHES, match, told, strict=True)
        sizes = [self._size(name, None if at is None else where[at], size) for name, at, size in caches]
        at_level = {name: at for name, at in zip(CACHES, match, strict=True) if at is not None}
        latencies = [self._latency(name, found[at], curve, samples) for name, at in at_level.items()]
        if len(found) > 1:
            latencies.append(self._latency("dram", beyond_caches(curve, found[-1]), curve, samples))
        return [*latencies, *(size for size in sizes if size)]

    def _latency(self, name: str, level: Plateau, curve: Curve, samples: Sequence[Sample]) -> Measured:
        low, high = (int(curve.footprint_bytes[at]) // KIB for at in (level.first, level.end - 1))
        pages = "2 MiB pages" if self.huge else "4 KiB pages, so page walks are in it"
        what = f"a load that waits for the one before, random in {low} to {high} KiB, {pages}"
        share, which = LOW_OF_SHARED if name == CACHES[-1] else LOW
        return self._number(f"{name}_ns", joined(list(samples[level.first : level.end])), what, share, which)

    def _number(self, name: str, sample: Sample, what: str, share: float = LOW[0], which: str = LOW[1]) -> Measured:
        source = f"{self.measured}, {which} of {len(sample.ns)}, spread {sample.spread:.1%}: {what}"
        return Measured(name, float(f"{np.quantile(sample.ns, share):.4g}"), source, len(sample.ns), round(sample.spread, 4))

    def _size(self, cache: str, knee: float | None, reported: int | None) -> Measured | None:
        name = f"{cache}_bytes"
        if knee is None:
            told = "reported by the kernel; no knee of the latencies there"
            return Measured(name, reported, f"{told} ({self.measured})", 0, None) if reported else None
        at, is_shared = f"knee of the latencies at {knee / KIB:.0f} KiB", cache == CACHES[-1]
        if reported and agrees(knee, reported, AGREE if is_shared else OWN_AGREE):
            return Measured(name, reported, f"reported by the kernel; {at} ({self.measured})", 1, None)
        also = f"; the kernel reports {reported // KIB} KiB" if reported else ""
        if is_shared:
            also = f", as a power of two: what others leave of a shared cache changes{also}"
        return Measured(name, rounded(knee) if is_shared else round(knee), f"{self.measured}: {at}{also}", 1, None)
