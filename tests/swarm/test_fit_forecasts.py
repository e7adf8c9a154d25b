"""400 drawn guests: simulated, polled, fitted, forecast elsewhere; few lie outside the drawn guests of their fits."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.helpers.forecasts import KINDS, POLLS_S, Question, outcome

BLOCK = 50
MISSED_MOST = 2
"""Of a block. Two per hundred were seen: eight drawn guests reach from about the 6th to the 94th percentile of a figure."""


def drawn(seed: int) -> Question:
    draw = np.random.default_rng((15, seed))
    return Question(
        kind=str(draw.choice(KINDS)), memory_mib=int(draw.integers(16, 128)), written=float(draw.uniform(0.1, 0.8)),
        speed=float(draw.uniform(0.4, 2.0)), mib_per_s=int(draw.integers(4, 60)),
        waiting=float(10 ** draw.uniform(-2.3, -1)), every_s=float(draw.choice(POLLS_S)),
        qemu=str(draw.choice(["7.2", "10.0"])), faster=float(draw.uniform(0.8, 2.0)),
        longer=float(2 ** draw.uniform(-1.5, 1.5)), seed=seed + 1,
    )  # fmt: skip


@pytest.mark.parametrize("first", range(0, 400, BLOCK))
def test_few_true_guests_lie_outside_the_drawn_ones(first: int) -> None:
    outcomes = {seed: outcome(drawn(seed)) for seed in range(first, first + BLOCK)}
    missed = [seed for seed, one in outcomes.items() if one == "missed"]
    assert len(missed) <= MISSED_MOST, f"seeds {missed}"
    assert Counter(outcomes.values())["bracketed"] >= BLOCK // 3
