"""The moments of a guest's period at which trials start its migration, so that an advice holds whenever it starts.

A workload with ``active`` windows writes in some of the time. A migration that meets a pause ends in it, so one start says
little on the next; trials with several seeds start the migration at moments that divide the period.
"""

from __future__ import annotations

from dataclasses import dataclass

from hostsim.scenario import Scenario
from hostsim.scenario.schema import DURATION_MAX_NS
from hostsim.verdict.mechanism import Changes
from hostsim.verdict.words import seconds_words

NS = 1e9


@dataclass(frozen=True)
class Moments:
    """period_ns: the longest of the guest's periods, 0: its writes follow no windows, and all trials start alike.

    later_ns: by which the trials start later than the scenario, in turn.
    """

    period_ns: int
    later_ns: tuple[int, ...]

    def changes(self, scenario: Scenario, changes: Changes, number: int) -> Changes:
        """``changes`` and the start of trial ``number``; the time that the migration has stays what it was."""
        later_ns = self.later_ns[number % len(self.later_ns)]
        if not later_ns:
            return changes
        assert scenario.migration is not None, "a trial is a migration"
        duration = min(DURATION_MAX_NS, changes.get("duration", scenario.duration) + later_ns)
        return {**changes, "migration.start": scenario.migration.start + later_ns, "duration": duration}

    def words(self) -> str:
        """The starts, behind the seeds; "" where all trials start alike."""
        if not self.period_ns:
            return ""
        later = [seconds_words(ns / NS) for ns in self.later_ns[1:]]
        return f", started now, {' and '.join(later)} later, as the guest works in windows of a period of {self._period()}"

    def _period(self) -> str:
        return seconds_words(self.period_ns / NS)


def moments_of(scenario: Scenario, count: int) -> Moments:
    """``count`` starts over the period of ``scenario``'s guest; one where outages of the link have times of their own."""
    periods_ns = [load.active.period for load in scenario.vm.workload if load.active and load.write_rate > 0]
    period_ns = max(periods_ns, default=0)
    if not period_ns or scenario.link.outage:
        return Moments(0, (0,))
    return Moments(period_ns, tuple(period_ns * i // count for i in range(count)))
