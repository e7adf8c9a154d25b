"""Tables of mechanisms, round by round: the cost of KVM's dirty logging, what each mechanism of migration sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hostsim.core.constants import NS_PER_MS
from hostsim.report.columns import Grid, Role, shown
from hostsim.report.tables import ROUND_COLUMNS, ROWS_MAX, moment_words, rounds_table, some_rows
from hostsim.results.dirty_limit import LIMITS
from hostsim.results.dirty_rate import RATES
from hostsim.results.kvm import KVM_ROUNDS
from hostsim.results.mechanism import Mechanism, mechanisms
from hostsim.verdict.words import span_words

if TYPE_CHECKING:
    from hostsim.results.tables import MigrationResult, Table

KEYS = tuple(column for column in ROUND_COLUMNS if column.role is Role.KEY)
COLUMNS = (*KEYS, *shown(KVM_ROUNDS))
"""lock wait, page wait: of the vCPUs; host: of mmu_lock, by threads that harvest."""
LIMIT_COLUMNS = shown(
    LIMITS, limit_rate={"unit": "MiB/s"}, current_rate={"unit": "MiB/s"},
    throttle_us={"words": lambda us: span_words(1000 * us)},
)  # fmt: skip
RATE_COLUMNS = shown(
    RATES, start_ns={"words": moment_words}, calc_time_ms={"words": lambda ms: span_words(NS_PER_MS * ms)},
    dirty_rate={"unit": "MiB/s"}, written_rate={"unit": "MiB/s"},
)  # fmt: skip


def migration_tables(migration: MigrationResult) -> list[Grid]:
    """The rounds of a migration, under KVM the cost of each, and the columns of its mechanisms."""
    rounds = migration.rounds
    found = [rounds_table(rounds)] if migration.kvm is None else [rounds_table(rounds), kvm_table(rounds)]
    return [*found, *mechanism_tables(migration)]


def limits_table(limits: Table, most: int = ROWS_MAX) -> Grid:
    """At most ``most`` vCPUs and their limits."""
    return some_rows("Dirty limit", LIMIT_COLUMNS, list(limits.rows()), most)


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
