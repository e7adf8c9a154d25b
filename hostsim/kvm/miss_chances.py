"""Chances that touches miss the TLB of their vCPU, by touch class and page, from the translations that each vCPU uses."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hostsim.guest import touch
from hostsim.guest.workload import Guest
from hostsim.kvm.tlb import Floats, TlbReach, Translations, characteristic_ns, seen_chance, unused_chance
from hostsim.spte_index.spte import REGION_PAGES

CHUNK_PAGES = 1 << 18
"""Pages of one chunk, whose arrays are computed together."""
BINS_AN_OCTAVE = 256
"""Translations whose rates differ by less than 0.3 % form one kind."""
LEAST_PER_NS = 1e-30
"""Lower rates count as this rate: one use in 10^13 years."""
SMALL, LARGE, GIANT = range(3)
Kind = tuple[float, int]
"""(gap [ns], logarithm of the rate in whole bins)."""

# Model limit: an entry of the TLB covers the pages of its spte: the guest's own page table has pages at least as large.
# Model limit: TLBs are in their steady state: neither a flush before ageing nor the guest's own shortens an entry's life.
# Model limit: each access is seen by itself, with a share that makes the mean time to the first one right. Scans that come
# after one life of an entry find up to 7 % of all pages fewer than here; after 3 lives, and beyond, 2 % more or fewer.
# Model limit: chances to miss are those inside the active windows of a workload, as if it were active all the time.


@dataclass(frozen=True)
class Mapped:
    """Sizes of a VM's mappings.

    level: uint8[n_regions], as in Sptes.
    block: regions that an spte of level 2 maps.
    """

    level: NDArray[np.uint8]
    block: int

    @property
    def chunk_regions(self) -> int:
        """Regions of a chunk; no spte spans two chunks."""
        return self.block * max(1, CHUNK_PAGES // REGION_PAGES // self.block)


@dataclass(frozen=True)
class Use:
    """Use of the translations of pages [first, end), n = end - first.

    per_ns, gap_ns: float64[n], as in ``Translations``.
    counts: bool[n], the one page that represents its translation.
    size: uint8[n], level of the spte.
    """

    per_ns: Floats
    gap_ns: Floats
    counts: NDArray[np.bool_]
    size: NDArray[np.uint8]


def sweep_gap_ns(row: NDArray[np.int64]) -> float:
    """Time between two visits of a sweep to a page."""
    return float(row[touch.CYCLE]) * float(row[touch.RATE_DEN]) / float(row[touch.RATE_NUM])


def trace_gap_ns(guest: Guest, c: int) -> float:
    """Mean time [ns] between touches of one page of class ``c`` of ``guest``, a trace; its pages are taken as alike."""
    row = guest.table.ints[c]
    bounds = guest.table.trace_index[row[touch.DATA_OFFSET] :][: row[touch.N_PAGES] + 1]
    times = guest.table.trace_ns[bounds[0] : bounds[-1]]
    return float(max(1, times.max()) * row[touch.N_PAGES] / len(times))


def class_per_ns(guest: Guest, c: int, low: int, high: int) -> Floats:
    """float64[high - low]: touches of gfns [low, high), all of class ``c``, a nanosecond by one of its vCPUs."""
    row, table = guest.table.ints[c], guest.table
    kind, first = row[touch.KIND], int(row[touch.FIRST_GFN])
    if kind == touch.WEIGHTED:
        return 1.0 / table.page_mean_ns[row[touch.DATA_OFFSET] + low - first :][: high - low]
    if kind == touch.PACED:
        hot, n_pages, share = int(row[touch.HOT_PAGES]), int(row[touch.N_PAGES]), float(table.mean_ns[c])
        each = (share / max(1, hot), (1.0 - share) / max(1, n_pages - hot))
        rate = float(row[touch.RATE_NUM]) / float(row[touch.RATE_DEN])
        return np.where(np.arange(low - first, high - first) < hot, *each) * rate
    mean_ns = trace_gap_ns(guest, c) if kind == touch.TRACE else float(table.mean_ns[c])
    return np.full(high - low, 1.0 / mean_ns)


def use_of(guest: Guest, classes: tuple[int, ...], mapped: Mapped, first: int, end: int) -> Use:
    """Use of pages [first, end), which is a chunk or the end of memory, by a vCPU that makes the touches of ``classes``."""
    per_ns, gap_ns, large_gap_ns = np.zeros(end - first), np.full(end - first, np.inf), np.full(end - first, np.inf)
    for c in classes:
        row = guest.table.ints[c]
        low = max(first, int(row[touch.FIRST_GFN]))
        high = min(end, int(row[touch.FIRST_GFN] + row[touch.N_PAGES]))
        if low >= high:
            continue
        if row[touch.KIND] != touch.SWEEP:
            per_ns[low - first : high - first] += class_per_ns(guest, c, low, high)
            continue
        gap, step = sweep_gap_ns(row), int(row[touch.STRIDE_GCD])
        own = slice((int(row[touch.FIRST_GFN] + row[touch.START_PAGE]) - low) % step + low - first, high - first, step)
        gap_ns[own] = np.minimum(gap_ns[own], gap)
        visits = 1 if row[touch.STRIDE] < REGION_PAGES else max(1, REGION_PAGES // step)
        large_gap_ns[own] = np.minimum(large_gap_ns[own], gap / visits)
    return _by_translation(per_ns, gap_ns, large_gap_ns, mapped, first)


def _by_translation(per_ns: Floats, gap_ns: Floats, large_gap_ns: Floats, mapped: Mapped, first: int) -> Use:
    """Pages of one large spte share a translation."""
    n = len(per_ns)
    size = np.repeat(mapped.level[first // REGION_PAGES :][: -(-n // REGION_PAGES)], REGION_PAGES)[:n]
    counts = np.ones(n, np.bool_)
    for level, pages in ((LARGE, REGION_PAGES), (GIANT, REGION_PAGES * mapped.block)):
        own = size == level
        if own.any():
            starts = np.arange(0, n, pages)
            lengths = np.diff([*starts.tolist(), n])
            per_ns = np.where(own, np.repeat(np.add.reduceat(per_ns, starts), lengths), per_ns)
            gap_ns = np.where(own, np.repeat(np.minimum.reduceat(large_gap_ns, starts), lengths), gap_ns)
            counts &= ~own | (np.arange(n) % pages == 0)
    return Use(per_ns, gap_ns, counts & ((per_ns > 0.0) | np.isfinite(gap_ns)), size)


def chunks(mapped: Mapped, low: int, high: int) -> Iterator[tuple[int, int]]:
    """(first, end) of all chunks that overlap pages [low, high)."""
    size, n_pages = mapped.chunk_regions * REGION_PAGES, len(mapped.level) * REGION_PAGES
    for first in range(low - low % size, high, size):
        yield first, min(first + size, n_pages)


def lives_ns(guest: Guest, classes: tuple[int, ...], mapped: Mapped, reach: TlbReach) -> tuple[float, float]:
    """(characteristic time of the TLB entries for 4 KiB and 2 MiB sptes, of those for 1 GiB) of one vCPU [ns].

    guest: the work; classes: the touch classes that the vCPU runs.
    mapped: levels of the sptes of its memory.
    reach: entries of the TLB.
    """
    found: list[Counter[Kind]] = [Counter(), Counter()]
    sums: list[defaultdict[Kind, float]] = [defaultdict(float), defaultdict(float)]
    rows = guest.table.ints[list(classes)]
    low, high = int(rows[:, touch.FIRST_GFN].min()), int((rows[:, touch.FIRST_GFN] + rows[:, touch.N_PAGES]).max())
    for first, end in chunks(mapped, low, high):
        use = use_of(guest, classes, mapped, first, end)
        for giant in (False, True):
            own = use.counts & ((use.size == GIANT) == giant)
            _sort(use.per_ns[own], use.gap_ns[own], found[giant], sums[giant])
    both = [_kinds(*pair) for pair in zip(found, sums, strict=True)]
    return characteristic_ns(both[0], reach.entries), characteristic_ns(both[1], reach.giants)


def _sort(per_ns: Floats, gap_ns: Floats, found: Counter[Kind], sums: defaultdict[Kind, float]) -> None:
    """Count translations, and sum their rates, by (gap, logarithm of the rate in whole bins). In place."""
    if len(per_ns) == 0:
        return
    for gap in gap_ns[:1].tolist() if gap_ns.min() == gap_ns.max() else np.unique(gap_ns).tolist():
        own = per_ns[gap_ns == gap]
        bins = np.floor(np.log2(np.maximum(own, LEAST_PER_NS)) * BINS_AN_OCTAVE).astype(np.int64)
        lowest = int(bins.min())
        numbers, rates = np.bincount(bins - lowest), np.bincount(bins - lowest, weights=own)
        for at in np.flatnonzero(numbers).tolist():
            found[gap, lowest + at] += int(numbers[at])
            sums[gap, lowest + at] += float(rates[at])


def _kinds(found: Counter[Kind], sums: defaultdict[Kind, float]) -> Translations:
    keys = sorted(found)
    count = np.array([found[key] for key in keys], np.float64)
    per_ns = np.array([sums[key] for key in keys], np.float64) / np.maximum(count, 1.0)
    return Translations(per_ns, np.array([gap for gap, _ in keys], np.float64), count)


class MissChances:
    """Chances to miss of all touch classes of a guest, under the present mappings of its memory."""

    def __init__(self, guest: Guest, mapped: Mapped, reach: TlbReach) -> None:
        self._guest, self._mapped = guest, mapped
        ints = guest.table.ints
        self._vcpus = [
            guest.clock_vcpu[int(row[touch.CLOCK_FIRST]) :][: int(row[touch.CLOCK_COUNT])].tolist() for row in ints
        ]
        of_vcpu = {v: tuple(c for c, own in enumerate(self._vcpus) if v in own) for own in self._vcpus for v in own}
        self._classes = of_vcpu
        self._lives = {classes: lives_ns(guest, classes, mapped, reach) for classes in dict.fromkeys(of_vcpu.values())}

    def life_ns(self, vcpu: int, *, giant: bool = False) -> float:
        """Characteristic time [ns] of the TLB of ``vcpu``, which has at least one touch class."""
        return self._lives[self._classes[vcpu]][giant]

    def of(self, c: int) -> Iterator[Floats]:
        """By gfn, chunk after chunk: the chance of a touch of class ``c``, the mean of its vCPUs."""
        row = self._guest.table.ints[c]
        first, end = int(row[touch.FIRST_GFN]), int(row[touch.FIRST_GFN] + row[touch.N_PAGES])
        sets = Counter(self._classes[vcpu] for vcpu in self._vcpus[c])
        for low, high in chunks(self._mapped, first, end):
            total = np.zeros(high - low)
            for classes, vcpus in sorted(sets.items()):
                total += vcpus * self._by_one(c, classes, low, high)
            yield total[max(0, first - low) : end - low] / sets.total()

    def _by_one(self, c: int, classes: tuple[int, ...], low: int, high: int) -> Floats:
        kind = self._guest.table.ints[c, touch.KIND]
        life_ns, giant_ns = self._lives[classes]
        if kind == touch.TRACE:
            # Model limit: a trace always hits the TLB if all translations of its vCPU fit, else never.
            return np.full(high - low, float(np.isfinite(life_ns)))
        use = use_of(self._guest, classes, self._mapped, low, high)
        chance = np.where(
            use.size == GIANT,
            seen_chance(use.per_ns, use.gap_ns, giant_ns), seen_chance(use.per_ns, use.gap_ns, life_ns),
        )  # fmt: skip
        if kind != touch.SWEEP:
            return chance
        # Model limit: a sweep misses the TLB at all of its visits or at none of them, whichever is more likely.
        alone = np.full(high - low, np.inf)
        beside = np.where(
            use.size == GIANT, unused_chance(use.per_ns, alone, giant_ns), unused_chance(use.per_ns, alone, life_ns)
        )
        gap_ns = np.minimum(use.gap_ns, sweep_gap_ns(self._guest.table.ints[c]))
        return ((gap_ns > np.where(use.size == GIANT, giant_ns, life_ns)) & (beside > 0.5)).astype(np.float64)
