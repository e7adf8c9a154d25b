"""How often the intervals of studies hold the truth: 400 studies of 30 runs and of five, the truth from 8,000 other runs.

    python docs/tools/measure_coverage.py

The guest is so small that a run costs a hundredth of a second. The how-to page on predictions names the result.
"""

from __future__ import annotations

import sys
from statistics import fmean

from hostsim.scenario import Scenario
from hostsim.simulation import run
from hostsim.study.statistics import spread_of

STUDIES, SIZES, TRUTH_RUNS = 400, (30, 5), 8_000
GUEST = {
    "duration": "20s",
    "vm": {"memory": "4MiB", "workload": [{"pattern": "uniform", "size": "1MiB", "write_rate": "2000/s"}]},
    "migration": {"profile": "libvirt", "bandwidth": "unlimited", "downtime_limit": "10ms"},
    "link": {"bandwidth": "100Mbit/s"},
    "host": {"lateness": "drawn"},
}
FIGURES = ("transferred", "downtime")


def main() -> int:
    """Run, and print a line a figure."""
    from scipy.stats import binom

    base = Scenario.model_validate(GUEST)
    every = STUDIES * max(SIZES) + TRUTH_RUNS
    values = [_figures(base.model_copy(update={"seed": seed})) for seed in range(1, every + 1)]
    low, high = binom.interval(0.99, STUDIES, 0.95)
    for name in FIGURES:
        found = [one[name] for one in values]
        truth = fmean(found[-TRUTH_RUNS:])
        for size in SIZES:
            studies = [spread_of(found[i * size : (i + 1) * size]) for i in range(STUDIES)]
            held = sum(one is not None and (one.low or 0.0) <= truth <= (one.high or 0.0) for one in studies)
            print(f"{name}, {size} runs: {held} of {STUDIES} hold {truth:.6g} (99 % band {low:.0f} to {high:.0f})")
    return 0


def _figures(scenario: Scenario) -> dict[str, float]:
    migration = run(scenario).migrations[0]
    assert migration.downtime_ms is not None, "the guest converges"
    return {"transferred": float(migration.query["ram"]["transferred"]), "downtime": float(migration.downtime_ms)}


if __name__ == "__main__":
    sys.exit(main())
