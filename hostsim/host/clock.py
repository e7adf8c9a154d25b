"""The host's clock: SimPy, in whole nanoseconds."""

from __future__ import annotations

import simpy

NEVER_NS = 1 << 62


class Clock(simpy.Environment):
    """SimPy's environment whose times are integer nanoseconds."""

    @property
    def now_ns(self) -> int:
        """The time [ns]."""
        return int(self.now)

    def upcoming_ns(self) -> int:
        """Time of the next event [ns]; NEVER_NS if there is none."""
        upcoming = self.peek()
        return NEVER_NS if upcoming == float("inf") else int(upcoming)
