"""The table of what KVM's dirty logging costs, round by round."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hostsim.report.tables import ROWS_MAX, evenly, rounds_table, titled_table
from hostsim.verdict.words import count_words, span_words

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from hostsim.results.tables import MigrationResult, Table

Words = Callable[[Any], str]


COLUMNS: tuple[tuple[str, str, Words], ...] = (
    ("wp", "wp_faults", count_words),
    ("map", "map_faults", count_words),
    ("split", "split_faults", count_words),
    ("track", "track_faults", count_words),
    ("spurious", "spurious", count_words),
    ("retried", "retries", count_words),
    ("PML full", "pml_full", count_words),
    ("ring full", "ring_full", count_words),
    ("lock wait", "lock_wait_ns", span_words),
    ("flushes", "flushes", count_words),
    ("syncs", "sync_ns", span_words),
    ("CLEARs", "clear_ns", span_words),
    ("reaps", "reap_ns", span_words),
    ("host wait", "host_wait_ns", span_words),
    ("host hold", "host_hold_ns", span_words),
    ("page wait", "page_wait_ns", span_words),
    ("guest lost", "stall_share", lambda share: f"{100 * share:.3g} %"),
)
"""Heading, column of ``rounds``, how it is written. lock wait, page wait: of the vCPUs; host: of mmu_lock, by threads that
harvest.
"""


def migration_tables(migration: MigrationResult) -> list[RichTable]:
    """The rounds of a migration, and under KVM what they cost."""
    rounds = migration.rounds
    return [rounds_table(rounds)] if migration.kvm is None else [rounds_table(rounds), kvm_table(rounds)]


def kvm_table(rounds: Table, most: int = ROWS_MAX) -> RichTable:
    """At most ``most`` rounds, and of the columns those in which something happened."""
    rows = list(rounds.rows())
    used = [column for column in COLUMNS if rounds[column[1]].any() or column[1] == "stall_share"]
    shown = evenly(len(rows), most)
    left_out = f" ({len(shown)} of {len(rows)})" if len(shown) < len(rows) else ""
    table = titled_table(f"What finding dirty pages cost{left_out}", ["round", *(heading for heading, _, _ in used)])
    for index in shown:
        table.add_row(str(rows[index]["round"]), *(words(rows[index][column]) for _, column, words in used))
    return table
