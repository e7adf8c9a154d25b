"""Real QEMU migrations, predicted from their inputs."""

from __future__ import annotations

import gzip
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from hostsim.core.errors import InputError
from hostsim.costs.host_sheet import HostSheet, load_sheet
from hostsim.qemu.cpu_throttle import TIMESLICE_NS, period_ns
from hostsim.validation import run_suites
from hostsim.validation.qemu.cases import CALIBRATION, HOST_SPEED, load_cases
from hostsim.validation.qemu.machine import SHEET, spec_of
from hostsim.validation.qemu.score import case_rows
from hostsim.validation.rows import Row
from tests.helpers.shared import once

EXCEPTIONS: frozenset[str] = frozenset()
"""Scored cases that are known to fail, each explained on docs/background/validation.md; at most three."""
TIMES = ("total_time_ms", "transferred_bytes")


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return once("rows of qemu", lambda: run_suites(["qemu"], jobs=2))


@pytest.fixture(scope="module")
def scored(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.scored]


def case_ids(rows: list[Row]) -> set[str]:
    return {row.id for row in rows}


def test_all_cases_are_there(rows: list[Row], scored: list[Row]) -> None:
    second = {name for name in case_ids(rows) if name.startswith("second_")}
    assert (len(case_ids(rows) - second), len(second)) == (68, 24)
    assert case_ids(rows) - case_ids(scored) == CALIBRATION | HOST_SPEED


def test_every_outcome_is_right(rows: list[Row]) -> None:
    assert [row.id for row in rows if row.quantity == "outcome" and not row.passed] == []


def test_what_fails_is_known(scored: list[Row]) -> None:
    assert case_ids([row for row in scored if not row.passed]) <= EXCEPTIONS
    assert len(EXCEPTIONS) <= 3


def test_nine_in_ten_cases_are_within_five_percent(scored: list[Row]) -> None:
    off = case_ids([row for row in scored if row.quantity in TIMES and abs(row.error or 0.0) > 0.05])
    assert len(off) <= 0.1 * len(case_ids(scored))


def test_all_cases_are_within_ten_percent(scored: list[Row]) -> None:
    off = [row for row in scored if row.quantity in TIMES and abs(row.error or 0.0) > 0.10]
    assert case_ids(off) <= EXCEPTIONS


@pytest.mark.parametrize("quantity", ["total_time_ms", "transferred_bytes", "dirty_sync_count", "downtime_ms"])
def test_the_typical_error_is_small(scored: list[Row], quantity: str) -> None:
    errors = sorted(abs(row.error or 0.0) for row in scored if row.quantity == quantity)
    assert errors[len(errors) // 2] < 0.01 or quantity == "downtime_ms"


def test_multifd_is_within_five_percent(scored: list[Row]) -> None:
    rows = [row for row in scored if "multifd" in row.id and row.quantity in (*TIMES, "multifd_bytes")]
    assert len(rows) == 15
    assert [row.id for row in rows if abs(row.error or 0.0) > 0.05] == []


def test_a_repeat_has_its_own_seed_phase_and_rate() -> None:
    case = next(case for case in load_cases() if case.id == "seq_090")
    specs = [spec_of(case, repeat) for repeat in case.repeats]
    assert len({spec.seed for spec in specs}) == 3
    assert len({spec.workloads[-1].start_page for spec in specs}) == 3
    assert len({spec.workloads[-1].write_rate_per_s for spec in specs}) == 4


def test_nothing_but_inputs_reaches_the_machine() -> None:
    case = next(case for case in load_cases() if case.id == "rand_090")
    repeat = dict(case.repeats[2])
    bare = {key: repeat[key] for key in ("seed", "seq0", "writes_at_start", "write_rate_before")}
    assert spec_of(case, bare) == spec_of(case, repeat)


def test_the_share_of_a_bistable_case_is_that_of_its_repeats(rows: list[Row]) -> None:
    (share,) = [row for row in rows if row.quantity == "completes, share"]
    assert share.id == "ac_rand150_openloop"
    assert 0 < float(share.got or 0) < 1
    assert share.passed


def test_sleeps_overshoot_by_what_the_busy_guest_lost() -> None:
    """The source of throttle_overshoot_ns: writes during a migration over those before, by the steps of its throttle."""
    text = gzip.decompress((files("hostsim") / "data" / "qemu" / "cases.jsonl.gz").read_bytes()).decode()
    case = next(raw for raw in map(json.loads, text.splitlines()) if raw["id"] == "ac_rand300_spin")
    sheet, overshoots_ns = load_sheet(SHEET), []
    for repeat, steps in zip(case["repeats"], case["throttle_steps"], strict=True):
        spans_s = np.diff([0.0, *steps, repeat["total_time_ms"] / 1000])
        periods_ns = [period_ns(20 + 10 * step) + sheet.throttle_timer_late_ns for step in range(len(steps))]
        runs_ns = TIMESLICE_NS + sheet.throttle_timer_late_ns
        rest_s = spans_s.sum() * repeat["write_rate_during"] / repeat["write_rate_before"] - spans_s[0]
        slices = (spans_s[1:] / periods_ns).sum()
        overshoots_ns.append(runs_ns - rest_s / slices)
    assert sheet.throttle_overshoot_ns == pytest.approx(np.mean(overshoots_ns), abs=2_000)


@pytest.mark.parametrize("late_us", [0, 60, 300])
def test_a_later_timer_leaves_the_busy_guest_its_cpu_time(late_us: int) -> None:
    case = next(case for case in load_cases() if case.id == "ac_rand300_spin")
    own, moved = load_sheet(SHEET), spec_of(case, case.repeats[0], timer_late_ns=late_us * 1000).sheet

    def left(sheet: HostSheet) -> float:
        late_ns = sheet.throttle_timer_late_ns
        return (TIMESLICE_NS + late_ns - sheet.throttle_overshoot_ns) / (period_ns(50) + late_ns)

    assert left(moved) == pytest.approx(left(own), rel=1e-6)


@pytest.mark.swarm
@pytest.mark.parametrize("late_us", range(0, 301, 50))
def test_auto_converge_holds_over_the_plausible_lateness_of_the_timer(late_us: int) -> None:
    """docs/background/throttle-timer.md has the figures."""
    cases = [case for case in load_cases() if case.throttles]
    found = [row for case in cases for row in case_rows(case, late_us * 1000)]
    off = [row.id for row in found if row.quantity in TIMES and abs(row.error or 0.0) > 0.05]
    assert set(off) <= {"ac_rand150_openloop"}, "its bytes are those of runs of unequal length"


def test_other_files_of_cases_are_read(tmp_path: Path) -> None:
    case = next(case for case in load_cases() if case.id == "small4_fit")
    raw = {"id": "mine", "inputs": case.inputs, "status": case.status, "measured": case.measured, "repeats": case.repeats}
    plain, packed = tmp_path / "cases.jsonl", tmp_path / "cases.jsonl.gz"
    plain.write_text(json.dumps(raw) + "\n", encoding="utf-8")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert run_suites(["qemu"], cases=plain) == run_suites(["qemu"], cases=packed)
    assert case_ids(run_suites(["qemu"], cases=plain)) == {"mine"}


@pytest.mark.parametrize("text", ["not json\n", "[]\n", '{"id": "a"}\n'])
def test_a_broken_file_of_cases_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"cases\.jsonl:1"):
        run_suites(["qemu"], cases=path)
