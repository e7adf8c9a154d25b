"""Rates of faults to user space: their bounds, and the queues of shared cache lines."""

from __future__ import annotations

import pytest

from hostsim.theory.userfault import PATHS, SharedLines, fault_path, peak_vcpus

COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@pytest.mark.parametrize("name", PATHS)
def test_one_vcpu_takes_as_long_as_its_fault(name: str) -> None:
    path = fault_path(name)
    assert path.faults_per_s(1) == pytest.approx(1e9 / path.alone_ns, rel=1e-9)


def test_lines_carry_no_more_than_their_moves() -> None:
    lines = SharedLines(alone_ns=1000.0, move_ns=100.0, lines_twice=4, lines_once=1)
    rates = [lines.faults_per_s(count) for count in COUNTS]
    assert rates == sorted(rates)
    assert 0.98 * 5e6 < rates[-1] < 5e6, "two moves of 100 ns a fault"
    both_ns = 1000 + 4 * 200 + 100 + (4 * 200**2 + 100**2) / 1900
    assert lines.faults_per_s(2) == pytest.approx(2e9 / both_ns, rel=1e-9)


def test_one_line_is_one_server() -> None:
    """Machine repairmen with one server, whose rate is known in closed form for two of them."""
    lines = SharedLines(alone_ns=1000.0, move_ns=500.0, lines_twice=0, lines_once=1)
    think, service = 1000.0, 500.0
    weights = (1.0, 2 * service / think, 2 * (service / think) ** 2)
    assert lines.faults_per_s(2) == pytest.approx(1e9 / service * (1 - weights[0] / sum(weights)), rel=1e-9)


def test_one_queue_falls_behind_its_peak_and_lines_do_not() -> None:
    assert peak_vcpus(fault_path("one-userfaultfd"), COUNTS) < 8
    assert peak_vcpus(fault_path("exit-to-user-space"), COUNTS) > 64
