"""A log written by a plain loop, read back, judged; then each remedy is applied to the same loop."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hostsim.logs.sniff import parse_logs
from hostsim.theory.dirty_curve import DirtyCurve
from hostsim.verdict import Evidence, Verdict, diagnose, evidence_from_log
from tests.unit.verdict_loop import WIRE, Loop, hotcold, sequential, uniform

SENT = 1000.0
GUESTS = {
    "uniform": (lambda: uniform(3000, 2000.0), DirtyCurve.uniform(3000, 2000.0)),
    "fast uniform": (lambda: uniform(3000, 20000.0), DirtyCurve.uniform(3000, 20000.0)),
    "hotcold": (lambda: hotcold(4000, 400, 0.7, 4000.0), DirtyCurve.hotcold(4000, 400, 0.7, 4000.0)),
    "sweep": (lambda: sequential(3000, 2500.0), DirtyCurve.sequential(3000, 2500.0)),
}


def stuck(name: str, poll_windows: int = 5) -> tuple[Loop, Evidence]:
    loop = Loop(GUESTS[name][0](), 6000, SENT, 0.3)
    assert not loop.run(poll_windows)
    lines = "\n".join(json.dumps(answer) for answer in loop.answers)
    return loop, evidence_from_log(parse_logs(lines)[0])


def applied(name: str, verdict: Verdict, kind: str) -> bool:
    value = verdict.remedy(kind).value
    changes = {
        "downtime_limit": lambda: {"limit_s": value / 1000},
        "bandwidth": lambda: {"sent_pages_per_s": value / WIRE},
        "auto_converge": lambda: {"slow_down": lambda _t: 1 - value / 100},
    }[kind]()
    loop = replace(Loop(GUESTS[name][0](), 6000, SENT, 0.3, duration_s=120), **changes)
    return loop.run()


@pytest.mark.parametrize("name", list(GUESTS))
def test_the_log_alone_shows_that_it_does_not_converge(name: str) -> None:
    verdict = diagnose(stuck(name)[1])
    assert verdict.outcome == "not converging"
    assert verdict.confidence.level == "high"
    assert not verdict.converged


@pytest.mark.parametrize("kind", ["downtime_limit", "bandwidth"])
@pytest.mark.parametrize("name", list(GUESTS))
def test_what_a_log_advises_works(name: str, kind: str) -> None:
    verdict = diagnose(stuck(name)[1])
    assert verdict.remedy(kind).helps
    assert applied(name, verdict, kind)


@pytest.mark.parametrize("name", list(GUESTS))
def test_the_true_floor_is_within_the_range_told(name: str) -> None:
    from hostsim.theory.floor import floor_pages

    numbers = diagnose(stuck(name)[1]).numbers
    true_bytes = floor_pages(GUESTS[name][1], SENT) * 4096
    assert 0.9 * numbers["floor_least_bytes"] <= true_bytes <= 1.1 * numbers["floor_bytes"]


@pytest.mark.parametrize("kind", ["downtime_limit", "bandwidth", "auto_converge"])
@pytest.mark.parametrize("name", ["uniform", "fast uniform", "hotcold"])
def test_with_the_curve_known_the_values_are_tight(name: str, kind: str) -> None:
    """They work, and four fifths of the change does not."""
    evidence = replace(stuck(name)[1], source="run", curve=GUESTS[name][1], cpu_bound_share=1.0)
    verdict = diagnose(evidence)
    remedy = verdict.remedy(kind)
    assert remedy.certain
    assert applied(name, verdict, kind)
    less = {
        "downtime_limit": remedy.value * 0.8,
        "bandwidth": SENT * WIRE + 0.7 * (remedy.value - SENT * WIRE),
        "auto_converge": 100 - 1.25 * (100 - remedy.value),
    }[kind]
    weaker = replace(verdict, remedies=(replace(remedy, value=less),))
    assert not applied(name, weaker, kind)


def test_coarse_polls_tell_the_same() -> None:
    fine, coarse = (diagnose(stuck("uniform", every)[1]) for every in (1, 10))
    assert fine.outcome == coarse.outcome == "not converging"
    for name in ("settle_bytes", "downtime_limit_needed_ms"):
        assert coarse.numbers[name] == pytest.approx(fine.numbers[name], rel=0.3)


def test_the_limit_is_read_from_the_first_expected_downtime() -> None:
    evidence = stuck("uniform")[1]
    assert (evidence.downtime_limit_ms, evidence.downtime_limit_from) == (300, "log")
    later = replace(stuck("uniform")[0])
    lines = "\n".join(json.dumps(answer) for answer in later.answers if answer["t"] > 10)
    evidence = evidence_from_log(parse_logs(lines)[0])
    assert evidence.downtime_limit_from == "assumed"
    assert any("assumed" in said for said in diagnose(evidence).assumptions)


def test_a_log_cut_before_the_end_of_a_converging_migration_says_so() -> None:
    loop = Loop(uniform(3000, 700.0), 30000, SENT, 0.2)
    assert loop.run()
    cut = [a for a in loop.answers if a["info"]["status"] == "active" and a["info"]["ram"]["dirty-sync-count"] <= 4]
    verdict = diagnose(evidence_from_log(parse_logs(json.dumps(cut))[0]))
    assert verdict.outcome == "would converge"
    assert verdict.remedy("timeout").value >= loop.answers[-1]["t"] * 0.9


def test_a_log_of_the_first_pass_only_cannot_tell() -> None:
    loop = stuck("uniform")[0]
    first = [a for a in loop.answers if a["t"] < 5]
    verdict = diagnose(evidence_from_log(parse_logs(json.dumps(first))[0]))
    assert verdict.outcome == "too early to tell"
    assert verdict.remedy("post_copy") is not None
    assert verdict.measure_next
