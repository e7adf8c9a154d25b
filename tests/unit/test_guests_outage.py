"""The guest's own outage beside the downtime that the source reports, by hand over links with latency."""

from __future__ import annotations

from typing import Any

import pytest

from hostsim.results.tables import RunResult
from hostsim.scenario import Scenario
from hostsim.simulation import run
from hostsim.verdict import diagnose, evidence_from_result
from hostsim.verdict.interrupted import is_other_than

BUFFER_BYTES = 2.5 * (1 << 20)
"""Default of link.socket_buffer."""
LINE = "Outage: the guest stood still for "


def ran(latency: str, bandwidth: str = "10Gbit/s", filled: str = "all", **migration: Any) -> RunResult:
    """A guest that writes nothing, so only the device state is left at the stop."""
    scenario = {
        "duration": "10min", "vm": {"memory": "16MiB", "filled": filled},
        "link": {"bandwidth": bandwidth, "latency": latency}, "migration": {"bandwidth": "unlimited", **migration},
    }  # fmt: skip
    return run(Scenario(**scenario))


def outage_and_downtime(found: RunResult) -> tuple[float, int]:
    (migration,) = found.migrations
    assert migration.downtime_ms is not None
    return migration.facts["outage_ms"], migration.downtime_ms


@pytest.mark.parametrize("latency_ms", [100, 1000])
def test_without_an_answer_the_source_is_through_one_way_before_the_guest_runs(latency_ms: int) -> None:
    outage_ms, downtime_ms = outage_and_downtime(ran(f"{latency_ms}ms", return_path=False))
    assert outage_ms == pytest.approx(latency_ms + downtime_ms, abs=1.5)


@pytest.mark.parametrize("latency_ms", [100, 1000])
def test_with_an_answer_the_source_is_through_one_way_after_the_guest_runs(latency_ms: int) -> None:
    outage_ms, downtime_ms = outage_and_downtime(ran(f"{latency_ms}ms", return_path=True))
    assert downtime_ms == pytest.approx(outage_ms + latency_ms, abs=1.5)


@pytest.mark.parametrize("latency", ["0ms", "200us"])
@pytest.mark.parametrize("mbit", [1, 10, 100, 1000])
def test_a_slow_link_drains_the_full_socket_buffer_after_the_last_write(latency: str, mbit: int) -> None:
    """The last write returns with a full buffer, and the source works for 10 ms more."""
    found = ran(latency, f"{mbit}Mbit/s")
    outage_ms, downtime_ms = outage_and_downtime(found)
    switchover_ms = found.scenario["host"]["switchover_ns"] / 1e6
    assert outage_ms == pytest.approx(downtime_ms - switchover_ms + BUFFER_BYTES * 8 / mbit / 1e3, rel=0.005, abs=2)


def test_a_guest_whose_zero_pages_fit_the_socket_buffer_waits_for_the_link() -> None:
    """4096 zero pages and the device state are written at once; a link of 1 Mbit/s needs half a minute for them."""
    found = ran("0ms", "1Mbit/s", filled="none")
    outage_ms, downtime_ms = outage_and_downtime(found)
    sent_ms = found.migrations[0].query["ram"]["transferred"] * 8 / 1e3
    assert downtime_ms < 20
    assert outage_ms == pytest.approx(sent_ms, rel=0.1)


@pytest.mark.parametrize("latency", ["0ms", "200us"])
def test_without_latency_the_downtime_tells_it(latency: str) -> None:
    assert "outage_ms" not in ran(latency).migrations[0].facts


def test_a_guest_that_was_suspended_has_none() -> None:
    """An operator's stop is not the migration's."""
    assert "outage_ms" not in ran("100ms", suspend_after="1ms").migrations[0].facts


@pytest.mark.parametrize(
    ("outage_ms", "downtime_ms", "is_said"), [(1011, 11, True), (15.9, 11, False), (329, 300, False), (331, 300, True)]
)
def test_a_sentence_where_it_is_another_figure(outage_ms: float, downtime_ms: float, is_said: bool) -> None:
    assert is_other_than(outage_ms, downtime_ms) is is_said


def test_the_verdict_says_both() -> None:
    verdict = diagnose(evidence_from_result(ran("1s", return_path=False)))
    (outage,) = (line for line in verdict.findings if line.startswith(LINE))
    assert outage.endswith("the downtime that QEMU reports, 11 ms, is the source's view.")
