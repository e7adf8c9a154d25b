"""Bandwidths that change while a migration runs: where, and which one the verdict and the fit take."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostsim.fitting.fitted import GuestFit, fit_logs
from hostsim.logs.model import MigrationLog
from hostsim.logs.sniff import parse_logs
from hostsim.scenario.schema import Scenario
from hostsim.verdict import evidence_from_log, explain_log, render
from hostsim.verdict.speeds import speeds_of
from tests.helpers.polled import polled_log

MIB = 1 << 20
WIRE = 4104 / 4096
SEEDS = st.integers(0, 1 << 30)


@given(SEEDS, st.integers(6, 400), st.floats(0.0, 0.3))
@settings(deadline=None, max_examples=40)
def test_a_link_that_wavers_does_not_change(seed: int, answers: int, noise: float) -> None:
    drawn = np.random.default_rng(seed).standard_normal(answers)
    speeds = speeds_of(np.arange(answers) * 1.0, 1e9 * np.exp(noise * drawn))
    assert not speeds or answers < 20


@given(SEEDS, st.integers(6, 300), st.integers(6, 300), st.floats(2.0, 50.0), st.booleans(), st.floats(0.1, 5.0))
@settings(deadline=None, max_examples=40)
def test_a_change_is_found_where_it_is(
    seed: int, before: int, after: int, factor: float, falls: bool, every_s: float
) -> None:
    noise = np.exp(0.05 * np.random.default_rng(seed).standard_normal(before + after))
    one, other = (factor, 1.0) if falls else (1.0, factor)
    rates = 1e8 * np.repeat([one, other], [before, after]) * noise
    speeds = speeds_of(np.arange(before + after) * every_s, rates)
    if min(before, after) * every_s < 2.0:
        return
    first, second = speeds
    assert first.bytes_per_s == pytest.approx(1e8 * one, rel=0.1)
    assert second.bytes_per_s == pytest.approx(1e8 * other, rel=0.1)
    assert abs(second.since_s - before * every_s) <= (1 + (before + after) // 128) * every_s


def test_a_hiccup_of_two_answers_is_no_change() -> None:
    rates = np.full(60, 1e9)
    rates[[30, 31]] = 1e8
    assert speeds_of(np.arange(60) * 1.0, rates) == ()


CHANGES = {"raised": ("16MiB/s", "64MiB/s"), "lowered": ("64MiB/s", "16MiB/s"), "kept": ("16MiB/s", "16MiB/s")}
LAST = {"raised": 64 * MIB, "lowered": 16 * MIB, "kept": 16 * MIB}
AFTER_S = {"raised": 14.0, "lowered": 5.0, "kept": 14.0}


@cache
def changed(name: str) -> MigrationLog:
    """16,384 pages at 24,000 writes a second, whose max-bandwidth is changed, polled each half a second."""
    first, then = CHANGES[name]
    scenario = Scenario.model_validate({
        "duration": "26s",
        "vm": {"memory": "128MiB", "workload": [{"pattern": "uniform", "size": "64MiB", "write_rate": "24k/s"}]},
        "migration": {"bandwidth": first, "downtime_limit": "30ms", "timeout": "25s",
                      "set": [{"after": f"{AFTER_S[name]:g}s", "bandwidth": then}]},
        "link": {"bandwidth": "10Gbit/s"},
        "host": {"machine": "qemu-tcg-2core", "lateness": "drawn"},
    })  # fmt: skip
    (log,) = parse_logs(polled_log(scenario, 0.5))
    return log


@cache
def fitted(name: str) -> GuestFit:
    return fit_logs([changed(name)], draws=20)


@pytest.mark.parametrize("name", CHANGES)
def test_the_verdict_takes_the_last_bandwidth_and_says_so(name: str) -> None:
    log = changed(name)
    speeds = evidence_from_log(log).speeds
    verdict = explain_log(log)
    assert verdict.numbers["bandwidth_bytes_per_s"] == pytest.approx(LAST[name] * WIRE, rel=0.05)
    assert ("bandwidth changed during the migration" in render(verdict)) == (name != "kept")
    assert [round(one.since_s) for one in speeds[1:]] == pytest.approx([AFTER_S[name]] * (name != "kept"), abs=1.0)


@pytest.mark.parametrize("name", ["raised", "lowered"])
def test_remaining_settles_where_it_does_at_the_last_bandwidth(name: str) -> None:
    """Floor and outcome come from rounds after the change alone: those before settled elsewhere."""
    evidence = evidence_from_log(changed(name))
    pages_per_s = LAST[name] / 4096
    settles = [r.remaining_pages for r in evidence.rounds_now]
    assert all(r.duration_s == pytest.approx(r.newly_dirty_pages / pages_per_s, rel=0.5) for r in evidence.rounds_now[1:])
    assert explain_log(changed(name)).outcome == "not converging"
    assert settles


@pytest.mark.parametrize("name", CHANGES)
def test_the_fit_takes_the_last_bandwidth_and_finds_the_guest(name: str) -> None:
    found = fitted(name)
    assert found.setting.bottleneck is not None
    assert found.setting.bottleneck.bytes_per_s == pytest.approx(LAST[name], rel=0.03)
    assert any("bandwidth changed" in note for note in found.notes) == (name != "kept")
    for seconds in (1.0, 4.0):
        true = 16_384 * -np.expm1(-24_000 * seconds / 16_384)
        told = [classes.curve()(seconds) for classes in (found.classes, *found.found.draws)]
        assert 0.95 * min(told) <= true <= 1.05 * max(told)


def test_bytes_alone_show_the_change_too() -> None:
    """A task log of Proxmox has no bytes remaining."""
    sent, lines = 0.0, []
    for i in range(60):
        sent += 100.0 if i < 40 else 400.0
        lines.append(
            f"2024-01-01 21:00:{i:02d} migration active, transferred {sent / 1024:.3f} GiB of 2.0 GiB VM-state, "
            f"{100.0 if i < 40 else 400.0} MiB/s"
        )
    (log,) = parse_logs("\n".join(lines))
    verdict = explain_log(log)
    assert verdict.numbers["bandwidth_bytes_per_s"] == pytest.approx(400 * MIB, rel=0.02)
    assert "bandwidth changed" in render(verdict)
