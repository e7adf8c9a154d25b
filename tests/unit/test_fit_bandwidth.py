"""max-bandwidth of a log by the whole windows that QEMU sends: pages of 7.2, bursts of 32 pages of 10.0."""

from __future__ import annotations

import pytest

from hostsim.fitting.bottleneck import limit_of
from hostsim.fitting.fitted import fit_logs
from hostsim.logs.sniff import parse_logs
from hostsim.qemu.version import modelled_as
from tests.helpers.forecasts import Question
from tests.helpers.polled import polled_log

PAGE, BURST, ENDS = 4104, 32 * 4104, 53
MIB = 1 << 20


def window(limit: int, burst: int) -> float:
    """Bytes/s by which QEMU sends under ``limit``: the fewest bursts that exceed the quota of 100 ms."""
    return 10.0 * ((limit // 10 // burst + 1) * burst + ENDS)


@pytest.mark.parametrize(
    ("sent", "limit", "version"),
    [(33_571_250, 32 * MIB, "7.2"), (34_145_000, 32 * MIB, "10.0"), (104_900_000, 100 * MIB, "7.2")],
)
def test_limits_of_real_migrations_are_found(sent: float, limit: int, version: str) -> None:
    assert limit_of(sent) == (version, limit)


@pytest.mark.parametrize("mib", [1, 2, 4, 8, 10, 16, 32, 50, 64, 100, 128, 256])
def test_round_limits_are_found_for_each_version(mib: int) -> None:
    """A limit of 8 MiB/s lets QEMU 10 send 9.6 % more: seven bursts where 6.4 would do."""
    assert limit_of(window(mib * MIB, PAGE), "7.2") == ("7.2", mib * MIB)
    version, limit = limit_of(window(mib * MIB, BURST))
    assert window(limit, BURST if version == "10.0" else PAGE) == pytest.approx(window(mib * MIB, BURST), rel=1e-3)


@pytest.mark.parametrize(
    ("named", "modelled"),
    [("4.2", "7.2"), ("QEMU 6.2.0", "7.2"), ("8.0.5", "7.2"), ("8.1.0", "10.0"), ("9.2", "10.0"), ("10.1", "10.0"),
     ("10.2", "10.2"), ("11.0", "10.2"), (None, "10.0"), ("unknown", "10.0")],
)  # fmt: skip
def test_the_bytes_of_a_window_are_those_of_the_version(named: str | None, modelled: str) -> None:
    assert modelled_as(named) == modelled
    burst = PAGE if modelled == "7.2" else BURST
    if named:
        assert limit_of(window(8 * MIB, burst), named)[0] == modelled
        assert abs(window(limit_of(window(8 * MIB, burst), named)[1], burst) - window(8 * MIB, burst)) <= 10 * burst


@pytest.mark.parametrize("sent", [9_193_490.0, 33_807_500.0, 80_028_000.0, 23_456_789.0])
@pytest.mark.parametrize("version", ["7.2", "10.0"])
def test_any_limit_is_sent_as_the_log_was_within_a_burst(sent: float, version: str) -> None:
    burst = PAGE if version == "7.2" else BURST
    assert abs(window(limit_of(sent, version)[1], burst) - sent) <= 10 * burst


def test_late_windows_of_a_steady_log_keep_the_round_limit() -> None:
    for sent in (33_571_250, 34_145_000):
        assert limit_of(0.99 * sent, exact=False)[1] == 32 * MIB


def test_the_overshoot_of_qemu_10_is_not_taken_for_a_limit() -> None:
    question = Question("uniform", 24, 0.5, 0.6, 8, 0.04, 0.1, "10.0", 1.0, 1.0)
    bottleneck = fit_logs(parse_logs(polled_log(question.polled, 0.1)), draws=0).setting.bottleneck
    assert bottleneck is not None
    assert (bottleneck.kind, bottleneck.qemu, bottleneck.bytes_per_s) == ("max-bandwidth", "10.0", 8 * MIB)
    assert bottleneck.measured == pytest.approx(window(8 * MIB, BURST), rel=1e-3)
