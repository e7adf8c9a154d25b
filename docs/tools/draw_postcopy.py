"""Draw docs/howto/postcopy-preempt.png: a guest in post-copy whose requests wait for windows, and one with the channel."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pictures import Figures, run

from hostsim import run as simulate
from hostsim.report.charts.chart import Axis, Bar, Bars, Chart, Colour, Line, Panel
from hostsim.report.charts.pictures import figure_of, fixed_layout
from hostsim.scenario import load_scenario

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hostsim.results.tables import MigrationResult

SCENARIO = Path(__file__).resolve().parents[2] / "scenarios" / "postcopy_preempt.toml"
CASES: dict[str, tuple[str, Colour, int]] = {
    "false": ("on one connection, behind the limit", "blue", 0), "true": ("with postcopy-preempt", "vermilion", 1),
}  # fmt: skip
STALLS = {"p50_ns": "median", "p90_ns": "90 %", "p99_ns": "99 %", "max_ns": "longest"}


@cache
def migrated(preempt: str) -> MigrationResult:
    """The migration of the scenario with the capability "true" or "false"."""
    return simulate(load_scenario(SCENARIO, [f"migration.postcopy_preempt={preempt}"])).migrations[0]


def speeds() -> Panel:
    """Speed of the guest from 0.2 s before the switch on."""
    lines = []
    for preempt, (label, colour, dash) in CASES.items():
        migration = migrated(preempt)
        series, switched_s = migration.series.columns, migration.facts["postcopy"]["switched_s"]
        since_s = (series["t_ns"] - series["t_ns"][0]) / 1e9 - switched_s
        lines.append(Line(label, since_s, 100 * np.asarray(series["guest_speed"]), colour, "before", dash))
    x = Axis("time since the switch", "s", low=-0.2, high=1.55)
    y = Axis("guest speed, of full speed", "%", low=0.0, high=105.0)
    return Panel(y, tuple(lines), x=x, title="How fast the guest runs while its memory follows")


def waits() -> Bars:
    """Time that a vCPU waits for a page."""
    groups = []
    for preempt, (label, _, _) in CASES.items():
        stalls = migrated(preempt).facts["postcopy"]["stalls"]
        groups.append((f"{label}: {stalls['count']} waits", tuple(Bar(float(stalls[key])) for key in STALLS)))
    axis = Axis("wait of a vCPU for one page", "ns", log=True)
    return Bars(axis, tuple(STALLS.values()), tuple(groups), "How long a vCPU waits for a page")


def draw() -> Figure:
    """Speed at the left, waits at the right."""
    question = "What does a preempt channel do for the guest in post-copy?"
    return fixed_layout(figure_of(Chart("postcopy", question, Axis(""), (speeds(), waits()), across=2), "screen", question))


def figures() -> Figures:
    """The picture of the page."""
    return {"howto/postcopy-preempt.png": draw}


if __name__ == "__main__":
    sys.exit(run(__file__, figures))
