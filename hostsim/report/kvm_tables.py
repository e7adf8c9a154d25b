"""Tables of mechanisms, round by round: the cost of KVM's dirty logging, what each mechanism of migration sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hostsim.core.constants import NS_PER_MS
from hostsim.report.columns import Grid, Role, shown
from hostsim.report.tables import ROUND_COLUMNS, ROWS_MAX, moment_words, rounds_table, some_rows
from hostsim.results.dirty_rate import RATES
from hostsim.results.kvm import KVM_ROUNDS
from hostsim.results.mechanism import Mechanism, OfRun, mechanisms, tables_of_runs
from hostsim.verdict.words import span_words

if TYPE_CHECKING:
    from hostsim.results.tables import MigrationResult, RunResult, Table

KEYS = tuple(column for column in ROUND_COLUMNS if column.role is Role.KEY)
COLUMNS = (*KEYS, *shown(KVM_ROUNDS))
"""lock wait, page wait: of the vCPUs; host: of mmu_lock, by threads that harvest."""
RATE_COLUMNS = shown(
    RATES, start_ns={"words": moment_words}, calc_time_ms={"words": lambda ms: span_words(NS_PER_MS * ms)},
    dirty_rate={"unit": "MiB/s"}, written_rate={"unit": "MiB/s"},
)  # fmt: skip


def migration_tables(migration: MigrationResult) -> list[Grid]:
    """The rounds of a migration, under KVM the cost of each, and the columns of its mechanisms."""
    rounds = migration.rounds
    found = [rounds_table(rounds)] if migration.kvm is None else [rounds_table(rounds), kvm_table(rounds)]
    return [*found, *mechanism_tables(migration)]


def tables_of_run(result: RunResult, most: int = ROWS_MAX) -> list[tuple[str, Grid]]:
    """(heading, at most ``most`` rows) of each table that a mechanism has of the whole run."""
    return [(one.heading, _of_run(one, result, most)) for one in tables_of_runs() if one.key in result.of_mechanisms]


def _of_run(one: OfRun, result: RunResult, most: int) -> Grid:
    units = {name: {"unit": unit} for name, unit in one.units.items()}
    spans = {name: {"words": lambda us: span_words(1000 * us)} for name in one.spans_us}
    return some_rows(one.title, shown(one.columns, **units, **spans), list(result.of_mechanisms[one.key].rows()), most)


def rates_table(rates: Sequence[Mapping[str, Any]], most: int = ROWS_MAX) -> Grid:
    """At most ``most`` measurements of the guest's dirty rate."""
    return some_rows("calc-dirty-rate", RATE_COLUMNS, list(rates), most)


def mechanism_tables(migration: MigrationResult, most: int = ROWS_MAX) -> list[Grid]:
    """For each mechanism a table of its columns of rounds, then its own table, of at most ``most`` rows; none without."""
    rounds = migration.rounds
    has = [one for one in mechanisms() if one.rounds and one.rounds[0].name in rounds.columns]
    found = [some_rows(one.title, (*KEYS, *shown(one.rounds)), list(rounds.rows()), most) for one in has]
    return [*found, *(_own_table(one, migration, most) for one in mechanisms() if one.name in migration.own)]


def _own_table(one: Mechanism, migration: MigrationResult, most: int) -> Grid:
    columns = shown(one.table, **{name: {"words": moment_words} for name in one.moments})
    return some_rows(one.title, columns, list(migration.own[one.name].table.rows()), most)


def kvm_table(rounds: Table, most: int = ROWS_MAX) -> Grid:
    """At most ``most`` rounds, and only the columns in which a round has more than 0."""
    return some_rows("What finding dirty pages cost", COLUMNS, list(rounds.rows()), most)
