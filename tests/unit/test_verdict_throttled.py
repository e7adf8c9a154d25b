"""The cost of auto-converge to the guest, in one line of the verdict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hostsim.scenario import Scenario
from hostsim.simulation import run
from hostsim.verdict.diagnose import diagnose
from hostsim.verdict.evidence import Throttled
from hostsim.verdict.from_result import evidence_from_result
from hostsim.verdict.throttled import throttled_of


def series(percents: list[int], speeds: list[float], status: str = "active") -> dict[str, Any]:
    """A sample a second; each closes the interval before it."""
    return {
        "t_ns": np.arange(len(percents)) * 10**9,
        "throttle_percent": np.array(percents),
        "guest_speed": np.array(speeds),
        "status": np.array([status] * len(percents)),
    }


def test_sleep_and_speed_count_from_the_first_step_on() -> None:
    found = throttled_of(series([0, 0, 20, 50], [0.0, 1.0, 0.8, 0.4]))
    assert found == Throttled(2.0, pytest.approx(0.7), pytest.approx(0.6))


def test_a_guest_that_is_not_throttled_or_has_stopped_pays_nothing() -> None:
    assert throttled_of(series([0, 0, 0], [0.0, 1.0, 1.0])) is None
    assert throttled_of(series([0, 50, 50], [0.0, 0.0, 0.0], "device")) is None


def line_of(pacing: str) -> str:
    load = {"pattern": "uniform", "size": "64MiB", "write_rate": "12000/s", "pacing": pacing}
    load |= {"catch_up": 20} if pacing == "open" else {}
    migration = {"bandwidth": "24MiB/s", "downtime_limit": "50ms", "auto_converge": True, "timeout": "20s"}
    result = run(Scenario(duration="30s", vm={"memory": "96MiB", "workload": [load]}, migration=migration))
    (line,) = [text for text in diagnose(evidence_from_result(result)).findings if "let each vCPU sleep" in text]
    return line


def test_a_guest_bound_to_its_cpu_is_slower_and_one_paced_by_the_clock_is_not() -> None:
    assert line_of("closed").endswith("of its work meanwhile.")
    assert line_of("open").startswith("Held back: auto-converge let each vCPU sleep for ")
    assert line_of("open").endswith("of its work, for it catches up after each sleep.")
