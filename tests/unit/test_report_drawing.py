"""Axes that pictures share, and the places of values on them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.figure import Figure

from hostsim.core.latency import Latencies
from hostsim.report import drawing
from hostsim.report.age_plot import draw_age
from hostsim.report.compare_plot import draw, places
from hostsim.study.ageing.options import AgeOptions
from hostsim.study.ageing.outcome import FIGURES, AgeRow
from hostsim.study.ageing.preset import age_plan
from hostsim.study.compare.axes import Axis
from hostsim.study.compare.summary import Row, Summary
from hostsim.study.statistics import Spread


@pytest.mark.parametrize(("low", "high"), [(1, 1e9), (0.9, 11), (2.1e3, 6e3), (1e-4, 1.3), (100, 100_000), (3, 3.1e12)])
def test_a_logarithmic_axis_has_a_few_round_ticks(low: float, high: float) -> None:
    ticks = drawing.log_ticks(low, high)
    assert 2 <= len(ticks) <= drawing.TICKS_MAX
    assert low <= ticks[0] < ticks[-1] <= high
    assert ticks == sorted(ticks)


def test_times_on_an_axis_have_units() -> None:
    axes = Figure().subplots()
    drawing.ns_axis(axes, "x", [[800.0, 3e8]])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1 us", "10 us", "100 us", "1 ms", "10 ms", "100 ms"]


@pytest.mark.parametrize(
    ("values", "apart"),
    [((29e6, 79e9), True), ((1.0, 100.0), False), ((0.0, 5.0), False), ((), False), ((float("nan"), 3.0), False)],
)
def test_values_that_span_decades(values: tuple[float, ...], apart: bool) -> None:
    assert drawing.spans_decades(values) is apart


@pytest.mark.parametrize(
    ("labels", "at"),
    [
        (["20k/s", "300k/s"], [20_000.0, 300_000.0]), (["100ms", "1s"], [1e8, 1e9]), (["1", "8"], [1.0, 8.0]),
        (["1GiB", "4GiB"], [2.0**30, 2.0**32]), (["8Gbit/s", "80Gbit/s"], [1e9, 1e10]), (["1", "1s"], None),
    ],
)  # fmt: skip
def test_values_have_their_place(labels: list[str], at: list[float] | None) -> None:
    assert places(labels) == at


def compared(labels: list[str]) -> Figure:
    rows = tuple(Row({"a.x": label}, ({"status": "completed", "total_time_ms": 1000.0},)) for label in labels)
    plan: Any = SimpleNamespace(axes=(Axis("a.x", tuple(labels), tuple(labels)),), name="n")
    return draw(plan, Summary(rows, (1,)))


@pytest.mark.parametrize(("labels", "scale"), [(["20k/s", "100k/s", "300k/s"], "log"), (["100ms", "200ms"], "linear")])
def test_a_comparison_has_numbers_at_their_places(labels: list[str], scale: str) -> None:
    axes = compared(labels).axes[0]
    assert axes.get_xscale() == scale
    assert axes.get_xticks().tolist() == places(labels) == axes.lines[0].get_xdata().tolist()  # type: ignore[union-attr]
    assert [text.get_text() for text in axes.get_xticklabels()] == labels


def aged(pass_ns: float) -> AgeRow:
    plan = age_plan(AgeOptions(policy="idle"))
    figures = dict.fromkeys(FIGURES, Spread(1, 1.0, None, None)) | {"pass_mean_ns": Spread(1, pass_ns, None, None)}
    return AgeRow(plan.scenario(0), plan.settings[0], figures, {"guest fault": Latencies()})


def test_passes_that_are_decades_apart_are_told_apart() -> None:
    """29 ms beside 79 s, and one that took no time."""
    rows = [aged(29e6), aged(79e9), aged(0.0)]
    figure = draw_age([replace(row, settings={**row.settings, "policy": f"p{i}"}) for i, row in enumerate(rows)], ["policy"])
    axes = figure.axes[0]
    widths = [patch.get_width() for patch in axes.patches]  # type: ignore[attr-defined]
    assert axes.get_xscale() == "log"
    assert axes.get_xlim()[0] < widths[0] < widths[1] < axes.get_xlim()[1]
    assert [text.get_text() for text in axes.texts] == ["29 ms", "79 s", "0 ns"]
