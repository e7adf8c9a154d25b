"""Tables of mechanisms, round by round: the cost of KVM's dirty logging, the pages of XBZRLE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostsim.report.columns import Grid, Role, shown
from hostsim.report.tables import ROUND_COLUMNS, ROWS_MAX, rounds_table, some_rows
from hostsim.results.kvm import KVM_ROUNDS
from hostsim.results.rounds import XBZRLE_ROUNDS

if TYPE_CHECKING:
    from hostsim.results.tables import MigrationResult, Table

KEYS = tuple(column for column in ROUND_COLUMNS if column.role is Role.KEY)
COLUMNS = (*KEYS, *shown(KVM_ROUNDS))
"""lock wait, page wait: of the vCPUs; host: of mmu_lock, by threads that harvest."""


XBZRLE_COLUMNS = (*KEYS, *shown(XBZRLE_ROUNDS))


def migration_tables(migration: MigrationResult) -> list[Grid]:
    """The rounds of a migration, under KVM the cost of each, and what each sent with XBZRLE."""
    rounds = migration.rounds
    found = [rounds_table(rounds)] if migration.kvm is None else [rounds_table(rounds), kvm_table(rounds)]
    return [*found, xbzrle_table(rounds)] if "xbzrle_pages" in rounds.columns else found


def xbzrle_table(rounds: Table, most: int = ROWS_MAX) -> Grid:
    """At most ``most`` rounds: pages in XBZRLE's cache, pages that missed it, and bytes of the deltas."""
    return some_rows("XBZRLE", XBZRLE_COLUMNS, list(rounds.rows()), most)


def kvm_table(rounds: Table, most: int = ROWS_MAX) -> Grid:
    """At most ``most`` rounds, and only the columns in which a round has more than 0."""
    return some_rows("What finding dirty pages cost", COLUMNS, list(rounds.rows()), most)
