"""Scans of A bits against accesses that go one by one through LRU TLBs: young pages, and falsely old ones.

The engine lets each access of a page be seen with one probability, by which the mean time to the first that is seen is
right; in a real TLB that time is not exponentially distributed. TOLERANCE is what was measured (share of all pages), by scan
period over life of an entry; from 3 on it is at most 2 %.
"""

from __future__ import annotations

import numpy as np
import pytest

from hostsim.guest.popularity import zipf_shares
from hostsim.kvm.tlb import Translations, characteristic_ns
from tests.helpers.tlb_guest import scan_engine
from tests.twins.tlb_twin import Seen, Watched, scan_twin

N_PAGES = 1024
TOLERANCE = {1: 0.07, 3: 0.02, 10: 0.01, 30: 0.005}
SIGMAS = 5.0


def shares_of(exponent: float) -> np.ndarray:
    return zipf_shares(N_PAGES, exponent) if exponent else np.full(N_PAGES, 1.0 / N_PAGES)


def life_accesses(shares: np.ndarray, entries: int) -> float:
    """How many accesses an entry lives for after its last use."""
    n = len(shares)
    return characteristic_ns(Translations(shares, np.full(n, np.inf), np.ones(n)), entries)


def off(twin: np.ndarray, engine: np.ndarray, n_pages: int = N_PAGES) -> tuple[float, float]:
    """(distance of the means, its standard deviation) as shares of all pages."""
    sigma = np.sqrt(twin.var() / len(twin) + engine.var() / len(engine))
    return float(engine.mean() - twin.mean()) / n_pages, max(float(sigma), 0.1) / n_pages


def differences(twin: Seen, engine: Seen, tolerance: float, n_pages: int = N_PAGES) -> list[tuple[str, float, float]]:
    """(figure, distance, its standard deviation) of those that are further apart than chance and ``tolerance`` explain."""
    both = [(name, *off(getattr(twin, name), getattr(engine, name), n_pages)) for name in ("young", "false_old")]
    return [one for one in both if abs(one[1]) > tolerance + SIGMAS * one[2]]


@pytest.mark.parametrize("exponent", [0.0, 0.9, 1.2])
@pytest.mark.parametrize("entries", [64, 2 * N_PAGES])
def test_with_a_flush_nothing_is_falsely_old(exponent: float, entries: int) -> None:
    case = Watched(shares_of(exponent), 2 * N_PAGES, entries, flush=True)
    twin, engine = scan_twin(case, 1), scan_engine(case, exponent, 1)
    assert not differences(twin, engine, 0.0)
    assert engine.false_old.sum() == twin.false_old.sum() == 0.0


@pytest.mark.parametrize(("exponent", "writes"), [(0.0, False), (0.0, True), (0.9, False)])
def test_what_fits_is_never_seen_again(exponent: float, writes: bool) -> None:
    case = Watched(shares_of(exponent), 4 * N_PAGES, N_PAGES, warm_up=20)
    twin, engine = scan_twin(case, 1), scan_engine(case, exponent, 1, writes=writes)
    assert not differences(twin, engine, 0.0)
    assert engine.young.sum() == 0
    assert engine.false_old.mean() > N_PAGES // 2


@pytest.mark.parametrize(
    ("exponent", "entries", "lives"),
    [(0.0, 1004, 30), (0.9, 512, 30), (0.9, 64, 30), (1.2, 64, 30), (0.6, 700, 30), (0.0, 900, 10), (1.2, 512, 10),
     (0.6, 700, 3), (0.0, 900, 3), (0.0, 300, 3), (0.9, 900, 1), (0.0, 1004, 1), (0.0, 500, 1)],
)  # fmt: skip
def test_beyond_the_reach_pages_are_seen_as_often_as_they_miss(exponent: float, entries: int, lives: int) -> None:
    shares = shares_of(exponent)
    case = Watched(shares, lives * life_accesses(shares, entries), entries, scans=20)
    twin, engine = scan_twin(case, 1), scan_engine(case, exponent, 1)
    assert not differences(twin, engine, TOLERANCE[lives])


def test_writes_of_two_vcpus_miss_in_the_tlb_of_each() -> None:
    shares = shares_of(0.0)
    case = Watched(shares, 10 * life_accesses(shares, 900), 900, n_vcpus=2, scans=20)
    assert not differences(scan_twin(case, 1), scan_engine(case, 0.0, 1, writes=True), TOLERANCE[10])


def test_large_translations_miss_as_large_ones() -> None:
    """64 regions of 2 MiB under Zipf accesses to their pages, which are scattered over them."""
    shares = zipf_shares(64 * 512, 1.1)
    life = life_accesses(shares.reshape(64, 512).sum(axis=1), 60)
    case = Watched(shares, 30 * life, 60, span=512)
    assert not differences(scan_twin(case, 1), scan_engine(case, 1.1, 1), TOLERANCE[30], 64)


@pytest.mark.parametrize("writes", [False, True])
def test_hot_pages_stay_and_cold_ones_go(writes: bool) -> None:
    hot, share = 128, 0.7
    shares = np.where(np.arange(N_PAGES) < hot, share / hot, (1.0 - share) / (N_PAGES - hot))
    case = Watched(shares, 30 * life_accesses(shares, 400), 400, scans=20)
    twin, engine = scan_twin(case, 1), scan_engine(case, 0.0, 1, writes=writes, hot=(hot, share))
    assert not differences(twin, engine, TOLERANCE[30])
    assert twin.false_old.mean() > hot / 2
