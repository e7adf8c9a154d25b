"""The results of a run: tables of read-only columns, one result a migration, one a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hostsim.results import frames
from hostsim.results.columns import Column, R, names, read_row, schema
from hostsim.results.kvm import KvmCosts
from hostsim.results.mechanism import is_converged
from hostsim.results.rounds import ROUNDS
from hostsim.results.sender import SENDER, Sender

if TYPE_CHECKING:
    # Circle of types: the result of a run holds that of its host, which is made of tables.
    from hostsim.results.memory import HostResult

Array = NDArray[Any]
FORMAT = "hostsim-run/1"


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of equal length, each a read-only 1-D array; names carry units.

    entries: the registry's columns of a table of results, with the units and meanings that Parquet files carry.
    """

    name: str
    columns: dict[str, Array]
    entries: tuple[Column[Any], ...] = ()

    def __post_init__(self) -> None:
        columns = {name: _read_only(column) for name, column in self.columns.items()}
        lengths = {len(column) for column in columns.values()}
        assert len(lengths) <= 1, f"table {self.name}: columns of lengths {sorted(lengths)}"
        object.__setattr__(self, "columns", columns)

    @classmethod
    def of(cls, name: str, schema: Mapping[str, str], rows: Iterable[Sequence[Any]] = ()) -> Table:
        """A table from rows in the order of ``schema`` (column name to dtype)."""
        by_column = list(zip(*rows, strict=True)) or [()] * len(schema)
        assert len(by_column) == len(schema), f"table {name}: {len(by_column)} values for {len(schema)} columns"
        pairs = zip(schema.items(), by_column, strict=True)
        return cls(name, {key: np.array(values, dtype) for (key, dtype), values in pairs})

    @classmethod
    def read(cls, name: str, columns: Sequence[Column[R]], records: Iterable[R]) -> Table:
        """The table ``name`` with a row for each of ``records``; the source of each of ``columns`` reads the value."""
        return cls.of_dicts(name, columns, (read_row(columns, record) for record in records))

    @classmethod
    def of_dicts(cls, name: str, columns: Sequence[Column[Any]], rows: Iterable[Mapping[str, Any]] = ()) -> Table:
        """A table from rows that have the names of ``columns``, and may have others."""
        every = list(rows)
        arrays = {key: np.array([row[key] for row in every], dtype) for key, dtype in schema(columns).items()}
        return cls(name, arrays, tuple(columns))

    def beside(self, other: Table) -> Table:
        """This table with the columns of ``other`` behind its own."""
        return Table(self.name, {**self.columns, **other.columns}, (*self.entries, *other.entries))

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, column: str) -> Array:
        return self.columns[column]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table):
            return NotImplemented
        same_names = self.name == other.name and list(self.columns) == list(other.columns)
        return same_names and all(_same(self[key], other[key]) for key in self.columns)

    __hash__ = None  # type: ignore[assignment]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each row as a dict of plain Python values."""
        plain = [column.tolist() for column in self.columns.values()]
        for values in zip(*plain, strict=True):
            yield dict(zip(self.columns, values, strict=True))

    def to_arrow(self) -> Any:
        """A pyarrow.Table, numbers without a copy. MissingExtraError without the extra ``frames``."""
        return frames.to_arrow(self)

    def to_pandas(self) -> Any:
        """A pandas.DataFrame. MissingExtraError without the extra ``frames``."""
        return frames.to_pandas(self)

    def to_polars(self) -> Any:
        """A polars.DataFrame. MissingExtraError without the extra ``frames``."""
        return frames.to_polars(self)


class Tabular(Protocol):
    """Results with tables by the stem of their files."""

    @property
    def tables(self) -> dict[str, Table]:
        """Tables by the stems of their files."""
        ...


class HasTables:
    """Methods of ``Tabular`` results: each table as a frame of another library."""

    def to_arrow(self: Tabular) -> dict[str, Any]:
        """A pyarrow.Table for each of ``tables``, numbers without a copy. MissingExtraError without the extra ``frames``."""
        return {name: table.to_arrow() for name, table in self.tables.items()}

    def to_pandas(self: Tabular) -> dict[str, Any]:
        """A pandas.DataFrame for each of ``tables``. MissingExtraError without the extra ``frames``."""
        return {name: table.to_pandas() for name, table in self.tables.items()}

    def to_polars(self: Tabular) -> dict[str, Any]:
        """A polars.DataFrame for each of ``tables``. MissingExtraError without the extra ``frames``."""
        return {name: table.to_polars() for name, table in self.tables.items()}


@dataclass(frozen=True, eq=False)
class OwnResult:
    """Results of one mechanism in a migration: figures by name, and a table (hostsim.results.mechanism)."""

    figures: dict[str, Any]
    table: Table


@dataclass(frozen=True)
class MigrationResult:
    """One migration. ``query``: its last query-migrate answer; ``facts``: figures the verdict reads.

    status: completed, cancelled, failed, active (the run's cap on simulated time came first), or an end that a mechanism has
    (hostsim.results.mechanism::ends). Times are None where QEMU reports none. kvm: None where
    KVM did not find the dirty pages; else ``rounds`` has KVM_ROUNDS and ``series`` KVM_SERIES, too.
    """

    status: str
    query: dict[str, Any]
    total_time_ms: int | None
    downtime_ms: int | None
    setup_time_ms: int | None
    rounds: Table
    series: Table
    events: Table
    facts: dict[str, Any]
    kvm: KvmCosts | None = None
    own: Mapping[str, OwnResult] = field(default_factory=dict)
    """By the name of the mechanism, of those that have a table of their own and acted in this migration."""
    sender: Sender | None = None
    """Work of the sending threads; None in records made before it was counted."""

    @property
    def converged(self) -> bool:
        """Whether the guest runs at the destination, or a replica there follows it."""
        return is_converged(self.status)


