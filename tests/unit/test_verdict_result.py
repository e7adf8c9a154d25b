"""Evidence of a simulated run, and the verdict on guests whose answer is known in closed form."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hostsim.results.rounds import ROUNDS
from hostsim.results.series import EVENTS, SERIES
from hostsim.results.tables import MigrationResult, RunResult, Table
from hostsim.theory.dirty_curve import DirtyCurve
from hostsim.verdict import Evidence, diagnose, evidence_from_result, render
from hostsim.verdict.forecast import speed_under
from tests.helpers.rows import row_of

GIB = 2**30
LINK = 1.25e9
SENT = LINK / 4104
PAGES = 4 * GIB // 4096


def facts(curve: DirtyCurve, **other: Any) -> dict[str, Any]:
    return {
        "memory_bytes": 4 * GIB, "page_size": 4096, "page_wire_bytes": 4104, "downtime_limit_ms": 300,
        "max_bandwidth_bytes_per_s": 0, "link_bandwidth_bytes_per_s": LINK, "host_bandwidth_bytes_per_s": 5e9,
        "qemu": "10.2", "profile": "qemu", "auto_converge": False, "max_cpu_throttle": 99, "timeout_ms": None,
        "working_set_pages": int(curve.ceiling_pages), "cpu_bound_share": 1.0, "filled_pages": PAGES, "first_pass_s": 3.4,
        "dirty_curve_s": curve.t_s[1:].tolist(), "dirty_curve_pages": curve.pages[1:].tolist(), **other,
    }  # fmt: skip


def result(status: str, curve: DirtyCurve, **other: Any) -> RunResult:
    """Three rounds: the first pass, and two that find 200000 and 190000 pages."""
    s = 10**9
    rounds = Table.of_dicts("rounds", ROUNDS, [
        _round(1, 0, 3 * s, PAGES, newly_dirty_pages=PAGES, normal_pages=PAGES, sent_bytes=PAGES * 4104, threshold_bytes=0),
        _round(2, 3 * s, 4 * s, 200_000, newly_dirty_pages=200_000, normal_pages=195_000),
        _round(3, 4 * s, 5 * s, 195_000, newly_dirty_pages=190_000, normal_pages=190_000),
    ])  # fmt: skip
    one = row_of(
        SERIES, status="active", round=1, remaining_bytes=GIB, transferred_bytes=GIB, bandwidth_bytes_per_s=LINK,
        threshold_bytes=1, expected_downtime_ms=300, guest_speed=1.0,
    )  # fmt: skip
    series = Table.of_dicts("series", SERIES, [one | {"t_ns": i * s // 10} for i in range(50)])
    query = {"status": status, "ram": {"transferred": 7 * GIB, "remaining": GIB, "dirty-sync-count": 3}}
    done = status == "completed"
    migration = MigrationResult(
        status, query, 5000 if done else None, 250 if done else None, 1, rounds, series, Table.of_dicts("events", EVENTS),
        facts(curve, **other),
    )  # fmt: skip
    return RunResult({}, 1, "0", (migration,), Table("guest", {}), {}, 5 * s)


def _round(number: int, start_ns: int, end_ns: int, remaining_pages: int, **found: int) -> dict[str, Any]:
    return row_of(ROUNDS, **{
        "round": number, "start_ns": start_ns, "end_ns": end_ns, "remaining_start_bytes": remaining_pages * 4096,
        "sent_bytes": 1, "bandwidth_bytes_per_s": LINK, "threshold_bytes": 1, **found,
    })  # fmt: skip


def saturating(rho: float, share: float = 1.0) -> DirtyCurve:
    return DirtyCurve.uniform(int(PAGES * share), rho * SENT)


def known(curve: DirtyCurve, **other: Any) -> Evidence:
    return replace(evidence_from_result(result("cancelled", curve)), **other)


def test_what_a_result_tells() -> None:
    evidence = evidence_from_result(result("completed", saturating(0.5)))
    assert (evidence.source, evidence.status, evidence.total_time_ms, evidence.downtime_ms) == (
        "run",
        "completed",
        5000,
        250,
    )
    assert [r.newly_dirty_pages for r in evidence.rounds] == [200_000, 190_000]
    assert [r.pending_pages for r in evidence.rounds] == [0, 5_000]
    assert [r.duration_s for r in evidence.rounds] == [3.0, 1.0]
    assert evidence.bandwidth_bytes_per_s == LINK
    assert evidence.bottleneck == "link"
    assert evidence.curve is not None
    assert evidence.curve(1.0) == pytest.approx(saturating(0.5)(1.0), rel=1e-6)


def test_a_completed_run_and_its_margin() -> None:
    text = render(diagnose(evidence_from_result(result("completed", saturating(0.5)))))
    assert text.startswith("VERDICT: completed (converged) in 5 s, downtime 250 ms; 7.52 GB sent for 4.29 GB of RAM (1.8x).")
    assert "it would also complete with a downtime limit of 1 ms instead of 300 ms" in text
    assert "or at 5.3 Gbit/s instead of 10 Gbit/s (not run)" in text


@pytest.mark.parametrize(("rho", "share"), [(1.5, 0.5), (2.0, 0.5), (4.0, 0.25)])
def test_the_remedies_of_saturating_writes(rho: float, share: float) -> None:
    """Floor W (1 - 1/rho); bandwidth W / (L + W/r); throttle r' = B / (1 - B L / W); each above by the margin of 10 %."""
    verdict = diagnose(known(saturating(rho, share)))
    pages, rate = PAGES * share, rho * SENT
    assert (verdict.outcome, verdict.reason) == ("not converging", "floor")
    assert verdict.numbers["floor_bytes"] == pytest.approx(pages * (1 - 1 / rho) * 4096, rel=3e-3)
    limit_ms = pages * (1 - 1 / rho) * 4096 / LINK * 1000
    assert 1.09 * limit_ms <= verdict.remedy("downtime_limit").value <= 1.21 * limit_ms
    needed = pages / (0.3 * 4104 / 4096 + pages / rate) * 4104
    assert 1.09 * needed <= verdict.remedy("bandwidth").value <= 1.21 * needed
    speed = SENT / (1 - LINK / 4096 * 0.3 / pages) / rate
    assert 100 * (1 - speed / 1.09) <= verdict.remedy("auto_converge").value <= 100 * (1 - speed / 1.1) + 1.1
    assert verdict.remedy("post_copy").helps


