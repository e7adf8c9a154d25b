"""The work of a run that is done, counted in pages and never in seconds: all machines decide alike how many runs follow."""

from __future__ import annotations

from hostsim.core.constants import NS_PER_MS
from hostsim.results.work import EXIT_WORK, SLEEP_WORK, SWAP_WORK, WINDOW_NS, WINDOW_WORK, sleeps
from hostsim.scenario.schema import Scenario
from hostsim.study.compare.figures import Figures

BASE_WORK = 900_000_000
"""Work of all runs of a question where no number was asked for [pages]: about 45 s of CPU time, some 25 s on two cores."""
COUNTED = ("pages_harvested", "normal_pages_sent", "zero_pages_sent")
EXITS = ("kvm.wp_faults", "kvm.map_faults")


def work_of(figures: Figures, scenario: Scenario) -> int:
    """The work of a run of ``scenario``, in pages: sent and harvested; exits, windows, swap-ins and sleeps at their worth.

    figures: of the run; a figure that is missing counts as 0.
    """
    pages = sum(int(figures.get(name) or 0) for name in COUNTED)
    exits = sum(int(figures.get(name) or 0) for name in EXITS)
    total_ms = figures.get("total_time_ms")
    ns = int(total_ms) * 1_000_000 if isinstance(total_ms, int | float) else scenario.duration
    swaps = int(figures.get("memory.swapped_in") or 0)
    waits = SWAP_WORK * swaps + round(SLEEP_WORK * _sleeps(figures, scenario, ns))
    return pages + EXIT_WORK * exits + waits + WINDOW_WORK * ns // WINDOW_NS


def _sleeps(figures: Figures, scenario: Scenario, ns: int) -> float:
    """Sleeps of the throttled vCPUs in a run of ``ns``, at most: they were awake for all the time that they did not lose."""
    if not figures.get("throttle_max_percent"):
        return 0.0
    return sleeps(ns - float(figures.get("guest_lost_ms") or 0.0) * NS_PER_MS, scenario.vm.vcpus)


def work_words(work: float) -> str:
    """``414 million pages``: work as an answer says it."""
    return f"{max(1, round(work / 1e6)):,} million pages"
