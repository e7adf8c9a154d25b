"""Twelve real migrations of QEMU 7.2 (1 GiB guest, a word a page over 256 MiB, 60 MB/s, 300 ms): outcome and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostsim.logs.sniff import read_logs
from hostsim.verdict import Verdict, diagnose, evidence_from_log, render

SAMPLES = Path(__file__).parents[1] / "data" / "logs" / "query_migrate_samples.jsonl"
LOGS = {log.tag: log for log in read_logs(str(SAMPLES))}
WORKING_SET_BYTES = 65536 * 4096
STUCK = ["fast/precopy", "fast/auto-converge", "mid/precopy", "mid/auto-converge"]
BY_POSTCOPY = {"fast/postcopy@1": 3825, "mid/postcopy@1": 7, "slow/postcopy@1": 1}
COMPLETED = {"mid/xbzrle": 9.104, "slow/precopy": 2.3359, "slow/auto-converge": 2.4525, "slow/xbzrle": 2.668}


def judged(tag: str) -> Verdict:
    return diagnose(evidence_from_log(LOGS[tag]))


def test_there_are_twelve() -> None:
    assert sorted(LOGS) == sorted([*STUCK, *BY_POSTCOPY, *COMPLETED, "fast/xbzrle"])


@pytest.mark.parametrize("tag", STUCK)
def test_a_guest_that_rewrites_its_working_set_every_round(tag: str) -> None:
    verdict = judged(tag)
    assert (verdict.outcome, verdict.reason) == ("not converging", "floor")
    assert verdict.confidence.level == "high"
    assert verdict.numbers["settle_bytes"] == pytest.approx(WORKING_SET_BYTES, rel=0.2)
    assert verdict.numbers["floor_bytes"] == pytest.approx(WORKING_SET_BYTES, rel=0.05)


@pytest.mark.parametrize("tag", STUCK)
def test_its_remedies(tag: str) -> None:
    """The whole working set within one limit is enough whatever the guest does: 268 MB at 60 MB/s, or in 300 ms."""
    verdict = judged(tag)
    limit, bandwidth = verdict.remedy("downtime_limit"), verdict.remedy("bandwidth")
    assert WORKING_SET_BYTES / 60e6 <= limit.value / 1000 <= 1.2 * WORKING_SET_BYTES / 60e6
    assert WORKING_SET_BYTES / 0.3 <= bandwidth.value <= 1.2 * WORKING_SET_BYTES / 0.3
    assert verdict.remedy("post_copy").helps
    assert "is unknown" in verdict.remedy("auto_converge").text


def test_throttling_that_has_changed_nothing_is_named() -> None:
    assert "40 % has changed nothing yet" in judged("fast/auto-converge").remedy("auto_converge").text


def test_xbzrle_that_could_finish_is_recognised() -> None:
    verdict = judged("fast/xbzrle")
    assert verdict.outcome == "blocked by xbzrle accounting"
    assert verdict.numbers["remaining_wire_bytes"] < 1e6
    assert verdict.numbers["outage_s"] < 0.3
    assert verdict.remedy("downtime_limit").value == pytest.approx(70_000, rel=0.2)
    assert verdict.remedy("avail_switchover_bandwidth").value >= WORKING_SET_BYTES / 0.3
    assert verdict.remedy("post_copy").helps
    assert not verdict.remedy("xbzrle").helps
    assert "could finish but is never switched over" in render(verdict)


def test_it_is_recognised_by_its_figures() -> None:
    """The same answers without the XBZRLE counters are a migration of which whole pages are sent."""
    from dataclasses import replace

    import numpy as np

    blind = np.full(len(LOGS["fast/xbzrle"]), np.nan)
    verdict = diagnose(evidence_from_log(replace(LOGS["fast/xbzrle"], xbzrle_pages=blind)))
    assert verdict.outcome != "blocked by xbzrle accounting"


@pytest.mark.parametrize(("tag", "seconds"), COMPLETED.items())
def test_completed(tag: str, seconds: float) -> None:
    verdict = judged(tag)
    assert verdict.outcome == "completed"
    assert verdict.converged
    assert f"{seconds:.3g} s" in verdict.headline


@pytest.mark.parametrize("tag", ["slow/precopy", "slow/auto-converge"])
def test_an_answer_taken_before_the_times_were_computed(tag: str) -> None:
    assert LOGS[tag].total_time_ms[-1] == 0
    assert "downtime not in this log" in judged(tag).headline


@pytest.mark.parametrize(("tag", "requests"), BY_POSTCOPY.items())
def test_completed_by_postcopy(tag: str, requests: int) -> None:
    verdict = judged(tag)
    assert verdict.outcome == "completed by post-copy"
    assert f"waited for {requests} requested page{'s' if requests > 1 else ''}." in render(verdict)


@pytest.mark.parametrize("tag", LOGS)
def test_at_most_eight_lines(tag: str) -> None:
    lines = render(judged(tag)).splitlines()
    assert lines[0].startswith("VERDICT: ")
    assert 2 <= len(lines) <= 8


def test_a_limit_that_is_given_counts() -> None:
    verdict = diagnose(evidence_from_log(LOGS["fast/precopy"], downtime_limit_ms=250.0))
    assert verdict.numbers["threshold_bytes"] == pytest.approx(15e6, rel=0.01)
    assert not verdict.assumptions


def test_a_limit_that_the_log_contradicts_is_doubted() -> None:
    """With 6 s QEMU would have stopped the guest at the first sync."""
    verdict = diagnose(evidence_from_log(LOGS["fast/precopy"], downtime_limit_ms=6000.0))
    assert verdict.outcome == "not converging"
    assert any("contradicts a limit of 6 s" in said for said in verdict.assumptions)
    assert any("downtime-limit" in what for what in verdict.measure_next)


def test_max_bandwidth_below_the_link_is_named() -> None:
    known = {"max_bandwidth_bytes_per_s": 60e6, "link_bandwidth_bytes_per_s": 1.25e9}
    remedy = diagnose(evidence_from_log(LOGS["fast/precopy"], **known)).remedy("bandwidth")
    assert "raise max-bandwidth" in remedy.text
    slower = known | {"link_bandwidth_bytes_per_s": 1.25e8}
    remedy = diagnose(evidence_from_log(LOGS["fast/precopy"], **slower)).remedy("bandwidth")
    assert "raise max-bandwidth and use a faster link, this one has 1 Gbit/s" in remedy.text
    assert "max-bandwidth" in remedy.command
