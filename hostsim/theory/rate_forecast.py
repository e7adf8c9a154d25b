"""A forecast of pre-copy from one measured dirty rate, as people make it who have no curve."""

from __future__ import annotations

import math
from collections.abc import Callable

from hostsim.theory.precopy_map import PrecopyOutcome, iterate_precopy, saturating_curve


def uniform_guest(rate_pages_per_s: float, window_s: float, pages: int) -> Callable[[float], float]:
    """D(t) of the guest that writes all its ``pages`` evenly and of which ``rate`` was measured over ``window_s``.

    It has written rate x window distinct pages by then: V (1 - e^(-w window / V)) = rate x window gives its writes a second
    w. A rate that finds all pages written leaves w unknown: each page is dirty again at once.
    """
    found = rate_pages_per_s * window_s
    if found >= pages:
        return lambda seconds: float(pages) if seconds > 0 else 0.0
    return saturating_curve(pages, -pages / window_s * math.log1p(-found / pages))


def forecast(
    rate_pages_per_s: float, window_s: float, pages: int, page_s: float, limit_s: float, first_pass_s: float
) -> PrecopyOutcome:
    """The migration of that guest; page_s, limit_s, first_pass_s: see ``iterate_precopy``."""
    curve = uniform_guest(rate_pages_per_s, window_s, pages)
    return iterate_precopy(curve, pages, page_s, limit_s, first_pass_s=first_pass_s)
