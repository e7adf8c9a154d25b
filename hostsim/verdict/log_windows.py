"""Windows of QEMU's loop in a polled log: where max-bandwidth fills each alike, the pages between two answers count them.

QEMU tests for a sync at the start of a window only, and sends the pages of a window at once (migration/migration.c::
migration_rate_limit, BUFFER_DELAY, QEMU 10.0). So a round lasts a whole number of windows. Polls that are further apart than
a window reveal that number: each window sends as many of the remaining pages as fit its quota, until remaining is below the
threshold and the next window syncs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
WINDOW_S = 0.1
"""QEMU's loop tests for a sync once a pass of about this long (migration/migration.c::BUFFER_DELAY)."""
WHOLE = 0.15
"""Pages between two answers are of whole windows if they are within this share of a window of them: polls that fall into the
burst of a window are not used (assumed).
"""


@dataclass(frozen=True)
class Synced:
    """The only sync between two answers: the number of its window, counted from the first answer, and the pages pending."""

    window: int
    pending_pages: float


@dataclass(frozen=True, eq=False)
class Windows:
    """remaining, sent: float64[answers], pages. begun: int64[answers], windows since the first answer.
    whole: bool[answers - 1], whether a number of whole windows lies between two answers.
    threshold_pages: at most so many remain at a sync.
    """

    remaining: Array
    sent: Array
    begun: NDArray[np.int64]
    whole: NDArray[np.bool_]
    threshold_pages: float

    @classmethod
    def of(cls, remaining: Array, sent: Array, whole_pages: Array, window_pages: float, threshold_pages: float) -> Windows:
        """Windows between answers.

        remaining, sent: float64[answers], pages. whole_pages: float64[answers], those of ``sent`` that use bandwidth.
        window_pages: whole pages of a window. threshold_pages: at most so many remain at a sync.
        """
        count = np.nan_to_num(np.diff(whole_pages) / window_pages, nan=-1.0)
        begun = np.cumsum(np.append(0, np.rint(np.maximum(count, 0.0)))).astype(np.int64)
        whole = (np.abs(count - np.rint(count)) <= WHOLE) & (count > 0.5)
        return cls(remaining, sent, begun, whole, threshold_pages)

    def sync_between(self, i: int) -> Synced | None:
        """The only sync between answers ``i`` and ``i + 1``; None if the pages do not tell its window."""
        windows = int(self.begun[i + 1] - self.begun[i])
        if not self.whole[i]:
            return None
        pages = float(self.sent[i + 1] - self.sent[i]) / windows
        before = max(0, math.ceil((float(self.remaining[i]) - self.threshold_pages) / pages))
        if before >= windows:
            return None
        return Synced(int(self.begun[i]) + before + 1, max(0.0, float(self.remaining[i]) - before * pages))
