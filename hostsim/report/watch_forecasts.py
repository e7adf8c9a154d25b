"""Forecasts of a log that grows, as often as they cost little beside what is watched."""

from __future__ import annotations

import time

from hostsim.logs.model import TERMINAL, MigrationLog
from hostsim.verdict.outlook import Outlook, outlook

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
        """As ``of``; None if the last forecast was made in an iteration before and no new one is due.

        A line that is printed stays: it has no forecast rather than an old one. A simulation may end an iteration each ms.
        """
        found = self.of(log, mark)
        return found if mark == self._mark else None

    def _is_due(self, mark: tuple[str, float]) -> bool:
        if mark[0] != self._mark[0]:
            return True
        share = SHARE if mark == self._mark else SHARE_OF_NEWS
        return time.monotonic() >= self._made_s + share * self._spent_s
