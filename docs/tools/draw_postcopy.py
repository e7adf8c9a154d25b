"""Draw docs/howto/postcopy-preempt.png: a guest in post-copy whose requests wait for windows, and one with the channel."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from pictures import Figures, run

from hostsim import run as simulate
from hostsim.report.drawing import BLUE, VERMILION, ns_axis, titled
from hostsim.scenario import load_scenario

if TYPE_CHECKING:
    from hostsim.results.tables import MigrationResult

SCENARIO = Path(__file__).resolve().parents[2] / "scenarios" / "postcopy_preempt.toml"
CASES = {"false": ("on one connection, behind the limit", VERMILION, "--"), "true": ("with postcopy-preempt", BLUE, "-")}
STALLS = {"p50_ns": "median", "p90_ns": "90 %", "p99_ns": "99 %", "max_ns": "longest"}


@cache
def migrated(preempt: str) -> MigrationResult:
    """The migration of the scenario with the capability "true" or "false"."""
    return simulate(load_scenario(SCENARIO, [f"migration.postcopy_preempt={preempt}"])).migrations[0]


def draw_speed(axes: Any) -> None:
    """Speed of the guest from 0.2 s before the switch on."""
    for preempt, (label, colour, style) in CASES.items():
        migration = migrated(preempt)
        series, switched_s = migration.series.columns, migration.facts["postcopy"]["switched_s"]
        since_s = (series["t_ns"] - series["t_ns"][0]) / 1e9 - switched_s
        axes.step(since_s, 100 * series["guest_speed"], where="pre", label=label, color=colour, linestyle=style)
    axes.set(xlim=(-0.2, 1.55), ylim=(0, 105), xlabel="time since the switch [s]", ylabel="guest speed [% of full speed]")
    axes.set_title("How fast the guest runs while its memory follows", loc="left", fontsize=9.5)
    axes.legend(loc="upper left", bbox_to_anchor=(0.13, 1.0))


def draw_stalls(axes: Any) -> None:
    """Time that a vCPU waits for a page."""
    values = []
    for number, (preempt, (label, colour, _)) in enumerate(CASES.items()):
        stalls = migrated(preempt).facts["postcopy"]["stalls"]
        values += (times := [stalls[key] for key in STALLS])
        places = [place + 0.38 * (number - 0.5) for place in range(len(STALLS))]
        axes.barh(places, times, height=0.34, color=colour, label=f"{label}: {stalls['count']} waits")
    ns_axis(axes, "x", [values])
    axes.set_yticks(range(len(STALLS)), list(STALLS.values()))
    axes.grid(visible=False, axis="y")
    axes.invert_yaxis()
    axes.set(xlabel="wait of a vCPU for one page")
    axes.set_title("How long a vCPU waits for a page", loc="left", fontsize=9.5)


def draw() -> Figure:
    """Speed at the left, waits at the right."""
    figure = Figure(figsize=(9.6, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(5, 4))
    draw_speed(left)
    draw_stalls(right)
    titled(figure, "What does a preempt channel do for the guest in post-copy?")
    return figure


def figures() -> Figures:
    """The picture of the page."""
    return {"howto/postcopy-preempt.png": draw}


if __name__ == "__main__":
    sys.exit(run(__file__, figures))
