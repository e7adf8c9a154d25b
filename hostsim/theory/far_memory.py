"""A far-memory controller: the smallest idle age whose promotions stay within a share of the working set.

Source: A. Lagar-Cavilla et al., "Software-defined far memory in warehouse-scale computers", ASPLOS 2019: pages are scanned
each 120 s, ages counted in scans; promotions a minute are held below 0.2 % of the pages accessed within 120 s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SCAN_S = 120
PROMOTED_SHARE_A_MINUTE = 0.002
Young = NDArray[np.uint8]


@dataclass
class AgeHistograms:
    """By idle age in scans, up to ``oldest``: promotions and cold pages, summed over ``scans``; young: found so, summed."""

    n_pages: int
    oldest: int
    scans: int = 0
    young: int = 0

    def __post_init__(self) -> None:
        self.promoted = np.zeros(self.oldest + 1, np.int64)
        self.cold = np.zeros(self.oldest + 1, np.int64)
        self._idle = np.zeros(self.n_pages, np.int64)

    def note(self, young: Young) -> None:
        """A scan found uint8[n_pages] young. A page idle for a scans or more that is young is a promotion at age a."""
        found = young != 0
        came_back = np.bincount(np.minimum(self._idle[found], self.oldest), minlength=self.oldest + 1)
        self.promoted += np.cumsum(came_back[::-1])[::-1]
        self._idle = np.where(found, 0, self._idle + 1)
        still = np.bincount(np.minimum(self._idle, self.oldest), minlength=self.oldest + 1)
        self.cold += np.cumsum(still[::-1])[::-1]
        self.scans += 1
        self.young += int(found.sum())

    def begin(self) -> None:
        """Reset the counts and keep the idle ages of pages."""
        self.promoted[:], self.cold[:], self.scans, self.young = 0, 0, 0, 0

    def promotions_a_minute(self, scan_s: float = SCAN_S) -> NDArray[np.float64]:
        """float64[oldest + 1]: accesses a minute to pages that were idle for that many scans; each page once a scan."""
        rates: NDArray[np.float64] = self.promoted / max(1, self.scans) * (60.0 / scan_s)
        return rates

    @property
    def working_set(self) -> float:
        """Pages found young by a scan, in the mean."""
        return self.young / max(1, self.scans)


def smallest_age(seen: AgeHistograms, share: float = PROMOTED_SHARE_A_MINUTE, scan_s: float = SCAN_S) -> int | None:
    """The smallest idle age [scans], 1 or more, at which promotions keep the bound; None if none up to ``seen.oldest`` does.

    share: promotions a minute, over the pages of the working set, that the bound allows.
    scan_s: period of the scans [s].
    Source: Lagar-Cavilla et al., ASPLOS 2019 (see above).
    """
    within = seen.promotions_a_minute(scan_s)[1:] <= share * seen.working_set
    return int(np.argmax(within)) + 1 if within.any() else None
