"""Page replacement hits where libCacheSim (Yang et al., Carnegie Mellon University) hits, reference by reference."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import libcachesim
import numpy as np
import pytest
from numpy.typing import NDArray

from hostsim.guest.popularity import zipf_shares
from hostsim.scenario.trace_lackey import load_lackey
from hostsim.theory.replacement import NEVER_USED, POLICIES, dense_pages, find_next_uses

PEERS = {"fifo": libcachesim.FIFO, "clock": libcachesim.Clock, "lru": libcachesim.LRU, "min": libcachesim.Belady}
NEVER = (1 << 63) - 1
"""next_access_vtime of what does not come again: libCacheSim's MAX_REUSE_DISTANCE, INT64_MAX."""
TRACES = Path(__file__).parents[1] / "data" / "traces"


def zipf() -> NDArray[np.int64]:
    return np.random.default_rng(1).choice(2000, 100_000, p=zipf_shares(2000, 0.9))


def loop() -> NDArray[np.int64]:
    return np.arange(50_000) % 700


def scans() -> NDArray[np.int64]:
    """A hot set, three times of four, while scans walk through everything else."""
    rng, n = np.random.default_rng(2), 100_000
    return np.where(rng.random(n) < 0.75, rng.integers(0, 300, n), 300 + np.arange(n) // 4 % 5000)


def recorded() -> NDArray[np.int64]:
    return load_lackey(TRACES / "sort.lackey.gz").page


STRINGS: dict[str, Callable[[], NDArray[np.int64]]] = {"zipf": zipf, "loop": loop, "scans": scans, "recorded": recorded}
SIZES = {"zipf": (1, 37, 400), "loop": (1, 350, 699, 700), "scans": (200, 320, 2000), "recorded": (16, 96)}
CASES = [(name, size) for name in STRINGS for size in SIZES[name]]


@cache
def string(name: str) -> tuple[NDArray[np.int64], int]:
    return dense_pages(STRINGS[name]())


def next_uses(pages: NDArray[np.int64], n_pages: int) -> list[int]:
    found = np.empty(len(pages), np.int64)
    find_next_uses(pages, np.empty(n_pages, np.int64), found)
    return [NEVER if use == NEVER_USED else use for use in found.tolist()]


def peer_hits(policy: str, capacity: int, pages: NDArray[np.int64], n_pages: int) -> NDArray[np.uint8]:
    memory, request = PEERS[policy](cache_size=capacity, hashpower=12), libcachesim.Request()
    request.obj_size, hits = 1, []
    for page, following in zip(pages.tolist(), next_uses(pages, n_pages), strict=True):
        request.obj_id, request.next_access_vtime = page, following
        hits.append(memory.get(request))
    return np.array(hits, np.uint8)


@pytest.mark.long
@pytest.mark.parametrize("policy", sorted(PEERS))
@pytest.mark.parametrize(("name", "capacity"), CASES)
def test_hits_equal_the_peer(name: str, capacity: int, policy: str) -> None:
    pages, n_pages = string(name)
    ours = POLICIES[policy](capacity, n_pages).replay(pages).hits
    differ = np.flatnonzero(ours != peer_hits(policy, capacity, pages, n_pages))
    assert differ.tolist() == []


@pytest.mark.parametrize("name", ["zipf", "scans", "recorded"])
def test_the_strings_tell_the_policies_apart(name: str) -> None:
    pages, n_pages = string(name)
    hits = {policy: POLICIES[policy](SIZES[name][1], n_pages).replay(pages).hits for policy in POLICIES}
    assert len({vector.tobytes() for vector in hits.values()}) == len(POLICIES)
    assert all(hits["min"].sum() > hits[policy].sum() > 0 for policy in ("fifo", "clock", "lru"))
