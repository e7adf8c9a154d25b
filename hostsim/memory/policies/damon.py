"""DAMON: regions of adjacent pages, each sampled by one page; similar regions are merged, then all are split again.

Source: Linux 6.13, mm/damon/core.c::kdamond_fn, ::damon_merge_regions_of, ::kdamond_split_regions, ::damon_split_region_at;
mm/damon/vaddr.c::damon_va_prepare_access_checks, ::damon_va_check_accesses; mm/damon/ops-common.c::damon_ptep_mkold.
Bounds are its defaults; the caller of ``age`` keeps the sampling interval.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.core.rng import keyed_uniform, stream_key
from hostsim.memory.policies.protocol import NO_PAGES, Pages, Scan, Young
from hostsim.memory.policies.registry import SAMPLES_A_PERIOD

MIN_NR_REGIONS, MAX_NR_REGIONS = 10, 1000
MERGE_SHARE = 10
"""Regions whose counts differ by no more than a tenth of the greatest possible are alike."""
PICK, SPLIT = range(2)


class Damon:
    """Regions of one VM; a call of ``age`` is a sample, and SAMPLES_A_PERIOD samples are an aggregation.

    A sample tests the pages picked by the previous sample, then picks a page of each region and clears its accessed bit. An
    aggregation ends with merging and splitting regions.
    starts: int64[r + 1], first gfn of each region; the last entry is n_pages.
    accesses: int64[r], young samples of this aggregation; last: of the previous one.
    age_of: int64[r], aggregations for which the region has kept about this access count.
    """

    name = "damon"

    def __init__(self, n_pages: int, seed: int = 1) -> None:
        n_regions = min(MIN_NR_REGIONS, n_pages)
        self._n_pages, self._key = n_pages, stream_key(seed, "damon")
        self.starts = np.linspace(0, n_pages, n_regions + 1).astype(np.int64)
        self.accesses, self.last, self.age_of = (np.zeros(n_regions, np.int64) for _ in range(3))
        self._resident = np.zeros(n_pages, np.bool_)
        self._picked = NO_PAGES
        self._samples = self._last_regions = 0

    def insert(self, pages: Pages) -> None:
        """See AgeingPolicy; regions cover all of memory, resident or not."""
        assert not self._resident[pages].any()
        self._resident[pages] = True

    def wants_ageing(self) -> bool:
        """False: the daemon samples periodically, reclaim does not."""
        return False

    def age(self, young: Young) -> Scan:
        """One sample: mmu_notifier_test_young of each page picked before, then mmu_notifier_clear_young of each new one.

        A page that is not resident has no mapping, so no notifier is called for it.
        """
        tested = self._picked[self._resident[self._picked]]
        if len(self._picked):
            self.accesses += young[self._picked] != 0
            self._samples += 1
            if self._samples % SAMPLES_A_PERIOD == 0:
                self._aggregate()
        sizes = np.diff(self.starts)
        self._picked = self.starts[:-1] + (self._uniforms(PICK) * sizes).astype(np.int64)
        asked = self._picked[self._resident[self._picked]]
        young[asked] = 0
        return Scan(asked, NO_PAGES, tested)

    def evict(self, young: Young, nr_pages: int) -> Scan:  # noqa: ARG002  # eviction tests no page
        """Evict pages of regions without a young sample, regions of the greatest age first (DAMOS_PAGEOUT)."""
        cold = self._cold()
        found: list[int] = []
        for region in cold[np.argsort(-self.age_of[cold], kind="stable")].tolist():
            first, end = self.starts[region], self.starts[region + 1]
            found += (first + np.flatnonzero(self._resident[first:end])).tolist()[: nr_pages - len(found)]
        evicted = np.array(found[:nr_pages], np.int64)
        self._resident[evicted] = False
        return Scan(NO_PAGES, evicted)

    def resident_pages(self) -> Pages:
        """See AgeingPolicy."""
        return np.flatnonzero(self._resident)

    def held_in_use(self) -> Pages:
        """Resident pages of regions that were young in some sample of the last aggregation."""
        return np.flatnonzero(np.repeat(self.last > 0, np.diff(self.starts)) & self._resident)

    def _cold(self) -> NDArray[np.int64]:
        """int64[k], regions whose pages may be evicted."""
        return np.flatnonzero(self.last == 0)

    def _uniforms(self, purpose: int) -> NDArray[np.float64]:
        """float64[r], uniform draws keyed by sample, region and purpose."""
        key0, key1 = self._key
        return np.array([keyed_uniform(key0, key1, self._samples, 2 * r + purpose) for r in range(len(self.starts) - 1)])

    def _aggregate(self) -> None:
        threshold = max(1, SAMPLES_A_PERIOD // MERGE_SHARE)
        self.age_of = np.where(np.abs(self.accesses - self.last) > threshold, 0, self.age_of + 1)
        self._merge(threshold)
        self.last, self.accesses = self.accesses, np.zeros_like(self.accesses)
        self._split()

    def _merge(self, threshold: int) -> None:
        """Merge similar neighbours, counts averaged by size, up to a size that leaves about MIN_NR_REGIONS regions."""
        most = max(1, self._n_pages // MIN_NR_REGIONS)
        starts, counts, ages = [0], [int(self.accesses[0])], [int(self.age_of[0])]
        for region in range(1, len(self.accesses)):
            first, end = int(self.starts[region]), int(self.starts[region + 1])
            count, age, size = int(self.accesses[region]), int(self.age_of[region]), first - starts[-1]
            if abs(count - counts[-1]) <= threshold and end - starts[-1] <= most:
                whole = end - starts[-1]
                counts[-1] = (counts[-1] * size + count * (end - first)) // whole
                ages[-1] = (ages[-1] * size + age * (end - first)) // whole
                continue
            starts.append(first)
            counts.append(count)
            ages.append(age)
        self.starts = np.array([*starts, self._n_pages], np.int64)
        self.accesses, self.age_of = np.array(counts, np.int64), np.array(ages, np.int64)

    def _split(self) -> None:
        """Split each region in two at a drawn tenth of its size; in three if merging left their number unchanged."""
        n_regions = len(self.accesses)
        parts = 3 if n_regions == self._last_regions and n_regions < MAX_NR_REGIONS // 3 else 2
        self._last_regions = n_regions
        if n_regions > MAX_NR_REGIONS // 2:
            return
        for _ in range(parts - 1):
            self._split_once()

    def _split_once(self) -> None:
        sizes = np.diff(self.starts)
        cuts = (1 + (self._uniforms(SPLIT) * 9).astype(np.int64)) * sizes // 10
        cut = (cuts > 0) & (cuts < sizes)
        where = np.flatnonzero(cut)
        self.starts = np.sort(np.concatenate([self.starts, self.starts[where] + cuts[where]]))
        copies = np.where(cut, 2, 1)
        self.accesses, self.last, self.age_of = (np.repeat(a, copies) for a in (self.accesses, self.last, self.age_of))


class ColdDamon(Damon):
    """DAMON for proactive reclaim: a region without a young sample for ``cold_scans`` aggregations is cold.

    Source: mm/damon/reclaim.c, min_age; mm/damon/core.c::damos_valid_target.
    """

    def __init__(self, n_pages: int, seed: int = 1, cold_scans: int = 1) -> None:
        super().__init__(n_pages, seed)
        self._cold_scans = cold_scans

    def cold_pages(self) -> int:
        """See hostsim.memory.policies.protocol.ColdPolicy."""
        is_cold = np.zeros(len(self.last), np.bool_)
        is_cold[self._cold()] = True
        return int(np.count_nonzero(np.repeat(is_cold, np.diff(self.starts)) & self._resident))

    def _cold(self) -> NDArray[np.int64]:
        return np.flatnonzero((self.last == 0) & (self.age_of >= self._cold_scans))
