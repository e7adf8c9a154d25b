"""Draw the pictures of runs that pages show, under docs/tutorial and docs/howto; `--check` only compares."""

from __future__ import annotations

import sys
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from pictures import Figures, run

from hostsim import run as simulate
from hostsim.report.kvm_plots import draw_kvm, fixed_layout
from hostsim.report.memory_plots import draw_age_map, draw_latencies
from hostsim.report.plots import draw_migration
from hostsim.scenario import load_scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

    from hostsim.results.memory import HostResult
    from hostsim.results.tables import MigrationResult, RunResult

ROOT = Path(__file__).resolve().parents[2]


@cache
def result_of(scenario: str) -> RunResult:
    """A scenario of the folder `scenarios`, run."""
    return simulate(load_scenario(ROOT / "scenarios" / f"{scenario}.toml"))


def of_migration(scenario: str, draw: Callable[[MigrationResult, str], Figure]) -> Figure:
    """The picture of its migration."""
    result = result_of(scenario)
    return draw(result.migrations[0], result.name)


def of_host(scenario: str, draw: Callable[[HostResult, str], Figure]) -> Figure:
    """The picture of its host."""
    result = result_of(scenario)
    assert result.host is not None
    return draw(result.host, result.name)


def laid_out_kvm(migration: MigrationResult, name: str) -> Figure:
    """As ``hostsim run`` draws it."""
    return fixed_layout(draw_kvm(migration, name))


def figures() -> Figures:
    """By place under docs/."""
    return {
        "tutorial/first-run.png": partial(of_migration, "precopy_convergence", draw_migration),
        "howto/kvm-write-protect.png": partial(of_migration, "kvm_write_protect", laid_out_kvm),
        "howto/memory-pressure-latencies.png": partial(of_host, "memory_pressure", draw_latencies),
        "howto/ageing-under-load-age-map.png": partial(of_host, "ageing_under_load", draw_age_map),
    }


if __name__ == "__main__":
    sys.exit(run(__file__, figures))
