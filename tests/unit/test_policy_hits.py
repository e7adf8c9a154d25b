"""Every policy on the same string by one protocol, in the order that is known."""

from __future__ import annotations

import numpy as np
import pytest

from hostsim.guest.popularity import zipf_shares
from hostsim.study.policy_hits import AGEING, NAMES, hit_ratios, policy_on_demand
from hostsim.theory.hit_ratio import static_hit_ratio

N_PAGES, FRAMES, WARM_UP = 1000, 100, 6000


def drawn(shares: np.ndarray, references: int = 26_000) -> np.ndarray:
    return np.random.default_rng(7).choice(len(shares), references, p=shares).astype(np.int64)


def test_the_order_on_a_zipf_string() -> None:
    shares = zipf_shares(N_PAGES, 0.9)
    found = hit_ratios(drawn(shares), N_PAGES, FRAMES, WARM_UP)
    assert list(found) == list(NAMES)
    assert found["fifo"] < found["lru"] < found["clock"] < found["min"]
    for policy in AGEING:
        assert found["fifo"] < found[policy] < static_hit_ratio(shares, FRAMES), policy
    assert found["min"] > static_hit_ratio(shares, FRAMES)


def test_uniform_references_are_the_same_to_all_that_do_not_see_the_future() -> None:
    found = hit_ratios(drawn(np.full(N_PAGES, 1 / N_PAGES)), N_PAGES, FRAMES, WARM_UP)
    for policy in NAMES[:-1]:
        assert found[policy] == pytest.approx(0.1, abs=0.012), policy


@pytest.mark.parametrize("name", sorted(AGEING))
def test_frames_are_never_more_than_there_are(name: str) -> None:
    policy, rng = policy_on_demand(name, 40, 200), np.random.default_rng(3)
    seen: set[int] = set()
    for _ in range(60):
        string = rng.integers(0, 200, 37).astype(np.int64)
        hits = policy.replay(string).hits
        assert not hits[0] or string[0] in seen
        seen = set(policy.resident_pages().tolist())
        assert len(seen) <= 40
        assert string[-1] in seen
