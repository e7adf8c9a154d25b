"""Figures of a migration by the names that tables, exporters and scripts give them: ``ram.remaining``, ``MemRemaining``,
``memory_remaining_bytes``, ``remaining (MiB)``.

A name is cut into words. Some of them only say where the figure comes from, one may be a unit, and the rest are the figure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from hostsim.core.constants import PAGE_BYTES
from hostsim.logs.figures import EXPONENT

WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
SIZE_UNIT = re.compile(r"\b[KMGTP]i?B\b")
LABELS = re.compile(r"\{[^}]*\}")
ORIGINS = frozenset((
    "kubevirt", "vmi", "migration", "libvirt", "domain", "job", "info", "ram", "memory", "mem", "data", "qemu", "query",
    "migrate", "return", "set", "value", "migrated", "guest", "os", "result", "virt", "vm", "last", "the",
))  # fmt: skip
"""Words that say where a figure comes from, and not which it is."""
DISK = frozenset(("disk", "file", "storage"))
BYTE_UNIT = re.compile(r"([kmgtp]?)i?(?:b|bytes?)")
SECOND_UNITS = {
    "s": 1e3, "sec": 1e3, "secs": 1e3, "seconds": 1e3, "second": 1e3, "ms": 1.0, "msec": 1.0, "milliseconds": 1.0,
    "us": 1e-3, "ns": 1e-6,
}  # fmt: skip
"""To milliseconds."""
BIT_UNITS = {"bps": 8e-6, "mbps": 1.0, "mbit": 1.0, "gbps": 1e3, "gbit": 1e3, "kbps": 1e-3, "kbit": 1e-3}
"""To Mbit/s; libvirt's bps are bytes a second."""
OTHER_UNITS = frozenset(("pages", "page", "percent", "pct", "percentage", "pps", "per", "count", "number", "num"))
PAGES = frozenset(("pages", "page"))
SIZES = {
    "remaining": "remaining_bytes", "remain": "remaining_bytes", "left": "remaining_bytes",
    "transferred": "transferred_bytes", "processed": "transferred_bytes", "sent": "transferred_bytes",
    "total": "total_bytes",
}  # fmt: skip
FIGURES = {
    "total time": "total_time_ms", "time elapsed": "total_time_ms", "elapsed": "total_time_ms",
    "elapsed time": "total_time_ms", "duration": "total_time_ms",
    "setup time": "setup_time_ms", "downtime": "downtime_ms", "expected downtime": "expected_downtime_ms",
    "downtime expected": "expected_downtime_ms", "dirty sync": "dirty_sync_count", "iteration": "dirty_sync_count",
    "iterations": "dirty_sync_count", "syncs": "dirty_sync_count", "dirty syncs": "dirty_sync_count",
    "dirty rate": "dirty_pages_rate_per_s", "throughput": "mbps", "bandwidth": "mbps", "speed": "mbps", "rate": "mbps",
    "transfer rate": "mbps", "transfer speed": "mbps", "": "mbps",
    "duplicate": "zero_pages", "zero": "zero_pages", "constant": "zero_pages", "normal": "normal_pages",
    "cpu throttle": "throttle_percent", "throttle": "throttle_percent", "auto converge throttle": "throttle_percent",
    "postcopy requests": "postcopy_requests", "postcopy reqs": "postcopy_requests",
}  # fmt: skip
BARE = frozenset(("elapsed", "duration"))
"""Names of times that are read only with a unit: scripts write seconds as often as milliseconds."""
TIMES = frozenset(("time", "timestamp", "ts", "date", "datetime", "t", "at", "clock", "when", "zeit", "uhrzeit"))
STATUSES = frozenset(("status", "state"))
TAGS = frozenset(("vm", "domain", "instance", "guest", "tag"))


@dataclass(frozen=True)
class Named:
    """A figure of a log: the name of its column, and the factor to the unit of the column.

    is_whole: it is of the whole job (``data_remaining``), disks included: a figure of the memory is better.
    """

    column: str
    factor: float = 1.0
    is_whole: bool = False


@lru_cache(maxsize=4096)
def figure_named(name: str) -> Named | None:
    """The figure that ``name`` is a name of; None if it is none."""
    whole = SIZE_UNIT.sub(lambda unit: unit.group(0).lower(), LABELS.sub("", name))
    words = [word.lower() for word in WORDS.findall(CAMEL.sub(" ", whole))]
    units = [word for word in words if _is_unit(word)]
    rest = [word for word in words if word not in ORIGINS and not _is_unit(word)]
    if DISK & set(rest):
        return _disk([word for word in rest if word not in DISK], units)
    figure = SIZES.get(rest[0]) if len(rest) == 1 else None
    if figure is not None:
        is_whole = "data" in words and "memory" not in words
        return None if set(units) & set(SECOND_UNITS) else Named(figure, _byte_factor(units), is_whole)
    return _other(" ".join(rest), units, words)


def is_time(name: str) -> bool:
    """Whether ``name`` heads the time of an answer."""
    words = WORDS.findall(name.lower())
    return bool(words) and words[0] in TIMES and all(word in {*TIMES, *SECOND_UNITS, "utc"} for word in words)


def is_status(name: str) -> bool:
    """Whether ``name`` heads the status of a migration."""
    return WORDS.findall(name.lower())[-1:] != [] and WORDS.findall(name.lower())[-1] in STATUSES


def _disk(rest: list[str], units: list[str]) -> Named | None:
    figure = SIZES.get(rest[0]) if len(rest) == 1 else None
    return None if figure is None else Named(f"disk_{figure}", _byte_factor(units))


def _other(figure: str, units: list[str], words: list[str]) -> Named | None:
    column, is_size = FIGURES.get(figure), any(BYTE_UNIT.fullmatch(unit) for unit in units)
    is_bare = (figure == "" and not set(units) & set(BIT_UNITS)) or (figure in BARE and not set(units) & set(SECOND_UNITS))
    if column is None or is_bare or (is_size and column.endswith("_ms")):
        return None
    if column.endswith("_ms"):
        return Named(column, next((SECOND_UNITS[unit] for unit in units if unit in SECOND_UNITS), 1.0))
    if column == "mbps":
        return _speed(units, words)
    if column == "dirty_pages_rate_per_s" and is_size:
        return Named(column, _byte_factor(units) / PAGE_BYTES)
    if column == "normal_pages" and is_size:
        return Named("normal_bytes", _byte_factor(units))
    return Named(column)


def _speed(units: list[str], words: list[str]) -> Named | None:
    """A speed in the unit that is part of its name."""
    bits = next((unit for unit in units if unit in BIT_UNITS), "")
    if bits:
        return Named("mbps", BIT_UNITS[bits])
    sizes = [unit for unit in units if BYTE_UNIT.fullmatch(unit)]
    return Named("mbps", _byte_factor(sizes) * 8 / 1e6) if sizes and "dirty" not in words else None


def _is_unit(word: str) -> bool:
    units: Mapping[str, float] = {**SECOND_UNITS, **BIT_UNITS}
    return word in units or word in OTHER_UNITS or bool(BYTE_UNIT.fullmatch(word))


def _byte_factor(units: list[str]) -> float:
    """QEMU, libvirt and vdsm write MB for 2^20, and so do scripts around them."""
    found = next((match for unit in units if (match := BYTE_UNIT.fullmatch(unit))), None)
    if found is None:
        return float(PAGE_BYTES) if PAGES & set(units) else 1.0
    return float(1024 ** EXPONENT[found.group(1)])
