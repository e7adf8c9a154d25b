"""A plain pre-copy by the readings of a dirty curve themselves, pass by pass, without a guest fitted to them.

A fitted guest smooths the readings: no steady guest goes through each of them. Where an answer hangs on one reading, the
two forecasts part, and a reader sees by how much.
"""

from __future__ import annotations

from hostsim.core.constants import NS_PER_S, PAGE_BYTES
from hostsim.fitting.fitted import GuestFit
from hostsim.qemu.mechanism import on_in
from hostsim.scenario.schema import Scenario
from hostsim.study.predict.forecast import bandwidth_bytes_per_s, limit_of_s
from hostsim.theory.dirty_curve import DirtyCurve
from hostsim.theory.precopy import PrecopyOutcome, predict_precopy

READINGS_MIN = 3
"""Two readings are a straight line, and no curve."""


def by_curve(fitted: GuestFit, scenario: Scenario) -> PrecopyOutcome | None:
    """The passes of ``scenario`` by the readings of ``fitted``.

    None: ``fitted`` is of a log's rounds, or has too few readings; or the scenario has a mechanism, a load that ends, or no
    bandwidth, so that the passes are not known.
    """
    migration, readings = scenario.migration, fitted.found.points
    if fitted.observed or len(readings) < READINGS_MIN or migration is None or scenario.vm.dirty_limit:
        return None
    bandwidth, loads = bandwidth_bytes_per_s(scenario), scenario.vm.workload
    if on_in(migration.parameters()) or not bandwidth or any(load.active for load in loads) or not loads:
        return None
    filled = sum(pages for _, pages in scenario.vm.filled_gfns())
    zero = scenario.vm.memory // PAGE_BYTES - filled
    curve = DirtyCurve.from_points([one.t_s for one in readings], [one.found_pages for one in readings], filled)
    return predict_precopy(curve, filled, zero, bandwidth, migration.downtime_limit / NS_PER_S, limit_of_s(scenario))
