"""The figures of a scenario at which an answer may flip: how each is read, changed, and said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from hostsim.core.constants import NS_PER_MS, PAGE_BYTES
from hostsim.qemu.compression import ASSUMED_RATIO, Content
from hostsim.qemu.ram_stream import host_bytes_per_s
from hostsim.scenario.guest_schema import Workload
from hostsim.scenario.host_schema import DOWNTIME_MAX_NS
from hostsim.scenario.schema import Scenario

FARTHEST = 64.0
"""A figure is changed by at most this factor: beyond it the question is another one (assumed)."""
LIMIT_MOST_MS = DOWNTIME_MAX_NS // NS_PER_MS


@dataclass(frozen=True)
class Knob:
    """A figure of a scenario.

    name: with its unit; option: that gives it; harder: +1 where more of it makes converging harder, else -1.
    read: its value, None where the scenario has no such figure; turned: the scenario with another value.
    bound: the farthest value in the harder (True) or the easier direction.
    """

    name: str
    option: str
    harder: int
    read: Callable[[Scenario], float | None]
    turned: Callable[[Scenario, float], Scenario]
    bound: Callable[[Scenario, bool], float]


def _loads(scenario: Scenario) -> list[Workload]:
    return [load for load in scenario.vm.workload if load.write_rate > 0]


def _rate(scenario: Scenario) -> float | None:
    loads = _loads(scenario)
    if not loads or any(load.pattern == "trace" for load in scenario.vm.workload):
        return None
    return float(sum(load.write_rate for load in loads))


def _with_rate(scenario: Scenario, value: float) -> Scenario:
    now = _rate(scenario)
    assert now, "only a rate that is there is changed"
    factor = Fraction(round(value)) / Fraction(round(now))
    return _with_loads(scenario, lambda load: {"write_rate": load.write_rate * factor})


def _working_set(scenario: Scenario) -> float | None:
    """Of the one workload that writes; more of them have no single working set."""
    loads = _loads(scenario)
    if len(loads) != 1 or loads[0].pattern == "trace":
        return None
    return float(loads[0].region_gfns(scenario.vm.memory)[1] * PAGE_BYTES)


def _with_working_set(scenario: Scenario, value: float) -> Scenario:
    now, size = _working_set(scenario), max(1, round(value / PAGE_BYTES)) * PAGE_BYTES
    assert now, "only a working set that is there is changed"

    def changed(load: Workload) -> dict[str, object]:
        hot = round(load.hot_size * size / now / PAGE_BYTES) * PAGE_BYTES
        return {"size": size, "hot_size": max(PAGE_BYTES, hot) if load.hot_size else 0}

    return _with_loads(scenario, changed)


def _largest_set(scenario: Scenario, harder: bool) -> float:
    loads = _loads(scenario)
    return float(scenario.vm.memory - loads[0].at) if harder else (_working_set(scenario) or 0) / FARTHEST


def _with_loads(scenario: Scenario, changed: Callable[[Workload], dict[str, object]]) -> Scenario:
    loads = tuple(
        load.model_copy(update=changed(load)) if load.write_rate > 0 else load for load in scenario.vm.workload
    )
    return scenario.model_copy(update={"vm": scenario.vm.model_copy(update={"workload": loads})})


def _bandwidth(scenario: Scenario) -> float | None:
    """The lower one of the link's bandwidth and max-bandwidth; None where neither limits."""
    assert scenario.migration is not None, "a migration is asked about"
    found = [one for one in (scenario.link.bandwidth, scenario.migration.bandwidth) if one]
    return float(min(found)) if found else None


def _with_bandwidth(scenario: Scenario, value: float) -> Scenario:
    """Lower the lower limit, or raise both limits that are below ``value``."""
    migration, now = scenario.migration, _bandwidth(scenario)
    assert migration is not None, "a migration is asked about"
    assert now, "only a bandwidth that is there is changed"

    def new(limit: int) -> int:
        is_the_limit = limit == now if value < now else 0 < limit < value
        return max(1, round(value)) if is_the_limit else limit

    return scenario.model_copy(
        update={
            "migration": migration.model_copy(update={"bandwidth": new(migration.bandwidth)}),
            "link": scenario.link.model_copy(update={"bandwidth": new(scenario.link.bandwidth)}),
        }
    )


def _farthest_bandwidth(scenario: Scenario, harder: bool) -> float:
    """Faster than its migration thread nothing sends."""
    now = _bandwidth(scenario) or 0.0
    assert scenario.migration is not None, "a migration is asked about"
    content = Content(scenario.vm.compression_ratio or ASSUMED_RATIO)
    host = host_bytes_per_s(scenario.host.sheet(), scenario.migration.parameters(), content)
    return now / FARTHEST if harder else max(now, min(now * FARTHEST, float(host)))


def _limit(scenario: Scenario) -> float | None:
    assert scenario.migration is not None, "a migration is asked about"
    return scenario.migration.downtime_limit / NS_PER_MS or None


def _with_limit(scenario: Scenario, value: float) -> Scenario:
    assert scenario.migration is not None, "a migration is asked about"
    limit = min(LIMIT_MOST_MS, max(1, round(value))) * NS_PER_MS
    return scenario.model_copy(update={"migration": scenario.migration.model_copy(update={"downtime_limit": limit})})


def _farthest_rate(scenario: Scenario, harder: bool) -> float:
    now = _rate(scenario) or 0.0
    return now * FARTHEST if harder else now / FARTHEST


def _farthest_limit(_scenario: Scenario, harder: bool) -> float:
    return 1.0 if harder else float(LIMIT_MOST_MS)


KNOBS = (
    Knob("dirty_rate_pages_per_s", "--dirty-rate", 1, _rate, _with_rate, _farthest_rate),
    Knob("bandwidth_bytes_per_s", "--bandwidth", -1, _bandwidth, _with_bandwidth, _farthest_bandwidth),
    Knob("downtime_limit_ms", "--downtime-limit", -1, _limit, _with_limit, _farthest_limit),
    Knob("working_set_bytes", "--working-set", 1, _working_set, _with_working_set, _largest_set),
)
"""Every figure for which a prediction gives the margin."""
