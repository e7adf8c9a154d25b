"""One migration as it was polled: a row per answer, a column per figure, NaN where an answer lacks the figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hostsim.core.errors import InputError, Problem, printable
from hostsim.logs.by_remaining import with_memory, with_sent, with_syncs
from hostsim.logs.sizes import in_bytes
from hostsim.logs.turns import unwrapped
from hostsim.logs.wall_clock import steadied

Column = NDArray[np.float64]
TERMINAL = ("completed", "failed", "cancelled")
COUNTERS = ("transferred_bytes", "normal_pages", "zero_pages", "dirty_sync_count", "disk_transferred_bytes")
"""Counters that only grow while one migration runs."""
MBPS_MAX = 1e7
"""A greater throughput (10 Tbit/s) is a division by a time of nothing (assumed)."""
NAMED_MAX = 3


@dataclass(frozen=True)
class DirtyReading:
    """One measurement of calc-dirty-rate. status: measured, measuring or unstarted; bytes_per_s is None before."""

    line: int
    status: str
    bytes_per_s: float | None = None
    period_s: float | None = None
    mode: str = ""


@dataclass(frozen=True)
class Setup:
    """Facts in a log about the QEMU and the VM behind it, from commands that were sent beside query-migrate.

    version: of QEMU, () if unknown; name: of the VM; kvm, memory_bytes, vcpus: None if unknown.
    parameters: of query-migrate-parameters, by QMP's names; capabilities: whether each is on.
    dirty_rates: measured before the migration.
    """

    version: tuple[int, ...] = ()
    name: str = ""
    kvm: bool | None = None
    memory_bytes: float | None = None
    vcpus: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    capabilities: Mapping[str, bool] = field(default_factory=dict)
    dirty_rates: tuple[DirtyReading, ...] = ()


UNTOLD = Setup()
"""Of a log that has nothing but answers about the migration."""


@dataclass
class Sample:
    """One polled answer: its line in the text, its figures, and the texts of broken figures."""

    line: int
    status: str
    tag: str = ""
    error_desc: str = ""
    operation: str = ""
    head: str = ""
    """The text before the answer, which may name the guest."""
    domain: str = ""
    """The guest that the command before the answer names."""
    remark: str = ""
    """A sentence on what the answer shows beside its figures."""
    figures: dict[str, float] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    setup: Setup = UNTOLD

    def take(self, name: str, value: float, key: str, text: str) -> None:
        """Keep ``value`` as figure ``name``; if it is NaN, keep ``key`` and its ``text`` among the broken counters."""
        if math.isnan(value):
            self.broken.append(f"line {self.line}, {key} {text.strip()[:24]}")
        else:
            self.figures[name] = value


@dataclass(frozen=True, eq=False)
class MigrationLog:
    """A polled migration: every array is float64[samples], read-only, NaN where the log lacks the figure.

    Names are those of QMP ``query-migrate`` with the unit last; ``dirty_pages_rate_per_s`` is in pages,
    ``mbps`` in megabits per second. ``t_s`` counts from the start of the migration and never falls.
    """

    source: str
    format: str
    tag: str
    status: tuple[str, ...]
    error_desc: str
    t_s: Column
    total_time_ms: Column
    setup_time_ms: Column
    downtime_ms: Column
    expected_downtime_ms: Column
    throttle_percent: Column
    total_bytes: Column
    remaining_bytes: Column
    transferred_bytes: Column
    precopy_bytes: Column
    postcopy_bytes: Column
    downtime_bytes: Column
    multifd_bytes: Column
    normal_pages: Column
    normal_bytes: Column
    zero_pages: Column
    page_size_bytes: Column
    dirty_sync_count: Column
    dirty_pages_rate_per_s: Column
    mbps: Column
    pages_per_second: Column
    postcopy_requests: Column
    dirty_limit_sleep_us: Column
    """Of a vCPU, each time that its dirty ring is full (capability dirty-limit)."""
    dirty_limit_full_us: Column
    """Time in which the ring fills."""
    xbzrle_cache_bytes: Column
    xbzrle_bytes: Column
    xbzrle_pages: Column
    xbzrle_cache_misses: Column
    xbzrle_overflows: Column
    xbzrle_encoding_rate: Column
    disk_total_bytes: Column
    disk_remaining_bytes: Column
    disk_transferred_bytes: Column
    disk_s: Column
    """Since the copy of the disks began."""
    vfio_bytes: Column
    stamp_s: Column
    limit_ms: Column
    """The downtime limit that was set, by the log."""
    timeout_s: Column
    """The time-out that ended it, or acted on it."""
    stuck_s: Column
    stopped_s: Column
    """Time [s] since a manager stopped the guest to end the migration, where its log has the moment."""
    watermark_bytes: Column
    """The least that was ever left, as Nova keeps it."""
    average_bytes_per_s: Column
    """All memory over the total time, as Proxmox prints it."""
    percent: Column
    operation: str = ""
    """The operation of the job that libvirt names; "" where it names none."""
    part: tuple[int, int] = (1, 1)
    """The how many-th migration of how many of this form and tag."""
    lines: tuple[int, int] = (1, 1)
    notes: tuple[str, ...] = ()
    readings: tuple[DirtyReading, ...] = ()
    setup: Setup = UNTOLD

    def __len__(self) -> int:
        return len(self.status)


FIGURES = frozenset(f.name for f in fields(MigrationLog) if f.type == "Column")


def build_log(samples: Sequence[Sample], source: str, log_format: str, part: tuple[int, int] = (1, 1)) -> MigrationLog:
    """One log of one migration.

    samples: its answers, in the order in which they were taken.
    source: name of the file.
    log_format: name of the form.
    part: (number of this migration in the file, migrations in the file).
    """
    columns = {name: _column(samples, name) for name in FIGURES}
    notes = [note for sample in samples for note in sample.broken]
    turns = unwrapped(columns)
    columns["stamp_s"], steps = steadied(columns["stamp_s"], columns["transferred_bytes"])
    columns["t_s"] = _elapsed_s(columns["t_s"], columns["total_time_ms"], columns["stamp_s"])
    units = in_bytes(columns, columns["t_s"])
    _without_broken(columns, samples, notes)
    derived = (*with_memory(columns), *with_sent(columns), *with_syncs(columns))
    for column in columns.values():
        column.flags.writeable = False
    return MigrationLog(
        source=source,
        format=log_format,
        tag=samples[0].tag,
        status=tuple(_status_of(s) for s in samples),
        error_desc=next((s.error_desc for s in reversed(samples) if s.error_desc), ""),
        operation=next((s.operation for s in reversed(samples) if s.operation), ""),
        part=part,
        lines=(min(s.line for s in samples), max(s.line for s in samples)),
        notes=(*dict.fromkeys(s.remark for s in samples if s.remark), *_named(notes), *steps, *turns, *units, *derived),
        setup=next((s.setup for s in reversed(samples) if s.setup is not UNTOLD), UNTOLD),
        **columns,  # type: ignore[arg-type]
    )


def broken(source: str, line: int, key: str, got: str, wanted: str, example: str = "") -> InputError:
    """The error for one broken place of a log.

    source: name of the file; line: in it, 0: unknown.
    key: of the figure; "": the line as a whole.
    got, wanted, example: as in Problem.
    """
    where = (f"line {line}" if line else "") + (f", {key}" if key else "")
    return InputError([Problem(source, where, got[:120], wanted, example)])


def _named(notes: Sequence[str]) -> tuple[str, ...]:
    if not notes:
        return ()
    more = f" and {len(notes) - NAMED_MAX} more" if len(notes) > NAMED_MAX else ""
    told = printable("; ".join(notes[:NAMED_MAX]))
    return (f"Impossible figures were not used: {told}{more}",)


def _status_of(sample: Sample) -> str:
    """Libvirt's jobs have no status for post-copy, but pages are requested only then; a failure counts from its begin."""
    if sample.status == "failing":
        return "failed"  # QEMU cleans up (since 10.2); the next answer says failed
    in_postcopy = sample.status == "active" and sample.figures.get("postcopy_requests", 0) > 0
    return "postcopy-active" if in_postcopy else sample.status


