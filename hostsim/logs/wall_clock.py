"""Time stamps of a log as a clock that runs on: without the steps of a host's clock that is set, or of summer time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]
HOUR_S = 3600.0
ALIKE_S = 5.0
"""A gap of an hour and the usual gap, within this time and twice the usual gap, is the begin of summer time (assumed)."""
SLOWER = 0.05
"""In such a gap QEMU sent fewer bytes than this share of the bytes that it sends in that time elsewhere in the log."""


def steadied(stamp_s: Column, sent_bytes: Column) -> tuple[Column, tuple[str, ...]]:
    """(the stamps without steps, a sentence for each step).

    stamp_s: float64[samples], NaN where there is none; sent_bytes: transferred by then, NaN where an answer lacks it.
    """
    told = np.flatnonzero(~np.isnan(stamp_s))
    gaps = np.diff(stamp_s[told])
    usual = float(np.median(gaps[gaps >= 0])) if (gaps >= 0).any() else 0.0
    steps = np.array(list(_steps(gaps, usual, sent_bytes[told])), np.float64)
    mended = stamp_s.copy()
    mended[told[1:]] -= np.cumsum(steps)
    sizes = [float(step) for step in steps if step]
    return mended, (_sentence(sizes),) if sizes else ()


def _steps(gaps: Column, usual_s: float, sent_bytes: Column) -> Iterator[float]:
    """By how much each gap differs from a clock that runs on."""
    sent = np.diff(sent_bytes)
    whole_s, whole = float(gaps[gaps >= 0].sum()), float(np.nansum(sent))
    for gap, bytes_sent in zip(gaps.tolist(), sent.tolist(), strict=True):
        rest_s, rest = whole_s - gap, whole - bytes_sent
        is_idle = rest_s > 0 and rest > 0 and bytes_sent < SLOWER * gap * rest / rest_s
        is_summer = abs(gap - HOUR_S - usual_s) <= ALIKE_S + 2 * usual_s and is_idle
        yield gap - usual_s if gap < 0 or is_summer else 0.0


def _sentence(steps_s: list[float]) -> str:
    words = ", ".join(f"{'back' if step < 0 else 'forward'} by {abs(step):.0f} s" for step in steps_s[:3])
    more = f" and {len(steps_s) - 3} times more" * (len(steps_s) > 3)
    return f"The clock of the log steps {words}{more}; the time of that gap is taken as the usual one between two answers"
