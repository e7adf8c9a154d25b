"""The last answers of a log and the rates of figures over them, shared by the judges of logs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hostsim.logs.model import TERMINAL, MigrationLog

Array = NDArray[np.float64]
RECENT = 5
"""A rate is taken over so many answers at the end: earlier ones may belong to another phase (assumed)."""


@dataclass(frozen=True)
class Rate:
    """Movement of a figure: bytes a second, over so many seconds."""

    per_s: float
    seconds: float


def last(column: Array) -> float | None:
    """The last figure of ``column`` that is in the log."""
    told = column[~np.isnan(column)]
    return float(told[-1]) if len(told) else None


def running(log: MigrationLog) -> NDArray[np.int64]:
    """Indices of the answers before the migration ended."""
    return np.flatnonzero(np.array([status not in TERMINAL for status in log.status], bool))


def rate(
    log: MigrationLog, column: Array, *, falls: bool = False, recent: int = RECENT, clock: Array | None = None
) -> Rate | None:
    """The rate at which ``column`` grew (``falls``: fell) over its last answers; None with fewer than two, or if it did not.

    clock: float64[samples], seconds, if not those since the start of the migration.
    """
    at = np.flatnonzero(~np.isnan(column) & np.isin(np.arange(len(log)), running(log)))[-recent:]
    if len(at) < 2:
        return None
    t_s = log.t_s if clock is None else np.where(np.isnan(clock), -np.inf, clock)
    seconds = float(t_s[at[-1]] - t_s[at[0]])
    moved = float(column[at[-1]] - column[at[0]]) * (-1 if falls else 1)
    return Rate(moved / seconds, seconds) if 0 < seconds < np.inf and moved > 0 else None


def seconds_in(log: MigrationLog, statuses: tuple[str, ...]) -> float:
    """Duration [s] of the last run of answers with one of ``statuses``; 0 for one answer."""
    at = [i for i in running(log) if log.status[i] in statuses]
    first = at[-1] if at else 0
    while first - 1 in at:
        first -= 1
    return float(log.t_s[at[-1]] - log.t_s[first]) if at else 0.0