def _column(samples: Sequence[Sample], name: str) -> Column:
    return np.array([s.figures.get(name, math.nan) for s in samples], np.float64)


def _without_broken(columns: dict[str, Column], samples: Sequence[Sample], notes: list[str]) -> None:
    """Set to NaN a total of 0, more left than the total, a counter that falls back for one answer. In place."""
    for whole, left in (("total_bytes", "remaining_bytes"), ("disk_total_bytes", "disk_remaining_bytes")):
        columns[left][columns[whole] == 0] = math.nan
        columns[whole][columns[whole] == 0] = math.nan
        _drop(columns, left, columns[left] > 1.05 * columns[whole], samples, notes)
    _drop(columns, "mbps", columns["mbps"] > MBPS_MAX, samples, notes)
    for name in COUNTERS:
        _drop(columns, name, _falls_back(columns[name]), samples, notes)


def _falls_back(counter: Column) -> NDArray[np.bool_]:
    """Where a counter is below its greatest value so far, or above all that follow: a slip in one answer of many."""
    told = np.nan_to_num(counter, nan=-1.0)
    below = told < np.maximum.accumulate(told)
    later = np.minimum.accumulate(np.where(np.isnan(counter), np.inf, counter)[::-1])[::-1]
    above = ~np.isnan(counter) & (counter > np.append(later[1:], np.inf))
    fewer = above if np.count_nonzero(above) < np.count_nonzero(below & (told >= 0)) else below
    return np.asarray(fewer & ~np.isnan(counter), bool)


def _drop(
    columns: dict[str, Column], name: str, wrong: NDArray[np.bool_], samples: Sequence[Sample], notes: list[str]
) -> None:
    for i in np.flatnonzero(wrong).tolist():
        notes.append(f"line {samples[i].line}, {name} {columns[name][i]:.0f}")
        columns[name][i] = math.nan


def _elapsed_s(told_s: Column, total_time_ms: Column, stamp_s: Column) -> Column:
    """Seconds since the start: the poller's, else total-time, else the timestamps before the answers.

    A zero total-time in an answer "completed" is a race in QEMU 7.2 (migration.c sets the status before it
    computes the time) and a cancelled answer has none: such a sample keeps the time of the one before it.
    """
    t_s = np.where(np.isnan(told_s), np.where(total_time_ms > 0, total_time_ms / 1000.0, math.nan), told_s)
    both = np.flatnonzero(~np.isnan(t_s) & ~np.isnan(stamp_s))
    stamped = stamp_s[~np.isnan(stamp_s)]
    if len(stamped):
        start_s = float(stamp_s[both[0]] - t_s[both[0]]) if len(both) else float(stamped[0])
        t_s = np.where(np.isnan(t_s), np.maximum(stamp_s - start_s, 0.0), t_s)
    t_s[:1] = np.nan_to_num(t_s[:1])
    return np.asarray(np.fmax.accumulate(t_s), np.float64)
