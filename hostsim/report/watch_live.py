"""Watching one migration: of a live QEMU by its monitor, or of a scenario that is simulated meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from hostsim.logs.growing import GrowingLog
from hostsim.logs.model import TERMINAL, MigrationLog, Setup
from hostsim.measure.live.recording import Recording, Wanted
from hostsim.report.watch_display import Show, View
from hostsim.report.watch_view import Stall, Watched, as_object, plain_line, screen_lines
from hostsim.verdict.outlook import Outlook, outlook

if TYPE_CHECKING:
    from hostsim.machine.machine import Machine
    from hostsim.results.tables import RunResult
    from hostsim.scenario import Scenario

VCPU_WAITS = ("exit_", "lock_wait_vcpu", "fault_", "async_fault_", "direct_reclaim")
"""Names of distributions in which a vCPU, or a task of the guest, waits."""


class _Watch:
    """A log that grows, its forecast, and the views of both."""

    def __init__(self, source: str, show: Show, subject: Callable[[Setup], str], clock: str = "s") -> None:
        self.log = GrowingLog(source)
        self.notes: list[str] = []
        self._show, self._subject, self._clock, self._forecasts = show, subject, clock, Forecasts()

    def take(self, record: dict[str, Any], stalls: Callable[[], list[Stall]] = list, *, is_last: bool = False) -> None:
        """Read ``record``, a line of the recording, and show the migration by now. stalls, is_last: as in ``show``."""
        self.log.take(record)
        self.show(stalls, is_last=is_last)

    def note(self, line: str) -> None:
        """Show a line for people below the figures."""
        self.notes.append(line)
        self.show()

    def show(self, stalls: Callable[[], list[Stall]] = list, *, is_last: bool = False) -> None:
        """Show the migration by now; figures are made only where a view is drawn.

        stalls: gives the longest waits by kind; called only for a view that is drawn. is_last: no view follows.
        """

        def seen(forecast_of: Callable[..., Outlook | None]) -> Watched:
            log = self.log.log()
            forecast = forecast_of(log, self.log.mark)
            return Watched(self._subject(self.log.setup), self._clock, log, forecast, stalls(), self.notes)

        self._show(
            View(
                screen=lambda width, height: screen_lines(seen(self._forecasts.of), width, height),
                line=lambda: plain_line(seen(self._forecasts.fresh)),
                data=lambda: as_object(seen(self._forecasts.fresh)),
                mark=(self.log.mark, len(self.notes)),
                is_last=is_last,
            )
        )


def watch_qmp(wanted: Wanted, show: Show, say: Callable[[str], None] | None) -> Recording:
    """Watch the QEMU at ``wanted.address`` until its migration has ended.

    say: takes lines for people; None: they stand in the view. Raises QemuError as ``Recording.lines``.
    """
    watch = _Watch(wanted.address, show, lambda setup: _qemu(setup, wanted.address))
    recording = Recording(wanted, say or watch.note)
    for line in recording.lines():
        watch.take(line)
    watch.show(is_last=True)
    return recording


def _qemu(setup: Setup, address: str) -> str:
    version = f"QEMU {'.'.join(map(str, setup.version))}" if setup.version else "QEMU"
    return ", ".join(filter(None, (version, f"VM {setup.name}" if setup.name else "", address)))


def watch_scenario(scenario: Scenario, show: Show) -> RunResult:
    """Simulate ``scenario`` and watch its migration. Errors as of ``hostsim.simulation.run``."""
    from hostsim.simulation import run

    name = scenario.name or "scenario"
    watch = _Watch(name, show, lambda _setup: name, clock="simulated s")
    seen: dict[str, Any] = {"stalls": []}

    def stalls(machine: Machine) -> list[Stall]:
        seen["stalls"] = stalls_of(machine)
        return list(seen["stalls"])

    def look(machine: Machine) -> None:
        for record in _records(machine, seen):
            watch.log.take(record)
        watch.show(lambda: stalls(machine))

    result = run(scenario, look=look)
    last = result.migrations[-1].query if result.migrations else {}
    watch.take({"return": last}, lambda: list(seen["stalls"]), is_last=True)
    return result


def _records(machine: Machine, seen: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The parameters where they have changed, and the answer of query-migrate now."""
    from hostsim.results.collect import query_now

    migration = machine.migration
    if migration is None:
        return
    p = migration.parameters
    parameters = {"downtime-limit": p.downtime_limit_ms, "max-bandwidth": p.max_bandwidth}
    if seen.get("parameters") != parameters:
        seen["parameters"] = parameters
        yield {"execute": "query-migrate-parameters", "return": parameters}
    if migration.state.status not in TERMINAL:
        yield {"execute": "query-migrate", "return": query_now(migration)}


def stalls_of(machine: Machine) -> list[Stall]:
    """The longest waits of vCPUs by kind, the longest first."""
    from hostsim.results.latencies import distributions

    found = [one for one in distributions(machine) if one.vm == "vm" and one.what.startswith(VCPU_WAITS)]
    stalls = [Stall(one.what, one.latencies.count, one.latencies.max_ns) for one in found]
    return sorted(stalls, key=lambda stall: -stall.longest_ns)


SHARE, SHARE_OF_NEWS = 5, 2
"""Forecasts take at most one part in SHARE of the time, since fitting curves to many rounds takes a few hundred ms; one part
in SHARE_OF_NEWS where an iteration has ended: a new round changes a forecast most.
"""


class Forecasts:
    """The last forecast, and when the next one is due."""

    def __init__(self) -> None:
        self._made: Outlook | None = None
        self._mark: tuple[str, float] = ("", 0.0)
        self._at_s = self._made_s = self._spent_s = 0.0

    def of(self, log: MigrationLog | None, mark: tuple[str, float]) -> Outlook:
        """The forecast for ``log``: a new one if it is due, else the last as it reads by now.

        mark: status and iteration of the log.
        """
        if self._made is None or self._is_due(mark):
            self._made_s, self._mark = time.monotonic(), mark
            self._made = outlook(log)
            self._at_s = 0.0 if log is None else float(log.t_s[-1])
            self._spent_s = time.monotonic() - self._made_s
        if log is None or mark[0] in TERMINAL:
            return self._made
        return self._made.later(float(log.t_s[-1]) - self._at_s)

    def fresh(self, log: MigrationLog | None, mark: tuple[str, float]) -> Outlook | None:
        """As ``of`` with ``log`` and ``mark``; None if the last forecast is of an earlier iteration and no new one is due.

        A line that is printed stays: it has no forecast rather than an old one. A simulation may end an iteration each ms.
        """
        found = self.of(log, mark)
        return found if mark == self._mark else None

    def _is_due(self, mark: tuple[str, float]) -> bool:
        if mark[0] != self._mark[0]:
            return True
        share = SHARE if mark == self._mark else SHARE_OF_NEWS
        return time.monotonic() >= self._made_s + share * self._spent_s
