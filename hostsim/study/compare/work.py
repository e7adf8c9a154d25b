"""The work of a run that is done, counted in pages and never in seconds: all machines decide alike how many runs follow."""

from __future__ import annotations

from hostsim.scenario.schema import Scenario
from hostsim.study.compare.figures import Figures

BASE_WORK = 900_000_000
"""Work of all runs of a question where no number was asked for [pages]: about 45 s of CPU time, some 25 s on two cores."""
EXIT_WORK, WINDOW_WORK, SWAP_WORK = 16, 2000, 100
"""Work of an exit of a KVM guest, of 100 ms of simulated time, and of a page swapped in, in pages sent.

Measured: 0.4 to 1.1 us an exit, 0.1 ms a window, some 5 us a swap-in, against 0.05 us for a page that is sent or harvested.
"""
WINDOW_NS = 100_000_000
COUNTED = ("pages_harvested", "normal_pages_sent", "zero_pages_sent")
EXITS = ("kvm.wp_faults", "kvm.map_faults")


def work_of(figures: Figures, scenario: Scenario) -> int:
    """The work of a run of ``scenario``, in pages: sent and harvested, and exits, windows and swap-ins at their worth.

    figures: of the run; a figure that is missing counts as 0.
    """
    pages = sum(int(figures.get(name) or 0) for name in COUNTED)
    exits = sum(int(figures.get(name) or 0) for name in EXITS)
    total_ms = figures.get("total_time_ms")
    ns = int(total_ms) * 1_000_000 if isinstance(total_ms, int | float) else scenario.duration
    swaps = int(figures.get("memory.swapped_in") or 0)
    return pages + EXIT_WORK * exits + SWAP_WORK * swaps + WINDOW_WORK * ns // WINDOW_NS


def work_words(work: float) -> str:
    """``414 million pages``: work as an answer says it."""
    return f"{max(1, round(work / 1e6)):,} million pages"
