"""Maps of the sweep of auto-converge: total time and lost work, a map a largest throttle."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hostsim.report.charts.chart import Axis, Chart, HeatMap
from hostsim.report.charts.compare import ended, quantity_of

Row = Mapping[str, Any]
MAPS = {"total_time_ms": "total time", "guest_lost_ms": "lost work"}
AXES = {"increment": "cpu-throttle-increment", "initial": "cpu-throttle-initial"}


def mean_of(row: Row, name: str) -> float:
    """The mean of a figure, NaN without it."""
    value = (row["figures"].get(name) or {}).get("mean")
    return float("nan") if value is None else float(value)


def tuning_charts(rows: Sequence[Row], best: Collection[int]) -> Iterator[Chart]:
    """A chart a figure. rows: with auto-converge; best: numbers of the rows that get a frame."""
    mosts = list(dict.fromkeys(row["settings"]["max"] for row in rows))
    for name, title in MAPS.items():
        factor, quantity = quantity_of(name)
        known = [factor * mean_of(row, name) for row in rows if np.isfinite(mean_of(row, name))]
        if not known:
            continue
        labels = {key: list(dict.fromkeys(row["settings"][key] for row in rows)) for key in AXES}
        x, y = (_axis(AXES[key], texts) for key, texts in labels.items())
        across, up = (np.arange(len(texts) + 1, dtype=float) for texts in labels.values())
        panels = []
        for most in mosts:
            values, framed = np.full([len(texts) for texts in labels.values()], np.nan), list[tuple[int, int, str]]()
            told = list[tuple[int, int, str]]()
            for number, row in enumerate(rows):
                if row["settings"]["max"] == most:
                    i, k = (texts.index(row["settings"][key]) for key, texts in labels.items())
                    values[i, k] = factor * mean_of(row, name)
                    framed += [(i, k, "")] if number in best else []
                    told += [] if np.isfinite(values[i, k]) else [(i, k, ended(row))]
            panels.append(HeatMap(y, across, up, values, title, quantity, f"{title}, max-cpu-throttle {most} %", True,
                                  tuple(framed), tuple(told), max(known)))  # fmt: skip
        ended_ones = "Cells with words: no seed completed. " if any(part.told for part in panels) else ""
        lead = f"{ended_ones}Frame: no other setting beats it in both time and lost work."
        yield Chart(f"map-{name}", f"{title[:1].upper()}{title[1:]} by the settings of auto-converge", x, tuple(panels),
                    across=2, lead=lead)  # fmt: skip


def _axis(name: str, texts: Sequence[str]) -> Axis:
    ticks = tuple((i + 0.5, f"{text} %") for i, text in enumerate(texts))
    return Axis(name, "plain", low=0.0, high=float(len(texts)), ticks=ticks)
