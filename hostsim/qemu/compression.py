"""Compressed pages of multifd: bytes on the wire and CPU time a page (migration/multifd-zlib.c, migration/multifd-zstd.c).

How well a page compresses is a property of the guest's memory, so it is an input; how much slower than level 1 a level is,
is a property of the method.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import PAGE_BYTES

Compression = Literal["none", "zlib", "zstd"]
IN_HARDWARE = {
    "qatzip": "an Intel QAT card",
    "qpl": "an Intel In-Memory Analytics Accelerator",
    "uadk": "the accelerator of a Kunpeng processor",
}
"""Methods of multifd-compression that a device compresses for, of which hostsim has no model."""
ASSUMED_RATIO = 3.3 / 12
"""Compressed over original bytes where the scenario has none: KubeVirt enhancement 246 (vep.md @7ee388a) has 12 GiB of data
on the wire uncompressed and 3.3 GiB with zstd, for VMs of 50 GiB.
"""
SPEEDS: dict[str, tuple[tuple[int, float], ...]] = {
    "zlib": ((1, 66.0), (6, 20.0), (9, 8.3)),
    "zstd": ((1, 242.0), (2, 185.0), (5, 88.0), (8, 30.0), (11, 15.0), (15, 4.78), (18, 2.75), (22, 1.39)),
}
"""(level, MB/s) of a core of an i5-4300U on the Silesia corpus: zlib 1.2.11 and zstd 1.1.4, lzbench 1.7.1 (README
@00484c4)."""

SILESIA_RATIO = 0.3645
"""Compressed over original bytes of the Silesia corpus by zlib -1 (77 259 029 of 211 947 520 bytes; README of lzbench)."""
BY_SIZE: dict[str, float] = {"zlib": 5 / 6, "zstd": 0.0}
"""Share of a page's CPU time that grows with its compressed bytes, at SILESIA_RATIO.

zlib: measured, deflate -1 of 128 pages with Z_SYNC_FLUSH as multifd-zlib.c calls it, zlib 1.2.13 on an AMD Zen 4: pages that
compress to 0.4, 7, 26, 29 and 100 % take 5.1, 9.6, 18, 23 and 75 us, so 5.1 us and 70 us times the ratio.
"""
# Model limit: zstd takes one time for every page; real zstd skips data that it finds incompressible (unmeasured).


@dataclass(frozen=True)
class Content:
    """How well the pages of a VM compress.

    ratio: compressed over original bytes.
    regions: (first gfn, pages, ratio) of memory with another ratio; later ones prevail.
    """

    ratio: float = ASSUMED_RATIO
    regions: tuple[tuple[int, int, float], ...] = ()

    def page_bytes(self) -> int:
        """Bytes of a compressed page outside all regions."""
        return _compressed(self.ratio)

    def payload(self, n_pages: int) -> NDArray[np.uint16]:
        """uint16[n_pages]: bytes of each page once compressed; uint16[0] where all pages compress alike."""
        if not self.regions:
            return np.zeros(0, np.uint16)
        payload = np.full(n_pages, self.page_bytes(), np.uint16)
        for first_gfn, length, ratio in self.regions:
            payload[first_gfn : first_gfn + length] = _compressed(ratio)
        return payload


def _compressed(ratio: float) -> int:
    return max(1, math.ceil(PAGE_BYTES * ratio))


def slower_than_level_1(method: str, level: int) -> float:
    """Times that ``level`` of ``method`` needs the CPU time of level 1; between the measured levels along a power law."""
    speeds = SPEEDS[method]
    for (low, slow), (high, fast) in pairwise(speeds):
        if level <= high:
            share = (level - low) / (high - low)
            return float(speeds[0][1] / (slow * (fast / slow) ** share))
    return float(speeds[0][1] / speeds[-1][1])
