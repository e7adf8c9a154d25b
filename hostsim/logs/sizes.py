"""Sizes of a log that contradict each other by 1024 or 1000: KiB that were written down as bytes, or the reverse.

A page sent whole takes 4104 bytes on the wire and one of zeros 9 (migration/ram.c::save_normal_page, save_zero_page), and
each page sent is one page less that remains. So the counters of pages give the unit of every size; without counters QEMU's
own rate gives it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import PAGE_BYTES, PAGE_HEADER_BYTES, ZERO_PAGE_BYTES

Column = NDArray[np.float64]
UNITS: Mapping[float, str] = {1000.0: "kB", 1024.0: "KiB", 1e6: "MB", float(1 << 20): "MiB"}
BINARY = (1024.0, float(1 << 20))
NEAR = 0.012
"""A ratio is one of the units within this share: half of the distance between 1000 and 1024."""
NEAR_BY_RATE = 0.1
"""The same by a rate, which is a mean over another time; 1024 is meant then (assumed)."""
PAGES_MIN = 256.0
SENT = ("transferred_bytes", "precopy_bytes", "postcopy_bytes", "downtime_bytes", "multifd_bytes")
NAMES = {"transferred_bytes": "transferred", "remaining_bytes": "remaining", "total_bytes": "total"}


def in_bytes(columns: MutableMapping[str, Column], at_s: Column) -> tuple[str, ...]:
    """Bring transferred, remaining and total to bytes, in place. at_s: float64[samples], NaN where an answer has no time.

    Returns a sentence if a size was in another unit.
    """
    found: dict[str, float] = {}
    if factor := _factor(*_of_sent(columns, at_s)):
        _scale(columns, SENT, factor)
        found["transferred_bytes"] = factor
    if factor := _factor(_of_remaining(columns), NEAR):
        _scale(columns, ("remaining_bytes",), factor)
        found["remaining_bytes"] = factor
    if factor := _factor(_of_total(columns), NEAR) or _of_too_small_a_total(columns, found):
        _scale(columns, ("total_bytes",), factor)
        found["total_bytes"] = factor
    return (_sentence(found),) if found else ()


def _of_sent(columns: Mapping[str, Column], at_s: Column) -> tuple[float, float]:
    """(bytes transferred over those that the pages took, how near it has to be); by mbps where no pages are counted.

    NaN where pages travelled in part, or beside the stream that transferred counts.
    """
    if (columns["multifd_bytes"] > 0).any() or (columns["xbzrle_pages"] > 0).any():
        return np.nan, NEAR
    expected = _wire_bytes(columns)
    sent = columns["transferred_bytes"]
    told = np.flatnonzero(~np.isnan(expected + sent))
    if len(told) and expected[told[-1]] >= PAGES_MIN * PAGE_BYTES:
        return float(sent[told[-1]] / expected[told[-1]]), NEAR
    told = np.flatnonzero(~np.isnan(sent + at_s) & (columns["mbps"] > 0))
    by_rate = np.diff(at_s[told]) * columns["mbps"][told[1:]] * 1e6 / 8
    is_timed = by_rate > 0
    each = np.diff(sent[told])[is_timed] / by_rate[is_timed]
    return (float(np.median(each)) if len(each) else np.nan), NEAR_BY_RATE


def _wire_bytes(columns: Mapping[str, Column]) -> Column:
    page = _page_bytes(columns)
    zero = np.nan_to_num(columns["zero_pages"])
    return np.asarray(columns["normal_pages"] * (page + PAGE_HEADER_BYTES) + zero * ZERO_PAGE_BYTES)


def _of_remaining(columns: Mapping[str, Column]) -> float:
    """Bytes by which remaining fell over those of the pages that were sent between two syncs."""
    pages = columns["normal_pages"] + columns["zero_pages"]
    if np.isnan(pages).all():
        pages = np.where(
            columns["dirty_sync_count"] > 1, columns["transferred_bytes"] / (PAGE_BYTES + PAGE_HEADER_BYTES), np.nan
        )
    syncs, left = columns["dirty_sync_count"], columns["remaining_bytes"]
    told = np.flatnonzero(~np.isnan(pages + syncs + left))
    between = np.diff(syncs[told]) == 0
    sent, fell = (float(change[between].sum()) for change in (np.diff(pages[told]), -np.diff(left[told])))
    return fell / (sent * _page_bytes(columns)) if sent >= PAGES_MIN and fell > 0 else np.nan


def _of_total(columns: Mapping[str, Column]) -> float:
    """Bytes of all memory over those of the pages that the first pass has sent and has left."""
    pages = columns["normal_pages"] + columns["zero_pages"]
    memory = pages * _page_bytes(columns) + columns["remaining_bytes"]
    told = np.flatnonzero((columns["dirty_sync_count"] <= 1) & ~np.isnan(memory + columns["total_bytes"]))
    if not len(told) or memory[told[0]] <= 0:
        return np.nan
    return float(columns["total_bytes"][told[0]] / memory[told[0]])


def _of_too_small_a_total(columns: Mapping[str, Column], found: Mapping[str, float]) -> float:
    """The factor of remaining, if more remains than the total memory and no other figure confirms the total; else 0."""
    left, whole = columns["remaining_bytes"], columns["total_bytes"]
    is_too_small = bool((left > whole).any()) and not _factor(_of_total(columns), NEAR)
    return found.get("remaining_bytes", 0.0) if is_too_small else 0.0


def _page_bytes(columns: Mapping[str, Column]) -> float:
    told = columns["page_size_bytes"][columns["page_size_bytes"] >= PAGE_BYTES]
    return float(told[0]) if len(told) else float(PAGE_BYTES)


def _factor(ratio: float, near: float) -> float:
    """The factor to bytes; 0: the ratio is that of no unit."""
    if not np.isfinite(ratio) or ratio <= 0:
        return 0.0
    units = UNITS if near <= NEAR else BINARY
    best = min((factor for unit in units for factor in (unit, 1 / unit)), key=lambda factor: abs(ratio * factor - 1))
    return best if abs(ratio * best - 1) <= near else 0.0


def _scale(columns: MutableMapping[str, Column], names: tuple[str, ...], factor: float) -> None:
    for name in names:
        columns[name] = columns[name] * factor


def _sentence(found: Mapping[str, float]) -> str:
    return f"Sizes in other units than bytes: {'; '.join(_parts(found))}"


def _parts(found: Mapping[str, float]) -> Iterator[str]:
    for factor in dict.fromkeys(found.values()):
        names = [NAMES[name] for name, one in found.items() if one == factor]
        said = f"{' and '.join(filter(None, (', '.join(names[:-1]), names[-1])))} {'are' if len(names) > 1 else 'is'}"
        if factor > 1:
            yield f"{said} {factor:.0f} times too small beside the other figures: read as {UNITS[factor]}"
        else:
            yield f"{said} {1 / factor:.0f} times too large beside the other figures: divided by that"
