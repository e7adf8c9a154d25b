"""The sentence on a downtime that is far longer than its limit: its parts, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from hostsim import Scenario, run
from hostsim.results.tables import MigrationResult, RunResult
from hostsim.verdict.diagnose import diagnose
from hostsim.verdict.from_result import evidence_from_result

PARTS = ("stop_ms", "pages_ms", "devices_ms", "answer_ms")
DEVICE_BYTES = 131072
"""device_state_bytes of the generic sheet."""
LOAD = [{"pattern": "uniform", "size": "8MiB", "write_rate": "100/s"}]


def ran(link: dict[str, Any], load: Any = (), memory: str = "32MiB", **migration: Any) -> RunResult:
    table = {
        "vm": {"memory": memory, "workload": list(load)}, "link": link,
        "migration": {"bandwidth": "unlimited", **migration},
    }  # fmt: skip
    return run(Scenario.model_validate(table))


def of(result: RunResult) -> MigrationResult:
    (migration,) = result.migrations
    assert migration.status == "completed"
    return migration


def sentence(result: RunResult) -> str:
    verdict = diagnose(evidence_from_result(result))
    return next((line for line in verdict.findings if line.startswith("Downtime: ")), "")


@pytest.mark.parametrize("profile", ["qemu", "libvirt"])
@pytest.mark.parametrize("latency", ["0s", "200ms"])
@pytest.mark.parametrize("load", [(), LOAD])
def test_the_parts_make_up_the_downtime(profile: str, latency: str, load: Any) -> None:
    migration = of(ran({"bandwidth": "20Mbit/s", "latency": latency}, load, profile=profile, downtime_limit="1ms"))
    parts = migration.facts["beyond_limit"]
    assert sum(parts[name] for name in PARTS) == pytest.approx(migration.downtime_ms, abs=1.5)


def test_the_answer_takes_the_round_trip_and_the_devices_the_link() -> None:
    """1 Mbit/s needs 1.05 s for the 128 KiB of the devices, behind pages that had left the guest before."""
    over = of(ran({"bandwidth": "1Mbit/s", "latency": "0s"}))
    assert over.facts["beyond_limit"]["devices_ms"] == pytest.approx(DEVICE_BYTES * 8 / 1e3 + 10, rel=0.01)
    far = of(ran({"bandwidth": "10Gbit/s", "latency": "250ms"}, profile="libvirt"))
    assert far.facts["beyond_limit"]["answer_ms"] == pytest.approx(500, abs=5)


def test_buffers_that_took_more_than_the_link_are_named() -> None:
    """64 socket buffers of 2.5 MiB take 160 MiB in the first window; QEMU then stops the guest with all the rest to send."""
    found = ran({"bandwidth": "1Gbit/s"}, LOAD, memory="256MiB", multifd=True, multifd_channels=64)
    text = sentence(found)
    assert "for the bandwidth, the speed at which" in text
    facts = of(found).facts["beyond_limit"]
    assert facts["taken_bytes_per_s"] > 4 * 125e6
    assert facts["pages_bytes"] / facts["pages_ms"] * 1000 == pytest.approx(125e6, rel=0.2)


@pytest.mark.parametrize("limit", ["0s", "300ms"])
def test_no_sentence_without_a_limit_or_within_it(limit: str) -> None:
    """A limit of 0 bounds nothing, which the warning says."""
    assert not sentence(ran({"bandwidth": "1Gbit/s"}, LOAD, downtime_limit=limit))


def test_a_completed_run_that_its_window_held_back_says_so() -> None:
    """2.5 MiB each 20 ms are 131 MB/s of a link of 10 Gbit/s."""
    verdict = diagnose(evidence_from_result(ran({"bandwidth": "10Gbit/s", "latency": "10ms"})))
    (note,) = (note for note in verdict.notes if note.startswith("Sender"))
    assert "not the link of 10 Gbit/s" in note
    assert verdict.numbers["window_bytes_per_s"] == pytest.approx(2.5 * 2**20 / 0.02)


def test_more_channels_are_advised_where_their_cpus_are_the_bottleneck() -> None:
    load = [{"pattern": "sequential", "size": "48MiB", "write_rate": "400k/s"}]
    found = ran(
        {"bandwidth": "100Gbit/s"}, load, "64MiB", multifd=True, multifd_channels=1, multifd_compression="zstd",
        downtime_limit="10ms", timeout="3s",
    )  # fmt: skip
    remedies = diagnose(evidence_from_result(found)).remedies
    bandwidth, channels = (next(one for one in remedies if one.kind == kind) for kind in ("bandwidth", "multifd"))
    assert "1 channel sends at most" in bandwidth.text
    assert channels.value is not None
    assert channels.value >= 2


def test_a_limit_of_nothing_has_no_margin_of_bandwidth() -> None:
    """QEMU stops the guest after the first pass then, at any bandwidth."""
    verdict = diagnose(evidence_from_result(ran({"bandwidth": "100Mbit/s"}, LOAD, downtime_limit="0s")))
    assert verdict.margins == ()
    assert any("with a downtime limit of 0 QEMU stops the guest after it." in line for line in verdict.findings)
