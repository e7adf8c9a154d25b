"""One migration as it was polled: a row per answer, a column per figure, NaN where an answer does not
tell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from hostsim.errors import InputError, Problem

Column = NDArray[np.float64]
FIGURE_MAX = 2.0**63
"""No counter of QEMU or libvirt exceeds 64 bits; a larger figure is a broken log."""


@dataclass
class Sample:
    """One polled answer: where it stands in the text, and the figures it tells."""

    line: int
    status: str
    tag: str = ""
    error_desc: str = ""
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class MigrationLog:
    """A polled migration: every array is float64[samples], read-only, NaN for "not told".

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
    xbzrle_cache_bytes: Column
    xbzrle_bytes: Column
    xbzrle_pages: Column
    xbzrle_cache_misses: Column
    xbzrle_overflows: Column
    xbzrle_encoding_rate: Column

    def __len__(self) -> int:
        return len(self.status)


FIGURES = frozenset(f.name for f in fields(MigrationLog)) - {
    "source",
    "format",
    "tag",
    "status",
    "error_desc",
}


def build_log(samples: Sequence[Sample], source: str, log_format: str) -> MigrationLog:
    """One log from the samples of one migration, in the order of the text. Raises InputError if time runs
    backwards.
    """
    columns = {name: _column(samples, name) for name in FIGURES}
    columns["t_s"] = _elapsed_s(samples, columns["t_s"], columns["total_time_ms"], source)
    for column in columns.values():
        column.flags.writeable = False
    error_desc = next((s.error_desc for s in reversed(samples) if s.error_desc), "")
    status = tuple(s.status for s in samples)
    return MigrationLog(
        source=source, format=log_format, tag=samples[0].tag, status=status, error_desc=error_desc, **columns
    )


def broken(source: str, line: int, key: str, got: str, wanted: str, example: str = "") -> InputError:
    """The error for one broken place of a log."""
    where = f"line {line}" + (f", {key}" if key else "")
    return InputError([Problem(source, where, got[:80], wanted, example)])


def checked_figure(value: float, source: str, line: int, key: str) -> float:
    """``value`` if a migration can have it: finite, not negative, below 2^63. Raises InputError."""
    if not math.isfinite(value) or not 0 <= value < FIGURE_MAX:
        raise broken(source, line, key, f"{value:.6g}", "a number from 0 to below 2^63")
    return float(value)


def _column(samples: Sequence[Sample], name: str) -> Column:
    return np.array([s.figures.get(name, math.nan) for s in samples], np.float64)


def _elapsed_s(samples: Sequence[Sample], told_s: Column, total_time_ms: Column, source: str) -> Column:
    """Seconds since the start: as told by the poller, else by total-time.

    A zero total-time in an answer "completed" is a race in QEMU 7.2 (migration.c sets the status before it
    computes the time) and a cancelled answer has none: such a sample keeps the time of the one before it.
    """
    by_qemu = np.where(total_time_ms > 0, total_time_ms / 1000.0, math.nan)
    t_s = np.where(np.isnan(told_s), by_qemu, told_s)
    last = 0.0
    for i, sample in enumerate(samples):
        t_s[i] = last if math.isnan(t_s[i]) else t_s[i]
        if t_s[i] < last:
            got, wanted = (
                f"{t_s[i]:g} s after {last:g} s",
                "samples of one migration in the order they were taken",
            )
            raise broken(source, sample.line, "time", got, wanted)
        last = float(t_s[i])
    return t_s
