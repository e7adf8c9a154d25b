"""S1: hit ratio of uniform random reads over 99 GiB with 36 GiB of memory, on the policies."""

from __future__ import annotations

from collections.abc import Iterator

from hostsim.theory.replacement import POLICIES
from hostsim.validation import draws
from hostsim.validation.rows import Row, relative

GIB_PAGES = 512
"""Pages of 2 MiB: where all pages are alike, their size does not matter."""
REGION_GIB, MEMORY_GIB = 99, 36
WARM_UP_TURNS, REFERENCES = 10, 1_000_000
TOLERANCE = 0.01
"""The published tolerance."""


def hit_ratio_rows(seed: int = 1) -> Iterator[Row]:
    """One string of reads for all policies that do not see the future."""
    pages, frames = REGION_GIB * GIB_PAGES, MEMORY_GIB * GIB_PAGES
    warm_up = WARM_UP_TURNS * frames
    string = draws.generator(seed, 201).integers(pages, size=warm_up + REFERENCES)
    for policy in ("fifo", "clock", "lru"):
        got = float(POLICIES[policy](frames, pages).replay(string).hits[warm_up:].mean())
        what = f"hit ratio of {policy}, 36 of 99 GiB"
        yield relative("published", f"S1/{policy}", what, MEMORY_GIB / REGION_GIB, got, TOLERANCE)
