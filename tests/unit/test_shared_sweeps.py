"""Sweeps of several vCPUs: a part each, or one region for all, in which those behind catch up with those in front."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import numpy as np
import pytest

from hostsim.guest.workload import Workload, first_visits
from hostsim.results.tables import RunResult
from hostsim.scenario import Scenario
from hostsim.simulation import run
from hostsim.theory.guest_curve import guest_curve
from hostsim.verdict import diagnose, evidence_from_result

WRITES_PER_S = 976_560
FAST = {"page_send_ns": 300}
"""A migration thread that is faster than the link."""


@cache
def swept(tracking: str, split: bool | None, pacing: str = "closed", duration: str = "2s") -> RunResult:
    """16 vCPUs sweep 256 MiB of a guest of 512 MiB, as fast as a link of 25 Gbit/s sends."""
    load = {"pattern": "sequential", "size": "256MiB", "write_rate": f"{WRITES_PER_S}/s", "pacing": pacing}
    written = {} if split is None else {"split": split}
    vm = {"memory": "512MiB", "vcpus": 16, "dirty_tracking": tracking, "workload": [{**load, **written}]}
    migration = {"profile": "libvirt", "downtime_limit": "20ms"}
    tables = {"vm": vm, "migration": migration, "link": {"bandwidth": "25Gbit/s"}, "duration": duration, "host": FAST}
    return run(Scenario.model_validate(tables))


def found_pages(result: RunResult) -> list[int]:
    return [int(pages) for pages in result.migrations[0].rounds["newly_dirty_pages"]]


@pytest.mark.parametrize("tracking", ["get-dirty-log", "initially-all-set"])
def test_vcpus_that_share_a_region_end_up_together_under_each_tracker(tracking: str) -> None:
    assert swept(tracking, split=False).migrations[0].status == "completed"


@pytest.mark.parametrize("tracking", ["get-dirty-log", "initially-all-set"])
def test_vcpus_with_a_part_each_never_meet(tracking: str) -> None:
    result = swept(tracking, split=None)
    assert result.migrations[0].status == "active"
    assert found_pages(result)[-1] == pytest.approx(256 * 256, rel=0.05)


def test_an_open_loop_keeps_its_distances() -> None:
    """It catches up with the clock, so no vCPU comes nearer to the one in front; in a closed loop remaining collapses."""
    kept, closed = (swept("get-dirty-log", split=False, pacing=pacing, duration="1s") for pacing in ("open", "closed"))
    assert (kept.migrations[0].status, closed.migrations[0].status) == ("active", "completed")
    assert min(found_pages(kept)[3:]) > 0.8 * max(found_pages(kept)[3:])
    assert min(found_pages(closed)[3:-1]) < 0.5 * max(found_pages(closed)[3:-1])


def test_the_default_is_a_part_each_and_the_verdict_says_so() -> None:
    result = swept("get-dirty-log", split=None)
    assert result.scenario["vm"]["workload"][0]["split"] is True
    (text,) = diagnose(evidence_from_result(result)).rests_on
    assert text.startswith("each of the 16 vCPUs of vm.workload.0 sweeps a part of its own")
    assert diagnose(evidence_from_result(swept("get-dirty-log", split=False))).rests_on == ()


def sweep(vcpus: int, **keys: object) -> Workload:
    return Workload("w", "strided", tuple(range(vcpus)), 0, 960, Fraction(1000), **keys)  # type: ignore[arg-type]


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize(("stride", "reached"), [(1, 960), (4, 240), (7, 960)])
def test_the_curve_of_a_sweep_is_what_its_vcpus_reach(stride: int, reached: int, split: bool) -> None:
    """Walked touch by touch: each vCPU writes a page each 3/1000 s."""
    load = sweep(3, stride_pages=stride, split=split)
    size, starts = (320, (0, 0, 0)) if split else (960, first_visits(load, 9))
    curve = guest_curve([load], 9)
    for touches in (1, 10, 79, 80, 200, 319, 330, 1000):
        walks = [(i * size if split else 0, start) for i, start in enumerate(starts)]
        written = {first + (start + n) * stride % size for first, start in walks for n in range(touches)}
        assert curve(touches * 0.003) == pytest.approx(len(written), abs=1e-6)
    assert curve(1e9) == reached


def test_the_curve_of_a_shared_sweep_depends_on_the_seed() -> None:
    curves = [guest_curve([sweep(3)], seed).at(np.array([0.5])) for seed in range(5)]
    assert len({float(curve[0]) for curve in curves}) > 1
