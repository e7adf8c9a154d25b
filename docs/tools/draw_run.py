"""Draw the pictures of runs that pages show, under docs/tutorial and docs/howto; `--check` only compares."""

from __future__ import annotations

import sys
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from pictures import Figures, run

from hostsim import run as simulate
from hostsim.report.charts.pictures import figure_of, fixed_layout
from hostsim.report.html.registry import charts_of, run_content
from hostsim.scenario import load_scenario

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hostsim.results.tables import RunResult

ROOT = Path(__file__).resolve().parents[2]


@cache
def result_of(scenario: str) -> RunResult:
    """A scenario of the folder `scenarios`, run."""
    return simulate(load_scenario(ROOT / "scenarios" / f"{scenario}.toml"))


def draw(scenario: str, chart: str) -> Figure:
    """A chart of its report, as ``hostsim run`` draws it."""
    result = result_of(scenario)
    (found,) = (one for one in charts_of(run_content(result, [])) if one.name == chart)
    return fixed_layout(figure_of(found, "screen", result.name))


def figures() -> Figures:
    """By place under docs/."""
    return {
        "tutorial/first-run.png": partial(draw, "precopy_convergence", "migration"),
        "howto/kvm-write-protect.png": partial(draw, "kvm_write_protect", "kvm"),
        "howto/checkpoints-remus.png": partial(draw, "checkpoints_remus", "checkpoints"),
        "howto/memory-pressure-latencies.png": partial(draw, "memory_pressure", "latencies"),
        "howto/ageing-under-load-age-map.png": partial(draw, "ageing_under_load", "age_map"),
        "howto/postcopy-short-of-memory-stall.png": partial(draw, "postcopy_short_of_memory", "stall"),
    }


if __name__ == "__main__":
    sys.exit(run(__file__, figures))
