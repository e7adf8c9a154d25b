"""The finished share of a trial, in thousandths, reported from time to time to the progress display."""

from __future__ import annotations

from collections.abc import Callable

HowFar = Callable[[int], None]
WHOLE = 1000
WITH_IT_PER_MILLE = 600
"""Thousandths of a trial of reclaim that are done when the run with reclaim ends."""


def ignore(per_mille: int) -> None:
    """A listener that does nothing."""
    del per_mille
