"""The time for which post-copy is said to expose the guest, beside the phase that a run has after the switch."""

from __future__ import annotations

from typing import Any

import pytest

from hostsim import Scenario, run
from hostsim.verdict.diagnose import diagnose
from hostsim.verdict.from_result import evidence_from_result
from hostsim.verdict.mechanisms.postcopy import seen_in
from hostsim.verdict.model import Remedy

MIB = 1 << 20


def scenario(migration: dict[str, Any], link: dict[str, Any]) -> Scenario:
    """A guest that outruns its stream, whose working set is all of its 64 MiB."""
    load = [{"pattern": "sequential", "write_rate": "400k/s"}]
    base = {"bandwidth": "unlimited", "downtime_limit": "1ms", "timeout": "4s"}
    return Scenario.model_validate(
        {"vm": {"memory": "64MiB", "workload": load}, "migration": {**base, **migration}, "link": link}
    )


def advice(plan: Scenario) -> Remedy:
    remedy = diagnose(evidence_from_result(run(plan))).remedy("post_copy")
    assert remedy is not None
    return remedy


@pytest.mark.parametrize(
    ("migration", "link"),
    [
        ({}, {"bandwidth": "1Gbit/s"}),
        ({}, {"bandwidth": "10Gbit/s", "latency": "20ms"}),
        ({"multifd": True, "multifd_channels": 2}, {"bandwidth": "10Gbit/s", "latency": "20ms"}),
        ({"postcopy_ram": True, "max_postcopy_bandwidth": "16MiB/s"}, {"bandwidth": "1Gbit/s"}),
    ],
)
def test_the_phase_takes_as_long_as_was_advised(migration: dict[str, Any], link: dict[str, Any]) -> None:
    """One connection and one thread carry the phase, within max-postcopy-bandwidth, however many channels there were."""
    said_s = advice(scenario(migration, link)).value
    assert said_s is not None
    moved = run(scenario({**migration, "postcopy_ram": True, "postcopy_after_rounds": 1}, link))
    phase = seen_in(evidence_from_result(moved))
    assert phase is not None
    assert phase.seconds == pytest.approx(said_s, rel=0.25)


def test_the_cpu_of_one_thread_bounds_the_phase_on_a_fast_link() -> None:
    plan = scenario({"multifd": True, "multifd_channels": 1, "multifd_compression": "zstd"}, {"bandwidth": "100Gbit/s"})
    page_ns = plan.host.sheet().page_send_ns
    assert advice(plan).value == pytest.approx(64 * MIB / 4096 * page_ns / 1e9, rel=0.1)


@pytest.mark.parametrize(("is_on", "command"), [(True, "migrate_start_postcopy"), (False, "migrate_set_capability ")])
def test_a_capability_that_is_on_is_not_switched_on_again(is_on: bool, command: str) -> None:
    assert advice(scenario({"postcopy_ram": is_on}, {"bandwidth": "1Gbit/s"})).command.startswith(command)
