"""Shares of touches over the pages of a region; they sum to 1."""

from __future__ import annotations

from math import gcd

import numpy as np
from numpy.typing import NDArray


def zipf_shares(n_pages: int, exponent: float, scatter: bool = True) -> NDArray[np.float64]:
    """float64[n_pages]: share of the page of rank k is k^-exponent / H; ranks scattered over the region by a fixed step."""
    ranked = np.arange(1, n_pages + 1, dtype=np.float64) ** -exponent
    ranked /= ranked.sum()
    if not scatter:
        return ranked
    shares = np.empty(n_pages)
    shares[(np.arange(n_pages, dtype=np.int64) * scatter_step(n_pages)) % n_pages] = ranked
    return shares


def scatter_step(n_pages: int) -> int:
    """A step near the golden section of ``n_pages`` and coprime to it: neighbours in rank lie far apart."""
    step = max(1, round(n_pages * 0.6180339887498949))
    while gcd(step, n_pages) != 1:
        step += 1
    return step
