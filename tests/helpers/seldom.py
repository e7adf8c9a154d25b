"""Guests with small hot regions whose migrations are polled each 5 s: far less often than QEMU syncs near the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hostsim.fitting.fitted import GuestFit, fit_logs
from hostsim.fitting.refusal import NotIdentifiedError
from hostsim.logs.sniff import parse_logs
from hostsim.scenario.build import workloads_of
from hostsim.scenario.schema import Scenario
from hostsim.theory.guest_curve import guest_curve
from tests.helpers.polled import polled_log

EVERY_S, DRAWS = 5.0, 40
WINDOWS_S = (0.1, 1.0, 10.0)
HOST = {"machine": "qemu-tcg-2core", "lateness": "drawn"}


@dataclass(frozen=True)
class Held:
    """refused: the log identifies no guest. held: by window [s], whether the true dirty pages lie in the fit's bracket."""

    refused: bool
    held: dict[float, bool]


def hot_guest(seed: int) -> Scenario:
    """Half of memory written slowly, and a region of which each page is written 0.5 to 20 times a second."""
    draw = np.random.default_rng((44, seed))
    memory, mib_per_s = int(draw.integers(32, 96)), int(draw.integers(2, 8))
    cold, hot = 128 * memory, int(draw.integers(32, 750))
    cold_rate, hot_rate = draw.uniform(0.1, 0.6) * 256 * mib_per_s, hot * 10 ** draw.uniform(-0.3, 1.3)
    loads = [
        {"name": "cold", "size": f"{4 * cold}KiB", "write_rate": f"{round(cold_rate)}/s"},
        {"name": "hot", "at": f"{4 * cold}KiB", "size": f"{4 * hot}KiB", "write_rate": f"{round(hot_rate)}/s"},
    ]
    migration = {
        "qemu": str(draw.choice(["7.2", "10.0"])), "bandwidth": f"{mib_per_s}MiB/s",
        "downtime_limit": f"{draw.choice([50, 100, 300])}ms", "timeout": "120s",
    }  # fmt: skip
    vm = {"memory": f"{memory}MiB", "workload": [{"pattern": "uniform", **load} for load in loads]}
    return Scenario.model_validate({"seed": seed + 1, "duration": "130s", "vm": vm, "migration": migration, "host": HOST})


def fitted(scenario: Scenario) -> GuestFit | None:
    """The fit of the migration as it was polled; None: refused."""
    try:
        return fit_logs(parse_logs(polled_log(scenario, EVERY_S)), draws=DRAWS)
    except NotIdentifiedError:
        return None


def held(seed: int) -> Held:
    """Whether the brackets of the fit hold the true guest of ``seed``."""
    scenario = hot_guest(seed)
    found, true = fitted(scenario), guest_curve(workloads_of(scenario), scenario.seed)
    if found is None:
        return Held(True, {})
    brackets = {seconds: found.figures[f"dirtied_in_{seconds:g}s_pages"] for seconds in WINDOWS_S}
    return Held(False, {s: (one.low or 0.0) <= true(s) <= (one.high or 0.0) for s, one in brackets.items()})
