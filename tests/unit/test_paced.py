"""Draws of a paced class: the number of writes that miss is found with and without logarithms alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.guest import paced


def plain(function: Any) -> Any:
    """Function of compiled code alone, as plain Python."""
    return getattr(function, "py_func", function)


few_misses, misses_before = plain(paced.few_misses), plain(paced.misses_before)
shares = st.floats(1e-6, 1.0 - 1e-6)


@given(st.integers(0, 2**32 - 1), shares)
def test_few_misses_are_those_of_the_logarithms(word: int, share: float) -> None:
    uniform = (word + 0.5) / 2**32
    assert few_misses(uniform, 1.0 - share) in {-1, misses_before(uniform, 1.0 - share)}


@given(st.integers(1, 7), shares, st.integers(-3, 3))
def test_next_to_a_power_logarithms_decide(power: int, share: float, off: int) -> None:
    """``off``: distance to the power, in units of the 32 bits of a draw."""
    uniform = (round((1.0 - share) ** power * 2**32) + off + 0.5) / 2**32
    if 0.0 < uniform < 1.0:
        assert few_misses(uniform, 1.0 - share) in {-1, misses_before(uniform, 1.0 - share)}


@pytest.mark.parametrize(("uniform", "misses"), [(0.9, 0), (0.4, 1), (0.2, 2), (0.1, 3), (0.05, 4), (0.02, 5), (0.01, -1)])
def test_up_to_five_misses_are_counted(uniform: float, misses: int) -> None:
    assert few_misses(uniform, 0.5) == misses


def test_misses_are_counted_in_numpys_floats_alike() -> None:
    """Shares of a class come out of an array; without the JIT they are NumPy's, and so is what compares with them."""
    assert few_misses(0.05, np.float64(0.5)) == 4
