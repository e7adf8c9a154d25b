"""Rows of suite ``fit``: predictions beside the real migrations, by the bars that were set before the fit was written."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hostsim.validation.fit.predicted import STOPPED, SWITCHED, Prediction
from hostsim.validation.rows import Row, exact, relative

SUITE = "fit"
MEDIAN_BAR = 0.05
"""Of the errors of the total time over all pairs of QEMU cases."""
BAR, SYNCS = 0.10, 2
"""Of total time, bytes, syncs and remaining of the PostgreSQL guests; so many syncs are no error, as in suite ``qemu``."""


def scored(found: Mapping[str, Sequence[Prediction]]) -> list[Row]:
    """All rows: the pairs of QEMU cases, then the PostgreSQL guests."""
    return [*(_qemu(found["qemu"]) if found["qemu"] else ()), *_postgres(found["postgres"])]


def _qemu(some: Sequence[Prediction]) -> Iterator[Row]:
    pairs = [one for one in some if one.get("error") is not None]
    errors = sorted(abs(one["error"]) for one in pairs)
    middle = statistics.median(errors)
    note = f"{len(errors)} pairs; nine of ten within {100 * errors[int(0.9 * len(errors))]:.1f} %"
    yield Row(SUITE, "Q", "median error of total time", 0.0, middle, middle, MEDIAN_BAR, middle <= MEDIAN_BAR, note=note)
    sure = [one for one in some if "target" in one and not one["split"]]
    right = sum(one["completes"] is one["really_completes"] for one in sure)
    yield exact(SUITE, "Q", "outcomes right", len(sure), right).unscored("no bar was set")
    for one in some:
        if "refused" in one:
            why = one["refused"].partition(";")[0]
            yield Row(SUITE, f"Q/{one['source']}", "fit", "a guest", "refused", None, None, False).unscored(why)
    for one in pairs:
        row = relative(SUITE, f"Q/{one['source']}/{one['target']}", "total_time_ms", one["real_ms"], one["total_ms"], BAR)
        yield row.unscored("counted by the median")


def _postgres(some: Sequence[Prediction]) -> Iterator[Row]:
    for one in some:
        if "fit" in one:
            yield exact(SUITE, "PG/16T", "ends by itself", False, one["ends_by_itself"])
        elif one["guest"] in (STOPPED, SWITCHED):
            yield from _ranges(one)
        else:
            yield from _figures(one)


def _figures(one: Prediction) -> Iterator[Row]:
    row_id = f"PG/{one['log']}"
    for name in ("total_s", "bytes", "syncs"):
        told = one["figures"][name]
        row = relative(SUITE, row_id, name, told["real"], told["mean"], BAR)
        if name == "syncs" and abs(told["mean"] - told["real"]) <= SYNCS:
            row = Row(SUITE, row_id, name, told["real"], told["mean"], row.error, BAR, True, note=row.note)
        also = f"; or {SYNCS} syncs" if name == "syncs" else ""
        yield row.with_note(f"drawn guests {told['low']:.4g} to {told['high']:.4g}{also}")
    for i, told in enumerate(one["remaining"], 2):
        yield relative(SUITE, row_id, f"remaining after sync {i}", round(told["real"]), round(told["mean"]), BAR)


def _ranges(one: Prediction) -> Iterator[Row]:
    """Memory that is copied earlier than in the log, which does not show the pages that were zero: a range."""
    for name in ("total_s", "bytes"):
        told: Mapping[str, Any] = one["figures"][name]
        miss = max(told["low"] - told["real"], told["real"] - told["high"], 0.0) / told["real"]
        got, note = f"{told['low']:.4g} to {told['high']:.4g}", "share beyond the range"
        yield Row(SUITE, f"PG/{one['log']}", name, told["real"], got, miss, 0.0, miss == 0, note=note)
