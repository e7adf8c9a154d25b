"""Common parts of lines and bars in a comparison's picture: the unit of a panel, means and their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hostsim.report.compare_words import ended_words
from hostsim.study.compare.summary import Row

SCALES = {
    "_ms": ((1000.0, "s"), (1.0, "ms")), "_ns": ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1.0, "ns")),
    "_bytes": ((1e9, "GB"), (1e6, "MB"), (1.0, "B")), "_percent": ((1.0, "%"),),
}  # fmt: skip
Line = tuple[str, list[Row]]
"""Label of a combination of the other axes, its rows in the order of the first axis."""


def scale_of(lines: Sequence[Line], name: str) -> tuple[float, str]:
    """(divisor, unit) in which the values of figure ``name`` are shown."""
    top = max((spread.mean for _, rows in lines for row in rows if (spread := row.spread(name))), default=0.0)
    steps = next((steps for ending, steps in SCALES.items() if name.endswith(ending)), ((1.0, ""),))
    return next(((factor, unit) for factor, unit in steps if top >= factor), steps[-1])


def spread_of(rows: Sequence[Row], name: str, scale: float) -> tuple[list[int], list[float], list[list[float]]]:
    """(which rows have the figure, their means, how far their intervals reach below and above)."""
    there = {i: spread for i, row in enumerate(rows) if (spread := row.spread(name)) is not None}
    means = [spread.mean / scale for spread in there.values()]
    below = [_gap(spread.low, spread.mean) / scale for spread in there.values()]
    above = [_gap(spread.mean, spread.high) / scale for spread in there.values()]
    return list(there), means, [below, above]


def ended(rows: Sequence[Row], at: Sequence[int]) -> Iterator[tuple[int, str]]:
    """(row, how it ended) of those without the figure."""
    yield from ((i, ended_words(row)) for i, row in enumerate(rows) if i not in at)


def _gap(low: float | None, high: float | None) -> float:
    return 0.0 if low is None or high is None else high - low
