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


@dataclass(frozen=True)
class Mechanism:
    """A mechanism in results.

    name: that of its record in hostsim.qemu.mechanisms.
    place: order of its columns.
    title: heading of its table of rounds.
    answer: its fields of query-migrate, from its figures (hostsim.qemu.mechanism::figures_of).
    rounds: its columns of ``rounds``, which a migration has that turns it on.
    facts: figures of a migration that turns it on, for the verdict.
    """

    name: str
    place: int
    title: str = ""
    answer: Callable[[Any], Mapping[str, Any]] | None = None
    rounds: Columns[Round] = ()
    facts: Callable[[Machine, Migration], dict[str, Any]] | None = None


def mechanisms() -> tuple[Mechanism, ...]:
    """Every mechanism, by place."""
    return parts_in("hostsim.results.mechanisms")


def named(names: frozenset[str]) -> tuple[Mechanism, ...]:
    """The mechanisms of ``names``, by place."""
    return tuple(one for one in mechanisms() if one.name in names)


def number(value: float) -> float | int:
    """Whole numbers without a point, as QEMU prints a double."""
    return int(value) if float(value).is_integer() else value