@pytest.mark.parametrize(
    ("left", "words"),
    [(1.2, "remaining stays above about"), (0.8, "remaining has not fallen below"), (0.1, "remaining fell to")],
)
def test_a_floor_that_the_run_went_below_is_not_printed(left: float, words: str) -> None:
    """As with dirty-limit, which slows the guest down after the first iterations."""
    floor_pages = PAGES / 2
    evidence = known(saturating(2.0))
    rounds = tuple(replace(one, newly_dirty_pages=0.0, pending_pages=left * floor_pages) for one in evidence.rounds)
    (line,) = [text for text in diagnose(replace(evidence, rounds=rounds)).findings if text.startswith("Floor: ")]
    assert words in line


def test_writes_that_never_meet_a_page_twice_are_a_slope() -> None:
    """Geometric pre-copy with lambda = 1.5: it converges from r on, or with a throttle of 1 - 1/lambda."""
    verdict = diagnose(known(DirtyCurve.sequential(PAGES, 1.5 * SENT)))
    assert (verdict.outcome, verdict.reason) == ("not converging", "slope")
    assert verdict.remedy("auto_converge").value == pytest.approx(100 / 3, abs=8)
    assert 0.9 * 1.5 * LINK <= verdict.remedy("bandwidth").value <= 1.2 * 1.5 * LINK


def test_dirtying_faster_than_the_link_is_not_the_end() -> None:
    """Ten times the link, over a working set that fits into the limit."""
    verdict = diagnose(known(DirtyCurve.uniform(50_000, 10 * SENT)))
    assert verdict.outcome == "would converge"
    assert verdict.remedy("timeout").value >= 5


def test_writes_that_follow_the_clock_at_an_unknown_pace_promise_nothing() -> None:
    remedy = diagnose(known(saturating(2.0), cpu_bound_share=0.0)).remedy("auto_converge")
    assert not remedy.helps
    assert "does not help" not in remedy.text


@pytest.mark.parametrize("catch_up", [1.0, 2.0, 4.0, 10.0, 50.0])
def test_writes_that_follow_the_clock_slow_once_a_vcpu_no_longer_catches_up(catch_up: float) -> None:
    """The vCPU runs 1 - p of the time at catch_up times its nominal speed: slower from catch_up x (1 - p) < 1 on."""
    evidence = known(saturating(1.5, 0.5), cpu_bound_share=0.0, paces=((1.0, catch_up),))
    remedy = diagnose(evidence).remedy("auto_converge")
    speed = 1 / (1.5 * (1 - LINK / 4096 * 0.3 / (PAGES * 0.5)))
    needed = 100 * (1 - speed / 1.1 / catch_up)
    assert remedy.helps is (needed <= 99)
    if remedy.helps:
        assert needed <= remedy.value < needed + 1.2
        assert f"the guest keeps {100 - remedy.value:.0f} % of its CPU time" in remedy.text
    else:
        assert "does not suffice: at its greatest throttle, 99 %," in remedy.text


def test_the_paces_of_several_workloads_add_up() -> None:
    evidence = known(saturating(1.5), paces=((0.25, 1.0), (0.75, 10.0)))
    speeds = [speed_under(evidence, percent) for percent in (0, 50, 90, 95, 99)]
    assert speeds == pytest.approx([1.0, 0.875, 0.775, 0.3875, 0.0775])


