"""Tables of figures: CSV as scripts and Grafana write it, with a first line that names the columns."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from hostsim.logs.figures import QUANTITY, decimal_read, quantity, sane, written
from hostsim.logs.metrics import LABEL, NAMES, keep_named
from hostsim.logs.model import Sample
from hostsim.logs.named import TAGS, Named, figure_named, is_status, is_time
from hostsim.logs.query_migrate import STATUSES
from hostsim.logs.stamps import SEARCHED_CHARS, stamp_s

SPACE = " "
SEPARATORS = (",", ";", "\t", "|", SPACE)
"""The last stands for any space, as gnuplot reads it and pandas prints it."""
COLUMNS_MIN = 2
GUEST_WORDS_MAX = 2
NEEDED = "remaining_bytes"
ROWS_MAX = 1_000_000
JOB_TYPES = {
    "2": "active", "unbounded": "active", "3": "completed", "4": "failed", "5": "cancelled", "succeeded": "completed",
}  # fmt: skip
KINDS = {"bytes": "bytes", "ms": "ms"}
"""Kinds of units by the end of a column."""
Cells = list[str]


@dataclass(frozen=True)
class Heading:
    """Names of the columns of a table, cut at ``separator``.

    figures: a figure or None for each column; times, status, tag: numbers of columns, -1 without one.
    name, value: of the columns of a table with one figure a row, as Grafana exports series; -1 of others.
    guests: the guest of each column, "" where its name has none.
    """

    separator: str
    figures: tuple[Named | None, ...]
    time: int
    status: int
    tag: int
    name: int = -1
    value: int = -1
    guests: tuple[str, ...] = ()

    @property
    def is_long(self) -> bool:
        """Whether a row has one figure."""
        return self.name >= 0


def tables_of(text: str) -> Iterator[Sample]:
    """A sample for each row of each table in ``text``."""
    heading: Heading | None = None
    rows: list[tuple[int, Cells]] = []
    for number, line in enumerate(text.split("\n")[:ROWS_MAX], 1):
        cells = _row(line, heading) if heading else []
        if heading and len(cells) == len(heading.figures) and not heading_of(line):
            rows.append((number, cells))
            continue
        if heading and line.strip():
            yield from _samples(heading, rows)
            heading, rows = None, []
        heading = heading or heading_of(line)
    if heading:
        yield from _samples(heading, rows)


def heading_of(line: str) -> Heading | None:
    """The names of columns in ``line``; None where it names no table of a migration."""
    if line.lstrip().startswith(("{", "[")):
        return None
    low = line.lower()
    if not any(word in low for word in ("remain", "left", "value")) or len(line) > 4 * SEARCHED_CHARS * COLUMNS_MIN:
        return None
    for separator in SEPARATORS:
        names = [cell.strip() for cell in _cells(line, separator)]
        is_told = len(names) >= COLUMNS_MIN and (separator != SPACE or all(_is_name(name) for name in names))
        found = _heading(separator, names) if is_told else None
        if found:
            return found
    return None


def _heading(separator: str, names: Sequence[str]) -> Heading | None:
    figures = tuple(figure_named(name) for name in names)
    time, status, tag = (_first(names, test) for test in (is_time, is_status, _is_tag))
    low = [name.lower() for name in names]
    if "value" in low and time >= 0 and {"series", "metric"} & set(low):
        name = next(i for i, one in enumerate(low) if one in ("series", "metric"))
        return Heading(separator, figures, time, status, -1, name, low.index("value"))
    guests = tuple(_guest(name) for name in names)
    if not any(one and one.column == NEEDED for one in figures):
        guests, figures = zip(*(_with_guest(name) for name in names), strict=True)
    columns = {one.column for one in figures if one}
    if NEEDED not in columns or len(columns) + (time >= 0) < COLUMNS_MIN:
        return None
    return Heading(separator, figures, time, status, tag, guests=guests)


def _guest(name: str) -> str:
    """The guest in the labels of a series, as ``remaining{name="vm1"}``."""
    labels = dict(LABEL.findall(name))
    return next((labels[key] for key in NAMES if labels.get(key)), "")


def _with_guest(name: str) -> tuple[str, Named | None]:
    """Guest and figure of a column that a dashboard calls ``vm1 remaining`` or ``remaining vm1``."""
    words = name.split()
    for cut in range(1, min(GUEST_WORDS_MAX, len(words) - 1) + 1):
        for guest, figure in ((words[:cut], words[cut:]), (words[-cut:], words[:-cut])):
            named = figure_named(" ".join(figure))
            if named:
                return " ".join(guest).strip(":-()"), named
    return _guest(name), figure_named(name)


def _first(names: Sequence[str], test: Callable[[str], bool]) -> int:
    return next((i for i, name in enumerate(names) if test(name)), -1)


def _is_tag(name: str) -> bool:
    return name.lower() in TAGS


def _samples(heading: Heading, rows: Sequence[tuple[int, Cells]]) -> Iterator[Sample]:
    if heading.is_long:
        yield from _of_series(heading, rows)
        return
    at = heading.time if heading.time >= 0 else _stamped(rows[0][1]) if rows else -1
    for line, cells in rows:
        for guest in dict.fromkeys(filter(None, heading.guests)) or ("",):
            tag = cells[heading.tag].strip() if heading.tag >= 0 else guest
            figures = _of_guest(heading, cells, guest)
            if figures:
                times = _time(cells[at]) if at >= 0 else {}
                status, remark = _status(cells, heading.status), decimal_read(cells)
                yield Sample(line, status, tag, figures=figures | times, remark=remark)


def _of_guest(heading: Heading, cells: Cells, guest: str) -> dict[str, float]:
    """Figures of ``guest`` in a row, and those of columns without a guest; {} where the guest has none."""
    found: dict[str, float] = {}
    own = False
    for named, cell, whose in zip(heading.figures, cells, heading.guests, strict=True):
        value = _figure(cell, named) if named and whose in ("", guest) else sane(None)
        if named and not math.isnan(value):
            keep_named(found, named, value)
            own = own or whose == guest
    return found if own else {}


def _stamped(cells: Cells) -> int:
    """Number of the first cell that is a time with a date or colons, where no name tells; -1 if none is."""
    return _first(cells, lambda cell: ":" in cell and stamp_s(cell) is not None)


def _of_series(heading: Heading, rows: Sequence[tuple[int, Cells]]) -> Iterator[Sample]:
    """Rows of one figure each, brought together by their times."""
    found: dict[str, Sample] = {}
    for line, cells in rows:
        named = figure_named(cells[heading.name])
        at = cells[heading.time]
        value = _figure(cells[heading.value], named) if named else sane(None)
        if named and not math.isnan(value):
            sample = found.setdefault(at, Sample(line, "active", figures=_time(at), remark=decimal_read(cells)))
            keep_named(sample.figures, named, value)
    whole = [sample for sample in found.values() if "remaining_bytes" in sample.figures]
    yield from sorted(whole, key=lambda s: s.figures.get("stamp_s", s.figures.get("t_s", 0.0)))


def _row(line: str, heading: Heading) -> Cells:
    """Cells of a row, without the number that pandas writes before it."""
    cells = _cells(line, heading.separator)
    has_number = heading.separator == SPACE and len(cells) == len(heading.figures) + 1 and cells[0].isdigit()
    return cells[1:] if has_number else cells


def _is_name(name: str) -> bool:
    return figure_named(name) is not None or is_time(name) or is_status(name) or _is_tag(name)


def _cells(line: str, separator: str) -> Cells:
    if separator == SPACE:
        return line.strip().removeprefix("#").split()
    if separator not in line:
        return []
    cells = next(csv.reader([line.strip().strip("|") if separator == "|" else line], delimiter=separator), [])
    return [cell.strip() for cell in cells]


def _status(cells: Cells, at: int) -> str:
    told = cells[at].strip().lower() if at >= 0 else "active"
    return told if told in STATUSES else JOB_TYPES.get(told, "active")


def _figure(cell: str, named: Named) -> float:
    """A cell, whose own unit counts more than that of its column."""
    match = QUANTITY.fullmatch(cell)
    kind = "mbps" if named.column == "mbps" else KINDS.get(named.column.rsplit("_", 1)[-1], "plain")
    if match is None or not match["unit"]:
        return quantity(cell, "mbps" if named.column == "mbps" else "plain")
    return written(cell, kind) / named.factor


def _time(cell: str) -> dict[str, float]:
    """A time of day or since 1970, or seconds since the start."""
    stamp = stamp_s(cell)
    if stamp is not None:
        return {"stamp_s": stamp}
    seconds = quantity(cell, "plain")
    return {} if math.isnan(seconds) else {"t_s": seconds}
