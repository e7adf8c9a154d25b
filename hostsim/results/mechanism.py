"""The record of a mechanism of migration in results, and all of them, found by their folder.

From a record follow the mechanism's part of query-migrate, its columns of ``rounds`` with their files, tables and reference,
and its facts, which a verdict reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hostsim.plugins.parts import parts_in
from hostsim.results.columns import Columns

if TYPE_CHECKING:
    from hostsim.machine.machine import Machine
    from hostsim.qemu.migration import Migration
    from hostsim.results.rounds import Round
    from hostsim.results.tables import OwnResult, Status


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
    own: both at the end of the run; None: it did not act.
    status: of a migration that it ends in a way of its own; None: in no such way.
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
    status: Callable[[Machine], Status | None] | None = None


def mechanisms() -> tuple[Mechanism, ...]:
    """Every mechanism, by place."""
    return parts_in("hostsim.results.mechanisms")


def named(names: frozenset[str]) -> tuple[Mechanism, ...]:
    """The mechanisms of ``names``, by place."""
    return tuple(one for one in mechanisms() if one.name in names)


def number(value: float) -> float | int:
    """Whole numbers without a point, as QEMU prints a double."""
    return int(value) if float(value).is_integer() else value
