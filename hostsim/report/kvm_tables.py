"""The table of what KVM's dirty logging costs, round by round."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostsim.report.columns import Column, Grid, Role
from hostsim.report.tables import ROWS_MAX, rounds_table, some_rows
from hostsim.verdict.words import count_words, percent_words, span_words

if TYPE_CHECKING:
    from hostsim.results.tables import MigrationResult, Table

ROUND = Column("round", "round", role=Role.KEY)
LOST = Column("stall_share", "guest lost", percent_words)
COLUMNS = (
    Column("wp_faults", "wp", count_words, if_any=True),
    Column("map_faults", "map", count_words, if_any=True),
    Column("split_faults", "split", count_words, if_any=True),
    Column("track_faults", "track", count_words, if_any=True),
    Column("spurious", "spurious", count_words, Role.SPARE, if_any=True),
    Column("retries", "retried", count_words, Role.SPARE, if_any=True),
    Column("pml_full", "PML full", count_words, if_any=True),
    Column("ring_full", "ring full", count_words, if_any=True),
    Column("lock_wait_ns", "lock wait", span_words, if_any=True),
    Column("flushes", "flushes", count_words, Role.SPARE, if_any=True),
    Column("sync_ns", "syncs", span_words, if_any=True),
    Column("clear_ns", "CLEARs", span_words, if_any=True),
    Column("reap_ns", "reaps", span_words, if_any=True),
    Column("host_wait_ns", "host wait", span_words, if_any=True),
    Column("host_hold_ns", "host hold", span_words, Role.SPARE, if_any=True),
    Column("page_wait_ns", "page wait", span_words, if_any=True),
)
"""Columns of ``rounds``. lock wait, page wait: of the vCPUs; host: of mmu_lock, by threads that
harvest.
"""


def migration_tables(migration: MigrationResult) -> list[Grid]:
    """The rounds of a migration, and under KVM what they cost."""
    rounds = migration.rounds
    return [rounds_table(rounds)] if migration.kvm is None else [rounds_table(rounds), kvm_table(rounds)]


def kvm_table(rounds: Table, most: int = ROWS_MAX) -> Grid:
    """At most ``most`` rounds, and of the columns those in which something happened."""
    return some_rows("What finding dirty pages cost", [ROUND, *COLUMNS, LOST], list(rounds.rows()), most)
