"""Tables of a run: rounds, guests, KVM's dirty logging, mechanisms, memory, ageing. Rows of a validation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hostsim.core.constants import NS_PER_MS, PAGE_WIRE_BYTES
from hostsim.report.columns import Column, Grid, Role, grid_of, in_use, shown
from hostsim.report.console import FAILED
from hostsim.results.ageing import PASSES
from hostsim.results.dirty_rate import RATES
from hostsim.results.kvm import KVM_ROUNDS
from hostsim.results.latencies import DISTRIBUTION
from hostsim.results.mechanism import Mechanism, OfRun, mechanisms, tables_of_runs
from hostsim.results.memory import VMS
from hostsim.results.rounds import ROUNDS
from hostsim.verdict.words import bandwidth_words, bytes_words, count_words, seconds_words, span_words

if TYPE_CHECKING:
    from hostsim.results.memory import HostResult
    from hostsim.results.tables import MigrationResult, RunResult, Table
    from hostsim.validation.rows import Row

ROWS_MAX = 12
NONE = "-"
"""Stands for a value that is unknown or does not apply."""


def _dirtied(row: dict[str, Any]) -> str:
    """The first sync has none before it to count from."""
    return NONE if row["round"] == 1 else bandwidth_words(row["dirty_rate_pages_per_s"] * PAGE_WIRE_BYTES)


def _known(words: Any) -> Any:
    """``words`` for a measured value, else NONE; QEMU has no bandwidth or threshold before its first 100 ms window ends."""
    return lambda value: words(value) if value > 0 else NONE


def moment_words(ns: float) -> str:
    """A time since the start: in milliseconds at least, for it stands below larger ones."""
    return seconds_words(ns / 1e9)


ROUND_COLUMNS = shown(
    ROUNDS,
    start_ns={"words": moment_words},
    end_ns={"words": moment_words, "of": lambda row: row["end_ns"] - row["start_ns"]},
    dirty_rate_pages_per_s={"words": str, "of": _dirtied},
    bandwidth_bytes_per_s={"words": _known(bandwidth_words)},
    threshold_bytes={"words": _known(bytes_words)},
)
VALIDATION_COLUMNS = (
    Column("id", "case: quantity", role=Role.KEY, prose=True, of=lambda row: f"{row.id}: {row.quantity}"),
    Column("expected", "expected", prose=True, least=12, of=lambda row: figure(row.expected)),
    Column("got", "got", prose=True, least=12, of=lambda row: figure(row.got)),
    Column("error", "error", of=lambda row: figure(row.error)),
    Column("tolerance", "tolerance", role=Role.SPARE, of=lambda row: figure(row.tolerance)),
    Column("passed", "", of=lambda row: "ok" if row.passed else FAILED if row.scored else "shown"),
    Column("note", "note", role=Role.SPARE, prose=True, of=lambda row: row.note),
)
SUMMARY_COLUMNS = (
    Column("suite", "suite", role=Role.KEY), Column("passed", "passed"), Column("failed", "failed"),
    Column("shown", "shown only"),
)  # fmt: skip


def evenly(count: int, most: int = ROWS_MAX) -> list[int]:
    """At most ``most`` indexes below ``count``: the first, the last, and evenly between."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def some_rows(title: str, columns: Sequence[Column], rows: Sequence[Any], most: int = ROWS_MAX, of: str = "") -> Grid:
    """A table of at most ``most`` of ``rows``; if that leaves any out the title has both numbers, and ``of`` them."""
    shown = evenly(len(rows), most)
    left_out = f" ({len(shown)} of {len(rows)}{of})" if len(shown) < len(rows) else ""
    used = [replace(column, if_any=False) for column in in_use(columns, rows)]
    return grid_of(used, [rows[index] for index in shown], f"{title}{left_out}")


def rounds_table(rounds: Table, most: int = ROWS_MAX) -> Grid:
    """Rounds of a migration, at most ``most`` of them; times since it started; the throttle if there is any."""
    return some_rows("Rounds", ROUND_COLUMNS, list(rounds.rows()), most)


def plain_table(source: Table, most: int = ROWS_MAX) -> Grid:
    """The table ``source`` under its own column names, the first naming the rows; at most ``most`` rows, evenly chosen."""
    first, *others = source.columns
    columns = [Column(first, first, figure, Role.KEY), *(_plain(name) for name in others)]
    return some_rows(source.name, columns, list(source.rows()), most)


def _plain(name: str) -> Column:
    """``lock_wait_s`` -> "lock wait [s]"."""
    stem, _, unit = name.rpartition("_")
    has_unit = bool(stem) and unit in {"s", "ms", "us", "ns"}
    return Column(name, (stem if has_unit else name).replace("_", " "), figure, unit=unit if has_unit else "")


def validation_tables(rows: Sequence[Row]) -> Iterator[Grid]:
    """A table a suite, a line a row; rows that are shown only are dim."""
    for suite in dict.fromkeys(row.suite for row in rows):
        mine = [row for row in rows if row.suite == suite]
        yield grid_of(VALIDATION_COLUMNS, mine, suite, (i for i, row in enumerate(mine) if not row.scored))


def summary_table(rows: Sequence[Row]) -> Grid:
    """Passed and failed of each suite; rows that are shown only are counted apart."""
    suites = dict.fromkeys(row.suite for row in rows)
    return grid_of(SUMMARY_COLUMNS, [_counted(suite, rows) for suite in suites], "Summary")


def _counted(suite: str, rows: Sequence[Row]) -> dict[str, Any]:
    mine = [row for row in rows if row.suite == suite]
    passed = [row.passed for row in mine if row.scored]
    return {
        "suite": suite, "passed": sum(passed), "failed": len(passed) - sum(passed), "shown": len(mine) - len(passed)
    }  # fmt: skip


def figure(value: Any) -> str:
    """A value in a cell: five significant digits, nothing for None."""
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


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


VM_COLUMNS = shown(VMS)
"""Columns over ``memory.vms``; read back, migration waited: pages that the migration thread waited for, and that time."""
PASS_COLUMNS = shown(
    PASSES,
    start_ns={"words": moment_words},
    working_set_pages={"words": lambda pages: NONE if math.isnan(pages) else count_words(pages)},
)
"""Columns over ``ageing_passes``; the working set before the first pass is not known."""
LATENCY_COLUMNS = shown(DISTRIBUTION, what={"words": lambda what: what.replace("_", " "), "prose": True})


def host_tables(host: HostResult) -> list[Grid]:
    """Everything that happened, in the order memory, ageing, latencies."""
    memories = {"Memory": host.memory, "Memory of the destination": host.destination_memory}
    found = [_memory_table(title, memory) for title, memory in memories.items() if memory is not None]
    if host.ageing is not None:
        passes = list(host.tables["ageing_passes"].rows())
        found.append(some_rows("Ageing", PASS_COLUMNS, passes, of=" passes"))
    return [*found, grid_of(LATENCY_COLUMNS, (one.to_dict() for one in host.latencies), "Latencies")]


def _memory_table(what: str, memory: dict[str, Any]) -> Grid:
    marks = memory["watermarks"]
    title = (
        f"{what}: {count_words(memory['free_frames'])} of {count_words(memory['frames'])} frames free "
        f"(low {marks['low']}, high {marks['high']}), {count_words(memory['swap_used_pages'])} swap slots used"
    )
    return grid_of(VM_COLUMNS, memory["vms"], title)
