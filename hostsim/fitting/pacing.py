"""Pacing of a guest by its throttled rounds: bound to the CPU, or paced by a clock and able to catch up."""

from __future__ import annotations

from dataclasses import dataclass

from hostsim.fitting.points import Visit

CATCH_UPS = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Full speed of a vCPU over the speed that its clock asks for; 1: work bound to the CPU."""


@dataclass(frozen=True)
class Pace:
    """catch_up: as CATCH_UPS. is_seen: the log has throttled rounds that tell it; else work bound to the CPU is assumed."""

    catch_up: float = 1.0
    is_seen: bool = False

    def __call__(self, visit: Visit) -> float:
        """Share of its work that the guest does in ``visit``."""
        return min(1.0, self.catch_up * (1.0 - visit.throttle))

    @property
    def words(self) -> str:
        """The pacing in words."""
        if self.catch_up == 1.0:
            return "bound to the CPU: a throttle of 50 % halves its writes"
        slows = 100 * (1 - 1 / self.catch_up)
        return f"paced by a clock: a throttle slows its writes from about {slows:.0f} % on"
