"""How often the intervals of small studies hold the truth: 400 studies of five runs, the truth from 4,000 runs.

    python docs/tools/measure_coverage.py

The guest is so small that a run costs a hundredth of a second. The how-to page on predictions names the result.
"""

from __future__ import annotations

import sys
from statistics import fmean

from hostsim.scenario import Scenario
from hostsim.simulation import run
from hostsim.study.statistics import spread_of

STUDIES, RUNS, TRUTH_RUNS = 400, 5, 4_000
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
    values = [_figures(base.model_copy(update={"seed": seed})) for seed in range(1, TRUTH_RUNS + 1)]
    low, high = binom.interval(0.99, STUDIES, 0.95)
    for name in FIGURES:
        every = [one[name] for one in values]
        truth = fmean(every)
        # The studies hold half of the runs whose mean is the truth: their own share of its error is a fortieth of theirs.
        studies = [spread_of(every[i * RUNS : (i + 1) * RUNS]) for i in range(STUDIES)]
        held = sum(one is not None and (one.low or 0.0) <= truth <= (one.high or 0.0) for one in studies)
        print(f"{name}: {held} of {STUDIES} intervals hold {truth:.6g} (99 % band {low:.0f} to {high:.0f})")
    return 0


def _figures(scenario: Scenario) -> dict[str, float]:
    migration = run(scenario).migrations[0]
    assert migration.downtime_ms is not None, "the guest converges"
    return {"transferred": float(migration.query["ram"]["transferred"]), "downtime": float(migration.downtime_ms)}


if __name__ == "__main__":
    sys.exit(main())