@dataclass(frozen=True)
class RunResult(HasTables):
    """One run: the scenario as resolved, its migrations, and the figures of guests and host until ``end_ns``.

    host: None without [host.memory], [ageing] and neighbours.
    warnings: values of the scenario beyond any real machine; assumptions: values that it leaves out and that may change
    the outcome of a migration.
    verdicts: of each migration, as data, if the caller asked for them.
    """

    scenario: dict[str, Any]
    seed: int
    version: str
    migrations: tuple[MigrationResult, ...]
    guest: Table
    counters: dict[str, Any]
    end_ns: int
    host: HostResult | None = None
    warnings: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    verdicts: tuple[dict[str, Any], ...] = ()
    of_mechanisms: Mapping[str, Table] = field(default_factory=dict)
    """Tables that mechanisms have of the whole run, by the key of run.json (hostsim.results.mechanism)."""
    dirty_rates: tuple[dict[str, Any], ...] = ()
    """Measurements of the guest's dirty rate, by the columns of ``calc_dirty_rate``."""
    plugins: tuple[dict[str, str], ...] = ()
    """Kind, name, distribution, version and hash of each plug-in that the run used."""

    @property
    def name(self) -> str:
        """The scenario's name, ``run`` if it has none."""
        return str(self.scenario.get("name") or "run")

    @property
    def tables(self) -> dict[str, Table]:
        """The tables by name: those with files, by the stem of the file, and events and guest, which run.json has."""
        found = {"guest": self.guest}
        for index, migration in enumerate(self.migrations):
            own = {"rounds": migration.rounds, "series": migration.series, "events": migration.events}
            own |= {name: one.table for name, one in migration.own.items()}
            found |= {numbered(stem, index): table for stem, table in own.items()}
        return found | ({} if self.host is None else dict(self.host.tables))

    def to_dict(self) -> dict[str, Any]:
        """The content of run.json: ``migrations[i]`` by QMP's names, ``facts[i]``, ``rounds[i]`` and so on beside."""
        verdicts = {"verdicts": [plain(verdict) for verdict in self.verdicts]} if self.verdicts else {}
        return self._costs() | self._of_mechanisms() | self._senders() | verdicts | {
            "format": FORMAT,
            "version": self.version,
            "seed": self.seed,
            "scenario": plain(self.scenario),
            "end_ns": int(self.end_ns),
            "warnings": list(self.warnings),
            "migrations": [plain(m.query) for m in self.migrations],
            "facts": [plain(m.facts) for m in self.migrations],
            "rounds": [_without_costs(m.rounds) for m in self.migrations],
            "events": [plain(list(m.events.rows())) for m in self.migrations],
            "guest": plain(list(self.guest.rows())),
            "counters": plain(self.counters),
        } | self._limits() | ({} if self.host is None else plain(self.host.to_dict()))

    def _limits(self) -> dict[str, Any]:
        rates = {"calc_dirty_rate": plain(list(self.dirty_rates))} if self.dirty_rates else {}
        return rates | {key: plain(list(table.rows())) for key, table in self.of_mechanisms.items()}

    def _senders(self) -> dict[str, Any]:
        """``sender[i]``, only of a run with multifd."""
        senders = [_sender(migration) for migration in self.migrations]
        return {"sender": senders} if any(senders) else {}

    def _costs(self) -> dict[str, Any]:
        """``kvm[i]``, only of a run in which KVM found dirty pages."""
        costs = [None if m.kvm is None else plain(m.kvm.to_dict()) for m in self.migrations]
        return {"kvm": costs} if any(costs) else {}

    def _of_mechanisms(self) -> dict[str, Any]:
        """``NAME[i]`` of each mechanism that acted in a migration of the run."""
        names = {name for migration in self.migrations for name in migration.own}
        found = {name: [migration.own.get(name) for migration in self.migrations] for name in sorted(names)}
        return {name: [None if one is None else plain(one.figures) for one in each] for name, each in found.items()}


def numbered(stem: str, index: int) -> str:
    """Name of a table of migration ``index``: ``stem`` itself for the first, ``rounds-2`` (say) for the second."""
    return stem if index == 0 else f"{stem}-{index + 1}"


def _sender(migration: MigrationResult) -> Any:
    one = migration.sender
    return None if one is None or not one.channels else plain(read_row(SENDER, one))


def _without_costs(rounds: Table) -> Any:
    """Rows of ``rounds`` without the columns of KVM, which ``kvm[i]`` has."""
    return plain([{key: row[key] for key in names(ROUNDS)} for row in rounds.rows()])


def plain(value: Any) -> Any:
    """``value`` as JSON has it: NumPy unwrapped, tuples as lists, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _read_only(column: Any) -> Array:
    array = np.array(column)
    assert array.ndim == 1, f"a column has one dimension, not {array.ndim}"
    array.flags.writeable = False
    return array


def _same(left: Array, right: Array) -> bool:
    numeric = left.dtype.kind == "f" and right.dtype.kind == "f"
    return np.array_equal(left, right, equal_nan=numeric)


def or_nan(value: object) -> float:
    """``value`` for a column of floats; NaN if it is no number, as an empty cell."""
    return float(value) if isinstance(value, int | float) else float("nan")
