"""Predictions and solutions without runs, and a guest so small that its runs cost hundredths of a second."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hostsim.scenario import Scenario
from hostsim.study.compare.figures import Figures
from hostsim.study.predict.margins import Margin
from hostsim.study.predict.prediction import Prediction, estimates_of, prediction_of
from hostsim.study.predict.replications import Replications, Rule
from hostsim.study.solve.solution import Cell, Change, Solution
from hostsim.study.solve.target import Target
from hostsim.study.statistics import share_of

MIB = 1 << 20


def small_guest(**more: Any) -> Scenario:
    """16 MiB, of which 4 MiB are written; 200 Mbit/s. more: keys of [migration]."""
    return Scenario.model_validate(
        {
            "name": "small",
            "duration": "20s",
            "vm": {"memory": "16MiB", "workload": [{"pattern": "uniform", "size": "4MiB", "write_rate": "2000/s"}]},
            "migration": {"profile": "libvirt", "bandwidth": "unlimited", "downtime_limit": "20ms", **more},
            "link": {"bandwidth": "200Mbit/s"},
            "host": {"lateness": "drawn"},
        }
    )


def run_figures(number: int, status: str = "completed") -> Figures:
    """Figures of a run that differ from run to run."""
    done = status == "completed"
    return {
        "status": status, "total_time_ms": 5000 + 7 * number if done else None,
        "downtime_ms": 300 + number if done else None,
        "transferred_bytes": 6_000_000_000 + 10**6 * number, "guest_slowdown_percent": 1.5 + 0.01 * number,
        "syncs": 8, "mode.sent_percent": 150.0 + number,
    }  # fmt: skip


def predicted(completed: int = 10, stuck: int = 0) -> Prediction:
    """A prediction with margins of every kind."""
    base = small_guest()
    runs = [run_figures(i) for i in range(completed)] + [run_figures(i, "active") for i in range(stuck)]
    scenarios = tuple(base.model_copy(update={"seed": 1 + i}) for i in range(len(runs)))
    found = prediction_of(Replications(scenarios, tuple(runs), Rule("work", 30)))
    margins = (
        Margin("dirty_rate_pages_per_s", 2000.0, stuck == 0, 4000.0, 3900.0, 4100.0, (1, 2, 3)),
        Margin("bandwidth_bytes_per_s", 2.5e7, stuck == 0, 1.2e7),
        Margin("downtime_limit_ms", 300.0, stuck == 0, None, 1.0, None, (1, 2, 3)),
        Margin("working_set_bytes", 4.0 * MIB, stuck == 0, None, 4.0 * MIB, None, (1, 2, 3)),
    )
    return replace(found, margins=margins)


def _pair(gbit: int, limit_ms: float) -> Cell:
    """A pair that the computation lets reach the target, or not; of corners 19 of 20 runs reach it."""
    reaches, corner = gbit * limit_ms > 500, gbit * limit_ms == 1000
    settings = {"link.bandwidth": f"{gbit}Gbit/s", "migration.downtime_limit": f"{limit_ms:.0f}ms"}
    cell = Cell(gbit * 1.25e8, limit_ms, reaches, 12.3 if reaches else None, corner, settings=settings)
    share = share_of(19, 20)
    return replace(cell, runs=20, reached=19, low=share.low, high=share.high, confirmed=True) if corner else cell


def solved() -> Solution:
    """A solution with a change of each kind, and a frontier."""
    base, runs = small_guest(), [run_figures(i) for i in range(30)]
    seeds = tuple(range(1001, 1031))
    yes = {"reached": share_of(30, 30), "estimates": estimates_of(runs), "seeds": seeds}
    changes = (
        Change("bandwidth", 2.5e7, 4e7, {"link.bandwidth": "320Mbit/s"}, **yes, factor=1.6),
        Change("downtime-limit", 20.0, 305.0, {"migration.downtime_limit": "305ms"}, **yes, factor=15.0),
        Change("throttle", 0.0, obstacle="a throttle of up to 99 % does not reach it (run)"),
        Change("mode", "precopy", "postcopy", {"migration.postcopy_ram": "true"}, **yes),
    )  # fmt: skip
    cells = tuple(_pair(speed, limit) for speed in (1, 10, 100) for limit in (50.0, 100.0, 1000.0))
    computed = {"bandwidth_bytes_per_s": 2.5e7, "floor_bytes": 3e6, "threshold_bytes": 5e5}
    none = tuple(run_figures(i, "active") for i in range(5))
    return Solution("small", base.resolved(), Target(0.95, 500.0, 600_000.0), share_of(0, 5), (1, 2, 3, 4, 5), none, changes,
                    cells, computed)  # fmt: skip
