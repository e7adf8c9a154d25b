"""Inputs of a fit: logs of migrations, readings of calc-dirty-rate, and dirty curves as points in CSV or TOML."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hostsim.core.constants import PAGE_BYTES
from hostsim.core.errors import InputError, Problem, UnitError
from hostsim.core.units import parse_duration, shown
from hostsim.core.user_files import LOG, read_text, read_toml
from hostsim.fitting.points import Point, Visit
from hostsim.logs.model import DirtyReading
from hostsim.logs.table import heading_of

EXAMPLE = "seconds,pages"
HEAD_CHARS = 4096
SECONDS: Mapping[str, float] = {"seconds": 1.0, "t_s": 1.0, "t_ms": 1e-3, "ms": 1e-3}
PAGES: Mapping[str, float] = {"pages": 1.0, "bytes": 1.0 / PAGE_BYTES, "mib": float((1 << 20) // PAGE_BYTES)}
ERROR = "error_pages"
"""The column of the standard error of each point: by sampling, sqrt(dirty samples) times the pages of a sample."""
CURVE_OFF = 0.03
"""Error of a point of a measured curve, as a share, besides counting (assumed)."""
SAMPLED_OFF = 0.15
"""Error of a reading by page-sampling, as a share: 10 to 25 % at 4096 samples (real QEMU 7.2 and 10.0)."""


def is_curve(path: str) -> bool:
    """Whether ``path`` names a file of points by its ending, and not a log: a script may have kept the answers as CSV."""
    return Path(path).suffix.lower() in (".csv", ".toml") and not _is_table_of_answers(path)


def _is_table_of_answers(path: str) -> bool:
    try:
        with Path(path).open(encoding="utf-8-sig", errors="replace") as file:
            head = file.read(HEAD_CHARS)
    except OSError:
        return False
    return any(heading_of(line) for line in head.splitlines())


def curve_points(path: str) -> tuple[Point, ...]:
    """Points of the file at ``path``. InputError."""
    rows = _toml_rows(path) if path.lower().endswith(".toml") else _csv_rows(path)
    times, pages = [s for s, _, _ in rows], [n for _, n, _ in rows]
    if len(rows) < 2 or np.any(np.diff([0.0, *times]) <= 0) or np.any(np.diff([0.0, *pages]) < 0):
        wanted = "at least two points, times ascending from above 0, pages never falling"
        raise InputError([Problem(path, "points", f"{len(rows)} points", wanted, "0.125,16896")])
    return tuple(measured(*row) for row in rows)


def measured(seconds: float, pages: float, error_pages: float) -> Point:
    """A point of a curve: ``pages`` dirtied in ``seconds``. error_pages: its standard error, 0 where it is not known."""
    found = point(seconds, pages, CURVE_OFF)
    return replace(found, off_pages=error_pages) if error_pages > 0 else found


def reading_points(readings: Sequence[DirtyReading]) -> tuple[Point, ...]:
    """A point for each measured reading: pages dirtied in its period (1 s where the reading lacks it)."""
    found = []
    for one in readings:
        if one.bytes_per_s is not None:
            seconds = one.period_s or 1.0
            off = SAMPLED_OFF if "sampling" in one.mode or not one.mode else CURVE_OFF
            found.append(point(seconds, one.bytes_per_s * seconds / PAGE_BYTES, off))
    return tuple(found)


def point(seconds: float, pages: float, off: float) -> Point:
    """D(``seconds``) = ``pages``, measured with an error of the share ``off`` and that of counting."""
    visit = Visit(seconds, 0.0, 0.0, np.zeros(1), np.ones(1), 0.0, is_first=True, kept=np.zeros(1))
    return Point((visit,), pages, float(np.hypot(off * pages, np.sqrt(pages + 1.0))), 0.0)


def _csv_rows(path: str) -> list[tuple[float, float, float]]:
    table = list(csv.DictReader(io.StringIO(read_text(path, LOG))))
    names = [name.strip().lower() for name in (table[0] if table else {}) if name]
    time, count = next((n for n in names if n in SECONDS), ""), next((n for n in names if n in PAGES), "")
    if not time or not count:
        wanted = f"a first line that names a time ({', '.join(SECONDS)}) and a size ({', '.join(PAGES)})"
        raise InputError([Problem(path, "line 1", ",".join(names) or "nothing", wanted, EXAMPLE)])
    rows = [{str(key).strip().lower(): value for key, value in row.items()} for row in table]
    return list(_scaled(path, [(row[time], row[count], row.get(ERROR) or 0) for row in rows], SECONDS[time], PAGES[count]))


def _toml_rows(path: str) -> list[tuple[float, float, float]]:
    points = read_toml(path, LOG, 'points = [["1s", 33000], ["5s", 90000]]').get("points")
    if not isinstance(points, list) or not all(isinstance(one, list) and len(one) == 2 for one in points):
        got = "nothing" if points is None else shown(points)
        wanted = "pairs of a time and pages: this command reads measurements, hostsim predict reads scenarios"
        raise InputError([Problem(path, "points", got, wanted, '[["1s", 33000], ["5s", 90000]]')])
    return list(_scaled(path, [(*one, 0) for one in points], 1.0, 1.0))


def _scaled(path: str, rows: Sequence[Sequence[Any]], time: float, count: float) -> Iterator[tuple[float, float, float]]:
    for i, (seconds, pages, error) in enumerate(rows, 1):
        try:
            at = (
                parse_duration(seconds) / 1e9
                if isinstance(seconds, str) and seconds.strip()[-1:].isalpha()
                else float(seconds)
            )
            yield at * time, float(pages) * count, float(error)
        except (TypeError, ValueError, UnitError):
            got = f"{shown(seconds)}, {shown(pages)}"
            raise InputError([Problem(path, f"point {i}", got, "two numbers", "0.125,16896")]) from None
