"""Working sets of independent Poisson accesses: pages that ageing scans find young or idle, and accesses to idle pages.

``rates_per_s``: float64[N], accesses to each page. Source: P. J. Denning, S. C. Schwartz, "Properties of the working-set
model", Comm. ACM 15(3), 1972; here each page has its own rate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rates = NDArray[np.float64]


def young_probability(rates_per_s: Rates, scan_s: float) -> Rates:
    """float64[N]: chance that a scan finds the accessed bit that the scan ``scan_s`` before it cleared."""
    return -np.expm1(-rates_per_s * scan_s)


def working_set_pages(rates_per_s: Rates, window_s: float) -> float:
    """Mean pages accessed in ``window_s``: w(T)."""
    return float(young_probability(rates_per_s, window_s).sum())


def cold_pages(rates_per_s: Rates, age_s: float) -> float:
    """Mean pages not accessed for ``age_s``: N - w(T)."""
    return float(np.exp(-rates_per_s * age_s).sum())


def promotion_rate_per_s(rates_per_s: Rates, age_s: float) -> float:
    """Accesses to pages that were idle for ``age_s`` or longer: dw/dT, and the miss rate of a working set of that window."""
    return float(rates_per_s @ np.exp(-rates_per_s * age_s))
