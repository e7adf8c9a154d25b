"""Working-set forms by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hostsim.theory.working_set import cold_pages, promotion_rate_per_s, working_set_pages, young_probability

RATES = np.array([1.0, 2.0])


def test_two_pages_by_hand() -> None:
    assert young_probability(RATES, 0.5).tolist() == pytest.approx([1 - math.exp(-0.5), 1 - math.exp(-1)])
    assert working_set_pages(RATES, 0.5) == pytest.approx(2 - math.exp(-0.5) - math.exp(-1))
    assert cold_pages(RATES, 0.5) == pytest.approx(math.exp(-0.5) + math.exp(-1))
    assert promotion_rate_per_s(RATES, 0.5) == pytest.approx(math.exp(-0.5) + 2 * math.exp(-1))


def test_every_page_is_in_the_working_set_or_cold() -> None:
    assert working_set_pages(RATES, 3.0) + cold_pages(RATES, 3.0) == pytest.approx(2.0)
    assert working_set_pages(RATES, 0.0) == 0.0
    assert promotion_rate_per_s(RATES, 0.0) == 3.0
