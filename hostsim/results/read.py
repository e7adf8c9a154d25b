"""Reading the folder of a run back: all that is there, and a note on each part that is missing or cannot be read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hostsim.core.errors import InputError, Problem
from hostsim.core.latency import Latencies
from hostsim.core.user_files import Kind, read_bytes
from hostsim.results.columns import Columns, names, schema
from hostsim.results.guest import GUEST
from hostsim.results.kvm import KvmCosts
from hostsim.results.latencies import Distribution
from hostsim.results.mechanism import ends, mechanisms, tables_of_runs
from hostsim.results.memory import OUT_OF_MEMORY, HostResult
from hostsim.results.rounds import ROUNDS
from hostsim.results.series import EVENTS, SERIES
from hostsim.results.tables import MigrationResult, OwnResult, RunResult, Table, numbered

T = TypeVar("T")
RESULT = Kind("a readable file of results", "hostsim report out/precopy_convergence", 512 << 20)
READ = (".json", ".csv", ".txt", ".toml")
"""Endings of the files that are read; the others hold pictures, or tables that the CSV files have, too."""
MALFORMED = (KeyError, TypeError, ValueError, IndexError, AttributeError, AssertionError)
"""Errors that content of another form than expected raises in code that reads it."""
NEEDED: Mapping[str, Columns[Any]] = {"rounds": ROUNDS, "series": SERIES}
FILL = {"int64": 0, "float64": float("nan"), "str": ""}
"""Value in each row of a column that the file lacks, by dtype."""
HOST_TABLES = ("latencies", "memory_series", "vcpu_times", "ageing_passes", "age_map")


def read_folder(folder: Path) -> dict[str, bytes]:
    """Content of the result files in ``folder`` by name. InputError if it is no folder or a file cannot be read."""
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix in READ and path.is_file())
    except OSError as error:
        wanted = "a folder that a command of hostsim has written"
        raise InputError([Problem(str(folder), "", error.strerror or str(error), wanted, RESULT.example)]) from None
    return {path.name: read_bytes(path, RESULT) for path in found}


def read_object(files: Mapping[str, bytes], name: str, notes: list[str]) -> dict[str, Any]:
    """The object in the JSON file ``name`` of ``files`` (name to content); {} if the file is missing or broken.

    notes: a sentence is appended for a file that is missing or broken.
    """
    if name not in files:
        notes.append(f"{name} is missing")
        return {}
    try:
        found = json.loads(files[name])
    except (ValueError, RecursionError) as error:
        notes.append(f"{name} cannot be read: {str(error)[:120]}")
        return {}
    if isinstance(found, dict):
        return found
    notes.append(f"{name} cannot be read: it holds no JSON object")
    return {}


def read_table(files: Mapping[str, bytes], stem: str, notes: list[str]) -> Table | None:
    """The table in <stem>.csv of ``files`` (name to content); None if there is no such file.

    notes: a sentence is appended for a file with lines that are not whole; these lines are left out.
    """
    content = files.get(f"{stem}.csv")
    if content is None:
        return None
    rows = list(csv.reader(io.StringIO(content.decode("utf-8", "replace"), newline="")))
    head, body = (rows[0], rows[1:]) if rows else ([], [])
    whole = [row for row in body if len(row) == len(head)]
    if not head or len(whole) < len(body):
        notes.append(f"{stem}.csv is broken: {len(body) - len(whole)} of its {len(body)} lines are not whole")
    columns = list(zip(*whole, strict=True)) or [()] * len(head)
    return Table(stem, {name: _column(values) for name, values in zip(head, columns, strict=True)})


def _column(values: Sequence[str]) -> NDArray[Any]:
    """int64 if all are whole numbers, else float64, with NaN for an empty field, else text."""
    texts = np.array(values, np.str_)
    with suppress(ValueError, OverflowError):
        return texts.astype(np.int64)
    with suppress(ValueError):
        return np.where(texts == "", "nan", texts).astype(np.float64)
    return texts


def read_run(files: Mapping[str, bytes]) -> tuple[RunResult, list[str]]:
    """The result of a run from its files by name, as far as they are whole, and notes on the others.

    Figures that no file holds (Sender) are left out.
    """
    notes: list[str] = []
    told, origin = read_object(files, "run.json", notes), read_object(files, "provenance.json", notes)
    scenario = told.get("scenario") or origin.get("scenario")
    result = RunResult(
        scenario=scenario if isinstance(scenario, dict) else {},
        seed=told.get("seed") or origin.get("seed") or 0,
        version=str(told.get("version") or origin.get("hostsim") or ""),
        migrations=tuple(_migrations(files, told, notes)),
        guest=_table_of("guest", GUEST, told.get("guest")),
        counters=told.get("counters") or {},
        end_ns=told.get("end_ns") or 0,
        host=_tried(notes, "the figures of the host", lambda: _host(files, told, notes)),
        warnings=tuple(told.get("warnings") or ()),
        verdicts=tuple(one for one in told.get("verdicts") or () if isinstance(one, dict)),
        of_mechanisms={
            one.key: _table_of(one.key, one.columns, told[one.key]) for one in tables_of_runs() if told.get(one.key)
        },
        dirty_rates=tuple(told.get("calc_dirty_rate") or ()),
    )
    return result, notes


def _tried(notes: list[str], what: str, read: Callable[[], T]) -> T | None:
    try:
        return read()
    except MALFORMED as error:
        notes.append(f"{what} cannot be read ({type(error).__name__}: {str(error)[:80]})")
        return None


def _migrations(files: Mapping[str, bytes], told: Mapping[str, Any], notes: list[str]) -> Iterable[MigrationResult]:
    listed = told.get("migrations")
    queries = listed if isinstance(listed, list) else []
    n_tables = next(n for n in range(len(files) + 1) if f"{numbered('series', n)}.csv" not in files)
    for index in range(max(len(queries), n_tables)):
        one = _tried(notes, f"migration {index + 1}", lambda i=index: _migration(files, told, i, notes))  # type: ignore[misc]
        if one is not None:
            yield one


def _migration(files: Mapping[str, bytes], told: Mapping[str, Any], index: int, notes: list[str]) -> MigrationResult:
    query = _at(told, "migrations", index) or {}
    kvm = _at(told, "kvm", index)
    outcome = (_at(told, "verdicts", index) or {}).get("outcome")
    tables = {stem: _needed(files, numbered(stem, index), stem, notes) for stem in ("rounds", "series")}
    return MigrationResult(
        status=str(outcome) if outcome in ends() else query.get("status", "active"),
        query=query,
        total_time_ms=query.get("total-time"),
        downtime_ms=query.get("downtime"),
        setup_time_ms=query.get("setup-time"),
        rounds=tables["rounds"],
        series=tables["series"],
        events=Table.of_dicts("events", EVENTS, _at(told, "events", index) or ()),
        facts=_at(told, "facts", index) or {},
        kvm=None if kvm is None else _kvm(kvm),
        own=dict(_own(files, told, index, notes)),
    )


def _kvm(told: Mapping[str, Any]) -> KvmCosts:
    """The costs of an entry of ``kvm`` in run.json."""
    return KvmCosts(told["before"], tuple(told["rounds"]), told["logged"], told.get("index"), told.get("page_tables"))


def _own(
    files: Mapping[str, bytes], told: Mapping[str, Any], index: int, notes: list[str]
) -> Iterable[tuple[str, OwnResult]]:
    for one in mechanisms():
        figures = _at(told, one.name, index) if one.table else None
        table = read_table(files, numbered(one.name, index), notes) if one.table else None
        if figures is not None and table is not None:
            yield one.name, OwnResult(figures, table)


def _needed(files: Mapping[str, bytes], stem: str, name: str, notes: list[str]) -> Table:
    """A table with all columns of its kind: those that the file lacks, as one of an older version may, hold nothing."""
    found, wanted = read_table(files, stem, notes), schema(NEEDED[name])
    key = next(column for column in wanted if column.endswith("_ns"))
    if found is None or key not in found.columns:
        notes.append(f"{stem}.csv is missing" if found is None else f"{stem}.csv cannot be read: it has no column {key}")
        return Table.of_dicts(name, NEEDED[name])
    lacks = [column for column in wanted if column not in found.columns]
    if lacks:
        notes.append(f"{stem}.csv has no {', '.join(lacks)}")
    nothing = {column: np.full(len(found), FILL[wanted[column]], wanted[column]) for column in lacks}
    return Table(name, found.columns | nothing)


def _at(told: Mapping[str, Any], key: str, index: int) -> Any:
    """Entry ``index`` of a list in run.json, None where the list or the entry is missing."""
    listed = told.get(key)
    return listed[index] if isinstance(listed, list) and index < len(listed) else None


def _table_of(name: str, columns: Columns[Any], rows: Any) -> Table:
    """A table from a list of objects with the keys of the first, in the order of ``columns``; JSON has them sorted."""
    listed = [row for row in rows or () if isinstance(row, dict)]
    order = names(columns)
    keys = sorted(listed[0] if listed else {}, key=lambda key: order.index(key) if key in order else len(order))
    return Table(name, {key: np.array([row.get(key) for row in listed]) for key in keys})


def _host(files: Mapping[str, bytes], told: Mapping[str, Any], notes: list[str]) -> HostResult | None:
    tables = {stem: table for stem in HOST_TABLES if (table := read_table(files, stem, notes)) is not None}
    if "memory_series" not in tables and "latencies" not in told:
        return None
    ended = told.get("out_of_memory") if told.get("status") == OUT_OF_MEMORY else None
    return HostResult(
        out_of_memory=None if ended is None else (ended["t_ns"], ended["vm"]),
        memory=told.get("memory"),
        ageing=told.get("ageing"),
        latencies=tuple(_distribution(one) for one in told.get("latencies") or ()),
        tables=tables,
        destination_memory=told.get("destination_memory"),
    )


def _distribution(told: Mapping[str, Any]) -> Distribution:
    counted = Latencies.of_buckets(told["buckets"], told["mean_ns"], told["max_ns"])
    return Distribution(told["what"], told["vm"], counted)
