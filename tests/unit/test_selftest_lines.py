"""Lines of the selftest, and the table of what phases cost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hostsim.kvm.interfaces import Interface
from hostsim.measure.selftest.dirty_log_perf_test import Plan, run_selftest
from hostsim.measure.selftest.lines import PHASE_COLUMNS, phase_table, seconds, selftest_lines
from hostsim.results.columns import names
from tests.helpers.kvm import round_sheet, walked

TIME = re.compile(r"\d+\.\d{9}s")


@pytest.fixture
def sheet(tmp_path: Path) -> str:
    return round_sheet(tmp_path)


def shape(sheet: str, interface: Interface) -> list[str]:
    result = run_selftest(walked(sheet, 2, 512, interface), Plan())
    return [TIME.sub("T", line) for line in selftest_lines(result)]


def test_lines_come_in_the_order_of_the_selftest(sheet: str) -> None:
    iteration = "Iteration {} dirty memory time: T|Iteration {} get dirty log time: T|Iteration {} clear dirty log time: T"
    assert shape(sheet, "clear-dirty-log") == [
        "Test iterations: 2",
        "Populate memory time: T",
        "Enabling dirty logging time: T",
        "",
        *iteration.format(1, 1, 1).split("|"),
        *iteration.format(2, 2, 2).split("|"),
        "Disabling dirty logging time: T",
        "Get dirty log over 2 iterations took T. (Avg T/iteration)",
        "Clear dirty log over 2 iterations took T. (Avg T/iteration)",
    ]


def test_without_manual_protect_nothing_is_said_of_clear(sheet: str) -> None:
    lines = shape(sheet, "get-dirty-log")
    assert not [line for line in lines if "clear" in line.lower()]
    assert len(lines) == 4 + 2 * 2 + 2


def test_times_have_nine_decimals() -> None:
    assert [seconds(ns) for ns in (0, 1, 999_999_999, 1_000_000_000, 61_000_000_020)] == [
        "0.000000000s", "0.000000001s", "0.999999999s", "1.000000000s", "61.000000020s",
    ]  # fmt: skip


def test_the_average_is_of_the_phases(sheet: str) -> None:
    result = run_selftest(walked(sheet, 1, 512), Plan())
    times = [phase.duration_ns for phase in result.of("get dirty log")]
    line = next(line for line in selftest_lines(result) if line.startswith("Get dirty log over"))
    assert TIME.findall(line) == [seconds(sum(times)), seconds(sum(times) // 2)]


def test_the_table_has_a_row_a_phase(sheet: str) -> None:
    result = run_selftest(walked(sheet, 4, 512, mmu="shadow"), Plan())
    table = phase_table(result)
    assert list(table.columns) == names(PHASE_COLUMNS)
    assert list(table["phase"])[:3] == ["populate", "enable logging", "dirty memory 1"]
    rows = {row["phase"]: row for row in table.rows()}
    assert rows["dirty memory 1"]["wp"] == rows["dirty memory 2"]["wp"] == 4 * 512
    assert rows["populate"]["map"] == 4 * 512
    assert rows["populate"]["lock_wait_s"] > 0
    assert rows["clear dirty log 2"]["lock_hold_s"] > 0
    assert rows["get dirty log 1"]["lock_hold_s"] == 0