def test_a_part_that_follows_the_clock_may_be_too_much() -> None:
    remedy = diagnose(known(saturating(4.0), cpu_bound_share=0.5)).remedy("auto_converge")
    assert not remedy.helps
    assert "does not suffice" in remedy.text


def test_auto_converge_on_its_way() -> None:
    evidence = known(saturating(3.0, 0.5), auto_converge=True, throttle_percent=30.0)
    verdict = diagnose(evidence)
    assert verdict.outcome == "would converge"
    assert "auto-converge is on and has reached 30 %" in verdict.remedy("auto_converge").text
    stuck = diagnose(replace(evidence, max_cpu_throttle=30.0))
    assert stuck.outcome == "not converging"
    assert "max-cpu-throttle is 30 % now" in stuck.remedy("auto_converge").text


def test_max_bandwidth_below_the_link() -> None:
    evidence = known(saturating(1.5, 0.5), max_bandwidth_bytes_per_s=LINK, link_bandwidth_bytes_per_s=4 * LINK)
    remedy = diagnose(evidence).remedy("bandwidth")
    assert "raise max-bandwidth" in remedy.text
    assert remedy.command.startswith("migrate_set_parameter max-bandwidth ")
    link = diagnose(replace(evidence, link_bandwidth_bytes_per_s=LINK)).remedy("bandwidth")
    assert "a faster link" in link.text
    host = diagnose(replace(evidence, host_bandwidth_bytes_per_s=1.1 * LINK)).remedy("bandwidth")
    assert not host.helps


def test_the_switchover_bandwidth_is_what_the_threshold_counts_with() -> None:
    """Half the bandwidth in the test: the floor takes twice the limit."""
    plain = diagnose(known(saturating(1.5, 0.5)))
    halved = diagnose(known(saturating(1.5, 0.5), switchover_bandwidth_bytes_per_s=LINK / 2))
    name = "downtime_limit_needed_ms"
    assert halved.numbers[name] == pytest.approx(2 * plain.numbers[name])
    assert halved.numbers["bandwidth_needed_bytes_per_s"] > plain.numbers["bandwidth_needed_bytes_per_s"]


@pytest.mark.parametrize("profile", ["qemu", "libvirt", "nova", "kubevirt", "proxmox"])
def test_the_commands_are_the_profiles(profile: str) -> None:
    verdict = diagnose(
        known(saturating(2.0, 0.25), profile=profile, max_bandwidth_bytes_per_s=LINK, link_bandwidth_bytes_per_s=0.0)
    )
    assert verdict.remedy("downtime_limit").command
    assert verdict.remedy("bandwidth").command
    assert "{" not in verdict.remedy("downtime_limit").command.replace("'{", "")


def test_a_verdict_is_json() -> None:
    told = json.loads(json.dumps(diagnose(known(saturating(2.0))).to_dict(), allow_nan=False))
    assert told["outcome"] == "not converging"
    assert told["remedies"][0]["kind"] == "downtime_limit"
    assert np.isfinite(list(told["numbers"].values())).all()


WARNED = ("vCPU 0 of vm is too fast",)


def test_warnings_of_the_scenario_follow_the_headline() -> None:
    evidence = evidence_from_result(replace(result("active", saturating(2.0)), warnings=WARNED))
    verdict = diagnose(evidence)
    assert verdict.to_dict()["warnings"] == WARNED
    lines = render(verdict).splitlines()
    assert lines[1] == "Warning: vCPU 0 of vm is too fast."
    assert len(lines) == len(render(diagnose(replace(evidence, warnings=()))).splitlines()) + 1
    assert "- *Warning:* vCPU 0 of vm is too fast." in render(verdict, "markdown")


@pytest.mark.parametrize("status", ["active", "completed"])
def test_a_verdict_names_what_a_scenario_leaves_open(status: str) -> None:
    found = replace(result(status, saturating(2.0)), assumptions=("the vCPUs are alike",))
    lines = render(diagnose(evidence_from_result(found))).splitlines()
    assert lines.count("Assumption: the vCPUs are alike.") == 1
    assert len(lines) == len(render(diagnose(evidence_from_result(replace(found, assumptions=())))).splitlines()) + 1


def test_an_advised_bandwidth_that_one_stream_may_not_carry_is_warned_of() -> None:
    evidence = known(saturating(2.0))
    advised = diagnose(evidence).remedy("bandwidth").value
    assert diagnose(replace(evidence, surely_sent_bytes_per_s=advised)).warnings == ()
    (text,) = diagnose(replace(evidence, surely_sent_bytes_per_s=LINK)).warnings
    assert "may be more than one stream carries" in text
    assert diagnose(replace(evidence, surely_sent_bytes_per_s=LINK / 2, bandwidth_bytes_per_s=LINK)).warnings == ()
