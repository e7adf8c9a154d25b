"""The record of a mechanism of migration in verdicts, and all of them, found by their folder.

From a record follow the mechanism's evidence, of a run and of a log, the judges and lines of a verdict, and the remedies,
with the runs that confirm them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hostsim.plugins.parts import parts_in

if TYPE_CHECKING:
    # Circle of types: a record judges evidence; outcomes of verdicts are read from the records.
    from hostsim.logs.model import MigrationLog
    from hostsim.results.tables import MigrationResult, RunResult
    from hostsim.verdict.evidence import Evidence, Seen
    from hostsim.verdict.forecast import Forecast
    from hostsim.verdict.model import Own, Remedy, Verdict

Changes = Mapping[str, Any]
"""Dotted key of the scenario to its value inside: ns, bytes/s, bool."""
Judge = Callable[["Evidence"], "Verdict | None"]
LogJudge = Callable[["MigrationLog", "Evidence"], "Verdict | None"]
Tone = Literal["good", "bad"]


@dataclass(frozen=True)
class OwnOutcome:
    """An outcome of verdicts that one mechanism alone gives.

    tone: of the card that shows the verdict. converged: the migration completed.
    """

    name: Own
    tone: Tone
    converged: bool = False


@dataclass(frozen=True)
class Tried:
    """How a remedy with a value is run again.

    name: of the value, in a sentence.
    changes: keys of the scenario for a value.
    words: of the value, as the progress of the runs names it.
    values: values to try, ascending; None: the computed one alone.
    up_to: words before the last of them, where none of them did.
    again: the remedy with another value than was computed; None: its value never changes.
    not_run: the remedy if no run has confirmed it; None: with its computed value.
    """

    name: str
    changes: Callable[[float, Evidence], Changes]
    words: Callable[[float], str]
    values: Callable[[Remedy, Evidence], Sequence[float]] | None = None
    again: Callable[[Evidence, Forecast, float | None], Remedy] | None = None
    not_run: Callable[[Remedy], Remedy] | None = None
    up_to: str = "up to"


@dataclass(frozen=True)
class Mechanism:
    """A mechanism in verdicts.

    name: that of its record in hostsim.qemu.mechanisms, by which ``Evidence.mechanisms`` has its evidence.
    place: order of its lines.
    of_run: evidence of a simulated migration; None: nothing of the mechanism was seen.
    of_log: evidence of a log, at the answers int64[k] before the guest moved.
    outcomes: outcomes that no other verdicts have.
    under_way: judges a log whose last answer shows the mechanism at work.
    ended: judges migrations whose end the mechanism decides.
    running: judges migrations that have not ended, where their course says less than the mechanism does.
    line: adds a line on the mechanism to a verdict, or returns the verdict as it is.
    advice: a remedy where the stream would have to send so many bytes/s; None: it does not help here.
    always_ends: the remedy that ends any migration, once so many seconds of sending [s] are left, with the word before them
    ("about", "up to"); None: the mechanism promises no end.
    in_words: the mechanism in a sentence that says which remedies do not help; needed with ``always_ends``.
    tried: kind of remedy to the runs that confirm it.
    """

    name: str
    place: int
    of_run: Callable[[RunResult, MigrationResult], Seen | None] | None = None
    of_log: Callable[[MigrationLog, NDArray[np.int64]], Seen | None] | None = None
    outcomes: tuple[OwnOutcome, ...] = ()
    under_way: tuple[LogJudge, ...] = ()
    ended: tuple[Judge, ...] = ()
    running: tuple[Judge, ...] = ()
    line: Callable[[Verdict, Evidence], Verdict] | None = None
    advice: Callable[[Evidence, float], Remedy | None] | None = None
    always_ends: Callable[[Evidence, float, str], Remedy] | None = None
    in_words: str = ""
    tried: Mapping[str, Tried] = field(default_factory=dict)


def mechanisms() -> tuple[Mechanism, ...]:
    """Every mechanism, by place."""
    return parts_in("hostsim.verdict.mechanisms")


@cache
def outcomes() -> Mapping[str, OwnOutcome]:
    """The outcomes that mechanisms alone give, by name."""
    return {outcome.name: outcome for one in mechanisms() for outcome in one.outcomes}


def sure_ends() -> tuple[str, ...]:
    """The mechanisms that end any migration, in words."""
    return tuple(one.in_words for one in mechanisms() if one.always_ends is not None)


def seen_in_run(result: RunResult, migration: MigrationResult) -> dict[str, Seen]:
    """``Evidence.mechanisms`` of a simulated migration."""
    found = {one.name: one.of_run(result, migration) for one in mechanisms() if one.of_run is not None}
    return {name: seen for name, seen in found.items() if seen is not None}


def seen_in_log(log: MigrationLog, at: NDArray[np.int64]) -> dict[str, Seen]:
    """``Evidence.mechanisms`` of a log, at the answers ``at`` before the guest moved."""
    found = {one.name: one.of_log(log, at) for one in mechanisms() if one.of_log is not None}
    return {name: seen for name, seen in found.items() if seen is not None}
