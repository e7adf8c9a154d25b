"""Real QEMU migrations, predicted from their inputs."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from hostsim.core.errors import InputError
from hostsim.validation import run_suites
from hostsim.validation.qemu.cases import CALIBRATION, HOST_SPEED, load_cases
from hostsim.validation.qemu.machine import spec_of
from hostsim.validation.qemu.score import case_rows
from hostsim.validation.rows import Row
from tests.helpers.shared import once

EXCEPTIONS = frozenset({"ac_rand300_max60"})
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
    assert len(case_ids(rows)) == 67
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
    assert len(rows) == 6
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


@pytest.mark.swarm
@pytest.mark.parametrize("late_us", range(0, 301, 50))
def test_auto_converge_holds_over_the_plausible_lateness_of_the_timer(late_us: int) -> None:
    """docs/background/throttle-timer.md has the figures, and says why one case is left out."""
    cases = [case for case in load_cases() if case.throttles and case.id != "ac_rand300_max60"]
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
