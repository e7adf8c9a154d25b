"""Axes that pictures share, and the places of values on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hostsim.report import drawing
from hostsim.report.charts.chart import Axis, Bar, Bars, Chart, HeatMap, Line, Panel, spans_decades
from hostsim.report.charts.pictures import FORMATS, THREE_ACROSS, _ncols, figure_of
from hostsim.report.html.kinds.compare import compare_chart, places
from hostsim.report.html.kinds.studies import AGE_BARS, age_chart


@pytest.mark.parametrize(("low", "high"), [(1, 1e9), (0.9, 11), (2.1e3, 6e3), (1e-4, 1.3), (100, 100_000), (3, 3.1e12)])
def test_a_logarithmic_axis_has_a_few_round_ticks(low: float, high: float) -> None:
    ticks = drawing.log_ticks(low, high)
    assert 2 <= len(ticks) <= drawing.TICKS_MAX
    assert low <= ticks[0] < ticks[-1] <= high
    assert ticks == sorted(ticks)


def test_times_on_an_axis_have_units() -> None:
    line = Line("one", np.array([1200.0, 2e8]), np.array([1.0, 2.0]))
    axes = figure_of(Chart("c", "C", Axis("time", "ns", log=True), (Panel(Axis("n"), (line,)),))).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1 us", "10 us", "100 us", "1 ms", "10 ms", "100 ms"]


@pytest.mark.parametrize(
    ("values", "apart"),
    [((29e6, 79e9), True), ((1.0, 100.0), False), ((0.0, 5.0), False), ((), False), ((float("nan"), 3.0), False)],
)
def test_values_that_span_decades(values: tuple[float, ...], apart: bool) -> None:
    assert spans_decades(values) is apart


@pytest.mark.parametrize(
    ("labels", "at"),
    [
        (["20k/s", "300k/s"], [20_000.0, 300_000.0]), (["100ms", "1s"], [1e8, 1e9]), (["1", "8"], [1.0, 8.0]),
        (["1GiB", "4GiB"], [2.0**30, 2.0**32]), (["8Gbit/s", "80Gbit/s"], [1e9, 1e10]), (["1", "1s"], None),
    ],
)  # fmt: skip
def test_values_have_their_place(labels: list[str], at: list[float] | None) -> None:
    assert places(labels) == at


def compared(labels: list[str]) -> Chart:
    figures = {"total_time_ms": {"mean": 1000.0, "low": None, "high": None}}
    rows = [{"settings": {"a.x": label}, "statuses": ["completed"], "figures": figures} for label in labels]
    axes = [{"key": "a.x", "values": labels}]
    return compare_chart({"name": "n", "axes": axes, "combinations": rows, "interval": None})


@pytest.mark.parametrize(("labels", "scale"), [(["20k/s", "100k/s", "300k/s"], "log"), (["100ms", "200ms"], "linear")])
def test_a_comparison_has_numbers_at_their_places(labels: list[str], scale: str) -> None:
    axes = figure_of(compared(labels)).axes[0]
    assert axes.get_xscale() == scale
    assert axes.get_xticks().tolist() == places(labels) == axes.lines[0].get_xdata().tolist()  # type: ignore[union-attr]
    assert [text.get_text() for text in axes.get_xticklabels()] == labels


def aged(*pass_ns: float) -> dict[str, Any]:
    """age.json of policies that differ in the time of a pass alone."""
    one = {"mean": 1.0, "low": None, "high": None}
    figures = [dict.fromkeys(AGE_BARS, one) | {"pass_mean_ns": {**one, "mean": ns}} for ns in pass_ns]
    return {"rows": [{"settings": {"policy": f"p{i}"}, "figures": found} for i, found in enumerate(figures)]}


def test_passes_that_are_decades_apart_are_told_apart() -> None:
    """29 ms beside 79 s, and one that took no time."""
    axes = figure_of(age_chart(aged(29e6, 79e9, 0.0))).axes[0]
    widths = [patch.get_width() for patch in axes.patches]  # type: ignore[attr-defined]
    assert axes.get_xscale() == "log"
    assert axes.get_xlim()[0] < widths[0] < widths[1] < axes.get_xlim()[1]
    assert [text.get_text() for text in axes.texts] == ["29 ms", "79 s", "0 ns"]


@pytest.mark.parametrize(
    ("names", "letters", "found"),
    [(["a", "b", "c"], 40, 3), (["a", "b", "c"], 20, 2), (["a" * 30, "b", "c"], 40, 1), (["a" * 90], 40, 1), ([], 40, 1)],
)
def test_a_legend_has_as_many_columns_as_fit(names: list[str], letters: int, found: int) -> None:
    assert _ncols(names, letters) == found


def bars(n: int) -> Chart:
    part = Bars(Axis("time", "ns"), ("a", "b"), (("one", (Bar(1.0), Bar(2.0))), ("two", (Bar(3.0), Bar(4.0)))))
    return Chart("bars", "Bars", Axis(""), (part,) * n, across=3)


@pytest.mark.parametrize(("n", "inches"), [(1, FORMATS["screen"].inches), (3, THREE_ACROSS.inches)])
def test_three_panels_beside_one_another_have_a_wider_picture_and_one_legend(n: int, inches: float) -> None:
    figure = figure_of(bars(n))
    assert figure.get_size_inches()[0] == inches
    assert (len(figure.legends), sum(axes.get_legend() is not None for axes in figure.axes)) == ((1, 0) if n > 1 else (0, 1))
    assert figure.axes[0].get_xlabel() == "time"


def test_a_cell_without_a_value_has_its_words() -> None:
    ticks = Axis("n", "plain", low=0.0, high=2.0)
    values = np.array([[1.0, np.nan]])
    part = HeatMap(ticks, np.arange(2.0), np.arange(3.0), values, "time", "s", written=True, told=((0, 1, "cancelled"),))
    axes = figure_of(Chart("map", "Map", Axis("m", "plain", low=0.0, high=1.0), (part,))).axes[0]
    assert [text.get_text() for text in axes.texts] == ["1 s", "cancelled"]
