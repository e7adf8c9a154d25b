"""A stream that its window holds back: the verdict knows it, and advises no faster link."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostsim import simulation
from hostsim.scenario import load_scenario
from hostsim.scenario.build import build
from hostsim.verdict import diagnose, evidence_from_result
from hostsim.verdict.window import Stream
from tests.unit.test_verdict_result import LINK, known, saturating

FAR = """
duration = "4s"
[vm]
memory = "16MiB"
vcpus = 1
[[vm.workload]]
pattern = "uniform"
write_rate = "4000/s"
size = "8MiB"
[migration]
bandwidth = "unlimited"
timeout = "3s"
[link]
latency = "50ms"
socket_buffer = "64KiB"
receive_window = "1MiB"
mtu = 9000
slow_start_after_idle = false
"""


@pytest.fixture
def far(tmp_path: Path) -> Path:
    path = tmp_path / "far.toml"
    path.write_text(FAR, encoding="utf-8")
    return path


def test_a_scenario_sets_up_the_connection(far: Path) -> None:
    link = build(load_scenario(far)).link
    assert (link.latency_ns, link.window_bytes, link.receive_window_bytes) == (50_000_000, 65_536, 1 << 20)
    assert (link.path.initial_cwnd, link.path.rto_ps) == (89_480, 0)


def test_a_run_over_a_long_way_is_held_by_its_window(far: Path) -> None:
    """64 KiB each 100 ms are 0.66 MB/s of the 10 Gbit/s that the link has."""
    result = simulation.run(load_scenario(far))
    evidence = evidence_from_result(result)
    assert evidence.bottleneck == "window"
    assert evidence.one_stream_bytes_per_s == 655_360
    assert result.migrations[0].query["ram"]["transferred"] == pytest.approx(3 * 655_360, rel=0.06)
    remedy = diagnose(evidence).remedy("bandwidth")
    assert remedy is not None
    assert "a window of" in remedy.text
    assert "faster link" not in remedy.text
    assert remedy.command == ""


@pytest.mark.parametrize(("limit", "wanted"), [("link", "faster link"), ("receive window", "its receive window of 12.5 MB")])
def test_a_faster_link_is_advised_only_where_the_link_is_the_limit(limit: str, wanted: str) -> None:
    stream = Stream(LINK if limit == "link" else LINK / 10, limit, LINK / 100, 0.1)
    evidence = known(saturating(1.5, 0.5), stream=stream)
    assert evidence.bottleneck == ("link" if limit == "link" else "window")
    remedy = diagnose(evidence).remedy("bandwidth")
    assert remedy is not None
    assert wanted in remedy.text
