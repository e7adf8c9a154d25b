"""The record of a mechanism of migration in verdicts, and all of them, found by their folder.

From a record follow the mechanism's evidence, of a run and of a log, the judges and lines of a verdict, and the remedies,
with the runs that confirm them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hostsim.plugins.parts import parts_in

if TYPE_CHECKING:
    from hostsim.logs.model import MigrationLog
    from hostsim.results.tables import MigrationResult, RunResult
    from hostsim.verdict.evidence import Evidence, Seen
    from hostsim.verdict.forecast import Forecast
    from hostsim.verdict.model import Remedy, Verdict

Changes = Mapping[str, Any]
"""Dotted key of the scenario to its value inside: ns, bytes/s, bool."""
Judge = Callable[["Evidence"], "Verdict | None"]


@dataclass(frozen=True)
class Tried:
    """How a remedy with a value is run again.

    name: of the value, in a sentence.
    changes: keys of the scenario for a value.
    words: of the value, as the progress of the runs names it.
    values: values to try, ascending; None: the computed one alone.
    again: the remedy with another value than was computed; None: its value never changes.
    not_run: the remedy if no run has confirmed it; None: with its computed value.
    """

    name: str
    changes: Callable[[float, Evidence], Changes]
    words: Callable[[float], str]
    values: Callable[[Remedy, Evidence], Sequence[float]] | None = None
    again: Callable[[Evidence, Forecast, float | None], Remedy] | None = None
    not_run: Callable[[Remedy], Remedy] | None = None


@dataclass(frozen=True)
class Mechanism:
    """A mechanism in verdicts.

    name: that of its record in hostsim.qemu.mechanisms, by which ``Evidence.mechanisms`` has what was seen of it.
    place: order of its lines.
    of_run: evidence of a simulated migration; None: nothing of the mechanism was seen.
    of_log: evidence of a log, at the answers int64[k] before the guest moved.
    ended: judges migrations whose end the mechanism decides.
    running: judges migrations that have not ended, where their course says less than the mechanism does.
    line: adds to any verdict what the mechanism did, or returns the verdict as it is.
    advice: a remedy where the stream would have to send so many bytes/s; None: it does not help here.
    tried: kind of remedy to the runs that confirm it.
    """

    name: str
    place: int
    of_run: Callable[[RunResult, MigrationResult], Seen | None] | None = None
    of_log: Callable[[MigrationLog, NDArray[np.int64]], Seen | None] | None = None
    ended: tuple[Judge, ...] = ()
    running: tuple[Judge, ...] = ()
    line: Callable[[Verdict, Evidence], Verdict] | None = None
    advice: Callable[[Evidence, float], Remedy | None] | None = None
    tried: Mapping[str, Tried] = field(default_factory=dict)


def mechanisms() -> tuple[Mechanism, ...]:
    """Every mechanism, by place."""
    return parts_in("hostsim.verdict.mechanisms")


def seen_in_run(result: RunResult, migration: MigrationResult) -> dict[str, Seen]:
    """``Evidence.mechanisms`` of a simulated migration."""
    found = {one.name: one.of_run(result, migration) for one in mechanisms() if one.of_run is not None}
    return {name: seen for name, seen in found.items() if seen is not None}


def seen_in_log(log: MigrationLog, at: NDArray[np.int64]) -> dict[str, Seen]:
    """``Evidence.mechanisms`` of a log, at the answers ``at`` before the guest moved."""
    found = {one.name: one.of_log(log, at) for one in mechanisms() if one.of_log is not None}
    return {name: seen for name, seen in found.items() if seen is not None}
