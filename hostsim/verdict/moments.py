"""The moments of a guest's period at which trials start its migration, so that an advice holds whenever it starts.

A workload with ``active`` windows, or one that thinks, writes in some of the time. A migration that meets a pause ends in
it, so one start says little on the next; trials with several seeds start the migration at moments that divide the period.
"""

from __future__ import annotations

from dataclasses import dataclass

from hostsim.results.work import WINDOW_NS
from hostsim.scenario import Scenario
from hostsim.scenario.guest_schema import Workload
from hostsim.scenario.schema import DURATION_MAX_NS
from hostsim.verdict.mechanism import Changes
from hostsim.verdict.words import seconds_words

NS = 1e9


@dataclass(frozen=True)
class Moments:
    """period_ns: the longest of the guest's periods, 0: its writes follow no windows, and all trials start alike.

    later_ns: by which the trials start later than the scenario, in turn.
    over_ns: end of the last window of work that does not come again; 0: there is none.
    """

    period_ns: int
    later_ns: tuple[int, ...]
    over_ns: int = 0

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
        return f", started now, {' and '.join(later)} later, as the guest works and pauses in a period of {self._period()}"

    def _period(self) -> str:
        return seconds_words(self.period_ns / NS)


def moments_of(scenario: Scenario, count: int) -> Moments:
    """``count`` starts over the period of ``scenario``'s guest; one where outages of the link have times of their own."""
    loads = [load for load in scenario.vm.workload if load.write_rate > 0]
    period_ns = max((_period_ns(load) for load in loads), default=0)
    over_ns = max((one.start + one.length for load in loads if (one := load.window) and not one.period), default=0)
    if not period_ns or scenario.link.outage:
        return Moments(0, (0,), over_ns)
    return Moments(period_ns, tuple(period_ns * i // count for i in range(count)), over_ns)


def _period_ns(load: Workload) -> int:
    """From a pause of ``load`` to the next; 0 without pauses, and where they are shorter than a pass of QEMU's loop."""
    thinks_ns = load.think.work + load.think.sleep if load.think and load.think.sleep >= WINDOW_NS else 0
    return max(load.active.period if load.active else 0, thinks_ns)
