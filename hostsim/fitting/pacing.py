"""Pacing of a guest by its throttled rounds: bound to the CPU, or paced by a clock and able to catch up."""

from __future__ import annotations

from dataclasses import dataclass

from hostsim.fitting.points import Visit

CATCH_UPS = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Full speed of a vCPU over the speed that its clock asks for; work bound to the CPU has 1."""
LOSSES = (0.0, 0.02, 0.04, 0.06, 0.08)
"""Shares of a slice of 10 ms for which a throttled vCPU sleeps on: 0.23 ms were measured on a host of two cores
(hostsim/data/hosts/qemu-tcg-2core.toml, throttle_overshoot_ns).
"""
SLICE_NS = 10_000_000
"""CPU_THROTTLE_TIMESLICE_NS."""


@dataclass(frozen=True)
class Pace:
    """How a throttle slows the guest.

    catch_up: as CATCH_UPS. is_seen: the log has throttled rounds that show it; else work bound to the CPU is assumed.
    lost: as LOSSES, of work bound to the CPU.
    """

    catch_up: float = 1.0
    is_seen: bool = False
    lost: float = 0.0

    def __call__(self, visit: Visit) -> float:
        """Share of its work that the guest does in ``visit``."""
        lost = self.lost if visit.throttle > 0 else 0.0
        return min(1.0, self.catch_up * (1.0 - visit.throttle) * (1.0 - lost))

    @property
    def host(self) -> dict[str, int]:
        """Constants of the host that the throttled rounds show."""
        return {"throttle_overshoot_ns": round(self.lost * SLICE_NS)} if self.lost else {}

    @property
    def words(self) -> str:
        """The pacing in words."""
        if self.catch_up == 1.0:
            more = f", and late wake-ups take {100 * self.lost:.0f} % more" if self.lost else ""
            return f"bound to the CPU: a throttle of 50 % halves its writes{more}"
        slows = 100 * (1 - 1 / self.catch_up)
        return f"paced by a clock: a throttle slows its writes from about {slows:.0f} % on"
