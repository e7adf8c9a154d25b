"""The record of a mechanism of migration in results, and all of them, found by their folder.

From a record follow the mechanism's part of query-migrate, its columns of ``rounds`` with their files, tables and reference,
and its facts, which a verdict reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from hostsim.plugins.parts import parts_in
from hostsim.results.columns import Columns

if TYPE_CHECKING:
    # Circle of types: tables hold figures of mechanisms, whose records read those tables.
    from hostsim.machine.machine import Machine
    from hostsim.qemu.migration import Migration
    from hostsim.results.rounds import Round
    from hostsim.results.tables import MigrationResult, OwnResult, Table


@dataclass(frozen=True)
class OfRun:
    """A table of a whole run, which has it with a migration or without.

    key: of run.json; title: in the terminal; heading: on the page of the run.
    table: at the end of the run; None: the run has none.
    units: column to the unit in which it is shown whole; spans_us: columns of spans in us.
    """

    key: str
    title: str
    heading: str
    columns: Columns[Any]
    table: Callable[[Machine], Table | None]
    units: Mapping[str, str] = field(default_factory=dict)
    spans_us: tuple[str, ...] = ()


@dataclass(frozen=True)
class End:
    """A status in which the mechanism alone leaves a migration.

    words: of the end, where figures are compared; "": the status.
    converged: the guest runs at the destination, or a replica there follows it.
    """

    status: str
    words: str = ""
    converged: bool = False


@dataclass(frozen=True)
class Mechanism:
    """A mechanism in results.

    name: that of its record in hostsim.qemu.mechanisms.
    place: order of its columns.
    title: heading of its table of rounds.
    answer: its fields of query-migrate, from its figures (hostsim.qemu.mechanism::figures_of).
    rounds: its columns of ``rounds``, which a migration has that turns it on.
    facts: figures of a migration that turns it on, for the verdict.
    table: columns of a table of its own, a file of its name a migration; moments: those that are points in time.
    figures: keys of the object of its name in run.json, one a migration.
    of_run: a table of a whole run; None: it has none.
    own: both at the end of the run; None: it did not act.
    ram: its members of query-migrate's ``ram``, which QEMU gives as 0 with the mechanism off.
    ends: statuses in which it leaves a migration.
    status: of a migration that it ends in one of them, if QEMU has no such status; None: in no such way.
    spans: statuses of QEMU that a chart marks as spans, and the colour of each.
    compared: figures of a migration in a comparison of mechanisms, {} if it did not act; ``ended``: the end in words.
    """

    name: str
    place: int
    title: str = ""
    answer: Callable[[Any], Mapping[str, Any]] | None = None
    rounds: Columns[Round] = ()
    facts: Callable[[Machine, Migration], dict[str, Any]] | None = None
    table: Columns[Any] = ()
    moments: tuple[str, ...] = ()
    figures: Columns[Any] = ()
    own: Callable[[Machine], OwnResult | None] | None = None
    of_run: OfRun | None = None
    ram: tuple[str, ...] = ()
    ends: tuple[End, ...] = ()
    status: Callable[[Machine], str | None] | None = None
    spans: Mapping[str, str] = field(default_factory=dict)
    compared: Callable[[MigrationResult], Mapping[str, int | float | str]] | None = None


def mechanisms() -> tuple[Mechanism, ...]:
    """Every mechanism, by place."""
    return parts_in("hostsim.results.mechanisms")


@cache
def ends() -> Mapping[str, End]:
    """The statuses in which mechanisms leave a migration, by name."""
    return {end.status: end for one in mechanisms() for end in one.ends}


def is_converged(status: object) -> bool:
    """Whether the guest runs at the destination, or a replica there follows it, or followed it until the source failed."""
    return status == "completed" or (status in ends() and ends()[str(status)].converged)


def end_words(status: str) -> str:
    """The end of a migration by its status."""
    return "not complete" if status == "active" else (status in ends() and ends()[status].words) or status


def tables_of_runs() -> tuple[OfRun, ...]:
    """Every table of a whole run that a mechanism has."""
    return tuple(one.of_run for one in mechanisms() if one.of_run is not None)


def tables_of(machine: Machine) -> dict[str, Table]:
    """Tables of the run of ``machine``, by the key of run.json."""
    found = {one.key: one.table(machine) for one in tables_of_runs()}
    return {key: table for key, table in found.items() if table is not None}


def named(names: frozenset[str]) -> tuple[Mechanism, ...]:
    """The mechanisms of ``names``, by place."""
    return tuple(one for one in mechanisms() if one.name in names)


def number(value: float) -> float | int:
    """Whole numbers without a point, as QEMU prints a double."""
    return int(value) if float(value).is_integer() else value


def percent(share: float) -> float:
    """``share`` in percent, without the last digits, in which only the rounding of sums differs."""
    return round(100.0 * share, 6) + 0.0
