"""Guests fitted to a measured dirty curve, and the least squares below."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hostsim.fitting.inputs import measured
from hostsim.fitting.least_squares import nonneg_least_squares
from hostsim.fitting.mixture import Classes, Problem, rate_grid
from hostsim.theory.page_classes import PageClasses


def fitted(t_s: NDArray[np.float64], pages: NDArray[np.float64], ram_pages: float) -> Classes:
    """The guest with as many classes as least squares take; each point is known by counting."""
    points = [measured(*point) for point in zip(t_s, pages, np.sqrt(pages), strict=True)]
    return Problem(points, ram_pages, rate_grid(points)).fitted(shape="many")


def test_least_squares_stay_at_the_bound() -> None:
    matrix = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    assert nonneg_least_squares(matrix, np.array([3.0, 2.0, 1.0])) == pytest.approx([1.0, 2.0])
    assert nonneg_least_squares(matrix, np.array([1.0, 2.0, -3.0])) == pytest.approx([0.0, 1.5])
    assert nonneg_least_squares(matrix, np.zeros(3)).tolist() == [0.0, 0.0]


@given(st.integers(0, 10_000))
def test_least_squares_are_optimal(seed: int) -> None:
    """At the optimum no coefficient has a gain, and those in use have none either way (KKT)."""
    rng = np.random.default_rng(seed)
    matrix, target = rng.random((12, 20)), rng.normal(size=12)
    x = nonneg_least_squares(matrix, target)
    gain = matrix.T @ (target - matrix @ x)
    assert np.all(x >= 0)
    assert np.all(gain <= 1e-8)
    assert np.all(np.abs(gain[x > 0]) <= 1e-8)


def test_a_mixture_is_found_again() -> None:
    truth = PageClasses.of([(2_000, 5.0), (100_000, 0.02)])
    t_s = np.geomspace(0.1, 60.0, 20)
    classes = fitted(t_s, truth.mean_pages(t_s), 500_000)
    assert classes.curve().at(t_s) == pytest.approx(truth.mean_pages(t_s), rel=0.005)
    assert classes.written_pages <= 500_000


def test_a_fit_never_needs_more_pages_than_there_are() -> None:
    """A straight line to the last page: slow classes alone would ask for many times the memory."""
    t_s = np.linspace(1.0, 60.0, 20)
    assert fitted(t_s, t_s * 1000.0, 60_000).written_pages <= 60_000 * 1.001
