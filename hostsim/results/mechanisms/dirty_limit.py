"""dirty-limit in results: its fields of query-migrate; hostsim.results.dirty_limit has the limits of the vCPUs."""

from __future__ import annotations

from hostsim.qemu.mechanisms.dirty_limit import NAME, LimitFigures
from hostsim.results.mechanism import Mechanism


def _answer(figures: LimitFigures) -> dict[str, int]:
    return {
        "dirty-limit-throttle-time-per-round": figures.throttle_time_per_round,
        "dirty-limit-ring-full-time": figures.ring_full_time,
    }


PART = Mechanism(NAME, 30, answer=_answer)
